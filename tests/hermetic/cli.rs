//! The command line: help, exit codes, errors for people and as data, variables (threats T1, T8), names (T4), bad input.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use rcgen::date_time_ymd;
use serde_json::Value;

use crate::support::ca::{self, Root};
use crate::support::run::{Run, Trustup, unpacked};
use crate::support::tree::Tree;

const COMMANDS: [&str; 7] = ["detect", "bootstrap", "untrust", "status", "env", "config", "demo"];

/// A sysroot, a root certificate's file beside it, and the tree as it was.
pub(super) struct Scene {
    pub(super) root: tempfile::TempDir,
    pub(super) given: tempfile::TempDir,
    pub(super) ca: Root,
    pub(super) before: Tree,
}

impl Scene {
    pub(super) fn new(fixture: &str) -> Scene {
        let root = unpacked(fixture);
        let before = Tree::of(root.path());
        let given = tempfile::tempdir().unwrap();
        let ca = ca::root("Command Line Test Root");
        ca.write(given.path(), "root.pem");
        Scene { root, given, ca, before }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.given.path().join(name)
    }

    pub(super) fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.file(name), content).unwrap();
        self.file(name)
    }

    pub(super) fn trustup<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Trustup {
        Trustup::at(self.root.path(), args)
    }

    /// `bootstrap --ca-file FILE`
    pub(super) fn with_file(&self, file: &Path) -> Trustup {
        self.trustup(["bootstrap", "--ca-file"]).arg(file)
    }

    /// Wants this exit code, each of `words` on stderr, a hint, and an unchanged tree.
    #[track_caller]
    pub(super) fn refuses<'a>(
        &self,
        run: Trustup,
        code: i32,
        words: impl IntoIterator<Item = &'a str>,
    ) -> Run {
        let run = run.fails(code);
        run.says(words);
        let leads_on = run.stderr.contains("hint:") || run.stderr.contains("try '--help'");
        assert!(leads_on, "no hint: {run}");
        assert_eq!(run.stdout, "", "stdout is data: {run}");
        self.before.assert_same(&Tree::of(self.root.path()), "after a refusal");
        run
    }
}

#[test]
fn help_has_examples_and_exit_codes() {
    let top = Trustup::new(["--help"]).ok();
    for command in COMMANDS {
        assert!(top.stdout.contains(command), "{command}: {top}");
        let help = Trustup::new([command, "--help"]).ok();
        for wanted in ["Examples", "Exit codes", "trustup "] {
            assert!(help.stdout.contains(wanted), "`{wanted}` in the help of {command}: {help}");
        }
    }
    let version = Trustup::new(["--version"]).ok();
    assert_eq!(version.stdout.trim(), concat!("trustup ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn usage_errors_are_exit_code_2_with_a_hint() {
    let scene = Scene::new("debian-12");
    let file = scene.file("root.pem").display().to_string();
    let pin = scene.ca.pin();
    let (sha1, md5) = (&pin[..40], &pin[..32]);
    let cases: &[(&[&str], &str)] = &[
        (&["bootstrap"], "--ca-url"),
        (&["bootstrap", "--fingerprint", &pin], "--ca-url"),
        (&["bootstrap", "--ca-url", "https://127.0.0.1:1"], "--fingerprint"),
        (&["bootstrap", "--root-url", "https://127.0.0.1:1/root.crt"], "--fingerprint"),
        (&["bootstrap", "--bundle-url", "http://127.0.0.1:1/bundle.pem"], "--bundle-sha256"),
        (&["bootstrap", "--ca-url", "ftp://127.0.0.1/", "--fingerprint", &pin], "http"),
        (&["bootstrap", "--ca-url", "not a url", "--fingerprint", &pin], "--ca-url"),
        (&["bootstrap", "--ca-file", &file, "--fingerprint", ""], "empty"),
        (&["bootstrap", "--ca-file", &file, "--fingerprint", sha1], "SHA-1"),
        (&["bootstrap", "--ca-file", &file, "--fingerprint", md5], "MD5"),
        (&["bootstrap", "--ca-file", &file, "--fingerprint", "xyz"], "hex"),
        (&["bootstrap", "--ca-file", &file, "--require-pin"], "--fingerprint"),
        (&["bootstrap", "--ca-file", &file, "--stores", "jav"], "jav"),
        (&["bootstrap", "--ca-file", &file, "--stores", "sytem"], "sytem"),
        (&["bootstrap", "--ca-file", &file, "--updater", "sometimes"], "sometimes"),
        (&["bootstrap", "--ca-file", &file, "--timeout", "soon"], "soon"),
        (&["bootstrap", "--ca-file", &file, "--timeout=-3s"], "-3s"),
        (&["bootstrap", "--ca-file", &file, "--wait", "1 fortnight"], "fortnight"),
        (&["bootstrap", "--ca-file", &file, "--", "/bin/true"], "another sysroot"),
        (&["bootstrap", "--ca-file", &file, "--nmae", "x"], "--name"),
        (&["bootstrap", "--ca-file", "/nowhere/root.pem"], "/nowhere/root.pem"),
        (&["untrust"], "--all"),
        (&["untrust", "--fingerprint", sha1], "SHA-1"),
        (&["frobnicate"], "frobnicate"),
    ];
    for (args, wanted) in cases {
        eprintln!("--- {args:?}");
        scene.refuses(scene.trustup(args.iter().copied()), 2, [*wanted]);
        let answer = scene.trustup(args.iter().copied()).arg("--json").run();
        if args.contains(&"--") {
            continue;
        }
        let error = answer.json();
        assert_eq!(
            (&error["error"]["kind"], &error["error"]["exit_code"]),
            (&"usage".into(), &2.into()),
            "{answer}"
        );
        assert_eq!(error["schema_version"], 1);
    }
    let nowhere = Trustup::at(Path::new("/nowhere/at/all"), ["detect"]).fails(2);
    nowhere.says(["/nowhere/at/all", "hint:"]);
}

#[test]
fn each_kind_has_its_exit_code_and_its_json() {
    let scene = Scene::new("debian-12");
    let file = scene.file("root.pem").display().to_string();
    let other = "0".repeat(64);
    let kinds: &[(&[&str], &str, i32)] = &[
        (&["bootstrap"], "usage", 2),
        (&["bootstrap", "--ca-file", &file, "--fingerprint", &other], "not-trusted", 4),
        (&["bootstrap", "--ca-file", &file, "--updater", "native"], "unsupported", 5),
        (&["bootstrap", "--ca-url", "https://127.0.0.1:1", "--fingerprint", &other], "unreachable", 6),
    ];
    for (args, kind, code) in kinds {
        let people = scene.refuses(scene.trustup(args.iter().copied()), *code, []);
        assert!(people.stderr.starts_with("error"), "{people}");
        let data = scene.trustup(args.iter().copied()).arg("--json").fails(*code);
        let answer = data.json();
        assert_eq!(answer["schema_version"], 1);
        assert_eq!(answer["command"], "bootstrap");
        let error = &answer["error"];
        assert_eq!(error["kind"], *kind);
        assert_eq!(error["exit_code"], *code);
        assert!(error["what"].as_str().is_some_and(|what| !what.is_empty()), "{error}");
        assert!(error["hints"].as_array().is_some_and(|hints| !hints.is_empty()), "{error}");
        assert_eq!(error["changed"], Value::Array(Vec::new()));
        assert!(error["causes"].is_array(), "{error}");
    }
    // Failed, nothing changed: 1.
    fs::remove_file(scene.root.path().join("etc/ssl/certs/ca-certificates.crt")).unwrap();
    fs::create_dir(scene.root.path().join("etc/ssl/certs/ca-certificates.crt")).unwrap();
    let answer = scene.with_file(&scene.file("root.pem")).arg("--json").fails(1).json();
    assert_eq!(answer["error"]["kind"], "failed");
    assert!(
        answer["error"]["place"].as_str().is_some_and(|place| place.ends_with("ca-certificates.crt")),
        "{answer}"
    );
}

#[test]
fn global_options_stand_before_and_after_the_command() {
    let scene = Scene::new("debian-12");
    let root = scene.root.path().as_os_str();
    let before = Trustup::new(["--json", "--sysroot"]).arg(root).arg("detect").ok();
    let after = Trustup::new(["detect", "--json", "--sysroot"]).arg(root).ok();
    assert_eq!(before.stdout, after.stdout);
    assert_eq!(before.json()["command"], "detect");
    let from_variable = Trustup::new(["detect", "--json"]).env("TRUSTUP_SYSROOT", root).ok();
    assert_eq!(from_variable.stdout, before.stdout);
}

#[test]
fn talk_is_on_stderr_and_quiet_is_quiet() {
    let scene = Scene::new("debian-12");
    let quiet = scene.with_file(&scene.file("root.pem")).arg("-q").ok();
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    let again = scene.with_file(&scene.file("root.pem")).ok();
    assert!(!again.stderr.is_empty() || !again.stdout.is_empty(), "{again}");
    let escapes = scene.with_file(&scene.file("root.pem")).args(["--color", "never"]).ok();
    assert!(!escapes.stderr.contains('\x1b') && !escapes.stdout.contains('\x1b'), "{escapes}");
}

/// T1: published Dockerfiles set `ENV CA_FINGERPRINT=${CA_FINGERPRINT}`; without the build argument it is empty.
#[test]
fn an_empty_pin_in_a_variable_is_an_error_and_no_connection_is_made() {
    let scene = Scene::new("debian-12");
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let url = format!("https://{}", server.local_addr().unwrap());
    let bundle = format!("{url}/bundle.pem");
    let pin = scene.ca.pin();
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("CA_URL", &url), ("CA_FINGERPRINT", ""), ("CA_BUNDLE_URL", &bundle)], "CA_FINGERPRINT"),
        (&[("CA_URL", &url), ("CA_BUNDLE_URL", &bundle)], "CA_FINGERPRINT"),
        (&[("CA_URL", ""), ("CA_FINGERPRINT", &pin), ("CA_BUNDLE_URL", &bundle)], "CA_FINGERPRINT"),
        (&[("CA_FINGERPRINT", &pin), ("CA_BUNDLE_URL", &bundle)], "CA_FINGERPRINT"),
        (&[("CA_FINGERPRINT", ""), ("CA_BUNDLE_URL", &bundle)], "CA_FINGERPRINT"),
        (&[("CA_URL", ""), ("CA_FINGERPRINT", "")], "CA_FINGERPRINT"),
        (&[("CA_URL", &url), ("TRUSTUP_FINGERPRINT", "")], "TRUSTUP_FINGERPRINT"),
        (&[("TRUSTUP_BUNDLE_URL", &bundle), ("TRUSTUP_BUNDLE_SHA256", "")], "TRUSTUP_BUNDLE_SHA256"),
    ];
    for (variables, wanted) in cases {
        let run =
            variables.iter().fold(scene.trustup(["bootstrap"]), |run, (name, value)| run.env(name, value));
        eprintln!("--- {variables:?}");
        scene.refuses(run, 2, [*wanted]);
        let connection = server.accept().map(|(_, from)| from).map_err(|error| error.kind());
        assert_eq!(connection, Err(std::io::ErrorKind::WouldBlock), "{variables:?}");
    }
    // Any other empty variable counts as unset.
    let run =
        ["CA_URL", "CA_BUNDLE_URL", "TRUSTUP_SYSROOT", "TRUSTUP_NAME", "TRUSTUP_TIMEOUT", "TRUSTUP_CA_FILE"]
            .iter()
            .fold(scene.with_file(&scene.file("root.pem")), |run, name| run.env(name, ""));
    run.ok();
}

#[test]
fn variables_that_name_sources_are_ignored_when_the_command_line_names_one() {
    for fixture in ["debian-12", "scratch"] {
        let scene = Scene::new(fixture);
        let second = ca::root("Root From A Variable");
        let file = second.write(scene.given.path(), "second.pem");
        let run = scene
            .with_file(&scene.file("root.pem"))
            .env("TRUSTUP_CA_FILE", &file)
            .env("TRUSTUP_FINGERPRINT", second.pin())
            .env("CA_URL", "https://127.0.0.1:1")
            .env("CA_FINGERPRINT", second.pin())
            .env("CA_BUNDLE_URL", "https://127.0.0.1:1/bundle.pem")
            .ok();
        run.says(["ignored"]);
        let text = fs::read_to_string(scene.root.path().join("etc/ssl/certs/ca-certificates.crt")).unwrap();
        let held = ca::fingerprint_set(&text);
        assert!(held.contains(&scene.ca.fingerprint) && !held.contains(&second.fingerprint));
        for (path, line) in Tree::of(scene.root.path()).lines {
            if line.starts_with("f ") {
                let text = fs::read(scene.root.path().join(&path)).unwrap();
                assert!(
                    !ca::fingerprints(&String::from_utf8_lossy(&text)).contains(&second.fingerprint),
                    "{path}"
                );
            }
        }
        // Alone, the variable is a source.
        let alone = Scene::new(fixture);
        alone
            .trustup(["bootstrap"])
            .env("TRUSTUP_CA_FILE", &file)
            .env("TRUSTUP_FINGERPRINT", second.pin())
            .ok();
    }
}

#[test]
fn what_weakens_has_no_variable() {
    let scene = Scene::new("debian-12");
    let mut params = ca::root_params("Expired Root");
    params.not_after = date_time_ymd(2021, 1, 1);
    let file = ca::root_with(params).write(scene.given.path(), "expired.pem");
    let run = scene.with_file(&file).env("TRUSTUP_ALLOW_EXPIRED", "true").env("TRUSTUP_ALLOW_EXPIRED", "1");
    scene.refuses(run, 2, ["expired", "--allow-expired"]);
    scene.with_file(&file).arg("--allow-expired").ok();
    Trustup::at(scene.root.path(), ["untrust"]).env("TRUSTUP_ALL", "true").fails(2);
    // Nor has what runs a program.
    let enroll = || {
        let run =
            Trustup::new(["enroll", "acme", "*.web.test", "--directory", "https://127.0.0.1:1/directory"]);
        run.args(["--cert", "/nowhere/server.crt", "--key", "/nowhere/server.key"]).env("HOME", "/none")
    };
    enroll().env("TRUSTUP_DNS_HOOK", "/nowhere/hook").fails(2).says(["--dns-hook"]);
    let asked = enroll().arg("--dns-hook").arg("/nowhere/hook").fails(2);
    asked.says(["the DNS hook is not there"]);
}

/// T8: expected and received are shown, the way out is to compare on the CA's host, never to copy what came.
#[test]
fn a_wrong_fingerprint_is_shown_but_never_offered() {
    let scene = Scene::new("debian-12");
    let wanted = "1234567890abcdef".repeat(4);
    let run = scene.with_file(&scene.file("root.pem")).args(["--fingerprint", &wanted]);
    let run = scene.refuses(run, 4, [wanted.as_str(), scene.ca.pin().as_str()]);
    let hint = run.stderr.split("hint:").nth(1).expect("a hint");
    assert!(hint.contains("CA") && hint.contains("host"), "{run}");
    for line in run.stderr.lines().filter(|line| line.contains(&scene.ca.pin())) {
        assert!(!line.contains("--fingerprint"), "a ready option: {run}");
    }
}

/// T4: no name of ours equals a vendor's, leaves its directory or looks like an option.
#[test]
fn names_are_checked() {
    for fixture in ["debian-12", "alpine-3.23-ca-certificates"] {
        let scene = Scene::new(fixture);
        for name in ["ISRG_Root_X1", "../x", "a/b", ".hidden", "-x", "$(id)", "a b", "", "\u{202e}x"] {
            eprintln!("--- {name:?}");
            let run = scene.with_file(&scene.file("root.pem")).arg(format!("--name={name}"));
            scene.refuses(run, 2, ["name"]);
        }
        scene.with_file(&scene.file("root.pem")).args(["--name", "Company_Root.v2"]).ok();
        let there = Tree::of(scene.root.path());
        assert!(there.lines.contains_key("usr/local/share/ca-certificates/Company_Root.v2.crt"));
    }
}

#[test]
fn stores_none_records_and_touches_no_store() {
    let scene = Scene::new("debian-12");
    let run =
        scene.with_file(&scene.file("root.pem")).args(["--stores", "none", "--fingerprint", &scene.ca.pin()]);
    run.args(["--ca-out", "/tmp/ca.pem"]).ok();
    // A copy for a service, inside the sysroot; untrust leaves it.
    let out = scene.root.path().join("tmp/ca.pem");
    assert_eq!(ca::fingerprints(&fs::read_to_string(&out).unwrap()), [scene.ca.fingerprint]);
    fs::remove_file(&out).unwrap();
    let after = Tree::of(scene.root.path()).without("var/lib/trustup");
    scene.before.assert_same(&after, "stores none");
    scene.trustup(["untrust", "--all"]).ok();
    scene.before.assert_same(&Tree::of(scene.root.path()), "after untrust");
}

#[test]
fn status_says_what_is_missing() {
    let scene = Scene::new("debian-12");
    scene.with_file(&scene.file("root.pem")).ok();
    scene.trustup(["status"]).ok();
    let bundle = scene.root.path().join("etc/ssl/certs/ca-certificates.crt");
    let text = fs::read_to_string(&bundle).unwrap();
    let first = text.find("-----END CERTIFICATE-----\n").unwrap() + "-----END CERTIFICATE-----\n".len();
    // Somebody puts another bundle there.
    fs::write(&bundle, &text[..first]).unwrap();
    let before = Tree::of(scene.root.path());
    scene.trustup(["status"]).fails(4);
    scene.trustup(["status", "--json"]).fails(4).json();
    before.assert_same(&Tree::of(scene.root.path()), "status changes nothing");
    // The next run mends it.
    let answer = scene.with_file(&scene.file("root.pem")).arg("--json").ok().json();
    assert_eq!(answer["changed"], true);
    scene.trustup(["status"]).ok();
}

#[test]
fn untrust_of_what_is_not_there_has_nothing_to_do() {
    let scene = Scene::new("debian-12");
    let unknown = "a".repeat(64);
    for args in [&["untrust", "--fingerprint", unknown.as_str()][..], &["untrust", "--all"]] {
        let answer = scene.trustup(args.iter().copied()).arg("--json").ok().json();
        assert_eq!(answer["changed"], false);
        scene.before.assert_same(&Tree::of(scene.root.path()), "after nothing to do");
    }
}

/// The parser of fingerprints knows what went wrong and what to do: that must get through.
#[test]
fn a_bad_fingerprint_on_the_command_line_or_in_a_variable_has_a_hint() {
    let scene = Scene::new("debian-12");
    for bad in ["", "abc", &scene.ca.pin()[..40], &scene.ca.pin()[..32], &scene.ca.pin()[..63]] {
        let run = scene.with_file(&scene.file("root.pem")).args(["--fingerprint", bad]);
        scene.refuses(run, 2, ["fingerprint", "hint:"]);
        let run =
            scene.trustup(["bootstrap"]).env("CA_URL", "https://127.0.0.1:1").env("CA_FINGERPRINT", bad);
        scene.refuses(run, 2, ["CA_FINGERPRINT", "hint:"]);
    }
}

#[test]
fn ca_out_is_no_way_around_the_stores() {
    let scene = Scene::new("debian-12");
    fs::write(scene.root.path().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
    let before = Tree::of(scene.root.path());
    let forbidden = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/usr/lib/ssl/cert.pem",
        "/usr/lib/ssl/certs/x.pem",
        "/etc/ssl/certs/new.pem",
        "/etc/ssl/cert.pem",
        "/usr/local/share/ca-certificates/new.crt",
        "/var/lib/trustup/state.json",
        "/etc/passwd",
        "/etc",
        "/",
        "relative.pem",
        "/tmp/../etc/ssl/certs/ca-certificates.crt",
    ];
    for path in forbidden {
        eprintln!("--- {path}");
        let run = scene.with_file(&scene.file("root.pem")).args(["--ca-out", path]).run();
        assert!(matches!(run.code, Some(1 | 2)), "{run}");
        run.says(["hint:"]);
        before.assert_same(&Tree::of(scene.root.path()), path);
    }
    // A link leads nowhere outside; a failure changes nothing, or says what it changed.
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), scene.root.path().join("run")).unwrap();
    let before = Tree::of(scene.root.path());
    let run = scene.with_file(&scene.file("root.pem")).args(["--ca-out", "/run/ca.pem"]).run();
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    match run.code {
        Some(1 | 2) => before.assert_same(&Tree::of(scene.root.path()), &format!("{run}")),
        Some(0 | 7) => {}
        _ => panic!("{run}"),
    }
    scene.trustup(["untrust", "--all"]).ok();
    // A dry run writes none; a real one replaces its own of last time.
    scene.with_file(&scene.file("root.pem")).args(["--dry-run", "--ca-out", "/tmp/ca.pem"]).ok();
    assert!(!scene.root.path().join("tmp/ca.pem").exists());
    for _ in 0..2 {
        scene.with_file(&scene.file("root.pem")).args(["--ca-out", "/tmp/ca.pem"]).ok();
        let text = fs::read_to_string(scene.root.path().join("tmp/ca.pem")).unwrap();
        assert_eq!(ca::fingerprints(&text), [scene.ca.fingerprint]);
    }
}

#[test]
fn the_variable_ca_url_is_a_step_ca_or_a_certificate_by_its_path() {
    let scene = Scene::new("debian-12");
    let pin = scene.ca.pin();
    for url in [
        "https://127.0.0.1:1",
        "https://127.0.0.1:1/",
        "http://127.0.0.1:1/a/root.CRT",
        "https://127.0.0.1:1/x.p7b",
    ] {
        let run = scene.trustup(["bootstrap"]).env("CA_URL", url).env("CA_FINGERPRINT", &pin);
        scene.refuses(run, 6, ["127.0.0.1:1"]);
    }
    for url in ["https://127.0.0.1:1/acme", "https://127.0.0.1:1/root", "https://127.0.0.1:1/x.txt"] {
        let run = scene.trustup(["bootstrap"]).env("CA_URL", url).env("CA_FINGERPRINT", &pin);
        scene.refuses(run, 2, ["--ca-url", "--root-url"]);
    }
}
