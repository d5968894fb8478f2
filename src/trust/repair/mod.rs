//! Which damage that other programs left is ours to repair, as a plan of its own: the desired nodes without us, which
//! `bootstrap --repair` makes. Changes nothing itself; `doctor` describes the same damage.

mod damage;
mod hash_links;

use std::collections::BTreeMap;

pub(crate) use self::damage::{inspect_bundle, leftovers, out_of_step_anchors};
use self::hash_links::MissingLink;
pub(crate) use self::hash_links::{find_missing_hash_links, inspect_hash_links};
use crate::error::Result;
use crate::pki::cert::pem;
use crate::pki::cert::readers::{self, Reader as PemReader};
use crate::rootfs::path::child;
use crate::rootfs::tree::{File, Node};
use crate::text;
use crate::trust::facts::Facts;
use crate::trust::updater::{Desires, OutputKind, rehash, rewritten};
use crate::trust::view::View;

/// What repairs the stores of a tree.
#[derive(Debug, Default)]
pub(crate) struct RepairPlan {
    desires: Desires,
}

impl RepairPlan {
    /// Whether nothing is repaired.
    pub(crate) fn is_empty(&self) -> bool {
        self.desires.nodes.is_empty()
    }

    /// The repair, then `desires`: what is desired because of the anchors replaces a node of the repair.
    pub(crate) fn before(&self, mut desires: Desires) -> Desires {
        desires.nodes.splice(0..0, self.desires.nodes.iter().cloned());
        desires.warnings.splice(0..0, self.desires.warnings.iter().cloned());
        desires
    }
}

/// The nodes that repair the stores of `facts`, each with its reason. `view` treats them as the state without us from
/// now on: so plans build on them, and no record restores the damage.
///
/// # Errors
/// A store cannot be read.
pub(crate) fn plan_repair(view: &View, facts: &Facts) -> Result<RepairPlan> {
    let mut repair = Desires::default();
    let mut want = |path: &str, node: Node, reason: &str| -> Result<()> {
        if *view.original(path)? == node && *view.actual(path)? == node {
            return Ok(());
        }
        if let Some(why) = view.obstacle(path)? {
            let shown = text::escape(&view.sysroot().display(path));
            repair.warnings.push(format!("`{shown}` is not repaired: {why}"));
            return Ok(());
        }
        view.assume(path, node.clone())?;
        repair.want(path, node, reason);
        Ok(())
    };
    let out_of_step = !out_of_step_anchors(view, facts)?.is_empty();
    let mut spoilt = out_of_step;
    let inputs_say_all = !facts.row.updater.regenerated(view)?.nodes.is_empty();
    for path in leftovers(view, facts)? {
        want(&path, Node::Absent, "a killed update left it, and the next one would append to it")?;
    }
    for output in &facts.outputs {
        match output.kind {
            OutputKind::HashDirectory => {
                let missing = find_missing_hash_links(view, facts, &output.path)?;
                spoilt |= !missing.is_empty();
                for (path, node) in hash_links(view, &output.path)? {
                    spoilt = true;
                    let gone = "it is dangling, or leads to a certificate of another name";
                    let reason = if node == Node::Absent { gone } else { "numbered without holes" };
                    want(&path, node, reason)?;
                }
                if !inputs_say_all {
                    for (path, node) in missing_links(view, &output.path, missing)? {
                        want(&path, node, "OpenSSL finds it by this subject hash")?;
                    }
                }
            }
            OutputKind::Bundle => {
                let Ok(Some((path, node))) = view.follow(&output.path) else { continue };
                let Node::File(file) = node.as_ref() else { continue };
                let faults = inspect_bundle(&file.content, output.purpose);
                spoilt |= faults.damaged.is_some();
                let mut content = file.content.clone();
                if faults.joined || faults.no_final_newline {
                    content = with_line_ends(&content).into();
                }
                let is_plain = output.purpose.is_some();
                let problem = readers::read(&content, &PemReader::OF_BUNDLES).problem();
                let reason = match problem.filter(|_| is_plain) {
                    None => "each PEM block is on lines of its own",
                    Some(_) => {
                        content = rewritten(&content).into();
                        "written anew from the certificates in it"
                    }
                };
                if content != file.content {
                    want(&path, Node::File(File { content, ..file.clone() }), reason)?;
                }
            }
            OutputKind::SignatureList | OutputKind::Keystore | OutputKind::NssDatabase => {}
        }
    }
    // If a package defines the outputs, they are made from its inputs.
    if spoilt {
        for desired in facts.row.updater.regenerated(view)?.nodes {
            want(&desired.path, desired.node, "made again from the vendor's and the administrator's files")?;
        }
    }
    Ok(RepairPlan { desires: repair })
}

/// The wrong links of a directory, and their replacements: what is left, numbered without gaps.
fn hash_links(view: &View, directory: &str) -> Result<Vec<(String, Node)>> {
    let links = inspect_hash_links(view, directory)?;
    let mut buckets: BTreeMap<u32, Vec<(usize, String)>> = BTreeMap::new();
    for name in view.actual_names(directory)? {
        if let Some((hash, number)) = rehash::parse_name(&name) {
            buckets.entry(hash).or_default().push((number, name));
        }
    }
    buckets.retain(|_, bucket| {
        bucket.iter().any(|(_, name)| links.dangling.contains(name) || links.stale.contains(name))
    });
    let mut nodes = BTreeMap::new();
    for (hash, mut bucket) in buckets {
        bucket.sort();
        let mut kept = Vec::new();
        for (_, name) in &bucket {
            let path = child(directory, name);
            nodes.insert(path.clone(), Node::Absent);
            // Only after a gap: it is found once the gap is closed.
            let fits = view.follow_actual(&path)?.is_some_and(|(location, node)| {
                let contents = view.contents(&location, &node);
                contents
                    .certificates
                    .iter()
                    .any(|one| one.subject_hash() == hash || one.subject_hash_old() == hash)
            });
            let original = view.original(&path)?;
            if fits && *original != Node::Absent {
                kept.push((*original).clone());
            }
        }
        for (number, node) in kept.into_iter().enumerate() {
            nodes.insert(child(directory, &format!("{hash:08x}.{number}")), node);
        }
    }
    Ok(nodes.into_iter().collect())
}

/// The links that a directory of files lacks, under the first numbers that are free once wrong links are removed. Ours
/// are made with everything else of ours.
fn missing_links(view: &View, directory: &str, mut missing: Vec<MissingLink>) -> Result<Vec<(String, Node)>> {
    // p11-kit numbers files of one label (`NAME.pem`, `NAME.1.pem`) in the order in which it numbers links.
    missing.sort_by_cached_key(|link| {
        let stem = link.file.rsplit_once('.').map_or(link.file.as_str(), |(stem, _)| stem);
        let numbered =
            stem.rsplit_once('.').and_then(|(stem, number)| Some((stem, number.parse::<usize>().ok()?)));
        let (stem, number) = numbered.unwrap_or((stem, 0));
        (stem.to_owned(), number)
    });
    let mut nodes = Vec::new();
    let mut taken: BTreeMap<u32, usize> = BTreeMap::new();
    for MissingLink { file, hash, fingerprint } in missing {
        if view.ours().installed.contains(&fingerprint) {
            continue;
        }
        let next = taken.entry(hash).or_default();
        let path = loop {
            let path = child(directory, &format!("{hash:08x}.{next}"));
            *next += 1;
            if *view.original(&path)? == Node::Absent {
                break path;
            }
        };
        nodes.push((path, Node::Link { target: file }));
    }
    Ok(nodes)
}

/// The same text with a line end between blocks that share a line, and at the end.
fn with_line_ends(content: &[u8]) -> Vec<u8> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let mut separated = Vec::with_capacity(content.len() + 16);
    let mut from = 0;
    for block in pem::blocks(content) {
        // The block's range begins with its BEGIN marker, at whatever position in a line.
        let start = block.range.start;
        separated.extend_from_slice(&content[from..start]);
        if content[start..].starts_with(BEGIN) && separated.last().is_some_and(|last| *last != b'\n') {
            separated.push(b'\n');
        }
        separated.extend_from_slice(&content[start..block.range.end]);
        from = block.range.end;
    }
    separated.extend_from_slice(&content[from..]);
    if separated.last().is_some_and(|last| *last != b'\n') {
        separated.push(b'\n');
    }
    separated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_get_lines_of_their_own_and_nothing_else_changes() {
        let block = pem::encode(b"0");
        let whole = format!("# a\n{block}# b\n{block}");
        assert_eq!(with_line_ends(whole.as_bytes()), whole.as_bytes());
        let bare = block.trim_end();
        let joined = format!("# a\n{bare}{bare}");
        assert_eq!(with_line_ends(joined.as_bytes()), format!("# a\n{block}{block}").as_bytes());
        let text = format!("text {bare}");
        assert_eq!(with_line_ends(text.as_bytes()), format!("text \n{block}").as_bytes());
        assert_eq!(with_line_ends(b""), b"");
    }
}
