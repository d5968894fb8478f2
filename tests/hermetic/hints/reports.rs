//! Hints of the commands that report, remove and serve, and about the stores that `bootstrap` is told of.

use std::fs;
use std::iter::once_with;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::cases::Cases;
use crate::stores::Scene;
use crate::support::dev_ca::DevCaProcess;
use crate::support::elf::{go_program, program};
use crate::support::enrollment::write;
use crate::support::hints;
use crate::support::run::Trustup;
use crate::support::{binary, ca};

#[test]
fn bootstrap_says_which_stores_it_can_be_told_of() {
    let mut cases = Cases::default();
    let scene = Scene::new("debian-12-minimal");
    let file = |name: &str, bytes: &[u8]| {
        write(&scene.given.path().join(name), bytes, 0o600);
        scene.given.path().join(name).display().to_string()
    };
    let bootstrap = |option: &str, value: &str| scene.bootstrap().args(["--dry-run", option, value]);
    let (latin, line) = (file("latin", b"ge\xfcheim\n"), file("line", "geüheim\n".as_bytes()));
    cases.case(
        "`--java-storepass-file` is a file with the password in its first line",
        bootstrap("--java-storepass-file", &latin),
        [bootstrap("--java-storepass-file", &line)],
    );
    fs::create_dir_all(scene.at("home/person")).unwrap();
    let passwd = "person:x:1000:1000::/home/person:/bin/sh\nhomeless:x:1001:1001::/home/gone:/bin/sh\n\
                  nobody:x:65534:65534::/nonexistent:/bin/false\n";
    fs::write(scene.at("etc/passwd"), passwd).unwrap();
    for user in ["nobody-at-all", "homeless", "nobody"] {
        cases.case(
            "`--nss-user` names root or a person (user id 1000 and above) of /etc/passwd whose home directory is there",
            bootstrap("--nss-user", user),
            [bootstrap("--nss-user", "person"), bootstrap("--nss-db", "/etc/pki/nssdb")],
        );
    }
    cases.case(
        "for example `--nss-db /etc/pki/nssdb`",
        bootstrap("--nss-db", "etc/pki/nssdb"),
        [bootstrap("--nss-db", "/etc/pki/nssdb")],
    );
    let out = scene.at("root.pem");
    cases.case(
        "name a file with `--ca-out FILE`, or omit `--json`",
        scene.bootstrap().args(["--json", "--ca-out", "-"]),
        [
            scene.bootstrap().args(["--json", "--ca-out", "/root.pem"]),
            scene.bootstrap().args(["--ca-out", "-"]),
        ],
    );
    cases.end();
    assert!(out.exists());
}

#[test]
fn the_bundle_that_env_refuses_is_repaired() {
    let mut cases = Cases::default();
    let scene = Scene::new("debian-12-minimal");
    scene.bootstrap().ok();
    let bundle = scene.trustup(["env", "--json"]).ok().json()["bundle"].as_str().unwrap().to_owned();
    fs::remove_file(scene.at(&bundle[1..])).unwrap();
    scene.trustup(["status"]).fails(4);
    cases.case(
        "`trustup bootstrap` with the same options repairs it; `trustup status` shows all stores",
        scene.trustup(["env"]),
        [scene.bootstrap(), scene.trustup(["env"]), scene.trustup(["status"])],
    );
    cases.end();
}

/// A mistyped fingerprint: `status` has the right one.
#[test]
fn untrust_leads_to_what_can_be_removed() {
    let scene = Scene::new("debian-12-minimal");
    scene.bootstrap().ok();
    let run = scene.trustup(["untrust", "--fingerprint", &"ab".repeat(32)]).ok();
    run.says(["nothing to remove; `trustup status` lists what it installed"]);
    let listed = scene.trustup(["status"]).ok();
    let pin = scene.ca.pin();
    assert!(listed.stdout.contains(&pin), "{listed}");
    scene.trustup(["untrust", "--fingerprint", &pin]).ok();
    scene.trustup(["status"]).fails(4).says(["trustup installed no root here"]);
}

/// The private store of one user, and the user's login shell.
#[test]
fn login_shells_of_one_user_read_the_private_store() {
    let home = tempfile::tempdir().unwrap();
    let file = ca::root("Hint Root of a Login Shell").write(home.path(), "root.pem");
    let store = home.path().join("my store");
    let trustup =
        |args: &[&str]| Trustup::new(["--private-dir"]).arg(&store).args(args).env("HOME", home.path());
    trustup(&["bootstrap", "--stores", "private", "--ca-file", file.to_str().unwrap()]).ok();
    let refused = trustup(&["--dry-run", "env", "--install"]).fails(5);
    refused.says(["into that user's own `~/.profile`"]);
    let line = hints::command(&refused, "eval \"$(trustup");
    fs::create_dir(home.path().join("bin")).unwrap();
    symlink(binary::trustup(), home.path().join("bin/trustup")).unwrap();
    // Where trustup is, in an image.
    fs::write(home.path().join(".profile"), format!("PATH=\"$HOME/bin:$PATH\"\n{line}\n")).unwrap();
    let mut shell = Command::new("/bin/sh");
    binary::clear(&mut shell);
    shell.env("HOME", home.path()).env("PATH", "/usr/bin:/bin");
    let said = shell.args(["-lc", "echo \"$SSL_CERT_FILE\""]).output().unwrap();
    let bundle = String::from_utf8(said.stdout).unwrap();
    assert_eq!(bundle.trim(), store.join("ca-bundle.pem").display().to_string());
    assert!(fs::metadata(bundle.trim()).is_ok());
}

#[test]
fn doctor_says_what_a_client_is() {
    let mut cases = Cases::default();
    let scene = Scene::new("scratch");
    scene.bootstrap().ok();
    fs::create_dir_all(scene.at("app")).unwrap();
    let go = go_program("go1.24.4", "path\tserver\n", &["crypto/tls.(*Conn).clientHandshake"]);
    write(&scene.at("app/server"), &go, 0o755);
    let texts = b"\0curl/8.14.1\0/etc/ssl/certs/ca-certificates.crt\0";
    let curl = program(&["libcurl.so.4"], &[(".rodata", texts)]);
    fs::create_dir_all(scene.at("usr/bin")).unwrap();
    write(&scene.at("usr/bin/curl"), &curl, 0o755);
    let doctor = |client: &str| scene.trustup(["doctor", "--client", client]);
    cases.case(
        "any other program is named by its absolute path, such as `--client /app/server`",
        doctor("server"),
        [doctor("/app/server"), doctor("curl"), doctor("go")],
    );
    let listed = scene.trustup(["doctor"]).ok();
    assert!(listed.stdout.contains("/app/server") && listed.stdout.contains("curl"), "{listed}");
    cases.case(
        "`trustup doctor` without `--client` lists the clients that are there; the path of a program is also a client: `--client /app/wget`",
        doctor("wget"),
        [scene.trustup(["doctor"]), doctor("curl"), doctor("/app/server")],
    );
    cases.case(
        "name the program that connects to the server, by its path in",
        doctor("/app/start"),
        [doctor("/app/server")],
    );
    cases.end();
}

/// No server is there: 6 says that doctor went to ask it.
#[test]
fn doctor_says_how_to_name_a_server() {
    let mut cases = Cases::default();
    let doctor = |server: &str| Trustup::new(["--timeout", "5s", "doctor", "--connect", server]);
    let forms = ["127.0.0.1:1", "https://127.0.0.1:1/", "[::1]:1"];
    cases.ends_with(
        6,
        "for example `--connect ca.internal:9000`, `--connect https://ca.internal/`, or `[::1]:443` for an IPv6",
        doctor(":1"),
        forms.map(doctor),
    );
    cases.ends_with(
        6,
        "for example `--connect https://ca.internal/`",
        doctor("http:///"),
        [doctor(forms[1])],
    );
    cases.ends_with(6, "omit the part before `@`", doctor("https://user@127.0.0.1:1/"), [doctor(forms[1])]);
    // What follows is in the hint.
    for (wrong, hint) in [
        ("http://127.0.0.1:1/health", "if TLS listens on that port: `--connect 127.0.0.1:1`"),
        ("http://[::1]:1/", "if TLS listens on that port: `--connect [::1]:1`"),
        ("127.0.0.1", "without a port write `--connect https://127.0.0.1/` for port 443"),
        ("ldaps://127.0.0.1:ldaps", "with HTTPS: `--connect https://127.0.0.1/`; with another protocol: `"),
    ] {
        let followed = once_with(|| {
            let run = doctor(wrong).run();
            let option = hints::commands(&run).into_iter().rfind(|one| !one.contains("PORT")).unwrap();
            Trustup::new(["--timeout", "5s", "doctor"]).args(option.split(' '))
        });
        cases.ends_with(6, hint, doctor(wrong), followed);
    }
    let other = hints::commands(&doctor("ldaps://127.0.0.1").run());
    let other = other.iter().find(|one| one.contains("PORT")).unwrap().replace("PORT", "1");
    let other = Trustup::new(["--timeout", "5s", "doctor"]).args(other.split(' '));
    cases.ends_with(6, "; with another protocol: `--connect", doctor("ldaps://127.0.0.1"), [other]);
    cases.end();
}

#[test]
fn a_ca_whose_password_would_be_shown_is_kept() {
    let refused = Trustup::new(["--json", "dev-ca"]).fails(2);
    refused.says(["keep it: `trustup --json dev-ca --state DIR`"]);
    let elsewhere = Scene::new("scratch");
    elsewhere
        .trustup(["dev-ca"])
        .fails(2)
        .says(["omit `--sysroot`; `--state DIR` sets where the CA is kept"]);
    // Started like that, it says where the password is.
    let mut ca = DevCaProcess::start(&[]);
    assert!(ca.password_file().starts_with(ca.state()));
    ca.terminate();
}

#[test]
fn help_lists_what_there_is() {
    let refused = Trustup::new(["--json", "--no-such-option"]).fails(2);
    refused.says(["`trustup --help` lists the commands and options"]);
    let command = hints::command(&refused, "trustup");
    let run = Trustup::new(command.split(' ').skip(1)).ok();
    for listed in ["bootstrap", "enroll", "--sysroot", "--json"] {
        assert!(run.stdout.contains(listed), "{run}");
    }
    // No command at all is the same mistake.
    Trustup::new(["--json"]).fails(2).says(["`trustup --help` lists the commands and options"]);
}
