//! The command line: the tree of commands, the options that all of them share, and what an exit code means. Each
//! command has its own file; none of them prints or reads variables by itself.

mod bootstrap;
mod config;
mod demo;
mod detect;
mod dev_ca;
mod doctor;
mod enroll;
mod env;
mod output;
mod status;
mod stores;
#[cfg(test)]
mod tests;
mod token;
mod trees;
mod untrust;
mod variables;
mod version;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::duration;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::rootfs::{Sysroot, budget};
use crate::trust::distro::DISTROS;
use crate::ui::{Color, Ui};

use self::trees::Trees;

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

/// Takes a container from "trusts nobody" to "serves a fresh certificate": detects the distribution, fetches a root
/// certificate or bundle, checks its pinned SHA-256, installs it in every trust store and proves it; then gets a
/// certificate from step-ca or any ACME server.
#[derive(Debug, Parser)]
#[command(name = "trustup", version, after_help = EXIT_CODES, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// Work on the root file system in DIR instead of `/`; none of its programs is run
    #[arg(long, global = true, value_name = "DIR", default_value = "/", hide_default_value = true)]
    sysroot: PathBuf,
    /// Take the root file system for this distribution, whatever its os-release says (`trustup detect --list`)
    #[arg(long, global = true, value_name = "ROW", value_parser = distributions(), hide_possible_values = true)]
    distribution: Option<String>,
    /// Where the private store is, for users who cannot write the system's stores [default: below
    /// $XDG_STATE_HOME, ~/.local/state or /tmp]
    #[arg(long, global = true, value_name = "DIR")]
    private_dir: Option<PathBuf>,
    /// Show what would change, and stop there
    #[arg(long, global = true)]
    dry_run: bool,
    /// Print plan and result as one JSON object on stdout
    #[arg(long, global = true)]
    json: bool,
    /// Show every step and its reason
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
    /// How long everything may take, such as 30s or 2m [default: 30s for servers, 5m for ACME
    /// and for the distribution's tool]
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,
    /// How long to keep trying while a server cannot be reached yet
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration::parse)]
    wait: Option<Duration>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Detect(detect::DetectArgs),
    Bootstrap(Box<bootstrap::BootstrapArgs>),
    Untrust(untrust::UntrustArgs),
    Status(status::StatusArgs),
    Doctor(doctor::DoctorArgs),
    Env(env::EnvArgs),
    Token(Box<token::TokenArgs>),
    Enroll(Box<enroll::EnrollArgs>),
    Config(config::ConfigArgs),
    Demo(demo::DemoArgs),
    DevCa(dev_ca::DevCaArgs),
    Version(version::VersionArgs),
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Command::Detect(_) => "detect",
            Command::Bootstrap(_) => "bootstrap",
            Command::Untrust(_) => "untrust",
            Command::Status(_) => "status",
            Command::Doctor(_) => "doctor",
            Command::Env(_) => "env",
            Command::Token(_) => "token",
            Command::Enroll(_) => "enroll",
            Command::Config(_) => "config",
            Command::Demo(_) => "demo",
            Command::DevCa(_) => "dev-ca",
            Command::Version(_) => "version",
        }
    }
}

/// What every command gets.
struct Context<'a> {
    env: &'a Env,
    ui: Ui,
    global: &'a Global,
}

impl Context<'_> {
    /// How long servers, and other runs that hold the lock, are waited for.
    fn timeout(&self) -> Duration {
        self.global.timeout.unwrap_or(Duration::from_secs(30))
    }

    /// How long the distribution's own tool may take; its hooks may start a JVM, and emulation is slow.
    fn tool_timeout(&self) -> Duration {
        self.global.timeout.unwrap_or(Duration::from_secs(300))
    }

    fn trees(&self) -> Result<Trees> {
        Trees::open(self)
    }

    fn sysroot(&self) -> Result<Sysroot> {
        Ok(Sysroot::open(&self.global.sysroot)?.with_distribution(self.global.distribution.clone()))
    }

    /// `SOURCE_DATE_EPOCH` in seconds: the times of what we write, never "now" (threat T7).
    fn stamp(&self) -> Result<Option<i64>> {
        let Some(value) = self.env.var("SOURCE_DATE_EPOCH") else { return Ok(None) };
        match value.parse() {
            Ok(seconds) => Ok(Some(seconds)),
            Err(error) => Err(Error::usage("SOURCE_DATE_EPOCH is no number of seconds")
                .because(error)
                .hint("set it to what `git log -1 --pretty=%ct` prints, or unset it")),
        }
    }
}

/// Runs the command line `args` (the program's name first) and answers with the exit code.
pub fn main(args: Vec<OsString>, env: &Env) -> u8 {
    let asked_for_json = args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json")
        || variables::is_on(env, "TRUSTUP_JSON");
    let plain = env.var("NO_COLOR").is_some() || env.var("TERM") == Some("dumb");
    let early = Ui::new(asked_for_json, false, false, Color::Auto, plain);
    if crate::privilege::is_raised() {
        let error = Error::unsupported(
            "trustup does not run with raised rights (setuid, setgid or file capabilities)",
        )
        .hint("take the bits off the binary and run it as the user who has the rights");
        early.error("trustup", &error);
        return error.kind().exit_code();
    }
    // Neither a core dump nor a process of the same user gets at what we hold in memory (threat T16).
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let parsed = match variables::parse(at_width(command(), env), &args, env) {
        Ok(parsed) => parsed,
        Err(variables::Failure::Clap(error)) => return usage(&early, &error),
        Err(variables::Failure::Ours(error)) => {
            early.error("trustup", &error);
            return error.kind().exit_code();
        }
    };
    let cli = match Cli::from_arg_matches(&parsed.matches) {
        Ok(cli) => cli,
        Err(error) => return usage(&early, &error),
    };
    let global = &cli.global;
    let ui = Ui::new(global.json, global.quiet, global.verbose, global.color, plain);
    let context = Context { env, ui, global };
    budget::begin();
    let result = match &cli.command {
        Command::Detect(args) => detect::run(&context, args),
        Command::Bootstrap(args) => bootstrap::run(&context, args, &parsed),
        Command::Untrust(args) => untrust::run(&context, args),
        Command::Status(args) => status::run(&context, args),
        Command::Doctor(args) => doctor::run(&context, args),
        Command::Env(args) => env::run(&context, args),
        Command::Token(args) => token::run(&context, args, &parsed.sources),
        Command::Enroll(args) => enroll::run(&context, args, &parsed),
        Command::Config(args) => config::run(&context, args),
        Command::Demo(args) => demo::run(&context, args),
        Command::DevCa(args) => dev_ca::run(&context, args),
        Command::Version(args) => version::run(&context, args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            ui.error(cli.command.name(), &error);
            error.kind().exit_code()
        }
    }
}

/// Help texts are as wide as the terminal, or as COLUMNS says, which clap reads by itself. Some programs that start
/// containers set it to 0 or 1: one word on each line is no help.
fn at_width(command: clap::Command, env: &Env) -> clap::Command {
    const LEAST: usize = 60;
    match env.var("COLUMNS").map(str::parse) {
        Some(Ok(0..LEAST)) => command.term_width(LEAST),
        _ => command,
    }
}

/// The tree of commands; every help text ends with the exit codes.
fn command() -> clap::Command {
    with_exit_codes(Cli::command())
}

fn with_exit_codes(command: clap::Command) -> clap::Command {
    command.mut_subcommands(|command| {
        let examples = command.get_after_help().map(|help| format!("{help}\n\n")).unwrap_or_default();
        with_exit_codes(command).after_help(format!("{examples}{EXIT_CODES}"))
    })
}

/// Reads a fingerprint for clap; its error says what to do next.
fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    text.parse().map_err(|error| for_clap(&error))
}

/// The names of the rows of the table of distributions.
fn distributions() -> PossibleValuesParser {
    PossibleValuesParser::new(DISTROS.iter().map(|row| row.id))
}

/// One of our errors as clap shows it.
fn for_clap(error: &Error) -> String {
    error.hints().iter().fold(error.what().to_owned(), |text, hint| format!("{text}\n  hint: {hint}"))
}

/// What clap says: help and version go to stdout with 0, everything else is a usage error.
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
        // Ours are called hints, those of clap tips.
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
