//! File systems that do not let us: no permission, no room.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::hostile::{LOCAL, Scene};
use crate::support::binary;
use crate::support::program::copy_for_all;
use crate::support::tree::Tree;

#[test]
fn without_permission_to_write_nothing_changes_and_the_error_says_so() {
    let scene = Scene::new("debian-12", false);
    let before = Tree::of(&scene.sysroot());
    let binary = copy_for_all(binary::trustup(), scene.directory.path(), 0o755);
    let is_root = rustix::process::geteuid().is_root();
    let closed: Vec<&str> = vec!["etc/ssl/certs", LOCAL, "var/lib"];
    let mut run = scene.bootstrap().binary(&binary);
    if is_root {
        run = run.uid(65_534);
    } else {
        for path in &closed {
            fs::set_permissions(scene.at(path), fs::Permissions::from_mode(0o555)).unwrap();
        }
    }
    let run = run.fails(1);
    for path in closed.iter().filter(|_| !is_root) {
        fs::set_permissions(scene.at(path), fs::Permissions::from_mode(0o755)).unwrap();
    }
    before.assert_same(&Tree::of(&scene.sysroot()), "after a run without rights");
    run.says(["hint:"]);
    assert!(run.stderr.to_lowercase().contains("permission"), "{run}");
}

#[test]
fn a_write_that_fails_half_way_is_turned_back() {
    for fixture in ["debian-12", "alpine-3.20", "alpine-3.9", "scratch"] {
        let (mut failed, mut succeeded) = (0, 0);
        for blocks in [0, 1, 2, 3, 4, 6, 8, 12, 16, 20, 22, 24, 26, 64] {
            let scene = Scene::new(fixture, false);
            let before = Tree::of(&scene.sysroot());
            let run = scene.bootstrap().file_limit(blocks).run();
            if run.code == Some(0) {
                succeeded += 1;
            } else {
                failed += 1;
                assert_eq!(run.code, Some(1), "{fixture}, {blocks} blocks: {run}");
                run.says(["could not", "File too large"]);
                before
                    .assert_same(&Tree::of(&scene.sysroot()), &format!("{fixture}, {blocks} blocks\n{run}"));
                scene.bootstrap().ok();
            }
            let there = Tree::of(&scene.sysroot());
            let run = scene.trustup(&["untrust", "--all"]).file_limit(blocks).run();
            if run.code != Some(0) {
                assert_eq!(run.code, Some(1), "{fixture}, {blocks} blocks: {run}");
                there.assert_same(&Tree::of(&scene.sysroot()), &format!("{fixture}, {blocks} blocks\n{run}"));
                scene.trustup(&["untrust", "--all"]).ok();
            }
            before
                .assert_same(&Tree::of(&scene.sysroot()), &format!("{fixture}, {blocks} blocks, at the end"));
        }
        assert!(failed >= 3 && succeeded >= 1, "{fixture}: {failed} failed, {succeeded} succeeded");
    }
}
