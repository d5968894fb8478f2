//! Hints about the command after `--`: what cannot be started is corrected as the hint says, and then it starts.

use std::fs;
use std::iter::once_with;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use super::cases::Cases;
use crate::service::{Place, elf, foreign};
use crate::support::binary;
use crate::support::program::copy_program;
use crate::support::run::{Run, Trustup};

/// What `gzip` makes of nothing.
const COMPRESSED: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0";

/// Each file is of no use, and is made anew in its place.
#[test]
fn a_file_that_is_no_program_is_replaced_by_one() {
    let place = Place::new();
    let mut cases = Cases::default();
    let start = |words: &[&str]| place.bootstrap().args(words);
    let good = |name: &str| copy_program(Path::new("/bin/true"), &place.at(name));
    // An object file: it has the machine of a program, and is none.
    let mut object = elf();
    object[16..18].copy_from_slice(&[1, 0]);
    for (hint, name, bytes) in [
        ("build it for Linux and for this machine", "windows", b"MZ\x90\0\x03\0\n".to_vec()),
        ("build or pull the image for this machine", "foreign", foreign(22, &place.at("marker"))),
        ("copy the program into the image again: a failed download", "empty", Vec::new()),
        ("or copy the program into the image again", "data.gz", COMPRESSED.to_vec()),
        ("the kernel cannot run this file: name a program, or copy", "object", object),
    ] {
        let program = place.write(name, bytes);
        let copied = once_with(|| {
            good(name);
            start(&[&program])
        });
        cases.case(hint, start(&[&program]), copied);
    }
    let data = place.write("more.gz", COMPRESSED);
    cases.case("name the program that can read it", start(&[&data]), [start(&["gzip", "-t", &data])]);

    fs::create_dir(place.at("directory")).unwrap();
    good("directory/program");
    let inside = place.shown("directory/program");
    cases.case("name the program in it", start(&[&place.shown("directory")]), [start(&[&inside])]);
    cases.case("hint: name a program", start(&["/dev/null"]), [start(&["/bin/true"])]);
    symlink(place.at("target"), place.at("link")).unwrap();
    let link = place.shown("link");
    let installed = once_with(|| {
        good("target");
        start(&[&link])
    });
    let other = [start(&["/bin/true"])];
    cases.case(
        "install the program that the link leads to, or name another program",
        start(&[&link]),
        installed.chain(other),
    );
    cases.end();
}

#[test]
fn a_script_whose_first_line_is_wrong_is_corrected() {
    let place = Place::new();
    let mut cases = Cases::default();
    let start = |name: &str| place.bootstrap().arg(place.shown(name));
    let script = |name: &str, first: &str| place.write(name, format!("{first}\nexit 0\n"));
    let shell = |name: &str| symlink("/bin/sh", place.at(name)).unwrap();

    fs::create_dir(place.at("elsewhere")).unwrap();
    shell("elsewhere/shell-of-hint");
    script("by-env", "#!/usr/bin/env shell-of-hint");
    let path = format!("{}:/usr/bin:/bin", place.shown("elsewhere"));
    let in_path = [start("by-env").env("PATH", path)];
    let installed = once_with(|| {
        shell("shell-of-hint");
        start("by-env")
    });
    cases.case(
        "install `shell-of-hint` in the image, or set PATH",
        start("by-env"),
        in_path.into_iter().chain(installed),
    );
    let missing = place.shown("interpreter");
    script("by-path", &format!("#!{missing}"));
    script("other", &format!("#!{missing}"));
    let named = once_with(|| {
        script("other", "#!/bin/sh");
        start("other")
    });
    let installed = once_with(|| {
        shell("interpreter");
        start("by-path")
    });
    cases.case(
        "install that interpreter in the image, or name one that is there in the first line of",
        start("by-path"),
        named.chain(installed),
    );
    let itself = format!("#!{}", place.shown("loop"));
    for (hint, name, first) in [
        ("name a program in its first line, such as `#!/bin/sh`", "loop", itself.as_str()),
        ("name one there, such as `#!/bin/sh`", "bare", "#!"),
    ] {
        script(name, first);
        let corrected = once_with(|| {
            script(name, "#!/bin/sh");
            start(name)
        });
        cases.case(hint, start(name), corrected);
    }
    let text = "#!/bin/sh\nexit 0\n";
    let wide: Vec<u8> = [0xff, 0xfe].into_iter().chain(text.bytes().flat_map(|byte| [byte, 0])).collect();
    place.write("wide", wide);
    let saved = once_with(|| {
        place.write("wide", text);
        start("wide")
    });
    cases.case("save the script as UTF-8, without a byte order mark", start("wide"), saved);
    cases.end();
}

/// A shell that wants another dynamic loader than the system's, which is not there yet.
#[test]
fn a_dynamic_loader_is_brought_into_the_image() {
    let place = Place::new();
    let mut cases = Cases::default();
    let mut program = fs::read("/bin/sh").unwrap();
    let name = program.windows(10).position(|bytes| bytes == b"/ld-linux-" || bytes == b"/ld-musl-x");
    let name = name.unwrap_or_else(|| panic!("/bin/sh is static here"));
    let begin = program[..name].iter().rposition(|byte| *byte == 0).map_or(0, |at| at + 1);
    let end = name + program[name..].iter().position(|byte| *byte == 0).unwrap();
    let systems = String::from_utf8(program[begin..end].to_vec()).unwrap();
    // Another name of the same length: short enough for that of any machine.
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let loader = directory.path().join("ld");
    let mut other = loader.to_str().unwrap().as_bytes().to_vec();
    assert!(other.len() < end - begin, "{} is too long", loader.display());
    other.resize(end - begin, 0);
    program[begin..end].copy_from_slice(&other);
    let program = place.write("dynamic", program);
    let start = || place.bootstrap().args([&*program, "-c", "exit 0"]);

    copy_program(Path::new("/bin/sh"), &place.at("for-this-image"));
    let built = [place.bootstrap().args([&*place.shown("for-this-image"), "-c", "exit 0"])];
    let has_loader = once_with(|| {
        copy_program(Path::new(&systems), &loader);
        start()
    });
    cases.case(
        "a build for this image's C library, or a base image that has this loader",
        start(),
        built.into_iter().chain(has_loader),
    );
    // It is there, and nobody may execute it: only the kernel sees that.
    fs::set_permissions(&loader, fs::Permissions::from_mode(0o644)).unwrap();
    let executable = once_with(|| {
        let listed = Command::new("ls").arg("-l").arg(&loader).output().unwrap();
        assert!(listed.stdout.starts_with(b"-rw-r--r--"), "{listed:?}");
        fs::set_permissions(&loader, fs::Permissions::from_mode(0o755)).unwrap();
        start()
    });
    cases.case(
        "`ls -l` shows whether this user may execute it, its interpreter and its dynamic loader",
        start(),
        executable,
    );
    place.write("damaged", "damaged");
    copy_program(&place.at("damaged"), &loader);
    let copied = once_with(|| {
        copy_program(Path::new(&systems), &loader);
        start()
    });
    cases.case("or its dynamic loader may be damaged: copy them into the image again", start(), copied);
    cases.end();
}

/// Docker runs the shell form as `/bin/sh -c LINE`, and CMD is behind it.
#[test]
fn an_entry_point_says_how_it_is_to_be_written() {
    let place = Place::new();
    let mut cases = Cases::default();
    let in_shell = |line: &str| {
        let words = place.bootstrap().arguments();
        let mut command = Command::new("/bin/sh");
        binary::clear(&mut command);
        command.args(["-c", &format!("{} {} {line}", binary::trustup_str(), words.join(" "))]);
        Trustup::through(command, ["/bin/true"])
    };
    cases.case(
        "ENTRYPOINT in shell form ignores CMD: write it in exec form",
        in_shell(""),
        [place.bootstrap().arg("/bin/true")],
    );
    let mut without = place.bootstrap().arguments();
    assert_eq!(without.pop().as_deref(), Some("--"));
    cases.case("to start nothing, omit `--`", place.bootstrap(), [Trustup::new(without)]);
    cases.case(
        "a variable that it is made of is unset or empty: set it, or write the program itself",
        in_shell("\"$PROGRAM\""),
        [in_shell("\"$PROGRAM\"").env("PROGRAM", "/bin/true"), in_shell("/bin/true")],
    );
    let shell = ["/bin/sh", "-c", "exec $PROGRAM"];
    cases.case(
        "of ENTRYPOINT and CMD no shell replaces variables: write the program itself, or start a shell",
        place.bootstrap().arg("$PROGRAM").env("PROGRAM", "/bin/true"),
        [place.bootstrap().arg("/bin/true"), place.bootstrap().args(shell).env("PROGRAM", "/bin/true")],
    );
    cases.end();
}

/// trustup starts with this many arguments, and the program would not: it has the variables of the private store, too.
#[test]
fn a_command_line_that_is_too_long_is_shortened() {
    let place = Place::new();
    let path = place.at("bin");
    // A quarter of the stack is for arguments and variables (execve(2)).
    let run = |rest: usize| {
        let mut command = Command::new("/bin/sh");
        binary::clear(&mut command);
        command.args(["-c", "ulimit -s 4096; exec \"$@\"", "sh"]).arg(binary::trustup());
        let run = Trustup::through(command, place.bootstrap().arguments()).env("PATH", &path);
        run.arg("/bin/true").args(std::iter::repeat_n("x".repeat(100_000), 10)).arg("x".repeat(rest)).run()
    };
    let is_ours = |run: &Run| run.code == Some(0) || run.stderr.contains("could not start the command");
    let refused = (0..50_000).rev().step_by(300).map(run).find(is_ours).unwrap();
    assert_eq!(refused.code, Some(126), "{}", refused.stderr);
    refused.says(["hint: the arguments and variables are too long together: shorten them"]);
    assert_eq!(run(0).code, Some(0));
}
