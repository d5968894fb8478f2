//! Chromium and Firefox ESR, headless and with their defaults: no flag turns certificate checks off. They refuse a page of
//! a server under our root, and load it once trustup has put the root in their databases, or in Firefox's policy.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::support::ca::{Root, root};
use crate::support::guard::MachineStores;
use crate::support::run::{Run, Trustup};
use crate::support::tls_server::TlsServer;

/// A page that asks for something more once it is shown: so what the server saw was a browser that took it for a page.
const PAGE: &str = "<!doctype html><title>t</title><p>the page of the test</p><img src=/shown>";
/// A browser needs seconds to start, and more where others use the machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A root file system of which only the user's home matters, and a server under a root of ours.
struct Scene {
    sysroot: TempDir,
    server: TlsServer,
    ca: Root,
    _machine: MachineStores,
}

impl Scene {
    fn new() -> Scene {
        let machine = MachineStores::watch();
        let sysroot = tempfile::tempdir().unwrap();
        let at = |path: &str| sysroot.path().join(path);
        for directory in ["etc", "root", "other", "usr/lib", "usr/local/share/ca-certificates"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        fs::write(at("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        fs::write(at("usr/lib/os-release"), "ID=debian\n").unwrap();
        let ca = root("Browser Test Root");
        ca.write(sysroot.path(), "root.pem");
        let server = TlsServer::start(&ca);
        server.serve_page(PAGE);
        Scene { sysroot, server, ca, _machine: machine }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.sysroot.path().join(path)
    }

    fn bootstrap(&self, options: &[&str]) -> Run {
        let pin = self.ca.pin();
        let arguments = ["bootstrap", "--fingerprint", &pin, "--ca-file"];
        Trustup::at(self.sysroot.path(), arguments).arg(self.at("root.pem")).args(options).ok()
    }

    fn untrust(&self) {
        Trustup::at(self.sysroot.path(), ["untrust", "--all"]).ok();
    }

    /// A program for the user whose home is here.
    fn program(&self, name: &str, home: &str) -> Command {
        let mut command = Command::new(name);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
        command.env("HOME", self.at(home)).env("TMPDIR", self.at(home)).current_dir(self.at(home));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Chromium on the page, with a new profile of its own (its database of certificates is the user's).
    fn chromium(&self, home: &str) -> Running {
        let mut command = self.program("chromium", home);
        // Its sandbox is not for root.
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        // With a port for a debugger it stays until it is ended.
        command.arg("--remote-debugging-port=0");
        command.arg(format!("--user-data-dir={}", self.fresh("chromium").display())).arg(self.server.url());
        Running::start(command)
    }

    /// Firefox on the page, with this profile; `command` runs it.
    fn firefox(&self, profile: &Path, mut command: Command) -> Running {
        command.args(["--headless", "--no-remote", "--profile"]).arg(profile).arg(self.server.url());
        Running::start(command)
    }

    fn plain_firefox(&self, profile: &Path) -> Running {
        self.firefox(profile, self.program("firefox-esr", "root"))
    }

    /// A directory in root's home that was not there.
    fn fresh(&self, name: &str) -> PathBuf {
        let path = (0..).map(|number| self.at(&format!("root/{name}-{number}"))).find(|path| !path.exists());
        let path = path.unwrap();
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// The browser sees our certificate, ends the handshake, and asks for nothing.
    fn is_refused_by(&self, mut browser: Running) {
        let (refused, accepted) = (self.server.refused(), self.server.accepted());
        browser.until("it ends the handshake", || self.server.refused() > refused);
        drop(browser);
        assert_eq!(self.server.accepted(), accepted, "a request without trust");
    }

    fn is_shown_by(&self, mut browser: Running) {
        let shown = self.server.asked_for("/shown");
        browser.until("the page is shown", || self.server.asked_for("/shown") > shown);
    }
}

/// A browser, ended with all its processes.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Running {
        Running(command.process_group(0).spawn().expect("the browser starts"))
    }

    #[track_caller]
    fn until(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            if let Some(status) = self.0.try_wait().unwrap() {
                // What it did last may have come later than the look before.
                assert!(is_so(), "the browser ended before {what}: {status}");
            }
            assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It fails where all have ended.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs chromium"]
fn chromium_trusts_what_is_in_a_new_database() {
    let scene = Scene::new();
    scene.is_refused_by(scene.chromium("other"));
    assert!(!scene.at("root/.local").exists());
    scene.bootstrap(&["--stores", "nss", "--create-nss"]);
    assert!(scene.at("root/.local/share/pki/nssdb/cert9.db").exists());
    scene.is_shown_by(scene.chromium("root"));
}

/// Chromium's own database has an entry for the empty password, so that trust needs signatures.
#[test]
#[ignore = "needs chromium"]
fn chromium_trusts_what_is_in_the_database_that_it_made() {
    let scene = Scene::new();
    scene.is_refused_by(scene.chromium("root"));
    assert!(scene.at("root/.local/share/pki/nssdb/key4.db").exists());
    scene.bootstrap(&["--stores", "nss"]);
    scene.is_shown_by(scene.chromium("root"));
    scene.untrust();
    scene.is_refused_by(scene.chromium("root"));
}

#[test]
#[ignore = "needs firefox-esr"]
fn firefox_trusts_what_is_in_a_profile() {
    let scene = Scene::new();
    // Firefox finds the new one as it is, and made the other itself.
    let made = scene.at("root/.mozilla/firefox/made.default");
    fs::create_dir_all(&made).unwrap();
    scene.is_refused_by(scene.plain_firefox(&made));
    let new = scene.fresh("new");
    scene.bootstrap(&["--stores", "nss", "--nss-db", "/root/new-0"]);
    scene.is_shown_by(scene.plain_firefox(&new));
    scene.is_shown_by(scene.plain_firefox(&made));
    scene.untrust();
    scene.is_refused_by(scene.plain_firefox(&made));
    scene.is_refused_by(scene.plain_firefox(&scene.fresh("empty")));
}

/// With copies of `/etc` and of the anchor directory, each mounted in a namespace that ends with the browser.
#[test]
#[ignore = "needs root and firefox-esr"]
fn firefox_trusts_what_its_policy_names() {
    const ANCHORS: &str = "usr/local/share/ca-certificates";
    let scene = Scene::new();
    let etc = scene.at("machine-etc");
    let status = Command::new("cp").arg("-a").args([Path::new("/etc"), &etc]).status().unwrap();
    assert!(status.success());
    let firefox = || {
        let mut command = scene.program("unshare", "root");
        command.args(["--mount", "--propagation", "private", "sh", "-euc"]);
        command.arg("mount --bind \"$1\" /etc; mount --bind \"$2\" /usr/local/share/ca-certificates; shift 2; exec \"$@\"");
        command.arg("sh").arg(&etc).arg(scene.at(ANCHORS)).arg("firefox-esr");
        scene.firefox(&scene.fresh("profile"), command)
    };
    scene.is_refused_by(firefox());
    scene.bootstrap(&["--stores", "system", "--firefox-policy"]);
    assert_eq!(fs::read_dir(scene.at(ANCHORS)).unwrap().count(), 1);
    let status = Command::new("cp").arg("-a").args([scene.at("etc/firefox"), etc.clone()]).status().unwrap();
    assert!(status.success());
    scene.is_shown_by(firefox());
}
