//! Every path goes through [`Sysroot`]: a root file system, `/` or a directory given with `--sysroot`.
//!
//! Links resolve inside it, as they would after a `chroot`: by the kernel (`openat2` with `RESOLVE_IN_ROOT`) if it lets
//! us, else by our own walk with a hop limit. A hostile image cannot make us read or write outside (threats T9, T10).
//! Paths are absolute, as seen inside (`/etc/ssl/certs`), and UTF-8: other names are invisible here. This file reads;
//! [`directory`] changes; [`host`] reads what the user names on the command line.

mod attributes;
pub(crate) mod budget;
pub(crate) mod checkpoint;
pub(crate) mod content;
mod credentials;
pub(crate) mod directory;
pub(crate) mod executables;
pub(crate) mod file_set;
pub(crate) mod host;
pub(crate) mod image;
mod lock;
mod meta;
pub(crate) mod output;
pub(crate) mod own_directory;
pub(crate) mod parts;
pub(crate) mod path;
pub(crate) mod record;
pub(crate) mod remedy;
mod safety;
pub(crate) mod sharing;
pub(crate) mod staged;
pub(crate) mod tree;
mod walk;
mod writable;

pub(crate) use path::split;
pub(crate) use writable::Obstacle;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::host::env;

use self::meta::meta_of;
pub(crate) use self::meta::{FileKind, Meta};

/// How many links one path may pass through, as in the kernel.
pub(crate) const MAX_HOPS: usize = 40;

/// How many entries of one directory are read; a directory of anchors has a few hundred.
const MAX_ENTRIES: usize = 100_000;

/// The default directory of state, journal and lock.
pub(crate) const STATE_DIRECTORY: &str = "/var/lib/trustup";
/// Their directory in a private store.
const PRIVATE_STATE_DIRECTORY: &str = "/state";

/// A root file system.
#[derive(Debug)]
pub struct Sysroot {
    root: OwnedFd,
    path: PathBuf,
    is_host: bool,
    is_private: bool,
    kernel_resolves: bool,
    /// The owner of the root directory.
    owner: u32,
    state_directory: String,
    distribution: Option<String>,
    /// Open directories that were inspected: a tree of hundreds of certificates has a handful of them.
    opened: Mutex<BTreeMap<String, Arc<OwnedFd>>>,
}

impl Sysroot {
    /// Opens the directory `path` as a root file system.
    ///
    /// # Errors
    /// It is missing, or not a directory.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let cannot = || {
            Error::usage("could not open the sysroot").at(path.display()).hint(
                "`--sysroot` names the directory that holds the root file system, such as an unpacked image",
            )
        };
        let root = host::open(path, flags).map_err(|error| match error.cause::<Errno>() {
            // A link of another user: that error is more precise.
            Some(&Errno::PERM) | None => error,
            Some(errno) => cannot().because(*errno),
        })?;
        let root = root.ok_or_else(|| match host::stat(path) {
            Ok(Some(_)) => match image::archive_at(path) {
                Ok(Some(what)) => Error::usage(format!("the sysroot is {what}, not a directory"))
                    .at(path.display())
                    .hint("unpack it into a directory, and name the directory; an archive of `docker save` holds layers: `docker load -i FILE`, then:")
                    .hint(image::EXPORT),
                _ => cannot().because(Errno::NOTDIR),
            },
            _ => cannot().because(Errno::NOENT),
        })?;
        let host = rustix::fs::openat(CWD, "/", flags, Mode::empty())
            .map_err(|error| Error::failed("could not open the root directory").because(error))?;
        let top = meta_of(&root, "", AtFlags::EMPTY_PATH)?;
        let owner = top.map_or(0, |meta| meta.uid);
        let is_host = top.map(|meta| meta.identity)
            == meta_of(&host, "", AtFlags::EMPTY_PATH)?.map(|meta| meta.identity);
        let kernel_resolves = env::test_hook(env::TestHook::NoOpenat2).is_none()
            && rustix::fs::openat2(&root, ".", flags, Mode::empty(), resolve_flags()).is_ok();
        let opened = Mutex::default();
        let state_directory = STATE_DIRECTORY.to_owned();
        let path = path.to_owned();
        Ok(Sysroot {
            root,
            path,
            is_host,
            is_private: false,
            kernel_resolves,
            owner,
            state_directory,
            distribution: None,
            opened,
        })
    }

    /// Opens a private store: a small tree of its own with bundle, hashed directory, anchors and state. The caller has
    /// checked that no other user can write there (threat T12).
    ///
    /// # Errors
    /// It is missing, or not a directory.
    pub(crate) fn open_private(path: &Path) -> Result<Self> {
        let sysroot = Sysroot::open(path)?.with_state_directory(PRIVATE_STATE_DIRECTORY);
        // In a shared directory another user may have put a directory there since the path was checked (threat T41).
        if sysroot.owner != crate::host::privilege::uid() {
            return Err(Error::failed("another user replaced the private store's directory")
                .at(path.display())
                .hint(
                    "`--private-dir DIR` names another place, in a directory that no other user can write",
                ));
        }
        Ok(Sysroot { is_private: true, ..sysroot })
    }

    /// The same root file system, with state, journal and lock in another directory (as seen inside).
    #[must_use]
    pub(crate) fn with_state_directory(self, path: impl Into<String>) -> Self {
        Sysroot { state_directory: path.into(), ..self }
    }

    /// The same root file system, of the distribution that the user names, whatever is in it.
    #[must_use]
    pub(crate) fn with_distribution(self, distribution: Option<String>) -> Self {
        Sysroot { distribution, ..self }
    }

    /// The distribution that the user named.
    pub(crate) fn distribution(&self) -> Option<&str> {
        self.distribution.as_deref()
    }

    /// The directory of state, journal and lock, 0700, as seen inside.
    pub(crate) fn state_directory(&self) -> &str {
        &self.state_directory
    }

    /// Whether this is the root that we run in, so that its own programs may be run.
    pub(crate) fn is_host(&self) -> bool {
        self.is_host
    }

    /// Whether this is a private store rather than a root file system.
    pub(crate) fn is_private(&self) -> bool {
        self.is_private
    }

    /// Whether no file of this user can be used against us: root, the current user, and the owner of the root directory
    /// (an image that an ordinary user unpacked), see threat T35.
    pub(crate) fn is_trusted(&self, uid: u32) -> bool {
        uid == 0 || uid == self.owner || uid == crate::host::privilege::uid()
    }

    /// The directory as it was given.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// `path` as seen outside: with the sysroot as prefix.
    pub(crate) fn display(&self, path: &str) -> String {
        if self.is_host {
            path.to_owned()
        } else {
            format!("{}{path}", self.path.display()).replace("//", "/")
        }
    }

    /// The path with every link resolved inside the sysroot; `None` if something on the way is missing.
    ///
    /// # Errors
    /// A loop of links, a magic link of procfs, or a directory that cannot be read.
    pub(crate) fn canonical(&self, path: &str) -> Result<Option<String>> {
        walk::canonical(self, path, true)
    }

    /// As [`Sysroot::canonical`], but the last component may be missing and is not followed.
    pub(crate) fn canonical_parent(&self, path: &str) -> Result<Option<String>> {
        walk::canonical(self, path, false)
    }

    /// What is at `path`; a link at its end is not followed. `None` if there is nothing.
    pub(crate) fn lstat(&self, path: &str) -> Result<Option<Meta>> {
        let Some((parent, name)) = self.open_parent(path)? else { return Ok(None) };
        meta_of(&parent, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| error.at(self.display(path)))
    }

    /// What is at `path`, links followed. `None` if there is nothing.
    pub(crate) fn stat(&self, path: &str) -> Result<Option<Meta>> {
        match self.open_path(path, OFlags::PATH)? {
            None => Ok(None),
            Some(file) => meta_of(&file, "", AtFlags::EMPTY_PATH),
        }
    }

    /// The target of the link at `path`, as written there. `None` if there is no link.
    pub(crate) fn read_link(&self, path: &str) -> Result<Option<String>> {
        let Some((parent, name)) = self.open_parent(path)? else { return Ok(None) };
        read_link_at(&parent, &name).map_err(|error| error.at(self.display(path)))
    }

    /// The content of the regular file at `path`, links followed, and its `statx` result. `None` if there is nothing.
    ///
    /// # Errors
    /// It is not a regular file, larger than `limit` bytes, or cannot be read.
    pub(crate) fn read(&self, path: &str, limit: u64) -> Result<Option<(Vec<u8>, Meta)>> {
        let Some(file) = self.open_file(path)? else { return Ok(None) };
        self.read_opened(&file, path, limit)
    }

    /// Opens the regular file at `path`, links followed, for reading; the caller checks the descriptor once more.
    fn open_file(&self, path: &str) -> Result<Option<OwnedFd>> {
        // First without opening: opening a device can have effects of its own.
        match self.stat(path)? {
            None => return Ok(None),
            Some(meta) if meta.kind != FileKind::File => return Err(self.not_a_file(path, meta.kind)),
            Some(_) => {}
        }
        self.open_path(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)
    }

    /// Whether the caller may read the regular file at `path`, links followed; nothing is read. `true` if there is none.
    pub(crate) fn may_read(&self, path: &str) -> bool {
        !self.open_file(path).is_err_and(|error| is_denied(&error))
    }

    /// The names in the directory at `path` (links followed), sorted by bytes, without `.` and `..`.
    /// `None` if no such directory.
    pub(crate) fn list(&self, path: &str) -> Result<Option<Vec<String>>> {
        match self.stat(path)? {
            None => return Ok(None),
            Some(meta) if meta.kind != FileKind::Directory => return Ok(None),
            Some(_) => {}
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK;
        let Some(directory) = self.open_path(path, flags)? else { return Ok(None) };
        list_of(&directory).map(Some).map_err(|error| error.at(self.display(path)))
    }

    fn not_a_file(&self, path: &str, kind: FileKind) -> Error {
        let what = match kind {
            FileKind::Directory => "expected a file, found a directory",
            FileKind::Link => "expected a file, found a link",
            FileKind::File | FileKind::Special => "expected a file, found a device, socket or FIFO",
        };
        // Never suggest removing it: `/dev/null` may have been named.
        let place = self.display(path);
        Error::failed(what).at(&place).hint(remedy::not_a_file(&place))
    }

    /// Forgets the inspected directories, so that the next read sees the current ones.
    pub(crate) fn look_again(&self) {
        self.opened().clear();
    }

    /// The content of the regular file at `path` itself: a link at its end is an error.
    ///
    /// # Errors
    /// As [`Sysroot::read`].
    pub(crate) fn read_no_link(&self, path: &str, limit: u64) -> Result<Option<(Vec<u8>, Meta)>> {
        let Some((parent, name)) = self.open_parent(path)? else { return Ok(None) };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&*parent, name.as_str(), flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.open_error(path, error)),
        };
        self.read_opened(&file, path, limit)
    }

    fn read_opened(&self, file: &OwnedFd, path: &str, limit: u64) -> Result<Option<(Vec<u8>, Meta)>> {
        let Some(meta) = meta_of(file, "", AtFlags::EMPTY_PATH)? else { return Ok(None) };
        if meta.kind != FileKind::File {
            return Err(self.not_a_file(path, meta.kind));
        }
        let place = self.display(path);
        // State and journal have limits of their own; a run that could not read them could not be undone.
        let read = if split(path).0 == self.state_directory {
            host::read_bounded(file, meta.size, limit)
        } else {
            budget::read(file, meta.size, limit, &place)
        };
        read.map(|bytes| Some((bytes, meta))).map_err(|error| error.at(place))
    }

    /// Opens `path`, links followed inside the sysroot. `None` if there is nothing.
    fn open_path(&self, path: &str, flags: OFlags) -> Result<Option<OwnedFd>> {
        let flags = flags | OFlags::CLOEXEC;
        if self.kernel_resolves {
            let relative = relative(path);
            // The kernel does not check who owns a link (threat T35): if there is one, our own walk does.
            let resolve = resolve_flags().union(ResolveFlags::NO_SYMLINKS);
            match rustix::fs::openat2(&self.root, relative, flags, Mode::empty(), resolve) {
                Ok(file) => return Ok(Some(file)),
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                // The walk below resolves a race with a rename (EAGAIN).
                Err(Errno::AGAIN | Errno::LOOP) => {}
                Err(error) => return Err(self.open_error(path, error)),
            }
        }
        let Some(canonical) = self.canonical(path)? else { return Ok(None) };
        match walk::open_without_links(self, &canonical, flags) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(self.open_error(path, error)),
        }
    }

    /// Never held while something is awaited.
    fn opened(&self) -> MutexGuard<'_, BTreeMap<String, Arc<OwnedFd>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory that holds `path`, every link in it resolved, and the last component.
    fn open_parent(&self, path: &str) -> Result<Option<(Arc<OwnedFd>, String)>> {
        let (parent, name) = split(path);
        let name = if name.is_empty() { "." } else { name };
        if let Some(directory) = self.opened().get(parent) {
            return Ok(Some((Arc::clone(directory), name.to_owned())));
        }
        let Some(directory) = self.open_path(parent, OFlags::PATH | OFlags::DIRECTORY)? else {
            return Ok(None);
        };
        let directory = Arc::new(directory);
        self.opened().insert(parent.to_owned(), Arc::clone(&directory));
        Ok(Some((directory, name.to_owned())))
    }

    fn open_error(&self, path: &str, error: Errno) -> Error {
        let place = self.display(path);
        match error {
            Errno::LOOP => Error::failed("the links in this path loop or lead through procfs")
                .at(&place)
                .hint(format!(
                    "check the links in the path `{place}`: each must lead to a file or directory; paths through procfs, such as `/dev/fd`, cannot be used"
                )),
            Errno::ACCESS | Errno::PERM => Error::failed("no permission to read")
                .at(&place)
                .hint(remedy::permission(remedy::owner_on_the_way(&place))),
            _ => Error::failed("could not open").at(&place),
        }
        .because(error)
    }
}

/// Whether the caller has no permission to look there. A search that nobody pointed there passes it over: what the
/// caller may not read is nothing that its programs use.
pub(crate) fn is_denied(error: &Error) -> bool {
    error.cause::<Errno>() == Some(&Errno::ACCESS)
}

fn relative(path: &str) -> &str {
    match path.trim_start_matches('/') {
        "" => ".",
        relative => relative,
    }
}

fn resolve_flags() -> ResolveFlags {
    ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS
}

fn read_link_at(directory: &OwnedFd, name: &str) -> Result<Option<String>> {
    match rustix::fs::readlinkat(directory, name, Vec::new()) {
        Ok(target) => match target.into_string() {
            Ok(target) => Ok(Some(target)),
            Err(_) => Err(Error::failed("the target of a link is not UTF-8")),
        },
        Err(Errno::NOENT | Errno::INVAL | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(Error::failed("could not read the link").because(error)),
    }
}

fn list_of(directory: &OwnedFd) -> Result<Vec<String>> {
    let failed = |error: Errno| Error::failed("could not list the directory").because(error);
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Ok(name) = entry.file_name().to_str()
            && name != "."
            && name != ".."
        {
            names.push(name.to_owned());
        }
        if names.len() > MAX_ENTRIES {
            return Err(Error::failed(format!("the directory has more than {MAX_ENTRIES} entries")));
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests;
