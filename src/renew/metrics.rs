//! What is known of all certificates, in Prometheus's text format (version 0.0.4): a pure function of their states and the
//! time, and the file for node_exporter's textfile collector.
//!
//! Labels are the name of a certificate and the kind of an error, never a path, an address or the text of an error
//! (threat T46).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::health::Condition;
use super::record::{RenewalRecord, Totals, known_kind};
use crate::certificate::ends::FileEnd;
use crate::error::{Error, Result};
use crate::pki::cert::SubjectAltName;
use crate::rootfs::Sysroot;
use crate::rootfs::directory::Attributes;
use crate::rootfs::file_set::write_file;
use crate::text;

/// The type of [`render`]'s text, for HTTP.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What every metric is called first.
const PREFIX: &str = "trustup_";
/// The largest file of metrics that is recognised as ours: 100,000 certificates.
const LIMIT: u64 = 256 * 1024 * 1024;
/// Other users read it: the collector is one of them.
const MODE: u32 = 0o644;

/// What is known of one certificate.
#[derive(Clone, Debug)]
pub(crate) struct CertificateState {
    /// Its first name.
    pub(crate) name: String,
    /// Its file, and what else decides whether it works.
    pub(crate) condition: Condition,
    /// From when on it is renewed, seconds since 1970.
    pub(crate) due: Option<i64>,
    /// When it is looked at next, seconds since 1970.
    pub(crate) next_attempt: Option<i64>,
    checked: Option<i64>,
    renewed: Option<i64>,
    /// Failures since the last success.
    pub(crate) failures: u32,
    hooks_pending: usize,
    totals: Totals,
}

impl CertificateState {
    /// That of the certificate with these `names` (none if only the certificate itself tells them), by its file and its
    /// record.
    pub(crate) fn new(names: &[SubjectAltName], end: &FileEnd, record: &RenewalRecord) -> Self {
        let name = names.first().map(ToString::to_string).or_else(|| record.names.first().cloned());
        CertificateState {
            name: text::escape(&name.unwrap_or_else(|| "unnamed".to_owned())),
            condition: Condition::of(end, Some(record)),
            due: record.due,
            next_attempt: record.next_attempt,
            checked: record.checked,
            renewed: record.renewed,
            failures: record.failure.as_ref().map_or(0, |failure| failure.count),
            hooks_pending: record.hooks.len(),
            totals: record.totals.clone(),
        }
    }
}

/// What each certificate is called, in their order: its first name, with `#2` for the second certificate of that name.
pub(crate) fn labels<'a>(states: impl IntoIterator<Item = &'a CertificateState>) -> Vec<String> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let label = |state: &'a CertificateState| {
        let count = seen.entry(&state.name).or_default();
        *count += 1;
        match *count {
            1 => state.name.clone(),
            count => format!("{}#{count}", state.name),
        }
    };
    states.into_iter().map(label).collect()
}

#[derive(Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

/// A metric with one value for each certificate.
struct Family {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    /// Its value at this moment; `None` if there is none.
    value: fn(&CertificateState, i64) -> Option<i64>,
}

impl Family {
    const fn gauge(
        name: &'static str,
        help: &'static str,
        value: fn(&CertificateState, i64) -> Option<i64>,
    ) -> Self {
        Family { name, kind: Kind::Gauge, help, value }
    }

    const fn counter(
        name: &'static str,
        help: &'static str,
        value: fn(&CertificateState, i64) -> Option<i64>,
    ) -> Self {
        Family { name, kind: Kind::Counter, help, value }
    }
}

static FAMILIES: &[Family] = &[
    Family::gauge(
        "certificate_healthy",
        "Whether the certificate works, as trustup health judges: 1 or 0.",
        |state, now| Some(i64::from(state.condition.problem(now, None).is_none())),
    ),
    Family::gauge(
        "certificate_remaining_seconds",
        "Time until the first certificate of its chain expires; negative afterwards.",
        |state, now| state.condition.life().map(|(_, until)| until.saturating_sub(now)),
    ),
    Family::gauge(
        "certificate_not_before_timestamp_seconds",
        "When the life of the certificate begins.",
        |state, _| state.condition.life().map(|(from, _)| from),
    ),
    Family::gauge(
        "certificate_not_after_timestamp_seconds",
        "When the first certificate of its chain expires.",
        |state, _| state.condition.life().map(|(_, until)| until),
    ),
    Family::gauge(
        "certificate_due_timestamp_seconds",
        "From when on the certificate is renewed.",
        |state, _| state.due,
    ),
    Family::gauge(
        "renewal_next_attempt_timestamp_seconds",
        "When the daemon looks at the certificate next.",
        |state, _| state.next_attempt,
    ),
    Family::gauge(
        "renewal_last_check_timestamp_seconds",
        "When a run looked at the certificate last.",
        |state, _| state.checked,
    ),
    Family::gauge(
        "renewal_last_success_timestamp_seconds",
        "When a new certificate was placed last.",
        |state, _| state.renewed,
    ),
    Family::counter("renewal_attempts_total", "Attempts to get a new certificate.", |state, _| {
        Some(number(state.totals.attempts))
    }),
    Family::counter("renewal_successes_total", "New certificates that were placed.", |state, _| {
        Some(number(state.totals.renewals))
    }),
    Family::gauge(
        "renewal_failures_in_a_row",
        "Failed attempts since the last success; the pause grows with them.",
        |state, _| Some(i64::from(state.failures)),
    ),
    Family::counter("hook_failures_total", "Runs of hooks that failed.", |state, _| {
        Some(number(state.totals.hook_failures))
    }),
    Family::gauge("hooks_pending", "Hooks that have not succeeded since the last change.", |state, _| {
        i64::try_from(state.hooks_pending).ok()
    }),
];

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// All metrics at `now` (seconds since 1970), in the order of the configuration.
pub(crate) fn render<'a>(states: impl IntoIterator<Item = &'a CertificateState>, now: i64) -> String {
    let states: Vec<&CertificateState> = states.into_iter().collect();
    let labels: Vec<String> = labels(states.iter().copied()).iter().map(|label| escaped(label)).collect();
    let mut text = String::new();
    head(&mut text, "build_info", Kind::Gauge, "The version of trustup; always 1.");
    line(&mut text, "build_info", &[("version", &escaped(env!("CARGO_PKG_VERSION")))], 1);
    head(&mut text, "certificates", Kind::Gauge, "Certificates that are kept fresh.");
    line(&mut text, "certificates", &[], i64::try_from(states.len()).unwrap_or(i64::MAX));
    for family in FAMILIES {
        let values = labels
            .iter()
            .zip(&states)
            .filter_map(|(label, state)| Some((label, (family.value)(state, now)?)));
        let mut values = values.peekable();
        if values.peek().is_some() {
            head(&mut text, family.name, family.kind, family.help);
        }
        values.for_each(|(label, value)| line(&mut text, family.name, &[("name", label)], value));
    }
    failures(&mut text, &labels, &states);
    text
}

/// Failures by the kind of error; what only a newer trustup knows is `other`.
fn failures(text: &mut String, labels: &[String], states: &[&CertificateState]) {
    const NAME: &str = "renewal_failures_total";
    let mut has_head = false;
    for (label, state) in labels.iter().zip(states) {
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for (word, count) in &state.totals.failures {
            let total = kinds.entry(known_kind(word).unwrap_or("other")).or_default();
            *total = total.saturating_add(*count);
        }
        for (kind, count) in kinds {
            if !std::mem::replace(&mut has_head, true) {
                head(text, NAME, Kind::Counter, "Failed attempts by the kind of error.");
            }
            line(text, NAME, &[("name", label), ("kind", kind)], number(count));
        }
    }
}

fn head(text: &mut String, name: &str, kind: Kind, help: &str) {
    let kind = match kind {
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
    };
    // Writing to a string does not fail.
    let _ = write!(text, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n");
}

/// `labels` are escaped.
fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: i64) {
    let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _ = writeln!(text, "{PREFIX}{name}{labels} {value}");
}

/// As the value of a label.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Replaces the file of metrics at `path` as a whole.
///
/// # Errors
/// It is another program's file; it cannot be written.
pub(crate) fn write(host: &Sysroot, path: &str, text: &str) -> Result<()> {
    let is_ours = |bytes: &[u8]| bytes.is_empty() || bytes.starts_with(format!("# HELP {PREFIX}").as_bytes());
    if let Some((bytes, _)) = host.read(path, LIMIT)?
        && !is_ours(&bytes)
    {
        return Err(Error::failed(
            "this file has something other than metrics of trustup, and stays as it is",
        )
        .at(text::escape(path)));
    }
    let attributes = Attributes { mode: MODE, owner: None, modified: None };
    write_file(host, path, text.as_bytes(), attributes).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::life::Life;
    use crate::error::ErrorKind;
    use crate::pki::cert::Certificate;
    use crate::renew::record::{FailedAttempts, kind_word};

    const NOW: i64 = 1_800_000_000;

    fn known(until: i64) -> FileEnd {
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(["web.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        let leaf = Box::new(Certificate::from_der(leaf.der()).unwrap());
        FileEnd::Known { leaf, life: Life { from: NOW - 100, until, limit: None } }
    }

    fn names(names: &[&str]) -> Vec<SubjectAltName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn everything_that_is_known_is_there() {
        let mut record = RenewalRecord::default();
        (record.due, record.checked) = (Some(NOW - 5), Some(NOW - 1));
        (record.renewed, record.next_attempt) = (Some(NOW - 90), Some(NOW + 7));
        record.totals = Totals { attempts: 6, renewals: 1, hook_failures: 2, ..Totals::default() };
        let away = kind_word(ErrorKind::Unreachable).to_owned();
        record.totals.failures = BTreeMap::from([
            (away.clone(), 3),
            ("of-a-newer-trustup".to_owned(), 1),
            ("/etc/passwd".to_owned(), 1),
        ]);
        record.failure = Some(FailedAttempts {
            count: 4,
            since: NOW - 9,
            last: NOW - 1,
            kind: away,
            error: "secret".to_owned(),
        });
        let states = [CertificateState::new(&names(&["web.test", "b.test"]), &known(NOW + 60), &record)];
        let text = render(&states, NOW);
        assert_eq!(
            text,
            format!(
                "# HELP trustup_build_info The version of trustup; always 1.
# TYPE trustup_build_info gauge
trustup_build_info{{version=\"{}\"}} 1
# HELP trustup_certificates Certificates that are kept fresh.
# TYPE trustup_certificates gauge
trustup_certificates 1
# HELP trustup_certificate_healthy Whether the certificate works, as trustup health judges: 1 or 0.
# TYPE trustup_certificate_healthy gauge
trustup_certificate_healthy{{name=\"web.test\"}} 1
# HELP trustup_certificate_remaining_seconds Time until the first certificate of its chain expires; negative afterwards.
# TYPE trustup_certificate_remaining_seconds gauge
trustup_certificate_remaining_seconds{{name=\"web.test\"}} 60
# HELP trustup_certificate_not_before_timestamp_seconds When the life of the certificate begins.
# TYPE trustup_certificate_not_before_timestamp_seconds gauge
trustup_certificate_not_before_timestamp_seconds{{name=\"web.test\"}} 1799999900
# HELP trustup_certificate_not_after_timestamp_seconds When the first certificate of its chain expires.
# TYPE trustup_certificate_not_after_timestamp_seconds gauge
trustup_certificate_not_after_timestamp_seconds{{name=\"web.test\"}} 1800000060
# HELP trustup_certificate_due_timestamp_seconds From when on the certificate is renewed.
# TYPE trustup_certificate_due_timestamp_seconds gauge
trustup_certificate_due_timestamp_seconds{{name=\"web.test\"}} 1799999995
# HELP trustup_renewal_next_attempt_timestamp_seconds When the daemon looks at the certificate next.
# TYPE trustup_renewal_next_attempt_timestamp_seconds gauge
trustup_renewal_next_attempt_timestamp_seconds{{name=\"web.test\"}} 1800000007
# HELP trustup_renewal_last_check_timestamp_seconds When a run looked at the certificate last.
# TYPE trustup_renewal_last_check_timestamp_seconds gauge
trustup_renewal_last_check_timestamp_seconds{{name=\"web.test\"}} 1799999999
# HELP trustup_renewal_last_success_timestamp_seconds When a new certificate was placed last.
# TYPE trustup_renewal_last_success_timestamp_seconds gauge
trustup_renewal_last_success_timestamp_seconds{{name=\"web.test\"}} 1799999910
# HELP trustup_renewal_attempts_total Attempts to get a new certificate.
# TYPE trustup_renewal_attempts_total counter
trustup_renewal_attempts_total{{name=\"web.test\"}} 6
# HELP trustup_renewal_successes_total New certificates that were placed.
# TYPE trustup_renewal_successes_total counter
trustup_renewal_successes_total{{name=\"web.test\"}} 1
# HELP trustup_renewal_failures_in_a_row Failed attempts since the last success; the pause grows with them.
# TYPE trustup_renewal_failures_in_a_row gauge
trustup_renewal_failures_in_a_row{{name=\"web.test\"}} 4
# HELP trustup_hook_failures_total Runs of hooks that failed.
# TYPE trustup_hook_failures_total counter
trustup_hook_failures_total{{name=\"web.test\"}} 2
# HELP trustup_hooks_pending Hooks that have not succeeded since the last change.
# TYPE trustup_hooks_pending gauge
trustup_hooks_pending{{name=\"web.test\"}} 0
# HELP trustup_renewal_failures_total Failed attempts by the kind of error.
# TYPE trustup_renewal_failures_total counter
trustup_renewal_failures_total{{name=\"web.test\",kind=\"other\"}} 2
trustup_renewal_failures_total{{name=\"web.test\",kind=\"unreachable\"}} 3
",
                env!("CARGO_PKG_VERSION")
            )
        );
        let after = render(&states, NOW + 61);
        assert!(after.contains("trustup_certificate_remaining_seconds{name=\"web.test\"} -1\n"), "{after}");
        assert!(after.contains("trustup_certificate_healthy{name=\"web.test\"} 0\n"), "{after}");
    }

    #[test]
    fn what_is_not_known_has_no_value() {
        let states = [CertificateState::new(&[], &FileEnd::Missing, &RenewalRecord::default())];
        let text = render(&states, NOW);
        assert!(text.contains("trustup_certificate_healthy{name=\"unnamed\"} 0\n"), "{text}");
        for missing in ["remaining", "not_after", "due", "last_success", "renewal_failures_total"] {
            assert!(!text.contains(missing), "{missing}: {text}");
        }
        assert!(!render(&[], NOW).contains("certificate_healthy"));
    }

    #[test]
    fn t46_labels_are_unique_and_cannot_break_out() {
        let mut record = RenewalRecord::default();
        record.names = vec!["a\"} 1\nb{x=\"\\".to_owned()];
        let mut states = vec![CertificateState::new(&[], &FileEnd::Missing, &record); 2];
        states.push(CertificateState::new(&names(&["web.test"]), &FileEnd::Missing, &record));
        let text = render(&states, NOW);
        let healthy: Vec<&str> = text.lines().filter(|line| line.contains("_healthy{")).collect();
        assert_eq!(
            healthy,
            [
                r#"trustup_certificate_healthy{name="a\"} 1\\u{a}b{x=\"\\"} 0"#,
                r#"trustup_certificate_healthy{name="a\"} 1\\u{a}b{x=\"\\#2"} 0"#,
                r#"trustup_certificate_healthy{name="web.test"} 0"#,
            ]
        );
        assert_eq!(escaped("a\nb"), "a\\nb");
    }
}
