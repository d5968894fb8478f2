//! The user's ACME settings: plain values, checked where they meet a server or a name.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::pki::cert::{Certificate, NotAfter};
use crate::pki::key::KeyType;
use crate::text;

/// How control over a name is proven (RFC 8555 section 8, RFC 8737).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChallengeType {
    /// A file below `/.well-known/acme-challenge/` on port 80.
    Http01,
    /// A certificate of its own kind on port 443.
    TlsAlpn01,
    /// A TXT record at `_acme-challenge.`.
    Dns01,
}

impl ChallengeType {
    /// All of them.
    pub(crate) const ALL: [ChallengeType; 3] =
        [ChallengeType::Http01, ChallengeType::TlsAlpn01, ChallengeType::Dns01];
}

impl fmt::Display for ChallengeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChallengeType::Http01 => "http-01",
            ChallengeType::TlsAlpn01 => "tls-alpn-01",
            ChallengeType::Dns01 => "dns-01",
        })
    }
}

impl FromStr for ChallengeType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        ChallengeType::ALL.into_iter().find(|kind| kind.to_string() == text).ok_or_else(|| {
            Error::usage("unknown challenge")
                .at(text::escape(text))
                .hint("`http-01`, `tls-alpn-01` and `dns-01` are the challenges that trustup answers")
        })
    }
}

/// The writer of dns-01's TXT records.
#[derive(Clone, Debug)]
pub enum DnsSolver {
    /// A program with its first arguments. It is called as `PROGRAM ARGUMENT… present|cleanup FQDN. VALUE`, without a
    /// shell. VALUE may begin with `-`.
    Hook(Vec<String>),
    /// A name server that takes updates.
    Rfc2136(Rfc2136),
}

/// A name server that takes dynamic updates (RFC 2136) signed with a shared key (TSIG, RFC 8945, HMAC-SHA256).
#[derive(Clone)]
pub struct Rfc2136 {
    /// Host or address, with or without a port (53): `ns1.example.org`, `192.0.2.1:5353`, `[2001:db8::1]:53`.
    pub server: String,
    /// The zone that is updated; found by its SOA record if not given.
    pub zone: Option<String>,
    /// The key's name, as the server knows it.
    pub key_name: String,
    /// The key itself, decoded.
    pub secret: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Rfc2136 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rfc2136")
            .field("server", &self.server)
            .field("zone", &self.zone)
            .field("key_name", &self.key_name)
            .finish_non_exhaustive()
    }
}

/// External account binding (RFC 8555 section 7.3.4): the CA's existing account for the new one.
#[derive(Clone)]
pub struct Eab {
    /// The key's identifier.
    pub(crate) kid: String,
    /// The MAC key, decoded (CAs give it in base64url).
    pub(crate) hmac_key: Zeroizing<Vec<u8>>,
}

impl Eab {
    /// From the texts that a CA gives out: the MAC key in base64url, padded or not.
    ///
    /// # Errors
    /// One of them is empty, or the key is not base64url. The error does not show it.
    pub fn from_texts(kid: &str, hmac_key: &str) -> Result<Self> {
        use base64::Engine as _;
        let kid = kid.trim();
        let text = hmac_key.trim().trim_end_matches('=');
        // Some CAs print the other alphabet.
        let text = Zeroizing::new(text.replace('+', "-").replace('/', "_"));
        let key = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text.as_bytes()).ok();
        match key.map(Zeroizing::new) {
            Some(hmac_key) if !kid.is_empty() && !hmac_key.is_empty() => {
                Ok(Eab { kid: kid.to_owned(), hmac_key })
            }
            _ => Err(Error::usage("the key of the external account is not base64url, or its identifier is empty")
                .hint("copy both as the CA shows them: the identifier goes to `--eab-kid`, the key to the file of `--eab-hmac-key-file`")),
        }
    }
}

impl fmt::Debug for Eab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eab").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// All settings for one server.
#[derive(Clone, Debug)]
pub struct AcmeSettings {
    /// The server's directory, https.
    pub directory: Url,
    /// The challenge; if not given, chosen by the configuration and the server's offer.
    pub challenge: Option<ChallengeType>,
    /// Where http-01 listens; port 80 of all addresses if not given.
    pub http_listen: Option<SocketAddr>,
    /// Where tls-alpn-01 listens; port 443 of all addresses if not given.
    pub tls_listen: Option<SocketAddr>,
    /// The directory that a web server publishes: http-01 puts its file there instead of listening.
    pub webroot: Option<PathBuf>,
    /// How dns-01 writes its records.
    pub dns: Option<DnsSolver>,
    /// For a new account, if the CA requires one.
    pub eab: Option<Eab>,
    /// E-mail addresses or `mailto:` URIs for a new account.
    pub contact: Vec<String>,
    /// Whether the user agrees to the CA's terms of service.
    pub agree_tos: bool,
    /// One of the profiles in the directory.
    pub profile: Option<String>,
    /// The end of the certificate's life, for the order; the CA's own if not given.
    pub not_after: Option<NotAfter>,
    /// The certificate that the new one replaces, if this server issued it: a server with renewal information is told
    /// (RFC 9773 section 5).
    pub replaces: Option<Certificate>,
    /// The common name of the root to which the chain should lead, if the CA offers several.
    pub preferred_chain: Option<String>,
    /// The kind of the key of a new account.
    pub account_key_type: KeyType,
}

impl AcmeSettings {
    /// The contacts as URIs (RFC 8555 section 7.3): an e-mail address alone gets its scheme.
    pub(super) fn contacts(&self) -> Result<Vec<String>> {
        let uri = |contact: &String| {
            let uri = match contact.split_once(':') {
                Some(_) => contact.clone(),
                None => format!("mailto:{contact}"),
            };
            let plain = |address: &str| {
                address.contains('@')
                    && address.chars().all(|c| c.is_ascii_graphic() && !matches!(c, ',' | '?'))
            };
            match uri.strip_prefix("mailto:") {
                Some(address) if !plain(address) => {
                    Err(Error::usage("this contact is not an e-mail address")
                        .at(text::escape(contact))
                        .hint("`--contact admin@example.org`; repeat the option for several contacts"))
                }
                _ => Ok(uri),
            }
        };
        self.contact.iter().map(uri).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_have_their_names() {
        for kind in ChallengeType::ALL {
            assert_eq!(kind.to_string().parse::<ChallengeType>().expect("known"), kind);
        }
        assert_eq!("http-1".parse::<ChallengeType>().expect_err("unknown").kind().exit_code(), 2);
    }

    #[test]
    fn an_external_account_never_shows_its_key() {
        let eab = Eab::from_texts(" kid-1 ", "c2VjcmV0LXNlY3JldA==\n").expect("as a CA shows it");
        assert_eq!((eab.kid.as_str(), eab.hmac_key.as_slice()), ("kid-1", &b"secret-secret"[..]));
        assert!(!format!("{eab:?}").contains("115"));
        for (kid, key) in [("", "c2VjcmV0"), ("kid", ""), ("kid", "not base64 c2VjcmV0")] {
            let error = Eab::from_texts(kid, key).expect_err("refused");
            assert!(!error.to_string().contains("c2VjcmV0") && error.kind().exit_code() == 2, "{error}");
        }
    }
}
