//! Whether a certificate is for a host, as each client compares names. Seen with the real clients
//! (`tests/roots/verdicts`).

use std::net::IpAddr;

use crate::pki::cert::facts::{CertificateFacts, OwnedName};

/// How a client compares the names of a certificate with that of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::doctor) enum HostNames {
    /// `X509_check_host` of OpenSSL.
    OpenSsl,
    /// The same without stars inside a label: CPython's `ssl`, Alpine's `ssl_client`.
    Python,
    /// curl's own, where it uses OpenSSL.
    Curl,
    /// `gnutls_x509_crt_check_hostname`.
    GnuTls,
    /// urllib3 before 2.
    Urllib3Old,
    /// urllib3 since 2: OpenSSL's, without the common name.
    Urllib3,
    /// Node's `tls.checkServerIdentity`.
    Node,
    /// Ruby's `OpenSSL::SSL.verify_certificate_identity`.
    Ruby,
    /// PHP's.
    Php,
    /// Java's HostnameChecker.
    Java,
    /// Whole labels, subjectAltName alone: Go, rustls, browsers.
    Plain,
}

/// Which common name counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CommonName {
    Never,
    /// If subjectAltName has no dNSName.
    WithoutDns,
    /// If it has neither dNSName nor iPAddress.
    WithoutDnsOrIp,
}

/// Where a star may be in the first label.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Star {
    /// It is the label.
    Whole,
    /// Or the label ends with the text behind it.
    First,
    /// Or anywhere.
    Anywhere,
}

struct Style {
    common_name: CommonName,
    star: Star,
    /// `*` alone matches a name of one label.
    bare_star: bool,
    /// A star before the last label (`*.test`).
    star_before_last: bool,
    /// A final dot of the certificate's name does not count.
    final_dot: bool,
    ignores_case: bool,
    /// An address as the text of a dNSName.
    address_in_dns: bool,
    /// An address as the common name.
    address_in_common_name: bool,
}

const PLAIN: Style = Style {
    common_name: CommonName::Never,
    star: Star::Whole,
    bare_star: false,
    star_before_last: true,
    final_dot: false,
    ignores_case: true,
    address_in_dns: false,
    address_in_common_name: false,
};

impl HostNames {
    fn style(self) -> Style {
        use CommonName::{WithoutDns, WithoutDnsOrIp};
        match self {
            HostNames::OpenSsl => {
                Style { common_name: WithoutDns, star: Star::Anywhere, star_before_last: false, ..PLAIN }
            }
            HostNames::Python => Style { common_name: WithoutDns, star_before_last: false, ..PLAIN },
            HostNames::Urllib3 => Style { star_before_last: false, ..PLAIN },
            HostNames::Curl => Style {
                common_name: WithoutDnsOrIp,
                star_before_last: false,
                final_dot: true,
                address_in_common_name: true,
                ..PLAIN
            },
            HostNames::GnuTls => {
                Style { common_name: WithoutDnsOrIp, star: Star::First, star_before_last: false, ..PLAIN }
            }
            HostNames::Urllib3Old => Style {
                common_name: WithoutDnsOrIp,
                star: Star::Anywhere,
                bare_star: true,
                address_in_common_name: true,
                ..PLAIN
            },
            HostNames::Node => {
                Style { common_name: WithoutDns, star: Star::Anywhere, final_dot: true, ..PLAIN }
            }
            HostNames::Ruby => Style {
                common_name: WithoutDnsOrIp,
                star: Star::Anywhere,
                ignores_case: false,
                address_in_dns: true,
                address_in_common_name: true,
                ..PLAIN
            },
            HostNames::Php => Style {
                common_name: WithoutDns,
                star: Star::Anywhere,
                bare_star: true,
                final_dot: true,
                address_in_dns: true,
                address_in_common_name: true,
                ..PLAIN
            },
            HostNames::Java => {
                Style { common_name: WithoutDns, star: Star::Anywhere, star_before_last: false, ..PLAIN }
            }
            HostNames::Plain => PLAIN,
        }
    }

    /// Whether the certificate is for `host`: a name, or an address without brackets.
    pub(super) fn accept(self, facts: &CertificateFacts, host: &str) -> bool {
        let style = self.style();
        let names = facts.alt_names.as_ref().map_or(&[][..], |names| &names.names);
        let has_dns = names.iter().any(|name| matches!(name, OwnedName::Dns(_)));
        let has_ip = names.iter().any(|name| matches!(name, OwnedName::Ip(_)));
        let common_name = match style.common_name {
            CommonName::Never => None,
            CommonName::WithoutDns if has_dns => None,
            CommonName::WithoutDnsOrIp if has_dns || has_ip => None,
            // The last is the most specific.
            _ => facts.common_names.last(),
        };
        if let Ok(address) = host.parse::<IpAddr>() {
            let bytes = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            return names.iter().any(|name| match name {
                OwnedName::Ip(ip) => *ip == bytes,
                OwnedName::Dns(text) => style.address_in_dns && text == host,
                _ => false,
            }) || style.address_in_common_name && common_name.is_some_and(|name| name == host);
        }
        // Java refuses to compare a name that no host can have.
        if self == HostNames::Java && host.contains('_') {
            return false;
        }
        let dns = names.iter().filter_map(|name| match name {
            OwnedName::Dns(text) => Some(text),
            _ => None,
        });
        dns.chain(common_name).any(|pattern| matches(&style, pattern, host))
    }
}

fn matches(style: &Style, pattern: &str, host: &str) -> bool {
    let folded = |text: &str| if style.ignores_case { text.to_ascii_lowercase() } else { text.to_owned() };
    let (pattern, host) = (folded(pattern), folded(host.trim_end_matches('.')));
    let pattern = if style.final_dot { pattern.trim_end_matches('.') } else { &pattern };
    if pattern == host {
        return true;
    }
    if pattern == "*" {
        return style.bare_star && !host.contains('.');
    }
    let (Some((first, rest)), Some((label, domain))) = (pattern.split_once('.'), host.split_once('.')) else {
        return false;
    };
    if rest != domain || !rest.contains('.') && !style.star_before_last || label.is_empty() {
        return false;
    }
    let Some((before, after)) = first.split_once('*') else { return false };
    // A-labels are not taken apart.
    let is_part = !before.is_empty() || !after.is_empty();
    if after.contains('*') || is_part && (first.starts_with("xn--") || label.starts_with("xn--")) {
        return false;
    }
    match style.star {
        Star::Whole => !is_part,
        Star::First => before.is_empty() && label.len() > after.len() && label.ends_with(after),
        Star::Anywhere => {
            label.len() > before.len() + after.len() && label.starts_with(before) && label.ends_with(after)
        }
    }
}
