//! PEM (RFC 7468): a lenient reader of existing bundles, and the one writer.
//!
//! The reader never fails, never panics, and takes time in proportion to the input: it reports what is there, whole or
//! not. What of it may be trusted is decided elsewhere (`input` for our input). The writer is the only code that turns
//! a certificate into text.

use std::ops::Range;

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use zeroize::{Zeroize as _, Zeroizing};

/// As OpenSSL and Go decode: padding is required, excess bits of the last character may have any value.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&ALPHABET, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// RFC 7468 section 2: 64 characters a line.
const COLUMNS: usize = 64;

/// No label is longer.
const LABEL_LIMIT: usize = 64;

/// One block of a PEM file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemBlock {
    /// The text between `-----BEGIN ` and the dashes: printable ASCII.
    pub(crate) label: String,
    /// The decoded body; `None` if it cannot be decoded (see `fault`).
    pub der: Option<Vec<u8>>,
    /// Why there is no `der`.
    pub(crate) fault: Option<PemFault>,
    /// The block's bytes in the file, its END line and that line's ending included.
    pub range: Range<usize>,
    /// Whether BEGIN and END are alone on their lines. OpenSSL reads no other block, and refuses the whole file if
    /// something follows on the END line.
    pub(crate) own_lines: bool,
}

/// The fault of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PemFault {
    /// No END line of this label before the next BEGIN line.
    NoEnd,
    /// The body is not base64.
    NotBase64,
}

/// Where a block is, before its body is decoded.
pub(crate) struct Span<'a> {
    /// The text between `-----BEGIN ` and the dashes: printable ASCII.
    label: &'a str,
    /// From the BEGIN marker to the END marker, both included.
    pub(crate) text: Range<usize>,
    /// What is between the markers.
    body: Range<usize>,
    /// The block's bytes in the file, its END line and that line's ending included.
    pub(crate) range: Range<usize>,
    /// Whether there is an END marker of this label.
    pub(super) is_closed: bool,
    /// Whether BEGIN and END are alone on their lines.
    own_lines: bool,
}

/// A BEGIN or END marker.
struct Boundary<'a> {
    begin: bool,
    label: &'a str,
    range: Range<usize>,
}

/// All blocks of a file in order, damaged ones too. Text around them, a byte order mark, CRLF, several markers on
/// one line and a missing last line ending are tolerated.
pub fn blocks(bytes: &[u8]) -> Vec<PemBlock> {
    iter(bytes).collect()
}

/// The same, one after the other: for possibly hostile input, in which a block costs more memory than its bytes.
pub(super) fn iter(bytes: &[u8]) -> impl Iterator<Item = PemBlock> {
    spans(bytes).map(|span| block(bytes, &span))
}

/// Where the blocks of a file are: the same ones, not decoded.
pub(crate) fn spans(bytes: &[u8]) -> impl Iterator<Item = Span<'_>> {
    let mut open: Option<Boundary<'_>> = None;
    let mut position = 0;
    std::iter::from_fn(move || {
        while let Some(boundary) = next_boundary(bytes, position) {
            position = boundary.range.end;
            if boundary.begin {
                let start = boundary.range.start;
                if let Some(open) = open.replace(boundary) {
                    return Some(Span::open(&open, start));
                }
            } else if let Some(open) = open.take() {
                let is_closed = open.label == boundary.label;
                position = line_end(bytes, boundary.range.end).unwrap_or(boundary.range.end);
                return Some(Span {
                    label: open.label,
                    text: open.range.start..boundary.range.end,
                    body: open.range.end..boundary.range.start,
                    range: open.range.start..position,
                    is_closed,
                    own_lines: is_closed
                        && stands_alone(bytes, &open.range)
                        && stands_alone(bytes, &boundary.range),
                });
            }
        }
        position = bytes.len();
        Some(Span::open(&open.take()?, position))
    })
}

impl<'a> Span<'a> {
    /// A block without an END marker, which ends at `end`.
    fn open(begin: &Boundary<'a>, end: usize) -> Self {
        let range = begin.range.start..end;
        Span {
            label: begin.label,
            text: range.clone(),
            body: begin.range.end..end,
            range,
            is_closed: false,
            own_lines: false,
        }
    }
}

/// A certificate as PEM: 64 columns, LF, a newline at the end.
pub fn encode(der: &[u8]) -> String {
    armor("CERTIFICATE", der)
}

/// Any content as PEM, like [`encode`].
pub(crate) fn armor(label: &str, der: &[u8]) -> String {
    // It may be a key.
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut pem = String::with_capacity(body.len() + body.len() / COLUMNS + 2 * label.len() + 40);
    pem.push_str("-----BEGIN ");
    pem.push_str(label);
    pem.push_str("-----\n");
    for (at, c) in body.char_indices() {
        if at > 0 && at % COLUMNS == 0 {
            pem.push('\n');
        }
        pem.push(c);
    }
    pem.push_str("\n-----END ");
    pem.push_str(label);
    pem.push_str("-----\n");
    pem
}

/// Bytes of base64 with any white space in between; `None` if they are anything else.
pub(super) fn decode_base64(body: &[u8]) -> Option<Vec<u8>> {
    LENIENT.decode(without_blanks(body)).ok()
}

/// Without any white space.
pub(super) fn without_blanks(body: &[u8]) -> Vec<u8> {
    let mut dense = Vec::with_capacity(body.len());
    for line in body.split(u8::is_ascii_whitespace) {
        dense.extend_from_slice(line);
    }
    dense
}

fn block(bytes: &[u8], span: &Span<'_>) -> PemBlock {
    let der = span.is_closed.then(|| {
        let mut dense = without_blanks(without_headers(&bytes[span.body.clone()]));
        let der = LENIENT.decode(&dense).ok();
        // Certificates are many and not secret.
        if span.label.ends_with("PRIVATE KEY") {
            dense.zeroize();
        }
        der
    });
    let der = der.flatten();
    let fault = match (span.is_closed, &der) {
        (false, _) => Some(PemFault::NoEnd),
        (true, None) => Some(PemFault::NotBase64),
        (true, Some(_)) => None,
    };
    PemBlock {
        label: span.label.to_owned(),
        der,
        fault,
        range: span.range.clone(),
        own_lines: span.own_lines,
    }
}

/// The next marker at or after `from`.
fn next_boundary(bytes: &[u8], mut from: usize) -> Option<Boundary<'_>> {
    const DASHES: &[u8] = b"-----";
    loop {
        from += memchr::memchr(b'-', &bytes[from..])?;
        if !bytes[from..].starts_with(DASHES) {
            from += 1;
            continue;
        }
        let start = from;
        let behind = &bytes[start + DASHES.len()..];
        let (begin, word) = if behind.starts_with(b"BEGIN ") { (true, 6) } else { (false, 4) };
        if begin || behind.starts_with(b"END ") {
            let behind = &behind[word..];
            let near = &behind[..behind.len().min(LABEL_LIMIT + DASHES.len())];
            let label = near.windows(DASHES.len()).position(|window| window == DASHES).and_then(|length| {
                str::from_utf8(&near[..length])
                    .ok()
                    .filter(|label| label.bytes().all(|byte| matches!(byte, 0x20..=0x7e)))
            });
            if let Some(label) = label {
                let end = start + DASHES.len() + word + label.len() + DASHES.len();
                return Some(Boundary { begin, label, range: start..end });
            }
        }
        // Only one further: of six dashes the last five may be the marker's.
        from = start + 1;
    }
}

/// The position after the line's ending, if only blanks follow `from`.
fn line_end(bytes: &[u8], from: usize) -> Option<usize> {
    let blanks = bytes[from..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let at = from + blanks;
    match &bytes[at..] {
        [] => Some(at),
        [b'\r', b'\n', ..] => Some(at + 2),
        [b'\r' | b'\n', ..] => Some(at + 1),
        _ => None,
    }
}

fn stands_alone(bytes: &[u8], marker: &Range<usize>) -> bool {
    let before = &bytes[..marker.start];
    let starts_line =
        before.is_empty() || before == b"\xef\xbb\xbf" || before.ends_with(b"\n") || before.ends_with(b"\r");
    starts_line && line_end(bytes, marker.end).is_some()
}

/// The body without the headers of RFC 1421 (`Proc-Type: …`), which end at an empty line.
fn without_headers(body: &[u8]) -> &[u8] {
    if !body.contains(&b':') {
        return body;
    }
    let mut offset = 0;
    for (number, line) in body.split_inclusive(|byte| *byte == b'\n').enumerate() {
        offset += line.len();
        // The first line is what is left of the BEGIN line.
        if number > 0 && line.trim_ascii().is_empty() {
            return &body[offset..];
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TestCertificate, Xorshift};
    use super::*;

    fn ders(text: &str) -> Vec<Option<Vec<u8>>> {
        blocks(text.as_bytes()).into_iter().map(|block| block.der).collect()
    }

    #[test]
    fn what_was_encoded_is_read_back() {
        for length in [1, 47, 48, 49, 95, 96, 97, 1000] {
            let der = vec![0x5a; length];
            let pem = encode(&der);
            assert!(
                pem.lines().all(|line| line.len() <= COLUMNS)
                    && pem.ends_with("-----\n")
                    && !pem.contains("\n\n")
            );
            let found = blocks(pem.as_bytes());
            assert_eq!(found.len(), 1);
            assert_eq!(
                (&found[0].der, &found[0].range, found[0].own_lines),
                (&Some(der), &(0..pem.len()), true)
            );
        }
    }

    #[test]
    fn text_byte_order_mark_crlf_and_a_missing_newline_are_tolerated() {
        let (a, b) = (encode(b"first"), encode(b"second"));
        let wanted = vec![Some(b"first".to_vec()), Some(b"second".to_vec())];
        for text in [
            format!("{a}{b}"),
            format!("\u{feff}{a}{b}"),
            format!("# one\n{a}\n\n# two, - dashes -- -----\n{b}trailing"),
            format!("{a}{b}").replace('\n', "\r\n"),
            format!("{a}{b}").replace('\n', "\r"),
            format!("{a}{b}").trim_end().to_owned(),
            format!("{a}{b}").replace('\n', " \t\n"),
        ] {
            let found = blocks(text.as_bytes());
            assert_eq!(ders(&text), wanted, "{text}");
            assert!(found.iter().all(|block| block.own_lines && block.fault.is_none()), "{text}");
            for block in &found {
                let own = &text[block.range.clone()];
                assert!(own.starts_with("-----BEGIN ") && own.trim_end().ends_with("-----"), "{own}");
                assert!(own.ends_with(['\n', '\r']) || block.range.end == text.len());
            }
        }
    }

    #[test]
    fn markers_on_one_line_are_found_and_flagged() {
        let (a, b) = (encode(b"first"), encode(b"second"));
        let glued = format!("{}{b}", a.trim_end());
        let found = blocks(glued.as_bytes());
        assert_eq!(ders(&glued), [Some(b"first".to_vec()), Some(b"second".to_vec())]);
        assert_eq!([found[0].own_lines, found[1].own_lines], [false, false]);
        assert_eq!(found[0].range.end, found[1].range.start);

        let inside = format!("# x {a}");
        assert_eq!(ders(&inside), [Some(b"first".to_vec())]);
        assert!(!blocks(inside.as_bytes())[0].own_lines);
        assert_eq!(ders(&format!("-{a}")), [Some(b"first".to_vec())]);
    }

    #[test]
    fn damaged_blocks_are_reported_and_do_not_hide_others() {
        let (a, b) = (encode(b"first"), encode(b"second"));
        let cut = &a[..a.len() - 10];
        let text = format!("{cut}\n{b}{cut}");
        let found = blocks(text.as_bytes());
        assert_eq!(ders(&text), [None, Some(b"second".to_vec()), None]);
        assert_eq!(
            [found[0].fault, found[1].fault, found[2].fault],
            [Some(PemFault::NoEnd), None, Some(PemFault::NoEnd)]
        );
        assert_eq!(found[2].range.end, text.len());

        let other_end = a.replace("END CERTIFICATE", "END X509 CRL");
        assert_eq!(blocks(other_end.as_bytes())[0].fault, Some(PemFault::NoEnd));
        let not_base64 = "-----BEGIN X-----\nZm9v!mFy\n-----END X-----\n";
        assert_eq!(blocks(not_base64.as_bytes())[0].fault, Some(PemFault::NotBase64));
        let no_padding = "-----BEGIN X-----\nZm8\n-----END X-----\n";
        assert_eq!(blocks(no_padding.as_bytes())[0].fault, Some(PemFault::NotBase64));
        assert_eq!(blocks(b"-----END X-----\n"), []);
        assert_eq!(blocks(b"-----BEGIN \xff-----\nZm8=\n-----END \xff-----\n"), []);
    }

    #[test]
    fn headers_end_at_an_empty_line() {
        let text = "-----BEGIN X-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\nZm8=\n-----END X-----\n";
        assert_eq!(ders(text), [Some(b"fo".to_vec())]);
        assert_eq!(ders(&text.replace('\n', "\r\n")), [Some(b"fo".to_vec())]);
        assert_eq!(ders("-----BEGIN X-----\nA: b\nZm8=\n-----END X-----\n"), [None]);
    }

    #[test]
    fn no_input_makes_it_panic_and_ranges_never_overlap() {
        let mut random = Xorshift(0x5eed_0001);
        let text = format!(
            "# a\r\n{}{}x{}",
            encode(&TestCertificate::default().der()),
            encode(b"x").trim_end(),
            encode(b"y")
        );
        for _ in 0..5000 {
            let bytes = random.mutate(text.as_bytes());
            let mut end = 0;
            for block in blocks(&bytes) {
                assert!(block.range.start >= end && block.range.end <= bytes.len());
                assert!(bytes[block.range.clone()].starts_with(b"-----BEGIN "));
                assert_eq!(block.der.is_none(), block.fault.is_some());
                end = block.range.end;
            }
        }
    }

    #[test]
    fn many_markers_take_linear_time() {
        // Two mebibytes each of what makes a careless reader quadratic; a quadratic one would not finish.
        for piece in
            ["-----BEGIN X-----\n", "-----END X-----", "-----BEGIN ", "-", "-----BEGIN X-----\nA: b\n"]
        {
            let text = piece.repeat((2 << 20) / piece.len());
            assert!(blocks(text.as_bytes()).iter().all(|block| block.der.is_none()));
        }
    }
}
