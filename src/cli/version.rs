//! `trustup version`: what `--version` prints, as a command, and as data with `--json`.

use clap::Args;

use super::Context;
use super::output::version::VersionReport;
use crate::error::Result;

/// Print the version
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trustup version
  trustup version --json")]
pub(super) struct VersionArgs {}

pub(super) fn run(context: &Context, _args: &VersionArgs) -> Result<u8> {
    let version = env!("CARGO_PKG_VERSION");
    if context.ui.json {
        context.ui.result(&VersionReport { version })?;
    } else {
        context.ui.data(format!("trustup {version}"))?;
    }
    Ok(0)
}
