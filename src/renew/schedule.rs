//! When to ask a CA again: pure functions of a certificate's life, of what happened, of the time and of random bits. All
//! times are milliseconds since 1970.
//!
//! Pauses are scaled to the life: a certificate of five minutes is tried again within seconds, one of ninety days
//! within minutes, and more often towards its end. But none is so short that many clients whose certificates end
//! together overload their CA: the tests simulate them.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::certificate::life::Life;
use crate::error::ErrorKind;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// No pause is shorter.
const SHORTEST: i64 = SECOND;
/// Nor is it shorter than this after so many failures, unless the whole life is short.
const SHORTEST_LATER: (u32, i64) = (10, 5 * SECOND);

/// How the pauses after one kind of failure are scaled.
struct Scale {
    /// The longest pause is this part of the time to the end, or since then.
    of_rest: i64,
    /// But at least this part of the life, within these limits.
    of_life: i64,
    least: RangeInclusive<i64>,
    /// And at most this, before the end and after it.
    most: (i64, i64),
}

/// A server that cannot be reached, or is busy.
const PASSING: Scale =
    Scale { of_rest: 20, of_life: 200, least: SHORTEST..=10 * MINUTE, most: (HOUR, 10 * MINUTE) };
/// A wrong password, a refused name: a person has to act.
const LASTING: Scale = Scale { of_rest: 8, of_life: 8, least: SHORTEST..=5 * MINUTE, most: (DAY, HOUR) };

/// The first pause is this part of the least longest one; it doubles with each failure.
const FIRST: i64 = 8;

/// Where there is no certificate yet, the first pauses are those of this life, and the longest one is this: a CA may be
/// about to start, or many clients may wait for it.
const NO_LIFE: (i64, i64) = (HOUR, 10 * MINUTE);

/// The first refresh of trust stores is at most so long after the start.
const LONGEST_FIRST: i64 = 10 * MINUTE;

/// A server's `Retry-After` is obeyed up to this, or up to half of the life that is left, whichever is longer.
const LONGEST_ANSWER: i64 = DAY;

/// Whether the same attempt may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// It may: a server that is down, a full disk.
    MayPass,
    /// A person has to act first: a refused name, a wrong password, a wrong option.
    Lasting,
}

impl FailureKind {
    /// The kind of an error with this kind.
    pub(crate) fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Unreachable | ErrorKind::Failed | ErrorKind::Changed => FailureKind::MayPass,
            ErrorKind::Usage
            | ErrorKind::NotTrusted
            | ErrorKind::Unsupported
            | ErrorKind::NotExecutable
            | ErrorKind::NoCommand => FailureKind::Lasting,
        }
    }

    /// What the log adds to the error.
    pub(crate) fn note(self) -> &'static str {
        match self {
            FailureKind::MayPass => "trying again",
            FailureKind::Lasting => "a retry alone will not help, so the CA is asked rarely; trying again",
        }
    }

    fn scale(self) -> &'static Scale {
        match self {
            FailureKind::MayPass => &PASSING,
            FailureKind::Lasting => &LASTING,
        }
    }
}

/// An attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FailedAttempt {
    /// How many failed in a row, this one included.
    pub(crate) count: u32,
    /// Whether a retry may help.
    pub(crate) kind: FailureKind,
    /// What the server said.
    pub(crate) retry_after: Option<Duration>,
}

/// When to try again. `life`: that of the certificate in place, if there is one. `random`: fresh random bits.
///
/// A server's `Retry-After` is the least; without one, a failure that may pass is followed by any pause up to a
/// window that doubles (full jitter), another one by a long pause at once.
pub(crate) fn after_failure(life: Option<&Life>, failure: FailedAttempt, now: i64, random: u64) -> i64 {
    let scale = failure.kind.scale();
    let longest = scale.longest(life, now);
    let pause = match failure.kind {
        FailureKind::MayPass => {
            let first = (scale.least(life) / FIRST).max(SHORTEST);
            let doubled = 1_i64 << failure.count.saturating_sub(1).min(30);
            drawn(0..=first.saturating_mul(doubled).min(longest), random)
        }
        FailureKind::Lasting => drawn(longest / 2..=longest, random),
    };
    let shortest = match SHORTEST_LATER {
        (count, shortest) if failure.count >= count => shortest.min(longest),
        _ => SHORTEST,
    };
    now.saturating_add(answered(life, failure.retry_after, now).saturating_add(pause.max(shortest)))
}

/// When to renew a certificate that was obtained at `obtained` and is due at `due` ([`crate::certificate::decide::due_millis`]). One that
/// is due when it comes, by its CA's suggestion or by a wrong clock, is not renewed without end.
pub(crate) fn after_renewal(life: &Life, due: i64, obtained: i64) -> i64 {
    if due > obtained.saturating_add(PASSING.least(Some(life))) {
        return due;
    }
    obtained.saturating_add(LASTING.longest(Some(life), obtained))
}

/// When to try again after a restart: the recorded moment, unless the clock was set back since. `last`: the last attempt.
pub(crate) fn after_restart(life: Option<&Life>, last: i64, recorded: i64, now: i64) -> i64 {
    let latest = LASTING.longest(life, now).max(longest_answer(life, now)).saturating_mul(2);
    if last > now || recorded > now.saturating_add(latest) { now } else { recorded }
}

/// When trust stores are refreshed that were refreshed at `now`: `every`, and up to a tenth earlier.
pub(crate) fn next_refresh(every: i64, now: i64, random: u64) -> i64 {
    now.saturating_add(every.saturating_sub(drawn(0..=every / 10, random)))
}

/// When they are refreshed first, in a process that starts at `now`: soon, but not with all others that start.
pub(crate) fn first_refresh(every: i64, now: i64, random: u64) -> i64 {
    now.saturating_add(drawn(0..=(every / 20).min(LONGEST_FIRST), random))
}

/// When to try again to refresh them: pauses double up to `every`, with full jitter.
pub(crate) fn after_failed_refresh(every: i64, failure: FailedAttempt, now: i64, random: u64) -> i64 {
    let doubled = MINUTE.saturating_mul(1_i64 << failure.count.saturating_sub(1).min(30)).min(every);
    let pause = match failure.kind {
        FailureKind::MayPass => drawn(SHORTEST_LATER.1..=doubled.max(SHORTEST_LATER.1), random),
        FailureKind::Lasting => drawn(every / 2..=every, random),
    };
    let asked = failure.retry_after.map_or(0, |after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
    now.saturating_add(pause.saturating_add(asked.min(every)))
}

impl Scale {
    /// The longest pause where nothing is urgent and nothing is far away.
    fn least(&self, life: Option<&Life>) -> i64 {
        let whole =
            life.map_or(NO_LIFE.0, |life| life.until.saturating_sub(life.from).saturating_mul(SECOND));
        (whole / self.of_life).clamp(*self.least.start(), *self.least.end())
    }

    /// The longest pause now.
    fn longest(&self, life: Option<&Life>, now: i64) -> i64 {
        let Some(life) = life else { return NO_LIFE.1 };
        let least = self.least(Some(life));
        let left = end(life).saturating_sub(now);
        let most = if left > 0 { self.most.0 } else { self.most.1 };
        (left.saturating_abs() / self.of_rest).clamp(least, most.max(least))
    }
}

/// The end of a life.
fn end(life: &Life) -> i64 {
    life.until.saturating_add(1).saturating_mul(SECOND)
}

/// How long the server does not want to be asked; 0 if it does not say so.
fn answered(life: Option<&Life>, retry_after: Option<Duration>, now: i64) -> i64 {
    let asked = retry_after.map_or(0, |after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
    asked.min(longest_answer(life, now))
}

fn longest_answer(life: Option<&Life>, now: i64) -> i64 {
    life.map_or(0, |life| end(life).saturating_sub(now) / 2).max(LONGEST_ANSWER)
}

/// A number of this range.
fn drawn(range: RangeInclusive<i64>, random: u64) -> i64 {
    let width = i128::from(*range.end()) - i128::from(*range.start()) + 1;
    let part = (width * i128::from(random >> 12)) >> 52;
    range.start().saturating_add(i64::try_from(part).unwrap_or(0))
}

#[cfg(test)]
mod tests;
