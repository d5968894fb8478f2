//! Roots that an output gains by a run that was not asked for them (threat T33): a dormant file of the image, an anchor
//! that only the state knows, what the journal of a killed run restores. Compares what outputs offered when the run
//! began with what they offer afterwards; changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Goal, PlannedRun, ReconcileOptions};
use crate::error::{Error, Result};
use crate::pki::cert::{Certificate, Purpose};
use crate::pki::fingerprint::Fingerprint;
use crate::text;
use crate::trust::apply::{self, BroughtBack};
use crate::trust::facts::{Facts, UpdaterUsed};
use crate::trust::plan::PlannedChange;
use crate::trust::plausible;
use crate::trust::state::{State, StoredAnchor};
use crate::trust::stores;
use crate::trust::updater::{Output, OutputKind};
use crate::trust::verify::{self, Offer, Offers, Side};
use crate::trust::view::View;

/// A root that an output gained although this run was not asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Gain {
    /// SHA-256 of the DER.
    pub(crate) fingerprint: Fingerprint,
    /// The subject, for people; the label if the certificate itself cannot be read.
    pub(crate) subject: String,
    /// The output or store.
    pub(crate) path: String,
    /// Where it came from, for people.
    pub(crate) origin: String,
}

/// What outputs and stores offered when the run began.
#[derive(Clone, Debug, Default)]
pub(super) struct Baseline {
    /// By path and resolved path; what did not exist is missing.
    offered: BTreeMap<String, BTreeSet<Fingerprint>>,
    /// What the bundle that programs read first offered; for a private store, what the system beneath it trusts.
    main: BTreeSet<Fingerprint>,
}

impl Baseline {
    /// The baseline before a draft is executed.
    ///
    /// # Errors
    /// An output cannot be read.
    pub(super) fn of(draft: &PlannedRun) -> Result<Self> {
        let (view, facts) = (&draft.view, &draft.facts);
        let mut baseline = Baseline::default();
        let beneath = view.beneath();
        baseline
            .main
            .extend(beneath.roots.iter().chain(beneath.java.iter().flatten()).map(Certificate::fingerprint));
        let mut is_first = baseline.main.is_empty();
        for output in &facts.outputs {
            let Some(offer) = facts.offers.get(&output.path).filter(|offer| offer.exists) else { continue };
            let roots = offered(view, output, offer)?;
            if is_first && output.kind == OutputKind::Bundle && output.purpose == Some(Purpose::ServerAuth) {
                baseline.main.clone_from(&roots);
                is_first = false;
            }
            if let Some((location, _)) = view.follow_actual(&output.path)? {
                baseline.offered.insert(location, roots.clone());
            }
            baseline.offered.insert(output.path.clone(), roots);
        }
        let restored = draft.restored_offers(view);
        for (path, offer) in draft.stores.offers.iter().chain(&restored).filter(|(_, offer)| offer.exists) {
            baseline.offered.insert(path.clone(), offer.roots.keys().copied().collect());
        }
        Ok(baseline)
    }

    /// The roots in `after` that were not offered before and that are neither `asked` for, nor the system's own.
    /// `recorded` are the anchors of earlier runs: only a run that is asked for them adds those to more stores.
    fn compare(
        &self,
        view: &View,
        after: &Offers,
        asked: &BTreeSet<Fingerprint>,
        recorded: &BTreeSet<Fingerprint>,
    ) -> Result<Vec<(Fingerprint, String, String)>> {
        let mut gained = Vec::new();
        for (path, offer) in after {
            let location = view.follow_actual(path)?.map(|(location, _)| location);
            let own = self.offered.get(path).or_else(|| self.offered.get(location.as_ref()?));
            for (root, label) in &offer.roots {
                // A hashed directory indexes what the bundle holds.
                let follows_system =
                    offer.kind == Some(OutputKind::HashDirectory) || !recorded.contains(root);
                let was_there =
                    own.is_some_and(|own| own.contains(root)) || self.main.contains(root) && follows_system;
                if !was_there && !asked.contains(root) {
                    gained.push((*root, label.clone(), path.clone()));
                }
            }
        }
        Ok(gained)
    }
}

/// What programs could find in an output: if it is damaged, what any of them finds.
fn offered(view: &View, output: &Output, offer: &Offer) -> Result<BTreeSet<Fingerprint>> {
    let mut roots: BTreeSet<Fingerprint> = offer.roots.keys().copied().collect();
    if offer.damage.is_some() && output.kind == OutputKind::Bundle {
        roots.extend(plausible::offered(view, &output.path)?);
    }
    Ok(roots)
}

impl PlannedRun<'_> {
    /// What the stores offer that a full `untrust` restores without opening them.
    fn restored_offers(&self, view: &View) -> Offers {
        self.selection
            .map(|selection| stores::offers(view, &self.stores.restored, selection))
            .unwrap_or_default()
    }

    /// The gains that this draft will bring, as far as its changes show: those of the distribution's own program are
    /// those of the built-in updater.
    ///
    /// # Errors
    /// An output cannot be read.
    pub(super) fn foreseen_gains(
        &self,
        baseline: &Baseline,
        state: &State,
        journal: &[BroughtBack],
        options: ReconcileOptions,
    ) -> Result<Vec<Gain>> {
        if !options.dry_run && !options.require_pin || self.changes.is_empty() && journal.is_empty() {
            return Ok(Vec::new());
        }
        let nodes = self.changes.iter().map(|PlannedChange { path, to, .. }| (path.as_str(), to));
        let view = self.view.with(nodes)?;
        let outputs = self.facts.row.updater.outputs(&view)?;
        let mut after = verify::offers(&view, Side::Actual, &outputs);
        if let Some(selection) = self.selection {
            let (databases, others): (Vec<_>, Vec<_>) =
                self.stores.found.iter().cloned().partition(|found| found.kind == OutputKind::NssDatabase);
            after.extend(stores::offers(&view, &others, selection));
            // A database is read from disk; what is added to it is known.
            for found in databases.iter().filter(|found| found.skipped.is_none()) {
                let mut offer = self.stores.offers.get(&found.path).cloned().unwrap_or_default();
                for anchor in self.anchors.iter().filter(|anchor| anchor.is_in_stores()) {
                    offer.roots.insert(anchor.fingerprint, anchor.name.clone());
                }
                after.insert(found.path.clone(), offer);
            }
        }
        let mut gains = self.gains_in(baseline, state, &view, &after, journal)?;
        // What the journal of a killed run restores is not in these files yet.
        for back in journal {
            let is_named = gains.iter().any(|gain| gain.fingerprint == back.fingerprint);
            if !is_named && !self.asked.contains(&back.fingerprint) {
                gains.push(Gain {
                    fingerprint: back.fingerprint,
                    subject: back.subject.clone(),
                    path: back.path.clone(),
                    origin: OF_JOURNAL.to_owned(),
                });
            }
        }
        if options.require_pin { refuse(&gains).map(|()| gains) } else { Ok(gains) }
    }

    /// What the journal of a killed run restores and this run does not remove.
    ///
    /// # Errors
    /// The journal is damaged or forged.
    pub(super) fn journal_gains(
        &self,
        goal: &impl Fn(&State, &View, &Facts) -> Result<Goal>,
    ) -> Result<Vec<BroughtBack>> {
        let Some((former, mut back)) = apply::predicted_recovery(self.view.sysroot())? else {
            return Ok(Vec::new());
        };
        let stays = goal(&former, &self.view, &self.facts)?.anchors;
        back.retain(|back| {
            let is = |anchor: &StoredAnchor| anchor.fingerprint == back.fingerprint;
            !former.anchors.iter().any(is) || stays.iter().any(is)
        });
        Ok(back)
    }

    /// The gains of a run, read back from the nodes `after` it.
    ///
    /// # Errors
    /// An output cannot be read.
    pub(super) fn gains_after(
        &self,
        baseline: &Baseline,
        state: &State,
        (view, mut after): (&View, Offers),
        journal: &[BroughtBack],
        options: ReconcileOptions,
    ) -> Result<Vec<Gain>> {
        after.extend(self.restored_offers(view));
        let gains = self.gains_in(baseline, state, view, &after, journal)?;
        if options.require_pin { refuse(&gains).map(|()| gains) } else { Ok(gains) }
    }

    fn gains_in(
        &self,
        baseline: &Baseline,
        state: &State,
        view: &View,
        after: &Offers,
        journal: &[BroughtBack],
    ) -> Result<Vec<Gain>> {
        let recorded: BTreeSet<Fingerprint> = state.anchors.iter().map(|anchor| anchor.fingerprint).collect();
        let found = baseline.compare(view, after, &self.asked, &recorded)?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let origins = Origins::new(self, state, view, after, journal)?;
        Ok(found
            .into_iter()
            .map(|(fingerprint, label, path)| Gain {
                fingerprint,
                subject: origins.subjects.get(&fingerprint).cloned().unwrap_or(label),
                path,
                origin: origins.of(&fingerprint),
            })
            .collect())
    }
}

/// The warnings for all gains, each root once.
pub(super) fn warnings(gains: &[Gain]) -> Vec<String> {
    let mut by_root: BTreeMap<&Fingerprint, Vec<&Gain>> = BTreeMap::new();
    for gain in gains {
        by_root.entry(&gain.fingerprint).or_default().push(gain);
    }
    let described = by_root.into_values().map(|gains| {
        let paths: Vec<String> = gains.iter().map(|gain| format!("`{}`", text::escape(&gain.path))).collect();
        let Gain { fingerprint, subject, origin, .. } = gains[0];
        format!(
            "a root that this run was not asked for is trusted too: {subject} ({fingerprint}), in {}; it comes from {origin}",
            paths.join(", ")
        )
    });
    described.collect()
}

/// With `--require-pin` every gain is an error.
///
/// # Errors
/// There is one.
pub(super) fn refuse(gains: &[Gain]) -> Result<()> {
    let Some(Gain { path, origin, .. }) = gains.first() else { return Ok(()) };
    let mut named: Vec<String> =
        gains.iter().map(|gain| format!("{} ({})", gain.subject, gain.fingerprint)).collect();
    named.sort();
    named.dedup();
    let mut error = Error::not_trusted(format!(
        "`--require-pin` is set, and this run would also trust {}, which it was not asked for",
        named.join(", ")
    ))
    .at(path)
    .because(anyhow::anyhow!("it comes from {origin}"));
    let mut origins: Vec<&str> = gains.iter().map(|gain| gain.origin.as_str()).collect();
    origins.dedup();
    if origins.contains(&OF_JOURNAL) {
        error = error.hint("`trustup untrust --all` undoes the killed run and removes what trustup added; then run this again");
    }
    if origins.iter().any(|origin| origin.starts_with(OF_RECORD)) {
        error = error.hint("`trustup untrust --fingerprint HEX` removes a root of an earlier run");
    }
    if origins.iter().any(|origin| *origin != OF_JOURNAL && !origin.starts_with(OF_RECORD)) {
        error = error.hint("remove the file that holds it, if it should not be trusted");
    }
    Err(error.hint("if it should be trusted, name its file with `--ca-file` in this run, and its fingerprint with `--fingerprint` after comparing it on the CA's host"))
}

const OF_RECORD: &str = "the record of an earlier run";
const OF_JOURNAL: &str = "the journal of a killed run, which is undone";

/// The possible origins of roots.
struct Origins {
    subjects: BTreeMap<Fingerprint, String>,
    known: BTreeMap<Fingerprint, String>,
    otherwise: String,
}

impl Origins {
    fn new(
        draft: &PlannedRun,
        state: &State,
        after: &View,
        offers: &Offers,
        journal: &[BroughtBack],
    ) -> Result<Self> {
        let (view, updater) = (&draft.view, draft.facts.row.updater);
        let mut subjects = BTreeMap::new();
        let mut known: BTreeMap<Fingerprint, String> =
            journal.iter().map(|back| (back.fingerprint, OF_JOURNAL.to_owned())).collect();
        let mut note = |certificate: &Certificate, origin: Option<String>| {
            let fingerprint = certificate.fingerprint();
            subjects.entry(fingerprint).or_insert_with(|| certificate.subject());
            if let Some(origin) = origin {
                known.entry(fingerprint).or_insert(origin);
            }
        };
        for input in updater.broken_inputs(view)? {
            let origin = format!(
                "the damaged file `{}`, of which the outputs get a normalized copy",
                text::escape(&input.path)
            );
            input.certificates.iter().for_each(|certificate| note(certificate, Some(origin.clone())));
        }
        for (path, offer) in draft.facts.offers.iter().filter(|(_, offer)| offer.damage.is_some()) {
            let origin = format!("a damaged part of `{}`, which is written anew", text::escape(path));
            let certificates = view.actual_certificates(path).unwrap_or_default();
            let lost = certificates.iter().filter(|one| !offer.roots.contains_key(&one.fingerprint()));
            lost.for_each(|certificate| note(certificate, Some(origin.clone())));
        }
        for (path, certificates) in updater.standing(view)? {
            let origin = format!(
                "the anchor file `{}`, which the distribution's trust update had not processed",
                text::escape(&path)
            );
            certificates.iter().for_each(|certificate| note(certificate, Some(origin.clone())));
        }
        for anchor in &state.anchors {
            let sources: Vec<String> =
                anchor.sources.iter().map(|source| format!("`{}`", text::escape(source))).collect();
            let origin = format!("{OF_RECORD}, from {}", sources.join(", "));
            note(&anchor.certificate()?, Some(origin));
        }
        for (path, offer) in offers {
            match offer.kind {
                Some(OutputKind::HashDirectory) => verify::hashed_certificates(after, Side::Actual, path)?
                    .iter()
                    .for_each(|certificate| note(certificate, None)),
                _ => after
                    .actual_certificates(path)
                    .unwrap_or_default()
                    .iter()
                    .for_each(|certificate| note(certificate, None)),
            }
        }
        let otherwise = match &draft.updater.updater {
            UpdaterUsed::Native(program) => format!("`{program}`, from the files of this system"),
            UpdaterUsed::Builtin => {
                "a file of this system that its trust update had not processed".to_owned()
            }
        };
        Ok(Origins { subjects, known, otherwise })
    }

    fn of(&self, fingerprint: &Fingerprint) -> String {
        self.known.get(fingerprint).unwrap_or(&self.otherwise).clone()
    }
}
