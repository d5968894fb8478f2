//! Pauses between requests: those of every wait for a server.

pub(super) use crate::net::retry::Backoff as Pause;
