//! The record of an enrollment beside the key: the CA and its roots, so that the next run can judge the pair without
//! asking any server. No secrets.

use serde::{Deserialize, Serialize};
use url::Url;

use super::trust::{self, Ca};

use crate::certificate::check::{MAX_PINNED, Roots};
use crate::certificate::pending::Attempt;
use crate::error::{Error, Result};
use crate::pki::cert::{Certificate, readers};
use crate::versioned::{Field, Format, UnknownFields, Unreadable};

const FORMAT: Format =
    Format { what: "record of the CA that a pair came from", field: Field::Schema, newest: 1, unnamed: None };

/// The record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Enrolled {
    schema: u64,
    /// The method that issued the pair.
    pub(super) method: String,
    /// The CA's address or directory.
    pub(super) ca: Option<String>,
    /// The roots that its chain ends at, PEM.
    roots: String,
    /// One-time tokens, if a trustup without a history stored them: read, and never written.
    #[serde(default, skip_serializing)]
    pub(super) spent: Vec<Attempt>,
    /// What only a newer trustup knows.
    #[serde(flatten)]
    unknown: UnknownFields,
}

impl Enrolled {
    /// The record of a pair that came from `ca` by `method`; `former` is the record of the previous pair.
    pub(super) fn new(method: &str, ca: Option<String>, roots: &Roots, former: Option<&Enrolled>) -> Self {
        let roots = if roots.are_pinned() {
            roots.certificates.iter().map(Certificate::to_pem).collect()
        } else {
            String::new()
        };
        let unknown = former.map(|former| former.unknown.clone()).unwrap_or_default();
        Enrolled { schema: 1, method: method.to_owned(), ca, roots, spent: Vec::new(), unknown }
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// None that is known.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self)
            .map_err(|error| Error::failed("could not record which CA the pair came from").because(error))
    }

    /// Reads the file at `place`. A damaged one tells nothing of the pair, which a new enrollment replaces: the error
    /// inside is a warning.
    ///
    /// # Errors
    /// A newer trustup wrote it.
    pub(super) fn parse(bytes: &[u8], place: &str) -> Result<Result<Enrolled, String>> {
        match FORMAT.read(bytes, place) {
            Ok(enrolled) => Ok(Ok(enrolled)),
            Err(Unreadable::Newer(error)) => Err(error),
            Err(Unreadable::Damaged(cause)) => Ok(Err(format!(
                "`{place}` is damaged, so trustup does not know which CA the pair came from: {cause}"
            ))),
        }
    }

    /// The roots.
    pub(super) fn roots(&self) -> Vec<Certificate> {
        let mut roots = readers::read_chain(self.roots.as_bytes()).unwrap_or_default();
        roots.truncate(MAX_PINNED);
        roots
    }

    /// The CA's address or directory.
    pub(super) fn url(&self) -> Option<Url> {
        self.ca.as_deref().and_then(|ca| Url::parse(ca).ok())
    }

    /// The CA at that time.
    pub(super) fn as_ca(&self) -> Ca {
        let certificates = self.roots();
        let described = trust::described(&certificates, "the CA that it came from");
        let roots = Roots { certificates, described, or_itself: false };
        Ca { url: self.url(), roots: roots.are_pinned().then_some(roots), ..Ca::default() }
    }
}
