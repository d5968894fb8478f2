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
use crate::trust::facts::Facts;
use crate::trust::reconcile::{Goal, ReconcileOptions, Target, reconcile};
use crate::trust::state::{State, StoredAnchor};
use crate::trust::view::View;

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
    let goes = |anchor: &StoredAnchor| all || given.contains(&anchor.fingerprint);
    let mut before: Vec<StoredAnchor> = Vec::new();
    for sysroot in trees.all() {
        let here = State::load(sysroot)?.anchors;
        before.extend(
            here.into_iter()
                .filter(|anchor| !before.iter().any(|known| known.fingerprint == anchor.fingerprint))
                .collect::<Vec<_>>(),
        );
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
        stamp: context.stamp()?,
        now: context.env.now(),
    };
    let goal = |state: &State, _: &View, _: &Facts| {
        let anchors: Vec<StoredAnchor> =
            state.anchors.iter().filter(|anchor| !goes(anchor)).cloned().collect();
        let mut sources = state.sources.clone();
        for source in sources.values_mut() {
            source
                .fingerprints
                .retain(|fingerprint| anchors.iter().any(|anchor| anchor.fingerprint == *fingerprint));
        }
        // A bundle's record stays while it names roots that were once removed; the others are no longer needed.
        sources.retain(|_, source| !source.fingerprints.is_empty() || !source.removed.is_empty());
        let web_pki = state.web_pki && !anchors.is_empty();
        Ok(Goal {
            anchors,
            sources,
            web_pki,
            profile: state.profile.into(),
            firefox_policy: state.firefox_policy.into(),
            ..Goal::default()
        })
    };
    let outcome = reconcile(&trees.system, options, goal).await?;
    let private = match &trees.private {
        None => None,
        Some(sysroot) => {
            let beneath = trees.beneath()?;
            let private = reconcile(Target { sysroot, beneath: &beneath }, options, goal).await;
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
    let gone: Vec<&StoredAnchor> = before.iter().filter(|anchor| goes(anchor)).collect();
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
