//! URLs: parsing with an error that helps, masking, origins. Pure functions.

use std::net::IpAddr;

use url::{Host, Url};

use crate::error::{Error, Result};
use crate::text::{self, miswritten::Miswritten};

/// Parses an http or https URL; `option` is what the error names.
pub fn parse(value: &str, option: &str) -> Result<Url> {
    if let Some(mistake) = Miswritten::of(value) {
        return Err(Error::usage(format!("`{option}` {}", mistake.what()))
            .at(text::mask_url(value))
            .hint(mistake.hint()));
    }
    let url = Url::parse(value).map_err(|error| {
        Error::usage(format!("`{option}` is not a URL")).at(text::mask_url(value)).because(error).hint(
            format!("write the whole address, such as `{option} https://ca.example.internal/roots.pem`"),
        )
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::usage(format!(
            "`{option}` has the scheme `{}`, only http and https can be fetched",
            url.scheme()
        ))
        .at(masked(&url))
        .hint("for a file on this machine use `--ca-file FILE`"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(Error::usage(format!("`{option}` names no host")).at(masked(&url)));
    }
    Ok(url)
}

/// The URL as it may be shown and stored: user info, query and fragment masked (threat T15).
pub(crate) fn masked(url: &Url) -> String {
    text::mask_url(url.as_str())
}

/// The host without the final dot of an absolute name, which is not part of a name (RFC 1034 section 3.1); empty without
/// a host. IPv6 addresses are in brackets.
pub(crate) fn host(url: &Url) -> &str {
    let host = url.host_str().unwrap_or_default();
    host.strip_suffix('.').unwrap_or(host)
}

/// Whether both have the same scheme, host and port.
pub(crate) fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && host(one) == host(other)
        && one.port_or_known_default() == other.port_or_known_default()
}

/// Scheme, host and port, for messages.
pub(crate) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Host and port, for messages.
pub(crate) fn authority(url: &Url) -> String {
    match (url.host_str(), url.port_or_known_default()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    }
}

/// Whether the URL's host is this machine by its name: a loopback address, `localhost` or below it (RFC 6761 section
/// 6.3).
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
        Some(Host::Domain(name)) => is_localhost(name),
        None => false,
    }
}

/// `localhost` or a name below it, with or without the final dot.
pub(crate) fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// An address as people write it: without a scheme https is meant.
pub(crate) fn with_scheme(value: &str) -> String {
    let has_scheme =
        |scheme: &str| value.get(..scheme.len()).is_some_and(|it| it.eq_ignore_ascii_case(scheme));
    let is_whole = value.contains("://") || has_scheme("https:") || has_scheme("http:");
    if is_whole { value.to_owned() } else { format!("https://{value}") }
}

/// The address of a step-ca as people write it: without a scheme https is meant, path and query are ignored.
///
/// # Errors
/// Not a URL, or not https.
pub(crate) fn step_ca_base(value: &str) -> Result<Url> {
    let mut url = parse(&with_scheme(value.trim()), "--ca-url")?;
    if url.scheme() != "https" {
        return Err(Error::usage("a step-ca is reached over https").at(masked(&url)).hint(
            "write `--ca-url https://…`; a certificate at a plain http address is fetched with `--root-url URL --fingerprint HEX`",
        ));
    }
    url.set_path("");
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// A URL of any length, for people.
pub(crate) fn shorter(url: &str) -> String {
    const SHOWN: usize = 200;
    match url.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &url[..end]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_url_are_masked() {
        for (text, wanted) in [
            ("https://u:p@h.test/a?token=s#f", "https://***@h.test/a?***"),
            ("https://h.test:8443/a", "https://h.test:8443/a"),
            ("https://u@h.test", "https://***@h.test/"),
        ] {
            assert_eq!(masked(&Url::parse(text).expect(text)), wanted);
        }
        let error = parse("https://u:secret@h .test/?t=secret", "--bundle-url").expect_err("space in host");
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn what_nothing_replaced_is_no_url() {
        for text in ["https://${CA_HOST}/", "\"https://h.test\"", "https://h.test/{{ path }}", "https://$(H)"]
        {
            let error = parse(text, "--root-url").expect_err(text);
            assert_eq!(error.kind().exit_code(), 2, "{text}: {error}");
            assert!(error.what().starts_with("`--root-url` "), "{text}: {error}");
        }
    }

    #[test]
    fn only_http_and_https_are_fetched() {
        for text in ["ftp://h.test/", "file:///etc/passwd", "h.test", "https://", "data:text/plain,x", ""] {
            let error = parse(text, "--root-url").expect_err(text);
            assert_eq!(error.kind().exit_code(), 2, "{text}: {error}");
            assert!(error.what().contains("--root-url"), "{text}: {error}");
        }
    }

    #[test]
    fn loopback_is_known_by_name_and_address() {
        for (host, wanted) in [
            ("localhost", true),
            ("LOCALHOST.", true),
            ("ca.localhost", true),
            ("127.8.9.1", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("notlocalhost", false),
            ("localhost.example.com", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(&format!("https://{host}/")).expect(host)), wanted, "{host}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let url = |text: &str| Url::parse(text).expect("test URL");
        assert!(same_origin(&url("https://h.test/a"), &url("https://H.test:443/b?c")));
        assert!(same_origin(&url("https://h.test/a"), &url("https://h.test.")));
        for other in ["http://h.test/a", "https://h.test:444/a", "https://g.test/a"] {
            assert!(!same_origin(&url("https://h.test/a"), &url(other)), "{other}");
        }
    }
}
