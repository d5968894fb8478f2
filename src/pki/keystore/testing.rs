//! Keystores for tests, built byte by byte as keytool writes them, with what the code under test never writes: keys,
//! chains, certificates that Java does not trust, other algorithms.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::StorePassword;
use super::kdf::{DerivationPurpose, EncodedPassword, Hash};
use super::pbe::Scheme;
use crate::error::Result;
use crate::pki::cert::Certificate;
use crate::pki::cert::testing::{BMP, TestCertificate, Xorshift, common_name, oid, sequence, tlv};

pub(super) const CERTIFICATE_BAG: &str = "1.2.840.113549.1.12.10.1.3";
pub(super) const KEY_BAG: &str = "1.2.840.113549.1.12.10.1.2";
const DATA: &str = "1.2.840.113549.1.7.1";
const ENCRYPTED_DATA: &str = "1.2.840.113549.1.7.6";
const PBKDF2: &str = "1.2.840.113549.1.5.12";

/// The root of this name: always the same one, although signatures differ each time.
pub(super) fn certificate(name: &str) -> Certificate {
    static MADE: Mutex<BTreeMap<String, Certificate>> = Mutex::new(BTreeMap::new());
    let make = || Certificate::from_der(&TestCertificate::named(common_name(name)).der()).unwrap();
    MADE.lock().unwrap().entry(name.to_owned()).or_insert_with(make).clone()
}

/// A source of salts for tests only: counts up from `seed`.
pub(super) fn salts(seed: u64) -> impl FnMut(&mut [u8]) -> Result<()> {
    let mut random = Xorshift(seed);
    move |bytes| {
        bytes.fill_with(|| random.next_u64() as u8);
        Ok(())
    }
}

/// A friendlyName attribute.
pub(super) fn friendly(alias: &str) -> Vec<u8> {
    let name: Vec<u8> = alias.encode_utf16().flat_map(u16::to_be_bytes).collect();
    sequence(&[&oid("1.2.840.113549.1.9.20"), &tlv(0x31, &tlv(BMP, &name))])
}

/// Oracle's trustedKeyUsage attribute.
pub(super) fn trusted_for_all() -> Vec<u8> {
    sequence(&[&oid("2.16.840.1.113894.746875.1.1"), &tlv(0x31, &oid("2.5.29.37.0"))])
}

pub(super) fn local_key_id(id: &[u8]) -> Vec<u8> {
    sequence(&[&oid("1.2.840.113549.1.9.21"), &tlv(0x31, &tlv(4, id))])
}

/// A bag with this value and these attributes.
pub(super) fn bag(kind: &str, value: &[u8], attributes: &[Vec<u8>]) -> Vec<u8> {
    let set = if attributes.is_empty() { Vec::new() } else { tlv(0x31, &attributes.concat()) };
    sequence(&[&oid(kind), &tlv(0xa0, value), &set])
}

/// A bag with a certificate.
pub(super) fn certificate_bag(der: &[u8], attributes: &[Vec<u8>]) -> Vec<u8> {
    let value = sequence(&[&oid("1.2.840.113549.1.9.22.1"), &tlv(0xa0, &tlv(4, der))]);
    bag(CERTIFICATE_BAG, &value, attributes)
}

/// A bag with a certificate that Java trusts.
pub(super) fn trusted_bag(alias: &str, der: &[u8]) -> Vec<u8> {
    certificate_bag(der, &[friendly(alias), trusted_for_all()])
}

/// A bag with an encrypted key, whose content does not matter.
pub(super) fn key_bag() -> Vec<u8> {
    let encrypted = sequence(&[&sequence(&[&oid("1.2.3.4")]), &tlv(4, b"opaque")]);
    bag(KEY_BAG, &encrypted, &[friendly("mykey"), local_key_id(b"Time 1700000000123")])
}

/// A part of a PKCS#12 file.
pub(super) fn plain(bags: &[Vec<u8>]) -> Vec<u8> {
    sequence(&[&oid(DATA), &tlv(0xa0, &tlv(4, &tlv(0x30, &bags.concat())))])
}

/// An encrypted one.
pub(super) fn encrypted(algorithm: &[u8], password: &str, bags: &[Vec<u8>]) -> Vec<u8> {
    let secret = EncodedPassword::of(&StorePassword::new(password.to_owned()));
    let content = Scheme::read(algorithm).unwrap().encrypt(&secret, &tlv(0x30, &bags.concat())).unwrap();
    let inner = sequence(&[&oid(DATA), algorithm, &tlv(0x80, &content)]);
    sequence(&[&oid(ENCRYPTED_DATA), &tlv(0xa0, &sequence(&[&tlv(2, &[0]), &inner]))])
}

pub(super) fn integer(value: u64) -> Vec<u8> {
    let digits = value.to_be_bytes();
    let zeros = digits.iter().take_while(|digit| **digit == 0).count().min(7);
    let sign: &[u8] = if digits[zeros] < 0x80 { &[] } else { &[0] };
    tlv(2, &[sign, &digits[zeros..]].concat())
}

fn pbkdf2(iterations: u64, key_length: Option<u64>, prf: Option<&str>) -> Vec<u8> {
    let length = key_length.map(integer).unwrap_or_default();
    let prf = prf.map(|prf| sequence(&[&oid(prf), &[5, 0]])).unwrap_or_default();
    sequence(&[
        &oid(PBKDF2),
        &sequence(&[&tlv(4, b"twenty bytes of salt"), &integer(iterations), &length, &prf]),
    ])
}

/// PBES2's identifier: AES of this many bits, an HMAC by its object identifier.
pub(super) fn pbes2(bits: u64, prf: Option<&str>, iterations: u64) -> Vec<u8> {
    let cipher = match bits {
        128 => "2.16.840.1.101.3.4.1.2",
        192 => "2.16.840.1.101.3.4.1.22",
        _ => "2.16.840.1.101.3.4.1.42",
    };
    // Both ways are allowed, with the length of the key and without.
    let length = prf.is_some().then_some(bits / 8);
    let derivation = pbkdf2(iterations, length, prf);
    let cipher = sequence(&[&oid(cipher), &tlv(4, b"sixteen bytes iv")]);
    sequence(&[&oid("1.2.840.113549.1.5.13"), &sequence(&[&derivation, &cipher])])
}

/// The identifier of one of PKCS#12's own schemes: 3, 5, 6.
pub(super) fn pkcs12_pbe(number: u64, iterations: u64) -> Vec<u8> {
    let oid = oid(&format!("1.2.840.113549.1.12.1.{number}"));
    sequence(&[&oid, &sequence(&[&tlv(4, b"the salt"), &integer(iterations)])])
}

/// A MAC as keytool makes it.
pub(super) fn mac(hash: &str, kind: Hash, password: &str, iterations: u32, content: &[u8]) -> Vec<u8> {
    let secret = EncodedPassword::of(&StorePassword::new(password.to_owned()));
    let key = kind.pkcs12(DerivationPurpose::Mac, &secret, b"salt of the mac", iterations, kind.size());
    let digest = sequence(&[&sequence(&[&oid(hash), &[5, 0]]), &tlv(4, &kind.hmac(&key, content))]);
    sequence(&[&digest, &tlv(4, b"salt of the mac"), &integer(iterations.into())])
}

/// SHA-256's, the one that keytool makes by default.
pub(super) fn mac_sha256(password: &str, iterations: u32, content: &[u8]) -> Vec<u8> {
    mac("2.16.840.1.101.3.4.2.1", Hash::Sha256, password, iterations, content)
}

/// PBMAC1 (RFC 9879).
pub(super) fn pbmac1(password: &str, iterations: u32, content: &[u8]) -> Vec<u8> {
    let hmac = "1.2.840.113549.2.9";
    let secret = EncodedPassword::of(&StorePassword::new(password.to_owned()));
    let key = Hash::Sha256.pbkdf2(&secret, b"twenty bytes of salt", iterations, 32);
    let parameters =
        sequence(&[&pbkdf2(iterations.into(), Some(32), Some(hmac)), &sequence(&[&oid(hmac), &[5, 0]])]);
    let algorithm = sequence(&[&oid("1.2.840.113549.1.5.14"), &parameters]);
    let digest = sequence(&[&algorithm, &tlv(4, &Hash::Sha256.hmac(&key, content))]);
    sequence(&[&digest, &tlv(4, b"NOT USED"), &integer(1)])
}

/// A PKCS#12 file of these parts; `mac` makes its end.
pub(super) fn pfx(parts: &[Vec<u8>], mac: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let content = tlv(0x30, &parts.concat());
    let safe = sequence(&[&oid(DATA), &tlv(0xa0, &tlv(4, &content))]);
    sequence(&[&tlv(2, &[3]), &safe, &mac(&content)])
}

/// One without a MAC.
pub(super) fn pfx_plain(parts: &[Vec<u8>]) -> Vec<u8> {
    pfx(parts, |_| Vec::new())
}

/// As keytool writes it by default, with few iterations: a key, its certificate, a trusted certificate.
pub(super) fn pfx_of_keytool(password: &str, algorithm: &[u8]) -> Vec<u8> {
    let chain =
        certificate_bag(certificate("x").der(), &[friendly("mykey"), local_key_id(b"Time 1700000000123")]);
    let certificates = [chain, trusted_bag("vendor", certificate("Vendor").der())];
    let parts = [plain(&[key_bag()]), encrypted(algorithm, password, &certificates)];
    pfx(&parts, |content| mac_sha256(password, 3, content))
}

/// A JKS with these entries.
pub(super) fn jks(version: u32, password: &str, entries: &[Vec<u8>]) -> Vec<u8> {
    use sha1::{Digest, Sha1};
    let mut file = vec![0xfe, 0xed, 0xfe, 0xed];
    file.extend(version.to_be_bytes());
    file.extend((entries.len() as u32).to_be_bytes());
    file.extend(entries.concat());
    let utf_16: Vec<u8> = password.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let checksum = Sha1::digest([&utf_16, &b"Mighty Aphrodite"[..], &file].concat());
    file.extend(checksum);
    file
}

/// A byte string after its length.
fn counted(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

fn utf(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

/// A trusted certificate of a JKS; the alias in Java's modified UTF-8.
pub(super) fn jks_trusted(alias: &[u8], date: i64, der: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 2], &utf(alias)[..], &date.to_be_bytes(), &utf(b"X.509"), &counted(der)].concat()
}

/// A private key of a JKS with a chain of two.
pub(super) fn jks_key(alias: &[u8], date: i64) -> Vec<u8> {
    let chain = [utf(b"X.509"), counted(b"first"), utf(b"X.509"), counted(b"second")].concat();
    [&[0, 0, 0, 1], &utf(alias)[..], &date.to_be_bytes(), &counted(b"opaque"), &[0, 0, 0, 2], &chain].concat()
}
