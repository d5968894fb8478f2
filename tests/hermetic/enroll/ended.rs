//! A signal ends the command, and not only what it meets.

use rustix::process::Signal;

use super::kept::pair_of_hours;
use crate::support::enrollment::{Scene, write};
use crate::support::run::{Run, Trustup};
use crate::support::silent_server::SilentServer;

/// Sends the signal when the CA was asked; nobody asks again.
#[track_caller]
fn ended(run: Trustup, silent: &SilentServer) -> Run {
    let run = run.start();
    let asked = silent.asked();
    run.signal(Signal::TERM);
    let run = run.end();
    assert_eq!(run.code, Some(1), "{run}");
    run.says(["ended by SIGTERM"]);
    drop(asked);
    assert!(!silent.is_asked(), "asked again: {run}");
    run
}

/// `trustup enroll && exec service` must not start the service that is being stopped.
#[test]
fn a_pair_that_works_on_does_not_make_it_a_success() {
    let scene = Scene::new();
    let own = pair_of_hours(&scene, -3, 1);
    let silent = SilentServer::start();
    let run = scene.plain("provisioner").args(["web.test", "--ca-url", &silent.url()]);
    let run = run.arg("--ca-root").arg(own).arg("--password-file").arg(scene.path("password"));
    ended(run, &silent);
    assert!(scene.path("server.crt").exists() && !scene.path(".server.key.trustup").exists());
}

#[test]
fn neither_the_next_method_nor_the_next_certificate_is_begun() {
    let scene = Scene::new();
    let silent = SilentServer::start();
    let root = scene.ca.root().to_pem();
    write(&scene.path("root.pem"), root.as_bytes(), 0o644);
    let certificate = |name: &str| {
        format!(
            "[[certificate]]\nnames = [\"{name}.test\"]\ncert = {:?}\nkey = {:?}\n\
             [[certificate.enroll]]\nmethod = \"provisioner\"\nprovisioner = \"a\"\npassword_file = {password:?}\n\
             [[certificate.enroll]]\nmethod = \"provisioner\"\nprovisioner = \"b\"\npassword_file = {password:?}\n",
            scene.path(&format!("{name}.crt")),
            scene.path(&format!("{name}.key")),
            password = scene.path("password"),
        )
    };
    let config = format!(
        "[ca]\nurl = {:?}\nroot = {:?}\n{}{}",
        silent.url(),
        scene.path("root.pem"),
        certificate("a"),
        certificate("b")
    );
    write(&scene.path("trustup.toml"), config.as_bytes(), 0o600);
    let run = Trustup::new(["--json", "enroll", "--config"]).arg(scene.path("trustup.toml"));
    let run = ended(run.env("HOME", scene.directory.path()), &silent);
    for certificate in run.json()["certificates"].as_array().expect("certificates") {
        assert_eq!(certificate["action"], "failed", "{run}");
        assert!(certificate["error"]["what"].as_str().expect("what").contains("SIGTERM"), "{run}");
    }
    assert!(!scene.path("a.key").exists() && !scene.path("b.key").exists());
}
