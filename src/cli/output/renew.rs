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

/// What `--install-timer` or `--remove-timer` did, or with `--dry-run` would do.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct TimerReport {
    /// Whether any file changed; false with `--dry-run`.
    pub(crate) changed: bool,
    /// The path of the service.
    pub(crate) service: String,
    /// The path of the timer.
    pub(crate) timer: String,
    /// The files that were written or removed, or would be.
    pub(crate) files: Vec<String>,
    /// Whether systemd runs here; else it starts the timer at the next boot.
    pub(crate) is_running: bool,
}

impl JsonReport for TimerReport {
    const COMMAND: &'static str = "renew";
}
