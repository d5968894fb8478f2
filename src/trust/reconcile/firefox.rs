//! Firefox's policy file as part of a plan: which file names each root there, and what the policy should contain. Only
//! reads; the pipeline is in the parent, the format in [`crate::trust::firefox_policy`].

use super::runtimes::{Extra, anchor_file};
use crate::error::{Error, Result};
use crate::rootfs::split;
use crate::rootfs::tree::{File, Node};
use crate::trust::firefox_policy as policy;
use crate::trust::state::{Status, StoredAnchor};
use crate::trust::updater::Desires;
use crate::trust::view::View;

/// Adds the policy file to the desired nodes, as long as there is a root in the stores, and a certificate file for each
/// root without a file to name. Returns whether the policy is ours to keep up to date.
///
/// # Errors
/// It was asked for now, and the file is damaged, is not a regular file, or cannot be written. What an earlier run made
/// and cannot be kept up to date is left, with a warning.
pub(super) fn want_policy(
    view: &View,
    anchors: &[StoredAnchor],
    wish: Extra,
    desires: &mut Desires,
) -> Result<bool> {
    let mut own = Desires::default();
    let named = anchors.iter().filter(|anchor| anchor.status != Status::Recorded);
    if wish == Extra::Absent || named.clone().next().is_none() {
        return Ok(false);
    }
    let wanted = named
        .map(|anchor| file_of(view, anchor, &mut own))
        .collect::<Result<Vec<String>>>()
        .and_then(|named| want_file(view, &named, &mut own));
    match (wanted, wish) {
        (Ok(()), _) => desires.nodes.extend(own.nodes),
        (Err(error), Extra::Kept) => {
            desires.warnings.push(format!("Firefox's policy is not kept up to date: {}", error.what()));
        }
        (Err(error), _) => return Err(error),
    }
    Ok(true)
}

/// The status of this root in the policy: `there`, or `missing` from the file or from its target.
///
/// # Errors
/// Something other than a file is at a path, or cannot be read.
pub(crate) fn policy_holds(view: &View, anchor: &StoredAnchor) -> Result<bool> {
    let path = match anchor_file(view, anchor)? {
        Some(path) => path,
        None => policy::certificate_file(&anchor.name),
    };
    let named = match view.follow_actual(policy::PATH)? {
        Some((_, node)) => match node.as_ref() {
            Node::File(file) => policy::named(&file.content).contains(&path),
            _ => false,
        },
        None => false,
    };
    let found = view.actual_certificates(&path).unwrap_or_default();
    let holds = found.iter().any(|certificate| certificate.fingerprint() == anchor.fingerprint);
    Ok(named && holds)
}

/// The PEM file that names this root: its anchor file if that holds nothing else, or one of our own.
fn file_of(view: &View, anchor: &StoredAnchor, own: &mut Desires) -> Result<String> {
    if let Some(path) = anchor_file(view, anchor)? {
        return Ok(path);
    }
    let path = policy::certificate_file(&anchor.name);
    let content = anchor.certificate()?.to_pem().into_bytes();
    let node = Node::File(File::new(content, policy::MODE));
    let there = view.original(&path)?;
    if *there != Node::Absent && !there.satisfies(&node) {
        return Err(Error::failed("expected trustup's own file, found one that trustup did not create")
            .at(view.sysroot().display(&path))
            .hint("give the root another name with `--name`, or move the file to another place"));
    }
    writable(view, &path, &node)?;
    own.want(path.clone(), node, "where Firefox's policy finds the root");
    Ok(path)
}

fn want_file(view: &View, named: &[String], own: &mut Desires) -> Result<()> {
    let place = view.sysroot().display(policy::PATH);
    let original = view.original(policy::PATH)?;
    let (existing, former) = match original.as_ref() {
        Node::Absent => (None, None),
        Node::File(file) => (Some(&*file.content), Some(file)),
        other => {
            return Err(Error::failed(format!("expected Firefox's policy file, found {}", other.kind()))
                .at(place)
                .hint("check what it is: Firefox reads a regular file there, or nothing"));
        }
    };
    let Some(content) = policy::merged(existing, named, &[]).map_err(|error| error.at(place))? else {
        return Ok(());
    };
    let mode = former.map_or(policy::MODE, |file| file.mode);
    let owner = former.and_then(|file| file.owner);
    let node = Node::File(File { owner, ..File::new(content, mode) });
    writable(view, policy::PATH, &node)?;
    own.want(policy::PATH, node, "tells every Firefox to trust the roots");
    Ok(())
}

/// Refuses what the current user could not write.
fn writable(view: &View, path: &str, node: &Node) -> Result<()> {
    if view.actual(path)?.satisfies(node) || view.is_writable(split(path).0)? {
        return Ok(());
    }
    Err(Error::failed("the current user cannot write Firefox's policy")
        .at(view.sysroot().display(path))
        .hint("run it as root, or omit `--firefox-policy`"))
}
