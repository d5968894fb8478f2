//! The common part of all our JSON objects (`docs/schema/`): version, command, warnings; and an error as data.

use serde::Serialize;

use crate::error::{Error, ErrorKind};
use crate::settings::filled_in::without_filled_in;
use crate::text;

/// Version of every JSON object that we print. A change that breaks a reader (a field that is removed, renamed or of
/// another type) increases it; a new field does not.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// The report of one command, as `--json` prints it.
pub(crate) trait JsonReport: Serialize {
    /// The command, as it is typed.
    const COMMAND: &'static str;
}

/// A JSON object as it is printed: the fields of `report`, and what every object has.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct JsonDocument<'a, R> {
    /// The version of this format: a new field leaves it as it is, any other change makes it higher.
    schema_version: u32,
    /// The command that ran; `trustup` where the command line could not be read.
    command: &'a str,
    #[serde(flatten)]
    report: R,
    /// Every warning of this run, as it is printed on standard error.
    warnings: Vec<String>,
}

impl<'a, R> JsonDocument<'a, R> {
    pub(super) fn new(command: &'a str, report: R, warnings: Vec<String>) -> Self {
        JsonDocument { schema_version: SCHEMA_VERSION, command, report, warnings }
    }
}

/// A moment, as `2026-11-30T12:00:00Z` (RFC 3339, always UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UtcTime(
    /// Seconds since 1970.
    pub(crate) i64,
);

impl Serialize for UtcTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text::rfc3339(self.0))
    }
}

#[cfg(test)]
impl schemars::JsonSchema for UtcTime {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "UtcTime".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A moment in UTC (RFC 3339).",
            "format": "date-time",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
        })
    }
}

/// The object of a command that failed, whatever the command.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FailureReport {
    /// Why the command failed.
    pub(crate) error: ErrorDetails,
}

/// An error as data; without secrets, and without values that were filled into trustup.toml.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ErrorDetails {
    /// The kind of failure, which decides the exit code.
    kind: ErrorKind,
    /// The exit code of the command.
    exit_code: u8,
    /// What failed.
    what: String,
    /// The path or URL where it failed; user info and query of a URL are masked.
    place: Option<String>,
    /// Why, the outermost cause first.
    causes: Vec<String>,
    /// What to do next.
    hints: Vec<String>,
    /// The paths that are changed although the command failed.
    changed: Vec<String>,
}

impl From<&Error> for ErrorDetails {
    fn from(error: &Error) -> ErrorDetails {
        let all = |texts: &[String]| {
            texts.iter().map(|text| without_filled_in(text).into_owned()).collect::<Vec<_>>()
        };
        // Messages for people quote a place.
        let place =
            error.place().map(|place| without_filled_in(&format!("`{place}`")).trim_matches('`').to_owned());
        ErrorDetails {
            kind: error.kind(),
            exit_code: error.kind().exit_code(),
            what: without_filled_in(error.what()).into_owned(),
            place,
            causes: all(&error.causes()),
            hints: all(error.hints()),
            changed: all(error.changed()),
        }
    }
}
