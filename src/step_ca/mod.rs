//! A client of step-ca: its API, the one-time tokens that it accepts, and what may be wrong with one that it refused.
//!
//! What the connection trusts is decided elsewhere and passed in; nothing here writes a file. Tokens and keys are in no
//! error and no message.

mod answers;
mod client;
pub mod diagnosis;
pub mod mint;
mod provisioner;
pub mod renewal;
pub(crate) mod spelling;

pub use self::client::{RequestFailure, SignedChain, StepCaClient};
pub(crate) use self::provisioner::{Provisioner, ProvisionerKind, Provisioners, hint_to_add};

/// How far a token's times may be off (step-ca's `jwt.go`, both ways), in seconds.
pub(crate) const LEEWAY: i64 = 60;
