//! What stands there decides: a good pair is left alone without any network, and what is wrong with another is said.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};

use super::{Scene, done, mode, result, write};
use crate::support::binary;
use crate::support::ca::{pem, root};

#[test]
fn the_first_run_gets_a_pair_and_the_second_asks_nobody() {
    let scene = Scene::new();
    let first = scene.enroll_for(&["web.test", "127.0.0.1"]).ok();
    assert_eq!(done(&first), ("issued".into(), "there was no certificate".into()));
    let (leaf, key) = scene.pair();
    let names: Vec<String> = leaf.subject_alt_names().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["web.test", "127.0.0.1"]);
    assert_eq!((mode(&scene.path("server.crt")), mode(&scene.path("server.key"))), (0o644, 0o600));
    let json = result(&first);
    assert_eq!(json["certificate"]["fingerprint"], leaf.fingerprint().hex());
    assert_eq!((&json["pinned"], &json["method"]), (&true.into(), &"provisioner".into()));
    // One for the root, which nobody vouches for; one for everything else.
    assert_eq!(scene.server.connections(), 2);

    let second = scene.enroll_for(&["127.0.0.1", "web.test"]).ok();
    assert_eq!(done(&second).0, "kept");
    assert_eq!(second.json()["changed"], false);
    assert_eq!((scene.pair().1, scene.server.connections()), (key.clone(), 2));

    let forced = scene.enroll_for(&["web.test", "127.0.0.1"]).arg("--force").ok();
    assert_eq!(done(&forced), ("issued".into(), "`--force` was given".into()));
    assert_ne!(scene.pair().1, key, "a new certificate has a new key");
}

/// A pair that was copied without what is kept beside it, or that another user got: the pinned root is fetched to judge it,
/// and nothing is spent.
#[test]
fn a_pair_without_its_directory_is_judged_by_the_pinned_root() {
    let scene = Scene::new();
    scene.enroll().ok();
    let pair = scene.pair();
    fs::remove_dir_all(scene.path(".server.key.trustup")).unwrap();
    let connections = scene.server.connections();
    let run = scene.enroll().ok();
    assert_eq!(done(&run).0, "kept", "{run}");
    assert_eq!((scene.pair(), scene.server.connections()), (pair, connections + 1));
    assert!(!run.stderr.contains("cannot be used"), "{run}");
}

/// The service is started when there is a pair, and only then.
#[test]
fn the_service_is_started_afterwards() {
    let scene = Scene::new();
    let service = ["--", binary::trustup_str(), "--version"];
    let version = concat!("trustup ", env!("CARGO_PKG_VERSION"), "\n");
    let plain = |more: &[&str]| {
        crate::support::run::Trustup::new(["enroll", "provisioner", "web.test", "--timeout", "10s"])
            .args(["--ca-url", &scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex()])
            .arg("--cert")
            .arg(scene.path("server.crt"))
            .arg("--key")
            .arg(scene.path("server.key"))
            .args(more)
            .args(service)
            .env("HOME", scene.directory.path())
    };
    write(&scene.path("wrong"), b"wrong", 0o600);
    let (wrong, right) =
        (scene.path("wrong").display().to_string(), scene.path("password").display().to_string());
    assert_eq!(plain(&["--password-file", &wrong]).fails(4).stdout, "");
    assert_eq!(plain(&["--password-file", &right, "--dry-run"]).ok().stdout, "");
    for _ in 0..2 {
        assert_eq!(plain(&["--password-file", &right]).ok().stdout, version);
    }
    scene.pair();
}

#[test]
fn nothing_is_changed_or_asked_by_a_dry_run() {
    let scene = Scene::new();
    let before = crate::support::tree::Tree::of(scene.directory.path());
    let run = scene.enroll().arg("--dry-run").ok();
    assert_eq!((done(&run).0.as_str(), scene.server.connections()), ("planned", 0));
    before.assert_same(&crate::support::tree::Tree::of(scene.directory.path()), "dry run");
}

#[test]
fn modes_owners_and_files_are_put_right_without_asking() {
    let scene = Scene::new();
    scene.enroll().ok();
    let (leaf, _) = scene.pair();
    let connections = scene.server.connections();
    let wanted = |run: crate::support::run::Trustup| {
        run.args(["--key-mode", "0640", "--cert-mode", "0600"])
            .arg("--chain")
            .arg(scene.path("chain.crt"))
            .arg("--ca-out")
            .arg(scene.path("ca.crt"))
    };
    let run = wanted(scene.enroll()).ok();
    assert_eq!(done(&run).0, "placed-again");
    assert_eq!((mode(&scene.path("server.crt")), mode(&scene.path("server.key"))), (0o600, 0o640));
    assert_eq!(super::chain(&scene.path("chain.crt"))[0].issuer_der(), scene.ca.root().subject_der());
    assert_eq!(super::chain(&scene.path("ca.crt"))[0].fingerprint(), scene.ca.fingerprint());
    assert_eq!(scene.pair().0, leaf);
    assert_eq!(done(&wanted(scene.enroll()).ok()).0, "kept");
    // Somebody damages the copy of the chain.
    fs::write(scene.path("chain.crt"), "nonsense").unwrap();
    assert_eq!(done(&wanted(scene.enroll()).ok()).0, "placed-again");
    assert_eq!(scene.server.connections(), connections);
}

#[test]
fn what_is_wrong_with_a_pair_is_said_and_mended() {
    let scene = Scene::new();
    let replaced = |names: &[&str], word: &str| {
        let run = scene.enroll_for(names).ok();
        let (action, reason) = done(&run);
        assert_eq!(action, "issued", "{run}");
        assert!(reason.contains(word), "`{word}` in {reason}");
        scene.pair();
    };
    replaced(&["web.test"], "there was no certificate");
    replaced(&["web.test", "other.test"], "it is not for `other.test`");
    replaced(&["other.test"], "it is also for `web.test`");
    fs::remove_file(scene.path("server.key")).unwrap();
    replaced(&["other.test"], "a certificate without its key");
    fs::remove_file(scene.path("server.crt")).unwrap();
    replaced(&["other.test"], "a key without a certificate");
    fs::write(scene.path("server.crt"), "-----BEGIN CERTIFICATE-----\nhalf").unwrap();
    replaced(&["other.test"], "the certificate file cannot be used");
    fs::write(scene.path("server.key"), "-----BEGIN PRIVATE KEY-----\nhalf").unwrap();
    replaced(&["other.test"], "the key cannot be used");
    let (_, key) = scene.pair();
    replaced(&["another.test"], "it is not for");
    fs::write(scene.path("server.key"), key).unwrap();
    replaced(&["another.test"], "it is for another key");
    let run = scene.enroll_for(&["another.test"]).args(["--key-type", "ed25519"]).ok();
    assert!(done(&run).1.contains("not of type ed25519"), "{run}");
}

#[test]
fn t21_a_key_that_others_know_or_could_have_put_there_is_replaced() {
    let scene = Scene::new();
    scene.enroll().ok();
    let key = scene.path("server.key");
    for (bits, word) in [(0o644, "mode 0644"), (0o660, "mode 0660")] {
        fs::set_permissions(&key, fs::Permissions::from_mode(bits)).unwrap();
        let run = scene.enroll().ok();
        assert_eq!(done(&run).0, "issued");
        assert!(done(&run).1.contains(word), "{run}");
        assert_eq!(mode(&key), 0o600);
    }
    fs::set_permissions(scene.directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let run = scene.enroll().run();
    // It cannot be made good where others can write: that is said, and what stands there is named.
    assert_ne!(run.code, Some(0), "{run}");
    run.says(["other users can write", "--allow-shared-directory"]);
    let shared = |run: crate::support::run::Trustup| done(&run.arg("--allow-shared-directory").ok()).0;
    assert_eq!(shared(scene.enroll()), "kept");
    assert_eq!(shared(scene.enroll().arg("--force")), "issued");
    // It loosens a check: no variable does that.
    let run = scene.enroll().env("TRUSTUP_ALLOW_SHARED_DIRECTORY", "1").run();
    assert_eq!(run.code, Some(1), "{run}");
    fs::set_permissions(scene.directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(done(&scene.enroll().ok()).0, "kept");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&key, Some(4711), None).unwrap();
        let run = scene.enroll().ok();
        assert!(done(&run).1.contains("the key belongs to user 4711"), "{run}");
    }
}

#[test]
fn t21_a_planted_pair_with_the_right_names_is_replaced() {
    let scene = Scene::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["web.test".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2036, 1, 1);
    let planted = params.self_signed(&key).unwrap();
    write(&scene.path("server.crt"), pem("CERTIFICATE", planted.der()).as_bytes(), 0o644);
    write(&scene.path("server.key"), pem("PRIVATE KEY", &key.serialize_der()).as_bytes(), 0o600);
    // The second time the CA's root is known here, so that nobody has to be asked to see it.
    for _ in 0..2 {
        let run = scene.enroll().ok();
        assert_eq!(done(&run).0, "issued");
        assert!(done(&run).1.contains("its chain does not end at"), "{run}");
        write(&scene.path("server.crt"), pem("CERTIFICATE", planted.der()).as_bytes(), 0o644);
        write(&scene.path("server.key"), pem("PRIVATE KEY", &key.serialize_der()).as_bytes(), 0o600);
    }
}

/// A pair of a CA of its own, whose life began and ends so many hours from now.
pub(super) fn pair_of_hours(scene: &Scene, from: i64, until: i64) -> std::path::PathBuf {
    let authority = root("Own Root");
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["web.test".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let moment = |hours: i64| {
        let seconds = trustup::host::env::Env::os().now() + hours * 3600;
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(u64::try_from(seconds).unwrap())
    };
    (params.not_before, params.not_after) = (moment(from), moment(until));
    let leaf = authority.sign_for(params, &key);
    write(&scene.path("server.crt"), pem("CERTIFICATE", &leaf).as_bytes(), 0o644);
    write(&scene.path("server.key"), pem("PRIVATE KEY", &key.serialize_der()).as_bytes(), 0o600);
    authority.write(scene.directory.path(), "own.pem")
}

#[test]
fn a_pair_that_is_due_and_cannot_be_replaced_works_on() {
    let scene = Scene::new();
    let own = pair_of_hours(&scene, -3, 1);
    let run = |more: &[&str]| {
        scene
            .plain("provisioner")
            .args(["web.test", "--ca-url", "https://localhost:1", "--timeout", "1s"])
            .args(more)
            .arg("--ca-root")
            .arg(&own)
            .arg("--password-file")
            .arg(scene.path("password"))
    };
    let kept = run(&[]).ok();
    assert_eq!(done(&kept).0, "kept-for-now", "{kept}");
    assert!(done(&kept).1.contains("is due since"), "{kept}");
    assert_eq!(result(&kept)["problem"]["kind"], "unreachable");
    kept.says(["could not be replaced, and works until"]);
    // The next that is heard of it may be its end: also where only errors are wanted.
    run(&["--quiet"]).ok().says(["could not be replaced, and works until", "refused the connection"]);
    // Who insists is told.
    run(&["--force"]).fails(6);
    assert!(!scene.path(".server.key.trustup").exists(), "nothing is left of a run that asked nobody");

    let own = pair_of_hours(&scene, -3, -1);
    let expired = scene
        .plain("provisioner")
        .args(["web.test", "--ca-url", "https://localhost:1", "--timeout", "1s"])
        .arg("--ca-root")
        .arg(&own)
        .arg("--password-file")
        .arg(scene.path("password"))
        .fails(6);
    expired.says(["it expired at"]);

    let own = pair_of_hours(&scene, -1, 3);
    let run = scene
        .plain("provisioner")
        .args(["web.test", "--ca-url", "https://localhost:1"])
        .arg("--ca-root")
        .arg(&own)
        .arg("--password-file")
        .arg(scene.path("password"))
        .ok();
    assert_eq!(done(&run).0, "kept");
}
