//! Certificates that a user gives as a keystore: PKCS#12 (Windows, Java) or JKS. One without private keys is a container
//! like PKCS#7. One with a key is refused as any file with a key is: it must not get into an image (threat T6).

use crate::error::{Error, Result};
use crate::pki::cert::input::{self, CertificateFile};
use crate::pki::keystore::{
    EntryContent, Keystore, KeystoreEntry, KeystoreFormat, KeystoreProblem, StorePassword,
    read_without_password,
};
use crate::rootfs::budget;
use crate::text;

/// Passwords of stores that have nothing to hide: none, and Java's own.
const COMMON_PASSWORDS: [&str; 2] = ["", "changeit"];

/// Reads certificates as [`input::read`] does, and those of a keystore without private keys.
///
/// # Errors
/// Those of [`input::read`]; a keystore with a private key, with another password, or of an unsupported kind.
pub(crate) fn read(bytes: &[u8], origin: &str) -> Result<CertificateFile> {
    let format = match KeystoreFormat::of(bytes) {
        Ok(format) => format,
        // PKCS#12, whether a key is in it or not; PKCS#7 in BER is none.
        Err(problem @ KeystoreProblem::Unsupported(_))
            if bytes.first() == Some(&0x30) && input::holds_private_key(bytes) =>
        {
            return Err(unsupported(&problem).at(text::escape(origin)));
        }
        Err(_) => return input::read(bytes, origin),
    };
    let name = match format {
        KeystoreFormat::Jks => "Java keystore",
        KeystoreFormat::Pkcs12Plain | KeystoreFormat::Pkcs12 => "PKCS#12",
    };
    let entries = open(bytes, origin, format).map_err(|error| error.at(text::escape(origin)))?;
    if entries.iter().any(|entry| entry.content == EntryContent::PrivateKey) {
        return Err(Error::usage(format!("it has a private key ({name})"))
            .at(text::escape(origin))
            .hint(without_key(format)));
    }
    let members = entries.iter().filter_map(KeystoreEntry::certificate);
    let members: Vec<(&[u8], String)> = members
        .enumerate()
        .map(|(at, der)| (der, format!("certificate {} of the {name}: ", at + 1)))
        .collect();
    if members.is_empty() {
        return Err(Error::usage(format!("this {name} file has no certificate"))
            .at(text::escape(origin))
            .hint(
                "`keytool -list -keystore FILE` shows what is in it; give the root certificate as PEM or DER",
            ));
    }
    input::of_members(members, origin)
}

/// Whether the bytes that [`read`] refused contain a private key, or may: then a run that would skip an unreadable file
/// must fail.
pub(crate) fn may_hold_private_key(bytes: &[u8]) -> bool {
    KeystoreFormat::of(bytes).is_ok() || input::holds_private_key(bytes)
}

fn open(bytes: &[u8], origin: &str, format: KeystoreFormat) -> Result<Vec<KeystoreEntry>> {
    // A key is visible without a password, whatever encrypts it.
    let visible = read_without_password(bytes).map_err(|problem| problem.into_error())?;
    let has_key = visible.iter().any(|entry| entry.content == EntryContent::PrivateKey);
    if has_key || format != KeystoreFormat::Pkcs12 {
        return Ok(visible);
    }
    for password in COMMON_PASSWORDS {
        budget::iterations(origin, Keystore::cost(bytes))?;
        match Keystore::parse(bytes, &StorePassword::new(password.to_owned())) {
            Ok(store) => return Ok(store.entries),
            Err(KeystoreProblem::WrongPassword) => {}
            Err(problem @ KeystoreProblem::Unsupported(_)) => return Err(unsupported(&problem)),
            Err(problem) => return Err(problem.into_error().hint(without_key(format))),
        }
    }
    Err(Error::usage("this PKCS#12 file has a password that trustup does not know").hint(without_key(format)))
}

fn unsupported(problem: &KeystoreProblem) -> Error {
    Error::unsupported(problem.to_string())
        .hint("convert it: `openssl pkcs12 -legacy -in FILE -nokeys -out ca.pem` (asks for its password)")
}

fn without_key(format: KeystoreFormat) -> &'static str {
    match format {
        KeystoreFormat::Jks => {
            "export the certificate: `keytool -exportcert -rfc -keystore FILE -alias NAME -file ca.pem`"
        }
        KeystoreFormat::Pkcs12Plain | KeystoreFormat::Pkcs12 => {
            "write its certificates to a file: `openssl pkcs12 -in FILE -nokeys -out ca.pem` (asks for its password)"
        }
    }
}
