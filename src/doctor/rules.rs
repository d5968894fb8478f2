//! What each client reads: one function for a row of the table ([`super::clients`]), or for several similar ones.

use super::binary::Binary;
use super::judgement::HostNames;
use super::library::{TlsLibrary, Version};
use super::reading::{Installation, ReadSource, Reads};
use super::scope::{Libcurl, RuleScope, directories};
use crate::process;
use crate::rootfs::FileKind;
use crate::rootfs::path::{child, split};
use crate::trust::firefox_policy;
use crate::trust::stores::{java, nss};
use crate::trust::well_known::{BUNDLES, DIRECTORIES, bundles_of_go};

fn one_installation(
    found: Option<String>,
    library: TlsLibrary,
    sources: Vec<ReadSource>,
) -> Vec<Installation> {
    vec![Installation::new(found, library, sources)]
}

pub(super) fn openssl(scope: &RuleScope, found: Option<String>) -> Vec<Installation> {
    let found = found.or_else(|| scope.binaries.library_path("libssl.so"));
    one_installation(found, scope.openssl_library(), scope.openssl_sources())
}

/// A program that uses OpenSSL's defaults unchanged.
pub(super) fn of_openssl(scope: &RuleScope, found: Option<String>) -> Vec<Installation> {
    one_installation(found, scope.openssl_library(), scope.openssl_sources())
}

/// Python's `ssl.create_default_context`.
pub(super) fn python(scope: &RuleScope, found: Option<String>) -> Vec<Installation> {
    let is_new = found.as_deref().and_then(|path| scope.python_version(path)) >= Some(STRICT_PYTHON);
    let library = scope.openssl_library().with_flags(is_new, is_new);
    one_installation(found, library, scope.openssl_sources())
}

/// Since this Python, `ssl.create_default_context` sets VERIFY_X509_STRICT and VERIFY_X509_PARTIAL_CHAIN.
const STRICT_PYTHON: Version = (3, 13);
/// Since this urllib3, its contexts have the same flags, with such a Python.
const STRICT_URLLIB3: Version = (2, 4);

pub(super) fn gnutls(scope: &RuleScope, found: Option<String>) -> Vec<Installation> {
    let found = found.or_else(|| scope.binaries.library_path("libgnutls.so"));
    one_installation(found, TlsLibrary::GnuTls, scope.gnutls_sources())
}

pub(super) fn curl(scope: &RuleScope, found: Option<String>) -> Vec<Installation> {
    let binary = found.as_deref().map(|path| scope.binary(path)).unwrap_or_default();
    let (mut file, mut directory) = (scope.first_set(&["CURL_CA_BUNDLE"]), None);
    if file.is_none() {
        directory = scope.first_set(&["SSL_CERT_DIR"]);
        // Before curl 8.2 only the directory counted if both are set.
        let version = binary.after("curl/").and_then(|text| {
            let mut numbers = text.split('.').map(|number| number.parse::<u32>().ok());
            Some((numbers.next()??, numbers.next()??))
        });
        if directory.is_none() || version.is_none_or(|version| version >= (8, 2)) {
            file = scope.first_set(&["SSL_CERT_FILE"]);
        }
    }
    let libcurl = scope.libcurl(&binary);
    one_installation(found, libcurl.library(scope), libcurl.sources(scope, file, directory))
}

pub(super) fn git(scope: &RuleScope, found: Option<String>) -> Vec<Installation> {
    let helper = ["/usr/lib/git-core", "/usr/libexec/git-core", "/usr/local/libexec/git-core"]
        .map(|directory| format!("{directory}/git-remote-https"))
        .into_iter()
        .find(|path| scope.is(path, FileKind::File));
    // Without it this git has no https.
    let found = found.and(helper);
    let binary = found.as_deref().map(|path| scope.binary(path)).unwrap_or_default();
    // Empty ones count.
    let set = |name: &'static str| Some((name, scope.env.raw(name)?.to_owned()));
    let libcurl = scope.libcurl(&binary);
    let sources = |libcurl: Libcurl| libcurl.sources(scope, set("GIT_SSL_CAINFO"), set("GIT_SSL_CAPATH"));
    one_installation(found, libcurl.library(scope), sources(libcurl))
}

pub(super) fn wget(scope: &RuleScope, found: Option<String>) -> Vec<Installation> {
    let binary = found.as_deref().map(|path| scope.binary(path)).unwrap_or_default();
    if binary.loads("libgnutls.so") {
        let mut sources = scope.gnutls_sources();
        sources.push(ReadSource::new(Reads::Directory, "/etc/ssl/certs").fixed().last_resort());
        return one_installation(found, TlsLibrary::GnuTls, sources);
    }
    // By its banner: in some images all its names are hard links.
    if binary.after("BusyBox v").is_some() {
        return one_installation_of_busybox(scope, found, &binary);
    }
    one_installation(found, scope.openssl_library(), scope.openssl_sources())
}

/// BusyBox's wget, which other programs may do TLS for: `openssl`, where the build asks that to verify (Debian's 1.35 and
/// 1.37), or the `ssl_client` of Alpine, which loads OpenSSL. If it has TLS of its own, that verifies nothing.
fn one_installation_of_busybox(
    scope: &RuleScope,
    found: Option<String>,
    busybox: &Binary,
) -> Vec<Installation> {
    let has = |name| process::find(scope.sysroot(), name).ok().flatten().is_some();
    let by_openssl =
        busybox.holds("-verify_return_error") && scope.program(&["openssl"]).ok().flatten().is_some();
    let has_own = busybox.after("note: TLS certificate validation").is_some();
    if has_own && !by_openssl {
        let note = Some(
            "this BusyBox has TLS of its own, and prints at each download that it validates no certificate",
        );
        return vec![Installation { note, ..Installation::new(found, TlsLibrary::Unverified, Vec::new()) }];
    }
    // Without any of these it has no https.
    let found = found.filter(|_| by_openssl || has("ssl_client"));
    // `ssl_client` asks OpenSSL for no stars inside a label.
    let names = (!by_openssl).then_some(HostNames::Python);
    let installation = Installation::new(found, scope.openssl_library(), scope.openssl_sources());
    vec![Installation { names, ..installation }]
}

pub(super) fn requests(scope: &RuleScope, _: Option<String>) -> Vec<Installation> {
    const NAMED: &[&str] = &["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
    let urllib3_of = |directory: &str| {
        let own = scope.package_version(directory, "urllib3");
        own.or_else(|| scope.site_packages().iter().find_map(|other| scope.package_version(other, "urllib3")))
    };
    let installations = of_requests(scope, "requests", NAMED, |directory| {
        let is_new = scope.python_of(directory) >= Some(STRICT_PYTHON)
            && urllib3_of(directory) >= Some(STRICT_URLLIB3);
        let library = scope.openssl_library().with_flags(is_new, is_new);
        // Its certifi may be in another directory.
        let packages = scope.site_packages();
        let own = scope.certifi(directory);
        let certifi = own.or_else(|| packages.iter().find_map(|other| scope.certifi(other)));
        (library, Vec::new(), certifi)
    });
    let named = installations.into_iter().map(|one| {
        let directory = one.found.as_deref().map(split).map(|(directory, _)| directory);
        let names = directory.and_then(urllib3_of).map(|version| match version {
            (2.., _) => HostNames::Urllib3,
            _ => HostNames::Urllib3Old,
        });
        Installation { names, ..one }
    });
    named.collect()
}

pub(super) fn pip(scope: &RuleScope, _: Option<String>) -> Vec<Installation> {
    // Its own comes last: what requests reads overrides what pip gives it.
    const NAMED: &[&str] = &["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"];
    of_requests(scope, "pip", NAMED, |directory| {
        // Since 24.2 also the system's roots, whatever is named.
        let also_system = scope.package_version(directory, "pip") >= Some((24, 2));
        let system = if also_system { scope.openssl_sources() } else { Vec::new() };
        // It has a urllib3 of its own, of before the flags.
        (scope.openssl_library(), system, scope.certifi(&format!("{directory}/pip/_vendor")))
    })
}

/// What reads roots through requests, in each directory of packages that has it. `own` gives for such a directory the
/// library, what it always reads, and its list if none of the variables `named` leads it elsewhere.
fn of_requests(
    scope: &RuleScope,
    package: &str,
    named: &[&'static str],
    own: impl Fn(&str) -> (TlsLibrary, Vec<ReadSource>, Option<ReadSource>),
) -> Vec<Installation> {
    let named = scope.first_set(named).map(|(variable, path)| {
        // A directory is searched by hash.
        if scope.is(&path, FileKind::Directory) {
            ReadSource::new(Reads::HashDirectory, path).named_by(variable)
        } else {
            ReadSource::new(Reads::PemFile, path).named_by(variable).needed()
        }
    });
    let mut installations = Vec::new();
    for directory in scope.site_packages() {
        let path = child(&directory, package);
        if scope.is(&path, FileKind::Directory) {
            let (library, mut sources, list) = own(&directory);
            sources.extend(named.clone().or(list));
            installations.push(Installation::new(Some(path), library, sources));
        }
    }
    installations
}

pub(super) fn node(scope: &RuleScope, found: Option<String>) -> Vec<Installation> {
    let binary = found.as_deref().map(|path| scope.binary(path)).unwrap_or_default();
    let options = scope.env.var("NODE_OPTIONS").unwrap_or_default();
    let option = |wanted: &str| options.split_whitespace().any(|option| option == wanted);
    // Distributions build it to use OpenSSL's roots; with the one of nodejs.org that is an option.
    let of_distribution = binary.loads("libnode.so") || binary.loads("libssl.so");
    let mut sources = if (of_distribution && !option("--use-bundled-ca")) || option("--use-openssl-ca") {
        scope.openssl_sources()
    } else {
        vec![ReadSource::compiled_in()]
    };
    let extra = scope.first_set(&["NODE_EXTRA_CA_CERTS"]);
    sources.extend(extra.map(|(variable, path)| ReadSource::new(Reads::PemBlocks, path).named_by(variable)));
    let system = option("--use-system-ca") || scope.env.var("NODE_USE_SYSTEM_CA") == Some("1");
    let note =
        system.then_some("the setting to use the system's roots has no effect: versions before 22.19 cannot");
    // That of nodejs.org has an OpenSSL inside.
    let library =
        if of_distribution { scope.openssl_library() } else { TlsLibrary::openssl(binary.openssl_version()) };
    vec![Installation { note, ..Installation::new(found, library, sources) }]
}

pub(super) fn deno(scope: &RuleScope, found: Option<String>) -> Vec<Installation> {
    let stores = scope.env.var("DENO_TLS_CA_STORE").unwrap_or("mozilla");
    let mut sources = Vec::new();
    for store in stores.split(',') {
        match store.trim() {
            "system" => sources.extend(native_certs(scope)),
            _ => sources.push(ReadSource::compiled_in()),
        }
    }
    let extra = scope.first_set(&["DENO_CERT"]);
    sources.extend(
        extra.map(|(variable, path)| ReadSource::new(Reads::PemBlocks, path).named_by(variable).needed()),
    );
    one_installation(found, TlsLibrary::Rustls, sources)
}

/// crypto/x509, root_linux.go and root_unix.go: the first file that can be read, and all files of the directories.
pub(super) fn go_sources(scope: &RuleScope) -> Vec<ReadSource> {
    let mut sources = vec![match scope.env.var("SSL_CERT_FILE") {
        Some(file) => ReadSource::new(Reads::PemBlocks, file).named_by("SSL_CERT_FILE"),
        None => {
            let there = bundles_of_go().iter().find(|path| scope.is(path, FileKind::File));
            ReadSource::new(Reads::PemBlocks, *there.unwrap_or(&BUNDLES[0]))
        }
    }];
    match scope.env.var("SSL_CERT_DIR") {
        Some(list) => sources.extend(directories(list, Reads::Directory, "SSL_CERT_DIR")),
        None => {
            let there = DIRECTORIES.into_iter();
            let there = there.filter(|path| scope.is(path, FileKind::Directory));
            sources.extend(there.map(|path| ReadSource::new(Reads::Directory, path)));
        }
    }
    sources
}

/// Go programs by name: those that do not say what they are. The search finds the others.
pub(super) fn go(scope: &RuleScope, found: Option<String>) -> Vec<Installation> {
    one_installation(found, TlsLibrary::Go { version: None, debug: Vec::new() }, go_sources(scope))
}

/// Only the search finds such programs: nothing is read by a program that is not there.
pub(super) fn only_searched(_: &RuleScope, _: Option<String>) -> Vec<Installation> {
    Vec::new()
}

/// rustls-native-certs 0.8: as Go, except that either variable alone replaces everything.
pub(super) fn native_certs(scope: &RuleScope) -> Vec<ReadSource> {
    let file = scope.first_set(&["SSL_CERT_FILE"]);
    let list = scope.first_set(&["SSL_CERT_DIR"]);
    if file.is_none() && list.is_none() {
        const FILES: [usize; 6] = [0, 4, 1, 2, 3, 5];
        let there = FILES.into_iter().map(|at| BUNDLES[at]).find(|path| scope.is(path, FileKind::File));
        let file = ReadSource::new(Reads::PemBlocks, there.unwrap_or(BUNDLES[0]));
        let there = DIRECTORIES.into_iter();
        let there = there.filter(|path| scope.is(path, FileKind::Directory));
        return std::iter::once(file)
            .chain(there.map(|path| ReadSource::new(Reads::Directory, path)))
            .collect();
    }
    let mut sources: Vec<ReadSource> = file
        .map(|(variable, path)| ReadSource::new(Reads::PemBlocks, path).named_by(variable))
        .into_iter()
        .collect();
    sources.extend(list.iter().flat_map(|(_, list)| directories(list, Reads::Directory, "SSL_CERT_DIR")));
    sources
}

pub(super) fn uv(scope: &RuleScope, found: Option<String>) -> Vec<Installation> {
    let on = |name| scope.env.var(name).is_some_and(|value| matches!(value, "1" | "true"));
    let system = on("UV_NATIVE_TLS") || on("UV_SYSTEM_CERTS");
    let named = scope.first_set(&["SSL_CERT_FILE", "SSL_CERT_DIR"]).is_some();
    let sources = if system || named { native_certs(scope) } else { vec![ReadSource::compiled_in()] };
    one_installation(found, TlsLibrary::Rustls, sources)
}

/// Cargo contains libcurl and OpenSSL and finds the places itself (openssl-probe); a distribution's loads libcurl.
pub(super) fn cargo(scope: &RuleScope, found: Option<String>) -> Vec<Installation> {
    let binary = found.as_deref().map(|path| scope.binary(path)).unwrap_or_default();
    let named = scope.first_set(&["CARGO_HTTP_CAINFO"]);
    if binary.loads("libcurl") {
        let libcurl = scope.libcurl(&binary);
        return one_installation(found, libcurl.library(scope), libcurl.sources(scope, named, None));
    }
    let library = TlsLibrary::openssl(binary.openssl_version()).with_flags(false, true);
    let mut sources = probed(scope);
    if let Some((variable, path)) = named {
        sources.retain(|source| source.reads != Reads::PemFile);
        sources.insert(0, ReadSource::new(Reads::PemFile, path).named_by(variable));
    }
    // libcurl stops if it cannot load the file.
    let needed = |source: ReadSource| if source.reads == Reads::PemFile { source.needed() } else { source };
    one_installation(found, library, sources.into_iter().map(needed).collect())
}

/// What openssl-probe finds: the first file and the first directory that exist.
pub(super) fn probed(scope: &RuleScope) -> Vec<ReadSource> {
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
    let file = match there("SSL_CERT_FILE", FileKind::File) {
        Some(path) => Some(ReadSource::new(Reads::PemFile, path).named_by("SSL_CERT_FILE")),
        None => paths
            .into_iter()
            .find(|path| scope.is(path, FileKind::File))
            .map(|path| ReadSource::new(Reads::PemFile, path)),
    };
    let directory = match there("SSL_CERT_DIR", FileKind::Directory) {
        Some(path) => Some(ReadSource::new(Reads::HashDirectory, path).named_by("SSL_CERT_DIR")),
        None => PLACES
            .map(|place| format!("{place}/certs"))
            .into_iter()
            .find(|path| scope.is(path, FileKind::Directory))
            .map(|path| ReadSource::new(Reads::HashDirectory, path)),
    };
    file.into_iter().chain(directory).collect()
}

pub(super) fn java(scope: &RuleScope, found: Option<String>) -> Vec<Installation> {
    let found = found.or_else(|| scope.java_homes.first().map(|home| format!("{home}/bin/java")));
    const OPTION: &str = "-Djavax.net.ssl.trustStore=";
    // Later options override earlier ones: seen with OpenJDK 17.
    let mut named =
        ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"].into_iter().filter_map(|variable| {
            let options = scope.env.var(variable)?.split_whitespace();
            Some((variable, options.filter_map(|option| option.strip_prefix(OPTION)).next_back()?))
        });
    let named =
        named.next_back().map(|(variable, path)| ReadSource::new(Reads::Keystore, path).named_by(variable));
    // A missing one is skipped: seen with OpenJDK 17 and 25.
    if let Some(source) = named.clone().filter(|source| scope.is(&source.path, FileKind::File)) {
        let library =
            TlsLibrary::Java { release: found.as_deref().and_then(|path| scope.java_release(path)) };
        return one_installation(found, library, vec![source.needed()]);
    }
    let homes = scope.env.var("JAVA_HOME").map(ToOwned::to_owned);
    let homes: Vec<String> = homes.into_iter().chain(scope.java_homes.iter().cloned()).collect();
    let search = java::find::find(scope.sysroot(), &homes);
    let names = search.found.iter().filter_map(|found| found.names.first()).chain(&search.missing);
    let mut installations = Vec::new();
    for name in names {
        // A keystore for all Javas belongs to none as long as there is no Java.
        let home = name.rsplit_once("/lib/security/").map(|(home, _)| home.to_owned());
        if let Some(home) = home {
            let default = ReadSource::new(Reads::Keystore, name).needed();
            let sources = named.iter().cloned().chain([default]).collect();
            let library = TlsLibrary::Java { release: scope.java_release(&format!("{home}/bin/java")) };
            installations.push(Installation::new(Some(home), library, sources));
        }
    }
    installations
}

/// A browser: the list inside it, and the databases of its user.
fn browser(scope: &RuleScope, owner: nss::find::DatabaseOwner) -> Vec<ReadSource> {
    let mut sources = vec![ReadSource::compiled_in()];
    let data = scope.env.var("XDG_DATA_HOME");
    for home in &scope.homes {
        let locations = nss::find::of_user(scope.sysroot(), home, data).unwrap_or_default().found;
        let of_browser = locations.into_iter().filter(|location| location.owner == owner);
        sources.extend(of_browser.map(|location| ReadSource::new(Reads::NssDatabase, location.directory)));
    }
    sources
}

pub(super) fn chromium(scope: &RuleScope, found: Option<String>) -> Vec<Installation> {
    one_installation(found, TlsLibrary::Chromium, browser(scope, nss::find::DatabaseOwner::Shared))
}

/// Also what the policy of the system names; a name without a path is in Mozilla's own directories.
pub(super) fn firefox(scope: &RuleScope, found: Option<String>) -> Vec<Installation> {
    const CERTIFICATES: [&str; 2] = [firefox_policy::CERTIFICATES, "/usr/lib64/mozilla/certificates"];
    let mut sources = browser(scope, nss::find::DatabaseOwner::Firefox);
    let policy = scope.sysroot().read(firefox_policy::PATH, 1024 * 1024).ok().flatten();
    for name in policy.map(|(bytes, _)| firefox_policy::named(&bytes)).unwrap_or_default() {
        let path = if name.starts_with('/') {
            Some(name)
        } else {
            let mut places = CERTIFICATES.map(|directory| child(directory, &name)).into_iter();
            places.find(|path| scope.is(path, FileKind::File))
        };
        sources.extend(path.map(|path| ReadSource::new(Reads::PemBlocks, path)));
    }
    one_installation(found, TlsLibrary::MozillaPkix, sources)
}
