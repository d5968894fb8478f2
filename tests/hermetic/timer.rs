//! `trustup renew --install-timer` as far as nothing is written: what the service would run, and what is refused. That
//! it works is seen under a real systemd (`tools::systemd`).

use std::fs;
use std::process::Command;

use crate::renew::{config, configured, renew};
use crate::support::binary;
use crate::support::enrollment::Scene;
use crate::support::program::copy_for_all;
use crate::support::run::Trustup;

#[test]
fn a_dry_run_names_the_files_and_writes_none() {
    let scene = Scene::new();
    scene.enroll().ok();
    let before = fs::read_dir("/etc/systemd/system").map(Iterator::count).ok();
    let run = renew(&scene).args(["--install-timer", "systemd", "--dry-run"]).run();
    if run.code == Some(5) {
        run.says(["there is no systemd here", "let cron start `trustup renew --quiet`"]);
        return;
    }
    assert_eq!(run.code, Some(0), "{run}");
    let json = run.json();
    assert_eq!(
        (json["changed"].as_bool(), json["files"].as_array().map(Vec::len)),
        (Some(false), Some(3)),
        "{run}"
    );
    assert_eq!(fs::read_dir("/etc/systemd/system").map(Iterator::count).ok(), before);
}

#[test]
fn what_a_unit_cannot_have_is_refused() {
    let scene = Scene::new();
    scene.enroll().ok();
    let timer = |run: Trustup| run.args(["--install-timer", "systemd", "--dry-run"]);
    // The service would run in another directory.
    let run = Trustup::new(["renew", "--cert", "server.crt", "--key", "server.key"])
        .env("HOME", scene.directory.path());
    timer(run).fails(2).says(["needs absolute paths", "give `--cert` the path from `/` on"]);
    let run = timer(renew(&scene)).run();
    assert!(!run.stderr.contains("needs absolute paths"), "{run}");
    for option in ["--daemon", "--check", "--force", "--remove-timer"] {
        timer(renew(&scene)).arg(option).fails(2).says(["cannot be used with"]);
    }
    timer(renew(&scene)).args(["--due", "never"]).fails(2);
    // A directory that the service could not write to, and that does not exist.
    let file = config(&scene, "");
    let text = fs::read_to_string(&file).expect("the configuration");
    let text =
        text.replace(&scene.path("server.crt").display().to_string(), "/etc/trustup-test-none/server.crt");
    fs::write(&file, text).expect("written");
    timer(configured(&scene, &file)).fails(2).says(["does not exist yet", "make it first: `mkdir -p"]);
    // Variables of this shell are not those of the service.
    let file = config(&scene, "");
    let run = timer(configured(&scene, &file).env("TRUSTUP_DUE", "50%")).run();
    run.says(["the timer does not get these variables: TRUSTUP_DUE"]);
}

/// T46: root would run it again and again.
#[test]
fn t46_a_program_that_others_could_replace_is_refused() {
    let scene = Scene::new();
    scene.enroll().ok();
    let place = tempfile::tempdir().expect("a directory");
    let copy = copy_for_all(binary::trustup(), place.path(), 0o777);
    let pair = [scene.path("server.crt"), scene.path("server.key")];
    let run = Command::new(copy)
        .env_clear()
        .env("HOME", scene.directory.path())
        .args(["renew", "--install-timer", "systemd", "--dry-run", "--cert"])
        .arg(&pair[0])
        .arg("--key")
        .arg(&pair[1])
        .output()
        .expect("a run");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.code() == Some(2) && said.contains("other users could replace trustup"), "{said}");
}
