//! The formats that `trust extract` of p11-kit writes: PEM bundles with and without comments, OpenSSL's TRUSTED
//! CERTIFICATE bundles, EDK2 signature lists, hashed directories. Pure functions from a list of roots to bytes, and
//! from bytes back to the list; the rules were seen on p11-kit 0.24.1.

mod directory;
mod distrust;

use std::collections::BTreeSet;

pub(crate) use self::directory::{Series, directory, file_name, file_stem, list_of_directory};
pub(crate) use self::distrust::{Distrusted, distrusted};

use crate::pki::cert::{Certificate, CertificateCache, pem};
use crate::pki::fingerprint::Fingerprint;
use crate::trust::ours::Ours;
use crate::trust::owners::{Existing, Owner, Rest};

/// The formats, as an owner: in each of their files, our roots are removed as the tool would omit them.
#[derive(Debug)]
pub(crate) struct Extracted;

impl Owner for Extracted {
    fn without_ours(&self, file: &Existing, ours: &Ours) -> Option<Rest> {
        if ours.installed.is_empty() {
            return None;
        }
        without(file.content, &ours.installed).map(Rest::Content)
    }
}

/// A root as p11-kit lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct P11Entry {
    /// SHA-256 of the certificate.
    pub(crate) fingerprint: Fingerprint,
    /// The comment's text in a PEM bundle.
    pub(crate) label: Option<String>,
    /// The bytes of the block or list, as in the output.
    pub(crate) body: Vec<u8>,
}

/// An output as a list, with the text before the first root (SUSE's header).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) header: Vec<u8>,
    pub(crate) entries: Vec<P11Entry>,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum P11Format {
    /// PEM blocks, each after a comment with its label and, from the second on, an empty line.
    CommentedPem,
    /// The same with OpenSSL's TRUSTED CERTIFICATE blocks, which carry trust settings (x509(1)).
    CommentedTrustedPem,
    /// PEM blocks one after the other.
    PlainPem,
    /// The same with TRUSTED CERTIFICATE blocks.
    TrustedPem,
    /// One EFI_SIGNATURE_LIST a root (UEFI specification, section 32.4.1; tianocore's TlsCaCertificate).
    Edk2,
}

/// EFI_CERT_X509_GUID, little-endian.
const X509_GUID: [u8; 16] =
    [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];
/// The owner that p11-kit writes, little-endian.
const OWNER_GUID: [u8; 16] =
    [0x50, 0x3b, 0xdd, 0xdc, 0x05, 0xf4, 0xfd, 0x43, 0x96, 0xbe, 0xbd, 0x33, 0xb1, 0x73, 0x47, 0x76];
/// Type, list size, header size, signature size.
const LIST_HEADER: usize = 28;

impl P11Format {
    fn has_comments(self) -> bool {
        matches!(self, P11Format::CommentedPem | P11Format::CommentedTrustedPem)
    }

    /// The list that `content` holds; `None` if writing it again would not give exactly these bytes, or if an item in
    /// it is not a root.
    pub(crate) fn read(self, content: &[u8], cache: &CertificateCache) -> Option<List> {
        let list =
            if self == P11Format::Edk2 { read_edk2(content, cache)? } else { self.read_pem(content, cache)? };
        (self.write(&list) == content).then_some(list)
    }

    fn read_pem(self, content: &[u8], cache: &CertificateCache) -> Option<List> {
        let mut list = List::default();
        let mut from = 0;
        for block in pem::spans(content) {
            let certificate = cache.certificate(content, &block)?;
            let before = &content[from..block.range.start];
            let label = if self.has_comments() {
                let text = std::str::from_utf8(before).ok()?;
                Some(text.trim_start_matches('\n').strip_prefix("# ")?.strip_suffix('\n')?.to_owned())
            } else {
                if list.entries.is_empty() {
                    list.header = before.to_vec();
                }
                None
            };
            let body = content[block.range.clone()].to_vec();
            list.entries.push(P11Entry { fingerprint: certificate.fingerprint(), label, body });
            from = block.range.end;
        }
        if list.entries.is_empty() {
            list.header = content.to_vec();
        }
        Some(list)
    }

    /// The bytes of a list.
    pub(crate) fn write(self, list: &List) -> Vec<u8> {
        let mut content = list.header.clone();
        for (index, entry) in list.entries.iter().enumerate() {
            if let Some(label) = &entry.label {
                if index > 0 {
                    content.push(b'\n');
                }
                content.extend_from_slice(format!("# {label}\n").as_bytes());
            }
            content.extend_from_slice(&entry.body);
        }
        content
    }

    /// The entry of an anchor.
    pub(crate) fn entry(self, certificate: &Certificate) -> P11Entry {
        let label = certificate.label();
        let body = match self {
            P11Format::CommentedPem | P11Format::PlainPem => certificate.to_pem().into_bytes(),
            P11Format::CommentedTrustedPem | P11Format::TrustedPem => {
                // The comment of a root whose subject has no name to show is `certificate`; its alias is omitted.
                trusted_pem(certificate, certificate.has_label().then_some(label.as_str()))
            }
            P11Format::Edk2 => signature_list(certificate.der()),
        };
        P11Entry { fingerprint: certificate.fingerprint(), label: self.has_comments().then_some(label), body }
    }
}

/// A TRUSTED CERTIFICATE block with an alias and no trust settings: trusted for everything.
fn trusted_pem(certificate: &Certificate, alias: Option<&str>) -> Vec<u8> {
    let mut aux = Vec::new();
    if let Some(alias) = alias {
        push_tlv(&mut aux, 0x0c, alias.as_bytes());
    }
    let mut der = certificate.der().to_vec();
    push_tlv(&mut der, 0x30, &aux);
    pem::encode(&der).replace(" CERTIFICATE-----", " TRUSTED CERTIFICATE-----").into_bytes()
}

/// DER's tag, length and value.
fn push_tlv(into: &mut Vec<u8>, tag: u8, body: &[u8]) {
    into.push(tag);
    let length = body.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    match body.len() {
        0..=127 => into.push(body.len() as u8),
        _ => {
            into.push(0x80 | significant.len() as u8);
            into.extend_from_slice(significant);
        }
    }
    into.extend_from_slice(body);
}

fn signature_list(der: &[u8]) -> Vec<u8> {
    let signature = OWNER_GUID.len() + der.len();
    let mut list = X509_GUID.to_vec();
    for size in [LIST_HEADER + signature, 0, signature] {
        list.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
    }
    list.extend_from_slice(&OWNER_GUID);
    list.extend_from_slice(der);
    list
}

fn read_edk2(mut content: &[u8], cache: &CertificateCache) -> Option<List> {
    let mut list = List::default();
    while !content.is_empty() {
        let size = content.get(16..20)?.try_into().ok().map(u32::from_le_bytes)? as usize;
        let body = content.get(..size)?;
        let der = body.get(LIST_HEADER + OWNER_GUID.len()..)?;
        let fingerprint = cache.der(der).certificate()?.fingerprint();
        list.entries.push(P11Entry { fingerprint, label: None, body: body.to_vec() });
        content = &content[size..];
    }
    Some(list)
}

/// The certificates in EDK2's lists; `None` if they cannot be read whole.
pub(crate) fn certificates_in_edk2(content: &[u8], cache: &CertificateCache) -> Option<Vec<Certificate>> {
    let list = read_edk2(content, cache)?;
    list.entries
        .iter()
        .map(|entry| cache.der(&entry.body[LIST_HEADER + OWNER_GUID.len()..]).certificate().cloned())
        .collect()
}

/// An output as p11-kit would write it without these roots; `None` if it is not one of its outputs with comments or an
/// EDK2 list, or holds none of them.
pub(crate) fn without(content: &[u8], roots: &BTreeSet<Fingerprint>) -> Option<Vec<u8>> {
    // Trust settings are in the blocks, which are kept as they are: one format reads both kinds of bundle.
    let edk2 = content.starts_with(&X509_GUID);
    let format = if edk2 { P11Format::Edk2 } else { P11Format::CommentedPem };
    let mut list = format.read(content, &CertificateCache::default())?;
    let count = list.entries.len();
    list.entries.retain(|entry| !roots.contains(&entry.fingerprint));
    (list.entries.len() < count).then(|| format.write(&list))
}

/// Puts `first` in front, in this order; later entries of the same certificates are removed (an administrator's copy
/// replaces the vendor's entry).
pub(crate) fn with_first(list: &List, first: Vec<P11Entry>) -> List {
    let brought: BTreeSet<Fingerprint> = first.iter().map(|entry| entry.fingerprint).collect();
    let rest = list.entries.iter().filter(|entry| !brought.contains(&entry.fingerprint)).cloned();
    List { header: list.header.clone(), entries: first.into_iter().chain(rest).collect() }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::trust) fn root(name: &str) -> Certificate {
        let mut parameters = rcgen::CertificateParams::new([]).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        Certificate::from_der(certificate.der()).unwrap()
    }

    #[test]
    fn every_format_reads_what_it_writes_and_takes_ours_at_the_front() {
        let (vendor, other, ours) = (root("Vendor"), root("Other"), root("Ours"));
        use P11Format::{CommentedPem, CommentedTrustedPem, Edk2, PlainPem, TrustedPem};
        for format in [CommentedPem, CommentedTrustedPem, PlainPem, TrustedPem, Edk2] {
            let header = if format == PlainPem { b"# header\n".to_vec() } else { Vec::new() };
            let list = List { header, entries: vec![format.entry(&vendor), format.entry(&other)] };
            let bytes = format.write(&list);
            assert_eq!(format.read(&bytes, &CertificateCache::default()), Some(list.clone()), "{format:?}");
            let with = with_first(&list, vec![format.entry(&ours)]);
            let order: Vec<_> = with.entries.iter().map(|entry| entry.fingerprint).collect();
            assert_eq!(order, [ours.fingerprint(), vendor.fingerprint(), other.fingerprint()]);
            // An administrator's copy of the second replaces it.
            let with = with_first(&list, vec![format.entry(&other)]);
            assert_eq!(with.entries.len(), 2);
            assert_eq!(with.entries[0].fingerprint, other.fingerprint());
            assert_eq!(format.read(b"", &CertificateCache::default()), Some(List::default()));
        }
    }

    #[test]
    fn comments_stand_as_p11_kit_writes_them() {
        let (a, b) = (root("A"), root("B"));
        let list = List {
            header: Vec::new(),
            entries: vec![P11Format::CommentedPem.entry(&a), P11Format::CommentedPem.entry(&b)],
        };
        let text = String::from_utf8(P11Format::CommentedPem.write(&list)).unwrap();
        assert_eq!(text, format!("# A\n{}\n# B\n{}", a.to_pem(), b.to_pem()));
        assert_eq!(
            P11Format::CommentedPem.read(text.replace("# B", "#B").as_bytes(), &CertificateCache::default()),
            None,
            "not as it writes it"
        );
    }

    #[test]
    fn ours_goes_out_of_an_output_that_the_tool_wrote_since() {
        let (vendor, other, ours) = (root("Vendor"), root("Other"), root("Ours"));
        let gone = BTreeSet::from([ours.fingerprint()]);
        for format in [P11Format::CommentedPem, P11Format::CommentedTrustedPem, P11Format::Edk2] {
            let entries = |roots: &[&Certificate]| roots.iter().map(|root| format.entry(root)).collect();
            let bytes =
                |roots: &[&Certificate]| format.write(&List { header: Vec::new(), entries: entries(roots) });
            let wanted = bytes(&[&vendor, &other]);
            for with in [[&ours, &vendor, &other], [&vendor, &ours, &other], [&vendor, &other, &ours]] {
                assert_eq!(without(&bytes(&with), &gone), Some(wanted.clone()), "{format:?}");
            }
            assert_eq!(without(&wanted, &gone), None);
            assert_eq!(without(&bytes(&[&ours]), &gone), Some(Vec::new()));
        }
        assert_eq!(without(ours.to_pem().as_bytes(), &gone), None, "no comment: not p11-kit's");
    }

    #[test]
    fn a_trusted_block_carries_the_alias_alone() {
        let root = root("Unit A");
        let bytes = P11Format::CommentedTrustedPem.entry(&root).body;
        let block = &pem::blocks(&bytes)[0];
        assert_eq!(block.label, "TRUSTED CERTIFICATE");
        let der = block.der.clone().unwrap();
        assert_eq!(&der[root.der().len()..], b"\x30\x08\x0c\x06Unit A");
        assert_eq!(Certificate::from_block(block), Some(root));
        // No CN, OU or O: no alias.
        let mut parameters = rcgen::CertificateParams::new([]).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(rcgen::DnType::CountryName, "DE");
        let nameless = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let entry = P11Format::CommentedTrustedPem.entry(&Certificate::from_der(nameless.der()).unwrap());
        assert_eq!(entry.label.as_deref(), Some("certificate"));
        let der = pem::blocks(&entry.body)[0].der.clone().unwrap();
        assert_eq!(&der[nameless.der().len()..], b"\x30\x00");
        let mut long = Vec::new();
        push_tlv(&mut long, 4, &[0; 300]);
        assert_eq!(long[..4], [4, 0x82, 1, 44]);
    }
}
