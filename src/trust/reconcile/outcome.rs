//! The result of the pipeline: what was found, and what was done.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Gain, PlannedRun, Skipped, gains};
use crate::error::Error;
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::Sysroot;
use crate::trust::facts::UpdaterKind;
use crate::trust::plan::StepView;
use crate::trust::state::{State, Status};
use crate::trust::updater::OutputKind;

/// What was found and done.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The row of the table.
    pub(crate) row: &'static str,
    /// The updater, and why it was chosen.
    pub(crate) updater: (UpdaterKind, String),
    /// Whether anything changed (with `--dry-run`: would).
    pub(crate) changed: bool,
    /// The steps.
    pub(crate) steps: Vec<StepView>,
    /// The anchors, with their status.
    pub(crate) anchors: Vec<AnchorView>,
    /// Where programs read them.
    pub(crate) outputs: Vec<String>,
    /// The stores beside the family's own.
    pub(crate) stores: Vec<StoreView>,
    /// The outputs and stores that should hold them and cannot be written.
    pub(crate) unwritable: Vec<Skipped>,
    /// Roots that became trusted although this run was not asked for them (with `--dry-run`: would).
    pub(crate) gained: Vec<Gain>,
    /// Roots of earlier runs that were removed (with `--dry-run`: would be).
    pub(crate) removed: Vec<RemovedView>,
    /// What to report to the user.
    pub(crate) warnings: Vec<String>,
    /// What to report with `-v` only.
    pub(crate) notes: Vec<String>,
}

/// A root of an earlier run that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct RemovedView {
    /// SHA-256 of the DER.
    pub(crate) fingerprint: Fingerprint,
    /// The subject, for people.
    pub(crate) subject: String,
    /// The sources that named it.
    pub(crate) sources: Vec<String>,
}

impl Outcome {
    /// The same with every path as seen outside: a private store's with its directory in front.
    #[must_use]
    pub(crate) fn displayed(mut self, sysroot: &Sysroot) -> Self {
        let files = self.anchors.iter_mut().filter_map(|anchor| anchor.file.as_mut());
        let gained = self.gained.iter_mut().map(|gain| &mut gain.path);
        let steps = self.steps.iter_mut().map(|step| &mut step.path);
        let paths = steps.chain(&mut self.outputs).chain(files).chain(gained);
        for path in paths {
            *path = sysroot.display(path);
        }
        self
    }

    /// An error that came after the work was done names the changed paths.
    pub(crate) fn blame(&self, error: Error, changed: bool) -> Error {
        if changed { error.with_changed(self.steps.iter().map(|step| step.path.clone())) } else { error }
    }
}

/// A store beside the family's own, as it is shown.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct StoreView {
    /// The keystore, or the directory of the database.
    pub(crate) path: String,
    /// How it is read.
    pub(crate) kind: OutputKind,
    /// Why it is skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) skipped: Option<String>,
}

/// An anchor as it is shown.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct AnchorView {
    /// SHA-256 of the DER.
    pub(crate) fingerprint: Fingerprint,
    /// The subject, for people.
    pub(crate) subject: String,
    /// The source that named it first.
    pub(crate) source: String,
    /// The anchor file.
    pub(crate) file: Option<String>,
    /// How it came to be trusted.
    pub(crate) status: AnchorOutcome,
}

/// The result for an anchor in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AnchorOutcome {
    /// Installed now (with `--dry-run`: would be).
    Installed,
    /// An earlier run installed it.
    Already,
    /// The distribution trusts it anyway.
    Vendor,
    /// Its file is in the anchor directory already (a mount); only the outputs were made.
    Mounted,
    /// Only in keystores and databases, as `--stores` asks.
    Beside,
    /// Recorded, in no store.
    Recorded,
    /// The system's stores cannot be written; the private store has it.
    Unwritable,
}

impl PlannedRun<'_> {
    /// The report on this draft, executed or not.
    pub(super) fn outcome(self, state: &State, gained: Vec<Gain>) -> Outcome {
        let warnings = self.warnings.into_iter().chain(gains::warnings(&gained)).collect();
        let was: BTreeSet<Fingerprint> = state.anchors.iter().map(|anchor| anchor.fingerprint).collect();
        let in_stores = |fingerprint: &Fingerprint| {
            state
                .anchors
                .iter()
                .any(|anchor| anchor.fingerprint == *fingerprint && anchor.status != Status::Recorded)
        };
        let anchors = self
            .anchors
            .iter()
            .map(|anchor| AnchorView {
                fingerprint: anchor.fingerprint,
                subject: anchor.certificate().map(|certificate| certificate.subject()).unwrap_or_default(),
                source: anchor.sources.first().cloned().unwrap_or_default(),
                file: anchor.file.clone(),
                status: match anchor.status {
                    Status::Installed if in_stores(&anchor.fingerprint) => AnchorOutcome::Already,
                    Status::Installed => AnchorOutcome::Installed,
                    Status::Mounted => AnchorOutcome::Mounted,
                    Status::Vendor => AnchorOutcome::Vendor,
                    Status::Beside => AnchorOutcome::Beside,
                    Status::Recorded if self.out_of_reach => AnchorOutcome::Unwritable,
                    Status::Recorded => AnchorOutcome::Recorded,
                },
            })
            .collect();
        let in_system =
            self.anchors.is_empty() || self.anchors.iter().any(|anchor| anchor.status.is_in_system());
        let before: BTreeSet<Fingerprint> = was;
        let now: BTreeSet<Fingerprint> = self.anchors.iter().map(|anchor| anchor.fingerprint).collect();
        let gone = state.anchors.iter().filter(|anchor| !now.contains(&anchor.fingerprint));
        let removed = gone.map(|anchor| RemovedView {
            fingerprint: anchor.fingerprint,
            subject: anchor.certificate().map(|certificate| certificate.subject()).unwrap_or_default(),
            sources: anchor.sources.clone(),
        });
        let removed = removed.collect();
        Outcome {
            row: self.facts.row.id,
            updater: (self.updater.updater.kind(), self.updater.why),
            changed: !self.plan.is_empty()
                || (before != now
                    || self.profile != state.profile
                    || self.firefox_policy != state.firefox_policy)
                    && !self.out_of_reach,
            steps: self.plan.steps.iter().map(StepView::from).collect(),
            anchors,
            outputs: self
                .facts
                .offers
                .keys()
                .filter(|path| in_system && !self.unwritable.iter().any(|skipped| skipped.path == **path))
                .cloned()
                .collect(),
            stores: self
                .stores
                .found
                .into_iter()
                .map(|found| StoreView { path: found.path, kind: found.kind, skipped: found.skipped })
                .collect(),
            unwritable: self.unwritable,
            gained,
            removed,
            warnings,
            notes: self.notes,
        }
    }
}
