//! One message for each kind of error, command and enrollment method that can have it. The exit code is the name's number.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use super::{Snapshots, Varying};
use crate::cli::Scene;
use crate::support::binary::trustup_str;
use crate::support::enrollment::{self, write};
use crate::support::run::Trustup;

/// Messages of one command.
pub(super) struct Messages {
    snapshots: Snapshots,
    pub(super) varying: Varying,
}

impl Messages {
    pub(super) fn of(command: &str, varying: Varying) -> Messages {
        Messages { snapshots: Snapshots::of(&format!("errors/{command}")), varying }
    }

    /// The run fails with the code that is the first part of the name; command and message are the file `NAME.txt`.
    #[track_caller]
    pub(super) fn of_run(&mut self, name: &str, run: Trustup) {
        let code: i32 = name.split('-').next().unwrap().parse().unwrap();
        let mut line = "$ trustup".to_owned();
        // Where a shell redirects streams, the program's path is the last of the shell's own arguments.
        let arguments = run.arguments();
        let own = arguments.iter().position(|one| one == trustup_str()).map_or(0, |at| at + 1);
        for argument in &arguments[own..] {
            let is_plain = !argument.is_empty() && !argument.contains([' ', '"', '\'']);
            line.push_str(&if is_plain { format!(" {argument}") } else { format!(" '{argument}'") });
        }
        let run = run.fails(code);
        assert_eq!(run.stdout, "", "stdout is data: {run}");
        assert!(run.stderr.starts_with("error: ") || run.stderr.contains("\nerror: "), "{run}");
        let text = self.varying.hide(&format!("{line}\n{}", run.stderr));
        self.snapshots.compare(&format!("{name}.txt"), text);
    }

    pub(super) fn end(self) {
        self.snapshots.end();
    }
}

/// A fixture, its files, and what varies of them.
pub(super) fn scene() -> (Scene, Varying) {
    let scene = Scene::new("debian-12");
    let varying = Varying::default()
        .path(scene.root.path(), "[SYSROOT]")
        .path(scene.given.path(), "[DIR]")
        .and(&scene.ca.pin()[..16], "[SHA256:16]");
    (scene, varying)
}

/// The same with a state file that is none.
fn damaged() -> Scene {
    let scene = Scene::new("debian-12");
    fs::create_dir_all(scene.root.path().join("var/lib/trustup")).unwrap();
    fs::write(scene.root.path().join("var/lib/trustup/state.json"), "{").unwrap();
    scene
}

fn other_pin() -> String {
    "12".repeat(32)
}

/// The run with a standard output that takes nothing.
fn full(run: Trustup) -> Trustup {
    run.redirected(">/dev/full")
}

#[test]
fn of_the_command_line() {
    let mut messages = Messages::of("usage", Varying::default());
    messages.of_run("2-misspelt-command", Trustup::new(["bootstarp"]));
    messages.of_run("2-misspelt-option", Trustup::new(["bootstrap", "--nmae", "x"]));
    messages.of_run("2-unknown-word", Trustup::new(["detect", "--color", "sometimes"]));
    messages.of_run("2-bad-duration", Trustup::new(["detect", "--timeout", "soon"]));
    messages.of_run("2-bad-fingerprint", Trustup::new(["bootstrap", "--fingerprint", "ab:cd"]));
    messages.of_run("2-no-hex-digit", Trustup::new(["bootstrap", "--fingerprint", "wxyz"]));
    messages.of_run("2-bad-switch", Trustup::new(["detect"]).env("TRUSTUP_JSON", "perhaps"));
    messages.of_run("2-bad-date", Trustup::new(["bootstrap"]).env("SOURCE_DATE_EPOCH", "today"));
    messages.end();
}

#[test]
fn of_what_only_reads() {
    let (scene, varying) = scene();
    let damaged = damaged();
    let mut messages = Messages::of("reads", varying.path(damaged.root.path(), "[SYSROOT]"));
    messages.of_run("2-detect-no-sysroot", Trustup::at(Path::new("/nowhere/at/all"), ["detect"]));
    for command in ["detect", "status", "doctor", "env"] {
        messages.of_run(&format!("1-{command}-damaged-state"), damaged.trustup([command]));
    }
    messages.of_run("4-env-nothing-installed", scene.trustup(["env"]));
    messages
        .of_run("2-env-two-formats", scene.trustup(["--json", "env", "--format", "sh"]).redirected(">&-"));
    messages.of_run("2-doctor-no-port", scene.trustup(["doctor", "--connect", "ca.internal"]));
    messages.of_run("2-doctor-elsewhere", scene.trustup(["doctor", "--connect", "127.0.0.1:1"]));
    messages.of_run(
        "6-doctor-refused",
        Trustup::new(["doctor", "--connect", "127.0.0.1:1"]).env("HOME", "/nowhere"),
    );
    messages.of_run("1-detect-full", full(scene.trustup(["detect"])));
    messages.end();
}

#[test]
fn of_bootstrap() {
    let (scene, varying) = scene();
    let mut messages = Messages::of("bootstrap", varying);
    let file = scene.file("root.pem").display().to_string();
    let bootstrap = |arguments: &[&str]| {
        scene
            .trustup(["bootstrap"])
            .args(arguments.iter().map(|one| if *one == "FILE" { &file } else { *one }))
    };
    let pin = other_pin();
    messages.of_run("2-no-source", bootstrap(&[]));
    messages.of_run("2-no-pin", bootstrap(&["--ca-url", "https://127.0.0.1:1"]));
    messages.of_run("2-pin-of-nothing", bootstrap(&["--fingerprint", &pin]));
    messages.of_run("2-no-file", bootstrap(&["--ca-file", "/nowhere/root.pem"]));
    messages.of_run("2-no-certificate", bootstrap(&["--ca-file", "/dev/null"]));
    messages.of_run("2-bad-name", bootstrap(&["--ca-file", "FILE", "--name", "../x"]));
    messages.of_run("2-bad-scheme", bootstrap(&["--ca-url", "ftp://ca.test/", "--fingerprint", &pin]));
    messages.of_run("2-command-elsewhere", bootstrap(&["--ca-file", "FILE", "--", "/bin/true"]));
    messages.of_run("4-wrong-pin", bootstrap(&["--ca-file", "FILE", "--fingerprint", &pin]));
    messages.of_run("5-no-native-updater", bootstrap(&["--ca-file", "FILE", "--updater", "native"]));
    messages.of_run("5-no-private-store", bootstrap(&["--ca-file", "FILE", "--stores", "private"]));
    messages.of_run("6-refused", bootstrap(&["--ca-url", "https://127.0.0.1:1", "--fingerprint", &pin]));
    let service = |program: &str| {
        let private = scene.file("private").display().to_string();
        Trustup::new([
            "--private-dir",
            &private,
            "bootstrap",
            "-q",
            "--stores",
            "private",
            "--ca-file",
            &file,
        ])
        .args(["--", program])
    };
    messages.of_run("126-no-program", service(&file));
    messages.of_run("127-no-command", service("/no/such/program"));
    messages.of_run("7-full", full(scene.trustup(["-q", "--json", "bootstrap", "--ca-file", &file])));
    let bundle = scene.root.path().join("etc/ssl/certs/ca-certificates.crt");
    fs::remove_file(&bundle).unwrap();
    fs::create_dir(&bundle).unwrap();
    messages.of_run("1-no-file-in-its-place", bootstrap(&["--ca-file", "FILE"]));
    messages.end();
}

#[test]
fn of_untrust_and_env() {
    let (scene, varying) = scene();
    let damaged = damaged();
    let mut messages = Messages::of("untrust", varying.path(damaged.root.path(), "[SYSROOT]"));
    scene.with_file(&scene.file("root.pem")).ok();
    messages.of_run("2-which", scene.trustup(["untrust"]));
    messages.of_run("1-damaged-state", damaged.trustup(["untrust", "--all"]));
    messages.of_run("7-env-install-full", full(scene.trustup(["-q", "--json", "env", "--install"])));
    messages.of_run("7-full", full(scene.trustup(["-q", "--json", "untrust", "--all"])));
    messages.end();
}

/// A CA that runs, and what varies of it.
fn with_ca() -> (enrollment::Scene, Varying) {
    let scene = enrollment::Scene::new();
    write(&scene.path("wrong"), b"wrong", 0o600);
    let varying = Varying::default().path(scene.directory.path(), "[DIR]");
    (scene, varying)
}

#[test]
fn of_token() {
    let (scene, varying) = with_ca();
    let mut messages = Messages::of("token", varying);
    let (url, pin) = (scene.server.url(), scene.ca.fingerprint().hex());
    let path = |name: &str| scene.path(name).display().to_string();
    let (password, wrong, none) = (path("password"), path("wrong"), path("none"));
    let token = |arguments: &[&str]| {
        Trustup::new(["token", "web.test"]).args(arguments).env("HOME", scene.directory.path())
    };
    let ca = ["--ca-url", &url, "--fingerprint", &pin];
    let with = |arguments: &[&str]| token(&[&ca[..], arguments].concat());
    messages.of_run("2-no-provisioner", with(&[]));
    messages.of_run("2-no-key", with(&["--provisioner", "dev"]));
    messages.of_run("2-no-ca", token(&["--password-file", &password]));
    messages.of_run("2-no-password-file", with(&["--password-file", &none]));
    messages
        .of_run("2-no-such-provisioner", with(&["--provisioner", "nobody", "--password-file", &password]));
    messages.of_run("4-wrong-password", with(&["--password-file", &wrong]));
    let pin = other_pin();
    messages.of_run(
        "4-wrong-pin",
        token(&["--ca-url", &url, "--fingerprint", &pin, "--password-file", &password]),
    );
    let nowhere = ["--ca-url", "https://127.0.0.1:1", "--fingerprint", &pin, "--password-file", &password];
    messages.of_run("6-refused", token(&nowhere));
    messages.of_run("1-full", full(with(&["--password-file", &password])));
    let out = path("token");
    let written = full(with(&["-q", "--json", "--password-file", &password, "--out", &out]));
    messages.of_run("7-full", written);
    messages.end();
}

#[test]
fn of_enroll() {
    let (scene, varying) = with_ca();
    let mut messages = Messages::of("enroll", varying);
    let (url, pin, other) = (scene.server.url(), scene.ca.fingerprint().hex(), other_pin());
    let path = |name: &str| scene.path(name).display().to_string();
    let (password, wrong, none) = (path("password"), path("wrong"), path("none"));
    let (cert, key) = (path("server.crt"), path("server.key"));
    let enroll = |arguments: &[&str]| {
        let files = ["--cert", &cert, "--key", &key, "--timeout", "20s"];
        Trustup::new(["enroll"]).args(arguments).args(files).env("HOME", scene.directory.path())
    };
    let ca = ["--ca-url", &url, "--fingerprint", &pin];
    let with = |arguments: &[&str]| enroll(&[arguments, &ca[..]].concat());
    messages.of_run("2-token-malformed", enroll(&["token", "--token", "none.of.ours"]));
    messages.of_run("2-token-no-file", enroll(&["token", "--token-file", &none]));
    messages.of_run("2-provisioner-no-name", with(&["provisioner", "--password-file", &password]));
    messages.of_run(
        "4-provisioner-name-not-permitted",
        with(&["provisioner", "web.example.com", "--password-file", &password]),
    );
    messages.of_run(
        "4-provisioner-wrong-password",
        with(&["provisioner", "web.test", "--password-file", &wrong]),
    );
    messages.of_run(
        "2-provisioner-unknown",
        with(&["provisioner", "web.test", "--provisioner", "nobody", "--password-file", &password]),
    );
    let wrong_pin = ["provisioner", "web.test", "--ca-url", &url, "--fingerprint", &other];
    let of_wrong_pin = enroll(&[&wrong_pin[..], &["--password-file", &password]].concat());
    messages.of_run("4-provisioner-wrong-pin", of_wrong_pin);
    let nowhere = ["provisioner", "web.test", "--ca-url", "https://127.0.0.1:1", "--fingerprint", &pin];
    messages
        .of_run("6-provisioner-refused", enroll(&[&nowhere[..], &["--password-file", &password]].concat()));
    messages.of_run("2-x5c-no-file", with(&["x5c", "web.test", "--x5c-cert", &none, "--x5c-key", &none]));
    messages.of_run("2-acme-no-ca", enroll(&["acme", "web.test"]));
    let acme = ["acme", "web.test", "--directory", "https://127.0.0.1:1/directory"];
    messages.of_run("6-acme-refused", enroll(&acme));
    messages.of_run("2-elsewhere", enroll(&["token"]).args(["--sysroot", &path("")]));
    messages.of_run(
        "7-full",
        full(with(&["-q", "--json", "provisioner", "web.test", "--password-file", &password])),
    );
    messages.of_run(
        "1-full",
        full(with(&["-q", "--json", "provisioner", "web.test", "--password-file", &password])),
    );
    messages.end();
}

#[test]
fn of_the_others() {
    let (scene, varying) = scene();
    let mut messages = Messages::of("others", varying);
    // What the file has is on stdout.
    let check = |file: &Path| Trustup::new(["config", "check", "--config"]).arg(file).redirected(">&-");
    let config = scene.put("trustup.toml", "[ca\n");
    messages.of_run("2-config-invalid", check(&config));
    let config = scene.put("wrong.toml", "[trust]\nca_fiel = \"x\"\n[[certificate]]\nnames = [1]\n");
    messages.of_run("2-config-wrong", check(&config));
    messages.of_run("2-config-none", Trustup::new(["config", "check", "--config", "/nowhere/trustup.toml"]));
    messages.of_run("2-demo-elsewhere", scene.trustup(["demo"]));
    messages.of_run("1-demo-no-directory", Trustup::new(["demo", "-q"]).env("TMPDIR", "/nowhere/at/all"));
    messages.of_run("2-dev-ca-json", Trustup::new(["-q", "--json", "dev-ca"]).redirected(">&-"));
    messages.of_run("2-dev-ca-other-hosts", Trustup::new(["dev-ca", "--listen", "0.0.0.0:0"]));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    messages.of_run("1-dev-ca-taken", Trustup::new(["dev-ca", "--listen", &address]));
    let state = scene.file("state").display().to_string();
    let dev_ca = ["-q", "--json", "dev-ca", "--listen", "127.0.0.1:0", "--state", &state];
    messages.of_run("7-dev-ca-full", full(Trustup::new(dev_ca)));
    messages.end();
}
