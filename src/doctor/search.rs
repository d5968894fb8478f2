//! The programs of a root file system by what they are: every executable file within bounds, and which row of the table
//! each belongs to. What is in no row joins the programs that use the same library in the same way. Only reads.

use std::collections::BTreeSet;

use super::clients::{Find, TABLE, TlsClient};
use super::crates::{CrateRoots, RustTls};
use super::elf::Elf;
use super::go_build::GoBuild;
use super::library::TlsLibrary;
use super::program::ProgramKind;
use super::reading::{Installation, ReadSource};
use super::rules::{go_sources, native_certs, probed};
use super::scope::RuleScope;
use crate::error::Result;
use crate::rootfs::path::split;
use crate::text;

/// How many bytes of programs one search reads (threat T36). That of a large image takes 40 MiB.
const BYTES: u64 = 192 * 1024 * 1024;
/// Scripts that start each other are followed so far.
const SCRIPTS: usize = 4;

/// A program that was found.
#[derive(Clone, Debug)]
struct FoundProgram {
    path: String,
    /// The row that claims it by its name.
    row: Option<&'static str>,
    kind: Option<ProgramKind>,
}

/// What a search found.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    programs: Vec<FoundProgram>,
    /// How many executable files it looked at.
    pub(super) files: usize,
    /// The bound at which it ended early.
    pub(super) bound: Option<String>,
    /// What everyone may execute, and the current user may not read.
    pub(super) closed: Vec<String>,
}

impl Inventory {
    /// Searches the whole root file system.
    ///
    /// # Errors
    /// The root directory cannot be read.
    pub(super) fn search(scope: &RuleScope) -> Result<Inventory> {
        let mut found = Inventory::default();
        let mut bytes = 0;
        let walked = scope.sysroot().executables(&mut |executable| {
            found.files += 1;
            found.programs.extend(classify(scope, &executable.path, &executable.file));
            bytes += executable.file.spent();
            bytes < BYTES
        })?;
        found.bound = walked.bound;
        if bytes >= BYTES {
            found.bound = Some(format!("{} MiB of programs", BYTES / 1024 / 1024));
        }
        found.closed = walked.closed;
        Ok(found)
    }

    /// Homes of Java among them: each has its keystore beside the program.
    pub(super) fn java_homes(&self) -> Vec<String> {
        let javas = self.programs.iter().filter_map(|program| program.path.strip_suffix("/bin/java"));
        javas.map(ToOwned::to_owned).collect()
    }

    /// The installations of every row, those of programs without a row of their own among them.
    ///
    /// # Errors
    /// A directory of programs cannot be read.
    pub(super) fn installations(&self, scope: &RuleScope) -> Result<Vec<(&'static TlsClient, Installation)>> {
        let mut all = Vec::new();
        for client in TABLE {
            let mut of_row = client.installations(scope)?;
            let known: BTreeSet<String> = of_row
                .iter()
                .filter_map(|one| scope.sysroot().canonical(one.found.as_deref()?).ok().flatten())
                .collect();
            for program in &self.programs {
                let is_copy = client.find == Find::Name
                    && program.row == Some(client.id)
                    && !known.contains(&program.path);
                if is_copy {
                    for copy in client.at(scope, &program.path) {
                        join(&mut of_row, copy);
                    }
                }
            }
            for program in self.programs.iter().filter(|program| program.row.is_none()) {
                if let Some(kind) = &program.kind
                    && let Some((row, installation)) = installation(scope, kind, &program.path)
                    && row == client.id
                {
                    // What the row found by name is the same program.
                    of_row.retain(|one| client.find != Find::Kind || !by_name(one, program, scope));
                    join(&mut of_row, installation);
                }
            }
            if of_row.iter().any(|one| one.found.is_some()) {
                of_row.retain(|one| one.found.is_some());
            }
            all.extend(of_row.into_iter().map(|one| (client, one)));
        }
        Ok(all)
    }
}

/// Whether an installation is this very program, found by its name.
fn by_name(one: &Installation, program: &FoundProgram, scope: &RuleScope) -> bool {
    one.also.is_empty()
        && one.found.as_deref().is_some_and(|found| {
            scope.sysroot().canonical(found).ok().flatten().as_deref() == Some(&program.path)
                && one.library == TlsLibrary::Go { version: None, debug: Vec::new() }
        })
}

/// Adds an installation to those of a row, as another program of one for which the same holds.
fn join(of_row: &mut Vec<Installation>, new: Installation) {
    let same = |one: &&mut Installation| {
        one.found.is_some()
            && (&one.library, &one.sources, one.note, &one.unjudged)
                == (&new.library, &new.sources, new.note, &new.unjudged)
    };
    match of_row.iter_mut().find(same) {
        Some(one) => {
            let is_new = |path: &String| one.found.as_ref() != Some(path) && !one.also.contains(path);
            let path = new.found.filter(is_new);
            one.also.extend(path);
        }
        None => of_row.push(new),
    }
}

/// The row and the installation of the single program at `path`, as named by the user; links followed. The error says
/// why it cannot be a client.
///
/// # Errors
/// It is not there, or cannot be read.
pub(super) fn named(
    scope: &RuleScope,
    path: &str,
) -> Result<std::result::Result<(&'static TlsClient, Installation), String>> {
    let mut real = path.to_owned();
    for _ in 0..SCRIPTS {
        let Some(canonical) = scope.sysroot().canonical(&real)? else {
            return Ok(Err(if real == path {
                "it is not there".to_owned()
            } else {
                format!("its interpreter `{}` is not there", text::escape(&real))
            }));
        };
        let Some(file) = scope.sysroot().parts(&canonical)? else {
            return Ok(Err("it is not there".to_owned()));
        };
        let found = classify(scope, &canonical, &file);
        let Some(program) = found else {
            let what = if Elf::read(&file).is_some() {
                "no TLS shows in it: it may start another program, or load a library when it runs"
            } else {
                "it is neither an ELF program nor a script"
            };
            return Ok(Err(what.to_owned()));
        };
        if let Some(row) = program.row.and_then(row) {
            let at = row.at(scope, &canonical).into_iter().next();
            return Ok(at
                .map(|one| (row, Installation { found: Some(path.to_owned()), ..one }))
                .ok_or_else(|| format!("`--client {}` covers it", row.id)));
        }
        match &program.kind {
            Some(ProgramKind::Script(interpreter, argument)) => {
                let name = split(interpreter).1;
                let command = argument.as_deref().filter(|_| name == "env");
                real = match command {
                    Some(command) => match scope.program(&[command])? {
                        Some(found) => found,
                        None => {
                            let command = text::escape(command);
                            return Ok(Err(format!("its interpreter `{command}` is not there")));
                        }
                    },
                    None => interpreter.clone(),
                };
            }
            Some(kind) => {
                let known = installation(scope, kind, path).and_then(|(id, one)| Some((row(id)?, one)));
                return Ok(known.ok_or_else(|| "no TLS shows in it".to_owned()));
            }
            None => return Ok(Err("no TLS shows in it".to_owned())),
        }
    }
    Ok(Err("it is a script of a script of a script".to_owned()))
}

fn row(id: &str) -> Option<&'static TlsClient> {
    TABLE.iter().find(|client| client.id == id)
}

/// What a file is: a program of a row by its name, or one with TLS; `None` for the rest.
fn classify(scope: &RuleScope, path: &str, file: &crate::rootfs::parts::PartialFile) -> Option<FoundProgram> {
    let kind = ProgramKind::of(file, path, &scope.binaries);
    let is_script = matches!(kind, Some(ProgramKind::Script(..)));
    let is_go = matches!(kind, Some(ProgramKind::Go(_)));
    let row = if is_script || is_go {
        None
    } else {
        TABLE.iter().find(|client| client.is_named(split(path).1)).map(|client| client.id)
    };
    // Programs of the table load their TLS in their own ways.
    let is_program = || Elf::read(file).is_some_and(|elf| elf.is_program(&elf.dynamic()));
    let row = row.filter(|_| kind.is_some() || is_program());
    (row.is_some() || kind.is_some()).then(|| FoundProgram { path: path.to_owned(), row, kind })
}

/// The row of a program without a name of the table, and what it reads. `None` for scripts: their interpreters count.
fn installation(scope: &RuleScope, kind: &ProgramKind, path: &str) -> Option<(&'static str, Installation)> {
    let new = |library, sources| Installation {
        found: Some(path.to_owned()),
        also: Vec::new(),
        sources,
        library,
        note: None,
        unjudged: None,
        names: None,
    };
    let unjudged = |library: TlsLibrary, why: &str| Installation {
        unjudged: Some(why.to_owned()),
        ..new(library, Vec::new())
    };
    Some(match kind {
        ProgramKind::Script(..) => return None,
        ProgramKind::Loads(TlsLibrary::OpenSsl { .. }) => {
            ("openssl", new(scope.openssl_library(), scope.openssl_sources()))
        }
        ProgramKind::Loads(TlsLibrary::GnuTls) => ("gnutls", new(TlsLibrary::GnuTls, scope.gnutls_sources())),
        ProgramKind::Loads(library) => {
            let why = "its library has no default: the program itself names its roots";
            ("other", unjudged(library.clone(), why))
        }
        ProgramKind::Go(build) => ("go", go(scope, build, new)),
        ProgramKind::Rust(RustTls::Rustls(roots)) => {
            let library = TlsLibrary::Rustls;
            let one = match roots {
                CrateRoots::CompiledIn => new(library, vec![ReadSource::compiled_in().fixed()]),
                CrateRoots::System => new(library, native_certs(scope)),
                CrateRoots::Either => unjudged(
                    library,
                    "it has crates for the system's roots and for Mozilla's, and its code chooses",
                ),
                CrateRoots::Own => {
                    unjudged(library, "none of its crates brings or finds roots: its code names them")
                }
            };
            ("rust", one)
        }
        ProgramKind::Rust(RustTls::OpenSsl { is_inside, is_probed }) => {
            let library = if *is_inside { TlsLibrary::openssl(None) } else { scope.openssl_library() };
            let one = match (is_inside, is_probed) {
                (_, true) => new(library, probed(scope)),
                (false, false) => new(library, scope.openssl_sources()),
                (true, false) => unjudged(library, "it contains OpenSSL, and its code names its roots"),
            };
            ("rust", one)
        }
        ProgramKind::Rust(RustTls::Several) => (
            "rust",
            unjudged(TlsLibrary::Unknown, "it has crates of more than one TLS library, and its code chooses"),
        ),
        ProgramKind::Rust(RustTls::None) => return None,
        ProgramKind::Rust(RustTls::Other) => {
            ("rust", unjudged(TlsLibrary::Unknown, "its TLS library is none that trustup knows"))
        }
        ProgramKind::OpenSslInside { version, directory } => {
            let library = TlsLibrary::openssl(*version);
            let one = match directory {
                Some(directory) => new(library, scope.openssl_sources_in(directory)),
                None => {
                    unjudged(library, "it contains OpenSSL, and does not show where that looks for roots")
                }
            };
            ("openssl", one)
        }
        ProgramKind::TlsInside => {
            let why = "TLS is inside it, and the file shows neither which library nor which roots (a Rust program does if `cargo auditable` builds it)";
            ("other", unjudged(TlsLibrary::Unknown, why))
        }
        ProgramKind::Sealed(why) => ("other", unjudged(TlsLibrary::Unknown, why)),
    })
}

fn go(
    scope: &RuleScope,
    build: &GoBuild,
    new: impl Fn(TlsLibrary, Vec<ReadSource>) -> Installation,
) -> Installation {
    let debug = build.debug_with(scope.env.var("GODEBUG"));
    let always_fallback = debug.iter().any(|setting| setting == "x509usefallbackroots=1");
    let mut sources = go_sources(scope);
    let mut note = None;
    if build.has_fallback && always_fallback {
        sources = vec![ReadSource::compiled_in().named_by("GODEBUG")];
        note = Some("GODEBUG has `x509usefallbackroots=1`: it reads the list inside it, not the system's");
    } else if build.has_fallback {
        sources.push(ReadSource::compiled_in().last_resort());
    }
    if build.is_client.is_none() {
        note = Some("its list of functions cannot be read: it may be no TLS client at all");
    }
    Installation { note, ..new(TlsLibrary::Go { version: build.version, debug }, sources) }
}
