//! A distribution that matches no row, with an update program that a row does know: what we write into its outputs
//! lasts until that program runs next. Its presence is a fact to report, not a reason to treat the system as another
//! one (real images contain directories and programs of other families).

use crate::error::Result;
use crate::process;
use crate::text;
use crate::trust::distro::{DISTROS, Distro, Proof};
use crate::trust::facts::Facts;
use crate::trust::view::View;

/// The warning with its hint; `None` if the row has a program of its own, or there is none.
///
/// # Errors
/// Something on the way to a program cannot be read.
pub(crate) fn overlooked_tool(view: &View, facts: &Facts) -> Result<Option<String>> {
    if view.sysroot().is_private() || facts.is_named || facts.row.updater.anchor_directory().is_some() {
        return Ok(None);
    }
    let mut found: Option<String> = None;
    let mut fitting: Vec<&Distro> = Vec::new();
    for row in DISTROS.iter().filter(|row| row.proof == Proof::RealTool) {
        let Some(tool) = row.updater.native() else { continue };
        let Some(program) = process::find(view.sysroot(), tool.program)? else { continue };
        // What cannot be read does not match.
        if row.updater.fits(view).unwrap_or(false) {
            fitting.push(row);
        }
        found.get_or_insert(program);
    }
    let Some(program) = found else { return Ok(None) };
    let which = match fitting.as_slice() {
        [] => "`--distribution NAME` with the row that has this program (`trustup detect --list`)".to_owned(),
        rows => {
            rows.iter().map(|row| format!("`--distribution {}`", row.id)).collect::<Vec<_>>().join(" or ")
        }
    };
    Ok(Some(format!(
        "`{program}` is here, but trustup does not know this distribution ({}): it writes bundles only, and the next run of that program drops the root; run `trustup untrust --all` if a root is installed already, then bootstrap with {which}",
        text::escape(&facts.why)
    )))
}
