//! A certificate and its key: their paths, whether the existing pair is good, and how a new pair replaces it.
//!
//! Nothing here asks a server, or knows how a certificate was obtained.

pub(crate) mod check;
pub(crate) mod decide;
pub(crate) mod ends;
pub(crate) mod facts;
mod history;
pub(crate) mod issue;
pub(crate) mod life;
pub(crate) mod owner;
pub(crate) mod pending;
pub(crate) mod place;
pub(crate) mod refusals;
pub(crate) mod token;

use std::path::Path;

use zeroize::Zeroizing;

use crate::certificate::check::Roots;
use crate::error::{Error, Result};
use crate::pki::cert::{Certificate, holds_only_certificates};
use crate::pki::key::PrivateKey;
use crate::rootfs::output::OutputOption;
use crate::rootfs::sharing::{Protection, Sharing};
use crate::rootfs::{Sysroot, split};
pub(crate) use crate::settings::rows::Layout;

/// The largest file of a pair: ten certificates of the largest kind are smaller.
pub(crate) const FILE_LIMIT: u64 = 1024 * 1024;

/// Default mode of certificates.
pub(crate) const CERT_MODE: u32 = 0o644;
/// Default mode of a key.
pub(crate) const KEY_MODE: u32 = 0o600;

/// The paths of a pair, and their attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outputs {
    /// Leaf and intermediates, PEM.
    pub(crate) cert: String,
    /// The private key, PKCS#8 PEM.
    pub(crate) key: String,
    /// The intermediates once more, PEM.
    pub(crate) chain: Option<String>,
    /// The roots that the chain ends at, PEM.
    pub(crate) ca_out: Option<String>,
    /// User and group of the files; `None` for the current user.
    pub(crate) owner: Option<(u32, u32)>,
    /// Permission bits of the certificates, octal.
    pub(crate) cert_mode: u32,
    /// Permission bits of the key, octal.
    pub(crate) key_mode: u32,
    /// Plain files or links.
    pub(crate) layout: Layout,
    /// The directories may be writable by others, such as a volume that a pod's containers share.
    pub(crate) allow_shared: bool,
}

impl Outputs {
    /// Checks what can be checked without inspecting any file.
    ///
    /// # Errors
    /// Paths that are not absolute or not of files, or the same path twice; a key that every user may read or that its
    /// owner may not; files of one version in several directories.
    pub(crate) fn validate(&self) -> Result<()> {
        let mut seen: Vec<&str> = Vec::new();
        for (option, path) in self.paths() {
            OutputOption { name: option, takes_standard: false }.parse(Path::new(path))?;
            let plain = path.starts_with('/')
                && !path.ends_with('/')
                && !path.contains('\0')
                && !path.split('/').any(|part| matches!(part, "." | ".."));
            if !plain {
                return Err(Error::usage(format!("`{option}` needs the path of a file"))
                    .at(crate::text::escape(path))
                    .hint("for example `--cert /run/tls/server.crt --key /run/tls/server.key`"));
            }
            if seen.contains(&path) {
                return Err(Error::usage("two of the files have the same path")
                    .at(path)
                    .hint("each needs a file of its own"));
            }
            seen.push(path);
        }
        if self.key_mode & !0o770 != 0 || self.key_mode & 0o400 == 0 {
            return Err(Error::usage(format!("a private key cannot have the mode {:04o}", self.key_mode))
                .at(&self.key)
                .hint(
                    "`--key-mode` is 0600, 0400, or 0640 for a group that reads it; never readable by others",
                ));
        }
        if self.cert_mode & !0o777 != 0 || self.cert_mode & 0o400 == 0 || self.cert_mode & 0o022 != 0 {
            return Err(Error::usage(format!("a certificate cannot have the mode {:04o}", self.cert_mode))
                .at(&self.cert)
                .hint(
                    "`--cert-mode` is 0644 or 0640, for example: readable by its owner, writable by no other user",
                ));
        }
        if self.layout == Layout::Versioned
            && self.paths().any(|(_, path)| split(path).0 != split(&self.cert).0)
        {
            return Err(Error::usage("the files of a versioned pair must be in one directory")
                .at(&self.cert)
                .hint("put `--cert`, `--key` and `--chain` into one directory, or use `--layout files`"));
        }
        Ok(())
    }

    /// Checks that files can be written at the paths (threat T37): before a server is asked, or anything is read there.
    ///
    /// # Errors
    /// A device, FIFO, socket or directory is there; a path leads into `/dev` or procfs, or through a link of another
    /// user; `--ca-out` would replace something other than certificates.
    pub(crate) fn check(&self, host: &Sysroot) -> Result<()> {
        for (name, path) in self.paths() {
            OutputOption { name, takes_standard: false }.check(host, path)?;
        }
        let Some(path) = &self.ca_out else { return Ok(()) };
        match host.read(path, FILE_LIMIT) {
            Ok(Some((bytes, _))) if !holds_only_certificates(&bytes) => {
                Err(Error::usage("`--ca-out` would replace a file that has other content than certificates")
                    .at(crate::text::escape(path))
                    .hint("name another file"))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Who but us could replace the file at `path`: by the directories above it.
    ///
    /// # Errors
    /// A directory on the way cannot be inspected.
    pub(crate) fn protection(&self, host: &Sysroot, path: &str) -> Result<Protection> {
        let owner = self.owner.map(|(uid, _)| uid);
        let accepted_by = self.allow_shared.then_some("--allow-shared-directory");
        host.protection_of_way(path, Sharing { trusted: owner.as_slice(), accepted_by })
    }

    /// The files with the options that name them.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let chain = self.chain.as_deref().map(|path| ("--chain", path));
        let roots = self.ca_out.as_deref().map(|path| ("--ca-out", path));
        [("--cert", self.cert.as_str()), ("--key", self.key.as_str())].into_iter().chain(chain).chain(roots)
    }
}

/// The content of the files.
pub(crate) struct PairContent {
    /// PKCS#8 PEM.
    pub(crate) key: Zeroizing<String>,
    /// Leaf and intermediates, PEM.
    pub(crate) cert: String,
    /// The intermediates, PEM.
    pub(crate) chain: String,
    /// The roots, PEM.
    pub(crate) roots: String,
}

impl PairContent {
    /// The files of this key, this chain (leaf first) and the roots at which it ends.
    pub(crate) fn new(key: &PrivateKey, chain: &[Certificate], roots: &Roots) -> Self {
        let pem =
            |certificates: &[Certificate]| certificates.iter().map(Certificate::to_pem).collect::<String>();
        PairContent {
            key: key.to_pem(),
            cert: pem(chain),
            chain: pem(chain.get(1..).unwrap_or_default()),
            roots: pem(&roots.certificates),
        }
    }

    /// The files with path, bytes and mode, the key first.
    fn files<'a>(&'a self, outputs: &'a Outputs) -> Vec<(&'a str, &'a [u8], u32)> {
        let mut files = vec![
            (outputs.key.as_str(), self.key.as_bytes(), outputs.key_mode),
            (outputs.cert.as_str(), self.cert.as_bytes(), outputs.cert_mode),
        ];
        files.extend(outputs.chain.as_deref().map(|path| (path, self.chain.as_bytes(), outputs.cert_mode)));
        files.extend(outputs.ca_out.as_deref().map(|path| (path, self.roots.as_bytes(), outputs.cert_mode)));
        files
    }
}
