//! `trustup status --json`.

use serde::Serialize;

use super::ends::{EarlyEnd, PairEnd};
use crate::cli::ui::json::{JsonReport, UtcTime};
use crate::pki::fingerprint::Fingerprint;
use crate::trust::state::Status;
use crate::trust::updater::OutputKind;

/// For every root that bootstrap installed and every trust store, whether it is there.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct StatusReport<'a> {
    /// The root file system.
    pub(crate) sysroot: String,
    /// The row of the table of distributions.
    pub(crate) row: &'static str,
    /// Whether all is as bootstrap left it, and nothing ends too early; the exit code says the same.
    pub(crate) all_there: bool,
    /// Whether a run was interrupted, and its changes wait to be undone.
    pub(crate) interrupted: bool,
    /// The roots of the system.
    pub(crate) anchors: Vec<StatusAnchor<'a>>,
    /// The private store; null where there is none.
    pub(crate) private: Option<StatusPrivate<'a>>,
    /// The certificates that `enroll` keeps here, as far as trustup.toml, variables and options name them.
    pub(crate) pairs: Vec<PairEnd>,
    /// Roots and certificates that have ended, have not begun, or end within the time of `--within`.
    pub(crate) ends_early: Vec<EarlyEnd>,
}

impl JsonReport for StatusReport<'_> {
    const COMMAND: &'static str = "status";
}

/// The private store.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct StatusPrivate<'a> {
    /// Where it is.
    pub(crate) directory: &'a str,
    /// Its roots.
    pub(crate) anchors: Vec<StatusAnchor<'a>>,
}

/// A root, and what became of it in each store.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct StatusAnchor<'a> {
    /// SHA-256 of the DER.
    pub(crate) fingerprint: Fingerprint,
    /// The subject, for people.
    pub(crate) subject: &'a str,
    /// The beginning of its validity.
    pub(crate) not_before: UtcTime,
    /// The end of its validity.
    pub(crate) not_after: UtcTime,
    /// How it came to be trusted.
    pub(crate) status: Status,
    /// The anchor file.
    pub(crate) file: Option<&'a str>,
    /// The sources that named it.
    pub(crate) sources: &'a [String],
    /// Every store that should hold it.
    pub(crate) stores: &'a [StatusStore],
}

/// A store that should hold a root.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct StatusStore {
    /// Where it is.
    pub(crate) path: String,
    /// What it is.
    pub(crate) kind: StoreKind,
    /// Whether the root is in it.
    pub(crate) state: StoreState,
}

/// What a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StoreKind {
    /// The root's own file in the anchor directory.
    AnchorFile,
    /// Firefox's policy file.
    FirefoxPolicy,
    /// A store that programs read.
    #[serde(untagged)]
    Output(OutputKind),
}

impl StoreKind {
    /// As it is shown to people: the word that JSON has.
    pub(crate) fn word(self) -> &'static str {
        match self {
            StoreKind::AnchorFile => "anchor-file",
            StoreKind::FirefoxPolicy => "firefox-policy",
            StoreKind::Output(kind) => kind.id(),
        }
    }
}

/// Whether a root is in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StoreState {
    /// It is.
    There,
    /// It is not.
    Missing,
    /// The store is damaged.
    Damaged,
    /// The store cannot be written; the private store holds the root.
    Unwritable,
    /// The store is left alone; `trustup detect` says why.
    Skipped,
    /// Its readers could load nothing of the store with this root (threat T39).
    LeftOut,
}

impl StoreState {
    /// As it is shown to people.
    pub(crate) fn word(self) -> &'static str {
        match self {
            StoreState::There => "there",
            StoreState::Missing => "missing",
            StoreState::Damaged => "damaged",
            StoreState::Unwritable => "unwritable",
            StoreState::Skipped => "skipped",
            StoreState::LeftOut => "left out",
        }
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_good(self) -> bool {
        !matches!(self, StoreState::Missing | StoreState::Damaged)
    }
}
