//! The trust stores of the daemon: when they are refreshed, and what is told of it.

use std::time::Duration;

use super::DaemonContext;
use crate::error::Error;
use crate::net::NetContext;
use crate::net::progress::Note;
use crate::random;
use crate::renew::hooks::{self, Change, ChangeNote, HookContext, HookQueue};
use crate::renew::log::{Event, LogEntry};
use crate::renew::record::PendingHook;
use crate::renew::schedule::{self, FailedAttempt, FailureKind};
use crate::renew::trust_refresh::{self, Refreshed};
use crate::rootfs::budget;
use crate::settings::Hook;
use crate::text;

/// The trust stores, and when something is to be done for them.
#[derive(Debug)]
pub(super) struct TrustEntry {
    terms: TrustTerms,
    /// When they are refreshed next, seconds since 1970.
    pub(super) refresh_at: i64,
    /// Attempts that failed in a row.
    failures: u32,
    /// Hooks that have not succeeded since the last change.
    pending: Vec<PendingHook>,
}

/// What the configuration says of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TrustTerms {
    /// How often they are refreshed.
    pub(super) every: Duration,
    /// What runs after a change and belongs to no certificate.
    pub(super) hooks: Vec<Hook>,
}

impl TrustEntry {
    /// When the daemon starts at `now` (seconds since 1970): an image may be old, so not a whole period later.
    pub(super) fn new(terms: TrustTerms, now: i64) -> Self {
        let first = schedule::first_refresh(millis(terms.every), now.saturating_mul(1000), random::jitter());
        TrustEntry { terms, refresh_at: first / 1000, failures: 0, pending: Vec::new() }
    }

    /// With other terms, no later than they say.
    pub(super) fn with(mut self, terms: TrustTerms, now: i64) -> Self {
        self.terms = terms;
        self.bound(now);
        self
    }

    /// Ends a wait that a clock that was set back made longer than the period.
    pub(super) fn bound(&mut self, now: i64) {
        let every = i64::try_from(self.terms.every.as_secs()).unwrap_or(i64::MAX);
        self.refresh_at = self.refresh_at.min(now.saturating_add(every));
    }

    /// When something is to be done.
    pub(super) fn next(&self) -> i64 {
        self.pending.iter().map(|hook| hook.next_attempt).fold(self.refresh_at, i64::min)
    }
}

/// Does what is due. If the stores changed, the second part of the result says how.
pub(super) async fn work(context: DaemonContext<'_>, mut entry: TrustEntry) -> (TrustEntry, Option<String>) {
    budget::begin();
    let say = |said: LogEntry| (context.log)(&said.about_trust_stores());
    let now = context.env.now();
    let mut changed = None;
    if entry.refresh_at <= now {
        let network =
            NetContext { env: context.env, shutdown: context.shutdown.clone(), note: Note::default() };
        let done = trust_refresh::refresh(context.bootstrap, network, context.children).await;
        let now = context.env.now();
        match done {
            _ if context.shutdown.check().is_err() => return (entry, None),
            Ok(refreshed) => changed = note_success(&mut entry, &refreshed, now, &say),
            Err(error) => note_failure(&mut entry, &error, now, &say),
        }
    }
    if let Some(reason) = &changed {
        let note = ChangeNote { change: Change::TrustChanged, reason, old: None, at: context.env.now() };
        hooks::queue(&mut entry.pending, &entry.terms.hooks, &note);
    }
    let DaemonContext { env, shutdown, children, .. } = context;
    for error in hooks::run_due(&mut entry, &HookContext { env, shutdown, children }, false).await {
        say(LogEntry::of_hook(&error));
    }
    (entry, changed)
}

/// Returns what changed.
fn note_success(
    entry: &mut TrustEntry,
    done: &Refreshed,
    now: i64,
    say: &dyn Fn(LogEntry),
) -> Option<String> {
    let every = millis(entry.terms.every);
    done.warnings.iter().for_each(|warning| say(LogEntry::warning(format!("warning: {warning}"))));
    let reason = done.reason();
    let next = if done.is_stale {
        entry.failures = entry.failures.saturating_add(1);
        let failed = FailedAttempt { count: entry.failures, kind: FailureKind::MayPass, retry_after: None };
        schedule::after_failed_refresh(every, failed, now.saturating_mul(1000), random::jitter())
    } else {
        entry.failures = 0;
        schedule::next_refresh(every, now.saturating_mul(1000), random::jitter())
    };
    entry.refresh_at = next / 1000;
    let next = text::moment(entry.refresh_at);
    let said = match done.is_changed {
        true => LogEntry::info(Event::TrustChanged, format!("changed: {reason}; next refresh at {next}")),
        false => LogEntry::info(Event::TrustKept, format!("nothing to do; next refresh at {next}")),
    };
    say(said.next(entry.refresh_at));
    done.is_changed.then_some(reason)
}

fn note_failure(entry: &mut TrustEntry, error: &Error, now: i64, say: &dyn Fn(LogEntry)) {
    entry.failures = entry.failures.saturating_add(1);
    let kind = FailureKind::of(error.kind());
    let failed = FailedAttempt { count: entry.failures, kind, retry_after: error.retry_after() };
    let every = millis(entry.terms.every);
    let next = schedule::after_failed_refresh(every, failed, now.saturating_mul(1000), random::jitter());
    entry.refresh_at = next / 1000;
    let next = text::moment(entry.refresh_at);
    let message = format!("could not be refreshed, and stay as they are: {error}; trying again at {next}");
    say(LogEntry::error(Event::TrustFailed, message, error).with_hints(error).next(entry.refresh_at));
}

fn millis(every: Duration) -> i64 {
    i64::try_from(every.as_millis()).unwrap_or(i64::MAX)
}

/// What is left is not recorded: a new daemon refreshes soon, and a service that starts with it reads the new roots.
impl HookQueue for TrustEntry {
    fn pending(&mut self) -> &mut Vec<PendingHook> {
        &mut self.pending
    }

    fn configured(&self) -> Option<&[Hook]> {
        Some(&self.terms.hooks)
    }

    fn variables(&self, pending: &PendingHook) -> Vec<(&'static str, String)> {
        vec![("TRUSTUP_EVENT", pending.event.clone()), ("TRUSTUP_REASON", text::escape(&pending.reason))]
    }

    fn note_failure(&mut self) {}

    fn save(&self) {}
}
