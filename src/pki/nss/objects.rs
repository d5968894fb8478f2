//! The objects of a database: a certificate, and the trust settings for it.
//!
//! NSS finds trust settings by issuer and serial number, and accepts them if the hash in them is that of the
//! certificate. There are two kinds: its own (CKO_NSS_TRUST), which every version reads, and PKCS#11 3.2's (CKO_TRUST),
//! which NSS writes since 3.114 and looks for first.

use md5::Md5;
use sha1::{Digest, Sha1};

use super::attributes::*;
use super::database::ObjectRow;
use crate::pki::cert::Certificate;
use crate::pki::cert::der::{self, DerReader};

/// BIT STRING.
const BIT_STRING: u8 = 0x03;
/// 1.2.840.113549.1.1.1
const RSA_ENCRYPTION: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";

const TRUE: [u8; 1] = [1];
const FALSE: [u8; 1] = [0];

/// How an application treats a certificate as a root for servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerTrust {
    /// A root at which server certificates may end.
    Trusted,
    /// Refused, whatever else vouches for it.
    Distrusted,
    /// No statement.
    Unset,
}

/// The serial number as NSS stores it: the whole INTEGER.
pub(super) fn serial_number(certificate: &Certificate) -> Vec<u8> {
    let mut serial = Vec::new();
    der::push(&mut serial, der::INTEGER, certificate.serial());
    serial
}

/// The object of a certificate.
pub(super) fn certificate(id: u32, certificate: &Certificate, nickname: &str) -> ObjectRow {
    row(
        id,
        &[
            (CLASS, &CLASS_CERTIFICATE.to_be_bytes()),
            (TOKEN, &TRUE),
            (PRIVATE, &FALSE),
            (LABEL, nickname.as_bytes()),
            (VALUE, certificate.der()),
            (CERTIFICATE_TYPE, &X_509.to_be_bytes()),
            (ISSUER, certificate.issuer_der()),
            (SERIAL_NUMBER, &serial_number(certificate)),
            (SUBJECT, certificate.subject_der()),
            (ID, &key_id(certificate)),
            (MODIFIABLE, &TRUE),
        ],
    )
}

/// The trust settings that certutil's `C,,` makes: a root for servers, and nothing else.
pub(super) fn trust(id: u32, certificate: &Certificate) -> ObjectRow {
    row(
        id,
        &[
            (CLASS, &CLASS_NSS_TRUST.to_be_bytes()),
            (TOKEN, &TRUE),
            (PRIVATE, &FALSE),
            (LABEL, &EMPTY),
            (ISSUER, certificate.issuer_der()),
            (SERIAL_NUMBER, &serial_number(certificate)),
            (MODIFIABLE, &TRUE),
            (NSS_TRUST_SERVER_AUTH, &NSS_TRUSTED_DELEGATOR.to_be_bytes()),
            (NSS_TRUST_CLIENT_AUTH, &NSS_VALID_DELEGATOR.to_be_bytes()),
            (NSS_TRUST_CODE_SIGNING, &NSS_MUST_VERIFY_TRUST.to_be_bytes()),
            (NSS_TRUST_EMAIL_PROTECTION, &NSS_MUST_VERIFY_TRUST.to_be_bytes()),
            (NSS_TRUST_STEP_UP_APPROVED, &FALSE),
            (NSS_CERT_SHA1_HASH, &Sha1::digest(certificate.der())),
            (NSS_CERT_MD5_HASH, &Md5::digest(certificate.der())),
        ],
    )
}

/// Whether the object is trust settings, of either kind.
pub(super) fn is_trust(row: &ObjectRow) -> bool {
    matches!(row.number(CLASS), Some(CLASS_TRUST | CLASS_NSS_TRUST))
}

/// The trust settings `row` with this certificate a root for servers; the other settings stay.
pub(super) fn trusting(row: &ObjectRow, certificate: &Certificate) -> ObjectRow {
    let mut row = row.clone();
    if row.number(CLASS) == Some(CLASS_TRUST) {
        row.values.insert(TRUST_SERVER_AUTH, TRUST_ANCHOR.to_be_bytes().to_vec());
        if !fits(&row, certificate) {
            row.values.insert(NAME_HASH_ALGORITHM, MECHANISM_SHA256.to_be_bytes().to_vec());
            let hash = certificate.fingerprint().bytes().to_vec();
            row.values.insert(HASH_OF_CERTIFICATE, hash);
        }
        return row;
    }
    let wanted = trust(row.id, certificate);
    for attribute in [NSS_TRUST_SERVER_AUTH, NSS_CERT_SHA1_HASH, NSS_CERT_MD5_HASH] {
        row.values.extend(wanted.values.get_key_value(&attribute).map(|(key, value)| (*key, value.clone())));
    }
    row
}

/// The statement of trust settings about the certificate, their signatures aside. Settings with another certificate's
/// hash act as distrust in NSS.
pub(super) fn said(row: &ObjectRow, certificate: &Certificate) -> ServerTrust {
    let server_auth = row.number(server_auth(row));
    let (trusted, distrusted) = match row.number(CLASS) {
        Some(CLASS_TRUST) => (TRUST_ANCHOR, NOT_TRUSTED),
        _ => (NSS_TRUSTED_DELEGATOR, NSS_NOT_TRUSTED),
    };
    match server_auth {
        Some(number) if number == distrusted => ServerTrust::Distrusted,
        Some(number) if number == trusted => {
            if fits(row, certificate) {
                ServerTrust::Trusted
            } else {
                ServerTrust::Distrusted
            }
        }
        _ => ServerTrust::Unset,
    }
}

/// The attributes that decide the result of [`said`].
pub(super) fn deciding(row: &ObjectRow) -> [AttributeNumber; 2] {
    match row.number(CLASS) {
        Some(CLASS_TRUST) => [TRUST_SERVER_AUTH, HASH_OF_CERTIFICATE],
        _ => [NSS_TRUST_SERVER_AUTH, NSS_CERT_SHA1_HASH],
    }
}

fn server_auth(row: &ObjectRow) -> AttributeNumber {
    deciding(row)[0]
}

/// Whether the hash in trust settings is that of the certificate.
pub(super) fn fits(row: &ObjectRow, certificate: &Certificate) -> bool {
    let [_, hash] = deciding(row);
    let Some(hash) = row.get(hash) else { return false };
    match hash.len() {
        20 => hash == &Sha1::digest(certificate.der())[..],
        32 => row.number(CLASS) == Some(CLASS_TRUST) && hash == certificate.fingerprint().bytes(),
        _ => false,
    }
}

/// CKA_ID: SHA-1 of the key itself, which for RSA is the modulus without the zero before it.
fn key_id(certificate: &Certificate) -> Vec<u8> {
    let key = public_key_value(certificate.public_key()).unwrap_or(certificate.public_key());
    Sha1::digest(key).to_vec()
}

fn public_key_value(info: &[u8]) -> Option<&[u8]> {
    let mut info = DerReader::new(der::only(info, der::SEQUENCE)?.body);
    let algorithm = DerReader::new(info.take(der::SEQUENCE)?.body).take(der::OID)?.body;
    let (_unused_bits, key) = info.take(BIT_STRING)?.body.split_first()?;
    if algorithm != RSA_ENCRYPTION {
        return Some(key);
    }
    let modulus = DerReader::new(der::only(key, der::SEQUENCE)?.body).take(der::INTEGER)?.body;
    Some(&modulus[modulus.iter().take_while(|byte| **byte == 0).count()..])
}

fn row(id: u32, values: &[(AttributeNumber, &[u8])]) -> ObjectRow {
    ObjectRow { id, values: values.iter().map(|(attribute, value)| (*attribute, value.to_vec())).collect() }
}
