//! The server of `--connect`: a URL, or host and port.

use url::Url;

use crate::error::{Error, Result};
use crate::text;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// In ASCII, without a final dot; an IPv6 address in brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Target {
    /// `host:port`, for people.
    pub(super) fn shown(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Reads `https://ca.internal/health`, `ca.internal:9000` or `[::1]:443`. Of a URL only host and port count.
///
/// # Errors
/// It is neither, or it is a URL without TLS.
pub(super) fn target(text: &str) -> Result<Target> {
    let text = text.trim();
    let wrong = || {
        Error::usage("`--connect` needs HOST:PORT or a URL with https")
            .at(text::mask_url(text))
            .hint("for example `--connect ca.internal:9000`, `--connect https://ca.internal/`, or `[::1]:443` for an IPv6 address")
    };
    let url = match text.split_once("://") {
        Some((scheme, rest)) if !scheme.eq_ignore_ascii_case("https") => {
            let error = Error::usage(format!(
                "`--connect` asks a server that speaks TLS, and `{}://` does not say that",
                text::escape(scheme)
            ))
            .at(text::mask_url(text));
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let server = text::escape(host.rsplit('@').next().unwrap_or_default());
            // The colons of `[::1]` are of the host.
            let port = server.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
            let host = port.map_or(server.as_str(), |(host, _)| host);
            return Err(if host.is_empty() {
                error.hint("for example `--connect https://ca.internal/`")
            } else if port.is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
                error.hint(format!("if TLS listens on that port: `--connect {server}`"))
            } else {
                error.hint(format!(
                    "with HTTPS: `--connect https://{host}/`; with another protocol: `--connect {host}:PORT`"
                ))
            });
        }
        Some(_) => text.to_owned(),
        None => {
            // Without a scheme nothing says which port is meant.
            let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            let port = port.and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none() {
                let bare = !text.is_empty()
                    && text.chars().all(|char| char.is_alphanumeric() || "-._".contains(char));
                return Err(if bare {
                    wrong().hint(format!("without a port write `--connect https://{text}/` for port 443"))
                } else {
                    wrong()
                });
            }
            format!("https://{text}")
        }
    };
    let url = Url::parse(&url).map_err(|error| wrong().because(error))?;
    let port = url.port_or_known_default().filter(|port| *port != 0);
    let host =
        url.host_str().map(|host| host.strip_suffix('.').unwrap_or(host)).filter(|host| !host.is_empty());
    let (Some(host), Some(port)) = (host, port) else { return Err(wrong()) };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::usage("`--connect` takes no user name")
            .at(text::mask_url(text))
            .hint("omit the part before `@`"));
    }
    Ok(Target { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_authorities() {
        for (text, host, port) in [
            ("ca.internal:9000", "ca.internal", 9000),
            ("CA.Internal.:9000", "ca.internal", 9000),
            ("https://ca.internal/", "ca.internal", 443),
            ("https://ca.internal", "ca.internal", 443),
            ("HTTPS://ca.internal:8443/health?x=1#y", "ca.internal", 8443),
            ("[::1]:443", "[::1]", 443),
            ("https://[::1]/", "[::1]", 443),
            ("127.0.0.1:443", "127.0.0.1", 443),
            ("https://bücher.example/", "xn--bcher-kva.example", 443),
            ("bücher.example:8443", "xn--bcher-kva.example", 8443),
            (" ca.internal:443 ", "ca.internal", 443),
        ] {
            assert_eq!(target(text).unwrap(), Target { host: host.to_owned(), port }, "{text}");
        }
    }

    #[test]
    fn what_names_no_tls_server_is_refused_in_words() {
        for (text, hint) in [
            ("localhost", "https://localhost/"),
            ("localhost:0", "HOST:PORT"),
            ("localhost:http", "ca.internal:9000"),
            (":443", "ca.internal:9000"),
            ("a b:443", "ca.internal:9000"),
            ("", "ca.internal:9000"),
            ("::1", "[::1]:443"),
            ("https://", "ca.internal:9000"),
            ("ca.internal:8443/path", "https://ca.internal/"),
            ("http://ca.internal/", "`--connect https://ca.internal/`"),
            ("http://ca.internal:8080/", "`--connect ca.internal:8080`"),
            ("ldaps://ca.internal", "`--connect ca.internal:PORT`"),
            ("ldaps://ca.internal:ldaps", "`--connect https://ca.internal/`"),
            ("http://[::1]/", "`--connect [::1]:PORT`"),
            ("http://[::1]:8080/", "`--connect [::1]:8080`"),
            ("http://:8080/", "`--connect https://ca.internal/`"),
            ("https://user:secret@ca.internal/", "before `@`"),
        ] {
            let error = target(text).unwrap_err();
            let said = format!("{error}; {}", error.hints().join("; "));
            assert!(said.contains(hint) && !said.contains("secret"), "{text}: {said}");
            assert_eq!(error.kind().exit_code(), 2);
        }
    }
}
