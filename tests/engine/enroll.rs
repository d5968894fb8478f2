//! The development CA as a container's only process, and enrollment beside it: any user, no capability, a read-only root
//! with nothing in it but the binary, one writable directory.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::FlockOperation;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::dockerd::{Container, Ended, engine};
use crate::images::import;
use crate::support::program::copy_for_all;
use crate::support::servers::{Port, wait_for};
use crate::support::{binary, schema};

const IMAGE: &str = "trustup-test/bare";
/// What the service of these tests says.
const SERVICE: &str = concat!("trustup ", env!("CARGO_PKG_VERSION"));

/// An image with the binary and nothing else.
pub(crate) fn bare() -> &'static str {
    static TAG: OnceLock<()> = OnceLock::new();
    TAG.get_or_init(|| {
        let tree = tempfile::tempdir().expect("directory");
        copy_for_all(binary::shipped(), tree.path(), 0o755);
        import(tree.path(), IMAGE);
    });
    IMAGE
}

/// A directory of `user` in `place`.
pub(crate) fn directory(place: &Path, name: &str, user: u32) -> PathBuf {
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
    let said = ca.ready();
    schema::check(&said);
    assert_eq!(said["pid"], 1);
    let text = |name: &str| said[name].as_str().expect("text").to_owned();
    let (url, pin) = (text("url"), text("fingerprint"));
    let enroll = |user: u32, out: &Path, password: &Path| {
        let id = format!("{user}:{user}");
        #[rustfmt::skip]
        let command = [
            bare(), "/trustup", "--timeout", "10s", "enroll", "provisioner", "web.internal", "--ca-url", &url,
            "--fingerprint", &pin, "--provisioner", "dev", "--password-file", "/run/secrets/password",
            "--cert", "/out/web.pem", "--key", "/out/web.key", "--", "/trustup", "--version",
        ];
        let mut docker = engine().docker();
        docker
            .args(["run", "--rm", "--env", "RUST_BACKTRACE=1", "--user", &id, "--volume"])
            .arg(format!("{}:/out", out.display()));
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
        // And then it becomes the service, without a shell.
        assert!(said.contains(SERVICE), "{said}");
        let key = fs::metadata(out.join("web.key")).expect("key");
        assert_eq!((key.uid(), key.mode() & 0o7777), (*user, 0o600));
    }
    assert_eq!(ca.stop(), "0");
    // A good pair needs no CA.
    for (user, out, password) in &users {
        let said = enroll(*user, out, password).passed();
        assert!(said.contains("nothing to do") && said.contains(SERVICE), "{said}");
    }
}

/// What a container needs to enroll at a CA that is not up yet.
struct Place {
    _directory: TempDir,
    out: PathBuf,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().expect("directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        let out = self::directory(directory.path(), "out", 1000);
        let password = out.join("password");
        fs::write(&password, "secret").expect("password");
        chown(&password, Some(1000), Some(1000)).expect("owner");
        Place { _directory: directory, out }
    }

    /// Starts it. Nobody listens at this port, which is kept until the end.
    fn enrolls(&self) -> (Container, Port) {
        let nobody = Port::reserve();
        let (url, pin) = (format!("https://127.0.0.1:{}", nobody.number()), "ab".repeat(32));
        #[rustfmt::skip]
        let command = [
            "/trustup", "-v", "--wait", "10m", "enroll", "provisioner", "web.internal", "--ca-url", &url,
            "--fingerprint", &pin, "--password-file", "/out/password", "--cert", "/out/web.pem", "--key", "/out/web.key",
        ];
        let volume = format!("{}:/out", self.out.display());
        let options = [&["--user", "1000:1000", "--volume", &volume], &HARDENED[..]].concat();
        (Container::start(bare(), &options, &command), nobody)
    }

    /// The names of the files that are there.
    fn left(&self) -> Vec<OsString> {
        let entries = fs::read_dir(&self.out).expect("directory");
        let mut left: Vec<_> = entries.map(|entry| entry.expect("entry").file_name()).collect();
        left.sort();
        left
    }
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn an_enrollment_that_waits_ends_when_its_container_is_stopped() {
    let place = Place::new();
    let (container, _nobody) = place.enrolls();
    wait_for("the second try", || container.logs().contains("trying again").then_some(()));
    let code = container.stop();
    let logs = container.logs();
    // 143 where it had not begun to wait: process 1 has handlers from its start.
    assert!(code == "143" || code == "1" && logs.contains("ended by SIGTERM"), "{code}: {logs}");
    assert_eq!(place.left(), ["password"], "nothing else is left");
}

/// Nor is it in the way of a stop while it waits for nobody on the network.
#[test]
#[ignore = "needs root and Debian's docker.io"]
fn an_enrollment_that_waits_for_another_ends_as_well() {
    let place = Place::new();
    let beside = directory(&place.out, ".web.key.trustup", 1000);
    let lock = fs::File::create(beside.join("lock")).expect("lock");
    chown(beside.join("lock"), Some(1000), Some(1000)).expect("owner");
    lock.set_permissions(fs::Permissions::from_mode(0o600)).expect("mode");
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).expect("lock");
    let (container, _nobody) = place.enrolls();
    let pid = container.docker(&["inspect", "--format", "{{.State.Pid}}"]).passed();
    let process = Path::new("/proc").join(pid.trim());
    // Before, it is the engine's own program, which catches every signal.
    wait_for("trustup in its container", || {
        fs::read_link(process.join("exe")).ok()?.ends_with("trustup").then_some(())
    });
    wait_for("the handler of SIGTERM", || {
        let status = fs::read_to_string(process.join("status")).expect("status");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("caught signals");
        let caught = u64::from_str_radix(caught.trim(), 16).expect("signals");
        (caught & 1 << (Signal::TERM.as_raw() - 1) != 0).then_some(())
    });
    let code = container.stop();
    let logs = container.logs();
    // 143 where it had not begun to wait: process 1 has handlers from its start.
    assert!(code == "143" || code == "1" && logs.contains("ended by SIGTERM"), "{code}: {logs}");
    assert_eq!(place.left(), [".web.key.trustup", "password"], "nothing else is left");
}
