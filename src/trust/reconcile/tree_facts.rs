//! First stage, the facts: the tree without trustup, its outputs, what the change asks for in it, and what repairs it.

use super::{Goal, ReconcileOptions, Target, TrustChange};
use crate::error::{Error, Result};
use crate::trust::distro;
use crate::trust::facts::Facts;
use crate::trust::repair::{RepairPlan, plan_repair};
use crate::trust::state::State;
use crate::trust::updater::BrokenInput;
use crate::trust::view::View;

/// What a plan for a tree depends on.
pub(super) struct TreeFacts<'a> {
    /// What earlier runs did.
    pub(super) state: &'a State,
    /// The tree with every recorded change undone, and repaired.
    pub(super) view: View<'a>,
    /// The row, the outputs, and what they offer.
    pub(super) facts: Facts,
    /// What the change asks for in this tree.
    pub(super) goal: Goal,
    /// What repairs the stores, if the run repairs.
    pub(super) repair: RepairPlan,
    /// Input files that would spoil an output.
    pub(super) broken_inputs: Vec<BrokenInput>,
}

impl<'a> TreeFacts<'a> {
    /// Gathers the facts; only reads.
    ///
    /// # Errors
    /// Something cannot be read; an earlier run saw another row, and roots would stay.
    pub(super) fn gather(
        target: Target<'a>,
        options: &ReconcileOptions,
        change: TrustChange,
    ) -> Result<Self> {
        let Target { sysroot, state, beneath } = target;
        let view = View::new(sysroot, state.ours())?.over_system(beneath);
        let mut facts = Facts::gather(&view)?;
        let goal = change.goal(sysroot, state)?;
        let former = distro::by_id(&state.row, sysroot.is_private())
            .filter(|row| !state.is_empty() && row.id != facts.row.id);
        if let Some(former) = former {
            if !goal.anchors.is_empty() {
                return Err(Error::failed(format!(
                    "an earlier run saw a system of the row `{}`, this one is `{}`",
                    former.id, facts.row.id
                ))
                .hint("run `trustup untrust --all` first: it removes what that run installed; then bootstrap again"));
            }
            facts = Facts::gather_as(&view, former)?;
        }
        let repair = if options.repair { plan_repair(&view, &facts)? } else { RepairPlan::default() };
        let broken_inputs = facts.row.updater.broken_inputs(&view)?;
        Ok(TreeFacts { state, view, facts, goal, repair, broken_inputs })
    }
}
