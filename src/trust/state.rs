//! What trustup did to a root file system, so that a second run and `untrust` are exact: one JSON file in the sysroot's
//! state directory (`/var/lib/trustup`; in the private store for users other than root). It holds no times and no
//! secrets; the same inputs give the same bytes.
//!
//! The file may come from a hostile image: everything in it is checked before it is used (threat T11). What we write
//! passes the same checks before the first change (threat T38): trustup always accepts a state that it wrote, whatever
//! others change in the tree afterwards.

mod check;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::pki::cert::{Certificate, is_anchor_name};
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::record::PathRecord;
use crate::rootfs::{FileKind, Meta, STATE_DIRECTORY, Sysroot, is_denied, remedy};
use crate::trust::ours::Ours;
use crate::trust::owners;
use crate::trust::stores::{Additions, Kinds};
use crate::trust::updater::Ownership;
use crate::versioned::{Field, Format, UnknownFields, Unreadable, check_values, is_newer};

pub(crate) use self::check::{Unclaimed, attribute, check_records, row};

/// The state file in the sysroot's state directory, 0600.
pub(crate) const FILE: &str = "state.json";

/// A state names a few hundred paths and certificates. A larger one is neither read nor written.
pub(crate) const LIMIT: u64 = 64 * 1024 * 1024;

/// Where a state or journal would be refused by the next run.
pub(crate) const UNREADABLE_HINT: &str =
    "trustup could not read this record again, so it changes nothing; please report this";

/// Version 1: the first. Version 2: a file in which `row_named`, `records.*.via` or `added.*.*.certificate` carries
/// what a trustup that does not know these fields would get wrong.
const FORMAT: Format = Format { what: "trust state", field: Field::Schema, newest: 2, unnamed: None };

/// What we did, as recorded by the last run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Version of the format: the lowest whose readers interpret the file correctly.
    pub(crate) schema: u64,
    /// The row of the table of distributions.
    pub(crate) row: String,
    /// Whether the user named that row (`--distribution`), so that os-release is ignored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) row_named: bool,
    /// Whether the compiled-in Web PKI was put into a bundle that we made.
    pub(crate) web_pki: bool,
    /// The roots asked for, in the order in which they were added.
    pub(crate) anchors: Vec<StoredAnchor>,
    /// What each source last gave.
    pub(crate) sources: BTreeMap<String, StoredSource>,
    /// The node at each path that we changed, before and after.
    pub(crate) records: BTreeMap<String, PathRecord>,
    /// Whether login shells get the variables (`env --install`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) profile: bool,
    /// Whether Firefox's policy file names the roots (`--firefox-policy`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) firefox_policy: bool,
    /// Which stores beside the family's outputs are maintained.
    #[serde(default, skip_serializing_if = "Kinds::is_default")]
    pub(crate) kinds: Kinds,
    /// What we added to keystores and databases beside the family's outputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) added: Additions,
    /// Outputs and stores that could not be written, so that the private store makes up for them. Only shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) skipped: Vec<String>,
    /// Directories on the way to our own that we made, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) directories: Vec<String>,
    /// Records in the file that can no longer be acted on: never written.
    #[serde(skip)]
    pub(crate) unclaimed: Vec<Unclaimed>,
    /// What only a newer trustup knows.
    #[serde(flatten)]
    pub(crate) unknown: UnknownFields,
}

/// A root that the user asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredAnchor {
    /// SHA-256 of the DER.
    pub(crate) fingerprint: Fingerprint,
    /// The DER, base64.
    certificate: String,
    /// The anchor file's name without extension.
    pub(crate) name: String,
    /// The anchor file: ours, or an existing one.
    pub(crate) file: Option<String>,
    /// How it came to be trusted here.
    pub(crate) status: Status,
    /// The sources that named it. Only a summary has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sources: Vec<String>,
    /// Whether it came with a fingerprint, or over a connection that a root with a fingerprint vouched for: enrollment
    /// accepts only such roots (threat T34). Missing in what older versions wrote.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) pinned: bool,
    /// What only a newer trustup knows.
    #[serde(flatten)]
    unknown: UnknownFields,
}

/// How a root came to be trusted here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    /// We installed it.
    Installed,
    /// Its file was in the anchor directory (a mount); we only made the outputs.
    Mounted,
    /// The distribution trusts it anyway.
    Vendor,
    /// Only in keystores and databases (`--stores java,nss`), not in the system's own stores.
    Beside,
    /// Pinned and recorded (`--stores none`), in no store.
    Recorded,
}

impl Status {
    /// Whether the system's own stores must hold it.
    pub(crate) fn is_in_system(self) -> bool {
        !matches!(self, Status::Recorded | Status::Beside)
    }
}

/// What a source last gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredSource {
    /// The source's set must equal what it gives (a bundle), rather than only grow.
    pub(crate) replaces: bool,
    /// What it gave.
    pub(crate) fingerprints: Vec<Fingerprint>,
    /// What it gave earlier but no longer gives (threat T5).
    pub(crate) removed: Vec<Fingerprint>,
    /// What only a newer trustup knows.
    #[serde(flatten)]
    unknown: UnknownFields,
}

impl StoredAnchor {
    /// What every user may read of it: not where it came from, which is a path or a URL of whoever built the image, nor
    /// what only a newer trustup knows.
    pub(crate) fn for_everybody(&self) -> StoredAnchor {
        StoredAnchor { sources: Vec::new(), unknown: UnknownFields::default(), ..self.clone() }
    }

    /// A root that came from `source`.
    pub(crate) fn new(certificate: &Certificate, name: String, source: String) -> Self {
        StoredAnchor {
            fingerprint: certificate.fingerprint(),
            certificate: BASE64.encode(certificate.der()),
            name,
            file: None,
            status: Status::Recorded,
            sources: vec![source],
            pinned: false,
            unknown: UnknownFields::default(),
        }
    }

    /// Whether any store must hold it.
    pub(crate) fn is_in_stores(&self) -> bool {
        self.status != Status::Recorded
    }

    /// The certificate; its fingerprint is the recorded one.
    ///
    /// # Errors
    /// The state is damaged or forged.
    pub(crate) fn certificate(&self) -> Result<Certificate> {
        decode(&self.certificate, &self.fingerprint)
    }
}

/// The certificate stored as base64; its fingerprint must match the one it is stored under.
fn decode(text: &str, fingerprint: &Fingerprint) -> Result<Certificate> {
    let damaged = || Error::failed("the state names a certificate that does not fit its fingerprint");
    let der = BASE64.decode(text).map_err(|_| damaged())?;
    let certificate = Certificate::from_der(&der).map_err(|_| damaged())?;
    if certificate.fingerprint() == *fingerprint { Ok(certificate) } else { Err(damaged()) }
}

impl State {
    /// What is ours in the tree.
    pub(crate) fn ours(&self) -> Ours {
        let installed = self.anchors.iter().filter(|anchor| anchor.status == Status::Installed);
        Ours {
            records: self.records.clone(),
            files: installed.clone().filter_map(|anchor| anchor.file.clone()).collect(),
            installed: installed.map(|anchor| anchor.fingerprint).collect(),
            named: self.named(),
            distribution: self.row_named.then(|| self.row.clone()),
        }
    }

    /// All that Firefox's policy file may name for us: for each root in the stores, its anchor file and the one beside
    /// the policy.
    fn named(&self) -> Vec<String> {
        let named =
            self.anchors.iter().filter(|anchor| self.firefox_policy && anchor.status != Status::Recorded);
        let files = named.flat_map(|anchor| {
            anchor.file.clone().into_iter().chain(owners::certificate_files(&anchor.name))
        });
        files.collect()
    }

    /// Every certificate that is in a store because of us, or still has to be removed from one.
    ///
    /// # Errors
    /// The state is damaged or forged.
    pub(crate) fn certificates(&self) -> Result<BTreeMap<Fingerprint, Certificate>> {
        let mut known = BTreeMap::new();
        for anchor in &self.anchors {
            known.insert(anchor.fingerprint, anchor.certificate()?);
        }
        for (fingerprint, addition) in self.added.values().flatten() {
            if let Some(text) = &addition.certificate {
                known.insert(*fingerprint, decode(text, fingerprint)?);
            }
        }
        Ok(known)
    }

    /// Keeps, in addition to what is still in a store, the certificates that were anchors in `former` and no longer
    /// are.
    #[must_use]
    pub(crate) fn keeping_certificates_of(mut self, former: &State) -> Self {
        let anchors = &self.anchors;
        for (fingerprint, addition) in self.added.values_mut().flatten() {
            let is = |anchor: &&StoredAnchor| anchor.fingerprint == *fingerprint;
            if anchors.iter().find(is).is_some() {
                addition.certificate = None;
            } else if let Some(anchor) = former.anchors.iter().find(is) {
                addition.certificate = Some(anchor.certificate.clone());
            }
        }
        self
    }

    /// Whether there is nothing to record.
    pub(crate) fn is_empty(&self) -> bool {
        self.anchors.is_empty() && self.records.is_empty() && self.added.is_empty()
    }

    /// Whether both have the same content, the version aside.
    pub(crate) fn same_content(&self, other: &State) -> bool {
        State { schema: 0, ..self.clone() } == State { schema: 0, ..other.clone() }
            || (self.is_empty() && other.is_empty())
    }

    /// The lowest version of the format whose readers interpret this state correctly.
    fn version(&self) -> u64 {
        let via = self.records.values().any(|record| record.via.is_some());
        let mut additions = self.added.values().flat_map(BTreeMap::values);
        let certificate = additions.any(|addition| addition.certificate.is_some());
        if self.row_named || via || certificate { 2 } else { 1 }
    }

    /// The file's bytes.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let state = State { schema: self.version(), ..self.clone() };
        let mut bytes = serde_json::to_vec_pretty(&state)
            .map_err(|error| Error::failed("could not write the state").because(error))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Refuses what [`State::load`] would refuse afterwards (threat T38).
    ///
    /// # Errors
    /// The state is too large, or names something that trustup may not change.
    pub(crate) fn check_before_writing(&self, sysroot: &Sysroot) -> Result<()> {
        let place = || sysroot.display(&format!("{}/{FILE}", sysroot.state_directory()));
        if self.is_empty() {
            // It is not written: the file is removed.
            return Ok(());
        }
        let bytes = self.to_bytes()?;
        let size = bytes.len() as u64;
        if size > LIMIT {
            return Err(Error::failed(format!(
                "the record of this change would have {} MiB, more than the {} MiB that trustup reads",
                size >> 20,
                LIMIT >> 20
            ))
            .at(place())
            .hint(UNREADABLE_HINT));
        }
        check_values(&bytes)
            .map_err(Error::failed)
            .and_then(|()| self.clone().check(sysroot))
            .map_err(|error| error.at(place()).hint(UNREADABLE_HINT))
    }

    /// Reads and checks the state of a root file system; an empty one if there is none.
    ///
    /// # Errors
    /// Damaged, of a newer version, or naming anything that we may not change (threat T11).
    pub(crate) fn load(sysroot: &Sysroot) -> Result<Self> {
        let path = format!("{}/{FILE}", sysroot.state_directory());
        check_directory(sysroot)?;
        if sysroot.lstat(&path)?.is_none() {
            return Ok(State::default());
        }
        let Some((bytes, _)) = sysroot.read(&path, LIMIT)? else { return Ok(State::default()) };
        State::parse(sysroot, &bytes)
    }

    /// Reads and checks the bytes of a state file of this root file system.
    ///
    /// # Errors
    /// As [`State::load`].
    pub(crate) fn parse(sysroot: &Sysroot, bytes: &[u8]) -> Result<Self> {
        let place = sysroot.display(&format!("{}/{FILE}", sysroot.state_directory()));
        let damaged = |error: Error| {
            error.at(&place).hint(format!(
                "find out which program wrote it, then {} and run bootstrap again",
                remedy::remove(&place)
            ))
        };
        let mut state: State = FORMAT.read(bytes, &place).map_err(|unreadable| match unreadable {
            Unreadable::Newer(error) => error,
            Unreadable::Damaged(cause) => {
                damaged(Error::failed("the state of an earlier run is damaged").because(cause))
            }
        })?;
        state.check(sysroot).map_err(|error| if is_newer(&error) { error } else { damaged(error) })?;
        Ok(state)
    }

    /// Checks every path and mode against the row's table; records that can no longer be acted on become `unclaimed`.
    fn check(&mut self, sysroot: &Sysroot) -> Result<()> {
        let row = row(&self.row, sysroot).map_err(|unknown| match unknown {
            Some(row) => {
                let place = sysroot.display(&format!("{}/{FILE}", sysroot.state_directory()));
                FORMAT.unknown_value(self.schema, &place, &row)
            }
            None => Error::failed("the state names a row of another kind of tree"),
        })?;
        self.unclaimed = check_records(sysroot, row, self.records.iter(), self.added.keys())?;
        for Unclaimed { path, .. } in &self.unclaimed {
            self.records.remove(path);
        }
        if self.added.keys().any(|path| !path.starts_with('/') || path.split('/').any(|part| part == "..")) {
            return Err(Error::failed("the state names a store that cannot be one"));
        }
        if let Some(why) = owners::objection(self.records.iter()) {
            return Err(Error::failed(why));
        }
        if !self
            .directories
            .iter()
            .all(|path| path.starts_with('/') && sysroot.state_directory().starts_with(&format!("{path}/")))
        {
            return Err(Error::failed("the state names a directory that is not on the way to its own"));
        }
        self.certificates()?;
        for anchor in &self.anchors {
            let file = anchor.file.as_deref().unwrap_or_default();
            let file_is_ours =
                anchor.file.is_none() || row.updater.owns(file) == Ownership::Entry && !file.contains("/../");
            if !is_anchor_name(&anchor.name) || !file_is_ours {
                return Err(Error::failed("the state gives an anchor an invalid name"));
            }
        }
        Ok(())
    }
}

/// Refuses the state of a newer trustup, and nothing else.
///
/// # Errors
/// A newer trustup wrote it.
pub(crate) fn refuse_newer(sysroot: &Sysroot) -> Result<()> {
    let path = format!("{}/{FILE}", sysroot.state_directory());
    match sysroot.read(&path, LIMIT) {
        Ok(Some((bytes, _))) => FORMAT.refuse_newer(&bytes, &sysroot.display(&path)),
        // Any other problem is reported when it is loaded.
        Ok(None) | Err(_) => Ok(()),
    }
}

/// Whether root keeps a record of this system that the current user cannot read. The directory is removed with the last
/// anchor, so an existing directory means that there is a record.
pub(crate) fn is_closed(sysroot: &Sysroot) -> Result<bool> {
    let uid = crate::host::privilege::uid();
    let meta = match sysroot.lstat(STATE_DIRECTORY) {
        // Not even the directory above it is open to this user: root may keep a record there.
        Err(error) if is_denied(&error) => return Ok(uid != 0),
        meta => meta?,
    };
    let of_root = |meta: Meta| meta.kind == FileKind::Directory && meta.uid == 0 && meta.mode & 0o077 == 0;
    Ok(uid != 0 && meta.is_some_and(of_root))
}

/// On `/`, state that another user could have written is an error: wrong owner, wider mode, or a link.
fn check_directory(sysroot: &Sysroot) -> Result<()> {
    let Some(meta) = sysroot.lstat(sysroot.state_directory())? else { return Ok(()) };
    let uid = crate::host::privilege::uid();
    let what = if meta.kind != FileKind::Directory {
        "the state directory is not a directory".to_owned()
    } else if !sysroot.is_host() {
        return Ok(());
    } else if meta.uid != 0 && meta.uid != uid {
        format!("the state directory belongs to user {}", meta.uid)
    } else if meta.mode & 0o077 != 0 {
        format!("the state directory has mode {:04o}, not 0700", meta.mode)
    } else {
        return Ok(());
    };
    Err(Error::failed(what)
        .at(sysroot.display(sysroot.state_directory()))
        .hint("find out which program created it, then move it to another place and run bootstrap again"))
}
