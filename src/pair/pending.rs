//! What is under way for a pair: a directory of ours beside the key, where the key is saved before anything is spent on
//! it, and the CA's answer before it is placed. A run that was killed is taken up there by the next (threat T21).
//!
//! It stands beside the key, and not with our other state, because only there is it sure that we can write, also with a
//! read-only root and any uid, and because what is placed by a rename has to be on the same file system.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{FILE_LIMIT, Outputs};
use crate::error::{self, Error, Result};
use crate::fingerprint::Fingerprint;
use crate::key::{KeyType, PrivateKey};
use crate::rootfs::directory::{Attributes, Directory};
use crate::rootfs::path::child;
use crate::rootfs::{Kind, Sysroot, split};

const LOCK: &str = "lock";
const KEY: &str = "key.pem";
const ANSWER: &str = "issued.pem";
const RECORD: &str = "pending.json";
const ENROLLED: &str = "enrolled.json";
/// How often the lock's file may fail to open while other runs come and go.
const FAILURES: usize = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
const SCHEMA: u32 = 1;
/// The last attempts are what a diagnosis can use.
const MAX_ATTEMPTS: usize = 20;

/// What is known of the run that left something behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    schema: u32,
    /// SHA-256 of the key's file: a key that somebody put there is not it.
    key: Option<Fingerprint>,
    /// What was sent to a CA for this key, the oldest first.
    pub attempts: Vec<Attempt>,
    /// One-time tokens that were sent for keys before this one: who presents them again can be told so.
    #[serde(default)]
    spent: Vec<Attempt>,
}

impl Record {
    /// Everything that was sent, the oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Attempt> {
        self.spent.iter().chain(&self.attempts)
    }

    /// The same without the key that it was for: of what was sent only the tokens matter.
    fn without_key(self) -> Record {
        let tokens = self.spent.into_iter().chain(self.attempts).filter(|attempt| attempt.token.is_some());
        let mut spent: Vec<Attempt> = tokens.collect();
        spent.drain(..spent.len().saturating_sub(MAX_ATTEMPTS));
        Record { schema: SCHEMA, key: None, attempts: Vec::new(), spent }
    }
}

/// Something that a CA may have taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// The method's name.
    pub method: String,
    /// SHA-256 of the one-time token, if one was spent.
    pub token: Option<Fingerprint>,
    /// When it was sent, seconds since 1970.
    pub sent: i64,
}

/// The directory beside the key, locked.
#[derive(Debug)]
pub struct Pending {
    directory: Directory,
    parent: Directory,
    name: String,
    path: String,
    record: Record,
    /// Whether others who can read and write here are ours, too.
    is_shared: bool,
    _lock: OwnedFd,
}

impl Pending {
    /// Opens (and makes, 0700) the directory beside the key, waiting up to `patience` for another run to end.
    ///
    /// # Errors
    /// It cannot be made, or is not ours; another run holds it.
    pub fn open(host: &Sysroot, outputs: &Outputs, patience: Duration) -> Result<Pending> {
        let parent_path = split(&outputs.key).0;
        let path = directory_path(outputs);
        let name = split(&path).1.to_owned();
        let began = Instant::now();
        let mut failures = 0;
        loop {
            host.look_again();
            let parent = host.directory(parent_path)?;
            let is_new = parent.lstat(&name)?.is_none();
            if is_new {
                let attributes = Attributes { mode: 0o700, owner: None, modified: None };
                match parent.make_directory(&name, attributes) {
                    // What is saved in it is to be found after a power cut, too.
                    Ok(()) => parent.sync()?,
                    // Another run was faster.
                    Err(_) if parent.lstat(&name)?.is_some() => {}
                    Err(error) => {
                        return Err(error.hint(
                            "`--key` needs a directory that trustup can write, such as a volume or a tmpfs",
                        ));
                    }
                }
            }
            let is_wide = refuse_foreign(&parent, &name, &path)?;
            // The run before us may have taken the directory away with its last file.
            let taken =
                host.directory_without_links(&host.canonical_parent(&path)?.unwrap_or_else(|| path.clone()));
            match taken.and_then(|directory| Ok(directory.try_lock(LOCK)?.map(|lock| (directory, lock)))) {
                Ok(Some((directory, lock))) => {
                    let is_shared = outputs.allow_shared;
                    if is_wide {
                        narrow(&directory, is_shared)?;
                    }
                    let record = load(&directory)?;
                    return Ok(Pending { directory, parent, name, path, record, is_shared, _lock: lock });
                }
                Ok(None) => {}
                // Waiting does not help where nothing can be locked.
                Err(error) if error.kind() == error::Kind::Unsupported => {
                    if is_new {
                        let _ = parent.remove_empty_directory(&name);
                    }
                    return Err(error.hint(
                        "give `--key` a path on a file system with locks, such as a local volume or a tmpfs",
                    ));
                }
                // Another run may have removed the directory and made it again in between; not many times over.
                Err(error) if parent.lstat(&name)?.is_some() && failures == FAILURES => return Err(error),
                Err(_) => failures += 1,
            }
            if began.elapsed() >= patience {
                return Err(Error::failed("another run of trustup works on this pair")
                    .at(child(&path, LOCK))
                    .hint("wait for it to end; `--timeout` says how long we wait"));
            }
            std::thread::sleep(LOCK_PAUSE);
        }
    }

    /// Where it is, for people.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What an earlier run left behind.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The key that an earlier run saved, if it is that key: ours, 0600, of the wanted kind, and its hash in the record.
    pub fn key(&self, wanted: KeyType) -> Result<Option<PrivateKey>> {
        let Some(recorded) = self.record.key else { return Ok(None) };
        let Some((bytes, meta)) = self.directory.read(KEY, FILE_LIMIT)? else { return Ok(None) };
        let bytes = Zeroizing::new(bytes);
        let ours = meta.uid == rustix::process::geteuid().as_raw() && meta.mode == 0o600 && meta.links == 1;
        if !ours || Fingerprint::of(&bytes) != recorded {
            return Ok(None);
        }
        Ok(PrivateKey::from_pem(&bytes).ok().filter(|key| key.key_type() == Some(wanted)))
    }

    /// Saves `key`, on disk when this returns. What was there before is forgotten.
    pub fn save_key(&mut self, key: &PrivateKey) -> Result<()> {
        let pem = key.to_pem();
        let key = Some(Fingerprint::of(pem.as_bytes()));
        self.record = Record { key, ..std::mem::take(&mut self.record).without_key() };
        self.directory.remove(ANSWER)?;
        self.write(KEY, pem.as_bytes())?;
        self.save_record()
    }

    /// Records, on disk, that something is about to be sent that a CA takes only once.
    pub fn save_attempt(&mut self, attempt: Attempt) -> Result<()> {
        self.record.attempts.push(attempt);
        let surplus = self.record.attempts.len().saturating_sub(MAX_ATTEMPTS);
        self.record.attempts.drain(..surplus);
        self.save_record()
    }

    /// The answer that an earlier run saved and did not place, PEM.
    pub fn answer(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.directory.read(ANSWER, FILE_LIMIT)?.map(|(bytes, _)| bytes))
    }

    /// Saves the CA's answer (PEM), on disk when this returns.
    pub fn save_answer(&mut self, chain: &str) -> Result<()> {
        self.write(ANSWER, chain.as_bytes())?;
        self.directory.sync()
    }

    /// Keeps, on disk, where the pair came from; it stays when the rest is discarded.
    pub fn save_enrolled(&mut self, content: &[u8]) -> Result<()> {
        self.write(ENROLLED, content)?;
        self.directory.sync()
    }

    /// The key of the account with the ACME server `id`, as it was kept; one that others could have written is none.
    pub fn account(&self, id: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let found = self.directory.read(&account(id), FILE_LIMIT)?;
        let uid = rustix::process::geteuid().as_raw();
        Ok(found
            .filter(|(_, meta)| meta.uid == uid && (self.is_shared || meta.mode & 0o077 == 0))
            .map(|(bytes, _)| Zeroizing::new(bytes)))
    }

    /// Keeps it, on disk, 0600; it stays when the rest is discarded.
    pub fn save_account(&mut self, id: &str, content: &[u8]) -> Result<()> {
        self.write(&account(id), content)?;
        self.directory.sync()
    }

    /// Nothing came of it: takes everything away but what is known of one-time tokens that a CA has seen.
    pub fn give_up(mut self) -> Result<()> {
        self.record = std::mem::take(&mut self.record).without_key();
        if self.record.spent.is_empty() {
            return self.discard();
        }
        self.save_record()?;
        self.remove(&[ANSWER, KEY, LOCK])
    }

    /// The pair is placed, or nothing was sent: takes everything away but what stays anyhow.
    pub fn discard(self) -> Result<()> {
        self.remove(&[ANSWER, KEY, RECORD, LOCK])?;
        self.parent.remove_empty_directory(&self.name)?;
        self.parent.sync()
    }

    fn remove(&self, names: &[&str]) -> Result<()> {
        for name in names {
            self.directory.remove(&temporary(name))?;
            self.directory.remove(name)?;
        }
        Ok(())
    }

    fn save_record(&self) -> Result<()> {
        let bytes = serde_json::to_vec(&self.record)
            .map_err(|error| Error::failed("could not write down what is under way").because(error))?;
        self.write(RECORD, &bytes)?;
        self.directory.sync()
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let temporary = temporary(name);
        self.directory.remove(&temporary)?;
        let attributes = Attributes { mode: 0o600, owner: None, modified: None };
        self.directory.replace_file(&temporary, name, content, attributes)
    }
}

/// Takes away what an interrupted run left, if there is something and nobody is at work there; the pair is good without.
pub fn tidy(host: &Sysroot, outputs: &Outputs) {
    let is_left = |name| matches!(host.lstat(&child(&directory_path(outputs), name)), Ok(Some(_)));
    if [LOCK, KEY, ANSWER, RECORD].into_iter().any(is_left) {
        // Where it cannot be taken away it does no harm.
        let _ = Pending::open(host, outputs, Duration::ZERO).and_then(Pending::discard);
    }
}

/// The directory beside the key.
fn directory_path(outputs: &Outputs) -> String {
    let (parent, key) = split(&outputs.key);
    child(parent, &format!(".{key}.trustup"))
}

/// The file that says where the pair came from.
pub fn enrolled_path(outputs: &Outputs) -> String {
    child(&directory_path(outputs), ENROLLED)
}

/// The file with a CA's answer that is not placed yet.
pub fn answer_path(outputs: &Outputs) -> String {
    child(&directory_path(outputs), ANSWER)
}

fn account(id: &str) -> String {
    format!("account-{id}.pem")
}

fn temporary(name: &str) -> String {
    format!("{name}.new")
}

/// A directory that somebody else made is not ours to work in. Whether others than its owner can get into ours.
fn refuse_foreign(parent: &Directory, name: &str, path: &str) -> Result<bool> {
    let Some(meta) = parent.lstat(name)? else { return Ok(false) };
    let uid = rustix::process::geteuid().as_raw();
    if meta.kind != Kind::Directory {
        return Err(Error::failed("what stands where trustup keeps a key that is under way is no directory")
            .at(path)
            .hint("look who put it there; then move it to another place and run again"));
    }
    if meta.uid != uid {
        return Err(Error::failed("another user keeps here what is under way for this pair")
            .at(path)
            .because(anyhow::anyhow!("it belongs to user {}, and we are {uid}", meta.uid))
            .hint(
                "run trustup as the same user each time: root gives the files to the service with `--owner`",
            )
            .hint("if nobody works on the pair as that user any more, remove the directory"));
    }
    Ok(meta.mode & 0o077 != 0)
}

/// Volumes get their rights changed as a whole (`fsGroup`, `chmod -R`): the directory is closed again. What others could
/// have put there is not believed, unless they are ours.
fn narrow(directory: &Directory, is_shared: bool) -> Result<()> {
    if !is_shared {
        for name in [KEY, ANSWER, RECORD] {
            directory.remove(name)?;
        }
    }
    directory.set_mode(0o700)
}

/// The record; one that is damaged says nothing.
fn load(directory: &Directory) -> Result<Record> {
    let Some((bytes, _)) = directory.read(RECORD, FILE_LIMIT)? else { return Ok(Record::default()) };
    let record: Record = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(if record.schema == SCHEMA { record } else { Record::default() })
}
