//! The roots that this system trusts already: they vouch for a bundle's host if no pinned root does (threat T2). Only
//! of the root that we run in, never of another sysroot. Reads; decides nothing about stores.

use std::path::Path;

use rustls::pki_types::CertificateDer;

use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::pki::cert::Certificate;
use crate::pki::cert::readers::{Findings, Reader, openssl};
use crate::rootfs::{FileKind, host};
use crate::trust::well_known;

/// Largest bundle that is read.
const MAX_BUNDLE: u64 = 32 * 1024 * 1024;

/// When the compiled-in roots were published: 2026-10-23, version 1.0.11 of webpki-root-certs. Change both together.
const COMPILED_IN_SINCE: i64 = 1_792_713_600;

/// After that long they are old: roots change.
const OLD_AFTER: i64 = 365 * 24 * 60 * 60;

/// Trusted roots, and their origin.
pub(crate) struct TrustedRoots {
    pub(crate) roots: Vec<CertificateDer<'static>>,
    /// For people: "the roots of …".
    pub(crate) named: String,
    pub(crate) warning: Option<String>,
}

/// The roots of the system below `root`. `SSL_CERT_FILE` and `SSL_CERT_DIR` name them if they are set. The compiled-in
/// roots count only where there is no store at all: an empty or damaged one may be meant, or be an attack.
pub(crate) fn trusted_roots(root: &Path, env: &Env) -> Result<TrustedRoots> {
    let mut store = None;
    let (file, directories) = (env.var("SSL_CERT_FILE"), env.var("SSL_CERT_DIR"));
    if file.is_some() || directories.is_some() {
        let mut named: Option<Vec<_>> = None;
        if let Some(file) = file.map(Path::new).filter(|file| exists(file)) {
            named.get_or_insert_default().extend(bundle(file)?);
        }
        for directory in directories.unwrap_or_default().split(':').filter(|directory| !directory.is_empty())
        {
            if let Some(found) = certificates_in(Path::new(directory))? {
                named.get_or_insert_default().extend(found);
            }
        }
        let place = [("SSL_CERT_FILE", file), ("SSL_CERT_DIR", directories)]
            .map(|(name, value)| Some(format!("{name}={}", value?)));
        let place = place.into_iter().flatten().collect::<Vec<_>>().join(" ");
        // What the variables name replaces the rest, as for OpenSSL, even if nothing is there: unless there is nothing
        // anywhere.
        store = match (named, default_store(root)?) {
            (Some(found), _) => Some((found, place)),
            (None, Some(_)) => Some((Vec::new(), place)),
            (None, None) => None,
        };
    }
    if let Some((found, place)) = store.map_or_else(|| default_store(root), |store| Ok(Some(store)))? {
        return usable_roots(found, place);
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

/// The distribution's store, and its roots; `None` if no such file.
fn default_store(root: &Path) -> Result<Option<(Vec<CertificateDer<'static>>, String)>> {
    let below = |path: &&str| root.join(path.trim_start_matches('/'));
    for path in well_known::bundles_of_go().iter().map(below) {
        if exists(&path) {
            return Ok(Some((bundle(&path)?, path.display().to_string())));
        }
    }
    for path in well_known::DIRECTORIES.iter().map(below) {
        if let Some(found) = certificates_in(&path)? {
            return Ok(Some((found, path.display().to_string())));
        }
    }
    Ok(None)
}

/// Something is there, or its absence cannot be established.
fn exists(path: &Path) -> bool {
    !matches!(host::stat(path), Ok(None))
}

fn usable_roots(roots: Vec<CertificateDer<'static>>, place: String) -> Result<TrustedRoots> {
    if roots.is_empty() {
        return Err(Error::not_trusted("this system's trust store holds no certificate, so nothing vouches for the bundle's host")
            .at(place)
            .hint("repair it (Debian: `update-ca-certificates --fresh`), name a root that vouches (`--ca-url URL --fingerprint HEX`), or pin the bundle (`--bundle-sha256 HEX`)"));
    }
    Ok(TrustedRoots { roots, named: format!("the roots of `{place}`"), warning: None })
}

/// The certificates that OpenSSL finds in a bundle: what no other program here trusts vouches for nothing (threat T33).
fn bundle(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    Ok(parsed(Reader::OpenSsl.read(&host::read_file(path, MAX_BUNDLE)?)))
}

/// Those that can be parsed.
fn parsed(findings: Findings) -> Vec<CertificateDer<'static>> {
    let found = findings.certificates.into_iter();
    found.filter(|der| Certificate::from_der(der).is_ok()).map(CertificateDer::from).collect()
}

/// The certificates in the files of a directory, hash links included, each once; `None` if there are no files.
fn certificates_in(directory: &Path) -> Result<Option<Vec<CertificateDer<'static>>>> {
    if !exists(directory) {
        return Ok(None);
    }
    let mut files = 0;
    let mut found = Vec::new();
    for name in host::list_dir(directory)? {
        let path = directory.join(name);
        if !host::stat(&path).is_ok_and(|found| found.is_some_and(|found| found.kind == FileKind::File)) {
            continue;
        }
        files += 1;
        // A key that we may not read is not a certificate.
        let Ok(content) = host::read_file(&path, MAX_BUNDLE) else { continue };
        for certificate in parsed(openssl::read_hashed(&content)) {
            if !found.contains(&certificate) {
                found.push(certificate);
            }
        }
    }
    Ok((files > 0).then_some(found))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests drive the real world")]

    use super::*;
    use crate::pki::cert::pem;

    fn at(now: i64) -> TrustedRoots {
        let root = tempfile::tempdir().expect("root");
        trusted_roots(root.path(), &Env::fixed([], now)).expect("compiled-in roots")
    }

    #[test]
    fn t2_compiled_in_roots_are_said_to_be_old_after_a_year() {
        let fresh = at(COMPILED_IN_SINCE + OLD_AFTER);
        assert!(fresh.warning.is_none() && fresh.roots.len() > 100);
        assert!(fresh.named.contains("compiled into trustup"), "{}", fresh.named);
        let warning = at(COMPILED_IN_SINCE + OLD_AFTER + 1).warning.expect("a warning");
        assert!(warning.contains("12 months"), "{warning}");
    }

    #[test]
    fn the_date_of_the_compiled_in_roots_is_that_of_their_crate() {
        let lock = include_str!("../../../Cargo.lock");
        let version = "name = \"webpki-root-certs\"\nversion = \"1.0.11\"";
        assert!(
            lock.contains(version),
            "the crate was updated: set COMPILED_IN_SINCE to its date of publication"
        );
    }

    #[test]
    fn t2_compiled_in_roots_count_only_where_there_is_no_file() {
        let root = tempfile::tempdir().expect("root");
        let env = Env::fixed([], COMPILED_IN_SINCE);
        let certs = root.path().join("etc/ssl/certs/java");
        std::fs::create_dir_all(&certs).expect("directories");
        assert!(trusted_roots(root.path(), &env).is_ok(), "directories alone are no store");
        std::fs::write(certs.with_file_name("4042bcee.0"), "damaged").expect("file");
        let error = trusted_roots(root.path(), &env).err().expect("a damaged store");
        assert_eq!(error.kind().exit_code(), 4);
        let root = webpki_root_certs::TLS_SERVER_ROOT_CERTS[0].clone();
        std::fs::write(certs.with_file_name("2.pem"), pem::encode(&root)).expect("file");
        std::fs::write(certs.with_file_name("3.pem"), pem::encode(&root)).expect("file");
        let store = trusted_roots(certs.ancestors().nth(4).expect("root"), &env).expect("a store");
        assert_eq!(store.roots, [root]);
    }

    #[test]
    fn variables_that_name_nothing_on_a_system_with_nothing() {
        let root = tempfile::tempdir().expect("root");
        let env = Env::fixed([("SSL_CERT_FILE", "/nonexistent-for-this-test")], COMPILED_IN_SINCE);
        assert!(trusted_roots(root.path(), &env).expect("compiled in").named.contains("compiled into"));
    }
}
