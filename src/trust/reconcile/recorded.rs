//! What the state records of a run: for each path that now differs from its state without us, how to restore it. What
//! is recorded passes the checks of reading before the first change (threat T38).

use std::collections::{BTreeMap, BTreeSet};

use super::PlannedRun;
use crate::error::{Error, Result};
use crate::pki::cert::Certificate;
use crate::rootfs::Sysroot;
use crate::rootfs::record::{Mark, PathRecord, Saved};
use crate::rootfs::tree::{self, Node};
use crate::trust::owners;
use crate::trust::plan::{self, Plan};
use crate::trust::plausible::{self, Plausibility};
use crate::trust::state::{self, State};
use crate::trust::verify::Offers;
use crate::trust::view::View;

/// The set-id bits of the files that the plan replaces, by path.
pub(super) fn special_bits(view: &View, plan: &Plan) -> Result<BTreeMap<String, u32>> {
    let mut special = BTreeMap::new();
    for change in plan.changes().filter(|change| matches!(change.from, Node::File(_))) {
        let mode = view.sysroot().lstat(&change.path)?.map_or(0, |meta| meta.mode);
        if mode & tree::SPECIAL != 0 {
            special.insert(change.path.clone(), mode & tree::SPECIAL);
        }
    }
    Ok(special)
}

/// Refuses a plan that writes a file which no later run could read (threat T38): the bundle of many large inputs.
///
/// # Errors
/// There is such a file.
pub(super) fn refuse_what_is_too_large(sysroot: &Sysroot, plan: &Plan) -> Result<()> {
    for change in plan.changes() {
        let Node::File(file) = &change.to else { continue };
        if file.content.len() as u64 > tree::FILE_LIMIT {
            return Err(Error::failed(format!(
                "this file would have {} MiB, more than trustup reads ({} MiB)",
                file.content.len() >> 20,
                tree::FILE_LIMIT >> 20
            ))
            .at(sysroot.display(&change.path))
            .hint("check the directories of anchors: move files that are not root certificates to another directory, and run again"));
        }
    }
    Ok(())
}

impl PlannedRun<'_> {
    /// Refuses a plan whose record could not be read again. What a native tool will write is not known yet; that is
    /// checked after it has run.
    pub(super) fn check_before_the_first_change(&self, state: &State, next: &State) -> Result<()> {
        let planned: BTreeMap<&str, &Node> =
            self.plan.changes().map(|change| (change.path.as_str(), &change.to)).collect();
        let paths = plan::touched(self.view.ours(), &self.plan);
        let now = |path: &str| match planned.get(path) {
            Some(node) => Ok((*node).clone()),
            None => self.view.actual(path).map(|node| (*node).clone()),
        };
        let mut records = plan::records(paths, |path| self.original(path), now)?;
        self.fit(&mut records, state);
        State { records, ..next.clone() }.check_before_writing(self.view.sysroot())
    }

    /// Whether an output that held a root without us does not hold it now.
    pub(super) fn root_is_gone(&self, after: &Offers) -> bool {
        self.original_offers.iter().any(|(path, offer)| {
            let now = after.get(path);
            offer.roots.keys().any(|root| now.is_none_or(|now| !now.roots.contains_key(root)))
        })
    }

    /// What to record, read back from the nodes `after` the run.
    pub(super) fn records_after(
        &mut self,
        after: &View,
        (state, next): (&State, &State),
        special: &BTreeMap<String, u32>,
        root_is_gone: bool,
    ) -> Result<BTreeMap<String, PathRecord>> {
        let mut paths = plan::touched(self.view.ours(), &self.plan);
        paths.extend(self.facts.row.updater.watched(after)?);
        let now = |path: &str| after.actual(path).map(|node| (*node).clone());
        let mut records = plan::records(paths, |path| self.original(path), now)?;
        self.record_what_had_ours_before(after, &mut records)?;
        self.give_up_directories(after, next, &mut records)?;
        for (path, record) in &mut records {
            record.special = match special.get(path) {
                Some(bits) => *bits,
                None => state.records.get(path).map_or(0, |former| former.special),
            };
        }
        self.fit(&mut records, state);
        // Only if a root was removed can a former content hold one that no longer exists.
        if root_is_gone {
            without_doubtful_content(after, &mut records)?;
        }
        self.explain(state, &records, special);
        Ok(records)
    }

    /// The node at `path` without us, as the state must restore it.
    fn original(&self, path: &str) -> Result<Node> {
        match self.rebased.get(path) {
            Some(node) => with_former_attributes(node, &*self.view.original(path)?),
            None => Ok((*self.view.original(path)?).clone()),
        }
    }

    /// Turns every record into one that the state may hold, with what a newer trustup recorded of the path.
    fn fit(&self, records: &mut BTreeMap<String, PathRecord>, state: &State) {
        for (path, record) in records {
            if let Some(former) = state.records.get(path) {
                record.keep_unknown_of(former);
            }
            state::attribute(self.view.sysroot(), self.facts.row, path, record, state.records.get(path));
            // Another program wrote between our entries of the policy: restoring the file removes ours from its text.
            if !owners::may_keep(path, record) {
                record.before = record.before.clone().without_content();
            }
        }
    }

    /// A directory that we made and would remove belongs to others once they put a file in: it stays, and is no longer
    /// recorded. With the last root removed, that is every directory that holds nothing of ours.
    fn give_up_directories(
        &mut self,
        after: &View,
        next: &State,
        records: &mut BTreeMap<String, PathRecord>,
    ) -> Result<()> {
        let was_to_go = |path: &String| {
            let is = |change: &plan::PlannedChange| change.path == *path && change.to == Node::Absent;
            self.plan.changes().any(is) || next.anchors.is_empty()
        };
        let holds = |path: &String, other: &String| {
            other.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mut kept: Vec<String> = Vec::new();
        for (path, record) in records.iter().filter(|(_, record)| record.after == Mark::Directory) {
            let mut of_ours = records.iter().filter(|(_, other)| !other.is_of_directory());
            let needed = of_ours.any(|(other, _)| holds(path, other))
                || next.added.keys().any(|store| holds(path, store));
            let made = record.before == Saved::Absent;
            if made && !needed && was_to_go(path) && *after.actual(path)? != Node::Absent {
                kept.push(path.clone());
            }
        }
        records.retain(|path, _| !kept.contains(path));
        for path in &kept {
            if !kept.iter().any(|other| other != path && holds(path, other)) {
                self.warnings.push(format!(
                    "`{}` is kept: it holds files that trustup did not create",
                    self.view.sysroot().display(path)
                ));
            }
        }
        Ok(())
    }

    /// Reports what is not as it was before, and why.
    fn explain(
        &mut self,
        state: &State,
        records: &BTreeMap<String, PathRecord>,
        special: &BTreeMap<String, u32>,
    ) {
        let sysroot = self.view.sysroot();
        for (path, former) in state.records.iter().filter(|(_, former)| former.special != 0) {
            if !records.contains_key(path)
                && let Saved::File { mode, .. } = former.before
            {
                let (path, mode) = (sysroot.display(path), mode | former.special);
                self.warnings.push(format!(
                    "`{path}` had set-id bits before trustup changed it, and they are not restored; `chmod {mode:04o} {path}` sets them"
                ));
            }
        }
        for (path, note) in self.view.lessened().iter().filter(|(path, _)| !records.contains_key(*path)) {
            self.warnings.push(format!("`{}`: {note}", sysroot.display(path)));
        }
        for path in
            special.keys().filter(|path| state.records.get(*path).is_none_or(|known| known.special == 0))
        {
            let path = sysroot.display(path);
            self.warnings.push(format!("`{path}` had set-id bits; trustup does not keep them"));
        }
        for unclaimed in &state.unclaimed {
            if unclaimed.is_no_store {
                self.warnings.push(format!(
                    "`{}` is left as it is: a change of it is recorded, but it is not a trust store",
                    sysroot.display(&unclaimed.path)
                ));
            } else if let Some(via) = &unclaimed.via {
                self.warnings.push(format!(
                    "`{}` is left as it is: trustup changed it because `{via}` was a link to it, and it no longer is",
                    sysroot.display(&unclaimed.path)
                ));
            }
        }
    }

    /// A file of the stores that held one of our anchors before us and did not change is recorded as it is: the next
    /// run must not treat that certificate as one that we brought.
    fn record_what_had_ours_before(
        &self,
        after: &View,
        records: &mut BTreeMap<String, PathRecord>,
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
                records.insert(path, PathRecord::new(Saved::new(&node, &now)?, mark));
            }
        }
        Ok(())
    }
}

/// A former content with removed roots would be rejected later (threats T34, T38): it is not kept, so that ours are
/// removed from the current content.
fn without_doubtful_content(after: &View, records: &mut BTreeMap<String, PathRecord>) -> Result<()> {
    for (path, record) in records.iter_mut().filter(|(_, record)| matches!(record.before, Saved::File { .. }))
    {
        let Some(before) = record.before.restore(&*after.actual(path)?) else { continue };
        if let Plausibility::Doubted(_) = plausible::judge(after, path, before, &BTreeSet::new())? {
            record.before = record.before.clone().without_content();
        }
    }
    Ok(())
}

/// A node of the built-in updater, with owner and time of the former node: the state can only record whole files.
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
