//! What is in a file of certificates: as inspected, and as programs read it.

use std::cell::OnceCell;
use std::rc::Rc;

use crate::pki::cert::readers::{self, Reader, Reading};
use crate::pki::cert::{Certificate, CertificateCache, pem};
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::content::Content;

/// What is in a file of certificates.
#[derive(Debug, Default)]
pub(crate) struct FileCertificates {
    /// The certificates that can be read, in order, whether a program reads them or not.
    pub(crate) certificates: Vec<Certificate>,
    /// What every program that reads bundles finds, once that was asked.
    reading: OnceCell<Reading>,
    /// For that: the file, and what was parsed before.
    read_from: Option<(Content, Rc<CertificateCache>)>,
}

impl FileCertificates {
    /// What every program that reads bundles finds.
    pub(crate) fn reading(&self) -> &Reading {
        self.reading.get_or_init(|| match &self.read_from {
            Some((content, cache)) => readers::read_with(content, &Reader::OF_BUNDLES, cache),
            None => Reading::default(),
        })
    }

    /// Whether the file is of the form that every program reads the same way, and has a certificate.
    pub(crate) fn is_regular(&self) -> bool {
        self.read_from.is_none() && !self.certificates.is_empty()
    }

    /// Whether every program that reads bundles finds this root here.
    pub(crate) fn offers(&self, fingerprint: &Fingerprint) -> bool {
        self.reading().offers(fingerprint)
    }
}

/// What is in these bytes; what was parsed before comes from `cache`. At most `most` certificates are added to that
/// (threat T36); `None` if that is not enough.
pub(super) fn parse(content: &Content, cache: &Rc<CertificateCache>, most: u64) -> Option<FileCertificates> {
    let most = cache.len().saturating_add(usize::try_from(most).unwrap_or(usize::MAX));
    if let Some(regular) = readers::read_regular_with(content, cache, most) {
        let offered = regular.iter().map(|one| one.fingerprint()).collect();
        let reading = Reading { offered, ..Reading::default() };
        return Some(FileCertificates {
            certificates: regular.iter().filter_map(|one| one.certificate().cloned()).collect(),
            reading: reading.into(),
            read_from: None,
        });
    }
    if cache.len() > most {
        return None;
    }
    let (mut certificates, mut has_blocks) = (Vec::new(), false);
    for block in pem::spans(content) {
        has_blocks = true;
        certificates.extend(cache.certificate(content, &block));
        if cache.len() > most {
            return None;
        }
    }
    if !has_blocks {
        certificates.extend(Certificate::from_der(content));
    }
    let read_from = Some((content.clone(), Rc::clone(cache)));
    Some(FileCertificates { certificates, reading: OnceCell::new(), read_from })
}
