//! The process and its surroundings: variables and clock, the user, the runtime, signals.

pub(crate) mod alarm;
pub mod env;
pub(crate) mod privilege;
pub(crate) mod runtime;
pub(crate) mod service_manager;
pub mod shutdown;
