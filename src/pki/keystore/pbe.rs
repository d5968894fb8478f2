//! Password-based encryption in PKCS#12 files: PBES2 (RFC 8018 section 6.2) with AES-CBC, keytool's choice since JDK
//! 16, and PKCS#12's own schemes (RFC 7292 appendix C) with RC2 and triple DES, its choice before. An algorithm
//! identifier is kept as it was read; only salt and initial value in it are replaced when contents are encrypted again.

use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use zeroize::Zeroizing;

use super::kdf::{DerivationPurpose, EncodedPassword, Hash};
use super::{KeystoreProblem, SaltSource};
use crate::pki::cert::der::{self, DerReader};

/// PBES2, PBKDF2 (RFC 8018 appendix A).
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12];
/// pkcs-12PbeIds: the last number selects one (RFC 7292 appendix C).
const PKCS12_PBE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1];
/// digestAlgorithm of RSADSI: the last number selects the HMAC (RFC 8018 appendix B.1).
const RSADSI_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2];
/// NIST's AES: the last number selects size and mode.
const NIST_AES: &[u8] = &[0x60, 0x86, 0x48, 1, 101, 3, 4, 1];

/// Bytes of the initial value of PKCS#12's own schemes: the blocks of RC2 and triple DES.
const PKCS12_IV: usize = 8;

/// Iterations above this are refused before a key is derived (threat T19).
pub(super) const MOST_ITERATIONS: u32 = 5_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cipher {
    Aes128,
    Aes192,
    Aes256,
    TripleDes,
    Rc2,
}

/// PBKDF2's parameters.
#[derive(Clone, Debug)]
pub(super) struct Pbkdf2Parameters {
    /// The position of the salt in the algorithm identifier that holds these parameters.
    pub(super) salt: std::ops::Range<usize>,
    pub(super) iterations: u32,
    pub(super) key_length: Option<usize>,
    pub(super) prf: Hash,
}

/// A parsed AlgorithmIdentifier of password-based encryption.
#[derive(Clone, Debug)]
pub(super) struct Scheme {
    raw: Vec<u8>,
    cipher: Cipher,
    kind: PbeAlgorithm,
}

#[derive(Clone, Debug)]
enum PbeAlgorithm {
    Pbes2 { pbkdf2: Pbkdf2Parameters, iv: std::ops::Range<usize> },
    Pkcs12 { salt: std::ops::Range<usize>, iterations: u32, key_length: usize },
}

impl Scheme {
    /// Reads an AlgorithmIdentifier; `raw` is all of it.
    pub(super) fn read(raw: &[u8]) -> Result<Scheme, KeystoreProblem> {
        let (oid, parameters) = algorithm(raw).ok_or(KeystoreProblem::damaged("an encryption algorithm"))?;
        if oid == PBES2 {
            return Self::read_pbes2(raw, parameters);
        }
        let (cipher, key_length) = match oid.strip_prefix(PKCS12_PBE) {
            Some([3]) => (Cipher::TripleDes, 24),
            Some([5]) => (Cipher::Rc2, 16),
            Some([6]) => (Cipher::Rc2, 5),
            _ => return Err(KeystoreProblem::algorithm("encryption", oid)),
        };
        let damaged = || KeystoreProblem::damaged("the parameters of the encryption");
        let mut fields = DerReader::new(der::only(parameters, der::SEQUENCE).ok_or_else(damaged)?.body);
        let salt = fields.take(der::OCTET_STRING).ok_or_else(damaged)?.body;
        let iterations = iterations(fields.take(der::INTEGER).ok_or_else(damaged)?.body)?;
        let kind = PbeAlgorithm::Pkcs12 { salt: place(raw, salt), iterations, key_length };
        Ok(Scheme { raw: raw.to_vec(), cipher, kind })
    }

    fn read_pbes2(raw: &[u8], parameters: &[u8]) -> Result<Scheme, KeystoreProblem> {
        let damaged = || KeystoreProblem::damaged("the parameters of PBES2");
        let mut fields = DerReader::new(der::only(parameters, der::SEQUENCE).ok_or_else(damaged)?.body);
        let derivation = fields.take(der::SEQUENCE).ok_or_else(damaged)?;
        let pbkdf2 = Pbkdf2Parameters::read(derivation.raw, raw)?;
        let encryption = fields.take(der::SEQUENCE).ok_or_else(damaged)?;
        let (oid, parameters) = algorithm(encryption.raw).ok_or_else(damaged)?;
        let (cipher, key_length) = match oid.strip_prefix(NIST_AES) {
            Some([2]) => (Cipher::Aes128, 16),
            Some([22]) => (Cipher::Aes192, 24),
            Some([42]) => (Cipher::Aes256, 32),
            _ => return Err(KeystoreProblem::algorithm("encryption", oid)),
        };
        let iv = der::only(parameters, der::OCTET_STRING).ok_or_else(damaged)?.body;
        if iv.len() != 16 || pbkdf2.key_length.is_some_and(|length| length != key_length) {
            return Err(damaged());
        }
        Ok(Scheme { raw: raw.to_vec(), cipher, kind: PbeAlgorithm::Pbes2 { pbkdf2, iv: place(raw, iv) } })
    }

    /// keytool's choice for certificates since JDK 16: AES-256, HMAC-SHA256, salt of 20 bytes; with this many
    /// iterations.
    pub(super) fn of_keytool(iterations: u32) -> Result<Scheme, KeystoreProblem> {
        let sequence = |parts: &[&[u8]]| der::element(der::SEQUENCE, &parts.concat());
        let oid = |front: &[u8], last: u8| der::element(der::OID, &[front, &[last]].concat());
        let prf = sequence(&[&oid(RSADSI_DIGEST, 9), &[5, 0]]);
        let parameters = sequence(&[
            &der::element(der::OCTET_STRING, &[0; 20]),
            &der::unsigned(iterations),
            &der::unsigned(32),
            &prf,
        ]);
        let derivation = sequence(&[&der::element(der::OID, PBKDF2), &parameters]);
        let encryption = sequence(&[&oid(NIST_AES, 42), &der::element(der::OCTET_STRING, &[0; 16])]);
        Scheme::read(&sequence(&[&der::element(der::OID, PBES2), &sequence(&[&derivation, &encryption])]))
    }

    /// The identifier's bytes.
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The number of iterations of the derivation.
    pub(super) fn iterations(&self) -> u32 {
        match &self.kind {
            PbeAlgorithm::Pbes2 { pbkdf2, .. } => pbkdf2.iterations,
            PbeAlgorithm::Pkcs12 { iterations, .. } => *iterations,
        }
    }

    /// How many hashes or HMACs key and initial value take: PBKDF2 and PKCS#12's own function begin again for each block of
    /// the key.
    pub(super) fn cost(&self) -> u64 {
        match &self.kind {
            PbeAlgorithm::Pbes2 { pbkdf2, .. } => pbkdf2.cost(self.key_length()),
            PbeAlgorithm::Pkcs12 { iterations, key_length, .. } => {
                let blocks = |length: usize| length.div_ceil(Hash::Sha1.size()) as u64;
                u64::from(*iterations) * (blocks(*key_length) + blocks(PKCS12_IV))
            }
        }
    }

    /// Bytes of an AES key.
    fn key_length(&self) -> usize {
        match self.cipher {
            Cipher::Aes128 => 16,
            Cipher::Aes192 => 24,
            _ => 32,
        }
    }

    /// The same with a fresh salt and initial value.
    pub(super) fn fresh(&self, random: SaltSource<'_>) -> crate::error::Result<Scheme> {
        let mut fresh = self.clone();
        match &self.kind {
            PbeAlgorithm::Pbes2 { pbkdf2, iv } => {
                random(&mut fresh.raw[pbkdf2.salt.clone()])?;
                random(&mut fresh.raw[iv.clone()])?;
            }
            PbeAlgorithm::Pkcs12 { salt, .. } => random(&mut fresh.raw[salt.clone()])?,
        }
        Ok(fresh)
    }

    /// The contents; `None` if they were encrypted with another password, or are damaged.
    pub(super) fn decrypt(&self, secret: &EncodedPassword, content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        macro_rules! decrypt {
            ($cipher:ty) => {{
                let (key, iv) = self.derive(secret);
                let cipher = <$cipher>::new_from_slice(&key).ok()?;
                let cipher = cbc::Decryptor::inner_iv_slice_init(cipher, &iv).ok()?;
                cipher.decrypt_padded_vec::<Pkcs7>(content).ok().map(Zeroizing::new)
            }};
        }
        match self.cipher {
            Cipher::Aes128 => decrypt!(aes::Aes128),
            Cipher::Aes192 => decrypt!(aes::Aes192),
            Cipher::Aes256 => decrypt!(aes::Aes256),
            Cipher::TripleDes => decrypt!(des::TdesEde3),
            Cipher::Rc2 => decrypt!(rc2::Rc2),
        }
    }

    /// The encrypted contents; `None` never happens, because the sizes of keys were checked when reading.
    pub(super) fn encrypt(&self, secret: &EncodedPassword, content: &[u8]) -> Option<Vec<u8>> {
        macro_rules! encrypt {
            ($cipher:ty) => {{
                let (key, iv) = self.derive(secret);
                let cipher = <$cipher>::new_from_slice(&key).ok()?;
                let cipher = cbc::Encryptor::inner_iv_slice_init(cipher, &iv).ok()?;
                Some(cipher.encrypt_padded_vec::<Pkcs7>(content))
            }};
        }
        match self.cipher {
            Cipher::Aes128 => encrypt!(aes::Aes128),
            Cipher::Aes192 => encrypt!(aes::Aes192),
            Cipher::Aes256 => encrypt!(aes::Aes256),
            Cipher::TripleDes => encrypt!(des::TdesEde3),
            Cipher::Rc2 => encrypt!(rc2::Rc2),
        }
    }

    /// Key and initial value.
    fn derive(&self, secret: &EncodedPassword) -> (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>) {
        match &self.kind {
            PbeAlgorithm::Pbes2 { pbkdf2, iv } => {
                let key = pbkdf2.derive(&self.raw, secret, self.key_length());
                (key, Zeroizing::new(self.raw[iv.clone()].to_vec()))
            }
            PbeAlgorithm::Pkcs12 { salt, iterations, key_length } => {
                let salt = &self.raw[salt.clone()];
                let derive = |purpose, length| Hash::Sha1.pkcs12(purpose, secret, salt, *iterations, length);
                (
                    derive(DerivationPurpose::Encryption, *key_length),
                    derive(DerivationPurpose::InitialValue, PKCS12_IV),
                )
            }
        }
    }
}

impl Pbkdf2Parameters {
    /// Reads the AlgorithmIdentifier `raw` of PBKDF2, which is part of `inside`.
    pub(super) fn read(raw: &[u8], inside: &[u8]) -> Result<Pbkdf2Parameters, KeystoreProblem> {
        let damaged = || KeystoreProblem::damaged("the parameters of PBKDF2");
        let (oid, parameters) = algorithm(raw).ok_or_else(damaged)?;
        if oid != PBKDF2 {
            return Err(KeystoreProblem::algorithm("key derivation", oid));
        }
        let mut fields = DerReader::new(der::only(parameters, der::SEQUENCE).ok_or_else(damaged)?.body);
        let salt = fields.take(der::OCTET_STRING).ok_or_else(damaged)?.body;
        let iterations = iterations(fields.take(der::INTEGER).ok_or_else(damaged)?.body)?;
        let key_length = match fields.take(der::INTEGER) {
            Some(length) => match length.body {
                [length @ 1..=0x7f] => Some(usize::from(*length)),
                _ => return Err(damaged()),
            },
            None => None,
        };
        let prf = match fields.take(der::SEQUENCE) {
            Some(prf) => hmac(prf.raw)?,
            None => Hash::Sha1,
        };
        if !fields.is_empty() {
            return Err(damaged());
        }
        Ok(Pbkdf2Parameters { salt: place(inside, salt), iterations, key_length, prf })
    }

    /// How many HMACs a key of `length` bytes takes.
    pub(super) fn cost(&self, length: usize) -> u64 {
        u64::from(self.iterations) * length.div_ceil(self.prf.size()) as u64
    }

    /// The key; `inside` contains the salt.
    pub(super) fn derive(
        &self,
        inside: &[u8],
        secret: &EncodedPassword,
        length: usize,
    ) -> Zeroizing<Vec<u8>> {
        self.prf.pbkdf2(secret, &inside[self.salt.clone()], self.iterations, length)
    }
}

/// The hash of an HMAC's AlgorithmIdentifier.
pub(super) fn hmac(raw: &[u8]) -> Result<Hash, KeystoreProblem> {
    let (oid, _) = algorithm(raw).ok_or(KeystoreProblem::damaged("the algorithm of an HMAC"))?;
    match oid.strip_prefix(RSADSI_DIGEST) {
        Some([7]) => Ok(Hash::Sha1),
        Some([8]) => Ok(Hash::Sha224),
        Some([9]) => Ok(Hash::Sha256),
        Some([10]) => Ok(Hash::Sha384),
        Some([11]) => Ok(Hash::Sha512),
        _ => Err(KeystoreProblem::algorithm("HMAC", oid)),
    }
}

/// The object identifier and the parameters of an AlgorithmIdentifier (RFC 5280 section 4.1.1.2).
pub(super) fn algorithm(raw: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = DerReader::new(der::only(raw, der::SEQUENCE)?.body);
    let oid = fields.take(der::OID)?.body;
    Some((oid, fields.rest()))
}

/// An iteration count within bounds; `body` is that of an INTEGER.
pub(super) fn iterations(body: &[u8]) -> Result<u32, KeystoreProblem> {
    match body {
        [] | [0] | [0x80..=0xff, ..] => Err(KeystoreProblem::damaged("an iteration count")),
        _ => {
            let count =
                body.iter().fold(0_u64, |sum, digit| sum.saturating_mul(256).saturating_add((*digit).into()));
            match u32::try_from(count) {
                Ok(count) if count <= MOST_ITERATIONS => Ok(count),
                _ => Err(KeystoreProblem::TooCostly),
            }
        }
    }
}

/// The position of `part`, a piece of `whole`, in it.
pub(super) fn place(whole: &[u8], part: &[u8]) -> std::ops::Range<usize> {
    let from = part.as_ptr() as usize - whole.as_ptr() as usize;
    from..from + part.len()
}
