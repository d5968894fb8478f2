//! State files of every version that ever landed: what is read, what is done with it, and what is kept of fields that only
//! a newer trustup knows. The files in `tests/fixtures/versions/` are templates: `{{sha256 before PATH}}` and the like are
//! filled in with what the test made.

mod account;
mod journal;
mod pair;
mod scene;
mod summary;
mod trust_state;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::run::Run;

/// A field that no trustup knows.
const FUTURE: &str = "future_field";

/// What that field holds.
fn future() -> Value {
    json!({ "text": "kept", "list": [1, -2.5, null, { "deep": true }] })
}

/// The template `name`.
fn template(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/versions").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The template `name`, a JSON file, filled in. A string that is one placeholder becomes the value, whatever its type is.
fn filled(name: &str, value_of: &dyn Fn(&str) -> Value) -> Value {
    let template = serde_json::from_str(&template(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    fill(template, value_of)
}

fn fill(value: Value, value_of: &dyn Fn(&str) -> Value) -> Value {
    match value {
        Value::String(text) => match text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}")) {
            Some(placeholder) => value_of(placeholder),
            None => Value::String(text),
        },
        Value::Array(values) => values.into_iter().map(|value| fill(value, value_of)).collect(),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| {
                    let name = match fill(Value::String(name), value_of) {
                        Value::String(name) => name,
                        other => panic!("{other} as a name"),
                    };
                    (name, fill(value, value_of))
                })
                .collect(),
        ),
        other => other,
    }
}

/// The objects below `value` that `pattern` leads to: field names and indices, `*` for all of them. Each with its path.
fn objects<'a>(value: &'a mut Value, pattern: &str) -> Vec<(String, &'a mut Value)> {
    let mut found = vec![(String::new(), value)];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for (path, value) in found {
            let children: Vec<(String, &mut Value)> = match value {
                Value::Object(fields) => {
                    fields.iter_mut().map(|(name, value)| (name.clone(), value)).collect()
                }
                Value::Array(values) => {
                    values.iter_mut().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
                }
                _ => Vec::new(),
            };
            next.extend(children.into_iter().filter_map(|(name, child)| {
                (part == "*" || part == name)
                    .then(|| (format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), child))
            }));
        }
        found = next;
    }
    found.retain(|(_, value)| value.is_object());
    found
}

/// Adds the unknown field to every object that a pattern leads to; answers with their paths.
fn add_future(value: &mut Value, patterns: &[&str]) -> Vec<String> {
    let mut paths = Vec::new();
    for pattern in patterns {
        let found = objects(value, pattern);
        assert!(!found.is_empty(), "nothing at {pattern}");
        for (path, object) in found {
            object[FUTURE] = future();
            paths.push(path);
        }
    }
    paths
}

/// The unknown field is still there, at each of the paths.
#[track_caller]
fn has_future(value: &Value, paths: &[String], when: &str) {
    for path in paths {
        let found = value.pointer(path).unwrap_or_else(|| panic!("{when}: nothing at {path}: {value:#}"));
        assert_eq!(found.get(FUTURE), Some(&future()), "{when}: {path}: {value:#}");
    }
}

fn read_json(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Writes the file in place, so that mode and owner stay.
fn write_json(path: &Path, value: &Value) {
    fs::write(path, serde_json::to_vec_pretty(value).unwrap()).unwrap();
}

/// A refusal of a file of version 99: it names the file and both versions, and nobody is told to remove it.
#[track_caller]
fn refuses(run: &Run, file: &Path, newest: u64) {
    let shown: PathBuf = file.components().rev().take(2).collect::<Vec<_>>().into_iter().rev().collect();
    let reads = format!("reads versions up to {newest}");
    run.says(["a newer trustup wrote", shown.to_str().unwrap(), "has version 99", &reads]);
    run.says(["hint: use the trustup that wrote this file"]);
    let hints = run.stderr.lines().filter(|line| line.contains("hint:"));
    for hint in hints {
        for word in ["remove", "remove the directory", "damaged"] {
            assert!(!hint.contains(word), "{word}: {run}");
        }
    }
    assert!(!run.stderr.contains("is damaged"), "{run}");
}
