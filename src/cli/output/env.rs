//! `trustup env --json` and `trustup env --install --json`.

use serde::Serialize;

use crate::cli::ui::json::JsonReport;
use crate::trust::facts::UpdaterKind;
use crate::trust::plan::StepView;
use crate::trust::reconcile::Gain;

/// The variables for programs that do not read the system store.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct EnvReport<'a> {
    /// The root file system.
    pub(crate) sysroot: String,
    /// The combined bundle.
    pub(crate) bundle: &'a str,
    /// The hashed directory.
    pub(crate) directory: Option<&'a str>,
    /// The file with the one root, for programs that add to their own.
    pub(crate) anchor: Option<&'a str>,
    /// The private store's Java keystore.
    pub(crate) keystore: Option<&'a str>,
    /// The variables.
    pub(crate) variables: Vec<EnvVariable<'a>>,
}

impl JsonReport for EnvReport<'_> {
    const COMMAND: &'static str = "env";
}

/// A variable.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct EnvVariable<'a> {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it is, or is to be.
    pub(crate) value: &'a str,
    /// The programs that read it.
    pub(crate) readers: &'static str,
    /// Whether it is left alone, since the user set it or one that its readers fall back on.
    pub(crate) kept: bool,
    /// The variable that the user set; null where it is to be set.
    pub(crate) kept_for: Option<&'static str>,
}

/// What `--install` did, or with `--dry-run` would do.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct EnvInstallReport<'a> {
    /// The root file system.
    pub(crate) sysroot: String,
    /// The row of the table of distributions.
    pub(crate) row: &'static str,
    /// The updater.
    pub(crate) updater: UpdaterKind,
    /// Whether anything changed; false with `--dry-run`.
    pub(crate) changed: bool,
    /// The file that login shells read.
    pub(crate) file: &'static str,
    /// The steps, in their order.
    pub(crate) plan: &'a [StepView],
    /// Roots that became trusted although this run was not asked for them.
    pub(crate) gained: &'a [Gain],
}

impl JsonReport for EnvInstallReport<'_> {
    const COMMAND: &'static str = "env";
}
