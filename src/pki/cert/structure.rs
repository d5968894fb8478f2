//! Is a certificate built exactly as RFC 5280 section 4.1 and DER require? x509-parser is more tolerant than the
//! programs that will read our bundles, and OpenSSL refuses a WHOLE bundle for one certificate in it that it cannot
//! decode: such an anchor would disable every other root. So an anchor has to pass here first.
//!
//! Checks form only: tags, lengths, that nothing is left over. [`super::policy`] judges what the fields mean.

use super::der::{self, DerReader, Tlv};
use super::extensions::{self, Extension};
use super::primitives::{is_bits, is_integer, is_name, is_octets, is_oid, is_time};

const BIT_STRING: u8 = 0x03;
const BOOLEAN: u8 = 0x01;
/// issuerUniqueID and subjectUniqueID: `[1]` and `[2]`, implicit.
const UNIQUE_IDS: [u8; 2] = [0x81, 0x82];
/// extensions: `[3]`, explicit.
const CONTEXT_3: u8 = 0xa3;

/// The fields of a well-formed certificate.
#[derive(Debug)]
pub(super) struct CertificateFields<'a> {
    /// The content of the INTEGER.
    pub(super) serial: &'a [u8],
    /// The signature's AlgorithmIdentifier.
    pub(super) algorithm: Tlv<'a>,
    /// The issuer's Name.
    pub(super) issuer: Tlv<'a>,
    /// The subject's Name.
    pub(super) subject: Tlv<'a>,
    /// The SubjectPublicKeyInfo.
    pub(super) public_key: Tlv<'a>,
    /// Whether it has issuerUniqueID or subjectUniqueID.
    pub(super) has_unique_ids: bool,
    /// Every extension.
    pub(super) extensions: Vec<Extension<'a>>,
}

/// Whether `bytes` are exactly one certificate that OpenSSL and GnuTLS decode. Checks the outer form only.
pub(crate) fn is_decodable(bytes: &[u8]) -> bool {
    decode(bytes).is_ok()
}

/// Whether `bytes` are one certificate built as RFC 5280 section 4.1 and DER require, in every standard extension too:
/// what trustup itself may add to a store.
pub(crate) fn is_well_formed(bytes: &[u8]) -> bool {
    malformed_part(bytes).is_none()
}

/// The malformed part of a certificate; `None` for a well-formed one.
pub(crate) fn malformed_part(bytes: &[u8]) -> Option<&'static str> {
    check(bytes).err()
}

/// Checks a whole certificate; the error names the part that is malformed.
pub(super) fn check(der: &[u8]) -> Result<(), &'static str> {
    fields(der).map(drop)
}

/// Checks a whole certificate and returns its fields; the error names the part that is malformed.
pub(super) fn fields(der: &[u8]) -> Result<CertificateFields<'_>, &'static str> {
    let fields = decode(der)?;
    // Java loads nothing of a keystore that holds a certificate without a subject.
    for (name, part) in [(fields.issuer, "issuer"), (fields.subject, "subject")] {
        if name.body.is_empty() {
            return Err(part);
        }
    }
    fields.extensions.iter().try_for_each(extensions::check)?;
    Ok(fields)
}

/// What OpenSSL and GnuTLS need to read a certificate at all: they refuse a whole file for one that lacks it. Less than
/// [`check`], which decides what trustup itself may add to a store.
pub(super) fn decode(der: &[u8]) -> Result<CertificateFields<'_>, &'static str> {
    let certificate = der::only(der, der::SEQUENCE).ok_or("certificate")?;
    let mut fields = DerReader::new(certificate.body);
    let tbs = fields.take(der::SEQUENCE).ok_or("TBSCertificate")?;
    let algorithm = fields.take(der::SEQUENCE).filter(is_algorithm).ok_or("signature algorithm")?;
    fields.take(BIT_STRING).filter(is_octets).filter(|_| fields.is_empty()).ok_or("signature")?;

    let mut fields = DerReader::new(tbs.body);
    let version = version(&mut fields).ok_or("version")?;
    let serial = fields.take(der::INTEGER).filter(is_integer).ok_or("serial number")?.body;
    // Section 4.1.1.2: both are the same; GnuTLS refuses to load others.
    fields.take(der::SEQUENCE).filter(|inner| inner.raw == algorithm.raw).ok_or("signature algorithm")?;
    let issuer = fields.take(der::SEQUENCE).filter(is_name).ok_or("issuer")?;
    let mut validity = DerReader::new(fields.take(der::SEQUENCE).ok_or("validity")?.body);
    let times = [validity.next(), validity.next()];
    if !validity.is_empty() || !times.iter().all(|time| time.as_ref().is_some_and(is_time)) {
        return Err("validity");
    }
    let subject = fields.take(der::SEQUENCE).filter(is_name).ok_or("subject")?;
    let public_key = fields.take(der::SEQUENCE).filter(is_public_key).ok_or("public key")?;
    let mut has_unique_ids = false;
    if version > 1 {
        for tag in UNIQUE_IDS {
            let Some(id) = fields.take(tag) else { continue };
            has_unique_ids = true;
            if !is_bits(&id) {
                return Err("unique identifier");
            }
        }
    }
    let mut extensions = Vec::new();
    if version > 2
        && let Some(explicit) = fields.take(CONTEXT_3)
    {
        extensions = read_extensions(&explicit).ok_or("extensions")?;
    }
    if !fields.is_empty() {
        return Err("TBSCertificate");
    }
    Ok(CertificateFields { serial, algorithm, issuer, subject, public_key, has_unique_ids, extensions })
}

/// 1 to 3. The first is the default, which DER omits.
fn version(fields: &mut DerReader<'_>) -> Option<u8> {
    match fields.take(der::CONTEXT_0) {
        None => Some(1),
        Some(explicit) => match der::only(explicit.body, der::INTEGER)?.body {
            [number @ 1..=2] => Some(number + 1),
            _ => None,
        },
    }
}

/// AlgorithmIdentifier: an identifier, and parameters of the kinds that algorithms have.
fn is_algorithm(algorithm: &Tlv<'_>) -> bool {
    let mut parts = DerReader::new(algorithm.body);
    let named = parts.take(der::OID).is_some_and(|oid| is_oid(&oid));
    let parameters = parts.is_empty()
        || parts.next().is_some_and(|parameters| match parameters.tag {
            0x05 => parameters.body.is_empty(),
            der::OID => is_oid(&parameters),
            der::SEQUENCE => true,
            _ => false,
        });
    named && parameters && parts.is_empty()
}

fn is_public_key(key: &Tlv<'_>) -> bool {
    let mut parts = DerReader::new(key.body);
    parts.take(der::SEQUENCE).is_some_and(|algorithm| is_algorithm(&algorithm))
        && parts.take(BIT_STRING).is_some_and(|bits| is_octets(&bits))
        && parts.is_empty()
}

fn read_extensions<'a>(explicit: &Tlv<'a>) -> Option<Vec<Extension<'a>>> {
    let mut extensions = Vec::new();
    let mut list = DerReader::new(der::only(explicit.body, der::SEQUENCE)?.body);
    if list.is_empty() {
        return None;
    }
    while !list.is_empty() {
        let mut parts = DerReader::new(list.take(der::SEQUENCE)?.body);
        let oid = parts.take(der::OID).filter(is_oid)?.body;
        let critical = match parts.take(BOOLEAN).map(|critical| critical.body) {
            None | Some([0]) => false,
            Some([0xff]) => true,
            Some(_) => return None,
        };
        let value = parts.take(der::OCTET_STRING).filter(|_| parts.is_empty())?.body;
        extensions.push(Extension { oid, critical, value });
    }
    Some(extensions)
}

#[cfg(test)]
mod tests {
    use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

    use super::super::testing::{
        BASIC_CONSTRAINTS, TestCertificate, attribute, common_name, name, oid, sequence, tlv,
    };
    use super::*;

    #[test]
    fn well_built_certificates_pass() {
        for der in TLS_SERVER_ROOT_CERTS {
            assert_eq!(check(der), Ok(()));
        }
        assert_eq!(check(&TestCertificate::default().der()), Ok(()));
        assert_eq!(check(&TestCertificate { version: 1, ..TestCertificate::default() }.der()), Ok(()));
        assert_eq!(
            check(&TestCertificate { extensions: Vec::new(), ..TestCertificate::default() }.der()),
            Ok(())
        );
        let id = attribute("2.5.4.45", BIT_STRING, &[4, 0xf0]);
        assert_eq!(check(&TestCertificate::named(name(&[&[&id]])).der()), Ok(()));
    }

    #[test]
    fn names_hold_only_what_openssl_reads() {
        for (tag, value) in [
            (0x1a, &b"VisibleString"[..]),
            (0x1b, b"GeneralString"),
            (0x04, b"octets"),
            (0x30, b""),
            (0x0c, b"\xff"),
            (0x1e, b"\0"),
            (0x1e, b"\xd8\x3d\xdd\x12"),
            (BIT_STRING, b"\x05"),
            (BIT_STRING, b"\x08\0"),
            (BIT_STRING, b"\x01\x01"),
            (0x8c, b"context"),
        ] {
            let subject = name(&[&[&attribute("2.5.4.3", tag, value)]]);
            let draft = TestCertificate { issuer: Some(subject.clone()), ..TestCertificate::default() };
            assert_eq!(check(&draft.der()), Err("issuer"), "{tag:x}");
            let draft =
                TestCertificate { issuer: Some(common_name("Issuer")), ..TestCertificate::named(subject) };
            assert_eq!(check(&draft.der()), Err("subject"), "{tag:x}");
        }
        // Java loads nothing of a keystore that holds a certificate without a subject.
        assert_eq!(check(&TestCertificate::named(name(&[])).der()), Err("issuer"));
        let draft =
            TestCertificate { issuer: Some(common_name("Issuer")), ..TestCertificate::named(name(&[])) };
        assert_eq!(check(&draft.der()), Err("subject"));
        assert_eq!(check(&TestCertificate::named(name(&[&[]])).der()), Err("issuer"));
    }

    #[test]
    fn both_signature_algorithms_are_the_same() {
        let der = TestCertificate::default().der();
        let ecdsa = oid("1.2.840.10045.4.3.2");
        let last = der.windows(ecdsa.len()).rposition(|window| window == ecdsa).expect("there");
        let mut other = der.clone();
        other[last + ecdsa.len() - 1] = 3;
        assert_eq!(check(&other), Err("signature algorithm"));
    }

    #[test]
    fn extensions_are_whole() {
        let with = |value: Vec<u8>| {
            let mut draft = TestCertificate::default();
            draft.extensions.clear();
            let plain = draft.der();
            // A TBSCertificate without extensions, with these bytes after its fields.
            let tbs = der::DerReader::new(&plain[4..]).clone().take(der::SEQUENCE).expect("tbs");
            let rest = &plain[4 + tbs.raw.len()..];
            sequence(&[&tlv(0x30, &[tbs.body, &value].concat()), rest])
        };
        let extension = sequence(&[&oid(BASIC_CONSTRAINTS), &tlv(0x04, b"\x30\0")]);
        assert_eq!(check(&with(tlv(0xa3, &sequence(&[&extension])))), Ok(()));
        for bad in [
            tlv(0xa3, &sequence(&[])),
            tlv(0xa3, b""),
            tlv(0xa3, &sequence(&[&sequence(&[&oid(BASIC_CONSTRAINTS)])])),
            tlv(0xa3, &sequence(&[&sequence(&[&oid(BASIC_CONSTRAINTS), &[1, 1, 5], &tlv(0x04, b"")])])),
            tlv(0xa3, &[sequence(&[&extension]), vec![5, 0]].concat()),
        ] {
            assert_eq!(check(&with(bad.clone())), Err("extensions"), "{bad:x?}");
        }
        assert_eq!(check(&with(tlv(0x05, b""))), Err("TBSCertificate"));
        assert_eq!(check(&with(tlv(0x81, b"\x00\x01"))), Ok(()));
        assert_eq!(check(&with(tlv(0x81, b"\x09\x01"))), Err("unique identifier"));
    }
}
