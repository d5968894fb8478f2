//! Certificates as PEM blocks of existing files, OpenSSL's TRUSTED CERTIFICATE blocks among them. Nothing here decides
//! what may become an anchor; [`super::input`] does.

use super::{Certificate, cert_aux, der, pem};
use crate::pki::fingerprint::Fingerprint;

impl Certificate {
    /// The readable certificates in a file, PEM or DER, whether a program reads them or not; what cannot be parsed is
    /// omitted. [`super::readers`] decides what programs find there.
    pub(crate) fn all_in(content: &[u8]) -> Vec<Certificate> {
        let blocks = pem::blocks(content);
        if blocks.is_empty() {
            return Certificate::from_der(content).into_iter().collect();
        }
        blocks.iter().filter_map(Certificate::from_block).collect()
    }

    /// The certificate of a block of an existing bundle, as programs see it: of a TRUSTED CERTIFICATE the certificate
    /// before the trust settings. `None` for blocks with another label, and for what cannot be parsed.
    pub fn from_block(block: &pem::PemBlock) -> Option<Certificate> {
        let der = block.der.as_deref()?;
        match block.label.as_str() {
            "TRUSTED CERTIFICATE" => {
                let certificate = der::DerReader::new(der).take(der::SEQUENCE)?;
                Certificate::from_der(certificate.raw).ok()
            }
            "CERTIFICATE" | "X509 CERTIFICATE" => Certificate::from_der(der).ok(),
            _ => None,
        }
    }

    /// The fingerprint of the certificate in a block, whether it can be parsed or not; of a TRUSTED CERTIFICATE that of
    /// the certificate before the trust settings.
    pub(crate) fn fingerprint_of_block(block: &pem::PemBlock) -> Option<Fingerprint> {
        let der = block.der.as_deref()?;
        Some(Fingerprint::of(match block.label.as_str() {
            "TRUSTED CERTIFICATE" => der::DerReader::new(der).take(der::SEQUENCE)?.raw,
            _ => der,
        }))
    }

    /// The alias in a TRUSTED CERTIFICATE block.
    pub(crate) fn alias_of_block(block: &pem::PemBlock) -> Option<String> {
        cert_aux::alias(trust_settings(block)?)
    }

    /// Whether p11-kit distrusts the certificate of a block in one of its source files.
    pub(crate) fn is_distrusted_by_block(block: &pem::PemBlock) -> bool {
        trust_settings(block).is_some_and(cert_aux::is_distrusted)
    }
}

/// What follows the certificate in a TRUSTED CERTIFICATE block; `None` for other blocks.
fn trust_settings(block: &pem::PemBlock) -> Option<&[u8]> {
    let mut reader =
        der::DerReader::new(block.der.as_deref().filter(|_| block.label == "TRUSTED CERTIFICATE")?);
    reader.take(der::SEQUENCE)?;
    Some(reader.rest())
}
