//! What others see of the daemon: the file of metrics, the pages of `--listen`, and what the service manager is told.
//! None of it can fail a renewal.

use std::future::pending;
use std::net::SocketAddr;
use std::path::Path;

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::DaemonContext;
use super::entry::{Entry, FileStamp};
use super::probes::{Answer, Asked, Page, Probes};
use crate::certificate::ends;
use crate::error::Result;
use crate::host::service_manager::ServiceManager;
use crate::renew::log::{Event, LogEntry};
use crate::renew::metrics::{self, CertificateState};
use crate::rootfs::{Sysroot, host};
use crate::text;

/// The least time between two writings of the file while something is at work, in seconds.
const PAUSE: i64 = 5;
/// How old what a page tells of the files may be, in seconds.
const AGE: i64 = 2;

/// What others see.
pub(super) struct Monitor<'a> {
    context: DaemonContext<'a>,
    host: &'a Sysroot,
    manager: ServiceManager,
    pulse: Option<Interval>,
    probes: Option<Probes>,
    /// The configured address of `probes`.
    listen: Option<SocketAddr>,
    metrics: Option<String>,
    watched: Vec<Watched>,
    /// When the trust stores are refreshed next, seconds since 1970.
    trust_refresh: Option<i64>,
    /// Whether something changed since it was published.
    is_changed: bool,
    /// When it was published, and when the files were looked at; seconds since 1970.
    published: i64,
    looked: i64,
    status: String,
}

/// A certificate, as others see it.
struct Watched {
    cert: String,
    stamp: Option<FileStamp>,
    state: CertificateState,
}

/// What the loop is asked for.
pub(super) enum Call {
    /// A page.
    Page(Asked),
    /// The service manager's watchdog.
    Pulse,
    /// Nothing: the listener is gone.
    Silence,
}

/// What is to be watched from now on.
pub(super) struct Watching {
    probes: Option<Option<Probes>>,
    listen: Option<SocketAddr>,
    metrics: Option<String>,
}

impl<'a> Monitor<'a> {
    /// Nobody sees anything yet. Must be called inside a tokio runtime.
    pub(super) fn new(context: DaemonContext<'a>, host: &'a Sysroot) -> Self {
        let manager = ServiceManager::of(context.env);
        let pulse = manager.pulse().map(|time| {
            let mut pulse = interval(time);
            // After a suspended machine wakes, one is enough.
            pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pulse
        });
        Monitor {
            context,
            host,
            manager,
            pulse,
            probes: None,
            listen: None,
            metrics: None,
            watched: Vec::new(),
            trust_refresh: None,
            is_changed: false,
            published: i64::MIN,
            looked: i64::MIN,
            status: String::new(),
        }
    }

    /// What a configuration asks for; nothing changes before [`Monitor::watch`].
    ///
    /// # Errors
    /// The address cannot be listened at; the path is not possible.
    pub(super) fn prepare(&self, listen: Option<SocketAddr>, metrics: Option<&Path>) -> Result<Watching> {
        let metrics = metrics.map(host::absolute_text).transpose()?;
        let probes = (listen != self.listen).then(|| listen.map(Probes::start).transpose()).transpose()?;
        Ok(Watching { probes, listen, metrics })
    }

    /// Watches these certificates from now on.
    pub(super) fn watch<'b>(&mut self, watching: Watching, entries: impl Iterator<Item = &'b Entry>) {
        if let Some(probes) = watching.probes {
            self.probes = probes;
            self.listen = watching.listen;
            self.announce();
        }
        self.metrics = watching.metrics;
        self.watched = match self.is_watched() {
            true => entries.map(|entry| Watched::new(self.host, entry)).collect(),
            false => Vec::new(),
        };
        self.is_changed = true;
    }

    fn announce(&self) {
        let Some(address) = self.probes.as_ref().map(Probes::address) else { return };
        let message = format!("listening at http://{address}: /metrics, /healthz, /readyz");
        (self.context.log)(&LogEntry::info(Event::Listening, message));
        if !address.ip().is_loopback() {
            (self.context.log)(&LogEntry::warning(format!(
                "whoever can reach {address} can read the names of the certificates, when they expire and whether they work"
            )));
        }
    }

    fn is_watched(&self) -> bool {
        self.probes.is_some() || self.metrics.is_some() || self.manager.is_there()
    }

    /// Notes what became of a certificate.
    pub(super) fn update(&mut self, entry: &Entry) {
        if let Some(watched) = self.watched.iter_mut().find(|one| one.cert == entry.request.outputs.cert) {
            *watched = Watched::new(self.host, entry);
            self.is_changed = true;
        }
    }

    /// Notes when the trust stores are refreshed next (seconds since 1970), if they are.
    pub(super) fn note_trust(&mut self, next: Option<i64>) {
        self.trust_refresh = next;
        self.is_changed = true;
    }

    /// Looks at the files, and publishes what the time alone changes.
    pub(super) fn refresh(&mut self, now: i64) {
        self.look(now);
        self.is_changed = true;
    }

    /// Looks at the files: another program may have changed them.
    fn look(&mut self, now: i64) {
        self.looked = now;
        self.host.look_again();
        for watched in &mut self.watched {
            let stamp = FileStamp::of(self.host, &watched.cert);
            if stamp != watched.stamp {
                let end = ends::of_file(self.host, &watched.cert, &[]);
                watched.state.condition.set_file(&end);
                watched.stamp = stamp;
                self.is_changed = true;
            }
        }
    }

    /// The configuration is in force for the first time, or was read again; also if it was refused.
    pub(super) fn ready(&mut self) {
        self.status = self.describe(self.context.env.now());
        self.manager.ready(&self.status);
    }

    /// The configuration is read again.
    pub(super) fn reloading(&self) {
        self.manager.reloading();
    }

    /// Tells what changed; while something is at work, not more often than every few seconds.
    pub(super) fn publish(&mut self, is_idle: bool) {
        if !self.is_watched() {
            self.is_changed = false;
            return;
        }
        let now = self.context.env.now();
        let may_wait = !is_idle && (self.published..self.published.saturating_add(PAUSE)).contains(&now);
        if !self.is_changed || may_wait {
            return;
        }
        self.is_changed = false;
        self.published = now;
        let status = self.describe(now);
        if status != self.status {
            self.manager.status(&status);
            self.status = status;
        }
        let Some(path) = &self.metrics else { return };
        if let Err(error) = metrics::write(self.host, path, &self.render(now)) {
            let message = format!("the metrics could not be written: {error}");
            (self.context.log)(&LogEntry::warning(message));
        }
    }

    /// When [`Monitor::publish`] has something to tell that it keeps back; seconds since 1970.
    pub(super) fn next(&self) -> Option<i64> {
        self.is_changed.then(|| self.published.saturating_add(PAUSE))
    }

    /// The next call to the loop.
    pub(super) async fn called(&mut self) -> Call {
        let Monitor { probes, pulse, .. } = self;
        let asked = async {
            match probes {
                Some(probes) => probes.next().await.map_or(Call::Silence, Call::Page),
                None => pending().await,
            }
        };
        let ticked = async {
            match pulse {
                Some(pulse) => pulse.tick().await,
                None => pending().await,
            };
        };
        tokio::select! {
            biased;
            () = ticked => Call::Pulse,
            call = asked => call,
        }
    }

    /// Answers a call.
    pub(super) fn answer(&mut self, call: Call) {
        match call {
            Call::Pulse => self.manager.alive(),
            Call::Silence => self.probes = None,
            Call::Page(Asked { page, answer }) => {
                let said = self.page(page);
                // Who asked may be gone.
                let _ = answer.send(said);
            }
        }
    }

    fn page(&mut self, page: Page) -> Answer {
        let now = self.context.env.now();
        if page == Page::Health {
            return (true, "ok\n".to_owned());
        }
        if !(self.looked..self.looked.saturating_add(AGE)).contains(&now) {
            self.look(now);
        }
        if page == Page::Metrics {
            return (true, self.render(now));
        }
        let problems = self.watched.iter().map(|one| one.state.condition.problem(now, None));
        let lines: Vec<String> = self
            .labels()
            .iter()
            .zip(problems)
            .filter_map(|(label, problem)| Some(format!("{label}: {}\n", problem?.in_public())))
            .collect();
        match lines.is_empty() {
            true => (true, "ok\n".to_owned()),
            false => (false, lines.concat()),
        }
    }

    /// The daemon ends: nobody is answered any more.
    pub(super) fn stopping(&mut self) {
        self.probes = None;
        self.manager.stopping();
    }

    fn states(&self) -> impl Iterator<Item = &CertificateState> {
        self.watched.iter().map(|one| &one.state)
    }

    fn labels(&self) -> Vec<String> {
        metrics::labels(self.states())
    }

    fn render(&self, now: i64) -> String {
        metrics::render(self.states(), now)
    }

    /// The state of everything in one line.
    fn describe(&self, now: i64) -> String {
        let count = self.watched.len();
        let mut line = match count {
            1 => "1 certificate".to_owned(),
            count => format!("{count} certificates"),
        };
        if let Some(next) = self.states().filter_map(|state| state.next_attempt).min() {
            line.push_str(&format!(", next attempt at {}", text::moment(next)));
        }
        if let Some(next) = self.trust_refresh {
            line.push_str(&format!("; next refresh of the trust stores at {}", text::moment(next)));
        }
        let tell = |line: &mut String, what: &str, count: usize| {
            if count > 0 {
                line.push_str(&format!("; {count} {what}"));
            }
        };
        tell(&mut line, "could not be renewed", self.states().filter(|state| state.failures > 0).count());
        let problems = self.states().filter(|state| state.condition.problem(now, None).is_some());
        tell(&mut line, "unhealthy", problems.count());
        line
    }
}

impl Watched {
    fn new(host: &Sysroot, entry: &Entry) -> Self {
        let Entry { request, record, .. } = entry;
        let cert = &request.outputs.cert;
        // Before the file is read: a change in between is seen the next time.
        let stamp = FileStamp::of(host, cert);
        let end = ends::of_file(host, cert, &[]);
        let mut state = CertificateState::new(&request.names, &end, record);
        // The record does not have that of a certificate which another replica renews.
        state.next_attempt = Some(entry.renew_at);
        Watched { cert: cert.clone(), stamp, state }
    }
}
