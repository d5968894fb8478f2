//! Hash links: how `openssl rehash` (3.x) names the certificates of a directory by subject hash, so that OpenSSL
//! finds them: `XXXXXXXX.N` is a link to the file's name, N counts from 0 without holes.
//!
//! Follows the program's rules, numbering included: an existing link keeps its number; files are taken in byte order
//! of their names; a certificate that is there under the same hash already is a duplicate. Alpine's `c_rehash` ends
//! at the same links wherever no two new certificates share a hash (it loses some then; we do not).

use std::collections::BTreeMap;

use sha1::{Digest, Sha1};

use crate::cert::Certificate;

/// The endings that are looked at, in any case.
const EXTENSIONS: [&str; 4] = ["pem", "crt", "cer", "crl"];

/// One entry of the directory.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// If it is a link: the target as written.
    pub target: Option<String>,
    /// If it leads to a file with exactly one certificate: that.
    pub certificate: Option<Certificate>,
}

/// Whether a file of this name is looked at for a certificate.
pub fn is_candidate(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, extension)| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// The hash and number of a certificate's hash link; `None` for other names, and for those of revocation lists.
pub fn parse_name(name: &str) -> Option<(u32, usize)> {
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
    digest: Option<[u8; 20]>,
}

/// The links to make (`Some(target)`) and to remove (`None`), by name.
pub fn changes(entries: &[Entry]) -> BTreeMap<String, Option<String>> {
    let mut buckets: BTreeMap<u32, Vec<Slot>> = BTreeMap::new();
    for entry in entries {
        if let (Some(target), Some((hash, number))) = (&entry.target, parse_name(&entry.name)) {
            let bucket = buckets.entry(hash).or_default();
            match bucket.iter_mut().find(|slot| slot.file == *target) {
                Some(slot) => slot.number = Some(slot.number.map_or(number, |old| old.min(number))),
                None => bucket.push(Slot { file: target.clone(), number: Some(number), digest: None }),
            }
            continue;
        }
        let Some(certificate) = entry.certificate.as_ref().filter(|_| is_candidate(&entry.name)) else {
            continue;
        };
        let digest: [u8; 20] = Sha1::digest(certificate.der()).into();
        let bucket = buckets.entry(certificate.subject_hash()).or_default();
        if bucket.iter().any(|slot| slot.digest == Some(digest)) {
            continue;
        }
        match bucket.iter_mut().find(|slot| slot.file == entry.name) {
            Some(slot) => slot.digest = Some(digest),
            None => bucket.push(Slot { file: entry.name.clone(), number: None, digest: Some(digest) }),
        }
    }
    let mut changes = BTreeMap::new();
    for (hash, bucket) in buckets {
        let needed = bucket.iter().filter(|slot| slot.digest.is_some()).count();
        let keeps = |slot: &Slot| slot.number.is_some_and(|number| number < needed);
        let mut taken: Vec<usize> =
            bucket.iter().filter(|slot| keeps(slot)).filter_map(|slot| slot.number).collect();
        for slot in &bucket {
            if keeps(slot) {
                continue;
            }
            if slot.digest.is_some() {
                let number = (0..).find(|number| !taken.contains(number)).unwrap_or_default();
                taken.push(number);
                changes.insert(name(hash, number), Some(slot.file.clone()));
            } else if let Some(number) = slot.number {
                changes.entry(name(hash, number)).or_insert(None);
            }
        }
    }
    changes
}

/// `XXXXXXXX.N`.
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

    #[test]
    fn a_link_to_nothing_needed_goes() {
        let link = Entry { name: "deadbeef.0".into(), target: Some("gone.pem".into()), certificate: None };
        assert_eq!(changes(&[link]), BTreeMap::from([("deadbeef.0".to_owned(), None)]));
    }
}
