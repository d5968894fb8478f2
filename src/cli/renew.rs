//! `trustup renew`: keeps certificates fresh: once, by a timer, or as a daemon. This is the command line; one attempt is
//! [`crate::renew::attempt`], the daemon [`crate::renew::daemon`].

use std::path::Path;

use super::bootstrap;
use super::certificates::{self, Summary};
use super::enroll::refuse_sysroot;
use super::output::renew::RenewReport;
use super::timer;
use super::{CommandRow, Context, GLOBAL, Run, options, settings_of};
use crate::certificate::ends;
use crate::certificate::issue::request::{IssueInput, IssueRequests, Purpose, requests};
use crate::certificate::issue::trust::Recorded;
use crate::certificate::issue::{self, IssueContext, IssueOutcome, IssueRequest};
use crate::cli::ui::Ui;
use crate::cli::ui::json::ErrorDetails;
use crate::error::{Error, ErrorKind, Result};
use crate::host::service_manager::ServiceManager;
use crate::renew::attempt::{self, Starter};
use crate::renew::daemon::{self, DaemonContext};
use crate::renew::log::LogEntry;
use crate::renew::metrics::{self, CertificateState};
use crate::rootfs::host;
use crate::settings::rows::{
    ALLOW_EXTRA_NAMES, ALLOW_SHARED_CONFIG, CA_OUT, CA_ROOT, CA_URL, CACHE, CERT, CERT_MODE, CHAIN, CHECK,
    CONFIG, DAEMON, DUE, EXIT_WHEN_EXPIRED, FINGERPRINT, FORCE, INSTALL_TIMER, ISSUER_ROOT, KEY, KEY_MODE,
    KEY_TYPE, LAYOUT, LISTEN, LOG_FORMAT, METRICS, NAMES, NO_MTLS, NOT_DUE_EXIT, OWNER, PUBLISHED_BUNDLE_URL,
    PUBLISHED_CA_FINGERPRINT, PUBLISHED_CA_URL, REFRESH_TRUST, REKEY, REMOVE_TIMER, REQUIRE_PIN,
};
use crate::settings::{Settings, Taken};
use crate::trust::target::sysroot;

const WHEN: &str = "When";
const FILES: &str = "Files, if trustup.toml does not list the certificate";
const MONITORING: &str = "Monitoring";
const CA: &str = "The CA and its roots";

/// The exit code of `--check` if nothing is due.
const NOT_DUE: u8 = 3;

/// The hint if the report is lost.
const REPORT_AGAIN: &str =
    "the same command again finds the certificates fresh and reports them, without asking the CA";

const AFTER_HELP: &str = "\
Examples:
  One certificate, by its own key, at the step-ca that issued it:
    trustup renew --cert /run/tls/server.crt --key /run/tls/server.key
  All certificates of trustup.toml, or those with one of the names:
    trustup renew
    trustup renew web.internal
  As a daemon, beside the services or in a container of its own:
    trustup renew --daemon
  As a daemon that Prometheus and the probes of an orchestrator watch:
    trustup renew --daemon --listen 127.0.0.1:9444
  In a script:
    trustup renew --check --cert /run/tls/server.crt --key /run/tls/server.key || echo fresh

A certificate is renewed when two thirds of its life are over (`--due`). step-ca renews it over mutual TLS, also one that
it issued by ACME. If it refuses, or if the certificate has expired, the methods of trustup.toml get a new one. An ACME
certificate of another CA needs trustup.toml, or the `trustup enroll acme` command that got it. If nothing is due, the
exit code is 0, and `changed` in the JSON is false.";

fn all() -> Vec<Taken> {
    vec![
        NAMES.taken_as("The certificates of trustup.toml that have one of these names [default: all]"),
        DUE.taken().under(WHEN),
        FORCE.taken_as("Renew it even if it is not due").under(WHEN),
        DAEMON.taken().under(WHEN),
        EXIT_WHEN_EXPIRED.taken().under(WHEN),
        REFRESH_TRUST.taken().under(WHEN),
        INSTALL_TIMER.taken().under(WHEN),
        REMOVE_TIMER.taken().under(WHEN),
        CHECK.taken().under(WHEN),
        NOT_DUE_EXIT.taken().under(WHEN),
        METRICS.taken().under(MONITORING),
        LISTEN.taken().under(MONITORING),
        LOG_FORMAT.taken().under(MONITORING),
        REKEY.taken().under(WHEN),
        NO_MTLS.taken().under(WHEN),
        CERT.taken().under(FILES),
        KEY.taken().under(FILES),
        CHAIN.taken().under(FILES),
        CA_OUT.taken().under(FILES),
        OWNER.taken().under(FILES),
        CERT_MODE.taken().under(FILES),
        KEY_MODE.taken().under(FILES),
        LAYOUT.taken().under(FILES),
        KEY_TYPE.taken_as("Kind of a new key [default: that of the existing one]").under(FILES),
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
    ]
}

pub(super) static ROW: CommandRow = CommandRow {
    name: "renew",
    about: "Keep certificates fresh: renew those that are due",
    after_help: AFTER_HELP,
    options: all,
    reads_variables: true,
    shape: |command, all| command.args(options::args(all)),
    run: Run::Waiting(|context| Box::pin(run(context))),
};

async fn run(context: &Context<'_>) -> Result<u8> {
    let (ui, env, settings) = (context.ui, context.env, context.settings);
    let host = sysroot(settings)?;
    refuse_sysroot(&host)?;
    context.say_ignored();
    if settings.has(&INSTALL_TIMER) || settings.is(&REMOVE_TIMER) {
        return timer::run(context, &host, &all()).await;
    }
    if settings.is(&DAEMON) {
        let log = |entry: &LogEntry| ui.log(entry);
        let bootstrap = of_bootstrap(context)?;
        let daemon = DaemonContext {
            env,
            settings,
            bootstrap: &bootstrap,
            shutdown: context.shutdown,
            children: context.children,
            log: &log,
        };
        daemon::run(daemon).await?;
        return Ok(0);
    }
    if settings.is_given(&LISTEN) {
        return Err(Error::usage("`--listen` is for a daemon").hint("add `--daemon`"));
    }
    // Hooks do not speak to the service manager in our name.
    drop(ServiceManager::of(env));
    context.shutdown.handle()?;
    let input = IssueInput { env, settings, host: Some(&host), file: None };
    let IssueRequests { mut requests, notes, details, warnings, daemon } = requests(input, Purpose::Renew)?;
    details.iter().for_each(|note| ui.detail(note));
    notes.iter().for_each(|note| ui.say(note));
    warnings.iter().for_each(|warning| ui.warn(warning));
    let recorded = Recorded::of(&context.trees()?.states()?, settings.is(&REQUIRE_PIN))?;
    let say = |line: &str| ui.detail(line);
    let warn = |line: &str| ui.warn(line);
    let note = |line: &str| ui.say(line);
    let world = IssueContext {
        network: context.network(),
        children: context.children,
        host: &host,
        recorded,
        dry_run: context.is_dry_run() || settings.is(&CHECK),
        say: &say,
        note: &note,
        warn: &warn,
    };
    if settings.is(&CHECK) {
        return check(context, &requests, &world);
    }
    let mut results: Vec<Result<IssueOutcome>> = Vec::new();
    for request in &mut requests {
        let busy = ui.busy("renewing a certificate");
        let done = match context.shutdown.check() {
            Ok(()) => renew(ui, request, &world).await,
            Err(ended) => Err(ended),
        };
        drop(busy);
        results.push(done);
    }
    if let Some(file) = daemon.metrics.filter(|_| !world.dry_run)
        && let Err(error) = write_metrics(&file, &requests, &world)
    {
        ui.warn(format!("the metrics could not be written: {error}"));
    }
    let mut talk = ui;
    // The log has its entries already.
    talk.quiet |= ui.logs_json();
    let talking = Context { ui: talk, ..*context };
    let summary = certificates::summarize(&talking, ROW.name, requests.iter().zip(results).collect());
    report(context, summary)
}

/// Writes what is known of the certificates of this run.
///
/// # Errors
/// It cannot be written.
fn write_metrics(file: &Path, requests: &[IssueRequest], world: &IssueContext<'_>) -> Result<()> {
    let state = |request: &IssueRequest| {
        let end = ends::of_file(world.host, &request.outputs.cert, &[]);
        let record = attempt::record_of(request, world.host)?;
        Ok(CertificateState::new(&request.names, &end, &record))
    };
    let states = requests.iter().map(state).collect::<Result<Vec<_>>>()?;
    let text = metrics::render(&states, world.network.env.now());
    metrics::write(world.host, &host::absolute_text(file)?, &text)
}

/// What `trustup bootstrap` without options would get here: the options of this command are about its certificates, but for
/// those of all commands and for the file.
fn of_bootstrap(context: &Context<'_>) -> Result<Settings> {
    let shared = [CONFIG.taken(), ALLOW_SHARED_CONFIG.taken()];
    let is_shared = |name: &str| GLOBAL.iter().chain(&shared).any(|taken| taken.row.spec().name == name);
    let given = context.settings.without(|name| !is_shared(name));
    Ok(given.above(&settings_of(&bootstrap::ROW, context.env)?))
}

/// Renews one certificate, and keeps its record.
async fn renew(ui: Ui, request: &mut IssueRequest, world: &IssueContext<'_>) -> Result<IssueOutcome> {
    let mut record = attempt::record_of(request, world.host)?;
    let is_known = record.checked.is_some();
    let attempt = attempt::renew(request, world, &mut record, Starter::Caller).await;
    // A wrong path on the command line leaves nothing beside the file.
    let is_of_no_use =
        |error: &Error| !is_known && matches!(error.kind(), ErrorKind::Failed | ErrorKind::Usage);
    if !world.dry_run && !attempt.done.as_ref().is_err_and(is_of_no_use) {
        attempt::save(&record, request, world);
    }
    if ui.logs_json() {
        let hooks = attempt.failed_hooks.iter().map(LogEntry::of_hook);
        let entries = hooks.chain([LogEntry::of_attempt(&attempt, None)]);
        entries.for_each(|entry| ui.log(&entry.about(&request.outputs.cert)));
    }
    // The certificate's own error comes first, then that of the first hook; the others are warnings.
    let mut failed = attempt.failed_hooks.into_iter();
    let first = if attempt.done.is_ok() { failed.next() } else { None };
    failed.for_each(|error| (world.warn)(&error.to_string()));
    match first {
        None => attempt.done,
        Some(error) => attempt.done.and_then(|outcome| Err(error.with_changed(outcome.placed.changed))),
    }
}

/// Whether one is due, as the exit code.
fn check(context: &Context<'_>, requests: &[IssueRequest], world: &IssueContext<'_>) -> Result<u8> {
    let mut is_due = false;
    for request in requests {
        attempt::refuse_missing(request, world.host)?;
        let reason = issue::due(request, world)?;
        let cert = &request.outputs.cert;
        match &reason {
            Some(why) => context.ui.say(format!("`{cert}` is due: {why}")),
            None => context.ui.say(format!("`{cert}` is not due")),
        }
        is_due |= reason.is_some();
    }
    Ok(if is_due { 0 } else { NOT_DUE })
}

/// Reports all certificates; the exit code is that of the first one that could not be renewed.
fn report(context: &Context<'_>, summary: Summary) -> Result<u8> {
    let ui = context.ui;
    let Summary { changed, certificates, wrote, failed, are_several } = summary;
    match failed {
        Some(error) if !are_several => Err(error),
        Some(error) => {
            let report = RenewReport { changed, certificates, error: Some(ErrorDetails::from(&error)) };
            if let Err(lost) = ui.result(&report) {
                lost.mention(ui);
            }
            Ok(error.kind().exit_code())
        }
        None => {
            let lost = ui.result(&RenewReport { changed, certificates, error: None });
            lost.map_err(|lost| lost.after_work(changed, REPORT_AGAIN).with_changed(wrote))?;
            let not_due = context.settings.get(&NOT_DUE_EXIT).copied().unwrap_or_default();
            Ok(if changed { 0 } else { not_due })
        }
    }
}
