//! What the rules of the clients inspect: the root file system, the variables, and how the libraries there were built.

use std::rc::Rc;

use super::binary::{Binaries, Binary};
use super::library::{TlsLibrary, Version, version};
use super::reading::{ReadSource, Reads};
use crate::error::Result;
use crate::host::env::Env;
use crate::process;
use crate::rootfs::{FileKind, Sysroot};
use crate::trust::view::View;
use crate::trust::well_known::compiled_in_bundles;

/// The default directories in which a shell looks for programs.
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Directories of certificates that libraries have compiled in.
const DIRECTORIES: [&str; 4] =
    ["/etc/ssl/certs", "/etc/ssl/certs/", "/etc/pki/tls/certs", "/var/lib/ca-certificates/pem"];

/// The input of the rules.
pub(super) struct RuleScope<'v, 's> {
    pub(super) view: &'v View<'s>,
    /// The caller's variables; none in a foreign sysroot.
    pub(super) env: &'v Env,
    /// The row of the table of distributions.
    pub(super) row: &'static str,
    /// The row's bundle for TLS clients.
    pub(super) bundle: Option<String>,
    pub(super) binaries: Binaries<'s>,
    /// Homes of Java that a search found.
    pub(super) java_homes: Vec<String>,
    /// Home directories of the users whose programs are inspected.
    pub(super) homes: Vec<String>,
}

impl<'v, 's> RuleScope<'v, 's> {
    pub(super) fn sysroot(&self) -> &'s Sysroot {
        self.view.sysroot()
    }

    /// The first of `names` that a shell would find.
    pub(super) fn program(&self, names: &[&str]) -> Result<Option<String>> {
        let path = self.env.var("PATH");
        for name in names {
            let found = match path {
                Some(path) => process::find_in(
                    self.sysroot(),
                    path.split(':').filter(|one| one.starts_with('/')),
                    name,
                )?,
                None => process::find_in(self.sysroot(), PATH, name)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// What a file reveals, links followed.
    pub(super) fn binary(&self, path: &str) -> Rc<Binary> {
        let real = self.sysroot().canonical(path).ok().flatten();
        self.binaries.at(real.as_deref().unwrap_or(path))
    }

    pub(super) fn is(&self, path: &str, kind: FileKind) -> bool {
        self.sysroot().stat(path).is_ok_and(|meta| meta.is_some_and(|meta| meta.kind == kind))
    }

    /// The first of these variables that is set, with its value; an empty one counts as unset.
    pub(super) fn first_set(&self, names: &[&'static str]) -> Option<(&'static str, String)> {
        names.iter().find_map(|name| Some((*name, self.env.var(name)?.to_owned())))
    }

    /// OpenSSL's file and directory, as compiled into the library; else as in the family.
    pub(super) fn openssl_paths(&self) -> (String, String) {
        let library = self.binaries.library("libcrypto.so");
        let compiled = library.as_deref().and_then(|library| {
            library.after("OPENSSLDIR: \"").map(|rest| rest.trim_end_matches('"').to_owned())
        });
        let directory = compiled.unwrap_or_else(|| {
            match self.row {
                "debian" => "/usr/lib/ssl",
                "red-hat" => "/etc/pki/tls",
                _ => "/etc/ssl",
            }
            .to_owned()
        });
        const SUSE: &str = "/var/lib/ca-certificates/openssl";
        let of_suse = library.map_or(self.row == "suse", |library| library.holds(SUSE));
        let hashed = if of_suse { SUSE.to_owned() } else { format!("{directory}/certs") };
        (format!("{directory}/cert.pem"), hashed)
    }

    /// The OpenSSL that programs load, with no flag.
    pub(super) fn openssl_library(&self) -> TlsLibrary {
        let library = self.binaries.library("libcrypto.so");
        TlsLibrary::openssl(library.and_then(|library| library.openssl_version()))
    }

    /// The version of the Python at `path`, whose links end at `python3.13`.
    pub(super) fn python_version(&self, path: &str) -> Option<Version> {
        let real = self.sysroot().canonical(path).ok().flatten()?;
        version(real.rsplit('/').next()?.strip_prefix("python")?)
    }

    /// The version of the Python to which a directory of packages belongs: `…/python3.13/site-packages`, and Debian's
    /// for every Python 3.
    pub(super) fn python_of(&self, packages: &str) -> Option<Version> {
        let named = packages.split('/').find_map(|part| version(part.strip_prefix("python")?));
        named.or_else(|| self.python_version(&self.program(&["python3"]).ok().flatten()?))
    }

    /// The version of a Python package in `directory`, by the directory of its metadata.
    pub(super) fn package_version(&self, directory: &str, package: &str) -> Option<Version> {
        let names = self.sysroot().list(directory).ok().flatten()?;
        names.iter().find_map(|name| {
            let rest = name.strip_prefix(package)?.strip_prefix('-')?;
            version(rest.split_once(".dist-info").or_else(|| rest.split_once(".egg-info"))?.0)
        })
    }

    /// The feature release of the Java at `path` (`…/bin/java`, links followed), as its own file `release` has it.
    pub(super) fn java_release(&self, path: &str) -> Option<u32> {
        let real = self.sysroot().canonical(path).ok().flatten()?;
        let home = real.strip_suffix("/bin/java")?;
        let (text, _) = self.sysroot().read(&format!("{home}/release"), 64 * 1024).ok().flatten()?;
        let text = String::from_utf8_lossy(&text);
        let number = text.lines().find_map(|line| line.strip_prefix("JAVA_VERSION=\""))?;
        // Java 8 calls itself 1.8.
        let number = number.strip_prefix("1.").unwrap_or(number);
        number.split(|char: char| !char.is_ascii_digit()).next()?.parse().ok()
    }

    /// What OpenSSL reads by default: either variable replaces only its own default, an empty one with nothing.
    pub(super) fn openssl_sources(&self) -> Vec<ReadSource> {
        let (file, directory) = self.openssl_paths();
        self.openssl_sources_from(file, directory)
    }

    /// The same for a program with an OpenSSL of its own, whose defaults are in `directory`.
    pub(super) fn openssl_sources_in(&self, directory: &str) -> Vec<ReadSource> {
        self.openssl_sources_from(format!("{directory}/cert.pem"), format!("{directory}/certs"))
    }

    fn openssl_sources_from(&self, file: String, directory: String) -> Vec<ReadSource> {
        let mut sources = vec![match self.env.raw("SSL_CERT_FILE") {
            Some(file) => ReadSource::new(Reads::PemFile, file).named_by("SSL_CERT_FILE"),
            None => ReadSource::new(Reads::PemFile, file),
        }];
        match self.env.raw("SSL_CERT_DIR") {
            Some(list) => sources.extend(directories(list, Reads::HashDirectory, "SSL_CERT_DIR")),
            None => sources.push(ReadSource::new(Reads::HashDirectory, directory)),
        }
        sources
    }

    /// What GnuTLS uses as the system's roots: a bundle, or p11-kit, whose bundle has the same.
    pub(super) fn gnutls_sources(&self) -> Vec<ReadSource> {
        let library = self.binaries.library("libgnutls.so");
        let bundle = library
            .and_then(|library| compiled_in_bundles().iter().copied().find(|path| library.holds(path)));
        let bundle = bundle.map(str::to_owned).or_else(|| self.bundle.clone());
        bundle.map(|bundle| ReadSource::new(Reads::GnuTlsFile, bundle).fixed()).into_iter().collect()
    }

    /// The defaults of the libcurl that `program` loads.
    pub(super) fn libcurl(&self, program: &Binary) -> Libcurl {
        let name = if program.loads("libcurl-gnutls.so") { "libcurl-gnutls.so" } else { "libcurl.so" };
        let Some(library) = self.binaries.library(name) else {
            let library = None;
            return Libcurl { file: self.bundle.clone(), directory: None, gnutls: false, library };
        };
        let find = |known: &[&str]| known.iter().find(|path| library.holds(path)).map(ToString::to_string);
        Libcurl {
            file: find(compiled_in_bundles()),
            directory: find(&DIRECTORIES).map(|path| path.trim_end_matches('/').to_owned()),
            gnutls: library.loads("libgnutls.so"),
            library: library.tls_library(),
        }
    }

    /// Directories that Python may import from.
    pub(super) fn site_packages(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        let named = self.env.var("PYTHONPATH").unwrap_or_default().split(':');
        found.extend(named.filter(|path| path.starts_with('/')).map(ToOwned::to_owned));
        let environment = self.env.var("VIRTUAL_ENV").map(ToOwned::to_owned);
        for prefix in environment.iter().map(String::as_str).chain(["/usr/local", "/usr", "/opt/venv"]) {
            for lib in ["lib", "lib64"] {
                let lib = format!("{prefix}/{lib}");
                let names = self.sysroot().list(&lib).ok().flatten().unwrap_or_default();
                for python in names.iter().filter(|name| name.starts_with("python")) {
                    let packages = ["site-packages", "dist-packages"];
                    found.extend(packages.map(|packages| format!("{lib}/{python}/{packages}")));
                }
            }
        }
        let mut real = Vec::new();
        found.retain(|path| {
            let canonical = self.sysroot().canonical(path).ok().flatten();
            canonical.is_some_and(|path| {
                !real.contains(&path) && {
                    real.push(path);
                    true
                }
            })
        });
        found
    }

    /// The roots of Python's certifi in `directory`: a list of its own, or a distribution's replacement.
    pub(super) fn certifi(&self, directory: &str) -> Option<ReadSource> {
        let code = self.sysroot().read(&format!("{directory}/certifi/core.py"), 1024 * 1024).ok()??.0;
        let code = String::from_utf8_lossy(&code);
        // Distributions that patch it leave its own list beside it, unread.
        let path = compiled_in_bundles().iter().copied().find(|path| code.contains(path)).map(str::to_owned);
        let path = path.unwrap_or_else(|| format!("{directory}/certifi/cacert.pem"));
        Some(ReadSource::new(Reads::PemFile, path).needed())
    }
}

/// The build settings of a libcurl.
pub(super) struct Libcurl {
    file: Option<String>,
    directory: Option<String>,
    gnutls: bool,
    library: Option<TlsLibrary>,
}

impl Libcurl {
    /// The library for TLS that it loads. With OpenSSL any root that it reads may end a chain (since curl 7.68).
    pub(super) fn library(&self, scope: &RuleScope) -> TlsLibrary {
        match &self.library {
            Some(TlsLibrary::OpenSsl { .. }) | None => scope.openssl_library().with_flags(false, true),
            Some(other) => other.clone(),
        }
    }

    /// What it reads if `file` and `directory` (each with its variable) override its own.
    pub(super) fn sources(
        self,
        scope: &RuleScope,
        file: Option<(&'static str, String)>,
        directory: Option<(&'static str, String)>,
    ) -> Vec<ReadSource> {
        let (of_file, of_directory) = if self.gnutls {
            (Reads::GnuTlsFile, Reads::Directory)
        } else {
            (Reads::PemFile, Reads::HashDirectory)
        };
        if file.is_none() && directory.is_none() && self.file.is_none() && self.directory.is_none() {
            return if self.gnutls { scope.gnutls_sources() } else { scope.openssl_sources() };
        }
        let mut sources = Vec::new();
        match (file, self.file) {
            (Some((variable, path)), _) => {
                sources.push(ReadSource::new(of_file, path).named_by(variable).needed())
            }
            (None, Some(path)) => sources.push(ReadSource::new(of_file, path).needed()),
            (None, None) => {}
        }
        match (directory, self.directory) {
            // OpenSSL reads a list, and searches a directory when it needs it; GnuTLS reads one first.
            (Some((variable, path)), _) if self.gnutls => {
                sources.push(ReadSource::new(of_directory, path).named_by(variable).needed());
            }
            (None, Some(path)) if self.gnutls => sources.push(ReadSource::new(of_directory, path).needed()),
            (Some((variable, list)), _) => sources.extend(directories(&list, of_directory, variable)),
            (None, Some(path)) => sources.push(ReadSource::new(of_directory, path)),
            (None, None) => {}
        }
        sources
    }
}

/// The directories of a list like `SSL_CERT_DIR`.
pub(super) fn directories(
    list: &str,
    reads: Reads,
    variable: &'static str,
) -> impl Iterator<Item = ReadSource> {
    list.split(':')
        .filter(|path| !path.is_empty())
        .map(move |path| ReadSource::new(reads, path).named_by(variable))
}
