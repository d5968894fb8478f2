//! `trustup enroll` against a step-ca whose own certificates are unusual: kinds of keys and signatures, long chains,
//! names, ends, roots that were renewed.

use crate::enroll::{Scene, action, now, openssl, path};
use crate::support::run::Trustup;
use crate::support::servers::authority::{ED448, Level, P256, P521};
use crate::support::servers::{Authority, StepCa, StepCaOptions};

fn scene(levels: &[Level]) -> Scene {
    let authority = Some(Authority::new(levels));
    Scene::new(StepCaOptions { authority, ..StepCaOptions::default() })
}

/// By every way to get a certificate: the connection to the CA is verified, and then the chain.
#[track_caller]
fn enrolls_by_every_method(scene: &Scene) {
    let run = scene.by_password().arg("web.internal").ok();
    assert_eq!(action(&run), "issued", "{run}");
    scene.verify();
    // The pair on disk is judged by the same rules.
    assert_eq!(action(&scene.by_password().arg("web.internal").ok()), "kept");
    assert_eq!(scene.asked(), 1);
    let listen = format!("127.0.0.1:{}", scene.ca.http_port());
    let acme = scene.plain("acme").args(["localhost", "--directory", &scene.ca.acme_directory(), "--force"]);
    let run = acme.args(["--http-listen", &listen, "--fingerprint", &scene.ca.fingerprint()]).ok();
    assert_eq!(action(&run), "issued", "{run}");
    assert_eq!(run.json()["certificates"][0]["pinned"], true, "{run}");
    scene.verify();
}

#[test]
#[ignore = "needs step-ca and openssl"]
fn p_521_and_ecdsa_with_sha_512() {
    for (root, intermediate) in [
        (Level::new("Root", P521, "sha512"), Level::new("Intermediate", P521, "sha512")),
        (Level::new("Root", P521, "sha256"), Level::new("Intermediate", P256, "sha256")),
        (Level::new("Root", P256, "sha512"), Level::new("Intermediate", P256, "sha256")),
    ] {
        enrolls_by_every_method(&scene(&[root, intermediate]));
    }
}

/// What trustup cannot verify is named, and is not called untrusted.
#[test]
#[ignore = "needs step-ca and openssl"]
fn a_signature_that_cannot_be_verified_is_unsupported() {
    let scene = scene(&[Level::new("Root", ED448, ""), Level::new("Intermediate", P256, "sha256")]);
    let run = scene.by_password().arg("web.internal").fails(5);
    run.says(["Ed448"]);
    assert!(!run.stderr.contains("UnsupportedSignature"), "{run}");
    assert_eq!(scene.asked(), 0);
    // `bootstrap` says so beforehand.
    std::fs::create_dir_all(scene.at("root/etc")).unwrap();
    std::fs::write(scene.at("root/etc/os-release"), "ID=debian\n").unwrap();
    let run = Trustup::new(["bootstrap", "--sysroot"]).arg(scene.at("root"));
    let run = run.arg("--ca-file").arg(scene.ca.root_file()).ok();
    run.says(["trustup cannot verify what CN=Root", "signed (Ed448)", "exit code 5"]);
}

/// rustls-webpki follows six intermediates.
#[test]
#[ignore = "needs step-ca and openssl"]
fn chains_with_more_intermediates_than_webpki_follows() {
    for count in [7, 9] {
        let mut levels = vec![Level::new("Root", P256, "sha256")];
        levels.extend((1..=count).map(|number| Level::new(&format!("CA {number}"), P256, "sha256")));
        enrolls_by_every_method(&scene(&levels));
    }
}

/// The earliest end in the chain is the end, and what makes the certificate due.
#[test]
#[ignore = "needs step-ca and openssl"]
fn an_intermediate_that_ends_before_the_leaf() {
    let ends = Level { days: 1, ..Level::new("Short CA", P256, "sha256") };
    let authority = Authority::new(&[Level::new("Root", P256, "sha256"), ends]);
    let life = "72h".to_owned();
    let scene = Scene::new(StepCaOptions {
        authority: Some(authority),
        default_life: life.clone(),
        max_life: life,
        ..StepCaOptions::default()
    });
    let day = 24 * 60 * 60;
    let is_near = |moment: &serde_json::Value, wanted: i64| {
        let moment: jiff::Timestamp = moment.as_str().expect("a moment").parse().expect("RFC 3339");
        assert!((moment.as_second() - wanted).abs() < 600, "{moment} is not near {wanted}");
    };
    for run in [1, 2] {
        let run = (run, scene.by_password().arg("web.internal").ok());
        let leaf = run.1.json()["certificates"][0]["certificate"].clone();
        is_near(&leaf["not_after"], now() + day);
        is_near(&leaf["leaf_not_after"], now() + 3 * day);
        is_near(&leaf["due"], now() + day * 66 / 100);
        assert_eq!(leaf["limited_by"], "CN=Short CA", "{}", run.1);
        run.1.says(["the intermediate `CN=Short CA` ends at", "before the certificate"]);
    }
    assert_eq!(scene.asked(), 1, "the second run kept it");
    let text = Trustup::new(["enroll", "provisioner", "web.internal", "--ca-url", &scene.ca.url()]);
    let text = text.args(["--fingerprint", &scene.ca.fingerprint(), "--provisioner", StepCa::PROVISIONER]);
    let text = text.arg("--password-file").arg(scene.ca.password_file());
    let text = text.arg("--cert").arg(scene.at("tls/web.crt")).arg("--key").arg(scene.at("tls/web.key")).ok();
    let end: jiff::Timestamp = jiff::Timestamp::from_second(now() + day).expect("a moment");
    text.says([format!("valid until {}", end.strftime("%Y-%m-%d")).as_str()]);
}

/// The chain keeps the cross certificate, which programs need that have the old root only.
#[test]
#[ignore = "needs step-ca and openssl"]
fn a_root_that_was_renewed_under_its_old_name() {
    let authority = Authority::renewed();
    let new_root = authority.other_root.clone().expect("a new root");
    let scene = Scene::new(StepCaOptions { authority: Some(authority), ..StepCaOptions::default() });
    std::fs::write(scene.at("new.crt"), &new_root).expect("written");
    let has_cross = || {
        let chain = std::fs::read_to_string(scene.at("tls/web.crt")).expect("a chain");
        assert_eq!(chain.matches("BEGIN").count(), 3, "{chain}");
        for root in [scene.ca.root_file(), scene.at("new.crt")] {
            let cert = scene.at("tls/web.crt");
            let said = openssl(&["verify", "-CAfile", path(&root), "-untrusted", path(&cert), path(&cert)]);
            assert!(said.contains(": OK"), "{said}");
        }
    };
    // Who pinned the old root.
    enrolls_by_every_method(&scene);
    has_cross();
    assert_eq!(action(&scene.by_password().args(["web.internal", "--force"]).ok()), "issued");
    has_cross();
    // Who pinned the new one, and who names it for the issued chain.
    let by_new = |option: &str| {
        let run = scene.plain("provisioner").args(["--ca-url", &scene.ca.url(), "web.internal"]);
        let run = run.args(["--provisioner", StepCa::PROVISIONER, "--password-file"]);
        run.arg(scene.ca.password_file()).arg(option).arg(scene.at("new.crt"))
    };
    assert_eq!(action(&by_new("--ca-root").arg("--force").ok()), "issued");
    has_cross();
    let run = by_new("--issuer-root").args(["--fingerprint", &scene.ca.fingerprint(), "--force"]).ok();
    assert_eq!(action(&run), "issued");
    has_cross();
    assert_eq!(action(&by_new("--ca-root").ok()), "kept");
}

/// A CA whose template adds a name.
fn adds_a_name() -> Scene {
    let template = r#"{"subject": {{ toJson .Subject }},
        "sans": [{"type": "dns", "value": "web.internal"}, {"type": "dns", "value": "added.internal"}],
        "keyUsage": ["digitalSignature"], "extKeyUsage": ["serverAuth", "clientAuth"]}"#;
    let template = Some(template.to_owned());
    Scene::new(StepCaOptions { template, ..StepCaOptions::default() })
}

/// A container that restarts has no certificate signed each time.
#[test]
#[ignore = "needs step-ca and openssl"]
fn a_refused_certificate_is_not_requested_again_for_a_day() {
    let scene = adds_a_name();
    let enroll = || scene.by_password().arg("web.internal");
    let run = enroll().fails(4);
    run.says(["it is also for `added.internal`", "--allow-extra-names", "`--force` asks again"]);
    assert_eq!(scene.asked(), 1);
    for _ in 0..2 {
        let run = enroll().fails(4);
        run.says(["the CA was not asked again", "it is also for `added.internal`", "--allow-extra-names"]);
        assert_eq!(scene.asked(), 1, "{run}");
    }
    assert!(scene.pair().is_none());
    // Other names and `--force` are another request; other than the CA it is the same one afterwards.
    scene.by_password().args(["web.internal", "other.internal"]).fails(4).says(["it is not for"]);
    assert_eq!(scene.asked(), 2);
    enroll().arg("--force").fails(4).says(["it was discarded"]);
    assert_eq!(scene.asked(), 3);
    enroll().fails(4);
    assert_eq!(scene.asked(), 3);
    // A day later.
    let file = scene.at("tls/.web.key.trustup/refusals.json");
    let later = |seconds: i64| {
        let mut record: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&file).expect("a record")).expect("JSON");
        for refused in record["refused"].as_array_mut().expect("a list") {
            refused["at"] = (now() - seconds).into();
        }
        std::fs::write(&file, record.to_string()).expect("written");
    };
    later(24 * 3600 - 60);
    enroll().fails(4);
    assert_eq!(scene.asked(), 3);
    later(24 * 3600 + 1);
    enroll().fails(4);
    assert_eq!(scene.asked(), 4);
    // The hint.
    let allowed = || enroll().arg("--allow-extra-names");
    let run = allowed().ok();
    assert_eq!(action(&run), "issued", "{run}");
    let names = run.json()["certificates"][0]["names"].clone();
    assert_eq!(names, serde_json::json!(["web.internal", "added.internal"]), "{run}");
    scene.verify();
    assert_eq!((action(&allowed().ok()), scene.asked()), ("kept".to_owned(), 5));
    assert!(!file.exists());
    // Without the option the pair on disk is not what is asked for.
    enroll().fails(4);
    assert_eq!(scene.asked(), 6);
}

/// The certificates of a file, too.
#[test]
#[ignore = "needs step-ca and openssl"]
fn extra_names_of_the_certificates_of_a_file() {
    let scene = adds_a_name();
    let text = format!(
        "[ca]\nurl = {:?}\nfingerprint = {:?}\n[[certificate]]\nnames = [\"web.internal\"]\ncert = {:?}\nkey = {:?}\n[[certificate.enroll]]\nmethod = \"provisioner\"\nprovisioner = {:?}\npassword_file = {:?}\n",
        scene.ca.url(),
        scene.ca.fingerprint(),
        scene.at("tls/web.crt"),
        scene.at("tls/web.key"),
        StepCa::PROVISIONER,
        scene.ca.password_file()
    );
    std::fs::write(scene.at("trustup.toml"), text).expect("written");
    let enroll = || {
        let run = Trustup::new(["--json", "enroll", "--config"]).arg(scene.at("trustup.toml"));
        run.env("HOME", scene.place.path())
    };
    enroll().fails(4).says(["--allow-extra-names"]);
    assert_eq!(action(&enroll().arg("--allow-extra-names").ok()), "issued");
    scene.verify();
}
