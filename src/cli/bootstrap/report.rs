//! Bootstrap's report, for people and as data.

use super::super::Context;
use super::super::output::bootstrap::{
    BootstrapPrivate, BootstrapReport, LeftOutView, SourceView, UnwritableView,
};
use super::super::output::shown_path;
use crate::cli::ui::Lost;
use crate::pki::fingerprint::Fingerprint;
use crate::settings::Settings;
use crate::settings::rows::Store;
use crate::text;
use crate::trust::bootstrap::install::Done;
use crate::trust::bootstrap::request::TrustRequest;
use crate::trust::bootstrap::trees::Trees;
use crate::trust::reconcile::{AnchorOutcome, RemovedView};
use crate::trust::source::Acquired;

pub(super) fn report_sources(context: &Context, acquired: &Acquired) {
    let ui = context.ui;
    for warning in &acquired.warnings {
        ui.warn(warning);
    }
    for left in &acquired.left_out {
        let fingerprint = left.fingerprint.map(|one| format!(" ({one})")).unwrap_or_default();
        let subject = match left.subject.as_str() {
            "" if fingerprint.is_empty() => "a part",
            "" => "a certificate",
            subject => subject,
        };
        ui.say(format!("omitted: {subject}{fingerprint} from {}: {}", left.source, left.reason));
    }
    for source in &acquired.sources {
        let vouched =
            source.vouched_by.as_ref().map(|who| format!(", vouched for by {who}")).unwrap_or_default();
        let proxy =
            source.proxy.as_ref().map(|proxy| format!(", through the proxy {proxy}")).unwrap_or_default();
        let how = match (source.contacted, source.cached) {
            (true, true) => "read, and from the cache",
            (true, false) => "read",
            (false, true) => "not asked: from the cache",
            (false, false) => "not asked: everything that it gave is here",
        };
        ui.detail(format!("source {}: {how}{vouched}{proxy}", source.id));
    }
}

/// The removed roots of earlier runs, each once.
fn removed(done: &Done) -> Vec<&RemovedView> {
    let mut all: Vec<&RemovedView> = Vec::new();
    for removed in done.system.iter().chain(&done.private).flat_map(|outcome| &outcome.removed) {
        if !all.iter().any(|known| known.fingerprint == removed.fingerprint) {
            all.push(removed);
        }
    }
    all
}

pub(super) fn report(
    context: &Context,
    settings: &Settings,
    request: &TrustRequest,
    before_service: bool,
    trees: &Trees,
    acquired: &Acquired,
    done: &Done,
) -> Result<(), Lost> {
    let ui = context.ui;
    for outcome in done.system.iter().chain(&done.private) {
        for warning in &outcome.warnings {
            ui.warn(warning);
        }
        outcome.notes.iter().for_each(|note| ui.detail(note));
        ui.detail(format!("{}: {} updater: {}", outcome.row, outcome.updater.0.word(), outcome.updater.1));
        if context.is_dry_run() || ui.verbose || request.repair {
            ui.plan(&outcome.steps);
        }
    }
    for removed in removed(done) {
        let sources: Vec<String> =
            removed.sources.iter().map(|source| format!("`{}`", text::escape(source))).collect();
        let what = if context.is_dry_run() { "would remove" } else { "removed" };
        ui.say(format!(
            "{what}: {} ({}), which came from {}",
            removed.subject,
            removed.fingerprint,
            sources.join(", ")
        ));
    }
    let came = |fingerprint: &Fingerprint| {
        acquired.anchors.iter().any(|anchor| anchor.certificate.fingerprint() == *fingerprint)
    };
    if let Some(outcome) = &done.system {
        for anchor in outcome.anchors.iter().filter(|anchor| came(&anchor.fingerprint)) {
            let what = match anchor.status {
                AnchorOutcome::Installed if context.is_dry_run() => "would be trusted",
                AnchorOutcome::Installed => "now trusted",
                AnchorOutcome::Already => "already trusted",
                AnchorOutcome::Vendor => "already trusted by the distribution",
                AnchorOutcome::Mounted => "trusted from its file in the anchor directory",
                AnchorOutcome::Beside if outcome.stores.iter().all(|store| store.skipped.is_some()) => {
                    "recorded; there is no store of the named kinds"
                }
                AnchorOutcome::Beside if context.is_dry_run() => {
                    "would be trusted by the stores of the named kinds"
                }
                AnchorOutcome::Beside => "trusted by the stores of the named kinds",
                // The private store reports its status.
                AnchorOutcome::Unwritable => continue,
                AnchorOutcome::Recorded => "recorded, in no store",
            };
            ui.say(format!("{what}: {} ({})", anchor.subject, anchor.fingerprint));
        }
    }
    trees.note().iter().for_each(|note| ui.detail(note));
    let unwritable: Vec<&str> = done.unwritable().iter().map(|skipped| skipped.path.as_str()).collect();
    if !unwritable.is_empty() {
        let instead = match &done.private {
            Some(_) => format!("; the private store `{}` is used instead", text::escape(&done.place)),
            None => String::new(),
        };
        let shown = text::escape(&unwritable.join(", "));
        ui.warn(format!("the system's stores cannot be written: {shown}{instead}"));
    }
    if let Some(outcome) = &done.private {
        for anchor in outcome.anchors.iter().filter(|anchor| came(&anchor.fingerprint)) {
            let what = match anchor.status {
                AnchorOutcome::Installed if context.is_dry_run() => "would be trusted",
                AnchorOutcome::Installed => "now trusted",
                _ => "already trusted",
            };
            ui.say(format!(
                "{what} in the private store `{}`: {} ({})",
                text::escape(&done.place),
                anchor.subject,
                anchor.fingerprint
            ));
        }
    }
    let steps: usize = done.system.iter().chain(&done.private).map(|outcome| outcome.steps.len()).sum();
    if context.is_dry_run() {
        ui.say(format!("{steps} steps; nothing was changed (--dry-run)"));
    } else if !done.changed {
        ui.say("nothing to do");
    } else if !request.stores.contains(&Store::None) {
        let outputs = done.outputs();
        if !outputs.is_empty() {
            ui.say(format!("proven by reading back: {}", outputs.join(", ")));
        }
    }
    let Some(first) = done.system.as_ref().or(done.private.as_ref()) else { return Ok(()) };
    let left_out = acquired.left_out.iter().map(|left| LeftOutView {
        fingerprint: left.fingerprint,
        subject: &left.subject,
        source: &left.source,
        reason: &left.reason,
    });
    let sources = acquired.sources.iter().map(|source| SourceView {
        id: &source.id,
        contacted: source.contacted,
        fresh: source.fresh,
        vouched_by: source.vouched_by.as_deref(),
        proxy: source.proxy.as_deref(),
        cache: source.cached,
    });
    let skipped = done
        .unwritable()
        .iter()
        .map(|skipped| UnwritableView { path: &skipped.path, reason: skipped.why.to_string() });
    ui.result(&BootstrapReport {
        sysroot: shown_path(trees.system.path()),
        row: first.row,
        updater: first.updater.0,
        updater_why: &first.updater.1,
        changed: done.changed,
        anchors: &first.anchors,
        left_out: left_out.collect(),
        sources: sources.collect(),
        plan: &first.steps,
        outputs: &first.outputs,
        stores: &first.stores,
        unwritable,
        skipped: skipped.collect(),
        removed: removed(done),
        gained: done.system.iter().chain(&done.private).flat_map(|outcome| &outcome.gained).collect(),
        private: done.private.as_ref().map(|private| BootstrapPrivate {
            directory: &done.place,
            anchors: &private.anchors,
            plan: &private.steps,
            outputs: &private.outputs,
        }),
    })?;
    if done.private.is_some() && !before_service && !context.is_dry_run() {
        let options = trees.options_of_private(settings);
        ui.say(format!(
            "programs use the private store only with its variables set: eval \"$(trustup{options} env)\""
        ));
    }
    Ok(())
}
