//! Durations as people write them, on the command line and in trustup.toml: `500ms`, `30s`, `5m`, `24h`, or plain seconds.

use std::time::Duration;

/// Reads a duration; the error says how to write one, without what was written.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong =
        || "write a whole number and a unit: 500ms, 30s, 5m, 24h; a plain number is seconds".to_owned();
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let duration = match &text[digits..] {
        "ms" => Duration::from_millis(number),
        "" | "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60).ok_or_else(wrong)?),
        "h" => Duration::from_secs(number.checked_mul(3600).ok_or_else(wrong)?),
        _ => return Err(wrong()),
    };
    // More than a hundred years is a mistake, and overflows clocks.
    if duration > Duration::from_secs(100 * 366 * 86_400) { Err(wrong()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("30", 30_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            (" 1s ", 1000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "1.5s", "1d", "99999999999999999999", "18446744073709551615h", "1 s x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
