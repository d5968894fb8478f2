//! `trustup status`: for every anchor and every store, whether the anchor is in it.

use super::ends::{self, Ends, valid_until};
use super::options::plain;
use super::output::shown_path;
use super::output::status::{StatusAnchor, StatusPrivate, StatusReport, StatusStore, StoreKind, StoreState};
use super::stores::{DATABASES, JAVA_PASSWORD, NSS_PASSWORD, USERS};
use super::{CommandRow, Context, Run};
use crate::cli::ui::json::UtcTime;
use crate::error::{Error, ErrorKind, Result};
use crate::pki::cert::{Certificate, Purpose};
use crate::rootfs::tree::Node;
use crate::rootfs::{Sysroot, is_denied};
use crate::text;
use crate::trust::bootstrap::selection::selection;
use crate::trust::bootstrap::trees::{HIDDEN, HIDDEN_HINT, SystemRecord};
use crate::trust::facts::{Facts, output_obstacle};
use crate::trust::firefox_policy;
use crate::trust::reconcile::{describe_doubt, policy_holds};
use crate::trust::state::{State, Status, StoredAnchor};
use crate::trust::stores::{self, Selection, StorePolicy, Stores};
use crate::trust::updater::OutputKind;
use crate::trust::view::View;
use crate::versioned::is_newer;

pub(super) static ROW: CommandRow = CommandRow {
    name: "status",
    about: "Show, for every root that bootstrap installed and every trust store, whether it is there; exit 0 only if all are, and none has ended",
    after_help: "Examples:
  trustup status
  trustup status --within 30d
  trustup --sysroot ./rootfs status --json

The certificates of trustup.toml, of --cert and of published images' variables are shown with their end: the earliest in
the chain. A root or certificate that has ended, or that is not valid yet, is exit 4.",
    options: || ends::options().into_iter().chain([JAVA_PASSWORD, NSS_PASSWORD, USERS, DATABASES]).collect(),
    reads_variables: true,
    shape: plain,
    run: Run::AtOnce(run),
};

/// An anchor, and its state in each store.
struct StoreRow {
    anchor: StoredAnchor,
    certificate: Certificate,
    subject: String,
    stores: Vec<StatusStore>,
}

fn run(context: &Context<'_>) -> Result<u8> {
    let trees = context.trees()?;
    let ui = context.ui;
    let private = match &trees.private {
        Some(sysroot) => {
            let state = State::load(sysroot)?;
            let record = SystemRecord { ours: state.ours(), state, stores: None, is_hidden: false };
            rows(context, sysroot, &record, &[], None)?.1
        }
        None => Vec::new(),
    };
    let record = trees.system_record()?;
    if record.is_hidden && record.state.anchors.is_empty() && private.is_empty() {
        return Err(Error::failed(HIDDEN).at(shown_path(trees.system.path())).hint(HIDDEN_HINT));
    }
    if record.is_hidden {
        ui.warn(format!("{HIDDEN}: {HIDDEN_HINT}"));
    }
    if record.stores.is_some() {
        ui.detail("what root installed is known from its summary; every store was read");
    }
    let wishes = (StorePolicy::IfThere, StorePolicy::IfThere);
    let selection = selection(context.settings, context.env, &trees, wishes)?;
    let (row, system) = rows(context, &trees.system, &record, &private, Some(&selection))?;
    let all = || system.iter().chain(&private);
    // A user who asks whether all is well must be told if nothing was ever installed.
    let mut all_there = all().next().is_some();
    all_there &= all().flat_map(|row| &row.stores).all(|store| store.state.is_good());
    let mut killed = false;
    let mut by_newer = false;
    for sysroot in trees.all() {
        match crate::trust::apply::was_killed(sysroot) {
            Err(error) if is_newer(&error) => {
                ui.warn(format!("{error}; {}", error.hints().join("; ")));
                (killed, by_newer) = (true, true);
            }
            // Root's own directory, of which there is a summary.
            Err(error) if is_denied(&error) && record.stores.is_some() => {}
            was_killed => killed |= was_killed?,
        }
    }
    all_there &= !killed;
    if killed && !by_newer {
        ui.warn("a run was killed half-way; the next `trustup bootstrap` or `trustup untrust` undoes it");
    }
    let in_use = all().filter(|row| row.anchor.status != Status::Recorded);
    let mut roots: Vec<Certificate> = Vec::new();
    for row in in_use {
        if !roots.contains(&row.certificate) {
            roots.push(row.certificate.clone());
        }
    }
    let ends = Ends::of(context, &trees.system, &roots)?;
    ends.warn(context);
    all_there &= ends.are_good();
    if ui.json {
        let private = trees
            .private_path()
            .filter(|_| !private.is_empty())
            .map(|directory| StatusPrivate { directory, anchors: private.iter().map(as_json).collect() });
        ui.result(&StatusReport {
            sysroot: shown_path(trees.system.path()),
            row,
            all_there,
            interrupted: killed,
            anchors: system.iter().map(as_json).collect(),
            private,
            pairs: ends.pairs,
            ends_early: ends.early,
        })?;
    } else {
        for row in all() {
            show(context, row)?;
        }
        ends.show(context)?;
        if all().next().is_none() {
            ui.say("trustup installed no root here");
        }
    }
    Ok(if all_there { 0 } else { ErrorKind::NotTrusted.exit_code() })
}

fn as_json(row: &StoreRow) -> StatusAnchor<'_> {
    StatusAnchor {
        fingerprint: row.anchor.fingerprint,
        subject: &row.subject,
        not_before: UtcTime(row.certificate.not_before()),
        not_after: UtcTime(row.certificate.not_after()),
        status: row.anchor.status,
        file: row.anchor.file.as_deref(),
        sources: &row.anchor.sources,
        stores: &row.stores,
    }
}

fn show(context: &Context, row: &StoreRow) -> Result<()> {
    let ui = context.ui;
    ui.data(format!("{} ({})", row.subject, row.anchor.fingerprint))?;
    let sources: Vec<String> = row.anchor.sources.iter().map(|source| text::escape(source)).collect();
    if !sources.is_empty() {
        ui.data(format!("  from {}", sources.join(", ")))?;
    }
    ui.data(format!("  {}", valid_until(row.certificate.not_after())))?;
    if row.anchor.status == Status::Recorded {
        ui.data("  recorded only: in no store")?;
    }
    for StatusStore { path, kind, state } in &row.stores {
        ui.data(format!("  {:<10} {path} ({})", state.word(), kind.word()))?;
    }
    Ok(())
}

/// The tree's row of the table, its anchors, and their state in each store. A system store that should hold them and
/// cannot be written is not a failure if the private store holds them.
fn rows(
    context: &Context,
    sysroot: &Sysroot,
    record: &SystemRecord,
    private: &[StoreRow],
    selection: Option<&Selection>,
) -> Result<(&'static str, Vec<StoreRow>)> {
    let state = &record.state;
    let view = View::new(sysroot, record.ours.clone())?;
    for (path, why) in view.doubts()? {
        context.ui.warn(describe_doubt(&view, &path, &why));
    }
    let facts = Facts::gather(&view)?;
    let managed = facts.row.updater.is_managed(&view)?;
    let standing = facts.row.updater.standing(&view)?;
    // As seen inside a root file system; a private store's as seen outside.
    let shown = |path: &str| if sysroot.is_private() { sysroot.display(path) } else { path.to_owned() };
    let beside = match selection {
        Some(selection) => stores::discover_stores(&view, facts.row.updater, selection, &state.added)?,
        None => Stores::default(),
    };
    beside.passed_over().iter().for_each(|note| context.ui.detail(note));
    let mut rows = Vec::new();
    for anchor in &state.anchors {
        let certificate = anchor.certificate()?;
        let held_privately = private.iter().any(|row| {
            row.anchor.fingerprint == anchor.fingerprint
                && row
                    .stores
                    .iter()
                    .all(|store| matches!(store.state, StoreState::There | StoreState::LeftOut))
        });
        let mut stores = Vec::new();
        if anchor.status != Status::Recorded {
            for found in &beside.found {
                let offer = beside.offers.get(&found.path);
                let state = match offer.map(|offer| offer.roots.contains_key(&anchor.fingerprint)) {
                    Some(true) => StoreState::There,
                    // It was not requested there.
                    Some(false) if !state.kinds.has(found.kind) => continue,
                    // Another user's, such as a database in the home of whoever asks: root never saw it.
                    Some(false)
                        if record.stores.as_ref().is_some_and(|stores| !stores.contains(&found.path)) =>
                    {
                        continue;
                    }
                    Some(false) if found.kind.refusal(&certificate).is_some() => StoreState::LeftOut,
                    // The private store has a keystore, but no NSS database.
                    Some(false)
                        if held_privately
                            && found.kind == OutputKind::Keystore
                            && state.skipped.contains(&found.path) =>
                    {
                        StoreState::Unwritable
                    }
                    Some(false) => StoreState::Missing,
                    None => StoreState::Skipped,
                };
                stores.push(StatusStore {
                    path: found.path.clone(),
                    kind: StoreKind::Output(found.kind),
                    state,
                });
            }
        }
        if anchor.status.is_in_system() {
            if let Some(path) = &anchor.file {
                let state = match view.follow_actual(path)? {
                    Some((location, node)) if matches!(node.as_ref(), Node::File(_)) => {
                        let is_read = view.contents(&location, &node).offers(&anchor.fingerprint)
                            || standing.iter().any(|(file, certificates)| {
                                file == path && certificates.contains(&certificate)
                            });
                        if is_read { StoreState::There } else { StoreState::Damaged }
                    }
                    // A read-only mount over the anchor directory hides it.
                    _ if held_privately && view.obstacle(path)?.is_some() => StoreState::Unwritable,
                    _ => StoreState::Missing,
                };
                stores.push(StatusStore { path: shown(path), kind: StoreKind::AnchorFile, state });
            }
            for (path, offer) in &facts.offers {
                let hash = offer.kind == Some(OutputKind::HashDirectory);
                // The vendor's own roots must be only where TLS clients read.
                let only_vendor =
                    anchor.status == Status::Vendor && offer.purpose != Some(Purpose::ServerAuth);
                let not_for_this = offer.purpose.is_some_and(|purpose| !certificate.allows(purpose));
                if (hash && !managed && anchor.status != Status::Installed) || only_vendor || not_for_this {
                    continue;
                }
                let kind = offer.kind.unwrap_or(OutputKind::Bundle);
                let state = match (offer.roots.contains_key(&anchor.fingerprint), &offer.damage) {
                    (true, _) => StoreState::There,
                    (false, Some(_)) => StoreState::Damaged,
                    (false, None) if kind.refusal(&certificate).is_some() => StoreState::LeftOut,
                    (false, None)
                        if held_privately
                            && (state.skipped.contains(path)
                                || output_obstacle(&view, kind, path)?.is_some()) =>
                    {
                        StoreState::Unwritable
                    }
                    (false, None) => StoreState::Missing,
                };
                stores.push(StatusStore { path: shown(path), kind: StoreKind::Output(kind), state });
            }
        }
        if state.firefox_policy && anchor.status != Status::Recorded {
            let holds = policy_holds(&view, anchor)?;
            stores.push(StatusStore {
                path: shown(firefox_policy::PATH),
                kind: StoreKind::FirefoxPolicy,
                state: if holds { StoreState::There } else { StoreState::Missing },
            });
        }
        let subject = certificate.subject();
        rows.push(StoreRow { anchor: anchor.clone(), certificate, subject, stores });
    }
    Ok((facts.row.id, rows))
}
