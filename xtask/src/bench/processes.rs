//! Programs that are measured: started, timed, and their output kept for errors.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;

/// `command`, run by bash, which writes its processor time to `report`.
pub(super) fn in_bash(command: &mut Command, report: &Path) -> Command {
    let script = "TIMEFORMAT='%3U %3S'; { time \"$@\" >\"$0.out\" 2>&1; } 2>\"$0\"";
    wrap(Command::new("bash").args(["-c", script]).arg(report), command)
}

/// What bash wrote there.
pub(super) fn processor_in(report: &Path) -> Outcome<Duration> {
    let text = fs::read_to_string(report).map_err(|error| format!("`{}`: {error}", report.display()))?;
    let parsed: Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
    match parsed.as_deref() {
        Ok([user, system]) => Ok(Duration::from_secs_f64(user + system)),
        _ => Err(format!("bash said {text:?}")),
    }
}

/// The time that `command` takes on the processors.
pub(super) fn processor(command: &mut Command, report: &Path) -> Outcome<Duration> {
    finish(&mut in_bash(command, report))?;
    processor_in(report)
}

/// `command` as the last arguments of `outer`, in the same environment.
pub(super) fn wrap(outer: &mut Command, command: &mut Command) -> Command {
    outer.arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            outer.env(name, value);
        }
    }
    std::mem::replace(outer, Command::new("true"))
}

/// Runs `command` and gives its wall time; an error with its output if it fails.
pub(super) fn timed(command: &mut Command) -> Outcome<Duration> {
    let start = Instant::now();
    finish(command)?;
    Ok(start.elapsed())
}

/// Runs `command` to its end.
pub(super) fn finish(command: &mut Command) -> Outcome {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("could not start {:?}: {error}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// The middle of the measured times.
pub(super) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
