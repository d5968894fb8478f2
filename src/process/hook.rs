//! Whether a program that the user named as a hook may be run.

use std::ffi::OsStr;

use super::program_file::{Startable, inspect};
use crate::error::{Error, ErrorKind, Result};
use crate::rootfs::sharing::{Sharing, protection_of_file};
use crate::text;

/// Refuses a program that cannot be started, or that users other than root and us could replace or put another in place
/// of (threat T23). `program` is an absolute path; `name` and `kind` are for the error.
///
/// # Errors
/// It is so, or the way to the program cannot be inspected.
pub(crate) fn check_hook(program: &str, (name, kind): (&str, ErrorKind)) -> Result<()> {
    let shown = text::escape(program);
    match inspect(OsStr::new(program)) {
        Startable::Absent => {
            return Err(Error::new(kind, format!("{name} does not exist"))
                .at(shown)
                .hint("install it here (a container needs it in its own image), or correct its path"));
        }
        Startable::No(problem) if problem.is_certain => {
            return Err(Error::new(kind, format!("{name} cannot be started"))
                .at(shown)
                .because(anyhow::anyhow!("{}", problem.why))
                .hint(problem.hint));
        }
        Startable::No(_) | Startable::Probably => {}
    }
    let protection = protection_of_file(program, Sharing::default())?;
    let Some(why) = &protection.danger else { return Ok(()) };
    let remedy = protection.remedy().map(|remedy| format!(": {remedy}")).unwrap_or_default();
    Err(Error::new(kind, format!("other users could replace {name}"))
        .at(shown)
        .because(anyhow::anyhow!("{why}"))
        .hint(format!(
            "it and every directory above it must belong to root or to you, and no other user may write there{remedy}"
        )))
}
