//! RSA signatures: PKCS #1 1.5 and RSASSA-PSS (RFC 8017 section 8). Only public keys are used here, so the open advisory
//! of the `rsa` crate about its private operations (RUSTSEC-2023-0071) does not matter.

use ::rsa::BoxedUint;
use ::rsa::pkcs1v15::Pkcs1v15Sign;
use ::rsa::pss::Pss;
use ring::signature::{self, RsaPublicKeyComponents};

use super::{Hash, SignatureVerdict};
use crate::pki::cert::der::{self, DerReader, Tlv};
use crate::pki::cert::key_form;

/// The largest modulus that other programs accept, bits.
const LARGEST: usize = 16384;
/// The sizes that ring verifies, bits.
const RING: std::ops::RangeInclusive<usize> = 2048..=8192;

/// RSASSA-PSS-params, with one hash function for both purposes, as all programs sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PssParameters {
    pub(super) hash: Hash,
    /// Bytes.
    pub(super) salt: usize,
}

impl PssParameters {
    /// Reads them (RFC 4055 section 3.1); `None` if they are malformed or unusual.
    pub(super) fn of(parameters: Option<Tlv<'_>>) -> Option<PssParameters> {
        let parameters = parameters.filter(|parameters| parameters.tag == der::SEQUENCE)?;
        let mut fields = DerReader::new(parameters.body);
        let hash = match fields.take(der::CONTEXT_0) {
            Some(hash) => hash_of(hash.body)?,
            None => Hash::Sha1,
        };
        let mask = match fields.take(der::CONTEXT_1) {
            Some(mask) => {
                let mut parts = DerReader::new(der::only(mask.body, der::SEQUENCE)?.body);
                parts.take(der::OID).filter(|oid| oid.body == key_form::id::MGF1)?;
                hash_of(parts.rest())?
            }
            None => Hash::Sha1,
        };
        let salt = match fields.take(0xa2) {
            Some(salt) => match der::only(salt.body, der::INTEGER)?.body {
                [short @ 0..=0x7f] => usize::from(*short),
                [high @ 0..=0x7f, low] => usize::from(*high) << 8 | usize::from(*low),
                _ => return None,
            },
            None => 20,
        };
        let trailer = fields.take(0xa3);
        let is_usual = trailer.is_none_or(|trailer| trailer.body == [der::INTEGER, 1, 1]);
        (is_usual && fields.is_empty() && mask == hash).then_some(PssParameters { hash, salt })
    }

    /// Whether a key with these parameters may make a signature with those (RFC 4055 section 3.3).
    pub(super) fn allow(&self, signature: &PssParameters) -> bool {
        self.hash == signature.hash && signature.salt >= self.salt
    }
}

fn hash_of(identifier: &[u8]) -> Option<Hash> {
    let (oid, _) = key_form::algorithm(&der::only(identifier, der::SEQUENCE)?)?;
    Hash::from_oid(oid)
}

/// `key`: an RSAPublicKey.
pub(super) fn verify_pkcs1(key: &[u8], hash: Hash, message: &[u8], made: &[u8]) -> SignatureVerdict {
    let algorithm = match hash {
        Hash::Sha1 => Some(&signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY),
        Hash::Sha224 => None,
        Hash::Sha256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Hash::Sha384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Hash::Sha512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
    };
    let scheme = || {
        // DigestInfo up to the digest (RFC 8017 section 9.2).
        let digest = hash.digest(message);
        let identifier = [der::element(der::OID, hash.oid()), der::element(der::NULL, &[])].concat();
        let info =
            [der::element(der::SEQUENCE, &identifier), der::element(der::OCTET_STRING, &digest)].concat();
        let info = der::element(der::SEQUENCE, &info);
        let prefix = info[..info.len() - digest.len()].into();
        (Pkcs1v15Sign { hash_len: Some(digest.len()), prefix }, digest)
    };
    judge(key, algorithm, message, made, |key| {
        let (scheme, digest) = scheme();
        key.verify(scheme, &digest, made).is_ok()
    })
}

/// `key`: an RSAPublicKey.
pub(super) fn verify_pss(
    key: &[u8],
    parameters: &PssParameters,
    message: &[u8],
    made: &[u8],
) -> SignatureVerdict {
    let PssParameters { hash, salt } = *parameters;
    // ring fixes the length of the salt.
    let algorithm = match (hash, salt) {
        (Hash::Sha256, 32) => Some(&signature::RSA_PSS_2048_8192_SHA256),
        (Hash::Sha384, 48) => Some(&signature::RSA_PSS_2048_8192_SHA384),
        (Hash::Sha512, 64) => Some(&signature::RSA_PSS_2048_8192_SHA512),
        _ => None,
    };
    judge(key, algorithm, message, made, |key| {
        let digest = hash.digest(message);
        match hash {
            Hash::Sha1 => key.verify(Pss::<sha1::Sha1>::new_with_salt(salt), &digest, made),
            Hash::Sha224 => key.verify(Pss::<sha2::Sha224>::new_with_salt(salt), &digest, made),
            Hash::Sha256 => key.verify(Pss::<sha2::Sha256>::new_with_salt(salt), &digest, made),
            Hash::Sha384 => key.verify(Pss::<sha2::Sha384>::new_with_salt(salt), &digest, made),
            Hash::Sha512 => key.verify(Pss::<sha2::Sha512>::new_with_salt(salt), &digest, made),
        }
        .is_ok()
    })
}

/// Judges with ring where ring has the algorithm and the size, else with `otherwise`.
fn judge(
    key: &[u8],
    algorithm: Option<&'static signature::RsaParameters>,
    message: &[u8],
    made: &[u8],
    otherwise: impl FnOnce(&::rsa::PublicKey) -> bool,
) -> SignatureVerdict {
    let Some((n, e)) = key_form::rsa_numbers(key) else {
        return SignatureVerdict::Unsupported("a malformed RSA key".to_owned());
    };
    let bits = key_form::bits(n);
    if let Some(algorithm) = algorithm.filter(|_| RING.contains(&bits)) {
        return SignatureVerdict::of(
            RsaPublicKeyComponents { n, e }.verify(algorithm, message, made).is_ok(),
        );
    }
    let number = |bytes: &[u8]| BoxedUint::from_be_slice_vartime(bytes);
    match ::rsa::PublicKey::new_with_size_limits(number(n), number(e), 512..=LARGEST) {
        Ok(key) => SignatureVerdict::of(otherwise(&key)),
        Err(_) => {
            SignatureVerdict::Unsupported(format!("an RSA key with {bits} bits and an unusual exponent"))
        }
    }
}
