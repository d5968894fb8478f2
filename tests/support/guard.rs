//! The machine's own trust stores, before and after a test: a test works on roots of its own, and a slip that reached
//! the machine must not pass. (`./test` does the same around the whole run.)

use std::path::Path;

use super::tree::Tree;

/// Every place where a distribution keeps what the system trusts, and our own state.
const STORES: [&str; 8] = [
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/usr/local/share/ca-certificates",
    "/usr/share/ca-certificates",
    "/var/lib/ca-certificates",
    "/var/lib/trustup",
];

/// Compares when it is dropped.
pub struct MachineStores {
    before: Vec<(&'static str, Option<Tree>)>,
}

impl MachineStores {
    /// Looks at the stores now.
    pub fn watch() -> MachineStores {
        MachineStores { before: look() }
    }
}

impl Drop for MachineStores {
    fn drop(&mut self) {
        // A second panic while one unwinds would end the process before the first is shown.
        if std::thread::panicking() {
            return;
        }
        for ((place, before), (_, after)) in self.before.iter().zip(look()) {
            match (before, &after) {
                (Some(before), Some(after)) => before.assert_same(after, place),
                (None, None) => {}
                _ => panic!("{place} of this machine appeared or vanished during a test"),
            }
        }
    }
}

fn look() -> Vec<(&'static str, Option<Tree>)> {
    let there = |place: &str| Path::new(place).symlink_metadata().is_ok();
    STORES.iter().map(|place| (*place, there(place).then(|| Tree::of(Path::new(place))))).collect()
}
