//! What a run may read and compute (threat T36): an image of a megabyte, or one that another user can write in, must not take
//! memory or time without bound, nor keep a run from doing what is right without those files.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use trustup::pki::cert::Certificate;
use trustup::pki::fingerprint::Fingerprint;
use trustup::pki::keystore::Keystore;
use trustup::pki::nss::Databases;

use crate::support::ca::{self, Root};
use crate::support::run::{Run, Trustup, unpacked};
use crate::support::tree::{self, Tree};

/// The largest file that any reader takes.
const LARGEST: u64 = 32 * 1024 * 1024;
/// Address space in MiB and processor time in seconds, with room for debug builds: before there were budgets, 150 sparse files
/// took 12,000 MiB, and 5,000 roots of one subject half an hour of a debug build.
const MEMORY: u64 = 700;
const TIME: u64 = 60;

/// An image, and a root for it.
struct Scene {
    root: tempfile::TempDir,
    given: tempfile::TempDir,
    ca: Root,
}

impl Scene {
    fn new(fixture: &str) -> Scene {
        let scene = Scene {
            root: unpacked(fixture),
            given: tempfile::tempdir().unwrap(),
            ca: ca::root("Budget Root"),
        };
        scene.ca.write(scene.given.path(), "root.pem");
        scene
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, content: &[u8]) {
        tree::write(self.root.path(), path, content);
    }

    /// A file of this size without a single block.
    fn sparse(&self, path: &str, size: u64) {
        sparse(&self.at(path), size);
    }

    fn trustup(&self, args: &[&str], fallback: bool) -> Trustup {
        let run = Trustup::at(self.root.path(), args);
        let run = if fallback { run.without_openat2() } else { run };
        run.limited(MEMORY, TIME)
    }

    fn bootstrap(&self, fallback: bool) -> Trustup {
        self.trustup(&["bootstrap", "--json", "--ca-file"], fallback).arg(self.given.path().join("root.pem"))
    }

    fn held(&self, path: &str) -> BTreeSet<Fingerprint> {
        Keystore::trusted_without_password(&fs::read(self.at(path)).unwrap()).unwrap().into_iter().collect()
    }
}

fn sparse(path: &Path, size: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(path).unwrap().set_len(size).unwrap();
}

fn jks(root: &Root) -> Vec<u8> {
    let mut keystore = Keystore::new_jks();
    let certificate = Certificate::from_der(&root.der).unwrap();
    assert!(keystore.add("vendor", &certificate, 1_000).unwrap());
    keystore.to_bytes(&mut |_| Ok(())).unwrap()
}

/// The warnings and errors of a run with `--json`.
fn said(run: &Run) -> String {
    let json = run.json();
    format!("{} {}", json["warnings"], json["error"])
}

/// With openat2, and refused.
const BOTH: [bool; 2] = [false, true];

#[test]
fn t36_sparse_files_among_the_inputs_are_an_error_that_names_one() {
    for (fixture, directory, ending) in [
        ("debian-12", "usr/local/share/ca-certificates", "crt"),
        ("debian-12", "etc/ssl/certs", "pem"),
        ("alpine-3.20", "usr/local/share/ca-certificates", "crt"),
        ("rocky-9", "etc/pki/ca-trust/source/anchors", "pem"),
        ("rocky-9", "usr/share/pki/ca-trust-source/anchors", "pem"),
        ("opensuse-leap-15.6", "etc/pki/trust/anchors", "pem"),
        ("arch", "etc/ca-certificates/trust-source/anchors", "pem"),
        ("photon-5", "etc/ssl/certs", "pem"),
    ] {
        for fallback in BOTH {
            let scene = Scene::new(fixture);
            let before = Tree::of(scene.root.path());
            fs::create_dir_all(scene.at(directory)).unwrap();
            let files: Vec<String> =
                (0..150).map(|n| format!("{directory}/sparse-{n:03}.{ending}")).collect();
            // Of one size but for one, which is the largest.
            files.iter().for_each(|file| scene.sparse(file, LARGEST - 4096));
            scene.sparse(&files[0], LARGEST);
            let place = format!("{fixture}, {directory}, openat2 refused: {fallback}");
            let run = scene.bootstrap(fallback).run();
            assert_eq!(run.code, Some(1), "{place}: {run}");
            for part in [
                "more than 64 MiB",
                "the largest is",
                "sparse-000",
                "32768 KiB",
                "if it holds no roots that you need, move it to another directory",
            ] {
                assert!(run.stdout.contains(part), "{place}: {part}: {run}");
            }
            for file in &files {
                fs::remove_file(scene.at(file)).unwrap();
            }
            if before.changed_paths(&Tree::of(scene.root.path())).iter().any(|path| path != directory) {
                before.assert_same(&Tree::of(scene.root.path()), &place);
            }
            // What the hint says helps.
            scene.bootstrap(fallback).ok();
        }
    }
}

#[test]
fn t36_other_commands_have_the_same_budget() {
    let scene = Scene::new("debian-12");
    scene.bootstrap(false).ok();
    for n in 0..150 {
        scene.sparse(&format!("usr/local/share/ca-certificates/sparse-{n}.crt"), LARGEST);
        scene.sparse(&format!("etc/ssl/certs/sparse-{n}.pem"), LARGEST);
    }
    for command in
        [&["status"][..], &["untrust", "--all"], &["doctor"], &["bootstrap", "--repair", "--ca-file", "-"]]
    {
        let run = scene.trustup(command, false).stdin(scene.ca.pem.as_bytes()).run();
        assert_eq!(run.code, Some(1), "{command:?}: {run}");
        run.says(["more than 64 MiB", "the largest is"]);
    }
    // It reads no anchor files.
    scene.trustup(&["detect"], false).ok();
}

#[test]
fn t36_hard_links_to_one_large_file_count_each() {
    let scene = Scene::new("debian-12");
    let first = "usr/local/share/ca-certificates/first.crt";
    scene.sparse(first, LARGEST);
    for n in 0..100 {
        let name = format!("usr/local/share/ca-certificates/name-{n}.crt");
        fs::hard_link(scene.at(first), scene.at(&name)).unwrap();
    }
    let run = scene.bootstrap(false).fails(1);
    assert!(run.stdout.contains("more than 64 MiB"), "{run}");
}

#[test]
fn t36_a_directory_that_is_given_has_a_budget() {
    let scene = Scene::new("debian-12");
    let given = tempfile::tempdir().unwrap();
    (0..100).for_each(|n| sparse(&given.path().join(format!("{n:03}.crt")), LARGEST));
    scene.ca.write(given.path(), "zz.crt");
    let before = Tree::of(scene.root.path());
    let run = scene.trustup(&["bootstrap", "--ca-file"], false).arg(given.path()).fails(1);
    run.says(["more than 64 MiB", "the largest is", "000.crt"]);
    before.assert_same(&Tree::of(scene.root.path()), "after the error");
}

#[test]
fn t36_stores_of_other_users_are_left_alone_and_the_systems_are_not() {
    for fallback in BOTH {
        let scene = Scene::new("debian-12-openjdk-17");
        let java = "etc/ssl/certs/java/cacerts";
        let systems = scene.held(java);
        assert!(!systems.is_empty());
        scene.write("usr/lib/jvm/other/lib/security/cacerts", &jks(&ca::root("Vendor Root")));
        scene.write("etc/passwd", b"root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n");
        let mut databases = Databases::new().unwrap();
        databases.add(&Certificate::from_der(&ca::root("Vendor Root").der).unwrap(), "Vendor").unwrap();
        let files = databases.into_files().unwrap();
        scene.write("etc/pki/nssdb/key4.db", &files.key4);
        scene.write("etc/pki/nssdb/cert9.db", &files.cert9);
        for n in 0..60 {
            scene.sparse(&format!("home/user/.sdkman/candidates/java/{n:02}/lib/security/cacerts"), LARGEST);
            // One byte more than any reader takes.
            scene.sparse(
                &format!("home/user/.sdkman/candidates/java/x{n:02}/lib/security/cacerts"),
                LARGEST + 1,
            );
            scene.sparse(&format!("home/user/.mozilla/firefox/{n:02}.default/cert9.db"), LARGEST);
            scene.sparse(&format!("home/user/.mozilla/firefox/{n:02}.default/key4.db"), LARGEST);
        }
        if rustix::process::geteuid().is_root() {
            chown_all(&scene.at("home/user"));
        }
        let run = scene.bootstrap(fallback).ok();
        let warnings = said(&run);
        assert!(warnings.matches("is left alone").count() >= 170, "{warnings}");
        for part in ["more than 32 MiB together", "more than a trust store may have"] {
            assert!(warnings.contains(part), "{part}: {run}");
        }
        for path in [java, "usr/lib/jvm/other/lib/security/cacerts"] {
            assert!(scene.held(path).contains(&scene.ca.fingerprint), "{path}: {warnings}");
        }
        let [cert9, key4] =
            ["cert9", "key4"].map(|name| fs::read(scene.at(&format!("etc/pki/nssdb/{name}.db"))).unwrap());
        let entries = Databases::open(&cert9, &key4, None).unwrap().entries().unwrap();
        assert!(entries.iter().any(|entry| entry.fingerprint == scene.ca.fingerprint), "{warnings}");
        scene.trustup(&["status"], fallback).ok();
        scene.trustup(&["untrust", "--all"], fallback).ok();
        assert_eq!(scene.held(java), systems);
    }
}

fn chown_all(path: &Path) {
    std::os::unix::fs::lchown(path, Some(1000), Some(1000)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| chown_all(&entry.unwrap().path()));
    }
}

/// A DER element.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = match body.len() {
        short @ 0..=0x7f => vec![short as u8],
        long @ 0x80..=0xff => vec![0x81, long as u8],
        _ => panic!("none of these tests needs more"),
    };
    [&[tag][..], &length, &body].concat()
}

/// A keystore (PKCS#12) whose MAC asks for this many iterations.
fn costly(iterations: u32) -> Vec<u8> {
    const DATA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    const SHA256: &[u8] = &[0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0];
    let content = tlv(0xa0, &[&tlv(4, &[&tlv(0x30, &[])])]);
    let digest = tlv(0x30, &[SHA256, &tlv(4, &[&[7; 32]])]);
    let count = tlv(2, &[&iterations.to_be_bytes()]);
    let mac = tlv(0x30, &[&digest, &tlv(4, &[b"the salt"]), &count]);
    tlv(0x30, &[&[2, 1, 3], &tlv(0x30, &[DATA, &content]), &mac])
}

#[test]
fn t36_keystores_that_cost_too_much_are_left_alone() {
    for fallback in BOTH {
        let scene = Scene::new("debian-12-openjdk-17");
        let java = "etc/ssl/certs/java/cacerts";
        // The most that one keystore may ask for: a wrong password shows after 5 million iterations.
        for n in 0..40 {
            scene.write(&format!("opt/jdk-{n:02}/lib/security/cacerts"), &costly(4_999_999));
        }
        let run = scene.bootstrap(fallback).ok();
        let warnings = said(&run);
        // Not one of them was opened: then its password would be said to be wrong.
        assert_eq!(warnings.matches("iterations of key derivation together").count(), 40, "{run}");
        assert!(!warnings.contains("password is wrong"), "{run}");
        assert!(warnings.contains("`--stores java` changes it anyway"), "{run}");
        assert!(scene.held(java).contains(&scene.ca.fingerprint), "{run}");
        if !fallback {
            // Two of them may be opened for a look.
            let detected = scene.trustup(&["detect", "--json"], false).ok();
            assert!(
                detected.stdout.matches("iterations of key derivation together").count() >= 38,
                "{detected}"
            );
        }
        scene.trustup(&["untrust", "--all"], fallback).ok();
    }
}

#[test]
fn t36_small_costs_add_up() {
    // Each of them is cheap. A plan may open and write one several times, which is set aside for each.
    let scene = Scene::new("debian-12-openjdk-17");
    for n in 0..40 {
        scene.write(&format!("opt/jdk-{n:02}/lib/security/cacerts"), &costly(100_000));
    }
    let warnings = said(&scene.bootstrap(false).ok());
    let opened = warnings.matches("password is wrong").count();
    let left = warnings.matches("iterations of key derivation together").count();
    assert_eq!(opened + left, 40, "{warnings}");
    // 10 million for all: 100,000 for the MAC and as many for the certificates that it would get, six times each.
    assert_eq!(opened, 8, "{warnings}");
}

/// The files of an NSS database with a password that takes this many iterations to try.
fn costly_database(iterations: u32) -> [(&'static str, Vec<u8>); 2] {
    const PBES2: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
    const PBKDF2: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c";
    const HMAC_SHA256: &[u8] = b"\x06\x08\x2a\x86\x48\x86\xf7\x0d\x02\x09";
    const AES_256_CBC: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2a";
    let files = Databases::new().unwrap().into_files().unwrap();
    let parameters = [
        tlv(4, &[&[7; 32]]),
        tlv(2, &[&iterations.to_be_bytes()]),
        tlv(2, &[&[32]]),
        tlv(0x30, &[HMAC_SHA256]),
    ];
    let derivation = tlv(0x30, &[PBKDF2, &tlv(0x30, &parameters.each_ref().map(Vec::as_slice))]);
    let encryption = tlv(0x30, &[AES_256_CBC, &tlv(4, &[&[7; 14]])]);
    let algorithm = tlv(0x30, &[PBES2, &tlv(0x30, &[&derivation, &encryption])]);
    let item = tlv(0x30, &[&algorithm, &tlv(4, &[&[7; 16]])]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key4.db");
    fs::write(&path, &files.key4).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    let sql = "INSERT INTO metaData (id, item1, item2) VALUES ('password', ?, ?)";
    connection.execute(sql, rusqlite::params![[7_u8; 20], item]).unwrap();
    connection.close().unwrap();
    [("cert9.db", files.cert9), ("key4.db", fs::read(&path).unwrap())]
}

#[test]
fn t36_databases_that_cost_too_much_are_left_alone() {
    let scene = Scene::new("debian-12");
    scene.write("etc/passwd", b"root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n");
    let profile = |n: usize| format!("home/user/.mozilla/firefox/{n:02}.default");
    for n in 0..20 {
        // Not twice the same bytes, as in real profiles.
        for (name, content) in costly_database(300_000 - n as u32) {
            scene.write(&format!("{}/{name}", profile(n)), &content);
        }
    }
    let password = scene.given.path().join("password");
    fs::write(&password, "a guess").unwrap();
    let warnings = said(&scene.bootstrap(false).arg("--nss-password-file").arg(&password).ok());
    let left = warnings.matches("iterations of key derivation together").count();
    // 300,000 for each of five openings: six fit into 10 million.
    assert_eq!((warnings.matches("is left alone").count(), left), (20, 14), "{warnings}");
    assert!(warnings.contains("`--stores nss` changes it anyway"), "{warnings}");
    // Without a password none is tried.
    let warnings = said(&scene.bootstrap(false).ok());
    assert!(!warnings.contains("iterations of key derivation together"), "{warnings}");
}

/// Certificates with one subject and different serial numbers, as many as there are numbers.
fn of_one_subject(numbers: std::ops::Range<u64>) -> impl Iterator<Item = Vec<u8>> {
    let mut params = ca::root_params("The Same Subject");
    params.serial_number = Some(rcgen::SerialNumber::from_slice(b"ABCDEFGH"));
    let der = ca::root_with(params).der;
    let at = der.windows(8).position(|part| part == b"ABCDEFGH").unwrap();
    numbers.map(move |number| {
        let mut der = der.clone();
        der[at..at + 8].copy_from_slice(&(1 << 62 | number).to_be_bytes());
        der
    })
}

#[test]
fn t36_thousands_of_roots_with_one_subject_take_no_time() {
    // A limit of processor time, not of the clock: with a pass over all of them for each, debug builds take half an hour.
    for (fixture, directory, ending) in [
        ("debian-12", "usr/local/share/ca-certificates", "crt"),
        ("photon-5", "etc/ssl/certs", "pem"),
        ("rocky-9", "etc/pki/ca-trust/source/anchors", "pem"),
        ("arch", "etc/ca-certificates/trust-source/anchors", "pem"),
    ] {
        let scene = Scene::new(fixture);
        for (number, der) in of_one_subject(0..5_000).enumerate() {
            scene.write(
                &format!("{directory}/same-{number:04}.{ending}"),
                ca::pem("CERTIFICATE", &der).as_bytes(),
            );
        }
        scene.bootstrap(false).arg("--dry-run").ok();
        // The doctor finds much to say of them.
        let doctor = scene.trustup(&["doctor"], false).run();
        assert!(doctor.code.is_some(), "{fixture}: {doctor}");
    }
}

#[test]
fn t36_more_certificates_than_any_store_holds_are_an_error() {
    let scene = Scene::new("debian-12");
    let bundle = "etc/ssl/certs/ca-certificates.crt";
    let first = fs::read_to_string(scene.at(bundle)).unwrap();
    let many: String = of_one_subject(0..20_000).map(|der| ca::pem("CERTIFICATE", &der)).collect();
    scene.write(bundle, (first.clone() + &many).as_bytes());
    let before = Tree::of(scene.root.path());
    let run = scene.bootstrap(false).fails(1);
    for part in ["more than 20000 certificates", "ca-certificates.crt", "remove those that you do not need"] {
        assert!(run.stdout.contains(part), "{part}: {run}");
    }
    before.assert_same(&Tree::of(scene.root.path()), "after the error");
    scene.trustup(&["detect"], false).fails(1);
    scene.write(bundle, first.as_bytes());
    scene.bootstrap(false).ok();
}

#[test]
fn t38_a_bundle_that_no_run_could_read_is_not_written() {
    let scene = Scene::new("debian-12");
    let block = ca::pem("CERTIFICATE", &scene.ca.der);
    let part = block.repeat((1 << 20) / block.len());
    for n in 0..34 {
        scene.write(&format!("usr/local/share/ca-certificates/large-{n}.crt"), part.as_bytes());
    }
    let before = Tree::of(scene.root.path());
    let run = scene.trustup(&["bootstrap", "--ca-file", "-"], false).stdin(ca::root("Other").pem).fails(1);
    run.says(["this file would have", "ca-certificates.crt", "check the directories of anchors: move files"]);
    before.assert_same(&Tree::of(scene.root.path()), "after the error");
    fs::create_dir_all(scene.at("srv/other")).unwrap();
    for n in 0..34 {
        let moved = scene.at(&format!("srv/other/{n}"));
        fs::rename(scene.at(&format!("usr/local/share/ca-certificates/large-{n}.crt")), moved).unwrap();
    }
    scene.trustup(&["bootstrap", "--ca-file", "-"], false).stdin(ca::root("Other").pem).ok();
}

#[test]
fn t36_doctor_reads_parts_of_programs() {
    let scene = Scene::new("debian-12");
    let programs =
        ["curl", "wget", "git", "node", "openssl"].map(|name| scene.at(&format!("usr/bin/{name}")));
    for path in &programs {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(path);
        fs::write(path, super::doctor::elf("\0libgnutls.so.30\0libcurl-gnutls.so.4\0libssl.so.3\0")).unwrap();
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let asked = || scene.trustup(&["doctor", "--json"], false).run().json();
    let small = asked();
    assert!(small["error"].is_null() && small["clients"].to_string().contains("/usr/bin/wget"), "{small}");
    // However large a program is, the same is known of it.
    for path in &programs {
        File::options().write(true).open(path).unwrap().set_len(8 << 30).unwrap();
    }
    assert_eq!(asked()["clients"], small["clients"]);
    // Their sections may be as large: they are not read.
    for path in &programs {
        let mut program = super::doctor::elf("\0libgnutls.so.30\0");
        let header = program.len() - 128 + 0x20;
        program[header..header + 8].copy_from_slice(&(4_u64 << 30).to_le_bytes());
        fs::write(path, &program).unwrap();
        File::options().write(true).open(path).unwrap().set_len(8 << 30).unwrap();
    }
    assert!(asked()["error"].is_null());
}

/// What legitimate systems take is far from the limits.
#[test]
fn t36_a_large_distribution_and_several_javas_are_far_from_the_limits() {
    let scene = Scene::new("rocky-9");
    for (number, der) in of_one_subject(0..388).enumerate() {
        let file = format!("etc/pki/ca-trust/source/anchors/ours-{number}.pem");
        scene.write(&file, ca::pem("CERTIFICATE", &der).as_bytes());
    }
    let mut keystore = Keystore::new_jks();
    for der in of_one_subject(0..150) {
        let certificate = Certificate::from_der(&der).unwrap();
        assert!(keystore.add(&certificate.fingerprint().hex(), &certificate, 1_000).unwrap());
    }
    let cacerts = keystore.to_bytes(&mut |_| Ok(())).unwrap();
    for n in 0..30 {
        scene.write(&format!("opt/jdk-{n:02}/lib/security/cacerts"), &cacerts);
    }
    let run = scene.bootstrap(false).ok();
    assert!(!said(&run).contains("left alone"), "{run}");
    for n in 0..30 {
        assert!(scene.held(&format!("opt/jdk-{n:02}/lib/security/cacerts")).contains(&scene.ca.fingerprint));
    }
    scene.trustup(&["status"], false).ok();
    scene.trustup(&["untrust", "--all"], false).ok();
}

#[test]
fn t36_files_that_one_person_names_have_limits_of_their_own() {
    // A keystore of 32 MiB that was named is an error, not a warning.
    let scene = Scene::new("debian-12");
    for n in 0..60 {
        scene.sparse(&format!("opt/jdk-{n:02}/lib/security/cacerts"), LARGEST);
    }
    let run = scene.bootstrap(false).args(["--stores", "java"]).run();
    assert!(matches!(run.code, Some(1 | 2 | 5)), "{run}");
}
