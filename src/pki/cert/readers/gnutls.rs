//! GnuTLS: `gnutls_x509_crt_list_import` (lib/x509/x509.c) and `_gnutls_fbase64_decode` (lib/x509_b64.c), 3.7 and
//! later. It searches for markers anywhere, lines mean nothing to it, and it refuses the whole file for one certificate
//! that it cannot read.

use super::{Findings, base64, find, whole_certificate};

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE";
const OLD_BEGIN: &[u8] = b"-----BEGIN X509 CERTIFICATE";

pub(super) fn read(content: &[u8]) -> Findings {
    let mut findings = Findings::default();
    let next = |from| find(content, BEGIN, from).or_else(|| find(content, OLD_BEGIN, from));
    let mut at = next(0);
    // If a body cannot be decoded, the first following block with the old label is used instead.
    let last_old = last(content, OLD_BEGIN);
    while let Some(start) = at {
        let old = || {
            let is_behind = last_old.is_some_and(|last| last >= start);
            if is_behind { decode(content, OLD_BEGIN, start) } else { None }
        };
        let der = decode(content, BEGIN, start).or_else(old);
        let Some(certificate) = der.as_deref().and_then(whole_certificate) else {
            return Findings { certificates: Vec::new(), gives_up: Some(start) };
        };
        findings.certificates.push(certificate.to_vec());
        at = next(start + 1);
    }
    findings
}

/// The body of the first block with this beginning at or after `from`, up to any END.
fn decode(content: &[u8], begin: &[u8], from: usize) -> Option<Vec<u8>> {
    const DASHES: &[u8] = b"-----";
    let start = find(content, begin, from)?;
    let body = find(content, DASHES, start + 1)? + DASHES.len();
    let end = find(content, b"-----END ", body)?;
    if end - body < 4 { None } else { base64::gnutls(&content[body..end]) }
}

fn last(content: &[u8], needle: &[u8]) -> Option<usize> {
    let mut found = None;
    let mut from = 0;
    while let Some(at) = find(content, needle, from) {
        found = Some(at);
        from = at + 1;
    }
    found
}
