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

const GIT: &str = "application/x-git-upload-pack-advertisement";

/// What every request gets.
#[derive(Clone)]
struct Answer {
    status: &'static str,
    kind: &'static str,
    body: String,
}

/// A server that runs until it is dropped.
pub struct TlsServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    body: Arc<Mutex<Answer>>,
    thread: Option<JoinHandle<()>>,
}

impl TlsServer {
    /// Starts a server for `localhost` and 127.0.0.1 with a certificate that `root` signed.
    pub fn start(root: &Root) -> TlsServer {
        let key = KeyPair::generate().expect("key");
        let mut params =
            CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names");
        params.distinguished_name.push(DnType::CommonName, "localhost");
        TlsServer::with(root.sign_for(params, &key), &key)
    }

    /// Starts a server with this certificate (DER).
    pub fn with(certificate: Vec<u8>, key: &KeyPair) -> TlsServer {
        let certificate = CertificateDer::from(certificate);
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
        let requests = Arc::new(Mutex::new(Vec::new()));
        let body = Arc::new(Mutex::new(Answer { status: "200 OK", kind: GIT, body: ANSWER.to_owned() }));
        let (stopped, counted, answers) = (Arc::clone(&stop), Arc::clone(&accepted), Arc::clone(&body));
        let refused = Arc::new(AtomicUsize::new(0));
        let (seen, ended) = (Arc::clone(&requests), Arc::clone(&refused));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (config, counted, seen) = (Arc::clone(&config), Arc::clone(&counted), Arc::clone(&seen));
                let ended = Arc::clone(&ended);
                let body = answers.lock().expect("lock").clone();
                // A client that refuses the certificate ends the handshake: no reason to stop serving.
                std::thread::spawn(move || {
                    if let Err(error) = answer(stream, config, &counted, &seen, &body)
                        && is_alert(&error)
                    {
                        ended.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        TlsServer { address, stop, accepted, refused, requests, body, thread: Some(thread) }
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

    /// How many clients have said, in an alert of TLS, that they do not go on.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// What later requests get.
    pub fn serve(&self, body: &str) {
        self.body.lock().expect("lock").body = body.to_owned();
    }

    /// A page of HTML for later requests.
    pub fn serve_page(&self, html: &str) {
        let body = html.to_owned();
        *self.body.lock().expect("lock") =
            Answer { status: "200 OK", kind: "text/html; charset=utf-8", body };
    }

    /// An internal error for later requests.
    pub fn serve_error(&self) {
        let (kind, body) = ("text/plain", "database is closed".to_owned());
        *self.body.lock().expect("lock") = Answer { status: "500 Internal Server Error", kind, body };
    }

    /// How often a client has asked for this path.
    pub fn asked_for(&self, path: &str) -> usize {
        let wanted = format!("GET {path} ");
        self.requests.lock().expect("lock").iter().filter(|line| line.starts_with(&wanted)).count()
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

fn is_alert(error: &std::io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::AlertReceived(_)))
}

fn answer(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    accepted: &AtomicUsize,
    requests: &Mutex<Vec<String>>,
    answer: &Answer,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.set_write_timeout(Some(Duration::from_secs(20)))?;
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let request = line.clone();
    loop {
        line.clear();
        match reader.read_line(&mut line)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            1 | 2 => break,
            _ => {}
        }
    }
    accepted.fetch_add(1, Ordering::SeqCst);
    requests.lock().expect("lock").push(request);
    let mut stream = reader.into_inner();
    write!(
        stream,
        "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
        answer.status,
        answer.kind,
        answer.body.len(),
        answer.body
    )?;
    stream.conn.send_close_notify();
    stream.flush()
}
