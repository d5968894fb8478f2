//! Hints about rights and mounts: each situation is made, the hint is followed as it is printed, and it works. The
//! situations are those of containers; `setpriv` and mount namespaces make them without an engine.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use crate::support::enrollment::{Scene, done, write};
use crate::support::hints;
use crate::support::program::copy_for_all;
use crate::support::run::{Run, Trustup, unpacked};
use crate::support::{binary, ca};

/// The user of the service.
const USER: u32 = 1000;

/// trustup as root with these capabilities only, as after `docker run --cap-drop ALL --cap-add …`.
fn with_only(capabilities: &[&str], run: &Trustup) -> Run {
    let mut command = Command::new("setpriv");
    let kept: String = capabilities.iter().map(|name| format!(",+{}", name.to_lowercase())).collect();
    command.arg(format!("--bounding-set=-all{kept}")).arg(binary::trustup());
    binary::clear(&mut command);
    command.env("PATH", "/usr/bin:/bin");
    Trustup::through(command, run.arguments()).run()
}

/// The capabilities that a hint names.
fn named(run: &Run) -> Vec<&str> {
    run.stderr.split("--cap-add ").skip(1).map(|rest| rest.split([' ', '`']).next().unwrap()).collect()
}

/// By the provisioner's password, with plain output.
fn enroll(scene: &Scene, directory: &Path) -> Trustup {
    Trustup::new(["--timeout", "20s", "enroll", "provisioner", "web.test", "--ca-url", &scene.server.url()])
        .args(["--fingerprint", &scene.ca.fingerprint().hex(), "--password-file"])
        .arg(scene.path("password"))
        .arg("--cert")
        .arg(directory.join("tls.crt"))
        .arg("--key")
        .arg(directory.join("tls.key"))
}

/// A directory of `uid` with this mode, which everyone can reach.
fn directory(scene: &Scene, name: &str, uid: u32, mode: u32) -> std::path::PathBuf {
    fs::set_permissions(scene.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = scene.path(name);
    fs::create_dir(&path).unwrap();
    chown(&path, Some(uid), Some(uid)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

/// `--owner` by root without CAP_CHOWN: not "run as root", but the capability, or the user.
#[test]
#[ignore = "needs root, setpriv"]
fn root_without_a_capability_is_told_which() {
    let scene = Scene::new();
    let place = directory(&scene, "tls", 0, 0o755);
    let run = || enroll(&scene, &place).args(["--owner", "1000:1000"]);
    let refused = with_only(&[], &run());
    assert_eq!(refused.code, Some(1), "{refused}");
    refused.says(["hint: root lacks capabilities here: start the container with `--cap-add CHOWN"]);
    assert!(!refused.stderr.contains("USER root"), "{refused}");
    let followed = with_only(&named(&refused), &run());
    assert_eq!(followed.code, Some(0), "{followed}");
    assert_eq!(fs::metadata(place.join("tls.key")).unwrap().uid(), USER);
}

/// Root without CAP_DAC_OVERRIDE in a directory of another user.
#[test]
#[ignore = "needs root, setpriv"]
fn root_that_may_not_write_runs_as_the_owner() {
    let root = unpacked("debian-12-minimal");
    let all = Command::new("chown").args(["-R", "1000:1000"]).arg(root.path()).status().unwrap();
    assert!(all.success());
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let given = tempfile::tempdir().unwrap();
    fs::set_permissions(given.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = ca::root("Hint Root").write(given.path(), "root.pem");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let program = copy_for_all(binary::trustup(), given.path(), 0o755);
    let run = Trustup::at(root.path(), ["bootstrap", "--strict", "--ca-file"]).arg(&file);
    let refused = with_only(&[], &run);
    assert_ne!(refused.code, Some(0), "{refused}");
    refused.says(["--cap-add", "DAC_OVERRIDE", "`--user 1000`"]);
    assert!(!refused.stderr.contains("USER root"), "{refused}");
    let run = Trustup::at(root.path(), ["bootstrap", "--strict", "--ca-file"]).arg(&file).binary(&program);
    run.uid(USER).ok();
}

/// Kubernetes' `fsGroup` gives the key the mode 0660 at each start of a pod.
#[test]
#[ignore = "needs root"]
fn a_key_of_a_volume_with_fs_group_is_kept_with_its_mode() {
    let scene = Scene::new();
    scene.enroll().ok();
    let narrowed = || {
        fs::set_permissions(scene.path("server.key"), fs::Permissions::from_mode(0o660)).unwrap();
    };
    narrowed();
    let (action, reason) = done(&scene.enroll().ok());
    assert_eq!(action, "issued", "{reason}");
    assert!(reason.contains("mode 0660") && reason.contains("`--key-mode 0660`"), "{reason}");
    let followed = || scene.enroll().args(["--key-mode", "0660"]);
    followed().ok();
    narrowed();
    let (action, reason) = done(&followed().ok());
    assert_eq!(action, "kept", "{reason}");
}

/// A damaged state of the CA in a volume: the volume's directory cannot be removed, but emptied.
#[test]
#[ignore = "needs root, unshare"]
fn a_mount_point_is_emptied_not_removed() {
    let place = tempfile::tempdir().unwrap();
    for name in ["volume", "state"] {
        fs::create_dir(place.path().join(name)).unwrap();
    }
    write(&place.path().join("volume/ca.json"), b"{}", 0o600);
    fs::set_permissions(place.path().join("volume"), fs::Permissions::from_mode(0o700)).unwrap();
    let script = |then: &str| {
        let state = place.path().join("state");
        let (volume, state) = (place.path().join("volume"), state.to_str().unwrap().to_owned());
        format!("mount --bind {} {state} && {}", volume.display(), then.replace("STATE", &state))
    };
    let ca = format!("{} dev-ca --listen 127.0.0.1:0 --state STATE", binary::trustup().display());
    let in_mount = |then: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script(then)]);
        binary::clear(&mut command);
        let output = command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let refused = in_mount(&ca);
    let hint =
        refused.lines().find(|line| line.contains("hint: empty it")).unwrap_or_else(|| panic!("{refused}"));
    assert!(hint.contains("to start with a new CA"), "{hint}");
    let command = hint.split('`').nth(1).unwrap();
    // One line, and the CA is asked to end.
    let followed = in_mount(&format!(
        "{command} && {{ {ca} --json & echo $! >STATE.pid; }} | head -1; kill $(cat STATE.pid)"
    ));
    assert!(followed.contains("fingerprint"), "{followed}");
}

/// Docker makes a directory where the source of a file's mount is missing.
#[test]
#[ignore = "needs root, unshare"]
fn a_directory_mounted_in_place_of_a_file_is_explained() {
    let place = tempfile::tempdir().unwrap();
    for name in ["missing", "trustup.toml"] {
        fs::create_dir(place.path().join(name)).unwrap();
    }
    let file = place.path().join("trustup.toml");
    let mut command = Command::new("unshare");
    let script = format!(
        "mount --bind {} {} && {} bootstrap --dry-run --config {1}",
        place.path().join("missing").display(),
        file.display(),
        binary::trustup().display()
    );
    command.args(["--mount", "sh", "-c", &script]);
    binary::clear(&mut command);
    let output = command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Docker makes an empty one where the source of `-v"), "{said}");
    fs::remove_dir(&file).unwrap();
    let root = ca::root("Mounted Root").write(place.path(), "root.pem");
    write(&file, format!("[trust]\nca_file = [{root:?}]\n").as_bytes(), 0o644);
    let sysroot = unpacked("debian-12-minimal");
    Trustup::at(sysroot.path(), ["bootstrap", "--dry-run", "--config"]).arg(&file).ok();
}

/// The hint of each failure is a command that begins with one of these words; others are advice.
#[test]
#[ignore = "needs root, setpriv"]
fn the_ca_of_a_foreign_directory_is_given_to_its_user() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    fs::create_dir(&state).unwrap();
    chown(&state, Some(USER), Some(USER)).unwrap();
    let run = || Trustup::new(["--json", "dev-ca", "--listen", "127.0.0.1:0", "--state"]).arg(&state);
    let refused = run().fails(1);
    let command = hints::command(&refused, "chown");
    hints::follow(&command, place.path(), &[], "");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = run().fails(1);
    refused.says(["or name a directory of your own with `--state DIR`"]);
    hints::follow(&hints::command(&refused, "chmod"), place.path(), &[], "");
    let started = run().start();
    started.signal(rustix::process::Signal::TERM);
    assert_ne!(started.end().code, Some(1));
}

/// A directory whose **owner** is another user: no `chmod` helps, `--owner` does.
#[test]
#[ignore = "needs root"]
fn a_directory_of_the_service_takes_its_owner() {
    let scene = Scene::new();
    let place = directory(&scene, "tls", USER, 0o755);
    let refused = enroll(&scene, &place).fails(1);
    refused.says(["belongs to user 1000", "`--owner 1000:1000`", "or take it over: `chown"]);
    assert!(!refused.stderr.contains("chmod"), "{refused}");
    let option = hints::command(&refused, "--owner");
    enroll(&scene, &place).args(option.split(' ')).ok();
    assert_eq!(fs::metadata(place.join("tls.key")).unwrap().uid(), USER);
    // The other way out: it is taken over.
    let other = directory(&scene, "other", USER, 0o755);
    let refused = enroll(&scene, &other).fails(1);
    hints::follow(&hints::command(&refused, "chown"), &other, &[], "");
    enroll(&scene, &other).ok();
    // And the third: as this user.
    let third = directory(&scene, "third", USER, 0o755);
    enroll(&scene, &third).fails(1).says(["`docker run --user 1000`"]);
    fs::set_permissions(scene.path("password"), fs::Permissions::from_mode(0o644)).unwrap();
    let program = copy_for_all(binary::trustup(), scene.directory.path(), 0o755);
    enroll(&scene, &third).binary(&program).uid(USER).ok();
}

#[test]
#[ignore = "needs root"]
fn a_directory_that_others_can_write_is_closed() {
    let scene = Scene::new();
    for (name, owner) in [("tls", 0), ("of-the-service", USER)] {
        let place = directory(&scene, name, owner, 0o777);
        let run = || match owner {
            0 => enroll(&scene, &place),
            _ => enroll(&scene, &place).args(["--owner", "1000"]),
        };
        let refused = run().fails(1);
        refused.says(["or remove that right: `chmod go-w"]);
        hints::follow(&hints::command(&refused, "chmod go-w"), &place, &[], "");
        run().ok();
    }
}

/// trustup.toml of a laptop's bind mount: of another user, or writable by the group.
#[test]
#[ignore = "needs root"]
fn a_configuration_file_is_given_to_root() {
    let place = tempfile::tempdir().unwrap();
    let root = ca::root("Configured Root").write(place.path(), "root.pem");
    let file = place.path().join("trustup.toml");
    let sysroot = unpacked("debian-12-minimal");
    let run = || Trustup::at(sysroot.path(), ["bootstrap", "--dry-run", "--config"]).arg(&file);
    write(&file, format!("[trust]\nca_file = [{root:?}]\n").as_bytes(), 0o664);
    chown(&file, Some(USER), Some(USER)).unwrap();
    let refused = run().fails(2);
    refused.says(["must belong to root or to the user who runs trustup"]);
    hints::follow(&hints::command(&refused, "chown"), place.path(), &[], "");
    let refused = run().fails(2);
    hints::follow(&hints::command(&refused, "chmod go-w"), place.path(), &[], "");
    run().ok();
}
