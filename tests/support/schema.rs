//! The published schemas of `docs/schema/`: every JSON object of trustup that a test reads is held against its own.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::places;

/// By the name of the file, without its extension.
fn validators() -> &'static BTreeMap<String, Validator> {
    static ALL: OnceLock<BTreeMap<String, Validator>> = OnceLock::new();
    ALL.get_or_init(|| {
        let directory = places::repository().join("docs/schema");
        let files =
            std::fs::read_dir(directory).expect("docs/schema").map(|entry| entry.expect("entry").path());
        let schemas = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        schemas
            .map(|path| {
                let text = std::fs::read_to_string(&path).expect("a schema");
                let mut schema: Value = serde_json::from_str(&text).expect("a schema is JSON");
                jsonschema::meta::validate(&schema)
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                close(&mut schema);
                let validator = jsonschema::options().should_validate_formats(true).build(&schema);
                let name = path.file_stem().expect("a name").to_str().expect("UTF-8").to_owned();
                (name, validator.expect("a schema"))
            })
            .collect()
    })
}

/// Who reads our JSON has to expect fields of a newer trustup; here a field that the schema does not know is an error.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(close);
            if fields.get("properties").is_some_and(Value::is_object) && fields.get("type").is_some() {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(close),
        _ => {}
    }
}

/// The schema that an object says to follow.
fn name(object: &Value) -> String {
    let has = |field: &str| object.get(field).is_some();
    match object["command"].as_str() {
        None if has("event") => "log".to_owned(),
        Some("enroll") if has("certificates") => "enroll".to_owned(),
        _ if has("error") => "error".to_owned(),
        Some("detect") if has("rows") => "detect-list".to_owned(),
        Some("renew") if has("timer") => "renew-install-timer".to_owned(),
        Some("env") if has("file") => "env-install".to_owned(),
        Some("config") => "config-check".to_owned(),
        Some(command) => command.to_owned(),
        None => panic!("not a JSON object of trustup: {object:#}"),
    }
}

/// Fails where the object is not as its schema says.
#[track_caller]
pub fn check(object: &Value) {
    let name = name(object);
    let Some(validator) = validators().get(&name) else { panic!("no schema `{name}`: {object:#}") };
    let wrong: Vec<String> =
        validator.iter_errors(object).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "not as docs/schema/{name}.json says: {wrong:#?}\n{object:#}");
}
