//! ECDSA (FIPS 186-5 section 6.4) on P-256, P-384 and P-521 with a hash of any length. Nothing here is secret.

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;

use crate::pki::cert::der::{self, DerReader};

/// NIST's curves that CAs use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EcCurve {
    /// secp256r1.
    P256,
    /// secp384r1.
    P384,
    /// secp521r1.
    P521,
}

impl EcCurve {
    /// By the content of its OBJECT IDENTIFIER (RFC 5480 section 2.1.1.1).
    pub(crate) fn from_oid(oid: &[u8]) -> Option<EcCurve> {
        match oid {
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7] => Some(EcCurve::P256),
            [0x2b, 0x81, 0x04, 0x00, 0x22] => Some(EcCurve::P384),
            [0x2b, 0x81, 0x04, 0x00, 0x23] => Some(EcCurve::P521),
            _ => None,
        }
    }

    /// Bytes of a coordinate.
    fn size(self) -> usize {
        match self {
            EcCurve::P256 => 32,
            EcCurve::P384 => 48,
            EcCurve::P521 => 66,
        }
    }
}

/// Whether `signature` (DER, RFC 3279 section 2.2.3) over a message with this digest is by the key with this point
/// (SEC 1 section 2.3.3).
pub(super) fn verify(curve: EcCurve, point: &[u8], digest: &[u8], signature: &[u8]) -> bool {
    let size = curve.size();
    let Some(numbers) = numbers(signature, size) else { return false };
    // The crate refuses digests shorter than half a coordinate. They are numbers: leading zeros change nothing.
    let zeros = vec![0; size.saturating_sub(digest.len())];
    let digest = [&zeros, digest].concat();
    macro_rules! verified {
        ($curve:ident) => {{
            let key = $curve::ecdsa::VerifyingKey::from_sec1_bytes(point);
            let signature = $curve::ecdsa::Signature::from_slice(&numbers);
            match (key, signature) {
                (Ok(key), Ok(signature)) => key.verify_prehash(&digest, &signature).is_ok(),
                _ => false,
            }
        }};
    }
    match curve {
        EcCurve::P256 => verified!(p256),
        EcCurve::P384 => verified!(p384),
        EcCurve::P521 => verified!(p521),
    }
}

/// r and s, each of this size, from Ecdsa-Sig-Value.
fn numbers(signature: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut parts = DerReader::new(der::only(signature, der::SEQUENCE)?.body);
    let mut numbers = Vec::with_capacity(2 * size);
    for _ in 0..2 {
        let number = parts.take(der::INTEGER)?.body;
        let digits = match number {
            [0, digits @ ..] => digits,
            [0x80..=0xff, ..] => return None,
            digits => digits,
        };
        numbers.extend(std::iter::repeat_n(0, size.checked_sub(digits.len())?));
        numbers.extend(digits);
    }
    parts.is_empty().then_some(numbers)
}
