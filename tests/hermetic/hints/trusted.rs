//! Which CA is meant, and which roots vouch for it: each hint is followed as it is printed.

use std::fs;
use std::iter::once_with;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use trustup::dev_ca::{DevCa, Server};
use trustup::host::env::Env;
use trustup::pki::jose::{jwe, jwk};
use trustup::pki::key::{KeyType, PrivateKey};

use super::cases::Cases;
use super::methods::{make_token, plain, text};
use crate::support::ca;
use crate::support::enrollment::{Scene, write};
use crate::support::run::Trustup;
use crate::support::tls_server::TlsServer;

/// `trustup enroll provisioner web.test --password-file … ARGS…`
fn by_password(scene: &Scene, args: &[&str]) -> Trustup {
    plain(scene, "provisioner", &["web.test", "--force", "--password-file"])
        .arg(scene.path("password"))
        .args(args)
}

fn bootstrap(scene: &Scene, state: &str, url: &str, pin: &str) -> Trustup {
    let run = Trustup::new(["bootstrap", "--stores", "private", "--private-dir", state]);
    run.args(["--ca-url", url, "--fingerprint", pin]).env("HOME", scene.directory.path())
}

#[test]
fn the_ca_that_is_meant() {
    let (scene, other) = (Scene::new(), Scene::new());
    let mut cases = Cases::default();
    let (url, pin) = (scene.server.url(), scene.ca.fingerprint().hex());
    let root = scene.path("root.pem");
    write(&root, scene.ca.root_pem().as_bytes(), 0o644);
    let root = text(root);
    let state = text(scene.path("state"));
    fs::create_dir(&state).expect("a directory");
    for one in [&scene, &other] {
        bootstrap(&scene, &state, &one.server.url(), &one.ca.fingerprint().hex()).ok();
    }
    let recorded = |args: &[&str]| by_password(&scene, &["--private-dir", &state]).args(args);
    cases.case(
        "`--ca-url URL --fingerprint HEX`, for one of ",
        recorded(&[]),
        [recorded(&["--ca-url", &url, "--fingerprint", &pin])],
    );
    let strange = ca::root("Strange Root").write(scene.directory.path(), "strange.pem");
    write(
        &scene.path("mixed.pem"),
        format!("{}{}", scene.ca.root_pem(), ca::pem("CERTIFICATE", b"damaged")).as_bytes(),
        0o644,
    );
    let with_root =
        |file: &str, args: &[&str]| by_password(&scene, &["--ca-url", &url, "--ca-root", file]).args(args);
    cases.case(
        "it must have the CA's roots as PEM or DER, and nothing else",
        with_root(&text(scene.path("mixed.pem")), &[]),
        [with_root(&root, &[])],
    );
    // Another file than the CA's: its fingerprint is not the pinned one, and the comparison says so.
    cases.case(
        "compare with what `step certificate fingerprint root_ca.crt` prints on the CA's host",
        with_root(&text(&strange), &["--fingerprint", &pin]),
        [with_root(&root, &["--fingerprint", &pin])],
    );
    cases.case(
        "check the CA's provisioner and its templates; `--issuer-root FILE` names another root for the issued chain",
        with_root(&root, &["--issuer-root", &text(&strange)]),
        [with_root(&root, &["--issuer-root", &root])],
    );
    cases.case(
        "add `--fingerprint HEX` (on the CA's host: `step certificate fingerprint root_ca.crt`) or `--ca-root FILE`",
        by_password(&scene, &["--ca-url", &url]),
        [with_root(&root, &[]), by_password(&scene, &["--ca-url", &url, "--fingerprint", &pin])],
    );
    let token = make_token(&scene, "token");
    let by_token = |args: &[&str]| plain(&scene, "token", &["--force", "--token-file", &token]).args(args);
    cases.case(
        "or omit `--ca-url`: the CA and root are then those of the token",
        by_token(&["--ca-url", &url]),
        [by_token(&[])],
    );
    cases.end();
}

/// The CA was made anew at its address: the recorded root is that of the former one.
#[test]
fn a_ca_that_was_made_anew() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let state = text(scene.path("state"));
    fs::create_dir(&state).expect("a directory");
    let (address, url) = (scene.server.address(), scene.server.url());
    let old_pin = scene.ca.fingerprint().hex();
    bootstrap(&scene, &state, &url, &old_pin).ok();
    let Scene { server, directory, .. } = scene;
    drop(server);
    let ca = Arc::new(DevCa::new(&Env::os()).expect("CA"));
    let server = start_at(&ca, address);
    write(&directory.path().join("password"), ca.password().as_bytes(), 0o600);
    let scene = Scene { ca, server, directory };
    let pin = scene.ca.fingerprint().hex();
    let enroll = |args: &[&str]| {
        by_password(&scene, &["--private-dir", &state, "--ca-url", &url, "--fingerprint", &pin]).args(args)
    };
    let forget = || {
        Trustup::new(["untrust", "--fingerprint", &old_pin, "--private-dir", &state])
            .env("HOME", scene.directory.path())
    };
    cases.case(
        "if the given one is right, `--require-pin` ignores what was recorded; `trustup untrust --fingerprint HEX` forgets it",
        enroll(&[]),
        [enroll(&["--require-pin"]), forget(), enroll(&[])],
    );
    cases.end();
}

/// The port was just given back.
fn start_at(ca: &Arc<DevCa>, address: SocketAddr) -> Server {
    Server::start(Arc::clone(ca), address, &["localhost", "127.0.0.1"]).expect("the former port")
}

/// A step-ca with this list of provisioners and nothing else: enough for a token by password.
struct Listed {
    server: TlsServer,
    root: String,
    directory: tempfile::TempDir,
}

const PASSWORD: &str = "correct-horse";

impl Listed {
    fn new() -> Listed {
        let root = ca::root("Listed");
        let directory = tempfile::tempdir().expect("a directory");
        write(&directory.path().join("password"), PASSWORD.as_bytes(), 0o600);
        let file = text(root.write(directory.path(), "root.pem"));
        Listed { server: TlsServer::start(&root), root: file, directory }
    }

    fn serve(&self, provisioners: &[&Value]) {
        self.server.serve(&json!({ "provisioners": provisioners, "nextCursor": "" }).to_string());
    }

    /// `trustup token web.test --password-file … ARGS…`
    fn token(&self, args: &[&str]) -> Trustup {
        let run = Trustup::new(["--timeout", "20s", "token", "web.test", "--ca-url", &self.server.url()]);
        let run = run.args(["--ca-root", &self.root, "--password-file"]);
        run.arg(self.directory.path().join("password")).args(args).env("HOME", self.directory.path())
    }
}

/// A JWK provisioner whose key the CA keeps, and that key in JSON.
fn jwk_provisioner(name: &str) -> (Value, String) {
    use base64::Engine as _;
    let key = PrivateKey::generate(KeyType::EcP256).expect("a key");
    let public = jwk::of(key.public());
    let mut private = public.clone();
    // PKCS#8 of a P-256 key has its number behind the fixed part of 36 bytes.
    let number = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&key.pkcs8()[36..68]);
    private["d"] = number.into();
    let private = private.to_string();
    let encrypted = jwe::encrypt(private.as_bytes(), "jwk+json", PASSWORD.as_bytes(), 1000).expect("a JWE");
    (json!({ "type": "JWK", "name": name, "key": public, "encryptedKey": encrypted }), private)
}

#[test]
fn the_provisioners_of_a_ca() {
    let listed = Listed::new();
    let mut cases = Cases::default();
    let (one, key) = jwk_provisioner("one");
    let (two, _) = jwk_provisioner("two");
    let acme = json!({ "type": "ACME", "name": "acme" });
    let with = |provisioners: &[&Value], args: &[&str]| {
        listed.serve(provisioners);
        listed.token(args)
    };
    cases.case(
        "`--provisioner NAME`, one of `one`, `two`",
        with(&[&one, &two, &acme], &[]),
        [listed.token(&["--provisioner", "one"]), listed.token(&["--provisioner", "two"])],
    );
    // What the command does to the list of a CA, a test with the real step-ca shows.
    cases.case(
        "`step ca provisioner add NAME --type JWK --create` on the CA's host adds one",
        with(&[&acme], &[]),
        once_with(|| with(&[&acme, &one], &[])),
    );
    cases.case(
        "it has none of type JWK: `step ca provisioner add NAME --type JWK --create` on the CA's host adds one",
        with(&[&acme], &["--provisioner", "one"]),
        once_with(|| with(&[&acme, &one], &["--provisioner", "one"])),
    );
    let mut without_key = one.clone();
    without_key.as_object_mut().expect("an object").remove("encryptedKey");
    let file = listed.directory.path().join("key.jwk");
    write(&file, key.as_bytes(), 0o600);
    cases.case(
        "give the key as a file with `--provisioner-key FILE` (`provisioner_key` in trustup.toml)",
        with(&[&without_key], &["--provisioner", "one"]),
        [listed.token(&["--provisioner", "one", "--provisioner-key", &text(&file)])],
    );
    listed.server.serve_page("<h1>Welcome</h1>");
    cases.case(
        "is this the address of a step-ca, and not a proxy that answers in its place?",
        listed.token(&[]),
        once_with(|| with(&[&one], &[])),
    );
    cases.end();
}
