//! Just enough DER (X.690 chapter 10) to walk names, `CertAux` and PKCS#7, which x509-parser does not read or does not
//! return. Definite, minimal lengths and one-byte tags only; no recursion, no copies, no allocation whose size the
//! input determines.

/// SEQUENCE, SEQUENCE OF.
pub(crate) const SEQUENCE: u8 = 0x30;
/// SET, SET OF.
pub(crate) const SET: u8 = 0x31;
/// INTEGER.
pub(crate) const INTEGER: u8 = 0x02;
/// BIT STRING.
pub(crate) const BIT_STRING: u8 = 0x03;
/// NULL.
pub(crate) const NULL: u8 = 0x05;
/// OCTET STRING.
pub(crate) const OCTET_STRING: u8 = 0x04;
/// OBJECT IDENTIFIER.
pub(crate) const OID: u8 = 0x06;
/// UTF8String.
pub(crate) const UTF8_STRING: u8 = 0x0c;
/// `[0]`, constructed.
pub(crate) const CONTEXT_0: u8 = 0xa0;
/// `[1]`, constructed.
pub(crate) const CONTEXT_1: u8 = 0xa1;

/// One element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tlv<'a> {
    /// Its tag byte.
    pub(crate) tag: u8,
    /// Its content.
    pub(crate) body: &'a [u8],
    /// All of it: tag, length, content.
    pub(crate) raw: &'a [u8],
}

/// Reads elements one after the other.
#[derive(Clone, Debug)]
pub(crate) struct DerReader<'a>(&'a [u8]);

impl<'a> DerReader<'a> {
    /// Reads from the front of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        DerReader(bytes)
    }

    /// The unread rest.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Whether all has been read.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element; `None` at the end, and if the bytes are not DER.
    pub(crate) fn next(&mut self) -> Option<Tlv<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = digits.iter().fold(0, |sum: usize, digit| sum << 8 | usize::from(*digit));
                if digits.first() == Some(&0) || length < 0x80 {
                    return None;
                }
                (length, rest)
            }
            _ => return None,
        };
        let (body, rest) = rest.split_at_checked(length)?;
        let raw = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some(Tlv { tag, body, raw })
    }

    /// The next element if it has this tag; else nothing is read.
    pub(crate) fn take(&mut self, tag: u8) -> Option<Tlv<'a>> {
        let mut ahead = self.clone();
        let tlv = ahead.next().filter(|tlv| tlv.tag == tag)?;
        *self = ahead;
        Some(tlv)
    }
}

/// The only element of `bytes`, if it has this tag and nothing follows.
pub(crate) fn only(bytes: &[u8], tag: u8) -> Option<Tlv<'_>> {
    let mut reader = DerReader::new(bytes);
    reader.take(tag).filter(|_| reader.is_empty())
}

/// Appends one element.
pub(crate) fn push(into: &mut Vec<u8>, tag: u8, body: &[u8]) {
    push_head(into, tag, body.len());
    into.extend(body);
}

fn push_head(into: &mut Vec<u8>, tag: u8, length: usize) {
    into.push(tag);
    match u8::try_from(length) {
        Ok(length @ 0..=0x7f) => into.push(length),
        _ => {
            let digits = length.to_be_bytes();
            let digits = &digits[digits.iter().take_while(|digit| **digit == 0).count()..];
            // At most eight digits.
            into.push(0x80 | digits.len() as u8);
            into.extend(digits);
        }
    }
}

/// One element.
pub(crate) fn element(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 6);
    push(&mut bytes, tag, body);
    bytes
}

/// An INTEGER that is not negative.
pub(crate) fn unsigned(value: u32) -> Vec<u8> {
    unsigned_bytes(&value.to_be_bytes())
}

/// The same, of any size, from its big-endian bytes.
pub(crate) fn unsigned_bytes(number: &[u8]) -> Vec<u8> {
    let bare = &number[number.iter().take_while(|digit| **digit == 0).count()..];
    // A zero in front if the first bit would be a sign, or if there is no digit.
    let zero = bare.first().is_none_or(|first| *first >= 0x80);
    let mut bytes = Vec::with_capacity(bare.len() + 7);
    push_head(&mut bytes, INTEGER, bare.len() + usize::from(zero));
    if zero {
        bytes.push(0);
    }
    bytes.extend(bare);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_minimal() {
        for (value, wanted) in [
            (0, &[0][..]),
            (0x7f, &[0x7f]),
            (0x80, &[0, 0x80]),
            (10_000, &[0x27, 0x10]),
            (u32::MAX, &[0, 0xff, 0xff, 0xff, 0xff]),
        ] {
            assert_eq!(unsigned(value)[2..], *wanted);
        }
    }

    #[test]
    fn lengths_are_minimal_and_definite() {
        for bad in [
            &[0x30, 0x80, 0, 0][..],
            &[0x04, 0x81, 0x01, 0],
            &[0x04, 0x82, 0x00, 0x80],
            &[0x04, 0x85, 1, 1, 1, 1, 1],
            &[0x1f, 0x81, 0x01, 0x00],
            &[0x04, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x04, 0x02, 0x00],
            &[0x04],
            &[],
        ] {
            assert!(DerReader::new(bad).next().is_none(), "{bad:x?}");
        }
    }

    #[test]
    fn what_was_pushed_is_read_back() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000] {
            let body = vec![7; length];
            let mut bytes = Vec::new();
            push(&mut bytes, OCTET_STRING, &body);
            let tlv = only(&bytes, OCTET_STRING).expect("one element");
            assert_eq!((tlv.body, tlv.raw), (&body[..], &bytes[..]));
            assert!(only(&bytes, SEQUENCE).is_none());
            bytes.push(0);
            assert!(only(&bytes, OCTET_STRING).is_none());
        }
    }

    #[test]
    fn take_reads_nothing_when_the_tag_differs() {
        let mut reader = DerReader::new(&[0x02, 0x01, 0x05, 0x04, 0x00]);
        assert!(reader.take(OCTET_STRING).is_none());
        assert_eq!(reader.take(INTEGER).expect("integer").body, [5]);
        assert_eq!(reader.rest(), [0x04, 0x00]);
    }
}
