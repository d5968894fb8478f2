//! The lock on a file of ours: `flock`, exclusive, without waiting. If a file system or a sandbox does not support it,
//! that is an error at once, and not a lock that another process holds.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::directory::Directory;
use super::meta::meta_of;
use super::{FileKind, remedy};
use crate::error::{self, Error, Result};

/// Names of file systems by their magic number (`statfs(2)`).
const FILE_SYSTEMS: [(u64, &str); 27] = [
    (0x6969, "NFS"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x517b, "SMB"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x7461_636f, "OCFS2"),
    (0x0116_1970, "GFS2"),
    (0x1980_0202, "BeeGFS"),
    (0x786f_4256, "vboxsf"),
    (0xbacb_acbc, "vmhgfs"),
    (0x794c_7630, "overlay"),
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0xef53, "ext4"),
    (0x5846_5342, "XFS"),
    (0x9123_683e, "Btrfs"),
    (0x2fc1_2fc1, "ZFS"),
    (0xf2f5_2010, "F2FS"),
    (0x4d44, "FAT"),
    (0xca45_1a4e, "bcachefs"),
];

impl Directory {
    /// Opens (and creates, mode 0600) a file of ours and takes the exclusive lock on it, without waiting. `None` if
    /// another process holds it, or has removed this directory.
    ///
    /// # Errors
    /// The file cannot be opened; or locking does not work here ([`error::ErrorKind::Unsupported`]), however long we
    /// wait: then the file that was created is removed again.
    pub(super) fn try_lock(&self, name: &str) -> Result<Option<OwnedFd>> {
        // Only a regular file is ever opened: opening a device or a terminal has effects of its own.
        if let Some(meta) = self.lstat(name)?
            && meta.kind != FileKind::File
        {
            return Err(Error::failed("expected the lock, a regular file, found something else")
                .at(self.shown(name))
                .hint(format!(
                    "find out which program created it, {}, and run again",
                    remedy::move_away(&self.shown(name))
                )));
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = |flags| rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600));
        let (file, is_new) = match open(flags | OFlags::CREATE | OFlags::EXCL) {
            Err(Errno::EXIST) => (open(flags), false),
            opened => (opened, true),
        };
        if matches!(file, Err(Errno::NOENT)) {
            // The former holder of the lock removed the directory with it.
            return Ok(None);
        }
        let file = file.map_err(|error| self.failed("could not open the lock", name, error))?;
        let locked = loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::INTR) => {}
                locked => break locked,
            }
        };
        match locked {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => {
                // An existing one may be held by a process that the sandbox allows to lock.
                if is_new {
                    let _ = rustix::fs::unlinkat(&self.fd, name, AtFlags::empty());
                }
                return Err(self.cannot_lock(name, error));
            }
        }
        // The holder before us may have removed the file while we opened it: then this lock guards nothing.
        let held = meta_of(&file, "", AtFlags::EMPTY_PATH)?.map(|meta| meta.identity);
        let there = self.lstat(name)?.map(|meta| meta.identity);
        Ok((held == there).then_some(file))
    }

    /// Whether a process holds the lock on `name`; nothing is created.
    ///
    /// # Errors
    /// It is not a regular file, or cannot be opened.
    pub(super) fn is_locked(&self, name: &str) -> Result<bool> {
        match self.lstat(name)? {
            None => return Ok(false),
            Some(meta) if meta.kind == FileKind::File => {}
            Some(_) => return Err(Error::failed("the lock is not a regular file").at(self.shown(name))),
        }
        let file =
            self.open_to_read(name).map_err(|error| self.failed("could not open the lock", name, error))?;
        let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared);
        Ok(matches!(locked, Err(Errno::WOULDBLOCK)))
    }

    fn cannot_lock(&self, name: &str, error: Errno) -> Error {
        let system = match rustix::fs::fstatfs(&self.fd) {
            Ok(system) => file_system(system.f_type as u64),
            Err(_) => "of an unknown type".to_owned(),
        };
        let failed = Error::new(
            error::ErrorKind::Unsupported,
            format!("files cannot be locked here (flock; the file system is {system})"),
        )
        .at(self.shown(name))
        .because(error);
        match error {
            Errno::NOSYS | Errno::PERM | Errno::ACCESS => failed
                .hint("where a seccomp profile or another sandbox refuses the system call `flock`, allow it"),
            _ => failed,
        }
    }
}

/// The name of a file system, by the magic number of `statfs`.
fn file_system(magic: u64) -> String {
    // The kernel's type is signed on some processors.
    let magic = magic & 0xffff_ffff;
    let known = FILE_SYSTEMS.iter().find(|(number, _)| *number == magic);
    known.map_or_else(|| format!("of type {magic:#x}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_have_names() {
        assert_eq!(file_system(0x6969), "NFS");
        assert_eq!(file_system(0xffff_ffff_ff53_4d42), "CIFS");
        assert_eq!(file_system(0x1234), "of type 0x1234");
    }
}
