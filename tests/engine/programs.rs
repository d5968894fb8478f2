//! The program that goes into containers beside trustup: a static TLS client.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::support::{go, roots};

/// The client of `client/main.go`, compiled without C so that it runs anywhere.
pub(crate) fn client() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = cache().join("client");
        go::build(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engine/client/main.go"), &path);
        path
    })
}

/// Where slow things are kept between runs.
fn cache() -> PathBuf {
    let path = roots::cache().join("engine");
    std::fs::create_dir_all(&path).expect("cache");
    path
}
