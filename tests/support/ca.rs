//! Certificates, made when a test runs; and the certificates of a PEM file, read without the code under test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base64::Engine;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    date_time_ymd,
};
use trustup::pki::fingerprint::Fingerprint;

/// A root certificate with its key.
pub struct Root {
    pub pem: String,
    pub der: Vec<u8>,
    pub fingerprint: Fingerprint,
    pub key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// The parameters of a root named `name`: CA, 2020 to 2090.
pub fn root_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params
}

/// A new root named `name`.
pub fn root(name: &str) -> Root {
    root_with(root_params(name))
}

/// A new self-signed certificate from `params`.
pub fn root_with(params: CertificateParams) -> Root {
    let key = KeyPair::generate().expect("key");
    let certificate = params.self_signed(&key).expect("self-signed");
    let key_pem = pem("PRIVATE KEY", &key.serialize_der());
    Root {
        pem: pem("CERTIFICATE", certificate.der()),
        der: certificate.der().to_vec(),
        fingerprint: Fingerprint::of(certificate.der()),
        key_pem,
        issuer: Issuer::new(params, key),
    }
}

/// A root whose critical nameConstraints have a URI with a scheme: Java loads nothing of a keystore that holds it.
pub fn no_java(name: &str) -> Root {
    let uri = b"https://example.com";
    let base = [&[0x86, uri.len() as u8][..], uri].concat();
    let subtree = [&[0x30, base.len() as u8][..], &base].concat();
    let permitted = [&[0xa0, subtree.len() as u8][..], &subtree].concat();
    let value = [&[0x30, permitted.len() as u8][..], &permitted].concat();
    let mut params = root_params(name);
    let mut extension = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 30], value);
    extension.set_criticality(true);
    params.custom_extensions = vec![extension];
    root_with(params)
}

impl Root {
    /// A certificate from `params`, signed by this root: PEM.
    pub fn sign(&self, params: CertificateParams) -> String {
        let key = KeyPair::generate().expect("key");
        pem("CERTIFICATE", &self.sign_for(params, &key))
    }

    /// A certificate from `params` for `key`, signed by this root: DER.
    pub fn sign_for(&self, params: CertificateParams, key: &impl PublicKeyData) -> Vec<u8> {
        params.signed_by(key, &self.issuer).expect("signed").der().to_vec()
    }

    /// A CA named `name` below this root.
    pub fn intermediate(&self, name: &str) -> Root {
        let (params, key) = (root_params(name), KeyPair::generate().expect("key"));
        let der = self.sign_for(params.clone(), &key);
        Root {
            pem: pem("CERTIFICATE", &der),
            fingerprint: Fingerprint::of(&der),
            der,
            key_pem: pem("PRIVATE KEY", &key.serialize_der()),
            issuer: Issuer::new(params, key),
        }
    }

    /// Another certificate takes its place; the key stays.
    pub fn replace(&mut self, pem: &str) {
        self.der = ders(pem).into_iter().next().expect("a certificate");
        self.pem = pem.to_owned();
        self.fingerprint = Fingerprint::of(&self.der);
    }

    /// Writes the PEM into `directory` as `name`; returns the path.
    pub fn write(&self, directory: &Path, name: &str) -> PathBuf {
        let path = directory.join(name);
        std::fs::write(&path, &self.pem).expect("write");
        path
    }

    /// 64 hex digits.
    pub fn pin(&self) -> String {
        self.fingerprint.hex()
    }
}

/// RFC 7468: 64 columns, LF.
pub fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}

/// The fingerprints of all certificates in PEM text, in order.
pub fn fingerprints(pem: &str) -> Vec<Fingerprint> {
    ders(pem).iter().map(|der| Fingerprint::of(der)).collect()
}

fn ders(pem: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut body: Option<String> = None;
    for line in pem.lines() {
        match (line.trim_end(), &mut body) {
            ("-----BEGIN CERTIFICATE-----", _) => body = Some(String::new()),
            ("-----END CERTIFICATE-----", Some(base64)) => {
                let der = base64::engine::general_purpose::STANDARD.decode(base64).expect("base64");
                found.push(der);
                body = None;
            }
            (line, Some(body)) => body.push_str(line),
            (_, None) => {}
        }
    }
    assert!(body.is_none(), "a certificate without an end");
    found
}

/// The fingerprints of all certificates that a store's file holds, in order: PEM, OpenSSL's TRUSTED CERTIFICATE
/// blocks (without their trust settings), EFI signature lists, Java's keystores.
pub fn held(content: &[u8]) -> Vec<Fingerprint> {
    if content.starts_with(&JKS_MAGIC) {
        return jks(content).into_iter().map(|(_, _, fingerprint)| fingerprint).collect();
    }
    if content.starts_with(&EFI_CERT_X509_GUID) {
        return signature_lists(content);
    }
    let Ok(text) = std::str::from_utf8(content) else { return Vec::new() };
    let trusted = text.replace("TRUSTED CERTIFICATE-----", "CERTIFICATE-----");
    let found = ders(&trusted);
    found.iter().map(|der| Fingerprint::of(first_value(der))).collect()
}

const JKS_MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];

/// Alias, date (milliseconds since 1970) and certificate of the entries of a JKS of trusted certificates.
pub fn jks(content: &[u8]) -> Vec<(Vec<u8>, u64, Fingerprint)> {
    let mut rest = content;
    let mut take = |count: usize| {
        let (taken, behind) = rest.split_at(count);
        rest = behind;
        taken
    };
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    assert_eq!((take(4), number(take(4))), (&JKS_MAGIC[..], 2));
    let count = number(take(4));
    let mut entries = Vec::new();
    for _ in 0..count {
        assert_eq!(number(take(4)), 2, "a trusted certificate");
        let length = number(take(2)) as usize;
        let (alias, date) = (take(length).to_vec(), number(take(8)));
        let length = number(take(2)) as usize;
        assert_eq!(take(length), b"X.509");
        let length = number(take(4)) as usize;
        entries.push((alias, date, Fingerprint::of(take(length))));
    }
    assert_eq!(rest.len(), 20, "the checksum");
    entries
}

/// EFI_CERT_X509_GUID as it stands in a file (UEFI specification, section 32.4.1).
const EFI_CERT_X509_GUID: [u8; 16] =
    [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];

/// The certificates of EFI signature lists with one signature each: type (16 bytes), list size, header size,
/// signature size, owner (16 bytes), DER.
fn signature_lists(mut content: &[u8]) -> Vec<Fingerprint> {
    let mut found = Vec::new();
    while !content.is_empty() {
        let number = |at: usize| u32::from_le_bytes(content[at..at + 4].try_into().unwrap()) as usize;
        let (list, header, signature) = (number(16), number(20), number(24));
        assert_eq!((&content[..16], header), (&EFI_CERT_X509_GUID[..], 0));
        assert_eq!(list, 28 + signature, "one signature a list");
        found.push(Fingerprint::of(&content[28 + 16..list]));
        content = &content[list..];
    }
    found
}

/// The first DER value of `der`, without what follows it.
fn first_value(der: &[u8]) -> &[u8] {
    let (head, length) = match der[1] {
        short @ 0..=0x7f => (2, usize::from(short)),
        long => {
            let count = usize::from(long & 0x7f);
            (2 + count, der[2..2 + count].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
    };
    &der[..head + length]
}

/// The same as a set; a certificate that is there twice is an error.
#[track_caller]
pub fn fingerprint_set(pem: &str) -> BTreeSet<Fingerprint> {
    let list = fingerprints(pem);
    let set: BTreeSet<_> = list.iter().copied().collect();
    assert_eq!(set.len(), list.len(), "a certificate is there twice");
    set
}
