//! `trustup status`: for every anchor and every store, whether it is there.

use serde_json::json;

use super::options::plain;
use super::stores::{DATABASES, JAVA_PASSWORD, NSS_PASSWORD, USERS};
use super::{CommandRow, Context};
use crate::bootstrap::selection::selection;
use crate::cert::Purpose;
use crate::converge::{describe_doubt, policy_state};
use crate::error::{Kind, Result};
use crate::rootfs::Sysroot;
use crate::rootfs::tree::Node;
use crate::state::{State, Status, StoredAnchor};
use crate::text;
use crate::trust::facts::{Facts, output_obstacle};
use crate::trust::firefox_policy;
use crate::trust::stores::{self, Selection, Stores, Wish};
use crate::trust::updater::OutputKind;
use crate::trust::view::View;
use crate::versioned::is_newer;

pub(super) static ROW: CommandRow = CommandRow {
    name: "status",
    about: "Show, for every root that bootstrap installed and every trust store, whether it is there; exit 0 only if all are",
    after_help: "Examples:
  trustup status
  trustup --sysroot ./rootfs status --json",
    options: || vec![JAVA_PASSWORD, NSS_PASSWORD, USERS, DATABASES],
    reads_variables: true,
    shape: plain,
    run,
};

/// What is said of a store whose readers could load nothing of it with the root (threat T39).
const LEFT_OUT: &str = "left out";

/// An anchor, and what became of it in each store.
struct Row {
    anchor: StoredAnchor,
    subject: String,
    /// Path, kind, and `there`, `missing`, `damaged`, `unwritable`, `skipped` or `left out`.
    stores: Vec<(String, &'static str, &'static str)>,
}

fn run(context: &Context<'_>) -> Result<u8> {
    let trees = context.trees()?;
    let ui = context.ui;
    let private = match &trees.private {
        Some(sysroot) => rows(context, sysroot, &[], None)?.1,
        None => Vec::new(),
    };
    let wishes = (Wish::IfThere, Wish::IfThere);
    let selection = selection(context.settings, context.env, &trees, wishes)?;
    let (row, system) = rows(context, &trees.system, &private, Some(&selection))?;
    let all = || system.iter().chain(&private);
    // Who asks whether all is well, where nothing was ever done, wants to know that it was not.
    let mut all_there = all().next().is_some();
    all_there &= all()
        .flat_map(|row| &row.stores)
        .all(|(_, _, word)| matches!(*word, "there" | "unwritable" | "skipped" | LEFT_OUT));
    let mut killed = false;
    let mut by_newer = false;
    for sysroot in trees.all() {
        match crate::apply::was_killed(sysroot) {
            Err(error) if is_newer(&error) => {
                ui.warn(format!("{error}; {}", error.hints().join("; ")));
                (killed, by_newer) = (true, true);
            }
            was_killed => killed |= was_killed?,
        }
    }
    all_there &= !killed;
    if killed && !by_newer {
        ui.warn("a run was killed half-way; the next `trustup bootstrap` or `trustup untrust` turns back what it left");
    }
    if ui.json {
        let private = trees.private_path().filter(|_| !private.is_empty()).map(|directory| {
            json!({ "directory": directory, "anchors": private.iter().map(as_json).collect::<Vec<_>>() })
        });
        ui.result(
            "status",
            json!({
                "sysroot": trees.system.path(),
                "row": row,
                "all_there": all_there,
                "interrupted": killed,
                "anchors": system.iter().map(as_json).collect::<Vec<_>>(),
                "private": private,
            }),
        )?;
    } else {
        for row in all() {
            show(context, row)?;
        }
        if all().next().is_none() {
            ui.say("trustup installed no root here");
        }
    }
    Ok(if all_there { 0 } else { Kind::NotTrusted.exit_code() })
}

fn as_json(row: &Row) -> serde_json::Value {
    json!({
        "fingerprint": row.anchor.fingerprint,
        "subject": row.subject,
        "status": row.anchor.status,
        "file": row.anchor.file,
        "sources": row.anchor.sources,
        "stores": row.stores.iter().map(|(path, kind, word)| json!({"path": path, "kind": kind, "state": word})).collect::<Vec<_>>(),
    })
}

fn show(context: &Context, row: &Row) -> Result<()> {
    let ui = context.ui;
    ui.data(format!("{} ({})", row.subject, row.anchor.fingerprint))?;
    let sources: Vec<String> = row.anchor.sources.iter().map(|source| text::escape(source)).collect();
    ui.data(format!("  from {}", sources.join(", ")))?;
    if row.anchor.status == Status::Recorded {
        ui.data("  recorded only: in no store")?;
    }
    for (path, kind, word) in &row.stores {
        ui.data(format!("  {word:<10} {path} ({kind})"))?;
    }
    Ok(())
}

/// The tree's row of the table, its anchors, and what became of them. What the system should hold and cannot be written is no
/// failure where the private store holds it.
fn rows(
    context: &Context,
    sysroot: &Sysroot,
    private: &[Row],
    selection: Option<&Selection>,
) -> Result<(&'static str, Vec<Row>)> {
    let state = State::load(sysroot)?;
    let view = View::new(sysroot, state.ours())?;
    for (path, why) in view.doubts()? {
        context.ui.warn(describe_doubt(&view, &path, &why));
    }
    let facts = Facts::gather(&view)?;
    let managed = facts.row.updater.is_managed(&view)?;
    let standing = facts.row.updater.standing(&view)?;
    // As seen inside a root file system; a private store's are named as a person finds them.
    let shown = |path: &str| if sysroot.is_private() { sysroot.display(path) } else { path.to_owned() };
    let beside = match selection {
        Some(selection) => stores::look(&view, facts.row.updater, selection, &state.added)?,
        None => Stores::default(),
    };
    let mut rows = Vec::new();
    for anchor in &state.anchors {
        let certificate = anchor.certificate()?;
        let held_privately = private.iter().any(|row| {
            row.anchor.fingerprint == anchor.fingerprint
                && row.stores.iter().all(|(_, _, word)| matches!(*word, "there" | LEFT_OUT))
        });
        let mut stores = Vec::new();
        if anchor.status != Status::Recorded {
            for found in &beside.found {
                let offer = beside.offers.get(&found.path);
                let word = match offer.map(|offer| offer.roots.contains_key(&anchor.fingerprint)) {
                    Some(true) => "there",
                    // Nobody asked for it there.
                    Some(false) if !state.kinds.has(found.kind) => continue,
                    Some(false) if found.kind.refusal(&certificate).is_some() => LEFT_OUT,
                    // The private store has a keystore, but no NSS database.
                    Some(false)
                        if held_privately
                            && found.kind == OutputKind::Keystore
                            && state.skipped.contains(&found.path) =>
                    {
                        "unwritable"
                    }
                    Some(false) => "missing",
                    None => "skipped",
                };
                stores.push((found.path.clone(), found.kind.id(), word));
            }
        }
        if anchor.status.is_in_system() {
            if let Some(path) = &anchor.file {
                let word = match view.follow_actual(path)? {
                    Some((location, node)) if matches!(node.as_ref(), Node::File(_)) => {
                        let is_read = view.contents(&location, &node).offers(&anchor.fingerprint)
                            || standing.iter().any(|(file, certificates)| {
                                file == path && certificates.contains(&certificate)
                            });
                        if is_read { "there" } else { "damaged" }
                    }
                    // A read-only mount over the anchor directory hides it.
                    _ if held_privately && view.obstacle(path)?.is_some() => "unwritable",
                    _ => "missing",
                };
                stores.push((shown(path), "anchor-file", word));
            }
            for (path, offer) in &facts.offers {
                let hash = offer.kind == Some(OutputKind::HashDirectory);
                // The vendor's own roots need only be where TLS clients look.
                let only_vendor =
                    anchor.status == Status::Vendor && offer.purpose != Some(Purpose::ServerAuth);
                let not_for_this = offer.purpose.is_some_and(|purpose| !certificate.allows(purpose));
                if (hash && !managed && anchor.status != Status::Installed) || only_vendor || not_for_this {
                    continue;
                }
                let kind = offer.kind.unwrap_or(OutputKind::Bundle);
                let word = match (offer.roots.contains_key(&anchor.fingerprint), &offer.damage) {
                    (true, _) => "there",
                    (false, Some(_)) => "damaged",
                    (false, None) if kind.refusal(&certificate).is_some() => LEFT_OUT,
                    (false, None)
                        if held_privately
                            && (state.skipped.contains(path)
                                || output_obstacle(&view, kind, path)?.is_some()) =>
                    {
                        "unwritable"
                    }
                    (false, None) => "missing",
                };
                stores.push((shown(path), kind.id(), word));
            }
        }
        if state.firefox_policy && anchor.status != Status::Recorded {
            stores.push((shown(firefox_policy::PATH), "firefox-policy", policy_state(&view, anchor)?));
        }
        rows.push(Row { anchor: anchor.clone(), subject: certificate.subject(), stores });
    }
    Ok((facts.row.id, rows))
}
