//! One TLS handshake that shows which chain a server sends; which clients would accept it is judged afterwards, against
//! any set of roots. Nothing is sent but the handshake.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::dns::{Dns, ResolverSettings};
use super::failure::find;
use super::tls::{Clock, provider};
use super::tls_words;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::runtime;
use crate::text;

/// What a server presented, having proven possession of the first certificate's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// DER: the server's own first, then what it sent with it.
    pub chain: Vec<CertificateDer<'static>>,
    name: ServerName<'static>,
    now: UnixTime,
}

/// Why a chain is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeDoubt {
    /// It ends at none of the roots.
    UnknownIssuer,
    /// Any other fault, whatever the roots: in a form that can follow a colon.
    Server(String),
}

impl Presented {
    /// What a server called `name` presented at `now` (seconds since 1970).
    ///
    /// # Errors
    /// The name is neither a DNS name nor an address.
    pub fn new(chain: Vec<CertificateDer<'static>>, name: &str, now: i64) -> Result<Presented> {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or_default()));
        Ok(Presented { chain, name: server_name(name)?, now })
    }

    /// Whether a client with these roots (DER), and no others, accepts the server.
    pub(crate) fn judge<'a>(&self, roots: impl IntoIterator<Item = &'a [u8]>) -> Result<(), HandshakeDoubt> {
        let mut store = RootCertStore::empty();
        let ders = roots.into_iter().map(|der| CertificateDer::from(der.to_vec()));
        let (usable, _) = store.add_parsable_certificates(ders);
        if usable == 0 {
            return Err(HandshakeDoubt::UnknownIssuer);
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider()).build();
        let verifier = verifier.map_err(|error| HandshakeDoubt::Server(error.to_string()))?;
        let Some((server, others)) = self.chain.split_first() else {
            return Err(HandshakeDoubt::Server("it sent no certificate".to_owned()));
        };
        match verifier.verify_server_cert(server, others, &self.name, &[], self.now) {
            Ok(_) => Ok(()),
            Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                Err(HandshakeDoubt::UnknownIssuer)
            }
            Err(rustls::Error::InvalidCertificate(reason)) => {
                Err(HandshakeDoubt::Server(tls_words::certificate(&reason)))
            }
            Err(error) => Err(HandshakeDoubt::Server(tls_words::tls(&error))),
        }
    }
}

/// Connects to `host`:`port`, directly as most clients would without a proxy, and shakes hands.
///
/// # Errors
/// The name is unknown, no server answers, or what answers is not a TLS server.
pub(crate) fn shake_hands(
    settings: &ResolverSettings,
    host: &str,
    port: u16,
    env: &Env,
    patience: Duration,
) -> Result<Presented> {
    let place = format!("{}:{port}", text::escape(host));
    let presented = runtime::block_on(async {
        let exchange = exchange(settings, host, port, env);
        match timeout(patience, exchange).await {
            Ok(done) => done,
            Err(_) => Err(Error::unreachable(format!("no answer within {} s", patience.as_secs()))
                .hint("`--timeout 2m` gives it more time")),
        }
    })?;
    presented.map_err(|error| error.at(place))
}

async fn exchange(settings: &ResolverSettings, host: &str, port: u16, env: &Env) -> Result<Presented> {
    let name = server_name(host)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = Dns::new(settings)?.lookup(bare).await.map_err(|error| {
        let hint = error.hint();
        Error::unreachable("could not resolve the host's name").because(error).hint(hint)
    })?;
    let mut stream = None;
    let mut cause = None;
    for address in addresses {
        match TcpStream::connect((address, port)).await {
            Ok(connected) => {
                stream = Some(connected);
                break;
            }
            Err(error) => cause = cause.or(Some(error)),
        }
    }
    let Some(stream) = stream else {
        let error = Error::unreachable("could not connect").hint("is the server up, and is the port right?");
        return Err(match cause {
            Some(cause) => error.because(cause),
            None => error,
        });
    };
    let witness = Arc::new(Witness::default());
    let config = ClientConfig::builder_with_details(provider(), Arc::new(Clock(env.clone())))
        .with_safe_default_protocol_versions()
        .map_err(|error| tls_words::could_not_set_up(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let shaken = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let chain = std::mem::take(&mut *witness.0.lock().unwrap_or_else(PoisonError::into_inner));
    if let Err(error) = shaken {
        let cause = match find::<rustls::Error>(&error) {
            Some(error) => tls_words::tls(error),
            None => text::escape(&error.to_string()),
        };
        return Err(Error::failed("the TLS handshake failed")
            .because(anyhow::anyhow!("{}", cause))
            .hint("does a TLS server listen there, one that speaks TLS as soon as it is connected?"));
    }
    Presented::new(chain, host, env.now())
}

fn server_name(host: &str) -> Result<ServerName<'static>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(bare.to_owned())
        .map_err(|error| Error::usage("not a host name").at(text::escape(host)).because(error))
}

/// Accepts and stores whatever is presented; but the server must have the key.
#[derive(Debug, Default)]
struct Witness(Mutex<Vec<CertificateDer<'static>>>);

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = chain.collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
