//! What a p11-kit source file distrusts: blocked by hand, or by the vendor. The rules were seen on p11-kit 0.24.1.

use crate::pki::cert::{Certificate, pem};

/// What a p11-kit source file distrusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Distrusted {
    /// This certificate, and every other with its key.
    Certificate(Certificate),
    /// Whatever has this issuer and serial number (DER): NSS's list has entries without a certificate.
    IssuedAs { issuer: Vec<u8>, serial: Vec<u8> },
}

impl Distrusted {
    /// Whether it applies to this certificate: p11-kit blocks by public key, and by issuer and serial number.
    pub(crate) fn is(&self, certificate: &Certificate) -> bool {
        match self {
            Distrusted::Certificate(blocked) => {
                blocked.public_key() == certificate.public_key()
                    || (blocked.issuer_der() == certificate.issuer_der()
                        && blocked.serial() == certificate.serial())
            }
            Distrusted::IssuedAs { issuer, serial } => certificate.is_issued_as(issuer, serial),
        }
    }
}

/// What a source file distrusts: objects with `x-distrusted: true` (p11-kit's persist format), and TRUSTED CERTIFICATE
/// blocks whose settings name no trusted purpose.
pub(crate) fn distrusted(content: &[u8]) -> Vec<Distrusted> {
    const HEAD: &str = "[p11-kit-object-v1]";
    // A vendor's file is large, and most contain none.
    let Ok(text) = std::str::from_utf8(content) else { return Vec::new() };
    if text.contains(HEAD) && text.contains("x-distrusted:") {
        let objects = text.split(HEAD).filter(|object| attribute(object, "x-distrusted") == Some("true"));
        return objects.flat_map(distrusted_object).collect();
    }
    if !text.contains("TRUSTED CERTIFICATE") {
        return Vec::new();
    }
    let blocks = pem::blocks(content);
    let distrusted = blocks.iter().filter(|block| Certificate::is_distrusted_by_block(block));
    distrusted.filter_map(Certificate::from_block).map(Distrusted::Certificate).collect()
}

fn distrusted_object(object: &str) -> Vec<Distrusted> {
    let blocks = pem::blocks(object.as_bytes());
    if blocks.is_empty()
        && let Some(issuer) = attribute(object, "issuer").and_then(unquoted)
        && let Some(serial) = attribute(object, "serial-number").and_then(unquoted)
    {
        return vec![Distrusted::IssuedAs { issuer, serial }];
    }
    blocks.iter().filter_map(Certificate::from_block).map(Distrusted::Certificate).collect()
}

/// The value of `key: value` in an object of the persist format.
fn attribute<'o>(object: &'o str, key: &str) -> Option<&'o str> {
    let mut pairs = object.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(it, _)| it.trim() == key).map(|(_, value)| value.trim())
}

/// The bytes of a string of the persist format: in quotes, `%` and two hex digits for any byte.
fn unquoted(value: &str) -> Option<Vec<u8>> {
    let mut rest = value.strip_prefix('"')?.strip_suffix('"')?.as_bytes();
    let mut bytes = Vec::new();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte == b'%' {
            let (digits, behind) = rest.split_at_checked(2)?;
            bytes.extend(hex::decode(digits).ok()?);
            rest = behind;
        } else {
            bytes.push(byte);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::P11Format;
    use super::super::tests::root;
    use super::*;

    #[test]
    fn a_p11_kit_file_says_what_it_distrusts() {
        let roots = [root("A"), root("B"), root("C")];
        let trust = ["trusted: true", "x-distrusted: true", "x-distrusted: false"];
        let file: String = roots
            .iter()
            .zip(trust)
            .map(|(root, trust)| format!("[p11-kit-object-v1]\nlabel: \"x\"\n{trust}\n{}\n", root.to_pem()))
            .collect();
        assert_eq!(distrusted(file.as_bytes()), [Distrusted::Certificate(roots[1].clone())]);
        assert_eq!(distrusted(roots[0].to_pem().as_bytes()), []);
    }

    #[test]
    fn an_object_without_a_certificate_distrusts_by_issuer_and_serial() {
        let [root, other] = ["100% \"A\""; 2].map(root);
        let escaped = |bytes: &[u8]| bytes.iter().map(|b| format!("%{b:02x}")).collect::<String>();
        let mut serial = vec![2, u8::try_from(root.serial().len()).unwrap()];
        serial.extend_from_slice(root.serial());
        let object = |trust: &str| {
            format!(
                "[p11-kit-object-v1]\nlabel: \"x\"\nclass: certificate\nissuer: \"{}\"\nserial-number: \"{}\"\n{trust}\n",
                escaped(root.issuer_der()),
                escaped(&serial)
            )
        };
        let found = distrusted(object("x-distrusted: true").as_bytes());
        assert_eq!(found.len(), 1);
        assert!(found[0].is(&root) && !found[0].is(&other));
        assert_eq!(distrusted(object("x-distrusted: false").as_bytes()), []);
        // Bytes that need no escape may be unescaped.
        assert_eq!(unquoted("\"0%22a%00\"").as_deref(), Some(&b"0\x22a\0"[..]));
        for broken in ["", "\"", "x", "\"%\"", "\"%2\"", "\"%zz\""] {
            assert_eq!(unquoted(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_trusted_certificate_without_a_trusted_purpose_is_distrusted() {
        let root = root("A");
        let file = P11Format::TrustedPem.entry(&root).body;
        assert_eq!(distrusted(&file), [Distrusted::Certificate(root.clone())]);
        assert_eq!(distrusted(root.to_pem().as_bytes()), []);
    }

    #[test]
    fn a_stanza_may_distrust() {
        let (good, bad) = (root("Good"), root("Bad"));
        let stanza =
            |trust: &str, root: &Certificate| format!("[p11-kit-object-v1]\n{trust}\n{}\n", root.to_pem());
        let text = format!("# x\n{}{}", stanza("trusted: true", &good), stanza("x-distrusted: true", &bad));
        assert_eq!(distrusted(text.as_bytes()), [Distrusted::Certificate(bad)]);
        assert_eq!(distrusted(text.replace("true", "false").as_bytes()), []);
        assert_eq!(distrusted(good.to_pem().as_bytes()), []);
    }
}
