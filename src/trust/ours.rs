//! What is ours in a tree according to the state: the view of the tree without us is made from it.

use std::collections::{BTreeMap, BTreeSet};

use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::record::PathRecord;

/// All that is ours in a tree.
#[derive(Clone, Debug, Default)]
pub struct Ours {
    /// The node at each path that we changed, before and after.
    pub(crate) records: BTreeMap<String, PathRecord>,
    /// The roots that we installed.
    pub(crate) installed: BTreeSet<Fingerprint>,
    /// Their anchor files.
    pub(crate) files: BTreeSet<String>,
    /// The certificate files that files of others (a policy) name for us.
    pub(crate) named: Vec<String>,
    /// The row of the table of distributions, if the user named it (`--distribution`).
    pub(crate) distribution: Option<String>,
}
