//! The names that a certificate is for (subjectAltName, RFC 5280 section 4.2.1.6), as text that people write and as a
//! certificate's content.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::Certificate;
use crate::error::Error;
use crate::text;

/// More names than any certificate of a service has (threat T24).
const MAX_NAMES: usize = 1000;

/// A name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectAltName {
    /// A host name in ASCII, lower-case, without a final dot; the first label may be `*`.
    Dns(String),
    /// An address.
    Ip(IpAddr),
    /// An e-mail address.
    Email(String),
    /// A URI.
    Uri(String),
}

impl SubjectAltName {
    /// Whether it matches all names one level below.
    pub(crate) fn is_wildcard(&self) -> bool {
        matches!(self, SubjectAltName::Dns(name) if name.starts_with("*."))
    }

    /// The warning that a web server's address is probably not meant as a URI, which no TLS client checks.
    pub(crate) fn doubt(&self) -> Option<String> {
        let SubjectAltName::Uri(uri) = self else { return None };
        let url = url::Url::parse(uri).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        let host = text::escape(url.host_str()?);
        Some(format!("TLS clients look for host names, not for the URI `{self}`: you probably mean `{host}`"))
    }
}

impl fmt::Display for SubjectAltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubjectAltName::Dns(name) | SubjectAltName::Email(name) | SubjectAltName::Uri(name) => {
                f.write_str(&text::escape(name))
            }
            SubjectAltName::Ip(address) => address.fmt(f),
        }
    }
}

impl FromStr for SubjectAltName {
    type Err = Error;

    /// Distinguishes the kinds as step does: an address, a URI with a scheme, something with `@`, else a host name.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            // `::ffff:10.0.0.1` is 10.0.0.1, and its certificates contain that.
            return Ok(SubjectAltName::Ip(address.to_canonical()));
        }
        if text.contains("://") || text.starts_with("urn:") {
            return match url::Url::parse(text) {
                Ok(_) if text.is_ascii() => Ok(SubjectAltName::Uri(text.to_owned())),
                _ => Err(refused("not a URI", text)),
            };
        }
        if let Some((local, domain)) = text.rsplit_once('@') {
            let plain = |part: &str| {
                !part.is_empty()
                    && part.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '<' | '>' | ','))
            };
            return if plain(local) && plain(domain) {
                Ok(SubjectAltName::Email(text.to_owned()))
            } else {
                Err(refused("not an e-mail address", text))
            };
        }
        host_name(text).map(SubjectAltName::Dns)
    }
}

impl Certificate {
    /// Its host names, in the spelling of the certificate: capitals count for step-ca.
    pub(crate) fn dns_names_as_written(&self) -> Vec<String> {
        let Ok((_, parsed)) = X509Certificate::from_der(self.der()) else { return Vec::new() };
        let Ok(Some(names)) = parsed.subject_alternative_name() else { return Vec::new() };
        let dns = names.value.general_names.iter().take(MAX_NAMES).filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        dns.collect()
    }
}

/// The kind of a name that has no other use here.
fn kind_of(name: &GeneralName<'_>) -> &'static str {
    match name {
        GeneralName::OtherName(..) => "otherName",
        GeneralName::X400Address(_) => "x400Address",
        GeneralName::DirectoryName(_) => "directoryName",
        GeneralName::EDIPartyName(_) => "ediPartyName",
        GeneralName::RegisteredID(_) => "registeredID",
        _ => "malformed",
    }
}

/// A host name as certificates hold it; other scripts as the A-labels of IDNA.
fn host_name(text: &str) -> Result<String, Error> {
    let (star, rest) = match text.strip_prefix("*.") {
        Some(rest) => ("*.", rest),
        None => ("", text),
    };
    let rest = rest.strip_suffix('.').unwrap_or(rest);
    let ascii = match url::Host::parse(rest) {
        Ok(url::Host::Domain(domain)) => domain,
        Ok(_) | Err(_) => return Err(refused("not a host name", text)),
    };
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            // The underscore is not a letter of host names, but occurs in the names of services.
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
    };
    if ascii.len() > 253 || !ascii.split('.').all(label) {
        return Err(refused("not a host name", text));
    }
    Ok(format!("{star}{ascii}"))
}

fn refused(what: &str, text: &str) -> Error {
    // Text with a colon may be an address with a password in it.
    let shown = if text.contains(':') { text::mask_url(text) } else { text::escape(text) };
    Error::usage(what).at(shown).hint(
        "a certificate is for host names (`web.internal`), addresses (`10.0.0.1`), e-mail addresses or URIs (`spiffe://…`)",
    )
}

impl SubjectAltName {
    /// The same for the code that makes certificates and requests.
    ///
    /// # Errors
    /// It is not ASCII.
    pub(crate) fn to_rcgen(&self) -> Result<rcgen::SanType, rcgen::Error> {
        Ok(match self {
            SubjectAltName::Dns(name) => rcgen::SanType::DnsName(name.as_str().try_into()?),
            SubjectAltName::Ip(address) => rcgen::SanType::IpAddress(*address),
            SubjectAltName::Email(name) => rcgen::SanType::Rfc822Name(name.as_str().try_into()?),
            SubjectAltName::Uri(uri) => rcgen::SanType::URI(uri.as_str().try_into()?),
        })
    }
}

impl Certificate {
    /// The same, without kinds of names that are never requested (a Windows user's, for example).
    ///
    /// # Errors
    /// As [`Certificate::subject_alt_names`].
    pub(crate) fn known_alt_names(&self) -> Result<Vec<SubjectAltName>, String> {
        self.alt_names(false)
    }

    /// The names that it is for, in its order; the subject's CN is not one of them.
    ///
    /// # Errors
    /// The extension is damaged, or holds an unknown kind of name. In a form that can follow a colon.
    pub fn subject_alt_names(&self) -> Result<Vec<SubjectAltName>, String> {
        self.alt_names(true)
    }

    fn alt_names(&self, all: bool) -> Result<Vec<SubjectAltName>, String> {
        let damaged = |why: String| format!("its names cannot be read: {why}");
        // It was parsed before.
        let (_, parsed) =
            X509Certificate::from_der(self.der()).map_err(|_| damaged("malformed".to_owned()))?;
        let Some(names) =
            parsed.subject_alternative_name().map_err(|error| damaged(super::parser_words(&error)))?
        else {
            return Ok(Vec::new());
        };
        let names = &names.value.general_names;
        if names.len() > MAX_NAMES {
            return Err(format!("it is for {} names, more than {MAX_NAMES}", names.len()));
        }
        let names = names.iter().map(general_name);
        if all { names.collect() } else { Ok(names.filter_map(Result::ok).collect()) }
    }
}

pub(crate) fn general_name(name: &GeneralName<'_>) -> Result<SubjectAltName, String> {
    Ok(match name {
        GeneralName::DNSName(name) => SubjectAltName::Dns(name.to_ascii_lowercase()),
        GeneralName::RFC822Name(name) => SubjectAltName::Email((*name).to_owned()),
        GeneralName::URI(uri) => SubjectAltName::Uri((*uri).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            SubjectAltName::Ip(address.map_err(|_| format!("it has an address of {} bytes", bytes.len()))?)
        }
        other => {
            return Err(format!(
                "it is also for a name of a kind that was not requested: {}",
                kind_of(other)
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_web_server_is_hardly_meant_as_a_name() {
        for (text, host) in [
            ("https://web.internal:8443/x", Some("`web.internal`")),
            ("HTTP://10.0.0.1", Some("`10.0.0.1`")),
            ("spiffe://web.internal/a", None),
            ("urn:uuid:1", None),
            ("web.internal", None),
            ("https@web.internal", None),
        ] {
            let doubt = text.parse::<SubjectAltName>().expect(text).doubt();
            assert_eq!(doubt.is_some(), host.is_some(), "{text}");
            assert!(doubt.unwrap_or_default().contains(host.unwrap_or_default()), "{text}");
        }
    }

    fn parsed(text: &str) -> SubjectAltName {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn kinds_are_told_apart() {
        use SubjectAltName::{Dns, Email, Ip, Uri};
        for (text, wanted) in [
            ("Web.Internal.", Dns("web.internal".into())),
            ("*.web.internal", Dns("*.web.internal".into())),
            ("localhost", Dns("localhost".into())),
            ("_sip.example.test", Dns("_sip.example.test".into())),
            ("bücher.test", Dns("xn--bcher-kva.test".into())),
            ("10.0.0.1", Ip([10, 0, 0, 1].into())),
            ("::1", Ip(std::net::Ipv6Addr::LOCALHOST.into())),
            ("[::1]", Ip(std::net::Ipv6Addr::LOCALHOST.into())),
            ("jane@example.test", Email("jane@example.test".into())),
            ("spiffe://example.test/web", Uri("spiffe://example.test/web".into())),
            ("urn:uuid:1", Uri("urn:uuid:1".into())),
        ] {
            assert_eq!(parsed(text), wanted);
        }
        assert!(parsed("*.a.test").is_wildcard() && !parsed("a.test").is_wildcard());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = format!("{}.test", "a".repeat(64));
        for text in [
            "",
            ".",
            "a..b",
            "-a.test",
            "a-.test",
            "a b",
            "a.*.test",
            "*",
            "**.a.test",
            "a/b",
            "1.2.3",
            "@test",
            "a@",
            "a@b c",
            "http://",
            "a\u{1b}[0m",
            "a,b",
            &long,
        ] {
            assert!(text.parse::<SubjectAltName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_certificate_gives_its_names_back() {
        let names = ["web.internal", "10.0.0.1", "::1"];
        let params = rcgen::CertificateParams::new(names.map(str::to_owned)).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let certificate = Certificate::from_der(certificate.der()).unwrap();
        assert_eq!(certificate.subject_alt_names().unwrap(), names.map(parsed));
    }
}
