//! Whether a certificate is healthy: a pure judgement of its file and of what renewal recorded beside it. No key is read,
//! and no server is asked.

use super::record::RenewalRecord;
use crate::certificate::ends::FileEnd;
use crate::text;

/// How far a CA's clock may be ahead of ours, in seconds.
const LEEWAY: i64 = 60;

/// Why the certificate is not healthy, in words that can follow a colon; `None` if it is. `within`: how many seconds of
/// its life must be left at `now` (seconds since 1970). A renewal that fails is no reason while the certificate works.
pub(crate) fn problem(
    end: &FileEnd,
    record: Option<&RenewalRecord>,
    now: i64,
    within: Option<i64>,
) -> Option<String> {
    let life = match end {
        FileEnd::Missing => return Some("it is not there".to_owned()),
        FileEnd::Unreadable(why) => return Some(text::escape(why)),
        FileEnd::Known { life, .. } => life,
    };
    if now > life.until {
        return Some(format!("it expired at {}", text::moment(life.until)));
    }
    if now < life.from.saturating_sub(LEEWAY) {
        return Some(format!("it is not valid before {}", text::moment(life.from)));
    }
    if within.is_some_and(|within| life.until.saturating_sub(now) <= within) {
        return Some(format!("it ends at {}", text::moment(life.until)));
    }
    let hooks = record.map(|record| record.hooks.as_slice()).unwrap_or_default();
    let failed = hooks.iter().filter_map(|hook| Some((hook, hook.error.as_ref()?, hook.old_until?)));
    failed.into_iter().find(|(_, _, old_until)| now > *old_until).map(|(_, error, _)| {
        format!("the service may still use the former certificate, which has expired: {error}")
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::certificate::life::Life;
    use crate::pki::cert::Certificate;
    use crate::renew::record::PendingHook;

    const NOW: i64 = 1_800_000_000;

    fn known(from: i64, until: i64) -> FileEnd {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(["web.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        let leaf = Box::new(Certificate::from_der(leaf.der()).unwrap());
        FileEnd::Known { leaf, life: Life { from: NOW + from, until: NOW + until, limit: None } }
    }

    #[test]
    fn only_what_a_client_would_notice_is_a_problem() {
        let at = |end: &FileEnd, within| problem(end, None, NOW, within).unwrap_or_default();
        assert_eq!(at(&known(-10, 10), None), "");
        assert_eq!(at(&known(30, 100), None), "", "clocks differ");
        assert!(at(&known(61, 100), None).contains("is not valid before"));
        assert!(at(&known(-10, -1), None).contains("expired at"));
        assert!(at(&known(-10, 10), Some(10)).contains("ends at"));
        assert_eq!(at(&known(-10, 10), Some(9)), "");
        assert_eq!(at(&FileEnd::Missing, None), "it is not there");
        assert_eq!(at(&FileEnd::Unreadable("no".to_owned()), None), "no");
    }

    #[test]
    fn a_hook_that_failed_counts_once_the_former_certificate_is_over() {
        let hook = |old_until, error: Option<&str>| PendingHook {
            command: vec!["/bin/false".to_owned()],
            event: "renewed".to_owned(),
            reason: String::new(),
            old_serial: None,
            old_until,
            since: NOW,
            attempts: 1,
            next_attempt: NOW,
            error: error.map(str::to_owned),
        };
        for (old_until, error, healthy) in [
            (Some(NOW + 1), Some("x"), true),
            (Some(NOW - 1), Some("x"), false),
            (Some(NOW - 1), None, true),
            (None, Some("x"), true),
        ] {
            let mut record = RenewalRecord::default();
            record.hooks.push(hook(old_until, error));
            assert_eq!(problem(&known(-10, 10), Some(&record), NOW, None).is_none(), healthy);
        }
    }
}
