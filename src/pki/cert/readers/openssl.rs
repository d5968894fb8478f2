//! OpenSSL: `PEM_read_bio` (crypto/pem/pem_lib.c) as its two kinds of store use it: a CAfile
//! (`X509_load_cert_crl_file`) loses everything for one unreadable block, a file of a CApath (`X509_load_cert_file`)
//! only what follows. 1.1.1 to 3.5.

use super::super::{der, has_readable_settings, is_decodable};
use super::{Findings, base64};
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

/// `LINESIZE` less the terminating NUL: longer lines are read in parts.
const PART: usize = 254;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A block that could be read.
struct ReadBlock {
    label: Vec<u8>,
    header: Vec<u8>,
    body: Vec<u8>,
    start: usize,
}

impl ReadBlock {
    fn is_certificate(&self) -> bool {
        matches!(self.label.as_slice(), b"CERTIFICATE" | b"X509 CERTIFICATE" | b"TRUSTED CERTIFICATE")
    }

    /// Whether OpenSSL considers the block encrypted, or fails: what precedes an empty line is a header.
    fn has_header(&self) -> bool {
        !matches!(self.header.first(), None | Some(b'\n'))
    }

    /// The certificate as DER; `None` if OpenSSL fails. What follows it is trust settings, or with `tail` ignored.
    fn certificate(&self, tail: bool) -> Option<&[u8]> {
        let mut reader = der::DerReader::new(&self.body);
        let certificate = reader.take(der::SEQUENCE)?.raw;
        let fits = tail || reader.is_empty() || has_readable_settings(reader.rest());
        (!self.has_header() && fits && is_decodable(certificate)).then_some(certificate)
    }

    /// Revocation lists and private keys in a CAfile are parsed, too.
    fn spoils_file(&self) -> bool {
        match self.label.as_slice() {
            b"X509 CRL" => self.has_header() || CertificateRevocationList::from_der(&self.body).is_err(),
            b"ENCRYPTED PRIVATE KEY" => self.has_header(),
            // Not needed there: it is not worth a parser.
            label => label.ends_with(b"PRIVATE KEY"),
        }
    }
}

/// A CAfile.
pub(super) fn read_file(content: &[u8]) -> Findings {
    on_both_processors(content, |sign| {
        let mut findings = Findings::default();
        let mut lines = Lines { content, at: 0, sign };
        loop {
            let refused = |at| Findings { certificates: Vec::new(), gives_up: Some(at) };
            match next_block(&mut lines) {
                Next::End => return findings,
                Next::Fault(at) => return refused(at),
                Next::Block(block) if block.is_certificate() => {
                    match block.certificate(block.label != b"TRUSTED CERTIFICATE") {
                        Some(der) => findings.certificates.push(der.to_vec()),
                        None => return refused(block.start),
                    }
                }
                Next::Block(block) if block.spoils_file() => return refused(block.start),
                Next::Block(_) => {}
            }
        }
    })
}

/// The certificate of a file that holds exactly one, as DER.
pub(crate) fn only_certificate(content: &[u8]) -> Option<Vec<u8>> {
    let regular = super::read_regular(content);
    let mut found = regular.unwrap_or_else(|| read_file(content).certificates);
    if found.len() == 1 { found.pop() } else { None }
}

/// The chain of a server's certificate (`SSL_CTX_use_certificate_chain_file`): blocks of other kinds, such as a key,
/// must be PEM, and are skipped.
pub(super) fn read_chain(content: &[u8]) -> Findings {
    on_both_processors(content, |sign| {
        let mut findings = Findings::default();
        let mut lines = Lines { content, at: 0, sign };
        loop {
            match next_block(&mut lines) {
                Next::End => return findings,
                Next::Fault(at) => return Findings { gives_up: Some(at), ..findings },
                // Stricter than OpenSSL, which skips what follows a plain certificate: not all servers do.
                Next::Block(block) if block.is_certificate() => match block.certificate(false) {
                    Some(der) if der.len() == block.body.len() || block.label == b"TRUSTED CERTIFICATE" => {
                        findings.certificates.push(der.to_vec());
                    }
                    _ => return Findings { gives_up: Some(block.start), ..findings },
                },
                Next::Block(_) => {}
            }
        }
    })
}

/// A file that a hash link of a CApath names. What comes before a fault is found; the fault ends the search of this
/// subject, so that links with higher numbers are not followed.
pub fn read_hashed(content: &[u8]) -> Findings {
    on_both_processors(content, |sign| {
        let mut findings = Findings::default();
        let mut lines = Lines { content, at: 0, sign };
        loop {
            match next_block(&mut lines) {
                Next::End => {
                    // A file without a certificate counts as unreadable.
                    findings.gives_up = findings.certificates.is_empty().then_some(0);
                    return findings;
                }
                Next::Fault(at) => return Findings { gives_up: Some(at), ..findings },
                Next::Block(block) if block.is_certificate() => match block.certificate(false) {
                    Some(der) => findings.certificates.push(der.to_vec()),
                    None => return Findings { gives_up: Some(block.start), ..findings },
                },
                Next::Block(_) => {}
            }
        }
    })
}

/// Whether bytes above 127 count as white space at the end of a line: C's `char` is signed on x86 and unsigned on Arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Signed,
    Unsigned,
}

/// What is found on both kinds of processor.
fn on_both_processors(content: &[u8], read: impl Fn(Sign) -> Findings) -> Findings {
    let mut findings = read(Sign::Unsigned);
    if !content.is_ascii() {
        let other = read(Sign::Signed);
        findings.certificates.retain(|der| other.certificates.contains(der));
        findings.gives_up = findings.gives_up.or(other.gives_up);
    }
    findings
}

enum Next {
    Block(ReadBlock),
    End,
    Fault(usize),
}

/// `PEM_read_bio_ex` with the flags of `PEM_read_bio`.
fn next_block(lines: &mut Lines<'_>) -> Next {
    let mut first = true;
    let (label, start) = loop {
        let Some(part) = lines.next() else { return Next::End };
        let mut text = part.text;
        if first && text.len() > BYTE_ORDER_MARK.len() {
            text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        }
        first = false;
        let text = lines.sign.trimmed(text);
        if let Some(label) = text.strip_prefix(BEGIN).and_then(|label| label.strip_suffix(DASHES)) {
            break (label.to_vec(), part.start);
        }
    };
    let (mut header, mut body): (Vec<u8>, Option<Vec<u8>>) = (Vec::new(), None);
    let (mut in_header, mut was_partial, mut is_short) = (false, false, false);
    loop {
        let Some(part) = lines.next() else { return Next::Fault(start) };
        let follows_partial = std::mem::replace(&mut was_partial, part.is_partial);
        in_header |= body.is_none() && part.text.contains(&b':');
        let text = lines.sign.trimmed(part.text);
        if text.is_empty() {
            if !follows_partial {
                if body.is_some() {
                    return Next::Fault(part.start);
                }
                body = Some(Vec::new());
            }
            continue;
        }
        if let Some(other) = text.strip_prefix(END) {
            if other.strip_prefix(label.as_slice()) != Some(DASHES) {
                return Next::Fault(part.start);
            }
            break;
        }
        if is_short {
            return Next::Fault(part.start);
        }
        let into = body.as_mut().unwrap_or(&mut header);
        into.extend_from_slice(text);
        into.push(b'\n');
        if body.is_some() {
            // After headers lines have 64 characters, except for the last.
            if text.len() > 64 {
                return Next::Fault(part.start);
            }
            is_short = text.len() < 64;
        }
    }
    let body = match body {
        Some(body) => body,
        // Text that ended without an empty line was the body, unless a line of it resembled a header.
        None if in_header => Vec::new(),
        None => std::mem::take(&mut header),
    };
    match base64::openssl(&body) {
        Some(body) => Next::Block(ReadBlock { label, header, body, start }),
        None => Next::Fault(start),
    }
}

impl Sign {
    fn trimmed(self, text: &[u8]) -> &[u8] {
        let blank = |byte: &u8| *byte <= b' ' || (self == Sign::Signed && *byte >= 0x80);
        let kept = text.iter().rposition(|byte| !blank(byte)).map_or(0, |last| last + 1);
        &text[..kept]
    }
}

/// `BIO_gets` on a file.
struct Lines<'a> {
    content: &'a [u8],
    at: usize,
    sign: Sign,
}

/// A line, or a part of a long one.
struct LinePart<'a> {
    text: &'a [u8],
    start: usize,
    /// The line continues.
    is_partial: bool,
}

impl<'a> Lines<'a> {
    /// `None` at the end of the file and at a part that begins with a NUL byte, which looks like an end.
    fn next(&mut self) -> Option<LinePart<'a>> {
        let rest = &self.content[self.at..];
        let window = &rest[..rest.len().min(PART)];
        let length =
            window.iter().position(|byte| *byte == b'\n').map_or(window.len(), |newline| newline + 1);
        let start = self.at;
        self.at += length;
        // What follows a NUL byte in a line is lost.
        let text = window[..length].split(|byte| *byte == 0).next().unwrap_or_default();
        let is_partial = text.len() == PART && !text.ends_with(b"\n");
        (!text.is_empty()).then_some(LinePart { text, start, is_partial })
    }
}
