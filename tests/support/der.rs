//! Certificates and names for tests, built byte by byte where rcgen would refuse: odd strings, missing extensions,
//! old versions, weak keys. The key is made when the tests run.

use std::sync::OnceLock;

use rcgen::{KeyPair, PublicKeyData, SigningKey};

pub const BIT_STRING: u8 = 0x03;
pub const UTF8: u8 = 0x0c;
pub const NUMERIC: u8 = 0x12;
pub const PRINTABLE: u8 = 0x13;
pub const T61: u8 = 0x14;
pub const IA5: u8 = 0x16;
pub const VISIBLE: u8 = 0x1a;
pub const UNIVERSAL: u8 = 0x1c;
pub const BMP: u8 = 0x1e;

pub const BASIC_CONSTRAINTS: &str = "2.5.29.19";
pub const KEY_USAGE: &str = "2.5.29.15";
pub const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
pub const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
pub const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
pub const ANY_USAGE: &str = "2.5.29.37.0";

pub fn tlv(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match body.len() {
        0..=0x7f => bytes.push(body.len() as u8),
        0x80..=0xff => bytes.extend([0x81, body.len() as u8]),
        0x100..=0xffff => bytes.extend([0x82, (body.len() >> 8) as u8, body.len() as u8]),
        _ => bytes.extend([0x83, (body.len() >> 16) as u8, (body.len() >> 8) as u8, body.len() as u8]),
    }
    bytes.extend(body);
    bytes
}

pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

pub fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u64> = dotted.split('.').map(|arc| arc.parse().expect("a number")).collect();
    let mut body = Vec::new();
    for arc in std::iter::once(arcs[0] * 40 + arcs[1]).chain(arcs[2..].iter().copied()) {
        let mut digits = vec![(arc & 0x7f) as u8];
        let mut rest = arc >> 7;
        while rest > 0 {
            digits.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        body.extend(digits.iter().rev());
    }
    tlv(0x06, &body)
}

/// An AttributeTypeAndValue.
pub fn attribute(kind: &str, tag: u8, value: &[u8]) -> Vec<u8> {
    sequence(&[&oid(kind), &tlv(tag, value)])
}

/// A Name of relative names of attributes, in the order given.
pub fn name(rdns: &[&[&[u8]]]) -> Vec<u8> {
    tlv(0x30, &rdns.iter().map(|rdn| tlv(0x31, &rdn.concat())).collect::<Vec<_>>().concat())
}

/// A Name with one CN.
pub fn common_name(text: &str) -> Vec<u8> {
    name(&[&[&attribute("2.5.4.3", UTF8, text.as_bytes())]])
}

pub fn key() -> &'static KeyPair {
    static KEY: OnceLock<KeyPair> = OnceLock::new();
    KEY.get_or_init(|| KeyPair::generate().expect("a P-256 key"))
}

/// The value of an extended key usage extension.
pub fn usages(oids: &[&str]) -> Vec<u8> {
    tlv(0x30, &oids.iter().map(|dotted| oid(dotted)).collect::<Vec<_>>().concat())
}

/// An RSA SubjectPublicKeyInfo of this many bits (the modulus is not a product of two primes: the key is never used).
pub fn rsa_key(bits: usize) -> Vec<u8> {
    let mut modulus = vec![0x5a; bits.div_ceil(8)];
    modulus[0] = 1 << ((bits - 1) % 8);
    if modulus[0] & 0x80 != 0 {
        modulus.insert(0, 0);
    }
    let key = sequence(&[&tlv(0x02, &modulus), &tlv(0x02, &[1, 0, 1])]);
    let algorithm = sequence(&[&oid("1.2.840.113549.1.1.1"), &[0x05, 0x00]]);
    sequence(&[&algorithm, &tlv(0x03, &[&[0][..], &key].concat())])
}

/// A certificate to build: by default a good root that signed itself.
#[derive(Clone)]
pub struct TestCertificate {
    /// 1 or 3.
    pub version: u8,
    pub subject: Vec<u8>,
    pub issuer: Option<Vec<u8>>,
    /// UTCTime.
    pub not_before: &'static str,
    pub not_after: &'static str,
    pub public_key: Option<Vec<u8>>,
    /// OID of the signature; the value is always an ECDSA-SHA256 signature.
    pub signature: &'static str,
    /// OID, critical, value.
    pub extensions: Vec<(&'static str, bool, Vec<u8>)>,
    /// Whether the signature is that of our key, or broken.
    pub signed: bool,
}

impl Default for TestCertificate {
    fn default() -> Self {
        TestCertificate {
            version: 3,
            subject: common_name("Test Root"),
            issuer: None,
            not_before: "200101000000Z",
            not_after: "400101000000Z",
            public_key: None,
            signature: "1.2.840.10045.4.3.2",
            extensions: vec![
                (BASIC_CONSTRAINTS, true, sequence(&[&[0x01, 0x01, 0xff]])),
                (KEY_USAGE, true, vec![0x03, 0x02, 0x01, 0x06]),
            ],
            signed: true,
        }
    }
}

impl TestCertificate {
    pub fn named(subject: Vec<u8>) -> Self {
        TestCertificate { subject, ..TestCertificate::default() }
    }

    pub fn with(mut self, oid: &'static str, value: Vec<u8>) -> Self {
        self.extensions.retain(|(other, ..)| *other != oid);
        self.extensions.push((oid, true, value));
        self
    }

    pub fn without(mut self, oid: &str) -> Self {
        self.extensions.retain(|(other, ..)| *other != oid);
        self
    }

    pub fn der(&self) -> Vec<u8> {
        let algorithm = sequence(&[&oid(self.signature)]);
        let validity =
            sequence(&[&tlv(0x17, self.not_before.as_bytes()), &tlv(0x17, self.not_after.as_bytes())]);
        let mut parts = vec![
            tlv(0x02, &[0x12, 0x34]),
            algorithm.clone(),
            self.issuer.clone().unwrap_or_else(|| self.subject.clone()),
            validity,
            self.subject.clone(),
            self.public_key.clone().unwrap_or_else(|| key().subject_public_key_info()),
        ];
        if self.version == 3 {
            parts.insert(0, tlv(0xa0, &tlv(0x02, &[2])));
            let extensions: Vec<Vec<u8>> = self
                .extensions
                .iter()
                .map(|(kind, critical, value)| {
                    let critical: &[u8] = if *critical { &[0x01, 0x01, 0xff] } else { &[] };
                    sequence(&[&oid(kind), critical, &tlv(0x04, value)])
                })
                .collect();
            if !extensions.is_empty() {
                parts.push(tlv(0xa3, &tlv(0x30, &extensions.concat())));
            }
        }
        let tbs = tlv(0x30, &parts.concat());
        let mut signature = key().sign(&tbs).expect("signed");
        if !self.signed {
            signature = key().sign(b"something else").expect("signed");
        }
        sequence(&[&tbs, &algorithm, &tlv(0x03, &[&[0][..], &signature].concat())])
    }
}
