//! What users and scripts read, beside files in `tests/snapshots/`: every help text (`help`), one message for each kind of
//! error and command (`errors`), the JSON of the main commands (`json`). `SNAPSHOTS=overwrite cargo test --test hermetic
//! snapshots` writes them anew; the diff shows what changed for users. `rules` holds what must be in none of them.

mod errors;
mod help;
mod json;
mod rules;
mod servers;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use snapbox::Data;
use snapbox::assert::Assert;
use snapbox::data::DataFormat;

/// Where the files are.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots")
}

/// Texts that are compared with the files of one directory; each file has to be one of them.
struct Snapshots {
    directory: PathBuf,
    seen: BTreeSet<String>,
}

impl Snapshots {
    fn of(directory: &str) -> Snapshots {
        Snapshots { directory: self::directory().join(directory), seen: BTreeSet::new() }
    }

    /// Compares the text with the file of this name.
    #[track_caller]
    fn compare(&mut self, name: &str, text: impl Into<String>) {
        let file = Data::read_from(&self.directory.join(name), Some(DataFormat::Text)).raw();
        Assert::new().action_env("SNAPSHOTS").eq(Data::text(text), file);
        assert!(self.seen.insert(name.to_owned()), "two of the name {name}");
    }

    /// No file is left of what is no longer compared.
    #[track_caller]
    fn end(self) {
        let files = fs::read_dir(&self.directory).unwrap();
        let files: BTreeSet<String> =
            files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        let left: Vec<_> = files.difference(&self.seen).collect();
        assert!(left.is_empty(), "of no test, to be removed from {}: {left:?}", self.directory.display());
    }
}

/// What differs from run to run, and what stands for it.
#[derive(Default)]
struct Varying(Vec<(String, String)>);

impl Varying {
    fn and(mut self, value: impl ToString, shown: &str) -> Self {
        self.0.push((value.to_string(), shown.to_owned()));
        // The longest first: a path before that of its directory.
        self.0.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        self
    }

    fn path(self, path: &Path, shown: &str) -> Self {
        self.and(path.display(), shown)
    }

    /// The text without what varies: the given values, fingerprints, times, ports on loopback.
    fn hide(&self, text: &str) -> String {
        // First, since names have the beginning of a fingerprint.
        let text = hide_runs(text, 64, 64, |c| c.is_ascii_hexdigit(), "[SHA256]");
        let mut text = self.0.iter().fold(text, |text, (value, shown)| text.replace(value, shown));
        let hex = |text: &str| text.bytes().take_while(u8::is_ascii_hexdigit).count();
        for before in ["trustup-demo-", "development CA "] {
            text = hide_behind(&text, before, hex, "[HEX]");
        }
        for host in ["127.0.0.1:", "localhost:"] {
            // Ports of fewer digits are those that a test names.
            let port = |text: &str| {
                let digits = text.bytes().take_while(u8::is_ascii_digit).count();
                if digits == 5 { digits } else { 0 }
            };
            text = hide_behind(&text, host, port, "[PORT]");
        }
        text = hide_shape(&text, "dddd-dd-dd dd:dd:dd UTC", "[TIME]");
        text = hide_shape(&text, "dddd-dd-ddTdd:dd:ddZ", "[TIME]");
        hide_shape(&text, "dddd-dd-dd", "[DATE]")
    }
}

/// Replaces as many bytes behind each `before` as `length` says of what follows.
fn hide_behind(text: &str, before: &str, length: impl Fn(&str) -> usize, shown: &str) -> String {
    let mut parts = text.split(before);
    let mut hidden = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let length = length(part);
        hidden.push_str(before);
        hidden.push_str(if length > 0 { shown } else { "" });
        hidden.push_str(&part[length..]);
    }
    hidden
}

/// Replaces every run of characters of a kind that has a length within these limits.
fn hide_runs(text: &str, least: usize, most: usize, is: impl Fn(char) -> bool, shown: &str) -> String {
    let mut hidden = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_first = is(first);
        let end = rest.find(|c| is(c) != is_first).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(end);
        hidden.push_str(if is_first && (least..=most).contains(&run.len()) { shown } else { run });
        rest = behind;
    }
    hidden
}

/// Replaces what has this shape, in which `d` is a digit.
fn hide_shape(text: &str, shape: &str, shown: &str) -> String {
    let matches = |at: usize| {
        text.as_bytes().get(at..at + shape.len()).is_some_and(|bytes| {
            bytes.iter().zip(shape.bytes()).all(|(byte, wanted)| match wanted {
                b'd' => byte.is_ascii_digit(),
                other => *byte == other,
            })
        })
    };
    let mut hidden = String::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if matches(at) {
            hidden.push_str(shown);
            at += shape.len();
        } else {
            hidden.push(c);
            at += c.len_utf8();
        }
    }
    hidden
}

#[test]
fn what_varies_is_hidden_and_nothing_else() {
    let varying = Varying::default().and("/tmp/x", "[DIR]").and("/tmp/x/y", "[FILE]");
    let text = format!("/tmp/x/y /tmp/x/z {} 2026-11-30T12:00:00Z", "0f".repeat(32));
    assert_eq!(varying.hide(&text), "[FILE] [DIR]/z [SHA256] [TIME]");
    let text = "2026-11-30 12:00:00 UTC 2026-11-30 127.0.0.1:34567/x 127.0.0.1:1 localhost:443 é";
    assert_eq!(varying.hide(text), "[TIME] [DATE] 127.0.0.1:[PORT]/x 127.0.0.1:1 localhost:443 é");
    assert_eq!(varying.hide(&"ab".repeat(33)), "ab".repeat(33));
}
