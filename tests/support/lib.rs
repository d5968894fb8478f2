//! What the tests of trustup share: running it, making certificates, starting servers, comparing trees. The rings use it
//! as `support`; the unit tests use [`der`] and [`xorshift`] alone, since the trustup that the rest is built on is another
//! crate than theirs.
#![allow(clippy::disallowed_methods, reason = "tests drive the real world")]

pub mod acme;
pub mod binary;
pub mod ca;
pub mod der;
pub mod dev_ca;
pub mod elf;
pub mod enrollment;
pub mod gate;
pub mod go;
pub mod guard;
pub mod guide;
pub mod hints;
pub mod java;
pub mod keystores;
pub mod network;
mod places;
pub mod program;
pub mod roots;
pub mod run;
pub mod schema;
pub mod servers;
pub mod silent_server;
pub mod socks;
pub mod step_api;
pub mod strace;
pub mod tls_server;
pub mod tree;
pub mod xorshift;
