//! Whether settings can work: before any request, and according to the server's directory.

use super::settings::AcmeSettings;
use super::transport::Transport;
use super::{ChallengeSetup, solver};
use crate::error::{Error, Result};
use crate::net::url::{masked, shorter};
use crate::pki::cert::SubjectAltName;
use crate::text;

impl AcmeSettings {
    /// What can be checked before any request: whether settings and names are compatible, the webroot, the hook, the
    /// contacts.
    ///
    /// # Errors
    /// What is missing or cannot work.
    pub(crate) fn check(&self, names: &[SubjectAltName]) -> Result<()> {
        self.check_directory()?;
        self.setup().check(names)?;
        solver::check(self)?;
        self.contacts().map(drop)
    }

    /// What is configured to answer challenges.
    pub(super) fn setup(&self) -> ChallengeSetup<'_> {
        ChallengeSetup {
            challenge: self.challenge,
            writes_dns: self.dns.is_some(),
            webroot: self.webroot.as_deref(),
            http_listen: self.http_listen,
            tls_listen: self.tls_listen,
        }
    }

    fn check_directory(&self) -> Result<()> {
        let directory = &self.directory;
        let error = if !directory.username().is_empty() || directory.password().is_some() {
            // They would be in every signed message with the URL, and in the account's file.
            Error::usage("an ACME server is asked without user and password: accounts have keys instead")
                .hint("omit them from `--directory`; if the CA gave both, they may be those of `--eab-kid` and `--eab-hmac-key-file`")
        } else if directory.scheme() != "https" {
            Error::usage("an ACME server is asked over https only (RFC 8555 section 6.1)")
        } else if directory.as_str().parse::<hyper::Uri>().is_err() {
            Error::usage("an ACME server's directory cannot have this address")
        } else {
            return Ok(());
        };
        Err(error.at(shorter(&masked(directory))))
    }

    /// Whether the server knows the profile, before anything is requested: some answer an unknown one with an arbitrary
    /// error.
    pub(super) fn check_profile(&self, transport: &Transport) -> Result<()> {
        let Some(profile) = &self.profile else { return Ok(()) };
        let known = &transport.directory().meta.profiles;
        if known.contains_key(profile) {
            return Ok(());
        }
        let error = Error::usage(format!("the CA has no profile `{}`", text::escape(profile)));
        let error = if known.is_empty() {
            error.hint("this CA has no profiles: omit `--profile`")
        } else {
            let known: Vec<String> = known.keys().map(|name| format!("`{}`", text::escape(name))).collect();
            error.hint(format!("its profiles are {}", known.join(", ")))
        };
        Err(transport.error(error))
    }
}
