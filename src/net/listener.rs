//! Connections to a listener that any client may open: at most 64 at a time, and a time limit for each (threat T26).
//! The caller handles the protocol.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::error::Error;
use crate::host::privilege;

/// How long a connection may last.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_CONNECTIONS: usize = 64;
/// How many may wait to be accepted: a burst is let in and sorted out.
const BACKLOG: u32 = 1024;

/// A listener at work; it and its connections end when this is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    task: AbortHandle,
}

impl Listener {
    /// Reads `ADDRESS:PORT`, or `:PORT` for that port on all addresses, which is `[::]:PORT`. `None` if it is neither.
    pub(crate) fn parse(text: &str) -> Option<SocketAddr> {
        let Some(port) = text.strip_prefix(':') else { return text.parse().ok() };
        Some(Listener::all(port.parse().ok()?))
    }

    /// `port` on all addresses of this machine.
    pub(crate) fn all(port: u16) -> SocketAddr {
        (Ipv6Addr::UNSPECIFIED, port).into()
    }

    /// Binds `address`; `[::]` covers both families, as far as available. Must be called inside a tokio runtime.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        match Listener::bind_one(address) {
            // No IPv6 on this system.
            Err(error)
                if address.ip() == Ipv6Addr::UNSPECIFIED
                    && !matches!(
                        error.kind(),
                        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
                    ) =>
            {
                Listener::bind_one((Ipv4Addr::UNSPECIFIED, address.port()).into())
            }
            bound => bound,
        }
    }

    fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A listener that ended a moment ago does not hold the port.
        socket.set_reuseaddr(true)?;
        if address.ip() == Ipv6Addr::UNSPECIFIED {
            // Some systems have another default (`net.ipv6.bindv6only`).
            rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
        }
        socket.bind(address)?;
        socket.listen(BACKLOG)
    }

    /// Has every connection handled by `handle`, for 5 seconds.
    pub(crate) fn start<H, F>(listener: TcpListener, handle: H) -> io::Result<Self>
    where
        H: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr()?;
        let limited = move |stream| {
            let served = timeout(CONNECTION_TIMEOUT, handle(stream));
            // A peer that is too slow is simply dropped.
            async move { drop(served.await) }
        };
        let task = tokio::spawn(accept(listener, limited)).abort_handle();
        Ok(Listener { address, task })
    }

    /// Its listening address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The error that `what` could not listen at `address`, which `--listen` sets.
pub(crate) fn could_not_listen(what: &str, address: SocketAddr, error: io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program uses that port: stop it, or listen on another port (`--listen 127.0.0.1:0` is any free one)"
        }
        io::ErrorKind::PermissionDenied if privilege::is_root() => {
            "ports below 1024 need a capability that root lacks here: `--cap-add NET_BIND_SERVICE`; or listen on another port (`--listen 127.0.0.1:8443`)"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need root: listen on another port (`--listen 127.0.0.1:8443`)"
        }
        _ => "does the address belong to this machine? `--listen ADDRESS:PORT` chooses another",
    };
    Error::failed(format!("could not start {what}")).at(address).because(error).hint(hint)
}

/// Has every connection handled by `handle`, which limits its time, until this is dropped; then all of them end. At the
/// limit the oldest connection is dropped: many slow ones cannot lock a quick one out.
pub(crate) async fn accept<H, F>(listener: TcpListener, handle: H)
where
    H: Fn(TcpStream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, or the peer is already gone: neither ends the listener.
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        open.retain(|connection| !connection.is_finished());
        if open.len() >= MAX_CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(connections.spawn(handle(stream)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let parsed = |text| Listener::parse(text).map(|address| address.to_string());
        assert_eq!(parsed("127.0.0.1:8080").as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(parsed("[::1]:80").as_deref(), Some("[::1]:80"));
        assert_eq!(parsed(":80").as_deref(), Some("[::]:80"));
        for none in ["", ":", "80", ":65536", ":http", "localhost:80", "::80"] {
            assert_eq!(parsed(none), None, "{none}");
        }
    }
}
