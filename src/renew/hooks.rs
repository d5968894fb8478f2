//! What runs after a change: the hooks of trustup.toml. One that fails stays in the record and is run again, apart from
//! any renewal.

use super::record::{PendingHook, RenewalRecord};
use crate::certificate::issue::{IssueContext, IssueRequest};
use crate::error::{Error, Result};
use crate::process;
use crate::random;
use crate::text;

/// The pauses after failures, in seconds: the first one, and the longest.
const PAUSES: (i64, i64) = (5, 600);

/// A change of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The first certificate.
    Enrolled,
    /// A new certificate in place of another.
    Renewed,
    /// Another program replaced the pair.
    Replaced,
}

impl Change {
    /// `TRUSTUP_EVENT`.
    fn word(self) -> &'static str {
        match self {
            Change::Enrolled => "enrolled",
            Change::Renewed => "renewed",
            Change::Replaced => "replaced",
        }
    }
}

/// Remembers that the hooks of `request` are to be run for a change at `now` (seconds since 1970). One that has not
/// succeeded since an earlier change runs once for both.
pub(crate) fn queue(
    record: &mut RenewalRecord,
    request: &IssueRequest,
    change: Change,
    (reason, old): (&str, Option<(String, i64)>),
    now: i64,
) {
    for hook in &request.hooks {
        let earlier = record.hooks.iter().position(|pending| pending.command == hook.command);
        let earlier = earlier.map(|earlier| record.hooks.remove(earlier));
        // The service has not seen what was between.
        let oldest =
            earlier.and_then(|earlier| earlier.old_serial.zip(earlier.old_until)).or_else(|| old.clone());
        let (old_serial, old_until) = oldest.unzip();
        record.hooks.push(PendingHook {
            command: hook.command.clone(),
            event: change.word().to_owned(),
            reason: reason.to_owned(),
            old_serial,
            old_until,
            since: now,
            attempts: 0,
            next_attempt: now,
            error: None,
        });
    }
}

/// Runs the pending hooks of which the time has come, or all of them with `at_once`, and returns the failures. A hook
/// that is no longer configured is forgotten. A signal leaves those that it ends pending.
pub(crate) async fn run_due(
    record: &mut RenewalRecord,
    request: &IssueRequest,
    world: &IssueContext<'_>,
    at_once: bool,
) -> Vec<Error> {
    let mut failures = Vec::new();
    let mut left = Vec::new();
    for mut pending in std::mem::take(&mut record.hooks) {
        let Some(hook) = request.hooks.iter().find(|hook| hook.command == pending.command) else { continue };
        let is_due = at_once || pending.next_attempt <= world.network.env.now();
        if !is_due || world.network.shutdown.check().is_err() {
            left.push(pending);
            continue;
        }
        let variables = variables(record, request, &pending);
        let (program, arguments) =
            hook.command.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        let control = (world.children, &world.network.shutdown);
        let run =
            process::run_hook(control, world.network.env, program, arguments, (&variables, hook.timeout));
        let done = run.await;
        let now = world.network.env.now();
        match done {
            Ok(()) => {}
            Err(_) if world.network.shutdown.check().is_err() => left.push(pending),
            Err(error) => {
                pending.attempts = pending.attempts.saturating_add(1);
                pending.error = Some(error.to_string());
                pending.next_attempt =
                    now.saturating_add(pause(pending.attempts, random_number().unwrap_or(0)));
                record.totals.hook_failures += 1;
                failures.push(error.hint(
                    "the certificate is in place; the next run, or the daemon, runs the hook again without asking the CA",
                ));
                left.push(pending);
            }
        }
    }
    record.hooks = left;
    failures
}

/// How long to wait after this many failures, in seconds.
fn pause(attempts: u32, random: u64) -> i64 {
    let (first, longest) = PAUSES;
    let limit = first.saturating_mul(1_i64 << attempts.saturating_sub(1).min(20)).min(longest);
    // Between a half and the whole.
    limit / 2 + 1 + i64::try_from(random % (limit / 2).max(1).unsigned_abs()).unwrap_or(0)
}

fn random_number() -> Result<u64> {
    let mut bytes = [0; 8];
    random::fill(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// What a hook gets in its environment; paths and names only.
fn variables(
    record: &RenewalRecord,
    request: &IssueRequest,
    pending: &PendingHook,
) -> Vec<(&'static str, String)> {
    let outputs = &request.outputs;
    vec![
        ("TRUSTUP_EVENT", pending.event.clone()),
        ("TRUSTUP_REASON", text::escape(&pending.reason)),
        ("TRUSTUP_NAMES", record.names.join(",")),
        ("TRUSTUP_CERT", outputs.cert.clone()),
        ("TRUSTUP_KEY", outputs.key.clone()),
        ("TRUSTUP_CHAIN", outputs.chain.clone().unwrap_or_default()),
        ("TRUSTUP_NEW_SERIAL", record.serial.clone().unwrap_or_default()),
        ("TRUSTUP_OLD_SERIAL", pending.old_serial.clone().unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_ten_minutes() {
        for random in [0, 1, 7, u64::MAX] {
            for (attempts, limit) in [(1, 5), (2, 10), (3, 20), (8, 600), (u32::MAX, 600)] {
                let pause = pause(attempts, random);
                assert!((limit / 2 + 1..=limit).contains(&pause), "{attempts}: {pause}");
            }
        }
    }
}
