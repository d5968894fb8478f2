//! NSS databases: the system's, those of users, and those that are named. Two files change together, in an order that
//! leaves no unsigned trust setting after a kill (see [`crate::pki::nss`]).

pub(crate) mod files;
pub(crate) mod find;

use std::collections::BTreeMap;
use std::time::Duration;

use self::files::FoundDatabase as Read;
use super::{Addition, FoundStore, NamedRoot, Selection, StorePolicy, Stores, offer_of};
use crate::error::{Error, Result};
use crate::pki::cert::Certificate;
use crate::pki::fingerprint::Fingerprint;
use crate::pki::nss::{CERT_DB, Databases, Files, KEY_DB, NssRefusal, nickname_for};
use crate::rootfs::budget;
use crate::rootfs::file_set::Rules;
use crate::rootfs::path::child;
use crate::rootfs::tree::{File, Node};
use crate::rootfs::{FileKind, Sysroot, is_denied, split};
use crate::trust::owners::Owner;
use crate::trust::updater::{Desired, OutputKind};
use crate::trust::verify::Offer;
use crate::trust::view::View;

/// Mode of a database that we make: like certutil's, and for the system's database one that every user can read.
const MODE: u32 = 0o600;
const MODE_OF_ALL: u32 = 0o644;
/// Mode of directories that we make: a user's, and the system's.
const DIRECTORY_MODE: u32 = 0o700;
const DIRECTORY_MODE_OF_ALL: u32 = 0o755;

/// The files of a database, as an owner.
#[derive(Debug)]
pub(crate) struct DatabaseFiles;

impl Owner for DatabaseFiles {
    fn is_store_name(&self, name: &str) -> bool {
        name == CERT_DB || name == KEY_DB
    }

    fn write_rules(&self, name: &str) -> Option<Rules<'static>> {
        files::write_rules(name)
    }
}

/// Finds the databases, those that an earlier run changed included.
pub(super) fn find(
    view: &View,
    selection: &Selection,
    added: &super::Additions,
    stores: &mut Stores,
) -> Result<()> {
    let sysroot = view.sysroot();
    let mut directories: Vec<(String, Option<(u32, u32)>)> = Vec::new();
    let mut push = |directory: String, owner| {
        if !directories.iter().any(|(known, _)| *known == directory) {
            directories.push((directory, owner));
        }
    };
    if selection.nss != StorePolicy::No {
        match system_database(sysroot) {
            Ok(system) => system.into_iter().for_each(|system| push(system, None)),
            Err(error) if is_denied(&error) => stores.closed.push(sysroot.display(find::SYSTEM)),
            Err(error) => return Err(error),
        }
        for home in &selection.homes {
            let data = selection.xdg_data_home.as_deref();
            let looked =
                owner_of(sysroot, home).and_then(|owner| Ok((owner, find::of_user(sysroot, home, data)?)));
            let (owner, search) = match looked {
                Ok(looked) => looked,
                Err(error) if is_denied(&error) => {
                    (None, find::Search { closed: vec![error], ..Default::default() })
                }
                Err(error) if selection.nss != StorePolicy::Named => {
                    stores.warnings.push(format!(
                        "skipped the search for NSS databases in this home directory: {error}"
                    ));
                    continue;
                }
                Err(error) => return Err(error),
            };
            for error in search.closed {
                if !selection.homes_named {
                    // HOME, or a home of /etc/passwd: in a container it is often root's.
                    stores.closed.extend(error.place().map(ToOwned::to_owned));
                } else if selection.nss == StorePolicy::Named {
                    return Err(error);
                } else {
                    stores.warnings.push(format!("skipped in the search for NSS databases: {error}"));
                }
            }
            let locations = search.found;
            for location in locations {
                let mut files = [CERT_DB, KEY_DB].into_iter().map(|name| child(&location.directory, name));
                // One that root made in the home of another user, for example.
                match files.find(|path| !sysroot.may_read(path)) {
                    Some(path) if !selection.homes_named && !added.contains_key(&location.directory) => {
                        stores.closed.push(sysroot.display(&path));
                    }
                    _ => push(location.directory, owner),
                }
            }
            if selection.create_nss
                && let Some(shared) = find::shared(sysroot, home, data)?
            {
                push(shared, owner);
            }
        }
        for directory in &selection.nss_directories {
            let real = sysroot.canonical(directory)?.unwrap_or_else(|| directory.clone());
            push(real, owner_of(sysroot, directory)?);
        }
    }
    for directory in added.keys().filter(|path| !super::java::NAMES.contains(&split(path).1)) {
        if sysroot.stat(&child(directory, CERT_DB))?.is_some() {
            push(directory.clone(), owner_of(sysroot, directory)?);
        }
    }
    // Stores of root's or the caller's come first, so that another user cannot use up what is left for them.
    let mut all = Vec::new();
    for (path, owner) in directories {
        let exists = sysroot.stat(&child(&path, CERT_DB))?.is_some();
        let is_anothers = sysroot.others_way(&path)?.is_some();
        let found = FoundStore { kind: OutputKind::NssDatabase, path, skipped: None, exists, owner };
        all.push((is_anothers, found));
    }
    for turn in [false, true] {
        for (_, found) in all.iter_mut().filter(|(is_anothers, _)| *is_anothers == turn) {
            stores.admit(view, selection, found)?;
        }
    }
    stores.found.extend(all.into_iter().map(|(_, found)| found));
    Ok(())
}

/// The database of the system, if there is one.
fn system_database(sysroot: &Sysroot) -> Result<Option<String>> {
    let Some(system) = sysroot.canonical(find::SYSTEM)? else { return Ok(None) };
    Ok(sysroot.stat(&child(&system, CERT_DB))?.map(|_| system))
}

/// The owner of the directory, or of the nearest one above it; `None` where that is root.
fn owner_of(sysroot: &Sysroot, directory: &str) -> Result<Option<(u32, u32)>> {
    let mut directory = directory;
    loop {
        if let Some(meta) = sysroot.stat(directory)? {
            return Ok((meta.uid != 0).then_some((meta.uid, meta.gid)));
        }
        directory = split(directory).0;
        if directory == "/" {
            return Ok(None);
        }
    }
}

/// How often a run opens one database and checks all its signatures at most: to list it, to add, to remove, for its
/// state without us, and when it is read back.
const OPENINGS: u64 = 5;
/// The pause between two reads, while a program is writing.
const PAUSE: Duration = Duration::from_millis(50);

/// What was read in the directories of databases, by directory.
pub(super) type DirectoryContents = BTreeMap<String, Read>;

/// Reads the directories of databases, each once no program is writing there any more (threat T18). A run waits for all
/// databases together as long as for one (threat T36).
pub(super) async fn read_when_idle(
    sysroot: &Sysroot,
    directories: impl IntoIterator<Item = &str>,
) -> DirectoryContents {
    let mut contents = DirectoryContents::new();
    for directory in directories {
        // What cannot be read is reported when the database is opened.
        while is_directory(sysroot, directory).unwrap_or(false)
            && let Ok(content) = read_now(sysroot, directory)
        {
            let waits = matches!(content, Read::InUse(_)) && budget::patience() >= PAUSE;
            contents.insert(directory.to_owned(), content);
            if !waits {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            budget::waited(PAUSE);
        }
    }
    contents
}

fn read_now(sysroot: &Sysroot, directory: &str) -> Result<Read> {
    files::read(&sysroot.directory_without_links(directory)?)
}

fn is_directory(sysroot: &Sysroot, path: &str) -> Result<bool> {
    Ok(sysroot.stat(path)?.is_some_and(|meta| meta.kind == FileKind::Directory))
}

/// The database in memory; `None` if there is none. Its directory is read now unless `content` has what was read there.
///
/// If it was not named, the cost of all `openings` of this run and their signatures of `roots` is reserved first.
fn open(
    sysroot: &Sysroot,
    directory: &str,
    selection: &Selection,
    content: Option<&Read>,
    (openings, roots): (u64, usize),
) -> Result<Option<Databases>> {
    if !is_directory(sysroot, directory)? {
        return Ok(None);
    }
    let at = |error: Error| error.at(sysroot.display(directory));
    let read;
    let content = match content {
        Some(content) => content,
        None => {
            read = read_now(sysroot, directory)?;
            &read
        }
    };
    match content {
        Read::Nothing => Ok(None),
        Read::Dbm => Err(at(Error::unsupported("the NSS database has the old format (cert8.db)").hint(
            "convert it with certutil (`certutil -L -X -d sql:DIR` makes the new files beside the old ones), then run again",
        ))),
        Read::Incomplete(name) => Err(at(Error::failed(format!("`{name}` is missing beside the other file"))
            .hint("restore it, or move the other file away: `--nss-db DIR` then makes a new database there"))),
        Read::InUse(name) => Err(at(Error::failed(format!("`{name}` shows that the database is in use, or was left half-written"))
            .hint("stop the program that uses it (a browser), and run again"))),
        Read::Databases { cert9, key4 } => {
            let refused = |refusal: NssRefusal| at(refusal.into_error());
            let password = selection.nss_password.as_ref();
            let databases = Databases::read(&cert9.bytes, &key4.bytes).map_err(refused)?;
            let unlocking = databases.cost_of_unlocking(password).map_err(refused)?;
            let set_aside = |count: u64| {
                super::set_aside(sysroot, selection, OutputKind::NssDatabase, directory, openings.saturating_mul(count))
            };
            set_aside(unlocking)?;
            let databases = databases.unlock(password).map_err(refused)?;
            let checking = databases.cost_of_checking().map_err(refused)?;
            let signing = databases.cost_of_signing().saturating_mul(roots as u64);
            set_aside(unlocking.saturating_add(checking).saturating_add(signing))?;
            Ok(Some(databases))
        }
    }
}

/// The database with the wanted roots; returns which of them we will have added.
pub(super) fn plan(
    view: &View,
    selection: &Selection,
    found: &FoundStore,
    wanted: &[NamedRoot],
    before: &BTreeMap<Fingerprint, Addition>,
    certificates: &BTreeMap<Fingerprint, Certificate>,
    stores: &mut Stores,
) -> Result<BTreeMap<Fingerprint, Addition>> {
    let (sysroot, directory) = (view.sysroot(), &found.path);
    let refused = |refusal: NssRefusal| refusal.into_error().at(sysroot.display(directory));
    let [cert9, key4] = [CERT_DB, KEY_DB].map(|name| child(directory, name));
    let effort = (OPENINGS, wanted.len() + before.len());
    let existing = open(sysroot, directory, selection, stores.contents.get(directory), effort)?;
    if existing.is_none() && wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let is_new = existing.is_none();
    let mut databases = match existing {
        Some(databases) => databases,
        None => Databases::new().map_err(refused)?,
    };
    let there = if is_new { BTreeMap::new() } else { names(&databases).map_err(refused)? };
    let mut added = before.clone();
    let mut changed = false;
    // What is no longer wanted is removed; what it replaced is restored.
    let stale: Vec<Fingerprint> = before
        .keys()
        .filter(|fingerprint| {
            !wanted.iter().any(|(certificate, _)| certificate.fingerprint() == **fingerprint)
        })
        .copied()
        .collect();
    for fingerprint in &stale {
        let former = added.remove(fingerprint).and_then(|addition| addition.former);
        let Some(certificate) = certificates.get(fingerprint) else { continue };
        changed |= databases.remove(certificate, former.as_ref()).map_err(refused)?;
    }
    let removes = changed;
    for (certificate, _) in wanted {
        if let Some(former) = databases.add(certificate, &nickname_for(certificate)).map_err(refused)? {
            changed = true;
            added
                .entry(certificate.fingerprint())
                .or_insert(Addition { former: Some(former), ..Addition::default() });
        }
    }
    // Without us: the same database without what we added.
    // Without a password, key4.db holds nothing of ours.
    let as_left =
        view.is_as_we_left_it(&cert9)? && (view.is_as_we_left_it(&key4)? || view.is_unrecorded(&key4)?);
    let base = if as_left || before.is_empty() || is_new {
        [(*view.original(&cert9)?).clone(), (*view.original(&key4)?).clone()]
    } else {
        let mut without = open(sysroot, directory, selection, stores.contents.get(directory), effort)?
            .unwrap_or(Databases::new().map_err(refused)?);
        for (fingerprint, addition) in before {
            if let Some(certificate) = certificates.get(fingerprint) {
                without.remove(certificate, addition.former.as_ref()).map_err(refused)?;
            }
        }
        let files = without.into_files().map_err(refused)?;
        [self::file(view, found, &cert9, files.cert9)?, self::file(view, found, &key4, files.key4)?]
    };
    let offer = |roots| offer_of(OutputKind::NssDatabase, Ok(Some(roots)));
    let ours = |fingerprint: &Fingerprint| before.contains_key(fingerprint);
    stores.original.insert(
        directory.clone(),
        offer(there.iter().filter(|(one, _)| !ours(one)).map(|(one, name)| (*one, name.clone())).collect()),
    );
    stores.offers.insert(directory.clone(), offer(there));
    let nodes = if !changed {
        [(*view.actual(&cert9)?).clone(), (*view.actual(&key4)?).clone()]
    } else if added.is_empty() && (as_left || before.is_empty()) {
        base.clone()
    } else {
        let Files { key4: key_bytes, cert9: cert_bytes } = databases.into_files().map_err(refused)?;
        [self::file(view, found, &cert9, cert_bytes)?, self::file(view, found, &key4, key_bytes)?]
    };
    if is_new && changed {
        for directory in missing(sysroot, directory)? {
            let mode = if found.path == find::SYSTEM { DIRECTORY_MODE_OF_ALL } else { DIRECTORY_MODE };
            let node = Node::Directory { mode };
            stores.nodes.push(Desired { path: directory, node, reason: "a parent directory".to_owned() });
        }
    }
    let [cert_node, key_node] = nodes;
    let [cert_base, key_base] = base;
    let mut pair = [(key4, key_node, key_base), (cert9, cert_node, cert_base)];
    if removes {
        pair.reverse();
    }
    for (path, node, base) in pair {
        stores.bases.insert(path.clone(), base);
        stores.nodes.push(Desired { path, node, reason: "browsers read this database".to_owned() });
    }
    Ok(added)
}

/// The file with new content: owner and mode as they are, or those of a new database.
fn file(view: &View, found: &FoundStore, path: &str, content: Vec<u8>) -> Result<Node> {
    Ok(Node::File(match view.actual(path)?.as_ref() {
        Node::File(file) => File { content: content.into(), modified: None, ..file.clone() },
        _ => {
            let mode = if found.path == find::SYSTEM { MODE_OF_ALL } else { MODE };
            File { owner: found.owner, ..File::new(content, mode) }
        }
    }))
}

/// The missing directories on the way, the outermost first, this one included.
fn missing(sysroot: &Sysroot, directory: &str) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    let mut directory = directory;
    while directory != "/" && sysroot.stat(directory)?.is_none() {
        missing.insert(0, directory.to_owned());
        directory = split(directory).0;
    }
    Ok(missing)
}

/// The roots that NSS trusts for servers, with their nicknames.
fn names(databases: &Databases) -> crate::pki::nss::Result<BTreeMap<Fingerprint, String>> {
    let entries = databases.entries()?.into_iter().filter(|entry| entry.is_trusted());
    Ok(entries.map(|entry| (entry.fingerprint, crate::text::escape(&entry.nickname))).collect())
}

/// What NSS trusts in the database at `directory`, of which `content` is what was read there.
pub(super) fn offer(view: &View, directory: &str, selection: &Selection, content: Option<&Read>) -> Offer {
    let databases = open(view.sysroot(), directory, selection, content, (1, 0));
    let roots = databases.and_then(|databases| match databases {
        None => Ok(None),
        Some(databases) => names(&databases).map(Some).map_err(NssRefusal::into_error),
    });
    offer_of(OutputKind::NssDatabase, roots)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the tests write the files that they wait for")]

    use std::fs;

    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime").block_on(future)
    }

    /// A directory with a database of which a program has a journal.
    fn in_use() -> (tempfile::TempDir, Sysroot) {
        let directory = tempfile::tempdir().expect("a directory");
        let Files { cert9, key4 } = Databases::new().expect("new").into_files().expect("files");
        for (name, content) in [(CERT_DB, &cert9[..]), (KEY_DB, &key4), ("cert9.db-journal", b"")] {
            fs::write(directory.path().join(name), content).expect("written");
        }
        let sysroot = Sysroot::open(directory.path()).expect("a sysroot");
        (directory, sysroot)
    }

    #[test]
    fn t18_a_program_that_writes_is_awaited_and_others_run_meanwhile() {
        budget::begin();
        let (directory, sysroot) = in_use();
        let (contents, ()) = run(async {
            // The second begins when the first waits.
            tokio::join!(read_when_idle(&sysroot, ["/"]), async {
                fs::remove_file(directory.path().join("cert9.db-journal")).expect("removed");
            })
        });
        assert!(matches!(contents["/"], Read::Databases { .. }));
        assert_eq!(budget::WAITING - budget::patience(), PAUSE);
    }

    #[test]
    fn t36_a_run_waits_for_all_databases_together() {
        budget::begin();
        budget::waited(budget::WAITING);
        let (_directory, sysroot) = in_use();
        let contents = run(read_when_idle(&sysroot, ["/", "/missing"]));
        assert!(matches!(contents["/"], Read::InUse(_)));
        assert_eq!(contents.len(), 1);
        assert_eq!(budget::patience(), Duration::ZERO);
    }
}
