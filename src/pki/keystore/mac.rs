//! The MAC of a PKCS#12 file (RFC 7292 section 5.1, PBMAC1 of RFC 9879): checked with a password, and recomputed with
//! the same parameters over other contents.

use std::ops::Range;

use super::kdf::{DerivationPurpose, EncodedPassword, Hash};
use super::pbe::{self, Pbkdf2Parameters, place};
use super::{KeystoreProblem, SaltSource};
use crate::pki::cert::der::{self, DerReader};

/// PBMAC1 (RFC 8018 appendix A.5).
const PBMAC1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 14];
/// SHA-1, and the other SHAs up to their last number (RFC 8017 appendix B.1).
const SHA1: &[u8] = &[0x2b, 14, 3, 2, 26];
const NIST_HASH: &[u8] = &[0x60, 0x86, 0x48, 1, 101, 3, 4, 2];

/// A parsed MacData.
#[derive(Clone, Debug)]
pub(super) struct Mac {
    raw: Vec<u8>,
    /// The position of the MAC itself in it.
    value: Range<usize>,
    kind: MacAlgorithm,
}

#[derive(Clone, Debug)]
enum MacAlgorithm {
    Pkcs12 { hash: Hash, salt: Range<usize>, iterations: u32 },
    Pbmac1 { hash: Hash, pbkdf2: Pbkdf2Parameters, key_length: usize },
}

impl Mac {
    /// Reads a MacData; `raw` is all of it.
    pub(super) fn read(raw: &[u8]) -> Result<Mac, KeystoreProblem> {
        let damaged = || KeystoreProblem::damaged("the MAC");
        let mut fields = DerReader::new(der::only(raw, der::SEQUENCE).ok_or_else(damaged)?.body);
        let mut digest = DerReader::new(fields.take(der::SEQUENCE).ok_or_else(damaged)?.body);
        let identifier = digest.take(der::SEQUENCE).ok_or_else(damaged)?;
        let value = digest.take(der::OCTET_STRING).ok_or_else(damaged)?.body;
        let salt = fields.take(der::OCTET_STRING).ok_or_else(damaged)?.body;
        let iterations = match fields.take(der::INTEGER) {
            Some(count) => pbe::iterations(count.body)?,
            None => 1,
        };
        if !digest.is_empty() || !fields.is_empty() {
            return Err(damaged());
        }
        let (oid, parameters) = pbe::algorithm(identifier.raw).ok_or_else(damaged)?;
        let (hash, kind) = if oid == PBMAC1 {
            let mut fields = DerReader::new(der::only(parameters, der::SEQUENCE).ok_or_else(damaged)?.body);
            let pbkdf2 = Pbkdf2Parameters::read(fields.take(der::SEQUENCE).ok_or_else(damaged)?.raw, raw)?;
            let hash = pbe::hmac(fields.take(der::SEQUENCE).ok_or_else(damaged)?.raw)?;
            // RFC 9879 section 5: the length must be present.
            let key_length = pbkdf2.key_length.ok_or_else(damaged)?;
            (hash, MacAlgorithm::Pbmac1 { hash, pbkdf2, key_length })
        } else {
            let hash = hash(oid).ok_or_else(|| KeystoreProblem::algorithm("MAC", oid))?;
            (hash, MacAlgorithm::Pkcs12 { hash, salt: place(raw, salt), iterations })
        };
        if value.len() != hash.size() {
            return Err(damaged());
        }
        Ok(Mac { raw: raw.to_vec(), value: place(raw, value), kind })
    }

    /// The MacData's bytes.
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The number of iterations of the derivation.
    pub(super) fn iterations(&self) -> u32 {
        match &self.kind {
            MacAlgorithm::Pkcs12 { iterations, .. } => *iterations,
            MacAlgorithm::Pbmac1 { pbkdf2, .. } => pbkdf2.iterations,
        }
    }

    /// How many hashes or HMACs its key takes.
    pub(super) fn cost(&self) -> u64 {
        match &self.kind {
            MacAlgorithm::Pkcs12 { iterations, .. } => u64::from(*iterations),
            MacAlgorithm::Pbmac1 { pbkdf2, key_length, .. } => pbkdf2.cost(*key_length),
        }
    }

    /// Whether it is the MAC of `content` with this password.
    pub(super) fn fits(&self, secret: &EncodedPassword, content: &[u8]) -> bool {
        self.compute(secret, content) == self.raw[self.value.clone()]
    }

    /// The MAC of other contents: same parameters, fresh salt.
    pub(super) fn again(
        &self,
        secret: &EncodedPassword,
        content: &[u8],
        random: SaltSource<'_>,
    ) -> crate::error::Result<Mac> {
        let mut again = self.clone();
        let (MacAlgorithm::Pkcs12 { salt, .. }
        | MacAlgorithm::Pbmac1 { pbkdf2: Pbkdf2Parameters { salt, .. }, .. }) = &self.kind;
        random(&mut again.raw[salt.clone()])?;
        let value = again.compute(secret, content);
        again.raw[self.value.clone()].copy_from_slice(&value);
        Ok(again)
    }

    /// Of the hash's size.
    fn compute(&self, secret: &EncodedPassword, content: &[u8]) -> Vec<u8> {
        match &self.kind {
            MacAlgorithm::Pkcs12 { hash, salt, iterations } => {
                let salt = &self.raw[salt.clone()];
                let key = hash.pkcs12(DerivationPurpose::Mac, secret, salt, *iterations, hash.size());
                hash.hmac(&key, content)
            }
            MacAlgorithm::Pbmac1 { hash, pbkdf2, key_length } => {
                hash.hmac(&pbkdf2.derive(&self.raw, secret, *key_length), content)
            }
        }
    }
}

fn hash(oid: &[u8]) -> Option<Hash> {
    if oid == SHA1 {
        return Some(Hash::Sha1);
    }
    match oid.strip_prefix(NIST_HASH)? {
        [1] => Some(Hash::Sha256),
        [2] => Some(Hash::Sha384),
        [3] => Some(Hash::Sha512),
        [4] => Some(Hash::Sha224),
        _ => None,
    }
}
