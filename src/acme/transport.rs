//! The HTTP below the ACME library: our own client, and on every request and answer what the library does not do: no
//! URL outside the directory's origin (threat T20), no body without an end, errors that are no JSON, Retry-After, a
//! second try where that is harmless.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
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

use super::pause::Pause;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::net::url::{authority, masked, origin, same_origin};
use crate::net::{Answer, Client, Request};
use crate::text;

/// The largest answer: a chain of certificates, or an order of a hundred names.
const MAX_ANSWER: u64 = 1024 * 1024;

/// How often a request is sent that does not get through.
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
    last: Mutex<Last>,
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
    /// Fetches the directory at `url`.
    pub(super) async fn open(client: &Client, url: &Url) -> Result<Self> {
        let place = masked(url);
        let answer = send(client, Request { limit: MAX_ANSWER, ..Request::get(url.clone()) }, true).await?;
        let hint = "is this the directory? step-ca's is `https://HOST/acme/PROVISIONER/directory`";
        if answer.status != 200 {
            return Err(no_success(&answer).hint(hint));
        }
        let directory: Directory = serde_json::from_slice(&answer.body).map_err(|error| {
            Error::failed("the server's answer is no ACME directory").at(&place).because(error).hint(hint)
        })?;
        let body = Bytes::from(answer.body);
        let (client, url) = (client.clone(), url.clone());
        let transport = Transport(Arc::new(Inner { client, url, body, directory, last: Mutex::default() }));
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

    /// Waits until the server may be asked again: as long as it said, else for the next of `pause`. Says whether there is
    /// time left; if the server wants more than that, at once.
    pub(super) async fn wait_to_ask(&self, pause: &mut Pause) -> bool {
        match self.last().retry_after {
            Some(after) if after >= self.left() => false,
            Some(after) => self.wait(after).await,
            None => self.wait(pause.take()).await,
        }
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
        let again = head.method != Method::POST || is_reading(&body);
        let mut headers = head.headers;
        // Ours says who asks.
        headers.remove(reqwest::header::USER_AGENT);
        let request = Request { method: head.method.clone(), url, headers, body, limit: MAX_ANSWER };
        let answer = send(&self.0.client, request, again).await?;
        let retry_after = retry_after(&answer, self.0.client.env());
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Last { status: answer.status, retry_after };
        let status = match answer.status {
            // 204 is what newNonce answers to a GET, and some servers to a HEAD.
            204 if head.method == Method::HEAD => 200,
            300..400 => {
                return Err(Error::failed("the ACME server redirects, which the protocol has no place for")
                    .at(masked(&answer.url)));
            }
            400.. if head.method != Method::HEAD && !is_problem(&answer.body) => {
                return Err(no_success(&answer));
            }
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

/// Sends `request` until there is an answer that is none of "not now". `again`: it may reach the server twice.
async fn send(client: &Client, request: Request, again: bool) -> Result<Answer> {
    let mut pause = Pause::new(Duration::from_millis(200), Duration::from_secs(5));
    let mut tries = 1;
    loop {
        let (outcome, wait) = match client.send(request.clone()).await {
            Err(broken) => {
                let worth = broken.error.kind() == crate::error::Kind::Unreachable && (again || !broken.sent);
                (Err(broken.error), worth.then(|| pause.take()))
            }
            // A request that a server or its proxy turned away at the door was not worked on. One that a server is
            // too busy for says when; a limit that ends tomorrow is an answer.
            Ok(answer) => {
                let wait = match (answer.status, retry_after(&answer, client.env())) {
                    (429 | 503, Some(wait)) => Some(wait),
                    (502..=504, _) if again => Some(pause.take()),
                    _ => None,
                };
                (Ok(answer), wait)
            }
        };
        match wait {
            Some(wait) if tries < TRIES && wait < client.left() => sleep(wait).await,
            _ => return outcome,
        }
        tries += 1;
    }
}

/// A URL of any length, for people.
pub(super) fn shorter(url: &str) -> String {
    const SHOWN: usize = 200;
    match url.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &url[..end]),
        None => url.to_owned(),
    }
}

/// A waiting time as people say it.
pub(super) fn shown_duration(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
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

/// Retry-After as a number of seconds or a date (RFC 9110 section 10.2.3).
fn retry_after(answer: &Answer, env: &Env) -> Option<Duration> {
    let text = answer.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_second();
    Some(Duration::from_secs(u64::try_from(date.saturating_sub(env.now())).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(retry_after: &str) -> Answer {
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after.parse().expect("header"));
        Answer { url: Url::parse("https://ca.test/").expect("URL"), status: 503, headers, body: Vec::new() }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // 1994-11-06 08:49:37 UTC, a little before.
        let env = Env::fixed([], 784_111_770);
        for (text, wanted) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(&answer(text), &env), wanted.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn waiting_times_are_readable() {
        let shown = [30, 600, 90_000].map(|seconds| shown_duration(Duration::from_secs(seconds)));
        assert_eq!(shown, ["30 s", "10 min", "25 h"]);
    }

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
