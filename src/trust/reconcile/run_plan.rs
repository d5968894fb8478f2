//! Last stage, the plan: the steps from the actual to the desired state, and what the state records after them.

use std::collections::{BTreeMap, BTreeSet};

use super::accepted_anchors::AcceptedAnchors;
use super::desired_state::DesiredState;
use super::tree_facts::TreeFacts;
use super::unwritable::{FailedAttempts, Skipped};
use super::{Goal, ReconcileOptions, absent, recorded, unwritable};
use crate::error::{Error, Result};
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::budget;
use crate::rootfs::split;
use crate::rootfs::tree::Node;
use crate::trust::facts::{Chosen, Facts, UpdaterUsed};
use crate::trust::plan::{self, Plan, PlannedChange, Step, ToolRun};
use crate::trust::state::{State, Status, StoredAnchor};
use crate::trust::stores::{Kinds, Selection, Stores};
use crate::trust::unknown;
use crate::trust::updater::UpdaterInput;
use crate::trust::verify::{self, Offers, Side};
use crate::trust::view::View;

/// A plan for a tree, with all that was computed along with it.
pub(super) struct RunPlan<'a> {
    pub(super) view: View<'a>,
    pub(super) facts: Facts,
    pub(super) updater: Chosen,
    pub(super) plan: Plan,
    pub(super) anchors: Vec<StoredAnchor>,
    pub(super) wanted: UpdaterInput,
    /// Whether login shells get the variables.
    pub(super) profile: bool,
    /// Whether Firefox's policy file names the roots.
    pub(super) firefox_policy: bool,
    pub(super) withdrawn: Vec<Fingerprint>,
    /// Outputs, stores and directories that cannot be written.
    pub(super) unwritable: Vec<Skipped>,
    /// Every path that is skipped because of them.
    pub(super) skipped_paths: BTreeSet<String>,
    /// Nothing of what is wanted can be written, nor could it before.
    pub(super) out_of_reach: bool,
    /// Keystores and databases beside the family's outputs.
    pub(super) stores: Stores,
    /// Where those roots are read back from; they are compared like the outputs.
    pub(super) selection: Option<&'a Selection>,
    /// What the outputs would offer without us.
    pub(super) original_offers: Offers,
    /// The outputs according to the vendor's inputs now, if that differs from the nodes before us: neither a root that
    /// the vendor withdrew since, nor later damage, may be restored by `untrust`.
    pub(super) rebased: BTreeMap<String, Node>,
    /// The changes that the plan will bring, by any program; only if gains have to be foreseen.
    pub(super) changes: Vec<PlannedChange>,
    /// The roots that earlier runs installed, as far as the state has them.
    pub(super) installed: BTreeSet<Fingerprint>,
    /// What the change asks for in this tree.
    pub(super) goal: Goal,
    pub(super) warnings: Vec<String>,
    /// For `-v` only.
    pub(super) notes: Vec<String>,
}

/// Makes the plan.
///
/// # Errors
/// `--ca-out` names a path that is not for copies; with `--strict`, a store is damaged; a file would be too large.
pub(super) fn plan_run<'a>(
    tree: TreeFacts<'a>,
    desired: DesiredState,
    updater: Chosen,
    failed: &FailedAttempts,
    options: ReconcileOptions<'a>,
) -> Result<RunPlan<'a>> {
    let TreeFacts { state, view, facts, mut goal, .. } = tree;
    let AcceptedAnchors { mut anchors, wanted, warnings: of_anchors, .. } = desired.accepted;
    let (mut stores, skipped) = (desired.stores, desired.skipped);
    let notes = stores.passed_over().into_iter().collect();
    let needs_changes = options.dry_run || options.require_pin;
    let changes = if needs_changes { desired.changes.clone() } else { Vec::new() };
    let mut plan = steps(&view, &facts, &updater.updater, desired.changes, &stores)?;
    let out_of_reach = plan.is_empty() && !skipped.stores.is_empty();
    if out_of_reach {
        record_only(&mut anchors, state);
    }
    if let Some((path, content)) = goal.copy.take() {
        plan.steps
            .extend(plan::copy(&view, facts.row.updater, &path, content)?.into_iter().map(Step::Change));
    }
    let mut warnings: Vec<String> =
        failed.tool.iter().map(|why| format!("{why}; the built-in updater is used instead")).collect();
    warnings.extend(of_anchors);
    warnings.extend(unknown_tool(&view, &facts, &anchors)?);
    warnings.extend(unwritable::warnings(&skipped.stores));
    warnings.extend(desired.warnings);
    if matches!(updater.updater, UpdaterUsed::Builtin) {
        warnings.extend(desired.builtin_warnings);
    }
    if updater.notable {
        warnings
            .push(format!("{}; the built-in updater is used instead and keeps what is there", updater.why));
    }
    let withdrawn = facts.row.updater.withdrawn(&view)?;
    let original_offers = if state.records.is_empty() {
        facts.offers.clone()
    } else {
        verify::offers(&view, Side::Original, &facts.outputs)
    };
    let mut rebased = BTreeMap::new();
    if !wanted.anchors.is_empty() {
        if options.strict {
            refuse_damaged_outputs(&view, &original_offers)?;
        }
        if is_rebased(&view, &facts, state, &withdrawn, &original_offers)? {
            let without_us = facts.row.updater.regenerated(&view)?.nodes;
            rebased.extend(without_us.into_iter().map(|desired| (desired.path, desired.node)));
        }
    }
    rebased.append(&mut stores.bases);
    budget::check()?;
    recorded::refuse_what_is_too_large(view.sysroot(), &plan)?;
    Ok(RunPlan {
        view,
        facts,
        updater,
        plan,
        anchors,
        wanted,
        profile: desired.profile,
        firefox_policy: desired.firefox_policy,
        withdrawn,
        unwritable: skipped.stores,
        skipped_paths: skipped.paths,
        out_of_reach,
        stores,
        selection: options.stores,
        original_offers,
        rebased,
        changes,
        installed: absent::installed(state)?,
        goal,
        warnings,
        notes,
    })
}

/// Nothing can be written: what earlier runs did not install is recorded, and in no store.
fn record_only(anchors: &mut [StoredAnchor], state: &State) {
    let is_known = |anchor: &StoredAnchor| {
        state
            .anchors
            .iter()
            .any(|known| known.fingerprint == anchor.fingerprint && known.status == Status::Installed)
    };
    for anchor in anchors {
        if anchor.status == Status::Installed && !is_known(anchor) {
            anchor.status = Status::Recorded;
        }
    }
}

/// Whether `untrust` must restore the outputs according to the vendor's inputs now: the vendor withdrew a root since, or
/// before our first run (threat T34), or another program damaged an output later.
fn is_rebased(
    view: &View,
    facts: &Facts,
    state: &State,
    withdrawn: &[Fingerprint],
    original_offers: &Offers,
) -> Result<bool> {
    let mut spoilt = false;
    for (path, _) in original_offers.iter().filter(|(_, offer)| offer.damage.is_some()) {
        spoilt |= !view.is_as_we_left_it(path)?;
    }
    let goes = withdrawn.iter().any(|root| facts.offers.values().any(|offer| offer.roots.contains_key(root)));
    Ok(goes || (!withdrawn.is_empty() || spoilt) && !state.records.is_empty())
}

/// With `--strict` an output that programs could not read before is an error.
fn refuse_damaged_outputs(view: &View, offers: &Offers) -> Result<()> {
    for (path, offer) in offers {
        if let Some(damage) = &offer.damage {
            return Err(Error::failed("a store of the distribution is damaged, and `--strict` is set")
                .at(view.sysroot().display(path))
                .because(anyhow::anyhow!("{damage}"))
                .hint(
                    "`trustup bootstrap --repair` repairs what it can; `trustup doctor` names what is wrong",
                ));
        }
    }
    Ok(())
}

/// The warning about a tool that the row does not use.
fn unknown_tool(view: &View, facts: &Facts, anchors: &[StoredAnchor]) -> Result<Option<String>> {
    let installed = anchors.iter().any(|anchor| anchor.status.is_in_system());
    if installed { unknown::overlooked_tool(view, facts) } else { Ok(None) }
}

/// The steps: with the built-in updater every change, with the native one only those that it does not make itself.
fn steps(
    view: &View,
    facts: &Facts,
    updater: &UpdaterUsed,
    changes: Vec<PlannedChange>,
    stores: &Stores,
) -> Result<Plan> {
    let row = facts.row.updater;
    let (UpdaterUsed::Native(program), Some(tool)) = (updater, row.native()) else {
        return Ok(Plan { steps: changes.into_iter().map(Step::Change).collect() });
    };
    let (by_tool, by_us): (Vec<PlannedChange>, Vec<PlannedChange>) =
        changes.into_iter().partition(|change| row.native_writes(&change.path));
    let mut steps = Vec::new();
    let in_anchors = |change: &PlannedChange| {
        row.anchor_directory().is_some_and(|directory| split(&change.path).0 == directory.path)
    };
    let fresh = by_us.iter().any(|change| in_anchors(change) && change.from != Node::Absent);
    // Directories that we made are removed when the tool has emptied them: `restore_what_the_tool_left`.
    let left_to_the_end = |change: &PlannedChange| {
        !by_tool.is_empty() && matches!((&change.from, &change.to), (Node::Directory { .. }, Node::Absent))
    };
    steps.extend(by_us.into_iter().filter(|change| !left_to_the_end(change)).map(Step::Change));
    if by_tool.is_empty() {
        return Ok(Plan { steps });
    }
    for leftover in tool.leftovers {
        let actual = view.actual(leftover)?;
        if *actual != Node::Absent {
            let reason =
                "a killed run of the distribution's tool left it, and the next one would append to it"
                    .to_owned();
            steps.push(Step::Change(PlannedChange {
                path: (*leftover).to_owned(),
                from: (*actual).clone(),
                to: Node::Absent,
                reason,
                is_copy: false,
            }));
        }
    }
    let arguments = if fresh { tool.fresh_arguments } else { tool.arguments };
    let leftovers = tool.leftovers.iter().map(|&path| path.to_owned()).collect::<Vec<_>>();
    steps.push(Step::Run(ToolRun {
        program: program.clone(),
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        watched: row
            .watched(view)?
            .into_iter()
            // Its hooks may write keystores.
            .chain(stores.paths())
            .filter(|path| !leftovers.contains(path))
            .collect(),
        directories: row.native_directories(),
        leftovers,
        reason: "the distribution's own trust update".to_owned(),
    }));
    Ok(Plan { steps })
}

impl RunPlan<'_> {
    /// Whether there is nothing that the current user could change: the stores, or at least our own record of them.
    pub(super) fn cannot_write_anything(&self, options: ReconcileOptions) -> Result<bool> {
        let sysroot = self.view.sysroot();
        Ok(options.leave_unwritable
            && self.plan.is_empty()
            && (self.out_of_reach || !sysroot.is_writable(sysroot.state_directory())?))
    }

    /// Whether nothing is left to do, the state included.
    pub(super) fn is_done(&self, state: &State) -> Result<bool> {
        // State entries without effect are removed at the next write.
        let unclaimed = !state.unclaimed.is_empty() || !self.view.doubts()?.is_empty();
        if !self.plan.is_empty() || unclaimed || crate::trust::apply::left_behind(self.view.sysroot())? {
            return Ok(false);
        }
        let mut next = self.next_state(state);
        next.records.clone_from(&state.records);
        if !next.same_content(state) {
            return Ok(false);
        }
        self.has_current_summary(&next)
    }

    /// The state to record, except for the records.
    pub(super) fn next_state(&self, state: &State) -> State {
        State {
            row: self.facts.row.id.to_owned(),
            row_named: self.facts.is_named,
            web_pki: self.goal.web_pki,
            anchors: self.anchors.clone(),
            sources: if self.anchors.is_empty() { BTreeMap::new() } else { self.goal.sources.clone() },
            profile: self.profile,
            firefox_policy: self.firefox_policy,
            kinds: match self.selection.map(Selection::kinds) {
                _ if self.anchors.is_empty() => {
                    Kinds { unknown: state.kinds.unknown.clone(), ..Kinds::default() }
                }
                Some(kinds) if !kinds.is_none() => Kinds { unknown: state.kinds.unknown.clone(), ..kinds },
                _ => state.kinds.clone(),
            },
            added: match self.selection {
                Some(_) => self.stores.additions.clone(),
                None => state.added.clone(),
            },
            skipped: self.unwritable.iter().map(|skipped| skipped.path.clone()).collect(),
            directories: state.directories.clone(),
            unknown: state.unknown.clone(),
            ..State::default()
        }
        .keeping_certificates_of(state)
    }

    /// The native tool that the plan runs, and whether that needs `openssl`.
    pub(super) fn native_with_openssl(&self) -> Option<(String, bool)> {
        let runs = self.plan.steps.iter().any(|step| matches!(step, Step::Run(_)));
        match (&self.updater.updater, self.facts.row.updater.native()) {
            (UpdaterUsed::Native(program), Some(tool)) if runs => {
                Some((program.clone(), tool.needs.contains(&"openssl")))
            }
            _ => None,
        }
    }
}
