//! A server that takes connections and says nothing, for what has to end while it waits.

use std::net::{SocketAddr, TcpListener, TcpStream};

/// Listens until it is dropped.
#[derive(Debug)]
pub struct SilentServer(TcpListener);

impl SilentServer {
    pub fn start() -> SilentServer {
        SilentServer(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("address")
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address())
    }

    /// Waits until somebody asks; they wait as long as the stream lives.
    pub fn asked(&self) -> TcpStream {
        self.0.accept().expect("a connection").0
    }

    /// Whether somebody asked (again) in the meantime.
    pub fn is_asked(&self) -> bool {
        self.0.set_nonblocking(true).expect("nonblocking");
        let asked = self.0.accept().is_ok();
        self.0.set_nonblocking(false).expect("blocking");
        asked
    }
}
