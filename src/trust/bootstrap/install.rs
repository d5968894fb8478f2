//! What bootstrap does with the acquired roots: the goal for the system's stores and, if those cannot be written, for
//! the private one.

use std::collections::{BTreeMap, BTreeSet};

use super::request::TrustRequest;
use super::trees::Trees;
use crate::error::{Error, Result};
use crate::pki::cert::anchor_name;
use crate::pki::fingerprint::Fingerprint;
use crate::settings::rows::Store;
use crate::text;
use crate::trust::distro::PRIVATE;
use crate::trust::facts::{Facts, UpdaterChoice, UpdaterKind};
use crate::trust::plan::{StepAction, StepView};
use crate::trust::reconcile::{
    AnchorOutcome, AnchorView, Extra, Goal, Outcome, ReconcileOptions, Skipped, Target, reconcile,
};
use crate::trust::source::{Acquired, Known, PreviousSource, SourceReport};
use crate::trust::state::{State, Status, StoredAnchor, StoredSource};
use crate::trust::view::View;

/// What was done to the system, and to the private store.
pub(crate) struct Done {
    pub(crate) system: Option<Outcome>,
    pub(crate) private: Option<Outcome>,
    /// Where the private store is, or would be.
    pub(crate) place: String,
    pub(crate) changed: bool,
}

impl Done {
    /// An error that came after the work was done names the changed paths.
    pub(crate) fn blame(&self, error: Error) -> Error {
        let outcomes = self.system.iter().chain(&self.private);
        outcomes.fold(error, |error, outcome| outcome.blame(error, self.changed && outcome.changed))
    }

    /// Where programs find the roots.
    pub(crate) fn outputs(&self) -> Vec<String> {
        let of_system = |outcome: &Outcome| {
            let stores = outcome.stores.iter().filter(|store| store.skipped.is_none());
            outcome.outputs.iter().cloned().chain(stores.map(|store| store.path.clone())).collect::<Vec<_>>()
        };
        let system = self.system.iter().flat_map(of_system);
        system.chain(self.private.iter().flat_map(|outcome| outcome.outputs.clone())).collect()
    }

    /// What cannot be written in the system.
    pub(crate) fn unwritable(&self) -> &[Skipped] {
        self.system.as_ref().map_or(&[], |system| &system.unwritable)
    }
}

/// The system's stores; the private one if they cannot be written, or if it is what was asked for.
pub(crate) async fn install(
    trees: &mut Trees,
    options: ReconcileOptions<'_>,
    request: &TrustRequest,
    acquired: &Acquired,
) -> Result<Done> {
    let to_system = request.stores != [Store::Private];
    let mut system = None;
    if to_system {
        let goal = |state: &State, view: &View, _: &Facts| goal(state, view, request, acquired);
        let must_write = request.require_system || request.strict;
        let no_place = trees.system.is_host() && !trees.can_be_private();
        if must_write || no_place || trees.records_privately() {
            // Nothing is written before it is clear that everything can be.
            let preview =
                reconcile(&trees.system, ReconcileOptions { dry_run: true, ..options }, goal).await?;
            if must_write && !preview.unwritable.is_empty() {
                return Err(cannot_write(&preview.unwritable, request, trees.system.is_host()));
            }
            if no_place && !preview.unwritable.is_empty() {
                trees.make_private(options.stamp)?;
            }
            if trees.records_privately() && preview.steps.is_empty() && trees.private.is_none() {
                // Every store is already correct: a directory of our own is not worth making.
                system = Some(Outcome { changed: false, ..preview });
            } else if preview.changed && trees.records_privately() && !options.dry_run {
                trees.make_private(options.stamp)?;
            }
        }
        if system.is_none() {
            // A write that the kernel refuses only at that moment fails the run, too, if everything must be written.
            let options =
                ReconcileOptions { leave_unwritable: options.leave_unwritable && !must_write, ..options };
            system = Some(reconcile(&trees.system, options, goal).await?);
        }
    }
    let place = trees.private_path().unwrap_or_default().to_owned();
    let mut done = Done { system, private: None, place, changed: false };
    // Users who have a private store keep using it: it is brought up to date with the system.
    let has_one = trees.private.as_ref().map(State::load).transpose()?.is_some_and(|state| !state.is_empty());
    let needs_one = trees.system.is_host() && !done.unwritable().is_empty();
    if request.stores.contains(&Store::Private) || has_one || needs_one {
        let private = install_privately(trees, options, request, acquired).await;
        done.private = Some(private.map_err(|error| done.blame(error))?);
    }
    let outcomes = [&done.system, &done.private];
    done.changed = !options.dry_run && outcomes.into_iter().flatten().any(|outcome| outcome.changed);
    Ok(done)
}

/// The error of `--require-system` and `--strict`: every path that cannot be written, with a hint for each.
fn cannot_write(unwritable: &[Skipped], request: &TrustRequest, is_host: bool) -> Error {
    let each = |skipped: &Skipped| format!("`{}`: {}", text::escape(&skipped.path), skipped.why);
    let option = if request.require_system { "--require-system" } else { "--strict" };
    let error = Error::failed("the system's stores cannot be written");
    let mut error = match unwritable {
        [only] => error.at(text::escape(&only.path)).because(anyhow::anyhow!("{}", only.why)),
        several => {
            error.because(anyhow::anyhow!("{}", several.iter().map(each).collect::<Vec<_>>().join("; ")))
        }
    };
    let mut hints: Vec<String> = Vec::new();
    for hint in unwritable.iter().map(|skipped| skipped.why.hint()) {
        if !hints.contains(&hint) {
            error = error.hint(hint.clone());
            hints.push(hint);
        }
    }
    let without = if is_host { "the private store is used" } else { "they are skipped with a warning" };
    error.hint(format!("without `{option}` {without}"))
}

async fn install_privately(
    trees: &mut Trees,
    options: ReconcileOptions<'_>,
    request: &TrustRequest,
    acquired: &Acquired,
) -> Result<Outcome> {
    let beneath = trees.beneath()?;
    let goal = |state: &State, view: &View, _: &Facts| {
        goal(state, view, request, acquired).map(|goal| Goal {
            copy: None,
            firefox_policy: Extra::Absent,
            ..goal
        })
    };
    let options = ReconcileOptions {
        updater: UpdaterChoice::Auto,
        leave_unwritable: false,
        stores: None,
        repair: false,
        strict: false,
        ..options
    };
    if options.dry_run && trees.private.is_none() {
        return Ok(preview_private_store(trees, acquired));
    }
    let sysroot = trees.make_private(options.stamp)?;
    Ok(reconcile(Target { sysroot, beneath: &beneath }, options, goal).await?.displayed(sysroot))
}

/// The preview of a private store that does not exist yet: there is no tree to make a plan for.
fn preview_private_store(trees: &Trees, acquired: &Acquired) -> Outcome {
    let path = trees.private_path().unwrap_or_default().to_owned();
    let reason =
        "the private store: one bundle with the system's roots and these, and a hashed directory".to_owned();
    let anchors = acquired.anchors.iter().map(|anchor| AnchorView {
        fingerprint: anchor.certificate.fingerprint(),
        subject: anchor.certificate.subject(),
        source: anchor.source.clone(),
        file: None,
        status: AnchorOutcome::Installed,
    });
    Outcome {
        row: PRIVATE.id,
        updater: (UpdaterKind::Builtin, "a private store has no other".to_owned()),
        changed: true,
        steps: vec![StepView {
            action: StepAction::MakeDirectory,
            path,
            target: None,
            mode: None,
            arguments: None,
            reason,
        }],
        anchors: anchors.collect(),
        outputs: Vec::new(),
        stores: Vec::new(),
        unwritable: Vec::new(),
        gained: Vec::new(),
        removed: Vec::new(),
        warnings: Vec::new(),
        notes: Vec::new(),
    }
}

/// What an earlier run, or the image, brought already: a pin found there needs no request, since the pin is the hash of
/// the certificate wherever it comes from.
pub(crate) fn known(trees: &Trees) -> Result<Known> {
    let mut known = Known::default();
    for sysroot in trees.all() {
        let state = State::load(sysroot)?;
        let view = View::new(sysroot, state.ours())?;
        let facts = Facts::gather(&view)?;
        for output in &facts.outputs {
            for certificate in view.actual_certificates(&output.path).unwrap_or_default() {
                known.certificates.insert(certificate.fingerprint(), certificate);
            }
        }
        for anchor in &state.anchors {
            known.certificates.insert(anchor.fingerprint, anchor.certificate()?);
        }
        known.previous.extend(state.sources.into_iter().map(|(id, source)| {
            (id, PreviousSource { fingerprints: source.fingerprints, removed: source.removed })
        }));
    }
    Ok(known)
}

/// The roots that this run was asked for: those that a fingerprint names, and those that a source gave now. What an
/// earlier run recorded of an unreachable source was asked for then, or is forged (threat T33).
fn asked(request: &TrustRequest, acquired: &Acquired) -> BTreeSet<Fingerprint> {
    let gave = |fingerprint: &Fingerprint| {
        let mut reports = acquired.sources.iter();
        reports.any(|report| report.contacted && report.fresh && report.fingerprints.contains(fingerprint))
    };
    let came = acquired.anchors.iter().map(|anchor| (anchor.certificate.fingerprint(), anchor.pinned));
    let mut asked: BTreeSet<Fingerprint> =
        came.filter(|(fingerprint, pinned)| *pinned || gave(fingerprint)).map(|(one, _)| one).collect();
    if request.with_web_pki {
        asked.extend(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|der| Fingerprint::of(der)));
    }
    asked
}

/// Renames a source that an older version recorded under a former name. If two sources had that name, the one that
/// still gives some of its roots is meant.
fn rename_source(
    report: &SourceReport,
    sources: &mut BTreeMap<String, StoredSource>,
    anchors: &mut [StoredAnchor],
) {
    let Some(former) = report.former_id.as_ref().filter(|_| !sources.contains_key(&report.id)) else {
        return;
    };
    let is_meant = sources.get(former).is_some_and(|stored| {
        let mut gave = stored.fingerprints.iter().chain(&stored.removed);
        gave.any(|one| report.fingerprints.contains(one))
    });
    if !is_meant {
        return;
    }
    if let Some(stored) = sources.remove(former) {
        sources.insert(report.id.clone(), stored);
    }
    for name in anchors.iter_mut().flat_map(|anchor| &mut anchor.sources) {
        if name == former {
            name.clone_from(&report.id);
        }
    }
}

/// What must be trusted afterwards: all that was, except what its bundle no longer holds, and the new roots.
fn goal(state: &State, view: &View, request: &TrustRequest, acquired: &Acquired) -> Result<Goal> {
    // A private store is a system of its own.
    let to_system = request.wants(Store::System) || view.sysroot().is_private();
    let beside = request.wants(Store::Java) || request.wants(Store::Nss);
    let mut anchors = state.anchors.clone();
    let mut sources = state.sources.clone();
    for report in &acquired.sources {
        rename_source(report, &mut sources, &mut anchors);
        let stored = sources.entry(report.id.clone()).or_default();
        stored.replaces |= report.replaces;
        if !report.fresh {
            continue;
        }
        let now = &report.fingerprints;
        let left: Vec<Fingerprint> =
            stored.fingerprints.iter().filter(|one| !now.contains(one)).copied().collect();
        if report.replaces {
            for anchor in anchors.iter_mut().filter(|anchor| left.contains(&anchor.fingerprint)) {
                anchor.sources.retain(|source| *source != report.id);
            }
            stored.removed.extend(left);
            stored.removed.retain(|one| !now.contains(one));
            stored.fingerprints.clone_from(now);
        } else {
            stored.fingerprints.extend(
                now.iter().filter(|one| !stored.fingerprints.contains(one)).copied().collect::<Vec<_>>(),
            );
        }
    }
    for came in &acquired.anchors {
        let fingerprint = came.certificate.fingerprint();
        let name =
            request.anchor_name.as_deref().map_or_else(|| anchor_name(&came.certificate), ToOwned::to_owned);
        let index = match anchors.iter().position(|anchor| anchor.fingerprint == fingerprint) {
            Some(index) => index,
            None => {
                anchors.push(StoredAnchor::new(&came.certificate, name.clone(), came.source.clone()));
                anchors.len() - 1
            }
        };
        let anchor = &mut anchors[index];
        if request.anchor_name.is_some() {
            anchor.name = name;
        }
        anchor.pinned |= came.pinned
            || acquired.sources.iter().any(|report| {
                report.by_pin
                    && report.contacted
                    && report.fresh
                    && report.fingerprints.contains(&fingerprint)
            });
        anchor.status = match anchor.status {
            Status::Recorded | Status::Beside if to_system => Status::Installed,
            Status::Recorded if beside => Status::Beside,
            status => status,
        };
        for report in acquired.sources.iter().filter(|report| report.fingerprints.contains(&fingerprint)) {
            if !anchor.sources.contains(&report.id) {
                anchor.sources.push(report.id.clone());
            }
        }
    }
    anchors.retain(|anchor| !anchor.sources.is_empty());
    // A reused name passes to the new certificate.
    if let (Some(name), Some(came)) = (request.anchor_name.as_deref(), acquired.anchors.first()) {
        let fingerprint = came.certificate.fingerprint();
        anchors.retain(|anchor| anchor.name != name || anchor.fingerprint == fingerprint);
    }
    let copy = request.ca_out.as_ref().map(|path| {
        (path.clone(), acquired.anchors.iter().map(|anchor| anchor.certificate.to_pem()).collect())
    });
    let web_pki = state.web_pki || request.with_web_pki;
    let profile = state.profile.into();
    let firefox_policy = if request.firefox_policy { Extra::Installed } else { state.firefox_policy.into() };
    Ok(Goal { anchors, sources, web_pki, copy, profile, firefox_policy, asked: asked(request, acquired) })
}
