//! Public keys as JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037). Private ones are read by
//! [`PrivateKey::from_jwk`](crate::pki::key::PrivateKey::from_jwk).

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{decode, encode};
use crate::error::{Error, Result};
use crate::pki::key::{Curve, PublicKey};

/// The members that make a public key, and no other.
pub fn of(key: &PublicKey) -> Value {
    match key {
        PublicKey::Ec { curve, point } => {
            let (x, y) = point.split_at(1).1.split_at(curve.size());
            json!({"crv": curve.name(), "kty": "EC", "x": encode(x), "y": encode(y)})
        }
        PublicKey::Rsa { modulus, exponent } => {
            json!({"e": encode(exponent), "kty": "RSA", "n": encode(modulus)})
        }
        PublicKey::Ed25519 { bytes } => json!({"crv": "Ed25519", "kty": "OKP", "x": encode(bytes)}),
    }
}

/// Reads a public key; members that are not needed (also those of a private key) are ignored.
///
/// # Errors
/// Damaged, or of a kind that is not supported.
pub fn parse(jwk: &Value) -> Result<PublicKey> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let number = |name: &str| text(name).and_then(decode);
    let key = match (text("kty"), text("crv")) {
        (Some("EC"), Some(curve)) => Curve::from_name(curve).and_then(|curve| {
            let (x, y) = (number("x")?, number("y")?);
            let whole = x.len() == curve.size() && y.len() == curve.size();
            whole.then(|| PublicKey::Ec { curve, point: [&[4], &x[..], &y].concat() })
        }),
        (Some("OKP"), Some("Ed25519")) => {
            number("x").filter(|x| x.len() == 32).map(|bytes| PublicKey::Ed25519 { bytes })
        }
        (Some("RSA"), _) => number("n").zip(number("e")).map(|(modulus, exponent)| {
            let bare = |number: Vec<u8>| number.into_iter().skip_while(|digit| *digit == 0).collect();
            PublicKey::Rsa { modulus: bare(modulus), exponent: bare(exponent) }
        }),
        _ => None,
    };
    key.ok_or_else(|| Error::unsupported("unsupported JSON Web Key"))
}

/// The key's thumbprint (RFC 7638) with SHA-256, base64url: the key id that step gives a provisioner's key.
pub fn thumbprint(key: &PublicKey) -> String {
    // The members of `of` are the required ones, their order is the alphabet's, and there is no white space.
    encode(&Sha256::digest(of(key).to_string()))
}

/// A JWK's own `kid`.
pub(crate) fn key_id(jwk: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        kid: Option<String>,
    }
    serde_json::from_slice::<Named>(jwk).ok()?.kid.filter(|kid| !kid.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::key::{KeyType, PrivateKey};

    #[test]
    fn the_thumbprint_is_that_of_the_rfc() {
        // RFC 7638 section 3.1 and RFC 8037 appendix A.3.
        let rsa = json!({
            "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
        });
        let key = parse(&rsa).expect("a key");
        assert_eq!(thumbprint(&key), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        let key = parse(&ed).expect("a key");
        assert_eq!(thumbprint(&key), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn what_was_written_is_read_back() {
        for kind in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048, KeyType::Ed25519] {
            let key = PrivateKey::generate(kind).expect("a key");
            let jwk = of(key.public());
            assert_eq!(parse(&jwk).expect("a JWK"), *key.public(), "{kind}");
            assert!(jwk.get("d").is_none());
        }
    }

    #[test]
    fn others_are_refused() {
        for jwk in [
            json!({}),
            json!([]),
            json!({"kty": "oct", "k": "AA"}),
            json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}),
            json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}),
            json!({"kty": "OKP", "crv": "X25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
            json!({"kty": "RSA", "e": "AQAB"}),
            json!({"kty": 1}),
        ] {
            assert!(parse(&jwk).is_err(), "{jwk}");
        }
        assert_eq!(key_id(br#"{"kid":"a","d":"x"}"#).as_deref(), Some("a"));
        assert_eq!([key_id(b"{}"), key_id(b"x"), key_id(br#"{"kid":""}"#)], [None, None, None]);
    }
}
