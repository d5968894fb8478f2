//! Undo: the former nodes are restored, in reverse.

use std::sync::Arc;

use super::FileSet;
use crate::error::{Error, Result};
use crate::rootfs::directory::{Attributes, Directory};
use crate::rootfs::tree::Node;
use crate::rootfs::{FileKind, staged};

/// A change that was made, with what restores it.
#[derive(Debug)]
pub(super) struct UndoStep {
    pub(super) directory: Arc<Directory>,
    pub(super) name: String,
    pub(super) former: Option<Node>,
    pub(super) in_place: bool,
}

impl Drop for UndoStep {
    fn drop(&mut self) {
        // What only its owner may read can be a key.
        if let Some(Node::File(file)) = &mut self.former
            && file.mode & 0o077 == 0
        {
            file.content.wipe();
        }
    }
}

impl FileSet<'_> {
    /// Undoes every change that was made, in reverse. Returns the paths that could not be restored.
    pub(crate) fn undo(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        while let Some(done) = self.done.pop() {
            if self.restore(&done).is_err() {
                left.push(format!("{}/{}", done.directory.display().trim_end_matches('/'), done.name));
            }
        }
        left
    }

    fn restore(&self, done: &UndoStep) -> Result<()> {
        let (directory, name) = (&done.directory, done.name.as_str());
        let now = directory.lstat(name)?.map(|meta| meta.kind);
        let temporary = staged::name(&self.writer, name);
        directory.remove(&temporary)?;
        let placed = match &done.former {
            None | Some(Node::Special) => {
                return Err(Error::failed("could not read the previous content"));
            }
            Some(Node::Absent) if now == Some(FileKind::Directory) => {
                directory.remove_empty_directory(name)?;
                return Ok(());
            }
            Some(Node::Absent) => return directory.remove(name),
            Some(Node::Directory { .. }) if now == Some(FileKind::Directory) => return Ok(()),
            Some(Node::Directory { mode }) => {
                return directory
                    .make_directory(name, Attributes { mode: *mode, owner: None, modified: None });
            }
            Some(Node::Link { target }) => {
                directory.stage_link(&temporary, target, None)?;
                directory.rename(&temporary, name)?
            }
            Some(Node::File(file)) => {
                let attributes = Attributes { mode: file.mode, owner: file.owner, modified: file.modified };
                if done.in_place {
                    return directory.overwrite(name, &file.content, attributes);
                }
                let like = (now == Some(FileKind::File)).then_some(name);
                directory.stage_file(&temporary, &file.content, attributes, like)?;
                directory.rename(&temporary, name)?
            }
        };
        if placed { Ok(()) } else { Err(Error::failed("a file system was mounted here during the run")) }
    }
}
