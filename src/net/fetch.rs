//! One GET, with every limit: time, size, redirects; and `--wait`, which asks an unreachable server again.

use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, LOCATION};
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use super::Net;
use super::failure::{self, refuse};
use super::proxy::Proxy;
use super::tls::{self, Trust};
use super::url::{masked, origin, same_origin};
use crate::error::{Error, Kind, Result};

/// Largest body: as much as the largest bundle that is read from a disk (threat T9).
pub const MAX_BODY: u64 = 32 * 1024 * 1024;

/// The body of an answer that is no success is read for its message only.
const MAX_MESSAGE: u64 = 16 * 1024;

const MAX_REDIRECTS: usize = 5;

/// Pauses between tries of `--wait`: doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(3);

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Where it came from, redirects followed.
    pub url: Url,
    /// HTTP status: never a redirect, never 502, 503 or 504 (those are errors).
    pub status: u16,
    /// At most [`MAX_BODY`] bytes.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body of a success. step-ca answers 201 where others say 200.
    pub fn success(self) -> Result<Vec<u8>> {
        match self.status {
            200 | 201 => Ok(self.body),
            status => Err(failure::status(&self.url, status, self.message().as_deref())),
        }
    }

    /// What the server says of a failure, if it is JSON such as step-ca's `{"status":404,"message":"..."}`.
    fn message(&self) -> Option<String> {
        let value: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        value.get("message")?.as_str().map(ToOwned::to_owned)
    }
}

impl Net {
    /// GETs `url`, believing `trust`. Redirects are followed by hand, at most five, within the origin only.
    pub async fn get(&self, url: &Url, trust: &Trust) -> Result<Answer> {
        let exchange = Exchange::new(self, url, trust)?;
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match exchange.try_once(url).await {
                Err(error) if error.kind() == Kind::Unreachable => error,
                done => return done,
            };
            let now = Instant::now();
            match self.wait_until {
                Some(until) if now < until => sleep(pause.min(until - now)).await,
                _ => return Err(error),
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }
}

/// The means of one GET.
struct Exchange<'a> {
    net: &'a Net,
    client: reqwest::Client,
    trust: &'a Trust,
    proxy: Option<&'a Proxy>,
}

impl<'a> Exchange<'a> {
    fn new(net: &'a Net, url: &Url, trust: &'a Trust) -> Result<Self> {
        let proxy = net.proxies.for_url(url);
        let failed = |error: reqwest::Error| {
            Error::failed("could not set up the HTTP client").because(error.without_url())
        };
        // `no_proxy` first: otherwise the client reads the variables of the process by itself.
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            // Shared out among a host's addresses: a dead one does not use up the time of the next.
            .connect_timeout(net.timeout.mul_f64(0.9))
            .user_agent(concat!("trustup/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(super::dns::Resolver(net.dns.clone()))
            .tls_backend_preconfigured(tls::client_config(trust, &net.env)?);
        if let Some(proxy) = proxy {
            builder = builder.proxy(reqwest::Proxy::all(proxy.url().clone()).map_err(failed)?);
        }
        Ok(Exchange { net, client: builder.build().map_err(failed)?, trust, proxy })
    }

    async fn try_once(&self, url: &Url) -> Result<Answer> {
        let left = self.net.deadline.saturating_duration_since(Instant::now()).min(self.net.timeout);
        match timeout(left, self.follow(url)).await {
            Ok(done) => done,
            Err(_) => Err(failure::timed_out(url, self.net.timeout.as_secs_f64())),
        }
    }

    async fn follow(&self, start: &Url) -> Result<Answer> {
        let mut url = start.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self
                .client
                .get(url.clone())
                .send()
                .await
                .map_err(|error| failure::explain(&error, &url, self.trust, self.proxy))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return self.read(url, response).await;
            }
            let Some(target) = response.headers().get(LOCATION) else {
                return refuse(
                    &url,
                    "the server redirects without saying where",
                    "check the URL in a browser",
                );
            };
            let target = target.to_str().ok().and_then(|target| url.join(target).ok());
            let Some(target) = target else {
                return refuse(
                    &url,
                    "the server redirects to something that is no URL",
                    "check the URL in a browser",
                );
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

    /// Reads the body, counting.
    async fn read(&self, url: Url, mut response: reqwest::Response) -> Result<Answer> {
        let status = response.status().as_u16();
        let is_success = response.status().is_success();
        let limit = if is_success { MAX_BODY } else { MAX_MESSAGE };
        let encoding = response.headers().get(CONTENT_ENCODING);
        if is_success && encoding.is_some_and(|encoding| encoding != "identity") {
            return refuse(
                &url,
                "the answer is compressed, although that was not asked for",
                "serve the file as it is",
            );
        }
        let too_large = || {
            refuse(
                &url,
                format!("the answer is larger than {} MiB", MAX_BODY / 1024 / 1024),
                "is this the address of certificates?",
            )
        };
        if is_success && response.content_length().is_some_and(|length| length > limit) {
            return too_large();
        }
        let mut body = Vec::new();
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                // The status says enough when the message cannot be had.
                Err(_) if !is_success => break,
                Err(error) => return Err(failure::explain(&error, &url, self.trust, self.proxy)),
            };
            if (body.len() as u64).saturating_add(chunk.len() as u64) > limit {
                if is_success {
                    return too_large();
                }
                break;
            }
            body.extend_from_slice(&chunk);
        }
        let answer = Answer { url, status, body };
        if failure::is_temporary(status) {
            return Err(failure::status(&answer.url, status, answer.message().as_deref()));
        }
        Ok(answer)
    }
}
