//! `trustup health`: exit code 0 or 1 for a health check, from the certificate and the record beside it.

use std::fs;

use serde_json::Value;

use crate::support::enrollment::{Scene, write};
use crate::support::run::{Run, Trustup};

fn health(scene: &Scene) -> Trustup {
    Trustup::new(["--json", "health"]).env("HOME", scene.directory.path())
}

fn of_pair(scene: &Scene) -> Trustup {
    health(scene).arg("--cert").arg(scene.path("server.crt"))
}

fn only(run: &Run) -> Value {
    run.json()["certificates"][0].clone()
}

#[test]
fn a_certificate_that_works_is_healthy() {
    let scene = Scene::new();
    let run = of_pair(&scene).fails(1);
    assert_eq!(only(&run)["problem"].as_str(), Some("it is not there"), "{run}");
    scene.enroll().ok();
    let run = of_pair(&scene).ok();
    run.says(["healthy: `"]);
    assert_eq!(
        (only(&run)["healthy"].as_bool(), only(&run)["failures"].as_u64()),
        (Some(true), Some(0)),
        "{run}"
    );
    of_pair(&scene).args(["--within", "1h"]).ok();
    of_pair(&scene).args(["--within", "30d"]).fails(1).says(["unhealthy: `"]);

    // A renewal that fails is reported, and is no reason while the certificate works.
    let renew =
        Trustup::new(["--timeout", "1s", "renew", "--force", "--cert"]).env("HOME", scene.directory.path());
    let renew = renew.arg(scene.path("server.crt")).arg("--key").arg(scene.path("server.key"));
    let pin = scene.ca.fingerprint().hex();
    renew.args(["--ca-url", "https://127.0.0.1:9", "--fingerprint", &pin]).fails(6);
    let run = of_pair(&scene).ok();
    assert_eq!(only(&run)["failures"], 1, "{run}");
    assert!(only(&run)["last_error"].is_string(), "{run}");

    // A record of a newer trustup, or a damaged one, hides no certificate.
    for text in ["{\"schema\":99}", "x", ""] {
        fs::write(scene.path(".server.crt.renewal.json"), text).expect("written");
        of_pair(&scene).ok();
    }
    fs::write(scene.path("server.crt"), "x").expect("written");
    of_pair(&scene).fails(1);
}

#[test]
fn the_certificates_of_the_configuration_are_judged_and_no_other_code_is_used() {
    let scene = Scene::new();
    scene.enroll().ok();
    let run = health(&scene).fails(1);
    run.says(["name its file with `--cert FILE`"]);
    of_pair(&scene).ok();
    let table = |name: &str, file: &str| {
        format!(
            "[[certificate]]\nnames = [\"{name}\"]\ncert = \"{}\"\nkey = \"{}\"\n[[certificate.enroll]]\nmethod = \"token\"\n",
            scene.path(file).display(),
            scene.path(&format!("{file}.key")).display()
        )
    };
    let text = format!("{}{}", table("web.test", "server.crt"), table("db.test", "missing.crt"));
    write(&scene.path("trustup.toml"), text.as_bytes(), 0o600);
    let configured =
        || health(&scene).args(["--allow-shared-config", "--config"]).arg(scene.path("trustup.toml"));
    let run = configured().fails(1);
    assert_eq!(run.json()["certificates"].as_array().map(Vec::len), Some(2), "{run}");
    configured().arg("web.test").ok();
    configured().arg("db.test").fails(1);
    configured().arg("other.test").fails(1).says(["no certificate in the configuration has this name"]);
    // Docker reserves 2.
    health(&scene).arg("--no-such-option").fails(1);
    health(&scene).args(["--within", "soon"]).fails(1);
    health(&scene).args(["--config", "/no/such/file"]).fails(1);
    health(&scene).arg("--help").ok();
}
