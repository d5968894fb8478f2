//! How the CA's host is spelled in a token's audience. step-ca compares the audience with its own `dnsNames` letter by
//! letter, capitals included, while URLs know lower-case letters only. The names of its verified certificate are those
//! `dnsNames`; who makes a token without asking the CA has the user's spelling. Pure functions.

use url::{Host, Url};

use crate::net::url::host;
use crate::pki::cert::Certificate;

/// The host in the address of a CA as it is written, without a final dot; `None` if it is not the host of `url`.
pub(crate) fn as_written(text: &str, url: &Url) -> Option<String> {
    let behind = text.trim().split_once("://").map_or(text.trim(), |(_, behind)| behind);
    let authority = behind.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, authority)| authority);
    let written = match authority.split_once(']') {
        Some((address, _)) => format!("{address}]"),
        None => authority.split(':').next().unwrap_or_default().to_owned(),
    };
    let written = written.strip_suffix('.').unwrap_or(&written);
    let is_same = Url::parse(&format!("https://{written}/")).is_ok_and(|same| host(&same) == host(url));
    is_same.then(|| written.to_owned())
}

/// The names in the CA's certificate that are the host of `url`, as the certificate spells them.
pub(crate) fn of_certificate(certificate: &Certificate, url: &Url) -> Vec<String> {
    let mut names = certificate.dns_names_as_written();
    names.retain(|name| name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case(host(url)));
    names
}

/// The hosts for the audience of a token, the likeliest first: `known` are those of [`of_certificate`], `written` is the
/// user's.
pub(crate) fn hosts(known: &[String], written: Option<&str>, url: &Url) -> Vec<String> {
    // An address is in a certificate as bytes, so how the CA writes it is not known.
    let is_name = matches!(url.host(), Some(Host::Domain(_)));
    let mut hosts: Vec<String> = known.iter().filter(|_| is_name).cloned().collect();
    if hosts.is_empty() {
        hosts.push(host(url).to_owned());
    }
    if let Some(written) = written {
        match hosts.iter().position(|host| host == written) {
            Some(_) => hosts = vec![written.to_owned()],
            // Another spelling of what the certificate has is wrong; the name in another script may be right.
            None if !known.is_empty() && hosts[0].eq_ignore_ascii_case(written) => {}
            None => hosts.insert(0, written.to_owned()),
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_as_they_are_written() {
        for (text, wanted) in [
            ("https://CA.Internal:9000", Some("CA.Internal")),
            ("CA.Internal:9000/x", Some("CA.Internal")),
            ("https://CA.Internal.", Some("CA.Internal")),
            (" https://u:p@Ca.Test?q ", Some("Ca.Test")),
            ("https://[FD00::07]:9000", Some("[FD00::07]")),
            ("https://Bücher.test", Some("Bücher.test")),
            ("https://10.0.0.1:9000", Some("10.0.0.1")),
        ] {
            let whole = if text.contains("://") { text.trim().to_owned() } else { format!("https://{text}") };
            let url = Url::parse(&whole).expect(text);
            assert_eq!(as_written(text, &url).as_deref(), wanted, "{text}");
        }
        let other = Url::parse("https://other.test").expect("URL");
        assert_eq!(as_written("https://ca.test", &other), None);
    }

    #[test]
    fn the_certificate_spells_first_and_the_user_second() {
        let url = |text: &str| Url::parse(text).expect("URL");
        let name = url("https://ca.internal.:9000");
        let known = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (of_ca, written, wanted) in [
            (&["CA.Internal"][..], None, &["CA.Internal"][..]),
            (&["CA.Internal"], Some("CA.INTERNAL"), &["CA.Internal"]),
            (&["ca.internal", "CA.Internal"], Some("CA.Internal"), &["CA.Internal"]),
            (&["ca.internal", "CA.Internal"], None, &["ca.internal", "CA.Internal"]),
            (&[], None, &["ca.internal"]),
            (&[], Some("CA.Internal"), &["CA.Internal", "ca.internal"]),
            (&[], Some("ca.internal"), &["ca.internal"]),
        ] {
            assert_eq!(hosts(&known(of_ca), written, &name), wanted, "{of_ca:?} {written:?}");
        }
        let address = url("https://[FD00:0::7]");
        assert_eq!(hosts(&[], Some("[FD00:0::7]"), &address), ["[FD00:0::7]", "[fd00::7]"]);
        let script = url("https://bücher.test");
        assert_eq!(
            hosts(&known(&["xn--bcher-kva.test"]), Some("bücher.test"), &script),
            ["bücher.test", "xn--bcher-kva.test"]
        );
    }
}
