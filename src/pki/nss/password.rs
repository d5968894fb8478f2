//! The password of a database: whether there is one, and whether a given one is right, before anything is written.
//!
//! `metaData` has an entry `password`: item1 is a salt; item2 is the text `password-check`, encrypted (PKCS#5 PBES2
//! with PBKDF2-HMAC-SHA256 and AES-256-CBC) under the password. Without the entry, NSS honours trust settings
//! unsigned; with it, they need signatures ([`super::signature`]), for the empty password as well. NSS writes an
//! iteration count of 1 for the empty password, and tries the empty password by itself only there.

use std::fmt;

use aes::Aes256;
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha384};
use zeroize::Zeroizing;

use super::refusal::{NssRefusal, Result};
use crate::pki::cert::der::{self, DerReader};

/// The entry of `metaData`.
pub(super) const ENTRY: &str = "password";

/// What the entry decrypts to.
const CHECK: &[u8] = b"password-check";

/// 1.2.840.113549.1.5.13
const PBES2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
/// 1.2.840.113549.1.5.12
pub(super) const PBKDF2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c";
/// 1.2.840.113549.2.9
pub(super) const HMAC_SHA256: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x02\x09";
/// 2.16.840.1.101.3.4.1.42
const AES_256_CBC: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a";

/// The password of a database, as the user gave it. Wiped when it is dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct NssPassword(Zeroizing<Vec<u8>>);

impl NssPassword {
    /// A password; NSS takes its bytes as they are.
    pub fn new(password: impl Into<Vec<u8>>) -> NssPassword {
        NssPassword(Zeroizing::new(password.into()))
    }

    /// The first line of a password file, as certutil's `-f` reads it.
    pub fn from_file(content: &[u8]) -> NssPassword {
        let line = content.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
        NssPassword::new(line)
    }
}

impl fmt::Debug for NssPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

/// How trust settings are protected in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingsProtection {
    /// No password was ever set: settings are honoured unsigned, and NSS signs them when it sets one.
    None,
    /// The empty password: settings need signatures, which anyone can make.
    Empty,
    /// A known password: it was given, and is right.
    Unlocked,
    /// An unknown password. Signatures can be neither checked nor made.
    Locked,
}

/// The key for signatures: the hash of salt and password, and how many iterations new ones get.
pub(super) struct SigningKey {
    pub(super) hash: Zeroizing<Vec<u8>>,
    pub(super) iterations: u32,
    /// The salt of the database, which is not secret.
    pub(super) salt: Vec<u8>,
}

impl SigningKey {
    fn of(entry: &StoredCheck, password: &[u8]) -> SigningKey {
        let salted = Zeroizing::new([&entry.salt[..], password].concat());
        let hash = match entry.salt.len() {
            48 => Sha384::digest(&salted[..]).to_vec(),
            _ => Sha1::digest(&salted[..]).to_vec(),
        };
        let hash = Zeroizing::new(hash);
        SigningKey { hash, iterations: entry.pbkdf2.iterations, salt: entry.salt.clone() }
    }
}

/// Determines how a database with this password entry (both items) is protected.
///
/// # Errors
/// The password is wrong; the entry is damaged, of another kind, or asks for too many iterations.
pub(super) fn unlock(
    entry: Option<(Vec<u8>, Vec<u8>)>,
    given: Option<&NssPassword>,
) -> Result<(SettingsProtection, Option<SigningKey>)> {
    let Some((salt, item2)) = entry else { return Ok((SettingsProtection::None, None)) };
    let entry = StoredCheck::parse(salt, &item2)?;
    if entry.pbkdf2.iterations == 1 {
        let key = SigningKey::of(&entry, b"");
        if entry.opens_with(&key) {
            return Ok((SettingsProtection::Empty, Some(key)));
        }
    }
    let Some(NssPassword(password)) = given else { return Ok((SettingsProtection::Locked, None)) };
    let key = SigningKey::of(&entry, password);
    if entry.opens_with(&key) {
        Ok((SettingsProtection::Unlocked, Some(key)))
    } else {
        Err(NssRefusal::WrongPassword)
    }
}

/// The most iterations that [`unlock`] takes.
///
/// # Errors
/// The entry is damaged, of another kind, or asks for too many iterations.
pub(super) fn cost(entry: Option<(Vec<u8>, Vec<u8>)>, given: Option<&NssPassword>) -> Result<u64> {
    let Some((salt, item2)) = entry else { return Ok(0) };
    let iterations = u64::from(StoredCheck::parse(salt, &item2)?.pbkdf2.iterations);
    let tries = u64::from(iterations == 1) + u64::from(given.is_some());
    Ok(iterations * tries)
}

/// The parameters of PBKDF2 (RFC 8018 appendix A.2), with HMAC-SHA256 and a key of 32 bytes.
pub(super) struct Pbkdf2 {
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u32,
}

impl Pbkdf2 {
    /// Reads an AlgorithmIdentifier. `Ok(None)`: another algorithm, or not DER.
    ///
    /// # Errors
    /// Too many iterations.
    pub(super) fn parse(reader: &mut DerReader<'_>) -> Result<Option<Pbkdf2>> {
        let Some((salt, iterations)) = parse_pbkdf2(reader) else { return Ok(None) };
        if iterations > u64::from(super::MAX_ITERATIONS) {
            return Err(NssRefusal::Iterations(iterations));
        }
        // At most the limit above.
        let iterations = iterations as u32;
        Ok((iterations > 0).then_some(Pbkdf2 { salt, iterations }))
    }

    /// The key derived from `password`.
    pub(super) fn derive(&self, password: &[u8]) -> Zeroizing<[u8; 32]> {
        #[cfg(test)]
        crate::pki::cert::testing::derived_blocks(self.iterations, 1);
        Zeroizing::new(pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, &self.salt, self.iterations))
    }
}

fn parse_pbkdf2(reader: &mut DerReader<'_>) -> Option<(Vec<u8>, u64)> {
    let mut algorithm = DerReader::new(reader.take(der::SEQUENCE)?.body);
    algorithm.take(der::OID).filter(|oid| oid.body == PBKDF2)?;
    let mut parameters = DerReader::new(algorithm.take(der::SEQUENCE)?.body);
    let salt = parameters.take(der::OCTET_STRING)?.body.to_vec();
    let iterations = number(parameters.take(der::INTEGER)?.body)?;
    let length = number(parameters.take(der::INTEGER)?.body)?;
    let mut prf = DerReader::new(parameters.take(der::SEQUENCE)?.body);
    prf.take(der::OID).filter(|oid| oid.body == HMAC_SHA256)?;
    (length == 32).then_some((salt, iterations))
}

/// An INTEGER that is not negative; one beyond all ranges becomes the largest.
fn number(body: &[u8]) -> Option<u64> {
    if body.first().is_none_or(|first| *first >= 0x80) {
        return None;
    }
    let digits = &body[body.iter().take_while(|byte| **byte == 0).count()..];
    if digits.len() > 8 {
        return Some(u64::MAX);
    }
    Some(digits.iter().fold(0, |sum, digit| sum << 8 | u64::from(*digit)))
}

struct StoredCheck {
    salt: Vec<u8>,
    pbkdf2: Pbkdf2,
    initial_vector: [u8; 16],
    encrypted: Vec<u8>,
}

impl StoredCheck {
    fn parse(salt: Vec<u8>, item2: &[u8]) -> Result<StoredCheck> {
        let Some((mut algorithm, encrypted)) = parse_pbes2(item2) else { return Err(NssRefusal::Encryption) };
        let Some(pbkdf2) = Pbkdf2::parse(&mut algorithm)? else { return Err(NssRefusal::Encryption) };
        let Some(initial_vector) = parse_aes(&mut algorithm) else { return Err(NssRefusal::Encryption) };
        Ok(StoredCheck { salt, pbkdf2, initial_vector, encrypted: encrypted.to_vec() })
    }

    fn opens_with(&self, key: &SigningKey) -> bool {
        let derived = self.pbkdf2.derive(&key.hash);
        let mut buffer = self.encrypted.clone();
        let decryptor = Decryptor::<Aes256>::new((&*derived).into(), &self.initial_vector.into());
        decryptor.decrypt_padded::<Pkcs7>(&mut buffer).is_ok_and(|plain| plain == CHECK)
    }
}

/// The parameters of PBES2, and the ciphertext.
fn parse_pbes2(item2: &[u8]) -> Option<(DerReader<'_>, &[u8])> {
    let mut outer = DerReader::new(der::only(item2, der::SEQUENCE)?.body);
    let mut algorithm = DerReader::new(outer.take(der::SEQUENCE)?.body);
    let encrypted = outer.take(der::OCTET_STRING)?.body;
    algorithm.take(der::OID).filter(|oid| oid.body == PBES2)?;
    Some((DerReader::new(algorithm.take(der::SEQUENCE)?.body), encrypted))
}

/// The initial vector: NSS stores 14 bytes of it, and uses the two of the DER header for the others.
fn parse_aes(algorithm: &mut DerReader<'_>) -> Option<[u8; 16]> {
    let mut aes = DerReader::new(algorithm.take(der::SEQUENCE)?.body);
    aes.take(der::OID).filter(|oid| oid.body == AES_256_CBC)?;
    aes.take(der::OCTET_STRING)?.raw.try_into().ok()
}
