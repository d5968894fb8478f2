//! The roots of a store as a program that reads it finds them. Judges nothing, and uses no output of a command.

use crate::error::Result;
use crate::net::MAX_BODY;
use crate::pki::cert::Certificate;
use crate::pki::cert::readers::{Reader, openssl};
use crate::pki::keystore::{EntryContent, Keystore, StorePassword};
use crate::pki::nss::{Databases, NssRefusal};
use crate::rootfs::Sysroot;
use crate::rootfs::path::child;
use crate::trust::stores::nss::files;

/// The certificates that Java trusts with a keystore; `None` if there is none.
pub(super) fn keystore(sysroot: &Sysroot, path: &str) -> Result<Option<Vec<Vec<u8>>>> {
    let Some((bytes, _)) = sysroot.read(path, MAX_BODY)? else { return Ok(None) };
    let keystore = Keystore::parse(&bytes, &StorePassword::default())
        .map_err(|problem| problem.into_error().at(path))?;
    let trusted = keystore.entries().iter().filter_map(|entry| match entry.content() {
        EntryContent::Trusted { der, .. } => Some(der.clone()),
        _ => None,
    });
    Ok(Some(trusted.collect()))
}

/// The certificates that NSS trusts for servers with a database; `None` if there is none.
pub(super) fn database(sysroot: &Sysroot, directory: &str) -> Result<Option<Vec<Vec<u8>>>> {
    let found = files::read(&sysroot.directory_without_links(directory)?)?;
    let files::FoundDatabase::Databases { cert9, key4 } = found else { return Ok(None) };
    let refused = |refusal: NssRefusal| refusal.into_error().at(directory);
    let databases = Databases::open(&cert9.bytes, &key4.bytes, None).map_err(refused)?;
    let trusted = databases.entries().map_err(refused)?.into_iter().filter(|entry| entry.is_trusted());
    Ok(Some(trusted.map(|entry| entry.certificate.der().to_vec()).collect()))
}

/// The certificates of a PEM bundle; `None` if no such file.
pub(super) fn bundle(sysroot: &Sysroot, path: &str) -> Result<Option<Vec<Vec<u8>>>> {
    Ok(sysroot.read(path, MAX_BODY)?.map(|(bytes, _)| Reader::OpenSsl.read(&bytes).certificates))
}

/// The certificates that a directory has under names such as `4042bcee.0`; `None` if it has no such name.
pub(super) fn hash_directory(sysroot: &Sysroot, path: &str) -> Result<Option<Vec<Vec<u8>>>> {
    let is_hash = |name: &&String| {
        name.split_once('.').is_some_and(|(hash, number)| {
            hash.len() == 8
                && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
                && number.parse::<u32>().is_ok()
        })
    };
    let names = sysroot.list(path)?.unwrap_or_default();
    let mut found = None;
    for name in names.iter().filter(is_hash) {
        let Some((bytes, _)) = sysroot.read(&child(path, name), MAX_BODY)? else { continue };
        // Found under the hash of its subject, or not at all.
        let wanted = name.split('.').next().unwrap_or_default();
        let hashed = |der: &Vec<u8>| {
            Certificate::from_der(der)
                .is_ok_and(|certificate| format!("{:08x}", certificate.subject_hash()) == wanted)
        };
        found
            .get_or_insert_with(Vec::new)
            .extend(openssl::read_hashed(&bytes).certificates.into_iter().filter(hashed));
    }
    Ok(found)
}
