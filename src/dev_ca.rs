//! A throwaway certificate authority inside this process, for `demo` and for tests: a root that lives 30 days and
//! may only name local things (threat T25), an intermediate, server certificates, and an HTTPS server on loopback
//! that answers as step-ca does. Keys exist in memory only, and are gone with the process.
//!
//! Must not be reachable from another machine: the server refuses to bind anything but loopback.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::cert::pem;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::net::tls;

const DAY: u64 = 24 * 60 * 60;
const ROOT_DAYS: u64 = 30;
/// How far certificates are backdated, as step-ca does: clocks differ.
const BACKDATE: u64 = 60;

/// Limits of the server (threat T26).
const MAX_HEAD: usize = 8 * 1024;
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_CONNECTIONS: usize = 64;

/// The domains that the root may vouch for; every name below them too (RFC 5280 section 4.2.1.10).
const DOMAINS: [&str; 3] = ["localhost", "test", "internal"];

/// The authority: a root and an intermediate.
pub struct DevCa {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
    now: u64,
}

/// A certificate with its chain and its key.
pub struct Issued {
    /// Leaf first, then the intermediate; the root is not part of it.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS#8.
    pub key: PrivateKeyDer<'static>,
}

impl DevCa {
    /// Makes a new root and intermediate (EC P-256), valid from now on.
    pub fn new(env: &Env) -> Result<Self> {
        let now = u64::try_from(env.now()).unwrap_or_default();
        Self::generate(now).map_err(|error| Error::failed("could not make the demo CA").because(error))
    }

    fn generate(now: u64) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        // Random because the key is: two demo CAs never share a subject.
        let name = Fingerprint::of(key.public_key_raw()).short(8);
        let mut params = authority(&format!("trustup demo CA {name}"), 1);
        validity(&mut params, now, ROOT_DAYS * DAY);
        let address = |address: IpAddr| {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, bits))
        };
        let domains = DOMAINS.iter().map(|domain| GeneralSubtree::DnsName((*domain).to_owned()));
        let addresses = [IpAddr::from([127, 0, 0, 1]), IpAddr::from(std::net::Ipv6Addr::LOCALHOST)];
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: domains.chain(addresses.map(address)).collect(),
            excluded_subtrees: Vec::new(),
        });
        let root = CertifiedIssuer::self_signed(params, key)?;

        let mut params = authority(&format!("trustup demo intermediate {name}"), 0);
        validity(&mut params, now, ROOT_DAYS * DAY);
        params.use_authority_key_identifier_extension = true;
        let intermediate = CertifiedIssuer::signed_by(params, KeyPair::generate()?, &root)?;
        Ok(DevCa { root, intermediate, now })
    }

    /// The root's DER.
    pub fn root_der(&self) -> &CertificateDer<'static> {
        self.root.der()
    }

    /// The root as PEM.
    pub fn root_pem(&self) -> String {
        pem::encode(self.root_der())
    }

    /// What `step certificate fingerprint root_ca.crt` would print.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.root_der())
    }

    /// Issues a server certificate for `names` (DNS names and IP addresses) that lives a day.
    pub fn issue(&self, names: &[&str]) -> Result<Issued> {
        let issue = || -> Result<Issued, rcgen::Error> {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut params = CertificateParams::new(names)?;
            validity(&mut params, self.now, DAY);
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.use_authority_key_identifier_extension = true;
            let key = KeyPair::generate()?;
            let leaf = params.signed_by(&key, &self.intermediate)?;
            Ok(Issued {
                chain: vec![leaf.der().clone(), self.intermediate.der().clone()],
                key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            })
        };
        issue().map_err(|error| Error::failed("the demo CA could not issue a certificate").because(error))
    }

    /// What the CA answers to a path of step-ca's interface, with or without `/1.0` in front.
    fn answer(&self, path: &str) -> Reply {
        let path = path.strip_prefix("/1.0").filter(|rest| rest.starts_with('/')).unwrap_or(path);
        match path {
            "/health" => Reply::json(200, &serde_json::json!({ "status": "ok" })),
            // 201 is what the real one says.
            "/roots" => Reply::json(201, &serde_json::json!({ "crts": [self.root_pem()] })),
            "/roots.pem" => Reply::new(200, "application/x-pem-file", self.root_pem()),
            _ => match path.strip_prefix("/root/") {
                Some(digits) if digits.replace('-', "").eq_ignore_ascii_case(&self.fingerprint().hex()) => {
                    Reply::json(200, &serde_json::json!({ "ca": self.root_pem() }))
                }
                Some(_) => Reply::json(
                    404,
                    &serde_json::json!({
                        "status": 404,
                        "message": "The requested resource could not be found. Please see the certificate authority logs for more info."
                    }),
                ),
                None => Reply::new(404, "text/plain; charset=utf-8", "404 page not found\n"),
            },
        }
    }
}

fn authority(name: &str, intermediates: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(intermediates));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn validity(params: &mut CertificateParams, now: u64, seconds: u64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(BACKDATE));
    params.not_after = epoch + Duration::from_secs(now.saturating_add(seconds));
}

struct Reply {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
}

impl Reply {
    fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Reply { status, content_type, body: body.into() }
    }

    fn json(status: u16, value: &serde_json::Value) -> Self {
        Reply::new(status, "application/json", value.to_string() + "\n")
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(self.content_type));
        response
    }
}

/// A running server; it stops when this is dropped.
pub struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `ca` at `address` (port 0: any free port), with a server certificate for `names`, on a thread of its
    /// own.
    ///
    /// # Errors
    /// An address that is not loopback, a port that is taken.
    pub fn start(ca: Arc<DevCa>, address: SocketAddr, names: &[&str]) -> Result<Self> {
        if !address.ip().is_loopback() {
            return Err(Error::usage("the demo CA listens on loopback only").at(address));
        }
        let failed = |error: std::io::Error| {
            Error::failed("could not start the demo CA's server").at(address).because(error)
        };
        let issued = ca.issue(names)?;
        let config = rustls::ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(issued.chain, issued.key))
            .map_err(|error| Error::failed("could not set up TLS for the demo CA").because(error))?;
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let (stop, stopped) = oneshot::channel();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let thread = std::thread::Builder::new()
            .name("demo-ca".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    tokio::select! {
                        _ = stopped => {}
                        () = accept(listener, &acceptor, &ca, &counter) => {}
                    }
                });
            })
            .map_err(failed)?;
        Ok(Server { address, connections, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
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

/// Accepts until it is dropped. At the limit the oldest connection makes room: a crowd of slow ones cannot lock a
/// quick one out.
async fn accept(listener: TcpListener, acceptor: &TlsAcceptor, ca: &Arc<DevCa>, counter: &AtomicUsize) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, or a peer that is gone already: neither ends the server.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        counter.fetch_add(1, Ordering::SeqCst);
        open.retain(|connection| !connection.is_finished());
        if open.len() >= MAX_CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let acceptor = acceptor.clone();
        let ca = Arc::clone(ca);
        let connection = tokio::spawn(async move {
            // A peer that does not finish its handshake, or sends nonsense, is simply gone.
            let Ok(Ok(stream)) = timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await else { return };
            let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let response = respond(&ca, &request);
                async move { Ok::<_, std::convert::Infallible>(response) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(MAX_HEAD)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(served);
        });
        open.push_back(connection.abort_handle());
    }
}

fn respond(ca: &DevCa, request: &hyper::Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response =
            Reply::new(405, "text/plain; charset=utf-8", "405 method not allowed\n").into_response();
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    ca.answer(request.uri().path()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::{ServerName, UnixTime};

    const NOW: i64 = 1_800_000_000;

    fn ca() -> DevCa {
        DevCa::new(&Env::fixed([], NOW)).expect("demo CA")
    }

    fn verify(ca: &DevCa, name: &str, after: i64) -> Result<(), String> {
        let issued = ca.issue(&[name]).expect("issued");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca.root_der().clone()).expect("root");
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider())
            .build()
            .expect("verifier");
        let now = UnixTime::since_unix_epoch(Duration::from_secs((NOW + after) as u64));
        let server = ServerName::try_from(name.to_owned()).expect("name");
        let verified = verifier.verify_server_cert(&issued.chain[0], &issued.chain[1..], &server, &[], now);
        verified.map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn the_chain_is_good_for_local_names_only() {
        let ca = ca();
        for name in ["localhost", "127.0.0.1", "::1", "ca.test", "a.b.internal"] {
            assert_eq!(verify(&ca, name, 0), Ok(()), "{name}");
        }
        for name in ["example.com", "10.0.0.1", "test.example", "nottest"] {
            let error = verify(&ca, name, 0).expect_err(name);
            assert!(error.contains("name constraint") || error.contains("NameConstraint"), "{name}: {error}");
        }
    }

    #[test]
    fn the_root_lives_thirty_days_and_the_leaf_one() {
        let ca = ca();
        assert_eq!(verify(&ca, "localhost", 23 * 3600), Ok(()));
        assert!(verify(&ca, "localhost", 25 * 3600).is_err());
        let (_, root) = x509_parser::parse_x509_certificate(ca.root_der()).expect("root parses");
        let life = root.validity().not_after.timestamp() - NOW;
        assert_eq!(life, 30 * 24 * 3600);
        assert!(root.is_ca());
    }

    #[test]
    fn it_answers_as_step_ca_does() {
        let ca = ca();
        let text = |path: &str| {
            let reply = ca.answer(path);
            (reply.status.as_u16(), String::from_utf8(reply.body.to_vec()).expect("text"))
        };
        assert_eq!(text("/health"), (200, "{\"status\":\"ok\"}\n".to_owned()));
        assert_eq!(text("/roots").0, 201);
        assert_eq!(text("/1.0/roots.pem"), (200, ca.root_pem()));
        let upper = ca.fingerprint().hex().to_uppercase();
        let (status, body) = text(&format!("/root/{upper}"));
        assert_eq!((status, body.contains("BEGIN CERTIFICATE")), (200, true));
        let (status, body) = text(&format!("/root/{}", "0".repeat(64)));
        assert_eq!((status, body.contains("\"status\":404")), (404, true));
        for path in ["/", "/health/", "/1.0", "/1.0health", "/2.0/health", "/rootsx", "//health"] {
            assert_eq!(text(path), (404, "404 page not found\n".to_owned()), "{path}");
        }
    }

    #[test]
    fn only_loopback_is_bound() {
        let address = "0.0.0.0:0".parse().expect("address");
        let refused = Server::start(Arc::new(ca()), address, &["localhost"]);
        assert_eq!(refused.err().map(|error| error.kind().exit_code()), Some(2));
    }
}
