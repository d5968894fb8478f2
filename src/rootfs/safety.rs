//! Who but us could put something at a path, or replace the existing node (threats T12 and T21).

use super::{FileKind, Meta, Sysroot, split};
use crate::error::Result;

impl Sysroot {
    /// Whether another user could put something at `path` or replace its node: each existing directory on the way must
    /// belong to root, us or one of `trusted` (user ids) and not be writable by anyone else, or be root's and sticky,
    /// like `/tmp`. `None` if no user could; else why.
    pub(crate) fn unsafe_way(&self, path: &str, trusted: &[u32]) -> Result<Option<String>> {
        let uid = crate::privilege::uid();
        let is_trusted = |owner: u32| owner == 0 || owner == uid || trusted.contains(&owner);
        let mut pending = vec![split(path).0.to_owned()];
        if let Some(real) = self.canonical(split(path).0)? {
            pending.push(real);
        }
        while let Some(directory) = pending.pop() {
            match self.lstat(&directory)? {
                Some(Meta { uid: owner, .. }) if !is_trusted(owner) => {
                    return Ok(Some(format!("its parent directory `{directory}` belongs to user {owner}")));
                }
                Some(Meta { kind: FileKind::Directory, mode, uid: owner, .. })
                    if mode & 0o022 != 0 && !(mode & 0o1000 != 0 && owner == 0) =>
                {
                    return Ok(Some(format!(
                        "other users can write its parent directory `{directory}` (mode {mode:04o})"
                    )));
                }
                Some(Meta { kind: FileKind::Directory | FileKind::Link, .. }) | None => {}
                Some(_) => return Ok(Some(format!("`{directory}` in its path is not a directory"))),
            }
            if directory != "/" {
                pending.push(split(&directory).0.to_owned());
            }
        }
        Ok(None)
    }

    /// Whether another user (not root, not the caller, not the owner of the root directory) owns something on the way
    /// to `path`, or `path` itself: links as they are given, and the directories to which they really lead (threat
    /// T35). `None` if not; else what, and who.
    pub(crate) fn others_way(&self, path: &str) -> Result<Option<String>> {
        for way in std::iter::once(path.to_owned()).chain(self.canonical(path)?) {
            let mut path = way.as_str();
            loop {
                if let Some(meta) = self.lstat(path)?
                    && !self.is_trusted(meta.uid)
                {
                    return Ok(Some(format!("`{}` belongs to user {}", crate::text::escape(path), meta.uid)));
                }
                if path == "/" {
                    break;
                }
                path = split(path).0;
            }
        }
        Ok(None)
    }
}
