//! The journal: how to undo every step of a killed run. Written whole before the first step, removed after the state is
//! recorded. It may come from a hostile image: it is checked against the row's table before it is used (threat T11).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};

use super::{file_set, of_nodes};
use crate::error::{Error, Result};
use crate::rootfs::checkpoint::Checkpoints;
use crate::rootfs::path::child;
use crate::rootfs::record::{Mark, PathRecord, Saved};
use crate::rootfs::tree::{self, Node};
use crate::rootfs::{FileKind, Sysroot, remedy};
use crate::trust::distro::{self, Distro};
use crate::trust::plan::{Plan, Step};
use crate::trust::state::{self, State, UNREADABLE_HINT};
use crate::trust::updater::Ownership;
use crate::versioned::{Field, Format, Unreadable, check_values, is_newer};

/// The journal's file in the state directory.
pub(super) const FILE: &str = "journal.json";
/// Room for the former bundles of a native run.
const LIMIT: u64 = 256 * 1024 * 1024;

/// Version 1 does not name itself. Version 2: `via` in a record gives the reason why its path was ours to change.
const FORMAT: Format =
    Format { what: "journal of a killed run", field: Field::Schema, newest: 2, unnamed: Some(1) };

/// How to undo a run. It is read once and removed: fields that only a newer trustup knows are ignored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Journal {
    /// Version of the format: the lowest whose readers interpret the file correctly.
    #[serde(default = "unnamed", skip_serializing_if = "is_unnamed")]
    schema: u64,
    pub(super) row: String,
    /// Directories on the way to the state directory that this run made.
    pub(super) made: Vec<String>,
    pub(super) steps: Vec<JournalStep>,
    pub(super) watched: Vec<Watched>,
    pub(super) directories: Vec<String>,
    pub(super) leftovers: Vec<String>,
    /// The state file before this run, as text; `Some(None)` if there was none, `None` in the first journals, which do
    /// not contain it.
    #[serde(default, deserialize_with = "named", skip_serializing_if = "Option::is_none")]
    state: Option<Option<String>>,
}

/// A field that is present, `null` included.
fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

fn unnamed() -> u64 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_unnamed(version: &u64) -> bool {
    *version == unnamed()
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct JournalStep {
    pub(super) path: String,
    pub(super) temporary: String,
    pub(super) record: PathRecord,
}

/// A path that a native tool may change: its former node, whole.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Watched {
    pub(super) path: String,
    pub(super) before: Saved,
}

/// The row of a run.
fn known_row(id: &str) -> Result<&'static Distro> {
    [false, true]
        .into_iter()
        .find_map(|is_private| distro::by_id(id, is_private))
        .ok_or_else(|| Error::failed("the journal names an unknown row"))
}

/// The state file as it is, as text; `None` if there is none.
fn state_text(sysroot: &Sysroot) -> Result<Option<String>> {
    let found = sysroot.read(&child(sysroot.state_directory(), state::FILE), LIMIT)?;
    Ok(found.map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned()))
}

impl Journal {
    pub(super) fn new(sysroot: &Sysroot, plan: &Plan, row: &str, made: Vec<String>) -> Result<Self> {
        let mut journal = Journal {
            schema: unnamed(),
            row: row.to_owned(),
            made,
            steps: Vec::new(),
            watched: Vec::new(),
            directories: Vec::new(),
            leftovers: Vec::new(),
            state: Some(state_text(sysroot)?),
        };
        let set = file_set(sysroot, None);
        for step in &plan.steps {
            match step {
                // A copy is a user's file, not a store: no journal may name it.
                Step::Change(change) if change.is_copy => {}
                Step::Change(change) => {
                    let Some(after) = Mark::of(&change.to) else { continue };
                    let mut record = PathRecord::new(Saved::new(&change.from, &change.to)?, after);
                    state::attribute(sysroot, known_row(row)?, &change.path, &mut record, None);
                    journal.steps.push(JournalStep {
                        path: change.path.clone(),
                        temporary: set.staged_name(&change.path),
                        record,
                    });
                }
                Step::Run(run) => {
                    for path in &run.watched {
                        let before = tree::read(sysroot, path)?;
                        // The tool may change neither: a device, nor a directory in place of a store's file.
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
        if journal.steps.iter().any(|step| step.record.via.is_some()) {
            journal.schema = 2;
        }
        Ok(journal)
    }

    /// The bytes to write; what [`Journal::load`] would refuse afterwards is refused now (threat T38).
    ///
    /// # Errors
    /// The journal is too large, or names something that trustup may not change.
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
            .hint(UNREADABLE_HINT)));
        }
        check_values(&bytes)
            .map_err(Error::failed)
            .and_then(|()| self.check(sysroot))
            .map_err(|error| at(error).hint(UNREADABLE_HINT))?;
        Ok(bytes)
    }

    /// Whether a killed run left a journal.
    ///
    /// # Errors
    /// A newer trustup wrote it.
    pub(super) fn is_there(sysroot: &Sysroot) -> Result<bool> {
        let path = child(sysroot.state_directory(), FILE);
        if sysroot.lstat(&path)?.is_none() {
            return Ok(false);
        }
        // Any other problem is reported when it is loaded.
        if let Ok(Some((bytes, _))) = sysroot.read(&path, LIMIT) {
            FORMAT.refuse_newer(&bytes, &sysroot.display(&path))?;
        }
        Ok(true)
    }

    /// The journal that a killed run left; `None` if there is none.
    pub(super) fn load(sysroot: &Sysroot) -> Result<Option<Self>> {
        let path = child(sysroot.state_directory(), FILE);
        let Some((bytes, _)) = sysroot.read(&path, LIMIT)? else { return Ok(None) };
        let place = sysroot.display(&path);
        let refused = |error: Error| match is_newer(&error) {
            true => error.at(&place),
            false => error
                .at(&place)
                .hint(format!("find out which program wrote it, {}, and run again", remedy::remove(&place))),
        };
        let mut journal: Journal = FORMAT.read(&bytes, &place).map_err(|unreadable| match unreadable {
            Unreadable::Newer(error) => error,
            Unreadable::Damaged(cause) => {
                refused(Error::failed("the journal of a killed run is damaged").because(cause))
            }
        })?;
        if journal.state.is_none() {
            journal.state = Some(state_text(sysroot)?);
        }
        let unclaimed = journal.check(sysroot).map_err(refused)?;
        journal.steps.retain(|step| !unclaimed.contains(&step.path));
        Ok(Some(journal))
    }

    /// Checks every path and mode against the row's table. Returns the paths that nothing in the tree supports any
    /// more: they are not undone.
    fn check(&self, sysroot: &Sysroot) -> Result<BTreeSet<String>> {
        let row = state::row(&self.row, sysroot).map_err(|unknown| match unknown {
            Some(row) => FORMAT.unknown_value(self.schema, "", &row),
            None => Error::failed("the journal names a row of another kind of tree"),
        })?;
        let former = match self.state.as_ref().and_then(Option::as_ref) {
            Some(state) => State::parse(sysroot, state.as_bytes())?,
            None => State::default(),
        };
        let watched: Vec<(String, PathRecord)> = self
            .watched
            .iter()
            .map(|watched| (watched.path.clone(), PathRecord::new(watched.before.clone(), Mark::Absent)))
            .collect();
        let steps = self.steps.iter().map(|step| (&step.path, &step.record));
        let stores = former.records.keys().chain(former.added.keys());
        let all = steps.chain(watched.iter().map(|(path, record)| (path, record)));
        let unclaimed = state::check_records(sysroot, row, all, stores)?;
        // A native tool runs only on `/`, and only in these directories.
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

    /// The directory of the row's anchors.
    pub(super) fn anchor_directory(&self, sysroot: &Sysroot) -> Option<&'static str> {
        let row = distro::by_id(&self.row, sysroot.is_private())?;
        row.updater.anchor_directory().map(|directory| directory.path)
    }

    /// The state file to restore, once everything else is restored.
    pub(super) fn former_state(&self) -> Option<&[u8]> {
        self.state.as_ref()?.as_ref().map(String::as_bytes)
    }
}

/// Restores what a native tool changed: the watched paths are restored, new names in the directories removed. Returns
/// the paths that could not be restored.
pub(super) fn restore_watched(
    sysroot: &Sysroot,
    before: &BTreeMap<String, Node>,
    directories: &[String],
) -> Vec<String> {
    let mut failed = Vec::new();
    for directory in directories {
        for name in sysroot.list(directory).ok().flatten().unwrap_or_default() {
            let path = child(directory, &name);
            if before.contains_key(&path) {
                continue;
            }
            let kind = sysroot.lstat(&path).ok().flatten().map(|meta| meta.kind);
            if matches!(kind, Some(FileKind::File | FileKind::Link))
                && put_one(sysroot, &path, &Node::Absent).is_err()
            {
                failed.push(sysroot.display(&path));
            }
        }
    }
    for (path, node) in before {
        if put_one(sysroot, path, node).is_err() {
            failed.push(sysroot.display(path));
        }
    }
    failed
}

/// Puts `node` at `path`, whatever is there.
///
/// # Errors
/// It cannot be read or changed.
pub(super) fn put_one(sysroot: &Sysroot, path: &str, node: &Node) -> Result<()> {
    let actual = tree::read(sysroot, path)?;
    if actual == *node {
        return Ok(());
    }
    let change = of_nodes(sysroot, path, &actual, node)?;
    file_set(sysroot, None).apply(&[change], &mut Checkpoints::off()).map_err(|(_, error)| error)
}
