//! The ring of real servers: step-ca, pebble, Caddy and BIND, each started by its test on ports of its own
//! (`support::servers`), and the real `step`. Everything is on loopback. Needs the programs that `./test` builds or
//! installs, so every test is ignored unless `./test` runs it.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests drive the real world, and may panic"
)]

use trustup_test_support as support;

mod acme;
mod authorities;
mod config;
mod dev_ca;
mod enroll;
mod guards;
mod hints;
mod renew;
mod renewal;
mod renewal_chaos;
mod renewal_input;
mod renewal_leaks;
mod renewal_readers;
mod renewal_replicas;
mod same_as_step_ca;
mod spelling;
mod token;
mod trust_refresh;
