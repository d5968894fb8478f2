//! Is a certificate signed with its own key? Distinguishes a root from a cross-certificate with the same name, and from
//! a damaged file that still parses. It adds no trust: anyone can sign their own certificate.

use super::Certificate;
use super::signature::SignatureVerdict;

/// Whether a certificate is signed with its own key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SelfSignature {
    /// It is.
    Valid,
    /// Its signature was not made with its own key.
    Invalid,
    /// An algorithm that is not verified here (MD5, Ed448); the key identifiers do not contradict it.
    NotChecked,
}

impl Certificate {
    /// Whether the certificate is signed with its own key. Costs a signature check: not for every root of a bundle that
    /// is only inspected.
    pub(crate) fn self_signature(&self) -> SelfSignature {
        match self.signature_by(self) {
            SignatureVerdict::Valid => SelfSignature::Valid,
            SignatureVerdict::Invalid => SelfSignature::Invalid,
            // OpenSSL's criterion: it never verifies a root's own signature.
            SignatureVerdict::Unsupported(_) => match (&self.0.authority_key_id, &self.0.subject_key_id) {
                (Some(authority), Some(subject)) if authority != subject => SelfSignature::Invalid,
                _ => SelfSignature::NotChecked,
            },
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
    fn self_signatures_are_verified() {
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
        // Not verified here (ML-DSA): the key identifiers decide.
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
        // Of sizes that ring refuses, and no key: the modulus is even.
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
