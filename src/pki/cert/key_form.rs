//! The form of a root's public key. Java loads nothing of a keystore that holds a key which it cannot decode, and Go
//! skips such a root, so only what every reader decodes becomes an anchor (threat T39): curves by name, uncompressed
//! points that lie on their curve, sizes that readers support. Keys of unknown algorithms pass; no reader decodes them.

use super::curve;
use super::der::{self, DerReader, Tlv};
use super::primitives::is_integer;

/// The largest RSA key that Java, OpenSSL and GnuTLS accept.
const RSA_MAXIMUM: usize = 16384;

/// Object identifiers of key algorithms.
pub(super) mod id {
    pub(in crate::pki::cert) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    pub(in crate::pki::cert) const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
    /// The mask generation function of RSASSA-PSS (RFC 8017 appendix B.2.1).
    pub(in crate::pki::cert) const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8];
    pub(in crate::pki::cert) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    /// Java's other names for RSA and DSA keys (`sun.security.util.KnownOIDs`): the arc of PKCS #1, X.509's of 1988,
    /// and that of the OIW.
    pub(super) const RSA_OF_JAVA: [&[u8]; 2] =
        [&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1], &[0x55, 0x08, 1, 1]];
    pub(in crate::pki::cert) const DSA_OF_JAVA: &[u8] = &[0x2b, 0x0e, 3, 2, 12];
    /// HSS/LMS (RFC 8708).
    pub(in crate::pki::cert) const HSS_LMS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 3, 17];
    const ML_KEM: [&[u8]; 3] = [
        &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 4, 1],
        &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 4, 2],
        &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 4, 3],
    ];
    pub(in crate::pki::cert) const DSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1];
    const DH: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 3, 1];
    const DH_X942: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3e, 2, 1];
    const RSA_OAEP: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 7];
    const ECDH: &[u8] = &[0x2b, 0x81, 0x04, 1, 12];
    const ECMQV: &[u8] = &[0x2b, 0x81, 0x04, 1, 13];
    const X25519: &[u8] = &[0x2b, 0x65, 110];
    const X448: &[u8] = &[0x2b, 0x65, 111];
    /// Keys for key agreement or encryption; none of them signs anything.
    pub(super) const NOT_SIGNING: [&[u8]; 10] =
        [DH, DH_X942, RSA_OAEP, ECDH, ECMQV, X25519, X448, ML_KEM[0], ML_KEM[1], ML_KEM[2]];
    pub(in crate::pki::cert) const ED25519: &[u8] = &[0x2b, 0x65, 112];
    pub(in crate::pki::cert) const ED448: &[u8] = &[0x2b, 0x65, 113];
}

/// The parts of a SubjectPublicKeyInfo.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublicKeyInfo<'a> {
    /// The algorithm: the content of the OBJECT IDENTIFIER.
    pub(super) algorithm: &'a [u8],
    /// The algorithm's parameters.
    pub(super) parameters: Option<Tlv<'a>>,
    /// The key, without the BIT STRING's first byte.
    pub(super) bytes: &'a [u8],
}

impl<'a> PublicKeyInfo<'a> {
    /// Splits a SubjectPublicKeyInfo.
    pub(super) fn of(info: &Tlv<'a>) -> Option<PublicKeyInfo<'a>> {
        let mut parts = DerReader::new(info.body);
        let (algorithm, parameters) = algorithm(&parts.take(der::SEQUENCE)?)?;
        let bytes = parts.take(der::BIT_STRING)?.body.split_first()?.1;
        Some(PublicKeyInfo { algorithm, parameters, bytes })
    }
}

/// An AlgorithmIdentifier: the content of its OBJECT IDENTIFIER, and the parameters.
pub(super) fn algorithm<'a>(identifier: &Tlv<'a>) -> Option<(&'a [u8], Option<Tlv<'a>>)> {
    let mut parts = DerReader::new(identifier.body);
    Some((parts.take(der::OID)?.body, parts.next()))
}

/// Checks a SubjectPublicKeyInfo; the error is the reason, with the key as its subject.
pub(super) fn check(info: &[u8]) -> Result<(), String> {
    let malformed = || "its public key is malformed".to_owned();
    let info = der::only(info, der::SEQUENCE).ok_or_else(malformed)?;
    let key = PublicKeyInfo::of(&info).ok_or_else(malformed)?;
    match key.algorithm {
        id::RSA | id::RSA_PSS => rsa(key.bytes),
        id::EC => elliptic(&key),
        other if id::RSA_OF_JAVA.contains(&other) => rsa(key.bytes),
        id::DSA | id::DSA_OF_JAVA => dsa(&key).ok_or_else(|| "its DSA key is malformed".to_owned()),
        id::ED25519 => of_size(&key, 32, "Ed25519"),
        id::ED448 => of_size(&key, 57, "Ed448"),
        other if id::NOT_SIGNING.contains(&other) => {
            Err("its key is of a kind that signs nothing: it cannot have issued a certificate".to_owned())
        }
        _ => Ok(()),
    }
}

/// The modulus and the exponent of an RSAPublicKey, both without a leading zero byte.
pub(super) fn rsa_numbers(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut numbers = DerReader::new(der::only(key, der::SEQUENCE)?.body);
    let mut number = || numbers.take(der::INTEGER).and_then(|number| positive(&number));
    let found = (number()?, number()?);
    numbers.is_empty().then_some(found)
}

/// The bits of a number without a leading zero byte.
pub(super) fn bits(number: &[u8]) -> usize {
    number.len() * 8 - number.first().map_or(0, |first| first.leading_zeros() as usize)
}

/// The digits of a number above zero.
fn positive<'a>(number: &Tlv<'a>) -> Option<&'a [u8]> {
    if !is_integer(number) {
        return None;
    }
    match number.body {
        [0] => None,
        [0, digits @ ..] => Some(digits),
        digits => digits.first().is_some_and(|first| *first < 0x80).then_some(digits),
    }
}

fn rsa(key: &[u8]) -> Result<(), String> {
    let (modulus, exponent) = rsa_numbers(key).ok_or("its RSA key is malformed")?;
    let bits = bits(modulus);
    if bits > RSA_MAXIMUM {
        return Err(format!("its RSA key has {bits} bits, more than the {RSA_MAXIMUM} that programs take"));
    }
    if matches!(exponent, [1 | 2]) {
        return Err("the exponent of its RSA key is smaller than 3".to_owned());
    }
    if (exponent.len(), exponent) >= (modulus.len(), modulus) {
        return Err("the exponent of its RSA key is not smaller than the modulus".to_owned());
    }
    Ok(())
}

fn elliptic(key: &PublicKeyInfo<'_>) -> Result<(), String> {
    let curve = match key.parameters {
        Some(curve) if curve.tag == der::OID => curve.body,
        Some(parameters) if parameters.tag == der::SEQUENCE => {
            return Err(
                "its EC key has explicit curve parameters: Java and Go read only curves that are named"
                    .to_owned(),
            );
        }
        _ => return Err("its EC key names no curve".to_owned()),
    };
    match key.bytes {
        [4, coordinates @ ..] if coordinates.len() >= 2 && coordinates.len().is_multiple_of(2) => {
            match curve::holds(curve, coordinates) {
                Some(false) => Err("its EC key is damaged: the point does not lie on the curve".to_owned()),
                _ => Ok(()),
            }
        }
        [2 | 3 | 6 | 7, ..] => {
            Err("the point of its EC key is compressed: Java and Go read only uncompressed ones".to_owned())
        }
        _ => Err("the point of its EC key is malformed".to_owned()),
    }
}

/// RFC 8410 section 3: the parameters must be absent.
fn of_size(key: &PublicKeyInfo<'_>, size: usize, name: &str) -> Result<(), String> {
    if key.parameters.is_none() && key.bytes.len() == size {
        Ok(())
    } else {
        Err(format!("its {name} key is malformed"))
    }
}

/// RFC 3279 section 2.3.2; the parameters may be inherited.
fn dsa(key: &PublicKeyInfo<'_>) -> Option<()> {
    if let Some(parameters) = key.parameters {
        let mut numbers = DerReader::new(Some(parameters.body).filter(|_| parameters.tag == der::SEQUENCE)?);
        for _ in 0..3 {
            positive(&numbers.take(der::INTEGER)?)?;
        }
        numbers.is_empty().then_some(())?;
    }
    der::only(key.bytes, der::INTEGER).and_then(|number| positive(&number)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{key, oid, rsa_key, sequence, tlv};
    use super::*;

    fn info(algorithm: &[&[u8]], bytes: &[u8]) -> Vec<u8> {
        sequence(&[&sequence(algorithm), &tlv(3, &[&[0][..], bytes].concat())])
    }

    #[test]
    fn keys_under_other_names_of_java_are_checked_too() {
        for (name, size) in [
            ("1.2.840.113549.1.1", 40),
            ("2.5.8.1.1", 40),
            ("1.3.14.3.2.12", 12),
            ("2.16.840.1.101.3.4.4.1", 800),
        ] {
            assert!(check(&info(&[&oid(name)], &vec![7; size])).is_err(), "{name}");
        }
    }

    #[test]
    fn keys_that_every_reader_decodes_pass() {
        let p256 = rcgen::PublicKeyData::subject_public_key_info(key());
        for good in [p256, rsa_key(2048), rsa_key(16384), info(&[&oid("1.2.3.4")], b"x")] {
            assert_eq!(check(&good), Ok(()));
        }
        for bits in [16385, 32768] {
            assert!(check(&rsa_key(bits)).expect_err("too large").contains("16384"));
        }
    }

    #[test]
    fn points_are_whole_and_on_a_curve_with_a_name() {
        let (ec, p256) = (oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7"));
        let good = rcgen::PublicKeyData::subject_public_key_info(key());
        let point = &good[good.len() - 65..];
        let mut off = point.to_vec();
        off[64] ^= 1;
        for (parameters, bytes, wanted) in [
            (&p256[..], point, ""),
            (&p256, &off, "does not lie on the curve"),
            (&p256, &[&[2][..], &point[1..33]].concat(), "compressed"),
            (&p256, &point[..64], "malformed"),
            (&p256, &point[..63], "does not lie"),
            (&p256, &[0], "malformed"),
            (&p256, &[], "malformed"),
            (&sequence(&[]), point, "explicit"),
            (&[5, 0], point, "names no curve"),
            (&[], point, "names no curve"),
            // Brainpool's curve, which is not computed here.
            (&oid("1.3.36.3.3.2.8.1.1.7"), point, ""),
        ] {
            let result = check(&info(&[&ec, parameters], bytes));
            match wanted {
                "" => assert_eq!(result, Ok(())),
                _ => assert!(result.clone().expect_err(wanted).contains(wanted), "{result:?}"),
            }
        }
    }
}
