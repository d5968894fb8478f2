//! Where the roots of a system are, for programs that must be told, and the file that tells login shells. Only reads;
//! the pipeline is in the parent.

use crate::error::{Error, Result};
use crate::pki::cert::{Purpose, pem};
use crate::rootfs::tree::{File, Node};
use crate::trust::facts::Facts;
use crate::trust::runtimes::{RootLocations, profile};
use crate::trust::state::{Status, StoredAnchor};
use crate::trust::updater::{Desires, OutputKind};
use crate::trust::view::View;

/// The wanted state of a file beside the stores: the one for login shells, Firefox's policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Extra {
    /// Not there.
    #[default]
    Absent,
    /// There, as an earlier run made it; later changes by others stay.
    Kept,
    /// There.
    Installed,
}

impl From<bool> for Extra {
    /// From the state's value.
    fn from(installed: bool) -> Self {
        if installed { Extra::Kept } else { Extra::Absent }
    }
}

/// Where the roots are, once these anchors are in the stores; `None` if none of them is.
pub(crate) fn system_roots(
    view: &View,
    facts: &Facts,
    anchors: &[StoredAnchor],
) -> Result<Option<RootLocations>> {
    let in_stores: Vec<_> = anchors.iter().filter(|anchor| anchor.status.is_in_system()).collect();
    let anchor = match in_stores.as_slice() {
        [] => return Ok(None),
        [anchor] => anchor_file(view, anchor)?,
        _ => None,
    };
    Ok(system_stores(view, facts)?.map(|roots| RootLocations { anchor, ..roots }))
}

/// Where the roots are, whatever we installed there.
pub(crate) fn system_stores(view: &View, facts: &Facts) -> Result<Option<RootLocations>> {
    let find = |kind| {
        let mut outputs = facts.outputs.iter();
        let first = outputs.find(|output| output.kind == kind && output.purpose == Some(Purpose::ServerAuth));
        first.map(|output| output.path.clone())
    };
    // If no package makes hash links, the directory holds ours and not the distribution's roots.
    let managed = facts.row.updater.is_managed(view)?;
    let directory = if managed { find(OutputKind::HashDirectory) } else { None };
    // Java finds the system's by default.
    let keystore = if view.sysroot().is_private() { find(OutputKind::Keystore) } else { None };
    Ok(find(OutputKind::Bundle).map(|bundle| RootLocations { bundle, directory, anchor: None, keystore }))
}

/// The anchor's file, if it is the PEM file of this one certificate: a mounted one may be anything.
pub(super) fn anchor_file(view: &View, anchor: &StoredAnchor) -> Result<Option<String>> {
    let Some(path) = &anchor.file else { return Ok(None) };
    let usable = match anchor.status {
        Status::Installed => true,
        Status::Mounted => match view.read(path)?.as_deref() {
            Some(Node::File(file)) => {
                matches!(pem::blocks(&file.content).as_slice(), [block] if block.label == "CERTIFICATE")
            }
            _ => false,
        },
        Status::Vendor | Status::Beside | Status::Recorded => false,
    };
    Ok(usable.then(|| path.clone()))
}

/// Adds the file for login shells to the desired nodes, as long as there is an anchor. Returns whether it is ours.
///
/// # Errors
/// Another program's file, or something other than a file, is in its place.
pub(super) fn want_profile(
    view: &View,
    facts: &Facts,
    anchors: &[StoredAnchor],
    wanted: Extra,
    desires: &mut Desires,
) -> Result<bool> {
    let Some(roots) = system_roots(view, facts, anchors)?.filter(|_| wanted != Extra::Absent) else {
        return Ok(false);
    };
    let content = profile::content(&roots)?;
    if *view.original(profile::PATH)? != Node::Absent {
        if wanted == Extra::Kept {
            desires.warnings.push(format!(
                "somebody changed `{}`: it is left as it is, and no longer kept up to date",
                profile::PATH
            ));
            return Ok(false);
        }
        return Err(Error::failed("expected trustup's own file, found one that trustup did not create")
            .at(view.sysroot().display(profile::PATH))
            .hint("move it to another place, or keep it and do without `--install`: `trustup env` prints the variables"));
    }
    let node = Node::File(File::new(content.into_bytes(), profile::MODE));
    desires.want(profile::PATH, node, "tells login shells where the roots are");
    Ok(true)
}
