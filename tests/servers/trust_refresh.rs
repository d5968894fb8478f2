//! `[trust] refresh`: the daemon follows a real step-ca from one root to the next (threat T42).

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use trustup::pki::cert::{Certificate, pem};

use crate::support::enrollment::{chain, write};
use crate::support::run::{Running, Trustup};
use crate::support::servers::authority::P256;
use crate::support::servers::{Authority, Level, StepCa, StepCaOptions, wait_for};

/// A CA, and a place for trustup.toml, a private store, a pair, and what hooks saw.
struct Scene {
    ca: StepCa,
    place: TempDir,
}

impl Scene {
    fn new() -> Scene {
        let options = StepCaOptions { old_tokens: true, ..StepCaOptions::default() };
        Scene { ca: StepCa::start(options), place: tempfile::tempdir().expect("a directory") }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// trustup.toml, with `more` at its end.
    fn configure(&self, more: &str) {
        let text = format!(
            "[ca]\nurl = \"{}\"\nfingerprint = \"{}\"\n\
             [trust]\nall_roots = true\nstores = [\"private\"]\nrefresh = \"1h\"\n{more}",
            self.ca.url(),
            self.ca.fingerprint(),
        );
        write(&self.at("trustup.toml"), text.as_bytes(), 0o600);
    }

    /// A hook that adds a line to the file `NAME.log`: event, certificate, reason.
    fn hook(&self, name: &str) -> PathBuf {
        let log = self.at(&format!("{name}.log"));
        let script = format!(
            "#!/bin/sh\necho \"$TRUSTUP_EVENT|$TRUSTUP_CERT|$TRUSTUP_REASON\" >> {}\n",
            log.display()
        );
        let path = self.at(name);
        write(&path, script.as_bytes(), 0o755);
        path
    }

    /// What that hook was told.
    fn told(&self, name: &str) -> String {
        fs::read_to_string(self.at(&format!("{name}.log"))).unwrap_or_default()
    }

    fn start(&self) -> Running {
        let run =
            Trustup::new(["--timeout", "10s", "renew", "--daemon", "--allow-shared-config", "--config"]);
        let run = run.arg(self.at("trustup.toml")).env("HOME", self.place.path());
        let daemon = run.env("TRUSTUP_PRIVATE_DIR", self.at("private")).start();
        wait_for("the daemon", || daemon.has_handler(Signal::USR1).then_some(()));
        daemon
    }

    /// The roots in the private store's bundle that are not the system's.
    fn trusted(&self) -> Vec<Certificate> {
        let bundle = fs::read(self.at("private/ca-bundle.pem")).unwrap_or_default();
        pem::blocks(&bundle)
            .iter()
            .map(|block| Certificate::from_block(block).expect("a certificate"))
            .collect()
    }

    fn record(&self) -> Value {
        let text = fs::read_to_string(self.at(".web.crt.renewal.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn trusts(&self, root: &Certificate) -> bool {
        self.trusted().contains(root)
    }
}

fn certificate(pem_text: &str) -> Certificate {
    Certificate::from_block(&pem::blocks(pem_text.as_bytes())[0]).expect("a certificate")
}

#[test]
#[ignore = "needs step-ca"]
fn t42_a_new_root_arrives_before_its_first_certificate() {
    let mut scene = Scene::new();
    let old_pem = fs::read_to_string(scene.ca.root_file()).expect("the root");
    let next = Authority::new(&[
        Level::new("Next Root", P256, "sha256"),
        Level::new("Next Intermediate", P256, "sha256"),
    ]);
    let (old, new) = (certificate(&old_pem), certificate(&next.root_pem));
    let (of_all, of_one) = (scene.hook("of-all"), scene.hook("of-one"));
    scene.configure(&format!(
        "[[hook]]\ncommand = [\"{}\"]\n[[certificate]]\nnames = [\"web.internal\"]\ncert = \"{cert}\"\nkey = \"{key}\"\n\
         [[certificate.enroll]]\nmethod = \"provisioner\"\npassword_file = \"{password}\"\n\
         [[certificate.hook]]\ncommand = [\"{}\"]\n",
        of_all.display(),
        of_one.display(),
        cert = scene.at("web.crt").display(),
        key = scene.at("web.key").display(),
        password = scene.ca.password_file().display(),
    ));
    let daemon = scene.start();
    wait_for("a certificate", || scene.record()["serial"].as_str().map(drop));
    daemon.signal(Signal::USR1);
    wait_for("the root", || scene.trusts(&old).then_some(()));

    // The CA announces its next root.
    scene.ca.roll_over(&[&old_pem, &next.root_pem], None);
    daemon.signal(Signal::USR1);
    wait_for("the announced root", || scene.trusts(&new).then_some(()));
    for hook in ["of-all", "of-one"] {
        // A renewal at the same moment is told by the same call.
        wait_for("the hooks", || scene.told(hook).contains("now trusted: CN=Next Root").then_some(()));
        assert!(scene.told(hook).lines().all(|line| line.contains("/web.crt|")), "{}", scene.told(hook));
    }

    // It moves: the pinned root vouches for nothing that it serves any more, and what it announced does.
    scene.ca.roll_over(&[&next.root_pem], Some(&next));
    let before = scene.record()["serial"].clone();
    daemon.signal(Signal::USR1);
    wait_for("a certificate of the next root", || (scene.record()["serial"] != before).then_some(()));
    let issued = chain(&scene.at("web.crt"));
    assert_eq!(issued.last().expect("an intermediate").issuer_der(), new.subject_der());
    assert!(scene.trusts(&old), "a pinned root is never removed by a refresh");

    // Nothing is lost while the CA is away.
    scene.ca.stop();
    daemon.signal(Signal::USR1);
    wait_for("a failure", || scene.record()["failure"]["kind"].as_str().map(drop));
    daemon.signal(Signal::TERM);
    let run = daemon.end();
    assert_eq!(run.code, Some(0), "{run}");
    run.says(["trust stores: changed: now trusted: CN=Next Root", "trust stores: nothing to do"]);
    assert!(scene.trusts(&old) && scene.trusts(&new), "{run}");
}
