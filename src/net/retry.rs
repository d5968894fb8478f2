//! When to repeat a failed request: the one policy for every wait for a server. Pauses double from a first to a largest
//! one and are shortened by up to a half at random, so that a thousand containers that start together do not return
//! together. The server's own time (`Retry-After`) takes precedence.
//!
//! The pauses are awaited on the runtime, so that a signal ends them as it ends any other wait ([`crate::host::shutdown`]).

use std::pin::pin;
use std::time::{Duration, Instant};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use super::date;
use super::progress::{Note, Progress};
use crate::error::{Error, ErrorKind};
use crate::random;

/// A shorter `Retry-After` is replaced by a pause of ours: a server is not asked without a break, whatever it says.
const SHORTEST_ANSWER: Duration = Duration::from_secs(1);

/// Clock and randomness of a policy; tests bring their own, and do not wait.
pub(crate) trait Surroundings {
    /// The current time.
    fn now(&self) -> Instant;
    /// An unpredictable byte; 0 if there is none, which leaves a pause whole.
    fn random_byte(&self) -> u8;
    /// Waits, on the runtime.
    async fn sleep(&self, time: Duration);
}

/// The real ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct System;

impl Surroundings for System {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn random_byte(&self) -> u8 {
        random::jitter().to_ne_bytes()[0]
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Pauses that double up to a largest one.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    /// For a server that is being started: `--wait`.
    pub(crate) const STARTING: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
    /// For a CA that is asked for a certificate.
    pub(crate) const ISSUING: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));

    /// Pauses from `first` to `most`.
    pub(crate) const fn new(first: Duration, most: Duration) -> Self {
        Backoff { next: first, most }
    }

    /// The next pause.
    pub(crate) fn take(&mut self) -> Duration {
        self.take_with(System.random_byte())
    }

    /// Between a half and all of the pause.
    fn take_with(&mut self, random: u8) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.most);
        pause - pause.mul_f64(f64::from(random) / 512.0)
    }
}

/// Attempts until a deadline.
#[derive(Debug)]
pub(crate) struct Retry<S = System> {
    backoff: Backoff,
    last_start: Instant,
    progress: Option<Progress>,
    surroundings: S,
}

impl Retry {
    /// No attempt begins after `last_start`; the pause before the last one is cut to begin it then.
    pub(crate) fn until(last_start: Instant, backoff: Backoff) -> Self {
        Retry { backoff, last_start, progress: None, surroundings: System }
    }
}

impl<S: Surroundings> Retry<S> {
    /// The same, saying now and then that it waits for `awaited` (for people), and how long it has until `until`.
    pub(crate) fn saying(self, note: &Note, awaited: impl Into<String>, until: Instant) -> Self {
        let progress = Progress::new(note, awaited, self.surroundings.now(), until);
        Retry { progress: Some(progress), ..self }
    }

    /// Awaits `future`, which is an attempt or a pause, and says so now and then.
    pub(crate) async fn watch<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            let now = self.surroundings.now();
            let Some(due) = self.progress.as_ref().and_then(|progress| progress.due(now)) else {
                return future.await;
            };
            tokio::select! {
                biased;
                done = &mut future => return done,
                () = self.surroundings.sleep(due) => {}
            }
            let now = self.surroundings.now();
            self.progress.iter_mut().for_each(|progress| progress.say(now));
        }
    }

    /// Waits before the next attempt.
    pub(crate) async fn sleep(&mut self, mut pause: Duration) {
        // In parts, so that a clock that only advances by sleeping is enough.
        while !pause.is_zero() {
            let now = self.surroundings.now();
            let due = self.progress.as_ref().and_then(|progress| progress.due(now));
            let part = due.map_or(pause, |due| due.min(pause));
            self.surroundings.sleep(part).await;
            pause = pause.saturating_sub(part);
            let now = self.surroundings.now();
            self.progress.iter_mut().for_each(|progress| progress.say(now));
        }
    }

    /// Remembers why the last attempt failed, for the next line.
    pub(crate) fn failed(&mut self, error: &Error) {
        let why = match error.place() {
            _ if error.what().contains('`') => error.what().to_owned(),
            Some(place) => format!("{}: `{place}`", error.what()),
            None => error.what().to_owned(),
        };
        self.progress.iter_mut().for_each(|progress| progress.failed(why.clone()));
    }

    /// How long to wait before the next attempt; `after` is the server's own word on that. `None`: there is no time for
    /// another attempt, or the server wants a longer pause than that.
    pub(crate) fn pause(&mut self, after: Option<Duration>) -> Option<Duration> {
        let left = self.last_start.saturating_duration_since(self.surroundings.now());
        if left.is_zero() {
            return None;
        }
        match after.filter(|after| *after >= SHORTEST_ANSWER) {
            Some(after) => Some(after).filter(|after| *after <= left),
            None => Some(self.backoff.take_with(self.surroundings.random_byte()).min(left)),
        }
    }

    /// Repeats `attempt` while it fails for a reason that may pass ([`may_pass`]) and there is time.
    ///
    /// # Errors
    /// That of the last attempt.
    pub(crate) async fn run<T>(
        &mut self,
        mut attempt: impl AsyncFnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        loop {
            let error = match self.watch(attempt()).await {
                Err(error) if may_pass(&error) => error,
                done => return done,
            };
            let Some(pause) = self.pause(error.retry_after()) else { return Err(error) };
            self.failed(&error);
            self.sleep(pause).await;
        }
    }
}

/// Whether the same request may succeed later: a server that cannot be reached, is not up, or is too busy.
pub(crate) fn may_pass(error: &Error) -> bool {
    error.kind() == ErrorKind::Unreachable
}

/// `Retry-After` as a number of seconds or a date (RFC 9110 section 10.2.3); a date is compared with the clock of its
/// server, if that is known, else with ours (`now`, seconds since 1970).
pub(crate) fn retry_after(headers: &HeaderMap, now: i64) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let there = date(headers, &DATE).unwrap_or(now);
    let until = date(headers, &RETRY_AFTER)?;
    Some(Duration::from_secs(u64::try_from(until.saturating_sub(there)).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::{Arc, Mutex};

    use reqwest::header::HeaderName;

    use super::*;

    /// A clock that advances only by sleeping.
    struct Simulated {
        now: Cell<Instant>,
        random: u8,
        slept: Cell<Vec<u128>>,
    }

    impl Surroundings for &Simulated {
        fn now(&self) -> Instant {
            self.now.get()
        }

        fn random_byte(&self) -> u8 {
            self.random
        }

        async fn sleep(&self, time: Duration) {
            self.now.set(self.now.get() + time);
            let mut slept = self.slept.take();
            slept.push(time.as_millis());
            self.slept.set(slept);
        }
    }

    fn simulated(random: u8) -> Simulated {
        Simulated { now: Cell::new(Instant::now()), random, slept: Cell::default() }
    }

    /// The pauses in ms of attempts that all fail as `error` says, within `time`; and how many attempts there were.
    fn pauses(surroundings: &Simulated, time: Duration, error: &dyn Fn() -> Error) -> (Vec<u128>, usize) {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        let last_start = surroundings.now.get() + time;
        let mut retry = Retry { backoff, last_start, progress: None, surroundings };
        let mut attempts = 0;
        let runtime = crate::host::runtime::build().expect("runtime");
        let done: Result<(), Error> = runtime.block_on(retry.run(async || {
            attempts += 1;
            Err(error())
        }));
        done.expect_err("every attempt fails");
        (surroundings.slept.take(), attempts)
    }

    #[test]
    fn pauses_double_up_to_their_limit_and_the_last_attempt_begins_at_the_deadline() {
        let refused = || Error::unreachable("x");
        let (slept, attempts) = pauses(&simulated(0), Duration::from_secs(1), &refused);
        assert_eq!((slept, attempts), (vec![100, 200, 350, 350], 5));
        let (slept, attempts) = pauses(&simulated(255), Duration::from_millis(200), &refused);
        assert_eq!((slept, attempts), (vec![50, 100, 49], 4));
        let (slept, attempts) = pauses(&simulated(0), Duration::ZERO, &refused);
        assert_eq!((slept, attempts), (vec![], 1));
    }

    /// The lines of a wait of this many seconds, each with the second in which it came.
    fn lines(wait: u64) -> Vec<(u64, String)> {
        let surroundings = simulated(0);
        let began = surroundings.now.get();
        let said = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&said);
        let note = Note::to(move |line| log.lock().expect("log").push(line.to_owned()));
        let mut retry = Retry {
            backoff: Backoff::STARTING,
            last_start: began + Duration::from_secs(wait),
            progress: None,
            surroundings: &surroundings,
        }
        .saying(&note, "https://ca.test/", began + Duration::from_secs(wait));
        let runtime = crate::host::runtime::build().expect("runtime");
        let mut seen = 0;
        let mut found: Vec<(u64, String)> = Vec::new();
        let done: Result<(), Error> = runtime.block_on(retry.run(async || {
            let all = said.lock().expect("log").clone();
            found.extend(
                all[seen..]
                    .iter()
                    .map(|line| (surroundings.now.get().duration_since(began).as_secs(), line.clone())),
            );
            seen = all.len();
            Err(Error::unreachable("refused").at("https://ca.test/"))
        }));
        done.expect_err("every attempt fails");
        found
    }

    #[test]
    fn a_wait_says_what_it_waits_for_and_how_long_it_has() {
        assert_eq!(lines(0), []);
        assert_eq!(lines(1), []);
        let all = lines(12);
        assert!((3..=5).contains(&all.len()), "{all:?}");
        assert!(all[0].1.starts_with("waiting for `https://ca.test/`, 10 s left: refused"), "{all:?}");
        let minutes = lines(600);
        assert!((20..=45).contains(&minutes.len()), "{} lines in ten minutes", minutes.len());
        assert!(minutes.iter().any(|(_, line)| line.contains("min ")), "{minutes:?}");
        let hours = lines(6 * 3600);
        assert!(hours.len() < 420, "{} lines in six hours", hours.len());
    }

    #[test]
    fn an_attempt_without_an_answer_is_a_wait_too() {
        let surroundings = simulated(0);
        let said = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&said);
        let note = Note::to(move |line| log.lock().expect("log").push(line.to_owned()));
        let now = surroundings.now.get();
        let mut retry = Retry {
            backoff: Backoff::STARTING,
            last_start: now + Duration::from_secs(60),
            progress: None,
            surroundings: &surroundings,
        }
        .saying(&note, "https://ca.test/", now + Duration::from_secs(60));
        let runtime = crate::host::runtime::build().expect("runtime");
        // A server that is silent for 20 seconds of the simulated clock.
        let silent = std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            match surroundings.now.get().duration_since(now).as_secs() {
                0..20 => std::task::Poll::Pending,
                _ => std::task::Poll::Ready(()),
            }
        });
        runtime.block_on(retry.watch(silent));
        let said = said.lock().expect("log").clone();
        assert!((5..=8).contains(&said.len()), "{said:?}");
        assert!(said[0].contains("58 s left: no answer yet"), "{said:?}");
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for error in [Error::failed, Error::usage, Error::not_trusted, Error::unsupported] {
            let (slept, attempts) = pauses(&simulated(0), Duration::from_secs(9), &|| error("x"));
            assert_eq!((slept, attempts), (vec![], 1));
        }
    }

    #[test]
    fn the_server_says_when_to_ask_again() {
        let busy = |seconds| move || Error::unreachable("x").with_retry_after(Duration::from_secs(seconds));
        let (slept, attempts) = pauses(&simulated(255), Duration::from_secs(5), &busy(2));
        assert_eq!((slept, attempts), (vec![2000, 2000], 3));
        // Longer than the time left: waiting is useless.
        let (slept, attempts) = pauses(&simulated(0), Duration::from_secs(5), &busy(6));
        assert_eq!((slept, attempts), (vec![], 1));
        let (slept, _) = pauses(&simulated(0), Duration::from_secs(5), &busy(u64::MAX));
        assert!(slept.is_empty());
        // "At once" is no reason to ask without a break.
        let (slept, _) = pauses(&simulated(0), Duration::from_millis(300), &busy(0));
        assert_eq!(slept, [100, 200]);
    }

    #[test]
    fn real_pauses_are_between_a_half_and_the_whole() {
        for _ in 0..64 {
            let mut backoff = Backoff::STARTING;
            let taken = backoff.take().as_millis();
            assert!((50..=100).contains(&taken), "{taken}");
        }
        let mut longest = Backoff::new(Duration::MAX, Duration::MAX);
        assert_eq!([longest.take_with(0), longest.take_with(0)], [Duration::MAX; 2]);
    }

    fn headers(all: &[(HeaderName, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.clone(), value.parse().expect("header"))).collect()
    }

    // 1994-11-06 08:49:37 UTC, a little before.
    const NOW: i64 = 784_111_770;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (text, wanted) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let found = retry_after(&headers(&[(RETRY_AFTER, text)]), NOW);
            assert_eq!(found, wanted.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_date_is_compared_with_the_clock_of_its_server() {
        let after = (RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT");
        let sent = |date: &str| retry_after(&headers(&[after.clone(), (DATE, date)]), NOW);
        assert_eq!(sent("Sun, 06 Nov 1994 08:49:07 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(sent("Sun, 06 Nov 1994 09:49:07 GMT"), Some(Duration::ZERO));
        assert_eq!(sent("some day"), Some(Duration::from_secs(7)));
    }
}
