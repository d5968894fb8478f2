//! trustup: takes a container from trusting no private CA to serving a fresh certificate, and keeps it there.
//!
//! Data flows one way: Request → Facts → Plan → apply → verify → state. `docs/architecture.md` has the map.
//!
//! This is not a library for others: `pub` is what the binary and the integration tests need. Everything else is
//! `pub(crate)`, so that the compiler finds code without a caller.
//!
//! The modules are layers (`tests/hermetic/layers.rs`): each uses only those above it in this list.
#![allow(rustdoc::private_intra_doc_links, reason = "its documentation is for those who change it")]

// What every layer uses.
pub(crate) mod duration;
pub mod error;
mod random;
pub(crate) mod text;
pub(crate) mod versioned;

pub mod pki;

pub mod host;

pub mod rootfs;

pub mod process;

pub mod net;

mod settings;

pub mod acme;
pub mod step_ca;

pub mod trust;

pub mod certificate;

pub mod doctor;

mod config_check;

pub mod renew;

// Imported by the command line alone.
pub mod demo;
pub mod dev_ca;

pub mod cli;
