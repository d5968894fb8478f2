//! How many instructions the built-in updater takes, counted by callgrind.

use std::fs;
use std::process::Command;

use super::{Arena, verdict, wrap};
use crate::Outcome;

/// The instructions of one run that adds the root; `None` without valgrind.
pub(super) fn of(arena: &Arena) -> Outcome<Option<u64>> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Ok(None);
    }
    let report = arena.directory.join("callgrind");
    let in_callgrind = |command: &mut Command| {
        let mut outer = Command::new("valgrind");
        outer.args(["--tool=callgrind", "--quiet"]);
        outer.arg(format!("--callgrind-out-file={}", report.display()));
        wrap(&mut outer, command)
    };
    arena.builtin(&mut { in_callgrind })?;
    let text = fs::read_to_string(&report).map_err(|error| format!("`{}`: {error}", report.display()))?;
    let count = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    count.map(Some).ok_or_else(|| "callgrind gave no total".to_owned())
}

/// The count, and whether it keeps the budget.
pub(super) fn line(count: u64, most: Option<u64>) -> String {
    let millions = |count: u64| count.div_ceil(1_000_000);
    match most {
        Some(most) => format!(
            "instructions {:>5} million (budget {} million, {})",
            millions(count),
            millions(most),
            verdict(count <= most)
        ),
        None => format!("instructions {:>5} million", millions(count)),
    }
}
