//! One line of the log with `--log-format json`.

use serde::Serialize;

use crate::cli::ui::json::UtcTime;
use crate::error::ErrorKind;
use crate::renew::log::{Event, Level, LogEntry, Subject};
use crate::settings::filled_in::without_filled_in;

/// One line of standard error with `--log-format json`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct LogLine {
    /// When it was written.
    time: UtcTime,
    /// How much it matters.
    level: Level,
    /// What it is about.
    event: Event,
    /// The path of the certificate that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    /// The text for people.
    message: String,
    /// The error, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The kind of the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<ErrorKind>,
    /// What to do next.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
    /// When the certificate or the trust stores are looked at next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt: Option<UtcTime>,
}

impl LogLine {
    /// The line for an entry at `now` (seconds since 1970); without values that were filled into trustup.toml.
    pub(crate) fn new(entry: &LogEntry, now: i64) -> Self {
        let shown = |text: &str| without_filled_in(text).trim().to_owned();
        LogLine {
            time: UtcTime(now),
            level: entry.level,
            event: entry.event,
            certificate: match &entry.subject {
                Subject::Certificate(path) => Some(path.clone()),
                Subject::General | Subject::TrustStores => None,
            },
            message: shown(&entry.message),
            error: entry.error.as_deref().map(shown),
            kind: entry.kind,
            hints: entry.hints.iter().map(|hint| shown(hint)).collect(),
            next_attempt: entry.next_attempt.map(UtcTime),
        }
    }
}
