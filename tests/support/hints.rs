//! Follows a hint as a user would: takes the command between its backticks, fills in the words in capitals, runs it.

use std::path::Path;
use std::process::Command;

use super::run::Run;

/// The commands that the hints of a run have, in order: whatever is between backticks and not an option alone.
pub fn commands(run: &Run) -> Vec<String> {
    let hints = run.stderr.lines().filter_map(|line| line.trim_start().strip_prefix("hint: "));
    let quoted = hints.flat_map(|hint| hint.split('`').skip(1).step_by(2));
    quoted.map(str::to_owned).collect()
}

/// The first command of the hints that begins with `program`.
#[track_caller]
pub fn command(run: &Run, program: &str) -> String {
    let found =
        commands(run).into_iter().find(|command| command.trim_start_matches('(').starts_with(program));
    found.unwrap_or_else(|| panic!("no hint with a command of `{program}`: {run}"))
}

/// Runs a hint's command with `sh` in `directory`; `words` are the words in capitals and what the user writes for them.
/// Programs ask for passwords on standard input, where `answer` is.
#[track_caller]
pub fn follow(command: &str, directory: &Path, words: &[(&str, &str)], answer: &str) {
    let mut filled = command.to_owned();
    for (word, value) in words {
        filled = filled.replace(word, value);
    }
    let mut child = Command::new("sh");
    child.args(["-e", "-c", &filled]).current_dir(directory).env_clear();
    child.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", directory);
    let answers = directory.join(".answers");
    std::fs::write(&answers, answer).unwrap();
    let output = child.stdin(std::fs::File::open(&answers).unwrap()).output().unwrap();
    assert!(output.status.success(), "`{filled}`: {}", String::from_utf8_lossy(&output.stderr));
}
