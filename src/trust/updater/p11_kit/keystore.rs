//! The Java keystore among the outputs. If p11-kit made it, ours goes to its front and the aliases are renumbered; if
//! another program did, the root is added to its content.

use std::collections::BTreeMap;

use super::{Front, P11Kit};
use crate::error::{Error, Result};
use crate::pki::cert::{Certificate, Purpose};
use crate::pki::fingerprint::Fingerprint;
use crate::pki::keystore::p11_kit::{self, ListedRoot};
use crate::pki::keystore::{Keystore, alias_for};
use crate::rootfs::content::Content;
use crate::rootfs::tree::{File, Node};
use crate::trust::cacerts;
use crate::trust::p11_format::{List, P11Entry, with_first};
use crate::trust::updater::{Desires, Output, OutputKind, UpdaterInput};
use crate::trust::view::View;

/// The keystore holds roots for this purpose only.
const PURPOSE: Purpose = Purpose::ServerAuth;

impl P11Kit {
    /// The keystore as an output, if Java can read it.
    pub(super) fn keystore_output(&self, view: &View) -> Result<Option<Output>> {
        let file = self.output_file(view, self.keystore)?;
        Ok(match file.map(|file| cacerts::open(view, &file.content).0.is_ok()) {
            Some(true) => {
                let path = self.place(view, self.keystore)?;
                Some(Output { path, kind: OutputKind::Keystore, purpose: Some(PURPOSE) })
            }
            _ => None,
        })
    }

    /// The roots in the keystore, whatever its password.
    pub(super) fn keystore_roots(&self, view: &View) -> Result<Vec<Certificate>> {
        let file = self.output_file(view, self.keystore)?;
        let roots = file.and_then(|file| Keystore::roots_without_password(&file.content).ok());
        Ok(roots.unwrap_or_default())
    }

    /// The keystore with the front in place.
    pub(super) fn write_keystore(
        &self,
        view: &View,
        front: &Front,
        wanted: &UpdaterInput,
        desires: &mut Desires,
    ) -> Result<()> {
        let Some(file) = self.output_file(view, self.keystore)? else { return Ok(()) };
        let opened = cacerts::open(view, &file.content);
        let keystore = match &opened.0 {
            Ok(keystore) => keystore,
            Err(problem) => {
                desires.warnings.push(format!("`{}` is left as it is: {problem}", self.keystore));
                return Ok(());
            }
        };
        let place = self.place(view, self.keystore)?;
        let actual = view.actual(&place)?;
        let nothing = Content::from(Vec::new());
        let standing = if let Node::File(file) = actual.as_ref() { &file.content } else { &nothing };
        let date = wanted.date.saturating_mul(1000);
        // p11-kit's own has the password that Java opens it with.
        let content = match p11_kit::read_opened(&file.content, keystore, view.parsed()) {
            Some((roots, _)) => {
                let new = with_front(&roots, front);
                let there = cacerts::open(view, standing);
                let written = p11_kit::renew_opened(&new, standing, there.0.as_ref().ok(), date);
                let written = written.map_err(|problem| problem.into_error().at(self.keystore))?;
                // With no other root in it, a new date is no reason to write it.
                if new == roots && *written != **standing { file.content.clone() } else { written.into() }
            }
            None => self.beside(&file.content, front, standing, date)?.into(),
        };
        let node = Node::File(File { content, modified: None, ..file });
        desires.want(place, node, "an output of the family's tool");
        Ok(())
    }

    /// A keystore of another program's shape: ours are appended; those that `standing` holds keep their dates.
    fn beside(&self, content: &[u8], front: &Front, standing: &[u8], date: i64) -> Result<Vec<u8>> {
        let keystore = Keystore::parse_cacerts(content);
        let mut keystore = keystore.map_err(|problem| problem.into_error().at(self.keystore))?;
        let standing = Keystore::parse_cacerts(standing).ok();
        let dates: BTreeMap<Fingerprint, i64> = standing
            .iter()
            .flat_map(|keystore| keystore.entries())
            .filter_map(|entry| Some((entry.fingerprint()?, entry.date()?)))
            .collect();
        for certificate in front.ours().filter(|certificate| certificate.allows(PURPOSE)) {
            let date = dates.get(&certificate.fingerprint()).copied().unwrap_or(date);
            let added = keystore.add(&alias_for(certificate), certificate, date);
            added.map_err(|problem| problem.into_error().at(self.keystore))?;
        }
        keystore.to_bytes(&mut |_| Err(Error::failed("this keystore has no salts").at(self.keystore)))
    }
}

/// The roots with the administrator's in front.
fn with_front(roots: &[ListedRoot], front: &Front) -> Vec<ListedRoot> {
    let entry = |root: ListedRoot| {
        let certificate = root.certificate;
        P11Entry { fingerprint: certificate.fingerprint(), label: Some(root.alias), body: Vec::new() }
    };
    let list = List { header: Vec::new(), entries: roots.iter().cloned().map(entry).collect() };
    let first = front.entries(Some(PURPOSE), &list, |certificate| entry(ListedRoot::of(certificate)));
    let certificates = roots.iter().map(|root| &root.certificate).chain(&front.certificates);
    let certificates: BTreeMap<Fingerprint, &Certificate> =
        certificates.map(|certificate| (certificate.fingerprint(), certificate)).collect();
    let new = with_first(&list, first).entries.into_iter().filter_map(|entry| {
        Some(ListedRoot {
            alias: entry.label?,
            certificate: Certificate::clone(certificates.get(&entry.fingerprint)?),
        })
    });
    new.collect()
}
