//! X.509 certificates (RFC 5280) as plain owned data: what was parsed is what is compared, shown and written.
//!
//! A [`Certificate`] exists only if its DER parses and nothing follows it; it is written from there, never as the bytes
//! that came in (threat T3). [`policy`] decides whether it may become an anchor. Nothing here reads files, the clock or
//! the network.

use std::fmt;
use std::sync::Arc;

use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::{BasicConstraints, ParsedExtension};
use x509_parser::nom;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::signature_algorithm::RsaSsaPssParams;

use crate::pki::fingerprint::Fingerprint;
use crate::text;

mod anchor_name;
mod block;
mod cache;
mod cert_aux;
mod curve;
pub(crate) mod der;
mod extensions;
pub(crate) mod facts;
mod general_name;
pub mod input;
mod key_form;
pub mod loadable;
mod name;
mod only;
pub(crate) mod path;
pub mod pem;
mod pkcs7;
mod plain_uri;
pub mod policy;
mod primitives;
mod private_key;
mod purpose;
pub mod readers;
pub(crate) mod recognise;
mod san;
mod self_signature;
pub mod signature;
mod structure;
mod subject_hash;
#[cfg(test)]
pub(crate) mod testing;
mod validity;
mod wrapped;

pub use anchor_name::anchor_name;
pub(crate) use anchor_name::is_anchor_name;
pub(crate) use cache::{CachedDer, CertificateCache};
pub(crate) use name::dotted;
pub(crate) use only::holds_only_certificates;
pub(crate) use purpose::Purpose;
use purpose::Usages;
pub use san::SubjectAltName;
pub(crate) use san::general_name;
pub(crate) use self_signature::SelfSignature;
pub(crate) use structure::{is_decodable, is_well_formed, malformed_part};
pub use validity::NotAfter;

/// How the subject of every root of a development CA (`trustup dev-ca`) begins; `doctor` recognises them by it.
pub(crate) const DEVELOPMENT_ROOT: &str = "trustup development CA";

/// Whether OpenSSL reads `bytes` as the trust settings after a certificate.
pub(crate) fn has_readable_settings(bytes: &[u8]) -> bool {
    cert_aux::is_well_formed(bytes)
}

/// No certificate is larger: those with the largest signatures known (SLH-DSA) have 50 KiB. Parsing takes a multiple of
/// its size in memory.
const SIZE_LIMIT: usize = 256 * 1024;

/// The hash function's own object identifier.
const SHA1: &str = "1.3.14.3.2.26";

/// A certificate; a clone shares what was parsed.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate(Arc<CachedFields>);

#[derive(PartialEq, Eq)]
struct CachedFields {
    der: Vec<u8>,
    fingerprint: Fingerprint,
    version: u32,
    serial: Vec<u8>,
    subject: Vec<u8>,
    label: String,
    subject_hash: u32,
    issuer: Vec<u8>,
    not_before: i64,
    not_after: i64,
    public_key: Vec<u8>,
    rsa_bits: Option<usize>,
    signature_algorithm: String,
    signature_hash: Option<WeakHash>,
    is_ca: Option<bool>,
    path_length: Option<u32>,
    signs_certificates: Option<bool>,
    usages: Option<Usages>,
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
}

/// A hash function that must not be relied on in a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WeakHash {
    /// MD5 or an older one of its family.
    Md5,
    /// SHA-1.
    Sha1,
}

/// The parser's error in words: its own texts describe its internals more than the certificate.
fn parser_words(error: &X509Error) -> String {
    match error {
        X509Error::Der(error) => text::words(error),
        error => text::words(error),
    }
}

impl Certificate {
    /// Parses the DER of one certificate; bytes after it are an error (threat T3). The error is a reason, in a form
    /// that can follow a colon.
    pub fn from_der(der: &[u8]) -> Result<Certificate, String> {
        Certificate::parse(der, || Fingerprint::of(der))
    }

    fn parse(der: &[u8], fingerprint: impl FnOnce() -> Fingerprint) -> Result<Certificate, String> {
        if der.len() > SIZE_LIMIT {
            return Err(format!("not an X.509 certificate: {} bytes, more than {SIZE_LIMIT}", der.len()));
        }
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|error| match error {
            nom::Err::Incomplete(_) => "not an X.509 certificate: cut off".to_owned(),
            nom::Err::Error(error) | nom::Err::Failure(error) => {
                format!("not an X.509 certificate: {}", parser_words(&error))
            }
        })?;
        if !rest.is_empty() {
            return Err(format!("{} after the certificate", bytes(rest.len())));
        }
        let extensions = Extensions::of(&parsed)?;
        let subject = parsed.subject().as_raw().to_vec();
        let issuer = parsed.issuer().as_raw().to_vec();
        if name::rdns(&subject).is_none() || name::rdns(&issuer).is_none() {
            return Err("not an X.509 certificate: a malformed name".to_owned());
        }
        Ok(Certificate(Arc::new(CachedFields {
            fingerprint: fingerprint(),
            // X.509 counts from zero.
            version: parsed.version().0.saturating_add(1),
            serial: parsed.raw_serial().to_vec(),
            subject_hash: subject_hash::subject_hash(&subject),
            label: name::label(&subject),
            subject,
            issuer,
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            public_key: parsed.public_key().raw.to_vec(),
            rsa_bits: rsa_bits(&parsed),
            signature_algorithm: parsed.signature_algorithm.algorithm.to_id_string(),
            signature_hash: weak_hash(&parsed),
            is_ca: extensions.is_ca,
            path_length: extensions.path_length,
            signs_certificates: extensions.signs_certificates,
            usages: extensions.usages,
            subject_key_id: extensions.subject_key_id,
            authority_key_id: extensions.authority_key_id,
            der: der.to_vec(),
        })))
    }

    /// Whether it has this issuer (a Name) and this serial number (an INTEGER), both DER.
    pub(crate) fn is_issued_as(&self, issuer: &[u8], serial: &[u8]) -> bool {
        let serial = der::only(serial, der::INTEGER);
        self.0.issuer == issuer && serial.is_some_and(|serial| serial.body == self.0.serial)
    }

    /// The DER, whole.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// SHA-256 over the DER.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }

    /// The name that trust stores show: the subject's first CN, else OU, else O, else `certificate`. Raw: it may hold
    /// any character until [`policy::check`] has passed; [`crate::text::slug`] makes a file name of it.
    pub fn label(&self) -> String {
        self.0.label.clone()
    }

    /// Whether the subject has a CN, OU or O for [`Certificate::label`] to show.
    pub(crate) fn has_label(&self) -> bool {
        !name::labels(&self.0.subject).is_empty()
    }

    /// The subject in one line for people, after RFC 4514 (`CN=Root,O=Org`), escaped and cut.
    pub fn subject(&self) -> String {
        name::one_line(&self.0.subject)
    }

    /// The issuer in one line for people, like [`Certificate::subject`].
    pub(crate) fn issuer(&self) -> String {
        name::one_line(&self.0.issuer)
    }

    /// The issuer's first common name, raw: it may hold any character.
    pub fn issuer_common_name(&self) -> Option<String> {
        name::common_name(&self.0.issuer)
    }

    /// The subject's common name.
    pub(crate) fn common_name(&self) -> Option<String> {
        name::common_name(&self.0.subject)
    }

    /// The subject's Name, DER.
    pub fn subject_der(&self) -> &[u8] {
        &self.0.subject
    }

    /// The issuer's Name, DER.
    pub fn issuer_der(&self) -> &[u8] {
        &self.0.issuer
    }

    /// The serial number: the content of the INTEGER, big-endian, with the leading zero byte if DER has one.
    pub fn serial(&self) -> &[u8] {
        &self.0.serial
    }

    /// The identifier of the issuer's key, if it names one.
    pub(crate) fn authority_key_id(&self) -> Option<&[u8]> {
        self.0.authority_key_id.as_deref()
    }

    /// 1, 2 or 3.
    pub(crate) fn version(&self) -> u32 {
        self.0.version
    }

    /// The number in the names of a hashed directory, what `openssl x509 -subject_hash` prints (as `{:08x}`).
    pub fn subject_hash(&self) -> u32 {
        self.0.subject_hash
    }

    /// The number of OpenSSL before 1.0, what `openssl x509 -subject_hash_old` prints.
    pub(crate) fn subject_hash_old(&self) -> u32 {
        subject_hash::subject_hash_old(&self.0.subject)
    }

    /// First second of validity, seconds since 1970.
    pub fn not_before(&self) -> i64 {
        self.0.not_before
    }

    /// Last second of validity, seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.0.not_after
    }

    /// The SubjectPublicKeyInfo, DER.
    pub fn public_key(&self) -> &[u8] {
        &self.0.public_key
    }

    /// Size of the modulus, if the key is an RSA key.
    pub(crate) fn rsa_bits(&self) -> Option<usize> {
        self.0.rsa_bits
    }

    /// The hash of the signature, if it is a weak one.
    pub(crate) fn weak_signature_hash(&self) -> Option<WeakHash> {
        self.0.signature_hash
    }

    /// The value of basicConstraints; `None` if there are none.
    pub fn is_ca(&self) -> Option<bool> {
        self.0.is_ca
    }

    /// The most intermediates that basicConstraints allow below it.
    pub(crate) fn path_length(&self) -> Option<usize> {
        self.0.path_length.and_then(|length| usize::try_from(length).ok())
    }

    /// Whether keyUsage has keyCertSign; `None` without keyUsage.
    pub(crate) fn signs_certificates(&self) -> Option<bool> {
        self.0.signs_certificates
    }

    /// Whether extended key usage has serverAuth or anyExtendedKeyUsage; `None` if there is none (all allowed).
    pub(crate) fn serves_tls(&self) -> Option<bool> {
        self.0.usages.map(|usages| usages.any || usages.server_auth)
    }

    /// Whether subject and issuer are the same name.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.0.subject == self.0.issuer
    }

    /// PEM: 64 columns, LF, a newline at the end.
    pub fn to_pem(&self) -> String {
        pem::encode(&self.0.der)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({} {})", self.0.fingerprint.short(16), self.subject())
    }
}

/// The content of the extensions, as far as it matters here.
#[derive(Default)]
struct Extensions {
    is_ca: Option<bool>,
    path_length: Option<u32>,
    signs_certificates: Option<bool>,
    usages: Option<Usages>,
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
}

impl Extensions {
    fn of(parsed: &X509Certificate<'_>) -> Result<Extensions, String> {
        if parsed.extensions_map().is_err() {
            return Err("not an X.509 certificate: it has an extension twice".to_owned());
        }
        let mut found = Extensions::default();
        for extension in parsed.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(BasicConstraints { ca, path_len_constraint }) => {
                    (found.is_ca, found.path_length) = (Some(*ca), *path_len_constraint);
                }
                ParsedExtension::KeyUsage(usage) => found.signs_certificates = Some(usage.key_cert_sign()),
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    found.usages = Some(Usages {
                        any: usage.any,
                        server_auth: usage.server_auth,
                        client_auth: usage.client_auth,
                        email_protection: usage.email_protection,
                        code_signing: usage.code_signing,
                    });
                }
                ParsedExtension::SubjectKeyIdentifier(id) => found.subject_key_id = Some(id.0.to_vec()),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    found.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
                }
                // The three that decide must be readable; a damaged one could mean anything.
                ParsedExtension::ParseError { .. } | ParsedExtension::Unparsed
                    if matches!(
                        extension.oid.to_id_string().as_str(),
                        "2.5.29.15" | "2.5.29.19" | "2.5.29.37"
                    ) =>
                {
                    return Err(format!(
                        "not an X.509 certificate: the extension {} is malformed",
                        extension.oid
                    ));
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// A number of bytes, in words.
fn bytes(count: usize) -> String {
    if count == 1 { "1 byte".to_owned() } else { format!("{count} bytes") }
}

fn rsa_bits(parsed: &X509Certificate<'_>) -> Option<usize> {
    match parsed.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => {
            let zeros = key.modulus.iter().take_while(|byte| **byte == 0).count();
            let digits = &key.modulus[zeros..];
            Some(digits.first().map_or(0, |first| digits.len() * 8 - first.leading_zeros() as usize))
        }
        _ => None,
    }
}

fn weak_hash(parsed: &X509Certificate<'_>) -> Option<WeakHash> {
    let algorithm = &parsed.signature_algorithm;
    match algorithm.algorithm.to_id_string().as_str() {
        // RSA with MD2, MD4, MD5, and the OIW's MD4 and MD5.
        "1.2.840.113549.1.1.2" | "1.2.840.113549.1.1.3" | "1.2.840.113549.1.1.4" => Some(WeakHash::Md5),
        "1.3.14.3.2.2" | "1.3.14.3.2.3" | "1.3.14.3.2.4" => Some(WeakHash::Md5),
        // RSA, DSA and ECDSA with SHA-1, and the OIW's.
        "1.2.840.113549.1.1.5" | "1.2.840.10040.4.3" | "1.2.840.10045.4.1" => Some(WeakHash::Sha1),
        "1.3.14.3.2.27" | "1.3.14.3.2.29" => Some(WeakHash::Sha1),
        // RSASSA-PSS: SHA-1 is the default (RFC 4055 section 3.1).
        "1.2.840.113549.1.1.10" => {
            let parameters = algorithm.parameters.as_ref().map(RsaSsaPssParams::try_from);
            match parameters {
                Some(Ok(parameters)) if parameters.hash_algorithm_oid().to_id_string() != SHA1 => None,
                _ => Some(WeakHash::Sha1),
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
