//! The ways to renew an existing pair.

use super::methods::Method;

/// How a pair may be renewed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RenewalOptions {
    /// With a new key.
    pub(crate) rekey: bool,
    /// Without a client certificate in the handshake.
    pub(crate) no_mtls: bool,
}

/// The ways, in the order in which to try.
pub(crate) fn methods(_: RenewalOptions) -> Vec<Box<dyn Method>> {
    Vec::new()
}
