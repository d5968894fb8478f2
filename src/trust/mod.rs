//! Trust stores of a root file system: which roots to trust, which stores exist, what they hold, and how they are changed
//! and put back.

pub(crate) mod apply;
pub(crate) mod bootstrap;
pub(crate) mod cacerts;
pub mod distro;
pub mod facts;
pub(crate) mod firefox_policy;
pub(crate) mod nix_store;
pub(crate) mod os_release;
pub mod ours;
pub(crate) mod owners;
pub(crate) mod p11_format;
pub(crate) mod pem_file;
pub(crate) mod plan;
pub(crate) mod plausible;
pub(crate) mod private_store;
pub(crate) mod reconcile;
pub(crate) mod repair;
pub mod runtimes;
pub mod source;
pub(crate) mod state;
pub mod stores;
pub(crate) mod summary;
pub(crate) mod target;
pub(crate) mod unknown;
pub(crate) mod updater;
pub(crate) mod verify;
pub mod view;
pub(crate) mod well_known;
