//! The ring of real root file systems: Debian 12 and 13 from debootstrap, Alpine from its image, each with its own
//! tools, and real TLS clients. The real `update-ca-certificates` on a twin is the model of what ours has to write.
//! Needs root (chroot, mounts) and, for the first run, the package mirrors of the machine.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests drive the real world, and may panic"
)]

use trustup_test_support as support;

mod bases;
mod broken_files;
mod clients;
mod closed_directories;
mod config;
mod doctor;
mod enroll;
mod environment;
mod java;
mod killed;
mod losses;
mod native;
mod nix;
mod p11_kit;
mod photon;
mod recovery;
mod starts;
mod summary;
mod surroundings;
mod twin;
mod unprivileged;
mod unprivileged_hints;
mod unwritable;
mod verdicts;
