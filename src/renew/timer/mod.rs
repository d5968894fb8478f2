//! A systemd timer that renews what is due: its units are written, enabled, and removed again.

pub(crate) mod units;

use std::time::Duration;

use self::units::{MARK, ServiceCommand};
use crate::error::{Error, ErrorKind, Result};
use crate::host::env::Env;
use crate::host::shutdown::Shutdown;
use crate::process::{self, Children};
use crate::rootfs::Sysroot;
use crate::rootfs::checkpoint::Checkpoints;
use crate::rootfs::directory::Attributes;
use crate::rootfs::file_set::{After, Before, Change, FileSet, Rules};
use crate::text;

/// The directories of units that the administrator makes (systemd.unit(5)).
const UNITS: &str = "/etc/systemd/system";
const WANTS: &str = "/etc/systemd/system/timers.target.wants";
/// The units, and the link that `systemctl enable` makes.
pub(crate) const SERVICE: &str = "/etc/systemd/system/trustup-renew.service";
pub(crate) const TIMER: &str = "/etc/systemd/system/trustup-renew.timer";
const WANTED: &str = "/etc/systemd/system/timers.target.wants/trustup-renew.timer";
const TIMER_NAME: &str = "trustup-renew.timer";
/// It exists where systemd runs (sd_booted(3)).
const RUNS: &str = "/run/systemd/system";
/// A longer unit is none of ours.
const LIMIT: u64 = 64 * 1024;
/// For one call of systemctl.
const SYSTEMCTL_TIME: Duration = Duration::from_secs(60);

/// What was done, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimerOutcome {
    /// The files that changed, or would.
    pub(crate) changed: Vec<String>,
    /// Whether systemd runs here and knows of it; false in an image.
    pub(crate) is_running: bool,
}

/// What a change of the timer works with.
pub(crate) struct TimerContext<'a> {
    pub(crate) host: &'a Sysroot,
    pub(crate) env: &'a Env,
    pub(crate) shutdown: &'a Shutdown,
    pub(crate) children: &'a Children,
    /// Nothing is changed.
    pub(crate) dry_run: bool,
}

/// Writes the units for `command` and enables the timer: at once where systemd runs, else for the next boot.
///
/// # Errors
/// Another program's unit has the name; systemd is not there; a file cannot be written; systemctl fails.
pub(crate) async fn install(command: &ServiceCommand, context: &TimerContext<'_>) -> Result<TimerOutcome> {
    let host = context.host;
    let has_systemd = matches!(host.stat(UNITS), Ok(Some(_)))
        || matches!(host.stat("/usr/lib/systemd/system"), Ok(Some(_)));
    if !has_systemd {
        return Err(Error::unsupported("there is no systemd here").at(UNITS).hint(
            "let cron start `trustup renew --quiet` (`docs/guide/renewal.md` has a line), or run `trustup renew --daemon` beside the service",
        ));
    }
    let wanted = [(SERVICE, command.service()?), (TIMER, units::timer())];
    let mut changes: Vec<(&str, Option<&str>)> = Vec::new();
    for (path, text) in &wanted {
        if ours(host, path)?.as_deref() != Some(text.as_bytes()) {
            changes.push((path, Some(text)));
        }
    }
    let is_enabled = host.read_link(WANTED)?.is_some();
    let is_running = matches!(host.stat(RUNS), Ok(Some(_)));
    let mut changed: Vec<String> = changes.iter().map(|(path, _)| (*path).to_owned()).collect();
    if !is_enabled {
        changed.push(WANTED.to_owned());
    }
    if context.dry_run || changed.is_empty() {
        return Ok(TimerOutcome { changed, is_running });
    }
    apply(host, &changes, (!is_enabled && !is_running).then_some(true))?;
    if is_running {
        systemctl(context, &["daemon-reload"]).await?;
        systemctl(context, &["enable", "--now", TIMER_NAME]).await?;
    }
    Ok(TimerOutcome { changed, is_running })
}

/// Stops and disables the timer, and removes what [`install`] wrote.
///
/// # Errors
/// A unit of that name is not ours; a file cannot be removed; systemctl fails.
pub(crate) async fn remove(context: &TimerContext<'_>) -> Result<TimerOutcome> {
    let host = context.host;
    let mut changes: Vec<(&str, Option<&str>)> = Vec::new();
    for path in [SERVICE, TIMER] {
        if ours(host, path)?.is_some() {
            changes.push((path, None));
        }
    }
    let is_enabled = host.read_link(WANTED)?.is_some();
    let is_running = matches!(host.stat(RUNS), Ok(Some(_)));
    let mut changed: Vec<String> = changes.iter().map(|(path, _)| (*path).to_owned()).collect();
    if is_enabled {
        changed.push(WANTED.to_owned());
    }
    if context.dry_run || changed.is_empty() {
        return Ok(TimerOutcome { changed, is_running });
    }
    let has_timer = changes.iter().any(|(path, _)| *path == TIMER);
    if is_running && has_timer {
        systemctl(context, &["disable", "--now", TIMER_NAME]).await?;
    }
    host.look_again();
    apply(host, &changes, host.read_link(WANTED)?.is_some().then_some(false))?;
    if is_running {
        systemctl(context, &["daemon-reload"]).await?;
    }
    Ok(TimerOutcome { changed, is_running })
}

/// The content of a unit of ours; `None` if there is none.
///
/// # Errors
/// There is one of another program, or it cannot be read.
fn ours(host: &Sysroot, path: &str) -> Result<Option<Vec<u8>>> {
    let Some((bytes, _)) = host.read(path, LIMIT)? else { return Ok(None) };
    if bytes.starts_with(MARK.as_bytes()) {
        return Ok(Some(bytes));
    }
    Err(Error::failed("there is a unit of this name that trustup did not write")
        .at(text::escape(path))
        .hint("compare it with what `--dry-run` names, and remove or rename it first"))
}

/// Writes or removes units as one, and with `link` makes or removes the link that enables the timer.
fn apply(host: &Sysroot, units: &[(&str, Option<&str>)], link: Option<bool>) -> Result<()> {
    let attributes = Attributes { mode: 0o644, owner: None, modified: None };
    let rules = Rules { no_links: true, ..Rules::default() };
    let change = |path, after| Change { path, before: Before::Anything, after, rules };
    let mut changes = Vec::new();
    for directory in [UNITS, WANTS] {
        let is_needed = directory == UNITS || link == Some(true);
        if is_needed && host.stat(directory)?.is_none() {
            changes.push(change(directory, After::Directory(0o755, None)));
        }
    }
    // Not enabled before it is there, and not there longer than it is enabled.
    if link == Some(false) {
        changes.push(change(WANTED, After::Absent));
    }
    changes.extend(units.iter().map(|(path, text)| match text {
        Some(text) => change(*path, After::File(text.as_bytes(), attributes)),
        None => change(*path, After::Absent),
    }));
    if link == Some(true) {
        changes.push(change(WANTED, After::Link(TIMER)));
    }
    let mut set = FileSet::unlocked(host, None)?;
    // What changed before is undone; what could not be is named.
    set.apply(&changes, &mut Checkpoints::off()).map_err(|(_, error)| error.with_changed(set.undo()))
}

async fn systemctl(context: &TimerContext<'_>, arguments: &[&str]) -> Result<()> {
    let program = process::find(context.host, "systemctl")?.ok_or_else(|| {
        Error::failed("systemd runs here, and there is no `systemctl`")
            .hint("install the package that has it, or run this on the host and not in a container with its directories")
    })?;
    let control = (context.children, context.shutdown);
    let limit = (SYSTEMCTL_TIME, ErrorKind::Failed);
    process::run_program("systemctl", control, context.env, &program, arguments, (&[], limit)).await
}
