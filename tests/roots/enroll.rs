//! Files that are mounted one by one, as container engines do with `-v FILE:FILE`: they cannot be replaced, and are
//! written in place, loudly (threat T13).

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use crate::support::enrollment::{Scene, done, mode, result, write};
use crate::support::run::{Run, Trustup};

/// `trustup enroll provisioner` in a mount namespace where both files are mounted from elsewhere.
fn mounted(scene: &Scene, more: &[&str]) -> Run {
    let script = "mount --bind \"$0/given.crt\" \"$0/server.crt\" && mount --bind \"$0/given.key\" \"$0/server.key\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.env_clear().env("HOME", scene.directory.path());
    command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", script]);
    command.arg(scene.directory.path()).arg(env!("CARGO_BIN_EXE_trustup"));
    Trustup::through(command, ["--json", "--timeout", "20s", "enroll", "provisioner", "web.test"])
        .args(["--ca-url", &scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex()])
        .arg("--password-file")
        .arg(scene.path("password"))
        .arg("--cert")
        .arg(scene.path("server.crt"))
        .arg("--key")
        .arg(scene.path("server.key"))
        .args(more)
        .run()
}

#[test]
#[ignore = "needs root, for mounts"]
fn files_that_are_mounted_one_by_one_are_written_in_place() {
    let scene = Scene::new();
    for name in ["given.crt", "given.key", "server.crt", "server.key"] {
        write(&scene.path(name), b"", 0o644);
    }
    let inode = |name: &str| fs::metadata(scene.path(name)).unwrap().ino();
    let before = inode("given.key");
    let first = mounted(&scene, &[]);
    assert_eq!((first.code, done(&first).0.as_str()), (Some(0), "issued"), "{first}");
    first.says(["is mounted by itself, so it was written in place"]);
    assert_eq!(result(&first)["wrote_in_place"].as_array().map(Vec::len), Some(2));
    assert_eq!(inode("given.key"), before);
    assert_eq!((mode(&scene.path("given.key")), mode(&scene.path("given.crt"))), (0o600, 0o644));
    // What was mounted holds the pair; the places below the mounts are as they were.
    for name in ["server.crt", "server.key"] {
        assert_eq!(fs::read(scene.path(name)).unwrap(), b"");
        fs::copy(scene.path(name.replace("server", "given").as_str()), scene.path(name)).unwrap();
    }
    scene.pair();
    assert_eq!(done(&mounted(&scene, &[])).0, "kept");
    let forced = mounted(&scene, &["--force"]);
    assert_eq!(done(&forced).0, "issued", "{forced}");

    let versioned = mounted(&scene, &["--force", "--layout", "versioned"]);
    assert_eq!(versioned.code, Some(2), "{versioned}");
    versioned.says(["a file that is mounted by itself cannot become a link", "--layout files"]);
}
