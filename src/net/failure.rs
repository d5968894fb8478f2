//! Turns failures below the HTTP client into an error that states what, where, why and what to do next.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use rustls::CertificateError;
use rustls::pki_types::UnixTime;
use url::Url;

use super::dns::NameError;
use super::endpoint::{Endpoint, bare};
use super::proxy::Proxy;
use super::tls::Trust;
use super::tls_words;
use super::url::{authority, is_localhost, is_loopback, masked};
use crate::error::{Error, ErrorKind, Result};
use crate::text;

/// The reader of an upload failed, or ended too early.
#[derive(Debug)]
pub(super) struct UploadError(pub(super) io::Error);

impl fmt::Display for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for UploadError {}

/// Whom an exchange is with, for messages.
#[derive(Debug)]
pub(super) struct Peer<'a> {
    /// Where the error is: a URL, or an address.
    place: String,
    /// Host and port, or the path of a socket.
    name: String,
    /// What its certificate must be for.
    host: String,
    proxy: Option<&'a Proxy>,
    is_loopback: bool,
    is_socket: bool,
    /// Whose roots vouch for it.
    vouched_by: &'a str,
}

impl<'a> Peer<'a> {
    /// The server of a URL, which is behind the socket at `socket` if there is one.
    pub(super) fn of_url(url: &Url, socket: Option<&Path>, proxy: Option<&'a Proxy>) -> Self {
        let socket = socket.map(|path| text::escape(&path.display().to_string()));
        Peer {
            place: masked(url),
            is_loopback: socket.is_none() && is_loopback(url),
            is_socket: socket.is_some(),
            name: socket.unwrap_or_else(|| authority(url)),
            host: url.host_str().unwrap_or_default().to_owned(),
            proxy,
            vouched_by: "nobody",
        }
    }

    /// The server at this address.
    pub(super) fn of_endpoint(endpoint: &Endpoint, proxy: Option<&'a Proxy>) -> Self {
        let (host, is_socket) = match endpoint {
            Endpoint::Tcp { host, .. } => (host.clone(), false),
            Endpoint::Unix(_) => (String::new(), true),
        };
        let is_loopback = is_localhost(&host) || bare(&host).parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        let name = endpoint.to_string();
        Peer { place: name.clone(), name, host, proxy, is_loopback, is_socket, vouched_by: "nobody" }
    }

    /// The same, with a certificate that must be for `host`.
    pub(super) fn called(self, host: &str) -> Self {
        Peer { host: host.to_owned(), ..self }
    }

    /// The same, with the roots that vouch for it.
    pub(super) fn trusted_by(self, trust: &'a Trust) -> Self {
        match trust {
            Trust::Unverified => self,
            Trust::Roots { vouched_by, .. } => Peer { vouched_by, ..self },
        }
    }

    /// Its name, and the proxy in between.
    fn server(&self) -> String {
        let through = self.proxy.map(|proxy| format!(" through the proxy `{}`", proxy.shown()));
        format!("`{}`{}", self.name, through.unwrap_or_default())
    }
}

/// Explains a failed exchange: an error of the HTTP client, or of a connector.
pub(super) fn explain(error: &(dyn StdError + 'static), peer: &Peer<'_>) -> Error {
    let place = peer.place.clone();
    if let Some(UploadError(reason)) = find::<UploadError>(error) {
        let reason = text::escape(&reason.to_string());
        return Error::failed("could not read what is sent").at(place).because(anyhow::anyhow!("{reason}"));
    }
    if let Some(error) = find::<NameError>(error) {
        let failure = Error::unreachable("could not resolve the host's name")
            .at(place)
            .because(error.clone())
            .hint(error.hint());
        return match peer.proxy.filter(|proxy| proxy.resolves_here()) {
            Some(proxy) => failure.hint(format!(
                "the proxy in `{}` is asked for an address: with `socks5h://` it resolves the name itself",
                proxy.variable()
            )),
            None => failure,
        };
    }
    if let Some(error) = find::<rustls::Error>(error) {
        return explain_tls(error, peer);
    }
    let http = error.downcast_ref::<reqwest::Error>();
    let is_connect = http.is_none_or(reqwest::Error::is_connect);
    let server = peer.server();
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
            Some(io::ErrorKind::ConnectionRefused) if peer.is_socket => {
                Error::unreachable(format!("{server} refused the connection"))
                    .hint("is the server that listens on this socket running?")
            }
            Some(io::ErrorKind::ConnectionRefused) => {
                let refused = Error::unreachable(format!("{server} refused the connection"))
                    .hint("is the server up, and is the port right? `--wait 60s` gives it a minute more");
                if peer.is_loopback { refused.hint(ITSELF) } else { refused }
            }
            Some(io::ErrorKind::TimedOut) => slow(peer),
            Some(
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof,
            ) => Error::unreachable(format!("{server} closed the connection early")).hint(OTHER),
            Some(_) => Error::unreachable(format!("could not connect to {server}")),
            None if http.is_some_and(reqwest::Error::is_timeout) => slow(peer),
            None if chain.iter().any(|cause| cause.contains("proxy authorization required"))
                || socks.is_some_and(|cause| SOCKS_LOGIN.contains(&cause)) =>
            {
                Error::failed(format!("the proxy requires a user and a password to reach `{}`", peer.name))
            }
            None if socks == Some(SOCKS_UNREACHED) => {
                let proxy = peer.proxy.map(Proxy::shown).unwrap_or_default();
                Error::unreachable(format!("could not connect to the proxy `{proxy}`"))
            }
            None if is_connect => Error::unreachable(format!("could not connect to {server}")),
            None => Error::unreachable(format!("the connection to {server} failed")),
        },
    };
    let failure = match peer.proxy {
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
fn explain_tls(error: &rustls::Error, peer: &Peer<'_>) -> Error {
    let Peer { name, host, vouched_by, .. } = peer;
    let place = &peer.place;
    let rustls::Error::InvalidCertificate(reason) = error else {
        let failure = Error::failed(format!("the TLS handshake with `{name}` failed"))
            .at(place)
            .because(anyhow::anyhow!("{}", tls_words::tls(error)));
        return match error {
            rustls::Error::InvalidMessage(_) => failure
                .hint("the server does not seem to speak TLS at this port: is it an `http://` address?"),
            rustls::Error::AlertReceived(_) => failure.hint("the server refused; its log says why"),
            _ => failure,
        };
    };
    let (why, hint) = match reason {
        CertificateError::UnknownIssuer => (
            format!("its certificate was not issued by {vouched_by}"),
            Some("its certificate chain must end at a trusted root, and the server must send every intermediate".to_owned()),
        ),
        CertificateError::NotValidForName => (format!("its certificate is not for `{host}`"), None),
        CertificateError::NotValidForNameContext { presented, .. } => (
            format!("its certificate is not for `{host}`"),
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
        CertificateError::BadSignature => (
            "a signature in its certificate chain is wrong, or by another key of a CA with that name".to_owned(),
            Some("was the CA created again under its old name? Its new root has another fingerprint: compare it on the CA's host, and give it to `trustup bootstrap`".to_owned()),
        ),
        other => (format!("its certificate cannot be verified: {}", tls_words::certificate(other)), None),
    };
    // Nothing is wrong with such a server.
    let is_unsupported = matches!(
        reason,
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
    );
    let kind = if is_unsupported { ErrorKind::Unsupported } else { ErrorKind::NotTrusted };
    let failure = Error::new(kind, format!("`{name}` is not trusted: {why}")).at(place);
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

/// Nobody answered in time.
pub(super) fn slow(peer: &Peer<'_>) -> Error {
    Error::unreachable(format!("{} did not answer in time", peer.server()))
        .at(&peer.place)
        .hint("`--timeout 2m` gives it more time")
}

/// The time is up.
pub(super) fn timed_out(peer: &Peer<'_>, time: Duration) -> Error {
    let seconds = time.as_secs_f64();
    Error::unreachable(format!("no complete answer from `{}` within {seconds:.1} s", peer.name))
        .at(&peer.place)
        .hint("`--timeout 2m` gives it more time")
}

/// Nothing came for too long.
pub(super) fn silent(peer: &Peer<'_>, time: Duration) -> Error {
    let seconds = time.as_secs_f64();
    Error::unreachable(format!("`{}` sent nothing for {seconds:.1} s", peer.name)).at(&peer.place)
}

/// More came than is wanted.
pub(super) fn too_large(url: &Url, limit: u64) -> Error {
    let limit = match limit / 1024 {
        0 => format!("{limit} bytes"),
        kib if kib % 1024 == 0 => format!("{} MiB", kib / 1024),
        kib => format!("{kib} KiB"),
    };
    Error::failed(format!("the answer is larger than {limit}"))
        .at(masked(url))
        .hint("is this the right address?")
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

/// The messages of `error`, outermost first, without that of the HTTP client, which holds the URL.
fn causes(error: &(dyn StdError + 'static)) -> Vec<String> {
    let mut texts = Vec::new();
    let mut next = if error.is::<reqwest::Error>() { error.source() } else { Some(error) };
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    texts
}
