//! Standard streams that cannot be used (`src/cli/ui.rs` has the rules): a report that is lost is an error of a command that
//! only reports, and nothing but a missing report of one that changed something; it never keeps a service from starting.

use std::path::Path;

use crate::support::ca;
use crate::support::enrollment::{self, write};
use crate::support::program::write_program;
use crate::support::run::{Run, Trustup, unpacked};
use crate::support::tree::Tree;

const FULL: &str = ">/dev/full";
const LOST: &str = "could not write to standard output";
const ONLY_REPORT: &str = "the work is done; only its report could not be written";

/// Fails since the report was all that there was to do.
#[track_caller]
fn only_reports(run: Trustup) {
    run.redirected(FULL).fails(1).says([LOST, "No space left on device", "hint: redirect standard output"]);
}

/// Did its work, and says that the report is missing.
#[track_caller]
fn changed(run: Trustup, path: &str) -> Run {
    let run = run.redirected(FULL).fails(7);
    run.says([ONLY_REPORT, "No space left on device", "left changed:", path, "hint:"]);
    run
}

#[test]
fn a_command_that_only_reports_fails() {
    let root = unpacked("debian-12");
    let ca = ca::root("Streams Root");
    let given = tempfile::tempdir().unwrap();
    let file = ca.write(given.path(), "root.pem");
    Trustup::at(root.path(), ["bootstrap", "--ca-file"]).arg(&file).ok();
    let config = given.path().join("trustup.toml");
    std::fs::write(&config, "[trust]\nca_file = [\"root.pem\"]\n").unwrap();
    let before = Tree::of(root.path());
    let report_only: &[&[&str]] = &[
        &["--help"],
        &["--version"],
        &["bootstrap", "--help"],
        &["enroll", "--help"],
        &["-h"],
        &["help"],
        &["help", "enroll"],
        &["version"],
        &["detect"],
        &["detect", "--list"],
        &["status"],
        &["doctor"],
        &["env"],
        &["env", "--format", "docker"],
        &["config", "check", "--config", config.to_str().unwrap()],
    ];
    for arguments in report_only {
        let run = || Trustup::at(root.path(), *arguments);
        only_reports(run());
        // What follows `help` is a command.
        if arguments[0] != "help" {
            only_reports(run().arg("-q"));
        }
        if !arguments.iter().any(|one| ["--help", "-h", "help", "--version", "--format"].contains(one)) {
            only_reports(run().arg("--json"));
        }
        let code = run().run().code;
        // What is closed is `/dev/null`, and who reads no more has what it wanted.
        for run in [run().redirected(">&-").run(), run().unread().run()] {
            assert_eq!(run.code, code, "{run}");
            assert!(!run.stderr.contains("standard output"), "{run}");
        }
    }
    only_reports(Trustup::at(root.path(), ["--json", "--dry-run", "untrust", "--all"]));
    before.assert_same(&Tree::of(root.path()), "nothing is changed");
}

#[test]
fn a_command_that_changed_something_says_that_only_the_report_is_missing() {
    let root = unpacked("debian-12");
    let ca = ca::root("Streams Root");
    let given = tempfile::tempdir().unwrap();
    let file = ca.write(given.path(), "root.pem");
    let before = Tree::of(root.path());
    let bootstrap = || Trustup::at(root.path(), ["--json", "bootstrap", "--ca-file"]).arg(&file);
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    changed(bootstrap(), bundle).says(["trustup status"]);
    Trustup::at(root.path(), ["status"]).ok();
    // Nothing was to be done: the report is all that there was.
    only_reports(bootstrap());
    let install = || Trustup::at(root.path(), ["--json", "env", "--install"]);
    changed(install(), "/etc/profile.d/");
    only_reports(install());
    let untrust = || Trustup::at(root.path(), ["--json", "untrust", "--all"]);
    changed(untrust(), bundle);
    before.assert_same(&Tree::of(root.path()), "untrusted");
    only_reports(untrust());
    // A closed one is no loss.
    bootstrap().redirected(">&-").ok();
    bootstrap().unread().ok();
    untrust().unread().ok();
    before.assert_same(&Tree::of(root.path()), "untrusted");
    // Without --json nothing goes to standard output, and nothing is lost.
    Trustup::at(root.path(), ["bootstrap", "--ca-file"]).arg(&file).redirected(FULL).ok();
}

/// A service that is there to be started, and its exit code.
fn service(place: &Path) -> [String; 2] {
    let program = place.join("service");
    write_program(&program, "#!/bin/sh\nexit 42\n");
    ["--".to_owned(), program.display().to_string()]
}

#[test]
fn bootstrap_starts_the_service_all_the_same() {
    let place = tempfile::tempdir().unwrap();
    let file = ca::root("Streams Root").write(place.path(), "root.pem");
    for (redirections, words) in [
        (FULL, &["warning: the report could not be written to standard output", "No space left"][..]),
        (">/dev/full 2>/dev/full", &[]),
        ("<&- >&- 2>&-", &[]),
    ] {
        // Once when it changes something, once when there is nothing to do.
        let store = tempfile::tempdir_in(place.path()).unwrap();
        for _ in 0..2 {
            let run = Trustup::new(["--json", "bootstrap", "--stores", "private", "--private-dir"])
                .arg(store.path().join("store"))
                .arg("--ca-file")
                .arg(&file)
                .args(service(place.path()));
            run.redirected(redirections).fails(42).says(words.iter().copied());
        }
        assert!(store.path().join("store/ca-bundle.pem").is_file());
    }
}

#[test]
fn enroll_finishes_its_work_and_starts_the_service_all_the_same() {
    let scene = enrollment::Scene::new();
    changed(scene.enroll(), "server.crt").says(["the same command again"]);
    let (leaf, _) = scene.pair();
    only_reports(scene.enroll());
    let service = service(scene.directory.path());
    for redirections in [FULL, ">/dev/full 2>/dev/full", "<&- >&- 2>&-"] {
        scene.enroll().arg("--force").args(&service).redirected(redirections).fails(42);
        scene.enroll().args(&service).redirected(redirections).fails(42);
    }
    assert_ne!(scene.pair().0, leaf);
    scene
        .enroll()
        .args(&service)
        .redirected(FULL)
        .fails(42)
        .says(["warning: the report could not be written"]);
    // An error stays what it is.
    write(&scene.path("wrong"), b"wrong", 0o600);
    let wrong =
        || scene.plain("provisioner").arg("other.test").arg("--password-file").arg(scene.path("wrong"));
    let wrong =
        wrong().args(["--ca-url", &scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex()]);
    let run = wrong.arg("--force").redirected(FULL).fails(4);
    assert!(!run.stderr.contains(LOST), "{run}");
}

/// The token itself is the result.
#[test]
fn a_token_that_is_lost_is_an_error() {
    let scene = enrollment::Scene::new();
    let token = || {
        Trustup::new(["token", "web.test", "--ca-url", &scene.server.url()])
            .args(["--fingerprint", &scene.ca.fingerprint().hex()])
            .arg("--password-file")
            .arg(scene.path("password"))
            .env("HOME", scene.directory.path())
    };
    only_reports(token());
    only_reports(token().arg("--json"));
    token().redirected(">&-").ok();
    token().unread().ok();
    let out = scene.path("token");
    token().arg("--out").arg(&out).redirected(FULL).ok();
    changed(token().arg("--json").arg("--out").arg(&out), "token");
    assert!(std::fs::read_to_string(&out).unwrap().starts_with("ey"));
}

#[test]
fn a_ca_or_a_demo_that_nobody_can_hear_of_ends() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    let dev_ca = || Trustup::new(["--json", "dev-ca", "--listen", "127.0.0.1:0", "--state"]).arg(&state);
    let run = dev_ca().redirected(FULL).fails(7);
    run.says([LOST, "left changed:", "hint:"]);
    only_reports(dev_ca());
    only_reports(Trustup::new(["--json", "demo"]));
    Trustup::new(["demo"]).redirected(">/dev/full 2>/dev/full").ok();
}
