//! The binary under test (under `./test` the shipped one) with faults that come from outside: killed at every system call that changes
//! something, and on a kernel or under a filter that refuses openat2.

use std::fs;
use std::process::Command;

use crate::support::enrollment::{Scene, done};
use crate::support::run::{Trustup, unpacked};
use crate::support::strace::{CHANGES, injected, kill_at_each, with_fault};
use crate::support::tree::Tree;
use crate::support::{binary, ca};

/// What a run that did something else, or was killed right before its end, leaves in trustup's own directory.
const OWN: [&str; 2] = ["var/lib/trustup/state.json", "var/lib/trustup/lock"];

/// The tree without what names times and paths of one run.
fn stores(tree: Tree) -> Tree {
    OWN.into_iter().fold(tree, Tree::without)
}

/// The first tree is back. A run that was killed before its journal was there, or after it was removed, may leave its own
/// directory with an empty lock, and those above it: nobody knows any more that it made them.
#[track_caller]
fn is_back(old: &Tree, mut now: Tree, when: &str) {
    let is_harmless = |path: &str, line: &str| match path {
        "var" | "var/lib" | "var/lib/trustup" => line.starts_with("d "),
        "var/lib/trustup/lock" => line.starts_with("f size=0 "),
        _ => false,
    };
    now.lines.retain(|path, line| old.lines.contains_key(path) || !is_harmless(path, line));
    old.assert_same(&now, when);
}

/// Every path is as before or as after, but for temporary files and for trustup's own state.
#[track_caller]
fn is_old_or_new(now: &Tree, old: &Tree, new: &Tree, when: &str) {
    for (path, line) in &old.lines {
        let now = now.lines.get(path);
        assert!(now == Some(line) || now == new.lines.get(path), "{when}: {path}: {now:?}");
    }
    for (path, line) in new.lines.iter().filter(|(path, _)| !old.lines.contains_key(*path)) {
        let now = now.lines.get(path);
        let is_own = path.starts_with("var/lib/trustup");
        assert!(is_own || now.is_none() || now == Some(line), "{when}: {path}: {now:?}");
    }
}

fn killed_on(fixture: &str) {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("strace");
    let file = ca::root("Killed From Outside").write(place.path(), "root.pem").display().to_string();
    let model = unpacked(fixture);
    let old = Tree::of(model.path());
    let dated = [("SOURCE_DATE_EPOCH".to_owned(), "1700000000".to_owned())];
    let bootstrap = |root: &std::path::Path| {
        Trustup::at(root, ["bootstrap", "--ca-file", &file]).env("SOURCE_DATE_EPOCH", "1700000000")
    };
    bootstrap(model.path()).ok();
    let new = Tree::of(model.path());
    let line = |root: &std::path::Path, rest: &[&str]| {
        let mut line = vec!["--sysroot".to_owned(), root.display().to_string()];
        line.extend(rest.iter().map(|&one| one.to_owned()));
        line
    };
    let kills = kill_at_each(
        &CHANGES,
        &log,
        || {
            let root = unpacked(fixture);
            let line = line(root.path(), &["bootstrap", "--ca-file", &file]);
            (root, line, dated.to_vec())
        },
        |root, when| {
            let when = format!("{fixture}, {when}");
            is_old_or_new(&Tree::of(root.path()), &old, &new, &when);
            bootstrap(root.path()).ok();
            let now = stores(Tree::of(root.path()));
            stores(new.clone()).assert_same(&now, &format!("{when}, then run again"));
            Trustup::at(root.path(), ["untrust", "--all"]).ok();
            is_back(&old, Tree::of(root.path()), &format!("{when}, then untrusted"));
        },
    );
    assert!(kills >= 10, "{fixture}: only {kills} kills");
    let kills = kill_at_each(
        &CHANGES,
        &log,
        || {
            let root = unpacked(fixture);
            bootstrap(root.path()).ok();
            let line = line(root.path(), &["untrust", "--all"]);
            (root, line, dated.to_vec())
        },
        |root, when| {
            let when = format!("{fixture}, untrust {when}");
            is_old_or_new(&Tree::of(root.path()), &old, &new, &when);
            Trustup::at(root.path(), ["untrust", "--all"]).ok();
            is_back(&old, Tree::of(root.path()), &format!("{when}, then run again"));
        },
    );
    assert!(kills >= 10, "{fixture}: only {kills} kills of untrust");
}

#[test]
#[ignore = "needs strace"]
fn bootstrap_and_untrust_killed_at_each_change_of_debian() {
    killed_on("debian-12");
}

#[test]
#[ignore = "needs strace"]
fn bootstrap_and_untrust_killed_at_each_change_of_alpine() {
    killed_on("alpine-3.23-ca-certificates");
}

#[test]
#[ignore = "needs strace"]
fn bootstrap_and_untrust_killed_at_each_change_of_nothing() {
    killed_on("scratch");
}

/// The pair is the old one or the new one (with versions, at every instant), and the next run completes it.
#[test]
#[ignore = "needs strace"]
fn enroll_killed_at_each_change() {
    for layout in ["files", "versioned"] {
        let log = tempfile::tempdir().unwrap();
        let log = log.path().join("strace");
        let scene = Scene::new();
        let kills = kill_at_each(
            &CHANGES,
            &log,
            || {
                for entry in fs::read_dir(scene.directory.path()).unwrap().map(|entry| entry.unwrap().path())
                {
                    match entry.symlink_metadata().unwrap().is_dir() {
                        true => fs::remove_dir_all(entry).unwrap(),
                        false if entry.ends_with("password") => {}
                        false => fs::remove_file(entry).unwrap(),
                    }
                }
                scene.enroll().args(["--layout", layout]).ok();
                let line = scene.enroll().args(["--layout", layout, "--force"]).arguments();
                (scene.pair(), line, vec![("HOME".to_owned(), scene.directory.path().display().to_string())])
            },
            |old, when| {
                let connections = scene.server.connections();
                if layout == "versioned" {
                    // One link decides.
                    scene.pair();
                }
                let issued = fs::read(scene.path(".server.key.trustup/issued.pem")).ok();
                let next = scene.enroll().args(["--layout", layout]).ok();
                let now = scene.pair();
                let action = done(&next).0;
                if issued.is_some() {
                    assert!(matches!(action.as_str(), "taken-up" | "kept"), "{layout}, {when}: {next}");
                    assert_eq!(scene.server.connections(), connections, "{layout}, {when}: nobody is asked");
                } else {
                    // Either nothing was placed, or all of it.
                    assert!(
                        action != "kept" || now == old || !scene.path(".server.key.trustup/key.pem").exists(),
                        "{layout}, {when}"
                    );
                }
                let next = scene.enroll().args(["--layout", layout]).ok();
                assert_eq!(done(&next).0, "kept", "{layout}, {when}");
            },
        );
        assert!(kills >= 10, "{layout}: only {kills} kills");
    }
}

/// An old kernel has no openat2; a filter of an old container engine refuses what it does not know with EPERM.
#[test]
#[ignore = "needs strace"]
fn without_openat2_the_result_is_the_same() {
    for fixture in ["debian-12", "alpine-3.23-ca-certificates", "arch", "opensuse-leap-15.6", "scratch"] {
        let place = tempfile::tempdir().unwrap();
        let log = place.path().join("strace");
        let file = ca::root("No openat2").write(place.path(), "root.pem").display().to_string();
        let dated = |run: Trustup| run.env("SOURCE_DATE_EPOCH", "1700000000");
        let model = unpacked(fixture);
        let old = Tree::of(model.path());
        dated(Trustup::at(model.path(), ["bootstrap", "--ca-file", &file])).ok();
        let new = stores(Tree::of(model.path()));
        for error in ["ENOSYS", "EPERM"] {
            let root = unpacked(fixture);
            let run = |rest: &[&str]| {
                let fault = format!("openat2:error={error}");
                let sysroot = root.path().display().to_string();
                let run = dated(with_fault(&fault, &log, [&["--sysroot", &sysroot], rest].concat())).ok();
                assert!(injected(&log) > 0, "{fixture}, {error}: openat2 was never asked for: {run}");
                run
            };
            run(&["bootstrap", "--ca-file", &file]);
            let now = stores(Tree::of(root.path()));
            new.assert_same(&now, &format!("{fixture}, {error}"));
            run(&["status"]);
            run(&["detect"]);
            run(&["untrust", "--all"]);
            old.assert_same(&Tree::of(root.path()), &format!("{fixture}, {error}, untrusted"));
        }
    }
}

/// What tests ask of a debug build, nobody can ask of what is shipped.
#[test]
#[ignore = "needs the shipped binary"]
fn the_shipped_binary_has_no_hooks() {
    let hooks = |path: &std::path::Path| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(13).filter(|window| window == b"TRUSTUP_TEST_").count()
    };
    assert!(hooks(binary::debug_build()) >= 3, "the debug build has them");
    assert_eq!(hooks(binary::shipped()), 0);
    let root = unpacked("scratch");
    let place = tempfile::tempdir().unwrap();
    let file = ca::root("No Hooks").write(place.path(), "root.pem");
    let mut command = Command::new(binary::shipped());
    binary::clear(&mut command);
    let run =
        Trustup::through(command, ["--sysroot"]).arg(root.path()).args(["bootstrap", "--ca-file"]).arg(file);
    run.env("TRUSTUP_TEST_KILL_AT", "1").ok();
}
