//! Hints: each is followed as it is printed, and works. `tests/support/hints.txt` is their inventory: a new hint needs
//! a row with its test.

mod acme;
mod cases;
mod configured;
mod dev_ca;
mod extract;
mod leftovers;
mod methods;
mod network;
mod options;
mod places;
mod reports;
mod settings;
mod sources;
mod start;
mod tokens;
mod trust;
mod trusted;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::layers;

/// Every test of all rings, as `ring::file::name`, with its source.
fn tests() -> BTreeMap<String, String> {
    fn collect(directory: &Path, modules: &str, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap();
            if path.is_dir() {
                collect(&path, &format!("{modules}{stem}::"), found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let module = if stem == "mod" { modules.to_owned() } else { format!("{modules}{stem}::") };
                for part in text.split("#[test]").skip(1) {
                    let name = part.split_once("fn ").and_then(|(_, rest)| rest.split('(').next()).unwrap();
                    // Functions between two tests belong to the first.
                    found.insert(format!("{module}{name}"), part.to_owned());
                }
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), "", &mut found);
    found
}

/// Whether the source of a test quotes a hint: this many letters of it, between its placeholders.
fn quotes(test: &str, hint: &str) -> bool {
    const QUOTED: usize = 12;
    // As it is, and as the literals of a test escape it.
    let test = test.replace("\\\"", "\"").replace("\\\\", "\\");
    hint.split(['{', '}']).any(|part| {
        let letters: Vec<char> = part.chars().collect();
        let length = QUOTED.min(letters.len().max(4));
        letters.windows(length).any(|window| test.contains(&window.iter().collect::<String>()))
    })
}

/// A hint as it is in the sources.
fn plain(row: &str) -> String {
    row.replace("\\n", "\n").replace("\\\\", "\\")
}

/// `SNAPSHOTS=overwrite` adds the missing rows as `unproven`, and removes those of hints that are gone.
#[test]
fn every_hint_is_in_the_inventory_with_its_proof() {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/hints.txt");
    let text = fs::read_to_string(&list).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let rows: BTreeMap<String, &str> = lines
        .map(|line| {
            let (proof, hint) = line.split_once('\t').unwrap_or_else(|| panic!("no tab: {line}"));
            (plain(hint), proof)
        })
        .collect();
    let files = layers::files("");
    let sources = files.iter().map(|file| layers::read(file));
    let given: BTreeSet<String> =
        sources.flat_map(|source| extract::hints(layers::without_tests(&source))).collect();
    assert!(given.len() > 300, "the hints of the sources are found");
    if std::env::var("SNAPSHOTS").is_ok_and(|what| what == "overwrite") {
        let mut kept: Vec<String> = text
            .lines()
            .filter(|line| {
                line.starts_with('#')
                    || line.split_once('\t').is_some_and(|(_, hint)| given.contains(&plain(hint)))
            })
            .map(str::to_owned)
            .collect();
        for hint in given.iter().filter(|hint| !rows.contains_key(*hint)) {
            kept.push(format!("unproven\t{}", hint.replace('\\', "\\\\").replace('\n', "\\n")));
        }
        fs::write(&list, kept.join("\n") + "\n").unwrap();
        return;
    }
    let missing: Vec<&String> = given.iter().filter(|hint| !rows.contains_key(*hint)).collect();
    assert!(
        missing.is_empty(),
        "without a row in tests/support/hints.txt, and a test that follows it: {missing:#?}"
    );
    let gone: Vec<&String> = rows.keys().filter(|hint| !given.contains(*hint)).collect();
    assert!(gone.is_empty(), "in no source any more: {gone:#?}");
    let tests = tests();
    let (mut not_followed, mut not_quoted) = (Vec::new(), Vec::new());
    for (hint, proof) in &rows {
        match proof.split_once(' ') {
            Some(("followed", test)) => {
                let source = tests.get(test).unwrap_or_else(|| panic!("no such test: {test}"));
                if !quotes(source, hint) {
                    not_quoted.push(format!("{test}: {hint}"));
                }
            }
            None if *proof == "unproven" => not_followed.push(hint),
            None if *proof == "advice" => {
                assert!(!hint.contains('`'), "there is something to follow: {hint}")
            }
            _ => panic!("unknown proof: {proof}"),
        }
    }
    assert!(not_quoted.is_empty(), "the test does not quote the hint: {not_quoted:#?}");
    assert!(not_followed.is_empty(), "no test follows these hints: {not_followed:#?}");
}
