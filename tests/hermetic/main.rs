//! The hermetic ring: fixtures, command line, bad and hostile input. It needs nothing but Rust: no tool of a
//! distribution, no network beyond loopback, no root rights (some cases of hostile input are made only as root).
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests drive the real world, say which case they are at, and may panic"
)]

use trustup_test_support as support;

mod acme;
mod beside;
mod broken_files;
mod budgets;
mod cache;
mod cli;
mod config;
mod config_check;
mod create_java;
mod demo;
mod dev_ca;
mod dev_ca_api;
mod dev_ca_process;
mod doctor;
mod ends;
mod engine;
mod enroll;
mod enroll_faults;
mod env;
mod exchanged;
mod extremes;
mod failing;
mod firefox_policy;
mod fixtures;
mod foreign;
mod guide;
mod health;
mod hints;
mod hostile;
mod input;
mod killed;
mod layers;
mod left_out;
mod links;
mod miswritten;
mod net;
mod nix_store;
mod observe;
mod outputs;
mod p11_keystore;
mod p11_kit;
mod planted;
mod plausible;
mod private;
mod private_java;
mod profile;
mod programs;
mod recommendations;
mod refused_roots;
mod renew;
mod renewal_hooks;
mod repair;
mod sequences;
mod servers;
mod service;
mod snapshots;
mod source;
mod stores;
mod streams;
mod surroundings;
mod sysroots;
mod timer;
mod token;
mod trust_refresh;
mod unknown;
mod variables;
mod versions;
mod waits;
mod wrong_input;
