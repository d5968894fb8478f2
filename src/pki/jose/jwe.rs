//! JSON Web Encryption (RFC 7516) under a password, as step-ca stores its provisioners' keys: PBES2-HS256+A128KW (RFC
//! 7518 section 4.8) around A256GCM or A128GCM, and nothing else: no compression, no extensions (threat T19).
//!
//! PBKDF2 uses RustCrypto's `sha2`, built for speed: it takes half the time of ring's.

use aes_kw::{KeyInit as _, KwAes128};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::kdf::pbkdf2;
use super::{decode, encode};
use crate::error::{Error, Result};

/// More are refused before anything is derived: they cost seconds, and the number is untrusted.
pub(crate) const MAX_ITERATIONS: u32 = 5_000_000;

/// The longest input, in bytes: a private RSA key of 4096 bits needs 6 KiB.
const MAX_LENGTH: usize = 64 * 1024;

/// RFC 7518 section 4.8.1.1 requires 8 bytes at least.
const SALT: std::ops::RangeInclusive<usize> = 8..=1024;

const ALGORITHM: &str = "PBES2-HS256+A128KW";
const TAG: usize = 16;

/// The protected header.
#[derive(Deserialize)]
struct Header {
    alg: String,
    enc: String,
    p2s: Option<String>,
    p2c: Option<u64>,
    zip: Option<Value>,
    crit: Option<Value>,
}

/// Decrypts a compact JWE.
///
/// # Errors
/// Damaged, encrypted in another way, too many iterations; a wrong password is [`ErrorKind::NotTrusted`].
///
/// [`ErrorKind::NotTrusted`]: crate::error::ErrorKind::NotTrusted
pub fn decrypt(compact: &str, password: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let compact = compact.trim_ascii();
    if compact.len() > MAX_LENGTH {
        return Err(damaged("it is too long"));
    }
    let mut parts = compact.split('.');
    let parts: [&str; 5] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    if compact.bytes().filter(|byte| *byte == b'.').count() != 4 {
        return Err(damaged("it does not have five parts"));
    }
    let [protected, wrapped, nonce, text, tag] = parts;
    let header = decode(protected).and_then(|json| serde_json::from_slice::<Header>(&json).ok());
    let header = header.ok_or_else(|| damaged("its header cannot be read"))?;
    let cipher = accept(&header)?;
    let (salt, iterations) = costs(&header)?;
    let not_base64 = || damaged("a part is not base64url");
    let (wrapped, nonce, tag) = (
        decode(wrapped).ok_or_else(not_base64)?,
        decode(nonce).ok_or_else(not_base64)?,
        decode(tag).ok_or_else(not_base64)?,
    );
    let mut data = Zeroizing::new(decode(text).ok_or_else(not_base64)?);
    let nonce = <[u8; 12]>::try_from(nonce).map_err(|_| damaged("its nonce has another length than 12"))?;
    if wrapped.len() != cipher.key_len() + 8 || tag.len() != TAG {
        return Err(damaged("its key or its tag has the wrong length"));
    }
    let mut content_key = Zeroizing::new(vec![0; cipher.key_len()]);
    wrapping_key(password, &salt, iterations)
        .unwrap_key(&wrapped, &mut content_key)
        .map_err(|_| wrong_password())?;
    data.extend_from_slice(&tag);
    let key = LessSafeKey::new(UnboundKey::new(cipher, &content_key).map_err(|_| wrong_password())?);
    let opened = key
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(protected.as_bytes()), &mut data)
        .map_err(|_| damaged("its content was changed"))?
        .len();
    data.truncate(opened);
    Ok(data)
}

/// Encrypts with A256GCM; step-ca uses 600,000 `iterations` today; fewer are for throwaway keys only.
pub fn encrypt(plain: &[u8], content_type: &str, password: &[u8], iterations: u32) -> Result<String> {
    let failed = |_| Error::failed("could not encrypt");
    let mut salt = [0; 16];
    let mut nonce = [0; 12];
    let mut content_key = Zeroizing::new([0; 32]);
    for bytes in [&mut salt[..], &mut nonce, content_key.as_mut_slice()] {
        crate::random::fill(bytes)?;
    }
    let protected = encode(
        json!({"alg": ALGORITHM, "cty": content_type, "enc": "A256GCM", "p2c": iterations, "p2s": encode(&salt)})
            .to_string()
            .as_bytes(),
    );
    let mut wrapped = [0; 40];
    wrapping_key(password, &salt, iterations)
        .wrap_key(content_key.as_slice(), &mut wrapped)
        .map_err(|_| Error::failed("could not encrypt"))?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, content_key.as_slice()).map_err(failed)?);
    let mut data = Zeroizing::new(plain.to_vec());
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(protected.as_bytes()),
            &mut data,
        )
        .map_err(failed)?;
    let parts = [protected, encode(&wrapped), encode(&nonce), encode(&data), encode(tag.as_ref())];
    Ok(parts.join("."))
}

/// Whether the header names exactly our algorithms.
fn accept(header: &Header) -> Result<&'static Algorithm> {
    let refuse = |what: String| Err(Error::unsupported(format!("the key is encrypted {what}")));
    if header.alg != ALGORITHM {
        return refuse(format!("with `{}`, not with `{ALGORITHM}`", crate::text::escape(&header.alg)));
    }
    if header.zip.is_some() {
        return refuse("and compressed".to_owned());
    }
    if header.crit.is_some() {
        return refuse("with critical extensions".to_owned());
    }
    match header.enc.as_str() {
        "A256GCM" => Ok(&AES_256_GCM),
        "A128GCM" => Ok(&AES_128_GCM),
        other => refuse(format!("with `{}`, not with `A256GCM` or `A128GCM`", crate::text::escape(other))),
    }
}

/// Salt and iterations, bounded.
fn costs(header: &Header) -> Result<(Vec<u8>, u32)> {
    let salt = header.p2s.as_deref().and_then(decode).filter(|salt| SALT.contains(&salt.len()));
    let salt = salt.ok_or_else(|| damaged("its salt is missing or has a wrong length"))?;
    match header.p2c {
        Some(0) | None => Err(damaged("its iteration count is missing")),
        Some(count) => match u32::try_from(count) {
            Ok(count) if count <= MAX_ITERATIONS => Ok((salt, count)),
            _ => Err(Error::unsupported(format!(
                "the key is encrypted with {count} iterations, more than {MAX_ITERATIONS}"
            ))
            .hint("that would take seconds: encrypt it again with fewer, on the CA's host")),
        },
    }
}

/// RFC 7518 section 4.8.1.1: the salt is the algorithm's name, a zero, and the header's salt.
fn wrapping_key(password: &[u8], salt: &[u8], iterations: u32) -> KwAes128 {
    let salt = [ALGORITHM.as_bytes(), &[0], salt].concat();
    let mut key = Zeroizing::new([0; 16]);
    key.copy_from_slice(&pbkdf2(password, &salt, iterations)[..16]);
    KwAes128::new((&*key).into())
}

fn damaged(why: &str) -> Error {
    Error::usage(format!("the encrypted key is damaged: {why}"))
}

fn wrong_password() -> Error {
    Error::not_trusted("the password is wrong").hint(
        "it is what `step ca init` or `step ca provisioner add` asked for, or what they were given as a file",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::cert::testing::{Xorshift, counted};

    /// Made for the tests of a client of step-ca, with another implementation; its private number is a pattern.
    const VECTOR: &str = concat!(
        "eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJjdHkiOiJqd2sranNvbiIsImVuYyI6IkEyNTZHQ00iLCJwMmMiOjIwMDAsInAycyI6Ijcx",
        "d0xrNUdNZk1VYzNEY05QcWRkYmcifQ.j7gY1iAkO4IRlpeIjG4MSzBOopUTr8Ctfk0l3a-Xf8etTwiJ8M4w1Q.2wKgUqV2COFhGGIU.DdSRo9",
        "okrfZSYNwwQilWyJvWwmIQcJG7Mp0ZUzM0AyeAvqEHZmCbeOJIAt1MtN8-TCjCUZJbxh3ex2pEjYZivSy8RXP9pxJB7wFojG_7jkdF11mEsrDq",
        "mA5MfKyBO2yqs9CKLqdpHbmKxcivcclBMsd5qTRf1xaZY_fy45TS_lSvCSznUWzEO8dh-rQ5z8OzXM4jpHvd_8-htMFQUnI1q-GDnO2bnb1zOS",
        "1zqPVzZUWR3TeJjlhKvVKH3eicnOrT4wIZV2rt1rB4lsW25VW1o_aB_zfy4TipnrTC1G0L5DGCN0t44m_v49L88Xl70S2gDuKFWBmu7Ym4HM-x",
        "fIo.NiNO9Tk-wmk8wHaLA0hiqA"
    );
    const PASSWORD: &[u8] = b"correct horse";

    #[test]
    fn another_implementations_key_is_decrypted() {
        let plain = decrypt(VECTOR, PASSWORD).expect("decrypted");
        assert!(
            plain.starts_with(
                br#"{"use":"sig","kty":"EC","kid":"D8HvZq-fumkXpCwYIpjAPoqJx7WoEcJUS7tPPyIEJKI""#
            )
        );
        let key = crate::pki::key::PrivateKey::from_jwk(&plain).expect("a key");
        assert_eq!(
            super::super::jwk::thumbprint(key.public()),
            "D8HvZq-fumkXpCwYIpjAPoqJx7WoEcJUS7tPPyIEJKI"
        );
        assert_eq!(decrypt(&format!("{VECTOR}\n"), PASSWORD).expect("with a newline"), plain);
    }

    #[test]
    fn what_was_encrypted_is_decrypted() {
        for plain in [&b""[..], b"x", &[7; 5000]] {
            let compact = encrypt(plain, "jwk+json", b"p", 3).expect("encrypted");
            assert_eq!(decrypt(&compact, b"p").expect("decrypted").as_slice(), plain);
            let error = decrypt(&compact, b"q").expect_err("another password");
            assert_eq!((error.kind().exit_code(), error.what()), (4, "the password is wrong"));
        }
        assert_ne!(encrypt(b"x", "a", b"p", 3).expect("one"), encrypt(b"x", "a", b"p", 3).expect("two"));
    }

    /// `VECTOR` with another header; the rest need not match, because the header is judged first.
    fn with_header(header: &str) -> String {
        let (_, rest) = VECTOR.split_once('.').expect("parts");
        format!("{}.{rest}", encode(header.as_bytes()))
    }

    #[test]
    fn the_older_encoding_is_read() {
        // A128GCM differs only in the length of the content key.
        let protected =
            encode(br#"{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":5,"p2s":"AAAAAAAAAAAAAAAAAAAAAA"}"#);
        let mut wrapped = [0; 24];
        wrapping_key(b"p", &[0; 16], 5).wrap_key(&[9; 16], &mut wrapped).expect("wrapped");
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[9; 16]).expect("a key"));
        let mut data = b"plain".to_vec();
        let nonce = Nonce::assume_unique_for_key([1; 12]);
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(protected.as_bytes()), &mut data)
            .expect("sealed");
        let parts = [&protected, &encode(&wrapped), &encode(&[1; 12]), &encode(&data), &encode(tag.as_ref())];
        let compact = parts.map(String::as_str).join(".");
        assert_eq!(decrypt(&compact, b"p").expect("decrypted").as_slice(), b"plain");
    }

    #[test]
    fn t19_costs_are_refused_before_they_are_paid() {
        for (count, code) in [
            ("2147483647", 5),
            ("5000001", 5),
            ("4294967296", 5),
            ("18446744073709551615", 5),
            ("0", 2),
            ("-1", 2),
            ("1e3", 2),
            ("\"1\"", 2),
            ("null", 2),
        ] {
            let header = format!(
                r#"{{"alg":"{ALGORITHM}","enc":"A256GCM","p2s":"71wLk5GMfMUc3DcNPqddbg","p2c":{count}}}"#
            );
            let (refused, derived) = counted(|| decrypt(&with_header(&header), PASSWORD));
            let error = refused.expect_err(count);
            assert_eq!((error.kind().exit_code(), derived), (code, 0), "{count}: {error}");
        }
    }

    #[test]
    fn t19_other_ways_and_odd_lengths_are_refused() {
        let header = |more: &str| format!(r#"{{"alg":"{ALGORITHM}","enc":"A256GCM","p2c":2000,{more}}}"#);
        let salt = r#""p2s":"71wLk5GMfMUc3DcNPqddbg""#;
        for (header, code) in [
            (header(&format!(r#"{salt},"zip":"DEF""#)), 5),
            (header(&format!(r#"{salt},"crit":["exp"]"#)), 5),
            (header(r#""p2s":"AAAA""#), 2),
            (header(&format!(r#""p2s":"{}""#, "A".repeat(1400))), 2),
            (header(r#""p2s":"**""#), 2),
            (header(r#""x":1"#), 2),
            (format!(r#"{{"alg":"PBES2-HS512+A256KW","enc":"A256GCM","p2c":2000,{salt}}}"#), 5),
            (format!(r#"{{"alg":"dir","enc":"A256GCM","p2c":2000,{salt}}}"#), 5),
            (format!(r#"{{"alg":"{ALGORITHM}","enc":"A128CBC-HS256","p2c":2000,{salt}}}"#), 5),
            // Its content key is too long for this one.
            (format!(r#"{{"alg":"{ALGORITHM}","enc":"A128GCM","p2c":2000,{salt}}}"#), 2),
            ("[]".to_owned(), 2),
            (String::new(), 2),
        ] {
            let error = decrypt(&with_header(&header), PASSWORD).expect_err(&header);
            assert_eq!(error.kind().exit_code(), code, "{header}: {error}");
        }
        for compact in ["", "....", "a.b.c.d", "a.b.c.d.e.f", &"a".repeat(MAX_LENGTH + 1)] {
            assert!(decrypt(compact, PASSWORD).is_err());
        }
    }

    #[test]
    fn no_change_goes_unnoticed_and_none_makes_it_panic() {
        let compact = encrypt(b"a secret that nobody sees", "jwk+json", b"p", 3).expect("encrypted");
        let mut random = Xorshift(0x5eed_0120);
        for _ in 0..2000 {
            let changed = random.mutate(compact.as_bytes());
            let Ok(changed) = str::from_utf8(&changed) else { continue };
            // A changed count would cost that work.
            let Some(header) = decode(changed.split('.').next().unwrap_or_default()) else { continue };
            if header.windows(8).all(|window| window != b"\"p2c\":3,") {
                continue;
            }
            match decrypt(changed, b"p") {
                Ok(plain) => assert_eq!(plain.as_slice(), b"a secret that nobody sees"),
                Err(error) => assert!(!format!("{error:?}").contains("secret that"), "{error:?}"),
            }
        }
    }
}
