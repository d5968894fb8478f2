//! Families of p11-kit against the real one (0.24.1): roots laid out as Fedora, Arch and openSUSE, where the family's
//! extractions run. trustup works on one root; on its twin the same anchor files are dropped and the extraction runs.
//! The trees have to be the same, the Java keystore with its date included: everybody gets the same
//! `SOURCE_DATE_EPOCH`.

mod keystore;
mod later;
mod native;
mod outputs;
mod sources;

use std::collections::BTreeSet;
use std::path::PathBuf;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose};

use crate::support::ca::{self, Root, fingerprints, root_params, root_with};
use crate::support::roots::{Base, RootFs};
use crate::support::run::Run;
use crate::support::tree::Tree;

/// Where a family has things, without a leading `/`.
#[derive(Clone, Copy, Debug)]
struct Family {
    base: Base,
    /// What an administrator runs.
    tool: &'static str,
    /// The administrator's token.
    admin: &'static str,
    /// The vendor's file of roots.
    vendor: &'static str,
    tls: &'static str,
    /// A path outside of all this that leads to the TLS bundle.
    link: &'static str,
    /// Another file that programs read.
    other: &'static str,
    /// The hashed directories, the one for TLS servers first.
    hashed: &'static [&'static str],
    keystore: &'static str,
    /// Outputs whose roots stand one behind the other.
    lists: &'static [&'static str],
}

const DATE: &str = "SOURCE_DATE_EPOCH";
/// When the roots were made, and everything else happens.
const EPOCH: &str = "1700000000";

const RED_HAT: Family = Family {
    base: Base::RedHat,
    tool: "usr/bin/update-ca-trust",
    admin: "etc/pki/ca-trust/source",
    vendor: "usr/share/pki/ca-trust-source/ca-bundle.trust.p11-kit",
    tls: "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    link: "etc/ssl/certs/ca-certificates.crt",
    other: "etc/pki/ca-trust/extracted/pem/email-ca-bundle.pem",
    hashed: &["etc/pki/ca-trust/extracted/pem/directory-hash"],
    keystore: "etc/pki/ca-trust/extracted/java/cacerts",
    lists: &[
        "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "etc/pki/ca-trust/extracted/pem/email-ca-bundle.pem",
        "etc/pki/ca-trust/extracted/pem/objsign-ca-bundle.pem",
        "etc/pki/ca-trust/extracted/openssl/ca-bundle.trust.crt",
        "etc/pki/ca-trust/extracted/edk2/cacerts.bin",
    ],
};

const ARCH: Family = Family {
    base: Base::Arch,
    tool: "usr/bin/update-ca-trust",
    admin: "etc/ca-certificates/trust-source",
    vendor: "usr/share/ca-certificates/trust-source/mozilla.trust.p11-kit",
    tls: "etc/ca-certificates/extracted/tls-ca-bundle.pem",
    link: "etc/ssl/certs/ca-certificates.crt",
    other: "etc/ca-certificates/extracted/email-ca-bundle.pem",
    hashed: &["etc/ca-certificates/extracted/cadir"],
    keystore: "etc/ca-certificates/extracted/java-cacerts.jks",
    lists: &[
        "etc/ca-certificates/extracted/tls-ca-bundle.pem",
        "etc/ca-certificates/extracted/email-ca-bundle.pem",
        "etc/ca-certificates/extracted/objsign-ca-bundle.pem",
        "etc/ca-certificates/extracted/ca-bundle.trust.crt",
        "etc/ca-certificates/extracted/edk2-cacerts.bin",
    ],
};

const SUSE: Family = Family {
    base: Base::Suse,
    tool: "usr/sbin/update-ca-certificates",
    admin: "etc/pki/trust",
    vendor: "usr/share/pki/trust/ca-certificates-mozilla.trust.p11-kit",
    tls: "var/lib/ca-certificates/ca-bundle.pem",
    link: "etc/ssl/ca-bundle.pem",
    other: "var/lib/ca-certificates/openssl/ISRG_Root_X2.pem",
    hashed: &["var/lib/ca-certificates/pem", "var/lib/ca-certificates/openssl"],
    keystore: "var/lib/ca-certificates/java-cacerts",
    lists: &["var/lib/ca-certificates/ca-bundle.pem"],
};

const FAMILIES: [Family; 3] = [RED_HAT, ARCH, SUSE];

impl Family {
    /// What the lists hold, in any order, and the tree without their digests.
    fn tree_in_any_order(&self, root: &RootFs) -> (Tree, Vec<BTreeSet<Vec<u8>>>) {
        let mut tree = root.tree();
        for list in self.lists.iter().chain([&self.keystore]) {
            let line = tree.lines.get_mut(*list).unwrap();
            *line = line.split(' ').filter(|part| !part.starts_with("sha256=")).collect::<Vec<_>>().join(" ");
        }
        let parts = |list: &&str| {
            let content = root.read(list);
            if list.ends_with(".bin") { signature_lists(&content) } else { blocks(&content) }
        };
        let lists = self.lists.iter().map(parts).chain([entries(&root.read(self.keystore))]);
        (tree, lists.collect())
    }

    fn anchors(&self) -> String {
        format!("{}/anchors", self.admin)
    }

    /// Runs the family's tool.
    #[track_caller]
    fn update(&self, root: &RootFs) {
        self.update_at(root, EPOCH);
    }

    /// Runs it at another time.
    #[track_caller]
    fn update_at(&self, root: &RootFs, epoch: &str) {
        root.run(&["env", &format!("SOURCE_DATE_EPOCH={epoch}"), &format!("/{}", self.tool)]);
    }

    /// The certificate with this label in the vendor's file.
    #[track_caller]
    fn vendor_root(&self, root: &RootFs, label: &str) -> String {
        self.vendor_stanza(root, &format!("label: \"{label}\"\ntrusted"))
    }

    /// The certificate of the first object in the vendor's file that contains this text.
    #[track_caller]
    fn vendor_stanza(&self, root: &RootFs, text: &str) -> String {
        let file = String::from_utf8(root.read(self.vendor)).unwrap();
        let stanza = file.split("[p11-kit-object-v1]").find(|stanza| stanza.contains(text));
        let stanza = stanza.unwrap_or_else(|| panic!("no {text}"));
        let end = stanza.find("-----END CERTIFICATE-----\n").unwrap() + "-----END CERTIFICATE-----\n".len();
        stanza[stanza.find("-----BEGIN").unwrap()..end].to_owned()
    }
}

/// PEM blocks with their comments, and what stands before the first that is no comment of its own (SUSE's header).
fn blocks(content: &[u8]) -> BTreeSet<Vec<u8>> {
    let text = String::from_utf8(content.to_vec()).unwrap();
    let from = if text.starts_with("#\n") { text.find("-----BEGIN").unwrap_or(text.len()) } else { 0 };
    let mut blocks = BTreeSet::from([content[..from].to_vec()]);
    for (index, block) in text[from..].split("-----END").enumerate() {
        // Behind the first, each begins with the end of the last one's line.
        let block = if index == 0 { block } else { block.split_once("-----\n").unwrap().1 };
        blocks.insert(block.trim().as_bytes().to_vec());
    }
    blocks
}

fn signature_lists(mut content: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut lists = BTreeSet::new();
    while !content.is_empty() {
        let (list, rest) = content.split_at(u32::from_le_bytes(content[16..20].try_into().unwrap()) as usize);
        lists.insert(list.to_vec());
        content = rest;
    }
    lists
}

/// The entries of a keystore.
fn entries(keystore: &[u8]) -> BTreeSet<Vec<u8>> {
    ca::jks(keystore).iter().map(|entry| format!("{entry:?}").into_bytes()).collect()
}

fn given(root: &RootFs, pems: &[&str]) -> Vec<PathBuf> {
    let write = |(n, pem): (usize, &&str)| {
        let path = root.exchange().join(format!("given-{n}.pem"));
        std::fs::write(&path, pem).unwrap();
        path
    };
    pems.iter().enumerate().map(write).collect()
}

/// `bootstrap --ca-file F… --updater builtin` from outside.
#[track_caller]
fn builtin(root: &RootFs, pems: &[&str]) -> Run {
    let mut run = root.trustup(["--json", "bootstrap", "--updater", "builtin"]).env(DATE, EPOCH);
    for file in given(root, pems) {
        run = run.arg("--ca-file").arg(file);
    }
    let run = run.ok();
    assert_eq!(run.json()["updater"], "builtin", "{run}");
    run
}

/// `bootstrap --ca-file F… --updater UPDATER` inside.
#[track_caller]
fn inside(root: &RootFs, updater: &str, pems: &[&str]) -> Run {
    let date = format!("{DATE}={EPOCH}");
    let mut run = root.trustup_inside_after("", &[&date], ["--json", "bootstrap", "--updater", updater]);
    for file in given(root, pems) {
        run = run.arg("--ca-file").arg(PathBuf::from("/mnt").join(file.file_name().unwrap()));
    }
    run.run()
}

/// Drops the anchor files of `done` into `twin`, and runs the real extraction there.
#[track_caller]
fn drop_and_extract(family: Family, done: &RootFs, run: &Run, twin: &RootFs) {
    for anchor in run.json()["anchors"].as_array().unwrap() {
        let file = anchor["file"].as_str().unwrap_or_else(|| panic!("no file: {run}"));
        let file = file.trim_start_matches('/');
        twin.write(file, done.read(file));
    }
    family.update(twin);
}

/// One anchor or several whose files the directory lists in the order of their names: everything is the same.
#[track_caller]
fn same_as_the_tool(family: Family, what: &str, pems: &[&str]) {
    same_as_the_tool_on(family, &family.base.copy(), what, pems);
}

/// The same on a root that was changed before, and whose outputs are up to date.
#[track_caller]
fn same_as_the_tool_on(family: Family, root: &RootFs, what: &str, pems: &[&str]) {
    let what = format!("{:?}, {what}", family.base);
    let before = root.tree();
    let twin = root.twin();
    let run = builtin(root, pems);
    drop_and_extract(family, root, &run, &twin);
    let ours = root.tree();
    assert!(!before.differences(&root.tree()).is_empty(), "nothing changed: {run}");
    twin.tree().assert_same(&ours, &format!("{what}: the real tool (-), ours (+)"));

    // A second run has nothing to do.
    assert_eq!(builtin(root, pems).json()["changed"], false, "{what}");
    ours.assert_same(&root.tree(), &format!("{what}: after a second run"));

    // The real extraction on our tree changes nothing.
    let again = root.twin();
    family.update(&again);
    ours.assert_same(&again.tree(), &format!("{what}: the real tool on our tree (+)"));

    root.trustup(["untrust", "--all"]).ok();
    before.assert_same(&Tree::of(root.path()), &format!("{what}: after untrust"));
}
