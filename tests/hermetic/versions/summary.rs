//! The summary for users who may not read the trust state: every version is read, and the newest is what is written.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::scene::Scene;
use super::{FUTURE, filled, future, read_json, write_json};

const SUMMARY: &str = "var/lib/trustup-summary/summary.json";
const FIXTURES: [&str; 1] = ["summary-1.json"];

#[test]
fn every_version_of_the_summary_is_read() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let scene = Scene::new();
    let pin = scene.value_of("fingerprint 0").as_str().unwrap().to_owned();
    scene.bootstrap(0).args(["--fingerprint", &pin]).ok();
    fs::set_permissions(scene.sysroot().parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = scene.at(SUMMARY);
    let written = read_json(&path);
    let of_root = |key: &str| written["roots"][0][key].clone();
    for name in FIXTURES {
        let mut summary = filled(name, &|placeholder| match placeholder {
            "subject" => json!("CN=Versions One"),
            "not_before" | "not_after" => of_root(placeholder),
            other => scene.value_of(other),
        });
        assert_eq!(summary, written, "{name}: what is written now");
        summary[FUTURE] = future();
        summary["roots"][0][FUTURE] = future();
        write_json(&path, &summary);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let status = scene.trustup(["status", "--json"]).uid(1000).ok().json();
        assert_eq!(status["anchors"][0]["fingerprint"], pin.as_str(), "{name}");
    }
    summary_of_a_newer_trustup(&scene);
    scene.untrust().ok();
    scene.before.assert_same(&scene.tree(), "untrust");
}

fn summary_of_a_newer_trustup(scene: &Scene) {
    let path = scene.at(SUMMARY);
    let mut summary = read_json(&path);
    summary["schema"] = json!(2);
    write_json(&path, &summary);
    scene.trustup(["status"]).uid(1000).fails(1).says(["a newer trustup wrote the summary", "version 2"]);
    // Root does not need it.
    scene.trustup(["status"]).ok();
}
