//! The private store: what programs read if the system's stores cannot be written. One bundle with the system's roots
//! and ours, a hashed directory with the same roots, each anchor in a file of its own, and, if there is a Java, a
//! keystore with the system's roots and ours.
//!
//! It follows the system's roots: what the system no longer trusts is removed at the next run. Paths are as seen inside
//! the private directory; its location, and whether it is safe to use, is decided elsewhere (threat T12).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    AnchorDirectory, Desires, NativeTool, Output, OutputKind, Ownership, Updater, UpdaterInput, bundle,
};
use crate::error::Result;
use crate::pki::cert::{Certificate, Purpose};
use crate::pki::fingerprint::Fingerprint;
use crate::pki::keystore::alias_for;
use crate::pki::keystore::p11_kit::{self, ListedRoot};
use crate::rootfs::path::child;
use crate::rootfs::split;
use crate::rootfs::tree::{File, Node};
use crate::trust::view::View;

/// The combined bundle.
pub(crate) const BUNDLE: &str = "/ca-bundle.pem";
/// The hashed directory.
pub(crate) const HASHED: &str = "/certs";
/// The keystore; Java gets its password, `changeit`.
pub(crate) const KEYSTORE: &str = "/cacerts";
/// The anchors, each in a file of its own.
const ANCHORS: &str = "/anchors";
/// Roots are public, and a service that drops its privileges still reads them.
const MODE: u32 = 0o644;

/// See the module.
#[derive(Debug)]
pub(crate) struct PrivateStore;

impl PrivateStore {
    /// Every root that programs must find: the system's, then ours.
    fn combined(view: &View, wanted: &UpdaterInput) -> Vec<Certificate> {
        let web_pki = webpki_root_certs::TLS_SERVER_ROOT_CERTS
            .iter()
            .filter(|_| wanted.web_pki && view.beneath().roots.is_empty())
            .filter_map(|der| Certificate::from_der(der).ok());
        with_ours(view.beneath().roots.iter().cloned().chain(web_pki), wanted)
    }

    /// The keystore, if there is a Java: the roots of Java's own keystore, else all of `combined`, and ours.
    fn keystore(view: &View, wanted: &UpdaterInput, combined: &[Certificate]) -> Result<Option<Node>> {
        let Some(java) = &view.beneath().java else { return Ok(None) };
        let system = if java.is_empty() { combined } else { java };
        // What Java's own keystore holds, Java loads.
        let loads = |certificate: &Certificate| {
            java.contains(certificate) || OutputKind::Keystore.refusal(certificate).is_none()
        };
        let roots: Vec<ListedRoot> = with_ours(system.iter().cloned(), wanted)
            .into_iter()
            .filter(loads)
            .map(|certificate| ListedRoot { alias: alias_for(&certificate), certificate })
            .collect();
        let actual = view.actual(KEYSTORE)?;
        let standing = if let Node::File(file) = actual.as_ref() { &file.content[..] } else { &[] };
        let content = p11_kit::renew(&roots, standing, wanted.date.saturating_mul(1000));
        let content = content.map_err(|problem| problem.into_error().at(view.sysroot().display(KEYSTORE)))?;
        Ok(Some(Node::File(File::new(content, MODE))))
    }
}

/// The system's roots and ours, each once. Ours last: what the system already holds keeps its position.
fn with_ours(system: impl Iterator<Item = Certificate>, wanted: &UpdaterInput) -> Vec<Certificate> {
    let mut seen: BTreeSet<Fingerprint> = BTreeSet::new();
    let ours = wanted.anchors.iter().map(|anchor| anchor.certificate.clone());
    system.chain(ours).filter(|certificate| seen.insert(certificate.fingerprint())).collect()
}

impl Updater for PrivateStore {
    fn native(&self) -> Option<&NativeTool> {
        None
    }

    fn anchor_directory(&self) -> Option<AnchorDirectory> {
        Some(AnchorDirectory { path: ANCHORS, extension: ".pem" })
    }

    fn is_managed(&self, _view: &View) -> Result<bool> {
        Ok(true)
    }

    fn outputs(&self, view: &View) -> Result<Vec<Output>> {
        let output =
            |path: &str, kind| Output { path: path.to_owned(), kind, purpose: Some(Purpose::ServerAuth) };
        let mut outputs = vec![output(BUNDLE, OutputKind::Bundle), output(HASHED, OutputKind::HashDirectory)];
        if view.beneath().java.is_some() || *view.actual(KEYSTORE)? != Node::Absent {
            outputs.push(output(KEYSTORE, OutputKind::Keystore));
        }
        Ok(outputs)
    }

    fn native_writes(&self, _path: &str) -> bool {
        false
    }

    fn native_directories(&self) -> Vec<String> {
        Vec::new()
    }

    fn watched(&self, _view: &View) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn owns(&self, path: &str) -> Ownership {
        match split(path) {
            _ if path == BUNDLE || path == KEYSTORE => Ownership::Entry,
            ("/", _) if path == HASHED || path == ANCHORS => Ownership::OnTheWay,
            (HASHED | ANCHORS, name) if !name.is_empty() => Ownership::Entry,
            _ => Ownership::Foreign,
        }
    }

    fn standing(&self, _view: &View) -> Result<Vec<(String, Vec<Certificate>)>> {
        Ok(Vec::new())
    }

    fn vendor_names(&self, _view: &View) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn unsourced(&self, _view: &View) -> Result<Vec<Certificate>> {
        Ok(Vec::new())
    }

    fn withdrawn(&self, view: &View) -> Result<Vec<Fingerprint>> {
        let system: BTreeSet<Fingerprint> =
            view.beneath().roots.iter().map(Certificate::fingerprint).collect();
        let here = view.actual_certificates(BUNDLE).unwrap_or_default();
        Ok(here.iter().map(Certificate::fingerprint).filter(|one| !system.contains(one)).collect())
    }

    fn regenerated(&self, _view: &View) -> Result<Desires> {
        Ok(Desires::default())
    }

    fn desired(&self, view: &View, wanted: &UpdaterInput) -> Result<Desires> {
        let mut desires = Desires::default();
        if wanted.anchors.is_empty() {
            return Ok(desires);
        }
        for anchor in &wanted.anchors {
            let path = AnchorDirectory { path: ANCHORS, extension: ".pem" }.file(&anchor.name);
            let node = Node::File(File::new(anchor.certificate.to_pem().into_bytes(), MODE));
            desires.want(path, node, "the anchor alone, for programs that add it to roots of their own");
        }
        let combined = PrivateStore::combined(view, wanted);
        let mut numbers: BTreeMap<u32, usize> = BTreeMap::new();
        let mut content = Vec::new();
        for certificate in &combined {
            bundle::push_certificate(&mut content, certificate);
            let hash = certificate.subject_hash();
            let number = numbers.entry(hash).or_default();
            let path = child(HASHED, &format!("{hash:08x}.{number}"));
            *number += 1;
            let node = Node::File(File::new(certificate.to_pem().into_bytes(), MODE));
            desires.want(path, node, "OpenSSL finds it by this subject hash");
        }
        desires.want(
            BUNDLE,
            Node::File(File::new(content, MODE)),
            "the system's roots and yours in one bundle",
        );
        if let Some(keystore) = PrivateStore::keystore(view, wanted, &combined)? {
            desires.want(KEYSTORE, keystore, "the roots of the system's Java and yours, for Java");
        }
        if view.beneath().roots.is_empty() && !wanted.web_pki {
            desires.warnings.push(
                "this system has no roots of its own, so the private store contains only yours; `--with-web-pki` adds the Web PKI's"
                    .to_owned(),
            );
        }
        Ok(desires)
    }
}
