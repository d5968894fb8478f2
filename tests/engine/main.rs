//! Ring 4: real containers. `Dockerfile.examples` is built and run, target by target, by a Docker engine that this
//! program starts (Debian's package `docker.io`, data in a temporary directory) and ends again; and the static binary
//! starts where there is nothing else: in an empty root, in a network of its own.
//!
//! Needs root, `docker.io`, `iptables`, `debootstrap`, Go and network access to Debian's archive for the first run.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests drive the real world, and may panic"
)]

use trustup_test_support as support;

mod authority;
mod build_time;
mod dockerd;
mod doctor;
mod enroll;
mod entry_points;
mod guide;
mod hints;
mod images;
mod programs;
mod reproducible;
mod shared_volumes;
mod start_up;
mod static_binary;
mod sysroots;
mod unprivileged;
mod variables;
