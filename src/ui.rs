//! The only place that prints. stdout is data (JSON, reports that were asked for), stderr is talk. Text from
//! certificates, servers, images and tools arrives here escaped (`text::escape`).

#![expect(clippy::print_stderr, reason = "this module owns the talking")]

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;

use crate::error::{Error, Result};
use crate::plan::StepView;

/// Version of every JSON object that we print.
pub const SCHEMA: u32 = 1;

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
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
pub struct Busy(ProgressBar);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// How to talk.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    /// `--json`: one object on stdout.
    pub json: bool,
    /// `-q`: errors only.
    pub quiet: bool,
    /// `-v`: the plan and the reasons, too.
    pub verbose: bool,
    color: bool,
}

impl Ui {
    /// Settles how to talk; `no_color` is whether the variable NO_COLOR is set.
    pub fn new(json: bool, quiet: bool, verbose: bool, color: Color, no_color: bool) -> Self {
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::io::stderr().is_terminal() && !no_color,
        };
        Ui { json, quiet, verbose, color }
    }

    /// Shows on a terminal that something takes its time, until the answer is dropped.
    pub fn busy(&self, with: &'static str) -> Option<Busy> {
        let shown = !self.quiet && !self.json && std::io::stderr().is_terminal();
        shown.then(|| {
            let spinner = ProgressBar::new_spinner().with_message(with);
            spinner.enable_steady_tick(Duration::from_millis(120));
            Busy(spinner)
        })
    }

    /// A line about what goes on.
    pub fn say(&self, line: impl AsRef<str>) {
        if !self.quiet {
            eprintln!("{}", line.as_ref());
        }
    }

    /// A line for `-v` only.
    pub fn detail(&self, line: impl AsRef<str>) {
        if self.verbose {
            self.say(line);
        }
    }

    /// A warning.
    pub fn warn(&self, line: impl AsRef<str>) {
        if !self.quiet {
            eprintln!("{} {}", self.paint("33", "warning:"), line.as_ref());
        }
    }

    /// The steps of a plan.
    pub fn plan(&self, steps: &[StepView]) {
        for step in steps {
            let mut line = format!("  {} {}", self.paint("1", step.action), step.path);
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

    /// A line of a report that was asked for.
    ///
    /// # Errors
    /// It cannot be written; a reader that went away (`| head`) is no error.
    pub fn data(&self, line: impl AsRef<str>) -> Result<()> {
        match writeln!(std::io::stdout(), "{}", line.as_ref()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Error::failed("could not write to standard output")
                    .because(error)
                    .hint("what the command does to the root file system is done: `trustup status` shows it"))
            }
            _ => Ok(()),
        }
    }

    /// The result as JSON, if `--json` was given: `fields` plus schema and command.
    ///
    /// # Errors
    /// As [`Ui::data`].
    pub fn result(&self, command: &str, fields: impl Serialize) -> Result<()> {
        if self.json { self.object(command, fields) } else { Ok(()) }
    }

    /// A JSON object that was asked for: `fields` plus schema and command.
    ///
    /// # Errors
    /// As [`Ui::data`].
    pub fn object(&self, command: &str, fields: impl Serialize) -> Result<()> {
        let mut object = serde_json::Map::from_iter([
            ("schema".to_owned(), json!(SCHEMA)),
            ("command".to_owned(), json!(command)),
        ]);
        if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(fields) {
            object.extend(fields);
        }
        self.data(serde_json::Value::Object(object).to_string())
    }

    /// An error: heading, place, causes, hints; with `--json` as an object, too.
    pub fn error(&self, command: &str, error: &Error) {
        let place = error.place().map(|place| format!(": `{place}`")).unwrap_or_default();
        eprintln!("{} {}{place}", self.paint("31;1", "error:"), error.what());
        for cause in error.causes() {
            eprintln!("  because: {cause}");
        }
        for path in error.changed() {
            eprintln!("  {} {path}", self.paint("31", "left changed:"));
        }
        for hint in error.hints() {
            eprintln!("  {} {hint}", self.paint("36", "hint:"));
        }
        // stderr has it, whatever becomes of stdout.
        let _ = self.result(command, json!({ "error": Ui::fields(error) }));
    }

    /// An error as it stands in JSON.
    pub fn fields(error: &Error) -> serde_json::Value {
        json!({
            "kind": error.kind().word(),
            "exit_code": error.kind().exit_code(),
            "what": error.what(),
            "place": error.place(),
            "causes": error.causes(),
            "hints": error.hints(),
            "changed": error.changed(),
        })
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
