//! Where the private store of the current user is, and whether it is safe to use (threats T12 and T41): a directory with a
//! bundle, a hashed directory and our state, for users who cannot write the system's stores. Its content is another
//! module's responsibility.
//!
//! `--private-dir`, else `$XDG_STATE_HOME/trustup`, else `$HOME/.local/state/trustup`, else `/tmp/trustup-UID`. An
//! existing one must be ours; a new one is made where no other user could have put or replaced it.

use std::path::Path;

use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::rootfs::checkpoint::Checkpoints;
use crate::rootfs::directory::Attributes;
use crate::rootfs::file_set::{After, Before, Change, FileSet, Rules};
use crate::rootfs::path::child;
use crate::rootfs::sharing::{Protection, Sharing};
use crate::rootfs::tree::Node;
use crate::rootfs::{FileKind, Sysroot, split};

/// State, journal and lock of what we changed in the root file system itself, for users other than root (threat T11).
const SYSTEM_STATE: &str = "system";
/// The directories on the way that we made, one a line, so that the last `untrust` removes them again.
const MADE: &str = "made";
/// Any user may read the roots; services that drop their privileges do.
const MODE: u32 = 0o755;
/// In a directory that others can write: nobody else is to look for a way in (threat T41).
const MODE_IN_SHARED: u32 = 0o700;
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
    /// `--allow-shared-directory` would make one usable.
    would_be_accepted: bool,
    /// Other users can write a directory above it, and the user accepts that: it is closed to all others.
    is_shared: bool,
    /// For `-v`: which part of the rule about shared places applied (threat T41).
    note: Option<String>,
    sharing: Sharing<'static>,
}

/// The status of a candidate.
enum Fit {
    /// It exists and is ours.
    Ours(Protection),
    /// It does not exist, and can be made.
    CanBeMade(Protection),
    /// It does not exist, and cannot or should not be made. Whether the option for shared directories helps.
    Unusable(String, bool),
    /// Something is there that may be another user's. Whether the option for shared directories helps.
    Foreign(String, bool),
}

/// The option that accepts directories that other users can write.
const ACCEPTED_BY: &str = "--allow-shared-directory";
/// What that option is for.
const SHARED: &str = "a volume that only containers of yours share, such as Kubernetes' emptyDir: add `--allow-shared-directory`, or `allow_shared_directory = true` to `[trust]` of trustup.toml";

/// Finds the location: the existing one, else the first that can be made; [`StoreLocation::make`] reports why none can.
/// `accept_shared` is `--allow-shared-directory`.
///
/// # Errors
/// Another user's file or directory is where it should be.
pub(crate) fn find(env: &Env, given: Option<&Path>, accept_shared: bool) -> Result<StoreLocation> {
    let host = Sysroot::open(Path::new("/"))?;
    let sharing = Sharing { accepted_by: accept_shared.then_some(ACCEPTED_BY), ..Sharing::default() };
    let location = |path: String, protection: &Protection, exists| StoreLocation {
        exists,
        reasons: Vec::new(),
        would_be_accepted: false,
        is_shared: protection.is_shared(),
        note: protection.note(&path),
        sharing,
        path,
    };
    let mut chosen: Option<StoreLocation> = None;
    let (mut reasons, mut would_be_accepted) = (Vec::new(), false);
    for path in candidates(env, given)? {
        match fit(&host, &path, sharing)? {
            Fit::Ours(protection) => return Ok(location(path, &protection, true)),
            Fit::CanBeMade(protection) if chosen.is_none() => {
                chosen = Some(location(path, &protection, false));
            }
            Fit::Unusable(why, helps) if chosen.is_none() => {
                reasons.push(format!("`{path}`: {why}"));
                would_be_accepted |= helps;
            }
            // A planted directory is no reason to stop while there is a better candidate.
            Fit::Foreign(why, helps) if chosen.is_none() => {
                let error = Error::failed(format!("this directory cannot be the private store: {why}"))
                    .at(path)
                    .hint("`--private-dir DIR` names another place, in a directory that no other user can write");
                return Err(if helps { error.hint(SHARED) } else { error });
            }
            Fit::CanBeMade(_) | Fit::Unusable(..) | Fit::Foreign(..) => {}
        }
    }
    let none =
        StoreLocation { reasons, would_be_accepted, ..location(in_tmp(), &Protection::default(), false) };
    Ok(chosen.unwrap_or(StoreLocation { note: None, ..none }))
}

fn in_tmp() -> String {
    format!("/tmp/trustup-{}", crate::host::privilege::uid())
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

fn fit(host: &Sysroot, path: &str, sharing: Sharing<'_>) -> Result<Fit> {
    let uid = crate::host::privilege::uid();
    // A home that we may not even inspect is unusable for us.
    let Ok(there) = host.lstat(path) else {
        return Ok(Fit::Unusable("it cannot be inspected".to_owned(), false));
    };
    let protection = host.protection_of_way(path, sharing)?;
    let helps = protection.acceptable;
    if let Some(meta) = there {
        let foreign = |why: &str| Fit::Foreign(why.to_owned(), false);
        return Ok(match (&meta.kind, protection.danger.clone()) {
            (FileKind::Link, _) => foreign("it is a link"),
            (FileKind::File | FileKind::Special, _) => foreign("it is not a directory"),
            // Never taken over from another user, whatever is accepted (threat T41).
            (FileKind::Directory, _) if meta.uid != uid => {
                foreign(&format!("it belongs to user {}, and trustup runs as user {uid}", meta.uid))
            }
            (FileKind::Directory, _) if meta.mode & 0o022 != 0 && sharing.accepted_by.is_none() => {
                let why = format!("other users can write it (mode {:04o})", meta.mode);
                Fit::Foreign(why, protection.danger.is_none() || helps)
            }
            (FileKind::Directory, Some(why)) => Fit::Foreign(why, helps),
            (FileKind::Directory, None) => Fit::Ours(protection),
        });
    }
    let is_writable = host.is_writable(split(path).0)?;
    Ok(match protection.danger {
        Some(why) => Fit::Unusable(why, helps && is_writable),
        None if is_writable => Fit::CanBeMade(protection),
        None => Fit::Unusable("it does not exist and cannot be created".to_owned(), false),
    })
}

impl StoreLocation {
    /// The directory.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// For `-v`: which part of the rule about shared places applied to it.
    pub(crate) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Whether it is only accepted because of `--allow-shared-directory`.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared
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
            let error = Error::failed("there is no place for a private store")
                .because(anyhow::anyhow!("{}", self.reasons.join("; ")))
                .hint(
                    "`--private-dir DIR` names one, in a directory that you can write and no other user can",
                );
            return Err(if self.would_be_accepted { error.hint(SHARED) } else { error });
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
            let mode = match *path == self.path {
                true if self.is_shared => MODE_IN_SHARED,
                true => MODE,
                false => MODE_ON_THE_WAY,
            };
            let after = After::Directory(mode, None);
            match apply(&mut set, path, Before::Is(&Node::Absent), after) {
                Ok(()) => made.push(path.clone()),
                // Another run of ours may be faster; its result is checked against the same rules.
                Err(_) if host.lstat(path)?.is_some() => {}
                Err(error) => return Err(error),
            }
        }
        host.look_again();
        if !matches!(fit(&host, &self.path, self.sharing)?, Fit::Ours(_)) {
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
