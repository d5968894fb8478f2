//! Every folder of `distro-fixtures/`: detect → plan → apply → verify → second run → untrust, and the first tree again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use trustup::pki::fingerprint::Fingerprint;
use trustup::pki::keystore::Keystore;
use trustup::pki::nss::Databases;
use trustup::trust::distro::DISTROS;

use crate::support::ca::{self, Root};
use crate::support::run::{Trustup, fixtures, unpacked};
use crate::support::tree::{Tree, inside};

/// Where trustup keeps its state, relative to a sysroot.
const STATE: &str = "var/lib/trustup";

/// Two subjects and their hashes, as `openssl x509 -subject_hash` prints them.
const NAMES: [(&str, &str); 2] = [("Fixture Root A", "0a8d6833"), ("Fixture Root B", "0f8c6368")];

/// Names of files that hold every root there is, for some purpose.
const BUNDLES: [&str; 10] = [
    "ca-certificates.crt",
    "cert.pem",
    "tls-ca-bundle.pem",
    "email-ca-bundle.pem",
    "ca-bundle.trust.crt",
    "cacerts.bin",
    "edk2-cacerts.bin",
    "cacerts",
    "java-cacerts",
    "java-cacerts.jks",
];

/// `expect.toml`; distro-fixtures/README.md describes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    row: String,
    why: String,
    anchor_directory: Option<String>,
    updater: String,
    outputs: Vec<String>,
    notes: String,
    #[serde(default)]
    plan: String,
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("manifest.txt").is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn expectation(name: &str) -> Expect {
    let path = fixtures().join(name).join("expect.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs `test` on every fixture and fails with the names of all that fail.
fn every(test: impl Fn(&str, &Expect)) {
    let names = names();
    assert!(names.len() >= 12, "only {} fixtures", names.len());
    let failed: Vec<&String> = names
        .iter()
        .filter(|name| {
            eprintln!("--- {name}");
            catch_unwind(AssertUnwindSafe(|| test(name, &expectation(name)))).is_err()
        })
        .collect();
    assert!(failed.is_empty(), "{} of {} fixtures failed: {failed:?}", failed.len(), names.len());
}

#[test]
fn every_row_has_a_fixture_and_every_fixture_a_row() {
    let rows: BTreeSet<&str> = DISTROS.iter().map(|row| row.id).collect();
    let named: BTreeSet<String> = names().iter().map(|name| expectation(name).row).collect();
    let named: BTreeSet<&str> = named.iter().map(String::as_str).collect();
    assert_eq!(rows, named, "rows of the table, rows that fixtures name");
}

#[test]
fn detect_says_what_is_there() {
    every(|name, expect| {
        assert!(!expect.notes.trim().is_empty(), "{name} has no notes");
        let root = unpacked(name);
        let before = Tree::of(root.path());
        let facts = Trustup::at(root.path(), ["detect", "--json"]).ok().json();
        before.assert_same(&Tree::of(root.path()), "after detect");
        assert_eq!(facts["row"], expect.row.as_str());
        assert!(text(&facts["why"]).contains(&expect.why), "why: {}", facts["why"]);
        assert_eq!(facts["anchor_directory"].as_str(), expect.anchor_directory.as_deref());
        assert_eq!(facts["updater"], expect.updater.as_str());
        assert_eq!(paths(&facts["outputs"]), expect.outputs);
        for output in facts["outputs"].as_array().expect("outputs") {
            let path = text(&output["path"]);
            let there = inside(root.path(), &path).is_some_and(|path| path.exists());
            assert_eq!(output["exists"].as_bool(), Some(there), "{path} exists");
        }
    });
}

#[test]
fn the_whole_life_of_one_root() {
    let bless = std::env::var_os("TRUSTUP_BLESS").is_some();
    every(|name, expect| {
        let root = unpacked(name);
        let first = Tree::of(root.path());
        let ours = ca::root(NAMES[0].0);
        let given = tempfile::tempdir().unwrap();
        let file = ours.write(given.path(), "root.pem");
        let bootstrap = |more: &[&str]| {
            Trustup::at(root.path(), ["bootstrap", "--json", "--fingerprint", &ours.pin(), "--ca-file"])
                .arg(&file)
                .args(more)
        };

        // What it would do.
        let dry = bootstrap(&["--dry-run"]).ok().json();
        first.assert_same(&Tree::of(root.path()), "after --dry-run");
        let plan = plan_lines(&dry, &ours);
        if bless {
            write_plan(&fixtures().join(name).join("expect.toml"), &plan);
        } else {
            assert_eq!(plan.trim(), expect.plan.trim(), "plan of {name}:\n{plan}");
        }

        // What it does.
        let there = certificates(root.path());
        let done = bootstrap(&[]).ok().json();
        assert_eq!(done["changed"], true);
        assert_eq!(done["row"], expect.row.as_str());
        assert_eq!(plan_lines(&done, &ours), plan, "what was done is what was planned");
        let after = Tree::of(root.path());
        only_planned_paths_changed(&first, &after, &done);
        links_are_what_they_were(&first, &after);
        let outputs = paths(&done["outputs"]);
        assert!(!outputs.is_empty(), "no outputs");
        for output in &outputs {
            let path = inside(root.path(), output).unwrap_or_else(|| panic!("{output} does not resolve"));
            if path.is_dir() {
                continue; // A hashed directory: every_hash_is_found.
            }
            let now = fs::read(&path).unwrap_or_else(|error| panic!("{output}: {error}"));
            assert!(ca::held(&now).contains(&ours.fingerprint), "{output} lacks ours");
        }
        every_bundle_holds(root.path(), &there, &ours);
        every_store_holds(root.path(), &done, &ours);
        every_hash_is_found(root.path(), &first, &ours, NAMES[0].1);

        // Again.
        let again = bootstrap(&[]).ok().json();
        assert_eq!(again["changed"], false, "{again}");
        assert_eq!(again["plan"].as_array().map(Vec::len), Some(0), "{again}");
        after.assert_same(&Tree::of(root.path()), "after the second run");
        Trustup::at(root.path(), ["status"]).ok();
        after.assert_same(&Tree::of(root.path()), "after status");

        // And back.
        Trustup::at(root.path(), ["untrust", "--all"]).ok();
        first.assert_same(&Tree::of(root.path()), "after untrust");
    });
}

#[test]
fn two_roots_come_and_go_one_by_one() {
    every(|name, _| {
        for order in [[0, 1], [1, 0]] {
            let root = unpacked(name);
            let first = Tree::of(root.path());
            let there = certificates(root.path());
            let given = tempfile::tempdir().unwrap();
            let roots = NAMES.map(|(subject, _)| ca::root(subject));
            let mut with_one = None;
            for (index, one) in roots.iter().enumerate() {
                let file = one.write(given.path(), &format!("{index}.pem"));
                dated(Trustup::at(root.path(), ["bootstrap", "--ca-file"])).arg(file).ok();
                with_one.get_or_insert_with(|| Tree::of(root.path()).without(STATE));
            }
            for one in &roots {
                every_bundle_holds(root.path(), &there, one);
            }
            Trustup::at(root.path(), ["status"]).ok();

            let [gone, stays] = order.map(|index| &roots[index]);
            dated(Trustup::at(root.path(), ["untrust", "--fingerprint", &gone.pin()])).ok();
            every_bundle_holds(root.path(), &there, stays);
            for (path, held) in certificates(root.path()) {
                assert!(!held.contains(&gone.fingerprint), "{path} still holds the root that was taken out");
            }
            if order[0] == 1 {
                let wanted = with_one.expect("made above");
                // Which have the same entries, and maybe other free pages.
                let but_databases = |mut tree: Tree| {
                    tree.lines.retain(|path, _| !path.ends_with("/cert9.db") && !path.ends_with("/key4.db"));
                    tree
                };
                let now = Tree::of(root.path()).without(STATE);
                but_databases(wanted).assert_same(&but_databases(now), "after the second root went");
            }
            Trustup::at(root.path(), ["status"]).ok();
            Trustup::at(root.path(), ["untrust", "--fingerprint", &stays.pin()]).ok();
            first.assert_same(&Tree::of(root.path()), &format!("{name}, order {order:?}, after both went"));
        }
    });
}

/// Java's keystores have the date of the last change in them.
fn dated(run: Trustup) -> Trustup {
    run.env("SOURCE_DATE_EPOCH", "1700000000")
}

/// The plan of a JSON answer, one action a line, with placeholders for what differs from run to run.
fn plan_lines(answer: &Value, root: &Root) -> String {
    let mut lines = String::new();
    for action in answer["plan"].as_array().expect("a plan") {
        lines += &format!("{} {}", text(&action["action"]), text(&action["path"]));
        if let Some(target) = action["target"].as_str() {
            lines += &format!(" -> {target}");
        }
        lines.push('\n');
    }
    let name = format!("{}-{}", NAMES[0].0.replace(' ', "_"), root.fingerprint.short(16));
    lines.replace(&name, "{name}").replace(NAMES[0].1, "{hash}")
}

/// Puts a plan into an `expect.toml`, whose last key it is.
fn write_plan(file: &Path, plan: &str) {
    let text = fs::read_to_string(file).unwrap();
    let head = text.find("\nplan = ").map_or(text.trim_end(), |at| &text[..at]);
    fs::write(file, format!("{head}\nplan = \"\"\"\n{plan}\"\"\"\n")).unwrap();
}

fn only_planned_paths_changed(before: &Tree, after: &Tree, answer: &Value) {
    let planned: Vec<String> =
        answer["plan"].as_array().expect("plan").iter().map(|a| text(&a["path"])[1..].to_owned()).collect();
    for path in before.changed_paths(after) {
        // The state's own directories, up to those that the image has.
        let state = path.starts_with(STATE) || STATE.starts_with(&format!("{path}/"));
        assert!(state || planned.contains(&path), "{path} changed, and the plan does not name it");
    }
}

/// Every link is as it was, but for those that lead into Nix's store; nothing in the store changes.
fn links_are_what_they_were(before: &Tree, after: &Tree) {
    for (path, line) in before.lines.iter().filter(|(path, _)| path.starts_with("nix/")) {
        assert_eq!(after.lines.get(path), Some(line), "{path}, which only Nix writes");
    }
    let into_the_store = |line: &str| line.contains("-> /nix/") || line.contains("-> /etc/static/");
    let links = before.lines.iter().filter(|(_, line)| line.starts_with("l ") && !into_the_store(line));
    for (path, line) in links {
        assert_eq!(after.lines.get(path), Some(line), "the link {path}");
    }
}

/// Every file with certificates outside our state, links aside, and what it holds; none holds one twice.
fn certificates(root: &Path) -> BTreeMap<String, BTreeSet<Fingerprint>> {
    let files = Tree::of(root).without(STATE).lines.into_iter().filter(|(_, line)| line.starts_with("f "));
    files
        .filter_map(|(path, _)| {
            let list = ca::held(&fs::read(root.join(&path)).ok()?);
            let set: BTreeSet<Fingerprint> = list.iter().copied().collect();
            assert_eq!(set.len(), list.len(), "{path} holds a certificate twice");
            (!set.is_empty()).then_some((path, set))
        })
        .collect()
}

/// Nothing that was in a file is lost, and every bundle (a file with this name) that was there holds `ours`.
fn every_bundle_holds(root: &Path, before: &BTreeMap<String, BTreeSet<Fingerprint>>, ours: &Root) {
    let now = certificates(root);
    for (path, held) in before {
        assert!(now.get(path).is_some_and(|now| now.is_superset(held)), "{path} has lost a root");
        let name = path.rsplit('/').next().unwrap_or_default();
        if BUNDLES.contains(&name) {
            assert!(now[path].contains(&ours.fingerprint), "{path} does not hold our root");
        }
    }
}

/// Nothing is left alone of what has roots for Java and for browsers, and all of it holds `ours`.
fn every_store_holds(root: &Path, answer: &Value, ours: &Root) {
    for store in answer["stores"].as_array().expect("stores") {
        let (path, kind) = (text(&store["path"]), text(&store["kind"]));
        assert!(store["why"].is_null(), "{store}");
        let read = |name: &str| fs::read(inside(root, &format!("{path}{name}")).unwrap()).unwrap();
        let held = match &kind[..] {
            "keystore" => Keystore::trusted_without_password(&read("")).unwrap(),
            "nss-database" => {
                let databases = Databases::open(&read("/cert9.db"), &read("/key4.db"), None).unwrap();
                let entries = databases.entries().unwrap();
                entries.iter().filter(|entry| entry.is_trusted()).map(|entry| entry.fingerprint).collect()
            }
            other => panic!("a store of the kind {other}"),
        };
        assert!(held.contains(&ours.fingerprint), "{path} does not hold our root");
    }
}

/// Where `etc/ssl/certs` is (or leads to) a hashed directory, every root is found by its hash, the way OpenSSL looks: `HASH.0`,
/// `HASH.1`, … up to the first that is missing.
fn every_hash_is_found(root: &Path, before: &Tree, ours: &Root, hash: &str) {
    let is_hash = |name: &str| {
        name.len() == 10 && name.ends_with(|c: char| c.is_ascii_digit()) && name.as_bytes()[8] == b'.'
    };
    let Some(certs) = inside(root, "/etc/ssl/certs") else { return };
    let certs = format!("{}/", certs.strip_prefix(root).unwrap().display());
    let hashed = before.lines.keys().any(|path| path.strip_prefix(&certs).is_some_and(is_hash));
    if !hashed {
        return;
    }
    let mut number = 0;
    loop {
        let Some(file) =
            inside(root, &format!("/etc/ssl/certs/{hash}.{number}")).filter(|file| file.exists())
        else {
            panic!("etc/ssl/certs/{hash}.N does not lead to our root");
        };
        if ca::fingerprints(&fs::read_to_string(file).unwrap()) == [ours.fingerprint] {
            return;
        }
        number += 1;
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// The paths of a list of paths, or of objects with a path.
fn paths(value: &Value) -> Vec<String> {
    let list = value.as_array().unwrap_or_else(|| panic!("{value} is no list"));
    list.iter().map(|one| if one.is_string() { text(one) } else { text(&one["path"]) }).collect()
}

#[test]
fn shared_roots_are_certificates_and_never_keys() {
    let mut count = 0;
    for entry in fs::read_dir(fixtures().join("roots")).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let pem = fs::read_to_string(&path).unwrap();
        assert_eq!(ca::fingerprints(&pem).len(), 1, "{}", path.display());
        assert!(!pem.contains("PRIVATE KEY"), "{}", path.display());
        count += 1;
    }
    assert!(count >= 8, "{count} roots");
}
