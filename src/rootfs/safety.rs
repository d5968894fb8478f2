//! Whose a path is, on the whole way (threat T35). Who can write there is [`super::sharing`]'s question.

use super::{Sysroot, split};
use crate::error::Result;

impl Sysroot {
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
