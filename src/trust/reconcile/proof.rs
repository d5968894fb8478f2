//! Proof of a run: every output and store read back, and compared with what it offered before.

use std::collections::BTreeMap;

use super::PlannedRun;
use super::draft::stored_roots;
use crate::error::{Error, Result};
use crate::pki::cert::Certificate;
use crate::rootfs::budget;
use crate::trust::facts::{Facts, UpdaterUsed};
use crate::trust::stores;
use crate::trust::verify::{self, Excused, Offers, Side};
use crate::trust::view::View;

impl PlannedRun<'_> {
    /// What to report, and what outputs and stores offer now.
    pub(super) fn verify(&self, after_run: &View) -> Result<(Vec<String>, Offers)> {
        budget::check()?;
        let sysroot = self.view.sysroot();
        let outputs = self.facts.row.updater.outputs(after_run)?;
        let exists = |path: &str| Ok::<bool, Error>(sysroot.stat(path)?.is_some());
        let mut present = Vec::new();
        for output in outputs {
            // Nothing is required of an output that no longer exists: it was removed with the last anchor.
            let asked_for = !self.wanted.anchors.is_empty() && !self.is_skipped(&output.path);
            if asked_for || exists(&output.path)? && self.wanted.anchors.is_empty() {
                present.push(output);
            }
        }
        let mut left_out = BTreeMap::new();
        if matches!(self.updater.updater, UpdaterUsed::Native(_)) {
            let reasons = self.facts.row.updater.left_out(after_run)?;
            for anchor in &self.wanted.anchors {
                let why = reasons(&anchor.certificate);
                left_out.extend(why.map(|why| (anchor.certificate.fingerprint(), why)));
            }
        }
        let mut after = verify::offers(after_run, Side::Actual, &present);
        let excused = Excused {
            original: self.original_offers.clone(),
            withdrawn: self.withdrawn.iter().copied().collect(),
            left_out,
            installed: self.installed.clone(),
        };
        let anchors: Vec<(Certificate, bool)> = self
            .wanted
            .anchors
            .iter()
            .map(|anchor| (anchor.certificate.clone(), anchor.standing.is_none()))
            .collect();
        let mut notes = verify::compare(&self.facts.offers, &after, &anchors, &excused)
            .map_err(|error| blame_inputs(error, after_run, &self.facts))?;
        let (of_stores, offers) = self.verify_stores(after_run)?;
        notes.extend(of_stores);
        after.extend(offers);
        Ok((notes, after))
    }

    fn is_skipped(&self, path: &str) -> bool {
        self.unwritable.iter().any(|skipped| skipped.path == path)
    }

    /// Keystores and databases are compared like the outputs: every root that is in any store must be in all of them.
    fn verify_stores(&self, after: &View) -> Result<(Vec<String>, Offers)> {
        let Some(selection) = self.selection else { return Ok((Vec::new(), Offers::new())) };
        let after = stores::offers(after, &self.stores.found, selection);
        let mut anchors = Vec::new();
        for (certificate, _) in stored_roots(&self.anchors)? {
            anchors.push((certificate, true));
        }
        let excused = Excused {
            original: self.stores.original.clone(),
            installed: self.installed.clone(),
            ..Excused::default()
        };
        let notes = verify::compare(&self.stores.offers, &after, &anchors, &excused)?;
        Ok((notes, after))
    }
}

/// Names the input files that make an output unreadable, if there are any.
fn blame_inputs(error: Error, view: &View, facts: &Facts) -> Error {
    let broken = facts.row.updater.broken_inputs(view).unwrap_or_default();
    broken.iter().fold(error, |error, input| {
        error.hint(format!("repair or remove `{}` ({})", input.path, input.fault))
    })
}
