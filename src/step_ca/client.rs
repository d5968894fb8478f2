//! The CA's API, as far as enrollment needs it: one request each, over reused connections. A failure tells whether
//! asking again can help, and whether a token may be used up.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::answers::{self, SignAnswer};
use super::{Provisioner, Provisioners, spelling};
use crate::error::{Error, ErrorKind, Result};
use crate::host::env::Env;
use crate::net::retry::retry_after;
use crate::net::url::masked;
use crate::net::{self, Credentials, FetchAnswer, HttpRequest, Net};
use crate::pki::cert::NotAfter;
use crate::pki::cert::{Certificate, pem};

/// The largest answer, in bytes: a page of provisioners with many roots each.
const LIMIT: u64 = 4 * 1024 * 1024;

/// Provisioners on a page: step-ca's most.
const PAGE: usize = 100;

/// More pages are a server that does not come to an end,
const MAX_PAGES: usize = 100;
/// and so are more bytes on all of them.
const ALL_PAGES: usize = 16 * 1024 * 1024;

/// No clock is known.
const UNKNOWN: i64 = i64::MIN;

/// Why there is no usable answer.
#[derive(Debug)]
pub struct RequestFailure {
    /// The error to report; of kind `Unreachable` if asking again may help.
    pub error: Error,
    /// The HTTP status of the CA's answer, if there was one.
    pub status: Option<u16>,
    /// Whether the request may have reached the CA: then a token in it may be used up.
    pub sent: bool,
    /// Whether the CA issued a certificate in an answer that cannot be used: it would send the same again.
    pub refused: bool,
}

impl RequestFailure {
    /// Whether the CA may have done what was requested without a usable answer: it is missing, or invalid.
    pub fn is_unsettled(&self) -> bool {
        self.sent && self.status.is_none_or(|status| (200..300).contains(&status))
    }
}

/// The result of `/sign`.
#[derive(Clone, Debug)]
pub struct SignedChain {
    /// Leaf first, without the root. Not checked yet.
    pub chain: Vec<Certificate>,
}

/// A CA.
#[derive(Debug)]
pub struct StepCaClient {
    http: net::Client,
    base: Url,
    env: Env,
    /// The CA's clock minus ours, in seconds, at the last answer.
    skew: AtomicI64,
    /// Its own names for the host of `base`, once it has answered.
    names: OnceLock<Vec<String>>,
}

/// The body of `/sign`.
#[derive(Serialize)]
struct SignRequest<'a> {
    csr: &'a str,
    ott: &'a str,
    #[serde(rename = "notAfter", skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
}

impl StepCaClient {
    /// A client for the CA at `base` (path and query are ignored) with these roots, and with the certificate that is
    /// presented to the CA, if any.
    ///
    /// # Errors
    /// None of the roots can be used.
    pub fn new(net: &Net, env: &Env, base: &Url, credentials: impl Into<Credentials>) -> Result<Self> {
        Ok(StepCaClient {
            http: net.client(base, credentials)?,
            base: base.clone(),
            env: env.clone(),
            skew: AtomicI64::new(UNKNOWN),
            names: OnceLock::new(),
        })
    }

    /// Its address.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// Its own names for the host of its address, in the spelling of its verified certificate; empty for an address, and
    /// before its first answer.
    pub(crate) fn names(&self) -> &[String] {
        self.names.get().map(Vec::as_slice).unwrap_or_default()
    }

    /// The same; the CA is asked for its health if it has not answered yet.
    ///
    /// # Errors
    /// It does not answer, or is not well.
    pub(crate) async fn names_asked(&self) -> Result<&[String], RequestFailure> {
        if self.names.get().is_none() && matches!(self.base.host(), Some(url::Host::Domain(_))) {
            self.health().await?;
        }
        Ok(self.names())
    }

    /// How many seconds the CA's clock is ahead of ours, by the `Date` of its last answer. It explains, and is never
    /// used as "now" (threat T7).
    pub fn skew(&self) -> Option<i64> {
        Some(self.skew.load(Ordering::Relaxed)).filter(|skew| *skew != UNKNOWN)
    }

    /// Whether its health check succeeds.
    pub async fn health(&self) -> Result<(), RequestFailure> {
        #[derive(Deserialize)]
        struct Health {
            status: String,
        }
        let health: Health = self.get("/health").await?;
        if health.status == "ok" {
            return Ok(());
        }
        let what = format!("the CA's health check failed: `{}`", crate::text::escape(&health.status));
        Err(self.unusable(Error::unreachable(what).at(masked(&self.base))))
    }

    /// All its provisioners, page by page. What cannot be read is omitted.
    pub async fn provisioners(&self) -> Result<Provisioners, RequestFailure> {
        #[derive(Deserialize)]
        struct Page {
            provisioners: Option<Vec<Value>>,
            #[serde(rename = "nextCursor")]
            next: Option<String>,
        }
        let mut all = Vec::new();
        let mut cursor = String::new();
        let mut bytes = 0;
        for _ in 0..MAX_PAGES {
            let mut url = self.at("/provisioners")?;
            url.query_pairs_mut().append_pair("limit", &PAGE.to_string());
            if !cursor.is_empty() {
                url.query_pairs_mut().append_pair("cursor", &cursor);
            }
            let answer = self.send(HttpRequest::get(url)).await?;
            bytes += answer.body.len();
            if bytes > ALL_PAGES {
                break;
            }
            let page: Page = self.parsed(&answer)?;
            all.extend(page.provisioners.unwrap_or_default().iter().filter_map(Provisioner::parse));
            match page.next.filter(|next| !next.is_empty()) {
                Some(next) if next != cursor => cursor = next,
                _ => return Ok(Provisioners(all)),
            }
        }
        Err(self.unusable(answers::not_a_step_ca("its list of provisioners does not end", &self.base)))
    }

    /// Has `csr` (DER) signed. One try: whatever the result, the token is used up once the CA has seen it.
    pub async fn sign(
        &self,
        csr: &[u8],
        token: &str,
        not_after: Option<NotAfter>,
    ) -> Result<SignedChain, RequestFailure> {
        let csr = pem::armor("CERTIFICATE REQUEST", csr);
        let request = SignRequest { csr: &csr, ott: token, not_after: not_after.map(|end| end.to_string()) };
        let body = serde_json::to_vec(&request)
            .map_err(|error| unsent(Error::failed("could not write the request").because(error)))?;
        self.issued(HttpRequest::post(self.at("/1.0/sign")?, body)).await
    }

    /// The certificate that the CA issues for this request.
    pub(super) async fn issued(&self, request: HttpRequest) -> Result<SignedChain, RequestFailure> {
        let answer = self.send(request).await?;
        let answer: SignAnswer = self.parsed(&answer)?;
        let refused = |error: Error| {
            // One that cannot be read may have been damaged on the way.
            let refused = error.kind() == ErrorKind::NotTrusted;
            RequestFailure { refused, ..self.unusable(error) }
        };
        Ok(SignedChain { chain: answer.chain(&self.base).map_err(refused)? })
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<T, RequestFailure> {
        self.get_url(self.at(path)?).await
    }

    async fn get_url<T: for<'de> Deserialize<'de>>(&self, url: Url) -> Result<T, RequestFailure> {
        let answer = self.send(HttpRequest::get(url)).await?;
        self.parsed(&answer)
    }

    fn parsed<T: for<'de> Deserialize<'de>>(&self, answer: &FetchAnswer) -> Result<T, RequestFailure> {
        answers::parse(answer).map_err(|error| self.unusable(error))
    }

    pub(super) fn at(&self, path: &str) -> Result<Url, RequestFailure> {
        self.base.join(path).map_err(|error| {
            unsent(Error::failed("could not build the CA's address").at(masked(&self.base)).because(error))
        })
    }

    async fn send(&self, request: HttpRequest) -> Result<FetchAnswer, RequestFailure> {
        let mut request = HttpRequest { limit: LIMIT, ..request };
        if !request.body.is_empty() {
            request.headers.insert(
                reqwest::header::CONTENT_TYPE,
                reqwest::header::HeaderValue::from_static("application/json"),
            );
        }
        let answer = self.http.send(request).await.map_err(|broken| RequestFailure {
            error: broken.error,
            status: None,
            sent: broken.sent,
            refused: false,
        })?;
        if let Some(server) = &answer.server {
            let names = |certificate: Certificate| spelling::of_certificate(&certificate, &self.base);
            self.names.get_or_init(|| Certificate::from_der(server).map(names).unwrap_or_default());
        }
        if let Some(date) = net::date(&answer.headers, &reqwest::header::DATE) {
            self.skew.store(date.saturating_sub(self.env.now()), Ordering::Relaxed);
        }
        match answers::check(&answer) {
            Ok(()) => Ok(answer),
            Err(error) => {
                let error = error.with_retry_after(retry_after(&answer.headers, self.env.now()));
                Err(RequestFailure { error, status: Some(answer.status), sent: true, refused: false })
            }
        }
    }

    /// The CA answered, and the answer is unusable.
    fn unusable(&self, error: Error) -> RequestFailure {
        RequestFailure { error, status: Some(200), sent: true, refused: false }
    }
}

pub(super) fn unsent(error: Error) -> RequestFailure {
    RequestFailure { error, status: None, sent: false, refused: false }
}
