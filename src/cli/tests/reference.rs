//! docs/trustup-toml.md: every key of trustup.toml, from the rows that read it.

use std::fmt::Write as _;
use std::path::Path;

use snapbox::Data;
use snapbox::assert::Assert;
use snapbox::data::DataFormat;

use super::super::{CommandRow, bootstrap, enroll, renew};
use crate::certificate::issue::methods::table::METHODS;
use crate::settings::rows::ALL;
use crate::settings::{OptionKind, Row};

const HEAD: &str = "# Keys of trustup.toml

Made from the table of options (`SNAPSHOTS=overwrite cargo test --lib cli`). What the file is for, with an example:
[guide](guide/configuration.md). A key with the value *secret* or *text* may be `KEY_file` instead, which names a file that holds it.
In every string `${NAME}` is replaced by an environment variable, and `${NAME:-default}` by that or the default.
";

/// It is in no option, and so in no row.
const HOOK: &str = "
## `[[hook]]` and `[[certificate.hook]]`

| key | value | meaning |
| --- | --- | --- |
| `command` | list: text, required | The absolute path of a program that `renew` runs after a change (of any certificate and of the trust stores, or of this certificate and of the trust stores), and its arguments; no shell is involved |
| `timeout` | text | How long it may take, 1s to 1h [default: 1m] |
";

/// The value of a key, in a word or two.
fn value(row: &dyn Row) -> String {
    let word = match row.spec().kind {
        OptionKind::Switch => return "`true`, `false`".to_owned(),
        OptionKind::Words(words) => {
            return words().iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        }
        OptionKind::Path => "absolute path",
        OptionKind::Secret => "secret",
        OptionKind::Address if row.spec().value_name != "URL" => "text",
        OptionKind::Address => "URL",
        OptionKind::Text if row.spec().integers == Some(8) => "octal mode",
        OptionKind::Text => "text",
    };
    if row.is_repeatable() { format!("list: {word}") } else { word.to_owned() }
}

fn section(
    text: &mut String,
    heading: &str,
    table: &str,
    rows: &[(&'static dyn Row, &str)],
    required: &[&str],
) {
    let _ = write!(text, "\n## `{heading}`\n\n| key | value | meaning |\n| --- | --- | --- |\n");
    for (row, help) in rows {
        let Some(key) = row.spec().key_in(table) else { continue };
        let needed = if required.contains(&key) { ", required" } else { "" };
        // In the file the key holds the secret itself.
        let help = help.replace(": a file, `-` for standard input, or `fd:N`", "").replace('|', "\\|");
        let _ = writeln!(text, "| `{key}` | {}{needed} | {help} |", value(*row));
    }
}

fn reference() -> String {
    let mut text = HEAD.to_owned();
    // As in the help of the command that reads the table.
    let of = |command: &CommandRow| -> Vec<_> {
        let options = (command.options)();
        let help = |row: &dyn Row| {
            let own = options.iter().find(|taken| taken.row.spec().name == row.spec().name);
            own.map_or(row.spec().help, |taken| taken.help)
        };
        ALL.iter().map(|row| (*row, help(*row))).collect()
    };
    section(&mut text, "[ca]", "ca", &of(&enroll::ROW), &[]);
    section(&mut text, "[trust]", "trust", &of(&bootstrap::ROW), &[]);
    section(&mut text, "[renew]", "renew", &of(&renew::ROW), &[]);
    section(&mut text, "[[certificate]]", "certificate", &of(&enroll::ROW), &["names", "cert", "key"]);
    for method in METHODS {
        let help = |row: &'static dyn Row| {
            let taken = method.options.iter().find(|taken| taken.row.spec().name == row.spec().name);
            (row, taken.map_or(row.spec().help, |taken| taken.help))
        };
        let rows: Vec<_> = method.rows.iter().map(|row| help(*row)).collect();
        let heading = format!("[[certificate.enroll]] method = \"{}\"", method.word);
        section(&mut text, &heading, "enroll", &rows, method.required);
    }
    text.push_str(HOOK);
    text
}

#[test]
fn the_reference_is_what_the_rows_say() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/trustup-toml.md");
    let file = Data::read_from(&file, Some(DataFormat::Text)).raw();
    Assert::new().action_env("SNAPSHOTS").eq(Data::text(reference()), file);
}
