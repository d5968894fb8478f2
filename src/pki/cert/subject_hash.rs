//! The number that names links in a hashed certificate directory (`4042bcee.0`): the output of `openssl x509
//! -subject_hash` since OpenSSL 1.0. A name for lookup, not used for trust.

use md5::Md5;
use sha1::{Digest, Sha1};

use super::der;
use super::name::{self, AttributeValue, NameAttribute};

/// The hash of a subject, given as the DER of its Name; print it as `{:08x}`.
///
/// SHA-1 over the relative names one after the other, without the SEQUENCE around them, each string in its
/// canonical form; the first four bytes as a little-endian number (OpenSSL: `X509_NAME_hash_ex`, `x509_name_canon`).
pub(super) fn subject_hash(name: &[u8]) -> u32 {
    let mut canonical = Vec::new();
    for rdn in name::rdns(name).unwrap_or_default() {
        let mut members: Vec<Vec<u8>> = rdn.iter().map(canonical_attribute).collect();
        // DER orders the members of a SET OF by their encoding (X.690 section 11.6).
        members.sort();
        der::push(&mut canonical, der::SET, &members.concat());
    }
    let digest: [u8; 20] = Sha1::digest(&canonical).into();
    u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// The hash of OpenSSL before 1.0: MD5 over the whole encoded Name; its first four bytes as a little-endian number
/// (OpenSSL: `X509_NAME_hash_old`).
pub(super) fn subject_hash_old(name: &[u8]) -> u32 {
    let digest: [u8; 16] = Md5::digest(name).into();
    u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])
}

fn canonical_attribute(attribute: &NameAttribute<'_>) -> Vec<u8> {
    let mut body = attribute.oid_raw.to_vec();
    match canonical_value(attribute) {
        Some(text) => der::push(&mut body, der::UTF8_STRING, text.as_bytes()),
        None => body.extend(attribute.value.raw),
    }
    let mut whole = Vec::new();
    der::push(&mut whole, der::SEQUENCE, &body);
    whole
}

/// White space trimmed and collapsed, ASCII letters in lower case; `None` for the types that OpenSSL hashes as they are
/// (NumericString is one of them). A broken string has no canonical form: OpenSSL cannot read such a certificate at
/// all.
fn canonical_value(attribute: &NameAttribute<'_>) -> Option<String> {
    if !matches!(attribute.value.tag, 0x0c | 0x13 | 0x14 | 0x16 | 0x1a | 0x1c | 0x1e) {
        return None;
    }
    let AttributeValue::Text(text) = attribute.text() else { return None };
    let mut canonical = String::with_capacity(text.len());
    for word in text.split(is_space).filter(|word| !word.is_empty()) {
        if !canonical.is_empty() {
            canonical.push(' ');
        }
        canonical.push_str(word);
    }
    canonical.make_ascii_lowercase();
    Some(canonical)
}

/// C's `isspace` in the C locale; Rust's ASCII white space lacks the vertical tab.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

#[cfg(test)]
mod tests {
    use super::super::testing::{BMP, NUMERIC, PRINTABLE, T61, UTF8, attribute, name};
    use super::*;

    fn hash_of(tag: u8, value: &[u8]) -> u32 {
        subject_hash(&name(&[&[&attribute("2.5.4.3", tag, value)]]))
    }

    #[test]
    fn an_empty_subject_has_the_hash_that_openssl_prints() {
        assert_eq!(subject_hash(&name(&[])), 0xeea3_39da);
    }

    #[test]
    fn spacing_case_and_string_type_do_not_matter() {
        let wanted = hash_of(UTF8, b"test root ca");
        for (tag, value) in [
            (UTF8, &b"Test Root CA"[..]),
            (PRINTABLE, b"TEST ROOT CA"),
            (T61, b"  test \t\n root\x0b\x0c\r CA "),
            (BMP, b"\0T\0e\0s\0t\0 \0R\0o\0o\0t\0 \0C\0A"),
        ] {
            assert_eq!(hash_of(tag, value), wanted, "{tag:x}");
        }
        assert_ne!(hash_of(NUMERIC, b"test root ca"), wanted);
        // Only ASCII is folded and collapsed.
        assert_ne!(hash_of(UTF8, "Ä".as_bytes()), hash_of(UTF8, "ä".as_bytes()));
        assert_ne!(hash_of(UTF8, "a\u{a0}b".as_bytes()), hash_of(UTF8, b"a b"));
        assert_eq!(hash_of(T61, b"caf\xe9"), hash_of(UTF8, "café".as_bytes()));
    }

    #[test]
    fn members_of_one_relative_name_are_ordered_and_relative_names_are_not() {
        let cn = attribute("2.5.4.3", UTF8, b"a");
        let o = attribute("2.5.4.10", UTF8, b"b");
        assert_eq!(subject_hash(&name(&[&[&cn, &o]])), subject_hash(&name(&[&[&o, &cn]])));
        assert_ne!(subject_hash(&name(&[&[&cn], &[&o]])), subject_hash(&name(&[&[&o], &[&cn]])));
        assert_ne!(subject_hash(&name(&[&[&cn, &o]])), subject_hash(&name(&[&[&cn], &[&o]])));
    }
}
