//! `trustup untrust`: removes exactly what bootstrap installed.

use super::options::plain;
use super::output::shown_path;
use super::output::untrust::{UntrustPrivate, UntrustReport};
use super::stores::{JAVA_PASSWORD, NSS_PASSWORD};
use super::{CommandRow, Context, Run};
use crate::error::Result;
use crate::pki::fingerprint::Fingerprint;
use crate::settings::rows::{FINGERPRINT, UPDATER};
use crate::settings::{Opt, Reason};
use crate::trust::bootstrap::selection;
use crate::trust::reconcile::{ReconcileOptions, Removal, Target, TrustChange, reconcile};
use crate::trust::state::{State, StoredAnchor};

static ALL: Opt<bool> =
    Opt::switch("all").never(Reason::RemovesTrust).help("Remove every root that trustup installed");

pub(super) static ROW: CommandRow = CommandRow {
    name: "untrust",
    about: "Remove what bootstrap installed; with the last root, everything is as it was before",
    after_help: "Examples:
  trustup untrust --all
  trustup untrust --fingerprint 2f0c…9a
  trustup --sysroot ./rootfs --dry-run untrust --all",
    options: || {
        vec![
            FINGERPRINT.taken_as("Remove the root with this SHA-256 fingerprint (repeatable)"),
            ALL.taken(),
            UPDATER.taken(),
            JAVA_PASSWORD,
            NSS_PASSWORD,
        ]
    },
    reads_variables: false,
    shape: |command, own| {
        plain(command, own).group(clap::ArgGroup::new("which").args(["fingerprint", "all"]).required(true))
    },
    run: Run::Waiting(|context| Box::pin(run(context))),
};

async fn run(context: &Context<'_>) -> Result<u8> {
    let mut trees = context.trees()?;
    trees.refuse_newer()?;
    let (ui, settings) = (context.ui, context.settings);
    let (all, given) = (settings.is(&ALL), settings.all(&FINGERPRINT));
    let removal = if all { Removal::All } else { Removal::Of(given) };
    let system_state = State::load(&trees.system)?;
    let private_state = trees.private.as_ref().map(State::load).transpose()?;
    let mut before: Vec<&StoredAnchor> = Vec::new();
    for anchor in std::iter::once(&system_state).chain(&private_state).flat_map(|state| &state.anchors) {
        if !before.iter().any(|known| known.fingerprint == anchor.fingerprint) {
            before.push(anchor);
        }
    }
    let unknown: Vec<Fingerprint> = given
        .iter()
        .filter(|fingerprint| !before.iter().any(|anchor| anchor.fingerprint == **fingerprint))
        .copied()
        .collect();
    for fingerprint in &unknown {
        ui.warn(format!(
            "trustup did not install {fingerprint}: nothing to remove; `trustup status` lists what it installed"
        ));
    }
    let selection = selection::of_earlier_runs(settings)?;
    let options = ReconcileOptions {
        stores: Some(&selection),
        updater: settings.or_default(&UPDATER),
        before_service: false,
        leave_unwritable: trees.system.is_host(),
        strict: false,
        require_pin: false,
        repair: false,
        dry_run: context.is_dry_run(),
        patience: context.timeout(),
        tool_timeout: context.tool_timeout(),
        children: context.children,
        shutdown: context.shutdown,
        stamp: context.stamp()?,
        now: context.env.now(),
    };
    let change = TrustChange::Remove(removal);
    let target = Target::system(&trees.system, &system_state);
    let outcome = reconcile(target, options, change).await?;
    let private = match trees.private.as_ref().zip(private_state.as_ref()) {
        None => None,
        Some((sysroot, state)) => {
            let beneath = trees.beneath(&outcome.state)?;
            let private = reconcile(Target { sysroot, state, beneath: &beneath }, options, change).await;
            let private =
                private.map_err(|error| outcome.blame(error, outcome.changed && !context.is_dry_run()))?;
            Some(private.displayed(sysroot))
        }
    };
    let outcomes = || std::iter::once(&outcome).chain(&private);
    for outcome in outcomes() {
        for warning in &outcome.warnings {
            ui.warn(warning);
        }
        if context.is_dry_run() || ui.verbose {
            ui.plan(&outcome.steps);
        }
    }
    let changed = !context.is_dry_run() && outcomes().any(|outcome| outcome.changed);
    let place = trees.private_path().unwrap_or_default().to_owned();
    if !context.is_dry_run() {
        trees.tidy(options.stamp)?;
    }
    let gone: Vec<&StoredAnchor> = before.into_iter().filter(|anchor| removal.covers(anchor)).collect();
    let would = if context.is_dry_run() { "would remove" } else { "removed" };
    for anchor in &gone {
        let subject = anchor.certificate().map(|certificate| certificate.subject()).unwrap_or_default();
        ui.say(format!("{would} {subject} ({})", anchor.fingerprint));
    }
    if gone.is_empty() {
        ui.say("nothing to remove");
    }
    ui.result(&UntrustReport {
        sysroot: shown_path(trees.system.path()),
        row: outcome.row,
        updater: outcome.updater.0,
        changed,
        removed: gone.iter().map(|anchor| anchor.fingerprint).collect(),
        unknown,
        anchors: &outcome.anchors,
        plan: &outcome.steps,
        outputs: &outcome.outputs,
        stores: &outcome.stores,
        gained: outcomes().flat_map(|outcome| &outcome.gained).collect(),
        private: private.as_ref().map(|private| UntrustPrivate {
            directory: &place,
            anchors: &private.anchors,
            plan: &private.steps,
        }),
    })
    .map_err(|lost| {
        let error = lost.after_work(changed, "`trustup status` shows the roots that are left");
        outcomes().fold(error, |error, outcome| outcome.blame(error, changed))
    })?;
    Ok(0)
}
