//! Anchors that only the state knows (threat T34): an image may ship a state that records a root as installed. One that
//! is in none of the outputs is not installed again; it stays on record, and is reported.

use std::collections::BTreeSet;

use super::goal::ReconcileOptions;
use crate::error::Result;
use crate::pki::fingerprint::Fingerprint;
use crate::text;
use crate::trust::facts::Facts;
use crate::trust::plausible;
use crate::trust::state::{State, Status, StoredAnchor};
use crate::trust::stores;
use crate::trust::updater::OutputKind;
use crate::trust::verify::{self, Side};
use crate::trust::view::View;

/// Sets anchors to [`Status::Recorded`] that this run was not `asked` for and that no output and no store holds.
/// Returns what to report about each.
///
/// # Errors
/// An output or store cannot be read.
pub(super) fn set_aside(
    view: &View,
    facts: &Facts,
    options: &ReconcileOptions,
    state: &State,
    asked: &BTreeSet<Fingerprint>,
    anchors: &mut [StoredAnchor],
) -> Result<Vec<String>> {
    let offered =
        |fingerprint: &Fingerprint| facts.offers.values().any(|offer| offer.roots.contains_key(fingerprint));
    let mut missing: BTreeSet<Fingerprint> = anchors
        .iter()
        .filter(|anchor| anchor.is_in_stores() && !asked.contains(&anchor.fingerprint))
        .map(|anchor| anchor.fingerprint)
        .filter(|fingerprint| !offered(fingerprint))
        .collect();
    // Where an output is damaged, every certificate that can be read in it counts.
    for output in &facts.outputs {
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let held = match output.kind {
            OutputKind::HashDirectory => verify::hashed_certificates(view, Side::Actual, &output.path)?
                .iter()
                .map(crate::pki::cert::Certificate::fingerprint)
                .collect(),
            _ => plausible::present(view, &output.path)?,
        };
        missing.retain(|fingerprint| !held.contains(fingerprint));
    }
    if let (false, Some(selection)) = (missing.is_empty(), options.stores) {
        let found = stores::discover_stores(view, facts.row.updater, selection, &state.added)?;
        missing.retain(|one| !found.offers.values().any(|offer| offer.roots.contains_key(one)));
        // A store that cannot be opened may hold what was installed.
        let closed = found.found.iter().filter(|found| found.skipped.is_some());
        for added in closed.filter_map(|found| state.added.get(&found.path)) {
            missing.retain(|one| !added.contains_key(one));
        }
    }
    let mut warnings = Vec::new();
    for anchor in anchors.iter_mut().filter(|anchor| missing.contains(&anchor.fingerprint)) {
        anchor.status = Status::Recorded;
        anchor.file = None;
        let subject = anchor.certificate()?.subject();
        let sources: Vec<String> =
            anchor.sources.iter().map(|source| format!("`{}`", text::escape(source))).collect();
        warnings.push(format!(
            "{subject} ({}) from {} is recorded as installed, but no trust store holds it: it is not installed again; if it should be trusted, name it in this run (`--ca-file`)",
            anchor.fingerprint,
            sources.join(", ")
        ));
    }
    Ok(warnings)
}

/// The roots that earlier runs installed, as far as the state has them.
///
/// # Errors
/// The state is damaged or forged.
pub(super) fn installed(state: &State) -> Result<BTreeSet<Fingerprint>> {
    let mut installed: BTreeSet<Fingerprint> = state.certificates()?.into_keys().collect();
    if state.web_pki {
        installed.extend(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|der| Fingerprint::of(der)));
    }
    Ok(installed)
}

/// The reports about records whose former content is not accepted, and about modes and owners that are not restored.
///
/// # Errors
/// A recorded path cannot be read.
pub(super) fn doubts(view: &View) -> Result<Vec<String>> {
    let doubts = view.doubts()?.into_iter().map(|(path, why)| describe(view, &path, &why));
    Ok(doubts.collect())
}

/// One record that is not accepted, in words.
pub(crate) fn describe(view: &View, path: &str, why: &str) -> String {
    format!(
        "the record of what `{}` was before trustup is not believed: {why}; only trustup's own roots are removed from it",
        text::escape(&view.sysroot().display(path))
    )
}
