//! The decisions before a plan: each anchor's status, names that must not be taken, and what is left for us to do if
//! the family's own program does the rest. Only reads; the pipeline is in the parent.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::pki::cert::loadable::{self, Harm};
use crate::pki::cert::signature;
use crate::pki::cert::{Certificate, Purpose};
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::split;
use crate::rootfs::tree::Node;
use crate::trust::facts::{Chosen, Facts, UpdaterChoice, UpdaterUsed};
use crate::trust::plan::{Plan, PlannedChange, Step, ToolRun};
use crate::trust::state::{State, Status, StoredAnchor};
use crate::trust::stores::{self, Selection, StorePolicy, Stores};
use crate::trust::updater::{Anchor, BrokenInput, OutputKind, UpdaterInput};
use crate::trust::verify::{self, Offers, Side};
use crate::trust::view::View;

/// Finds each anchor's status, and which of them the updater must place.
pub(super) fn classify_anchors(
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
pub(super) fn refuse_vendor_names(view: &View, facts: &Facts, anchors: &[StoredAnchor]) -> Result<()> {
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

/// The updater to use if input files would spoil an output: only the built-in one can work without their bytes.
///
/// # Errors
/// The distribution's own was asked for, or `--strict`: the error names every such file.
pub(super) fn updater_for_broken_inputs(
    chosen: Chosen,
    broken: &[BrokenInput],
    choice: UpdaterChoice,
    strict: bool,
) -> Result<Chosen> {
    let Some(first) = broken.first() else { return Ok(chosen) };
    let is_native = matches!(chosen.updater, UpdaterUsed::Native(_));
    if strict || (is_native && choice == UpdaterChoice::Native) {
        let what = "an input file would make the distribution's CA bundle unreadable";
        let faults: Vec<String> =
            broken.iter().map(|input| format!("`{}`, {}", input.path, input.fault)).collect();
        return Err(Error::failed(what)
            .at(&first.path)
            .because(anyhow::anyhow!("{}", faults.join("; ")))
            .hint(format!(
                "move `{}` out of that directory; if its root is wanted, give the file with `--ca-file`",
                first.path
            ))
            .hint("`--updater auto` without `--strict` writes a normalized copy into the outputs"));
    }
    let why = format!("`{}`, {}, would spoil the bundle", first.path, first.fault);
    Ok(Chosen { updater: UpdaterUsed::Builtin, why, notable: false })
}

/// With `--strict` an output that programs could not read before is an error.
pub(super) fn refuse_damaged_outputs(view: &View, offers: &Offers) -> Result<()> {
    for (path, offer) in offers {
        if let Some(damage) = &offer.damage {
            return Err(Error::failed("a store of the distribution is damaged, and `--strict` is set")
                .at(view.sysroot().display(path))
                .because(anyhow::anyhow!("{damage}"))
                .hint(
                    "`trustup bootstrap --repair` repairs what it can; `trustup doctor` names what is wrong",
                ));
        }
    }
    Ok(())
}

/// The roots that are omitted from an output of the family's, whose readers could load nothing of it with them (threat
/// T39); and the first output to which the family's own tool would add one nevertheless.
///
/// # Errors
/// That kind of store was named.
pub(super) fn left_out(
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
pub(super) fn passed_over(wanted: &UpdaterInput, state: &State) -> Vec<String> {
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

/// Every root that is in any store: the certificate, and the name of its anchor.
pub(super) fn stored_roots(anchors: &[StoredAnchor]) -> Result<Vec<(Certificate, String)>> {
    let stored = anchors.iter().filter(|anchor| anchor.status != Status::Recorded);
    stored.map(|anchor| Ok((anchor.certificate()?, anchor.name.clone()))).collect()
}

/// The keystores and databases beside the family's outputs. Those that an earlier run changed are maintained even if
/// they are no longer selected.
pub(super) fn plan_stores(
    view: &View,
    facts: &Facts,
    selection: Option<&Selection>,
    anchors: &[StoredAnchor],
    state: &State,
) -> Result<Stores> {
    let Some(selection) = selection else { return stores::as_they_are(view, &state.added) };
    let wanted = stored_roots(anchors)?;
    let known = state.certificates()?;
    stores::plan(view, facts.row.updater, selection, &wanted, &state.added, &known)
}

/// The steps: with the built-in updater every change, with the native one only those that it does not make itself.
pub(super) fn make_plan(
    view: &View,
    facts: &Facts,
    updater: &UpdaterUsed,
    changes: Vec<PlannedChange>,
    stores: &Stores,
) -> Result<Plan> {
    let row = facts.row.updater;
    let (UpdaterUsed::Native(program), Some(tool)) = (updater, row.native()) else {
        return Ok(Plan { steps: changes.into_iter().map(Step::Change).collect() });
    };
    let (by_tool, by_us): (Vec<PlannedChange>, Vec<PlannedChange>) =
        changes.into_iter().partition(|change| row.native_writes(&change.path));
    let mut steps = Vec::new();
    let in_anchors = |change: &PlannedChange| {
        row.anchor_directory().is_some_and(|directory| split(&change.path).0 == directory.path)
    };
    let fresh = by_us.iter().any(|change| in_anchors(change) && change.from != Node::Absent);
    // Directories that we made are removed when the tool has emptied them: `restore_what_the_tool_left`.
    let left_to_the_end = |change: &PlannedChange| {
        !by_tool.is_empty() && matches!((&change.from, &change.to), (Node::Directory { .. }, Node::Absent))
    };
    steps.extend(by_us.into_iter().filter(|change| !left_to_the_end(change)).map(Step::Change));
    if by_tool.is_empty() {
        return Ok(Plan { steps });
    }
    for leftover in tool.leftovers {
        let actual = view.actual(leftover)?;
        if *actual != Node::Absent {
            let reason =
                "a killed run of the distribution's tool left it, and the next one would append to it"
                    .to_owned();
            steps.push(Step::Change(PlannedChange {
                path: (*leftover).to_owned(),
                from: (*actual).clone(),
                to: Node::Absent,
                reason,
                is_copy: false,
            }));
        }
    }
    let arguments = if fresh { tool.fresh_arguments } else { tool.arguments };
    let leftovers = tool.leftovers.iter().map(|&path| path.to_owned()).collect::<Vec<_>>();
    steps.push(Step::Run(ToolRun {
        program: program.clone(),
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        watched: row
            .watched(view)?
            .into_iter()
            // Its hooks may write keystores.
            .chain(stores.paths())
            .filter(|path| !leftovers.contains(path))
            .collect(),
        directories: row.native_directories(),
        leftovers,
        reason: "the distribution's own trust update".to_owned(),
    }));
    Ok(Plan { steps })
}
