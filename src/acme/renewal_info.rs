//! When a CA wants a certificate renewed (ARI, RFC 9773). What it says is advice: whatever is missing, broken or absurd
//! leaves the renewal to our own schedule, with the reason.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use super::problem::explain;
use super::transport::Transport;
use crate::error::{Error, ErrorKind, Result};
use crate::net::Client;
use crate::net::url::shorter;
use crate::pki::cert::Certificate;
use crate::pki::jose::encode;
use crate::text;

/// The CA is not asked again earlier, whatever it says (RFC 9773 section 4.3).
const LEAST: Duration = Duration::from_secs(3600);
/// And not later: it may want a certificate renewed early, such as one that it is going to revoke.
const MOST: Duration = Duration::from_secs(24 * 3600);
/// The time to the next question after an answer without a time.
const USUAL: Duration = Duration::from_secs(6 * 3600);

const WHAT: &str = "say when to renew the certificate";

/// What a CA says about the renewal of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalInfo {
    /// When to renew it; `None` if the CA suggests nothing that can be used.
    pub window: Option<RenewalWindow>,
    /// Where the CA explains the window: a URL, for people.
    pub explanation: Option<String>,
    /// Why there is no window, in one line; `None` if there is one, or if the CA suggests windows for no certificate.
    pub problem: Option<String>,
    /// When the CA may be asked again: this long after now, one hour to one day.
    pub again: Duration,
}

impl RenewalInfo {
    /// Nothing is known, because of `error`.
    pub(crate) fn none(error: &Error) -> Self {
        let again = until_next(error.retry_after(), error.kind());
        RenewalInfo { window: None, explanation: None, problem: Some(error.to_string()), again }
    }
}

/// A time in which to renew a certificate, in seconds since 1970. A part of it is in the certificate's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenewalWindow {
    /// Its first second.
    pub start: i64,
    /// Its last second.
    pub end: i64,
}

impl RenewalWindow {
    /// The window as the CA sends it, for a certificate with this life.
    ///
    /// # Errors
    /// Why it cannot be used, for people.
    fn new(start: &str, end: &str, life: &RangeInclusive<i64>) -> Result<Self, String> {
        let parsed = |what: &str| {
            let moment = what.parse::<Timestamp>();
            moment.map_err(|_| format!("its window has `{}`, which is no time", shortened(what)))
        };
        let (from, to) = (parsed(start)?, parsed(end)?);
        if to <= from {
            return Err("its window ends before it begins".to_owned());
        }
        let window = RenewalWindow { start: from.as_second(), end: to.as_second() };
        if window.end < *life.start() || window.start > *life.end() {
            return Err(format!(
                "its window, {} to {}, is outside of the certificate's life",
                text::moment(window.start),
                text::moment(window.end)
            ));
        }
        Ok(window)
    }

    /// A moment in the window and in the certificate's life, seconds since 1970, which depends on `random` alone: `now`
    /// if that moment is over.
    pub fn moment(&self, life: &RangeInclusive<i64>, now: i64, random: u64) -> i64 {
        let start = self.start.max(*life.start());
        let end = self.end.min(*life.end()).max(start);
        // The product fits: neither is more than 2^64.
        let after = (u128::from(random) * (u128::from(end.abs_diff(start)) + 1)) >> u64::BITS;
        let drawn = start.saturating_add_unsigned(u64::try_from(after).unwrap_or(0));
        drawn.max(now)
    }
}

/// The answer of a CA (RFC 9773 section 4.2).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    suggested_window: SentWindow,
    /// Any other type is ignored: it only explains.
    #[serde(default, rename = "explanationURL")]
    explanation: serde_json::Value,
}

#[derive(Debug, Deserialize)]
struct SentWindow {
    start: String,
    end: String,
}

/// The identifier of a certificate (RFC 9773 section 4.1); `None` for one that does not name its issuer's key.
pub(super) fn certificate_id(leaf: &Certificate) -> Option<String> {
    let issuer = leaf.authority_key_id().filter(|id| !id.is_empty())?;
    Some(format!("{}.{}", encode(issuer), encode(leaf.serial())))
}

/// Asks the CA with this directory when to renew its certificate `leaf`, which works in `life` (seconds since 1970).
/// Needs no account. Bounded by the client's deadline.
pub async fn renewal_info(
    client: &Client,
    directory: &Url,
    leaf: &Certificate,
    life: &RangeInclusive<i64>,
) -> RenewalInfo {
    let none = |problem, again| RenewalInfo { window: None, explanation: None, problem, again };
    let transport = match Transport::open(client, directory, String::new()).await {
        Ok(transport) => transport,
        Err(failed) => return RenewalInfo::none(&failed.error),
    };
    let Some(base) = &transport.directory().renewal_info else { return none(None, MOST) };
    let Some(id) = certificate_id(leaf) else {
        let why = "the certificate does not name the key of its issuer";
        return none(Some(why.to_owned()), MOST);
    };
    let answer = match transport.get(&format!("{}/{id}", base.trim_end_matches('/'))).await {
        Ok(answer) => answer,
        Err(error) => {
            let error = explain(error, WHAT, &transport);
            return RenewalInfo::none(&error.with_retry_after(transport.last().retry_after));
        }
    };
    let again = transport.last().retry_after.unwrap_or(USUAL).clamp(LEAST, MOST);
    match answer.json::<Sent>(WHAT, &transport) {
        Err(error) => none(Some(error.to_string()), again),
        Ok(Sent { suggested_window: SentWindow { start, end }, explanation }) => {
            let (window, problem) = match RenewalWindow::new(&start, &end, life) {
                Ok(window) => (Some(window), None),
                Err(why) => (None, Some(format!("the CA's answer is not used: {why}"))),
            };
            let explanation = explanation.as_str().and_then(explanation_shown);
            RenewalInfo { window, explanation, problem, again }
        }
    }
}

/// The time to the next question after a failure of this kind.
fn until_next(after: Option<Duration>, kind: ErrorKind) -> Duration {
    // A server that is down now may be up in a while; another failure will be the same for longer.
    let usual = if kind == ErrorKind::Unreachable { LEAST } else { USUAL };
    after.unwrap_or(usual).clamp(LEAST, MOST)
}

/// The URL for people: nothing that is not one, and no password.
fn explanation_shown(sent: &str) -> Option<String> {
    let url = Url::parse(sent).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    Some(shorter(&text::mask_url(url.as_str())))
}

/// The first characters of what a server sent, on one line.
fn shortened(sent: &str) -> String {
    text::escape(&sent.chars().take(40).collect::<String>())
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyIdMethod, KeyPair, SerialNumber,
    };

    use super::*;

    const LIFE: RangeInclusive<i64> = 1_800_000_000..=1_807_776_000;

    fn leaf(key_id: &[u8], serial: &[u8], names_issuer: bool) -> Certificate {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_identifier_method = KeyIdMethod::PreSpecified(key_id.to_vec());
        let issuer = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::new(["a.test".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from_slice(serial));
        params.use_authority_key_identifier_extension = names_issuer;
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        Certificate::from_der(leaf.der()).unwrap()
    }

    /// The example of RFC 9773 section 4.1.
    #[test]
    fn the_identifier_of_the_rfc() {
        let key_id = hex::decode("69885b6b87464041e1b37b847ba0ae2cde01c8d4").unwrap();
        let id = |serial: &[u8]| certificate_id(&leaf(&key_id, serial, true));
        assert_eq!(id(&[0x87, 0x65, 0x43, 0x21]).as_deref(), Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"));
        assert_eq!(id(&[0x07]).as_deref(), Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.Bw"));
        assert_eq!(certificate_id(&leaf(&key_id, &[1], false)), None);
    }

    #[test]
    fn windows_that_can_be_used() {
        let shown = |seconds: i64| text::rfc3339(seconds);
        let window = |start: i64, end: i64| RenewalWindow::new(&shown(start), &shown(end), &LIFE);
        let (from, until) = (*LIFE.start(), *LIFE.end());
        for (start, end) in [
            (from + 10, from + 20),
            // Partly outside.
            (from - 10, from),
            (until, until + 10),
            (from - 10, until + 10),
        ] {
            assert_eq!(window(start, end), Ok(RenewalWindow { start, end }));
        }
        let offset = RenewalWindow::new("2027-02-01T10:00:00+02:00", "2027-02-01T08:00:00.5Z", &LIFE);
        assert_eq!(offset.map(|window| window.end - window.start), Ok(0));
        for (start, end, why) in [
            (from + 20, from + 10, "ends before it begins"),
            (from + 10, from + 10, "ends before it begins"),
            (from - 20, from - 10, "outside of the certificate's life"),
            (until + 10, until + 20, "outside of the certificate's life"),
        ] {
            let error = window(start, end).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        for junk in
            ["", "soon", "2027-02-30T00:00:00Z", "2027-02-01", "1800000000", "\u{1b}[31m", &"9".repeat(9999)]
        {
            let later = shown(until);
            let errors = [RenewalWindow::new(junk, &later, &LIFE), RenewalWindow::new(&later, junk, &LIFE)];
            for error in errors.map(Result::unwrap_err) {
                assert!(error.contains("is no time") && error.len() < 200, "{error}");
                assert!(!error.chars().any(char::is_control), "{error:?}");
            }
        }
    }

    #[test]
    fn a_moment_is_in_the_window_and_in_the_life_or_now() {
        const NUMBERS: [u64; 6] =
            [0, 1, 0x8000_0000_0000_0000, 0x1234_5678_9abc_def0, u64::MAX - 1, u64::MAX];
        let (from, until) = (*LIFE.start(), *LIFE.end());
        let ends = [from - 100, from, from + 1, from + 777, until - 1, until, until + 100];
        let mut windows = 0;
        for start in ends {
            for end in ends.into_iter().filter(|end| *end > start) {
                let window = RenewalWindow { start, end };
                windows += 1;
                for now in [from, from + 500, until, until + 50] {
                    let mut last = i64::MIN;
                    for random in NUMBERS {
                        let moment = window.moment(&LIFE, now, random);
                        assert!(moment >= now, "{window:?}, {now}, {random}");
                        assert!(moment == now || (start..=end).contains(&moment) && LIFE.contains(&moment));
                        assert!(end > now || moment == now, "{window:?} is over at {now}");
                        if random != 0x1234_5678_9abc_def0 {
                            assert!(moment >= last, "a larger number is no earlier moment");
                            last = moment;
                        }
                    }
                }
            }
        }
        assert_eq!(windows, 21);
        let window = RenewalWindow { start: from + 1000, end: from + 1999 };
        let at = |random| window.moment(&LIFE, from, random) - from;
        assert_eq!([at(0), at(1 << 63), at(u64::MAX)], [1000, 1500, 1999], "both ends and the middle");
        let widest = RenewalWindow { start: i64::MIN, end: i64::MAX };
        assert_eq!(widest.moment(&(i64::MIN..=i64::MAX), i64::MIN, u64::MAX), i64::MAX);
    }

    #[test]
    fn the_time_between_two_questions_has_bounds() {
        let seconds = |after: Option<u64>, kind| until_next(after.map(Duration::from_secs), kind).as_secs();
        assert_eq!(seconds(None, ErrorKind::Unreachable), 3600);
        assert_eq!(seconds(None, ErrorKind::NotTrusted), 6 * 3600);
        assert_eq!(seconds(Some(0), ErrorKind::NotTrusted), 3600);
        assert_eq!(seconds(Some(u64::MAX), ErrorKind::Unreachable), 24 * 3600);
        assert_eq!(seconds(Some(7200), ErrorKind::Unreachable), 7200);
    }

    #[test]
    fn explanations_are_addresses_without_secrets() {
        assert_eq!(explanation_shown("https://ca.test/why").as_deref(), Some("https://ca.test/why"));
        for no_address in ["", "why", "javascript:alert(1)", "file:///etc/passwd"] {
            assert_eq!(explanation_shown(no_address), None, "{no_address}");
        }
        let shown = explanation_shown("https://u:hunter2@ca.test/\u{1b}").unwrap();
        assert!(!shown.contains("hunter2") && !shown.chars().any(char::is_control), "{shown}");
    }
}
