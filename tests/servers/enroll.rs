//! `trustup enroll` against the real step-ca: every method ends in a pair that openssl verifies, what the CA refuses is
//! explained, and nothing is spent that need not be.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use trustup::pki::jose::jwe;
use trustup::pki::key::PrivateKey;
use trustup::step_ca::mint::{self, Signer};

use crate::support::binary;
use crate::support::run::{Run, Trustup};
use crate::support::servers::{Database, StepCa, StepCaOptions, passes, said, step};

/// A CA, and a place for a pair.
pub(crate) struct Scene {
    pub(crate) ca: StepCa,
    pub(crate) place: TempDir,
}

impl Scene {
    pub(crate) fn new(options: StepCaOptions) -> Scene {
        let place = TempDir::new().expect("a directory");
        std::fs::create_dir(place.path().join("tls")).expect("a directory");
        Scene { ca: StepCa::start(options), place }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// `trustup enroll METHOD --cert … --key …`, and nothing about the CA.
    pub(crate) fn plain(&self, method: &str) -> Trustup {
        Trustup::new(["--json", "--timeout", "20s", "enroll", method])
            .env("HOME", self.place.path())
            .arg("--cert")
            .arg(self.at("tls/web.crt"))
            .arg("--key")
            .arg(self.at("tls/web.key"))
    }

    pub(crate) fn of_ca(&self, method: &str) -> Trustup {
        self.of_ca_at(&self.ca.url(), method)
    }

    /// The same with another spelling of the CA's address.
    pub(crate) fn of_ca_at(&self, url: &str, method: &str) -> Trustup {
        self.plain(method).args(["--ca-url", url, "--fingerprint", &self.ca.fingerprint()])
    }

    pub(crate) fn by_password(&self) -> Trustup {
        let run = self.of_ca("provisioner").args(["--provisioner", StepCa::PROVISIONER, "--password-file"]);
        run.arg(self.ca.password_file())
    }

    pub(crate) fn by_token(&self, token: &str) -> Trustup {
        std::fs::write(self.at("token"), token).expect("written");
        self.of_ca("token").arg("--token-file").arg(self.at("token"))
    }

    /// A token for `web.internal` that we make ourselves.
    pub(crate) fn token(&self, now: i64, ca_url: &str, names: &[&str]) -> String {
        let (status, list) = self.ca.get("/provisioners");
        assert_eq!(status, 200, "{list}");
        let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
        let list = list["provisioners"].as_array().expect("a list");
        let dev = list.iter().find(|one| one["name"] == StepCa::PROVISIONER).expect("the provisioner");
        let encrypted = dev["encryptedKey"].as_str().expect("a key");
        let json = jwe::decrypt(encrypted, self.ca.password().as_bytes()).expect("decrypted");
        let key = PrivateKey::from_jwk(&json).expect("a key");
        let names: Vec<_> = names.iter().map(|name| name.parse().expect("a name")).collect();
        let request = mint::TokenRequest {
            provisioner: StepCa::PROVISIONER,
            subject: "web.internal",
            names: &names,
            ca_url: &ca_url.parse().expect("a URL"),
            hosts: &[],
            root: Some(self.ca.fingerprint().parse().expect("a fingerprint")),
            now,
            valid_for: mint::VALID_FOR,
            csr: None,
        };
        mint::mint(&request, &Signer::Jwk { key: &key, kid: self.ca.kid() }).expect("a token").to_string()
    }

    /// How many certificates the CA was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.ca.log().lines().filter(|line| line.contains("\"path\":\"/1.0/sign\"")).count()
    }

    /// The pair is whole, and openssl finds its way from it to the root.
    #[track_caller]
    pub(crate) fn verify(&self) {
        let (cert, key) = (self.at("tls/web.crt"), self.at("tls/web.key"));
        let verified = openssl(&[
            "verify",
            "-x509_strict",
            "-CAfile",
            path(&self.ca.root_file()),
            "-untrusted",
            path(&cert),
            path(&cert),
        ]);
        assert!(verified.contains(": OK"), "{verified}");
        let of_cert = openssl(&["x509", "-in", path(&cert), "-noout", "-pubkey"]);
        assert_eq!(of_cert, openssl(&["pkey", "-in", path(&key), "-pubout"]));
    }

    pub(crate) fn pair(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let read = |name: &str| std::fs::read(self.at(name)).ok();
        read("tls/web.crt").zip(read("tls/web.key"))
    }
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

pub(crate) fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("/usr/bin/openssl").env_clear().args(arguments).stdin(Stdio::null()).output();
    let output = output.expect("openssl runs");
    assert!(output.status.success(), "openssl {arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).expect("text")
}

pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64
}

pub(crate) fn action(run: &Run) -> String {
    run.json()["certificates"][0]["action"].as_str().expect("an action").to_owned()
}

/// Administrators take the encrypted keys out of the CA's public list; then the key is a file.
#[test]
#[ignore = "needs step-ca and openssl"]
fn a_provisioners_key_in_a_file_needs_nothing_of_the_ca_list() {
    let scene = Scene::new(StepCaOptions { keeps_key: false, ..StepCaOptions::default() });
    let listed = |log: &str| log.matches("\"path\":\"/provisioners").count();
    let run = scene.by_password().arg("web.internal").fails(2);
    run.says(["does not keep the private key", "--provisioner-key FILE"]);
    let before = listed(&scene.ca.log());
    assert!(before > 0, "the list was asked for");
    let key = scene.ca.provisioner_key_file();
    let by_key = || {
        let run = scene.by_password().arg("web.internal").arg("--force").arg("--provisioner-key");
        run.arg(&key)
    };
    let run = by_key().ok();
    assert_eq!(action(&run), "issued", "{run}");
    scene.verify();
    assert_eq!(listed(&scene.ca.log()), before, "the list is not needed: {}", scene.ca.log());
    // Its list explains what it refuses.
    let stranger = PrivateKey::generate(trustup::pki::key::KeyType::EcP256).expect("a key").to_pem();
    std::fs::write(scene.at("other.pem"), stranger.as_bytes()).expect("written");
    let run =
        scene.of_ca("provisioner").args(["--provisioner", StepCa::PROVISIONER, "web.internal", "--force"]);
    let run = run.arg("--provisioner-key").arg(scene.at("other.pem")).fails(4);
    run.says(["refused"]);
    assert!(listed(&scene.ca.log()) > before);
}

#[test]
#[ignore = "needs step-ca and openssl"]
fn every_method_ends_in_a_pair_that_openssl_verifies() {
    let scene = Scene::new(StepCaOptions::default());
    let birth = scene.ca.birth_pair(scene.place.path(), "machine.internal");
    let names = ["web.internal", "10.0.0.7"];
    for key_type in ["ec-p256", "ec-p384", "rsa-2048", "rsa-4096", "ed25519"] {
        let run = scene.by_password().args(names).args(["--force", "--key-type", key_type]).ok();
        assert_eq!(action(&run), "issued", "{run}");
        scene.verify();
    }
    let run = scene.by_token(&scene.token(now(), &scene.ca.url(), &names)).arg("--force").ok();
    assert_eq!(action(&run), "issued", "{run}");
    scene.verify();
    let x5c = scene.of_ca("x5c").args(names).args(["--force", "--provisioner", StepCa::X5C, "--x5c-cert"]);
    let run = x5c.arg(&birth.cert).arg("--x5c-key").arg(&birth.key).ok();
    assert_eq!(action(&run), "issued", "{run}");
    scene.verify();
}

#[test]
#[ignore = "needs step-ca and openssl"]
fn names_of_every_kind_and_the_intermediates_apart() {
    let scene = Scene::new(StepCaOptions::default());
    let names = [
        "web.internal",
        "*.web.internal",
        "10.0.0.7",
        "fd00::7",
        "me@web.internal",
        "spiffe://web.internal/a",
    ];
    let wanted = "DNS:web.internal, DNS:*.web.internal, IP Address:10.0.0.7, IP Address:FD00:0:0:0:0:0:0:7, \
                  email:me@web.internal, URI:spiffe://web.internal/a";
    let sorted = |list: &str| {
        let mut all: Vec<String> = list.split(", ").map(|name| name.trim().to_owned()).collect();
        all.sort();
        all
    };
    let (cert, chain) = (scene.at("tls/web.crt"), scene.at("tls/chain.crt"));
    let is_right = || {
        scene.verify();
        let said = openssl(&["x509", "-in", path(&cert), "-noout", "-ext", "subjectAltName"]);
        let said = said.lines().nth(1).expect("the names");
        assert_eq!(sorted(said), sorted(wanted));
        let (cert, chain) =
            (std::fs::read_to_string(&cert).expect("read"), std::fs::read_to_string(&chain).expect("read"));
        assert!(
            cert.ends_with(&chain)
                && chain.matches("BEGIN").count() == 1
                && cert.matches("BEGIN").count() == 2
        );
    };
    scene.by_password().args(names).arg("--chain").arg(&chain).ok();
    is_right();
    // The same by a token that comes through a descriptor, which gives it once.
    let token = scene.at("token");
    std::fs::write(&token, scene.token(now(), &scene.ca.url(), &names)).expect("written");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "exec \"$@\" 3<\"$0\""]).arg(&token).arg(binary::trustup());
    binary::clear(&mut shell);
    shell.env("HOME", scene.place.path());
    let run =
        Trustup::through(shell, ["--json", "enroll", "token", "--token-file", "fd:3", "--force", "--chain"])
            .arg(&chain)
            .arg("--cert")
            .arg(&cert)
            .arg("--key")
            .arg(scene.at("tls/web.key"))
            .ok();
    assert_eq!(run.json()["certificates"][0]["method"], "token", "{run}");
    is_right();
}

#[test]
#[ignore = "needs step-ca and openssl"]
fn a_token_alone_is_enough_and_the_second_run_needs_no_ca() {
    let mut scene = Scene::new(StepCaOptions::default());
    let token = scene.at("token");
    Trustup::new([
        "token",
        "web.internal",
        "--provisioner",
        StepCa::PROVISIONER,
        "--ca-url",
        &scene.ca.url(),
    ])
    .env("HOME", scene.place.path())
    .args(["--fingerprint", &scene.ca.fingerprint(), "--password-file"])
    .arg(scene.ca.password_file())
    .arg("--out")
    .arg(&token)
    .ok();
    let run = || scene.plain("token").arg("--token-file").arg(&token);
    assert_eq!(action(&run().ok()), "issued");
    scene.verify();
    let (pair, asked) = (scene.pair(), scene.asked());
    assert_eq!(asked, 1);
    // With the spent token, and without any.
    assert_eq!(action(&run().ok()), "kept");
    std::fs::remove_file(&token).expect("removed");
    let again = run().ok();
    assert_eq!((action(&again), again.json()["changed"].clone()), ("kept".to_owned(), false.into()));
    scene.ca.stop();
    let stopped = scene.plain("token").arg("--token-file").arg(scene.at("token")).ok();
    assert_eq!(action(&stopped), "kept");
    assert_eq!(scene.pair(), pair);
}

/// step keeps a name as it is written, and step-ca compares letter by letter.
#[test]
#[ignore = "needs step-ca, step and openssl"]
fn a_token_of_steps_may_have_capitals() {
    let scene = Scene::new(StepCaOptions::default());
    let token = passes(
        step(
            scene.place.path(),
            ["ca", "token", "DB-1.Internal", "--san", "DB-1.Internal", "--san", "db.internal"],
        )
        .args(["--ca-url", &scene.ca.url(), "--root"])
        .arg(scene.ca.root_file())
        .args(["--provisioner", StepCa::PROVISIONER, "--provisioner-password-file"])
        .arg(scene.ca.password_file()),
    );
    let token = String::from_utf8(token.stdout).expect("text");
    let run = scene.by_token(token.trim_end()).ok();
    assert_eq!(action(&run), "issued", "{run}");
    scene.verify();
    // The token is spent, and what it brought is what is asked for.
    assert_eq!(action(&scene.by_token(token.trim_end()).ok()), "kept");
    assert_eq!(action(&scene.by_token(token.trim_end()).args(["db-1.internal", "db.internal"]).ok()), "kept");
}

/// What vouches for the CA that is named says nothing of another server, and the directory's own root pins its chain.
#[test]
#[ignore = "needs step-ca and openssl"]
fn a_directory_may_be_of_another_server_than_the_ca() {
    let scene = Scene::new(StepCaOptions::default());
    let named = StepCa::start(StepCaOptions::default());
    let listen = format!("127.0.0.1:{}", scene.ca.http_port());
    let acme = || {
        let run = scene.plain("acme").args(["localhost", "--directory", &scene.ca.acme_directory()]);
        run.args(["--http-listen", &listen, "--force"])
    };
    let pinned = |run: &Run| run.json()["certificates"][0]["pinned"].as_bool().expect("pinned or not");
    let other = || acme().args(["--ca-url", &named.url(), "--fingerprint", &named.fingerprint()]);
    other().fails(4).says(["is not trusted"]);
    // As for any server on the Web: the system's roots vouch for the connection, and the chain is not pinned.
    let run = other().env("SSL_CERT_FILE", scene.ca.root_file()).ok();
    assert!(!pinned(&run), "{run}");
    run.says(["no root was given for the issued chain"]);
    scene.verify();
    let run = acme().args(["--fingerprint", &scene.ca.fingerprint()]).ok();
    assert!(pinned(&run), "{run}");
    // One of several roots of a file is pinned, too.
    let both =
        [scene.ca.root_file(), named.root_file()].map(|file| std::fs::read_to_string(file).expect("a root"));
    std::fs::write(scene.at("roots.pem"), both.concat()).expect("written");
    let run = acme().arg("--ca-root").arg(scene.at("roots.pem")).ok();
    assert!(pinned(&run), "{run}");
    let run = acme().arg("--ca-root").arg(scene.ca.root_file()).arg("--issuer-root").arg(named.root_file());
    // Both CAs of the tests have one name.
    run.fails(4).says(["is not by the known key of the CA with that name"]);
}

#[test]
#[ignore = "needs step-ca"]
fn a_token_that_cannot_work_is_not_sent() {
    let scene = Scene::new(StepCaOptions::default());
    let url = scene.ca.url();
    for (token, code, words) in [
        (scene.token(now() - 1000, &url, &[]), 4, ["expired", "trustup token"]),
        (scene.token(now() + 1000, &url, &[]), 4, ["not valid before", "clock"]),
        (scene.token(now(), "https://elsewhere.test", &[]), 2, ["elsewhere.test", "--ca-url"]),
        ("no.token".to_owned(), 2, ["not a token", "trustup token"]),
        (" \n".to_owned(), 2, ["the token is empty", "trustup token"]),
    ] {
        let run = scene.by_token(&token).arg("web.internal").fails(code);
        run.says(words);
        if token.len() > 20 {
            assert!(
                !format!("{}{}", run.stdout, run.stderr)
                    .contains(token.rsplit('.').next().expect("a signature"))
            );
        }
    }
    // Names that it is not for: the token is not lost.
    let token = scene.token(now(), &url, &["web.internal"]);
    scene
        .by_token(&token)
        .args(["web.internal", "other.internal"])
        .fails(2)
        .says(["the token is for `web.internal`"]);
    assert_eq!((scene.asked(), scene.pair()), (0, None));
    scene.by_token(&token).ok();
    assert_eq!(scene.asked(), 1);
}

#[test]
#[ignore = "needs step-ca"]
fn what_the_ca_refuses_is_explained_and_the_pair_stays() {
    let mut scene = Scene::new(StepCaOptions::default());
    scene.by_password().arg("web.internal").ok();
    let (url, pair) = (scene.ca.url(), scene.pair());
    // Spent by somebody else.
    let spent = scene.token(now(), &url, &["web.internal"]);
    let elsewhere = TempDir::new().expect("a directory");
    Trustup::new(["enroll", "token"])
        .env("HOME", elsewhere.path())
        .env("TRUSTUP_TOKEN", &spent)
        .args(["--ca-url", &url, "--fingerprint", &scene.ca.fingerprint(), "--cert"])
        .arg(elsewhere.path().join("a.crt"))
        .arg("--key")
        .arg(elsewhere.path().join("a.key"))
        .ok();
    let run = scene.by_token(&spent).arg("--force").fails(4);
    run.says(["the CA refused the token", "used before"]);
    assert_eq!(scene.pair(), pair);

    // From before the CA's start.
    let early = scene.token(now(), &url, &["web.internal"]);
    scene.ca.restart();
    let run = scene.by_token(&early).arg("--force").fails(4);
    run.says(["the CA refused the token", "started after the token was made"]);
    assert_eq!(scene.pair(), pair);
    // What is minted here is younger.
    scene.by_password().args(["web.internal", "--force"]).ok();
    scene.verify();
    assert_ne!(scene.pair(), pair);

    // Lives that the CA does not give: its own words are shown.
    let pair = scene.pair();
    for life in ["48h", "2m"] {
        let run = scene.by_password().args(["web.internal", "--force", "--not-after", life]).fails(4);
        run.says(["the CA says", "duration"]);
        assert_eq!(scene.pair(), pair);
    }
    scene.by_password().args(["web.internal", "--force", "--not-after", "1h"]).ok();
    scene.verify();
}

/// The binary under a clock of its own, at the real CA.
#[test]
#[ignore = "needs step-ca and libfaketime"]
fn a_clock_that_is_wrong_is_named() {
    let scene = Scene::new(StepCaOptions::default());
    let under = |offset: &str, run: Trustup| {
        run.on_debug_build()
            .env("LD_PRELOAD", faketime())
            .env("FAKETIME", offset)
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    };
    // Ahead, beyond what step-ca forgives: what is minted here is refused, what others minted is not.
    for offset in ["+90s", "+4m"] {
        let run = under(offset, scene.by_password().arg("web.internal")).fails(4);
        run.says(["not valid yet by the CA's clock", "ahead of the CA's", "forgives 60 s"]);
        assert_eq!(scene.pair(), None, "{offset}");
    }
    let token = || scene.token(now(), &scene.ca.url(), &["web.internal"]);
    under("+90s", scene.by_token(&token()))
        .ok()
        .says(["warning: this machine's clock is", "ahead of the CA's"]);
    scene.verify();
    under("+30s", scene.by_password().args(["web.internal", "--force"])).ok();
    let pair = scene.pair();
    // Further ahead, a token seems to have ended, and then the CA's own certificate.
    let run = under("+10m", scene.by_token(&token()).arg("--force")).fails(4);
    run.says(["expired", "clock"]);
    let run = under("+30h", scene.by_password().args(["web.internal", "--force"])).fails(4);
    run.says(["its certificate expired", "this machine's clock says"]);
    // Behind, the CA's certificate has not begun, nor has a token.
    for offset in ["-1h", "-10m"] {
        let run = under(offset, scene.by_password().args(["web.internal", "--force"])).fails(4);
        run.says(["its certificate is not valid before", "this machine's clock says"]);
    }
    let run = under("-10m", scene.by_token(&token()).arg("--force")).fails(4);
    run.says(["not valid before", "this one is behind"]);
    assert_eq!(scene.pair(), pair, "untouched");
}

/// Debian's libfaketime, which makes a program see another time.
pub(crate) fn faketime() -> PathBuf {
    let machine = std::env::consts::ARCH;
    PathBuf::from(format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1"))
}

#[test]
#[ignore = "needs step-ca"]
fn passwords_provisioners_and_birth_certificates_that_do_not_fit() {
    let scene = Scene::new(StepCaOptions { database: Database::None, ..StepCaOptions::default() });
    std::fs::write(scene.at("wrong"), "hunter2\n").expect("written");
    let by = |provisioner: &str| {
        scene.of_ca("provisioner").args(["web.internal", "--provisioner", provisioner, "--password-file"])
    };
    let run = by(StepCa::PROVISIONER).arg(scene.at("wrong")).fails(4);
    run.says(["the password is wrong"]);
    assert!(!format!("{}{}", run.stdout, run.stderr).contains("hunter2"), "{run}");
    by("nobody").arg(scene.at("wrong")).fails(2).says(["no provisioner `nobody`", "`dev`"]);

    let old = scene.ca.birth_pair_with(scene.place.path(), "machine.internal", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let by = |provisioner: &str| {
        let run = scene.of_ca("x5c").args(["web.internal", "--provisioner", provisioner, "--x5c-cert"]);
        run.arg(&old.cert).arg("--x5c-key").arg(&old.key)
    };
    by(StepCa::X5C).fails(4).says(["birth certificate", "expired on 2021-01-01"]);
    // A good one, of an authority that the provisioner does not know.
    let stranger = crate::support::ca::root("Stranger");
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(["machine.internal".to_owned()]).expect("a name");
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let cert = crate::support::ca::pem("CERTIFICATE", &stranger.sign_for(params, &key));
    std::fs::write(&old.cert, cert).expect("written");
    std::fs::write(&old.key, crate::support::ca::pem("PRIVATE KEY", &key.serialize_der())).expect("written");
    by(StepCa::X5C).fails(4).says([
        "the CA refused the token",
        "trustup found no reason for that",
        "authority of the birth certificate",
    ]);
    by("nobody").fails(2).says(["no provisioner `nobody`"]);
    assert_eq!(scene.pair(), None);
}
