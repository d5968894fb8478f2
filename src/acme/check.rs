//! Whether settings can work: before anybody is asked, and by what the server's directory says.

use super::settings::Settings;
use super::transport::Transport;
use super::{choice, identifier, solver};
use crate::cert::SubjectAltName;
use crate::error::{Error, Result};
use crate::net::url::masked;
use crate::text;

impl Settings {
    /// What can be checked before anybody is asked: whether the settings and the names go together, the webroot, the hook,
    /// the contacts.
    ///
    /// # Errors
    /// What is missing or cannot work.
    pub fn check(&self, names: &[SubjectAltName]) -> Result<()> {
        identifier::identifiers(names)?;
        choice::check(self, names)?;
        solver::check(self)?;
        if self.directory.scheme() != "https" {
            return Err(Error::usage("an ACME server is asked over https only (RFC 8555 section 6.1)")
                .at(masked(&self.directory)));
        }
        self.contacts().map(drop)
    }

    /// Whether the server knows the profile, before it is asked for anything: some answer an unknown one with whatever
    /// they like.
    pub(super) fn check_profile(&self, transport: &Transport) -> Result<()> {
        let Some(profile) = &self.profile else { return Ok(()) };
        let known = transport.profiles();
        if known.iter().any(|name| name == profile) {
            return Ok(());
        }
        let error = Error::usage(format!("the CA has no profile `{}`", text::escape(profile)));
        let error = if known.is_empty() {
            error.hint("this CA has no profiles: leave `--profile` away")
        } else {
            let known: Vec<String> = known.iter().map(|name| format!("`{}`", text::escape(name))).collect();
            error.hint(format!("its profiles are {}", known.join(", ")))
        };
        Err(transport.error(error))
    }
}
