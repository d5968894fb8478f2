//! The program that goes into containers beside trustup: a static TLS client.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::dockerd::Ended;
use crate::support::roots;

/// The client of `client/main.go`, compiled without C so that it runs anywhere.
pub(crate) fn client() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let go = ["/usr/bin/go", "/usr/local/go/bin/go"].into_iter().find(|path| Path::new(path).is_file());
        let cache = cache();
        let path = cache.join("client");
        Ended::from(
            Command::new(go.expect("Go is missing: install `golang-go`"))
                .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engine/client"))
                .args(["build", "-trimpath", "-ldflags=-s -w", "-o"])
                .arg(&path)
                .arg("main.go")
                .env_clear()
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .env("HOME", &cache)
                .env("GOCACHE", cache.join("go"))
                .env("GOTOOLCHAIN", "local")
                .env("CGO_ENABLED", "0")
                .output()
                .expect("go"),
        )
        .passed();
        path
    })
}

/// Where slow things are kept between runs.
fn cache() -> PathBuf {
    let path = roots::cache().join("engine");
    std::fs::create_dir_all(&path).expect("cache");
    path
}
