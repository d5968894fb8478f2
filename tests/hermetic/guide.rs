//! README and guide: links lead somewhere, command lines are understood, files are complete and run by a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::guide::{SHORT_FINGERPRINT, blocks, file, pages, read};
use crate::support::run::Trustup;

/// The complete files of the guide, and the test that runs each.
const FILES: &[(&str, &str, &str)] = &[
    ("acme.md", "trustup.toml", "tests/servers/acme/guide.rs"),
    ("certificate.md", "Dockerfile", "tests/engine/guide.rs"),
    ("certificate.md", "trustup.toml", "tests/engine/guide.rs"),
    ("configuration.md", "trustup.toml", "tests/hermetic/guide.rs"),
    ("java-and-browsers.md", "Dockerfile.browsers", "tests/engine/guide.rs"),
    ("java-and-browsers.md", "Dockerfile.java", "tests/engine/guide.rs"),
    ("trust-at-start.md", "Dockerfile", "tests/engine/guide.rs"),
    ("trust-at-start.md", "Dockerfile.mounted", "tests/engine/guide.rs"),
    ("trust-in-an-image.md", "Dockerfile", "tests/engine/guide.rs"),
    ("trust-in-an-image.md", "Dockerfile.ci", "tests/engine/guide.rs"),
    ("trust-in-an-image.md", "Dockerfile.mounted", "tests/engine/guide.rs"),
    ("trust-in-an-image.md", "Dockerfile.scratch", "tests/engine/guide.rs"),
    ("without-root.md", "Dockerfile", "tests/engine/guide.rs"),
];

#[test]
fn every_complete_file_has_a_test_that_runs_it() {
    let mut found = BTreeSet::new();
    for page in pages() {
        for name in blocks(&page).into_iter().filter_map(|block| block.name) {
            let page = page.strip_prefix("docs/guide").unwrap_or(&page).display().to_string();
            assert!(found.insert((page.clone(), name.clone())), "{page}: two files `{name}`");
        }
    }
    let known: BTreeSet<_> =
        FILES.iter().map(|(page, name, _)| ((*page).to_owned(), (*name).to_owned())).collect();
    assert_eq!(found, known);
    for (page, name, test) in FILES {
        let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(test)).unwrap();
        let wanted = format!("\"{page}\", \"{name}\"");
        assert!(source.contains(&wanted), "{test} does not run `{name}` of {page}");
    }
}

/// The anchor of a heading, as Markdown viewers make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'))
        .map(|char| if char == ' ' { '-' } else { char })
        .collect()
}

#[test]
fn links_lead_to_files_and_headings() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut links = 0;
    for page in pages() {
        let text = read(&page);
        for (_, rest) in text.match_indices("](").map(|(at, found)| (at, &text[at + found.len()..])) {
            let target = &rest[..rest.find(')').unwrap()];
            if target.contains("://") {
                continue;
            }
            links += 1;
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let full = if path.is_empty() { root.join(&page) } else { root.join(&page).with_file_name(path) };
            let full = if path.contains('/') { root.join(&page).parent().unwrap().join(path) } else { full };
            assert!(full.exists(), "{}: `{target}` leads nowhere", page.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(&full).unwrap();
                let mut headings = text.lines().filter_map(|line| line.strip_prefix('#'));
                let is_there = headings.any(|line| anchor(line.trim_start_matches('#')) == heading);
                assert!(is_there, "{}: `{target}` is not a heading", page.display());
            }
        }
    }
    assert!(links > 30, "{links} links");
}

/// A page that names a source file should send nobody to a place that was moved.
#[test]
fn source_files_that_pages_name_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for page in pages() {
        let text = read(&page);
        for quoted in text.split('`').skip(1).step_by(2) {
            let path = quoted.split("::").next().unwrap_or_default();
            let is_file = path.ends_with(".rs") && !path.contains(['…', '*', '{', ' ']);
            if !is_file {
                continue;
            }
            named += 1;
            let places = ["", "src/", "tests/"];
            let is_there = places.iter().any(|place| root.join(format!("{place}{path}")).is_file());
            assert!(is_there, "{}: `{path}` is not there", page.display());
        }
    }
    assert!(named > 40, "{named} files");
}

/// The words of a line as a shell would split it; the pages use no other syntax.
fn words(line: &str) -> Vec<String> {
    let line = line.split_once(" #").map_or(line, |(command, _)| command);
    line.split_whitespace()
        .map(|word| word.trim_matches('\'').replace(SHORT_FINGERPRINT, &"2f".repeat(32)))
        .collect()
}

/// `--help` behind the options: they are read, and nothing is done.
#[test]
fn command_lines_are_understood() {
    let mut lines = 0;
    for page in pages().into_iter().filter(|page| *page != Path::new("docs/cli.md")) {
        for block in blocks(&page) {
            let text = block.text.replace("\\\n", " ");
            let shell = block.language == "sh" || block.language.is_empty();
            for line in text.lines().filter(|line| shell && line.starts_with("trustup ")) {
                lines += 1;
                let mut words = words(line);
                words.remove(0);
                let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
                words.truncate(end);
                words.push("--help".to_owned());
                let run = Trustup::new(&words).run();
                assert_eq!(run.code, Some(0), "{}: `{line}`\n{run}", page.display());
            }
        }
    }
    assert!(lines > 15, "{lines} lines");
}

/// Every trustup.toml of README and guide, where the secrets that it names are not mounted (as in CI).
#[test]
fn configuration_files_are_right() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trustup.toml");
    let mut checked = 0;
    for page in pages() {
        for block in blocks(&page).into_iter().filter(|block| block.language == "toml") {
            checked += 1;
            fs::write(&path, block.text.replace(SHORT_FINGERPRINT, &"2f".repeat(32))).unwrap();
            let run = Trustup::new(["config", "check", "--config"]).arg(&path);
            let run = run.env("HOSTNAME", "db-1").env("POD_IP", "10.0.0.5");
            let run = run.env("CA_URL", "https://ca.internal:9000").env("CA_FINGERPRINT", "2f".repeat(32));
            let json = run.arg("--json").run().json();
            // Only what is mounted at run time may be missing.
            for problem in json["problems"].as_array().into_iter().flatten() {
                let text = problem.to_string();
                assert!(text.contains("/run/secrets/"), "{}: {text}", page.display());
            }
            let certificates = json["certificates"].as_array().map(Vec::len).unwrap_or_default();
            // Or it is for the trust stores alone.
            assert!(certificates > 0 || block.text.contains("[trust]"), "{}: {json}", page.display());
        }
    }
    assert!(checked >= 4, "{checked} files");
    // The longest shows all there is.
    assert!(file("configuration.md", "trustup.toml").contains("[certificate.enroll.rfc2136]"));
}
