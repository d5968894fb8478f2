//! `trustup config check`: everything that is wrong with trustup.toml at once, and what each certificate would do. And
//! `--config`, for the commands that read the file.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::Context;
use super::output::config::{ConfigReport, ConfiguredCertificate};
use super::output::shown_path;
use crate::config::{CertificateConfig, Checked, Config, DEFAULT, Method, Scope, Secret, check};
use crate::error::{Error, Kind, Result};
use crate::rootfs::host;
use crate::text;
use crate::ui::json::{ErrorDetails, JsonReport as _};
use crate::ui::{Lost, Ui};

/// Which file is read.
#[derive(Debug, Default, Args)]
pub(super) struct ConfigArg {
    /// The configuration file [default: /etc/trustup/trustup.toml, if it is there]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

impl ConfigArg {
    /// The file that was named.
    pub(super) fn path(&self) -> Option<&Path> {
        self.config.as_deref()
    }
}

/// Look at trustup.toml without doing what it says
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trustup config check
  trustup config check --config ./trustup.toml --json")]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
    #[command(flatten)]
    file: ConfigArg,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Read it, with its variables and files, and say what each certificate would do and all that is wrong (exit 2; a secret is only
    /// missed where no other method of the certificate is complete)
    Check,
}

pub(super) fn run(context: &Context, args: &ConfigArgs) -> Result<u8> {
    let ConfigCommand::Check = args.command;
    let ui = context.ui;
    let Some(Checked { config, mut problems }) = check(context.env, args.file.path(), Scope::All)? else {
        ui.say(format!("there is no `{DEFAULT}`, and no other file is named"));
        ui.result(&ConfigReport { path: None, ok: true, problems: Vec::new(), certificates: Vec::new() })?;
        return Ok(0);
    };
    // No error of the file: enroll may know the root from an earlier bootstrap, and variables may say whom to trust.
    let unpinned = if problems.is_empty() { config.bootstrap_options(true).err() } else { None };
    let mut warnings: Vec<String> =
        unpinned.iter().map(|error| format!("bootstrap would refuse this: {error}")).collect();
    for one in &config.certificates {
        let (missing, warned) = secrets(one)?;
        problems.extend(missing);
        warnings.extend(warned);
    }
    warnings.iter().for_each(|line| ui.warn(line));
    let reported = match ui.json {
        true => ui.result(&as_json(&config, &problems)),
        false => show(ui, &config),
    };
    // Each as a run would say it; the object above holds them, too.
    let mut talk = ui;
    talk.json = false;
    problems.iter().for_each(|error| talk.error(ConfigReport::COMMAND, error));
    reported?;
    Ok(if problems.is_empty() { 0 } else { Kind::Usage.exit_code() })
}

/// What is wrong with the secrets of a certificate: errors, but where another of its methods has all that it needs. A token
/// that was spent may be gone, and `enroll` goes on.
fn secrets(one: &CertificateConfig) -> Result<(Vec<Error>, Vec<String>)> {
    let wrong = |method: &Method| -> Vec<Error> {
        let read = |secret: &&Secret| Some(named(secret.read().err()?, secret));
        method.secrets().iter().filter_map(read).collect()
    };
    let found: Vec<Vec<Error>> = one.enroll.iter().map(wrong).collect();
    let mut complete = Vec::new();
    for (method, wrong) in one.enroll.iter().zip(&found) {
        if wrong.is_empty() && has_its_files(method)? {
            complete.push(method.word());
        }
    }
    let found = found.into_iter().flatten();
    Ok(match complete.first() {
        None => (found.collect(), Vec::new()),
        Some(word) => {
            let line = |error| format!("{}: only the method `{word}` can be used now: {error}", one.place);
            (Vec::new(), found.map(line).collect())
        }
    })
}

/// Whether what a method needs beside secrets is there. Where `enroll` finds a token that the file does not name is seen
/// only then.
fn has_its_files(method: &Method) -> Result<bool> {
    Ok(match method {
        Method::Token { token } => token.is_some(),
        Method::X5c { cert, key, .. } => host::stat(cert)?.is_some() && host::stat(key)?.is_some(),
        Method::Provisioner { key: Some(key), .. } => host::stat(key)?.is_some(),
        Method::Provisioner { key: None, .. } | Method::Acme { .. } => true,
    })
}

/// A file that cannot be read says which key names it.
fn named(error: Error, secret: &Secret) -> Error {
    if secret.path().is_some() { error.hint(format!("`{}_file` names it", secret.name())) } else { error }
}

fn as_json(config: &Config, problems: &[Error]) -> ConfigReport {
    let certificate = |one: &CertificateConfig| ConfiguredCertificate {
        names: one.shown.names.clone(),
        cert: one.shown.cert.clone(),
        key: one.shown.key.clone(),
        methods: one.enroll.iter().map(|method| method.word()).collect(),
        place: one.place.to_string(),
    };
    ConfigReport {
        path: Some(shown_path(&config.path)),
        ok: problems.is_empty(),
        problems: problems.iter().map(ErrorDetails::from).collect(),
        certificates: config.certificates.iter().map(certificate).collect(),
    }
}

fn show(ui: Ui, config: &Config) -> Result<(), Lost> {
    ui.data(text::escape(&config.path.to_string_lossy()))?;
    for one in &config.certificates {
        let methods: Vec<&str> = one.enroll.iter().map(|method| method.word()).collect();
        let names = one.shown.names.join(", ");
        let (cert, key) = (&one.shown.cert, &one.shown.key);
        if one.cert.as_os_str().is_empty() || one.key.as_os_str().is_empty() || methods.is_empty() {
            // What is missing is among the errors.
            continue;
        }
        ui.data(format!("  {names}: {cert} and {key}, by {}", methods.join(", else ")))?;
    }
    if config.certificates.is_empty() {
        ui.data("  no certificate")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::ArgAction;

    /// What `[trust]` takes is what bootstrap takes, but for what loosens a check or belongs to one run.
    #[test]
    fn trust_has_the_options_of_bootstrap() {
        let command = super::super::command();
        let bootstrap = command.find_subcommand("bootstrap").expect("bootstrap");
        let only_here = ["ca_url", "config", "repair", "command"];
        let is_known = |id: &str| crate::config::known().any(|(key, _)| key == id);
        for id in bootstrap.get_arguments().map(|arg| arg.get_id().as_str()) {
            let left_out = only_here.contains(&id) || id.starts_with("allow_");
            assert_eq!(is_known(id), !left_out, "{id}");
        }
        for (key, words) in crate::config::known() {
            let mut all = bootstrap.get_arguments().chain(command.get_arguments());
            let arg = all.find(|arg| arg.get_id() == key).unwrap_or_else(|| panic!("no option {key}"));
            if matches!(arg.get_action(), ArgAction::SetTrue) {
                continue;
            }
            let possible = arg.get_possible_values();
            let possible: Vec<&str> = possible.iter().map(|value| value.get_name()).collect();
            assert_eq!(words.unwrap_or_default(), possible, "{key}");
        }
    }
}
