//! `trustup config check --json`.

use serde::Serialize;

use crate::cli::ui::json::{ErrorDetails, JsonReport};

/// What is wrong with trustup.toml, and what each certificate would do.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ConfigReport {
    /// The file; null where there is none.
    pub(crate) path: Option<String>,
    /// Whether there is no problem; the exit code says the same.
    pub(crate) ok: bool,
    /// Everything that is wrong.
    pub(crate) problems: Vec<ErrorDetails>,
    /// The certificates of the file.
    pub(crate) certificates: Vec<ConfiguredCertificate>,
}

impl JsonReport for ConfigReport {
    const COMMAND: &'static str = "config";
}

/// A certificate of trustup.toml, with values as the file writes them.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ConfiguredCertificate {
    /// What it is for.
    pub(crate) names: Vec<String>,
    /// The certificate's file.
    pub(crate) cert: String,
    /// The key's file.
    pub(crate) key: String,
    /// The enrollment methods, in their order.
    pub(crate) methods: Vec<&'static str>,
    /// Where it is in the file.
    pub(crate) place: String,
}
