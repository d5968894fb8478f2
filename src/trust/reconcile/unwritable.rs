//! What a plan cannot write, found before anything changes: it is skipped, and so is whatever depends on it (a link to
//! a file that is not made, the other links of the same hashed directory). Only reads; the pipeline is in the parent,
//! the reasons come from [`crate::rootfs::Obstacle`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::ReconcileOptions;
use crate::error::{Error, Result};
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::path::join;
use crate::rootfs::tree::Node;
use crate::rootfs::{FileKind, MAX_HOPS, Obstacle, split};
use crate::text;
use crate::trust::facts::Facts;
use crate::trust::plan::{self, PlannedChange};
use crate::trust::state::StoredAnchor;
use crate::trust::stores::{Selection, StorePolicy, Stores};
use crate::trust::updater::{Desires, Output, OutputKind, UpdaterInput};
use crate::trust::view::View;

/// An output, store or directory that is skipped, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// The output, the store, or, for anything else, its directory.
    pub(crate) path: String,
    /// Why it cannot be written.
    pub(crate) why: Obstacle,
}

/// What the kernel refused to write in this run, although it could not be foreseen.
#[derive(Debug, Default)]
pub(super) struct Refused {
    paths: BTreeMap<String, String>,
    directories: BTreeMap<String, String>,
    /// The directory of state, journal and lock.
    pub(super) state: Option<String>,
}

impl Refused {
    /// Notes that `path` was refused; with a second path of the same directory, everything in it counts as refused.
    pub(super) fn note(&mut self, path: &str, why: &str) {
        let directory = split(path).0;
        if self.paths.keys().any(|other| other != path && split(other).0 == directory) {
            self.directories.insert(directory.to_owned(), why.to_owned());
        }
        self.paths.insert(path.to_owned(), why.to_owned());
    }

    fn of(&self, path: &str) -> Option<Obstacle> {
        let below = |top: &str| {
            path == top || path.strip_prefix(top).is_some_and(|rest| rest.starts_with('/') || top == "/")
        };
        let mut all = self.paths.iter().chain(&self.directories);
        let found = all.find(|(refused, _)| below(refused));
        found.map(|(_, why)| Obstacle::Other(format!("the system refused the write: {why}")))
    }
}

/// Tells for each path whether the caller can write it.
pub(super) struct Guard<'v> {
    view: &'v View<'v>,
    /// Everything that cannot be written is skipped; otherwise only mount points are.
    skips_all: bool,
    /// Why nothing of this tree can be changed: what could not be recorded could not be undone either.
    cannot_record: Option<Obstacle>,
    refused: &'v Refused,
    directories: RefCell<BTreeMap<String, Option<Obstacle>>>,
    /// Whether another user owns a directory in which root would work.
    of_other_users: RefCell<BTreeMap<String, bool>>,
}

impl<'v> Guard<'v> {
    pub(super) fn new(view: &'v View<'v>, options: &ReconcileOptions, refused: &'v Refused) -> Result<Self> {
        let sysroot = view.sysroot();
        let state = sysroot.state_directory();
        let why = match &refused.state {
            Some(why) => Some(why.clone()),
            None if options.leave_unwritable => sysroot.directory_obstacle(state)?.map(|why| why.to_string()),
            None => None,
        };
        let cannot_record = why.map(|why| {
            Obstacle::Other(format!("trustup cannot record changes in `{}`: {why}", text::escape(state)))
        });
        let (directories, of_other_users) = (RefCell::default(), RefCell::default());
        let skips_all = options.leave_unwritable;
        Ok(Guard { view, skips_all, cannot_record, refused, directories, of_other_users })
    }

    /// Why the caller cannot replace the node at `path`.
    pub(super) fn obstacle(&self, path: &str) -> Result<Option<Obstacle>> {
        let location = self.view.location(path)?;
        if self.is_of_other_user(split(&location).0)?
            && let Some(why) = self.view.sysroot().other_users_obstacle(&location)?
        {
            return Ok(Some(why));
        }
        if !self.skips_all {
            let mounted = self.view.sysroot().lstat(&location)?.is_some_and(|meta| meta.mount_point);
            return Ok(mounted.then_some(Obstacle::Mounted));
        }
        if let Some(why) = self.refused.of(path) {
            return Ok(Some(why));
        }
        if let Some(why) = self.directory_obstacle(split(&location).0)? {
            return Ok(Some(why));
        }
        if let Some(why) = self.view.sysroot().entry_obstacle(&location)? {
            return Ok(Some(why));
        }
        Ok(self.cannot_record.clone())
    }

    fn is_of_other_user(&self, directory: &str) -> Result<bool> {
        if let Some(known) = self.of_other_users.borrow().get(directory) {
            return Ok(*known);
        }
        let is = self.view.sysroot().is_of_other_user(directory)?;
        self.of_other_users.borrow_mut().insert(directory.to_owned(), is);
        Ok(is)
    }

    /// Why the caller cannot change what is in `directory`.
    pub(super) fn directory_obstacle(&self, directory: &str) -> Result<Option<Obstacle>> {
        if let Some(known) = self.directories.borrow().get(directory) {
            return Ok(known.clone());
        }
        let why = self.view.directory_obstacle(directory)?;
        self.directories.borrow_mut().insert(directory.to_owned(), why.clone());
        Ok(why)
    }

    /// Why the family's own program would fail: a directory that it writes cannot be written.
    pub(super) fn tool_obstacle(&self, facts: &Facts) -> Result<Option<(String, Obstacle)>> {
        if !self.skips_all {
            return Ok(None);
        }
        for directory in facts.row.updater.native_directories() {
            if self.view.sysroot().stat(&directory)?.is_some_and(|meta| meta.kind == FileKind::Directory)
                && let Some(why) = self.directory_obstacle(&directory)?
            {
                return Ok(Some((directory, why)));
            }
        }
        Ok(None)
    }

    /// Marks the anchors whose own file cannot be written: outputs must not link to it.
    pub(super) fn mark_unplaced(&self, facts: &Facts, wanted: &mut UpdaterInput) -> Result<()> {
        let Some(directory) = facts.row.updater.anchor_directory().filter(|_| self.skips_all) else {
            return Ok(());
        };
        for anchor in wanted.anchors.iter_mut().filter(|anchor| anchor.standing.is_none()) {
            let path = directory.file(&anchor.name);
            let is_there = self
                .view
                .actual_certificates(&path)
                .is_some_and(|found| found.as_slice() == std::slice::from_ref(&anchor.certificate));
            anchor.unplaced = !is_there && self.obstacle(&path)?.is_some();
        }
        Ok(())
    }
}

/// What a run skips.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Every path.
    pub(super) paths: BTreeSet<String>,
    /// The same, each with the reason.
    whys: BTreeMap<String, Obstacle>,
    /// Their real paths.
    locations: BTreeSet<String>,
    /// Hashed directories in which nothing is changed.
    hashed: BTreeSet<String>,
    /// What is skipped although it lacks a root, each once.
    pub(super) skipped: Vec<Skipped>,
}

/// The input of the plan.
pub(super) struct PlanInput<'p> {
    pub(super) view: &'p View<'p>,
    pub(super) facts: &'p Facts,
    pub(super) wanted: &'p UpdaterInput,
    /// Roots that earlier runs installed and that are no longer wanted.
    pub(super) unwanted: Vec<&'p StoredAnchor>,
    pub(super) stores: &'p Stores,
    pub(super) selection: Option<&'p Selection>,
}

impl PlanInput<'_> {
    /// The changes that `desires` need and that can be written. What cannot be written is desired as it is from now on,
    /// and noted in `left`.
    ///
    /// # Errors
    /// A root to remove is where nothing can be removed; a store that was named cannot be written.
    pub(super) fn writable_changes(
        &self,
        guard: &Guard,
        desires: &mut Desires,
        left: &mut Left,
    ) -> Result<Vec<PlannedChange>> {
        loop {
            let changes = plan::changes(self.view, self.facts.row.updater, desires)?;
            let mut more: BTreeMap<&str, Obstacle> = BTreeMap::new();
            for change in changes.iter().filter(|change| !left.paths.contains(&change.path)) {
                let why = match guard.obstacle(&change.path)? {
                    Some(why) => Some(why),
                    None => self.dependency(change, left)?,
                };
                more.extend(why.map(|why| (change.path.as_str(), why)));
            }
            if more.is_empty() {
                plan::refuse_closed(self.view, &changes)?;
                return Ok(changes);
            }
            self.with_the_rest(&changes, &mut more);
            let reverted = |path: &str| !desires.nodes.iter().any(|desired| desired.path == path);
            if let Some((path, why)) =
                more.iter().find(|(path, _)| reverted(path) && !is_on_the_way(&changes, path))
            {
                return Err(self.cannot_remove(path, why));
            }
            let mut kept = Vec::new();
            for change in &changes {
                if let Some(why) = more.remove(change.path.as_str()) {
                    self.note(guard, change, why, left)?;
                    kept.push((change.path.clone(), change.from.clone()));
                }
            }
            for (path, node) in kept {
                desires.want(path, node, "it cannot be written");
            }
        }
    }

    /// A path that the family's own program would have to write and cannot, if it has anything to do.
    pub(super) fn unwritable_by_tool(
        &self,
        guard: &Guard,
        changes: &[PlannedChange],
        left: &Left,
    ) -> Result<Option<(String, Obstacle)>> {
        let row = self.facts.row.updater;
        if let Some((path, why)) = left.whys.first_key_value() {
            return Ok(Some((path.clone(), why.clone())));
        }
        if !changes.iter().any(|change| row.native_writes(&change.path)) {
            return Ok(None);
        }
        guard.tool_obstacle(self.facts)
    }

    /// Why a change must be skipped that could be written by itself: it is a link to what is skipped.
    fn dependency(&self, change: &PlannedChange, left: &Left) -> Result<Option<Obstacle>> {
        if left.locations.is_empty() {
            return Ok(None);
        }
        for node in [&change.to, &change.from] {
            let Node::Link { target } = node else { continue };
            let mut path = join(split(&self.view.location(&change.path)?).0, target);
            for _ in 0..MAX_HOPS {
                let location = self.view.location(&path)?;
                let in_hashed = left.hashed.contains(split(&location).0);
                if in_hashed || (node == &change.to && left.locations.contains(&location)) {
                    let why = format!("it links to `{}`, which cannot be written", text::escape(&path));
                    return Ok(Some(Obstacle::Other(why)));
                }
                let Node::Link { target } = self.view.actual(&location)?.as_ref().clone() else { break };
                path = join(split(&location).0, &target);
            }
        }
        Ok(None)
    }

    /// Adds to `more` the changes that are useless without those in it: the rest of a hashed directory, whose links are
    /// numbered, and the other file of an NSS database.
    fn with_the_rest<'c>(&self, changes: &'c [PlannedChange], more: &mut BTreeMap<&'c str, Obstacle>) {
        for output in self.facts.outputs.iter().filter(|output| output.kind == OutputKind::HashDirectory) {
            let in_it = |path: &str| self.output_of(path).is_some_and(|found| found == output);
            let Some(why) = more.iter().find(|(path, _)| in_it(path)).map(|(_, why)| why.clone()) else {
                continue;
            };
            for change in changes.iter().filter(|change| in_it(&change.path)) {
                more.entry(&change.path).or_insert_with(|| why.clone());
            }
        }
        for found in &self.stores.found {
            let files = found.files();
            let Some(why) = files.iter().find_map(|file| more.get(file.as_str())).cloned() else { continue };
            for change in changes.iter().filter(|change| files.contains(&change.path)) {
                more.entry(&change.path).or_insert_with(|| why.clone());
            }
        }
    }

    /// The output that `path` is, or is in.
    fn output_of(&self, path: &str) -> Option<&Output> {
        let outputs = &self.facts.outputs;
        outputs.iter().find(|output| output.path == path).or_else(|| {
            let directory = split(path).0;
            outputs.iter().find(|output| output.path == directory && output.kind == OutputKind::HashDirectory)
        })
    }

    /// Notes that a change is skipped, and what is skipped with it.
    fn note(&self, guard: &Guard, change: &PlannedChange, why: Obstacle, left: &mut Left) -> Result<()> {
        let path = &change.path;
        left.paths.insert(path.clone());
        left.whys.insert(path.clone(), why.clone());
        left.locations.insert(self.view.location(path)?);
        let shown =
            match (self.output_of(path), self.stores.found.iter().find(|found| found.files().contains(path)))
            {
                (_, Some(found)) => {
                    let named = self.selection.is_some_and(|selection| match found.kind {
                        OutputKind::NssDatabase => {
                            selection.nss == StorePolicy::Named
                                || selection.nss_directories.contains(&found.path)
                        }
                        _ => selection.java == StorePolicy::Named,
                    });
                    // The private store has a keystore, but no NSS database.
                    if named && (found.kind == OutputKind::NssDatabase || !guard.skips_all) {
                        let what = format!("cannot write the {}: {why}", found.kind.words());
                        return Err(Error::failed(what)
                            .at(self.view.sysroot().display(path))
                            .hint(why.hint()));
                    }
                    found.path.clone()
                }
                (Some(output), None) => {
                    if output.kind == OutputKind::HashDirectory {
                        left.hashed
                            .insert(self.view.location(path).map(|location| split(&location).0.to_owned())?);
                    }
                    self.refuse_to_keep_unwanted(output, &why)?;
                    if self.holds_all(output) {
                        return Ok(());
                    }
                    output.path.clone()
                }
                (None, None) => split(path).0.to_owned(),
            };
        if !left.skipped.iter().any(|skipped| skipped.path == shown) {
            left.skipped.push(Skipped { path: shown, why });
        }
        Ok(())
    }

    /// Whether an output already offers every root that it should: then it is as good as written.
    fn holds_all(&self, output: &Output) -> bool {
        self.facts.offers.get(&output.path).is_some_and(|offer| {
            offer.damage.is_none()
                && self.wanted.anchors.iter().all(|anchor| {
                    let for_this = output.purpose.is_none_or(|purpose| anchor.certificate.allows(purpose));
                    !for_this || offer.roots.contains_key(&anchor.certificate.fingerprint())
                })
        })
    }

    /// A root that should be removed must not stay silently.
    fn refuse_to_keep_unwanted(&self, output: &Output, why: &Obstacle) -> Result<()> {
        let offered = |fingerprint: &Fingerprint| {
            self.facts.offers.get(&output.path).is_some_and(|offer| offer.roots.contains_key(fingerprint))
        };
        match self.unwanted.iter().any(|anchor| offered(&anchor.fingerprint)) {
            true => Err(self.cannot_remove(&output.path, why)),
            false => Ok(()),
        }
    }

    fn cannot_remove(&self, path: &str, why: &Obstacle) -> Error {
        let what = match self.unwanted.first() {
            Some(anchor) => {
                format!("cannot remove the root certificate `{}`: {why}", text::escape(&anchor.name))
            }
            None => format!("cannot restore this path: {why}"),
        };
        Error::failed(what).at(self.view.sysroot().display(path)).hint(why.hint())
    }
}

/// Whether the change at `path` makes a directory that other changes need: it is skipped with them.
fn is_on_the_way(changes: &[PlannedChange], path: &str) -> bool {
    changes.iter().any(|change| change.path == path && matches!(change.to, Node::Directory { .. }))
}

/// The warning for each path that is skipped.
pub(super) fn warnings(skipped: &[Skipped]) -> impl Iterator<Item = String> {
    skipped.iter().map(|skipped| format!("skipped `{}`: {}", text::escape(&skipped.path), skipped.why))
}
