//! Who besides root and us can change what is at a path: one rule for the private store, key pairs, trustup.toml and
//! hooks (threats T12, T21, T23 and T41).
//!
//! | a file, or a directory on the way | another user could change it |
//! | --- | --- |
//! | owned by root, us or a trusted owner, and writable by nobody else | no |
//! | a directory that others can write, with the sticky bit, owned by root or us (`/tmp`) | no: they cannot replace what is ours |
//! | anything on a file system that is mounted read-only here (a ConfigMap, `:ro`) | no: nobody can, here |
//! | anything else that others can write or own (an `emptyDir`, a bind mount from a laptop) | yes, unless the option that accepts it is given |
//!
//! What we make in a shared directory is another matter: our own directories there are never taken over from another
//! user, and are closed (0700).

use std::fmt;
use std::path::Path;

use rustix::fs::OFlags;

use super::host::is_mounted_read_only;
use super::{FileKind, MAX_HOPS, Meta, Sysroot, host, remedy, split};
use crate::error::Result;
use crate::text;

/// What the user accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sharing<'a> {
    /// Owners that are as good as root and us, by user id (`--owner`).
    pub(crate) trusted: &'a [u32],
    /// The option that accepts what others can write, if it is given: its name as on the command line.
    pub(crate) accepted_by: Option<&'static str>,
}

/// Whether others could change what is at a path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Protection {
    /// Why another user could, in words that follow a colon; `None` if no other user counts.
    pub(crate) danger: Option<String>,
    /// Whether the option that accepts shared places would accept this one.
    pub(crate) acceptable: bool,
    /// What others own or can write, if that is the danger.
    culprit: Option<Culprit>,
    /// What would be a danger by owner and mode alone, and why it is none.
    exceptions: Vec<Exception>,
}

/// Why something that others can write, by owner and mode, is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Sticky,
    ReadOnly,
    Option(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Exception {
    path: String,
    meta: String,
    part: Part,
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({}) ", text::escape(&self.path), self.meta)?;
        match self.part {
            Part::Sticky => f.write_str("has the sticky bit"),
            Part::ReadOnly => f.write_str("is mounted read-only"),
            Part::Option(name) => write!(f, "is accepted by `{name}`"),
        }
    }
}

impl Protection {
    /// For `-v`: which part of the rule applied to `path`. `None` where another user could change it.
    pub(crate) fn note(&self, path: &str) -> Option<String> {
        if self.danger.is_some() {
            return None;
        }
        let path = text::escape(path);
        let exceptions: Vec<String> = self.exceptions.iter().map(ToString::to_string).collect();
        Some(match exceptions.as_slice() {
            [] => format!("`{path}`: no other user can change it"),
            all => format!("`{path}`: no other user counts: {}", all.join("; ")),
        })
    }

    /// How to remove the danger: the right of the others, or with another owner ([`Protection::foreign_owner`]) the
    /// owner. `None` if neither is the danger.
    pub(crate) fn remedy(&self) -> Option<String> {
        let culprit = self.culprit.as_ref()?;
        Some(if culprit.is_foreign {
            remedy::chown(&culprit.path)
        } else {
            remedy::chmod(&culprit.path, culprit.owner, "go-w")
        })
    }

    /// The other user with the group, if the danger is the owner and not the mode: then no `chmod` helps.
    pub(crate) fn foreign_owner(&self) -> Option<(u32, u32)> {
        let culprit = self.culprit.as_ref().filter(|culprit| culprit.is_foreign);
        culprit.map(|culprit| (culprit.owner, culprit.group))
    }

    /// Whether it is accepted only because of the option: then what we make there is closed to all others.
    pub(crate) fn is_shared(&self) -> bool {
        self.exceptions.iter().any(|exception| matches!(exception.part, Part::Option(_)))
    }

    /// Notes one file or directory that others own or can write.
    fn add(&mut self, is_read_only: bool, found: Found, sharing: &Sharing<'_>) {
        let part = if found.is_sticky {
            Part::Sticky
        } else if is_read_only {
            Part::ReadOnly
        } else if let Some(name) = sharing.accepted_by {
            Part::Option(name)
        } else {
            (self.danger, self.acceptable) = (Some(found.why), true);
            self.culprit = Some(found.culprit);
            return;
        };
        let exception = Exception { path: found.path, meta: found.meta, part };
        if !self.exceptions.contains(&exception) {
            self.exceptions.push(exception);
        }
    }
}

/// A file or directory that others own or can write: for the hint.
#[derive(Clone, Debug)]
struct Culprit {
    path: String,
    owner: u32,
    group: u32,
    is_foreign: bool,
}

/// A file or directory that others own or can write.
struct Found {
    path: String,
    why: String,
    meta: String,
    is_sticky: bool,
    culprit: Culprit,
}

impl Found {
    /// `None` if it is ours, and nobody else can write it.
    fn of(path: &str, meta: &Meta, is_way: bool, sharing: &Sharing<'_>) -> Option<Found> {
        let us = crate::host::privilege::uid();
        let (owner, group, mode) = (meta.uid, meta.gid, meta.mode);
        let is_foreign = owner != 0 && owner != us && !sharing.trusted.contains(&owner);
        let is_directory = meta.kind == FileKind::Directory;
        // The mode of a link says nothing.
        let is_open = meta.kind != FileKind::Link && mode & 0o022 != 0;
        if !is_foreign && !is_open {
            return None;
        }
        let is_sticky = !is_foreign && is_directory && mode & 0o1000 != 0 && (owner == 0 || owner == us);
        let shown = text::escape(path);
        let (why, meta) = match (is_foreign, is_way) {
            (true, true) => {
                (format!("its parent directory `{shown}` belongs to user {owner}"), format!("user {owner}"))
            }
            (true, false) => (format!("it belongs to user {owner}"), format!("user {owner}")),
            (false, true) => (
                format!("other users can write its parent directory `{shown}` (mode {mode:04o})"),
                format!("mode {mode:04o}"),
            ),
            (false, false) => (format!("its mode is {mode:04o}"), format!("mode {mode:04o}")),
        };
        let culprit = Culprit { path: path.to_owned(), owner, group, is_foreign };
        Some(Found { path: path.to_owned(), why, meta, is_sticky, culprit })
    }
}

impl Sysroot {
    /// Whether another user could put something at `path`, or replace what is there: by the directories on the way.
    pub(crate) fn protection_of_way(&self, path: &str, sharing: Sharing<'_>) -> Result<Protection> {
        let mut protection = Protection::default();
        self.check_way(path, sharing, &mut protection)?;
        Ok(protection)
    }

    fn check_way(&self, path: &str, sharing: Sharing<'_>, protection: &mut Protection) -> Result<()> {
        let mut pending = vec![split(path).0.to_owned()];
        if let Some(real) = self.canonical(split(path).0)? {
            pending.push(real);
        }
        while let Some(directory) = pending.pop() {
            match self.lstat(&directory)? {
                Some(meta) if matches!(meta.kind, FileKind::Directory | FileKind::Link) => {
                    if let Some(found) = Found::of(&directory, &meta, true, &sharing) {
                        protection.add(self.is_read_only(&directory), found, &sharing);
                    }
                }
                None => {}
                Some(_) => protection.danger = Some(format!("`{directory}` in its path is not a directory")),
            }
            if protection.danger.is_some() {
                return Ok(());
            }
            if directory != "/" {
                pending.push(split(&directory).0.to_owned());
            }
        }
        Ok(())
    }

    /// Whether the file system of the existing `path` is mounted read-only here; a link itself has none.
    fn is_read_only(&self, path: &str) -> bool {
        let is_link = self.lstat(path).is_ok_and(|meta| meta.is_some_and(|meta| meta.kind == FileKind::Link));
        // A link is as safe as the directory that it is in.
        let path = if is_link { split(path).0 } else { path };
        self.open_path(path, OFlags::PATH).ok().flatten().is_some_and(|file| is_mounted_read_only(&file))
    }
}

/// Whether another user could change the file or directory at `path` itself: by its owner and mode alone.
pub(crate) fn protection_of_node(path: &Path, sharing: Sharing<'_>) -> Result<Protection> {
    let mut protection = Protection::default();
    if let Some(meta) = host::stat(path)?
        && let Some(found) = Found::of(&path.to_string_lossy(), &meta, false, &sharing)
    {
        protection.add(host::is_read_only(path), found, &sharing);
    }
    Ok(protection)
}

/// Whether another user could change the file at `path` (absolute, UTF-8), or replace it: by its owner and mode, and
/// those of every directory on the way, including the links that lead there, each with its own directory.
pub(crate) fn protection_of_file(path: &str, sharing: Sharing<'_>) -> Result<Protection> {
    let root = Sysroot::open(Path::new("/"))?;
    let mut protection = protection_of_node(Path::new(path), sharing)?;
    let mut next = path.to_owned();
    for _ in 0..MAX_HOPS {
        if protection.danger.is_some() {
            return Ok(protection);
        }
        root.check_way(&next, sharing, &mut protection)?;
        let Some(target) = root.read_link(&next)? else { return Ok(protection) };
        let parent = root.canonical(split(&next).0)?.unwrap_or_default();
        next = if target.starts_with('/') { target } else { format!("{parent}/{target}") };
    }
    protection.danger.get_or_insert_with(|| "its links loop".to_owned());
    Ok(protection)
}
