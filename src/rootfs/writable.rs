//! Whether a path can be made, replaced or removed, and why not. Only reads: nothing is written to find out. What this
//! cannot foresee (a security module's refusal, a mount of another namespace) is an error of the write itself.

use std::fmt;

use rustix::fs::{Access, AtFlags};
use rustix::io::Errno;

use super::credentials::as_user;
use super::directory::Directory;
use super::{Meta, Sysroot, remedy, split};
use crate::error::Result;
use crate::host::privilege;

/// Why a path cannot be made, replaced or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The file system is mounted read-only.
    ReadOnly,
    /// The caller has no permission to change the directory.
    Permission {
        /// The directory, as seen inside the sysroot.
        directory: String,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
        /// Its permission bits, octal.
        mode: u32,
    },
    /// Something is mounted exactly at this path: a mount point can be neither renamed over nor removed.
    Mounted,
    /// The file or its directory (which of them) has the attribute `immutable` or `append-only`.
    Immutable(String),
    /// A file of another user in a directory with the sticky bit.
    Sticky {
        /// The file's owner.
        uid: u32,
    },
    /// In a directory of another user, root works with that user's rights (threat T35), which do not suffice here.
    OtherUser {
        /// The directory or file, as seen inside the sysroot.
        path: String,
        /// Its owner.
        uid: u32,
    },
    /// Only another program writes there.
    Reserved {
        /// Its owner, in words that follow the path.
        why: &'static str,
        /// What the administrator can do about it.
        hint: &'static str,
    },
    /// Something else: the kernel refused the write, or another path that this one depends on cannot be written.
    Other(String),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::ReadOnly => f.write_str("read-only file system"),
            Obstacle::Permission { directory, uid, gid, mode } => {
                let us = crate::host::privilege::uid();
                write!(
                    f,
                    "permission denied: `{}` is owned by {uid}:{gid} (mode {mode:04o}), and trustup runs as user {us}",
                    crate::text::escape(directory)
                )
            }
            Obstacle::Mounted => f.write_str(
                "it is a mount point: a mounted file cannot be replaced, and trustup does not write into it",
            ),
            Obstacle::Immutable(path) => {
                write!(f, "`{}` has the immutable or append-only attribute", crate::text::escape(path))
            }
            Obstacle::Sticky { uid } => {
                write!(f, "permission denied: it is owned by user {uid}, in a directory with the sticky bit")
            }
            Obstacle::OtherUser { path, uid } => write!(
                f,
                "`{}` is owned by user {uid}: in a directory of another user trustup works with the rights of that user only",
                crate::text::escape(path)
            ),
            Obstacle::Reserved { why, .. } => f.write_str(why),
            Obstacle::Other(why) => f.write_str(why),
        }
    }
}

impl Obstacle {
    /// What the administrator can do about it.
    pub(crate) fn hint(&self) -> String {
        let hint = match self {
            Obstacle::ReadOnly => {
                "mount the file system read-write, or mount a writable volume (such as an emptyDir or a tmpfs) at that directory"
            }
            Obstacle::Permission { uid, .. } | Obstacle::Sticky { uid } if privilege::is_root() => {
                return remedy::permission(Some(*uid));
            }
            Obstacle::Permission { .. } | Obstacle::Sticky { .. } => {
                "run trustup as root (in a Dockerfile: `USER root` before, the service's user after), or give its user or group write permission to the directory"
            }
            Obstacle::Mounted => {
                "mount the directory instead of the single file, or mount a file that holds the root already"
            }
            Obstacle::Immutable(_) => "`chattr -i -a PATH` removes the attribute",
            Obstacle::OtherUser { .. } => {
                "give the directory and the file in it to one user who can write there (`chown`, `chmod u+w`), or run trustup as the owner of the directory"
            }
            Obstacle::Reserved { hint, .. } => hint,
            Obstacle::Other(_) => "grant write access to that path, or omit that store with `--stores`",
        };
        hint.to_owned()
    }
}

impl Sysroot {
    /// Whether the current user can create entries in the directory at `path`, or, if it is missing, in the nearest one
    /// above it.
    pub(crate) fn is_writable(&self, path: &str) -> Result<bool> {
        Ok(self.directory_obstacle(path)?.is_none())
    }

    /// Why the caller cannot create entries in the directory at `path`, or, if it is missing, in the nearest one above
    /// it; `None` if it can.
    pub(crate) fn directory_obstacle(&self, path: &str) -> Result<Option<Obstacle>> {
        let mut path = path;
        loop {
            if let Some(meta) = self.stat(path)? {
                let directory = match self.directory(path) {
                    Ok(directory) => directory,
                    Err(error) => {
                        let denied = matches!(error.cause::<Errno>(), Some(&(Errno::ACCESS | Errno::PERM)));
                        let why = Obstacle::Other(error.what().to_owned());
                        return Ok(Some(if denied { permission(path, &meta) } else { why }));
                    }
                };
                return Ok(match directory.access() {
                    Ok(()) if meta.immutable => Some(Obstacle::Immutable(path.to_owned())),
                    Ok(()) => None,
                    Err(Errno::ROFS) => Some(Obstacle::ReadOnly),
                    Err(_) if meta.immutable => Some(Obstacle::Immutable(path.to_owned())),
                    Err(Errno::ACCESS | Errno::PERM) => Some(permission(path, &meta)),
                    Err(error) => Some(Obstacle::Other(error.to_string())),
                });
            }
            if path == "/" {
                return Ok(Some(Obstacle::Other("there is no root directory".to_owned())));
            }
            path = split(path).0;
        }
    }

    /// Why the caller cannot replace or remove the node at `path`, in a directory in which it can create entries;
    /// `None` if it can, or if nothing is there.
    pub(crate) fn entry_obstacle(&self, path: &str) -> Result<Option<Obstacle>> {
        let Some(meta) = self.lstat(path)? else { return Ok(None) };
        if meta.mount_point {
            return Ok(Some(Obstacle::Mounted));
        }
        if meta.immutable {
            return Ok(Some(Obstacle::Immutable(path.to_owned())));
        }
        let us = crate::host::privilege::uid();
        if us == 0 || meta.uid == us {
            return Ok(None);
        }
        let directory = self.stat(split(path).0)?;
        let is_sticky =
            directory.is_some_and(|directory| directory.mode & 0o1000 != 0 && directory.uid != us);
        Ok(is_sticky.then_some(Obstacle::Sticky { uid: meta.uid }))
    }
}

impl Sysroot {
    /// Whether we are root, and the directory at `path` (or the nearest one above it) is another user's.
    pub(crate) fn is_of_other_user(&self, path: &str) -> Result<bool> {
        if !crate::host::privilege::is_root() {
            return Ok(false);
        }
        let mut path = path;
        loop {
            match self.stat(path)? {
                Some(meta) => return Ok(!self.is_trusted(meta.uid)),
                None if path == "/" => return Ok(false),
                None => path = split(path).0,
            }
        }
    }

    /// Why root cannot change the node at `path` with the rights of the user who owns its directory (or the nearest one
    /// above it); `None` if it can, or if the directory does not belong to another user.
    pub(crate) fn other_users_obstacle(&self, path: &str) -> Result<Option<Obstacle>> {
        let (parent, name) = split(path);
        if !self.is_of_other_user(parent)? {
            return Ok(None);
        }
        let mut directory = parent;
        let user = loop {
            match self.stat(directory)? {
                Some(meta) => break (meta.uid, meta.gid),
                None if directory == "/" => return Ok(None),
                None => directory = split(directory).0,
            }
        };
        let obstacle = |path: &str, uid| Some(Obstacle::OtherUser { path: path.to_owned(), uid });
        let opened = self.directory(directory)?.with_rights_of(Some(user));
        if opened.access().is_err() {
            return Ok(obstacle(directory, user.0));
        }
        let entry = if directory == parent { opened.lstat(name)? } else { None };
        Ok(entry.filter(|entry| entry.uid != user.0).and_then(|entry| obstacle(path, entry.uid)))
    }
}

fn permission(directory: &str, meta: &Meta) -> Obstacle {
    Obstacle::Permission { directory: directory.to_owned(), uid: meta.uid, gid: meta.gid, mode: meta.mode }
}

impl Directory {
    /// Whether we may create entries here.
    pub(crate) fn is_writable(&self) -> bool {
        self.access().is_ok()
    }

    fn access(&self) -> Result<(), Errno> {
        as_user(self.user(), || {
            rustix::fs::accessat(self.fd(), ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
        })
    }
}
