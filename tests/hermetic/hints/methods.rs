//! What `trustup enroll METHOD` lacks, and where its secrets are: each hint is followed as it is printed.

use std::fs;
use std::iter::once_with;
use std::path::Path;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd};
use trustup::pki::jose::jwe;

use super::cases::Cases;
use crate::support::ca::{self, pem};
use crate::support::enrollment::{Scene, write};
use crate::support::run::Trustup;

/// A path as an argument.
pub(super) fn text(path: impl AsRef<Path>) -> String {
    path.as_ref().to_str().expect("UTF-8").to_owned()
}

/// `trustup enroll METHOD --cert … --key … ARGS…`, and nothing about the CA.
pub(super) fn plain(scene: &Scene, method: &str, args: &[&str]) -> Trustup {
    let run =
        Trustup::new(["--timeout", "20s", "enroll", method]).arg("--cert").arg(scene.path("server.crt"));
    let run = run.arg("--key").arg(scene.path("server.key"));
    run.args(args).env("HOME", scene.directory.path())
}

/// `--ca-url URL --fingerprint HEX` of the scene's CA.
pub(super) fn ca_of(scene: &Scene) -> [String; 4] {
    ["--ca-url".to_owned(), scene.server.url(), "--fingerprint".to_owned(), scene.ca.fingerprint().hex()]
}

/// `trustup token web.test --out FILE` with the provisioner's password.
pub(super) fn make_token(scene: &Scene, name: &str) -> String {
    let out = text(scene.path(name));
    let run = Trustup::new(["token", "web.test", "--out", &out]).args(ca_of(scene));
    run.arg("--password-file").arg(scene.path("password")).env("HOME", scene.directory.path()).ok();
    out
}

#[test]
fn the_secrets_of_a_provisioner() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let decrypted =
        jwe::decrypt(scene.ca.provisioner_key(), scene.ca.password().as_bytes()).expect("decrypted");
    write(&scene.path("encrypted.jwk"), scene.ca.provisioner_key().as_bytes(), 0o600);
    write(&scene.path("plain.jwk"), &decrypted, 0o600);
    write(&scene.path("empty"), b"\n", 0o600);
    let [encrypted, bare, empty, password] =
        ["encrypted.jwk", "plain.jwk", "empty", "password"].map(|name| text(scene.path(name)));
    let provisioner =
        |args: &[&str]| plain(&scene, "provisioner", &["web.test", "--force"]).args(ca_of(&scene)).args(args);
    let name = ["--provisioner", scene.ca.provisioner()];
    let with_key = |args: &[&str]| provisioner(&name).args(args);

    cases.case(
        "add `--password-file FILE` (`password_file` in trustup.toml)",
        with_key(&["--provisioner-key", &encrypted]),
        [with_key(&["--provisioner-key", &encrypted, "--password-file", &password])],
    );
    let from_descriptor = with_key(&["--provisioner-key", "-", "--password-file", "fd:3"]);
    cases.case(
        "give one of them as a file, or by a descriptor of its own (`fd:3`)",
        with_key(&["--provisioner-key", "-", "--password-file", "-"]).stdin("x"),
        [
            with_key(&["--provisioner-key", &encrypted, "--password-file", "-"]).stdin(scene.ca.password()),
            with_key(&["--provisioner-key", "-", "--password-file", &password])
                .stdin(scene.ca.provisioner_key()),
            from_descriptor.stdin(scene.ca.provisioner_key()).redirected(&format!("3<{password}")),
        ],
    );
    cases.case(
        "name it with `--provisioner NAME` (`provisioner` in trustup.toml)",
        provisioner(&["--provisioner-key", &bare]),
        [with_key(&["--provisioner-key", &bare])],
    );
    let by = |source: &str| provisioner(&["--password-file", source]);
    cases.case(
        "give it by another one: `fd:3`, and `3<FILE` in the shell; `-` is standard input",
        by("fd:1"),
        [by("fd:3").redirected(&format!("3<{password}")), by("-").stdin(scene.ca.password())],
    );
    cases.case("write it as `fd:3`", by("fd:three"), [by("fd:3").redirected(&format!("3<{password}"))]);
    cases.case(
        "is the right file named and mounted, and may the user who runs trustup read it?",
        by("/nowhere/password"),
        [by(&password)],
    );
    cases.case(
        "is the right file mounted, and was it written to the end?",
        by(&empty),
        once_with(|| {
            write(Path::new(&empty), scene.ca.password().as_bytes(), 0o600);
            by(&empty)
        }),
    );
    cases.end();
}

#[test]
fn the_token_of_a_container() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let by = |file: &str| plain(&scene, "token", &["--force", "--token-file", file]);
    cases.case(
        "make one on the CA's host with `trustup token` or `step ca token`, and hand it over as a file (`--token-file`) or in TRUSTUP_TOKEN",
        plain(&scene, "token", &[]),
        [
            by(&make_token(&scene, "first")),
            plain(&scene, "token", &["--force"])
                .env("TRUSTUP_TOKEN", fs::read_to_string(make_token(&scene, "second")).expect("a token")),
        ],
    );
    write(&scene.path("binary"), &[0x80, 0xff, 0x01], 0o600);
    cases.case(
        "is this the right file? A text secret is ASCII or UTF-8",
        by(&text(scene.path("binary"))),
        [by(&make_token(&scene, "third"))],
    );
    cases.end();
}

/// A birth certificate in `NAME.crt` and `NAME.key`, which the scene's CA does not know.
fn birth(scene: &Scene, name: &str, change: impl FnOnce(&mut CertificateParams)) -> [String; 2] {
    let key = KeyPair::generate().expect("key");
    let mut params = CertificateParams::new(["web.test".to_owned()]).expect("names");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let cert = ca::root("Root Of Birth").sign_for(params, &key);
    let [cert_file, key_file] = ["crt", "key"].map(|end| scene.path(&format!("{name}.{end}")));
    write(&cert_file, pem("CERTIFICATE", &cert).as_bytes(), 0o644);
    write(&key_file, pem("PRIVATE KEY", &key.serialize_der()).as_bytes(), 0o600);
    [text(cert_file), text(key_file)]
}

/// The birth certificate that works is one of the CA's own.
#[test]
fn the_files_of_a_birth_certificate() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    scene.enroll().ok();
    for end in ["crt", "key"] {
        fs::copy(scene.path(&format!("server.{end}")), scene.path(&format!("birth.{end}"))).expect("copied");
    }
    let [cert, key] = ["birth.crt", "birth.key"].map(|name| text(scene.path(name)));
    let x5c = |args: &[&str]| plain(&scene, "x5c", &["web.test", "--force"]).args(ca_of(&scene)).args(args);
    let with = |cert: &str, key: &str| x5c(&["--x5c-cert", cert, "--x5c-key", key]);
    cases.case(
        "they are the birth certificate with its intermediates, and its key",
        x5c(&["--x5c-cert", &cert]),
        [with(&cert, &key)],
    );
    cases.case(
        "`--x5c-cert` is the file of the birth certificate",
        with("/nowhere/birth.crt", &key),
        [with(&cert, &key)],
    );
    cases.case("this file has a private key", with(&key, &cert), [with(&cert, &key)]);
    let [other, _] = birth(&scene, "other", |_| {});
    cases.case(
        "give certificate and key of one pair; the certificate comes first in its file",
        with(&other, &key),
        [with(&cert, &key)],
    );
    let [old, old_key] = birth(&scene, "old", |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let token = make_token(&scene, "token");
    cases.case(
        "get a new one, or enroll with a token",
        with(&old, &old_key),
        [with(&cert, &key), plain(&scene, "token", &["--force", "--token-file", &token])],
    );
    let [server, server_key] = birth(&scene, "server-only", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    cases.case(
        "step-ca requires the key usage digitalSignature and the extended key usage clientAuth",
        with(&server, &server_key),
        [with(&cert, &key)],
    );
    cases.end();
}

#[test]
fn the_server_of_acme() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let acme = |args: &[&str]| {
        plain(&scene, "acme", &["web.test", "--timeout", "1s", "--http-listen", "127.0.0.1:0"]).args(args)
    };
    // Nobody is there; that the server is asked shows that the hint was right.
    cases.ends_with(
        6,
        "or name the server with `--directory URL`",
        acme(&[]),
        [acme(&["--directory", "https://127.0.0.1:1/directory"])],
    );
    cases.end();
}
