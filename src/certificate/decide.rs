//! Whether to replace a certificate: a pure function of it, the time and a policy.

use super::life::Life;
use crate::pki::cert::Certificate;
pub(crate) use crate::settings::rows::Due;
use crate::text;

/// A certificate is renewed at the latest when this part of its life is left, whatever its CA suggests.
const SAFETY: i128 = 10;
/// Renewals are spread over this part of a life: as step does it.
const SPREAD: i128 = 20;
/// A certificate that would be due before this part of its life is over would be renewed without end.
const TOO_SOON: i128 = 200;

/// When a certificate is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RenewalPolicy {
    /// What the user wants.
    pub(crate) due: Due,
    /// The moment that was drawn from the window that the CA suggests (ARI, RFC 9773), seconds since 1970. Inside the
    /// life of the certificate it takes precedence, but never beyond its last tenth.
    pub(crate) suggested: Option<i64>,
    /// When this certificate was obtained, seconds since 1970, if that is known. A CA sets the beginning back, so a
    /// short life may be due when it has just come.
    pub(crate) obtained: Option<i64>,
    /// The random number of this certificate ([`spread_number`]), with which it is renewed up to a twentieth of its life
    /// earlier: certificates that were issued together are not renewed together. `None` for a run by hand.
    pub(crate) spread: Option<u64>,
    /// The number of the certificate that the last three are about ([`spread_number`]); `None` if they are of none.
    pub(crate) leaf: Option<u64>,
}

impl RenewalPolicy {
    /// The policy for the certificate `leaf`: what is known of another one does not count for it.
    #[must_use]
    pub(crate) fn about(self, leaf: &Certificate) -> Self {
        let number = spread_number(leaf);
        match self.leaf {
            Some(known) if known != number => RenewalPolicy {
                due: self.due,
                suggested: None,
                obtained: None,
                spread: self.spread.map(|_| number),
                leaf: Some(number),
            },
            _ => self,
        }
    }

    /// What to warn of: the user's time is longer than this life.
    pub(crate) fn warning(&self, life: &Life) -> Option<String> {
        let Due::Left(_) = self.due else { return None };
        let span = Span::of(life, self);
        span.is_too_soon(span.wanted(self.due)).then(|| {
            format!(
                "the certificate lives for {} s in all, and would always be due with `{}` left: it is renewed when two thirds of its life are over",
                life.until.saturating_sub(life.from),
                self.due
            )
        })
    }
}

/// A number that is always the same for one certificate, and as good as random: a restarted program computes the same
/// moment again.
pub(crate) fn spread_number(leaf: &Certificate) -> u64 {
    let fingerprint = leaf.fingerprint();
    fingerprint.bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
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
    let due = due_millis(life, policy).div_euclid(1_000);
    if now < due { Verdict::Keep(due) } else { Verdict::Due(due) }
}

/// When a certificate with this life is due, in milliseconds since 1970: in a short life, whole seconds are too few to
/// spread many renewals.
pub(crate) fn due_millis(life: &Life, policy: RenewalPolicy) -> i64 {
    let span = Span::of(life, &policy);
    let due = match policy.suggested.map(millis) {
        Some(suggested) if (span.from..=span.until).contains(&suggested) => {
            suggested.min(span.until - span.whole() / SAFETY)
        }
        _ => {
            let wanted = span.wanted(policy.due);
            let due = if span.is_too_soon(wanted) { span.start + span.rest() * 2 / 3 } else { wanted };
            // Half of the time before it at most: what is due soon is not due at once.
            let room = (span.whole() / SPREAD).min((due - span.start) / 2).max(0);
            // 52 of its bits, which fit.
            due - ((room * i128::from(policy.spread.unwrap_or(0) >> 12)) >> 52)
        }
    };
    i64::try_from(due).unwrap_or(if due < 0 { i64::MIN } else { i64::MAX })
}

/// A life in milliseconds. A certificate may live to the year 9999, and a hostile one longer: nothing overflows here.
struct Span {
    from: i128,
    /// When it was obtained, if that is known and plausible; else when it begins.
    start: i128,
    until: i128,
}

impl Span {
    fn of(life: &Life, policy: &RenewalPolicy) -> Self {
        let (from, until) = (millis(life.from), millis(life.until));
        let obtained = policy.obtained.map(millis).filter(|obtained| (from..until).contains(obtained));
        Span { from, start: obtained.unwrap_or(from), until }
    }

    fn whole(&self) -> i128 {
        (self.until - self.from).max(0)
    }

    fn rest(&self) -> i128 {
        (self.until - self.start).max(0)
    }

    /// When the user wants it renewed.
    fn wanted(&self, due: Due) -> i128 {
        match due {
            Due::Used(percent) => self.from + self.whole() * i128::from(percent.min(100)) / 100,
            Due::Left(seconds) => self.until - i128::from(seconds) * 1_000,
        }
    }

    /// Whether a certificate that is due then would be due as soon as it is there.
    fn is_too_soon(&self, due: i128) -> bool {
        due < self.start + (self.rest() / TOO_SOON).max(1)
    }
}

fn millis(seconds: i64) -> i128 {
    i128::from(seconds) * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const DAY: i64 = 86_400;

    fn life(from: i64, until: i64) -> Life {
        Life { from, until, limit: None }
    }

    fn policy(due: Due) -> RenewalPolicy {
        RenewalPolicy { due, ..RenewalPolicy::default() }
    }

    /// Numbers that are the same in every run (SplitMix64).
    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut number = self.0;
            number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            number ^ (number >> 31)
        }

        fn below(&mut self, limit: i64) -> i64 {
            i64::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
        }
    }

    #[test]
    fn a_life_has_five_parts() {
        let life = life(1_577_836_800, 2_208_988_800);
        let (from, until) = (life.from, life.until);
        let due = from + (until - from) / 100 * 66;
        let verdict = |now| decide(&life, now, RenewalPolicy::default());
        assert_eq!(verdict(from - 1), Verdict::NotYetValid(from));
        assert_eq!(verdict(from), Verdict::Keep(due));
        assert_eq!(verdict(due - 1), Verdict::Keep(due));
        assert_eq!(verdict(due), Verdict::Due(due));
        assert_eq!(verdict(until), Verdict::Due(due));
        assert_eq!(verdict(until + 1), Verdict::Expired(until + 1));
        assert_eq!(verdict(i64::MIN), Verdict::NotYetValid(from));
        assert_eq!(verdict(i64::MAX), Verdict::Expired(until + 1));
    }

    #[test]
    fn due_is_a_percentage_or_a_duration() {
        for (text, due, again) in [
            ("66%", Due::Used(66), "66%"),
            (" 1% ", Due::Used(1), "1%"),
            ("99%", Due::Used(99), "99%"),
            ("8h", Due::Left(28_800), "8h"),
            ("30d", Due::Left(2_592_000), "30d"),
            ("1h30m", Due::Left(5_400), "90m"),
            ("1", Due::Left(1), "1s"),
            ("1500ms", Due::Left(1), "1s"),
        ] {
            let read: Due = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((read, read.to_string().as_str()), (due, again), "{text}");
            assert_eq!(again.parse::<Due>().unwrap(), due);
        }
        for text in [
            "", "%", "0%", "100%", "256%", "+5%", "-5%", "6.5%", "66 %", "0", "0s", "999ms", "-8h", "8 h",
            "soon",
        ] {
            let error = text.parse::<Due>().expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Usage);
            // The examples that it gives are accepted.
            let what = error.what();
            let examples: Vec<&str> = what.split('`').skip(1).step_by(2).collect();
            assert_eq!(examples, ["1%", "99%", "8h", "30d"]);
            assert!(examples.iter().all(|example| example.parse::<Due>().is_ok()));
        }
    }

    #[test]
    fn a_time_that_exceeds_the_life_does_not_renew_without_end() {
        let short = life(0, 300);
        assert_eq!(decide(&short, 0, policy(Due::Left(100))), Verdict::Keep(200));
        assert_eq!(policy(Due::Left(100)).warning(&short), None);
        for left in [299, 300, 28_800, u64::MAX] {
            let policy = policy(Due::Left(left));
            assert_eq!(decide(&short, 0, policy), Verdict::Keep(200), "{left}");
            let warning = policy.warning(&short).expect("a warning");
            assert!(warning.contains("lives for 300 s in all") && warning.contains(&policy.due.to_string()));
        }
        assert_eq!(RenewalPolicy::default().warning(&short), None);
    }

    #[test]
    fn a_short_life_whose_beginning_was_set_back_is_not_due_when_it_comes() {
        // 20 s, and a minute that step-ca sets the beginning back.
        let short = life(-60, 20);
        assert_eq!(decide(&short, 0, RenewalPolicy::default()), Verdict::Due(-8));
        let known = RenewalPolicy { obtained: Some(0), ..RenewalPolicy::default() };
        assert_eq!(decide(&short, 0, known), Verdict::Keep(13));
        // One that is due later anyway is not changed by it, nor by an implausible moment.
        let day = life(-60, DAY);
        assert_eq!(due_millis(&day, known), due_millis(&day, RenewalPolicy::default()));
        for obtained in [i64::MIN, -61, 20, i64::MAX] {
            let odd = RenewalPolicy { obtained: Some(obtained), ..known };
            assert_eq!(decide(&short, 0, odd), Verdict::Due(-8), "{obtained}");
        }
    }

    #[test]
    fn the_cas_suggestion_counts_inside_the_life_and_before_its_last_tenth() {
        let life = life(0, 90 * DAY);
        let due = |suggested| {
            let policy = RenewalPolicy {
                suggested: Some(suggested),
                spread: Some(u64::MAX),
                ..RenewalPolicy::default()
            };
            due_millis(&life, policy) / 1_000
        };
        assert_eq!([0, 1, 20 * DAY, 80 * DAY].map(due), [0, 1, 20 * DAY, 80 * DAY]);
        assert_eq!([82 * DAY, 90 * DAY].map(due), [81 * DAY; 2]);
        // As if there were none: with the spread of every other renewal.
        let without =
            due_millis(&life, RenewalPolicy { spread: Some(u64::MAX), ..RenewalPolicy::default() }) / 1_000;
        assert_eq!([-1, 90 * DAY + 1, i64::MIN, i64::MAX].map(due), [without; 4]);
    }

    #[test]
    fn renewals_are_spread_over_a_twentieth_of_the_life_in_milliseconds() {
        let life = life(0, 300);
        let due = |spread| due_millis(&life, RenewalPolicy { spread, ..RenewalPolicy::default() });
        assert_eq!(
            [None, Some(0), Some(1 << 63), Some(u64::MAX)].map(due),
            [198_000, 198_000, 190_500, 183_001]
        );
        let mut numbers = Numbers(7);
        let mut moments: Vec<i64> = (0..1_000).map(|_| due(Some(numbers.next()))).collect();
        moments.sort_unstable();
        moments.dedup();
        assert!(moments.len() > 900, "{} moments", moments.len());
    }

    /// Lives of five minutes to ten years, every form of policy, at every part of a life.
    #[test]
    fn whatever_the_policy_a_certificate_is_due_inside_its_life_and_not_at_once() {
        let mut numbers = Numbers(1);
        for _ in 0..200_000 {
            // As many short lives as long ones.
            let length = 300_i64 << numbers.below(21);
            let length = (length + numbers.below(length)).min(3_653 * DAY);
            let from = numbers.below(8_000_000_000) - 1_000_000_000;
            let life = life(from, from + length);
            let wanted = match numbers.below(2) {
                0 => Due::Used(u8::try_from(1 + numbers.below(99)).unwrap()),
                _ => Due::Left(1 << numbers.below(34)),
            };
            let mut some = |limit: i64| (numbers.below(2) == 0).then(|| numbers.below(limit));
            let suggested = some(2 * length).map(|at| from + at - length / 2);
            let obtained = some(length).map(|at| from + at / 8);
            let plain = RenewalPolicy { due: wanted, suggested, obtained, spread: None, leaf: None };
            let spread = RenewalPolicy { spread: Some(numbers.next()), ..plain };
            let (at, early) = (due_millis(&life, plain), due_millis(&life, spread));
            let context = format!("{life:?} {spread:?} {at} {early}");
            // Spread renewals are earlier, by a twentieth of the life at most, and never drawn anew.
            assert!(early <= at && at - early <= length * 1_000 / 20, "{context}");
            assert_eq!(early, due_millis(&life, spread));
            let start = obtained.unwrap_or(from);
            let suggestion = suggested.filter(|at| (from..=life.until).contains(at));
            match suggestion {
                Some(suggestion) => {
                    assert_eq!(at, (suggestion * 1_000).min(life.until * 1_000 - length * 100))
                }
                None => {
                    assert!(early > start * 1_000 && at < life.until * 1_000, "{context}");
                    let exact = match wanted {
                        Due::Used(percent) => from * 1_000 + length * 10 * i64::from(percent),
                        Due::Left(left) => (life.until - i64::try_from(left).unwrap()) * 1_000,
                    };
                    let late = start * 1_000 + (life.until - start) * 2_000 / 3;
                    assert!(at == exact || at == late, "{context}");
                    if wanted == Due::default() && start == from {
                        assert_eq!(at, exact);
                    }
                }
            }
            // One answer at each moment, and the one that its name says.
            let due = early.div_euclid(1_000);
            let now = from - 10 + numbers.below(length + 20);
            let verdict = match now {
                _ if now < from => Verdict::NotYetValid(from),
                _ if now > life.until => Verdict::Expired(life.until + 1),
                _ if now < due => Verdict::Keep(due),
                _ => Verdict::Due(due),
            };
            assert_eq!(decide(&life, now, spread), verdict, "{context}");
        }
    }

    /// Another replica may have replaced the certificate in between; the new one's life begins before it was issued.
    #[test]
    fn what_is_known_of_one_certificate_does_not_count_for_another_one() {
        let certificate = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
            Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap()
        };
        let (old, new) = (certificate("a.test"), certificate("a.test"));
        assert_eq!(spread_number(&old), spread_number(&old.clone()));
        let leaf = Some(spread_number(&old));
        let some = Some(-60);
        let known =
            RenewalPolicy { suggested: some, obtained: some, spread: leaf, leaf, ..policy(Due::Used(50)) };
        assert_eq!(known.about(&old), known);
        let number = Some(spread_number(&new));
        assert_eq!(
            known.about(&new),
            RenewalPolicy { spread: number, leaf: number, ..policy(Due::Used(50)) }
        );
        assert_eq!(RenewalPolicy { spread: None, ..known }.about(&new).spread, None);
        let unknown = RenewalPolicy { leaf: None, ..known };
        assert_eq!(unknown.about(&new), unknown);
    }

    #[test]
    fn hostile_lives_do_not_overflow() {
        let edges = [i64::MIN, -1, 0, 1, i64::MAX];
        let dues = [Due::Used(1), Due::Used(99), Due::Used(255), Due::Left(1), Due::Left(u64::MAX)];
        for (from, until) in edges.iter().flat_map(|from| edges.map(|until| (*from, until))) {
            for (due, moment) in dues.iter().flat_map(|due| edges.map(|moment| (*due, moment))) {
                let life = life(from, until);
                let some = Some(moment);
                let spread = Some(u64::MAX);
                let policy = RenewalPolicy { due, suggested: some, obtained: some, spread, leaf: None };
                let _ = (decide(&life, moment, policy), policy.warning(&life));
                let _ = decide(&life, moment, RenewalPolicy { suggested: None, ..policy });
            }
        }
    }
}
