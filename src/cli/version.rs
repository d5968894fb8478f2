//! `trustup version`: what `--version` prints, as a command, and as data with `--json`.

use super::options::plain;
use super::output::version::VersionReport;
use super::{CommandRow, Context, Run};
use crate::error::Result;

pub(super) static ROW: CommandRow = CommandRow {
    name: "version",
    about: "Print the version",
    after_help: "Examples:
  trustup version
  trustup version --json",
    options: Vec::new,
    reads_variables: true,
    shape: plain,
    run: Run::AtOnce(run),
};

fn run(context: &Context<'_>) -> Result<u8> {
    let version = env!("CARGO_PKG_VERSION");
    if context.ui.json {
        context.ui.result(&VersionReport { version })?;
    } else {
        context.ui.data(format!("trustup {version}"))?;
    }
    Ok(0)
}
