//! The one table of formats: which paths each format owns, and what it requires of programs that write there. `plan`,
//! `state`, `apply` and the view use this table and name no format; a new format is one file that implements [`Owner`],
//! and one row.
//!
//! Nothing here reads or writes a file, and asking allocates nothing: hundreds of paths are asked about in a run.

use std::fmt::Debug;

use crate::rootfs::file_set::Rules;
use crate::rootfs::record::{Mark, PathRecord, Saved};
use crate::rootfs::{Obstacle, split};
use crate::trust::ours::Ours;
use crate::trust::runtimes::profile;
use crate::trust::stores::{java, nss};
use crate::trust::updater::bundle;
use crate::trust::{firefox_policy, nix_store, p11_format, pem_file};

/// Every owner. For [`Owner::without_ours`] the first that answers decides, so the order goes from the certain to the
/// general: formats with a path of their own; then formats whose content is unmistakable, because a reader accepts it
/// only byte for byte (p11-kit's comments and EDK2's lists, keystores); then PEM blocks, which occur in any file. For
/// [`known_paths`] the order is the one in which links are resolved: bundles, then keystores. For all other questions
/// at most one owner answers.
pub(crate) static OWNERS: [&dyn Owner; 8] = [
    &nix_store::NixStore,
    &profile::Profile,
    &firefox_policy::Policy,
    &p11_format::Extracted,
    &bundle::WellKnown,
    &java::Keystores,
    &nss::DatabaseFiles,
    &pem_file::PemFile,
];

/// A format and its paths. Each method has a default for formats that have no such rule.
pub(crate) trait Owner: Debug + Sync {
    /// Whether state and journal may hold this record of a path that the format has in every root file system
    /// (threat T11).
    fn may_record(&self, _path: &str, _record: &PathRecord) -> bool {
        false
    }

    /// Why a state may not keep this record, although its path may be recorded (threat T11); `None` if it may.
    fn objection(&self, _path: &str, _record: &PathRecord) -> Option<&'static str> {
        None
    }

    /// Whether a file with this name is a store of this format, in any directory.
    fn is_store_name(&self, _name: &str) -> bool {
        false
    }

    /// Paths at which programs expect a store of this format. Distributions make links of them, so that a link decides
    /// which file is the store.
    fn known_paths(&self) -> &'static [&'static str] {
        &[]
    }

    /// Files that trustup makes only for this format: no copy of the roots may be written there.
    fn own_files(&self) -> &'static [&'static str] {
        &[]
    }

    /// This format's file for an anchor of this name, where the anchor has no file of its own.
    fn certificate_file(&self, _anchor: &str) -> Option<String> {
        None
    }

    /// The content without what is ours, for a file that is not (or no longer) as we left it; `None` if it is not of
    /// this format, or holds nothing of ours.
    fn without_ours(&self, _file: &Existing, _ours: &Ours) -> Option<Rest> {
        None
    }

    /// Whether two files are of this format and differ only in certificates (threat T34).
    fn differ_only_in_certificates(&self, _one: &[u8], _other: &[u8]) -> bool {
        false
    }

    /// How a file with this name may be written; `None` if this format has no rule for it.
    fn write_rules(&self, _name: &str) -> Option<Rules<'static>> {
        None
    }

    /// Whether only another program may write at `location`, a path whose directories are resolved.
    fn closed(&self, _location: &str) -> Option<&'static Closed> {
        None
    }
}

/// A file as it is now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Existing<'a> {
    /// The resolved path.
    pub(crate) location: &'a str,
    /// The path under which the state records it; `None`: our last run did not change it.
    pub(crate) recorded: Option<&'a str>,
    /// Its bytes.
    pub(crate) content: &'a [u8],
}

/// A file without what is ours in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// It stays as it is.
    Same,
    /// Without ours there would be no file.
    Nothing,
    /// These bytes.
    Content(Vec<u8>),
}

/// A place where only another program writes, whatever links lead there.
#[derive(Debug)]
pub(crate) struct Closed {
    /// Why a store there is not changed.
    pub(crate) why: &'static str,
    /// What the administrator can do about that.
    pub(crate) hint: &'static str,
    /// The error where a path of a plan leads there by a link.
    pub(crate) refusal: &'static str,
    /// What the administrator can do about that error.
    pub(crate) remedy: &'static str,
}

impl Closed {
    /// The same as an obstacle to a change.
    pub(crate) fn obstacle(&self) -> Obstacle {
        Obstacle::Reserved { why: self.why, hint: self.hint }
    }
}

/// Whether a record may name this path (threat T11): a path that a format owns; a store, by its name; or a directory on
/// the way to a store that `all` of the recorded paths name by its name, or that is one of the recorded `stores`.
pub(crate) fn may_record<'a>(
    path: &str,
    record: &PathRecord,
    mut all: impl Iterator<Item = &'a String>,
    mut stores: impl Iterator<Item = &'a String>,
) -> bool {
    if OWNERS.iter().any(|owner| owner.may_record(path, record)) {
        return true;
    }
    if is_store_by_name(path) {
        // A store is a file. One that does not exist yet may be watched while the family's own program runs.
        return !matches!(record.before, Saved::Directory { .. }) && record.after != Mark::Directory;
    }
    let below = |other: &String| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
    record.is_of_directory()
        && (all.any(|other| is_store_by_name(other) && below(other))
            || stores.any(|other| other == path || below(other)))
}

/// Why a state may not keep one of these records (threat T11); `None` if it may keep all.
pub(crate) fn objection<'a>(
    records: impl Iterator<Item = (&'a String, &'a PathRecord)> + Clone,
) -> Option<&'static str> {
    let of = |owner: &&dyn Owner| records.clone().find_map(|(path, record)| owner.objection(path, record));
    OWNERS.iter().find_map(of)
}

/// Whether a state may keep this record.
pub(crate) fn may_keep(path: &str, record: &PathRecord) -> bool {
    OWNERS.iter().all(|owner| owner.objection(path, record).is_none())
}

/// Whether the name of this path is that of a store that can be in any directory.
pub(crate) fn is_store_by_name(path: &str) -> bool {
    let name = split(path).1;
    OWNERS.iter().any(|owner| owner.is_store_name(name))
}

/// The paths at which programs expect stores.
pub(crate) fn known_paths() -> impl Iterator<Item = &'static str> {
    OWNERS.iter().flat_map(|owner| owner.known_paths()).copied()
}

/// Whether trustup makes the file at this path for a format.
pub(crate) fn is_own_file(path: &str) -> bool {
    OWNERS.iter().any(|owner| owner.own_files().contains(&path))
}

/// The files that formats have for an anchor of this name.
pub(crate) fn certificate_files(anchor: &str) -> impl Iterator<Item = String> {
    OWNERS.iter().filter_map(move |owner| owner.certificate_file(anchor))
}

/// The content of a file without what is ours; `None` if there is nothing of ours in it.
pub(crate) fn without_ours(file: &Existing, ours: &Ours) -> Option<Rest> {
    OWNERS.iter().find_map(|owner| owner.without_ours(file, ours))
}

/// Whether two files of a store differ only in certificates (threat T34).
pub(crate) fn differ_only_in_certificates(one: &[u8], other: &[u8]) -> bool {
    OWNERS.iter().any(|owner| owner.differ_only_in_certificates(one, other))
}

/// How the path of a trust store may be written.
pub(crate) fn rules(path: &str) -> Rules<'static> {
    let name = split(path).1;
    OWNERS.iter().find_map(|owner| owner.write_rules(name)).unwrap_or_default()
}

/// Whether only another program may write at `location`, a path whose directories are resolved.
pub(crate) fn closed(location: &str) -> Option<&'static Closed> {
    OWNERS.iter().find_map(|owner| owner.closed(location))
}
