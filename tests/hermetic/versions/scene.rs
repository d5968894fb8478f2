//! A small tree with a bundle behind a known link, a keystore and a database, as it is before trustup and with its roots.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use trustup::pki::cert::{Certificate, anchor_name};
use trustup::pki::fingerprint::Fingerprint;
use trustup::pki::keystore::Keystore;
use trustup::pki::nss::Databases;

use crate::support::ca::{self, Root};
use crate::support::run::Trustup;
use crate::support::tree::Tree;

pub(super) const STATE: &str = "var/lib/trustup/state.json";
pub(super) const JOURNAL: &str = "var/lib/trustup/journal.json";
/// The link to it is known, its own path is not.
pub(super) const BUNDLE: &str = "opt/company/bundle.pem";
pub(super) const KEYSTORE: &str = "opt/java/openjdk/lib/security/cacerts";

/// The tree, two roots for it, and the files as they were before.
pub(super) struct Scene {
    place: tempfile::TempDir,
    pub(super) roots: [Root; 2],
    pub(super) before: Tree,
}

impl Scene {
    pub(super) fn new() -> Scene {
        let place = tempfile::tempdir().unwrap();
        let roots = ["Versions One", "Versions Two"].map(ca::root);
        for (number, root) in roots.iter().enumerate() {
            root.write(place.path(), &format!("{number}.pem"));
        }
        let vendor = ca::root("Vendor");
        let certificate = Certificate::from_der(&vendor.der).unwrap();
        let mut keystore = Keystore::new_jks();
        keystore.add("vendor", &certificate, 1_000).unwrap();
        let mut databases = Databases::new().unwrap();
        databases.add(&certificate, "Vendor").unwrap();
        let databases = databases.into_files().unwrap();
        let files: [(&str, &[u8]); 6] = [
            (BUNDLE, vendor.pem.as_bytes()),
            ("etc/passwd", b"root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n"),
            ("etc/profile.d/other.sh", b"true\n"),
            (KEYSTORE, &keystore.to_bytes(&mut |_| Ok(())).unwrap()),
            ("home/user/.pki/nssdb/cert9.db", &databases.cert9),
            ("home/user/.pki/nssdb/key4.db", &databases.key4),
        ];
        for (path, content) in files {
            for side in ["sysroot", "former"] {
                let path = place.path().join(side).join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
        }
        fs::create_dir_all(place.path().join("sysroot/etc/ssl")).unwrap();
        std::os::unix::fs::symlink("/opt/company/bundle.pem", place.path().join("sysroot/etc/ssl/cert.pem"))
            .unwrap();
        let before = Tree::of(&place.path().join("sysroot"));
        Scene { place, roots, before }
    }

    pub(super) fn sysroot(&self) -> PathBuf {
        self.place.path().join("sysroot")
    }

    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.sysroot().join(path)
    }

    pub(super) fn trustup<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Trustup {
        Trustup::at(&self.sysroot(), args)
    }

    pub(super) fn bootstrap(&self, number: usize) -> Trustup {
        self.trustup(["bootstrap", "--ca-file"]).arg(self.root_file(number))
    }

    pub(super) fn root_file(&self, number: usize) -> PathBuf {
        self.place.path().join(format!("{number}.pem"))
    }

    pub(super) fn untrust(&self) -> Trustup {
        self.trustup(["untrust", "--all"])
    }

    pub(super) fn tree(&self) -> Tree {
        Tree::of(&self.sysroot())
    }

    /// The value of a placeholder: `sha256`, `length` or `base64` of a file `before` or `after`; `fingerprint`,
    /// `certificate`, `name` or `source` of a root; `policy file` and `policy sha256` of its file beside Firefox's policy;
    /// `uid` and `gid` of the files.
    pub(super) fn value_of(&self, placeholder: &str) -> Value {
        let root = |number: &str| &self.roots[number.parse::<usize>().unwrap()];
        let name = |number: &str| anchor_name(&Certificate::from_der(&root(number).der).unwrap());
        match placeholder.split(' ').collect::<Vec<_>>()[..] {
            ["policy", "file", number] => {
                json!(format!("/usr/lib/mozilla/certificates/{}.pem", name(number)))
            }
            ["policy", "sha256", number] => json!(Fingerprint::of(root(number).pem.as_bytes())),
            ["uid"] => json!(fs::metadata(self.sysroot()).unwrap().uid()),
            ["gid"] => json!(fs::metadata(self.sysroot()).unwrap().gid()),
            ["source", number] => json!(self.root_file(number.parse().unwrap())),
            ["fingerprint", number] => json!(root(number).fingerprint),
            ["certificate", number] => json!(BASE64.encode(&root(number).der)),
            ["name", number] => json!(name(number)),
            [what, when, path] => {
                let side = if when == "before" { "former" } else { "sysroot" };
                let content = fs::read(self.place.path().join(side).join(path)).unwrap();
                match what {
                    "sha256" => json!(Fingerprint::of(&content)),
                    "length" => json!(content.len()),
                    "base64" => json!(BASE64.encode(content)),
                    _ => panic!("{placeholder}"),
                }
            }
            _ => panic!("{placeholder}"),
        }
    }
}
