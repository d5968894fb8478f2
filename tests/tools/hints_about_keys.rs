//! Hints about private keys: the command between the backticks is run with the real openssl, and the key that it makes
//! works. And what a sandbox must allow.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::openssl::{openssl, try_openssl};
use crate::support::enrollment::Scene;
use crate::support::hints;
use crate::support::run::{Run, Trustup};

/// `trustup token web.test` with this key of the scene.
fn token(scene: &Scene, key: &str) -> Trustup {
    Trustup::new(["token", "web.test", "--ca-url", &scene.server.url()])
        .args(["--fingerprint", &scene.ca.fingerprint().hex(), "--provisioner", scene.ca.provisioner()])
        .arg("--provisioner-key")
        .arg(scene.path(key))
}

/// Makes a key with `openssl ARGUMENTS`.
fn make(place: &Path, arguments: &str) {
    openssl(place, &arguments.split(' ').collect::<Vec<_>>());
}

#[test]
#[ignore = "needs openssl"]
fn a_key_is_made_or_converted_by_the_command_of_the_hint() {
    let scene = Scene::new();
    let place = scene.directory.path();
    make(place, "genpkey -out plain.pem -algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    for (made, hint) in [
        (
            "genpkey -out weak.pem -algorithm RSA -pkeyopt rsa_keygen_bits:1024",
            "generate another: `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem`",
        ),
        (
            "ec -in plain.pem -conv_form compressed -out weak.pem",
            "convert it: `openssl ec -in KEY -conv_form uncompressed -out key.pem`",
        ),
    ] {
        make(place, made);
        let refused = token(&scene, "weak.pem").fails(5);
        refused.says([hint]);
        hints::follow(&hints::command(&refused, "openssl"), place, &[("KEY", "weak.pem")], "");
        token(&scene, "key.pem").ok();
        fs::remove_file(place.join("key.pem")).unwrap();
    }
    let hint = "use an EC key on P-256 or P-384, an RSA key of 2048 to 4096 bits, or an Ed25519 key, as PEM";
    for other in ["-algorithm EC -pkeyopt ec_paramgen_curve:P-521", "-algorithm ED448"] {
        make(place, &format!("genpkey -out other.pem {other}"));
        token(&scene, "other.pem").fails(5).says([hint]);
    }
    for good in [
        "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
        "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        "-algorithm RSA -pkeyopt rsa_keygen_bits:4096",
        "-algorithm ED25519",
    ] {
        make(place, &format!("genpkey -out good.pem {good}"));
        token(&scene, "good.pem").ok();
    }
}

#[test]
#[ignore = "needs openssl"]
fn a_damaged_key_is_checked_by_the_command_of_the_hint() {
    let scene = Scene::new();
    let place = scene.directory.path();
    make(place, "genpkey -out good.pem -algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    make(place, "pkey -in good.pem -outform DER -out good.der");
    let good = fs::read_to_string(place.join("good.pem")).unwrap();
    let der = fs::read(place.join("good.der")).unwrap();
    let damaged = |at: usize| {
        let mut der = der.clone();
        der[at] ^= 1;
        crate::support::ca::pem("PRIVATE KEY", &der)
    };
    // A tag, and a byte of the private half: the public one belongs to another key then.
    for content in [damaged(5), damaged(10)] {
        fs::write(place.join("damaged.pem"), content).unwrap();
        let refused = token(&scene, "damaged.pem").fails(2);
        refused.says(["hint: `openssl pkey -in KEY -check -noout` says more"]);
        assert_ne!(by_openssl(place, &refused, "damaged.pem").unwrap_err(), "");
    }
    fs::write(place.join("cut.pem"), &good[..good.len() / 2]).unwrap();
    let refused = token(&scene, "cut.pem").fails(2);
    refused.says(["copy it again, whole; `openssl pkey -in KEY -check -noout` says whether it is"]);
    by_openssl(place, &refused, "cut.pem").unwrap_err();
    fs::write(place.join("cut.pem"), &good).unwrap();
    by_openssl(place, &refused, "cut.pem").unwrap();
    token(&scene, "cut.pem").ok();
}

/// Runs the hint's command on this key: what it says, and whether the key is good.
fn by_openssl(place: &Path, refused: &Run, key: &str) -> Result<String, String> {
    let command = hints::command(refused, "openssl").replace("KEY", key);
    try_openssl(place, &command.split(' ').skip(1).collect::<Vec<_>>())
}

#[test]
#[ignore = "needs strace"]
fn a_sandbox_allows_the_call_that_the_hint_names() {
    let scene = Scene::new();
    let log = scene.path("calls");
    let refused = scene.enroll().refusing("getrandom", "EINVAL", &log).fails(1);
    refused.says(["a sandbox that filters system calls must allow `getrandom`"]);
    let named = hints::command(&refused, "getrandom");
    let calls = fs::read_to_string(&log).unwrap();
    assert!(calls.lines().any(|line| line.contains(&named) && line.contains("(INJECTED)")), "{calls}");
    scene.enroll().ok();
}

/// A directory on a file system without locks, and one on another.
#[test]
#[ignore = "needs strace"]
fn the_ca_is_kept_where_files_can_be_locked() {
    let place = tempfile::tempdir().unwrap();
    let start = |name: &str| {
        Trustup::new(["dev-ca", "--listen", "127.0.0.1:0", "--state"]).arg(place.path().join(name))
    };
    let refused = start("network").refusing("flock", "ENOLCK", &place.path().join("calls")).fails(5);
    refused.says(["names a directory on a file system with locks, such as a local disk or a tmpfs"]);
    let option = hints::command(&refused, "--state").replace("DIR", "local");
    let running = start(option.split(' ').nth(1).unwrap()).start();
    let root = place.path().join("local/root.pem");
    crate::support::servers::wait_for("the CA's root", || root.exists().then_some(()));
    drop(running);
}

/// The fingerprint as the CA's host shows it.
#[test]
#[ignore = "needs step"]
fn a_fingerprint_is_what_step_prints() {
    let scene = Scene::new();
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("root_ca.crt"), scene.ca.root_pem()).unwrap();
    let with = |pin: &str| {
        let run = Trustup::new(["token", "web.test", "--ca-url", &scene.server.url(), "--fingerprint", pin]);
        run.arg("--password-file").arg(scene.path("password"))
    };
    let refused = with("").fails(2);
    refused.says([
        "give the 64 hex digits that `step certificate fingerprint root_ca.crt` prints on the CA's host",
    ]);
    let command = hints::command(&refused, "step");
    let mut step: Command =
        crate::support::servers::step(home.path(), command.split(' ').skip(1).collect::<Vec<_>>());
    let said = step.output().unwrap();
    let pin = String::from_utf8(said.stdout).unwrap();
    with(pin.trim()).ok();
}
