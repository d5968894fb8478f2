//! trustup: takes a container from trusting no private CA to serving a fresh certificate, and keeps it there.
//!
//! Data flows one way: Request → Facts → Plan → apply → verify → state. `docs/architecture.md` has the map.
//!
//! This is not a library for others: `pub` is what the binary (`cli`, `env`, `ui`) and the integration tests need.
//! Everything else is `pub(crate)`, so that the compiler finds code without a caller. The tests need the readers of
//! what they inspect (`cert`, `key`, `jose`, `keystore`, `nss`, `fingerprint`, `trust`, `rootfs`), the protocols below
//! a command (`acme`, `net`, `shutdown`, `source`, `step_ca`, `doctor`, `error`), and what they set up (`dev_ca`, `fixture`).
#![allow(rustdoc::private_intra_doc_links, reason = "its documentation is for those who change it")]

pub mod acme;
pub(crate) mod apply;
mod bootstrap;
pub mod cert;
pub mod cli;
mod config_check;
pub(crate) mod demo;
pub mod dev_ca;
pub mod doctor;
pub(crate) mod duration;
pub(crate) mod enroll;
pub mod env;
pub mod error;
mod filled_in;
pub mod fingerprint;
pub mod fixture;
pub mod jose;
pub mod key;
pub mod keystore;
mod listener;

pub mod net;
pub mod nss;
pub(crate) mod pair;
pub(crate) mod plan;
pub(crate) mod private_store;
pub(crate) mod privilege;
pub mod process;
mod random;
pub(crate) mod reconcile;
pub mod rootfs;
pub(crate) mod runtime;
pub(crate) mod secret;
mod settings;
pub mod shutdown;
pub mod source;
pub(crate) mod state;
pub mod step_ca;
pub(crate) mod summary;
pub(crate) mod text;
mod token;
pub mod trust;
pub mod ui;
pub(crate) mod versioned;
mod well_known;
