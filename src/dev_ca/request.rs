//! A certificate signing request (PKCS#10, RFC 2986) as step-ca checks it: its key, its own signature, its names.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;

use super::authority::first_common_name;
use crate::pki::cert::{SubjectAltName, general_name, pem};
use crate::pki::key::PublicKey;

/// The smallest RSA key that step-ca signs for.
const MIN_RSA_BITS: usize = 2048;

/// The content of a request.
pub(super) struct Csr {
    pub(super) der: Vec<u8>,
    pub(super) common_name: Option<String>,
    pub(super) names: Vec<SubjectAltName>,
    pub(super) key: PublicKey,
}

/// Why a request is invalid.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Not PEM, not PKCS#10.
    Unreadable,
    /// Its signature was not made with its key.
    Signature,
    /// A key that is too small, or of another kind.
    Key(&'static str),
    /// A name of another kind.
    Name(String),
}

impl Csr {
    /// Reads it from PEM.
    pub(super) fn parse(text: &str) -> Result<Self, Unfit> {
        let blocks = pem::blocks(text.as_bytes());
        let wanted = |block: &&pem::PemBlock| block.label.ends_with("CERTIFICATE REQUEST");
        let der = blocks.iter().find(wanted).and_then(|block| block.der.clone()).ok_or(Unfit::Unreadable)?;
        let (rest, parsed) = X509CertificationRequest::from_der(&der).map_err(|_| Unfit::Unreadable)?;
        if !rest.is_empty() {
            return Err(Unfit::Unreadable);
        }
        let info = &parsed.certification_request_info;
        let key = PublicKey::from_der(info.subject_pki.raw)
            .ok_or(Unfit::Key("certificate request key is not supported"))?;
        if key.rsa_bits().is_some_and(|bits| bits < MIN_RSA_BITS) {
            return Err(Unfit::Key("certificate request RSA key must be at least 2048 bits (256 bytes)"));
        }
        parsed.verify_signature().map_err(|_| Unfit::Signature)?;
        let mut names = Vec::new();
        for extension in parsed.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(found) = extension {
                for name in &found.general_names {
                    names.push(general_name(name).map_err(Unfit::Name)?);
                }
            }
        }
        let common_name = first_common_name(&info.subject).filter(|name| !name.is_empty());
        Ok(Csr { common_name, names, key, der: der.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::key::{KeyType, PrivateKey};

    #[test]
    fn a_request_is_read_and_its_signature_checked() {
        let names = ["a.test", "127.0.0.1", "spiffe://x/y", "a@b.test"];
        let names = names.map(|name| name.parse::<SubjectAltName>().expect("a name"));
        for kind in [KeyType::EcP256, KeyType::EcP384, KeyType::Ed25519, KeyType::Rsa2048] {
            let key = PrivateKey::generate(kind).expect("a key");
            let der = key.csr(&names, Some("a.test")).expect("a request");
            let csr = Csr::parse(&pem::armor("CERTIFICATE REQUEST", &der)).expect("a request");
            assert_eq!((csr.common_name.as_deref(), &csr.names[..]), (Some("a.test"), &names[..]));
            assert_eq!(&csr.key, key.public());
            let mut changed = der.clone();
            let at = changed.windows(6).position(|part| part == b"a.test").expect("the name");
            changed[at] = b'b';
            let error = Csr::parse(&pem::armor("CERTIFICATE REQUEST", &changed)).err();
            assert_eq!(error, Some(Unfit::Signature), "{kind}");
        }
        for text in
            ["", "x", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"]
        {
            assert_eq!(Csr::parse(text).err(), Some(Unfit::Unreadable), "{text}");
        }
    }
}
