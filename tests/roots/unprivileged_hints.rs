//! Hints about who runs trustup in a root file system: an ordinary user is told what root can do, root what else helps. Each
//! is followed.

use crate::support::roots::Base;
use crate::unprivileged::{STORE, Scene};

#[test]
#[ignore = "needs root and real root file systems"]
fn a_private_store_is_made_inside_the_root() {
    let scene = Scene::user(Base::Debian12Bare);
    let refused = scene.root.trustup(["bootstrap", "--stores", "private", "--ca-file"]);
    let refused = refused.arg(scene.root.exchange().join("root.pem")).fails(5);
    refused.says(["run trustup inside that root file system, as the user who needs it"]);
    scene.bootstrap().args(["--stores", "private"]).ok();
    let said = scene.trustup(["env"]).ok().stdout;
    assert!(said.contains(&format!("{STORE}/ca-bundle.pem")), "{said}");
}

/// A file for every login shell is of the system's stores: two hints say how to get there, one of them to root.
#[test]
#[ignore = "needs root and real root file systems"]
fn login_shells_of_everybody_read_the_systems_stores() {
    let scene = Scene::user(Base::Debian12);
    let in_private_store = |scene: &Scene, hint: &str| {
        scene.bootstrap().args(["--stores", "private"]).ok();
        scene.trustup(["env", "--install"]).fails(5).says([hint]);
    };
    in_private_store(&scene, "or run `trustup bootstrap` and `trustup env --install` as root");
    let root = scene.with(0, 0, &["HOME=/root"], "");
    let follow = || {
        root.bootstrap().ok();
        root.trustup(["env", "--install"]).ok();
        let shell = root.command(&["env", "-i", "sh", "-lc", "echo \"$SSL_CERT_FILE\""]).output().unwrap();
        let file = String::from_utf8(shell.stdout).unwrap();
        assert_eq!(file.trim(), "/etc/ssl/certs/ca-certificates.crt");
    };
    follow();
    root.trustup(["untrust", "--all"]).ok();
    in_private_store(&root, "or use the system's stores: `trustup untrust --all` removes the private one");
    root.trustup(["untrust", "--all"]).ok();
    follow();
}

#[test]
#[ignore = "needs root and real root file systems"]
fn a_repair_needs_a_user_who_can_write_and_a_file_system_that_can_be_written() {
    let scene = Scene::user(Base::Debian12);
    let link = "etc/ssl/certs/0123abcd.0";
    std::os::unix::fs::symlink("gone.pem", scene.root.at(link)).unwrap();
    let is_refused = |scene: &Scene| {
        let run = scene.trustup(["bootstrap", "--repair"]).fails(1);
        run.says([
            "run it as a user who can write `/etc/ssl/certs",
            "on a file system that is not read-only",
        ]);
    };
    is_refused(&scene);
    let read_only = "mount --bind \"$ROOT/etc\" \"$ROOT/etc\"; mount -o remount,bind,ro \"$ROOT/etc\"";
    let scene = scene.with(0, 0, &[], read_only);
    is_refused(&scene);
    scene.with(0, 0, &[], "").trustup(["bootstrap", "--repair"]).ok();
}
