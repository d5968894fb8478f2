//! SIGKILL at every instant: the pair that stands there is the old one or the new one, and the next run completes it.

use std::fs;

use super::{Scene, done};
use crate::support::run::Trustup;

/// Kills a run before each of its steps, and lets the next one complete it.
fn killed_at_every_step(layout: &str, with_old_pair: bool) {
    let scene = Scene::new();
    let run = |scene: &Scene| -> Trustup { scene.enroll().args(["--layout", layout]) };
    let mut steps = 0;
    for step in 1..30 {
        // From the start again.
        for name in fs::read_dir(scene.directory.path()).unwrap().map(|entry| entry.unwrap().path()) {
            match name.symlink_metadata().unwrap().is_dir() {
                true => fs::remove_dir_all(name).unwrap(),
                false if name.ends_with("password") => {}
                false => fs::remove_file(name).unwrap(),
            }
        }
        let mut old = None;
        if with_old_pair {
            run(&scene).ok();
            old = Some(scene.pair());
        }
        let killed = run(&scene).arg("--force").killed_at(step).run();
        if killed.code == Some(0) {
            break;
        }
        assert_eq!(killed.code, None, "{killed}");
        steps += 1;
        if layout == "versioned" && scene.path("server.crt").exists() && scene.path("server.key").exists() {
            // One link decides: never a key of one and a certificate of another.
            scene.pair();
        }
        if let (Some(old), true) = (&old, step <= 2) {
            assert_eq!(&scene.pair(), old, "nothing was placed yet");
        }
        let issued = killed_after_the_answer(&scene);
        let connections = scene.server.connections();
        let next = run(&scene).ok();
        let action = done(&next).0;
        scene.pair();
        if let Some(issued) = issued {
            assert!(matches!(action.as_str(), "taken-up" | "kept"), "step {step}: {next}");
            if old.is_none() || action == "taken-up" {
                assert_eq!(fs::read(scene.path("server.crt")).unwrap(), issued, "step {step}");
            }
            assert_eq!(scene.server.connections(), connections, "step {step}: nobody has to be asked again");
        }
        let left: Vec<_> = fs::read_dir(scene.path(".server.key.trustup")).unwrap().collect();
        assert_eq!(left.len(), 1, "step {step}: only where it came from is kept: {left:?}");
        assert_eq!(done(&run(&scene).ok()).0, "kept");
    }
    assert!(steps >= 6, "only {steps} steps");
}

/// The CA's answer, if the killed run had saved it.
fn killed_after_the_answer(scene: &Scene) -> Option<Vec<u8>> {
    fs::read(scene.path(".server.key.trustup/issued.pem")).ok()
}

#[test]
fn plain_files_where_nothing_was() {
    killed_at_every_step("files", false);
}

#[test]
fn plain_files_over_an_old_pair() {
    killed_at_every_step("files", true);
}

#[test]
fn versions_where_nothing_was() {
    killed_at_every_step("versioned", false);
}

#[test]
fn versions_over_an_old_one() {
    killed_at_every_step("versioned", true);
}
