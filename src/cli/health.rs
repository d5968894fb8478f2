//! `trustup health`: whether certificates work, for `HEALTHCHECK`: exit code 0 or 1 only, since Docker reserves 2. It reads
//! the certificates and the records beside them, as any user; no key, no lock, no network.

use std::path::PathBuf;

use super::ends::WITHIN;
use super::output::health::{CertificateHealth, HealthReport};
use super::{CommandRow, Context, Run, options};
use crate::certificate::ends::{self, FileEnd};
use crate::certificate::issue::request::configured::named_files;
use crate::cli::ui::json::UtcTime;
use crate::error::{Error, Result};
use crate::renew::health;
use crate::renew::record::RenewalRecord;
use crate::rootfs::{Sysroot, host};
use crate::settings::Taken;
use crate::settings::rows::{ALLOW_SHARED_CONFIG, CERT, CONFIG, NAMES};
use crate::text;
use crate::trust::target::sysroot;

const AFTER_HELP: &str = "\
Examples:
  In a Dockerfile, without a shell:
    HEALTHCHECK CMD [\"trustup\", \"health\"]
  Unhealthy three days before the end:
    trustup health --within 3d
  One certificate, without trustup.toml:
    trustup health --cert /run/tls/server.crt

The exit code is 0 if all certificates are healthy, and 1 otherwise, also for a mistake in the command line. A certificate is
unhealthy if it is missing, unreadable, expired or not yet valid, ends within `--within`, or if a hook failed and the
certificate that the service may still use has expired. A renewal that fails is reported, and is no reason by itself.";

fn all() -> Vec<Taken> {
    vec![
        NAMES.taken_as("The certificates of trustup.toml that have one of these names [default: all]"),
        WITHIN.taken_as("Unhealthy if a certificate ends within this time, such as 3d"),
        CERT.taken_as("The certificate in FILE, instead of those of trustup.toml"),
        CONFIG.taken(),
        ALLOW_SHARED_CONFIG.taken(),
    ]
}

pub(super) static ROW: CommandRow = CommandRow {
    name: "health",
    about: "Check whether certificates work: exit code 0 or 1, for HEALTHCHECK",
    after_help: AFTER_HELP,
    options: all,
    reads_variables: true,
    shape: |command, all| command.args(options::args(all)),
    run: Run::AtOnce(run),
};

fn run(context: &Context<'_>) -> Result<u8> {
    let (ui, env, settings) = (context.ui, context.env, context.settings);
    let host = sysroot(settings)?;
    let files: Vec<PathBuf> = match settings.get(&CERT) {
        Some(cert) => vec![cert.clone()],
        None => named_files(settings, env)?,
    };
    if files.is_empty() {
        return Err(Error::usage("no certificate is named").hint(
            "name its file with `--cert FILE`, or write a `[[certificate]]` into /etc/trustup/trustup.toml",
        ));
    }
    let within = settings.get(&WITHIN).map(|time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    let mut certificates = Vec::new();
    for file in files {
        let one = inspect(&host, &host::absolute_text(&file)?, env.now(), within);
        ui.say(line(&one));
        certificates.push(one);
    }
    let healthy = certificates.iter().all(|one| one.healthy);
    ui.result(&HealthReport { healthy, certificates })?;
    Ok(u8::from(!healthy))
}

fn inspect(host: &Sysroot, cert: &str, now: i64, within: Option<i64>) -> CertificateHealth {
    let end = ends::of_file(host, cert, &[]);
    // What a newer trustup wrote, or nobody can read, tells nothing.
    let record = RenewalRecord::read(host, cert, |_| true).ok().flatten();
    let problem = health::problem(&end, record.as_ref(), now, within);
    let not_after = match &end {
        FileEnd::Known { life, .. } => Some(UtcTime(life.until)),
        FileEnd::Missing | FileEnd::Unreadable(_) => None,
    };
    let record = record.unwrap_or_default();
    CertificateHealth {
        cert: text::escape(cert),
        healthy: problem.is_none(),
        problem,
        not_after,
        due: record.due.map(UtcTime),
        renewed: record.renewed.map(UtcTime),
        next_attempt: record.next_attempt.map(UtcTime),
        failures: record.failure.as_ref().map_or(0, |failure| failure.count),
        last_error: record.failure.map(|failure| text::escape(&failure.error)),
        pending_hooks: record.hooks.len(),
    }
}

/// One line, for people; its first word is the verdict.
fn line(one: &CertificateHealth) -> String {
    let moment = |what: &str, at: Option<UtcTime>| {
        at.map(|UtcTime(at)| format!(", {what} {}", text::moment(at))).unwrap_or_default()
    };
    let verdict = match &one.problem {
        None => format!("healthy: `{}`", one.cert),
        Some(why) => format!("unhealthy: `{}`: {why}", one.cert),
    };
    let failed = match &one.last_error {
        Some(error) => format!(", {} failed attempts, the last one: {error}", one.failures),
        None => String::new(),
    };
    let hooks = match one.pending_hooks {
        0 => String::new(),
        count => format!(", {count} hooks to be run again"),
    };
    format!(
        "{verdict}{}{}{}{}{failed}{hooks}",
        moment("valid until", one.not_after),
        moment("due from", one.due),
        moment("renewed at", one.renewed),
        moment("next attempt at", one.next_attempt),
    )
}
