//! p11-kit: `p11_pem_parse` (common/pem.c, 0.24 and 0.25). It searches for markers anywhere, ends at the first pair
//! that does not match and at a NUL byte, and skips bodies that it cannot decode.

use super::super::{der, has_readable_settings, is_decodable};
use super::{Findings, base64, find};

const DASHES: &[u8] = b"-----";
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";

pub(super) fn read(content: &[u8]) -> Findings {
    if is_decodable(content) {
        return Findings { certificates: vec![content.to_vec()], gives_up: None };
    }
    let content = content.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut findings = Findings::default();
    let mut at = 0;
    while let Some(begin) = find(content, BEGIN, at) {
        let label = begin + BEGIN.len();
        let Some(label_end) = find(content, DASHES, label) else { break };
        let body = label_end + DASHES.len();
        let label = &content[label..label_end];
        let end = find(content, END, body).filter(|end| {
            let behind = &content[end + END.len()..];
            behind.strip_prefix(label).is_some_and(|rest| rest.starts_with(DASHES))
        });
        let (false, Some(end)) = (label.contains(&b'\n'), end) else {
            findings.gives_up = Some(begin);
            break;
        };
        let der = || base64::p11_kit(behind_headers(&content[body..end]));
        let certificate = match label {
            b"CERTIFICATE" => der().filter(|der| is_decodable(der)),
            b"TRUSTED CERTIFICATE" => der().and_then(|der| trusted(&der)),
            _ => None,
        };
        findings.certificates.extend(certificate);
        at = end + DASHES.len();
    }
    findings
}

/// The certificate before OpenSSL's trust settings.
fn trusted(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut reader = der::DerReader::new(bytes);
    let certificate = reader.take(der::SEQUENCE)?.raw;
    let fits = reader.is_empty() || has_readable_settings(reader.rest());
    (fits && is_decodable(certificate)).then(|| certificate.to_vec())
}

/// What follows the first line that is empty or blank: what comes before it counts as headers.
fn behind_headers(body: &[u8]) -> &[u8] {
    let mut at = 0;
    while let Some(line_end) = body[at..].iter().position(|byte| *byte == b'\n') {
        at += line_end + 1;
        let blanks = body[at..].iter().take_while(|byte| base64::is_space(**byte)).count();
        if let Some(second) = body[at..at + blanks].iter().position(|byte| *byte == b'\n') {
            return &body[at + second..];
        }
        at += blanks;
    }
    body
}
