//! The first half of a change: the existing node is checked, and all that can fail for want of space or rights is
//! prepared beside it.

use std::sync::Arc;

use rustix::io::Errno;

use super::undo::UndoStep;
use super::{Access, After, Before, Change, FileSet, changed};
use crate::error::{self, Error, Result};
use crate::rootfs::directory::{Attributes, Directory};
use crate::rootfs::path::split;
use crate::rootfs::tree::{self, Node};
use crate::rootfs::{FileKind, Meta, remedy, staged};

/// A change that is staged.
pub(super) struct Staged<'c> {
    pub(super) change: Change<'c>,
    pub(super) directory: Arc<Directory>,
    pub(super) name: &'c str,
    pub(super) meta: Option<Meta>,
    /// The former node; `None` if it could not be read: it can be replaced, but not restored.
    pub(super) former: Option<Node>,
    /// The staged file and its metadata.
    pub(super) file: Option<(String, Meta)>,
    pub(super) in_place: bool,
    /// It exists already, or was made while it was staged.
    pub(super) is_done: bool,
}

impl FileSet<'_> {
    /// Checks the existing node, and prepares beside it all that can be prepared. A directory is made at once: what
    /// follows may be staged in it.
    pub(super) fn stage<'c>(&mut self, change: Change<'c>) -> Result<Staged<'c>> {
        let (parent, name) = split(change.path);
        let directory = self.directory(parent, change.rules)?;
        let shown = || self.sysroot.display(change.path);
        let (meta, former) = match change.before {
            Before::Is(expected) => {
                let (node, meta) = tree::read_entry(&directory, name)?;
                let as_expected = match (&node, expected) {
                    (Node::Directory { .. }, Node::Directory { .. }) => true,
                    (node, expected) => node == expected,
                };
                if !as_expected {
                    return Err(changed(shown()));
                }
                (meta, Some(node))
            }
            Before::Anything => former(&directory, name)?,
        };
        for other in change.rules.unless_beside {
            if directory.lstat(other)?.is_some() {
                return Err(Error::failed("another program started to write here during the run")
                    .at(format!("{}/{other}", directory.display()))
                    .hint("stop the program that uses it (a browser), and run again"));
            }
        }
        if let (Some((uid, _)), Some(meta)) = (directory.user(), meta)
            && meta.uid != uid
        {
            return Err(Error::failed(format!(
                "this is owned by user {}, in a directory of user {uid}: trustup changes it only as its owner",
                meta.uid
            ))
            .at(shown())
            .because(Errno::PERM)
            .hint(format!(
                "`chown {uid} {}`, or omit the option that names it, such as `--ca-out`",
                remedy::quoted(&shown())
            )));
        }
        let mounted = meta.is_some_and(|meta| meta.mount_point && meta.kind == FileKind::File);
        let is_done = is_there(&change, meta.as_ref(), former.as_ref());
        let mut staged =
            Staged { change, directory, name, meta, former, file: None, in_place: false, is_done };
        if is_done {
            return Ok(staged);
        }
        if mounted {
            match change.after {
                After::File(..) if change.rules.in_place => {
                    staged.directory.check_overwrite(name).map_err(read_only_mount)?;
                    staged.in_place = true;
                    return Ok(staged);
                }
                _ => return Err(mount_point(shown())),
            }
        }
        self.stage_beside(&mut staged)?;
        Ok(staged)
    }

    fn stage_beside(&mut self, staged: &mut Staged) -> Result<()> {
        let (directory, name) = (Arc::clone(&staged.directory), staged.name);
        let is_directory = matches!(staged.former, Some(Node::Directory { .. }));
        match staged.change.after {
            After::Absent => {}
            After::Directory(mode, owner) => {
                if !is_directory {
                    let owner = match owner {
                        None if staged.change.rules.with_owners_rights => {
                            directory.owner()?.filter(|(uid, _)| *uid != 0)
                        }
                        owner => owner,
                    };
                    directory.make_directory(name, Attributes { mode, owner, modified: None })?;
                    self.done.push(UndoStep {
                        directory: Arc::clone(&directory),
                        name: name.to_owned(),
                        former: staged.former.take(),
                        in_place: false,
                    });
                }
                staged.is_done = true;
                let made = Arc::new(directory.child(name)?);
                let access = Access::of(staged.change.rules);
                self.directories.insert((staged.change.path.to_owned(), access), made);
            }
            After::Link(target) => {
                let temporary = staged::name(&self.writer, name);
                directory.remove(&temporary)?;
                directory.stage_link(&temporary, target, self.stamp.map(|seconds| (seconds, 0)))?;
                let meta = directory.lstat(&temporary)?;
                staged.file = meta.map(|meta| (temporary, meta));
            }
            After::File(content, attributes) => {
                let temporary = staged::name(&self.writer, name);
                directory.remove(&temporary)?;
                let modified = attributes.modified.or(self.stamp.map(|seconds| (seconds, 0)));
                // An access control list of another user must not open a file that replaces theirs.
                let is_trusted =
                    |meta: &Meta| directory.user().is_some() || self.sysroot.is_trusted(meta.uid);
                let like =
                    staged.meta.filter(|meta| meta.kind == FileKind::File && is_trusted(meta)).map(|_| name);
                let attributes = Attributes { modified, ..attributes };
                let (meta, lost) = directory.stage_file(&temporary, content, attributes, like)?;
                if !lost.is_empty() {
                    self.lost_attributes.push((self.sysroot.display(staged.change.path), lost));
                }
                staged.file = Some((temporary, meta));
            }
        }
        Ok(())
    }
}

/// The node at a path that may be replaced.
pub(super) fn former(directory: &Directory, name: &str) -> Result<(Option<Meta>, Option<Node>)> {
    let Some(meta) = directory.lstat(name)? else { return Ok((None, Some(Node::Absent))) };
    let shown = || format!("{}/{name}", directory.display().trim_end_matches('/'));
    match meta.kind {
        FileKind::Directory => Err(Error::usage("expected a regular file, found a directory").at(shown())),
        FileKind::Special => {
            Err(Error::usage("expected a regular file, found a device, socket or FIFO").at(shown()))
        }
        FileKind::File | FileKind::Link => match tree::read_entry(directory, name) {
            Ok((node, meta)) => Ok((meta, Some(node))),
            // A file of another user: it can be replaced, and not restored.
            Err(error) if error.cause::<Errno>() == Some(&Errno::ACCESS) => Ok((Some(meta), None)),
            Err(error) => Err(error),
        },
    }
}

/// Whether a path that may hold anything holds what is wanted. A plan that states exactly what it expects has compared.
fn is_there(change: &Change, meta: Option<&Meta>, former: Option<&Node>) -> bool {
    if let Before::Is(_) = change.before {
        return false;
    }
    match (change.after, former) {
        (After::Absent, Some(Node::Absent)) => true,
        (After::Link(wanted), Some(Node::Link { target })) => target == wanted,
        (After::File(content, attributes), Some(Node::File(file))) => {
            let owner = meta.map(|meta| (meta.uid, meta.gid));
            *file.content == *content
                && meta.is_some_and(|meta| meta.mode == attributes.mode)
                && (attributes.owner.is_none() || attributes.owner == owner)
        }
        _ => false,
    }
}

/// Removes what was staged and not placed.
pub(super) fn unstage(staged: &[Staged]) {
    for staged in staged {
        if let Some((temporary, _)) = &staged.file {
            // What cannot be removed now is replaced by the next run of this writer.
            let _ = staged.directory.remove(temporary);
        }
    }
}

pub(super) fn mount_point(place: String) -> Error {
    Error::new(error::ErrorKind::Unsupported, "this path is a mount point and cannot be replaced")
        .at(place)
        .because(Errno::BUSY)
        .hint("mount the directory, not the file")
}

fn read_only_mount(error: Error) -> Error {
    error.hint("the file is mounted by itself: mount it without `ro`, or mount its directory")
}
