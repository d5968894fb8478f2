//! The summary for other users that goes with the next state.

use super::RunPlan;
use crate::error::Result;
use crate::trust::state::State;
use crate::trust::summary;
use crate::trust::updater::Output;
use crate::trust::view::View;

impl RunPlan<'_> {
    /// What other users may read of the next state, as a run after this one would compute it.
    pub(super) fn summary(&self, after: &View, next: &State) -> Result<Option<Vec<u8>>> {
        let view = after.with_ours(next.ours())?;
        self.summary_of(next, &self.facts.row.updater.outputs(&view)?)
    }

    fn summary_of(&self, next: &State, outputs: &[Output]) -> Result<Option<Vec<u8>>> {
        let sysroot = self.view.sysroot();
        if next.anchors.is_empty() || !summary::is_kept(sysroot) {
            return Ok(None);
        }
        let mut there = Vec::new();
        for output in outputs {
            if sysroot.stat(&output.path)?.is_some() {
                there.push(output.path.clone());
            }
        }
        summary::to_bytes(next, there).map(Some)
    }

    /// Whether the summary of this state is there, as it was before the run: an older trustup wrote none.
    pub(super) fn has_current_summary(&self, next: &State) -> Result<bool> {
        match self.summary_of(next, &self.facts.outputs)? {
            Some(summary) => summary::is_current(self.view.sysroot(), &summary),
            None => Ok(true),
        }
    }
}
