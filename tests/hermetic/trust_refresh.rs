//! `[trust] refresh`: a daemon for the trust stores alone, and what is refused. How roots change is seen at a real step-ca
//! (`servers::trust_refresh`).

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::support::enrollment::{Scene, write};
use crate::support::run::Trustup;
use crate::support::servers::wait_for;

/// trustup.toml for the CA of the scene and a private store.
fn config(scene: &Scene, refresh: &str, more: &str) -> PathBuf {
    let text = format!(
        "[ca]\nurl = \"{}\"\nfingerprint = \"{}\"\n[trust]\nall_roots = true\nstores = [\"private\"]\n{refresh}\n{more}",
        scene.server.url(),
        scene.ca.fingerprint(),
    );
    write(&scene.path("trustup.toml"), text.as_bytes(), 0o600);
    scene.path("trustup.toml")
}

fn daemon(scene: &Scene) -> Trustup {
    let run = Trustup::new(["--timeout", "5s", "renew", "--daemon", "--allow-shared-config", "--config"]);
    let run = run.arg(scene.path("trustup.toml")).env("HOME", scene.directory.path());
    run.env("TRUSTUP_PRIVATE_DIR", scene.path("private"))
}

#[test]
fn a_daemon_without_certificates_keeps_the_trust_stores_fresh() {
    let scene = Scene::new();
    let (hook, told) = (scene.path("hook"), scene.path("told"));
    let script = format!(
        "#!/bin/sh\nif [ -e {0}/broken ]; then rm {0}/broken; exit 1; fi\necho \"$TRUSTUP_EVENT $TRUSTUP_REASON\" >> {1}\n",
        scene.directory.path().display(),
        told.display()
    );
    write(&hook, script.as_bytes(), 0o755);
    write(&scene.path("broken"), b"", 0o600);
    config(&scene, "refresh = \"24h\"", &format!("[[hook]]\ncommand = [\"{}\"]\n", hook.display()));
    let daemon = daemon(&scene).start();
    wait_for("the daemon", || daemon.has_handler(Signal::USR1).then_some(()));
    daemon.signal(Signal::USR1);
    // The hook fails once, and is run again.
    wait_for("the hook", || told.exists().then_some(()));
    let line = fs::read_to_string(&told).expect("a line");
    assert!(line.starts_with("trust-changed now trusted: CN=trustup development CA"), "{line}");
    let bundle = fs::read_to_string(scene.path("private/ca-bundle.pem")).expect("a bundle");
    assert!(bundle.contains(scene.ca.root_pem().trim()));

    // Nothing changes: nothing is told.
    daemon.signal(Signal::USR1);
    // Without `refresh` there is nothing left to do: the former file stays in force.
    config(&scene, "", "");
    daemon.signal(Signal::HUP);
    config(&scene, "refresh = \"1h\"", "");
    daemon.signal(Signal::HUP);
    daemon.signal(Signal::TERM);
    let run = daemon.end();
    assert_eq!(run.code, Some(0), "{run}");
    run.says(["trust stores: changed: now trusted", "trust stores: a hook failed, and is run again later"]);
    assert_eq!(fs::read_to_string(&told).expect("a line").lines().count(), 1, "{run}");
}

#[test]
fn a_refresh_without_a_source_or_too_often_is_refused() {
    let scene = Scene::new();
    write(&scene.path("trustup.toml"), b"[trust]\nrefresh = \"24h\"\n", 0o600);
    let run = daemon(&scene).fails(2);
    run.says([
        "no source of certificates is given",
        "`refresh` repeats what `trustup bootstrap` without options does",
    ]);
    // As the hint says: variables name a source.
    let run =
        daemon(&scene).env("CA_URL", scene.server.url()).env("CA_FINGERPRINT", scene.ca.fingerprint().hex());
    let run = run.env("TRUSTUP_STORES", "private").start();
    wait_for("the daemon", || run.has_handler(Signal::USR1).then_some(()));
    run.signal(Signal::USR1);
    wait_for("a bundle", || scene.path("private/ca-bundle.pem").exists().then_some(()));
    run.signal(Signal::TERM);
    assert_eq!(run.end().code, Some(0));

    for refresh in ["refresh = \"5s\"", "refresh = \"0\"", "refresh = true", "refresh = \"500d\""] {
        config(&scene, refresh, "");
        daemon(&scene).fails(2).says(["trust.refresh"]);
    }
    // Once means no daemon, and a daemon renews in fact.
    for option in ["--check", "--force", "--dry-run"] {
        daemon(&scene).arg(option).fails(2).says(["cannot be used with"]);
    }
}
