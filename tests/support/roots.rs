//! Real root file systems: Debian made by debootstrap, Alpine from a disk image that a Python wheel carries. Each is
//! made once, kept below `target/test-cache/roots` under a key of its recipe, and copied for a test to change.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use trustup::pki::fingerprint::Fingerprint;

use super::binary;
use super::guard::MachineStores;
use super::places;
use super::program;
use super::run::Trustup;
use super::tree::Tree;

/// What everything in a chroot sees.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where trustup keeps what it did, in any root.
pub const STATE: &str = "var/lib/trustup";

/// What a command in a root finds mounted. Its /dev has nodes of its own: the machine's is never bound into a tree that
/// somebody may remove.
const MOUNTS: &str = r#"
mount -t proc proc "$ROOT/proc"
mount -t tmpfs -o mode=755 dev "$ROOT/dev"
mknod -m 666 "$ROOT/dev/null" c 1 3
mknod -m 666 "$ROOT/dev/zero" c 1 5
mknod -m 666 "$ROOT/dev/random" c 1 8
mknod -m 666 "$ROOT/dev/urandom" c 1 9
ln -s /proc/self/fd "$ROOT/dev/fd"
mount --bind "$EXCHANGE" "$ROOT/mnt"
"#;

/// A root that is kept. The same recipe gives the same root; a changed one is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// Debian 12, `debootstrap --variant=minbase`: no ca-certificates, no openssl; their packages are in apt's cache.
    Debian12Bare,
    /// Debian 12 with ca-certificates and openssl.
    Debian12,
    /// Debian 13, as above.
    Debian13Bare,
    /// Debian 13, as above.
    Debian13,
    /// Debian 12 with TLS clients, and requests from PyPI in /opt/pypi.
    Clients,
    /// The same with Node, and an ordinary user (uid 1000).
    Runtimes,
    /// Debian 13 with TLS clients: OpenSSL 3.5, Python 3.13, and requests from PyPI in /opt/pypi.
    Runtimes13,
    /// Debian 13 with Java 25 and ca-certificates-java.
    Java,
    /// Alpine with ca-certificates.
    Alpine,
    /// Debian 12 with p11-kit, laid out as Fedora.
    RedHat,
    /// The same as Arch.
    Arch,
    /// Debian 12 with curl, laid out as Photon.
    Photon,
    /// The same as openSUSE.
    Suse,
    /// Debian 12 with Chromium, headless.
    Browsers,
}

impl Base {
    fn name(self) -> &'static str {
        match self {
            Base::Debian12Bare => "debian-12-bare",
            Base::Debian12 => "debian-12",
            Base::Debian13Bare => "debian-13-bare",
            Base::Debian13 => "debian-13",
            Base::Clients => "clients",
            Base::Runtimes => "runtimes",
            Base::Runtimes13 => "runtimes-13",
            Base::Java => "java",
            Base::Alpine => "alpine",
            Base::RedHat => "red-hat",
            Base::Arch => "arch",
            Base::Photon => "photon",
            Base::Suse => "suse",
            Base::Browsers => "browsers",
        }
    }

    /// The commands that make it, run by `sh -eu` in the machine's root with ROOT (to be made) and FROM (the root it
    /// starts from) set; `in_root` runs a command in ROOT.
    fn recipe(self) -> (Option<Base>, &'static str) {
        const DEBIAN_12: &str = concat!(
            "debootstrap --variant=minbase bookworm \"$ROOT\" \"$(mirror bookworm)\"\n",
            include_str!("trim-debian.sh")
        );
        const DEBIAN_13: &str = concat!(
            "debootstrap --variant=minbase trixie \"$ROOT\" \"$(mirror bookworm trixie)\"\n",
            include_str!("trim-debian.sh")
        );
        const WITH_TOOL: &str = "cp -a \"$FROM/.\" \"$ROOT\"\n\
            in_root sh -c 'apt-get install -y --no-download /var/cache/apt/archives/*.deb'\n\
            in_root apt-get clean\n\
            forget_lists\n";
        const RED_HAT: &str = concat!(include_str!("lay-out-red-hat.sh"), include_str!("make-p11-kit.sh"));
        const ARCH: &str = concat!(include_str!("lay-out-arch.sh"), include_str!("make-p11-kit.sh"));
        const SUSE: &str = concat!(include_str!("lay-out-suse.sh"), include_str!("make-p11-kit.sh"));
        match self {
            Base::Debian12Bare => (None, DEBIAN_12),
            Base::Debian13Bare => (None, DEBIAN_13),
            Base::Debian12 => (Some(Base::Debian12Bare), WITH_TOOL),
            Base::Debian13 => (Some(Base::Debian13Bare), WITH_TOOL),
            Base::Clients => (
                Some(Base::Debian12),
                "cp -a \"$FROM/.\" \"$ROOT\"\n\
                 in_root apt-get update\n\
                 in_root apt-get install -y --no-install-recommends curl wget git python3 python3-requests\n\
                 in_root apt-get clean\n\
                 forget_lists\n\
                 mkdir \"$ROOT/opt/pypi\"\n\
                 python3 -m pip install --quiet --no-compile --only-binary :all: --platform any --python-version 3.11 \
                 --target \"$ROOT/opt/pypi\" requests==2.32.5\n\
                 printf '127.0.0.1 localhost\\n' > \"$ROOT/etc/hosts\"\n",
            ),
            Base::Runtimes => (
                Some(Base::Clients),
                "cp -a \"$FROM/.\" \"$ROOT\"\n\
                 in_root apt-get update\n\
                 in_root apt-get install -y --no-install-recommends nodejs\n\
                 in_root apt-get clean\n\
                 forget_lists\n\
                 in_root useradd --create-home --uid 1000 user\n",
            ),
            Base::Runtimes13 => (
                Some(Base::Debian13),
                "cp -a \"$FROM/.\" \"$ROOT\"\n\
                 in_root apt-get update\n\
                 in_root apt-get install -y --no-install-recommends curl wget git python3 python3-requests python3-pip \
                 nodejs ruby php-cli gnutls-bin busybox-static\n\
                 in_root apt-get clean\n\
                 forget_lists\n\
                 mkdir \"$ROOT/opt/pypi\"\n\
                 python3 -m pip install --quiet --no-compile --only-binary :all: --platform any --python-version 3.13 \
                 --target \"$ROOT/opt/pypi\" requests==2.32.5\n\
                 printf '127.0.0.1 localhost\\n' > \"$ROOT/etc/hosts\"\n",
            ),
            Base::Java => (
                Some(Base::Debian13),
                "cp -a \"$FROM/.\" \"$ROOT\"\n\
                 in_root apt-get update\n\
                 mount -t proc proc \"$ROOT/proc\"\n\
                 in_root apt-get install -y --no-install-recommends openjdk-25-jre-headless\n\
                 umount \"$ROOT/proc\"\n\
                 in_root apt-get clean\n\
                 forget_lists\n\
                 printf '127.0.0.1 localhost\\n' > \"$ROOT/etc/hosts\"\n",
            ),
            Base::Alpine => (None, include_str!("make-alpine.sh")),
            Base::RedHat => (Some(Base::Debian12), RED_HAT),
            Base::Arch => (Some(Base::Debian12), ARCH),
            Base::Photon => (Some(Base::Debian12), include_str!("lay-out-photon.sh")),
            Base::Suse => (Some(Base::Debian12), SUSE),
            Base::Browsers => (
                Some(Base::Debian12),
                "cp -a \"$FROM/.\" \"$ROOT\"\n\
                 in_root apt-get update\n\
                 in_root apt-get install -y --no-install-recommends chromium\n\
                 in_root apt-get clean\n\
                 forget_lists\n\
                 printf '127.0.0.1 localhost\\n' > \"$ROOT/etc/hosts\"\n",
            ),
        }
    }

    /// Where it is kept; makes it if it is not there. Nothing may be changed in it.
    pub fn kept(self) -> PathBuf {
        // One at a time in this process; debootstrap and apt leave no room for a second core anyway.
        static MAKING: Mutex<()> = Mutex::new(());
        let (from, recipe) = self.recipe();
        let from = from.map(Base::kept);
        let from_name = from.as_deref().map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
        let key = format!("{recipe}\0{}\0{from_name:?}", include_str!("recipe.sh"));
        let key = Fingerprint::of(key.as_bytes()).hex();
        let path = cache().join("roots").join(format!("{}-{}", self.name(), &key[..12]));
        let _one = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        if !path.exists() {
            make(&path, from.as_deref(), recipe);
        }
        path
    }

    /// A copy for one test.
    #[track_caller]
    pub fn copy(self) -> RootFs {
        RootFs::copy_of(&self.kept())
    }
}

fn make(path: &Path, from: Option<&Path>, recipe: &str) {
    require_root();
    std::fs::create_dir_all(path.parent().expect("parent")).expect("cache");
    // Other processes that run tests of this checkout wait here, and then find it made.
    let lock = std::fs::File::create(path.with_extension("lock")).expect("lock");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("lock");
    if path.exists() {
        return;
    }
    // They ask mirrors, and not every one answers always: one that fails at once gets some time before it is asked again.
    const TRIES: u32 = 3;
    const PAUSE: Duration = Duration::from_secs(10);
    for attempt in 1..=TRIES {
        // Only a whole one gets the name that is looked for: what a failed or killed attempt leaves is no root.
        let partial = path.with_extension("partial");
        if partial.exists() {
            remove_tree(&partial).expect("leftover of an earlier attempt");
        }
        std::fs::create_dir(&partial).expect("directory");
        // debootstrap mounts /proc and /sys in the new root: nobody else is to see that, least of all a later clean-up.
        let output = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-eu", "-c"])
            .arg(format!("{}\n{recipe}", include_str!("recipe.sh")))
            .env("ROOT", &partial)
            .env("FROM", from.unwrap_or(Path::new("/nonexistent")))
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .expect("sh");
        if output.status.success() {
            return std::fs::rename(&partial, path).expect("rename");
        }
        let said = Said(&output);
        let failed = format!("{} could not be made, attempt {attempt} of {TRIES}: {said}\n", path.display());
        // Past the test's captured output: an attempt that was in vain is told of a test that passes, too.
        std::io::stderr().write_all(failed.as_bytes()).expect("stderr");
        if attempt < TRIES {
            std::thread::sleep(PAUSE * attempt);
        }
    }
    panic!("{} could not be made", path.display());
}

/// `target/test-cache`.
pub fn cache() -> PathBuf {
    places::target().join("test-cache")
}

/// These tests mount, chroot and own files as root.
#[track_caller]
fn require_root() {
    assert!(rustix::process::geteuid().is_root(), "this test needs root");
}

/// A root of one test: a copy that goes away with it.
pub struct RootFs {
    path: PathBuf,
    exchange: tempfile::TempDir,
    _machine: MachineStores,
}

impl RootFs {
    /// A copy of `original`, on the same file system as the kept roots.
    #[track_caller]
    pub fn copy_of(original: &Path) -> RootFs {
        require_root();
        let work = cache().join("work");
        std::fs::create_dir_all(&work).expect("directory");
        let path = tempfile::Builder::new().prefix("root-").tempdir_in(&work).expect("directory").keep();
        run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(original.join(".")).arg(&path));
        let exchange = tempfile::Builder::new().prefix("mnt-").tempdir_in(&work).expect("directory");
        RootFs { path, exchange, _machine: MachineStores::watch() }
    }

    /// Another copy of the root as it is now.
    #[track_caller]
    pub fn twin(&self) -> RootFs {
        RootFs::copy_of(&self.path)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `name` (without a leading `/`) in it.
    pub fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Everything in it but trustup's state.
    pub fn tree(&self) -> Tree {
        Tree::of(&self.path).without(STATE)
    }

    /// The bytes of a file; links are followed by the machine, so only relative ones lead to the right place.
    #[track_caller]
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.at(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Writes a file of mode 0644, its directories with it.
    #[track_caller]
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.at(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("directories");
        std::fs::write(&path, content).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Appends to a file.
    #[track_caller]
    pub fn append(&self, name: &str, content: impl AsRef<[u8]>) {
        let bytes = [&self.read(name), content.as_ref()].concat();
        std::fs::write(self.at(name), bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Writes an executable file.
    #[track_caller]
    pub fn write_program(&self, name: &str, content: &str) {
        let path = self.at(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("directories");
        program::write_program(&path, content);
    }

    #[track_caller]
    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.at(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// A directory that commands in the root see as /mnt; it is no part of the tree.
    pub fn exchange(&self) -> &Path {
        self.exchange.path()
    }

    /// `COMMAND…` in a chroot in a mount namespace of its own, with /dev, /proc, /mnt and nothing but PATH in its environment.
    pub fn command(&self, command: &[&str]) -> Command {
        self.command_after("", command)
    }

    /// The same, after the shell commands `before` (mounts, mostly; ROOT is this root) in that mount namespace.
    pub fn command_after(&self, before: &str, command: &[&str]) -> Command {
        let mut process = Command::new("unshare");
        process.args(["--mount", "--propagation", "private", "sh", "-eu", "-c"]);
        process.arg(format!("{MOUNTS}\n{before}\nexec chroot \"$ROOT\" env -u ROOT -u EXCHANGE \"$@\""));
        process.arg("sh").args(command).env_clear().env("PATH", PATH).stdin(Stdio::null());
        process.env("ROOT", &self.path).env("EXCHANGE", self.exchange.path());
        process
    }

    /// Runs it and wants success.
    #[track_caller]
    pub fn run(&self, command: &[&str]) -> Output {
        run(&mut self.command(command))
    }

    /// trustup from outside, with this root as its sysroot.
    pub fn trustup<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Trustup {
        Trustup::at(&self.path, args)
    }

    /// trustup inside the root, where `/` is its sysroot; the static binary, which runs in any root.
    pub fn trustup_inside<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Trustup {
        self.trustup_inside_after("", &[], args)
    }

    /// The same, after shell commands as in `command_after` and with `NAME=VALUE` variables that only trustup sees.
    pub fn trustup_inside_after<S: AsRef<OsStr>>(
        &self,
        before: &str,
        variables: &[&str],
        args: impl IntoIterator<Item = S>,
    ) -> Trustup {
        let trustup = self.exchange().join("trustup");
        if !trustup.exists() {
            let built = binary::shipped();
            if std::fs::hard_link(built, &trustup).is_err() {
                program::copy_program(built, &trustup);
            }
        }
        let command = [&["env", "RUST_BACKTRACE=1"], variables, &["/mnt/trustup"]].concat();
        Trustup::through(self.command_after(before, &command), args)
    }
}

impl Drop for RootFs {
    fn drop(&mut self) {
        // A failed test's root is kept for a look until the next run of ./test.
        if !std::thread::panicking() {
            drop(remove_tree(&self.path));
        }
    }
}

/// Removes a tree, but never through a mount: with something mounted in it, it stays and that is an error.
fn remove_tree(path: &Path) -> std::io::Result<()> {
    let path = path.canonicalize()?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    // The fifth field is the mount point, in octal escapes where it has odd characters: ours have none.
    let mut points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    if let Some(point) = points.find(|point| Path::new(point).starts_with(&path)) {
        return Err(std::io::Error::other(format!("{point} is a mount point: not removed")));
    }
    std::fs::remove_dir_all(path)
}

/// Runs a command, wants success, returns its output.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", Said(&output));
    output
}

/// What a program said, for a message.
pub struct Said<'a>(pub &'a Output);

impl std::fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let start = text.char_indices().rev().nth(6000).map_or(0, |(at, _)| at);
            text[start..].to_owned()
        };
        let Output { status, stdout, stderr } = self.0;
        write!(f, "{status}\n--- stdout\n{}\n--- stderr\n{}", text(stdout), text(stderr))
    }
}
