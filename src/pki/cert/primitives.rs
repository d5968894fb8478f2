//! Whether primitive values, and the names made of them, are DER (X.690) in the form that every reader of certificates
//! accepts.

use super::der::{self, Tlv};
use super::name;

const BIT_STRING: u8 = 0x03;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// GnuTLS stores an object identifier as text in this many bytes, the final NUL included.
const OID_TEXT_LIMIT: usize = 128;

/// A Name of string types that OpenSSL reads in a name, all decodable.
pub(super) fn is_name(name: &Tlv<'_>) -> bool {
    name::rdns(name.raw).is_some_and(|rdns| {
        rdns.iter().all(|rdn| {
            !rdn.is_empty()
                && rdn.iter().all(|attribute| {
                    is_oid(&Tlv { tag: der::OID, body: attribute.oid, raw: attribute.oid_raw })
                        && match (attribute.value.tag, attribute.text()) {
                            // UTF8, Numeric, Printable, T61, IA5, Universal, BMP.
                            (
                                0x0c | 0x12 | 0x13 | 0x14 | 0x16 | 0x1c | 0x1e,
                                name::AttributeValue::Text(_),
                            ) => true,
                            // x500UniqueIdentifier.
                            (BIT_STRING, _) => is_bits(&attribute.value),
                            _ => false,
                        }
                })
        })
    })
}

/// Every arc ends, none begins with a padding byte (X.690 section 8.19.2) and all are below 2^31: Go cannot represent
/// others, nor GnuTLS more than 127 characters.
pub(super) fn is_oid(oid: &Tlv<'_>) -> bool {
    let mut arc: u32 = 0;
    let mut digits = 0;
    for byte in oid.body {
        if digits == 0 && *byte == 0x80 || arc >= 1 << 24 {
            return false;
        }
        digits += 1;
        arc = arc << 7 | u32::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            (arc, digits) = (0, 0);
        }
    }
    // A byte is at most four characters of text; the first stands for two numbers.
    let is_short = 4 * oid.body.len() + 2 < OID_TEXT_LIMIT;
    digits == 0 && !oid.body.is_empty() && (is_short || name::dotted(oid.body).len() < OID_TEXT_LIMIT)
}

/// As short as it can be (X.690 section 8.3.2).
pub(super) fn is_integer(number: &Tlv<'_>) -> bool {
    match number.body {
        [] => false,
        [0, second, ..] => second & 0x80 != 0,
        [0xff, second, ..] => second & 0x80 == 0,
        _ => true,
    }
}

/// A BIT STRING whose padding is zero (X.690 section 11.2.1).
pub(super) fn is_bits(bits: &Tlv<'_>) -> bool {
    match bits.body {
        [0] => true,
        [unused @ 0..=7, .., last] => last.trailing_zeros() >= u32::from(*unused),
        _ => false,
    }
}

/// A BIT STRING of whole bytes.
pub(super) fn is_octets(bits: &Tlv<'_>) -> bool {
    bits.body.first() == Some(&0)
}

/// Section 4.1.2.5: with seconds, without fractions, in UTC.
pub(super) fn is_time(time: &Tlv<'_>) -> bool {
    let digits = match time.tag {
        UTC_TIME => 12,
        GENERALIZED_TIME => 14,
        _ => return false,
    };
    time.body.len() == digits + 1
        && time.body[..digits].iter().all(u8::is_ascii_digit)
        && time.body[digits] == b'Z'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primitives_are_der() {
        let tlv = |body: &'static [u8]| Tlv { tag: 0, body, raw: body };
        for (body, wanted) in [
            (&b""[..], false),
            (b"\x2a\x03", true),
            (b"\x2a\x83", false),
            (b"\x80\x01", false),
            (b"\x2a\x80\x01", false),
            (b"\x2a\x81\x00", true),
            // 2^31 - 1, 2^31, and one that no integer holds.
            (b"\x2a\x87\xff\xff\xff\x7f", true),
            (b"\x2a\x88\x80\x80\x80\x00", false),
            (b"\x2a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", false),
            (&[0x2a; 42], true),
            (&[0x2a; 43], false),
        ] {
            assert_eq!(is_oid(&tlv(body)), wanted, "{body:x?}");
        }
        for (body, wanted) in [
            (&b""[..], false),
            (b"\x00", true),
            (b"\x00\x7f", false),
            (b"\x00\x80", true),
            (b"\xff\x80", false),
            (b"\xff\x7f", true),
        ] {
            assert_eq!(is_integer(&tlv(body)), wanted, "{body:x?}");
        }
        for (tag, body, wanted) in [
            (UTC_TIME, &b"260101000000Z"[..], true),
            (UTC_TIME, b"2601010000Z", false),
            (UTC_TIME, b"260101000000+0100", false),
            (GENERALIZED_TIME, b"20260101000000Z", true),
            (GENERALIZED_TIME, b"20260101000000.5Z", false),
            (0x16, b"260101000000Z", false),
        ] {
            assert_eq!(is_time(&Tlv { tag, body, raw: body }), wanted, "{body:x?}");
        }
    }
}
