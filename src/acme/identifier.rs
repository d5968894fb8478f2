//! Names as ACME identifiers: DNS names and addresses (RFC 8555 section 7.1.3, RFC 8738); a challenge's token.

use std::fmt;

use super::messages::Identifier;
use crate::error::{Error, Result};
use crate::pki::cert::SubjectAltName;

/// The names as an order contains them, each once.
///
/// # Errors
/// An e-mail address or a URI: no ACME server can validate one.
pub(super) fn identifiers(names: &[SubjectAltName]) -> Result<Vec<Identifier>> {
    let mut identifiers = Vec::new();
    for name in names {
        let Some(identifier) = Identifier::of(name) else {
            return Err(Error::usage("ACME has no certificates for e-mail addresses and URIs")
                .at(name)
                .hint("omit the name, or get it from step-ca: `trustup enroll token` or `trustup enroll provisioner`"));
        };
        if !identifiers.contains(&identifier) {
            identifiers.push(identifier);
        }
    }
    if identifiers.is_empty() {
        return Err(Error::usage("a certificate needs at least one name"));
    }
    Ok(identifiers)
}

/// A challenge's token that is safe in a path, a file name and an argument (threat T20).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChallengeToken(String);

/// 128 bits in base64url are 22 characters (RFC 8555 section 8); no server sends more than a few times that.
const LONGEST_TOKEN: usize = 128;

impl ChallengeToken {
    /// `None` if it is anything but 1 to 128 characters of base64url.
    pub(super) fn new(token: &str) -> Option<ChallengeToken> {
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
        let good = (1..=LONGEST_TOKEN).contains(&token.len()) && token.bytes().all(plain);
        good.then(|| ChallengeToken(token.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChallengeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t20_a_token_is_base64url_or_nothing() {
        let long = "a".repeat(129);
        for token in ["", "../../x", "a/b", "a.b", "a b", "a\n", "a=", "ä", "a\0", "%2e", &long] {
            assert_eq!(ChallengeToken::new(token), None, "{token:?}");
        }
        for token in ["a", "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA", "-_", &long[1..]] {
            assert_eq!(ChallengeToken::new(token).expect("good").as_str(), token);
        }
    }

    #[test]
    fn only_dns_names_and_addresses_can_be_ordered() {
        let names = ["a.test", "*.a.test", "10.0.0.1", "a.test"].map(|name| name.parse().expect("name"));
        assert_eq!(identifiers(&names).expect("three").len(), 3);
        for name in ["a@b.test", "spiffe://a/b"] {
            let error = identifiers(&[name.parse().expect("name")]).expect_err(name);
            assert_eq!(error.kind().exit_code(), 2);
        }
    }
}
