//! A real TLS server on loopback with a certificate of the test's root; it answers every request the same way, so a
//! client that gets the answer has accepted the certificate.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::ca::Root;

/// The body of every answer, unless `serve` gave another. It is a git reference advertisement without references as well (smart HTTP, version 0), so
/// that `git ls-remote` succeeds once it trusts the server.
pub const ANSWER: &str = "001e# service=git-upload-pack\n000000450000000000000000000000000000000000000000 \
                          capabilities^{}\0agent=t\n0000";

/// A server that runs until it is dropped.
pub struct TlsServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    body: Arc<Mutex<String>>,
    thread: Option<JoinHandle<()>>,
}

impl TlsServer {
    /// Starts a server for `localhost` and 127.0.0.1 with a certificate that `root` signed.
    pub fn start(root: &Root) -> TlsServer {
        let key = KeyPair::generate().expect("key");
        let mut params =
            CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names");
        params.distinguished_name.push(DnType::CommonName, "localhost");
        let certificate = CertificateDer::from(root.sign_for(params, &key));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .expect("pair");
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let address = listener.local_addr().expect("address");
        let stop = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(AtomicUsize::new(0));
        let body = Arc::new(Mutex::new(ANSWER.to_owned()));
        let (stopped, counted, answers) = (Arc::clone(&stop), Arc::clone(&accepted), Arc::clone(&body));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (config, counted) = (Arc::clone(&config), Arc::clone(&counted));
                let body = answers.lock().expect("lock").clone();
                // A client that refuses the certificate ends the handshake: no reason to stop serving.
                std::thread::spawn(move || drop(answer(stream, config, &counted, &body)));
            }
        });
        TlsServer { address, stop, accepted, body, thread: Some(thread) }
    }

    /// `https://localhost:PORT/`
    pub fn url(&self) -> String {
        format!("https://localhost:{}/", self.address.port())
    }

    /// `localhost:PORT`
    pub fn authority(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// How many clients have sent a request after a complete handshake.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// What later requests get.
    pub fn serve(&self, body: &str) {
        *self.body.lock().expect("lock") = body.to_owned();
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits in accept().
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn answer(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    accepted: &AtomicUsize,
    body: &str,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.set_write_timeout(Some(Duration::from_secs(20)))?;
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    let mut line = String::new();
    loop {
        line.clear();
        match reader.read_line(&mut line)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            1 | 2 => break,
            _ => {}
        }
    }
    accepted.fetch_add(1, Ordering::SeqCst);
    let mut stream = reader.into_inner();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )?;
    stream.conn.send_close_notify();
    stream.flush()
}
