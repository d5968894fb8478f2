//! The HTTP below the ACME library: our own client, and on every request and answer what the library does not do: no
//! URL outside the directory's origin (threat T20), no body without an end, errors that are no JSON, Retry-After, a
//! second try where that is harmless.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Response, StatusCode};
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use reqwest::header::RETRY_AFTER;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;
use url::Url;

use super::Failed;
use super::pause::Pause;
use super::waiting::{retry_after, shown_duration, skew};
use crate::error::{Error, Kind, Result};
use crate::net::url::{authority, masked, origin, same_origin};
use crate::net::{Answer, Broken, Client, Request};
use crate::text;

/// The largest answer: a chain of certificates, or an order of a hundred names.
const MAX_ANSWER: u64 = 1024 * 1024;

/// The largest problem document: it may have a word on each of a hundred names.
const MAX_MESSAGE: u64 = 256 * 1024;

/// How often a request is sent that does not get through and may not arrive twice.
const TRIES: u32 = 4;

/// The directory (RFC 8555 section 7.1.1): what of it the library does not tell.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    new_nonce: String,
    new_account: String,
    new_order: String,
    #[serde(default)]
    meta: Meta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    terms_of_service: Option<String>,
    #[serde(default)]
    external_account_required: bool,
    #[serde(default)]
    profiles: BTreeMap<String, Value>,
}

/// One server, as the library is to see it. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Transport(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    url: Url,
    /// The directory as it came: the library asks for it again with every account.
    body: Bytes,
    directory: Directory,
    /// Where the account is kept, for messages.
    account_place: String,
    /// How far its clock is ahead of ours, in seconds, by the answer that the directory came with.
    skew: Option<i64>,
    last: Mutex<Last>,
    /// Whether a request that does not only read may have reached the server since [`Transport::forget`].
    sent: AtomicBool,
}

/// What the library does not pass on of the last answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Last {
    /// Its HTTP status.
    pub(super) status: u16,
    /// What Retry-After said.
    pub(super) retry_after: Option<Duration>,
}

impl Transport {
    /// Fetches the directory at `url`. A server that is not there (yet) is asked a few times only: who waits for it says
    /// so between the tries.
    ///
    /// `account_place` says where the account is kept.
    pub(super) async fn open(client: &Client, url: &Url, account_place: String) -> Result<Self, Failed> {
        let place = masked(url);
        let request = Request { limit: MAX_ANSWER, message_limit: MAX_MESSAGE, ..Request::get(url.clone()) };
        let answer = send(client, request, Again { harmless: true, tries: TRIES }).await;
        let answer = answer.map_err(|broken| absent(broken.error))?;
        let hint = "is this the directory? step-ca's is `https://HOST/acme/PROVISIONER/directory`";
        if answer.status != 200 {
            let error = no_success(&answer).hint(hint);
            let too_late =
                retry_after(&answer.headers, client.env().now()).is_some_and(|after| after >= client.left());
            return Err(if too_late { error.into() } else { absent(error) });
        }
        let skew = skew(&answer.headers, client.env().now());
        let directory: Directory = serde_json::from_slice(&answer.body).map_err(|error| {
            Error::failed("the server's answer is no ACME directory").at(&place).because(error).hint(hint)
        })?;
        let body = Bytes::from(answer.body);
        let (client, url) = (client.clone(), url.clone());
        let (last, sent) = (Mutex::default(), AtomicBool::new(false));
        let inner = Inner { client, url, body, directory, account_place, skew, last, sent };
        let transport = Transport(Arc::new(inner));
        let directory = &transport.0.directory;
        for url in [&directory.new_nonce, &directory.new_account, &directory.new_order] {
            transport.check(url)?;
        }
        Ok(transport)
    }

    /// A URL that the server sent, as it may be asked: https, on the directory's origin, and one for the library, too,
    /// which takes it as it was sent and panics over some (a blank, more than 64 KiB).
    pub(super) fn check(&self, url: &str) -> Result<Url> {
        let (here, shown) = (&self.0.url, text::mask_url(url));
        let no_url = |error: anyhow::Error| {
            Error::failed("the ACME server sends something that is no URL").at(shorter(&shown)).because(error)
        };
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
                "all of its addresses must begin with `{}`: is a proxy between that changes the Host header?",
                origin(here)
            ))),
            Err(error) => Err(no_url(error.into())),
        }
    }

    /// For the library's builders.
    pub(super) fn boxed(&self) -> Box<dyn HttpClient> {
        Box::new(self.clone())
    }

    /// The directory's URL.
    pub(super) fn directory(&self) -> &Url {
        &self.0.url
    }

    /// Where the account is kept, for messages.
    pub(super) fn account_place(&self) -> &str {
        &self.0.account_place
    }

    /// How far the server's clock is ahead of ours, in seconds, if it said what time it is there. Never "now" (threat T7).
    pub(super) fn skew(&self) -> Option<i64> {
        self.0.skew
    }

    /// Where the terms of service are, if there are any.
    pub(super) fn terms(&self) -> Option<&str> {
        self.0.directory.meta.terms_of_service.as_deref()
    }

    /// Whether a new account needs an external one.
    pub(super) fn wants_external_account(&self) -> bool {
        self.0.directory.meta.external_account_required
    }

    /// The names of the profiles.
    pub(super) fn profiles(&self) -> Vec<&str> {
        self.0.directory.meta.profiles.keys().map(String::as_str).collect()
    }

    /// What was remarkable about the last answer.
    pub(super) fn last(&self) -> Last {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it is watched what is sent.
    pub(super) fn forget(&self) {
        self.0.sent.store(false, Ordering::Relaxed);
    }

    /// Whether a request that does not only read may have reached the server since then.
    pub(super) fn has_sent(&self) -> bool {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// The time that is left for everything.
    pub(super) fn left(&self) -> Duration {
        self.0.client.left()
    }

    /// Waits for `pause`; says whether there is time left afterwards.
    pub(super) async fn wait(&self, pause: Duration) -> bool {
        let left = self.left();
        sleep(pause.min(left)).await;
        pause < left
    }

    /// Waits until the server may be asked again: as long as it said, but not without any pause, else for the next of
    /// `pause`. Says whether there is time left; if the server wants more than that, at once.
    pub(super) async fn wait_to_ask(&self, pause: &mut Pause) -> bool {
        let wait = at_least(self.last().retry_after.unwrap_or_default(), pause);
        if wait >= self.left() {
            return false;
        }
        self.wait(wait).await
    }

    /// That the time is up before the CA did `what`, and what it says of the time that it needs.
    pub(super) fn out_of_time(&self, what: &str) -> Error {
        let error = self.error(Error::unreachable(format!("the CA did not {what} in time")));
        match self.last().retry_after {
            Some(after) if after >= self.left() => error.hint(format!(
                "it asks to look again in {}; `--timeout` gives it the time",
                shown_duration(after)
            )),
            _ => error.hint("`--timeout 10m` gives it more time"),
        }
    }

    /// `error` with this server as its place.
    pub(super) fn error(&self, error: Error) -> Error {
        error.at(masked(&self.0.url))
    }

    async fn exchange(&self, request: hyper::Request<BodyWrapper<Bytes>>) -> Result<BytesResponse> {
        let (head, body) = request.into_parts();
        let url = self.check(&head.uri.to_string())?;
        if head.method == Method::GET && url == self.0.url {
            return Ok(BytesResponse::from(Response::new(Full::new(self.0.body.clone()))));
        }
        let body = match body.collect().await {
            Ok(body) => body.to_bytes().to_vec(),
            Err(never) => match never {},
        };
        let again = if head.method != Method::POST || is_reading(&body) {
            Again { harmless: true, tries: u32::MAX }
        } else {
            Again { harmless: false, tries: TRIES }
        };
        let mut headers = head.headers;
        // Ours says who asks.
        headers.remove(reqwest::header::USER_AGENT);
        let (method, limit, message_limit) = (head.method.clone(), MAX_ANSWER, MAX_MESSAGE);
        let request = Request { method, url, headers, body, limit, message_limit };
        let answer = send(&self.0.client, request, again).await;
        if !again.harmless && answer.as_ref().map_or_else(|broken| broken.sent, |_| true) {
            self.0.sent.store(true, Ordering::Relaxed);
        }
        let answer = answer.map_err(|broken| broken.error)?;
        let retry_after = retry_after(&answer.headers, self.0.client.env().now());
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Last { status: answer.status, retry_after };
        let status = match answer.status {
            // 204 is what newNonce answers to a GET, and some servers to a HEAD.
            204 if head.method == Method::HEAD => 200,
            300..400 => {
                return Err(Error::failed("the ACME server redirects, which the protocol has no place for")
                    .at(masked(&answer.url)));
            }
            // An answer to HEAD has no document that would say more.
            400.. if !is_problem(&answer.body) => return Err(no_success(&answer)),
            status => status,
        };
        let mut headers = answer.headers;
        // The library adds it to the time of day, and panics where that overflows; what it says is kept in `last`.
        headers.remove(RETRY_AFTER);
        let mut response = Response::new(Full::new(Bytes::from(answer.body)));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = headers;
        Ok(BytesResponse::from(response))
    }
}

impl HttpClient for Transport {
    fn request(
        &self,
        request: hyper::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let this = self.clone();
        Box::pin(async move {
            this.exchange(request).await.map_err(|error| instant_acme::Error::Other(Box::new(error)))
        })
    }
}

/// Whether and how often a request is sent again.
#[derive(Clone, Copy)]
struct Again {
    /// It may reach the server twice.
    harmless: bool,
    /// The most tries, while there is time.
    tries: u32,
}

/// An error of a server that may only not be there yet.
fn absent(error: Error) -> Failed {
    Failed { again: error.kind() == Kind::Unreachable, ..error.into() }
}

/// Sends `request` until there is an answer that is none of "not now".
async fn send(client: &Client, request: Request, again: Again) -> Result<Answer, Broken> {
    let mut pause = Pause::new(Duration::from_millis(200), Duration::from_secs(5));
    let mut tries = 1;
    loop {
        let (outcome, wait) = match client.send(request.clone()).await {
            Err(broken) => {
                let worth = broken.error.kind() == Kind::Unreachable && (again.harmless || !broken.sent);
                (Err(broken), worth.then(|| pause.take()))
            }
            // A request that a server or its proxy turned away at the door was not worked on. One that a server is
            // too busy for says when; a limit that ends tomorrow is an answer.
            Ok(answer) => {
                let wait = match (answer.status, retry_after(&answer.headers, client.env().now())) {
                    (429 | 503, Some(after)) => Some(at_least(after, &mut pause)),
                    (502..=504, _) if again.harmless => Some(pause.take()),
                    // A limit that says nothing of its end; an ACME server's own word on it is an answer.
                    (429, _) if again.harmless && !is_problem(&answer.body) => Some(pause.take()),
                    _ => None,
                };
                (Ok(answer), wait)
            }
        };
        match wait {
            Some(wait) if tries < again.tries && wait < client.left() => sleep(wait).await,
            _ => return outcome,
        }
        tries = tries.saturating_add(1);
    }
}

/// What a server says of the time to wait, or the next of `pause` where that is none: it is not asked without a break,
/// whatever it says.
fn at_least(after: Duration, pause: &mut Pause) -> Duration {
    if after < Duration::from_secs(1) { pause.take() } else { after }
}

/// A URL of any length, for people.
pub(super) fn shorter(url: &str) -> String {
    const SHOWN: usize = 200;
    match url.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &url[..end]),
        None => url.to_owned(),
    }
}

/// Whether a signed request has an empty payload, so that it only reads (POST-as-GET, RFC 8555 section 6.3).
fn is_reading(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|value| value["payload"] == "")
}

/// Whether an error's body is a problem document (RFC 7807), as far as the library needs it.
fn is_problem(body: &[u8]) -> bool {
    serde_json::from_slice::<instant_acme::Problem>(body)
        .is_ok_and(|problem| problem.r#type.is_some() || problem.detail.is_some())
}

/// For an answer that is no success and no problem document.
fn no_success(answer: &Answer) -> Error {
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
        None => error.because(anyhow::anyhow!("what it says is no ACME error: {}", beginning(&answer.body))),
    }
}

/// The first words of a body, for people.
fn beginning(body: &[u8]) -> String {
    const SHOWN: usize = 80;
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * SHOWN)]);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() {
        return "nothing".to_owned();
    }
    format!("`{}`", text::escape(&words.chars().take(SHOWN).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_and_problems_are_told_by_their_bodies() {
        assert!(is_reading(br#"{"protected":"x","payload":"","signature":"y"}"#));
        assert!(!is_reading(br#"{"protected":"x","payload":"e30","signature":"y"}"#) && !is_reading(b""));
        assert!(is_problem(br#"{"type":"urn:ietf:params:acme:error:malformed"}"#));
        for body in ["", "<html>", "[]", "{}", r#"{"type":7}"#, r#"{"message":"x"}"#] {
            assert!(!is_problem(body.as_bytes()), "{body}");
        }
    }
}
