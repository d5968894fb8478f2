//! Third stage, the chosen stores: keystores and databases beside the family's outputs, with what each should hold.

use super::ReconcileOptions;
use super::accepted_anchors::AcceptedAnchors;
use super::tree_facts::TreeFacts;
use crate::error::Result;
use crate::pki::cert::Certificate;
use crate::random::Seed;
use crate::trust::state::{Status, StoredAnchor};
use crate::trust::stores::{self, EarlierAdditions, Selection, Stores};

/// The stores that the selection finds, as they are now, and what a plan for them needs beside that.
pub(super) struct FoundStores<'a> {
    /// Which stores, and the passwords that open them.
    pub(super) selection: &'a Selection,
    /// The stores; databases are read.
    pub(super) stores: Stores,
    /// For the salts of keystores that are written.
    salts: Seed,
}

/// Finds the stores, and waits for programs that are writing in their databases: the only stage that waits or draws
/// randomness. `None` for a run that maintains no stores.
///
/// # Errors
/// A directory cannot be searched.
pub(super) async fn find_stores<'a>(
    tree: &TreeFacts<'_>,
    options: &ReconcileOptions<'a>,
) -> Result<Option<FoundStores<'a>>> {
    let TreeFacts { state, view, facts, goal, .. } = tree;
    let Some(selection) = options.stores else { return Ok(None) };
    let mut stores = stores::find(view, facts.row.updater, selection, &state.added)?;
    let keeps_roots = goal.anchors.iter().any(StoredAnchor::is_in_stores);
    stores.read_for_plan(view, &state.added, keeps_roots).await?;
    Ok(Some(FoundStores { selection, stores, salts: Seed::draw()? }))
}

/// Plans what the stores should hold. Those that an earlier run changed are maintained even if they are no longer
/// selected.
///
/// # Errors
/// A store that was named cannot be changed.
pub(super) fn choose_stores(
    tree: &TreeFacts,
    found: Option<FoundStores>,
    accepted: &AcceptedAnchors,
) -> Result<Stores> {
    let TreeFacts { state, view, facts, .. } = tree;
    let Some(FoundStores { selection, stores, salts }) = found else {
        return stores::as_they_are(view, &state.added);
    };
    let wanted = stored_roots(&accepted.anchors)?;
    let certificates = state.certificates()?;
    let earlier = EarlierAdditions { added: &state.added, certificates: &certificates };
    stores::plan(view, facts.row.updater, stores, (selection, &salts), &wanted, earlier)
}

/// Every root that is in any store: the certificate, and the name of its anchor.
pub(super) fn stored_roots(anchors: &[StoredAnchor]) -> Result<Vec<(Certificate, String)>> {
    let stored = anchors.iter().filter(|anchor| anchor.status != Status::Recorded);
    stored.map(|anchor| Ok((anchor.certificate()?, anchor.name.clone()))).collect()
}
