//! Bootstrap below the command line: from settings to the request ([`request`]), the trees that it covers ([`trees`]),
//! the stores beside the system's ([`selection`]), the goal that is reconciled ([`install`]), and all of it in order
//! ([`pipeline`]).

pub(crate) mod install;
pub(crate) mod pipeline;
pub(crate) mod request;
pub(crate) mod selection;
pub(crate) mod trees;
