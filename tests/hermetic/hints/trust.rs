//! Hints about trust stores: each situation is made in a root file system, the hint is followed as it is printed, and the
//! same command works.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::stores::Scene;
use crate::support::ca;
use crate::support::hints::{command, follow};
use crate::support::run::{Run, Trustup, fixtures};

const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
const LOCAL: &str = "usr/local/share/ca-certificates";
const STATE: &str = "var/lib/trustup";

/// The failures of a list of situations, shown together.
#[derive(Default)]
pub(super) struct Steps(Vec<String>);

impl Steps {
    /// `run` says `hint`; after `follow` the same run ends with exit code 0.
    pub(super) fn step(&mut self, hint: &str, run: impl Fn() -> Trustup, follow: impl FnOnce(&Run)) {
        self.other(hint, run(), |refused| {
            follow(refused);
            run()
        });
    }

    /// `wrong` says `hint`; the run that `right` makes after it ends with exit code 0.
    pub(super) fn other(&mut self, hint: &str, wrong: Trustup, right: impl FnOnce(&Run) -> Trustup) {
        let refused = wrong.run();
        let is_said = refused.stderr.lines().any(|line| line.contains("hint: ") && line.contains(hint));
        if refused.code == Some(0) || !is_said {
            self.0.push(format!("no `{hint}`: {refused}"));
            return;
        }
        let followed = right(&refused).run();
        if followed.code != Some(0) {
            self.0.push(format!("after `{hint}`: {followed}"));
        }
    }

    #[track_caller]
    pub(super) fn end(self) {
        assert!(self.0.is_empty(), "{} hints: {}", self.0.len(), self.0.join("\n-----\n"));
    }
}

fn write(scene: &Scene, path: &str, content: impl AsRef<[u8]>) {
    fs::create_dir_all(scene.at(path).parent().unwrap()).unwrap();
    fs::write(scene.at(path), content).unwrap();
}

/// Moves a path of the root file system to another place.
fn move_away(scene: &Scene, path: &str) {
    fs::rename(scene.at(path), scene.given.path().join("moved")).unwrap();
}

/// A second root, in a file beside the scene's own.
fn second(scene: &Scene) -> (ca::Root, std::path::PathBuf) {
    let root = ca::root("Second Root");
    let file = root.write(scene.given.path(), "second.pem");
    (root, file)
}

#[test]
fn what_stands_in_the_way_of_a_store_is_moved() {
    let mut steps = Steps::default();
    let scene = Scene::new("debian-12");
    fs::remove_dir_all(scene.at(LOCAL)).unwrap();
    symlink("../../../srv/anchors", scene.at(LOCAL)).unwrap();
    steps.step(
        "create the directory that it names, and run again",
        || scene.bootstrap(),
        |_| fs::create_dir_all(scene.at("srv/anchors")).unwrap(),
    );
    let scene = Scene::new("debian-12");
    fs::remove_dir_all(scene.at(LOCAL)).unwrap();
    write(&scene, LOCAL, "x");
    steps.step(
        "move the file to another place, and run again",
        || scene.bootstrap(),
        |_| move_away(&scene, LOCAL),
    );
    let scene = Scene::new("debian-12");
    write(&scene, "etc/hostname", "builder\n");
    steps.other("name another file", scene.bootstrap().args(["--ca-out", "/etc/hostname"]), |_| {
        scene.bootstrap().args(["--ca-out", "/etc/corp.pem"])
    });
    let scene = Scene::new("debian-12");
    let file = format!("{LOCAL}/corp.crt");
    write(&scene, &file, "x");
    let named = || scene.bootstrap().args(["--name", "corp"]);
    let hint = "give another name with `--name`, or move that file to another place first";
    steps.other(hint, named().arg("--dry-run"), |_| scene.bootstrap().args(["--name", "other", "--dry-run"]));
    steps.step(hint, named, |_| move_away(&scene, &file));
    let scene = Scene::new("distroless-static-debian12");
    let first = fs::read(scene.at(BUNDLE)).unwrap();
    write(&scene, BUNDLE, "no bundle\n");
    steps.step(
        "if it should be a bundle, move it to another place and run again",
        || scene.bootstrap(),
        |_| move_away(&scene, BUNDLE),
    );
    let scene = Scene::new("distroless-static-debian12");
    fs::remove_file(scene.at(BUNDLE)).unwrap();
    fs::create_dir(scene.at(BUNDLE)).unwrap();
    steps.step(
        "and replace it with a regular file",
        || scene.bootstrap(),
        |_| {
            fs::remove_dir(scene.at(BUNDLE)).unwrap();
            fs::write(scene.at(BUNDLE), &first).unwrap();
        },
    );
    let scene = Scene::new("distroless-static-debian12");
    fs::remove_file(scene.at(BUNDLE)).unwrap();
    symlink("ca-certificates.crt", scene.at(BUNDLE)).unwrap();
    steps.step(
        "check the link: it must lead to a file; then run again",
        || scene.bootstrap(),
        |_| {
            fs::write(scene.at("etc/ssl/certs/real.crt"), &first).unwrap();
            fs::remove_file(scene.at(BUNDLE)).unwrap();
            symlink("real.crt", scene.at(BUNDLE)).unwrap();
        },
    );
    let scene = Scene::new("debian-12");
    move_away(&scene, "etc/ssl");
    symlink("../etc/ssl", scene.at("etc/ssl")).unwrap();
    steps.step(
        "check the links in the path",
        || scene.bootstrap(),
        |_| {
            fs::remove_file(scene.at("etc/ssl")).unwrap();
            fs::rename(scene.given.path().join("moved"), scene.at("etc/ssl")).unwrap();
        },
    );
    let scene = Scene::new("fedora-42");
    let list = "etc/pki/ca-trust/extracted/edk2/cacerts.bin";
    write(&scene, list, "no list");
    steps.step(
        "restore it from the image or its package, or remove it, and run again",
        || scene.bootstrap(),
        |_| fs::remove_file(scene.at(list)).unwrap(),
    );
    steps.end();
}

#[test]
fn broken_inputs_and_damaged_stores_are_repaired() {
    let mut steps = Steps::default();
    let scene = Scene::new("debian-12");
    let (theirs, _) = second(&scene);
    let broken = format!("{LOCAL}/broken.crt");
    write(&scene, &broken, format!("{} text\n", theirs.pem.trim_end()));
    let strict = || scene.bootstrap().arg("--strict");
    steps.other(
        "`--updater auto` without `--strict` writes a normalized copy into the outputs",
        strict().arg("--dry-run"),
        |_| scene.bootstrap().args(["--updater", "auto", "--dry-run"]),
    );
    let moved = scene.given.path().join("moved");
    steps.other(
        "out of that directory; if its root is wanted, give the file with `--ca-file`",
        strict(),
        |refused| {
            refused.says([&format!("move `/{broken}` out")[..]]);
            move_away(&scene, &broken);
            strict().arg("--ca-file").arg(&moved)
        },
    );
    assert!(scene.held(BUNDLE).contains(&theirs.fingerprint));

    let scene = Scene::new("debian-12");
    let text = fs::read_to_string(scene.at(BUNDLE)).unwrap();
    let joined =
        text.replacen("-----END CERTIFICATE-----\n-----BEGIN", "-----END CERTIFICATE----------BEGIN", 1);
    fs::write(scene.at(BUNDLE), joined).unwrap();
    steps.step(
        "`trustup bootstrap --repair` repairs what it can; `trustup doctor` names what is wrong",
        || scene.bootstrap().arg("--strict"),
        |_| {
            let named = scene.trustup(["doctor"]).run();
            assert!(named.stdout.contains(BUNDLE), "{named}");
            scene.trustup(["bootstrap", "--repair"]).ok();
        },
    );

    let scene = Scene::new("rocky-9");
    let blocked = fixtures().join("roots/ISRG_Root_X2.pem");
    steps.step(
        "remove the certificate from the blocklist if it should be trusted",
        || scene.trustup(["bootstrap", "--ca-file"]).arg(&blocked),
        |_| fs::remove_file(scene.at("etc/pki/ca-trust/source/blocklist/ISRG_Root_X2.pem")).unwrap(),
    );
    steps.end();
}

#[test]
fn firefox_and_profiles_leave_what_others_wrote() {
    let mut steps = Steps::default();
    let scene = Scene::new("scratch");
    let policy = |name: &str| scene.bootstrap().args(["--firefox-policy", "--name", name]);
    let file = "usr/lib/mozilla/certificates/corp.pem";
    write(&scene, file, "theirs");
    let hint = "give the root another name with `--name`, or move the file to another place";
    steps.other(hint, policy("corp").arg("--dry-run"), |_| policy("other").arg("--dry-run"));
    steps.step(hint, || policy("corp"), |_| move_away(&scene, file));

    let scene = Scene::new("debian-12");
    let policy = || scene.bootstrap().arg("--firefox-policy");
    let file = "etc/firefox/policies/policies.json";
    fs::create_dir_all(scene.at(file)).unwrap();
    steps.step("check what it is: Firefox reads a regular file there, or nothing", policy, |_| {
        fs::remove_dir(scene.at(file)).unwrap()
    });
    for (damaged, repaired) in [
        ("{\"policies\": {},}", "{\"policies\": {}}"),
        ("{\"policies\": {\"Certificates\": []}}", "{\"policies\": {\"Certificates\": {}}}"),
    ] {
        let scene = Scene::new("debian-12");
        let policy = || scene.bootstrap().arg("--firefox-policy");
        let hint = "repair or remove it, and run again";
        write(&scene, file, damaged);
        steps.other(hint, policy(), |_| {
            fs::remove_file(scene.at(file)).unwrap();
            policy().arg("--dry-run")
        });
        write(&scene, file, damaged);
        steps.step(hint, policy, |_| write(&scene, file, repaired));
    }

    let scene = Scene::new("debian-12");
    scene.bootstrap().ok();
    let file = "etc/profile.d/trustup.sh";
    write(&scene, file, "theirs");
    let install = || scene.trustup(["env", "--install"]);
    let hint =
        "move it to another place, or keep it and do without `--install`: `trustup env` prints the variables";
    steps.other(hint, install(), |_| scene.trustup(["env"]));
    steps.step(hint, install, |_| move_away(&scene, file));
    steps.end();
}

#[test]
fn roots_that_nobody_asked_for_are_removed_or_named() {
    let mut steps = Steps::default();
    let scene = Scene::new("debian-12");
    let pinned = || scene.bootstrap().args(["--require-pin", "--fingerprint", &scene.ca.pin()]);
    let (theirs, file) = second(&scene);
    let first = fs::read(scene.at(BUNDLE)).unwrap();
    scene.trustup(["bootstrap", "--ca-file"]).arg(&file).args(["--name", "theirs"]).ok();
    // Somebody took it out again, and the record still names it.
    fs::write(scene.at(BUNDLE), first).unwrap();
    steps.step("`trustup untrust --fingerprint HEX` removes a root of an earlier run", pinned, |_| {
        scene.trustup(["untrust", "--fingerprint", &theirs.pin()]).ok();
    });

    let scene = Scene::new("debian-12");
    let pinned = || scene.bootstrap().args(["--require-pin", "--fingerprint", &scene.ca.pin()]);
    let (theirs, file) = second(&scene);
    let planted = format!("{LOCAL}/theirs.crt");
    write(&scene, &planted, &theirs.pem);
    steps.other(
        "if it should be trusted, name its file with `--ca-file` in this run, and its fingerprint with `--fingerprint`",
        pinned(),
        |_| pinned().arg("--ca-file").arg(&file).args(["--fingerprint", &theirs.pin(), "--dry-run"]),
    );
    steps.step("remove the file that holds it, if it should not be trusted", pinned, |_| {
        fs::remove_file(scene.at(&planted)).unwrap();
    });
    steps.end();
}

#[test]
fn records_of_another_program_or_system_are_moved_or_removed() {
    let mut steps = Steps::default();
    let scene = Scene::new("debian-12");
    let (_, file) = second(&scene);
    scene.trustup(["bootstrap", "--ca-file"]).arg(&file).ok();
    fs::remove_file(scene.at("etc/os-release")).unwrap();
    write(&scene, "etc/os-release", "ID=alpine\n");
    steps.step(
        "run `trustup untrust --all` first: it removes what that run installed; then bootstrap again",
        || scene.bootstrap(),
        |_| drop(scene.trustup(["untrust", "--all"]).ok()),
    );

    let remove = |scene: &Scene, refused: &Run| {
        let path = refused.stderr.split("remove `").nth(1).unwrap().split('`').next().unwrap().to_owned();
        assert!(Path::new(&path).starts_with(scene.root.path()), "{path}");
        fs::remove_file(path).unwrap();
    };
    for name in ["journal.json", "state.json"] {
        let scene = Scene::new("debian-12");
        scene.bootstrap().ok();
        write(&scene, &format!("{STATE}/{name}"), "{");
        let (_, file) = second(&scene);
        // The one says "find out which program wrote it, remove …", the other "…, then remove …".
        let hint = if name == "state.json" {
            "find out which program wrote it, then "
        } else {
            "find out which program wrote it, remove"
        };
        steps.step(
            hint,
            || scene.trustup(["bootstrap", "--ca-file"]).arg(&file),
            |refused| remove(&scene, refused),
        );
    }
    let scene = Scene::new("debian-12");
    write(&scene, STATE, "theirs");
    steps.step(
        "find out which program created it, then move it to another place and run bootstrap again",
        || scene.bootstrap(),
        |_| move_away(&scene, STATE),
    );
    let scene = Scene::new("debian-12");
    fs::create_dir_all(scene.at(&format!("{STATE}/lock"))).unwrap();
    steps.step(
        "find out which program created it, move it away, and run again",
        || scene.bootstrap(),
        |_| move_away(&scene, &format!("{STATE}/lock")),
    );
    steps.end();
}

#[test]
fn updaters_and_distributions_have_names() {
    let mut steps = Steps::default();
    let scene = Scene::new("debian-12");
    steps.other(
        "`--updater auto` uses the built-in updater instead",
        scene.bootstrap().args(["--updater", "native", "--dry-run"]),
        |_| scene.bootstrap().args(["--updater", "auto", "--dry-run"]),
    );
    steps.other(
        "`trustup detect --list` lists the names",
        scene.trustup(["detect"]).env("TRUSTUP_DISTRIBUTION", "debain"),
        |_| {
            let list = Trustup::new(["detect", "--list"]).ok();
            let name = list.stdout.split_whitespace().find(|word| *word == "debian");
            scene.trustup(["detect"]).env("TRUSTUP_DISTRIBUTION", name.expect("Debian"))
        },
    );
    steps.end();
}

#[test]
fn a_sysroot_is_a_root_file_system() {
    let mut steps = Steps::default();
    let scene = Scene::new("debian-12");
    let (_, file) = second(&scene);
    let at = |sysroot: &Path| Trustup::at(sysroot, ["bootstrap", "--ca-file"]).arg(&file);
    steps.other(
        "`--sysroot` names the directory that holds the root file system, such as an unpacked image",
        at(&scene.given.path().join("missing")),
        |_| at(scene.root.path()).arg("--dry-run"),
    );
    let place = tempfile::tempdir().unwrap();
    let bundle = place.path().join("bundle");
    fs::create_dir(&bundle).unwrap();
    fs::write(bundle.join("config.json"), "{}").unwrap();
    let copied = Command::new("/bin/cp").arg("-a").arg(scene.root.path()).arg(bundle.join("rootfs")).status();
    assert!(copied.unwrap().success());
    steps.other("the root file system is in it: `--sysroot ", at(&bundle), |refused| {
        let option = command(refused, "--sysroot ");
        Trustup::new(option.split(' ')).args(["bootstrap", "--ca-file"]).arg(&file)
    });
    let saved = place.path().join("saved");
    fs::create_dir(&saved).unwrap();
    let words = [("SAVED", saved.to_str().unwrap()), ("ROOT", scene.root.path().to_str().unwrap())];
    follow("tar -c -f SAVED/root.tar -C ROOT .", place.path(), &words, "");
    steps.other("unpack that into another directory, and name the directory", at(&saved), |_| {
        follow("mkdir other && tar -x -f SAVED/root.tar -C other", place.path(), &words, "");
        at(&place.path().join("other"))
    });
    let empty = place.path().join("empty");
    fs::create_dir(&empty).unwrap();
    steps.step(
        "for an image FROM scratch, whose root file system is really like this: `mkdir ",
        || at(&empty),
        |refused| follow(&command(refused, "mkdir /"), place.path(), &[], ""),
    );
    steps.end();
}
