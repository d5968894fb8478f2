//! Public keys: SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7, RFC 3279, RFC 5480, RFC 8410), and signatures checked.

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};

use crate::pki::cert::der::{self, DerReader};

/// Content of the OBJECT IDENTIFIERs of kinds of keys and of curves.
pub(super) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
pub(super) const ED25519_OID: &[u8] = &[0x2b, 0x65, 0x70];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];

/// NIST's curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// P-256.
    P256,
    /// P-384.
    P384,
}

impl Curve {
    /// Bytes of a coordinate, and of the private number.
    pub(crate) fn size(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
        }
    }

    /// NIST's name, which JWK uses.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Curve::P256 => "P-256",
            Curve::P384 => "P-384",
        }
    }

    /// By NIST's name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Curve::P256, Curve::P384].into_iter().find(|curve| curve.name() == name)
    }

    pub(super) fn oid(self) -> &'static [u8] {
        match self {
            Curve::P256 => P256,
            Curve::P384 => P384,
        }
    }

    pub(super) fn from_oid(oid: &[u8]) -> Option<Self> {
        [Curve::P256, Curve::P384].into_iter().find(|curve| curve.oid() == oid)
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// For ECDSA.
    Ec {
        /// The curve.
        curve: Curve,
        /// The point, uncompressed (SEC 1 section 2.3.3): 4, x, y.
        point: Vec<u8>,
    },
    /// For RSA.
    Rsa {
        /// The modulus, big-endian, without leading zeros.
        modulus: Vec<u8>,
        /// The public exponent, likewise.
        exponent: Vec<u8>,
    },
    /// For Ed25519.
    Ed25519 {
        /// 32 bytes.
        bytes: Vec<u8>,
    },
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo; `None` if it is damaged or of another kind.
    pub(crate) fn from_der(info: &[u8]) -> Option<Self> {
        let mut fields = DerReader::new(der::only(info, der::SEQUENCE)?.body);
        let mut algorithm = DerReader::new(fields.take(der::SEQUENCE)?.body);
        let kind = algorithm.take(der::OID)?.body;
        let bits = fields.take(der::BIT_STRING).filter(|_| fields.is_empty())?;
        let (unused, key) = bits.body.split_first()?;
        if *unused != 0 {
            return None;
        }
        match kind {
            EC => Self::from_point(Curve::from_oid(algorithm.take(der::OID)?.body)?, key),
            RSA => Self::from_rsa_der(key),
            ED25519_OID if key.len() == 32 => Some(PublicKey::Ed25519 { bytes: key.to_vec() }),
            _ => None,
        }
    }

    /// An uncompressed point.
    pub(crate) fn from_point(curve: Curve, point: &[u8]) -> Option<Self> {
        let whole = point.len() == 1 + 2 * curve.size() && point[0] == 4;
        whole.then(|| PublicKey::Ec { curve, point: point.to_vec() })
    }

    /// PKCS#1's RSAPublicKey.
    pub(super) fn from_rsa_der(key: &[u8]) -> Option<Self> {
        let mut numbers = DerReader::new(der::only(key, der::SEQUENCE)?.body);
        let (modulus, exponent) = (numbers.take(der::INTEGER)?, numbers.take(der::INTEGER)?);
        let bare = |number: &[u8]| {
            let zeros = number.iter().take_while(|byte| **byte == 0).count();
            number[zeros..].to_vec()
        };
        let key = PublicKey::Rsa { modulus: bare(modulus.body), exponent: bare(exponent.body) };
        (numbers.is_empty() && key.rsa_bits() > Some(0)).then_some(key)
    }

    /// SubjectPublicKeyInfo.
    pub(crate) fn to_der(&self) -> Vec<u8> {
        let key = match self {
            PublicKey::Ec { point: bytes, .. } | PublicKey::Ed25519 { bytes } => bytes.clone(),
            PublicKey::Rsa { modulus, exponent } => {
                let numbers = [modulus, exponent].map(|number| der::unsigned_bytes(number)).concat();
                der::element(der::SEQUENCE, &numbers)
            }
        };
        let bits = der::element(der::BIT_STRING, &[&[0], &key[..]].concat());
        der::element(der::SEQUENCE, &[self.algorithm_der(), bits].concat())
    }

    /// AlgorithmIdentifier.
    pub(super) fn algorithm_der(&self) -> Vec<u8> {
        let (kind, parameters) = match self {
            PublicKey::Ec { curve, .. } => (EC, der::element(der::OID, curve.oid())),
            PublicKey::Rsa { .. } => (RSA, der::element(der::NULL, &[])),
            PublicKey::Ed25519 { .. } => (ED25519_OID, Vec::new()),
        };
        der::element(der::SEQUENCE, &[der::element(der::OID, kind), parameters].concat())
    }

    /// The content of the BIT STRING of `info`, this key's SubjectPublicKeyInfo.
    pub(crate) fn bit_string_of<'a>(&self, info: &'a [u8]) -> &'a [u8] {
        let bits = || {
            let mut fields = DerReader::new(der::only(info, der::SEQUENCE)?.body);
            fields.take(der::SEQUENCE)?;
            fields.take(der::BIT_STRING)?.body.get(1..)
        };
        bits().unwrap_or_default()
    }

    /// rcgen's name for it.
    pub(crate) fn rcgen_algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self {
            PublicKey::Ec { curve: Curve::P256, .. } => &rcgen::PKCS_ECDSA_P256_SHA256,
            PublicKey::Ec { curve: Curve::P384, .. } => &rcgen::PKCS_ECDSA_P384_SHA384,
            PublicKey::Rsa { .. } => &rcgen::PKCS_RSA_SHA256,
            PublicKey::Ed25519 { .. } => &rcgen::PKCS_ED25519,
        }
    }

    /// Size of the modulus, if it is an RSA key.
    pub(crate) fn rsa_bits(&self) -> Option<usize> {
        let PublicKey::Rsa { modulus, .. } = self else { return None };
        Some(modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize))
    }

    /// The algorithm that JWS signs with under this key (RFC 7518 section 3.1, RFC 8037 section 3.1).
    pub(crate) fn jws_algorithm(&self) -> &'static str {
        match self {
            PublicKey::Ec { curve: Curve::P256, .. } => "ES256",
            PublicKey::Ec { curve: Curve::P384, .. } => "ES384",
            PublicKey::Rsa { .. } => "RS256",
            PublicKey::Ed25519 { .. } => "EdDSA",
        }
    }

    /// Whether `signature`, in the form that [`super::PrivateKey::sign`] gives, is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let done = match self {
            PublicKey::Ec { curve: Curve::P256, point } => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            PublicKey::Ec { curve: Curve::P384, point } => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(message, signature)
            }
            PublicKey::Ed25519 { bytes } => {
                UnparsedPublicKey::new(&ED25519, bytes).verify(message, signature)
            }
            PublicKey::Rsa { modulus, exponent } => RsaPublicKeyComponents { n: modulus, e: exponent }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
        };
        done.is_ok()
    }

    /// For people.
    pub(crate) fn describe(&self) -> String {
        match self {
            PublicKey::Ec { curve, .. } => format!("EC {}", curve.name()),
            PublicKey::Rsa { .. } => format!("RSA {}", self.rsa_bits().unwrap_or_default()),
            PublicKey::Ed25519 { .. } => "Ed25519".to_owned(),
        }
    }
}
