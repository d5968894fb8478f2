//! Trust stores of a root file system: which exist, what they hold, and what should change.
//!
//! Everything here only reads. `plan` decides what would change, `apply` does it.

pub mod distro;
pub mod facts;
pub(crate) mod firefox_policy;
pub(crate) mod nix_store;
pub(crate) mod os_release;
pub mod ours;
pub(crate) mod owners;
pub(crate) mod p11_format;
pub(crate) mod pem_file;
pub(crate) mod plausible;
pub mod runtimes;
pub(crate) mod stores;
pub(crate) mod unknown;
pub(crate) mod updater;
pub(crate) mod verify;
pub mod view;
