//! The command line: the table of commands, their common options, and the meaning of exit codes. Each command has its
//! own file; none of them prints or reads variables by itself.

mod bootstrap;
mod certificates;
mod config;
mod demo;
mod detect;
mod dev_ca;
mod doctor;
mod ends;
mod enroll;
mod env;
mod health;
mod options;
mod output;
mod renew;
mod status;
mod stores;
#[cfg(test)]
mod tests;
mod timer;
mod token;
pub mod ui;
mod untrust;
mod version;

use std::ffi::OsString;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::ui::{Color, Ui};
use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::host::runtime;
use crate::host::shutdown::Shutdown;
use crate::net::NetContext;
use crate::net::progress::Note;
use crate::process::{self, Children};
use crate::random;
use crate::rootfs::{budget, host};
use crate::settings::rows::{COMMAND, CONFIG, DRY_RUN, LOG_FORMAT, stamp};
use crate::settings::{
    DEFAULT, Layer, Row, Settings, Taken, did_you_mean, from_environment, from_matches, is_on, join, unknown,
};
use crate::text;
use crate::trust::bootstrap::trees::Trees;

use self::options::{COLOR, GLOBAL, JSON, QUIET, VERBOSE};

/// Printed below the help of every command.
const EXIT_CODES: &str = "\
Exit codes:
  0  done, or nothing to do (JSON says `changed`)
  1  failed, nothing changed
  2  usage or bad input
  3  not due
  4  not trusted, or refused by the CA
  5  unsupported here
  6  unreachable or timed out
  7  failed, and the paths named are changed
  126, 127  the command after `--` cannot be executed, or is not there; else its exit code counts

Every option can also be set by a variable: TRUSTUP_ and its name in capitals (--ca-url:
TRUSTUP_CA_URL), but for those that loosen a check (--allow-…, --force, --repair) or run a program
(--dns-hook), and those of untrust.";

const ABOUT: &str = "Takes a container from \"trusts nobody\" to \"serves a fresh certificate\": detects the distribution, fetches a root certificate or bundle, checks its pinned SHA-256, installs it in every trust store and proves it; then gets a certificate from step-ca or any ACME server";

/// One command of trustup.
struct CommandRow {
    name: &'static str,
    about: &'static str,
    /// Examples, and whatever else ends its help.
    after_help: &'static str,
    /// Its own options.
    options: fn() -> Vec<Taken>,
    /// Whether variables set them: not those of a command that removes trust (threat T1).
    reads_variables: bool,
    /// The command with these options, and its other arguments.
    shape: fn(clap::Command, &[Taken]) -> clap::Command,
    run: Run,
}

/// What a command does.
enum Run {
    /// It waits for nothing.
    AtOnce(fn(&Context<'_>) -> Result<u8>),
    /// It waits for servers, locks or programs.
    Waiting(for<'a> fn(&'a Context<'a>) -> Running<'a>),
}

/// A command that runs.
type Running<'a> = Pin<Box<dyn Future<Output = Result<u8>> + 'a>>;

/// All of them, in the order of the help.
static COMMANDS: [&CommandRow; 14] = [
    &detect::ROW,
    &bootstrap::ROW,
    &untrust::ROW,
    &status::ROW,
    &doctor::ROW,
    &env::ROW,
    &token::ROW,
    &enroll::ROW,
    &renew::ROW,
    &health::ROW,
    &config::ROW,
    &demo::ROW,
    &dev_ca::ROW,
    &version::ROW,
];

/// The context of every command.
struct Context<'a> {
    env: &'a Env,
    shutdown: &'a Shutdown,
    children: &'a Children,
    ui: Ui,
    settings: &'a Settings,
    /// The word after the command's own, if it has one (`enroll METHOD`).
    subcommand: Option<&'a str>,
}

impl Context<'_> {
    fn timeout(&self) -> Duration {
        self.settings.timeout()
    }

    fn tool_timeout(&self) -> Duration {
        self.settings.tool_timeout()
    }

    fn is_dry_run(&self) -> bool {
        self.settings.is(&DRY_RUN)
    }

    /// Where lines about a wait for a server go. Without `--wait` a server has seconds, and nothing is said.
    fn note(&self) -> Note {
        let ui = self.ui;
        if self.settings.wait().is_none() {
            return Note::default();
        }
        Note::to(move |line| ui.say(line))
    }

    /// Where requests come from.
    fn network(&self) -> NetContext<'_> {
        NetContext { env: self.env, shutdown: self.shutdown.clone(), note: self.note() }
    }

    fn trees(&self) -> Result<Trees> {
        let trees = Trees::open(self.settings, self.env)?;
        trees.note().iter().for_each(|note| self.ui.detail(note));
        Ok(trees)
    }

    fn stamp(&self) -> Result<Option<i64>> {
        stamp(self.env)
    }

    /// Reports which variables are ignored, because the command line names a source (threat T1).
    fn say_ignored(&self) {
        let ignored = &self.settings.ignored;
        if !ignored.is_empty() {
            self.ui.say(format!("ignored, since the command line names a source: {}", ignored.join(", ")));
        }
    }
}

/// Runs the command line `args` (the program's name first) and returns the exit code. Call it once: it makes the runtime
/// of this process, and handles its signals.
pub fn main(args: Vec<OsString>, env: &Env) -> u8 {
    match prepare() {
        Ok((runtime, shutdown)) => runtime.block_on(run(args, env, &shutdown, &Children::default())),
        Err(error) => {
            early_ui(&args, env).error("trustup", &error);
            error.kind().exit_code()
        }
    }
}

fn prepare() -> Result<(tokio::runtime::Runtime, Shutdown)> {
    // The runtime, and hash tables of the standard library, need random bytes, too, and panic without them: a defect,
    // with no hint.
    random::fill(&mut [0])?;
    let runtime =
        runtime::build().map_err(|error| Error::failed("could not start the runtime").because(error))?;
    Ok((runtime, Shutdown::of_process()?))
}

/// For errors before the settings are known.
fn early_ui(args: &[OsString], env: &Env) -> Ui {
    let asked_for_json =
        args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json") || is_on(env, "TRUSTUP_JSON");
    Ui::new(asked_for_json, false, false, Color::Auto, is_plain(env))
}

/// Whether the terminal gets no colors.
fn is_plain(env: &Env) -> bool {
    env.var("NO_COLOR").is_some() || env.var("TERM") == Some("dumb")
}

/// Runs the command line `args` on the runtime that this is called on.
pub(crate) async fn run(args: Vec<OsString>, env: &Env, shutdown: &Shutdown, children: &Children) -> u8 {
    let command = args.iter().find_map(|arg| row(arg.to_str()?)).map(|row| row.name);
    let code = run_command(args, env, shutdown, children).await;
    // Docker reserves every other code of a health check.
    if command == Some(health::ROW.name) { code.min(1) } else { code }
}

async fn run_command(args: Vec<OsString>, env: &Env, shutdown: &Shutdown, children: &Children) -> u8 {
    let early = early_ui(&args, env);
    if crate::host::privilege::is_raised() {
        let error = Error::unsupported(
            "trustup does not run with raised rights (setuid, setgid or file capabilities)",
        )
        .hint("remove these bits from the binary and run it as the user who has the rights");
        early.error("trustup", &error);
        return error.kind().exit_code();
    }
    // Neither a core dump nor a process of the same user can read our memory (threat T16).
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let ends_with_separator = args.iter().position(|arg| arg == "--").is_some_and(|at| at + 1 == args.len());
    let matches = match at_width(command(), env).try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => match unknown_word(&error) {
            None => return usage(&early, &error),
            Some(error) => {
                early.error(enroll::ROW.name, &error);
                return error.kind().exit_code();
            }
        },
    };
    let Some((row, own)) = matches.subcommand().and_then(|(name, own)| Some((row(name)?, own))) else {
        // clap demands a command, and knows no others.
        return usage(&early, &command().error(ErrorKind::MissingSubcommand, "there is no command"));
    };
    if ends_with_separator && takes_command(row) {
        let error = process::no_command();
        early.error(row.name, &error);
        return error.kind().exit_code();
    }
    let (settings, subcommand) = match settings(row, own, env) {
        Ok(settings) => settings,
        Err(error) => {
            early.error(row.name, &error);
            return error.kind().exit_code();
        }
    };
    let is = |switch| settings.is(switch);
    let ui = Ui::new(is(&JSON), is(&QUIET), is(&VERBOSE), settings.or_default(&COLOR), is_plain(env))
        .with_log(settings.or_default(&LOG_FORMAT), env);
    let context =
        Context { env, shutdown, children, ui, settings: &settings, subcommand: subcommand.as_deref() };
    unknown_variables(env, &settings).iter().for_each(|warning| ui.warn(warning));
    budget::begin();
    let done = match row.run {
        Run::AtOnce(run) => run(&context),
        Run::Waiting(run) => run(&context).await,
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            ui.error(row.name, &error);
            error.kind().exit_code()
        }
    }
}

/// Whether this command ends with `-- COMMAND`.
fn takes_command(row: &CommandRow) -> bool {
    (row.options)().iter().any(|taken| taken.row.spec().name == COMMAND.taken().row.spec().name)
}

fn row(name: &str) -> Option<&'static CommandRow> {
    COMMANDS.into_iter().find(|row| row.name == name)
}

/// The settings of command line and environment, and the word after the command's own.
fn settings(row: &CommandRow, matches: &ArgMatches, env: &Env) -> Result<(Settings, Option<String>)> {
    let own = (row.options)();
    let inner = matches.subcommand();
    let deepest = inner.map_or(matches, |(_, inner)| inner);
    let mut line = from_matches(&own, matches)?;
    if let Some((_, inner)) = inner {
        line = join(&own, &line, &from_matches(&own, inner)?)?;
    }
    line.add(from_matches(GLOBAL, deepest)?);
    let readable: &[Taken] = if row.reads_variables { &own } else { &[] };
    let readable: Vec<Taken> = GLOBAL.iter().chain(readable).copied().collect();
    let (environment, unheeded) = from_environment(&readable, &line, env)?;
    let mut settings = Settings::new([line, environment]);
    settings.ignored = unheeded.ignored;
    settings.empty = unheeded.empty;
    Ok((settings, inner.map(|(name, _)| name.to_owned())))
}

/// Warnings for variables `TRUSTUP_…` that are none of trustup's. A trustup.toml may fill in one of any name (`${NAME}`).
fn unknown_variables(env: &Env, settings: &Settings) -> Vec<String> {
    let of_commands = COMMANDS.iter().flat_map(|row| (row.options)());
    let rows: Vec<&'static dyn Row> =
        GLOBAL.iter().copied().chain(of_commands).map(|taken| taken.row).collect();
    let file = settings.get(&CONFIG).map(|path| path.as_path()).unwrap_or(Path::new(DEFAULT));
    let text = std::cell::OnceCell::new();
    let is_used = |name: &str| {
        let text = text.get_or_init(|| host::read_file(file, 1 << 20).unwrap_or_default());
        let text = String::from_utf8_lossy(text);
        text.split("${").skip(1).any(|rest| {
            let end = rest.find(['}', ':']).unwrap_or(rest.len());
            &rest[..end] == name
        })
    };
    unknown(env, &rows, is_used)
}

/// The error for an unknown method of `enroll`: clap, which expects arguments after `--` there, lists no methods.
fn unknown_word(error: &clap::Error) -> Option<Error> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else { return None };
    if error.kind() != ErrorKind::UnknownArgument || word.starts_with('-') {
        return None;
    }
    // Every other command names its arguments or has none.
    let row = &enroll::ROW;
    let has_usage = |text: &str| text.contains(&format!("trustup {}", row.name));
    if !matches!(error.get(ContextKind::Usage), Some(ContextValue::StyledStr(usage)) if has_usage(&usage.to_string()))
    {
        return None;
    }
    let command = subcommand(row);
    let words: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    let error = Error::usage(format!("`trustup {}` has no method `{}`", row.name, text::escape(word)));
    let listed = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    let error = did_you_mean(word, words.iter().copied()).into_iter().fold(error, Error::hint);
    Some(error.hint(format!("the methods are {listed}; `trustup {} --help` says more", row.name)))
}

/// The environment's settings for a command with an empty command line.
fn settings_of(row: &CommandRow, env: &Env) -> Result<Settings> {
    let taken: Vec<Taken> = GLOBAL.iter().copied().chain((row.options)()).collect();
    let (environment, _) = from_environment(&taken, &Layer::default(), env)?;
    Ok(Settings::new([environment]))
}

/// Help texts are as wide as the terminal, or as COLUMNS, which clap reads by itself. Some programs that start
/// containers set it to 0 or 1: one word per line is useless.
fn at_width(command: clap::Command, env: &Env) -> clap::Command {
    const LEAST: usize = 60;
    match env.var("COLUMNS").map(str::parse) {
        Some(Ok(0..LEAST)) => command.term_width(LEAST),
        _ => command,
    }
}

/// The tree of commands; every help text ends with the exit codes.
fn command() -> clap::Command {
    let top = clap::Command::new("trustup")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(EXIT_CODES)
        .max_term_width(110)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args(GLOBAL.iter().map(|taken| taken.arg().global(true)));
    with_exit_codes(top.subcommands(COMMANDS.iter().map(|row| subcommand(row))))
}

fn with_exit_codes(command: clap::Command) -> clap::Command {
    command.mut_subcommands(|command| {
        let examples = command.get_after_help().map(|help| format!("{help}\n\n")).unwrap_or_default();
        with_exit_codes(command).after_help(format!("{examples}{EXIT_CODES}"))
    })
}

fn subcommand(row: &CommandRow) -> clap::Command {
    let command = clap::Command::new(row.name).about(row.about).after_help(row.after_help);
    (row.shape)(command, &(row.options)())
}

/// clap's message: help and version go to stdout with 0, everything else is a usage error.
fn usage(ui: &Ui, error: &clap::Error) -> u8 {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let Err(lost) = ui.help(error) else { return 0 };
        let error = Error::from(lost);
        ui.error("trustup", &error);
        return error.kind().exit_code();
    }
    if ui.json {
        let text = error.to_string();
        let what = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        // We call them hints, clap tips.
        let hints = text.lines().filter_map(|line| {
            let line = line.trim_start();
            line.strip_prefix("hint: ").or(line.strip_prefix("tip: "))
        });
        let error = hints.fold(Error::usage(what), Error::hint);
        ui.error("trustup", &error.hint("`trustup --help` lists the commands and options"));
    } else {
        ui.usage(error);
    }
    2
}
