//! The JSON of the main commands; `Run::json` holds each against its schema.

use serde_json::Value;

use super::{Snapshots, Varying};
use crate::cli::Scene;
use crate::support::dev_ca::DevCaProcess;
use crate::support::enrollment;
use crate::support::run::{Run, Trustup};

/// Fields whose values are of one run, and have no shape.
const VARYING: &[&str] = &["pid", "serial", "token"];

/// The object of a run, one field on each line, without what varies.
fn shown(mut object: Value, varying: &Varying) -> String {
    fn hide(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    if VARYING.contains(&name.as_str()) {
                        *field = Value::from(format!("[{}]", name.to_uppercase()));
                    }
                    hide(field);
                }
            }
            Value::Array(values) => values.iter_mut().for_each(hide),
            _ => {}
        }
    }
    hide(&mut object);
    varying.hide(&(serde_json::to_string_pretty(&object).unwrap() + "\n"))
}

#[test]
fn of_the_trust_stores() {
    let scene = Scene::new("debian-12");
    let varying = Varying::default()
        .path(scene.root.path(), "[SYSROOT]")
        .path(scene.given.path(), "[DIR]")
        .and(&scene.ca.pin()[..16], "[SHA256:16]");
    let mut snapshots = Snapshots::of("json/trust");
    let mut compare = |name: &str, run: Run| {
        snapshots.compare(&format!("{name}.json"), shown(run.json(), &varying));
    };
    let run = |arguments: &[&str]| scene.trustup(["--json"]).args(arguments).run();
    let file = scene.file("root.pem").display().to_string();
    let wrong = "12".repeat(32);
    compare("detect-list", run(&["detect", "--list"]));
    compare("detect", run(&["detect"]));
    compare("error", run(&["bootstrap", "--ca-file", &file, "--fingerprint", &wrong]));
    compare("error-usage", run(&["bootstarp"]));
    compare("status-nothing", run(&["status"]));
    compare("bootstrap-dry-run", run(&["--dry-run", "bootstrap", "--ca-file", &file]));
    compare("bootstrap", run(&["bootstrap", "--ca-file", &file]));
    compare("bootstrap-again", run(&["bootstrap", "--ca-file", &file]));
    compare("status", run(&["status"]));
    compare("doctor", run(&["doctor"]));
    compare("env", run(&["env"]));
    compare("env-install", run(&["env", "--install"]));
    compare("untrust-unknown", run(&["untrust", "--fingerprint", &wrong]));
    compare("untrust", run(&["untrust", "--all"]));
    snapshots.end();
}

#[test]
fn of_certificates() {
    let scene = enrollment::Scene::new();
    let varying = Varying::default().path(scene.directory.path(), "[DIR]");
    let mut snapshots = Snapshots::of("json/certificates");
    let mut compare = |name: &str, run: Run| {
        snapshots.compare(&format!("{name}.json"), shown(run.json(), &varying));
    };
    compare("enroll-dry-run", scene.enroll().arg("--dry-run").ok());
    compare("enroll", scene.enroll().ok());
    compare("enroll-again", scene.enroll().ok());
    let token = |arguments: &[&str]| {
        Trustup::new(["--json", "token", "web.test", "--ca-url", &scene.server.url()])
            .args(["--fingerprint", &scene.ca.fingerprint().hex()])
            .arg("--password-file")
            .arg(scene.path("password"))
            .args(arguments)
            .env("HOME", scene.directory.path())
            .ok()
    };
    compare("token-dry-run", token(&["--dry-run"]));
    compare("token", token(&[]));
    compare("token-file", token(&["--out", &scene.path("token").display().to_string()]));
    let config = scene.path("trustup.toml");
    let text = format!(
        "[ca]\nurl = \"{}\"\nfingerprint = \"{}\"\n\n[[certificate]]\nnames = [\"one.test\"]\ncert = \"{dir}/one.crt\"\nkey = \
         \"{dir}/one.key\"\nenroll = {{ method = \"provisioner\", password_file = \"{dir}/password\" }}\n\n[[certificate]]\nnames = \
         [\"two.test\"]\ncert = \"{dir}/two.crt\"\nkey = \"{dir}/two.key\"\nenroll = {{ method = \"token\", token_file = \
         \"{dir}/none\" }}\n",
        scene.server.url(),
        scene.ca.fingerprint().hex(),
        dir = scene.directory.path().display(),
    );
    enrollment::write(&config, text.as_bytes(), 0o644);
    let with = |arguments: &[&str]| {
        Trustup::new(arguments).arg("--config").arg(&config).env("HOME", scene.directory.path())
    };
    compare("config-check", with(&["--json", "config", "check"]).run());
    compare("enroll-one-of-two", with(&["--json", "--timeout", "20s", "enroll"]).run());
    snapshots.end();
}

#[test]
fn of_the_ca_and_the_program() {
    let mut snapshots = Snapshots::of("json/others");
    let version = Trustup::new(["--json", "version"]).ok().json();
    let varying = Varying::default().and(env!("CARGO_PKG_VERSION"), "[VERSION]");
    snapshots.compare("version.json", shown(version, &varying));
    let ca = DevCaProcess::start(&[]);
    let varying = Varying::default().path(&ca.state(), "[STATE]");
    snapshots.compare("dev-ca.json", shown(ca.said().clone(), &varying));
    snapshots.end();
}
