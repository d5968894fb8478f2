//! What the daemon does for one certificate whose time has come: its renewal, or only hooks that are left.

use super::DaemonContext;
use super::entry::Entry;
use crate::certificate::issue::trust::Recorded;
use crate::certificate::issue::{self, IssueAction, IssueContext};
use crate::error::{Error, Result};
use crate::net::NetContext;
use crate::net::progress::Note;
use crate::random;
use crate::renew::attempt::{self, Attempt, Starter};
use crate::renew::hooks;
use crate::renew::lease::{self, Claim, Holder, Terms};
use crate::renew::log::{Event, LogEntry};
use crate::renew::record::RenewalRecord;
use crate::renew::schedule::{self, FailedAttempt, FailureKind};
use crate::rootfs::budget;
use crate::settings::rows::REQUIRE_PIN;
use crate::text;
use crate::trust::bootstrap::trees::Trees;
use crate::trust::target::sysroot;

/// After a question that could not be asked, in seconds.
const HOUR: i64 = 3600;

/// Writes an entry about one certificate.
type Say<'a> = &'a (dyn Fn(LogEntry) + Sync);

/// Does what is due for the certificate, and returns it with the next moment of each thing.
pub(super) async fn work(context: DaemonContext<'_>, holder: &Holder, mut entry: Entry) -> Entry {
    budget::begin();
    let cert = entry.request.outputs.cert.clone();
    let say = |said: LogEntry| (context.log)(&said.about(&cert));
    let done = begin(context, holder, &mut entry, &say).await;
    if context.shutdown.check().is_err() {
        return entry;
    }
    if let Err(error) = done {
        could_not_begin(&mut entry, &error, context.env.now(), &say);
    }
    entry
}

/// # Errors
/// Nothing could begin: the state of trustup cannot be read, or the request is not possible.
async fn begin(context: DaemonContext<'_>, holder: &Holder, entry: &mut Entry, say: Say<'_>) -> Result<()> {
    let host = sysroot(context.settings)?;
    let states = Trees::open(context.settings, context.env)?.states()?;
    let network = NetContext { env: context.env, shutdown: context.shutdown.clone(), note: Note::default() };
    let warn = |line: &str| say(LogEntry::warning(line));
    let world = IssueContext {
        network,
        children: context.children,
        host: &host,
        recorded: Recorded::of(&states, context.settings.is(&REQUIRE_PIN))?,
        dry_run: false,
        say: &|_| {},
        note: &|_| {},
        warn: &warn,
    };
    // Neither a hook that is left nor a question makes it ask for a certificate.
    let now = context.env.now();
    if entry.renew_at <= now {
        return renew(context, holder, entry, &world, say).await;
    }
    if entry.ask_at.is_some_and(|ask_at| ask_at <= now) {
        ask(entry, &world, say).await;
    }
    let failed = attempt::run_hooks(&entry.request, &world, &mut entry.record, Starter::Schedule).await;
    attempt::save(&entry.record, &entry.request, &world);
    say_failed_hooks(&failed, say);
    Ok(())
}

/// Asks the CA when it wants the certificate renewed.
async fn ask(entry: &mut Entry, world: &IssueContext<'_>, say: Say<'_>) {
    let Entry { request, record, .. } = &mut *entry;
    let due = attempt::look_for_advice(request, world, record).await;
    let now = world.network.env.now();
    entry.ask_at = attempt::next_question(&entry.request, &entry.record, now);
    // While a renewal fails, its own schedule counts.
    if let Some(due) = due.filter(|due| *due != entry.renew_at && entry.record.failure.is_none()) {
        entry.renew_at = due;
        entry.record.next_attempt = Some(due);
        let message = format!("the CA was asked when to renew it: next attempt at {}", text::moment(due));
        say(LogEntry::info(Event::Note, message).next(due));
    }
}

/// Renews the certificate if it is due, or was requested by force, unless another replica does.
async fn renew(
    context: DaemonContext<'_>,
    holder: &Holder,
    entry: &mut Entry,
    world: &IssueContext<'_>,
    say: Say<'_>,
) -> Result<()> {
    let now = context.env.now();
    let lease = match claim(entry, holder, world, now)? {
        None => None,
        Some(Claim::Ours(lease)) => Some(lease),
        Some(Claim::Held(held)) => {
            let by = held.host.map(|host| format!(" on `{host}`")).unwrap_or_default();
            entry.renew_at = held.until.max(now.saturating_add(1));
            let until = text::moment(held.until);
            let message = format!("another trustup{by} renews it: looking again at {until}");
            say(LogEntry::info(Event::Held, message).next(entry.renew_at));
            return Ok(());
        }
    };
    entry.request.force = std::mem::take(&mut entry.is_forced);
    let attempt = attempt::renew(&mut entry.request, world, &mut entry.record, Starter::Schedule).await;
    if let Some(lease) = lease {
        lease.release(world.host, &entry.request.outputs);
    }
    let now = context.env.now();
    entry.renew_at = next(now, &attempt, &entry.record);
    entry.ask_at = attempt::next_question(&entry.request, &entry.record, now);
    entry.record.next_attempt = Some(entry.renew_at);
    attempt::save(&entry.record, &entry.request, world);
    say_failed_hooks(&attempt.failed_hooks, say);
    // A signal that ended the attempt is no decision about the certificate.
    if attempt.done.is_ok() || context.shutdown.check().is_ok() {
        say(LogEntry::of_attempt(&attempt, Some(entry.renew_at)));
    }
    Ok(())
}

/// As a failed attempt, but the disk knows nothing of it: it may be what failed.
fn could_not_begin(entry: &mut Entry, error: &Error, now: i64, say: Say<'_>) {
    if entry.renew_at <= now {
        attempt::note_failure(&mut entry.record, error, now);
        entry.renew_at = after_failure(error, &entry.record, now);
        entry.record.next_attempt = Some(entry.renew_at);
        say(LogEntry::of_failure(error, Some(entry.renew_at)));
    } else {
        let message = format!("a hook cannot be run now, and is run later: {error}");
        if entry.record.hooks.iter().any(|hook| hook.next_attempt <= now) {
            say(LogEntry::error(Event::HookFailed, message, error));
        }
    }
    // A question is no more urgent than this.
    entry.ask_at = entry.ask_at.map(|ask_at| ask_at.max(now.saturating_add(HOUR)));
    hooks::postpone(&mut entry.record.hooks, now);
}

fn say_failed_hooks(failed: &[Error], say: Say<'_>) {
    failed.iter().for_each(|error| say(LogEntry::of_hook(error)));
}

/// Claims the renewal of a certificate that is due; `None` if it is not, or if there can be no lease, which a renewal
/// does not depend on.
///
/// # Errors
/// The request is not possible, or something cannot be read.
fn claim(entry: &Entry, holder: &Holder, world: &IssueContext<'_>, now: i64) -> Result<Option<Claim>> {
    let Entry { request, record, .. } = entry;
    if !entry.is_forced && issue::due(request, world)?.is_none() {
        return Ok(None);
    }
    let life = record.life();
    let timeout = i64::try_from(request.timeout.as_secs()).unwrap_or(i64::MAX);
    let terms = Terms::new(life.as_ref(), record.due.unwrap_or(now), timeout);
    Ok(lease::claim(world.host, &request.outputs, holder, terms, now).ok())
}

/// When the certificate is looked at next, seconds since 1970.
fn next(now: i64, attempt: &Attempt, record: &RenewalRecord) -> i64 {
    match &attempt.done {
        Ok(outcome) => {
            let due = millis(outcome.due.unwrap_or(now));
            let due = match (record.life(), outcome.action) {
                (Some(life), IssueAction::Issued | IssueAction::TakenUp) => {
                    schedule::after_renewal(&life, due, millis(now))
                }
                _ => due,
            };
            seconds(due, now)
        }
        Err(error) => after_failure(error, record, now),
    }
}

/// When it is tried again after the failure that `record` knows already, seconds since 1970.
fn after_failure(error: &Error, record: &RenewalRecord, now: i64) -> i64 {
    let failed = FailedAttempt {
        count: record.failure.as_ref().map_or(1, |failure| failure.count),
        kind: FailureKind::of(error.kind()),
        retry_after: error.retry_after(),
    };
    let next = schedule::after_failure(record.life().as_ref(), failed, millis(now), random::jitter());
    seconds(next, now)
}

fn millis(seconds: i64) -> i64 {
    seconds.saturating_mul(1000)
}

/// Rounded up: what is due in the next second is not looked at in this one.
fn seconds(millis: i64, now: i64) -> i64 {
    (millis.saturating_add(999) / 1000).max(now.saturating_add(1))
}
