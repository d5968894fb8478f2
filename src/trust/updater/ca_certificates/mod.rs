//! The two programs named `update-ca-certificates` that read `/etc/ca-certificates.conf`: Debian's shell script (also
//! Gentoo's and Void's) and Alpine's C program (also Wolfi's). They differ in a few points, which are the fields of
//! [`CaCertificates`].
//!
//! Where the package is installed, the outputs follow from its inputs, as the tool would write them: the bundle is
//! every input in order, each input has a link, each link a hash link. Where it is not (bare and distroless images),
//! the anchor is still written to the anchor directory, appended to the existing bundles, and linked; a package
//! installed later finds it.

mod outputs;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::bundle::Bundles;
use super::{
    Anchor, AnchorDirectory, BrokenInput, Desires, NativeTool, Output, OutputKind, Ownership, Updater,
    UpdaterInput,
};
use super::{inputs, rehash};
use crate::error::Result;
use crate::pki::cert::{Certificate, Purpose};
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::path::{child, join};
use crate::rootfs::split;
use crate::rootfs::tree::Node;
use crate::trust::view::View;

/// How deep the folders below the local directory are read; a real one has one or two levels.
const MAX_DEPTH: usize = 16;

/// How a family's program makes hash links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hashing {
    /// `openssl rehash`, after dangling links are removed.
    OpensslRehash,
    /// Alpine's C program `c_rehash`, which makes the same links.
    CRehash,
}

/// What the two programs have in common, and where they differ.
#[derive(Debug)]
pub(crate) struct CaCertificates {
    /// The list of the vendor's certificates, one a line, below `vendor`; `!` deselects.
    pub(crate) conf: &'static str,
    /// The vendor's certificates.
    pub(crate) vendor: &'static str,
    /// The administrator's.
    pub(crate) local: &'static str,
    /// The administrator's files go into the bundle in byte order of their paths, not in that of the directory.
    pub(crate) sorted: bool,
    /// Whether folders below `local` count.
    pub(crate) recursive: bool,
    /// What names in `local` must end with; `None`: everything but dot files.
    pub(crate) extension: Option<&'static str>,
    /// The hashed directory.
    pub(crate) certs: &'static str,
    /// The bundle.
    pub(crate) bundle: &'static str,
    /// Links to the bundle as in the family's package of the bundle, for an image that has no bundle at all.
    pub(crate) bundle_links: &'static [&'static str],
    /// What link names begin with.
    pub(crate) link_prefix: &'static str,
    /// Each input is followed by a line feed in the bundle (Alpine); else only if it does not end in one (Debian).
    pub(crate) always_newline: bool,
    /// How hash links are made.
    pub(crate) hashing: Hashing,
    /// The program.
    pub(crate) tool: NativeTool,
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
                        pending.extend((self.recursive && depth < MAX_DEPTH).then_some((path, depth + 1)));
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

    fn anchors(&self) -> AnchorDirectory {
        AnchorDirectory { path: self.local, extension: ".crt" }
    }

    /// Our anchors by the path of their file; those that exist without us are in the view already.
    fn placed(&self, wanted: &UpdaterInput) -> BTreeMap<String, Certificate> {
        let ours = wanted.anchors.iter().filter(|anchor| anchor.standing.is_none());
        ours.map(|anchor| (self.anchors().file(&anchor.name), anchor.certificate.clone())).collect()
    }

    fn path_of(&self, anchor: &Anchor) -> String {
        anchor.standing.clone().unwrap_or_else(|| self.anchors().file(&anchor.name))
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
        Some(self.anchors())
    }

    fn is_managed(&self, view: &View) -> Result<bool> {
        // Without (or with an empty) configuration both programs consider the vendor's set empty and would drop it.
        Ok(matches!(view.read(self.conf)?.as_deref(), Some(Node::File(file)) if !file.content.is_empty()))
    }

    fn fits(&self, view: &View) -> Result<bool> {
        // Alpine's program puts this prefix before the names of its links, Debian's none.
        let names = view.names(self.certs)?;
        let alpine = names.iter().any(|name| name.starts_with("ca-cert-"));
        Ok(self.is_managed(view)? && alpine != self.link_prefix.is_empty())
    }

    fn outputs(&self, view: &View) -> Result<Vec<Output>> {
        let mut outputs = self.bundles().outputs(view)?;
        outputs.push(Output {
            path: self.certs.to_owned(),
            kind: OutputKind::HashDirectory,
            purpose: Some(Purpose::ServerAuth),
        });
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

    fn broken_inputs(&self, view: &View) -> Result<Vec<BrokenInput>> {
        if !self.is_managed(view)? {
            return Ok(Vec::new());
        }
        let (vendor, local) = (self.vendor_inputs(view)?, self.local_inputs(view)?);
        inputs::broken(view, vendor.into_iter().chain(local).map(|input| input.path))
    }

    fn standing(&self, view: &View) -> Result<Vec<(String, Vec<Certificate>)>> {
        let mut found = Vec::new();
        for input in self.local_inputs(view)? {
            let contents = view.contents(&view.location(&input.path)?, &input.content);
            // A file that would spoil the bundle cannot be relied on.
            let is_sound = inputs::fault(input.bytes(), view.parsed()).is_none();
            let offered = contents.certificates.iter().filter(|one| contents.offers(&one.fingerprint()));
            let certificates = if is_sound { offered.cloned().collect() } else { Vec::new() };
            found.push((input.path, certificates));
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
        // A missing vendor file leaves a dangling link, and a hash link to it whose name contains the subject hash.
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

    fn regenerated(&self, view: &View) -> Result<Desires> {
        let mut desires = Desires::default();
        if self.is_managed(view)? {
            self.managed(view, &UpdaterInput::default(), &mut desires)?;
        }
        Ok(desires)
    }

    fn desired(&self, view: &View, wanted: &UpdaterInput) -> Result<Desires> {
        let mut desires = Desires::default();
        if wanted.anchors.is_empty() && !wanted.web_pki {
            return Ok(desires);
        }
        self.anchors().place(view, wanted, &mut desires)?;
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
