//! Copies of programs that are about to be started.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{fs, process};

/// `trustup`, copied into `directory` with this mode (octal, set-id bits too), where any user can enter and run it.
pub fn copy_for_all(trustup: &Path, directory: &Path, mode: u32) -> PathBuf {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("a directory for all");
    let copy = directory.join("trustup");
    // Another process copies: a descriptor of ours that is open for writing would be inherited by whatever another
    // test starts at this moment, and nobody can run a file that somebody may still write (ETXTBSY).
    let copied = process::Command::new("/bin/cp").arg(trustup).arg(&copy).status().expect("cp");
    assert!(copied.success(), "a copy in {}", directory.display());
    fs::set_permissions(&copy, fs::Permissions::from_mode(mode)).expect("the copy's mode");
    copy
}
