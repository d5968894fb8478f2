//! The formats that `trust extract` of p11-kit writes: PEM bundles with and without comments, OpenSSL's TRUSTED
//! CERTIFICATE bundles, EDK2 signature lists, hashed directories. Pure functions from a list of roots to bytes, and
//! from bytes back to the list; the rules were seen on p11-kit 0.24.1.

use std::collections::{BTreeMap, BTreeSet};

use crate::cert::{Certificate, pem};
use crate::fingerprint::Fingerprint;

/// A root as p11-kit lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// SHA-256 of the certificate.
    pub(super) fingerprint: Fingerprint,
    /// The comment's text in a PEM bundle.
    pub(super) label: Option<String>,
    /// The bytes of the block or list, as they stand in the output.
    pub(super) body: Vec<u8>,
}

/// An output as a list, with what stands before the first root (SUSE's header).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    pub(super) header: Vec<u8>,
    pub(super) entries: Vec<Entry>,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// PEM blocks, each behind a comment with its label and, from the second on, an empty line.
    CommentedPem,
    /// The same with OpenSSL's TRUSTED CERTIFICATE blocks, which carry trust settings (x509(1)).
    CommentedTrustedPem,
    /// PEM blocks one behind the other.
    PlainPem,
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

impl Format {
    fn has_comments(self) -> bool {
        matches!(self, Format::CommentedPem | Format::CommentedTrustedPem)
    }

    /// The list that `content` holds; `None` if writing it again would not give these very bytes, or if something in
    /// it is no root.
    pub(super) fn read(self, content: &[u8]) -> Option<List> {
        let list = if self == Format::Edk2 { read_edk2(content)? } else { self.read_pem(content)? };
        (self.write(&list) == content).then_some(list)
    }

    fn read_pem(self, content: &[u8]) -> Option<List> {
        let mut list = List::default();
        let mut from = 0;
        for block in pem::blocks(content) {
            let certificate = Certificate::from_block(&block)?;
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
            list.entries.push(Entry { fingerprint: certificate.fingerprint(), label, body });
            from = block.range.end;
        }
        if list.entries.is_empty() {
            list.header = content.to_vec();
        }
        Some(list)
    }

    /// The bytes of a list.
    pub(super) fn write(self, list: &List) -> Vec<u8> {
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
    pub(super) fn entry(self, certificate: &Certificate) -> Entry {
        let label = certificate.label();
        let body = match self {
            Format::CommentedPem | Format::PlainPem => certificate.to_pem().into_bytes(),
            Format::CommentedTrustedPem => {
                // The comment of a root whose subject has no name to show is `certificate`, its alias is left out.
                trusted_pem(certificate, certificate.has_label().then_some(label.as_str()))
            }
            Format::Edk2 => signature_list(certificate.der()),
        };
        Entry { fingerprint: certificate.fingerprint(), label: self.has_comments().then_some(label), body }
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

fn read_edk2(mut content: &[u8]) -> Option<List> {
    let mut list = List::default();
    while !content.is_empty() {
        let size = content.get(16..20)?.try_into().ok().map(u32::from_le_bytes)? as usize;
        let body = content.get(..size)?;
        let der = body.get(LIST_HEADER + OWNER_GUID.len()..)?;
        let fingerprint = Certificate::from_der(der).ok()?.fingerprint();
        list.entries.push(Entry { fingerprint, label: None, body: body.to_vec() });
        content = &content[size..];
    }
    Some(list)
}

/// The certificates in EDK2's lists; `None` if they cannot be read whole.
pub fn certificates_in_edk2(content: &[u8]) -> Option<Vec<Certificate>> {
    let list = read_edk2(content)?;
    list.entries
        .iter()
        .map(|entry| Certificate::from_der(&entry.body[LIST_HEADER + OWNER_GUID.len()..]).ok())
        .collect()
}

/// The certificates that a `.p11-kit` file distrusts: those in a stanza with `x-distrusted: true`. Other files have no
/// such line.
pub(super) fn distrusted(content: &[u8]) -> Vec<Certificate> {
    let text = String::from_utf8_lossy(content);
    let says_so = |stanza: &&str| {
        stanza.lines().any(|line| {
            line.split_once(':')
                .is_some_and(|(key, value)| key.trim() == "x-distrusted" && value.trim() == "true")
        })
    };
    let stanzas = text.split("[p11-kit-object-v1]").skip(1).filter(says_so);
    stanzas
        .flat_map(|stanza| pem::blocks(stanza.as_bytes()))
        .filter_map(|block| Certificate::from_block(&block))
        .collect()
}

/// EDK2's lists without those of these certificates; `None` if they are no such lists, or hold none of them.
pub fn edk2_without(content: &[u8], certificates: &BTreeSet<Fingerprint>) -> Option<Vec<u8>> {
    let mut list = if content.starts_with(&X509_GUID) { read_edk2(content)? } else { return None };
    let all = list.entries.len();
    list.entries.retain(|entry| !certificates.contains(&entry.fingerprint));
    (list.entries.len() < all).then(|| Format::Edk2.write(&list))
}

/// Puts `first` in front, in this order; entries of the same certificates further behind go (an administrator's copy
/// replaces the vendor's entry).
pub(super) fn with_first(list: &List, first: Vec<Entry>) -> List {
    let brought: BTreeSet<Fingerprint> = first.iter().map(|entry| entry.fingerprint).collect();
    let rest = list.entries.iter().filter(|entry| !brought.contains(&entry.fingerprint)).cloned();
    List { header: list.header.clone(), entries: first.into_iter().chain(rest).collect() }
}

/// The file name that p11-kit makes of a label: bytes other than letters, digits, `.`, `_` and `-` become `_`.
fn file_stem(label: &str) -> String {
    label
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-') { b as char } else { '_' })
        .collect()
}

/// A hashed directory: regular files by name, and links by name, for these roots in this order. Clashing names get
/// `.1`, `.2`; each file has a link by OpenSSL's present hash and one by that before 1.0, numbered from 0 in order.
pub(super) fn directory(
    roots: &[(String, Certificate)],
) -> (BTreeMap<String, Certificate>, BTreeMap<String, String>) {
    let (mut files, mut links) = (BTreeMap::new(), BTreeMap::new());
    for (label, certificate) in roots {
        let stem = file_stem(label);
        let mut name = format!("{stem}.pem");
        let mut number = 0;
        while files.contains_key(&name) {
            number += 1;
            name = format!("{stem}.{number}.pem");
        }
        for hash in [certificate.subject_hash(), certificate.subject_hash_old()] {
            let free =
                (0..).map(|number| format!("{hash:08x}.{number}")).find(|link| !links.contains_key(link));
            links.insert(free.unwrap_or_default(), name.clone());
        }
        files.insert(name, certificate.clone());
    }
    (files, links)
}

/// Free names for one more root's file and its two links, in a directory where these are `taken`; takes them.
pub(super) fn names_beside(certificate: &Certificate, taken: &mut BTreeSet<String>) -> (String, Vec<String>) {
    let stem = file_stem(&certificate.label());
    let mut free = |name: &dyn Fn(u32) -> String| {
        let name = (0..).map(name).find(|name| !taken.contains(name)).unwrap_or_default();
        taken.insert(name.clone());
        name
    };
    let file = free(&|number| match number {
        0 => format!("{stem}.pem"),
        _ => format!("{stem}.{number}.pem"),
    });
    let hashes = [certificate.subject_hash(), certificate.subject_hash_old()];
    (file, hashes.map(|hash| free(&|number| format!("{hash:08x}.{number}"))).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(name: &str) -> Certificate {
        let mut parameters = rcgen::CertificateParams::new([]).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        Certificate::from_der(certificate.der()).unwrap()
    }

    #[test]
    fn every_format_reads_what_it_writes_and_takes_ours_at_the_front() {
        let (vendor, other, ours) = (root("Vendor"), root("Other"), root("Ours"));
        for format in [Format::CommentedPem, Format::CommentedTrustedPem, Format::PlainPem, Format::Edk2] {
            let header = if format == Format::PlainPem { b"# header\n".to_vec() } else { Vec::new() };
            let list = List { header, entries: vec![format.entry(&vendor), format.entry(&other)] };
            let bytes = format.write(&list);
            assert_eq!(format.read(&bytes), Some(list.clone()), "{format:?}");
            let with = with_first(&list, vec![format.entry(&ours)]);
            let order: Vec<_> = with.entries.iter().map(|entry| entry.fingerprint).collect();
            assert_eq!(order, [ours.fingerprint(), vendor.fingerprint(), other.fingerprint()]);
            // An administrator's copy of the second replaces it.
            let with = with_first(&list, vec![format.entry(&other)]);
            assert_eq!(with.entries.len(), 2);
            assert_eq!(with.entries[0].fingerprint, other.fingerprint());
            assert_eq!(format.read(b""), Some(List::default()));
        }
    }

    #[test]
    fn comments_stand_as_p11_kit_writes_them() {
        let (a, b) = (root("A"), root("B"));
        let list = List {
            header: Vec::new(),
            entries: vec![Format::CommentedPem.entry(&a), Format::CommentedPem.entry(&b)],
        };
        let text = String::from_utf8(Format::CommentedPem.write(&list)).unwrap();
        assert_eq!(text, format!("# A\n{}\n# B\n{}", a.to_pem(), b.to_pem()));
        assert_eq!(
            Format::CommentedPem.read(text.replace("# B", "#B").as_bytes()),
            None,
            "not as it writes it"
        );
    }

    #[test]
    fn a_trusted_block_carries_the_alias_alone() {
        let root = root("Unit A");
        let bytes = Format::CommentedTrustedPem.entry(&root).body;
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
        let entry = Format::CommentedTrustedPem.entry(&Certificate::from_der(nameless.der()).unwrap());
        assert_eq!(entry.label.as_deref(), Some("certificate"));
        let der = pem::blocks(&entry.body)[0].der.clone().unwrap();
        assert_eq!(&der[nameless.der().len()..], b"\x30\x00");
        let mut long = Vec::new();
        push_tlv(&mut long, 4, &[0; 300]);
        assert_eq!(long[..4], [4, 0x82, 1, 44]);
    }

    #[test]
    fn one_more_root_takes_free_names() {
        let root = root("A B");
        let mut taken = BTreeSet::from(["A_B.pem".to_owned(), format!("{:08x}.0", root.subject_hash())]);
        let (file, links) = names_beside(&root, &mut taken);
        assert_eq!(file, "A_B.1.pem");
        let [new, old] = [root.subject_hash(), root.subject_hash_old()];
        assert_eq!(links, [format!("{new:08x}.1"), format!("{old:08x}.0")]);
        assert_eq!(taken.len(), 5);
    }

    #[test]
    fn lists_without_ours() {
        let (vendor, ours) = (root("Vendor"), root("Ours"));
        let fingerprints = BTreeSet::from([ours.fingerprint()]);
        let both = [signature_list(ours.der()), signature_list(vendor.der())].concat();
        let rest = signature_list(vendor.der());
        assert_eq!(edk2_without(&both, &fingerprints), Some(rest.clone()));
        assert_eq!(edk2_without(&rest, &fingerprints), None);
        assert_eq!(edk2_without(ours.to_pem().as_bytes(), &fingerprints), None);
    }

    #[test]
    fn a_stanza_may_distrust() {
        let (good, bad) = (root("Good"), root("Bad"));
        let stanza =
            |trust: &str, root: &Certificate| format!("[p11-kit-object-v1]\n{trust}\n{}\n", root.to_pem());
        let text = format!("# x\n{}{}", stanza("trusted: true", &good), stanza("x-distrusted: true", &bad));
        assert_eq!(distrusted(text.as_bytes()), [bad]);
        assert_eq!(distrusted(text.replace("true", "false").as_bytes()), []);
        assert_eq!(distrusted(good.to_pem().as_bytes()), []);
    }

    #[test]
    fn names_and_links_of_a_hashed_directory() {
        let roots =
            [("Same Name", root("Same Name")), ("Größe", root("x")), ("Same Name", root("Same Name"))];
        let roots = roots.map(|(label, root)| (label.to_owned(), root));
        let (files, links) = directory(&roots);
        assert_eq!(files.keys().collect::<Vec<_>>(), ["Gr____e.pem", "Same_Name.1.pem", "Same_Name.pem"]);
        let hash = roots[0].1.subject_hash();
        assert_eq!(links[&format!("{hash:08x}.0")], "Same_Name.pem");
        assert_eq!(links[&format!("{hash:08x}.1")], "Same_Name.1.pem");
        assert_eq!(links.len(), 6);
    }
}
