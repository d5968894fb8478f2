//! The embedded CA as the real `step` sees it: it must not see a difference.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::dev_ca::DevCaProcess;
use crate::support::servers::{Daemon, passes, said, step, wait_for};
use crate::support::{binary, schema};

/// A home whose `step` knows the CA.
fn bootstrapped(ca: &DevCaProcess) -> TempDir {
    let home = TempDir::new().expect("home");
    let wanted = ["ca", "bootstrap", "--ca-url", ca.url(), "--fingerprint", ca.fingerprint()];
    passes(&mut step(home.path(), wanted));
    home
}

fn with_password(ca: &DevCaProcess, home: &Path, wanted: &[&str]) -> Command {
    let mut command = step(home, wanted.iter().copied());
    command.args(["--provisioner", "dev", "--provisioner-password-file"]).arg(ca.password_file());
    command
}

/// What `openssl verify` says of `name` in `home` as a server for `host`.
fn verify(ca: &DevCaProcess, home: &Path, name: &str, host: &str) {
    let chain = home.join(name);
    let mut command = Command::new("/usr/bin/openssl");
    command.env_clear().args(["verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", host]);
    command.arg("-CAfile").arg(ca.root_file()).arg("-untrusted").arg(&chain).arg(&chain);
    passes(&mut command);
}

fn text(home: &Path, name: &str) -> String {
    let mut command = Command::new("/usr/bin/openssl");
    command.env_clear().current_dir(home).args(["x509", "-noout", "-text", "-in", name]);
    said(&passes(&mut command))
}

#[test]
#[ignore = "needs step and openssl"]
fn the_real_step_gets_renews_and_rekeys_certificates() {
    let ca = DevCaProcess::start(&[]);
    let home = bootstrapped(&ca);
    let home = home.path();
    assert!(said(&passes(&mut step(home, ["ca", "health"]))).contains("ok"));
    passes(&mut with_password(&ca, home, &["ca", "certificate", "web.internal", "a.pem", "a.key"]));
    verify(&ca, home, "a.pem", "web.internal");
    let first = text(home, "a.pem");
    assert!(first.contains("Subject: CN = web.internal"), "{first}");
    assert!(first.contains("TLS Web Server Authentication, TLS Web Client Authentication"), "{first}");
    assert!(first.contains("1.3.6.1.4.1.37476.9000.64.1"), "{first}");

    passes(&mut step(home, ["ca", "renew", "--force", "a.pem", "a.key"]));
    verify(&ca, home, "a.pem", "web.internal");
    let second = text(home, "a.pem");
    assert_ne!(first, second);
    let key_of = |text: &str| {
        text.split("X509v3 extensions").next().and_then(|text| text.split("pub:").nth(1).map(str::to_owned))
    };
    assert!(key_of(&first).is_some());
    assert_eq!(key_of(&first), key_of(&second), "renewing keeps the key");

    passes(&mut step(home, ["ca", "rekey", "--force", "a.pem", "a.key"]));
    verify(&ca, home, "a.pem", "web.internal");
    let third = text(home, "a.pem");
    assert_ne!(key_of(&first), key_of(&third), "rekeying makes another");
    assert!(third.contains("DNS:web.internal") && third.contains("1.3.6.1.4.1.37476.9000.64.1"), "{third}");
    passes(&mut step(home, ["ca", "renew", "--force", "a.pem", "a.key"]));
}

#[test]
#[ignore = "needs step and openssl"]
fn the_real_step_spends_tokens_once_and_for_their_names() {
    let ca = DevCaProcess::start(&["--name", "example.com"]);
    let home = bootstrapped(&ca);
    let home = home.path();
    let token = |extra: &[&str]| {
        let wanted = [&["ca", "token", "app.test"], extra].concat();
        String::from_utf8(passes(&mut with_password(&ca, home, &wanted)).stdout)
            .expect("token")
            .trim()
            .to_owned()
    };
    let one = token(&["--san", "app.test", "--san", "127.0.0.1", "--san", "www.example.com"]);
    let spend = |name: &str, token: &str, cert: &str| {
        step(home, ["ca", "certificate", name, cert, "t.key", "--force", "--token", token])
            .output()
            .expect("step")
    };
    let done = spend("app.test", &one, "t.pem");
    assert!(done.status.success(), "{}", said(&done));
    verify(&ca, home, "t.pem", "www.example.com");
    let again = spend("app.test", &one, "u.pem");
    assert!(!again.status.success());
    assert!(said(&again).contains("lacked necessary authorization"), "{}", said(&again));
    assert!(ca.log().contains("used before"), "{}", ca.log());
    let other = spend("other.test", &token(&[]), "u.pem");
    assert!(!other.status.success(), "a name that the token does not have");
    // Names outside the root's constraints are refused in words.
    let wanted = ["ca", "certificate", "example.org", "u.pem", "u.key"];
    let refused = with_password(&ca, home, &wanted).output().expect("step");
    assert!(said(&refused).contains("example.org is not a name"), "{}", said(&refused));
    for (life, why) in
        [("30h", "requested duration of 30h1m0s is more than"), ("-30s", "notAfter cannot be in the past")]
    {
        let life = format!("--not-after={life}");
        let wanted = ["ca", "certificate", "app.test", "u.pem", "u.key", &life];
        let refused = with_password(&ca, home, &wanted).output().expect("step");
        assert!(said(&refused).contains(why), "{life}: {}", said(&refused));
    }
    assert!(!home.join("u.pem").exists());
}

#[test]
#[ignore = "needs step and openssl"]
fn the_real_step_uses_a_certificate_instead_of_a_password() {
    let ca = DevCaProcess::start(&[]);
    let home = bootstrapped(&ca);
    let home = home.path();
    passes(&mut with_password(&ca, home, &["ca", "certificate", "birth.internal", "birth.pem", "birth.key"]));
    let wanted = ["ca", "certificate", "web.internal", "x.pem", "x.key", "--provisioner", "x5c"];
    passes(step(home, wanted).args(["--x5c-cert", "birth.pem", "--x5c-key", "birth.key"]));
    verify(&ca, home, "x.pem", "web.internal");
    for (kty, curve) in [("RSA", ""), ("OKP", "Ed25519"), ("EC", "P-384")] {
        let mut wanted =
            vec!["ca", "certificate", "kinds.internal", "k.pem", "k.key", "--force", "--kty", kty];
        if !curve.is_empty() {
            wanted.extend(["--curve", curve]);
        }
        passes(&mut with_password(&ca, home, &wanted));
        verify(&ca, home, "k.pem", "kinds.internal");
        passes(&mut step(home, ["ca", "renew", "--force", "k.pem", "k.key"]));
        verify(&ca, home, "k.pem", "kinds.internal");
    }
    // A pair of another CA is nobody.
    let foreign = DevCaProcess::start(&[]);
    let wanted = ["ca", "certificate", "web.internal", "y.pem", "y.key", "--provisioner", "x5c"];
    let mut command = step(home, wanted);
    command.args(["--x5c-cert", "birth.pem", "--x5c-key", "birth.key", "--ca-url", foreign.url(), "--root"]);
    let refused = command.arg(foreign.root_file()).output().expect("step");
    assert!(said(&refused).contains("lacked necessary authorization"), "{}", said(&refused));
    let root = foreign.root_file().to_str().expect("UTF-8");
    let wanted =
        ["ca", "renew", "--force", "--ca-url", foreign.url(), "--root", root, "birth.pem", "birth.key"];
    let refused = step(home, wanted).output().expect("step");
    assert!(said(&refused).contains("missing client certificate"), "{}", said(&refused));
}

#[test]
#[ignore = "needs step and openssl"]
fn a_kept_ca_is_the_same_after_a_restart() {
    let mut ca = DevCaProcess::start(&[]);
    let home = bootstrapped(&ca);
    let home = home.path();
    passes(&mut with_password(&ca, home, &["ca", "certificate", "web.internal", "a.pem", "a.key"]));
    let before = ca.fingerprint().to_owned();
    assert_eq!(ca.terminate(), Some(0));
    ca.start_again(&[]);
    assert_eq!(ca.fingerprint(), before);
    passes(&mut step(home, ["ca", "renew", "--force", "--ca-url", ca.url(), "a.pem", "a.key"]));
    let mut with = with_password(&ca, home, &["ca", "certificate", "web.internal", "b.pem", "b.key"]);
    passes(with.args(["--ca-url", ca.url()]));
    verify(&ca, home, "b.pem", "web.internal");
}

#[test]
#[ignore = "needs root and unshare"]
fn as_process_1_it_ends_with_sigterm() {
    // The kernel gives process 1 no signal that it has no handler for.
    let place = TempDir::new().expect("directory");
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["--pid", "--fork", "--kill-child", "--", binary::trustup_str()]);
    command.args(["--json", "dev-ca", "--listen", "127.0.0.1:0", "--state"]).arg(place.path().join("state"));
    let daemon = Daemon::start("trustup dev-ca as process 1", command, place.path());
    let said = wait_for("the CA", || {
        let log = daemon.log();
        let line = log.lines().find(|line| line.starts_with('{'))?;
        serde_json::from_str::<serde_json::Value>(line).ok()
    });
    schema::check(&said);
    assert_eq!(said["pid"], 1);
    let children = format!("/proc/{0}/task/{0}/children", daemon.pid());
    let inner = std::fs::read_to_string(children).expect("children");
    let inner = inner.trim().parse().ok().and_then(rustix::process::Pid::from_raw).expect("one child");
    rustix::process::kill_process(inner, rustix::process::Signal::TERM).expect("signal");
    assert_eq!(daemon.ended(), Some(0));
}
