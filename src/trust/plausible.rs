//! Whether a recorded former content may be restored (threat T34). State and journal may come from the image's vendor,
//! so they are trusted only as far as they are plausible: no root is restored that the path does not hold now, no mode
//! adds a right, and the owner stays as it is now. Pure but for reading through a [`View`]; changes nothing.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::error::Result;
use crate::pki::cert::readers::{self, Reader};
use crate::pki::cert::{CachedDer, Certificate, CertificateCache, is_decodable, pem};
use crate::pki::fingerprint::Fingerprint;
use crate::pki::keystore::{Keystore, KeystoreFormat, KeystoreProblem};
use crate::pki::nss::{CERT_DB, Databases, KEY_DB};
use crate::rootfs::content::Content;
use crate::rootfs::path::{child, join};
use crate::rootfs::split;
use crate::rootfs::tree::{File, Node};
use crate::text;
use crate::trust::cacerts;
use crate::trust::nix_store;
use crate::trust::p11_format::certificates_in_edk2;
use crate::trust::updater::rehash;
use crate::trust::view::View;
use crate::trust::well_known;

/// The names of Java's keystores.
const KEYSTORES: [&str; 3] = ["cacerts", "jssecacerts", "java-cacerts"];
/// How many of the roots a message names.
const NAMED: usize = 3;

/// The verdict on a recorded former content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plausibility {
    /// It may be restored, as this node. The text names what of it is not restored: bits of a mode, an owner.
    Believed(Node, Option<String>),
    /// It may not be restored, for this reason.
    Doubted(String),
}

/// Compares the recorded content `before` with what is at `path` now. Roots of `known` may be restored as well.
///
/// # Errors
/// A path on the way cannot be read.
pub(crate) fn judge(
    view: &View,
    path: &str,
    before: Node,
    known: &BTreeSet<Fingerprint>,
) -> Result<Plausibility> {
    let actual = view.actual(path)?;
    if let Some(why) = raises_trust(view, path, &before, &actual, known)? {
        return Ok(Plausibility::Doubted(why));
    }
    let former = match &before {
        // By far the most frequent case: certificates were added to a bundle.
        Node::File(file) if matches!(actual.as_ref(), Node::File(now) if is_cut_out_of(&file.content, &now.content)) => {
            Vec::new()
        }
        Node::File(file) => readable(view, &file.content),
        Node::Link { target } => match view.follow_actual(&join(split(&view.location(path)?).0, target))? {
            // Only Nix writes in its store: the link follows its profile, and what that adds is reported as a gain.
            Some((end, _)) if nix_store::holds(&end) => Vec::new(),
            Some((_, end)) => match end.as_ref() {
                Node::File(file) => readable(view, &file.content),
                // A whole directory of roots replaces the current node: its content cannot be known.
                Node::Directory { .. } if *actual != before => {
                    return Ok(Plausibility::Doubted("it would be a link to a directory".to_owned()));
                }
                _ => Vec::new(),
            },
            None => Vec::new(),
        },
        _ => Vec::new(),
    };
    if !former.is_empty() {
        let mut now = known.clone();
        now.extend(offered(view, path)?);
        if former.iter().any(|root| !now.contains(&root.fingerprint)) {
            now.extend(elsewhere(view, path, &before)?);
        }
        let gained: Vec<&Readable> = former.iter().filter(|root| !now.contains(&root.fingerprint)).collect();
        if !gained.is_empty() {
            return Ok(Plausibility::Doubted(format!("it would add {}", named(&gained))));
        }
    }
    Ok(attributes(before, &actual))
}

/// The roots of [`judge`]'s `before` that the path does not hold now.
///
/// # Errors
/// A path on the way cannot be read.
pub(crate) fn gained(view: &View, path: &str, before: &Node) -> Result<Vec<(Fingerprint, String)>> {
    let Node::File(file) = before else { return Ok(Vec::new()) };
    let (directory, name) = split(path);
    if name == CERT_DB {
        let keys = view.actual(&child(directory, KEY_DB))?;
        let trusted = |node: &Node| -> Vec<(Fingerprint, String)> {
            let (Node::File(file), Node::File(keys)) = (node, keys.as_ref()) else { return Vec::new() };
            let opened = Databases::open(&file.content, &keys.content, None);
            let entries = opened.and_then(|databases| databases.entries()).unwrap_or_default();
            let trusted = entries.into_iter().filter(|entry| entry.is_trusted());
            trusted.map(|entry| (entry.fingerprint, entry.certificate.subject())).collect()
        };
        let now = trusted(&*view.actual(path)?);
        return Ok(trusted(before).into_iter().filter(|root| !now.contains(root)).collect());
    }
    let now = offered(view, path)?;
    let former = readable(view, &file.content).into_iter().filter(|root| !now.contains(&root.fingerprint));
    Ok(former.map(|root| (root.fingerprint, root.name())).collect())
}

/// The current mode and owner, where `before` would add to them.
fn attributes(before: Node, actual: &Node) -> Plausibility {
    let before = match before {
        Node::File(before) => before,
        Node::Directory { mode } => {
            return Plausibility::Believed(Node::Directory { mode: mode & 0o755 }, None);
        }
        other => return Plausibility::Believed(other, None),
    };
    // A newly made node gets what a program of the system would give it.
    let (mode, owner) = match actual {
        Node::File(now) => (before.mode & now.mode, now.owner),
        _ => (before.mode & 0o755, before.owner.map(|_| (0, 0))),
    };
    let owner = if owner.is_some() { owner } else { before.owner };
    let note = (mode != before.mode || owner != before.owner).then(|| {
        let is_owner = |owner: Option<(u32, u32)>| owner.map(|(uid, gid)| format!("{uid}:{gid}")).unwrap_or_default();
        format!(
            "its mode {:04o} and owner {} from before trustup are not restored beyond what it has now; they are {:04o} and {}",
            before.mode,
            is_owner(before.owner),
            mode,
            is_owner(owner)
        )
    });
    Plausibility::Believed(Node::File(File { mode, owner, ..before }), note)
}

/// A certificate that some program finds in a file.
#[derive(Clone)]
struct Readable {
    fingerprint: Fingerprint,
    /// What was found, unless only its fingerprint is known.
    found: Option<Rc<CachedDer>>,
}

impl Readable {
    /// Its subject, for people.
    fn name(&self) -> String {
        match &self.found {
            Some(found) => {
                found.certificate().map(|found| text::escape(&found.subject())).unwrap_or_default()
            }
            None => "a root".to_owned(),
        }
    }
}

fn named(roots: &[&Readable]) -> String {
    let all: Vec<String> =
        roots.iter().take(NAMED).map(|root| format!("{} ({})", root.name(), root.fingerprint)).collect();
    let more = roots.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", all.join(", "))
}

/// Every certificate that at least one kind of program could find in a file of these bytes.
fn readable(view: &View, content: &Content) -> Vec<Readable> {
    struct ReadableOnce(Vec<Readable>);
    let of_java = || cacerts::trusted(view, content).0.clone().unwrap_or_default();
    view.derive(content, |content| ReadableOnce(readable_in(content, view.parsed(), of_java))).0.clone()
}

fn readable_in(
    content: &[u8],
    cache: &CertificateCache,
    of_java: impl FnOnce() -> Vec<Fingerprint>,
) -> Vec<Readable> {
    let of_der = |found: Rc<CachedDer>| Readable { fingerprint: found.fingerprint(), found: Some(found) };
    let mut found: Vec<Readable> = ders(content, cache).into_iter().map(of_der).collect();
    if KeystoreFormat::of(content).is_ok() {
        found.extend(of_java().into_iter().map(|fingerprint| Readable { fingerprint, found: None }));
    }
    let efi = certificates_in_edk2(content, cache).unwrap_or_default();
    found.extend(efi.iter().map(|certificate| of_der(cache.der(certificate.der()))));
    found
}

/// The certificates of a file of certificates that some reader decodes.
fn ders(content: &[u8], cache: &CertificateCache) -> Vec<Rc<CachedDer>> {
    // Those with trust settings, too, have one meaning for all who read them.
    if let Some(regular) = readers::read_regular_as_openssl(content, cache) {
        return regular;
    }
    // Without a marker, only p11-kit finds something: a file that is one certificate.
    if memchr::memmem::find(content, b"-----BEGIN ").is_none() {
        return if is_decodable(content) { vec![cache.der(content)] } else { Vec::new() };
    }
    let mut found: Vec<Vec<u8>> =
        Reader::OF_BUNDLES.iter().flat_map(|reader| reader.read(content).certificates).collect();
    let blocks = pem::blocks(content).into_iter().filter_map(|block| block.der);
    found.extend(blocks.filter(|der| is_decodable(der)));
    found.sort_unstable();
    found.dedup();
    found.iter().map(|der| cache.der(der)).collect()
}

/// The fingerprints of every certificate that can be read in the file to which `path` leads now.
///
/// # Errors
/// A path on the way cannot be read.
pub(crate) fn present(view: &View, path: &str) -> Result<BTreeSet<Fingerprint>> {
    let mut found = BTreeSet::new();
    if let Some((location, node)) = view.follow_actual(path)?
        && let Node::File(file) = node.as_ref()
    {
        found.extend(readable(view, &file.content).into_iter().map(|root| root.fingerprint));
        found.extend(view.contents(&location, &node).certificates.iter().map(Certificate::fingerprint));
    }
    Ok(found)
}

/// The fingerprints of what at least one kind of program could find in a file of these bytes.
pub(crate) fn in_content(content: &[u8]) -> BTreeSet<Fingerprint> {
    let of_java = || Keystore::trusted_without_password(content).unwrap_or_default();
    let found = readable_in(content, &CertificateCache::default(), of_java);
    found.into_iter().map(|root| root.fingerprint).collect()
}

/// The fingerprints that the file at the end of `path` offers now. In a damaged file these are what at least one kind
/// of program finds there, in an intact block. A block that only some programs read does not count: rewritten, it is
/// read by all.
///
/// # Errors
/// A path on the way cannot be read.
pub(crate) fn offered(view: &View, path: &str) -> Result<BTreeSet<Fingerprint>> {
    let end = view.follow_actual(path)?;
    let Some(Node::File(file)) = end.as_ref().map(|(_, node)| node.as_ref()) else {
        return Ok(BTreeSet::new());
    };
    let content = &file.content;
    if pem::spans(content).next().is_none()
        || readers::read_regular_as_openssl(content, view.parsed()).is_some()
    {
        return Ok(readable(view, content).into_iter().map(|root| root.fingerprint).collect());
    }
    let blocks = pem::blocks(content);
    let found = Reader::OF_BUNDLES.iter().flat_map(|reader| reader.read(content).certificates);
    let found: BTreeSet<Fingerprint> = found.map(|der| Fingerprint::of(&der)).collect();
    let mut sound = BTreeSet::new();
    for block in blocks {
        let line =
            content[..block.range.start].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let alone = &content[line..block.range.end];
        // Only OpenSSL and p11-kit read blocks with trust settings.
        let readers: &[Reader] = match block.label.as_str() {
            "TRUSTED CERTIFICATE" => &[Reader::OpenSsl, Reader::P11Kit],
            _ => &Reader::OF_BUNDLES,
        };
        let mut all = readers.iter().map(|reader| reader.read(alone).certificates);
        let first: Vec<Vec<u8>> = all.next().unwrap_or_default();
        if all.all(|others| others == first) {
            sound.extend(first.iter().map(|der| Fingerprint::of(der)).filter(|root| found.contains(root)));
        }
    }
    Ok(sound)
}

/// The roots in the other places that the same programs read: under the other numbers of a subject hash or, where
/// p11-kit names files, of a label; for a link or in place of a keystore, in the bundles.
fn elsewhere(view: &View, path: &str, before: &Node) -> Result<BTreeSet<Fingerprint>> {
    let mut found = BTreeSet::new();
    let (directory, name) = split(path);
    if let Some((hash, _)) = rehash::parse_name(name) {
        for other in view.actual_names(directory)? {
            if rehash::parse_name(&other).is_some_and(|(other, _)| other == hash) {
                found.extend(offered(view, &child(directory, &other))?);
            }
        }
    }
    // A root of ours with the same label as a vendor's takes its name, and the vendor's gets the next number.
    if let Some(label) = label_of(name) {
        for other in view.actual_names(directory)? {
            if label_of(&other) == Some(label) {
                found.extend(offered(view, &child(directory, &other))?);
            }
        }
    }
    if matches!(before, Node::Link { .. }) || KEYSTORES.contains(&name) {
        for bundle in well_known::widely_read_bundles() {
            found.extend(offered(view, bundle)?);
        }
    }
    Ok(found)
}

/// The common part of the numbered names of one label: `NAME.pem`, `NAME.1.pem`.
fn label_of(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(".pem")?;
    match stem.rsplit_once('.') {
        Some((label, number)) if !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit()) => {
            Some(label)
        }
        _ => Some(stem),
    }
}

/// Why an NSS database would trust more than the current one.
fn raises_trust(
    view: &View,
    path: &str,
    before: &Node,
    actual: &Rc<Node>,
    known: &BTreeSet<Fingerprint>,
) -> Result<Option<String>> {
    let (directory, name) = split(path);
    let Node::File(before) = before else { return Ok(None) };
    if name == KEY_DB {
        return opened_otherwise(view, directory, &before.content, actual);
    }
    if name != CERT_DB {
        return Ok(None);
    }
    let Node::File(actual) = actual.as_ref() else {
        return Ok(Some("the database no longer exists".to_owned()));
    };
    let keys = view.actual(&child(directory, KEY_DB))?;
    let open = |content: &[u8]| match keys.as_ref() {
        Node::File(keys) => Databases::open(content, &keys.content, None).ok(),
        _ => None,
    };
    Ok(match (open(&before.content), open(&actual.content)) {
        (Some(before), Some(now)) => match before.trusts_no_more_than(&now, known) {
            Ok(true) => None,
            Ok(false) => Some("it would trust a certificate more than it does now".to_owned()),
            Err(refusal) => Some(refusal.into_error().what().to_owned()),
        },
        _ => Some("it is not a readable database".to_owned()),
    })
}

/// Why a key database would open differently from the current one: its signatures decide what counts.
fn opened_otherwise(
    view: &View,
    directory: &str,
    before: &[u8],
    actual: &Rc<Node>,
) -> Result<Option<String>> {
    let certificates = view.actual(&child(directory, CERT_DB))?;
    let open = |keys: &[u8]| match certificates.as_ref() {
        Node::File(certificates) => Databases::open(&certificates.content, keys, None).ok(),
        _ => None,
    };
    let now = if let Node::File(now) = actual.as_ref() { open(&now.content) } else { None };
    Ok(match (open(before), now) {
        (Some(before), Some(now)) if before.has_password_of(&now).unwrap_or(false) => None,
        _ => Some("it would have another password than now".to_owned()),
    })
}

/// Whether `before` is `now` without some consecutive whole certificates, in the form that every reader reads the same
/// way: then it holds nothing that `now` does not, and needs no parsing.
fn is_cut_out_of(before: &[u8], now: &[u8]) -> bool {
    const END: &[u8] = b"-----END CERTIFICATE-----\n";
    let Some(more) = now.len().checked_sub(before.len()) else { return false };
    let shared = before.iter().zip(now).take_while(|(one, other)| one == other).count();
    // The cut is after the last block that both share: what follows may begin alike.
    let head = &now[..shared];
    let from = head.windows(END.len()).rposition(|window| window == END).map_or(0, |at| at + END.len());
    let (piece, rest) = now[from..].split_at(more);
    rest == &before[from..] && readers::read_regular(piece).is_some()
}

/// Whether these bytes are a trust store of some kind, or an empty file in place of one.
pub(crate) fn is_store(content: &[u8]) -> bool {
    const SQLITE: &[u8] = b"SQLite format 3\0";
    content.iter().all(u8::is_ascii_whitespace)
        || !ders(content, &CertificateCache::default()).is_empty()
        || pem::blocks(content).iter().any(|block| block.label.ends_with("CERTIFICATE"))
        || KeystoreFormat::of(content) != Err(KeystoreProblem::NotAKeystore)
        || certificates_in_edk2(content, &CertificateCache::default()).is_some_and(|found| !found.is_empty())
        || content.starts_with(SQLITE)
}

/// Whether these bytes are a Java keystore.
pub(crate) fn is_keystore(content: &[u8]) -> bool {
    KeystoreFormat::of(content) != Err(KeystoreProblem::NotAKeystore)
}

/// Whether two files of certificates differ only in certificates: the text between the blocks is the same, and neither
/// holds a private key.
pub(crate) fn differ_only_in_certificates(one: &[u8], other: &[u8]) -> bool {
    let rest = |content: &[u8]| -> Option<Vec<u8>> {
        let (mut rest, mut from) = (Vec::new(), 0);
        for block in pem::blocks(content) {
            if !block.label.ends_with("CERTIFICATE") {
                return None;
            }
            rest.extend(content[from..block.range.start].iter().filter(|byte| !byte.is_ascii_whitespace()));
            from = block.range.end;
        }
        rest.extend(content[from..].iter().filter(|byte| !byte.is_ascii_whitespace()));
        Some(rest)
    };
    matches!((rest(one), rest(other)), (Some(one), Some(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    fn root(name: &str) -> Certificate {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        Certificate::from_der(params.self_signed(&key).expect("signed").der()).expect("a certificate")
    }

    #[test]
    fn only_whole_certificates_can_be_cut_out_of_a_file() {
        let [one, two, three] = ["One", "Two", "Three"].map(|name| root(name).to_pem());
        let (all, without) = (format!("{one}# two\n{two}{three}"), format!("{one}{three}"));
        assert!(is_cut_out_of(without.as_bytes(), all.as_bytes()));
        assert!(is_cut_out_of(format!("{one}# two\n{two}").as_bytes(), all.as_bytes()));
        assert!(is_cut_out_of(all.as_bytes(), all.as_bytes()));
        assert!(!is_cut_out_of(all.as_bytes(), without.as_bytes()), "more than now");
        // Two halves that form a whole once the piece between them is removed.
        let (head, tail) = two.split_at(two.len() / 2);
        let halves = format!("{one}{head}\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n{tail}");
        assert!(!is_cut_out_of(format!("{one}{two}").as_bytes(), halves.as_bytes()));
        // A fault that keeps programs from what follows.
        let faulty = format!("{one}\0\n{three}");
        assert!(!is_cut_out_of(without.as_bytes(), faulty.as_bytes()));
        assert!(!is_cut_out_of(without.as_bytes(), format!("{one}text -----BEGIN\n{three}").as_bytes()));
    }
}
