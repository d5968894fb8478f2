//! What a run that failed half-way leaves behind, and what its hint promises of the next one.

use std::fs;

use super::methods::{make_token, plain};
use crate::support::enrollment::{Scene, write};
use crate::support::run::Trustup;

use rustix::process::Signal;

fn by_token(scene: &Scene, name: &str) -> Trustup {
    plain(scene, "token", &["--token-file", &make_token(scene, name)])
}

/// The key has its place, the larger certificate has none.
#[test]
fn a_certificate_that_cannot_be_saved_needs_a_new_token() {
    let scene = Scene::new();
    let full = by_token(&scene, "token").file_limit(2).fails(1);
    full.says([
        "hint: the CA has issued a certificate, which is lost: a one-time token is spent now, and a new one is needed",
    ]);
    let token = scene.path("token");
    plain(&scene, "token", &["--token-file"]).arg(&token).fails(4).says(["it was presented before"]);
    by_token(&scene, "new").ok();
    scene.pair();
}

#[test]
fn a_damaged_record_of_a_key_is_removed() {
    let scene = Scene::new();
    let killed = by_token(&scene, "token").killed_at(2).run();
    assert_eq!(killed.code, None, "{killed}");
    let record = scene.path(".server.key.trustup/pending.json");
    assert!(record.exists(), "{killed}");
    write(&record, b"{", 0o600);
    let refused = by_token(&scene, "second").fails(1);
    let hint = format!("hint: remove `{}` and run again: trustup then makes a new key", record.display());
    refused.says([&*hint, "and a one-time token that it sent for the old key needs to be replaced"]);
    let old = fs::read(scene.path(".server.key.trustup/key.pem")).expect("the old key");
    fs::remove_file(&record).expect("removed");
    by_token(&scene, "third").ok();
    scene.pair();
    assert_ne!(fs::read(scene.path("server.key")).expect("the new key"), old);
}

/// What somebody else wrote between the last file and the look back is not taken for the pair.
#[test]
fn a_pair_that_another_program_changes_is_written_again() {
    let stops = |step: &usize| Scene::new().enroll().stopped_at(*step, false).start().stops();
    let last = (1..40).take_while(stops).last().expect("a run has steps");
    let scene = Scene::new();
    let run = scene.enroll().stopped_at(last, false).start();
    assert!(run.stops(), "everything is in place");
    let placed = fs::read(scene.path("server.crt")).expect("a certificate");
    write(&scene.path("server.crt"), b"of another program", 0o644);
    run.signal(Signal::CONT);
    let run = run.end();
    assert_eq!(run.code, Some(7), "{run}");
    run.says(["hint: another program writes there, or the directory is not safe: see the cause"]);
    // That program is gone; the CA need not be asked again.
    scene.enroll().ok();
    assert_eq!(fs::read(scene.path("server.crt")).expect("a certificate"), placed);
    scene.pair();
}
