//! Connections below any protocol: TCP by our own name resolution and proxies, unix sockets, and TLS over either, at
//! once or after a protocol's STARTTLS. The HTTP client has the same routes and the same TLS (`client`).

mod tcp;
mod tls;

use std::error::Error as StdError;
use std::fmt;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

pub use self::tls::TlsStream;
pub(super) use self::tls::{secure, server_name};
pub use super::endpoint::Endpoint;

use super::Net;
use super::failure::{self, Peer};
use super::proxy::Proxy;
use crate::error::Result;

/// Bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin + fmt::Debug {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin + fmt::Debug> Duplex for T {}

/// A connection, whatever it is made of.
pub type Stream = Box<dyn Duplex>;

/// Why a connection could not be made, in the words of whatever failed.
pub(super) type Cause = Box<dyn StdError + Send + Sync>;

/// The way to a TCP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Through the proxy that an https URL of that host would go through.
    Proxies,
    /// Straight there.
    Direct,
}

impl Net {
    /// Connects to `endpoint`, in the time that one attempt may take.
    ///
    /// # Errors
    /// The host is no name, or an unknown one; nobody answers there (in time); the proxy cannot be used.
    pub async fn connect(&self, endpoint: &Endpoint, via: Via) -> Result<Stream> {
        let proxy = match endpoint {
            Endpoint::Tcp { host, port } => {
                let url = Endpoint::url(host, *port)?;
                if via == Via::Proxies { self.proxies.for_url(&url)?.cloned() } else { None }
            }
            Endpoint::Unix(_) => None,
        };
        let peer = Peer::of_endpoint(endpoint, proxy.as_ref());
        match self.attempt(self.dial(endpoint, proxy.as_ref())).await? {
            Some(connected) => connected.map_err(|cause| failure::explain(cause.as_ref(), &peer)),
            None => Err(failure::slow(&peer)),
        }
    }

    /// The same, without a limit on the time for everything, for callers with an explanation of their own.
    pub(super) async fn dial(&self, endpoint: &Endpoint, proxy: Option<&Proxy>) -> Result<Stream, Cause> {
        Ok(match endpoint {
            Endpoint::Tcp { host, port } => {
                Box::new(tcp::connect(self, &Endpoint::url(host, *port)?, proxy).await?)
            }
            Endpoint::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }
}
