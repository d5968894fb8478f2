//! What surrounds a root: mounts in it, a full disk, a read-only one, another run at the same time.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::ca::{self, Root, fingerprints};
use crate::support::roots::{self, Base, RootFs};
use crate::support::tree::Tree;

const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
const LOCAL: &str = "usr/local/share/ca-certificates";

/// A mount for the time of a test.
struct Mount(PathBuf);

impl Mount {
    /// `mount ARGS… AT`
    #[track_caller]
    fn new(args: &[&str], at: PathBuf) -> Mount {
        roots::run(Command::new("mount").args(args).arg(&at));
        Mount(at)
    }

    /// Shows `what` (file or directory) at `at` too.
    #[track_caller]
    fn bind(what: &Path, at: PathBuf) -> Mount {
        Mount::new(&["--bind", what.to_str().unwrap()], at)
    }

    #[track_caller]
    fn read_only(self) -> Mount {
        roots::run(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(&self.0));
        self
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: after a failure something may still stand in it, and the mount must not outlive the test.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

fn bundle_has(root: &RootFs, ca: &Root) -> bool {
    fingerprints(&String::from_utf8(root.read(BUNDLE)).unwrap()).contains(&ca.fingerprint)
}

/// The article's recommended mount: the anchor directory itself, read-only. The files stay, only outputs are made, as
/// the real tool makes them.
#[track_caller]
fn mounted_anchor_directory(base: Base, updater: &str) {
    let root = base.copy();
    let twin = root.twin();
    let before = Tree::of(root.path());
    let roots = [ca::root("Mounted One"), ca::root("Mounted Two")];
    let given = tempfile::tempdir().unwrap();
    // As Kubernetes mounts it: links into a hidden directory.
    std::fs::create_dir(given.path().join("..2026")).unwrap();
    std::os::unix::fs::symlink("..2026", given.path().join("..data")).unwrap();
    for (root, name) in roots.iter().zip(["one.crt", "two.crt"]) {
        root.write(&given.path().join("..2026"), name);
        std::os::unix::fs::symlink(format!("..data/{name}"), given.path().join(name)).unwrap();
    }
    let mounted_before = Tree::of(given.path());
    {
        let _at_root = Mount::bind(given.path(), root.at(LOCAL)).read_only();
        let _at_twin = Mount::bind(given.path(), twin.at(LOCAL)).read_only();
        let bootstrap =
            ["--json", "bootstrap", "--updater", updater, "--ca-file", "/usr/local/share/ca-certificates"];
        let run = root.trustup_inside(bootstrap).ok();
        assert_eq!(run.json()["updater"], updater, "{run}");
        twin.run(&["update-ca-certificates"]);
        let text = |root: &RootFs| String::from_utf8(root.read(BUNDLE)).unwrap();
        let sorted = |root: &RootFs| {
            let mut all = fingerprints(&text(root));
            all.sort();
            all
        };
        assert_eq!(sorted(&root), sorted(&twin), "{run}");
        let links = |root: &RootFs| root.tree().without(BUNDLE);
        links(&twin).assert_same(&links(&root), &format!("the real tool (-) and ours (+): {run}"));
        assert_eq!(root.trustup_inside(bootstrap).ok().json()["changed"], false, "a second run");
        root.trustup_inside(["status"]).ok();
        mounted_before.assert_same(&Tree::of(given.path()), "the mounted directory");
        root.trustup_inside(["untrust", "--all"]).ok();
        mounted_before.assert_same(&Tree::of(given.path()), "the mounted directory, after untrust");
    }
    before.assert_same(&Tree::of(root.path()), "after untrust");
}

#[test]
#[ignore = "needs root and real root file systems"]
fn a_mounted_anchor_directory_with_the_builtin_updater() {
    mounted_anchor_directory(Base::Debian12, "builtin");
    mounted_anchor_directory(Base::Alpine, "builtin");
}

#[test]
#[ignore = "needs root and real root file systems"]
fn a_mounted_anchor_directory_with_the_native_updater() {
    mounted_anchor_directory(Base::Debian12, "native");
    mounted_anchor_directory(Base::Alpine, "native");
}

/// A bundle that somebody mounted is left as it is, and said to be; the other outputs are made, and on `/` the private
/// store has what it lacks. The native tool could not replace it either, so it is not asked.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_mounted_bundle_is_never_replaced() {
    for inside in [false, true] {
        let root = Base::Debian12.copy();
        let before = Tree::of(root.path());
        let ca = ca::root("Beside the Mount");
        ca.write(root.exchange(), "root.pem");
        let mounted = root.exchange().join("bundle.crt");
        std::fs::copy(root.at(BUNDLE), &mounted).unwrap();
        let bytes = std::fs::read(&mounted).unwrap();
        let trustup = |args: &[&str]| if inside { root.trustup_inside(args) } else { root.trustup(args) };
        let file = if inside { "/mnt/root.pem".into() } else { root.exchange().join("root.pem") };
        {
            let _mount = Mount::bind(&mounted, root.at(BUNDLE));
            let run = trustup(&["--json", "bootstrap", "--ca-file"]).arg(&file).ok();
            let json = run.json();
            assert_eq!(json["updater"], "builtin", "{run}");
            let warnings = json["warnings"].to_string();
            assert!(warnings.contains(&format!("/{BUNDLE}")) && warnings.contains("mount"), "{run}");
            let proven = run.stderr.lines().find(|line| line.contains("reading back"));
            assert!(!proven.unwrap_or_default().contains(BUNDLE), "says it is proven there: {run}");
            assert_eq!(std::fs::read(&mounted).unwrap(), bytes, "{run}");
            assert_eq!(json["unwritable"], serde_json::json!([format!("/{BUNDLE}")]), "{run}");
            // Another root file system has no private store.
            let status = trustup(&["status"]).run();
            assert_eq!(status.code, Some(if inside { 0 } else { 4 }), "{status}");
            assert_eq!(json["private"].is_null(), !inside, "{run}");
            for option in ["--strict", "--require-system"] {
                let run = trustup(&["bootstrap", option, "--ca-file"]).arg(&file).fails(1);
                run.says([format!("/{BUNDLE}").as_str(), "mount point"]);
                let without =
                    if inside { "the private store is used" } else { "they are skipped with a warning" };
                run.says([&*format!("hint: without `{option}` {without}")]);
                let followed = trustup(&["--json", "bootstrap", "--ca-file"]).arg(&file).ok().json();
                assert_eq!(followed["private"].is_null(), !inside, "{followed}");
            }
            let native = trustup(&["bootstrap", "--updater", "native", "--ca-file"]).arg(&file).run();
            assert!(!inside || native.code != Some(0) && native.stderr.contains("mount"), "{native}");

            let detect = trustup(&["--json", "detect"]).ok().json();
            let outputs = detect["outputs"].as_array().unwrap();
            let output =
                outputs.iter().find(|output| output["path"] == format!("/{BUNDLE}")).expect("bundle");
            assert_eq!(output["mounted"], true, "{detect}");
            trustup(&["untrust", "--all"]).ok();
            assert_eq!(std::fs::read(&mounted).unwrap(), bytes, "after untrust");
        }
        before.assert_same(&Tree::of(root.path()), "after untrust");
    }
}

#[test]
#[ignore = "needs root and real root file systems"]
fn a_read_only_root_is_an_error_and_stays() {
    let root = Base::Debian12.copy();
    let before = Tree::of(root.path());
    let file = ca::root("Read-only").write(root.exchange(), "root.pem");
    let mount = Mount::bind(root.path(), root.path().to_owned()).read_only();
    let run = root.trustup(["bootstrap", "--ca-file"]).arg(&file).fails(1);
    assert!(run.stderr.to_lowercase().contains("read-only"), "{run}");
    assert!(run.stderr.contains("hint:"), "{run}");
    before.assert_same(&Tree::of(root.path()), "after a failed run");
    // Looking is possible all the same.
    root.trustup(["--json", "--dry-run", "bootstrap", "--ca-file"]).arg(&file).ok();
    root.trustup(["detect"]).ok();
    drop(mount);
    root.trustup(["bootstrap", "--ca-file"]).arg(&file).ok();
}

/// The stores of a Debian root on a small file system that is filled up to a few kilobytes: whatever does not fit, the
/// run fails and everything is as before.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_full_disk_is_an_error_and_everything_as_before() {
    let original = Base::Debian12.kept();
    let place = tempfile::tempdir().unwrap();
    let given = tempfile::tempdir().unwrap();
    let ca = ca::root("Full Disk");
    let file = ca.write(given.path(), "root.pem");
    let _mount = Mount::new(&["-t", "tmpfs", "-o", "size=16m", "tmpfs"], place.path().to_owned());
    let mut copy = Command::new("cp");
    copy.current_dir(&original).args(["-a", "--parents", "etc", "usr/lib/os-release", "usr/local"]);
    roots::run(copy.args(["usr/share/ca-certificates", "var/lib/dpkg/available"]).arg(place.path()));
    let filler = place.path().join("filler");
    let (mut failed, mut passed) = (0, 0);
    for free in [0, 4, 8, 12, 16, 24, 64, 128, 200, 220, 240, 300, 500, 900] {
        fill(&filler, place.path(), free * 1024);
        let before = Tree::of(place.path());
        let run = crate::support::run::Trustup::at(place.path(), ["bootstrap", "--ca-file"]).arg(&file).run();
        if run.code == Some(0) {
            passed += 1;
            crate::support::run::Trustup::at(place.path(), ["untrust", "--all"]).ok();
        } else {
            failed += 1;
            assert_eq!(run.code, Some(1), "{free} KiB free: {run}");
            assert!(run.stderr.contains("No space left"), "{free} KiB free: {run}");
        }
        before.assert_same(&Tree::of(place.path()), &format!("{free} KiB free: {run}"));
    }
    assert!(failed > 3 && passed > 0, "{failed} failed, {passed} passed: the sizes prove nothing");
}

/// Makes `filler` so large that `free` bytes are left on the file system of `place`.
fn fill(filler: &Path, place: &Path, free: u64) {
    drop(std::fs::remove_file(filler));
    let free_now = || {
        let stat = rustix::fs::statvfs(place).unwrap();
        stat.f_bavail * stat.f_frsize
    };
    let size = free_now().saturating_sub(free);
    std::fs::write(filler, vec![b'x'; usize::try_from(size).unwrap()]).unwrap();
    assert!(free_now() <= free, "{} bytes free", free_now());
}

/// Several runs at once, each with a root of its own: one after the other gets the lock, and none is lost.
#[test]
#[ignore = "needs root and real root file systems"]
fn runs_at_the_same_time_wait_for_each_other() {
    for base in [Base::Debian12, Base::Debian12Bare] {
        let root = base.copy();
        let before = Tree::of(root.path());
        let roots: Vec<Root> = (0..6).map(|n| ca::root(&format!("Runs at Once {n}"))).collect();
        std::thread::scope(|scope| {
            for (n, ca) in roots.iter().enumerate() {
                let root = &root;
                scope.spawn(move || {
                    let file = ca.write(root.exchange(), &format!("{n}.pem"));
                    root.trustup(["--timeout", "60s", "bootstrap", "--ca-file"]).arg(file).ok();
                });
            }
        });
        assert!(roots.iter().all(|ca| bundle_has(&root, ca)), "a root is lost");
        let done = root.tree();
        root.trustup(["status"]).ok();
        std::thread::scope(|scope| {
            for ca in &roots[1..] {
                let root = &root;
                scope.spawn(move || root.trustup(["untrust", "--fingerprint", &ca.pin()]).ok());
            }
        });
        assert!(bundle_has(&root, &roots[0]) && !bundle_has(&root, &roots[1]));
        assert!(!done.differences(&root.tree()).is_empty());
        root.trustup(["untrust", "--all"]).ok();
        before.assert_same(&Tree::of(root.path()), "after untrust");
    }
}

/// A lock that is held is waited for, no longer than `--timeout`, and the error says what to do.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_held_lock_is_waited_for_no_longer_than_the_time_out() {
    let root = Base::Debian12.copy();
    let [one, two] = [ca::root("Lock One"), ca::root("Lock Two")];
    let file = one.write(root.exchange(), "one.pem");
    root.trustup(["bootstrap", "--ca-file"]).arg(&file).ok();
    let before = root.tree();
    let lock = root.at(roots::STATE).join("lock");
    let held =
        std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(lock).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let file = two.write(root.exchange(), "two.pem");
    let run = root.trustup(["--timeout", "1s", "bootstrap", "--ca-file"]).arg(&file).run();
    assert!(run.code.is_some_and(|code| code != 0), "{run}");
    run.says(["lock", "hint:"]);
    before.assert_same(&root.tree(), "after a run that did not get the lock");
    drop(held);
    root.trustup(["--timeout", "1s", "bootstrap", "--ca-file"]).arg(&file).ok();
}
