//! `trustup demo --json`.

use serde::Serialize;

use crate::cli::ui::json::JsonReport;
use crate::demo::DemoProof;

/// What the demo proved.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DemoReport {
    /// Always false: the demo uses its own root file systems.
    pub(crate) changed: bool,
    /// What was proven.
    pub(crate) proven: DemoProof,
}

impl JsonReport for DemoReport {
    const COMMAND: &'static str = "demo";
}
