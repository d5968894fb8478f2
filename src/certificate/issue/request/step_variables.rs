//! The variables `STEP_…` of published images, whose start-up scripts call `step ca certificate`: it takes every flag from
//! such a variable. Where `TLS_DOMAINS` asks for a certificate, trustup reads the one for the lifetime, and names those
//! that it does not read.

use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::pki::cert::NotAfter;

/// The flags of `step ca certificate` 0.30 by the names of their variables, and what sets the same here.
const FLAGS: [(&str, &str); 35] = [
    ("STEP_ACME", "`trustup enroll acme --directory URL`"),
    ("STEP_ATTESTATION_CA_ROOT", ""),
    ("STEP_ATTESTATION_CA_URL", ""),
    ("STEP_ATTESTATION_URI", ""),
    ("STEP_CA_CONFIG", ""),
    ("STEP_CA_URL", "`CA_URL`"),
    ("STEP_CONSOLE", ""),
    ("STEP_CONTACT", "`--contact`"),
    ("STEP_CONTEXT", ""),
    ("STEP_CRV", "`--key-type`"),
    ("STEP_CURVE", "`--key-type`"),
    ("STEP_FINGERPRINT", "`CA_FINGERPRINT`"),
    ("STEP_FORCE", "`--force`"),
    ("STEP_HTTP_LISTEN", "`--http-listen`"),
    ("STEP_ISSUER", "`CA_PROVISIONER_NAME`"),
    ("STEP_K8SSA_TOKEN_PATH", ""),
    ("STEP_KMS", ""),
    ("STEP_KTY", "`--key-type`"),
    ("STEP_NEBULA_CERT", ""),
    ("STEP_NEBULA_KEY", ""),
    ("STEP_NOT_BEFORE", ""),
    ("STEP_OFFLINE", ""),
    ("STEP_PASSWORD_FILE", "`trustup enroll provisioner --password-file`"),
    ("STEP_PROVISIONER", "`CA_PROVISIONER_NAME`"),
    ("STEP_PROVISIONER_PASSWORD_FILE", "`trustup enroll provisioner --password-file`"),
    ("STEP_ROOT", "`CA_FINGERPRINT`"),
    ("STEP_SAN", "`TLS_DOMAINS`"),
    ("STEP_SET", ""),
    ("STEP_SET_FILE", ""),
    ("STEP_SIZE", "`--key-type`"),
    ("STEP_STANDALONE", ""),
    ("STEP_TOKEN", "`CA_TOKEN`"),
    ("STEP_WEBROOT", "`--webroot`"),
    ("STEP_X5C_CERT", "`trustup enroll x5c --x5c-cert`"),
    ("STEP_X5C_KEY", "`trustup enroll x5c --x5c-key`"),
];

/// A warning for each variable that `step ca certificate` would read, and that is not read here.
pub(super) fn unread(env: &Env) -> Vec<String> {
    let set = FLAGS.iter().filter(|(name, _)| env.shown(name).is_some());
    set.map(|(name, ours)| {
        let instead = if ours.is_empty() { String::new() } else { format!(": use {ours}") };
        format!("`{name}` is set, which `step ca certificate` reads and trustup does not{instead}")
    })
    .collect()
}

/// The lifetime in this variable, as step reads it.
///
/// # Errors
/// It is neither a duration of Go of at least a second nor RFC 3339.
pub(super) fn not_after(env: &Env, name: &str) -> Result<Option<NotAfter>> {
    let Some(text) = env.shown(name) else { return Ok(None) };
    let text = text.trim();
    let moment = || {
        let moment: jiff::Timestamp = text.contains('T').then(|| text.parse().ok()).flatten()?;
        Some(NotAfter::Moment(moment.as_second()))
    };
    let life = || go_seconds(text).filter(|seconds| *seconds > 0).map(NotAfter::Duration);
    match life().or_else(moment) {
        Some(end) => Ok(Some(end)),
        None => Err(Error::usage(format!("`{name}` is neither a duration nor a time"))
            .at(crate::text::escape(text))
            .hint("write a duration of at least a second, such as `5m`, `24h` or `1h30m`, or a time in RFC 3339, such as `2026-12-24T18:00:00Z`; days have no unit there")),
    }
}

/// The whole seconds of a duration of Go (`time.ParseDuration`): numbers with or without a fraction, each with a unit.
/// `None` if it is none, is negative, or exceeds what Go holds.
fn go_seconds(text: &str) -> Option<u64> {
    const UNITS: [(&str, u128); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("μs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut sum: u128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, behind) = rest.split_at(digits(rest));
        let (fraction, behind) = match behind.strip_prefix('.') {
            Some(behind) => behind.split_at(digits(behind)),
            None => ("", behind),
        };
        if whole.is_empty() && fraction.is_empty() || whole.len() > 19 {
            return None;
        }
        let (unit, size) = UNITS.into_iter().find(|(unit, _)| behind.starts_with(unit))?;
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        // More digits are less than a nanosecond.
        let fraction = &fraction[..fraction.len().min(15)];
        let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
        let part = part * size / 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        sum = sum.checked_add(whole.checked_mul(size)?)?.checked_add(part)?;
        rest = &behind[unit.len()..];
    }
    // Go holds nanoseconds in 63 bits.
    i64::try_from(sum).ok().and_then(|sum| u64::try_from(sum / 1_000_000_000).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go() {
        for (text, wanted) in [
            ("5m", Some(300)),
            ("24h", Some(86_400)),
            ("1h30m", Some(5400)),
            ("1.5h", Some(5400)),
            (".5m", Some(30)),
            ("+2s", Some(2)),
            ("1h0m0s", Some(3600)),
            ("1500ms", Some(1)),
            ("1000000µs", Some(1)),
            ("30m1h", Some(5400)),
            ("999ms", Some(0)),
            ("-5m", None),
            ("5", None),
            ("0", None),
            ("30d", None),
            ("", None),
            ("m", None),
            (".m", None),
            ("5 m", None),
            ("5M", None),
            ("9999999999999h", None),
            ("99999999999999999999999h", None),
        ] {
            assert_eq!(go_seconds(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn ends_as_step_reads_them() {
        let read = |text: &str| not_after(&Env::fixed([("STEP_NOT_AFTER", text)], 0), "STEP_NOT_AFTER");
        assert_eq!(read("5m").unwrap(), Some(NotAfter::Duration(300)));
        assert_eq!(read("1970-01-01T00:01:00Z").unwrap(), Some(NotAfter::Moment(60)));
        assert_eq!(read("1970-01-01T02:01:00+02:00").unwrap(), Some(NotAfter::Moment(60)));
        assert_eq!(read("").unwrap(), None);
        for text in ["30d", "300", "0s", "500ms", "-5m", "tomorrow", "1970-01-01", "1970-01-01 00:01:00Z"] {
            assert_eq!(read(text).unwrap_err().kind().exit_code(), 2, "{text}");
        }
    }

    #[test]
    fn what_step_would_read_is_named() {
        let env = Env::fixed(
            [
                ("STEP_PROVISIONER", "x"),
                ("STEP_NOT_BEFORE", "1m"),
                ("STEP_NOT_AFTER", "5m"),
                ("STEP_CA_SERVICE_HOST", "10.0.0.1"),
                ("STEP_CA_PORT", "tcp://10.0.0.1:443"),
                ("STEP_CA_PORT_443_TCP_ADDR", "10.0.0.1"),
                ("STEPPATH", "/x"),
                ("STEP_SET", ""),
            ],
            0,
        );
        let warnings = unread(&env);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].starts_with("`STEP_NOT_BEFORE` is set"), "{warnings:?}");
        assert!(warnings[1].ends_with("use `CA_PROVISIONER_NAME`"), "{warnings:?}");
    }
}
