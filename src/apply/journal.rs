//! The journal: how to turn back every step of a run that was killed. Written whole before the first step, removed
//! after the state is recorded. It may come from a hostile image: it is held against the row's table before it is
//! believed (threat T11).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::put;
use crate::error::{Error, Result};
use crate::plan::{Plan, Step};
use crate::rootfs::Sysroot;
use crate::rootfs::path::child;
use crate::rootfs::record::{Mark, Record, Saved};
use crate::rootfs::tree::{self, Node};
use crate::state::{self, State};
use crate::trust::distro::{self, Distro};
use crate::trust::updater::Ownership;

/// The journal's file in the state directory.
pub(super) const FILE: &str = "journal.json";
/// The temporary name of what undo writes.
pub(super) const UNDO: &str = ".trustup-undo.tmp";
/// The temporary name of a copy (`--ca-out`).
pub(super) const COPY: &str = ".trustup-copy.tmp";
/// Room for the former bundles of a native run.
const LIMIT: u64 = 256 * 1024 * 1024;

/// How to turn a run back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    pub(super) row: String,
    /// Directories on the way to the state directory that this run made.
    pub(super) made: Vec<String>,
    pub(super) steps: Vec<JournalStep>,
    pub(super) watched: Vec<Watched>,
    pub(super) directories: Vec<String>,
    pub(super) leftovers: Vec<String>,
    /// The state file before this run, as text; `None` if there was none.
    state: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JournalStep {
    pub(super) path: String,
    pub(super) temporary: String,
    pub(super) record: Record,
}

/// A path that a native tool may change: what stood there, whole.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Watched {
    pub(super) path: String,
    pub(super) before: Saved,
}

/// The temporary name of the step with this index; `.tmp` so that no trust update takes it for a certificate.
pub(super) fn temporary(index: usize) -> String {
    format!(".trustup-{index}.tmp")
}

/// The row that a run works with.
fn known_row(id: &str) -> Result<&'static Distro> {
    [false, true]
        .into_iter()
        .find_map(|is_private| distro::by_id(id, is_private))
        .ok_or_else(|| Error::failed("the journal names a row that no table has"))
}

impl Journal {
    pub(super) fn new(sysroot: &Sysroot, plan: &Plan, row: &str, made: Vec<String>) -> Result<Self> {
        let mut journal = Journal {
            row: row.to_owned(),
            made,
            steps: Vec::new(),
            watched: Vec::new(),
            directories: Vec::new(),
            leftovers: Vec::new(),
            state: sysroot
                .read(&child(sysroot.state_directory(), state::FILE), LIMIT)?
                .map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned()),
        };
        for (index, step) in plan.steps.iter().enumerate() {
            match step {
                // A copy is somebody's file, not a store: nobody may name it in a journal.
                Step::Change(change) if change.is_copy => {}
                Step::Change(change) => {
                    let Some(after) = Mark::of(&change.to) else { continue };
                    let mut record = Record::new(Saved::new(&change.from, &change.to)?, after);
                    state::attribute(sysroot, known_row(row)?, &change.path, &mut record, None);
                    journal.steps.push(JournalStep {
                        path: change.path.clone(),
                        temporary: temporary(index),
                        record,
                    });
                }
                Step::Run(run) => {
                    for path in &run.watched {
                        let before = tree::read(sysroot, path)?;
                        // Neither is the tool's to change: a device, and a directory in the place of a store's file.
                        let odd = before == Node::Special
                            || matches!(before, Node::Directory { .. })
                                && known_row(row)?.updater.owns(path) == Ownership::Foreign;
                        if !odd {
                            let before = Saved::new(&before, &Node::Absent)?;
                            journal.watched.push(Watched { path: path.clone(), before });
                        }
                    }
                    journal.directories.extend(run.directories.iter().cloned());
                    journal.leftovers.extend(run.leftovers.iter().cloned());
                }
            }
        }
        Ok(journal)
    }

    /// The bytes to write; what [`Journal::load`] would refuse afterwards is refused now (threat T38).
    ///
    /// # Errors
    /// The journal is too large, or names something that is not trustup's to change.
    pub(super) fn to_bytes(&self, sysroot: &Sysroot) -> Result<Vec<u8>> {
        let at = |error: Error| error.at(sysroot.display(&child(sysroot.state_directory(), FILE)));
        let bytes = serde_json::to_vec(self)
            .map_err(|error| at(Error::failed("could not write the journal").because(error)))?;
        if bytes.len() as u64 > LIMIT {
            return Err(at(Error::failed(format!(
                "the journal of this change would have {} MiB, more than the {} MiB that trustup reads",
                bytes.len() >> 20,
                LIMIT >> 20
            ))
            .hint("a file in a trust store is far too large: `trustup detect` lists the stores; remove that file and run again")));
        }
        self.check(sysroot).map_err(|error| {
            at(error)
                .hint("trustup could not read this journal again, so it changes nothing; please report this")
        })?;
        Ok(bytes)
    }

    /// The journal that a killed run left; `None` if there is none.
    pub(super) fn load(sysroot: &Sysroot) -> Result<Option<Self>> {
        let path = child(sysroot.state_directory(), FILE);
        let Some((bytes, _)) = sysroot.read(&path, LIMIT)? else { return Ok(None) };
        let place = sysroot.display(&path);
        let refused = |error: Error| {
            error.at(&place).hint(format!("look who wrote it; then remove `{place}` and run again"))
        };
        let mut journal: Journal = serde_json::from_slice(&bytes).map_err(|error| {
            refused(Error::failed("the journal of a killed run is damaged").because(error))
        })?;
        let unclaimed = journal.check(sysroot).map_err(refused)?;
        journal.steps.retain(|step| !unclaimed.contains(&step.path));
        Ok(Some(journal))
    }

    /// Holds every path and mode against the row's table. Answers with the paths that nothing in the tree supports any
    /// more: they are not turned back.
    fn check(&self, sysroot: &Sysroot) -> Result<BTreeSet<String>> {
        let row = distro::by_id(&self.row, sysroot.is_private())
            .ok_or_else(|| Error::failed("the journal names a row that no table has"))?;
        let former = match &self.state {
            Some(state) => State::parse(sysroot, state.as_bytes())?,
            None => State::default(),
        };
        let watched: Vec<(String, Record)> = self
            .watched
            .iter()
            .map(|watched| (watched.path.clone(), Record::new(watched.before.clone(), Mark::Absent)))
            .collect();
        let steps = self.steps.iter().map(|step| (&step.path, &step.record));
        let stores = former.records.keys().chain(former.added.keys());
        let all = steps.chain(watched.iter().map(|(path, record)| (path, record)));
        let unclaimed = state::check_records(sysroot, row, all, stores)?;
        // Only on `/` does a native tool ever run, and only in these directories.
        let tool = row.updater.native().filter(|_| sysroot.is_host());
        let directories = row.updater.native_directories();
        let of_the_tool = tool.map_or(
            self.watched.is_empty() && self.directories.is_empty() && self.leftovers.is_empty(),
            |tool| {
                self.directories.iter().all(|path| directories.contains(path))
                    && self.leftovers.iter().all(|path| tool.leftovers.contains(&path.as_str()))
            },
        );
        let on_the_way = |path: &String| {
            path.starts_with('/') && sysroot.state_directory().starts_with(&format!("{path}/"))
        };
        let temporary = |name: &String| name.starts_with(".trustup-") && !name.contains('/');
        let fine = of_the_tool
            && self.made.iter().all(on_the_way)
            && self.steps.iter().all(|step| temporary(&step.temporary));
        if fine {
            Ok(unclaimed.into_iter().map(|unclaimed| unclaimed.path).collect())
        } else {
            Err(Error::failed("the journal names paths that are not trustup's to change"))
        }
    }

    /// Where the row's anchors go.
    pub(super) fn anchor_directory(&self, sysroot: &Sysroot) -> Option<&'static str> {
        let row = distro::by_id(&self.row, sysroot.is_private())?;
        row.updater.anchor_directory().map(|directory| directory.path)
    }

    /// The state file to bring back, once everything else is back.
    pub(super) fn former_state(&self) -> Option<&[u8]> {
        self.state.as_ref().map(String::as_bytes)
    }
}

/// Brings back what a native tool changed: the watched paths, and new names in the directories go. Answers with the
/// paths that could not be brought back.
pub(super) fn restore_watched(
    sysroot: &Sysroot,
    before: &BTreeMap<String, Node>,
    directories: &[String],
) -> Vec<String> {
    let mut failed = Vec::new();
    for directory in directories {
        for name in sysroot.list(directory).ok().flatten().unwrap_or_default() {
            let path = child(directory, &name);
            let is_new = !before.contains_key(&path);
            let removed = || -> Result<()> {
                match tree::read(sysroot, &path)? {
                    Node::File(_) | Node::Link { .. } => sysroot.directory(directory)?.remove(&name),
                    _ => Ok(()),
                }
            };
            if is_new && removed().is_err() {
                failed.push(sysroot.display(&path));
            }
        }
    }
    for (path, node) in before {
        let restored = || -> Result<()> {
            let actual = tree::read(sysroot, path)?;
            if actual == *node { Ok(()) } else { put(sysroot, path, &actual, node, UNDO, None) }
        };
        if restored().is_err() {
            failed.push(sysroot.display(path));
        }
    }
    failed
}
