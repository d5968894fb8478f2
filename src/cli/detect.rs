//! `trustup detect`: the kind of this root file system, and what bootstrap would use.

use super::options::plain;
use super::output::detect::{DetectListReport, DetectReport, DetectedStore, DistroRow, OsFields};
use super::output::shown_path;
use super::stores::{DATABASES, JAVA_PASSWORD, NSS_PASSWORD, USERS};
use super::{CommandRow, Context, Run};
use crate::error::Result;
use crate::settings::Opt;
use crate::text;
use crate::trust::bootstrap::selection::selection;
use crate::trust::distro::DISTROS;
use crate::trust::facts::{Facts, UpdaterChoice, output_views};
use crate::trust::state::State;
use crate::trust::stores::{self, StorePolicy};
use crate::trust::unknown;
use crate::trust::view::View;

static LIST: Opt<bool> =
    Opt::switch("list").help("List every distribution that trustup knows, and how it is proven");

pub(super) static ROW: CommandRow = CommandRow {
    name: "detect",
    about: "Show what this root file system is: distribution, anchor directory, updater, every trust store",
    after_help: "Examples:
  trustup detect
  trustup --sysroot ./rootfs detect --json
  trustup detect --list",
    options: || vec![LIST.taken(), JAVA_PASSWORD, NSS_PASSWORD, USERS, DATABASES],
    reads_variables: true,
    shape: plain,
    run: Run::AtOnce(run),
};

fn run(context: &Context<'_>) -> Result<u8> {
    if context.settings.is(&LIST) {
        return list(context);
    }
    let trees = context.trees()?;
    let sysroot = &trees.system;
    let state = State::load(sysroot)?;
    let view = View::new(sysroot, state.ours())?;
    let facts = Facts::gather(&view)?;
    let chosen = facts.updater(&view, UpdaterChoice::Auto)?;
    let (updater, updater_why) = (chosen.updater, chosen.why);
    let outputs = output_views(&view, &facts)?;
    let wishes = (StorePolicy::IfThere, StorePolicy::IfThere);
    let selection = selection(context.settings, context.env, &trees, wishes)?;
    let beside = stores::discover_stores(&view, facts.row.updater, &selection, &state.added)?;
    let mut warnings = beside.warnings.clone();
    warnings.extend(unknown::overlooked_tool(&view, &facts)?);
    let held = |path: &str| beside.offers.get(path).map_or(0, |offer| offer.roots.len());
    let anchors = facts.row.updater.anchor_directory().map(|directory| directory.path);
    let release = facts.release.clone().unwrap_or_default();
    let ui = context.ui;
    warnings.iter().for_each(|warning| ui.warn(warning));
    beside.passed_over().iter().for_each(|note| ui.detail(note));
    if ui.json {
        let stores = beside.found.iter().map(|found| DetectedStore {
            path: found.path.clone(),
            kind: found.kind,
            certificates: held(&found.path),
            skipped: found.skipped.clone(),
        });
        ui.result(&DetectReport {
            sysroot: shown_path(sysroot.path()),
            row: facts.row.id,
            name: facts.row.name,
            why: facts.why.clone(),
            os: OsFields {
                id: text::escape(&release.id),
                id_like: release.id_like.iter().map(|id| text::escape(id)).collect(),
                version_id: text::escape(&release.version_id),
            },
            anchor_directory: anchors.map(ToOwned::to_owned),
            updater: updater.kind(),
            updater_why,
            outputs,
            stores: stores.collect(),
        })?;
        return Ok(0);
    }
    ui.data(format!("distribution      {} ({}): {}", facts.row.id, facts.row.name, facts.why))?;
    ui.data(format!("anchor directory  {}", anchors.unwrap_or("none: only bundles are written")))?;
    ui.data(format!("updater           {}: {updater_why}", updater.kind().word()))?;
    for output in outputs {
        let kind = output.kind.words();
        let state = match (&output.damage, output.exists) {
            (Some(damage), _) => format!("damaged: {damage}"),
            (None, true) => format!("{} roots", output.certificates),
            (None, false) => "not there yet".to_owned(),
        };
        let writable = match (output.mounted, output.writable) {
            (true, _) => ", a mount point: never replaced",
            (false, true) => "",
            (false, false) => ", not writable",
        };
        ui.data(format!("output            {} ({kind}): {state}{writable}", output.path))?;
    }
    for found in &beside.found {
        let state = match &found.skipped {
            Some(why) => format!("left alone: {why}"),
            None => format!("{} roots", held(&found.path)),
        };
        ui.data(format!(
            "store             {} ({}): {state}",
            text::escape(&found.path),
            found.kind.words()
        ))?;
    }
    Ok(0)
}

fn list(context: &Context) -> Result<u8> {
    if context.ui.json {
        let rows = DISTROS.iter().map(|row| DistroRow {
            row: row.id,
            name: row.name,
            ids: row.ids,
            proof: row.proof.describe(),
        });
        context.ui.result(&DetectListReport { rows: rows.collect() })?;
        return Ok(0);
    }
    for row in DISTROS {
        context.ui.data(format!("{:<12} {:<36} {}", row.id, row.name, row.proof.describe()))?;
    }
    Ok(0)
}
