//! A signal ends the command, and not only what it meets.

use std::net::{TcpListener, TcpStream};

use rustix::process::Signal;

use super::kept::pair_of_hours;
use crate::support::enrollment::{Scene, write};
use crate::support::run::{Run, Trustup};

/// A CA that takes connections and says nothing.
struct Silent(TcpListener);

impl Silent {
    fn new() -> Silent {
        Silent(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.0.local_addr().expect("address").port())
    }

    /// Sends the signal when somebody has asked; nobody asks again.
    #[track_caller]
    fn end(&self, run: Trustup) -> Run {
        let run = run.start();
        let asked: TcpStream = self.0.accept().expect("a connection").0;
        run.signal(Signal::TERM);
        let run = run.end();
        assert_eq!(run.code, Some(1), "{run}");
        run.says(["ended by SIGTERM"]);
        drop(asked);
        self.0.set_nonblocking(true).expect("nonblocking");
        assert!(self.0.accept().is_err(), "asked again: {run}");
        run
    }
}

/// `trustup enroll && exec service` must not start the service that is being stopped.
#[test]
fn a_pair_that_works_on_does_not_make_it_a_success() {
    let scene = Scene::new();
    let own = pair_of_hours(&scene, -3, 1);
    let silent = Silent::new();
    let run = scene.plain("provisioner").args(["web.test", "--ca-url", &silent.url()]);
    let run = run.arg("--ca-root").arg(own).arg("--password-file").arg(scene.path("password"));
    silent.end(run);
    assert!(scene.path("server.crt").exists() && !scene.path(".server.key.trustup").exists());
}

#[test]
fn neither_the_next_method_nor_the_next_certificate_is_begun() {
    let scene = Scene::new();
    let silent = Silent::new();
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
    let run = silent.end(run.env("HOME", scene.directory.path()));
    for certificate in run.json()["certificates"].as_array().expect("certificates") {
        assert_eq!(certificate["action"], "failed", "{run}");
        assert!(certificate["error"]["what"].as_str().expect("what").contains("SIGTERM"), "{run}");
    }
    assert!(!scene.path("a.key").exists() && !scene.path("b.key").exists());
}
