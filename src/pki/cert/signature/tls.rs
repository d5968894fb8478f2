//! The signature algorithms of TLS handshakes and of chains: ring's, and those that ring lacks. SHA-1 is not among them.

use rustls::SignatureScheme;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use webpki::ring as of_ring;

use super::ecdsa::{self, EcCurve};
use super::rsa::{self, PssParameters};
use super::{Hash, SignatureVerdict};
use crate::pki::cert::key_form;

/// One that ring lacks.
#[derive(Debug)]
struct Added {
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    how: How,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Ecdsa(EcCurve, Hash),
    /// With a salt as long as the hash, which is what the AlgorithmIdentifier of the signature says.
    Pss(Hash, usize),
}

impl SignatureVerificationAlgorithm for Added {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let is_valid = match self.how {
            How::Ecdsa(curve, hash) => ecdsa::verify(curve, public_key, &hash.digest(message), signature),
            How::Pss(hash, salt) => {
                // Smaller keys are judged elsewhere, and are in no chain (as with ring).
                let bits =
                    key_form::rsa_numbers(public_key).map_or(0, |(modulus, _)| key_form::bits(modulus));
                let verdict = rsa::verify_pss(public_key, &PssParameters { hash, salt }, message, signature);
                bits >= 2048 && verdict == SignatureVerdict::Valid
            }
        };
        if is_valid { Ok(()) } else { Err(InvalidSignature) }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

const fn ec(key: AlgorithmIdentifier, curve: EcCurve, signature: AlgorithmIdentifier, hash: Hash) -> Added {
    Added { key, signature, how: How::Ecdsa(curve, hash) }
}

static P256_SHA512: Added = ec(alg_id::ECDSA_P256, EcCurve::P256, alg_id::ECDSA_SHA512, Hash::Sha512);
static P384_SHA512: Added = ec(alg_id::ECDSA_P384, EcCurve::P384, alg_id::ECDSA_SHA512, Hash::Sha512);
static P521_SHA256: Added = ec(alg_id::ECDSA_P521, EcCurve::P521, alg_id::ECDSA_SHA256, Hash::Sha256);
static P521_SHA384: Added = ec(alg_id::ECDSA_P521, EcCurve::P521, alg_id::ECDSA_SHA384, Hash::Sha384);
static P521_SHA512: Added = ec(alg_id::ECDSA_P521, EcCurve::P521, alg_id::ECDSA_SHA512, Hash::Sha512);

/// id-RSASSA-PSS without parameters: such a key may sign with any (RFC 4055 section 3.3). The content of the SEQUENCE,
/// as webpki compares it.
const PSS_KEY: AlgorithmIdentifier =
    AlgorithmIdentifier::from_slice(&[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10]);

const fn pss(key: AlgorithmIdentifier, signature: AlgorithmIdentifier, hash: Hash, salt: usize) -> Added {
    Added { key, signature, how: How::Pss(hash, salt) }
}

static PSS_SHA256: Added = pss(PSS_KEY, alg_id::RSA_PSS_SHA256, Hash::Sha256, 32);
static PSS_SHA384: Added = pss(PSS_KEY, alg_id::RSA_PSS_SHA384, Hash::Sha384, 48);
static PSS_SHA512: Added = pss(PSS_KEY, alg_id::RSA_PSS_SHA512, Hash::Sha512, 64);
/// Keys that may sign with these parameters only.
static PSS_SHA256_ONLY: Added = pss(alg_id::RSA_PSS_SHA256, alg_id::RSA_PSS_SHA256, Hash::Sha256, 32);
static PSS_SHA384_ONLY: Added = pss(alg_id::RSA_PSS_SHA384, alg_id::RSA_PSS_SHA384, Hash::Sha384, 48);
static PSS_SHA512_ONLY: Added = pss(alg_id::RSA_PSS_SHA512, alg_id::RSA_PSS_SHA512, Hash::Sha512, 64);

/// For chains.
pub(crate) static ALL: &[&dyn SignatureVerificationAlgorithm] = &[
    of_ring::ECDSA_P256_SHA256,
    of_ring::ECDSA_P256_SHA384,
    of_ring::ECDSA_P384_SHA256,
    of_ring::ECDSA_P384_SHA384,
    of_ring::ED25519,
    of_ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    of_ring::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    of_ring::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
    of_ring::RSA_PKCS1_2048_8192_SHA256,
    of_ring::RSA_PKCS1_2048_8192_SHA384,
    of_ring::RSA_PKCS1_2048_8192_SHA512,
    of_ring::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
    of_ring::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
    of_ring::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    &P256_SHA512,
    &P384_SHA512,
    &P521_SHA256,
    &P521_SHA384,
    &P521_SHA512,
    &PSS_SHA256,
    &PSS_SHA384,
    &PSS_SHA512,
    &PSS_SHA256_ONLY,
    &PSS_SHA384_ONLY,
    &PSS_SHA512_ONLY,
];

/// For TLS. In TLS 1.3 a scheme fixes the curve, and the first algorithm counts; in TLS 1.2 any of them does (RFC 8446
/// section 4.2.3).
pub(crate) static SUPPORTED: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: ALL,
    mapping: &[
        (
            SignatureScheme::ECDSA_NISTP384_SHA384,
            &[of_ring::ECDSA_P384_SHA384, of_ring::ECDSA_P256_SHA384, &P521_SHA384],
        ),
        (
            SignatureScheme::ECDSA_NISTP256_SHA256,
            &[of_ring::ECDSA_P256_SHA256, of_ring::ECDSA_P384_SHA256, &P521_SHA256],
        ),
        (SignatureScheme::ECDSA_NISTP521_SHA512, &[&P521_SHA512, &P384_SHA512, &P256_SHA512]),
        (SignatureScheme::ED25519, &[of_ring::ED25519]),
        (SignatureScheme::RSA_PSS_SHA512, &[of_ring::RSA_PSS_2048_8192_SHA512_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA384, &[of_ring::RSA_PSS_2048_8192_SHA384_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA256, &[of_ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY]),
        (SignatureScheme::RSA_PKCS1_SHA512, &[of_ring::RSA_PKCS1_2048_8192_SHA512]),
        (SignatureScheme::RSA_PKCS1_SHA384, &[of_ring::RSA_PKCS1_2048_8192_SHA384]),
        (SignatureScheme::RSA_PKCS1_SHA256, &[of_ring::RSA_PKCS1_2048_8192_SHA256]),
    ],
};
