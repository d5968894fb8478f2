//! The input of the pipeline: the tree, the options, and the goal for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Extra;
use crate::host::shutdown::Shutdown;
use crate::pki::fingerprint::Fingerprint;
use crate::process::{Children, ToolContext};
use crate::rootfs::Sysroot;
use crate::trust::facts::UpdaterChoice;
use crate::trust::state::{State, StoredAnchor, StoredSource};
use crate::trust::stores::Selection;
use crate::trust::view::{BaseTrust, NOTHING_BENEATH};

/// The desired result.
#[derive(Clone, Debug, Default)]
pub(crate) struct Goal {
    /// Every anchor, old and new. [`Status::Recorded`](crate::trust::state::Status::Recorded) stays out of the stores; for the
    /// others, the pipeline determines the status.
    pub(crate) anchors: Vec<StoredAnchor>,
    /// What the sources gave.
    pub(crate) sources: BTreeMap<String, StoredSource>,
    /// Put the compiled-in Web PKI into a bundle that must be made.
    pub(crate) web_pki: bool,
    /// A copy of the accepted roots for one service: path inside the sysroot and PEM.
    pub(crate) copy: Option<(String, String)>,
    /// Tell login shells where the roots are.
    pub(crate) profile: Extra,
    /// Name the roots in Firefox's policy file.
    pub(crate) firefox_policy: Extra,
    /// The roots that this run was asked for: no other root may become trusted without a report (threat T33).
    pub(crate) asked: BTreeSet<Fingerprint>,
}

/// The tree to change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// The root file system, or the private store.
    pub(crate) sysroot: &'a Sysroot,
    /// What earlier runs did to it, as the caller read it. Under the lock it is read again.
    pub(crate) state: &'a State,
    /// For a private store: what the system beneath it trusts.
    pub(crate) beneath: &'a BaseTrust,
}

impl<'a> Target<'a> {
    /// A tree that is not built upon another.
    pub(crate) fn system(sysroot: &'a Sysroot, state: &'a State) -> Self {
        Target { sysroot, state, beneath: &NOTHING_BENEATH }
    }
}

/// The options of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReconcileOptions<'a> {
    /// Which stores beside the family's own; `None` for a tree that has none.
    pub(crate) stores: Option<&'a Selection>,
    /// Native or built-in.
    pub(crate) updater: UpdaterChoice,
    /// A service starts afterwards, and waits for this.
    pub(crate) before_service: bool,
    /// Skip what the current user cannot write, and report it, instead of failing.
    pub(crate) leave_unwritable: bool,
    /// An input or output that programs cannot read is an error, not a warning.
    pub(crate) strict: bool,
    /// A root that becomes trusted without being asked for in this run is an error (`--require-pin`).
    pub(crate) require_pin: bool,
    /// Repair damage that others left in the stores.
    pub(crate) repair: bool,
    /// Stop before anything is changed.
    pub(crate) dry_run: bool,
    /// How long to wait for the lock.
    pub(crate) patience: Duration,
    /// How long the distribution's program may take.
    pub(crate) tool_timeout: Duration,
    /// Whose child it is.
    pub(crate) children: &'a Children,
    /// Ends the wait for another run.
    pub(crate) shutdown: &'a Shutdown,
    /// `SOURCE_DATE_EPOCH`, seconds since 1970.
    pub(crate) stamp: Option<i64>,
    /// The time, seconds since 1970.
    pub(crate) now: i64,
}

impl ReconcileOptions<'_> {
    /// The surroundings of the distribution's program.
    pub(super) fn tool_context(&self) -> ToolContext {
        ToolContext { children: self.children.clone(), timeout: self.tool_timeout, stamp: self.stamp }
    }
}
