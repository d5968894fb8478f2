//! Links of `/etc` that lead into Nix's store. Their targets are never changed: a file replaces the link itself.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::rootfs::path::join;
use crate::rootfs::tree::Node;
use crate::rootfs::{MAX_HOPS, split};
use crate::trust::nix_store::holds;
use crate::trust::view::View;

/// How a path leads into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Not at all.
    Outside,
    /// Through this path, a link that may be replaced.
    Link(String),
    /// Through a directory that is a link, so that no link of a file can be replaced.
    Directory,
}

/// How `path` leads into the store, without us. `replaceable` has the paths of links that may be replaced, by their
/// real paths; of several on the way it is the last one, so that all paths that lead to it are updated.
pub(super) fn way(view: &View, path: &str, replaceable: &BTreeMap<String, &str>) -> Result<Way> {
    let mut path = path.to_owned();
    let mut through = None;
    for _ in 0..MAX_HOPS {
        let location = view.location(&path)?;
        if holds(&location) {
            return Ok(through.map_or(Way::Directory, Way::Link));
        }
        let Node::Link { target } = view.original(&location)?.as_ref().clone() else { break };
        if let Some(path) = replaceable.get(&location) {
            through = Some((*path).to_owned());
        }
        path = join(split(&location).0, &target);
    }
    Ok(Way::Outside)
}
