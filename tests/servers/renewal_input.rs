//! What `trustup renew` finds and is told at a real step-ca: each wrong input is named, and the pair stays as it is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use trustup::pki::cert::{Certificate, pem};

use crate::enroll::{Scene, faketime};
use crate::support::run::{Run, Trustup};
use crate::support::servers::authority::P256;
use crate::support::servers::{Authority, Level, StepCa, StepCaOptions, passes, step};

/// A scene with a pair.
fn scene() -> Scene {
    let scene = Scene::new(StepCaOptions::default());
    scene.by_password().args(["web.internal", "--not-after", "10m"]).ok();
    scene
}

fn renew(scene: &Scene) -> Trustup {
    Trustup::new(["--timeout", "5s", "renew", "--force"])
        .env("HOME", scene.place.path())
        .arg("--cert")
        .arg(scene.at("tls/web.crt"))
        .arg("--key")
        .arg(scene.at("tls/web.key"))
}

/// Runs it, and the pair must be as before.
#[track_caller]
fn refused(scene: &Scene, run: Trustup) -> Run {
    let pair =
        || [scene.at("tls/web.crt"), scene.at("tls/web.key")].map(|path| fs::read(path).expect("a file"));
    let before = pair();
    let run = run.run();
    assert_eq!(pair(), before, "{run}");
    run
}

#[test]
#[ignore = "needs step-ca"]
fn another_ca_and_a_key_that_others_can_read_are_refused() {
    let (own, other) = (scene(), scene());
    let of_other = ["--ca-url", &other.ca.url(), "--fingerprint", &other.ca.fingerprint()];
    let run = refused(&own, renew(&own).args(of_other));
    run.says(["the existing certificate cannot be renewed", "was the CA created again under the same name?"]);
    assert_eq!(run.code, Some(1), "{run}");

    fs::set_permissions(own.at("tls/web.key"), fs::Permissions::from_mode(0o644)).expect("changed");
    let run = refused(&own, renew(&own));
    run.says([
        "other users could read or change the key (mode 0644)",
        "`trustup enroll` gets a new one in its place",
    ]);
    assert_eq!(run.code, Some(1), "{run}");
    own.by_password().arg("web.internal").ok();
    renew(&own).ok();
}

#[test]
#[ignore = "needs step-ca"]
fn a_revoked_certificate_is_said_to_be_so() {
    let scene = scene();
    let mut revoke = step(scene.place.path(), ["ca", "revoke", "--cert"]);
    revoke.arg(scene.at("tls/web.crt")).arg("--key").arg(scene.at("tls/web.key")).arg("--root");
    passes(revoke.arg(scene.ca.root_file()).args(["--ca-url", &scene.ca.url()]));
    let run = refused(&scene, renew(&scene));
    println!("{run}");
    run.says(["revoked"]);
    assert_eq!(run.code, Some(4), "{run}");
}

#[test]
#[ignore = "needs step-ca"]
fn a_web_page_in_place_of_the_ca_is_named() {
    let scene = scene();
    let double = scene.ca.failing_double();
    double.serve_page("<!doctype html><title>Login</title><h1>Please log in</h1>");
    let url = double.url();
    let run =
        renew(&scene).args(["--ca-url", url.trim_end_matches('/'), "--fingerprint", &scene.ca.fingerprint()]);
    let run = refused(&scene, run);
    run.says(["does not answer as a step-ca does", "is this the address of a step-ca, and not a proxy"]);
    assert!(!run.stderr.contains("was tried as well"), "the same reason is given once: {run}");
    double.serve_error();
    let run =
        renew(&scene).args(["--ca-url", url.trim_end_matches('/'), "--fingerprint", &scene.ca.fingerprint()]);
    assert_eq!(refused(&scene, run).code, Some(6));
}

#[test]
#[ignore = "needs step-ca"]
fn a_new_root_under_the_old_name_is_explained() {
    let mut scene = scene();
    let next = ["Test Root CA", "Test Intermediate CA"].map(|name| Level::new(name, P256, "sha256"));
    let next = Authority::new(&next);
    scene.ca.roll_over(&[&next.root_pem], Some(&next));
    let run = refused(&scene, renew(&scene));
    run.says([
        "is not trusted",
        "was the CA created again under its old name? Its new root has another fingerprint",
    ]);
    assert_eq!(run.code, Some(4), "{run}");
    // As the hint says, with the fingerprint of the CA's host.
    let root = pem::blocks(next.root_pem.as_bytes()).remove(0);
    let pin = Certificate::from_block(&root).expect("a root").fingerprint().hex();
    let run = Trustup::new([
        "bootstrap",
        "--stores",
        "private",
        "--ca-url",
        &scene.ca.url(),
        "--fingerprint",
        &pin,
    ]);
    run.env("HOME", scene.place.path()).env("TRUSTUP_PRIVATE_DIR", scene.at("private")).ok();
    let run = scene.plain("provisioner").args(["web.internal", "--provisioner", StepCa::PROVISIONER]);
    let run = run.arg("--password-file").arg(scene.ca.password_file());
    run.env("TRUSTUP_PRIVATE_DIR", scene.at("private")).ok();
}

#[test]
#[ignore = "needs step-ca and root"]
fn a_read_only_directory_is_found_before_the_ca_is_asked() {
    let scene = scene();
    let tls = scene.at("tls");
    passes(Command::new("mount").arg("--bind").arg(&tls).arg(&tls));
    passes(Command::new("mount").args(["-o", "remount,ro,bind"]).arg(&tls));
    let before = scene.ca.log().lines().count();
    let run = refused(&scene, renew(&scene));
    passes(Command::new("umount").arg(&tls));
    run.says(["Read-only file system", "the file system is mounted read-only"]);
    assert_eq!((run.code, scene.ca.log().lines().count()), (Some(1), before), "{run}");
    renew(&scene).ok();
}

/// Ahead: it has expired by this clock. Behind: it is not valid yet. Neither costs the pair.
#[test]
#[ignore = "needs step-ca and libfaketime"]
fn a_wrong_clock_costs_nothing() {
    let scene = scene();
    for (clock, said) in [("+30d", "expired at"), ("-30d", "is not valid before")] {
        let run = renew(&scene).on_debug_build().env("LD_PRELOAD", faketime()).env("FAKETIME", clock);
        let run = refused(&scene, run.env("FAKETIME_DONT_FAKE_MONOTONIC", "1"));
        println!("{run}");
        assert!(run.code.is_some_and(|code| code != 0), "{run}");
        run.says([said, "clock"]);
    }
    renew(&scene).ok();
}
