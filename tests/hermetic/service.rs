//! The command after `--`: what cannot be started is known before anything is changed, with its cause and a hint that
//! works; and nothing but a text is ever given to a shell.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::support::ca;
use crate::support::enrollment::Scene;
use crate::support::program::{copy_program, write_program};
use crate::support::run::{Run, Trustup};

pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Place {
        let place = tempfile::tempdir().unwrap();
        ca::root("Service Root").write(place.path(), "root.pem");
        Place(place)
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn bootstrap(&self) -> Trustup {
        let bootstrap = Trustup::new(["--private-dir"]).arg(self.at("private"));
        let bootstrap = bootstrap.args(["bootstrap", "--stores", "private", "--ca-file"]);
        bootstrap.arg(self.at("root.pem")).arg("--").env("PATH", self.path())
    }

    fn start(&self, command: &[&str]) -> Run {
        self.bootstrap().args(command).run()
    }

    /// As PATH.
    fn path(&self) -> String {
        format!("{}:/usr/bin:/bin", self.0.path().display())
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        // Copied by another process: no test that starts a program at this moment inherits it open.
        let draft = self.at("draft");
        fs::write(&draft, bytes).unwrap();
        copy_program(&draft, &self.at(name));
        self.shown(name)
    }

    pub(crate) fn shown(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    fn is_unchanged(&self) -> bool {
        !self.at("private").exists()
    }
}

/// This test's own program: a real ELF file with a dynamic loader or without.
pub(crate) fn elf() -> Vec<u8> {
    fs::read(std::env::current_exe().unwrap()).unwrap()
}

/// The header of a 64-bit program for `machine`, followed by lines that a shell would run.
pub(crate) fn foreign(machine: u16, marker: &Path) -> Vec<u8> {
    let mut bytes = elf();
    bytes.truncate(64);
    bytes[18..20].copy_from_slice(&machine.to_le_bytes());
    // One program header (PT_LOAD of nothing) at its usual place.
    bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
    bytes[54..58].copy_from_slice(&[56, 0, 1, 0]);
    let mut header = [0; 56];
    header[0] = 1;
    bytes.extend(header);
    bytes.extend(format!("\n\n: > {}\nexit 0\n", marker.display()).bytes());
    bytes
}

#[test]
fn nothing_after_the_dashes_is_an_error_before_anything_is_changed() {
    let place = Place::new();
    let run = place.start(&[]);
    assert_eq!(run.code, Some(2), "{run}");
    run.says(["no command after `--`", "resets the CMD", "omit `--`"]);
    assert!(place.is_unchanged() && !run.stderr.contains("now trusted"), "{run}");
    // The same one start later, an unset variable in exec form, and in JSON.
    for (command, words) in
        [(&["trustup", "enroll", "--"][..], "no command after `--`"), (&[""], "empty word")]
    {
        let run = place.start(command);
        assert_eq!(run.code, Some(2), "{run}");
        run.says([words]);
        assert!(place.is_unchanged(), "{run}");
    }
    let run = Trustup::new(["--json", "bootstrap", "--ca-file"]).arg(place.at("root.pem")).arg("--").run();
    assert_eq!((run.code, run.json()["error"]["exit_code"].as_i64()), (Some(2), Some(2)), "{run}");
    // The hint: without the dashes, it installs.
    let run = Trustup::new(["--private-dir"]).arg(place.at("private"));
    run.args(["bootstrap", "--stores", "private", "--ca-file"]).arg(place.at("root.pem")).ok();

    let scene = Scene::new();
    for method in [&["enroll"][..], &["enroll", "token", "a.test"], &["enroll", "any"]] {
        let run = Trustup::new(method).arg("--").run();
        assert_eq!(run.code, Some(2), "{run}");
        run.says(["no command after `--`"]);
    }
    // The token is not spent.
    let run = scene.enroll().args(["--", "/no/such/program"]).run();
    assert_eq!(run.code, Some(127), "{run}");
    scene.enroll().ok();
}

#[test]
fn what_cannot_be_started_is_known_before_anything_is_changed() {
    let place = Place::new();
    fs::create_dir(place.at("directory")).unwrap();
    symlink("/no/where", place.at("dangling")).unwrap();
    place.write("crlf", "#!/bin/sh\r\nexit 0\r\n");
    place.write("crlf-option", "#!/bin/sh -e\r\nexit 0\r\n");
    place.write("env-crlf", "#!/usr/bin/env sh\r\nexit 0\r\n");
    place.write("no-interpreter", "#! /no/interpreter -x\nexit 0\n");
    place.write("env-nothing", "#!/usr/bin/env no-such-interpreter\nexit 0\n");
    place.write("bare", "#!\nexit 0\n");
    place.write("loop", format!("#!{}\n", place.shown("loop")));
    place.write("through", format!("#!{}\n", place.shown("no-interpreter")));
    place.write("empty", "");
    place.write("cut", &elf()[..4000]);
    place.write("header", &elf()[..40]);
    fs::write(place.at("plain"), "#!/bin/sh\nexit 0\n").unwrap();
    place.write("by-plain", format!("#!{}\n", place.shown("plain")));
    for (name, code, words) in [
        ("/no/such/program", 127, &["no such file"][..]),
        ("no-such-program", 127, &["PATH"]),
        ("dangling", 127, &["a link to `/no/where`"]),
        ("directory", 126, &["a directory"]),
        ("plain", 126, &["mode 0644", "chmod a+x"]),
        ("crlf", 127, &["CRLF", "`/bin/sh\\r`", "sed -i"]),
        ("env-crlf", 127, &["CRLF", "`sh\\r`", "sed -i"]),
        ("no-interpreter", 127, &["interpreter `/no/interpreter`"]),
        ("env-nothing", 127, &["interpreter `no-such-interpreter`", "PATH"]),
        ("bare", 126, &["without an interpreter"]),
        ("loop", 126, &["name each other"]),
        ("through", 127, &["interpreter `/no/interpreter`"]),
        ("by-plain", 126, &["interpreter", "mode 0644"]),
        ("empty", 126, &["the file is empty"]),
        ("cut", 126, &["truncated", "4000 bytes"]),
        ("header", 126, &["truncated", "40 bytes"]),
    ] {
        // By path and, where execvp(3) searches, by PATH.
        let names = if name.starts_with('/') || name.starts_with("no-such") {
            vec![name.to_owned()]
        } else {
            vec![place.shown(name), name.to_owned()]
        };
        for name in names {
            let run = place.start(&[&name]);
            assert_eq!(run.code, Some(code), "{run}");
            run.says(words.iter().copied());
            run.says(["could not start the command", "nothing was changed", "hint:"]);
            assert!(place.is_unchanged(), "{run}");
        }
    }
    // With an option the carriage return is part of that option, and the shell's own error.
    place.start(&["crlf-option"]).says(["now trusted"]);
}

#[test]
fn the_hints_work() {
    let place = Place::new();
    let crlf = place.write("crlf", "#!/bin/sh\r\nexit 42\r\n");
    let run = place.start(&[&crlf]);
    run.says(["hint: convert it: `sed -i"]);
    let sed = run.stderr.split('`').find(|word| word.starts_with("sed -i")).unwrap_or_default();
    let done = std::process::Command::new("/bin/sh").args(["-c", sed]).status().unwrap();
    assert!(done.success(), "{run}");
    assert_eq!(place.start(&[&crlf]).code, Some(42));

    let plain = place.shown("plain");
    fs::write(place.at("plain"), "#!/bin/sh\nexit 43\n").unwrap();
    let run = place.start(&[&plain]);
    run.says(["hint: make it executable: `chmod a+x"]);
    let chmod = run.stderr.split('`').find(|word| word.starts_with("chmod")).unwrap_or_default();
    let done = std::process::Command::new("/bin/sh").args(["-c", chmod]).status().unwrap();
    assert!(done.success(), "{run}");
    assert_eq!(place.start(&[&plain]).code, Some(43));
}

#[test]
fn a_dynamic_loader_that_is_missing_is_named() {
    let place = Place::new();
    let program = fs::read("/bin/sh").unwrap();
    let at = program.windows(10).position(|bytes| bytes == b"/ld-linux-" || bytes == b"/ld-musl-x");
    let Some(at) = at else { panic!("/bin/sh is static here") };
    let mut changed = program;
    changed[at + 1] = b'z';
    let run = place.start(&[&place.write("dynamic", changed)]);
    assert_eq!(run.code, Some(127), "{run}");
    run.says(["dynamic loader `/", "/zd-", "does not exist", "nothing was changed"]);
    assert!(place.is_unchanged(), "{run}");
}

#[test]
fn a_program_for_another_machine_is_never_given_to_a_shell() {
    let place = Place::new();
    let marker = place.at("marker");
    for (machine, words) in [(0xfff0, "ELF number 65520"), (22, "s390x")] {
        let name = place.write("foreign", foreign(machine, &marker));
        for command in [&name, "foreign"] {
            let run = place.start(&[command]);
            assert_eq!(run.code, Some(126), "{run}");
            run.says([words, "trust stores"]);
            assert!(!marker.exists(), "a shell ran it: {run}");
        }
    }
    // Programs of other systems, archives, scripts in UTF-16.
    let script = format!("#!/bin/sh\n: > {}\n", marker.display());
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(script.bytes().flat_map(|byte| [byte, 0])).collect();
    for (bytes, words) in [
        (b"MZ\x90\0\x03\0\n".to_vec(), "for Windows"),
        (b"\xcf\xfa\xed\xfe\x0c\0\0\x01\n".to_vec(), "Mach-O"),
        (b"PK\x03\x04\x14\0\n".to_vec(), "archive"),
        (utf16, "UTF-16"),
        (b"\x1f\x8b\x08\0\n".to_vec(), "neither an ELF program nor a script"),
    ] {
        let text = format!("\n: > {}\n", marker.display());
        let run = place.start(&[&place.write("other", [&bytes, text.as_bytes()].concat())]);
        assert_eq!(run.code, Some(126), "{run}");
        run.says([words]);
        assert!(!marker.exists(), "a shell ran it: {run}");
    }
}

#[test]
fn what_shells_start_is_started_as_they_do() {
    let place = Place::new();
    // A text without `#!` is a script, with its arguments.
    place.write("script", "printf '%s|' \"$0\" \"$@\"\nexit 7\n");
    let run = place.start(&["script", "a b", ""]);
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (Some(7), &*format!("{}|a b||", place.shown("script"))),
        "{run}"
    );
    // The first of PATH that can be started, as execvp(3) does it.
    let (first, second) = (place.at("first"), place.at("second"));
    fs::create_dir(&first).unwrap();
    fs::create_dir(&second).unwrap();
    fs::write(first.join("tool"), "#!/bin/sh\nexit 1\n").unwrap();
    write_program(&second.join("tool"), "#!/bin/sh\necho \"$0\"\n");
    let path = format!("/nowhere:{}:{}", first.display(), second.display());
    let run = place.bootstrap().arg("tool").env("PATH", &path).run();
    assert_eq!(run.stdout.trim(), second.join("tool").display().to_string(), "{run}");
    // The name that it was called by, and no leftover of ours: SIGPIPE has its default action.
    let run = place.start(&["sh", "-c", "echo $0; kill -PIPE $$; echo survived"]);
    assert_eq!((run.code, run.stdout.as_str()), (None, "sh\n"), "{run}");
    // A program without the right to read it.
    copy_program(Path::new("/bin/true"), &place.at("unreadable"));
    fs::set_permissions(place.at("unreadable"), std::os::unix::fs::PermissionsExt::from_mode(0o111)).unwrap();
    assert_eq!(place.start(&["unreadable"]).code, Some(0));
    // A variable that is not UTF-8 arrives.
    let bytes: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"a\xffb");
    let run =
        place.bootstrap().args(["sh", "-c", "printf %s \"$ODD\" | od -An -tx1"]).env("ODD", bytes).run();
    assert_eq!(run.stdout.trim(), "61 ff 62", "{run}");
}

#[test]
fn a_program_that_is_still_written_says_what_was_done() {
    let place = Place::new();
    copy_program(Path::new("/bin/true"), &place.at("busy"));
    let writer = fs::OpenOptions::new().append(true).open(place.at("busy")).unwrap();
    for done in ["the trust stores are changed as requested", "and nothing was changed"] {
        let run = place.start(&[&place.shown("busy")]);
        assert_eq!(run.code, Some(126), "{run}");
        run.says(["Text file busy", "a process still writes this file: start it when that has ended", done]);
    }
    drop(writer);
    assert_eq!(place.start(&[&place.shown("busy")]).code, Some(0));
}

/// A command line is bytes: file names of another encoding reach the service as they are.
#[test]
fn words_that_are_no_text_reach_the_program_as_they_are() {
    let place = Place::new();
    let word = OsStr::from_bytes(b"caf\xe9");
    let script = "printf '%s' \"$1\" | od -An -tx1 | tr -d ' \\n'";
    let run = place.bootstrap().args(["/bin/sh", "-c", script, "sh"]).arg(word).run();
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), "636166e9"), "{run}");
    // The program's own name, too: found in PATH, and by its path.
    let program = place.write("plain", "#!/bin/sh\necho \"started\"\n");
    let named = place.at("").join(OsStr::from_bytes(b"serveur-\xe9"));
    copy_program(Path::new(&program), &named);
    for name in [named.as_os_str(), named.file_name().unwrap()] {
        let run = place.bootstrap().arg(name).run();
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), "started\n"), "{run}");
    }
    let run = place.bootstrap().arg(OsStr::from_bytes(b"/nowhere/\xe9")).run();
    assert_eq!(run.code, Some(127), "{run}");
    run.says(["could not start the command"]);
}

/// `docker stop` while bootstrap writes: what was begun is finished, and the service is not started.
#[test]
fn a_service_that_is_to_be_stopped_is_not_started() {
    let place = Place::new();
    let marker = place.at("started");
    let run = place.bootstrap().args(["/bin/sh", "-c", ": > \"$0\""]).arg(&marker).stopped_at(1, false);
    let running = run.start();
    assert!(running.stops(), "it stops before its first step");
    running.signal(Signal::TERM);
    running.signal(Signal::CONT);
    let run = running.end();
    assert_eq!(run.code, Some(7), "{run}");
    run.says(["ended by SIGTERM", "run it again"]);
    assert!(!marker.exists(), "{run}");
    // The next start finds everything there.
    let run = place.bootstrap().args(["/bin/sh", "-c", ": > \"$0\""]).arg(&marker).run();
    assert_eq!(run.code, Some(0), "{run}");
    run.says(["already trusted"]);
    assert!(marker.exists(), "{run}");
}
