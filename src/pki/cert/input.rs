//! Input: a file, a body from the network, standard input. The strict reader: it names all that it does not accept,
//! refuses private keys, and accepts nothing that it did not parse (threat T3).
//!
//! Never quotes content: a file that was given by mistake may be a secret (threat T6).

use std::collections::BTreeSet;

use super::der::{self, DerReader};
use super::pem::{self, PemBlock, PemFault};
use super::recognise::{self, Asked};
use super::{Certificate, cert_aux, pkcs7, private_key, wrapped};
use crate::error::{Error, Result};
use crate::pki::fingerprint::Fingerprint;
use crate::text::{self, encoding};

/// p11-kit reads a file that contains this anywhere as its own format, in which roots can hide from a PEM reader.
const P11_KIT: &[u8] = b"[p11-kit-object-v1]";

/// More PEM blocks than any bundle has; a hostile one could hold millions of empty ones.
const BLOCKS_LIMIT: usize = 10_000;

/// The content of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFile {
    /// The certificates in order, each once. At least one.
    pub certificates: Vec<Certificate>,
    /// What else was there and was not accepted.
    pub problems: Vec<InputProblem>,
}

/// A part of a file that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputProblem {
    /// Where and why, in one line that is safe to show.
    pub(crate) what: String,
    /// The certificate's fingerprint, if it is one.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// The next step, if there is a better one than to look at the file.
    hint: Option<String>,
}

/// Reads PEM (`CERTIFICATE`, `X509 CERTIFICATE`, `TRUSTED CERTIFICATE`, `PKCS7`; any number), DER (one certificate), or
/// PKCS#7 as DER. `origin` is the path or the masked URL, for errors.
///
/// A damaged block among good ones is a [`InputProblem`]. These fail the whole input: no certificate at all, a
/// truncated file, a private key anywhere, bytes after a certificate's DER, p11-kit's format, two encodings in one
/// file, a certificate that the file itself distrusts for TLS servers. What looks like a certificate between the blocks
/// is an [`InputProblem`], too.
pub fn read(bytes: &[u8], origin: &str) -> Result<CertificateFile> {
    read_any(bytes.strip_prefix(encoding::UTF_8_MARK).unwrap_or(bytes)).map_err(|error| placed(error, origin))
}

/// Accepts certificates that another reader extracted from a container (`trust/source/given`), under the same rules: each
/// DER, and the prefix of messages about it.
pub(crate) fn of_members<'a>(
    members: impl IntoIterator<Item = (&'a [u8], String)>,
    origin: &str,
) -> Result<CertificateFile> {
    let mut found = InputContents::default();
    for (der, place) in members {
        found.certificate(der, &place).map_err(|error| placed(error, origin))?;
    }
    found.finish().map_err(|error| placed(error, origin))
}

/// The error with its place; hints name a FILE, which an answer from the network becomes only once it is saved.
fn placed(error: Error, origin: &str) -> Error {
    let needs_file = origin.contains("://") && error.hints().iter().any(|hint| hint.contains("FILE"));
    let error = error.at(text::escape(origin));
    if needs_file {
        error.hint("FILE is the server's answer: `curl -o FILE URL`; with `-k` where a fingerprint pins what is in it")
    } else {
        error
    }
}

/// Whether `bytes` contain a recognisable private key: then [`read`] fails, and so must a run that would skip an
/// unreadable file (a directory of mounted files).
pub(crate) fn holds_private_key(bytes: &[u8]) -> bool {
    private_key::find(bytes.strip_prefix(encoding::UTF_8_MARK).unwrap_or(bytes)).is_some()
}

fn read_any(bytes: &[u8]) -> Result<CertificateFile> {
    if bytes.trim_ascii().is_empty() {
        return Err(
            Error::usage("the file is empty").hint("give a certificate as PEM or DER, or a bundle of them")
        );
    }
    if let Some(kind) = private_key::find(bytes) {
        return Err(private_key(bytes, kind));
    }
    if bytes.windows(P11_KIT.len()).any(|window| window == P11_KIT) {
        return Err(Error::usage(
            "this is a file in p11-kit's own format, which can hold more than it shows",
        )
        .hint(
            "if it distrusts nothing (`x-distrusted: true`), give its certificates as PEM: `sed -n '/-BEGIN CERTIFICATE-/,/-END CERTIFICATE-/p' FILE >ca.pem`",
        ));
    }
    // No text has such a second byte, and no text that is one short element can hold a certificate.
    if matches!(bytes, [0x30, 0x80..=0x84, ..]) || der::only(bytes, der::SEQUENCE).is_some() {
        return read_der(bytes);
    }
    let is_wide = encoding::foreign(bytes).is_some() || encoding::mixed_line(bytes).is_some();
    if is_wide || recognise::by_first_bytes(bytes).is_some() {
        return Err(not_certificates(bytes));
    }
    let blocks: Vec<PemBlock> = pem::iter(bytes).take(BLOCKS_LIMIT + 1).collect();
    if blocks.len() > BLOCKS_LIMIT {
        return Err(Error::usage(format!("it has more than {BLOCKS_LIMIT} PEM blocks"))
            .hint("give a bundle of roots: the largest in use has a few hundred"));
    }
    if blocks.is_empty() || recognise::is_web_page(bytes) {
        return Err(not_certificates(bytes));
    }
    read_pem(bytes, &blocks)
}

fn read_der(bytes: &[u8]) -> Result<CertificateFile> {
    let mut found = InputContents::default();
    if bytes[1] == 0x80 {
        return Err(Error::usage("this is BER with indefinite lengths, not DER")
            .hint("convert it: `openssl pkcs7 -inform DER -in FILE -print_certs -out ca.pem`"));
    }
    if pkcs7::is_pkcs7(bytes) {
        found.pkcs7(bytes, "")?;
    } else {
        found.certificate(bytes, "")?;
    }
    found.finish()
}

fn read_pem(bytes: &[u8], blocks: &[PemBlock]) -> Result<CertificateFile> {
    let mut found = InputContents::default();
    let mut line = 1;
    let mut counted = 0;
    for (index, block) in blocks.iter().enumerate() {
        found.between(&bytes[counted..block.range.start], line);
        line += lines(&bytes[counted..block.range.start]);
        found.block(bytes, block, &format!("PEM block {} at line {line}: ", index + 1))?;
        line += lines(&bytes[block.range.clone()]);
        counted = block.range.end;
    }
    found.between(&bytes[counted..], line);
    found.finish()
}

fn lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// What has been read so far.
#[derive(Default)]
struct InputContents {
    file: CertificateFile,
    seen: BTreeSet<Fingerprint>,
}

impl InputContents {
    fn problem(&mut self, what: String) {
        self.file.problems.push(InputProblem { what, fingerprint: None, hint: None });
    }

    fn problem_with_hint(&mut self, what: String, hint: impl Into<String>) {
        self.file.problems.push(InputProblem { what, fingerprint: None, hint: Some(hint.into()) });
    }

    /// One block of a PEM file; `place` is the prefix of messages about it.
    fn block(&mut self, bytes: &[u8], block: &PemBlock, place: &str) -> Result<()> {
        let text = &bytes[block.range.clone()];
        if block.fault == Some(PemFault::NoEnd) {
            // A file that ends within the line is cut off.
            let end = format!("-----END {}-----", block.label);
            let last = text.split(|byte| *byte == b'\n').next_back().unwrap_or_default();
            let is_cut = end.as_bytes().starts_with(last) && !last.is_empty();
            let is_damaged = text.windows(4).any(|window| window == b"END ") && !is_cut;
            return match (is_damaged, block.range.end == bytes.len()) {
                (true, is_last) => {
                    let what = format!("{place}its END line is damaged: it needs five hyphens on each side");
                    let hint = wrapped::repair_markers(Asked::Certificate);
                    if is_last {
                        return Err(Error::usage(what).hint(hint));
                    }
                    self.problem_with_hint(what, hint);
                    Ok(())
                }
                (false, true) => {
                    Err(Error::usage(format!("{place}the END line is missing: the file is cut off"))
                        .hint("copy or download it again, whole"))
                }
                (false, false) => {
                    self.problem(format!("{place}its END line is missing"));
                    Ok(())
                }
            };
        }
        let label = block.label.as_str();
        let is_bag = matches!(label, "PKCS7" | "PKCS #7 SIGNED DATA" | "CMS");
        if !is_bag && !matches!(label, "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE") {
            let what = format!("{place}a `{}` is not a certificate", text::escape(label));
            match recognise::of_label(label) {
                Some(kind) => {
                    let hint = recognise::next_step(kind, Asked::Certificate);
                    self.problem_with_hint(format!("{what}, but {kind}"), hint);
                }
                None => self.problem(what),
            }
            return Ok(());
        }
        let Some(der) = &block.der else {
            match wrapped::body_fault(text, bytes, Asked::Certificate) {
                Some((fault, hint)) => self.problem_with_hint(format!("{place}{fault}"), hint),
                None => self.problem(format!("{place}its body is not base64")),
            }
            return Ok(());
        };
        match label {
            // Microsoft's CA uses this label for PKCS#7.
            "CERTIFICATE" if pkcs7::is_pkcs7(der) => self.pkcs7(der, place),
            "CERTIFICATE" | "X509 CERTIFICATE" => self.certificate(der, place),
            "TRUSTED CERTIFICATE" => self.trusted_certificate(der, place),
            // OpenSSL's label, Netscape's, RFC 7468's.
            _ => self.pkcs7(der, place),
        }
    }

    /// Names what looks like a certificate in the text between two blocks, of which the first line has this number: a
    /// root that no reader takes must not get lost silently.
    fn between(&mut self, text: &[u8], line: usize) {
        if let Some((at, why)) = wrapped::remnant(text) {
            let line = line + lines(&text[..at]);
            self.problem(format!("line {line}: what looks like a certificate is not read: {why}"));
        } else if let Some(at) = der_within(text) {
            let line = line + lines(&text[..at]);
            self.problem(format!(
                "line {line}: what looks like a certificate is not read: it is DER among PEM"
            ));
        }
    }

    /// Accepts one certificate; `place` is the prefix of messages about it.
    fn certificate(&mut self, der: &[u8], place: &str) -> Result<()> {
        let mut reader = DerReader::new(der);
        let whole = reader.take(der::SEQUENCE);
        if let Some(certificate) = whole.filter(|_| !reader.is_empty()) {
            return Err(Error::usage(format!(
                "{place}certificate {} has {} behind it",
                Fingerprint::of(certificate.raw),
                super::bytes(reader.rest().len())
            ))
            .hint("create it again from the original: `openssl x509 -in FILE -out ca.crt`"));
        }
        match Certificate::from_der(der) {
            Ok(certificate) => {
                if self.seen.insert(certificate.fingerprint()) {
                    self.file.certificates.push(certificate);
                }
            }
            Err(reason) => {
                let other = recognise::in_der(der, Asked::Certificate);
                let what = match &other {
                    Some(other) => format!("{place}{}", other.sentence(Asked::Certificate)),
                    None => format!("{place}{}", text::escape(&reason)),
                };
                let fingerprint = whole.filter(|_| other.is_none()).map(|whole| Fingerprint::of(whole.raw));
                let hint = other.map(|other| other.hint);
                self.file.problems.push(InputProblem { what, fingerprint, hint });
            }
        }
        Ok(())
    }

    /// OpenSSL's certificate followed by trust settings. A reader that drops them installs what the file distrusts
    /// (threat T3).
    fn trusted_certificate(&mut self, der: &[u8], place: &str) -> Result<()> {
        let mut reader = DerReader::new(der);
        let Some(certificate) = reader.take(der::SEQUENCE) else {
            self.problem(format!("{place}not DER"));
            return Ok(());
        };
        if let Err(reason) = cert_aux::tls_server_trust(reader.rest()) {
            let fingerprint = Fingerprint::of(certificate.raw);
            return Err(Error::usage(format!("{place}certificate {fingerprint} {reason}"))
                .hint("remove it from the file; if you trust it anyway, convert it to a plain certificate: `openssl x509 -in FILE -out ca.crt`"));
        }
        self.certificate(certificate.raw, place)
    }

    fn pkcs7(&mut self, bytes: &[u8], place: &str) -> Result<()> {
        let members = match pkcs7::certificates(bytes) {
            Ok(members) => members,
            Err(reason) => {
                self.problem(format!("{place}{reason}"));
                return Ok(());
            }
        };
        if members.is_empty() {
            self.problem(format!("{place}PKCS#7 without certificates"));
        }
        for (index, member) in members.into_iter().enumerate() {
            self.certificate(member, &format!("{place}PKCS#7 member {}: ", index + 1))?;
        }
        Ok(())
    }

    fn finish(self) -> Result<CertificateFile> {
        let problems = &self.file.problems;
        let error = match (&self.file.certificates[..], &problems[..]) {
            ([_, ..], _) => return Ok(self.file),
            ([], [problem]) => Error::usage(problem.what.clone()),
            ([], problems) => {
                let first = problems.first().map_or_else(String::new, |problem| problem.what.clone());
                Error::usage(format!("not one of {} parts is a certificate", problems.len()))
                    .because(anyhow::Error::msg(first))
            }
        };
        let hint = problems.iter().find_map(|problem| problem.hint.clone());
        Err(error.hint(hint.unwrap_or_else(|| {
            "give a certificate as PEM or DER; `openssl x509 -in FILE -noout -text` must show it".to_owned()
        })))
    }
}

/// The position of a DER certificate in text.
fn der_within(text: &[u8]) -> Option<usize> {
    let is_one = |at: &usize| {
        let is_long = text[*at..].starts_with(&[der::SEQUENCE, 0x82]);
        is_long && DerReader::new(&text[*at..]).take(der::SEQUENCE).is_some()
    };
    text.iter().enumerate().filter(|(_, byte)| **byte == der::SEQUENCE).map(|(at, _)| at).find(is_one)
}

/// The error for a file with a private key: how to get its certificates without the key, if it has any.
fn private_key(bytes: &[u8], kind: &str) -> Error {
    /// All certificates of a PEM file; `openssl x509` would write the first only.
    const WITHOUT_KEY: &str = "give its certificates only: \
        `sed -n '/-BEGIN CERTIFICATE-/,/-END CERTIFICATE-/p' FILE >ca.pem`";
    let has_certificates = pem::iter(bytes).take(BLOCKS_LIMIT).any(|block| {
        block.label == "CERTIFICATE" && block.der.is_some_and(|der| Certificate::from_der(&der).is_ok())
    });
    let is_der = bytes.first() == Some(&der::SEQUENCE);
    let error = Error::usage(format!("it has a private key ({kind})"));
    match recognise::recognise(bytes, Asked::Certificate) {
        _ if has_certificates => error.hint(WITHOUT_KEY),
        Some(found) if is_der => error.hint(found.hint),
        Some(found) => {
            let sentence = found.sentence(Asked::PrivateKey);
            Error::usage(format!("it has a private key ({kind}); {sentence}")).hint(found.hint)
        }
        None => error
            .hint("give the certificate that belongs to it, or the root of its CA; keep the key where it is"),
    }
}

/// The error for what is neither PEM nor DER.
fn not_certificates(bytes: &[u8]) -> Error {
    const SHOW: &str = "give a certificate as PEM (`-----BEGIN CERTIFICATE-----`) or DER";
    if let Some(found) = recognise::recognise(bytes, Asked::Certificate) {
        return Error::usage(found.sentence(Asked::Certificate)).hint(found.hint);
    }
    match wrapped::remnant(bytes) {
        Some((at, why)) => {
            let line = 1 + lines(&bytes[..at]);
            Error::usage(format!("line {line}: {why}")).hint(wrapped::repair_markers(Asked::Certificate))
        }
        None => Error::usage("it has no certificate").hint(SHOW),
    }
}

#[cfg(test)]
mod tests;
