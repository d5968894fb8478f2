//! `trustup renew` at the real step-ca: every way to renew, why it is refused, and the daemon while the CA comes and goes.

use std::path::Path;

use rustix::process::Signal;

use crate::enroll::{Scene, now};
use crate::support::enrollment::{chain, done, result};
use crate::support::run::{Run, Trustup};
use crate::support::servers::{Database, StepCa, StepCaOptions, wait_for};

fn options() -> StepCaOptions {
    StepCaOptions { database: Database::Bbolt, ..StepCaOptions::default() }
}

/// A CA with lives of seconds.
fn short_lives() -> StepCaOptions {
    StepCaOptions { min_life: "1s".to_owned(), backdate: Some("0s".to_owned()), ..options() }
}

/// `trustup renew` for the pair of the scene, which knows the CA from its enrollment.
fn renew(scene: &Scene) -> Trustup {
    Trustup::new(["--json", "--timeout", "20s", "renew"])
        .env("HOME", scene.place.path())
        .arg("--cert")
        .arg(scene.at("tls/web.crt"))
        .arg("--key")
        .arg(scene.at("tls/web.key"))
}

fn serial(scene: &Scene) -> Vec<u8> {
    chain(&scene.at("tls/web.crt"))[0].serial().to_vec()
}

fn key(scene: &Scene) -> Vec<u8> {
    std::fs::read(scene.at("tls/web.key")).expect("a key")
}

/// The method by which the only certificate came.
fn method(run: &Run) -> String {
    assert_eq!(done(run).0, "issued", "{run}");
    result(run)["method"].as_str().unwrap_or_default().to_owned()
}

#[test]
#[ignore = "needs step-ca"]
fn a_pair_renews_itself_in_every_way() {
    let scene = Scene::new(options());
    // Set back by a minute, a tenth of its life.
    scene.by_password().args(["web.internal", "--not-after", "10m"]).ok();
    let (first, first_key) = (serial(&scene), key(&scene));

    // Not due: no CA is asked.
    let run = renew(&scene).ok();
    assert_eq!((done(&run).0.as_str(), run.json()["changed"].as_bool()), ("kept", Some(false)), "{run}");
    renew(&scene).arg("--check").fails(3);
    renew(&scene).args(["--not-due-exit", "10"]).fails(10);
    renew(&scene).args(["--check", "--due", "5%"]).ok();

    assert_eq!(method(&renew(&scene).args(["--due", "5%"]).ok()), "renew");
    assert_ne!(serial(&scene), first);
    assert_eq!(key(&scene), first_key, "the same key");

    assert_eq!(method(&renew(&scene).args(["--force", "--no-mtls"]).ok()), "renew-token");
    assert_eq!(key(&scene), first_key, "the same key");

    assert_eq!(method(&renew(&scene).args(["--force", "--rekey"]).ok()), "rekey");
    assert_ne!(key(&scene), first_key, "a new key");

    // A dry run asks nobody.
    let before = serial(&scene);
    let run = renew(&scene).args(["--force", "--dry-run"]).ok();
    assert_eq!(done(&run).0, "planned", "{run}");
    assert_eq!(serial(&scene), before);
}

#[test]
#[ignore = "needs step-ca"]
fn an_expired_certificate_renews_itself_where_the_ca_allows_it() {
    for allowed in [true, false] {
        let scene = Scene::new(StepCaOptions { renew_expired: allowed, backdate: None, ..short_lives() });
        // Set back by a minute; step-ca looks at the certificate as it was a minute before its end.
        scene.by_password().args(["web.internal", "--not-after", "2s"]).ok();
        let end = chain(&scene.at("tls/web.crt"))[0].not_after();
        wait_for("the end of its life", || (now() > end).then_some(()));
        let before = (serial(&scene), key(&scene));
        if allowed {
            assert_eq!(method(&renew(&scene).ok()), "renew-token");
            continue;
        }
        let run = renew(&scene).fails(4);
        run.says(["the certificate expired at", "allowRenewalAfterExpiry"]);
        assert_eq!((serial(&scene), key(&scene)), before, "the old pair is as it was");
        // A method of enrollment replaces it.
        let config = config(&scene, "24h");
        let run = configured(&scene, &config).ok();
        assert_eq!(method(&run), "provisioner", "{run}");
    }
}

#[test]
#[ignore = "needs step-ca"]
fn a_ca_that_forbids_renewal_is_explained_and_the_next_method_is_used() {
    let scene = Scene::new(StepCaOptions { forbids_renewal: true, ..options() });
    scene.by_password().arg("web.internal").ok();
    let before = (serial(&scene), key(&scene));
    renew(&scene).arg("--force").fails(4).says(["the provisioner forbids renewal (`disableRenewal`)"]);
    assert_eq!((serial(&scene), key(&scene)), before, "the old pair is as it was");
    let config = config(&scene, "24h");
    let run = configured(&scene, &config).arg("--force").ok();
    assert_eq!(method(&run), "provisioner", "{run}");
    run.says(["`renew` gave no certificate"]);
}

#[test]
#[ignore = "needs step-ca"]
fn a_leaf_that_no_server_accepts_is_refused_before_the_ca_is_asked() {
    let template = r#"{"subject": {{ toJson .Subject }}, "sans": {{ toJson .SANs }}, "keyUsage": ["digitalSignature"], "extKeyUsage": ["serverAuth"]}"#;
    let scene = Scene::new(StepCaOptions { template: Some(template.to_owned()), ..options() });
    scene.by_password().arg("web.internal").ok();
    let asked = |scene: &Scene| scene.ca.log().matches("/renew").count();
    let run = renew(&scene).arg("--force").fails(5);
    run.says([
        "it lacks the extended key usage clientAuth",
        "add `clientAuth` to `extKeyUsage` in the provisioner's certificate template",
    ]);
    assert_eq!(asked(&scene), 0);
    // Until then, a method of enrollment replaces it.
    let config = config(&scene, "24h");
    assert_eq!(method(&configured(&scene, &config).arg("--force").ok()), "provisioner");
}

/// No challenge: its own key renews what ACME issued.
#[test]
#[ignore = "needs step-ca"]
fn what_step_ca_issued_by_acme_renews_over_mutual_tls() {
    let scene = Scene::new(options());
    let listen = format!("127.0.0.1:{}", scene.ca.http_port());
    let options = ["localhost", "--provisioner", StepCa::ACME, "--http-listen", &listen];
    scene.of_ca("acme").args(options).ok();
    let before = (serial(&scene), key(&scene));
    assert_eq!(method(&renew(&scene).arg("--force").ok()), "renew");
    assert_ne!(serial(&scene), before.0);
    assert_eq!(key(&scene), before.1, "the same key");
}

/// trustup.toml for the pair of the scene, by the provisioner's password.
fn config(scene: &Scene, life: &str) -> std::path::PathBuf {
    let file = scene.at("trustup.toml");
    let quoted = |path: &Path| format!("\"{}\"", path.display());
    let text = format!(
        "[ca]\nurl = \"{}\"\nfingerprint = \"{}\"\n\n[[certificate]]\nnames = [\"web.internal\"]\ncert = {}\nkey = {}\nnot_after = \"{life}\"\n\n\
         [[certificate.enroll]]\nmethod = \"provisioner\"\nprovisioner = \"{}\"\npassword_file = {}\n",
        scene.ca.url(),
        scene.ca.fingerprint(),
        quoted(&scene.at("tls/web.crt")),
        quoted(&scene.at("tls/web.key")),
        StepCa::PROVISIONER,
        quoted(&scene.ca.password_file()),
    );
    std::fs::write(&file, text).expect("written");
    file
}

fn configured(scene: &Scene, config: &Path) -> Trustup {
    Trustup::new(["--json", "--timeout", "20s", "renew", "--allow-shared-config", "--config"])
        .env("HOME", scene.place.path())
        .arg(config)
}

/// The daemon gets the first certificate, and keeps it fresh while the CA is stopped and started again.
#[test]
#[ignore = "needs step-ca"]
fn the_daemon_outlives_its_ca() {
    let mut scene = Scene::new(short_lives());
    let config = config(&scene, "20s");
    let daemon = Trustup::new(["--timeout", "5s", "renew", "--daemon", "--allow-shared-config", "--config"])
        .env("HOME", scene.place.path())
        .arg(&config)
        .start();
    let there = |scene: &Scene| scene.at("tls/web.crt").exists().then(|| serial(scene));
    let mut last = wait_for("the first certificate", || there(&scene));
    for round in 0..3 {
        if round == 1 {
            scene.ca.stop();
            scene.ca.start_again();
        }
        last = wait_for("another certificate", || there(&scene).filter(|serial| *serial != last));
    }
    // One that another program removed is replaced, and SIGUSR1 renews at once.
    daemon.signal(Signal::USR1);
    last = wait_for("another certificate", || there(&scene).filter(|serial| *serial != last));
    // A broken configuration is refused, and the old one stays in force.
    let good = std::fs::read_to_string(&config).expect("the configuration");
    std::fs::write(&config, "[ca").expect("written");
    daemon.signal(Signal::HUP);
    wait_for("another certificate", || there(&scene).filter(|serial| *serial != last));
    std::fs::write(&config, good).expect("written");
    daemon.signal(Signal::HUP);
    let leaf = chain(&scene.at("tls/web.crt"))[0].clone();
    assert!(leaf.not_after() >= now(), "it never expired");
    daemon.signal(Signal::TERM);
    let run = daemon.end();
    assert_eq!(run.code, Some(0), "{run}");
    run.says(["the configuration is refused, and the former one stays in force"]);
}
