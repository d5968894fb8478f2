//! What records a state or a journal may hold (threat T11): paths of the row's table, of stores by their name, or reached
//! through a known link; no set-id modes. Reading and writing use the same rules (threat T38).
//!
//! A rule that depends on the tree (a link that leads to the path, a store below a directory) can stop holding because
//! others changed the tree. Then the record is not forged, but it can no longer be acted on: it is unclaimed.

use super::Result;
use crate::error::Error;
use crate::rootfs::Sysroot;
use crate::rootfs::record::{Mark, PathRecord, Saved};
use crate::rootfs::tree::{self, Node};
use crate::trust::distro;
use crate::trust::owners;
use crate::trust::plausible;
use crate::trust::updater::Ownership;

/// A record that was right when it was written, but that nothing in the tree supports any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unclaimed {
    /// The path recorded.
    pub(crate) path: String,
    /// The known path that led there; `None` for a directory that we made for something that no longer exists.
    pub(crate) via: Option<String>,
    /// The current node, or the recorded former one, is not a trust store.
    pub(crate) is_no_store: bool,
}

/// Whether the current and the former node of a path are trust stores. Behind a link (`is_linked`) the two may differ
/// only in certificates: the link can lead to any file.
fn is_of_a_store(sysroot: &Sysroot, path: &str, record: &PathRecord, is_linked: bool) -> bool {
    // What others changed since, or what cannot be read, is not acted on anyway.
    let Ok(now) = tree::read(sysroot, path) else { return true };
    if !record.after.matches(&now) {
        return true;
    }
    let before = record.before.restore(&now);
    let is_store = |node: &Node| match node {
        Node::File(file) => plausible::is_store(&file.content),
        _ => true,
    };
    let fits = match (&before, &now) {
        (Some(Node::File(before)), Node::File(now)) if is_linked => {
            owners::differ_only_in_certificates(&before.content, &now.content)
        }
        _ => true,
    };
    fits && is_store(&now) && before.as_ref().is_none_or(is_store)
}

/// The row of the table that a state or a journal of this tree names. The error names the unknown row, if a newer
/// trustup may know it; a known row belongs to another kind of tree.
pub(crate) fn row(id: &str, sysroot: &Sysroot) -> Result<&'static distro::Distro, Option<String>> {
    let is_known = || [false, true].into_iter().any(|is_private| distro::by_id(id, is_private).is_some());
    distro::by_id(id, sysroot.is_private())
        .ok_or_else(|| (!is_known()).then(|| format!("the row `{id}` of the table of distributions")))
}

/// Refuses records that name a path which the row may not change, or a mode with set-id bits. Returns those that must
/// not be acted on. `stores` are the stores beside the family's own that the same file names.
///
/// # Errors
/// A program other than trustup wrote a record.
pub(crate) fn check_records<'a>(
    sysroot: &Sysroot,
    row: &distro::Distro,
    records: impl Iterator<Item = (&'a String, &'a PathRecord)> + Clone,
    stores: impl Iterator<Item = &'a String> + Clone,
) -> Result<Vec<Unclaimed>> {
    let mut unclaimed = Vec::new();
    for (path, record) in records.clone() {
        let strange =
            !path.starts_with('/') || path.split('/').any(|part| part == "..") || path.contains("//");
        let beside = || {
            !sysroot.is_private()
                && owners::may_record(path, record, records.clone().map(|(path, _)| path), stores.clone())
        };
        let ours = !strange
            && match row.updater.owns(path) {
                Ownership::Entry => true,
                Ownership::OnTheWay => record.is_of_directory(),
                Ownership::Foreign => beside() || known_link(sysroot, path).is_some(),
            };
        // A link, or a name, makes no other file a store (threat T34).
        if ours && row.updater.owns(path) == Ownership::Foreign && !record.is_of_directory() {
            let known = known_link(sysroot, path);
            let is_named = !sysroot.is_private() && owners::is_store_by_name(path);
            if (known.is_some() || is_named) && !is_of_a_store(sysroot, path, record, known.is_some()) {
                let via = record.via.clone().or(known.map(str::to_owned));
                unclaimed.push(Unclaimed { path: path.clone(), via, is_no_store: true });
                continue;
            }
        }
        let was_linked =
            record.via.as_deref().is_some_and(|via| owners::known_paths().any(|known| known == via));
        // Such a record can only remove an empty directory, and without its reason not even that.
        let of_directory_made = record.before == Saved::Absent && record.after == Mark::Directory;
        if !ours && !strange && (was_linked || of_directory_made) {
            let via = record.via.clone().filter(|_| was_linked);
            unclaimed.push(Unclaimed { path: path.clone(), via, is_no_store: false });
        } else if !ours {
            return Err(Error::failed(format!(
                "the state names `{}`, which is not a path that trustup changes here",
                crate::text::escape(path)
            )));
        }
        if let Saved::File { mode, .. } | Saved::Directory { mode, .. } = record.before
            && mode & !0o1777 != 0
        {
            return Err(Error::failed(format!("the state gives `{path}` a set-id mode")));
        }
        if record.special & !0o6000 != 0 {
            return Err(Error::failed(format!("the state gives `{path}` a mode that does not exist")));
        }
    }
    Ok(unclaimed)
}

/// Notes in a record that is about to be written which known path leads there, if nothing else makes it ours: that link
/// may be gone when the record is read. `former` is the previous state.
pub(crate) fn attribute(
    sysroot: &Sysroot,
    row: &distro::Distro,
    path: &str,
    record: &mut PathRecord,
    former: Option<&PathRecord>,
) {
    if row.updater.owns(path) == Ownership::Foreign {
        record.via = known_link(sysroot, path)
            .map(str::to_owned)
            .or_else(|| former.and_then(|former| former.via.clone()));
    }
}

/// The known path that is a link to `path`; never where only another program writes. A link that loops leads nowhere.
fn known_link(sysroot: &Sysroot, path: &str) -> Option<&'static str> {
    if owners::closed(path).is_some() {
        return None;
    }
    owners::known_paths().find(|known| sysroot.canonical(known).ok().flatten().as_deref() == Some(path))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::versioned::UnknownFields;

    fn checked(path: &str, record: PathRecord) -> Result<Vec<Unclaimed>> {
        let row = distro::by_id("debian", false).unwrap();
        let temp = tempfile::tempdir().unwrap();
        let sysroot = Sysroot::open(temp.path()).unwrap();
        let records = BTreeMap::from([(path.to_owned(), record)]);
        check_records(&sysroot, row, records.iter(), std::iter::empty())
    }

    #[test]
    fn planted_paths_and_modes_are_refused() {
        for (path, mode, fine) in [
            ("/usr/local/share/ca-certificates/x.crt", 0o644, true),
            ("/etc/ssl/certs/x.pem", 0o755, true),
            ("/etc/ssl", 0o755, true),
            ("/etc", 0o755, true),
            ("/etc/passwd", 0o644, false),
            ("/etc/ssl/certs/../../passwd", 0o644, false),
            ("../../x", 0o644, false),
            ("/etc/ssl/certs/x", 0o4755, false),
            ("/etc/ssl/private/key.pem", 0o600, false),
        ] {
            let before = Saved::Directory { mode, unknown: UnknownFields::default() };
            let record = PathRecord::new(before, Mark::Absent);
            assert_eq!(checked(path, record).is_ok(), fine, "{path}");
        }
    }

    #[test]
    fn what_lost_its_reason_is_not_acted_on_and_not_forged() {
        let directory = PathRecord::new(Saved::Absent, Mark::Directory);
        let unclaimed = checked("/root/.local", directory.clone()).unwrap();
        assert_eq!(unclaimed, [Unclaimed { path: "/root/.local".to_owned(), via: None, is_no_store: false }]);
        let mut bundle =
            PathRecord::new(Saved::Absent, Mark::File(crate::pki::fingerprint::Fingerprint::of(b"")));
        assert!(checked("/opt/bundle.pem", bundle.clone()).is_err(), "no link ever led there");
        bundle.via = Some("/etc/passwd".to_owned());
        assert!(checked("/opt/bundle.pem", bundle.clone()).is_err(), "not through a path that is known");
        bundle.via = Some("/etc/ssl/cert.pem".to_owned());
        assert_eq!(checked("/opt/bundle.pem", bundle.clone()).unwrap()[0].via, bundle.via);
        assert!(checked("/opt/../etc/passwd", bundle).is_err());
        assert!(checked("/opt/../etc", directory).is_err());
    }
}
