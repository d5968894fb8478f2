//! The in-progress state of a pair: a directory of ours beside the key, in which the key is saved before anything is
//! spent on it, and the CA's answer before it is placed. The next run resumes a killed one from it (threat T21).
//!
//! It is beside the key, and not with our other state, because only there are we sure to be able to write, even with a
//! read-only root and any uid, and because a rename must stay on the same file system.

use std::time::Duration;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::history::{self, History};
use super::refusals::{self, Refusals, RefusedIssue};
use super::{FILE_LIMIT, Outputs};
use crate::error::{self, Error, Result};
use crate::pki::fingerprint::Fingerprint;
use crate::pki::key::{KeyType, PrivateKey};
use crate::rootfs::own_directory::{DirectoryRequest, OwnDirectory, Unavailable};
use crate::rootfs::path::child;
use crate::rootfs::{Meta, Sysroot, remedy, split};
use crate::versioned::{Field, Format, UnknownFields, Unreadable};

pub(crate) use super::history::Attempt;

/// Left by a killed run.
const LOCK: &str = "lock";
const KEY: &str = "key.pem";
const ANSWER: &str = "issued.pem";
const RECORD: &str = "pending.json";
const ENROLLED: &str = "enrolled.json";
/// An ACME order, which may outlive the key that it was placed with: no key is named before its last request.
const ORDER: &str = "order.json";
/// Only the last attempts are useful for a diagnosis.
const MAX_ATTEMPTS: usize = 20;

const FORMAT: Format =
    Format { what: "record of a key in progress", field: Field::Schema, newest: 1, unnamed: None };

/// The format of an ACME order in progress: its fields are the method's.
pub(crate) const ORDER_FORMAT: Format =
    Format { what: "record of an ACME order in progress", field: Field::Schema, newest: 1, unnamed: None };

/// What is known of an interrupted run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    schema: u64,
    /// SHA-256 of the key's file: it tells our key from one that another program put there.
    key: Option<Fingerprint>,
    /// What was sent to a CA for this key, the oldest first. The tokens are in the history.
    pub(crate) attempts: Vec<Attempt>,
    /// One-time tokens, if a trustup without [`History`] stored them: read, and never written.
    #[serde(default, skip_serializing)]
    spent: Vec<Attempt>,
    /// What only a newer trustup knows.
    #[serde(flatten)]
    unknown: UnknownFields,
}

/// The directory beside the key, locked.
#[derive(Debug)]
pub(crate) struct Pending {
    own: OwnDirectory,
    record: Record,
    history: History,
    /// The history as it is on disk.
    saved_history: History,
    refusals: Refusals,
    /// What to report about the state found here.
    warnings: Vec<String>,
    /// Whether others who can read and write here count as us, too.
    is_shared: bool,
}

impl Pending {
    /// Opens (and makes, 0700) the directory beside the key, waiting up to `patience` for another run to end.
    ///
    /// # Errors
    /// It cannot be made, or is not ours; another run holds it; what is in it is damaged, or of a newer trustup.
    pub(crate) async fn open(host: &Sysroot, outputs: &Outputs, patience: Duration) -> Result<Pending> {
        let path = directory_path(outputs);
        let accept = |meta: &Meta| refuse_foreign(meta, &path);
        let opened = OwnDirectory::open(host, &request(&path, &accept), patience).await;
        Pending::load(opened.map_err(unavailable)?, outputs)
    }

    /// Reads the directory. If that fails, nothing that was accepted is changed.
    fn load(own: OwnDirectory, outputs: &Outputs) -> Result<Pending> {
        let is_shared = outputs.allow_shared;
        let mut warnings = Vec::new();
        let is_wide = own.directory().meta()?.is_some_and(|meta| meta.mode & 0o077 != 0);
        if is_wide && narrow(&own, is_shared)? {
            warnings.push(format!(
                "other users could write to `{}`, so trustup does not use the in-progress key and the history of one-time tokens in it; if only containers of yours share it, `--allow-shared-directory` keeps them",
                own.path()
            ));
        }
        let mut record = load_record(&own)?;
        let saved_history = match own.read(history::FILE, FILE_LIMIT)? {
            None => History::default(),
            Some((bytes, _)) => {
                let (history, warning) = History::read(&bytes, &child(own.path(), history::FILE))?;
                warnings.extend(warning);
                history
            }
        };
        let refusals = match own.read(refusals::FILE, FILE_LIMIT)? {
            None => Refusals::default(),
            Some((bytes, _)) => Refusals::read(&bytes, &child(own.path(), refusals::FILE))?,
        };
        let mut history = saved_history.clone();
        history.add(record.spent.iter().chain(&record.attempts));
        record.attempts = record.attempts.iter().map(Attempt::without_token).collect();
        Ok(Pending { own, record, history, saved_history, refusals, warnings, is_shared })
    }

    /// Its path, for people.
    pub(crate) fn path(&self) -> &str {
        self.own.path()
    }

    /// What to report about the state found here; each once.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// When this one-time token was sent for the first time, seconds since 1970; `None` if it never was.
    pub(crate) fn first_sent(&self, token: &Fingerprint) -> Option<i64> {
        self.history.first_sent(token)
    }

    /// Adds the one-time tokens of these attempts to the history, if a trustup without a history stored them elsewhere.
    pub(crate) fn remember<'a>(&mut self, attempts: impl IntoIterator<Item = &'a Attempt>) {
        self.history.add(attempts);
    }

    /// What an earlier run left behind.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// The key that an earlier run saved, if it is really that: ours, 0600, of the wanted kind (`None`: any), its hash in the
    /// record.
    pub(crate) fn key(&self, wanted: Option<KeyType>) -> Result<Option<PrivateKey>> {
        let key = self.saved_key()?.and_then(|bytes| PrivateKey::from_pem(&bytes).ok());
        Ok(key.filter(|key| wanted.is_none() || key.key_type() == wanted))
    }

    /// Whether the next run finds a saved key.
    pub(crate) fn keeps_key(&self) -> bool {
        matches!(self.saved_key(), Ok(Some(_)))
    }

    fn saved_key(&self) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let Some(recorded) = self.record.key else { return Ok(None) };
        let Some((bytes, meta)) = self.own.read(KEY, FILE_LIMIT)? else { return Ok(None) };
        let bytes = Zeroizing::new(bytes);
        let ours = meta.uid == crate::host::privilege::uid() && meta.mode == 0o600 && meta.links == 1;
        Ok(Some(bytes).filter(|bytes| ours && Fingerprint::of(bytes) == recorded))
    }

    /// Saves `key`, on disk when this returns. What was there before is discarded.
    pub(crate) fn save_key(&mut self, key: &PrivateKey) -> Result<()> {
        let pem = key.to_pem();
        let key = Some(Fingerprint::of(pem.as_bytes()));
        self.record.key = key;
        self.record.attempts.clear();
        self.own.remove(ANSWER)?;
        self.own.write(KEY, pem.as_bytes())?;
        self.save_record()
    }

    /// Records, on disk, that something is about to be sent that a CA takes only once.
    pub(crate) fn save_attempt(&mut self, attempt: Attempt) -> Result<()> {
        self.history.add([&attempt]);
        self.record.attempts.push(attempt.without_token());
        let surplus = self.record.attempts.len().saturating_sub(MAX_ATTEMPTS);
        self.record.attempts.drain(..surplus);
        self.save_record()
    }

    /// The answer that an earlier run saved and did not place, PEM.
    pub(crate) fn answer(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.own.read(ANSWER, FILE_LIMIT)?.map(|(bytes, _)| bytes))
    }

    /// Saves the CA's answer (PEM), on disk when this returns.
    pub(crate) fn save_answer(&mut self, chain: &str) -> Result<()> {
        self.own.write(ANSWER, chain.as_bytes())
    }

    /// Records, on disk, the origin of the pair; it stays when the rest is discarded.
    pub(crate) fn save_enrolled(&mut self, content: &[u8]) -> Result<()> {
        self.save_history()?;
        self.own.write(ENROLLED, content)
    }

    /// The stored key of the account with the ACME server `id`; one that others could have written does not count.
    pub(crate) fn account(&self, id: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let found = self.own.read(&account(id), FILE_LIMIT)?;
        let uid = crate::host::privilege::uid();
        Ok(found
            .filter(|(_, meta)| meta.uid == uid && (self.is_shared || meta.mode & 0o077 == 0))
            .map(|(bytes, _)| Zeroizing::new(bytes)))
    }

    /// Stores it, on disk, 0600; it stays when the rest is discarded.
    pub(crate) fn save_account(&mut self, id: &str, content: &[u8]) -> Result<()> {
        self.own.write(&account(id), content)
    }

    /// The ACME order in progress.
    pub(crate) fn order(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.own.read(ORDER, FILE_LIMIT)?.map(|(bytes, _)| bytes))
    }

    /// Stores it, on disk; `None` removes it.
    pub(crate) fn save_order(&mut self, content: Option<&[u8]>) -> Result<()> {
        match content {
            Some(content) => self.own.write(ORDER, content),
            None => self.own.remove(ORDER),
        }
    }

    /// The refusal of what was issued for this request, if it still counts at `now` (seconds since 1970).
    pub(crate) fn refusal(&self, request: &Fingerprint, now: i64) -> Option<&RefusedIssue> {
        self.refusals.find(request, now)
    }

    /// Records, on disk, that a certificate was issued and refused.
    pub(crate) fn save_refusal(&mut self, refused: RefusedIssue) -> Result<()> {
        self.refusals.add(refused);
        self.own.write(refusals::FILE, &self.refusals.to_bytes()?)
    }

    /// Its path, for messages.
    pub(crate) fn order_path(&self) -> String {
        child(self.own.path(), ORDER)
    }

    /// The pair is placed: removes everything but the history and the other files that stay anyway.
    pub(crate) fn discard(mut self) -> Result<()> {
        self.own.remove(ORDER)?;
        self.own.remove(refusals::FILE)?;
        self.discard_key()
    }

    /// The key in progress is not needed: removes it. An order that can be resumed stays.
    pub(crate) fn discard_key(&mut self) -> Result<()> {
        self.save_history()?;
        [ANSWER, KEY, RECORD].iter().try_for_each(|name| self.own.remove(name))
    }

    /// The history first: the record of a newer key does not name the tokens of an older one.
    fn save_record(&mut self) -> Result<()> {
        self.save_history()?;
        self.record.schema = 1;
        let bytes = serde_json::to_vec(&self.record).map_err(|error| {
            Error::failed("could not write the record of the key in progress").because(error)
        })?;
        self.own.write(RECORD, &bytes)
    }

    fn save_history(&mut self) -> Result<()> {
        if self.history != self.saved_history {
            self.own.write(history::FILE, &self.history.to_bytes()?)?;
            self.saved_history = self.history.clone();
        }
        Ok(())
    }
}

/// The directory for a pair, if `accept` accepts it.
fn request<'a>(path: &'a str, accept: &'a (dyn Fn(&Meta) -> Result<()> + Sync)) -> DirectoryRequest<'a> {
    DirectoryRequest { path, make_above: false, stamp: None, accept }
}

/// The directory beside the key (made, if it is missing), if no run is at work there.
///
/// # Errors
/// Another run is; it cannot be made, or is not ours.
pub(crate) fn lock_at_once(host: &Sysroot, outputs: &Outputs) -> Result<OwnDirectory, Unavailable> {
    let path = directory_path(outputs);
    let accept = |meta: &Meta| refuse_foreign(meta, &path);
    OwnDirectory::open_at_once(host, &request(&path, &accept))
}

/// The error of a directory that is not available.
fn unavailable(why: Unavailable) -> Error {
    match why {
        Unavailable::Busy(lock) => Error::failed("another run of trustup is working on this pair")
            .at(lock)
            .hint("wait for it to end; `--timeout` sets how long trustup waits"),
        Unavailable::Failed(error) if error.kind() == error::ErrorKind::Unsupported => {
            error.hint("give `--key` a path on a file system with locks, such as a local volume or a tmpfs")
        }
        Unavailable::Failed(error) if error.cause::<Errno>().is_some() => {
            error.hint("`--key` needs a directory that trustup can write, such as a volume or a tmpfs")
        }
        Unavailable::Failed(error) => error,
    }
}

/// Removes what an interrupted run left, if anything, and if no run is at work there; the pair is good without it.
///
/// # Errors
/// What it left is damaged, or of a newer trustup, and stays.
pub(crate) fn tidy(host: &Sysroot, outputs: &Outputs) -> Result<()> {
    let is_left = |name| matches!(host.lstat(&child(&directory_path(outputs), name)), Ok(Some(_)));
    if [LOCK, KEY, ANSWER, RECORD, ORDER].into_iter().any(is_left)
        && let Ok(own) = lock_at_once(host, outputs)
    {
        // If it cannot be removed it does no harm.
        let _ = Pending::load(own, outputs)?.discard();
    }
    Ok(())
}

/// The directory beside the key.
pub(crate) fn directory_path(outputs: &Outputs) -> String {
    let (parent, key) = split(&outputs.key);
    child(parent, &format!(".{key}.trustup"))
}

/// The files whose version decides whether this trustup may work on the pair, with their formats.
pub(crate) fn versioned(outputs: &Outputs) -> [(String, &'static Format); 4] {
    let files: [(&str, &'static Format); 4] = [
        (RECORD, &FORMAT),
        (history::FILE, &history::FORMAT),
        (ORDER, &ORDER_FORMAT),
        (refusals::FILE, &refusals::FORMAT),
    ];
    files.map(|(name, format)| (child(&directory_path(outputs), name), format))
}

/// The file that records the pair's origin.
pub(crate) fn enrolled_path(outputs: &Outputs) -> String {
    child(&directory_path(outputs), ENROLLED)
}

/// The file with a CA's answer that is not yet placed.
pub(crate) fn answer_path(outputs: &Outputs) -> String {
    child(&directory_path(outputs), ANSWER)
}

fn account(id: &str) -> String {
    format!("account-{id}.pem")
}

/// Refuses a directory that another user made.
fn refuse_foreign(meta: &Meta, path: &str) -> Result<()> {
    let uid = crate::host::privilege::uid();
    if meta.uid != uid {
        return Err(Error::failed("another user owns the in-progress state of this pair")
            .at(path)
            .because(anyhow::anyhow!("it belongs to user {}, and trustup runs as user {uid}", meta.uid))
            .hint(
                "run trustup as the same user each time: root gives the files to the service with `--owner`",
            )
            .hint(format!("if that user no longer works on the pair, {}", remedy::remove_directory(path))));
    }
    Ok(())
}

/// Volumes get their permissions changed as a whole (`fsGroup`, `chmod -R`): the directory is closed again. What others
/// could have put there is not trusted, unless they count as us. Returns whether anything was removed for that.
fn narrow(own: &OwnDirectory, is_shared: bool) -> Result<bool> {
    let mut removed = false;
    // Before, in case this run is killed; afterwards, in case another user is at work there right now.
    for _ in 0..2 {
        for name in
            [KEY, ANSWER, RECORD, ORDER, history::FILE, refusals::FILE].into_iter().filter(|_| !is_shared)
        {
            removed |= own.directory().lstat(name)?.is_some();
            own.remove(name)?;
        }
        own.narrow()?;
    }
    Ok(removed)
}

/// The record of the key in progress; trustup may not treat damage as absence.
fn load_record(own: &OwnDirectory) -> Result<Record> {
    let Some((bytes, _)) = own.read(RECORD, FILE_LIMIT)? else { return Ok(Record::default()) };
    let place = child(own.path(), RECORD);
    FORMAT.read(&bytes, &place).map_err(|unreadable| match unreadable {
        Unreadable::Newer(error) => error,
        Unreadable::Damaged(cause) => Error::failed("the record of a key in progress is damaged")
            .at(&place)
            .because(cause)
            .hint(format!("{} and run again: trustup then makes a new key, and a one-time token that it sent for the old key needs to be replaced", remedy::remove(&place))),
    })
}
