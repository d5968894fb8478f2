//! Firefox's policy file (`bootstrap --firefox-policy`), from its first run to its last: it follows the roots, what somebody
//! else wrote stays byte for byte, and a planted state cannot put a policy there (threat T11).

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::{Value, json};

use super::cli::Scene;
use super::env::{ANCHOR, STATE, at};
use crate::support::ca;
use crate::support::tree::Tree;

const POLICY: &str = "etc/firefox/policies/policies.json";
/// As somebody may have written it: order, tabs and number formats are theirs.
const THEIRS: &str = "{\n\t\"policies\": {\n\t\t\"Homepage\": {\"URL\": \"https://x/\"},\n\t\t\"BlockAboutConfig\": true,\n\t\t\"n\": 1.50\n\t}\n}\n";

fn trusting(scene: &Scene) {
    scene.with_file(&scene.file("root.pem")).args(["--name", "corp", "--firefox-policy"]).ok();
}

fn with_theirs() -> Scene {
    let mut scene = Scene::new("debian-12");
    fs::create_dir_all(at(&scene, POLICY).parent().unwrap()).unwrap();
    fs::write(at(&scene, POLICY), THEIRS).unwrap();
    fs::set_permissions(at(&scene, POLICY), fs::Permissions::from_mode(0o640)).unwrap();
    scene.before = Tree::of(scene.root.path());
    scene
}

fn named(scene: &Scene) -> Vec<String> {
    let policy: Value = serde_json::from_slice(&fs::read(at(scene, POLICY)).unwrap()).unwrap();
    let list = policy["policies"]["Certificates"]["Install"].as_array().unwrap();
    list.iter().map(|path| path.as_str().unwrap().to_owned()).collect()
}

fn state_of(scene: &Scene) -> String {
    let status = scene.trustup(["status", "--json"]).run().json();
    let stores = status["anchors"][0]["stores"].as_array().unwrap();
    let policy = stores.iter().find(|store| store["kind"] == "firefox-policy").expect("the policy");
    assert_eq!(policy["path"], format!("/{POLICY}"));
    policy["state"].as_str().unwrap().to_owned()
}

#[test]
fn the_policy_comes_and_goes_with_the_roots() {
    for fixture in
        ["debian-12", "fedora-42", "arch", "opensuse-leap-15.6", "alpine-3.20", "photon-5", "scratch"]
    {
        let scene = Scene::new(fixture);
        let second = ca::root("Second Root");
        second.write(scene.given.path(), "second.pem");
        let one = |more: &[&str]| scene.with_file(&scene.file("root.pem")).arg("--firefox-policy").args(more);

        let dry = one(&["--dry-run", "--json"]).ok().json();
        let planned = dry["plan"].as_array().unwrap();
        assert!(planned.iter().any(|step| step["path"] == format!("/{POLICY}")), "{fixture}: {dry}");
        scene.before.assert_same(&Tree::of(scene.root.path()), "--dry-run");

        one(&[]).ok();
        let first = fs::read(at(&scene, POLICY)).unwrap();
        assert_eq!(fs::metadata(at(&scene, POLICY)).unwrap().permissions().mode() & 0o7777, 0o644);
        // What it names holds this root and nothing else, as PEM.
        let [path] = &named(&scene)[..] else { panic!("{fixture}: {:?}", named(&scene)) };
        let text = fs::read_to_string(at(&scene, &path[1..])).unwrap();
        assert_eq!(ca::fingerprints(&text), [scene.ca.fingerprint], "{fixture}: {path}");
        assert_eq!(path.starts_with("/usr/lib/mozilla/"), fixture == "scratch", "{fixture}: {path}");
        assert_eq!(state_of(&scene), "there");
        let installed = Tree::of(scene.root.path());
        one(&[]).ok().says(["nothing to do"]);
        scene.with_file(&scene.file("root.pem")).ok().says(["nothing to do"]);
        installed.assert_same(&Tree::of(scene.root.path()), "again, without the option too");

        // The next root is named without the option, and no longer once it is gone.
        scene.with_file(&scene.file("second.pem")).ok();
        assert_eq!(named(&scene).len(), 2, "{fixture}");
        scene.trustup(["env", "--install"]).ok();
        assert_eq!(named(&scene).len(), 2, "{fixture}");
        scene.trustup(["untrust", "--fingerprint", &second.pin()]).ok();
        assert_eq!(fs::read(at(&scene, POLICY)).unwrap(), first, "{fixture}");

        scene.trustup(["untrust", "--all"]).ok();
        scene.before.assert_same(&Tree::of(scene.root.path()), fixture);
    }
}

#[test]
fn what_somebody_wrote_stays() {
    let scene = with_theirs();
    trusting(&scene);
    assert_eq!(named(&scene), [ANCHOR]);
    let now = fs::read_to_string(at(&scene, POLICY)).unwrap();
    let end = THEIRS.find("\n\t}\n}\n").unwrap();
    assert!(now.starts_with(&THEIRS[..end]) && now.ends_with(&THEIRS[end..]), "{now}");
    assert_eq!(fs::metadata(at(&scene, POLICY)).unwrap().permissions().mode() & 0o7777, 0o640);
    scene.trustup(["untrust", "--all"]).ok();
    scene.before.assert_same(&Tree::of(scene.root.path()), "after untrust");
}

#[test]
fn what_somebody_wrote_since_stays() {
    for fixture_has_one in [false, true] {
        let scene = if fixture_has_one { with_theirs() } else { Scene::new("debian-12") };
        trusting(&scene);
        let mut policy: Value = serde_json::from_slice(&fs::read(at(&scene, POLICY)).unwrap()).unwrap();
        policy["policies"]["DisableTelemetry"] = json!(true);
        policy["policies"]["Certificates"]["Install"].as_array_mut().unwrap().insert(0, json!("theirs.pem"));
        fs::write(at(&scene, POLICY), serde_json::to_vec(&policy).unwrap()).unwrap();
        assert_eq!(state_of(&scene), "there");
        scene.with_file(&scene.file("root.pem")).ok();
        assert_eq!(named(&scene), ["theirs.pem", ANCHOR]);
        let untrusted = scene.trustup(["untrust", "--all"]).ok();
        policy["policies"]["Certificates"]["Install"] = json!(["theirs.pem"]);
        let left: Value = serde_json::from_slice(&fs::read(at(&scene, POLICY)).unwrap()).unwrap();
        assert_eq!(left, policy, "{fixture_has_one}");
        // The directories that we made and that are in use now are theirs from then on.
        assert!(!at(&scene, STATE).exists());
        assert_eq!(
            untrusted.stderr.contains("/etc/firefox/policies` is kept"),
            !fixture_has_one,
            "{untrusted}"
        );
    }
}

#[test]
fn a_lost_entry_comes_back_and_a_damaged_file_is_left() {
    let scene = Scene::new("debian-12");
    trusting(&scene);
    fs::write(at(&scene, POLICY), "{\"policies\": {}}").unwrap();
    assert_eq!(state_of(&scene), "missing");
    scene.trustup(["status"]).fails(4);
    scene.with_file(&scene.file("root.pem")).ok();
    assert_eq!((named(&scene), state_of(&scene).as_str()), (vec![ANCHOR.to_owned()], "there"));

    fs::write(at(&scene, POLICY), "not JSON").unwrap();
    scene.with_file(&scene.file("root.pem")).ok().says(["warning", "policy"]);
    scene
        .with_file(&scene.file("root.pem"))
        .arg("--firefox-policy")
        .fails(1)
        .says(["policies.json", "hint:"]);
    scene.trustup(["untrust", "--all"]).ok();
    assert_eq!(fs::read(at(&scene, POLICY)).unwrap(), b"not JSON");
}

#[test]
fn what_stands_in_the_way_of_the_policy_is_an_error_and_stays() {
    let plant: [(_, fn(&Path)); 6] = [
        ("an empty file", |path| fs::write(path, "").unwrap()),
        ("no JSON", |path| fs::write(path, "{\"policies\": {},}").unwrap()),
        ("another type", |path| fs::write(path, "{\"policies\": {\"Certificates\": []}}").unwrap()),
        ("a link", |path| symlink("/etc/passwd", path).unwrap()),
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a file in the directory's place", |path| {
            fs::remove_dir(path.parent().unwrap()).unwrap();
            fs::write(path.parent().unwrap(), "").unwrap();
        }),
    ];
    for (case, plant) in plant {
        let mut scene = Scene::new("debian-12");
        fs::create_dir_all(at(&scene, POLICY).parent().unwrap()).unwrap();
        plant(&at(&scene, POLICY));
        scene.before = Tree::of(scene.root.path());
        let run = scene.with_file(&scene.file("root.pem")).arg("--firefox-policy");
        eprintln!("--- {case}");
        scene.refuses(run, 1, ["etc/firefox/policies"]);
        scene.with_file(&scene.file("root.pem")).ok();
    }
    let scene = Scene::new("scratch");
    let run = scene.with_file(&scene.file("root.pem")).args(["--firefox-policy", "--stores", "none"]);
    scene.refuses(run, 2, ["--firefox-policy"]);
}

#[test]
fn a_killed_run_is_turned_back() {
    let mut killed = 0;
    for at_step in 1..30 {
        let scene = with_theirs();
        let run = scene.with_file(&scene.file("root.pem")).arg("--firefox-policy").killed_at(at_step).run();
        let text = fs::read_to_string(at(&scene, POLICY)).unwrap();
        assert!(text == THEIRS || named(&scene).len() == 1, "killed at {at_step}: {text}");
        if run.code == Some(0) {
            break;
        }
        assert_eq!(run.code, None, "{run}");
        killed += 1;
        trusting(&scene);
        assert_eq!(state_of(&scene), "there", "killed at {at_step}");
        scene.trustup(["untrust", "--all"]).ok();
        scene.before.assert_same(&Tree::of(scene.root.path()), &format!("killed at {at_step}"));
    }
    assert!(killed >= 5, "{killed}");
}

/// What is planted, and how.
type Planted<'a> = (&'static str, &'a dyn Fn(&mut Value));

/// T11: a state may take out of a policy what we put in, and never bring one in.
#[test]
fn a_planted_state_cannot_put_a_policy_there() {
    let scene = with_theirs();
    trusting(&scene);
    let state = fs::read(at(&scene, STATE)).unwrap();
    let record = format!("/{POLICY}");
    let policy = json!({
        "mode": 0o644, "owner": [0, 0], "modified": [0, 0], "prefix": 0, "suffix": 0, "middle": "e30=",
        "sha256": trustup::pki::fingerprint::Fingerprint::of(b"{}").hex(),
    });
    let moved = |s: &mut Value, to: &str| {
        let record = s["records"].as_object_mut().unwrap().remove(&record).unwrap();
        s["records"][to] = record;
    };
    let cases: [Planted; 5] = [
        ("a policy before us", &|s| s["records"][&record]["before"] = json!({ "file": policy })),
        ("a link before us", &|s| s["records"][&record]["before"] = json!({ "link": { "target": "/x" } })),
        ("another file", &|s| moved(s, "/etc/firefox/policies/other.json")),
        ("another program's file", &|s| moved(s, "/usr/lib/mozilla/plugins/x.pem")),
        ("a certificate before us", &|s| moved(s, "/usr/lib/mozilla/certificates/x.pem")),
    ];
    for (case, plant) in cases {
        let mut value: Value = serde_json::from_slice(&state).unwrap();
        plant(&mut value);
        fs::write(at(&scene, STATE), value.to_string()).unwrap();
        let before = Tree::of(scene.root.path());
        for command in [["untrust", "--all"].as_slice(), &["env", "--install"], &["status"]] {
            let run = scene.trustup(command.iter().copied()).fails(1);
            assert_eq!(run.stdout, "", "{case}");
            run.says(["hint:"]);
        }
        before.assert_same(&Tree::of(scene.root.path()), case);
    }
}
