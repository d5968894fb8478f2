//! Nix's store: files that only Nix writes. Whatever a link says, nothing below `/nix` is ever changed.

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
