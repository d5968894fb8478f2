//! The JSON Schemas in `docs/schema/`, made from the structs: a file that differs fails the test, and
//! `SNAPSHOTS=overwrite cargo test --lib cli` rewrites it.

use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use snapbox::Data;
use snapbox::assert::Assert;
use snapbox::data::DataFormat;

use super::*;
use crate::cli::ui::json::{FailureReport, JsonDocument, JsonReport, SCHEMA_VERSION};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema")
}

/// The schema of a report; `command` is the value of its `command`, any text if not given.
fn schema<R: JsonSchema>(title: &str, command: Option<&str>) -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let schema: Schema = generator.into_root_schema_for::<JsonDocument<'static, R>>();
    let mut schema = schema.to_value();
    // The generic struct's name is not informative, and its description is the same for all.
    schema["title"] = json!(title);
    let description = R::json_schema(&mut SchemaSettings::draft2020_12().into_generator());
    schema["description"] = description.get("description").cloned().unwrap_or_default();
    let properties = schema["properties"].as_object_mut().expect("properties");
    let constant = |property: &mut Value, value: Value| {
        let description = property["description"].take();
        *property = json!({ "description": description, "const": value });
    };
    constant(&mut properties["schema_version"], json!(SCHEMA_VERSION));
    if let Some(command) = command {
        constant(&mut properties["command"], json!(command));
    }
    schema
}

fn of<R: JsonReport + JsonSchema>(name: &str) -> (String, Value) {
    (name.to_owned(), schema::<R>(&format!("trustup {} --json", name.replace('_', " ")), Some(R::COMMAND)))
}

fn all() -> Map<String, Value> {
    let error = schema::<FailureReport>("the error of any command with --json", None);
    let reports = [
        of::<bootstrap::BootstrapReport<'static>>("bootstrap"),
        of::<config::ConfigReport>("config_check"),
        of::<demo::DemoReport>("demo"),
        of::<detect::DetectReport>("detect"),
        of::<detect::DetectListReport>("detect_--list"),
        of::<dev_ca::DevCaReport<'static>>("dev-ca"),
        of::<doctor::DoctorReport>("doctor"),
        of::<enroll::EnrollReport>("enroll"),
        of::<env::EnvReport<'static>>("env"),
        of::<env::EnvInstallReport<'static>>("env_--install"),
        of::<health::HealthReport>("health"),
        of::<renew::RenewReport>("renew"),
        of::<renew::TimerReport>("renew_--install-timer"),
        of::<status::StatusReport<'static>>("status"),
        of::<token::TokenReport<'static>>("token"),
        of::<untrust::UntrustReport<'static>>("untrust"),
        of::<version::VersionReport>("version"),
    ];
    let log = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut log = log.into_root_schema_for::<log::LogLine>().to_value();
    log["title"] = json!("a line of standard error with --log-format json");
    let names = |(name, schema): (String, Value)| (name.replace("_--", "-").replace('_', "-"), schema);
    reports.into_iter().map(names).chain([("error".to_owned(), error), ("log".to_owned(), log)]).collect()
}

#[test]
fn the_published_schemas_are_those_of_the_structs() {
    let all = all();
    for (name, schema) in &all {
        let text = serde_json::to_string_pretty(schema).expect("JSON") + "\n";
        let file = Data::read_from(&directory().join(format!("{name}.json")), Some(DataFormat::Text));
        Assert::new().action_env("SNAPSHOTS").eq(Data::text(text), file.raw());
    }
    #[expect(clippy::disallowed_methods, reason = "a test of the repository")]
    let files = std::fs::read_dir(directory()).expect("docs/schema");
    let mut files: Vec<String> =
        files.map(|file| file.expect("a file").file_name().into_string().expect("UTF-8")).collect();
    files.retain(|file| file != "README.md");
    files.sort();
    let mut wanted: Vec<String> = all.keys().map(|name| format!("{name}.json")).collect();
    wanted.sort();
    assert_eq!(files, wanted, "a file of no struct");
    #[expect(clippy::disallowed_methods, reason = "a test of the repository")]
    let readme = std::fs::read_to_string(directory().join("README.md")).expect("README.md");
    for name in wanted {
        assert!(readme.contains(&format!("[{name}]({name})")), "README.md lacks {name}");
    }
}

/// What people and programs read of a field is its description.
#[test]
fn every_field_and_every_word_of_a_schema_is_described() {
    fn undescribed(schema: &Value, place: &str, found: &mut Vec<String>) {
        let Some(object) = schema.as_object() else { return };
        // schemars writes the words of an enum this way if none has a description.
        if object.contains_key("enum") {
            found.push(format!("{place}: its words"));
        }
        for choice in object.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
            if choice.get("const").is_some() && choice.get("description").is_none() {
                found.push(format!("{place}: {}", choice["const"]));
            }
            undescribed(choice, place, found);
        }
        for (name, property) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if property.get("description").is_none_or(|text| text.as_str().is_none_or(str::is_empty)) {
                found.push(format!("{place}.{name}"));
            }
            undescribed(property, &format!("{place}.{name}"), found);
        }
        for (name, definition) in object.get("$defs").and_then(Value::as_object).into_iter().flatten() {
            undescribed(definition, &format!("{place}.{name}"), found);
        }
    }
    let mut found = Vec::new();
    for (name, schema) in &all() {
        undescribed(schema, name, &mut found);
        assert!(schema["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
    assert!(found.is_empty(), "without a description: {found:#?}");
}
