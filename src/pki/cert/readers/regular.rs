//! The form in which every program writes bundles, and which every reader reads the same way: a fast path, and the form
//! of trustup's own writer.

use std::rc::Rc;

use super::super::cache::{CachedDer, CertificateCache};
use super::super::{der, has_readable_settings};
use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;

/// The markers of a plain certificate, and of one with trust settings.
const MARKERS: [(&[u8], &[u8]); 2] = [
    (b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"),
    (b"-----BEGIN TRUSTED CERTIFICATE-----", b"-----END TRUSTED CERTIFICATE-----"),
];
/// Lines of a body have this many characters, except for the last.
const COLUMNS: usize = 64;
/// Longer lines are read in parts by OpenSSL, and a part might look like a marker.
const LONGEST: usize = 250;

/// Which blocks a file in that form may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Labels {
    /// Plain certificates: what every reader finds.
    Plain,
    /// With trust settings, too: what OpenSSL finds.
    Trusted,
}

/// The certificates of a file in that form; `None` if it contains anything else: another label, an odd line, a marker
/// inside text, a control character; or if `cache` is full, or has more than `most`
/// certificates by now.
pub(super) fn read(
    content: &[u8],
    labels: Labels,
    cache: &CertificateCache,
    most: usize,
) -> Option<Vec<Rc<CachedDer>>> {
    let mut certificates = Vec::new();
    let begins = &MARKERS[..if labels == Labels::Plain { 1 } else { 2 }];
    let mut lines = Lines { content, at: 0 };
    while let Some((start, line)) = lines.next() {
        if begins.iter().any(|(begin, _)| line == *begin) {
            let end = loop {
                let (at, line) = lines.next()?;
                if line.starts_with(b"-") {
                    break at + line.len();
                }
            };
            let block = cache.block(&content[start..end]).filter(|block| block.is_regular)?;
            certificates.push(block.der);
            if cache.len() > most || cache.is_full() {
                return None;
            }
        } else if !is_harmless(line) {
            return None;
        }
    }
    Some(certificates)
}

/// Whether the text of a block, markers included, is in that form, apart from the certificate in it.
pub(in super::super) fn is_block(text: &[u8]) -> bool {
    let mut lines = Lines { content: text, at: 0 };
    let Some((_, first)) = lines.next() else { return false };
    let Some((_, end)) = MARKERS.iter().find(|(begin, _)| first == *begin) else { return false };
    let (mut characters, mut is_short) = (Vec::with_capacity(text.len()), false);
    for (_, line) in lines.by_ref() {
        if line == *end {
            return lines.at == text.len()
                && STANDARD.decode(&characters).is_ok_and(|der| first == MARKERS[0].0 || has_settings(&der));
        }
        let fits = !is_short && (1..=COLUMNS).contains(&line.len());
        if !fits || !line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte)) {
            return false;
        }
        is_short = line.len() < COLUMNS;
        characters.extend_from_slice(line);
    }
    false
}

/// Whether OpenSSL reads what follows the certificate as its trust settings.
fn has_settings(der: &[u8]) -> bool {
    let mut reader = der::DerReader::new(der);
    reader.take(der::SEQUENCE).is_some() && (reader.is_empty() || has_readable_settings(reader.rest()))
}

/// The lines of a file without their endings, each with its offset.
struct Lines<'a> {
    content: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<(usize, &'a [u8])> {
        let (start, rest) = (self.at, &self.content[self.at..]);
        if rest.is_empty() {
            return None;
        }
        let line = match memchr::memchr(b'\n', rest) {
            Some(length) => {
                self.at += length + 1;
                &rest[..length]
            }
            None => {
                self.at = self.content.len();
                rest
            }
        };
        Some((start, line.strip_suffix(b"\r").unwrap_or(line)))
    }
}

/// Text between blocks in which no reader sees a marker.
fn is_harmless(line: &[u8]) -> bool {
    line.len() <= LONGEST
        && !line.starts_with(b"\xef\xbb\xbf")
        && line.iter().all(|byte| *byte >= b' ' || *byte == b'\t')
        && (!line.contains(&b'-')
            || !line.windows(5).any(|window| window == b"-----")
                && !line.windows(18).any(|window| window == b"p11-kit-object-v1]"))
}
