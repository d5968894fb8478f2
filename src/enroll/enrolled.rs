//! What is kept of an enrollment beside the key: which CA it was and what its roots are, so that the next run can judge
//! the pair without asking anybody. No secrets.

use serde::{Deserialize, Serialize};
use url::Url;

use super::trust::{self, Ca};

use crate::cert::Certificate;
use crate::error::{Error, Result};
use crate::pair::check::{MAX_PINNED, Roots};
use crate::pair::facts::certificates;
use crate::pair::pending::Attempt;

const SCHEMA: u32 = 1;

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Enrolled {
    schema: u32,
    /// The method that the pair came by.
    pub(super) method: String,
    /// The CA's address or directory.
    pub(super) ca: Option<String>,
    /// The roots that its chain ends at, PEM.
    roots: String,
    /// What was spent on it: a token that is presented once more can be told from one that is refused for something else.
    #[serde(default)]
    pub(super) spent: Vec<Attempt>,
}

impl Enrolled {
    /// What is to be kept of a pair that came from `ca` by `method`.
    pub(super) fn new(method: &str, ca: Option<String>, roots: &Roots, spent: Vec<Attempt>) -> Self {
        let roots = if roots.are_pinned() {
            roots.certificates.iter().map(Certificate::to_pem).collect()
        } else {
            String::new()
        };
        Enrolled { schema: SCHEMA, method: method.to_owned(), ca, roots, spent }
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// None that is known.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self)
            .map_err(|error| Error::failed("could not write down where the pair came from").because(error))
    }

    /// Reads the file; what is damaged says nothing.
    pub(super) fn parse(bytes: &[u8]) -> Option<Enrolled> {
        serde_json::from_slice(bytes).ok().filter(|enrolled: &Enrolled| enrolled.schema == SCHEMA)
    }

    /// The roots.
    pub(super) fn roots(&self) -> Vec<Certificate> {
        let mut roots = certificates(self.roots.as_bytes()).unwrap_or_default();
        roots.truncate(MAX_PINNED);
        roots
    }

    /// The CA as it was then.
    pub(super) fn as_ca(&self) -> Ca {
        let certificates = self.roots();
        let described = trust::described(&certificates, "the CA that it came from");
        let roots = Roots { certificates, described, or_itself: false };
        let url = self.ca.as_deref().and_then(|ca| Url::parse(ca).ok());
        Ca { url, roots: roots.are_pinned().then_some(roots), ..Ca::default() }
    }
}
