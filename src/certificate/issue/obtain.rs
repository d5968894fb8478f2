//! Requests the certificate: the methods in their order, each repeated while that can help and time is left; the answer
//! is checked before it is passed on.

use std::path::Path;
use std::time::{Duration, Instant};

use super::keys::Keys;
use super::methods::{Failure, IssueFacts, IssueOrder, KeyUse, Method};
use super::resolve::{ResolvedInputs, roots_for};
use super::trust::{self, Recorded};
use super::{IssueContext, IssueRequest, refused};
use crate::certificate::check::{self, Roots, Vouched, Wanted};
use crate::certificate::pending::Pending;
use crate::error::{Error, Result};
use crate::net::dns::ResolverFiles;
use crate::net::progress::Note;
use crate::net::retry::{self, Backoff, Retry};
use crate::net::url::{masked, origin, same_origin};
use crate::net::{Net, NetContext};
use crate::pki::cert::Certificate;
use crate::pki::fingerprint::Fingerprint;
use crate::pki::key::PrivateKey;

/// A try with less than this part of the time left is not started: cutting it short would hide the error of the
/// previous try.
const LEAST: u32 = 10;

/// The methods that can work, and why the others cannot.
pub(super) struct Usable<'a> {
    methods: Vec<&'a dyn Method>,
    pub(super) skipped: Vec<(&'static str, String)>,
}

impl<'a> Usable<'a> {
    /// The first one to try.
    pub(super) fn first(&self) -> Option<&'a dyn Method> {
        self.methods.first().copied()
    }
}

/// Checks every method before anything is requested, changed or spent.
///
/// # Errors
/// None can work.
pub(super) fn usable_methods<'a>(request: &'a IssueRequest, about: &IssueFacts<'_>) -> Result<Usable<'a>> {
    let mut usable = Usable { methods: Vec::new(), skipped: Vec::new() };
    let mut first = None;
    for method in &request.methods {
        match method.check(about) {
            Ok(()) => usable.methods.push(method.as_ref()),
            Err(error) => {
                usable.skipped.push((method.name(), error.to_string()));
                first.get_or_insert(error);
            }
        }
    }
    match first {
        Some(error) if usable.methods.is_empty() => Err(with_others(error, &usable.skipped)),
        // Neither the command line nor trustup.toml requests a certificate without one.
        None if usable.methods.is_empty() => Err(Error::usage("no enrollment method is given")),
        _ => Ok(usable),
    }
}

/// An error with what happened to the other methods.
fn with_others(error: Error, skipped: &[(&'static str, String)]) -> Error {
    if skipped.len() < 2 {
        return error;
    }
    // Several methods may have failed at the same server.
    let main = error.to_string();
    let others = skipped.iter().filter(|(_, why)| *why != main);
    others.fold(error, |error, (name, why)| error.hint(format!("`{name}` was tried as well: {why}")))
}

/// A chain that passed every check.
pub(super) struct Obtained<'a> {
    pub(super) chain: Vec<Certificate>,
    pub(super) vouched: Vouched,
    pub(super) roots: Roots,
    pub(super) method: &'a dyn Method,
    pub(super) skipped: Vec<(&'static str, String)>,
}

/// Gets a certificate by the first method that gives one, for the key that it needs.
pub(super) async fn obtain<'a>(
    settled: &ResolvedInputs<'_>,
    world: &IssueContext<'_>,
    about: &IssueFacts<'_>,
    usable: &Usable<'a>,
    keys: &mut Keys<'_>,
    pending: &mut Pending,
) -> Result<Obtained<'a>, Failure> {
    let mut skipped = usable.skipped.clone();
    let mut unsettled = false;
    let mut last = None;
    // An order of an earlier run is for the key that it saved.
    let resumes = keys.has_saved() && pending.order()?.is_some();
    for (at, method) in usable.methods.iter().enumerate() {
        if resumes && method.key_use() == KeyUse::Existing && at + 1 < usable.methods.len() {
            skipped.push((method.name(), "an order of an earlier run is in progress".to_owned()));
            continue;
        }
        // A server that hangs leaves the others their share of the time.
        let left = settled.request.timeout.saturating_sub(settled.began.elapsed());
        let others = u32::try_from(usable.methods.len() - at).unwrap_or(u32::MAX);
        let patience = Patience::of(left / others);
        let key = keys.get(method.key_use(), pending)?;
        match try_method(settled, world, about, *method, key, pending, patience).await {
            Ok((chain, vouched, roots)) => {
                return Ok(Obtained { chain, vouched, roots, method: *method, skipped });
            }
            Err(failure) => {
                if usable.methods.len() > 1 {
                    (world.warn)(&format!("`{}` gave no certificate: {}", method.name(), failure.error));
                }
                unsettled |= failure.unsettled;
                skipped.push((method.name(), failure.error.to_string()));
                last = Some(failure);
                if world.network.shutdown.check().is_err() {
                    break;
                }
            }
        }
    }
    let failure = last.unwrap_or_else(|| Error::failed("no enrollment method is given").into());
    Err(Failure { error: with_others(failure.error, &skipped), unsettled, ..failure })
}

/// How long a method may take, all its tries together.
#[derive(Clone, Copy)]
struct Patience {
    until: Instant,
    least: Duration,
}

impl Patience {
    fn of(time: Duration) -> Self {
        Patience { until: Instant::now() + time, least: time / LEAST }
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// The tries within that time.
    fn tries(&self, note: &Note, awaited: String) -> Tries {
        let last_start = self.until.checked_sub(self.least).unwrap_or(self.until);
        let retry = Retry::until(last_start, Backoff::ISSUING);
        Tries { retry: retry.saying(note, awaited, self.until), earlier: None }
    }
}

/// The tries of one question.
struct Tries {
    retry: Retry,
    /// The error of the previous try.
    earlier: Option<String>,
}

impl Tries {
    /// How long to wait before the next try, reported with the reason.
    ///
    /// # Errors
    /// The given one, if no other try follows.
    fn again(&mut self, world: &IssueContext<'_>, error: Error, is_worth_it: bool) -> Result<Duration> {
        let pause = is_worth_it.then(|| self.retry.pause(error.retry_after())).flatten();
        let Some(pause) = pause else {
            return Err(with_earlier(error, self.earlier.take()));
        };
        (world.say)(&format!("{error}: trying again in {} ms", pause.as_millis()));
        self.retry.failed(&error);
        self.earlier = Some(error.to_string());
        Ok(pause)
    }
}

/// One method, repeated while that can help.
async fn try_method(
    settled: &ResolvedInputs<'_>,
    world: &IssueContext<'_>,
    about: &IssueFacts<'_>,
    method: &dyn Method,
    key: &PrivateKey,
    pending: &mut Pending,
    patience: Patience,
) -> Result<(Vec<Certificate>, Vouched, Roots), Failure> {
    let request = refused::request_id(settled, method, about);
    if let Some(failure) = refused::remembered(settled, method, &request, pending, world.network.env.now()) {
        return Err(failure);
    }
    let sent_before = pending.record().attempts.len();
    let connection = match &settled.ca.roots {
        _ if is_elsewhere(settled, method) => None,
        Some(roots) => Some(roots.clone()),
        None if settled.ca.pins.is_empty() => None,
        None => Some(fetch_roots(settled, world, method, patience).await?),
    };
    let roots = match (roots_for(settled, method)?, &connection) {
        // The server of a directory: its own root, if known, is the first at which its chain may end.
        (Some(roots), Some(connection)) if roots.certificates.is_empty() => {
            Some(Roots { or_itself: roots.or_itself, ..connection.clone() })
        }
        (Some(roots), _) => Some(roots),
        (None, connection) => connection.clone(),
    };
    let check = |chain: &[Certificate], roots: &Roots| {
        let allow_extra_names = settled.request.allow_extra_names;
        let wanted = Wanted { allow_extra_names, public_key: key.public_key(), names: about.names, roots };
        check::check(chain, &wanted, world.network.env.now())
    };
    let accept = |chain: &[Certificate]| match &roots {
        Some(roots) => {
            check(&check::without_roots(chain), roots).map(drop).map_err(|refusal| refusal.to_string())
        }
        None => Err("the root that it must end at is not known".to_owned()),
    };
    let mut warned = |text: String| (world.warn)(&text);
    let names = ResolverFiles::of_root(Path::new("/"), &mut warned);
    let issued: Result<_, Failure> = async {
        let network = NetContext { note: Note::default(), ..world.network.clone() };
        let left = patience.left();
        let net = Net::new(network, names, left)?.within(left, None);
        if let Some(url) = method.asks(&settled.ca)
            && let Some(proxy) = net.proxy_shown(&url)
        {
            (world.say)(&format!("`{}` is asked through {proxy}", masked(&url)));
        }
        let mut order = IssueOrder {
            about: *about,
            net: &net,
            children: world.children,
            roots: connection.as_ref(),
            key,
            pending,
            accept: &accept,
            say: world.say,
            warn: world.warn,
            step_ca: None,
        };
        let awaited = method.asks(&settled.ca).as_ref().map_or_else(|| "the CA".to_owned(), origin);
        let mut tries = patience.tries(&world.network.note, awaited);
        // What one try left open, no later one resolves.
        let mut unsettled = false;
        loop {
            let failure = match tries.retry.watch(method.issue(&mut order)).await {
                Ok(chain) => return Ok(chain),
                Err(failure) => failure,
            };
            unsettled |= failure.unsettled;
            let Failure { again, refused, .. } = failure;
            let next = match tries.again(world, failure.error, again) {
                Ok(pause) => world.network.shutdown.or(tries.retry.sleep(pause)).await,
                Err(error) => Err(error),
            };
            next.map_err(|error| Failure { error, again, unsettled, refused })?;
        }
    }
    .await;
    // Ended by a signal at any point: what was recorded as about to be sent may have been sent.
    let issued = match world.network.shutdown.check() {
        Err(error) if issued.is_err() => {
            let unsettled = pending.record().attempts.len() > sent_before;
            Err(Failure { error, again: false, unsettled, refused: false })
        }
        _ => issued,
    };
    let now = world.network.env.now();
    let issued = issued.map_err(|failure| match failure.refused {
        true => {
            let (kind, why) = (failure.error.kind(), failure.error.what().to_owned());
            refused::remember(failure.error, request, kind, why, pending, now)
        }
        false => failure,
    });
    let chain = check::without_roots(&issued?);
    let roots =
        roots.ok_or_else(|| Error::usage("the root that the certificate must end at is not known"))?;
    match check(&chain, &roots) {
        Ok(vouched) => Ok((chain, vouched, roots)),
        Err(refusal) => Err(refused::report(settled, method, request, &refusal, pending, now)),
    }
}

/// Whether the method asks another server than the configured CA: what vouches for that CA does not apply to it.
fn is_elsewhere(settled: &ResolvedInputs<'_>, method: &dyn Method) -> bool {
    match (&settled.ca.url, method.asks(&settled.ca)) {
        (Some(ca), Some(asked)) => settled.request.ca.url.is_some() && !same_origin(ca, &asked),
        _ => false,
    }
}

/// An error with an earlier try's, if that was a different one: the last try may have been cut short.
fn with_earlier(error: Error, earlier: Option<String>) -> Error {
    match earlier.filter(|earlier| *earlier != error.to_string()) {
        Some(earlier) => error.hint(format!("the attempt before failed for another reason: {earlier}")),
        None => error,
    }
}

/// The CA's roots by their pins, requested while that can help and time is left.
async fn fetch_roots(
    settled: &ResolvedInputs<'_>,
    world: &IssueContext<'_>,
    method: &dyn Method,
    patience: Patience,
) -> Result<Roots> {
    let url = match method.asks(&settled.ca) {
        Some(url) => url,
        None => settled.ca.url()?.clone(),
    };
    let mut tries = patience.tries(&world.network.note, origin(&url));
    loop {
        let timeout = patience.left().max(Duration::from_millis(1));
        let how = fetching(settled, world, timeout, world.warn);
        let error = match trust::fetch(&url, &settled.ca.pins, how).await {
            Ok(roots) => return Ok(roots),
            Err(error) => error,
        };
        let may_pass = retry::may_pass(&error);
        let pause = tries.again(world, error, may_pass)?;
        world.network.shutdown.or(tries.retry.sleep(pause)).await?;
    }
}

/// How roots are fetched for this request, in one attempt.
fn fetching<'a>(
    settled: &'a ResolvedInputs<'_>,
    world: &'a IssueContext<'_>,
    timeout: Duration,
    warn: &'a (dyn Fn(&str) + Sync),
) -> trust::Fetching<'a> {
    let cache = settled.request.ca.cache.as_deref();
    trust::Fetching { network: &world.network, timeout, wait: None, cache, warn }
}

/// The known facts with the CA's roots, if they are pinned, not known here, and available at once: an existing pair can
/// be judged by them, before anything is spent to replace it.
pub(super) async fn with_fetched_roots(
    settled: &ResolvedInputs<'_>,
    world: &IssueContext<'_>,
) -> Option<Recorded> {
    if world.dry_run || settled.ca.roots.is_some() || settled.ca.pins.is_empty() {
        return None;
    }
    let mut methods = settled.request.methods.iter();
    let method = methods.find(|method| !is_elsewhere(settled, method.as_ref()))?;
    let url = method.asks(&settled.ca)?;
    let left = settled.request.timeout.saturating_sub(settled.began.elapsed());
    // An error is reported when the roots are really needed.
    let how = fetching(settled, world, left / 4, &|_| {});
    let roots = trust::fetch(&url, &settled.ca.pins, how).await.ok()?;
    // Known are only roots that cover every pin.
    let is_there = |pin: &Fingerprint| roots.certificates.iter().any(|root| root.fingerprint() == *pin);
    if !settled.ca.pins.iter().all(is_there) {
        return None;
    }
    let mut recorded = world.recorded.clone();
    recorded.add_known(roots.certificates);
    Some(recorded)
}
