//! What the journal of a killed run restores. A hostile image may ship one (threat T34), so it is accepted only as far
//! as it is plausible: a root is restored only if the journal's own former state records it, no mode and no owner gives
//! more than now, and a new name is removed only if it leads to what the run installed. What a program of the
//! distribution has changed since stays as that program made it.

use std::collections::{BTreeMap, BTreeSet};

use super::journal::{Journal, put_one};
use super::{file_set, of_nodes};
use crate::error::{Error, Result};
use crate::pki::cert::Certificate;
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::checkpoint::Checkpoints;
use crate::rootfs::path::{child, join};
use crate::rootfs::record::{Mark, Saved};
use crate::rootfs::tree::{self, Node};
use crate::rootfs::{FileKind, Sysroot, split};
use crate::text;
use crate::trust::ours::Ours;
use crate::trust::plausible::{self, Plausibility};
use crate::trust::state::{State, Status};
use crate::trust::updater::rehash;
use crate::trust::view::View;

/// Alpine's program's name for the bundle while it writes it, before six random characters.
const ALPINES: &str = "bundle";

/// A root that the journal of a killed run restores in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BroughtBack {
    /// SHA-256 of the DER.
    pub(crate) fingerprint: Fingerprint,
    /// The subject, for people.
    pub(crate) subject: String,
    /// The file.
    pub(crate) path: String,
}

/// The state before the killed run, and the roots that undoing it restores; `None` if no run was killed. Changes
/// nothing.
///
/// # Errors
/// The journal is damaged or forged.
pub(crate) fn predicted_recovery(sysroot: &Sysroot) -> Result<Option<(State, Vec<BroughtBack>)>> {
    let Some(journal) = Journal::load(sysroot)? else { return Ok(None) };
    let recovery = Recovery::new(sysroot, &journal)?;
    let mut back = Vec::new();
    for (path, before) in recovery.steps.iter().chain(&recovery.watched) {
        let gained = plausible::gained(&recovery.view, path, before)?;
        back.extend(gained.into_iter().map(|(fingerprint, subject)| BroughtBack {
            fingerprint,
            subject,
            path: path.clone(),
        }));
    }
    Ok(Some((recovery.former, back)))
}

/// What to undo, decided before anything changes.
struct Recovery<'a> {
    /// The tree as the killed run left it, and without the roots that it installed.
    view: View<'a>,
    /// The state before that run.
    former: State,
    /// The roots that it installed.
    introduced: BTreeSet<Fingerprint>,
    /// Their anchor files.
    files: BTreeSet<String>,
    /// The nodes to restore at the paths of steps, in the order of the steps.
    steps: Vec<(String, Node)>,
    /// The same for what the distribution's own program may have changed.
    watched: Vec<(String, Node)>,
    /// What is not accepted, for people.
    notes: Vec<String>,
}

impl<'a> Recovery<'a> {
    fn new(sysroot: &'a Sysroot, journal: &Journal) -> Result<Self> {
        let former = match journal.former_state() {
            Some(state) => State::parse(sysroot, state)?,
            None => State::default(),
        };
        let recorded: BTreeSet<Fingerprint> = former
            .anchors
            .iter()
            .filter(|anchor| anchor.status != Status::Recorded)
            .map(|anchor| anchor.fingerprint)
            .collect();
        let (introduced, files) = introduced(sysroot, journal, &recorded)?;
        let ours = Ours { installed: introduced.clone(), files: files.clone(), ..Ours::default() };
        let view = View::new(sysroot, ours)?;
        let mut recovery = Recovery {
            view,
            former,
            introduced,
            files,
            steps: Vec::new(),
            watched: Vec::new(),
            notes: Vec::new(),
        };
        for step in &journal.steps {
            let actual = recovery.view.actual(&step.path)?;
            // What others have changed since stays.
            if step.record.after.matches(&actual)
                && let Some(before) = step.record.before.restore(&actual)
            {
                let node = recovery.believed(&step.path, before, &recorded)?;
                recovery.steps.push((step.path.clone(), node));
            }
        }
        recovery.watch(journal, &recorded)?;
        Ok(recovery)
    }

    /// What the distribution's own program may have changed: restored, unless the vendor's files changed since. Then
    /// its outputs are right, except for what the killed run installed.
    fn watch(&mut self, journal: &Journal, recorded: &BTreeSet<Fingerprint>) -> Result<()> {
        let mut changed = false;
        for watched in &journal.watched {
            let Some(before) = watched.before.restore(&Node::Absent) else { continue };
            let is_newer = self.is_newer(&watched.path, &before)?;
            if is_newer && !changed {
                let shown = text::escape(&self.view.sysroot().display(&watched.path));
                self.notes.push(format!(
                    "`{shown}` changed since a run was killed: the distribution's stores are left as they are, without the roots of that run"
                ));
            }
            let doubts = self.notes.len();
            let node = if is_newer { before } else { self.believed(&watched.path, before, recorded)? };
            changed |= is_newer || self.notes.len() > doubts;
            self.watched.push((watched.path.clone(), node));
        }
        if changed {
            for (path, node) in &mut self.watched {
                *node = (*self.view.original(path)?).clone();
            }
        }
        Ok(())
    }

    /// `before` as far as it is plausible; else the current node, without what the killed run installed.
    fn believed(&mut self, path: &str, before: Node, recorded: &BTreeSet<Fingerprint>) -> Result<Node> {
        Ok(match plausible::judge(&self.view, path, before, recorded)? {
            Plausibility::Believed(node, _) => node,
            Plausibility::Doubted(why) => {
                let shown = text::escape(&self.view.sysroot().display(path));
                self.notes.push(format!(
                    "the journal of a killed run is not believed about `{shown}`: {why}; that path is left as it is, without the roots of that run"
                ));
                (*self.view.original(path)?).clone()
            }
        })
    }

    /// Whether the path holds a root now that neither its former content nor the killed run brought.
    fn is_newer(&self, path: &str, before: &Node) -> Result<bool> {
        let Node::File(before) = before else { return Ok(false) };
        let former = plausible::in_content(&before.content);
        let now = plausible::present(&self.view, path)?;
        Ok(now.iter().any(|root| !former.contains(root) && !self.introduced.contains(root)))
    }

    /// Whether a new file is one that the distribution's program was writing: named after an output, of a form that no
    /// program reads, and with no roots that the outputs or the killed run did not have.
    fn is_temporary(&self, name: &str, roots: &BTreeSet<Fingerprint>) -> Result<bool> {
        let is_read = rehash::is_candidate(name) || rehash::parse_name(name).is_some();
        let mut held = self.introduced.clone();
        let mut is_named = name.starts_with(ALPINES);
        for (path, before) in &self.watched {
            let Node::File(before) = before else { continue };
            is_named |= name.strip_prefix(split(path).1).is_some_and(|rest| rest.starts_with('.'));
            held.extend(plausible::in_content(&before.content));
            held.extend(plausible::present(&self.view, path)?);
        }
        Ok(!is_read && is_named && roots.is_subset(&held))
    }

    /// The names that the distribution's program made from what the killed run installed: links that lead to those
    /// files, or dangle, and files with nothing but those roots. Only these are removed: the journal cannot know the
    /// new names, and another program may have made others (threat T34).
    fn new_names(&self, directories: &[String]) -> Result<Vec<(String, String)>> {
        let listed: BTreeSet<String> =
            self.watched.iter().map(|(path, _)| self.view.location(path)).collect::<Result<_>>()?;
        let mut gone: BTreeSet<String> = self.files.clone();
        let mut found = Vec::new();
        loop {
            let before = found.len();
            for directory in directories {
                for name in self.view.actual_names(directory)? {
                    let path = child(directory, &name);
                    let location = self.view.location(&path)?;
                    if gone.contains(&location) || listed.contains(&location) {
                        continue;
                    }
                    let goes = match self.view.actual(&path)?.as_ref() {
                        Node::Link { target } => {
                            let end = join(split(&location).0, target);
                            gone.contains(&end)
                                || gone.contains(&self.view.location(&end)?)
                                || self.view.follow_actual(&path)?.is_none()
                        }
                        Node::File(file) => {
                            let roots = plausible::in_content(&file.content);
                            !roots.is_empty() && roots.is_subset(&self.introduced)
                                || self.is_temporary(&name, &roots)?
                        }
                        _ => false,
                    };
                    if goes {
                        gone.insert(location);
                        found.push((directory.clone(), name));
                    }
                }
            }
            if found.len() == before {
                return Ok(found);
            }
        }
    }
}

/// The roots that the killed run installed, and their anchor files: what its steps made where nothing was, and what did
/// not come from an earlier run.
fn introduced(
    sysroot: &Sysroot,
    journal: &Journal,
    recorded: &BTreeSet<Fingerprint>,
) -> Result<(BTreeSet<Fingerprint>, BTreeSet<String>)> {
    let (mut roots, mut files) = (BTreeSet::new(), BTreeSet::new());
    let view = View::new(sysroot, Ours::default())?;
    let Some(anchors) = journal.anchor_directory(sysroot) else { return Ok((roots, files)) };
    for step in &journal.steps {
        let (directory, _) = split(&step.path);
        if directory != anchors || step.record.before != Saved::Absent {
            continue;
        }
        let actual = view.actual(&step.path)?;
        if !matches!(step.record.after, Mark::File(_)) || !step.record.after.matches(&actual) {
            continue;
        }
        let certificates = view.actual_certificates(&step.path).unwrap_or_default();
        roots.extend(certificates.iter().map(Certificate::fingerprint));
        files.insert(view.location(&step.path)?);
    }
    roots.retain(|root| !recorded.contains(root));
    Ok((roots, files))
}

impl Journal {
    /// Restores every path to its state before the killed run, as far as the journal is plausible; a path that others
    /// have changed since stays. Returns what is not accepted, for people.
    pub(super) fn turn_back(&self, sysroot: &Sysroot) -> Result<Vec<String>> {
        let recovery = Recovery::new(sysroot, self)?;
        let mut failed = Vec::new();
        for (directory, name) in recovery.new_names(&self.directories)? {
            let path = child(&directory, &name);
            if put_one(sysroot, &path, &Node::Absent).is_err() {
                failed.push(sysroot.display(&path));
            }
        }
        // The program's own temporary files, from the table of programs.
        for path in &self.leftovers {
            let removed = || -> Result<()> {
                match sysroot.lstat(path)?.map(|meta| meta.kind) {
                    Some(FileKind::File | FileKind::Link) => put_one(sysroot, path, &Node::Absent),
                    _ => Ok(()),
                }
            };
            if removed().is_err() {
                failed.push(sysroot.display(path));
            }
        }
        for (path, node) in &recovery.watched {
            if put_one(sysroot, path, node).is_err() {
                failed.push(sysroot.display(path));
            }
        }
        let nodes: BTreeMap<&str, &Node> =
            recovery.steps.iter().map(|(path, node)| (path.as_str(), node)).collect();
        let mut set = file_set(sysroot, None);
        let mut former = Vec::new();
        for step in self.steps.iter().rev() {
            set.remove_staged(&step.path, &step.temporary)?;
            let actual = tree::read(sysroot, &step.path)?;
            if let Some(node) = nodes.get(step.path.as_str())
                && step.record.after.matches(&actual)
                && actual != **node
            {
                former.push((&step.path, actual, *node));
            }
        }
        let mut changes = Vec::with_capacity(former.len());
        for (path, actual, node) in &former {
            changes.push(of_nodes(sysroot, path, actual, node)?);
        }
        set.apply(&changes, &mut Checkpoints::off()).map_err(|(_, error)| error)?;
        if failed.is_empty() {
            Ok(recovery.notes)
        } else {
            Err(Error::failed("could not undo what a killed run left").with_changed(failed))
        }
    }
}
