//! The metadata of one path: by `statx`, or by `fstatat` if the kernel or a sandbox refuses it (Linux before 4.11, the
//! seccomp profiles of old container engines, some emulators), as [`super::walk`] replaces `openat2`.
//!
//! No rule is weaker without `statx`: neither call follows links; owner, mode, size, times and identity are the same.
//! Only `statx` reports whether something is mounted exactly here (and only since Linux 5.8); without that,
//! `/proc/self/mountinfo` does. Without `/proc` as well, a device other than the directory's reveals most mounts, and a
//! rename over the others fails with EBUSY and changes nothing.

use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::host::read_bounded;
use crate::error::{Error, Result};

/// `mountinfo` has a line for each mount; a node of a cluster has thousands.
const MOUNTS_LIMIT: u64 = 16 * 1024 * 1024;

/// The kind of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A device, a socket or a FIFO.
    Special,
}

/// The kernel's metadata of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Its kind.
    pub(crate) kind: FileKind,
    /// Permission bits, the upper three included (octal `0o7777` mask).
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Bytes.
    pub(crate) size: u64,
    /// How many names the file has.
    pub(crate) links: u32,
    /// Last change of the content: seconds since 1970 and nanoseconds.
    pub(crate) modified: (i64, u32),
    /// Last change of anything, mode and owner included, as the kernel counts it: no program can set it.
    pub(crate) changed: (i64, u32),
    /// Device and inode: two paths with the same pair are one file.
    pub(crate) identity: (u64, u64),
    /// Something is mounted exactly here: it can be neither renamed over nor removed.
    pub(crate) mount_point: bool,
    /// It has the attribute `immutable` or `append-only`: not even root can replace or remove it.
    pub(crate) immutable: bool,
}

/// What is at `name` below `directory`; `None` if there is nothing.
pub(super) fn meta_of(directory: &OwnedFd, name: &str, flags: AtFlags) -> Result<Option<Meta>> {
    let stat = match rustix::fs::statx(directory, name, flags, StatxFlags::BASIC_STATS) {
        Ok(stat) => stat,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        // EPERM is a sandbox's refusal: for a file in a directory without search permission, statx returns EACCES.
        Err(Errno::NOSYS | Errno::PERM) => return without_statx(directory, name, flags),
        Err(error) => return Err(Error::failed("could not look at").because(error)),
    };
    let mode = u32::from(stat.stx_mode);
    let kind = kind_of(mode);
    let mount_root = StatxAttributes::MOUNT_ROOT;
    let mount_point = if stat.stx_attributes_mask.contains(mount_root) {
        stat.stx_attributes.contains(mount_root)
    } else {
        is_mounted_file(directory, name, kind, None)
    };
    Ok(Some(Meta {
        kind,
        mode: mode & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        size: stat.stx_size,
        links: stat.stx_nlink,
        modified: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
        changed: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
        identity: ((u64::from(stat.stx_dev_major) << 32) | u64::from(stat.stx_dev_minor), stat.stx_ino),
        mount_point,
        immutable: stat.stx_attributes.intersects(StatxAttributes::IMMUTABLE.union(StatxAttributes::APPEND)),
    }))
}

/// The same by `fstatat`.
fn without_statx(directory: &OwnedFd, name: &str, flags: AtFlags) -> Result<Option<Meta>> {
    let stat: Stat = match rustix::fs::statat(directory, name, flags) {
        Ok(stat) => stat,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(Error::failed("could not look at").because(error)),
    };
    let kind = kind_of(stat.st_mode);
    #[allow(clippy::unnecessary_cast, reason = "the types differ between processors")]
    Ok(Some(Meta {
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
        changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u32),
        identity: (
            (u64::from(rustix::fs::major(stat.st_dev)) << 32) | u64::from(rustix::fs::minor(stat.st_dev)),
            stat.st_ino as u64,
        ),
        mount_point: is_mounted_file(directory, name, kind, Some(&stat)),
        // Unknown without statx: a change that fails reports it.
        immutable: false,
    }))
}

fn kind_of(mode: u32) -> FileKind {
    match FileType::from_raw_mode(mode) {
        FileType::Directory => FileKind::Directory,
        FileType::RegularFile => FileKind::File,
        FileType::Symlink => FileKind::Link,
        _ => FileKind::Special,
    }
}

/// Whether the file `name` below `directory` (or the file `directory` itself, without a name) is individually mounted
/// there. Only for files does anything depend on it.
fn is_mounted_file(directory: &OwnedFd, name: &str, kind: FileKind, stat: Option<&Stat>) -> bool {
    if kind != FileKind::File {
        return false;
    }
    let by_table = mount_points().zip(path_of(directory, name)).map(|(mounts, path)| {
        mounts.lines().any(|line| line.split(' ').nth(4).is_some_and(|field| unescaped(field) == path))
    });
    by_table.unwrap_or_else(|| {
        let above = rustix::fs::fstat(directory).map(|above| above.st_dev);
        !name.is_empty() && stat.is_some_and(|stat| above.is_ok_and(|above| above != stat.st_dev))
    })
}

/// The path of an entry as the kernel knows it, in our root directory.
fn path_of(directory: &OwnedFd, name: &str) -> Option<Vec<u8>> {
    let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let mut path = rustix::fs::readlinkat(CWD, link.as_str(), Vec::new()).ok()?.into_bytes();
    if !name.is_empty() {
        if !path.ends_with(b"/") {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
    }
    Some(path)
}

/// The table of mounts (`proc_pid_mountinfo(5)`); `None` without `/proc`.
fn mount_points() -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, "/proc/self/mountinfo", flags, Mode::empty()).ok()?;
    let bytes = read_bounded(&file, 0, MOUNTS_LIMIT).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A field of mountinfo: blanks, tabs, newlines and backslashes are written in octal.
fn unescaped(field: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests build the trees that they look at")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rootfs::list_of;

    fn open(path: &str) -> OwnedFd {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path, flags, Mode::empty()).unwrap()
    }

    #[test]
    fn without_statx_the_same_is_known_of_everything() {
        let mut kinds = BTreeSet::new();
        let temp = tempfile::tempdir().unwrap();
        let path = |name: &str| temp.path().join(name);
        std::fs::write(path("file"), "x").unwrap();
        std::fs::hard_link(path("file"), path("name")).unwrap();
        std::os::unix::fs::symlink("nowhere", path("link")).unwrap();
        for place in [temp.path().to_str().unwrap(), "/", "/etc", "/dev", "/usr/bin"] {
            let directory = open(place);
            for name in list_of(&directory).unwrap() {
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                let with = meta_of(&directory, &name, flags).unwrap().expect("there");
                let without = without_statx(&directory, &name, flags).unwrap().expect("there");
                // For directories it does not matter whether they are mounted.
                let asked = with.kind == FileKind::File;
                let with = Meta { mount_point: asked && with.mount_point, ..with };
                assert_eq!(with, without, "{place}/{name}");
                kinds.insert(format!("{:?}", with.kind));
            }
        }
        assert_eq!(kinds.len(), 4, "every kind was seen: {kinds:?}");
        assert_eq!(without_statx(&open("/"), "not-there", AtFlags::empty()).unwrap(), None);
        let file = open(path("file").to_str().unwrap());
        let by_descriptor = without_statx(&file, "", AtFlags::EMPTY_PATH).unwrap().expect("there");
        assert_eq!((by_descriptor.links, by_descriptor.size), (2, 1));
    }

    #[test]
    fn mountinfo_writes_blanks_in_octal() {
        assert_eq!(unescaped(r"/a\040b\134c\0"), b"/a b\\c\\0");
    }
}
