//! Private keys: made, read (PKCS#8, SEC 1, PKCS#1 as PEM; JWK), written as PKCS#8, and used to sign.
//!
//! A [`PrivateKey`] exists only if its two halves belong together. Its bytes are wiped when it is dropped; the copy
//! that ring uses during a signature is freed, not wiped. Nothing here reads or writes files, and no error or `Debug`
//! holds a byte of a key.

mod public;
mod read;
mod rsa;
#[cfg(test)]
mod tests;

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, DnType};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::pki::cert::{SubjectAltName, der, pem};
use crate::random;
use crate::text;

pub(crate) use self::public::Curve;
pub use self::public::PublicKey;

/// What can be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum KeyType {
    /// ECDSA on NIST's P-256: every client reads it.
    #[value(name = "ec-p256")]
    #[default]
    EcP256,
    /// ECDSA on NIST's P-384.
    #[value(name = "ec-p384")]
    EcP384,
    /// RSA with 2048 bits.
    #[value(name = "rsa-2048")]
    Rsa2048,
    /// RSA with 4096 bits.
    #[value(name = "rsa-4096")]
    Rsa4096,
    /// Ed25519 (RFC 8032); few TLS clients read it.
    #[value(name = "ed25519")]
    Ed25519,
}

impl KeyType {
    /// All of them.
    pub const ALL: [KeyType; 5] =
        [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048, KeyType::Rsa4096, KeyType::Ed25519];

    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            KeyType::EcP256 => "ec-p256",
            KeyType::EcP384 => "ec-p384",
            KeyType::Rsa2048 => "rsa-2048",
            KeyType::Rsa4096 => "rsa-4096",
            KeyType::Ed25519 => "ed25519",
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A private key with its public half.
pub struct PrivateKey {
    /// PKCS#8 as [`PrivateKey::new`] writes it: ring reads it unchanged.
    pkcs8: Zeroizing<Vec<u8>>,
    public: PublicKey,
    /// SubjectPublicKeyInfo.
    public_der: Vec<u8>,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public.describe())
    }
}

impl PrivateKey {
    /// Makes one.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate(kind: KeyType) -> Result<Self> {
        match kind {
            KeyType::EcP256 => Self::generate_ec(Curve::P256),
            KeyType::EcP384 => Self::generate_ec(Curve::P384),
            KeyType::Rsa2048 => Self::from_pkcs1(&rsa::generate(2048)?),
            KeyType::Rsa4096 => Self::from_pkcs1(&rsa::generate(4096)?),
            KeyType::Ed25519 => {
                let mut seed = Zeroizing::new([0; 32]);
                random::fill(seed.as_mut_slice())?;
                Self::from_seed(seed.as_slice(), None)
            }
        }
    }

    /// Reads the private key of a PEM file; certificates and parameters beside it are skipped.
    ///
    /// # Errors
    /// None or several, encrypted, damaged, of a kind that is not supported.
    pub fn from_pem(bytes: &[u8]) -> Result<Self> {
        read::pem(bytes)
    }

    /// Reads a private JWK (RFC 7517).
    ///
    /// # Errors
    /// Public or symmetric, damaged, of a kind that is not supported.
    pub fn from_jwk(json: &[u8]) -> Result<Self> {
        read::jwk(json)
    }

    /// PKCS#8 (RFC 5208, version 0: what every program reads) as PEM.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem::armor("PRIVATE KEY", &self.pkcs8))
    }

    /// The same as DER, for TLS.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// SubjectPublicKeyInfo, DER: equal to that of the key's certificates.
    pub fn public_key(&self) -> &[u8] {
        &self.public_der
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The type, if it is one that can be made (an RSA key of 3072 bits can only be read).
    pub fn key_type(&self) -> Option<KeyType> {
        match &self.public {
            PublicKey::Ec { curve: Curve::P256, .. } => Some(KeyType::EcP256),
            PublicKey::Ec { curve: Curve::P384, .. } => Some(KeyType::EcP384),
            PublicKey::Ed25519 { .. } => Some(KeyType::Ed25519),
            PublicKey::Rsa { .. } => match self.public.rsa_bits() {
                Some(2048) => Some(KeyType::Rsa2048),
                Some(4096) => Some(KeyType::Rsa4096),
                _ => None,
            },
        }
    }

    /// Signs as JWS requires (RFC 7518 section 3, RFC 8037): ECDSA as r and s, RSA as PKCS#1 v1.5 with SHA-256.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        self.sign_as(message, false)
    }

    /// A certificate signing request (PKCS#10, RFC 2986), DER; the subject is empty except for `common_name`.
    ///
    /// # Errors
    /// A name that is not ASCII.
    pub fn csr(&self, names: &[SubjectAltName], common_name: Option<&str>) -> Result<Vec<u8>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        let refused = |error: rcgen::Error| {
            Error::failed("could not create the certificate signing request").because(error)
        };
        let names = names.iter().map(SubjectAltName::to_rcgen).collect::<Result<_, _>>();
        params.subject_alt_names = names.map_err(refused)?;
        let request = params.serialize_request(self).map_err(refused)?;
        Ok(request.der().to_vec())
    }

    fn generate_ec(curve: Curve) -> Result<Self> {
        let made = EcdsaKeyPair::generate_pkcs8(ec_algorithm(curve, false), &random::source())
            .map_err(random::unavailable)?;
        // Re-encoded, so that all keys have one form.
        read::pkcs8(made.as_ref())
    }

    /// An EC key from its number and its point (uncompressed, SEC 1).
    fn from_ec(curve: Curve, scalar: &[u8], point: &[u8]) -> Result<Self> {
        let algorithm = ec_algorithm(curve, false);
        EcdsaKeyPair::from_private_key_and_public_key(algorithm, scalar, point, &random::source())
            .map_err(|error| rejected(&error))?;
        let public = PublicKey::Ec { curve, point: point.to_vec() };
        let number = Zeroizing::new(der::element(der::OCTET_STRING, scalar));
        let version = der::unsigned(1);
        let bits = der::element(der::CONTEXT_1, &der::element(der::BIT_STRING, &[&[0], point].concat()));
        let key = secret_sequence(&[&version, &number, &bits]);
        Ok(PrivateKey::new(public, &key))
    }

    fn from_seed(seed: &[u8], public: Option<&[u8]>) -> Result<Self> {
        let pair = match public {
            Some(public) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
            None => Ed25519KeyPair::from_seed_unchecked(seed),
        };
        let pair = pair.map_err(|error| rejected(&error))?;
        let public = PublicKey::Ed25519 { bytes: pair.public_key().as_ref().to_vec() };
        let key = Zeroizing::new(der::element(der::OCTET_STRING, seed));
        Ok(PrivateKey::new(public, &key))
    }

    /// An RSA key from PKCS#1's RSAPrivateKey (RFC 8017 appendix A.1.2).
    fn from_pkcs1(pkcs1: &[u8]) -> Result<Self> {
        let pair = RsaKeyPair::from_der(pkcs1).map_err(|error| match error.to_string().as_str() {
            "TooSmall" | "TooLarge" => Error::unsupported(
                "the RSA key has less than 2048 or more than 4096 bits",
            )
            .hint(
                "generate another: `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem`",
            ),
            _ => rejected(&error),
        })?;
        let public = PublicKey::from_rsa_der(pair.public().as_ref())
            .ok_or_else(|| Error::failed("the public half of the RSA key cannot be read"))?;
        Ok(PrivateKey::new(public, pkcs1))
    }

    /// `key` is what PKCS#8 wraps.
    fn new(public: PublicKey, key: &[u8]) -> Self {
        let key = Zeroizing::new(der::element(der::OCTET_STRING, key));
        let pkcs8 = secret_sequence(&[&der::unsigned(0), &public.algorithm_der(), &key]);
        PrivateKey { pkcs8, public_der: public.to_der(), public }
    }

    fn sign_as(&self, message: &[u8], asn1: bool) -> Result<Vec<u8>> {
        let source = random::source();
        match &self.public {
            PublicKey::Ec { curve, .. } => {
                let pair = EcdsaKeyPair::from_pkcs8(ec_algorithm(*curve, asn1), &self.pkcs8, &source)
                    .map_err(|error| rejected(&error))?;
                Ok(pair.sign(&source, message).map_err(random::unavailable)?.as_ref().to_vec())
            }
            PublicKey::Ed25519 { .. } => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&self.pkcs8)
                    .map_err(|error| rejected(&error))?;
                Ok(pair.sign(message).as_ref().to_vec())
            }
            PublicKey::Rsa { .. } => {
                let pair = RsaKeyPair::from_pkcs8(&self.pkcs8).map_err(|error| rejected(&error))?;
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &source, message, &mut signature)
                    .map_err(random::unavailable)?;
                Ok(signature)
            }
        }
    }
}

/// For rcgen, which writes certificate signing requests.
impl rcgen::PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        self.public.bit_string_of(&self.public_der)
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.public.rcgen_algorithm()
    }
}

impl rcgen::SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.sign_as(message, true).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

fn ec_algorithm(curve: Curve, asn1: bool) -> &'static EcdsaSigningAlgorithm {
    match (curve, asn1) {
        (Curve::P256, false) => &ECDSA_P256_SHA256_FIXED_SIGNING,
        (Curve::P256, true) => &ECDSA_P256_SHA256_ASN1_SIGNING,
        (Curve::P384, false) => &ECDSA_P384_SHA384_FIXED_SIGNING,
        (Curve::P384, true) => &ECDSA_P384_SHA384_ASN1_SIGNING,
    }
}

/// A SEQUENCE that is wiped.
fn secret_sequence(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let body = Zeroizing::new(parts.concat());
    Zeroizing::new(der::element(der::SEQUENCE, &body))
}

/// ring gives no details; two halves that do not match are the likeliest fault.
fn rejected(error: &ring::error::KeyRejected) -> Error {
    Error::usage("the private key is damaged, or its public half belongs to another key")
        .because(anyhow::anyhow!("{}", text::words(&format_args!("{error}"))))
        .hint("`openssl pkey -in KEY -check -noout` says more")
}
