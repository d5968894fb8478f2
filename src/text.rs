//! Makes text from outside (network, certificates, images, tools) safe for a terminal, a log, a file name. Every module
//! that shows such text passes it through here (threat T15). Pure functions; nothing here prints, reads or decides.

use url::Url;

pub(crate) mod encoding;
pub(crate) mod miswritten;

/// The most that [`escape`] returns, in bytes.
pub(crate) const TEXT_LIMIT: usize = 1024;

/// The longest name that [`slug`] makes, in bytes.
pub(crate) const SLUG_LIMIT: usize = 64;

/// Marks where text was cut.
const CUT: char = '…';

/// Whether a character does not belong in a line of text: C0, DEL and C1 controls, line and paragraph separators, and
/// the bidirectional controls that make text read differently (Unicode's `Bidi_Control` property).
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One line, safe to show: unsafe characters as `\u{..}`, cut to [`TEXT_LIMIT`] bytes.
pub(crate) fn escape(text: &str) -> String {
    escape_within(text, TEXT_LIMIT, |c| !is_unsafe(c))
}

fn escape_within(text: &str, limit: usize, plain: impl Fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len().min(limit));
    // Where the text can be cut so that the mark still fits.
    let mut fits = 0;
    for c in text.chars() {
        push_escaped(&mut escaped, c, plain(c));
        if escaped.len() > limit {
            escaped.truncate(fits);
            escaped.push(CUT);
            return escaped;
        }
        if escaped.len() + CUT.len_utf8() <= limit {
            fits = escaped.len();
        }
    }
    escaped
}

fn push_escaped(into: &mut String, c: char, plain: bool) {
    if plain {
        into.push(c);
    } else {
        into.extend(c.escape_unicode());
    }
}

/// A URL with user info and query (and fragment) replaced by `***`, safe to show and to keep (threat T15).
///
/// What is not a URL is masked more rather than less: everything before the last `@`, and everything after the host. In
/// `https://host:password/` the port may be a password whose user was forgotten.
pub(crate) fn mask_url(url: &str) -> String {
    let scheme = scheme_end(url);
    // Text with only a scheme may be a host and its password: `host:password`.
    if !Url::parse(url).is_ok_and(|url| url.has_host()) {
        return escape(&mask_malformed_url(url, scheme));
    }
    // A browser's rules, which `Url` follows: any number of slashes of either kind before the authority.
    let start = scheme + url[scheme..].find(|c| !matches!(c, '/' | '\\')).unwrap_or(url.len() - scheme);
    let end = url[start..].find(['/', '\\', '?', '#']).map_or(url.len(), |at| start + at);
    let (front, rest) = match url[start..end].rfind('@') {
        Some(at) => (format!("{}***@", &url[..start]), &url[start + at + 1..]),
        None => (url[..start].to_owned(), &url[start..]),
    };
    let masked = match rest.find(['?', '#']) {
        Some(at) if at + 1 < rest.len() => format!("{front}{}***", &rest[..=at]),
        _ => format!("{front}{rest}"),
    };
    escape(&masked)
}

/// For an invalid URL: the scheme, the first characters of a host, and a port that is a number.
fn mask_malformed_url(url: &str, scheme: usize) -> String {
    let start = scheme + url[scheme..].bytes().take_while(|b| matches!(b, b'/' | b'\\')).count();
    let (mut masked, rest) = match url[start..].rfind('@') {
        Some(at) => (format!("{}***@", &url[..start]), &url[start + at + 1..]),
        None => (url[..start].to_owned(), &url[start..]),
    };
    let is_of_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let host = rest.find(|c| !is_of_host(c)).unwrap_or(rest.len());
    masked.push_str(&rest[..host]);
    let rest = &rest[host..];
    if let Some(port) = rest.strip_prefix(':') {
        let digits = port.find(|c: char| !c.is_ascii_digit()).unwrap_or(port.len());
        let is_port = (1..=5).contains(&digits)
            && (matches!(&port[digits..], "" | "***") || port[digits..].starts_with(['/', '?', '#']));
        masked.push(':');
        if is_port {
            masked.push_str(&port[..digits]);
        }
        if !is_port || digits < port.len() {
            masked.push_str("***");
        }
    } else if matches!(rest, "/" | "?" | "#") {
        masked.push_str(rest);
    } else if !rest.is_empty() {
        masked.push_str("***");
    }
    masked
}

/// The position after `scheme:` if a hierarchical one is in front, else 0.
fn scheme_end(url: &str) -> usize {
    match url.find(':') {
        Some(at)
            if url[at + 1..].starts_with(['/', '\\'])
                || matches!(url[..at].trim().to_ascii_lowercase().as_str(), "http" | "https") =>
        {
            at + 1
        }
        _ => 0,
    }
}

/// A file name made from any text: ASCII letters, digits, `.`, `_`, `-`; runs of anything else become one `_`. It never
/// begins with `.` or `-`, is never empty, and has at most [`SLUG_LIMIT`] bytes (threat T4).
pub(crate) fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => slug.push(c),
            _ if slug.ends_with('_') => {}
            _ => slug.push('_'),
        }
        if slug.len() > 2 * SLUG_LIMIT {
            break;
        }
    }
    let trimmed = slug.trim_start_matches(['.', '-', '_']);
    // All ASCII, so any byte is a boundary.
    let trimmed = trimmed[..trimmed.len().min(SLUG_LIMIT)].trim_end_matches('_');
    if trimmed.is_empty() { "certificate".to_owned() } else { trimmed.to_owned() }
}

/// The name of a library's error as words: `CaUsedAsEndEntity` and `InvalidVersion { .. }` are `ca used as end entity`
/// and `invalid version`. For errors that only `Debug` names; none of their values is shown.
pub(crate) fn words(error: &dyn std::fmt::Debug) -> String {
    let name = format!("{error:?}");
    let mut words = String::new();
    let mut follows_lower = false;
    for c in name.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_') {
        if c.is_ascii_uppercase() && follows_lower || c == '_' {
            words.push(' ');
        }
        words.extend(c.to_lowercase().filter(|c| *c != '_'));
        follows_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
    }
    words
}

/// The first and the last second that can be written with a year of four digits: of the years 0 and 9999.
const WRITABLE: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

/// A moment as `2026-11-23` (UTC); `seconds` since 1970. Times before the year 0 or after the year 9999, which no
/// certificate can express, are shown as the first or the last day of these.
pub(crate) fn date(seconds: i64) -> String {
    let seconds = seconds.clamp(*WRITABLE.start(), *WRITABLE.end());
    // Not a `jiff::Timestamp`, which ends a day before 9999-12-31, the date of certificates that never expire
    // (RFC 5280 section 4.1.2.5).
    let midnight = jiff::SignedDuration::from_secs(seconds - seconds.rem_euclid(24 * 3600));
    jiff::civil::date(1970, 1, 1).saturating_add(midnight).to_string()
}

/// A moment as `2026-11-23 21:30:00 UTC`; `seconds` since 1970, with the limits of [`date`].
pub(crate) fn moment(seconds: i64) -> String {
    format!("{} {} UTC", date(seconds), time_of_day(seconds))
}

/// A moment as `2026-11-23T21:30:00Z` (RFC 3339), for JSON; `seconds` since 1970, with the limits of [`date`].
pub(crate) fn rfc3339(seconds: i64) -> String {
    format!("{}T{}Z", date(seconds), time_of_day(seconds))
}

fn time_of_day(seconds: i64) -> String {
    let of_day = seconds.clamp(*WRITABLE.start(), *WRITABLE.end()).rem_euclid(24 * 3600);
    format!("{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t15_controls_and_bidi_are_escaped() {
        assert_eq!(escape("a\x1b[31m\nb\u{202e}c\u{9b}\x7f"), r"a\u{1b}[31m\u{a}b\u{202e}c\u{9b}\u{7f}");
        assert_eq!(escape("Größe 日本 \u{1f512}"), "Größe 日本 \u{1f512}");
        for c in ['\0', '\r', '\u{85}', '\u{61c}', '\u{200f}', '\u{2028}', '\u{2029}', '\u{2066}', '\u{2069}']
        {
            assert!(is_unsafe(c), "{c:?}");
        }
        for c in [' ', '\u{a0}', '\u{200d}', 'é', '\u{10ffff}'] {
            assert!(!is_unsafe(c), "{c:?}");
        }
    }

    #[test]
    fn names_of_errors_become_words() {
        #[derive(Debug)]
        enum Odd {
            CaUsedAsEndEntity,
            Tls12NotOffered,
            #[expect(dead_code, reason = "only shown")]
            Context {
                secret: u8,
            },
            #[expect(dead_code, reason = "only shown")]
            Other(u8),
        }
        let shown = [Odd::CaUsedAsEndEntity, Odd::Tls12NotOffered, Odd::Context { secret: 1 }, Odd::Other(2)]
            .map(|odd| words(&odd));
        assert_eq!(shown, ["ca used as end entity", "tls12 not offered", "context", "other"]);
    }

    #[test]
    fn moments_are_rfc_3339_and_have_limits() {
        assert_eq!(rfc3339(1_795_469_814), "2026-11-23T21:36:54Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59Z");
        assert_eq!(rfc3339(253_402_300_799), "9999-12-31T23:59:59Z");
        assert_eq!([i64::MIN, i64::MAX].map(rfc3339), ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]);
    }

    #[test]
    fn t15_text_is_cut_to_one_kibibyte_at_a_character() {
        let exact = "x".repeat(TEXT_LIMIT);
        assert_eq!(escape(&exact), exact);
        for pattern in ["x", "é", "日", "\u{1f512}", "\n", "a\u{202e}"] {
            for count in [340, 341, 342, 512, 513, 1025, 100_000] {
                let escaped = escape(&pattern.repeat(count));
                assert!(escaped.len() <= TEXT_LIMIT, "{pattern:?} {count}: {}", escaped.len());
                assert!(escaped.len() > TEXT_LIMIT - 24 || !escaped.ends_with(CUT), "{pattern:?} {count}");
                // A cut never leaves half an escape behind.
                assert_eq!(escaped.matches('{').count(), escaped.matches('}').count());
            }
        }
        assert!(escape(&"x".repeat(TEXT_LIMIT + 1)).ends_with(CUT));
    }

    #[test]
    fn t15_user_info_and_query_are_masked() {
        for (url, wanted) in [
            ("https://pki.internal/root_ca.crt", "https://pki.internal/root_ca.crt"),
            ("https://ca:9000", "https://ca:9000"),
            ("https://bob:hunter2@ca:9000/x", "https://***@ca:9000/x"),
            ("https://hunter2@ca/", "https://***@ca/"),
            ("https://ca/x?token=hunter2#hunter2", "https://ca/x?***"),
            ("https://ca/x#hunter2", "https://ca/x#***"),
            ("https://ca/x?", "https://ca/x?"),
            ("https://ca/a@b/x.crt", "https://ca/a@b/x.crt"),
            ("https://b@hunter2:c@ca/x", "https://***@ca/x"),
            ("https:hunter2@ca/x", "https:***@ca/x"),
            ("https:/\\hunter2@ca/x", "https:/\\***@ca/x"),
            ("HTTP://hunter2@ca/x", "HTTP://***@ca/x"),
            ("https://bob:hunter2\\@ca/", "https://***@ca/"),
            ("https://bob:hun/ter2@ca/", "https://***@ca/"),
            ("https://bob:hunter2?x@ca/", "https://***@ca/"),
            ("https://bob:hunter2#x@ca/", "https://***@ca/"),
            ("https://h:hunter2/x", "https://h:***"),
            ("https://h:hunter2", "https://h:***"),
            ("https://h.test:8080hunter2/x", "https://h.test:***"),
            ("https://h:99999/hunter2", "https://h:99999***"),
            ("https://h:8080:hunter2/x", "https://h:***"),
            ("https://h /hunter2", "https://h***"),
            ("https://[hunter2]/x", "https://***"),
            ("https://[::1:hunter2/x", "https://***"),
            ("https:/\\h:hunter2/x", "https:/\\h:***"),
            ("https//h:hunter2/x", "https***"),
            ("ttps://h:hunter2/x", "ttps://h:***"),
            ("h:hunter2/x", "h:***"),
            ("h.test/hunter2", "h.test***"),
            ("data:hunter2", "data:***"),
            ("https://a%zz:hunter2/", "https://a***"),
            ("bob:hunter2@proxy:3128", "***@proxy:3128"),
            ("//bob:hunter2@proxy:3128", "***@proxy:3128"),
            ("proxy:3128", "proxy:3128"),
            ("", ""),
            ("@", "***@"),
            ("?", "?"),
        ] {
            let masked = mask_url(url);
            assert_eq!(masked.trim_start_matches("//"), wanted, "{url}");
            assert!(!masked.contains("hunter2"), "{url}");
            assert_eq!(mask_url(&masked), masked, "masking twice changes nothing: {url}");
        }
        assert_eq!(mask_url("https://hunter2@ca/\x1b\n"), r"https://***@ca/\u{1b}\u{a}");
        assert!(!mask_url("https://us\ner:hunter2@ca/").contains("hunter2"));
    }

    #[test]
    fn t4_slugs_are_plain_names() {
        for (text, wanted) in [
            ("ISRG Root X1", "ISRG_Root_X1"),
            ("Held Out Root (R1), ü", "Held_Out_Root_R1"),
            ("../x", "x"),
            ("-rf", "rf"),
            ("$(id)", "id"),
            ("a\x1b[0m\nb", "a_0m_b"),
            ("Größe 日本 X", "Gr_e_X"),
            ("a__b", "a_b"),
            ("日本", "certificate"),
            ("...", "certificate"),
            ("", "certificate"),
        ] {
            assert_eq!(slug(text), wanted, "{text:?}");
        }
        let long = slug(&".é-x".repeat(1000));
        assert!(long.len() <= SLUG_LIMIT && long.len() > SLUG_LIMIT / 2, "{long}");
    }

    #[test]
    fn dates_are_calendar_days() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(-1), "1969-12-31");
        assert_eq!(date(253_402_300_799), "9999-12-31");
        assert_eq!([date(86_399), date(86_400)], ["1970-01-01", "1970-01-02"]);
        assert_eq!([date(i64::MAX), date(i64::MIN)], ["9999-12-31", "0000-01-01"]);
    }
}
