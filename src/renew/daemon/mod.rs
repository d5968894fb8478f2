//! The daemon: one loop that knows the next moment of every certificate, and sleeps until the first of them.
//!
//! Per certificate it holds its request and its record, and nothing else: each attempt opens what it needs, and reads
//! secrets again.

mod certificate;
mod drift;
mod entry;
mod monitor;
mod probes;
mod trust;

use std::pin::Pin;

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use self::drift::Drift;
use self::entry::Entry;
use self::monitor::Monitor;
use self::trust::{TrustEntry, TrustTerms};
use super::hooks::{self, Change, ChangeNote};
use super::lease::Holder;
use super::log::{Event, LogEntry};
use super::{attempt, trust_refresh};
use crate::certificate::issue::request::{DaemonTerms, IssueInput, IssueRequests, Purpose, requests};
use crate::error::{Error, Result};
use crate::host::alarm::Alarm;
use crate::host::env::Env;
use crate::host::shutdown::{DaemonRequest, Shutdown};
use crate::process::Children;
use crate::rootfs::Sysroot;
use crate::settings::Settings;
use crate::text;
use crate::trust::target::sysroot;

/// How many certificates are renewed at the same time.
const AT_ONCE: usize = 8;
/// How often files are compared with what was there, in seconds: another program may have replaced a pair.
const LOOK: i64 = 600;

/// What the daemon works with.
#[derive(Clone, Copy)]
pub(crate) struct DaemonContext<'a> {
    /// Variables and clock.
    pub(crate) env: &'a Env,
    /// Command line and environment.
    pub(crate) settings: &'a Settings,
    /// What `trustup bootstrap` without options would get from them.
    pub(crate) bootstrap: &'a Settings,
    /// The signals that end it.
    pub(crate) shutdown: &'a Shutdown,
    /// The owner of hooks.
    pub(crate) children: &'a Children,
    /// Writes an entry to the log.
    pub(crate) log: &'a (dyn Fn(&LogEntry) + Sync),
}

/// What is at work.
type Work<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = Finished> + 'a>>>;

/// What comes back from work.
enum Finished {
    Certificate(Box<Entry>),
    /// With what changed, if anything did.
    Trust(TrustEntry, Option<String>),
}

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
        at_work: 0,
        trust: None,
        trust_terms: None,
        is_trust_at_work: false,
        trust_changes: Vec::new(),
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
        while let Some(entry) = daemon.take_due(now) {
            let holder = &holder;
            work.push(Box::pin(async move {
                Finished::Certificate(Box::new(certificate::work(context, holder, entry).await))
            }));
        }
        // Beside the certificates, never before them.
        if let Some(entry) = daemon.take_due_trust(now) {
            work.push(Box::pin(async move {
                let (entry, changed) = trust::work(context, entry).await;
                Finished::Trust(entry, changed)
            }));
        }
        daemon.monitor.publish(work.is_empty());
        let next = daemon.next().unwrap_or(next_look).min(next_look);
        let next = daemon.monitor.next().map_or(next, |publish| publish.min(next));
        // A simulated clock stands still while something is at work.
        let may_sleep = context.env.has_system_clock() || work.is_empty();
        tokio::select! {
            biased;
            _ = context.shutdown.requested() => break,
            asked = signals.next() => daemon.asked(asked),
            Some(finished) = work.next(), if !work.is_empty() => match finished {
                Finished::Certificate(entry) => expired = daemon.take_back(*entry),
                Finished::Trust(entry, changed) => daemon.take_back_trust(entry, changed),
            },
            call = daemon.monitor.called() => daemon.monitor.answer(call),
            () = alarm.until(next), if may_sleep => {}
        }
    }
    daemon.monitor.stopping();
    if expired.is_none() {
        // The attempts were told, and end by themselves.
        while let Some(finished) = work.next().await {
            if let Finished::Certificate(entry) = finished {
                daemon.monitor.update(&entry);
            }
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
    /// How many certificates are at work.
    at_work: usize,
    /// The trust stores, if they are to be refreshed and not at work.
    trust: Option<TrustEntry>,
    /// What the configuration says of them now.
    trust_terms: Option<TrustTerms>,
    is_trust_at_work: bool,
    /// What changed in them since the start.
    trust_changes: Vec<String>,
}

impl Daemon<'_> {
    /// Reads the configuration; what is known of its certificates is kept.
    ///
    /// # Errors
    /// It cannot be used; nothing is changed.
    fn load(&mut self) -> Result<()> {
        let DaemonContext { env, settings, log, .. } = self.context;
        let input = IssueInput { env, settings, host: Some(self.host), file: None };
        let IssueRequests { requests, notes, warnings, daemon, .. } = requests(input, Purpose::Renew)?;
        let DaemonTerms { exit_when_expired, refresh_trust, hooks, metrics, listen } = daemon;
        // With certificates, each hook belongs to one of them.
        let hooks = if requests.is_empty() { hooks } else { Vec::new() };
        let trust_terms = refresh_trust.map(|every| TrustTerms { every, hooks });
        if trust_terms.is_some() {
            trust_refresh::check(self.context.bootstrap, env)?;
        }
        if requests.is_empty() && trust_terms.is_none() {
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
        // A service that several certificates share is told once of new roots.
        let mut told = Vec::new();
        for entry in &mut entries {
            let hooks = entry.request.hooks.iter().flatten();
            entry.trust_changes = self.trust_changes.len();
            entry.trust_hooks = hooks.filter(|hook| !told.contains(&hook.command)).cloned().collect();
            told.extend(entry.trust_hooks.iter().map(|hook| hook.command.clone()));
        }
        self.monitor.watch(watching, entries.iter());
        self.exit_when_expired = exit_when_expired;
        self.listed = listed;
        self.idle = entries;
        self.trust = match (self.trust.take(), &trust_terms) {
            (Some(entry), Some(terms)) => Some(entry.with(terms.clone(), now)),
            (None, Some(terms)) if !self.is_trust_at_work => Some(TrustEntry::new(terms.clone(), now)),
            _ => None,
        };
        self.trust_terms = trust_terms;
        self.monitor.note_trust(self.trust.as_ref().map(TrustEntry::next));
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
                self.trust.iter_mut().for_each(|trust| trust.refresh_at = now);
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
        self.trust.iter_mut().for_each(|trust| trust.bound(now));
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
        if self.at_work >= AT_ONCE {
            return None;
        }
        let (first, _) = self.idle.iter().enumerate().min_by_key(|(_, entry)| entry.next())?;
        (self.idle[first].next() <= now).then(|| {
            let mut entry = self.idle.swap_remove(first);
            entry.asked = self.asked;
            entry.trust_changes = self.trust_changes.len();
            self.at_work += 1;
            entry
        })
    }

    fn take_due_trust(&mut self, now: i64) -> Option<TrustEntry> {
        let entry = self.trust.take_if(|entry| entry.next() <= now)?;
        self.is_trust_at_work = true;
        Some(entry)
    }

    /// When something is to be done next for which there is room.
    fn next(&self) -> Option<i64> {
        let certificates = self.idle.iter().filter(|_| self.at_work < AT_ONCE).map(Entry::next);
        certificates.chain(self.trust.iter().map(TrustEntry::next)).min()
    }

    fn take_back_trust(&mut self, entry: TrustEntry, changed: Option<String>) {
        let now = self.context.env.now();
        self.is_trust_at_work = false;
        // After a reload there may be other terms, or none.
        self.trust = self.trust_terms.clone().map(|terms| entry.with(terms, now));
        self.monitor.note_trust(self.trust.as_ref().map(TrustEntry::next));
        let Some(reason) = changed else { return };
        self.host.look_again();
        self.trust_changes.push(reason);
        for entry in &mut self.idle {
            tell_hooks(entry, &self.trust_changes, now);
            if let Err(error) = entry.record.write(self.host, &entry.request.outputs.cert) {
                let message = format!("the state of the renewal could not be recorded: {error}");
                (self.context.log)(&LogEntry::warning(message));
            }
            self.monitor.update(entry);
        }
    }

    /// Returns why the daemon ends, if it does.
    fn take_back(&mut self, mut entry: Entry) -> Option<Error> {
        self.at_work -= 1;
        self.host.look_again();
        entry.remember_files(self.host);
        // A signal came while it was at work: what was done may be older than what the signal is about.
        if entry.asked != self.asked {
            entry.is_forced = true;
            entry.renew_at = self.context.env.now();
        }
        tell_hooks(&mut entry, &self.trust_changes, self.context.env.now());
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

/// Queues the hooks of a certificate for changes of the trust stores that it was not told of.
fn tell_hooks(entry: &mut Entry, changes: &[String], now: i64) {
    let new = changes.get(entry.trust_changes..).unwrap_or_default();
    entry.trust_changes = changes.len();
    if !new.is_empty() {
        let reason = new.join("; ");
        let note = ChangeNote { change: Change::TrustChanged, reason: &reason, old: None, at: now };
        hooks::queue(&mut entry.record.hooks, &entry.trust_hooks, &note);
    }
}
