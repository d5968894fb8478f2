//! `trustup token --json`.

use serde::Serialize;

use crate::cli::ui::json::{JsonReport, UtcTime};
use crate::pki::fingerprint::Fingerprint;

/// A one-time token, or with `--dry-run` what it would be for.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct TokenReport<'a> {
    /// Whether a file was written.
    pub(crate) changed: bool,
    /// Whether nothing was made: `--dry-run`.
    pub(crate) dry_run: bool,
    /// What the certificate will be for.
    pub(crate) subject: &'a str,
    /// The provisioner's name; null with `--dry-run` where the CA would be asked for it.
    pub(crate) provisioner: Option<&'a str>,
    /// The CA, masked.
    pub(crate) ca_url: String,
    /// SHA-256 of the CA's root; null where the token does not name it.
    pub(crate) root: Option<Fingerprint>,
    /// Until when it works; null with `--dry-run`.
    pub(crate) expires: Option<UtcTime>,
    /// The file that it was written to; null where it is in `token`.
    pub(crate) out: Option<&'a str>,
    /// The token itself, where no file was named. It is a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<&'a str>,
}

impl JsonReport for TokenReport<'_> {
    const COMMAND: &'static str = "token";
}
