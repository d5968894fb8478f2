//! Hints about mounts, owners and locks of a root file system: each situation is made, the hint is followed as it is
//! printed, and the same command works.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::enrollment::{Scene as Enrollment, write};
use crate::support::hints::{command, follow};
use crate::support::program::copy_for_all;
use crate::support::run::{Run, Trustup, unpacked};
use crate::support::{binary, ca};

const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
/// The user of the service.
const USER: u32 = 1000;

/// A root file system that any user can enter, and a root beside it.
struct Scene {
    root: tempfile::TempDir,
    given: tempfile::TempDir,
    ca: ca::Root,
}

impl Scene {
    fn new() -> Scene {
        let scene = Scene {
            root: unpacked("debian-12"),
            given: tempfile::tempdir().unwrap(),
            ca: ca::root("Root of Places"),
        };
        for directory in [&scene.root, &scene.given] {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let file = scene.ca.write(scene.given.path(), "root.pem");
        fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        scene
    }

    /// Everything in it belongs to the service's user, but `path`, which is made and root's.
    fn but_for(path: &str) -> Scene {
        let scene = Scene::new();
        fs::create_dir_all(scene.at(path)).unwrap();
        let all = Command::new("chown").args(["-R", "1000:1000"]).arg(scene.root.path()).status().unwrap();
        assert!(all.success());
        chown(scene.at(path), Some(0), Some(0)).unwrap();
        scene
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn bootstrap(&self) -> Trustup {
        Trustup::at(self.root.path(), ["bootstrap", "--ca-file"]).arg(self.given.path().join("root.pem"))
    }

    /// The same by the service's user.
    fn by_user(&self) -> Trustup {
        let program = self.given.path().join("trustup");
        if !program.exists() {
            copy_for_all(binary::trustup(), self.given.path(), 0o755);
        }
        self.bootstrap().binary(&program)
    }

    /// `run` in a mount namespace, after shell commands in which ROOT and GIVEN are the two directories.
    fn after(&self, commands: &str, run: &Trustup) -> Run {
        after(&[("ROOT", self.root.path()), ("GIVEN", self.given.path())], commands, run)
    }
}

fn after(words: &[(&str, &Path)], commands: &str, run: &Trustup) -> Run {
    let mut commands = commands.to_owned();
    for (word, path) in words {
        commands = commands.replace(word, path.to_str().unwrap());
    }
    let mut command = Command::new("unshare");
    binary::clear(&mut command);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/none");
    command.args(["--mount", "--propagation", "private", "/bin/sh", "-euc"]);
    command.arg(format!("{commands}\nexec \"$@\"")).arg("sh").arg(binary::trustup());
    Trustup::through(command, run.arguments()).run()
}

/// The run failed and says `hint`; the other, which follows the hint, worked.
#[track_caller]
fn helps(hint: &str, refused: &Run, followed: &Run) {
    assert_ne!(refused.code, Some(0), "{refused}");
    assert!(
        refused.stderr.lines().any(|line| line.contains("hint: ") && line.contains(hint)),
        "no `{hint}`: {refused}"
    );
    assert_eq!(followed.code, Some(0), "after `{hint}`: {followed}");
}

#[test]
#[ignore = "needs root, unshare"]
fn file_systems_are_mounted_read_write_and_have_space() {
    let read_only = "mount --bind ROOT ROOT; mount -o remount,bind,ro ROOT";
    let hint = "the file system is mounted read-only: mount it read-write, or put a volume or tmpfs at the directory that is written";
    let scene = Scene::new();
    let refused = scene.after(read_only, &scene.bootstrap());
    let rights = format!("{read_only}; mount -o remount,bind,rw ROOT");
    helps(hint, &refused, &scene.after(&rights, &scene.bootstrap()));

    let scene = Scene::new();
    let certs = read_only.replace("ROOT", "ROOT/etc/ssl/certs");
    let refused = scene.after(&certs, &scene.bootstrap());
    let volume = format!("{certs}; mount -t tmpfs volume ROOT/etc/ssl/certs");
    helps(hint, &refused, &scene.after(&volume, &scene.bootstrap()));

    let scene = Scene::new();
    fs::create_dir_all(scene.at("var/lib")).unwrap();
    let full = "mount -t tmpfs -o size=64k small ROOT/var/lib; head -c 64k /dev/zero >ROOT/var/lib/filler";
    let refused = scene.after(full, &scene.bootstrap());
    let freed = format!("{full}; rm ROOT/var/lib/filler");
    helps("free some space", &refused, &scene.after(&freed, &scene.bootstrap()));
}

#[test]
#[ignore = "needs root, unshare"]
fn directories_are_mounted_instead_of_single_files() {
    let hint = "mount the directory instead of the single file, or mount a file that holds the root already";
    let mount = "mount --bind GIVEN/certs/ca-certificates.crt ROOT/etc/ssl/certs/ca-certificates.crt";
    let scene = Scene::new();
    let copied = Command::new("cp").arg("-a").arg(scene.at("etc/ssl/certs")).arg(scene.given.path()).status();
    assert!(copied.unwrap().success());
    let strict = || scene.bootstrap().arg("--strict");
    let refused = scene.after(mount, &strict());
    let directory = "mount --bind GIVEN/certs ROOT/etc/ssl/certs";
    helps(hint, &refused, &scene.after(directory, &strict()));
    // What the run put into the mounted directory holds the root already.
    helps(hint, &refused, &scene.after(mount, &strict()));

    let scene = Scene::new();
    scene.bootstrap().ok();
    let state = scene.at("var/lib/trustup");
    let copied = Command::new("cp").arg("-a").arg(state).arg(scene.given.path()).status();
    assert!(copied.unwrap().success());
    let second = ca::root("Second Root").write(scene.given.path(), "second.pem");
    let run = || Trustup::at(scene.root.path(), ["bootstrap", "--ca-file"]).arg(&second);
    let refused =
        scene.after("mount --bind GIVEN/trustup/state.json ROOT/var/lib/trustup/state.json", &run());
    let directory = "mount --bind GIVEN/trustup ROOT/var/lib/trustup";
    refused.says(["hint: the journal is kept: the next run tries again to undo this"]);
    let journal = scene.at("var/lib/trustup/journal.json");
    assert!(journal.exists(), "{refused}");
    helps("mount the directory, not the file", &refused, &scene.after(directory, &run()));
    run().ok();
    assert!(!journal.exists());
}

/// A pair's file that is mounted by itself, read-only.
#[test]
#[ignore = "needs root, unshare"]
fn a_mounted_file_of_a_pair_is_mounted_without_ro() {
    let scene = Enrollment::new();
    for name in ["given", "tls"] {
        fs::create_dir(scene.path(name)).unwrap();
        write(&scene.path(name).join("tls.crt"), b"", 0o644);
    }
    let run = || {
        Trustup::new(["--timeout", "20s", "enroll", "provisioner", "web.test", "--force", "--ca-url"])
            .args([&scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex(), "--password-file"])
            .arg(scene.path("password"))
            .arg("--cert")
            .arg(scene.path("tls/tls.crt"))
            .arg("--key")
            .arg(scene.path("tls.key"))
    };
    let within = |commands: &str| after(&[("PLACE", scene.directory.path())], commands, &run());
    let mount = "mount --bind PLACE/given/tls.crt PLACE/tls/tls.crt";
    let refused = within(&format!("{mount}; mount -o remount,bind,ro PLACE/tls/tls.crt"));
    let hint = "the file is mounted by itself: mount it without `ro`, or mount its directory";
    helps(hint, &refused, &within(mount));
    helps(hint, &refused, &within("mount --bind PLACE/given PLACE/tls"));
}

#[test]
#[ignore = "needs root"]
fn links_of_other_users_are_given_to_root_or_named_by_their_targets() {
    let scene = Scene::new();
    fs::rename(scene.at(BUNDLE), scene.at("etc/ssl/certs/real.crt")).unwrap();
    symlink("real.crt", scene.at(BUNDLE)).unwrap();
    lchown(scene.at(BUNDLE), Some(USER), Some(USER)).unwrap();
    let refused = scene.bootstrap().run();
    refused.says(["hint: make root the owner of the link: `chown -h 0:0 "]);
    follow(&command(&refused, "chown -h 0:0 "), scene.given.path(), &[], "");
    helps("make root the owner of the link", &refused, &scene.bootstrap().run());

    let scene = Enrollment::new();
    fs::create_dir(scene.path("tls")).unwrap();
    symlink("tls", scene.path("link")).unwrap();
    lchown(scene.path("link"), Some(USER), Some(USER)).unwrap();
    let enroll = |directory: &str| {
        Trustup::new(["--timeout", "20s", "enroll", "provisioner", "web.test", "--force", "--ca-url"])
            .args([&scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex(), "--password-file"])
            .arg(scene.path("password"))
            .arg("--cert")
            .arg(scene.path(directory).join("tls.crt"))
            .arg("--key")
            .arg(scene.path(directory).join("tls.key"))
    };
    let hint = "name the real path, or make root the owner of the link: `chown -h 0:0 ";
    let refused = enroll("link").run();
    helps(hint, &refused, &enroll("tls").run());
    follow(&command(&refused, "chown -h 0:0 "), scene.directory.path(), &[], "");
    helps(hint, &refused, &enroll("link").run());
}

#[test]
#[ignore = "needs root"]
fn what_the_user_cannot_write_is_left_to_root() {
    let scene = Scene::but_for("etc/firefox/policies");
    let hint = "run it as root, or omit `--firefox-policy`";
    let refused = scene.by_user().arg("--firefox-policy").uid(USER).run();
    helps(hint, &refused, &scene.by_user().uid(USER).run());
    let scene = Scene::but_for("etc/firefox/policies");
    helps(hint, &refused, &scene.bootstrap().arg("--firefox-policy").run());

    let scene = Scene::but_for("var/lib");
    let refused = scene.by_user().uid(USER).run();
    chown(scene.at("var/lib"), Some(USER), Some(USER)).unwrap();
    let first = ca::held(&fs::read(scene.at(BUNDLE)).unwrap());
    helps("trustup keeps what it needs for `untrust` there", &refused, &scene.by_user().uid(USER).run());
    assert_ne!(ca::held(&fs::read(scene.at(BUNDLE)).unwrap()), first);
    Trustup::at(scene.root.path(), ["untrust", "--all"])
        .binary(&scene.given.path().join("trustup"))
        .uid(USER)
        .ok();
    assert_eq!(ca::held(&fs::read(scene.at(BUNDLE)).unwrap()), first);
}

/// Root works in another user's directory with that user's rights.
#[test]
#[ignore = "needs root"]
fn a_directory_and_its_files_belong_to_one_user() {
    let hint = "give the directory and the file in it to one user who can write there (`chown`, `chmod u+w`), or run trustup as the owner of the directory";
    let certs = |scene: &Scene| chown(scene.at("etc/ssl/certs"), Some(USER), Some(USER)).unwrap();
    let scene = Scene::new();
    certs(&scene);
    let refused = scene.bootstrap().arg("--strict").run();
    chown(scene.at("etc/ssl/certs"), Some(0), Some(0)).unwrap();
    helps(hint, &refused, &scene.bootstrap().arg("--strict").run());
    let scene = Scene::new();
    certs(&scene);
    for entry in fs::read_dir(scene.at("etc/ssl/certs")).unwrap() {
        lchown(entry.unwrap().path(), Some(USER), Some(USER)).unwrap();
    }
    helps(hint, &refused, &scene.bootstrap().arg("--strict").run());
    // Not even its owner may write.
    let scene = Scene::new();
    let all = Command::new("chown").args(["-R", "1000:1000"]).arg(scene.at("etc/ssl/certs")).status();
    assert!(all.unwrap().success());
    fs::set_permissions(scene.at("etc/ssl/certs"), fs::Permissions::from_mode(0o555)).unwrap();
    let refused = scene.bootstrap().arg("--strict").run();
    follow("chmod u+w etc/ssl/certs", scene.root.path(), &[], "");
    helps(hint, &refused, &scene.bootstrap().arg("--strict").run());
}

/// A copy of the roots for a service, which root wrote before into the service's directory.
#[test]
#[ignore = "needs root"]
fn a_copy_for_a_service_belongs_to_the_owner_of_its_directory() {
    let scene = Scene::new();
    fs::create_dir_all(scene.at("srv/app")).unwrap();
    fs::write(scene.at("srv/app/ca.pem"), ca::root("Older Root").pem).unwrap();
    chown(scene.at("srv/app"), Some(USER), Some(USER)).unwrap();
    let copied = || scene.bootstrap().args(["--ca-out", "/srv/app/ca.pem"]);
    let refused = copied().run();
    refused.says(["hint: `chown 1000 ", "or omit the option that names it, such as `--ca-out`"]);
    helps("or omit the option that names it", &refused, &scene.bootstrap().arg("--dry-run").run());
    follow(&command(&refused, "chown 1000 "), scene.given.path(), &[], "");
    helps("or omit the option that names it", &refused, &copied().run());
}

/// As NSS before 3.12 made it, and Debian's certutil still can.
#[test]
#[ignore = "needs libnss3-tools"]
fn an_old_database_is_converted_with_certutil() {
    let scene = Scene::new();
    let place = scene.at("home/user/.pki/nssdb");
    fs::create_dir_all(&place).unwrap();
    fs::write(scene.at("etc/passwd"), "user:x:1000:1000::/home/user:/bin/sh\n").unwrap();
    let old = ca::root("Old Root").write(scene.given.path(), "old.pem");
    let certutil = |arguments: &str| {
        let words = [("FILE", old.to_str().unwrap())];
        follow(&format!("certutil {arguments}"), &place, &words, "");
    };
    certutil("-N -d dbm:. --empty-password");
    certutil("-A -d dbm:. -n old -t C,, -i FILE");
    let named = || scene.bootstrap().args(["--stores", "nss"]);
    let refused = named().run();
    refused.says([
        "convert it with certutil (`certutil -L -X -d sql:DIR` makes the new files beside the old ones)",
    ]);
    follow(&command(&refused, "certutil "), &place, &[("DIR", place.to_str().unwrap())], "");
    // NSS keeps the old form of the password: the next hint renews it, here by an empty one again.
    let again = named().run();
    fs::write(scene.given.path().join("none"), "\n").unwrap();
    let none = scene.given.path().join("none").display().to_string();
    let renew = command(&again, "certutil -W") + " -f NONE -@ NONE";
    follow(&renew, &place, &[("DIRECTORY", "."), ("NONE", &none)], "");
    helps("convert it with certutil", &refused, &named().run());
    certutil("-L -d sql:. -n old");
}

/// Trying a password takes seconds here: that is left alone, but where it was asked for.
#[test]
#[ignore = "needs keytool"]
fn a_keystore_that_costs_much_is_changed_when_java_is_named() {
    let scene = Scene::new();
    let place = scene.at("opt/jdk/lib/security");
    fs::create_dir_all(&place).unwrap();
    let theirs = ca::root("Their Root").write(scene.given.path(), "their.pem");
    let make = "keytool -J-Dkeystore.pkcs12.macIterationCount=2500000 -importcert -noprompt -alias theirs -file FILE \
                -keystore cacerts -storepass changeit -storetype PKCS12";
    follow(make, &place, &[("FILE", theirs.to_str().unwrap())], "");
    let before = fs::read(place.join("cacerts")).unwrap();
    scene.bootstrap().ok().says(["`--stores java` changes it anyway, however long that takes"]);
    assert_eq!(fs::read(place.join("cacerts")).unwrap(), before);
    scene.bootstrap().args(["--stores", "java"]).ok();
    assert_ne!(fs::read(place.join("cacerts")).unwrap(), before);
}

/// The keystore that the distribution's tool writes, replaced by one with another password.
#[test]
#[ignore = "needs keytool"]
fn a_keystore_of_the_distribution_is_made_anew_with_its_password() {
    let scene = Scene { root: unpacked("fedora-42"), ..Scene::new() };
    let place = scene.at("etc/pki/ca-trust/extracted/java");
    let theirs = ca::root("Their Root").write(scene.given.path(), "their.pem");
    fs::remove_file(place.join("cacerts")).unwrap();
    let make = "keytool -importcert -noprompt -alias theirs -file FILE -keystore cacerts -storepass secret \
                -storetype PKCS12";
    follow(make, &place, &[("FILE", theirs.to_str().unwrap())], "");
    let named = || scene.bootstrap().args(["--stores", "system,java"]);
    let refused = named().run();
    refused.says(["hint: `keytool -importkeystore -deststoretype JKS` into a new file with the password `changeit` makes a keystore that it can change"]);
    let convert = command(&refused, "keytool -importkeystore");
    let convert = format!(
        "{convert} -srckeystore cacerts -srcstorepass secret -destkeystore new -deststorepass changeit -noprompt"
    );
    follow(&convert, &place, &[], "");
    fs::rename(place.join("new"), place.join("cacerts")).unwrap();
    helps("keytool -importkeystore", &refused, &named().run());
}
