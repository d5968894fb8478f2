//! Renewal: when each certificate is due, one run or a daemon that renews what is due, what happens after a change, and
//! what others may read of it.

pub(crate) mod attempt;
pub(crate) mod daemon;
pub(crate) mod health;
pub(crate) mod hooks;
pub(crate) mod lease;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod record;
pub(crate) mod schedule;
pub(crate) mod timer;
pub(crate) mod trust_refresh;
