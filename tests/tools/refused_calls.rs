//! What trustup does where the kernel, a sandbox or a file system refuses a system call: strace refuses it, the binary is
//! the real one. `statx` and `openat2` have a way around that knows as much; `flock` has none, and waiting for it is no
//! use.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::enrollment::Scene as Enrollment;
use crate::support::run::{Run, Trustup, unpacked};
use crate::support::tree::Tree;
use crate::support::{binary, ca};

/// A root file system, a root certificate, and a place for what strace saw.
struct Scene {
    root: tempfile::TempDir,
    given: tempfile::TempDir,
}

impl Scene {
    fn new(fixture: &str) -> Scene {
        let scene = Scene { root: unpacked(fixture), given: tempfile::tempdir().unwrap() };
        ca::root("Refused Calls").write(scene.given.path(), "root.pem");
        scene
    }

    fn bootstrap(&self) -> Trustup {
        Trustup::at(self.root.path(), ["bootstrap", "--ca-file"]).arg(self.given.path().join("root.pem"))
    }

    fn log(&self) -> PathBuf {
        self.given.path().join("calls")
    }

    /// How many calls were refused in the run before.
    fn refused(&self) -> usize {
        let log = fs::read_to_string(self.log()).unwrap();
        log.lines().filter(|line| line.contains("(INJECTED)")).count()
    }
}

/// The same files, modes and links come out, the same is read back, and what leads outside is not followed.
#[test]
#[ignore = "needs strace"]
fn without_statx_or_openat2_everything_is_as_with_them() {
    for fixture in ["debian-12", "fedora-42", "scratch"] {
        let plain = Scene::new(fixture);
        plain.bootstrap().env("SOURCE_DATE_EPOCH", "1700000000").ok();
        let wanted = Tree::of(plain.root.path());
        for (call, error) in [
            ("statx", "ENOSYS"),
            ("statx", "EPERM"),
            ("openat2", "ENOSYS"),
            ("openat2", "EPERM"),
            ("statx,openat2", "ENOSYS"),
        ] {
            let when = format!("{fixture}, {call}: {error}");
            let scene = Scene { root: unpacked(fixture), given: tempfile::tempdir().unwrap() };
            fs::copy(plain.given.path().join("root.pem"), scene.given.path().join("root.pem")).unwrap();
            let first = Tree::of(scene.root.path());
            let refusing =
                |run: Trustup| run.env("SOURCE_DATE_EPOCH", "1700000000").refusing(call, error, &scene.log());
            refusing(scene.bootstrap()).ok();
            assert!(scene.refused() > 0, "{when}: nothing was refused");
            // The state names the file as it was given.
            let state = "var/lib/trustup/state.json";
            wanted.clone().without(state).assert_same(&Tree::of(scene.root.path()).without(state), &when);
            assert!(refusing(scene.bootstrap()).ok().stderr.contains("already"), "{when}");
            refusing(Trustup::at(scene.root.path(), ["status"])).ok();
            refusing(Trustup::at(scene.root.path(), ["untrust", "--all"])).ok();
            first.assert_same(&Tree::of(scene.root.path()), &when);

            if fixture != "debian-12" {
                continue;
            }
            let outside = tempfile::tempdir().unwrap();
            fs::write(outside.path().join("bundle.pem"), "outside\n").unwrap();
            let bundle = scene.root.path().join("etc/ssl/certs/ca-certificates.crt");
            fs::remove_file(&bundle).unwrap();
            symlink(outside.path().join("bundle.pem"), &bundle).unwrap();
            let before = Tree::of(outside.path());
            refusing(scene.bootstrap()).run();
            before.assert_same(&Tree::of(outside.path()), &format!("{when}: a link that leads outside"));
        }
    }
}

/// A file that is mounted by itself is found to be one, also where only the table of mounts says so.
#[test]
#[ignore = "needs root and strace"]
fn without_statx_a_mounted_file_is_still_known() {
    let scene = Scene::new("debian-12");
    let mounted = scene.given.path().join("mounted bundle.pem");
    fs::write(&mounted, ca::root("Mounted").pem).unwrap();
    let bundle = scene.root.path().join("etc/ssl/certs/ca-certificates.crt");
    assert!(Command::new("mount").arg("--bind").args([&mounted, &bundle]).status().unwrap().success());
    let _unmount = Unmount(bundle);
    for error in ["ENOSYS", "EPERM"] {
        let run =
            Trustup::at(scene.root.path(), ["--json", "detect"]).refusing("statx", error, &scene.log()).ok();
        let outputs = run.json()["outputs"].clone();
        let bundle = outputs.as_array().unwrap().iter().find(|output| output["kind"] == "bundle").unwrap();
        assert_eq!(bundle["mounted"], true, "{error}: {run}");
        assert!(scene.refused() > 0);
    }
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// One call, no waiting, nothing left behind; the file system, the path and the way out are named.
fn fails_at_once(run: impl Fn() -> Trustup, place: &Path, log: &Path, words: &[&str]) {
    for error in ["ENOLCK", "EOPNOTSUPP", "ENOSYS", "EPERM"] {
        let before = Tree::of(place);
        let failed: Run = run().refusing("flock", error, log).fails(5);
        let calls = fs::read_to_string(log).unwrap();
        assert_eq!(
            calls.lines().filter(|line| line.contains("flock(")).count(),
            1,
            "{error}: {failed}\n{calls}"
        );
        failed.says(["flock; the file system is ", "lock`"]);
        failed.says(words.iter().copied());
        if ["ENOSYS", "EPERM"].contains(&error) {
            failed.says(["seccomp"]);
        }
        before.assert_same(&Tree::of(place), error);
    }
}

#[test]
#[ignore = "needs strace"]
fn where_nothing_can_be_locked_every_command_fails_at_once() {
    let scene = Scene::new("debian-12");
    let root = scene.root.path();
    fails_at_once(
        || scene.bootstrap(),
        root,
        &scene.log(),
        &["var/lib/trustup/lock", "copy the root file system"],
    );
    // As the hints say: allow the call, or copy the tree to where files can be locked.
    let sandboxed = scene.bootstrap().refusing("flock", "EPERM", &scene.log()).fails(5);
    sandboxed.says(["where a seccomp profile or another sandbox refuses the system call `flock`, allow it"]);
    let copy = tempfile::tempdir().unwrap();
    assert!(Command::new("cp").arg("-a").arg(root.join(".")).arg(copy.path()).status().unwrap().success());
    let file = scene.given.path().join("root.pem");
    Trustup::at(copy.path(), ["bootstrap", "--ca-file"]).arg(&file).ok();
    scene.bootstrap().ok();
    let untrust = || Trustup::at(root, ["untrust", "--all"]);
    fails_at_once(untrust, root, &scene.log(), &["var/lib/trustup/lock", "copy the root file system"]);
    // What only reads takes no lock.
    Trustup::at(root, ["status"]).refusing("flock", "ENOLCK", &scene.log()).ok();

    let dev_ca = || Trustup::new(["dev-ca", "--state"]).arg(scene.given.path().join("new"));
    let log = tempfile::tempdir().unwrap();
    let log = log.path().join("calls");
    fails_at_once(dev_ca, scene.given.path(), &log, &["new/lock", "`--state DIR`"]);

    let scene = Enrollment::new();
    fails_at_once(
        || scene.enroll(),
        scene.directory.path(),
        &log,
        &["server.key.trustup/lock", "give `--key` a path"],
    );
    scene.enroll().ok();
    let renewed = || scene.enroll().arg("--force");
    fails_at_once(renewed, scene.directory.path(), &log, &["server.key.trustup/lock", "give `--key` a path"]);
}

/// Only the lock of the default place cannot be taken.
#[test]
#[ignore = "needs strace"]
fn a_private_store_elsewhere_can_be_locked() {
    let scene = Scene::new("debian-12");
    let home = scene.given.path().join("home");
    fs::create_dir(&home).unwrap();
    let run = |more: &[&str]| {
        let mut command = Command::new("strace");
        binary::clear(&mut command);
        command.env("HOME", &home).env("PATH", "/usr/bin:/bin").args(["-f", "-qq", "-o"]).arg(scene.log());
        command.arg("-P").arg(home.join(".local/state/trustup/state/lock"));
        command.args(["-e", "trace=flock", "-e", "inject=flock:error=ENOLCK"]).arg(binary::trustup());
        let run = Trustup::through(command, ["bootstrap", "--stores", "private", "--ca-file"]);
        run.arg(scene.given.path().join("root.pem")).args(more)
    };
    let refused = run(&[]).fails(5);
    refused
        .says(["`--private-dir DIR` names a directory on a file system with locks, such as a local volume"]);
    let other = scene.given.path().join("volume");
    run(&["--private-dir", other.to_str().unwrap()]).ok();
}

/// In a mount namespace with stores of its own: nothing of the machine is changed.
#[test]
#[ignore = "needs root, strace and unshare"]
fn a_file_system_with_locks_is_mounted_for_the_state() {
    let scene = Scene::new("debian-12");
    let run = |before: &str, tracer: &str| {
        let mut command = Command::new("unshare");
        binary::clear(&mut command);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/none");
        command.args(["--mount", "--propagation", "private", "/bin/sh", "-euc"]).arg(format!(
            "mount --bind $1/etc /etc; mount -t tmpfs state /var/lib; mount -t tmpfs local /usr/local/share\n\
             {before}\nshift\nexec {tracer} \"$@\""
        ));
        command.arg("sh").arg(scene.root.path()).arg(binary::trustup());
        Trustup::through(command, ["bootstrap", "--stores", "system", "--updater", "builtin", "--ca-file"])
            .arg(scene.given.path().join("root.pem"))
    };
    let tracer = format!("strace -f -qq -o {} -e inject=flock:error=ENOLCK", scene.log().display());
    let refused = run("", &tracer).fails(5);
    refused.says(["hint: mount a file system with locks at `/var/lib/trustup`, such as a local volume, an `emptyDir` or a tmpfs, and run `chmod 700 /var/lib/trustup`"]);
    // With the mode that each of them may have.
    for mode in ["1777", "0777", "0755"] {
        run(&format!("mkdir /var/lib/trustup; mount -t tmpfs -o mode={mode} locks /var/lib/trustup; chmod 700 /var/lib/trustup"), "").ok();
    }
}

/// A signal in between is no refusal.
#[test]
#[ignore = "needs strace"]
fn an_interrupted_lock_is_taken() {
    let scene = Scene::new("debian-12");
    scene.bootstrap().refusing("flock", "EINTR:when=1..3", &scene.log()).ok();
    assert_eq!(scene.refused(), 3);
}
