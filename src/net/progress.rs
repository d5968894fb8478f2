//! What is said while something waits for a server: at first every few seconds, later less often, so that a wait of
//! minutes does not fill a log.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Nothing is said about a wait that is shorter.
const FIRST: Duration = Duration::from_secs(2);
/// The pauses between two lines, each until this much of the wait has passed.
const PAUSES: [(Duration, Duration); 2] = [
    (Duration::from_secs(30), Duration::from_secs(3)),
    (Duration::from_secs(5 * 60), Duration::from_secs(15)),
];
/// The pause after that.
const LATER: Duration = Duration::from_secs(60);

/// Prints one line.
type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// Where lines about a wait go; nowhere by default.
#[derive(Clone, Default)]
pub(crate) struct Note(Option<Say>);

impl Note {
    /// Lines go to `say`.
    pub(crate) fn to(say: impl Fn(&str) + Send + Sync + 'static) -> Note {
        Note(Some(Arc::new(say)))
    }
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Note").field(&self.0.is_some()).finish()
    }
}

/// One wait.
#[derive(Debug)]
pub(crate) struct Progress {
    note: Note,
    /// What is waited for, for people.
    awaited: String,
    began: Instant,
    until: Instant,
    next: Instant,
    /// Why it is not there yet.
    why: Option<String>,
}

impl Progress {
    /// A wait for `awaited` that began at `now` and ends at `until` at the latest.
    pub(crate) fn new(note: &Note, awaited: impl Into<String>, now: Instant, until: Instant) -> Progress {
        Progress {
            note: note.clone(),
            awaited: awaited.into(),
            began: now,
            until,
            next: now + FIRST,
            why: None,
        }
    }

    /// How long until the next line is due; `None` if nobody listens.
    pub(super) fn due(&self, now: Instant) -> Option<Duration> {
        self.note.0.as_ref().map(|_| self.next.saturating_duration_since(now))
    }

    /// Remembers why the last attempt failed.
    pub(crate) fn failed(&mut self, why: String) {
        self.why = Some(why);
    }

    /// Says what is waited for, if that is due.
    pub(super) fn say(&mut self, now: Instant) {
        let Some(say) = &self.note.0 else { return };
        if now < self.next {
            return;
        }
        let waited = now.saturating_duration_since(self.began);
        let pause = PAUSES.iter().find(|(until, _)| waited < *until).map_or(LATER, |(_, pause)| *pause);
        self.next = now + pause;
        let left = match self.until.saturating_duration_since(now).as_secs() {
            0 => "this is the last attempt".to_owned(),
            seconds @ 1..60 => format!("{seconds} s left"),
            seconds => format!("{} min {} s left", seconds / 60, seconds % 60),
        };
        let why = self.why.as_deref().unwrap_or("no answer yet");
        say(&format!("waiting for `{}`, {left}: {why}", self.awaited));
    }
}
