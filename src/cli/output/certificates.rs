//! What became of certificates: a part of the reports of `trustup enroll` and `trustup renew`.

use serde::Serialize;

use crate::certificate::issue::IssueAction;
use crate::cli::ui::json::{ErrorDetails, UtcTime};
use crate::pki::fingerprint::Fingerprint;

/// What became of one certificate.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub(crate) enum CertificateReport {
    /// There is a key pair, or with `--dry-run` it is known how to get one.
    Done(Box<FoundCertificate>),
    /// It could not be obtained.
    Failed(Box<CertificateFailure>),
}

/// A certificate that is there.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FoundCertificate {
    /// What was done.
    pub(crate) action: IssueAction,
    /// Whether any file changed.
    pub(crate) changed: bool,
    /// Why, in one line.
    pub(crate) reason: String,
    /// The enrollment method that it came by.
    pub(crate) method: Option<&'static str>,
    /// The enrollment methods that were not used.
    pub(crate) skipped: Vec<SkippedMethod>,
    /// What it is for.
    pub(crate) names: Vec<String>,
    /// The files.
    pub(crate) files: PairFiles,
    /// The files that were written.
    pub(crate) wrote: Vec<String>,
    /// Those of them that were written in place, since they are mounts.
    pub(crate) wrote_in_place: Vec<String>,
    /// The certificate; null where there is none yet (`--dry-run`).
    pub(crate) certificate: Option<LeafFields>,
    /// Whether the chain ends at a pinned root; null where there is none yet.
    pub(crate) pinned: Option<bool>,
    /// SHA-256 of the roots that the chain was verified with.
    pub(crate) roots: Option<Vec<Fingerprint>>,
    /// Why a certificate that is due could not be replaced, and was kept.
    pub(crate) problem: Option<ErrorDetails>,
}

/// A certificate that could not be obtained.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CertificateFailure {
    /// What was done.
    pub(crate) action: FailedAction,
    /// Whether any file changed.
    pub(crate) changed: bool,
    /// What it was to be for.
    pub(crate) names: Vec<String>,
    /// The files.
    pub(crate) files: PairFiles,
    /// Why it could not be obtained.
    pub(crate) error: ErrorDetails,
}

/// The action of a certificate that could not be obtained.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FailedAction {
    /// It could not be obtained.
    Failed,
}

/// An enrollment method that was not used.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SkippedMethod {
    /// Its name.
    pub(crate) method: &'static str,
    /// Why it was not used.
    pub(crate) why: String,
}

/// Where a key pair is.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PairFiles {
    /// The certificate with its intermediates.
    pub(crate) cert: String,
    /// The private key.
    pub(crate) key: String,
    /// The intermediates by themselves.
    pub(crate) chain: Option<String>,
    /// The roots.
    pub(crate) ca_out: Option<String>,
}

/// A leaf certificate.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct LeafFields {
    /// SHA-256 of the DER.
    pub(crate) fingerprint: Fingerprint,
    /// The serial number, in hex.
    pub(crate) serial: String,
    /// The subject, for people.
    pub(crate) subject: String,
    /// The issuer, for people.
    pub(crate) issuer: String,
    /// The beginning of its validity.
    pub(crate) not_before: UtcTime,
    /// Until when it works: the earliest end in its chain.
    pub(crate) not_after: UtcTime,
    /// The end of its own validity.
    pub(crate) leaf_not_after: UtcTime,
    /// The subject of the intermediate that ends before the leaf; null where none does.
    pub(crate) limited_by: Option<String>,
    /// When it is due for replacement.
    pub(crate) due: Option<UtcTime>,
}
