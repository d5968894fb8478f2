//! Hash links that OpenSSL follows in vain, and missing ones. Only reads.

use std::collections::{BTreeMap, BTreeSet};

use super::{SHOWN, StoreFinding, What, count, repair, shown};
use crate::error::Result;
use crate::pki::cert::Certificate;
use crate::pki::cert::readers::openssl;
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::path::child;
use crate::rootfs::tree::Node;
use crate::text;
use crate::trust::facts::Facts;
use crate::trust::updater::{OutputKind, rehash};
use crate::trust::view::View;

/// The faults of the hash links of a directory.
#[derive(Debug, Default)]
pub(in crate::doctor) struct HashLinks {
    /// Names of dangling links.
    pub(in crate::doctor) dangling: BTreeSet<String>,
    /// Names of those that OpenSSL does not find, or finds in vain.
    pub(in crate::doctor) stale: BTreeSet<String>,
}

/// Inspects every hash link of a directory in its current state.
pub(in crate::doctor) fn look_at_hash_links(view: &View, directory: &str) -> Result<HashLinks> {
    let mut links = HashLinks::default();
    let mut next: BTreeMap<u32, usize> = BTreeMap::new();
    let mut names: Vec<(u32, usize, String)> = view
        .actual_names(directory)?
        .into_iter()
        .filter_map(|name| rehash::parse_name(&name).map(|(hash, number)| (hash, number, name)))
        .collect();
    names.sort();
    for (hash, number, name) in names {
        let path = child(directory, &name);
        let is_link = matches!(view.actual(&path)?.as_ref(), Node::Link { .. });
        let Ok(Some((location, node))) = view.follow_actual(&path) else {
            links.dangling.insert(name);
            continue;
        };
        let of_name = |one: &Certificate| one.subject_hash() == hash || one.subject_hash_old() == hash;
        let fits = view.contents(&location, &node).certificates.iter().any(of_name);
        let expected = next.entry(hash).or_default();
        if *expected == number && fits {
            *expected += 1;
        } else if is_link {
            links.stale.insert(name);
        }
    }
    Ok(links)
}

pub(super) fn hash_links(view: &View, directory: &str, found: &mut Vec<StoreFinding>) -> Result<()> {
    let links = look_at_hash_links(view, directory)?;
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
            first_to_change: repair(view),
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
            first_to_change: repair(view),
            mendable: true,
        });
    }
    Ok(())
}

/// A certificate of a hash directory to which no link with its hash leads.
pub(in crate::doctor) struct MissingLink {
    /// Its file in the directory.
    pub(in crate::doctor) file: String,
    /// The hash.
    pub(in crate::doctor) hash: u32,
    pub(in crate::doctor) fingerprint: Fingerprint,
}

/// The certificates of a hash directory that OpenSSL does not find there. Nothing if no package makes the links.
pub(in crate::doctor) fn look_for_missing_hash_links(
    view: &View,
    facts: &Facts,
    directory: &str,
) -> Result<Vec<MissingLink>> {
    let mut missing = Vec::new();
    if !facts.row.updater.is_managed(view)? {
        return Ok(missing);
    }
    let names = view.actual_names(directory)?;
    let mut linked: BTreeSet<(u32, Fingerprint)> = BTreeSet::new();
    for name in &names {
        if let Some((hash, _)) = rehash::parse_name(name)
            && let Ok(Some((location, node))) = view.follow_actual(&child(directory, name))
        {
            let contents = view.contents(&location, &node);
            linked.extend(contents.certificates.iter().map(|one| (hash, one.fingerprint())));
        }
    }
    let bundles: BTreeSet<&str> = facts
        .outputs
        .iter()
        .filter(|output| output.kind == OutputKind::Bundle)
        .map(|output| output.path.as_str())
        .collect();
    for name in names.iter().filter(|name| rehash::is_candidate(name)) {
        let path = child(directory, name);
        if bundles.contains(path.as_str()) {
            continue;
        }
        let Ok(Some((location, node))) = view.follow_actual(&path) else { continue };
        let Node::File(file) = node.as_ref() else { continue };
        let contents = view.contents(&location, &node);
        // A file of several certificates gets no link.
        let (Some(_), [certificate]) =
            (openssl::only_certificate(&file.content), contents.certificates.as_slice())
        else {
            continue;
        };
        let fingerprint = certificate.fingerprint();
        for hash in facts.row.updater.link_hashes(certificate) {
            if !linked.contains(&(hash, fingerprint)) {
                missing.push(MissingLink { file: name.clone(), hash, fingerprint });
            }
        }
    }
    Ok(missing)
}

pub(super) fn missing_hash_links(
    view: &View,
    facts: &Facts,
    directory: &str,
    found: &mut Vec<StoreFinding>,
) -> Result<()> {
    let missing = look_for_missing_hash_links(view, facts, directory)?;
    let missing: BTreeSet<String> = missing.into_iter().map(|link| link.file).collect();
    if !missing.is_empty() {
        found.push(StoreFinding {
            kind: What::MissingHashLinks,
            place: shown(view, directory),
            what: format!("no hash link for {}: {}", count(missing.len(), "certificate"), group(&missing)),
            why: "OpenSSL does not find these certificates in the directory",
            first_to_change: repair(view),
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
