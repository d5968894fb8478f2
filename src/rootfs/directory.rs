//! One open directory: every call names its descriptor and a last component (threat T10). Any module may read; only
//! [`super::file_set`] and [`super::own_directory`] may change anything.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::credentials::as_user;
use super::{FileKind, Meta, Sysroot, attributes, budget, list_of, meta_of, read_link_at, remedy, walk};
use crate::error::{Error, Result};

/// File systems on which no files may be written: writing there has other effects (magic numbers of `statfs(2)`).
const FORBIDDEN: [(u64, &str); 5] = [
    (0x9fa0, "procfs"),
    (0x6265_6572, "sysfs"),
    (0x1cd1, "devpts"),
    (0x0027_e0eb, "cgroup"),
    (0x6367_7270, "cgroup2"),
];

/// An open directory of a sysroot.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(super) fd: OwnedFd,
    /// The directory's path with the sysroot as prefix, for messages.
    shown: String,
    /// User and group whose rights are used for changes here; `None` for the current user.
    user: Option<(u32, u32)>,
}

/// The attributes of a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Permission bits, octal.
    pub(crate) mode: u32,
    /// Owner and group; `None` leaves them to the system (us).
    pub(crate) owner: Option<(u32, u32)>,
    /// Time of last change in seconds since 1970 and nanoseconds; `None` is now.
    pub(crate) modified: Option<(i64, u32)>,
}

impl Sysroot {
    /// Opens the directory at `path` for changes in it; links on the way resolve inside the sysroot, once.
    ///
    /// # Errors
    /// It is missing, not a directory, or on a file system on which no files may be written.
    pub(crate) fn directory(&self, path: &str) -> Result<Directory> {
        let canonical = self.canonical(path)?.ok_or_else(|| self.no_directory(path))?;
        self.open_directory(path, &canonical)
    }

    /// The same, but no component of `path` may be a link: for paths of a user who could put one there.
    ///
    /// # Errors
    /// As above; something on the way is a link.
    pub(crate) fn directory_without_links(&self, path: &str) -> Result<Directory> {
        self.open_directory(path, path)
    }

    fn open_directory(&self, path: &str, canonical: &str) -> Result<Directory> {
        let shown = self.display(path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = walk::open_without_links(self, canonical, flags).map_err(|error| match error {
            Errno::NOENT | Errno::NOTDIR => self.no_directory(path),
            error => self.open_error(path, error),
        })?;
        Directory { fd, shown, user: None }.fit_for_files()
    }

    fn no_directory(&self, path: &str) -> Error {
        Error::failed("no such directory").at(self.display(path))
    }
}

impl Directory {
    fn fit_for_files(self) -> Result<Self> {
        if let Ok(fs) = rustix::fs::fstatfs(&self.fd)
            && let Some((_, name)) = FORBIDDEN.iter().find(|(magic, _)| *magic == fs.f_type as u64)
        {
            return Err(Error::failed(format!("{name} is no place for files")).at(&self.shown));
        }
        Ok(self)
    }

    /// Opens the directory `name` in this one, by this one's descriptor; a link is an error.
    ///
    /// # Errors
    /// It is missing, not a directory, or on a file system on which no files may be written.
    pub(crate) fn child(&self, name: &str) -> Result<Directory> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty())
            .map_err(|error| self.failed("could not open the directory", name, error))?;
        Directory { fd, shown: self.shown(name), user: self.user }.fit_for_files()
    }

    /// The same directory, in which changes are made with the rights of `user` (user and group id).
    pub(super) fn with_rights_of(self, user: Option<(u32, u32)>) -> Directory {
        Directory { user, ..self }
    }

    /// The user whose rights are used for changes here, if not the current one.
    pub(super) fn user(&self) -> Option<(u32, u32)> {
        self.user
    }

    /// The metadata of the directory itself.
    pub(crate) fn meta(&self) -> Result<Option<Meta>> {
        meta_of(&self.fd, "", AtFlags::EMPTY_PATH).map_err(|error| error.at(&self.shown))
    }

    /// What is at `name`, a link not followed.
    pub(crate) fn lstat(&self, name: &str) -> Result<Option<Meta>> {
        meta_of(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| error.at(self.shown(name)))
    }

    /// Where the link at `name` points.
    pub(crate) fn read_link(&self, name: &str) -> Result<Option<String>> {
        read_link_at(&self.fd, name).map_err(|error| error.at(self.shown(name)))
    }

    /// The content of the regular file `name`, and its `statx` result; a link is an error. `None` if there is nothing.
    ///
    /// # Errors
    /// It is not a regular file, larger than `limit` bytes, or cannot be read.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<Option<(Vec<u8>, Meta)>> {
        // First without opening: opening a device can have effects of its own.
        match self.lstat(name)? {
            None => return Ok(None),
            Some(meta) if meta.kind != FileKind::File => {
                return Err(not_a_file().at(self.shown(name)).hint(remedy::not_a_file(&self.shown(name))));
            }
            Some(_) => {}
        }
        let file = match self.open_to_read(name) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.failed("could not read", name, error)),
        };
        let Some(meta) = meta_of(&file, "", AtFlags::EMPTY_PATH)? else { return Ok(None) };
        if meta.kind != FileKind::File {
            return Err(not_a_file().at(self.shown(name)).hint(remedy::not_a_file(&self.shown(name))));
        }
        budget::read(&file, meta.size, limit, &self.shown(name))
            .map(|bytes| Some((bytes, meta)))
            .map_err(|error| error.at(self.shown(name)))
    }

    /// The names in here, sorted.
    pub(crate) fn list(&self) -> Result<Vec<String>> {
        list_of(&self.fd).map_err(|error| error.at(&self.shown))
    }

    /// Writes the file `staged`, which must not exist, complete and on disk; the extended attributes of the file `like`
    /// are copied. Returns the new file's metadata, and the attributes that were lost. A failure leaves no file.
    pub(super) fn stage_file(
        &self,
        staged: &str,
        content: &[u8],
        attributes: Attributes,
        like: Option<&str>,
    ) -> Result<(Meta, Vec<String>)> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut created = false;
        let written = as_user(self.user, || {
            let file = rustix::fs::openat(&self.fd, staged, flags, Mode::from_raw_mode(0o600))?;
            created = true;
            let written = fill(&file, content, attributes, || {
                let old = like.and_then(|name| self.open_to_read(name).ok());
                old.map(|old| attributes::copy(&old, &file)).unwrap_or_default()
            });
            if written.is_err() {
                // The first error is the one to report; the next run of this writer removes what is left.
                let _ = rustix::fs::unlinkat(&self.fd, staged, AtFlags::empty());
            }
            written.map(|lost| (file, lost))
        });
        let (file, lost) = written.map_err(|error| {
            let what = if created { "could not write" } else { "could not create" };
            self.failed(what, staged, error)
        })?;
        match meta_of(&file, "", AtFlags::EMPTY_PATH)? {
            Some(meta) => Ok((meta, lost)),
            None => Err(self.failed("could not write", staged, Errno::NOENT)),
        }
    }

    /// Writes into the existing file `name`: for an individually mounted file, which cannot be replaced (threat T13).
    /// Readers may see half of it.
    ///
    /// # Errors
    /// It cannot be opened for writing, or not get its mode or, as root, its owner.
    pub(super) fn overwrite(&self, name: &str, content: &[u8], attributes: Attributes) -> Result<()> {
        let file = self.open_for_overwriting(name)?;
        // Narrower first: the new content is never readable by more than it should be.
        let _ = rustix::fs::fchmod(&file, Mode::from_raw_mode(attributes.mode));
        fill(&file, content, attributes, Vec::new)
            .and_then(|_| rustix::fs::ftruncate(&file, content.len() as u64))
            .and_then(|()| rustix::fs::fsync(&file))
            .map_err(|error| self.failed("could not write", name, error))
    }

    /// Whether [`Directory::overwrite`] could open the file `name`; nothing is changed.
    ///
    /// # Errors
    /// It could not.
    pub(super) fn check_overwrite(&self, name: &str) -> Result<()> {
        self.open_for_overwriting(name).map(drop)
    }

    fn open_for_overwriting(&self, name: &str) -> Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, name, flags, Mode::empty())
            .map_err(|error| self.failed("could not open", name, error))?;
        match meta_of(&file, "", AtFlags::EMPTY_PATH)? {
            Some(meta) if meta.kind == FileKind::File => Ok(file),
            _ => Err(not_a_file().at(self.shown(name)).hint(remedy::not_a_file(&self.shown(name)))),
        }
    }

    /// Makes the link `staged`, which must not exist, to `target`.
    pub(super) fn stage_link(&self, staged: &str, target: &str, modified: Option<(i64, u32)>) -> Result<()> {
        as_user(self.user, || rustix::fs::symlinkat(target, &self.fd, staged))
            .map_err(|error| self.failed("could not create the link", staged, error))?;
        match modified {
            Some(modified) => self.stamp_entry(staged, modified),
            None => Ok(()),
        }
    }

    /// Renames `staged` over `name`. `false`, with `staged` unchanged, if `name` is a mount point; on an error,
    /// `staged` is removed.
    pub(super) fn rename(&self, staged: &str, name: &str) -> Result<bool> {
        match as_user(self.user, || rustix::fs::renameat(&self.fd, staged, &self.fd, name)) {
            Ok(()) => Ok(true),
            Err(Errno::BUSY) => Ok(false),
            Err(error) => {
                let _ = self.remove(staged);
                Err(self.failed("could not replace", name, error))
            }
        }
    }

    /// Removes the file or link `name`; it is no error if it is already gone.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        match as_user(self.user, || rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed("could not remove", name, error)),
        }
    }

    /// Its owner: user and group.
    pub(crate) fn owner(&self) -> Result<Option<(u32, u32)>> {
        Ok(self.meta()?.map(|meta| (meta.uid, meta.gid)))
    }

    /// Makes the directory `name`, with exactly this mode.
    pub(super) fn make_directory(&self, name: &str, attributes: Attributes) -> Result<()> {
        let made = as_user(self.user, || {
            // A run killed here leaves a directory that others can use as they will be able to: `/var` with 0700 would
            // lock them out. Only its owner writes there before the owner is set.
            let at_first = Mode::from_raw_mode(attributes.mode & 0o755 | 0o700);
            rustix::fs::mkdirat(&self.fd, name, at_first)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = rustix::fs::openat(&self.fd, name, flags, Mode::empty())?;
            if let Some((uid, gid)) = attributes.owner.filter(|_| crate::host::privilege::is_root()) {
                rustix::fs::fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
            }
            // Overrides the umask, also for users who gave us `--sysroot` as root.
            rustix::fs::fchmod(&made, Mode::from_raw_mode(attributes.mode))
        });
        made.map_err(|error| self.failed("could not create the directory", name, error))
    }

    /// Sets the permission bits of the directory itself, octal.
    pub(super) fn set_mode(&self, mode: u32) -> Result<()> {
        rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(mode))
            .map_err(|error| self.failed("could not change the mode", "", error))
    }

    /// Removes the directory `name` if it is empty; returns whether it is gone.
    pub(super) fn remove_empty_directory(&self, name: &str) -> Result<bool> {
        match as_user(self.user, || rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(self.failed("could not remove the directory", name, error)),
        }
    }

    /// Sets the times of the directory itself.
    pub(super) fn stamp(&self, modified: (i64, u32)) -> Result<()> {
        rustix::fs::futimens(&self.fd, &times(modified))
            .map_err(|error| self.failed("could not stamp", "", error))
    }

    /// Sets the times of an entry; of a link itself, not of its target.
    pub(super) fn stamp_entry(&self, name: &str, modified: (i64, u32)) -> Result<()> {
        let stamp = || rustix::fs::utimensat(&self.fd, name, &times(modified), AtFlags::SYMLINK_NOFOLLOW);
        as_user(self.user, stamp).map_err(|error| self.failed("could not stamp", name, error))
    }

    /// Opens the regular file `name` for reading; the caller checks its kind.
    pub(super) fn open_to_read(&self, name: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, name, flags, Mode::empty())
    }

    /// Writes the directory's entries to disk.
    pub(crate) fn sync(&self) -> Result<()> {
        match rustix::fs::fsync(&self.fd) {
            // Some file systems do not support it.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(error) => Err(self.failed("could not write to disk", "", error)),
        }
    }

    /// The directory's path for messages.
    pub(crate) fn display(&self) -> &str {
        &self.shown
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    pub(super) fn shown(&self, name: &str) -> String {
        if name.is_empty() {
            self.shown.clone()
        } else {
            format!("{}/{name}", self.shown.trim_end_matches('/'))
        }
    }

    pub(super) fn failed(&self, what: &str, name: &str, error: Errno) -> Error {
        // Correct for every command: some write only to this system, some store what a server gave them.
        let hint = match error {
            Errno::ROFS => {
                "the file system is mounted read-only: mount it read-write, or put a volume or tmpfs at the directory that is written"
                    .to_owned()
            }
            Errno::ACCESS | Errno::PERM => {
                remedy::permission(self.meta().ok().flatten().map(|meta| meta.uid))
            }
            Errno::NOSPC | Errno::DQUOT => "free some space".to_owned(),
            _ => String::new(),
        };
        let error = Error::failed(what).at(self.shown(name)).because(error);
        if hint.is_empty() { error } else { error.hint(hint) }
    }
}

fn not_a_file() -> Error {
    Error::failed("expected a regular file, found something else")
}

/// Writes the content, then owner, other attributes, mode (after the access control list, whose mask it is) and times.
/// Returns what `copy_attributes` does.
fn fill(
    file: &OwnedFd,
    mut content: &[u8],
    attributes: Attributes,
    copy_attributes: impl FnOnce() -> Vec<String>,
) -> Result<Vec<String>, Errno> {
    while !content.is_empty() {
        match rustix::io::write(file, content) {
            Ok(count) => content = &content[count..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    give(file, attributes.owner)?;
    let lost = copy_attributes();
    rustix::fs::fchmod(file, Mode::from_raw_mode(attributes.mode))?;
    if let Some(modified) = attributes.modified {
        rustix::fs::futimens(file, &times(modified))?;
    }
    rustix::fs::fsync(file)?;
    Ok(lost)
}

/// The same for last access and last change.
fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Gives a file its owner. Only root can give one away: users who may replace one own it from then on; to a group that
/// they are in, they can give it.
fn give(file: &OwnedFd, owner: Option<(u32, u32)>) -> Result<(), Errno> {
    let Some((uid, gid)) = owner else { return Ok(()) };
    let stat = rustix::fs::fstat(file)?;
    if (stat.st_uid, stat.st_gid) == (uid, gid) {
        return Ok(());
    }
    if crate::host::privilege::is_root() {
        return rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    }
    if stat.st_uid == uid {
        let _ = rustix::fs::fchown(file, None, Some(Gid::from_raw(gid)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_has_a_next_step_for_every_command() {
        let place = tempfile::tempdir().expect("a directory");
        let root = Sysroot::open(place.path()).expect("a root");
        let directory = root.directory("/").expect("opened");
        for (errno, wanted) in
            [(Errno::ROFS, "mount it read-write"), (Errno::NOSPC, "free some space"), (Errno::ACCESS, "root")]
        {
            let error = directory.failed("could not write", "x", errno);
            assert!(error.hints()[0].contains(wanted), "{error:?}");
            assert!(
                !error.hints()[0].contains("--sysroot") && !error.hints()[0].contains("kept"),
                "{error:?}"
            );
        }
    }
}
