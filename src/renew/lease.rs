//! The lease: of several replicas that share a volume, one renews, and the others use its certificate. It is a file in
//! the directory of ours beside the key, with a deadline.
//!
//! A lease saves work, and protects nothing: each replica can renew without it, and the pair is placed under the lock of
//! that directory. So it delays a renewal by its bounded deadline at most, whatever is in the file (threat T27).

use serde::{Deserialize, Serialize};

use crate::certificate::Outputs;
use crate::certificate::life::Life;
use crate::certificate::pending;
use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::random;
use crate::rootfs::Sysroot;
use crate::rootfs::own_directory::{OwnDirectory, Unavailable};
use crate::text;

/// The lease's file.
const LEASE: &str = "lease.json";
/// A larger file is no lease.
const LIMIT: u64 = 4096;
/// The longest time from taking a lease to its deadline, in seconds.
const LONGEST: i64 = 300;
/// And the part of a life that this is at most.
const OF_LIFE: i64 = 20;
/// No lease counts when this part of a life is left.
const RESERVE: i64 = 10;
/// How often a lease is looked at again when another replica changes it at the same time.
const TRIES: usize = 3;

/// What is in the file. All times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    schema: u64,
    /// A random number of the process that holds it.
    holder: String,
    /// The host name of that process, for people.
    host: Option<String>,
    /// When it ends.
    until: i64,
}

/// This process, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    id: String,
    host: Option<String>,
}

impl Holder {
    /// A new one.
    ///
    /// # Errors
    /// There is no randomness.
    pub(crate) fn draw(env: &Env) -> Result<Self> {
        let mut id = [0; 16];
        random::fill(&mut id)?;
        let host = env.var("HOSTNAME").filter(|name| name.len() <= 255);
        Ok(Holder { id: hex::encode(id), host: host.map(text::escape) })
    }
}

/// How long leases on one certificate may delay its renewal. All times are seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The longest time from taking a lease to its deadline.
    bound: i64,
    /// From then on no lease counts.
    limit: i64,
}

impl Terms {
    /// For a certificate that is due at `due`, whose renewal takes `timeout` seconds at most. `life`: `None` if there is
    /// no certificate yet.
    pub(crate) fn new(life: Option<&Life>, due: i64, timeout: i64) -> Self {
        let bound = timeout.clamp(1, LONGEST);
        let Some(life) = life else { return Terms { bound, limit: i64::MAX } };
        let whole = life.until.saturating_sub(life.from).max(0);
        let bound = bound.min(whole / OF_LIFE).max(1);
        let reserve = life.until.saturating_sub(whole / RESERVE);
        Terms { bound, limit: due.saturating_add(bound).min(reserve) }
    }
}

/// What a lease that is there means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    /// This process has it.
    Ours,
    /// Another one has it, and it is not waited for beyond this moment.
    Held(i64),
    /// It does not count.
    Void,
}

/// The judgement on a lease at `now` (seconds since 1970).
fn judge(holder: &str, until: i64, us: &Holder, terms: Terms, now: i64) -> Judgement {
    let is_plausible = until > now && until.saturating_sub(now) <= terms.bound;
    match holder == us.id {
        true => Judgement::Ours,
        false if is_plausible && now < terms.limit => Judgement::Held(until.min(terms.limit)),
        false => Judgement::Void,
    }
}

/// The answer to a claim.
#[derive(Debug)]
pub(crate) enum Claim {
    /// This process renews now.
    Ours(Lease),
    /// Another one does.
    Held(Held),
}

/// A lease of another process, or its run on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Its host name, if it says so.
    pub(crate) host: Option<String>,
    /// When to look again, seconds since 1970: the pair may be new then, or the lease free.
    pub(crate) until: i64,
}

/// A lease that this process holds until it is released, or its deadline has passed.
#[derive(Debug)]
#[must_use]
pub(crate) struct Lease {
    holder: Holder,
    bytes: Vec<u8>,
}

/// Claims the renewal of the pair at `outputs` at `now` (seconds since 1970).
///
/// # Errors
/// The file cannot be read or written. The renewal must not depend on that: it goes on without a lease.
pub(crate) fn claim(host: &Sysroot, outputs: &Outputs, us: &Holder, terms: Terms, now: i64) -> Result<Claim> {
    let soon = Held { host: None, until: now.saturating_add(1) };
    let own = match pending::lock_at_once(host, outputs) {
        Ok(own) => own,
        Err(Unavailable::Busy(_)) => return Ok(Claim::Held(soon)),
        Err(Unavailable::Failed(error)) => return Err(error),
    };
    let until = now.saturating_add(terms.bound);
    let content = Content { schema: 1, holder: us.id.clone(), host: us.host.clone(), until };
    let bytes = serde_json::to_vec(&content)
        .map_err(|error| Error::failed("could not write the lease of a renewal").because(error))?;
    for _ in 0..TRIES {
        if let Some((found, changed)) = read(&own)? {
            let content = serde_json::from_slice(&found).ok();
            if let Some(held) = held(content, changed, us, terms, now) {
                return Ok(Claim::Held(held));
            }
            if !own.take_away(LEASE, &found, &us.id)? {
                continue;
            }
        }
        if own.create(LEASE, &bytes)? {
            return Ok(Claim::Ours(Lease { holder: us.clone(), bytes }));
        }
    }
    // Others are faster: one of them has it.
    Ok(Claim::Held(soon))
}

/// What is in the file, and when it was written.
fn read(own: &OwnDirectory) -> Result<Option<(Vec<u8>, i64)>> {
    Ok(own.read(LEASE, LIMIT)?.map(|(bytes, meta)| (bytes, meta.modified.0)))
}

/// How long to wait for the lease that is there; `None` if it does not count. One that cannot be read is being written,
/// or is damaged: it counts from when it was written.
fn held(content: Option<Content>, written: i64, us: &Holder, terms: Terms, now: i64) -> Option<Held> {
    let (holder, host, until) = match content {
        Some(content) => (content.holder, content.host, content.until),
        None => (String::new(), None, written.saturating_add(terms.bound)),
    };
    match judge(&holder, until, us, terms, now) {
        Judgement::Held(until) => Some(Held { host: host.map(|host| text::escape(&host)), until }),
        Judgement::Ours | Judgement::Void => None,
    }
}

impl Lease {
    /// Gives it back, so that nobody waits for its deadline. If that fails, its deadline ends it.
    pub(crate) fn release(self, host: &Sysroot, outputs: &Outputs) {
        if let Ok(own) = pending::lock_at_once(host, outputs) {
            let _ = own.take_away(LEASE, &self.bytes, &self.holder.id);
        }
    }
}

#[cfg(test)]
mod tests;
