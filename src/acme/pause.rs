//! Pauses between requests: those of all that waits for a server.

pub(super) use crate::net::retry::Backoff as Pause;
