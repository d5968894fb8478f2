//! The network: an HTTP/1.1 client for the few documents that trustup fetches.
//!
//! It decides names (`dns`), proxies (`proxy`), whom to believe (`tls`) and limits (`fetch`) by itself: no NSS
//! plug-ins, no proxy read behind our back, no redirect to another origin, no body or wait without an end.
//! Nothing here writes to disk; bytes that came over unverified TLS stay in memory until a pin matched.

pub(crate) mod client;
pub mod dns;
mod failure;
mod fetch;
pub mod handshake;
pub(crate) mod proxy;
pub(crate) mod retry;
pub mod tls;
pub(crate) mod tls_words;
pub mod url;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::client::{Broken, Client, HttpRequest};
pub(crate) use self::fetch::date;
pub use self::fetch::{FetchAnswer, MAX_BODY};
pub use self::tls::Trust;

use self::dns::Dns;
use self::proxy::Proxies;
use crate::env::Env;
use crate::error::Result;

/// What all requests of one run share: names, proxies, clock and the time that is left.
#[derive(Clone, Debug)]
pub struct Net {
    dns: Arc<Dns>,
    proxies: Proxies,
    env: Env,
    /// Most time that one attempt may take.
    timeout: Duration,
    /// Whether `--wait` was given: an unreachable server is asked again until then.
    wait_until: Option<Instant>,
    /// The end of everything.
    deadline: Instant,
}

impl Net {
    /// Starts the clock: from now on `timeout` is left (and `wait` more, if an unreachable server is to be
    /// asked again). Fails if a proxy variable cannot be understood.
    ///
    /// Must be called inside a tokio runtime.
    pub fn new(
        env: &Env,
        settings: &dns::ResolverSettings,
        timeout: Duration,
        wait: Option<Duration>,
    ) -> Result<Self> {
        let start = Instant::now();
        Ok(Net {
            dns: Arc::new(Dns::new(settings)?),
            proxies: Proxies::from_env(env)?,
            env: env.clone(),
            timeout,
            wait_until: wait.map(|wait| start + wait),
            deadline: start + timeout + wait.unwrap_or_default(),
        })
    }

    /// The proxy that requests to `url` go through, credentials masked (threat T17).
    pub(crate) fn proxy_shown(&self, url: &::url::Url) -> Option<String> {
        self.proxies.for_url(url).map(proxy::Proxy::shown)
    }
}
