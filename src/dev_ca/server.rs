//! The CA's HTTPS server: bounded in every direction (threat T26), client certificates are checked if they are
//! presented, and its own certificate is renewed long before it ends.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::api::{ApiRequest, Reply};
use super::authority::DAY;
use super::{DevCa, seconds};
use crate::error::{Error, Result};
use crate::host::runtime;
use crate::net::listener::could_not_listen;
use crate::net::{tls, tls_words};
use crate::pki::cert::SubjectAltName;

const MAX_HEAD: usize = 8 * 1024;
/// A CSR for an RSA key and a token with a chain of certificates take 16 KiB.
const MAX_BODY: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);

/// How the server is reached.
pub(crate) struct ServerSettings {
    /// Its address (port 0: any free port).
    pub(crate) listen: SocketAddr,
    /// Whether that may be something other than loopback.
    pub(crate) other_hosts: bool,
    /// Names of its certificate, beside those of the CA.
    pub(crate) names: Vec<SubjectAltName>,
    /// Gets a line about every certificate that was issued or refused, escaped.
    pub(crate) log: Arc<dyn Fn(&str) + Send + Sync>,
}

/// A running server; it stops when this is dropped.
pub struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What every connection needs.
struct Shared {
    ca: Arc<DevCa>,
    log: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Server {
    /// Serves `ca` at a loopback address, with a server certificate for `names`, on a thread of its own.
    ///
    /// # Errors
    /// An address that is not loopback, a port that is taken.
    pub fn start(ca: Arc<DevCa>, listen: SocketAddr, names: &[&str]) -> Result<Self> {
        let names = names.iter().map(|name| name.parse()).collect::<Result<_>>()?;
        Server::start_with(ca, ServerSettings { listen, other_hosts: false, names, log: Arc::new(|_| {}) })
    }

    /// The same with more options.
    ///
    /// # Errors
    /// An address that is not loopback where that is not allowed, a port that is taken.
    pub(crate) fn start_with(ca: Arc<DevCa>, settings: ServerSettings) -> Result<Self> {
        let address = settings.listen;
        allowed(address, settings.other_hosts)?;
        let failed = |error| could_not_listen("the CA's server", address, error);
        let no_tls = |error| tls_words::could_not_set_up(&error);
        let clients = client_verifier([
            &ca.authority.root().der().to_vec().into(),
            &ca.authority.intermediate().der().to_vec().into(),
        ])
        .map_err(|error| {
            Error::failed("could not set up TLS for the CA").because(anyhow::anyhow!("{error}"))
        })?;
        let certificate = OwnCertificate::new(Arc::clone(&ca), settings.names)?;
        let config =
            ServerConfig::builder_with_details(tls::provider(), Arc::new(tls::Clock(ca.env.clone())))
                .with_safe_default_protocol_versions()
                .map_err(no_tls)?
                .with_client_cert_verifier(clients)
                .with_cert_resolver(Arc::new(certificate));
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let (stop, stopped) = oneshot::channel();
        let (started, has_started) = mpsc::channel();
        let no_server = |error: std::io::Error| {
            Error::failed("could not start the CA's server").at(address).because(error)
        };
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let shared = Arc::new(Shared { ca, log: settings.log });
        let thread = std::thread::Builder::new()
            .name("dev-ca".to_owned())
            .spawn(move || {
                // Made here: the caller may be on a runtime, where no other may be dropped.
                let runtime = match runtime::build() {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(started.send(Err(error))),
                };
                drop(started.send(Ok(())));
                runtime.block_on(async move {
                    tokio::select! {
                        _ = stopped => {}
                        () = accept(listener, &acceptor, &shared, &counter) => {}
                    }
                });
            })
            .map_err(no_server)?;
        has_started.recv().unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(no_server)?;
        Ok(Server { address, connections, stop: Some(stop), thread: Some(thread) })
    }

    /// Its listening address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The CA's URL, by address.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// How many connections it has accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Fails only if the thread is gone already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether a development CA may listen there.
///
/// # Errors
/// It is not loopback, and other hosts were not allowed.
pub(crate) fn allowed(listen: SocketAddr, other_hosts: bool) -> Result<()> {
    if listen.ip().is_loopback() || other_hosts {
        return Ok(());
    }
    Err(Error::usage("the development CA listens on loopback only").at(listen).hint(
        "anyone who can reach it and has its password gets certificates: use `--allow-other-hosts` if you want that, such as for the containers of a compose file",
    ))
}

/// Accepts clients below `anchors`, and clients without a certificate.
pub(super) fn client_verifier<'a>(
    anchors: impl IntoIterator<Item = &'a CertificateDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for anchor in anchors {
        roots.add(anchor.clone())?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))
}

/// The server's own certificate; renewed when a third of its day is left.
struct OwnCertificate {
    ca: Arc<DevCa>,
    names: Vec<SubjectAltName>,
    /// With the moment from which it must be replaced.
    current: Mutex<(Arc<CertifiedKey>, u64)>,
}

impl OwnCertificate {
    fn new(ca: Arc<DevCa>, more: Vec<SubjectAltName>) -> Result<Self> {
        let mut names = ca.authority.names().own();
        for name in more {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let current = Mutex::new(OwnCertificate::make(&ca, &names)?);
        Ok(OwnCertificate { ca, names, current })
    }

    fn make(ca: &DevCa, names: &[SubjectAltName]) -> Result<(Arc<CertifiedKey>, u64)> {
        let now = seconds(&ca.env);
        let issued = ca.authority.serve(names, now)?;
        let key = CertifiedKey::from_der(issued.chain, issued.key, &tls::provider())
            .map_err(|error| tls_words::could_not_set_up(&error))?;
        Ok((Arc::new(key), now + DAY * 2 / 3))
    }

    fn get(&self) -> Arc<CertifiedKey> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if seconds(&self.ca.env) >= current.1
            && let Ok(next) = OwnCertificate::make(&self.ca, &self.names)
        {
            *current = next;
        }
        Arc::clone(&current.0)
    }
}

impl fmt::Debug for OwnCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnCertificate({:?})", self.names)
    }
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}

/// Serves every connection until it is dropped.
async fn accept(listener: TcpListener, acceptor: &TlsAcceptor, shared: &Arc<Shared>, counter: &AtomicUsize) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let connection = |stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        serve(stream, acceptor.clone(), Arc::clone(shared))
    };
    crate::net::listener::accept(listener, connection).await;
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    // A peer that does not finish its handshake, or sends nonsense, is simply dropped.
    let Ok(Ok(stream)) = timeout(PATIENCE, acceptor.accept(stream)).await else { return };
    let client = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (shared, client) = (Arc::clone(&shared), client.clone());
        async move { Ok::<_, std::convert::Infallible>(respond(&shared, client.as_ref(), request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    drop(served);
}

async fn respond(
    shared: &Shared,
    client: Option<&CertificateDer<'static>>,
    request: hyper::Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = if head.method == Method::POST {
        match read_body(body).await {
            Some(body) => body,
            None => return Reply::bad("error reading request body").into_response(),
        }
    } else {
        Bytes::new()
    };
    let request = ApiRequest {
        method: &head.method,
        path: head.uri.path(),
        query: head.uri.query(),
        body: &body,
        client,
    };
    let reply = shared.ca.answer(&request);
    if let Some(note) = &reply.note {
        (shared.log)(&format!("{} {}: {note}", head.uri.path(), reply.status.as_u16()));
    }
    reply.into_response()
}

/// `None` if it is too large, too slow or broken; a body announced as too large is not waited for.
async fn read_body(body: Incoming) -> Option<Bytes> {
    if body.size_hint().lower() > MAX_BODY as u64 {
        return None;
    }
    Some(timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await.ok()?.ok()?.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::env::Env;

    #[test]
    fn only_loopback_is_bound_unless_it_is_allowed() {
        let ca = Arc::new(DevCa::new(&Env::fixed([], 1_800_000_000)).expect("CA"));
        let address = "0.0.0.0:0".parse().expect("address");
        let refused = Server::start(Arc::clone(&ca), address, &["localhost"]);
        assert_eq!(refused.err().map(|error| error.kind().exit_code()), Some(2));
        let settings =
            ServerSettings { listen: address, other_hosts: true, names: Vec::new(), log: Arc::new(|_| {}) };
        assert!(Server::start_with(ca, settings).is_ok());
    }

    #[test]
    fn its_own_certificate_is_new_before_it_ends() {
        let at = |now: i64| Arc::new(DevCa::new(&Env::fixed([], now)).expect("CA"));
        let (then, now) = (1_800_000_000, 1_800_000_000 + 16 * 3600);
        let mut own = OwnCertificate::new(at(then), Vec::new()).expect("certificate");
        let first = own.get();
        assert!(Arc::ptr_eq(&first, &own.get()));
        own.ca = at(now - 1);
        assert!(Arc::ptr_eq(&first, &own.get()), "it has eight hours left");
        own.ca = at(now);
        let second = own.get();
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &own.get()));
    }
}
