//! A certificate of which every field can be odd, and the names of the cases made with it.

use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{PublicKeyData, SigningKey};

use crate::support::der::{UTF8, attribute, common_name, key, name, oid, sequence, tlv};

/// ecdsa-with-SHA256.
pub(super) const ECDSA: &str = "1.2.840.10045.4.3.2";
pub(super) const CRITICAL: &[u8] = &[0x01, 0x01, 0xff];

/// A certificate to be; every field is DER (or what a case puts in its place) as it will stand there.
#[derive(Clone)]
pub(super) struct Odd {
    pub(super) version: Vec<u8>,
    pub(super) serial: Vec<u8>,
    pub(super) algorithm: Vec<u8>,
    pub(super) issuer: Option<Vec<u8>>,
    pub(super) validity: Vec<u8>,
    pub(super) subject: Vec<u8>,
    pub(super) public_key: Vec<u8>,
    /// Between the key and the extensions.
    pub(super) unique_ids: Vec<u8>,
    /// Extension elements; the field is left out if there are none.
    pub(super) extensions: Vec<Vec<u8>>,
    /// Behind the extensions.
    pub(super) tail: Vec<u8>,
    pub(super) outer_algorithm: Option<Vec<u8>>,
    pub(super) signature: Option<Vec<u8>>,
    /// Behind the signature, in the outer SEQUENCE.
    pub(super) outer_tail: Vec<u8>,
}

impl Default for Odd {
    fn default() -> Self {
        Odd {
            version: tlv(0xa0, &tlv(0x02, &[2])),
            serial: Vec::new(),
            algorithm: sequence(&[&oid(ECDSA)]),
            issuer: None,
            validity: sequence(&[&tlv(0x17, b"200101000000Z"), &tlv(0x17, b"400101000000Z")]),
            subject: Vec::new(),
            public_key: key().subject_public_key_info(),
            unique_ids: Vec::new(),
            extensions: vec![
                extension("2.5.29.19", true, &sequence(&[CRITICAL])),
                extension("2.5.29.15", true, &[0x03, 0x02, 0x01, 0x06]),
            ],
            tail: Vec::new(),
            outer_algorithm: None,
            signature: None,
            outer_tail: Vec::new(),
        }
    }
}

/// An Extension.
pub(super) fn extension(kind: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    sequence(&[&oid(kind), if critical { CRITICAL } else { &[] }, &tlv(0x04, value)])
}

/// A number of its own for every certificate, so that stores which know a certificate by issuer and serial number take
/// them all.
fn next_number() -> u32 {
    static NUMBER: AtomicU32 = AtomicU32::new(0x1000);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

impl Odd {
    /// With this extension, not critical, in the place of one of the same kind.
    pub(super) fn with(self, kind: &str, value: &[u8]) -> Self {
        self.with_extension(kind, false, value)
    }

    pub(super) fn with_extension(mut self, kind: &str, critical: bool, value: &[u8]) -> Self {
        let start = [&[0x06][..], &oid(kind)[1..]].concat();
        self.extensions.retain(|other| !other[2..].starts_with(&start));
        self.extensions.push(extension(kind, critical, value));
        self
    }

    pub(super) fn der(&self) -> Vec<u8> {
        let number = next_number();
        let serial = if self.serial.is_empty() {
            tlv(0x02, &[&[0x40][..], &number.to_be_bytes()].concat())
        } else {
            self.serial.clone()
        };
        let own = common_name(&format!("Odd {number}"));
        let subject = if self.subject.is_empty() { own } else { self.subject.clone() };
        let mut parts = vec![
            self.version.clone(),
            serial,
            self.algorithm.clone(),
            self.issuer.clone().unwrap_or_else(|| subject.clone()),
            self.validity.clone(),
            subject,
            self.public_key.clone(),
            self.unique_ids.clone(),
        ];
        if !self.extensions.is_empty() {
            parts.push(tlv(0xa3, &tlv(0x30, &self.extensions.concat())));
        }
        parts.push(self.tail.clone());
        let tbs = tlv(0x30, &parts.concat());
        let signature = self
            .signature
            .clone()
            .unwrap_or_else(|| tlv(0x03, &[&[0][..], &key().sign(&tbs).expect("signed")].concat()));
        let outer = self.outer_algorithm.as_ref().unwrap_or(&self.algorithm);
        sequence(&[&tbs, outer, &signature, &self.outer_tail])
    }
}

/// A Name with a CN of its own behind these attributes.
pub(super) fn named(attributes: &[&[u8]]) -> Vec<u8> {
    let cn = attribute("2.5.4.3", UTF8, format!("Odd {}", next_number()).as_bytes());
    let mut rdns: Vec<&[&[u8]]> = attributes.chunks(1).collect();
    let own = [&cn[..]];
    rdns.push(&own);
    name(&rdns)
}

/// The cases so far.
#[derive(Default)]
pub(super) struct Cases(pub(super) Vec<(String, Vec<u8>)>);

impl Cases {
    pub(super) fn add(&mut self, name: impl Into<String>, odd: &Odd) {
        self.add_der(name, odd.der());
    }

    pub(super) fn add_der(&mut self, name: impl Into<String>, der: Vec<u8>) {
        let name = name.into();
        assert!(self.0.iter().all(|(other, _)| *other != name), "two cases are called {name}");
        self.0.push((name, der));
    }
}
