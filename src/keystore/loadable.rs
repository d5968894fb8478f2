//! Whether Java can load a certificate. `KeyStore.load` gives up at the first one that it cannot parse: one such entry
//! makes a whole keystore unreadable (threat T39). Stricter than Java where that costs no real root.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use crate::cert::Certificate;

/// Elliptic curves that every Java since 8 knows by name: P-256, P-384, P-521.
const CURVES: [&str; 3] = ["1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"];
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
/// A SEQUENCE without elements.
const EMPTY_NAME: [u8; 2] = [0x30, 0];

/// Why Java cannot load it.
///
/// # Errors
/// The reason, in a form that follows "Java cannot load it:".
pub fn check(certificate: &Certificate) -> Result<(), &'static str> {
    if certificate.subject_der() == EMPTY_NAME || certificate.issuer_der() == EMPTY_NAME {
        return Err("its subject or issuer is empty");
    }
    let (rest, parsed) = X509Certificate::from_der(certificate.der()).map_err(|_| "it cannot be parsed")?;
    if !rest.is_empty() {
        return Err("bytes follow the certificate");
    }
    let key = parsed.public_key();
    if key.algorithm.algorithm.to_id_string() == EC_PUBLIC_KEY {
        let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
        if !curve.is_some_and(|curve| CURVES.contains(&curve.to_id_string().as_str())) {
            return Err("its key is on an elliptic curve that Java does not know by name");
        }
    }
    for extension in parsed.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::ParseError { .. } => return Err("one of its extensions is malformed"),
            ParsedExtension::NameConstraints(constraints) => {
                let trees = constraints.permitted_subtrees.iter().chain(&constraints.excluded_subtrees);
                let has_scheme =
                    |name: &GeneralName| matches!(name, GeneralName::URI(uri) if uri.contains(':'));
                if trees.flatten().any(|tree| has_scheme(&tree.base)) {
                    return Err("a URI in its name constraints has a scheme");
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    };

    use super::*;

    fn certificate(algorithm: &'static rcgen::SignatureAlgorithm, name: Option<&str>) -> Certificate {
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = name {
            parameters.distinguished_name.push(DnType::CommonName, name);
        }
        let key = KeyPair::generate_for(algorithm).unwrap();
        Certificate::from_der(parameters.self_signed(&key).unwrap().der()).unwrap()
    }

    /// The object identifier of `curve` in the DER, replaced by one of the same length.
    fn with_curve(certificate: &Certificate, from: &[u8], to: &[u8]) -> Certificate {
        let der = certificate.der();
        let at = der.windows(from.len()).position(|window| window == from).expect("the curve");
        Certificate::from_der(&[&der[..at], to, &der[at + from.len()..]].concat()).unwrap()
    }

    #[test]
    fn known_curves_and_names_pass_and_others_do_not() {
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            assert_eq!(check(&certificate(algorithm, Some("Root"))), Ok(()));
        }
        assert!(check(&certificate(&PKCS_ECDSA_P256_SHA256, None)).is_err());
        // secp384r1 -> secp256k1 (1.3.132.0.10), which Java removed.
        let root = certificate(&PKCS_ECDSA_P384_SHA384, Some("Root"));
        let [from, to] = [34, 10].map(|last| [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, last]);
        assert!(check(&with_curve(&root, &from, &to)).is_err());
    }
}
