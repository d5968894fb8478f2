//! The `java-cacerts` file that p11-kit's `trust extract` writes: a JKS with `changeit`, one date for all entries,
//! aliases made from labels. Seen on p11-kit 0.24.1.

use std::collections::BTreeSet;

use super::alias::numbered;
use super::{EntryContent, Keystore, KeystoreEntry, StorePassword, jks};
use crate::error::Error;
use crate::pki::cert::{Certificate, CertificateCache};
use crate::pki::fingerprint::Fingerprint;

/// p11-kit writes this version of JKS.
const VERSION: u32 = 2;

/// One root, before clashing aliases are numbered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRoot {
    /// What [`super::p11_alias`] made of its label.
    pub alias: String,
    /// The certificate.
    pub(crate) certificate: Certificate,
}

impl ListedRoot {
    /// p11-kit's root for an anchor with no label of its own.
    pub fn of(certificate: &Certificate) -> ListedRoot {
        let label = certificate.has_label().then(|| certificate.label());
        ListedRoot { alias: super::p11_alias(label.as_deref()), certificate: certificate.clone() }
    }
}

/// The file of these roots, in this order; `date` in milliseconds since 1970 (p11-kit's are whole seconds).
pub fn write(roots: &[ListedRoot], date: i64) -> Result<Vec<u8>, super::KeystoreProblem> {
    Ok(jks::write(VERSION, &entries(roots, date)?, &StorePassword::default()))
}

fn entries(roots: &[ListedRoot], date: i64) -> Result<Vec<KeystoreEntry>, super::KeystoreProblem> {
    let aliases = numbered(roots.iter().map(|root| root.alias.as_str()));
    let entry = |(root, alias): (&ListedRoot, &String)| jks::entry(VERSION, alias, &root.certificate, date);
    roots.iter().zip(&aliases).map(entry).collect()
}

/// The same, but with the date of `standing` if that is already the file of these roots: the date alone is no reason to
/// write it again.
pub(crate) fn renew(
    roots: &[ListedRoot],
    standing: &[u8],
    date: i64,
) -> Result<Vec<u8>, super::KeystoreProblem> {
    renew_opened(roots, standing, Keystore::parse(standing, &StorePassword::default()).ok().as_ref(), date)
}

/// The same where `opened` is what `standing` holds if it opens with `changeit`.
pub(crate) fn renew_opened(
    roots: &[ListedRoot],
    standing: &[u8],
    opened: Option<&Keystore>,
    date: i64,
) -> Result<Vec<u8>, super::KeystoreProblem> {
    let former = opened.and_then(|keystore| keystore.entries().first().and_then(KeystoreEntry::date));
    match former {
        Some(former) if jks::is_file_of(standing, VERSION, &entries(roots, former)?) => Ok(standing.to_vec()),
        _ => write(roots, date),
    }
}

/// A keystore that opens without a password, without these roots: numbered as p11-kit would, if it made the file.
/// `None` if it is not such a keystore, or holds none of them.
pub(crate) fn without(content: &[u8], gone: &BTreeSet<Fingerprint>) -> Option<Vec<u8>> {
    let mut keystore = Keystore::parse_cacerts(content).ok()?;
    if !keystore.fingerprints().iter().any(|fingerprint| gone.contains(fingerprint)) {
        return None;
    }
    if let Some((mut roots, date)) = read(content) {
        roots.retain(|root| !gone.contains(&root.certificate.fingerprint()));
        return write(&roots, date.unwrap_or(0)).ok();
    }
    for fingerprint in gone {
        keystore.remove(fingerprint);
    }
    keystore.to_bytes(&mut no_salt).ok()
}

/// A keystore that opens without a password has no salts.
fn no_salt(_: &mut [u8]) -> crate::error::Result<()> {
    Err(Error::failed("this keystore has no salts"))
}

/// The roots and the date of such a file (`None` if it has no root); `None` if writing them again would not give
/// exactly these bytes.
///
/// An alias `x-1` after an `x` is read as a second `x`: with another `x` in front they become `x-1` and `x-2`.
pub fn read(bytes: &[u8]) -> Option<(Vec<ListedRoot>, Option<i64>)> {
    let keystore = Keystore::parse(bytes, &StorePassword::default()).ok()?;
    read_opened(bytes, &keystore, &CertificateCache::default())
}

/// The same where `keystore` is what `bytes` hold, opened with `changeit`.
pub(crate) fn read_opened(
    bytes: &[u8],
    keystore: &Keystore,
    cache: &CertificateCache,
) -> Option<(Vec<ListedRoot>, Option<i64>)> {
    let mut roots: Vec<ListedRoot> = Vec::new();
    let mut counts = std::collections::HashMap::<String, usize>::new();
    for entry in keystore.entries() {
        let EntryContent::Trusted { der, .. } = entry.content() else { return None };
        let numbered = entry.alias().rsplit_once('-').filter(|(alias, number)| {
            let count = counts.get(*alias).copied().unwrap_or(0);
            !alias.is_empty() && count > 0 && *number == count.to_string()
        });
        let alias = numbered.map_or(entry.alias(), |(alias, _)| alias).to_owned();
        *counts.entry(alias.clone()).or_default() += 1;
        roots.push(ListedRoot { alias, certificate: cache.der(der).certificate()?.clone() });
    }
    let date = keystore.entries().first().and_then(KeystoreEntry::date);
    // That the checksum is right was found when it was opened.
    let entries = entries(&roots, date.unwrap_or(0)).ok()?;
    jks::is_file_of(bytes, VERSION, &entries).then_some((roots, date))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{certificate, jks, jks_trusted};
    use super::*;

    fn aliases(file: &[u8]) -> Vec<String> {
        let keystore = Keystore::parse(file, &StorePassword::default()).unwrap();
        keystore.entries().iter().map(|entry| entry.alias().to_owned()).collect()
    }

    #[test]
    fn another_in_front_renumbers_as_the_tool_would() {
        let named =
            |alias: &str, name: &str| ListedRoot { alias: alias.to_owned(), certificate: certificate(name) };
        let vendor = [named("x", "A"), named("y", "B"), named("x", "C"), named("y-1", "D")];
        let file = write(&vendor, 5000).unwrap();
        assert_eq!(aliases(&file), ["x", "y", "x-1", "y-1"]);
        let (mut roots, date) = read(&file).unwrap();
        assert_eq!((write(&roots, 5000).unwrap(), date), (file, Some(5000)));
        roots.insert(0, ListedRoot::of(&certificate("X")));
        let with = write(&roots, 6000).unwrap();
        assert_eq!(aliases(&with)[..4], ["x", "x-1", "y", "x-2"]);
        assert_eq!(read(&with).unwrap().0, roots);
        assert_eq!(read(&write(&[], 0).unwrap()), Some((Vec::new(), None)));
    }

    #[test]
    fn the_date_alone_is_no_reason_to_write() {
        let [a, b] = ["A", "B"].map(|name| ListedRoot::of(&certificate(name)));
        let (one, both) = (std::slice::from_ref(&a), [a.clone(), b]);
        let standing = write(one, 5000).unwrap();
        assert_eq!(renew(one, &standing, 6000).unwrap(), standing);
        assert_eq!(renew(&both, &standing, 6000).unwrap(), write(&both, 6000).unwrap());
        for nothing in [&b""[..], b"no keystore", &write(&[], 0).unwrap()] {
            assert_eq!(renew(one, nothing, 6000).unwrap(), write(one, 6000).unwrap());
        }
    }

    #[test]
    fn ours_goes_out_and_nothing_else() {
        let named =
            |alias: &str, name: &str| ListedRoot { alias: alias.to_owned(), certificate: certificate(name) };
        let (ours, vendor) = (named("x", "Ours"), [named("x", "A"), named("y", "B"), named("x", "C")]);
        let gone = BTreeSet::from([ours.certificate.fingerprint()]);
        let with = [vec![ours.clone()], vendor.to_vec()].concat();
        assert_eq!(without(&write(&with, 5000).unwrap(), &gone), Some(write(&vendor, 5000).unwrap()));
        assert_eq!(without(&write(&vendor, 5000).unwrap(), &gone), None);
        // Of another shape: the other entries as they are.
        let ders = [&ours, &vendor[0]].map(|root| root.certificate.der().to_vec());
        let theirs = jks_trusted(b"Theirs", 7, &ders[1]);
        let file = |entries: &[Vec<u8>]| jks(2, "changeit", entries);
        let both = file(&[theirs.clone(), jks_trusted(b"ours", 1, &ders[0])]);
        assert_eq!(without(&both, &gone), Some(file(&[theirs])));
        for other in [&jks(2, "other", &[jks_trusted(b"ours", 1, &ders[0])])[..], &ders[0], b""] {
            assert_eq!(without(other, &gone), None);
        }
    }

    #[test]
    fn what_p11_kit_would_not_write_is_not_read() {
        let der = certificate("A").der().to_vec();
        let of = |entries: &[Vec<u8>]| jks(2, "changeit", entries);
        assert!(read(&of(&[jks_trusted(b"a", 1, &der), jks_trusted(b"b", 1, &der)])).is_some());
        assert_eq!(read(&of(&[jks_trusted(b"a", 1, &der), jks_trusted(b"b", 2, &der)])), None, "two dates");
        assert_eq!(read(&of(&[jks_trusted(b"a", 1, &der), jks_trusted(b"a", 1, &der)])), None, "one alias");
        assert_eq!(read(&of(&[jks_trusted(b"a", 1, b"x")])), None, "no certificate");
        assert_eq!(read(&jks(2, "other", &[])), None);
    }
}
