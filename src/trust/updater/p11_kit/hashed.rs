//! Hashed directories and the links to them elsewhere. p11-kit's own names show the order of its roots, so ours goes in
//! front as in every other output. Where another program changed the directory, the root is added to its content, under
//! free names and numbers.

use std::collections::{BTreeMap, BTreeSet};

use super::{Front, P11Kit, relative_target};
use crate::error::Result;
use crate::pki::cert::{Certificate, Purpose, pem};
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::path::{child, join};
use crate::rootfs::tree::{File, Node};
use crate::trust::p11_format::{
    List, P11Entry, P11Format, Series, directory, file_name, file_stem, list_of_directory, with_first,
};
use crate::trust::updater::{Desires, rehash};
use crate::trust::view::View;

/// A directory that OpenSSL searches: a file for each root, links to it by its subject hashes.
#[derive(Debug)]
pub(crate) struct Hashed {
    /// Its path.
    pub(crate) path: &'static str,
    /// How each file is written.
    pub(crate) format: P11Format,
    /// Roots for this purpose; `None`: for any.
    pub(crate) purpose: Option<Purpose>,
    /// Links to it elsewhere.
    pub(crate) copies: Option<Copies>,
}

/// A directory of links to the files of a hashed directory.
#[derive(Debug)]
pub(crate) struct Copies {
    /// Its path.
    pub(crate) directory: &'static str,
    /// Not only the hash links, but the files' names too.
    pub(crate) names: bool,
    /// Absolute targets.
    pub(crate) absolute: bool,
}

/// What is in a hashed directory.
struct HashedDirectory {
    list: List,
    certificates: BTreeMap<Fingerprint, Certificate>,
}

/// The files and links of a hashed directory.
type HashedNames = (BTreeMap<String, Certificate>, BTreeMap<String, String>);

impl Hashed {
    /// The content without us, with the best known labels; `None` if p11-kit would write it differently.
    fn read(&self, view: &View, labels: &BTreeMap<Fingerprint, String>) -> Result<Option<HashedDirectory>> {
        let (mut files, mut links, mut bodies) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for name in view.names(self.path)? {
            let path = child(self.path, &name);
            let node = view.original(&path)?;
            match node.as_ref() {
                // Fedora's script puts links to the bundle here; p11-kit's own lead to files of the directory.
                Node::Link { target } if target.contains('/') && rehash::parse_name(&name).is_none() => {}
                Node::Link { target } => {
                    links.insert(name, target.clone());
                }
                Node::File(file) => {
                    let certificates = &view.contents(&view.location(&path)?, &node).certificates;
                    let [certificate] = certificates.as_slice() else { return Ok(None) };
                    let fingerprint = certificate.fingerprint();
                    let label = labels.get(&fingerprint).cloned().unwrap_or_else(|| certificate.label());
                    files.insert(name, (label, certificate.clone()));
                    bodies.insert(fingerprint, file.content.to_vec());
                }
                _ => return Ok(None),
            }
        }
        let Some(roots) = list_of_directory(&files, &links) else { return Ok(None) };
        let entries = roots.iter().map(|(label, certificate)| {
            let fingerprint = certificate.fingerprint();
            let body = bodies.remove(&fingerprint).unwrap_or_default();
            P11Entry { fingerprint, label: Some(label.clone()), body }
        });
        let list = List { header: Vec::new(), entries: entries.collect() };
        let certificates = roots.into_iter().map(|(_, certificate)| (certificate.fingerprint(), certificate));
        Ok(Some(HashedDirectory { list, certificates: certificates.collect() }))
    }

    /// The entry of an anchor: its label makes the file's name.
    fn entry(&self, certificate: &Certificate) -> P11Entry {
        P11Entry { label: Some(certificate.label()), ..self.format.entry(certificate) }
    }

    fn allows(&self, certificate: &Certificate) -> bool {
        self.purpose.is_none_or(|purpose| certificate.allows(purpose))
    }

    /// Whether this directory holds the certificate under its hash already.
    fn holds(&self, view: &View, names: &BTreeSet<String>, certificate: &Certificate) -> Result<bool> {
        let hash = certificate.subject_hash();
        for name in names.iter().filter(|name| rehash::parse_name(name).is_some_and(|(it, _)| it == hash)) {
            if view.certificates(&child(self.path, name))?.contains(certificate) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The links elsewhere that lead into the directory.
    fn copied(&self, view: &View, copies: &Copies) -> Result<BTreeSet<String>> {
        let mut standing = BTreeSet::new();
        for name in view.names(copies.directory)? {
            if let Node::Link { target } = view.original(&child(copies.directory, &name))?.as_ref()
                && view.location(&join(copies.directory, target))?.starts_with(&format!("{}/", self.path))
            {
                standing.insert(name);
            }
        }
        Ok(standing)
    }

    /// The target of the link `name` elsewhere to `file`.
    fn copy_target(&self, copies: &Copies, name: &str, file: &str) -> String {
        let file = child(self.path, file);
        if copies.absolute { file } else { relative_target(&child(copies.directory, name), &file) }
    }

    /// The directory and the links to it, with the front in place.
    pub(super) fn desired(
        &self,
        view: &View,
        front: &Front,
        labels: &BTreeMap<Fingerprint, String>,
        desires: &mut Desires,
    ) -> Result<()> {
        let Some(mut standing) = self.read(view, labels)? else { return self.beside(view, front, desires) };
        let first = front.entries(self.purpose, &standing.list, |certificate| self.entry(certificate));
        let new = with_first(&standing.list, first);
        let ours =
            front.certificates.iter().map(|certificate| (certificate.fingerprint(), certificate.clone()));
        standing.certificates.extend(ours);
        let bodies: BTreeMap<Fingerprint, &Vec<u8>> =
            new.entries.iter().map(|entry| (entry.fingerprint, &entry.body)).collect();
        let (old_files, old_links) = standing.names(&standing.list);
        let (files, links) = standing.names(&new);
        for name in old_files.keys().filter(|name| !files.contains_key(*name)) {
            desires.want(child(self.path, name), Node::Absent, "another file has its place");
        }
        for (name, certificate) in &files {
            let path = child(self.path, name);
            let body = bodies.get(&certificate.fingerprint()).map_or(&[][..], |body| body.as_slice());
            let stays = matches!(view.original(&path)?.as_ref(), Node::File(file) if *file.content == *body);
            if !stays {
                let node = Node::File(File::new(body.to_vec(), 0o444));
                desires.want(path, node, "the root in the hashed directory");
            }
        }
        for name in old_links.keys().filter(|name| !links.contains_key(*name)) {
            desires.want(child(self.path, name), Node::Absent, "it is a dangling symlink");
        }
        for (name, target) in links.iter().filter(|(name, target)| old_links.get(*name) != Some(*target)) {
            let node = Node::Link { target: target.clone() };
            desires.want(child(self.path, name), node, "OpenSSL finds it by this subject hash");
        }
        match &self.copies {
            Some(copies) => self.copy(view, copies, &(files, links), desires),
            None => Ok(()),
        }
    }

    /// Links elsewhere to the files of the hashed directory, if the family (in this version) has them.
    fn copy(&self, view: &View, copies: &Copies, names: &HashedNames, desires: &mut Desires) -> Result<()> {
        let (files, links) = names;
        let standing = self.copied(view, copies)?;
        if !standing.iter().any(|name| rehash::parse_name(name).is_some()) {
            return Ok(());
        }
        let target = |name: &str, file: &str| self.copy_target(copies, name, file);
        let mut wanted: BTreeMap<&str, String> =
            links.iter().map(|(name, file)| (name.as_str(), target(name, file))).collect();
        if copies.names {
            wanted.extend(files.keys().map(|name| (name.as_str(), target(name, name))));
        }
        for name in standing.iter().filter(|name| !wanted.contains_key(name.as_str())) {
            desires.want(child(copies.directory, name), Node::Absent, "it is a dangling symlink");
        }
        for (name, target) in wanted {
            desires.want(
                child(copies.directory, name),
                Node::Link { target },
                "the family links the hashed directory here",
            );
        }
        Ok(())
    }

    /// Adds ours to a directory of any shape.
    fn beside(&self, view: &View, front: &Front, desires: &mut Desires) -> Result<()> {
        desires.builtin_warnings.push(format!(
            "`{}` is not as the family's tool writes it: the root is added to what is there",
            self.path
        ));
        let mut taken: BTreeSet<String> = view.names(self.path)?.into_iter().collect();
        let (mut of_stem, mut of_hash, mut of_copied_hash) =
            (Series::default(), Series::default(), Series::default());
        let mut copied = BTreeSet::new();
        let mut copies = None;
        if let Some(elsewhere) = &self.copies
            && self.copied(view, elsewhere)?.iter().any(|name| rehash::parse_name(name).is_some())
        {
            copied.extend(view.names(elsewhere.directory)?);
            copies = Some(elsewhere);
        }
        for certificate in front.ours() {
            if !self.allows(certificate) || self.holds(view, &taken, certificate)? {
                continue;
            }
            let entry = self.entry(certificate);
            let stem = file_stem(&certificate.label());
            let file = free(&mut taken, &mut of_stem, &stem, |number| file_name(&stem, number));
            let node = Node::File(File::new(entry.body, 0o444));
            desires.want(child(self.path, &file), node, "the root in the hashed directory");
            let copy = |copies: &Copies, name: &str, desires: &mut Desires| {
                let node = Node::Link { target: self.copy_target(copies, name, &file) };
                let path = child(copies.directory, name);
                desires.want(path, node, "the family links the hashed directory here");
            };
            for hash in [certificate.subject_hash(), certificate.subject_hash_old()] {
                let link = |number| format!("{hash:08x}.{number}");
                let name = free(&mut taken, &mut of_hash, &hash, link);
                let node = Node::Link { target: file.clone() };
                desires.want(child(self.path, &name), node, "OpenSSL finds it by this subject hash");
                if let Some(copies) = copies {
                    let name = free(&mut copied, &mut of_copied_hash, &hash, link);
                    copy(copies, &name, desires);
                }
            }
            if let Some(copies) = copies.filter(|copies| copies.names)
                && copied.insert(file.clone())
            {
                copy(copies, &file, desires);
            }
        }
        Ok(())
    }
}

impl HashedDirectory {
    /// The names of files and links that p11-kit gives to `list`.
    fn names(&self, list: &List) -> HashedNames {
        let known = list.entries.iter().filter_map(|entry| {
            Some((entry.label.clone()?, self.certificates.get(&entry.fingerprint)?.clone()))
        });
        directory(&known.collect::<Vec<_>>())
    }
}

impl P11Kit {
    /// The aliases in the TRUSTED CERTIFICATE files of hashed directories: the labels of their roots, if no bundle has
    /// comments.
    pub(super) fn aliases(&self, view: &View) -> Result<BTreeMap<Fingerprint, String>> {
        let mut labels = BTreeMap::new();
        for hashed in self.hashed.iter().filter(|hashed| hashed.format == P11Format::TrustedPem) {
            for name in view.names(hashed.path)? {
                if let Node::File(file) = view.original(&child(hashed.path, &name))?.as_ref() {
                    labels.extend(pem::blocks(&file.content).iter().filter_map(|block| {
                        Some((Certificate::fingerprint_of_block(block)?, Certificate::alias_of_block(block)?))
                    }));
                }
            }
        }
        Ok(labels)
    }
}

/// The first free name of a numbered series, which is then taken.
fn free<K: Ord + Clone>(
    taken: &mut BTreeSet<String>,
    all: &mut Series<K>,
    series: &K,
    name: impl Fn(usize) -> String,
) -> String {
    let name = all.free(series, name, |name| taken.contains(name));
    taken.insert(name.clone());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_up_to_the_first_that_is_free() {
        let mut taken: BTreeSet<String> = ["x.0", "x.1", "x.3"].map(str::to_owned).into();
        let (mut all, name) = (Series::default(), |number| format!("x.{number}"));
        assert_eq!(free(&mut taken, &mut all, &"x", name), "x.2");
        assert_eq!(free(&mut taken, &mut all, &"x", name), "x.4");
    }
}
