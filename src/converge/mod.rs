//! The pipeline: makes a root file system trust exactly the anchors of a [`Goal`]. Gather, plan, apply, verify,
//! record: bootstrap and untrust differ only in the goal.

mod draft;
mod firefox;
mod goal;
mod outcome;
mod runtimes;

use std::collections::BTreeMap;

use self::draft::{
    leave_unwritable, left_out, make_plan, overlooked_by_tool, passed_over, plan_stores, refuse_vendor_names,
    settle, stored_roots,
};
pub use self::firefox::policy_state;
pub use self::goal::{Goal, Options, Target};
pub use self::outcome::{AnchorView, Outcome};
pub use self::runtimes::{Extra, system_roots, system_stores};
use crate::apply::Session;
use crate::cert::Certificate;
use crate::doctor;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::plan::{self, Change, Plan, Step};
use crate::record::{Mark, Record, Saved};
use crate::state::{State, Status, StoredAnchor};
use crate::sysroot::Sysroot;
use crate::tree::{self, Node};
use crate::trust::distro;
use crate::trust::facts::{Choice, Chosen, Facts, UpdaterUsed};
use crate::trust::stores::{self, Kinds, Selection, Stores};
use crate::trust::updater::{Desires, Wanted};
use crate::trust::verify::{self, Excused, Offers, Side};
use crate::trust::view::{View, child};

/// A plan with all that was computed on the way.
struct Draft<'a> {
    view: View<'a>,
    facts: Facts,
    updater: Chosen,
    plan: Plan,
    anchors: Vec<StoredAnchor>,
    wanted: Wanted,
    /// Whether login shells get the variables.
    profile: bool,
    /// Whether Firefox's policy file names the roots.
    firefox_policy: bool,
    withdrawn: Vec<Fingerprint>,
    /// Outputs and directories that whoever runs us cannot write.
    unwritable: Vec<String>,
    /// Nothing of what is wanted can be written, nor was before.
    out_of_reach: bool,
    /// Keystores and databases beside the family's outputs.
    stores: Stores,
    /// Where those roots are read back from; they are compared like the outputs.
    selection: Option<&'a Selection>,
    /// What the outputs would offer without us.
    original_offers: Offers,
    /// What the vendor's inputs say now, where that is no longer what stood there before us: neither a root that the
    /// vendor withdrew since, nor what somebody damaged since, must come back with `untrust`.
    rebased: BTreeMap<String, Node>,
    warnings: Vec<String>,
}

/// Makes `goal` the case in `target`.
///
/// # Errors
/// Anything that cannot be read, planned, applied or proven; what was changed is turned back, or named.
pub fn converge<'a>(
    target: impl Into<Target<'a>>,
    options: Options<'a>,
    goal: impl Fn(&State, &View, &Facts) -> Result<Goal>,
) -> Result<Outcome> {
    let target = target.into();
    let sysroot = target.sysroot;
    let state = State::load(sysroot)?;
    let first = Draft::new(target, &state, options, &goal)?;
    if options.dry_run || first.is_beyond_us(options)? || first.is_done(&state, &goal)? {
        return Ok(first.outcome(&state));
    }
    let (mut session, recovered) =
        Session::begin(sysroot, options.stamp, options.patience, options.tool_timeout)?;
    sysroot.look_again();
    let again = State::load(sysroot)?;
    if recovered || again != state {
        // Somebody was faster, or a killed run was turned back: look again.
        drop(first);
        let second = Draft::new(target, &again, options, &goal)?;
        return second.carry_out(&mut session, &again, &goal);
    }
    first.carry_out(&mut session, &state, &goal)
}

impl<'a> Draft<'a> {
    fn new(
        target: Target<'a>,
        state: &'a State,
        options: Options<'a>,
        goal: &impl Fn(&State, &View, &Facts) -> Result<Goal>,
    ) -> Result<Self> {
        let (sysroot, choice) = (target.sysroot, options.updater);
        let view = View::new(sysroot, state.ours())?.above(target.beneath);
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
                .hint("run `trustup untrust --all` first: it takes out what that run put in; then bootstrap again"));
            }
        }
        let mut mended = if options.repair { doctor::mend(&view, &facts)? } else { Desires::default() };
        let goal = goal(state, &view, &facts)?;
        let mut anchors = goal.anchors.clone();
        let mut wanted =
            Wanted { anchors: Vec::new(), web_pki: goal.web_pki, date: options.stamp.unwrap_or(options.now) };
        refuse_vendor_names(&view, &facts, &anchors)?;
        let refusals = settle(&view, &facts, &goal, &mut anchors, &mut wanted)?;
        let mut updater = facts.updater(&view, choice)?;
        let overlooked = overlooked_by_tool(&view, &facts, &wanted)?;
        if let (UpdaterUsed::Native(_), Some(path)) = (&updater.updater, overlooked) {
            if choice == Choice::Native {
                return Err(Error::unsupported("the distribution's own trust update overlooks this file")
                    .at(path)
                    .hint("give it a name that ends in `.crt`, or use `--updater auto`"));
            }
            let why = format!("the distribution's tool overlooks `{path}`");
            updater = Chosen { updater: UpdaterUsed::Builtin, why, notable: false };
        }
        let (left_out, by_tool) = left_out(&view, &facts, &wanted, options.stores)?;
        if let (UpdaterUsed::Native(program), Some(path)) = (&updater.updater, by_tool) {
            let why =
                format!("`{program}` puts every anchor into `{path}`, of which Java could load nothing then");
            if choice == Choice::Native {
                return Err(Error::unsupported(why)
                    .hint("use `--updater auto`: the built-in updater leaves the root out of the keystore"));
            }
            let why = format!("{why}, and does so at the distribution's next update");
            updater = Chosen { updater: UpdaterUsed::Builtin, why, notable: true };
        }
        if !mended.nodes.is_empty() {
            let why = "what is damaged is mended by the built-in updater".to_owned();
            updater = Chosen { updater: UpdaterUsed::Builtin, why, notable: false };
        }
        let mut of_anchors = facts.row.updater.desired(&view, &wanted)?;
        // First what stands there without us: what is desired because of the anchors goes before it.
        mended.nodes.append(&mut of_anchors.nodes);
        mended.warnings.append(&mut of_anchors.warnings);
        let mut desires = mended;
        let mut stores = plan_stores(&view, &facts, options.stores, &anchors, state)?;
        desires.nodes.append(&mut stores.nodes);
        desires.warnings.append(&mut stores.warnings);
        let mut unwritable = Vec::new();
        if options.leave_unwritable {
            let left = leave_unwritable(&view, &facts, &mut desires)?;
            stores.leave(&left.paths, &state.added);
            for anchor in anchors.iter_mut().filter(|anchor| anchor.status == Status::Installed) {
                anchor.file = anchor.file.take().filter(|file| !left.paths.contains(file));
            }
            if let (UpdaterUsed::Native(program), Some(path)) = (&updater.updater, left.shown.first()) {
                let why = format!("`{program}` would have to write `{path}`, which cannot be written");
                updater = Chosen { updater: UpdaterUsed::Builtin, why, notable: false };
            }
            unwritable = left.shown;
        }
        let profile = runtimes::want_profile(&view, &facts, &anchors, goal.profile, &mut desires)?;
        let firefox_policy = firefox::want_policy(&view, &anchors, goal.firefox_policy, &mut desires)?;
        let mut plan = make_plan(&view, &facts, &updater.updater, &desires, &stores)?;
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
        warnings.extend(left_out);
        warnings.extend(passed_over(&wanted, state));
        warnings.extend(desires.warnings);
        if matches!(updater.updater, UpdaterUsed::Builtin) {
            warnings.extend(desires.builtin_warnings);
        }
        if updater.notable {
            warnings.push(format!(
                "{}; the built-in updater takes its place and keeps what is there",
                updater.why
            ));
        }
        let withdrawn = facts.row.updater.withdrawn(&view)?;
        let original_offers = if state.records.is_empty() {
            facts.offers.clone()
        } else {
            verify::offers(&view, Side::Original, &facts.outputs)
        };
        let mut rebased = BTreeMap::new();
        let mut spoilt = false;
        for (path, _) in original_offers.iter().filter(|(_, offer)| offer.damage.is_some()) {
            spoilt |= !view.is_as_we_left_it(path)?;
        }
        if (!withdrawn.is_empty() || spoilt) && !wanted.anchors.is_empty() && !state.records.is_empty() {
            let without_us = facts.row.updater.regenerated(&view)?.nodes;
            rebased.extend(without_us.into_iter().map(|desired| (desired.path, desired.node)));
        }
        rebased.append(&mut stores.bases);
        Ok(Draft {
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
            out_of_reach,
            stores,
            selection: options.stores,
            original_offers,
            rebased,
            warnings,
        })
    }

    /// Whether there is nothing that whoever runs us could change: the stores, or at least our own record of them.
    fn is_beyond_us(&self, options: Options) -> Result<bool> {
        let sysroot = self.view.sysroot();
        Ok(options.leave_unwritable
            && self.plan.is_empty()
            && (self.out_of_reach || !sysroot.is_writable(sysroot.state_directory())?))
    }

    /// Whether nothing is left to do, the state included.
    fn is_done(&self, state: &State, goal: &impl Fn(&State, &View, &Facts) -> Result<Goal>) -> Result<bool> {
        if !self.plan.is_empty() || crate::apply::was_killed(self.view.sysroot())? {
            return Ok(false);
        }
        let mut next = self.next_state(state, goal)?;
        next.records.clone_from(&state.records);
        Ok(next.same_content(state))
    }

    /// The state to record, but for the records.
    fn next_state(
        &self,
        state: &State,
        goal: &impl Fn(&State, &View, &Facts) -> Result<Goal>,
    ) -> Result<State> {
        let goal = goal(state, &self.view, &self.facts)?;
        Ok(State {
            row: self.facts.row.id.to_owned(),
            web_pki: goal.web_pki,
            anchors: self.anchors.clone(),
            sources: if self.anchors.is_empty() { BTreeMap::new() } else { goal.sources },
            profile: self.profile,
            firefox_policy: self.firefox_policy,
            kinds: match self.selection.map(Selection::kinds) {
                _ if self.anchors.is_empty() => Kinds::default(),
                Some(kinds) if !kinds.is_none() => kinds,
                _ => state.kinds,
            },
            added: match self.selection {
                Some(_) => self.stores.additions.clone(),
                None => state.added.clone(),
            },
            directories: state.directories.clone(),
            ..State::default()
        })
    }

    fn carry_out(
        mut self,
        session: &mut Session,
        state: &State,
        goal: &impl Fn(&State, &View, &Facts) -> Result<Goal>,
    ) -> Result<Outcome> {
        let next = self.next_state(state, goal)?;
        self.view.freeze(&plan::touched(self.view.ours(), &self.plan))?;
        session.apply(&self.plan, self.facts.row.id)?;
        self.warnings.extend(session.complaints());
        self.restore_what_the_tool_left(session)?;
        let after = self.view.afresh().map_err(|error| session.undo(error))?;
        let notes = self.verify(&after).map_err(|error| session.undo(error))?;
        self.warnings.extend(notes);
        let mut paths = plan::touched(self.view.ours(), &self.plan);
        paths.extend(self.facts.row.updater.watched(&after).map_err(|error| session.undo(error))?);
        let original = |path: &str| match self.rebased.get(path) {
            Some(node) => with_former_attributes(node, &*self.view.original(path)?),
            None => Ok((*self.view.original(path)?).clone()),
        };
        let now = |path: &str| after.actual(path).map(|node| (*node).clone());
        let records = plan::records(paths, original, now);
        let mut records = records.map_err(|error| session.undo(error))?;
        self.record_what_had_ours_before(&after, &mut records).map_err(|error| session.undo(error))?;
        let next = State { records, ..next };
        session.commit(&next).map_err(|error| session.undo(error))?;
        Ok(self.outcome(state))
    }

    /// A file of the stores that held one of our anchors before us and did not change is recorded as it is: the next run
    /// must not take that certificate for one that we brought.
    fn record_what_had_ours_before(
        &self,
        after: &View,
        records: &mut BTreeMap<String, Record>,
    ) -> Result<()> {
        let anchors: Vec<&Certificate> =
            self.wanted.anchors.iter().map(|anchor| &anchor.certificate).collect();
        let outputs = self.facts.outputs.iter().map(|output| output.path.clone());
        let watched = if anchors.is_empty() { Vec::new() } else { self.facts.row.updater.watched(after)? };
        for path in outputs.chain(watched) {
            let node = self.view.original(&path)?;
            if records.contains_key(&path) || !matches!(node.as_ref(), Node::File(_)) {
                continue;
            }
            let offer = self.original_offers.get(&path);
            let contents = self.view.contents(&self.view.location(&path)?, &node);
            let held = anchors.iter().any(|anchor| {
                offer.is_some_and(|offer| offer.roots.contains_key(&anchor.fingerprint()))
                    || contents.certificates.contains(anchor)
            });
            if let (true, now, Some(mark)) = (held, after.actual(&path)?, Mark::of(&node))
                && *now == *node
            {
                records.insert(path, Record { before: Saved::new(&node, &now)?, after: mark });
            }
        }
        Ok(())
    }

    /// The native tool takes out what it put in, but not always to the byte: with no anchor left, what still differs
    /// from the first tree is put right.
    fn restore_what_the_tool_left(&mut self, session: &mut Session) -> Result<()> {
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
                steps.push(Step::Change(Change { path, from: actual, to: original, reason, is_copy: false }));
            }
        }
        let rest = Plan { steps };
        if rest.is_empty() {
            return Ok(());
        }
        session.apply(&rest, self.facts.row.id)?;
        self.plan.steps.extend(rest.steps);
        Ok(())
    }

    fn verify(&self, after_run: &View) -> Result<Vec<String>> {
        let sysroot = self.view.sysroot();
        let outputs = self.facts.row.updater.outputs(after_run)?;
        let exists = |path: &str| Ok::<bool, Error>(sysroot.stat(path)?.is_some());
        let mut present = Vec::new();
        for output in outputs {
            // Nothing is asked of an output that nobody has: with no anchor left it went with the last one.
            let asked_for = !self.wanted.anchors.is_empty() && !self.unwritable.contains(&output.path);
            if asked_for || exists(&output.path)? && self.wanted.anchors.is_empty() {
                present.push(output);
            }
        }
        let mut left_out = BTreeMap::new();
        if matches!(self.updater.updater, UpdaterUsed::Native(_)) {
            for anchor in &self.wanted.anchors {
                let why = self.facts.row.updater.left_out(after_run, &anchor.certificate)?;
                left_out.extend(why.map(|why| (anchor.certificate.fingerprint(), why)));
            }
        }
        let after = verify::offers(after_run, Side::Actual, &present);
        let excused = Excused {
            original: self.original_offers.clone(),
            withdrawn: self.withdrawn.iter().copied().collect(),
            left_out,
        };
        let anchors: Vec<(Certificate, bool)> = self
            .wanted
            .anchors
            .iter()
            .map(|anchor| (anchor.certificate.clone(), anchor.standing.is_none()))
            .collect();
        let mut notes = verify::compare(&self.facts.offers, &after, &anchors, &excused)?;
        notes.extend(self.verify_stores(after_run)?);
        Ok(notes)
    }

    /// Keystores and databases are compared like the outputs: every root that is in any store has to be in all of them.
    fn verify_stores(&self, after: &View) -> Result<Vec<String>> {
        let Some(selection) = self.selection else { return Ok(Vec::new()) };
        let after = stores::offers(after, &self.stores.found, selection);
        let mut anchors = Vec::new();
        for (certificate, _) in stored_roots(&self.anchors)? {
            anchors.push((certificate, true));
        }
        let excused = Excused { original: self.stores.original.clone(), ..Excused::default() };
        verify::compare(&self.stores.offers, &after, &anchors, &excused)
    }
}

/// A node of the built-in updater, with owner and time of what stood there: the state can only record whole files.
fn with_former_attributes(node: &Node, former: &Node) -> Result<Node> {
    Ok(match (node, former) {
        (Node::File(file), Node::File(former)) => Node::File(tree::File {
            owner: file.owner.or(former.owner),
            modified: file.modified.or(former.modified),
            ..file.clone()
        }),
        _ => node.clone(),
    })
}

/// The path inside `sysroot` of a host file that stands in the row's own anchor directory; `None` for others.
pub fn standing_path(sysroot: &Sysroot, facts: &Facts, file: &std::path::Path) -> Result<Option<String>> {
    let Some(directory) = facts.row.updater.anchor_directory() else { return Ok(None) };
    let (Some(parent), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str())) else {
        return Ok(None);
    };
    let parent = if parent.as_os_str().is_empty() { std::path::Path::new(".") } else { parent };
    let here = crate::sysroot::host::stat(parent)?.map(|meta| meta.identity);
    let there = sysroot.stat(directory.path)?.map(|meta| meta.identity);
    Ok((here.is_some() && here == there).then(|| child(directory.path, name)))
}
