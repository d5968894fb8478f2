//! What is kept beside a key: the key in progress, the history of one-time tokens, and the CA that the pair came from.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use trustup::pki::fingerprint::Fingerprint;

use super::{FUTURE, add_future, filled, future, has_future, read_json, refuses};
use crate::support::enrollment::{Scene, done, mode, write};
use crate::support::run::{Run, Trustup};
use crate::support::tree::Tree;

const HISTORY: &str = ".server.key.trustup/history.json";
const PENDING: &str = ".server.key.trustup/pending.json";
const ENROLLED: &str = ".server.key.trustup/enrolled.json";
const KEY: &str = ".server.key.trustup/key.pem";

/// A token of the scene's CA, in a file.
fn token(scene: &Scene) -> PathBuf {
    let run = Trustup::new(["token", "web.test", "--ca-url", &scene.server.url(), "--password-file"])
        .arg(scene.path("password"))
        .args(["--fingerprint", &scene.ca.fingerprint().hex()])
        .env("HOME", "/none")
        .ok();
    let path = scene.path("token");
    write(&path, run.stdout.as_bytes(), 0o600);
    path
}

fn by_token(scene: &Scene) -> Trustup {
    scene.plain("token").arg("--token-file").arg(scene.path("token"))
}

/// The same token for a pair elsewhere: it is used up, and nothing beside the scene's key says so.
fn use_token_elsewhere(scene: &Scene) {
    let elsewhere = tempfile::tempdir().unwrap();
    let run = Trustup::new(["--json", "--timeout", "20s", "enroll", "token", "--token-file"]);
    let run = run.arg(scene.path("token")).arg("--cert").arg(elsewhere.path().join("server.crt"));
    run.arg("--key").arg(elsewhere.path().join("server.key")).env("HOME", "/none").ok();
}

/// The fixture, with what is in the scene.
fn fixture(scene: &Scene, name: &str) -> Value {
    filled(name, &|placeholder| match placeholder {
        "key" => json!(Fingerprint::of(&fs::read(scene.path(KEY)).unwrap())),
        "token" => {
            json!(Fingerprint::of(fs::read_to_string(scene.path("token")).unwrap().trim().as_bytes()))
        }
        "ca" => json!(scene.server.url()),
        "roots" => json!(scene.ca.root_pem()),
        _ => panic!("{placeholder}"),
    })
}

/// Writes a file beside the key, as trustup would.
fn plant(scene: &Scene, file: &str, value: &Value) {
    let path = scene.path(file);
    if !path.parent().unwrap().exists() {
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
    }
    write(&path, &serde_json::to_vec(value).unwrap(), 0o600);
}

/// A run that was killed after its key was saved.
fn killed() -> Scene {
    let scene = Scene::new();
    token(&scene);
    assert_eq!(scene.enroll().killed_at(1).run().code, None);
    assert!(scene.path(KEY).exists());
    scene
}

#[test]
fn every_version_knows_the_key_in_progress() {
    for name in ["pending-1-first.json", "pending-1-spent.json", "pending-1.json"] {
        let scene = killed();
        plant(&scene, PENDING, &fixture(&scene, name));
        let key = fs::read(scene.path(KEY)).unwrap();
        let run = scene.enroll().ok();
        assert_eq!(scene.pair().1, key, "{name}: {run}");
        // What it knew of a token is in the history now, and nowhere else.
        let left = |file: &str| scene.path(file).exists();
        assert_eq!((left(PENDING), left(HISTORY)), (false, name != "pending-1.json"), "{name}");
        if left(HISTORY) {
            assert_eq!(read_json(&scene.path(HISTORY)), fixture(&scene, "history-1.json"), "{name}");
            assert_eq!(mode(&scene.path(HISTORY)), 0o600);
        }
        assert_eq!(read_json(&scene.path(ENROLLED)).get("spent"), None);
    }
}

#[test]
fn every_version_knows_the_spent_token() {
    for (file, name) in [
        (PENDING, "pending-1-first.json"),
        (PENDING, "pending-1-spent.json"),
        (ENROLLED, "enrolled-1-spent.json"),
        (HISTORY, "history-1.json"),
    ] {
        let scene = killed();
        use_token_elsewhere(&scene);
        plant(&scene, file, &fixture(&scene, name));
        let said = "it was presented before, by an earlier run here, at 2023-11-14 22:13:20 UTC";
        for time in ["first", "second"] {
            let run = by_token(&scene).fails(4);
            assert!(run.stderr.contains(said), "{name}, {time} time: {run}");
        }
        // In-progress state is gone, and the history is not.
        assert!(!scene.path(KEY).exists() && !scene.path(PENDING).exists());
        assert!(scene.path(HISTORY).exists(), "{name}");
    }
}

/// A pair that is good leaves nothing in progress, and forgets no token.
#[test]
fn what_is_in_progress_goes_without_the_history() {
    let scene = Scene::new();
    token(&scene);
    use_token_elsewhere(&scene);
    scene.enroll().ok();
    let mut record = fixture_without_key(&scene, "pending-1-spent.json");
    record["spent"][0][FUTURE] = future();
    plant(&scene, PENDING, &record);
    assert_eq!(done(&scene.enroll().ok()).0, "kept");
    assert!(!scene.path(PENDING).exists());
    has_future(&read_json(&scene.path(HISTORY)), &["/spent/0".to_owned()], "moved");
    let run = by_token(&scene).arg("--force").fails(4);
    run.says(["it was presented before, by an earlier run here, at 2023-11-14"]);
}

fn fixture_without_key(scene: &Scene, name: &str) -> Value {
    write(&scene.path(KEY), b"", 0o600);
    let value = fixture(scene, name);
    fs::remove_file(scene.path(KEY)).unwrap();
    value
}

#[test]
fn every_version_knows_the_ca() {
    for name in ["enrolled-1-first.json", "enrolled-1-spent.json"] {
        let scene = Scene::new();
        token(&scene);
        by_token(&scene).ok();
        plant(&scene, ENROLLED, &fixture(&scene, name));
        // The token names the CA no longer.
        fs::remove_file(scene.path("token")).unwrap();
        let connections = scene.server.connections();
        assert_eq!(done(&by_token(&scene).ok()).0, "kept", "{name}");
        assert_eq!(scene.server.connections(), connections);
    }
}

#[test]
fn t38_unknown_fields_are_kept() {
    let scene = Scene::new();
    token(&scene);
    assert_eq!(scene.enroll().killed_at(2).run().code, None);
    let mut record = read_json(&scene.path(PENDING));
    let paths = add_future(&mut record, &["", "/attempts/*"]);
    plant(&scene, PENDING, &record);
    // The next run sends another request with the same key, and is killed, too.
    fs::remove_file(scene.path(".server.key.trustup/issued.pem")).unwrap_or_default();
    assert_eq!(scene.enroll().killed_at(2).run().code, None);
    let rewritten = read_json(&scene.path(PENDING));
    assert_eq!(rewritten["attempts"].as_array().map(Vec::len), Some(2), "{rewritten}");
    has_future(&rewritten, &paths, "pending.json");

    let mut history = fixture(&scene, "history-1.json");
    let paths = add_future(&mut history, &["", "/spent/*"]);
    history["spent"][0]["token"] = json!(Fingerprint::of(b"another token"));
    plant(&scene, HISTORY, &history);
    by_token(&scene).arg("--force").ok();
    let rewritten = read_json(&scene.path(HISTORY));
    assert_eq!(rewritten["spent"].as_array().map(Vec::len), Some(2), "{rewritten}");
    has_future(&rewritten, &paths, "history.json");

    let mut enrolled = read_json(&scene.path(ENROLLED));
    let paths = add_future(&mut enrolled, &[""]);
    plant(&scene, ENROLLED, &enrolled);
    scene.enroll().arg("--force").ok();
    let rewritten = read_json(&scene.path(ENROLLED));
    assert_ne!(rewritten["method"], enrolled["method"], "it was rewritten");
    has_future(&rewritten, &paths, "enrolled.json");
    assert_eq!(read_json(&scene.path(HISTORY))["spent"].as_array().map(Vec::len), Some(2));
}

#[test]
fn t38_a_newer_file_is_refused_and_nothing_is_forgotten() {
    for file in [PENDING, HISTORY, ENROLLED] {
        for with_pair in [false, true] {
            let scene = killed();
            if with_pair {
                scene.enroll().ok();
            }
            let value = json!({ "schema": 99, "spent": "another structure", "key": { "sealed": true } });
            plant(&scene, file, &value);
            let before = Tree::of(scene.directory.path());
            let connections = scene.server.connections();
            for run in [scene.enroll(), scene.enroll().arg("--force"), scene.enroll().arg("--dry-run")] {
                let run = run.fails(1);
                refuses(&run, &scene.path(file), 1);
                before.assert_same(&Tree::of(scene.directory.path()), &format!("{file}: {run}"));
            }
            assert_eq!(scene.server.connections(), connections, "nobody was asked");
        }
    }
}

const DAMAGE: [&[u8]; 6] =
    [b"", b"{", b"\0\0\0\0", b"[1]", b"{\"schema\":\"1\"}", b"{\"schema\":1,\"spent\":7}"];

fn hint(run: &Run) -> String {
    run.stderr.lines().find_map(|line| line.trim().strip_prefix("hint: ")).expect("a hint").to_owned()
}

/// It says which key may have a certificate, and which token is spent: not for trustup to decide that this is nothing.
#[test]
fn a_damaged_record_of_the_key_is_an_error_whose_hint_works() {
    for damage in DAMAGE {
        let scene = killed();
        write(&scene.path(PENDING), damage, 0o600);
        // The lock of the run that was killed goes with the next.
        let now = || Tree::of(scene.directory.path()).without(".server.key.trustup/lock");
        let before = now();
        let run = scene.enroll().fails(1);
        run.says(["the record of a key in progress is damaged", "pending.json", "because:"]);
        before.assert_same(&now(), &format!("{run}"));
        let place = scene.path(PENDING);
        assert!(hint(&run).starts_with(&format!("remove `{}` and run again", place.display())), "{run}");
        fs::remove_file(place).unwrap();
        assert_eq!(done(&scene.enroll().ok()).0, "issued");
        // Beside a good pair it is no error, and no secret either.
        write(&scene.path(PENDING), damage, 0o600);
        let run = scene.enroll().ok();
        run.says(["warning:", "pending.json", "is damaged"]);
        assert_eq!((done(&run).0.as_str(), scene.path(PENDING).exists()), ("kept", true), "{run}");
    }
}

#[test]
fn a_damaged_history_or_origin_is_a_warning_that_names_the_file() {
    for damage in DAMAGE {
        for (file, said) in [
            (HISTORY, "does not know which one-time tokens were used before"),
            (ENROLLED, "does not know which CA the pair came from"),
        ] {
            let scene = Scene::new();
            token(&scene);
            by_token(&scene).ok();
            if file == ENROLLED && damage.ends_with(b"7}") {
                continue;
            }
            write(&scene.path(file), damage, 0o600);
            let run = scene.enroll().arg("--force").ok();
            let place = scene.path(file);
            let warned = run.stderr.matches(&format!("`{}` is damaged", place.display())).count();
            assert_eq!(warned, 1, "once: {run}");
            run.says([said]);
            scene.pair();
        }
    }
}

/// What others could have written is not believed, and that is said.
#[test]
fn t21_a_history_that_was_open_to_others_is_dropped_with_a_warning() {
    let scene = Scene::new();
    token(&scene);
    by_token(&scene).ok();
    let directory = scene.path(".server.key.trustup");
    let open = || fs::set_permissions(&directory, fs::Permissions::from_mode(0o2770)).unwrap();
    open();
    let run = scene.enroll().args(["--force", "--allow-shared-directory"]).ok();
    assert!(scene.path(HISTORY).exists() && !run.stderr.contains("other users"), "{run}");
    open();
    let run = scene.enroll().arg("--force").ok();
    run.says(["warning: other users could write to", ".server.key.trustup", "--allow-shared-directory"]);
    assert_eq!((scene.path(HISTORY).exists(), mode(&directory)), (false, 0o700), "{run}");
}
