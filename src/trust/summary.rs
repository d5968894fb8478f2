//! What trustup did to a root file system, for users who may not read its record: which roots, where programs read them,
//! and until when they are valid. State, journal and lock stay root's (threat T11); this file is beside them, for all to
//! read. It holds nothing that the trust stores do not show anyway, and no times of runs: the same inputs give the same
//! bytes.
//!
//! It is a claim like every record (threat T34): whoever reads it looks into the stores themselves. Nothing is undone,
//! removed or pinned because of it. It is derived from the state and written within the same transaction.

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::rootfs::checkpoint::Checkpoints;
use crate::rootfs::directory::Attributes;
use crate::rootfs::file_set::{After, Before, Change, FileSet, Rules};
use crate::rootfs::path::child;
use crate::rootfs::tree::Node;
use crate::rootfs::{FileKind, STATE_DIRECTORY, Sysroot};
use crate::text;
use crate::trust::ours::Ours;
use crate::trust::state::{State, StoredAnchor};
use crate::trust::stores::Kinds;
use crate::versioned::{Field, Format, UnknownFields, Unreadable};

/// Its directory, 0755.
const DIRECTORY: &str = "/var/lib/trustup-summary";
/// The file, 0644.
const FILE: &str = "summary.json";
/// Permission bits of both.
const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;
/// As the state, which it is derived from.
const LIMIT: u64 = crate::trust::state::LIMIT;

/// Version 1: the first.
const FORMAT: Format = Format { what: "summary", field: Field::Schema, newest: 1, unnamed: None };

/// The path of the file, as seen inside a root file system.
fn path() -> String {
    child(DIRECTORY, FILE)
}

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Version of the format.
    schema: u64,
    /// The row of the table of distributions.
    row: String,
    /// Whether the user named that row.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    row_named: bool,
    /// The roots, in the order in which they were added.
    roots: Vec<SummaryRoot>,
    /// Where programs read the system's roots.
    outputs: Vec<String>,
    /// Keystores and databases beside these to which roots were added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) stores: Vec<String>,
    /// Which kinds of such stores were looked for.
    #[serde(default, skip_serializing_if = "Kinds::is_default")]
    kinds: Kinds,
    /// Whether Firefox's policy file names the roots.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    firefox_policy: bool,
    /// Outputs and stores that could not be written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<String>,
    /// What only a newer trustup knows. It is not kept when the file is written again: everything in it is derived.
    #[serde(flatten)]
    unknown: UnknownFields,
}

/// A root, with what a reader would otherwise have to decode.
#[derive(Debug, Serialize, Deserialize)]
struct SummaryRoot {
    /// The subject, for people.
    subject: String,
    /// When it begins and ends, RFC 3339.
    not_before: String,
    not_after: String,
    #[serde(flatten)]
    anchor: StoredAnchor,
}

/// Whether a summary belongs to this tree: the state is root's, or that of an image that a user unpacked.
pub(crate) fn is_kept(sysroot: &Sysroot) -> bool {
    !sysroot.is_private() && sysroot.state_directory() == STATE_DIRECTORY
}

/// The bytes for this state; `outputs` are those of the family.
///
/// # Errors
/// The state is damaged.
pub(crate) fn to_bytes(state: &State, mut outputs: Vec<String>) -> Result<Vec<u8>> {
    outputs.sort();
    outputs.dedup();
    let mut roots = Vec::with_capacity(state.anchors.len());
    for anchor in &state.anchors {
        let certificate = anchor.certificate()?;
        roots.push(SummaryRoot {
            subject: certificate.subject(),
            not_before: text::rfc3339(certificate.not_before()),
            not_after: text::rfc3339(certificate.not_after()),
            anchor: anchor.for_everybody(),
        });
    }
    let summary = Summary {
        schema: FORMAT.newest,
        row: state.row.clone(),
        row_named: state.row_named,
        roots,
        outputs,
        stores: state.added.keys().cloned().collect(),
        kinds: Kinds { unknown: UnknownFields::default(), ..state.kinds },
        firefox_policy: state.firefox_policy,
        skipped: state.skipped.clone(),
        unknown: UnknownFields::default(),
    };
    let mut bytes = serde_json::to_vec_pretty(&summary)
        .map_err(|error| Error::failed("could not write the summary").because(error))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Whether the file is what `bytes` says, or cannot be: it is for others, and no reason to fail.
pub(crate) fn is_current(sysroot: &Sysroot, bytes: &[u8]) -> Result<bool> {
    if sysroot.directory_obstacle(DIRECTORY)?.is_some() {
        return Ok(true);
    }
    let found = sysroot.read_no_link(&path(), LIMIT).ok().flatten();
    Ok(found.is_some_and(|(found, meta)| found == bytes && meta.mode == FILE_MODE))
}

/// Writes the file (`None` removes it, and the directory with it) as a set, which the caller can undo. What cannot be
/// written is left as it is: the summary is for others, and no reason to fail.
///
/// # Errors
/// Something other than a missing right failed; the set has what has to be undone.
pub(crate) fn write(
    sysroot: &Sysroot,
    set: &mut FileSet,
    checkpoints: &mut Checkpoints,
    bytes: Option<&[u8]>,
    stamp: Option<i64>,
) -> Result<()> {
    let file = path();
    let there = sysroot.lstat(DIRECTORY)?;
    let directory = match there {
        None => Node::Absent,
        Some(meta) if meta.kind == FileKind::Directory => Node::Directory { mode: meta.mode },
        // Not ours to replace.
        Some(_) => return Ok(()),
    };
    let change = |path, before, after| Change { path, before, after, rules: Rules::default() };
    let changes = match bytes {
        None if there.is_none() => return Ok(()),
        None => {
            let staged = set.staged_name(&file);
            set.remove_staged(&file, &staged)?;
            vec![
                change(&file, Before::Anything, After::Absent),
                change(DIRECTORY, Before::Is(&directory), After::Absent),
            ]
        }
        Some(bytes) if is_current(sysroot, bytes)? => return Ok(()),
        Some(bytes) => {
            let modified = stamp.map(|seconds| (seconds, 0));
            let attributes = Attributes { mode: FILE_MODE, owner: None, modified };
            let mut changes = vec![change(&file, Before::Anything, After::File(bytes, attributes))];
            if there.is_none() {
                let made = After::Directory(DIRECTORY_MODE, None);
                changes.insert(0, change(DIRECTORY, Before::Is(&directory), made));
            }
            changes
        }
    };
    match set.apply(&changes, checkpoints) {
        Err((_, error)) if is_refusal(&error) => {
            set.undo();
            Ok(())
        }
        applied => applied.map_err(|(_, error)| error),
    }
}

/// Whether the file system or a missing right is the reason.
fn is_refusal(error: &Error) -> bool {
    matches!(error.cause::<Errno>(), Some(&(Errno::ROFS | Errno::ACCESS | Errno::PERM | Errno::BUSY)))
}

/// The summary of a root file system; `None` if there is none, or if others than root, us and the owner of the root file
/// system could have written it.
///
/// # Errors
/// It is damaged, or of a newer trustup.
pub(crate) fn load(sysroot: &Sysroot) -> Result<Option<Summary>> {
    let is_safe =
        |path: &str, kind| {
            let meta = sysroot.lstat(path)?;
            Ok::<_, Error>(meta.is_some_and(|meta| {
                meta.kind == kind && sysroot.is_trusted(meta.uid) && meta.mode & 0o022 == 0
            }))
        };
    let file = path();
    if !is_safe(DIRECTORY, FileKind::Directory)? || !is_safe(&file, FileKind::File)? {
        return Ok(None);
    }
    let Some((bytes, _)) = sysroot.read_no_link(&file, LIMIT)? else { return Ok(None) };
    let place = sysroot.display(&file);
    let damaged = |error: Error| {
        error.at(&place).hint("as root, `trustup bootstrap` with the same options writes the summary again")
    };
    let summary: Summary = FORMAT.read(&bytes, &place).map_err(|unreadable| match unreadable {
        Unreadable::Newer(error) => error,
        Unreadable::Damaged(cause) => {
            damaged(Error::failed("the summary of what trustup installed is damaged").because(cause))
        }
    })?;
    for root in &summary.roots {
        let fits = root.anchor.certificate();
        fits.map_err(|_| {
            damaged(Error::failed("the summary is damaged: a certificate in it does not fit its fingerprint"))
        })?;
    }
    Ok(Some(summary))
}

impl Summary {
    /// What a run of the user who reads this would have to know: the state without anything that undoes a change.
    pub(crate) fn state(&self) -> State {
        State {
            row: self.row.clone(),
            row_named: self.row_named,
            anchors: self.roots.iter().map(|root| root.anchor.clone()).collect(),
            kinds: self.kinds.clone(),
            firefox_policy: self.firefox_policy,
            skipped: self.skipped.clone(),
            ..State::default()
        }
    }

    /// The distribution that root named, for the view of the tree.
    pub(crate) fn ours(&self, own: Ours) -> Ours {
        Ours { distribution: self.row_named.then(|| self.row.clone()).or(own.distribution.clone()), ..own }
    }
}
