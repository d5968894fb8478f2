//! The front of every output: what the administrator's own files contain, and then the anchors, ours among them, each
//! in the order of their files' names.

use std::collections::{BTreeMap, BTreeSet};

use super::P11Kit;
use crate::error::Result;
use crate::pki::cert::{Certificate, Purpose};
use crate::pki::fingerprint::Fingerprint;
use crate::trust::p11_format::{List, P11Entry};
use crate::trust::updater::{OutputKind, Updater, UpdaterInput};
use crate::trust::view::View;

/// The administrator's anchors.
pub(super) struct Front {
    /// In the order in which p11-kit reads them.
    pub(super) certificates: Vec<Certificate>,
    ours: BTreeSet<Fingerprint>,
}

impl Front {
    pub(super) fn new(family: &P11Kit, view: &View, wanted: &UpdaterInput) -> Result<Self> {
        let mut files: BTreeMap<String, Vec<Certificate>> = family.standing(view)?.into_iter().collect();
        for anchor in &wanted.anchors {
            files.entry(family.path_of(anchor)).or_insert_with(|| vec![anchor.certificate.clone()]);
        }
        let mut seen = BTreeSet::new();
        let beside = family.files(view, family.admin)?.into_iter().map(|(_, certificates)| certificates);
        let certificates = beside.chain(files.into_values()).flatten();
        Ok(Front {
            certificates: certificates.filter(|certificate| seen.insert(certificate.fingerprint())).collect(),
            ours: wanted.anchors.iter().map(|anchor| anchor.certificate.fingerprint()).collect(),
        })
    }

    /// The same without those of ours that Java cannot load (threat T39).
    pub(super) fn for_java(&self) -> Front {
        let loads = |certificate: &&Certificate| OutputKind::Keystore.refusal(certificate).is_none();
        let ours: BTreeSet<Fingerprint> = self.ours().filter(loads).map(Certificate::fingerprint).collect();
        Front { certificates: self.certificates.clone(), ours }
    }

    /// Those that were asked for.
    pub(super) fn ours(&self) -> impl Iterator<Item = &Certificate> {
        self.certificates.iter().filter(|certificate| self.ours.contains(&certificate.fingerprint()))
    }

    /// The front of an output for `purpose` that holds `list`: ours, made by `entry`, and the administrator's roots
    /// that it holds. What p11-kit omitted from it (blocked, no CA) stays out.
    pub(super) fn entries(
        &self,
        purpose: Option<Purpose>,
        list: &List,
        entry: impl Fn(&Certificate) -> P11Entry,
    ) -> Vec<P11Entry> {
        let fits = |certificate: &&Certificate| purpose.is_none_or(|purpose| certificate.allows(purpose));
        let entries = self.certificates.iter().filter(fits).filter_map(|certificate| {
            let fingerprint = certificate.fingerprint();
            if self.ours.contains(&fingerprint) {
                Some(entry(certificate))
            } else {
                list.entries.iter().find(|entry| entry.fingerprint == fingerprint).cloned()
            }
        });
        entries.collect()
    }
}
