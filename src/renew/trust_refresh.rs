//! The roots of a running container, once: the pipeline of bootstrap runs again with what trustup.toml and variables
//! say, so that a CA's new root arrives before its first certificate does (threat T42).

use std::collections::BTreeSet;

use crate::error::Result;
use crate::host::env::Env;
use crate::net::NetContext;
use crate::pki::fingerprint::Fingerprint;
use crate::process::Children;
use crate::settings::Settings;
use crate::settings::rows::UpdaterChoice;
use crate::trust::bootstrap::install::Done;
use crate::trust::bootstrap::pipeline::Pipeline;
use crate::trust::bootstrap::request::{self, TrustRequest};
use crate::trust::bootstrap::trees::Trees;
use crate::trust::reconcile::AnchorView;
use crate::trust::state::State;

/// What a refresh did.
#[derive(Debug, Default)]
pub(crate) struct Refreshed {
    /// Whether any store changed.
    pub(crate) is_changed: bool,
    /// What changed, one line for each root: every gain and loss (threat T33).
    pub(crate) changes: Vec<String>,
    /// For people.
    pub(crate) warnings: Vec<String>,
    /// A source could not be asked, and what it gave earlier stays.
    pub(crate) is_stale: bool,
}

impl Refreshed {
    /// The changes in one line.
    pub(crate) fn reason(&self) -> String {
        if self.changes.is_empty() { "stores were corrected".to_owned() } else { self.changes.join("; ") }
    }
}

/// Refuses settings with which no refresh is possible. `settings`: command line and environment.
///
/// # Errors
/// trustup.toml cannot be used; no source is configured.
pub(crate) fn check(settings: &Settings, env: &Env) -> Result<()> {
    request_of(settings, env).map(drop)
}

fn request_of(settings: &Settings, env: &Env) -> Result<(Settings, TrustRequest)> {
    let settings = request::settings(settings, env)?;
    let mut request = TrustRequest::from_settings(&settings).map_err(|error| {
        error.hint("`refresh` repeats what `trustup bootstrap` without options does: `[ca]` and `[trust]` of trustup.toml, or variables, name its sources")
    })?;
    request.sources.ask_again = true;
    // A running container has services that the distribution's program knows nothing of.
    if request.updater == UpdaterChoice::Auto {
        request.updater = UpdaterChoice::Builtin;
    }
    Ok((settings, request))
}

/// Gets the roots again and installs what is new. A source that cannot be reached, and an empty answer, remove nothing.
///
/// # Errors
/// As `trustup bootstrap`; the stores are as before then, unless the error names what changed.
pub(crate) async fn refresh(
    settings: &Settings,
    network: NetContext<'_>,
    children: &Children,
) -> Result<Refreshed> {
    let env = network.env;
    let (settings, request) = request_of(settings, env)?;
    let mut trees = Trees::open(&settings, env)?;
    let pipeline = Pipeline::new(&settings, network, children)?;
    trees.refuse_newer()?;
    let before = recorded(&trees)?;
    let acquired = pipeline.acquire(&request, &trees).await?;
    request.check_name_of(&acquired)?;
    let (done, warning) = pipeline.install(&request, &mut trees, &acquired).await?;
    let outcomes = || done.system.iter().chain(&done.private);
    let of_outcomes = outcomes().flat_map(|outcome| outcome.warnings.iter().cloned());
    let warnings = acquired.warnings.iter().cloned().chain(of_outcomes).chain(warning).collect();
    Ok(Refreshed {
        is_changed: done.changed,
        changes: changes(&done, &before),
        warnings,
        is_stale: acquired.sources.iter().any(|source| !source.fresh),
    })
}

/// The roots that trustup installed.
fn recorded(trees: &Trees) -> Result<BTreeSet<Fingerprint>> {
    let mut recorded = BTreeSet::new();
    for tree in trees.all() {
        recorded.extend(State::load(tree)?.anchors.iter().map(|anchor| anchor.fingerprint));
    }
    Ok(recorded)
}

fn changes(done: &Done, before: &BTreeSet<Fingerprint>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut changes = Vec::new();
    for outcome in done.system.iter().chain(&done.private) {
        let is_new = |anchor: &&AnchorView| !before.contains(&anchor.fingerprint);
        for AnchorView { fingerprint, subject, .. } in outcome.anchors.iter().filter(is_new) {
            if seen.insert(*fingerprint) {
                changes.push(format!("now trusted: {subject} ({fingerprint})"));
            }
        }
        for removed in &outcome.removed {
            if seen.insert(removed.fingerprint) {
                changes.push(format!("no longer trusted: {} ({})", removed.subject, removed.fingerprint));
            }
        }
        for gain in &outcome.gained {
            if seen.insert(gain.fingerprint) {
                let (path, origin) = (&gain.path, &gain.origin);
                changes.push(format!(
                    "now trusted in `{path}`: {} ({}), from {origin}",
                    gain.subject, gain.fingerprint
                ));
            }
        }
    }
    changes
}
