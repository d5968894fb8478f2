//! Fourth stage, the desired state: every change that reaches it, as far as it can be written.

use super::accepted_anchors::AcceptedAnchors;
use super::tree_facts::TreeFacts;
use super::unwritable::{Guard, SkippedPaths, WriteCheck};
use super::{ReconcileOptions, firefox, runtimes};
use crate::error::Result;
use crate::trust::plan::PlannedChange;
use crate::trust::state::Status;
use crate::trust::stores::Stores;

/// What the tree should be, and what of it can be reached.
pub(super) struct DesiredState {
    /// The anchors; without a file where theirs cannot be written.
    pub(super) accepted: AcceptedAnchors,
    /// The stores; those that cannot be written stay as they are.
    pub(super) stores: Stores,
    /// The changes, whoever makes them.
    pub(super) changes: Vec<PlannedChange>,
    /// What stays as it is.
    pub(super) skipped: SkippedPaths,
    /// Whether login shells get the variables.
    pub(super) profile: bool,
    /// Whether Firefox's policy file names the roots.
    pub(super) firefox_policy: bool,
    /// What to report to the user.
    pub(super) warnings: Vec<String>,
    /// The same, but only if the built-in updater does the work.
    pub(super) builtin_warnings: Vec<String>,
}

/// Computes the desired state. First come the nodes of the repair, then those of the updater, of the stores, and of the
/// files beside them.
///
/// # Errors
/// A root that must go is where nothing can be removed; a file or store that was named cannot be written.
pub(super) fn desire(
    tree: &TreeFacts,
    guard: &Guard,
    mut accepted: AcceptedAnchors,
    mut stores: Stores,
    options: &ReconcileOptions,
) -> Result<DesiredState> {
    let TreeFacts { state, view, facts, goal, repair, .. } = tree;
    let mut desires = repair.before(facts.row.updater.desired(view, &accepted.wanted)?);
    desires.nodes.append(&mut stores.nodes);
    desires.warnings.append(&mut stores.warnings);
    let unwanted = state.anchors.iter().filter(|known| {
        known.status == Status::Installed
            && !accepted.anchors.iter().any(|anchor| anchor.fingerprint == known.fingerprint)
    });
    let check = WriteCheck {
        view,
        facts,
        wanted: &accepted.wanted,
        unwanted: unwanted.collect(),
        stores: &stores,
        selection: options.stores,
    };
    let mut skipped = SkippedPaths::default();
    let mut changes = check.writable_changes(guard, &mut desires, &mut skipped)?;
    for anchor in accepted.anchors.iter_mut().filter(|anchor| anchor.status == Status::Installed) {
        anchor.file = anchor.file.take().filter(|file| !skipped.paths.contains(file));
    }
    let profile = runtimes::want_profile(view, facts, &accepted.anchors, goal.profile, &mut desires)?;
    let firefox_policy = firefox::want_policy(view, &accepted.anchors, goal.firefox_policy, &mut desires)?;
    if profile || firefox_policy {
        changes = check.writable_changes(guard, &mut desires, &mut skipped)?;
    }
    stores.leave(&skipped.paths, &state.added);
    let (warnings, builtin_warnings) = (desires.warnings, desires.builtin_warnings);
    Ok(DesiredState {
        accepted,
        stores,
        changes,
        skipped,
        profile,
        firefox_policy,
        warnings,
        builtin_warnings,
    })
}
