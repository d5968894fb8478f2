//! Runs the real `openssl`, and lists the certificates of Debian's ca-certificates package.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where Debian's ca-certificates package has its roots, one PEM file each.
const MOZILLA: &str = "/usr/share/ca-certificates/mozilla";

/// Runs `openssl` with these arguments in `directory` and gives back what it printed; fails the test if it fails.
pub(crate) fn openssl(directory: &Path, arguments: &[&str]) -> String {
    try_openssl(directory, arguments).unwrap_or_else(|talk| panic!("openssl {arguments:?}: {talk}"))
}

/// The same; the error is what it said.
pub(crate) fn try_openssl(directory: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("/usr/bin/openssl")
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .expect("openssl runs (Debian package openssl)");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8(output.stdout).expect("text"))
}

/// The files of all roots in the ca-certificates package.
pub(crate) fn mozilla_roots() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(MOZILLA).expect("the roots are there (Debian package ca-certificates)");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(files.len() > 100, "{} roots", files.len());
    files
}
