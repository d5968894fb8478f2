//! The form in which every program writes bundles, and which every reader reads the same way: a fast path, and the form
//! of trustup's own writer.

use super::whole_certificate;
use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";
/// Lines of a body have this many characters, except for the last.
const COLUMNS: usize = 64;
/// Longer lines are read in parts by OpenSSL, and a part might look like a marker.
const LONGEST: usize = 250;

/// The certificates of a file in that form, as DER; `None` if it contains anything else: another label, an odd line, a
/// marker inside text, a control character.
pub(super) fn read(content: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut certificates = Vec::new();
    let mut body: Option<Vec<u8>> = None;
    let mut is_short = false;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match &mut body {
            None if line == BEGIN => (body, is_short) = (Some(Vec::new()), false),
            None if is_harmless(line) => {}
            None => return None,
            Some(characters) if line == END => {
                let der = STANDARD.decode(&characters).ok()?;
                whole_certificate(&der)?;
                certificates.push(der);
                body = None;
            }
            Some(characters) => {
                let fits = !is_short && (1..=COLUMNS).contains(&line.len());
                if !fits || !line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte)) {
                    return None;
                }
                is_short = line.len() < COLUMNS;
                characters.extend_from_slice(line);
            }
        }
    }
    body.is_none().then_some(certificates)
}

/// Text between blocks in which no reader sees a marker.
fn is_harmless(line: &[u8]) -> bool {
    line.len() <= LONGEST
        && !line.starts_with(b"\xef\xbb\xbf")
        && line.iter().all(|byte| *byte >= b' ' || *byte == b'\t')
        && !line.windows(5).any(|window| window == b"-----")
        && !line.windows(18).any(|window| window == b"p11-kit-object-v1]")
}
