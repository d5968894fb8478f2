//! The file of `env --install`, from its first run to its last: it follows the roots, what somebody else put or made there
//! stays, and a planted state cannot put a script there (threat T11).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use super::cli::Scene;
use super::env::{ANCHOR, STATE, at, trusting};
use crate::support::ca;
use crate::support::tree::Tree;

const PROFILE: &str = "etc/profile.d/trustup.sh";

#[test]
fn the_file_for_login_shells_comes_and_goes_with_the_roots() {
    for (fixture, prepare) in [
        ("debian-12", None),
        ("debian-12", Some("etc/profile.d")),
        ("fedora-42", None),
        ("alpine-3.23-ca-certificates", Some("etc/profile.d")),
        ("scratch", None),
    ] {
        let scene = Scene::new(fixture);
        if let Some(directory) = prepare {
            fs::create_dir_all(at(&scene, directory)).unwrap();
            fs::write(at(&scene, directory).join("other.sh"), "X=1\n").unwrap();
        }
        let first = Tree::of(scene.root.path());
        ca::root("Second Root").write(scene.given.path(), "second.pem");
        scene.with_file(&scene.file("root.pem")).ok();
        let without = Tree::of(scene.root.path());

        let dry = scene.trustup(["env", "--install", "--dry-run", "--json"]).ok().json();
        assert_eq!(dry["changed"], false);
        let planned = dry["plan"].as_array().unwrap();
        assert!(planned.iter().any(|step| step["path"] == format!("/{PROFILE}")), "{fixture}: {dry}");
        without.assert_same(&Tree::of(scene.root.path()), "--dry-run");

        let install = || scene.trustup(["env", "--install", "--json"]).ok().json();
        assert_eq!(install()["changed"], true, "{fixture}");
        let installed = Tree::of(scene.root.path());
        let mut changed = without.changed_paths(&installed);
        changed.retain(|path| path != STATE && path != "etc/profile.d");
        assert_eq!(changed, [PROFILE], "{fixture}");
        assert!(installed.lines[PROFILE].contains(" 0644 "), "{fixture}: {}", installed.lines[PROFILE]);
        let one = fs::read_to_string(at(&scene, PROFILE)).unwrap();

        let again = install();
        assert_eq!((&again["changed"], &again["plan"]), (&json!(false), &json!([])), "{fixture}");
        scene.with_file(&scene.file("root.pem")).ok().says(["nothing to do"]);
        installed.assert_same(&Tree::of(scene.root.path()), "a second run");

        // The file of the only anchor is named no longer once there are two, and again afterwards.
        scene.with_file(&scene.file("second.pem")).ok();
        let two = fs::read_to_string(at(&scene, PROFILE)).unwrap();
        assert_eq!(one == two, fixture == "scratch", "{fixture}: {two}");
        assert!(two.contains(&format!("export NODE_EXTRA_CA_CERTS='{}'", bundle_of(&scene))), "{two}");
        assert_eq!(install()["changed"], false);
        let pin = ca::fingerprints(&fs::read_to_string(scene.file("second.pem")).unwrap())[0].hex();
        scene.trustup(["untrust", "--fingerprint", &pin]).ok();
        assert_eq!(fs::read_to_string(at(&scene, PROFILE)).unwrap(), one, "{fixture}");

        scene.trustup(["untrust", "--all"]).ok();
        first.assert_same(&Tree::of(scene.root.path()), fixture);
    }
}

fn bundle_of(scene: &Scene) -> String {
    let answer = scene.trustup(["env", "--json"]).ok().json();
    answer["bundle"].as_str().unwrap().to_owned()
}

/// `--stores none` afterwards: a root that is in no store is no reason for the file.
#[test]
fn the_file_for_login_shells_goes_with_the_last_root_in_a_store() {
    let scene = trusting();
    scene.trustup(["env", "--install"]).ok();
    let recorded = ca::root("Recorded Only");
    let file = recorded.write(scene.given.path(), "recorded.pem");
    scene.with_file(&file).args(["--stores", "none", "--fingerprint", &recorded.pin()]).ok();
    let text = fs::read_to_string(at(&scene, PROFILE)).unwrap();
    assert!(text.contains(ANCHOR), "one root is in the stores, and it has a file: {text}");
    scene.trustup(["untrust", "--fingerprint", &scene.ca.pin()]).ok();
    assert!(!at(&scene, PROFILE).exists());
    scene.trustup(["untrust", "--all"]).ok();
    scene.before.assert_same(&Tree::of(scene.root.path()), "after all");
}

#[test]
fn what_stands_in_the_way_of_the_file_is_an_error_and_stays() {
    let plant: [(_, fn(&Path)); 6] = [
        ("a file", |path| fs::write(path, "# mine\n").unwrap()),
        ("an empty file", |path| fs::write(path, "").unwrap()),
        ("a link", |path| symlink("/etc/passwd", path).unwrap()),
        ("a dangling link", |path| symlink("nowhere", path).unwrap()),
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a file in the directory's place", |path| {
            fs::remove_dir(path.parent().unwrap()).unwrap();
            fs::write(path.parent().unwrap(), "").unwrap();
        }),
    ];
    for (case, plant) in plant {
        let scene = trusting();
        fs::create_dir_all(at(&scene, "etc/profile.d")).unwrap();
        plant(&at(&scene, PROFILE));
        let before = Tree::of(scene.root.path());
        let run = scene.trustup(["env", "--install"]).fails(1);
        run.says(["profile.d", "hint:"]);
        assert_eq!(run.stdout, "", "{case}");
        before.assert_same(&Tree::of(scene.root.path()), case);
        // Nobody else is bothered by it.
        scene.with_file(&scene.file("root.pem")).ok().says(["nothing to do"]);
        scene.trustup(["env"]).ok();
    }
}

#[test]
fn what_somebody_made_of_the_file_stays_and_a_lost_one_comes_back() {
    let scene = trusting();
    scene.trustup(["env", "--install"]).ok();
    let text = fs::read(at(&scene, PROFILE)).unwrap();
    fs::remove_file(at(&scene, PROFILE)).unwrap();
    scene.with_file(&scene.file("root.pem")).ok();
    assert_eq!(fs::read(at(&scene, PROFILE)).unwrap(), text);

    fs::write(at(&scene, PROFILE), "# mine now\n").unwrap();
    scene.trustup(["env", "--install"]).fails(1).says(["trustup did not create"]);
    let run = scene.with_file(&scene.file("root.pem")).ok();
    run.says(["warning", "etc/profile.d/trustup.sh"]);
    let again = scene.with_file(&scene.file("root.pem")).ok();
    assert!(!again.stderr.contains("warning"), "said once: {again}");
    scene.trustup(["untrust", "--all"]).ok();
    assert_eq!(fs::read(at(&scene, PROFILE)).unwrap(), b"# mine now\n");
}

#[test]
fn a_killed_install_is_turned_back() {
    let mut killed = 0;
    for at_step in 1..10 {
        let scene = trusting();
        let before = Tree::of(scene.root.path());
        let run = scene.trustup(["env", "--install"]).killed_at(at_step).run();
        if run.code == Some(0) {
            break;
        }
        assert_eq!(run.code, None, "{run}");
        killed += 1;
        // Whatever runs next turns it back first.
        scene.with_file(&scene.file("root.pem")).ok();
        let after = Tree::of(scene.root.path());
        let is_there = at(&scene, PROFILE).exists();
        let differences = before.without(STATE).differences(&after.without(STATE));
        assert_eq!(differences.is_empty(), !is_there, "killed at {at_step}: {differences:?}");
        scene.trustup(["untrust", "--all"]).ok();
        scene.before.assert_same(&Tree::of(scene.root.path()), &format!("killed at {at_step}"));
    }
    assert!(killed >= 3, "{killed}");
}

/// What is planted, and how.
type Planted<'a> = (&'static str, &'a dyn Fn(&mut Value));

/// T11: a state may name this one file of that directory, and never bring back a script of its own.
#[test]
fn a_planted_state_cannot_put_a_script_there() {
    let scene = trusting();
    scene.trustup(["env", "--install"]).ok();
    let state = fs::read(at(&scene, STATE)).unwrap();
    let change = |change: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_slice(&state).unwrap();
        change(&mut value);
        fs::write(at(&scene, STATE), value.to_string()).unwrap();
    };
    let script = json!({
        "mode": 0o644, "owner": [0, 0], "modified": [0, 0], "prefix": 0, "suffix": 0, "middle": "dG91Y2ggL3gK",
        "sha256": trustup::pki::fingerprint::Fingerprint::of(b"touch /x\n").hex(),
    });
    let record = format!("/{PROFILE}");
    let cases: [Planted; 4] = [
        ("a script before us", &|s| s["records"][&record]["before"] = json!({ "file": script })),
        ("a link before us", &|s| s["records"][&record]["before"] = json!({ "link": { "target": "/x" } })),
        ("a link after us", &|s| s["records"][&record]["after"] = json!({ "link": "/x" })),
        ("another file", &|s| {
            let record = s["records"].as_object_mut().unwrap().remove(&record).unwrap();
            s["records"]["/etc/profile.d/00-first.sh"] = record;
        }),
    ];
    for (case, plant) in cases {
        change(plant);
        let before = Tree::of(scene.root.path());
        for command in [["untrust", "--all"].as_slice(), &["env", "--install"], &["env"]] {
            let run = scene.trustup(command.iter().copied()).fails(1);
            assert_eq!(run.stdout, "", "{case}");
            run.says(["hint:"]);
        }
        before.assert_same(&Tree::of(scene.root.path()), case);
    }
}
