//! `trustup health --json`.

use serde::Serialize;

use crate::cli::ui::json::{JsonReport, UtcTime};

/// Whether the certificates are healthy.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct HealthReport {
    /// Whether all of them are.
    pub(crate) healthy: bool,
    /// The certificates, in the order of the configuration.
    pub(crate) certificates: Vec<CertificateHealth>,
}

impl JsonReport for HealthReport {
    const COMMAND: &'static str = "health";
}

/// The state of one certificate.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CertificateHealth {
    /// Its file.
    pub(crate) cert: String,
    /// Whether it is healthy.
    pub(crate) healthy: bool,
    /// Why it is not.
    pub(crate) problem: Option<String>,
    /// Until when it works: the earliest end in its chain.
    pub(crate) not_after: Option<UtcTime>,
    /// From when on it is renewed.
    pub(crate) due: Option<UtcTime>,
    /// When it was renewed last.
    pub(crate) renewed: Option<UtcTime>,
    /// When the next attempt is, if a daemon runs.
    pub(crate) next_attempt: Option<UtcTime>,
    /// How many attempts failed since the last success.
    pub(crate) failures: u32,
    /// Why the last of them failed.
    pub(crate) last_error: Option<String>,
    /// How many hooks have not succeeded since the last change.
    pub(crate) pending_hooks: usize,
}
