//! What is under way for a pair: a directory of ours beside the key, where the key is saved before anything is spent on
//! it, and the CA's answer before it is placed. A run that was killed is taken up there by the next (threat T21).
//!
//! It stands beside the key, and not with our other state, because only there is it sure that we can write, also with a
//! read-only root and any uid, and because what is placed by a rename has to be on the same file system.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::history::{self, History};
use super::{FILE_LIMIT, Outputs};
use crate::error::{self, Error, Result};
use crate::fingerprint::Fingerprint;
use crate::key::{KeyType, PrivateKey};
use crate::rootfs::directory::{Attributes, Directory};
use crate::rootfs::path::child;
use crate::rootfs::{Kind, Sysroot, split};
use crate::versioned::{Field, Format, UnknownFields, Unreadable};

pub use super::history::Attempt;

const LOCK: &str = "lock";
const KEY: &str = "key.pem";
const ANSWER: &str = "issued.pem";
const RECORD: &str = "pending.json";
const ENROLLED: &str = "enrolled.json";
/// How often the lock's file may fail to open while other runs come and go.
const FAILURES: usize = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// The last attempts are what a diagnosis can use.
const MAX_ATTEMPTS: usize = 20;

const FORMAT: Format =
    Format { what: "record of a key in progress", field: Field::Schema, newest: 1, unnamed: None };

/// What is known of the run that left something behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    schema: u64,
    /// SHA-256 of the key's file: a key that another program put there is not it.
    key: Option<Fingerprint>,
    /// What was sent to a CA for this key, the oldest first. The tokens are in the history.
    pub attempts: Vec<Attempt>,
    /// One-time tokens, where a trustup without [`History`] kept them: read, and never written.
    #[serde(default, skip_serializing)]
    spent: Vec<Attempt>,
    /// What only a newer trustup knows.
    #[serde(flatten)]
    unknown: UnknownFields,
}

/// The directory beside the key, locked.
#[derive(Debug)]
pub struct Pending {
    directory: Directory,
    parent: Directory,
    name: String,
    path: String,
    record: Record,
    history: History,
    /// The history as it is on disk.
    saved_history: History,
    /// What the user should know of what was found here.
    warnings: Vec<String>,
    /// Whether others who can read and write here are ours, too.
    is_shared: bool,
    _lock: OwnedFd,
}

/// The directory beside the key, locked, and nothing in it read yet.
struct Locked {
    directory: Directory,
    parent: Directory,
    name: String,
    path: String,
    /// Whether others than its owner could get into it.
    is_wide: bool,
    is_shared: bool,
    lock: OwnedFd,
    /// Whether the lock's file is of this run.
    made_lock: bool,
}

impl Locked {
    fn take(host: &Sysroot, outputs: &Outputs, patience: Duration) -> Result<Locked> {
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
            let locked = taken.and_then(|directory| {
                let made_lock = directory.lstat(LOCK)?.is_none();
                Ok(directory.try_lock(LOCK)?.map(|lock| (directory, lock, made_lock)))
            });
            match locked {
                Ok(Some((directory, lock, made_lock))) => {
                    let is_shared = outputs.allow_shared;
                    return Ok(Locked { directory, parent, name, path, is_wide, is_shared, lock, made_lock });
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

    /// Reads what is in it. Where that fails, nothing is changed.
    fn open(self) -> Result<Pending> {
        let mut warnings = Vec::new();
        let loaded = self.load(&mut warnings);
        let Locked { directory, parent, name, path, is_shared, lock, made_lock, .. } = self;
        let (mut record, saved_history) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                if made_lock {
                    // Left behind, it would look like an interrupted run.
                    let _ = directory.remove(LOCK);
                }
                return Err(error);
            }
        };
        let mut history = saved_history.clone();
        history.add(record.spent.iter().chain(&record.attempts));
        record.attempts = record.attempts.iter().map(Attempt::without_token).collect();
        Ok(Pending {
            directory,
            parent,
            name,
            path,
            record,
            history,
            saved_history,
            warnings,
            is_shared,
            _lock: lock,
        })
    }

    fn load(&self, warnings: &mut Vec<String>) -> Result<(Record, History)> {
        if self.is_wide && narrow(&self.directory, self.is_shared)? {
            warnings.push(format!(
                "other users could write in `{}`, so trustup does not use the in-progress key and the history of one-time tokens in it; if only containers of yours share it, `--allow-shared-directory` keeps them",
                self.path
            ));
        }
        let place = child(&self.path, RECORD);
        let record = match self.directory.read(RECORD, FILE_LIMIT)? {
            None => Record::default(),
            Some((bytes, _)) => FORMAT.read(&bytes, &place).map_err(|unreadable| match unreadable {
                Unreadable::Newer(error) => error,
                Unreadable::Damaged(cause) => Error::failed("the record of a key in progress is damaged")
                    .at(&place)
                    .because(cause)
                    .hint(format!("remove `{place}` and run again: trustup then makes a new key, and a one-time token that it sent for the old key needs to be replaced")),
            })?,
        };
        let Some((bytes, _)) = self.directory.read(history::FILE, FILE_LIMIT)? else {
            return Ok((record, History::default()));
        };
        let (history, warning) = History::read(&bytes, &child(&self.path, history::FILE))?;
        warnings.extend(warning);
        Ok((record, history))
    }
}

impl Pending {
    /// Opens (and makes, 0700) the directory beside the key, waiting up to `patience` for another run to end.
    ///
    /// # Errors
    /// It cannot be made, or is not ours; another run holds it; what is in it is damaged, or of a newer trustup.
    pub fn open(host: &Sysroot, outputs: &Outputs, patience: Duration) -> Result<Pending> {
        Locked::take(host, outputs, patience)?.open()
    }

    /// Where it is, for people.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What the user should know of what was found here; each once.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// When this one-time token was sent for the first time, seconds since 1970; `None` if it never was.
    pub fn first_sent(&self, token: &Fingerprint) -> Option<i64> {
        self.history.first_sent(token)
    }

    /// Adds the one-time tokens of these attempts to the history: where a trustup without a history kept them elsewhere.
    pub fn remember<'a>(&mut self, attempts: impl IntoIterator<Item = &'a Attempt>) {
        self.history.add(attempts);
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
        self.record.key = key;
        self.record.attempts.clear();
        self.directory.remove(ANSWER)?;
        self.write(KEY, pem.as_bytes())?;
        self.save_record()
    }

    /// Records, on disk, that something is about to be sent that a CA takes only once.
    pub fn save_attempt(&mut self, attempt: Attempt) -> Result<()> {
        self.history.add([&attempt]);
        self.record.attempts.push(attempt.without_token());
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
        self.save_history()?;
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

    /// The pair is placed, or nothing came of it: removes everything but the history and the other files that stay anyhow.
    pub fn discard(mut self) -> Result<()> {
        self.save_history()?;
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

    /// The history goes first: the record of a newer key does not name the tokens of an older one.
    fn save_record(&mut self) -> Result<()> {
        self.save_history()?;
        self.record.schema = 1;
        let bytes = serde_json::to_vec(&self.record).map_err(|error| {
            Error::failed("could not write the record of the key in progress").because(error)
        })?;
        self.write(RECORD, &bytes)?;
        self.directory.sync()
    }

    fn save_history(&mut self) -> Result<()> {
        if self.history == self.saved_history {
            return Ok(());
        }
        self.write(history::FILE, &self.history.to_bytes()?)?;
        self.directory.sync()?;
        self.saved_history = self.history.clone();
        Ok(())
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let temporary = temporary(name);
        self.directory.remove(&temporary)?;
        let attributes = Attributes { mode: 0o600, owner: None, modified: None };
        self.directory.replace_file(&temporary, name, content, attributes)
    }
}

/// Removes what an interrupted run left, if there is something and nobody is at work there; the pair is good without.
///
/// # Errors
/// What it left is damaged, or of a newer trustup, and stays.
pub fn tidy(host: &Sysroot, outputs: &Outputs) -> Result<()> {
    let is_left = |name| matches!(host.lstat(&child(&directory_path(outputs), name)), Ok(Some(_)));
    if [LOCK, KEY, ANSWER, RECORD].into_iter().any(is_left)
        && let Ok(locked) = Locked::take(host, outputs, Duration::ZERO)
    {
        // Where it cannot be removed it does no harm.
        let _ = locked.open()?.discard();
    }
    Ok(())
}

/// The directory beside the key.
fn directory_path(outputs: &Outputs) -> String {
    let (parent, key) = split(&outputs.key);
    child(parent, &format!(".{key}.trustup"))
}

/// The files whose version decides whether this trustup may work on the pair, with their formats.
pub fn versioned(outputs: &Outputs) -> [(String, &'static Format); 2] {
    [(RECORD, &FORMAT), (history::FILE, &history::FORMAT)]
        .map(|(name, format): (&str, &'static Format)| (child(&directory_path(outputs), name), format))
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
            .hint("look who put it there; then remove it and run again"));
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
/// have put there is not believed, unless they are ours. Whether anything was removed for that.
fn narrow(directory: &Directory, is_shared: bool) -> Result<bool> {
    let mut removed = false;
    // Before, in case this run is killed; afterwards, in case another user is at work there right now.
    for _ in 0..2 {
        for name in [KEY, ANSWER, RECORD, history::FILE].into_iter().filter(|_| !is_shared) {
            removed |= directory.lstat(name)?.is_some();
            directory.remove(name)?;
        }
        directory.set_mode(0o700)?;
    }
    Ok(removed)
}
