//! The output of each command with `--json`: one struct for each report. `docs/schema/` has a JSON Schema of each, made
//! from these structs (`tests`); their common parts are in [`crate::cli::ui::json`].

pub(super) mod bootstrap;
pub(super) mod certificates;
pub(super) mod config;
pub(super) mod demo;
pub(super) mod detect;
pub(super) mod dev_ca;
pub(super) mod doctor;
pub(super) mod ends;
pub(super) mod enroll;
pub(super) mod env;
pub(super) mod health;
pub(super) mod log;
pub(super) mod renew;
pub(super) mod status;
pub(super) mod token;
pub(super) mod untrust;
pub(super) mod version;

#[cfg(test)]
mod tests;
use std::path::Path;

use crate::text;

/// A path for display: escaped.
pub(super) fn shown_path(path: &Path) -> String {
    text::escape(&path.to_string_lossy())
}
