//! The only module that prints. stdout is data (JSON, requested reports), stderr is for people. Text from certificates,
//! servers, images and tools arrives here escaped (`text::escape`).
//!
//! The rules for standard streams, the same in every command:
//!
//! - A stream that is closed at start is `/dev/null` (the standard library opens it before `main`).
//! - Data that cannot be written is [`Lost`]. A command that only reports fails with it (exit 1); a command that
//!   changed something has finished its work before it reports, and reports that only the report is missing (exit 7,
//!   [`Lost::after_work`]); `-- COMMAND` is executed nevertheless.
//! - A reader that closed the pipe (`| head`) has enough: no error, no message, the command's own exit code.
//! - A message that cannot be written to stderr is dropped: it never changes what the command does, nor its exit code.
//!
//! Nothing is buffered, so that no error is left for a flush at exit, where it would go unnoticed.

pub(crate) mod json;

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use serde::Serialize;

use self::json::{ErrorDetails, FailureReport, JsonDocument, JsonReport};
use super::output::log::LogLine;
use crate::error::{Error, ErrorKind, Result};
use crate::host::env::Env;
use crate::renew::log::{Event, Level, LogEntry};
use crate::settings::filled_in::without_filled_in;
use crate::settings::rows::LogFormat;
use crate::trust::plan::StepView;

/// A report that could not be written to standard output.
#[derive(Debug)]
#[must_use]
pub(crate) struct Lost(io::Error);

/// In a command that only reports: the report was its only purpose.
impl From<Lost> for Error {
    fn from(lost: Lost) -> Error {
        Error::failed("could not write to standard output")
            .because(lost.0)
            .hint("redirect standard output to a file or device that can be written and has room, and run the command again")
    }
}

impl Lost {
    /// In a command that has finished its work: whether it changed anything decides the exit code. `next` is the hint on
    /// how to get the report; the caller adds the changed paths.
    pub(crate) fn after_work(self, changed: bool, next: &str) -> Error {
        if !changed {
            return self.into();
        }
        let what = "the work is done; only its report could not be written to standard output";
        Error::new(ErrorKind::Changed, what).because(self.0).hint(next)
    }

    /// If something else decides the exit code (a service to start, another error): a line on stderr says what is
    /// missing.
    pub(crate) fn mention(self, ui: Ui) {
        ui.warn(format!("the report could not be written to standard output: {}", self.0));
    }
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// A moving sign on a terminal; gone when dropped.
#[derive(Debug)]
pub(crate) struct Busy(ProgressBar);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// The output settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ui {
    /// `--json`: one object on stdout.
    pub(crate) json: bool,
    /// `-q`: errors only.
    pub(crate) quiet: bool,
    /// `-v`: the plan and the reasons, too.
    pub(crate) verbose: bool,
    color: bool,
    color_out: bool,
    /// The clock of log lines, if standard error has JSON objects.
    log: Option<&'static Env>,
    /// Every warning so far, for the `warnings` of the JSON object: copies of a `Ui` share them.
    warnings: &'static Mutex<Vec<String>>,
}

impl Ui {
    /// Decides how to print; `no_color`: whether the environment requests plain text.
    pub(crate) fn new(json: bool, quiet: bool, verbose: bool, color: Color, no_color: bool) -> Self {
        let color_on = |is_terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && !no_color,
        };
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        // There is one per command line, needed until the process ends.
        let warnings = Box::leak(Box::default());
        Ui { json, quiet, verbose, color: color_on(err), color_out: color_on(out), log: None, warnings }
    }

    /// The same with standard error in this format; lines have the time of `env`.
    pub(crate) fn with_log(self, format: LogFormat, env: &Env) -> Self {
        // There is one per command line, needed until the process ends.
        let clock = || &*Box::leak(Box::new(env.clone()));
        Ui { log: (format == LogFormat::Json).then(clock), ..self }
    }

    /// Whether standard error has JSON objects.
    pub(crate) fn logs_json(&self) -> bool {
        self.log.is_some()
    }

    /// Shows on a terminal that something takes time, until the result is dropped.
    pub(crate) fn busy(&self, with: &'static str) -> Option<Busy> {
        let shown = !self.quiet && !self.json && self.log.is_none() && io::stderr().is_terminal();
        // The ticking needs a thread, and indicatif panics if the system provides none.
        let has_threads =
            || std::thread::Builder::new().spawn(|| ()).is_ok_and(|thread| thread.join().is_ok());
        (shown && has_threads()).then(|| {
            let spinner = ProgressBar::new_spinner().with_message(with);
            spinner.enable_steady_tick(Duration::from_millis(120));
            Busy(spinner)
        })
    }

    /// A line about progress.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        match self.log {
            _ if self.quiet => {}
            Some(_) => self.log(&LogEntry::info(Event::Note, line.as_ref())),
            None => to_stderr(&without_filled_in(line.as_ref())),
        }
    }

    /// An entry of the log: errors even if nothing else is wanted.
    pub(crate) fn log(&self, entry: &LogEntry) {
        if self.quiet && entry.level != Level::Error {
            return;
        }
        match self.log {
            Some(clock) => {
                if let Ok(line) = serde_json::to_string(&LogLine::new(entry, clock.now())) {
                    to_stderr(&line);
                }
            }
            None => entry.lines().iter().for_each(|line| to_stderr(&without_filled_in(line))),
        }
    }

    /// A line for `-v` only.
    pub(crate) fn detail(&self, line: impl AsRef<str>) {
        if self.verbose {
            self.say(line);
        }
    }

    /// A warning: a line on stderr (not with `-q`), and an element of `warnings` in the JSON object that follows.
    pub(crate) fn warn(&self, line: impl AsRef<str>) {
        let line = without_filled_in(line.as_ref());
        match self.log {
            _ if self.quiet => {}
            Some(_) => self.log(&LogEntry::warning(line.as_ref())),
            None => to_stderr(&format!("{} {line}", self.paint("33", "warning:"))),
        }
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(line.into_owned());
    }

    /// The steps of a plan.
    pub(crate) fn plan(&self, steps: &[StepView]) {
        for step in steps {
            let mut line = format!("  {} {}", self.paint("1", step.action.word()), step.path);
            if let Some(target) = &step.target {
                line.push_str(&format!(" -> {target}"));
            }
            if let Some(arguments) = &step.arguments {
                for argument in arguments {
                    line.push_str(&format!(" {argument}"));
                }
            }
            if let Some(mode) = &step.mode {
                line.push_str(&format!(" ({mode})"));
            }
            self.say(format!("{line}: {}", step.reason));
        }
    }

    /// A line of a requested report.
    ///
    /// # Errors
    /// It cannot be written; a reader that closed the pipe (`| head`) is no error.
    pub(crate) fn data(&self, line: impl AsRef<str>) -> Result<(), Lost> {
        match write_line(io::stdout(), line.as_ref()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Lost(error)),
            _ => Ok(()),
        }
    }

    /// The requested help or version text of clap.
    ///
    /// # Errors
    /// As [`Ui::data`].
    pub(crate) fn help(&self, text: &clap::Error) -> Result<(), Lost> {
        let text = text.render();
        let text = if self.color_out { text.ansi().to_string() } else { text.to_string() };
        self.data(text.trim_end_matches('\n'))
    }

    /// A usage error in clap's words.
    pub(crate) fn usage(&self, error: &clap::Error) {
        let text = error.render();
        let text = if self.color { text.ansi().to_string() } else { text.to_string() };
        to_stderr(&without_filled_in(text.trim_end_matches('\n')));
    }

    /// The report as a JSON object, if `--json` was given. The warnings so far are in it.
    ///
    /// # Errors
    /// As [`Ui::data`].
    pub(crate) fn result<R: JsonReport>(&self, report: &R) -> Result<(), Lost> {
        if self.json { self.object(report) } else { Ok(()) }
    }

    /// The requested report as a JSON object. The warnings so far are in it.
    ///
    /// # Errors
    /// As [`Ui::data`].
    pub(crate) fn object<R: JsonReport>(&self, report: &R) -> Result<(), Lost> {
        self.document(R::COMMAND, report)
    }

    fn document(&self, command: &str, report: impl Serialize) -> Result<(), Lost> {
        let warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = serde_json::to_string(&JsonDocument::new(command, report, warnings));
        self.data(text.map_err(|error| Lost(error.into()))?)
    }

    /// An error: heading, place, causes, hints; with `--json` as an object, too.
    pub(crate) fn error(&self, command: &str, error: &Error) {
        let place = error.place().map(|place| format!(": `{place}`")).unwrap_or_default();
        let mut text = format!("{} {}{place}", self.paint("31;1", "error:"), error.what());
        let mut line = |label: &str, said: &str| {
            // Writing to a string does not fail.
            let _ = write!(text, "\n  {label} {said}");
        };
        error.causes().iter().for_each(|cause| line("because:", cause));
        error.changed().iter().for_each(|path| line(&self.paint("31", "left changed:"), path));
        error.hints().iter().for_each(|hint| line(&self.paint("36", "hint:"), hint));
        match self.log {
            Some(_) => {
                let entry = LogEntry::error(Event::Ended, error.to_string(), error);
                self.log(&LogEntry { hints: error.hints().to_vec(), ..entry });
            }
            None => to_stderr(&without_filled_in(&text)),
        }
        // stderr has it, whatever happens to stdout.
        if self.json {
            let _ = self.document(command, FailureReport { error: ErrorDetails::from(error) });
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// The exit code of a defect of ours: Rust's own for a panic.
const DEFECT: i32 = 101;

/// From now on a panic, which is a defect of trustup, ends the process with a normal message and exit code 101: no
/// backtrace whatever the environment says, and no signal, which an init would treat as a crash of the service.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let what = text.or(payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        let place = panic.location().map(|place| format!(": `{place}`")).unwrap_or_default();
        to_stderr(&format!(
            "error: defect in trustup{place}\n  because: {}\n  hint: please report it with this message and the command; the next run undoes an interrupted one",
            crate::text::escape(what)
        ));
        #[expect(clippy::exit, reason = "after a panic nothing may unwind, and the shipped binary cannot")]
        std::process::exit(DEFECT);
    }));
}

/// Writes a line for people; if that fails, there is no one to tell.
fn to_stderr(line: &str) {
    let _ = write_line(io::stderr(), line);
}

/// Writes a line in one piece, as far as the system accepts it, bypassing the buffers of the standard library.
fn write_line(stream: impl AsFd, line: &str) -> io::Result<()> {
    let text = format!("{line}\n");
    let mut left = text.as_bytes();
    while !left.is_empty() {
        match rustix::io::write(stream.as_fd(), left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => left = &left[written..],
            Err(Errno::INTR) => {}
            // Our caller may share a stream that does not block (node does so with its pipes).
            Err(Errno::AGAIN) => {
                rustix::event::poll(&mut [PollFd::new(&stream, PollFlags::OUT)], None)
                    .or_else(|error| if error == Errno::INTR { Ok(0) } else { Err(error) })?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
