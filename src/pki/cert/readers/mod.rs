//! How real programs read a file of PEM certificates. One file for each reader, each a model of that reader's own code,
//! compared with the real one by `tests/tools/readers`.
//!
//! `cert::pem` accepts what people have, because it is re-encoded before it is used. An output is different: it is
//! worth what the programs find in it, and they disagree about anything unusual. OpenSSL refuses a whole file for one
//! empty line in a body, Go skips a block with text before BEGIN, p11-kit stops at the first END line that does not
//! match. So an output offers a root only if every reader of that kind of output finds it.

mod base64;
mod diagnosis;
mod gnutls;
mod go;
pub mod openssl;
mod p11_kit;
pub(super) mod regular;

use std::collections::BTreeMap;
use std::rc::Rc;

use self::regular::Labels;
use super::cache::CachedDer;
use super::{Certificate, CertificateCache, der, is_decodable, pem};
use crate::pki::fingerprint::Fingerprint;

/// A program, or a library of many programs, that reads PEM bundles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reader {
    /// OpenSSL's CAfile (`X509_load_cert_crl_file`): curl, wget, Python, Ruby, PHP, Node with `--use-openssl-ca`.
    OpenSsl,
    /// GnuTLS (`gnutls_x509_trust_list_add_trust_file`).
    GnuTls,
    /// Go's `CertPool.AppendCertsFromPEM`.
    Go,
    /// p11-kit's trust module, which reads Debian's bundle for NSS and others.
    P11Kit,
}

impl Reader {
    /// The readers of a bundle of plain certificates.
    pub const OF_BUNDLES: [Reader; 4] = [Reader::OpenSsl, Reader::GnuTls, Reader::Go, Reader::P11Kit];

    /// Its name in sentences.
    pub fn name(self) -> &'static str {
        match self {
            Reader::OpenSsl => "OpenSSL",
            Reader::GnuTls => "GnuTLS",
            Reader::Go => "Go",
            Reader::P11Kit => "p11-kit",
        }
    }

    /// What it finds in `content`.
    pub fn read(self, content: &[u8]) -> Findings {
        match self {
            Reader::OpenSsl => openssl::read_file(content),
            Reader::GnuTls => gnutls::read(content),
            Reader::Go => go::read(content),
            Reader::P11Kit => p11_kit::read(content),
        }
    }
}

/// What one reader finds in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The certificates as DER, in its order.
    pub certificates: Vec<Vec<u8>>,
    /// The offset at which it gives up: what follows is lost to it, and often what came before.
    pub gives_up: Option<usize>,
}

/// Something unusual in a file because of which at least one reader loses a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReaderFault {
    /// The line, counted from 1.
    pub(crate) line: usize,
    /// The fault, without content of the file.
    pub(crate) what: &'static str,
}

impl std::fmt::Display for ReaderFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// What all readers of a bundle find in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The SHA-256 fingerprints of the certificates that every reader finds, in the order of the file.
    pub offered: Vec<Fingerprint>,
    /// Where the file makes a reader lose a certificate. Empty if every reader finds all `CERTIFICATE` blocks.
    pub(crate) faults: Vec<ReaderFault>,
    /// The readers that lose something.
    pub(crate) losers: Vec<Reader>,
}

impl Reading {
    /// Whether every reader finds this certificate.
    pub(crate) fn offers(&self, fingerprint: &Fingerprint) -> bool {
        self.offered.contains(fingerprint)
    }

    /// The file's problem in one line; `None` for a good one.
    pub(crate) fn problem(&self) -> Option<String> {
        let fault = self.faults.first()?;
        let losers: Vec<&str> = self.losers.iter().map(|reader| reader.name()).collect();
        Some(format!("{fault} ({} cannot read all of it)", join_names(&losers)))
    }
}

/// "OpenSSL, Go and GnuTLS".
fn join_names(names: &[&str]) -> String {
    match names {
        [] => "programs".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The certificates of a file in the form in which every program writes bundles, as DER: all readers find all of them.
/// `None` for any other file.
pub(crate) fn read_regular(content: &[u8]) -> Option<Vec<Vec<u8>>> {
    let certificates = read_regular_with(content, &CertificateCache::default(), usize::MAX)?;
    Some(certificates.iter().map(|one| one.der().to_vec()).collect())
}

/// The same with what was parsed before; `None` also if `cache` has more than `most` certificates by then.
pub(crate) fn read_regular_with(
    content: &[u8],
    cache: &CertificateCache,
    most: usize,
) -> Option<Vec<Rc<CachedDer>>> {
    regular::read(content, Labels::Plain, cache, most)
}

/// The same for a file that only OpenSSL reads, in which certificates may have trust settings.
pub(crate) fn read_regular_as_openssl(
    content: &[u8],
    cache: &CertificateCache,
) -> Option<Vec<Rc<CachedDer>>> {
    regular::read(content, Labels::Trusted, cache, usize::MAX)
}

/// The chain of a server's certificate, leaf first, as a server with OpenSSL loads it.
///
/// # Errors
/// Why it loads no certificate, or not all of them; without content of the file.
pub(crate) fn read_chain(content: &[u8]) -> Result<Vec<Certificate>, String> {
    let findings = openssl::read_chain(content);
    if let Some(offset) = findings.gives_up {
        return Err(format!("the PEM block at line {} is damaged", line_of(content, offset)));
    }
    if findings.certificates.is_empty() {
        return Err("it has no certificate".to_owned());
    }
    findings.certificates.iter().map(|der| Certificate::from_der(der)).collect()
}

/// Reads `content` as `readers` do.
pub fn read(content: &[u8], readers: &[Reader]) -> Reading {
    read_with(content, readers, &CertificateCache::default())
}

/// The same with what was parsed before.
pub(crate) fn read_with(content: &[u8], readers: &[Reader], cache: &CertificateCache) -> Reading {
    let labels = if readers == [Reader::OpenSsl] { Labels::Trusted } else { Labels::Plain };
    // A file of the common form needs no models: what they agree on is checked once.
    if let Some(certificates) = regular::read(content, labels, cache, usize::MAX) {
        let offered = certificates.iter().map(|one| one.fingerprint()).collect();
        return Reading { offered, faults: Vec::new(), losers: Vec::new() };
    }
    let found: Vec<(Reader, Findings)> =
        readers.iter().map(|reader| (*reader, reader.read(content))).collect();
    // Every certificate that can be read, in the order of the file.
    let mut there: Vec<Fingerprint> = Vec::new();
    for block in pem::blocks(content) {
        if let ("CERTIFICATE", Some(der)) = (block.label.as_str(), &block.der)
            && let Some(whole) = der::DerReader::new(der).take(der::SEQUENCE)
        {
            there.push(Fingerprint::of(whole.raw));
        }
    }
    let mut times: BTreeMap<Fingerprint, usize> = BTreeMap::new();
    let mut order: Vec<Fingerprint> = there.clone();
    let mut losers = Vec::new();
    for (reader, findings) in &found {
        let mut own: Vec<Fingerprint> =
            findings.certificates.iter().map(|der| Fingerprint::of(der)).collect();
        if findings.gives_up.is_some() || there.iter().any(|fingerprint| !own.contains(fingerprint)) {
            losers.push(*reader);
        }
        order.extend(own.iter().copied().filter(|one| !there.contains(one)));
        own.sort();
        own.dedup();
        for fingerprint in own {
            *times.entry(fingerprint).or_default() += 1;
        }
    }
    let mut offered: Vec<Fingerprint> = Vec::new();
    for fingerprint in order {
        if times.get(&fingerprint) == Some(&readers.len()) && !offered.contains(&fingerprint) {
            offered.push(fingerprint);
        }
    }
    let mut faults = Vec::new();
    if !losers.is_empty() {
        faults = diagnosis::faults(content);
        if faults.is_empty() {
            let offset = found.iter().find_map(|(_, findings)| findings.gives_up).unwrap_or(0);
            let what = "programs disagree about what begins here";
            faults.push(ReaderFault { line: line_of(content, offset), what });
        }
    }
    Reading { offered, faults, losers }
}

/// Everything unusual in `content`, whether a reader objects to it or not.
pub(crate) fn faults(content: &[u8]) -> Vec<ReaderFault> {
    diagnosis::faults(content)
}

/// The line of a byte, counted from 1.
fn line_of(content: &[u8], offset: usize) -> usize {
    1 + content[..offset.min(content.len())].iter().filter(|byte| **byte == b'\n').count()
}

/// Where `needle` begins in `content` at or after `from`.
fn find(content: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let first = *needle.first()?;
    let mut at = from;
    while at + needle.len() <= content.len() {
        at += content[at..].iter().position(|byte| *byte == first)?;
        if content[at..].starts_with(needle) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// The certificate in these bytes, if they are exactly one that a reader can decode.
fn whole_certificate(bytes: &[u8]) -> Option<&[u8]> {
    is_decodable(bytes).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

    use super::*;

    #[test]
    fn a_chain_is_read_as_a_server_loads_it() {
        let (leaf, other) = (pem::encode(&TLS_SERVER_ROOT_CERTS[0]), pem::encode(&TLS_SERVER_ROOT_CERTS[1]));
        let chain = [&TLS_SERVER_ROOT_CERTS[0], &TLS_SERVER_ROOT_CERTS[1]];
        let key = pem::armor("PRIVATE KEY", b"x");
        for text in [
            format!("{leaf}{other}"),
            format!("# leaf\n{key}{leaf}\ntext\n{other}").replace('\n', "\r\n"),
            format!("{leaf}{}{other}", pem::armor("X509 CRL", b"x")),
        ] {
            let found = read_chain(text.as_bytes()).expect("a chain");
            let ders: Vec<&[u8]> = found.iter().map(Certificate::der).collect();
            assert_eq!(ders, chain.map(|root| &**root), "{text}");
        }
        let behind = pem::encode(&[&TLS_SERVER_ROOT_CERTS[0][..], b"\x05\x00"].concat());
        for (text, why) in [
            (String::new(), "no certificate"),
            (key.clone(), "no certificate"),
            (format!("# {leaf}"), "no certificate"),
            (format!("{leaf}{}", &other[..other.len() - 10]), "line"),
            (format!("{leaf}{}", other.replacen('\n', "\n\n", 2)), "line"),
            (format!("{}{leaf}", key.replace("eA", "!A")), "at line 1 is damaged"),
            (behind, "at line 1 is damaged"),
        ] {
            let error = read_chain(text.as_bytes()).expect_err(why);
            assert!(error.contains(why), "{error}: {text}");
        }
    }

    /// The fast path against the model, with every byte of the text changed: where the fast path reads a file at all, it
    /// finds what the model of OpenSSL finds.
    #[test]
    fn the_fast_path_for_trust_settings_finds_what_the_model_finds() {
        // SEQUENCE { SEQUENCE { serverAuth } }: trusted for servers.
        let settings: [&[u8]; 3] = [
            b"\x30\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01",
            // Damaged: a length too large, and something behind.
            b"\x30\x0d\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01",
            b"\x30\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01\x00",
        ];
        let smallest = TLS_SERVER_ROOT_CERTS.iter().min_by_key(|der| der.len()).expect("roots");
        let plain = pem::encode(&TLS_SERVER_ROOT_CERTS[1]);
        let mut read_fast = 0;
        for settings in settings {
            let trusted = pem::armor("TRUSTED CERTIFICATE", &[smallest.as_ref(), settings].concat());
            let mut texts = vec![trusted.clone(), format!("{plain}{trusted}"), trusted.replace('\n', "\r\n")];
            for at in 0..trusted.len() {
                for byte in [b'\n', b' ', b'-', b'A', b'='] {
                    let mut changed = trusted.clone().into_bytes();
                    changed[at] = byte;
                    texts.push(String::from_utf8(changed).expect("ASCII"));
                }
            }
            for text in texts {
                let fast = read_regular_as_openssl(text.as_bytes(), &CertificateCache::default());
                let Some(fast) = fast else { continue };
                read_fast += 1;
                let fast: Vec<Fingerprint> = fast.iter().map(|one| one.fingerprint()).collect();
                // A full cache leaves it to the model.
                let model = read_with(text.as_bytes(), &[Reader::OpenSsl], &CertificateCache::of_at_most(0));
                assert_eq!((fast, Vec::new()), (model.offered, model.losers), "{text}");
            }
        }
        assert!(read_fast > 100, "{read_fast} files of the common form");
    }
}
