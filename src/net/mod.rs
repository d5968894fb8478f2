//! The network: an HTTP/1.1 client for the few documents that trustup fetches.
//!
//! It decides names (`dns`), proxies (`proxy`), trust (`tls`) and limits (`fetch`) by itself: no NSS plug-ins, no proxy
//! read behind our back, no redirect to another origin, no endless body or wait. Nothing here writes to disk; bytes
//! that came over unverified TLS stay in memory until a pin matched.

mod client;
pub mod connect;
pub mod dns;
mod endpoint;
mod failure;
mod fetch;
pub mod handshake;
pub(crate) mod http_server;
pub(crate) mod listener;
pub(crate) mod progress;
pub(crate) mod proxy;
pub(crate) mod retry;
mod stream;
pub mod tls;
pub(crate) mod tls_words;
pub mod url;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use self::client::{Broken, Client, HttpRequest};
pub(crate) use self::fetch::date;
pub use self::fetch::{FetchAnswer, MAX_BODY};
pub use self::stream::{AnswerStream, Upload};
pub use self::tls::{Credentials, Identity, Trust};

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
    pub shutdown: Shutdown,
    /// Is told now and then what is waited for.
    pub(crate) note: Note,
}

impl<'a> From<&'a Env> for NetContext<'a> {
    /// No signal ends a wait, and nobody is told of it.
    fn from(env: &'a Env) -> Self {
        NetContext { env, shutdown: Shutdown::default(), note: Note::default() }
    }
}

/// What all requests share: names, proxies and clock. It may be kept for as long as the process runs; work that has to
/// come to an end gets a copy with a deadline ([`Net::within`]).
#[derive(Clone, Debug)]
pub struct Net {
    dns: Arc<Dns>,
    proxies: Proxies,
    env: Env,
    /// Longest time for one attempt, from its start.
    timeout: Duration,
    /// Whether `--wait` was given: an unreachable server is retried until then.
    wait_until: Option<Instant>,
    /// The deadline of the work that requests belong to.
    deadline: Option<Instant>,
    /// Who is told that [`Net::get`] waits.
    note: Note,
    /// Ends every wait for an answer.
    shutdown: Shutdown,
}

impl Net {
    /// A network without a deadline: each request has `timeout`, whenever it is sent.
    ///
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Name resolution cannot be set up.
    pub fn new<'a>(
        context: impl Into<NetContext<'a>>,
        names: impl Into<dns::NameSource>,
        timeout: Duration,
    ) -> Result<Self> {
        let NetContext { env, shutdown, note } = context.into();
        Ok(Net {
            dns: Arc::new(Dns::new(names)?),
            proxies: Proxies::from_env(env),
            env: env.clone(),
            timeout,
            wait_until: None,
            deadline: None,
            note,
            shutdown,
        })
    }

    /// The same network for work that begins now: `time` is left for all its requests together (and `wait` more, if an
    /// unreachable server is to be retried).
    #[must_use]
    pub fn within(&self, time: Duration, wait: Option<Duration>) -> Self {
        let start = Instant::now();
        Net {
            timeout: time,
            wait_until: wait.map(|wait| start + wait),
            deadline: Some(start + time + wait.unwrap_or_default()),
            ..self.clone()
        }
    }

    /// The time left for the work, or for a request that is sent now if there is no deadline.
    pub(crate) fn left(&self) -> Duration {
        let now = Instant::now();
        self.deadline.map_or(self.timeout, |deadline| deadline.saturating_duration_since(now))
    }

    /// How long to wait for one connection: less than an attempt may take, and shared among a host's addresses, so that
    /// a dead one does not use up the time of the next.
    fn connect_timeout(&self) -> Duration {
        self.timeout.mul_f64(0.9)
    }

    /// Awaits `attempt` for as long as one may take; `None` if that is over, or no time was left for it.
    ///
    /// # Errors
    /// A signal came first.
    async fn attempt<T>(&self, attempt: impl Future<Output = T>) -> Result<Option<T>> {
        let most = self.left().min(self.timeout);
        if most.is_zero() {
            return Ok(None);
        }
        let done = self.shutdown.or(tokio::time::timeout(most, attempt)).await?;
        Ok(done.ok())
    }

    /// The proxy that requests to `url` go through, credentials masked (threat T17).
    pub(crate) fn proxy_shown(&self, url: &::url::Url) -> Option<String> {
        // The request itself reports an unusable one.
        self.proxies.for_url(url).ok().flatten().map(proxy::Proxy::shown)
    }
}
