//! Reads what the user names on the command line (`--ca-file`, `--ca-out`): paths of the root that we run in,
//! relative ones included. Bounded, never blocking, regular files only.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatVfsMountFlags};
use rustix::io::Errno;

use super::{FileKind, Meta, Sysroot, budget, meta_of, remedy};
use crate::error::{Error, Result};
use crate::host::env;
use crate::text;

/// The content of the regular file at `path`, links followed, at most `limit` bytes.
///
/// # Errors
/// Missing, not a regular file, too large, no permission.
pub(crate) fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let meta = stat(path)?.ok_or_else(|| Error::usage("no such file").at(path.display()))?;
    refuse_other_than_file(path, &meta)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(path, flags)?.ok_or_else(|| Error::usage("no such file").at(path.display()))?;
    let meta = meta_of(&file, "", AtFlags::EMPTY_PATH)?
        .ok_or_else(|| Error::usage("no such file").at(path.display()))?;
    refuse_other_than_file(path, &meta)?;
    let place = path.display().to_string();
    budget::read(&file, meta.size, limit, &place).map_err(|error| error.at(place))
}

/// The first bytes of the regular file at `path`, at most `length`.
///
/// # Errors
/// As [`read_file`].
pub(super) fn read_head(path: &Path, length: u64) -> Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(path, flags)?.ok_or_else(|| Error::usage("no such file").at(path.display()))?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let read = rustix::io::read(&file, &mut bytes)
        .map_err(|error| Error::failed("could not read").at(path.display()).because(error))?;
    bytes.truncate(read);
    Ok(bytes)
}

/// What is at `path`, links followed; `None` if there is nothing.
pub(crate) fn stat(path: &Path) -> Result<Option<Meta>> {
    match open(path, OFlags::PATH | OFlags::CLOEXEC)? {
        Some(file) => meta_of(&file, "", AtFlags::EMPTY_PATH),
        None => Ok(None),
    }
}

/// Whether what is at `path` (links followed) is on a file system that is mounted read-only here.
pub(super) fn is_read_only(path: &Path) -> bool {
    let opened = open(path, OFlags::PATH | OFlags::CLOEXEC);
    opened.ok().flatten().is_some_and(|file| is_mounted_read_only(&file))
}

/// Whether this is on a file system that is mounted read-only here: the mount itself, or all of the file system.
pub(super) fn is_mounted_read_only(file: &OwnedFd) -> bool {
    rustix::fs::fstatvfs(file).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Opens `path`; `None` if there is nothing. Links of other users lead only to what those users own (threat T35); the
/// kernel's own (`/dev/stdin`, `/proc/self/fd/3`) lead where the kernel decides.
pub(super) fn open(path: &Path, flags: OFlags) -> Result<Option<OwnedFd>> {
    let opened = if path == Path::new("/") || path.starts_with("/dev") || path.starts_with("/proc") {
        rustix::fs::openat(CWD, path, flags, Mode::empty())
    } else if env::test_hook(env::TestHook::NoOpenat2).is_some() {
        Err(Errno::NOSYS)
    } else {
        rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
    };
    let opened = match opened {
        // There is a link, or no openat2: our own walk checks its owner.
        Err(Errno::LOOP | Errno::NOSYS | Errno::PERM | Errno::AGAIN) => {
            let absolute = std::path::absolute(path).ok();
            let Some(absolute) = absolute.as_ref().and_then(|path| path.to_str()) else {
                return Err(Error::usage("a path through a link must be UTF-8").at(path.display()));
            };
            return Sysroot::open(Path::new("/"))?.open_path(absolute, flags);
        }
        opened => opened,
    };
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(Error::usage("could not open").at(path.display()).because(error)),
    }
}

/// The names in the directory at `path`, sorted by bytes; names that are not UTF-8 are omitted.
pub(crate) fn list_dir(path: &Path) -> Result<Vec<String>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(path, flags)?.ok_or_else(|| Error::usage("no such directory").at(path.display()))?;
    super::list_of(&directory).map_err(|error| error.at(path.display()))
}

/// Standard input up to its end, at most `limit` bytes.
pub(crate) fn read_stdin(limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::usage("could not read standard input").because(error))?;
    if bytes.len() as u64 > limit {
        return Err(too_large(limit).at("-"));
    }
    Ok(bytes)
}

/// The content of a descriptor that the caller left us, up to its end, at most `limit` bytes: a pipe (`<(…)` of a
/// shell) or a file that was opened for us. Waits for its writer, as for standard input.
pub(crate) fn read_descriptor(number: u32, limit: u64) -> Result<Vec<u8>> {
    // Safe code cannot use a bare number; the kernel opens the same file again. A pipe without a writer must not block
    // that.
    let path = format!("/proc/self/fd/{number}");
    let failed = |error: Errno| {
        Error::usage("could not read the descriptor")
            .at(format!("fd:{number}"))
            .because(error)
            .hint("open it for the command that reads it: `trustup … 3<FILE`, or `3< <(command)` in bash")
    };
    if !is_handed_over(number).map_err(failed)? {
        return Err(Error::usage(format!("descriptor {number} is not open"))
            .at(format!("fd:{number}"))
            .hint(format!(
                "open it for trustup: `trustup … {number}<FILE`, or `{number}< <(command)` in bash"
            )));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path.as_str(), flags, Mode::empty()).map_err(failed)?;
    let meta = meta_of(&file, "", AtFlags::EMPTY_PATH)?;
    if meta.is_some_and(|meta| meta.kind == FileKind::Directory) {
        return Err(failed(Errno::ISDIR));
    }
    rustix::fs::fcntl_setfl(&file, OFlags::empty()).map_err(failed)?;
    read_bounded(&file, 0, limit).map_err(|error| error.at(format!("fd:{number}")))
}

/// Whether the caller left us this descriptor. Those that we open ourselves close on `exec`; an inherited one cannot.
fn is_handed_over(number: u32) -> Result<bool, Errno> {
    let path = format!("/proc/self/fdinfo/{number}");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(CWD, path.as_str(), flags, Mode::empty()) {
        Ok(file) => file,
        // Not without `/proc`: nothing is known then.
        Err(Errno::NOENT) if matches!(stat(Path::new("/proc/self/fdinfo")), Ok(Some(_))) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut text = [0; 512];
    let length = rustix::io::read(&file, &mut text)?;
    let text = String::from_utf8_lossy(&text[..length]);
    let flags =
        text.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    let closes = OFlags::from_bits_retain(flags.ok_or(Errno::INVAL)?).contains(OFlags::CLOEXEC);
    Ok(!closes)
}

/// `path` as seen from `/`, by the current directory; nothing is resolved, and no link followed.
///
/// # Errors
/// It is empty, or there is no current directory.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .map_err(|error| Error::usage("this path cannot be used").at(shown(path)).because(error))
}

/// [`absolute`] as text.
///
/// # Errors
/// As there, or it is not UTF-8: then as much of it as can be shown.
pub(crate) fn absolute_text(path: &Path) -> Result<String> {
    let absolute = absolute(path)?;
    match absolute.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(Error::usage("this path is not UTF-8").at(shown(&absolute))),
    }
}

fn shown(path: &Path) -> String {
    text::escape(&path.to_string_lossy())
}

/// Reads `file` to its end; `size` is the value of `statx`, for the error before any memory is used.
pub(super) fn read_bounded(file: &OwnedFd, size: u64, limit: u64) -> Result<Vec<u8>> {
    if size > limit {
        return Err(too_large(limit));
    }
    // One more than expected, so that the end is seen without growing.
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    loop {
        if bytes.len() == bytes.capacity() {
            bytes.reserve(64 * 1024);
        }
        match rustix::io::read(file, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(0) => return Ok(bytes),
            // All that `statx` reported: asking for the end as well would double the calls for small files.
            Ok(_) if bytes.len() as u64 == size => return Ok(bytes),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Error::failed("could not read").because(error)),
        }
        if bytes.len() as u64 > limit {
            return Err(too_large(limit));
        }
    }
}

fn refuse_other_than_file(path: &Path, meta: &Meta) -> Result<()> {
    let what = match meta.kind {
        FileKind::File => return Ok(()),
        FileKind::Directory => "expected a file, found a directory",
        FileKind::Link | FileKind::Special => "expected a file, found a device, socket or FIFO",
    };
    Err(Error::usage(what).at(path.display()).hint(remedy::not_a_file(&path.to_string_lossy())))
}

fn too_large(limit: u64) -> Error {
    Error::failed(format!("the file is larger than {} KiB", limit / 1024))
        .hint("files of this kind are never that large: check what it is, and name or mount the right file")
}
