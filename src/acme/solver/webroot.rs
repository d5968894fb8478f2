//! http-01 through a web server of somebody else, which publishes a directory: files created new, following no link
//! below it, and removed again (threat T20).

use std::path::Path;

use super::http;
use crate::acme::order::Answer;
use crate::error::{Error, Result};
use crate::rootfs::directory::{Attributes, Directory};
use crate::rootfs::{Kind, Meta, Sysroot, host};

/// What a web server of another user must be able to enter and read.
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
            Some(meta) if meta.kind == Kind::Directory => {}
            _ => {
                return Err(Error::usage("the webroot is no directory")
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
        let directory = self.challenge_directory()?;
        for answer in answers {
            let name = answer.token.as_str();
            let attributes = Attributes { mode: FILE_MODE, owner: None, modified: None };
            // Two names of one order may share a token (and with it the content).
            if self.files.iter().any(|file| file == name) {
                continue;
            }
            let content = answer.key_authorization.as_bytes();
            if is_left(&directory, name, content)? {
                directory.remove(name)?;
            }
            directory.create_file(name, content, attributes)?;
            self.files.push(name.to_owned());
        }
        Ok(())
    }

    /// `.well-known/acme-challenge`, made as far as it is missing.
    fn challenge_directory(&mut self) -> Result<Directory> {
        let attributes = Attributes { mode: DIRECTORY_MODE, owner: None, modified: None };
        let mut path = String::new();
        for component in http::DIRECTORY.split('/').filter(|component| !component.is_empty()) {
            let parent = self.root.directory_without_links(if path.is_empty() { "/" } else { &path })?;
            path = format!("{path}/{component}");
            match parent.lstat(component)? {
                None => {
                    parent.make_directory(component, attributes)?;
                    self.made.push(path.clone());
                }
                Some(meta) if meta.kind == Kind::Directory => {}
                Some(_) => {
                    return Err(Error::failed(
                        "something other than a directory stands where the answer should go",
                    )
                    .at(self.root.display(&path))
                    .hint(
                        "below the webroot no link is followed: name the directory itself with `--webroot`",
                    ));
                }
            }
        }
        self.root.directory_without_links(&path)
    }

    /// Removes what we put there. The errors, if any.
    pub(super) fn take_away(mut self) -> Vec<Error> {
        self.remove()
    }

    fn remove(&mut self) -> Vec<Error> {
        let mut errors = Vec::new();
        for name in std::mem::take(&mut self.files) {
            let directory = self.root.directory_without_links(http::DIRECTORY.trim_end_matches('/'));
            errors.extend(directory.and_then(|directory| directory.remove(&name)).err());
        }
        for path in std::mem::take(&mut self.made).iter().rev() {
            let (parent, name) = crate::rootfs::split(path);
            let parent = self.root.directory_without_links(parent);
            // One that somebody else uses by now stays.
            errors.extend(parent.and_then(|parent| parent.remove_empty_directory(name)).err());
        }
        errors
    }
}

/// Whether the very answer stands there already, as a file of ours: a run that was killed could not take it away, and many
/// CAs give out the same token again while a name is to be validated.
fn is_left(directory: &Directory, name: &str, content: &[u8]) -> Result<bool> {
    let (uid, size) = (rustix::process::geteuid().as_raw(), content.len() as u64);
    let ours = |meta: Meta| meta.kind == Kind::File && meta.uid == uid && meta.size == size;
    if !directory.lstat(name)?.is_some_and(ours) {
        return Ok(false);
    }
    Ok(directory.read(name, size)?.is_some_and(|(bytes, meta)| ours(meta) && bytes == content))
}

impl Drop for Webroot {
    fn drop(&mut self) {
        // For when nobody waited for us: there is nobody left to tell.
        drop(self.remove());
    }
}
