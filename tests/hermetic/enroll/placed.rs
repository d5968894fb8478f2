//! How files get to their places, and what stands in the way.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::{Scene, done, mode};
use crate::support::binary;
use crate::support::ca::pem;
use crate::support::program::copy_for_all;

#[test]
fn a_version_is_one_swap_of_a_link() {
    let scene = Scene::new();
    let run = || scene.enroll().args(["--layout", "versioned"]).arg("--chain").arg(scene.path("chain.crt"));
    run().ok();
    let (first, _) = scene.pair();
    for name in ["server.crt", "server.key", "chain.crt"] {
        let target = fs::read_link(scene.path(name)).expect("a link");
        assert_eq!(target.to_str(), Some(format!(".server.key.current/{name}").as_str()));
    }
    let version = || fs::read_link(scene.path(".server.key.current")).expect("a link");
    let old = version();
    assert_eq!(mode(&scene.path("server.key")), 0o600);
    assert_eq!(done(&run().ok()).0, "kept");
    run().arg("--force").ok();
    let (second, _) = scene.pair();
    assert!(first != second && version() != old && !scene.path(old.to_str().unwrap()).exists());
    // And back to plain files.
    let plain = scene.enroll().arg("--force").ok();
    assert_eq!(done(&plain).0, "issued");
    assert!(scene.path("server.crt").symlink_metadata().unwrap().is_file());
    scene.pair();
    // From plain files to versions nobody has to be asked.
    let connections = scene.server.connections();
    assert_eq!(done(&run().ok()).0, "placed-again");
    scene.pair();
    assert_eq!(scene.server.connections(), connections);
}

/// What is asked for in addition, and what somebody damaged in a version, is a new version; nobody has to be asked.
#[test]
fn a_version_is_extended_and_mended() {
    let scene = Scene::new();
    let run = || scene.enroll().args(["--layout", "versioned"]);
    let version = || fs::read_link(scene.path(".server.key.current")).expect("a link");
    run().ok();
    let connections = scene.server.connections();
    let more = || run().arg("--chain").arg(scene.path("chain.crt")).arg("--ca-out").arg(scene.path("ca.crt"));
    assert_eq!(done(&more().ok()).0, "placed-again");
    assert_eq!(super::chain(&scene.path("ca.crt"))[0].fingerprint(), scene.ca.fingerprint());
    assert_eq!(super::chain(&scene.path("chain.crt")).len(), 1);
    assert_eq!(done(&more().ok()).0, "kept");
    for _ in 0..3 {
        let damaged = version();
        fs::write(scene.path("chain.crt"), "nonsense").unwrap();
        assert_eq!(done(&more().ok()).0, "placed-again");
        assert!(version() != damaged && !scene.path(damaged.to_str().unwrap()).exists());
        assert_eq!(super::chain(&scene.path("chain.crt")).len(), 1);
        fs::set_permissions(scene.path("server.crt"), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(done(&more().ok()).0, "placed-again");
        assert_eq!(mode(&scene.path("server.crt")), 0o644);
        assert_eq!(done(&more().ok()).0, "kept");
    }
    scene.pair();
    assert_eq!(scene.server.connections(), connections);
    // Nobody asks for the others any more: they stay as long as they lead to this version, and go with it, which is said.
    assert_eq!(done(&run().ok()).0, "kept");
    assert_eq!(super::chain(&scene.path("ca.crt"))[0].fingerprint(), scene.ca.fingerprint());
    let forced = run().arg("--force").ok();
    let gone = format!("`{}` was a link into the former version", scene.path("chain.crt").display());
    forced.says([&*gone, "ca.crt", "--ca-out"]);
    assert!(scene.path("chain.crt").symlink_metadata().is_err(), "nothing leads nowhere");
    assert!(scene.path("ca.crt").symlink_metadata().is_err());
    scene.pair();
    // Plain files are another layout, and leave no second copy of the key behind.
    let connections = scene.server.connections();
    assert_eq!(done(&scene.enroll().ok()).0, "placed-again");
    assert_eq!(scene.server.connections(), connections);
    assert!(scene.path("server.crt").symlink_metadata().unwrap().is_file());
    scene.pair();
    let names: Vec<String> = fs::read_dir(scene.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".server.key."))
        .collect();
    assert_eq!(names, [".server.key.trustup"]);
}

/// Runs that put files right, and pairs that share the file of their roots, do not take each other's files.
#[test]
fn many_runs_at_once_leave_whole_files() {
    let scene = Scene::new();
    scene.enroll().ok();
    let shared = |key: &str, more: &[&str]| {
        crate::support::run::Trustup::new(["--json", "--timeout", "60s", "enroll", "provisioner", "web.test"])
            .args(["--ca-url", &scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex()])
            .arg("--password-file")
            .arg(scene.path("password"))
            .arg("--cert")
            .arg(scene.path(&format!("{key}.crt")))
            .arg("--key")
            .arg(scene.path(&format!("{key}.key")))
            .arg("--ca-out")
            .arg(scene.path("ca.crt"))
            .args(more)
            .env("HOME", scene.directory.path())
    };
    for round in 0..4 {
        let mode = ["0640", "0600"][round % 2];
        std::thread::scope(|scope| {
            for key in ["server", "server", "server", "one", "two"] {
                let run = shared(key, &["--key-mode", mode]);
                scope.spawn(move || run.ok());
            }
        });
        for key in ["server", "one", "two"] {
            let chain = super::chain(&scene.path(&format!("{key}.crt")));
            assert_eq!(chain.len(), 2, "{key}");
            assert!(fs::metadata(scene.path(&format!("{key}.key"))).unwrap().len() > 0, "{key}");
        }
        assert_eq!(super::chain(&scene.path("ca.crt")).len(), 1);
        fs::remove_file(scene.path("ca.crt")).unwrap();
    }
    let left = fs::read_dir(scene.directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().contains("trustup-new")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// An image that changes its `USER` leaves files that the new one cannot read.
#[test]
fn a_key_of_somebody_else_is_replaced_where_the_directory_is_ours() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let scene = Scene::new();
    scene.enroll().ok();
    let (old, _) = scene.pair();
    std::os::unix::fs::chown(scene.directory.path(), Some(4711), Some(4711)).unwrap();
    fs::set_permissions(scene.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(scene.path("password"), Some(4711), None).unwrap();
    fs::remove_dir_all(scene.path(".server.key.trustup")).unwrap();
    let binary = copy_for_all(binary::trustup(), scene.directory.path(), 0o755);
    let run = scene.enroll().binary(&binary).env("HOME", scene.directory.path()).uid(4711);
    let run = run.ok();
    assert_eq!(done(&run).0, "issued", "{run}");
    assert!(done(&run).1.contains("belongs to user 0"), "{run}");
    assert_ne!(scene.pair().0, old);
    // A group that the user is in can be given, another one cannot.
    let owner = |owner: &str| {
        let run = scene.enroll().binary(&binary).env("HOME", scene.directory.path());
        run.args(["--owner", owner, "--key-mode", "0640"]).uid(4711)
    };
    owner("4711:4711").ok();
    owner(":4712").fails(2).says(["a group that the user is not in"]);
}

#[test]
fn versions_need_one_directory() {
    let scene = Scene::new();
    fs::create_dir(scene.path("other")).unwrap();
    let run = scene
        .enroll()
        .args(["--layout", "versioned"])
        .arg("--chain")
        .arg(scene.path("other/chain.crt"))
        .fails(2);
    run.says(["stand in one directory", "--layout files"]);
}

#[test]
fn links_are_replaced_and_not_followed() {
    let scene = Scene::new();
    fs::write(scene.path("elsewhere"), "precious").unwrap();
    symlink(scene.path("elsewhere"), scene.path("server.crt")).unwrap();
    scene.enroll().ok();
    assert_eq!(fs::read_to_string(scene.path("elsewhere")).unwrap(), "precious");
    assert!(scene.path("server.crt").symlink_metadata().unwrap().is_file());
}

#[test]
fn missing_directories_are_made_and_taken_away_again_if_nothing_comes_of_it() {
    let scene = Scene::new();
    let enroll = |password: &str| {
        crate::support::run::Trustup::new(["--json", "--timeout", "10s", "enroll", "provisioner", "web.test"])
            .args(["--ca-url", &scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex()])
            .arg("--cert")
            .arg(scene.path("new/tls/server.crt"))
            .arg("--key")
            .arg(scene.path("new/private/server.key"))
            .arg("--password-file")
            .arg(scene.path(password))
            .env("HOME", scene.directory.path())
    };
    super::write(&scene.path("wrong"), b"wrong", 0o600);
    enroll("wrong").fails(4).says(["password"]);
    assert!(!scene.path("new").exists());
    enroll("password").ok();
    assert_eq!(mode(&scene.path("new/tls")), 0o755);
    assert_eq!(mode(&scene.path("new/private/server.key")), 0o600);
}

#[test]
fn what_cannot_be_written_is_said_before_anything_is_spent() {
    let scene = Scene::new();
    fs::create_dir(scene.path("server.crt")).unwrap();
    scene.enroll().fails(2).says(["`--cert` names a directory", "name a file in it"]);
    fs::remove_dir(scene.path("server.crt")).unwrap();
    assert_eq!(scene.server.connections(), 0);
    scene.enroll().args(["--key-mode", "0644"]).fails(2).says(["a private key cannot have the mode 0644"]);
    scene.enroll().args(["--cert-mode", "0666"]).fails(2).says(["a certificate cannot have the mode 0666"]);
    scene.enroll().args(["--owner", "nobody-here"]).fails(2).says(["there is no such user"]);
    scene.enroll().arg("--chain").arg(scene.path("server.key")).fails(2).says(["the same path"]);
    assert_eq!(scene.server.connections(), 0);
    if rustix::process::geteuid().is_root() {
        // A directory that its user cannot write.
        fs::set_permissions(scene.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(scene.path("password"), fs::Permissions::from_mode(0o644)).unwrap();
        // A clone of ours may lie where nobody else can go.
        let binary = copy_for_all(binary::trustup(), scene.directory.path(), 0o755);
        let as_user = || scene.enroll().binary(&binary).env("HOME", scene.directory.path()).uid(4711);
        let run = as_user().fails(1);
        run.says(["could not create the directory", "a directory that trustup can write"]);
        as_user().args(["--owner", "0:0"]).fails(2).says(["only root can give files"]);
        assert_eq!(scene.server.connections(), 0);
    }
}

#[test]
fn owners_are_given_by_root() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let scene = Scene::new();
    let run = || scene.enroll().args(["--owner", "4711:4712", "--key-mode", "0640"]);
    run().ok();
    for name in ["server.crt", "server.key"] {
        let meta = fs::metadata(scene.path(name)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (4711, 4712), "{name}");
    }
    assert_eq!(done(&run().ok()).0, "kept");
    // Another owner is a matter of placing it again.
    assert_eq!(
        done(&scene.enroll().args(["--owner", "4711:4713", "--key-mode", "0640"]).ok()).0,
        "placed-again"
    );
}

#[test]
fn a_full_disk_leaves_the_old_pair() {
    let scene = Scene::new();
    scene.enroll().ok();
    let before = scene.pair();
    let full = scene.enroll().arg("--force").file_limit(0).run();
    assert_eq!(full.code, Some(1), "{full}");
    assert_eq!(scene.pair(), before);
    assert_eq!(done(&scene.enroll().ok()).0, "kept");
}

#[test]
fn two_runs_at_once_get_one_certificate() {
    let scene = Scene::new();
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| scene.enroll().ok())).collect();
        let actions: Vec<String> = runs.into_iter().map(|run| done(&run.join().unwrap()).0).collect();
        assert_eq!(actions.iter().filter(|action| *action == "issued").count(), 1, "{actions:?}");
        assert_eq!(actions.iter().filter(|action| *action == "kept").count(), 3, "{actions:?}");
    });
    scene.pair();
}

#[test]
fn t21_what_lies_where_a_key_under_way_is_kept_must_be_ours() {
    let scene = Scene::new();
    let pending = scene.path(".server.key.trustup");
    symlink(scene.directory.path(), &pending).unwrap();
    scene.enroll().fails(1).says(["expected a directory of trustup's own"]);
    fs::remove_file(&pending).unwrap();
    // A key that somebody got in there is not the one in the record.
    fs::create_dir(&pending).unwrap();
    fs::set_permissions(&pending, fs::Permissions::from_mode(0o700)).unwrap();
    let planted = rcgen::KeyPair::generate().unwrap();
    super::write(&pending.join("key.pem"), pem("PRIVATE KEY", &planted.serialize_der()).as_bytes(), 0o600);
    scene.enroll().ok();
    assert_ne!(scene.pair().1, pem("PRIVATE KEY", &planted.serialize_der()).into_bytes());
}

/// Volumes get their rights changed as a whole: what others could have put there is not believed, and the directory is
/// closed again.
#[test]
fn t21_a_directory_that_was_opened_to_others_is_not_believed() {
    let scene = Scene::new();
    let pending = scene.path(".server.key.trustup");
    let opened = || fs::set_permissions(&pending, fs::Permissions::from_mode(0o2770)).unwrap();
    for shared in [false, true] {
        let run = || {
            let run = scene.enroll().arg("--force");
            if shared { run.arg("--allow-shared-directory") } else { run }
        };
        let killed = run().killed_at(3).run();
        assert_eq!(killed.code, None, "{killed}");
        let answer = fs::read(pending.join("issued.pem")).unwrap();
        opened();
        let next = run().ok();
        assert_eq!(done(&next).0, if shared { "taken-up" } else { "issued" }, "{next}");
        assert_eq!(fs::read(scene.path("server.crt")).unwrap() == answer, shared);
        assert_eq!(mode(&pending), 0o700);
        scene.pair();
    }
    // While the pair is good nobody needs it.
    opened();
    assert_eq!(done(&scene.enroll().ok()).0, "kept");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&pending, Some(4711), None).unwrap();
        let run = scene.enroll().arg("--force").fails(1);
        run.says(["another user keeps here", "belongs to user 4711", "--owner", "the same user each time"]);
    }
}

#[test]
fn what_is_on_the_way_and_no_directory_is_said() {
    let scene = Scene::new();
    super::write(&scene.path("file"), b"", 0o644);
    let run = scene.enroll().arg("--chain").arg(scene.path("file/below/chain.crt")).fails(2);
    run.says(["`--chain` cannot write there", "expected a directory, found a file", "hint:"]);
    assert_eq!(scene.server.connections(), 0);
}
