//! Which records are not accepted (threat T34), and why.

use std::collections::{BTreeMap, BTreeSet};

use super::View;
use crate::error::Result;
use crate::rootfs::tree::Node;
use crate::trust::plausible::{self, Plausibility};

impl View<'_> {
    /// The recorded content `before`, as far as it is plausible; else `None`, and the reason is noted (threat T34).
    pub(super) fn believed(&self, location: &str, before: Node) -> Result<Option<Node>> {
        let path = self.recorded.get(location).map_or(location, String::as_str).to_owned();
        Ok(match plausible::judge(self, location, before, &BTreeSet::new())? {
            Plausibility::Believed(node, note) => {
                if let Some(note) = note {
                    self.lessened.borrow_mut().insert(path, note);
                }
                Some(node)
            }
            Plausibility::Doubted(why) => {
                self.doubts.borrow_mut().insert(path, why);
                None
            }
        })
    }

    /// The recorded paths whose former content is not accepted, each with the reason.
    ///
    /// # Errors
    /// A recorded path cannot be read.
    pub(crate) fn doubts(&self) -> Result<BTreeMap<String, String>> {
        for path in self.ours.records.keys() {
            self.original(path)?;
        }
        Ok(self.doubts.borrow().clone())
    }

    /// What of a former mode or owner is not restored, by recorded path; only for inspected paths.
    pub(crate) fn lessened(&self) -> BTreeMap<String, String> {
        self.lessened.borrow().clone()
    }
}
