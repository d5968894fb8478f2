//! Hints: each is followed as it is printed, and works. `tests/support/hints.txt` is their inventory: a new hint needs
//! a row with its test.

mod options;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::layers;

/// The rows without a test that follows the hint, in words that may only get fewer.
const NOT_FOLLOWED: usize = 221;

/// The string literals in the arguments of `.hint(…)`, as the compiler reads them. Short ones are separators.
fn hints(source: &str) -> Vec<String> {
    const CALL: &str = ".hint(";
    const SHORT: usize = 12;
    let mut found = Vec::new();
    for (at, _) in source.match_indices(CALL) {
        let mut depth = 1;
        let mut chars = source[at + CALL.len()..].chars().peekable();
        while depth > 0 {
            match chars.next().expect("a closed call") {
                '(' => depth += 1,
                ')' => depth -= 1,
                '"' => {
                    let text = literal(&mut chars);
                    if text.len() >= SHORT {
                        found.push(text);
                    }
                }
                _ => {}
            }
        }
    }
    found
}

/// The rest of a string literal.
fn literal(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut text = String::new();
    loop {
        match chars.next().expect("a closed string") {
            '"' => return text,
            '\\' => match chars.next().expect("an escape") {
                '\n' => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                'n' => text.push('\n'),
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
}

/// Every test of all rings, as `ring::file::name`.
fn tests() -> BTreeSet<String> {
    fn collect(directory: &Path, modules: &str, found: &mut BTreeSet<String>) {
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
                    found.insert(format!("{module}{name}"));
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), "", &mut found);
    found
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
    let given: BTreeSet<String> = sources.flat_map(|source| hints(layers::without_tests(&source))).collect();
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
    let mut not_followed = 0;
    for (hint, proof) in &rows {
        match proof.split_once(' ') {
            Some(("followed", test)) => assert!(tests.contains(test), "no such test: {test}"),
            Some(("shown", test)) => {
                not_followed += 1;
                assert!(tests.contains(test), "no such test: {test}");
            }
            None if *proof == "unproven" => not_followed += 1,
            None if *proof == "advice" => {
                assert!(!hint.contains('`'), "there is something to follow: {hint}")
            }
            _ => panic!("unknown proof: {proof}"),
        }
    }
    assert!(
        not_followed <= NOT_FOLLOWED,
        "{not_followed} hints have no test that follows them: more than before"
    );
}
