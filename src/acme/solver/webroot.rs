//! http-01 through an existing web server, which publishes a directory: files are newly created, following no link
//! below it, and removed again (threat T20).

use std::path::Path;

use super::http;
use crate::acme::order::Answer;
use crate::error::{Error, Result};
use crate::rootfs::checkpoint::Checkpoints;
use crate::rootfs::directory::{Attributes, Directory};
use crate::rootfs::file_set::{After, Before, Change, FileSet, Rules};
use crate::rootfs::path::child;
use crate::rootfs::tree::{self, Node};
use crate::rootfs::{FileKind, Meta, Sysroot, host};

/// The mode with which a web server of another user can enter and read.
const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// A webroot with what was put into it.
pub(super) struct Webroot {
    root: Sysroot,
    /// Directories that we made, outermost first.
    made: Vec<String>,
    /// Files that we made.
    files: Vec<String>,
}

impl Webroot {
    /// Opens `directory`; links in its own path are the user's.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        match host::stat(directory)? {
            Some(meta) if meta.kind == FileKind::Directory => {}
            _ => {
                return Err(Error::usage("the webroot is not a directory")
                    .at(directory.display())
                    .hint("`--webroot DIR` names the directory that the web server publishes as `/`"));
            }
        }
        Ok(Webroot { root: Sysroot::open(directory)?, made: Vec::new(), files: Vec::new() })
    }

    /// The directory, for messages.
    pub(super) fn shown(&self) -> String {
        self.root.path().display().to_string()
    }

    /// Puts the answers in.
    pub(super) fn put_up(&mut self, answers: &[&Answer]) -> Result<()> {
        self.make_challenge_directory()?;
        let directory = self.root.directory_without_links(directory_path())?;
        for answer in answers {
            let name = answer.token.as_str();
            // Two names of one order may share a token (and with it the content).
            if self.files.iter().any(|file| file == name) {
                continue;
            }
            let content = answer.key_authorization.as_bytes();
            if !is_left(&directory, name, content)? {
                if directory.lstat(name)?.is_some() {
                    return Err(Error::failed("another file has the name of the answer to the challenge")
                        .at(format!("{}/{name}", directory.display()))
                        .hint("move it away and run again: trustup does not replace it"));
                }
                let path = child(directory_path(), name);
                let attributes = Attributes { mode: FILE_MODE, owner: None, modified: None };
                self.apply(&path, &Node::Absent, After::File(content, attributes))?;
            }
            self.files.push(name.to_owned());
        }
        Ok(())
    }

    /// Makes `.well-known/acme-challenge`, as far as it is missing.
    fn make_challenge_directory(&mut self) -> Result<()> {
        let mut path = String::new();
        for component in http::DIRECTORY.split('/').filter(|component| !component.is_empty()) {
            let parent = self.root.directory_without_links(if path.is_empty() { "/" } else { &path })?;
            path = child(&path, component);
            match parent.lstat(component)? {
                None => {
                    self.apply(&path, &Node::Absent, After::Directory(DIRECTORY_MODE, None))?;
                    self.made.push(path.clone());
                }
                Some(meta) if meta.kind == FileKind::Directory => {}
                Some(_) => {
                    return Err(Error::failed(
                        "expected a directory for the answer, found something else",
                    )
                    .at(self.root.display(&path))
                    .hint(
                        "trustup follows no link below the webroot: name the directory itself with `--webroot`",
                    ));
                }
            }
        }
        Ok(())
    }

    /// One change below the webroot, following no link.
    fn apply(&self, path: &str, before: &Node, after: After) -> Result<()> {
        let rules = Rules { no_links: true, ..Rules::default() };
        let change = Change { path, before: Before::Is(before), after, rules };
        let mut set = FileSet::unlocked(&self.root, None)?;
        set.apply(&[change], &mut Checkpoints::off()).map_err(|(_, error)| {
            set.undo();
            error
        })
    }

    /// Removes what we put there. Returns the errors.
    pub(super) fn take_away(mut self) -> Vec<Error> {
        self.remove()
    }

    fn remove(&mut self) -> Vec<Error> {
        let mut errors = Vec::new();
        for name in std::mem::take(&mut self.files) {
            let path = child(directory_path(), &name);
            errors.extend(
                tree::read(&self.root, &path).and_then(|now| self.apply(&path, &now, After::Absent)).err(),
            );
        }
        for path in std::mem::take(&mut self.made).iter().rev() {
            // A directory that another program uses by now stays.
            let made = Node::Directory { mode: DIRECTORY_MODE };
            let is_there = self.root.lstat(path).is_ok_and(|meta| meta.is_some());
            errors.extend(is_there.then(|| self.apply(path, &made, After::Absent)).and_then(Result::err));
        }
        errors
    }
}

/// The directory of the answers, below the webroot.
fn directory_path() -> &'static str {
    http::DIRECTORY.trim_end_matches('/')
}

/// Whether exactly this answer is already there, as a file of ours: a killed run could not remove it, and many CAs
/// issue the same token again while a name is to be validated.
fn is_left(directory: &Directory, name: &str, content: &[u8]) -> Result<bool> {
    let (uid, size) = (crate::host::privilege::uid(), content.len() as u64);
    let ours = |meta: Meta| meta.kind == FileKind::File && meta.uid == uid && meta.size == size;
    if !directory.lstat(name)?.is_some_and(ours) {
        return Ok(false);
    }
    Ok(directory.read(name, size)?.is_some_and(|(bytes, meta)| ours(meta) && bytes == content))
}

impl Drop for Webroot {
    fn drop(&mut self) {
        // The future was dropped: there is no caller left to tell.
        drop(self.remove());
    }
}
