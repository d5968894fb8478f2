//! Nix's store: files that only Nix writes, and the links of `/etc` that lead there. Whatever a link says, nothing below
//! `/nix` is ever changed: the link itself gives way to a file.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::sysroot::split;
use crate::tree::Node;
use crate::trust::view::{MAX_HOPS, View, join};

/// What only Nix writes: the store and the profiles that lead into it, and what NixOS makes of it at every activation.
const READ_ONLY: [&str; 2] = ["/nix", "/etc/static"];

/// The file that marks a NixOS system; the images of Nix alone do not have it.
pub const NIXOS: &str = "/etc/NIXOS";

/// Whether only Nix may write at `location`, a path whose directories are resolved.
pub fn holds(location: &str) -> bool {
    READ_ONLY
        .iter()
        .any(|top| location.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// How a path comes into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Not at all.
    Outside,
    /// Through this path, a link that may be replaced.
    Link(String),
    /// Through a directory that is a link, so that no link of a file can be replaced.
    Directory,
}

/// How `path` comes into the store, without us. `replaceable` has the paths of links that may give way, by where they
/// really are; of several on the way it is the last one, so that all that lead to it are served.
pub fn way(view: &View, path: &str, replaceable: &BTreeMap<String, &str>) -> Result<Way> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_nix_writes() {
        for path in ["/nix", "/nix/store/x", "/nix/var/nix/profiles/default", "/etc/static/ssl/certs/x"] {
            assert!(holds(path), "{path}");
        }
        for path in ["/nixos", "/etc/nix/nix.conf", "/etc/static.conf", "/etc/ssl/certs", "/"] {
            assert!(!holds(path), "{path}");
        }
    }
}
