//! The purposes of a root: its own extended key usage (RFC 5280 section 4.2.1.12), as trust stores query it.

use super::Certificate;

/// The purposes that extended key usage allows (RFC 5280 section 4.2.1.12), as far as trust stores query them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usages {
    pub(super) any: bool,
    pub(super) server_auth: bool,
    pub(super) client_auth: bool,
    pub(super) email_protection: bool,
    pub(super) code_signing: bool,
}

/// The purpose for which a root may be trusted; an extended key usage of `None` allows all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// TLS servers.
    ServerAuth,
    /// TLS clients.
    ClientAuth,
    /// E-mail.
    EmailProtection,
    /// Programs.
    CodeSigning,
}

impl Certificate {
    /// Whether the certificate's own extended key usage allows this purpose.
    pub(crate) fn allows(&self, purpose: Purpose) -> bool {
        self.0.usages.is_none_or(|usages| {
            usages.any
                || match purpose {
                    Purpose::ServerAuth => usages.server_auth,
                    Purpose::ClientAuth => usages.client_auth,
                    Purpose::EmailProtection => usages.email_protection,
                    Purpose::CodeSigning => usages.code_signing,
                }
        })
    }
}
