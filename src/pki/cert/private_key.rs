//! Finds private keys in input that should be certificates: a key that gets into a trust store, or into an image layer,
//! is compromised for good. Names the kind of key, never any of its bytes.

use zeroize::Zeroizing;

use super::der::{self, DerReader};
use super::pem;
use crate::text::encoding;

/// The kind of private key that `bytes` contain anywhere, as far as it is recognisable: in UTF-16 and encoded in base64
/// once more, too.
pub(super) fn find(bytes: &[u8]) -> Option<&'static str> {
    let is_der = bytes.first() == Some(&der::SEQUENCE);
    let narrowed: Vec<u8>;
    let text = if !is_der && bytes.contains(&0) {
        narrowed = encoding::narrowed(bytes);
        &narrowed[..]
    } else {
        bytes
    };
    in_text(text).or_else(|| in_der(text)).or_else(|| in_base64(text)).or_else(|| {
        // Whatever the label says.
        let mut blocks = pem::iter(text).peekable();
        if blocks.peek().is_none() {
            // A key without its BEGIN line.
            return in_der(&pem::decode_base64(text)?);
        }
        blocks.find_map(|block| in_der(block.der.as_deref()?))
    })
}

/// PEM that is encoded in base64 once more, as in a Kubernetes Secret.
fn in_base64(text: &[u8]) -> Option<&'static str> {
    /// Base64 of `-----BEGIN `, whatever follows.
    const BEGIN: &[u8] = b"LS0tLS1CRUdJTi";
    let mut rest = text;
    while let Some(at) = rest.windows(BEGIN.len()).position(|window| window == BEGIN) {
        let run = &rest[at..];
        let length = run.iter().take_while(|byte| !matches!(byte, b'=' | b'"' | b':' | b',')).count();
        let dense = Zeroizing::new(pem::without_blanks(&run[..length]));
        // What is behind the last group of four has less than three bytes.
        let body =
            dense.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
        let whole = &dense[..body.count() / 4 * 4];
        if let Some(kind) = pem::decode_base64(whole).map(Zeroizing::new).and_then(|text| in_text(&text)) {
            return Some(kind);
        }
        rest = &run[length.max(BEGIN.len())..];
    }
    None
}

/// By the words before keys: PEM, OpenSSH, SSH2, PGP; whole or truncated.
fn in_text(text: &[u8]) -> Option<&'static str> {
    const BEGIN: &[u8] = b"BEGIN ";
    const WORDS: &[u8] = b"PRIVATE KEY";
    /// `---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----` is the longest that is known.
    const NEAR: usize = 64;
    if text.starts_with(b"PuTTY-User-Key-File-") {
        return Some("PuTTY");
    }
    let mut rest = text;
    while let Some(at) = rest.windows(BEGIN.len()).position(|window| window == BEGIN) {
        rest = &rest[at + BEGIN.len()..];
        let near = &rest[..rest.len().min(NEAR)];
        let line = near.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or(near);
        if line.windows(WORDS.len()).any(|window| window == WORDS) {
            return Some("PEM");
        }
    }
    None
}

/// By shape: PKCS#1 and DSA, PKCS#8 (RFC 5208, plain and encrypted), SEC 1 (RFC 5915), PKCS#12 (RFC 7292).
fn in_der(bytes: &[u8]) -> Option<&'static str> {
    // PKCS#12 as BER, which some programs write.
    if bytes.starts_with(&[0x30, 0x80, 0x02, 0x01, 0x03]) {
        return Some("PKCS#12");
    }
    let mut fields = DerReader::new(DerReader::new(bytes).take(der::SEQUENCE)?.body);
    let Some(version) = fields.take(der::INTEGER) else {
        let algorithm = fields.take(der::SEQUENCE)?;
        let named = DerReader::new(algorithm.body).take(der::OID).is_some();
        let encrypted = named && fields.take(der::OCTET_STRING).is_some() && fields.is_empty();
        return encrypted.then_some("PKCS#8, encrypted");
    };
    let next = fields.next()?;
    match (version.body, next.tag) {
        ([3], der::SEQUENCE) if DerReader::new(next.body).take(der::OID).is_some() => Some("PKCS#12"),
        ([0 | 1], der::SEQUENCE) if fields.take(der::OCTET_STRING).is_some() => Some("PKCS#8"),
        ([1], der::OCTET_STRING) => Some("SEC 1"),
        ([0 | 1], der::INTEGER) => {
            let numbers = std::iter::from_fn(|| fields.take(der::INTEGER)).count();
            (numbers >= 3).then_some("PKCS#1")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TestCertificate, Xorshift, key, oid, rsa_key, sequence, tlv};
    use super::*;

    fn armor(label: &str, der: &[u8]) -> String {
        pem::encode(der).replace("CERTIFICATE", label)
    }

    /// Shapes of keys; the numbers in them are not keys.
    fn shapes() -> Vec<(&'static str, Vec<u8>)> {
        let number = |n: usize| tlv(0x02, &vec![0x11; n]);
        let algorithm = sequence(&[&oid("1.2.840.113549.1.5.13"), &sequence(&[])]);
        let data = sequence(&[&oid("1.2.840.113549.1.7.1"), &tlv(0xa0, &tlv(0x04, b"x"))]);
        vec![
            ("PKCS#8", key().serialize_der()),
            (
                "PKCS#1",
                sequence(&[
                    &[2, 1, 0],
                    &number(128),
                    &[2, 3, 1, 0, 1],
                    &number(128),
                    &number(64),
                    &number(64),
                ]),
            ),
            (
                "PKCS#1",
                sequence(&[&[2, 1, 0], &number(128), &number(20), &number(128), &number(128), &number(20)]),
            ),
            (
                "SEC 1",
                sequence(&[&[2, 1, 1], &tlv(0x04, &[0x11; 32]), &tlv(0xa0, &oid("1.2.840.10045.3.1.7"))]),
            ),
            ("PKCS#8, encrypted", sequence(&[&algorithm, &tlv(0x04, &[0x11; 48])])),
            ("PKCS#12", sequence(&[&[2, 1, 3], &data])),
        ]
    }

    #[test]
    fn keys_are_found_in_der_in_pem_under_any_label_and_without_one() {
        for (kind, der) in shapes() {
            assert_eq!(find(&der), Some(kind));
            assert_eq!(find(armor("CERTIFICATE", &der).as_bytes()), Some(kind));
            let bare: String = armor("X", &der).lines().filter(|line| !line.contains("---")).collect();
            assert_eq!(find(bare.as_bytes()), Some(kind), "{bare}");
            let behind = format!(
                "{}{}",
                pem::encode(&TestCertificate::default().der()),
                armor("X509 CERTIFICATE", &der)
            );
            assert_eq!(find(behind.as_bytes()), Some(kind));
            let mut trailing = der.clone();
            trailing.extend(b"\n");
            assert!(kind == "PKCS#8, encrypted" || find(&trailing) == Some(kind));
        }
        assert_eq!(find(&[0x30, 0x80, 0x02, 0x01, 0x03, 0x30, 0x80]), Some("PKCS#12"));
    }

    #[test]
    fn keys_are_found_by_their_begin_line_even_cut_off() {
        for label in [
            "PRIVATE KEY",
            "RSA PRIVATE KEY",
            "EC PRIVATE KEY",
            "ENCRYPTED PRIVATE KEY",
            "OPENSSH PRIVATE KEY",
        ] {
            for text in [
                armor(label, b"x"),
                format!("-----BEGIN {label}"),
                format!("text\r\n# -----BEGIN {label}-----\r\nAAAA"),
            ] {
                assert_eq!(find(text.as_bytes()), Some("PEM"), "{text}");
                let wide: Vec<u8> =
                    [0xff, 0xfe].into_iter().chain(text.bytes().flat_map(|byte| [byte, 0])).collect();
                assert_eq!(find(&wide), Some("PEM"));
            }
        }
        assert!(find(b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n").is_some());
        assert!(find(b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n").is_some());
        assert!(find(b"PuTTY-User-Key-File-3: ssh-ed25519\n").is_some());
    }

    #[test]
    fn certificates_and_public_keys_are_none() {
        let certificate = TestCertificate::default().der();
        for der in [certificate.clone(), rsa_key(2048), sequence(&[]), Vec::new(), tlv(0x04, b"x")] {
            assert_eq!(find(&der), None);
            assert_eq!(find(pem::encode(&der).as_bytes()), None);
        }
        assert_eq!(find(b"BEGIN the day without a\nPRIVATE KEY"), None);
        assert_eq!(find(super::super::pkcs7::tests::bag(&[&certificate]).as_slice()), None);
    }

    #[test]
    fn no_input_makes_it_panic() {
        let mut random = Xorshift(0x5eed_0009);
        for (_, der) in shapes() {
            for _ in 0..2000 {
                let _ = find(&random.mutate(&der));
                let _ = find(&random.mutate(armor("PRIVATE KEY", &der).as_bytes()));
            }
        }
    }
}
