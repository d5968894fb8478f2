//! `docs/cli.md`: every command as Markdown, made from the same declarations as `--help`. A file that differs fails the
//! test, and `SNAPSHOTS=overwrite cargo test --lib cli` rewrites it.

mod options;
mod reference;

use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, Command};
use snapbox::Data;
use snapbox::assert::Assert;
use snapbox::data::DataFormat;

use super::EXIT_CODES;

const HEAD: &str = "\
# The command line

This page is made from the help texts (`trustup help COMMAND` prints them); change those, and run
`SNAPSHOTS=overwrite cargo test --lib cli`. [schema/](schema/README.md) has what `--json` prints.
";

/// The whole page.
fn page() -> String {
    let mut top = super::command();
    top.build();
    let mut page = HEAD.to_owned();
    let _ = write!(page, "\n{}\n", prose(&text(top.get_about())));
    page.push_str("\n| command | |\n| --- | --- |\n");
    let all = commands(&top, &[]);
    for (path, command) in &all {
        let name = path.join(" ");
        let about = prose(&text(command.get_about()));
        let _ = writeln!(page, "| [`trustup {name}`](#{}) | {about} |", anchor(&name));
    }
    arguments(&mut page, &top, &[]);
    page.push_str("\n## Exit codes and variables\n");
    behind(&mut page, EXIT_CODES);
    let global: Vec<&str> = top.get_arguments().map(|arg| arg.get_id().as_str()).collect();
    for (path, command) in all {
        let _ = write!(page, "\n## `trustup {}`\n\n{}\n", path.join(" "), prose(&text(command.get_about())));
        let usage = command.clone().render_usage().to_string();
        let _ = write!(page, "\n```text\n{}\n```\n", usage.trim_start_matches("Usage: "));
        arguments(&mut page, command, &global);
        let help = text(command.get_after_help());
        behind(&mut page, help.strip_suffix(EXIT_CODES).unwrap_or(&help));
    }
    page
}

/// Every command that does something, each before its own subcommands.
fn commands<'a>(command: &'a Command, path: &[&'a str]) -> Vec<(Vec<&'a str>, &'a Command)> {
    let mut found = Vec::new();
    for one in command.get_subcommands().filter(|one| one.get_name() != "help") {
        let path = [path, &[one.get_name()]].concat();
        found.push((path.clone(), one));
        found.extend(commands(one, &path));
    }
    found
}

/// GitHub's anchor for the heading of a command.
fn anchor(name: &str) -> String {
    format!("trustup-{}", name.replace(' ', "-"))
}

fn text(styled: Option<&clap::builder::StyledStr>) -> String {
    styled.map(ToString::to_string).unwrap_or_default()
}

/// The text with Markdown's special characters escaped; code in backticks stays as it is.
fn prose(text: &str) -> String {
    let escaped = |part: &str| part.replace('<', "\\<").replace('*', "\\*").replace('|', "\\|");
    let parts = text.split('`').enumerate();
    let parts: Vec<String> =
        parts.map(|(at, part)| if at % 2 == 0 { escaped(part) } else { part.to_owned() }).collect();
    parts.join("`")
}

/// The arguments under their headings, except those in `left_out`.
fn arguments(page: &mut String, command: &Command, left_out: &[&str]) {
    let shown = |arg: &&Arg| {
        !arg.is_hide_set()
            && !left_out.contains(&arg.get_id().as_str())
            && !matches!(arg.get_id().as_str(), "help" | "version")
    };
    let all: Vec<&Arg> = command.get_arguments().filter(shown).collect();
    let mut headings: Vec<&str> = Vec::new();
    for arg in &all {
        if !headings.contains(&heading(arg)) {
            headings.push(heading(arg));
        }
    }
    for wanted in headings {
        let level = if left_out.is_empty() { "##" } else { "###" };
        let _ = write!(page, "\n{level} {wanted}\n\n");
        for arg in all.iter().filter(|arg| heading(arg) == wanted) {
            let _ = writeln!(page, "- {}", argument(arg));
        }
    }
}

fn heading(arg: &Arg) -> &str {
    arg.get_help_heading().unwrap_or(if arg.is_positional() { "Arguments" } else { "Options" })
}

/// An argument, its purpose, and its values.
fn argument(arg: &Arg) -> String {
    let takes_value = arg.get_action().takes_values();
    let names = arg.get_value_names().unwrap_or_default();
    let value = names.iter().map(|name| format!("<{name}>")).collect::<Vec<_>>().join(" ");
    let written = match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) if takes_value => format!("-{short}, --{long} {value}"),
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (None, Some(long)) if takes_value => format!("--{long} {value}"),
        (None, Some(long)) => format!("--{long}"),
        _ if arg.is_last_set() => format!("-- {value}…"),
        _ => value,
    };
    let mut line = format!("`{written}`: {}", prose(&text(arg.get_help())));
    let values = arg.get_possible_values();
    if takes_value && !values.is_empty() && !arg.is_hide_possible_values_set() {
        let shown = values.iter().map(|value| {
            let help = prose(&text(value.get_help()));
            let help = if help.is_empty() { help } else { format!(": {help}") };
            format!("\n  - `{}`{help}", value.get_name())
        });
        line.extend(shown);
    }
    let default = arg.get_default_values();
    if takes_value && !default.is_empty() && !arg.is_hide_default_value_set() {
        let default: Vec<_> = default.iter().map(|value| value.to_string_lossy()).collect();
        let at = line.find('\n').unwrap_or(line.len());
        line.insert_str(at, &format!(" [default: {}]", default.join(", ")));
    }
    line
}

/// The text after the options: examples and lists as they are, sentences as Markdown.
fn behind(page: &mut String, help: &str) {
    for part in help.split("\n\n").map(str::trim_end).filter(|part| !part.is_empty()) {
        match part.split_once(":\n  ") {
            Some((title, lines)) => {
                let _ = write!(page, "\n{title}:\n\n```text\n  {lines}\n```\n");
            }
            None => {
                let _ = write!(page, "\n{}\n", prose(part));
            }
        }
    }
}

#[test]
fn the_page_of_the_command_line_is_made_from_the_help() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let file = Data::read_from(&file, Some(DataFormat::Text)).raw();
    Assert::new().action_env("SNAPSHOTS").eq(Data::text(page()), file);
}
