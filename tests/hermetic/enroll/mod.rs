//! `trustup enroll` through the command line, against the embedded CA: what stands there decides what is done, what is
//! placed is whole at every instant, and whom it trusts is nobody's guess.

mod encodings;
mod ended;
mod kept;
mod killed;
mod options;
mod placed;
mod provisioners;
mod rotated;
pub(crate) mod trusted;

use crate::support::enrollment::{Scene, chain, done, mode, result, write};
