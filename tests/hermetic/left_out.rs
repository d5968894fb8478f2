//! Roots that only some programs can load (threat T39): left out of the stores whose readers would lose every other root
//! with them, named in a warning, and no reason for `status` to fail.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use trustup::pki::cert::Certificate;
use trustup::pki::fingerprint::Fingerprint;
use trustup::pki::keystore::{Keystore, StorePassword};

use crate::support::ca::{self, Root};
use crate::support::run::Trustup;
use crate::support::tree::Tree;

const JKS: &str = "opt/java/openjdk/lib/security/cacerts";
const NSS: &str = "etc/pki/nssdb";
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
const P11_KEYSTORE: &str = "etc/pki/ca-trust/extracted/java/cacerts";

fn certificate(root: &Root) -> Certificate {
    Certificate::from_der(&root.der).unwrap()
}

fn jks(roots: &[&Root]) -> Vec<u8> {
    let mut keystore = Keystore::new_jks();
    for (index, root) in roots.iter().enumerate() {
        assert!(keystore.add(&format!("vendor-{index}"), &certificate(root), 1_000).unwrap());
    }
    keystore.to_bytes(&mut |_| Ok(())).unwrap()
}

fn in_keystore(path: &Path) -> BTreeSet<Fingerprint> {
    let keystore = Keystore::parse(&fs::read(path).unwrap(), &StorePassword::default()).unwrap();
    keystore.fingerprints().into_iter().collect()
}

/// A root file system with a bundle, a keystore and a database.
struct Scene {
    root: tempfile::TempDir,
    given: tempfile::TempDir,
    odd: Root,
    vendor: Root,
}

impl Scene {
    fn new(root: tempfile::TempDir) -> Scene {
        let scene = Scene {
            root,
            given: tempfile::tempdir().unwrap(),
            odd: ca::no_java("Constrained Root"),
            vendor: ca::root("Vendor Root"),
        };
        scene.odd.write(scene.given.path(), "odd.pem");
        ca::root("Plain Root").write(scene.given.path(), "plain.pem");
        scene
    }

    fn with_java() -> Scene {
        let scene = Scene::new(tempfile::tempdir().unwrap());
        scene.write(BUNDLE, scene.vendor.pem.as_bytes());
        scene.write(JKS, &jks(&[&scene.vendor]));
        let mut databases = trustup::pki::nss::Databases::new().unwrap();
        databases.add(&certificate(&scene.vendor), "Vendor").unwrap();
        let files = databases.into_files().unwrap();
        scene.write(&format!("{NSS}/key4.db"), &files.key4);
        scene.write(&format!("{NSS}/cert9.db"), &files.cert9);
        scene
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn trustup<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Trustup {
        Trustup::at(self.root.path(), args)
    }

    fn bootstrap(&self, file: &str) -> Trustup {
        self.trustup(["bootstrap", "--ca-file"]).arg(self.given.path().join(file))
    }

    /// Bootstraps the odd root: it is everywhere but in `keystore`, which stays readable.
    fn leaves_out_of(&self, keystore: &str) {
        let before = Tree::of(self.root.path());
        let held = in_keystore(&self.root.path().join(keystore));
        let answer = self.bootstrap("odd.pem").arg("--json").ok().json();
        let warnings = answer["warnings"].to_string();
        for part in [&format!("/{keystore}"), "CN=Constrained Root", "nameConstraints", "scheme"] {
            assert!(warnings.contains(part), "{part}: {warnings}");
        }
        assert_eq!(answer["anchors"][0]["status"], "installed", "{answer}");
        assert_eq!(in_keystore(&self.root.path().join(keystore)), held, "{keystore}");

        let status = self.trustup(["status", "--json"]).ok().json();
        assert_eq!(status["all_there"], true, "{status}");
        let stores = status["anchors"][0]["stores"].as_array().unwrap();
        for store in stores {
            let wanted = if store["path"] == format!("/{keystore}") { "left-out" } else { "there" };
            assert_eq!(store["state"], wanted, "{status}");
        }
        assert!(stores.len() > 1 && stores.iter().any(|store| store["state"] == "left-out"), "{status}");
        let text = self.trustup(["status"]).ok().stdout;
        assert!(text.contains(&format!("left out   /{keystore}")), "{text}");

        // Once more: the same warning, and nothing to do.
        let after = Tree::of(self.root.path());
        let again = self.bootstrap("odd.pem").arg("--json").ok().json();
        assert_eq!((&again["changed"], &again["plan"]), (&false.into(), &serde_json::json!([])), "{again}");
        assert!(again["warnings"].to_string().contains(keystore), "{again}");
        let repaired = self.bootstrap("odd.pem").args(["--repair", "--json"]).ok().json();
        assert_eq!(repaired["changed"], false, "{repaired}");
        after.assert_same(&Tree::of(self.root.path()), "again");
        let doctor = self.trustup(["doctor", "--json"]).run().json();
        assert!(!doctor["findings"].to_string().contains("--repair"), "{doctor}");

        // Others go into it as ever.
        self.bootstrap("plain.pem").ok();
        assert_eq!(in_keystore(&self.root.path().join(keystore)).len(), held.len() + 1);
        self.trustup(["status"]).ok();
        self.trustup(["untrust", "--all"]).ok();
        before.assert_same(&Tree::of(self.root.path()), "untrust");
    }
}

#[test]
fn t39_a_root_that_java_cannot_load_is_left_out_of_keystores() {
    let scene = Scene::with_java();
    scene.leaves_out_of(JKS);
    scene.bootstrap("odd.pem").ok();
    let databases =
        ["cert9.db", "key4.db"].map(|name| fs::read(scene.root.path().join(NSS).join(name)).unwrap());
    let databases = trustup::pki::nss::Databases::open(&databases[0], &databases[1], None).unwrap();
    assert!(databases.entries().unwrap().iter().any(|entry| entry.fingerprint == scene.odd.fingerprint));
}

#[test]
fn t39_the_keystore_of_p11_kits_families_is_left_readable_too() {
    let scene = Scene::new(crate::support::run::unpacked("fedora-42"));
    scene.leaves_out_of(P11_KEYSTORE);
}

#[test]
fn t39_a_store_that_was_named_is_an_error_before_anything_is_changed() {
    for (scene, keystore) in
        [(Scene::with_java(), JKS), (Scene::new(crate::support::run::unpacked("fedora-42")), P11_KEYSTORE)]
    {
        let before = Tree::of(scene.root.path());
        for options in [&["--stores", "java"][..], &["--stores", "system,java"], &["--strict"]] {
            // The keystore of a p11-kit family is one of the system's own outputs.
            if keystore == P11_KEYSTORE && options == ["--stores", "java"] {
                continue;
            }
            let run = scene.bootstrap("odd.pem").args(options).fails(5);
            for part in [
                "Java cannot load CN=Constrained Root",
                keystore,
                "hint: omit `java` from `--stores`, and `--strict`: the keystore then lacks this root",
                "hint: or have the CA issue a root certificate that Java can load",
            ] {
                assert!(run.stderr.contains(part), "{options:?}: {part}: {run}");
            }
            before.assert_same(&Tree::of(scene.root.path()), "refused");
            // The other certificate of the CA.
            scene.bootstrap("plain.pem").args(options).arg("--dry-run").ok();
        }
        // And the other way out, with what is left of the options.
        scene.bootstrap("odd.pem").args(["--stores", "system", "--dry-run"]).ok();
        scene.bootstrap("odd.pem").ok().says(["warning", keystore]);
    }
}

#[test]
fn t39_what_others_put_into_a_keystore_is_reported_and_kept() {
    let scene = Scene::with_java();
    let theirs = ca::no_java("Their Root");
    scene.write(JKS, &jks(&[&scene.vendor, &theirs]));
    let answer = scene.bootstrap("plain.pem").arg("--json").ok().json();
    let warnings = answer["warnings"].to_string();
    assert!(warnings.contains("may load no root") && warnings.contains("`vendor-1`"), "{warnings}");
    assert!(warnings.contains("which trustup did not add"), "{warnings}");
    assert_eq!(in_keystore(&scene.root.path().join(JKS)).len(), 3);
    scene.trustup(["status"]).ok();
}

#[test]
fn t39_a_root_that_one_program_passes_over_is_installed_with_a_warning() {
    let scene = Scene::with_java();
    let mut params = ca::root_params("Two Policies");
    // certificatePolicies with one policy twice.
    let policy = [0x30, 0x05, 0x06, 0x03, 0x2a, 0x03, 0x04];
    let value = [&[0x30, 14][..], &policy, &policy].concat();
    params.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 32], value)];
    ca::root_with(params).write(scene.given.path(), "twice.pem");
    let answer = scene.bootstrap("twice.pem").arg("--json").ok().json();
    let warnings = answer["warnings"].to_string();
    assert!(warnings.contains("programs built on Go do not load CN=Two Policies"), "{warnings}");
    let status = scene.trustup(["status", "--json"]).ok().json();
    assert!(!status.to_string().contains("left-out"), "{status}");
}

#[test]
fn t39_a_root_that_would_make_a_bundle_unreadable_is_refused() {
    let scene = Scene::with_java();
    let before = Tree::of(scene.root.path());
    // GnuTLS refuses the whole bundle for an empty DNS name in subjectAltName.
    for (oid, value, name) in [
        (&[2, 5, 29, 17][..], &[0x30, 2, 0x82, 0][..], "subjectAltName"),
        (&[2, 5, 29, 18], &[0x30, 0], "issuerAltName"),
        (&[2, 5, 29, 31], &[0x30, 2, 0x30, 0], "cRLDistributionPoints"),
        (&[2, 5, 29, 36], &[0x05, 0], "policyConstraints"),
    ] {
        let mut params = ca::root_params("Malformed");
        params.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(
            &oid.iter().map(|arc| *arc as u64).collect::<Vec<u64>>(),
            value.to_vec(),
        )];
        ca::root_with(params).write(scene.given.path(), "malformed.pem");
        let run = scene.bootstrap("malformed.pem").fails(2);
        assert!(run.stderr.contains(&format!("its {name} is malformed")), "{run}");
    }
    before.assert_same(&Tree::of(scene.root.path()), "refused");
}
