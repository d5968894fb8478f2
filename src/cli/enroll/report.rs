//! The report of `trustup enroll`, for people and as JSON.

use crate::certificate::check::Vouched;
use crate::certificate::issue::{IssueAction, IssueOutcome, IssueRequest};
use crate::cli::Context;
use crate::cli::output::enroll::{
    CertificateReport, EnrollFailure, EnrollReport, EnrolledReport, FailedAction, LeafFields, PairFiles,
    SkippedMethod,
};
use crate::cli::ui::json::{ErrorDetails, UtcTime};
use crate::error::{Error, Result};
use crate::pki::cert::Certificate;
use crate::text;

/// The hint if the report is lost.
const REPORT_AGAIN: &str =
    "the same command again finds the key pair in place and reports it, without asking the CA";

/// Reports all certificates; the exit code is that of the first one that could not be obtained. `before_service`:
/// whether a command is executed next, which a lost report does not stop.
pub(super) fn report(
    context: &Context,
    results: Vec<(IssueRequest, Result<IssueOutcome>)>,
    before_service: bool,
) -> Result<u8> {
    let ui = context.ui;
    // Several errors are reported one by one; stdout has one object nevertheless.
    let mut talk = ui;
    talk.json = false;
    let (mut certificates, mut wrote) = (Vec::new(), Vec::new());
    let mut failed: Option<Error> = None;
    let (mut changed, many) = (false, results.len() > 1);
    for (request, result) in results {
        match result {
            Ok(outcome) => {
                changed |= outcome.is_changed();
                wrote.extend(outcome.placed.changed.iter().cloned());
                say(context, &request, &outcome);
                certificates.push(as_json(&request, &outcome));
            }
            Err(error) => {
                changed |= !error.changed().is_empty();
                certificates.push(failure(&request, &error));
                let error = match many {
                    true => error.hint(format!("that is about `{}`", request.outputs.cert)),
                    false => error,
                };
                if many {
                    talk.error("enroll", &error);
                }
                // The command's own is the first.
                failed = failed.or(Some(error));
            }
        }
    }
    match failed {
        None => {
            match ui.result(&EnrollReport { changed, certificates, error: None }) {
                Ok(()) => {}
                Err(lost) if before_service => lost.mention(ui),
                Err(lost) => return Err(lost.after_work(changed, REPORT_AGAIN).with_changed(wrote)),
            }
            Ok(0)
        }
        Some(error) if many => {
            let report = EnrollReport { changed, certificates, error: Some(ErrorDetails::from(&error)) };
            if let Err(lost) = ui.result(&report) {
                // Each failed certificate is named above; the exit code gives the kind of failure.
                lost.mention(ui);
            }
            Ok(error.kind().exit_code())
        }
        Some(error) => Err(error),
    }
}

fn names(request: &IssueRequest, outcome: &IssueOutcome) -> Vec<String> {
    let of_chain = outcome.chain.first().and_then(|leaf| leaf.known_alt_names().ok());
    of_chain.unwrap_or_else(|| request.names.clone()).iter().map(ToString::to_string).collect()
}

fn say(context: &Context, request: &IssueRequest, outcome: &IssueOutcome) {
    let ui = context.ui;
    for (method, why) in &outcome.skipped {
        ui.say(format!("`{method}` was not used: {why}"));
    }
    let names = names(request, outcome).join(", ");
    let (cert, reason) = (&request.outputs.cert, &outcome.reason);
    match outcome.action {
        IssueAction::Kept => ui.say(format!("nothing to do: `{cert}` for {names}: {reason}")),
        IssueAction::PlacedAgain => ui.say(format!("corrected `{cert}` for {names}: {reason}")),
        IssueAction::Planned => match outcome.method {
            Some(method) => ui.say(format!("would get `{cert}` for {names} by `{method}`: {reason}")),
            None => ui.say(format!("would corrected `{cert}` for {names}: {reason}")),
        },
        IssueAction::TakenUp => {
            ui.say(format!("placed `{cert}` for {names}, from a run that was interrupted: {reason}"))
        }
        IssueAction::Issued => {
            let by = outcome.method.map(|method| format!(" by `{method}`")).unwrap_or_default();
            ui.say(format!("got `{cert}` for {names}{by}: {reason}"));
        }
        IssueAction::KeptForNow => {
            let until = outcome.life.as_ref().map(|life| text::moment(life.until)).unwrap_or_default();
            // Even if only errors are wanted: the next message about it may be that it has expired.
            let mut loud = ui;
            loud.quiet = false;
            loud.warn(format!(
                "`{cert}` for {names}: {reason}, could not be replaced, and works until {until}"
            ));
            if let Some(problem) = &outcome.problem {
                loud.warn(format!("{problem}"));
                problem.hints().iter().for_each(|hint| ui.say(format!("  hint: {hint}")));
            }
        }
    }
    if let (Some(leaf), Some(life)) = (outcome.chain.first(), &outcome.life) {
        if outcome.action != IssueAction::KeptForNow {
            let due = outcome.due.map(|due| format!(", due from {}", text::moment(due))).unwrap_or_default();
            ui.say(format!("  valid until {}{due}; issued by {}", text::moment(life.until), leaf.issuer()));
        }
        if let Some(warning) = life.warning(leaf) {
            ui.warn(format!("`{cert}`: {warning}"));
        }
    }
    for path in &outcome.placed.changed {
        ui.detail(format!("  wrote `{path}`"));
    }
}

fn as_json(request: &IssueRequest, outcome: &IssueOutcome) -> CertificateReport {
    let skipped = outcome.skipped.iter().map(|(method, why)| SkippedMethod { method, why: why.clone() });
    let certificate = outcome.chain.first().map(|leaf| LeafFields {
        fingerprint: leaf.fingerprint(),
        serial: hex::encode(leaf.serial()),
        subject: leaf.subject(),
        issuer: leaf.issuer(),
        not_before: UtcTime(leaf.not_before()),
        not_after: UtcTime(outcome.life.as_ref().map_or(leaf.not_after(), |life| life.until)),
        leaf_not_after: UtcTime(leaf.not_after()),
        limited_by: outcome.life.as_ref().and_then(|life| life.limit.as_ref()).map(Certificate::subject),
        due: outcome.due.map(UtcTime),
    });
    let roots = outcome.roots.as_ref();
    CertificateReport::Done(Box::new(EnrolledReport {
        action: outcome.action,
        changed: outcome.is_changed(),
        reason: outcome.reason.clone(),
        method: outcome.method,
        skipped: skipped.collect(),
        names: names(request, outcome),
        files: files(request),
        wrote: outcome.placed.changed.clone(),
        wrote_in_place: outcome.placed.in_place.clone(),
        certificate,
        pinned: outcome.vouched.map(|vouched| vouched == Vouched::Pinned),
        roots: roots.map(|roots| roots.certificates.iter().map(|root| root.fingerprint()).collect()),
        problem: outcome.problem.as_ref().map(ErrorDetails::from),
    }))
}

fn failure(request: &IssueRequest, error: &Error) -> CertificateReport {
    CertificateReport::Failed(Box::new(EnrollFailure {
        action: FailedAction::Failed,
        changed: !error.changed().is_empty(),
        names: request.names.iter().map(ToString::to_string).collect(),
        files: files(request),
        error: ErrorDetails::from(error),
    }))
}

fn files(request: &IssueRequest) -> PairFiles {
    let outputs = &request.outputs;
    PairFiles {
        cert: outputs.cert.clone(),
        key: outputs.key.clone(),
        chain: outputs.chain.clone(),
        ca_out: outputs.ca_out.clone(),
    }
}
