//! What a family's trust update writes, computed instead of run: one file for each kind of update program.
//!
//! An updater is a pure function of a [`View`]: it says which nodes should stand where. It changes nothing and
//! runs nothing. Paths are as seen inside the sysroot.

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

use crate::cert::{Certificate, Purpose};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::rootfs::tree::{File, Node};
use crate::trust::view::View;

/// A root to be trusted.
#[derive(Clone, Debug)]
pub(crate) struct Anchor {
    /// The certificate.
    pub certificate: Certificate,
    /// The anchor file's name without extension.
    pub(crate) name: String,
    /// Its file, if it stands in the anchor directory without us (a mount, an administrator's copy).
    pub(crate) standing: Option<String>,
    /// Its file cannot be written: an output that would link to it holds the certificate itself.
    pub(crate) unplaced: bool,
}

/// All that an updater is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct UpdaterInput {
    /// The roots to add, in order.
    pub(crate) anchors: Vec<Anchor>,
    /// Put the compiled-in Web PKI into a bundle that has to be made.
    pub(crate) web_pki: bool,
    /// What a format that keeps a date is to say, seconds since 1970: `SOURCE_DATE_EPOCH`, else the time of this run.
    /// The date alone is no reason to write an output again.
    pub(crate) date: i64,
}

/// A node that should stand somewhere, and why.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    /// Where.
    pub(crate) path: String,
    /// What.
    pub(crate) node: Node,
    /// Why, for the plan.
    pub(crate) reason: String,
}

/// The answer of an updater.
#[derive(Clone, Debug, Default)]
pub(crate) struct Desires {
    /// In the order in which they are to be made; a later entry for the same path replaces the earlier.
    pub(crate) nodes: Vec<Desired>,
    /// What a person should know.
    pub(crate) warnings: Vec<String>,
    /// The same, but only where the built-in updater does the work.
    pub(crate) builtin_warnings: Vec<String>,
}

impl Desires {
    /// Adds a node.
    pub(crate) fn want(&mut self, path: impl Into<String>, node: Node, reason: impl Into<String>) {
        self.nodes.push(Desired { path: path.into(), node, reason: reason.into() });
    }
}

/// Whether a path is a family's to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// Not at all.
    Foreign,
    /// A directory on the way: it may be made, and taken away when it is empty.
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
    /// What it is called in data.
    pub(crate) fn id(self) -> &'static str {
        match self {
            OutputKind::Bundle => "bundle",
            OutputKind::HashDirectory => "hash-directory",
            OutputKind::SignatureList => "signature-list",
            OutputKind::Keystore => "keystore",
            OutputKind::NssDatabase => "nss-database",
        }
    }

    /// What it is called in sentences.
    pub(crate) fn words(self) -> &'static str {
        match self {
            OutputKind::Bundle => "bundle",
            OutputKind::HashDirectory => "hash directory",
            OutputKind::SignatureList => "EFI signature list",
            OutputKind::Keystore => "Java keystore",
            OutputKind::NssDatabase => "NSS database",
        }
    }

    /// Why this root is left out of outputs of this kind: with it, their readers could load nothing of them (threat T39).
    /// Only Java's keystores have such roots. What would do that to a bundle becomes no anchor at all, and NSS and EFI
    /// load every root that does.
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

/// A place that programs read roots from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// Where programs look.
    pub(crate) path: String,
    /// How it is read.
    pub(crate) kind: OutputKind,
    /// The purpose for which its roots are trusted; `None`: it holds all, with their trust settings.
    pub(crate) purpose: Option<Purpose>,
}

/// Where an administrator's anchors go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnchorDirectory {
    /// The directory.
    pub(crate) path: &'static str,
    /// What we put behind an anchor's name; the family's tool takes files that end so.
    pub(crate) extension: &'static str,
}

impl AnchorDirectory {
    /// The file of the anchor with this name.
    pub(crate) fn file(&self, name: &str) -> String {
        format!("{}/{name}{}", self.path, self.extension)
    }

    /// Wants the file of every anchor that has none yet.
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
    /// Programs without which it fails half-way.
    pub(crate) needs: &'static [&'static str],
    /// Files that a killed run leaves and the next one trips over.
    pub(crate) leftovers: &'static [&'static str],
    /// Links with their targets that it makes, whatever else is there: it moves that away, whole directories too.
    pub(crate) links: &'static [(&'static str, &'static str)],
}

/// Says of a root why it is not trusted; `None` if it is.
pub(crate) type Refusals = Box<dyn Fn(&Certificate) -> Option<String>>;

/// The update program of a family, as a function.
pub(crate) trait Updater: Debug + Sync {
    /// The real program, where the family has one.
    fn native(&self) -> Option<&NativeTool>;

    /// Where anchors go; `None` where the family has no such place.
    fn anchor_directory(&self) -> Option<AnchorDirectory>;

    /// Whether the vendor's package is there, so that the outputs follow from its inputs.
    fn is_managed(&self, view: &View) -> Result<bool>;

    /// Whether the files in the tree are those of this family and of no other that has a program of the same name.
    fn fits(&self, view: &View) -> Result<bool> {
        self.is_managed(view)
    }

    /// The hashes by which this family's hash directories link a certificate.
    fn link_hashes(&self, certificate: &Certificate) -> Vec<u32> {
        vec![certificate.subject_hash()]
    }

    /// The outputs that are there or will be made, without us.
    fn outputs(&self, view: &View) -> Result<Vec<Output>>;

    /// Whether the native tool itself brings this path up to date (an output of it, not an anchor file).
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

    /// Certificates in an output that none of the vendor's and administrator's inputs holds: the native tool would
    /// drop them.
    fn unsourced(&self, view: &View) -> Result<Vec<Certificate>>;

    /// Roots whose loss is the vendor's or administrator's will: deselected, or gone from the inputs.
    fn withdrawn(&self, view: &View) -> Result<Vec<Fingerprint>>;

    /// Why the distribution does not let a root be trusted, whoever asks; `None` if it does. The inputs are read once for
    /// all roots.
    fn refusals(&self, _view: &View) -> Result<Refusals> {
        Ok(Box::new(|_| None))
    }

    /// Why the native tool, which says nothing of it, left a root out of an output: as far as the inputs tell.
    fn left_out(&self, view: &View) -> Result<Refusals> {
        self.refusals(view)
    }

    /// What the family's inputs alone say that the outputs should be, without us; nothing where no package says so.
    fn regenerated(&self, view: &View) -> Result<Desires>;

    /// What should stand where, so that `wanted` is trusted and nothing else changes.
    fn desired(&self, view: &View, wanted: &UpdaterInput) -> Result<Desires>;
}
