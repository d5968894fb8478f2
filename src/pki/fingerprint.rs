//! SHA-256 fingerprints: of a certificate (over its DER, RFC 5280 has no name for it; the output of `step` and `openssl
//! x509 -fingerprint -sha256`) and of a whole file (`--bundle-sha256`).
//!
//! A value of this type is a real 32-byte digest: an empty, short or misspelt pin cannot be represented.

use std::fmt;
use std::str::FromStr;

use ring::digest;

use crate::error::{Error, Result};

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of `bytes` (a certificate's DER, or a file).
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = [0; 32];
        digest.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Fingerprint(digest)
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

    /// Accepts 64 hex digits in any case, with or without colons or spaces, and what other programs print in front of
    /// them: `sha256:`, `SHA-256:`, `sha256 Fingerprint=`; quotes and white space around all of it are ignored.
    fn from_str(text: &str) -> Result<Self> {
        const MAKE: &str =
            "make it on the CA's host: `openssl x509 -in root_ca.crt -noout -fingerprint -sha256`";
        let is_around = |c: char| {
            c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '\u{2018}'..='\u{201f}' | '\u{feff}')
        };
        let body = match split_label(text.trim_matches(is_around)) {
            Ok(body) => body.trim_matches(is_around),
            Err(other) => {
                return Err(
                    Error::usage(format!("that is {other} fingerprint: trustup compares SHA-256")).hint(MAKE)
                );
            }
        };
        let digits: String = body.chars().filter(|c| !(*c == ':' || c.is_whitespace())).collect();
        if digits.is_empty() {
            return Err(Error::usage("the fingerprint is empty")
                .hint("give the 64 hex digits that `step certificate fingerprint root_ca.crt` prints on the CA's host"));
        }
        if let Some(bad) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
            let is_base64 = digits.len() == 44 && digits.ends_with('=') || digits.len() == 43;
            let error = Error::usage(format!(
                "the fingerprint has a character that is no hex digit: `{}`",
                crate::text::escape(&bad.to_string())
            ));
            return Err(if is_base64 {
                error.hint("it may be base64: `step certificate fingerprint root_ca.crt` prints it as hex")
            } else {
                error.hint("a fingerprint is 64 hex digits, with or without colons")
            });
        }
        let kind = match digits.len() {
            64 => None,
            32 => Some("that is the length of an MD5 fingerprint; a SHA-256 fingerprint has 64"),
            40 => Some("that is the length of a SHA-1 fingerprint; a SHA-256 fingerprint has 64"),
            128 => Some("that is the length of a SHA-512 fingerprint; a SHA-256 fingerprint has 64"),
            _ => Some("a SHA-256 fingerprint has 64"),
        };
        if let Some(kind) = kind {
            return Err(
                Error::usage(format!("the fingerprint has {} hex digits: {kind}", digits.len())).hint(MAKE)
            );
        }
        let mut bytes = [0; 32];
        match hex::decode_to_slice(&digits, &mut bytes) {
            Ok(()) => Ok(Fingerprint(bytes)),
            Err(error) => Err(Error::usage("the fingerprint is not hex").because(error)),
        }
    }
}

/// What follows the name of the hash, if there is one: `sha256:` (Docker), `sha256 Fingerprint=` (OpenSSL), `SHA-256:`
/// (keytool, browsers), `Cert Hash(sha256): ` (Windows). The error: the name of another hash, with its article.
fn split_label(text: &str) -> Result<&str, &'static str> {
    const OTHERS: [(&str, &str); 5] = [
        ("sha1", "a SHA-1"),
        ("md5", "an MD5"),
        ("sha224", "a SHA-224"),
        ("sha384", "a SHA-384"),
        ("sha512", "a SHA-512"),
    ];
    let at = match text.find('=').filter(|at| at + 1 < text.len()) {
        Some(at) => at + 1,
        None => {
            let label = text.find([':', ' ', '\t']);
            let has_name = |at: usize| normal(&text[..at]).starts_with("sha") || normal(&text[..at]) == "md5";
            match label.filter(|at| has_name(*at)) {
                Some(at) => at + 1,
                None => match text.find("):") {
                    Some(at) => at + 2,
                    None => return Ok(text),
                },
            }
        }
    };
    let (label, body) = text.split_at(at);
    let label = normal(label);
    match OTHERS.iter().find(|(name, _)| label.contains(name)) {
        Some((_, other)) => Err(other),
        None if label.contains("sha256") => {
            // `SHA-256 Fingerprint: …`, with the colon behind the second word.
            let word = "fingerprint";
            let body = body.trim_start();
            let is_word = body.get(..word.len()).is_some_and(|front| front.eq_ignore_ascii_case(word));
            Ok(if is_word { body[word.len()..].trim_start_matches([' ', ':', '=']) } else { body })
        }
        None => Ok(text),
    }
}

/// Lower-case letters and digits only.
fn normal(label: &str) -> String {
    label.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
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
            // OpenSSL 3 and 1.1, keytool, Windows, browsers; with quotes and line ends around.
            format!("sha256 Fingerprint={colons}"),
            format!("SHA256 Fingerprint={colons}\n"),
            format!("SHA-256 Fingerprint={}", colons.to_lowercase()),
            format!("\t SHA256: {colons}"),
            format!("SHA-256:{HEX}"),
            format!("SHA-256: {HEX}"),
            format!("SHA-256 Fingerprint: {colons}"),
            format!("Cert Hash(sha256): {}", colons.replace(':', " ")),
            format!("\"{HEX}\""),
            format!("'sha256:{HEX}'\r\n"),
            format!("\u{201c}{HEX}\u{201d}"),
            format!("{}\n{}", &colons[..48], &colons[48..]),
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
            ("SHA1 Fingerprint=D5:A9:92:97", "that is a SHA-1 fingerprint: trustup compares SHA-256"),
            ("SHA-1: D5:A9", "SHA-1"),
            ("md5:00", "MD5"),
            ("SHA512 Fingerprint=00", "SHA-512"),
            ("sha256 Fingerprint=", "empty"),
            ("x=", "no hex digit"),
            ("=", "no hex digit"),
            (&format!("{HEX}{HEX}"), "SHA-512"),
        ] {
            let error = text.parse::<Fingerprint>().expect_err(text);
            assert!(error.what().contains(wanted), "{text}: {error}");
        }
    }
}
