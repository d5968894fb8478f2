//! Whether to replace a certificate: a pure function of it, the time and a policy.

use super::life::Life;
use crate::text;

/// When a certificate is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RenewalPolicy {
    /// The part of its life after which it is due, in hundredths.
    pub(crate) used_percent: u8,
}

impl Default for RenewalPolicy {
    /// Two thirds of its life, as step and most others do: one third is left to survive an outage.
    fn default() -> Self {
        RenewalPolicy { used_percent: 66 }
    }
}

/// The decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing before this moment (seconds since 1970).
    Keep(i64),
    /// It works, and has been due since this moment.
    Due(i64),
    /// It has not worked since this moment.
    Expired(i64),
    /// It does not work before this moment: a clock is wrong.
    NotYetValid(i64),
}

impl Verdict {
    /// Why, in words that can follow "the certificate".
    pub(crate) fn reason(&self) -> String {
        match self {
            Verdict::Keep(due) => format!("is not due before {}", text::moment(*due)),
            Verdict::Due(since) => format!("is due since {}", text::moment(*since)),
            Verdict::Expired(since) => format!("expired at {}", text::moment(*since)),
            Verdict::NotYetValid(from) => format!("is not valid before {}", text::moment(*from)),
        }
    }
}

/// The decision on a certificate with this life at `now` (seconds since 1970).
pub(crate) fn decide(life: &Life, now: i64, policy: RenewalPolicy) -> Verdict {
    let &Life { from, until, .. } = life;
    if now < from {
        return Verdict::NotYetValid(from);
    }
    // `notAfter` is the last second of validity (RFC 5280 section 4.1.2.5).
    if now > until {
        return Verdict::Expired(until.saturating_add(1));
    }
    // Not multiplied first: a certificate may live to the year 9999, and a hostile one longer.
    let life = until.saturating_sub(from);
    let part = i64::from(policy.used_percent.min(100));
    let used = (life / 100).saturating_mul(part).saturating_add(life % 100 * part / 100);
    let due = from.saturating_add(used);
    if now < due { Verdict::Keep(due) } else { Verdict::Due(due) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_has_five_parts() {
        let life = Life { from: 1_577_836_800, until: 2_208_988_800, limit: None };
        let (from, until) = (life.from, life.until);
        let due = from + (until - from) / 100 * 66;
        let verdict = |now| decide(&life, now, RenewalPolicy::default());
        assert_eq!(verdict(from - 1), Verdict::NotYetValid(from));
        assert_eq!(verdict(from), Verdict::Keep(due));
        assert_eq!(verdict(due - 1), Verdict::Keep(due));
        assert_eq!(verdict(due), Verdict::Due(due));
        assert_eq!(verdict(until), Verdict::Due(due));
        assert_eq!(verdict(until + 1), Verdict::Expired(until + 1));
        assert_eq!(decide(&life, from, RenewalPolicy { used_percent: 0 }), Verdict::Due(from));
        assert_eq!(verdict(i64::MIN), Verdict::NotYetValid(from));
        assert_eq!(verdict(i64::MAX), Verdict::Expired(until + 1));
    }
}
