//! Everything unusual in a file of PEM certificates, for people: where, and what. Not which reader objects to it.

use super::super::{der, is_decodable, pem};
use super::{ReaderFault, find, line_of};

const DASHES: &[u8] = b"-----";
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";

/// Further faults add no information.
const ENOUGH: usize = 20;

/// Everything unusual in `content`, in the order of the lines.
pub(super) fn faults(content: &[u8]) -> Vec<ReaderFault> {
    if content.starts_with(b"\xff\xfe") || content.starts_with(b"\xfe\xff") || is_utf_16(content) {
        return vec![ReaderFault { line: 1, what: "text in UTF-16" }];
    }
    if content.starts_with(&[0x30]) && find(content, BEGIN, 0).is_none() {
        return vec![ReaderFault { line: 1, what: "DER instead of PEM" }];
    }
    if content.contains(&b'\r') && !content.contains(&b'\n') && find(content, BEGIN, 0).is_some() {
        return vec![ReaderFault { line: 1, what: "line ends that are a carriage return alone" }];
    }
    let mut faults = Vec::new();
    // The label of the current block.
    let mut open: Option<&[u8]> = None;
    let mut short = false;
    for (index, raw) in content.split(|byte| *byte == b'\n').enumerate() {
        if faults.len() >= ENOUGH {
            break;
        }
        let mut fault = |what| faults.push(ReaderFault { line: index + 1, what });
        if raw.contains(&0) {
            fault("a NUL byte");
        }
        let text = raw.trim_ascii_end();
        let marker =
            find(text, BEGIN, 0).map(|at| (at, true)).or_else(|| find(text, END, 0).map(|at| (at, false)));
        match (marker, open) {
            (Some((at, begins)), _) => {
                if text[..at].starts_with(b"\xef\xbb\xbf") {
                    fault("a byte order mark before BEGIN");
                } else if at > 0 {
                    fault(if begins { "text before BEGIN" } else { "text before END" });
                }
                let label = &text[at + if begins { BEGIN.len() } else { END.len() }..];
                let closed = find(label, DASHES, 0);
                match closed {
                    None => fault("a marker without its five dashes at the end"),
                    Some(end) if label.len() > end + DASHES.len() => fault("text after a marker"),
                    Some(_) if !raw.ends_with(b"-") && text.len() < raw.trim_ascii_end().len() => {}
                    Some(_) => {}
                }
                let label = closed.map_or(label, |end| &label[..end]);
                match (begins, open) {
                    (true, Some(_)) => fault("a BEGIN line before the END line of the block above"),
                    (false, None) => fault("an END line without a BEGIN line"),
                    (false, Some(own)) if own != label => fault("an END line with another label than BEGIN"),
                    _ => {}
                }
                (open, short) = (begins.then_some(label), false);
            }
            (None, Some(_)) => {
                let bare = raw.strip_suffix(b"\r").unwrap_or(raw);
                if text.is_empty() {
                    fault("an empty line inside a PEM block");
                } else if text.contains(&b':') {
                    fault("a header inside a PEM block");
                } else if !text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte)) {
                    fault("characters inside a PEM block that are not base64");
                } else if bare.len() != text.len()
                    && !bare[text.len()..].iter().all(|byte| b" \t\r".contains(byte))
                {
                    fault("a control character at the end of a line");
                } else if short && text.len() > 64 {
                    fault("a line of base64 after a shorter one");
                }
                short |= text.len() < 64;
            }
            (None, None) => {
                if find(text, b"----BEGIN", 0).is_some() || find(text, b"BEGIN CERTIFICATE", 0).is_some() {
                    fault("a BEGIN line whose dashes are damaged");
                }
            }
        }
    }
    let is_certificate = |der: &[u8]| {
        der::DerReader::new(der).take(der::SEQUENCE).is_some_and(|whole| is_decodable(whole.raw))
    };
    for block in pem::blocks(content).into_iter().filter(|block| block.label == "CERTIFICATE") {
        if block.der.is_some_and(|der| !is_certificate(&der)) {
            let line = line_of(content, block.range.start);
            faults.push(ReaderFault { line, what: "a CERTIFICATE block that does not hold a certificate" });
        }
    }
    if open.is_some() {
        faults.push(ReaderFault {
            line: line_of(content, content.len()),
            what: "the file ends inside a PEM block",
        });
    }
    faults
}

/// Every second byte of the first characters is NUL.
fn is_utf_16(content: &[u8]) -> bool {
    let start = &content[..content.len().min(32)];
    let nul = |offset: usize| start.iter().skip(offset).step_by(2).all(|byte| *byte == 0);
    start.len() >= 16 && (nul(0) || nul(1))
}
