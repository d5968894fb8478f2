//! When roots and certificates end: a part of the reports of `status` and `doctor`.

use serde::Serialize;

use crate::cli::ui::json::UtcTime;

/// A certificate that `enroll` keeps here.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PairEnd {
    /// Its file.
    pub(crate) cert: String,
    /// The subject, for people; null where nothing can be read.
    pub(crate) subject: Option<String>,
    /// From when it works.
    pub(crate) not_before: Option<UtcTime>,
    /// Until when it works: the earliest end in its chain.
    pub(crate) not_after: Option<UtcTime>,
    /// The subject of the intermediate that ends before the leaf.
    pub(crate) limited_by: Option<String>,
    /// Why no end is known.
    pub(crate) problem: Option<String>,
}

/// What a root or certificate is that ends too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EndOf {
    /// A root that trustup installed.
    Root,
    /// A certificate that `enroll` keeps here.
    Certificate,
}

/// Why an end is a reason to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EndReason {
    /// It has ended.
    Ended,
    /// It has not begun.
    NotYetValid,
    /// It ends within the time of `--within`.
    Within,
    /// With `--within`: nothing is there that could end later, or it cannot be read.
    Unknown,
}

/// A root or certificate that has ended, has not begun, or ends within the time of `--within`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct EarlyEnd {
    /// What it is.
    pub(crate) kind: EndOf,
    /// The subject of a root, the file of a certificate.
    pub(crate) name: String,
    /// Why it is here.
    pub(crate) reason: EndReason,
    /// The end of its validity, where that is known.
    pub(crate) not_after: Option<UtcTime>,
}
