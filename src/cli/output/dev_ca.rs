//! `trustup dev-ca --json`.

use serde::Serialize;

use crate::cli::ui::json::{JsonReport, UtcTime};
use crate::pki::fingerprint::Fingerprint;

/// The CA that runs: printed once it answers.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DevCaReport<'a> {
    /// Whether the CA was made now; false where a kept one was taken.
    pub(crate) changed: bool,
    /// Its URL.
    pub(crate) url: &'a str,
    /// Address and port where it listens.
    pub(crate) address: String,
    /// SHA-256 of the root.
    pub(crate) fingerprint: Fingerprint,
    /// The root's file.
    pub(crate) root_file: Option<String>,
    /// The end of the root's validity.
    pub(crate) root_not_after: UtcTime,
    /// The provisioner whose password gives certificates.
    pub(crate) provisioner: &'a str,
    /// The file with that password.
    pub(crate) password_file: Option<&'a str>,
    /// The process.
    pub(crate) pid: u32,
}

impl JsonReport for DevCaReport<'_> {
    const COMMAND: &'static str = "dev-ca";
}
