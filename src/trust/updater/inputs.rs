//! Input files that a family's program copies into its bundle as they are. One malformed file makes OpenSSL lose every
//! root, so the built-in updater writes a normalized copy of it instead, and the program is not run.

use std::borrow::Cow;
use std::collections::HashSet;

use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use crate::error::Result;
use crate::pki::cert::readers::{self, Reader, ReaderFault};
use crate::pki::cert::{Certificate, CertificateCache, is_decodable, is_well_formed, pem};
use crate::rootfs::content::Content;
use crate::rootfs::tree::Node;
use crate::text;
use crate::trust::view::View;

/// An input file that would spoil the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokenInput {
    /// Its path.
    pub(crate) path: String,
    /// Its first fault.
    pub(crate) fault: ReaderFault,
    /// Its certificates that the built-in updater re-encodes.
    pub(crate) certificates: Vec<Certificate>,
}

impl BrokenInput {
    /// The message for the user: where, what, and what was done about it.
    pub(crate) fn describe(&self) -> String {
        let named = |one: &Certificate| format!("{} ({})", text::escape(&one.subject()), one.fingerprint());
        let kept = if self.certificates.is_empty() {
            "no certificate in it can be read".to_owned()
        } else {
            let named: Vec<String> = self.certificates.iter().map(named).collect();
            format!("the outputs get a normalized copy of {}", named.join(", "))
        };
        format!("`{}`, {}: programs cannot read a bundle with this file in it; {kept}", self.path, self.fault)
    }
}

/// The content of `path` as an input; `None` if no file exists.
fn content(view: &View, path: &str) -> Result<Option<Content>> {
    Ok(match view.follow(path)? {
        Some((_, node)) => match node.as_ref() {
            Node::File(file) => Some(file.content.clone()),
            _ => None,
        },
        None => None,
    })
}

/// Those of these input files that would spoil a bundle.
pub(super) fn broken(view: &View, paths: impl IntoIterator<Item = String>) -> Result<Vec<BrokenInput>> {
    let mut found = Vec::new();
    for path in paths {
        if let Some(content) = content(view, &path)?
            && let Some(fault) = fault(&content, view.parsed())
        {
            let certificates = certificates(&content);
            found.push(BrokenInput { path, fault, certificates });
        }
    }
    Ok(found)
}

/// What goes into a bundle for an input file: its bytes, or its certificates encoded anew.
pub(super) fn for_bundle<'c>(content: &'c [u8], cache: &CertificateCache) -> Cow<'c, [u8]> {
    match fault(content, cache) {
        None => Cow::Borrowed(content),
        Some(_) => Cow::Owned(normalized(content)),
    }
}

/// A damaged bundle rewritten: its certificates are re-encoded, and the text around them stays if every reader can then
/// read the whole; otherwise only the certificates are written.
pub(crate) fn rewritten(bundle: &[u8]) -> Vec<u8> {
    let text = bundle.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bundle);
    let mut kept = Vec::with_capacity(text.len());
    let mut from = 0;
    for block in pem::blocks(text) {
        kept.extend_from_slice(&text[from..block.range.start]);
        if kept.last().is_some_and(|last| *last != b'\n') {
            kept.push(b'\n');
        }
        match (&block.der, block.label.as_str()) {
            (Some(der), "CERTIFICATE") if is_decodable(der) => {
                kept.extend_from_slice(pem::encode(der).as_bytes());
            }
            (Some(_), label) if label != "CERTIFICATE" => kept.extend_from_slice(&text[block.range.clone()]),
            _ => {}
        }
        from = block.range.end;
    }
    kept.extend_from_slice(&text[from..]);
    let reading = readers::read(&kept, &Reader::OF_BUNDLES);
    let certificates = decodable(bundle);
    if reading.faults.is_empty() && certificates.iter().all(|one| reading.offers(&one.fingerprint())) {
        return kept;
    }
    certificates.iter().flat_map(|certificate| certificate.to_pem().into_bytes()).collect()
}

/// The certificates in a bundle that programs decode, each once.
fn decodable(bundle: &[u8]) -> Vec<Certificate> {
    certificates_where(bundle, is_decodable)
}

/// The certificates in a damaged bundle that no program decodes: [`rewritten`] omits them.
pub(super) fn undecodable(bundle: &[u8]) -> Vec<Certificate> {
    certificates_where(bundle, |der| !is_decodable(der))
}

/// The certificates in `content`, encoded anew, each once.
fn normalized(content: &[u8]) -> Vec<u8> {
    certificates(content).iter().flat_map(|certificate| certificate.to_pem().into_bytes()).collect()
}

/// The first fault of a file whose bytes go into a bundle between others: because of it a program loses one of its
/// certificates, or one beside it.
pub(super) fn fault(content: &[u8], cache: &CertificateCache) -> Option<ReaderFault> {
    if readers::read_regular_with(content, cache, usize::MAX).is_some() {
        return None;
    }
    let [before, behind] = [0, 1].map(|index| TLS_SERVER_ROOT_CERTS[index].to_vec());
    let mut bundle = pem::encode(&before).into_bytes();
    let lines_before = bundle.iter().filter(|byte| **byte == b'\n').count();
    bundle.extend_from_slice(content);
    if !content.ends_with(b"\n") {
        bundle.push(b'\n');
    }
    bundle.extend_from_slice(pem::encode(&behind).as_bytes());
    let reading = readers::read(&bundle, &Reader::OF_BUNDLES);
    if reading.losers.is_empty() {
        return None;
    }
    // The same without the neighbours, whose lines are not part of the file.
    let fault = readers::faults(content).into_iter().next().or_else(|| {
        let first = reading.faults.into_iter().next()?;
        Some(ReaderFault { line: first.line.saturating_sub(lines_before).max(1), ..first })
    });
    fault.or(Some(ReaderFault { line: 1, what: "programs disagree about how to read this file" }))
}

/// The certificates in PEM blocks of `content` that are well-formed, each once.
pub(super) fn certificates(content: &[u8]) -> Vec<Certificate> {
    certificates_where(content, is_well_formed)
}

fn certificates_where(content: &[u8], fits: impl Fn(&[u8]) -> bool) -> Vec<Certificate> {
    let mut found: Vec<Certificate> = Vec::new();
    let mut seen = HashSet::new();
    for block in pem::blocks(content) {
        if block.label == "CERTIFICATE"
            && let Some(certificate) = Certificate::from_block(&block)
            && fits(certificate.der())
            && seen.insert(certificate.fingerprint())
        {
            found.push(certificate);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> String {
        pem::encode(&TLS_SERVER_ROOT_CERTS[2])
    }

    #[test]
    fn good_files_go_into_the_bundle_as_they_are() {
        let good = good();
        for text in [
            good.clone(),
            good.trim_end().to_owned(),
            format!("# text\n\n{good}\n\nmore text\n"),
            good.replace('\n', "\r\n"),
            String::new(),
            "no certificate at all\n".to_owned(),
            good.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
            format!("Certificate:\n    Data: é\n{good}"),
        ] {
            assert_eq!(fault(text.as_bytes(), &CertificateCache::default()), None, "{text}");
            assert_eq!(for_bundle(text.as_bytes(), &CertificateCache::default()), text.as_bytes());
        }
    }

    #[test]
    fn what_spoils_a_bundle_is_encoded_anew_or_omitted() {
        let good = good();
        let end = good.find("-----END").expect("PEM");
        for (text, line, kept) in [
            (format!("{}\n{}", &good[..end], &good[end..]), good.lines().count(), true),
            (format!("text {good}"), 1, true),
            (good.replacen('\n', "\n\n", 3), 2, true),
            (format!("\u{feff}{good}"), 1, true),
            (good.replace("-----END", "----END"), good.lines().count(), false),
            (good.replace("CERTIFICATE-----\n", "CERTIFICATE----\n"), 1, false),
            (good[..end].to_owned(), good.lines().count(), false),
            (format!("{good}\0\n"), good.lines().count() + 1, true),
            (good.encode_utf16().map(|unit| char::from(unit as u8).to_string() + "\0").collect(), 1, false),
        ] {
            let fault = fault(text.as_bytes(), &CertificateCache::default())
                .unwrap_or_else(|| panic!("no fault: {text:?}"));
            assert_eq!(fault.line, line, "{fault}: {text:?}");
            let copy = for_bundle(text.as_bytes(), &CertificateCache::default());
            assert_eq!(String::from_utf8_lossy(&copy), if kept { good.as_str() } else { "" }, "{text:?}");
        }
    }
}
