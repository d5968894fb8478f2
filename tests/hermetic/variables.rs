//! Options that variables set, in the binary itself: what they do, and what needs another one.

use crate::cli::Scene;
use crate::support::tree::Tree;

#[test]
fn a_flag_set_by_its_variable_does_what_it_does() {
    let scene = Scene::new("debian-12");
    let file = scene.file("root.pem");
    let answer = scene.with_file(&file).env("TRUSTUP_JSON", "1").env("TRUSTUP_DRY_RUN", "true").ok().json();
    assert_eq!(answer["changed"], false);
    scene.before.assert_same(&Tree::of(scene.root.path()), "a dry run");
    // Errors before the command line is read are data, too.
    let answer = scene.trustup(["frobnicate"]).env("TRUSTUP_JSON", "1").fails(2).json();
    assert_eq!(answer["error"]["kind"], "usage");
    scene.refuses(scene.with_file(&file).env("TRUSTUP_REQUIRE_PIN", "1"), 2, ["--fingerprint"]);
    let run = scene.with_file(&file).env("TRUSTUP_QUIET", "on").env("TRUSTUP_JSON", "0").ok();
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
}
