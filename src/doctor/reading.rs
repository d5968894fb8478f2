//! The content of the places that a client reads: its resulting roots. Reads through the view, changes nothing.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::PlaceKind;
use super::judgement::HostNames;
use super::library::TlsLibrary;
use crate::pki::cert::Certificate;
use crate::pki::cert::readers::{self, Reader as PemReader};
use crate::pki::fingerprint::Fingerprint;
use crate::pki::keystore::{Keystore, KeystoreFormat, KeystoreProblem};
use crate::pki::nss::{self, Databases};
use crate::rootfs::Sysroot;
use crate::rootfs::budget::{self, Category};
use crate::rootfs::path::child;
use crate::rootfs::tree::Node;
use crate::text;
use crate::trust::stores::nss::files;
use crate::trust::verify::{Side, hashed_certificates};
use crate::trust::view::View;

/// How a client reads a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reads {
    /// A PEM file, as OpenSSL does: one bad block, and none of it counts.
    PemFile,
    /// A PEM file, as GnuTLS does, which also refuses it for one bad block, but checks other things.
    GnuTlsFile,
    /// A PEM file, as Go does, and roughly all programs that skip a bad block.
    PemBlocks,
    /// A directory, by subject hash.
    HashDirectory,
    /// Every file of a directory, whatever its name.
    Directory,
    /// A Java keystore, without a password.
    Keystore,
    /// An NSS database.
    NssDatabase,
    /// The list inside the program.
    CompiledIn,
}

impl Reads {
    /// The kind of place, whatever a program checks in it.
    pub(super) fn kind(self) -> PlaceKind {
        match self {
            Reads::PemFile | Reads::GnuTlsFile | Reads::PemBlocks => PlaceKind::Bundle,
            Reads::HashDirectory => PlaceKind::HashDirectory,
            Reads::Directory => PlaceKind::Directory,
            Reads::Keystore => PlaceKind::Keystore,
            Reads::NssDatabase => PlaceKind::NssDatabase,
            Reads::CompiledIn => PlaceKind::CompiledIn,
        }
    }
}

/// A place that a client reads, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadSource {
    pub(super) reads: Reads,
    /// As the client names it; for a compiled-in list its name.
    pub(super) path: String,
    /// The variable that names it; `None`: the client's default.
    pub(super) variable: Option<&'static str>,
    /// It stops with an error if this cannot be loaded, instead of continuing without it.
    pub(super) needed: bool,
    /// It is read only if the places before it gave no root.
    pub(super) last_resort: bool,
    /// No variable leads to another place.
    pub(super) fixed: bool,
}

impl ReadSource {
    pub(super) fn new(reads: Reads, path: impl Into<String>) -> ReadSource {
        ReadSource {
            reads,
            path: path.into(),
            variable: None,
            needed: false,
            last_resort: false,
            fixed: false,
        }
    }

    pub(super) fn named_by(self, variable: &'static str) -> ReadSource {
        ReadSource { variable: Some(variable), ..self }
    }

    pub(super) fn needed(self) -> ReadSource {
        ReadSource { needed: true, ..self }
    }

    pub(super) fn last_resort(self) -> ReadSource {
        ReadSource { last_resort: true, ..self }
    }

    pub(super) fn fixed(self) -> ReadSource {
        ReadSource { fixed: true, ..self }
    }

    pub(super) fn compiled_in() -> ReadSource {
        ReadSource::new(Reads::CompiledIn, "the list inside the program")
    }
}

/// An installed client, or one that could be: what it reads.
#[derive(Clone, Debug)]
pub(super) struct Installation {
    /// Its program, or other evidence that it is installed.
    pub(super) found: Option<String>,
    /// Other programs for which the same holds.
    pub(super) also: Vec<String>,
    pub(super) sources: Vec<ReadSource>,
    /// What verifies servers for it.
    pub(super) library: TlsLibrary,
    /// What else to know about it.
    pub(super) note: Option<&'static str>,
    /// Why its roots cannot be known, in words that can be a sentence.
    pub(super) unjudged: Option<String>,
    /// How it compares names, if its row and library do not tell.
    pub(super) names: Option<HostNames>,
}

impl Installation {
    /// A program that reads these places.
    pub(super) fn new(found: Option<String>, library: TlsLibrary, sources: Vec<ReadSource>) -> Installation {
        Installation { found, also: Vec::new(), sources, library, note: None, unjudged: None, names: None }
    }
}

/// Roots by fingerprint.
pub(super) type RootsByFingerprint = BTreeMap<Fingerprint, Certificate>;

/// The result of reading a place.
#[derive(Clone, Debug, Default)]
pub(super) struct Loaded {
    pub(super) roots: RootsByFingerprint,
    /// Why it has none, or not all: in a form that can follow the path and a colon.
    pub(super) problem: Option<String>,
}

impl Loaded {
    fn problem(what: impl Into<String>) -> Loaded {
        Loaded { roots: RootsByFingerprint::new(), problem: Some(what.into()) }
    }

    fn of(certificates: impl IntoIterator<Item = Certificate>) -> Loaded {
        let roots = certificates.into_iter().map(|one| (one.fingerprint(), one)).collect();
        Loaded { roots, problem: None }
    }
}

/// Reads places, each once.
#[derive(Debug)]
pub(super) struct StoreReader<'v, 's> {
    view: &'v View<'s>,
    known: BTreeMap<(Reads, String), Rc<Loaded>>,
}

impl<'v, 's> StoreReader<'v, 's> {
    pub(super) fn new(view: &'v View<'s>) -> Self {
        StoreReader { view, known: BTreeMap::new() }
    }

    /// The root file system.
    pub(super) fn sysroot(&self) -> &'s Sysroot {
        self.view.sysroot()
    }

    /// Whether Java finds no keystore at `path`: nothing, or a file of another kind.
    pub(super) fn is_no_keystore(&self, path: &str) -> bool {
        if pay(self.view.sysroot(), Category::Stores, path).is_err() {
            return false;
        }
        match self.view.follow_actual(path) {
            Ok(Some((_, node))) => match node.as_ref() {
                Node::File(file) => KeystoreFormat::of(&file.content) == Err(KeystoreProblem::NotAKeystore),
                _ => false,
            },
            Ok(None) => true,
            Err(_) => false,
        }
    }

    pub(super) fn load(&mut self, source: &ReadSource) -> Rc<Loaded> {
        let key = (source.reads, source.path.clone());
        if let Some(known) = self.known.get(&key) {
            return Rc::clone(known);
        }
        let loaded = Rc::new(load(self.view, source));
        self.known.insert(key, Rc::clone(&loaded));
        loaded
    }
}

fn load(view: &View, source: &ReadSource) -> Loaded {
    let path = &source.path;
    match source.reads {
        Reads::CompiledIn => {
            let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
            Loaded::of(roots.filter_map(|der| Certificate::from_der(der).ok()))
        }
        _ if !path.starts_with('/') => {
            Loaded::problem(if path.is_empty() { "it is empty" } else { "no absolute path" })
        }
        Reads::PemFile | Reads::GnuTlsFile | Reads::PemBlocks => match file(view, path) {
            Ok((location, node)) => {
                let reader = match source.reads {
                    Reads::PemFile => PemReader::OpenSsl,
                    Reads::GnuTlsFile => PemReader::GnuTls,
                    _ => PemReader::Go,
                };
                let contents = view.contents(&location, &node);
                let Node::File(file) = node.as_ref() else { return Loaded::default() };
                let reading = readers::read(&file.content, &[reader]);
                let found = contents.certificates.iter().filter(|one| reading.offers(&one.fingerprint()));
                let mut loaded = Loaded::of(found.cloned());
                if let Some(problem) = reading.problem() {
                    loaded.problem = Some(problem);
                } else if loaded.roots.is_empty() {
                    loaded.problem = Some("it has no certificate".to_owned());
                }
                loaded
            }
            Err(loaded) => loaded,
        },
        Reads::HashDirectory => match hashed_certificates(view, Side::Actual, path) {
            Ok(certificates) => of_directory(view, path, certificates),
            Err(error) => Loaded::problem(error.to_string()),
        },
        Reads::Directory => match every_file(view, path) {
            Ok(certificates) => of_directory(view, path, certificates),
            Err(error) => Loaded::problem(error.to_string()),
        },
        Reads::Keystore => keystore(view, path),
        Reads::NssDatabase => nss_database(view, path),
    }
}

fn file(view: &View, path: &str) -> Result<(String, Rc<Node>), Loaded> {
    match view.follow_actual(path) {
        Ok(None) => Err(Loaded::problem("it is not there")),
        Ok(Some((location, node))) if matches!(node.as_ref(), Node::File(_)) => Ok((location, node)),
        Ok(Some((_, node))) => Err(Loaded::problem(format!("expected a file, found {}", node.kind()))),
        Err(error) => Err(Loaded::problem(error.to_string())),
    }
}

fn of_directory(view: &View, path: &str, certificates: Vec<Certificate>) -> Loaded {
    if certificates.is_empty() {
        let there = view.sysroot().list(path).ok().flatten().is_some();
        return Loaded::problem(if there { "it has no certificate" } else { "it is not there" });
    }
    Loaded::of(certificates)
}

fn every_file(view: &View, path: &str) -> crate::error::Result<Vec<Certificate>> {
    let mut found = Vec::new();
    for name in view.actual_names(path)? {
        // What cannot be read is skipped, as the programs do.
        if let Some((location, node)) = view.follow_actual(&child(path, &name)).ok().flatten()
            && let Node::File(file) = node.as_ref()
        {
            let reading = readers::read(&file.content, &[PemReader::Go]);
            let contents = view.contents(&location, &node);
            let offered = contents.certificates.iter().filter(|one| reading.offers(&one.fingerprint()));
            found.extend(offered.cloned());
        }
    }
    Ok(found)
}

/// Charges for reading a store that a search found (threat T36).
fn pay(sysroot: &Sysroot, category: Category, path: &str) -> crate::error::Result<()> {
    match (sysroot.canonical(path)?, sysroot.stat(path)?) {
        (Some(real), Some(meta)) => budget::pay(category, &sysroot.display(&real), meta.size),
        _ => Ok(()),
    }
}

fn keystore(view: &View, path: &str) -> Loaded {
    if let Err(error) = pay(view.sysroot(), Category::Stores, path) {
        return Loaded::problem(error.what());
    }
    let node = match file(view, path) {
        Ok((_, node)) => node,
        Err(loaded) => return loaded,
    };
    let Node::File(file) = node.as_ref() else { return Loaded::default() };
    match Keystore::roots_without_password(&file.content) {
        Ok(roots) if roots.is_empty() => Loaded::problem("Java finds no root in it"),
        Ok(roots) => Loaded::of(roots),
        Err(problem) => Loaded::problem(text::escape(&problem.to_string())),
    }
}

fn nss_database(view: &View, path: &str) -> Loaded {
    let sysroot = view.sysroot();
    if !sysroot.stat(path).is_ok_and(|meta| meta.is_some()) {
        return Loaded::problem("no such database");
    }
    for name in [nss::CERT_DB, nss::KEY_DB] {
        if let Err(error) = pay(sysroot, Category::Databases, &child(path, name)) {
            return Loaded::problem(error.what());
        }
    }
    let found = match sysroot.directory(path).and_then(|directory| files::read(&directory)) {
        Ok(found) => found,
        Err(error) => return Loaded::problem(error.to_string()),
    };
    let (cert9, key4) = match found {
        files::FoundDatabase::Databases { cert9, key4 } => (cert9, key4),
        files::FoundDatabase::Nothing => return Loaded::problem("no such database"),
        files::FoundDatabase::Dbm => return Loaded::problem("it has the format before SQLite"),
        files::FoundDatabase::Incomplete(missing) => {
            return Loaded::problem(format!("`{missing}` is missing"));
        }
        files::FoundDatabase::InUse(_) => return Loaded::problem("a program is writing to it"),
    };
    let databases = match Databases::open(&cert9.bytes, &key4.bytes, None) {
        Ok(databases) => databases,
        Err(refusal) => return Loaded::problem(refusal.into_error().to_string()),
    };
    let cost = databases.cost_of_checking().unwrap_or(u64::MAX);
    if let Err(error) = budget::iterations(&sysroot.display(path), cost) {
        return Loaded::problem(error.what());
    }
    match databases.entries() {
        Ok(entries) => Loaded::of(
            entries.into_iter().filter(nss::NssCertificate::is_trusted).map(|entry| entry.certificate),
        ),
        Err(refusal) => Loaded::problem(refusal.into_error().to_string()),
    }
}
