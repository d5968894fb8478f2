//! Photon's method: the PEM files in OpenSSL's hashed directory are the input of both vendor and administrator, and the
//! bundle is their concatenation. `rehash_ca_certificates.sh` (package openssl-c_rehash) and the package's own
//! `%posttrans` do the same: `openssl rehash` of the directory, then `cat DIRECTORY/*.pem > BUNDLE`.
//!
//! If only the package of the bundle is installed (the base image), the root is appended to it, and its file waits in
//! the directory for the other package.

use std::collections::{BTreeMap, BTreeSet};

use super::bundle::{Bundles, push_certificate};
use super::inputs;
use super::rehash::{self, want_links};
use super::{
    AnchorDirectory, BrokenInput, Desires, NativeTool, Output, OutputKind, Ownership, Updater, UpdaterInput,
};
use crate::error::Result;
use crate::pki::cert::{Certificate, Purpose};
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::content::Content;
use crate::rootfs::path::child;
use crate::rootfs::split;
use crate::rootfs::tree::{File, Node};
use crate::trust::nix_store;
use crate::trust::view::View;

/// The extension that `cat` reads.
const EXTENSION: &str = ".pem";

/// The paths of a family of this kind.
#[derive(Debug)]
pub(crate) struct PemDirectory {
    /// The hashed directory with the PEM files.
    pub(crate) certs: &'static str,
    /// Their concatenation.
    pub(crate) bundle: &'static str,
    /// The program.
    pub(crate) tool: NativeTool,
}

/// Whether the vendor's package uses such a name: the subject hash of its root, eight digits in lower case.
fn is_vendor_name(name: &str) -> bool {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    name.strip_suffix(EXTENSION).is_some_and(|stem| stem.len() == 8 && stem.bytes().all(digit))
}

impl PemDirectory {
    fn bundles(&self) -> Bundles {
        Bundles { primary: self.bundle, links: &[] }
    }

    fn anchors(&self) -> AnchorDirectory {
        AnchorDirectory { path: self.certs, extension: EXTENSION }
    }

    /// The names that `DIRECTORY/*.pem` expands to, in byte order (the shell's in the C locale), without us.
    fn inputs(&self, view: &View) -> Result<Vec<String>> {
        let mut inputs = Vec::new();
        for name in view.names(self.certs)? {
            if name.ends_with(EXTENSION)
                && !name.starts_with('.')
                && let Some((_, node)) = view.follow(&child(self.certs, &name))?
                && matches!(node.as_ref(), Node::File(_))
            {
                inputs.push(name);
            }
        }
        Ok(inputs)
    }

    /// Fingerprints of every input.
    fn sourced(&self, view: &View) -> Result<BTreeSet<Fingerprint>> {
        let mut found = BTreeSet::new();
        for name in self.inputs(view)? {
            let certificates = view.certificates(&child(self.certs, &name))?;
            found.extend(certificates.iter().map(Certificate::fingerprint));
        }
        Ok(found)
    }

    /// Our anchors by the path of their file.
    fn placed(&self, wanted: &UpdaterInput) -> BTreeMap<String, Certificate> {
        let ours = wanted.anchors.iter().filter(|anchor| anchor.standing.is_none());
        ours.map(|anchor| (self.anchors().file(&anchor.name), anchor.certificate.clone())).collect()
    }

    /// Bundle and hash links as the program makes them of the files and our anchors.
    fn managed(&self, view: &View, wanted: &UpdaterInput, desires: &mut Desires) -> Result<()> {
        let mut files: BTreeMap<String, Content> = BTreeMap::new();
        for name in self.inputs(view)? {
            if let Some(node) = view.read(&child(self.certs, &name))?
                && let Node::File(file) = node.as_ref()
            {
                files.insert(name, file.content.clone());
            }
        }
        for anchor in &wanted.anchors {
            let path = anchor.standing.clone().unwrap_or_else(|| self.anchors().file(&anchor.name));
            // An existing file whose name the program ignores is still used.
            files
                .entry(split(&path).1.to_owned())
                .or_insert_with(|| anchor.certificate.to_pem().into_bytes().into());
        }
        let mut bundle = Vec::new();
        for content in files.values() {
            let content = inputs::for_bundle(content, view.parsed());
            bundle.extend_from_slice(&content);
            // `cat` would put the next root on the same line, and OpenSSL would refuse them all.
            if !content.is_empty() && !content.ends_with(b"\n") {
                bundle.push(b'\n');
            }
        }
        for certificate in self.unsourced(view)? {
            push_certificate(&mut bundle, &certificate);
        }
        // As the shell's redirection does: through a link, and the file keeps its mode and owner.
        let (path, file) = match view.target(self.bundle)? {
            Some((real, node)) if !nix_store::holds(&real) => {
                let path = if view.location(self.bundle)? == real { self.bundle.to_owned() } else { real };
                match node.as_ref() {
                    Node::File(file) => {
                        (path, File { content: bundle.into(), modified: None, ..file.clone() })
                    }
                    _ => (path, File::new(bundle, 0o644)),
                }
            }
            _ => (self.bundle.to_owned(), File::new(bundle, 0o644)),
        };
        desires.want(path.clone(), Node::File(file), "the bundle of every input");
        let entries = rehash::entries(view, self.certs, &BTreeMap::new(), &self.placed(wanted))?;
        let hashes = rehash::changes(&entries, false);
        want_links(self.certs, hashes, "OpenSSL finds it by this subject hash", desires);
        // Other bundles that programs might read.
        self.bundles().append(view, wanted, &[&path], desires)
    }

    /// Without the package of the files: our roots are appended to bundles, our hash links added to the directory.
    fn unmanaged(&self, view: &View, wanted: &UpdaterInput, desires: &mut Desires) -> Result<()> {
        self.bundles().append(view, wanted, &[], desires)?;
        let ours = self.placed(wanted);
        let names: BTreeSet<&str> = ours.keys().map(|path| split(path).1).collect();
        let mut hashes = rehash::changes(&rehash::entries(view, self.certs, &BTreeMap::new(), &ours)?, false);
        // We do not remove what others left there if no package does.
        hashes.retain(|_, target| target.as_deref().is_some_and(|target| names.contains(target)));
        want_links(self.certs, hashes, "OpenSSL finds it by this subject hash", desires);
        Ok(())
    }
}

impl Updater for PemDirectory {
    fn native(&self) -> Option<&NativeTool> {
        Some(&self.tool)
    }

    fn anchor_directory(&self) -> Option<AnchorDirectory> {
        Some(self.anchors())
    }

    fn is_managed(&self, view: &View) -> Result<bool> {
        // Without the vendor's files the program would make a bundle of only the administrator's.
        Ok(self.inputs(view)?.iter().any(|name| is_vendor_name(name)))
    }

    fn outputs(&self, view: &View) -> Result<Vec<Output>> {
        let mut outputs = self.bundles().outputs(view)?;
        outputs.push(Output {
            path: self.certs.to_owned(),
            kind: OutputKind::HashDirectory,
            purpose: Some(Purpose::ServerAuth),
        });
        Ok(outputs)
    }

    fn native_writes(&self, path: &str) -> bool {
        // Not the hash links, which it finds as it would make them: `openssl rehash` keeps the number of a link whose file
        // is gone, the script then deletes that link, and OpenSSL's search ends at the hole.
        path == self.bundle
    }

    fn native_directories(&self) -> Vec<String> {
        vec![self.certs.to_owned()]
    }

    fn watched(&self, view: &View) -> Result<Vec<String>> {
        let mut paths = self.bundles().watched(view)?;
        paths.extend(view.actual_names(self.certs)?.iter().map(|name| child(self.certs, name)));
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    fn owns(&self, path: &str) -> Ownership {
        let owned = self.bundles().owns(path);
        if owned == Ownership::Foreign && split(path).0 == self.certs { Ownership::Entry } else { owned }
    }

    fn broken_inputs(&self, view: &View) -> Result<Vec<BrokenInput>> {
        if !self.is_managed(view)? {
            return Ok(Vec::new());
        }
        inputs::broken(view, self.inputs(view)?.into_iter().map(|name| child(self.certs, &name)))
    }

    fn standing(&self, view: &View) -> Result<Vec<(String, Vec<Certificate>)>> {
        let mut found = Vec::new();
        for name in self.inputs(view)?.into_iter().filter(|name| !is_vendor_name(name)) {
            let path = child(self.certs, &name);
            let Some((location, node)) = view.follow(&path)? else { continue };
            let contents = view.contents(&location, &node);
            let offered = contents.certificates.iter().filter(|one| contents.offers(&one.fingerprint()));
            found.push((path, offered.cloned().collect()));
        }
        let broken: BTreeSet<String> =
            self.broken_inputs(view)?.into_iter().map(|input| input.path).collect();
        found.retain(|(path, _)| !broken.contains(path));
        Ok(found)
    }

    fn vendor_names(&self, view: &View) -> Result<Vec<String>> {
        let inputs = self.inputs(view)?;
        let vendor = inputs.iter().filter(|name| is_vendor_name(name));
        Ok(vendor.filter_map(|name| name.strip_suffix(EXTENSION)).map(str::to_owned).collect())
    }

    fn unsourced(&self, view: &View) -> Result<Vec<Certificate>> {
        if !self.is_managed(view)? {
            return Ok(Vec::new());
        }
        let sourced = self.sourced(view)?;
        let withdrawn: BTreeSet<Fingerprint> = self.withdrawn(view)?.into_iter().collect();
        let mut seen = BTreeSet::new();
        let certificates = view.certificates(self.bundle)?;
        let appended = certificates.into_iter().filter(|certificate| {
            let fingerprint = certificate.fingerprint();
            !sourced.contains(&fingerprint) && !withdrawn.contains(&fingerprint) && seen.insert(fingerprint)
        });
        Ok(appended.collect())
    }

    fn withdrawn(&self, view: &View) -> Result<Vec<Fingerprint>> {
        // A missing vendor file leaves a dangling hash link, whose name contains the subject hash.
        let mut gone = BTreeSet::new();
        for name in view.names(self.certs)? {
            if let Some((hash, _)) = rehash::parse_name(&name)
                && let Node::Link { target } = view.original(&child(self.certs, &name))?.as_ref()
                && is_vendor_name(target)
                && view.follow(&child(self.certs, target))?.is_none()
            {
                gone.insert(hash);
            }
        }
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        let sourced = self.sourced(view)?;
        let certificates = view.certificates(self.bundle)?;
        let lost = certificates.iter().filter(|certificate| {
            gone.contains(&certificate.subject_hash()) && !sourced.contains(&certificate.fingerprint())
        });
        Ok(lost.map(Certificate::fingerprint).collect())
    }

    fn regenerated(&self, view: &View) -> Result<Desires> {
        let mut desires = Desires::default();
        if self.is_managed(view)? {
            self.managed(view, &UpdaterInput::default(), &mut desires)?;
        }
        Ok(desires)
    }

    fn desired(&self, view: &View, wanted: &UpdaterInput) -> Result<Desires> {
        let mut desires = Desires::default();
        if wanted.anchors.is_empty() && !wanted.web_pki {
            return Ok(desires);
        }
        self.anchors().place(view, wanted, &mut desires)?;
        if self.is_managed(view)? {
            self.managed(view, wanted, &mut desires)?;
        } else {
            self.unmanaged(view, wanted, &mut desires)?;
        }
        Ok(desires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendors_files_are_called_by_their_hash() {
        assert!(is_vendor_name("4042bcee.pem") && is_vendor_name("00673b5b.pem"));
        for name in
            ["4042BCEE.pem", "4042bce.pem", "4042bcee.0", "4042bcee.crt", "company.pem", "abcdefgh.pem"]
        {
            assert!(!is_vendor_name(name), "{name}");
        }
    }
}
