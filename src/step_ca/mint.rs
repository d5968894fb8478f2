//! One-time tokens for `/sign`, as step-ca accepts them from JWK and X5C provisioners. Made here, signed here, and as
//! valuable as a certificate until they expire: a token is wiped when dropped, and shown only to its requester.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};
use url::Url;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::net::url::host;
use crate::pki::cert::{Certificate, SubjectAltName};
use crate::pki::fingerprint::Fingerprint;
use crate::pki::jose::{jwe, jwk, jws};
use crate::pki::key::PrivateKey;
use crate::text::{self, encoding};

use super::Provisioners;

/// The default lifetime of a token: the same as step's.
pub const VALID_FOR: Duration = Duration::from_secs(300);

/// step-ca sets no limit; a day is more than any start of a container takes.
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Shorter than a request may take.
pub(crate) const SHORTEST: Duration = Duration::from_secs(10);

/// The content of a token.
#[derive(Clone, Debug)]
pub struct TokenRequest<'a> {
    /// The provisioner's name.
    pub provisioner: &'a str,
    /// The certificate's subject.
    pub subject: &'a str,
    /// The names that the certificate may have; the subject if there are none.
    pub names: &'a [SubjectAltName],
    /// The CA's address.
    pub ca_url: &'a Url,
    /// The spellings of its host for the audience; the address's own if there are none.
    pub hosts: &'a [String],
    /// The CA's root, for a recipient of the token that knows no CA.
    pub root: Option<Fingerprint>,
    /// Seconds since 1970.
    pub now: i64,
    /// From now on.
    pub valid_for: Duration,
    /// DER of the only certificate signing request that it is for.
    pub csr: Option<&'a [u8]>,
}

/// The key that signs it.
#[derive(Clone, Debug)]
pub enum Signer<'a> {
    /// The key of a JWK provisioner.
    Jwk {
        /// The key.
        key: &'a PrivateKey,
        /// Its id.
        kid: &'a str,
    },
    /// The key of a certificate that an X5C provisioner accepts.
    X5c {
        /// The key.
        key: &'a PrivateKey,
        /// Leaf first. Check it with [`check_birth_certificate`].
        chain: &'a [Certificate],
    },
}

/// One string or several (RFC 7519 section 4.1.3).
#[derive(Serialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Any(Vec<String>),
}

#[derive(Serialize)]
struct TokenClaims<'a> {
    aud: Audience,
    exp: i64,
    iat: i64,
    iss: &'a str,
    jti: String,
    nbf: i64,
    sans: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha: Option<Fingerprint>,
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Value>,
}

/// Makes a token.
///
/// # Errors
/// An empty subject or provisioner, a life outside of [`SHORTEST`] and [`LONGEST`].
pub fn mint(request: &TokenRequest<'_>, signer: &Signer<'_>) -> Result<Zeroizing<String>> {
    for (value, name) in [(request.subject, "subject"), (request.provisioner, "provisioner's name")] {
        if value.is_empty() {
            return Err(Error::usage(format!("the {name} of a token must not be empty")));
        }
    }
    if !(SHORTEST..=LONGEST).contains(&request.valid_for) {
        return Err(Error::usage("a token lives between 10 seconds and 24 hours")
            .hint("the default of `--valid-for` is 5m: long enough to start a container"));
    }
    let mut random = [0; 32];
    crate::random::fill(&mut random)?;
    let sans = match request.names {
        [] => vec![request.subject.to_owned()],
        names => names.iter().map(ToString::to_string).collect(),
    };
    let mut header = Map::new();
    let (key, fragment) = match signer {
        Signer::Jwk { key, kid } => {
            header.insert("kid".to_owned(), (*kid).into());
            (key, String::new())
        }
        Signer::X5c { key, chain } => {
            let ders = chain.iter().map(|certificate| STANDARD.encode(certificate.der()).into()).collect();
            header.insert("x5c".to_owned(), Value::Array(ders));
            (key, format!("#x5c/{}", request.provisioner))
        }
    };
    // Seconds of a day: far below the limit.
    let seconds = i64::try_from(request.valid_for.as_secs()).unwrap_or(i64::MAX);
    let claims = TokenClaims {
        aud: audience(request, &fragment),
        exp: request.now.saturating_add(seconds),
        iat: request.now,
        iss: request.provisioner,
        jti: hex::encode(random),
        nbf: request.now,
        sans,
        sha: request.root,
        sub: request.subject,
        cnf: request.csr.map(|csr| json!({ "x5rt#S256": thumbprint(csr) })),
    };
    jws::sign(key, header, &claims)
}

/// The audience of a token for `/sign`: scheme, host and port of the CA's address, and the path of its API.
fn audience(request: &TokenRequest<'_>, fragment: &str) -> Audience {
    let own = [host(request.ca_url).to_owned()];
    let hosts = if request.hosts.is_empty() { &own } else { request.hosts };
    let port = request.ca_url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let scheme = request.ca_url.scheme();
    let mut all: Vec<String> =
        hosts.iter().map(|host| format!("{scheme}://{host}{port}/1.0/sign{fragment}")).collect();
    if all.len() == 1 { Audience::One(all.remove(0)) } else { Audience::Any(all) }
}

/// The value of `cnf` for a certificate signing request.
pub(super) fn thumbprint(csr: &[u8]) -> String {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    URL_SAFE_NO_PAD.encode(Fingerprint::of(csr).bytes())
}

/// A provisioner's private key and its id.
#[derive(Debug)]
pub struct ProvisionerKey {
    /// The key.
    pub key: PrivateKey,
    /// Key id: `kid` of its tokens.
    pub kid: String,
}

/// Decrypts the key of the JWK provisioner `name`, which is encrypted in the CA's list. If several provisioners have
/// that name, it is the one whose key has this password.
///
/// # Errors
/// No such provisioner, a wrong password.
pub fn decrypt_key(provisioners: &Provisioners, name: &str, password: &[u8]) -> Result<ProvisionerKey> {
    /// Each costs a key derivation.
    const TRIES: usize = 5;
    let keys = provisioners.encrypted_keys(name)?;
    let mut refused = None;
    for (kid, encrypted) in keys.iter().take(TRIES) {
        match jwe::decrypt(encrypted, password) {
            Ok(json) => {
                return Ok(ProvisionerKey { key: PrivateKey::from_jwk(&json)?, kid: (*kid).to_owned() });
            }
            Err(error) => refused = Some(error),
        }
    }
    let error = refused.unwrap_or_else(|| Error::failed("the provisioner has no key"));
    let error = if error.hints().is_empty() {
        error.hint("on the CA's host `step ca provisioner list` shows it; `step ca provisioner remove NAME`, then `step ca provisioner add NAME --type JWK --create`, give it a new key")
    } else {
        error
    };
    Err(error.at(format!("provisioner {}", text::escape(name))))
}

/// Reads a provisioner's key from a file: a private JWK, an encrypted one (compact or JSON, as `step crypto jwk create`
/// writes it), or PEM. `password` is asked for only if it is needed.
///
/// # Errors
/// None of these, damaged, a wrong password, or an encrypted key and no password.
pub fn read_key(
    bytes: &[u8],
    password: impl FnOnce() -> Result<Zeroizing<Vec<u8>>>,
) -> Result<ProvisionerKey> {
    let decrypted;
    let bytes = without_mark(bytes);
    let json = match compact(bytes) {
        Some(compact) => {
            decrypted = jwe::decrypt(&compact, &password()?)?;
            &decrypted
        }
        None => bytes,
    };
    let key = if json.starts_with(b"{") { PrivateKey::from_jwk(json)? } else { PrivateKey::from_pem(json)? };
    let kid = jwk::key_id(json).unwrap_or_else(|| jwk::thumbprint(key.public()));
    Ok(ProvisionerKey { key, kid })
}

/// Whether this is an encrypted key: [`read_key`] needs its password.
pub(crate) fn is_encrypted(bytes: &[u8]) -> bool {
    compact(without_mark(bytes)).is_some()
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(encoding::UTF_8_MARK).unwrap_or(bytes).trim_ascii()
}

/// A JWE in the compact form, if it is one in either form (RFC 7516 section 7).
fn compact(bytes: &[u8]) -> Option<String> {
    let text = str::from_utf8(bytes).ok()?;
    if !text.starts_with('{') {
        return (text.starts_with("ey") && text.contains('.')).then(|| text.to_owned());
    }
    let parsed: Value =
        serde_json::from_str(text).ok().filter(|value: &Value| value.get("ciphertext").is_some())?;
    let parts = ["protected", "encrypted_key", "iv", "ciphertext", "tag"];
    let parts: Option<Vec<&str>> = parts.iter().map(|name| parsed.get(*name)?.as_str()).collect();
    Some(parts?.join("."))
}

/// Checks that a birth certificate can sign tokens: its key, its life, its purpose.
///
/// # Errors
/// What step-ca would refuse without saying why.
pub(crate) fn check_birth_certificate(chain: &[Certificate], key: &PrivateKey, now: i64) -> Result<()> {
    let Some(leaf) = chain.first() else {
        return Err(Error::usage("there is no birth certificate"));
    };
    let subject = leaf.subject();
    if leaf.public_key() != key.public_key() {
        return Err(Error::usage(format!("the key is not that of the birth certificate `{subject}`"))
            .hint("give certificate and key of one pair; the certificate comes first in its file"));
    }
    if now > leaf.not_after() {
        return Err(Error::not_trusted(format!(
            "the birth certificate `{subject}` expired on {}",
            text::moment(leaf.not_after())
        ))
        .hint("get a new one, or enroll with a token"));
    }
    if now < leaf.not_before() {
        return Err(Error::not_trusted(format!(
            "the birth certificate `{subject}` is not valid before {}",
            text::moment(leaf.not_before())
        ))
        .hint("check this machine's clock"));
    }
    let (_, parsed) = X509Certificate::from_der(leaf.der())
        .map_err(|_| Error::usage("the birth certificate cannot be read"))?;
    let signs = parsed.key_usage().ok().flatten().is_some_and(|usage| usage.value.digital_signature());
    let is_client = parsed
        .extended_key_usage()
        .ok()
        .flatten()
        .is_some_and(|usage| usage.value.client_auth || usage.value.any);
    if !(signs && is_client) {
        return Err(Error::usage(format!("the birth certificate `{subject}` cannot sign tokens"))
            .hint("step-ca requires the key usage digitalSignature and the extended key usage clientAuth"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::key::KeyType;
    use crate::step_ca::{Provisioner, ProvisionerKind};

    const NOW: i64 = 1_800_000_000;

    fn url() -> Url {
        Url::parse("https://ca.test:9000/ignored?x").expect("a URL")
    }

    fn request(ca_url: &Url) -> TokenRequest<'_> {
        TokenRequest {
            provisioner: "dev",
            subject: "web.internal",
            names: &[],
            ca_url,
            hosts: &[],
            root: Some(Fingerprint::of(b"root")),
            now: NOW,
            valid_for: VALID_FOR,
            csr: None,
        }
    }

    #[test]
    fn a_token_of_a_jwk_provisioner_has_the_claims_that_step_ca_reads() {
        let (url, key) = (url(), PrivateKey::generate(KeyType::EcP256).expect("a key"));
        let token = mint(&request(&url), &Signer::Jwk { key: &key, kid: "the-kid" }).expect("a token");
        let read = jws::verify(&token, key.public()).expect("signed");
        assert_eq!([read.header("kid"), read.header("alg")], [Some("the-kid"), Some("ES256")]);
        assert_eq!(read.audience(), ["https://ca.test:9000/1.0/sign"]);
        assert_eq!([read.claim("iss"), read.claim("sub")], [Some("dev"), Some("web.internal")]);
        assert_eq!(read.texts("sans"), ["web.internal"]);
        assert_eq!(
            ["iat", "nbf", "exp"].map(|name| read.time(name)),
            [Some(NOW), Some(NOW), Some(NOW + 300)]
        );
        assert_eq!(read.claim("sha"), Some(Fingerprint::of(b"root").hex().as_str()));
        let id = |token: &jws::DecodedToken| token.claim("jti").expect("an id").to_owned();
        assert!(id(&read).len() == 64 && id(&read).bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(!read.claims.contains_key("cnf"));
        let again = mint(&request(&url), &Signer::Jwk { key: &key, kid: "the-kid" }).expect("a token");
        assert_ne!(id(&read), id(&jws::peek(&again).expect("a token")));

        let names = ["a.test", "10.0.0.1", "x@y.test"].map(|name| name.parse().expect("a name"));
        let bound = TokenRequest { names: &names, csr: Some(b"csr"), root: None, ..request(&url) };
        let token = mint(&bound, &Signer::Jwk { key: &key, kid: "k" }).expect("a token");
        let read = jws::peek(&token).expect("a token");
        assert_eq!(read.texts("sans"), ["a.test", "10.0.0.1", "x@y.test"]);
        assert_eq!(read.claims["cnf"]["x5rt#S256"].as_str().expect("cnf").len(), 43);
        assert!(!read.claims.contains_key("sha"));
    }

    #[test]
    fn lives_and_names_are_bounded() {
        let (url, key) = (url(), PrivateKey::generate(KeyType::Ed25519).expect("a key"));
        let signer = Signer::Jwk { key: &key, kid: "k" };
        for seconds in [0, 9, 24 * 3600 + 1, u64::MAX] {
            let wanted = TokenRequest { valid_for: Duration::from_secs(seconds), ..request(&url) };
            assert_eq!(mint(&wanted, &signer).expect_err("refused").kind().exit_code(), 2, "{seconds}");
        }
        for wanted in
            [TokenRequest { subject: "", ..request(&url) }, TokenRequest { provisioner: "", ..request(&url) }]
        {
            assert!(mint(&wanted, &signer).is_err());
        }
        for seconds in [10, 24 * 3600] {
            assert!(
                mint(&TokenRequest { valid_for: Duration::from_secs(seconds), ..request(&url) }, &signer)
                    .is_ok()
            );
        }
    }

    fn birth(
        key: &PrivateKey,
        usage: &[rcgen::KeyUsagePurpose],
        purposes: &[rcgen::ExtendedKeyUsagePurpose],
    ) -> Certificate {
        let mut params = rcgen::CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        params.key_usages = usage.to_vec();
        params.extended_key_usages = purposes.to_vec();
        Certificate::from_der(params.self_signed(key).expect("signed").der()).expect("a certificate")
    }

    #[test]
    fn a_token_of_an_x5c_provisioner_carries_its_chain() {
        use rcgen::{ExtendedKeyUsagePurpose as Purpose, KeyUsagePurpose as Usage};
        let (url, key) = (url(), PrivateKey::generate(KeyType::EcP384).expect("a key"));
        let leaf = birth(&key, &[Usage::DigitalSignature], &[Purpose::ClientAuth]);
        let chain = [leaf.clone()];
        let token = mint(&request(&url), &Signer::X5c { key: &key, chain: &chain }).expect("a token");
        let read = jws::verify(&token, key.public()).expect("signed");
        assert_eq!(read.audience(), ["https://ca.test:9000/1.0/sign#x5c/dev"]);
        assert_eq!(read.header["x5c"], json!([STANDARD.encode(leaf.der())]));
        assert_eq!([read.header("alg"), read.header("kid")], [Some("ES384"), None]);

        check_birth_certificate(&chain, &key, NOW).expect("good");
        let other = PrivateKey::generate(KeyType::EcP256).expect("a key");
        for (chain, key, now, wanted) in [
            (&[][..], &key, NOW, "no birth certificate"),
            (&chain[..], &other, NOW, "not that of the birth certificate"),
            (&chain, &key, leaf.not_after() + 1, "expired on 2030-01-01"),
            (&chain, &key, leaf.not_before() - 1, "not valid before 2026-01-01"),
            (&[birth(&key, &[], &[Purpose::ClientAuth])], &key, NOW, "cannot sign tokens"),
            (
                &[birth(&key, &[Usage::DigitalSignature], &[Purpose::ServerAuth])],
                &key,
                NOW,
                "cannot sign tokens",
            ),
        ] {
            let error = check_birth_certificate(chain, key, now).expect_err(wanted);
            assert!(error.what().contains(wanted), "{error}");
        }
    }

    fn jwk_of(key: &PrivateKey, kid: &str) -> String {
        // PKCS#8 of a P-256 key holds its number after the fixed part of 36 bytes.
        let mut jwk = jwk::of(key.public());
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&key.pkcs8()[36..68]);
        jwk["d"] = json!(text);
        jwk["kid"] = json!(kid);
        jwk.to_string()
    }

    #[test]
    fn keys_are_read_in_every_form_that_step_writes() {
        let key = PrivateKey::generate(KeyType::EcP256).expect("a key");
        let thumbprint = jwk::thumbprint(key.public());
        let json = jwk_of(&key, "own");
        let never = || panic!("no password is needed");
        let plain = read_key(json.as_bytes(), never).expect("a JWK");
        assert_eq!((plain.key.public_key(), plain.kid.as_str()), (key.public_key(), "own"));
        let pem = read_key(key.to_pem().as_bytes(), || panic!("no password is needed")).expect("PEM");
        assert_eq!((pem.key.public_key(), pem.kid), (key.public_key(), thumbprint));

        let compact = jwe::encrypt(json.as_bytes(), "jwk+json", b"p", 3).expect("encrypted");
        let parts: Vec<&str> = compact.split('.').collect();
        let flat = json!({"protected": parts[0], "encrypted_key": parts[1], "iv": parts[2], "ciphertext": parts[3], "tag": parts[4]});
        for text in [format!("{compact}\n"), flat.to_string()] {
            let read = read_key(text.as_bytes(), || Ok(Zeroizing::new(b"p".to_vec()))).expect("decrypted");
            assert_eq!((read.key.public_key(), read.kid.as_str()), (key.public_key(), "own"));
            let wrong = read_key(text.as_bytes(), || Ok(Zeroizing::new(b"q".to_vec())));
            assert_eq!(wrong.expect_err("a wrong password").kind().exit_code(), 4);
            let none = read_key(text.as_bytes(), || Err(Error::usage("no password")));
            assert_eq!(none.expect_err("no password").what(), "no password");
        }
        for text in ["", "x", "{}", "ey.x", "{\"ciphertext\":1}"] {
            assert!(read_key(text.as_bytes(), || Ok(Zeroizing::default())).is_err(), "{text}");
        }
    }

    #[test]
    fn of_several_provisioners_with_one_name_the_password_finds_its_own() {
        let keys = [0; 3].map(|_| PrivateKey::generate(KeyType::EcP256).expect("a key"));
        let all = Provisioners(
            keys.iter()
                .enumerate()
                .map(|(number, key)| {
                    let (kid, password) = (format!("kid-{number}"), format!("password {number}"));
                    let encrypted =
                        jwe::encrypt(jwk_of(key, &kid).as_bytes(), "jwk+json", password.as_bytes(), 2);
                    let encrypted_key = Some(encrypted.expect("encrypted"));
                    Provisioner {
                        name: "dev".to_owned(),
                        kind: ProvisionerKind::Jwk { kid, key: None, encrypted_key },
                    }
                })
                .collect(),
        );
        for (number, key) in keys.iter().enumerate() {
            let found = decrypt_key(&all, "dev", format!("password {number}").as_bytes()).expect("its own");
            assert_eq!((found.kid, found.key.public_key()), (format!("kid-{number}"), key.public_key()));
        }
        let error = decrypt_key(&all, "dev", b"other").expect_err("a wrong password");
        assert_eq!((error.kind().exit_code(), error.place()), (4, Some("provisioner dev")));
        assert!(!format!("{error:?}").contains("other"));
    }
}
