//! Programs that run to their end, with a time limit, and of which the output is kept: a family's trust update, and hooks.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{sleep, timeout};

use super::children::{Child, Children};
use super::{DIRECTORIES, is_secret};
use crate::error::{Error, ErrorKind, Result};
use crate::host::env::Env;
use crate::host::shutdown::Shutdown;
use crate::text;

/// How much of a failed program's output is shown (threat T15).
const SHOWN: usize = 8 * 1024;

/// How much of its output is kept in memory at all.
const KEPT: usize = 1024 * 1024;

/// How long a program may take to end by itself after a signal, and processes that it left running to close its output.
const GRACE: Duration = Duration::from_secs(2);

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

/// The surroundings of a family's tool.
#[derive(Clone, Debug)]
pub(crate) struct ToolContext {
    pub(crate) children: Children,
    /// The longest that it may take.
    pub(crate) timeout: Duration,
    /// Its `SOURCE_DATE_EPOCH`, with which p11-kit dates the entries of the Java keystore.
    pub(crate) stamp: Option<i64>,
}

/// Runs a family's tool: fixed environment (its temporary files go to `temporary`, ours alone), standard input closed,
/// output kept for the error, its whole process group ended after the time limit. No signal to us ends it: a tool that
/// was stopped leaves stores half-written. Returns its output.
///
/// # Errors
/// It could not be started, failed, or took too long; the error shows its output.
pub(crate) async fn run_tool(
    program: &str,
    arguments: &[String],
    temporary: &str,
    context: &ToolContext,
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
        .envs(context.stamp.map(|seconds| ("SOURCE_DATE_EPOCH", seconds.to_string())))
        .current_dir("/");
    let shown =
        std::iter::once(program).chain(arguments.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    let run = ProgramRun {
        children: &context.children,
        who: "the distribution's trust update",
        shown: &shown,
        limit: (context.timeout, ErrorKind::Failed),
        shutdown: Shutdown::default(),
    };
    run.run(command).await.map_err(|failure| {
        let error = failure.error.hint("`--updater builtin` writes the same files without it");
        ToolFailure { error, ..failure }
    })
}

/// Runs a program that the user named: the caller's environment without our secrets (threat T16), standard input
/// closed, output kept for the error, its whole process group ended after a time, or on a signal. `program` is an
/// absolute path; `variables` are added to its environment; `limit` is that time, and the kind of error if it is too short.
///
/// # Errors
/// It could not be started, failed, or took too long; the error shows its output. A signal came.
pub(crate) async fn run_hook(
    control: (&Children, &Shutdown),
    env: &Env,
    program: &str,
    arguments: &[impl AsRef<OsStr>],
    terms: (&[(&str, String)], (Duration, ErrorKind)),
) -> Result<()> {
    run_program("the hook", control, env, program, arguments, terms).await
}

/// As [`run_hook`], for another program than a hook: `who` names it in errors.
///
/// # Errors
/// As [`run_hook`].
pub(crate) async fn run_program(
    who: &str,
    (children, shutdown): (&Children, &Shutdown),
    env: &Env,
    program: &str,
    arguments: &[impl AsRef<OsStr>],
    (variables, limit): (&[(&str, String)], (Duration, ErrorKind)),
) -> Result<()> {
    shutdown.check()?;
    let mut command = Command::new(program);
    command.args(arguments);
    withhold_secrets(&mut command, env);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let words: Vec<OsString> = std::iter::once(OsStr::new(program))
        .chain(arguments.iter().map(AsRef::as_ref))
        .map(OsStr::to_owned)
        .collect();
    let shown = text::escape(&words.join(OsStr::new(" ")).to_string_lossy());
    let run = ProgramRun { children, who, shown: &shown, limit, shutdown: shutdown.clone() };
    run.run(command).await.map(drop).map_err(|failure| failure.error)
}

/// A program that is to run.
pub(super) struct ProgramRun<'a> {
    pub(super) children: &'a Children,
    /// For errors.
    pub(super) who: &'a str,
    /// Its command line, for errors.
    pub(super) shown: &'a str,
    /// Its time, and the kind of the error if that was too short.
    pub(super) limit: (Duration, ErrorKind),
    /// What ends it earlier.
    pub(super) shutdown: Shutdown,
}

/// How a program ended.
enum ProgramEnd {
    ByItself,
    Late,
    Before(Error),
}

impl ProgramRun<'_> {
    /// Runs `command` to its end, and returns its output. It crashed if it ended by a signal, or with a shell's status
    /// for that (128 and more) or for a program that cannot be run (126, 127).
    pub(super) async fn run(self, command: Command) -> Result<String, ToolFailure> {
        let shutdown = self.shutdown.clone();
        self.run_until(command, shutdown.requested()).await
    }

    /// [`ProgramRun::run`], which ends the program when `cut` is ready.
    pub(super) async fn run_until(
        self,
        mut command: Command,
        cut: impl Future<Output = Error>,
    ) -> Result<String, ToolFailure> {
        let no_pipe = |error| Error::failed("could not create a pipe").because(anyhow::Error::from(error));
        let (output, writer) = std::io::pipe().map_err(no_pipe)?;
        let writer_too = writer.try_clone().map_err(no_pipe)?;
        // Reads as empty; `/dev/null` is missing in a bare chroot.
        let (closed, nobody) = std::io::pipe().map_err(no_pipe)?;
        drop(nobody);
        command.stdin(closed).stdout(writer).stderr(writer_too);
        let mut output = Output {
            pipe: Receiver::from_owned_fd_unchecked(OwnedFd::from(output)).map_err(no_pipe)?,
            said: Vec::new(),
        };
        let not_started = |error| {
            Error::failed(format!("could not start {}", self.who))
                .at(self.shown)
                .because(anyhow::Error::from(error))
        };
        let mut child = self.children.spawn(&mut command).map_err(not_started)?;
        // Its ends of the pipes.
        drop(command);
        let ended = tokio::select! {
            biased;
            () = finished(&mut child, &mut output) => ProgramEnd::ByItself,
            error = cut => ProgramEnd::Before(error),
            () = sleep(self.limit.0) => ProgramEnd::Late,
        };
        match &ended {
            ProgramEnd::ByItself => {}
            ProgramEnd::Late => child.signal_group(Signal::KILL),
            ProgramEnd::Before(_) => {
                child.signal_group(Signal::TERM);
                // The process that keeps its output open may be one of the group that ignores the signal.
                let all = async {
                    child.exited().await;
                    output.read_to_end().await;
                };
                if timeout(GRACE, all).await.is_err() {
                    child.signal_group(Signal::KILL);
                }
            }
        }
        let status = child
            .reap()
            .await
            .map_err(|error| Error::failed(format!("could not wait for {}", self.who)).because(error))?;
        if !matches!(ended, ProgramEnd::ByItself) {
            // Its last output, unless a process outside its group keeps its output open.
            let _ = timeout(GRACE, output.read_to_end()).await;
        }
        let crashed = matches!(ended, ProgramEnd::ByItself) && status.code().is_none_or(|code| code >= 126);
        let said = String::from_utf8_lossy(&output.said);
        let what = match ended {
            ProgramEnd::ByItself if status.success() => return Ok(said.into_owned()),
            ProgramEnd::ByItself => Error::failed(format!("{} failed ({status})", self.who)),
            ProgramEnd::Late => {
                let (time, kind) = self.limit;
                let what = format!("{} took longer than {} s and was stopped", self.who, time.as_secs());
                Error::new(kind, what)
            }
            ProgramEnd::Before(error) => return Err(error.at(self.shown).into()),
        };
        let error = what.at(self.shown);
        let said = said.trim_end();
        let error =
            if said.is_empty() { error } else { error.because(anyhow::anyhow!("it said: {}", tail(said))) };
        Err(ToolFailure { error, crashed })
    }
}

/// Waits until `child` has exited, and its children have closed its output, or had their time for it: a process that it
/// leaves running is not waited for.
async fn finished(child: &mut Child, output: &mut Output) {
    let mut closed = pin!(output.read_to_end());
    tokio::select! {
        () = child.exited() => {
            let _ = timeout(GRACE, closed).await;
        }
        () = &mut closed => child.exited().await,
    }
}

/// A program's output. It is read to its end, so that no process is blocked or killed, but kept in part only.
struct Output {
    pipe: Receiver,
    said: Vec<u8>,
}

impl Output {
    /// Until no process can write to it any more.
    async fn read_to_end(&mut self) {
        let mut part = [0; 8192];
        // A program that closes its output early has written everything.
        while let Ok(length @ 1..) = self.pipe.read(&mut part).await {
            let room = KEPT.saturating_sub(self.said.len());
            self.said.extend_from_slice(&part[..length.min(room)]);
        }
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

/// No child gets a secret of ours.
fn withhold_secrets(command: &mut Command, env: &Env) {
    for name in env.names().filter(|name| is_secret(name) || env.is_withheld(name)) {
        command.env_remove(name);
    }
}
