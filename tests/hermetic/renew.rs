//! `trustup renew` through the command line, against the embedded CA: what is due, what cannot be renewed and what to do
//! then, and the daemon.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::enrollment::{Scene, chain, done, result, write};
use crate::support::run::Trustup;
use crate::support::servers::wait_for;

/// `trustup renew` for the pair of the scene.
pub(super) fn renew(scene: &Scene) -> Trustup {
    renew_at(scene, &scene.path("server.crt"), &scene.path("server.key"))
}

fn renew_at(scene: &Scene, cert: &Path, key: &Path) -> Trustup {
    let run =
        Trustup::new(["--json", "--timeout", "20s", "renew", "--cert"]).env("HOME", scene.directory.path());
    run.arg(cert).arg("--key").arg(key)
}

/// trustup.toml for the pair of the scene, by the provisioner's password.
pub(crate) fn config(scene: &Scene, more: &str) -> PathBuf {
    let text = format!(
        "[ca]\nurl = \"{}\"\nfingerprint = \"{}\"\n{more}\n[[certificate]]\nnames = [\"web.test\"]\ncert = \"{}\"\nkey = \"{}\"\n\
         [[certificate.enroll]]\nmethod = \"provisioner\"\npassword_file = \"{}\"\n",
        scene.server.url(),
        scene.ca.fingerprint(),
        scene.path("server.crt").display(),
        scene.path("server.key").display(),
        scene.path("password").display(),
    );
    write(&scene.path("trustup.toml"), text.as_bytes(), 0o600);
    scene.path("trustup.toml")
}

pub(crate) fn configured(scene: &Scene, config: &Path) -> Trustup {
    let run = Trustup::new(["--json", "--timeout", "20s", "renew", "--allow-shared-config", "--config"]);
    run.arg(config).env("HOME", scene.directory.path())
}

/// The record beside the certificate.
pub(crate) fn record(scene: &Scene) -> Value {
    let text = fs::read_to_string(scene.path(".server.crt.renewal.json")).expect("a record");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn a_fresh_certificate_is_left_alone_and_a_due_one_renews_itself() {
    let scene = Scene::new();
    // Set back by a minute, a tenth of its life.
    scene.enroll().args(["--not-after", "10m"]).ok();
    let first = scene.pair();
    let run = renew(&scene).ok();
    assert_eq!((done(&run).0.as_str(), run.json()["changed"].as_bool()), ("kept", Some(false)), "{run}");
    renew(&scene).arg("--check").fails(3);
    renew(&scene).args(["--not-due-exit", "7"]).fails(7);
    assert_eq!(record(&scene)["failure"], Value::Null);

    let run = renew(&scene).args(["--due", "5%"]).ok();
    assert_eq!((done(&run).0.as_str(), result(&run)["method"].as_str()), ("issued", Some("renew")), "{run}");
    let second = scene.pair();
    assert_ne!(second.0.serial(), first.0.serial());
    assert_eq!(second.1, first.1, "the same key");
    let run = renew(&scene).args(["--force", "--rekey"]).ok();
    assert_eq!(result(&run)["method"].as_str(), Some("rekey"), "{run}");
    assert_ne!(scene.pair().1, first.1, "a new key");
    assert_eq!(record(&scene)["totals"]["renewals"], 2);

    // A time that is longer than the life would renew without end.
    let run = renew(&scene).args(["--due", "30d"]).ok();
    assert_eq!(done(&run).0, "kept", "{run}");
    run.says(["would always be due with `30d` left"]);
    renew(&scene).args(["--due", "0%"]).fails(2);
    renew(&scene).args(["--due", "100%"]).fails(2);
}

#[test]
fn what_cannot_renew_itself_is_enrolled() {
    let scene = Scene::new();
    for run in [renew(&scene), renew(&scene).arg("--check")] {
        run.fails(1).says(["there is no certificate to renew", "`trustup enroll` gets the first one"]);
    }
    scene.enroll().ok();
    renew(&scene).ok();
    let run = Trustup::new(["renew"]).env("HOME", scene.directory.path()).fails(2);
    run.says(["name the pair, such as `trustup renew --cert FILE --key FILE`"]);

    // The key of another certificate: the pair stays as it is until enroll replaces it.
    let good = scene.pair();
    let other = Scene::new();
    other.enroll().ok();
    fs::copy(other.path("server.key"), scene.path("server.key")).expect("copied");
    let run = renew(&scene).arg("--force").fails(1);
    run.says(["it is for another key", "`trustup enroll` gets a new one in its place"]);
    assert_eq!(chain(&scene.path("server.crt"))[0].serial(), good.0.serial(), "untouched");
    scene.enroll().ok();
    renew(&scene).arg("--force").ok();

    // A wrong path leaves nothing beside the file.
    let (cert, key) = (scene.path("junk.crt"), scene.path("junk.key"));
    for path in [&cert, &key] {
        write(path, b"junk", 0o600);
    }
    renew_at(&scene, &cert, &key).fails(1).says(["the existing certificate cannot be renewed"]);
    assert!(!scene.path(".junk.crt.renewal.json").exists());

    // Half a pair.
    fs::remove_file(scene.path("server.key")).expect("removed");
    renew(&scene).fails(1).says(["there is a certificate without its key"]);
    // With trustup.toml, its method gets a new pair.
    let config = config(&scene, "");
    let run = configured(&scene, &config).ok();
    assert_eq!(result(&run)["method"].as_str(), Some("provisioner"), "{run}");
    // The paths name the certificate of the file.
    let named = || configured(&scene, &config).arg("--cert").arg(scene.path("server.crt"));
    let run = named().arg("--key").arg(scene.path("other.key")).fails(2);
    run.says(["omit `--key`"]);
    assert_eq!(done(&named().ok()).0, "kept");
}

#[test]
fn a_pair_of_another_program_needs_the_ca() {
    let scene = Scene::new();
    scene.enroll().ok();
    let (cert, key) = (scene.path("copied.crt"), scene.path("copied.key"));
    fs::copy(scene.path("server.crt"), &cert).expect("copied");
    write(&key, &fs::read(scene.path("server.key")).expect("a key"), 0o600);
    let run = renew_at(&scene, &cert, &key).args(["--force", "--ca-url", &scene.server.url()]).fails(2);
    run.says(["add `--fingerprint HEX`"]);
    let pin = scene.ca.fingerprint().hex();
    let by_pin = |force: &str| {
        renew_at(&scene, &cert, &key).args([force, "--ca-url", &scene.server.url(), "--fingerprint", &pin])
    };
    let run = by_pin("--force").ok();
    assert_eq!(result(&run)["method"].as_str(), Some("renew"), "{run}");

    let run = by_pin("--force").args(["--rekey", "--no-mtls"]).fails(2);
    run.says(["omit `--rekey` or `--no-mtls`"]);
    by_pin("--force").arg("--rekey").ok();
}

#[test]
fn the_daemon_replaces_what_is_missing_and_ends_with_a_signal() {
    let scene = Scene::new();
    let config = config(&scene, "[renew]\ndue = \"50%\"\n");
    let daemon = configured(&scene, &config).arg("--daemon").start();
    let there = || scene.path(".server.crt.renewal.json").exists().then(|| record(&scene));
    let is_renewed = |times: u64| {
        wait_for("a renewal", || {
            there().filter(|record| record["totals"]["renewals"].as_u64() >= Some(times))
        })
    };
    let first = is_renewed(1);
    assert_eq!(first["names"], serde_json::json!(["web.test"]));
    daemon.signal(Signal::USR1);
    let second = is_renewed(2);
    assert_ne!(first["serial"], second["serial"]);
    assert_eq!(second["serial"].as_str(), Some(hex::encode(scene.pair().0.serial()).as_str()));
    daemon.signal(Signal::TERM);
    let run = daemon.end();
    assert_eq!(run.code, Some(0), "{run}");
    run.says(["SIGUSR1: renewing all certificates now"]);
}

#[test]
fn the_daemon_ends_with_an_expired_certificate_if_asked() {
    let mut scene = Scene::new();
    scene.enroll().args(["--not-after", "2s"]).ok();
    let config = config(&scene, "[renew]\nexit_when_expired = true\n");
    // Nobody answers any more.
    let other = Scene::new();
    drop(std::mem::replace(&mut scene.server, other.server));
    let end = scene.pair().0.not_after();
    let now =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs();
    wait_for("the end of its life", || (now() > end.unsigned_abs()).then_some(()));
    let run = Trustup::new(["--timeout", "1s", "renew", "--daemon", "--allow-shared-config", "--config"]);
    let run = run.arg(&config).env("HOME", scene.directory.path()).fails(4);
    run.says(["and could not be renewed"]);
}
