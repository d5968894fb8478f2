//! `trustup status`: for every anchor and every store, whether it is there.

use clap::Args;
use serde_json::json;

use super::Context;
use crate::cert::Purpose;
use crate::error::{Kind, Result};
use crate::state::{State, Status};
use crate::text;
use crate::trust::facts::Facts;
use crate::trust::updater::OutputKind;
use crate::trust::view::View;

/// Show, for every root that bootstrap installed and every trust store, whether it is there; exit 0 only if all are
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trustup status
  trustup --sysroot ./rootfs status --json")]
pub(super) struct StatusArgs {}

pub(super) fn run(context: &Context, _args: &StatusArgs) -> Result<u8> {
    let sysroot = context.sysroot()?;
    let state = State::load(&sysroot)?;
    let view = View::new(&sysroot, state.ours())?;
    let facts = Facts::gather(&view)?;
    let managed = facts.row.updater.is_managed(&view)?;
    let ui = context.ui;
    let mut all_there = true;
    let mut rows = Vec::new();
    for anchor in &state.anchors {
        let certificate = anchor.certificate()?;
        let mut stores = Vec::new();
        if anchor.status != Status::Recorded {
            if let Some(path) = &anchor.file {
                let found = view.actual_certificates(path);
                let there = found
                    .as_ref()
                    .is_some_and(|found| found.iter().any(|one| one.fingerprint() == anchor.fingerprint));
                let word = match (there, found) {
                    (true, _) => "there",
                    (false, Some(_)) => "damaged",
                    (false, None) => "missing",
                };
                stores.push((path.clone(), "anchor-file", word));
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
                let kind = match offer.kind {
                    Some(OutputKind::HashDirectory) => "hash-directory",
                    Some(OutputKind::SignatureList) => "signature-list",
                    Some(OutputKind::Bundle) | None => "bundle",
                };
                let word = match (offer.roots.contains_key(&anchor.fingerprint), &offer.damage) {
                    (_, Some(_)) => "damaged",
                    (true, None) => "there",
                    (false, None) => "missing",
                };
                stores.push((path.clone(), kind, word));
            }
        }
        all_there &= stores.iter().all(|(_, _, word)| *word == "there");
        rows.push((anchor, certificate.subject(), stores));
    }
    // Who asks whether all is well, where nothing was ever done, wants to know that it was not.
    all_there &= !rows.is_empty();
    let killed = crate::apply::was_killed(&sysroot)?;
    all_there &= !killed;
    if killed {
        ui.warn("a run was killed half-way; the next `trustup bootstrap` or `trustup untrust` turns back what it left");
    }
    if ui.json {
        let anchors: Vec<_> = rows
            .iter()
            .map(|(anchor, subject, stores)| {
                json!({
                    "fingerprint": anchor.fingerprint,
                    "subject": subject,
                    "status": anchor.status,
                    "file": anchor.file,
                    "sources": anchor.sources,
                    "stores": stores.iter().map(|(path, kind, word)| json!({"path": path, "kind": kind, "state": word})).collect::<Vec<_>>(),
                })
            })
            .collect();
        ui.result(
            "status",
            json!({ "sysroot": sysroot.path(), "row": facts.row.id, "all_there": all_there, "interrupted": killed, "anchors": anchors }),
        )?;
    } else {
        for (anchor, subject, stores) in &rows {
            ui.data(format!("{subject} ({})", anchor.fingerprint))?;
            let sources: Vec<String> = anchor.sources.iter().map(|source| text::escape(source)).collect();
            ui.data(format!("  from {}", sources.join(", ")))?;
            if anchor.status == Status::Recorded {
                ui.data("  recorded only: in no store")?;
            }
            for (path, kind, word) in stores {
                ui.data(format!("  {word:<8} {path} ({kind})"))?;
            }
        }
        if rows.is_empty() {
            ui.say("trustup installed no root here");
        }
    }
    Ok(if all_there { 0 } else { Kind::NotTrusted.exit_code() })
}
