//! Is a certificate signed with its own key? Distinguishes a root from a cross-certificate with the same name, and from
//! a damaged file that still parses. It adds no trust: anyone can sign their own certificate.

use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::Certificate;

/// Whether a certificate is signed with its own key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SelfSignature {
    /// It is.
    Valid,
    /// Its signature was not made with its own key.
    Invalid,
    /// An algorithm or a key size that is not verified here (P-521, MD5, small RSA keys); the key identifiers do not
    /// contradict it.
    NotChecked,
}

impl Certificate {
    /// Whether the certificate is signed with its own key. Costs a signature check: not for every root of a bundle that
    /// is only inspected.
    pub(crate) fn self_signature(&self) -> SelfSignature {
        let Ok((_, parsed)) = X509Certificate::from_der(&self.0.der) else { return SelfSignature::Invalid };
        match parsed.verify_signature(None) {
            Ok(()) => SelfSignature::Valid,
            Err(error) if self.is_conclusive(&parsed, &error) => SelfSignature::Invalid,
            // OpenSSL's criterion: it never verifies a root's own signature.
            Err(_) => match (&self.0.authority_key_id, &self.0.subject_key_id) {
                (Some(authority), Some(subject)) if authority != subject => SelfSignature::Invalid,
                _ => SelfSignature::NotChecked,
            },
        }
    }

    /// Whether a failed verification is due to the signature, and not to the limits of ring.
    fn is_conclusive(&self, parsed: &X509Certificate<'_>, error: &X509Error) -> bool {
        match self.0.signature_algorithm.as_str() {
            // RSA (PKCS #1 1.5) with SHA-1, SHA-256, SHA-384, SHA-512.
            "1.2.840.113549.1.1.5"
            | "1.3.14.3.2.29"
            | "1.2.840.113549.1.1.11"
            | "1.2.840.113549.1.1.12"
            | "1.2.840.113549.1.1.13" => match parsed.public_key().parsed() {
                Ok(PublicKey::RSA(key)) => {
                    self.0.rsa_bits.is_some_and(|bits| (2048..=8192).contains(&bits))
                        && key.try_exponent().is_ok_and(|exponent| (3..1 << 33).contains(&exponent))
                }
                // An RSA signature cannot be from another kind of key.
                _ => true,
            },
            // ECDSA with SHA-256, SHA-384: ring has P-256 and P-384.
            "1.2.840.10045.4.3.2" | "1.2.840.10045.4.3.3" => {
                self.0.rsa_bits.is_some() || *error != X509Error::SignatureUnsupportedAlgorithm
            }
            // Ed25519.
            "1.3.101.112" => true,
            // RSASSA-PSS among them: ring fixes parameters (salt length, second hash) that are free there.
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

    use super::super::testing::{TestCertificate, rsa_key, sequence, tlv};
    use super::*;

    fn parse(draft: &TestCertificate) -> Certificate {
        Certificate::from_der(&draft.der()).expect("parses")
    }

    #[test]
    fn self_signatures_are_verified_where_ring_can() {
        assert_eq!(parse(&TestCertificate::default()).self_signature(), SelfSignature::Valid);
        assert_eq!(
            parse(&TestCertificate { signed: false, ..TestCertificate::default() }).self_signature(),
            SelfSignature::Invalid
        );
        // An ECDSA signature on an RSA key, and the other way round.
        for draft in [
            TestCertificate { public_key: Some(rsa_key(2048)), ..TestCertificate::default() },
            TestCertificate { signature: "1.2.840.113549.1.1.11", ..TestCertificate::default() },
            TestCertificate {
                signature: "1.2.840.113549.1.1.11",
                public_key: Some(rsa_key(4096)),
                ..TestCertificate::default()
            },
        ] {
            assert_eq!(parse(&draft).self_signature(), SelfSignature::Invalid);
        }
        // Unsupported by ring: the key identifiers decide.
        let unknown = TestCertificate { signature: "2.16.840.1.101.3.4.3.17", ..TestCertificate::default() };
        assert_eq!(parse(&unknown).self_signature(), SelfSignature::NotChecked);
        let subject = tlv(0x04, b"mine");
        for (authority, wanted) in
            [(&b"mine"[..], SelfSignature::NotChecked), (b"other", SelfSignature::Invalid)]
        {
            let draft = unknown
                .clone()
                .with("2.5.29.14", subject.clone())
                .with("2.5.29.35", sequence(&[&tlv(0x80, authority)]));
            assert_eq!(parse(&draft).self_signature(), wanted);
        }
        for bits in [1024, 16384] {
            let draft = TestCertificate {
                signature: "1.2.840.113549.1.1.11",
                public_key: Some(rsa_key(bits)),
                ..TestCertificate::default()
            };
            assert_eq!(parse(&draft).self_signature(), SelfSignature::NotChecked, "{bits}");
        }
    }

    #[test]
    fn no_root_of_the_web_pki_is_refused() {
        let verdicts: Vec<SelfSignature> = TLS_SERVER_ROOT_CERTS
            .iter()
            .map(|der| Certificate::from_der(der).expect("a root").self_signature())
            .collect();
        assert!(!verdicts.contains(&SelfSignature::Invalid));
        let valid = verdicts.iter().filter(|verdict| **verdict == SelfSignature::Valid).count();
        assert!(valid * 10 > verdicts.len() * 9, "{valid} of {}", verdicts.len());
    }
}
