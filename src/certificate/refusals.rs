//! Which certificates a CA issued for a pair that trustup refused: while the CA is configured as it was, it would issue
//! the same again, so it is not asked at every start. A file beside the key; it holds no secret.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::pki::fingerprint::Fingerprint;
use crate::versioned::{Field, Format, UnknownFields, Unreadable};

/// The file's name in the directory beside the key.
pub(super) const FILE: &str = "refusals.json";
/// How long a refusal counts, seconds.
pub(crate) const COUNTS: i64 = 24 * 60 * 60;
/// More are never of use: one for each method.
const MOST: usize = 20;

pub(super) const FORMAT: Format =
    Format { what: "record of refused certificates", field: Field::Schema, newest: 1, unnamed: None };

/// A certificate that was issued and refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefusedIssue {
    /// SHA-256 of the request: CA, names and options.
    pub(crate) request: Fingerprint,
    /// When it was refused, seconds since 1970.
    pub(crate) at: i64,
    /// Whether a signature cannot be verified here; otherwise it is not trusted.
    #[serde(default)]
    pub(crate) unsupported: bool,
    /// Why, in words that can follow a colon.
    pub(crate) why: String,
    /// What only a newer trustup knows.
    #[serde(flatten)]
    unknown: UnknownFields,
}

impl RefusedIssue {
    /// A refusal at `at` (seconds since 1970) that is reported with this kind.
    pub(crate) fn new(request: Fingerprint, at: i64, kind: ErrorKind, why: String) -> Self {
        let unsupported = kind == ErrorKind::Unsupported;
        RefusedIssue { request, at, unsupported, why, unknown: UnknownFields::default() }
    }

    /// The kind that it was reported with.
    pub(crate) fn kind(&self) -> ErrorKind {
        if self.unsupported { ErrorKind::Unsupported } else { ErrorKind::NotTrusted }
    }
}

/// The refusals, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refusals {
    schema: u64,
    refused: Vec<RefusedIssue>,
    /// What only a newer trustup knows.
    #[serde(flatten)]
    unknown: UnknownFields,
}

impl Default for Refusals {
    fn default() -> Self {
        Refusals { schema: 1, refused: Vec::new(), unknown: UnknownFields::default() }
    }
}

impl Refusals {
    /// Reads the file at `place`. A damaged one costs one more certificate of the CA: it counts as empty.
    ///
    /// # Errors
    /// A newer trustup wrote it.
    pub(super) fn read(bytes: &[u8], place: &str) -> Result<Self> {
        match FORMAT.read(bytes, place) {
            Ok(refusals) => Ok(refusals),
            Err(Unreadable::Newer(error)) => Err(error),
            Err(Unreadable::Damaged(_)) => Ok(Refusals::default()),
        }
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// None that is known.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| {
            Error::failed("could not write the record of refused certificates").because(error)
        })
    }

    /// The refusal of this request that still counts at `now`. One from the future does not: a clock was wrong.
    pub(super) fn find(&self, request: &Fingerprint, now: i64) -> Option<&RefusedIssue> {
        let counts = |at: i64| (0..COUNTS).contains(&now.saturating_sub(at));
        self.refused.iter().rev().find(|refused| refused.request == *request && counts(refused.at))
    }

    /// Adds one, in place of an earlier one of the same request.
    pub(super) fn add(&mut self, refused: RefusedIssue) {
        self.refused.retain(|known| known.request != refused.request);
        self.refused.push(refused);
        self.refused.drain(..self.refused.len().saturating_sub(MOST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_counts_for_a_day() {
        let request = |number: u8| Fingerprint::of(&[number]);
        let mut refusals = Refusals::default();
        let add = |refusals: &mut Refusals, number, at| {
            refusals.add(RefusedIssue::new(request(number), at, ErrorKind::NotTrusted, String::new()));
        };
        add(&mut refusals, 1, 1000);
        let counts = |refusals: &Refusals, number, now| refusals.find(&request(number), now).is_some();
        for (now, wanted) in
            [(999, false), (1000, true), (1000 + COUNTS - 1, true), (1000 + COUNTS, false), (i64::MIN, false)]
        {
            assert_eq!(counts(&refusals, 1, now), wanted, "{now}");
        }
        assert!(!counts(&refusals, 2, 1000));
        add(&mut refusals, 1, 5000);
        assert!(!counts(&refusals, 1, 1000) && counts(&refusals, 1, 5000));
        (0..100).for_each(|number| add(&mut refusals, number, 6000));
        assert_eq!(refusals.refused.len(), MOST);
        assert_eq!(Refusals::read(&refusals.to_bytes().unwrap(), "/x").unwrap(), refusals);
        assert_eq!(Refusals::read(b"{", "/x").unwrap(), Refusals::default());
        assert!(Refusals::read(b"{\"schema\":99}", "/x").is_err());
    }
    #[test]
    fn the_first_version_is_read_and_what_is_newer_is_kept() {
        let first = include_str!("../../tests/fixtures/versions/refusals-1.json");
        let newer = first.replace("\"at\"", "\"future_field\": [1], \"at\"");
        let mut refusals = Refusals::read(newer.as_bytes(), "/x").unwrap();
        let found = refusals.find(&Fingerprint::of(b""), 1_700_000_060).unwrap().clone();
        assert_eq!(
            (found.kind(), found.why.as_str()),
            (ErrorKind::NotTrusted, "it is also for `added.internal`")
        );
        refusals.add(RefusedIssue::new(Fingerprint::of(b"x"), 1, ErrorKind::Unsupported, String::new()));
        assert!(String::from_utf8(refusals.to_bytes().unwrap()).unwrap().contains("\"future_field\":[1]"));
    }
}
