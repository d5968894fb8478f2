//! Renewal at step-ca: `/renew` and `/rekey` for the certificate that the handshake shows, and `/renew` for a token that
//! the certificate's own key signed (step-ca's `authorizeRenew`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value};
use url::Url;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use zeroize::Zeroizing;

use super::client::unsent;
use super::{RequestFailure, SignedChain, StepCaClient};
use crate::error::{Error, Result};
use crate::net::HttpRequest;
use crate::net::url::authority;
use crate::pki::cert::{Certificate, pem};
use crate::pki::jose::jws;
use crate::pki::key::PrivateKey;

/// What step-ca expects as the issuer of a token that a certificate's own key signed.
const ISSUER: &str = "step-ca-client/1.0";
/// How long such a token is valid, in seconds: as step's.
const VALID_FOR: i64 = 300;
/// The extension by which step-ca names the provisioner, 1.3.6.1.4.1.37476.9000.64.1.
const PROVISIONER: [u64; 10] = [1, 3, 6, 1, 4, 1, 37476, 9000, 64, 1];

impl StepCaClient {
    /// A new certificate with the content of the one that this client presents, for the same key.
    pub async fn renew(&self) -> Result<SignedChain, RequestFailure> {
        self.issued(HttpRequest::post(self.at("/1.0/renew")?, Vec::new())).await
    }

    /// The same for the key of `csr` (PKCS#10, DER), of which only the key counts.
    pub async fn rekey(&self, csr: &[u8]) -> Result<SignedChain, RequestFailure> {
        #[derive(Serialize)]
        struct RekeyRequest {
            csr: String,
        }
        let body = serde_json::to_vec(&RekeyRequest { csr: pem::armor("CERTIFICATE REQUEST", csr) })
            .map_err(|error| unsent(Error::failed("could not write the request").because(error)))?;
        self.issued(HttpRequest::post(self.at("/1.0/rekey")?, body)).await
    }

    /// A new certificate with the content of the one whose key signed `token` ([`token`]).
    pub async fn renew_with_token(&self, token: &str) -> Result<SignedChain, RequestFailure> {
        let mut request = HttpRequest::post(self.at("/1.0/renew")?, Vec::new());
        let value = Zeroizing::new(format!("Bearer {token}"));
        let mut value = reqwest::header::HeaderValue::from_str(&value)
            .map_err(|error| unsent(Error::failed("could not write the request").because(error)))?;
        value.set_sensitive(true);
        request.headers.insert(reqwest::header::AUTHORIZATION, value);
        self.issued(request).await
    }
}

#[derive(Serialize)]
struct TokenClaims {
    aud: String,
    exp: i64,
    iat: i64,
    iss: &'static str,
    jti: String,
    nbf: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
}

/// A token that renews `chain` (leaf first, with its intermediates), signed by its own key, for the CA at `ca`. `now` is
/// in seconds since 1970.
///
/// # Errors
/// There is no certificate; the system has no randomness.
pub fn token(chain: &[Certificate], key: &PrivateKey, ca: &Url, now: i64) -> Result<Zeroizing<String>> {
    let leaf = chain.first().ok_or_else(|| Error::failed("there is no certificate to renew"))?;
    // Without it, two tokens of one second are equal, and the second one counts as used.
    let mut random = [0; 32];
    crate::random::fill(&mut random)?;
    let ders = chain.iter().map(|certificate| STANDARD.encode(certificate.der()).into()).collect();
    let header = Map::from_iter([("x5cInsecure".to_owned(), Value::Array(ders))]);
    let claims = TokenClaims {
        aud: format!("https://{}/1.0/renew", authority(ca)),
        exp: now.saturating_add(VALID_FOR),
        iat: now,
        iss: ISSUER,
        jti: hex::encode(random),
        nbf: now,
        sub: leaf.common_name(),
    };
    jws::sign(key, header, &claims)
}

/// Whether a step-ca issued it, as its extension says.
pub(crate) fn names_a_provisioner(certificate: &Certificate) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate.der()) else { return false };
    parsed
        .extensions()
        .iter()
        .any(|extension| extension.oid.iter().is_some_and(|arcs| arcs.eq(PROVISIONER.iter().copied())))
}

/// Whether it may be presented to servers (extended key usage clientAuth), which step-ca requires for a renewal.
pub(crate) fn is_for_clients(certificate: &Certificate) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate.der()) else { return false };
    match parsed.extended_key_usage() {
        Ok(Some(usage)) => usage.value.client_auth || usage.value.any,
        Ok(None) => true,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::key::KeyType;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn a_token_carries_the_chain_and_the_claims_that_step_ca_reads() {
        let key = PrivateKey::generate(KeyType::EcP256).expect("a key");
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let signed = |params: &rcgen::CertificateParams| {
            Certificate::from_der(params.clone().self_signed(&key).expect("signed").der())
                .expect("a certificate")
        };
        let ca = Url::parse("https://ca.test:9000/x").expect("a URL");
        let chain = [signed(&params)];
        let read =
            jws::verify(&token(&chain, &key, &ca, NOW).expect("a token"), key.public()).expect("signed");
        assert_eq!(read.header["x5cInsecure"], serde_json::json!([STANDARD.encode(chain[0].der())]));
        assert_eq!(read.audience(), ["https://ca.test:9000/1.0/renew"]);
        assert_eq!([read.claim("iss"), read.claim("sub")], [Some("step-ca-client/1.0"), None]);
        assert_eq!(["iat", "exp"].map(|name| read.time(name)), [Some(NOW), Some(NOW + 300)]);

        params.distinguished_name.push(rcgen::DnType::CommonName, "web.test");
        let chain = [signed(&params)];
        let two = [0; 2].map(|_| token(&chain, &key, &ca, NOW).expect("a token"));
        assert_ne!(two[0], two[1]);
        assert_eq!(jws::peek(&two[0]).expect("a token").claim("sub"), Some("web.test"));
        assert!(token(&[], &key, &ca, NOW).is_err());
        assert!(!names_a_provisioner(&chain[0]) && is_for_clients(&chain[0]));
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        assert!(!is_for_clients(&signed(&params)));
    }
}
