//! One server, asked as often as needed over the same connections: every limit on time and size, no redirects, and
//! every status is an answer. The caller decides what an answer means, and whether to ask again.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use reqwest::tls::TlsInfo;
use reqwest::{Method, Response};
use url::Url;

use super::failure::{self, Peer};
use super::proxy::Proxy;
use super::tls::{self, Credentials};
use super::url::masked;
use super::{FetchAnswer, MAX_BODY, Net};
use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::host::shutdown::Shutdown;

/// How much to read of an unsuccessful answer, by default.
pub(super) const MAX_MESSAGE: u64 = 16 * 1024;

/// A request.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// GET, HEAD, POST or PUT.
    pub method: Method,
    /// Absolute.
    pub url: Url,
    /// In addition to those that are always sent (`User-Agent`, `Host`, `Content-Length`).
    pub headers: HeaderMap,
    /// Empty for none.
    pub body: Vec<u8>,
    /// The largest body of a success that is read, in bytes; of any answer that is read in pieces.
    pub limit: u64,
    /// How much is read of the body of any other answer, in bytes: for its message only.
    pub message_limit: u64,
}

impl HttpRequest {
    /// A GET of `url`.
    pub fn get(url: Url) -> Self {
        let (method, headers) = (Method::GET, HeaderMap::new());
        HttpRequest { method, url, headers, body: Vec::new(), limit: MAX_BODY, message_limit: MAX_MESSAGE }
    }

    /// A POST of `body` to `url`.
    pub fn post(url: Url, body: Vec<u8>) -> Self {
        HttpRequest { method: Method::POST, body, ..HttpRequest::get(url) }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub struct Broken {
    /// The error to report; of kind `Unreachable` if asking again may help.
    pub error: Error,
    /// Whether the request may have reached the server: a one-time token in it may be spent.
    pub sent: bool,
}

/// The client for the server of one address. It may be kept for as long as the process runs; a clone uses the same
/// connections.
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) net: Net,
    http: reqwest::Client,
    credentials: Credentials,
    proxy: Option<Proxy>,
    /// The unix socket that the server listens on, whatever the URL's host.
    socket: Option<PathBuf>,
}

impl Net {
    /// A client for the server of `base`; proxies as for that address. Its connections are reused.
    ///
    /// # Errors
    /// None of the roots can be used; the proxy for that address cannot.
    pub fn client(&self, base: &Url, credentials: impl Into<Credentials>) -> Result<Client> {
        self.client_with(self.proxies.for_url(base)?.cloned(), None, credentials.into())
    }

    /// A client for the server that listens on the unix socket at `socket`: plain for http URLs, TLS for https URLs, and
    /// their host is only what the server is told. No proxy, and its connections are reused.
    ///
    /// # Errors
    /// None of the roots can be used.
    pub fn client_at(&self, socket: &Path, credentials: impl Into<Credentials>) -> Result<Client> {
        self.client_with(None, Some(socket.to_owned()), credentials.into())
    }

    fn client_with(
        &self,
        proxy: Option<Proxy>,
        socket: Option<PathBuf>,
        credentials: Credentials,
    ) -> Result<Client> {
        let failed = |error: reqwest::Error| {
            Error::failed("could not set up the HTTP client").because(error.without_url())
        };
        let mut config = tls::client_config(&credentials, &self.env)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // `no_proxy` first: otherwise the client reads the process's variables itself.
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .tls_info(true)
            .referer(false)
            .http1_only()
            .connect_timeout(self.connect_timeout())
            .user_agent(concat!("trustup/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(super::dns::Resolver(self.dns.clone()))
            .tls_backend_preconfigured(config);
        if let Some(proxy) = &proxy {
            builder = builder.proxy(reqwest::Proxy::all(proxy.url().clone()).map_err(failed)?);
        }
        if let Some(socket) = &socket {
            builder = builder.unix_socket(socket.as_path());
        }
        let http = builder.build().map_err(failed)?;
        Ok(Client { net: self.clone(), http, credentials, proxy, socket })
    }
}

/// Refuses a body that cannot be compared with a pin as it is.
///
/// # Errors
/// It is compressed.
pub(super) fn refuse_compressed(url: &Url, response: &Response) -> Result<()> {
    let encoding = response.headers().get(CONTENT_ENCODING);
    if response.status().is_success() && encoding.is_some_and(|encoding| encoding != "identity") {
        return Err(Error::failed("the answer is compressed, although compression was not requested")
            .at(masked(url))
            .hint("serve the file as it is"));
    }
    Ok(())
}

impl Client {
    /// The same client, with its connections, for work that begins now and has `time` for all its requests together.
    #[must_use]
    pub fn within(&self, time: Duration) -> Self {
        Client { net: self.net.within(time, None), ..self.clone() }
    }

    /// The server of a URL, for messages.
    pub(super) fn peer(&self, url: &Url) -> Peer<'_> {
        Peer::of_url(url, self.socket.as_deref(), self.proxy.as_ref()).trusted_by(&self.credentials.trust)
    }

    /// Sends one request, once. Every status is an answer.
    ///
    /// # Errors
    /// No answer in time, one that is too large, compressed or not HTTP, or a server that is not trusted.
    pub async fn send(&self, request: HttpRequest) -> Result<FetchAnswer, Broken> {
        let url = request.url.clone();
        let attempt = async {
            let limits = (request.limit, request.message_limit);
            let response = self.begin(request, None).await?;
            self.read(url.clone(), response, limits).await.map_err(|error| Broken { error, sent: true })
        };
        match self.net.attempt(attempt).await {
            Ok(Some(done)) => done,
            Ok(None) => {
                Err(Broken { error: failure::timed_out(&self.peer(&url), self.net.timeout), sent: true })
            }
            Err(error) => Err(Broken { error, sent: true }),
        }
    }

    /// The time left for the work that requests belong to ([`Net::within`]).
    pub(crate) fn left(&self) -> std::time::Duration {
        self.net.left()
    }

    /// Variables and clock of this run.
    pub(crate) fn env(&self) -> &Env {
        &self.net.env
    }

    /// What ends every wait.
    pub(crate) fn shutdown(&self) -> &Shutdown {
        &self.net.shutdown
    }

    /// The addresses of a host that is not part of a URL (a name server), as for URLs.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>> {
        self.net.dns.lookup(host).await.map_err(|error| {
            let hint = error.hint();
            Error::unreachable("could not resolve the host's name").because(error).hint(hint)
        })
    }

    /// Sends the request, with `upload` in place of its body if there is one, and waits for the head of the answer.
    pub(super) async fn begin(
        &self,
        request: HttpRequest,
        upload: Option<reqwest::Body>,
    ) -> Result<Response, Broken> {
        let HttpRequest { method, url, headers, body, .. } = request;
        let mut sending = self.http.request(method, url.clone()).headers(headers);
        if let Some(body) = upload.or_else(|| (!body.is_empty()).then(|| body.into())) {
            sending = sending.body(body);
        }
        sending.send().await.map_err(|error| Broken {
            error: failure::explain(&error, &self.peer(&url)),
            sent: !error.is_connect(),
        })
    }

    /// Reads the body, counting; the limits are those of a success and of anything else.
    pub(super) async fn read(
        &self,
        url: Url,
        mut response: Response,
        limits: (u64, u64),
    ) -> Result<FetchAnswer> {
        let status = response.status().as_u16();
        let is_success = response.status().is_success();
        let limit = if is_success { limits.0 } else { limits.1 };
        refuse_compressed(&url, &response)?;
        if is_success && response.content_length().is_some_and(|length| length > limit) {
            return Err(failure::too_large(&url, limit));
        }
        let mut body = Vec::new();
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                // The status is sufficient if the message cannot be read.
                Err(_) if !is_success => break,
                Err(error) => {
                    return Err(failure::explain(&error, &self.peer(&url)));
                }
            };
            if (body.len() as u64).saturating_add(chunk.len() as u64) > limit {
                if is_success {
                    return Err(failure::too_large(&url, limit));
                }
                break;
            }
            body.extend_from_slice(&chunk);
        }
        let server = response.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate);
        let server = server.map(<[u8]>::to_vec);
        let headers = std::mem::take(response.headers_mut());
        Ok(FetchAnswer { url, status, headers, body, server })
    }
}
