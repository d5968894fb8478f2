//! Hash links that OpenSSL follows in vain, and missing ones, as findings.

use std::collections::BTreeSet;

use super::{SHOWN, StoreFinding, What, count, repaired, shown};
use crate::error::Result;
use crate::text;
use crate::trust::facts::Facts;
use crate::trust::repair::{find_missing_hash_links, inspect_hash_links};
use crate::trust::view::View;

pub(super) fn hash_links(view: &View, directory: &str, found: &mut Vec<StoreFinding>) -> Result<()> {
    let links = inspect_hash_links(view, directory)?;
    let place = shown(view, directory);
    if !links.dangling.is_empty() {
        found.push(StoreFinding {
            kind: What::DanglingHashLinks,
            place: place.clone(),
            what: format!(
                "{} are dangling: {}",
                count(links.dangling.len(), "hash link"),
                group(&links.dangling)
            ),
            why: "OpenSSL ends its search at a dangling link, and misses the certificates with higher numbers",
            first_to_change: repaired(view),
            mendable: true,
        });
    }
    if !links.stale.is_empty() {
        found.push(StoreFinding {
            kind: What::StaleHashLinks,
            place,
            what: format!(
                "{} with another certificate's name, or after a gap in the numbers: {}",
                count(links.stale.len(), "hash link"),
                group(&links.stale)
            ),
            why: "OpenSSL does not find these certificates in the directory",
            first_to_change: repaired(view),
            mendable: true,
        });
    }
    Ok(())
}

pub(super) fn missing_hash_links(
    view: &View,
    facts: &Facts,
    directory: &str,
    found: &mut Vec<StoreFinding>,
) -> Result<()> {
    let missing = find_missing_hash_links(view, facts, directory)?;
    let missing: BTreeSet<String> = missing.into_iter().map(|link| link.file).collect();
    if !missing.is_empty() {
        found.push(StoreFinding {
            kind: What::MissingHashLinks,
            place: shown(view, directory),
            what: format!("no hash link for {}: {}", count(missing.len(), "certificate"), group(&missing)),
            why: "OpenSSL does not find these certificates in the directory",
            first_to_change: repaired(view),
            mendable: true,
        });
    }
    Ok(())
}

/// The first few names.
pub(super) fn group(names: &BTreeSet<String>) -> String {
    let first: Vec<String> =
        names.iter().take(SHOWN).map(|name| format!("`{}`", text::escape(name))).collect();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", first.join(", "))
}
