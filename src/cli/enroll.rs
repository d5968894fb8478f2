//! `trustup enroll`: a certificate and its key, if no good pair exists. This is the command line, with subcommands made
//! from the table of methods; the requests are in [`crate::certificate::issue::request`], the report in [`super::certificates`].

use std::time::Instant;

use super::certificates::{self, Summary};
use super::output::enroll::EnrollReport;
use super::{CommandRow, Context, Run, options};
use crate::certificate::issue::methods::row::{MethodRow, Published};
use crate::certificate::issue::methods::table::{self, METHODS};
use crate::certificate::issue::request::{IssueInput, IssueRequests, Purpose, requests};
use crate::certificate::issue::trust::Recorded;
use crate::certificate::issue::{self, IssueContext, IssueOutcome};
use crate::cli::ui::json::ErrorDetails;
use crate::error::{Error, Result};
use crate::process;
use crate::rootfs::Sysroot;
use crate::settings::Taken;
use crate::settings::rows::{
    ALLOW_EXTRA_NAMES, ALLOW_SHARED_CONFIG, CA_OUT, CA_ROOT, CA_URL, CACHE, CERT, CERT_MODE, CHAIN, COMMAND,
    CONFIG, FINGERPRINT, FORCE, ISSUER_ROOT, KEY, KEY_MODE, KEY_TYPE, LAYOUT, NAMES, NOT_AFTER, OWNER,
    PUBLISHED_BUNDLE_URL, PUBLISHED_CA_FINGERPRINT, PUBLISHED_CA_URL, REQUIRE_PIN, TIMEOUT,
};
use crate::trust::target::sysroot;

/// The hint if the report is lost.
const REPORT_AGAIN: &str =
    "the same command again finds the key pair in place and reports it, without asking the CA";

const FILES: &str = "Files";
const CA: &str = "The CA and its roots";

/// The methods of trustup.toml.
const ANY: &str = "any";
const ANY_ABOUT: &str =
    "With the methods of trustup.toml in their order, for each certificate there [default]";

/// Options of all methods.
static COMMON: &[Taken] = &[
    CERT.taken().under(FILES),
    KEY.taken().under(FILES),
    CHAIN.taken().under(FILES),
    CA_OUT.taken().under(FILES),
    OWNER.taken().under(FILES),
    CERT_MODE.taken().under(FILES),
    KEY_MODE.taken().under(FILES),
    LAYOUT.taken().under(FILES),
    KEY_TYPE.taken().under(FILES),
    NOT_AFTER.taken().under(FILES),
    FORCE.taken().under(FILES),
    ALLOW_EXTRA_NAMES.taken().under(FILES),
    CA_URL.taken().under(CA),
    FINGERPRINT
        .taken_as("SHA-256 fingerprint of its root (repeatable) [default: the root that bootstrap got with a fingerprint]")
        .under(CA),
    REQUIRE_PIN.taken().under(CA),
    CA_ROOT.taken().under(CA),
    CACHE.taken().under(CA),
    ISSUER_ROOT.taken().under(CA),
    PUBLISHED_CA_URL.taken(),
    PUBLISHED_CA_FINGERPRINT.taken(),
    PUBLISHED_BUNDLE_URL.taken(),
    CONFIG.taken(),
    ALLOW_SHARED_CONFIG.taken(),
    COMMAND.taken(),
];

/// All options: every method knows those of the others, so that an option of another method is refused with a message
/// that names its purpose.
fn all() -> Vec<Taken> {
    let names = NAMES.taken_as("The certificate's names: host names, addresses, e-mail addresses, URIs [default with a token: what the token says]");
    [names].into_iter().chain(COMMON.iter().copied()).chain(of_methods(|_| true)).collect()
}

pub(super) static ROW: CommandRow = CommandRow {
    name: "enroll",
    about: "Get a certificate: from step-ca or any ACME server, in one command that does nothing while the key pair is valid",
    after_help: "",
    options: all,
    reads_variables: true,
    shape,
    run: Run::Waiting(|context| Box::pin(run(context))),
};

/// The options of all methods, each once; hidden if `is_shown` holds for no method that has it. An option that several
/// of those have is described for all of them.
fn of_methods(is_shown: impl Fn(&MethodRow) -> bool) -> Vec<Taken> {
    let mut all: Vec<Taken> = Vec::new();
    for method in METHODS {
        let is_hidden = !is_shown(method);
        for taken in method.options {
            let spec = taken.row.spec();
            let own = Taken { heading: Some(method.word), is_hidden, ..*taken };
            match all.iter_mut().find(|known| known.row.spec().name == spec.name) {
                None => all.push(own),
                Some(known) if known.is_hidden => *known = own,
                Some(known) if !is_hidden => known.help = spec.help,
                Some(_) => {}
            }
        }
    }
    all
}

/// `enroll` with its methods as subcommands. Options may be before the method and after it.
fn shape(command: clap::Command, all: &[Taken]) -> clap::Command {
    let is_name = |taken: &Taken| taken.row.spec().name == NAMES.taken().row.spec().name;
    let before: Vec<Taken> = all.iter().filter(|taken| !is_name(taken)).copied().collect();
    let behind = |is_shown: &dyn Fn(&MethodRow) -> bool| -> Vec<Taken> {
        let names = all.iter().filter(|taken| is_name(taken)).copied();
        names.chain(COMMON.iter().copied()).chain(of_methods(is_shown)).collect()
    };
    let method = |word: &'static str, about: &'static str, example: String, own: &[Taken]| {
        clap::Command::new(word)
            .about(about)
            .after_help(format!("Examples:\n{example}"))
            .args(options::args(own))
    };
    let any = behind(&|method| !method.beside_file.is_empty());
    let any = method(ANY, ANY_ABOUT, "  trustup enroll any web.internal".to_owned(), &any);
    command
        .args(options::args(&before))
        .override_usage("trustup enroll [OPTIONS] [METHOD] [NAME]... [-- <COMMAND>...]")
        .disable_help_subcommand(true)
        .subcommand_value_name("METHOD")
        .subcommand_help_heading("Methods")
        .subcommands(METHODS.map(|row| {
            let own = behind(&|method| method.word == row.word);
            method(row.word, row.help, example(row), &own)
        }))
        .subcommand(any)
        .after_help(after_help())
}

fn example(row: &MethodRow) -> String {
    let (words, arguments) = row.example;
    format!("  {words}:\n    trustup enroll {} {arguments}", row.word)
}

fn after_help() -> String {
    let examples = METHODS.map(example).join("\n");
    let published = METHODS.iter().find_map(|method| match method.published {
        Published::If(name) => Some(name),
        _ => None,
    });
    let otherwise = METHODS.iter().find(|method| method.published == Published::Otherwise);
    let (variable, word) =
        (published.unwrap_or_default(), otherwise.map(|method| method.word).unwrap_or_default());
    format!(
        "\
Examples:
{examples}
  What trustup.toml says, at container start, then the service, without a shell:
    trustup enroll -- my-service
  Root certificates first:
    trustup bootstrap -- trustup enroll -- my-service

A second run finds a good pair and does nothing, without any network: it can stand in every entrypoint. A pair that is due
and cannot be replaced stays while it works: exit 0, with a warning, and `kept-for-now` in the JSON. `any NAME…` takes those
certificates of trustup.toml that have one of the names. `--dry-run` asks no server. Published
images' variables CA_URL, CA_FINGERPRINT, {variable}, CA_PROVISIONER_NAME, TLS_DOMAINS, TLS_CERT_LOCATION,
TLS_KEY_LOCATION, TLS_CA_CERT_LOCATION and STEP_NOT_AFTER work alone, too; without {variable} by `{word}`, whose options may be added."
    )
}

async fn run(context: &Context<'_>) -> Result<u8> {
    let (ui, env, settings) = (context.ui, context.env, context.settings);
    let host = sysroot(settings)?;
    refuse_sysroot(&host)?;
    let command = settings.all(&COMMAND);
    process::check_command(command)?;
    context.say_ignored();
    context.shutdown.handle()?;
    let method = context.subcommand.and_then(table::by_word);
    let input = IssueInput { env, settings, host: Some(&host), file: None };
    let IssueRequests { mut requests, notes, details, warnings, .. } =
        requests(input, Purpose::Enroll(method))?;
    details.iter().for_each(|note| ui.detail(note));
    notes.iter().for_each(|note| ui.say(note));
    warnings.iter().for_each(|warning| ui.warn(warning));
    let recorded = Recorded::of(&context.trees()?.states()?, settings.is(&REQUIRE_PIN))?;
    let say = |line: &str| ui.detail(line);
    let warn = |line: &str| ui.warn(line);
    let mut results: Vec<Result<IssueOutcome>> = Vec::new();
    // `--timeout` is for everything: a server that hangs leaves the other certificates their share of it.
    let wait = settings.wait().unwrap_or_default();
    let until = settings.get(&TIMEOUT).map(|timeout| Instant::now() + timeout.saturating_add(wait));
    let mut others = u32::try_from(requests.len()).unwrap_or(u32::MAX);
    for request in &mut requests {
        if let Some(until) = until {
            request.timeout = request.timeout.min(until.saturating_duration_since(Instant::now()) / others);
        }
        others = others.saturating_sub(1).max(1);
        let world = IssueContext {
            network: context.network(),
            children: context.children,
            host: &host,
            recorded: recorded.clone(),
            dry_run: context.is_dry_run(),
            say: &say,
            note: &|line| ui.say(line),
            warn: &warn,
        };
        let busy = ui.busy("getting a certificate");
        let done = match context.shutdown.check() {
            Ok(()) => issue::enroll(request, &world).await,
            Err(ended) => Err(ended),
        };
        drop(busy);
        results.push(done);
    }
    let before_service = !command.is_empty() && !context.is_dry_run();
    let results = requests.iter().zip(results).collect();
    let summary = certificates::summarize(context, ROW.name, results);
    let changed = summary.changed;
    let code = report(context, summary, before_service)?;
    if code != 0 || !before_service {
        return Ok(code);
    }
    let done = if changed {
        "the certificates and keys are in place, and the next run does not repeat that"
    } else {
        "the key pairs were in place before, and nothing was changed"
    };
    // A service that is to be stopped is not started.
    context.shutdown.check().map_err(|ended| ended.hint(done))?;
    Err(process::replace_us(env, command, &[]).hint(done))
}

/// Refuses another root file system than `/`.
///
/// # Errors
/// It is another one.
pub(super) fn refuse_sysroot(host: &Sysroot) -> Result<()> {
    if !host.is_host() {
        return Err(Error::usage("a certificate is for the system that trustup runs in")
            .at(host.path().display())
            .hint("omit `--sysroot`: a key has no place in an image"));
    }
    Ok(())
}

/// Reports all certificates; the exit code is that of the first one that could not be obtained. `before_service`:
/// whether a command is executed next, which a lost report does not stop.
fn report(context: &Context<'_>, summary: Summary, before_service: bool) -> Result<u8> {
    let ui = context.ui;
    let Summary { changed, certificates, wrote, failed, are_several } = summary;
    match failed {
        None => {
            match ui.result(&EnrollReport { changed, certificates, error: None }) {
                Ok(()) => {}
                Err(lost) if before_service => lost.mention(ui),
                Err(lost) => return Err(lost.after_work(changed, REPORT_AGAIN).with_changed(wrote)),
            }
            Ok(0)
        }
        Some(error) if are_several => {
            let report = EnrollReport { changed, certificates, error: Some(ErrorDetails::from(&error)) };
            if let Err(lost) = ui.result(&report) {
                // Each failed certificate is named above; the exit code gives the kind of failure.
                lost.mention(ui);
            }
            Ok(error.kind().exit_code())
        }
        Some(error) => Err(error),
    }
}
