//! `trustup bootstrap --json`.

use serde::Serialize;

use crate::cli::ui::json::JsonReport;
use crate::pki::fingerprint::Fingerprint;
use crate::trust::facts::UpdaterKind;
use crate::trust::plan::StepView;
use crate::trust::reconcile::{AnchorView, Gain, RemovedView, StoreView};

/// What bootstrap did, or with `--dry-run` would do.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct BootstrapReport<'a> {
    /// The root file system.
    pub(crate) sysroot: String,
    /// The row of the table of distributions.
    pub(crate) row: &'static str,
    /// The updater.
    pub(crate) updater: UpdaterKind,
    /// Why this updater.
    pub(crate) updater_why: &'a str,
    /// Whether anything changed; false with `--dry-run`.
    pub(crate) changed: bool,
    /// The roots, with what became of each.
    pub(crate) anchors: &'a [AnchorView],
    /// Certificates of the sources that are not trusted.
    pub(crate) left_out: Vec<LeftOutView<'a>>,
    /// The sources.
    pub(crate) sources: Vec<SourceView<'a>>,
    /// The steps, in their order.
    pub(crate) plan: &'a [StepView],
    /// Where programs read the system's roots.
    pub(crate) outputs: &'a [String],
    /// Java's keystores and NSS databases.
    pub(crate) stores: &'a [StoreView],
    /// Paths of the system that cannot be written.
    pub(crate) unwritable: Vec<&'a str>,
    /// The same paths, each with the reason.
    pub(crate) skipped: Vec<UnwritableView<'a>>,
    /// Roots of earlier runs that were removed.
    pub(crate) removed: Vec<&'a RemovedView>,
    /// Roots that became trusted although this run was not asked for them.
    pub(crate) gained: Vec<&'a Gain>,
    /// The private store; null where there is none.
    pub(crate) private: Option<BootstrapPrivate<'a>>,
}

impl JsonReport for BootstrapReport<'_> {
    const COMMAND: &'static str = "bootstrap";
}

/// A certificate of a source that is not trusted.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct LeftOutView<'a> {
    /// SHA-256 of the DER; null where it could not be read.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// The subject, for people; empty where it could not be read.
    pub(crate) subject: &'a str,
    /// The source, or the file within it.
    pub(crate) source: &'a str,
    /// Why it is not trusted.
    pub(crate) reason: &'a str,
}

/// A source of certificates.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SourceView<'a> {
    /// Its name: a masked URL, or a path.
    pub(crate) id: &'a str,
    /// Whether it was asked or read.
    pub(crate) contacted: bool,
    /// Whether its roots are what it gives now, not what an earlier run was given.
    pub(crate) fresh: bool,
    /// Who vouched for it, for people.
    pub(crate) vouched_by: Option<&'a str>,
    /// The proxy that it was asked through, masked.
    pub(crate) proxy: Option<&'a str>,
    /// Whether any of its roots came from the cache (`--cache`).
    pub(crate) cache: bool,
}

/// A path that cannot be written.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct UnwritableView<'a> {
    /// The output, the store, or the directory of anything else.
    pub(crate) path: &'a str,
    /// Why it cannot be written.
    pub(crate) reason: String,
}

/// What was done to the private store.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct BootstrapPrivate<'a> {
    /// Where it is.
    pub(crate) directory: &'a str,
    /// The roots, with what became of each.
    pub(crate) anchors: &'a [AnchorView],
    /// The steps, in their order.
    pub(crate) plan: &'a [StepView],
    /// Where programs read its roots.
    pub(crate) outputs: &'a [String],
}
