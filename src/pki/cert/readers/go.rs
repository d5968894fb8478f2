//! Go: `pem.Decode` (encoding/pem) as `CertPool.AppendCertsFromPEM` (crypto/x509) uses it. Markers begin a line; blocks
//! with headers or another label are skipped, and so is what cannot be decoded.

use super::{Findings, base64, find, whole_certificate};

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"\n-----END ";
const DASHES: &[u8] = b"-----";

pub(super) fn read(content: &[u8]) -> Findings {
    let mut findings = Findings::default();
    let mut rest = content;
    while let Some((certificate, behind)) = next_block(rest) {
        findings.certificates.extend(certificate);
        rest = behind;
    }
    findings
}

/// The next block: its certificate, if it is one, and the rest.
fn next_block(data: &[u8]) -> Option<(Option<Vec<u8>>, &[u8])> {
    let mut rest = data;
    loop {
        // The first END line, and the last BEGIN before it.
        let end = find(rest, END, 0)?;
        let behind_end = end + END.len();
        let Some(begin) = last_begin(&rest[..end]).filter(|begin| *begin == 0 || rest[begin - 1] == b'\n')
        else {
            rest = &rest[behind_end..];
            continue;
        };
        let skipped = &rest[behind_end..];
        let (type_line, body_start) = line(rest, begin + BEGIN.len());
        let Some(label) = type_line.strip_suffix(DASHES) else {
            rest = skipped;
            continue;
        };
        let (mut at, mut headers) = (body_start, false);
        loop {
            if at >= rest.len() {
                return None;
            }
            let (text, next) = line(rest, at);
            if !text.contains(&b':') {
                break;
            }
            headers = true;
            at = next;
        }
        // The END line may directly follow the BEGIN line; after headers it needs a line of its own.
        if headers && end < at {
            rest = skipped;
            continue;
        }
        let trailer = rest[behind_end..].strip_prefix(label).and_then(|behind| behind.strip_prefix(DASHES));
        let Some((b"", _)) = trailer.map(|behind| line(behind, 0)) else {
            rest = skipped;
            continue;
        };
        let body = if end > at { &rest[at..end] } else { b"" };
        let der = if body.is_empty() { Some(Vec::new()) } else { decode(body) };
        let Some(der) = der else {
            rest = skipped;
            continue;
        };
        let is_certificate = label == b"CERTIFICATE" && !headers;
        let certificate = if is_certificate { whole_certificate(&der).map(<[u8]>::to_vec) } else { None };
        let behind = line(rest, behind_end).1;
        return Some((certificate, &rest[behind..]));
    }
}

/// An empty body decodes to nothing and is no error.
fn decode(body: &[u8]) -> Option<Vec<u8>> {
    if body.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
        return Some(Vec::new());
    }
    base64::go(body)
}

fn last_begin(content: &[u8]) -> Option<usize> {
    content.windows(BEGIN.len()).rposition(|window| window == BEGIN)
}

/// The line at `from` without its end and blanks before that, and where the next one begins.
fn line(content: &[u8], from: usize) -> (&[u8], usize) {
    let rest = &content[from..];
    let (mut end, next) = match rest.iter().position(|byte| *byte == b'\n') {
        Some(newline) => (newline, from + newline + 1),
        None => (rest.len(), content.len()),
    };
    if end < rest.len() && end > 0 && rest[end - 1] == b'\r' {
        end -= 1;
    }
    while end > 0 && matches!(rest[end - 1], b' ' | b'\t') {
        end -= 1;
    }
    (&rest[..end], next)
}
