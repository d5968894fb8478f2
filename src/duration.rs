//! Durations as people write them, the same in every option, variable and key of trustup.toml: `500ms`, `30s`, `1h30m`,
//! `30d`, or plain seconds. Protocols' own durations (Go's, in step-ca's messages) are read with those protocols.

use std::time::Duration;

/// How to write one, for errors: "write …", "should be a duration: …".
pub(crate) const FORM: &str =
    "whole numbers with units, such as `500ms`, `30s`, `5m`, `1h30m` or `30d`; a plain number is seconds";

/// Units by their name, in milliseconds; none is a prefix of a later one.
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A longer one is a mistake, and overflows clocks: a hundred years, in milliseconds.
const LONGEST: u64 = 100 * 366 * 86_400_000;

/// Reads a duration.
///
/// # Errors
/// How to write one, without quoting the input: it is empty, has a sign, a fraction, an unknown unit, or exceeds a
/// hundred years.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    milliseconds(text.trim())
        .filter(|time| *time <= LONGEST)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("write {FORM}"))
}

fn milliseconds(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse::<u64>().ok()?.checked_mul(1_000);
    }
    let (mut rest, mut sum) = (text, 0_u64);
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        let behind = &rest[digits..];
        let (unit, size) = UNITS.into_iter().find(|(unit, _)| behind.starts_with(unit))?;
        sum = sum.checked_add(number.checked_mul(size)?)?;
        rest = &behind[unit.len()..];
        if rest.is_empty() {
            return Some(sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_units() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("30", 30_000),
            ("0", 0),
            ("2m", 120_000),
            ("1h", 3_600_000),
            (" 1s ", 1000),
            ("1h30m", 5_400_000),
            ("30m1h", 5_400_000),
            ("1m500ms", 60_500),
            ("30d", 2_592_000_000),
            ("1d12h", 129_600_000),
            ("36600d", 3_162_240_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_in_the_same_words() {
        let wrong = [
            "",
            " ",
            "s",
            "-1s",
            "+1s",
            "1.5s",
            "1,5h",
            "1e3s",
            "1w",
            "1 h",
            "1h 30m",
            "1h30",
            "30h1",
            "1 s x",
            "1S",
            "é",
            "1é",
            "٣s",
            "３０s",
            "1µs",
            "99999999999999999999",
            "18446744073709551615",
            "18446744073709551615h",
            "18446744073709551615ms1ms",
            "36600d1ms",
            "0x10s",
        ];
        for text in wrong {
            assert_eq!(parse(text), Err(format!("write {FORM}")), "{text}");
        }
    }
}
