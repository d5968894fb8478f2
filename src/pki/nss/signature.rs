//! Signatures of trust settings: PBMAC1 (RFC 8018 section 7.1) with PBKDF2 and HMAC-SHA256, under the password of the
//! database. The signed data are the number of the object, of the attribute, and the value.
//!
//! Our salt is derived from the database's own salt and the signed data, so that the same change gives the same bytes.
//! It depends on nothing secret, and differs between databases as their salts do.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::attributes::AttributeNumber;
use super::password::{HMAC_SHA256, PBKDF2, Pbkdf2, SigningKey};
use crate::pki::cert::der::{self, DerReader};

/// 1.2.840.113549.1.5.14
const PBMAC1: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0e";

/// How many iterations all checks of one listing or change may take together (threat T19): 140 roots with NSS' 10,000
/// take 2,800,000.
pub(super) const BUDGET: u64 = 20_000_000;

/// Signs `value` of `attribute` of object `id`: the DER that NSS stores.
pub(super) fn sign(key: &SigningKey, id: u32, attribute: AttributeNumber, value: &[u8]) -> Vec<u8> {
    let message = message(id, attribute, value);
    let salt: [u8; 32] = Sha256::digest([&key.salt[..], &message].concat()).into();
    let pbkdf2 = Pbkdf2 { salt: salt.to_vec(), iterations: key.iterations };
    let mac = mac(&pbkdf2, key, &message).map(|mac| mac.finalize().into_bytes().to_vec()).unwrap_or_default();

    let sequence = |parts: &[&[u8]]| der::element(der::SEQUENCE, &parts.concat());
    let oid = |oid| der::element(der::OID, oid);
    let hmac = sequence(&[&oid(HMAC_SHA256)]);
    let parameters = sequence(&[
        &der::element(der::OCTET_STRING, &salt),
        &der::unsigned(pbkdf2.iterations),
        &der::unsigned(32),
        &hmac,
    ]);
    let derivation = sequence(&[&oid(PBKDF2), &parameters]);
    let pbmac1 = sequence(&[&oid(PBMAC1), &sequence(&[&derivation, &hmac])]);
    sequence(&[&pbmac1, &der::element(der::OCTET_STRING, &mac)])
}

/// How many iterations it takes to check `signature`.
pub(super) fn cost(signature: &[u8]) -> u64 {
    let pbkdf2 =
        parse(signature).and_then(|(mut parameters, _)| Pbkdf2::parse(&mut parameters).ok().flatten());
    pbkdf2.map_or(0, |pbkdf2| u64::from(pbkdf2.iterations))
}

/// Whether `signature` is a signature of `value`.
pub(super) fn verify(
    key: &SigningKey,
    id: u32,
    attribute: AttributeNumber,
    value: &[u8],
    signature: &[u8],
) -> bool {
    let Some((mut parameters, wanted)) = parse(signature) else { return false };
    // NSS does not write a count beyond the limit, so it is not a signature.
    let Ok(Some(pbkdf2)) = Pbkdf2::parse(&mut parameters) else { return false };
    let algorithm = parameters.take(der::SEQUENCE).and_then(|body| DerReader::new(body.body).take(der::OID));
    if algorithm.is_none_or(|oid| oid.body != HMAC_SHA256) {
        return false;
    }
    let message = message(id, attribute, value);
    mac(&pbkdf2, key, &message).is_some_and(|mac| mac.verify_slice(wanted).is_ok())
}

fn message(id: u32, attribute: AttributeNumber, value: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes(), &attribute.to_be_bytes(), value].concat()
}

/// HMAC takes keys of any length, so this is never `None`.
fn mac(pbkdf2: &Pbkdf2, key: &SigningKey, message: &[u8]) -> Option<Hmac<Sha256>> {
    let mac = Hmac::<Sha256>::new_from_slice(&pbkdf2.derive(&key.hash)[..]).ok()?;
    Some(mac.chain_update(message))
}

/// The parameters of PBMAC1, and the MAC.
fn parse(signature: &[u8]) -> Option<(DerReader<'_>, &[u8])> {
    let mut outer = DerReader::new(der::only(signature, der::SEQUENCE)?.body);
    let mut algorithm = DerReader::new(outer.take(der::SEQUENCE)?.body);
    let mac = outer.take(der::OCTET_STRING)?.body;
    algorithm.take(der::OID).filter(|oid| oid.body == PBMAC1)?;
    Some((DerReader::new(algorithm.take(der::SEQUENCE)?.body), mac))
}
