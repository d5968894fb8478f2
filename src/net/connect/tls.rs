//! TLS over a connection that is there already.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::{Endpoint, Stream};
use crate::error::{Error, Result};
use crate::net::Net;
use crate::net::endpoint::bare;
use crate::net::failure::{self, Peer};
use crate::net::tls::{self, Credentials};
use crate::text;

/// A connection secured with TLS.
pub type TlsStream = tokio_rustls::client::TlsStream<Stream>;

impl Net {
    /// Secures the connection `stream` to `endpoint`, whose server must have a certificate for `name`: a DNS name, or an
    /// address with or without brackets. A server that refuses our certificate says so when it is read from (TLS 1.3).
    ///
    /// # Errors
    /// `name` is neither; no root can be used; the server is not trusted, does not speak TLS or does not answer in time.
    pub async fn start_tls(
        &self,
        stream: Stream,
        endpoint: &Endpoint,
        name: &str,
        credentials: &Credentials,
    ) -> Result<TlsStream> {
        let config = tls::client_config(credentials, &self.env)?;
        let peer = Peer::of_endpoint(endpoint, None).called(bare(name)).trusted_by(&credentials.trust);
        match self.attempt(secure(stream, server_name(name)?, config)).await? {
            Some(secured) => secured.map_err(|error| failure::explain(&error, &peer)),
            None => Err(failure::slow(&peer)),
        }
    }
}

/// The handshake.
pub(in crate::net) async fn secure(
    stream: Stream,
    name: ServerName<'static>,
    config: ClientConfig,
) -> io::Result<TlsStream> {
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// A host as TLS names it.
pub(in crate::net) fn server_name(host: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(bare(host).to_owned())
        .map_err(|error| Error::usage("not a host name").at(text::escape(host)).because(error))
}
