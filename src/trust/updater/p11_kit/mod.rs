//! Families whose outputs p11-kit's `trust extract` makes: Red Hat's (`update-ca-trust`) and Arch's. An
//! administrator's anchor stands at the front of every output, in the order of the anchor files' names, and an
//! administrator's copy of a vendor root replaces the vendor's entry. So each output that is there takes ours at its
//! front, and nothing else moves; outputs that are not there are not made.
//!
//! The Java keystore among the outputs is left alone by the built-in updater.

mod hashed;

use std::collections::{BTreeMap, BTreeSet};

use super::bundle::{Bundles, relative_target};
use super::{
    Anchor, AnchorDirectory, Desires, NativeTool, Output, OutputKind, Ownership, Updater, Wanted, rehash,
};
use crate::cert::{Certificate, Purpose};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::sysroot::split;
use crate::tree::{File, Node};
use crate::trust::p11_format::{Format, List, distrusted, with_first};
use crate::trust::view::{View, child};

/// What is extracted into one file.
#[derive(Debug)]
pub struct Extract {
    /// Where.
    pub path: &'static str,
    /// How.
    pub format: Format,
    /// Roots for this purpose; `None`: every certificate, with its trust settings.
    pub purpose: Option<Purpose>,
}

/// A directory of links to the files of the hashed directory.
#[derive(Debug)]
pub struct Copies {
    /// Where.
    pub directory: &'static str,
    /// Not the hash links alone, but the files' names too.
    pub names: bool,
    /// Absolute targets.
    pub absolute: bool,
}

/// A family.
#[derive(Debug)]
pub struct P11Kit {
    /// The administrator's token: anchors are in `anchors` below it, what is blocked in `blocklist`.
    pub admin: &'static str,
    /// The anchor directory: `anchors` below `admin`.
    pub anchors: &'static str,
    /// The vendor's token.
    pub vendor: &'static str,
    /// The directory that holds all outputs.
    pub extracted: &'static str,
    /// The outputs that are single files; the TLS bundle first.
    pub extracts: &'static [Extract],
    /// The hashed directory, in the order of the TLS bundle.
    pub hashed: &'static str,
    /// Links to it elsewhere.
    pub copies: Copies,
    /// The Java keystore, which only the native tool writes.
    pub keystore: &'static str,
    /// Links to the TLS bundle, for an image that has no bundle at all.
    pub links: &'static [&'static str],
    /// The program.
    pub tool: NativeTool,
}

impl P11Kit {
    fn tls_bundle(&self) -> &'static str {
        self.extracts[0].path
    }

    fn bundles(&self) -> Bundles {
        Bundles { primary: self.tls_bundle(), links: self.links }
    }

    /// The administrator's anchors in the order in which p11-kit takes them, ours among them.
    fn front(&self, view: &View, wanted: &Wanted) -> Result<Vec<Certificate>> {
        let mut files: BTreeMap<String, Vec<Certificate>> = self.standing(view)?.into_iter().collect();
        for anchor in &wanted.anchors {
            files.entry(self.path_of(anchor)).or_insert_with(|| vec![anchor.certificate.clone()]);
        }
        let mut seen = BTreeSet::new();
        Ok(files
            .into_values()
            .flatten()
            .filter(|certificate| seen.insert(certificate.fingerprint()))
            .collect())
    }

    fn path_of(&self, anchor: &Anchor) -> String {
        anchor.standing.clone().unwrap_or_else(|| self.anchor_files().file(&anchor.name))
    }

    fn anchor_files(&self) -> AnchorDirectory {
        AnchorDirectory { path: self.anchors, extension: ".pem" }
    }

    /// The file of an output, links followed; `None` where it is not there.
    fn output_file(&self, view: &View, path: &str) -> Result<Option<File>> {
        Ok(match view.read(path)?.as_deref() {
            Some(Node::File(file)) => Some(file.clone()),
            _ => None,
        })
    }

    /// One output with the front in place; answers with the new list, where it could be read as p11-kit writes it.
    fn extract(
        &self,
        view: &View,
        extract: &Extract,
        front: &[Certificate],
        wanted: &Wanted,
        desires: &mut Desires,
    ) -> Result<Option<(List, List)>> {
        let Some(file) = self.output_file(view, extract.path)? else { return Ok(None) };
        if file.mount_point {
            desires.warnings.push(format!(
                "`{}` is a mount point: it cannot be replaced and stays as it is",
                extract.path
            ));
            return Ok(None);
        }
        let ours: BTreeSet<Fingerprint> =
            wanted.anchors.iter().map(|anchor| anchor.certificate.fingerprint()).collect();
        let fits =
            |certificate: &&Certificate| extract.purpose.is_none_or(|purpose| certificate.allows(purpose));
        let Some(list) = extract.format.read(&file.content) else {
            let added =
                front.iter().filter(fits).filter(|certificate| ours.contains(&certificate.fingerprint()));
            let content = self.in_front_of_anything(extract, added, &file)?;
            desires.want(
                extract.path,
                Node::File(File { content, modified: None, ..file }),
                "an output of the family's tool",
            );
            return Ok(None);
        };
        // What p11-kit left out of this output (blocked, no CA) stays out; ours comes in.
        let entries = front.iter().filter(fits).filter_map(|certificate| {
            let fingerprint = certificate.fingerprint();
            let standing = list.entries.iter().find(|entry| entry.fingerprint == fingerprint);
            if ours.contains(&fingerprint) {
                Some(extract.format.entry(certificate))
            } else {
                standing.cloned()
            }
        });
        let new = with_first(&list, entries.collect());
        let node = File { content: extract.format.write(&new), modified: None, ..file };
        desires.want(extract.path, Node::File(node), "an output of the family's tool");
        Ok(Some((list, new)))
    }

    /// An output that somebody else shaped: ours goes in front, byte for byte before what is there.
    fn in_front_of_anything<'c>(
        &self,
        extract: &Extract,
        added: impl Iterator<Item = &'c Certificate>,
        file: &File,
    ) -> Result<Vec<u8>> {
        if extract.format == Format::Edk2 {
            return Err(Error::failed("the list of EFI signatures is damaged")
                .at(extract.path)
                .hint("restore it from the image or its package, or remove it, and run again"));
        }
        let list = List {
            header: Vec::new(),
            entries: added.map(|certificate| extract.format.entry(certificate)).collect(),
        };
        let mut content = extract.format.write(&list);
        if !content.is_empty() && file.content.starts_with(b"#") {
            content.push(b'\n');
        }
        content.extend_from_slice(&file.content);
        Ok(content)
    }

    /// Whether the keystore is what the family's tool made of these very anchors, in an earlier run.
    fn keeps_keystore(&self, view: &View, wanted: &Wanted, keystore: &Node) -> bool {
        let Node::File(file) = keystore else { return false };
        let holds = |der: &[u8]| file.content.windows(der.len()).any(|window| window == der);
        let all: BTreeSet<Fingerprint> =
            wanted.anchors.iter().map(|anchor| anchor.certificate.fingerprint()).collect();
        view.ours().installed.iter().all(|fingerprint| all.contains(fingerprint))
            && wanted
                .anchors
                .iter()
                .map(|anchor| &anchor.certificate)
                .filter(|certificate| certificate.allows(Purpose::ServerAuth))
                .all(|certificate| holds(certificate.der()))
    }

    /// Every certificate in the files of a token and its subdirectories.
    fn token(&self, view: &View, token: &str) -> Result<Vec<Certificate>> {
        let mut found = Vec::new();
        for directory in [token.to_owned(), child(token, "anchors")] {
            found
                .extend(self.files(view, &directory)?.into_iter().flat_map(|(_, certificates)| certificates));
        }
        Ok(found)
    }

    fn files(&self, view: &View, directory: &str) -> Result<Vec<(String, Vec<Certificate>)>> {
        let mut found = Vec::new();
        for name in view.names(directory)? {
            let path = child(directory, &name);
            if let Some((location, node)) = view.follow(&path)?
                && matches!(node.as_ref(), Node::File(_))
            {
                found.push((path, view.contents(&location, &node).certificates.clone()));
            }
        }
        Ok(found)
    }

    /// What the administrator or the vendor blocks, or distrusts in a `.p11-kit` file.
    fn blocked(&self, view: &View) -> Result<Vec<(String, Certificate)>> {
        let mut found = Vec::new();
        for token in [self.admin, self.vendor] {
            for (path, certificates) in self.files(view, &child(token, "blocklist"))? {
                found.extend(certificates.into_iter().map(|certificate| (path.clone(), certificate)));
            }
            for directory in [token.to_owned(), child(token, "anchors")] {
                for (path, _) in self.files(view, &directory)? {
                    if let Some(node) = view.read(&path)?
                        && let Node::File(file) = node.as_ref()
                    {
                        let distrusted = distrusted(&file.content);
                        found.extend(distrusted.into_iter().map(|certificate| (path.clone(), certificate)));
                    }
                }
            }
        }
        Ok(found)
    }
}

impl Updater for P11Kit {
    fn native(&self) -> Option<&NativeTool> {
        Some(&self.tool)
    }

    fn anchor_directory(&self) -> Option<AnchorDirectory> {
        Some(self.anchor_files())
    }

    fn is_managed(&self, view: &View) -> Result<bool> {
        Ok(self.output_file(view, self.tls_bundle())?.is_some())
    }

    fn outputs(&self, view: &View) -> Result<Vec<Output>> {
        let mut outputs = Vec::new();
        for extract in self.extracts {
            let kind =
                if extract.format == Format::Edk2 { OutputKind::SignatureList } else { OutputKind::Bundle };
            if self.output_file(view, extract.path)?.is_some() {
                outputs.push(Output { path: extract.path.to_owned(), kind, purpose: extract.purpose });
            }
        }
        for output in self.bundles().outputs(view)? {
            if !outputs.iter().any(|known| known.path == output.path) {
                outputs.push(output);
            }
        }
        if view.follow(self.hashed)?.is_some() {
            let purpose = Some(Purpose::ServerAuth);
            outputs.push(Output { path: self.hashed.to_owned(), kind: OutputKind::HashDirectory, purpose });
        }
        Ok(outputs)
    }

    fn native_writes(&self, path: &str) -> bool {
        let copied = split(path).0 == self.copies.directory && rehash::parse_name(split(path).1).is_some();
        path.starts_with(&format!("{}/", self.extracted))
            || copied
            || (self.copies.names && split(path).0 == self.copies.directory)
    }

    fn native_directories(&self) -> Vec<String> {
        let mut directories: BTreeSet<String> =
            self.extracts.iter().map(|extract| split(extract.path).0.to_owned()).collect();
        directories.extend([
            self.hashed.to_owned(),
            split(self.keystore).0.to_owned(),
            self.copies.directory.to_owned(),
        ]);
        directories.into_iter().collect()
    }

    fn watched(&self, view: &View) -> Result<Vec<String>> {
        let mut paths = self.bundles().watched(view)?;
        for directory in self.native_directories() {
            for name in view.actual_names(&directory)? {
                let path = child(&directory, &name);
                if !matches!(view.actual(&path)?.as_ref(), Node::Directory { .. } | Node::Special) {
                    paths.push(path);
                }
            }
        }
        let mut locations = BTreeSet::new();
        let mut distinct = Vec::new();
        for path in paths {
            if locations.insert(view.location(&path)?) {
                distinct.push(path);
            }
        }
        Ok(distinct)
    }

    fn owns(&self, path: &str) -> Ownership {
        let roots = [self.anchors, self.extracted, self.copies.directory];
        let below = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
        let on_the_way =
            |root: &str| root == path || root.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        match self.bundles().owns(path) {
            Ownership::Foreign if roots.iter().any(|root| below(root)) => Ownership::Entry,
            Ownership::Foreign if roots.iter().any(|root| on_the_way(root)) => Ownership::OnTheWay,
            owned => owned,
        }
    }

    fn standing(&self, view: &View) -> Result<Vec<(String, Vec<Certificate>)>> {
        self.files(view, self.anchors)
    }

    fn vendor_names(&self, _view: &View) -> Result<Vec<String>> {
        // The vendor's roots have no files beside the administrator's.
        Ok(Vec::new())
    }

    fn unsourced(&self, view: &View) -> Result<Vec<Certificate>> {
        let mut sourced: BTreeSet<Fingerprint> = BTreeSet::new();
        for token in [self.admin, self.vendor] {
            sourced.extend(self.token(view, token)?.iter().map(Certificate::fingerprint));
        }
        let bundle = view.certificates(self.tls_bundle())?;
        Ok(bundle.into_iter().filter(|certificate| !sourced.contains(&certificate.fingerprint())).collect())
    }

    fn withdrawn(&self, view: &View) -> Result<Vec<Fingerprint>> {
        Ok(self.blocked(view)?.iter().map(|(_, certificate)| certificate.fingerprint()).collect())
    }

    fn refused(&self, view: &View, certificate: &Certificate) -> Result<Option<String>> {
        // p11-kit blocks by public key, and by issuer and serial number.
        let same = |blocked: &Certificate| {
            blocked.public_key() == certificate.public_key()
                || (blocked.issuer_der() == certificate.issuer_der()
                    && blocked.serial() == certificate.serial())
        };
        let blocked = self.blocked(view)?;
        Ok(blocked.iter().find(|(_, blocked)| same(blocked)).map(|(path, _)| format!("blocked by `{path}`")))
    }

    fn regenerated(&self, _view: &View) -> Result<Desires> {
        Ok(Desires::default())
    }

    fn desired(&self, view: &View, wanted: &Wanted) -> Result<Desires> {
        let mut desires = Desires::default();
        if wanted.anchors.is_empty() && !wanted.web_pki {
            return Ok(desires);
        }
        self.anchor_files().place(view, wanted, &mut desires)?;
        let front = self.front(view, wanted)?;
        let mut tls = None;
        for (index, extract) in self.extracts.iter().enumerate() {
            let lists = self.extract(view, extract, &front, wanted, &mut desires)?;
            if index == 0 {
                tls = lists;
            }
        }
        let hashed = view.follow(self.hashed)?;
        if matches!(hashed.as_ref().map(|(_, node)| node.as_ref()), Some(Node::Directory { .. })) {
            match tls {
                Some((old, new)) => self.hash(view, &old, &new, wanted, &mut desires)?,
                None => self.hash_beside(view, wanted, &mut desires)?,
            }
        }
        if let Some((location, node)) = view.follow_actual(self.keystore)?
            && self.keeps_keystore(view, wanted, &node)
        {
            desires.want(location, (*node).clone(), "the distribution's tool put ours in");
        } else if view.follow(self.keystore)?.is_some() {
            desires.warnings.push(format!(
                "`{}` is written by the distribution's tool only, not by the built-in updater",
                self.keystore
            ));
        }
        let done: Vec<&str> = self.extracts.iter().map(|extract| extract.path).collect();
        let done = if self.is_managed(view)? { done } else { Vec::new() };
        self.bundles().append(view, wanted, &done, &mut desires)?;
        Ok(desires)
    }
}
