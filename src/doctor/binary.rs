//! What the file of a program or library reveals, without running it: which libraries it loads and which paths were
//! compiled into it. Distributions build the same client against different libraries, and with different defaults.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::elf::{self, Dynamic, Elf};
use super::library::{TlsLibrary, Version, version};
use crate::rootfs::{FileKind, Sysroot, split};

/// Longer texts are not file names.
const LONGEST: usize = 200;
/// Other texts that show what a program is: OpenSSL's and BusyBox's versions, the option with which BusyBox has `openssl`
/// verify, and the message of its own TLS.
const TRACES: [&str; 4] =
    ["OpenSSL ", "BusyBox v", "-verify_return_error", "note: TLS certificate validation"];
/// Directories of libraries; and, on Debian, the directories below named after the machine.
const LIBRARIES: [&str; 5] = ["/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib"];

/// The texts in an executable file that resemble file names, or traces of its build.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Binary(Vec<String>);

impl Binary {
    /// Searches bytes of an executable file.
    pub(super) fn of(bytes: &[u8]) -> Binary {
        let printable = |byte: &u8| (b' '..=b'~').contains(byte);
        let texts = bytes.split(|byte| *byte == 0).filter_map(|part| {
            let from = part.iter().rposition(|byte| !printable(byte)).map_or(0, |at| at + 1);
            let text = &part[from..];
            let may_be_one = (4..=LONGEST).contains(&text.len())
                && (text.contains(&b'/')
                    || text.windows(3).any(|three| three == b".so")
                    || TRACES.iter().any(|trace| text.starts_with(trace.as_bytes())));
            may_be_one.then(|| String::from_utf8_lossy(text).into_owned())
        });
        Binary(texts.collect())
    }

    /// Whether it holds exactly this text.
    pub(super) fn holds(&self, text: &str) -> bool {
        self.0.iter().any(|one| one == text)
    }

    /// Whether it loads a library with this prefix.
    pub(super) fn loads(&self, library: &str) -> bool {
        self.0.iter().any(|text| text.starts_with(library) && text.contains(".so"))
    }

    /// The library for TLS that it loads.
    pub(super) fn tls_library(&self) -> Option<TlsLibrary> {
        self.0.iter().find_map(|text| TlsLibrary::of_file_name(text).filter(|_| text.contains(".so")))
    }

    /// The version of the OpenSSL that it is, or contains: its constant is `OpenSSL 3.0.17 1 Jul 2025`.
    pub(super) fn openssl_version(&self) -> Option<Version> {
        self.0.iter().find_map(|text| version(text.strip_prefix("OpenSSL ")?))
    }

    /// What follows `prefix` in a text that begins with it.
    pub(super) fn after(&self, prefix: &str) -> Option<&str> {
        self.0.iter().find_map(|text| text.strip_prefix(prefix))
    }
}

/// The binaries of a root file system, each read once.
#[derive(Debug)]
pub(super) struct Binaries<'a> {
    sysroot: &'a Sysroot,
    read: RefCell<BTreeMap<String, Rc<Binary>>>,
    /// The library for TLS that a library loads, by its path.
    loaded: RefCell<BTreeMap<String, Option<TlsLibrary>>>,
    /// Where the libraries are that were searched for in `directories`, by their name.
    places: RefCell<BTreeMap<String, Option<String>>>,
    directories: Vec<String>,
}

impl<'a> Binaries<'a> {
    pub(super) fn new(sysroot: &'a Sysroot) -> Self {
        let mut directories: Vec<String> = LIBRARIES.iter().map(ToString::to_string).collect();
        for directory in ["/usr/lib", "/lib"] {
            let names = sysroot.list(directory).ok().flatten().unwrap_or_default();
            let of_machine = names.iter().filter(|name| name.contains("-linux-"));
            directories.extend(of_machine.map(|name| format!("{directory}/{name}")));
        }
        Binaries {
            sysroot,
            read: RefCell::default(),
            loaded: RefCell::default(),
            places: RefCell::default(),
            directories,
        }
    }

    /// The library for TLS that the program or library at `path` loads, itself or through another library.
    pub(super) fn loaded_by(&self, path: &str, dynamic: &Dynamic) -> Option<TlsLibrary> {
        if let Some(library) = dynamic.needed.iter().find_map(|name| TlsLibrary::of_file_name(name)) {
            return Some(library);
        }
        let (origin, _) = split(path);
        let real = |directory: &str, name: &str| {
            self.sysroot.canonical(&format!("{directory}/{name}")).ok().flatten()
        };
        dynamic.needed.iter().find_map(|name| {
            let mut own = dynamic
                .run_path
                .iter()
                .map(|path| path.replace("$ORIGIN", origin).replace("${ORIGIN}", origin));
            let place = own.find_map(|directory| real(&directory, name)).or_else(|| {
                let mut places = self.places.borrow_mut();
                let search = || self.directories.iter().find_map(|directory| real(directory, name));
                places.entry(name.clone()).or_insert_with(search).clone()
            })?;
            if let Some(known) = self.loaded.borrow().get(&place) {
                return known.clone();
            }
            // Libraries may load each other.
            self.loaded.borrow_mut().insert(place.clone(), None);
            let parts = self.sysroot.parts(&place).ok().flatten()?;
            let found = Elf::read(&parts).and_then(|elf| self.loaded_by(&place, &elf.dynamic()));
            self.loaded.borrow_mut().insert(place, found.clone());
            found
        })
    }

    /// The content of the file at `path`; nothing if it is not an ELF file, cannot be read or is too large.
    pub(super) fn at(&self, path: &str) -> Rc<Binary> {
        if let Some(known) = self.read.borrow().get(path) {
            return Rc::clone(known);
        }
        let parts = self.sysroot.parts(path).ok().flatten();
        // Names of libraries, and constants.
        let is_wanted = |name: &str| name == ".dynstr" || name.starts_with(".rodata");
        let sections = parts.map(|parts| elf::sections(&parts, is_wanted)).unwrap_or_default();
        let binary = Rc::new(Binary(sections.iter().flat_map(|section| Binary::of(section).0).collect()));
        self.read.borrow_mut().insert(path.to_owned(), Rc::clone(&binary));
        binary
    }

    /// The content of the library whose file name begins with `prefix`.
    pub(super) fn library(&self, prefix: &str) -> Option<Rc<Binary>> {
        self.library_path(prefix).map(|path| self.at(&path))
    }

    /// The file of the library whose name begins with `prefix`: the last by name, which is the newest.
    pub(super) fn library_path(&self, prefix: &str) -> Option<String> {
        for directory in &self.directories {
            let names = self.sysroot.list(directory).ok().flatten().unwrap_or_default();
            let fits = |name: &&String| {
                let path = format!("{directory}/{name}");
                name.starts_with(prefix)
                    && self
                        .sysroot
                        .stat(&path)
                        .is_ok_and(|meta| meta.is_some_and(|meta| meta.kind == FileKind::File))
            };
            if let Some(name) = names.iter().rfind(fits) {
                return Some(format!("{directory}/{name}"));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_between_other_bytes() {
        let binary =
            Binary::of(b"\x7fELF\x02\0libssl.so.3\0\x01\xff/etc/ssl/certs\0curl/7.88.1\0no\0OPENSSLDIR: \"/usr/lib/ssl\"");
        assert!(binary.loads("libssl.so") && !binary.loads("libgnutls.so"));
        assert!(binary.holds("/etc/ssl/certs") && !binary.holds("/etc/ssl"));
        assert_eq!(binary.after("curl/"), Some("7.88.1"));
        let library = Binary::of(b"OpenSSL internal error\0OpenSSL 3.0.17 1 Jul 2025\0");
        assert_eq!((library.openssl_version(), binary.openssl_version()), (Some((3, 0)), None));
        assert_eq!(binary.after("OPENSSLDIR: \""), Some("/usr/lib/ssl\""));
        assert_eq!(Binary::of(&[b'/'; 1000]), Binary::default());
    }
}
