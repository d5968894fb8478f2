//! Hash links: how `openssl rehash` (3.x) names the certificates of a directory by subject hash, so that OpenSSL
//! finds them: `HHHHHHHH.N` is a link to the file's name, N counts from 0 without holes.
//!
//! Follows the program's rules, numbering included: an existing link keeps its number; files are read in byte order of
//! their names; a certificate that already exists under the same hash is a duplicate. Alpine's `c_rehash` makes the
//! same links unless two new certificates share a hash (it loses some then; we do not).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sha1::{Digest, Sha1};

use super::Desires;
use crate::error::Result;
use crate::pki::cert::Certificate;
use crate::pki::cert::readers::openssl;
use crate::rootfs::path::{child, join};
use crate::rootfs::split;
use crate::rootfs::tree::Node;
use crate::trust::view::View;

/// The extensions that are read, in any case.
const EXTENSIONS: [&str; 4] = ["pem", "crt", "cer", "crl"];

/// One entry of the directory.
#[derive(Clone, Debug)]
pub(crate) struct HashedEntry {
    /// Its name.
    pub(crate) name: String,
    /// If it is a link: the target as written.
    pub(crate) target: Option<String>,
    /// If it leads to a file with exactly one certificate: that.
    pub(crate) certificate: Option<Certificate>,
}

/// Whether a file of this name is read for a certificate.
pub(crate) fn is_candidate(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, extension)| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// The hash and number of a certificate's hash link; `None` for other names, and for those of revocation lists.
pub(crate) fn parse_name(name: &str) -> Option<(u32, usize)> {
    let (hash, number) = name.split_once('.')?;
    if hash.len() != 8 || number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((u32::from_str_radix(hash, 16).ok()?, number.parse().ok()?))
}

#[derive(Debug)]
struct Slot {
    file: String,
    number: Option<usize>,
    has_certificate: bool,
}

/// The links of one hash. An image can have thousands of certificates with one subject, so nothing here searches all of
/// them for each (threat T36).
#[derive(Debug, Default)]
struct Bucket {
    slots: Vec<Slot>,
    by_file: HashMap<String, usize>,
    digests: HashSet<[u8; 20]>,
}

impl Bucket {
    /// The slot of a file, a new one if it has none.
    fn slot(&mut self, file: &str) -> &mut Slot {
        let index = match self.by_file.get(file) {
            Some(index) => *index,
            None => {
                self.slots.push(Slot { file: file.to_owned(), number: None, has_certificate: false });
                self.by_file.insert(file.to_owned(), self.slots.len() - 1);
                self.slots.len() - 1
            }
        };
        &mut self.slots[index]
    }
}

/// The links to make (`Some(target)`) and to remove (`None`), by name. With `keep_duplicates`, as Alpine's program
/// does, a second file with the same certificate keeps the link that it has.
pub(crate) fn changes(entries: &[HashedEntry], keep_duplicates: bool) -> BTreeMap<String, Option<String>> {
    let mut buckets: BTreeMap<u32, Bucket> = BTreeMap::new();
    for entry in entries {
        if let (Some(target), Some((hash, number))) = (&entry.target, parse_name(&entry.name)) {
            let slot = buckets.entry(hash).or_default().slot(target);
            slot.number = Some(slot.number.map_or(number, |old| old.min(number)));
            continue;
        }
        let Some(certificate) = entry.certificate.as_ref().filter(|_| is_candidate(&entry.name)) else {
            continue;
        };
        let bucket = buckets.entry(certificate.subject_hash()).or_default();
        let linked = bucket.by_file.contains_key(&entry.name);
        let is_duplicate = !bucket.digests.insert(Sha1::digest(certificate.der()).into());
        if is_duplicate && !(keep_duplicates && linked) {
            continue;
        }
        bucket.slot(&entry.name).has_certificate = true;
    }
    let mut changes = BTreeMap::new();
    for (hash, Bucket { slots, .. }) in buckets {
        let needed = slots.iter().filter(|slot| slot.has_certificate).count();
        let keeps = |slot: &Slot| slot.number.is_some_and(|number| number < needed);
        let taken: HashSet<usize> =
            slots.iter().filter(|slot| keeps(slot)).filter_map(|slot| slot.number).collect();
        let mut free = (0..).filter(|number| !taken.contains(number));
        for slot in slots.iter().filter(|slot| !keeps(slot)) {
            if slot.has_certificate {
                let number = free.next().unwrap_or_default();
                changes.insert(name(hash, number), Some(slot.file.clone()));
            } else if let Some(number) = slot.number {
                changes.entry(name(hash, number)).or_insert(None);
            }
        }
    }
    changes
}

/// The entries of `directory`: its content without us, with `links` (`None`: removed) and `ours` (by path) overlaid.
pub(crate) fn entries(
    view: &View,
    directory: &str,
    links: &BTreeMap<String, Option<String>>,
    ours: &BTreeMap<String, Certificate>,
) -> Result<Vec<HashedEntry>> {
    let mut names: BTreeSet<String> = view.names(directory)?.into_iter().collect();
    names.extend(links.iter().filter(|(_, target)| target.is_some()).map(|(name, _)| name.clone()));
    let in_directory = ours.keys().map(|path| split(path)).filter(|(parent, _)| *parent == directory);
    names.extend(in_directory.map(|(_, name)| name.to_owned()));
    let mut entries = Vec::new();
    for name in names {
        let target = match links.get(&name) {
            Some(None) => continue,
            Some(Some(target)) => Some(target.clone()),
            None => match view.original(&child(directory, &name))?.as_ref() {
                Node::Link { target } => Some(target.clone()),
                _ => None,
            },
        };
        let is_hash_link = target.is_some() && parse_name(&name).is_some();
        let certificate = if is_hash_link || !is_candidate(&name) {
            None
        } else {
            let path =
                target.as_deref().map_or_else(|| child(directory, &name), |target| join(directory, target));
            match ours.get(&path) {
                Some(certificate) => Some(certificate.clone()),
                None => only_certificate(view, &path)?,
            }
        };
        entries.push(HashedEntry { name, target, certificate });
    }
    Ok(entries)
}

/// The certificate of a file that holds exactly one PEM block of a certificate.
fn only_certificate(view: &View, path: &str) -> Result<Option<Certificate>> {
    let Some((location, node)) = view.follow(path)? else { return Ok(None) };
    let Node::File(file) = node.as_ref() else { return Ok(None) };
    let contents = view.contents(&location, &node);
    // The program reads a file as OpenSSL reads a CAfile.
    Ok(match (contents.certificates.as_slice(), openssl::only_certificate(&file.content)) {
        ([certificate], Some(der)) if certificate.der() == der => Some(certificate.clone()),
        _ => None,
    })
}

/// Adds the links of `directory` to the desired nodes: a target for each name, or `None` for one to remove.
pub(super) fn want_links(
    directory: &str,
    links: BTreeMap<String, Option<String>>,
    reason: &str,
    desires: &mut Desires,
) {
    for (name, target) in links {
        let path = child(directory, &name);
        match target {
            Some(target) => desires.want(path, Node::Link { target }, reason),
            None => desires.want(path, Node::Absent, "it is a dangling symlink"),
        }
    }
}

/// `HHHHHHHH.N`.
fn name(hash: u32, number: usize) -> String {
    format!("{hash:08x}.{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hash_links() {
        assert_eq!(parse_name("0a1b2c3d.0"), Some((0x0a1b_2c3d, 0)));
        assert_eq!(parse_name("0a1b2c3d.12"), Some((0x0a1b_2c3d, 12)));
        for other in ["0a1b2c3d.r0", "0a1b2c3.0", "0a1b2c3d.", "0a1b2c3d", "zzzzzzzz.0", "ca.pem"] {
            assert_eq!(parse_name(other), None, "{other}");
        }
        assert!(is_candidate("a.pem") && is_candidate("a.CRT") && !is_candidate("ca-certificates.crt.new"));
    }

    /// A root of its own key with this common name.
    fn root(name: &str) -> Certificate {
        let mut parameters = rcgen::CertificateParams::new([]).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        Certificate::from_der(certificate.der()).unwrap()
    }

    fn file(name: &str, certificate: &Certificate) -> HashedEntry {
        HashedEntry {
            name: name.into(),
            target: Some(format!("/x/{name}")),
            certificate: Some(certificate.clone()),
        }
    }

    fn link(name: String, target: &str) -> HashedEntry {
        HashedEntry { name, target: Some(target.into()), certificate: None }
    }

    fn made(changes: BTreeMap<String, Option<String>>) -> Vec<(String, Option<String>)> {
        changes.into_iter().map(|(name, target)| (name[8..].to_owned(), target)).collect()
    }

    fn to(number: &str, target: &str) -> (String, Option<String>) {
        (number.to_owned(), Some(target.to_owned()))
    }

    // The expectations were seen with the openssl of Debian 12 and 13.
    #[test]
    fn numbers_follow_names_and_existing_links_keep_theirs() {
        let (a, b, c) = (root("Same"), root("Same"), root("Same"));
        let hash = a.subject_hash();
        let files = [file("a.pem", &a), file("b.pem", &b), file("c.pem", &c)];
        let wanted = [to(".0", "a.pem"), to(".1", "b.pem"), to(".2", "c.pem")];
        assert_eq!(made(changes(&files, false)), wanted);
        // One comes first by name, but the others have their links.
        let mut entries = vec![file("0.pem", &root("Same"))];
        entries.extend(
            ["a.pem", "b.pem", "c.pem"].iter().enumerate().map(|(n, file)| link(name(hash, n), file)),
        );
        entries.extend(files.clone());
        assert_eq!(made(changes(&entries, false)), [to(".3", "0.pem")]);
        // One of three is removed: the hole is filled; the old link stays, a duplicate that does no harm.
        let entries =
            [link(name(hash, 1), "b.pem"), link(name(hash, 2), "c.pem"), files[1].clone(), files[2].clone()];
        assert_eq!(made(changes(&entries, false)), [to(".0", "c.pem")]);
    }

    #[test]
    fn t36_one_subject_many_times_is_numbered_in_one_pass() {
        // Each file is an entry of its own certificate; with a pass over all of them for each, this takes hours.
        const MANY: usize = 10_000;
        let root = root("Same");
        // After the version and the header of the serial number, which has 20 bytes.
        let at = root.der().windows(3).position(|part| part == [0x02, 0x01, 0x02]).expect("version 3") + 5;
        let files: Vec<HashedEntry> = (0..MANY)
            .map(|number| {
                let mut der = root.der().to_vec();
                der[at..at + 8].copy_from_slice(&(1 << 62 | number as u64).to_be_bytes());
                let certificate = Certificate::from_der(&der).expect("another serial number");
                file(&format!("{number:05}.pem"), &certificate)
            })
            .collect();
        let hash = root.subject_hash();
        let changes = changes(&files, false);
        assert_eq!(changes.len(), MANY);
        assert_eq!(changes[&name(hash, MANY - 1)].as_deref(), Some("09999.pem"));
        // Every second has its link already; the others fill the holes in order.
        let links = (0..MANY).step_by(2).map(|number| link(name(hash, number), &format!("{number:05}.pem")));
        let entries: Vec<HashedEntry> = links.chain(files).collect();
        let changes = super::changes(&entries, false);
        assert_eq!(changes.len(), MANY / 2);
        assert_eq!(changes[&name(hash, 1)].as_deref(), Some("00001.pem"));
        assert_eq!(changes[&name(hash, MANY - 1)].as_deref(), Some("09999.pem"));
    }

    #[test]
    fn the_same_certificate_twice_has_one_link() {
        let root = root("Twice");
        let entries = [file("a.pem", &root), file("b.pem", &root)];
        assert_eq!(made(changes(&entries, false)), [to(".0", "a.pem")]);
        // Alpine's program leaves a second file the link that it has.
        let hash = root.subject_hash();
        let linked = [
            link(name(hash, 0), "a.pem"),
            link(name(hash, 1), "b.pem"),
            entries[0].clone(),
            entries[1].clone(),
        ];
        assert_eq!(changes(&linked, true), BTreeMap::new());
        assert_eq!(changes(&linked, false), BTreeMap::from([(name(hash, 1), None)]));
    }

    #[test]
    fn a_link_to_nothing_needed_goes() {
        let link =
            HashedEntry { name: "deadbeef.0".into(), target: Some("gone.pem".into()), certificate: None };
        assert_eq!(
            changes(std::slice::from_ref(&link), false),
            BTreeMap::from([("deadbeef.0".to_owned(), None)])
        );
    }
}
