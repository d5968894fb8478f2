mod simulation;

use super::*;

/// Numbers that are the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    fn below(&mut self, limit: i64) -> i64 {
        i64::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }
}

fn life(from: i64, until: i64) -> Life {
    Life { from, until, limit: None }
}

fn failed(kind: FailureKind, count: u32) -> FailedAttempt {
    FailedAttempt { count, kind, retry_after: None }
}

/// The longest pause, in milliseconds, after this many failures in a life of so many seconds, with so many left.
fn longest(kind: FailureKind, count: u32, seconds: i64, left: i64) -> i64 {
    let now = (seconds - left + 1) * SECOND;
    after_failure(Some(&life(0, seconds)), failed(kind, count), now, u64::MAX) - now
}

#[test]
fn windows_double_and_are_scaled_to_the_life_that_is_left() {
    const LONG: i64 = 90 * 86_400;
    const SHORT: i64 = 86_400;
    let passing = |count, life, left| longest(FailureKind::MayPass, count, life, left) / SECOND;
    assert_eq!(
        [1, 2, 3, 4, 5, 6, 7, 99].map(|count| passing(count, LONG, LONG / 3)),
        [75, 150, 300, 600, 1200, 2400, 3600, 3600]
    );
    assert_eq!(
        [1, 2, 3, 4, 5, 6, 99].map(|count| passing(count, SHORT, SHORT / 3)),
        [54, 108, 216, 432, 864, 1440, 1440]
    );
    // More often towards the end, and after it not at once more rarely.
    let left = [28_800, 14_400, 7_200, 60, 1, -1, -3_600, -14_400, -1_000_000];
    assert_eq!(left.map(|left| passing(99, SHORT, left)), [1440, 720, 432, 432, 432, 432, 432, 600, 600]);
    // Lives of seconds.
    let left = [100, 50, 10, -10, -200, -100_000];
    assert_eq!(left.map(|left| passing(99, 300, left)), [5, 2, 1, 1, 10, 600]);
    assert_eq!([6, 1, -1, -3_600].map(|left| passing(99, 20, left)), [1, 1, 1, 180]);
    // Nothing is in place.
    let none = |count| after_failure(None, failed(FailureKind::MayPass, count), 0, u64::MAX) / SECOND;
    assert_eq!([1, 2, 3, 4, 9, 99].map(none), [2, 4, 9, 18, 576, 600]);
}

#[test]
fn what_a_retry_cannot_fix_is_retried_rarely() {
    let lasting = |life, left| longest(FailureKind::Lasting, 1, life, left) / SECOND;
    assert_eq!([30, 4, 1].map(|days| lasting(90 * 86_400, days * 86_400)), [86_400, 43_200, 10_800]);
    assert_eq!([28_800, 1_200, -1, -86_400].map(|left| lasting(86_400, left)), [3_600, 300, 300, 3_600]);
    assert_eq!([100, 10, -10].map(|left| lasting(300, left)), [37, 37, 37]);
    assert_eq!(lasting(20, 6), 2);
    // Half of that at least.
    let life = life(0, 86_400);
    let pause = after_failure(Some(&life), failed(FailureKind::Lasting, 1), 57_601 * SECOND, 0);
    assert_eq!(pause - 57_601 * SECOND, 1_800 * SECOND);
    assert!(FailureKind::Lasting.note().contains("will not help"));
    for kind in [ErrorKind::NotTrusted, ErrorKind::Usage, ErrorKind::Unsupported, ErrorKind::NoCommand] {
        assert_eq!(FailureKind::of(kind), FailureKind::Lasting);
    }
    for kind in [ErrorKind::Unreachable, ErrorKind::Failed, ErrorKind::Changed] {
        assert_eq!(FailureKind::of(kind), FailureKind::MayPass);
    }
}

#[test]
fn the_server_says_when_to_ask_again() {
    let day = life(0, 86_400);
    let pause = |life, seconds, random| {
        let retry_after = Some(Duration::from_secs(seconds));
        let failure = FailedAttempt { retry_after, ..failed(FailureKind::MayPass, 1) };
        after_failure(life, failure, 60_000 * SECOND, random) / SECOND - 60_000
    };
    // Never earlier; later by a pause of ours, since others were told the same.
    assert_eq!([pause(Some(&day), 120, 0), pause(Some(&day), 120, u64::MAX)], [121, 174]);
    assert_eq!(pause(None, 3_600, 0), 3_601);
    // Beyond the end of the life, too; but not for ever.
    assert_eq!(pause(Some(&day), 40_000, 0), 40_001);
    assert_eq!(pause(Some(&day), u64::MAX, 0), 86_401);
    let year = life(0, 365 * 86_400);
    assert_eq!(pause(Some(&year), 7 * 86_400, 0), 7 * 86_400 + 1);
}

#[test]
fn a_certificate_that_is_due_when_it_comes_is_not_renewed_without_end() {
    let day = life(0, 86_400);
    let due = 57_024 * SECOND;
    assert_eq!(after_renewal(&day, due, 0), due);
    // A CA whose window is always in the past.
    for due in [i64::MIN, 0, 1, 432 * SECOND] {
        assert_eq!(after_renewal(&day, due, 0), 86_401 * SECOND / 8);
    }
    let minutes = life(0, 300);
    assert_eq!(after_renewal(&minutes, 0, 0), 37_625);
}

#[test]
fn a_recorded_moment_counts_unless_the_clock_was_set_back() {
    let day = life(0, 86_400);
    let at = |last, recorded| {
        after_restart(Some(&day), last * SECOND, recorded * SECOND, 60_000 * SECOND) / SECOND
    };
    assert_eq!(at(59_000, 59_500), 59_500);
    assert_eq!(at(59_000, 61_000), 61_000);
    assert_eq!(at(59_000, 60_000 + 86_400), 60_000 + 86_400);
    assert_eq!(at(60_001, 61_000), 60_000);
    assert_eq!(at(59_000, 4_070_908_800), 60_000);
}

/// Lives of 20 seconds to ten years, at every moment, after any number of failures.
#[test]
fn no_pause_is_a_tight_loop_or_outlasts_the_life() {
    let mut numbers = Numbers(3);
    for _ in 0..200_000 {
        let length = 20_i64 << numbers.below(25);
        let length = (length + numbers.below(length)).min(3_653 * 86_400);
        let life = life(1_700_000_000, 1_700_000_000 + length);
        let now = (life.from + numbers.below(3 * length)) * SECOND + numbers.below(SECOND);
        let count = u32::try_from(1 + numbers.below(60)).unwrap();
        let kind = [FailureKind::MayPass, FailureKind::Lasting][usize::from(numbers.below(4) == 0)];
        let pause = after_failure(Some(&life), failed(kind, count), now, numbers.next()) - now;
        let left = end(&life) - now;
        let context = format!("{life:?} now {now}, {left} left, {count} {kind:?}: {pause}");
        let shortest = if count >= 10 && length >= 1_000 { 5 * SECOND } else { SECOND };
        assert!(pause >= shortest, "{context}");
        let (part, most) = match kind {
            FailureKind::MayPass if left > 0 => (20, HOUR),
            FailureKind::MayPass => (20, 10 * MINUTE),
            FailureKind::Lasting if left > 0 => (8, DAY),
            FailureKind::Lasting => (8, HOUR),
        };
        assert!(pause <= most, "{context}");
        // As a part of what is left, or of the whole life where less than that is left.
        let whole = length * SECOND / if kind == FailureKind::MayPass { 200 } else { 8 };
        assert!(pause <= (left.abs() / part).max(whole).max(SECOND), "{context}");
    }
}

#[test]
fn hostile_values_do_not_overflow() {
    let edges = [i64::MIN, -1, 0, 1, i64::MAX];
    for (from, until) in edges.iter().flat_map(|from| edges.map(|until| (*from, until))) {
        for (now, other) in edges.iter().flat_map(|now| edges.map(|other| (*now, other))) {
            let life = life(from, until);
            for kind in [FailureKind::MayPass, FailureKind::Lasting] {
                let retry_after = Some(Duration::MAX);
                let failure = FailedAttempt { count: u32::MAX, kind, retry_after };
                assert!(after_failure(Some(&life), failure, now, u64::MAX) >= now);
            }
            let _ = after_renewal(&life, now, other);
            let _ = after_restart(Some(&life), now, other, now);
        }
    }
}

#[test]
fn trust_stores_are_refreshed_in_time_and_not_all_at_once() {
    let every = 24 * HOUR;
    for random in [0, 1, u64::MAX / 2, u64::MAX] {
        assert!((0..=10 * MINUTE).contains(&first_refresh(every, 0, random)));
        assert!((every * 9 / 10..=every).contains(&next_refresh(every, 0, random)));
        for (count, kind, range) in [
            (1, FailureKind::MayPass, 5 * SECOND..=MINUTE),
            (4, FailureKind::MayPass, 5 * SECOND..=8 * MINUTE),
            (u32::MAX, FailureKind::MayPass, 5 * SECOND..=every),
            (1, FailureKind::Lasting, every / 2..=every),
        ] {
            let failed = FailedAttempt { count, kind, retry_after: None };
            let next = after_failed_refresh(every, failed, 0, random);
            assert!(range.contains(&next), "{count} {kind:?}: {next}");
            let failed = FailedAttempt { retry_after: Some(Duration::from_secs(3600)), ..failed };
            assert!(after_failed_refresh(every, failed, 0, random) >= HOUR, "Retry-After");
        }
    }
}
