//! Small programs in Go: what Go reads and accepts, as Go itself does it.

use std::path::Path;
use std::process::{Command, Stdio};

use super::roots;

/// Compiles the package `main` in the file `source` to `program`, without C, so that it runs in any root. As in a module of
/// today: without one, some of Go's checks would be those of years ago.
#[track_caller]
pub fn build(source: &Path, program: &Path) {
    let go = ["/usr/local/go/bin/go", "/usr/bin/go"].into_iter().find(|path| Path::new(path).is_file());
    let home = roots::cache().join("go-build");
    std::fs::create_dir_all(&home).expect("directory");
    let output = Command::new(go.expect("Go is missing: install `golang-go`"))
        .args(["build", "-trimpath", "-ldflags=-s -w", "-o"])
        .arg(program)
        .arg(source.file_name().expect("a file"))
        .current_dir(source.parent().expect("a directory"))
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", &home)
        .env("GOCACHE", home.join("cache"))
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .output()
        .expect("go");
    assert!(output.status.success(), "{}: {}", source.display(), roots::Said(&output));
}
