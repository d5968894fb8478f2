//! The one table of clients: how each is found, which variables it obeys and in which order, which places it reads by
//! default, and what it does where one is missing. Where distributions build a client differently, its own files say
//! how ([`super::binary`]); where they do not, the row of the distribution does. Looks only.
//!
//! Seen with the real programs (curl 7.88, wget 1.21, OpenSSL 3.0, Python 3.11, requests 2.28 and 2.32, git 2.39 with
//! GnuTLS, Node 18 of Debian and of nodejs.org, Go 1.2x, OpenJDK 25) on Debian 12 and 13: `tests/roots/doctor.rs`. The
//! others follow their documentation.

use super::binary::{Binaries, Binary};
use super::reading::{Reads, Source};
use crate::env::Env;
use crate::error::Result;
use crate::native;
use crate::sysroot::{Kind, Sysroot};
use crate::trust::view::{View, child};
use crate::{keystore, nss};

/// Where a shell looks for programs if nobody says.
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Names of the bundle that libraries have compiled in.
const BUNDLES: [&str; 7] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs/ca-bundle.crt",
];

/// Directories of certificates that libraries have compiled in.
const DIRECTORIES: [&str; 4] =
    ["/etc/ssl/certs", "/etc/ssl/certs/", "/etc/pki/tls/certs", "/var/lib/ca-certificates/pem"];

/// What the rules look at.
pub(super) struct Scope<'v, 's> {
    pub(super) view: &'v View<'s>,
    /// The caller's variables; none in a foreign sysroot.
    pub(super) env: &'v Env,
    /// The row of the table of distributions.
    pub(super) row: &'static str,
    /// The row's bundle for TLS clients.
    pub(super) bundle: Option<String>,
    pub(super) binaries: Binaries<'s>,
    /// Home directories of those whose programs are looked at.
    pub(super) homes: Vec<String>,
}

/// A client that is there, or would be: what it reads.
pub(super) struct Installation {
    /// Its program, or what else tells that it is there.
    pub(super) found: Option<String>,
    pub(super) sources: Vec<Source>,
    /// What else is to be known of it.
    pub(super) note: Option<&'static str>,
}

/// A row of the table.
pub(super) struct Client {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    programs: &'static [&'static str],
    /// The variable of `trustup env` that leads it to the roots.
    pub(super) variable: Option<&'static str>,
    rule: fn(&Scope, Option<String>) -> Vec<Installation>,
}

type Rule = fn(&Scope, Option<String>) -> Vec<Installation>;

const fn row(
    id: &'static str,
    name: &'static str,
    programs: &'static [&'static str],
    variable: Option<&'static str>,
    rule: Rule,
) -> Client {
    Client { id, name, programs, variable, rule }
}

/// Programs written in Go that images often have.
const GO: &[&str] = &[
    "go",
    "docker",
    "kubectl",
    "gh",
    "helm",
    "terraform",
    "vault",
    "consul",
    "step",
    "caddy",
    "traefik",
    "podman",
];

/// Every client that is known.
pub(super) const TABLE: &[Client] = &[
    row("openssl", "OpenSSL", &["openssl"], Some("SSL_CERT_FILE"), openssl),
    row("gnutls", "GnuTLS", &["gnutls-cli"], None, gnutls),
    row("curl", "curl", &["curl"], Some("CURL_CA_BUNDLE"), curl),
    row("wget", "wget", &["wget"], Some("SSL_CERT_FILE"), wget),
    row("git", "git", &["git"], Some("GIT_SSL_CAINFO"), git),
    row("python", "Python (ssl)", &["python3", "python"], Some("SSL_CERT_FILE"), of_openssl),
    row("requests", "Python requests", &[], Some("REQUESTS_CA_BUNDLE"), requests),
    row("pip", "pip", &[], Some("PIP_CERT"), pip),
    row("node", "Node", &["node", "nodejs"], Some("NODE_EXTRA_CA_CERTS"), node),
    row("deno", "Deno", &["deno"], Some("DENO_CERT"), deno),
    row("java", "Java", &["java"], Some("JAVA_TOOL_OPTIONS"), java),
    row("go", "Go programs", GO, Some("SSL_CERT_FILE"), go),
    row("uv", "uv", &["uv"], Some("SSL_CERT_FILE"), uv),
    row("cargo", "Cargo", &["cargo"], Some("CARGO_HTTP_CAINFO"), cargo),
    row("ruby", "Ruby", &["ruby"], Some("SSL_CERT_FILE"), of_openssl),
    row("php", "PHP", &["php"], Some("SSL_CERT_FILE"), of_openssl),
    row("dotnet", ".NET", &["dotnet"], Some("SSL_CERT_FILE"), of_openssl),
    row(
        "chromium",
        "Chromium",
        &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
        None,
        chromium,
    ),
    row("firefox", "Firefox", &["firefox", "firefox-esr"], None, firefox),
];

impl Client {
    /// Where it is in the root file system, and what it reads there; one for each place where it is more than once.
    ///
    /// # Errors
    /// A directory of programs cannot be read.
    pub(super) fn installations(&self, scope: &Scope) -> Result<Vec<Installation>> {
        Ok((self.rule)(scope, scope.program(self.programs)?))
    }
}

impl<'v, 's> Scope<'v, 's> {
    fn sysroot(&self) -> &'s Sysroot {
        self.view.sysroot()
    }

    /// The first of `names` that a shell would find.
    fn program(&self, names: &[&str]) -> Result<Option<String>> {
        let path = self.env.var("PATH");
        for name in names {
            let found = match path {
                Some(path) => {
                    native::find_in(self.sysroot(), path.split(':').filter(|one| one.starts_with('/')), name)?
                }
                None => native::find_in(self.sysroot(), PATH, name)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// What a file says of itself, links followed.
    fn binary(&self, path: &str) -> std::rc::Rc<Binary> {
        let real = self.sysroot().canonical(path).ok().flatten();
        self.binaries.at(real.as_deref().unwrap_or(path))
    }

    fn is(&self, path: &str, kind: Kind) -> bool {
        self.sysroot().stat(path).is_ok_and(|meta| meta.is_some_and(|meta| meta.kind == kind))
    }

    /// The first of these variables that is set, with its value; an empty one counts as unset.
    fn first_set(&self, names: &[&'static str]) -> Option<(&'static str, String)> {
        names.iter().find_map(|name| Some((*name, self.env.var(name)?.to_owned())))
    }

    /// OpenSSL's file and directory, as compiled into the library; else as the family has them.
    fn openssl_paths(&self) -> (String, String) {
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

    /// What OpenSSL reads by default: either variable replaces its own default alone, an empty one by nothing.
    fn openssl_sources(&self) -> Vec<Source> {
        let (file, directory) = self.openssl_paths();
        let mut sources = vec![match self.env.raw("SSL_CERT_FILE") {
            Some(file) => Source::new(Reads::PemFile, file).by("SSL_CERT_FILE"),
            None => Source::new(Reads::PemFile, file),
        }];
        match self.env.raw("SSL_CERT_DIR") {
            Some(list) => sources.extend(directories(list, Reads::HashDirectory, "SSL_CERT_DIR")),
            None => sources.push(Source::new(Reads::HashDirectory, directory)),
        }
        sources
    }

    /// What GnuTLS takes for the system's roots: a bundle, or p11-kit, whose bundle has the same.
    fn gnutls_sources(&self) -> Vec<Source> {
        let library = self.binaries.library("libgnutls.so");
        let bundle = library.and_then(|library| BUNDLES.into_iter().find(|path| library.holds(path)));
        let bundle = bundle.map(str::to_owned).or_else(|| self.bundle.clone());
        bundle.map(|bundle| Source::new(Reads::PemBlocks, bundle)).into_iter().collect()
    }

    /// The defaults of the libcurl that `program` loads.
    fn libcurl(&self, program: &Binary) -> Libcurl {
        let name = if program.loads("libcurl-gnutls.so") { "libcurl-gnutls.so" } else { "libcurl.so" };
        let Some(library) = self.binaries.library(name) else {
            return Libcurl { file: self.bundle.clone(), directory: None, gnutls: false };
        };
        let find = |known: &[&str]| known.iter().find(|path| library.holds(path)).map(ToString::to_string);
        Libcurl {
            file: find(&BUNDLES),
            directory: find(&DIRECTORIES).map(|path| path.trim_end_matches('/').to_owned()),
            gnutls: library.loads("libgnutls.so"),
        }
    }

    /// Directories that Python may import from.
    fn site_packages(&self) -> Vec<String> {
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

    /// Where Python's certifi in `directory` finds its roots: a list of its own, or what a distribution made of it.
    fn certifi(&self, directory: &str) -> Option<Source> {
        let code = self.sysroot().read(&format!("{directory}/certifi/core.py"), 1024 * 1024).ok()??.0;
        let code = String::from_utf8_lossy(&code);
        // Distributions that patch it leave the list of its own beside it, unread.
        let path = BUNDLES.into_iter().find(|path| code.contains(path)).map(str::to_owned);
        let path = path.unwrap_or_else(|| format!("{directory}/certifi/cacert.pem"));
        Some(Source::new(Reads::PemFile, path).needed())
    }
}

/// What a libcurl was built with.
struct Libcurl {
    file: Option<String>,
    directory: Option<String>,
    gnutls: bool,
}

impl Libcurl {
    /// What it reads, where `file` and `directory` (each with its variable) go before its own.
    fn sources(
        self,
        scope: &Scope,
        file: Option<(&'static str, String)>,
        directory: Option<(&'static str, String)>,
    ) -> Vec<Source> {
        let (of_file, of_directory) = if self.gnutls {
            (Reads::PemBlocks, Reads::Directory)
        } else {
            (Reads::PemFile, Reads::HashDirectory)
        };
        if file.is_none() && directory.is_none() && self.file.is_none() && self.directory.is_none() {
            return if self.gnutls { scope.gnutls_sources() } else { scope.openssl_sources() };
        }
        let mut sources = Vec::new();
        match (file, self.file) {
            (Some((variable, path)), _) => sources.push(Source::new(of_file, path).by(variable).needed()),
            (None, Some(path)) => sources.push(Source::new(of_file, path).needed()),
            (None, None) => {}
        }
        match (directory, self.directory) {
            // OpenSSL takes a list, and looks into a directory when it needs it; GnuTLS reads one first.
            (Some((variable, path)), _) if self.gnutls => {
                sources.push(Source::new(of_directory, path).by(variable).needed());
            }
            (None, Some(path)) if self.gnutls => sources.push(Source::new(of_directory, path).needed()),
            (Some((variable, list)), _) => sources.extend(directories(&list, of_directory, variable)),
            (None, Some(path)) => sources.push(Source::new(of_directory, path)),
            (None, None) => {}
        }
        sources
    }
}

fn one(found: Option<String>, sources: Vec<Source>) -> Vec<Installation> {
    vec![Installation { found, sources, note: None }]
}

/// The directories of a list like `SSL_CERT_DIR`.
fn directories(list: &str, reads: Reads, variable: &'static str) -> impl Iterator<Item = Source> {
    list.split(':').filter(|path| !path.is_empty()).map(move |path| Source::new(reads, path).by(variable))
}

fn openssl(scope: &Scope, found: Option<String>) -> Vec<Installation> {
    let found = found.or_else(|| scope.binaries.library_path("libssl.so"));
    one(found, scope.openssl_sources())
}

/// A program that takes OpenSSL's defaults as they are.
fn of_openssl(scope: &Scope, found: Option<String>) -> Vec<Installation> {
    one(found, scope.openssl_sources())
}

fn gnutls(scope: &Scope, found: Option<String>) -> Vec<Installation> {
    let found = found.or_else(|| scope.binaries.library_path("libgnutls.so"));
    one(found, scope.gnutls_sources())
}

fn curl(scope: &Scope, found: Option<String>) -> Vec<Installation> {
    let binary = found.as_deref().map(|path| scope.binary(path)).unwrap_or_default();
    let (mut file, mut directory) = (scope.first_set(&["CURL_CA_BUNDLE"]), None);
    if file.is_none() {
        directory = scope.first_set(&["SSL_CERT_DIR"]);
        // Before curl 8.2 the directory alone counted where both are set.
        let version = binary.after("curl/").and_then(|text| {
            let mut numbers = text.split('.').map(|number| number.parse::<u32>().ok());
            Some((numbers.next()??, numbers.next()??))
        });
        if directory.is_none() || version.is_none_or(|version| version >= (8, 2)) {
            file = scope.first_set(&["SSL_CERT_FILE"]);
        }
    }
    one(found, scope.libcurl(&binary).sources(scope, file, directory))
}

fn git(scope: &Scope, found: Option<String>) -> Vec<Installation> {
    let helper = ["/usr/lib/git-core", "/usr/libexec/git-core", "/usr/local/libexec/git-core"]
        .map(|directory| format!("{directory}/git-remote-https"))
        .into_iter()
        .find(|path| scope.is(path, Kind::File));
    // Without it there is no https in this git.
    let found = found.and(helper);
    let binary = found.as_deref().map(|path| scope.binary(path)).unwrap_or_default();
    // Empty ones count.
    let set = |name: &'static str| Some((name, scope.env.raw(name)?.to_owned()));
    one(found, scope.libcurl(&binary).sources(scope, set("GIT_SSL_CAINFO"), set("GIT_SSL_CAPATH")))
}

fn wget(scope: &Scope, found: Option<String>) -> Vec<Installation> {
    let binary = found.as_deref().map(|path| scope.binary(path)).unwrap_or_default();
    if binary.loads("libgnutls.so") {
        let mut sources = scope.gnutls_sources();
        sources.push(Source::new(Reads::Directory, "/etc/ssl/certs").last_resort());
        return one(found, sources);
    }
    let real = found.as_deref().and_then(|path| scope.sysroot().canonical(path).ok().flatten());
    let is_busybox = real.is_some_and(|path| path.ends_with("/busybox"));
    let helper = native::find(scope.sysroot(), "ssl_client").ok().flatten();
    if is_busybox && helper.is_none() {
        let note = Some("BusyBox checks no certificate here: it has no `ssl_client`");
        return vec![Installation { found: None, sources: Vec::new(), note }];
    }
    one(found, scope.openssl_sources())
}

fn requests(scope: &Scope, _: Option<String>) -> Vec<Installation> {
    let named = scope.first_set(&["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]);
    of_certifi(scope, "requests", named, |_, directory| {
        let packages = scope.site_packages();
        // Its certifi may be in another directory.
        let own = scope.certifi(directory);
        own.or_else(|| packages.iter().find_map(|other| scope.certifi(other))).into_iter().collect()
    })
}

fn pip(scope: &Scope, _: Option<String>) -> Vec<Installation> {
    let named = scope.first_set(&["PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]);
    of_certifi(scope, "pip", named, |parent, directory| {
        let mut sources = Vec::new();
        let names = scope.sysroot().list(parent).ok().flatten().unwrap_or_default();
        let version = names
            .iter()
            .find_map(|name| name.strip_prefix("pip-")?.split_once(".dist-info")?.0.split_once('.'));
        let number = |text: &str| text.split('.').next().and_then(|text| text.parse::<u32>().ok());
        // Since 24.2 the system's roots as well.
        if version.is_some_and(|(major, minor)| (number(major), number(minor)) >= (Some(24), Some(2))) {
            sources.extend(scope.openssl_sources());
        }
        sources.extend(scope.certifi(&format!("{directory}/pip/_vendor")));
        sources
    })
}

/// Programs that hand a path to requests, in each directory of packages that has them.
fn of_certifi(
    scope: &Scope,
    package: &str,
    named: Option<(&'static str, String)>,
    default: impl Fn(&str, &str) -> Vec<Source>,
) -> Vec<Installation> {
    let mut installations = Vec::new();
    for directory in scope.site_packages() {
        let path = child(&directory, package);
        if !scope.is(&path, Kind::Directory) {
            continue;
        }
        let sources = match &named {
            // A directory is searched by hash.
            Some((variable, path)) if scope.is(path, Kind::Directory) => {
                vec![Source::new(Reads::HashDirectory, path).by(variable)]
            }
            Some((variable, path)) => vec![Source::new(Reads::PemFile, path).by(variable).needed()],
            None => default(&directory, &directory),
        };
        installations.push(Installation { found: Some(path), sources, note: None });
    }
    installations
}

fn node(scope: &Scope, found: Option<String>) -> Vec<Installation> {
    let binary = found.as_deref().map(|path| scope.binary(path)).unwrap_or_default();
    let options = scope.env.var("NODE_OPTIONS").unwrap_or_default();
    let option = |wanted: &str| options.split_whitespace().any(|option| option == wanted);
    // Distributions build it to take OpenSSL's roots; with the one of nodejs.org that is an option.
    let of_distribution = binary.loads("libnode.so") || binary.loads("libssl.so");
    let mut sources = if (of_distribution && !option("--use-bundled-ca")) || option("--use-openssl-ca") {
        scope.openssl_sources()
    } else {
        vec![Source::compiled_in()]
    };
    if !of_distribution && (option("--use-system-ca") || scope.env.var("NODE_USE_SYSTEM_CA") == Some("1")) {
        let (file, directory) = ("/etc/ssl/cert.pem", "/etc/ssl/certs");
        sources.push(match scope.env.var("SSL_CERT_FILE") {
            Some(file) => Source::new(Reads::PemBlocks, file).by("SSL_CERT_FILE"),
            None => Source::new(Reads::PemBlocks, file),
        });
        match scope.env.var("SSL_CERT_DIR") {
            Some(list) => sources.extend(directories(list, Reads::Directory, "SSL_CERT_DIR")),
            None => sources.push(Source::new(Reads::Directory, directory)),
        }
    }
    let extra = scope.first_set(&["NODE_EXTRA_CA_CERTS"]);
    sources.extend(extra.map(|(variable, path)| Source::new(Reads::PemBlocks, path).by(variable)));
    one(found, sources)
}

fn deno(scope: &Scope, found: Option<String>) -> Vec<Installation> {
    let stores = scope.env.var("DENO_TLS_CA_STORE").unwrap_or("mozilla");
    let mut sources = Vec::new();
    for store in stores.split(',') {
        match store.trim() {
            "system" => sources.extend(native_certs(scope)),
            _ => sources.push(Source::compiled_in()),
        }
    }
    let extra = scope.first_set(&["DENO_CERT"]);
    sources.extend(extra.map(|(variable, path)| Source::new(Reads::PemBlocks, path).by(variable).needed()));
    one(found, sources)
}

/// crypto/x509, root_linux.go and root_unix.go: the first file that can be read, and all files of the directories.
fn go(scope: &Scope, found: Option<String>) -> Vec<Installation> {
    const FILES: [&str; 6] = [BUNDLES[0], BUNDLES[1], BUNDLES[2], BUNDLES[3], BUNDLES[4], BUNDLES[5]];
    let mut sources = vec![match scope.env.var("SSL_CERT_FILE") {
        Some(file) => Source::new(Reads::PemBlocks, file).by("SSL_CERT_FILE"),
        None => {
            let there = FILES.into_iter().find(|path| scope.is(path, Kind::File));
            Source::new(Reads::PemBlocks, there.unwrap_or(FILES[0]))
        }
    }];
    match scope.env.var("SSL_CERT_DIR") {
        Some(list) => sources.extend(directories(list, Reads::Directory, "SSL_CERT_DIR")),
        None => {
            let there = ["/etc/ssl/certs", "/etc/pki/tls/certs"].into_iter();
            let there = there.filter(|path| scope.is(path, Kind::Directory));
            sources.extend(there.map(|path| Source::new(Reads::Directory, path)));
        }
    }
    one(found, sources)
}

/// rustls-native-certs 0.8: as Go, but that either variable alone replaces everything.
fn native_certs(scope: &Scope) -> Vec<Source> {
    let file = scope.first_set(&["SSL_CERT_FILE"]);
    let list = scope.first_set(&["SSL_CERT_DIR"]);
    if file.is_none() && list.is_none() {
        const FILES: [usize; 6] = [0, 4, 1, 2, 3, 5];
        let there = FILES.into_iter().map(|at| BUNDLES[at]).find(|path| scope.is(path, Kind::File));
        let file = Source::new(Reads::PemBlocks, there.unwrap_or(BUNDLES[0]));
        let there = ["/etc/ssl/certs", "/etc/pki/tls/certs"].into_iter();
        let there = there.filter(|path| scope.is(path, Kind::Directory));
        return std::iter::once(file).chain(there.map(|path| Source::new(Reads::Directory, path))).collect();
    }
    let mut sources: Vec<Source> =
        file.map(|(variable, path)| Source::new(Reads::PemBlocks, path).by(variable)).into_iter().collect();
    sources.extend(list.iter().flat_map(|(_, list)| directories(list, Reads::Directory, "SSL_CERT_DIR")));
    sources
}

fn uv(scope: &Scope, found: Option<String>) -> Vec<Installation> {
    let on = |name| scope.env.var(name).is_some_and(|value| matches!(value, "1" | "true"));
    let system = on("UV_NATIVE_TLS") || on("UV_SYSTEM_CERTS");
    let named = scope.first_set(&["SSL_CERT_FILE", "SSL_CERT_DIR"]).is_some();
    one(found, if system || named { native_certs(scope) } else { vec![Source::compiled_in()] })
}

/// Cargo has libcurl and OpenSSL in it and looks for the places itself (openssl-probe); a distribution's loads libcurl.
fn cargo(scope: &Scope, found: Option<String>) -> Vec<Installation> {
    let binary = found.as_deref().map(|path| scope.binary(path)).unwrap_or_default();
    let named = scope.first_set(&["CARGO_HTTP_CAINFO"]);
    if binary.loads("libcurl") {
        return one(found, scope.libcurl(&binary).sources(scope, named, None));
    }
    const PLACES: [&str; 4] = ["/usr/lib/ssl", "/etc/pki/ca-trust/extracted/pem", "/etc/pki/tls", "/etc/ssl"];
    const FILES: [&str; 6] = [
        "cert.pem",
        "ca-bundle.pem",
        "cacert.pem",
        "certs/ca-certificates.crt",
        "certs/ca-bundle.crt",
        "tls-ca-bundle.pem",
    ];
    let there = |name: &str, kind| scope.env.var(name).filter(|path| scope.is(path, kind));
    let paths = PLACES.iter().flat_map(|place| FILES.map(|file| format!("{place}/{file}")));
    let probed = match there("SSL_CERT_FILE", Kind::File) {
        Some(path) => Some(Source::new(Reads::PemFile, path).by("SSL_CERT_FILE")),
        None => paths
            .into_iter()
            .find(|path| scope.is(path, Kind::File))
            .map(|path| Source::new(Reads::PemFile, path)),
    };
    let file = match named {
        Some((variable, path)) => Some(Source::new(Reads::PemFile, path).by(variable)),
        None => probed,
    };
    let mut sources: Vec<Source> = file.map(Source::needed).into_iter().collect();
    let directory = match there("SSL_CERT_DIR", Kind::Directory) {
        Some(path) => Some(Source::new(Reads::HashDirectory, path).by("SSL_CERT_DIR")),
        None => PLACES
            .map(|place| format!("{place}/certs"))
            .into_iter()
            .find(|path| scope.is(path, Kind::Directory))
            .map(|path| Source::new(Reads::HashDirectory, path)),
    };
    sources.extend(directory);
    one(found, sources)
}

fn java(scope: &Scope, found: Option<String>) -> Vec<Installation> {
    const OPTION: &str = "-Djavax.net.ssl.trustStore=";
    // What stands later wins, and the launcher's own variable stands before the other's: seen with OpenJDK 25.
    let named = ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"].into_iter().filter_map(|variable| {
        let options = scope.env.var(variable)?.split_whitespace();
        Some((variable, options.filter_map(|option| option.strip_prefix(OPTION)).next_back()?))
    });
    if let Some((variable, path)) = named.last() {
        return one(found, vec![Source::new(Reads::Keystore, path).by(variable).needed()]);
    }
    let homes: Vec<String> = scope.env.var("JAVA_HOME").map(ToOwned::to_owned).into_iter().collect();
    let search = keystore::find::find(scope.sysroot(), &homes);
    let names = search.found.iter().filter_map(|found| found.names.first()).chain(&search.missing);
    let mut installations = Vec::new();
    for name in names {
        // A keystore for all Javas is nobody's as long as there is none.
        let home = name.rsplit_once("/lib/security/").map(|(home, _)| home.to_owned());
        if let Some(home) = home {
            let source = Source::new(Reads::Keystore, name).needed();
            installations.push(Installation { found: Some(home), sources: vec![source], note: None });
        }
    }
    installations
}

/// A browser: the list inside it, and the databases of its user.
fn browser(
    scope: &Scope,
    found: Option<String>,
    owner: nss::find::Owner,
    note: Option<&'static str>,
) -> Vec<Installation> {
    let mut sources = vec![Source::compiled_in()];
    let data = scope.env.var("XDG_DATA_HOME");
    for home in &scope.homes {
        let locations = nss::find::of_user(scope.sysroot(), home, data).unwrap_or_default();
        let of_browser = locations.into_iter().filter(|location| location.owner == owner);
        sources.extend(of_browser.map(|location| Source::new(Reads::NssDatabase, location.directory)));
    }
    vec![Installation { found, sources, note }]
}

fn chromium(scope: &Scope, found: Option<String>) -> Vec<Installation> {
    browser(scope, found, nss::find::Owner::Shared, None)
}

fn firefox(scope: &Scope, found: Option<String>) -> Vec<Installation> {
    let note = scope
        .is("/etc/firefox/policies/policies.json", Kind::File)
        .then_some("it also obeys /etc/firefox/policies/policies.json, which is not looked into here");
    browser(scope, found, nss::find::Owner::Firefox, note)
}
