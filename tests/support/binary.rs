//! Which trustup is tested: the one that is shipped, static and optimised, where `./test` built it; the debug build where
//! `cargo test` alone is run, and where a test needs a hook (`src/host/env.rs`), which no shipped binary has.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::places;

/// Names the shipped binary; `./test` sets it.
const VARIABLE: &str = "BINARY_UNDER_TEST";

/// The binary under test.
pub fn trustup() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| named().unwrap_or_else(|| debug_build().to_owned()))
}

/// Its path, as an argument.
pub fn trustup_str() -> &'static str {
    trustup().to_str().expect("UTF-8")
}

/// The debug build, which obeys the hooks. Cargo builds it before any ring.
pub fn debug_build() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = places::binaries().join("trustup");
        assert!(path.is_file(), "not built: {}", path.display());
        path
    })
}

/// The shipped binary, also where `cargo test` alone is run: static, so that it starts in any root. Its directory holds
/// nothing else and so is the build context of `Dockerfile.examples`.
pub fn shipped() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        named().unwrap_or_else(|| {
            let built = Command::new(env!("CARGO"))
                .current_dir(places::repository())
                .args(["xtask", "dist"])
                .stdin(Stdio::null())
                .output()
                .expect("cargo");
            let said = String::from_utf8_lossy(&built.stdout).into_owned();
            assert!(built.status.success(), "{said}{}", String::from_utf8_lossy(&built.stderr));
            PathBuf::from(said.lines().next().expect("`cargo xtask dist` prints the path first"))
        })
    })
}

/// A command that runs the binary under test with no variables, but that it has to keep backtraces to itself.
pub fn command() -> Command {
    let mut command = Command::new(trustup());
    clear(&mut command);
    command
}

/// No variables, but one that images and CI systems set: it must not change what any run does.
pub fn clear(command: &mut Command) {
    command.env_clear().env("RUST_BACKTRACE", "1");
}

fn named() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(VARIABLE)?);
    assert!(path.is_absolute() && path.is_file(), "{VARIABLE} names no binary: {}", path.display());
    Some(path)
}
