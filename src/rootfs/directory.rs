//! Changes: every one names a directory descriptor and a last component (threat T10). Only `apply`, `state` and `pair` use
//! this. Content arrives by rename, with mode, owner and times set before; in place is written only what is mounted by itself.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::{Kind, Meta, Sysroot, budget, list_of, meta_of, read_link_at, walk};
use crate::error::{Error, Result};

/// File systems that are no place for files: writing there does something else (magic numbers of `statfs(2)`).
const FORBIDDEN: [(u64, &str); 5] = [
    (0x9fa0, "procfs"),
    (0x6265_6572, "sysfs"),
    (0x1cd1, "devpts"),
    (0x0027_e0eb, "cgroup"),
    (0x6367_7270, "cgroup2"),
];

/// An open directory of a sysroot.
#[derive(Debug)]
pub struct Directory {
    pub(super) fd: OwnedFd,
    /// The directory's path with the sysroot in front, for messages.
    shown: String,
}

/// What a new file gets beside its content.
#[derive(Clone, Copy, Debug)]
pub struct Attributes {
    /// Permission bits, octal.
    pub mode: u32,
    /// Owner and group; `None` leaves them to the system (us).
    pub owner: Option<(u32, u32)>,
    /// Time of last change in seconds since 1970 and nanoseconds; `None` is now.
    pub modified: Option<(i64, u32)>,
}

impl Sysroot {
    /// Opens the directory at `path` for changes in it; links on the way resolve inside the sysroot, once.
    ///
    /// # Errors
    /// It is missing, no directory, or on a file system that is no place for files.
    pub fn directory(&self, path: &str) -> Result<Directory> {
        let canonical = self.canonical(path)?.ok_or_else(|| self.no_directory(path))?;
        self.open_directory(path, &canonical)
    }

    /// The same, where no component of `path` may be a link: for what belongs to somebody who could put one there.
    ///
    /// # Errors
    /// As above; something on the way is a link.
    pub fn directory_without_links(&self, path: &str) -> Result<Directory> {
        self.open_directory(path, path)
    }

    fn open_directory(&self, path: &str, canonical: &str) -> Result<Directory> {
        let shown = self.display(path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = walk::open_without_links(self, canonical, flags).map_err(|error| match error {
            Errno::NOENT | Errno::NOTDIR => self.no_directory(path),
            error => self.open_error(path, error),
        })?;
        if let Ok(fs) = rustix::fs::fstatfs(&fd)
            && let Some((_, name)) = FORBIDDEN.iter().find(|(magic, _)| *magic == fs.f_type as u64)
        {
            return Err(Error::failed(format!("{name} is no place for files")).at(&shown));
        }
        Ok(Directory { fd, shown })
    }

    fn no_directory(&self, path: &str) -> Error {
        Error::failed("there is no such directory").at(self.display(path))
    }
}

impl Directory {
    /// What is at `name`, a link not followed.
    pub fn lstat(&self, name: &str) -> Result<Option<Meta>> {
        meta_of(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| error.at(self.shown(name)))
    }

    /// Where the link at `name` points.
    pub fn read_link(&self, name: &str) -> Result<Option<String>> {
        read_link_at(&self.fd, name).map_err(|error| error.at(self.shown(name)))
    }

    /// The content of the regular file `name`, and what `statx` says of it; a link is an error. `None` if there is
    /// nothing.
    ///
    /// # Errors
    /// It is no regular file, larger than `limit` bytes, or cannot be read.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<(Vec<u8>, Meta)>> {
        // A first look without opening: opening a device can have effects of its own.
        match self.lstat(name)? {
            None => return Ok(None),
            Some(meta) if meta.kind != Kind::File => {
                return Err(not_a_file()
                    .at(self.shown(name))
                    .hint(format!("check what `{}` is, and name or put a regular file", self.shown(name))));
            }
            Some(_) => {}
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.failed("could not read", name, error)),
        };
        let Some(meta) = meta_of(&file, "", AtFlags::EMPTY_PATH)? else { return Ok(None) };
        if meta.kind != Kind::File {
            return Err(not_a_file()
                .at(self.shown(name))
                .hint(format!("check what `{}` is, and name or put a regular file", self.shown(name))));
        }
        budget::read(&file, meta.size, limit, &self.shown(name))
            .map(|bytes| Some((bytes, meta)))
            .map_err(|error| error.at(self.shown(name)))
    }

    /// The names in here, sorted.
    pub fn list(&self) -> Result<Vec<String>> {
        list_of(&self.fd).map_err(|error| error.at(&self.shown))
    }

    /// Writes a new file `temporary`, complete and on disk, and renames it over `name`.
    pub fn replace_file(
        &self,
        temporary: &str,
        name: &str,
        content: &[u8],
        attributes: Attributes,
    ) -> Result<()> {
        self.create_file(temporary, content, attributes)?;
        self.rename(temporary, name)
    }

    /// Creates the file `name`, which must not exist, complete and on disk. A failure leaves none.
    pub fn create_file(&self, name: &str, content: &[u8], attributes: Attributes) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600))
            .map_err(|error| self.failed("could not create", name, error))?;
        self.fill(&file, content, attributes).map_err(|error| {
            // The first error is the one to report; a file that cannot be removed either is named by the next run.
            let _ = rustix::fs::unlinkat(&self.fd, name, AtFlags::empty());
            self.failed("could not write", name, error)
        })
    }

    fn fill(&self, file: &OwnedFd, mut content: &[u8], attributes: Attributes) -> Result<(), Errno> {
        while !content.is_empty() {
            match rustix::io::write(file, content) {
                Ok(count) => content = &content[count..],
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        give(file, attributes.owner)?;
        rustix::fs::fchmod(file, Mode::from_raw_mode(attributes.mode))?;
        if let Some((seconds, nanoseconds)) = attributes.modified {
            let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
            rustix::fs::futimens(file, &Timestamps { last_access: time, last_modification: time })?;
        }
        rustix::fs::fsync(file)
    }

    /// Writes into the file `name` as it stands there: for a file that is mounted by itself, which cannot be replaced
    /// (threat T13). Readers may see half of it.
    ///
    /// # Errors
    /// It cannot be opened for writing, or not get its mode or, as root, its owner.
    pub fn overwrite(&self, name: &str, content: &[u8], attributes: Attributes) -> Result<()> {
        let file = self.open_for_overwriting(name)?;
        // Narrower first: the new content is never readable by more than it should be.
        let _ = rustix::fs::fchmod(&file, Mode::from_raw_mode(attributes.mode));
        self.fill(&file, content, attributes)
            .and_then(|()| rustix::fs::ftruncate(&file, content.len() as u64))
            .and_then(|()| rustix::fs::fsync(&file))
            .map_err(|error| self.failed("could not write", name, error))
    }

    /// Whether [`Directory::overwrite`] could open the file `name`; nothing is changed.
    ///
    /// # Errors
    /// It could not.
    pub fn check_overwrite(&self, name: &str) -> Result<()> {
        self.open_for_overwriting(name).map(drop)
    }

    fn open_for_overwriting(&self, name: &str) -> Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, name, flags, Mode::empty())
            .map_err(|error| self.failed("could not open", name, error))?;
        match meta_of(&file, "", AtFlags::EMPTY_PATH)? {
            Some(meta) if meta.kind == Kind::File => Ok(file),
            _ => Err(not_a_file()
                .at(self.shown(name))
                .hint(format!("check what `{}` is, and name or put a regular file", self.shown(name)))),
        }
    }

    /// Makes a link `temporary` to `target` and renames it over `name`.
    pub fn replace_link(
        &self,
        temporary: &str,
        name: &str,
        target: &str,
        modified: Option<(i64, u32)>,
    ) -> Result<()> {
        rustix::fs::symlinkat(target, &self.fd, temporary)
            .map_err(|error| self.failed("could not make the link", name, error))?;
        if let Some((seconds, nanoseconds)) = modified {
            let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
            let times = Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(&self.fd, temporary, &times, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| self.failed("could not stamp the link", name, error))?;
        }
        self.rename(temporary, name)
    }

    /// Renames an entry over another one, or to a new name. Where that fails, `from` is removed.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        if self.try_rename(from, to)? {
            return Ok(());
        }
        let _ = rustix::fs::unlinkat(&self.fd, from, AtFlags::empty());
        Err(Error::failed("this path is a mount point and cannot be replaced")
            .at(self.shown(to))
            .because(Errno::BUSY)
            .hint("mount the directory, not the file, or mount the finished bundle"))
    }

    /// The same; `false`, with `from` where it was, if `to` is a mount point.
    pub fn try_rename(&self, from: &str, to: &str) -> Result<bool> {
        match rustix::fs::renameat(&self.fd, from, &self.fd, to) {
            Ok(()) => Ok(true),
            Err(Errno::BUSY) => Ok(false),
            Err(error) => {
                let _ = rustix::fs::unlinkat(&self.fd, from, AtFlags::empty());
                Err(self.failed("could not replace", to, error))
            }
        }
    }

    /// Removes the file or link `name`; that it is gone already is no error.
    pub fn remove(&self, name: &str) -> Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed("could not remove", name, error)),
        }
    }

    /// Who it belongs to: user and group.
    pub fn owner(&self) -> Result<Option<(u32, u32)>> {
        Ok(meta_of(&self.fd, "", AtFlags::EMPTY_PATH)?.map(|meta| (meta.uid, meta.gid)))
    }

    /// Makes the directory `name`, with exactly this mode.
    pub fn make_directory(&self, name: &str, attributes: Attributes) -> Result<()> {
        let failed = |error| self.failed("could not make the directory", name, error);
        // A run that is killed here leaves a directory that others can use as they will be able to: `/var` with 0700 would
        // lock them out. Nobody but its owner writes there before the owner is set.
        let at_first = Mode::from_raw_mode(attributes.mode & 0o755 | 0o700);
        rustix::fs::mkdirat(&self.fd, name, at_first).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map_err(failed)?;
        if let Some((uid, gid)) = attributes.owner.filter(|_| rustix::process::geteuid().is_root()) {
            rustix::fs::fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(failed)?;
        }
        // Against the umask, and for those who gave us `--sysroot` as root.
        rustix::fs::fchmod(&made, Mode::from_raw_mode(attributes.mode)).map_err(failed)
    }

    /// Sets the permission bits of the directory itself, octal.
    pub fn set_mode(&self, mode: u32) -> Result<()> {
        rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(mode))
            .map_err(|error| self.failed("could not change the mode", "", error))
    }

    /// Removes the directory `name` if it is empty; says whether it is gone.
    pub fn remove_empty_directory(&self, name: &str) -> Result<bool> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(self.failed("could not remove the directory", name, error)),
        }
    }

    /// Sets the times of the directory itself.
    pub fn stamp(&self, modified: (i64, u32)) -> Result<()> {
        let time = Timespec { tv_sec: modified.0, tv_nsec: modified.1.into() };
        rustix::fs::futimens(&self.fd, &Timestamps { last_access: time, last_modification: time })
            .map_err(|error| self.failed("could not stamp", "", error))
    }

    /// Sets the times of an entry; of a link itself, not of what it leads to.
    pub fn stamp_entry(&self, name: &str, modified: (i64, u32)) -> Result<()> {
        let time = Timespec { tv_sec: modified.0, tv_nsec: modified.1.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(&self.fd, name, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| self.failed("could not stamp", name, error))
    }

    /// Brings the directory's entries to disk.
    pub fn sync(&self) -> Result<()> {
        match rustix::fs::fsync(&self.fd) {
            // Some file systems do not know how.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(error) => Err(self.failed("could not write to disk", "", error)),
        }
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
        // Right for every command: some write to this system alone, some keep what a server gave them.
        let hint = match error {
            Errno::ROFS => {
                "the file system is mounted read-only: mount it read-write, or put a volume or tmpfs at the directory that is written"
            }
            Errno::ACCESS | Errno::PERM => {
                "run as the owner of this path (in a Dockerfile: `USER root` before, the service's user after)"
            }
            Errno::NOSPC | Errno::DQUOT => "free some space",
            _ => "",
        };
        let error = Error::failed(what).at(self.shown(name)).because(error);
        if hint.is_empty() { error } else { error.hint(hint) }
    }
}

fn not_a_file() -> Error {
    Error::failed("expected a regular file, found something else")
}

/// Gives a file its owner. Others than root cannot give one away: where they may replace one, it is theirs from then on;
/// to a group that they are in, they can.
fn give(file: &OwnedFd, owner: Option<(u32, u32)>) -> Result<(), Errno> {
    let Some((uid, gid)) = owner else { return Ok(()) };
    let stat = rustix::fs::fstat(file)?;
    if (stat.st_uid, stat.st_gid) == (uid, gid) {
        return Ok(());
    }
    if rustix::process::geteuid().is_root() {
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
        for (errno, wanted) in [
            (Errno::ROFS, "mount it read-write"),
            (Errno::NOSPC, "free some space"),
            (Errno::ACCESS, "run as"),
        ] {
            let error = directory.failed("could not write", "x", errno);
            assert!(error.hints()[0].contains(wanted), "{error:?}");
            assert!(
                !error.hints()[0].contains("--sysroot") && !error.hints()[0].contains("kept"),
                "{error:?}"
            );
        }
    }
}
