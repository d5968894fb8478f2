//! Nix's store: files that only Nix writes. Wherever a link leads, nothing below `/nix` is ever changed.

use crate::trust::owners::{Closed, Owner};

/// What only Nix writes: the store, the profiles that lead into it, and what NixOS makes of it at every activation.
const READ_ONLY: [&str; 2] = ["/nix", "/etc/static"];

/// The file that marks a NixOS system; the images of Nix alone do not have it.
pub(crate) const NIXOS: &str = "/etc/NIXOS";

/// Whether only Nix may write at `location`, a path whose directories are resolved.
pub(crate) fn holds(location: &str) -> bool {
    READ_ONLY
        .iter()
        .any(|top| location.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// What only Nix writes, as an owner.
#[derive(Debug)]
pub(crate) struct NixStore;

static CLOSED: Closed = Closed {
    why: "it is in Nix's store, where only Nix writes",
    hint: "add the root in the Nix configuration of the image",
    refusal: "a directory of this path is a link into Nix's store, where only Nix writes",
    remedy: "create a real directory when the image is built, or add the root to the store with `cacert.override`",
};

impl Owner for NixStore {
    fn closed(&self, location: &str) -> Option<&'static Closed> {
        holds(location).then_some(&CLOSED)
    }
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
