//! Enrollment: a certificate and its key, where no good pair exists. Request → facts → decision → what the CA issued,
//! checked → placed → read back → recorded.
//!
//! Whatever can be checked is checked before anything is spent; the key is on disk before a CA hears of it; the CA's
//! answer is on disk before it is placed. How to get a certificate is up to each method ([`methods`]).

pub(crate) mod advice;
mod enrolled;
mod finish;
mod keys;
pub(crate) mod methods;
mod obtain;
mod outcome;
mod refused;
pub(crate) mod renewals;
pub(crate) mod request;
mod resolve;
pub(crate) mod trust;
mod warnings;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::certificate::check::Roots;
use crate::certificate::decide::{self, RenewalPolicy, Verdict};
use crate::certificate::facts::{Good, PairState};
use crate::certificate::pending::{self, Pending};
use crate::certificate::place;
use crate::certificate::{Outputs, PairContent};
use crate::error::{Error, Result};
use crate::net::NetContext;
use crate::pki::cert::{NotAfter, SubjectAltName};
use crate::pki::key::KeyType;
use crate::process::Children;
use crate::rootfs::Sysroot;
use crate::rootfs::checkpoint::Checkpoints;
use crate::settings::Hook;

use self::finish::{Issued, give_up, interrupted, put_away};
use self::keys::Keys;
use self::methods::{ExistingPair, IssueFacts, Method};
use self::resolve::{ResolvedInputs, inspect_pair, resolve_inputs, saved_answer};
use self::trust::Recorded;

pub(crate) use self::outcome::{IssueAction, IssueOutcome};

/// The request.
pub(crate) struct IssueRequest {
    /// The names; empty if a token names them.
    pub(crate) names: Vec<SubjectAltName>,
    /// The paths of the pair.
    pub(crate) outputs: Outputs,
    /// The kind of the key; `None`: that of the existing pair, whatever it is.
    pub(crate) key_type: Option<KeyType>,
    /// The requested lifetime; `None` leaves it to the CA.
    pub(crate) not_after: Option<NotAfter>,
    /// The user's settings for the CA.
    pub(crate) ca: trust::Given,
    /// The roots at which the issued chain must end, if they are not those of the CA's connection.
    pub(crate) issuer_root: Option<PathBuf>,
    /// Whether the CA may add names that were not requested.
    pub(crate) allow_extra_names: bool,
    /// The ways to try, in this order.
    pub(crate) methods: Vec<Box<dyn Method>>,
    /// For the whole enrollment.
    pub timeout: Duration,
    /// A good pair that is not due is replaced nevertheless.
    pub(crate) force: bool,
    /// When a certificate is due.
    pub(crate) policy: RenewalPolicy,
    /// What to run after a change, by whoever renews it; `None` if the configuration is not known.
    pub(crate) hooks: Option<Vec<Hook>>,
}

/// The environment of an enrollment.
#[derive(Clone)]
pub(crate) struct IssueContext<'a> {
    /// Variables and clock, signals, and who is told what is waited for.
    pub(crate) network: NetContext<'a>,
    /// The owner of hooks.
    pub(crate) children: &'a Children,
    /// The root file system that we run in.
    pub(crate) host: &'a Sysroot,
    /// What bootstrap recorded.
    pub(crate) recorded: Recorded,
    /// Nothing is changed and no server asked.
    pub(crate) dry_run: bool,
    /// Reports progress, in one line.
    pub(crate) say: &'a (dyn Fn(&str) + Sync),
    /// Reports what the user should see each time.
    pub(crate) note: &'a (dyn Fn(&str) + Sync),
    /// Reports a problem.
    pub(crate) warn: &'a (dyn Fn(&str) + Sync),
}

/// Ensures that a good pair is in place.
///
/// # Errors
/// There is no good pair, and none could be obtained; what was there before is still there, unless the error names it.
pub(crate) async fn enroll(request: &IssueRequest, world: &IssueContext<'_>) -> Result<IssueOutcome> {
    request.outputs.validate()?;
    request.outputs.check(world.host)?;
    for (_, path) in request.outputs.paths() {
        let protection = request.outputs.protection(world.host, path)?;
        protection.note(path).iter().for_each(|note| (world.say)(note));
    }
    let began = Instant::now();
    let settled = resolve_inputs(request, world, began)?;
    if let Some(damage) = &settled.damage {
        (world.warn)(damage);
    }
    let inspected = inspect_pair(&settled, world, world.network.env.now())?;
    // A pair may exist without its record beside it, such as one that was copied, or another user's.
    if matches!(inspected.0, PairState::Bad(_) | PairState::Expired(..))
        && let Some(recorded) = obtain::with_fetched_roots(&settled, world).await
    {
        let world = &IssueContext { recorded, ..world.clone() };
        let settled = resolve_inputs(request, world, began)?;
        let inspected = inspect_pair(&settled, world, world.network.env.now())?;
        return resume_or_start(world, settled, inspected).await;
    }
    resume_or_start(world, settled, inspected).await
}

/// Why the pair is to be replaced, in words that can follow "due" and a colon; `None` if it is good and not due. Asks no
/// server, and changes nothing.
///
/// # Errors
/// The request is not possible, or something cannot be read.
pub(crate) fn due(request: &IssueRequest, world: &IssueContext<'_>) -> Result<Option<String>> {
    let settled = resolve_inputs(request, world, Instant::now())?;
    let now = world.network.env.now();
    Ok(match inspect_pair(&settled, world, now)?.0 {
        PairState::Nothing => Some("there is no certificate".to_owned()),
        PairState::Bad(why) | PairState::Expired(_, why) => Some(why),
        PairState::Good(good) => {
            let verdict = verdict_on(&good, request, now);
            (!may_stay(verdict)).then(|| format!("the certificate {}", verdict.reason()))
        }
    })
}

/// Keeps the pair that was inspected, resumes what an earlier run left, or gets a new pair.
async fn resume_or_start(
    world: &IssueContext<'_>,
    settled: ResolvedInputs<'_>,
    (standing, roots): (PairState, Roots),
) -> Result<IssueOutcome> {
    let (request, now) = (settled.request, world.network.env.now());
    let cannot_be_used = |why: &str| {
        (world.warn)(&format!("the existing certificate cannot be used: {why}"));
    };
    let (existing, works, reason) = match standing {
        PairState::Nothing => (None, false, "there was no certificate".to_owned()),
        // Nothing can replace it but its own renewal.
        PairState::Bad(why) if request.methods.iter().all(|method| method.needs_pair()) => {
            return Err(cannot_be_renewed(request, &why));
        }
        PairState::Bad(why) => {
            cannot_be_used(&why);
            (None, false, why)
        }
        PairState::Expired(pair, why) => {
            cannot_be_used(&why);
            (Some(pair), false, why)
        }
        PairState::Good(good) => match verdict_on(&good, request, now) {
            verdict if !request.force && may_stay(verdict) => {
                if good.is_neat || world.dry_run {
                    return Ok(keep(&settled, world, *good, &roots, now));
                }
                // Another run may be at work there: files are corrected only under the lock.
                return match under_lock(&settled, world, None, now).await {
                    // A read-only key with a mode narrower than required is as good as any.
                    Err(error)
                        if good.is_whole
                            && error.changed().is_empty()
                            && world.network.shutdown.check().is_ok() =>
                    {
                        (world.warn)(&format!(
                            "modes or owners of the pair are not as requested, and cannot be corrected: {error}"
                        ));
                        Ok(keep(&settled, world, *good, &roots, now))
                    }
                    done => done,
                };
            }
            Verdict::Keep(_) => (Some(good), true, "`--force` was given".to_owned()),
            verdict => (Some(good), true, format!("the certificate {}", verdict.reason())),
        },
    };
    match (replace(&settled, world, existing.as_deref(), &reason, now).await, existing.filter(|_| works)) {
        // It still works: a service that starts now is better off with it than without. This does not apply when we are
        // told to stop: then nothing should be started.
        (Err(error), Some(good))
            if !request.force && error.changed().is_empty() && world.network.shutdown.check().is_ok() =>
        {
            let outcome = IssueOutcome::new(IssueAction::KeptForNow, reason);
            let outcome = outcome.with_chain(good.chain, good.vouched, &roots, request.policy, now);
            Ok(IssueOutcome { problem: Some(error), ..outcome })
        }
        (done, _) => done,
    }
}

/// The decision on a good pair.
fn verdict_on(good: &Good, request: &IssueRequest, now: i64) -> Verdict {
    let policy = good.chain.first().map_or(request.policy, |leaf| request.policy.about(leaf));
    decide::decide(&good.life, now, policy)
}

/// The error for a pair that is all that could renew it.
pub(crate) fn cannot_be_renewed(request: &IssueRequest, why: &str) -> Error {
    Error::failed("the existing certificate cannot be renewed")
        .at(crate::text::escape(&request.outputs.cert))
        .because(anyhow::anyhow!("{why}"))
        .hint("`trustup enroll` gets a new one in its place; `trustup enroll --help` lists its methods")
}

/// Whether a good pair with this verdict is kept. One that becomes valid in a minute was issued by the CA a moment ago:
/// clocks differ.
fn may_stay(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Keep(_) | Verdict::NotYetValid(_))
}

/// Keeps the pair; if it is not as requested, a dry run reports what would be done.
fn keep(
    settled: &ResolvedInputs<'_>,
    world: &IssueContext<'_>,
    good: Good,
    roots: &Roots,
    now: i64,
) -> IssueOutcome {
    let request = settled.request;
    let outcome = if good.is_neat || !world.dry_run {
        let verdict = verdict_on(&good, request, now);
        IssueOutcome::new(IssueAction::Kept, format!("the pair is good, and {}", verdict.reason()))
    } else {
        IssueOutcome::new(IssueAction::Planned, "files, modes or owners of the pair are not as requested")
    };
    if !world.dry_run
        && let Err(error) = pending::tidy(world.host, &request.outputs)
    {
        (world.warn)(&format!("the in-progress state of an earlier run is left as it is: {error}"));
    }
    outcome.with_chain(good.chain, good.vouched, roots, request.policy, now)
}

/// Keeps the pair; corrects modes, owners and whatever else is not as requested. Only under the lock.
fn correct_files(
    settled: &ResolvedInputs<'_>,
    world: &IssueContext<'_>,
    good: Good,
    roots: &Roots,
    now: i64,
) -> Result<IssueOutcome> {
    let request = settled.request;
    place::try_out(world.host, &request.outputs)?;
    let content = PairContent::new(&good.key, &good.chain, roots);
    let placed = place::place(world.host, &request.outputs, &content, &mut Checkpoints::default())?;
    warnings::of_placed(world, &placed);
    let why = "the pair is good; files, modes or owners were not as requested";
    let outcome = IssueOutcome { placed, ..IssueOutcome::new(IssueAction::PlacedAgain, why) };
    Ok(outcome.with_chain(good.chain, good.vouched, roots, request.policy, now))
}

/// Replaces what is there with a new pair.
async fn replace(
    settled: &ResolvedInputs<'_>,
    world: &IssueContext<'_>,
    existing: Option<&Good>,
    reason: &str,
    now: i64,
) -> Result<IssueOutcome> {
    let request = settled.request;
    let usable = match obtain::usable_methods(request, &issue_facts(settled, world, existing)) {
        Ok(usable) => Some(usable),
        // If the CA has already answered, no method is needed: its token may have expired since, or be gone.
        Err(_) if !world.dry_run && saved_answer(world, &request.outputs)?.is_some() => None,
        Err(error) => return Err(error),
    };
    if let Some(usable) = usable.as_ref().filter(|_| world.dry_run) {
        let outcome = IssueOutcome::new(IssueAction::Planned, reason);
        return Ok(IssueOutcome {
            method: usable.first().map(|method| method.name()),
            skipped: usable.skipped.clone(),
            ..outcome
        });
    }
    let outcome = under_lock(settled, world, usable, now).await?;
    Ok(match outcome.action {
        IssueAction::Kept | IssueAction::PlacedAgain => IssueOutcome {
            reason: format!("another run got it in the meantime: {}", outcome.reason),
            ..outcome
        },
        _ => IssueOutcome { reason: reason.to_owned(), ..outcome },
    })
}

fn issue_facts<'a>(
    settled: &'a ResolvedInputs<'_>,
    world: &IssueContext<'a>,
    existing: Option<&'a Good>,
) -> IssueFacts<'a> {
    let kept = settled.kept.as_ref();
    let came_from = kept.map(|kept| (kept.method.as_str(), settled.kept_url.as_ref()));
    let existing = existing.map(|pair| ExistingPair { chain: &pair.chain, key: &pair.key, came_from });
    let not_after = settled.request.not_after;
    IssueFacts { env: world.network.env, ca: &settled.ca, names: &settled.names, not_after, existing }
}

/// Everything that changes something, one run at a time. `usable`: the methods, if it is already known that there are
/// some.
async fn under_lock(
    settled: &ResolvedInputs<'_>,
    world: &IssueContext<'_>,
    usable: Option<obtain::Usable<'_>>,
    now: i64,
) -> Result<IssueOutcome> {
    let request = settled.request;
    let mut made = place::prepare(world.host, &request.outputs)?;
    let left = request.timeout.saturating_sub(settled.began.elapsed());
    let opening = Pending::open(world.host, &request.outputs, left);
    let done = match world.network.shutdown.or(opening).await.flatten() {
        Ok(pending) => with_pending(settled, world, usable, pending, now).await,
        Err(error) => Err(error),
    };
    if done.is_err() {
        made.undo();
    }
    done
}

async fn with_pending(
    settled: &ResolvedInputs<'_>,
    world: &IssueContext<'_>,
    usable: Option<obtain::Usable<'_>>,
    mut pending: Pending,
    now: i64,
) -> Result<IssueOutcome> {
    let request = settled.request;
    // Another run may have been at work while we waited, and an interrupted one may have left more than was seen.
    world.host.look_again();
    let settled = &resolve_inputs(request, world, settled.began)?;
    for warning in pending.take_warnings() {
        (world.warn)(&warning);
    }
    pending.remember(settled.kept.iter().flat_map(|kept| &kept.spent));
    let existing = match inspect_pair(settled, world, now)? {
        (PairState::Good(good), roots) if may_stay(verdict_on(&good, request, now)) && !request.force => {
            let outcome = match good.is_neat {
                true => keep(settled, world, *good, &roots, now),
                false => correct_files(settled, world, *good, &roots, now)?,
            };
            put_away(world, pending);
            return Ok(outcome);
        }
        (PairState::Good(pair) | PairState::Expired(pair, _), _) => Some(pair),
        _ => None,
    };
    let existing = existing.as_deref();
    let mut checkpoints = Checkpoints::default();
    let mut keys = Keys::new(existing.map(|pair| &pair.key), request.key_type, &pending)?;
    if let Some(issued) = interrupted(settled, &keys, &pending, now)? {
        (world.say)("an earlier run was interrupted after the CA had answered: placing its certificate now");
        return finish::place(settled, world, issued, pending, IssueAction::TakenUp, &mut checkpoints);
    }
    let about = issue_facts(settled, world, existing);
    let able = match usable {
        Some(usable) => Ok(usable),
        None => obtain::usable_methods(request, &about),
    };
    let able = able.and_then(|usable| place::try_out(world.host, &request.outputs).map(|()| usable));
    let before = pending.record().attempts.len();
    let usable = match able {
        Ok(usable) => usable,
        Err(error) => return Err(give_up(error.into(), pending, before)),
    };
    // On disk before a CA hears of it; for a later method, when its turn comes.
    if let Some(first) = usable.first() {
        keys.get(first.key_use(), &mut pending)?;
    }
    checkpoints.pass("send", &request.outputs.key);
    let obtained = obtain::obtain(settled, world, &about, &usable, &mut keys, &mut pending).await;
    let obtained = match obtained {
        Ok(obtained) => obtained,
        Err(failure) => return Err(give_up(failure, pending, before)),
    };
    checkpoints.pass("save", &request.outputs.key);
    let issued = Issued {
        key: keys.known(obtained.method.key_use())?,
        chain: obtained.chain,
        vouched: obtained.vouched,
        roots: obtained.roots,
        method: obtained.method,
    };
    let mut outcome = finish::place(settled, world, issued, pending, IssueAction::Issued, &mut checkpoints)?;
    outcome.skipped = obtained.skipped;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A daemon may give each certificate to a task of its own.
    #[test]
    fn requests_and_contexts_are_send() {
        fn send<T: Send>() {}
        send::<IssueRequest>();
        send::<IssueContext<'_>>();
        send::<methods::IssueOrder<'_>>();
    }
}
