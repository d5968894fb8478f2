//! Two daemons on one volume: one renews, the other uses the result, and takes over when the first one dies (threat T27).

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::enroll::now;
use crate::support::enrollment::{chain, write};
use crate::support::gate::{Gate, GateMode};
use crate::support::run::{Running, Trustup};
use crate::support::servers::{StepCa, StepCaOptions, wait_for};

struct Scene {
    ca: StepCa,
    gate: Gate,
    place: TempDir,
}

impl Scene {
    /// Certificates live for `life`, and are renewed when `due` of it is over.
    fn new(life: &str, due: &str) -> Scene {
        let options = StepCaOptions {
            min_life: "1s".to_owned(),
            backdate: Some("0s".to_owned()),
            ..StepCaOptions::default()
        };
        let ca = StepCa::start(options);
        let gate = Gate::start(GateMode::Open(ca.address(), Duration::ZERO));
        let place = TempDir::new().expect("a directory");
        let text = format!(
            "[ca]\nurl = \"https://localhost:{port}\"\nfingerprint = \"{pin}\"\n[renew]\ndue = \"{due}\"\n\
             [[certificate]]\nnames = [\"web.internal\"]\ncert = \"{tls}/web.crt\"\nkey = \"{tls}/web.key\"\nnot_after = \"{life}\"\n\
             [[certificate.enroll]]\nmethod = \"provisioner\"\nprovisioner = \"{by}\"\npassword_file = \"{password}\"\n",
            port = gate.port(),
            pin = ca.fingerprint(),
            tls = place.path().display(),
            by = StepCa::PROVISIONER,
            password = ca.password_file().display(),
        );
        write(&place.path().join("trustup.toml"), text.as_bytes(), 0o600);
        Scene { ca, gate, place }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn start(&self, host: &str) -> Running {
        let run =
            Trustup::new(["--timeout", "20s", "renew", "--daemon", "--allow-shared-config", "--config"]);
        run.arg(self.path("trustup.toml")).env("HOME", self.place.path()).env("HOSTNAME", host).start()
    }

    fn serial(&self) -> Option<Vec<u8>> {
        self.path("web.crt").exists().then(|| chain(&self.path("web.crt"))[0].serial().to_vec())
    }

    /// How often the CA was asked to issue or renew.
    fn asked(&self) -> usize {
        let log = self.ca.log();
        ["/sign", "/renew"]
            .iter()
            .map(|path| log.lines().filter(|line| line.contains(&format!("{path}\",\"protocol\""))).count())
            .sum()
    }
}

fn ends_well(daemon: Running) -> String {
    daemon.signal(Signal::TERM);
    let run = daemon.end();
    assert_eq!(run.code, Some(0), "{run}");
    run.stderr
}

#[test]
#[ignore = "needs step-ca"]
fn one_of_two_daemons_renews_and_the_other_uses_the_result() {
    const RENEWALS: usize = 6;
    let scene = Scene::new("20s", "15%");
    let daemons = [scene.start("replica-1"), scene.start("replica-2")];
    let mut serials = vec![wait_for("a certificate", || scene.serial())];
    while serials.len() < RENEWALS {
        let last = serials.last().cloned();
        serials.push(wait_for("a renewal", || scene.serial().filter(|serial| Some(serial) != last.as_ref())));
    }
    let logs = daemons.map(ends_well).concat();
    // One more may have come while they were told to end.
    let asked = scene.asked();
    assert!(
        (RENEWALS..=RENEWALS + 1).contains(&asked),
        "{asked} requests for {RENEWALS} certificates\n{logs}"
    );
    assert!(logs.contains("another program replaced the pair"), "{logs}");
}

#[test]
#[ignore = "needs step-ca"]
fn t27_the_other_daemon_takes_over_when_the_first_one_dies() {
    let scene = Scene::new("40s", "25%");
    let daemons = [scene.start("replica-1"), scene.start("replica-2")];
    let first = wait_for("a certificate", || scene.serial());
    let end = chain(&scene.path("web.crt"))[0].not_after();
    // Whoever renews now gets no answer, and is killed while it holds the lease.
    scene.gate.set(GateMode::Hang);
    let lease = || -> Option<String> {
        let text = fs::read_to_string(scene.path(".web.key.trustup/lease.json")).ok()?;
        let lease: Value = serde_json::from_str(&text).ok()?;
        lease["host"].as_str().map(str::to_owned)
    };
    let holder = wait_for("a lease", lease);
    let [one, other] = daemons;
    let (holder, other) = if holder == "replica-1" { (one, other) } else { (other, one) };
    holder.signal(Signal::KILL);
    holder.end();
    scene.gate.set(GateMode::Open(scene.ca.address(), Duration::ZERO));
    wait_for("a renewal by the other", || scene.serial().filter(|serial| *serial != first));
    assert!(now() < end, "in time");
    ends_well(other);
}
