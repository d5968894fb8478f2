//! `trustup doctor --json`.

use serde::Serialize;

use super::ends::{EarlyEnd, PairEnd};
use crate::cli::ui::json::{JsonReport, UtcTime};
use crate::doctor::{ClientView, MissingClient, SearchView, StoreFinding};
use crate::pki::fingerprint::Fingerprint;

/// What the TLS clients of a root file system would do, and why.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DoctorReport {
    /// The root file system.
    pub(crate) sysroot: String,
    /// The row of the table of distributions.
    pub(crate) row: &'static str,
    /// The server of `--connect`; null where none was named.
    pub(crate) connect: Option<ConnectedServer>,
    /// The roots that trustup installed.
    pub(crate) anchors: Vec<DoctorAnchor>,
    /// Whether all clients that are installed accept the server, or hold the roots, and none is unknown; the exit code
    /// says the same.
    pub(crate) all_good: bool,
    /// The clients; with `--client` only those.
    pub(crate) clients: Vec<ClientView>,
    /// Clients of `--client` that are not there.
    pub(crate) missing: Vec<MissingClient>,
    /// The search for programs.
    pub(crate) search: SearchView,
    /// The certificates that `enroll` keeps here, as far as trustup.toml, variables and options name them.
    pub(crate) pairs: Vec<PairEnd>,
    /// Roots and certificates that have ended, have not begun, or end within the time of `--within`.
    pub(crate) ends_early: Vec<EarlyEnd>,
    /// What others left damaged in the stores, and variables that mislead.
    pub(crate) findings: Vec<StoreFinding>,
}

impl JsonReport for DoctorReport {
    const COMMAND: &'static str = "doctor";
}

/// The server of `--connect`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ConnectedServer {
    /// Host and port.
    pub(crate) server: String,
    /// The certificates that it sent, its own first.
    pub(crate) chain: Vec<SentCertificate>,
    /// Whether it proved that it has the key of the first. If not, the key or the signature is of a kind that trustup
    /// cannot verify: clients that can may refuse the server.
    pub(crate) proved_key: bool,
}

/// A certificate that a server sent.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SentCertificate {
    /// SHA-256 of the DER.
    pub(crate) fingerprint: Fingerprint,
    /// The subject, for people.
    pub(crate) subject: String,
    /// The issuer, for people.
    pub(crate) issuer: String,
}

/// A root that trustup installed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DoctorAnchor {
    /// SHA-256 of the DER.
    pub(crate) fingerprint: Fingerprint,
    /// The subject, for people.
    pub(crate) subject: String,
    /// The beginning of its validity.
    pub(crate) not_before: UtcTime,
    /// The end of its validity.
    pub(crate) not_after: UtcTime,
}
