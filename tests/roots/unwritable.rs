//! Outputs that cannot be written, in every family: read-only mounts, permissions, mounted files, immutable ones, and
//! writes that the kernel refuses although nothing foretold it. Whatever is skipped is named with the reason, the private
//! store has what it lacks, no link leads to a file that was not made, and `untrust` restores the first tree.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::binary;
use crate::support::ca::{self, Root};
use crate::support::hints::{command, follow};
use crate::support::program::copy_program;
use crate::support::roots::{self, Base, RootFs};
use crate::support::run::{Run, Trustup, unpacked};
use crate::support::tree::Tree;

/// One of each kind of update, and images without any.
const FAMILIES: [&str; 13] = [
    "debian-12",
    "debian-12-minimal",
    "alpine-3.23-ca-certificates",
    "gentoo",
    "fedora-42",
    "arch",
    "opensuse-tumbleweed",
    "photon-5",
    "nixos-25.11",
    "distroless-static-debian12",
    "distroless-java21-debian12",
    "ubuntu-24.04-temurin-21",
    "scratch",
];

/// An image, a root to trust, and who runs trustup in it.
struct Scene {
    root: RootFs,
    ca: Root,
    user: &'static str,
    /// Shell commands before each run, in its own mount namespace.
    before: String,
    /// A program in front of trustup, outside of the root.
    around: Vec<String>,
}

impl Scene {
    fn of(fixture: &str) -> Scene {
        Scene::in_root(RootFs::copy_of(unpacked(fixture).path()))
    }

    fn in_root(root: RootFs) -> Scene {
        let ca = ca::root("Unwritable Root");
        for directory in ["mnt", "root", "tmp", "home/user", "var/lib"] {
            fs::create_dir_all(root.at(directory)).unwrap();
        }
        std::os::unix::fs::chown(root.at("home/user"), Some(1000), Some(0)).unwrap();
        fs::set_permissions(root.at("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::set_permissions(root.at("root"), fs::Permissions::from_mode(0o700)).unwrap();
        // As in any image; the copy's own top is of a temporary directory.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(root.exchange(), fs::Permissions::from_mode(0o755)).unwrap();
        ca.write(root.exchange(), "root.pem");
        copy_program(binary::shipped(), &root.exchange().join("trustup"));
        Scene { root, ca, user: "0:0", before: String::new(), around: Vec::new() }
    }

    fn home(&self) -> &'static str {
        if self.user == "0:0" { "/root" } else { "/home/user" }
    }

    fn trustup<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Trustup {
        let script =
            format!("ROOT=\"$1\"; mount --bind \"$2\" \"$ROOT/mnt\"\n{}\nshift 2\nexec \"$@\"", self.before);
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-euc", &script, "sh"]);
        command.arg(self.root.path()).arg(self.root.exchange()).args(&self.around);
        let user = format!("--userspec={}", self.user);
        command.args(["chroot", "--groups=0", &user]).arg(self.root.path()).arg("/mnt/trustup");
        command.env_clear().env("HOME", self.home()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null());
        Trustup::through(command, args)
    }

    fn bootstrap(&self) -> Trustup {
        self.trustup(["--json", "bootstrap", "--updater", "builtin", "--ca-file", "/mnt/root.pem"])
    }

    /// The paths that `detect` lists, without leading `/`: outputs, stores, and the anchor directory.
    fn places(&self) -> Vec<String> {
        let detect = self.trustup(["--json", "detect"]).ok().json();
        let [outputs, stores] = ["outputs", "stores"].map(|key| detect[key].as_array().unwrap().clone());
        let listed: Vec<Value> = outputs.into_iter().chain(stores).map(|one| one["path"].clone()).collect();
        let paths = listed.iter().chain([&detect["anchor_directory"]]).filter_map(Value::as_str);
        paths.map(|path| path.trim_start_matches('/').to_owned()).collect()
    }

    /// The real path of a place in the root: links are resolved inside.
    fn real(&self, place: &str) -> Option<PathBuf> {
        resolve(self.root.path(), place)
    }

    /// Runs everything that a user would, and checks what has to hold whatever is unwritable.
    #[track_caller]
    fn check(&self, what: &str) -> Outcome {
        let before = Tree::of(self.root.path());
        let dry = self.bootstrap().arg("--dry-run").run();
        assert_eq!(dry.code, Some(0), "{what}: {dry}");
        before.assert_same(&Tree::of(self.root.path()), &format!("{what}: a dry run"));

        let skips = !strings(&dry.json()["unwritable"]).is_empty();
        for option in ["--require-system", "--strict"] {
            if skips {
                let run = self.bootstrap().arg(option).run();
                assert_eq!(run.code, Some(1), "{what}, {option}: {run}");
                for path in strings(&dry.json()["unwritable"]) {
                    run.says([path.as_str(), "hint:", option]);
                }
                before.assert_same(&Tree::of(self.root.path()), &format!("{what}: {option}"));
            }
        }

        let run = self.bootstrap().run();
        assert_eq!(run.code, Some(0), "{what}: {run}");
        let json = run.json();
        assert_eq!(json["unwritable"], dry.json()["unwritable"], "{what}: {dry}\n{run}");
        assert_eq!(json["plan"], dry.json()["plan"], "{what}: {dry}\n{run}");
        self.check_links(&run, what);
        self.check_outputs(&run, what);
        let unwritable = strings(&json["unwritable"]);
        for skipped in json["skipped"].as_array().unwrap() {
            let (path, reason) = (skipped["path"].as_str().unwrap(), skipped["reason"].as_str().unwrap());
            run.says([format!("skipped `{path}`: {reason}").as_str()]);
        }
        let private = &json["private"]["directory"];
        assert_eq!(unwritable.is_empty(), private.is_null(), "{what}: {run}");
        if !unwritable.is_empty() {
            let store = private.as_str().unwrap();
            run.says([store, "is used instead"]);
            let bundle = ca::held(&self.root.read(&format!("{store}/ca-bundle.pem")[1..]));
            assert!(bundle.contains(&self.ca.fingerprint), "{what}: {run}");
            let env = self.trustup(["env"]).run();
            assert!(env.code == Some(0) && env.stdout.contains(store), "{what}: {env}");
        }
        let status = self.trustup(["status"]).run();
        assert_eq!(status.code, Some(0), "{what}: {status}");
        let again = self.bootstrap().run();
        assert_eq!((again.code, &again.json()["changed"]), (Some(0), &Value::from(false)), "{what}: {again}");
        let untrust = self.trustup(["untrust", "--updater", "builtin", "--all"]).run();
        assert_eq!(untrust.code, Some(0), "{what}: {untrust}");
        // What another user replaced belongs to that user: compared without owners.
        let changed = before.changed_paths(&Tree::of(self.root.path()));
        let ours = |path: &String| self.user == "0:0" || fs::symlink_metadata(self.root.at(path)).is_err();
        assert!(!changed.iter().any(ours), "{what}: {changed:?}\n{untrust}");
        Outcome { unwritable, run }
    }

    /// No link that was made leads nowhere.
    #[track_caller]
    fn check_links(&self, run: &Run, what: &str) {
        for step in run.json()["plan"].as_array().unwrap() {
            if step["action"] == "make-link" {
                let path = step["path"].as_str().unwrap();
                let end = resolve(self.root.path(), path.trim_start_matches('/'));
                assert!(end.is_some_and(|end| end.exists()), "{what}: {path} leads nowhere: {run}");
            }
        }
    }

    /// What is not skipped holds the root.
    #[track_caller]
    fn check_outputs(&self, run: &Run, what: &str) {
        let json = run.json();
        for path in strings(&json["outputs"]) {
            let Some(real) = resolve(self.root.path(), path.trim_start_matches('/')) else { continue };
            if self.before.is_empty() && real.is_file() && real.extension().is_some_and(|end| end != "bin") {
                let held = ca::held(&fs::read(&real).unwrap());
                assert!(held.is_empty() || held.contains(&self.ca.fingerprint), "{what}: {path}: {run}");
            }
        }
    }
}

struct Outcome {
    unwritable: Vec<String>,
    run: Run,
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

/// Where `path` really is below `root`, every link resolved inside it.
fn resolve(root: &Path, path: &str) -> Option<PathBuf> {
    let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut real: Vec<String> = Vec::new();
    let mut hops = 0;
    while let Some(part) = rest.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => drop(real.pop()),
            _ => real.push(part),
        }
        let here = root.join(real.join("/"));
        if let Ok(target) = fs::read_link(&here) {
            hops += 1;
            if hops > 40 {
                return None;
            }
            real.pop();
            let target = target.into_os_string().into_string().ok()?;
            if target.starts_with('/') {
                real.clear();
            }
            rest.extend(target.split('/').rev().map(str::to_owned));
        }
    }
    let here = root.join(real.join("/"));
    here.exists().then_some(here)
}

/// `mount` commands that make `path` (in the root) read-only.
fn read_only(path: &Path) -> String {
    let path = path.display();
    format!("mount --bind '{path}' '{path}'; mount -o remount,bind,ro '{path}'\n")
}

/// Everything that can be read-only by itself: each directory with an output or an anchor in it, and each output file.
fn targets(scene: &Scene) -> Vec<(String, PathBuf)> {
    let mut targets: Vec<(String, PathBuf)> = Vec::new();
    let mut add = |name: String, path: PathBuf| {
        if !targets.iter().any(|(_, known)| *known == path) {
            targets.push((name, path));
        }
    };
    for place in scene.places() {
        let Some(real) = scene.real(&place) else { continue };
        // Nothing of Nix's store is ever written.
        if real.starts_with(scene.root.at("nix")) {
            continue;
        }
        if real.is_dir() {
            add(format!("{place} read-only"), real);
        } else {
            add(format!("the directory of {place} read-only"), real.parent().unwrap().to_owned());
            add(format!("{place} mounted"), real);
        }
    }
    targets
}

fn mount_of(scene: &Scene, target: &Path) -> String {
    if target.is_dir() {
        return read_only(target);
    }
    // A copy of what is there, as `docker run -v bundle.crt:…` would mount it.
    let name = target.strip_prefix(scene.root.path()).unwrap().display().to_string().replace('/', "_");
    let copy = scene.root.exchange().join(&name);
    fs::copy(target, &copy).unwrap();
    format!("mount --bind '{}' '{}'\n", copy.display(), target.display())
}

#[test]
#[ignore = "needs root and mounts"]
fn every_single_output_may_be_read_only_or_mounted() {
    for family in FAMILIES {
        let mut scene = Scene::of(family);
        for (what, target) in targets(&scene) {
            scene.before = mount_of(&scene, &target);
            let outcome = scene.check(&format!("{family}: {what}"));
            let reason = if target.is_dir() { "read-only file system" } else { "mount point" };
            if !outcome.unwritable.is_empty() {
                outcome.run.says([reason]);
            }
            scene.before = String::new();
        }
        scene.before = read_only(&scene.root.at("var/lib"));
        scene.check(&format!("{family}: state directory read-only"));
    }
}

#[test]
#[ignore = "needs root and mounts"]
fn every_pair_of_outputs_may_be_read_only_or_mounted() {
    for family in ["debian-12", "alpine-3.23-ca-certificates", "fedora-42", "distroless-java21-debian12"] {
        let mut scene = Scene::of(family);
        let targets = targets(&scene);
        for (number, (one, first)) in targets.iter().enumerate() {
            for (other, second) in &targets[number + 1..] {
                scene.before = format!("{}{}", mount_of(&scene, first), mount_of(&scene, second));
                scene.check(&format!("{family}: {one}, {other}"));
            }
        }
        scene.before = targets.iter().map(|(_, target)| mount_of(&scene, target)).collect();
        let outcome = scene.check(&format!("{family}: everything"));
        assert!(!outcome.unwritable.is_empty());
    }
}

/// OpenShift: any user, group 0, and what the image made writable for that group.
#[test]
#[ignore = "needs root"]
fn group_0_may_write_any_part() {
    for family in FAMILIES {
        let mut scene = Scene::of(family);
        let targets: Vec<PathBuf> =
            targets(&scene).into_iter().map(|(_, target)| target).filter(|target| target.is_dir()).collect();
        scene.user = "1000:0";
        let mut subsets: Vec<Vec<PathBuf>> = targets.iter().map(|target| vec![target.clone()]).collect();
        subsets.push(Vec::new());
        subsets.push(targets.clone());
        for writable in subsets {
            let modes: Vec<(PathBuf, fs::Permissions)> = writable
                .iter()
                .map(|path| (path.clone(), fs::metadata(path).unwrap().permissions()))
                .collect();
            for (path, mode) in &modes {
                fs::set_permissions(path, fs::Permissions::from_mode(mode.mode() | 0o020)).unwrap();
            }
            let outcome = scene.check(&format!("{family}: group 0 may write {writable:?}"));
            if writable.is_empty() {
                outcome.run.says(["is owned by", "trustup runs as user 1000"]);
            }
            for (path, mode) in modes {
                fs::set_permissions(path, mode).unwrap();
            }
        }
    }
}

/// A file or directory that not even root can replace, until it goes out of scope.
struct Immutable(PathBuf);

impl Immutable {
    #[track_caller]
    fn make(path: &Path, attribute: &str) -> Immutable {
        roots::run(Command::new("chattr").arg(attribute).arg(path));
        Immutable(path.to_owned())
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        drop(Command::new("chattr").arg("-ia").arg(&self.0).status());
    }
}

#[test]
#[ignore = "needs root and a file system with attributes"]
fn immutable_outputs_are_skipped() {
    for family in ["debian-12", "alpine-3.23-ca-certificates", "fedora-42", "photon-5"] {
        let scene = Scene::of(family);
        for (what, target) in targets(&scene) {
            for attribute in ["+i", "+a"] {
                let _immutable = Immutable::make(&target, attribute);
                let outcome = scene.check(&format!("{family}: {what} {attribute}"));
                if !outcome.unwritable.is_empty() {
                    outcome.run.says(["immutable or append-only"]);
                }
            }
        }
    }
}

/// A security module may refuse a write that all permissions allow. Every rename in turn, for every such reason.
#[test]
#[ignore = "needs root and strace"]
fn a_refused_write_skips_that_output() {
    for (family, error) in [
        ("debian-12", "EACCES"),
        ("debian-12", "EBUSY"),
        ("alpine-3.23-ca-certificates", "EROFS"),
        ("fedora-42", "EPERM"),
        ("photon-5", "ETXTBSY"),
    ] {
        let mut scene = Scene::of(family);
        let before = Tree::of(scene.root.path());
        let mut skipped = 0;
        for number in 1.. {
            let inject = format!("inject=renameat,renameat2:error={error}:when={number}");
            scene.around =
                ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject].map(str::to_owned).into();
            let log = scene.root.exchange().join("log");
            scene.around[4] = log.display().to_string();
            let run = scene.bootstrap().run();
            let what = format!("{family}: {error} at rename {number}");
            assert_eq!(run.code, Some(0), "{what}: {run}");
            let injected = fs::read_to_string(&log).unwrap().contains("(INJECTED)");
            scene.around.clear();
            scene.check_links(&run, &what);
            let unwritable = strings(&run.json()["unwritable"]);
            if !unwritable.is_empty() {
                skipped += 1;
                let says = |words| run.stderr.contains(words);
                assert!(
                    says("the system refused the write") || says("cannot record changes"),
                    "{what}: {run}"
                );
            }
            let status = scene.trustup(["status"]).run();
            assert_eq!(status.code, Some(0), "{what}: {status}");
            let untrust = scene.trustup(["untrust", "--updater", "builtin", "--all"]).run();
            assert_eq!(untrust.code, Some(0), "{what}: {untrust}");
            before.assert_same(&Tree::of(scene.root.path()), &what);
            if !injected {
                break;
            }
        }
        assert!(skipped > 2, "{family}: {skipped}");
    }
}

/// Each hint about what cannot be written is followed as it is printed; then `--strict` works.
#[test]
#[ignore = "needs root, mounts and a file system with attributes"]
fn what_the_hints_say_makes_outputs_writable() {
    const CERTS: &str = "etc/ssl/certs";
    let strict = |scene: &Scene| scene.bootstrap().arg("--strict");

    let mut scene = Scene::of("debian-12");
    let certs = read_only(&scene.root.at(CERTS));
    scene.before = certs.clone();
    strict(&scene).fails(1).says([
        "hint: mount the file system read-write, or mount a writable volume (such as an emptyDir or a tmpfs) at that directory",
    ]);
    scene.before = format!("{certs}mount -t tmpfs volume \"$ROOT/{CERTS}\"\n");
    strict(&scene).ok();
    let mut scene = Scene::of("debian-12");
    scene.before = certs_of(&scene, "rw");
    strict(&scene).ok();

    let scene = Scene::of("debian-12");
    let bundle = scene.root.at("etc/ssl/certs/ca-certificates.crt");
    for attribute in ["+i", "+a"] {
        let _immutable = Immutable::make(&bundle, attribute);
        let refused = strict(&scene).fails(1);
        refused.says(["hint: `chattr -i -a PATH` removes the attribute"]);
        let words = [("PATH", bundle.to_str().unwrap())];
        follow(&command(&refused, "chattr "), scene.root.exchange(), &words, "");
        strict(&scene).ok();
        scene.trustup(["untrust", "--updater", "builtin", "--all"]).ok();
    }

    let mut scene = Scene::of("debian-12");
    scene.user = "1000:0";
    strict(&scene).fails(1).says([
        "hint: run trustup as root (in a Dockerfile: `USER root` before, the service's user after), or give its user",
    ]);
    roots::run(Command::new("chown").args(["-R", "1000:0"]).arg(scene.root.path()));
    strict(&scene).ok();
    let mut scene = Scene::of("debian-12");
    scene.user = "0:0";
    strict(&scene).ok();

    // What cannot be recorded is not changed.
    let mut scene = Scene::of("debian-12");
    let places = ["var/lib", "root", "tmp"].map(|place| read_only(&scene.root.at(place)));
    scene.before = places.concat();
    let refused = strict(&scene).fails(1);
    refused.says(["hint: grant write access to that path, or omit that store with `--stores`"]);
    scene.before.push_str("mount -t tmpfs volume \"$ROOT/var/lib\"\n");
    strict(&scene).ok();
}

/// `mount` commands that make the directory of the bundle read-only and then what `mode` says.
fn certs_of(scene: &Scene, mode: &str) -> String {
    let path = scene.root.at("etc/ssl/certs");
    format!("{}mount -o remount,bind,{mode} '{}'\n", read_only(&path), path.display())
}

/// Root creates no keystore in a directory of another user; that user does.
#[test]
#[ignore = "needs root"]
fn a_java_of_another_user_gets_its_keystore_from_that_user() {
    let mut scene = Scene::of("debian-12");
    let java = "home/user/.sdkman/candidates/java/25-tem";
    fs::create_dir_all(scene.root.at(&format!("{java}/lib/security"))).unwrap();
    roots::run(Command::new("chown").args(["-R", "1000:0"]).arg(scene.root.at("home/user")));
    let run = |scene: &Scene| scene.bootstrap().args(["--stores", "java", "--create-java"]);
    run(&scene).fails(5).says(["hint: run trustup as that user, with `--create-java`"]);
    scene.user = "1000:0";
    run(&scene).ok();
    assert!(scene.root.at(&format!("{java}/lib/security/cacerts")).is_file());
}

/// A root certificate that earlier runs installed must not stay trusted without a word.
#[test]
#[ignore = "needs root and mounts"]
fn what_cannot_be_removed_is_an_error() {
    for family in ["debian-12", "fedora-42", "distroless-static-debian12"] {
        let mut scene = Scene::of(family);
        let other = ca::root("Other Unwritable Root");
        other.write(scene.root.exchange(), "other.pem");
        scene.bootstrap().args(["--ca-file", "/mnt/other.pem"]).ok();
        let before = Tree::of(scene.root.path());
        let real = scene.real(&scene.places()[0]).unwrap();
        for mount in [read_only(real.parent().unwrap()), mount_of(&scene, &real)] {
            scene.before = mount;
            for args in [
                &["untrust", "--updater", "builtin", "--all"][..],
                &["untrust", "--updater", "builtin", "--fingerprint", &other.pin()],
            ] {
                let run = scene.trustup(args.iter().copied()).fails(1);
                run.says(["cannot remove the root certificate", "hint:"]);
                before.assert_same(&Tree::of(scene.root.path()), family);
            }
        }
    }
}

/// A mounted bundle that holds the root already is as good as a written one: nothing is skipped.
#[test]
#[ignore = "needs root and mounts"]
fn a_mounted_bundle_with_the_root_counts_as_trusted() {
    for family in ["debian-12", "alpine-3.23-ca-certificates", "fedora-42", "distroless-static-debian12"] {
        let mut scene = Scene::of(family);
        let bundle = scene.places()[0].clone();
        let real = scene.real(&bundle).unwrap();
        scene.before = mount_of(&scene, &real);
        let copy = fs::read_dir(scene.root.exchange()).unwrap().map(|entry| entry.unwrap().path());
        let copy = copy.into_iter().find(|path| path.to_string_lossy().contains("etc_")).unwrap();
        let whole = [fs::read(&copy).unwrap(), scene.ca.pem.clone().into_bytes()].concat();
        fs::write(&copy, &whole).unwrap();
        let outcome = scene.check(family);
        assert!(outcome.unwritable.is_empty(), "{}", outcome.run);
        for option in ["--strict", "--require-system"] {
            scene.bootstrap().arg(option).ok();
            scene.trustup(["untrust", "--updater", "builtin", "--all"]).ok();
        }
        assert_eq!(fs::read(&copy).unwrap(), whole, "a mounted file is never written");
    }
}

/// A writable tmpfs over the hashed directory is a directory like any other.
#[test]
#[ignore = "needs root and mounts"]
fn a_tmpfs_over_the_hashed_directory_is_written() {
    let scene = Scene::of("debian-12");
    let script = "set -e; /mnt/trustup bootstrap --updater builtin --strict --ca-file /mnt/root.pem";
    let mut command = Command::new("unshare");
    let root = scene.root.path().display().to_string();
    let whole = format!(
        "mount --bind '{}' '{root}/mnt'; mount -t tmpfs -o mode=755 tmpfs '{root}/etc/ssl/certs'; \
         chroot '{root}' {}; grep -c BEGIN '{root}/etc/ssl/certs/ca-certificates.crt'; ls '{root}/etc/ssl/certs'",
        scene.root.exchange().display(),
        script.trim_start_matches("set -e; "),
    );
    command.args(["--mount", "--propagation", "private", "sh", "-euc", &whole]).env("HOME", "/root");
    let said = String::from_utf8(roots::run(&mut command).stdout).unwrap();
    assert!(said.lines().any(|line| line.ends_with(".0")), "{said}");
}

/// A single file mounted into the anchor directory is an anchor like any other there: the outputs are made, it stays.
#[test]
#[ignore = "needs root and mounts"]
fn a_mounted_anchor_file_is_trusted_from_its_place() {
    for family in ["debian-12", "alpine-3.23-ca-certificates", "fedora-42", "photon-5"] {
        let mut scene = Scene::of(family);
        let anchors = scene.places().pop().unwrap();
        let extension =
            if family.starts_with("debian") || family.starts_with("alpine") { "crt" } else { "pem" };
        let file = format!("{anchors}/corp.{extension}");
        scene.root.write(&file, "");
        let before = Tree::of(scene.root.path());
        let mounted = scene.root.exchange().join("root.pem");
        scene.before = format!("mount --bind '{}' '{}'\n", mounted.display(), scene.root.at(&file).display());
        let args = ["--json", "bootstrap", "--updater", "builtin", "--strict", "--ca-file"];
        let run = scene.trustup(args).arg(format!("/{file}")).ok();
        assert_eq!(run.json()["anchors"][0]["status"], "mounted", "{family}: {run}");
        assert!(strings(&run.json()["unwritable"]).is_empty(), "{family}: {run}");
        assert!(
            ca::held(&scene.root.read(&scene.places()[0])).contains(&scene.ca.fingerprint),
            "{family}: {run}"
        );
        scene.trustup(["status"]).ok();
        assert_eq!(fs::read_to_string(&mounted).unwrap(), scene.ca.pem, "{family}");
        scene.trustup(["untrust", "--updater", "builtin", "--all"]).ok();
        before.assert_same(&Tree::of(scene.root.path()), family);
    }
}

/// The image was made with the root; at run time an empty ConfigMap hides the anchor. The links that dangle now become
/// the certificate itself, and links again once the mount is gone.
#[test]
#[ignore = "needs root and mounts"]
fn a_mount_that_hides_the_anchor_of_the_image() {
    for family in ["debian-12", "alpine-3.23-ca-certificates", "fedora-42"] {
        let mut scene = Scene::of(family);
        let first = Tree::of(scene.root.path());
        scene.bootstrap().arg("--strict").ok();
        let built = Tree::of(scene.root.path());
        let anchors = scene.root.at(&scene.places().pop().unwrap());
        let at = anchors.display();
        scene.before = format!("mount -t tmpfs -o ro tmpfs '{at}'\n");
        let run = scene.bootstrap().ok();
        run.says(["read-only file system"]);
        scene.check_outputs(&run, family);
        scene.trustup(["status"]).ok();
        assert_eq!(scene.bootstrap().ok().json()["changed"], false, "{family}");
        scene.before = String::new();
        let run = scene.bootstrap().arg("--strict").ok();
        built.without("root/.local").without(roots::STATE).assert_same(
            &Tree::of(scene.root.path()).without("root/.local").without(roots::STATE),
            &format!("{family}: {run}"),
        );
        scene.trustup(["untrust", "--updater", "builtin", "--all"]).ok();
        first.assert_same(&Tree::of(scene.root.path()), family);
    }
}

/// A ConfigMap over the anchor directory and a service behind `--`, on real roots with their own tools.
#[test]
#[ignore = "needs root and real root file systems"]
fn the_service_starts_with_a_config_map_over_the_anchors() {
    for base in [Base::Debian12, Base::Alpine] {
        let mut scene = Scene::in_root(base.copy());
        let before = Tree::of(scene.root.path());
        let anchors = scene.root.at("usr/local/share/ca-certificates");
        scene.before = read_only(&anchors);
        let run = scene
            .trustup([
                "bootstrap",
                "--ca-file",
                "/mnt/root.pem",
                "--",
                "/bin/sh",
                "-c",
                "echo $SSL_CERT_FILE",
            ])
            .ok();
        run.says(["read-only file system", "/usr/local/share/ca-certificates"]);
        assert_eq!(run.stdout.trim(), "/root/.local/state/trustup/ca-bundle.pem", "{run}");
        let bundle = ca::held(&scene.root.read("etc/ssl/certs/ca-certificates.crt"));
        assert!(bundle.contains(&scene.ca.fingerprint), "{run}");
        // The updater of the distribution cannot be asked: it would make the bundle without the root.
        scene
            .trustup(["bootstrap", "--updater", "native", "--ca-file", "/mnt/root.pem"])
            .fails(5)
            .says(["read-only file system", "--updater auto"]);
        scene.trustup(["untrust", "--updater", "builtin", "--all"]).ok();
        before.assert_same(&Tree::of(scene.root.path()), "after untrust");
    }
}
