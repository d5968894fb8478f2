//! Asks: the methods in their order, each again while that can help and time is left, and what comes back is checked
//! before anybody sees it.

use std::path::Path;
use std::time::Duration;

use super::methods::{About, Failure, Method, Order};
use super::{Request, Settled, World, roots_for, trust};
use crate::cert::Certificate;
use crate::error::{Error, Kind, Result};
use crate::key::PrivateKey;
use crate::net::Net;
use crate::net::dns::Settings;
use crate::net::url::masked;
use crate::pair::check::{self, Roots, Vouched, Wanted};
use crate::pair::pending::Pending;
use crate::runtime;

/// Pauses between tries: doubled from the first to the last, each cut by up to a half at random, so that a thousand
/// containers that were started together do not come back together.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(10);

/// The methods that can work, and why the others cannot.
pub(super) struct Usable<'a> {
    methods: Vec<&'a dyn Method>,
    pub(super) skipped: Vec<(&'static str, String)>,
}

impl<'a> Usable<'a> {
    /// The one that is tried first.
    pub(super) fn first(&self) -> Option<&'a dyn Method> {
        self.methods.first().copied()
    }
}

/// Checks every method before anything is asked, changed or spent.
///
/// # Errors
/// None can work.
pub(super) fn usable<'a>(request: &'a Request, about: &About<'_>) -> Result<Usable<'a>> {
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
        None if usable.methods.is_empty() => Err(Error::usage("no way to a certificate is given")
            .hint("`trustup enroll token|provisioner|x5c|acme NAME…`, or an `enroll` block in trustup.toml")),
        _ => Ok(usable),
    }
}

/// An error with what became of the other methods.
fn with_others(error: Error, skipped: &[(&'static str, String)]) -> Error {
    if skipped.len() < 2 {
        return error;
    }
    skipped.iter().fold(error, |error, (name, why)| error.hint(format!("`{name}` was tried, too: {why}")))
}

/// A chain that passed every check.
pub(super) struct Obtained<'a> {
    pub(super) chain: Vec<Certificate>,
    pub(super) vouched: Vouched,
    pub(super) roots: Roots,
    pub(super) method: &'a dyn Method,
    pub(super) skipped: Vec<(&'static str, String)>,
}

/// Gets a certificate for `key` by the first method that gives one.
pub(super) fn obtain<'a>(
    settled: &Settled<'_>,
    world: &World<'_>,
    about: &About<'_>,
    usable: &Usable<'a>,
    key: &PrivateKey,
    pending: &mut Pending,
) -> Result<Obtained<'a>, Failure> {
    let mut skipped = usable.skipped.clone();
    let mut unsettled = false;
    let mut last = None;
    for method in &usable.methods {
        match by(settled, world, about, *method, key, pending) {
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
                if runtime::check().is_err() {
                    break;
                }
            }
        }
    }
    let failure = last.unwrap_or_else(|| Error::failed("no way to a certificate is given").into());
    Err(Failure { error: with_others(failure.error, &skipped), again: failure.again, unsettled })
}

/// One method, again and again while that can help.
fn by(
    settled: &Settled<'_>,
    world: &World<'_>,
    about: &About<'_>,
    method: &dyn Method,
    key: &PrivateKey,
    pending: &mut Pending,
) -> Result<(Vec<Certificate>, Vouched, Roots), Failure> {
    let left = || settled.request.timeout.saturating_sub(settled.began.elapsed());
    let connection = match &settled.ca.roots {
        Some(roots) => Some(roots.clone()),
        None if settled.ca.pins.is_empty() => None,
        None => Some(fetch_roots(settled, world, method, &left)?),
    };
    let mut warned = |text: String| (world.warn)(&text);
    let names = Settings::of_root(Path::new("/"), &mut warned);
    let issued = runtime::block_on(async {
        let net = Net::new(world.env, &names, left(), None)?;
        let mut order = Order {
            about: *about,
            net: &net,
            roots: connection.as_ref(),
            key,
            pending,
            spent: &settled.spent,
            say: world.say,
            warn: world.warn,
            step_ca: None,
        };
        let mut pause = FIRST_PAUSE;
        // What one try left open, no later one settles.
        let mut unsettled = false;
        loop {
            let failure = match method.issue(&mut order).await {
                Ok(chain) => return Ok(chain),
                Err(failure) => failure,
            };
            unsettled |= failure.unsettled;
            let failure = Failure { unsettled, ..failure };
            let wait = jittered(pause);
            if !failure.again || net.left() <= wait {
                return Err(failure);
            }
            (world.say)(&format!("{}: trying again in {} ms", failure.error, wait.as_millis()));
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    });
    // Ended by a signal, wherever that met it: what was recorded as about to be sent may have been sent.
    let unsettled = !pending.record().attempts.is_empty();
    let issued: Result<_, Failure> = issued.map_err(|error| Failure { error, again: false, unsettled })?;
    let chain = check::without_root(issued?);
    let roots = match (roots_for(settled, method)?, connection) {
        (Some(roots), _) => roots,
        (None, Some(roots)) => roots,
        (None, None) => {
            return Err(Error::usage("nothing says which root the certificate has to end at").into());
        }
    };
    let wanted = Wanted { public_key: key.public_key(), names: about.names, roots: &roots };
    match check::check(&chain, &wanted, world.env.now()) {
        Ok(vouched) => Ok((chain, vouched, roots)),
        Err(why) => Err(Error::not_trusted("the CA issued a certificate that cannot be used, and nothing of it is kept")
            .at(method.asks(&settled.ca).as_ref().map(masked).unwrap_or_default())
            .because(anyhow::anyhow!("{why}"))
            .hint("look at the CA's provisioner and its templates; `--issuer-root FILE` names another root for the issued chain")
            .into()),
    }
}

/// The CA's roots by their pins, asked for while that can help and time is left.
fn fetch_roots(
    settled: &Settled<'_>,
    world: &World<'_>,
    method: &dyn Method,
    left: &dyn Fn() -> Duration,
) -> Result<Roots> {
    let url = match method.asks(&settled.ca) {
        Some(url) => url,
        None => settled.ca.url()?.clone(),
    };
    let mut pause = FIRST_PAUSE;
    loop {
        let timeout = left().max(Duration::from_millis(1));
        match trust::fetch(&url, &settled.ca.pins, world.env, timeout, None, world.warn) {
            Ok(roots) => return Ok(roots),
            Err(error) => {
                let wait = jittered(pause);
                if error.kind() != Kind::Unreachable || left() <= wait {
                    return Err(error);
                }
                (world.say)(&format!("{error}: trying again in {} ms", wait.as_millis()));
                runtime::block_on(async { tokio::time::sleep(wait).await })?;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
    }
}

/// Between a half and the whole of it.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0u8; 1];
    // Without randomness it is the whole.
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    pause - pause.mul_f64(f64::from(random[0]) / 512.0)
}
