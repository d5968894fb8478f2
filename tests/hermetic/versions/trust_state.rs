//! The trust state: every version is read, acted on, and rewritten with what only a newer trustup knows.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::{Value, json};

use super::scene::{BUNDLE, KEYSTORE, STATE, Scene};
use super::{add_future, filled, has_future, read_json, refuses, write_json};
use crate::support::run::{Trustup, unpacked};

/// A fixture, how its tree is made, and what is in it.
struct Version {
    fixture: &'static str,
    /// What every `bootstrap` of the tree is given.
    arguments: &'static [&'static str],
    /// What else happens to the tree.
    prepare: fn(&Scene),
    /// Where objects are, apart from those that every version has.
    objects: &'static [&'static str],
    /// The exit code of `status`.
    status: i32,
}

const VERSIONS: [Version; 5] = [
    Version {
        fixture: "trust-state-1-first.json",
        arguments: &["--stores", "system"],
        prepare: |_| {},
        objects: &[],
        status: 0,
    },
    Version {
        fixture: "trust-state-1-profile.json",
        arguments: &["--stores", "system"],
        prepare: |scene| drop(scene.trustup(["env", "--install"]).ok()),
        objects: &[],
        status: 0,
    },
    Version {
        fixture: "trust-state-1-stores.json",
        arguments: &["--firefox-policy"],
        prepare: |_| {},
        objects: &["/kinds", "/added/*/*", "/added/*/*/former", "/records/*/before/file/places"],
        status: 0,
    },
    Version {
        fixture: "trust-state-1-linked.json",
        arguments: &["--distribution", "bundle-only"],
        prepare: keep_another_root_in_the_keystore,
        objects: &["/kinds", "/added/*/*/former", "/records/*/before/file/places"],
        status: 4,
    },
    Version {
        fixture: "trust-state-2.json",
        arguments: &["--distribution", "bundle-only"],
        prepare: keep_another_root_in_the_keystore,
        objects: &["/kinds", "/added/*/*/former", "/records/*/before/file/places"],
        status: 4,
    },
];

/// What every version has.
const OBJECTS: [&str; 5] = ["", "/anchors/*", "/sources/*", "/records/*", "/records/*/before/file"];

/// The second root is in the keystore still, which could not be opened when it was removed elsewhere.
fn keep_another_root_in_the_keystore(scene: &Scene) {
    let without = fs::read(scene.at(KEYSTORE)).unwrap();
    scene.untrust().ok();
    scene.bootstrap(1).ok();
    let with_second = fs::read(scene.at(KEYSTORE)).unwrap();
    assert_ne!(without, with_second);
    scene.untrust().ok();
    let original = fs::read(scene.at(KEYSTORE)).unwrap();
    fs::write(scene.at(KEYSTORE), b"no keystore").unwrap();
    scene.bootstrap(0).args(["--distribution", "bundle-only"]).ok();
    assert_ne!(original, with_second);
    fs::write(scene.at(KEYSTORE), with_second).unwrap();
}

impl Version {
    /// The tree as a trustup of this version left it.
    fn scene(&self) -> (Scene, Value) {
        let scene = Scene::new();
        self.bootstrap(&scene, 0).ok();
        (self.prepare)(&scene);
        let state = filled(self.fixture, &|placeholder| scene.value_of(placeholder));
        write_json(&scene.at(STATE), &state);
        (scene, state)
    }

    fn bootstrap(&self, scene: &Scene, root: usize) -> Trustup {
        scene.bootstrap(root).args(self.arguments)
    }

    fn objects(&self) -> Vec<&'static str> {
        OBJECTS.into_iter().chain(self.objects.iter().copied()).collect()
    }
}

#[test]
fn every_version_is_read_and_undone() {
    for version in VERSIONS {
        eprintln!("--- {}", version.fixture);
        let (scene, state) = version.scene();
        let planted = fs::read(scene.at(STATE)).unwrap();
        let status = scene.trustup(["status"]).fails(version.status);
        assert!(status.stdout.contains(&scene.roots[0].pin()), "{status}");
        if version.status == 0 {
            let again = version.bootstrap(&scene, 0).arg("--json").ok();
            assert_eq!(again.json()["changed"], false, "{again}");
            assert_eq!(fs::read(scene.at(STATE)).unwrap(), planted, "{}: nothing to write", version.fixture);
        }
        let untrust = scene.untrust().ok();
        scene.before.assert_same(&scene.tree(), version.fixture);
        let bundle = fs::metadata(scene.at(BUNDLE)).unwrap();
        assert_eq!((bundle.mtime(), bundle.mtime_nsec()), (1_700_000_000, 5), "{untrust}");
        if state["records"]["/opt/company/bundle.pem"]["special"] == 1024 {
            untrust.says(["had set-id bits before trustup changed it"]);
        }
    }
}

#[test]
fn the_lowest_version_that_says_everything_is_written() {
    let given = Scene::new();
    for (fixture, arguments, wanted) in [
        ("debian-12", &[][..], 1),
        // The user named the distribution.
        ("debian-12", &["--distribution", "debian"], 2),
    ] {
        let tree = unpacked(fixture);
        let bootstrap = Trustup::at(tree.path(), ["bootstrap", "--ca-file"]).arg(given.root_file(0));
        bootstrap.args(arguments).ok();
        assert_eq!(read_json(&tree.path().join(STATE))["schema"], wanted, "{fixture}: {arguments:?}");
    }
    // A path that is ours only because a known link leads to it.
    given.bootstrap(0).ok();
    assert_eq!(read_json(&given.at(STATE))["schema"], 2);
}

#[test]
fn t38_unknown_fields_are_kept_at_every_level() {
    for version in VERSIONS {
        eprintln!("--- {}", version.fixture);
        let (scene, mut state) = version.scene();
        let mut paths = add_future(&mut state, &version.objects());
        write_json(&scene.at(STATE), &state);
        // Nothing is to be done for their sake.
        if version.status == 0 {
            let again = version.bootstrap(&scene, 0).arg("--json").ok();
            assert_eq!(again.json()["changed"], false, "{again}");
            assert_eq!(read_json(&scene.at(STATE)), state);
        }
        // What the second root brings changes every file.
        version.bootstrap(&scene, 1).ok();
        let rewritten = read_json(&scene.at(STATE));
        assert_ne!(rewritten, state);
        has_future(&rewritten, &paths, version.fixture);
        let again = version.bootstrap(&scene, 1).arg("--json").ok();
        assert_eq!(again.json()["changed"], false, "{again}");
        // What is about the second root goes with it.
        scene.trustup(["untrust", "--fingerprint", &scene.roots[1].pin()]).ok();
        paths.retain(|path| !path.contains(&scene.roots[1].fingerprint.hex()));
        has_future(&read_json(&scene.at(STATE)), &paths, version.fixture);
        scene.untrust().ok();
        scene.before.assert_same(&scene.tree(), version.fixture);
    }
}

/// Every command that reads the state.
const COMMANDS: [&[&str]; 8] = [
    &["bootstrap", "--ca-file"],
    &["bootstrap", "--dry-run", "--ca-file"],
    &["untrust", "--all"],
    &["untrust", "--all", "--dry-run"],
    &["status"],
    &["detect"],
    &["doctor"],
    &["env"],
];

#[test]
fn t38_a_newer_state_is_refused_by_every_command() {
    let (scene, mut state) = VERSIONS[2].scene();
    state["schema"] = json!(99);
    // Whatever else changed with it.
    state["anchors"] = json!({ "by": "another structure" });
    write_json(&scene.at(STATE), &state);
    let before = scene.tree();
    for command in COMMANDS {
        let run = scene.trustup(command.iter().copied());
        let run = if command[0] == "bootstrap" { run.arg(scene.root_file(1)) } else { run };
        let run = run.fails(1);
        refuses(&run, &scene.at(STATE), 2);
        before.assert_same(&scene.tree(), &format!("{run}"));
    }
}

#[test]
fn t38_a_value_that_only_a_newer_trustup_knows_is_no_damage() {
    let cases: [(&str, Value, &str); 5] = [
        ("/row", json!("a-later-distribution"), "a-later-distribution"),
        ("/anchors/0/status", json!("elsewhere"), "unknown variant `elsewhere`"),
        ("/anchors/0/status", json!({ "until": "2030" }), "unknown variant `until`"),
        ("/records/~1opt~1company~1bundle.pem/before", json!({ "archive": {} }), "unknown variant `archive`"),
        ("/records/~1opt~1company~1bundle.pem/after", json!("sparse"), "unknown variant `sparse`"),
    ];
    for (path, value, said) in cases {
        let (scene, mut state) = VERSIONS[0].scene();
        *state.pointer_mut(path).expect(path) = value;
        write_json(&scene.at(STATE), &state);
        let before = scene.tree();
        for run in [scene.bootstrap(1), scene.untrust(), scene.trustup(["status"])] {
            let run = run.fails(1);
            run.says(["a newer trustup wrote the trust state", "state.json", said]);
            run.says(["the file has version 1", "reads versions up to 2", "hint: use the trustup"]);
            assert!(!run.stderr.contains("remove") && !run.stderr.contains("damaged"), "{run}");
            before.assert_same(&scene.tree(), &format!("{run}"));
        }
    }
}

/// `enroll` reads what bootstrap recorded, and `bootstrap` the states of both trees before it changes one.
#[test]
fn t38_a_newer_state_in_the_private_store_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let root = crate::support::ca::root("Private Versions Root");
    root.write(place.path(), "root.pem");
    let trustup =
        |arguments: &[&str]| Trustup::new(arguments.iter().copied()).env("HOME", place.path().join("home"));
    fs::create_dir(place.path().join("home")).unwrap();
    let bootstrap =
        || trustup(&["bootstrap", "--stores", "private", "--ca-file"]).arg(place.path().join("root.pem"));
    bootstrap().ok();
    let file = find(&place.path().join("home"));
    let mut state = read_json(&file);
    state["schema"] = json!(99);
    write_json(&file, &state);
    let before = crate::support::tree::Tree::of(place.path());
    let enroll = trustup(&["enroll", "token", "web.test", "--token", "x"]);
    let enroll = enroll.arg("--cert").arg(place.path().join("a.crt"));
    let enroll = enroll.arg("--key").arg(place.path().join("a.key"));
    for run in [bootstrap(), trustup(&["untrust", "--all"]), trustup(&["status"]), trustup(&["env"]), enroll]
    {
        let run = run.fails(1);
        refuses(&run, &file, 2);
        before.assert_same(&crate::support::tree::Tree::of(place.path()), &format!("{run}"));
    }
}

/// The only state file below a directory.
fn find(directory: &std::path::Path) -> std::path::PathBuf {
    let mut below = vec![directory.to_owned()];
    let mut found = Vec::new();
    while let Some(directory) = below.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => below.push(entry.path()),
                false if entry.file_name() == "state.json" => found.push(entry.path()),
                false => {}
            }
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}
