//! Tokens that cannot work, and what `trustup token` lacks: each hint is followed as it is printed.

use std::fs;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Map, Value, json};
use trustup::dev_ca::X5C;
use trustup::host::env::Env;
use trustup::pki::cert::Certificate;
use trustup::pki::fingerprint::Fingerprint;
use trustup::pki::jose::jws;
use trustup::pki::key::{KeyType, PrivateKey};
use trustup::step_ca::mint::{self, Signer};

use super::cases::Cases;
use super::methods::{ca_of, make_token, plain, text};
use crate::enroll::trusted::token_with;
use crate::support::ca::{self, pem};
use crate::support::enrollment::{Scene, write};
use crate::support::run::Trustup;
use crate::support::step_api::csr;

/// `trustup enroll token --token-file FILE`
fn by(scene: &Scene, file: &str) -> Trustup {
    plain(scene, "token", &["--force", "--token-file", file])
}

/// A token of the scene's CA with other claims, in a file of its own.
fn other_token(scene: &Scene, name: &str, change: impl FnOnce(&mut Map<String, Value>)) -> String {
    let file = token_with(scene, &scene.server.url(), Some(scene.ca.fingerprint()), change);
    let own = scene.path(name);
    fs::rename(file, &own).expect("renamed");
    text(own)
}

#[test]
fn a_token_of_another_ca_is_made_anew() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let url = scene.server.url();
    let elsewhere = |run: Trustup| run.args(ca_of(&scene));
    let foreign = other_token(&scene, "foreign", |claims| {
        claims.insert("aud".to_owned(), json!("https://other.test/1.0/sign"));
    });
    cases.case(
        "make the token with the `--ca-url` that is used here: the CA compares the host name, not the port",
        elsewhere(by(&scene, &foreign)),
        [elsewhere(by(&scene, &make_token(&scene, "first")))],
    );
    let other_root = other_token(&scene, "other-root", |claims| {
        claims.insert("sha".to_owned(), json!(Fingerprint::of(b"another root").hex()));
    });
    cases.case(
        "compare both with what `step certificate fingerprint root_ca.crt` prints on the CA's host; then make a new token",
        elsewhere(by(&scene, &other_root)),
        [elsewhere(by(&scene, &make_token(&scene, "second")))],
    );
    let silent = other_token(&scene, "silent", |claims| {
        claims.remove("sha");
    });
    cases.case(
        "give `--ca-url URL --fingerprint HEX`, or a token that `step ca token` or `trustup token` made for this CA",
        by(&scene, &silent),
        [elsewhere(by(&scene, &silent)), by(&scene, &make_token(&scene, "third"))],
    );
    // One audience is of this host, and not for signing.
    let renewing = format!("{url}/1.0/renew");
    let both = other_token(&scene, "both", |claims| {
        claims.insert("aud".to_owned(), json!(["https://other.test/1.0/sign", renewing]));
    });
    cases.case(
        "make it with the `--ca-url` that is used here: the host name counts, the port does not",
        elsewhere(by(&scene, &both)),
        [elsewhere(by(&scene, &make_token(&scene, "fourth")))],
    );
    let revoking = other_token(&scene, "revoking", |claims| {
        claims.insert("aud".to_owned(), json!(format!("{url}/1.0/revoke")));
    });
    cases.case(
        "make one with `trustup token` or `step ca token`, without `--revoke`, `--renew` or `--ssh`",
        by(&scene, &revoking),
        [by(&scene, &make_token(&scene, "fifth"))],
    );
    // Which of its names the CA has in which spelling, its certificate says.
    let port = scene.server.address().port();
    let spelled = other_token(&scene, "spelled", |claims| {
        claims.insert("aud".to_owned(), json!(format!("https://LocalHost:{port}/1.0/sign")));
    });
    let here = format!("https://localhost:{port}");
    let fingerprint = scene.ca.fingerprint().hex();
    let by_name = |run: Trustup| run.args(["--ca-url", &here, "--fingerprint", &fingerprint]);
    let sixth = text(scene.path("sixth"));
    let make = Trustup::new(["token", "web.test", "--out", &sixth, "--password-file"]);
    cases.case(
        &format!("make it with `--ca-url {here}`"),
        by_name(by(&scene, &spelled)),
        [by_name(make.arg(scene.path("password"))).env("HOME", "/none"), by_name(by(&scene, &sixth))],
    );
    cases.end();
}

#[test]
fn a_token_that_was_changed_or_is_of_another_key() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let whole = make_token(&scene, "whole");
    let mut damaged = fs::read_to_string(&whole).expect("a token").trim_end().to_owned();
    let at = damaged.len() - 20;
    let other = if &damaged[at..=at] == "A" { "B" } else { "A" };
    damaged.replace_range(at..=at, other);
    write(&scene.path("damaged"), damaged.as_bytes(), 0o600);
    let damaged = text(scene.path("damaged"));
    cases.case(
        "copy it again, whole, or make a new one",
        by(&scene, &damaged),
        [by(&scene, &whole), by(&scene, &make_token(&scene, "new"))],
    );
    let former = make_token(&scene, "former");
    let said = jws::peek(fs::read_to_string(&former).expect("a token").trim_end()).expect("a token");
    let key = PrivateKey::generate(KeyType::EcP256).expect("a key");
    let header = Map::from_iter([("kid".to_owned(), json!("of-the-former-provisioner"))]);
    let signed = jws::sign(&key, header, &said.claims).expect("signed");
    write(&scene.path("former"), signed.as_bytes(), 0o600);
    cases.case(
        "the provisioner was created again, or the token is for another CA: make a new token with the current password or key",
        by(&scene, &former),
        [by(&scene, &make_token(&scene, "current"))],
    );
    cases.end();
}

#[test]
fn a_token_of_another_time() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let old = other_token(&scene, "old", |claims| {
        for (claim, ago) in [("iat", 7200), ("nbf", 7200), ("exp", 3600)] {
            claims.insert(claim.to_owned(), json!(Env::os().now() - ago));
        }
    });
    cases.case(
        "and use it before it expires; this machine's clock says ",
        by(&scene, &old),
        [by(&scene, &make_token(&scene, "new"))],
    );
    // Both sides forgive a minute.
    let early = other_token(&scene, "early", |claims| {
        for claim in ["iat", "nbf"] {
            claims.insert(claim.to_owned(), json!(Env::os().now() + 66));
        }
    });
    let refused = by(&scene, &early).fails(4);
    refused.says(["wait until then; or correct the clocks: the one that made the token is ahead"]);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) && by(&scene, &early).run().code != Some(0) {}
    scene.pair();
    cases.end();
}

/// Made while the birth certificate was valid, and used after that.
#[test]
fn a_token_of_a_birth_certificate_that_expired() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let key = KeyPair::generate().expect("key");
    let mut params = CertificateParams::new(["web.test".to_owned()]).expect("names");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
    let birth = pem("CERTIFICATE", &ca::root("Root Of Birth").sign_for(params, &key));
    let birth =
        trustup::pki::cert::input::read(birth.as_bytes(), "birth").expect("certificates").certificates;
    let key = PrivateKey::from_pem(pem("PRIVATE KEY", &key.serialize_der()).as_bytes()).expect("a key");
    let request = mint::TokenRequest {
        provisioner: X5C,
        subject: "web.test",
        names: &[],
        ca_url: &url::Url::parse(&scene.server.url()).expect("a URL"),
        hosts: &[],
        root: Some(scene.ca.fingerprint()),
        now: Env::os().now(),
        valid_for: mint::VALID_FOR,
        csr: None,
    };
    let chain: &[Certificate] = &birth;
    let token = mint::mint(&request, &Signer::X5c { key: &key, chain }).expect("a token");
    write(&scene.path("old"), token.as_bytes(), 0o600);

    // A new birth certificate is one of the CA's own.
    scene.enroll().ok();
    let new = text(scene.path("new"));
    let run = Trustup::new(["token", "web.test", "--provisioner", X5C, "--out", &new]).args(ca_of(&scene));
    let run = run.arg("--x5c-cert").arg(scene.path("server.crt")).env("HOME", "/none");
    run.arg("--x5c-key").arg(scene.path("server.key")).ok();
    cases.case(
        "get a new birth certificate, or enroll with another method",
        by(&scene, &text(scene.path("old"))),
        [
            by(&scene, &new),
            plain(&scene, "provisioner", &["web.test", "--force", "--password-file"])
                .arg(scene.path("password"))
                .args(ca_of(&scene)),
        ],
    );
    cases.end();
}

#[test]
fn what_a_token_is_made_with() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let token = |args: &[&str]| {
        Trustup::new(["token", "web.test"]).args(ca_of(&scene)).args(args).env("HOME", "/none")
    };
    write(&scene.path("encrypted.jwk"), scene.ca.provisioner_key().as_bytes(), 0o600);
    scene.enroll().ok();
    let [encrypted, password, cert, key] =
        ["encrypted.jwk", "password", "server.crt", "server.key"].map(|name| text(scene.path(name)));
    let name = scene.ca.provisioner();
    let by_key = ["--provisioner-key", &*encrypted, "--password-file", &*password];
    cases.case(
        "add `--password-file FILE`",
        token(&["--provisioner", name, "--provisioner-key", &encrypted]),
        [token(&by_key).args(["--provisioner", name])],
    );
    cases.case(
        "add `--provisioner NAME`; on the CA's host `step ca provisioner list` shows them",
        token(&by_key),
        [token(&by_key).args(["--provisioner", name])],
    );
    let birth = ["--provisioner", X5C, "--x5c-cert", &*cert, "--x5c-key", &*key];
    cases.case("give both `--x5c-cert FILE` and `--x5c-key FILE`", token(&birth[..4]), [token(&birth)]);
    cases.case(
        "give either a birth certificate, or the provisioner's password or key",
        token(&birth).args(["--password-file", &password]),
        [token(&birth), token(&["--password-file", &password]), token(&by_key).args(["--provisioner", name])],
    );
    let by_password = |args: &[&str]| token(&["--password-file", &password]).args(args);
    cases.case(
        "the default of `--valid-for` is 5m: long enough to start a container",
        by_password(&["--valid-for", "1s"]),
        [by_password(&["--valid-for", "5m"]), by_password(&[])],
    );
    // For one request: `enroll` makes a key and a request of its own.
    let request = scene.path("web.csr");
    write(&request, csr(&["web.test"], None).1.as_bytes(), 0o644);
    let bound = text(scene.path("bound"));
    by_password(&["--cnf-csr", &text(&request), "--out", &bound]).ok();
    cases.case(
        "make one without `--cnf-csr`; or use it with the key of that request",
        by(&scene, &bound),
        [by(&scene, &make_token(&scene, "unbound"))],
    );
    cases.end();
}
