//! Turns failures below the HTTP client into an error that states what, where, why and what to do next.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use rustls::CertificateError;
use rustls::pki_types::UnixTime;
use url::Url;

use super::dns::NameError;
use super::proxy::Proxy;
use super::tls::Trust;
use super::tls_words;
use super::url::{authority, is_loopback, masked};
use crate::error::{Error, ErrorKind, Result};
use crate::text;

/// Explains a failed exchange with the server of `url`.
pub(super) fn explain(error: &reqwest::Error, url: &Url, trust: &Trust, proxy: Option<&Proxy>) -> Error {
    let place = masked(url);
    if let Some(error) = find::<NameError>(error) {
        let failure = Error::unreachable("could not resolve the host's name")
            .at(place)
            .because(error.clone())
            .hint(error.hint());
        return match proxy.filter(|proxy| proxy.resolves_here()) {
            Some(proxy) => failure.hint(format!(
                "the proxy in `{}` is asked for an address: with `socks5h://` it resolves the name itself",
                proxy.variable()
            )),
            None => failure,
        };
    }
    if let Some(error) = find::<rustls::Error>(error) {
        return explain_tls(error, url, trust);
    }
    let through = proxy.map(|proxy| format!(" through the proxy `{}`", proxy.shown())).unwrap_or_default();
    let server = format!("`{}`{through}", authority(url));
    let chain = causes(error);
    let socks = chain.iter().find_map(|cause| cause.strip_prefix(SOCKS));
    let failure = match find::<hyper::Error>(error) {
        Some(error) if error.is_incomplete_message() => {
            Error::unreachable(format!("{server} closed the connection before the answer was complete"))
                .hint(OTHER)
        }
        Some(error) if error.is_parse() || error.is_parse_too_large() => {
            Error::failed(format!("{server} does not answer as a web server does"))
                .hint("check scheme and port of the URL: a server that speaks TLS needs `https://`")
        }
        _ => match find::<io::Error>(error).map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => {
                let refused = Error::unreachable(format!("{server} refused the connection"))
                    .hint("is the server up, and is the port right? `--wait 60s` gives it a minute more");
                if is_loopback(url) { refused.hint(ITSELF) } else { refused }
            }
            Some(io::ErrorKind::TimedOut) => slow(&server),
            Some(
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof,
            ) => Error::unreachable(format!("{server} closed the connection early")).hint(OTHER),
            Some(_) => Error::unreachable(format!("could not connect to {server}")),
            None if error.is_timeout() => slow(&server),
            None if chain.iter().any(|cause| cause.contains("proxy authorization required"))
                || socks.is_some_and(|cause| SOCKS_LOGIN.contains(&cause)) =>
            {
                Error::failed(format!(
                    "the proxy requires a user and a password to reach `{}`",
                    authority(url)
                ))
            }
            None if socks == Some(SOCKS_UNREACHED) => {
                let proxy = proxy.map(Proxy::shown).unwrap_or_default();
                Error::unreachable(format!("could not connect to the proxy `{proxy}`"))
            }
            None if error.is_connect() => Error::unreachable(format!("could not connect to {server}")),
            None => Error::unreachable(format!("the connection to {server} failed")),
        },
    };
    let failure = match proxy {
        Some(proxy) => failure.hint(format!(
            "the proxy comes from the variable `{}`; hosts that need none go into `no_proxy`",
            proxy.variable()
        )),
        None => failure,
    };
    match chain.last() {
        Some(cause) => failure.at(place).because(anyhow::anyhow!("{}", text::escape(without_manual(cause)))),
        None => failure.at(place),
    }
}

/// For a server on this machine that does not answer.
const ITSELF: &str = "inside a container `localhost` and 127.0.0.1 are the container itself: name the CA's container on the same network, or the host (`docker run --add-host host.docker.internal:host-gateway`, and `host.docker.internal` in the URL)";
/// How an error of hyper-util's SOCKS client begins.
const SOCKS: &str = "SOCKS error: ";
/// Its words if the proxy itself does not answer.
const SOCKS_UNREACHED: &str = "failed to create underlying connection";
/// Its words for a proxy that wants another user and password, or any.
const SOCKS_LOGIN: [&str; 3] = [
    "credentials not accepted",
    "server does not support user/pass authentication",
    "server implements authentication incorrectly",
];

/// For a handshake that a server of ours would have continued.
const OTHER: &str =
    "check that the CA itself answers there, and not another server or proxy; its log may say why";

/// A library's message without the link to its manual for programmers.
fn without_manual(cause: &str) -> &str {
    cause.split_once(": https://docs.rs/").map_or(cause, |(message, _)| message)
}

/// A TLS failure: a server that is not trusted (exit 4), or a conversation that failed (exit 1).
fn explain_tls(error: &rustls::Error, url: &Url, trust: &Trust) -> Error {
    let host = authority(url);
    let place = masked(url);
    let rustls::Error::InvalidCertificate(reason) = error else {
        let failure = Error::failed(format!("the TLS handshake with `{host}` failed"))
            .at(place)
            .because(anyhow::anyhow!("{}", tls_words::tls(error)));
        return match error {
            rustls::Error::InvalidMessage(_) => failure
                .hint("the server does not seem to speak TLS at this port: is it an `http://` address?"),
            rustls::Error::AlertReceived(_) => failure.hint("the server refused; its log says why"),
            _ => failure,
        };
    };
    let vouched_by = match trust {
        Trust::Unverified => "nobody".to_owned(),
        Trust::Roots { vouched_by, .. } => vouched_by.clone(),
    };
    let (why, hint) = match reason {
        CertificateError::UnknownIssuer => (
            format!("its certificate was not issued by {vouched_by}"),
            Some("its certificate chain must end at a trusted root, and the server must send every intermediate".to_owned()),
        ),
        CertificateError::NotValidForName => (format!("its certificate is not for `{}`", url.host_str().unwrap_or_default()), None),
        CertificateError::NotValidForNameContext { presented, .. } => (
            format!("its certificate is not for `{}`", url.host_str().unwrap_or_default()),
            Some(format!("the certificate is for {}: use such a name in the URL", names(presented))),
        ),
        CertificateError::ExpiredContext { time, not_after } => (
            format!("its certificate expired on {}", date(*not_after)),
            Some(format!("this machine's clock says {}; if that is right, the server needs a new certificate", date(*time))),
        ),
        CertificateError::NotValidYetContext { time, not_before } => (
            format!("its certificate is not valid before {}", date(*not_before)),
            Some(format!("this machine's clock says {}; is it right?", date(*time))),
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            ("its certificate is not meant for a TLS server".to_owned(), None)
        }
        other => (format!("its certificate cannot be verified: {}", tls_words::certificate(other)), None),
    };
    // Nothing is wrong with such a server.
    let is_unsupported = matches!(
        reason,
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
    );
    let kind = if is_unsupported { ErrorKind::Unsupported } else { ErrorKind::NotTrusted };
    let failure = Error::new(kind, format!("`{host}` is not trusted: {why}")).at(place);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The names of a certificate; rustls gives each as `DnsName("ca.test")` or `IpAddress(192.0.2.1)`.
fn names(presented: &[String]) -> String {
    const SHOWN: usize = 5;
    let bare = |name: &String| {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, inner)| inner.trim_end_matches(')'));
        format!("`{}`", text::escape(inner.trim_matches('"')))
    };
    let mut shown: Vec<String> = presented.iter().take(SHOWN).map(bare).collect();
    if presented.len() > SHOWN {
        shown.push(format!("{} more", presented.len() - SHOWN));
    }
    if shown.is_empty() { "no name at all".to_owned() } else { shown.join(", ") }
}

fn date(time: UnixTime) -> String {
    text::rfc3339(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

fn slow(server: &str) -> Error {
    Error::unreachable(format!("{server} did not answer in time")).hint("`--timeout 2m` gives it more time")
}

/// The time is up.
pub(super) fn timed_out(url: &Url, time: Duration) -> Error {
    let seconds = time.as_secs_f64();
    Error::unreachable(format!("no complete answer from `{}` within {seconds:.1} s", authority(url)))
        .at(masked(url))
        .hint("`--timeout 2m` gives it more time")
}

/// Whether asking again may help: 502, 503 and 504 are what a proxy answers for a server that is not up yet.
pub(super) fn is_temporary(status: u16) -> bool {
    matches!(status, 502..=504)
}

/// An error for an unsuccessful status; `message` is the server's own message, if it sent one.
pub(super) fn status(url: &Url, status: u16, message: Option<&str>) -> Error {
    let kind = if is_temporary(status) { ErrorKind::Unreachable } else { ErrorKind::Failed };
    let failure =
        Error::new(kind, format!("`{}` answered with HTTP status {status}", authority(url))).at(masked(url));
    let failure = match message {
        Some(message) => failure.because(anyhow::anyhow!("the server says: {}", text::escape(message))),
        None => failure,
    };
    match status {
        401 | 403 => failure
            .hint("the server wants a login, or lets nobody read this address: name one that needs no login"),
        404 | 410 => failure.hint("check the path of the URL"),
        502..=504 => failure.hint("`--wait 60s` gives the server a minute more"),
        _ => failure,
    }
}

/// A failure that no retry helps.
pub(super) fn refuse<T>(url: &Url, what: impl Into<String>, hint: &str) -> Result<T> {
    Err(Error::failed(what).at(masked(url)).hint(hint))
}

/// The first error of type `T` in the chain below `error`, those wrapped in an [`io::Error`] included.
pub(super) fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
            && let Some(found) = find::<T>(inner)
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The messages below `error`, outermost first (its own holds the URL, and is omitted).
fn causes(error: &reqwest::Error) -> Vec<String> {
    let mut texts = Vec::new();
    let mut next = error.source();
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    texts
}
