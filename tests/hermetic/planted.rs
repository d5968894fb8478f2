//! State, journal and lock that somebody planted or holds (threat T11): named paths that are not trustup's to change,
//! set-id modes, damage. An error each time, and nothing changed.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::ca::{self, Root};
use crate::support::run::{Trustup, fixtures};
use crate::support::servers::wait_for;
use crate::support::tree::Tree;

const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
const STATE: &str = "var/lib/trustup/state.json";
const JOURNAL: &str = "var/lib/trustup/journal.json";

/// A Debian tree with a file that matters, something outside, and two roots.
struct Scene {
    directory: tempfile::TempDir,
    roots: [Root; 2],
}

impl Scene {
    fn new() -> Scene {
        let scene = Scene { directory: tempfile::tempdir().unwrap(), roots: ["One", "Two"].map(ca::root) };
        fs::create_dir(scene.sysroot()).unwrap();
        let fixture = trustup::demo::fixture::Fixture::load(&fixtures().join("debian-12")).unwrap();
        fixture.unpack(&scene.sysroot()).unwrap();
        fs::write(scene.at("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
        fs::create_dir(scene.directory.path().join("outside")).unwrap();
        fs::write(scene.directory.path().join("outside/x"), "outside\n").unwrap();
        for (number, root) in scene.roots.iter().enumerate() {
            root.write(scene.directory.path(), &format!("{number}.pem"));
        }
        scene
    }

    fn sysroot(&self) -> PathBuf {
        self.directory.path().join("sysroot")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.sysroot().join(path)
    }

    fn bootstrap(&self, root: usize) -> Trustup {
        Trustup::at(&self.sysroot(), ["bootstrap", "--ca-file"])
            .arg(self.directory.path().join(format!("{root}.pem")))
    }

    fn untrust(&self) -> Trustup {
        Trustup::at(&self.sysroot(), ["untrust", "--all"])
    }

    fn change(&self, file: &str, change: impl Fn(&mut Value)) {
        let mut value: Value = serde_json::from_slice(&fs::read(self.at(file)).unwrap()).unwrap();
        let before = value.clone();
        change(&mut value);
        assert_ne!(value, before, "the case changes nothing");
        fs::write(self.at(file), serde_json::to_vec_pretty(&value).unwrap()).unwrap();
    }

    /// Every command that could act on what was planted fails and changes nothing at all.
    fn is_refused(&self, commands: &[&str]) {
        let now = || Tree::of(self.directory.path()).without("sysroot/var/lib/trustup/lock");
        let before = now();
        for command in commands {
            let run = match *command {
                "untrust" => self.untrust(),
                "bootstrap" => self.bootstrap(1),
                other => Trustup::at(&self.sysroot(), [other]),
            };
            let run = run.fails(1);
            run.says(["hint:"]);
            before.assert_same(&now(), &format!("{run}"));
        }
    }
}

/// Moves what is recorded for the bundle to `path`.
fn renamed(records: &mut Value, path: &str) {
    let records = records.as_object_mut().unwrap();
    let record = records.remove(BUNDLE).expect("a record of the bundle");
    records.insert(path.to_owned(), record);
}

/// What `Saved` and `Mark` look like for a file that is to vanish.
fn made_by_us(scene: &Scene, path: &str) -> Value {
    let content = fs::read(scene.at(path)).unwrap();
    json!({ "before": "absent", "after": { "file": trustup::pki::fingerprint::Fingerprint::of(&content).hex() } })
}

const FOREIGN: [&str; 12] = [
    "/etc/profile.d/other.sh",
    "/etc/profile.d",
    "/etc/profile",
    "/etc/passwd",
    "etc/passwd",
    "../../x",
    "/../outside/x",
    "/../../../../../../etc/passwd",
    "/etc/ssl/certs/../../passwd",
    "/usr/local/share/ca-certificates/../../../../etc/passwd",
    "/etc//passwd",
    "/etc/ssl/certs/./../../passwd",
];

type Case = (&'static str, Box<dyn Fn(&Scene)>);

fn run_all(cases: Vec<Case>, prepare: impl Fn() -> Scene, commands: &[&str]) {
    let failed: Vec<&str> = cases
        .iter()
        .filter(|(case, plant)| {
            eprintln!("--- {case}");
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let scene = prepare();
                plant(&scene);
                scene.is_refused(commands);
            }));
            outcome.is_err()
        })
        .map(|(case, _)| *case)
        .collect();
    assert!(failed.is_empty(), "{} cases failed: {failed:#?}", failed.len());
}

#[test]
fn a_planted_state_is_refused() {
    let state = |change: fn(&mut Value)| -> Box<dyn Fn(&Scene)> {
        Box::new(move |scene| scene.change(STATE, change))
    };
    let mut cases: Vec<Case> = vec![
        ("set-uid mode", state(|s| s["records"][BUNDLE]["before"]["file"]["mode"] = json!(0o4755))),
        ("set-gid mode", state(|s| s["records"][BUNDLE]["before"]["file"]["mode"] = json!(0o2755))),
        (
            "mode with a file type",
            state(|s| s["records"][BUNDLE]["before"]["file"]["mode"] = json!(0o10_0644)),
        ),
        ("unknown row", state(|s| s["row"] = json!("nowhere"))),
        ("newer schema", state(|s| s["schema"] = json!(99))),
        ("version that is no number", state(|s| s["schema"] = json!("1"))),
        ("no object", state(|s| *s = json!([]))),
        ("certificate of another root", state(|s| s["anchors"][0]["fingerprint"] = json!("0".repeat(64)))),
        ("no base64", state(|s| s["anchors"][0]["certificate"] = json!("***"))),
        ("name with a slash", state(|s| s["anchors"][0]["name"] = json!("../../../../etc/passwd"))),
        ("hidden name", state(|s| s["anchors"][0]["name"] = json!(".x"))),
        ("directory that is not on the way", state(|s| s["directories"] = json!(["/etc"]))),
        ("not JSON", Box::new(|scene| fs::write(scene.at(STATE), "{").unwrap())),
        ("not UTF-8", Box::new(|scene| fs::write(scene.at(STATE), b"\xff\xfe").unwrap())),
        (
            "a directory",
            Box::new(|scene| {
                fs::remove_file(scene.at(STATE)).unwrap();
                fs::create_dir(scene.at(STATE)).unwrap();
            }),
        ),
        (
            "10 GB",
            Box::new(|scene| {
                fs::File::create(scene.at(STATE)).unwrap().set_len(10 << 30).unwrap();
            }),
        ),
        ("deeply nested", Box::new(|scene| fs::write(scene.at(STATE), "[".repeat(1 << 20)).unwrap())),
        (
            "a file that was never ours is said to be made by us",
            Box::new(|scene| {
                let record = made_by_us(scene, "etc/passwd");
                scene.change(STATE, |s| s["records"]["/etc/passwd"] = record.clone());
            }),
        ),
    ];
    for path in FOREIGN {
        let case: Box<dyn Fn(&Scene)> =
            Box::new(move |scene| scene.change(STATE, |s| renamed(&mut s["records"], path)));
        cases.push((path, case));
    }
    let prepare = || {
        let scene = Scene::new();
        scene.bootstrap(0).ok();
        scene
    };
    run_all(cases, prepare, &["untrust", "bootstrap", "status"]);
}

#[test]
fn a_planted_journal_is_refused() {
    let journal = |change: fn(&mut Value)| -> Box<dyn Fn(&Scene)> {
        Box::new(move |scene| scene.change(JOURNAL, change))
    };
    let mut cases: Vec<Case> = vec![
        (
            "set-uid mode",
            journal(|j| {
                for step in j["steps"].as_array_mut().unwrap() {
                    if !step["record"]["before"]["file"].is_null() {
                        step["record"]["before"]["file"]["mode"] = json!(0o4755);
                    }
                }
            }),
        ),
        (
            "temporary name elsewhere",
            journal(|j| j["steps"][0]["temporary"] = json!("../../../../etc/passwd")),
        ),
        ("temporary name of another file", journal(|j| j["steps"][0]["temporary"] = json!("passwd"))),
        (
            "temporary name with a slash",
            journal(|j| j["steps"][0]["temporary"] = json!(".trustup-/../passwd")),
        ),
        ("unknown row", journal(|j| j["row"] = json!("nowhere"))),
        ("version that is no number", journal(|j| j["schema"] = json!("1"))),
        ("directory that is not on the way", journal(|j| j["made"] = json!(["/etc"]))),
        ("leftover that is no leftover", journal(|j| j["leftovers"] = json!(["/etc/passwd"]))),
        ("leftover with ..", journal(|j| j["leftovers"] = json!(["/etc/ssl/certs/../../passwd"]))),
        ("directory in which everything is new", journal(|j| j["directories"] = json!(["/etc"]))),
        ("the root directory", journal(|j| j["directories"] = json!(["/"]))),
        ("watched path", journal(|j| j["watched"] = json!([{ "path": "/etc/passwd", "before": "absent" }]))),
        ("not JSON", Box::new(|scene| fs::write(scene.at(JOURNAL), "{").unwrap())),
        (
            "a directory",
            Box::new(|scene| {
                fs::remove_file(scene.at(JOURNAL)).unwrap();
                fs::create_dir(scene.at(JOURNAL)).unwrap();
            }),
        ),
        ("a state of its own", journal(|j| j["state"] = json!("{\"schema\":99}"))),
        (
            "a state that names other files",
            journal(|j| {
                let mut state: Value = serde_json::from_str(j["state"].as_str().unwrap()).unwrap();
                renamed(&mut state["records"], "/etc/passwd");
                j["state"] = json!(state.to_string());
            }),
        ),
    ];
    for path in FOREIGN {
        let case: Box<dyn Fn(&Scene)> =
            Box::new(move |scene| scene.change(JOURNAL, |j| j["steps"][0]["path"] = json!(path)));
        cases.push((path, case));
    }
    let prepare = || {
        let scene = Scene::new();
        scene.bootstrap(0).ok();
        let killed = scene.bootstrap(1).killed_at(3).run();
        assert_eq!(killed.code, None, "{killed}");
        assert!(scene.at(JOURNAL).is_file(), "a killed run leaves its journal");
        scene
    };
    run_all(cases, prepare, &["untrust", "bootstrap"]);
}

#[test]
fn a_link_in_the_place_of_state_or_journal_leads_nowhere_outside() {
    for file in [STATE, JOURNAL, "var/lib/trustup/lock"] {
        let scene = Scene::new();
        scene.bootstrap(0).ok();
        let outside = Tree::of(&scene.directory.path().join("outside"));
        let _ = fs::remove_file(scene.at(file));
        symlink(scene.directory.path().join("outside/x"), scene.at(file)).unwrap();
        for run in [scene.bootstrap(1), scene.untrust()] {
            let run = run.run();
            assert!(matches!(run.code, Some(0 | 1)), "{run}");
            outside.assert_same(&Tree::of(&scene.directory.path().join("outside")), file);
        }
    }
}

#[test]
fn two_runs_at_once_wait_for_each_other_and_give_up_in_time() {
    let scene = Scene::new();
    scene.bootstrap(0).ok();
    // Left there, and held by nobody: no obstacle.
    let path = scene.at("var/lib/trustup/lock");
    let open =
        || fs::File::options().write(true).create(true).truncate(false).mode(0o600).open(&path).unwrap();
    open();
    scene.untrust().ok();
    scene.bootstrap(0).ok();
    let lock = open();
    let before = Tree::of(&scene.sysroot());
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let started = Instant::now();
    let refused = scene.bootstrap(1).args(["--timeout", "1s"]).fails(1);
    assert!(started.elapsed() >= Duration::from_millis(900), "gave up at once: {refused}");
    assert!(started.elapsed() < Duration::from_secs(20), "waited too long: {refused}");
    refused.says(["lock", "hint: wait for it to end; `--timeout` sets how long trustup waits"]);
    before.assert_same(&Tree::of(&scene.sysroot()), "without the lock");
    // What only reads, and what has nothing to do, needs no lock.
    Trustup::at(&scene.sysroot(), ["status"]).ok();
    Trustup::at(&scene.sysroot(), ["detect"]).ok();
    scene.bootstrap(0).args(["--timeout", "1s"]).ok();
    scene.bootstrap(1).args(["--dry-run", "--timeout", "1s"]).ok();
    // As the hint says: one that has the time waits until the other ends.
    let waiting = scene.bootstrap(1).args(["--timeout", "60s"]).start();
    drop(lock);
    let waited = waiting.end();
    assert_eq!(waited.code, Some(0), "{waited}");
}

#[test]
fn many_runs_at_once_all_succeed_and_lose_nothing() {
    let scene = Scene::new();
    let before = Tree::of(&scene.sysroot());
    let roots: Vec<Root> = (0..6).map(|number| ca::root(&format!("Parallel Root {number}"))).collect();
    for (number, root) in roots.iter().enumerate() {
        root.write(scene.directory.path(), &format!("parallel-{number}.pem"));
    }
    std::thread::scope(|scope| {
        for number in 0..roots.len() {
            let file = scene.directory.path().join(format!("parallel-{number}.pem"));
            let sysroot = scene.sysroot();
            scope.spawn(move || Trustup::at(&sysroot, ["bootstrap", "--ca-file"]).arg(file).ok());
        }
    });
    let held = ca::fingerprint_set(&fs::read_to_string(scene.at(&BUNDLE[1..])).unwrap());
    for root in &roots {
        assert!(held.contains(&root.fingerprint));
    }
    Trustup::at(&scene.sysroot(), ["status"]).ok();
    std::thread::scope(|scope| {
        for root in &roots {
            let sysroot = scene.sysroot();
            scope.spawn(move || Trustup::at(&sysroot, ["untrust", "--fingerprint", &root.pin()]).ok());
        }
    });
    before.assert_same(&Tree::of(&scene.sysroot()), "after all have come and gone");
}

/// `docker stop` while another run holds the lock: the wait ends, and nothing was changed.
#[test]
fn a_run_that_waits_for_another_ends_with_a_signal() {
    let scene = Scene::new();
    scene.bootstrap(0).ok();
    let path = scene.at("var/lib/trustup/lock");
    let lock = fs::File::options().write(true).create(true).truncate(false).mode(0o600).open(&path).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let before = Tree::of(&scene.sysroot());
    let running = scene.bootstrap(1).args(["--timeout", "100s"]).start();
    // From then on a signal is only noted, and ends what waits.
    wait_for("the handler of SIGTERM", || running.has_handler(Signal::TERM).then_some(()));
    running.signal(Signal::TERM);
    let run = running.end();
    assert_eq!(run.code, Some(1), "{run}");
    run.says(["ended by SIGTERM"]);
    before.assert_same(&Tree::of(&scene.sysroot()), "without the lock");
    drop(lock);
    scene.bootstrap(1).ok();
}
