//! Ring 1: what needs nothing but Rust.

#![allow(clippy::disallowed_methods, reason = "tests drive the real world")]

mod dev_ca;
mod net;
mod servers;
mod source;
