//! The journal of a killed run: every version restores what the run changed, or is refused whole.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::scene::{BUNDLE, JOURNAL, STATE, Scene};
use super::{add_future, filled, read_json, refuses, write_json};
use crate::support::run::{Run, Trustup, unpacked};

const VERSIONS: [&str; 4] =
    ["journal-1-first.json", "journal-1.json", "journal-1-linked.json", "journal-2.json"];
const OBJECTS: [&str; 4] = ["", "/steps/*", "/steps/*/record", "/steps/*/record/before/file"];

/// The tree as a run left it that was killed after it had changed the bundle.
fn killed(fixture: &str) -> (Scene, Value) {
    let scene = Scene::new();
    scene.bootstrap(0).args(["--stores", "system"]).ok();
    fs::remove_file(scene.at(STATE)).unwrap();
    fs::remove_dir_all(scene.at("etc/ssl/certs")).unwrap();
    let journal = filled(fixture, &|placeholder| scene.value_of(placeholder));
    plant(&scene, &journal);
    assert_eq!(scene.before.changed_paths(&scene.tree()).first().map(String::as_str), Some(BUNDLE));
    (scene, journal)
}

fn plant(scene: &Scene, journal: &Value) {
    write_json(&scene.at(JOURNAL), journal);
    fs::set_permissions(scene.at(JOURNAL), fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn every_version_restores_what_a_killed_run_changed() {
    for fixture in VERSIONS {
        for with_future in [false, true] {
            eprintln!("--- {fixture}, unknown fields: {with_future}");
            let (scene, mut journal) = killed(fixture);
            if with_future {
                add_future(&mut journal, &OBJECTS);
                plant(&scene, &journal);
            }
            scene.trustup(["status"]).fails(4).says(["a run was killed half-way"]);
            scene.untrust().ok();
            scene.before.assert_same(&scene.tree(), fixture);
        }
    }
}

/// The first journals did not name the state: it stays as it was.
#[test]
fn a_journal_that_does_not_name_the_state_leaves_it() {
    let scene = Scene::new();
    scene.bootstrap(0).ok();
    let (state, tree) = (fs::read(scene.at(STATE)).unwrap(), scene.tree());
    assert_eq!(scene.bootstrap(1).killed_at(2).run().code, None);
    assert!(!tree.without(JOURNAL).differences(&scene.tree().without(JOURNAL)).is_empty());
    let mut journal = read_json(&scene.at(JOURNAL));
    let named = journal.as_object_mut().unwrap().remove("state").unwrap();
    assert_eq!(named.as_str().unwrap().as_bytes(), state);
    plant(&scene, &journal);
    scene.bootstrap(0).ok();
    assert_eq!(fs::read(scene.at(STATE)).unwrap(), state);
    scene.untrust().ok();
    scene.before.assert_same(&scene.tree(), "after untrust");
}

/// What an older trustup reads without loss does not name a version that it would refuse.
#[test]
fn the_lowest_version_that_says_everything_is_written() {
    let scene = Scene::new();
    let tree = unpacked("debian-12");
    let bootstrap = Trustup::at(tree.path(), ["bootstrap", "--ca-file"]).arg(scene.root_file(0));
    assert_eq!(bootstrap.killed_at(3).run().code, None);
    assert_eq!(read_json(&tree.path().join(JOURNAL)).get("schema"), None);
    assert_eq!(scene.bootstrap(0).killed_at(3).run().code, None);
    assert_eq!(read_json(&scene.at(JOURNAL))["schema"], 2);
}

/// Every command that would act on the journal refuses it, and none changes anything.
#[track_caller]
fn is_refused(scene: &Scene, refused: impl Fn(&Run)) {
    let before = scene.tree();
    let commands = [
        scene.bootstrap(0),
        scene.bootstrap(1).arg("--dry-run"),
        scene.untrust(),
        scene.trustup(["untrust", "--all", "--dry-run"]),
    ];
    for run in commands {
        let run = run.fails(1);
        refused(&run);
        before.assert_same(&scene.tree(), &format!("{run}"));
    }
    // What only reports does so.
    for (command, code) in [("detect", 0), ("status", 4)] {
        let run = scene.trustup([command]).fails(code);
        assert!(!run.stderr.contains("the next `trustup bootstrap`"), "{run}");
        before.assert_same(&scene.tree(), &format!("{run}"));
    }
}

#[test]
fn t38_a_newer_journal_is_refused() {
    for fixture in VERSIONS {
        let (scene, mut journal) = killed(fixture);
        journal["schema"] = json!(99);
        journal["steps"] = json!("another structure");
        plant(&scene, &journal);
        is_refused(&scene, |run| refuses(run, &scene.at(JOURNAL), 2));
        let status = scene.trustup(["status", "--json"]).fails(4);
        status.says(["a newer trustup wrote", "journal.json", "has version 99", "reads versions up to 2"]);
        assert_eq!(status.json()["interrupted"], true, "{status}");
    }
}

#[test]
fn t38_a_journal_with_a_newer_state_or_an_unknown_value_is_no_damage() {
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 4] = [
        (|journal| journal["state"] = json!("{\"schema\":99}"), "has version 99"),
        (|journal| journal["row"] = json!("a-later-distribution"), "a-later-distribution"),
        (|journal| journal["steps"][0]["record"]["before"] = json!({ "archive": 1 }), "`archive`"),
        (|journal| journal["steps"][0]["record"]["after"] = json!("sparse"), "`sparse`"),
    ];
    for (change, said) in changes {
        let (scene, mut journal) = killed("journal-1.json");
        change(&mut journal);
        plant(&scene, &journal);
        let before = scene.tree().without("var/lib/trustup/lock");
        for run in [scene.bootstrap(0), scene.untrust()] {
            let run = run.fails(1);
            run.says(["a newer trustup wrote the", "journal.json", "reads versions up to 2", said]);
            assert!(!run.stderr.contains("remove") && !run.stderr.contains("damaged"), "{run}");
            before.assert_same(&scene.tree().without("var/lib/trustup/lock"), &format!("{run}"));
        }
    }
}
