//! The one executor: lock, journal, atomic steps, undo. Nothing else changes a root file system.
//!
//! Every step is a rename or an unlink, so that a path is the old or the new one at any instant. Before the first
//! step, the journal says how to turn each of them back; whoever is killed leaves it behind, and the next run turns
//! everything back before it begins.

mod journal;
mod tool;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::error::{Error, Kind, Result};
use crate::nss;
use crate::plan::{Change, Plan, Step};
use crate::rootfs::checkpoint::Checkpoints;
use crate::rootfs::directory::{Attributes, Directory};
use crate::rootfs::path::child;
use crate::rootfs::tree::{self, Node};
use crate::rootfs::{STATE_DIRECTORY, Sysroot, split};
use crate::state::{self, State};

use journal::Journal;

/// The lock's file in the state directory.
const LOCK: &str = "lock";
/// Between two tries to get the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A run that may change the sysroot: holds the lock until it is dropped.
#[derive(Debug)]
pub struct Session<'a> {
    sysroot: &'a Sysroot,
    /// `SOURCE_DATE_EPOCH`: stamps what we write, and the directories that we write into.
    stamp: Option<i64>,
    lock: Option<OwnedFd>,
    /// Directories on the way to the state directory that we made, outermost first.
    made: Vec<String>,
    /// Whether we made the state directory itself.
    made_own: bool,
    done: Vec<Done>,
    checkpoints: Checkpoints,
    committed: bool,
    /// The state file as it was, and whether this run has replaced it.
    former_state: Option<Vec<u8>>,
    state_replaced: bool,
    tool_timeout: Duration,
    /// What a native tool said that it does not call a failure.
    complaints: Vec<String>,
    /// How the native tool ended, if it ran.
    tool: Option<tool::Ended>,
    /// The path that the kernel refused to write in the last plan, and its reason.
    refused: Option<(String, Errno)>,
}

/// A step that has been carried out, with what it takes to turn it back.
#[derive(Debug)]
enum Done {
    Change(Change),
    Run { before: BTreeMap<String, Node>, directories: Vec<String> },
}

impl<'a> Session<'a> {
    /// Takes the lock, waiting up to `patience` (a native tool may take `tool_timeout`), and turns back what a killed run left half-done. Says whether it had
    /// to: then the caller has to look again before it plans.
    ///
    /// # Errors
    /// The state directory cannot be made or is not ours; another run holds the lock; a journal that is damaged or
    /// names paths that are not ours.
    pub fn begin(
        sysroot: &'a Sysroot,
        stamp: Option<i64>,
        patience: Duration,
        tool_timeout: Duration,
    ) -> Result<(Self, bool)> {
        let mut session = Session {
            sysroot,
            stamp,
            lock: None,
            made: Vec::new(),
            made_own: false,
            done: Vec::new(),
            checkpoints: Checkpoints::default(),
            committed: false,
            former_state: None,
            state_replaced: false,
            tool_timeout,
            complaints: Vec::new(),
            tool: None,
            refused: None,
        };
        session.take_lock(patience)?;
        let recovered = match Journal::load(sysroot)? {
            None => false,
            Some(journal) => {
                session.made.splice(0..0, journal.made.clone());
                journal.turn_back(sysroot)?;
                // The killed run may have recorded its state already: journal and state say the same again.
                match journal.former_state() {
                    Some(state) => session.replace_own(state::FILE, state)?.sync()?,
                    None => session.state_directory()?.remove(state::FILE)?,
                }
                session.state_directory()?.remove(journal::FILE)?;
                true
            }
        };
        let state = sysroot.read(&child(sysroot.state_directory(), state::FILE), state::LIMIT)?;
        session.former_state = state.map(|(bytes, _)| bytes);
        Ok((session, recovered))
    }

    /// The path that the kernel refused to write in the plan that failed last, and its reason: for what nobody could
    /// foresee (a security module, a mount of another namespace).
    pub fn refused(&mut self) -> Option<(String, Errno)> {
        self.refused.take()
    }

    fn take_lock(&mut self, patience: Duration) -> Result<()> {
        let began = Instant::now();
        loop {
            self.sysroot.look_again();
            self.make_state_directory()?;
            match self.state_directory().and_then(|directory| directory.try_lock(LOCK)) {
                Ok(Some(lock)) => {
                    self.lock = Some(lock);
                    return Ok(());
                }
                Ok(None) => {}
                // Waiting does not help where nothing can be locked.
                Err(error) if error.kind() == Kind::Unsupported => {
                    self.take_back_directories();
                    return Err(self.cannot_lock(error));
                }
                // The run before us may have taken the directory away with its last anchor.
                Err(error) if self.sysroot.lstat(self.sysroot.state_directory())?.is_some() => {
                    return Err(error);
                }
                Err(_) => {}
            }
            if began.elapsed() >= patience {
                return Err(Error::failed("another run of trustup holds the lock")
                    .at(self.sysroot.display(&child(self.sysroot.state_directory(), LOCK)))
                    .hint("wait for it to end; `--timeout` says how long we wait"));
            }
            std::thread::sleep(LOCK_PAUSE);
        }
    }

    /// The same error with the way out.
    fn cannot_lock(&self, error: Error) -> Error {
        let place = self.sysroot.display(self.sysroot.state_directory());
        if self.sysroot.is_private() || self.sysroot.state_directory() != STATE_DIRECTORY {
            error.hint("`--private-dir DIR` names a directory on a file system with locks, such as a local volume or a tmpfs")
        } else if self.sysroot.is_host() {
            error.hint(format!(
                "put a file system with locks at `{place}`, such as a local volume, an `emptyDir` or a tmpfs, or run trustup where the image is built"
            ))
        } else {
            error.hint("copy the root file system to a local disk, and run trustup on the copy")
        }
    }

    /// Removes the directories that this run has made, if nothing is in them.
    fn take_back_directories(&mut self) {
        let own = self.made_own.then(|| self.sysroot.state_directory().to_owned());
        let made: Vec<String> = self.made.drain(..).chain(own).collect();
        for path in made.iter().rev() {
            let (parent, name) = split(path);
            // What is left is an empty directory.
            let _ =
                self.sysroot.directory(parent).and_then(|directory| directory.remove_empty_directory(name));
        }
    }

    fn make_state_directory(&mut self) -> Result<()> {
        let mut path = String::new();
        for name in self.sysroot.state_directory().split('/').filter(|name| !name.is_empty()) {
            let parent = if path.is_empty() { "/".to_owned() } else { path.clone() };
            path = child(&path, name);
            if self.sysroot.lstat(&path)?.is_some() {
                continue;
            }
            let mode = if path == self.sysroot.state_directory() { 0o700 } else { 0o755 };
            let attributes = Attributes { mode, owner: None, modified: None };
            match self.sysroot.directory(&parent)?.make_directory(name, attributes) {
                Ok(()) if path != self.sysroot.state_directory() => self.made.push(path.clone()),
                Ok(()) => self.made_own = true,
                // Another run was faster.
                Err(_) if self.sysroot.lstat(&path)?.is_some() => {}
                Err(error) => return Err(error.hint("trustup keeps what it needs for `untrust` there")),
            }
        }
        Ok(())
    }

    fn state_directory(&self) -> Result<Directory> {
        self.sysroot.directory(self.sysroot.state_directory())
    }

    /// Carries out the plan. On an error, everything is as before, or the error names the paths that are not.
    pub fn apply(&mut self, plan: &Plan, row: &str) -> Result<()> {
        let journaled = self.write_journal(plan, row);
        journaled.map_err(|error| self.refused_to_record(error))?;
        for (index, step) in plan.steps.iter().enumerate() {
            self.checkpoints.pass();
            let result = match step {
                Step::Change(change) => {
                    let temporary =
                        if change.is_copy { journal::COPY.to_owned() } else { journal::temporary(index) };
                    apply_change(self.sysroot, change, &temporary, self.stamp)
                        .map(|()| self.done.push(Done::Change(change.clone())))
                }
                Step::Run(run) => self.run(run),
            };
            if let Err(error) = result {
                self.refused = match step {
                    Step::Change(change) if !change.is_copy => {
                        refusal(&error).map(|why| (change.path.clone(), why))
                    }
                    Step::Change(_) | Step::Run(_) => None,
                };
                return Err(self.undo(error));
            }
        }
        self.sync(plan).map_err(|error| self.undo(error))
    }

    /// Notes that it is our own directory that cannot be written.
    fn refused_to_record(&mut self, error: Error) -> Error {
        let own = self.sysroot.state_directory().to_owned();
        self.refused = refusal(&error).map(|why| (own, why));
        error
    }

    /// Brings the entries of every directory that the plan changed to disk, each once.
    fn sync(&self, plan: &Plan) -> Result<()> {
        let directories: BTreeSet<&str> = plan.changes().map(|change| split(&change.path).0).collect();
        for directory in directories {
            if self.sysroot.stat(directory)?.is_some() {
                self.sysroot.directory(directory)?.sync()?;
            }
        }
        Ok(())
    }

    fn write_journal(&self, plan: &Plan, row: &str) -> Result<()> {
        let journal = Journal::new(self.sysroot, plan, row, self.made.clone())?;
        self.replace_own(journal::FILE, &journal.to_bytes(self.sysroot)?)?.sync()
    }

    /// Replaces a file of our own directory; a killed run may have left the temporary one.
    fn replace_own(&self, name: &str, content: &[u8]) -> Result<Directory> {
        let directory = self.state_directory()?;
        let temporary = format!("{name}.new");
        directory.remove(&temporary)?;
        let attributes =
            Attributes { mode: 0o600, owner: None, modified: self.stamp.map(|seconds| (seconds, 0)) };
        directory.replace_file(&temporary, name, content, attributes)?;
        Ok(directory)
    }

    /// Turns back every step done so far. The error comes back, with the paths that are still changed.
    pub fn undo(&mut self, error: Error) -> Error {
        let mut changed = Vec::new();
        let ran = self.done.iter().any(|done| matches!(done, Done::Run { .. }));
        let error = if ran {
            error.hint("hooks of the distribution's tool may have run; trustup cannot turn those back")
        } else {
            error
        };
        for done in std::mem::take(&mut self.done).into_iter().rev() {
            match done {
                Done::Change(change) => {
                    if undo_change(self.sysroot, &change).is_err() {
                        changed.push(self.sysroot.display(&change.path));
                    }
                }
                Done::Run { before, directories } => {
                    changed.extend(journal::restore_watched(self.sysroot, &before, &directories));
                }
            }
        }
        if self.state_replaced {
            let restored = match &self.former_state {
                Some(state) => self.replace_own(state::FILE, state).map(|_| ()),
                None => self.state_directory().and_then(|directory| directory.remove(state::FILE)),
            };
            if restored.is_err() {
                changed.push(self.sysroot.display(&child(self.sysroot.state_directory(), state::FILE)));
            }
        }
        if changed.is_empty() {
            // The journal has nothing left to turn back.
            if let Ok(directory) = self.state_directory() {
                let _ = directory.remove(journal::FILE);
            }
            return error;
        }
        error.with_changed(changed).hint("the journal is kept: the next run tries again to turn this back")
    }

    /// Records `state` and forgets the journal: the run is complete. An empty state takes everything of ours away.
    ///
    /// # Errors
    /// It cannot be written, or trustup would not accept it afterwards (threat T38).
    pub fn commit(&mut self, state: &State) -> Result<()> {
        self.record(state).map_err(|error| self.refused_to_record(error))
    }

    fn record(&mut self, state: &State) -> Result<()> {
        self.checkpoints.pass();
        state.check_before_writing(self.sysroot)?;
        let directory = self.state_directory()?;
        self.state_replaced = true;
        if state.is_empty() {
            directory.remove(state::FILE)?;
        } else {
            let mut state = state.clone();
            for made in &self.made {
                if !state.directories.contains(made) {
                    state.directories.push(made.clone());
                }
            }
            self.replace_own(state::FILE, &state.to_bytes()?)?;
        }
        self.made.extend(
            state.directories.iter().filter(|path| !self.made.contains(path)).cloned().collect::<Vec<_>>(),
        );
        directory.sync()?;
        self.checkpoints.pass();
        directory.remove(journal::FILE)?;
        self.committed = !state.is_empty();
        self.stamp_directories()
    }

    /// With `SOURCE_DATE_EPOCH`, the directories that we wrote into get that time too: image layers hold it.
    fn stamp_directories(&mut self) -> Result<()> {
        let Some(seconds) = self.stamp else { return Ok(()) };
        let mut directories: Vec<String> = Vec::new();
        for done in &self.done {
            match done {
                Done::Change(change) => {
                    directories.push(split(&change.path).0.to_owned());
                    if matches!(change.to, Node::Directory { .. }) {
                        directories.push(change.path.clone());
                    }
                }
                Done::Run { directories: watched, .. } => directories.extend(watched.iter().cloned()),
            }
        }
        directories.extend(self.made.iter().flat_map(|path| [split(path).0.to_owned(), path.clone()]));
        directories.push(split(self.sysroot.state_directory()).0.to_owned());
        directories.sort();
        directories.dedup();
        for directory in directories {
            if self.sysroot.stat(&directory)?.is_some() {
                self.sysroot.directory(&directory)?.stamp((seconds, 0))?;
            }
        }
        Ok(())
    }

    fn clean_up(&mut self) -> Result<()> {
        let Some(lock) = self.lock.take() else { return Ok(()) };
        let directory = self.state_directory()?;
        directory.remove(LOCK)?;
        drop(lock);
        if self.committed {
            if let Some(seconds) = self.stamp {
                directory.stamp((seconds, 0))?;
            }
            return Ok(());
        }
        let empty = directory.list()?.is_empty();
        if empty
            && self
                .sysroot
                .directory(split(self.sysroot.state_directory()).0)?
                .remove_empty_directory(split(self.sysroot.state_directory()).1)?
        {
            for path in self.made.iter().rev() {
                let (parent, name) = split(path);
                if !self.sysroot.directory(parent)?.remove_empty_directory(name)? {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // What cannot be tidied now is an empty directory or a lock that nobody holds.
        let _ = self.clean_up();
    }
}

/// The reason of a refused write, if `error` is one that other paths need not have: a read-only file system, a missing
/// permission, a mount point, a file in use.
pub fn refusal(error: &Error) -> Option<Errno> {
    let errno = *error.cause::<Errno>()?;
    matches!(errno, Errno::ROFS | Errno::ACCESS | Errno::PERM | Errno::BUSY | Errno::TXTBSY).then_some(errno)
}

/// Whether a killed run left a journal behind.
pub fn was_killed(sysroot: &Sysroot) -> Result<bool> {
    Journal::is_there(sysroot)
}

/// Carries out one change, if what stands there is what the plan saw.
fn apply_change(sysroot: &Sysroot, change: &Change, temporary: &str, stamp: Option<i64>) -> Result<()> {
    let actual = tree::read(sysroot, &change.path)?;
    let as_planned = match (&actual, &change.from) {
        (Node::Directory { .. }, Node::Directory { .. }) => true,
        _ => actual == change.from,
    };
    if !as_planned {
        return Err(Error::failed("this path changed while we worked")
            .at(sysroot.display(&change.path))
            .hint("run again when nobody else works on the root file system"));
    }
    put(sysroot, &change.path, &actual, &change.to, temporary, stamp)
}

fn undo_change(sysroot: &Sysroot, change: &Change) -> Result<()> {
    let actual = tree::read(sysroot, &change.path)?;
    put(sysroot, &change.path, &actual, &change.from, journal::UNDO, None)
}

/// Puts `to` in the place of `actual`.
fn put(
    sysroot: &Sysroot,
    path: &str,
    actual: &Node,
    to: &Node,
    temporary: &str,
    stamp: Option<i64>,
) -> Result<()> {
    if let Node::File(file) = actual
        && file.mount_point
    {
        return Err(Error::new(Kind::Unsupported, "this path is a mount point and cannot be replaced")
            .at(sysroot.display(path))
            .because(Errno::BUSY)
            .hint("mount the directory, not the file"));
    }
    let (parent, name) = split(path);
    // Databases are in directories of users, who must not lead us elsewhere by a link (threat T13).
    let directory = if [nss::CERT_DB, nss::KEY_DB].contains(&name) {
        let directory = sysroot.directory_without_links(parent)?;
        for journal in nss::JOURNALS {
            if directory.lstat(&format!("{name}{journal}"))?.is_some() {
                return Err(Error::failed("somebody began to write to this database while we worked")
                    .at(sysroot.display(path))
                    .hint("end the program that uses it (a browser), and run again"));
            }
        }
        directory
    } else {
        sysroot.directory(parent)?
    };
    let stamp = stamp.map(|seconds| (seconds, 0));
    match to {
        Node::Absent => match actual {
            Node::Directory { .. } => {
                // Somebody else may have put something in: then it is theirs now.
                directory.remove_empty_directory(name)?;
            }
            _ => directory.remove(name)?,
        },
        Node::Directory { mode } => {
            if !matches!(actual, Node::Directory { .. }) {
                // What is made in a user's directory is that user's.
                let owner = directory.owner()?.filter(|(uid, _)| *uid != 0);
                directory.make_directory(name, Attributes { mode: *mode, owner, modified: None })?;
            }
        }
        Node::Link { target } => {
            directory.remove(temporary)?;
            directory.replace_link(temporary, name, target, stamp)?;
        }
        Node::File(file) => {
            let attributes =
                Attributes { mode: file.mode, owner: file.owner, modified: file.modified.or(stamp) };
            directory.remove(temporary)?;
            directory.replace_file(temporary, name, &file.content, attributes)?;
        }
        Node::Special => {
            return Err(Error::failed("a device, socket or FIFO cannot be made").at(sysroot.display(path)));
        }
    }
    Ok(())
}
