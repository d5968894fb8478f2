//! `trustup dev-ca` as people start it: what it keeps, what it says, how it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use crate::support::dev_ca::DevCaProcess;
use crate::support::run::{Trustup, unpacked};

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).expect("metadata").permissions().mode() & 0o7777
}

#[test]
fn t25_what_it_keeps_is_for_its_owner_alone() {
    let ca = DevCaProcess::start(&[]);
    let state = ca.state();
    assert_eq!(mode(&state), 0o700);
    for (name, wanted) in [("ca.json", 0o600), ("password", 0o600), ("root.pem", 0o644)] {
        assert_eq!(mode(&state.join(name)), wanted, "{name}");
    }
    let password = fs::read_to_string(ca.password_file()).expect("password");
    assert_eq!(password.len(), 32);
    let log = ca.log();
    assert!(log.contains("not for production"), "{log}");
    assert!(!log.contains(&password) && !log.contains("PRIVATE KEY"), "{log}");
    assert!(log.contains(&format!(
        "trustup bootstrap --ca-url {} --fingerprint {}",
        ca.url(),
        ca.fingerprint()
    )));
    assert!(log.contains("trustup enroll provisioner web.internal --ca-url "), "{log}");
}

#[test]
fn it_ends_with_sigterm_and_is_the_same_afterwards() {
    let mut ca = DevCaProcess::start(&["--name", "example.com"]);
    assert_eq!(ca.said()["changed"], true);
    let (fingerprint, password) =
        (ca.fingerprint().to_owned(), fs::read(ca.password_file()).expect("password"));
    assert_eq!(ca.terminate(), Some(0));
    ca.start_again(&[]);
    assert_eq!((ca.fingerprint(), ca.said()["changed"].as_bool()), (&*fingerprint, Some(false)));
    assert_eq!(fs::read(ca.password_file()).expect("password"), password);
    // Nobody else runs it meanwhile.
    let state = ca.state();
    let second = ["dev-ca", "--listen", "127.0.0.1:0", "--state", state.to_str().expect("UTF-8")];
    Trustup::new(second).fails(1).says(["another process runs the CA", "--state DIR"]);
    let port = ca.url().trim_start_matches("https://localhost:");
    let taken = Trustup::new(["dev-ca", "--listen", &format!("127.0.0.1:{port}")]).fails(1);
    taken.says(["could not start the CA's server", "--listen 127.0.0.1:0"]);
    assert_eq!(ca.terminate(), Some(0));
    // Its root cannot be widened.
    let other = [&second[..], &["--name", "example.org"]].concat();
    Trustup::new(other)
        .fails(1)
        .says(["was made for other names, not for example.org", "remove the directory"]);
    let other = [&second[..], &["--provisioner", "other"]].concat();
    Trustup::new(other).fails(1).says(["its provisioner is `dev`, not `other`"]);
    // Keys that others can read, and damage.
    fs::set_permissions(state.join("ca.json"), fs::Permissions::from_mode(0o644)).expect("mode");
    Trustup::new(second).fails(1).says(["other users can read its keys"]);
    fs::set_permissions(state.join("ca.json"), fs::Permissions::from_mode(0o600)).expect("mode");
    fs::write(state.join("ca.json"), "{}").expect("written");
    Trustup::new(second).fails(1).says(["it is not the state of a development CA"]);
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).expect("mode");
    Trustup::new(second).fails(1).says(["other users can write to the directory", "chmod 700"]);
}

#[test]
fn t25_other_hosts_need_a_flag_and_no_variable_sets_it() {
    let place = TempDir::new().expect("directory");
    let state = place.path().join("state");
    let state = state.to_str().expect("UTF-8");
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        Trustup::new(["dev-ca", "--state", state, "--listen", listen])
            .env("TRUSTUP_ALLOW_OTHER_HOSTS", "1")
            .fails(2)
            .says(["listens on loopback only", "--allow-other-hosts"]);
    }
    assert!(!place.path().join("state").exists(), "a CA was made for nothing");
    Trustup::new(["--json", "dev-ca"]).fails(2).says(["--state DIR"]);
    Trustup::at(place.path(), ["dev-ca"]).fails(2);
    Trustup::new(["dev-ca", "--name", "*.example.com"]).fails(2);
    Trustup::new(["dev-ca", "--provisioner", "a\nb"]).fails(2).says(["not a provisioner name"]);
    // The variable is that of `bootstrap --name`, the name of a file.
    Trustup::new(["--dry-run", "dev-ca"]).env("TRUSTUP_NAME", "no host").ok();
    let dry = Trustup::new(["--dry-run", "dev-ca", "--state", state, "--listen", "127.0.0.1:9443"]).ok();
    dry.says(["would run a development CA at https://127.0.0.1:9443"]);
    let ca = DevCaProcess::start(&["--allow-other-hosts", "--listen", "0.0.0.0:0", "--name", "ca"]);
    assert!(ca.url().starts_with("https://ca:"), "{}", ca.url());
    assert!(ca.log().contains("other hosts can reach this CA"), "{}", ca.log());
}

/// The arguments of the line that begins so, of those that it shows people.
fn shown(ca: &DevCaProcess, command: &str) -> Vec<String> {
    let log = ca.log();
    let line = log
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("trustup ").filter(|line| line.starts_with(command)));
    line.unwrap_or_else(|| panic!("{command}: {log}")).split(' ').map(str::to_owned).collect()
}

#[test]
fn the_lines_that_it_shows_work() {
    let ca = DevCaProcess::start(&[]);
    let root = unpacked("debian-12");
    Trustup::at(root.path(), shown(&ca, "bootstrap")).ok();
    let place = TempDir::new().expect("directory");
    let enroll = shown(&ca, "enroll").into_iter().map(|word| match word.as_str() {
        "web.pem" | "web.key" => place.path().join(word).display().to_string(),
        _ => word,
    });
    Trustup::new(enroll.collect::<Vec<_>>()).ok();
    assert_eq!(mode(&place.path().join("web.key")), 0o600);
    let signed = ca.log().lines().filter(|line| line.contains("/sign 201")).count();
    assert_eq!(signed, 1, "{}", ca.log());
}

#[test]
fn t25_doctor_marks_its_root() {
    let ca = DevCaProcess::start(&[]);
    let root = unpacked("debian-12");
    Trustup::at(root.path(), ["bootstrap", "--ca-url", ca.url(), "--fingerprint", ca.fingerprint()]).ok();
    let said = Trustup::at(root.path(), ["doctor", "--json"]).run().json();
    let found = said["findings"].as_array().expect("findings");
    let marked = found.iter().any(|finding| {
        finding["kind"] == "development-root"
            && finding["what"].as_str().is_some_and(|what| what.contains("trustup development CA"))
    });
    assert!(marked, "{said}");
}
