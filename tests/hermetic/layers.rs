//! The rules of the architecture that the compiler cannot hold: which module may use which, and that the generic core
//! names no format. Read from the `use` lines and paths of the sources, tests aside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the crate, from the bottom up: each uses only modules of the lines before its own.
const LAYERS: &[&[&str]] = &[
    &["error", "text", "duration"],
    &["random", "versioned"],
    &["pki"],
    &["host"],
    &["rootfs"],
    &["process"],
    &["net"],
    &["settings"],
    &["acme", "step_ca"],
    &["trust"],
    &["certificate"],
    &["doctor"],
    &["config_check"],
    &["renew"],
    &["dev_ca"],
    &["demo"],
    &["cli"],
];

/// What names no format: files, and directories with all that is below them.
const CORE: &[&str] = &[
    "trust/plan.rs",
    "trust/state.rs",
    "trust/state",
    "rootfs",
    "trust/apply",
    "versioned.rs",
    "trust/ours.rs",
    "trust/view.rs",
    "trust/view",
];

/// What names no enrollment method: those are rows of a table.
const METHODS_UNNAMED: &[&str] = &[
    "settings",
    "certificate/issue/mod.rs",
    "certificate/issue/finish.rs",
    "certificate/issue/renewals",
    "certificate/issue/request.rs",
    "certificate/issue/request",
    "cli/enroll.rs",
    "cli/certificates.rs",
    "cli/config.rs",
    "renew",
    "config_check.rs",
];

/// Words of a module, type or function by which a path names a format; the modules of the owners are added to them.
const FORMATS: &[&str] = &["firefox", "nss", "nix", "keystore", "java", "p11", "profile", "bundle"];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The files below `path` that are no tests, as seen from `src`.
pub(super) fn files(path: &str) -> Vec<String> {
    let full = sources().join(path);
    if !full.is_dir() {
        assert!(full.is_file(), "{path} is gone: this test has to know where its content is now");
        return vec![path.to_owned()];
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(full).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let child = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        if !matches!(name.as_str(), "tests" | "tests.rs" | "testing.rs") {
            found.extend(files(&child));
        }
    }
    found.retain(|file| file.ends_with(".rs"));
    found
}

/// The modules that lead to a file, from the top.
fn modules(file: &str) -> Vec<&str> {
    let stem = file.strip_suffix(".rs").unwrap();
    stem.strip_suffix("/mod").unwrap_or(stem).split('/').collect()
}

pub(super) fn read(file: &str) -> String {
    fs::read_to_string(sources().join(file)).unwrap()
}

/// A source without the tests at its end.
pub(super) fn without_tests(source: &str) -> &str {
    let end = source
        .match_indices("#[cfg(test)]\n")
        .find(|(at, attribute)| {
            let mut behind = source[at + attribute.len()..].lines();
            // Other attributes may stand between.
            behind.find(|line| !line.starts_with("#[")).is_some_and(|line| line.contains("mod tests {"))
        })
        .map_or(source.len(), |(at, _)| at);
    &source[..end]
}

/// Identifiers, `::` as one token, and single characters; without comments, literals and the tests at the end.
fn tokens(source: &str) -> Vec<String> {
    let mut rest = without_tests(source);
    let mut found = Vec::new();
    let is_word = |char: char| char.is_alphanumeric() || char == '_';
    while let Some(first) = rest.chars().next() {
        let hashes = rest[1.min(first.len_utf8())..].chars().take_while(|char| *char == '#').count();
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == 'r' && rest[1 + hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            2 + hashes + rest[2 + hashes..].find(&close).unwrap() + close.len()
        } else if first == '"' {
            let mut escaped = false;
            let close = rest[1..].find(|char| {
                let ends = char == '"' && !escaped;
                escaped = char == '\\' && !escaped;
                ends
            });
            close.unwrap() + 2
        } else if first == '\'' && rest[1..].starts_with('\\') {
            3 + rest[3..].find('\'').unwrap() + 1
        } else if first == '\'' && rest.chars().nth(2) == Some('\'') {
            rest.char_indices().nth(3).map_or(rest.len(), |(at, _)| at)
        } else if rest.starts_with("::") {
            found.push("::".to_owned());
            2
        } else if is_word(first) {
            let length = rest.find(|char| !is_word(char)).unwrap_or(rest.len());
            found.push(rest[..length].to_owned());
            length
        } else {
            if !first.is_whitespace() {
                found.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    found
}

/// Every path with at least two segments, those of `use` with braces written out.
fn paths(source: &str) -> Vec<Vec<String>> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = path(&tokens, at, &[], &mut found);
    }
    found.retain(|path| path.len() > 1);
    found
}

/// Adds the paths that begin at `at`, behind `prefix`; answers where they end.
fn path(tokens: &[String], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let is_word = |at: usize| {
        tokens
            .get(at)
            .is_some_and(|token| token.starts_with(|first: char| first.is_alphabetic() || first == '_'))
    };
    let is = |at: usize, wanted: &str| tokens.get(at).is_some_and(|token| token == wanted);
    if !is_word(at) {
        return at + 1;
    }
    let mut path_here = prefix.to_vec();
    loop {
        path_here.push(tokens[at].clone());
        at += 1;
        match (is(at, "::"), is_word(at + 1), is(at + 1, "{")) {
            (true, true, _) => at += 1,
            (true, _, true) => {
                at += 2;
                while at < tokens.len() && !is(at, "}") {
                    at = path(tokens, at, &path_here, found);
                }
                return at + 1;
            }
            _ => break,
        }
    }
    found.push(path_here);
    at
}

/// The words of a name in snake case or camel case; none for constants.
fn words(name: &str) -> Vec<String> {
    if !name.contains(|char: char| char.is_lowercase()) {
        return Vec::new();
    }
    let mut snake = String::new();
    for char in name.chars() {
        if char.is_uppercase() {
            snake.push('_');
        }
        snake.extend(char.to_lowercase());
    }
    snake
        .split('_')
        .map(|word| word.strip_suffix('s').filter(|one| *one != "ns").unwrap_or(word).to_owned())
        .collect()
}

/// The owners: the module of each, and its type.
fn owners() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for file in files("") {
        let tokens = tokens(&read(&file));
        for window in tokens.windows(4) {
            if window[..3] == ["impl", "Owner", "for"] {
                let mut modules = modules(&file);
                if modules.last() == Some(&"owner") {
                    modules.pop();
                }
                found.push((modules.pop().unwrap().to_owned(), window[3].clone()));
            }
        }
    }
    found
}

#[test]
fn paths_are_found_wherever_they_are() {
    let source = r##"
        use crate::{a::b, c, d::{e, f as g}}; // crate::comment
        fn x<'a>(y: &'a crate::h::I) { z(super::j::k("crate::text \" more"), 'x', '\'', r#"crate::raw "x" "#) }
        #[cfg(test)]
        mod tests { use crate::test; }
    "##;
    let found: Vec<String> =
        paths(&source.replace("        ", "")).iter().map(|path| path.join("::")).collect();
    let wanted = [
        "crate::a::b",
        "crate::c",
        "crate::d::e",
        "crate::d::f",
        "crate::d::g",
        "crate::h::I",
        "super::j::k",
    ];
    let found: Vec<&str> = found.iter().map(String::as_str).filter(|path| *path != "crate::d::as").collect();
    assert_eq!(found, wanted);
    assert_eq!(words("NixStores"), ["", "nix", "store"]);
    assert_eq!(words("firefox_policy"), ["firefox", "policy"]);
    assert_eq!(words("nss"), ["nss"]);
    assert!(words("OF_BUNDLES").is_empty());
}

#[test]
fn the_generic_core_names_no_format() {
    let modules: BTreeSet<String> = owners().into_iter().map(|(module, _)| module).collect();
    let names_format = |segment: &String| {
        modules.contains(segment) || words(segment).iter().any(|word| FORMATS.contains(&word.as_str()))
    };
    let mut wrong = Vec::new();
    for file in CORE.iter().flat_map(|path| files(path)) {
        let of_file = paths(&read(&file)).into_iter().filter(|path| path.iter().any(names_format));
        wrong.extend(of_file.map(|path| format!("{file}: {}", path.join("::"))));
    }
    assert!(wrong.is_empty(), "formats answer by `trust::owners` instead: {wrong:#?}");
}

/// `certificate/issue/methods/table.rs` alone lists them; a new one is a file and a row.
#[test]
fn generic_code_names_no_enrollment_method() {
    let table = paths(&read("certificate/issue/methods/table.rs"));
    let rows = table.iter().filter(|path| path.last().is_some_and(|name| name == "ROW"));
    let methods: BTreeSet<&String> = rows.map(|path| &path[path.len() - 2]).collect();
    assert!(methods.len() > 3, "{methods:?}");
    let mut wrong = Vec::new();
    for file in METHODS_UNNAMED.iter().flat_map(|path| files(path)) {
        let source = read(&file);
        for path in paths(&source) {
            let leads_there = path.windows(2).any(|pair| pair[0] == "methods" && methods.contains(&pair[1]));
            if leads_there {
                wrong.push(format!("{file}: {}", path.join("::")));
            }
        }
        let names = tokens(&source)
            .into_iter()
            .filter(|token| words(token).iter().any(|word| word == "acme" || word == "x5c"));
        wrong.extend(names.map(|name| format!("{file}: {name}")));
    }
    assert!(wrong.is_empty(), "methods are rows of `enroll::methods::table`: {wrong:#?}");
}

#[test]
fn every_owner_is_a_row_of_the_table() {
    let table = paths(&read("trust/owners.rs"));
    let owners = owners();
    assert!(owners.len() > 5, "{owners:?}");
    let missing = owners.iter().filter(|(module, name)| !table.contains(&vec![module.clone(), name.clone()]));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "not in OWNERS");
}

#[test]
fn a_module_uses_only_layers_below_its_own() {
    let layer: BTreeMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(layer, modules)| modules.iter().map(move |module| (*module, layer)))
        .collect();
    let mut wrong = Vec::new();
    for file in files("").into_iter().filter(|file| !matches!(file.as_str(), "lib.rs" | "main.rs")) {
        let modules = modules(&file);
        let Some(own) = layer.get(modules[0]) else {
            wrong.push(format!("{file}: `{}` is in no layer", modules[0]));
            continue;
        };
        for path in paths(&read(&file)) {
            let up = path.iter().take_while(|segment| *segment == "super").count();
            let used = match path[0].as_str() {
                "crate" => &path[1],
                "super" if up >= modules.len() && up < path.len() => &path[up],
                _ => continue,
            };
            if used != modules[0] && layer.get(used.as_str()).is_some_and(|used| used >= own) {
                wrong.push(format!("{file}: {}", path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What waits is awaited: nothing blocks the runtime. A plan is a function of what was read before it: the seed of its
/// salts is drawn before, too.
#[test]
fn nothing_sleeps_on_the_thread_and_planning_draws_no_randomness() {
    let ends_with = |path: &[String], end: [&str; 2]| path.windows(2).any(|pair| pair == end);
    let mut wrong = Vec::new();
    let mut seeds = Vec::new();
    for file in files("") {
        let plans = modules(&file).iter().any(|module| matches!(*module, "trust" | "reconcile" | "plan"));
        for path in paths(&read(&file)) {
            if ends_with(&path, ["thread", "sleep"]) || plans && ends_with(&path, ["random", "fill"]) {
                wrong.push(format!("{file}: {}", path.join("::")));
            }
            if ends_with(&path, ["Seed", "draw"]) {
                seeds.push(file.clone());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(matches!(&seeds[..], [one] if one.ends_with("reconcile/chosen_stores.rs")), "{seeds:?}");
}
