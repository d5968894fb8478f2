//! Second stage, the accepted anchors: the status of each, which of them the updater must place, and what is refused.

use std::collections::BTreeSet;

use super::chosen_stores::FoundStores;
use super::tree_facts::TreeFacts;
use super::unwritable::Guard;
use super::{ReconcileOptions, absent};
use crate::error::{Error, Result};
use crate::pki::cert::loadable::{self, Harm};
use crate::pki::cert::{Purpose, signature};
use crate::pki::fingerprint::Fingerprint;
use crate::trust::facts::Facts;
use crate::trust::state::{State, Status, StoredAnchor};
use crate::trust::stores::{self, Selection, StorePolicy};
use crate::trust::updater::{Anchor, BrokenInput, OutputKind, UpdaterInput};
use crate::trust::verify::{self, Side};
use crate::trust::view::View;

/// The anchors of the goal, as this tree accepts them.
pub(super) struct AcceptedAnchors {
    /// Every anchor, with its status.
    pub(super) anchors: Vec<StoredAnchor>,
    /// Those that the updater must place.
    pub(super) wanted: UpdaterInput,
    /// An output from which Java could load nothing, if the distribution's program wrote it.
    pub(super) spoilt_for_java: Option<String>,
    /// What to report to the user.
    pub(super) warnings: Vec<String>,
}

/// Decides what becomes of each anchor of the goal.
///
/// # Errors
/// The distribution refuses all of them; a name is one of its own roots'; a store that was named would not get a root.
pub(super) fn accept_anchors(
    tree: &TreeFacts,
    found: Option<&FoundStores>,
    guard: &Guard,
    options: &ReconcileOptions,
) -> Result<AcceptedAnchors> {
    let TreeFacts { state, view, facts, goal, broken_inputs, .. } = tree;
    let mut anchors = goal.anchors.clone();
    let set_aside = absent::set_aside(view, facts, found, state, &goal.asked, &mut anchors)?;
    let mut wanted = UpdaterInput {
        anchors: Vec::new(),
        web_pki: goal.web_pki,
        date: options.stamp.unwrap_or(options.now),
    };
    refuse_vendor_names(view, facts, &anchors)?;
    let mut warnings = classify_anchors(view, facts, broken_inputs, &mut anchors, &mut wanted)?;
    guard.mark_unplaced(facts, &mut wanted)?;
    let (left_out, spoilt_for_java) = left_out(view, facts, &wanted, options.stores)?;
    warnings.extend(set_aside);
    warnings.extend(absent::doubts(view)?);
    warnings.extend(left_out);
    warnings.extend(passed_over(&wanted, state));
    if !wanted.anchors.is_empty() {
        warnings.extend(broken_inputs.iter().map(BrokenInput::describe));
    }
    Ok(AcceptedAnchors { anchors, wanted, spoilt_for_java, warnings })
}

/// Finds each anchor's status, and which of them the updater must place.
fn classify_anchors(
    view: &View,
    facts: &Facts,
    broken: &[BrokenInput],
    anchors: &mut Vec<StoredAnchor>,
    wanted: &mut UpdaterInput,
) -> Result<Vec<String>> {
    let updater = facts.row.updater;
    let managed = updater.is_managed(view)?;
    let standing = updater.standing(view)?;
    let mut unfit_for_java = BTreeSet::new();
    for anchor in anchors.iter().filter(|anchor| anchor.status.is_in_system()) {
        if OutputKind::Keystore.refusal(&anchor.certificate()?).is_some() {
            unfit_for_java.insert(anchor.fingerprint);
        }
    }
    let trusted = trusted_without_us(view, facts, managed, &unfit_for_java)?;
    let mut warnings = Vec::new();
    let mut refused = BTreeSet::new();
    let refusals = updater.refusals(view)?;
    for anchor in anchors.iter_mut() {
        if !anchor.status.is_in_system() {
            continue;
        }
        let certificate = anchor.certificate()?;
        let fingerprint = anchor.fingerprint;
        let here = standing
            .iter()
            .find(|(_, certificates)| certificates.iter().any(|found| found.fingerprint() == fingerprint))
            .map(|(path, _)| path.clone());
        if let Some(why) = refusals(&certificate) {
            warnings
                .push(format!("the distribution refuses {} ({fingerprint}): {why}", certificate.subject()));
            refused.insert(fingerprint);
            continue;
        }
        // What an output has only from a broken file is lost when a user repairs or removes that file.
        let is_sound = !broken.iter().any(|input| input.certificates.contains(&certificate));
        if is_sound && trusted.as_ref().is_some_and(|trusted| trusted.contains(&fingerprint)) {
            anchor.status = if here.is_some() { Status::Mounted } else { Status::Vendor };
            anchor.file = here;
            continue;
        }
        anchor.status = if here.is_some() { Status::Mounted } else { Status::Installed };
        anchor.file =
            here.clone().or_else(|| updater.anchor_directory().map(|directory| directory.file(&anchor.name)));
        wanted.anchors.push(Anchor {
            certificate,
            name: anchor.name.clone(),
            standing: here,
            unplaced: false,
        });
    }
    anchors.retain(|anchor| !refused.contains(&anchor.fingerprint));
    if anchors.is_empty()
        && let Some(why) = warnings.first()
    {
        return Err(Error::not_trusted(why.clone())
            .hint("remove the certificate from the blocklist if it should be trusted"));
    }
    Ok(warnings)
}

/// The roots that every output holds without us; `None` if there is no output yet. Keystores need not hold those that
/// Java cannot load.
fn trusted_without_us(
    view: &View,
    facts: &Facts,
    managed: bool,
    unfit_for_java: &BTreeSet<Fingerprint>,
) -> Result<Option<BTreeSet<Fingerprint>>> {
    let mut common: Option<BTreeSet<Fingerprint>> = None;
    // A root trusted only for e-mail is not yet a TLS root.
    for output in facts.outputs.iter().filter(|output| output.purpose == Some(Purpose::ServerAuth)) {
        // If no package makes hash links, programs read the bundle.
        if output.kind == OutputKind::HashDirectory && !managed {
            continue;
        }
        let mut offers = verify::offers(view, Side::Original, std::slice::from_ref(output));
        let offer = offers.remove(&output.path).unwrap_or_default();
        let mut roots: BTreeSet<Fingerprint> = offer.roots.into_keys().collect();
        if output.kind == OutputKind::Keystore {
            roots.extend(unfit_for_java);
        }
        common = Some(match common {
            None => roots,
            Some(common) => common.intersection(&roots).copied().collect(),
        });
    }
    Ok(common)
}

/// A name that the vendor's roots have would remove their links (threat T4).
fn refuse_vendor_names(view: &View, facts: &Facts, anchors: &[StoredAnchor]) -> Result<()> {
    let names = facts.row.updater.vendor_names(view)?;
    match anchors.iter().find(|anchor| names.contains(&anchor.name)) {
        None => Ok(()),
        Some(anchor) => Err(Error::usage(format!(
            "`{}` is the name of one of the distribution's own roots",
            anchor.name
        ))
        .hint(
            "give another name with `--name`, or omit `--name`: the name is then made from the subject and the fingerprint",
        )),
    }
}

/// The roots that are omitted from an output of the family's, whose readers could load nothing of it with them (threat
/// T39); and the first output to which the family's own tool would add one nevertheless.
///
/// # Errors
/// That kind of store was named.
fn left_out(
    view: &View,
    facts: &Facts,
    wanted: &UpdaterInput,
    selection: Option<&Selection>,
) -> Result<(Vec<String>, Option<String>)> {
    let (mut warnings, mut by_tool) = (Vec::new(), None);
    for anchor in &wanted.anchors {
        for output in &facts.outputs {
            let Some(why) = output.kind.refusal(&anchor.certificate) else { continue };
            if selection.is_some_and(|selection| selection.java == StorePolicy::Named) {
                let error = stores::left_out_error(&anchor.certificate, &why);
                return Err(error.at(view.sysroot().display(&output.path)));
            }
            warnings.push(stores::left_out_words(output.kind, &output.path, &anchor.certificate, &why));
            if facts.row.updater.native_writes(&output.path) {
                by_tool.get_or_insert_with(|| output.path.clone());
            }
        }
    }
    Ok((warnings, by_tool))
}

/// Reports for each root that is added now which programs skip it while others load it, and whether trustup is one of
/// those.
fn passed_over(wanted: &UpdaterInput, state: &State) -> Vec<String> {
    let is_new = |anchor: &&Anchor| {
        !state.anchors.iter().any(|known| known.fingerprint == anchor.certificate.fingerprint())
    };
    let of_one = |anchor: &Anchor| {
        let alone = loadable::refusals(&anchor.certificate).into_iter();
        let alone = alone.filter(|refusal| refusal.harm == Harm::Root).map(|refusal| {
            format!(
                "programs built on {} do not load {} ({}): {}",
                refusal.library.words(),
                anchor.certificate.subject(),
                anchor.certificate.fingerprint(),
                refusal.why
            )
        });
        let by_trustup = signature::unsupported_key(anchor.certificate.public_key()).map(|how| {
            format!(
                "trustup cannot verify what {} ({}) signed ({how}), so `trustup enroll` gets no certificate from its CA (exit code 5)",
                anchor.certificate.subject(),
                anchor.certificate.fingerprint(),
            )
        });
        alone.chain(by_trustup).collect::<Vec<_>>()
    };
    wanted.anchors.iter().filter(is_new).flat_map(of_one).collect()
}
