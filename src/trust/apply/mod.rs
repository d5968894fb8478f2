//! The one executor: lock, journal, atomic steps, undo. Nothing else changes the trust stores of a root file system.
//!
//! Every step is a rename or an unlink of the file-set engine, so that a path is the old or the new one at any instant.
//! Before the first step, the journal records how to undo each of them; a killed run leaves it behind, and the next run
//! undoes everything before it begins.

mod journal;
mod recovery;
mod tool;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};
use crate::process::ToolContext;
use crate::rootfs::checkpoint::Checkpoints;
use crate::rootfs::directory::Attributes;
use crate::rootfs::file_set::{self, After, Before, FileSet, Rules};
use crate::rootfs::own_directory::{self, DirectoryRequest, OwnDirectory, Unavailable};
use crate::rootfs::path::child;
use crate::rootfs::tree::Node;
use crate::rootfs::{STATE_DIRECTORY, Sysroot};
use crate::trust::owners;
use crate::trust::plan::{Plan, PlannedChange, Step};
use crate::trust::state::{self, State};
use crate::trust::summary;

use journal::Journal;
pub(crate) use recovery::{BroughtBack, predicted_recovery};

/// A run that may change the sysroot: holds the lock until it is dropped.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    sysroot: &'a Sysroot,
    own: OwnDirectory,
    done: Vec<CarriedOut<'a>>,
    checkpoints: Checkpoints,
    /// The state file as it was, and whether this run has replaced it.
    former_state: Option<Vec<u8>>,
    state_replaced: bool,
    /// For a native tool. Its `SOURCE_DATE_EPOCH` is also the time of what we write, and of the directories that we write
    /// into.
    tool_context: ToolContext,
    /// Messages of a native tool that did not fail.
    complaints: Vec<String>,
    /// How the native tool ended, if it ran.
    tool: Option<tool::ToolEnd>,
    /// The path that the kernel refused to write in the last plan, and the reason.
    refused: Option<(String, Errno)>,
    /// What in a killed run's journal was not accepted, for people.
    recovery_notes: Vec<String>,
}

/// What has been executed, with what is needed to undo it.
#[derive(Debug)]
enum CarriedOut<'a> {
    Set(FileSet<'a>),
    Run { before: BTreeMap<String, Node>, directories: Vec<String> },
}

impl<'a> Session<'a> {
    /// Takes the lock, waiting up to `patience`, and undoes what a killed run
    /// left unfinished. Returns whether it had to: the caller must then inspect the tree again before it plans.
    ///
    /// # Errors
    /// The state directory cannot be made or is not ours; another run holds the lock; a journal that is damaged or
    /// names paths that are not ours.
    pub(crate) async fn begin(
        sysroot: &'a Sysroot,
        patience: Duration,
        tool_context: ToolContext,
    ) -> Result<(Self, bool)> {
        let wanted = DirectoryRequest {
            path: sysroot.state_directory(),
            make_above: true,
            stamp: tool_context.stamp,
            accept: &|_| Ok(()),
        };
        let own = OwnDirectory::open(sysroot, &wanted, patience)
            .await
            .map_err(|error| unavailable(sysroot, error))?;
        let mut session = Session {
            sysroot,
            own,
            done: Vec::new(),
            checkpoints: Checkpoints::default(),
            former_state: None,
            state_replaced: false,
            tool_context,
            complaints: Vec::new(),
            tool: None,
            refused: None,
            recovery_notes: Vec::new(),
        };
        let recovered = match Journal::load(sysroot)? {
            None => false,
            Some(journal) => {
                session.own.take_over(sysroot, &journal.made)?;
                session.recovery_notes = journal.turn_back(sysroot)?;
                // The killed run may have recorded its state already: this makes journal and state agree again.
                match journal.former_state() {
                    Some(state) => session.own.write(state::FILE, state)?,
                    None => session.own.remove(state::FILE)?,
                }
                session.own.remove(journal::FILE)?;
                true
            }
        };
        session.former_state = session.own.read(state::FILE, state::LIMIT)?.map(|(bytes, _)| bytes);
        Ok((session, recovered))
    }

    /// The path that the kernel refused to write in the plan that failed last, and the reason: for what cannot be
    /// foreseen (a security module, a mount of another namespace).
    pub(crate) fn refused(&mut self) -> Option<(String, Errno)> {
        self.refused.take()
    }

    /// What in the journal of a killed run was not accepted, for people.
    pub(crate) fn recovery_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.recovery_notes)
    }

    /// Executes the plan. On an error, everything is as before, or the error names the paths that are not.
    pub(crate) async fn apply(&mut self, plan: &Plan, row: &str) -> Result<()> {
        let journaled = self.write_journal(plan, row);
        journaled.map_err(|error| self.refused_to_record(error))?;
        let mut steps = plan.steps.as_slice();
        while let [first, rest @ ..] = steps {
            if let Step::Run(run) = first {
                self.checkpoints.pass("run", &run.program);
                self.run(run).await.map_err(|error| {
                    self.refused = None;
                    self.undo(error)
                })?;
                steps = rest;
                continue;
            }
            let changes = |step: &&Step| matches!(step, Step::Change(_));
            let count = steps.iter().take_while(changes).count();
            self.change(&steps[..count])?;
            steps = &steps[count..];
        }
        self.sync().map_err(|error| self.undo(error))
    }

    /// Makes the changes among `steps`, as one set.
    fn change(&mut self, steps: &[Step]) -> Result<()> {
        let planned: Vec<&PlannedChange> = steps.iter().filter_map(Step::change).collect();
        let mut changes = Vec::with_capacity(planned.len());
        for change in &planned {
            changes.push(of_nodes(self.sysroot, &change.path, &change.from, &change.to)?);
        }
        let mut set = file_set(self.sysroot, self.tool_context.stamp);
        let applied = set.apply(&changes, &mut self.checkpoints);
        self.complaints.extend(set.warnings());
        self.done.push(CarriedOut::Set(set));
        applied.map_err(|(index, error)| {
            let refused = planned.get(index).filter(|change| !change.is_copy);
            self.refused = refused.and_then(|change| refusal(&error).map(|why| (change.path.clone(), why)));
            self.undo(error)
        })
    }

    /// Notes that the directory that cannot be written is our own.
    fn refused_to_record(&mut self, error: Error) -> Error {
        let own = self.sysroot.state_directory().to_owned();
        self.refused = refusal(&error).map(|why| (own, why));
        error
    }

    /// Writes the entries of every changed directory to disk.
    fn sync(&self) -> Result<()> {
        self.done.iter().try_for_each(|done| match done {
            CarriedOut::Set(set) => set.sync(),
            CarriedOut::Run { .. } => Ok(()),
        })
    }

    fn write_journal(&self, plan: &Plan, row: &str) -> Result<()> {
        let journal = Journal::new(self.sysroot, plan, row, self.own.made())?;
        self.own.write(journal::FILE, &journal.to_bytes(self.sysroot)?)
    }

    /// Undoes every step done so far. Returns the error, with the paths that are still changed.
    pub(crate) fn undo(&mut self, error: Error) -> Error {
        let mut changed = Vec::new();
        let ran = self.done.iter().any(|done| matches!(done, CarriedOut::Run { .. }));
        let error = if ran {
            error.hint("hooks of the distribution's tool may have run; trustup cannot undo those")
        } else {
            error
        };
        while let Some(done) = self.done.pop() {
            match done {
                CarriedOut::Set(mut set) => changed.extend(set.undo()),
                CarriedOut::Run { before, directories } => {
                    changed.extend(journal::restore_watched(self.sysroot, &before, &directories));
                }
            }
        }
        if self.state_replaced {
            let restored = match &self.former_state {
                Some(state) => self.own.write(state::FILE, state),
                None => self.own.remove(state::FILE),
            };
            if restored.is_err() {
                changed.push(self.sysroot.display(&child(self.sysroot.state_directory(), state::FILE)));
            }
        }
        if changed.is_empty() {
            // The journal has nothing left to undo.
            let _ = self.own.remove(journal::FILE);
            return error;
        }
        error.with_changed(changed).hint("the journal is kept: the next run tries again to undo this")
    }

    /// Records `state` and removes the journal: the run is complete. An empty state removes everything of ours. `summary`
    /// is what other users may read of it.
    ///
    /// # Errors
    /// It cannot be written, or trustup would not accept it afterwards (threat T38).
    pub(crate) fn commit(&mut self, state: &State, summary: Option<&[u8]>) -> Result<()> {
        self.record(state, summary).map_err(|error| self.refused_to_record(error))
    }

    fn record(&mut self, state: &State, summary: Option<&[u8]>) -> Result<()> {
        state.check_before_writing(self.sysroot)?;
        if summary::is_kept(self.sysroot) {
            // Before the state: a run that is killed in between is undone as a whole, and writes both again.
            let mut set = file_set(self.sysroot, self.tool_context.stamp);
            let bytes = summary.filter(|_| !state.is_empty());
            let written =
                summary::write(self.sysroot, &mut set, &mut self.checkpoints, bytes, self.tool_context.stamp);
            self.done.push(CarriedOut::Set(set));
            written?;
        }
        self.checkpoints.pass("record", state::FILE);
        self.state_replaced = true;
        if state.is_empty() {
            self.own.remove(state::FILE)?;
            self.own.take_over(self.sysroot, &state.directories)?;
        } else {
            let mut state = state.clone();
            for made in self.own.made() {
                if !state.directories.contains(&made) {
                    state.directories.push(made);
                }
            }
            self.own.write(state::FILE, &state.to_bytes()?)?;
        }
        self.checkpoints.pass("forget", journal::FILE);
        self.own.remove(journal::FILE)?;
        self.own.directory().sync()?;
        self.stamp_directories()
    }

    /// With `SOURCE_DATE_EPOCH`, the directories that we wrote into get that time too: image layers record it.
    fn stamp_directories(&mut self) -> Result<()> {
        let Some(seconds) = self.tool_context.stamp else { return Ok(()) };
        let mut watched = BTreeSet::new();
        for done in &self.done {
            match done {
                CarriedOut::Set(set) => set.stamp_directories(seconds)?,
                CarriedOut::Run { directories, .. } => watched.extend(directories),
            }
        }
        for directory in watched {
            if self.sysroot.stat(directory)?.is_some() {
                FileSet::stamp_directory(self.sysroot, directory, seconds)?;
            }
        }
        self.own.stamp_above(seconds)
    }
}

/// Why there is no session, with a hint.
fn unavailable(sysroot: &Sysroot, why: Unavailable) -> Error {
    let place = sysroot.display(sysroot.state_directory());
    match why {
        Unavailable::Busy(lock) => Error::failed("another run of trustup holds the lock")
            .at(lock)
            .hint("wait for it to end; `--timeout` sets how long trustup waits"),
        Unavailable::Failed(error) if error.kind() != ErrorKind::Unsupported => {
            match error.cause::<Errno>() {
                Some(_) => error.hint("trustup keeps what it needs for `untrust` there"),
                None => error,
            }
        }
        Unavailable::Failed(error) if sysroot.is_private() || sysroot.state_directory() != STATE_DIRECTORY => {
            error.hint("`--private-dir DIR` names a directory on a file system with locks, such as a local volume or a tmpfs")
        }
        Unavailable::Failed(error) if sysroot.is_host() => error.hint(format!(
            "mount a file system with locks at `{place}`, such as a local volume, an `emptyDir` or a tmpfs, and run `chmod 700 {place}`; or run trustup where the image is built"
        )),
        Unavailable::Failed(error) => {
            error.hint("copy the root file system to a local disk, and run trustup on the copy")
        }
    }
}

/// The reason of a refused write, if `error` is one that other paths may not have: a read-only file system, a missing
/// permission, a mount point, a file in use.
pub(crate) fn refusal(error: &Error) -> Option<Errno> {
    let errno = *error.cause::<Errno>()?;
    matches!(errno, Errno::ROFS | Errno::ACCESS | Errno::PERM | Errno::BUSY | Errno::TXTBSY).then_some(errno)
}

/// Whether a killed run left a journal behind.
pub(crate) fn was_killed(sysroot: &Sysroot) -> Result<bool> {
    Journal::is_there(sysroot)
}

/// Whether a killed run left anything behind that the current user can remove: a journal, what it staged in our own
/// directory, or a lock that no process holds.
pub(crate) fn left_behind(sysroot: &Sysroot) -> Result<bool> {
    let own = sysroot.state_directory();
    Ok(was_killed(sysroot)?
        || own_directory::has_leftovers(sysroot, own, &[state::FILE]) && sysroot.is_writable(own)?)
}

/// An empty set of this root file system's changes.
fn file_set(sysroot: &Sysroot, stamp: Option<i64>) -> FileSet<'_> {
    FileSet::new(sysroot, sysroot.display(sysroot.state_directory()), stamp)
}

/// A change of a trust store, from one node to another.
fn of_nodes<'n>(
    sysroot: &Sysroot,
    path: &'n str,
    from: &'n Node,
    to: &'n Node,
) -> Result<file_set::Change<'n>> {
    let after = match to {
        Node::Absent => After::Absent,
        Node::Directory { mode } => After::Directory(*mode, None),
        Node::Link { target } => After::Link(target),
        Node::File(file) => After::File(
            &file.content,
            Attributes { mode: file.mode, owner: file.owner, modified: file.modified },
        ),
        Node::Special => {
            return Err(Error::failed("a device, socket or FIFO cannot be made").at(sysroot.display(path)));
        }
    };
    let rules = Rules { with_owners_rights: true, ..owners::rules(path) };
    Ok(file_set::Change { path, before: Before::Is(from), after, rules })
}
