//! One GET, with every limit: time, size, redirects; and `--wait`, which retries an unreachable server.

use reqwest::header::{HeaderMap, HeaderName, LOCATION};
use tokio::time::Instant;
use url::Url;

use super::Net;
use super::client::{Client, HttpRequest, MAX_MESSAGE};
use super::failure::{self, refuse};
use super::retry::{Backoff, Retry, retry_after};
use super::tls::Trust;
use super::url::{masked, origin, same_origin};
use crate::error::Result;

/// Largest body: as much as the largest bundle that is read from disk (threat T9).
pub const MAX_BODY: u64 = 32 * 1024 * 1024;

const MAX_REDIRECTS: usize = 5;

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct FetchAnswer {
    /// Its URL, redirects followed.
    pub(crate) url: Url,
    /// HTTP status; of [`Net::get`] never a redirect, never 502, 503 or 504 (those are errors).
    pub status: u16,
    /// As the server sent them.
    pub(crate) headers: HeaderMap,
    /// As many bytes as the request allowed, [`MAX_BODY`] at most; of a failure the first 16 KiB, unless it asked for
    /// more.
    pub body: Vec<u8>,
    /// The server's certificate (DER), as the connection presented it.
    pub(crate) server: Option<Vec<u8>>,
}

/// A header that is a date (RFC 9110 section 5.6.7), seconds since 1970. The name of the day does not matter.
pub(crate) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    let parser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    parser.parse_timestamp(text).ok().map(jiff::Timestamp::as_second)
}

impl FetchAnswer {
    /// The body of a success. step-ca answers 201 where others answer 200.
    pub fn success(self) -> Result<Vec<u8>> {
        match self.status {
            200 | 201 => Ok(self.body),
            status => Err(failure::status(&self.url, status, self.message().as_deref())),
        }
    }

    /// The server's message on a failure, if it is JSON such as step-ca's `{"status":404,"message":"..."}`.
    pub(crate) fn message(&self) -> Option<String> {
        let value: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        value.get("message")?.as_str().map(ToOwned::to_owned)
    }
}

impl Net {
    /// GETs `url`, trusting `trust`. Redirects are followed by hand, at most five, within the origin only.
    pub async fn get(&self, url: &Url, trust: &Trust) -> Result<FetchAnswer> {
        let client = self.client(url, trust)?;
        let last_start = self.wait_until.unwrap_or_else(Instant::now);
        let until = self.wait_until.unwrap_or_else(|| Instant::now() + self.left()).into_std();
        let retry = Retry::until(last_start.into_std(), Backoff::STARTING);
        let mut retry = retry.saying(&self.note, origin(url), until);
        self.shutdown.or(retry.run(async || try_once(&client, self, url).await)).await?
    }
}

/// One try, redirects followed, within the time left.
async fn try_once(client: &Client, net: &Net, url: &Url) -> Result<FetchAnswer> {
    match net.attempt(follow(client, url)).await? {
        Some(done) => done,
        None => Err(failure::timed_out(&client.peer(url), net.timeout)),
    }
}

async fn follow(client: &Client, start: &Url) -> Result<FetchAnswer> {
    let mut url = start.clone();
    for _ in 0..=MAX_REDIRECTS {
        let response =
            client.begin(HttpRequest::get(url.clone()), None).await.map_err(|broken| broken.error)?;
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            let answer = client.read(url, response, (MAX_BODY, MAX_MESSAGE)).await?;
            if failure::is_temporary(answer.status) {
                let error = failure::status(&answer.url, answer.status, answer.message().as_deref());
                return Err(error.with_retry_after(retry_after(&answer.headers, client.env().now())));
            }
            return Ok(answer);
        }
        let Some(target) = response.headers().get(LOCATION) else {
            return refuse(&url, "the server redirects without an address", "check the URL in a browser");
        };
        let target = target.to_str().ok().and_then(|target| url.join(target).ok());
        let Some(target) = target else {
            return refuse(&url, "the server redirects to an invalid URL", "check the URL in a browser");
        };
        if !same_origin(&url, &target) {
            let what = format!(
                "the server redirects from `{}` to another origin, `{}`",
                origin(&url),
                crate::text::escape(&masked(&target))
            );
            return refuse(
                start,
                what,
                "redirects are followed only within one scheme, host and port: if the target is right, give its address",
            );
        }
        url = target;
    }
    refuse(
        start,
        format!("the server redirects more than {MAX_REDIRECTS} times"),
        "check the URL in a browser",
    )
}

#[cfg(test)]
mod tests {
    use reqwest::header::DATE;

    use super::*;

    #[test]
    fn dates_of_servers() {
        let date_of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, text.parse().expect("a value"));
            date(&headers, &DATE)
        };
        assert_eq!(date_of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        for text in ["", "0", "yesterday", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(date_of(text), None, "{text}");
        }
        assert_eq!(date(&HeaderMap::new(), &DATE), None);
    }
}
