//! External programs: a family's trust update, and the service that replaces us after `bootstrap -- COMMAND`. The only
//! module that starts processes. No shell is ever involved.

#![expect(clippy::disallowed_methods, reason = "this module owns the starting of programs")]

mod program_file;
mod start;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind as ErrorKindOfIo, PipeReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

pub(crate) use self::start::{check_command, no_command, replace_us};

use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::rootfs::tree;
use crate::rootfs::{FileKind, Sysroot, split};
use crate::runtime;
use crate::text;

/// The directories of system programs; the caller's `PATH` is never used (threat T14).
pub(crate) const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// How much of a failed program's output is shown (threat T15).
const SHOWN: usize = 8 * 1024;

/// How much of its output is kept in memory at all.
const KEPT: usize = 1024 * 1024;

/// How often to check for a signal.
const LOOK: Duration = Duration::from_millis(50);

/// How long a program may take to end by itself after a signal, and processes that it left running to close its output.
const GRACE: Duration = Duration::from_secs(2);

/// The absolute path of a system program in the sysroot; `None` if it does not exist.
pub(crate) fn find(sysroot: &Sysroot, program: &str) -> Result<Option<String>> {
    find_in(sysroot, DIRECTORIES, program)
}

/// The same for the first of `directories` that has it.
pub(crate) fn find_in(
    sysroot: &Sysroot,
    directories: impl IntoIterator<Item = impl std::fmt::Display>,
    program: &str,
) -> Result<Option<String>> {
    for directory in directories {
        let path = format!("{directory}/{program}");
        if let Some(meta) = sysroot.stat(&path)?
            && meta.kind == FileKind::File
            && meta.mode & 0o111 != 0
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Why the program at `path` must not be run as root; `None` if it may: it and its directory belong to root and only
/// root can write them.
pub(crate) fn unsafe_to_run(sysroot: &Sysroot, path: &str) -> Result<Option<String>> {
    for path in [path, split(path).0] {
        if let Some(meta) = sysroot.stat(path)? {
            if meta.uid != 0 {
                return Ok(Some(format!("`{path}` belongs to user {}, not to root", meta.uid)));
            }
            if meta.mode & 0o022 != 0 {
                return Ok(Some(format!("`{path}` can be written by others (mode {:04o})", meta.mode)));
            }
        }
    }
    Ok(None)
}

/// Why a program failed.
#[derive(Debug)]
pub(crate) struct ToolFailure {
    /// Its output, with a hint.
    pub(crate) error: Error,
    /// It, or a program that it ran, was killed by a signal or could not be run at all, as under an emulator that
    /// cannot run it: this tells nothing about its task.
    pub(crate) crashed: bool,
}

impl From<Error> for ToolFailure {
    fn from(error: Error) -> Self {
        ToolFailure { error, crashed: false }
    }
}

impl fmt::Display for ToolFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// Runs a family's tool: fixed environment (its temporary files go to `temporary`, ours alone), standard input closed,
/// output kept for the error, its whole process group ended after `timeout`.
///
/// `stamp` is its `SOURCE_DATE_EPOCH`, with which p11-kit dates the entries of the Java keystore. Returns its output.
///
/// # Errors
/// It could not be started, failed, or took too long; the error shows its output.
pub(crate) fn run_tool(
    program: &str,
    arguments: &[String],
    temporary: &str,
    timeout: Duration,
    stamp: Option<i64>,
) -> Result<String, ToolFailure> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", DIRECTORIES.join(":"))
        .env("LC_ALL", "C")
        .env("HOME", "/")
        .env("TMPDIR", temporary)
        .env("P11_KIT_NO_USER_CONFIG", "1")
        .envs(stamp.map(|seconds| ("SOURCE_DATE_EPOCH", seconds.to_string())))
        .current_dir("/");
    let shown =
        std::iter::once(program).chain(arguments.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    let late = (timeout, ErrorKind::Failed);
    run(command, "the distribution's trust update", &shown, late, &|| Ok(())).map_err(|failure| {
        let error = failure.error.hint("`--updater builtin` writes the same files without it");
        ToolFailure { error, ..failure }
    })
}

/// Runs a program that the user named: the caller's environment without our secrets (threat T16), standard input
/// closed, output kept for the error, its whole process group ended after `timeout`, or on a signal if signals are
/// handled ([`runtime::heed_signals`]). `program` is an absolute path.
///
/// # Errors
/// It could not be started, failed, or took too long; the error shows its output. A signal came.
pub(crate) fn run_hook(env: &Env, program: &str, arguments: &[&str], timeout: Duration) -> Result<()> {
    runtime::check()?;
    hook(env, program, arguments, timeout, &runtime::check)
}

/// [`run_hook`] for cleaning up at the end: no signal ends it.
///
/// # Errors
/// It could not be started, failed, or took too long; the error shows its output.
pub(crate) fn run_hook_after_all(
    env: &Env,
    program: &str,
    arguments: &[&str],
    timeout: Duration,
) -> Result<()> {
    hook(env, program, arguments, timeout, &|| Ok(()))
}

fn hook(
    env: &Env,
    program: &str,
    arguments: &[&str],
    timeout: Duration,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let mut command = Command::new(program);
    command.args(arguments);
    withhold_secrets(&mut command, env);
    let shown = text::escape(&[&[program], arguments].concat().join(" "));
    // Another time it may be quicker.
    let ran = run(command, "the hook", &shown, (timeout, ErrorKind::Unreachable), go_on);
    ran.map(drop).map_err(|failure| failure.error)
}

/// Runs `command` to its end, as long as `go_on` has no error, and returns its output; `who` and `shown` are for the
/// error, which has the kind paired with the timeout if that was too short. It crashed if it ended by a signal, or with
/// a shell's status for that (128 and more) or for a program that cannot be run (126, 127).
fn run(
    mut command: Command,
    who: &str,
    shown: &str,
    (timeout, late): (Duration, ErrorKind),
    go_on: &dyn Fn() -> Result<()>,
) -> Result<String, ToolFailure> {
    let no_pipe = |error| Error::failed("could not create a pipe").because(anyhow::Error::from(error));
    let (output, writer) = std::io::pipe().map_err(no_pipe)?;
    let writer_too = writer.try_clone().map_err(no_pipe)?;
    // Reads as empty; `/dev/null` is missing in a bare chroot.
    let (closed, nobody) = std::io::pipe().map_err(no_pipe)?;
    drop(nobody);
    command.stdin(closed).stdout(writer).stderr(writer_too).process_group(0);
    close_fds::set_fds_cloexec(3, &[]);
    let not_started =
        |error| Error::failed(format!("could not start {who}")).at(shown).because(anyhow::Error::from(error));
    // First: if there is no room for a thread, no program is left without a reader.
    let said = Arc::default();
    let closed = listen(output, Arc::clone(&said)).map_err(not_started)?;
    let child = command.spawn().map_err(not_started)?;
    drop(command);
    let mut running = Running { child, closed, has_closed: false, exited: None };
    let ended = running.wait(timeout, go_on);
    let status = running
        .child
        .wait()
        .map_err(|error| Error::failed(format!("could not wait for {who}")).because(error))?;
    if !matches!(ended, ProgramEnd::ByItself) {
        // Its last output, unless a process outside its group keeps its output open.
        running.closes_within(GRACE);
    }
    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
    let crashed = matches!(ended, ProgramEnd::ByItself) && status.code().is_none_or(|code| code >= 126);
    let what = match ended {
        ProgramEnd::ByItself if status.success() => return Ok(String::from_utf8_lossy(&said).into_owned()),
        ProgramEnd::ByItself => Error::failed(format!("{who} failed ({status})")),
        ProgramEnd::Late => {
            Error::new(late, format!("{who} took longer than {} s and was stopped", timeout.as_secs()))
        }
        ProgramEnd::Before(error) => return Err(error.at(shown).into()),
    };
    let said = String::from_utf8_lossy(&said);
    let error = what.at(shown);
    let said = said.trim_end();
    let error =
        if said.is_empty() { error } else { error.because(anyhow::anyhow!("it said: {}", tail(said))) };
    Err(ToolFailure { error, crashed })
}

/// Reads a program's output into `said`, until no process can write it any more; then the receiver is notified. A
/// process that keeps the output open after the program's end is still read from, so that it is not blocked or killed.
fn listen(mut output: PipeReader, said: Arc<Mutex<Vec<u8>>>) -> std::io::Result<Receiver<()>> {
    let (sender, closed) = mpsc::channel();
    std::thread::Builder::new().spawn(move || {
        let mut part = [0; 8192];
        loop {
            match output.read(&mut part) {
                Ok(0) => break,
                Ok(length) => {
                    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                    let room = KEPT.saturating_sub(said.len());
                    said.extend_from_slice(&part[..length.min(room)]);
                }
                Err(error) if error.kind() == ErrorKindOfIo::Interrupted => {}
                // A program that closes its output early has written everything.
                Err(_) => break,
            }
        }
        // The receiver may be gone.
        let _ = sender.send(());
    })?;
    Ok(closed)
}

/// How a program ended.
enum ProgramEnd {
    ByItself,
    Late,
    Before(Error),
}

/// A program that leads a process group of its own.
struct Running {
    child: Child,
    /// Notified when no process can write to its output any more.
    closed: Receiver<()>,
    has_closed: bool,
    /// When its exit was noticed.
    exited: Option<Instant>,
}

impl Running {
    /// Waits for its end, and ends its process group if that is too late, or must not be waited for.
    fn wait(&mut self, timeout: Duration, go_on: &dyn Fn() -> Result<()>) -> ProgramEnd {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.ends_within(left.min(LOOK)) {
                return ProgramEnd::ByItself;
            }
            if let Err(error) = go_on() {
                self.end(Signal::TERM);
                // The process that keeps its output open may be one of the group that ignores the signal.
                if !(self.ends_within(GRACE) && self.has_closed) {
                    self.end(Signal::KILL);
                }
                return ProgramEnd::Before(error);
            }
            if left.is_zero() {
                self.end(Signal::KILL);
                return ProgramEnd::Late;
            }
        }
    }

    /// Whether it has exited, and its children have closed its output, or had their time for it: we do not wait for a
    /// process that it leaves running.
    fn ends_within(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut pause = Duration::from_millis(1);
        loop {
            if self.exited.is_none() && self.has_exited() {
                self.exited = Some(Instant::now());
            }
            if self.exited.is_some_and(|exited| self.has_closed || exited.elapsed() >= GRACE) {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            if self.has_closed {
                std::thread::sleep(pause.min(left));
                pause = (pause * 2).min(LOOK);
            } else {
                // Usually its end is a moment away then.
                self.closes_within(left.min(LOOK));
            }
        }
    }

    fn closes_within(&mut self, time: Duration) -> bool {
        let waits = || matches!(self.closed.recv_timeout(time), Err(RecvTimeoutError::Timeout));
        self.has_closed = self.has_closed || !waits();
        self.has_closed
    }

    /// Whether it has exited. It is not reaped by wait(2), so that its number still names the group.
    fn has_exited(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // The final wait reports any error here.
        !matches!(rustix::process::waitid(WaitId::Pid(Pid::from_child(&self.child)), options), Ok(None))
    }

    fn end(&self, signal: Signal) {
        // If it is already gone, nothing is left to end.
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.child), signal);
    }
}

/// The end of a program's output, escaped line by line.
fn tail(said: &str) -> String {
    let mut from = said.len().saturating_sub(SHOWN);
    while !said.is_char_boundary(from) {
        from += 1;
    }
    said[from..].lines().map(text::escape).collect::<Vec<_>>().join("\n    ")
}

/// The descriptors that a service manager passes to the service: socket activation (sd_listen_fds(3)) names the
/// process, and the service replaces us as that same process.
fn passed_on(env: &Env) -> Vec<i32> {
    let for_us =
        env.var("LISTEN_PID") == Some(rustix::process::getpid().as_raw_nonzero().to_string().as_str());
    let count = env
        .var("LISTEN_FDS")
        .and_then(|count| count.parse::<i32>().ok())
        .filter(|count| (0..=1024).contains(count));
    if for_us { (3..3 + count.unwrap_or(0)).collect() } else { Vec::new() }
}

/// No child gets a secret of ours.
fn withhold_secrets(command: &mut Command, env: &Env) {
    for name in env.names().filter(|name| is_secret(name) || env.is_withheld(name)) {
        command.env_remove(name);
    }
}

/// Whether the variable holds a secret of trustup's.
fn is_secret(name: &str) -> bool {
    let ours = name.starts_with("TRUSTUP_") || name.starts_with("CA_");
    ours && ["TOKEN", "PASSWORD", "SECRET", "HMAC"].iter().any(|word| name.contains(word))
}

/// What a native tool may change, before it runs.
pub(crate) fn snapshot(sysroot: &Sysroot, paths: &[String]) -> Result<BTreeMap<String, tree::Node>> {
    paths.iter().map(|path| Ok((path.clone(), tree::read(sysroot, path)?))).collect()
}

#[cfg(test)]
mod tests;
