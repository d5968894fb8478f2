//! What runs after a change: the hooks of trustup.toml. One that fails stays in its record and is run again, apart from
//! any renewal.

use super::record::PendingHook;
use crate::error::{Error, ErrorKind, Result};
use crate::host::env::Env;
use crate::host::shutdown::Shutdown;
use crate::process::{self, Children};
use crate::random;
use crate::settings::Hook;

/// The pauses after failures, in seconds: the first one, and the longest.
const PAUSES: (i64, i64) = (5, 600);

/// A change that hooks are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The first certificate.
    Enrolled,
    /// A new certificate in place of another.
    Renewed,
    /// Another program replaced the pair.
    Replaced,
    /// Roots came or went; the certificate is as it was.
    TrustChanged,
}

impl Change {
    /// `TRUSTUP_EVENT`.
    fn word(self) -> &'static str {
        match self {
            Change::Enrolled => "enrolled",
            Change::Renewed => "renewed",
            Change::Replaced => "replaced",
            Change::TrustChanged => "trust-changed",
        }
    }
}

/// What changed, for hooks.
#[derive(Clone, Debug)]
pub(crate) struct ChangeNote<'a> {
    pub(crate) change: Change,
    /// `TRUSTUP_REASON`.
    pub(crate) reason: &'a str,
    /// The former leaf, if there was one: its serial number, and the last second of its life.
    pub(crate) old: Option<(String, i64)>,
    /// When it was, seconds since 1970.
    pub(crate) at: i64,
}

/// Hooks of one owner that have not succeeded since its last change: a certificate's, or those of the trust stores.
pub(crate) trait HookQueue {
    /// Those that are left.
    fn pending(&mut self) -> &mut Vec<PendingHook>;
    /// The configured ones; `None` where no configuration is known: then all that are left stay so.
    fn configured(&self) -> Option<&[Hook]>;
    /// What such a hook gets in its environment; paths and names only.
    fn variables(&self, pending: &PendingHook) -> Vec<(&'static str, String)>;
    /// One of them failed.
    fn note_failure(&mut self);
    /// Records those that are left.
    fn save(&self);
}

/// Remembers that `hooks` are to be run for a change. One that has not succeeded since an earlier change runs once for
/// both.
pub(crate) fn queue(pending: &mut Vec<PendingHook>, hooks: &[Hook], note: &ChangeNote<'_>) {
    for hook in hooks {
        let earlier = pending.iter().position(|pending| pending.command == hook.command);
        let earlier = earlier.map(|earlier| pending.remove(earlier));
        // A change of the certificate says more than one of the roots.
        if let (Some(earlier), Change::TrustChanged) = (&earlier, note.change)
            && earlier.event != note.change.word()
        {
            let reason = format!("{}; {}", earlier.reason, note.reason);
            let (attempts, next_attempt, error) = (0, note.at, None);
            pending.push(PendingHook { reason, attempts, next_attempt, error, ..earlier.clone() });
            continue;
        }
        // The service has not seen what was between.
        let oldest = earlier
            .and_then(|earlier| earlier.old_serial.zip(earlier.old_until))
            .or_else(|| note.old.clone());
        let (old_serial, old_until) = oldest.unzip();
        pending.push(PendingHook {
            command: hook.command.clone(),
            event: note.change.word().to_owned(),
            reason: note.reason.to_owned(),
            old_serial,
            old_until,
            since: note.at,
            attempts: 0,
            next_attempt: note.at,
            error: None,
        });
    }
}

/// Runs the hooks of which the time has come, or all that are left with `at_once`, and returns the failures. One that is
/// no longer configured is forgotten. A signal leaves those that it ends. After each of them the rest is recorded: a run
/// that is killed repeats at most one.
pub(crate) async fn run_due(
    queue: &mut impl HookQueue,
    context: &HookContext<'_>,
    at_once: bool,
) -> Vec<Error> {
    let HookContext { env, shutdown, .. } = *context;
    let mut failures = Vec::new();
    let mut at = 0;
    while let Some(pending) = queue.pending().get(at).cloned() {
        let configured = match queue.configured() {
            Some(hooks) => hooks.iter().find(|hook| hook.command == pending.command).cloned(),
            None => break,
        };
        let Some(hook) = configured else {
            queue.pending().remove(at);
            continue;
        };
        let is_due = at_once || pending.next_attempt <= env.now();
        if !is_due || shutdown.check().is_err() {
            at += 1;
            continue;
        }
        let done = run(&hook, &queue.variables(&pending), context).await;
        match done {
            Ok(()) => {
                queue.pending().remove(at);
            }
            // It is told, and does not count as its failure.
            Err(error) if shutdown.check().is_err() => {
                failures.push(run_again(error));
                at += 1;
            }
            Err(error) => {
                let attempts = pending.attempts.saturating_add(1);
                let next_attempt = env.now().saturating_add(pause(attempts, random::jitter()));
                let error_line = Some(error.to_string());
                queue.pending()[at] = PendingHook { attempts, next_attempt, error: error_line, ..pending };
                queue.note_failure();
                failures.push(run_again(error));
                at += 1;
            }
        }
        queue.save();
    }
    failures
}

/// What hooks need to run.
#[derive(Clone, Copy)]
pub(crate) struct HookContext<'a> {
    /// The environment that they get, and the clock.
    pub(crate) env: &'a Env,
    /// What ends them.
    pub(crate) shutdown: &'a Shutdown,
    pub(crate) children: &'a Children,
}

fn run_again(error: Error) -> Error {
    error.hint(
        "the change itself is done; the next run, or the daemon, runs the hook again without asking the CA",
    )
}

async fn run(hook: &Hook, variables: &[(&str, String)], context: &HookContext<'_>) -> Result<()> {
    let HookContext { env, shutdown, children } = *context;
    let Some((program, arguments)) = hook.command.split_first() else { return Ok(()) };
    process::check_hook(program, ("the hook", ErrorKind::Failed))?;
    let limit = (hook.timeout, ErrorKind::Failed);
    process::run_hook((children, shutdown), env, program, arguments, (variables, limit)).await
}

/// Lets hooks wait that are due at `now` (seconds since 1970) and could not be run.
pub(crate) fn postpone(pending: &mut [PendingHook], now: i64) {
    for hook in pending.iter_mut().filter(|hook| hook.next_attempt <= now) {
        hook.next_attempt = now.saturating_add(pause(hook.attempts.max(1), random::jitter()));
    }
}

/// How long to wait after this many failures, in seconds.
fn pause(attempts: u32, random: u64) -> i64 {
    let (first, longest) = PAUSES;
    let limit = first.saturating_mul(1_i64 << attempts.saturating_sub(1).min(20)).min(longest);
    // Between a half and the whole.
    limit / 2 + 1 + i64::try_from(random % (limit / 2).max(1).unsigned_abs()).unwrap_or(0)
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
