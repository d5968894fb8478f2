//! Whether the kernel can start the file of a program, and if not, why: what execve(2) reads of it (permissions, the
//! `#!` line, the header of an ELF file), read without running it.

use std::ffi::OsStr;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, StatVfsMountFlags};

use crate::error::{Error, ErrorKind};
use crate::rootfs::parts::PartialFile;
use crate::rootfs::{FileKind, Sysroot, host};
use crate::text;

/// How much of a file is read for its first line; the kernel reads 256 bytes (BINPRM_BUF_SIZE).
const HEAD: u64 = 4096;
/// Of the `#!` line the kernel reads only this much.
const FIRST_LINE: usize = 256;
/// An interpreter that is a script has an interpreter itself; the kernel allows five.
const NESTED: usize = 5;
/// More program headers than a linker makes are not read.
const HEADERS_LIMIT: u64 = 512;
const PT_LOAD: u64 = 1;
const PT_INTERP: u64 = 3;

/// ELF's numbers of machines (System V ABI, `e_machine`), each with the names that people and Docker use.
const MACHINES: [(u64, &str); 11] = [
    (3, "i386 (386)"),
    (8, "MIPS"),
    (20, "PowerPC"),
    (21, "ppc64 (ppc64le)"),
    (22, "s390x"),
    (40, "32-bit Arm (arm)"),
    (62, "x86-64 (amd64)"),
    (183, "AArch64 (arm64)"),
    (243, "RISC-V (riscv64)"),
    (258, "LoongArch (loong64)"),
    (43, "SPARC"),
];

/// The machine that trustup was built for.
const OWN_MACHINE: u64 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };

/// Why a program cannot be started.
#[derive(Debug)]
pub(super) struct StartProblem {
    /// `NoCommand` (127) if a file is missing, `NotExecutable` (126) if the program's own file is unsuitable.
    pub(super) kind: ErrorKind,
    pub(super) why: String,
    pub(super) hint: String,
    /// Whether it is certain before execve(2) is called. The kernel may run programs of other formats (binfmt_misc).
    pub(super) is_certain: bool,
    /// Whether execvp(3) tries no further directory of PATH: it searches on after ENOENT and EACCES.
    pub(super) ends_search: bool,
}

impl StartProblem {
    /// The kernel answers ENOENT.
    pub(super) fn missing(why: String, hint: String) -> Self {
        StartProblem { kind: ErrorKind::NoCommand, why, hint, is_certain: true, ends_search: false }
    }

    /// The kernel answers EACCES.
    fn forbidden(why: String, hint: String) -> Self {
        StartProblem { ends_search: false, ..StartProblem::unsuitable(why, hint) }
    }

    /// The kernel answers ENOEXEC or starts what cannot run.
    fn unsuitable(why: String, hint: String) -> Self {
        StartProblem { kind: ErrorKind::NotExecutable, why, hint, is_certain: true, ends_search: true }
    }

    fn uncertain(self) -> Self {
        StartProblem { is_certain: false, ..self }
    }

    /// The error about `path`.
    pub(super) fn error(self, path: &str) -> Error {
        Error::new(self.kind, "could not start the command")
            .at(text::escape(path))
            .because(anyhow::anyhow!("{}", self.why))
            .hint(self.hint)
    }
}

/// What is known about a file that is to be started.
#[derive(Debug)]
pub(super) enum Startable {
    /// There is no such file.
    Absent,
    /// Nothing speaks against it, or it cannot be inspected.
    Probably,
    /// It cannot be started.
    No(StartProblem),
}

/// Inspects the program at `path`.
pub(super) fn inspect(path: &OsStr) -> Startable {
    // What cannot be shown is left to the kernel.
    path.to_str().map_or(Startable::Probably, |path| inspect_nested(path, 0))
}

fn inspect_nested(path: &str, depth: usize) -> Startable {
    let Some((root, path)) = host::absolute_text(Path::new(path))
        .ok()
        .and_then(|path| Some((Sysroot::open(Path::new("/")).ok()?, path)))
    else {
        return Startable::Probably;
    };
    let meta = match root.stat(&path) {
        Ok(Some(meta)) => meta,
        Ok(None) => {
            return match root.read_link(&path) {
                Ok(Some(target)) => Startable::No(StartProblem::missing(
                    format!("it is a link to `{}`, which does not exist", text::escape(&target)),
                    "install the program that the link leads to, or name another program".to_owned(),
                )),
                _ => Startable::Absent,
            };
        }
        Err(_) => return Startable::Probably,
    };
    let shown = text::escape(&path);
    match meta.kind {
        FileKind::Directory => {
            return Startable::No(StartProblem::forbidden(
                "it is a directory".to_owned(),
                "name the program in it".to_owned(),
            ));
        }
        FileKind::Special => {
            return Startable::No(StartProblem::forbidden(
                "it is a device, socket or FIFO".to_owned(),
                "name a program".to_owned(),
            ));
        }
        FileKind::File | FileKind::Link => {}
    }
    if rustix::fs::accessat(CWD, path.as_str(), Access::EXEC_OK, AtFlags::EACCESS).is_err() {
        let flags = rustix::fs::statvfs(path.as_str()).map(|system| system.f_flag);
        let is_noexec = flags.is_ok_and(|flags| flags.contains(StatVfsMountFlags::NOEXEC));
        return Startable::No(if is_noexec {
            StartProblem::forbidden(
                "it is on a file system that is mounted `noexec`".to_owned(),
                "put the program into the image, or mount that volume without `noexec`".to_owned(),
            )
        } else {
            StartProblem::forbidden(
                format!("it is not executable for this user (mode {:04o})", meta.mode & 0o7777),
                format!("make it executable: `chmod a+x {shown}` (in a Dockerfile `COPY --chmod=755`)"),
            )
        });
    }
    // Without the right to read it, the kernel still starts it.
    let Ok(Some(file)) = root.parts(&path) else { return Startable::Probably };
    let Ok(head) = file.at(0, file.size().min(HEAD)) else { return Startable::Probably };
    let problem = if head.is_empty() {
        Some(StartProblem::unsuitable(
            "the file is empty".to_owned(),
            "copy the program into the image again: a failed download or build leaves such a file".to_owned(),
        ))
    } else if head.starts_with(b"\x7fELF") {
        elf(&file, &head)
    } else if let Some(line) = head.strip_prefix(b"#!") {
        script(line, &shown, depth)
    } else {
        other_format(&head)
    };
    problem.map_or(Startable::Probably, Startable::No)
}

/// The `#!` line, as Linux reads it (fs/binfmt_script.c): a path, and at most one argument.
fn script(line: &[u8], shown: &str, depth: usize) -> Option<StartProblem> {
    let line = &line[..line.len().min(FIRST_LINE)];
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let has_return = line.ends_with(b"\r");
    let line = line.trim_ascii_start();
    let end = line.iter().position(is_blank).unwrap_or(line.len());
    let interpreter = std::str::from_utf8(&line[..end]).ok()?;
    let arguments = String::from_utf8_lossy(&line[end..]);
    let windows = |looked_for: &str| {
        StartProblem::missing(
            format!(
                "the script has Windows line ends (CRLF): its first line names the interpreter `{}`, which does not exist",
                text::escape(looked_for).replace("\\u{d}", "\\r")
            ),
            format!(
                "convert it: `sed -i 's/\\r$//' {shown}`; `*.sh text eol=lf` in .gitattributes keeps git from adding them"
            ),
        )
    };
    if interpreter.trim_end_matches('\r').is_empty() {
        return Some(StartProblem::unsuitable(
            "its first line is `#!` without an interpreter".to_owned(),
            "name one there, such as `#!/bin/sh`".to_owned(),
        ));
    }
    if depth >= NESTED {
        return Some(StartProblem::unsuitable(
            "its interpreters are scripts that name each other".to_owned(),
            "name a program in its first line, such as `#!/bin/sh`".to_owned(),
        ));
    }
    match inspect_nested(interpreter, depth + 1) {
        Startable::Absent if has_return && interpreter.ends_with('\r') => Some(windows(interpreter)),
        Startable::Absent => Some(StartProblem::missing(
            format!(
                "its first line names the interpreter `{}`, which does not exist",
                text::escape(interpreter)
            ),
            format!(
                "install that interpreter in the image, or name one that is there in the first line of `{shown}`, such as `#!/bin/sh`"
            ),
        )),
        Startable::No(problem) if problem.why.starts_with("its interpreter") => Some(problem),
        Startable::No(problem) => Some(StartProblem {
            why: format!(
                "its interpreter `{}` cannot be started: {}",
                text::escape(interpreter),
                problem.why
            ),
            ..problem
        }),
        // `#!/usr/bin/env NAME`: env(1) searches for it, and would fail.
        Startable::Probably if interpreter.rsplit('/').next() == Some("env") => {
            let name = arguments.trim_matches([' ', '\t']);
            let is_plain =
                !name.is_empty() && !name.starts_with('-') && !name.contains(['=', ' ', '\t', '/']);
            let path = crate::host::env::inherited_path();
            let is_there = || {
                super::exec::candidates(OsStr::new(name), path.as_deref())
                    .iter()
                    .filter_map(|path| path.to_str())
                    .any(|path| !matches!(inspect_nested(path, NESTED), Startable::Absent))
            };
            (is_plain && !is_there()).then(|| {
                if has_return {
                    return windows(name);
                }
                StartProblem::missing(
                    format!(
                        "its first line names the interpreter `{}`, which is in no directory of PATH",
                        text::escape(name)
                    ),
                    format!("install `{}` in the image, or set PATH", text::escape(name)),
                )
            })
        }
        Startable::Probably => None,
    }
}

/// A file without a format that every kernel knows. A text without `#!` is a shell script.
fn other_format(head: &[u8]) -> Option<StartProblem> {
    if is_text(head) {
        return None;
    }
    let is_of = |what: &str| {
        StartProblem::unsuitable(
            format!("{what}, not for Linux"),
            "build it for Linux and for this machine".to_owned(),
        )
    };
    let problem = match head {
        [b'M', b'Z', ..] => is_of("it is a program for Windows"),
        [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..] | [0xce | 0xcf, 0xfa, 0xed, 0xfe, ..] => {
            is_of("it is a program for macOS (Mach-O)")
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => StartProblem::unsuitable(
            "it is a text in UTF-16".to_owned(),
            "save the script as UTF-8, without a byte order mark".to_owned(),
        ),
        [b'P', b'K', 3, 4, ..] => StartProblem::unsuitable(
            "it is an archive (ZIP or JAR)".to_owned(),
            "name the program that runs it, such as `java -jar FILE`".to_owned(),
        ),
        _ => StartProblem::unsuitable(
            "it is neither an ELF program nor a script".to_owned(),
            "name the program that can read it, or copy the program into the image again".to_owned(),
        ),
    };
    Some(problem.uncertain())
}

/// Whether a file without `#!` may be a shell script: the first line is text. Shells judge by the same line, since a
/// script may be followed by an archive.
pub(super) fn is_text(head: &[u8]) -> bool {
    let first = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_of_text = |byte: &u8| matches!(byte, b'\t' | b'\r' | 0x0b | 0x0c | 0x1b | b' '..=b'~' | 0x80..);
    !head.starts_with(b"\x7fELF") && first.iter().all(is_of_text) && std::str::from_utf8(first).is_ok()
}

/// Whether the file at `path` may be given to /bin/sh.
pub(super) fn is_shell_script(path: &OsStr) -> bool {
    let read = || {
        let path = host::absolute_text(Path::new(path)).ok()?;
        let file = Sysroot::open(Path::new("/")).ok()?.parts(&path).ok()??;
        file.at(0, file.size().min(HEAD)).ok()
    };
    read().is_some_and(|head| !head.is_empty() && !head.starts_with(b"#!") && is_text(&head))
}

/// The header of an ELF file: for which machine it is, whether it is whole, and whether its dynamic loader exists.
fn elf(file: &PartialFile, head: &[u8]) -> Option<StartProblem> {
    let damaged = || {
        StartProblem::unsuitable(
            format!("it is a damaged or truncated ELF program ({} bytes)", file.size()),
            "copy the program into the image again: a failed download or build leaves such a file".to_owned(),
        )
    };
    let Some(elf) = ElfHeader::read(head) else { return Some(damaged()) };
    let mut loader = None;
    let table = elf.headers.checked_add(elf.header_size * elf.count);
    if elf.count == 0 || elf.count > HEADERS_LIMIT || table.is_none_or(|end| end > file.size()) {
        return Some(damaged());
    }
    let headers = file.at(elf.headers, elf.header_size * elf.count).ok()?;
    for header in headers.chunks_exact(elf.header_size as usize) {
        let kind = elf.number(header, 0, 4)?;
        let (offset, size) = (elf.field(header, (4, 4), (8, 8))?, elf.field(header, (16, 4), (32, 8))?);
        if matches!(kind, PT_LOAD | PT_INTERP) && offset.checked_add(size).is_none_or(|end| end > file.size())
        {
            return Some(damaged());
        }
        if kind == PT_INTERP && loader.is_none() {
            let bytes = file.at(offset, size.min(HEAD)).ok()?;
            let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            loader = Some(String::from_utf8_lossy(name).into_owned());
        }
    }
    let foreign = (elf.machine != OWN_MACHINE).then(|| {
        StartProblem::unsuitable(
            format!("it is a program for {}, and trustup runs on {}", machine(elf.machine), machine(OWN_MACHINE)),
            "build or pull the image for this machine (`docker build --platform`), or have the host emulate the other one (binfmt_misc)".to_owned(),
        )
        .uncertain()
    });
    let is_missing = |loader: &String| matches!(inspect_nested(loader, NESTED), Startable::Absent);
    match loader.filter(is_missing) {
        Some(loader) => {
            let problem = StartProblem::missing(
                format!("its dynamic loader `{}` does not exist{}", text::escape(&loader), c_library(&loader)),
                "use a static build of the program, a build for this image's C library, or a base image that has this loader".to_owned(),
            );
            // An emulator may have the loader of its own machine elsewhere.
            Some(foreign.unwrap_or(problem))
        }
        None => foreign,
    }
}

/// For which C library a program with this loader was built, if the image has another.
fn c_library(loader: &str) -> String {
    let has = |path: &str| !matches!(inspect_nested(path, NESTED), Startable::Absent);
    let musl = ["x86_64", "aarch64"].iter().any(|machine| has(&format!("/lib/ld-musl-{machine}.so.1")));
    let glibc = has("/lib64/ld-linux-x86-64.so.2") || has("/lib/ld-linux-aarch64.so.1");
    if loader.contains("/ld-linux") && musl {
        ": it was built for glibc, and this image has musl (Alpine)".to_owned()
    } else if loader.contains("/ld-musl") && glibc {
        ": it was built for musl (Alpine), and this image has glibc".to_owned()
    } else if loader.starts_with("/nix/store/") {
        ": it was built for a Nix store".to_owned()
    } else if loader.contains("/ld-linux") && !glibc {
        ": it was built for glibc, which this image lacks".to_owned()
    } else if loader.contains("/ld-musl") && !musl {
        ": it was built for musl, which this image lacks".to_owned()
    } else {
        String::new()
    }
}

fn machine(number: u64) -> String {
    match MACHINES.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("another machine (ELF number {number})"),
    }
}

/// The fields of an ELF header that execve(2) needs.
struct ElfHeader {
    is_64: bool,
    is_little: bool,
    machine: u64,
    /// Where the program headers are, the size of one, and how many there are.
    headers: u64,
    header_size: u64,
    count: u64,
}

impl ElfHeader {
    fn read(head: &[u8]) -> Option<ElfHeader> {
        let (is_64, is_little) = match head.get(4..6)? {
            [class @ 1..=2, order @ 1..=2] => (*class == 2, *order == 1),
            _ => return None,
        };
        let empty = ElfHeader { is_64, is_little, machine: 0, headers: 0, header_size: 0, count: 0 };
        let elf = ElfHeader {
            machine: empty.number(head, 18, 2)?,
            headers: empty.field(head, (28, 4), (32, 8))?,
            header_size: empty.field(head, (42, 2), (54, 2))?,
            count: empty.field(head, (44, 2), (56, 2))?,
            ..empty
        };
        let least = if is_64 { 56 } else { 32 };
        (least..=256).contains(&elf.header_size).then_some(elf)
    }

    /// The number of `width` bytes at `offset`.
    fn number(&self, bytes: &[u8], offset: usize, width: usize) -> Option<u64> {
        let digits = bytes.get(offset..offset + width)?;
        let add = |sum: u64, digit: &u8| sum << 8 | u64::from(*digit);
        Some(if self.is_little { digits.iter().rev().fold(0, add) } else { digits.iter().fold(0, add) })
    }

    /// A field whose offset and width depend on the class of the file: those for 32 bits, then for 64.
    fn field(&self, bytes: &[u8], narrow: (usize, usize), wide: (usize, usize)) -> Option<u64> {
        let (offset, width) = if self.is_64 { wide } else { narrow };
        self.number(bytes, offset, width)
    }
}
