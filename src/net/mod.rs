//! The network: an HTTP/1.1 client for the few documents that trustup fetches.
//!
//! It decides names (`dns`), proxies (`proxy`), trust (`tls`) and limits (`fetch`) by itself: no NSS plug-ins, no proxy
//! read behind our back, no redirect to another origin, no endless body or wait. Nothing here writes to disk; bytes
//! that came over unverified TLS stay in memory until a pin matched.

pub(crate) mod client;
pub mod dns;
mod failure;
mod fetch;
pub mod handshake;
pub(crate) mod listener;
pub(crate) mod progress;
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
use self::progress::Note;
use self::proxy::Proxies;
use crate::error::Result;
use crate::host::env::Env;
use crate::host::shutdown::Shutdown;

/// Where requests come from.
#[derive(Clone, Debug)]
pub struct NetContext<'a> {
    /// Variables and clock.
    pub(crate) env: &'a Env,
    /// Ends every wait.
    pub(crate) shutdown: Shutdown,
    /// Is told now and then what is waited for.
    pub(crate) note: Note,
}

impl<'a> From<&'a Env> for NetContext<'a> {
    /// No signal ends a wait, and nobody is told of it.
    fn from(env: &'a Env) -> Self {
        NetContext { env, shutdown: Shutdown::default(), note: Note::default() }
    }
}

/// What all requests of one run share: names, proxies, clock and the time left.
#[derive(Clone, Debug)]
pub struct Net {
    dns: Arc<Dns>,
    proxies: Proxies,
    env: Env,
    /// Longest time for one attempt.
    timeout: Duration,
    /// Whether `--wait` was given: an unreachable server is retried until then.
    wait_until: Option<Instant>,
    /// The deadline for everything.
    deadline: Instant,
    /// Who is told that [`Net::get`] waits.
    note: Note,
    /// Ends every wait for an answer.
    shutdown: Shutdown,
}

impl Net {
    /// Starts the clock: from now on `timeout` is left (and `wait` more, if an unreachable server is to be retried).
    ///
    /// Must be called inside a tokio runtime.
    pub fn new<'a>(
        context: impl Into<NetContext<'a>>,
        settings: &dns::ResolverSettings,
        timeout: Duration,
        wait: Option<Duration>,
    ) -> Result<Self> {
        let NetContext { env, shutdown, note } = context.into();
        let start = Instant::now();
        Ok(Net {
            dns: Arc::new(Dns::new(settings)?),
            proxies: Proxies::from_env(env),
            env: env.clone(),
            timeout,
            wait_until: wait.map(|wait| start + wait),
            deadline: start + timeout + wait.unwrap_or_default(),
            note,
            shutdown,
        })
    }

    /// The proxy that requests to `url` go through, credentials masked (threat T17).
    pub(crate) fn proxy_shown(&self, url: &::url::Url) -> Option<String> {
        // The request itself reports an unusable one.
        self.proxies.for_url(url).ok().flatten().map(proxy::Proxy::shown)
    }
}
