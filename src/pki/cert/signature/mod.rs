//! Signatures of X.509 (certificates, certificate signing requests): verified with any key and hash that common CAs use.
//! ring verifies what it can; RustCrypto the rest (docs/decisions/0033-signatures-that-ring-lacks.md): P-521, ECDSA
//! with SHA-512 or SHA-1, RSA keys of other sizes, RSASSA-PSS with any salt.
//!
//! [`verify`] judges a signature and nothing else: it knows hashes that nobody should rely on (SHA-1), because other
//! programs still accept them. What chains may use is [`tls::ALL`], which has no SHA-1.

use super::Certificate;
use super::der::{self, DerReader, Tlv};
use super::key_form::{self, PublicKeyInfo};
use super::name;

mod ecdsa;
mod rsa;
pub(crate) mod tls;

pub(crate) use ecdsa::EcCurve;

/// Whether a signature was made with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignatureVerdict {
    /// It was.
    Valid,
    /// It was not.
    Invalid,
    /// It cannot be verified here: the name of the algorithm or of the kind of key, such as `Ed448`.
    Unsupported(String),
}

impl SignatureVerdict {
    fn of(is_valid: bool) -> Self {
        if is_valid { SignatureVerdict::Valid } else { SignatureVerdict::Invalid }
    }
}

/// The hash functions of signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    /// Broken: only to judge what other programs do.
    Sha1,
    /// 28 bytes.
    Sha224,
    /// 32 bytes.
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes.
    Sha512,
}

impl Hash {
    fn digest(self, message: &[u8]) -> Vec<u8> {
        use sha2::Digest as _;
        match self {
            Hash::Sha1 => sha1::Sha1::digest(message).to_vec(),
            Hash::Sha224 => sha2::Sha224::digest(message).to_vec(),
            Hash::Sha256 => sha2::Sha256::digest(message).to_vec(),
            Hash::Sha384 => sha2::Sha384::digest(message).to_vec(),
            Hash::Sha512 => sha2::Sha512::digest(message).to_vec(),
        }
    }

    /// The content of its OBJECT IDENTIFIER.
    fn oid(self) -> &'static [u8] {
        match self {
            Hash::Sha1 => &[0x2b, 14, 3, 2, 26],
            Hash::Sha224 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 4],
            Hash::Sha256 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1],
            Hash::Sha384 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2],
            Hash::Sha512 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3],
        }
    }

    fn from_oid(oid: &[u8]) -> Option<Hash> {
        [Hash::Sha1, Hash::Sha224, Hash::Sha256, Hash::Sha384, Hash::Sha512]
            .into_iter()
            .find(|hash| hash.oid() == oid)
    }
}

/// What an AlgorithmIdentifier of a signature stands for.
#[derive(Clone, Copy, Debug)]
enum Scheme {
    Pkcs1(Hash),
    Pss(rsa::PssParameters),
    Ecdsa(Hash),
    Ed25519,
}

/// RFC 8017 appendix A.2, RFC 4055 section 5, RFC 5758 section 3.2, RFC 8410 section 3.
fn scheme(identifier: &Tlv<'_>) -> Option<Scheme> {
    let (oid, parameters) = key_form::algorithm(identifier)?;
    Some(match oid {
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, number] => match number {
            5 => Scheme::Pkcs1(Hash::Sha1),
            10 => Scheme::Pss(rsa::PssParameters::of(parameters)?),
            11 => Scheme::Pkcs1(Hash::Sha256),
            12 => Scheme::Pkcs1(Hash::Sha384),
            13 => Scheme::Pkcs1(Hash::Sha512),
            14 => Scheme::Pkcs1(Hash::Sha224),
            _ => return None,
        },
        // The OIW's name for RSA with SHA-1.
        [0x2b, 14, 3, 2, 29] => Scheme::Pkcs1(Hash::Sha1),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1] => Scheme::Ecdsa(Hash::Sha1),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, number] => match number {
            1 => Scheme::Ecdsa(Hash::Sha224),
            2 => Scheme::Ecdsa(Hash::Sha256),
            3 => Scheme::Ecdsa(Hash::Sha384),
            4 => Scheme::Ecdsa(Hash::Sha512),
            _ => return None,
        },
        key_form::id::ED25519 => Scheme::Ed25519,
        _ => return None,
    })
}

/// Verifies the signature of `signed`, a whole SIGNED structure in DER (X.509: a certificate, RFC 2986: a request), with
/// a SubjectPublicKeyInfo in DER.
pub fn verify(signed: &[u8], public_key: &[u8]) -> SignatureVerdict {
    let Some(parts) = Signed::of(signed) else {
        return SignatureVerdict::Unsupported("a malformed structure".to_owned());
    };
    let Some(key) = der::only(public_key, der::SEQUENCE).and_then(|info| PublicKeyInfo::of(&info)) else {
        return SignatureVerdict::Unsupported("a malformed public key".to_owned());
    };
    let Some(scheme) = scheme(&parts.algorithm) else {
        let oid = key_form::algorithm(&parts.algorithm).map_or(&[][..], |(oid, _)| oid);
        return SignatureVerdict::Unsupported(algorithm_name(oid));
    };
    let is_rsa = [key_form::id::RSA, key_form::id::RSA_PSS].contains(&key.algorithm);
    match scheme {
        Scheme::Pkcs1(hash) if key.algorithm == key_form::id::RSA => {
            rsa::verify_pkcs1(key.bytes, hash, parts.message, parts.signature)
        }
        Scheme::Pss(parameters) if is_rsa => {
            // RFC 4055 section 3.3: a key of this kind may narrow what it signs with.
            let narrowed = key.parameters.filter(|_| key.algorithm == key_form::id::RSA_PSS);
            match narrowed.map(|narrowed| rsa::PssParameters::of(Some(narrowed))) {
                Some(None) => SignatureVerdict::Unsupported("RSASSA-PSS with unusual parameters".to_owned()),
                Some(Some(narrowed)) if !narrowed.allow(&parameters) => SignatureVerdict::Invalid,
                _ => rsa::verify_pss(key.bytes, &parameters, parts.message, parts.signature),
            }
        }
        Scheme::Ecdsa(hash) if key.algorithm == key_form::id::EC => {
            let oid =
                key.parameters.filter(|curve| curve.tag == der::OID).map_or(&[][..], |curve| curve.body);
            match EcCurve::from_oid(oid) {
                Some(curve) => SignatureVerdict::of(ecdsa::verify(
                    curve,
                    key.bytes,
                    &hash.digest(parts.message),
                    parts.signature,
                )),
                None => SignatureVerdict::Unsupported(format!("ECDSA on the curve {}", name::dotted(oid))),
            }
        }
        Scheme::Ed25519 if key.algorithm == key_form::id::ED25519 => {
            let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key.bytes);
            SignatureVerdict::of(key.verify(parts.message, parts.signature).is_ok())
        }
        // A key of another kind did not make it.
        _ => SignatureVerdict::Invalid,
    }
}

impl Certificate {
    /// Whether `issuer`'s key made this certificate's signature; names and validity are not compared.
    pub(crate) fn signature_by(&self, issuer: &Certificate) -> SignatureVerdict {
        verify(self.der(), issuer.public_key())
    }
}

/// The name of what this key (a SubjectPublicKeyInfo, DER) signs with, if [`verify`] cannot verify it.
pub(crate) fn unsupported_key(public_key: &[u8]) -> Option<String> {
    let key = PublicKeyInfo::of(&der::only(public_key, der::SEQUENCE)?)?;
    match key.algorithm {
        key_form::id::RSA | key_form::id::RSA_PSS | key_form::id::ED25519 => None,
        key_form::id::EC => {
            let curve = key.parameters.map_or(&[][..], |curve| curve.body);
            let is_known = EcCurve::from_oid(curve).is_some();
            (!is_known).then(|| format!("ECDSA on the curve {}", name::dotted(curve)))
        }
        key_form::id::DSA | key_form::id::DSA_OF_JAVA => Some("DSA".to_owned()),
        other => Some(algorithm_name(other)),
    }
}

/// SIGNED: what is signed, how, and the signature.
struct Signed<'a> {
    message: &'a [u8],
    algorithm: Tlv<'a>,
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    fn of(bytes: &'a [u8]) -> Option<Signed<'a>> {
        let mut parts = DerReader::new(der::only(bytes, der::SEQUENCE)?.body);
        let message = parts.take(der::SEQUENCE)?.raw;
        let algorithm = parts.take(der::SEQUENCE)?;
        let [0, signature @ ..] = parts.take(der::BIT_STRING).filter(|_| parts.is_empty())?.body else {
            return None;
        };
        Some(Signed { message, algorithm, signature })
    }
}

/// The name of a way to sign that no chain may use: the contents of the AlgorithmIdentifiers of a signature and, if that
/// is what does not fit, of the key.
pub(crate) fn unusable_name(signature: &[u8], key: Option<&[u8]>) -> String {
    let oid =
        |content: &[u8]| DerReader::new(content).take(der::OID).map_or(&[][..], |oid| oid.body).to_vec();
    let curve = key.and_then(|key| {
        let mut parts = DerReader::new(key);
        parts.take(der::OID).filter(|algorithm| algorithm.body == key_form::id::EC)?;
        parts.take(der::OID)
    });
    match curve.filter(|curve| EcCurve::from_oid(curve.body).is_none()) {
        Some(curve) => format!("ECDSA on the curve {}", name::dotted(curve.body)),
        None => algorithm_name(&oid(signature)),
    }
}

/// An algorithm's name for people, from the content of its OBJECT IDENTIFIER; the numbers of one without a name here.
fn algorithm_name(oid: &[u8]) -> String {
    let name = match oid {
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 2] => "RSA with MD2",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 3] => "RSA with MD4",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4] => "RSA with MD5",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5] | [0x2b, 14, 3, 2, 29] => "RSA with SHA-1",
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1] => "ECDSA with SHA-1",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10] => "RSASSA-PSS with unusual parameters",
        [0x2a, 0x86, 0x48, 0xce, 0x38, 4, 3] | [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 1 | 2] => "DSA",
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 17] => "ML-DSA-44",
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 18] => "ML-DSA-65",
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 19] => "ML-DSA-87",
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 20..=31] => "SLH-DSA",
        key_form::id::ED448 => "Ed448",
        [0x2a, 0x81, 0x1c, 0xcf, 0x55, 1, 0x83, 0x75] => "SM2 with SM3",
        other => return format!("the algorithm {}", name::dotted(other)),
    };
    name.to_owned()
}
