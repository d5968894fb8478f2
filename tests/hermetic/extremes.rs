//! What ends other programs by a signal: input that is nested a hundred thousand times, arguments and variables that are no
//! UTF-8, hardly any descriptors or stack, no threads. The answer is an exit code and a message, whatever it is.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use crate::support::binary;
use crate::support::ca;
use crate::support::program::copy_for_all;
use crate::support::run::{Run, Trustup, unpacked};

const DEPTH: usize = 100_000;

/// It ended by itself, in one of the ways that `--help` lists.
#[track_caller]
fn ended(run: Run, what: &str) -> Run {
    let code = run.code.unwrap_or_else(|| panic!("{what}: ended by a signal: {run}"));
    assert!(matches!(code, 0..=7), "{what}: exit code {code}: {run}");
    assert!(code == 0 || code == 4 || run.stderr.contains("error"), "{what}: no message: {run}");
    run
}

/// DER of this tag in itself, `DEPTH` times, around `inside`.
fn nested(tag: u8, inside: &[u8]) -> Vec<u8> {
    // From the end, since each length has to be known first.
    let mut backwards: Vec<u8> = inside.iter().rev().copied().collect();
    for _ in 0..DEPTH {
        header(&mut backwards, tag);
    }
    backwards.reverse();
    backwards
}

/// Puts tag and length in front of a value that is written backwards.
fn header(backwards: &mut Vec<u8>, tag: u8) {
    let length = backwards.len();
    if length < 128 {
        backwards.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let bytes = &bytes[bytes.iter().position(|&byte| byte != 0).unwrap()..];
        backwards.extend(bytes.iter().rev());
        backwards.push(0x80 | bytes.len() as u8);
    }
    backwards.push(tag);
}

fn wrapped(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut backwards: Vec<u8> = parts.concat().into_iter().rev().collect();
    header(&mut backwards, tag);
    backwards.reverse();
    backwards
}

/// Each is nested, the last ones with the form that has no lengths (BER), or below what makes a PKCS#7 file, a PKCS#12
/// keystore or a key of it.
fn nested_structures() -> Vec<Vec<u8>> {
    const SIGNED_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
    const DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
    let sequence = nested(0x30, b"\x05\x00");
    let explicit = wrapped(0xa0, &[&sequence]);
    let octets = wrapped(0xa0, &[&wrapped(0x04, &[&sequence])]);
    vec![
        wrapped(0x30, &[SIGNED_DATA, &explicit]),
        wrapped(
            0x30,
            &[
                SIGNED_DATA,
                &wrapped(0xa0, &[&wrapped(0x30, &[b"\x02\x01\x01", &nested(0x31, b""), &sequence])]),
            ],
        ),
        wrapped(0x30, &[b"\x02\x01\x03", &wrapped(0x30, &[DATA, &octets])]),
        wrapped(0x30, &[b"\x02\x01\x00", &sequence, b"\x04\x00"]),
        wrapped(
            0x30,
            &[&wrapped(0x30, &[b"\xa0\x03\x02\x01\x02\x02\x01\x01", &sequence]), &sequence, b"\x03\x01\x00"],
        ),
        nested(0x31, b""),
        nested(0xa0, b""),
        nested(0x24, b""),
        [b"\x30\x80".repeat(DEPTH), vec![0; 2 * DEPTH]].concat(),
        b"\x24\x80".repeat(DEPTH),
        sequence,
    ]
}

fn armored(label: &str, der: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")).into_bytes()
}

#[test]
fn nested_der_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let root = unpacked("debian-12");
    let good = ca::root("Beside It").write(place.path(), "good.pem");
    let file = place.path().join("nested");
    let sysroot = root.path();
    let keystore = sysroot.join("etc/ssl/certs/java/cacerts");
    fs::create_dir_all(keystore.parent().unwrap()).unwrap();
    for (number, der) in nested_structures().iter().enumerate() {
        let labels = ["CERTIFICATE", "TRUSTED CERTIFICATE", "PKCS7"].map(|label| armored(label, der));
        for content in labels.iter().chain([der]) {
            fs::write(&file, content).unwrap();
            let run = Trustup::at(sysroot, ["bootstrap", "--ca-file"]).arg(&file).run();
            let run = ended(run, &format!("certificate {number}"));
            assert_eq!(run.code, Some(2), "{run}");
        }
        fs::write(&keystore, der).unwrap();
        let run = Trustup::at(sysroot, ["bootstrap", "--stores", "java", "--ca-file"]).arg(&good).run();
        ended(run, &format!("keystore {number}"));
        ended(Trustup::at(sysroot, ["doctor"]).run(), &format!("doctor {number}"));
        let keys = ["PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"]
            .map(|label| armored(label, der));
        for key in &keys {
            fs::write(&file, key).unwrap();
            let run = token(&good).arg("--provisioner-key").arg(&file).run();
            ended(run, &format!("key {number}"));
        }
        for csr in [armored("CERTIFICATE REQUEST", der), der.clone()] {
            fs::write(&file, csr).unwrap();
            ended(token(&good).arg("--cnf-csr").arg(&file).run(), &format!("request {number}"));
        }
    }
}

fn token(root: &Path) -> Trustup {
    let line = ["token", "web.test", "--ca-url", "https://127.0.0.1:1", "--provisioner", "p", "--ca-root"];
    Trustup::new(line).arg(root).env("HOME", "/nowhere")
}

#[test]
fn nested_text_is_refused() {
    use base64::Engine as _;
    let place = tempfile::tempdir().unwrap();
    let good = ca::root("Beside It").write(place.path(), "good.pem");
    let array = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let object = format!("{}1{}", "{\"a\":".repeat(DEPTH), "}".repeat(DEPTH));
    for json in [&array, &object, &"[".repeat(DEPTH)] {
        let root = unpacked("debian-12");
        for name in ["state.json", "journal.json"] {
            let path = root.path().join("var/lib/trustup").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, json).unwrap();
            for command in [&["status"][..], &["untrust", "--all"], &["doctor"]] {
                ended(Trustup::at(root.path(), command).run(), name);
            }
            let run = Trustup::at(root.path(), ["bootstrap", "--ca-file"]).arg(&good).run();
            assert_eq!(ended(run, name).code, Some(1));
            fs::remove_file(&path).unwrap();
        }
        let policy = root.path().join("etc/firefox/policies/policies.json");
        fs::create_dir_all(policy.parent().unwrap()).unwrap();
        fs::write(&policy, json).unwrap();
        let run = Trustup::at(root.path(), ["bootstrap", "--firefox-policy", "--ca-file"]).arg(&good).run();
        ended(run, "policies");
        let key = place.path().join("key.json");
        fs::write(&key, json).unwrap();
        ended(token(&good).arg("--provisioner-key").arg(&key).run(), "JWK");
        let part = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
        let file = place.path().join("token");
        fs::write(&file, format!("{part}.{part}.{part}")).unwrap();
        let run = Trustup::new(["enroll", "token", "--token-file"]).arg(&file).env("HOME", "/nowhere");
        ended(
            run.arg("--cert").arg(place.path().join("c")).arg("--key").arg(place.path().join("k")).run(),
            "token",
        );
    }
    let table = format!("a = {}1{}", "{b=".repeat(DEPTH), "}".repeat(DEPTH));
    for toml in [
        format!("a = {array}"),
        format!("a = {}", "[".repeat(DEPTH)),
        table,
        format!("[{}a]", "a.".repeat(DEPTH)),
        format!("{}a = 1", "a.".repeat(DEPTH)),
        format!("[[{}a]]", "a.".repeat(DEPTH)),
    ] {
        let config = place.path().join("trustup.toml");
        fs::write(&config, toml).unwrap();
        let run = Trustup::new(["config", "check", "--config"]).arg(&config).run();
        assert_eq!(ended(run, "trustup.toml").code, Some(2));
        ended(Trustup::new(["enroll", "--config"]).arg(&config).run(), "trustup.toml");
    }
}

#[test]
fn what_is_no_utf_8_is_an_ordinary_argument_or_variable() {
    let place = tempfile::tempdir().unwrap();
    let root = unpacked("debian-12");
    let odd = OsString::from_vec(b"\xff\xfe/\x80".to_vec());
    let odd_file = place.path().join(OsString::from_vec(b"r\xffot.pem".to_vec()));
    fs::copy(ca::root("Odd Name").write(place.path(), "root.pem"), &odd_file).unwrap();
    let at = |args: &[&OsStr]| {
        let mut line: Vec<&OsStr> = vec![OsStr::new("--sysroot"), root.path().as_os_str()];
        line.extend(args);
        Trustup::new(line)
    };
    let word = OsStr::new;
    // A path may be any bytes.
    at(&[word("bootstrap"), word("--ca-file"), odd_file.as_os_str()]).ok();
    for arguments in [
        &[&*odd][..],
        &[word("bootstrap"), &odd],
        &[word("bootstrap"), word("--ca-file"), &odd],
        &[word("bootstrap"), word("--ca-url"), &odd],
        &[word("bootstrap"), word("--ca-out"), &odd, word("--ca-file"), odd_file.as_os_str()],
        &[word("bootstrap"), word("--name"), &odd],
        &[word("bootstrap"), word("--"), &odd],
        &[word("enroll"), word("token"), word("--token"), &odd],
        &[word("token"), &odd],
        &[word("config"), word("check"), word("--config"), &odd],
        &[word("doctor"), word("--connect"), &odd],
        &[word("dev-ca"), word("--dry-run"), word("--state"), &odd],
    ] {
        ended(at(arguments).run(), &format!("{arguments:?}"));
        ended(at(arguments).arg("--json").run(), &format!("{arguments:?}"));
        ended(Trustup::new(arguments).env("HOME", place.path()).run(), &format!("{arguments:?} of /"));
    }
    let all = [
        "HOME",
        "PATH",
        "TMPDIR",
        "COLUMNS",
        "LC_ALL",
        "TERM",
        "NO_COLOR",
        "RUST_BACKTRACE",
        "SSL_CERT_FILE",
        "XDG_STATE_HOME",
        "SOURCE_DATE_EPOCH",
        "CA_URL",
        "TRUSTUP_CA_URL",
        "TRUSTUP_TOKEN",
        "https_proxy",
        "JAVA_HOME",
    ];
    for name in all {
        for command in ["status", "detect", "doctor", "env", "--help"] {
            ended(at(&[word(command)]).env(name, &odd).run(), &format!("{name} {command}"));
        }
        ended(Trustup::new(["detect"]).env(name, &odd).run(), name);
        ended(Trustup::new(["enroll"]).env(name, &odd).run(), name);
    }
    // The name that a program is called by is its caller's choice; the kernel makes an empty one of none at all.
    for name in [OsString::new(), odd] {
        let mut command = std::process::Command::new(binary::trustup());
        binary::clear(&mut command);
        command.arg0(&name);
        let run = Trustup::through(command, ["detect", "--list"]).ok();
        assert!(run.stdout.contains("debian"), "{run}");
    }
}

/// Runs it with `ulimit LIMIT`, as this user.
fn limited(binary: &Path, limit: &str, uid: u32, args: &[&str]) -> Run {
    let mut command = std::process::Command::new("/bin/sh");
    binary::clear(&mut command);
    command.args(["-c", &format!("{{ ulimit {limit}; }} && exec \"$@\""), "sh"]).arg(binary);
    let run = Trustup::through(command, args).env("HOME", "/nowhere");
    if uid == 0 { run } else { run.uid(uid) }.run()
}

#[test]
fn with_hardly_any_descriptors_it_fails_like_anything_else() {
    let place = tempfile::tempdir().unwrap();
    let file = ca::root("Few Descriptors").write(place.path(), "root.pem").display().to_string();
    let mut codes = Vec::new();
    // The dynamic linker of a debug build needs one itself.
    let least = if binary::trustup() == binary::debug_build() { 4 } else { 0 };
    let counts = (0..=20).chain([24, 28, 64]);
    for count in counts.filter(|count| *count >= least) {
        let root = unpacked("debian-12");
        let sysroot = root.path().display().to_string();
        let few = format!("-n {count}");
        let run =
            limited(binary::trustup(), &few, 0, &["--sysroot", &sysroot, "bootstrap", "--ca-file", &file]);
        codes.push(ended(run, &few).code.unwrap());
        for command in [&["status"][..], &["untrust", "--all"], &["doctor"], &["token", "a.test"]] {
            let line = [&["--sysroot", &sysroot], command].concat();
            ended(limited(binary::trustup(), &few, 0, &line), &few);
        }
        let server = ["bootstrap", "--ca-url", "https://127.0.0.1:1", "--fingerprint", &"ab".repeat(32)];
        let line = [&["--sysroot", &sysroot], &server[..]].concat();
        ended(limited(binary::trustup(), &few, 0, &line), &few);
    }
    assert!(codes.contains(&1) && codes.last() == Some(&0), "{codes:?}");
}

/// Most containers have 8 MiB of stack, some that are small on purpose a few hundred KiB.
#[test]
fn little_stack_is_enough() {
    let place = tempfile::tempdir().unwrap();
    let file = ca::root("Little Stack").write(place.path(), "root.pem").display().to_string();
    let root = unpacked("debian-12");
    let sysroot = root.path().display().to_string();
    // Frames of a debug build are many times as large.
    let limit = if binary::trustup() == binary::debug_build() { "-s 2048" } else { "-s 256" };
    for line in [&["bootstrap", "--ca-file", &file][..], &["status"], &["doctor"], &["untrust", "--all"]] {
        let line = [&["--sysroot", &*sysroot], line].concat();
        let run = ended(limited(binary::trustup(), limit, 0, &line), limit);
        assert!(matches!(run.code, Some(0 | 4)), "{run}");
    }
}

/// As a user who has no process left: where a thread or a child is needed, that is an error.
#[test]
fn without_threads_it_fails_like_anything_else() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let binary: PathBuf = copy_for_all(binary::trustup(), place.path(), 0o755);
    let server = ["bootstrap", "--ca-url", "https://localhost:1", "--fingerprint", &"ab".repeat(32)];
    for line in [
        &["detect"][..],
        &["status"],
        &["--help"],
        &["--json", "demo"],
        &server,
        &["--json", "dev-ca", "--listen", "127.0.0.1:0", "--state", "/nowhere/at/all"],
    ] {
        ended(limited(&binary, "-u 0 2>/dev/null || ulimit -p 0", 54_321, line), &format!("{line:?}"));
    }
}
