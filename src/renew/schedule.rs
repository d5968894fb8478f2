//! When the daemon tries again: pure functions of the certificate's life, what failed, the time and random bits.

use std::time::Duration;

/// In seconds.
const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Attempts that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// How many, since the last success: at least 1.
    pub(crate) count: u32,
    /// Whether the same may succeed later by itself: a server that cannot be reached, or is too busy.
    pub(crate) may_pass: bool,
    /// How long the server wants to be left alone.
    pub(crate) retry_after: Option<Duration>,
}

/// When to try again, seconds since 1970: an exponential back-off with full jitter, of which the limit is a part of the
/// time that is left. `life`: the first and the last second of the existing certificate, if there is one; `random`: any
/// number.
pub(crate) fn next_attempt(failed: Failed, life: Option<(i64, i64)>, now: i64, random: u64) -> i64 {
    let (whole, left) = life.map_or((0, 0), |(from, until)| {
        (until.saturating_sub(from).max(0), until.saturating_sub(now).max(0))
    });
    // Nothing is left to lose by waiting a little, and much by never trying.
    let is_over = left == 0;
    let (first, most) = match (failed.may_pass, is_over) {
        (true, false) => ((whole / 600).clamp(1, MINUTE), (left / 20).clamp(2, HOUR)),
        (true, true) => (5, 5 * MINUTE),
        (false, false) => ((left / 8).clamp(2, HOUR), (left / 8).clamp(2, DAY)),
        (false, true) => (MINUTE, 30 * MINUTE),
    };
    let doublings = failed.count.saturating_sub(1).min(32);
    let limit = first.saturating_mul(1_i64 << doublings).min(most).max(1);
    let pause = 1 + i64::try_from(random % limit.unsigned_abs()).unwrap_or(0);
    // The first attempts may be close together; later ones never are.
    let pause = if failed.count > 3 { pause.max(limit / 4).max(2) } else { pause };
    let asked = failed.retry_after.map_or(0, |after| i64::try_from(after.as_secs()).unwrap_or(DAY).min(DAY));
    now.saturating_add(pause.max(asked))
}

/// When a certificate that was just obtained is looked at next: when it is `due` (seconds since 1970), but not at once,
/// though a CA issue certificates that are due already.
pub(crate) fn after_success(due: i64, life: (i64, i64), now: i64) -> i64 {
    let (from, until) = life;
    let least = (until.saturating_sub(from) / 20).clamp(1, HOUR);
    due.max(now.saturating_add(least))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn failed(count: u32, may_pass: bool) -> Failed {
        Failed { count, may_pass, retry_after: None }
    }

    /// Numbers that look random, the same in every run (splitmix64).
    fn numbers() -> impl Iterator<Item = u64> {
        (1_u64..).map(|count| {
            let mixed = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed ^ (mixed >> 31)
        })
    }

    #[test]
    fn every_pause_is_within_its_bounds() {
        let mut random = numbers();
        for life in [20, 300, 86_400, 90 * 86_400, 3650 * 86_400] {
            for part in 0..=20 {
                let life = (NOW - life * part / 20, NOW - life * part / 20 + life);
                let left = life.1 - NOW;
                for count in [1, 2, 3, 4, 8, 40, u32::MAX] {
                    for may_pass in [true, false] {
                        let next =
                            next_attempt(failed(count, may_pass), Some(life), NOW, random.next().unwrap());
                        let pause = next - NOW;
                        let most = match (may_pass, left) {
                            (true, 0) => 5 * MINUTE,
                            (true, left) => (left / 20).clamp(2, HOUR),
                            (false, 0) => 30 * MINUTE,
                            (false, left) => (left / 8).clamp(2, DAY),
                        };
                        let least = if count > 3 { 2 } else { 1 };
                        assert!((least..=most).contains(&pause), "{life:?} {count} {may_pass}: {pause}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_fixed_by_waiting_is_tried_rarely() {
        // In a day: at most some dozens, where a server that is away is asked hundreds of times at most.
        for (may_pass, most) in [(false, 120), (true, 600)] {
            let life = (NOW - 60 * 86_400, NOW + 30 * 86_400);
            let (mut now, mut count) = (NOW, 0);
            for random in numbers() {
                count += 1;
                now = next_attempt(failed(count, may_pass), Some(life), now, random);
                if now > NOW + 86_400 {
                    break;
                }
            }
            assert!(count < most, "{may_pass}: {count}");
        }
    }

    #[test]
    fn a_server_is_left_alone_as_long_as_it_wants() {
        for (after, wanted) in [(120, 120), (0, 1), (10 * 86_400, DAY)] {
            let failed = Failed { retry_after: Some(Duration::from_secs(after)), ..failed(1, true) };
            let next = next_attempt(failed, Some((NOW - 100, NOW + 200)), NOW, 0);
            assert_eq!(next, NOW + wanted);
        }
    }

    #[test]
    fn a_certificate_that_comes_too_late_causes_no_loop() {
        assert_eq!(after_success(NOW - 5, (NOW - 86_400, NOW + 100), NOW), NOW + 3600);
        assert_eq!(after_success(NOW - 5, (NOW - 20, NOW), NOW), NOW + 1);
        assert_eq!(after_success(NOW + 50, (NOW, NOW + 100), NOW), NOW + 50);
    }
}
