//! What kind of program a file is, as far as TLS is concerned, by its headers and named sections alone: the libraries
//! that it loads, Go's build information, the list of a Rust program's crates, and otherwise whether its constants hold
//! the labels that every implementation of TLS needs.

use super::binary::Binaries;
use super::crates::{Crates, RustTls};
use super::elf::Elf;
use super::go_build::GoBuild;
use super::library::{TlsLibrary, Version, version};
use crate::rootfs::STATE_DIRECTORY;
use crate::rootfs::parts::PartialFile;

/// Constants of larger programs are not searched. Those of a browser have 60 MiB.
const CONSTANTS_LIMIT: u64 = 24 * 1024 * 1024;
/// No text that is searched for is longer.
const OVERLAP: u64 = 128;
/// The first line of a script is not longer than the kernel reads.
const SCRIPT_LIMIT: u64 = 256;

/// What a program's file shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ProgramKind {
    /// A script: its interpreter, and the interpreter's first argument.
    Script(String, Option<String>),
    /// It loads this library for TLS.
    Loads(TlsLibrary),
    /// Go built it.
    Go(GoBuild),
    /// Rust built it, and it lists its crates.
    Rust(RustTls),
    /// OpenSSL is inside it.
    OpenSslInside {
        /// Of that OpenSSL.
        version: Option<Version>,
        /// The directory of its defaults, as compiled in.
        directory: Option<String>,
    },
    /// TLS is inside it, and nothing shows which.
    TlsInside,
    /// It cannot be seen what is inside it, for this reason.
    Sealed(&'static str),
}

impl ProgramKind {
    /// What the file shows; `None`: it is no program, or has no TLS.
    pub(super) fn of(file: &PartialFile, path: &str, binaries: &Binaries) -> Option<ProgramKind> {
        let Some(elf) = Elf::read(file) else { return script(file) };
        let dynamic = elf.dynamic();
        if !elf.is_program(&dynamic) {
            return None;
        }
        if let Some(build) = GoBuild::read(&elf) {
            return (build.is_client != Some(false)).then_some(ProgramKind::Go(build));
        }
        if let Some(crates) = Crates::read(&elf) {
            return Some(ProgramKind::Rust(crates.tls()))
                .filter(|kind| *kind != ProgramKind::Rust(RustTls::None));
        }
        if let Some(library) = binaries.loaded_by(path, &dynamic) {
            return Some(ProgramKind::Loads(library));
        }
        if elf.has("pydata") {
            return Some(ProgramKind::Sealed("it is a Python program packed by PyInstaller"));
        }
        if elf.has(".svm_heap") {
            return Some(ProgramKind::Sealed(
                "it is a GraalVM native image, which has roots of its own inside",
            ));
        }
        if !elf.has_sections() {
            return Some(ProgramKind::Sealed("its headers name no section: it may be packed"));
        }
        constants(&elf)
    }
}

fn script(file: &PartialFile) -> Option<ProgramKind> {
    let head = file.at(0, file.size().min(SCRIPT_LIMIT)).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_whitespace();
    Some(ProgramKind::Script(words.next()?.to_owned(), words.next().map(ToOwned::to_owned)))
}

/// Texts in the constants of a program.
#[derive(Default)]
struct Traces {
    /// The labels of TLS 1.2 (RFC 5246, sections 6.3 and 8.1): without them no keys can be derived.
    key_expansion: bool,
    master_secret: bool,
    /// A label of TLS 1.3 (RFC 8446, section 7.1).
    handshake_traffic: bool,
    loads_openssl: bool,
    is_busybox: bool,
    is_trustup: bool,
    /// Rust's own library names its sources in messages.
    is_rust: bool,
    openssl: Option<Version>,
    directory: Option<String>,
}

impl Traces {
    fn look(&mut self, part: &[u8]) {
        let find = |text: &[u8]| memchr::memmem::find(part, text);
        // What follows each place of a text.
        let after = |text: &'static [u8]| {
            memchr::memmem::find_iter(part, text).filter_map(move |at| {
                let rest = &part[at + text.len()..];
                let end = rest.iter().position(|byte| !(b' '..=b'~').contains(byte) || *byte == b'"')?;
                Some(String::from_utf8_lossy(&rest[..end]).into_owned())
            })
        };
        self.key_expansion |= find(b"key expansion").is_some();
        self.master_secret |= find(b"master secret").is_some();
        self.handshake_traffic |= find(b"c hs traffic").is_some();
        self.loads_openssl |= find(b"libssl.so").is_some();
        self.is_busybox |= find(b"BusyBox v1").is_some();
        self.is_rust |= find(b"/rustc/").is_some();
        // Itself, in whatever version: it is no client of the image.
        self.is_trustup |= find(STATE_DIRECTORY.as_bytes()).is_some();
        if self.openssl.is_none() {
            self.openssl = after(b"OpenSSL ").find_map(|text| version(&text));
        }
        if self.directory.is_none() {
            self.directory = after(b"OPENSSLDIR: \"").find(|path| path.starts_with('/'));
        }
    }

    fn have_tls(&self) -> bool {
        self.key_expansion && self.master_secret || self.handshake_traffic
    }
}

fn constants(elf: &Elf) -> Option<ProgramKind> {
    let mut traces = Traces::default();
    let is_wanted = |name: &str| name.starts_with(".rodata");
    let mut look = |part: &[u8]| {
        traces.look(part);
        false
    };
    match elf.search(is_wanted, CONSTANTS_LIMIT, OVERLAP, &mut look) {
        None => Some(ProgramKind::Sealed("its constants are too large to be searched")),
        // The applets of BusyBox have rows of their own.
        Some(_) if traces.is_busybox || traces.is_trustup => None,
        // Rust programs with an OpenSSL inside may also have rustls, or look for its places themselves.
        Some(_) if traces.is_rust && (traces.directory.is_some() || traces.have_tls()) => {
            Some(ProgramKind::TlsInside)
        }
        Some(_) if traces.directory.is_some() => {
            Some(ProgramKind::OpenSslInside { version: traces.openssl, directory: traces.directory })
        }
        Some(_) if traces.have_tls() => Some(ProgramKind::TlsInside),
        Some(_) if traces.loads_openssl => Some(ProgramKind::Loads(TlsLibrary::openssl(None))),
        Some(_) => None,
    }
}
