//! Runs the trustup that was just built, with an environment of nothing but what a test gives.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Once};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;
use tempfile::NamedTempFile;

use super::{binary, places, schema};

/// No run of a test takes longer.
const HANGS: Duration = Duration::from_secs(120);

/// A run to be.
pub struct Trustup {
    command: Command,
    input: Option<Vec<u8>>,
    has_stdout: bool,
    /// The hook of the debug build (or strace's word) that the test relies on, and the file that says it took effect.
    hook: Option<(&'static str, NamedTempFile)>,
}

impl From<Command> for Trustup {
    fn from(command: Command) -> Trustup {
        Trustup { command, input: None, has_stdout: false, hook: None }
    }
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    line: String,
}

impl Trustup {
    /// `trustup ARGS…`
    pub fn new<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Trustup {
        let mut command = binary::command();
        command.args(args);
        Trustup::from(command)
    }

    /// `trustup --sysroot DIR ARGS…`
    pub fn at<S: AsRef<OsStr>>(sysroot: &Path, args: impl IntoIterator<Item = S>) -> Trustup {
        let mut run = Trustup::new(["--sysroot"]);
        run.command.arg(sysroot).args(args);
        run
    }

    /// Whatever `command` ends in being trustup (in a chroot, under another program), and its arguments.
    pub fn through<S: AsRef<OsStr>>(mut command: Command, args: impl IntoIterator<Item = S>) -> Trustup {
        command.args(args);
        Trustup::from(command)
    }

    /// The arguments, for a run that is started otherwise.
    pub fn arguments(&self) -> Vec<String> {
        self.command.get_args().map(|arg| arg.to_str().expect("UTF-8").to_owned()).collect()
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Without a variable that it would have.
    pub fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Runs it as another user; only root can.
    pub fn uid(mut self, uid: u32) -> Self {
        self.command.uid(uid).gid(uid);
        self
    }

    /// Runs another copy of the binary.
    pub fn binary(mut self, path: &Path) -> Self {
        let mut command = Command::new(path);
        binary::clear(&mut command);
        command.args(self.command.get_args());
        self.command = command;
        self
    }

    /// Runs the debug build, which ends by SIGKILL right before this step.
    #[track_caller]
    pub fn killed_at(self, step: usize) -> Self {
        self.hooked("TRUSTUP_TEST_KILL_AT", &step.to_string())
    }

    /// The same right before `step` (`stage`, `place`, `record`, …) of `path`.
    #[track_caller]
    pub fn killed_before(self, step: &str, path: &str) -> Self {
        self.hooked("TRUSTUP_TEST_KILL_AT", &format!("{step} {path}"))
    }

    /// The same where a run may have nothing to do, and so no step: then nothing shows that the binary has the hook, and
    /// whoever calls counts the kills.
    #[track_caller]
    pub fn killed_at_if_it_gets_there(self, step: usize) -> Self {
        Trustup { hook: None, ..self.killed_at(step) }
    }

    /// Runs the debug build, which stops right before this step, if it gets there ([`Running::stops`]); with `fallback` as on
    /// a kernel without openat2.
    #[track_caller]
    pub fn stopped_at(self, step: usize, fallback: bool) -> Self {
        let run = Trustup { hook: None, ..self.hooked("TRUSTUP_TEST_STOP_AT", &step.to_string()) };
        if fallback { run.env("TRUSTUP_TEST_NO_OPENAT2", "1") } else { run }
    }

    /// Runs it as on a kernel without openat2: strace refuses the call to the shipped binary, and the debug build has a
    /// hook. A run that was refused nothing fails the test.
    #[track_caller]
    pub fn without_openat2(self) -> Self {
        if binary::trustup() == binary::debug_build() || !Path::new("/usr/bin/strace").exists() {
            return self.hooked("TRUSTUP_TEST_NO_OPENAT2", "1");
        }
        let log = NamedTempFile::new().expect("temporary file");
        let directory = self.command.get_current_dir().map(Path::to_owned);
        let mut run = self.refusing("openat2", "ENOSYS", log.path());
        if let Some(directory) = directory {
            run.command.current_dir(directory);
        }
        run.hook = Some(("(INJECTED)", log));
        run
    }

    /// Runs the debug build with this hook; a run that never came by the hook fails the test.
    #[track_caller]
    fn hooked(mut self, hook: &'static str, value: &str) -> Self {
        self = self.on_debug_build();
        let seen = NamedTempFile::new().expect("temporary file");
        self.command.env(hook, value).env("TRUSTUP_TEST_HOOK_SEEN", seen.path());
        self.hook = Some((hook, seen));
        self
    }

    /// Runs the debug build: it has hooks, and a dynamic linker, which LD_PRELOAD is for (another clock). The test itself
    /// fails where that has no effect.
    #[track_caller]
    pub fn on_debug_build(mut self) -> Self {
        assert_eq!(self.command.get_program(), binary::trustup(), "only the plain command is there twice");
        let mut command = Command::new(binary::debug_build());
        command.env_clear().args(self.command.get_args());
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(directory) = self.command.get_current_dir() {
            command.current_dir(directory);
        }
        self.command = command;
        self
    }

    /// Runs it where no file may grow beyond `blocks` of 512 bytes: a write fails half-way, as on a full disk.
    pub fn file_limit(mut self, blocks: usize) -> Self {
        let mut command = Command::new("/bin/sh");
        let script = "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"";
        binary::clear(&mut command);
        command.args(["-c", script, "sh"]).arg(blocks.to_string());
        command.arg(self.command.get_program()).args(self.command.get_args());
        self.command = command;
        self
    }

    /// Runs it with its streams as a shell redirects them, such as `>/dev/full` or `2>&-`.
    pub fn redirected(self, redirections: &str) -> Self {
        self.through_shell(&format!("exec \"$@\" {redirections}"))
    }

    fn through_shell(mut self, script: &str) -> Self {
        let mut command = Command::new("/bin/sh");
        command.env_clear().envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.args(["-c", script, "sh"]);
        command.arg(self.command.get_program()).args(self.command.get_args());
        if let Some(directory) = self.command.get_current_dir() {
            command.current_dir(directory);
        }
        self.command = command;
        self
    }

    /// Runs it where the kernel answers every `call` with `error` (`ENOSYS`, `EPERM`), as an old kernel, a sandbox or a
    /// file system does. Each refusal is a line in `log`. Needs strace.
    pub fn refusing(mut self, call: &str, error: &str, log: &Path) -> Self {
        let mut command = Command::new("strace");
        command.env_clear().args(["-f", "-qq", "-o"]).arg(log);
        command.args(["-e", &format!("trace={call}"), "-e", &format!("inject={call}:error={error}")]);
        for (name, value) in self.command.get_envs() {
            let (name, value) = (name.to_string_lossy(), value.unwrap_or_default().to_string_lossy());
            command.args(["-E", &format!("{name}={value}")]);
        }
        command.env("PATH", "/usr/bin:/bin").args(["-E", "PATH"]);
        command.arg(self.command.get_program()).args(self.command.get_args());
        self.command = command;
        self
    }

    /// Runs it with at most this address space and processor time: memory beyond the one cannot be allocated, and after the
    /// other it is killed.
    pub fn limited(self, mebibytes: u64, seconds: u64) -> Self {
        let limits = format!("ulimit -v {}; ulimit -t {seconds}", mebibytes * 1024);
        self.through_shell(&format!("{limits}; exec \"$@\""))
    }

    /// Runs it with a standard output that nobody reads any more, as behind `| head`.
    pub fn unread(mut self) -> Self {
        let (reader, writer) = std::io::pipe().expect("pipe");
        drop(reader);
        self.command.stdout(writer);
        self.has_stdout = true;
        self
    }

    /// Runs it to its end; one that hangs is killed and fails the test.
    pub fn run(self) -> Run {
        self.start().end()
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        default_signals();
        let line = format!("{:?}", self.command);
        self.command.stderr(Stdio::piped());
        if !self.has_stdout {
            self.command.stdout(Stdio::piped());
        }
        self.command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = self.command.spawn().expect("trustup starts");
        if let Some(input) = self.input {
            // A run that fails early may close its end first; what it says then is what the test looks at.
            let _ = child.stdin.take().expect("piped").write_all(&input);
        }
        let stdout = child.stdout.take().map_or_else(|| read_all(std::io::empty()), read_all);
        let stderr = read_all(child.stderr.take().expect("piped"));
        Running { child, stdout: Some(stdout), stderr: Some(stderr), line, hook: self.hook }
    }

    /// Runs it, wants exit code 0.
    #[track_caller]
    pub fn ok(self) -> Run {
        self.fails(0)
    }

    /// Runs it, wants this exit code.
    #[track_caller]
    pub fn fails(self, code: i32) -> Run {
        let run = self.run();
        assert_eq!(run.code, Some(code), "exit code of {run}");
        run
    }
}

/// A run under way; killed if it is dropped before its end.
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    line: String,
    hook: Option<(&'static str, NamedTempFile)>,
}

impl Running {
    /// Whether it has a handler for the signal by now.
    pub fn has_handler(&self, signal: Signal) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
        caught & (1 << (signal.as_raw() - 1)) != 0
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a signal");
    }

    /// Waits until it stops, or ends: whether it stopped.
    pub fn stops(&self) -> bool {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let pid = Pid::from_child(&self.child);
        let status = waitid(WaitId::Pid(pid), options).expect("waits").expect("waits without NOHANG");
        status.stopped()
    }

    /// Waits for its end; one that hangs is killed and fails the test.
    pub fn end(mut self) -> Run {
        let started = Instant::now();
        let mut hangs = false;
        let status = loop {
            match self.child.try_wait().expect("waits") {
                Some(status) => break status,
                None if started.elapsed() > HANGS => {
                    hangs = true;
                    self.child.kill().expect("kill");
                }
                None => thread::sleep(Duration::from_millis(1)),
            }
        };
        let [stdout, stderr] = [self.stdout.take(), self.stderr.take()]
            .map(|reader| reader.expect("not read yet").join().expect("reader"));
        let run = Run { code: status.code(), stdout, stderr, line: std::mem::take(&mut self.line) };
        assert!(!hangs, "hangs: {run}");
        if let Some((hook, seen)) = &self.hook {
            let seen = std::fs::read_to_string(seen.path()).expect("the file of hooks");
            assert!(seen.contains(hook), "the hook had no effect: {run}");
        }
        run
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After its end there is nobody to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Run {
    /// The one JSON object on stdout; it is as its published schema says, and has every warning that is on stderr.
    #[track_caller]
    pub fn json(&self) -> Value {
        let object = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON on stdout ({error}): {self}"));
        schema::check(&object);
        let warnings = object["warnings"].as_array().map(Vec::as_slice).unwrap_or_default();
        for printed in self.stderr.lines().filter_map(|line| line.strip_prefix("warning: ")) {
            let is_it = |warning: &Value| warning.as_str().is_some_and(|text| text.contains(printed));
            assert!(warnings.iter().any(is_it), "not among `warnings`: {printed}: {self}");
        }
        object
    }

    /// Wants each of `words` on stderr.
    #[track_caller]
    pub fn says<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> &Self {
        for word in words {
            assert!(self.stderr.contains(word), "stderr lacks `{word}`: {self}");
        }
        self
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}\ncode {:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.line, self.code, self.stdout, self.stderr
        )
    }
}

fn read_all(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("reads");
        String::from_utf8(bytes).expect("output is UTF-8")
    })
}

/// `distro-fixtures/`.
pub fn fixtures() -> PathBuf {
    places::repository().join("distro-fixtures")
}

/// The fixture `name`, unpacked into a new temporary directory.
pub fn unpacked(name: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("temporary directory");
    trustup::demo::fixture::Fixture::load(&fixtures().join(name))
        .and_then(|fixture| fixture.unpack(directory.path()))
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    directory
}

/// Tests that nohup(1) or a shell in the background starts have signals ignored, and what they start inherits that. A
/// signal that is caught here has its default action there.
fn default_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
        for signal in [Signal::HUP, Signal::INT, Signal::TERM].map(Signal::as_raw) {
            if ignored & (1 << (signal - 1)) != 0 {
                signal_hook::flag::register(signal, Arc::default()).expect("a handler");
            }
        }
    });
}
