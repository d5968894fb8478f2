//! Which formats own which paths, and what each asks of those who write there.

use crate::nss;
use crate::rootfs::file_set::Rules;
use crate::rootfs::split;

/// How the path of a trust store may be written.
pub fn rules(path: &str) -> Rules<'static> {
    nss::write_rules(split(path).1).unwrap_or_default()
}
