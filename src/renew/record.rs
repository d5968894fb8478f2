//! What renewal knows about a certificate between runs, and what others may read of it: one file beside the certificate,
//! which names no secret. `trustup health` reads it, as any user; a run of renewal resumes from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::certificate::life::Life;
use crate::error::{Error, ErrorKind, Result};
use crate::rootfs::checkpoint::Checkpoints;
use crate::rootfs::directory::Attributes;
use crate::rootfs::file_set::{After, Before, Change, FileSet, Rules};
use crate::rootfs::path::child;
use crate::rootfs::{Sysroot, split};
use crate::versioned::{Field, Format, UnknownFields, Unreadable};

/// The largest record that is read.
const LIMIT: u64 = 256 * 1024;
/// Every user may read it: it is for monitoring.
const MODE: u32 = 0o644;

const FORMAT: Format =
    Format { what: "record of a certificate's renewal", field: Field::Schema, newest: 1, unnamed: None };

/// What is known about the renewal of one certificate. All times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RenewalRecord {
    schema: u64,
    /// Its names.
    pub(crate) names: Vec<String>,
    /// The serial number of the leaf, hexadecimal.
    pub(crate) serial: Option<String>,
    /// When its life began.
    pub(crate) from: Option<i64>,
    /// The last second of its life: the earliest end in its chain.
    pub(crate) until: Option<i64>,
    /// From when on it is renewed.
    pub(crate) due: Option<i64>,
    /// When a run looked at it last.
    pub(crate) checked: Option<i64>,
    /// When a new certificate was placed last.
    pub(crate) renewed: Option<i64>,
    /// When a CA is asked next; `None` if nothing does so by itself.
    pub(crate) next_attempt: Option<i64>,
    /// Why the last attempt failed; `None` after a success.
    pub(crate) failure: Option<FailedAttempts>,
    /// The renewal window that the CA suggests (ARI, RFC 9773).
    pub(crate) window: Option<SuggestedWindow>,
    /// Hooks that have not succeeded since the last change.
    pub(crate) hooks: Vec<PendingHook>,
    /// Counters, since the record was made.
    pub(crate) totals: Totals,
    /// What only a newer trustup knows.
    #[serde(flatten)]
    unknown: UnknownFields,
}

/// Attempts that failed, since the last success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedAttempts {
    /// How many.
    pub(crate) count: u32,
    /// When the first of them was.
    pub(crate) since: i64,
    /// When the last one was.
    pub(crate) last: i64,
    /// What kind of error it was: that of the exit code.
    pub(crate) kind: String,
    /// The error, in one line.
    pub(crate) error: String,
}

/// A renewal window that a CA suggested for one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SuggestedWindow {
    /// The certificate that it is for: the serial number of the leaf, hexadecimal.
    pub(crate) serial: String,
    /// Its first second; `None` if the CA suggests none.
    pub(crate) start: Option<i64>,
    /// Its last second.
    pub(crate) end: Option<i64>,
    /// The moment in it that was drawn for this certificate.
    pub(crate) chosen: Option<i64>,
    /// When the CA may be asked again.
    pub(crate) again: i64,
}

/// A hook that has not succeeded since the last change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingHook {
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// The change that it is for: `TRUSTUP_EVENT`.
    pub(crate) event: String,
    /// Why there was a change: `TRUSTUP_REASON`.
    pub(crate) reason: String,
    /// The serial number of the former leaf, hexadecimal.
    pub(crate) old_serial: Option<String>,
    /// The last second of the former certificate's life: the service may still use it.
    pub(crate) old_until: Option<i64>,
    /// When the change was.
    pub(crate) since: i64,
    /// How often it was run.
    pub(crate) attempts: u32,
    /// When it is run next.
    pub(crate) next_attempt: i64,
    /// Why it failed last, in one line; `None` if it was not run yet.
    pub(crate) error: Option<String>,
}

/// Counters, since the record was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Totals {
    /// How often a CA was asked for a certificate.
    pub(crate) attempts: u64,
    /// How often a new certificate was placed.
    pub(crate) renewals: u64,
    /// How often that failed, by the kind of error.
    pub(crate) failures: BTreeMap<String, u64>,
    /// How often a hook failed.
    pub(crate) hook_failures: u64,
}

/// The word for a kind of error, in records and metrics.
pub(crate) fn kind_word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Failed => "failed",
        ErrorKind::Usage => "usage",
        ErrorKind::NotTrusted => "not-trusted",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Unreachable => "unreachable",
        ErrorKind::Changed => "changed",
        ErrorKind::NotExecutable => "not-executable",
        ErrorKind::NoCommand => "no-command",
    }
}

/// Every kind of error.
const KINDS: [ErrorKind; 8] = [
    ErrorKind::Failed,
    ErrorKind::Usage,
    ErrorKind::NotTrusted,
    ErrorKind::Unsupported,
    ErrorKind::Unreachable,
    ErrorKind::Changed,
    ErrorKind::NotExecutable,
    ErrorKind::NoCommand,
];

/// The word, if it is one of [`kind_word`]: a record may have been written by anything.
pub(crate) fn known_kind(word: &str) -> Option<&'static str> {
    KINDS.into_iter().map(kind_word).find(|known| *known == word)
}

impl RenewalRecord {
    /// The life of the certificate, if it is known.
    pub(crate) fn life(&self) -> Option<Life> {
        self.from.zip(self.until).map(|(from, until)| Life { from, until, limit: None })
    }

    /// The path of the record of the certificate at `cert`.
    pub(crate) fn path(cert: &str) -> String {
        let (parent, name) = split(cert);
        child(parent, &format!(".{name}.renewal.json"))
    }

    /// Reads the record of the certificate at `cert`; `None` if there is none, or a damaged one, which is replaced.
    /// `is_trusted` decides by its owner (uid) whether it counts.
    ///
    /// # Errors
    /// A newer trustup wrote it; it cannot be read.
    pub(crate) fn read(
        host: &Sysroot,
        cert: &str,
        is_trusted: impl Fn(u32) -> bool,
    ) -> Result<Option<RenewalRecord>> {
        let path = RenewalRecord::path(cert);
        let Some((bytes, meta)) = host.read_no_link(&path, LIMIT)? else { return Ok(None) };
        if !is_trusted(meta.uid) {
            return Ok(None);
        }
        match FORMAT.read(&bytes, &path) {
            Ok(record) => Ok(Some(record)),
            Err(Unreadable::Newer(error)) => Err(error),
            Err(Unreadable::Damaged(_)) => Ok(None),
        }
    }

    /// Writes the record of the certificate at `cert`.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, host: &Sysroot, cert: &str) -> Result<()> {
        let path = RenewalRecord::path(cert);
        let mut bytes = serde_json::to_vec_pretty(&RenewalRecord { schema: 1, ..self.clone() })
            .map_err(|error| Error::failed("could not write the record of a renewal").because(error))?;
        bytes.push(b'\n');
        let attributes = Attributes { mode: MODE, owner: None, modified: None };
        let change = Change {
            path: &path,
            before: Before::Anything,
            after: After::File(&bytes, attributes),
            rules: Rules { no_links: true, ..Rules::default() },
        };
        let mut set = FileSet::new(host, &path, None);
        set.apply(&[change], &mut Checkpoints::off()).map_err(|(_, error)| error)
    }
}
