//! One certificate, once: it is renewed if it is due, and the record beside it says what happened.

use super::hooks::{self, Change, ChangeNote, HookContext, HookQueue};
use super::record::{FailedAttempts, PendingHook, RenewalRecord, SuggestedWindow, kind_word};
use crate::certificate::decide::{self, Due, RenewalPolicy};
use crate::certificate::ends::{self, FileEnd};
use crate::certificate::issue::advice;
use crate::certificate::issue::{self, IssueAction, IssueContext, IssueOutcome, IssueRequest};
use crate::certificate::life::Life;
use crate::error::{Error, Result};
use crate::host::privilege;
use crate::net::NetContext;
use crate::pki::cert::Certificate;
use crate::rootfs::{Sysroot, split};
use crate::settings::Hook;
use crate::text;

/// In seconds; no CA's advice counts longer.
const DAY: i64 = 24 * 3600;

/// What happened to one certificate.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// The pair that is in place now, or why it could not be renewed.
    pub(crate) done: Result<IssueOutcome>,
    /// Whether another program replaced the pair since the last run, and the pair is good.
    pub(crate) is_adopted: bool,
    /// Hooks that failed, and are run again later.
    pub(crate) failed_hooks: Vec<Error>,
}

/// Who starts an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Starter {
    /// A person or a script: what is due is renewed now.
    Caller,
    /// A schedule: renewals of certificates that were issued together are spread.
    Schedule,
}

/// Renews the certificate of `request` if it is due, or was requested by force, and updates `record`. Sets the policy of
/// `request` to that of this certificate.
pub(crate) async fn renew(
    request: &mut IssueRequest,
    world: &IssueContext<'_>,
    record: &mut RenewalRecord,
    starter: Starter,
) -> Attempt {
    let end = ends::of_file(world.host, &request.outputs.cert, &[]);
    if let FileEnd::Known { leaf, life } = &end
        && !world.dry_run
    {
        ask_for_advice(request, world, record, (leaf, life)).await;
    }
    request.policy = policy(request.policy.due, &end, record, starter);
    if let FileEnd::Known { life, .. } = &end
        && let Some(warning) = request.policy.warning(life)
    {
        (world.warn)(&warning);
    }
    let request = &*request;
    let former = match &end {
        FileEnd::Known { leaf, life } => Some((serial(leaf), life.until)),
        FileEnd::Missing | FileEnd::Unreadable(_) => None,
    };
    let done = match end {
        FileEnd::Missing if !can_enroll(request) => Err(nothing_to_renew(request)),
        FileEnd::Unreadable(why) if !can_enroll(request) => Err(issue::cannot_be_renewed(request, &why)),
        _ => issue::enroll(request, world).await.and_then(due_and_kept),
    };
    // Told to end: that says nothing about the certificate.
    if world.network.shutdown.check().is_err() && done.is_err() {
        return Attempt { done, is_adopted: false, failed_hooks: Vec::new() };
    }
    let now = world.network.env.now();
    let known = record.serial.clone();
    let recorded = record.serial.clone().zip(record.until);
    match &done {
        Ok(outcome) => note_success(record, outcome, now),
        Err(error) => {
            note_failure(record, error, now);
            if let Some(FileEnd::Known { leaf, life }) =
                Some(ends::of_file(world.host, &request.outputs.cert, &[]))
            {
                note_leaf(record, &leaf, life.until);
            }
        }
    }
    let is_adopted = matches!(&done, Ok(outcome) if outcome.action == IssueAction::Kept)
        && known.is_some()
        && known != record.serial;
    let change = match &done {
        Ok(outcome) if matches!(outcome.action, IssueAction::Issued | IssueAction::TakenUp) => {
            Some((outcome, if former.is_some() { Change::Renewed } else { Change::Enrolled }, former))
        }
        Ok(outcome) if is_adopted => Some((outcome, Change::Replaced, recorded)),
        _ => None,
    };
    if let Some((outcome, change, old)) = change {
        let note = ChangeNote { change, reason: &outcome.reason, old, at: now };
        hooks::queue(&mut record.hooks, request.hooks.as_deref().unwrap_or_default(), &note);
        if !record.hooks.is_empty() && !world.dry_run {
            // A run that is killed in between runs them the next time.
            save(record, request, world);
        }
    }
    let failed_hooks = run_hooks(request, world, record, starter).await;
    Attempt { done, is_adopted, failed_hooks }
}

/// Runs the hooks of the certificate that are left, as far as it is their time. Returns the failures.
pub(crate) async fn run_hooks(
    request: &IssueRequest,
    world: &IssueContext<'_>,
    record: &mut RenewalRecord,
    starter: Starter,
) -> Vec<Error> {
    if world.dry_run {
        return Vec::new();
    }
    let NetContext { env, shutdown, .. } = &world.network;
    let context = HookContext { env, shutdown, children: world.children };
    let mut queue = CertificateHooks { record, request, world };
    hooks::run_due(&mut queue, &context, starter == Starter::Caller).await
}

/// The hooks of one certificate.
struct CertificateHooks<'a> {
    record: &'a mut RenewalRecord,
    request: &'a IssueRequest,
    world: &'a IssueContext<'a>,
}

impl HookQueue for CertificateHooks<'_> {
    fn pending(&mut self) -> &mut Vec<PendingHook> {
        &mut self.record.hooks
    }

    fn configured(&self) -> Option<&[Hook]> {
        self.request.hooks.as_deref()
    }

    fn variables(&self, pending: &PendingHook) -> Vec<(&'static str, String)> {
        let (record, outputs) = (&self.record, &self.request.outputs);
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

    fn note_failure(&mut self) {
        self.record.totals.hook_failures += 1;
    }

    fn save(&self) {
        save(self.record, self.request, self.world);
    }
}

/// Asks the CA when it wants the certificate renewed, at most hourly, and draws the moment.
async fn ask_for_advice(
    request: &IssueRequest,
    world: &IssueContext<'_>,
    record: &mut RenewalRecord,
    (leaf, life): (&Certificate, &Life),
) {
    let now = world.network.env.now();
    let serial = serial(leaf);
    let is_known = |window: &SuggestedWindow| {
        window.serial == serial && (window.again - DAY..window.again).contains(&now)
    };
    if record.window.as_ref().is_some_and(is_known) {
        return;
    }
    let info = match advice::renewal_info(request, world).await {
        Ok(Some(info)) => info,
        // What is wrong is reported by the renewal itself.
        Ok(None) | Err(_) => return,
    };
    if let Some(problem) = &info.problem {
        (world.say)(&format!("the CA's advice on when to renew is ignored: {problem}"));
    }
    let random = decide::spread_number(leaf);
    let chosen = info.window.map(|window| window.moment(&(life.from..=life.until), now, random));
    record.window = Some(SuggestedWindow {
        serial,
        start: info.window.map(|window| window.start),
        end: info.window.map(|window| window.end),
        chosen,
        again: now.saturating_add(i64::try_from(info.again.as_secs()).unwrap_or(DAY)),
    });
}

/// When the existing certificate is due.
fn policy(due: Due, end: &FileEnd, record: &RenewalRecord, starter: Starter) -> RenewalPolicy {
    let FileEnd::Known { leaf, .. } = end else { return RenewalPolicy { due, ..RenewalPolicy::default() } };
    let is_recorded = record.serial == Some(serial(leaf));
    let window = record.window.as_ref().filter(|window| window.serial == serial(leaf));
    RenewalPolicy {
        due,
        suggested: window.and_then(|window| window.chosen),
        obtained: record.renewed.filter(|_| is_recorded),
        spread: (starter == Starter::Schedule).then(|| decide::spread_number(leaf)),
        leaf: Some(decide::spread_number(leaf)),
    }
}

/// The record of the certificate of `request`; an empty one if there is none that counts.
///
/// # Errors
/// A newer trustup wrote it; it cannot be read.
pub(crate) fn record_of(request: &IssueRequest, host: &Sysroot) -> Result<RenewalRecord> {
    let us = privilege::uid();
    let record = RenewalRecord::read(host, &request.outputs.cert, |uid| uid == us || uid == 0)?;
    Ok(record.unwrap_or_default())
}

/// Writes the record; a failure costs monitoring, not the certificate.
pub(crate) fn save(record: &RenewalRecord, request: &IssueRequest, world: &IssueContext<'_>) {
    // The first certificate may have failed before its directory was made.
    if matches!(world.host.stat(split(&request.outputs.cert).0), Ok(None)) {
        return;
    }
    if let Err(error) = record.write(world.host, &request.outputs.cert) {
        (world.warn)(&format!("the state of the renewal could not be recorded: {error}"));
    }
}

/// The serial number as records have it.
pub(crate) fn serial(leaf: &Certificate) -> String {
    hex::encode(leaf.serial())
}

/// Whether a method makes a new key: such a one needs no existing pair.
fn can_enroll(request: &IssueRequest) -> bool {
    request.methods.iter().any(|method| !method.needs_pair())
}

/// Refuses a request for which there is no certificate, and no way to get one.
///
/// # Errors
/// There is none.
pub(crate) fn refuse_missing(request: &IssueRequest, host: &Sysroot) -> Result<()> {
    let is_missing = || matches!(ends::of_file(host, &request.outputs.cert, &[]), FileEnd::Missing);
    if !can_enroll(request) && is_missing() { Err(nothing_to_renew(request)) } else { Ok(()) }
}

fn nothing_to_renew(request: &IssueRequest) -> Error {
    Error::failed("there is no certificate to renew")
        .at(text::escape(&request.outputs.cert))
        .hint("`trustup enroll` gets the first one; `trustup enroll --help` lists its methods")
}

/// A pair that is due and could not be replaced is a failure of a renewal, though it works.
fn due_and_kept(outcome: IssueOutcome) -> Result<IssueOutcome> {
    if outcome.action != IssueAction::KeptForNow {
        return Ok(outcome);
    }
    let until = outcome.life.as_ref().map(|life| text::moment(life.until)).unwrap_or_default();
    let error = outcome.problem.unwrap_or_else(|| Error::failed("the certificate could not be renewed"));
    Err(error.hint(format!("the existing certificate works until {until}")))
}

fn note_success(record: &mut RenewalRecord, outcome: &IssueOutcome, now: i64) {
    record.checked = Some(now);
    record.failure = None;
    if let (Some(leaf), Some(life)) = (outcome.chain.first(), &outcome.life) {
        note_leaf(record, leaf, life.until);
    }
    record.due = outcome.due;
    match outcome.action {
        IssueAction::Issued | IssueAction::TakenUp => {
            record.renewed = Some(now);
            record.totals.attempts += 1;
            record.totals.renewals += 1;
        }
        _ => {}
    }
}

fn note_leaf(record: &mut RenewalRecord, leaf: &Certificate, until: i64) {
    let names = leaf.known_alt_names().unwrap_or_default();
    record.names = names.iter().map(ToString::to_string).collect();
    record.serial = Some(serial(leaf));
    record.from = Some(leaf.not_before());
    record.until = Some(until);
}

/// Records at `now` (seconds since 1970) that an attempt failed, also one that could not even begin.
pub(crate) fn note_failure(record: &mut RenewalRecord, error: &Error, now: i64) {
    record.checked = Some(now);
    let kind = kind_word(error.kind()).to_owned();
    record.totals.attempts += 1;
    *record.totals.failures.entry(kind.clone()).or_default() += 1;
    let earlier = record.failure.take();
    record.failure = Some(FailedAttempts {
        count: earlier.as_ref().map_or(0, |earlier| earlier.count).saturating_add(1),
        since: earlier.map_or(now, |earlier| earlier.since),
        last: now,
        kind,
        error: error.to_string(),
    });
}
