//! Which challenge for which name: what is configured, what the name allows, what the server offers. Pure.

use std::net::SocketAddr;
use std::path::Path;

use super::{ChallengeType, identifier};
use crate::error::{Error, Result};
use crate::pki::cert::SubjectAltName;

/// What is configured to answer challenges, as far as the choice depends on it. It has no secret.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ChallengeSetup<'a> {
    /// The only challenge to answer.
    pub(crate) challenge: Option<ChallengeType>,
    /// Whether there is a way to write DNS records.
    pub(crate) writes_dns: bool,
    /// The directory that a web server publishes.
    pub(crate) webroot: Option<&'a Path>,
    /// Where http-01 listens.
    pub(crate) http_listen: Option<SocketAddr>,
    /// Where tls-alpn-01 listens.
    pub(crate) tls_listen: Option<SocketAddr>,
}

impl ChallengeSetup<'_> {
    /// Checks, before any request, whether ACME has certificates for these names and whether each can be validated.
    ///
    /// # Errors
    /// A name that no ACME server can validate, or that needs another challenge than what is configured.
    pub(crate) fn check(&self, names: &[SubjectAltName]) -> Result<()> {
        identifier::identifiers(names)?;
        check(self, names)
    }
}

/// A challenge and the reason for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) kind: ChallengeType,
    pub(super) reason: &'static str,
}

/// The possible challenges for `name`, best first: only what is configured, and what needs no configuration.
fn candidates(setup: &ChallengeSetup<'_>, name: &SubjectAltName) -> Vec<Choice> {
    use ChallengeType::{Dns01, Http01, TlsAlpn01};
    let mut all = Vec::new();
    if let Some(kind) = setup.challenge {
        all.push(Choice { kind, reason: "as configured" });
    } else {
        if setup.writes_dns {
            all.push(Choice { kind: Dns01, reason: "a way to write DNS records is configured" });
        }
        if setup.webroot.is_some() {
            all.push(Choice { kind: Http01, reason: "a webroot is configured" });
        }
        if setup.http_listen.is_some() {
            all.push(Choice { kind: Http01, reason: "an address to listen at is configured" });
        }
        if setup.tls_listen.is_some() {
            all.push(Choice { kind: TlsAlpn01, reason: "an address to listen at is configured" });
        }
        // What needs only a port is always possible.
        all.push(Choice { kind: Http01, reason: "nothing else is configured" });
        all.push(Choice { kind: TlsAlpn01, reason: "the CA does not offer http-01" });
    }
    all.retain(|choice| match (name, choice.kind) {
        (_, Dns01) if !setup.writes_dns => false,
        // RFC 8738 section 7: there is no dns-01 for addresses.
        (SubjectAltName::Ip(_), kind) => kind != Dns01,
        // RFC 8555 section 8.4, RFC 8737 section 3: only dns-01 proves control over a wildcard.
        (name, kind) => !name.is_wildcard() || kind == Dns01,
    });
    all
}

/// Whether every name can be validated with these settings, before any request.
fn check(setup: &ChallengeSetup<'_>, names: &[SubjectAltName]) -> Result<()> {
    if setup.challenge == Some(ChallengeType::Dns01) && !setup.writes_dns {
        return Err(Error::usage("dns-01 needs a way to write DNS records").hint(DNS));
    }
    if let Some(webroot) = setup.webroot
        && let Some(address) = setup.http_listen
    {
        return Err(Error::usage("http-01 either listens on a port or writes into a webroot")
            .at(webroot.display())
            .hint(format!("omit `--webroot` or `--http-listen {address}`")));
    }
    for name in names {
        if candidates(setup, name).is_empty() {
            let error = match name {
                SubjectAltName::Ip(_) => Error::usage("an address cannot be validated by dns-01")
                    .hint("omit `--challenge`: an address is validated by http-01 or tls-alpn-01"),
                _ => Error::usage("a wildcard can be validated by dns-01 only").hint(DNS),
            };
            return Err(error.at(name));
        }
    }
    Ok(())
}

const DNS: &str = "`--dns-hook PROGRAM` names a program that writes TXT records; `--rfc2136-server HOST` names a name server that takes updates";

/// The first of our candidates that the server offers.
pub(super) fn choose(
    setup: &ChallengeSetup<'_>,
    name: &SubjectAltName,
    offered: &[ChallengeType],
) -> Result<Choice> {
    let candidates = candidates(setup, name);
    candidates.iter().find(|choice| offered.contains(&choice.kind)).copied().ok_or_else(|| {
        let list = |kinds: &mut dyn Iterator<Item = ChallengeType>| {
            let mut kinds: Vec<String> = kinds.map(|kind| kind.to_string()).collect();
            kinds.dedup();
            if kinds.is_empty() { "nothing that trustup knows".to_owned() } else { kinds.join(", ") }
        };
        let error = Error::unsupported(format!(
            "the CA offers no challenge that can be answered here: it offers {}, and {} is set up",
            list(&mut offered.iter().copied()),
            list(&mut candidates.iter().map(|choice| choice.kind)),
        ))
        .at(name);
        if offered.contains(&ChallengeType::Dns01) && !setup.writes_dns {
            error.hint(DNS)
        } else if setup.challenge.is_some() {
            error.hint("omit `--challenge` to use what the CA offers")
        } else {
            error
        }
    })
}

#[cfg(test)]
mod tests {
    use super::ChallengeType::{Dns01, Http01, TlsAlpn01};
    use super::*;
    use crate::acme::{AcmeSettings, DnsSolver};
    use crate::pki::key::KeyType;

    fn settings() -> AcmeSettings {
        AcmeSettings {
            directory: url::Url::parse("https://ca.test/dir").expect("URL"),
            challenge: None,
            http_listen: None,
            tls_listen: None,
            webroot: None,
            dns: None,
            eab: None,
            contact: Vec::new(),
            agree_tos: false,
            profile: None,
            not_after: None,
            replaces: None,
            preferred_chain: None,
            account_key_type: KeyType::EcP256,
        }
    }

    fn name(text: &str) -> SubjectAltName {
        text.parse().expect("name")
    }

    fn kind(settings: &AcmeSettings, text: &str, offered: &[ChallengeType]) -> Option<ChallengeType> {
        choose(&settings.setup(), &name(text), offered).ok().map(|choice| choice.kind)
    }

    #[test]
    fn without_settings_the_port_that_the_ca_asks_is_opened() {
        let settings = settings();
        assert_eq!(kind(&settings, "a.test", &ChallengeType::ALL), Some(Http01));
        assert_eq!(kind(&settings, "10.0.0.1", &ChallengeType::ALL), Some(Http01));
        assert_eq!(kind(&settings, "a.test", &[TlsAlpn01, Dns01]), Some(TlsAlpn01));
        assert_eq!(kind(&settings, "a.test", &[Dns01]), None);
        assert!(check(&settings.setup(), &[name("*.a.test")]).is_err());
        assert!(check(&settings.setup(), &[name("a.test"), name("::1")]).is_ok());
    }

    #[test]
    fn what_is_configured_goes_first() {
        let with_dns = AcmeSettings { dns: Some(DnsSolver::Hook(vec!["/hook".to_owned()])), ..settings() };
        assert_eq!(kind(&with_dns, "*.a.test", &[Dns01]), Some(Dns01));
        assert_eq!(kind(&with_dns, "a.test", &ChallengeType::ALL), Some(Dns01));
        assert_eq!(kind(&with_dns, "10.0.0.1", &ChallengeType::ALL), Some(Http01), "no dns-01 for addresses");
        let with_tls = AcmeSettings { tls_listen: Some(([0, 0, 0, 0], 8443).into()), ..settings() };
        assert_eq!(kind(&with_tls, "a.test", &ChallengeType::ALL), Some(TlsAlpn01));
        let only = AcmeSettings { challenge: Some(TlsAlpn01), ..with_dns };
        assert_eq!(kind(&only, "a.test", &ChallengeType::ALL), Some(TlsAlpn01));
        assert_eq!(kind(&only, "a.test", &[Http01]), None);
        let error = choose(&only.setup(), &name("a.test"), &[Http01]).expect_err("not offered").to_string();
        assert!(error.contains("http-01") && error.contains("tls-alpn-01"), "{error}");
    }

    #[test]
    fn what_cannot_work_is_said_before_anybody_is_asked() {
        let dns = AcmeSettings { challenge: Some(Dns01), ..settings() };
        assert!(check(&dns.setup(), &[name("a.test")]).is_err());
        let http = AcmeSettings { challenge: Some(Http01), ..settings() };
        let error = check(&http.setup(), &[name("a.test"), name("*.a.test")]).expect_err("a wildcard");
        assert_eq!((error.kind().exit_code(), error.place()), (2, Some("*.a.test")));
        let both = AcmeSettings {
            http_listen: Some(([0, 0, 0, 0], 80).into()),
            webroot: Some("/srv".into()),
            ..settings()
        };
        assert!(check(&both.setup(), &[name("a.test")]).is_err());
    }
}
