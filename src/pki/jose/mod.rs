//! JOSE, as far as step-ca's tokens and keys and ACME's requests need it: JWS (RFC 7515), JWK (RFC 7517), JWE (RFC
//! 7516), in the compact form; for ACME JWS in the flattened one. Pure functions; input is bounded before it costs
//! anything, and no error holds a token or a key.

pub mod jwe;
pub mod jwk;
pub mod jws;
mod kdf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The longest token that is read, in bytes: one with a chain of certificates in its header has 5 KiB.
pub(crate) const MAX_TOKEN: usize = 64 * 1024;

/// Base64url without padding (RFC 7515 section 2).
pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
