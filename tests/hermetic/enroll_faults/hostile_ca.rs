//! A step-ca that does everything right but for one thing.

use std::io::{self, Read as _};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SignatureAlgorithm, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use trustup::dev_ca::IssuedPair;
use trustup::pki::jose::{jwe, jwk};
use trustup::pki::key::{KeyType, PrivateKey};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;

use crate::servers::{Stream, WebServer, path_of, respond};
use crate::support::ca::{self, Root, pem};

/// A hundred megabytes.
pub(super) const HUGE: u64 = 100 * 1024 * 1024;
/// The provisioner's name and its password.
pub(super) const PROVISIONER: &str = "dev";
pub(super) const PASSWORD: &str = "hunter2-correct-horse";
/// What the certificates are for.
pub(super) const NAME: &str = "web.test";

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    // The connection.
    NeverAnswers,
    HangsHalfWay,
    Drips,
    DripsItsHead,
    ClosesBeforeTheHead,
    /// The same, and from then on nothing is answered at all.
    ClosesAndFallsSilent,
    ClosesInTheBody,
    AnswersBeforeTheRequestIsRead,
    // The answer.
    Status(u16),
    Redirect,
    Garbage,
    GarbageBody,
    Html,
    Huge,
    HugeWithoutLength,
    // The certificate.
    HalfPem,
    Empty,
    NoIntermediate,
    AnotherKey,
    OtherNames,
    MoreNames,
    Expired,
    NotYetValid,
    ForeignRoot,
    Ca,
    LongChain,
    ManyCertificates,
    // Provisioners and their keys.
    EndlessPages,
    ManyIterations,
    NoJwe,
    AnotherProvisioner,
}

/// A server for 127.0.0.1 below a root of its own.
pub(super) struct HostileCa {
    server: WebServer,
    pub(super) root: Root,
    /// Requests for a signature.
    pub(super) signed: Arc<AtomicUsize>,
    /// Bytes that could be sent of what is too large.
    pub(super) sent: Arc<AtomicU64>,
    /// All requests, heads and bodies.
    pub(super) requests: Arc<Mutex<Vec<String>>>,
}

/// What the threads of the server share.
struct Shared {
    fault: Fault,
    /// The path that the fault is at begins so.
    at: &'static str,
    root_pem: String,
    root_der: Vec<u8>,
    intermediate: Root,
    stranger: Root,
    key: String,
    public: Value,
    signed: Arc<AtomicUsize>,
    sent: Arc<AtomicU64>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl HostileCa {
    /// Until a request for a path with this in it has come.
    pub(super) fn wait_for(&self, path: &str) {
        let began = Instant::now();
        while !self.requests.lock().expect("requests").iter().any(|request| request.contains(path)) {
            assert!(began.elapsed() < Duration::from_secs(20), "nobody asks for {path}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Does `fault` at the paths that begin with `at`.
    pub(super) fn start(fault: Fault, at: &'static str) -> HostileCa {
        let root = ca::root("Hostile Root");
        let intermediate = root.intermediate("Hostile Intermediate");
        let stranger = ca::root("Root Of A Stranger").intermediate("Intermediate Of A Stranger");
        let server_key = KeyPair::generate().expect("key");
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("names");
        let leaf = intermediate.sign_for(params, &server_key);
        let chain = [leaf, intermediate.der.clone()].map(CertificateDer::from).to_vec();
        let issued = IssuedPair { chain, key: PrivateKeyDer::Pkcs8(server_key.serialize_der().into()) };
        let (signed, sent, requests) = (Arc::default(), Arc::default(), Arc::default());
        let (key, public) = provisioner_key(fault);
        let shared = Shared {
            fault,
            at,
            root_pem: root.pem.clone(),
            root_der: root.der.clone(),
            intermediate,
            stranger,
            key,
            public,
            signed: Arc::clone(&signed),
            sent: Arc::clone(&sent),
            requests: Arc::clone(&requests),
        };
        let server = WebServer::https(issued, move |head, stream| shared.serve(head, stream));
        HostileCa { server, root, signed, sent, requests }
    }

    pub(super) fn url(&self) -> String {
        self.server.url("")
    }

    /// A one-time token for [`NAME`] as step makes it; nobody but the CA looks at its signature.
    pub(super) fn token(&self) -> String {
        let now = trustup::host::env::Env::os().now();
        let claims = json!({
            "iss": PROVISIONER, "sub": NAME, "sans": [NAME], "aud": self.server.url("/1.0/sign"),
            "sha": self.root.pin(), "jti": format!("{:p}-{now}", self), "iat": now, "nbf": now, "exp": now + 300,
        });
        let header = json!({ "alg": "ES256", "kid": "hostile", "typ": "JWT" });
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let signature = KeyPair::generate().expect("key").serialize_der();
        let (header, claims) = (header.to_string(), claims.to_string());
        format!("{}.{}.{}", part(header.as_bytes()), part(claims.as_bytes()), part(&signature[..64]))
    }
}

/// The provisioner's encrypted key, and its public half as a JWK.
fn provisioner_key(fault: Fault) -> (String, Value) {
    let key = PrivateKey::generate(KeyType::EcP256).expect("key");
    let pair = KeyPair::try_from(key.pkcs8()).expect("PKCS#8");
    let mut public = jwk::of(key.public());
    let kid = jwk::thumbprint(key.public());
    public["kid"] = kid.clone().into();
    public["use"] = "sig".into();
    public["alg"] = "ES256".into();
    let mut private = public.clone();
    private["d"] = URL_SAFE_NO_PAD.encode(scalar(&pair.serialize_der())).into();
    let plain = private.to_string();
    let jwe = jwe::encrypt(plain.as_bytes(), "jwk+json", PASSWORD.as_bytes(), 1000).expect("JWE");
    let jwe = match fault {
        Fault::NoJwe => "not.a.key".to_owned(),
        Fault::ManyIterations => {
            let (head, rest) = jwe.split_once('.').expect("five parts");
            let head = String::from_utf8(URL_SAFE_NO_PAD.decode(head).expect("base64url")).expect("JSON");
            let mut head: Value = serde_json::from_str(&head).expect("JSON");
            head["p2c"] = i32::MAX.into();
            format!("{}.{rest}", URL_SAFE_NO_PAD.encode(head.to_string()))
        }
        _ => jwe,
    };
    (jwe, public)
}

/// The private scalar of a P-256 key in PKCS#8: the OCTET STRING of 32 bytes in the ECPrivateKey (RFC 5915).
fn scalar(pkcs8: &[u8]) -> &[u8] {
    let front = [0x02, 0x01, 0x01, 0x04, 0x20];
    let at = pkcs8.windows(front.len()).position(|window| window == front).expect("a P-256 key");
    &pkcs8[at + front.len()..at + front.len() + 32]
}

/// The public key of a request.
struct Subject(Vec<u8>);

impl PublicKeyData for Subject {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl Shared {
    fn serve(&self, head: &str, stream: &mut dyn Stream) -> io::Result<()> {
        let path = path_of(head);
        let faulty = path.starts_with(self.at);
        let fault = if faulty { self.fault } else { Fault::None };
        if fault == Fault::AnswersBeforeTheRequestIsRead {
            let body = json!({ "status": 403, "message": "The request was forbidden" }).to_string();
            respond(stream, 403, &[("Content-Type", "application/json")], body.as_bytes())?;
            stream.flush()?;
            self.record(head, "");
            return wait_for_the_end(stream);
        }
        let body = read_body(head, stream)?;
        let was_faulty =
            self.requests.lock().expect("requests").iter().any(|one| path_of(one).starts_with(self.at));
        self.record(head, &body);
        if self.fault == Fault::ClosesAndFallsSilent && was_faulty {
            return wait_for_the_end(stream);
        }
        match fault {
            Fault::NeverAnswers => return wait_for_the_end(stream),
            Fault::ClosesBeforeTheHead | Fault::ClosesAndFallsSilent => return Ok(()),
            Fault::HangsHalfWay | Fault::ClosesInTheBody => {
                stream.write_all(
                    b"HTTP/1.1 201 Created\r\nContent-Length: 5000\r\n\r\n{\"crt\":\"-----BEGIN CERT",
                )?;
                stream.flush()?;
                return if fault == Fault::ClosesInTheBody { Ok(()) } else { wait_for_the_end(stream) };
            }
            Fault::Drips => {
                stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 100000\r\n\r\n")?;
                return drip(stream, b"{\"crt\":\"----");
            }
            Fault::DripsItsHead => {
                stream.write_all(b"HTTP/1.1 201 Created\r\n")?;
                return drip(stream, b"X-Padding: padding\r\n");
            }
            Fault::Garbage => {
                return stream
                    .write_all(&[0x00, 0xff, 0x1b, b'[', b'3', b'1', b'm', b'\r', b'\n'].repeat(50));
            }
            Fault::GarbageBody => return respond(stream, 201, &[], &b"\x1b[31m\x00\xff{{{\"".repeat(20)),
            Fault::Html => {
                let page = "<!doctype html><html><title>\x1b[31mWelcome</title><h1>Please log in</h1></html>";
                return respond(stream, 200, &[("Content-Type", "text/html")], page.as_bytes());
            }
            Fault::Status(status) => {
                let body = json!({ "status": status, "message": "\u{1b}[31mhunger\u{202e}" }).to_string();
                return respond(stream, status, &[("Content-Type", "application/json")], body.as_bytes());
            }
            Fault::Redirect => {
                return respond(stream, 307, &[("Location", "https://127.0.0.1:1/1.0/sign")], b"");
            }
            Fault::Huge => return self.flood(stream, Some(HUGE)),
            Fault::HugeWithoutLength => return self.flood(stream, None),
            Fault::EndlessPages => {
                let count = self.requests.lock().expect("requests").len();
                let filler = "x".repeat(3 * 1024 * 1024);
                let page = json!({ "provisioners": [{"type": "JWK", "name": filler}], "nextCursor": count.to_string() });
                return answer(stream, 200, &page);
            }
            _ => {}
        }
        match path.split('?').next().unwrap_or_default().trim_start_matches("/1.0") {
            "/health" => answer(stream, 200, &json!({ "status": "ok" })),
            "/provisioners" => {
                let name = if fault == Fault::AnotherProvisioner { "other" } else { PROVISIONER };
                let provisioner =
                    json!({ "type": "JWK", "name": name, "key": self.public, "encryptedKey": self.key });
                answer(
                    stream,
                    200,
                    &json!({ "provisioners": [provisioner, {"type": "X5C", "name": "birth"}], "nextCursor": "" }),
                )
            }
            "/sign" => {
                self.signed.fetch_add(1, Ordering::SeqCst);
                answer(stream, 201, &self.sign(fault, &body))
            }
            path if path.starts_with("/root/") => answer(stream, 200, &json!({ "ca": self.root_pem })),
            path if path.ends_with("/encrypted-key") => answer(stream, 200, &json!({ "key": self.key })),
            _ => respond(stream, 404, &[("Content-Type", "text/plain")], b"404 page not found\n"),
        }
    }

    fn record(&self, head: &str, body: &str) {
        self.requests.lock().expect("requests").push(format!("{head}{body}"));
    }

    /// As many bytes as it can get rid of.
    fn flood(&self, stream: &mut dyn Stream, length: Option<u64>) -> io::Result<()> {
        let head = match length {
            Some(length) => format!("HTTP/1.1 201 Created\r\nContent-Length: {length}\r\n\r\n"),
            None => "HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n".to_owned(),
        };
        stream.write_all(head.as_bytes())?;
        let block = [b' '; 16 * 1024];
        while self.sent.load(Ordering::SeqCst) < HUGE {
            stream.write_all(&block)?;
            self.sent.fetch_add(block.len() as u64, Ordering::SeqCst);
        }
        Ok(())
    }

    /// What `/sign` answers.
    fn sign(&self, fault: Fault, body: &str) -> Value {
        let request: Value = serde_json::from_str(body).expect("JSON");
        let (_, block) = parse_x509_pem(request["csr"].as_str().expect("a CSR").as_bytes()).expect("PEM");
        let (_, csr) = X509CertificationRequest::from_der(&block.contents).expect("PKCS#10");
        let key = &csr.certification_request_info.subject_pki.subject_public_key.data;
        let another = KeyPair::generate().expect("key");
        let key = match fault {
            Fault::AnotherKey => Subject(another.public_key_raw().to_vec()),
            _ => Subject(key.to_vec()),
        };
        let dns = |names: &[&str]| {
            names.iter().map(|name| SanType::DnsName((*name).try_into().expect("name"))).collect()
        };
        let mut params = CertificateParams::default();
        params.subject_alt_names = match fault {
            Fault::OtherNames => dns(&["other.test"]),
            Fault::MoreNames => dns(&[NAME, "bank.test"]),
            _ => dns(&[NAME]),
        };
        (params.not_before, params.not_after) = match fault {
            Fault::Expired => (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)),
            Fault::NotYetValid => (date_time_ymd(2080, 1, 1), date_time_ymd(2081, 1, 1)),
            _ => (date_time_ymd(2024, 1, 1), date_time_ymd(2080, 1, 1)),
        };
        if fault == Fault::Ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let issuer = if fault == Fault::ForeignRoot { &self.stranger } else { &self.intermediate };
        let mut leaf = pem("CERTIFICATE", &issuer.sign_for(params, &key));
        if fault == Fault::HalfPem {
            leaf.truncate(leaf.len() / 2);
        }
        let mut chain = match fault {
            Fault::Empty => Vec::new(),
            Fault::NoIntermediate => vec![leaf.clone()],
            Fault::LongChain => {
                std::iter::once(leaf.clone()).chain(std::iter::repeat_n(issuer.pem.clone(), 40)).collect()
            }
            Fault::ManyCertificates => {
                std::iter::once(leaf.clone()).chain(std::iter::repeat_n(issuer.pem.clone(), 4000)).collect()
            }
            _ => vec![leaf.clone(), issuer.pem.clone()],
        };
        if fault == Fault::ForeignRoot {
            chain.push(pem("CERTIFICATE", &self.root_der));
        }
        match fault {
            Fault::Empty => json!({ "crt": "", "ca": "", "certChain": chain }),
            Fault::NoIntermediate => json!({ "crt": leaf, "ca": "", "certChain": chain }),
            _ => json!({ "crt": leaf, "ca": issuer.pem, "certChain": chain, "tlsOptions": {} }),
        }
    }
}

fn answer(stream: &mut dyn Stream, status: u16, body: &Value) -> io::Result<()> {
    respond(stream, status, &[("Content-Type", "application/json")], body.to_string().as_bytes())
}

fn read_body(head: &str, stream: &mut dyn Stream) -> io::Result<String> {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut body = String::new();
    stream.take(length.unwrap_or(0)).read_to_string(&mut body)?;
    Ok(body)
}

/// Says nothing until the client goes away.
fn wait_for_the_end(stream: &mut dyn Stream) -> io::Result<()> {
    let mut rest = [0; 4096];
    while stream.read(&mut rest)? > 0 {}
    Ok(())
}

/// One of these bytes again and again, slowly, until the client goes away: each keeps a time-out between bytes from
/// coming to its end.
fn drip(stream: &mut dyn Stream, bytes: &[u8]) -> io::Result<()> {
    let began = Instant::now();
    for byte in bytes.iter().cycle() {
        stream.write_all(&[*byte])?;
        stream.flush()?;
        thread::sleep(Duration::from_millis(50));
        assert!(began.elapsed() < Duration::from_secs(60), "the client stays for ever");
    }
    Ok(())
}
