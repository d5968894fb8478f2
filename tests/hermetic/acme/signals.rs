//! Signals and children of `trustup enroll acme`: the first signal ends it after cleaning up, the second one at once; as
//! process 1 it removes the orphans of hooks.

use std::fs;
use std::process::Command;

use rustix::process::Signal;

use super::command::Place;
use super::server::AcmeServer;
use super::{FINISHED, honest};
use crate::support::acme::hook;
use crate::support::binary;
use crate::support::run::{Running, Trustup};
use crate::support::servers::wait_for;

/// `enroll` with a hook that runs `script`; `$CALLS` is a file for what it has to report.
fn with_hook(place: &Place, script: &str) -> Trustup {
    let calls = place.path("calls");
    let script = format!("CALLS={}\necho \"$1\" >> \"$CALLS\"\n{script}", calls.display());
    let program = hook(place.directory.path(), &script);
    place.enroll_by(&["--challenge".into(), "dns-01".into(), "--dns-hook".into(), program.into()], "60s")
}

fn calls(place: &Place) -> String {
    fs::read_to_string(place.path("calls")).unwrap_or_default()
}

/// A run whose hook waits in this call.
fn waiting_in(place: &Place, call: &str) -> Running {
    let run = with_hook(place, &format!("if [ $1 = {call} ]; then exec sleep 600; fi")).start();
    wait_for("the hook", || calls(place).contains(call).then_some(()));
    run
}

#[test]
fn a_hang_up_ends_it_like_any_other_signal() {
    for (signal, name) in [(Signal::HUP, "SIGHUP"), (Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let server = honest();
        let place = Place::at(&server);
        let run = waiting_in(&place, "present");
        run.signal(signal);
        let run = run.end();
        assert_eq!(run.code, Some(1), "{run}");
        run.says([&*format!("ended by {name}"), "run it again"]);
        assert_eq!(calls(&place), "present\ncleanup\n", "what was published is removed");
    }
}

/// As after nohup(1): the terminal goes, and the command stays.
#[test]
fn a_hang_up_that_is_ignored_stays_ignored() {
    let server = honest();
    let place = Place::at(&server);
    let run =
        with_hook(&place, "if [ $1 = present ]; then while ! [ -e \"$CALLS.go\" ]; do sleep 0.05; done; fi");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(binary::trustup());
    binary::clear(&mut shell);
    shell.env("HOME", place.directory.path()).env("PATH", "/usr/bin:/bin");
    let run = Trustup::through(shell, run.arguments()).start();
    wait_for("the hook", || calls(&place).contains("present").then_some(()));
    run.signal(Signal::HUP);
    fs::write(place.path("calls.go"), "").expect("go");
    let run = run.end();
    run.says([FINISHED]);
    assert!(!run.stderr.contains("ended by"), "{run}");
}

/// Whoever asks twice does not want to wait for what is cleaned up.
#[test]
fn the_second_signal_ends_it_at_once() {
    let server = honest();
    let place = Place::at(&server);
    let script = "if [ $1 = present ]; then exec sleep 600; fi; exec sleep 600";
    let run = with_hook(&place, script).start();
    wait_for("the hook", || calls(&place).contains("present").then_some(()));
    run.signal(Signal::TERM);
    wait_for("the clean-up", || calls(&place).contains("cleanup").then_some(()));
    run.signal(Signal::INT);
    let run = run.end();
    assert_eq!(run.code, None, "ended by the signal itself: {run}");
}

/// A hook may leave processes behind, whose parent is then process 1. Nobody else can remove them.
#[test]
fn process_1_removes_the_orphans_of_hooks() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let server = AcmeServer::start(|_, _| None);
    let place = Place::at(&server);
    // Each present call leaves a process that ends at once; the clean-up waits until no zombie is left, and reports.
    let run = with_hook(
        &place,
        "zombies() { grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null || true; }
if [ $1 = present ]; then
    (exec true) & (exec sh -c 'exit 3') &
    exit 0
fi
for i in 1 2 3 4 5 6 7 8 9; do [ -n \"$(zombies)\" ] || break; sleep 0.2; done
echo \"zombies: $(zombies)\" >> \"$CALLS\"; echo \"parent: $PPID\" >> \"$CALLS\"",
    );
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(binary::trustup());
    binary::clear(&mut unshare);
    unshare.env("HOME", place.directory.path()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let run = Trustup::through(unshare, run.arguments()).run();
    run.says([FINISHED]);
    assert_eq!(calls(&place), "present\ncleanup\nzombies: \nparent: 1\n", "{run}");
}
