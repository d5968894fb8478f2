//! `--create-java`: a keystore for a Java that has none (threats T10, T11, T35, T39). What Java itself makes of it is in
//! the ring of tools.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use trustup::pki::cert::Certificate;
use trustup::pki::fingerprint::Fingerprint;
use trustup::pki::keystore::{EntryContent, Keystore, KeystoreFormat, StorePassword};

use crate::support::ca::{self, Root};
use crate::support::run::{Run, Trustup};
use crate::support::tree::{self, Tree};

const HOME: &str = "opt/java/openjdk";
const CACERTS: &str = "opt/java/openjdk/lib/security/cacerts";
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// An image with a bundle of one root, and a Java without a keystore.
struct Scene {
    root: tempfile::TempDir,
    given: tempfile::TempDir,
    ca: Root,
    vendor: Root,
}

impl Scene {
    fn new() -> Scene {
        let scene = Scene {
            root: tempfile::tempdir().unwrap(),
            given: tempfile::tempdir().unwrap(),
            ca: ca::root("Created Store Root"),
            vendor: ca::root("Vendor Root"),
        };
        scene.ca.write(scene.given.path(), "root.pem");
        scene.write(BUNDLE, scene.vendor.pem.as_bytes());
        fs::create_dir_all(scene.at(&format!("{HOME}/lib/security"))).unwrap();
        scene
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, content: &[u8]) {
        tree::write(self.root.path(), path, content);
    }

    fn trustup<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Trustup {
        Trustup::at(self.root.path(), args)
    }

    fn bootstrap(&self) -> Trustup {
        self.trustup(["bootstrap", "--json", "--ca-file"]).arg(self.given.path().join("root.pem"))
    }

    fn held(&self, path: &str) -> BTreeSet<Fingerprint> {
        let keystore = Keystore::parse(&fs::read(self.at(path)).unwrap(), &StorePassword::default()).unwrap();
        assert_eq!(keystore.format(), KeystoreFormat::Jks);
        keystore.fingerprints().into_iter().collect()
    }

    fn both(&self) -> BTreeSet<Fingerprint> {
        [self.ca.fingerprint, self.vendor.fingerprint].into()
    }

    fn tree(&self) -> Tree {
        Tree::of(self.root.path())
    }
}

/// How a Java can be without a keystore, and what stays of it in the tree.
type Lack = fn(&Scene);
const LACKS: [(&str, Lack); 8] = [
    ("nothing", |_| {}),
    ("a dangling link", |scene| symlink("/etc/ssl/certs/java/cacerts", scene.at(CACERTS)).unwrap()),
    ("a relative dangling link", |scene| symlink("../../gone", scene.at(CACERTS)).unwrap()),
    ("a link to the bundle", |scene| symlink(format!("/{BUNDLE}"), scene.at(CACERTS)).unwrap()),
    ("a link to the bundle through a link", |scene| {
        fs::create_dir_all(scene.at("etc/ssl/certs/java")).unwrap();
        symlink("../ca-certificates.crt", scene.at("etc/ssl/certs/java/cacerts")).unwrap();
        symlink("/etc/ssl/certs/java/cacerts", scene.at(CACERTS)).unwrap();
    }),
    ("a link to something else", |scene| {
        scene.write("etc/hostname", b"builder\n");
        symlink("/etc/hostname", scene.at(CACERTS)).unwrap();
    }),
    ("a copy of the bundle", |scene| {
        scene.write(CACERTS, scene.vendor.pem.as_bytes());
        fs::set_permissions(scene.at(CACERTS), fs::Permissions::from_mode(0o640)).unwrap();
    }),
    ("an empty file", |scene| scene.write(CACERTS, b"")),
];

#[test]
fn a_java_without_a_keystore_is_an_error_where_java_was_asked_for() {
    for (lack, make) in LACKS {
        let scene = Scene::new();
        make(&scene);
        let before = scene.tree();
        for args in [&["--stores", "java"][..], &["--stores", "system,java"], &["--strict"]] {
            let run = scene.bootstrap().args(args.iter().copied()).fails(5);
            run.says(["this Java has no keystore", CACERTS, "`--create-java` makes one from the roots of"]);
            before.assert_same(&scene.tree(), lack);
            scene.bootstrap().args(args.iter().copied()).arg("--create-java").ok();
            assert!(scene.held(CACERTS).contains(&scene.ca.fingerprint), "{lack}");
            scene.trustup(["untrust", "--all"]).ok();
            before.assert_same(&scene.tree(), lack);
        }
        // Nobody asked for Java: a warning that says what to do.
        let json = scene.bootstrap().ok().json();
        let warnings = json["warnings"].to_string();
        assert!(warnings.contains(CACERTS) && warnings.contains("--create-java"), "{lack}: {json}");
        scene.trustup(["untrust", "--all"]).ok();
        before.assert_same(&scene.tree(), lack);
    }
}

#[test]
fn a_created_keystore_holds_the_systems_roots_and_ours_and_goes_without_a_trace() {
    for (lack, make) in LACKS {
        let scene = Scene::new();
        make(&scene);
        let before = scene.tree();
        let dry = scene.bootstrap().args(["--create-java", "--strict", "--dry-run"]).ok();
        before.assert_same(&scene.tree(), "a dry run");
        let run = scene.bootstrap().args(["--create-java", "--strict"]).ok();
        assert_eq!(run.json()["plan"], dry.json()["plan"], "{lack}");
        let meta = fs::symlink_metadata(scene.at(CACERTS)).unwrap();
        assert!(meta.is_file() && meta.permissions().mode() & 0o7777 == 0o644, "{lack}: {run}");
        assert_eq!(scene.held(CACERTS), scene.both(), "{lack}");
        let bundle = ca::fingerprint_set(&fs::read_to_string(scene.at(BUNDLE)).unwrap());
        assert_eq!(bundle, scene.both(), "{lack}: the bundle that it led to is no keystore");
        scene.trustup(["status"]).ok();

        let after = scene.tree();
        for args in [&["--create-java"][..], &[], &["--strict"]] {
            let again = scene.bootstrap().args(args.iter().copied()).ok();
            assert_eq!(again.json()["changed"], false, "{lack}: {again}");
            after.assert_same(&scene.tree(), "a second run");
        }
        // Another root joins, and goes again.
        let other = ca::root("Second Created Root");
        let file = other.write(scene.given.path(), "other.pem");
        scene.trustup(["bootstrap", "--stores", "system,java", "--ca-file"]).arg(&file).ok();
        assert!(scene.held(CACERTS).contains(&other.fingerprint), "{lack}");
        scene.trustup(["untrust", "--fingerprint", &other.pin()]).ok();
        assert_eq!(scene.held(CACERTS), scene.both(), "{lack}");
        scene.trustup(["untrust", "--all"]).ok();
        before.assert_same(&scene.tree(), lack);
    }
}

/// What somebody else put into it is not thrown away with it.
#[test]
fn what_others_added_to_a_created_keystore_stays() {
    let scene = Scene::new();
    symlink("/etc/ssl/certs/java/cacerts", scene.at(CACERTS)).unwrap();
    scene.bootstrap().arg("--create-java").ok();
    let foreign = ca::root("Foreign Root");
    let mut keystore =
        Keystore::parse(&fs::read(scene.at(CACERTS)).unwrap(), &StorePassword::default()).unwrap();
    let certificate = Certificate::from_der(&foreign.der).unwrap();
    assert!(keystore.add("foreign", &certificate, 1000).unwrap());
    scene.write(CACERTS, &keystore.to_bytes(&mut |_| Ok(())).unwrap());
    scene.bootstrap().ok();
    assert!(scene.held(CACERTS).is_superset(&[foreign.fingerprint, scene.ca.fingerprint].into()));
    scene.trustup(["untrust", "--all"]).ok();
    assert_eq!(scene.held(CACERTS), [foreign.fingerprint, scene.vendor.fingerprint].into());
}

#[test]
fn source_date_epoch_makes_it_reproducible() {
    let made: Vec<Vec<u8>> = (0..2)
        .map(|_| {
            let scene = Scene::new();
            // The same root and vendor in both: what differs is the day.
            let file = concat!(env!("CARGO_MANIFEST_DIR"), "/distro-fixtures/roots");
            let mut pems: Vec<PathBuf> =
                fs::read_dir(file).unwrap().map(|entry| entry.unwrap().path()).collect();
            pems.sort();
            scene.write(BUNDLE, &fs::read(&pems[0]).unwrap());
            let run = scene
                .trustup(["bootstrap", "--create-java", "--allow-expired", "--ca-file"])
                .arg(&pems[1])
                .env("SOURCE_DATE_EPOCH", "1700000000")
                .ok();
            let bytes = fs::read(scene.at(CACERTS)).unwrap();
            let keystore = Keystore::parse(&bytes, &StorePassword::default()).unwrap();
            assert!(keystore.entries().iter().all(|entry| entry.date() == Some(1_700_000_000_000)), "{run}");
            let modified = fs::metadata(scene.at(CACERTS)).unwrap().mtime();
            assert_eq!(modified, 1_700_000_000);
            bytes
        })
        .collect();
    assert_eq!(made[0], made[1]);
}

/// One certificate that Java cannot load closes the whole keystore (threat T39).
#[test]
fn roots_that_java_cannot_load_are_not_in_it() {
    let scene = Scene::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut nameless = rcgen::CertificateParams::new([]).unwrap();
    nameless.distinguished_name = rcgen::DistinguishedName::new();
    nameless.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let nameless = nameless.self_signed(&key).unwrap();
    let mut for_mail = rcgen::CertificateParams::new([]).unwrap();
    for_mail.distinguished_name.push(rcgen::DnType::CommonName, "Mail Root");
    for_mail.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    for_mail.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::EmailProtection];
    let for_mail = for_mail.self_signed(&key).unwrap();
    let pem = |der: &[u8]| trustup::pki::cert::pem::encode(der);
    let bundle = [scene.vendor.pem.clone(), pem(nameless.der()), pem(for_mail.der())].concat();
    scene.write(BUNDLE, bundle.as_bytes());
    scene.bootstrap().arg("--create-java").ok();
    assert_eq!(scene.held(CACERTS), scene.both());
}

/// A system without a bundle: ours alone, and a warning says so.
#[test]
fn without_a_bundle_it_holds_ours_alone() {
    let scene = Scene::new();
    fs::remove_file(scene.at(BUNDLE)).unwrap();
    let json = scene.bootstrap().args(["--create-java", "--stores", "java"]).ok().json();
    assert!(json["warnings"].to_string().contains("contains only yours"), "{json}");
    assert_eq!(scene.held(CACERTS), [scene.ca.fingerprint].into());
}

/// A keystore that Java reads under a name that trustup does not change is no keystore to replace.
#[test]
fn a_keystore_of_another_name_is_neither_changed_nor_replaced() {
    let scene = Scene::new();
    let mut keystore = Keystore::new_jks();
    let vendor = Certificate::from_der(&scene.vendor.der).unwrap();
    assert!(keystore.add("vendor", &vendor, 1000).unwrap());
    assert!(matches!(keystore.entries()[0].content(), EntryContent::Trusted { .. }));
    scene.write("etc/company.jks", &keystore.to_bytes(&mut |_| Ok(())).unwrap());
    symlink("/etc/company.jks", scene.at(CACERTS)).unwrap();
    let before = scene.tree();
    for args in [&["--strict"][..], &["--stores", "java"], &["--stores", "java", "--create-java"]] {
        let refused = scene.bootstrap().args(args.iter().copied()).fails(5);
        refused.says(["etc/company.jks", "hint: rename it to `cacerts`, and point Java's links to it"]);
        before.assert_same(&scene.tree(), "a keystore of another name");
    }
    fs::rename(scene.at("etc/company.jks"), scene.at("etc/cacerts")).unwrap();
    fs::remove_file(scene.at(CACERTS)).unwrap();
    symlink("/etc/cacerts", scene.at(CACERTS)).unwrap();
    scene.bootstrap().args(["--stores", "java"]).ok();
    assert_eq!(scene.held("etc/cacerts"), scene.both());
}

/// Threat T35: another user's directory is not ours to write in, nor where that user's link leads.
#[test]
fn nothing_is_made_where_another_user_decides_the_place() {
    if !rustix::process::geteuid().is_root() {
        // Only root can give a directory away; an ordinary user cannot write another's at all.
        return;
    }
    type Plant = fn(&Scene) -> &'static str;
    let plants: [Plant; 2] = [
        |scene| {
            let home = "home/dev/.sdkman/candidates/java/25-tem";
            fs::create_dir_all(scene.at(&format!("{home}/lib/security"))).unwrap();
            std::os::unix::fs::chown(scene.at("home/dev"), Some(1000), Some(1000)).unwrap();
            "home/dev/.sdkman/candidates/java/25-tem/lib/security"
        },
        |scene| {
            fs::create_dir_all(scene.at("srv/victim/lib/security")).unwrap();
            fs::create_dir_all(scene.at("home/dev/.sdkman/candidates/java")).unwrap();
            symlink("/srv/victim", scene.at("home/dev/.sdkman/candidates/java/x")).unwrap();
            std::os::unix::fs::chown(scene.at("home/dev"), Some(1000), Some(1000)).unwrap();
            "srv/victim/lib/security"
        },
    ];
    for plant in plants {
        let scene = Scene::new();
        fs::remove_dir_all(scene.at("opt")).unwrap();
        let place = plant(&scene);
        let run = scene.bootstrap().arg("--create-java").ok();
        let warnings = run.json()["warnings"].to_string();
        assert!(warnings.contains("belongs to user 1000"), "{run}");
        assert!(fs::read_dir(scene.at(place)).unwrap().next().is_none(), "{run}");
        scene.bootstrap().args(["--create-java", "--stores", "java"]).fails(5).says(["belongs to user 1000"]);
    }
}

#[test]
fn it_needs_java_among_the_stores_and_has_a_variable_as_create_nss_has() {
    let scene = Scene::new();
    let before = scene.tree();
    scene.bootstrap().args(["--create-java", "--stores", "system"]).fails(2).says(["--create-java", "java"]);
    before.assert_same(&scene.tree(), "a usage error");
    scene.bootstrap().env("TRUSTUP_CREATE_JAVA", "true").ok();
    assert_eq!(scene.held(CACERTS), scene.both());
}

/// What doctor recommends makes its finding go away.
#[test]
fn doctor_recommends_it_and_is_content_afterwards() {
    let java = |run: &Run| {
        let clients = run.json()["clients"].as_array().unwrap().clone();
        clients.into_iter().find(|client| client["client"] == "java").expect("a row of Java")
    };
    for (lack, make) in LACKS {
        let scene = Scene::new();
        make(&scene);
        scene.bootstrap().ok();
        let run = scene.trustup(["--json", "doctor"]).run();
        let before = java(&run);
        assert_eq!((&before["installed"], run.code), (&true.into(), Some(4)), "{lack}: {run}");
        let recommended = before["first_to_change"].as_str().unwrap();
        let options: Vec<&str> = recommended
            .split('`')
            .nth(1)
            .and_then(|command| command.strip_prefix("trustup bootstrap "))
            .expect(recommended)
            .split(' ')
            .collect();
        assert_eq!(options, ["--create-java"], "{lack}");
        scene.bootstrap().args(options).ok();
        let run = scene.trustup(["--json", "doctor"]).run();
        let after = java(&run);
        assert_eq!(after["verdict"], "holds", "{lack}: {run}");
        assert!(after["first_to_change"].is_null(), "{lack}: {run}");
    }
}
