//! When the certificate in a file ends, for those who only look: no key is read, nothing is judged.

use super::FILE_LIMIT;
use super::life::Life;
use crate::pki::cert::{Certificate, readers};
use crate::rootfs::Sysroot;

/// What is at the path of a certificate.
#[derive(Debug)]
pub(crate) enum FileEnd {
    /// Nothing yet.
    Missing,
    /// Something that shows no end: why, in words that can follow a colon.
    Unreadable(String),
    /// A certificate, and how long its chain works.
    Known {
        /// The leaf.
        leaf: Box<Certificate>,
        /// Its life, that of the intermediates included.
        life: Life,
    },
}

/// The end of the certificate file at `path`; `roots` are those that end its chain.
pub(crate) fn of_file(host: &Sysroot, path: &str, roots: &[Certificate]) -> FileEnd {
    let bytes = match host.read(path, FILE_LIMIT) {
        Ok(Some((bytes, _))) => bytes,
        Ok(None) => return FileEnd::Missing,
        Err(error) => return FileEnd::Unreadable(error.to_string()),
    };
    // A file that was made as a mount point.
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return FileEnd::Missing;
    }
    let chain = match readers::read_chain(&bytes) {
        Ok(chain) => chain,
        Err(why) => return FileEnd::Unreadable(why.to_string()),
    };
    match (chain.first(), Life::of(&chain, roots)) {
        (Some(leaf), Some(life)) => FileEnd::Known { leaf: Box::new(leaf.clone()), life },
        _ => FileEnd::Unreadable("it has no certificate".to_owned()),
    }
}
