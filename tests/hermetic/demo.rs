//! `trustup demo`, as a newcomer runs it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use crate::support::binary;
use crate::support::program::copy_for_all;
use crate::support::run::Trustup;

#[test]
fn the_demo_proves_itself_and_leaves_nothing() {
    let demo = Trustup::new(["demo"]).env("TMPDIR", "/nowhere/at/all");
    demo.fails(1).says(["hint: TMPDIR names the directory that it is made in"]);
    let temporary = TempDir::new().expect("temporary directory");
    let run = Trustup::new(["demo"]).env("TMPDIR", temporary.path()).run();
    assert_eq!(run.code, Some(0), "{run:?}");
    for words in [
        "refuses the CA's server",
        "accepts the CA's server",
        "write-file",
        "does not match",
        "accepts a server with it",
        "a client with another root refuses a server with it",
        "proven: 5 root file systems",
        "a server with a certificate of the CA was accepted",
    ] {
        assert!(run.stderr.contains(words), "{words:?} is missing: {}", run.stderr);
    }
    assert_eq!(run.stdout, "", "talk goes to stderr");
    assert_eq!(fs::read_dir(temporary.path()).expect("directory").count(), 0);
}

#[test]
fn the_demo_as_json_is_one_object() {
    let temporary = TempDir::new().expect("temporary directory");
    let run = Trustup::new(["--json", "demo"]).env("TMPDIR", temporary.path()).run();
    assert_eq!(run.code, Some(0), "{run:?}");
    let object: serde_json::Value = run.json();
    assert_eq!(object["command"], "demo");
    assert_eq!(object["proven"]["systems"].as_array().map(Vec::len), Some(5), "{object}");
    assert_eq!(object["proven"]["wrong_pin_refused"], true);
    let enrollment = &object["proven"]["enrollment"];
    assert_eq!((&enrollment["name"], &enrollment["second_run_idle"]), (&"web.internal".into(), &true.into()));
    assert!(enrollment["accepted_by"].as_array().is_some_and(|stores| !stores.is_empty()), "{object}");
}

#[test]
fn the_demo_needs_no_root_rights_and_no_variable() {
    if !rustix::process::geteuid().is_root() {
        // Then the other tests have shown it.
        return;
    }
    let temporary = TempDir::new().expect("temporary directory");
    fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o1777)).expect("mode");
    // A checkout may lie where only its owner can enter.
    let place = TempDir::new().expect("directory");
    let run = Trustup::new(["demo"])
        .binary(&copy_for_all(binary::trustup(), place.path(), 0o755))
        .uid(12345)
        .env("TMPDIR", temporary.path())
        .env("https_proxy", "http://192.0.2.1:1")
        .env("CA_URL", "https://ca.test")
        .env("TRUSTUP_CA_FILE", "/nonexistent")
        .run();
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(fs::read_dir(temporary.path()).expect("directory").count(), 0);
}

#[test]
fn the_demo_works_on_its_own_trees_only() {
    let place = TempDir::new().expect("directory");
    let run = Trustup::at(place.path(), ["demo"]).run();
    assert_eq!(run.code, Some(2), "{run:?}");
}
