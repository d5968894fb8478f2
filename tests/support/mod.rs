//! What several test binaries share: running trustup, making certificates, comparing trees.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::print_stderr, reason = "a guard shows what its server said when a test fails")]

pub mod acme;
pub mod binary;
pub mod ca;
pub mod dev_ca;
pub mod elf;
pub mod enrollment;
pub mod go;
pub mod guard;
pub mod guide;
pub mod hints;
pub mod java;
pub mod keystores;
pub mod network;
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
