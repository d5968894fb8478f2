//! When roots and certificates end: what `status` and `doctor` show of it, and `--within`.

use std::time::Duration;

use super::Context;
use super::output::ends::{EarlyEnd, EndOf, EndReason, PairEnd};
use crate::certificate::ends::{self, FileEnd};
use crate::certificate::issue::request::configured::{CertificateFiles, certificate_files};
use crate::cli::ui::json::UtcTime;
use crate::error::Result;
use crate::pki::cert::Certificate;
use crate::rootfs::{Sysroot, host};
use crate::settings::rows::{ALLOW_SHARED_CONFIG, CERT, CONFIG, a_duration};
use crate::settings::{Opt, Taken, check_command};
use crate::text;

pub(super) static WITHIN: Opt<Duration> = Opt::new(
    "within",
    "DURATION",
    "a duration: whole numbers with units, such as `12h` or `30d`; a plain number is seconds",
    a_duration,
)
.help("Exit 4 if a root or certificate ends within this time, such as 30d, or is not there");

const HEADING: &str = "Ends of roots and certificates";

/// The options of both commands.
pub(super) fn options() -> [Taken; 4] {
    [
        WITHIN.taken().under(HEADING),
        CERT.taken_as("Also show the end of the certificate in FILE").under(HEADING),
        CONFIG.taken_as("The trustup.toml that names certificates [default: /etc/trustup/trustup.toml, if it is there]").under(HEADING),
        ALLOW_SHARED_CONFIG.taken().under(HEADING),
    ]
}

/// The ends of everything that is of interest.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// The certificates, in the order of trustup.toml.
    pub(super) pairs: Vec<PairEnd>,
    /// What is a reason to act.
    pub(super) early: Vec<EarlyEnd>,
}

impl Ends {
    /// Those of `roots`, which are in trust stores of `system`, and of the certificates that `enroll` keeps on this
    /// machine; those of another root file system are not known.
    ///
    /// # Errors
    /// With `--within`: trustup.toml cannot be read.
    pub(super) fn of(context: &Context, system: &Sysroot, roots: &[Certificate]) -> Result<Ends> {
        let now = context.env.now();
        let within = context.settings.get(&WITHIN);
        let limit = within.map(|time| now.saturating_add(i64::try_from(time.as_secs()).unwrap_or(i64::MAX)));
        let mut found = Ends::default();
        for root in roots {
            if let Some(reason) = early(root.not_before(), root.not_after(), now, limit) {
                found.early.push(EarlyEnd {
                    kind: EndOf::Root,
                    name: root.subject(),
                    reason,
                    not_after: Some(UtcTime(root.not_after())),
                });
            }
        }
        if !system.is_host() {
            return Ok(found);
        }
        let (files, problem) = match certificate_files(context.settings, context.env) {
            Ok(CertificateFiles { files, problem }) => (files, problem),
            Err(error) => (Vec::new(), Some(error)),
        };
        match problem {
            Some(error) if within.is_some() => return Err(error),
            Some(error) => context.ui.warn(format!(
                "the ends of the certificates of trustup.toml may not all be shown: {error}; `{}` lists all errors",
                check_command(context.settings)
            )),
            None => {}
        }
        for file in files {
            let path = host::absolute_text(&file)?;
            let shown = text::escape(&path);
            let mut pair = PairEnd {
                cert: shown.clone(),
                subject: None,
                not_before: None,
                not_after: None,
                limited_by: None,
                problem: None,
            };
            let reason = match ends::of_file(system, &path, roots) {
                FileEnd::Missing => {
                    pair.problem = Some("it is not there".to_owned());
                    limit.map(|_| EndReason::Unknown)
                }
                FileEnd::Unreadable(why) => {
                    pair.problem = Some(text::escape(&why));
                    limit.map(|_| EndReason::Unknown)
                }
                FileEnd::Known { leaf, life } => {
                    pair.subject = Some(leaf.subject());
                    (pair.not_before, pair.not_after) = (Some(UtcTime(life.from)), Some(UtcTime(life.until)));
                    pair.limited_by = life.limit.as_ref().map(Certificate::subject);
                    early(life.from, life.until, now, limit)
                }
            };
            if let Some(reason) = reason {
                let not_after = pair.not_after;
                found.early.push(EarlyEnd { kind: EndOf::Certificate, name: shown, reason, not_after });
            }
            found.pairs.push(pair);
        }
        Ok(found)
    }

    /// Whether nothing of it is a reason to act.
    pub(super) fn are_good(&self) -> bool {
        self.early.is_empty()
    }

    /// Prints the certificates.
    ///
    /// # Errors
    /// Nobody reads the output any more.
    pub(super) fn show(&self, context: &Context) -> Result<()> {
        for pair in &self.pairs {
            let subject = pair.subject.as_ref().map(|subject| format!(" ({subject})")).unwrap_or_default();
            context.ui.data(format!("{}{subject}", pair.cert))?;
            if let Some(until) = pair.not_after {
                let limit = pair
                    .limited_by
                    .as_ref()
                    .map(|limit| format!(", as the intermediate {limit}"))
                    .unwrap_or_default();
                context.ui.data(format!("  {}{limit}", valid_until(until.0)))?;
            }
            if let Some(problem) = &pair.problem {
                context.ui.data(format!("  no end: {problem}"))?;
            }
        }
        Ok(())
    }

    /// Warns of each end that is a reason to act.
    pub(super) fn warn(&self, context: &Context) {
        for one in &self.early {
            let what = match one.kind {
                EndOf::Root => format!("the root {}", one.name),
                EndOf::Certificate => format!("the certificate `{}`", one.name),
            };
            let end = one.not_after.map(|end| text::moment(end.0)).unwrap_or_default();
            let said = match (one.reason, one.kind) {
                (EndReason::Ended, EndOf::Root) => format!(
                    "{what} ended at {end}: no client accepts servers of it; install the CA's new root with `trustup bootstrap`"
                ),
                (EndReason::Ended, EndOf::Certificate) => {
                    format!("{what} ended at {end}: every client refuses it; `trustup enroll` gets a new one")
                }
                (EndReason::NotYetValid, _) => {
                    format!(
                        "{what} is not valid yet: is the clock here right? It says {}",
                        text::moment(context.env.now())
                    )
                }
                (EndReason::Within, _) => format!("{what} ends at {end}, within the time of `--within`"),
                (EndReason::Unknown, _) => format!("{what} shows no end: it is not there, or cannot be read"),
            };
            context.ui.warn(said);
        }
    }
}

/// `valid until MOMENT`.
pub(super) fn valid_until(seconds: i64) -> String {
    format!("valid until {}", text::moment(seconds))
}

fn early(from: i64, until: i64, now: i64, limit: Option<i64>) -> Option<EndReason> {
    if now > until {
        Some(EndReason::Ended)
    } else if now < from {
        Some(EndReason::NotYetValid)
    } else {
        limit.filter(|limit| until < *limit).map(|_| EndReason::Within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_early_by_the_clock_and_by_the_limit() {
        assert_eq!(early(10, 100, 50, None), None);
        assert_eq!(early(10, 100, 100, None), None, "its last second");
        assert_eq!(early(10, 100, 101, None), Some(EndReason::Ended));
        assert_eq!(early(10, 100, 9, Some(20)), Some(EndReason::NotYetValid));
        assert_eq!(early(10, 100, 50, Some(100)), None, "exactly as long as requested");
        assert_eq!(early(10, 100, 50, Some(101)), Some(EndReason::Within));
    }
}
