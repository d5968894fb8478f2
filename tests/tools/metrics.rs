//! The metrics of `trustup renew`, as Prometheus's own tool reads them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;

use crate::support::enrollment::{Scene, write};
use crate::support::run::Trustup;
use crate::support::servers::wait_for;

/// `promtool check metrics`: parses the text, and objects to names, types and help texts against the conventions.
fn check(file: &Path) -> Output {
    let metrics = fs::File::open(file).expect("a file of metrics");
    let mut promtool = Command::new("promtool");
    promtool.env_clear().env("PATH", "/usr/bin:/bin").args(["check", "metrics"]).stdin(Stdio::from(metrics));
    promtool.output().expect("promtool starts")
}

/// trustup.toml for these certificates by the password of the scene, each with a hook that fails.
fn config(scene: &Scene, certificates: &[(&str, &str)]) {
    let at = |name: &str| scene.path(name).display().to_string();
    let mut text =
        format!("[ca]\nurl = \"{}\"\nfingerprint = \"{}\"\n", scene.server.url(), scene.ca.fingerprint());
    for (name, file) in certificates {
        text.push_str(&format!(
            "[[certificate]]\nnames = [\"{name}\"]\ncert = \"{}\"\nkey = \"{}\"\n[[certificate.enroll]]\n\
             method = \"provisioner\"\npassword_file = \"{}\"\n[[certificate.hook]]\ncommand = [\"/bin/false\"]\n",
            at(&format!("{file}.crt")),
            at(&format!("{file}.key")),
            at("password"),
        ));
    }
    write(&scene.path("trustup.toml"), text.as_bytes(), 0o600);
}

#[test]
#[ignore = "needs Debian's prometheus"]
fn promtool_accepts_all_metrics() {
    let mut scene = Scene::new();
    let file = scene.path("trustup.prom");
    let run = |scene: &Scene| {
        let run = Trustup::new(["--timeout", "2s", "renew", "--allow-shared-config", "--config"]);
        run.arg(scene.path("trustup.toml")).arg("--metrics").arg(&file).env("HOME", scene.directory.path())
    };
    let certificates = [("web.test", "a"), ("web.test", "b"), ("*.web.test", "c")];
    config(&scene, &certificates);
    run(&scene).arg("--force").fails(7);
    // A CA that is away, and a certificate that there was never one for.
    let other = Scene::new();
    drop(std::mem::replace(&mut scene.server, other.server));
    fs::remove_file(scene.path("c.crt")).expect("removed");
    let kept = fs::read_to_string(scene.path("trustup.toml")).expect("the configuration");
    let away = kept.replacen(&scene.server.url(), "https://127.0.0.1:9", 1);
    write(&scene.path("trustup.toml"), away.as_bytes(), 0o600);
    assert_ne!(run(&scene).arg("--force").run().code, Some(0));

    // The daemon knows when it looks next.
    let daemon = run(&scene).arg("--daemon").start();
    let text = wait_for("metrics of the daemon", || {
        let text = fs::read_to_string(&file).ok()?;
        (text.matches("trustup_renewal_next_attempt_timestamp_seconds{").count() == 3).then_some(text)
    });
    daemon.signal(Signal::TERM);
    daemon.end();
    // What promtool looks at is all there.
    for family in [
        "build_info",
        "certificates",
        "certificate_healthy",
        "certificate_remaining_seconds",
        "certificate_not_before_timestamp_seconds",
        "certificate_not_after_timestamp_seconds",
        "certificate_due_timestamp_seconds",
        "renewal_last_check_timestamp_seconds",
        "renewal_next_attempt_timestamp_seconds",
        "renewal_last_success_timestamp_seconds",
        "renewal_attempts_total",
        "renewal_successes_total",
        "renewal_failures_in_a_row",
        "hook_failures_total",
        "hooks_pending",
        "renewal_failures_total",
    ] {
        assert!(text.contains(&format!("\n# TYPE trustup_{family} ")), "{family}: {text}");
    }
    for name in ["web.test", "web.test#2", "*.web.test"] {
        assert!(text.contains(&format!("{{name=\"{name}\"}}")), "{name}: {text}");
    }
    let checked = check(&file);
    let said = [checked.stdout.as_slice(), checked.stderr.as_slice()].concat();
    assert!(checked.status.success() && said.is_empty(), "{}\n{text}", String::from_utf8_lossy(&said));

    // It does look: a name against the conventions, and a text that cannot be parsed.
    for (from, to) in [("_successes_total", "_successes"), ("{name=\"web.test\"}", "{name=\"web.test}")] {
        fs::write(&file, text.replace(from, to)).expect("written");
        assert!(!check(&file).status.success(), "{to}");
    }
}
