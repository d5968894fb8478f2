//! The node at a path, as plain data: the alphabet of plans, undo and state.

use crate::error::{Error, Result};
use crate::rootfs::budget::{self, Category};
use crate::rootfs::content::Content;
use crate::rootfs::directory::Directory;
use crate::rootfs::{FileKind, Meta, Sysroot};

/// The largest file that we read or keep: a bundle of all the world's roots has a tenth of it (threat T9).
pub(crate) const FILE_LIMIT: u64 = 32 * 1024 * 1024;

/// The set-id bits of a mode. A node never has them: they are neither copied nor restored (threat T38).
pub(crate) const SPECIAL: u32 = 0o6000;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// Nothing.
    Absent,
    /// A directory; its entries are nodes of their own.
    Directory {
        /// Permission bits, octal.
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// The target as written.
        target: String,
    },
    /// A regular file.
    File(File),
    /// A device, socket or FIFO: never ours, never touched.
    Special,
}

/// A regular file with all that a replacement must keep.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// The bytes.
    pub(crate) content: Content,
    /// Permission bits, octal.
    pub(crate) mode: u32,
    /// Owner and group; `None` in a plan: the current user. Also `None` if we could not give a file away anyway.
    pub(crate) owner: Option<(u32, u32)>,
    /// Last change, seconds since 1970 and nanoseconds; `None` in a plan: now, or `SOURCE_DATE_EPOCH`.
    pub(crate) modified: Option<(i64, u32)>,
    /// Something is mounted exactly at this path, so that it cannot be replaced.
    pub(crate) mount_point: bool,
}

impl File {
    /// A file that a plan makes: this content and mode, owned by the current user.
    pub(crate) fn new(content: impl Into<Content>, mode: u32) -> Self {
        File { content: content.into(), mode, owner: None, modified: None, mount_point: false }
    }
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the content: nodes end up in messages.
        write!(f, "File({} bytes, {:04o}, {:?})", self.content.len(), self.mode, self.owner)
    }
}

impl Node {
    /// Whether `self` matches `wanted`: kind, target, content and mode; owner if the plan names one.
    pub(crate) fn satisfies(&self, wanted: &Node) -> bool {
        match (self, wanted) {
            (Node::File(actual), Node::File(wanted)) => {
                actual.content == wanted.content
                    && actual.mode == wanted.mode
                    && (wanted.owner.is_none() || actual.owner.is_none() || actual.owner == wanted.owner)
            }
            (Node::Directory { .. }, Node::Directory { .. }) => true,
            _ => self == wanted,
        }
    }

    /// A short word for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Node::Absent => "nothing",
            Node::Directory { .. } => "a directory",
            Node::Link { .. } => "a link",
            Node::File(_) => "a file",
            Node::Special => "a device, socket or FIFO",
        }
    }
}

/// What is at `path` now; a link at its end is not followed.
///
/// # Errors
/// A file over 32 MiB, or one that cannot be read.
pub(crate) fn read(sysroot: &Sysroot, path: &str) -> Result<Node> {
    match sysroot.lstat(path)? {
        None => Ok(Node::Absent),
        Some(meta) => read_known(sysroot, path, &meta),
    }
}

/// The same if the kind of the node is known.
pub(crate) fn read_known(sysroot: &Sysroot, path: &str, meta: &Meta) -> Result<Node> {
    Ok(match meta.kind {
        FileKind::Directory => Node::Directory { mode: meta.mode & !SPECIAL },
        FileKind::Special => Node::Special,
        FileKind::Link => match sysroot.read_link(path)? {
            Some(target) => Node::Link { target },
            None => return Err(changed_while_reading(sysroot.display(path))),
        },
        FileKind::File => {
            if meta.size <= FILE_LIMIT {
                let place = sysroot.display(path);
                budget::pay(Category::Trust, &place, meta.size).map_err(|error| error.at(place))?;
            }
            match sysroot.read_no_link(path, FILE_LIMIT)? {
                Some((content, meta)) => file(content, &meta),
                None => return Err(changed_while_reading(sysroot.display(path))),
            }
        }
    })
}

/// The node at `name` in an open directory, and its `statx` result; a link is not followed.
///
/// # Errors
/// A file over 32 MiB, or one that cannot be read.
pub(crate) fn read_entry(directory: &Directory, name: &str) -> Result<(Node, Option<Meta>)> {
    let Some(meta) = directory.lstat(name)? else { return Ok((Node::Absent, None)) };
    let changed = || changed_while_reading(format!("{}/{name}", directory.display()));
    Ok(match meta.kind {
        FileKind::Directory => (Node::Directory { mode: meta.mode & !SPECIAL }, Some(meta)),
        FileKind::Special => (Node::Special, Some(meta)),
        FileKind::Link => {
            (Node::Link { target: directory.read_link(name)?.ok_or_else(changed)? }, Some(meta))
        }
        FileKind::File => {
            let (content, meta) = directory.read(name, FILE_LIMIT)?.ok_or_else(changed)?;
            (file(content, &meta), Some(meta))
        }
    })
}

fn file(content: Vec<u8>, meta: &Meta) -> Node {
    Node::File(File {
        content: content.into(),
        mode: meta.mode & !SPECIAL,
        owner: crate::host::privilege::is_root().then_some((meta.uid, meta.gid)),
        modified: Some(meta.modified),
        mount_point: meta.mount_point,
    })
}

fn changed_while_reading(place: String) -> Error {
    Error::failed("this path changed while it was read")
        .at(place)
        .hint("run again when no other program changes the root file system")
}
