//! The service of the demo: a TLS server with a pair of files, and a client that says which certificate is served.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::could_not;
use crate::error::{Error, Result};
use crate::net::tls;
use crate::pki::cert::{Certificate, pem};
use crate::pki::key::PrivateKey;

/// A silent peer is dropped after this.
const PATIENCE: Duration = Duration::from_secs(5);

/// A TLS server with the pair in two files, on loopback, until this is dropped. It reads them anew for every client, as a
/// service does that was told to reload, and answers every request with `ok`.
pub(super) struct PairServer {
    pub(super) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl PairServer {
    /// Starts it with a pair that works now.
    pub(super) fn start(cert: &Path, key: &Path) -> Result<Self> {
        let files = [cert.to_owned(), key.to_owned()];
        configuration(&files)?;
        let failed = |error: std::io::Error| Error::failed("could not start a TLS server").because(error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let serve = move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A client that refuses the certificate ends the handshake, and that is the answer.
                if let (Ok(stream), Ok(config)) = (stream, configuration(&files)) {
                    let _ = answer(stream, config);
                }
            }
        };
        let thread =
            std::thread::Builder::new().name("demo-server".to_owned()).spawn(serve).map_err(failed)?;
        Ok(PairServer { address, stop, thread: Some(thread) })
    }
}

/// From the files' contents, as any server reads them.
fn configuration([cert, key]: &[PathBuf; 2]) -> Result<Arc<ServerConfig>> {
    let read = |path: &PathBuf| fs::read(path).map_err(|error| could_not(path, error));
    let chain = pem::blocks(&read(cert)?).into_iter().filter_map(|block| block.der).map(Into::into).collect();
    let key = PrivateKey::from_pem(&read(key)?)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.pkcs8().to_vec()));
    let config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    config.map(Arc::new).map_err(|error| Error::failed("a TLS server cannot use the pair").because(error))
}

impl Drop for PairServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread waiting for a client.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(stream: TcpStream, config: Arc<ServerConfig>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16 * 1024 {
        match stream.read(&mut part)? {
            0 => return Ok(()),
            count => head.extend_from_slice(&part[..count]),
        }
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// The certificate that a client of `host` is shown at `address`, which trusts `root` (DER) alone.
///
/// # Errors
/// The server cannot be reached, or the client refuses it.
pub(super) fn served(address: SocketAddr, host: &'static str, root: &[u8]) -> Result<Certificate> {
    let failed = |error: std::io::Error| Error::failed("a client refuses the server").because(error);
    let mut roots = RootCertStore::empty();
    roots.add(root.to_vec().into()).map_err(|error| failed(std::io::Error::other(error)))?;
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
        .map_err(|error| failed(std::io::Error::other(error)))?;
    let name = ServerName::try_from(host).map_err(|error| failed(std::io::Error::other(error)))?;
    let mut client = ClientConnection::new(Arc::new(config), name)
        .map_err(|error| failed(std::io::Error::other(error)))?;
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    while client.is_handshaking() {
        client.complete_io(&mut stream).map_err(failed)?;
    }
    let leaf = client.peer_certificates().and_then(<[_]>::first);
    let leaf = leaf.ok_or_else(|| Error::failed("the server showed no certificate"))?;
    Certificate::from_der(leaf).map_err(|why| {
        Error::failed("the server's certificate cannot be read").because(anyhow::anyhow!("{why}"))
    })
}
