//! The pipeline: makes a root file system trust exactly the anchors of a [`Goal`]. Gather, plan, apply, verify,
//! record: bootstrap and untrust differ only in the goal.

mod absent;
mod draft;
mod firefox;
mod gains;
mod goal;
mod outcome;
mod proof;
mod recorded;
mod runtimes;
mod summary;
mod unwritable;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use self::absent::describe as describe_doubt;
use self::draft::{
    classify_anchors, left_out, make_plan, passed_over, plan_stores, refuse_damaged_outputs,
    refuse_vendor_names, updater_for_broken_inputs,
};
pub(crate) use self::firefox::policy_holds;
use self::gains::Baseline;
pub(crate) use self::gains::Gain;
pub(crate) use self::goal::{Goal, ReconcileOptions, Target};
pub(crate) use self::outcome::{AnchorOutcome, AnchorView, Outcome, RemovedView, StoreView};
pub(crate) use self::runtimes::{Extra, system_roots, system_stores};
pub(crate) use self::unwritable::Skipped;
use self::unwritable::{Guard, Left, PlanInput, Refused};
use crate::doctor;
use crate::error::{Error, Result};
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::budget;
use crate::rootfs::tree::{self, Node};
use crate::trust::apply::{BroughtBack, Session, refusal};
use crate::trust::distro;
use crate::trust::facts::{Chosen, Facts, UpdaterChoice, UpdaterUsed};
use crate::trust::plan::{self, Plan, PlannedChange, Step};
use crate::trust::state::{State, Status, StoredAnchor};
use crate::trust::stores::{Kinds, Selection, Stores};
use crate::trust::unknown;
use crate::trust::updater::{BrokenInput, Desires, UpdaterInput};
use crate::trust::verify::{self, Offers, Side};
use crate::trust::view::View;

/// A plan with all that was computed along with it.
struct PlannedRun<'a> {
    view: View<'a>,
    facts: Facts,
    updater: Chosen,
    plan: Plan,
    anchors: Vec<StoredAnchor>,
    wanted: UpdaterInput,
    /// Whether login shells get the variables.
    profile: bool,
    /// Whether Firefox's policy file names the roots.
    firefox_policy: bool,
    withdrawn: Vec<Fingerprint>,
    /// Outputs, stores and directories that cannot be written.
    unwritable: Vec<Skipped>,
    /// Every path that is skipped because of them.
    left: BTreeSet<String>,
    /// Nothing of what is wanted can be written, nor could it before.
    out_of_reach: bool,
    /// Keystores and databases beside the family's outputs.
    stores: Stores,
    /// Where those roots are read back from; they are compared like the outputs.
    selection: Option<&'a Selection>,
    /// What the outputs would offer without us.
    original_offers: Offers,
    /// The outputs according to the vendor's inputs now, if that differs from the nodes before us: neither a root that
    /// the vendor withdrew since, nor later damage, may be restored by `untrust`.
    rebased: BTreeMap<String, Node>,
    /// The changes that the plan will bring, by any program; only if gains have to be foreseen.
    changes: Vec<PlannedChange>,
    /// The roots that earlier runs installed, as far as the state has them.
    installed: BTreeSet<Fingerprint>,
    /// The roots that this run was asked for.
    asked: BTreeSet<Fingerprint>,
    warnings: Vec<String>,
    /// For `-v` only.
    notes: Vec<String>,
}

/// Makes `target` match `goal`.
///
/// # Errors
/// Anything that cannot be read, planned, applied or proven; what was changed is undone, or named.
pub(crate) async fn reconcile<'a>(
    target: impl Into<Target<'a>>,
    options: ReconcileOptions<'a>,
    goal: impl Fn(&State, &View, &Facts) -> Result<Goal>,
) -> Result<Outcome> {
    let target = target.into();
    let sysroot = target.sysroot;
    let state = State::load(sysroot)?;
    // The journal of a newer trustup is refused before anything is planned.
    crate::trust::apply::was_killed(sysroot)?;
    let mut refused = Refused::default();
    let first = PlannedRun::new(target, &state, options, &goal, &refused)?;
    let baseline = Baseline::of(&first)?;
    let journal = first.journal_gains(&goal)?;
    let foreseen = first.foreseen_gains(&baseline, &state, &journal, options)?;
    if options.dry_run || first.cannot_write_anything(options)? || first.is_done(&state, &goal)? {
        return Ok(first.outcome(&state, foreseen));
    }
    let begun = Session::begin(sysroot, options.patience, options.tool_context()).await;
    let (mut session, recovered) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            // Without a record nothing may change: then the whole tree counts as unwritable.
            refused.state =
                options.leave_unwritable.then(|| refusal(&error)).flatten().map(|why| why.to_string());
            let draft = PlannedRun::new(target, &state, options, &goal, &refused)?;
            return if draft.cannot_write_anything(options)? {
                Ok(draft.outcome(&state, Vec::new()))
            } else {
                Err(error)
            };
        }
    };
    sysroot.look_again();
    let again = State::load(sysroot)?;
    let (current, mut draft) = if recovered || again != state {
        // Another run was faster, or a killed run was undone: inspect again.
        drop(first);
        (&again, PlannedRun::new(target, &again, options, &goal, &refused)?)
    } else {
        (&state, first)
    };
    draft.warnings.extend(session.recovery_notes());
    let mut options = options;
    let mut fallback: Option<String> = None;
    loop {
        draft.foreseen_gains(&baseline, current, &journal, options)?;
        if let Some(why) = &fallback {
            draft.warnings.insert(0, format!("{why}; the built-in updater is used instead"));
            draft.updater.why.clone_from(why);
        }
        let native = draft.native_with_openssl().filter(|_| options.updater == UpdaterChoice::Auto);
        let pem = draft.wanted.anchors.first().map(|anchor| anchor.certificate.to_pem()).unwrap_or_default();
        let error = match draft.carry_out(&mut session, (current, &baseline, &journal), &goal, options).await
        {
            Err(error) if error.changed().is_empty() => error,
            done => return done,
        };
        // Everything is as before the run.
        match (session.refused().filter(|_| options.leave_unwritable), native) {
            // What the kernel refuses is skipped, like everything else that cannot be written.
            (Some((path, why)), _) if path == sysroot.state_directory() => {
                refused.state = Some(why.to_string())
            }
            (Some((path, why)), _) => refused.note(&path, &why.to_string()),
            // The built-in updater does what the tool could not.
            (None, Some((program, uses_openssl))) => {
                if !session.tool_is_at_fault(uses_openssl, &pem).await {
                    return Err(error);
                }
                options.updater = UpdaterChoice::Builtin;
                fallback = Some(format!("`{program}` failed here, and its changes were undone ({error})"));
            }
            (None, None) => return Err(error),
        }
        sysroot.look_again();
        draft = PlannedRun::new(target, current, options, &goal, &refused)?;
        if draft.cannot_write_anything(options)? {
            return Ok(draft.outcome(current, Vec::new()));
        }
    }
}

impl<'a> PlannedRun<'a> {
    fn new(
        target: Target<'a>,
        state: &'a State,
        options: ReconcileOptions<'a>,
        goal: &impl Fn(&State, &View, &Facts) -> Result<Goal>,
        refused: &Refused,
    ) -> Result<Self> {
        let (sysroot, choice) = (target.sysroot, options.updater);
        let view = View::new(sysroot, state.ours())?.over_system(target.beneath);
        let mut facts = Facts::gather(&view)?;
        let former = distro::by_id(&state.row, sysroot.is_private())
            .filter(|row| !state.is_empty() && row.id != facts.row.id);
        if let Some(former) = former {
            let is = std::mem::replace(&mut facts, Facts::gather_as(&view, former)?).row;
            if !goal(state, &view, &facts)?.anchors.is_empty() {
                return Err(Error::failed(format!(
                    "an earlier run saw a system of the row `{}`, this one is `{}`",
                    former.id, is.id
                ))
                .hint("run `trustup untrust --all` first: it removes what that run installed; then bootstrap again"));
            }
        }
        let mut mended =
            if options.repair { doctor::plan_repair(&view, &facts)? } else { Desires::default() };
        let goal = goal(state, &view, &facts)?;
        let mut anchors = goal.anchors.clone();
        let set_aside = absent::set_aside(&view, &facts, &options, state, &goal.asked, &mut anchors)?;
        let mut wanted = UpdaterInput {
            anchors: Vec::new(),
            web_pki: goal.web_pki,
            date: options.stamp.unwrap_or(options.now),
        };
        refuse_vendor_names(&view, &facts, &anchors)?;
        let broken = facts.row.updater.broken_inputs(&view)?;
        let refusals = classify_anchors(&view, &facts, &broken, &mut anchors, &mut wanted)?;
        let guard = Guard::new(&view, &options, refused)?;
        guard.mark_unplaced(&facts, &mut wanted)?;
        let mut updater = facts.updater(&view, choice)?;
        if choice == UpdaterChoice::Auto && options.before_service {
            updater = facts.at_start(&view, updater)?;
        }
        if !wanted.anchors.is_empty() {
            updater = updater_for_broken_inputs(updater, &broken, choice, options.strict)?;
        }
        let (left_out, by_tool) = left_out(&view, &facts, &wanted, options.stores)?;
        if let (UpdaterUsed::Native(program), Some(path)) = (&updater.updater, by_tool) {
            let why = format!(
                "`{program}` puts every anchor into `{path}`, and Java could then load nothing from it"
            );
            if choice == UpdaterChoice::Native {
                return Err(Error::unsupported(why)
                    .hint("use `--updater auto`: the built-in updater omits the root from the keystore"));
            }
            let why = format!("{why}, and does so at the distribution's next update");
            updater = Chosen { updater: UpdaterUsed::Builtin, why, notable: true };
        }
        if !mended.nodes.is_empty() {
            let why = "the built-in updater repairs what is damaged".to_owned();
            updater = Chosen { updater: UpdaterUsed::Builtin, why, notable: false };
        }
        let mut of_anchors = facts.row.updater.desired(&view, &wanted)?;
        // First the nodes without us: what is desired because of the anchors overrides it.
        mended.nodes.append(&mut of_anchors.nodes);
        mended.warnings.append(&mut of_anchors.warnings);
        let mut desires = mended;
        let mut stores = plan_stores(&view, &facts, options.stores, &anchors, state)?;
        let notes = stores.passed_over().into_iter().collect();
        desires.nodes.append(&mut stores.nodes);
        desires.warnings.append(&mut stores.warnings);
        let unwanted = state.anchors.iter().filter(|known| {
            known.status == Status::Installed
                && !anchors.iter().any(|anchor| anchor.fingerprint == known.fingerprint)
        });
        let unwanted = unwanted.collect();
        let (selection, mut left) = (options.stores, Left::default());
        let parts =
            PlanInput { view: &view, facts: &facts, wanted: &wanted, unwanted, stores: &stores, selection };
        let mut changes = parts.writable_changes(&guard, &mut desires, &mut left)?;
        for anchor in anchors.iter_mut().filter(|anchor| anchor.status == Status::Installed) {
            anchor.file = anchor.file.take().filter(|file| !left.paths.contains(file));
        }
        let profile = runtimes::want_profile(&view, &facts, &anchors, goal.profile, &mut desires)?;
        let firefox_policy = firefox::want_policy(&view, &anchors, goal.firefox_policy, &mut desires)?;
        if profile || firefox_policy {
            changes = parts.writable_changes(&guard, &mut desires, &mut left)?;
        }
        if let UpdaterUsed::Native(program) = &updater.updater
            && let Some((path, why)) = parts.unwritable_by_tool(&guard, &changes, &left)?
        {
            let why = format!("`{program}` would have to write `{path}`: {why}");
            if choice == UpdaterChoice::Native {
                return Err(facts.no_native(&why));
            }
            updater = Chosen { updater: UpdaterUsed::Builtin, why, notable: false };
        }
        stores.leave(&left.paths, &state.added);
        let (unwritable, left) = (left.skipped, left.paths);
        let foreseen = if options.dry_run || options.require_pin { changes.clone() } else { Vec::new() };
        let mut plan = make_plan(&view, &facts, &updater.updater, changes, &stores)?;
        let out_of_reach = plan.is_empty() && !unwritable.is_empty();
        if out_of_reach {
            let known = |anchor: &StoredAnchor| {
                state
                    .anchors
                    .iter()
                    .any(|known| known.fingerprint == anchor.fingerprint && known.status == Status::Installed)
            };
            for anchor in
                anchors.iter_mut().filter(|anchor| anchor.status == Status::Installed && !known(anchor))
            {
                anchor.status = Status::Recorded;
            }
        }
        if let Some((path, content)) = goal.copy {
            plan.steps
                .extend(plan::copy(&view, facts.row.updater, &path, content)?.into_iter().map(Step::Change));
        }
        let mut warnings = refusals;
        warnings.extend(set_aside);
        warnings.extend(absent::doubts(&view)?);
        warnings.extend(left_out);
        warnings.extend(passed_over(&wanted, state));
        if !wanted.anchors.is_empty() {
            warnings.extend(broken.iter().map(BrokenInput::describe));
        }
        warnings.extend(self::unknown_tool(&view, &facts, &anchors)?);
        warnings.extend(unwritable::warnings(&unwritable));
        warnings.extend(desires.warnings);
        if matches!(updater.updater, UpdaterUsed::Builtin) {
            warnings.extend(desires.builtin_warnings);
        }
        if updater.notable {
            warnings.push(format!(
                "{}; the built-in updater is used instead and keeps what is there",
                updater.why
            ));
        }
        let withdrawn = facts.row.updater.withdrawn(&view)?;
        let original_offers = if state.records.is_empty() {
            facts.offers.clone()
        } else {
            verify::offers(&view, Side::Original, &facts.outputs)
        };
        if options.strict && !wanted.anchors.is_empty() {
            refuse_damaged_outputs(&view, &original_offers)?;
        }
        let mut rebased = BTreeMap::new();
        let mut spoilt = false;
        for (path, _) in original_offers.iter().filter(|(_, offer)| offer.damage.is_some()) {
            spoilt |= !view.is_as_we_left_it(path)?;
        }
        // What the vendor withdrew before our first run is not restored by `untrust` either (threat T34).
        let goes =
            withdrawn.iter().any(|root| facts.offers.values().any(|offer| offer.roots.contains_key(root)));
        if (goes || (!withdrawn.is_empty() || spoilt) && !state.records.is_empty())
            && !wanted.anchors.is_empty()
        {
            let without_us = facts.row.updater.regenerated(&view)?.nodes;
            rebased.extend(without_us.into_iter().map(|desired| (desired.path, desired.node)));
        }
        rebased.append(&mut stores.bases);
        budget::check()?;
        recorded::refuse_what_is_too_large(sysroot, &plan)?;
        Ok(PlannedRun {
            view,
            facts,
            updater,
            plan,
            anchors,
            wanted,
            profile,
            firefox_policy,
            withdrawn,
            unwritable,
            left,
            out_of_reach,
            stores,
            selection: options.stores,
            original_offers,
            rebased,
            changes: foreseen,
            installed: absent::installed(state)?,
            asked: goal.asked,
            warnings,
            notes,
        })
    }

    /// Whether there is nothing that the current user could change: the stores, or at least our own record of them.
    fn cannot_write_anything(&self, options: ReconcileOptions) -> Result<bool> {
        let sysroot = self.view.sysroot();
        Ok(options.leave_unwritable
            && self.plan.is_empty()
            && (self.out_of_reach || !sysroot.is_writable(sysroot.state_directory())?))
    }

    /// Whether nothing is left to do, the state included.
    fn is_done(&self, state: &State, goal: &impl Fn(&State, &View, &Facts) -> Result<Goal>) -> Result<bool> {
        // State entries without effect are removed at the next write.
        let unclaimed = !state.unclaimed.is_empty() || !self.view.doubts()?.is_empty();
        if !self.plan.is_empty() || unclaimed || crate::trust::apply::left_behind(self.view.sysroot())? {
            return Ok(false);
        }
        let mut next = self.next_state(state, goal)?;
        next.records.clone_from(&state.records);
        if !next.same_content(state) {
            return Ok(false);
        }
        self.has_current_summary(&next)
    }

    /// The state to record, except for the records.
    fn next_state(
        &self,
        state: &State,
        goal: &impl Fn(&State, &View, &Facts) -> Result<Goal>,
    ) -> Result<State> {
        let goal = goal(state, &self.view, &self.facts)?;
        Ok(State {
            row: self.facts.row.id.to_owned(),
            row_named: self.facts.is_named,
            web_pki: goal.web_pki,
            anchors: self.anchors.clone(),
            sources: if self.anchors.is_empty() { BTreeMap::new() } else { goal.sources },
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
        .keeping_certificates_of(state))
    }

    /// The native tool that the plan runs, and whether that needs `openssl`.
    fn native_with_openssl(&self) -> Option<(String, bool)> {
        let runs = self.plan.steps.iter().any(|step| matches!(step, Step::Run(_)));
        match (&self.updater.updater, self.facts.row.updater.native()) {
            (UpdaterUsed::Native(program), Some(tool)) if runs => {
                Some((program.clone(), tool.needs.contains(&"openssl")))
            }
            _ => None,
        }
    }

    async fn carry_out(
        mut self,
        session: &mut Session<'_>,
        (state, baseline, journal): (&State, &Baseline, &[BroughtBack]),
        goal: &impl Fn(&State, &View, &Facts) -> Result<Goal>,
        options: ReconcileOptions<'_>,
    ) -> Result<Outcome> {
        let next = self.next_state(state, goal)?;
        let special = recorded::special_bits(&self.view, &self.plan)?;
        self.view.freeze(&plan::touched(self.view.ours(), &self.plan))?;
        self.check_before_the_first_change(state, &next)?;
        self.view.expect(self.plan.changes().map(|change| (change.path.as_str(), &change.to)))?;
        session.apply(&self.plan, self.facts.row.id).await?;
        self.warnings.extend(session.complaints());
        self.restore_what_the_tool_left(session).await?;
        let after = self.view.afresh().map_err(|error| session.undo(error))?;
        let (notes, offers) = self.verify(&after).map_err(|error| session.undo(error))?;
        self.warnings.extend(notes);
        let root_is_gone = self.root_is_gone(&offers);
        let gained = self
            .gains_after(baseline, state, (&after, offers), journal, options)
            .map_err(|error| session.undo(error))?;
        let mut records = self
            .records_after(&after, (state, &next), &special, root_is_gone)
            .map_err(|error| session.undo(error))?;
        // A read-only mount may only hide what an earlier run wrote there.
        for (path, record) in state.records.iter().filter(|(path, _)| self.left.contains(*path)) {
            records.entry(path.clone()).or_insert_with(|| record.clone());
        }
        let next = State { records, ..next };
        let summary = self.summary(&after, &next).map_err(|error| session.undo(error))?;
        session.commit(&next, summary.as_deref()).map_err(|error| session.undo(error))?;
        Ok(self.outcome(state, gained))
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

/// The warning about a tool that the row does not use.
fn unknown_tool(view: &View, facts: &Facts, anchors: &[StoredAnchor]) -> Result<Option<String>> {
    let installed = anchors.iter().any(|anchor| anchor.status.is_in_system());
    if installed { unknown::overlooked_tool(view, facts) } else { Ok(None) }
}
