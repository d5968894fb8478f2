//! The daemon: one loop that knows the next moment of every certificate, and sleeps until the first of them.
//!
//! Per certificate it holds its request and its record, and nothing else: each attempt opens what it needs, and reads
//! secrets again.

mod drift;
mod entry;
mod monitor;
mod probes;

use std::pin::Pin;

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use self::drift::Drift;
use self::entry::Entry;
use self::monitor::Monitor;
use super::attempt::{self, Attempt, Starter};
use super::lease::{self, Claim, Holder, Terms};
use super::log::{Event, LogEntry};
use super::record::RenewalRecord;
use super::schedule::{self, FailedAttempt, FailureKind};
use crate::certificate::issue::request::{IssueInput, IssueRequests, Purpose, requests};
use crate::certificate::issue::trust::Recorded;
use crate::certificate::issue::{self, IssueAction, IssueContext};
use crate::certificate::life::Life;
use crate::error::{Error, Result};
use crate::host::alarm::Alarm;
use crate::host::env::Env;
use crate::host::shutdown::{DaemonRequest, Shutdown};
use crate::net::NetContext;
use crate::net::progress::Note;
use crate::process::Children;
use crate::random;
use crate::rootfs::{Sysroot, budget};
use crate::settings::Settings;
use crate::settings::rows::REQUIRE_PIN;
use crate::text;
use crate::trust::bootstrap::trees::Trees;
use crate::trust::target::sysroot;

/// How many certificates are renewed at the same time.
const AT_ONCE: usize = 8;
/// How often files are compared with what was there, in seconds: another program may have replaced a pair.
const LOOK: i64 = 600;

/// After an error that is not about the certificate; in seconds.
const HOUR: i64 = 3600;
/// The least time between two looks at a hook; in seconds.
const HOOK_PAUSE: i64 = 3;

/// What the daemon works with.
#[derive(Clone, Copy)]
pub(crate) struct DaemonContext<'a> {
    /// Variables and clock.
    pub(crate) env: &'a Env,
    /// Command line and environment.
    pub(crate) settings: &'a Settings,
    /// The signals that end it.
    pub(crate) shutdown: &'a Shutdown,
    /// The owner of hooks.
    pub(crate) children: &'a Children,
    /// Writes an entry to the log.
    pub(crate) log: &'a (dyn Fn(&LogEntry) + Sync),
}

/// What is at work.
type Work<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = Entry> + 'a>>>;

/// Renews all configured certificates until a signal ends it.
///
/// # Errors
/// The configuration cannot be used at start; with `--exit-when-expired`, a certificate has expired.
pub(crate) async fn run(context: DaemonContext<'_>) -> Result<()> {
    let mut signals = context.shutdown.handle_as_daemon()?;
    let host = sysroot(context.settings)?;
    let mut daemon = Daemon {
        context,
        host: &host,
        idle: Vec::new(),
        listed: Vec::new(),
        exit_when_expired: false,
        asked: 0,
        monitor: Monitor::new(context, &host),
    };
    daemon.load()?;
    daemon.monitor.ready();
    let alarm = Alarm::new(context.env);
    let holder = Holder::draw(context.env)?;
    let mut work = Work::new();
    let mut drift = Drift::new(context.env);
    let mut next_look = context.env.now().saturating_add(LOOK);
    let mut expired = None;
    while expired.is_none() {
        let now = context.env.now();
        if let Some(jump) = drift.jump(context.env) {
            let message = format!("the clock jumped by {jump} s: looking at all certificates");
            (context.log)(&LogEntry::info(Event::ClockSet, message));
            daemon.look_at_all(now);
        }
        if now >= next_look {
            daemon.compare_files(now);
            next_look = now.saturating_add(LOOK);
        }
        while work.len() < AT_ONCE
            && let Some(entry) = daemon.take_due(now)
        {
            work.push(Box::pin(attempt_one(context, &holder, entry)));
        }
        daemon.monitor.publish(work.is_empty());
        let next = daemon.next(work.len() < AT_ONCE).unwrap_or(next_look).min(next_look);
        let next = daemon.monitor.next().map_or(next, |publish| publish.min(next));
        // A simulated clock stands still while something is at work.
        let may_sleep = context.env.has_system_clock() || work.is_empty();
        tokio::select! {
            biased;
            _ = context.shutdown.requested() => break,
            asked = signals.next() => daemon.asked(asked),
            Some(entry) = work.next(), if !work.is_empty() => expired = daemon.take_back(entry),
            call = daemon.monitor.called() => daemon.monitor.answer(call),
            () = alarm.until(next), if may_sleep => {}
        }
    }
    daemon.monitor.stopping();
    if expired.is_none() {
        // The attempts were told, and end by themselves.
        while let Some(entry) = work.next().await {
            daemon.monitor.update(&entry);
        }
    }
    daemon.monitor.publish(true);
    expired.map_or(Ok(()), Err)
}

struct Daemon<'a> {
    context: DaemonContext<'a>,
    host: &'a Sysroot,
    /// What is not at work.
    idle: Vec<Entry>,
    /// The certificates of the configuration: what is at work and no longer listed is forgotten afterwards.
    listed: Vec<String>,
    exit_when_expired: bool,
    /// How often a signal asked to renew all certificates.
    asked: u64,
    /// What others see of it.
    monitor: Monitor<'a>,
}

impl Daemon<'_> {
    /// Reads the configuration; what is known of its certificates is kept.
    ///
    /// # Errors
    /// It cannot be used; nothing is changed.
    fn load(&mut self) -> Result<()> {
        let DaemonContext { env, settings, log, .. } = self.context;
        let input = IssueInput { env, settings, host: Some(self.host), renew: None };
        let IssueRequests { requests, notes, warnings, exit_when_expired, listen, metrics, .. } =
            requests(input, Purpose::Renew)?;
        if requests.is_empty() {
            return Err(Error::usage("no certificate is requested"));
        }
        notes.iter().for_each(|line| log(&LogEntry::info(Event::Note, line)));
        warnings.iter().for_each(|line| log(&LogEntry::warning(line)));
        let now = env.now();
        let listed = requests.iter().map(|request| request.outputs.cert.clone()).collect();
        // All of them before anything changes: a record that cannot be read leaves the daemon as it is.
        let mut entries = Vec::with_capacity(requests.len());
        for request in requests {
            let known = self.idle.iter().find(|entry| entry.request.outputs.cert == request.outputs.cert);
            entries.push(match known {
                Some(known) => Entry::new(request, known.record.clone(), now),
                None => {
                    let record = attempt::record_of(&request, self.host)?;
                    Entry::restarted(request, record, now)
                }
            });
        }
        let watching = self.monitor.prepare(listen, metrics.as_deref())?;
        self.monitor.watch(watching, entries.iter());
        self.exit_when_expired = exit_when_expired;
        self.listed = listed;
        self.idle = entries;
        Ok(())
    }

    fn asked(&mut self, request: DaemonRequest) {
        let now = self.context.env.now();
        match request {
            DaemonRequest::Renew => {
                let message = "SIGUSR1: renewing all certificates now";
                (self.context.log)(&LogEntry::info(Event::RenewRequested, message));
                self.asked += 1;
                self.idle.iter_mut().for_each(|entry| entry.is_forced = true);
                self.look_at_all(now);
            }
            DaemonRequest::Reload => {
                self.monitor.reloading();
                let entry = match self.load() {
                    Ok(()) => LogEntry::info(Event::Reloaded, "SIGHUP: the configuration was read again"),
                    Err(error) => {
                        let message = format!(
                            "SIGHUP: the configuration is refused, and the former one stays in force: {error}"
                        );
                        LogEntry::error(Event::ReloadRefused, message, &error)
                    }
                };
                (self.context.log)(&entry);
                self.monitor.ready();
            }
        }
    }

    fn look_at_all(&mut self, now: i64) {
        self.idle.iter_mut().for_each(|entry| entry.renew_at = now);
    }

    /// Looks at certificates whose files another program changed.
    fn compare_files(&mut self, now: i64) {
        self.host.look_again();
        for entry in &mut self.idle {
            if entry.has_other_files(self.host) {
                entry.renew_at = now;
            }
        }
        self.monitor.refresh(now);
    }

    /// A certificate for which something is to be done now: the one that waits longest.
    fn take_due(&mut self, now: i64) -> Option<Entry> {
        let (first, _) = self.idle.iter().enumerate().min_by_key(|(_, entry)| entry.next())?;
        (self.idle[first].next() <= now).then(|| {
            let mut entry = self.idle.swap_remove(first);
            entry.asked = self.asked;
            entry
        })
    }

    /// When something is to be done next, if there is room for it.
    fn next(&self, has_room: bool) -> Option<i64> {
        self.idle.iter().filter(|_| has_room).map(Entry::next).min()
    }

    /// Returns why the daemon ends, if it does.
    fn take_back(&mut self, mut entry: Entry) -> Option<Error> {
        self.host.look_again();
        entry.remember_files(self.host);
        // A signal came while it was at work: what was done may be older than what the signal is about.
        if entry.asked != self.asked {
            entry.is_forced = true;
            entry.renew_at = self.context.env.now();
        }
        self.monitor.update(&entry);
        let is_listed = self.listed.contains(&entry.request.outputs.cert);
        // After a reload there is a newer request for it.
        let is_known = self.idle.iter().any(|idle| idle.request.outputs.cert == entry.request.outputs.cert);
        let now = self.context.env.now();
        let until = entry.record.until.filter(|until| now > *until);
        if let (Some(until), Some(failure), true) = (until, &entry.record.failure, self.exit_when_expired) {
            let error = Error::not_trusted(format!(
                "the certificate expired at {} and could not be renewed",
                text::moment(until)
            ));
            let error = error.at(text::escape(&entry.request.outputs.cert));
            return Some(error.because(anyhow::anyhow!("{}", failure.error)));
        }
        if is_listed && !is_known {
            self.idle.push(entry);
        }
        None
    }
}

/// One certificate, once.
async fn attempt_one(context: DaemonContext<'_>, holder: &Holder, mut entry: Entry) -> Entry {
    budget::begin();
    let cert = entry.request.outputs.cert.clone();
    let say = |said: LogEntry| (context.log)(&said.about(&cert));
    match try_one(context, holder, &mut entry, &say).await {
        // Told to end.
        _ if context.shutdown.check().is_err() => {}
        Ok(()) => {}
        Err(error) => {
            entry.renew_at = context.env.now().saturating_add(HOUR);
            let message = format!("cannot be renewed: {error}");
            say(LogEntry::error(Event::Failed, message, &error).next(entry.renew_at));
        }
    }
    // A hook that did not get its turn, since another replica renews or nothing could begin, does not keep us busy.
    let soon = context.env.now().saturating_add(HOOK_PAUSE);
    let waiting = entry.record.hooks.iter_mut().filter(|hook| hook.next_attempt < soon);
    waiting.for_each(|hook| hook.next_attempt = soon);
    entry
}

async fn try_one(
    context: DaemonContext<'_>,
    holder: &Holder,
    entry: &mut Entry,
    say: &(dyn Fn(LogEntry) + Sync),
) -> Result<()> {
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
    let now = context.env.now();
    let lease = match claim(entry, holder, &world, now)? {
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
    let attempt = attempt::renew(&mut entry.request, &world, &mut entry.record, Starter::Schedule).await;
    if let Some(lease) = lease {
        lease.release(&host, &entry.request.outputs);
    }
    entry.renew_at = next(context.env.now(), &attempt, &entry.record)?;
    entry.record.next_attempt = Some(entry.renew_at);
    attempt::save(&entry.record, &entry.request, &world);
    for error in &attempt.failed_hooks {
        say(LogEntry::of_hook(error));
    }
    // A signal that ended the attempt is no decision about the certificate.
    if attempt.done.is_ok() || context.shutdown.check().is_ok() {
        say(LogEntry::of_attempt(&attempt, Some(entry.renew_at)));
    }
    Ok(())
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
    let life = record.from.zip(record.until).map(|(from, until)| Life { from, until, limit: None });
    let timeout = i64::try_from(request.timeout.as_secs()).unwrap_or(i64::MAX);
    let terms = Terms::new(life.as_ref(), record.due.unwrap_or(now), timeout);
    Ok(lease::claim(world.host, &request.outputs, holder, terms, now).ok())
}

/// When the certificate is looked at next, seconds since 1970.
///
/// # Errors
/// The system has no randomness.
fn next(now: i64, attempt: &Attempt, record: &RenewalRecord) -> Result<i64> {
    let life = record.from.zip(record.until).map(|(from, until)| Life { from, until, limit: None });
    let millis = |seconds: i64| seconds.saturating_mul(1000);
    let next = match &attempt.done {
        Ok(outcome) => {
            let due = millis(outcome.due.unwrap_or(now));
            match (&life, outcome.action) {
                (Some(life), IssueAction::Issued | IssueAction::TakenUp) => {
                    schedule::after_renewal(life, due, millis(now))
                }
                _ => due,
            }
        }
        Err(error) => {
            let mut random = [0; 8];
            random::fill(&mut random)?;
            let failed = FailedAttempt {
                count: record.failure.as_ref().map_or(1, |failure| failure.count),
                kind: FailureKind::of(error.kind()),
                retry_after: error.retry_after(),
            };
            schedule::after_failure(life.as_ref(), failed, millis(now), u64::from_ne_bytes(random))
        }
    };
    // Rounded up: what is due in the next second is not looked at in this one.
    Ok((next.saturating_add(999) / 1000).max(now.saturating_add(1)))
}
