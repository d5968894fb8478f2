//! The command after `--`: whether it can be started is checked before anything is changed, as far as that is certain;
//! at the end it replaces trustup by execve(2).
//!
//! The C library's execvp(3), which the standard library uses, gives whatever the kernel does not know to /bin/sh: a
//! program for another machine as well, of which the shell then runs some bytes. Here only a text becomes a script.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use signal_hook::consts::SIGPIPE;

use super::is_secret;
use super::program_file::{self, StartProblem, Startable};
use crate::error::{Error, ErrorKind, Result};
use crate::host::env::{self, Env};
use crate::text;
use crate::text::miswritten::Miswritten;

/// Where execvp(3) of glibc searches without PATH.
const PATH: &str = "/bin:/usr/bin";
/// What runs a text without `#!`, as in every shell and in execvp(3).
const SHELL: &str = "/bin/sh";

/// The error for a command line that ends with `--`: a container that would do its work, exit with 0, and run no service.
pub(crate) fn no_command() -> Error {
    Error::usage("there is no command after `--`, so no service would be started")
        .hint("ENTRYPOINT in a Dockerfile resets the CMD of the base image (so does `entrypoint:` in Compose): repeat it after ENTRYPOINT, such as `CMD [\"nginx\", \"-g\", \"daemon off;\"]`; `docker inspect --format '{{json .Config.Cmd}}' IMAGE` shows that of the base image")
        .hint("ENTRYPOINT in shell form ignores CMD: write it in exec form, `ENTRYPOINT [\"trustup\", \"bootstrap\", \"--\"]`; in Kubernetes give `args:`")
        .hint("to start nothing, omit `--`")
}

/// Checks the command after `--` before anything is changed; an empty list is no command.
///
/// # Errors
/// It is certain that it cannot be started.
pub(crate) fn check_command(command: &[OsString]) -> Result<()> {
    let Some(program) = command.first() else { return Ok(()) };
    if program.is_empty() {
        return Err(Error::usage("the command after `--` begins with an empty word")
            .hint("a variable that it is made of is unset or empty: set it, or write the program itself"));
    }
    // `bootstrap -- trustup enroll --`: the same mistake, one start later.
    let is_ours = Path::new(program).file_name() == Some(OsStr::new("trustup"));
    let separator = command.iter().position(|word| word.as_os_str() == "--");
    if is_ours && separator.is_some_and(|at| at + 1 == command.len()) {
        return Err(no_command());
    }
    if let Some(problem) = find_problem(program, env::inherited_path().as_deref())
        && problem.is_certain
    {
        return Err(
            with_hint_for_cmd(problem.error(&program.to_string_lossy()), command).hint("nothing was changed")
        );
    }
    Ok(())
}

/// Why no candidate can be started, searched as execvp(3) does. `None` if one may start.
fn find_problem(program: &OsStr, path: Option<&OsStr>) -> Option<StartProblem> {
    let mut first = None;
    for candidate in candidates(program, path) {
        match program_file::inspect(&candidate) {
            Startable::Probably => return None,
            Startable::No(problem) if problem.ends_search => return Some(problem),
            Startable::No(problem) if first.is_none() => first = Some(problem),
            Startable::No(_) | Startable::Absent => {}
        }
    }
    Some(first.unwrap_or_else(|| absent(program)))
}

fn absent(program: &OsStr) -> StartProblem {
    let (why, hint) = if program.as_bytes().contains(&b'/') {
        ("no such file", "name a program of this image: the path is that inside the container")
    } else {
        (
            "no directory of PATH has such a program",
            "give the absolute path of a program in this image, or set PATH",
        )
    };
    StartProblem::missing(why.to_owned(), hint.to_owned())
}

/// Docker runs a CMD in shell form by /bin/sh, which images without a shell lack; in the exec form nothing replaces
/// variables.
fn with_hint_for_cmd(error: Error, command: &[OsString]) -> Error {
    match command {
        [program, ..]
            if matches!(program.to_str().and_then(Miswritten::of), Some(Miswritten::Template(_))) => error.hint(
            "in the exec form (`[\"…\"]`) of ENTRYPOINT and CMD no shell replaces variables: write the program itself, or start a shell, such as `[\"/bin/sh\", \"-c\", \"exec $PROGRAM\"]`",
        ),
        [shell, option, ..] if shell.as_os_str() == SHELL && option.as_os_str() == "-c" => error.hint(
            "Docker runs a CMD in shell form by /bin/sh; write it in exec form, such as `CMD [\"/app/server\", \"--port\", \"80\"]`",
        ),
        _ => error,
    }
}

/// The files that execvp(3) tries for `program`, in their order.
pub(super) fn candidates(program: &OsStr, path: Option<&OsStr>) -> Vec<OsString> {
    if program.as_bytes().contains(&b'/') {
        return vec![program.to_owned()];
    }
    let path = path.unwrap_or(OsStr::new(PATH)).as_bytes();
    path.split(|byte| *byte == b':')
        .map(|directory| {
            // An empty one is the current directory.
            let directory = if directory.is_empty() { b"." } else { directory };
            OsString::from_vec([directory, b"/", program.as_bytes()].concat())
        })
        .collect()
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

/// Execs `command`, with `variables` added to the environment: never returns on success. It gets no secret of ours
/// (threat T16). The exit code of the error is a shell's: 127 if a file is missing, else 126; the caller adds what was
/// done before.
pub(crate) fn replace_us(env: &Env, command: &[OsString], variables: &[(String, String)]) -> Error {
    let Some((program, arguments)) = command.split_first() else {
        return Error::usage("the command after `--` is empty");
    };
    let environment = match environment(env, variables) {
        Ok(environment) => environment,
        Err(error) => return error,
    };
    close_fds::set_fds_cloexec(3, &passed_on(env));
    // The standard library ignores SIGPIPE, and an ignored signal stays ignored across execve(2); a caught one gets its
    // default action back. No signal stays blocked, either.
    let _ = signal_hook::flag::register(SIGPIPE, Arc::default());
    let _ = SigSet::empty().thread_set_mask();
    let path = env::inherited_path();
    let (mut failed, mut errno) = (None, Errno::ENOENT);
    for candidate in candidates(program, path.as_deref()) {
        let cause = exec(
            &candidate,
            std::iter::once(program).chain(arguments).map(OsString::as_os_str),
            &environment,
        );
        match cause {
            // What execvp(3) searches on after.
            Errno::ENOENT | Errno::ENOTDIR | Errno::ENODEV | Errno::ESTALE | Errno::ETIMEDOUT => {}
            Errno::EACCES if errno != Errno::EACCES => (failed, errno) = (Some(candidate), cause),
            Errno::EACCES => {}
            Errno::ENOEXEC if program_file::is_shell_script(&candidate) => {
                let script = [OsStr::new(SHELL), &candidate];
                let words = script.into_iter().chain(arguments.iter().map(OsString::as_os_str));
                return no_shell(&candidate, exec(OsStr::new(SHELL), words, &environment));
            }
            _ => {
                (failed, errno) = (Some(candidate), cause);
                break;
            }
        }
    }
    let problem = match &failed {
        None => find_problem(program, path.as_deref()),
        Some(candidate) => match program_file::inspect(candidate) {
            Startable::No(problem) => Some(problem),
            Startable::Absent | Startable::Probably => None,
        },
    };
    let place = failed.as_deref().unwrap_or(program).to_string_lossy();
    let error = problem.unwrap_or_else(|| unknown(errno)).error(&place);
    with_hint_for_cmd(error, command)
}

/// The kernel's own words, where the file does not show why.
fn unknown(errno: Errno) -> StartProblem {
    let kind = if errno == Errno::ENOENT { ErrorKind::NoCommand } else { ErrorKind::NotExecutable };
    let hint = match errno {
        Errno::ETXTBSY => "a process still writes this file: start it when that has ended",
        Errno::E2BIG => "the arguments and variables are too long together: shorten them",
        Errno::ENOEXEC => {
            "the kernel cannot run this file: name a program, or copy the program into the image again"
        }
        Errno::EACCES | Errno::EPERM => {
            "`ls -l` shows whether this user may execute it, its interpreter and its dynamic loader; a security policy (seccomp, AppArmor, SELinux) may forbid it, too"
        }
        _ => "the file, its interpreter or its dynamic loader may be damaged: copy them into the image again",
    };
    let why = std::io::Error::from(errno).to_string();
    StartProblem { kind, why, hint: hint.to_owned(), is_certain: false, ends_search: true }
}

fn no_shell(script: &OsStr, cause: Errno) -> Error {
    let kind = if cause == Errno::ENOENT { ErrorKind::NoCommand } else { ErrorKind::NotExecutable };
    Error::new(kind, "could not start the command")
        .at(text::escape(&script.to_string_lossy()))
        .because(anyhow::anyhow!(
            "it is a script without a first line such as `#!/bin/sh`, and {SHELL} cannot be started: {}",
            cause.desc()
        ))
        .hint("name its interpreter in the first line, and install that interpreter in the image")
}

/// execve(2); returns only if it failed.
fn exec<'a>(file: &OsStr, words: impl Iterator<Item = &'a OsStr>, environment: &[CString]) -> Errno {
    let text = |word: &OsStr| CString::new(word.as_bytes()).map_err(|_| Errno::EINVAL);
    let words = words.map(text).collect::<Result<Vec<CString>, Errno>>();
    match text(file).and_then(|file| Ok((file, words?))) {
        Ok((file, words)) => match nix::unistd::execve(&file, &words, environment) {
            Err(cause) => cause,
            Ok(never) => match never {},
        },
        Err(cause) => cause,
    }
}

/// The inherited variables without those that hold a secret of ours, and with `variables`.
fn environment(env: &Env, variables: &[(String, String)]) -> Result<Vec<CString>> {
    let is_kept = |name: &OsStr| {
        let ours = |name: &str| {
            is_secret(name) || env.is_withheld(name) || variables.iter().any(|(added, _)| added == name)
        };
        !name.to_str().is_some_and(ours)
    };
    let inherited = env::inherited().filter(|(name, _)| is_kept(name));
    let added = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    inherited
        .chain(added)
        .map(|(name, value)| {
            let mut line = name.into_vec();
            line.push(b'=');
            line.extend(value.as_bytes());
            CString::new(line).map_err(|error| Error::failed("a variable has a NUL byte").because(error))
        })
        .collect()
}
