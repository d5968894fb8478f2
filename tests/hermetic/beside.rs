//! Stores beside the family's own: Java's keystores and NSS databases, through the command line (threats T11, T13, T18).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use serde_json::Value;
use trustup::pki::cert::Certificate;
use trustup::pki::fingerprint::Fingerprint;
use trustup::pki::keystore::{Keystore, KeystoreFormat, StorePassword};
use trustup::pki::nss::Databases;

use crate::support::ca::{self, Root};
use crate::support::run::Trustup;
use crate::support::tree::{self, Tree};

const JKS: &str = "opt/java/openjdk/lib/security/cacerts";
const OTHER: &str = "usr/lib/jvm/jdk/lib/security/cacerts";
const NSS: &str = "home/user/.pki/nssdb";
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// A root file system with a bundle, two Javas and a user's database, each with a vendor's root.
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
            ca: ca::root("Beside Root"),
            vendor: ca::root("Vendor Root"),
        };
        scene.ca.write(scene.given.path(), "root.pem");
        scene.write(BUNDLE, scene.vendor.pem.as_bytes());
        scene.write("etc/passwd", b"root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n");
        scene.write(JKS, &jks(&[&scene.vendor], "changeit"));
        scene.write(OTHER, &jks(&[&scene.vendor], "changeit"));
        let mut databases = Databases::new().unwrap();
        databases.add(&certificate(&scene.vendor), "Vendor").unwrap();
        scene.write_databases(databases);
        scene
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, content: &[u8]) {
        tree::write(self.root.path(), path, content);
    }

    fn write_databases(&self, databases: Databases) {
        let files = databases.into_files().unwrap();
        self.write(&format!("{NSS}/key4.db"), &files.key4);
        self.write(&format!("{NSS}/cert9.db"), &files.cert9);
    }

    fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.at(path)).unwrap()
    }

    fn trustup<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Trustup {
        Trustup::at(self.root.path(), args)
    }

    fn bootstrap(&self) -> Trustup {
        self.trustup(["bootstrap", "--ca-file"]).arg(self.given.path().join("root.pem"))
    }

    fn tree(&self) -> Tree {
        Tree::of(self.root.path())
    }

    fn databases(&self) -> Databases {
        let [cert9, key4] = ["cert9.db", "key4.db"].map(|name| self.read(&format!("{NSS}/{name}")));
        Databases::open(&cert9, &key4, None).unwrap()
    }

    fn in_keystore(&self, path: &str) -> BTreeSet<Fingerprint> {
        Keystore::trusted_without_password(&self.read(path)).unwrap().into_iter().collect()
    }

    fn in_databases(&self) -> BTreeSet<Fingerprint> {
        let entries = self.databases().entries().unwrap();
        entries.into_iter().filter(|entry| entry.is_trusted()).map(|entry| entry.fingerprint).collect()
    }

    fn both(&self) -> BTreeSet<Fingerprint> {
        [self.vendor.fingerprint, self.ca.fingerprint].into()
    }
}

fn certificate(root: &Root) -> Certificate {
    Certificate::from_der(&root.der).unwrap()
}

/// A JKS with these roots and this password.
fn jks(roots: &[&Root], password: &str) -> Vec<u8> {
    let mut keystore = Keystore::new_jks();
    for (index, root) in roots.iter().enumerate() {
        assert!(keystore.add(&format!("vendor-{index}"), &certificate(root), 1_000).unwrap());
    }
    let bytes = keystore.to_bytes(&mut |_| Ok(())).unwrap();
    assert_eq!(KeystoreFormat::of(&bytes).unwrap(), KeystoreFormat::Jks);
    if password == "changeit" { bytes } else { with_password(&bytes, password) }
}

/// The checksum of a JKS under another password: what `keytool -storepasswd` changes.
fn with_password(jks: &[u8], password: &str) -> Vec<u8> {
    use sha1::Digest;
    let body = &jks[..jks.len() - 20];
    let mut digest = sha1::Sha1::new();
    digest.update(password.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>());
    digest.update(b"Mighty Aphrodite");
    digest.update(body);
    [body, &digest.finalize()[..]].concat()
}

fn skipped(answer: &Value) -> Vec<(String, String)> {
    let stores = answer["stores"].as_array().unwrap();
    let left = stores.iter().filter(|store| store.get("skipped").is_some());
    left.map(|store| {
        (store["path"].as_str().unwrap().to_owned(), store["skipped"].as_str().unwrap().to_owned())
    })
    .collect()
}

#[test]
fn every_store_that_is_there_gets_the_root_and_gives_it_back() {
    let scene = Scene::new();
    let before = scene.tree();
    let dry = scene.bootstrap().args(["--dry-run", "--json"]).ok().json();
    assert!(dry["plan"].to_string().contains(JKS), "{dry}");
    before.assert_same(&scene.tree(), "a dry run");
    let answer = scene.bootstrap().arg("--json").ok().json();
    let stores: Vec<&str> =
        answer["stores"].as_array().unwrap().iter().map(|store| store["path"].as_str().unwrap()).collect();
    assert_eq!(stores, [format!("/{JKS}"), format!("/{OTHER}"), format!("/{NSS}")], "{answer}");
    for path in [JKS, OTHER] {
        assert_eq!(scene.in_keystore(path), scene.both(), "{path}");
    }
    assert_eq!(scene.in_databases(), scene.both());
    let after = scene.tree();
    assert_eq!(scene.bootstrap().arg("--json").ok().json()["changed"], false);
    after.assert_same(&scene.tree(), "a second run");
    scene.trustup(["status"]).ok();
    // Somebody takes ours out of one store.
    scene.write(JKS, &jks(&[&scene.vendor], "changeit"));
    let status = scene.trustup(["status"]).fails(4);
    assert!(status.stdout.contains(&format!("missing    /{JKS}")), "{status}");
    scene.bootstrap().ok();
    assert_eq!(scene.in_keystore(JKS), scene.both());
    scene.trustup(["untrust", "--all"]).ok();
    before.assert_same(&scene.tree(), "after untrust");
}

#[test]
fn only_the_stores_that_are_named_are_changed() {
    let scene = Scene::new();
    let before = scene.tree();
    for (stores, changed) in [
        ("java", &[JKS, OTHER][..]),
        ("nss", &[NSS]),
        ("system", &[BUNDLE]),
        ("java,nss", &[JKS, OTHER, NSS]),
    ] {
        scene.bootstrap().args(["--stores", stores]).ok();
        let paths: BTreeSet<String> =
            before.changed_paths(&scene.tree()).into_iter().filter(|path| !path.starts_with("var")).collect();
        let expected = |path: &String| changed.iter().any(|store| path.starts_with(store));
        assert!(!paths.is_empty() && paths.iter().all(expected), "{stores}: {paths:?}");
        for store in changed {
            assert!(paths.iter().any(|path| path.starts_with(store)), "{stores} {store}: {paths:?}");
        }
        scene.trustup(["status"]).ok();
        scene.trustup(["untrust", "--all"]).ok();
        before.assert_same(&scene.tree(), stores);
    }
    // What was only in a keystore goes to the system too, once that is asked for.
    scene.bootstrap().args(["--stores", "java"]).ok();
    scene.bootstrap().ok();
    assert!(
        ca::fingerprint_set(&String::from_utf8(scene.read(BUNDLE)).unwrap()).contains(&scene.ca.fingerprint)
    );
    scene.trustup(["untrust", "--all"]).ok();
    before.assert_same(&scene.tree(), "after both");
}

/// A command that looks after no stores leaves those alone that others look after.
#[test]
fn installing_the_file_for_login_shells_leaves_the_stores_alone() {
    let scene = Scene::new();
    let before = scene.tree();
    scene.bootstrap().ok();
    let (keystore, cert9, key4) = (
        scene.in_keystore(JKS),
        scene.read(&format!("{NSS}/cert9.db")),
        scene.read(&format!("{NSS}/key4.db")),
    );
    scene.trustup(["env", "--install"]).ok();
    assert_eq!(scene.in_keystore(JKS), keystore);
    assert_eq!(scene.read(&format!("{NSS}/cert9.db")), cert9);
    assert_eq!(scene.read(&format!("{NSS}/key4.db")), key4);
    scene.trustup(["untrust", "--all"]).ok();
    before.assert_same(&scene.tree(), "untrust after env --install");
}

#[test]
fn what_others_changed_since_stays_and_only_ours_goes() {
    let scene = Scene::new();
    scene.bootstrap().ok();
    let other = ca::root("Somebody Else's Root");
    let mut keystore = Keystore::parse(&scene.read(JKS), &StorePassword::default()).unwrap();
    keystore.add("somebody-else", &certificate(&other), 5).unwrap();
    scene.write(JKS, &keystore.to_bytes(&mut |_| Ok(())).unwrap());
    let mut databases = scene.databases();
    databases.add(&certificate(&other), "somebody-else").unwrap();
    scene.write_databases(databases);
    assert_eq!(scene.bootstrap().arg("--json").ok().json()["warnings"].as_array().unwrap().len(), 0);
    scene.trustup(["untrust", "--all"]).ok();
    let rest: BTreeSet<Fingerprint> = [scene.vendor.fingerprint, other.fingerprint].into();
    assert_eq!((scene.in_keystore(JKS), scene.in_databases()), (rest.clone(), rest));
    assert!(!scene.at("var/lib/trustup").exists());
}

#[test]
fn a_second_root_joins_and_leaves_alone() {
    let scene = Scene::new();
    let before = scene.tree();
    scene.bootstrap().ok();
    let other = ca::root("Second Beside Root");
    let file = other.write(scene.given.path(), "other.pem");
    scene.trustup(["bootstrap", "--ca-file"]).arg(file).ok();
    let mut three = scene.both();
    three.insert(other.fingerprint);
    assert_eq!((scene.in_keystore(OTHER), scene.in_databases()), (three.clone(), three));
    scene.trustup(["untrust", "--fingerprint", &scene.ca.pin()]).ok();
    let two: BTreeSet<Fingerprint> = [scene.vendor.fingerprint, other.fingerprint].into();
    assert_eq!((scene.in_keystore(OTHER), scene.in_databases()), (two.clone(), two));
    scene.trustup(["status"]).ok();
    scene.trustup(["untrust", "--all"]).ok();
    before.assert_same(&scene.tree(), "after both");
}

/// Found by itself: left alone, with a warning. Named, or with `--strict`: an error before anything is written.
#[test]
fn what_cannot_be_changed_is_left_alone_or_an_error() {
    type Spoil = fn(&Scene);
    let spoil: [(&str, &str, Spoil); 7] = [
        ("java", "password", |scene| scene.write(JKS, &jks(&[&scene.vendor], "secret"))),
        ("java", "JCEKS", |scene| scene.write(JKS, b"\xce\xce\xce\xce\0\0\0\x02\0\0\0\0")),
        ("java", "", |scene| scene.write(JKS, &scene.read(JKS)[..100])),
        ("nss", "in use", |scene| scene.write(&format!("{NSS}/cert9.db-journal"), b"")),
        ("nss", "cert8.db", |scene| {
            fs::remove_file(scene.at(&format!("{NSS}/key4.db"))).unwrap();
            fs::remove_file(scene.at(&format!("{NSS}/cert9.db"))).unwrap();
            scene.write(&format!("{NSS}/cert8.db"), b"\0\x06\x15\x61");
        }),
        ("nss", "missing", |scene| fs::remove_file(scene.at(&format!("{NSS}/key4.db"))).unwrap()),
        ("nss", "", |scene| scene.write(&format!("{NSS}/cert9.db"), b"SQLite format 3\0 and then nothing")),
    ];
    for (store, says, spoil) in spoil {
        let scene = Scene::new();
        spoil(&scene);
        let before = scene.tree();
        for arguments in [&["--stores", store][..], &["--stores", "system,java,nss"], &["--strict"]] {
            let run = scene.bootstrap().args(arguments.iter().copied()).run();
            assert!(run.code.is_some_and(|code| code != 0 && code != 101), "{says}: {run}");
            run.says([says]);
            before.assert_same(&scene.tree(), says);
        }
        let answer = scene.bootstrap().arg("--json").ok().json();
        let left = skipped(&answer);
        assert_eq!(left.len(), 1, "{says}: {answer}");
        assert!(answer["warnings"].to_string().contains("left alone"), "{answer}");
        assert!(
            ca::fingerprint_set(&String::from_utf8(scene.read(BUNDLE)).unwrap())
                .contains(&scene.ca.fingerprint)
        );
        let status = scene.trustup(["status"]).ok();
        assert!(status.stdout.contains("skipped"), "{says}: {status}");
        scene.trustup(["untrust", "--all"]).ok();
        before.assert_same(&scene.tree(), says);
    }
}

/// Hints about a database that is not whole: each is followed as it is printed.
#[test]
fn a_database_that_is_not_whole_is_restored_or_made_anew() {
    let named = |scene: &Scene| scene.bootstrap().args(["--stores", "nss"]);
    let (cert9, key4) = (format!("{NSS}/cert9.db"), format!("{NSS}/key4.db"));
    let hint =
        "hint: restore it, or move the other file away: `--nss-db DIR` then makes a new database there";
    let scene = Scene::new();
    fs::rename(scene.at(&key4), scene.given.path().join("key4.db")).unwrap();
    named(&scene).fails(1).says(["`key4.db` is missing", hint]);
    fs::copy(scene.given.path().join("key4.db"), scene.at(&key4)).unwrap();
    named(&scene).ok();
    assert!(scene.in_databases().contains(&scene.ca.fingerprint));

    let scene = Scene::new();
    fs::remove_file(scene.at(&key4)).unwrap();
    named(&scene).fails(1).says([hint]);
    fs::rename(scene.at(&cert9), scene.given.path().join("cert9.db")).unwrap();
    named(&scene).args(["--nss-db", &format!("/{NSS}")]).ok();
    assert!(scene.in_databases().contains(&scene.ca.fingerprint));

    // A browser removes its journal when it ends.
    let scene = Scene::new();
    let journal = format!("{cert9}-journal");
    scene.write(&journal, b"");
    named(&scene).fails(1).says(["hint: stop the program that uses it (a browser), and run again"]);
    fs::remove_file(scene.at(&journal)).unwrap();
    named(&scene).ok();
    assert!(scene.in_databases().contains(&scene.ca.fingerprint));
}

#[test]
fn a_password_file_opens_what_a_password_closes() {
    let scene = Scene::new();
    scene.write(JKS, &jks(&[&scene.vendor], "secret"));
    let before = scene.tree();
    let file = scene.given.path().join("password");
    fs::write(&file, "secret\n").unwrap();
    let run = scene.bootstrap().args(["--stores", "java", "--java-storepass-file"]).arg(&file).run();
    // The other keystore has Java's own password: one password cannot open both.
    assert_eq!(run.code, Some(2), "{run}");
    fs::remove_file(scene.at(OTHER)).unwrap();
    fs::remove_dir_all(scene.at("usr/lib/jvm")).unwrap();
    let run = scene.bootstrap().args(["--java-storepass-file"]).arg(&file).ok();
    assert!(!run.stderr.contains("secret") && !run.stdout.contains("secret"), "{run}");
    let opened = Keystore::parse(&scene.read(JKS), &StorePassword::new("secret".to_owned())).unwrap();
    assert!(opened.fingerprints().contains(&scene.ca.fingerprint));
    scene.trustup(["untrust", "--all"]).ok();
    let expected: Vec<String> = before.changed_paths(&scene.tree());
    assert!(expected.iter().all(|path| path.starts_with("usr/lib")), "{expected:?}");
    scene.bootstrap().args(["--java-storepass-file", "/nonexistent"]).fails(2);
}

#[test]
fn the_shared_database_is_made_where_there_is_none() {
    let scene = Scene::new();
    fs::remove_dir_all(scene.at("home/user/.pki")).unwrap();
    if rustix::process::geteuid().is_root() {
        // What is made in a user's home is the user's.
        std::os::unix::fs::chown(scene.at("home/user"), Some(1000), Some(1000)).unwrap();
    }
    let before = scene.tree();
    scene.bootstrap().ok();
    assert!(!scene.at("home/user/.local").exists(), "only with the word");
    scene.trustup(["untrust", "--all"]).ok();
    scene.bootstrap().args(["--create-nss", "--nss-user", "user"]).ok();
    let made = scene.at("home/user/.local/share/pki/nssdb");
    let home = fs::metadata(scene.at("home/user")).unwrap();
    for directory in made.ancestors().take(4) {
        let meta = fs::metadata(directory).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (home.uid(), home.gid()), "{}", directory.display());
    }
    assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o7777, 0o700);
    for name in ["cert9.db", "key4.db"] {
        let meta = fs::metadata(made.join(name)).unwrap();
        assert_eq!((meta.permissions().mode() & 0o7777, meta.uid()), (0o600, home.uid()));
    }
    assert_eq!(
        scene.bootstrap().args(["--create-nss", "--nss-user", "user", "--json"]).ok().json()["changed"],
        false
    );
    scene.trustup(["untrust", "--all"]).ok();
    before.assert_same(&scene.tree(), "the directories that were made go too");
    scene.bootstrap().args(["--nss-user", "nobody-there"]).fails(2).says(["nobody-there"]);
    scene.bootstrap().args(["--nss-db", "relative"]).fails(2);
    scene.bootstrap().args(["--stores", "java", "--create-nss"]).fails(2);
    scene.bootstrap().args(["--nss-db", "/srv/browser/db"]).ok();
    assert!(scene.at("srv/browser/db/cert9.db").exists());
    scene.trustup(["untrust", "--all"]).ok();
    before.assert_same(&scene.tree(), "a named database");
}

/// SIGKILL before every step: each file is the old one or the new one, and the next run completes it.
#[test]
fn killed_at_any_step_every_store_is_whole() {
    for step in 1.. {
        let scene = Scene::new();
        let before = scene.tree();
        let killed = scene.bootstrap().killed_at(step).run();
        for path in [JKS, OTHER] {
            assert!(scene.in_keystore(path).contains(&scene.vendor.fingerprint), "step {step} {path}");
        }
        let believed = scene.in_databases();
        assert!(believed.contains(&scene.vendor.fingerprint), "step {step}");
        let turned_back = scene.trustup(["untrust", "--all"]).ok();
        before.assert_same(&scene.tree(), &format!("step {step}: {turned_back}"));
        if killed.code.is_some() {
            assert!(step > 5);
            break;
        }
    }
}

/// Threat T13: a user who exchanges a directory for a link leads root nowhere.
#[test]
fn no_link_below_a_home_is_followed() {
    let scene = Scene::new();
    fs::rename(scene.at(NSS), scene.at("srv-real")).unwrap();
    std::os::unix::fs::symlink("/srv-real", scene.at(NSS)).unwrap();
    let before = scene.tree();
    scene.bootstrap().args(["--stores", "nss"]).ok();
    let changed = before.changed_paths(&scene.tree());
    assert!(changed.iter().all(|path| path.starts_with("var")), "{changed:?}");
}

/// Threat T18: a hot journal makes some versions of SQLite delete the file that it names; ours never sees it.
#[test]
fn t18_a_hot_journal_is_nobodys_order() {
    let scene = Scene::new();
    let outside = scene.given.path().join("outside");
    fs::write(&outside, "kept").unwrap();
    // A journal with a header, and at its end the name of a "super-journal", its length, its checksum and the magic.
    const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    let name = outside.to_str().unwrap().as_bytes();
    let checksum = name.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    let mut journal = [&MAGIC[..], &0_u32.to_be_bytes(), &1_u32.to_be_bytes(), &7_u32.to_be_bytes()].concat();
    journal.extend([512_u32.to_be_bytes(), 4096_u32.to_be_bytes()].concat());
    journal.resize(512, 0);
    journal.extend([&1_u32.to_be_bytes(), name, &(name.len() as u32).to_be_bytes()].concat());
    journal.extend([&checksum.to_be_bytes()[..], &MAGIC].concat());
    for database in ["cert9.db", "key4.db"] {
        let path = format!("{NSS}/{database}-journal");
        scene.write(&path, &journal);
        let before = Tree::of(&scene.at(NSS));
        for command in [&["detect"][..], &["status"], &["doctor"]] {
            scene.trustup(command.iter().copied()).run();
        }
        scene.bootstrap().arg("--dry-run").ok();
        scene.bootstrap().args(["--stores", "nss"]).fails(1).says(["in use"]);
        scene.bootstrap().ok().says(["left alone"]);
        scene.trustup(["untrust", "--all"]).ok();
        before.assert_same(&Tree::of(&scene.at(NSS)), database);
        assert_eq!(fs::read_to_string(&outside).unwrap(), "kept");
        fs::remove_file(scene.at(&path)).unwrap();
    }
    // A database that is a link out of the user's directory.
    fs::rename(scene.at(&format!("{NSS}/cert9.db")), scene.at("elsewhere")).unwrap();
    std::os::unix::fs::symlink("/elsewhere", scene.at(&format!("{NSS}/cert9.db"))).unwrap();
    let before = scene.read("elsewhere");
    let run = scene.bootstrap().args(["--stores", "nss"]).run();
    assert!(run.code.is_some_and(|code| code != 101), "{run}");
    assert_eq!(scene.read("elsewhere"), before, "{run}");
}
