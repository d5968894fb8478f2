//! `trustup renew --install-timer` and `--remove-timer`: what the timer runs, and what is reported. The units are
//! [`crate::renew::timer`].

use std::path::Path;

use super::Context;
use super::output::renew::TimerReport;
use crate::certificate::issue::request::{IssueInput, IssueRequests, Purpose, requests};
use crate::error::{Error, ErrorKind, Result};
use crate::host::privilege;
use crate::process;
use crate::renew::timer::units::{self, ServiceCommand};
use crate::renew::timer::{self, SERVICE, TIMER, TimerContext};
use crate::rootfs::{Sysroot, remedy, split};
use crate::settings::rows::{CONFIG, INSTALL_TIMER, REMOVE_TIMER};
use crate::settings::{Flag, OptionKind, Origin, Row, Taken};
use crate::text;

/// Installs or removes the timer. `options`: those of the command.
pub(super) async fn run(context: &Context<'_>, host: &Sysroot, options: &[Taken]) -> Result<u8> {
    let (ui, dry_run) = (context.ui, context.is_dry_run());
    if !privilege::is_root() && !dry_run {
        return Err(Error::usage("only root can write systemd's units")
            .hint("run this as root; other users can have cron start a renewal"));
    }
    context.shutdown.handle()?;
    let world = TimerContext {
        host,
        env: context.env,
        shutdown: context.shutdown,
        children: context.children,
        dry_run,
    };
    let removes = context.settings.is(&REMOVE_TIMER);
    let outcome = match removes {
        true => timer::remove(&world).await?,
        false => timer::install(&service(context, host, options)?, &world).await?,
    };
    for path in &outcome.changed {
        ui.say(match (dry_run, removes) {
            (true, true) => format!("would remove: {path}"),
            (true, false) => format!("would write: {path}"),
            (false, true) => format!("removed: {path}"),
            (false, false) => format!("wrote: {path}"),
        });
    }
    let changed = !dry_run && !outcome.changed.is_empty();
    match (outcome.changed.is_empty(), removes) {
        (true, true) => ui.say("there is no timer of trustup"),
        (true, false) => ui.say("the timer is installed already"),
        (false, false) if changed && !outcome.is_running => {
            ui.say("systemd does not run here: it starts the timer at the next boot");
        }
        (false, false) if changed => ui.say("the timer runs: `systemctl list-timers trustup-renew.timer`"),
        _ => {}
    }
    let (service, timer) = (SERVICE.to_owned(), TIMER.to_owned());
    let is_running = outcome.is_running;
    ui.result(&TimerReport { changed, service, timer, files: outcome.changed, is_running })
        .map_err(|lost| lost.after_work(changed, "the same command again reports the timer"))?;
    Ok(0)
}

/// What the timer runs: this program with the options that were given.
///
/// # Errors
/// The certificates cannot be renewed as configured; others could replace the program; a path is not absolute.
fn service(context: &Context<'_>, host: &Sysroot, options: &[Taken]) -> Result<ServiceCommand> {
    let (env, settings) = (context.env, context.settings);
    let input = IssueInput { env, settings, host: Some(host), file: None };
    let IssueRequests { requests, warnings, daemon, .. } = requests(input, Purpose::Renew)?;
    warnings.iter().for_each(|warning| context.ui.warn(warning));
    let program = std::env::current_exe()
        .map_err(|error| Error::failed("the path of trustup cannot be found out").because(error))?;
    let program = program.to_str().ok_or_else(|| {
        Error::usage("the path of trustup is not UTF-8").hint("install it at a path of plain letters")
    })?;
    // Root runs it again and again (threat T46).
    process::check_hook(program, ("trustup", ErrorKind::Usage))?;
    let mut words = vec![program.to_owned(), "renew".to_owned(), "--quiet".to_owned()];
    let mut left_out = Vec::new();
    for Taken { row, .. } in options {
        let spec = row.spec();
        let of_timer: [&dyn Row; 2] = [&INSTALL_TIMER, &REMOVE_TIMER];
        let Some(entry) = settings.entry(*row) else { continue };
        if of_timer.iter().any(|other| other.spec().name == spec.name) {
            continue;
        }
        let is_path = matches!(spec.kind, OptionKind::Path);
        let shown = match &entry.origin {
            Origin::CommandLine => entry.shown.clone(),
            // The file, wherever it is named.
            Origin::Variable(_) if spec.name == CONFIG.taken().row.spec().name => {
                settings.get(&CONFIG).map(|path| path.to_string_lossy().into_owned()).into_iter().collect()
            }
            Origin::Variable(name) => {
                left_out.push(name.clone());
                continue;
            }
            Origin::Published(name) => {
                left_out.push((*name).to_owned());
                continue;
            }
            Origin::File { .. } => continue,
        };
        if let Some(path) = shown.iter().find(|path| is_path && !Path::new(path).is_absolute()) {
            return Err(Error::usage("a timer needs absolute paths")
                .at(text::escape(path))
                .hint(format!("give `{}` the path from `/` on", spec.shown())));
        }
        match spec.kind {
            OptionKind::Switch => words.push(format!("--{}", spec.name)),
            // A value may begin with a hyphen.
            _ if spec.flag == Flag::Long => {
                words.extend(shown.iter().map(|value| format!("--{}={value}", spec.name)));
            }
            _ => words.extend(shown.iter().cloned()),
        }
    }
    if !left_out.is_empty() {
        context.ui.warn(format!(
            "the timer does not get these variables: {}; what they say belongs into trustup.toml, or `systemctl edit trustup-renew.service` sets them",
            left_out.join(", ")
        ));
    }
    let parent = |path: &str| split(path).0.to_owned();
    let mut directories: Vec<String> = Vec::new();
    for request in &requests {
        directories.extend(request.outputs.paths().map(|(_, path)| parent(path)));
        let others = request.methods.iter().flat_map(|method| method.directories());
        let others = others.chain(request.ca.cache.clone());
        directories.extend(others.map(|path| path.to_string_lossy().into_owned()));
    }
    directories.extend(daemon.metrics.iter().filter_map(|path| path.to_str()).map(parent));
    for directory in directories.iter().filter(|path| units::is_read_only(path)) {
        if host.stat(directory)?.is_none() {
            return Err(Error::usage("the service could not write to a directory that does not exist yet")
                .at(text::escape(directory))
                .hint(format!("make it first: `mkdir -p {}`", remedy::quoted(directory))));
        }
    }
    let reads = words.iter().filter(|word| word.contains('/')).map(|word| match word.split_once('=') {
        Some((_, path)) => path.to_owned(),
        None => word.clone(),
    });
    let reads = reads.collect();
    let has_hooks =
        requests.iter().any(|request| request.hooks.as_ref().is_some_and(|hooks| !hooks.is_empty()));
    Ok(ServiceCommand { words, directories, reads, has_hooks })
}
