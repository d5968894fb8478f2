//! A certificate authority of the test, and HTTPS servers on loopback with certificates from it. Each server also
//! answers as step-ca does on `/health`, `/root/{fingerprint}` and `/roots`, and counts who connected.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::ca;

/// What a server says on `/`, so that a client's success is not just any answer.
pub(crate) const GREETING: &str = "reached the server of the test";

/// A root with its key, made when the test runs.
pub(crate) struct Authority {
    root: ca::Root,
}

impl Authority {
    /// A fresh root named `name`.
    pub(crate) fn new(name: &str) -> Authority {
        Authority { root: ca::root(name) }
    }

    /// The root as PEM.
    pub(crate) fn pem(&self) -> String {
        self.root.pem.clone()
    }

    /// The root's fingerprint, 64 hex digits.
    pub(crate) fn fingerprint(&self) -> String {
        self.root.pin()
    }

    /// An HTTPS server for `localhost` and `pki.internal`, certified by this root; `files` are paths and bodies beside
    /// those that every server has.
    pub(crate) fn serve(&self, files: &[(&str, String)]) -> Server {
        let key = KeyPair::generate().expect("key");
        let names = ["localhost".to_owned(), "pki.internal".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, "server of the test");
        let certificate = CertificateDer::from(self.root.sign_for(params, &key));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .expect("pair");
        let mut answers = BTreeMap::from([
            ("/".to_owned(), GREETING.to_owned()),
            ("/health".to_owned(), r#"{"status":"ok"}"#.to_owned()),
            ("/root_ca.crt".to_owned(), self.pem()),
            (format!("/root/{}", self.fingerprint()), serde_json::json!({ "ca": self.pem() }).to_string()),
            ("/roots".to_owned(), serde_json::json!({ "crts": [self.pem()] }).to_string()),
        ]);
        answers.extend(files.iter().map(|(path, body)| ((*path).to_owned(), body.clone())));
        Server::start(Arc::new(config), answers)
    }
}

/// A server on a free port of loopback; it lives as long as the test program.
pub(crate) struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(config: Arc<ServerConfig>, answers: BTreeMap<String, String>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let port = listener.local_addr().expect("address").port();
        let server = Server { port, connections: Arc::default(), requests: Arc::default() };
        let (connections, requests, answers) =
            (Arc::clone(&server.connections), Arc::clone(&server.requests), Arc::new(answers));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (config, answers, requests) =
                    (Arc::clone(&config), Arc::clone(&answers), Arc::clone(&requests));
                std::thread::spawn(move || {
                    // A client that does not believe us hangs up in the handshake: no failure of the server.
                    let _ = answer(stream, config, &answers, &requests);
                });
            }
        });
        server
    }

    /// The address of `path` on this server, under the name `localhost`.
    pub(crate) fn url(&self, path: &str) -> String {
        self.url_as("localhost", path)
    }

    /// The address of `path` on this server under `name`.
    pub(crate) fn url_as(&self, name: &str, path: &str) -> String {
        format!("https://{name}:{}{path}", self.port)
    }

    /// How many connections were made so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The paths that were asked for.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("requests").clone()
    }
}

/// Serves one connection: requests without bodies, one after the other.
fn answer(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    answers: &BTreeMap<String, String>,
    requests: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.by_ref().take(8192).read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let (status, body) = match answers.get(&path) {
            Some(body) => ("200 OK", body.as_str()),
            None => ("404 Not Found", "not here"),
        };
        requests.lock().expect("requests").push(path);
        write!(reader.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        reader.get_mut().flush()?;
    }
}
