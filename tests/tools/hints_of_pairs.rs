//! Hints about the places of a pair and of a token, and about users and groups: each situation is made, the hint is
//! followed as it is printed, and it works.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::binary;
use crate::support::enrollment::{Scene, write};
use crate::support::hints;
use crate::support::program::copy_for_all;
use crate::support::run::{Run, Trustup};

/// The user of the service, and another one.
const USER: u32 = 1000;
const OTHER: u32 = 4711;

/// A scene that every user can reach, with a program for them.
fn scene() -> (Scene, PathBuf) {
    let scene = Scene::new();
    fs::set_permissions(scene.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(scene.path("password"), fs::Permissions::from_mode(0o644)).unwrap();
    let program = copy_for_all(binary::trustup(), scene.directory.path(), 0o755);
    (scene, program)
}

fn directory(scene: &Scene, name: &str, uid: u32, mode: u32) -> PathBuf {
    let path = scene.path(name);
    fs::create_dir(&path).unwrap();
    chown(&path, Some(uid), Some(uid)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

/// By the provisioner's password; a pair in `place`.
fn enroll(scene: &Scene, place: &Path) -> Trustup {
    enroll_at(scene, &place.join("tls.crt"), &place.join("tls.key"))
}

fn enroll_at(scene: &Scene, cert: &Path, key: &Path) -> Trustup {
    Trustup::new(["--timeout", "20s", "enroll", "provisioner", "web.test", "--force", "--ca-url"])
        .args([&scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex(), "--password-file"])
        .arg(scene.path("password"))
        .arg("--cert")
        .arg(cert)
        .arg("--key")
        .arg(key)
}

#[track_caller]
fn owned(place: &Path, uid: u32, gid: u32) {
    let meta = fs::metadata(place.join("tls.key")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (uid, gid), "{}", place.display());
}

#[test]
#[ignore = "needs root, setpriv"]
fn only_root_gives_files_away() {
    let (scene, program) = scene();
    let own = directory(&scene, "own", USER, 0o755);
    let of_other = directory(&scene, "of-other", OTHER, 0o755);
    let of_root = directory(&scene, "of-root", 0, 0o755);
    let to_other = ["--owner", "4711:4711"];
    let refused = enroll(&scene, &own).args(to_other).binary(&program).uid(USER).fails(2);
    refused.says(["run trustup as that user, or as root; or omit the owner"]);
    enroll(&scene, &of_other).args(to_other).binary(&program).uid(OTHER).ok();
    owned(&of_other, OTHER, OTHER);
    enroll(&scene, &of_root).args(to_other).ok();
    owned(&of_root, OTHER, OTHER);
    enroll(&scene, &own).binary(&program).uid(USER).ok();
    owned(&own, USER, USER);

    let to_group = || enroll(&scene, &own).args(["--owner", ":4712", "--key-mode", "0640"]);
    let refused = to_group().binary(&program).uid(USER).fails(2);
    refused.says(["run trustup with this group (`docker run --group-add`), or as root; or omit the owner"]);
    // What `--group-add` does to the process of a container.
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "1000", "--regid", "1000", "--groups", "4712"]).arg(&program);
    binary::clear(&mut command);
    Trustup::through(command, to_group().arguments()).ok();
    owned(&own, USER, 4712);
    let by_root = directory(&scene, "by-root", 0, 0o755);
    enroll(&scene, &by_root).args(["--owner", ":4712", "--key-mode", "0640"]).ok();
    owned(&by_root, 0, 4712);
    enroll(&scene, &own).binary(&program).uid(USER).ok();
}

#[test]
#[ignore = "needs root"]
fn a_pair_is_always_of_one_user() {
    let (scene, program) = scene();
    let place = directory(&scene, "tls", USER, 0o755);
    let as_user = || enroll(&scene, &place).binary(&program).uid(USER);
    let as_root = || enroll(&scene, &place).args(["--owner", "1000:1000"]);
    as_user().ok();
    let refused = as_root().fails(1);
    refused.says([
        "another user owns the in-progress state",
        "run trustup as the same user each time: root gives the files to the service with `--owner`",
        "if that user no longer works on the pair, remove the directory",
    ]);
    as_user().ok();
    let by_root = directory(&scene, "by-root", USER, 0o755);
    for _ in 0..2 {
        enroll(&scene, &by_root).args(["--owner", "1000:1000"]).ok();
        owned(&by_root, USER, USER);
    }
    fs::remove_dir_all(place.join(".tls.key.trustup")).unwrap();
    as_root().ok();
    owned(&place, USER, USER);
}

#[test]
#[ignore = "needs root"]
fn a_place_that_cannot_be_written_is_replaced() {
    let (scene, program) = scene();
    let own = directory(&scene, "own", USER, 0o755);
    let of_root = directory(&scene, "of-root", 0, 0o755);
    let as_user = |cert: &Path, key: &Path| {
        enroll_at(&scene, &cert.join("tls.crt"), &key.join("tls.key")).binary(&program).uid(USER)
    };
    let refused = as_user(&own, &of_root).fails(1);
    refused.says(["`--key` needs a directory that trustup can write, such as a volume or a tmpfs"]);
    let refused = as_user(&of_root, &own).fails(1);
    refused
        .says(["`--cert` and `--key` need a directory that trustup can write, such as a volume or a tmpfs"]);
    as_user(&own, &own).ok();
    owned(&own, USER, USER);

    let token = |place: &Path| {
        Trustup::new(["token", "web.test", "--ca-url", &scene.server.url(), "--fingerprint"])
            .args([&scene.ca.fingerprint().hex(), "--password-file"])
            .arg(scene.path("password"))
            .arg("--out")
            .arg(place.join("token"))
            .binary(&program)
            .uid(USER)
    };
    token(&of_root).fails(2).says(["name a file in an existing directory that you can write to"]);
    token(&own).ok();
}

#[test]
#[ignore = "needs root"]
fn a_volume_of_ones_own_containers_may_be_shared() {
    let (scene, _) = scene();
    let shared = directory(&scene, "shared", 0, 0o777);
    let refused = enroll(&scene, &shared).fails(1);
    refused.says([
        "a volume that only containers of yours share, such as Kubernetes' emptyDir: `--allow-shared-directory`",
    ]);
    enroll(&scene, &shared).arg(hints::command(&refused, "--allow-shared")).ok();
    owned(&shared, 0, 0);
}

/// `run` where `file` is mounted by itself.
fn with_mounted(file: &Path, run: &Trustup) -> Run {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount --bind \"$0\" \"$0\" && exec \"$@\""]).arg(file);
    command.arg(binary::trustup());
    binary::clear(&mut command);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    Trustup::through(command, run.arguments()).run()
}

#[test]
#[ignore = "needs root, unshare"]
fn a_mounted_file_takes_plain_files() {
    let (scene, _) = scene();
    let place = directory(&scene, "tls", 0, 0o755);
    write(&place.join("tls.crt"), b"", 0o644);
    let versioned = || enroll(&scene, &place).args(["--layout", "versioned"]);
    let mounted = |run: &Trustup| with_mounted(&place.join("tls.crt"), run);
    let refused = mounted(&versioned());
    assert_eq!(refused.code, Some(2), "{refused}");
    refused.says(["mount the directory instead of the file, or use `--layout files`"]);
    let followed = mounted(&enroll(&scene, &place).args(["--layout", "files"]));
    assert_eq!(followed.code, Some(0), "{followed}");
    let run = versioned();
    let followed = with_mounted(&place, &run);
    assert_eq!(followed.code, Some(0), "{followed}");
    assert!(place.join("tls.crt").symlink_metadata().unwrap().is_symlink());
}

/// A failed try leaves its key where it cannot be removed; it is not another key in the next run.
#[test]
#[ignore = "needs strace"]
fn a_key_that_cannot_be_removed_is_used_again() {
    let scene = Scene::new();
    let place = directory(&scene, "tls", 0, 0o755);
    write(&scene.path("wrong"), b"wrong", 0o600);
    let run = || enroll(&scene, &place);
    let password = scene.path("password").to_str().unwrap().to_owned();
    let wrong = scene.path("wrong").to_str().unwrap().to_owned();
    let log = scene.path("calls");
    let refusing = |from: usize| {
        let arguments = run().arguments().into_iter();
        let arguments = arguments.map(|one| if one == password { wrong.clone() } else { one });
        Trustup::new(arguments).refusing("unlinkat", &format!("EPERM:when={from}+"), &log).run()
    };
    // From the removal of the key on; those before are of what trustup tried out.
    refusing(1000);
    let calls = fs::read_to_string(&log).unwrap();
    let of_key = calls.lines().position(|line| line.contains("\"key.pem\"")).expect("a key is removed");
    let refused = refusing(of_key + 1);
    assert_eq!(refused.code, Some(4), "{refused}");
    refused.says(["the key that was made for this is left beside `--key`; the next run uses it again"]);
    let kept = fs::read(place.join(".tls.key.trustup/key.pem")).unwrap();
    run().ok();
    assert_eq!(fs::read(place.join("tls.key")).unwrap(), kept);
    // No key was made: none is promised.
    let refused = refusing(1);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(!refused.stderr.contains("is left beside"), "{refused}");
}

#[test]
#[ignore = "needs openssl"]
fn openssl_says_more_of_a_request() {
    let scene = Scene::new();
    let file = scene.path("web.csr");
    write(&file, b"no request", 0o644);
    let token = || {
        Trustup::new(["token", "web.test", "--ca-url", &scene.server.url(), "--fingerprint"])
            .args([&scene.ca.fingerprint().hex(), "--password-file"])
            .arg(scene.path("password"))
            .arg("--cnf-csr")
            .arg(&file)
    };
    let refused = token().fails(2);
    refused.says(["`openssl req -in FILE -verify -noout` says more"]);
    let command = hints::command(&refused, "openssl req").replace("FILE", file.to_str().unwrap());
    let run = || Command::new("sh").args(["-c", &command]).output().unwrap();
    let said = run();
    assert!(!said.status.success() && !said.stderr.is_empty(), "{said:?}");
    let made = "openssl req -new -newkey rsa:2048 -nodes -keyout KEY -subj /CN=web.test -out FILE";
    let key = scene.path("web.key");
    hints::follow(
        made,
        scene.directory.path(),
        &[("KEY", key.to_str().unwrap()), ("FILE", file.to_str().unwrap())],
        "",
    );
    assert!(run().status.success());
    token().ok();
}

/// The paths are looked at before another run's end is waited for: what stands there then is found under the lock.
#[test]
#[ignore = "needs strace"]
fn what_appears_while_another_run_is_at_work_is_moved_away() {
    let scene = Scene::new();
    let run = |chain: &str| scene.enroll().arg("--force").arg("--chain").arg(scene.path(chain));
    let first = run("chain.crt").stopped_at(1, false).start();
    assert!(first.stops(), "it has the lock");
    let log = scene.path("calls");
    write(&log, b"", 0o600);
    // Nothing is refused: each try to take the lock is a line in the log.
    let second = run("chain.crt").refusing("flock", "ENOLCK:when=60000", &log).start();
    let began = Instant::now();
    while !fs::read_to_string(&log).unwrap().contains("EAGAIN") {
        assert!(began.elapsed() < Duration::from_secs(60), "the lock is not waited for");
    }
    fs::create_dir(scene.path("chain.crt")).unwrap();
    drop(first);
    let refused = second.end();
    assert_eq!(refused.code, Some(2), "{refused}");
    refused.says(["`--chain` needs the path of a file: name another path, or move the existing one away"]);
    run("other.crt").ok();
    fs::rename(scene.path("chain.crt"), scene.path("former")).unwrap();
    run("chain.crt").ok();
}
