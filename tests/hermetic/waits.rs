//! A wait for a server says what it waits for, why, and how long it still has; a short one says nothing.

use std::time::{Duration, Instant};

use crate::support::run::{Run, Trustup};
use crate::support::silent_server::SilentServer;

fn bootstrap(options: &[&str], url: &str) -> Run {
    let root = crate::support::run::unpacked("debian-12");
    let pin = "ab".repeat(32);
    let rest = ["bootstrap", "--fingerprint", &pin, "--ca-url", url];
    Trustup::at(root.path(), options.iter().chain(&rest)).run()
}

fn lines(run: &Run) -> Vec<&str> {
    run.stderr.lines().filter(|line| line.starts_with("waiting for ")).collect()
}

#[test]
fn a_wait_for_a_server_says_what_it_waits_for() {
    let refused = "https://127.0.0.1:1";
    let began = Instant::now();
    let run = bootstrap(&["--wait", "6s"], refused);
    assert_eq!(run.code, Some(6), "{run}");
    assert!(began.elapsed() >= Duration::from_secs(6), "{run}");
    let said = lines(&run);
    // After two seconds, and every three seconds from then on.
    assert!((1..=3).contains(&said.len()), "{run}");
    assert!(said[0].starts_with("waiting for `https://127.0.0.1:1`, "), "{run}");
    assert!(said[0].contains(" s left: ") && said[0].contains("refused the connection"), "{run}");
    assert!(!run.stdout.contains("waiting"), "{run}");

    // A server that accepts and is silent is waited for within one attempt.
    let silent = SilentServer::start();
    let run = bootstrap(&["--wait", "1s", "--timeout", "4s", "--json"], &silent.url());
    assert_eq!(run.code, Some(6), "{run}");
    assert!(
        lines(&run).iter().any(|line| line.contains("last attempt") && line.contains("no answer yet")),
        "{run}"
    );
    assert_eq!(run.json()["error"]["exit_code"], 6);
}

#[test]
fn nothing_is_said_about_a_short_wait_or_to_who_wants_no_words() {
    for options in [&["--wait", "1s"][..], &["--quiet", "--wait", "3s"]] {
        let run = bootstrap(options, "https://127.0.0.1:1");
        assert_eq!((run.code, lines(&run).len()), (Some(6), 0), "{run}");
    }
    // Without `--wait` there is one attempt, and nothing to say.
    let silent = SilentServer::start();
    let run = bootstrap(&["--timeout", "3s"], &silent.url());
    assert_eq!((run.code, lines(&run).len()), (Some(6), 0), "{run}");
}

#[test]
fn token_and_enroll_say_it_too() {
    let place = tempfile::tempdir().unwrap();
    let password = place.path().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    let pin = "ab".repeat(32);
    let ca = ["--ca-url", "https://127.0.0.1:1", "--fingerprint", &pin, "--provisioner", "admin"];
    let run = Trustup::new(["--wait", "4s", "token", "a.test"])
        .args(ca)
        .arg("--password-file")
        .arg(&password)
        .run();
    assert_eq!(run.code, Some(6), "{run}");
    assert!(!lines(&run).is_empty(), "{run}");
    let run = Trustup::new(["--wait", "4s", "--timeout", "1s", "enroll", "provisioner", "a.test"]).args(ca);
    let run = run.arg("--password-file").arg(&password).arg("--cert").arg(place.path().join("a.crt"));
    let run = run.arg("--key").arg(place.path().join("a.key")).run();
    assert_eq!(run.code, Some(6), "{run}");
    assert!(lines(&run)[0].starts_with("waiting for `https://127.0.0.1:1`, "), "{run}");
}
