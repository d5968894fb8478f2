//! A server's times: when to ask again, and its current time. To and from values only.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap};

use crate::net::date;
pub(super) use crate::net::retry::retry_after;

/// By how many seconds clocks may differ without a warning: a new certificate that is not valid yet by our clock is
/// refused here, and CAs backdate theirs by a minute or more.
const LEEWAY: i64 = 60;

/// How many seconds the server's clock is ahead of ours, if it gives its time.
pub(super) fn skew(headers: &HeaderMap, now: i64) -> Option<i64> {
    Some(date(headers, &DATE)?.saturating_sub(now))
}

/// The warning about clocks that differ too much; `skew` is the server's minus ours. It explains, and nothing is
/// computed from it (threat T7).
pub(super) fn clock_warning(skew: i64) -> Option<String> {
    (skew.saturating_abs() > LEEWAY).then(|| {
        let apart = shown_duration(Duration::from_secs(skew.unsigned_abs()));
        let (side, what) = if skew > 0 {
            ("behind", "a new certificate may seem not to be valid yet")
        } else {
            ("ahead of", "certificates seem to expire earlier than they do")
        };
        format!(
            "this machine's clock is {apart} {side} the ACME server's, so that {what}: correct one of them"
        )
    })
}

/// A waiting time in words.
pub(super) fn shown_duration(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderName;

    use super::*;

    fn headers(all: &[(HeaderName, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.clone(), value.parse().expect("header"))).collect()
    }

    // 1994-11-06 08:49:37 UTC, a little before.
    const NOW: i64 = 784_111_770;

    #[test]
    fn clocks_that_are_far_apart_are_worth_a_word() {
        let apart = skew(&headers(&[(DATE, "Sun, 06 Nov 1994 08:49:37 GMT")]), NOW);
        assert_eq!(apart, Some(7));
        assert_eq!(skew(&HeaderMap::new(), NOW), None);
        for (skew, words) in [
            (61, "61 s behind"),
            (-3600, "60 min ahead of"),
            (864_000, "10 days behind"),
            (i64::MIN, "ahead of"),
        ] {
            assert!(clock_warning(skew).is_some_and(|warning| warning.contains(words)), "{skew}");
        }
        assert_eq!([0, 60, -60].map(clock_warning), [None, None, None]);
    }

    #[test]
    fn waiting_times_are_readable() {
        let shown = [30, 600, 90_000, 864_000].map(|seconds| shown_duration(Duration::from_secs(seconds)));
        assert_eq!(shown, ["30 s", "10 min", "25 h", "10 days"]);
    }
}
