//! `trustup untrust --json`.

use serde::Serialize;

use crate::cli::ui::json::JsonReport;
use crate::pki::fingerprint::Fingerprint;
use crate::trust::facts::UpdaterKind;
use crate::trust::plan::StepView;
use crate::trust::reconcile::{AnchorView, Gain, StoreView};

/// What untrust did, or with `--dry-run` would do.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct UntrustReport<'a> {
    /// The root file system.
    pub(crate) sysroot: String,
    /// The row of the table of distributions.
    pub(crate) row: &'static str,
    /// The updater.
    pub(crate) updater: UpdaterKind,
    /// Whether anything changed; false with `--dry-run`.
    pub(crate) changed: bool,
    /// The roots that were removed.
    pub(crate) removed: Vec<Fingerprint>,
    /// The roots that were named and that trustup did not install.
    pub(crate) unknown: Vec<Fingerprint>,
    /// The roots that stay.
    pub(crate) anchors: &'a [AnchorView],
    /// The steps, in their order.
    pub(crate) plan: &'a [StepView],
    /// Where programs read the system's roots.
    pub(crate) outputs: &'a [String],
    /// Java's keystores and NSS databases.
    pub(crate) stores: &'a [StoreView],
    /// Roots that became trusted although this run was not asked for them.
    pub(crate) gained: Vec<&'a Gain>,
    /// The private store; null where there is none.
    pub(crate) private: Option<UntrustPrivate<'a>>,
}

impl JsonReport for UntrustReport<'_> {
    const COMMAND: &'static str = "untrust";
}

/// What was done to the private store.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct UntrustPrivate<'a> {
    /// Where it is.
    pub(crate) directory: &'a str,
    /// The roots that stay.
    pub(crate) anchors: &'a [AnchorView],
    /// The steps, in their order.
    pub(crate) plan: &'a [StepView],
}
