//! What a renewal tells its log: one entry for each decision, as data. How it is printed is decided elsewhere.

use serde::Serialize;

use super::attempt::Attempt;
use super::schedule::FailureKind;
use crate::certificate::issue::IssueAction;
use crate::error::{Error, ErrorKind};
use crate::text;

/// How much an entry matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    /// As intended.
    Info,
    /// A problem that is no failure.
    Warning,
    /// Something failed.
    Error,
}

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Event {
    /// A new certificate is in place.
    Renewed,
    /// Files of a certificate were written again; the certificate is the same.
    Corrected,
    /// Nothing was to be done for a certificate.
    Kept,
    /// Another program replaced a pair, and the new one is good.
    Replaced,
    /// Another trustup renews the certificate.
    Held,
    /// A certificate could not be renewed.
    Failed,
    /// A hook failed, or could not be run, and is run again later.
    HookFailed,
    /// Roots came or went in the trust stores, or stores were corrected.
    TrustChanged,
    /// The trust stores are as they should be.
    TrustKept,
    /// The trust stores could not be refreshed.
    TrustFailed,
    /// The daemon answers HTTP requests.
    Listening,
    /// The clock was set, or the machine was suspended.
    ClockSet,
    /// A signal asked to renew all certificates.
    RenewRequested,
    /// The configuration was read again.
    Reloaded,
    /// The new configuration is refused, and the former one stays in force.
    ReloadRefused,
    /// A warning.
    Warning,
    /// Something else worth knowing.
    Note,
    /// The command ended with an error.
    Ended,
}

/// What one entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The daemon, or all certificates.
    General,
    /// The certificate at this path, escaped.
    Certificate(String),
    /// The trust stores.
    TrustStores,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogEntry {
    /// How much it matters.
    pub(crate) level: Level,
    /// What it is about.
    pub(crate) event: Event,
    /// What it is about.
    pub(crate) subject: Subject,
    /// The entry as a text of one line, without its subject.
    pub(crate) message: String,
    /// The error, in one line.
    pub(crate) error: Option<String>,
    /// The kind of the error.
    pub(crate) kind: Option<ErrorKind>,
    /// What to do next.
    pub(crate) hints: Vec<String>,
    /// When the certificate or the trust stores are looked at next, seconds since 1970.
    pub(crate) next_attempt: Option<i64>,
}

impl LogEntry {
    /// An entry about something that is as intended.
    pub(crate) fn info(event: Event, message: impl Into<String>) -> Self {
        LogEntry {
            level: Level::Info,
            event,
            subject: Subject::General,
            message: message.into(),
            error: None,
            kind: None,
            hints: Vec::new(),
            next_attempt: None,
        }
    }

    /// A warning.
    pub(crate) fn warning(message: impl Into<String>) -> Self {
        LogEntry { level: Level::Warning, ..LogEntry::info(Event::Warning, message) }
    }

    /// An entry about a failure.
    pub(crate) fn error(event: Event, message: impl Into<String>, error: &Error) -> Self {
        LogEntry {
            level: Level::Error,
            error: Some(error.to_string()),
            kind: Some(error.kind()),
            ..LogEntry::info(event, message)
        }
    }

    /// The same about the certificate at this path.
    pub(crate) fn about(self, cert: &str) -> Self {
        LogEntry { subject: Subject::Certificate(text::escape(cert)), ..self }
    }

    /// The same about the trust stores.
    pub(crate) fn about_trust_stores(self) -> Self {
        LogEntry { subject: Subject::TrustStores, ..self }
    }

    /// The same with the moment of the next attempt, seconds since 1970.
    pub(crate) fn next(self, next_attempt: impl Into<Option<i64>>) -> Self {
        LogEntry { next_attempt: next_attempt.into(), ..self }
    }

    /// What an attempt decided; `next`: when the certificate is looked at next, if something does so by itself.
    pub(crate) fn of_attempt(attempt: &Attempt, next: Option<i64>) -> Self {
        let entry = match (&attempt.done, attempt.is_adopted) {
            (Ok(outcome), true) => LogEntry::info(
                Event::Replaced,
                format!("another program replaced the pair: {}", outcome.reason),
            ),
            (Ok(outcome), false) => {
                let (event, what) = match outcome.action {
                    IssueAction::Issued | IssueAction::TakenUp => (Event::Renewed, "renewed"),
                    IssueAction::PlacedAgain => (Event::Corrected, "files corrected"),
                    _ => (Event::Kept, "nothing to do"),
                };
                let at = next.map(|next| format!("; next attempt at {}", text::moment(next)));
                let at = at.unwrap_or_default();
                LogEntry::info(event, format!("{what}: {}{at}", outcome.reason))
            }
            (Err(error), _) => LogEntry::of_failure(error, next),
        };
        entry.next(next)
    }

    /// That a certificate could not be renewed; `next` as in [`LogEntry::of_attempt`].
    pub(crate) fn of_failure(error: &Error, next: Option<i64>) -> Self {
        let note = FailureKind::of(error.kind()).note();
        let at = next.map(|next| format!("; {note} at {}", text::moment(next))).unwrap_or_default();
        let entry = LogEntry::error(Event::Failed, format!("could not be renewed: {error}{at}"), error);
        entry.with_hints(error).next(next)
    }

    /// The same with the hints of the error.
    pub(crate) fn with_hints(self, error: &Error) -> Self {
        LogEntry { hints: error.hints().to_vec(), ..self }
    }

    /// That a hook failed.
    pub(crate) fn of_hook(error: &Error) -> Self {
        let message = format!("a hook failed, and is run again later: {error}");
        LogEntry::error(Event::HookFailed, message, error)
    }

    /// As lines for people: the message, and each hint.
    pub(crate) fn lines(&self) -> Vec<String> {
        let about = match &self.subject {
            Subject::General => String::new(),
            Subject::Certificate(path) => format!("{path}: "),
            Subject::TrustStores => "trust stores: ".to_owned(),
        };
        let hints = self.hints.iter().map(|hint| format!("{about}  hint: {hint}"));
        std::iter::once(format!("{about}{}", self.message)).chain(hints).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_failed_and_when_it_is_tried_again() {
        let failed = || {
            let error = Error::unreachable("the CA is away").hint("is it up?");
            Attempt { done: Err(error), is_adopted: false, failed_hooks: Vec::new() }
        };
        let entry = LogEntry::of_attempt(&failed(), Some(1_800_000_000)).about("/run/\u{1b}.crt");
        assert_eq!(
            (entry.kind, entry.error.as_deref()),
            (Some(ErrorKind::Unreachable), Some("the CA is away"))
        );
        let lines = entry.lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines.iter().all(|line| line.starts_with("/run/\\u{1b}.crt: ")), "{lines:?}");
        assert!(lines[0].contains(": could not be renewed: the CA is away; "), "{lines:?}");
        assert!(lines[0].ends_with(&format!(" at {}", text::moment(1_800_000_000))), "{lines:?}");
        assert!(lines[1].ends_with(":   hint: is it up?"), "{lines:?}");
        let roots = LogEntry::error(Event::TrustFailed, "no", &Error::failed("no"));
        let roots = roots.with_hints(&Error::failed("no").hint("x")).about_trust_stores();
        assert_eq!(roots.lines(), ["trust stores: no", "trust stores:   hint: x"]);
        let once = LogEntry::of_attempt(&failed(), None);
        assert_eq!(once.message, "could not be renewed: the CA is away");
    }
}
