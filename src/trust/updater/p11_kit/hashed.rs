//! The hashed directory and the links to it elsewhere: rebuilt from the TLS bundle where it is what that bundle says.
//! Where it is not (somebody added to either of them, or the bundle cannot be replaced), ours is added beside what is
//! there, under names and numbers that are free.

use std::collections::{BTreeMap, BTreeSet};

use super::{P11Kit, relative_target};
use crate::cert::{Certificate, Purpose};
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::tree::{File, Node};
use crate::trust::p11_format::{List, directory, file_stem};
use crate::trust::updater::{Desires, Wanted, rehash};
use crate::trust::view::{View, child, join};

impl P11Kit {
    /// The hashed directory and the links to it.
    pub(super) fn hash(
        &self,
        view: &View,
        old: &List,
        new: &List,
        wanted: &Wanted,
        desires: &mut Desires,
    ) -> Result<()> {
        let certificates = self.certificates_of(view, wanted)?;
        let labelled = |list: &List| -> Vec<(String, Certificate)> {
            let known = list.entries.iter().filter_map(|entry| {
                Some((entry.label.clone()?, certificates.get(&entry.fingerprint)?.clone()))
            });
            known.collect()
        };
        let (old_files, old_links) = directory(&labelled(old));
        let (files, links) = directory(&labelled(new));
        if !self.stands_so(view, &old_files, &old_links)? {
            return self.hash_beside(view, wanted, desires);
        }
        for name in old_files.keys().filter(|name| !files.contains_key(*name)) {
            desires.want(child(self.hashed, name), Node::Absent, "another file has its place");
        }
        for (name, certificate) in &files {
            let node = Node::File(File::new(certificate.to_pem().into_bytes(), 0o444));
            desires.want(child(self.hashed, name), node, "the root in the hashed directory");
        }
        for name in old_links.keys().filter(|name| !links.contains_key(*name)) {
            desires.want(child(self.hashed, name), Node::Absent, "it leads nowhere any more");
        }
        for (name, target) in &links {
            let node = Node::Link { target: target.clone() };
            desires.want(child(self.hashed, name), node, "OpenSSL finds it by this subject hash");
        }
        self.copy_links(view, &files, &links, desires)
    }

    /// Links elsewhere to the files of the hashed directory, where the family (this version of it) has them.
    fn copy_links(
        &self,
        view: &View,
        files: &BTreeMap<String, Certificate>,
        links: &BTreeMap<String, String>,
        desires: &mut Desires,
    ) -> Result<()> {
        let directory = self.copies.directory;
        let standing = self.copied(view)?;
        if !standing.iter().any(|name| rehash::parse_name(name).is_some()) {
            return Ok(());
        }
        let target = |file: &str| {
            let file = child(self.hashed, file);
            if self.copies.absolute { file } else { relative_target(&child(directory, "x"), &file) }
        };
        let mut wanted: BTreeMap<&str, String> =
            links.iter().map(|(name, file)| (name.as_str(), target(file))).collect();
        if self.copies.names {
            wanted.extend(files.keys().map(|name| (name.as_str(), target(name))));
        }
        for name in standing.iter().filter(|name| !wanted.contains_key(name.as_str())) {
            desires.want(child(directory, name), Node::Absent, "it leads nowhere any more");
        }
        for (name, target) in wanted {
            desires.want(
                child(directory, name),
                Node::Link { target },
                "the family links the hashed directory here",
            );
        }
        Ok(())
    }

    /// The links elsewhere that lead into the hashed directory.
    fn copied(&self, view: &View) -> Result<BTreeSet<String>> {
        let directory = self.copies.directory;
        let mut standing = BTreeSet::new();
        for name in view.names(directory)? {
            if let Node::Link { target } = view.original(&child(directory, &name))?.as_ref()
                && view.location(&join(directory, target))?.starts_with(&format!("{}/", self.hashed))
            {
                standing.insert(name);
            }
        }
        Ok(standing)
    }

    /// Whether the hashed directory without us is what the list says.
    fn stands_so(
        &self,
        view: &View,
        files: &BTreeMap<String, Certificate>,
        links: &BTreeMap<String, String>,
    ) -> Result<bool> {
        let mut count = 0;
        for name in view.names(self.hashed)? {
            let path = child(self.hashed, &name);
            let right = match view.original(&path)?.as_ref() {
                // Fedora's script puts links to the bundle here; p11-kit's own lead to files of the directory.
                Node::Link { target } if target.contains('/') && rehash::parse_name(&name).is_none() => {
                    continue;
                }
                Node::Link { target } => links.get(&name) == Some(target),
                Node::File(_) => {
                    let found = view.certificates(&path)?;
                    files.get(&name).is_some_and(|wanted| found.first() == Some(wanted))
                }
                _ => false,
            };
            if !right {
                return Ok(false);
            }
            count += 1;
        }
        Ok(count == files.len() + links.len())
    }

    fn certificates_of(&self, view: &View, wanted: &Wanted) -> Result<BTreeMap<Fingerprint, Certificate>> {
        let bundle = view.certificates(self.tls_bundle())?;
        let ours = wanted.anchors.iter().map(|anchor| anchor.certificate.clone());
        Ok(bundle
            .into_iter()
            .chain(ours)
            .map(|certificate| (certificate.fingerprint(), certificate))
            .collect())
    }

    /// Adds ours to a directory of any shape.
    pub(super) fn hash_beside(&self, view: &View, wanted: &Wanted, desires: &mut Desires) -> Result<()> {
        desires.warnings.push(format!(
            "`{}` is not as the family's tool writes it: ours is added beside what is there",
            self.hashed
        ));
        let mut taken: BTreeSet<String> = view.names(self.hashed)?.into_iter().collect();
        let mut copied: BTreeSet<String> = view.names(self.copies.directory)?.into_iter().collect();
        let copies = self.copied(view)?.iter().any(|name| rehash::parse_name(name).is_some());
        for anchor in &wanted.anchors {
            let certificate = &anchor.certificate;
            if !certificate.allows(Purpose::ServerAuth) || self.holds(view, &taken, certificate)? {
                continue;
            }
            let stem = file_stem(&certificate.label());
            let file = free(&mut taken, |number| match number {
                0 => format!("{stem}.pem"),
                _ => format!("{stem}.{number}.pem"),
            });
            let node = Node::File(File::new(certificate.to_pem().into_bytes(), 0o444));
            desires.want(child(self.hashed, &file), node, "the root in the hashed directory");
            let copy = |name: &str, desires: &mut Desires| {
                let path = child(self.copies.directory, name);
                let file = child(self.hashed, &file);
                let target = if self.copies.absolute { file } else { relative_target(&path, &file) };
                desires.want(path, Node::Link { target }, "the family links the hashed directory here");
            };
            for hash in [certificate.subject_hash(), certificate.subject_hash_old()] {
                let name = free(&mut taken, |number| format!("{hash:08x}.{number}"));
                let node = Node::Link { target: file.clone() };
                desires.want(child(self.hashed, &name), node, "OpenSSL finds it by this subject hash");
                if copies {
                    copy(&free(&mut copied, |number| format!("{hash:08x}.{number}")), desires);
                }
            }
            if copies && self.copies.names && copied.insert(file.clone()) {
                copy(&file, desires);
            }
        }
        Ok(())
    }

    /// Whether this directory holds the certificate under its hash already.
    fn holds(&self, view: &View, names: &BTreeSet<String>, certificate: &Certificate) -> Result<bool> {
        let hash = certificate.subject_hash();
        for name in names.iter().filter(|name| rehash::parse_name(name).is_some_and(|(it, _)| it == hash)) {
            if view.certificates(&child(self.hashed, name))?.contains(certificate) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The first name of a numbered series that is free; it is taken then.
fn free(taken: &mut BTreeSet<String>, name: impl Fn(usize) -> String) -> String {
    let mut number = 0;
    while !taken.insert(name(number)) {
        number += 1;
    }
    name(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_up_to_the_first_that_is_free() {
        let mut taken: BTreeSet<String> = ["x.0", "x.1", "x.3"].map(str::to_owned).into();
        let name = |number| format!("x.{number}");
        assert_eq!(free(&mut taken, name), "x.2");
        assert_eq!(free(&mut taken, name), "x.4");
    }
}
