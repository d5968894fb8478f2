//! `trustup enroll` against a step-ca whose own certificates are unusual: kinds of keys and signatures, long chains,
//! names, ends, roots that were renewed.

use crate::enroll::{Scene, action};
use crate::support::run::Trustup;
use crate::support::servers::authority::{ED448, Level, P256, P521};
use crate::support::servers::{Authority, StepCaOptions};

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
