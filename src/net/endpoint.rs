//! Where a server listens.

use std::fmt;
use std::path::PathBuf;

use url::Url;

use crate::error::{Error, Result};
use crate::text;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A TCP port.
    Tcp {
        /// A name, or an address with or without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A unix socket of this machine.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host, port } => write!(f, "{}:{port}", text::escape(host)),
            Endpoint::Unix(path) => f.write_str(&text::escape(&path.display().to_string())),
        }
    }
}

impl Endpoint {
    /// The address of a TCP port as a URL: what proxies are chosen by.
    pub(super) fn url(host: &str, port: u16) -> Result<Url> {
        let host = bare(host);
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let url = Url::parse(&format!("https://{host}:{port}/"));
        url.map_err(|error| Error::usage("not a host name").at(text::escape(&host)).because(error))
    }
}

/// A host without the brackets of an IPv6 address.
pub(super) fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}
