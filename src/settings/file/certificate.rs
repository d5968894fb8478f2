//! `[[certificate]]`: which names, which files, and how to get it, in the order in which to try.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::document::Section;
use super::{CertificateTable, EntryTable, Hook, Variant, table};
use crate::duration;
use crate::error::Error;
use crate::settings::Row;
use crate::settings::rows::{ALL, CA_OUT, CERT, CHAIN, KEY};

/// How long a hook may take, by default.
const HOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// What is missing or wrong is reported as a problem, and missing in the result.
pub(super) fn certificate(section: &Section<'_>, variants: &[Variant]) -> CertificateTable {
    let before = section.problem_count();
    for key in ["names", "cert", "key", "enroll"] {
        section.require(key);
    }
    let layer = table::layer(section, "certificate", ALL);
    let enroll = section.sections("enroll");
    let enroll = enroll.iter().filter_map(|section| entry(section, variants)).collect();
    let hooks = section.sections("hook").iter().filter_map(hook).collect();
    section.finish(|_| None);
    let is_whole = section.problem_count() == before;
    CertificateTable { layer, enroll, hooks, is_whole, place: section.place() }
}

/// What to run after a change: never through a shell.
pub(super) fn hook(section: &Section<'_>) -> Option<Hook> {
    const COMMAND: &str = "a list with the absolute path of a program and its arguments, such as `[\"/usr/sbin/nginx\", \"-s\", \"reload\"]`";
    const TIMEOUT: &str = "a duration of one second to one hour, such as `1m`";
    let before = section.problem_count();
    section.require("command");
    let values = section.list("command");
    if let Some(first) = values.first() {
        // One string would be a command line for a shell, which is not run.
        section.parse(first, COMMAND, |program| {
            let is_path = program.starts_with('/') && !program.ends_with('/');
            (is_path && !(values.len() == 1 && program.contains(' '))).then_some(())
        });
    }
    let limits = Duration::from_secs(1)..=Duration::from_secs(3600);
    let timeout = section.plain("timeout", TIMEOUT, Some(10), false).and_then(|value| {
        section.parse(&value, TIMEOUT, |text| duration::parse(text).ok().filter(|time| limits.contains(time)))
    });
    section.finish(|_| None);
    let command = values.iter().map(|value| value.text.to_string()).collect();
    let hook = Hook { command, timeout: timeout.unwrap_or(HOOK_TIMEOUT) };
    (section.problem_count() == before).then_some(hook)
}

fn entry(section: &Section<'_>, variants: &[Variant]) -> Option<EntryTable> {
    let words: Vec<&str> = variants.iter().map(|variant| variant.word).collect();
    section.require("method");
    let value = section.string("method")?;
    let word = section.one_of(&value, &words)?;
    // The other keys depend on it.
    let variant = variants.iter().find(|variant| variant.word == word)?;
    for key in variant.required.iter().filter(|key| !key.contains('.')) {
        section.require(key);
    }
    let layer = table::layer_with(section, "enroll", variant.rows, variant.required);
    section.finish(|key| {
        let base = key.strip_suffix("_file").unwrap_or(key);
        let has = |row: &&dyn Row| {
            let own = row.spec().key_in("enroll").map(|own| own.split('.').next().unwrap_or(own));
            own.is_some_and(|own| own == base || own == key)
        };
        let others =
            variants.iter().filter(|variant| variant.rows.iter().any(|row| has(&(*row as &dyn Row))));
        let others: Vec<String> = others.map(|variant| format!("`{}`", variant.word)).collect();
        (!others.is_empty()).then(|| format!("`{key}` belongs to the method {}", others.join(" and ")))
    });
    Some(EntryTable { word: variant.word, layer, place: section.place() })
}

/// No two certificates write the same file, except for the roots: those of one CA are the same.
pub(super) fn check_paths(certificates: &[CertificateTable]) -> Vec<Error> {
    // Paths compare by components: `//` does not make another path.
    let mut seen: BTreeMap<&Path, (&str, bool)> = BTreeMap::new();
    let mut problems = Vec::new();
    for certificate in certificates {
        let paths = [(&CERT, false), (&KEY, false), (&CHAIN, false), (&CA_OUT, true)];
        let paths = paths.into_iter().flat_map(|(row, is_roots)| {
            certificate.layer.values(row).iter().map(move |path| (path.as_path(), is_roots))
        });
        for (path, is_roots) in paths {
            let place = certificate.place.as_str();
            let (other, other_is_roots) = *seen.entry(path).or_insert((place, is_roots));
            // For one certificate it was already reported.
            if other != place && !(is_roots && other_is_roots) {
                problems.push(
                    Error::usage(format!("a file would be written twice: also by `{other}`"))
                        .at(place)
                        .hint("give each certificate, key and chain a file of its own"),
                );
            }
        }
    }
    problems
}
