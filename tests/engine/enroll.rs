//! The development CA as a container's only process, and enrollment beside it: any user, no capability, a read-only root
//! with nothing in it but the binary, one writable directory.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::dockerd::{Container, Ended, engine};
use crate::images::import;
use crate::programs::trustup;
use crate::support::program::copy_for_all;
use crate::support::servers::{Port, wait_for};

const IMAGE: &str = "trustup-test/bare";

/// An image with the binary and nothing else.
fn bare() -> &'static str {
    static TAG: OnceLock<()> = OnceLock::new();
    TAG.get_or_init(|| {
        let tree = tempfile::tempdir().expect("directory");
        copy_for_all(trustup(), tree.path(), 0o755);
        import(tree.path(), IMAGE);
    });
    IMAGE
}

/// A directory of `user` in `place`.
fn directory(place: &Path, name: &str, user: u32) -> PathBuf {
    let path = place.join(name);
    fs::create_dir(&path).expect("directory");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("mode");
    chown(&path, Some(user), Some(user)).expect("owner");
    path
}

/// What every container of these tests is denied.
const HARDENED: [&str; 7] =
    ["--network", "host", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn a_container_enrolls_from_the_ca_in_another() {
    let place = tempfile::tempdir().expect("directory");
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    let state = directory(place.path(), "state", 1000);
    let volume = format!("{}:/state", state.display());
    let options = [&["--user", "1000:1000", "--volume", &volume], &HARDENED[..]].concat();
    let command = ["/trustup", "--json", "dev-ca", "--listen", "127.0.0.1:0", "--state", "/state"];
    let ca = Container::start(bare(), &options, &command);
    let said = wait_for("the CA in its container", || {
        let log = ca.logs();
        let line = log.lines().find(|line| line.starts_with('{'))?;
        serde_json::from_str::<serde_json::Value>(line).ok()
    });
    assert_eq!(said["pid"], 1);
    let text = |name: &str| said[name].as_str().expect("text").to_owned();
    let (url, pin) = (text("url"), text("fingerprint"));
    let enroll = |user: u32, out: &Path, password: &Path| {
        let id = format!("{user}:{user}");
        #[rustfmt::skip]
        let command = [
            bare(), "/trustup", "--timeout", "10s", "enroll", "provisioner", "web.internal", "--ca-url", &url,
            "--fingerprint", &pin, "--provisioner", "dev", "--password-file", "/run/secrets/password",
            "--cert", "/out/web.pem", "--key", "/out/web.key",
        ];
        let mut docker = engine().docker();
        docker.args(["run", "--rm", "--user", &id, "--volume"]).arg(format!("{}:/out", out.display()));
        docker.arg("--volume").arg(format!("{}:/run/secrets/password:ro", password.display()));
        Ended::from(docker.args(HARDENED).args(command).output().expect("client"))
    };
    let users = [1000, 1_000_650_000].map(|user| {
        let out = directory(place.path(), &format!("out-{user}"), user);
        let password = place.path().join(format!("password-{user}"));
        fs::copy(state.join("password"), &password).expect("password");
        chown(&password, Some(user), Some(user)).expect("owner");
        (user, out, password)
    });
    for (user, out, password) in &users {
        let said = enroll(*user, out, password).passed();
        assert!(said.contains("got `/out/web.pem` for web.internal by `provisioner`"), "{said}");
        let key = fs::metadata(out.join("web.key")).expect("key");
        assert_eq!((key.uid(), key.mode() & 0o7777), (*user, 0o600));
    }
    assert_eq!(ca.stop(), "0");
    // A good pair needs no CA.
    for (user, out, password) in &users {
        let said = enroll(*user, out, password).passed();
        assert!(said.contains("nothing to do"), "{said}");
    }
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn an_enrollment_that_waits_ends_when_its_container_is_stopped() {
    let place = tempfile::tempdir().expect("directory");
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    let out = directory(place.path(), "out", 1000);
    let password = out.join("password");
    fs::write(&password, "secret").expect("password");
    chown(&password, Some(1000), Some(1000)).expect("owner");
    // A CA that is not up yet: nobody listens at this port, which is kept until the end.
    let nobody = Port::reserve();
    let (url, pin) = (format!("https://127.0.0.1:{}", nobody.number()), "ab".repeat(32));
    #[rustfmt::skip]
    let command = [
        "/trustup", "-v", "--wait", "10m", "enroll", "provisioner", "web.internal", "--ca-url", &url,
        "--fingerprint", &pin, "--password-file", "/out/password", "--cert", "/out/web.pem", "--key", "/out/web.key",
    ];
    let volume = format!("{}:/out", out.display());
    let options = [&["--user", "1000:1000", "--volume", &volume], &HARDENED[..]].concat();
    let container = Container::start(bare(), &options, &command);
    wait_for("the second try", || container.logs().contains("trying again").then_some(()));
    assert_eq!(container.stop(), "1", "{}", container.logs());
    assert!(container.logs().contains("ended by SIGTERM"), "{}", container.logs());
    let mut left: Vec<_> =
        fs::read_dir(&out).expect("directory").map(|entry| entry.expect("entry").file_name()).collect();
    left.sort();
    assert_eq!(left, ["password"], "nothing else is left");
}
