//! What was parsed already, by its bytes: the same roots are in many files, in many forms, and before and after a run.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use super::readers::regular;
use super::{Certificate, der, is_decodable, pem};
use crate::pki::fingerprint::Fingerprint;

/// Parses each distinct certificate once, and decodes each distinct PEM block of one once.
pub(crate) struct CertificateCache {
    /// Full with more certificates than these (threat T36).
    most: usize,
    certificates: RefCell<HashMap<Rc<[u8]>, Rc<CachedDer>>>,
    blocks: RefCell<HashMap<Box<[u8]>, CachedBlock>>,
}

/// The bytes of a certificate, and what was found out about them.
pub(crate) struct CachedDer {
    der: Rc<[u8]>,
    certificate: OnceCell<Option<Certificate>>,
    fingerprint: OnceCell<Fingerprint>,
    is_decodable: OnceCell<bool>,
}

impl CachedDer {
    /// The bytes.
    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate, if they are one.
    pub(crate) fn certificate(&self) -> Option<&Certificate> {
        self.certificate.get_or_init(|| Certificate::parse(&self.der, || self.fingerprint()).ok()).as_ref()
    }

    /// SHA-256 over them.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        *self.fingerprint.get_or_init(|| Fingerprint::of(&self.der))
    }

    /// Whether programs can decode them as a certificate.
    pub(super) fn is_decodable(&self) -> bool {
        *self.is_decodable.get_or_init(|| is_decodable(&self.der))
    }
}

/// What is known of the text of a PEM block.
#[derive(Clone)]
pub(super) struct CachedBlock {
    /// The certificate; of a TRUSTED CERTIFICATE the one before the trust settings.
    pub(super) der: Rc<CachedDer>,
    /// Whether every program that reads blocks of this label reads it the same way.
    pub(super) is_regular: bool,
}

impl Default for CertificateCache {
    fn default() -> Self {
        CertificateCache::of_at_most(usize::MAX)
    }
}

impl CertificateCache {
    /// One that is full with more than `most` certificates: then files are no longer parsed ahead.
    pub(crate) fn of_at_most(most: usize) -> Self {
        CertificateCache { most, certificates: RefCell::default(), blocks: RefCell::default() }
    }

    /// Whether it holds more certificates than it should.
    pub(super) fn is_full(&self) -> bool {
        self.len() > self.most
    }

    /// How many distinct certificates were seen, readable or not.
    pub(crate) fn len(&self) -> usize {
        self.certificates.borrow().len()
    }

    /// What is known of `der`.
    pub(crate) fn der(&self, der: &[u8]) -> Rc<CachedDer> {
        if let Some(known) = self.certificates.borrow().get(der) {
            return Rc::clone(known);
        }
        let der = Rc::<[u8]>::from(der);
        let new = Rc::new(CachedDer {
            der: Rc::clone(&der),
            certificate: OnceCell::new(),
            fingerprint: OnceCell::new(),
            is_decodable: OnceCell::new(),
        });
        self.certificates.borrow_mut().insert(der, Rc::clone(&new));
        new
    }

    /// The certificate of a block of `content`, as [`Certificate::from_block`] reads it.
    pub(crate) fn certificate(&self, content: &[u8], block: &pem::Span<'_>) -> Option<Certificate> {
        if !block.is_closed {
            return None;
        }
        self.block(&content[block.text.clone()])?.der.certificate().cloned()
    }

    /// The certificate in the text of one block, from its BEGIN marker to its END marker.
    pub(super) fn block(&self, text: &[u8]) -> Option<CachedBlock> {
        if let Some(known) = self.blocks.borrow().get(text) {
            return Some(known.clone());
        }
        let block = pem::iter(text).next()?;
        let whole = block.der.as_deref()?;
        let certificate = match block.label.as_str() {
            "TRUSTED CERTIFICATE" => der::DerReader::new(whole).take(der::SEQUENCE)?.raw,
            "CERTIFICATE" | "X509 CERTIFICATE" => whole,
            _ => return None,
        };
        let der = self.der(certificate);
        let new = CachedBlock { is_regular: der.is_decodable() && regular::is_block(text), der };
        self.blocks.borrow_mut().insert(text.into(), new.clone());
        Some(new)
    }
}

impl fmt::Debug for CertificateCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateCache({} certificates, {} blocks)", self.len(), self.blocks.borrow().len())
    }
}
