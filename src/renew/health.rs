//! Whether a certificate is healthy: a pure judgement of its file and of what renewal recorded beside it. No key is read,
//! and no server is asked.

use std::fmt;

use super::record::RenewalRecord;
use crate::certificate::ends::FileEnd;
use crate::text;

/// How far a CA's clock may be ahead of ours, in seconds.
const LEEWAY: i64 = 60;

/// What the judgement depends on, besides the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    file: FileCondition,
    /// The hook that failed and whose service uses the certificate that ends first: its last second, and the error.
    failed_hook: Option<(i64, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum FileCondition {
    Missing,
    Unreadable(String),
    Known { from: i64, until: i64 },
}

/// Why a certificate is not healthy. Its text can follow a colon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// There is no file.
    Missing,
    /// The file shows no certificate: why.
    Unreadable(String),
    /// Its life is over since this moment, seconds since 1970.
    Expired(i64),
    /// Its life begins at this moment, seconds since 1970.
    NotYetValid(i64),
    /// Its life ends at this moment, seconds since 1970, which is too soon.
    EndsSoon(i64),
    /// A hook failed, and the certificate that the service may still use has expired: the hook's error.
    FormerInUse(String),
}

impl Problem {
    /// Without the text of an error, which may name paths and have the output of a hook: for whoever can reach a port.
    pub(crate) fn in_public(&self) -> String {
        match self {
            Problem::Unreadable(_) => "it is unreadable".to_owned(),
            Problem::FormerInUse(_) => {
                "a hook failed, and the former certificate, which the service may still use, has expired"
                    .to_owned()
            }
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Missing => f.write_str("it is not there"),
            Problem::Unreadable(why) => f.write_str(&text::escape(why)),
            Problem::Expired(until) => write!(f, "it expired at {}", text::moment(*until)),
            Problem::NotYetValid(from) => write!(f, "it is not valid before {}", text::moment(*from)),
            Problem::EndsSoon(until) => write!(f, "it ends at {}", text::moment(*until)),
            Problem::FormerInUse(error) => {
                write!(f, "the service may still use the former certificate, which has expired: {error}")
            }
        }
    }
}

impl FileCondition {
    fn of(end: &FileEnd) -> Self {
        match end {
            FileEnd::Missing => FileCondition::Missing,
            FileEnd::Unreadable(why) => FileCondition::Unreadable(why.clone()),
            FileEnd::Known { life, .. } => FileCondition::Known { from: life.from, until: life.until },
        }
    }
}

impl Condition {
    /// That of a certificate file and its record.
    pub(crate) fn of(end: &FileEnd, record: Option<&RenewalRecord>) -> Self {
        let hooks = record.map(|record| record.hooks.as_slice()).unwrap_or_default();
        let failed = hooks.iter().filter_map(|hook| Some((hook.old_until?, hook.error.clone()?)));
        let failed_hook = failed.min_by_key(|(old_until, _)| *old_until);
        Condition { file: FileCondition::of(end), failed_hook }
    }

    /// Notes what is in the file now.
    pub(crate) fn set_file(&mut self, end: &FileEnd) {
        self.file = FileCondition::of(end);
    }

    /// When the life of the certificate begins and its last second, seconds since 1970; `None` if there is none.
    pub(crate) fn life(&self) -> Option<(i64, i64)> {
        match self.file {
            FileCondition::Known { from, until } => Some((from, until)),
            FileCondition::Missing | FileCondition::Unreadable(_) => None,
        }
    }

    /// Why the certificate is not healthy; `None` if it is. `within`: how many seconds of its life must be left at `now`
    /// (seconds since 1970). A renewal that fails is no reason while the certificate works.
    pub(crate) fn problem(&self, now: i64, within: Option<i64>) -> Option<Problem> {
        let (from, until) = match &self.file {
            FileCondition::Missing => return Some(Problem::Missing),
            FileCondition::Unreadable(why) => return Some(Problem::Unreadable(why.clone())),
            FileCondition::Known { from, until } => (*from, *until),
        };
        if now > until {
            return Some(Problem::Expired(until));
        }
        if now < from.saturating_sub(LEEWAY) {
            return Some(Problem::NotYetValid(from));
        }
        if within.is_some_and(|within| until.saturating_sub(now) <= within) {
            return Some(Problem::EndsSoon(until));
        }
        let failed = self.failed_hook.as_ref().filter(|(old_until, _)| now > *old_until);
        failed.map(|(_, error)| Problem::FormerInUse(error.clone()))
    }
}

/// [`Condition::problem`] in words.
pub(crate) fn problem(
    end: &FileEnd,
    record: Option<&RenewalRecord>,
    now: i64,
    within: Option<i64>,
) -> Option<String> {
    Condition::of(end, record).problem(now, within).map(|problem| problem.to_string())
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
            (Some(NOW + 1), Some("password"), true),
            (Some(NOW - 1), Some("password"), false),
            (Some(NOW - 1), None, true),
            (None, Some("password"), true),
        ] {
            let mut record = RenewalRecord::default();
            record.hooks.push(hook(old_until, error));
            assert_eq!(problem(&known(-10, 10), Some(&record), NOW, None).is_none(), healthy);
            let problem = Condition::of(&known(-10, 10), Some(&record)).problem(NOW, None);
            assert_eq!(
                problem.as_ref().map(Problem::to_string).is_some_and(|text| text.contains("password")),
                !healthy
            );
            assert!(!problem.is_some_and(|problem| problem.in_public().contains("password")), "T46");
        }
    }
}
