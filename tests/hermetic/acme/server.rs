//! A small ACME server that does as it is told: no signature is checked, nothing is validated, and every answer can be
//! replaced by another.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use trustup::dev_ca::DevCa;
use trustup::host::env::Env;

use crate::servers::{Stream, WebServer, listen, path_of, respond};
use crate::support::acme::AcmeClient;

/// A request, as far as it matters.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    /// `null` for one without a payload.
    pub(crate) payload: Value,
    pub(crate) protected: Value,
    pub(crate) head: String,
    /// How often this path was asked before.
    pub(crate) before: usize,
    /// Whether the challenge was posted since the last order.
    pub(crate) told: bool,
}

/// What is sent instead of the usual answer.
pub(crate) enum Instead {
    Json(u16, Value),
    Text(u16, &'static str, String),
    /// Text with these headers beside the usual ones.
    TextWith(u16, &'static str, Vec<(&'static str, String)>, String),
    /// With these headers beside the usual ones.
    With(u16, Vec<(&'static str, String)>, Value),
    /// Bytes on the wire, whatever they are.
    Raw(Box<Wire>),
}

/// Writes an answer.
type Wire = dyn Fn(&mut dyn Stream) -> io::Result<()>;

type Override = dyn Fn(&Asked, &str) -> Option<Instead> + Send + Sync;

/// A running server.
pub(crate) struct AcmeServer {
    ca: DevCa,
    web: WebServer,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl AcmeServer {
    /// `instead` gets every request and the server's base URL.
    pub(crate) fn start(
        instead: impl Fn(&Asked, &str) -> Option<Instead> + Send + Sync + 'static,
    ) -> AcmeServer {
        let ca = DevCa::new(&Env::os()).expect("CA");
        let issued = ca.issue(&["127.0.0.1", "localhost"]).expect("issued");
        let listener = listen();
        let base = format!("https://{}", listener.local_addr().expect("address"));
        let asked = Arc::new(Mutex::new(Vec::<Asked>::new()));
        let (seen, nonces) = (Arc::clone(&asked), AtomicUsize::new(0));
        let instead: Box<Override> = Box::new(instead);
        let web = WebServer::https_at(listener, issued, move |head, stream| {
            let mut request = read(head, stream)?;
            let mut asked = seen.lock().expect("lock");
            request.before = asked.iter().filter(|other| other.path == request.path).count();
            let since = asked.iter().rposition(|other| other.path == "/order").unwrap_or(0);
            request.told = asked[since.min(asked.len())..].iter().any(|other| other.path == "/challenge");
            asked.push(request.clone());
            drop(asked);
            let nonce = format!("nonce-{}", nonces.fetch_add(1, Ordering::SeqCst));
            let answer = instead(&request, &base).unwrap_or_else(|| usual(&request, &base));
            let (status, headers, kind, body) = match answer {
                Instead::Json(status, value) => (status, Vec::new(), "application/json", value.to_string()),
                Instead::Text(status, kind, text) => (status, Vec::new(), kind, text),
                Instead::TextWith(status, kind, headers, text) => (status, headers, kind, text),
                Instead::With(status, headers, value) => {
                    (status, headers, "application/json", value.to_string())
                }
                Instead::Raw(write) => return write(stream),
            };
            let mut all = vec![("Replay-Nonce", nonce.as_str()), ("Content-Type", kind)];
            all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
            let body = if request.method == "HEAD" { String::new() } else { body };
            respond(stream, status, &all, body.as_bytes())
        });
        AcmeServer { ca, web, asked }
    }

    /// Its directory, and the root that vouches for it, PEM.
    pub(crate) fn known_as(&self) -> (String, String) {
        (self.web.url("/dir"), self.ca.root_pem())
    }

    /// One that believes it.
    pub(crate) fn client(&self) -> AcmeClient {
        AcmeClient::new(&self.web.url("/dir"), self.ca.root_der())
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("lock").clone()
    }

    /// How often a path was asked.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.asked().iter().filter(|asked| asked.path == path).count()
    }
}

fn read(head: &str, stream: &mut dyn Stream) -> io::Result<Asked> {
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let part = |name: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(body[name].as_str()?).ok()?;
        serde_json::from_slice(&bytes).ok()
    };
    Ok(Asked {
        method: head.split(' ').next().unwrap_or_default().to_owned(),
        path: path_of(head).to_owned(),
        payload: part("payload").unwrap_or_default(),
        protected: part("protected").unwrap_or_default(),
        head: head.to_owned(),
        before: 0,
        told: false,
    })
}

/// What a well-behaved server with one name in each order answers; it validates nothing and issues nothing.
pub(crate) fn usual(asked: &Asked, base: &str) -> Instead {
    let order = || {
        json!({ "status": "ready", "authorizations": [format!("{base}/authz")], "finalize": format!("{base}/finalize"),
        "identifiers": [{ "type": "dns", "value": "a.test" }] })
    };
    match asked.path.as_str() {
        "/dir" => Instead::Json(200, directory(base)),
        "/account" => {
            Instead::With(201, vec![("Location", format!("{base}/account/1"))], json!({ "status": "valid" }))
        }
        "/order" => {
            let mut order = order();
            order["status"] = json!("pending");
            Instead::With(201, vec![("Location", format!("{base}/order/1"))], order)
        }
        "/order/1" => Instead::Json(200, order()),
        "/authz" => {
            Instead::Json(200, authorization(base, "token", if !asked.told { "pending" } else { "valid" }))
        }
        "/challenge" => Instead::Json(200, challenge(base, "http-01", "token", "processing")),
        "/finalize" => Instead::Json(403, problem("badCSR", "this server issues nothing")),
        _ => Instead::Text(200, "text/plain", String::new()),
    }
}

/// The directory.
pub(crate) fn directory(base: &str) -> Value {
    json!({ "newNonce": format!("{base}/nonce"), "newAccount": format!("{base}/account"), "newOrder": format!("{base}/order"),
        "revokeCert": format!("{base}/revoke"), "keyChange": format!("{base}/key") })
}

/// The authorization for `a.test`, with every kind of challenge.
pub(crate) fn authorization(base: &str, token: &str, status: &str) -> Value {
    let kinds = ["http-01", "dns-01", "tls-alpn-01"];
    let challenges: Vec<Value> = kinds.iter().map(|kind| challenge(base, kind, token, "pending")).collect();
    json!({ "status": status, "identifier": { "type": "dns", "value": "a.test" }, "challenges": challenges })
}

pub(crate) fn challenge(base: &str, kind: &str, token: &str, status: &str) -> Value {
    json!({ "type": kind, "url": format!("{base}/challenge"), "token": token, "status": status })
}

/// A problem document.
pub(crate) fn problem(kind: &str, detail: &str) -> Value {
    json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail })
}

/// What the TXT record for a token holds, for the account whose key is in this `protected` header.
pub(crate) fn dns_value(token: &str, protected: &Value) -> String {
    let jwk = &protected["jwk"];
    let wanted: BTreeMap<&str, &Value> = ["crv", "kty", "x", "y"].map(|name| (name, &jwk[name])).into();
    let thumbprint = Sha256::digest(serde_json::to_vec(&wanted).expect("JSON"));
    let authorization = format!("{token}.{}", URL_SAFE_NO_PAD.encode(thumbprint));
    URL_SAFE_NO_PAD.encode(Sha256::digest(authorization))
}
