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

/// The plain command line alone does not say whether what an option needs is there.
#[test]
fn what_an_option_needs_may_come_from_variables() {
    let scene = Scene::new("debian-12");
    let pin = scene.ca.pin();
    let (url, bundle) = ("https://127.0.0.1:1", "http://127.0.0.1:1/bundle.pem");
    for name in ["TRUSTUP_CA_URL", "CA_URL"] {
        let run = scene.trustup(["bootstrap", "--all-roots"]).env(name, url);
        scene.refuses(run.env("TRUSTUP_FINGERPRINT", &pin), 6, ["127.0.0.1:1"]);
    }
    let toml = format!("[ca]\nurl = \"{url}\"\nfingerprint = \"{pin}\"\n");
    let file = scene.put("trustup.toml", toml);
    let run = scene.trustup(["bootstrap", "--all-roots", "--config"]).arg(&file);
    scene.refuses(run, 6, ["127.0.0.1:1"]);
    // A pin of its own makes plain http good enough, whoever names the bundle.
    for name in ["TRUSTUP_BUNDLE_URL", "CA_BUNDLE_URL"] {
        let run = scene.trustup(["bootstrap"]).env(name, bundle).env("TRUSTUP_BUNDLE_SHA256", &pin);
        scene.refuses(run, 6, ["127.0.0.1:1"]);
    }
    // What is really missing is an error of ours; a variable for every run is no wish of this one.
    let root = scene.file("root.pem");
    scene.refuses(scene.with_file(&root).arg("--all-roots"), 2, ["--all-roots", "--ca-url"]);
    let run = scene.with_file(&root).args(["--bundle-sha256", &pin]).env("CA_BUNDLE_URL", bundle);
    scene.refuses(run, 2, ["--bundle-sha256", "--bundle-url"]);
    let run = scene.trustup(["bootstrap"]).env("TRUSTUP_BUNDLE_SHA256", &pin);
    scene.refuses(run, 2, ["`TRUSTUP_BUNDLE_SHA256` pins a bundle", "--bundle-url"]);
    scene.with_file(&root).env("TRUSTUP_ALL_ROOTS", "1").ok();
}

/// A mistyped variable is not silently ignored; what Kubernetes sets for a service called `trustup` is no mistake.
#[test]
fn variables_that_set_nothing_are_named() {
    let scene = Scene::new("debian-12");
    let file = scene.file("root.pem");
    let run = scene
        .with_file(&file)
        .env("TRUSTUP_REQUIRE_PINS", "1")
        .env("TRUSTUP_FORCE", "1")
        .env("TRUSTUP_XYZZY", "1")
        .env("TRUSTUP_SERVICE_HOST", "10.0.0.1")
        .env("TRUSTUP_CA_SERVICE_PORT_HTTPS", "443")
        .env("TRUSTUP_PORT", "tcp://10.0.0.1:443")
        .env("TRUSTUP_PORT_443_TCP_ADDR", "10.0.0.1")
        .env("TRUSTUP_TOKEN", "x")
        .env("TRUSTUP_NOT_AFTER", "24h")
        .ok();
    run.says([
        "`TRUSTUP_REQUIRE_PINS` is not a variable of trustup: did you mean `TRUSTUP_REQUIRE_PIN`?",
        "`TRUSTUP_FORCE` sets nothing: `--force` has no variable, only the command line sets it",
        "`TRUSTUP_XYZZY` is not a variable of trustup",
    ]);
    for name in ["SERVICE", "PORT", "TOKEN", "NOT_AFTER"] {
        assert!(!run.stderr.contains(&format!("TRUSTUP_{name}")), "{run}");
    }
    assert!(!run.stderr.contains("TRUSTUP_CA_SERVICE"), "{run}");
    // A trustup.toml may fill in a variable of any name.
    let file = scene.put("trustup.toml", "[ca]\nurl = \"${TRUSTUP_OUR_CA:-https://ca.test}\"\n");
    let run = scene.trustup(["config", "check", "--config"]).arg(&file).env("TRUSTUP_OUR_CA", "x").run();
    assert!(!run.stderr.contains("is not a variable of trustup"), "{run}");
}
