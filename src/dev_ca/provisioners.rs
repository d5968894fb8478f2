//! The CA's two provisioners, and whether a one-time token of theirs is good (JWK: signed with the provisioner's key;
//! X5C: with the key of a certificate that this CA issued). Every refused token gets the same sentence, as in step-ca;
//! the cause is for the CA's own log.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::{CertificateDer, UnixTime};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::authority::DAY;
use crate::error::{Error, Result};
use crate::net::tls_words;
use crate::pki::cert::{Certificate, SubjectAltName, der};
use crate::pki::jose::jws::DecodedToken;
use crate::pki::jose::{jwe, jwk, jws};
use crate::pki::key::{KeyType, PrivateKey, PublicKey};

/// How much two clocks may differ, in seconds.
const LEEWAY: i64 = 60;
/// The password is random, of 160 bits: deriving a key slowly would protect nothing.
const ITERATIONS: u32 = 10_000;
/// Tokens that are remembered as used; a user who can make so many holds the provisioner's key.
const MAX_USED: usize = 100_000;
/// Certificates in a token's header.
const MAX_CHAIN: usize = 10;

/// The name of the JWK provisioner, unless another is given.
pub(crate) const JWK: &str = "dev";
/// The name of the X5C provisioner.
pub const X5C: &str = "x5c";

/// How long certificates may live, in seconds: step-ca's defaults, except for the minimum.
#[derive(Clone, Copy, Debug)]
pub(super) struct LifetimeClaims {
    pub(super) min: i64,
    pub(super) max: i64,
    pub(super) default: i64,
}

pub(super) const CLAIMS: LifetimeClaims = LifetimeClaims { min: 60, max: DAY as i64, default: DAY as i64 };

/// The JWK provisioner, as it is stored.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct JwkProvisioner {
    pub(super) name: String,
    /// The public key: a JWK with `kid`.
    key: Value,
    /// The private key, encrypted with the password: a compact JWE.
    pub(super) encrypted_key: String,
}

impl JwkProvisioner {
    /// Makes a key (EC P-256) that `password` encrypts.
    pub(super) fn generate(name: &str, password: &str) -> Result<Self> {
        let private = PrivateKey::generate(KeyType::EcP256)?;
        let mut key = jwk::of(private.public());
        key["kid"] = jwk::thumbprint(private.public()).into();
        key["alg"] = "ES256".into();
        key["use"] = "sig".into();
        let number = private_number(&private).ok_or_else(|| Error::failed("could not write the key"))?;
        let number = Zeroizing::new(URL_SAFE_NO_PAD.encode(number));
        let public = key.to_string();
        let text = Zeroizing::new(format!("{},\"d\":\"{}\"}}", public.trim_end_matches('}'), &*number));
        let encrypted_key = jwe::encrypt(text.as_bytes(), "jwk+json", password.as_bytes(), ITERATIONS)?;
        Ok(JwkProvisioner { name: name.to_owned(), key, encrypted_key })
    }

    pub(super) fn kid(&self) -> &str {
        self.key["kid"].as_str().unwrap_or_default()
    }
}

/// The number of an EC key (SEC 1 appendix C.4, inside PKCS#8).
fn private_number(key: &PrivateKey) -> Option<&[u8]> {
    let mut pkcs8 = der::DerReader::new(der::only(key.pkcs8(), der::SEQUENCE)?.body);
    pkcs8.take(der::INTEGER)?;
    pkcs8.take(der::SEQUENCE)?;
    let mut sec1 = der::DerReader::new(der::only(pkcs8.take(der::OCTET_STRING)?.body, der::SEQUENCE)?.body);
    sec1.take(der::INTEGER)?;
    Some(sec1.take(der::OCTET_STRING)?.body)
}

/// What a good token allows.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) subject: String,
    pub(super) names: Vec<SubjectAltName>,
    /// SHA-256 of the request that it is bound to, base64url.
    pub(super) request: Option<String>,
    /// The certificate behind an X5C token; nothing issued with it outlives it.
    pub(super) credential: Option<Certificate>,
    /// The content of the extension that names the provisioner.
    pub(super) provisioner: Vec<u8>,
}

/// Both provisioners, and the tokens that they have seen.
pub(super) struct ProvisionerSet {
    jwk: JwkProvisioner,
    key: PublicKey,
    root: CertificateDer<'static>,
    root_pem: String,
    /// Hosts that an audience may name.
    hosts: Vec<String>,
    /// Seconds since 1970: older tokens are refused, since it is unknown whether they were used.
    started: i64,
    /// Used tokens, and when they would have ended.
    used: Mutex<HashMap<String, i64>>,
}

impl ProvisionerSet {
    pub(super) fn new(
        jwk: JwkProvisioner,
        root: &Certificate,
        hosts: &[SubjectAltName],
        started: i64,
    ) -> Result<Self> {
        let key = jwk::parse(&jwk.key)?;
        Ok(ProvisionerSet {
            jwk,
            key,
            root: root.der().to_vec().into(),
            root_pem: root.to_pem(),
            hosts: hosts.iter().map(host_of_url).collect(),
            started,
            used: Mutex::default(),
        })
    }

    pub(super) fn jwk(&self) -> &JwkProvisioner {
        &self.jwk
    }

    /// As `GET /provisioners` shows them.
    pub(super) fn list(&self) -> [Value; 2] {
        let claims = json!({
            "minTLSCertDuration": super::times::GoDuration(CLAIMS.min).to_string(),
            "maxTLSCertDuration": super::times::GoDuration(CLAIMS.max).to_string(),
            "defaultTLSCertDuration": super::times::GoDuration(CLAIMS.default).to_string(),
        });
        let encrypted = &self.jwk.encrypted_key;
        [
            json!({
                "type": "JWK", "name": self.jwk.name, "key": self.jwk.key, "encryptedKey": encrypted,
                "claims": claims,
            }),
            json!({ "type": "X5C", "name": X5C, "roots": STANDARD.encode(&self.root_pem), "claims": claims }),
        ]
    }

    /// Whether `token` is good for one certificate, and for which; this uses it up.
    ///
    /// # Errors
    /// For the CA's log only.
    pub(super) fn spend(&self, token: &str, now: i64) -> Result<Grant, String> {
        let peeked = jws::peek(token).map_err(|error| error.to_string())?;
        let grant = if peeked.header.contains_key("x5c") {
            self.x5c(token, &peeked, now)?
        } else {
            self.jwk_token(token, &peeked)?
        };
        let (token_id, ends) = self.timely(token, &peeked, now)?;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, ends| *ends >= now);
        if used.len() >= MAX_USED {
            return Err("too many tokens are in use".to_owned());
        }
        match used.insert(token_id, ends) {
            None => Ok(grant),
            Some(_) => Err("the token was used before".to_owned()),
        }
    }

    fn jwk_token(&self, token: &str, peeked: &DecodedToken) -> Result<Grant, String> {
        if peeked.claim("iss") != Some(&self.jwk.name) || peeked.header("kid") != Some(self.jwk.kid()) {
            return Err("no provisioner has this name and key id".to_owned());
        }
        let token = jws::verify(token, &self.key).map_err(|error| error.to_string())?;
        self.audience(&token, None)?;
        grant(&token, None, extension(1, &self.jwk.name, self.jwk.kid()))
    }

    fn x5c(&self, token: &str, peeked: &DecodedToken, now: i64) -> Result<Grant, String> {
        if peeked.claim("iss") != Some(X5C) {
            return Err("no X5C provisioner has this name".to_owned());
        }
        let chain = peeked.header.get("x5c").and_then(Value::as_array);
        let chain = chain.filter(|chain| (1..=MAX_CHAIN).contains(&chain.len()));
        let chain: Option<Vec<CertificateDer<'static>>> = chain.and_then(|chain| {
            let one = |text: &Value| STANDARD.decode(text.as_str()?).ok().map(Into::into);
            chain.iter().map(one).collect()
        });
        let chain = chain.ok_or("the token's certificates cannot be read")?;
        let (leaf, rest) = chain.split_first().ok_or("the token has no certificate")?;
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.unsigned_abs()));
        super::server::client_verifier([&self.root])
            .and_then(|verifier| verifier.verify_client_cert(leaf, rest, time))
            .map_err(|error| format!("the token's certificate is not trusted: {}", tls_words::tls(&error)))?;
        if !signs(leaf) {
            return Err("the token's certificate cannot be used for digital signatures".to_owned());
        }
        let leaf = Certificate::from_der(leaf)?;
        let key = PublicKey::from_der(leaf.public_key()).ok_or("the certificate's key is not supported")?;
        let token = jws::verify(token, &key).map_err(|error| error.to_string())?;
        self.audience(&token, Some(X5C))?;
        grant(&token, Some(leaf), extension(7, X5C, ""))
    }

    /// The audience is the CA's `sign`, under any of its names; ports are ignored, and for X5C its name follows.
    fn audience(&self, token: &DecodedToken, x5c: Option<&str>) -> Result<(), String> {
        let fits = |audience: &&str| {
            let Ok(url) = url::Url::parse(audience) else {
                return x5c.is_none() && *audience == "step-certificate-authority";
            };
            let host = url.host_str().unwrap_or_default();
            url.scheme() == "https"
                && url.username().is_empty()
                && url.query().is_none()
                && matches!(url.path(), "/1.0/sign" | "/sign")
                && self.hosts.iter().any(|one| one == host)
                && url.fragment() == x5c.map(|name| format!("x5c/{name}")).as_deref()
        };
        match token.audience().iter().any(fits) {
            true => Ok(()),
            false => Err(format!("the token is for {}", token.audience().join(", "))),
        }
    }

    /// Whether the token's times are good; its key among used tokens, and until when it is kept.
    fn timely(&self, token: &str, claims: &DecodedToken, now: i64) -> Result<(String, i64), String> {
        let [issued, not_before, ends] = ["iat", "nbf", "exp"].map(|name| claims.time(name));
        if issued.is_some_and(|issued| issued < self.started) {
            return Err("the token is from before the start of this CA".to_owned());
        }
        if issued.is_some_and(|issued| issued > now.saturating_add(LEEWAY))
            || not_before.is_some_and(|start| start > now.saturating_add(LEEWAY))
        {
            return Err("the token is not good yet".to_owned());
        }
        if ends.is_some_and(|ends| ends.saturating_add(LEEWAY) < now) {
            return Err("the token has expired".to_owned());
        }
        let id = claims.claim("jti").filter(|id| !id.is_empty()).map_or_else(
            // Without an id, by its signed content. Not by the signature: for an ECDSA signature (r, s) anyone can make
            // another valid one, (r, n - s).
            || hex::encode(Sha256::digest(token.rsplit_once('.').map_or(token, |(signed, _)| signed))),
            |id| hex::encode(Sha256::digest(format!("{}\n{id}", claims.claim("iss").unwrap_or_default()))),
        );
        Ok((id, ends.map_or(i64::MAX, |ends| ends.saturating_add(LEEWAY))))
    }
}

/// What the token allows for the certificate.
fn grant(
    token: &DecodedToken,
    credential: Option<Certificate>,
    provisioner: Vec<u8>,
) -> Result<Grant, String> {
    let subject = token.claim("sub").filter(|subject| !subject.is_empty());
    let subject = subject.ok_or("the token has no subject")?.to_owned();
    let mut names = token.texts("sans");
    if names.is_empty() {
        names.push(&subject);
    }
    let names = names.iter().map(|name| name.parse::<SubjectAltName>().map_err(|error| error.to_string()));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let request = token.claims.get("cnf").and_then(|cnf| cnf.get("x5rt#S256")).and_then(Value::as_str);
    Ok(Grant { names, request: request.map(str::to_owned), subject, credential, provisioner })
}

/// smallstep's extension: SEQUENCE { INTEGER kind, OCTET STRING name, OCTET STRING credential }.
fn extension(kind: u32, name: &str, credential: &str) -> Vec<u8> {
    let parts = [
        der::unsigned(kind),
        der::element(der::OCTET_STRING, name.as_bytes()),
        der::element(der::OCTET_STRING, credential.as_bytes()),
    ];
    der::element(der::SEQUENCE, &parts.concat())
}

/// Whether the certificate's key usage has digitalSignature.
fn signs(leaf: &[u8]) -> bool {
    x509_parser::parse_x509_certificate(leaf).is_ok_and(
        |(_, parsed)| matches!(parsed.key_usage(), Ok(Some(usage)) if usage.value.digital_signature()),
    )
}

/// A name as the host of a URL.
fn host_of_url(name: &SubjectAltName) -> String {
    match name {
        SubjectAltName::Ip(address) if address.is_ipv6() => format!("[{address}]"),
        name => name.to_string(),
    }
}
