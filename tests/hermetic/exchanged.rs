//! Directories that become links during a run (threat T10): whatever the moment, nothing outside of the sysroot changes.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags};
use rustix::process::Signal;

use crate::hostile::Scene;
use crate::support::run::Trustup;
use crate::support::tree::Tree;

/// Exchanges a directory for a link that leads outside, right before every step of a run, and back after its end.
fn exchanged_before_every_step(fallback: bool) {
    let (mut stopped, mut refused) = (0, 0);
    loop {
        let scene = Scene::new("alpine-3.20", fallback);
        let before = Tree::of(&scene.sysroot());
        let outside = Tree::of(&scene.outside());
        symlink(scene.outside().join("etc/ssl"), scene.at("etc/swap")).unwrap();
        let exchange = || {
            let (from, to) = (scene.at("etc/ssl"), scene.at("etc/swap"));
            rustix::fs::renameat_with(CWD, &from, CWD, &to, RenameFlags::EXCHANGE).unwrap();
        };
        let root = scene.directory.path().join("root.pem");
        let bootstrap = || Trustup::at(&scene.sysroot(), ["bootstrap", "--ca-file"]).arg(&root);
        let running = bootstrap().stopped_at(stopped + 1, fallback).start();
        if !running.stops() {
            // The run has no more steps, and nothing was exchanged.
            let run = running.end();
            assert_eq!(run.code, Some(0), "{run}");
            break;
        }
        stopped += 1;
        exchange();
        running.signal(Signal::CONT);
        let run = running.end();
        exchange();
        outside.assert_same(&Tree::of(&scene.outside()), &format!("outside, before step {stopped}: {run}"));
        match run.code {
            Some(0) => {}
            Some(1 | 2 | 5 | 7) => {
                assert!(run.stderr.contains("error"), "before step {stopped}: {run}");
                refused += 1;
            }
            _ => panic!("before step {stopped}: {run}"),
        }
        // Another run finishes it, and it can be taken away.
        std::fs::remove_file(scene.at("etc/swap")).unwrap();
        scene.bootstrap().ok();
        scene.trustup(&["untrust", "--all"]).ok();
        before.assert_same(&Tree::of(&scene.sysroot()), &format!("afterwards, before step {stopped}: {run}"));
        outside.assert_same(&Tree::of(&scene.outside()), &format!("outside, before step {stopped}: {run}"));
    }
    eprintln!("{stopped} steps, {refused} runs refused");
    assert!(stopped > 5 && refused > 0, "{stopped} steps, {refused} runs refused");
}

#[test]
fn a_directory_exchanged_for_a_link_outside_before_every_step() {
    exchanged_before_every_step(false);
}

#[test]
fn a_directory_exchanged_for_a_link_outside_before_every_step_without_openat2() {
    exchanged_before_every_step(true);
}

/// T10: while runs go on, `etc/ssl` is exchanged for a link that leads outside, and back, as fast as it goes.
fn swapped(fallback: bool) {
    const RUNS: usize = 2_000;
    const AT_LEAST: usize = 300;
    let scene = Scene::new("alpine-3.20", fallback);
    let outside = Tree::of(&scene.outside());
    symlink(scene.outside().join("etc/ssl"), scene.at("etc/swap")).unwrap();
    let (from, to) = (scene.at("etc/ssl"), scene.at("etc/swap"));
    let stop = AtomicBool::new(false);
    let started = Instant::now();
    let (mut runs, mut done) = (0, 0);
    let swaps = thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut swaps: u64 = 0;
            while !stop.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &from, CWD, &to, RenameFlags::EXCHANGE).unwrap();
                swaps += 1;
            }
            swaps
        });
        while runs < RUNS && (runs < AT_LEAST || started.elapsed() < Duration::from_secs(20)) {
            let run = if runs % 2 == 0 {
                scene.bootstrap().run()
            } else {
                scene.trustup(&["untrust", "--all"]).run()
            };
            let known = matches!(run.code, Some(0 | 1 | 2 | 5 | 7));
            if !known {
                stop.store(true, Ordering::Relaxed);
                panic!("{run}");
            }
            done += usize::from(run.code == Some(0));
            runs += 1;
        }
        stop.store(true, Ordering::Relaxed);
        swapper.join().unwrap()
    });
    eprintln!("{runs} runs, {done} of them succeeded, {swaps} exchanges");
    assert!(swaps > 1_000, "only {swaps} exchanges");
    assert!(done > 0, "no run succeeded");
    assert!(done < runs, "every run succeeded, so that none met an exchange");
    outside.assert_same(&Tree::of(&scene.outside()), "outside");
}

#[test]
fn a_directory_swapped_for_a_link_outside_during_many_runs() {
    swapped(false);
}

#[test]
fn a_directory_swapped_for_a_link_outside_during_many_runs_without_openat2() {
    swapped(true);
}
