//! Families whose outputs p11-kit's `trust extract` makes: Red Hat's and Arch's (`update-ca-trust`), SUSE's
//! (`update-ca-certificates`). An administrator's anchor is at the front of every output, in the order of the anchor
//! files' names, and an administrator's copy of a vendor root replaces the vendor's entry. So ours is put at the front
//! of each existing output, and nothing else moves; missing outputs are not made.

mod front;
mod hashed;
mod keystore;

use std::collections::{BTreeMap, BTreeSet};

use self::front::Front;
pub(crate) use self::hashed::{Copies, Hashed};
use super::bundle::{self, Bundles, relative_target};
use super::inputs;
use super::{
    Anchor, AnchorDirectory, Desires, NativeTool, Output, OutputKind, Ownership, Refusals, Updater,
    UpdaterInput, rehash,
};
use crate::error::{Error, Result};
use crate::pki::cert::readers::Reader;
use crate::pki::cert::{Certificate, Purpose};
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::path::child;
use crate::rootfs::split;
use crate::rootfs::tree::{File, Node};
use crate::trust::p11_format::{Distrusted, List, P11Format, distrusted, with_first};
use crate::trust::view::View;

/// What is extracted into one file.
#[derive(Debug)]
pub(crate) struct Extract {
    /// Its path.
    pub(crate) path: &'static str,
    /// Its format.
    pub(crate) format: P11Format,
    /// Roots for this purpose; `None`: every certificate, with its trust settings.
    pub(crate) purpose: Option<Purpose>,
}

/// A family.
#[derive(Debug)]
pub(crate) struct P11Kit {
    /// The administrator's token: anchors are in `anchors` below it, blocked certificates in `blocklist`.
    pub(crate) admin: &'static str,
    /// The anchor directory: `anchors` below `admin`.
    pub(crate) anchors: &'static str,
    /// The vendor's token.
    pub(crate) vendor: &'static str,
    /// The directory that holds all outputs.
    pub(crate) extracted: &'static str,
    /// The outputs that are single files; the TLS bundle first.
    pub(crate) extracts: &'static [Extract],
    /// The hashed directories.
    pub(crate) hashed: &'static [Hashed],
    /// The Java keystore.
    pub(crate) keystore: &'static str,
    /// Links to the TLS bundle, for an image that has no bundle at all.
    pub(crate) links: &'static [&'static str],
    /// The program.
    pub(crate) tool: NativeTool,
}

impl P11Kit {
    fn tls_bundle(&self) -> &'static str {
        self.extracts[0].path
    }

    fn copies(&self) -> impl Iterator<Item = &'static Copies> {
        self.hashed.iter().filter_map(|hashed| hashed.copies.as_ref())
    }

    fn bundles(&self) -> Bundles {
        Bundles { primary: self.tls_bundle(), links: self.links }
    }

    fn path_of(&self, anchor: &Anchor) -> String {
        anchor.standing.clone().unwrap_or_else(|| self.anchor_files().file(&anchor.name))
    }

    fn anchor_files(&self) -> AnchorDirectory {
        AnchorDirectory { path: self.anchors, extension: ".pem" }
    }

    /// The file of an output, links followed; `None` if it does not exist.
    fn output_file(&self, view: &View, path: &str) -> Result<Option<File>> {
        Ok(match view.read(path)?.as_deref() {
            Some(Node::File(file)) => Some(file.clone()),
            _ => None,
        })
    }

    /// The path of an output: where a link there leads (SUSE's images without tools keep the files elsewhere).
    fn place(&self, view: &View, path: &str) -> Result<String> {
        Ok(match view.target(path)? {
            Some((real, _)) if matches!(view.original(path)?.as_ref(), Node::Link { .. }) => real,
            _ => path.to_owned(),
        })
    }

    /// One output with the front in place; adds the labels in its comments to `labels`.
    fn extract(
        &self,
        view: &View,
        extract: &Extract,
        front: &Front,
        labels: &mut BTreeMap<Fingerprint, String>,
        desires: &mut Desires,
    ) -> Result<()> {
        let Some(file) = self.output_file(view, extract.path)? else { return Ok(()) };
        let problem = extract.purpose.filter(|_| extract.format != P11Format::Edk2).and_then(|_| {
            // A bundle with trust settings cannot be rewritten from its certificates alone.
            view.contents(extract.path, &Node::File(file.clone())).reading().problem()
        });
        let file = match problem {
            None => file,
            Some(problem) => {
                desires.warnings.push(bundle::was_damaged(extract.path, &problem, &file.content));
                File { content: inputs::rewritten(&file.content).into(), ..file }
            }
        };
        let content = match extract.format.read(&file.content, view.parsed()) {
            Some(list) => {
                let first =
                    front.entries(extract.purpose, &list, |certificate| extract.format.entry(certificate));
                let content = extract.format.write(&with_first(&list, first));
                let commented = list.entries.into_iter();
                labels.extend(commented.filter_map(|entry| Some((entry.fingerprint, entry.label?))));
                content
            }
            None => self.in_front_of_anything(extract, front, &file)?,
        };
        let node = Node::File(File { content: content.into(), modified: None, ..file });
        desires.want(self.place(view, extract.path)?, node, "an output of the family's tool");
        Ok(())
    }

    /// An output of another program's shape: ours goes in front of its bytes.
    fn in_front_of_anything(&self, extract: &Extract, front: &Front, file: &File) -> Result<Vec<u8>> {
        if extract.format == P11Format::Edk2 {
            return Err(Error::failed("the list of EFI signatures is damaged")
                .at(extract.path)
                .hint("restore it from the image or its package, or remove it, and run again"));
        }
        let fits =
            |certificate: &&Certificate| extract.purpose.is_none_or(|purpose| certificate.allows(purpose));
        let entries = front.ours().filter(fits).map(|certificate| extract.format.entry(certificate));
        let list = List { header: Vec::new(), entries: entries.collect() };
        let mut content = extract.format.write(&list);
        if !content.is_empty() && file.content.starts_with(b"#") {
            content.push(b'\n');
        }
        content.extend_from_slice(&file.content);
        Ok(content)
    }

    /// Every certificate in the files of a token and its subdirectories.
    fn token(&self, view: &View, token: &str) -> Result<Vec<Certificate>> {
        let mut found = Vec::new();
        for directory in [token.to_owned(), child(token, "anchors")] {
            let files = self.files_read(view, &directory)?;
            found.extend(files.into_iter().flat_map(|(_, certificates)| certificates));
        }
        Ok(found)
    }

    /// The files of a directory, each with the certificates that p11-kit finds in it.
    fn files_read(&self, view: &View, directory: &str) -> Result<Vec<(String, Vec<Certificate>)>> {
        let mut files = self.files(view, directory)?;
        for (path, certificates) in &mut files {
            if let Some(Node::File(file)) = view.read(path)?.as_deref()
                && !view.contents(path, &Node::File(file.clone())).is_regular()
            {
                let found = Reader::P11Kit.read(&file.content).certificates;
                certificates.retain(|certificate| found.iter().any(|der| der == certificate.der()));
            }
        }
        Ok(files)
    }

    /// The files of a directory, each with every certificate that can be read in it.
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

    /// What the administrator or the vendor blocks or distrusts, and the file in which they do.
    fn blocked(&self, view: &View) -> Result<Vec<(String, Distrusted)>> {
        let mut found = Vec::new();
        for token in [self.admin, self.vendor] {
            for (path, certificates) in self.files(view, &child(token, "blocklist"))? {
                let blocked = certificates.into_iter().map(Distrusted::Certificate);
                found.extend(blocked.map(|blocked| (path.clone(), blocked)));
            }
            for directory in [token.to_owned(), child(token, "anchors"), child(token, "blocklist")] {
                for (path, _) in self.files(view, &directory)? {
                    if let Some(node) = view.read(&path)?
                        && let Node::File(file) = node.as_ref()
                    {
                        let distrusted = distrusted(&file.content);
                        found.extend(distrusted.into_iter().map(|distrusted| (path.clone(), distrusted)));
                    }
                }
            }
        }
        Ok(found)
    }

    /// Roots in the administrator's files beside the anchors, each with that file: p11-kit reads it first, and it takes
    /// precedence. A root is refused if that file does not trust it for TLS servers.
    fn overruled(&self, view: &View) -> Result<BTreeMap<Fingerprint, String>> {
        let mut overruled = BTreeMap::new();
        if !self.is_managed(view)? {
            return Ok(overruled);
        }
        for (path, certificates) in self.files(view, self.admin)? {
            for certificate in certificates {
                overruled.entry(certificate.fingerprint()).or_insert_with(|| path.clone());
            }
        }
        for certificate in view.certificates(self.tls_bundle())? {
            overruled.remove(&certificate.fingerprint());
        }
        Ok(overruled)
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
            let kind = if extract.format == P11Format::Edk2 {
                OutputKind::SignatureList
            } else {
                OutputKind::Bundle
            };
            if self.output_file(view, extract.path)?.is_some() {
                outputs.push(Output {
                    path: self.place(view, extract.path)?,
                    kind,
                    purpose: extract.purpose,
                });
            }
        }
        outputs.extend(self.keystore_output(view)?);
        for output in self.bundles().outputs(view)? {
            if !outputs.iter().any(|known| known.path == output.path) {
                outputs.push(output);
            }
        }
        for hashed in self.hashed {
            if view.follow(hashed.path)?.is_some() {
                let (kind, purpose) = (OutputKind::HashDirectory, hashed.purpose);
                outputs.push(Output { path: hashed.path.to_owned(), kind, purpose });
            }
        }
        Ok(outputs)
    }

    fn native_writes(&self, path: &str) -> bool {
        let (directory, name) = split(path);
        path.starts_with(&format!("{}/", self.extracted))
            || self.copies().any(|copies| {
                copies.directory == directory && (copies.names || rehash::parse_name(name).is_some())
            })
    }

    fn native_directories(&self) -> Vec<String> {
        let mut directories: BTreeSet<String> =
            self.extracts.iter().map(|extract| split(extract.path).0.to_owned()).collect();
        directories.insert(split(self.keystore).0.to_owned());
        directories.extend(self.hashed.iter().map(|hashed| hashed.path.to_owned()));
        directories.extend(self.copies().map(|copies| copies.directory.to_owned()));
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
        let mut roots = vec![self.anchors, self.extracted];
        roots.extend(self.copies().map(|copies| copies.directory));
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
        self.files_read(view, self.anchors)
    }

    fn vendor_names(&self, _view: &View) -> Result<Vec<String>> {
        // There are no files of the vendor's roots beside the administrator's.
        Ok(Vec::new())
    }

    fn unsourced(&self, view: &View) -> Result<Vec<Certificate>> {
        let mut sourced: BTreeSet<Fingerprint> = BTreeSet::new();
        for token in [self.admin, self.vendor] {
            sourced.extend(self.token(view, token)?.iter().map(Certificate::fingerprint));
        }
        let mut held = view.certificates(self.tls_bundle())?;
        held.extend(self.keystore_roots(view)?);
        held.retain(|certificate| sourced.insert(certificate.fingerprint()));
        Ok(held)
    }

    fn withdrawn(&self, view: &View) -> Result<Vec<Fingerprint>> {
        let certificates = self.blocked(view)?.into_iter().filter_map(|(_, blocked)| match blocked {
            Distrusted::Certificate(certificate) => Some(certificate.fingerprint()),
            Distrusted::IssuedAs { .. } => None,
        });
        Ok(certificates.collect())
    }

    fn refusals(&self, view: &View) -> Result<Refusals> {
        let blocked = self.blocked(view)?;
        let overruled = self.overruled(view)?;
        Ok(Box::new(move |certificate| {
            if let Some((path, _)) = blocked.iter().find(|(_, blocked)| blocked.is(certificate)) {
                return Some(format!("blocked by `{path}`"));
            }
            let path = overruled.get(&certificate.fingerprint())?;
            Some(format!("`{path}` is read before the anchors and gives it no trust for TLS servers"))
        }))
    }

    fn left_out(&self, view: &View) -> Result<Refusals> {
        let refusals = self.refusals(view)?;
        Ok(Box::new(move |certificate| {
            Some(refusals(certificate).unwrap_or_else(|| {
                "p11-kit leaves out what is blocked, no CA or unreadable, and says nothing; `trust list \
                 --filter=ca-anchors` shows what it takes"
                    .to_owned()
            }))
        }))
    }

    fn link_hashes(&self, certificate: &Certificate) -> Vec<u32> {
        // p11-kit serves OpenSSL before 1.0 as well.
        vec![certificate.subject_hash(), certificate.subject_hash_old()]
    }

    fn regenerated(&self, _view: &View) -> Result<Desires> {
        Ok(Desires::default())
    }

    fn desired(&self, view: &View, wanted: &UpdaterInput) -> Result<Desires> {
        let mut desires = Desires::default();
        if wanted.anchors.is_empty() && !wanted.web_pki {
            return Ok(desires);
        }
        self.anchor_files().place(view, wanted, &mut desires)?;
        let front = Front::new(self, view, wanted)?;
        let mut labels = self.aliases(view)?;
        for extract in self.extracts {
            self.extract(view, extract, &front, &mut labels, &mut desires)?;
        }
        for hashed in self.hashed {
            let there = view.follow(hashed.path)?;
            if matches!(there.as_ref().map(|(_, node)| node.as_ref()), Some(Node::Directory { .. })) {
                hashed.desired(view, &front, &labels, &mut desires)?;
            }
        }
        self.write_keystore(view, &front.for_java(), wanted, &mut desires)?;
        let mut done = Vec::new();
        if self.is_managed(view)? {
            for extract in self.extracts {
                done.push(self.place(view, extract.path)?);
            }
        }
        let done: Vec<&str> = done.iter().map(String::as_str).collect();
        self.bundles().append(view, wanted, &done, &mut desires)?;
        Ok(desires)
    }
}
