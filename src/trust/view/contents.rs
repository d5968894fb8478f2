//! What is in a file of certificates: as inspected, and as programs read it.

use std::collections::BTreeMap;

use crate::pki::cert::readers::{self, Reader, Reading};
use crate::pki::cert::{Certificate, pem};
use crate::pki::fingerprint::Fingerprint;

/// Certificates that were parsed already, by the SHA-256 of their DER (with a label, if the file is irregular): the
/// same roots are in many files.
pub(super) type ParsedCertificates = BTreeMap<Fingerprint, Option<Certificate>>;

/// What is in a file of certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileCertificates {
    /// The certificates that can be read, in order, whether a program reads them or not.
    pub(crate) certificates: Vec<Certificate>,
    /// What every program that reads bundles finds.
    pub(crate) reading: Reading,
}

impl FileCertificates {
    /// Whether every program that reads bundles finds this root here.
    pub(crate) fn offers(&self, fingerprint: &Fingerprint) -> bool {
        self.reading.offers(fingerprint)
    }
}

/// What is in these bytes; what was parsed before comes from `parsed`. At most `most` entries are added to that (threat
/// T36); `None` if that is not enough.
pub(super) fn parse(content: &[u8], parsed: &mut ParsedCertificates, most: u64) -> Option<FileCertificates> {
    let most = parsed.len().saturating_add(usize::try_from(most).unwrap_or(usize::MAX));
    if let Some(regular) = readers::read_regular(content) {
        let mut contents = FileCertificates::default();
        for der in regular {
            let key = Fingerprint::of(&der);
            contents.reading.offered.push(key);
            let certificate = parsed.entry(key).or_insert_with(|| Certificate::from_der(&der).ok());
            contents.certificates.extend(certificate.clone());
            if parsed.len() > most {
                return None;
            }
        }
        return Some(contents);
    }
    let reading = readers::read(content, &Reader::OF_BUNDLES);
    let blocks = pem::blocks(content);
    if blocks.is_empty() {
        return Some(FileCertificates { certificates: Certificate::all_in(content), reading });
    }
    let mut certificates = Vec::new();
    for block in &blocks {
        let Some(der) = block.der.as_deref() else { continue };
        // The label matters, too.
        let key = Fingerprint::of(&[block.label.as_bytes(), b"\0", der].concat());
        certificates.extend(parsed.entry(key).or_insert_with(|| Certificate::from_block(block)).clone());
        if parsed.len() > most {
            return None;
        }
    }
    Some(FileCertificates { certificates, reading })
}
