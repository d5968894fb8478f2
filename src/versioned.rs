//! The versions of trustup's own state files. The version of a file is read first, and tolerantly, so that a newer
//! trustup's file is reported as such and never as "damaged": removing it would lose what the newer one still needs.
//!
//! Fields that only a newer trustup knows are kept ([`UnknownFields`]); a field whose loss would matter raises the
//! version. `docs/decisions/0023-versioned-state.md` has the policy. Nothing here knows what is in a file.

use std::fmt;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::text;

/// The most values that a file may have. Each takes many times its size in memory, and unknown fields are read, too
/// (threat T36); the largest trust store leads to a few thousand.
const MAX_VALUES: usize = 2_000_000;

/// Fields of a state file that this trustup does not know: kept, with `#[serde(flatten)]`, when the file is rewritten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct UnknownFields(Map<String, Value>);

/// The field of a file that holds its version, an integer from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// `schema`.
    Schema,
    /// `version`.
    Version,
}

/// The format of a state file, as far as its version goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    /// The kind of file, for messages, such as `trust state`.
    pub(crate) what: &'static str,
    /// The field of its version.
    pub(crate) field: Field,
    /// The newest version that this trustup reads. It reads every older one, too.
    pub(crate) newest: u64,
    /// The version of a file that does not name one; `None` if every version names itself.
    pub(crate) unnamed: Option<u64>,
}

/// Why a state file cannot be used.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// A newer trustup wrote it; the error names the file and both versions.
    Newer(Error),
    /// It is damaged. The cause may quote its content.
    Damaged(serde_json::Error),
}

/// The top of a file: everything else is ignored.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    schema: Option<Value>,
    #[serde(default)]
    version: Option<Value>,
}

impl Format {
    /// Reads a JSON file of this format; `place` is its path, for messages.
    ///
    /// # Errors
    /// A newer trustup wrote it, or it is damaged.
    pub(crate) fn read<T: DeserializeOwned>(&self, bytes: &[u8], place: &str) -> Result<T, Unreadable> {
        let version = self.version(bytes).map_err(Unreadable::Damaged)?;
        self.check(version, place).map_err(Unreadable::Newer)?;
        serde_json::from_slice(bytes).map_err(|error| match unknown_variant(&error) {
            Some(value) => Unreadable::Newer(self.unknown_value(version, place, &value)),
            None => Unreadable::Damaged(error),
        })
    }

    /// Refuses a JSON file of a newer trustup, and nothing else: the reader of the file reports damage.
    ///
    /// # Errors
    /// A newer trustup wrote it.
    pub(crate) fn refuse_newer(&self, bytes: &[u8], place: &str) -> Result<()> {
        self.version(bytes).map_or(Ok(()), |version| self.check(version, place))
    }

    /// Refuses a version that this trustup does not read.
    ///
    /// # Errors
    /// It is newer than [`Format::newest`].
    pub(crate) fn check(&self, version: u64, place: &str) -> Result<()> {
        if version <= self.newest {
            return Ok(());
        }
        Err(self.newer(place, Newer { found: version, newest: self.newest, value: None }))
    }

    /// The error if a file of a version that this trustup reads has an unknown value, such as "the distribution row
    /// `x`".
    pub(crate) fn unknown_value(&self, version: u64, place: &str, value: &str) -> Error {
        let value = Some(text::escape(value));
        self.newer(place, Newer { found: version, newest: self.newest, value })
    }

    fn newer(&self, place: &str, newer: Newer) -> Error {
        Error::failed(format!("a newer trustup wrote the {}", self.what))
            .at(place)
            .because(newer)
            .hint("use the trustup that wrote this file, or a newer one; the file is still needed")
            .hint("if no newer trustup was used here, find out which program wrote the file")
    }

    /// The version that the file names.
    fn version(&self, bytes: &[u8]) -> Result<u64, serde_json::Error> {
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(serde_json::Error::custom("expected a JSON object"));
        }
        check_values(bytes).map_err(serde_json::Error::custom)?;
        let head: Head = serde_json::from_slice(bytes)?;
        let (name, value) = match self.field {
            Field::Schema => ("schema", head.schema),
            Field::Version => ("version", head.version),
        };
        match value {
            None => self.unnamed.ok_or_else(|| serde_json::Error::missing_field(name)),
            Some(value) => positive(&value.to_string())
                .ok_or_else(|| serde_json::Error::custom(format!("expected a positive integer in `{name}`"))),
        }
    }
}

/// A version as text: a positive integer. One beyond the range of all numbers here is also a version, and a newer one.
pub(crate) fn positive(text: &str) -> Option<u64> {
    let huge = || text.parse::<f64>().ok().filter(|huge| *huge >= 1e19).map(|_| u64::MAX);
    text.parse().ok().filter(|version| *version > 0).or_else(huge)
}

/// Refuses a JSON file with too many values. Reading does, and so does writing (threat T38).
///
/// # Errors
/// The maximum number.
pub(crate) fn check_values(bytes: &[u8]) -> Result<(), String> {
    let (mut values, mut at) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            // Contents of files are long strings.
            b'"' => at += string_length(&bytes[at..]),
            // Each value but the first follows one of these, or is an empty list.
            b',' | b'[' | b'{' | b':' => values += 1,
            _ => {}
        }
    }
    if values <= MAX_VALUES { Ok(()) } else { Err(format!("it has more than {MAX_VALUES} values")) }
}

/// The length of the string that begins here, its closing quotation mark included.
fn string_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
        at += found + 1;
        if bytes[at - 1] == b'"' {
            return at;
        }
        at += 1;
    }
    bytes.len()
}

/// serde's message on a variant of an enumeration that this trustup does not know; `None` for any other error.
fn unknown_variant(error: &serde_json::Error) -> Option<String> {
    let said = error.to_string();
    said.starts_with("unknown variant").then_some(said)
}

/// The versions of a file and of its reader: the cause of every error about a newer file.
#[derive(Debug)]
struct Newer {
    found: u64,
    newest: u64,
    value: Option<String>,
}

impl fmt::Display for Newer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (found, newest, own) = (self.found, self.newest, env!("CARGO_PKG_VERSION"));
        match &self.value {
            None => {
                write!(f, "the file has version {found}, and trustup {own} reads versions up to {newest}")
            }
            Some(value) => write!(
                f,
                "the file has version {found}, and trustup {own}, which reads versions up to {newest}, does not know a value in it: {value}"
            ),
        }
    }
}

impl std::error::Error for Newer {}

/// Whether an error says that a newer trustup wrote a file: then users must never be told to remove it.
pub(crate) fn is_newer(error: &Error) -> bool {
    error.cause::<Newer>().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Format = Format { what: "test", field: Field::Schema, newest: 2, unnamed: None };

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Shape {
        Point,
        Circle {
            radius: u32,
            #[serde(flatten)]
            unknown: UnknownFields,
        },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Content {
        schema: u32,
        #[serde(default)]
        shapes: std::collections::BTreeMap<crate::pki::fingerprint::Fingerprint, Shape>,
        #[serde(flatten)]
        unknown: UnknownFields,
    }

    fn read(text: &str) -> Result<Content, Unreadable> {
        FORMAT.read(text.as_bytes(), "/x")
    }

    #[test]
    fn a_string_ends_at_its_quotation_mark() {
        for (text, length) in [
            (&br#"","#[..], 1),
            (br#"a":1"#, 2),
            (br#"\"[,\\":"#, 7),
            (br#"\\\"","#, 5),
            (br#"open"#, 4),
            (br#"open\"#, 5),
            (b"", 0),
        ] {
            assert_eq!(string_length(text), length, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn unknown_fields_are_kept_at_every_level() {
        let key = crate::pki::fingerprint::Fingerprint::of(b"");
        let text = format!(
            r#"{{"schema":1,"shapes":{{"{key}":{{"circle":{{"radius":7,"colour":[1,{{"a":null}}]}}}}}},"zeta":-0.5}}"#
        );
        let content = read(&text).unwrap();
        assert_eq!(serde_json::to_string(&content).unwrap(), text);
        assert_ne!(content.unknown, UnknownFields::default());
    }

    #[test]
    fn a_newer_version_is_no_damage_whatever_else_is_in_the_file() {
        for text in [
            r#"{"schema":3}"#,
            r#"{"shapes":"another type","schema":18446744073709551615}"#,
            r#"{"schema":99999999999999999999999999}"#,
            " {\"shapes\":[[[]]],\n\"schema\":99}",
        ] {
            let Err(Unreadable::Newer(error)) = read(text) else { panic!("{text}") };
            assert!(is_newer(&error) && error.to_string().contains("reads versions up to 2"), "{error}");
            assert!(!error.hints().iter().any(|hint| hint.contains("remove")), "{error}");
        }
    }

    #[test]
    fn a_variant_that_is_not_known_is_from_a_newer_trustup() {
        let key = crate::pki::fingerprint::Fingerprint::of(b"");
        for shape in [r#""square""#, r#"{"square":{"side":1}}"#, r#"{"squ\u001bare":7}"#] {
            let text = format!(r#"{{"schema":2,"shapes":{{"{key}":{shape}}}}}"#);
            let Err(Unreadable::Newer(error)) = read(&text) else { panic!("{text}") };
            assert!(error.to_string().contains("unknown variant"), "{error}");
            assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
        }
    }

    #[test]
    fn damage_is_not_taken_for_another_version() {
        let cases = [
            "",
            "{",
            "[99]",
            "[]",
            "null",
            r#"{"schema":0}"#,
            r#"{"schema":-1}"#,
            r#"{"schema":"99"}"#,
            r#"{"schema":99.5}"#,
            r#"{"schema":null}"#,
            r#"{"schema":99"#,
            r#"{"schema":99,"schema":1}"#,
            r#"{"shapes":{}}"#,
            r#"{"schema":1,"shapes":7}"#,
            r#"{"schema":1,"shapes":{"short":"point"}}"#,
        ];
        for text in cases {
            assert!(matches!(read(text), Err(Unreadable::Damaged(_))), "{text}");
        }
        let many = format!(r#"{{"schema":1,"x":[{}[]]}}"#, "[],".repeat(MAX_VALUES / 2 + 1));
        assert!(matches!(read(&many), Err(Unreadable::Damaged(_))), "too many values");
        let long = format!(r#"{{"schema":1,"x":"{}"}}"#, r#"[],\"["#.repeat(MAX_VALUES));
        assert!(read(&long).is_ok(), "one long text");
        let unnamed = Format { unnamed: Some(1), ..FORMAT };
        assert!(unnamed.read::<Value>(b"{}", "/x").is_ok());
    }
}
