//! `trustup demo`: shows, and proves, trustup's work on throwaway root file systems.

use std::ffi::OsString;
use std::path::Path;
use std::pin::Pin;

use super::options::plain;
use super::output::demo::DemoReport;
use super::{CommandRow, Context, Run};
use crate::demo::{self, Stage};
use crate::error::{Error, Result};
use crate::host::env::Env;

pub(super) static ROW: CommandRow = CommandRow {
    name: "demo",
    about: "Show the whole life cycle on throwaway root file systems: a CA, bootstrap, a TLS client before and after, a certificate, its renewal, untrust",
    after_help: "It needs no network, no root rights and no other program, changes nothing on this machine, and ends with a
code other than 0 if any step is not proven.

Examples:
  trustup demo
  trustup demo --json -q",
    options: || vec![],
    reads_variables: true,
    shape: plain,
    run: Run::Waiting(|context| Box::pin(run(context))),
};

async fn run(context: &Context<'_>) -> Result<u8> {
    let ui = context.ui;
    if context.settings.root() != Path::new("/") {
        return Err(Error::usage("the demo uses its own root file systems").hint(
            "omit `--sysroot`; to see what would be done to a root file system, use `--dry-run bootstrap`",
        ));
    }
    // This machine's environment must not affect what the demo shows.
    let env = Env::without_variables();
    let quiet = ui.quiet || ui.json;
    let say = |line: &str| {
        if !quiet {
            ui.say(line);
        }
    };
    let trustup = |arguments: Vec<String>| -> Pin<Box<dyn Future<Output = u8> + '_>> {
        let mut line = vec![OsString::from("trustup")];
        if quiet {
            line.push("--quiet".into());
        }
        line.extend(arguments.into_iter().map(OsString::from));
        Box::pin(super::run(line, &env, context.shutdown, context.children))
    };
    let temporary = context.env.var("TMPDIR").unwrap_or("/tmp");
    let report = demo::run(&env, Path::new(temporary), &Stage { say: &say, trustup: &trustup }).await?;
    let stores: usize = report.systems.iter().map(|system| system.stores.len()).sum();
    say("");
    say(&format!(
        "proven: {} root file systems, {stores} stores trusted the CA and gave it back, a wrong fingerprint was refused, a server with a certificate of the CA was accepted, and the daemon renewed it",
        report.systems.len()
    ));
    ui.result(&DemoReport { changed: false, proven: report })?;
    Ok(0)
}
