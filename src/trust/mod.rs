//! Trust stores of a root file system: which there are, what they hold, and what should change.
//!
//! Everything here only reads. `plan` says what would change, `apply` does it.

pub mod distro;
pub mod facts;
pub mod firefox_policy;
pub mod nix_store;
pub mod os_release;
pub mod ours;
pub mod owners;
pub mod p11_format;
pub mod pem_file;
pub mod plausible;
pub mod runtimes;
pub mod stores;
pub mod unknown;
pub mod updater;
pub mod verify;
pub mod view;
