//! Hashed directories: the names that p11-kit gives to files and links, and the order of roots that they show.

use std::collections::{BTreeMap, BTreeSet};

use crate::pki::cert::Certificate;
use crate::trust::updater::rehash;

/// Numbered names, each series keyed by their common part. A number, once taken, is never free again, so each series
/// continues where it was: an image can have thousands of roots with one subject (threat T36).
#[derive(Debug)]
pub(crate) struct Series<K>(BTreeMap<K, usize>);

impl<K> Default for Series<K> {
    fn default() -> Self {
        Series(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Series<K> {
    /// The first name of the series that is not taken; the caller must then take it.
    pub(crate) fn free(
        &mut self,
        series: &K,
        name: impl Fn(usize) -> String,
        is_taken: impl Fn(&String) -> bool,
    ) -> String {
        let next = self.0.entry(series.clone()).or_default();
        while is_taken(&name(*next)) {
            *next += 1;
        }
        name(*next)
    }
}

/// The file name that p11-kit makes of a label: bytes other than letters, digits, `.`, `_` and `-` become `_`.
pub(crate) fn file_stem(label: &str) -> String {
    label
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-') { b as char } else { '_' })
        .collect()
}

/// A hashed directory: regular files by name, and links by name, for these roots in this order. Clashing names get
/// `.1`, `.2`; each file has a link by OpenSSL's present hash and one by that before 1.0, numbered from 0 in order.
pub(crate) fn directory(
    roots: &[(String, Certificate)],
) -> (BTreeMap<String, Certificate>, BTreeMap<String, String>) {
    let (mut files, mut links) = (BTreeMap::new(), BTreeMap::new());
    let (mut files_of_stem, mut links_of_hash) = (Series::default(), Series::default());
    for (label, certificate) in roots {
        let stem = file_stem(label);
        let is_taken = |name: &String| files.contains_key(name);
        let name = files_of_stem.free(&stem, |number| file_name(&stem, number), is_taken);
        for hash in [certificate.subject_hash(), certificate.subject_hash_old()] {
            let is_taken = |name: &String| links.contains_key(name);
            let link = links_of_hash.free(&hash, |number| format!("{hash:08x}.{number}"), is_taken);
            links.insert(link, name.clone());
        }
        files.insert(name, certificate.clone());
    }
    (files, links)
}

/// The roots of a hashed directory in an order from which [`directory`] makes exactly these names and links; `None` if
/// p11-kit would not write such a directory. Which of two roots came first shows only if they share a stem or a hash.
pub(crate) fn list_of_directory(
    files: &BTreeMap<String, (String, Certificate)>,
    links: &BTreeMap<String, String>,
) -> Option<Vec<(String, Certificate)>> {
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let index = |name: &str| names.binary_search(&name).ok();
    let mut labels = Vec::new();
    let mut behind: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); names.len()];
    // A number is given when all lower ones are taken.
    for (file, (name, (label, _))) in files.iter().enumerate() {
        let (label, number) = numbered(name, label, files);
        if let Some(lower) = number.checked_sub(1) {
            behind[index(&file_name(&file_stem(&label), lower))?].insert(file);
        }
        labels.push(label);
    }
    for (link, target) in links {
        let (hash, number) = rehash::parse_name(link)?;
        if let Some(lower) = number.checked_sub(1) {
            let first = index(links.get(&format!("{hash:08x}.{lower}"))?)?;
            if first != index(target)? {
                behind[first].insert(index(target)?);
            }
        }
    }
    let mut waits: Vec<usize> = vec![0; names.len()];
    for second in behind.iter().flatten() {
        waits[*second] += 1;
    }
    let mut ready: BTreeSet<usize> = (0..names.len()).filter(|file| waits[*file] == 0).collect();
    let mut list = Vec::new();
    while let Some(file) = ready.pop_first() {
        list.push((std::mem::take(&mut labels[file]), files[names[file]].1.clone()));
        for second in &behind[file] {
            waits[*second] -= 1;
            if waits[*second] == 0 {
                ready.insert(*second);
            }
        }
    }
    let (made, made_links) = directory(&list);
    let same = made.len() == files.len()
        && made.iter().zip(files).all(|((a, made), (b, (_, file)))| a == b && made == file);
    (same && made_links == *links).then_some(list)
}

/// The label of the file `name` and its number among files of the same stem. If `label`, the best guess, gives another
/// name, the name itself decides.
fn numbered(name: &str, label: &str, files: &BTreeMap<String, (String, Certificate)>) -> (String, usize) {
    let whole = name.strip_suffix(".pem").unwrap_or(name);
    if whole == file_stem(label) {
        return (label.to_owned(), 0);
    }
    if let Some((stem, number)) = whole.rsplit_once('.')
        && let Ok(number @ 1..) = number.parse::<usize>()
        && files.contains_key(&file_name(stem, number - 1))
    {
        let label = if stem == file_stem(label) { label } else { stem };
        return (label.to_owned(), number);
    }
    (whole.to_owned(), 0)
}

/// The name of the file with this number among those of one stem.
pub(crate) fn file_name(stem: &str, number: usize) -> String {
    if number == 0 { format!("{stem}.pem") } else { format!("{stem}.{number}.pem") }
}

#[cfg(test)]
mod tests {
    use super::super::tests::root;
    use super::*;
    use crate::pki::fingerprint::Fingerprint;

    /// What `list_of_directory` is given.
    fn standing(
        list: &[(String, Certificate)],
        label: impl Fn(&Certificate) -> String,
    ) -> (BTreeMap<String, (String, Certificate)>, BTreeMap<String, String>) {
        let (files, links) = directory(list);
        (files.into_iter().map(|(name, root)| (name, (label(&root), root))).collect(), links)
    }

    #[test]
    fn a_hashed_directory_tells_the_order_that_matters() {
        let list: Vec<(String, Certificate)> = [
            ("Z", "Same"),
            ("A", "Same"),
            ("Vendor's", "One"),
            ("Vendor's", "Two"),
            ("Vendor's", "Same"),
            ("Vendor's.1", "Vendor's.1"),
            ("A", "Other"),
        ]
        .map(|(label, name)| (label.to_owned(), root(name)))
        .into();
        let known: BTreeMap<Fingerprint, String> =
            list.iter().map(|(label, root)| (root.fingerprint(), label.clone())).collect();
        let (files, links) = standing(&list, |root| known[&root.fingerprint()].clone());
        let read = list_of_directory(&files, &links).unwrap();
        assert_eq!(directory(&read), directory(&list));
        // Moving a root at the front changes nothing.
        for label in ["A", "Same", "Vendor's", "Vendor's.1", "Z", "New"] {
            let first = (label.to_owned(), root("Same"));
            let with =
                |list: &[(String, Certificate)]| directory(&[std::slice::from_ref(&first), list].concat());
            assert_eq!(with(&read), with(&list), "{label}");
        }
        // Labels that no other source gives are derived from the names.
        let (files, links) = standing(&list[..5], Certificate::label);
        let read = list_of_directory(&files, &links).unwrap();
        let first = ("Vendor's".to_owned(), root("x"));
        let with = |list: &[(String, Certificate)]| directory(&[std::slice::from_ref(&first), list].concat());
        assert_eq!(with(&read), with(&list[..5]));
    }

    #[test]
    fn a_directory_that_p11_kit_would_not_write_is_no_list() {
        let list = [("A".to_owned(), root("Same")), ("B".to_owned(), root("Same"))];
        let (files, links) = standing(&list, Certificate::label);
        assert!(list_of_directory(&files, &links).is_some());
        for link in links.keys() {
            let mut fewer = links.clone();
            fewer.remove(link);
            assert_eq!(list_of_directory(&files, &fewer), None, "without {link}");
            let mut elsewhere = links.clone();
            elsewhere.insert(link.clone(), "C.pem".to_owned());
            assert_eq!(list_of_directory(&files, &elsewhere), None, "{link} leads elsewhere");
        }
        let mut more = links.clone();
        more.insert("deadbeef.0".to_owned(), "A.pem".to_owned());
        assert_eq!(list_of_directory(&files, &more), None);
        // The hash says that A came first, the old hash that B did.
        let old = list[0].1.subject_hash_old();
        let mut crossed = links.clone();
        crossed.insert(format!("{old:08x}.0"), "B.pem".to_owned());
        crossed.insert(format!("{old:08x}.1"), "A.pem".to_owned());
        assert_eq!(list_of_directory(&files, &crossed), None);
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
