//! `trustup version --json`.

use serde::Serialize;

use crate::cli::ui::json::JsonReport;

/// The program's version.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct VersionReport {
    /// As Semantic Versioning has it.
    pub(crate) version: &'static str,
}

impl JsonReport for VersionReport {
    const COMMAND: &'static str = "version";
}
