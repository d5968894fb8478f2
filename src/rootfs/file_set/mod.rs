//! The file-set engine: the only code that writes files, links and directories.
//!
//! A set is what changes together. Every path of it is resolved once; what is checked, written and read back goes
//! through the descriptor of its directory, which stays open (threats T10 and T35). First everything that can fail for
//! want of space or rights is staged beside its place; then each path changes by one rename or unlink, so that it is
//! the old or the new one at any instant. The former nodes are kept, so that the set can be undone in reverse.
//!
//! A killed run leaves staged files. Their names are known beforehand ([`staged`]): the journal of the trust stores has
//! them, and the next run of the same writer replaces them.

mod change;
mod stage;
mod undo;

use std::collections::BTreeMap;
use std::sync::Arc;

use rustix::io::Errno;

pub(crate) use self::change::{After, Before, Change, Rules};
use self::stage::{Staged, former, mount_point, unstage};
use self::undo::UndoStep;
use super::checkpoint::Checkpoints;
use super::directory::{Attributes, Directory};
use super::path::split;
use super::{FileKind, Meta, Sysroot, staged};
use crate::error::{Error, Result};

/// A set of files that change together, in a root file system.
#[derive(Debug)]
pub(crate) struct FileSet<'a> {
    sysroot: &'a Sysroot,
    /// The owner of the staged files: see [`staged::name`].
    writer: String,
    /// The time that new files and links get, seconds since 1970; `None` is now.
    stamp: Option<i64>,
    /// Every directory that was used, by its path as named and the rules under which it was opened.
    directories: BTreeMap<(String, Access), Arc<Directory>>,
    done: Vec<UndoStep>,
    /// Files that were written in place, as displayed.
    written_in_place: Vec<String>,
    /// Files that lost extended attributes, as displayed, and which.
    lost_attributes: Vec<(String, Vec<String>)>,
}

/// How a directory is reached and changed: the rules that apply to the directory and not to the path in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Access {
    no_links: bool,
    with_owners_rights: bool,
}

impl Access {
    fn of(rules: Rules) -> Self {
        Access { no_links: rules.no_links, with_owners_rights: rules.with_owners_rights }
    }
}

impl<'a> FileSet<'a> {
    /// An empty set. `writer` names the holder of a lock, by its path: no other run stages under the same names.
    pub(crate) fn new(sysroot: &'a Sysroot, writer: impl Into<String>, stamp: Option<i64>) -> Self {
        FileSet {
            sysroot,
            writer: writer.into(),
            stamp,
            directories: BTreeMap::new(),
            done: Vec::new(),
            written_in_place: Vec::new(),
            lost_attributes: Vec::new(),
        }
    }

    /// An empty set of a writer that holds no lock.
    ///
    /// # Errors
    /// The kernel gives no random bytes.
    pub(crate) fn unlocked(sysroot: &'a Sysroot, stamp: Option<i64>) -> Result<Self> {
        let mut random = [0_u8; 16];
        crate::random::fill(&mut random)?;
        Ok(FileSet::new(sysroot, hex::encode(random), stamp))
    }

    /// The name beside `path` of its staged file.
    pub(crate) fn staged_name(&self, path: &str) -> String {
        staged::name(&self.writer, split(path).1)
    }

    /// Makes the changes, in their order; may be called more than once. On an error, the changes of this call that were
    /// made before it can be undone ([`FileSet::undo`]), and nothing staged is left. Returns, with the error, which
    /// change it was.
    ///
    /// # Errors
    /// A path is not what was expected, or cannot be changed; what was written is not what can be read there.
    pub(crate) fn apply(
        &mut self,
        changes: &[Change],
        checkpoints: &mut Checkpoints,
    ) -> Result<(), (usize, Error)> {
        let mut ready: Vec<Staged> = Vec::with_capacity(changes.len());
        for (index, change) in changes.iter().enumerate() {
            // In between, more of the same kind is staged.
            if index == 0 || index + 1 == changes.len() {
                checkpoints.pass("stage", change.path);
            }
            match self.stage(*change) {
                Ok(staged) => ready.push(staged),
                Err(error) => {
                    unstage(&ready);
                    return Err((index, error));
                }
            }
        }
        for (index, staged) in ready.iter_mut().enumerate() {
            checkpoints.pass("place", staged.change.path);
            if staged.is_done {
                continue;
            }
            if let Err(error) = self.place(staged) {
                unstage(&ready[index..]);
                return Err((index, error));
            }
        }
        Ok(())
    }

    /// Stages the changes, and removes what was staged: whether they can be made, as far as that can be known.
    ///
    /// # Errors
    /// They cannot. Returns which change it was.
    pub(crate) fn try_out(&mut self, changes: &[Change]) -> Result<(), (usize, Error)> {
        for (index, change) in changes.iter().enumerate() {
            let staged = self.stage(*change).map_err(|error| (index, error))?;
            unstage(&[staged]);
        }
        Ok(())
    }

    /// Changes the path, if it still is what was checked, and reads it back.
    fn place(&mut self, staged: &mut Staged) -> Result<()> {
        let (directory, name) = (Arc::clone(&staged.directory), staged.name);
        let shown = || self.sysroot.display(staged.change.path);
        let now = directory.lstat(name)?;
        let is_directory = |meta: Option<Meta>| meta.is_some_and(|meta| meta.kind == FileKind::Directory);
        if !(is_same(staged.meta, now) || is_directory(now) && is_directory(staged.meta)) {
            match staged.change.before {
                Before::Is(_) => return Err(changed(shown())),
                // Another writer of the same file was faster.
                Before::Anything => (staged.meta, staged.former) = former(&directory, name)?,
            }
        }
        match (staged.change.after, &staged.file) {
            (After::Absent, _) => {
                // Another program may have added a file: then the directory is no longer ours to remove.
                if is_directory(now) {
                    directory.remove_empty_directory(name)?;
                } else {
                    directory.remove(name)?;
                }
                self.done(staged);
                return Ok(());
            }
            (_, Some((temporary, _))) => {
                if directory.rename(temporary, name)? {
                    self.done(staged);
                } else {
                    // Not every kernel reports a mount beforehand.
                    directory.remove(temporary)?;
                    if !staged.change.rules.in_place {
                        return Err(mount_point(shown()));
                    }
                    staged.in_place = true;
                }
            }
            (_, None) => {}
        }
        if let (true, After::File(content, attributes)) = (staged.in_place, staged.change.after) {
            self.written_in_place.push(shown());
            // It may be half written if this fails.
            self.done(staged);
            directory.overwrite(name, content, attributes)?;
        }
        read_back(staged).map_err(|error| error.at(self.sysroot.display(staged.change.path)))
    }

    fn done(&mut self, staged: &mut Staged) {
        self.done.push(UndoStep {
            directory: Arc::clone(&staged.directory),
            name: staged.name.to_owned(),
            former: staged.former.take(),
            in_place: staged.in_place,
        });
    }

    /// The directory at `path`, opened once.
    fn directory(&mut self, path: &str, rules: Rules) -> Result<Arc<Directory>> {
        let key = (path.to_owned(), Access::of(rules));
        if let Some(known) = self.directories.get(&key) {
            return Ok(Arc::clone(known));
        }
        let directory = if rules.no_links {
            self.sysroot.directory_without_links(path)?
        } else {
            self.sysroot.directory(path)?
        };
        let foreign = directory.owner()?.filter(|(uid, _)| !self.sysroot.is_trusted(*uid));
        let user = foreign.filter(|_| rules.with_owners_rights && crate::host::privilege::is_root());
        let directory = Arc::new(directory.with_rights_of(user));
        self.directories.insert(key, Arc::clone(&directory));
        Ok(directory)
    }

    /// Writes the entries of every directory that was used to disk, each once.
    ///
    /// # Errors
    /// The disk does not accept them.
    pub(crate) fn sync(&self) -> Result<()> {
        self.directories.values().try_for_each(|directory| directory.sync())
    }

    /// Sets the time of every directory that was used, seconds since 1970: image layers record it.
    ///
    /// # Errors
    /// A directory that is still there cannot be stamped.
    pub(crate) fn stamp_directories(&self, seconds: i64) -> Result<()> {
        self.directories.values().try_for_each(|directory| directory.stamp((seconds, 0)))
    }

    /// Sets the time of the directory at `path`, seconds since 1970.
    ///
    /// # Errors
    /// It cannot be opened or stamped.
    pub(crate) fn stamp_directory(sysroot: &Sysroot, path: &str, seconds: i64) -> Result<()> {
        sysroot.directory(path)?.stamp((seconds, 0))
    }

    /// The same for a file or link.
    pub(crate) fn stamp_entry(sysroot: &Sysroot, path: &str, seconds: i64) -> Result<()> {
        let (directory, name) = split(path);
        sysroot.directory(directory)?.stamp_entry(name, (seconds, 0))
    }

    /// Removes what a killed run may have staged as `name` beside `path`. A missing directory has nothing.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(crate) fn remove_staged(&self, path: &str, name: &str) -> Result<()> {
        match self.sysroot.directory(split(path).0) {
            Ok(directory) => directory.remove(name),
            Err(_) => Ok(()),
        }
    }

    /// Every path that was changed, as displayed.
    pub(crate) fn changed(&self) -> Vec<String> {
        let path =
            |done: &UndoStep| format!("{}/{}", done.directory.display().trim_end_matches('/'), done.name);
        self.done.iter().map(path).collect()
    }

    /// Files that were written in place, because they are individually mounted, as displayed.
    pub(crate) fn written_in_place(&self) -> &[String] {
        &self.written_in_place
    }

    /// The warnings about attributes that could not be kept (threat T37).
    pub(crate) fn warnings(&self) -> Vec<String> {
        let line = |(path, lost): &(String, Vec<String>)| {
            let lost: Vec<String> = lost.iter().map(|name| crate::text::escape(name)).collect();
            format!("`{path}` lost extended attributes that could not be copied: {}", lost.join(", "))
        };
        self.lost_attributes.iter().map(line).collect()
    }
}

/// Replaces the file (or link) at `path` as a whole, on disk when this returns; for one file of a writer that holds no
/// lock. Extended attributes of the former file are kept, or a warning is returned.
///
/// # Errors
/// Something other than a file or link is there, or it cannot be written; then it is as it was.
pub(crate) fn write_file(
    sysroot: &Sysroot,
    path: &str,
    content: &[u8],
    attributes: Attributes,
) -> Result<Vec<String>> {
    let after = After::File(content, attributes);
    let change = Change { path, before: Before::Anything, after, rules: Rules::default() };
    let mut set = FileSet::unlocked(sysroot, None)?;
    let applied = set.apply(&[change], &mut Checkpoints::off()).map_err(|(_, error)| error);
    applied.and_then(|()| set.sync()).map_err(|error| error.with_changed(set.undo()))?;
    Ok(set.warnings())
}

/// Whether [`write_file`] could replace what is at `path`, as far as that can be known; nothing is changed.
///
/// # Errors
/// It could not.
pub(crate) fn try_write_file(sysroot: &Sysroot, path: &str, attributes: Attributes) -> Result<()> {
    let after = After::File(b"", attributes);
    let change = Change { path, before: Before::Anything, after, rules: Rules::default() };
    FileSet::unlocked(sysroot, None)?.try_out(&[change]).map_err(|(_, error)| error)
}

/// Whether a path is unchanged since it was checked. It is not a change of it if another name of the same file was
/// replaced, for example in this set.
fn is_same(checked: Option<Meta>, now: Option<Meta>) -> bool {
    match (checked, now) {
        (Some(checked), Some(now)) if checked.links != now.links => {
            checked == Meta { links: checked.links, changed: checked.changed, ..now }
        }
        (checked, now) => checked == now,
    }
}

/// Compares what is there now with what was written.
fn read_back(staged: &Staged) -> Result<()> {
    let (directory, name) = (&staged.directory, staged.name);
    let differs = || {
        Error::failed("what was written is not what is there now")
            .hint("run again when no other program works on this path")
    };
    let now = directory.lstat(name)?;
    // Where any node is accepted, another writer may have put the same there meanwhile.
    if let (Some((_, written)), Before::Is(_)) = (&staged.file, staged.change.before)
        && !staged.in_place
        && now.map(|meta| meta.identity) != Some(written.identity)
    {
        return Err(differs());
    }
    match staged.change.after {
        After::File(content, _) => match directory.read(name, content.len() as u64) {
            Ok(Some((there, _))) if there == content => Ok(()),
            // Its mode may not even let its owner read it.
            Err(error) if error.cause::<Errno>() == Some(&Errno::ACCESS) => Ok(()),
            _ => Err(differs()),
        },
        After::Link(target) if directory.read_link(name)?.as_deref() != Some(target) => Err(differs()),
        After::Link(_) | After::Absent | After::Directory(..) => Ok(()),
    }
}

fn changed(place: String) -> Error {
    Error::failed("this path changed during the run")
        .at(place)
        .hint("run again when no other program changes the root file system")
}

#[cfg(test)]
mod tests;
