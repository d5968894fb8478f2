//! `trustup config check`: everything that is wrong with trustup.toml at once, and what each certificate would do. It builds
//! the same requests as the runs of bootstrap and enroll.

use serde_json::{Value, json};

use super::options::args;
use super::{CommandRow, Context, EXIT_CODES};
use crate::bootstrap::request as trust_request;
use crate::enroll::methods::table::{self, MethodRow};
use crate::enroll::request::{self, IssueInput, with_ca};
use crate::error::{Error, Kind, Result};
use crate::settings::file::Checked;
use crate::settings::rows::{CERT, CONFIG, KEY, NAMES};
use crate::settings::{self, CertificateTable, ConfigFile, DEFAULT, EntryTable, Scope, Settings};
use crate::text;
use crate::ui::{Lost, Ui};

pub(super) static ROW: CommandRow = CommandRow {
    name: "config",
    about: "Inspect trustup.toml without doing what it says",
    after_help: "Examples:
  trustup config check
  trustup config check --config ./trustup.toml --json",
    options: || vec![CONFIG.taken()],
    reads_variables: true,
    shape: |command, own| {
        let check = clap::Command::new("check").about(CHECK).args(args(own)).after_help(EXIT_CODES);
        command.args(args(own)).subcommand_required(true).arg_required_else_help(true).subcommand(check)
    },
    run,
};

const CHECK: &str = "Read it, with its variables and files, and say what each certificate would do and all that is wrong (exit 2; a missing secret is an error only where no other method of the certificate is complete)";

const COMMAND: &str = "config";

fn run(context: &Context<'_>) -> Result<u8> {
    let (ui, env) = (context.ui, context.env);
    let named = context.settings.get(&CONFIG).map(|path| path.as_path());
    let Some(Checked { file, mut problems }) = settings::check(env, named, Scope::All, &table::variants())?
    else {
        ui.say(format!("there is no `{DEFAULT}`, and no other file is named"));
        ui.result(
            COMMAND,
            json!({ "path": null, "ok": true, "problems": [], "warnings": [], "certificates": [] }),
        )?;
        return Ok(0);
    };
    let mut warnings = Vec::new();
    // What is wrong in itself would be refused for what is missing of it, too.
    if file.is_whole {
        let above = super::settings_of(&super::bootstrap::ROW, env)?;
        let merged = trust_request::with_file(&above, Some(&file));
        match trust_request::check(&merged, &file) {
            None => {}
            Some((error, true)) => problems.push(error),
            Some((error, false)) => warnings.push(format!("bootstrap would refuse this: {error}")),
        }
    }
    let above = super::settings_of(&super::enroll::ROW, env)?;
    let (merged, ca) = with_ca(&above, Some(&file), &mut Vec::new());
    let input = IssueInput { env, settings: &merged, host: None };
    for table in file.certificates.iter().filter(|table| table.is_whole) {
        let made = request::configured(input, table, None, &ca, &mut warnings);
        problems.extend(made.err().map(|error| request::blamed(error, &table.place)));
    }
    for one in &file.certificates {
        let (missing, warned) = secrets(context, one)?;
        problems.extend(missing);
        warnings.extend(warned);
    }
    let reported = match ui.json {
        true => ui.result(COMMAND, as_json(&file, &problems, &warnings)),
        false => show(ui, &file),
    };
    warnings.iter().for_each(|line| ui.warn(line));
    // Each as a run would say it; the object above holds them, too.
    let mut talk = ui;
    talk.json = false;
    problems.iter().for_each(|error| talk.error(COMMAND, error));
    reported?;
    Ok(if problems.is_empty() { 0 } else { Kind::Usage.exit_code() })
}

/// What is wrong with the secrets of a certificate: errors, but where another of its methods has all that it needs. A token
/// that was spent may be gone, and `enroll` goes on.
fn secrets(context: &Context<'_>, one: &CertificateTable) -> Result<(Vec<Error>, Vec<String>)> {
    let mut found = Vec::new();
    let mut complete = Vec::new();
    for entry in &one.enroll {
        let Some(method) = table::by_word(entry.word) else { continue };
        let wrong = request::missing_secrets(method, entry, context.env);
        if wrong.is_empty() && is_complete(method, entry)? {
            complete.push(method.word);
        }
        found.extend(wrong);
    }
    Ok(match complete.first() {
        None => (found, Vec::new()),
        Some(word) => {
            let line = |error| format!("{}: only the method `{word}` can be used now: {error}", one.place);
            (Vec::new(), found.into_iter().map(line).collect())
        }
    })
}

/// Whether what a method needs beside secrets is there.
fn is_complete(method: &MethodRow, entry: &EntryTable) -> Result<bool> {
    (method.is_complete)(&Settings::new([entry.layer.clone()]))
}

fn methods(one: &CertificateTable) -> Vec<&'static str> {
    one.enroll.iter().map(|entry| entry.word).collect()
}

fn as_json(file: &ConfigFile, problems: &[Error], warnings: &[String]) -> Value {
    let certificate = |one: &CertificateTable| {
        let first = |row| one.layer.shown(row).first().cloned().unwrap_or_default();
        json!({
            "names": one.layer.shown(&NAMES),
            "cert": first(&CERT),
            "key": first(&KEY),
            "methods": methods(one),
            "place": one.place,
        })
    };
    json!({
        "path": file.path,
        "ok": problems.is_empty(),
        "problems": problems.iter().map(Ui::fields).collect::<Vec<_>>(),
        "warnings": warnings,
        "certificates": file.certificates.iter().map(certificate).collect::<Vec<_>>(),
    })
}

fn show(ui: Ui, file: &ConfigFile) -> Result<(), Lost> {
    ui.data(text::escape(&file.path.to_string_lossy()))?;
    for one in &file.certificates {
        let methods = methods(one);
        let names = one.layer.shown(&NAMES).join(", ");
        let (cert, key) = (one.layer.shown(&CERT), one.layer.shown(&KEY));
        let ([cert, ..], [key, ..], [_, ..]) = (cert, key, methods.as_slice()) else {
            // What is missing is among the errors.
            continue;
        };
        ui.data(format!("  {names}: {cert} and {key}, by {}", methods.join(", else ")))?;
    }
    if file.certificates.is_empty() {
        ui.data("  no certificate")?;
    }
    Ok(())
}
