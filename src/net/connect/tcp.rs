//! TCP as the HTTP client has it, by the same connectors: addresses of both families raced (RFC 8305), tunnels of HTTP
//! proxies, SOCKS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tower_service::Service;
use url::Url;

use super::Cause;
use crate::net::Net;
use crate::net::dns::Resolver;
use crate::net::proxy::Proxy;

/// Connects to the host and port of `url`.
pub(super) async fn connect(net: &Net, url: &Url, proxy: Option<&Proxy>) -> Result<TcpStream, Cause> {
    let mut tcp = HttpConnector::new_with_resolver(Resolver(net.dns.clone()));
    // Not only URLs of http: those of SOCKS proxies as well.
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(net.connect_timeout()));
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
    let Some(proxy) = proxy else {
        return Ok(tcp.call(target(host, port)?).await?.into_inner());
    };
    let target = match proxy.resolves_here() {
        true => match net.dns.lookup(host.trim_matches(['[', ']'])).await?.first() {
            Some(address) if address.is_ipv6() => target(&format!("[{address}]"), port)?,
            Some(address) => target(&address.to_string(), port)?,
            None => target(host, port)?,
        },
        false => target(host, port)?,
    };
    let matcher = Matcher::builder().all(proxy.url().as_str()).build();
    let through = matcher.intercept(&target).ok_or("the proxy's address cannot be used")?;
    let at = through.uri().clone();
    let tcp = ToProxy(tcp);
    let connected = match proxy.url().scheme() {
        "socks4" | "socks4a" => SocksV4::new(at, tcp).call(target).await?,
        "socks5" | "socks5h" => match through.raw_auth() {
            Some((user, password)) => {
                SocksV5::new(at, tcp).with_auth(user.to_owned(), password.to_owned()).call(target).await?
            }
            None => SocksV5::new(at, tcp).call(target).await?,
        },
        _ => match through.basic_auth() {
            Some(login) => Tunnel::new(at, tcp).with_auth(login.clone()).call(target).await?,
            None => Tunnel::new(at, tcp).call(target).await?,
        },
    };
    Ok(connected.into_inner().0)
}

fn target(host: &str, port: u16) -> Result<Uri, Cause> {
    Ok(format!("https://{host}:{port}").parse()?)
}

/// Connects to a proxy.
#[derive(Clone)]
struct ToProxy(HttpConnector<Resolver>);

impl Service<Uri> for ToProxy {
    type Response = TokioIo<ByteWise>;
    type Error = Cause;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Cause>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, proxy: Uri) -> Self::Future {
        let connecting = self.0.call(proxy);
        Box::pin(async move { Ok(TokioIo::new(ByteWise(connecting.await?.into_inner()))) })
    }
}

/// Read one byte at a time: tunnels and SOCKS drop what they read beyond the proxy's answer, and with it the greeting of
/// a server that speaks first.
struct ByteWise(TcpStream);

impl AsyncRead for ByteWise {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut byte = [0];
        let mut read = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.0).poll_read(context, &mut read))?;
        buffer.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ByteWise {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
