//! Reads private keys: PEM of PKCS#8 (RFC 5208, RFC 5958), SEC 1 (RFC 5915) and PKCS#1 (RFC 8017), and JWK (RFC 7517,
//! RFC 7518 section 6, RFC 8037). ring checks every key before it becomes a [`PrivateKey`].

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::public::{Curve, EC, ED25519_OID, RSA};
use super::{PrivateKey, rsa};
use crate::error::{Error, Result};
use crate::pki::cert::der::{self, DerReader};
use crate::pki::cert::pem as armor;
use crate::pki::cert::recognise::{self, Asked};
use crate::text::{self, encoding};

/// How to decrypt a key, for the hints.
const DECRYPT: &str = "decrypt it first: `openssl pkey -in KEY -out PLAIN-KEY`";

pub(super) fn pem(bytes: &[u8]) -> Result<PrivateKey> {
    let mut keys = Vec::new();
    let bytes = bytes.strip_prefix(encoding::UTF_8_MARK).unwrap_or(bytes);
    for block in armor::blocks(bytes) {
        if !block.label.ends_with("PRIVATE KEY") {
            continue;
        }
        let text = &bytes[block.range];
        if text.windows(9).any(|window| window == b"ENCRYPTED") {
            return Err(Error::usage("the private key is encrypted").hint(DECRYPT));
        }
        match block.label.as_str() {
            "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" => {}
            "OPENSSH PRIVATE KEY" => {
                return Err(Error::unsupported("a private key in OpenSSH's own format is not supported")
                    .hint(
                        "convert an EC or RSA key, in the file itself: `ssh-keygen -p -N '' -m PKCS8 -f KEY`",
                    ));
            }
            other => {
                return Err(unsupported(&format!("a private key with the label `{}`", text::escape(other))));
            }
        }
        let der = block.der.ok_or_else(|| damaged_block(bytes))?;
        keys.push(Zeroizing::new(der));
    }
    match keys.as_slice() {
        [key] => from_der(key),
        [] => Err(not_a_key(bytes)),
        several => Err(Error::usage(format!("it has {} private keys", several.len()))
            .hint("give a file with one of them")),
    }
}

/// A key's block that is no PEM: in another form, or damaged.
fn damaged_block(bytes: &[u8]) -> Error {
    match recognise::recognise(bytes, Asked::PrivateKey) {
        Some(found) => {
            let sentence = found.sentence(Asked::PrivateKey);
            Error::usage(format!("the private key cannot be read: {sentence}")).hint(found.hint)
        }
        None => {
            Error::usage("the private key is damaged: its PEM block is cut off or holds other characters")
                .hint("copy it again, whole; `openssl pkey -in KEY -check -noout` says whether it is")
        }
    }
}

/// Names what the file is instead.
fn not_a_key(bytes: &[u8]) -> Error {
    const SHOW: &str = "a private key is a PEM file with `-----BEGIN PRIVATE KEY-----`, `EC PRIVATE KEY` or `RSA PRIVATE KEY`";
    if let Some(found) = recognise::recognise(bytes, Asked::PrivateKey) {
        return Error::usage(found.sentence(Asked::PrivateKey)).hint(found.hint);
    }
    if bytes.first() == Some(&der::SEQUENCE) {
        return Error::usage("the private key is not PEM")
            .hint("write it as PEM: `openssl pkey -inform DER -in KEY -out key.pem`");
    }
    let first = armor::blocks(bytes).into_iter().find_map(|block| recognise::of_label(&block.label));
    match first {
        Some(what) => Error::usage(format!("it has no private key, but {what}"))
            .hint(recognise::next_step(what, Asked::PrivateKey))
            .hint(SHOW),
        None => Error::usage("it has no private key").hint(SHOW),
    }
}

/// By shape, whatever the label is: the second field distinguishes the three forms.
fn from_der(bytes: &[u8]) -> Result<PrivateKey> {
    let second = || {
        let mut fields = DerReader::new(der::only(bytes, der::SEQUENCE)?.body);
        fields.take(der::INTEGER)?;
        Some(fields.next()?.tag)
    };
    match second() {
        Some(der::SEQUENCE) => pkcs8(bytes),
        Some(der::OCTET_STRING) => sec1(bytes, None),
        Some(der::INTEGER) => PrivateKey::from_pkcs1(bytes),
        _ => Err(damaged()),
    }
}

pub(super) fn pkcs8(bytes: &[u8]) -> Result<PrivateKey> {
    let fields = || {
        let mut fields = DerReader::new(der::only(bytes, der::SEQUENCE)?.body);
        let version = fields.take(der::INTEGER)?;
        let algorithm = fields.take(der::SEQUENCE)?;
        let key = fields.take(der::OCTET_STRING)?;
        // Attributes may follow, and with version 1 the public half, as an implicit BIT STRING.
        fields.take(der::CONTEXT_0);
        let public = fields.take(0x81);
        let mut algorithm = DerReader::new(algorithm.body);
        let kind = algorithm.take(der::OID)?;
        let whole = matches!(version.body, [0 | 1]) && fields.is_empty();
        whole.then_some((kind.body, algorithm.next(), key.body, public))
    };
    let (kind, parameters, key, public) = fields().ok_or_else(damaged)?;
    match kind {
        RSA => PrivateKey::from_pkcs1(key),
        EC => {
            let curve = parameters.filter(|parameters| parameters.tag == der::OID).ok_or_else(damaged)?;
            sec1(key, Some(curve.body))
        }
        ED25519_OID => {
            let seed = der::only(key, der::OCTET_STRING).ok_or_else(damaged)?;
            let public = public.map(|bits| bits.body.get(1..).ok_or_else(damaged)).transpose()?;
            PrivateKey::from_seed(seed.body, public)
        }
        _ => Err(unsupported("a private key of this kind")),
    }
}

/// SEC 1's ECPrivateKey; `curve` is the curve in the enclosing PKCS#8.
fn sec1(bytes: &[u8], curve: Option<&[u8]>) -> Result<PrivateKey> {
    let fields = || {
        let mut fields = DerReader::new(der::only(bytes, der::SEQUENCE)?.body);
        let version = fields.take(der::INTEGER)?;
        let scalar = fields.take(der::OCTET_STRING)?;
        let own = match fields.take(der::CONTEXT_0) {
            Some(parameters) => Some(der::only(parameters.body, der::OID)?.body),
            None => None,
        };
        let point = match fields.take(der::CONTEXT_1) {
            Some(public) => Some(der::only(public.body, der::BIT_STRING)?.body.strip_prefix(&[0])?),
            None => None,
        };
        (version.body == [1] && fields.is_empty()).then_some((scalar.body, own, point))
    };
    let (scalar, own, point) = fields().ok_or_else(damaged)?;
    if curve.is_some() && own.is_some() && curve != own {
        return Err(damaged());
    }
    let oid = curve.or(own).ok_or_else(damaged)?;
    let curve =
        Curve::from_oid(oid).ok_or_else(|| unsupported("an EC key on another curve than P-256 and P-384"))?;
    let point = point.filter(|point| point.first() == Some(&4)).ok_or_else(|| {
        Error::unsupported("the EC key's public half is missing or compressed")
            .hint("convert it: `openssl ec -in KEY -conv_form uncompressed -out key.pem`")
    })?;
    PrivateKey::from_ec(curve, &filled(scalar, curve.size())?, point)
}

/// A private JWK. Borrowed, so that serde keeps no copy of a secret.
#[derive(Deserialize)]
struct Jwk<'a> {
    kty: &'a str,
    crv: Option<&'a str>,
    x: Option<&'a str>,
    y: Option<&'a str>,
    d: Option<&'a str>,
    n: Option<&'a str>,
    e: Option<&'a str>,
    p: Option<&'a str>,
    q: Option<&'a str>,
    dp: Option<&'a str>,
    dq: Option<&'a str>,
    qi: Option<&'a str>,
}

pub(super) fn jwk(json: &[u8]) -> Result<PrivateKey> {
    let key: Jwk<'_> =
        serde_json::from_slice(json).map_err(|_| Error::usage("not a JSON Web Key (RFC 7517)"))?;
    if key.d.is_none() && matches!(key.kty, "EC" | "RSA" | "OKP") {
        return Err(Error::usage("the JSON Web Key is a public one: its private number `d` is missing"));
    }
    match (key.kty, key.crv) {
        ("EC", Some(curve)) => {
            let curve = Curve::from_name(curve)
                .ok_or_else(|| unsupported("an EC key on another curve than P-256 and P-384"))?;
            let number = |member| filled(&decoded(member)?, curve.size());
            let (x, y) = (number(key.x)?, number(key.y)?);
            PrivateKey::from_ec(curve, &number(key.d)?, &[&[4], &x[..], &y].concat())
        }
        ("OKP", Some("Ed25519")) => PrivateKey::from_seed(&decoded(key.d)?, Some(&decoded(key.x)?)),
        ("RSA", _) => {
            let numbers = [key.n, key.e, key.d, key.p, key.q, key.dp, key.dq, key.qi].map(decoded);
            let mut found = Vec::with_capacity(numbers.len());
            for number in numbers {
                found.push(number?);
            }
            let numbers = <[_; 8]>::try_from(found).map_err(|_| damaged_jwk())?;
            PrivateKey::from_pkcs1(&rsa::encode(numbers))
        }
        _ => Err(unsupported("a JSON Web Key of this type")),
    }
}

fn decoded(member: Option<&str>) -> Result<Zeroizing<Vec<u8>>> {
    let bytes = member.and_then(|member| URL_SAFE_NO_PAD.decode(member).ok());
    bytes.map(Zeroizing::new).ok_or_else(damaged_jwk)
}

/// `number` padded with leading zeros to `size` bytes: some programs omit them.
fn filled(number: &[u8], size: usize) -> Result<Zeroizing<Vec<u8>>> {
    let missing = size.checked_sub(number.len()).ok_or_else(damaged)?;
    let mut bytes = Zeroizing::new(vec![0; size]);
    bytes[missing..].copy_from_slice(number);
    Ok(bytes)
}

fn damaged() -> Error {
    Error::usage("the private key is damaged").hint("`openssl pkey -in KEY -check -noout` says more")
}

fn damaged_jwk() -> Error {
    Error::usage("the JSON Web Key is damaged: a number is missing or is not base64url")
}

fn unsupported(what: &str) -> Error {
    Error::unsupported(format!("{what} is not supported"))
        .hint("use an EC key on P-256 or P-384, an RSA key of 2048 to 4096 bits, or an Ed25519 key, as PEM")
}
