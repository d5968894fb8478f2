//! `trustup detect --json` and `trustup detect --list --json`.

use serde::Serialize;

use crate::cli::ui::json::JsonReport;
use crate::trust::facts::{OutputView, UpdaterKind};
use crate::trust::updater::OutputKind;

/// What a root file system is, and what bootstrap would use.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DetectReport {
    /// The root file system.
    pub(crate) sysroot: String,
    /// The row of the table of distributions (`trustup detect --list`).
    pub(crate) row: &'static str,
    /// What the row is called.
    pub(crate) name: &'static str,
    /// Why this row was chosen.
    pub(crate) why: String,
    /// What os-release says; empty where there is none.
    pub(crate) os: OsFields,
    /// Where anchor files go; null where only bundles are written.
    pub(crate) anchor_directory: Option<String>,
    /// The updater that bootstrap would use.
    pub(crate) updater: UpdaterKind,
    /// Why it would use this updater.
    pub(crate) updater_why: String,
    /// Where programs read the system's roots.
    pub(crate) outputs: Vec<OutputView>,
    /// Java's keystores and NSS databases.
    pub(crate) stores: Vec<DetectedStore>,
}

impl JsonReport for DetectReport {
    const COMMAND: &'static str = "detect";
}

/// What os-release says.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct OsFields {
    /// `ID`.
    pub(crate) id: String,
    /// `ID_LIKE`, the nearest first.
    pub(crate) id_like: Vec<String>,
    /// `VERSION_ID`; empty on rolling distributions.
    pub(crate) version_id: String,
}

/// A store beside the family's own.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DetectedStore {
    /// The keystore, or the directory of the database.
    pub(crate) path: String,
    /// How it is read.
    pub(crate) kind: OutputKind,
    /// How many roots it offers.
    pub(crate) certificates: usize,
    /// Why bootstrap would leave it alone; null where it would not.
    pub(crate) skipped: Option<String>,
}

/// Every distribution that trustup knows.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DetectListReport {
    /// The table of distributions.
    pub(crate) rows: Vec<DistroRow>,
}

impl JsonReport for DetectListReport {
    const COMMAND: &'static str = "detect";
}

/// A row of the table of distributions.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DistroRow {
    /// Its name in `--distribution`.
    pub(crate) row: &'static str,
    /// For people.
    pub(crate) name: &'static str,
    /// The values of os-release's `ID` that it takes.
    pub(crate) ids: &'static [&'static str],
    /// How it is proven.
    pub(crate) proof: String,
}
