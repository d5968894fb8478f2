//! Hooks after a change of a certificate: what they know, and what becomes of those that fail.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::renew::{config, configured, record, renew};
use crate::support::enrollment::{Scene, write};
use crate::support::run::Trustup;
use crate::support::servers::wait_for;

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
    i64::try_from(now.as_secs()).expect("a time")
}

/// A hook that writes its environment and arguments to `called`, and fails while `broken` exists.
fn hook(scene: &Scene) -> PathBuf {
    let script = format!(
        "#!/bin/sh\nenv > {0}/environment\nfor word in \"$@\"; do echo \"$word\" >> {0}/called; done\nif [ -e {0}/broken ]; then echo sorry >&2; exit 3; fi\n",
        scene.directory.path().display()
    );
    write(&scene.path("hook"), script.as_bytes(), 0o755);
    scene.path("hook")
}

pub(super) fn with_hook(scene: &Scene) -> PathBuf {
    let hook = hook(scene);
    let file = config(scene, "");
    let mut text = fs::read_to_string(&file).expect("the configuration");
    text.push_str(&format!(
        "[[certificate.hook]]\ncommand = [\"{}\", \"two words\", \"$(x)\"]\ntimeout = \"20s\"\n",
        hook.display()
    ));
    write(&file, text.as_bytes(), 0o600);
    file
}

/// The value of `TRUSTUP_NAME` that the hook got last.
fn variable(scene: &Scene, name: &str) -> String {
    let environment = fs::read_to_string(scene.path("environment")).expect("the hook ran");
    assert!(!environment.contains("hunter2"), "no secret of ours: {environment}");
    let line = environment
        .lines()
        .find_map(|line| line.strip_prefix(&format!("TRUSTUP_{name}=")).map(str::to_owned));
    line.unwrap_or_else(|| panic!("no TRUSTUP_{name}: {environment}"))
}

#[test]
fn a_hook_runs_after_each_change_and_knows_what_changed() {
    let scene = Scene::new();
    let file = with_hook(&scene);
    let run = || configured(&scene, &file).env("TRUSTUP_TOKEN", "hunter2");
    let variable = |name: &str| variable(&scene, name);
    run().ok();
    assert_eq!(fs::read_to_string(scene.path("called")).expect("called"), "two words\n$(x)\n");
    let first = hex::encode(scene.pair().0.serial());
    assert_eq!((variable("EVENT"), variable("NEW_SERIAL")), ("enrolled".to_owned(), first.clone()));
    assert_eq!(variable("CERT"), scene.path("server.crt").display().to_string());
    assert_eq!(variable("NAMES"), "web.test");
    // Nothing changes: it does not run.
    fs::remove_file(scene.path("called")).expect("removed");
    run().ok();
    assert!(!scene.path("called").exists());
    run().arg("--force").ok();
    let second = hex::encode(scene.pair().0.serial());
    assert_eq!(
        (variable("EVENT"), variable("REASON")),
        ("renewed".to_owned(), "`--force` was given".to_owned())
    );
    assert_eq!((variable("OLD_SERIAL"), variable("NEW_SERIAL")), (first, second));
}

#[test]
fn a_hook_that_failed_is_run_again_without_asking_the_ca() {
    let scene = Scene::new();
    let file = with_hook(&scene);
    write(&scene.path("broken"), b"", 0o600);
    let run = configured(&scene, &file).fails(7);
    run.says([
        "the hook failed",
        "sorry",
        "the change itself is done; the next run, or the daemon, runs the hook again without asking the CA",
    ]);
    let serial = scene.pair().0.serial().to_vec();
    let pending = record(&scene)["hooks"].clone();
    assert_eq!((pending[0]["attempts"].as_u64(), pending[0]["event"].as_str()), (Some(1), Some("enrolled")));
    configured(&scene, &file).fails(1);
    assert_eq!(record(&scene)["hooks"][0]["attempts"], 2);
    fs::remove_file(scene.path("broken")).expect("removed");
    configured(&scene, &file).ok();
    assert_eq!(record(&scene)["hooks"], serde_json::json!([]));
    assert_eq!(scene.pair().0.serial(), serial, "the same certificate all the time");
}

/// Every pending hook is there, and each failure is reported.
#[test]
fn each_failed_hook_is_reported_and_a_late_one_is_ended() {
    let scene = Scene::new();
    let file = with_hook(&scene);
    write(&scene.path("broken"), b"", 0o600);
    let slow = scene.path("slow");
    write(&slow, b"#!/bin/sh\nexec sleep 600\n", 0o755);
    let mut text = fs::read_to_string(&file).expect("the configuration");
    text.push_str(&format!("[[certificate.hook]]\ncommand = [\"{}\"]\ntimeout = \"1s\"\n", slow.display()));
    write(&file, text.as_bytes(), 0o600);
    configured(&scene, &file).fails(7).says(["sorry", "the hook took longer than 1 s and was stopped"]);
    let pending = record(&scene)["hooks"].clone();
    assert_eq!(pending.as_array().map(Vec::len), Some(2), "{pending}");
    // The guide: 1 if only the hook was left, also if it takes too long.
    configured(&scene, &file).fails(1).says(["sorry", "the hook took longer than 1 s and was stopped"]);
    // A renewal without that file does not know them, and forgets none.
    renew(&scene).arg("--force").ok();
    assert_eq!(record(&scene)["hooks"].as_array().map(Vec::len), Some(2));
}

/// T23: what others could replace is not run, and what is not there is said to be so.
#[test]
fn a_hook_that_cannot_run_or_that_others_can_replace_is_refused() {
    let scene = Scene::new();
    let file = with_hook(&scene);
    let hook = scene.path("hook");
    let refused = |words: &[&str]| {
        let run = configured(&scene, &file).run();
        assert!(run.code == Some(7) || run.code == Some(1), "{run}");
        run.says(words.iter().copied());
        assert!(!scene.path("called").exists(), "{run}");
    };
    let mode = |mode| fs::set_permissions(&hook, fs::Permissions::from_mode(mode)).expect("changed");
    mode(0o777);
    refused(&["other users could replace the hook", "no other user may write there: `chmod"]);
    mode(0o644);
    refused(&[
        "the hook cannot be started",
        "it is not executable for this user",
        "make it executable: `chmod a+x",
    ]);
    fs::remove_file(&hook).expect("removed");
    refused(&["the hook does not exist", "install it here (a container needs it in its own image)"]);
    self::hook(&scene);
    configured(&scene, &file).ok();
    assert!(scene.path("called").exists());
}

/// An overdue hook neither waits for the renewal, nor keeps the daemon busy, nor makes it ask the CA.
#[test]
fn the_daemon_runs_a_hook_again_apart_from_the_renewal() {
    let scene = Scene::new();
    let file = with_hook(&scene);
    write(&scene.path("broken"), b"", 0o600);
    configured(&scene, &file).fails(7);
    // Another replica renews it: as its lease says, and as long as that counts.
    let until = now() + 60;
    let lease = format!("{{\"schema\":1,\"holder\":\"other\",\"host\":\"replica-2\",\"until\":{until}}}");
    let own = scene.path(".server.key.trustup");
    write(&own.join("lease.json"), lease.as_bytes(), 0o600);
    let daemon = Trustup::new(["--timeout", "2m", "renew", "--daemon", "--allow-shared-config", "--config"]);
    let daemon = daemon.arg(&file).env("HOME", scene.directory.path()).start();
    wait_for("the daemon", || daemon.has_handler(Signal::USR1).then_some(()));
    daemon.signal(Signal::USR1);
    let attempts = || record(&scene)["hooks"][0]["attempts"].as_u64().unwrap_or_default();
    wait_for("a second attempt of the hook", || (attempts() >= 2).then_some(()));
    fs::remove_file(scene.path("broken")).expect("removed");
    wait_for("its success", || (record(&scene)["hooks"] == serde_json::json!([])).then_some(()));
    assert_eq!(record(&scene)["totals"]["attempts"], 1, "the CA was not asked");
    daemon.signal(Signal::TERM);
    let run = daemon.end();
    assert_eq!(run.code, Some(0), "{run}");
    run.says(["another trustup on `replica-2` renews it", "a hook failed, and is run again later"]);
    assert_eq!(run.stderr.matches("another trustup on").count(), 1, "{run}");
}

#[test]
fn a_pair_that_another_program_replaced_is_told_to_the_hooks() {
    let scene = Scene::new();
    let file = with_hook(&scene);
    configured(&scene, &file).ok();
    let first = hex::encode(scene.pair().0.serial());
    // The record of renewals knows nothing of it.
    scene.enroll().arg("--force").ok();
    let second = hex::encode(scene.pair().0.serial());
    configured(&scene, &file).ok();
    let seen = ["EVENT", "OLD_SERIAL", "NEW_SERIAL"].map(|name| variable(&scene, name));
    assert_eq!(seen, ["replaced".to_owned(), first, second]);
    let paths = ["KEY", "CHAIN"].map(|name| variable(&scene, name));
    assert_eq!(paths, [scene.path("server.key").display().to_string(), String::new()]);
}

/// A service that has missed changes is told of all of them: the oldest serial number that it may still use.
#[test]
fn a_hook_that_missed_a_change_learns_the_oldest_certificate() {
    let scene = Scene::new();
    let file = with_hook(&scene);
    configured(&scene, &file).ok();
    let first = hex::encode(scene.pair().0.serial());
    write(&scene.path("broken"), b"", 0o600);
    for _ in 0..2 {
        configured(&scene, &file).arg("--force").fails(7);
    }
    fs::remove_file(scene.path("broken")).expect("removed");
    configured(&scene, &file).ok();
    let last = hex::encode(scene.pair().0.serial());
    let seen = ["EVENT", "OLD_SERIAL", "NEW_SERIAL"].map(|name| variable(&scene, name));
    assert_eq!(seen, ["renewed".to_owned(), first, last]);
}

/// A signal ends the hook, and the next run repeats it.
#[test]
fn a_signal_during_a_hook_leaves_it_to_the_next_run() {
    let scene = Scene::new();
    let file = with_hook(&scene);
    let script = format!(
        "#!/bin/sh\n: > {0}/began\n[ -e {0}/quick ] || exec sleep 600\n",
        scene.directory.path().display()
    );
    write(&scene.path("hook"), script.as_bytes(), 0o755);
    let run = configured(&scene, &file).start();
    wait_for("the hook", || scene.path("began").exists().then_some(()));
    run.signal(Signal::TERM);
    let run = run.end();
    assert_ne!(run.code, Some(0), "{run}");
    let pending = record(&scene)["hooks"].clone();
    assert_eq!(
        (pending.as_array().map(Vec::len), pending[0]["attempts"].as_u64()),
        (Some(1), Some(0)),
        "{run}"
    );
    write(&scene.path("quick"), b"", 0o600);
    configured(&scene, &file).ok();
    assert_eq!(record(&scene)["hooks"], serde_json::json!([]));
}

#[test]
fn a_hook_is_a_list_with_an_absolute_path() {
    let scene = Scene::new();
    let base = fs::read_to_string(config(&scene, "")).expect("the configuration");
    for (hook, said) in [
        ("command = \"nginx -s reload\"", "should be a list with the absolute path of a program"),
        ("command = [\"nginx\", \"-s\", \"reload\"]", "should be a list with the absolute path of a program"),
        ("command = \"/usr/sbin/nginx -s reload\"", "should be a list with the absolute path of a program"),
        ("timeout = \"5s\"", "command"),
        ("command = [\"/bin/true\"]\ntimeout = \"2d\"", "should be a duration of one second to one hour"),
        ("command = [\"/bin/true\"]\nshell = true", "shell"),
    ] {
        write(&scene.path("trustup.toml"), format!("{base}[[certificate.hook]]\n{hook}\n").as_bytes(), 0o600);
        configured(&scene, &scene.path("trustup.toml")).fails(2).says([said]);
        let check = Trustup::new(["config", "check", "--allow-shared-config", "--config"]);
        check.arg(scene.path("trustup.toml")).fails(2).says([said]);
    }
    write(
        &scene.path("trustup.toml"),
        format!("{base}[[certificate.hook]]\ncommand = [\"/bin/true\"]\n").as_bytes(),
        0o600,
    );
    configured(&scene, &scene.path("trustup.toml")).ok();
}
