//! What became of certificates: the report of `trustup enroll` and `trustup renew`, for people and as JSON.

use crate::certificate::check::Vouched;
use crate::certificate::issue::{IssueAction, IssueOutcome, IssueRequest};
use crate::cli::Context;
use crate::cli::output::certificates::{
    CertificateFailure, CertificateReport, FailedAction, FoundCertificate, LeafFields, PairFiles,
    SkippedMethod,
};
use crate::cli::ui::json::{ErrorDetails, UtcTime};
use crate::error::{Error, Result};
use crate::pki::cert::Certificate;
use crate::text;

/// What became of all certificates of a run.
pub(super) struct Summary {
    /// Whether any file changed.
    pub(super) changed: bool,
    /// The certificates, in the order of the configuration.
    pub(super) certificates: Vec<CertificateReport>,
    /// The files that were written.
    pub(super) wrote: Vec<String>,
    /// The first error, which decides the exit code.
    pub(super) failed: Option<Error>,
    /// Whether there are several certificates: their errors are reported one by one, and stdout has one object.
    pub(super) are_several: bool,
}

/// Tells people what became of each certificate.
pub(super) fn summarize(
    context: &Context,
    command: &str,
    results: Vec<(&IssueRequest, Result<IssueOutcome>)>,
) -> Summary {
    let mut talk = context.ui;
    talk.json = false;
    let are_several = results.len() > 1;
    let mut summary =
        Summary { changed: false, certificates: Vec::new(), wrote: Vec::new(), failed: None, are_several };
    for (request, result) in results {
        match result {
            Ok(outcome) => {
                summary.changed |= outcome.is_changed();
                summary.wrote.extend(outcome.placed.changed.iter().cloned());
                say(context, request, &outcome);
                summary.certificates.push(as_json(request, &outcome));
            }
            Err(error) => {
                summary.changed |= !error.changed().is_empty();
                summary.certificates.push(failure(request, &error));
                let error = match are_several {
                    true => error.hint(format!("that is about `{}`", request.outputs.cert)),
                    false => error,
                };
                // Its log has a line about each certificate by itself.
                if are_several && !talk.logs_json() {
                    talk.error(command, &error);
                }
                // The command's own is the first.
                summary.failed = summary.failed.or(Some(error));
            }
        }
    }
    summary
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
    CertificateReport::Done(Box::new(FoundCertificate {
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
    CertificateReport::Failed(Box::new(CertificateFailure {
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
