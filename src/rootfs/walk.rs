//! Our own resolution of a path inside a sysroot: for canonical paths (the kernel gives none without `/proc`), and for
//! kernels and sandboxes that refuse `openat2`. Follows links as a `chroot` would: absolute targets begin at the
//! sysroot, `..` stops there.
//!
//! A link cannot mislead us (threat T35): one that another user owns is followed only to what that user owns.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{FileKind, MAX_HOPS, Sysroot, meta_of, read_link_at, remedy};
use crate::error::{Error, Result};

/// The magic number of procfs (`statfs(2)`): its links are not text but magic links.
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// The path without links, `.` and `..`. With `follow_last` the last component must exist; without, it is taken as it
/// is and may be missing. `None` if something on the way is missing or not a directory.
pub(super) fn canonical(sysroot: &Sysroot, path: &str, follow_last: bool) -> Result<Option<String>> {
    let mut pending: Vec<Piece> = pieces(path).collect();
    let mut done: Vec<(String, OwnedFd)> = Vec::new();
    let mut last: Option<(String, u32)> = None;
    let mut hops = 0;
    let located = |error: Error| error.at(sysroot.display(path));
    while let Some(piece) = pending.pop() {
        let directory = done.last().map_or(&sysroot.root, |(_, directory)| directory);
        let component = match piece {
            Piece::Name(component) => component,
            Piece::EndOf(link) => {
                let owner = match &last {
                    Some((_, owner)) => *owner,
                    None => meta_of(directory, "", AtFlags::EMPTY_PATH)?.map_or(0, |meta| meta.uid),
                };
                link.refuse_unless(owner, sysroot)?;
                continue;
            }
        };
        if component == ".." {
            done.pop();
            continue;
        }
        let is_last = !pending.iter().any(|piece| matches!(piece, Piece::Name(_)));
        if is_last && !follow_last {
            // The caller chooses the name; the location may result from a link.
            let owner = meta_of(directory, "", AtFlags::EMPTY_PATH)?.map_or(0, |meta| meta.uid);
            last = Some((component, owner));
            continue;
        }
        let Some(meta) = meta_of(directory, &component, AtFlags::SYMLINK_NOFOLLOW).map_err(located)? else {
            return Ok(None);
        };
        match meta.kind {
            FileKind::Link => {
                hops += 1;
                let magic =
                    rustix::fs::fstatfs(directory).is_ok_and(|fs| fs.f_type as u64 == PROC_SUPER_MAGIC);
                if hops > MAX_HOPS || magic {
                    return Err(sysroot.open_error(path, Errno::LOOP));
                }
                let Some(target) = read_link_at(directory, &component).map_err(located)? else {
                    return Ok(None);
                };
                if !sysroot.is_trusted(meta.uid) {
                    let path = format!("{}/{component}", joined(&done));
                    pending.push(Piece::EndOf(ForeignLink { uid: meta.uid, path }));
                }
                if target.starts_with('/') {
                    done.clear();
                }
                pending.extend(pieces(&target));
            }
            FileKind::Directory => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match rustix::fs::openat(directory, component.as_str(), flags, Mode::empty()) {
                    Ok(opened) => done.push((component, opened)),
                    Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                    Err(error) => return Err(sysroot.open_error(path, error)),
                }
            }
            FileKind::File | FileKind::Special if is_last => last = Some((component, meta.uid)),
            FileKind::File | FileKind::Special => return Ok(None),
        }
    }
    let mut canonical = joined(&done);
    if let Some((last, _)) = last {
        canonical = format!("{canonical}/{last}");
    }
    if canonical.is_empty() {
        canonical.push('/');
    }
    Ok(Some(canonical))
}

/// The remaining path.
enum Piece {
    Name(String),
    /// The target of this link is walked.
    EndOf(ForeignLink),
}

/// The components of a path, the last first.
fn pieces(path: &str) -> impl Iterator<Item = Piece> {
    components(path).into_iter().rev().map(Piece::Name)
}

/// A link of another user on the way: it may lead only to what that user owns.
struct ForeignLink {
    uid: u32,
    path: String,
}

impl ForeignLink {
    fn refuse_unless(&self, owner: u32, sysroot: &Sysroot) -> Result<()> {
        if owner == self.uid {
            return Ok(());
        }
        let link = sysroot.display(&self.path);
        Err(Error::failed(format!(
            "this symbolic link is owned by user {}, and it leads to something that this user does not own",
            self.uid
        ))
        .at(&link)
        .because(Errno::PERM)
        .hint(format!(
            "name the real path, or make root the owner of the link: `chown -h 0:0 {}`",
            remedy::quoted(&link)
        )))
    }
}

fn joined(directories: &[(String, OwnedFd)]) -> String {
    directories.iter().map(|(name, _)| format!("/{name}")).collect()
}

/// Opens a canonical path, one component after the other, following no link at all: if a link is put in the way after
/// we resolved the path, this fails instead of leaving the sysroot.
pub(super) fn open_without_links(
    sysroot: &Sysroot,
    canonical: &str,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let mut names = components(canonical);
    let last = names.pop().unwrap_or_else(|| ".".to_owned());
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut opened: Option<OwnedFd> = None;
    for name in names {
        let directory = opened.as_ref().unwrap_or(&sysroot.root);
        opened = Some(rustix::fs::openat(directory, name.as_str(), step, Mode::empty())?);
    }
    let directory = opened.as_ref().unwrap_or(&sysroot.root);
    rustix::fs::openat(directory, last.as_str(), flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn components(path: &str) -> Vec<String> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(ToOwned::to_owned).collect()
}
