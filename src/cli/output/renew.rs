//! `trustup renew --json`.

use serde::Serialize;

use crate::cli::output::certificates::CertificateReport;
use crate::cli::ui::json::{ErrorDetails, JsonReport};

/// What became of each certificate.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct RenewReport {
    /// Whether any file changed.
    pub(crate) changed: bool,
    /// The certificates, in the order of the configuration.
    pub(crate) certificates: Vec<CertificateReport>,
    /// Where one of several certificates could not be renewed: the first error, which decides the exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ErrorDetails>,
}

impl JsonReport for RenewReport {
    const COMMAND: &'static str = "renew";
}
