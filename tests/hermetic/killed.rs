//! SIGKILL right before every step (`TRUSTUP_TEST_KILL_AT`, in debug builds only): each file is the old or the new
//! one, the next run completes, and what it leaves is what an undisturbed run leaves. Signals that can be heeded end what
//! waits.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::{io, thread};

use rustix::process::Signal;

use crate::support::ca::{self, Root};
use crate::support::enrollment;
use crate::support::run::{Run, Trustup, unpacked};
use crate::support::silent_server::SilentServer;
use crate::support::tree::Tree;

/// One of each kind: tool and hashed directory, tool of Alpine, bundle alone, a regular cert.pem, nothing at all; outputs
/// of p11-kit with links to a hashed directory, two such directories, a store that is links into another place.
const FIXTURES: [&str; 10] = [
    "debian-12",
    "debian-12-minimal",
    "alpine-3.23-ca-certificates",
    "alpine-3.9",
    "distroless-static-debian12",
    "wolfi",
    "scratch",
    "arch",
    "opensuse-leap-15.6",
    "sles-15.6-bci-micro",
];
const STATE: &str = "var/lib/trustup";

struct Twin {
    root: tempfile::TempDir,
    given: tempfile::TempDir,
}

impl Twin {
    fn new(fixture: &str, ca: &Root) -> Twin {
        let given = tempfile::tempdir().unwrap();
        ca.write(given.path(), "root.pem");
        Twin { root: unpacked(fixture), given }
    }

    fn bootstrap(&self) -> Trustup {
        let run = Trustup::at(self.root.path(), ["bootstrap", "--ca-file"]);
        // Java's keystores have the date in them.
        run.arg(self.given.path().join("root.pem")).env("SOURCE_DATE_EPOCH", "1700000000")
    }

    fn untrust(&self) -> Trustup {
        Trustup::at(self.root.path(), ["untrust", "--all"])
    }

    fn tree(&self) -> Tree {
        Tree::of(self.root.path())
    }
}

/// Every path is as before or as after; what is only for a moment (temporary files) is not looked at here, but
/// nothing that stood in both trees may be missing.
fn each_path_is_old_or_new(now: &Tree, old: &Tree, new: &Tree, when: &str) {
    for (path, line) in &old.lines {
        let line_now = now.lines.get(path);
        let fine = line_now == Some(line) || line_now == new.lines.get(path);
        assert!(fine, "{when}: {path} is neither old nor new: {line_now:?}");
    }
    for (path, line) in &new.lines {
        if !old.lines.contains_key(path) && !in_state(path) {
            let line_now = now.lines.get(path);
            assert!(line_now.is_none() || line_now == Some(line), "{when}: {path}: {line_now:?}");
        }
    }
}

fn in_state(path: &str) -> bool {
    // Its summary for other users is beside it.
    path.starts_with(STATE)
}

fn killed_at(run: Trustup, step: usize) -> Option<Run> {
    let run = run.killed_at(step).run();
    match run.code {
        None => None,
        Some(0) => Some(run),
        Some(_) => panic!("step {step}: {run}"),
    }
}

#[test]
fn bootstrap_killed_at_every_step_is_completed_by_the_next_run() {
    for fixture in FIXTURES {
        let ca = ca::root("Killed Test Root");
        let model = Twin::new(fixture, &ca);
        let old = model.tree();
        model.bootstrap().ok();
        let new = model.tree();
        let mut steps = 0;
        for step in 1.. {
            let twin = Twin::new(fixture, &ca);
            let when = format!("{fixture}, killed before step {step}");
            if killed_at(twin.bootstrap(), step).is_some() {
                break;
            }
            steps = step;
            each_path_is_old_or_new(&twin.tree(), &old, &new, &when);
            twin.bootstrap().ok();
            // The state names times and paths of this twin.
            let now = twin.tree().without(&format!("{STATE}/state.json"));
            new.clone()
                .without(&format!("{STATE}/state.json"))
                .assert_same(&now, &format!("{when}, then run again"));
            Trustup::at(twin.root.path(), ["status"]).ok();
            twin.untrust().ok();
            old.assert_same(&twin.tree(), &format!("{when}, run again, untrusted"));

            // The other way out: straight back.
            let twin = Twin::new(fixture, &ca);
            assert!(killed_at(twin.bootstrap(), step).is_none());
            twin.untrust().ok();
            old.assert_same(&twin.tree(), &format!("{when}, then untrusted"));
        }
        assert!(steps >= 2, "{fixture}: only {steps} steps");
    }
}

#[test]
fn untrust_killed_at_every_step_is_completed_by_the_next_run() {
    for fixture in FIXTURES {
        let ca = ca::root("Killed Test Root");
        let model = Twin::new(fixture, &ca);
        let old = model.tree();
        model.bootstrap().ok();
        let new = model.tree();
        let mut steps = 0;
        for step in 1.. {
            let twin = Twin::new(fixture, &ca);
            twin.bootstrap().ok();
            let when = format!("{fixture}, untrust killed before step {step}");
            if killed_at(twin.untrust(), step).is_some() {
                break;
            }
            steps = step;
            each_path_is_old_or_new(&twin.tree(), &old, &new, &when);
            twin.untrust().ok();
            old.assert_same(&twin.tree(), &format!("{when}, then run again"));
        }
        assert!(steps >= 2, "{fixture}: only {steps} steps");
    }
}

/// From now on it answers: what comes to it is passed on to `server`.
fn answer_by(silent: SilentServer, server: SocketAddr) {
    thread::spawn(move || {
        loop {
            let (client, server) = (silent.asked(), TcpStream::connect(server).unwrap());
            let streams = || (client.try_clone().unwrap(), server.try_clone().unwrap());
            let ((client_in, server_in), (client_out, server_out)) = (streams(), streams());
            for (mut from, mut to) in [(client_in, server_out), (server_in, client_out)] {
                thread::spawn(move || {
                    // An end is passed on, too.
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
}

/// No file is touched before all sources are there, so there is nothing to take back; the same command works when they are.
#[test]
fn a_signal_ends_what_waits_for_a_source() {
    let ca = enrollment::Scene::new();
    let server = ca.server.url().trim_start_matches("https://").parse().unwrap();
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let root = unpacked("debian-12");
        let before = Tree::of(root.path());
        let silent = SilentServer::start();
        let url = silent.url();
        let pin = ca.ca.fingerprint().hex();
        let waits = ["--wait", "10m", "bootstrap", "--fingerprint", &pin, "--ca-url", &url];
        let run = Trustup::at(root.path(), waits).start();
        let asked = silent.asked();
        run.signal(signal);
        let run = run.end();
        assert_eq!(run.code, Some(1), "{run}");
        run.says([&*format!("ended by {name}"), "hint: run it again"]);
        drop(asked);
        assert!(!silent.is_asked(), "asked again: {run}");
        Tree::of(root.path()).assert_same(&before, "nothing is changed");
        answer_by(silent, server);
        Trustup::at(root.path(), waits).ok();
    }
}
