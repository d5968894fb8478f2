//! What stores that a search found may cost a run (threat T36): their bytes, and iterations of key derivation.

use super::{FoundStore, Selection, Stores};
use crate::error::{Error, Result};
use crate::rootfs::budget::{self, Category};
use crate::rootfs::tree::FILE_LIMIT;
use crate::rootfs::{FileKind, Sysroot};
use crate::text;
use crate::trust::updater::OutputKind;
use crate::trust::view::View;

/// Reserves the iterations of key derivation for a store that was not named (threat T36).
///
/// # Errors
/// Too few are left in this run.
pub(super) fn set_aside(
    sysroot: &Sysroot,
    selection: &Selection,
    kind: OutputKind,
    path: &str,
    count: u64,
) -> Result<()> {
    if selection.names_path(kind, &path.to_owned()) {
        return Ok(());
    }
    budget::iterations(&sysroot.display(path), count).map_err(|error| {
        let word = if kind == OutputKind::NssDatabase { "nss" } else { "java" };
        error.hint(format!("`--stores {word}` changes it anyway, however long that takes"))
    })
}

impl Stores {
    /// The indices of the stores: first those on a path of root's or the caller's, so that another user cannot use up
    /// what is left for them.
    pub(super) fn in_turn(&self, view: &View) -> Result<Vec<usize>> {
        let mut others = Vec::new();
        for (index, found) in self.found.iter().enumerate() {
            others.push((view.sysroot().others_way(&found.path)?.is_some(), index));
        }
        others.sort();
        Ok(others.into_iter().map(|(_, index)| index).collect())
    }

    /// Accounts for reading a store before anything of it is read (threat T36). A store that a search found and that is
    /// too large, alone or with the others, is skipped with a warning; then the result is `false`. A store that an
    /// earlier run changed has to be read: it is charged to the system's own budget.
    ///
    /// # Errors
    /// A file cannot be inspected.
    pub(super) fn admit(
        &mut self,
        view: &View,
        selection: &Selection,
        found: &mut FoundStore,
    ) -> Result<bool> {
        if selection.names(found) {
            return Ok(true);
        }
        let sysroot = view.sysroot();
        let category = match found.kind {
            OutputKind::NssDatabase => Category::Databases,
            _ => Category::Stores,
        };
        for path in found.files() {
            let place = sysroot.display(&path);
            let size =
                sysroot.stat(&path)?.filter(|meta| meta.kind == FileKind::File).map_or(0, |meta| meta.size);
            if !view.is_unrecorded(&path)? {
                continue;
            }
            let paid = if size > FILE_LIMIT {
                Err(Error::unsupported(format!(
                    "`{}` has {} MiB, more than a trust store may have ({} MiB)",
                    text::escape(&place),
                    size >> 20,
                    FILE_LIMIT >> 20
                )))
            } else {
                budget::pay(category, &place, size)
            };
            if let Err(error) = paid {
                self.warnings.push(left_alone(found, error.what()));
                found.skipped = Some(error.what().to_owned());
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The message for a store that is skipped.
pub(super) fn left_alone(found: &FoundStore, why: &str) -> String {
    format!("the {} `{}` is left alone: {why}", found.kind.words(), text::escape(&found.path))
}
