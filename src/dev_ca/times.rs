//! Times in step-ca's requests: an RFC 3339 moment, or a duration in Go's format.

use std::fmt;

use crate::text;

/// A member `notBefore` or `notAfter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Not given.
    Default,
    /// Seconds since 1970.
    At(i64),
    /// Seconds from a known moment.
    After(i64),
}

impl When {
    /// Reads it; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(When::Default);
        }
        if let Ok(moment) = text.parse::<jiff::Timestamp>() {
            return Some(When::At(moment.as_second()));
        }
        go_duration(text).map(When::After)
    }

    /// The moment; a duration counts from `from`.
    pub(super) fn resolve(self, from: i64) -> Option<i64> {
        match self {
            When::Default => None,
            When::At(moment) => Some(moment),
            When::After(seconds) => Some(from.saturating_add(seconds)),
        }
    }
}

/// Whole seconds of a duration such as `1h30m`, `-1.5h` or `300ms`.
fn go_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (if text.starts_with('-') { -1.0 } else { 1.0 }, rest),
        None => (1.0, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|c| c.is_ascii_digit() || *c == b'.').count();
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let units = rest.bytes().take_while(|c| !c.is_ascii_digit() && *c != b'.').count();
        seconds += number
            * match &rest[..units] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[units..];
    }
    // A duration of Go is 290 years at most.
    (seconds < 9.2e9).then_some((sign * seconds) as i64)
}

/// Seconds as a duration in Go's format: `24h1m0s`.
pub(super) struct GoDuration(pub(super) i64);

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let seconds = self.0.unsigned_abs();
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        match (hours, minutes) {
            (0, 0) => write!(f, "{sign}{seconds}s"),
            (0, _) => write!(f, "{sign}{minutes}m{seconds}s"),
            _ => write!(f, "{sign}{hours}h{minutes}m{seconds}s"),
        }
    }
}

/// A moment in Go's format: `2026-11-23 21:36:54 +0000 UTC`.
pub(super) fn moment(seconds: i64) -> String {
    text::moment(seconds).replace(" UTC", " +0000 UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go_and_moments() {
        for (text, wanted) in [
            ("", When::Default),
            ("1h30m", When::After(5400)),
            ("-1.5h", When::After(-5400)),
            ("300ms", When::After(0)),
            ("0", When::After(0)),
            ("24h", When::After(86400)),
            ("2026-11-23T21:36:54Z", When::At(1_795_469_814)),
            ("2026-11-23T22:36:54+01:00", When::At(1_795_469_814)),
        ] {
            assert_eq!(When::parse(text), Some(wanted), "{text}");
        }
        for text in ["1d", "h", "1", "1h ", "-", "..s", "1e3s", "99999999999999h", "µ", "2026-11-23", "1h-1m"]
        {
            assert_eq!(When::parse(text), None, "{text}");
        }
        assert_eq!(moment(1_795_469_814), "2026-11-23 21:36:54 +0000 UTC");
        assert_eq!(
            [5, 65, 86_460, -60].map(|s| GoDuration(s).to_string()),
            ["5s", "1m5s", "24h1m0s", "-1m0s"]
        );
    }
}
