//! Provisioners, tokens, passwords and birth certificates that do not fit: what is said of them, and which do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use serde_json::json;
use trustup::dev_ca::X5C;
use trustup::pki::jose::jwe;
use trustup::pki::key::{KeyType, PrivateKey};
use trustup::step_ca::mint;

use crate::acme::server::{AcmeServer, Instead};
use crate::support::ca::{self, pem};
use crate::support::enrollment::{Scene, done, write};
use crate::support::run::Trustup;

/// `trustup enroll x5c web.test` with a birth certificate that could sign.
fn by_birth(scene: &Scene) -> Trustup {
    let key = KeyPair::generate().expect("key");
    let mut birth = CertificateParams::new(["birth.test".to_owned()]).expect("names");
    birth.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    birth.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let birth = ca::root("Root Of Birth").sign_for(birth, &key);
    write(&scene.path("birth.crt"), pem("CERTIFICATE", &birth).as_bytes(), 0o644);
    write(&scene.path("birth.key"), pem("PRIVATE KEY", &key.serialize_der()).as_bytes(), 0o600);
    let run = scene.plain("x5c").arg("web.test").args(["--ca-url", &scene.server.url()]);
    let run = run.args(["--fingerprint", &scene.ca.fingerprint().hex()]);
    run.arg("--x5c-cert").arg(scene.path("birth.crt")).arg("--x5c-key").arg(scene.path("birth.key"))
}

#[test]
fn x5c_names_the_right_ones() {
    let scene = Scene::new();
    let of_kind = format!("`{X5C}`");
    let run = by_birth(&scene).args(["--provisioner", scene.ca.provisioner()]).fails(2);
    run.says(["is of type JWK, not X5C", &of_kind]);
    let run = by_birth(&scene).args(["--provisioner", "nobody"]).fails(2);
    run.says(["no provisioner `nobody`", &of_kind]);
}

#[test]
fn a_birth_key_that_all_can_read_is_said() {
    let scene = Scene::new();
    let warning = "can read the birth certificate's key";
    // The CA of the scene does not know this birth certificate: what is said before is what matters.
    let run = by_birth(&scene).run();
    assert!(!run.stderr.contains(warning), "{run}");
    let run = by_birth(&scene);
    fs::set_permissions(scene.path("birth.key"), fs::Permissions::from_mode(0o644)).expect("mode");
    run.run().says([warning, "chmod 600"]);
}

#[test]
fn a_birth_certificate_that_is_its_key_is_said() {
    let scene = Scene::new();
    let run = by_birth(&scene);
    fs::copy(scene.path("birth.key"), scene.path("birth.crt")).expect("copied");
    run.fails(2).says(["has a private key", "`--x5c-cert` is"]);
    let run = by_birth(&scene);
    fs::remove_file(scene.path("birth.crt")).expect("removed");
    run.fails(2).says(["no such file", "`--x5c-cert` is"]);
}

/// The key of a provisioner in every form that `trustup token` takes, and what it lacks.
#[test]
fn a_provisioners_key_is_enough() {
    let scene = Scene::new();
    let password = || Ok(scene.ca.password().as_bytes().to_vec().into());
    let key = mint::read_key(scene.ca.provisioner_key().as_bytes(), password).expect("the key");
    let plain = jwe::decrypt(scene.ca.provisioner_key(), scene.ca.password().as_bytes()).expect("decrypted");
    write(&scene.path("encrypted.jwk"), scene.ca.provisioner_key().as_bytes(), 0o600);
    write(&scene.path("plain.jwk"), &plain, 0o600);
    write(&scene.path("plain.pem"), key.key.to_pem().as_bytes(), 0o600);
    let nameless = || {
        let run =
            scene.plain("provisioner").arg("web.test").args(["--force", "--ca-url", &scene.server.url()]);
        run.args(["--fingerprint", &scene.ca.fingerprint().hex(), "--provisioner-key"])
    };
    let named = |file: &str| nameless().arg(scene.path(file)).args(["--provisioner", scene.ca.provisioner()]);
    let with_password = || named("encrypted.jwk").arg("--password-file").arg(scene.path("password"));
    for run in [with_password(), named("plain.jwk"), named("plain.pem")] {
        assert_eq!(done(&run.ok()).0, "issued");
        scene.pair();
    }
    nameless().arg("-").args(["--provisioner", scene.ca.provisioner()]).stdin(plain.to_vec()).ok();

    named("encrypted.jwk").fails(2).says(["key is encrypted", "--password-file"]);
    named("password").fails(2).says(["no private key", "password"]);
    named("missing").fails(2).says(["could not read the provisioner's key", "mounted"]);
    nameless().arg(scene.path("plain.jwk")).fails(2).says(["not its name", "--provisioner NAME"]);
    let run = nameless().args(["-", "--password-file", "-", "--provisioner", scene.ca.provisioner()]);
    run.stdin(b"x".to_vec()).fails(2).says(["cannot come from the same stream", "fd:3"]);
    write(&scene.path("wrong"), b"wrong", 0o600);
    let run = named("encrypted.jwk").arg("--password-file").arg(scene.path("wrong"));
    run.fails(4).says(["password"]);
    // Another provisioner's key: the CA refuses it, and its list says why.
    let other = PrivateKey::generate(KeyType::EcP256).expect("a key");
    write(&scene.path("other.pem"), other.to_pem().as_bytes(), 0o600);
    named("other.pem").fails(4).says(["refused"]);

    let file = scene.path("trustup.toml");
    let (crt, pair_key) = (scene.path("web.crt"), scene.path("web.key"));
    let config = |more: &str| {
        let text = format!(
            "[ca]\nurl = {:?}\nfingerprint = {:?}\nprovisioner = {:?}\n[[certificate]]\nnames = [\"web.test\"]\ncert = {crt:?}\nkey = {pair_key:?}\nenroll = {{ method = \"provisioner\", provisioner_key = {:?}{more} }}\n",
            scene.server.url(),
            scene.ca.fingerprint().hex(),
            scene.ca.provisioner(),
            scene.path("encrypted.jwk"),
        );
        fs::write(&file, text).expect("written");
        Trustup::new(["--json", "enroll", "--config"]).arg(&file).env("HOME", scene.directory.path())
    };
    config("").fails(2).says(["key is encrypted", "password_file"]);
    let run = config(&format!(", password_file = {:?}", scene.path("password"))).ok();
    assert_eq!(done(&run).0, "issued");
}

/// Every option that names a secret's file says which secret is not there, and what to look at.
#[test]
fn a_secret_that_is_not_there_is_named() {
    let scene = Scene::new();
    let (file, next) = ("/nowhere/file", "is the right file named and mounted");
    let ca = ["--ca-url", &scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex()];
    let run = scene.plain("provisioner").arg("web.test").args(ca).args(["--password-file", file]);
    run.fails(2).says(["could not read the provisioner's password", file, next]);
    let run = scene.plain("token").args(ca).args(["--token-file", file]);
    run.fails(2).says(["could not read the token", file, next]);
    let acme = || {
        let run = scene.plain("acme").args(["web.test", "--directory", "https://127.0.0.1:1/directory"]);
        run.args(["--timeout", "1s"])
    };
    let run = acme().args(["--eab-kid", "1", "--eab-hmac-key-file", file]);
    run.fails(2).says(["could not read the external account's key", file, next]);
    let run =
        acme().args(["--rfc2136-server", "127.0.0.1", "--rfc2136-key-name", "k", "--rfc2136-key-file", file]);
    run.fails(2).says(["could not read the TSIG key", file, next]);
}

/// What some editors put in front of a text is no part of a token.
#[test]
fn a_token_may_stand_behind_a_byte_order_mark() {
    let scene = Scene::new();
    let run = Trustup::new(["token", "web.test", "--ca-url", &scene.server.url(), "--password-file"]);
    let run = run.arg(scene.path("password")).args(["--fingerprint", &scene.ca.fingerprint().hex()]);
    let token = run.env("HOME", "/none").ok().stdout;
    write(&scene.path("token"), format!("\u{feff}  {token}").as_bytes(), 0o600);
    scene.plain("token").arg("--token-file").arg(scene.path("token")).ok();
}

#[test]
fn acme_looks_at_the_list_where_there_is_one() {
    let list = json!({"provisioners": [{"type": "X5C", "name": "birth"}, {"type": "ACME", "name": "auto"}]});
    let step_ca = AcmeServer::start(move |asked, _| {
        asked.path.starts_with("/provisioners").then(|| Instead::Json(200, list.clone()))
    });
    // As Caddy answers what it does not know.
    let other = AcmeServer::start(|_, _| None);
    let none = AcmeServer::start(|asked, _| {
        asked.path.starts_with("/provisioners").then(|| Instead::Text(404, "text/plain", "no".to_owned()))
    });
    let scene = Scene::new();
    let enroll = |server: &AcmeServer, name: &str| {
        let (url, root) = server.known_as();
        let file = scene.path("acme.pem");
        fs::write(&file, root).expect("root");
        let run =
            scene.plain("acme").args(["web.test", "--http-listen", "127.0.0.1:0", "--provisioner", name]);
        run.args(["--ca-url", url.trim_end_matches("/dir"), "--ca-root"]).arg(file).run()
    };
    for (name, what) in [("nobody", "no provisioner `nobody`"), ("birth", "of type X5C, not ACME")] {
        let run = enroll(&step_ca, name);
        assert_eq!(run.code, Some(2), "{run}");
        run.says([what, "those of type ACME are `auto`"]);
        assert_eq!(step_ca.count(&format!("/acme/{name}/directory")), 0);
    }
    for (server, name) in [(&step_ca, "auto"), (&other, "local"), (&none, "local")] {
        let run = enroll(server, name);
        assert_ne!(run.code, Some(2), "{run}");
        assert!(server.count(&format!("/acme/{name}/directory")) > 0, "{run}");
    }
}

#[test]
fn a_token_that_an_earlier_run_sent_is_said_to_be_that() {
    let scene = Scene::new();
    let run = Trustup::new(["token", "web.test", "--ca-url", &scene.server.url(), "--password-file"]);
    let run = run.arg(scene.path("password")).args(["--fingerprint", &scene.ca.fingerprint().hex()]);
    let token = run.env("HOME", "/none").ok().stdout;
    write(&scene.path("token"), token.as_bytes(), 0o600);
    let enroll = || scene.plain("token").arg("--force").arg("--token-file").arg(scene.path("token"));
    enroll().ok();
    enroll().fails(4).says(["presented before, by an earlier run here, at 20", " UTC"]);
}

#[test]
fn an_address_of_a_web_server_draws_a_warning() {
    let scene = Scene::new();
    let ca = ["--ca-url", &scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex()];
    let warning = "you probably mean `web.test`";
    // What the CA makes of it is its own matter.
    let run = scene.enroll_for(&["https://web.test"]).run();
    run.says([warning]);
    let run = Trustup::new(["token", "https://web.test"]).args(ca).arg("--password-file");
    run.arg(scene.path("password")).env("HOME", "/none").ok().says([warning]);
    assert!(!scene.enroll().ok().stderr.contains("as a rule"));
}
