//! Recognises a file that is not what was asked for: certificates or keys in another wrapping, other objects of a PKI,
//! keystores, archives, web pages. For errors: nothing here decides what is accepted, and no content is quoted
//! (threat T6). `wrapped` has the texts that hold PEM in another form.

use super::der::{self, DerReader};
use super::wrapped;
use crate::text::encoding;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Certificates.
    Certificate,
    /// One private key.
    PrivateKey,
}

impl Asked {
    /// A shell command that writes the result to `ca.pem` or `key.pem`; a key is for its owner only.
    pub(super) fn into_file(self, command: &str) -> String {
        match self {
            Asked::Certificate => format!("`{command} >ca.pem`"),
            Asked::PrivateKey => format!("`(umask 077; {command} >key.pem)`"),
        }
    }
}

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recognised {
    /// In words that follow "this is".
    what: String,
    /// Whether what was asked for is in it, in a form that is not read.
    wraps: bool,
    /// The next step.
    pub(crate) hint: String,
}

impl Recognised {
    /// Something else.
    pub(super) fn other(what: impl Into<String>, hint: impl Into<String>) -> Recognised {
        Recognised { what: what.into(), wraps: false, hint: hint.into() }
    }

    /// What was asked for, in a form that is not read.
    pub(super) fn wrapping(what: impl Into<String>, hint: impl Into<String>) -> Recognised {
        Recognised { what: what.into(), wraps: true, hint: hint.into() }
    }

    /// The sentence of an error: what it is, and what it is not.
    pub(crate) fn sentence(&self, asked: Asked) -> String {
        let not = match asked {
            _ if self.wraps => "",
            Asked::Certificate => ", not a certificate",
            Asked::PrivateKey => ", not a private key",
        };
        format!("this is {}{not}", self.what)
    }
}

/// What `bytes` are, if they are recognised and are not what was `asked` for.
pub(crate) fn recognise(bytes: &[u8], asked: Asked) -> Option<Recognised> {
    if let Some(encoding) = encoding::foreign(bytes) {
        return Some(in_another_encoding(&format!("text in {encoding}")));
    }
    if let Some(line) = encoding::mixed_line(bytes) {
        return Some(in_another_encoding(&format!(
            "text in two encodings: from line {line} on, a part of it is in UTF-16"
        )));
    }
    by_first_bytes(bytes)
        .or_else(|| (bytes.first() == Some(&der::SEQUENCE)).then(|| in_der(bytes, asked)).flatten())
        .or_else(|| in_text(bytes, asked))
}

fn in_another_encoding(what: &str) -> Recognised {
    Recognised::wrapping(
        what,
        format!(
            "write it as ASCII: {}, or in PowerShell `Get-Content FILE | Set-Content -Encoding ascii NEW`",
            encoding::TO_ASCII
        ),
    )
}

/// Files that have nothing to do with PEM and DER, by the bytes that they begin with.
pub(super) fn by_first_bytes(bytes: &[u8]) -> Option<Recognised> {
    const UNPACK: &str = "unpack it, and give the file that is in it";
    const OTHER: &str = "give the file of the certificate or key itself";
    const KEYSTORE: &str =
        "export what you need: `keytool -exportcert -rfc -keystore FILE -alias NAME -file ca.crt`";
    const NSS: &str = "export the certificate: `certutil -L -d sql:DIRECTORY -n NAME -a >ca.crt`";
    /// The magic number, what the file is, what to do.
    const KINDS: &[(&[u8], &str, &str)] = &[
        (&[0xfe, 0xed, 0xfe, 0xed], "a Java keystore (JKS)", KEYSTORE),
        (&[0xce, 0xce, 0xce, 0xce], "a Java keystore (JCEKS)", KEYSTORE),
        (b"SQLite format 3\0", "an SQLite database, as NSS has (`cert9.db`)", NSS),
        (&[0x1f, 0x8b], "a gzip archive", "unpack it: `gzip -dc FILE >NEW`"),
        (b"PK\x03\x04", "a ZIP archive", UNPACK),
        (b"PK\x05\x06", "an empty ZIP archive", OTHER),
        (b"BZh", "a bzip2 archive", UNPACK),
        (&[0xfd, b'7', b'z', b'X', b'Z', 0], "an XZ archive", UNPACK),
        (&[0x28, 0xb5, 0x2f, 0xfd], "a Zstandard archive", UNPACK),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
        (b"MSCF", "a Windows cabinet", UNPACK),
        (&[0x89, b'P', b'N', b'G'], "an image (PNG)", OTHER),
        (&[0xff, 0xd8, 0xff], "an image (JPEG)", OTHER),
        (b"GIF8", "an image (GIF)", OTHER),
        (b"%PDF", "a PDF document", OTHER),
        (b"\x7fELF", "a program (ELF)", OTHER),
        (b"MZ", "a program (Windows)", OTHER),
    ];
    if bytes.get(257..262) == Some(b"ustar") {
        return Some(Recognised::other(
            "a tar archive",
            "unpack it: `tar -xf FILE`, and give the file that is in it",
        ));
    }
    KINDS
        .iter()
        .find(|(magic, ..)| bytes.starts_with(magic) && !bytes.is_ascii())
        .or_else(|| KINDS.iter().find(|(magic, ..)| magic.len() > 3 && bytes.starts_with(magic)))
        .map(|(_, what, hint)| Recognised::other(*what, *hint))
}

/// Other objects of a PKI, as DER.
pub(crate) fn in_der(bytes: &[u8], asked: Asked) -> Option<Recognised> {
    let what = kind_of_der(bytes)?;
    let is_it = match asked {
        Asked::Certificate => what == CERTIFICATE,
        Asked::PrivateKey => false,
    };
    (!is_it).then(|| Recognised::other(what, next_step(what, asked)))
}

const CERTIFICATE: &str = "a certificate";
const CSR: &str = "a certificate signing request (CSR)";
const CRL: &str = "a certificate revocation list (CRL)";
const PUBLIC_KEY: &str = "a public key";
const OCSP_RESPONSE: &str = "an OCSP response";
const PKCS12: &str = "a PKCS#12 file";
const PKCS7: &str = "PKCS#7";

/// By the tags of the first fields.
fn kind_of_der(bytes: &[u8]) -> Option<&'static str> {
    let mut outer = DerReader::new(DerReader::new(bytes).take(der::SEQUENCE)?.body);
    let first = outer.next()?;
    let second = outer.next();
    let follows = |tag| second.is_some_and(|second| second.tag == tag);
    let mut inner = DerReader::new(first.body);
    match first.tag {
        // RFC 6960 section 4.2.1.
        0x0a if second.is_none() || follows(der::CONTEXT_0) => Some(OCSP_RESPONSE),
        der::INTEGER if first.body == [3] && follows(der::SEQUENCE) => Some(PKCS12),
        // PKCS#1's: modulus and exponent.
        der::INTEGER if first.body.len() > 60 && follows(der::INTEGER) && outer.is_empty() => {
            Some(PUBLIC_KEY)
        }
        der::OID if follows(der::CONTEXT_0) => Some(PKCS7),
        der::SEQUENCE if follows(der::BIT_STRING) && inner.take(der::OID).is_some() => Some(PUBLIC_KEY),
        // What is signed: content, algorithm, signature.
        der::SEQUENCE if follows(der::SEQUENCE) => {
            let mut tags = std::iter::from_fn(|| inner.next().map(|field| field.tag));
            let tags: [u8; 4] = std::array::from_fn(|_| tags.next().unwrap_or(0));
            match tags {
                [der::CONTEXT_0, der::INTEGER, ..] => Some(CERTIFICATE),
                [der::INTEGER, der::SEQUENCE, der::SEQUENCE, der::CONTEXT_0] => Some(CSR),
                // With or without a version: algorithm, issuer, time (RFC 5280 section 5.1).
                [der::SEQUENCE, der::SEQUENCE, 0x17 | 0x18, _] => Some(CRL),
                [der::INTEGER, der::SEQUENCE, der::SEQUENCE, 0x17 | 0x18] => Some(CRL),
                // Version 1 has no version.
                [der::INTEGER, der::SEQUENCE, der::SEQUENCE, der::SEQUENCE] => Some(CERTIFICATE),
                _ => None,
            }
        }
        _ => None,
    }
}

/// What the label of a PEM block stands for, if it is known: RFC 7468, OpenSSL, OpenSSH, RFC 9580.
pub(crate) fn of_label(label: &str) -> Option<&'static str> {
    Some(match label {
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => CERTIFICATE,
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => CSR,
        "X509 CRL" => CRL,
        "PUBLIC KEY" | "RSA PUBLIC KEY" => PUBLIC_KEY,
        "SSH2 PUBLIC KEY" => SSH_PUBLIC_KEY,
        "PGP PUBLIC KEY BLOCK" => "a PGP public key",
        "PGP MESSAGE" | "PGP SIGNATURE" | "PGP SIGNED MESSAGE" => "a PGP message",
        "ATTRIBUTE CERTIFICATE" => "an attribute certificate",
        "EC PARAMETERS" | "DH PARAMETERS" | "X9.42 DH PARAMETERS" | "DSA PARAMETERS" => "parameters of a key",
        "OCSP RESPONSE" => OCSP_RESPONSE,
        "PKCS7" | "PKCS #7 SIGNED DATA" | "CMS" => PKCS7,
        "PKCS12" => PKCS12,
        _ => return None,
    })
}

const SSH_PUBLIC_KEY: &str = "an SSH public key";
const SSH_CERTIFICATE: &str = "an SSH certificate";

/// The next step for what is known by its name.
pub(crate) fn next_step(what: &str, asked: Asked) -> &'static str {
    match (asked, what) {
        (Asked::Certificate, CSR) => {
            "give the CA's root certificate, or what the CA issued for this request; the request itself proves nothing"
        }
        (Asked::Certificate, CRL) => {
            "give the certificate of the CA that issued this list; its address is often beside that of the list"
        }
        (Asked::Certificate, SSH_PUBLIC_KEY | SSH_CERTIFICATE) => {
            "give the X.509 root: SSH's keys and certificates are another format, and TLS programs do not read them"
        }
        (Asked::Certificate, PKCS12) => {
            "convert it: `openssl pkcs12 -in FILE -nokeys -out ca.pem` (asks for its password)"
        }
        (Asked::PrivateKey, PKCS12) => {
            "take the key out: `openssl pkcs12 -in FILE -nocerts -nodes -out key.pem` (asks for its password)"
        }
        (Asked::PrivateKey, CERTIFICATE | PKCS7 | CSR | PUBLIC_KEY) => {
            "give the file of the private key that belongs to it: with `-----BEGIN PRIVATE KEY-----`"
        }
        (Asked::Certificate, _) => {
            "give the root certificate as PEM (`-----BEGIN CERTIFICATE-----`) or DER; `openssl x509 -in FILE -noout -text` must show it"
        }
        (Asked::PrivateKey, _) => {
            "give the private key as PEM: with `-----BEGIN PRIVATE KEY-----`, `EC PRIVATE KEY` or `RSA PRIVATE KEY`"
        }
    }
}

fn in_text(bytes: &[u8], asked: Asked) -> Option<Recognised> {
    if is_web_page(bytes) || bytes.trim_ascii_start().starts_with(b"<") {
        return Some(Recognised::other(
            "a web page (HTML)",
            "give the address of the certificate itself; the server may have sent a login or error page",
        ));
    }
    wrapped::recognise(bytes, asked).or_else(|| {
        let text = bytes.trim_ascii();
        let what = if is_ssh_public_key(text) {
            let first = text.split(u8::is_ascii_whitespace).next().unwrap_or_default();
            if first.windows(6).any(|window| window == b"-cert-") { SSH_CERTIFICATE } else { SSH_PUBLIC_KEY }
        } else if text.starts_with(b"---- BEGIN SSH2 PUBLIC KEY") {
            SSH_PUBLIC_KEY
        } else if text.starts_with(b"eyJ") && text.iter().filter(|byte| **byte == b'.').count() >= 2 {
            "a JSON Web Token"
        } else {
            return None;
        };
        Some(Recognised::other(what, next_step(what, asked)))
    })
}

fn is_ssh_public_key(text: &[u8]) -> bool {
    [&b"ssh-"[..], b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-"].iter().any(|front| text.starts_with(front))
        && text.windows(5).any(|window| window == b" AAAA")
}

/// Whether it begins as HTML does; such a page may show PEM, and is refused all the same.
pub(super) fn is_web_page(bytes: &[u8]) -> bool {
    let start: Vec<u8> = bytes.trim_ascii_start().iter().take(16).map(u8::to_ascii_lowercase).collect();
    [&b"<!doctype"[..], b"<html", b"<head", b"<body", b"<?xml"].iter().any(|tag| start.starts_with(tag))
}
