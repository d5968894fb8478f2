//! The second half of trustup's work: a certificate from the demo's CA, a TLS server that serves it, and clients with
//! the stores of a root file system that accept that server.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde::Serialize;

use super::{Demo, could_not, expect, inspect_root_file_system, unproven};
use crate::error::{Error, Result};
use crate::net::tls;
use crate::pki::cert::pem;
use crate::pki::key::PrivateKey;
use crate::rootfs::Sysroot;

/// The certificate's name; the client finds it on loopback.
pub(super) const HOST: &str = "web.internal";

/// A silent client is dropped after this.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was proven of enrollment.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct EnrollmentReport {
    /// What the certificate is for.
    pub(crate) name: &'static str,
    /// The stores whose clients accepted a server with the pair.
    pub(crate) accepted_by: Vec<String>,
    /// How many connections the CA saw for it.
    pub(crate) connections: usize,
    /// The second run changed nothing and asked no server.
    pub(crate) second_run_idle: bool,
}

/// Bytes, time of last change and inode of a file.
type FileIdentity = (Vec<u8>, (i64, i64), u64);

impl Demo<'_, '_> {
    /// Enrolls below `scratch`, and asks a server that serves the pair with every store of the root file system
    /// `directory`.
    pub(super) async fn enrollment(&self, scratch: &Path, directory: &Path) -> Result<EnrollmentReport> {
        self.say("");
        self.say(&format!("== a certificate for {HOST}"));
        let sysroot = Sysroot::open(directory)?;
        let password = scratch.join("password");
        private_file(&password, self.ca.password())?;
        expect(self.bootstrap(directory, &[]).await, 0, "bootstrap")?;

        let (cert, key) = (scratch.join("web.pem"), scratch.join("web.key"));
        let connections = self.server.connections();
        let enroll = async || {
            let (url, pin) = (self.server.url(), self.ca.fingerprint().hex());
            let [password, cert, key] = [&password, &cert, &key].map(|path| path.display().to_string());
            let provisioner = self.ca.provisioner();
            #[rustfmt::skip]
            let arguments = [
                "enroll", "provisioner", HOST, "--ca-url", &url, "--fingerprint", &pin,
                "--provisioner", provisioner, "--password-file", &password, "--cert", &cert, "--key", &key,
            ];
            self.run(&arguments).await
        };
        expect(enroll().await, 0, "enroll")?;
        let used = self.server.connections() - connections;
        let first = [see(&cert)?, see(&key)?];

        let pair = PairServer::start(&first[0].0, &first[1].0)?;
        let (_, _, outputs) = inspect_root_file_system(&sysroot)?;
        let url = format!("https://{HOST}:{}", pair.address.port());
        let mut accepted_by = Vec::new();
        for (store, answer) in self.ask_with_every_store(&sysroot, &outputs, &url, "a server with it").await?
        {
            if !answer.accepted {
                return Err(unproven("a client refuses a server with the certificate", &store.path));
            }
            accepted_by.push(store.path);
        }
        if accepted_by.is_empty() {
            return Err(unproven("there is no store to ask with", directory));
        }
        if self.accepts(vec![self.stranger()?], &url).await? {
            return Err(unproven("a client with another root accepted the server", directory));
        }
        self.say("  a client with another root refuses a server with it");

        let connections = self.server.connections();
        expect(enroll().await, 0, "the second run")?;
        if [see(&cert)?, see(&key)?] != first {
            return Err(unproven("the second run changed the pair", scratch));
        }
        if self.server.connections() != connections {
            return Err(unproven("the second run asked the CA, although the pair is good", scratch));
        }
        self.say("  nothing changed, and the CA was not asked");
        expect(self.trustup(directory, &["untrust", "--all"]).await, 0, "untrust")?;
        Ok(EnrollmentReport { name: HOST, accepted_by, connections: used, second_run_idle: true })
    }

    /// The root of another CA.
    fn stranger(&self) -> Result<Vec<u8>> {
        Ok(crate::dev_ca::DevCa::new(self.env)?.root_der().to_vec())
    }
}

fn see(path: &Path) -> Result<FileIdentity> {
    let missing = |_| unproven("enroll ended well, and the file is not there", path);
    let meta = fs::metadata(path).map_err(missing)?;
    Ok((fs::read(path).map_err(missing)?, (meta.mtime(), meta.mtime_nsec()), meta.ino()))
}

fn private_file(path: &Path, content: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(content.as_bytes())).map_err(|error| could_not(path, error))
}

/// A TLS server with a pair, on loopback, until this is dropped. It answers every request with `ok`.
struct PairServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl PairServer {
    /// From the files' contents, as any server reads them.
    fn start(cert: &[u8], key: &[u8]) -> Result<Self> {
        let chain = pem::blocks(cert).into_iter().filter_map(|block| block.der).map(Into::into).collect();
        let key = PrivateKey::from_pem(key)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.pkcs8().to_vec()));
        let config = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| Error::failed("a TLS server cannot use the pair").because(error))?;
        let failed = |error: std::io::Error| Error::failed("could not start a TLS server").because(error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, config) = (Arc::clone(&stop), Arc::new(config));
        let serve = move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A client that refuses the certificate ends the handshake, and that is the answer.
                let _ = stream.and_then(|stream| answer(stream, Arc::clone(&config)));
            }
        };
        let thread =
            std::thread::Builder::new().name("demo-server".to_owned()).spawn(serve).map_err(failed)?;
        Ok(PairServer { address, stop, thread: Some(thread) })
    }
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
