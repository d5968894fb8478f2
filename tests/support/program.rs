//! Programs that are about to be started: copies, and scripts of a test's own.
//!
//! Another process writes them: a descriptor of ours that is open for writing would be inherited by whatever another test
//! starts at this moment, and nobody can run a file that somebody may still write (ETXTBSY).

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// `trustup`, copied into `directory` with this mode (octal, set-id bits too), where any user can enter and run it.
#[track_caller]
pub fn copy_for_all(trustup: &Path, directory: &Path, mode: u32) -> PathBuf {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("a directory for all");
    let copy = directory.join("trustup");
    copy_program(trustup, &copy);
    fs::set_permissions(&copy, fs::Permissions::from_mode(mode)).expect("the copy's mode");
    copy
}

/// A copy that everybody can run.
#[track_caller]
pub fn copy_program(program: &Path, copy: &Path) {
    let copied = Command::new("/bin/cp").arg(program).arg(copy).status().expect("cp");
    assert!(copied.success(), "{} is no copy of {}", copy.display(), program.display());
    fs::set_permissions(copy, fs::Permissions::from_mode(0o755)).expect("the copy's mode");
}

/// A program of this text that everybody can run.
#[track_caller]
pub fn write_program(path: &Path, text: &str) {
    let mut writer = Command::new("/bin/sh")
        .args(["-c", "cat > \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("shell");
    writer.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
    assert!(writer.wait().expect("waits").success(), "{} is not written", path.display());
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the program's mode");
}
