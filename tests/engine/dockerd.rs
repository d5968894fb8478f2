//! The guard of the engine: starts `dockerd` once for the whole test program, away from any other engine of the
//! machine (own socket, own data, no bridge, no firewall rules), and takes everything away when the program ends,
//! however it ends.
//!
//! A supervisor (a shell in a process group of its own) waits on a pipe that this program holds open: the kernel
//! closes it at exit, panic or kill, and then the supervisor stops the engine by its process id and removes the data.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::support::servers::wait_for;

/// The client of Debian's package, by absolute path: another one may come first on `PATH`.
const CLIENT: &str = "/usr/bin/docker";
const DAEMON: &str = "/usr/sbin/dockerd";

/// Arguments: the directory, then dockerd and its options. `exec-root/netns/default` stays mounted after a stop.
const SUPERVISOR: &str = r#"
directory=$1; shift
"$@" >"$directory/log" 2>&1 &
engine=$!
read -r _
kill "$engine"; wait "$engine"
umount "$directory/exec/netns/default" 2>/dev/null
rm -rf "$directory"
"#;

/// A running engine.
pub(crate) struct Engine {
    directory: PathBuf,
    supervisor: Child,
}

/// The engine of this test program, started at first use.
pub(crate) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(Engine::start)
}

impl Engine {
    /// Starts an engine and waits until it answers.
    pub(crate) fn start() -> Engine {
        for program in [DAEMON, CLIENT] {
            assert!(
                Path::new(program).is_file(),
                "`{program}` is missing: install Debian's package `docker.io`"
            );
        }
        // Short, since a socket's path has at most 107 bytes; the supervisor removes it.
        let directory =
            tempfile::Builder::new().prefix("trustup-engine-").tempdir().expect("directory").keep();
        std::fs::create_dir(directory.join("client")).expect("client's directory");
        let supervisor = Command::new("/bin/sh")
            .args(["-c", SUPERVISOR, "supervisor"])
            .arg(&directory)
            .args([DAEMON, "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--bridge=none"])
            .arg("--data-root")
            .arg(directory.join("data"))
            .arg("--exec-root")
            .arg(directory.join("exec"))
            .arg("--pidfile")
            .arg(directory.join("pid"))
            .arg("--host")
            .arg(format!("unix://{}", directory.join("socket").display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a shell");
        let engine = Engine { directory, supervisor };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !engine.docker().args(["version"]).output().expect("client").status.success() {
            assert!(Instant::now() < deadline, "dockerd does not answer:\n{}", engine.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        engine
    }

    /// The client, talking to this engine, with nothing of our environment.
    pub(crate) fn docker(&self) -> Command {
        let mut command = Command::new(CLIENT);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.directory.join("client"))
            .env("DOCKER_CONFIG", self.directory.join("client"))
            .env("DOCKER_HOST", format!("unix://{}", self.directory.join("socket").display()))
            .env("DOCKER_BUILDKIT", "1")
            .env("BUILDKIT_PROGRESS", "plain")
            .stdin(Stdio::null());
        command
    }

    /// The end of the engine's own log, for failures.
    fn log(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = std::fs::File::open(self.directory.join("log")) {
            let _ = file.read_to_string(&mut text);
        }
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Engine {
    /// Ends the engine and waits until it and its data are gone.
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// What a program said and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// It exited with 0.
    pub(crate) success: bool,
    /// The exit code, none after a signal.
    pub(crate) code: Option<i32>,
    /// Standard output and, behind it, standard error.
    pub(crate) text: String,
}

impl Ended {
    /// Fails the test with the whole output if it did not succeed.
    #[track_caller]
    pub(crate) fn passed(self) -> String {
        assert!(self.success, "exit code {:?}:\n{}", self.code, self.text);
        self.text
    }

    /// Fails the test if it did succeed.
    #[track_caller]
    pub(crate) fn failed(self) -> String {
        assert!(!self.success, "it should have failed:\n{}", self.text);
        self.text
    }

    /// Fails the test if it ended with another exit code.
    #[track_caller]
    pub(crate) fn exited(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}", self.text);
        self.text
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        Ended {
            success: output.status.success(),
            code: output.status.code(),
            text: String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr),
        }
    }
}

/// A container in the background, until this is dropped.
pub(crate) struct Container(String);

impl Container {
    /// Starts `command` (or what the image says, with these arguments) with the options of `docker run`.
    pub(crate) fn start(image: &str, options: &[&str], command: &[&str]) -> Container {
        let mut docker = engine().docker();
        docker.args(["run", "--detach", "--env", "RUST_BACKTRACE=1"]).args(options).arg(image).args(command);
        let started = Ended::from(docker.output().expect("client")).passed();
        Container(started.trim().to_owned())
    }

    pub(crate) fn docker(&self, arguments: &[&str]) -> Ended {
        Ended::from(engine().docker().args(arguments).arg(&self.0).output().expect("client"))
    }

    /// What it has said so far.
    pub(crate) fn logs(&self) -> String {
        self.docker(&["logs"]).passed()
    }

    /// The first JSON object that it prints, once it is there: `dev-ca --json` prints one when it is ready.
    pub(crate) fn ready(&self) -> serde_json::Value {
        wait_for("the program in its container", || {
            let log = self.logs();
            let line = log.lines().find(|line| line.starts_with('{'))?;
            serde_json::from_str(line).ok()
        })
    }

    /// Has it stopped and answers with its exit code. Process 1 has no default action for a signal: one that does not
    /// care for it is killed after the grace time, and 137 is its code.
    pub(crate) fn stop(&self) -> String {
        self.docker(&["stop", "--time", "20"]).passed();
        self.docker(&["inspect", "--format", "{{.State.ExitCode}}"]).passed().trim().to_owned()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Its end is what counts, not how it was reached.
        let _ = self.docker(&["rm", "--force"]);
    }
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn the_guard_leaves_nothing_behind() {
    let engine = Engine::start();
    let directory = engine.directory.clone();
    let pid = std::fs::read_to_string(directory.join("pid")).expect("pid file");
    let process = Path::new("/proc").join(pid.trim());
    assert!(process.exists() && directory.exists());
    drop(engine);
    assert!(!process.exists(), "dockerd {pid} still runs");
    assert!(!directory.exists(), "`{}` is left", directory.display());
}
