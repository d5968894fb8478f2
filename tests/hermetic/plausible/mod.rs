//! A state or a journal that the image's vendor wrote (threats T33, T34): it is believed only as far as it is plausible,
//! and no root becomes trusted unmentioned.

mod databases;
mod gains;
mod journal;
mod sources;
mod state;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use trustup::pki::fingerprint::Fingerprint;

use crate::support::ca::{self, Root};
use crate::support::run::{Run, Trustup, unpacked};
use crate::support::tree::Tree;

const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
const ANCHORS: &str = "/usr/local/share/ca-certificates";
const STATE: &str = "/var/lib/trustup/state.json";
const JOURNAL: &str = "/var/lib/trustup/journal.json";

/// An image, the root that its user wants, and the one that its vendor would have trusted.
struct Image {
    root: tempfile::TempDir,
    given: tempfile::TempDir,
    good: Root,
    evil: Root,
    without_openat2: bool,
}

impl Image {
    fn new(fixture: &str) -> Image {
        let image = Image {
            root: unpacked(fixture),
            given: tempfile::tempdir().unwrap(),
            good: ca::root("Good"),
            evil: ca::root("Evil"),
            without_openat2: false,
        };
        image.good.write(image.given.path(), "good.pem");
        image
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    fn lay(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), content).unwrap();
    }

    fn trustup<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Trustup {
        let run = Trustup::at(self.root.path(), args);
        if self.without_openat2 { run.without_openat2() } else { run }
    }

    /// `bootstrap` of the good root, pinned.
    fn bootstrap(&self) -> Trustup {
        self.trustup(["bootstrap", "--fingerprint", &self.good.pin(), "--ca-file"])
            .arg(self.given.path().join("good.pem"))
    }

    fn untrust(&self) -> Trustup {
        self.trustup(["untrust", "--all"])
    }

    fn held(&self, path: &str) -> BTreeSet<Fingerprint> {
        fs::read_to_string(self.at(path)).map(|text| ca::fingerprint_set(&text)).unwrap_or_default()
    }

    /// Whether any file of the stores holds the root, or a hash link leads to it.
    fn holds(&self, root: &Root) -> Vec<String> {
        let line = root.pem.lines().nth(3).unwrap();
        let tree = Tree::of(self.root.path()).without("var/lib/trustup");
        let files = tree.lines.into_iter().filter(|(_, line)| line.starts_with('f')).map(|(path, _)| path);
        files
            .filter(|path| {
                let content = fs::read(self.at(path)).unwrap_or_default();
                let der = &root.der[root.der.len() / 2..];
                String::from_utf8_lossy(&content).contains(line)
                    || content.windows(der.len()).any(|part| part == der)
            })
            .collect()
    }

    fn tree(&self) -> Tree {
        Tree::of(self.root.path()).without("var/lib/trustup/lock")
    }

    /// A state that the vendor wrote.
    fn plant_state(&self, anchors: &[Value], records: &[(&str, Value)]) {
        let records: serde_json::Map<String, Value> =
            records.iter().map(|(path, record)| ((*path).to_owned(), record.clone())).collect();
        let state = json!({
            "schema": 1, "row": "debian", "web_pki": false, "anchors": anchors, "sources": {}, "records": records,
        });
        self.plant(STATE, &state);
    }

    fn plant(&self, path: &str, content: &Value) {
        self.lay(path, content.to_string());
        fs::set_permissions(self.at("/var/lib/trustup"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// The mark of a file as it is now.
    fn mark(&self, path: &str) -> Value {
        json!({ "file": Fingerprint::of(&fs::read(self.at(path)).unwrap()).hex() })
    }
}

/// What stood at a path before, whole.
fn saved(content: &[u8], mode: u32, owner: u32) -> Value {
    json!({ "file": {
        "mode": mode, "owner": [owner, owner], "modified": [1_700_000_000, 0],
        "sha256": Fingerprint::of(content).hex(), "prefix": 0, "suffix": 0, "middle": BASE64.encode(content),
    } })
}

/// A root as the state records it.
fn anchor(root: &Root, status: &str, source: &str) -> Value {
    json!({
        "fingerprint": root.fingerprint.hex(), "certificate": BASE64.encode(&root.der), "name": "Evil",
        "file": format!("{ANCHORS}/Evil.crt"), "status": status, "sources": [source],
    })
}

/// The fingerprints that a run names as gained.
fn gained(run: &Run) -> BTreeSet<String> {
    let json = run.json();
    let gained = json["gained"].as_array().unwrap_or_else(|| panic!("no list of gained roots: {run}"));
    gained.iter().map(|gain| gain["fingerprint"].as_str().unwrap().to_owned()).collect()
}
