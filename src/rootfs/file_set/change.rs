//! One path of a set, as data: what is expected there, what will be there, and how to change it.

use crate::rootfs::directory::Attributes;
use crate::rootfs::tree::Node;

/// One path that changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    /// The path as seen inside the root file system.
    pub(crate) path: &'a str,
    /// What is expected there.
    pub(crate) before: Before<'a>,
    /// What will be there.
    pub(crate) after: After<'a>,
    /// How to change it.
    pub(crate) rules: Rules<'a>,
}

/// What is expected at a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Before<'a> {
    /// Exactly this: anything else is an error.
    Is(&'a Node),
    /// Nothing, or something that may be replaced: a file or a link.
    Anything,
}

/// What will be at a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum After<'a> {
    /// Nothing. A directory is removed only if it is empty.
    Absent,
    /// A directory with this mode (octal) and owner (user and group id; `None` is the current user).
    Directory(u32, Option<(u32, u32)>),
    /// A symbolic link to this target.
    Link(&'a str),
    /// A regular file; without a time of its own it gets that of the set.
    File(&'a [u8], Attributes),
}

/// How a path may be changed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules<'a> {
    /// No directory on the way may be a link: for paths of a user who could put one there.
    pub(crate) no_links: bool,
    /// Root changes a directory of another user with that user's rights, and what is made there belongs to that user
    /// (threats T13 and T35).
    pub(crate) with_owners_rights: bool,
    /// Names that must not exist beside it: something is in use.
    pub(crate) unless_beside: &'a [&'a str],
    /// An individually mounted file is written in place. Without this, it is an error.
    pub(crate) in_place: bool,
}
