//! How long a certificate is to live: `24h`, `30d` or a moment, as people write it and as step-ca takes it.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::text;

/// The wanted end of a certificate's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAfter {
    /// So many seconds after its beginning.
    Duration(u64),
    /// At this moment, seconds since 1970.
    Moment(i64),
}

impl fmt::Display for NotAfter {
    /// As step-ca takes it: a duration of Go, or RFC 3339.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotAfter::Duration(seconds) => write!(f, "{seconds}s"),
            NotAfter::Moment(seconds) => match jiff::Timestamp::from_second(*seconds) {
                Ok(moment) => moment.fmt(f),
                Err(_) => Err(fmt::Error),
            },
        }
    }
}

impl NotAfter {
    /// The moment, in whole seconds since 1970, of a certificate that begins at `start`.
    pub fn from_start(self, start: i64) -> i64 {
        match self {
            NotAfter::Duration(seconds) => start.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX)),
            NotAfter::Moment(seconds) => seconds,
        }
    }
}

impl FromStr for NotAfter {
    type Err = Error;

    /// Numbers with units, largest first or not (`24h`, `1h30m`, `30d`, `90s`), or RFC 3339.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::usage("this is no end of a certificate's life")
                .at(text::escape(text))
                .hint("write a duration (`24h`, `1h30m`, `30d`) or a moment (`2026-12-24T18:00:00Z`)")
        };
        if let Ok(moment) = text.parse::<jiff::Timestamp>() {
            return Ok(NotAfter::Moment(moment.as_second()));
        }
        let mut rest = text;
        let mut seconds: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            let unit = match rest[digits..].chars().next() {
                Some('d') => 86_400,
                Some('h') => 3_600,
                Some('m') => 60,
                Some('s') => 1,
                _ => return Err(wrong()),
            };
            seconds =
                number.checked_mul(unit).and_then(|more| seconds.checked_add(more)).ok_or_else(wrong)?;
            rest = &rest[digits + 1..];
        }
        // A hundred years is a slip of the pen, and more than Go's durations hold in twice that time.
        if seconds == 0 || seconds > 100 * 366 * 86_400 {
            Err(wrong())
        } else {
            Ok(NotAfter::Duration(seconds))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_moments() {
        for (text, wanted) in [
            ("24h", "86400s"),
            ("1h30m", "5400s"),
            ("30d", "2592000s"),
            ("90s", "90s"),
            ("2026-12-24T18:00:00Z", "2026-12-24T18:00:00Z"),
            ("2026-12-24T18:00:00+02:00", "2026-12-24T16:00:00Z"),
        ] {
            assert_eq!(text.parse::<NotAfter>().unwrap().to_string(), wanted);
        }
        for text in
            ["", "0s", "h", "24", "-1h", "1.5h", "1w", "24h ", "99999999999999999999h", "1000000d", "é"]
        {
            assert!(text.parse::<NotAfter>().is_err(), "{text}");
        }
    }
}
