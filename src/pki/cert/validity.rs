//! A certificate's lifetime: `24h`, `30d` or a moment, as people write it and as step-ca accepts it.

use std::fmt;
use std::str::FromStr;

use crate::duration;
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
    /// As step-ca accepts it: a duration of Go, or RFC 3339.
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
    pub(crate) fn end_after(self, start: i64) -> i64 {
        match self {
            NotAfter::Duration(seconds) => start.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX)),
            NotAfter::Moment(seconds) => seconds,
        }
    }
}

impl FromStr for NotAfter {
    type Err = Error;

    /// A duration of at least a second, or RFC 3339.
    fn from_str(text: &str) -> Result<Self, Error> {
        if let Ok(moment) = text.trim().parse::<jiff::Timestamp>() {
            return Ok(NotAfter::Moment(moment.as_second()));
        }
        match duration::parse(text) {
            Ok(life) if life.subsec_nanos() == 0 && !life.is_zero() => Ok(NotAfter::Duration(life.as_secs())),
            _ => Err(Error::usage("invalid end of a certificate's life").at(text::escape(text)).hint(format!(
                "write {}; or a moment (`2026-12-24T18:00:00Z`). A certificate lives for at least a second",
                duration::FORM
            ))),
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
            (" 90 ", "90s"),
            ("1d1h", "90000s"),
            ("2026-12-24T18:00:00Z", "2026-12-24T18:00:00Z"),
            ("2026-12-24T18:00:00+02:00", "2026-12-24T16:00:00Z"),
        ] {
            assert_eq!(text.parse::<NotAfter>().unwrap().to_string(), wanted);
        }
        for text in
            ["", "0s", "h", "-1h", "1.5h", "1w", "99999999999999999999h", "1000000d", "é", "500ms", "1s1ms"]
        {
            let error = text.parse::<NotAfter>().unwrap_err();
            assert!(error.hints()[0].contains(duration::FORM), "{text}: {error:?}");
        }
    }
}
