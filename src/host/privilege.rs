//! The user as which trustup acts, and whether it was started with more rights than its caller has (threat T16). Such a
//! process must not obey variables and paths of its caller; trustup never needs to be one, and refuses.
#![expect(clippy::disallowed_methods, reason = "this module owns the question as which user trustup acts")]

use rustix::process::{getegid, geteuid, getgid, getuid};
use rustix::thread::{CapabilitySet, capabilities, capability_is_in_ambient_set};

/// The user that the calling thread acts as. It is queried each time: Linux keeps it per thread, and work in another
/// user's directory is done in a thread with that user's rights (`rootfs::credentials`).
pub(crate) fn uid() -> u32 {
    geteuid().as_raw()
}

/// The group that the calling thread acts as, as [`uid`].
pub(crate) fn gid() -> u32 {
    getegid().as_raw()
}

/// Whether the user is in this group.
pub(crate) fn is_in_group(group: u32) -> bool {
    gid() == group || rustix::process::getgroups().unwrap_or_default().iter().any(|gid| gid.as_raw() == group)
}

/// Whether the calling thread acts as root.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// Whether the calling thread has this capability: root in a container may lack some (`--cap-drop`).
pub(crate) fn has(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}

/// Whether the binary is setuid or setgid, or has file capabilities. The kernel's own flag for it (`AT_SECURE`,
/// getauxval(3)) cannot be read without unsafe code or `/proc`, so its conditions are checked one by one.
pub(crate) fn is_raised() -> bool {
    if getuid() != geteuid() || getgid() != getegid() {
        return true;
    }
    // Capabilities of a process that is not root came from the caller (ambient) or from the file.
    !geteuid().is_root()
        && capabilities(None).is_ok_and(|sets| {
            sets.permitted
                .iter()
                .any(|one: CapabilitySet| !capability_is_in_ambient_set(one).unwrap_or(false))
        })
}
