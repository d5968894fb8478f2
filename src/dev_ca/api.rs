//! step-ca's interface: the answers to requests. The same paths, status codes and sentences as step-ca 0.30, so that a
//! client that works here works there; ACME, SSH, SCEP, revocation and administration are not here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::DevCa;
use super::request::{Csr, Unfit};
use super::times::When;
use crate::pki::cert::Certificate;
use crate::text;

const LOGS: &str = "Please see the certificate authority logs for more info.";

/// The largest page of provisioners, and the default.
const PAGE: usize = 100;

/// A request, read whole.
pub(super) struct ApiRequest<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) body: &'a [u8],
    /// The client's certificate, whose chain and validity TLS has checked.
    pub(super) client: Option<&'a CertificateDer<'static>>,
}

/// An answer.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    content_type: Option<&'static str>,
    pub(super) body: Bytes,
    allow: Option<&'static str>,
    /// For the CA's log: what was done, or the reason for a refusal; escaped.
    pub(super) note: Option<String>,
}

impl Reply {
    fn new(status: u16, content_type: Option<&'static str>, body: impl Into<Bytes>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Reply { status, content_type, body: body.into(), allow: None, note: None }
    }

    fn json(status: u16, value: &Value) -> Self {
        Reply::new(status, Some("application/json"), value.to_string() + "\n")
    }

    fn pem(text: String) -> Self {
        Reply::new(200, Some("application/x-pem-file"), text)
    }

    fn error(status: u16, message: impl Into<String>) -> Self {
        Reply::json(status, &json!({ "status": status, "message": message.into() }))
    }

    /// 400 with the reason.
    pub(super) fn bad(what: &str) -> Self {
        Reply::error(400, format!("The request could not be completed: {what}.")).noted(what)
    }

    /// 403 with the reason.
    pub(super) fn forbidden(what: &str) -> Self {
        let what = text::escape(what);
        Reply::error(403, format!("The request was forbidden by the certificate authority: {what}."))
            .noted(&what)
    }

    /// 401, without the reason.
    pub(super) fn unauthorized(why: &str) -> Self {
        let message = format!("The request lacked necessary authorization to be completed. {LOGS}");
        Reply::error(401, message).noted(why)
    }

    pub(super) fn internal(why: &str) -> Self {
        let message = format!("The certificate authority encountered an Internal Server Error. {LOGS}");
        Reply::error(500, message).noted(why)
    }

    fn not_found() -> Self {
        Reply::new(404, Some("text/plain; charset=utf-8"), "404 page not found\n")
    }

    fn not_allowed(allow: &'static str) -> Self {
        Reply { allow: Some(allow), ..Reply::new(405, None, "") }
    }

    fn noted(self, note: &str) -> Self {
        Reply { note: Some(text::escape(note)), ..self }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        if let Some(kind) = self.content_type {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        if let Some(methods) = self.allow {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
        }
        response
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignBody {
    #[serde(default)]
    csr: Option<String>,
    #[serde(default)]
    ott: Option<String>,
    #[serde(default)]
    not_before: Option<String>,
    #[serde(default)]
    not_after: Option<String>,
}

#[derive(Deserialize)]
struct RekeyBody {
    #[serde(default)]
    csr: Option<String>,
}

impl DevCa {
    /// The CA's answers, under `/` and `/1.0/`.
    pub(super) fn answer(&self, request: &ApiRequest<'_>) -> Reply {
        let path = request.path;
        let path = path.strip_prefix("/1.0").filter(|rest| rest.starts_with('/')).unwrap_or(path);
        let posts = matches!(path, "/sign" | "/renew" | "/re-sign" | "/rekey");
        if !posts {
            let reply = self.read(path, request.query);
            let reads = matches!(*request.method, Method::GET | Method::HEAD);
            let known = reply.content_type != Some("text/plain; charset=utf-8");
            return if reads || !known { reply } else { Reply::not_allowed("GET, HEAD") };
        }
        if *request.method != Method::POST {
            return Reply::not_allowed("POST");
        }
        match path {
            "/sign" => self.sign(request.body),
            "/rekey" => self.rekey(request),
            _ => match request.client {
                Some(client) => self.again(client, None),
                None => Reply::bad("missing client certificate"),
            },
        }
    }

    fn read(&self, path: &str, query: Option<&str>) -> Reply {
        let (root, intermediate) = (self.authority.root(), self.authority.intermediate());
        match path {
            "/health" => Reply::json(200, &json!({ "status": "ok" })),
            "/version" => {
                Reply::json(200, &json!({ "version": concat!("trustup-", env!("CARGO_PKG_VERSION")) }))
            }
            // The real one answers 201.
            "/roots" | "/federation" => Reply::json(201, &json!({ "crts": [root.to_pem()] })),
            "/roots.pem" => Reply::pem(root.to_pem()),
            "/intermediates" => Reply::json(201, &json!({ "crts": [intermediate.to_pem()] })),
            "/intermediates.pem" => Reply::pem(intermediate.to_pem()),
            "/provisioners" => self.provisioners(query.unwrap_or_default()),
            _ => {
                let parts: Vec<&str> = path.split('/').skip(1).collect();
                match parts[..] {
                    ["root", digits] => self.root_by(digits),
                    ["provisioners", kid, "encrypted-key"] => self.encrypted_key(kid),
                    _ => Reply::not_found(),
                }
            }
        }
    }

    fn root_by(&self, digits: &str) -> Reply {
        let digits = digits.replace('-', "").to_lowercase();
        if digits == self.fingerprint().hex() {
            return Reply::json(200, &json!({ "ca": self.root_pem() }));
        }
        let digits = text::escape(&digits);
        Reply::error(404, format!("root certificate with fingerprint \"{digits}\" was not found"))
    }

    fn encrypted_key(&self, kid: &str) -> Reply {
        let provisioner = self.provisioners.jwk();
        if kid == provisioner.kid() {
            return Reply::json(200, &json!({ "key": provisioner.encrypted_key }));
        }
        Reply::error(404, format!("The requested resource could not be found. {LOGS}"))
    }

    fn provisioners(&self, query: &str) -> Reply {
        let parameter = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(query.as_bytes());
            pairs.find_map(|(key, value)| (key == name).then(|| value.into_owned()))
        };
        let limit = match parameter("limit").filter(|limit| !limit.is_empty()) {
            None => PAGE,
            Some(text) => match text.parse::<i64>() {
                Ok(limit) => usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(PAGE),
                Err(_) => return Reply::bad(&format!("limit '{}' is not an integer", text::escape(&text))),
            },
        };
        let all = self.provisioners.list();
        // Our cursor is the number of provisioners already shown.
        let from = parameter("cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or(0).min(all.len());
        let to = from.saturating_add(limit).min(all.len());
        let next = if to < all.len() { to.to_string() } else { String::new() };
        Reply::json(200, &json!({ "provisioners": all[from..to], "nextCursor": next }))
    }

    fn sign(&self, body: &[u8]) -> Reply {
        let Some(body) = object::<SignBody>(body) else { return Reply::bad("error decoding json") };
        let when = |text: Option<String>| When::parse(text.as_deref().unwrap_or_default());
        let (Some(not_before), Some(not_after)) = (when(body.not_before), when(body.not_after)) else {
            return Reply::bad("error decoding json");
        };
        let csr = match read_csr(body.csr) {
            Ok(csr) => csr,
            Err(reply) => return reply,
        };
        let Some(token) = body.ott.filter(|token| !token.is_empty()) else {
            return Reply::bad("missing ott");
        };
        let now = self.now();
        let grant = match self.provisioners.spend(&token, now) {
            Ok(grant) => grant,
            Err(why) => return Reply::unauthorized(&format!("token refused: {why}")),
        };
        if let Some(wanted) = &grant.request
            && *wanted != URL_SAFE_NO_PAD.encode(Sha256::digest(&csr.der))
        {
            return Reply::forbidden(&format!("certificate request fingerprint does not match \"{wanted}\""));
        }
        match self.issue_for(&csr, &grant, not_before, not_after) {
            Ok(leaf) => self.signed(&leaf),
            Err(reply) => reply,
        }
    }

    fn rekey(&self, request: &ApiRequest<'_>) -> Reply {
        let Some(client) = request.client else { return Reply::bad("missing client certificate") };
        let Some(body) = object::<RekeyBody>(request.body) else { return Reply::bad("error decoding json") };
        match read_csr(body.csr) {
            Ok(csr) => self.again(client, Some(&csr.key)),
            Err(reply) => reply,
        }
    }

    /// A new certificate with the content of `client`, for the same key or another.
    fn again(&self, client: &CertificateDer<'static>, key: Option<&crate::pki::key::PublicKey>) -> Reply {
        match self.reissue(client, key) {
            Ok(leaf) => self.signed(&leaf),
            Err(reply) => reply,
        }
    }

    fn signed(&self, leaf: &Certificate) -> Reply {
        let chain = self.authority.chain(leaf).map(|certificate| certificate.to_pem());
        let names = leaf.subject_alt_names().unwrap_or_default();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let until = text::date(leaf.not_after());
        Reply::json(
            201,
            &json!({
                "crt": chain[0],
                "ca": chain[1],
                "certChain": chain,
                "tlsOptions": {
                    "cipherSuites": [
                        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
                        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                    ],
                    "minVersion": 1.2,
                    "maxVersion": 1.3,
                    "renegotiation": false,
                },
            }),
        )
        .noted(&format!("a certificate for {}, good until {until}", names.join(", ")))
    }
}

/// A JSON object; serde takes a list for one too.
fn object<T: serde::de::DeserializeOwned>(body: &[u8]) -> Option<T> {
    let object: serde_json::Map<String, Value> = serde_json::from_slice(body).ok()?;
    serde_json::from_value(Value::Object(object)).ok()
}

/// The request in a body: there, readable, signed.
fn read_csr(text: Option<String>) -> Result<Csr, Reply> {
    let text = text.filter(|text| !text.is_empty()).ok_or_else(|| Reply::bad("missing csr"))?;
    Csr::parse(&text).map_err(|unfit| match unfit {
        Unfit::Unreadable => Reply::bad("error decoding json"),
        Unfit::Signature => Reply::bad("invalid csr"),
        Unfit::Key(why) => Reply::forbidden(why),
        Unfit::Name(why) => Reply::bad(&text::escape(&why)),
    })
}
