//! Files that are mounted one by one, as container engines do with `-v FILE:FILE`: they cannot be replaced, and are
//! written in place, loudly (threat T13).

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use crate::support::binary;
use crate::support::enrollment::{Scene, chain, done, mode, result, write};
use crate::support::roots::Base;
use crate::support::run::{Run, Trustup};

/// `trustup enroll provisioner` in a mount namespace where both files are mounted from elsewhere.
fn mounted(scene: &Scene, more: &[&str]) -> Run {
    mounted_with("", scene, more)
}

/// The same with another command of the shell before it.
fn mounted_with(before: &str, scene: &Scene, more: &[&str]) -> Run {
    let mounts =
        "mount --bind \"$0/given.crt\" \"$0/server.crt\" && mount --bind \"$0/given.key\" \"$0/server.key\"";
    after(&format!("{mounts} && {before}"), scene, more)
}

/// The same behind commands of the shell, each with `&&` at its end; `$0` is the scene's directory.
fn after(commands: &str, scene: &Scene, more: &[&str]) -> Run {
    let script = format!("{commands}exec \"$@\"");
    let mut command = Command::new("unshare");
    binary::clear(&mut command);
    command.env("HOME", scene.directory.path());
    command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", &script]);
    command.arg(scene.directory.path()).arg(binary::trustup());
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

/// Who owns a mounted file is asked for as with any other; one that cannot be written is found before anything is spent.
#[test]
#[ignore = "needs root, for mounts"]
fn mounted_files_get_their_owner_and_must_be_writable() {
    let scene = Scene::new();
    for name in ["given.crt", "given.key", "server.crt", "server.key"] {
        write(&scene.path(name), b"", 0o644);
    }
    let owner = ["--owner", "4711:4712", "--key-mode", "0640"];
    let run = mounted(&scene, &owner);
    assert_eq!(done(&run).0, "issued", "{run}");
    for name in ["given.crt", "given.key"] {
        let meta = fs::metadata(scene.path(name)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (4711, 4712), "{name}");
    }
    assert_eq!(done(&mounted(&scene, &owner)).0, "kept");
    // Put right in place, as loudly.
    let run = mounted(&scene, &["--owner", "4711:4713", "--key-mode", "0640"]);
    assert_eq!(done(&run).0, "placed-again", "{run}");
    run.says(["is mounted by itself, so it was written in place"]);

    let connections = scene.server.connections();
    let run = mounted_with("mount -o remount,bind,ro \"$0/server.key\" && ", &scene, &["--force"]);
    assert_eq!(run.code, Some(1), "{run}");
    run.says(["could not open", "server.key", "mount it without `ro`"]);
    assert_eq!(scene.server.connections(), connections, "{run}");
}

/// A pair that is mounted whole and read-only, such as a Secret's, is good with modes that are narrower than those asked for.
#[test]
#[ignore = "needs root, for mounts"]
fn a_good_pair_that_cannot_be_changed_is_kept() {
    let scene = Scene::new();
    scene.enroll().args(["--key-mode", "0400"]).ok();
    let connections = scene.server.connections();
    let mount = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && ";
    let read_only = |more: &[&str]| after(mount, &scene, more);
    let run = read_only(&[]);
    assert_eq!((run.code, done(&run).0.as_str()), (Some(0), "kept"), "{run}");
    run.says(["warning: modes or owners of the pair are not as requested, and cannot be corrected"]);
    // A file that is missing is another matter.
    let chain = scene.path("chain.crt").display().to_string();
    let run = read_only(&["--chain", &chain]);
    assert_eq!(run.code, Some(1), "{run}");
    run.says(["read-only"]);
    assert_eq!(scene.server.connections(), connections);
}

/// Container engines mount secrets below `/run/secrets`: a token there needs no option, and ours goes before that of others.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_token_that_is_mounted_as_a_secret_is_found() {
    let scene = Scene::new();
    let root = Base::Debian12.copy();
    let token = |name: &str| {
        let run = Trustup::new(["token", name, "--provisioner", scene.ca.provisioner(), "--ca-url"]);
        let run = run.arg(scene.server.url()).args(["--fingerprint", &scene.ca.fingerprint().hex()]);
        run.arg("--password-file").arg(scene.path("password")).env("HOME", scene.directory.path()).ok().stdout
    };
    let enroll = |name: &str| {
        let file = |end: &str| format!("/run/tls/{name}.{end}");
        root.trustup_inside(["enroll", "token", "--cert", &file("crt"), "--key", &file("key")])
    };
    enroll("none").fails(2).says(["TRUSTUP_TOKEN", "/run/secrets/trustup_token"]);
    root.write("run/secrets/ca_token", token("theirs.test"));
    enroll("theirs").ok();
    root.write("run/secrets/trustup_token", token("ours.test"));
    enroll("ours").ok();
    for (name, wanted) in [("theirs", "theirs.test"), ("ours", "ours.test")] {
        let leaf = &chain(&root.at(&format!("run/tls/{name}.crt")))[0];
        assert_eq!(leaf.subject_alt_names().unwrap(), [wanted.parse().unwrap()]);
    }
}
