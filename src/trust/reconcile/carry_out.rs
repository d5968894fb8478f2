//! Carries out a plan: applies it, reads back what is there, and records it.

use super::gains::Baseline;
use super::{Outcome, ReconcileOptions, RunPlan, recorded};
use crate::error::Result;
use crate::rootfs::tree;
use crate::trust::apply::{BroughtBack, Session};
use crate::trust::plan::{self, Plan, PlannedChange, Step};
use crate::trust::state::State;

impl RunPlan<'_> {
    /// Carries out the plan; what was changed is undone if something fails.
    ///
    /// # Errors
    /// A step fails, or its result is not what was planned.
    pub(super) async fn carry_out(
        mut self,
        session: &mut Session<'_>,
        (state, baseline, journal): (&State, &Baseline, &[BroughtBack]),
        options: ReconcileOptions<'_>,
    ) -> Result<Outcome> {
        let next = self.next_state(state);
        let special = recorded::special_bits(&self.view, &self.plan)?;
        self.view.freeze(&plan::touched(self.view.ours(), &self.plan))?;
        self.check_before_the_first_change(state, &next)?;
        self.view.expect(self.plan.changes().map(|change| (change.path.as_str(), &change.to)))?;
        session.apply(&self.plan, self.facts.row.id).await?;
        self.warnings.extend(session.complaints());
        self.restore_what_the_tool_left(session).await?;
        let after = self.view.afresh().map_err(|error| session.undo(error))?;
        let (notes, offers) = self.verify(&after).await.map_err(|error| session.undo(error))?;
        self.warnings.extend(notes);
        let root_is_gone = self.root_is_gone(&offers);
        let gained = self
            .gains_after(baseline, state, (&after, offers), journal, options)
            .await
            .map_err(|error| session.undo(error))?;
        let mut records = self
            .records_after(&after, (state, &next), &special, root_is_gone)
            .map_err(|error| session.undo(error))?;
        // A read-only mount may only hide what an earlier run wrote there.
        for (path, record) in state.records.iter().filter(|(path, _)| self.skipped_paths.contains(*path)) {
            records.entry(path.clone()).or_insert_with(|| record.clone());
        }
        let next = State { records, ..next };
        let summary = self.summary(&after, &next).map_err(|error| session.undo(error))?;
        session.commit(&next, summary.as_deref()).map_err(|error| session.undo(error))?;
        Ok(Outcome { state: next, ..self.outcome(state, gained) })
    }

    /// The native tool removes what it installed, but not always to the byte: with no anchor left, what still differs
    /// from the first tree is restored.
    async fn restore_what_the_tool_left(&mut self, session: &mut Session<'_>) -> Result<()> {
        let ran = self.plan.steps.iter().any(|step| matches!(step, Step::Run(_)));
        if !ran || !self.wanted.anchors.is_empty() {
            return Ok(());
        }
        let mut steps = Vec::new();
        for path in plan::touched(self.view.ours(), &self.plan).into_iter().rev() {
            let actual = tree::read(self.view.sysroot(), &path).map_err(|error| session.undo(error))?;
            let original = match self.rebased.get(&path) {
                Some(node) => node.clone(),
                None => (*self.view.original(&path)?).clone(),
            };
            if !actual.satisfies(&original) {
                let reason = "as it was before".to_owned();
                steps.push(Step::Change(PlannedChange {
                    path,
                    from: actual,
                    to: original,
                    reason,
                    is_copy: false,
                }));
            }
        }
        let rest = Plan { steps };
        if rest.is_empty() {
            return Ok(());
        }
        session.apply(&rest, self.facts.row.id).await?;
        self.plan.steps.extend(rest.steps);
        Ok(())
    }
}
