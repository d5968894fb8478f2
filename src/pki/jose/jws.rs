//! JSON Web Signatures (RFC 7515): JSON Web Tokens (RFC 7519) in the compact form, ACME's requests in the flattened one.

use ring::hmac;
use serde::Serialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{MAX_TOKEN, decode, encode};
use crate::error::{Error, Result};
use crate::pki::key::{PrivateKey, PublicKey};

/// Header and claims of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedToken {
    /// The protected header.
    pub header: Map<String, Value>,
    /// The claims.
    pub claims: Map<String, Value>,
}

impl DecodedToken {
    /// A member of the header that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header.get(name)?.as_str()
    }

    /// A claim that is text.
    pub fn claim(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str()
    }

    /// A claim that is a time (RFC 7519 section 2, NumericDate), in whole seconds since 1970.
    pub fn time(&self, name: &str) -> Option<i64> {
        let value = self.claims.get(name)?;
        // As a cast: what is out of range becomes the nearest number.
        value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
    }

    /// The token's recipients: one text or several (RFC 7519 section 4.1.3).
    pub fn audience(&self) -> Vec<&str> {
        self.texts("aud")
    }

    /// A claim that is one text or a list of them.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        texts(self.claims.get(name))
    }

    /// A member of the header that is one text or a list of them.
    pub(crate) fn header_texts(&self, name: &str) -> Vec<&str> {
        texts(self.header.get(name))
    }
}

fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Signs `claims`; `header` may add to `alg` and `typ`, which are set here.
pub fn sign(
    key: &PrivateKey,
    header: Map<String, Value>,
    claims: &impl Serialize,
) -> Result<Zeroizing<String>> {
    let failed = |error: serde_json::Error| Error::failed("could not write the token").because(error);
    let mut protected = header;
    protected.insert("alg".to_owned(), key.public().jws_algorithm().into());
    protected.insert("typ".to_owned(), "JWT".into());
    let header = encode(Value::Object(protected).to_string().as_bytes());
    let claims = encode(&serde_json::to_vec(claims).map_err(failed)?);
    let mut token = Zeroizing::new(String::with_capacity(header.len() + claims.len() + 1024));
    token.push_str(&header);
    token.push('.');
    token.push_str(&claims);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    token.push_str(&encode(&signature));
    Ok(token)
}

/// Signs `payload` in the flattened JSON form (RFC 7515 section 7.2.2); `header` may add to `alg`, which is set here.
///
/// # Errors
/// The system has no randomness.
pub(crate) fn flattened(key: &PrivateKey, header: Map<String, Value>, payload: &[u8]) -> Result<Value> {
    flattened_by(key.public().jws_algorithm(), header, payload, |message| key.sign(message))
}

/// The same with a shared key (HS256, RFC 7518 section 3.2).
///
/// # Errors
/// None.
pub(crate) fn flattened_with_mac(
    mac_key: &[u8],
    header: Map<String, Value>,
    payload: &[u8],
) -> Result<Value> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, mac_key);
    flattened_by("HS256", header, payload, |message| Ok(hmac::sign(&key, message).as_ref().to_vec()))
}

fn flattened_by(
    algorithm: &str,
    mut header: Map<String, Value>,
    payload: &[u8],
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>>,
) -> Result<Value> {
    header.insert("alg".to_owned(), algorithm.into());
    let protected = encode(Value::Object(header).to_string().as_bytes());
    let payload = encode(payload);
    let signature = encode(&sign(format!("{protected}.{payload}").as_bytes())?);
    Ok(json!({ "protected": protected, "payload": payload, "signature": signature }))
}

/// Header and claims of a token whose signature was not checked: for messages, never for decisions about trust.
///
/// # Errors
/// It is not a token: not three parts of base64url, not JSON.
pub fn peek(token: &str) -> Result<DecodedToken> {
    read(token).map(|(token, ..)| token)
}

/// The token, if `key` signed it.
///
/// # Errors
/// It is not a token, names another algorithm than the key's, has critical extensions, or a signature of another key.
pub fn verify(token: &str, key: &PublicKey) -> Result<DecodedToken> {
    let (parsed, message, signature) = read(token)?;
    if parsed.header("alg") != Some(key.jws_algorithm()) || parsed.header.contains_key("crit") {
        return Err(Error::not_trusted("the token is signed in another way than its key signs"));
    }
    if !key.verifies(message.as_bytes(), &signature) {
        return Err(Error::not_trusted("the token's signature is not that of its key"));
    }
    Ok(parsed)
}

/// The token, the signed text, and the signature.
fn read(token: &str) -> Result<(DecodedToken, &str, Vec<u8>)> {
    if token.len() > MAX_TOKEN {
        return Err(no_token(&format!("it is longer than {} KiB", MAX_TOKEN / 1024)));
    }
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(no_token("it does not have three parts with a dot between them"));
    };
    let object = |part: &str, name: &str| {
        let bytes = decode(part).ok_or_else(|| no_token(&format!("its {name} is not base64url")))?;
        serde_json::from_slice::<Map<String, Value>>(&bytes)
            .map_err(|_| no_token(&format!("its {name} is not a JSON object")))
    };
    let parsed = DecodedToken { header: object(header, "header")?, claims: object(claims, "body")? };
    let signed = &token[..header.len() + 1 + claims.len()];
    let signature = decode(signature).ok_or_else(|| no_token("its signature is not base64url"))?;
    Ok((parsed, signed, signature))
}

fn no_token(why: &str) -> Error {
    Error::usage(format!("not a token: {why}"))
        .hint("a token is what `trustup token` or `step ca token` prints: one line that begins with `ey`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::cert::testing::Xorshift;
    use crate::pki::key::KeyType;

    fn claims() -> Value {
        json!({"sub": "web", "aud": "https://ca/1.0/sign", "iat": 5, "exp": 5.9, "sans": ["a", "b"]})
    }

    #[test]
    fn what_was_signed_is_verified_and_nothing_else() {
        let other = PrivateKey::generate(KeyType::EcP256).expect("a key");
        for kind in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048, KeyType::Ed25519] {
            let key = PrivateKey::generate(kind).expect("a key");
            let header = Map::from_iter([("kid".to_owned(), json!("k"))]);
            let token = sign(&key, header, &claims()).expect("signed");
            let read = verify(&token, key.public()).expect("verified");
            assert_eq!(read, peek(&token).expect("a token"));
            assert_eq!([read.header("kid"), read.header("typ")], [Some("k"), Some("JWT")]);
            assert_eq!(read.claim("sub"), Some("web"));
            assert_eq!([read.time("iat"), read.time("exp"), read.time("nbf")], [Some(5), Some(5), None]);
            assert_eq!((read.audience(), read.texts("sans")), (vec!["https://ca/1.0/sign"], vec!["a", "b"]));
            assert_eq!(verify(&token, other.public()).expect_err("another key").kind().exit_code(), 4);
            // Another body under the same signature.
            let parts: Vec<&str> = token.split('.').collect();
            let forged = format!("{}.{}.{}", parts[0], encode(br#"{"sub":"x"}"#), parts[2]);
            assert!(verify(&forged, key.public()).is_err(), "{kind}");
            // The header is signed, too: a forged algorithm does not matter.
            for algorithm in ["none", "HS256", "ES256K"] {
                let header = encode(json!({ "alg": algorithm }).to_string().as_bytes());
                for signature in ["", parts[2]] {
                    assert!(verify(&format!("{header}.{}.{signature}", parts[1]), key.public()).is_err());
                }
            }
        }
    }

    #[test]
    fn the_flattened_form_is_the_compact_one_in_parts() {
        let text = |jws: &Value, part: &str| jws[part].as_str().expect(part).to_owned();
        for kind in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048, KeyType::Ed25519] {
            let key = PrivateKey::generate(kind).expect("a key");
            let header = Map::from_iter([("nonce".to_owned(), json!("n"))]);
            let jws = flattened(&key, header, br#"{"a":1}"#).expect("signed");
            let token = ["protected", "payload", "signature"].map(|part| text(&jws, part)).join(".");
            let read = verify(&token, key.public()).expect("verified");
            assert_eq!((read.header("nonce"), read.header("typ")), (Some("n"), None), "{kind}");
            assert_eq!(read.claims, Map::from_iter([("a".to_owned(), json!(1))]));
            let empty = flattened(&key, Map::new(), b"").expect("signed");
            assert_eq!(
                text(&empty, "payload"),
                "",
                "POST-as-GET has an empty payload (RFC 8555 section 6.3)"
            );
        }
    }

    #[test]
    fn a_mac_is_that_of_rfc_7515() {
        // Appendix A.1: the key, and the signature over `header.payload`; the header there has white space.
        let key =
            decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
                .expect("base64url");
        let message = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), message.as_bytes());
        assert_eq!(encode(tag.as_ref()), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        let jws = flattened_with_mac(&key, Map::new(), b"x").expect("signed");
        let header = decode(jws["protected"].as_str().expect("text")).expect("base64url");
        assert_eq!(header, br#"{"alg":"HS256"}"#);
        let message = format!("{}.{}", encode(&header), encode(b"x"));
        let tag = decode(jws["signature"].as_str().expect("text")).expect("base64url");
        assert!(hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key), message.as_bytes(), &tag).is_ok());
    }

    #[test]
    fn critical_extensions_are_refused() {
        let key = PrivateKey::generate(KeyType::EcP256).expect("a key");
        let header = Map::from_iter([("crit".to_owned(), json!(["b64"]))]);
        let token = sign(&key, header, &claims()).expect("signed");
        assert!(verify(&token, key.public()).is_err());
    }

    #[test]
    fn the_vector_of_the_rfc_is_verified() {
        // RFC 7515 appendix A.3.
        let key = super::super::jwk::parse(&json!({
            "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }))
        .expect("a key");
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        assert_eq!(verify(token, &key).expect("verified").claim("iss"), Some("joe"));
    }

    #[test]
    fn no_input_makes_it_panic_and_no_error_shows_the_token() {
        for text in ["", ".", "..", "a.b.c", "e30.e30", "e30.e30.e30.e30", "e30.W10.", "e30. .", "ßß.e30."]
        {
            let error = peek(text).err().map(|error| error.kind().exit_code());
            assert_eq!(error, Some(2), "{text}");
        }
        assert!(peek(&"a".repeat(MAX_TOKEN + 1)).is_err());
        let key = PrivateKey::generate(KeyType::EcP256).expect("a key");
        let token = sign(&key, Map::new(), &claims()).expect("signed");
        let mut random = Xorshift(0x5eed_0110);
        for _ in 0..2000 {
            let changed = random.mutate(token.as_bytes());
            let Ok(changed) = str::from_utf8(&changed) else { continue };
            if let Err(error) = peek(changed) {
                assert!(!format!("{error:?}").contains(&token[30..50]), "{error:?}");
            }
            assert!(verify(changed, key.public()).is_err() || changed == token.as_str());
        }
    }
}
