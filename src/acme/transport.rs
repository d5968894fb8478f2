//! The HTTP below the messages: signed requests with their nonces, and on every request and answer the rules for all of
//! them: no URL outside the directory's origin (threat T20), no endless body, errors that are not JSON, Retry-After, a
//! second try if that is harmless.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LINK, LOCATION};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::sleep;
use url::Url;

use super::Failed;
use super::messages::{AcmeDirectory, ProblemDocument};
use super::problem::{self, beginning, is};
use super::waiting::{retry_after, shown_duration, skew};
use crate::error::{Error, ErrorKind, Result};
use crate::net::retry::Backoff;
use crate::net::url::{authority, masked, origin, same_origin, shorter};
use crate::net::{Broken, Client, FetchAnswer, HttpRequest};
use crate::pki::jose::{jwk, jws};
use crate::pki::key::PrivateKey;
use crate::text;

/// The largest answer: a chain of certificates, or an order of a hundred names.
const MAX_ANSWER: u64 = 1024 * 1024;

/// The largest problem document: it may have details on each of a hundred names.
const MAX_MESSAGE: u64 = 256 * 1024;

/// How often to send a request that does not get through and may not arrive twice.
const TRIES: u32 = 4;

/// How often to send a request with another nonce (RFC 8555 section 6.5): a server that refuses every second one
/// refuses them all once in a billion requests.
const NONCES: u32 = 30;

/// The longest URL that is requested.
const MAX_URL: usize = 64 * 1024 - 1;

const REPLAY_NONCE: HeaderName = HeaderName::from_static("replay-nonce");

/// One server.
#[derive(Debug)]
pub(super) struct Transport {
    client: Client,
    url: Url,
    directory: AcmeDirectory,
    /// The account's path, for messages.
    account_place: String,
    /// How far its clock is ahead of ours, in seconds, according to the answer with the directory.
    skew: Option<i64>,
    /// The nonce of the last answer.
    nonce: Mutex<Option<String>>,
    last: Mutex<Last>,
    /// Whether a request that does not only read may have reached the server since [`Transport::forget`].
    sent: AtomicBool,
}

/// Details of the last answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Last {
    /// Its HTTP status.
    pub(super) status: u16,
    /// The value of Retry-After.
    pub(super) retry_after: Option<Duration>,
}

/// The signer of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignedBy<'a> {
    pub(super) key: &'a PrivateKey,
    /// The account's URL; `None` if the key itself is sent (RFC 8555 section 6.2).
    pub(super) account: Option<&'a str>,
}

/// An answer with a status of 200 to 299.
#[derive(Debug)]
pub(super) struct Success {
    /// The requested URL.
    pub(super) url: Url,
    /// The values of `Link`.
    pub(super) links: Vec<String>,
    /// The value of `Location`.
    pub(super) location: Option<String>,
    pub(super) body: Vec<u8>,
}

/// Why a request failed.
#[derive(Debug)]
pub(super) enum CallError {
    /// The server refuses, or failed.
    Problem(Box<ProblemDocument>),
    /// Anything else, ready to display.
    Other(Error),
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        CallError::Other(error)
    }
}

impl Success {
    /// The body as `T`; `what` was requested ("take the order").
    pub(super) fn json<T: DeserializeOwned>(&self, what: &str, transport: &Transport) -> Result<T> {
        serde_json::from_slice(&self.body)
            .map_err(|error| problem::nonsense(&error.to_string(), what, transport))
    }
}

impl Transport {
    /// Fetches the directory at `url`. A server that is not reachable (yet) is asked a few times only: a caller that
    /// waits for it reports that between the tries.
    ///
    /// `account_place` is the account's path.
    pub(super) async fn open(client: &Client, url: &Url, account_place: String) -> Result<Self, Failed> {
        let place = masked(url);
        let request =
            HttpRequest { limit: MAX_ANSWER, message_limit: MAX_MESSAGE, ..HttpRequest::get(url.clone()) };
        let answer = send(client, request, Again { harmless: true, tries: TRIES }).await;
        let answer = answer.map_err(|broken| absent(broken.error))?;
        let hint = "is this the directory? step-ca's is `https://HOST/acme/PROVISIONER/directory`";
        if answer.status != 200 {
            let after = retry_after(&answer.headers, client.env().now());
            let error = no_success(&answer).hint(hint).with_retry_after(after);
            let too_late = after.is_some_and(|after| after >= client.left());
            return Err(if too_late { error.into() } else { absent(error) });
        }
        let skew = skew(&answer.headers, client.env().now());
        let directory: AcmeDirectory = serde_json::from_slice(&answer.body).map_err(|error| {
            Error::failed("the server's answer is not an ACME directory").at(&place).because(error).hint(hint)
        })?;
        let transport = Transport {
            client: client.clone(),
            url: url.clone(),
            directory,
            account_place,
            skew,
            nonce: Mutex::default(),
            last: Mutex::default(),
            sent: AtomicBool::new(false),
        };
        let directory = &transport.directory;
        for url in [&directory.new_nonce, &directory.new_account, &directory.new_order] {
            transport.check(url)?;
        }
        Ok(transport)
    }

    /// Checks that a URL that the server sent may be requested: https, on the directory's origin, and a URL as in RFC
    /// 3986: what the URL standard repairs (a blank) would be signed in one form and requested in another.
    pub(super) fn check(&self, url: &str) -> Result<Url> {
        let (here, shown) = (&self.url, text::mask_url(url));
        let no_url = |error: anyhow::Error| {
            Error::failed("the ACME server sent an invalid URL").at(shorter(&shown)).because(error)
        };
        if url.len() > MAX_URL {
            return Err(no_url(anyhow::anyhow!("it is longer than {MAX_URL} bytes")));
        }
        url.parse::<hyper::Uri>().map_err(|error| no_url(error.into()))?;
        match Url::parse(url) {
            Ok(url) if same_origin(&url, here) && url.username().is_empty() && url.password().is_none() => {
                Ok(url)
            }
            Ok(_) => Err(Error::not_trusted(
                "the ACME server sends a URL on another origin than its directory's",
            )
            .at(shorter(&shown))
            .hint(format!(
                "its addresses must begin with `{}`: name the directory by the host that they have (`--directory`), or have the proxy in front of it keep the Host header",
                origin(here)
            ))),
            Err(error) => Err(no_url(error.into())),
        }
    }

    /// What the server offers.
    pub(super) fn directory(&self) -> &AcmeDirectory {
        &self.directory
    }

    /// The directory's URL.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The account's path, for messages.
    pub(super) fn account_place(&self) -> &str {
        &self.account_place
    }

    /// How far the server's clock is ahead of ours, in seconds, if it gave its time. Never "now" (threat T7).
    pub(super) fn skew(&self) -> Option<i64> {
        self.skew
    }

    /// The URL of the terms of service, if there are any.
    pub(super) fn terms(&self) -> Option<&str> {
        self.directory.meta.terms_of_service.as_deref()
    }

    /// Whether a new account needs an external one.
    pub(super) fn wants_external_account(&self) -> bool {
        self.directory.meta.external_account_required
    }

    /// Details of the last answer.
    pub(super) fn last(&self) -> Last {
        *locked(&self.last)
    }

    /// Starts to watch what is sent.
    pub(super) fn forget(&self) {
        self.sent.store(false, Ordering::Relaxed);
    }

    /// Whether a request that does not only read may have reached the server since then.
    pub(super) fn has_sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }

    /// The clock here, seconds since 1970.
    pub(super) fn now(&self) -> i64 {
        self.client.env().now()
    }

    /// The time left for everything.
    pub(super) fn left(&self) -> Duration {
        self.client.left()
    }

    /// Waits for `pause`; returns whether there is time left afterwards.
    pub(super) async fn wait(&self, pause: Duration) -> bool {
        let left = self.left();
        // After a signal there is no time left.
        self.client.shutdown().or(sleep(pause.min(left))).await.is_ok() && pause < left
    }

    /// Waits until the server may be asked again: as long as it said, but never without a pause, else for the next of
    /// `pause`. Returns whether there is time left; immediately if the server wants more than that.
    pub(super) async fn wait_to_ask(&self, pause: &mut Backoff) -> bool {
        let wait = at_least(self.last().retry_after.unwrap_or_default(), pause);
        if wait >= self.left() {
            return false;
        }
        self.wait(wait).await
    }

    /// The error that the time is up before the CA did `what`, with the CA's word on the time that it needs.
    pub(super) fn out_of_time(&self, what: &str) -> Error {
        let after = self.last().retry_after;
        let error = Error::unreachable(format!("the CA did not {what} in time"));
        let error = self.error(error).with_retry_after(after);
        match after {
            Some(after) if after >= self.left() => {
                error.hint(format!("it asks to check again in {}; raise `--timeout`", shown_duration(after)))
            }
            _ => error.hint("`--timeout 10m` gives it more time"),
        }
    }

    /// `error` with this server as its place.
    pub(super) fn error(&self, error: Error) -> Error {
        error.at(masked(&self.url))
    }

    /// Sends `payload` to `url`, signed.
    pub(super) async fn post(
        &self,
        by: SignedBy<'_>,
        url: &str,
        payload: &impl Serialize,
    ) -> Result<Success, CallError> {
        let payload = serde_json::to_vec(payload)
            .map_err(|error| self.error(Error::failed("could not write the request").because(error)))?;
        self.signed(by, url, &payload, Again { harmless: false, tries: TRIES }).await
    }

    /// Reads `url`, signed: POST-as-GET (RFC 8555 section 6.3).
    pub(super) async fn read(&self, by: SignedBy<'_>, url: &str) -> Result<Success, CallError> {
        self.signed(by, url, &[], Again { harmless: true, tries: u32::MAX }).await
    }

    /// Reads `url` without a signature, as anybody may.
    pub(super) async fn get(&self, url: &str) -> Result<Success, CallError> {
        let request = HttpRequest::get(self.check(url)?);
        self.exchange(request, Again { harmless: true, tries: TRIES }).await
    }

    async fn signed(
        &self,
        by: SignedBy<'_>,
        url: &str,
        payload: &[u8],
        again: Again,
    ) -> Result<Success, CallError> {
        let checked = self.check(url)?;
        let mut left = NONCES;
        loop {
            let mut header = Map::new();
            header.insert("nonce".to_owned(), self.nonce().await?.into());
            // As it was sent, not as it was parsed: the server compares.
            header.insert("url".to_owned(), url.into());
            match by.account {
                Some(account) => header.insert("kid".to_owned(), account.into()),
                None => header.insert("jwk".to_owned(), jwk::of(by.key.public())),
            };
            let body = jws::flattened(by.key, header, payload)?.to_string().into_bytes();
            let mut request = HttpRequest::post(checked.clone(), body);
            request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jose+json"));
            left -= 1;
            match self.exchange(request, again).await {
                Err(CallError::Problem(problem)) if is(&problem, "badNonce") && left > 0 => {}
                done => return done,
            }
        }
    }

    /// An unused nonce: that of the last answer, else a new one (RFC 8555 section 7.2).
    async fn nonce(&self) -> Result<String, CallError> {
        if let Some(nonce) = locked(&self.nonce).take() {
            return Ok(nonce);
        }
        let url = self.check(&self.directory.new_nonce)?;
        let request = HttpRequest { method: reqwest::Method::HEAD, ..HttpRequest::get(url) };
        self.exchange(request, Again { harmless: true, tries: u32::MAX }).await?;
        locked(&self.nonce).take().ok_or_else(|| {
            self.error(Error::failed("the ACME server answers without a nonce (`Replay-Nonce`)")).into()
        })
    }

    async fn exchange(&self, mut request: HttpRequest, again: Again) -> Result<Success, CallError> {
        (request.limit, request.message_limit) = (MAX_ANSWER, MAX_MESSAGE);
        let answer = send(&self.client, request, again).await;
        if !again.harmless && answer.as_ref().map_or_else(|broken| broken.sent, |_| true) {
            self.sent.store(true, Ordering::Relaxed);
        }
        let answer = answer.map_err(|broken| broken.error)?;
        let retry_after = retry_after(&answer.headers, self.now());
        *locked(&self.last) = Last { status: answer.status, retry_after };
        if let Some(nonce) = nonce_of(&answer.headers) {
            *locked(&self.nonce) = Some(nonce);
        }
        match answer.status {
            200..300 => Ok(Success {
                links: values(&answer.headers, &LINK).collect(),
                location: values(&answer.headers, &LOCATION).next(),
                body: answer.body,
                url: answer.url,
            }),
            300..400 => {
                let error = Error::failed("the ACME server redirects, which the protocol does not allow");
                Err(error.at(masked(&answer.url)).into())
            }
            // An answer to HEAD has no document with details.
            _ => Err(match problem_of(&answer.body) {
                Some(problem) => CallError::Problem(Box::new(problem)),
                None => no_success(&answer).with_retry_after(retry_after).into(),
            }),
        }
    }
}

/// The values of a header that are text.
fn values(headers: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok().map(ToOwned::to_owned))
}

/// Never held while something is awaited.
fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A nonce is base64url, and any other is ignored (RFC 8555 section 6.5.1); but one in the other alphabet, or padded,
/// does no harm.
fn nonce_of(headers: &HeaderMap) -> Option<String> {
    const LONGEST: usize = 1024;
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'+' | b'/' | b'=');
    values(headers, &REPLAY_NONCE)
        .find(|nonce| (1..=LONGEST).contains(&nonce.len()) && nonce.bytes().all(plain))
}

/// Whether and how often to repeat a request.
#[derive(Clone, Copy)]
struct Again {
    /// It may reach the server twice.
    harmless: bool,
    /// The most tries, while there is time.
    tries: u32,
}

/// An error of a server that may merely not be up yet.
fn absent(error: Error) -> Failed {
    Failed { again: error.kind() == ErrorKind::Unreachable, ..error.into() }
}

/// Sends `request` until there is an answer other than "not now". If time runs out during a further try, the previous
/// answer is returned: it is more precise than a timeout. Not so for a request that may not be sent twice and may have
/// reached the server: what became of it is unknown, and the caller has to know that.
async fn send(client: &Client, request: HttpRequest, again: Again) -> Result<FetchAnswer, Broken> {
    let mut pause = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    let mut tries = 1;
    let mut not_now = None;
    loop {
        let (outcome, wait) = match client.send(request.clone()).await {
            Err(broken) => {
                let worth = broken.error.kind() == ErrorKind::Unreachable && (again.harmless || !broken.sent);
                (Err(broken), worth.then(|| pause.take()))
            }
            // A request that a server or its proxy rejected at once was not processed. A server that is too busy tells
            // when to return; a limit that ends tomorrow is an answer.
            Ok(answer) => {
                let wait = match (answer.status, retry_after(&answer.headers, client.env().now())) {
                    (429 | 503, Some(after)) => Some(at_least(after, &mut pause)),
                    (502..=504, _) if again.harmless => Some(pause.take()),
                    // A limit without an end; an ACME server's own word on it is an answer.
                    (429, _) if again.harmless && problem_of(&answer.body).is_none() => Some(pause.take()),
                    _ => None,
                };
                (Ok(answer), wait)
            }
        };
        match wait {
            Some(wait) if tries < again.tries && wait < client.left() => {
                not_now = outcome.ok().or(not_now);
                sleep(wait).await;
            }
            _ => {
                return match (outcome, not_now) {
                    (Err(broken), Some(answer))
                        if client.left().is_zero() && (again.harmless || !broken.sent) =>
                    {
                        Ok(answer)
                    }
                    (outcome, _) => outcome,
                };
            }
        }
        tries = tries.saturating_add(1);
    }
}

/// The server's waiting time, or the next of `pause` if there is none: it is not asked without a break, whatever it
/// says.
fn at_least(after: Duration, pause: &mut Backoff) -> Duration {
    if after < Duration::from_secs(1) { pause.take() } else { after }
}

/// An error's body, if it is a problem document (RFC 7807) with any content.
fn problem_of(body: &[u8]) -> Option<ProblemDocument> {
    serde_json::from_slice::<ProblemDocument>(body)
        .ok()
        .filter(|problem| problem.kind.is_some() || problem.detail.is_some())
}

/// For an answer that is neither a success nor a problem document.
fn no_success(answer: &FetchAnswer) -> Error {
    let what = format!("`{}` answered with HTTP status {}", authority(&answer.url), answer.status);
    let error = match answer.status {
        502..=504 | 429 => Error::unreachable(what),
        _ => Error::failed(what),
    };
    let error = error.at(masked(&answer.url));
    let json = serde_json::from_slice::<Value>(&answer.body).ok();
    let said = json.and_then(|json| {
        ["detail", "message"].iter().find_map(|key| json[key].as_str().map(ToOwned::to_owned))
    });
    match said {
        Some(said) => error.because(anyhow::anyhow!("the server says: {}", text::escape(&said))),
        None => {
            error.because(anyhow::anyhow!("its answer is not an ACME error: {}", beginning(&answer.body)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_told_by_their_bodies() {
        assert!(problem_of(br#"{"type":"urn:ietf:params:acme:error:malformed"}"#).is_some());
        for body in ["", "<html>", "[]", "{}", r#"{"type":7}"#, r#"{"message":"x"}"#] {
            assert!(problem_of(body.as_bytes()).is_none(), "{body}");
        }
    }

    #[test]
    fn a_nonce_is_base64url_or_none() {
        let nonce = |value: &str| {
            nonce_of(&HeaderMap::from_iter([(REPLAY_NONCE, HeaderValue::from_str(value).expect("value"))]))
        };
        assert_eq!(nonce("oFvnlFP1wIhRlYS2jTaXbA-_").as_deref(), Some("oFvnlFP1wIhRlYS2jTaXbA-_"));
        for odd in ["", "a b", "a\\", "a\"", &"a".repeat(1025)] {
            assert_eq!(nonce(odd), None, "{odd}");
        }
    }
}
