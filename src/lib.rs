//! trustup: takes a container from "trusts nobody" to "serves a fresh certificate", and keeps it there.
//!
//! Data flows one way: Request → Facts → Plan → apply → verify → state. `docs/architecture.md` has the map.

pub mod acme;
pub mod apply;
mod bootstrap;
pub mod cert;
pub mod cli;
mod config_check;
pub mod converge;
pub mod demo;
pub mod dev_ca;
pub mod doctor;
pub mod duration;
pub mod enroll;
pub mod env;
pub mod error;
mod filled_in;
pub mod fingerprint;
pub mod fixture;
pub mod jose;
pub mod key;
pub mod keystore;
mod listener;
pub mod native;
pub mod net;
pub mod nss;
pub mod pair;
pub mod plan;
pub mod private_store;
pub mod privilege;
mod random;
pub mod rootfs;
pub mod runtime;
pub mod secret;
mod settings;
pub mod source;
pub mod state;
pub mod step_ca;
pub mod text;
mod token;
pub mod trust;
pub mod ui;
pub mod versioned;
mod well_known;
