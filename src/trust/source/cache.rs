//! The cache of pinned bytes (threat T40): a directory that outlives the container, so that one that is created again
//! starts while its CA is down.
//!
//! Only what a fingerprint or a bundle's hash pins is in it, under that hash; never what TLS alone vouched for. An entry
//! is read like bytes from the network: bounded, hashed, parsed, checked against the clock. So it does not matter who
//! wrote it: whatever does not have the hash of its name is not used. Writing goes through the file-set engine, and
//! replaces entries without following a link.

use std::path::Path;

use crate::error::{Error, Result};
use crate::net::MAX_BODY;
use crate::pki::cert::Certificate;
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::checkpoint::Checkpoints;
use crate::rootfs::directory::Attributes;
use crate::rootfs::file_set::{After, Before, Change, FileSet, Rules, write_file};
use crate::rootfs::path::child;
use crate::rootfs::tree::Node;
use crate::rootfs::{FileKind, Sysroot, host, split};
use crate::trust::source::given;

use super::Acquired;

/// The largest root that is read: none has a tenth of it.
const ROOT_LIMIT: u64 = 64 * 1024;
/// Certificates are public, and a service of another user may share the volume.
const MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Keeps what the sources brought, as far as hashes pin it; returns a warning if that is not possible. A start must not
/// fail for it.
pub(crate) fn keep(cache: &Cache, acquired: &Acquired) -> Option<String> {
    cache.keep(&acquired.pinned).err().map(|error| {
        format!(
            "could not keep the pinned roots in the cache `{}`, so a new container needs the CA again: {error}",
            cache.shown()
        )
    })
}

/// Something that a hash pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CacheEntry {
    /// A root, by the fingerprint of its DER.
    Root(Certificate),
    /// The bytes of a bundle's file, by their hash.
    Bundle(Fingerprint, Vec<u8>),
}

impl CacheEntry {
    fn name(&self) -> String {
        match self {
            CacheEntry::Root(root) => root_name(&root.fingerprint()),
            CacheEntry::Bundle(hash, _) => bundle_name(hash),
        }
    }
}

fn root_name(fingerprint: &Fingerprint) -> String {
    format!("root-{fingerprint}.pem")
}

fn bundle_name(hash: &Fingerprint) -> String {
    format!("bundle-{hash}.pem")
}

/// The cache in a directory of this system.
#[derive(Debug)]
pub(crate) struct Cache {
    host: Sysroot,
    directory: String,
}

impl Cache {
    /// The cache in `directory`, which need not exist yet.
    ///
    /// # Errors
    /// The path cannot be used, or is not a directory.
    pub(crate) fn open(directory: &Path) -> Result<Cache> {
        let host = Sysroot::open(Path::new("/"))?;
        let directory = host::absolute_text(directory)?;
        if host.stat(&directory)?.is_some_and(|meta| meta.kind != FileKind::Directory) {
            return Err(Error::usage("`--cache` needs a directory").at(crate::text::escape(&directory)));
        }
        Ok(Cache { host, directory })
    }

    /// Its path, for messages.
    fn shown(&self) -> String {
        crate::text::escape(&self.directory)
    }

    /// The root with this fingerprint. An unusable entry counts as absent, with a warning.
    pub(super) fn root(&self, pin: &Fingerprint, warn: &mut dyn FnMut(String)) -> Option<Certificate> {
        let bytes = self.read(&root_name(pin), ROOT_LIMIT, warn)?;
        let file = given::read(&bytes, &self.shown()).ok();
        let found = file.and_then(|file| file.certificates.into_iter().find(|it| it.fingerprint() == *pin));
        if found.is_none() {
            warn(self.unusable(&root_name(pin), "it is not the certificate of its name"));
        }
        found
    }

    /// The bundle's file with this hash. An unusable entry counts as absent, with a warning.
    pub(super) fn bundle(&self, hash: &Fingerprint, warn: &mut dyn FnMut(String)) -> Option<Vec<u8>> {
        let bytes = self.read(&bundle_name(hash), MAX_BODY, warn)?;
        if Fingerprint::of(&bytes) != *hash {
            warn(self.unusable(&bundle_name(hash), "its SHA-256 is not that of its name"));
            return None;
        }
        Some(bytes)
    }

    fn read(&self, name: &str, limit: u64, warn: &mut dyn FnMut(String)) -> Option<Vec<u8>> {
        match self.host.read_no_link(&child(&self.directory, name), limit) {
            Ok(found) => found.map(|(bytes, _)| bytes),
            Err(error) => {
                warn(self.unusable(name, &error.to_string()));
                None
            }
        }
    }

    fn unusable(&self, name: &str, why: &str) -> String {
        format!("the cache's entry `{}/{name}` is not used: {why}", self.shown())
    }

    /// Keeps these for later starts; what is there already is not written again.
    ///
    /// # Errors
    /// The directory cannot be written.
    fn keep(&self, entries: &[CacheEntry]) -> Result<()> {
        let missing: Vec<&CacheEntry> = entries.iter().filter(|entry| !self.has(entry)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.make()?;
        for entry in missing {
            let path = child(&self.directory, &entry.name());
            let attributes = Attributes { mode: MODE, owner: None, modified: None };
            let pem;
            let content = match entry {
                CacheEntry::Root(root) => {
                    pem = root.to_pem();
                    pem.as_bytes()
                }
                CacheEntry::Bundle(_, bytes) => bytes,
            };
            write_file(&self.host, &path, content, attributes)?;
        }
        Ok(())
    }

    fn has(&self, entry: &CacheEntry) -> bool {
        let mut ignored = |_| ();
        match entry {
            CacheEntry::Root(root) => self.root(&root.fingerprint(), &mut ignored).is_some(),
            CacheEntry::Bundle(hash, _) => self.bundle(hash, &mut ignored).is_some(),
        }
    }

    /// Makes the directory, and those above it that are missing.
    fn make(&self) -> Result<()> {
        let mut missing = Vec::new();
        let mut path = self.directory.as_str();
        while path != "/" && self.host.stat(path)?.is_none() {
            missing.push(path);
            path = split(path).0;
        }
        let mut set = FileSet::unlocked(&self.host, None)?;
        for path in missing.into_iter().rev() {
            let after = After::Directory(DIRECTORY_MODE, None);
            let before = Before::Is(&Node::Absent);
            let change = Change { path, before, after, rules: Rules::default() };
            match set.apply(&[change], &mut Checkpoints::off()) {
                Ok(()) => {}
                // Another start was faster.
                Err(_) if self.host.stat(path)?.is_some() => {}
                Err((_, error)) => return Err(error),
            }
            self.host.look_again();
        }
        Ok(())
    }
}
