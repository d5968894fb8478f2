//! Links and directories of other users (threat T35): root is led nowhere by them. Most of it needs root, who can give files
//! away.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{CWD, RenameFlags, inotify};
use trustup::pki::cert::Certificate;
use trustup::pki::fingerprint::Fingerprint;
use trustup::pki::keystore::{Keystore, StorePassword};

use crate::support::ca::{self, Root};
use crate::support::enrollment::{self, mode};
use crate::support::run::{Run, Trustup};
use crate::support::tree::{self, Tree};

const USER: u32 = 1000;
const SYSTEM: &str = "etc/ssl/certs/java/cacerts";
const HOME: &str = "home/u/.sdkman/candidates/java/x";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Gives everything at and below `path` to the user, links themselves included.
fn give(path: &Path) {
    lchown(path, Some(USER), Some(USER)).expect("given away");
    if fs::symlink_metadata(path).expect("there").is_dir() {
        fs::read_dir(path).expect("listed").for_each(|entry| give(&entry.expect("entry").path()));
    }
}

/// A keystore of these roots, and an entry of `padding` bytes that makes reading it slow.
fn jks(roots: &[&Root], padding: usize) -> Vec<u8> {
    let utf = |text: &str| [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat();
    let number = |number: usize| u32::try_from(number).unwrap().to_be_bytes();
    let count = roots.len() + usize::from(padding > 0);
    let mut bytes = [&[0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2][..], &number(count)].concat();
    for (index, root) in roots.iter().enumerate() {
        bytes.extend(number(2));
        bytes.extend(utf(&format!("e{index}")));
        bytes.extend([0; 8]);
        bytes.extend(utf("X.509"));
        bytes.extend(number(root.der.len()));
        bytes.extend(&root.der);
    }
    if padding > 0 {
        bytes.extend(number(1));
        bytes.extend(utf("pad"));
        bytes.extend([0; 8]);
        bytes.extend(number(padding));
        bytes.extend(vec![b'A'; padding]);
        bytes.extend(number(0));
    }
    let password = b"\0c\0h\0a\0n\0g\0e\0i\0t";
    let signed = [&password[..], b"Mighty Aphrodite", &bytes].concat();
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &signed);
    bytes.extend(digest.as_ref());
    bytes
}

fn held(path: &Path) -> BTreeSet<Fingerprint> {
    let keystore = Keystore::parse(&fs::read(path).unwrap(), &StorePassword::default()).unwrap();
    keystore.fingerprints().into_iter().collect()
}

/// A system with a Java keystore of root's, and a user with a Java in the home directory.
struct Scene {
    root: tempfile::TempDir,
    given: tempfile::TempDir,
    good: Root,
    evil: Root,
    ours: Root,
}

impl Scene {
    fn new(padding: usize) -> Scene {
        let scene = Scene {
            root: tempfile::tempdir().unwrap(),
            given: tempfile::tempdir().unwrap(),
            good: ca::root("Vendor Root"),
            evil: ca::root("Evil Root"),
            ours: ca::root("Our Root"),
        };
        scene.ours.write(scene.given.path(), "root.pem");
        scene.write("etc/ssl/certs/ca-certificates.crt", scene.good.pem.as_bytes());
        scene.write(SYSTEM, &jks(&[&scene.good], 0));
        scene.write(&format!("{HOME}/lib/security/cacerts"), &jks(&[&scene.evil, &scene.good], padding));
        give(&scene.at("home/u"));
        scene
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, content: &[u8]) {
        tree::write(self.root.path(), path, content);
    }

    fn trustup<'a>(&self, args: impl IntoIterator<Item = &'a str>, fallback: bool) -> Trustup {
        let trustup = Trustup::at(self.root.path(), args);
        if fallback { trustup.without_openat2() } else { trustup }
    }

    fn bootstrap(&self, fallback: bool) -> Run {
        self.trustup(["bootstrap", "--json", "--ca-file"], fallback)
            .arg(self.given.path().join("root.pem"))
            .run()
    }

    /// The system's keystore is root's, and nobody brought a root into it that nobody asked for.
    #[track_caller]
    fn assert_system_is_safe(&self, run: &Run) {
        let meta = fs::symlink_metadata(self.at(SYSTEM)).expect("still there");
        assert_eq!(
            (meta.uid(), meta.permissions().mode() & 0o7777, meta.is_file()),
            (0, 0o644, true),
            "{run}"
        );
        let held = held(&self.at(SYSTEM));
        assert!(held.contains(&self.good.fingerprint) && !held.contains(&self.evil.fingerprint), "{run}");
    }
}

/// Stops the attacker however the test ends: a panic would wait for it for ever.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The user's directory of a keystore is exchanged for a link to the system's when trustup has opened the keystore for
/// the `number`th time. Says whether it came to that.
fn swap_at(number: usize, scene: &Scene, fallback: bool) -> (bool, Run) {
    let lib = scene.at(&format!("{HOME}/lib"));
    let (security, link) = (lib.join("security"), lib.join("evil"));
    symlink("/etc/ssl/certs/java", &link).unwrap();
    lchown(&link, Some(USER), Some(USER)).unwrap();
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, security.join("cacerts"), inotify::WatchFlags::OPEN).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            let mut buffer = [const { std::mem::MaybeUninit::uninit() }; 4096];
            let mut opens = 0;
            while opens < number {
                if stop.load(Ordering::Relaxed) {
                    return false;
                }
                let mut reader = inotify::Reader::new(&watch, &mut buffer);
                while reader.next().is_ok() {
                    opens += 1;
                    if reader.is_buffer_empty() {
                        break;
                    }
                }
                thread::yield_now();
            }
            rustix::fs::renameat_with(CWD, &security, CWD, &link, RenameFlags::EXCHANGE).unwrap();
            true
        });
        let stopping = Stop(&stop);
        let run = scene.bootstrap(fallback);
        drop(stopping);
        (attacker.join().unwrap(), run)
    })
}

fn swapped_while_it_is_read(fallback: bool) {
    if !is_root() {
        return;
    }
    let (mut swaps, mut writes) = (0, 0);
    for number in 1..=12 {
        let scene = Scene::new(4_000_000);
        let (swapped, run) = swap_at(number, &scene, fallback);
        assert!(matches!(run.code, Some(0 | 1 | 5 | 7)), "{run}");
        scene.assert_system_is_safe(&run);
        swaps += usize::from(swapped);
        let of_user = ["security", "evil"].map(|name| scene.at(&format!("{HOME}/lib/{name}")));
        for directory in of_user.iter().filter(|path| path.symlink_metadata().is_ok_and(|meta| meta.is_dir()))
        {
            let cacerts = directory.join("cacerts");
            writes += usize::from(held(&cacerts).contains(&scene.ours.fingerprint));
            assert_eq!(fs::metadata(&cacerts).unwrap().uid(), USER, "{run}");
        }
    }
    // Both happened: the exchange, and the write that it is about.
    assert!(swaps >= 3, "only {swaps} exchanges");
    assert!(writes >= 1, "the user's keystore was never written");
}

#[test]
fn t35_a_directory_of_a_user_swapped_for_a_link_while_a_keystore_is_read() {
    swapped_while_it_is_read(false);
}

#[test]
fn t35_a_directory_of_a_user_swapped_for_a_link_while_a_keystore_is_read_without_openat2() {
    swapped_while_it_is_read(true);
}

/// The same exchange as fast as it goes.
#[test]
fn t35_a_directory_of_a_user_swapped_for_a_link_all_the_time() {
    if !is_root() {
        return;
    }
    for fallback in [false, true] {
        let scene = Scene::new(0);
        let lib = scene.at(&format!("{HOME}/lib"));
        let (security, link) = (lib.join("security"), lib.join("evil"));
        symlink("/etc/ssl/certs/java", &link).unwrap();
        lchown(&link, Some(USER), Some(USER)).unwrap();
        let stop = AtomicBool::new(false);
        let (mut done, mut swaps) = (0, 0_u64);
        thread::scope(|scope| {
            let attacker = scope.spawn(|| {
                let mut swaps = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    rustix::fs::renameat_with(CWD, &security, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                    swaps += 1;
                }
                swaps
            });
            let stopping = Stop(&stop);
            for round in 0..60 {
                let run = match round % 2 {
                    0 => scene.bootstrap(fallback),
                    _ => scene.trustup(["untrust", "--all"], fallback).run(),
                };
                assert!(matches!(run.code, Some(0 | 1 | 5 | 7)), "{run}");
                done += usize::from(run.code == Some(0));
                scene.assert_system_is_safe(&run);
            }
            drop(stopping);
            swaps = attacker.join().unwrap();
        });
        assert!(swaps > 1_000 && done > 0, "{swaps} exchanges, {done} runs succeeded");
    }
}

/// A link of a user to a directory of root's is not followed; one to a directory of that user is, and what is written
/// there is that user's.
#[test]
fn t35_a_link_leads_only_to_what_its_owner_owns() {
    if !is_root() {
        return;
    }
    for fallback in [false, true] {
        let scene = Scene::new(0);
        // SDKMAN's `current`, and a link into the system.
        symlink("x", scene.at("home/u/.sdkman/candidates/java/current")).unwrap();
        fs::create_dir_all(scene.at("home/u/.sdkman/candidates/java/bad/lib")).unwrap();
        symlink("/etc/ssl/certs/java", scene.at("home/u/.sdkman/candidates/java/bad/lib/security")).unwrap();
        give(&scene.at("home/u"));
        let run = scene.bootstrap(fallback);
        assert_eq!(run.code, Some(0), "{run}");
        scene.assert_system_is_safe(&run);
        let of_user = scene.at(&format!("{HOME}/lib/security/cacerts"));
        assert!(held(&of_user).contains(&scene.ours.fingerprint), "{run}");
        assert_eq!(fs::metadata(&of_user).unwrap().uid(), USER);
        // A link of root's is root's decision.
        let scene = Scene::new(0);
        fs::remove_file(scene.at(SYSTEM)).unwrap();
        scene.write("srv/java/cacerts", &jks(&[&scene.good], 0));
        fs::remove_dir(scene.at("etc/ssl/certs/java")).unwrap();
        symlink("/srv/java", scene.at("etc/ssl/certs/java")).unwrap();
        let run = scene.bootstrap(fallback);
        assert_eq!(run.code, Some(0), "{run}");
        assert!(held(&scene.at("srv/java/cacerts")).contains(&scene.ours.fingerprint), "{run}");
    }
}

/// Root has no more rights in a user's directory than the user: what the user cannot write is left alone, and named.
#[test]
fn t35_root_works_with_the_rights_of_the_directorys_owner() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(0);
    let security = scene.at(&format!("{HOME}/lib/security"));
    fs::set_permissions(&security, fs::Permissions::from_mode(0o555)).unwrap();
    let before = Tree::of(&scene.at("home"));
    let run = scene.bootstrap(false);
    assert_eq!(run.code, Some(0), "{run}");
    before.assert_same(&Tree::of(&scene.at("home")), "left alone");
    assert!(run.json()["unwritable"].to_string().contains("home/u/.sdkman"), "{run}");
    // And a file of root's in it is not given away, nor replaced.
    let scene = Scene::new(0);
    lchown(scene.at(&format!("{HOME}/lib/security/cacerts")), Some(0), Some(0)).unwrap();
    let before = Tree::of(&scene.at("home"));
    let run = scene.bootstrap(false);
    assert_eq!(run.code, Some(0), "{run}");
    before.assert_same(&Tree::of(&scene.at("home")), "left alone");
}

/// `--owner` names who gets the files, not who chooses the directory.
#[test]
fn t35_an_owners_link_does_not_choose_the_directory_of_a_pair() {
    if !is_root() {
        return;
    }
    let scene = enrollment::Scene::new();
    fs::set_permissions(scene.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let anchors = scene.path("anchors");
    fs::create_dir(&anchors).unwrap();
    fs::write(anchors.join("server.key"), "a key of root's").unwrap();
    let before = Tree::of(&anchors);
    let home = scene.path("home");
    fs::create_dir(&home).unwrap();
    symlink(&anchors, home.join("tls")).unwrap();
    fs::create_dir(home.join("own")).unwrap();
    give(&home);
    let enroll = |directory: &str| {
        Trustup::new([
            "--json",
            "--timeout",
            "20s",
            "enroll",
            "provisioner",
            "web.test",
            "--owner",
            "1000:1000",
        ])
        .args(["--ca-url", &scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex()])
        .arg("--password-file")
        .arg(scene.path("password"))
        .arg("--cert")
        .arg(home.join(directory).join("server.crt"))
        .arg("--key")
        .arg(home.join(directory).join("server.key"))
        .env("HOME", scene.directory.path())
    };
    for layout in ["files", "versioned"] {
        enroll("tls").args(["--layout", layout]).fails(1).says(["owned by user 1000", "hint:"]);
        before.assert_same(&Tree::of(&anchors), layout);
    }
    assert_eq!(scene.server.connections(), 0, "nothing is spent");
    // A directory of the owner's own is fine, and so is a link that the owner leads to it.
    symlink(home.join("own"), home.join("mine")).unwrap();
    give(&home.join("mine"));
    enroll("own").ok();
    enroll("mine").ok();
    let key = home.join("own/server.key");
    assert_eq!((fs::metadata(&key).unwrap().uid(), mode(&key)), (USER, 0o600));
    // What is in progress stays root's.
    let own = fs::metadata(home.join("own/.server.key.trustup")).unwrap();
    assert_eq!((own.uid(), own.permissions().mode() & 0o7777), (0, 0o700));
}

/// The other files that are written: through a link of another user, each is an error, and what it leads to stays.
#[test]
fn t35_no_option_writes_through_a_link_of_another_user() {
    if !is_root() {
        return;
    }
    let scene = enrollment::Scene::new();
    fs::set_permissions(scene.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let target = scene.path("target");
    fs::create_dir(&target).unwrap();
    symlink(&target, scene.path("link")).unwrap();
    lchown(scene.path("link"), Some(USER), Some(USER)).unwrap();
    let before = Tree::of(&target);
    let trustup = |args: &[&str]| Trustup::new(args).env("HOME", scene.directory.path());
    let password = scene.path("password");
    let url = scene.server.url();
    let pin = scene.ca.fingerprint().hex();
    let run = trustup(&["token", "web.test", "--ca-url", &url, "--fingerprint", &pin, "--password-file"])
        .arg(&password)
        .arg("--out")
        .arg(scene.path("link/token"))
        .fails(1);
    run.says(["owned by user 1000"]);
    trustup(&["dev-ca", "--listen", "127.0.0.1:0", "--state"])
        .arg(scene.path("link/ca"))
        .fails(1)
        .says(["owned by user 1000"]);
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("etc/ssl/certs")).unwrap();
    fs::create_dir(root.path().join("srv")).unwrap();
    symlink("/srv", root.path().join("link")).unwrap();
    lchown(root.path().join("link"), Some(USER), Some(USER)).unwrap();
    fs::write(root.path().join("etc/ssl/certs/ca-certificates.crt"), ca::root("Vendor").pem).unwrap();
    ca::root("Ours").write(scene.directory.path(), "root.pem");
    Trustup::at(root.path(), ["bootstrap", "--ca-out", "/link/ca.crt", "--ca-file"])
        .arg(scene.path("root.pem"))
        .fails(1)
        .says(["owned by user 1000"]);
    before.assert_same(&Tree::of(&target), "what the link leads to");
    assert_eq!(fs::read_dir(root.path().join("srv")).unwrap().count(), 0);
    assert!(Certificate::from_der(&ca::root("x").der).is_ok());
}

/// What is read by name, secrets above all: a link of another user leads to nothing of root's.
#[test]
fn t35_no_option_reads_through_a_link_of_another_user() {
    if !is_root() {
        return;
    }
    let scene = enrollment::Scene::new();
    let password = scene.path("password");
    ca::root("Ours").write(scene.directory.path(), "root.pem");
    for (link, target) in [("p", &password), ("r", &scene.path("root.pem"))] {
        symlink(target, scene.path(link)).unwrap();
        lchown(scene.path(link), Some(USER), Some(USER)).unwrap();
    }
    for fallback in [false, true] {
        let trustup = |args: &[&str]| {
            let run = Trustup::new(args).env("HOME", scene.directory.path());
            if fallback { run.without_openat2() } else { run }
        };
        let (url, pin) = (scene.server.url(), scene.ca.fingerprint().hex());
        let token = ["token", "web.test", "--ca-url", &url, "--fingerprint", &pin, "--password-file"];
        trustup(&token).arg(scene.path("p")).fails(1).says(["owned by user 1000", "hint:"]);
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        let bootstrap = || trustup(&["--sysroot"]).arg(root.path()).args(["bootstrap", "--ca-file"]);
        bootstrap().arg(scene.path("r")).fails(1).says(["owned by user 1000"]);
        // Root's own links, and files of the link's owner, are read as ever.
        lchown(scene.path("root.pem"), Some(USER), Some(USER)).unwrap();
        bootstrap().arg(scene.path("r")).ok();
        lchown(scene.path("root.pem"), Some(0), Some(0)).unwrap();
        lchown(scene.path("r"), Some(0), Some(0)).unwrap();
        bootstrap().arg(scene.path("r")).ok();
        lchown(scene.path("r"), Some(USER), Some(USER)).unwrap();
    }
}

/// A root file system that is named by a link of another user is that user's, or none.
#[test]
fn t35_a_sysroot_behind_a_link_of_another_user_is_that_users() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(0);
    let links = tempfile::tempdir().unwrap();
    let link = links.path().join("image");
    symlink(scene.root.path(), &link).unwrap();
    lchown(&link, Some(USER), Some(USER)).unwrap();
    let before = Tree::of(scene.root.path());
    for fallback in [false, true] {
        let bootstrap = || {
            let run = Trustup::at(&link, ["bootstrap", "--ca-file"]).arg(scene.given.path().join("root.pem"));
            if fallback { run.without_openat2() } else { run }
        };
        bootstrap().fails(1).says(["owned by user 1000", "hint:"]);
        before.assert_same(&Tree::of(scene.root.path()), "refused");
        // The same image, unpacked by that user; and a link of root's.
        give(scene.root.path());
        bootstrap().arg("--dry-run").ok();
        lchown(&link, Some(0), Some(0)).unwrap();
        bootstrap().arg("--dry-run").ok();
        lchown(&link, Some(USER), Some(USER)).unwrap();
        lchown(scene.root.path(), Some(0), Some(0)).unwrap();
        lchown(scene.at("home"), Some(0), Some(0)).unwrap();
        for path in
            ["etc", "etc/ssl", "etc/ssl/certs", "etc/ssl/certs/ca-certificates.crt", "etc/ssl/certs/java"]
        {
            lchown(scene.at(path), Some(0), Some(0)).unwrap();
        }
        lchown(scene.at(SYSTEM), Some(0), Some(0)).unwrap();
    }
}
