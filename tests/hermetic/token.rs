//! `trustup token` through the command line: what it makes, what it refuses before anybody is asked, and what a hostile
//! CA gets out of it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use trustup::pki::jose::{jwk, jws};
use trustup::pki::key::{KeyType, PrivateKey};

use crate::support::binary;
use crate::support::ca;
use crate::support::enrollment::Scene;
use crate::support::run::{Run, Trustup};
use crate::support::tls_server::TlsServer;

/// `trustup token web.test` for the scene's CA, which nothing names yet.
fn plain(scene: &Scene) -> Trustup {
    Trustup::new(["--timeout", "20s", "token", "web.test", "--provisioner", scene.ca.provisioner()])
        .env("HOME", scene.directory.path())
}

/// The same with CA and password.
fn whole(scene: &Scene) -> Trustup {
    plain(scene)
        .args(["--ca-url", &scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex()])
        .arg("--password-file")
        .arg(scene.path("password"))
}

fn read(run: &Run) -> jws::DecodedToken {
    jws::peek(run.stdout.trim_end()).unwrap_or_else(|error| panic!("{error}: {run}"))
}

#[test]
fn a_token_is_all_that_a_container_needs() {
    let scene = Scene::new();
    let out = scene.path("token");
    // What stands there is replaced, and its mode does not count.
    fs::write(&out, "old").expect("written");
    fs::set_permissions(&out, fs::Permissions::from_mode(0o644)).expect("mode");
    let run = whole(&scene).args(["--json", "--san", "web.test,127.0.0.1", "--out"]).arg(&out).ok();
    assert_eq!(scene.server.connections(), 2, "one for the root, one for the list");
    let text = fs::read_to_string(&out).expect("the token");
    assert!(!format!("{}{}", run.stdout, run.stderr).contains(text.trim_end()), "{run}");
    assert_eq!(fs::metadata(&out).expect("metadata").permissions().mode() & 0o7777, 0o600);
    let names: Vec<_> = fs::read_dir(scene.directory.path()).expect("a directory").collect();
    assert_eq!(names.len(), 2, "password and token: {names:?}");
    assert_eq!(run.json()["out"], out.to_str().expect("UTF-8"));

    scene.plain("token").arg("--token-file").arg(&out).ok();
    let (leaf, _) = scene.pair();
    assert_eq!(leaf.subject_alt_names().expect("names").len(), 2);
}

#[test]
fn without_a_file_the_token_is_the_data() {
    let scene = Scene::new();
    let run = whole(&scene).args(["--valid-for", "1h"]).ok();
    let token = read(&run);
    assert_eq!(token.time("exp").zip(token.time("iat")).map(|(end, start)| end - start), Some(3600));
    assert_eq!((run.stdout.lines().count(), run.stdout.ends_with('\n')), (1, true));
    assert_eq!(token.claim("sha"), Some(scene.ca.fingerprint().hex().as_str()));
    assert_eq!(token.texts("sans"), ["web.test"]);
    let run = whole(&scene).arg("--json").ok();
    jws::peek(run.json()["token"].as_str().expect("a token")).expect("a token");
    let dry = whole(&scene).args(["--json", "--dry-run"]).ok();
    assert_eq!((&dry.json()["changed"], dry.json().get("token")), (&json!(false), None));
}

/// The CA is asked for its list anyway.
#[test]
fn the_only_provisioner_needs_no_name() {
    let scene = Scene::new();
    let ca = ["--ca-url", &scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex()];
    let token = || {
        let run = Trustup::new(["token", "web.test"]).env("HOME", scene.directory.path()).args(ca);
        run.arg("--password-file").arg(scene.path("password"))
    };
    assert_eq!(read(&token().ok()).claim("iss"), Some(scene.ca.provisioner()));
    token().arg("--dry-run").ok().says(["of the only JWK provisioner"]);

    let root = ca::root("Several");
    let server = TlsServer::start(&root);
    let public = jwk::of(PrivateKey::generate(KeyType::EcP256).expect("a key").public());
    let entry = |name: &str| json!({"type": "JWK", "name": name, "key": public});
    server.serve(&json!({"provisioners": [entry("one"), entry("two")], "nextCursor": ""}).to_string());
    let file = scene.path("root.pem");
    fs::write(&file, &root.pem).expect("written");
    let run = Trustup::new(["token", "web.test", "--ca-url", &server.url(), "--ca-root"]).arg(&file);
    let run = run.arg("--password-file").arg(scene.path("password")).env("HOME", scene.directory.path());
    run.fails(2).says(["several JWK provisioners", "`one`, `two`"]);
}

#[test]
fn the_ca_may_come_from_bootstrap_variables_or_the_configuration() {
    let scene = Scene::new();
    let (url, pin) = (scene.server.url(), scene.ca.fingerprint().hex());
    let password = scene.path("password");
    let of_variables = plain(&scene).env("CA_URL", &url).env("CA_FINGERPRINT", &pin);
    read(&of_variables.arg("--password-file").arg(&password).ok());
    let file = scene.path("trustup.toml");
    fs::write(
        &file,
        format!(
            "[ca]\nurl = \"{url}\"\nfingerprint = \"{pin}\"\nprovisioner = \"{}\"\n",
            scene.ca.provisioner()
        ),
    )
    .expect("written");
    let of_file =
        Trustup::new(["token", "web.test", "--config"]).arg(&file).env("HOME", scene.directory.path());
    read(&of_file.arg("--password-file").arg(&password).ok());
    // The command line's word is the only one (threat T1).
    let run = whole(&scene).env("CA_URL", "https://elsewhere.test").ok();
    run.says(["ignored", "CA_URL"]);
    assert_eq!(read(&run).audience(), [format!("{url}/1.0/sign")]);
}

#[test]
fn what_cannot_be_meant_is_refused_before_anybody_is_asked() {
    let scene = Scene::new();
    let key = scene.path("birth.key");
    fs::write(&key, PrivateKey::generate(KeyType::EcP256).expect("a key").to_pem().as_bytes())
        .expect("written");
    let empty = scene.path("empty");
    fs::write(&empty, "\n").expect("written");
    let cert = scene.path("birth.crt");
    fs::write(&cert, ca::root("Some Root").pem).expect("written");
    let missing = scene.path("missing/token");
    let path = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let password = path(&scene.path("password"));
    let ca =
        ["--ca-url".to_owned(), scene.server.url(), "--fingerprint".to_owned(), scene.ca.fingerprint().hex()];
    for (own, code, words) in [
        (vec![], 2, ["nothing to sign", "--x5c-cert"]),
        (vec!["--password-file", &path(&empty)], 2, ["the password is empty", "mounted"]),
        (vec!["--password-file", "/"], 2, ["expected a file, found a directory", "/"]),
        (vec!["--password-file", "fd:987"], 2, ["descriptor", "fd:987"]),
        (vec!["--password-file", "fd:1"], 2, ["descriptor 1 is for what trustup prints", "fd:3"]),
        (vec!["--x5c-key", &path(&key)], 2, ["go together", "--x5c-cert"]),
        (vec!["--x5c-cert", &path(&cert)], 2, ["go together", "--x5c-key"]),
        (
            vec!["--x5c-cert", &path(&cert), "--x5c-key", &path(&key)],
            2,
            ["not that of the birth", "Some Root"],
        ),
        (
            vec!["--x5c-cert", &path(&cert), "--x5c-key", &path(&key), "--password-file", &password],
            2,
            ["signed with one key", "either"],
        ),
        (vec!["--provisioner-key", &password], 2, ["no private key", "password"]),
        (vec!["--password-file", &password, "--san", "no name"], 2, ["not a host name", "no name"]),
        (
            vec!["--password-file", &password, "--out", &path(&missing)],
            1,
            ["no such directory", "create the directory"],
        ),
        (vec!["--password-file", "/nowhere/password"], 2, ["could not read the password", "mounted"]),
        (vec!["--x5c-cert", &path(&key), "--x5c-key", &path(&cert)], 2, ["private key", "`--x5c-cert` is"]),
        (
            vec!["--password-file", &password, "--cnf-csr", &password],
            2,
            ["certificate signing request", "openssl req"],
        ),
    ] {
        plain(&scene).args(&ca).args(&own).fails(code).says(words);
    }
    // A life that no token has is found only when it is made.
    let of_key = plain(&scene).args(&ca).arg("--provisioner-key").arg(&key);
    of_key.args(["--valid-for", "9s"]).fails(2).says(["between 10 seconds and 24 hours"]);
    let bare = || Trustup::new(["token", "web.test"]).env("HOME", scene.directory.path());
    bare().fails(2).says(["--provisioner NAME"]);
    let of_key = bare().args(&ca).arg("--provisioner-key").arg(&key);
    of_key.fails(2).says(["--provisioner NAME"]);
    // What is open there is trustup's own: nobody handed it over.
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", "exec \"$@\" 3<&-", "sh", binary::trustup_str()]);
    binary::clear(&mut shell);
    let run = Trustup::through(shell, ["token", "web.test", "--password-file", "fd:3"]).args(&ca);
    run.fails(2).says(["descriptor 3 is not open", "3<FILE"]);
    let no_pin = plain(&scene).args(["--ca-url", &scene.server.url(), "--password-file", &password]);
    no_pin.fails(2).says(["no fingerprint", "--ca-root"]);
    plain(&scene).args(["--password-file", &password]).fails(2).says(["the CA is not given"]);
    assert_eq!(scene.server.connections(), 0);
}

/// A CA of this root that answers everything with `body`.
fn hostile(scene: &Scene, root: &ca::Root, body: &str) -> Run {
    let server = TlsServer::start(root);
    server.serve(body);
    let file = scene.path("root.pem");
    fs::write(&file, &root.pem).expect("written");
    let run = plain(scene).args(["--ca-url", &server.url(), "--ca-root"]).arg(&file);
    run.arg("--password-file").arg(scene.path("password")).run()
}

/// A list with one JWK provisioner of the scene's name, whose key is encrypted as `header` says.
fn list(scene: &Scene, header: &Value) -> String {
    let key = PrivateKey::generate(KeyType::EcP256).expect("a key");
    let header = URL_SAFE_NO_PAD.encode(header.to_string());
    let encrypted = format!("{header}.{}.{}.AAAA.{}", "A".repeat(54), "A".repeat(16), "A".repeat(22));
    let public = jwk::of(key.public());
    let entry =
        json!({"type": "JWK", "name": scene.ca.provisioner(), "key": public, "encryptedKey": encrypted});
    json!({"provisioners": [entry], "nextCursor": ""}).to_string()
}

#[test]
fn t19_a_ca_cannot_make_us_work_for_long() {
    let (scene, root) = (Scene::new(), ca::root("Hostile"));
    let header = |alg: &str, count: u64| json!({"alg": alg, "enc": "A256GCM", "p2s": "AAAAAAAAAAAAAAAAAAAAAA", "p2c": count});
    let run = hostile(&scene, &root, &list(&scene, &header("dir", 1)));
    assert_eq!(run.code, Some(5), "{run}");
    for count in [5_000_001, 2_147_483_647, u64::MAX] {
        let run = hostile(&scene, &root, &list(&scene, &header("PBES2-HS256+A128KW", count)));
        assert_eq!(run.code, Some(5), "{run}");
        run.says([&count.to_string(), "5000000"]);
    }
    // One that is paid for, and is not opened by the password.
    let run = hostile(&scene, &root, &list(&scene, &header("PBES2-HS256+A128KW", 1)));
    assert_eq!(run.code, Some(4), "{run}");
    run.says(["the password is wrong"]);
}

#[test]
fn what_is_no_answer_of_a_ca_is_said_to_be_none() {
    let (scene, root) = (Scene::new(), ca::root("Hostile"));
    let long = format!("{{\"provisioners\":[\"{}\"]}}", "x".repeat(5 << 20));
    for (body, code, word) in [
        ("<html><body>gateway</body></html>", 1, "not the JSON that a step-ca sends"),
        ("", 1, "not the JSON that a step-ca sends"),
        ("[]", 1, "not the JSON that a step-ca sends"),
        ("{}", 2, "no provisioner"),
        (r#"{"provisioners":null,"nextCursor":null}"#, 2, "no provisioner"),
        (r#"{"provisioners":[null,5,{"type":"JWK","name":"\u001b[31m"}]}"#, 2, "no provisioner"),
        (r#"{"provisioners":[],"nextCursor":"again"}"#, 2, "no provisioner"),
        (&long, 1, "larger than 4 MiB"),
    ] {
        let run = hostile(&scene, &root, body);
        assert_eq!(run.code, Some(code), "{run}");
        run.says([word]);
        assert!(!run.stderr.contains('\u{1b}'), "{run}");
    }
}

#[test]
fn a_server_under_another_root_learns_nothing() {
    let (scene, root) = (Scene::new(), ca::root("Another"));
    let server = TlsServer::start(&root);
    let file = scene.path("root.pem");
    fs::write(&file, scene.ca.root_pem()).expect("written");
    let run = plain(&scene).args(["--ca-url", &server.url(), "--ca-root"]).arg(&file);
    run.arg("--password-file").arg(scene.path("password")).fails(4).says(["is not trusted"]);
    assert_eq!(server.accepted(), 0);
}
