//! SHA-256 fingerprints: of a certificate (over its DER, RFC 5280 has no name for it; the output of `step` and `openssl
//! x509 -fingerprint -sha256`) and of a whole file (`--bundle-sha256`).
//!
//! A value of this type is a real 32-byte digest: an empty, short or misspelt pin cannot be represented.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of `bytes` (a certificate's DER, or a file).
    pub fn of(bytes: &[u8]) -> Self {
        Fingerprint(Sha256::digest(bytes).into())
    }

    /// The 32 bytes.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hex digits.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The first `digits` hex digits, for names.
    pub fn short(&self, digits: usize) -> String {
        let mut text = self.hex();
        text.truncate(digits);
        text
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    /// Accepts 64 hex digits in any case, with or without colons or spaces, with or without the prefix `sha256:`.
    fn from_str(text: &str) -> Result<Self> {
        let trimmed = text.trim();
        let body = match trimmed.get(..7) {
            Some(prefix) if prefix.eq_ignore_ascii_case("sha256:") => &trimmed[7..],
            _ => trimmed,
        };
        let digits: String = body.chars().filter(|c| !matches!(c, ':' | ' ')).collect();
        if digits.is_empty() {
            return Err(Error::usage("the fingerprint is empty")
                .hint("give the 64 hex digits that `step certificate fingerprint root_ca.crt` prints on the CA's host"));
        }
        if let Some(bad) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
            return Err(Error::usage(format!(
                "the fingerprint has a character that is no hex digit: `{}`",
                crate::text::escape(&bad.to_string())
            ))
            .hint("a fingerprint is 64 hex digits, with or without colons"));
        }
        let kind = match digits.len() {
            64 => None,
            32 => Some("that is the length of an MD5 fingerprint"),
            40 => Some("that is the length of a SHA-1 fingerprint"),
            _ => Some("a SHA-256 fingerprint has 64"),
        };
        if let Some(kind) = kind {
            return Err(Error::usage(format!("the fingerprint has {} hex digits: {kind}", digits.len()))
                .hint(
                    "make it on the CA's host: `openssl x509 -in root_ca.crt -noout -fingerprint -sha256`",
                ));
        }
        let mut bytes = [0; 32];
        match hex::decode_to_slice(&digits, &mut bytes) {
            Ok(()) => Ok(Fingerprint(bytes)),
            Err(error) => Err(Error::usage("the fingerprint is not hex").because(error)),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({})", self.hex())
    }
}

impl serde::Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Fingerprint {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Fingerprint".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "SHA-256: of a certificate's DER, or of a file.",
            "pattern": "^[0-9a-f]{64}$",
        })
    }
}

impl<'de> serde::Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: Error| serde::de::Error::custom(error.what().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn every_spelling_is_the_same_fingerprint() {
        let wanted = Fingerprint::of(b"");
        let colons: String = HEX
            .as_bytes()
            .chunks(2)
            .map(|pair| String::from_utf8_lossy(pair).to_uppercase())
            .collect::<Vec<_>>()
            .join(":");
        for spelling in [
            HEX.to_owned(),
            HEX.to_uppercase(),
            format!("sha256:{HEX}"),
            format!("SHA256:{colons}"),
            colons.replace(':', " "),
        ] {
            assert_eq!(spelling.parse::<Fingerprint>().expect(&spelling), wanted, "{spelling}");
        }
    }

    #[test]
    fn other_lengths_say_what_they_are() {
        for (text, wanted) in [
            ("", "empty"),
            (&HEX[..40], "SHA-1"),
            (&HEX[..32], "MD5"),
            (&HEX[..63], "63 hex digits"),
            ("sha256:", "empty"),
            ("zz", "no hex digit"),
        ] {
            let error = text.parse::<Fingerprint>().expect_err(text);
            assert!(error.what().contains(wanted), "{text}: {error}");
        }
    }
}
