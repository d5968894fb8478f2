//! trustup: takes a container from "trusts nobody" to "serves a fresh certificate", and keeps it there.
//!
//! Data flows one way: Request → Facts → Plan → apply → verify → state. `docs/architecture.md` has the map.

pub mod cert;
pub mod dev_ca;
pub mod env;
pub mod error;
pub mod fingerprint;
pub mod net;
pub mod source;
pub mod sysroot;
pub mod text;
