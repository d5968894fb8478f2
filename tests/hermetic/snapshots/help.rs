//! The help of every command and subcommand, at a width of 100; and the other ways to it.

use super::Snapshots;
use crate::support::run::Trustup;

/// A run whose help is as wide as the files are.
fn trustup<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Trustup {
    Trustup::new(arguments).env("COLUMNS", "100")
}

/// The commands that a help text lists, `help` aside.
fn listed(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    lines
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(ToOwned::to_owned)
        .collect()
}

/// Every command, found by asking: its words, and its help.
fn all() -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    let mut left = vec![Vec::<String>::new()];
    while let Some(command) = left.pop() {
        let run = trustup(&command).arg("--help").ok();
        assert_eq!(run.stderr, "", "{run}");
        assert!(run.stdout.contains("Exit codes:"), "{run}");
        for name in listed(&run.stdout) {
            left.push([command.clone(), vec![name]].concat());
        }
        found.push((command, run.stdout));
    }
    assert!(found.len() > 12, "{found:?}");
    found.sort();
    found
}

#[test]
fn the_help_of_every_command() {
    let mut snapshots = Snapshots::of("help");
    for (command, help) in all() {
        let name = if command.is_empty() { "trustup".to_owned() } else { command.join("-") };
        snapshots.compare(&format!("{name}.txt"), help);
    }
    snapshots.end();
}

#[test]
fn help_is_a_command_too() {
    for (command, help) in all() {
        let run = trustup(["help"]).args(&command).ok();
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), (help.as_str(), ""), "{run}");
    }
    trustup(["help", "frobnicate"]).fails(2).says(["frobnicate"]);
}

#[test]
fn version_is_a_command_too() {
    let wanted = concat!("trustup ", env!("CARGO_PKG_VERSION"), "\n");
    for arguments in [&["version"][..], &["--version"], &["-V"], &["version", "-q"]] {
        let run = trustup(arguments).ok();
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), (wanted, ""), "{run}");
    }
    assert_eq!(trustup(["version", "--json"]).ok().json()["version"], env!("CARGO_PKG_VERSION"));
}

/// A letter too much, in every command.
#[test]
fn a_misspelt_command_gets_a_suggestion() {
    for (command, _) in all() {
        let Some(last) = command.last() else { continue };
        let wrong = format!("{last}{}", &last[last.len() - 1..]);
        let misspelt = [&command[..command.len() - 1], std::slice::from_ref(&wrong)].concat();
        let run = trustup(&misspelt).fails(2);
        run.says([wrong.as_str(), &format!("'{last}'")]);
        assert_eq!(run.stdout, "", "{run}");
        let answer = trustup(&misspelt).arg("--json").fails(2).json();
        assert!(answer["error"]["hints"].to_string().contains(&format!("'{last}'")), "{answer}");
    }
}
