//! Programs: a family's trust update, hooks, and the service that replaces us after `-- COMMAND`. The only module that
//! starts processes. No shell is ever involved.

#![expect(clippy::disallowed_methods, reason = "this module owns the starting of programs")]

mod children;
mod exec;
mod hook;
mod program_file;
mod run;
#[cfg(test)]
mod tests;

pub use self::children::Children;
pub(crate) use self::exec::{check_command, no_command, replace_us};
pub(crate) use self::hook::check_hook;
pub(crate) use self::run::{ToolContext, run_hook, run_program, run_tool};
use crate::error::Result;
use crate::rootfs::{FileKind, Sysroot, split};

/// The directories of system programs; the caller's `PATH` is never used (threat T14).
pub(crate) const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The absolute path of a system program in the sysroot; `None` if it does not exist.
pub(crate) fn find(sysroot: &Sysroot, program: &str) -> Result<Option<String>> {
    find_in(sysroot, DIRECTORIES, program)
}

/// The same for the first of `directories` that has it.
pub(crate) fn find_in(
    sysroot: &Sysroot,
    directories: impl IntoIterator<Item = impl std::fmt::Display>,
    program: &str,
) -> Result<Option<String>> {
    for directory in directories {
        let path = format!("{directory}/{program}");
        if let Some(meta) = sysroot.stat(&path)?
            && meta.kind == FileKind::File
            && meta.mode & 0o111 != 0
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Why the program at `path` must not be run as root; `None` if it may: it and its directory belong to root and only
/// root can write them.
pub(crate) fn unsafe_to_run(sysroot: &Sysroot, path: &str) -> Result<Option<String>> {
    for path in [path, split(path).0] {
        if let Some(meta) = sysroot.stat(path)? {
            if meta.uid != 0 {
                return Ok(Some(format!("`{path}` belongs to user {}, not to root", meta.uid)));
            }
            if meta.mode & 0o022 != 0 {
                return Ok(Some(format!("`{path}` can be written by others (mode {:04o})", meta.mode)));
            }
        }
    }
    Ok(None)
}

/// Whether the variable holds a secret of trustup's.
fn is_secret(name: &str) -> bool {
    let ours = name.starts_with("TRUSTUP_") || name.starts_with("CA_");
    ours && ["TOKEN", "PASSWORD", "SECRET", "HMAC"].iter().any(|word| name.contains(word))
}
