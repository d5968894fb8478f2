//! Bootstrap below the command line: from settings to the request ([`request`]), the trees that it covers ([`trees`]),
//! the stores beside the system's ([`selection`]), the goal that is reconciled ([`install`]), and the roots
//! whose servers clients refuse ([`refused_roots`]).

pub(crate) mod install;
pub(crate) mod refused_roots;
pub(crate) mod request;
pub(crate) mod selection;
pub(crate) mod trees;
