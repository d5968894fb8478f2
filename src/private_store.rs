//! Where the private store of the current user is, and whether it is safe to use (threat T12): a directory with a
//! bundle, a hashed directory and our state, for users who cannot write the system's stores. Its content is another
//! module's responsibility.
//!
//! `--private-dir`, else `$XDG_STATE_HOME/trustup`, else `$HOME/.local/state/trustup`, else `/tmp/trustup-UID`. An
//! existing one must be ours; a new one is made where no other user could have put or replaced it.

use std::path::Path;

use crate::env::Env;
use crate::error::{Error, Result};
use crate::rootfs::checkpoint::Checkpoints;
use crate::rootfs::directory::Attributes;
use crate::rootfs::file_set::{After, Before, Change, FileSet, Rules};
use crate::rootfs::path::child;
use crate::rootfs::tree::Node;
use crate::rootfs::{FileKind, Sysroot, split};

/// State, journal and lock of what we changed in the root file system itself, for users other than root (threat T11).
const SYSTEM_STATE: &str = "system";
/// The directories on the way that we made, one a line, so that the last `untrust` removes them again.
const MADE: &str = "made";
/// Any user may read the roots; services that drop their privileges do.
const MODE: u32 = 0o755;
/// The mode in the XDG Base Directory Specification for directories that a program has to make.
const MODE_ON_THE_WAY: u32 = 0o700;
/// A list of a few directories.
const LIMIT: u64 = 64 * 1024;

/// The private store's location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreLocation {
    path: String,
    exists: bool,
    /// Why none of the candidates is usable.
    reasons: Vec<String>,
}

/// The status of a candidate.
enum Fit {
    /// It exists and is ours.
    Ours,
    /// It does not exist, and can be made.
    CanBeMade,
    /// It does not exist, and cannot or should not be made.
    Unusable(String),
    /// Something is there that may be another user's.
    Foreign(String),
}

/// Finds the location: the existing one, else the first that can be made; [`StoreLocation::make`] reports why none can.
///
/// # Errors
/// Another user's file or directory is where it should be.
pub(crate) fn find(env: &Env, given: Option<&Path>) -> Result<StoreLocation> {
    let host = Sysroot::open(Path::new("/"))?;
    let mut chosen: Option<StoreLocation> = None;
    let mut reasons = Vec::new();
    for path in candidates(env, given)? {
        match fit(&host, &path)? {
            Fit::Ours => return Ok(StoreLocation { path, exists: true, reasons: Vec::new() }),
            Fit::CanBeMade if chosen.is_none() => {
                chosen = Some(StoreLocation { path, exists: false, reasons: Vec::new() })
            }
            Fit::Unusable(why) if chosen.is_none() => reasons.push(format!("`{path}`: {why}")),
            // A planted directory is no reason to stop while there is a better candidate.
            Fit::Foreign(why) if chosen.is_none() => {
                return Err(Error::failed(format!("this directory cannot be the private store: {why}")).at(path).hint(
                    "`--private-dir DIR` names another place, in a directory that no other user can write",
                ));
            }
            Fit::CanBeMade | Fit::Unusable(_) | Fit::Foreign(_) => {}
        }
    }
    Ok(chosen.unwrap_or_else(|| StoreLocation { path: in_tmp(), exists: false, reasons }))
}

fn in_tmp() -> String {
    format!("/tmp/trustup-{}", crate::privilege::uid())
}

/// The candidates, the best first.
fn candidates(env: &Env, given: Option<&Path>) -> Result<Vec<String>> {
    if let Some(given) = given {
        let path = given.to_str().filter(|path| path.starts_with('/'));
        let path = path.map(|path| path.trim_end_matches('/')).filter(|path| !path.is_empty());
        let plain = path.filter(|path| !path.split('/').any(|part| matches!(part, "." | "..")));
        return Ok(vec![plain.map(ToOwned::to_owned).ok_or_else(|| {
            Error::usage("`--private-dir` needs the absolute path of a directory, without `.` and `..`")
                .at(crate::text::escape(&given.to_string_lossy()))
                .hint("such as `--private-dir \"$PWD/.trustup\"`")
        })?]);
    }
    let absolute =
        |name| env.var(name).filter(|path| path.starts_with('/')).map(|path| path.trim_end_matches('/'));
    let mut paths = Vec::new();
    paths.extend(absolute("XDG_STATE_HOME").map(|path| format!("{path}/trustup")));
    paths.extend(absolute("HOME").map(|path| format!("{path}/.local/state/trustup")));
    paths.push(in_tmp());
    Ok(paths)
}

fn fit(host: &Sysroot, path: &str) -> Result<Fit> {
    let uid = crate::privilege::uid();
    // A home that we may not even inspect is unusable for us.
    let Ok(there) = host.lstat(path) else {
        return Ok(Fit::Unusable("it cannot be inspected".to_owned()));
    };
    let unsafe_way = host.unsafe_way(path, &[])?;
    if let Some(meta) = there {
        return Ok(match (&meta.kind, unsafe_way) {
            (FileKind::Link, _) => Fit::Foreign("it is a link".to_owned()),
            (FileKind::File | FileKind::Special, _) => Fit::Foreign("it is not a directory".to_owned()),
            (FileKind::Directory, _) if meta.uid != uid => {
                Fit::Foreign(format!("it belongs to user {}, and trustup runs as user {uid}", meta.uid))
            }
            (FileKind::Directory, _) if meta.mode & 0o022 != 0 => {
                Fit::Foreign(format!("other users can write it (mode {:04o})", meta.mode))
            }
            (FileKind::Directory, Some(why)) => Fit::Foreign(why),
            (FileKind::Directory, None) => Fit::Ours,
        });
    }
    if let Some(why) = unsafe_way {
        return Ok(Fit::Unusable(why));
    }
    Ok(if host.is_writable(split(path).0)? {
        Fit::CanBeMade
    } else {
        Fit::Unusable("it does not exist and cannot be created".to_owned())
    })
}

impl StoreLocation {
    /// The directory.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether it existed when we inspected it.
    pub(crate) fn exists(&self) -> bool {
        self.exists
    }

    /// Whether it exists or can be made.
    pub(crate) fn is_usable(&self) -> bool {
        self.exists || self.reasons.is_empty()
    }

    /// Where the state of the root file system itself is, for users other than root.
    pub(crate) fn system_state(&self) -> String {
        child(&self.path, SYSTEM_STATE)
    }

    /// Makes it, if it does not exist. `stamp` (`SOURCE_DATE_EPOCH`) stamps what is made.
    ///
    /// # Errors
    /// It cannot be made, or another process was faster.
    pub(crate) fn make(&mut self, stamp: Option<i64>) -> Result<()> {
        if self.exists {
            return Ok(());
        }
        if !self.reasons.is_empty() {
            return Err(Error::failed("there is no place for a private store")
                .because(anyhow::anyhow!("{}", self.reasons.join("; ")))
                .hint(
                    "`--private-dir DIR` names one, in a directory that you can write and no other user can",
                ));
        }
        let host = Sysroot::open(Path::new("/"))?;
        let mut way = vec![self.path.clone()];
        while let Some(parent) =
            way.last().map(|path| split(path).0.to_owned()).filter(|parent| parent != "/")
        {
            way.push(parent);
        }
        let mut made = Vec::new();
        let mut set = FileSet::unlocked(&host, stamp)?;
        for path in way.iter().rev() {
            if host.stat(path)?.is_some() {
                continue;
            }
            let mode = if *path == self.path { MODE } else { MODE_ON_THE_WAY };
            let after = After::Directory(mode, None);
            match apply(&mut set, path, Before::Is(&Node::Absent), after) {
                Ok(()) => made.push(path.clone()),
                // Another run of ours may be faster; its result is checked against the same rules.
                Err(_) if host.lstat(path)?.is_some() => {}
                Err(error) => return Err(error),
            }
        }
        host.look_again();
        if !matches!(fit(&host, &self.path)?, Fit::Ours) {
            return Err(Error::failed(
                "another program created the private store's directory at the same time",
            )
            .at(&self.path)
            .hint("`--private-dir DIR` names another place, in a directory that no other user can write"));
        }
        let list = child(&self.path, MADE);
        if host.lstat(&list)?.is_none() {
            let attributes = Attributes { mode: 0o600, owner: None, modified: None };
            let content = made.join("\n");
            apply(&mut set, &list, Before::Is(&Node::Absent), After::File(content.as_bytes(), attributes))?;
        }
        self.exists = true;
        Ok(())
    }

    /// The store as a tree of its own.
    ///
    /// # Errors
    /// It does not exist.
    pub(crate) fn open(&self) -> Result<Sysroot> {
        Sysroot::open_private(Path::new(&self.path))
    }

    /// Removes the directory if nothing is left in it but our list, and with it the directories that we made for it;
    /// with a `stamp`, what stays gets that time.
    pub(crate) fn tidy(&mut self, stamp: Option<i64>) -> Result<()> {
        if !self.exists {
            return Ok(());
        }
        let host = Sysroot::open(Path::new("/"))?;
        let directory = host.directory(&self.path)?;
        let list =
            host.read_no_link(&child(&self.path, MADE), LIMIT)?.map(|(list, _)| list).unwrap_or_default();
        let list = String::from_utf8_lossy(&list).into_owned();
        // Only directories on our path, whatever the list contains (threat T11).
        let made: Vec<&str> = list
            .lines()
            .filter(|path| {
                self.path == *path || self.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
            })
            .collect();
        let stays = directory.list()?.iter().any(|name| name != MADE);
        if !stays {
            let mut set = FileSet::unlocked(&host, None)?;
            apply(&mut set, &child(&self.path, MADE), Before::Anything, After::Absent)?;
            for path in made.iter().rev() {
                let Some(meta) = host.lstat(path)? else { continue };
                apply(&mut set, path, Before::Is(&Node::Directory { mode: meta.mode }), After::Absent)?;
                if host.lstat(path)?.is_some() {
                    break;
                }
            }
            self.exists = host.lstat(&self.path)?.is_some();
        } else if let Some(seconds) = stamp {
            for path in made.iter().rev() {
                FileSet::stamp_directory(&host, path, seconds)?;
            }
        }
        Ok(())
    }
}

/// One change of a set; an error undoes nothing.
fn apply(set: &mut FileSet, path: &str, before: Before, after: After) -> Result<()> {
    let change = Change { path, before, after, rules: Rules::default() };
    set.apply(&[change], &mut Checkpoints::off()).map_err(|(_, error)| error)
}
