//! The databases of a directory: whether they exist, are whole, and not in use at the moment.
//!
//! The files are read through one descriptor of the directory, no link is followed, and SQLite sees nothing of this
//! (threat T18): a journal beside a database means that a program is writing, or was killed while writing; then the
//! database is complete only together with the journal, and it is skipped.

use crate::error::{Error, Result};
use crate::pki::nss::{CERT_DB, DBM_FILES, JOURNALS, KEY_DB, SIZE_LIMIT};
use crate::rootfs::Meta;
use crate::rootfs::directory::Directory;
use crate::rootfs::file_set::Rules;

/// The journals of each of the two files.
const CERT_DB_JOURNALS: [&str; 2] = ["cert9.db-journal", "cert9.db-wal"];
const KEY_DB_JOURNALS: [&str; 2] = ["key4.db-journal", "key4.db-wal"];

/// A file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DatabaseFile {
    /// Its content.
    pub(crate) bytes: Vec<u8>,
    /// Owner, mode and so on.
    pub(crate) meta: Meta,
}

/// The content of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FoundDatabase {
    /// No databases.
    Nothing,
    /// Databases of the format before SQLite, and no others.
    Dbm,
    /// One of the two files is missing (its name): NSS does not open the other without it.
    Incomplete(&'static str),
    /// A program is writing, or was killed while writing: the journal, or the database that changed while it was read.
    InUse(String),
    /// Both files.
    Databases {
        /// `cert9.db`.
        cert9: DatabaseFile,
        /// `key4.db`.
        key4: DatabaseFile,
    },
}

/// Reads the databases in `directory`.
///
/// # Errors
/// Something other than a regular file is there, is too large, or cannot be read.
pub(crate) fn read(directory: &Directory) -> Result<FoundDatabase> {
    if let Some(journal) = journal(directory)? {
        return Ok(FoundDatabase::InUse(journal));
    }
    let file = |name| {
        let read = directory.read(name, SIZE_LIMIT as u64)?;
        Ok::<_, Error>(read.map(|(bytes, meta)| DatabaseFile { bytes, meta }))
    };
    let (cert9, key4) = match (file(CERT_DB)?, file(KEY_DB)?) {
        (Some(cert9), Some(key4)) => (cert9, key4),
        (Some(_), None) => return Ok(FoundDatabase::Incomplete(KEY_DB)),
        (None, Some(_)) => return Ok(FoundDatabase::Incomplete(CERT_DB)),
        (None, None) => {
            for name in DBM_FILES {
                if directory.lstat(name)?.is_some() {
                    return Ok(FoundDatabase::Dbm);
                }
            }
            return Ok(FoundDatabase::Nothing);
        }
    };
    // A program may have begun, or even finished, while we read.
    if let Some(journal) = journal(directory)? {
        return Ok(FoundDatabase::InUse(journal));
    }
    for (name, read) in [(CERT_DB, &cert9), (KEY_DB, &key4)] {
        if directory.lstat(name)? != Some(read.meta) {
            return Ok(FoundDatabase::InUse(name.to_owned()));
        }
    }
    Ok(FoundDatabase::Databases { cert9, key4 })
}

/// How a file of this name may be written: databases are in directories of users, who must not redirect us by a link
/// (threat T13), and one that is in use is skipped (threat T18). `None` for other files.
pub(crate) fn write_rules(name: &str) -> Option<Rules<'static>> {
    let unless_beside: &[&str] = match name {
        CERT_DB => &CERT_DB_JOURNALS,
        KEY_DB => &KEY_DB_JOURNALS,
        _ => return None,
    };
    Some(Rules { no_links: true, unless_beside, ..Rules::default() })
}

fn journal(directory: &Directory) -> Result<Option<String>> {
    for file in [CERT_DB, KEY_DB] {
        for journal in JOURNALS {
            let name = format!("{file}{journal}");
            if directory.lstat(&name)?.is_some() {
                return Ok(Some(name));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests build the directories that they look at")]

    use std::fs;

    use super::*;
    use crate::pki::nss::Databases;
    use crate::rootfs::Sysroot;

    #[test]
    fn t18_only_whole_databases_that_nobody_writes_are_read() {
        let temp = tempfile::tempdir().expect("a directory");
        let look = || {
            let sysroot = Sysroot::open(temp.path()).expect("opens");
            read(&sysroot.directory_without_links("/").expect("opens"))
        };
        let put = |name: &str, bytes: &[u8]| fs::write(temp.path().join(name), bytes).expect("written");
        let gone = |name: &str| fs::remove_file(temp.path().join(name)).expect("removed");

        assert_eq!(look().expect("read"), FoundDatabase::Nothing);
        put("cert8.db", b"\0\x06\x15\x61");
        assert_eq!(look().expect("read"), FoundDatabase::Dbm);
        let files = Databases::new().expect("new").into_files().expect("bytes");
        put(KEY_DB, &files.key4);
        assert_eq!(look().expect("read"), FoundDatabase::Incomplete(CERT_DB));
        put(CERT_DB, &files.cert9);
        let FoundDatabase::Databases { cert9, key4 } = look().expect("read") else {
            panic!("both are there")
        };
        assert_eq!((cert9.bytes, key4.bytes), (files.cert9.clone(), files.key4.clone()));
        for journal in ["cert9.db-journal", "cert9.db-wal", "key4.db-journal", "key4.db-wal"] {
            // Hot or empty, file or link: SQLite might treat it as a journal, so we stop before that.
            put(journal, b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7");
            assert_eq!(look().expect("read"), FoundDatabase::InUse(journal.to_owned()));
            gone(journal);
            std::os::unix::fs::symlink("nowhere", temp.path().join(journal)).expect("linked");
            assert_eq!(look().expect("read"), FoundDatabase::InUse(journal.to_owned()));
            gone(journal);
        }
        gone(KEY_DB);
        assert_eq!(look().expect("read"), FoundDatabase::Incomplete(KEY_DB));
        std::os::unix::fs::symlink(CERT_DB, temp.path().join(KEY_DB)).expect("linked");
        look().expect_err("a link is not followed");
        gone(KEY_DB);
        fs::File::create(temp.path().join(KEY_DB)).expect("made").set_len(10 << 30).expect("sparse");
        look().expect_err("too large");
    }

    #[test]
    fn a_link_on_the_way_is_an_error() {
        let temp = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(temp.path().join("home/.pki/nssdb")).expect("made");
        std::os::unix::fs::symlink("/home", temp.path().join("link")).expect("linked");
        let sysroot = Sysroot::open(temp.path()).expect("opens");
        sysroot.directory_without_links("/home/.pki/nssdb").expect("no link");
        sysroot.directory_without_links("/link/.pki/nssdb").expect_err("a link");
        sysroot.directory("/link/.pki/nssdb").expect("may be a link here");
    }
}
