//! Hints about values that people copy: fingerprints, tokens, passwords, keys, kinds of keys.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use trustup::pki::jose::jwe;
use trustup::pki::key::KeyType;

use super::cases::Cases;
use crate::acme::command::Place;
use crate::acme::{FINISHED, honest};
use crate::support::ca;
use crate::support::enrollment::{Scene, write};
use crate::support::run::{Trustup, unpacked};

#[test]
fn a_fingerprint_is_written_as_the_hint_says() {
    let mut cases = Cases::default();
    let root = unpacked("debian-12-minimal");
    let given = tempfile::tempdir().unwrap();
    let own = ca::root("Fingerprint Root");
    let file = own.write(given.path(), "root.pem");
    let with = |pin: &str| {
        let run = Trustup::at(root.path(), ["--dry-run", "bootstrap", "--fingerprint", pin, "--ca-file"]);
        run.arg(&file)
    };
    let hex = own.fingerprint.hex();
    let digits = hex::decode(&hex).unwrap();
    cases.case(
        "give the 64 hex digits that `step certificate fingerprint root_ca.crt` prints on the CA's host",
        with(" "),
        [with(&hex)],
    );
    cases.case(
        "it may be base64: `step certificate fingerprint root_ca.crt` prints it as hex",
        with(&STANDARD.encode(&digits)),
        [with(&hex)],
    );
    let colons: Vec<String> = digits.iter().map(|byte| format!("{byte:02X}")).collect();
    cases.case(
        "a fingerprint is 64 hex digits, with or without colons",
        with(&hex.replace(['0', '1', '2', '3'], "o")),
        [with(&hex), with(&colons.join(":"))],
    );
    cases.end();
}

#[test]
fn a_provisioners_secrets_are_given_as_the_hint_says() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let file = |name: &str, content: &str| {
        write(&scene.path(name), content.as_bytes(), 0o600);
        scene.path(name)
    };
    let ca = ["--ca-url", &scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex()];
    let with_password = |password: &std::path::Path| {
        let run = Trustup::new(["token", "web.test"]).args(ca).arg("--password-file").arg(password);
        run.env("HOME", scene.directory.path())
    };
    let (good, wrong) = (scene.path("password"), file("wrong", "another password\n"));
    cases.case(
        "it is what `step ca init` or `step ca provisioner add` asked for, or what they were given as a file",
        with_password(&wrong),
        [with_password(&good)],
    );

    // A key that takes seconds to decrypt, and the same one encrypted again.
    let key = jwe::decrypt(scene.ca.provisioner_key(), scene.ca.password().as_bytes()).unwrap();
    let again = jwe::encrypt(&key, "jwk+json", scene.ca.password().as_bytes(), 1000).unwrap();
    let (header, rest) = again.split_once('.').unwrap();
    let header = String::from_utf8(URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    let header = header.replace("\"p2c\":1000", "\"p2c\":5000001");
    let slow = file("slow.jwe", &format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header)));
    let again = file("again.jwe", &again);
    let with_key = |key: &std::path::Path| {
        with_password(&good).args(["--provisioner", scene.ca.provisioner(), "--provisioner-key"]).arg(key)
    };
    cases.case("that would take seconds: encrypt it again with fewer", with_key(&slow), [with_key(&again)]);

    // A token.
    let run = with_password(&good).ok();
    let (token, other) = (file("token", &run.stdout), file("no-token", "the token of web.test\n"));
    assert!(run.stdout.starts_with("ey") && run.stdout.lines().count() == 1, "{run}");
    let spend = |token: &std::path::Path| scene.plain("token").args(ca).arg("--token-file").arg(token);
    cases.case(
        "a token is what `trustup token` or `step ca token` prints: one line that begins with `ey`",
        spend(&other),
        [spend(&token)],
    );
    cases.end();
}

#[test]
fn a_kind_of_key_is_one_that_the_hint_names() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let with = |kind: &str| scene.enroll().arg("--force").env("TRUSTUP_KEY_TYPE", kind);
    let all = KeyType::ALL.map(|kind| kind.to_string());
    let named: Vec<String> = all.iter().map(|kind| format!("`{kind}`")).collect();
    let hint = format!("one of {}", named.join(", "));
    cases.case(&hint, with("ec-p521"), all.iter().map(|kind| with(kind)));
    cases.end();
}

#[test]
fn a_file_with_two_keys_is_divided_as_the_hint_says() {
    let mut cases = Cases::default();
    let server = honest();
    let place = Place::at(&server);
    let keys = ["One Key", "Another Key"].map(|name| ca::root(name).key_pem);
    let with = |name: &str, content: &str| {
        write(&place.path(name), content.as_bytes(), 0o600);
        place.enroll().arg("--account-key").arg(place.path(name))
    };
    cases.as_far_as(
        FINISHED,
        4,
        "give a file with one of them",
        with("both.pem", &keys.concat()),
        [with("one.pem", &keys[0]), with("other.pem", &keys[1])],
    );
    cases.end();
}
