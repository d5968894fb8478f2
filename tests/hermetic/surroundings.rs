//! One run of each exit code, in the environments that images, CI systems and process managers make: the exit code is the
//! same, never a signal, and so is the message; no backtrace and no panic is part of it.

use std::fs;
use std::path::Path;

use crate::support::ca;
use crate::support::enrollment::Scene;
use crate::support::program::write_program;
use crate::support::run::{Run, Trustup, unpacked};

/// What differs from an ordinary shell: variables (an empty value takes one away), and redirections of the shell.
struct Surrounding {
    name: &'static str,
    variables: &'static [(&'static str, &'static str)],
    streams: &'static str,
}

const fn variables(name: &'static str, variables: &'static [(&'static str, &'static str)]) -> Surrounding {
    Surrounding { name, variables, streams: "" }
}

const fn streams(streams: &'static str) -> Surrounding {
    Surrounding { name: streams, variables: &[], streams }
}

const SURROUNDINGS: &[Surrounding] = &[
    variables("RUST_BACKTRACE=1", &[("RUST_BACKTRACE", "1")]),
    variables("RUST_BACKTRACE=full", &[("RUST_BACKTRACE", "full")]),
    variables("RUST_LIB_BACKTRACE=1", &[("RUST_LIB_BACKTRACE", "1")]),
    variables("RUST_LIB_BACKTRACE=full", &[("RUST_LIB_BACKTRACE", "full"), ("RUST_BACKTRACE", "0")]),
    variables("RUST_LOG=trace", &[("RUST_LOG", "trace"), ("RUST_BACKTRACE", "1")]),
    variables("RUST_MIN_STACK", &[("RUST_MIN_STACK", "1")]),
    variables("no HOME", &[("HOME", "")]),
    variables("HOME that is not there", &[("HOME", "/nowhere/at/all")]),
    variables("no PATH", &[("PATH", "")]),
    variables("no HOME, PATH and TMPDIR", &[("HOME", ""), ("PATH", ""), ("TMPDIR", "")]),
    variables("TMPDIR that is not there", &[("TMPDIR", "/nowhere/at/all")]),
    variables("Turkish", &[("LANG", "tr_TR.UTF-8"), ("LC_ALL", "tr_TR.UTF-8")]),
    variables("a locale that is not there", &[("LANG", "xx_XX.ISO-8859-1"), ("LC_ALL", "xx_XX.ISO-8859-1")]),
    variables("TERM=dumb", &[("TERM", "dumb")]),
    variables("TERM of nobody", &[("TERM", "no-such-terminal")]),
    variables("COLUMNS=1", &[("COLUMNS", "1"), ("LINES", "1")]),
    variables("COLUMNS=0", &[("COLUMNS", "0"), ("LINES", "0")]),
    variables("COLUMNS=-1", &[("COLUMNS", "-1")]),
    variables("COLUMNS=2^64-1", &[("COLUMNS", "18446744073709551615")]),
    variables("COLUMNS=2^64", &[("COLUMNS", "18446744073709551616")]),
    variables("COLUMNS=wide", &[("COLUMNS", "wide")]),
    streams(">/dev/full"),
    streams(">&-"),
    streams("</dev/full"),
    streams("<&-"),
    streams("2>/dev/full"),
    streams("2>&-"),
    streams("<&- >&- 2>&-"),
    streams(">/dev/full 2>/dev/full"),
    Surrounding {
        name: "all at once",
        variables: &[("RUST_BACKTRACE", "full"), ("HOME", ""), ("PATH", ""), ("COLUMNS", "1")],
        streams: "<&- >/dev/full",
    },
];

impl Surrounding {
    fn has_stderr(&self) -> bool {
        !self.streams.contains("2>")
    }

    fn is_stdout_full(&self) -> bool {
        self.streams.split(' ').any(|one| one == ">/dev/full")
    }
}

/// A run, its exit code, and what it is with a standard output that cannot be written.
struct Case {
    name: &'static str,
    arguments: Vec<String>,
    code: i32,
    /// The exit code with a full standard output, where there is something to write to it.
    full: i32,
}

fn case<S: AsRef<str>>(
    name: &'static str,
    code: i32,
    full: i32,
    arguments: impl IntoIterator<Item = S>,
) -> Case {
    Case { name, arguments: arguments.into_iter().map(|one| one.as_ref().to_owned()).collect(), code, full }
}

/// None of them changes anything, so that each can be run again and again; all exit codes are among them but 7, which
/// `streams` has, and 3, which no command answers with yet.
fn cases(place: &Path) -> Vec<Case> {
    let path = |name: &str| place.join(name).display().to_string();
    let (sysroot, root, private) = (path("sysroot"), path("root.pem"), path("private"));
    let damaged = path("damaged");
    let wrong = "ab".repeat(32);
    let at = |rest: &[&str]| {
        [&["--sysroot", &sysroot], rest].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let json = |rest: &[&str]| [vec!["--json".to_owned()], at(rest)].concat();
    let service = |program: &str| {
        ["--private-dir", &private, "bootstrap", "--stores", "private", "--ca-file", &root, "--", program]
            .map(str::to_owned)
    };
    let server = ["bootstrap", "--ca-url", "https://127.0.0.1:1", "--fingerprint", &wrong];
    vec![
        case("detect", 0, 1, at(&["detect"])),
        case("detect --list", 0, 1, ["detect", "--list"]),
        case("status", 0, 1, at(&["status"])),
        case("bootstrap again", 0, 0, at(&["bootstrap", "--ca-file", &root])),
        case("bootstrap --json again", 0, 1, json(&["bootstrap", "--ca-file", &root])),
        case("env", 0, 1, at(&["env"])),
        case("--version", 0, 1, ["--version"]),
        case("failed", 1, 1, ["--sysroot", &damaged, "status"]),
        case("failed: JSON", 1, 1, ["--json", "--sysroot", &damaged, "bootstrap", "--ca-file", &root]),
        case("usage: clap", 2, 2, ["--no-such-option"]),
        case("usage: a word", 2, 2, ["bootstarp"]),
        case("usage: ours", 2, 2, at(&["bootstrap"])),
        case("usage: JSON", 2, 2, json(&["bootstrap", "--no-such-option"])),
        case("usage: not a certificate", 2, 2, at(&["bootstrap", "--ca-file", "/dev/null"])),
        case("not trusted", 4, 4, at(&["bootstrap", "--ca-file", &root, "--fingerprint", &wrong])),
        case("unsupported", 5, 5, at(&["bootstrap", "--stores", "private", "--ca-file", &root])),
        case("unreachable", 6, 6, at(&server)),
        case("unreachable: JSON", 6, 6, json(&server)),
        case("command: not there", 127, 127, service("/no/such/program")),
        case("command: no program", 126, 126, service(&root)),
        case("command", 42, 42, service(&path("service"))),
    ]
}

fn run(case: &Case, place: &Path, surrounding: &Surrounding) -> Run {
    let mut run = Trustup::new(&case.arguments).without("RUST_BACKTRACE");
    let home = place.join("home");
    let ordinary = [("HOME", home.to_str().unwrap()), ("PATH", "/usr/bin:/bin"), ("TMPDIR", "/tmp")];
    for (name, value) in ordinary.iter().chain(surrounding.variables) {
        run = if value.is_empty() { run.without(name) } else { run.env(name, value) };
    }
    if surrounding.streams.is_empty() { run } else { run.redirected(surrounding.streams) }.run()
}

/// What was done before a command that cannot be started is said as it was: that of another machine is known only when
/// the kernel refuses it.
#[test]
fn a_command_that_cannot_be_started_says_what_was_done() {
    let place = tempfile::tempdir().unwrap();
    let root = ca::root("Surroundings Root").write(place.path(), "root.pem");
    let home = place.path().join("home");
    fs::create_dir(&home).unwrap();
    let private = home.join("private");
    let service = place.path().join("service");
    write_program(&service, "MZ\0");
    let bootstrap = |service: &Path| {
        let run = Trustup::new(["--private-dir"]).arg(&private).args(["bootstrap", "--stores", "private"]);
        run.arg("--ca-file").arg(&root).arg("--").arg(service).env("HOME", &home).run()
    };
    let missing = Path::new("/no/such/program");
    for (service, code, what, not) in [
        (missing, 127, "nothing was changed", "are changed"),
        (&service, 126, "the trust stores are changed as requested", "nothing was changed"),
        (&service, 126, "the trust stores were already as requested, and nothing was changed", "are changed"),
        (missing, 127, "nothing was changed", "are changed"),
    ] {
        let run = bootstrap(service);
        assert_eq!(run.code, Some(code), "{run}");
        run.says([what]);
        assert!(!run.stderr.contains(not), "{run}");
    }
    let scene = Scene::new();
    for (service, code, what, not) in [
        (missing, 127, "nothing was changed", "the next run"),
        (&service, 126, "the certificates and keys are in place, and the next run", "nothing was changed"),
        (&service, 126, "the key pairs were in place before, and nothing was changed", "the next run"),
    ] {
        let run = scene.enroll().arg("--").arg(service).run();
        assert_eq!(run.code, Some(code), "{run}");
        run.says([what]);
        assert!(!run.stderr.contains(not) && !run.stderr.contains("trust stores"), "{run}");
    }
}

#[test]
fn every_exit_code_is_the_same_everywhere() {
    let place = tempfile::tempdir().unwrap();
    let ca = ca::root("Surroundings Root");
    let root = ca.write(place.path(), "root.pem");
    fs::create_dir(place.path().join("home")).unwrap();
    write_program(&place.path().join("service"), "#!/bin/sh\nexit 42\n");
    // What is here is what a first run leaves; from now on nothing changes.
    let sysroot = unpacked("debian-12");
    std::os::unix::fs::symlink(sysroot.path(), place.path().join("sysroot")).unwrap();
    Trustup::at(sysroot.path(), ["bootstrap", "--ca-file"]).arg(&root).ok();
    let damaged = place.path().join("damaged/var/lib/trustup");
    fs::create_dir_all(&damaged).unwrap();
    fs::write(damaged.join("state.json"), "{").unwrap();
    let plain = variables("plain", &[]);
    let mut wrong = Vec::new();
    for case in cases(place.path()) {
        // A private store is made by the first run.
        run(&case, place.path(), &plain);
        let expected = run(&case, place.path(), &plain);
        if expected.code != Some(case.code) {
            wrong
                .push(format!("{}: exit code {:?}, not {}: {expected}", case.name, expected.code, case.code));
            continue;
        }
        for surrounding in SURROUNDINGS {
            let run = run(&case, place.path(), surrounding);
            let code = if surrounding.is_stdout_full() { case.full } else { case.code };
            let mut says =
                |what: &str| wrong.push(format!("{}, {}: {what}: {run}", case.name, surrounding.name));
            if run.code != Some(code) {
                says(&format!("exit code {:?}, not {code}", run.code));
            }
            if ["panicked", "stack backtrace", "RUST_BACKTRACE", "defect"]
                .iter()
                .any(|word| run.stderr.contains(word))
            {
                says("a backtrace or a panic");
            }
            if !surrounding.has_stderr() {
                continue;
            }
            let lost = "could not write to standard output";
            if surrounding.is_stdout_full() && case.full == 1 && case.code == 0 {
                // What is said besides is as ever.
                if !run.stderr.contains(lost)
                    || !run.stderr.contains("hint:")
                    || !run.stderr.contains("No space left")
                {
                    says("no word of the lost output");
                }
            } else if run.stderr != expected.stderr {
                says(&format!("another message than\n{}", expected.stderr));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n\n"));
}

/// Help is wrapped to the terminal: any width is one.
#[test]
fn help_is_shown_at_any_width() {
    for columns in ["0", "1", "2", "7", "40", "65535", "18446744073709551615", "-1", "x"] {
        for command in ["", "bootstrap", "enroll", "token", "config", "dev-ca"] {
            let run = Trustup::new(command.split_terminator(' ')).arg("--help").env("COLUMNS", columns).ok();
            assert!(run.stdout.contains("Exit codes:") && run.stderr.is_empty(), "{columns}: {run}");
        }
    }
}
