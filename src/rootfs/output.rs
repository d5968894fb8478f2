//! Where an output option writes (`--out`, `--cert`, `--key`, `--chain`, `--ca-out`): a file, or standard output (threat T37).
//!
//! Standard output is meant if a path names it: `-`, `/dev/stdout`, `/dev/fd/1`, `/proc/self/fd/1`. It is never opened
//! by that path, so neither a device nor a link to one is ever replaced. Every other path into `/dev` or procfs, every
//! device, FIFO and socket is an error. Shared memory (`/dev/shm`) holds files like any other directory. Which users'
//! links are followed is decided where the path is resolved (threat T35).

use std::path::Path;

use super::path::{child, join};
use super::{FileKind, MAX_HOPS, Sysroot, host, split};
use crate::error::{Error, Result};
use crate::text;

/// The directory below `/dev` that holds files.
const SHARED_MEMORY: &str = "/dev/shm";

/// An output option, and whether it can write to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputOption {
    /// As on the command line.
    pub(crate) name: &'static str,
    /// Whether its output makes sense there.
    pub(crate) takes_standard: bool,
}

/// Where it writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OutputTarget {
    /// To standard output.
    Standard,
    /// To the file at this path: as it was given, relative to the current directory.
    File(String),
}

impl OutputOption {
    /// What the path of this option means; no file is inspected.
    ///
    /// # Errors
    /// Not UTF-8; not a path of a file; standard output if the option does not allow that.
    pub(crate) fn parse(self, given: &Path) -> Result<OutputTarget> {
        let path = given.to_str().ok_or_else(|| {
            Error::usage(format!("the path of `{}` is not UTF-8", self.name))
                .at(text::escape(&given.to_string_lossy()))
        })?;
        if path == "-" || is_standard(path) {
            return match self.takes_standard {
                true => Ok(OutputTarget::Standard),
                false => Err(self.no_standard(path)),
            };
        }
        if path.contains('\0') || matches!(path.rsplit('/').next(), None | Some("" | "." | "..")) {
            return Err(Error::usage(format!("`{}` needs the path of a file", self.name))
                .at(text::escape(path))
                .hint(format!("name a file, such as `{} {}`", self.name, example(path))));
        }
        let absolute = host::absolute_text(Path::new(path))?;
        match is_standard(&absolute) {
            // Relative to `/dev`, for example.
            true if self.takes_standard => Ok(OutputTarget::Standard),
            true => Err(self.no_standard(path)),
            false => Ok(OutputTarget::File(absolute)),
        }
    }

    /// Checks that a file may be at `path`, an absolute path inside `sysroot`. What is missing on the way is no error.
    ///
    /// # Errors
    /// A directory, device, FIFO or socket is there; the path leads into `/dev`, procfs or sysfs; a link of another
    /// user leads to what that user does not own (threat T35).
    pub(crate) fn check(self, sysroot: &Sysroot, path: &str) -> Result<()> {
        self.check_kind(sysroot, path)?;
        sysroot.canonical_parent(path).map(drop)
    }

    fn check_kind(self, sysroot: &Sysroot, path: &str) -> Result<()> {
        let place = || text::escape(&sysroot.display(path));
        let mut pending: Vec<String> = components(path);
        let mut done = String::from("/");
        let mut hops = 0;
        while let Some(name) = pending.pop() {
            if name == ".." {
                split(&done).0.to_owned().clone_into(&mut done);
                continue;
            }
            let here = child(&done, &name);
            if is_of_kernel(&here) {
                return Err(self.no_file("the path leads into `/dev`, procfs or sysfs").at(place()));
            }
            let Some(meta) = sysroot.lstat(&here)? else {
                // The rest is made, or its absence is a clear error.
                let rest: String = pending.iter().rev().map(|name| format!("/{name}")).collect();
                return match is_of_kernel(&format!("{here}{rest}")) {
                    true => Err(self.no_file("the path leads into `/dev`, procfs or sysfs").at(place())),
                    false => Ok(()),
                };
            };
            match meta.kind {
                FileKind::Link => {
                    hops += 1;
                    if hops > MAX_HOPS {
                        return Err(self.no_file("the links in the path loop").at(place()));
                    }
                    let target = sysroot.read_link(&here)?.unwrap_or_default();
                    if target.starts_with('/') {
                        "/".clone_into(&mut done);
                    }
                    pending.extend(components(&join("", &target)));
                }
                FileKind::Directory if pending.is_empty() => {
                    return Err(Error::usage(format!("`{}` names a directory", self.name))
                        .at(place())
                        .hint(format!("name a file in it, such as `{} {}`", self.name, example(path))));
                }
                FileKind::Directory => done = here,
                FileKind::File if pending.is_empty() => return Ok(()),
                FileKind::File => {
                    return Err(self.no_file("expected a directory, found a file").at(place()));
                }
                FileKind::Special => {
                    return Err(self.no_file("it is a device, socket or FIFO").at(place()));
                }
            }
        }
        Err(self.no_file("the path names a directory").at(place()))
    }

    fn no_file(self, why: &str) -> Error {
        let hint = match self.takes_standard {
            true => "name the path of a regular file, or `-` for standard output",
            false => "name the path of a regular file",
        };
        Error::usage(format!("`{}` cannot write there: {why}", self.name)).hint(hint)
    }

    fn no_standard(self, path: &str) -> Error {
        Error::usage(format!("`{}` cannot write to standard output", self.name)).at(text::escape(path)).hint(
            format!(
                "name a file, such as `{} /run/tls/FILE`: it is read back, and replaced when it is due",
                self.name
            ),
        )
    }
}

/// Whether the path names the standard output of the process that uses it (`proc_pid_fd(5)`).
fn is_standard(path: &str) -> bool {
    if !path.starts_with('/') {
        return false;
    }
    let own = std::process::id().to_string();
    match components(path).iter().rev().map(String::as_str).collect::<Vec<_>>()[..] {
        ["dev", "stdout"] | ["dev", "fd", "1"] => true,
        ["proc", process, "fd", "1"] => process == "self" || process == "thread-self" || process == own,
        _ => false,
    }
}

/// Whether only the kernel has files there.
fn is_of_kernel(path: &str) -> bool {
    let below = |directory: &str| {
        path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    // `/dev` itself leads to shared memory.
    below("/proc") || below("/sys") || (below("/dev") && path != "/dev" && !below(SHARED_MEMORY))
}

/// The names in a path, the last one first.
fn components(path: &str) -> Vec<String> {
    let names = path.split('/').filter(|name| !name.is_empty() && *name != ".");
    names.rev().map(ToOwned::to_owned).collect()
}

/// A path of a file in the directory `path`, for a hint.
fn example(path: &str) -> String {
    let directory = text::escape(path.trim_end_matches(['/', '.']));
    if directory.is_empty() { "FILE".to_owned() } else { format!("{directory}/FILE") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: OutputOption = OutputOption { name: "--out", takes_standard: true };
    const KEY: OutputOption = OutputOption { name: "--key", takes_standard: false };

    #[test]
    fn t37_every_name_of_standard_output_is_known() {
        let own = format!("/proc/{}/fd/1", std::process::id());
        for name in [
            "-",
            "/dev/stdout",
            "//dev/./stdout",
            "/dev/fd/1",
            "/proc/self/fd/1",
            "/proc/thread-self/fd/1",
            &own,
        ] {
            assert_eq!(OUT.parse(Path::new(name)).unwrap(), OutputTarget::Standard, "{name}");
            assert!(KEY.parse(Path::new(name)).unwrap_err().what().contains("standard output"), "{name}");
        }
        for name in ["/dev/stderr", "/dev/fd/2", "/proc/1x/fd/1", "/srv/dev/stdout", "/dev/stdout.txt"] {
            assert_eq!(OUT.parse(Path::new(name)).unwrap(), OutputTarget::File(name.to_owned()), "{name}");
        }
        for name in ["", "/", "/tmp/", "/tmp/.", "..", "a/.."] {
            let error = OUT.parse(Path::new(name)).unwrap_err();
            assert!(error.what().contains("path of a file"), "{name}: {error}");
        }
        assert!(
            matches!(OUT.parse(Path::new("token")).unwrap(), OutputTarget::File(path) if path.ends_with("/token"))
        );
    }
}
