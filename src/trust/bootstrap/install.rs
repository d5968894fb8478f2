//! What bootstrap does with the acquired roots: in the system's stores and, if those cannot be written, in the private
//! one.

use super::request::TrustRequest;
use super::trees::Trees;
use crate::error::{Error, Result};
use crate::settings::rows::Store;
use crate::text;
use crate::trust::distro::PRIVATE;
use crate::trust::facts::{Facts, UpdaterChoice, UpdaterKind};
use crate::trust::plan::{StepAction, StepView};
use crate::trust::reconcile::{
    AnchorOutcome, AnchorView, NewTrust, Outcome, ReconcileOptions, Skipped, Target, TrustChange, reconcile,
};
use crate::trust::source::{Acquired, Known, PreviousSource};
use crate::trust::state::State;
use crate::trust::view::View;

/// What was done to the system, and to the private store.
pub(crate) struct Done {
    pub(crate) system: Option<Outcome>,
    pub(crate) private: Option<Outcome>,
    /// What is recorded of the system now.
    pub(crate) system_state: State,
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
    let change = TrustChange::Add(NewTrust {
        acquired,
        anchor_name: request.anchor_name.as_deref(),
        to_system: request.wants(Store::System),
        beside: request.wants(Store::Java) || request.wants(Store::Nss),
        with_web_pki: request.with_web_pki,
        firefox_policy: request.firefox_policy,
        copy: request.ca_out.as_deref(),
    });
    let mut system_state = State::load(&trees.system)?;
    let mut system = None;
    if to_system {
        let must_write = request.require_system || request.strict;
        let no_place = trees.system.is_host() && !trees.can_be_private();
        if must_write || no_place || trees.records_privately() {
            // Nothing is written before it is clear that everything can be.
            let target = Target::system(&trees.system, &system_state);
            let preview = reconcile(target, ReconcileOptions { dry_run: true, ..options }, change).await?;
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
            let target = Target::system(&trees.system, &system_state);
            let outcome = reconcile(target, options, change).await?;
            system_state.clone_from(&outcome.state);
            system = Some(outcome);
        }
    }
    let place = trees.private_path().unwrap_or_default().to_owned();
    let mut done = Done { system, private: None, system_state, place, changed: false };
    // Users who have a private store keep using it: it is brought up to date with the system.
    let private_state = trees.private.as_ref().map(State::load).transpose()?;
    let has_one = private_state.as_ref().is_some_and(|state| !state.is_empty());
    let needs_one = trees.system.is_host() && !done.unwritable().is_empty();
    if request.stores.contains(&Store::Private) || has_one || needs_one {
        let states = (&done.system_state, private_state);
        let private = install_privately(trees, states, options, change, acquired).await;
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
    (system_state, private_state): (&State, Option<State>),
    options: ReconcileOptions<'_>,
    change: TrustChange<'_>,
    acquired: &Acquired,
) -> Result<Outcome> {
    let beneath = trees.beneath(system_state)?;
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
    let state = match private_state {
        Some(state) => state,
        None => State::load(sysroot)?,
    };
    let target = Target { sysroot, state: &state, beneath: &beneath };
    Ok(reconcile(target, options, change).await?.displayed(sysroot))
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
        state: State::default(),
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
