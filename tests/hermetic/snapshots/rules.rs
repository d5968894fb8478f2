//! What no text of ours has: the syntax of Rust's `Debug`, seconds since 1970; and the sources that could bring it there.

use std::fs;
use std::path::Path;

use super::directory;
use crate::layers::{files, read, without_tests};

/// What is wrong with a text, if anything is.
fn trouble(text: &str) -> Option<String> {
    for syntax in [
        "Some(",
        "None)",
        "Ok(",
        "Err(",
        "{ kind:",
        "Custom {",
        " { code: ",
        "(UNIX)",
        "since 1970",
        "\\\\\"",
    ] {
        if text.contains(syntax) {
            return Some(format!("`{syntax}`"));
        }
    }
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    for word in words {
        // From 2023 to 2033.
        let is_number = word.len() == 10 && word.bytes().all(|byte| byte.is_ascii_digit());
        if is_number && ["17", "18", "19"].iter().any(|start| word.starts_with(start)) {
            return Some(format!("seconds since 1970: {word}"));
        }
    }
    // `OtherError(…`: a variant of two or more words that has a value.
    for (at, _) in text.match_indices('(') {
        let before = &text[..at];
        let start = before.rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |at| at + 1);
        if is_variant(&before[start..]) {
            return Some(format!("`{}(`", &before[start..]));
        }
    }
    // `because: UnknownIssuer`: a variant where a sentence should be.
    for line in text.lines() {
        let last = line.rsplit(": ").next().unwrap_or_default();
        if line.contains(": ") && is_variant(last.trim_end_matches(['"', ',', '.'])) {
            return Some(format!("`{last}`"));
        }
    }
    None
}

/// `CamelCase` of at least two words.
fn is_variant(word: &str) -> bool {
    let capitals = word.chars().filter(char::is_ascii_uppercase).count();
    let has_hump =
        word.as_bytes().windows(2).any(|two| two[0].is_ascii_lowercase() && two[1].is_ascii_uppercase());
    word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.chars().all(|c| c.is_ascii_alphanumeric())
        && capitals >= 2
        && has_hump
}

fn texts(directory: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts(&path, found);
        } else {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn no_text_has_debug_output_or_seconds() {
    for (text, wanted) in [
        ("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))", true),
        ("because: UnknownIssuer", true),
        ("it expired at 1795469814", true),
        ("the value is Some(\"x\")", true),
        ("hyper::Error(Connect, ConnectError(\"tcp connect error\"))", true),
        ("Os { code: 2, kind: NotFound }", true),
        ("GnuTLS (libgnutls) reads it: JAVA_TOOL_OPTIONS", false),
        ("it expired at 2026-11-23 21:36:54 UTC (the clock here is right)", false),
    ] {
        assert_eq!(trouble(text).is_some(), wanted, "{text}");
    }
    let mut all = Vec::new();
    texts(&directory(), &mut all);
    texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema"), &mut all);
    assert!(all.len() > 80, "{}", all.len());
    let wrong: Vec<String> =
        all.iter().filter_map(|(file, text)| Some(format!("{file}: {}", trouble(text)?))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Lines that may use `Debug`: a file, and what is on the line.
const DEBUG: &[(&str, &str)] = &[
    // Implementations of `Debug` itself.
    ("rootfs/tree.rs", "write!(f, \"File("),
    ("dev_ca/server.rs", "write!(f, \"OwnCertificate("),
    ("pki/keystore/mod.rs", "write!(f, \"Entry("),
    ("pki/keystore/mod.rs", "write!(f, \"Keystore("),
    // Hashed, not shown.
    ("certificate/place.rs", "let mut all = format!("),
    // Takes the name of a variant out of it, and nothing else.
    ("text.rs", "let name = format!("),
];

/// Whether a line formats with `Debug`.
fn formats_debug(line: &str) -> bool {
    let code = line.trim_start();
    !code.starts_with("//") && (code.contains(":?}") || code.contains(":#?}"))
}

#[test]
fn debug_formats_nothing_that_is_shown() {
    assert!(formats_debug("let x = format!(\"{error:?}\");") && formats_debug("\"{:#?}\""));
    assert!(!formats_debug("// `{:?}` is for programmers"));
    let mut used = vec![false; DEBUG.len()];
    let mut wrong = Vec::new();
    for file in files("") {
        let source = read(&file);
        for line in without_tests(&source).lines().filter(|line| formats_debug(line)) {
            match DEBUG.iter().position(|(name, part)| *name == file && line.contains(part)) {
                Some(row) => used[row] = true,
                None => wrong.push(format!("{file}: {}", line.trim())),
            }
        }
    }
    assert!(wrong.is_empty(), "errors have texts, and `text::words` takes a name apart: {wrong:#?}");
    assert!(used.iter().all(|used| *used), "rows for nothing: {used:?} of {DEBUG:?}");
}

/// Where JSON is made without a struct: messages of protocols, and nothing that a command prints.
const PROTOCOLS: &[&str] = &["acme/", "dev_ca/", "pki/jose/", "step_ca/"];

#[test]
fn no_report_is_made_without_a_struct() {
    let mut wrong = Vec::new();
    for file in files("") {
        let source = read(&file);
        let is_protocol = PROTOCOLS.iter().any(|module| file.starts_with(module));
        if !is_protocol && without_tests(&source).contains("json!(") {
            wrong.push(file);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
