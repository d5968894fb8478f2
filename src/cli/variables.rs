//! Options from the environment: `TRUSTUP_` and the option's name, for every command the same. One mechanism, so that
//! an option has one meaning everywhere; the exceptions are threat T1's. And bootstrap's options from trustup.toml, where
//! command line and environment are silent.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command};

use crate::config::{Scope, load_scope};
use crate::env::Env;
use crate::error::Error;

/// Options that say where certificates come from, or pin them: if the command line names one of them, none of them
/// comes from the environment.
const SOURCES: [&str; 7] =
    ["ca_url", "root_url", "bundle_url", "bundle_sha256", "ca_file", "fingerprint", "ca_root"];
/// Of these, the pins: an empty one is an error, never "no pin".
const PINS: [&str; 2] = ["bundle_sha256", "fingerprint"];
/// Published Dockerfiles' own names, which bootstrap and enroll read.
const PUBLISHED: [&str; 3] = ["CA_URL", "CA_FINGERPRINT", "CA_BUNDLE_URL"];

/// The sources and pins that published Dockerfiles name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PublishedSources {
    /// `CA_URL`.
    pub(super) ca_url: Option<String>,
    /// `CA_FINGERPRINT`: pins only what `CA_URL` brings.
    pub(super) ca_fingerprint: Option<String>,
    /// `CA_BUNDLE_URL`.
    pub(super) bundle_url: Option<String>,
    /// Variables that were set and do not count, because the command line names a source.
    pub(super) ignored: Vec<String>,
    /// The configuration file whose sources do not count, because the command line or the environment names one.
    pub(super) ignored_file: Option<PathBuf>,
}

/// A parsed command line.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) matches: ArgMatches,
    pub(super) sources: PublishedSources,
    /// The ids of the subcommand's options that the command line itself says.
    pub(super) given: Vec<String>,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum Failure {
    Clap(clap::Error),
    Ours(Error),
}

/// Parses `args`, with variables where the command line is silent.
pub(super) fn parse(command: Command, args: &[OsString], env: &Env) -> Result<Parsed, Failure> {
    let plain = command.clone().try_get_matches_from(args).map_err(Failure::Clap)?;
    let Some((name, matches)) = plain.subcommand() else {
        return Ok(Parsed { matches: plain, sources: PublishedSources::default(), given: Vec::new() });
    };
    let given = |id: &str| {
        matches.try_contains_id(id).unwrap_or(false)
            && matches.value_source(id) == Some(ValueSource::CommandLine)
    };
    let names_source = SOURCES.iter().any(|id| given(id));
    // What the environment says, for the file.
    let mut from_variables: Vec<String> = Vec::new();
    let mut sources = PublishedSources::default();
    let mut command = command;
    let name = name.to_owned();
    let globals: Vec<String> = command.get_arguments().map(|arg| arg.get_id().to_string()).collect();
    let Some(subcommand) = command.find_subcommand(&name) else {
        return Ok(Parsed { matches: plain, sources, given: Vec::new() });
    };
    let own: Vec<String> = subcommand.get_arguments().map(|arg| arg.get_id().to_string()).collect();
    let said: Vec<String> = own.iter().filter(|id| given(id)).cloned().collect();
    for id in globals.iter().chain(&own) {
        let is_own = own.contains(id);
        let holder = if is_own { command.find_subcommand(&name) } else { Some(&command) };
        let Some(arg) = holder.and_then(|holder| holder.get_arguments().find(|arg| arg.get_id() == id))
        else {
            continue;
        };
        let Some(long) = arg.get_long().filter(|long| has_variable(&name, long, is_own)) else { continue };
        let variable = format!("TRUSTUP_{}", long.to_uppercase().replace('-', "_"));
        let Some(value) = env.raw(&variable) else { continue };
        if given(id) {
            continue;
        }
        if names_source && SOURCES.contains(&id.as_str()) {
            sources.ignored.push(variable);
            continue;
        }
        if value.is_empty() {
            if PINS.contains(&id.as_str()) {
                return Err(Failure::Ours(empty_pin(&variable)));
            }
            continue;
        }
        let value = if matches!(arg.get_action(), ArgAction::SetTrue) {
            match switch(value) {
                Some(true) => "true",
                Some(false) => continue,
                None => {
                    return Err(Failure::Ours(
                        Error::usage(format!("`{variable}` is neither true nor false"))
                            .hint("set it to 1 or 0, or unset it"),
                    ));
                }
            }
        } else {
            value
        }
        .to_owned();
        from_variables.push(id.clone());
        command = preset(command, is_own.then_some(name.as_str()), id, vec![value]);
    }
    if matches!(name.as_str(), "enroll" | "token") {
        published(env, names_source, &mut sources).map_err(Failure::Ours)?;
    }
    if name == "bootstrap" {
        published(env, names_source, &mut sources).map_err(Failure::Ours)?;
        let sysroot = || matches.get_one::<PathBuf>("sysroot").filter(|_| given("sysroot"));
        let elsewhere = match (sysroot(), env.var("TRUSTUP_SYSROOT")) {
            (Some(path), _) => path.as_os_str() != "/",
            (None, path) => path.is_some_and(|path| path != "/"),
        };
        let file = matches.get_one::<PathBuf>("config").filter(|_| given("config"));
        // What this machine is to trust says nothing of a root file system that lies on it.
        let config = if elsewhere && file.is_none() && env.var("TRUSTUP_CONFIG").is_none() {
            None
        } else {
            load_scope(env, file.map(PathBuf::as_path), Scope::Trust).map_err(Failure::Ours)?
        };
        if let Some(config) = config {
            let published = [&sources.ca_url, &sources.ca_fingerprint, &sources.bundle_url];
            let names_source = names_source
                || from_variables.iter().any(|id| SOURCES.contains(&id.as_str()))
                || published.iter().any(|variable| variable.is_some());
            let options = config.bootstrap_options(!names_source).map_err(Failure::Ours)?;
            if names_source && config.names_sources() {
                sources.ignored_file = Some(config.path);
            }
            for (id, values) in options {
                if !given(id) && !from_variables.iter().any(|variable| variable == id) {
                    let holder = own.iter().any(|own| own == id).then_some(name.as_str());
                    command = preset(command, holder, id, values);
                }
            }
        }
    }
    let matches = command.try_get_matches_from(args).map_err(Failure::Clap)?;
    Ok(Parsed { matches, sources, given: said })
}

/// Gives an option values where the command line gives none: of the subcommand `of`, or of all commands.
fn preset(command: Command, of: Option<&str>, id: &str, values: Vec<String>) -> Command {
    let set = move |arg: clap::Arg| {
        // Of a flag clap shows no default, and takes the wish to hide it for a mistake.
        let hides = arg.get_action().takes_values();
        arg.default_values(values).hide_default_value(hides)
    };
    match of {
        Some(name) => command.mut_subcommand(name, |subcommand| subcommand.mut_arg(id, set)),
        None => command.mut_arg(id, set),
    }
}

/// Whether an option may come from the environment: not what loosens a check, takes trust away or runs a program.
fn has_variable(command: &str, long: &str, is_own: bool) -> bool {
    let loosens = long.starts_with("allow-")
        || matches!(long, "repair" | "force" | "token" | "dns-hook" | "help" | "version");
    // `bootstrap --name` means another thing, and an option's variable means one thing everywhere.
    let ambiguous = is_own && command == "dev-ca" && long == "name";
    !(loosens || ambiguous || is_own && command == "untrust")
}

fn published(env: &Env, names_source: bool, sources: &mut PublishedSources) -> Result<(), Error> {
    if names_source {
        sources
            .ignored
            .extend(PUBLISHED.iter().filter(|name| env.raw(name).is_some()).map(|&name| name.to_owned()));
        return Ok(());
    }
    if env.raw("CA_FINGERPRINT") == Some("") {
        return Err(empty_pin("CA_FINGERPRINT"));
    }
    sources.ca_url = env.var("CA_URL").map(ToOwned::to_owned);
    sources.ca_fingerprint = env.var("CA_FINGERPRINT").map(ToOwned::to_owned);
    sources.bundle_url = env.var("CA_BUNDLE_URL").map(ToOwned::to_owned);
    Ok(())
}

fn empty_pin(variable: &str) -> Error {
    Error::usage(format!("`{variable}` is set, and empty: that pins nothing"))
        .hint(format!("give the build argument (`--build-arg {variable}=…`), or unset the variable"))
}

/// Whether the variable of the flag `name` turns it on, for what is needed before the command line is read.
pub(super) fn is_on(env: &Env, name: &str) -> bool {
    env.var(name).and_then(switch) == Some(true)
}

fn switch(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    /// What each command needs besides options.
    fn line(command: &str) -> Vec<OsString> {
        let rest: &[&str] = match command {
            "token" => &["web.test"],
            "untrust" => &["--all"],
            "config" => &["check"],
            _ => &[],
        };
        ["trustup", command].iter().chain(rest).map(OsString::from).collect()
    }

    /// What the subcommand has, with this variable; `config` is a file that is not the machine's.
    fn matches(command: &str, config: &str, variable: &str, value: &str) -> Option<ArgMatches> {
        let env = Env::fixed([("TRUSTUP_CONFIG", config), (variable, value)], 0);
        let parsed = parse(crate::cli::command(), &line(command), &env).ok()?;
        parsed.matches.subcommand().map(|(_, matches)| matches.clone())
    }

    /// Values of which each option takes one.
    fn values(arg: &Arg, path: &str) -> Vec<String> {
        let pin = "ab".repeat(32);
        let values = [path, "30s", "http-01", "127.0.0.1:80", "0640", "ec-p256", "web.test", &pin];
        let words = arg.get_possible_values();
        let words = words.iter().map(|word| word.get_name().to_owned());
        words.chain(values.map(ToOwned::to_owned)).collect()
    }

    /// clap's own checks of how an option is set count, too: they panic in debug builds.
    #[test]
    fn every_option_of_every_command_can_be_set_by_its_variable() {
        let tree = crate::cli::command();
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("text");
        let mut flags = 0;
        for command in tree.get_subcommands() {
            let name = command.get_name();
            let options = tree.get_arguments().map(|arg| (arg, false));
            for (arg, is_own) in options.chain(command.get_arguments().map(|arg| (arg, true))) {
                let Some(long) = arg.get_long().filter(|long| has_variable(name, long, is_own)) else {
                    continue;
                };
                let id = arg.get_id().as_str();
                let variable = format!("TRUSTUP_{}", long.to_uppercase().replace('-', "_"));
                let with = |value: &str| matches(name, path, &variable, value);
                if matches!(arg.get_action(), ArgAction::SetTrue) {
                    flags += 1;
                    for (value, wanted) in [("1", true), ("0", false)] {
                        let matches = with(value).unwrap_or_else(|| panic!("{name}: {variable}={value}"));
                        assert_eq!(matches.get_flag(id), wanted, "{name}: {variable}={value}");
                    }
                    continue;
                }
                let set = values(arg, path).into_iter().find_map(|value| Some((with(&value)?, value)));
                let (matches, value) = set.unwrap_or_else(|| panic!("{name}: {variable} takes nothing"));
                let has: Vec<_> = matches.get_raw(id).into_iter().flatten().collect();
                assert_eq!(has, [value.as_str()], "{name}: {variable}");
            }
        }
        assert!(flags > 30, "{flags} flags");
    }
}
