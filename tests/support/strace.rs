//! trustup under `strace`, which kills it at a system call or has the kernel refuse one: the shipped binary has no hooks, so
//! that faults have to come from outside. Needs Debian's package `strace`.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::binary;
use super::run::Trustup;

/// What changes a file system, as far as trustup asks for it.
pub const CHANGES: [&str; 12] = [
    "renameat",
    "renameat2",
    "unlinkat",
    "mkdirat",
    "symlinkat",
    "linkat",
    "fsync",
    "write",
    "fchmod",
    "fchown",
    "ftruncate",
    "utimensat",
];

/// `trustup ARGS…` with this fault (`SYSCALLS:…`, as `strace -e inject=` takes it); what was injected is in `log`.
pub fn with_fault<S: AsRef<OsStr>>(fault: &str, log: &Path, args: impl IntoIterator<Item = S>) -> Trustup {
    let mut command = Command::new("/usr/bin/strace");
    binary::clear(&mut command);
    let calls = fault.split(':').next().unwrap_or_default();
    command.args(["-f", "-qq", "-e", &format!("trace={calls}"), "-e", &format!("inject={fault}"), "-o"]);
    command.arg(log).arg(binary::trustup());
    Trustup::through(command, args)
}

/// How often strace interfered.
pub fn injected(log: &Path) -> usize {
    fs::read_to_string(log).expect("what strace saw").matches("(INJECTED)").count()
}

/// Kills the run at the first, second, … call of each of `calls`, and `check`s after each kill; gives their number.
/// `prepare` makes everything anew and gives the run's arguments and variables.
#[track_caller]
pub fn kill_at_each<T>(
    calls: &[&str],
    log: &Path,
    prepare: impl Fn() -> (T, Vec<String>, Vec<(String, String)>),
    check: impl Fn(T, &str),
) -> usize {
    let mut kills = 0;
    for call in calls {
        for number in 1..1000 {
            let (scene, args, variables) = prepare();
            let run = with_fault(&format!("{call}:signal=KILL:when={number}"), log, args);
            let run = variables.iter().fold(run, |run, (name, value)| run.env(name, value)).run();
            match run.code {
                None => {
                    kills += 1;
                    check(scene, &format!("killed at {call} number {number}"));
                }
                Some(0) => break,
                Some(_) => panic!("{call} {number}: {run}"),
            }
        }
    }
    kills
}
