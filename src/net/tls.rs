//! What a connection trusts, and who we are there. One crypto provider (ring), passed explicitly; the clock is `Env`'s.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::tls_words;
use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::pki::cert::path::{self, Usage};
use crate::pki::cert::signature;

/// What to trust.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Nothing: the answer is worthless until its pin matched. Only for pinned fetches.
    Unverified,
    /// A server whose chain ends at one of these roots, and no other.
    Roots {
        /// DER of the roots.
        roots: Vec<CertificateDer<'static>>,
        /// For people: whose roots these are.
        vouched_by: String,
    },
}

/// Who we are to a server that asks for a client certificate (mutual TLS).
#[derive(Clone)]
pub struct Identity(Arc<CertifiedKey>);

impl Identity {
    /// The holder of `key` (PKCS#8, DER) with this chain, its own certificate first.
    ///
    /// # Errors
    /// No certificate; a key that cannot sign in TLS; a certificate of another key.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: &[u8]) -> Result<Self> {
        let unusable = |error: &rustls::Error| {
            Error::failed(UNUSABLE).because(anyhow::anyhow!("{}", tls_words::tls(error)))
        };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
        let identity = CertifiedKey::new(chain, any_supported_type(&key).map_err(|error| unusable(&error))?);
        identity.keys_match().map_err(|error| unusable(&error))?;
        Ok(Identity(Arc::new(identity)))
    }
}

/// The failure of [`Identity::new`].
const UNUSABLE: &str = "the client certificate and its key cannot be used for TLS";

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} certificates)", self.0.cert.len())
    }
}

/// How a connection is secured.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub(super) trust: Trust,
    identity: Option<Identity>,
}

impl Credentials {
    /// The same, presenting `identity` to a server that asks for a client certificate.
    #[must_use]
    pub fn with_identity(self, identity: Identity) -> Self {
        Credentials { identity: Some(identity), ..self }
    }
}

impl From<&Trust> for Credentials {
    /// Without a client certificate.
    fn from(trust: &Trust) -> Self {
        Credentials { trust: trust.clone(), identity: None }
    }
}

/// The one crypto provider of this program: ring, which verifies with what ring lacks too.
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::CryptoProvider {
        signature_verification_algorithms: signature::tls::SUPPORTED,
        ..rustls::crypto::ring::default_provider()
    })
}

/// A client configuration: TLS 1.2 and 1.3, no application protocol.
pub(super) fn client_config(credentials: &Credentials, env: &Env) -> Result<ClientConfig> {
    let verifier: Arc<dyn ServerCertVerifier> =
        match &credentials.trust {
            Trust::Unverified => Arc::new(Anybody),
            Trust::Roots { roots, vouched_by } => {
                let mut store = RootCertStore::empty();
                let (usable, _) = store.add_parsable_certificates(roots.iter().cloned());
                if usable == 0 {
                    return Err(Error::not_trusted(format!(
                        "none of {vouched_by} can be used to verify a TLS server"
                    )));
                }
                let chains = Chains::new(store);
                Arc::new(chains.map_err(|error| {
                    Error::failed("could not set up TLS").because(anyhow::anyhow!("{error}"))
                })?)
            }
        };
    config_with(verifier, credentials.identity.as_ref(), env)
}

/// A client configuration that leaves the decision on the server to `verifier`.
pub(super) fn config_with(
    verifier: Arc<dyn ServerCertVerifier>,
    identity: Option<&Identity>,
    env: &Env,
) -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(Clock(env.clone())))
        .with_safe_default_protocol_versions()
        .map_err(|error| tls_words::could_not_set_up(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(match identity {
        Some(Identity(identity)) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(identity))))
        }
        None => builder.with_no_client_auth(),
    })
}

#[derive(Debug)]
pub(crate) struct Clock(pub(crate) Env);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let now = u64::try_from(self.0.now()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(now)))
    }
}

/// rustls's verifier, and longer chains than it follows.
#[derive(Debug)]
struct Chains {
    roots: Arc<RootCertStore>,
    inner: Arc<WebPkiServerVerifier>,
}

impl Chains {
    fn new(roots: RootCertStore) -> Result<Chains, rustls::client::VerifierBuilderError> {
        let roots = Arc::new(roots);
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider()).build()?;
        Ok(Chains { roots, inner })
    }
}

impl ServerCertVerifier for Chains {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if verified.is_err()
            && path::verify(end_entity, intermediates, &self.roots.roots, now, Usage::SERVER).is_ok()
        {
            let server = ParsedCertificate::try_from(end_entity)?;
            return verify_server_name(&server, server_name).map(|()| ServerCertVerified::assertion());
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Accepts every server. What comes over such a connection is checked against a pin before any use, so not even the
/// handshake's signature is needed as proof; it is not required of servers with odd certificates.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
