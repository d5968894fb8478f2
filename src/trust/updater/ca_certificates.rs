//! The two programs named `update-ca-certificates` that read `/etc/ca-certificates.conf`: Debian's shell script (also
//! Gentoo's and Void's) and Alpine's C program (also Wolfi's). They differ in a few points, which are the fields of
//! [`CaCertificates`].
//!
//! Where the package is installed, the outputs follow from its inputs, as the tool would write them: the bundle is
//! every input in order, each input has a link, each link a hash link. Where it is not (bare and distroless images),
//! the anchor goes into the anchor directory all the same, is appended to the bundles that are there, and gets its
//! links; a package installed later finds it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::bundle::{Bundles, push_certificate};
use super::rehash::{self, Entry};
use super::{Anchor, AnchorDirectory, Desires, NativeTool, Output, OutputKind, Ownership, Updater, Wanted};
use crate::cert::{Certificate, pem};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::sysroot::split;
use crate::tree::{File, Node};
use crate::trust::view::{View, certificates_in, child, join};

/// Folders below the local directory that are looked into; a real one has one or two levels.
const MAX_DEPTH: usize = 16;

/// How a family's program makes hash links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashing {
    /// `openssl rehash`, after dangling links are gone.
    OpensslRehash,
    /// Alpine's C program `c_rehash`, which ends at the same links.
    CRehash,
}

/// What the two programs have in common, and where they differ.
#[derive(Debug)]
pub struct CaCertificates {
    /// The list of the vendor's certificates, one a line, below `vendor`; `!` deselects.
    pub conf: &'static str,
    /// The vendor's certificates.
    pub vendor: &'static str,
    /// The administrator's.
    pub local: &'static str,
    /// The administrator's files go into the bundle in byte order of their paths, not in that of the directory.
    pub sorted: bool,
    /// Folders below `local` count.
    pub recursive: bool,
    /// What names in `local` must end with; `None`: everything but dot files.
    pub extension: Option<&'static str>,
    /// The hashed directory.
    pub certs: &'static str,
    /// The bundle.
    pub bundle: &'static str,
    /// Links to the bundle that the family's package of the bundle has, for an image that has no bundle at all.
    pub bundle_links: &'static [&'static str],
    /// What link names begin with.
    pub link_prefix: &'static str,
    /// Each input is followed by a line feed in the bundle (Alpine); else only if it does not end in one (Debian).
    pub always_newline: bool,
    /// How hash links are made.
    pub hashing: Hashing,
    /// The program.
    pub tool: NativeTool,
}

/// An input of the program: a file and what is in it.
struct Input {
    path: String,
    content: Rc<Node>,
}

impl Input {
    fn bytes(&self) -> &[u8] {
        match self.content.as_ref() {
            Node::File(file) => &file.content,
            _ => &[],
        }
    }
}

impl CaCertificates {
    /// Every bundle beside the family's own that programs might read.
    fn bundles(&self) -> Bundles {
        Bundles { primary: self.bundle, links: self.bundle_links }
    }

    /// The lines of the configuration: selected and deselected names.
    fn configured(&self, view: &View) -> Result<(Vec<String>, Vec<String>)> {
        let (mut selected, mut deselected) = (Vec::new(), Vec::new());
        if let Some(node) = view.read(self.conf)?
            && let Node::File(file) = node.as_ref()
        {
            for line in String::from_utf8_lossy(&file.content).lines() {
                match line.strip_prefix('!') {
                    Some(name) => deselected.push(child(self.vendor, name)),
                    None if line.is_empty() || line.starts_with('#') => {}
                    None => selected.push(child(self.vendor, line)),
                }
            }
        }
        Ok((selected, deselected))
    }

    fn input(&self, view: &View, path: String) -> Result<Option<Input>> {
        Ok(match view.follow(&path)? {
            Some((_, content)) if matches!(content.as_ref(), Node::File(_)) => Some(Input { path, content }),
            _ => None,
        })
    }

    fn vendor_inputs(&self, view: &View) -> Result<Vec<Input>> {
        let mut inputs = Vec::new();
        for path in self.configured(view)?.0 {
            inputs.extend(self.input(view, path)?);
        }
        Ok(inputs)
    }

    /// The administrator's files, in byte order of their paths.
    fn local_inputs(&self, view: &View) -> Result<Vec<Input>> {
        let mut inputs = Vec::new();
        let mut pending = vec![(self.local.to_owned(), 0)];
        while let Some((directory, depth)) = pending.pop() {
            for name in view.names(&directory)? {
                let path = child(&directory, &name);
                let fits = match self.extension {
                    Some(extension) => name.ends_with(extension),
                    None => !name.starts_with('.'),
                };
                match view.follow(&path)? {
                    Some((_, node)) if matches!(node.as_ref(), Node::Directory { .. }) => {
                        if self.recursive && depth < MAX_DEPTH {
                            pending.push((path, depth + 1));
                        }
                    }
                    Some((_, content)) if fits && matches!(content.as_ref(), Node::File(_)) => {
                        inputs.push(Input { path, content });
                    }
                    _ => {}
                }
            }
        }
        inputs.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(inputs)
    }

    /// The name of an input's link in the hashed directory.
    fn link_name(&self, path: &str) -> String {
        let name = split(path).1;
        let stem = name.strip_suffix(".crt").unwrap_or(name);
        let mapped: String = stem
            .chars()
            .map(|c| match c {
                ' ' | ',' => '_',
                '(' | ')' => '=',
                c => c,
            })
            .collect();
        format!("{}{mapped}.pem", self.link_prefix)
    }

    /// The anchor file for `name`.
    fn anchor_path(&self, name: &str) -> String {
        AnchorDirectory { path: self.local, extension: ".crt" }.file(name)
    }

    /// Entries of the hashed directory: what is there without us, with `links` put over it and dangling links gone.
    fn entries(
        &self,
        view: &View,
        links: &BTreeMap<String, Option<String>>,
        ours: &BTreeMap<String, Certificate>,
    ) -> Result<Vec<Entry>> {
        let mut names: BTreeSet<String> = view.names(self.certs)?.into_iter().collect();
        names.extend(links.iter().filter(|(_, target)| target.is_some()).map(|(name, _)| name.clone()));
        let mut entries = Vec::new();
        for name in names {
            let target = match links.get(&name) {
                Some(None) => continue,
                Some(Some(target)) => Some(target.clone()),
                None => match view.original(&child(self.certs, &name))?.as_ref() {
                    Node::Link { target } => Some(target.clone()),
                    _ => None,
                },
            };
            let is_hash_link = target.is_some() && rehash::parse_name(&name).is_some();
            let certificate = if is_hash_link || !rehash::is_candidate(&name) {
                None
            } else {
                let path = target
                    .as_deref()
                    .map_or_else(|| child(self.certs, &name), |target| join(self.certs, target));
                match ours.get(&path) {
                    Some(certificate) => Some(certificate.clone()),
                    None => only_certificate(view, &path)?,
                }
            };
            entries.push(Entry { name, target, certificate });
        }
        Ok(entries)
    }

    /// Whether a link of the hashed directory leads to nothing, with `links` put over what is there.
    fn dangling(
        &self,
        view: &View,
        links: &BTreeMap<String, Option<String>>,
        ours: &BTreeMap<String, Certificate>,
    ) -> Result<Vec<String>> {
        let mut gone = BTreeSet::new();
        // A hash link to a link that dangles dangles itself, and may come before it.
        loop {
            let before = gone.len();
            for name in view.names(self.certs)? {
                if gone.contains(&name) || links.contains_key(&name) {
                    continue;
                }
                let Node::Link { target } = view.original(&child(self.certs, &name))?.as_ref().clone() else {
                    continue;
                };
                let path = join(self.certs, &target);
                let (directory, last) = split(&path);
                let here = directory == self.certs;
                let lives = ours.contains_key(&path)
                    || (here && matches!(links.get(last), Some(Some(_))))
                    || (!(here && gone.contains(last)) && view.follow(&path)?.is_some());
                if !lives {
                    gone.insert(name);
                }
            }
            if gone.len() == before {
                return Ok(gone.into_iter().collect());
            }
        }
    }

    /// The outputs as the program writes them from its inputs and our anchors.
    fn managed(&self, view: &View, wanted: &Wanted, desires: &mut Desires) -> Result<()> {
        let ours: BTreeMap<String, Certificate> = self.placed(wanted);
        let mut sources: Vec<(String, Vec<u8>)> = self
            .vendor_inputs(view)?
            .iter()
            .map(|input| (input.path.clone(), input.bytes().to_vec()))
            .collect();
        let mut local: BTreeMap<String, Vec<u8>> = self
            .local_inputs(view)?
            .iter()
            .map(|input| (input.path.clone(), input.bytes().to_vec()))
            .collect();
        for anchor in &wanted.anchors {
            // A file that stands there under a name that the program overlooks is taken all the same.
            local.entry(self.path_of(anchor)).or_insert_with(|| anchor.certificate.to_pem().into_bytes());
        }
        sources.extend(self.in_the_programs_order(view, local));

        let mut links: BTreeMap<String, Option<String>> = BTreeMap::new();
        for deselected in self.configured(view)?.1 {
            let name = format!("{}{}.pem", self.link_prefix, stem(&deselected));
            if matches!(view.original(&child(self.certs, &name))?.as_ref(), Node::Link { .. }) {
                links.insert(name, None);
            }
        }
        let mut bundle = Vec::new();
        for (path, content) in &sources {
            bundle.extend_from_slice(content);
            if self.always_newline || (!content.is_empty() && !content.ends_with(b"\n")) {
                bundle.push(b'\n');
            }
            let name = self.link_name(path);
            let right = Node::Link { target: path.clone() };
            let stands = *view.original(&child(self.certs, &name))? == right;
            if !stands || links.contains_key(&name) {
                links.insert(name, Some(path.clone()));
            }
        }
        for certificate in self.unsourced(view)? {
            push_certificate(&mut bundle, &certificate);
        }
        for name in self.dangling(view, &links, &ours)? {
            links.insert(name, None);
        }
        let hashes = rehash::changes(&self.entries(view, &links, &ours)?);

        self.want_bundle(view, bundle, desires)?;
        self.want_links(links, "the file's link in the hashed directory", desires);
        self.want_links(hashes, "OpenSSL finds it by this subject hash", desires);
        // Copies of the bundle that only some programs read.
        self.bundles().append(view, wanted, &[self.bundle], desires)
    }

    /// Alpine's program takes the administrator's files in the order of the directory, which nobody can foretell:
    /// where the bundle holds them in some order already, that order stays, and new ones follow by name.
    fn in_the_programs_order(&self, view: &View, local: BTreeMap<String, Vec<u8>>) -> Vec<(String, Vec<u8>)> {
        let mut local: Vec<(String, Vec<u8>)> = local.into_iter().collect();
        if self.sorted {
            return local;
        }
        let there: Vec<Fingerprint> = view
            .actual_certificates(self.bundle)
            .unwrap_or_default()
            .iter()
            .map(Certificate::fingerprint)
            .collect();
        local.sort_by_key(|(_, content)| {
            let first = certificates_in(content).first().map(Certificate::fingerprint);
            first.and_then(|first| there.iter().rposition(|one| *one == first)).unwrap_or(usize::MAX)
        });
        local
    }

    fn want_bundle(&self, view: &View, content: Vec<u8>, desires: &mut Desires) -> Result<()> {
        if let Node::File(file) = view.original(self.bundle)?.as_ref()
            && file.mount_point
        {
            desires.warnings.push(format!(
                "`{}` is a mount point: it cannot be replaced and stays as it is",
                self.bundle
            ));
            return Ok(());
        }
        desires.want(self.bundle, Node::File(File::new(content, 0o644)), "the bundle of every input");
        Ok(())
    }

    fn want_links(&self, links: BTreeMap<String, Option<String>>, reason: &str, desires: &mut Desires) {
        for (name, target) in links {
            let path = child(self.certs, &name);
            match target {
                Some(target) => desires.want(path, Node::Link { target }, reason),
                None => desires.want(path, Node::Absent, "it leads nowhere any more"),
            }
        }
    }

    /// The outputs of an image without the package: bundles get ours appended, the hashed directory our links.
    fn unmanaged(&self, view: &View, wanted: &Wanted, desires: &mut Desires) -> Result<()> {
        self.bundles().append(view, wanted, &[], desires)?;
        let ours = self.placed(wanted);
        let mut links: BTreeMap<String, Option<String>> = BTreeMap::new();
        for anchor in &wanted.anchors {
            let path = self.path_of(anchor);
            links.insert(self.link_name(&path), Some(path));
        }
        let names: BTreeSet<&str> = links.keys().map(String::as_str).collect();
        let entries = self.entries(view, &links, &ours)?;
        let mut hashes = rehash::changes(&entries);
        // What others left there is not ours to tidy where no package does.
        hashes.retain(|_, target| target.as_deref().is_some_and(|target| names.contains(target)));
        self.want_links(links.clone(), "the file's link in the hashed directory", desires);
        self.want_links(hashes, "OpenSSL finds it by this subject hash", desires);
        Ok(())
    }

    /// Our anchors by the path of their file; those that stand there without us are in the view already.
    fn placed(&self, wanted: &Wanted) -> BTreeMap<String, Certificate> {
        let ours = wanted.anchors.iter().filter(|anchor| anchor.standing.is_none());
        ours.map(|anchor| (self.anchor_path(&anchor.name), anchor.certificate.clone())).collect()
    }

    fn path_of(&self, anchor: &Anchor) -> String {
        anchor.standing.clone().unwrap_or_else(|| self.anchor_path(&anchor.name))
    }

    /// Fingerprints of every input.
    fn sourced(&self, view: &View) -> Result<BTreeSet<Fingerprint>> {
        let mut found = BTreeSet::new();
        for input in self.vendor_inputs(view)?.iter().chain(&self.local_inputs(view)?) {
            found.extend(view.certificates(&input.path)?.iter().map(Certificate::fingerprint));
        }
        Ok(found)
    }
}

impl Updater for CaCertificates {
    fn native(&self) -> Option<&NativeTool> {
        Some(&self.tool)
    }

    fn anchor_directory(&self) -> Option<AnchorDirectory> {
        Some(AnchorDirectory { path: self.local, extension: ".crt" })
    }

    fn is_managed(&self, view: &View) -> Result<bool> {
        // Without (or with an empty) configuration both programs take the vendor's set as empty and would drop it.
        Ok(matches!(view.read(self.conf)?.as_deref(), Some(Node::File(file)) if !file.content.is_empty()))
    }

    fn outputs(&self, view: &View) -> Result<Vec<Output>> {
        let mut outputs = self.bundles().outputs(view)?;
        outputs.push(Output { path: self.certs.to_owned(), kind: OutputKind::HashDirectory });
        Ok(outputs)
    }

    fn native_writes(&self, path: &str) -> bool {
        path == self.bundle || split(path).0 == self.certs
    }

    fn native_directories(&self) -> Vec<String> {
        vec![self.certs.to_owned()]
    }

    fn watched(&self, view: &View) -> Result<Vec<String>> {
        let mut paths = self.bundles().watched(view)?;
        paths.extend(view.actual_names(self.certs)?.iter().map(|name| child(self.certs, name)));
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    fn owns(&self, path: &str) -> Ownership {
        let below = |directory: &str| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
        let on_the_way = |directory: &str| {
            directory == path || directory.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
        };
        match self.bundles().owns(path) {
            Ownership::Foreign if below(self.local) || below(self.certs) => Ownership::Entry,
            Ownership::Foreign if on_the_way(self.local) || on_the_way(self.certs) => Ownership::OnTheWay,
            owned => owned,
        }
    }

    fn standing(&self, view: &View) -> Result<Vec<(String, Vec<Certificate>)>> {
        let mut found = Vec::new();
        for input in self.local_inputs(view)? {
            let certificates = view.certificates(&input.path)?;
            found.push((input.path, certificates.to_vec()));
        }
        Ok(found)
    }

    fn vendor_names(&self, view: &View) -> Result<Vec<String>> {
        let (selected, deselected) = self.configured(view)?;
        Ok(selected.iter().chain(&deselected).map(|path| stem(path).to_owned()).collect())
    }

    fn unsourced(&self, view: &View) -> Result<Vec<Certificate>> {
        if !self.is_managed(view)? {
            return Ok(Vec::new());
        }
        let sourced = self.sourced(view)?;
        let withdrawn: BTreeSet<Fingerprint> = self.withdrawn(view)?.into_iter().collect();
        let mut seen = BTreeSet::new();
        Ok(view
            .certificates(self.bundle)?
            .iter()
            .filter(|certificate| {
                let fingerprint = certificate.fingerprint();
                !sourced.contains(&fingerprint)
                    && !withdrawn.contains(&fingerprint)
                    && seen.insert(fingerprint)
            })
            .cloned()
            .collect())
    }

    fn withdrawn(&self, view: &View) -> Result<Vec<Fingerprint>> {
        let mut withdrawn = Vec::new();
        for path in self.configured(view)?.1 {
            if self.input(view, path.clone())?.is_some() {
                withdrawn.extend(view.certificates(&path)?.iter().map(Certificate::fingerprint));
            }
        }
        // A vendor's file that is gone leaves a link that dangles, and a hash link to it whose name tells the subject.
        let mut gone = BTreeSet::new();
        for name in view.names(self.certs)? {
            let Some((hash, _)) = rehash::parse_name(&name) else { continue };
            let Node::Link { target } = view.original(&child(self.certs, &name))?.as_ref().clone() else {
                continue;
            };
            let Node::Link { target: source } = view.original(&join(self.certs, &target))?.as_ref().clone()
            else {
                continue;
            };
            let was_an_input = source.starts_with(self.vendor) || source.starts_with(self.local);
            if was_an_input && view.follow(&source)?.is_none() {
                gone.insert(hash);
            }
        }
        if !gone.is_empty() {
            let sourced = self.sourced(view)?;
            let lost = |certificate: &&Certificate| {
                gone.contains(&certificate.subject_hash()) && !sourced.contains(&certificate.fingerprint())
            };
            withdrawn
                .extend(view.certificates(self.bundle)?.iter().filter(lost).map(Certificate::fingerprint));
        }
        Ok(withdrawn)
    }

    fn desired(&self, view: &View, wanted: &Wanted) -> Result<Desires> {
        let mut desires = Desires::default();
        if wanted.anchors.is_empty() && !wanted.web_pki {
            return Ok(desires);
        }
        for anchor in wanted.anchors.iter().filter(|anchor| anchor.standing.is_none()) {
            let path = self.anchor_path(&anchor.name);
            if *view.original(&path)? != Node::Absent {
                return Err(Error::usage("another file has the anchor's name")
                    .at(view.sysroot().display(&path))
                    .hint("give another name with `--name`, or remove that file first"));
            }
            let content = anchor.certificate.to_pem().into_bytes();
            desires.want(
                path,
                Node::File(File::new(content, 0o644)),
                "the anchor, where the family's tool looks for it",
            );
        }
        if self.is_managed(view)? {
            self.managed(view, wanted, &mut desires)?;
        } else {
            self.unmanaged(view, wanted, &mut desires)?;
        }
        Ok(desires)
    }
}

/// A path's last component without `.crt`.
fn stem(path: &str) -> &str {
    let name = split(path).1;
    name.strip_suffix(".crt").unwrap_or(name)
}

/// The certificate of a file that holds exactly one PEM block of a certificate.
fn only_certificate(view: &View, path: &str) -> Result<Option<Certificate>> {
    let Some((real, node)) = view.follow(path)? else { return Ok(None) };
    let Node::File(file) = node.as_ref() else { return Ok(None) };
    if pem::blocks(&file.content).len() != 1 {
        return Ok(None);
    }
    Ok(view.certificates(&real)?.first().cloned())
}
