//! The base64 decoders of the readers: they differ in what they skip and in how they treat excess bits.

use ::base64::Engine as _;
use ::base64::alphabet::STANDARD as ALPHABET;
use ::base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

/// Padding is required, excess bits of the last character may have any value.
const ANY_LAST_BITS: GeneralPurpose =
    GeneralPurpose::new(&ALPHABET, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// `EVP_DecodeUpdate`: blanks and line ends are skipped, a dash ends the data.
pub(super) fn openssl(body: &[u8]) -> Option<Vec<u8>> {
    decode(&ANY_LAST_BITS, before_dash(body), |byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Go's `encoding/base64` behind `encoding/pem`: the same, but a dash is an error.
pub(super) fn go(body: &[u8]) -> Option<Vec<u8>> {
    decode(&ANY_LAST_BITS, body, |byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// GnuTLS (nettle): a dash ends the data, excess bits must be zero.
pub(super) fn gnutls(body: &[u8]) -> Option<Vec<u8>> {
    decode(&STANDARD, before_dash(body), is_space)
}

/// p11-kit: all white space is skipped, excess bits must be zero. After the padding the very last character is ignored.
pub(super) fn p11_kit(body: &[u8]) -> Option<Vec<u8>> {
    let Some(padding) = body.iter().position(|byte| *byte == b'=') else {
        return decode(&STANDARD, body, is_space);
    };
    let (data, behind) = body.split_at(padding);
    let behind = match behind.split_last() {
        Some((last, rest)) if *last != b'=' => rest,
        _ => behind,
    };
    decode(&STANDARD, &[data, behind].concat(), is_space)
}

/// C's `isspace`.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn before_dash(body: &[u8]) -> &[u8] {
    body.split(|byte| *byte == b'-').next().unwrap_or_default()
}

fn decode(engine: &GeneralPurpose, body: &[u8], skipped: impl Fn(u8) -> bool) -> Option<Vec<u8>> {
    let dense: Vec<u8> = body.iter().copied().filter(|byte| !skipped(*byte)).collect();
    engine.decode(dense).ok().filter(|decoded| !decoded.is_empty())
}
