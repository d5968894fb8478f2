//! A directory that is trustup's own, with its lock: state and journal, in-progress state beside a key, dev-ca's state.
//! One run at a time works in it; other users cannot hold the lock, since they cannot open it (threat T11).

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::directory::{Attributes, Directory};
use super::path::{child, split};
use super::{FileKind, Meta, Sysroot, remedy, staged};
use crate::error::{self, Error, Result};

/// The lock's file.
const LOCK: &str = "lock";
/// Time between two tries to get the lock.
const PAUSE: Duration = Duration::from_millis(20);
/// Permission bits of the directory, and the default for files in it.
const MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Permission bits of directories that are made above it.
const MODE_ABOVE: u32 = 0o755;
/// The suffix of staged files of versions before the file-set engine.
const FORMER_STAGED: &str = "new";

/// The request.
pub(crate) struct DirectoryRequest<'a> {
    /// The directory, as seen inside the root file system; its last component is never a link.
    pub(crate) path: &'a str,
    /// Make the directories above it, too.
    pub(crate) make_above: bool,
    /// The time that files in it get, seconds since 1970; `None` is now.
    pub(crate) stamp: Option<i64>,
    /// Refuses an existing directory that must not be used.
    pub(crate) accept: &'a (dyn Fn(&Meta) -> Result<()> + Sync),
}

/// Why there is no lock.
#[derive(Debug)]
pub(crate) enum Unavailable {
    /// Another run held it for as long as we waited. The lock, as displayed.
    Busy(String),
    /// Locking does not work there, or something else failed.
    Failed(Error),
}

/// A directory of trustup's own, locked until this is dropped. One that is empty by then is removed, and with it the
/// directories above it that were made for it.
#[derive(Debug)]
pub(crate) struct OwnDirectory {
    directory: Directory,
    parent: Directory,
    name: String,
    path: String,
    /// Directories above it that this run made, outermost first, each with its parent.
    made: Vec<(String, Directory)>,
    stamp: Option<i64>,
    lock: Option<OwnedFd>,
}

impl OwnDirectory {
    /// Opens the directory (and makes it, 0700, if it is missing) and takes its lock. What a killed run staged in it is
    /// removed.
    ///
    /// # Errors
    /// Another run holds the lock; locking does not work there ([`error::ErrorKind::Unsupported`], at once); it cannot
    /// be made, or `accept` refuses it. Nothing is left behind.
    pub(crate) async fn open(
        sysroot: &Sysroot,
        wanted: &DirectoryRequest<'_>,
        patience: Duration,
    ) -> Result<Self, Unavailable> {
        let began = Instant::now();
        let mut made = Vec::new();
        loop {
            if let Some(own) = OwnDirectory::attempt(sysroot, wanted, &mut made)? {
                return Ok(own);
            }
            if began.elapsed() >= patience {
                return Err(busy(sysroot, wanted, made));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The same without waiting for another run.
    ///
    /// # Errors
    /// As [`OwnDirectory::open`].
    pub(crate) fn open_at_once(
        sysroot: &Sysroot,
        wanted: &DirectoryRequest<'_>,
    ) -> Result<Self, Unavailable> {
        let mut made = Vec::new();
        let opened = OwnDirectory::attempt(sysroot, wanted, &mut made)?;
        opened.ok_or_else(|| busy(sysroot, wanted, made))
    }

    /// [`OwnDirectory::try_open`]; after an error, what was made is removed.
    fn attempt(
        sysroot: &Sysroot,
        wanted: &DirectoryRequest<'_>,
        made: &mut Vec<(String, Directory)>,
    ) -> Result<Option<Self>, Unavailable> {
        sysroot.look_again();
        OwnDirectory::try_open(sysroot, wanted, made).map_err(|error| {
            remove_made(made);
            Unavailable::Failed(error)
        })
    }

    /// `None` if another run holds the lock, or has just removed the directory.
    fn try_open(
        sysroot: &Sysroot,
        wanted: &DirectoryRequest,
        made: &mut Vec<(String, Directory)>,
    ) -> Result<Option<Self>> {
        let (above, name) = split(wanted.path);
        if wanted.make_above {
            make_above(sysroot, above, made)?;
        }
        let parent = sysroot.directory(above)?;
        let is_new = parent.lstat(name)?.is_none();
        if is_new {
            let attributes = Attributes { mode: MODE, owner: None, modified: None };
            match parent.make_directory(name, attributes) {
                // What is saved in it must survive a power cut, too.
                Ok(()) => parent.sync()?,
                // Another run was faster.
                Err(_) if parent.lstat(name)?.is_some() => {}
                Err(error) => return Err(error),
            }
        }
        let Some(meta) = parent.lstat(name)? else { return Ok(None) };
        if meta.kind != FileKind::Directory {
            return Err(Error::failed("expected a directory of trustup's own, found something else")
                .at(sysroot.display(wanted.path))
                .hint(format!(
                    "find out which program created it, {}, and run again",
                    remedy::move_away(&sysroot.display(wanted.path))
                )));
        }
        (wanted.accept)(&meta)?;
        let vanished = |parent: &Directory| {
            Ok::<_, Error>(parent.lstat(name)?.map(|now| now.identity) != Some(meta.identity))
        };
        let directory = match parent.child(name) {
            Ok(directory) => directory,
            Err(_) if vanished(&parent)? => return Ok(None),
            Err(error) => return Err(error),
        };
        let lock = match directory.try_lock(LOCK) {
            Ok(Some(lock)) => lock,
            Ok(None) => return Ok(None),
            Err(_) if vanished(&parent)? => return Ok(None),
            Err(error) => {
                if is_new && error.kind() == error::ErrorKind::Unsupported {
                    parent.remove_empty_directory(name)?;
                }
                return Err(error);
            }
        };
        let own = OwnDirectory {
            directory,
            parent,
            name: name.to_owned(),
            path: wanted.path.to_owned(),
            made: std::mem::take(made),
            stamp: wanted.stamp,
            lock: Some(lock),
        };
        own.remove_staged()?;
        Ok(Some(own))
    }

    /// Removes what a killed run staged here.
    fn remove_staged(&self) -> Result<()> {
        let is_left = |name: &&String| {
            staged::is_staged(name) || *name == FORMER_STAGED || name.ends_with(&format!(".{FORMER_STAGED}"))
        };
        self.directory.list()?.iter().filter(is_left).try_for_each(|name| self.directory.remove(name))
    }

    /// The directory, as seen inside the root file system.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Directories above it that this run made, outermost first.
    pub(crate) fn made(&self) -> Vec<String> {
        self.made.iter().map(|(path, _)| path.clone()).collect()
    }

    /// Takes over directories above it that an earlier run made: they are removed with this one's, once it is empty.
    ///
    /// # Errors
    /// One of them cannot be reached.
    pub(crate) fn take_over(&mut self, sysroot: &Sysroot, paths: &[String]) -> Result<()> {
        for path in paths.iter().rev() {
            if !self.made.iter().any(|(known, _)| known == path) {
                self.made.insert(0, (path.clone(), sysroot.directory(split(path).0)?));
            }
        }
        Ok(())
    }

    /// For reading.
    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The content of the file `name`, and its `statx` result; `None` if there is none.
    ///
    /// # Errors
    /// It is not a regular file, larger than `limit` bytes, or cannot be read.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<Option<(Vec<u8>, Meta)>> {
        self.directory.read(name, limit)
    }

    /// Replaces the file `name` (mode 0600) as a whole, on disk when this returns.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        self.write_with_mode(name, content, FILE_MODE)
    }

    /// As [`OwnDirectory::write`], with other permission bits (octal).
    pub(crate) fn write_with_mode(&self, name: &str, content: &[u8], mode: u32) -> Result<()> {
        let staged = staged::name(&self.path, name);
        let modified = self.stamp.map(|seconds| (seconds, 0));
        self.directory.remove(&staged)?;
        self.directory.stage_file(&staged, content, Attributes { mode, owner: None, modified }, None)?;
        if !self.directory.rename(&staged, name)? {
            self.directory.remove(&staged)?;
            return Err(Error::failed("a file of trustup's own is mounted by itself and cannot be replaced")
                .at(format!("{}/{name}", self.directory.display()))
                .because(Errno::BUSY)
                .hint("mount the directory, not the file"));
        }
        self.directory.sync()
    }

    /// Makes the file `name` (mode 0600), on disk when this returns; false if it exists. Of several nodes that share a
    /// volume only one makes it, even where locks work on each node alone; another one may see it empty for a moment.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn create(&self, name: &str, content: &[u8]) -> Result<bool> {
        let attributes = Attributes { mode: FILE_MODE, owner: None, modified: None };
        match self.directory.stage_file(name, content, attributes, None) {
            Ok(_) => self.directory.sync().map(|()| true),
            Err(error) if error.cause::<Errno>() == Some(&Errno::EXIST) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes the file `name` if its content is still `expected`; false if it is gone, or another one. Of several nodes
    /// only one removes it, even where locks work on each node alone. `by` names this process among all of them.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(crate) fn take_away(&self, name: &str, expected: &[u8], by: &str) -> Result<bool> {
        // Moved first: of two moves of one file, one fails.
        let aside = staged::name(by, name);
        match self.directory.rename(name, &aside) {
            Ok(moved) if !moved => return Ok(false),
            Ok(_) => {}
            Err(error) if error.cause::<Errno>() == Some(&Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error),
        }
        let limit = expected.len() as u64 + 1;
        let is_expected = match self.directory.read(&aside, limit) {
            Ok(found) => found.is_none_or(|(bytes, _)| bytes == expected),
            // It is longer.
            Err(_) => false,
        };
        if !is_expected {
            // Another node replaced it in between: it gets its own back.
            self.directory.rename(&aside, name)?;
            return Ok(false);
        }
        self.directory.remove(&aside).map(|()| true)
    }

    /// Removes the file `name`, if it exists.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        self.directory.remove(name)
    }

    /// Closes the directory to others again (0700).
    pub(crate) fn narrow(&self) -> Result<()> {
        self.directory.set_mode(MODE)
    }

    /// Sets the time of the directories above it that this run changed, seconds since 1970.
    ///
    /// # Errors
    /// One of them cannot be stamped.
    pub(crate) fn stamp_above(&self, seconds: i64) -> Result<()> {
        self.made
            .iter()
            .map(|(_, parent)| parent)
            .chain([&self.parent])
            .try_for_each(|directory| directory.stamp((seconds, 0)))
    }

    /// Makes an empty directory `name` (0700) in here with one file (0600) in it, for `work` with it; afterwards the
    /// directory is removed with all files in it. `work` gets the directory's path inside the root file system.
    ///
    /// # Errors
    /// It cannot be made or removed.
    pub(crate) async fn with_scratch<T>(
        &self,
        name: &str,
        file: (&str, &[u8]),
        work: impl AsyncFnOnce(&str, &Directory) -> T,
    ) -> Result<T> {
        let attributes = |mode| Attributes { mode, owner: None, modified: None };
        if self.directory.lstat(name)?.is_none() {
            self.directory.make_directory(name, attributes(MODE))?;
        }
        let scratch = self.directory.child(name)?;
        let clear = || scratch.list()?.iter().try_for_each(|name| scratch.remove(name));
        clear()?;
        scratch.stage_file(file.0, file.1, attributes(FILE_MODE), None)?;
        let result = work(&child(&self.path, name), &scratch).await;
        clear()?;
        self.directory.remove_empty_directory(name)?;
        Ok(result)
    }

    fn close(&mut self) -> Result<()> {
        let Some(lock) = self.lock.take() else { return Ok(()) };
        self.directory.remove(LOCK)?;
        drop(lock);
        if self.directory.list()?.is_empty() && self.parent.remove_empty_directory(&self.name)? {
            self.parent.sync()?;
            remove_made(&mut self.made);
        } else if let Some(seconds) = self.stamp {
            self.directory.stamp((seconds, 0))?;
        }
        Ok(())
    }
}

impl Drop for OwnDirectory {
    fn drop(&mut self) {
        // What cannot be removed now is an empty directory, or a lock that no process holds.
        let _ = self.close();
    }
}

/// Another run holds the lock: what was made for this one is removed.
fn busy(sysroot: &Sysroot, wanted: &DirectoryRequest<'_>, mut made: Vec<(String, Directory)>) -> Unavailable {
    remove_made(&mut made);
    Unavailable::Busy(sysroot.display(&child(wanted.path, LOCK)))
}

/// Whether the own directory at `path` holds anything other than the files `kept`, and no run is at work there: what a
/// killed run left. An unreadable one counts as empty.
pub(crate) fn has_leftovers(sysroot: &Sysroot, path: &str, kept: &[&str]) -> bool {
    let names = sysroot.list(path).ok().flatten().unwrap_or_default();
    let left = names.iter().any(|name| !kept.contains(&name.as_str()));
    left && !sysroot.directory(path).and_then(|directory| directory.is_locked(LOCK)).unwrap_or(true)
}

/// Removes directories that were made, the innermost first, as long as they are empty.
fn remove_made(made: &mut Vec<(String, Directory)>) {
    while let Some((path, parent)) = made.pop() {
        if !matches!(parent.remove_empty_directory(split(&path).1), Ok(true)) {
            return;
        }
    }
}

/// Makes the missing directories on the way to `path`, and `path`.
fn make_above(sysroot: &Sysroot, path: &str, made: &mut Vec<(String, Directory)>) -> Result<()> {
    let mut so_far = String::from("/");
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let parent = std::mem::take(&mut so_far);
        so_far = child(&parent, name);
        if sysroot.lstat(&so_far)?.is_some() {
            continue;
        }
        let parent = sysroot.directory(&parent)?;
        let attributes = Attributes { mode: MODE_ABOVE, owner: None, modified: None };
        match parent.make_directory(name, attributes) {
            Ok(()) => made.push((so_far.clone(), parent)),
            // Another run was faster.
            Err(_) if parent.lstat(name)?.is_some() => {}
            Err(error) => return Err(error),
        }
        sysroot.look_again();
    }
    Ok(())
}
