//! What a family's trust update writes, computed instead of run: one file for each kind of update program.
//!
//! An updater is a pure function of a [`View`]: it returns the desired nodes. It changes nothing and runs nothing.
//! Paths are as seen inside the sysroot.

pub(crate) mod bundle;
pub(crate) mod ca_certificates;
mod inputs;
mod nix_links;
pub(crate) mod p11_kit;
pub(crate) mod pem_directory;
pub(crate) mod private;
pub(crate) mod rehash;

use std::fmt::Debug;

pub(crate) use inputs::{BrokenInput, rewritten};

use crate::error::{Error, Result};
use crate::pki::cert::{Certificate, Purpose};
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::tree::{File, Node};
use crate::trust::view::View;

/// A root to trust.
#[derive(Clone, Debug)]
pub(crate) struct Anchor {
    /// The certificate.
    pub certificate: Certificate,
    /// The anchor file's name without extension.
    pub(crate) name: String,
    /// Its file, if it is in the anchor directory without us (a mount, an administrator's copy).
    pub(crate) standing: Option<String>,
    /// Its file cannot be written: an output that would link to it holds the certificate itself.
    pub(crate) unplaced: bool,
}

/// The input of an updater.
#[derive(Clone, Debug, Default)]
pub(crate) struct UpdaterInput {
    /// The roots to add, in order.
    pub(crate) anchors: Vec<Anchor>,
    /// Put the compiled-in Web PKI into a bundle that must be made.
    pub(crate) web_pki: bool,
    /// The date for formats that keep one, seconds since 1970: `SOURCE_DATE_EPOCH`, else the time of this run. A new
    /// date alone is no reason to write an output again.
    pub(crate) date: i64,
}

/// A desired node, and the reason for it.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    /// The path.
    pub(crate) path: String,
    /// The node.
    pub(crate) node: Node,
    /// The reason, for the plan.
    pub(crate) reason: String,
}

/// The answer of an updater.
#[derive(Clone, Debug, Default)]
pub(crate) struct Desires {
    /// In the order in which to make them; a later entry for the same path replaces the earlier.
    pub(crate) nodes: Vec<Desired>,
    /// What to report to the user.
    pub(crate) warnings: Vec<String>,
    /// The same, but only if the built-in updater does the work.
    pub(crate) builtin_warnings: Vec<String>,
}

impl Desires {
    /// Adds a node.
    pub(crate) fn want(&mut self, path: impl Into<String>, node: Node, reason: impl Into<String>) {
        self.nodes.push(Desired { path: path.into(), node, reason: reason.into() });
    }
}

/// Whether a family may change a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// Not at all.
    Foreign,
    /// A directory on the way: it may be made, and removed when it is empty.
    OnTheWay,
    /// A file or link of the family's stores.
    Entry,
}

/// What programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OutputKind {
    /// A PEM file with every root.
    Bundle,
    /// A directory that OpenSSL searches by subject hash.
    HashDirectory,
    /// EFI signature lists, for firmware that fetches over TLS (tianocore's EDK2).
    SignatureList,
    /// A keystore that Java opens by default, without a password.
    Keystore,
    /// The directory of an NSS database (`cert9.db`, `key4.db`).
    NssDatabase,
}

impl OutputKind {
    /// Its name in data.
    pub(crate) fn id(self) -> &'static str {
        match self {
            OutputKind::Bundle => "bundle",
            OutputKind::HashDirectory => "hash-directory",
            OutputKind::SignatureList => "signature-list",
            OutputKind::Keystore => "keystore",
            OutputKind::NssDatabase => "nss-database",
        }
    }

    /// Its name in sentences.
    pub(crate) fn words(self) -> &'static str {
        match self {
            OutputKind::Bundle => "bundle",
            OutputKind::HashDirectory => "hash directory",
            OutputKind::SignatureList => "EFI signature list",
            OutputKind::Keystore => "Java keystore",
            OutputKind::NssDatabase => "NSS database",
        }
    }

    /// Why this root is omitted from outputs of this kind: with it, their readers could load nothing of them (threat
    /// T39). This happens only with Java's keystores. A root that would break a bundle never becomes an anchor, and NSS
    /// and EFI load every root that does.
    pub(crate) fn refusal(self, certificate: &Certificate) -> Option<String> {
        match self {
            OutputKind::Keystore => certificate.refused_by_java(),
            OutputKind::Bundle
            | OutputKind::HashDirectory
            | OutputKind::SignatureList
            | OutputKind::NssDatabase => None,
        }
    }
}

/// A place from which programs read roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// Where programs read it.
    pub(crate) path: String,
    /// How it is read.
    pub(crate) kind: OutputKind,
    /// The purpose for which its roots are trusted; `None`: it holds all, with their trust settings.
    pub(crate) purpose: Option<Purpose>,
}

/// The directory for an administrator's anchors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnchorDirectory {
    /// The directory.
    pub(crate) path: &'static str,
    /// The extension of an anchor's file; the family's tool reads files with it.
    pub(crate) extension: &'static str,
}

impl AnchorDirectory {
    /// The file of the anchor with this name.
    pub(crate) fn file(&self, name: &str) -> String {
        format!("{}/{name}{}", self.path, self.extension)
    }

    /// Adds the file of every anchor that has none yet to the desired nodes.
    ///
    /// # Errors
    /// Another file has the name.
    fn place(&self, view: &View, wanted: &UpdaterInput, desires: &mut Desires) -> Result<()> {
        for anchor in wanted.anchors.iter().filter(|anchor| anchor.standing.is_none()) {
            let path = self.file(&anchor.name);
            if *view.original(&path)? != Node::Absent {
                return Err(Error::usage("another file has the anchor's name")
                    .at(view.sysroot().display(&path))
                    .hint("give another name with `--name`, or move that file to another place first"));
            }
            let node = Node::File(File::new(anchor.certificate.to_pem().into_bytes(), 0o644));
            desires.want(path, node, "the anchor, where the family's tool looks for it");
        }
        Ok(())
    }
}

/// A family's own update program.
#[derive(Debug)]
pub(crate) struct NativeTool {
    /// Its name in the system directories.
    pub(crate) program: &'static str,
    /// Arguments when anchors were only added.
    pub(crate) arguments: &'static [&'static str],
    /// Arguments when an anchor was removed or replaced.
    pub(crate) fresh_arguments: &'static [&'static str],
    /// Programs without which it fails midway.
    pub(crate) needs: &'static [&'static str],
    /// Files that a killed run leaves and on which the next one fails.
    pub(crate) leftovers: &'static [&'static str],
    /// Links with their targets that it makes, whatever else is there: it moves that aside, whole directories too.
    pub(crate) links: &'static [(&'static str, &'static str)],
    /// Directories of programs that it runs at its end.
    pub(crate) hooks: &'static [&'static str],
    /// Those of them whose work the built-in updater does, by path; with its text where an administrator may have changed
    /// it.
    pub(crate) known_hooks: &'static [(&'static str, Option<&'static str>)],
}

/// Returns why a root is not trusted; `None` if it is.
pub(crate) type Refusals = Box<dyn Fn(&Certificate) -> Option<String>>;

/// The update program of a family, as a function.
pub(crate) trait Updater: Debug + Sync {
    /// The real program, where the family has one.
    fn native(&self) -> Option<&NativeTool>;

    /// The directory for anchors; `None` if the family has none.
    fn anchor_directory(&self) -> Option<AnchorDirectory>;

    /// Whether the vendor's package is installed, so that the outputs follow from its inputs.
    fn is_managed(&self, view: &View) -> Result<bool>;

    /// Whether the files in the tree are those of this family and not of another with a program of the same name.
    fn fits(&self, view: &View) -> Result<bool> {
        self.is_managed(view)
    }

    /// The hashes by which this family's hash directories link a certificate.
    fn link_hashes(&self, certificate: &Certificate) -> Vec<u32> {
        vec![certificate.subject_hash()]
    }

    /// The outputs that are there or will be made, without us.
    fn outputs(&self, view: &View) -> Result<Vec<Output>>;

    /// Whether the native tool itself updates this path (an output of it, not an anchor file).
    fn native_writes(&self, path: &str) -> bool;

    /// The directories in which the native tool may make new files.
    fn native_directories(&self) -> Vec<String>;

    /// Every path that the native tool may change, now.
    fn watched(&self, view: &View) -> Result<Vec<String>>;

    /// Whether `path` is one that this family's update may create or change: what state and journal may name.
    fn owns(&self, path: &str) -> Ownership;

    /// The input files that would spoil an output if the family's program copied them as they are.
    fn broken_inputs(&self, _view: &View) -> Result<Vec<BrokenInput>> {
        Ok(Vec::new())
    }

    /// The files in the anchor directory without us, each with the certificates that the family's program and every
    /// reader of its outputs find in it.
    fn standing(&self, view: &View) -> Result<Vec<(String, Vec<Certificate>)>>;

    /// Names (without extension) that the vendor's own certificates have.
    fn vendor_names(&self, view: &View) -> Result<Vec<String>>;

    /// Certificates in an output that are in none of the vendor's and administrator's inputs: the native tool would
    /// drop them.
    fn unsourced(&self, view: &View) -> Result<Vec<Certificate>>;

    /// Roots that the vendor or administrator removed on purpose: deselected, or gone from the inputs.
    fn withdrawn(&self, view: &View) -> Result<Vec<Fingerprint>>;

    /// Why the distribution forbids trust in a root, for any caller; `None` if it does not. The inputs are read once
    /// for all roots.
    fn refusals(&self, _view: &View) -> Result<Refusals> {
        Ok(Box::new(|_| None))
    }

    /// Why the native tool, which reports nothing, omitted a root from an output: as far as the inputs show.
    fn left_out(&self, view: &View) -> Result<Refusals> {
        self.refusals(view)
    }

    /// The outputs according to the family's inputs alone, without us; nothing if no package defines them.
    fn regenerated(&self, view: &View) -> Result<Desires>;

    /// The desired nodes with which `wanted` is trusted and nothing else changes.
    fn desired(&self, view: &View, wanted: &UpdaterInput) -> Result<Desires>;
}
