//! trustup.toml, and the variables of published images, against the real step-ca.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::network::in_own_network;
use crate::support::run::{Run, Trustup};
use crate::support::servers::{StepCa, StepCaOptions, passes, step};

/// What openssl says of the pair: leaf, intermediate and key belong together and to the root.
#[track_caller]
fn verified(at: &dyn Fn(&str) -> PathBuf, name: &str) {
    let mut verify = Command::new("openssl");
    verify.args(["verify", "-CAfile"]).arg(at("tls/ca.pem"));
    verify.arg("-untrusted").arg(at(&format!("tls/{name}.crt"))).arg(at(&format!("tls/{name}.crt")));
    passes(&mut verify);
    let mut of_certificate = Command::new("openssl");
    of_certificate.args(["x509", "-noout", "-pubkey", "-in"]).arg(at(&format!("tls/{name}.crt")));
    let mut of_key = Command::new("openssl");
    of_key.args(["pkey", "-pubout", "-in"]).arg(at(&format!("tls/{name}.key")));
    assert_eq!(passes(&mut of_certificate).stdout, passes(&mut of_key).stdout, "{name}");
}

fn actions(run: &Run) -> Vec<String> {
    let json = run.json();
    let all = json["certificates"].as_array().unwrap_or_else(|| panic!("{run}"));
    all.iter().map(|one| one["action"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
#[ignore = "needs real servers"]
fn the_file_says_it_all() {
    let mut ca = StepCa::start(StepCaOptions::default());
    let place = TempDir::new().unwrap();
    let at = |name: &str| place.path().join(name);
    std::fs::create_dir(at("tls")).unwrap();
    let birth = ca.birth_pair(place.path(), "machine-7");
    let text = |path: &Path| path.display().to_string();
    let config = format!(
        "[ca]\nurl = \"{url}\"\nfingerprint = \"{pin}\"\n\
         [[certificate]]\nnames = [\"${{NAME}}.internal\", \"10.0.0.5\"]\ncert = \"{0}/web.crt\"\nkey = \"{0}/web.key\"\nca_out = \"{0}/ca.pem\"\nkey_type = \"ec-p384\"\nnot_after = \"2h\"\n\
         [[certificate.enroll]]\nmethod = \"token\"\ntoken_file = \"{0}/no-token\"\n\
         [[certificate.enroll]]\nmethod = \"provisioner\"\nprovisioner = \"{dev}\"\npassword = \"${{WORD}}\"\n\
         [[certificate]]\nnames = \"machine-7\"\ncert = \"{0}/machine.crt\"\nkey = \"{0}/machine.key\"\nca_out = \"{0}/ca.pem\"\n\
         enroll = {{ method = \"x5c\", provisioner = \"{x5c}\", x5c_cert = \"{birth_cert}\", x5c_key = \"{birth_key}\" }}\n",
        text(&at("tls")),
        url = ca.url(),
        pin = ca.fingerprint(),
        dev = StepCa::PROVISIONER,
        x5c = StepCa::X5C,
        birth_cert = text(&birth.cert),
        birth_key = text(&birth.key),
    );
    std::fs::write(at("trustup.toml"), config).unwrap();
    let enroll = || {
        let run = Trustup::new(["--json", "--timeout", "30s", "enroll", "--config"]).arg(at("trustup.toml"));
        run.env("HOME", place.path()).env("NAME", "web")
    };
    let run = enroll().env("WORD", ca.password()).ok();
    assert_eq!(actions(&run), ["issued", "issued"], "{run}");
    let json = run.json();
    assert_eq!(json["certificates"][0]["method"], "provisioner", "{run}");
    assert_eq!(json["certificates"][1]["method"], "x5c", "{run}");
    assert!(!run.stdout.contains(&ca.password()) && !run.stderr.contains(&ca.password()), "{run}");
    verified(&at, "web");
    verified(&at, "machine");
    // Good pairs need neither the CA nor the secret.
    ca.stop();
    assert_eq!(actions(&enroll().ok()), ["kept", "kept"]);
}

#[test]
#[ignore = "needs real servers"]
fn published_images_need_only_their_variables() {
    let mut ca = StepCa::start(StepCaOptions::default());
    let place = TempDir::new().unwrap();
    let at = |name: &str| place.path().join(name);
    std::fs::create_dir(at("tls")).unwrap();
    // What an administrator runs for such an image.
    let (url, root, password) = (ca.url(), ca.root_file(), ca.password_file());
    let arguments = [
        "ca",
        "token",
        "db.internal",
        "--san",
        "db.internal",
        "--san",
        "10.0.0.5",
        "--ca-url",
        &url,
        "--root",
        root.to_str().unwrap(),
        "--provisioner",
        StepCa::PROVISIONER,
        "--provisioner-password-file",
        password.to_str().unwrap(),
    ];
    let token = String::from_utf8(passes(&mut step(place.path(), arguments)).stdout).unwrap();
    let enroll = || {
        let run = Trustup::new(["--json", "--timeout", "30s", "enroll"]).env("HOME", place.path());
        let run = run.env("CA_URL", ca.url()).env("CA_FINGERPRINT", ca.fingerprint());
        let run = run.env("CA_TOKEN", token.trim()).env("TLS_DOMAINS", "db.internal,10.0.0.5");
        run.env("TLS_CERT_LOCATION", at("tls/db.crt"))
            .env("TLS_KEY_LOCATION", at("tls/db.key"))
            .env("TLS_CA_CERT_LOCATION", at("tls/ca.pem"))
    };
    let run = enroll().ok();
    assert_eq!(actions(&run), ["issued"], "{run}");
    assert!(!run.stdout.contains(token.trim()) && !run.stderr.contains(token.trim()), "{run}");
    verified(&at, "db");
    // The container starts again: the token is spent, and nobody asks for it.
    let again = enroll();
    ca.stop();
    assert_eq!(actions(&again.ok()), ["kept"]);
}

/// They need port 80 as there; where a container has another, it is said in any of the usual ways.
#[test]
#[ignore = "needs real servers and root"]
fn published_images_that_ask_by_acme() {
    in_own_network("config::published_images_that_ask_by_acme", || {
        let place = TempDir::new().unwrap();
        let at = |name: &str| place.path().join(name);
        std::fs::create_dir(at("tls")).unwrap();
        let enroll = |ca: &StepCa, provisioner: &str| {
            let run = Trustup::new(["--json", "enroll"]).env("HOME", place.path());
            let run = run.env("CA_URL", ca.url()).env("CA_FINGERPRINT", ca.fingerprint());
            let run = run.env("CA_PROVISIONER_NAME", provisioner).env("TLS_DOMAINS", "localhost");
            run.env("TLS_CERT_LOCATION", at("tls/db.crt"))
                .env("TLS_KEY_LOCATION", at("tls/db.key"))
                .env("TLS_CA_CERT_LOCATION", at("tls/ca.pem"))
        };
        let mut ca = StepCa::start(StepCaOptions { usual_ports: true, ..StepCaOptions::default() });
        let run = enroll(&ca, StepCa::ACME).ok();
        assert_eq!(actions(&run), ["issued"], "{run}");
        assert_eq!(run.json()["certificates"][0]["method"], "acme", "{run}");
        verified(&at, "db");
        let other = enroll(&ca, "nobody").arg("--force").fails(2);
        assert!(other.stdout.contains("no provisioner `nobody`"), "{other}");
        // One of the two is enough to say which.
        let two = ["--force", "--directory", "https://localhost/directory"];
        enroll(&ca, StepCa::ACME).args(two).fails(2).says(["`--directory` and `--provisioner`"]);
        ca.stop();
        assert_eq!(actions(&enroll(&ca, StepCa::ACME).ok()), ["kept"]);

        let ca = StepCa::start(StepCaOptions::default());
        for listen in [format!("127.0.0.1:{}", ca.http_port()), format!(":{}", ca.http_port())] {
            let run = enroll(&ca, StepCa::ACME).args(["--force", "--http-listen", &listen]).ok();
            assert_eq!(actions(&run), ["issued"], "{run}");
            let run = enroll(&ca, StepCa::ACME).arg("--force").env("TRUSTUP_HTTP_LISTEN", &listen).ok();
            assert_eq!(actions(&run), ["issued"], "{run}");
            verified(&at, "db");
        }
    });
}
