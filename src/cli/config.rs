//! `trustup config check`: all errors in trustup.toml at once, and what each certificate would do.

use super::options::args;
use super::output::config::{ConfigReport, ConfiguredCertificate};
use super::output::shown_path;
use super::{CommandRow, Context, Run};
use crate::certificate::issue::methods::table;
use crate::cli::ui::json::{ErrorDetails, JsonReport as _};
use crate::cli::ui::{Lost, Ui};
use crate::config_check;
use crate::error::{Error, ErrorKind, Result};
use crate::settings::file::Checked;
use crate::settings::rows::{ALLOW_SHARED_CONFIG, CERT, CONFIG, KEY, NAMES};
use crate::settings::{self, CertificateTable, ConfigFile, DEFAULT, Scope};
use crate::text;

pub(super) static ROW: CommandRow = CommandRow {
    name: "config",
    about: "Check trustup.toml without acting on it",
    after_help: "Examples:
  trustup config check
  trustup config check --config ./trustup.toml --json",
    options: || vec![CONFIG.taken(), ALLOW_SHARED_CONFIG.taken()],
    reads_variables: true,
    shape: |command, own| {
        let check = clap::Command::new("check").about(CHECK).args(args(own));
        command.args(args(own)).subcommand_required(true).arg_required_else_help(true).subcommand(check)
    },
    run: Run::AtOnce(run),
};

const CHECK: &str = "Read it, with its variables and files, and report what each certificate would do and everything that is wrong (exit 2; a missing secret is an error only where no other method of the certificate is complete)";

fn run(context: &Context<'_>) -> Result<u8> {
    let (ui, env) = (context.ui, context.env);
    let checked = settings::check(env, context.settings, Scope::All, &table::variants())?;
    let Some(Checked { file, mut problems }) = checked else {
        ui.say(format!("`{DEFAULT}` does not exist, and no other file is named"));
        ui.result(&ConfigReport { path: None, ok: true, problems: Vec::new(), certificates: Vec::new() })?;
        return Ok(0);
    };
    file.notes.iter().for_each(|note| ui.detail(note));
    let above = |row| super::settings_of(row, env);
    let (of_bootstrap, of_enroll) = (above(&super::bootstrap::ROW)?, above(&super::enroll::ROW)?);
    let found = config_check::inspect(&file, &of_bootstrap, &of_enroll, env)?;
    problems.extend(found.problems);
    let warnings = found.warnings;
    warnings.iter().for_each(|line| ui.warn(line));
    let reported = match ui.json {
        true => ui.result(&as_json(&file, &problems)),
        false => show(ui, &file),
    };
    // Each as a run would report it; the object above contains them, too.
    let mut talk = ui;
    talk.json = false;
    problems.iter().for_each(|error| talk.error(ConfigReport::COMMAND, error));
    reported?;
    Ok(if problems.is_empty() { 0 } else { ErrorKind::Usage.exit_code() })
}

fn methods(one: &CertificateTable) -> Vec<&'static str> {
    one.enroll.iter().map(|entry| entry.word).collect()
}

fn as_json(file: &ConfigFile, problems: &[Error]) -> ConfigReport {
    let certificate = |one: &CertificateTable| {
        let first = |row| one.layer.shown(row).first().cloned().unwrap_or_default();
        ConfiguredCertificate {
            names: one.layer.shown(&NAMES).to_vec(),
            cert: first(&CERT),
            key: first(&KEY),
            methods: methods(one),
            place: one.place.clone(),
        }
    };
    ConfigReport {
        path: Some(shown_path(&file.path)),
        ok: problems.is_empty(),
        problems: problems.iter().map(ErrorDetails::from).collect(),
        certificates: file.certificates.iter().map(certificate).collect(),
    }
}

fn show(ui: Ui, file: &ConfigFile) -> Result<(), Lost> {
    ui.data(text::escape(&file.path.to_string_lossy()))?;
    for one in &file.certificates {
        let methods = methods(one);
        let names = one.layer.shown(&NAMES).join(", ");
        let (cert, key) = (one.layer.shown(&CERT), one.layer.shown(&KEY));
        let ([cert, ..], [key, ..], [_, ..]) = (cert, key, methods.as_slice()) else {
            // Missing values are among the errors.
            continue;
        };
        ui.data(format!("  {names}: {cert} and {key}, by {}", methods.join(", else ")))?;
    }
    if file.certificates.is_empty() {
        ui.data("  no certificate")?;
    }
    Ok(())
}
