//! The roots that this system trusts already: they vouch for a bundle's host when no pinned root does (threat T2).
//! Only of the root that we run in, never of another sysroot. Reads; decides nothing about stores.

use std::path::Path;

use rustls::pki_types::CertificateDer;

use crate::cert::{Certificate, pem};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::sysroot::host;

/// Where distributions keep their bundle; the first that exists counts. The order of Go's `crypto/x509`
/// (root_linux.go): Debian, Fedora and RHEL, openSUSE, OpenELEC, RHEL 7, Alpine.
const BUNDLES: [&str; 6] = [
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/ca-bundle.pem",
    "etc/pki/tls/cacert.pem",
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "etc/ssl/cert.pem",
];

/// Directories of single certificates, if there is no bundle.
const DIRECTORIES: [&str; 2] = ["etc/ssl/certs", "etc/pki/tls/certs"];

/// Largest bundle that is read.
const MAX_BUNDLE: u64 = 32 * 1024 * 1024;

/// When the compiled-in roots were published: 2026-10-23, version 1.0.11 of webpki-root-certs. To be changed with it.
const COMPILED_IN_SINCE: i64 = 1_792_713_600;

/// After that long they are old: roots come and go.
const OLD_AFTER: i64 = 365 * 24 * 60 * 60;

/// Trusted roots, and whose they are.
pub(super) struct TrustedRoots {
    pub roots: Vec<CertificateDer<'static>>,
    /// For people: "the roots of …".
    pub named: String,
    pub warning: Option<String>,
}

/// The roots of the system below `root`. `SSL_CERT_FILE` and `SSL_CERT_DIR` name them if they are set. The compiled-in
/// roots count only where there is no store at all: an empty or damaged one may be meant, or be an attack.
pub(super) fn trusted_roots(root: &Path, env: &Env) -> Result<TrustedRoots> {
    let (file, directories) = (env.var("SSL_CERT_FILE"), env.var("SSL_CERT_DIR"));
    if file.is_some() || directories.is_some() {
        let mut found = Vec::new();
        if let Some(file) = file {
            found.extend(
                bundle(Path::new(file)).map_err(|error| error.hint("the variable SSL_CERT_FILE names it"))?,
            );
        }
        for directory in directories.unwrap_or_default().split(':').filter(|directory| !directory.is_empty())
        {
            found.extend(
                certificates_in(Path::new(directory))
                    .map_err(|error| error.hint("the variable SSL_CERT_DIR names it"))?,
            );
        }
        let named = [file, directories].into_iter().flatten().collect::<Vec<_>>().join("` and `");
        return usable(found, named);
    }
    for path in BUNDLES.map(|path| root.join(path)) {
        if host::stat(&path)?.is_some() {
            return usable(bundle(&path)?, path.display().to_string());
        }
    }
    for path in DIRECTORIES.map(|path| root.join(path)) {
        if host::stat(&path)?.is_some() {
            let found = certificates_in(&path)?;
            if !found.is_empty() {
                return usable(found, path.display().to_string());
            }
        }
    }
    let old = env.now() > COMPILED_IN_SINCE + OLD_AFTER;
    Ok(TrustedRoots {
        roots: webpki_root_certs::TLS_SERVER_ROOT_CERTS.to_vec(),
        named: "the Web PKI roots compiled into trustup".to_owned(),
        warning: old.then(|| {
            "this system has no roots, and those compiled into trustup are older than 12 months: use a newer trustup"
                .to_owned()
        }),
    })
}

fn usable(roots: Vec<CertificateDer<'static>>, place: String) -> Result<TrustedRoots> {
    if roots.is_empty() {
        return Err(Error::not_trusted("this system's trust store holds no certificate, so nobody vouches for the bundle's host")
            .at(place)
            .hint("repair it (Debian: `update-ca-certificates --fresh`), name a root that vouches (`--ca-url URL --fingerprint HEX`), or pin the bundle (`--bundle-sha256 HEX`)"));
    }
    Ok(TrustedRoots { roots, named: format!("the roots of `{place}`"), warning: None })
}

/// The certificates of a bundle: other people's file, so what cannot be read is passed over.
fn bundle(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = host::read_file(path, MAX_BUNDLE)?;
    let blocks = pem::blocks(&bytes).into_iter();
    let ders = blocks.filter(|block| block.label == "CERTIFICATE").filter_map(|block| block.der);
    Ok(ders.filter(|der| Certificate::from_der(der).is_ok()).map(CertificateDer::from).collect())
}

/// The certificates in the files of a directory, hash links included; each once.
fn certificates_in(directory: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let mut found = Vec::new();
    for name in host::list_dir(directory)? {
        // A link that leads nowhere, a directory, a key that we may not read: none of them is a certificate.
        let Ok(more) = bundle(&directory.join(name)) else { continue };
        for certificate in more {
            if !found.contains(&certificate) {
                found.push(certificate);
            }
        }
    }
    Ok(found)
}
