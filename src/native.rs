//! Programs of others: a family's trust update, and the service that takes our place after `bootstrap -- COMMAND`.
//! The only module that starts processes. No shell is ever involved.

#![expect(clippy::disallowed_methods, reason = "this module owns the starting of programs")]

use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind as ErrorKindOfIo, PipeReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::rootfs::tree;
use crate::rootfs::{FileKind, Sysroot, split};
use crate::runtime;
use crate::text;

/// Where system programs are; the caller's `PATH` never counts (threat T14).
pub(crate) const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// How much of a failed program's output is shown (threat T15).
const SHOWN: usize = 8 * 1024;

/// How much of its output is kept in memory at all.
const KEPT: usize = 1024 * 1024;

/// How often it is looked whether a signal came.
const LOOK: Duration = Duration::from_millis(50);

/// How long a program has to end by itself when a signal came, and what it left running to close its output.
const GRACE: Duration = Duration::from_secs(2);

/// The absolute path of a system program in the sysroot; `None` if it is not there.
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
    /// What it said, and what to do.
    pub(crate) error: Error,
    /// It, or a program that it ran, was killed by a signal or could not be run at all, as under an emulator that cannot
    /// run it: no verdict on what it was to do.
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

/// Runs a family's tool: fixed environment (its temporary files go to `temporary`, ours alone), standard input closed, output kept for the error, its whole process
/// group ended after `timeout`.
///
/// `stamp` is its `SOURCE_DATE_EPOCH`: p11-kit dates the entries of the Java keystore so. Answers with what it said.
///
/// # Errors
/// It could not be started, failed, or took too long; the error shows what it said.
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

/// Runs a program that the user named: the caller's environment without our secrets (threat T16), standard input closed,
/// output kept for the error, its whole process group ended after `timeout`, or when a signal comes that is heeded
/// ([`runtime::heed_signals`]). `program` is an absolute path.
///
/// # Errors
/// It could not be started, failed, or took too long; the error shows what it said. A signal came.
pub(crate) fn run_hook(env: &Env, program: &str, arguments: &[&str], timeout: Duration) -> Result<()> {
    runtime::check()?;
    hook(env, program, arguments, timeout, &runtime::check)
}

/// [`run_hook`] for what is to be taken away at the end: no signal ends it.
///
/// # Errors
/// It could not be started, failed, or took too long; the error shows what it said.
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

/// Runs `command` to its end, as long as `go_on` has no error, and gives back what it said; `who` and `shown` are for the
/// error, which is of the kind beside the time that it has where that was too short. It crashed where its end was
/// a signal, or a shell's status for that (128 and more) or for a program that cannot be run (126, 127).
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
    // First: where there is no room for a thread, no program is left without a reader.
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
        // What it said last, unless somebody outside of its group keeps its output open.
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

/// Reads what a program says into `said`, until nobody can write it any more; then the receiver hears of it. Whoever keeps
/// the output open for longer than the program lives is read from all the same, so that it does not get stuck or killed.
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
                // A program that closes its output early has said all.
                Err(_) => break,
            }
        }
        // Nobody may be waiting any more.
        let _ = sender.send(());
    })?;
    Ok(closed)
}

/// How a program came to its end.
enum ProgramEnd {
    ByItself,
    Late,
    Before(Error),
}

/// A program that leads a process group of its own.
struct Running {
    child: Child,
    /// Hears when nobody can write to its output any more.
    closed: Receiver<()>,
    has_closed: bool,
    /// When it was seen to have exited.
    exited: Option<Instant>,
}

impl Running {
    /// Waits for its end, and ends its process group where that is too late, or not to be waited for.
    fn wait(&mut self, timeout: Duration, go_on: &dyn Fn() -> Result<()>) -> ProgramEnd {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.ends_within(left.min(LOOK)) {
                return ProgramEnd::ByItself;
            }
            if let Err(error) = go_on() {
                self.end(Signal::TERM);
                // Who keeps its output open may be one of the group that takes no notice.
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

    /// Whether it has exited, and its output is closed by whoever of its children has it, or they had their time for it:
    /// one that it leaves running is not ours to wait for.
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
                // As a rule its end is a moment away then.
                self.closes_within(left.min(LOOK));
            }
        }
    }

    fn closes_within(&mut self, time: Duration) -> bool {
        let waits = || matches!(self.closed.recv_timeout(time), Err(RecvTimeoutError::Timeout));
        self.has_closed = self.has_closed || !waits();
        self.has_closed
    }

    /// Whether it has exited. It is not waited for in the sense of wait(2), so that its number still names the group.
    fn has_exited(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // What goes wrong here is said by the wait at the end.
        !matches!(rustix::process::waitid(WaitId::Pid(Pid::from_child(&self.child)), options), Ok(None))
    }

    fn end(&self, signal: Signal) {
        // Where it is gone already, nothing is left to end.
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

/// Puts `command` in our place, with `variables` added to the environment: never returns on success. It gets no secret
/// of ours (threat T16). The exit code of the error is a shell's: 127 where there is no such program, else 126;
/// what was done before is for the caller to add.
pub(crate) fn replace_us(env: &Env, command: &[String], variables: &[(String, String)]) -> Error {
    let Some((program, arguments)) = command.split_first() else {
        return Error::usage("the command after `--` is empty");
    };
    let mut replacement = Command::new(program);
    replacement.args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
    withhold_secrets(&mut replacement, env);
    close_fds::set_fds_cloexec(3, &passed_on(env));
    let cause = replacement.exec();
    let is_missing = cause.kind() == ErrorKindOfIo::NotFound;
    let (kind, hint) = match is_missing {
        true if program.contains('/') && std::path::Path::new(program).exists() => (
            ErrorKind::NoCommand,
            "the file is there: the interpreter that its first line names, or its dynamic loader, is not in this image",
        ),
        true => (ErrorKind::NoCommand, "give the absolute path of a program in this image, or set PATH"),
        false => (
            ErrorKind::NotExecutable,
            "`ls -l` shows whether it is a file that this user may execute; also check its interpreter",
        ),
    };
    Error::new(kind, "could not start the command").at(text::escape(program)).because(cause).hint(hint)
}

/// The descriptors that a service manager means for the service: socket activation (sd_listen_fds(3)) names the
/// process, and the service takes our place as that very process.
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
