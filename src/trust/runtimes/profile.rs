//! The file that sets the variables in every login shell (`env --install`): its content, and what state and journal may
//! record of it (threat T11). Pure.

use super::{RootLocations, TABLE, render, variables};
use crate::error::Result;
use crate::rootfs::record::{Mark, PathRecord, Saved};
use crate::trust::owners::Owner;

/// The file's path.
pub(crate) const PATH: &str = "/etc/profile.d/trustup.sh";
/// Shells of every user read it.
pub(crate) const MODE: u32 = 0o644;

const HEAD: &str = "\
# Made by `trustup env --install`; goes with `trustup untrust --all`. What is set already stays as it is, and what is
# not there is not named.
";

/// The file for `roots`: POSIX shell that never fails, under `set -eu` too. What the user set before the shell starts
/// is kept, and a variable whose file is missing stays unset.
///
/// # Errors
/// A path with a line end or NUL.
pub fn content(roots: &RootLocations) -> Result<String> {
    let lines = render::ours(&variables(roots, |_| None), |name, value| {
        let row = TABLE.iter().find(|row| row.name == name);
        let before: String = std::iter::once(name)
            .chain(row.map_or(&[][..], |row| row.falls_back_on).iter().copied())
            .map(|name| format!("${{{name}-}}"))
            .collect();
        let value = render::quote(value);
        Ok(format!("[ -n \"{before}\" ] || [ ! -r {value} ] || export {name}={value}\n"))
    })?;
    Ok(format!("{HEAD}{}", lines.concat()))
}

/// The file, as an owner.
#[derive(Debug)]
pub(crate) struct Profile;

impl Owner for Profile {
    /// A record that we make of this file or of the directories on the way to it.
    fn may_record(&self, path: &str, record: &PathRecord) -> bool {
        if path == PATH {
            // We replace no other file; an earlier one can only be an older one of ours, whatever mode others gave it.
            let before = matches!(record.before, Saved::Absent | Saved::File { .. });
            return before && matches!(record.after, Mark::Absent | Mark::File(_));
        }
        let on_the_way =
            PATH.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')) && !path.is_empty();
        on_the_way && record.is_of_directory()
    }

    fn objection(&self, path: &str, record: &PathRecord) -> Option<&'static str> {
        (path == PATH && record.before != Saved::Absent)
            .then_some("the state says that a file for login shells was there before ours")
    }

    fn own_files(&self) -> &'static [&'static str] {
        &[PATH]
    }
}
