//! Where NSS databases are: the system's, and those of a user, by the home directory.
//!
//! | who | where, below the home |
//! | --- | --- |
//! | Chromium and its kin, certutil's users | `.pki/nssdb` if it is there, else `$XDG_DATA_HOME/pki/nssdb`, else `.local/share/pki/nssdb` (Chromium since M146; its older versions know the first only) |
//! | the same as snaps | `snap/NAME/current/.pki/nssdb` |
//! | Firefox, Thunderbird | one in each profile, also of their snaps and flatpaks |
//!
//! No link below a home is followed, except for a snap's `current`, which may name a directory beside it and nothing
//! else: the files belong to a user, and they must not redirect root. Nothing here reads a database.

use crate::error::{Error, Result};
use crate::pki::nss::{CERT_DB, DBM_FILES, KEY_DB};
use crate::rootfs::{FileKind, Sysroot, is_denied};

/// The database of the system (RHEL and similar: curl of RHEL 7, nss-sysinit).
pub(crate) const SYSTEM: &str = "/etc/pki/nssdb";

/// The owner of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DatabaseOwner {
    /// Shared by the programs of a user; Chromium's.
    Shared,
    /// A Firefox profile's.
    Firefox,
    /// A Thunderbird profile's.
    Thunderbird,
}

/// A directory with databases.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Location {
    /// Its path inside the sysroot, without any link in it.
    pub(crate) directory: String,
    /// The owner.
    pub(crate) owner: DatabaseOwner,
}

/// Directories of profiles, below a home.
const PROFILES: [(&str, DatabaseOwner); 9] = [
    (".mozilla/firefox", DatabaseOwner::Firefox),
    (".config/mozilla/firefox", DatabaseOwner::Firefox),
    ("snap/firefox/common/.mozilla/firefox", DatabaseOwner::Firefox),
    (".var/app/org.mozilla.firefox/.mozilla/firefox", DatabaseOwner::Firefox),
    (".var/app/org.mozilla.firefox/config/mozilla/firefox", DatabaseOwner::Firefox),
    (".thunderbird", DatabaseOwner::Thunderbird),
    ("snap/thunderbird/common/.thunderbird", DatabaseOwner::Thunderbird),
    (".var/app/org.mozilla.Thunderbird/.thunderbird", DatabaseOwner::Thunderbird),
    (".var/app/org.mozilla.thunderbird/.thunderbird", DatabaseOwner::Thunderbird),
];

/// The first location of the shared database, and the last.
const OLD: &str = ".pki/nssdb";
const NEW: &str = ".local/share/pki/nssdb";

/// What a search in a home found.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// The directories that contain databases, in a fixed order, each once.
    pub(crate) found: Vec<Location>,
    /// Directories that the caller may not look into, each with the error.
    pub(crate) closed: Vec<Error>,
}

impl Search {
    /// The value, or nothing where the caller may not look.
    fn allowed<T: Default>(&mut self, looked: Result<T>) -> Result<T> {
        match looked {
            Err(error) if is_denied(&error) => {
                self.closed.push(error);
                Ok(T::default())
            }
            looked => looked,
        }
    }
}

/// Looks for the databases of the user with this home. `xdg_data_home` is the variable if it is set; one that is not
/// absolute is ignored (XDG Base Directory Specification).
///
/// # Errors
/// A directory cannot be read, for another reason than a missing permission.
pub(crate) fn of_user(sysroot: &Sysroot, home: &str, xdg_data_home: Option<&str>) -> Result<Search> {
    let mut search = Search::default();
    let home = search.allowed(sysroot.canonical(home))?;
    let Some(home) = home else { return Ok(search) };
    let mut candidates = vec![(child(&home, OLD), DatabaseOwner::Shared)];
    candidates.extend(absolute(xdg_data_home).map(|data| (child(data, "pki/nssdb"), DatabaseOwner::Shared)));
    candidates.push((child(&home, NEW), DatabaseOwner::Shared));
    for snap in search.allowed(directories(sysroot, &child(&home, "snap")))? {
        if let Some(current) = search.allowed(sysroot.read_link(&child(&snap, "current")))?
            && !current.contains('/')
            && !matches!(&current[..], "." | "..")
        {
            candidates.push((child(&child(&snap, &current), OLD), DatabaseOwner::Shared));
        }
    }
    for (parent, owner) in PROFILES {
        let profiles = search.allowed(directories(sysroot, &child(&home, parent)))?;
        candidates.extend(profiles.into_iter().map(|profile| (profile, owner)));
    }
    for (directory, owner) in candidates {
        let known = search.found.iter().any(|location| location.directory == directory);
        let looked = is_plain_directory(sysroot, &directory)
            .and_then(|is_plain| Ok(is_plain && has_databases(sysroot, &directory)?));
        if !known && search.allowed(looked)? {
            search.found.push(Location { directory, owner });
        }
    }
    Ok(search)
}

/// The directory that the programs of the user with this home share, whether or not there are databases in it: the
/// one to create them in. `None` if there is no such home.
///
/// # Errors
/// A directory cannot be read.
pub(crate) fn shared(sysroot: &Sysroot, home: &str, xdg_data_home: Option<&str>) -> Result<Option<String>> {
    let Some(home) = sysroot.canonical(home)? else { return Ok(None) };
    let old = child(&home, OLD);
    if is_plain_directory(sysroot, &old)? {
        return Ok(Some(old));
    }
    Ok(Some(absolute(xdg_data_home).map_or_else(|| child(&home, NEW), |data| child(data, "pki/nssdb"))))
}

fn absolute(xdg_data_home: Option<&str>) -> Option<&str> {
    xdg_data_home.filter(|data| data.starts_with('/'))
}

/// The directories in `parent`, sorted; none if it is not a directory or there is a link on the way.
fn directories(sysroot: &Sysroot, parent: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    if is_plain_directory(sysroot, parent)? {
        for name in sysroot.list(parent)?.unwrap_or_default() {
            let path = child(parent, &name);
            if is_plain_directory(sysroot, &path)? {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Whether `path` is a directory and has no link in it.
fn is_plain_directory(sysroot: &Sysroot, path: &str) -> Result<bool> {
    Ok(sysroot.lstat(path)?.is_some_and(|meta| meta.kind == FileKind::Directory)
        && sysroot.canonical(path)?.as_deref() == Some(path))
}

fn has_databases(sysroot: &Sysroot, directory: &str) -> Result<bool> {
    for name in [CERT_DB, KEY_DB].into_iter().chain(DBM_FILES) {
        if sysroot.lstat(&child(directory, name))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn child(directory: &str, name: &str) -> String {
    format!("{}/{name}", directory.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests build the homes that they look at")]

    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn database(root: &std::path::Path, directory: &str) {
        fs::create_dir_all(root.join(directory)).expect("made");
        fs::write(root.join(directory).join(CERT_DB), "").expect("written");
    }

    #[test]
    fn every_place_of_a_home_is_looked_at() {
        let temp = tempfile::tempdir().expect("a directory");
        let root = temp.path();
        let wanted = [
            (".pki/nssdb", DatabaseOwner::Shared),
            (".local/share/pki/nssdb", DatabaseOwner::Shared),
            ("snap/chromium/2500/.pki/nssdb", DatabaseOwner::Shared),
            (".mozilla/firefox/abc.default", DatabaseOwner::Firefox),
            (".mozilla/firefox/def.other", DatabaseOwner::Firefox),
            ("snap/firefox/common/.mozilla/firefox/x.default", DatabaseOwner::Firefox),
            (".thunderbird/y.default", DatabaseOwner::Thunderbird),
        ];
        for (directory, _) in wanted {
            database(root, &format!("var/home/u/{directory}"));
        }
        database(root, "data/pki/nssdb");
        // The home may be reached by a link (as on Fedora's images); what is below may not.
        symlink("var/home", root.join("home")).expect("linked");
        symlink("2500", root.join("var/home/u/snap/chromium/current")).expect("linked");
        database(root, "etc/other");
        symlink("/etc/other", root.join("var/home/u/.mozilla/firefox/link")).expect("linked");
        fs::create_dir_all(root.join("var/home/u/snap/evil")).expect("made");
        symlink("../../../../etc", root.join("var/home/u/snap/evil/current")).expect("linked");
        fs::create_dir_all(root.join("var/home/u/.mozilla/firefox/never.started")).expect("made");

        let sysroot = Sysroot::open(root).expect("opens");
        let found = of_user(&sysroot, "/home/u", Some("/data")).expect("found").found;
        let mut expected: Vec<Location> = wanted
            .iter()
            .map(|(directory, owner)| Location {
                directory: format!("/var/home/u/{directory}"),
                owner: *owner,
            })
            .collect();
        expected
            .insert(1, Location { directory: "/data/pki/nssdb".to_owned(), owner: DatabaseOwner::Shared });
        assert_eq!(found, expected);
        let again = of_user(&sysroot, "/home/u", Some("/var/home/u/.local/share")).expect("found").found;
        assert_eq!(again.len(), wanted.len(), "each once");
        assert_eq!(of_user(&sysroot, "/home/u", Some("relative")).expect("found").found.len(), wanted.len());
        assert_eq!(of_user(&sysroot, "/home/nobody", None).expect("found").found, []);
    }

    #[test]
    fn the_shared_database_is_where_chromium_makes_it() {
        let temp = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(temp.path().join("root")).expect("made");
        let sysroot = Sysroot::open(temp.path()).expect("opens");
        let at = |data| shared(&sysroot, "/root", data).expect("found");
        assert_eq!(at(None).as_deref(), Some("/root/.local/share/pki/nssdb"));
        assert_eq!(at(Some("/data")).as_deref(), Some("/data/pki/nssdb"));
        assert_eq!(at(Some("data")).as_deref(), Some("/root/.local/share/pki/nssdb"));
        fs::create_dir_all(temp.path().join("root/.pki/nssdb")).expect("made");
        assert_eq!(at(Some("/data")).as_deref(), Some("/root/.pki/nssdb"));
        assert_eq!(shared(&sysroot, "/missing", None).expect("found"), None);
    }
}
