//! One TLS handshake that shows which chain a server sends; which clients would accept it is judged afterwards, against
//! any set of roots. Nothing is sent but the handshake.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};

use super::connect::{Endpoint, secure, server_name};
use super::dns::NameError;
use super::endpoint::bare;
use super::failure::find;
use super::tls::{config_with, provider};
use super::{Net, tls_words};
use crate::error::{Error, Result};
use crate::pki::cert::Certificate;
use crate::pki::cert::facts::KeyKind;
use crate::text;

/// What a server presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// DER: the server's own first, then what it sent with it.
    pub chain: Vec<CertificateDer<'static>>,
    /// It sent an answer of OCSP (stapling).
    pub(crate) is_stapled: bool,
    /// It proved that it has the first certificate's key. If not, the key or the signature is of a kind that trustup
    /// cannot verify: the chain may be another server's.
    pub(crate) is_proven: bool,
    host: String,
    now: i64,
}

impl Presented {
    /// What a server called `host` (a DNS name, or an address with or without brackets) presented at `now` (seconds
    /// since 1970), having proven that it has the key.
    ///
    /// # Errors
    /// The name is neither a DNS name nor an address.
    pub fn new(chain: Vec<CertificateDer<'static>>, host: &str, now: i64) -> Result<Presented> {
        server_name(host)?;
        let host = bare(host).to_owned();
        Ok(Presented { chain, is_stapled: false, is_proven: true, host, now })
    }

    /// The server's name, or its address without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        self.now
    }
}

/// Connects to `host`:`port`, directly as most clients would without a proxy, and shakes hands.
///
/// # Errors
/// The name is unknown, no server answers, or what answers is not a TLS server.
pub(crate) async fn shake_hands(net: &Net, host: &str, port: u16) -> Result<Presented> {
    let presented = match net.attempt(exchange(net, host, port)).await? {
        Some(done) => done,
        None => Err(no_answer(net)),
    };
    presented.map_err(|error| error.at(format!("{}:{port}", text::escape(host))))
}

fn no_answer(net: &Net) -> Error {
    Error::unreachable(format!("no answer within {} s", net.timeout.as_secs()))
        .hint("`--timeout 2m` gives it more time")
}

async fn exchange(net: &Net, host: &str, port: u16) -> Result<Presented> {
    let name = server_name(host)?;
    let endpoint = Endpoint::Tcp { host: host.to_owned(), port };
    let stream = net.dial(&endpoint, None).await.map_err(|cause| {
        if let Some(error) = find::<NameError>(cause.as_ref()) {
            let hint = error.hint();
            return Error::unreachable("could not resolve the host's name").because(error.clone()).hint(hint);
        }
        let error = Error::unreachable("could not connect").hint("is the server up, and is the port right?");
        match find::<io::Error>(cause.as_ref()) {
            Some(cause) if cause.kind() == io::ErrorKind::TimedOut => no_answer(net),
            Some(cause) => error.because(anyhow::anyhow!("{cause}")),
            None => error.because(anyhow::anyhow!("{}", text::escape(&cause.to_string()))),
        }
    })?;
    let witness = Arc::new(Witness::default());
    let config = config_with(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>, None, &net.env)?;
    let shaken = secure(stream, name, config).await;
    let seen = std::mem::take(&mut *witness.seen());
    if let Err(error) = shaken {
        let cause = match find::<rustls::Error>(&error) {
            Some(error) => tls_words::tls(error),
            None => text::escape(&error.to_string()),
        };
        return Err(Error::failed("the TLS handshake failed")
            .because(anyhow::anyhow!("{}", cause))
            .hint("does a TLS server listen there, one that speaks TLS as soon as it is connected?"));
    }
    let presented = Presented::new(seen.chain, host, net.env.now())?;
    Ok(Presented { is_stapled: seen.is_stapled, is_proven: !seen.is_unproven, ..presented })
}

/// What was seen in a handshake.
#[derive(Debug, Default)]
struct Seen {
    chain: Vec<CertificateDer<'static>>,
    is_stapled: bool,
    is_unproven: bool,
}

/// Accepts and stores whatever is presented; but the server must have the key, as far as that can be verified here.
#[derive(Debug, Default)]
struct Witness(Mutex<Seen>);

impl Witness {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Verifies the proof with the key alone: rustls reads no certificate of version 1, for one. If the key or the
    /// signature is of a kind that is not verified here, that is noted.
    fn witnessed(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms.mapping;
        let of_scheme = algorithms.iter().find(|(scheme, _)| *scheme == signed.scheme);
        let leaf = Certificate::from_der(certificate).ok().filter(has_known_key);
        let (Some((_, algorithms)), Some(leaf)) = (of_scheme, leaf) else {
            self.seen().is_unproven = true;
            return Ok(HandshakeSignatureValid::assertion());
        };
        let key = SubjectPublicKeyInfoDer::from(leaf.public_key());
        let is_valid = webpki::RawPublicKeyEntity::try_from(&key).is_ok_and(|key| {
            algorithms
                .iter()
                .any(|algorithm| key.verify_signature(*algorithm, message, signed.signature()).is_ok())
        });
        if is_valid {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(rustls::Error::InvalidCertificate(CertificateError::BadSignature))
        }
    }
}

/// Whether signatures of the certificate's key are verified here.
fn has_known_key(certificate: &Certificate) -> bool {
    const RSA: std::ops::RangeInclusive<usize> = 2048..=8192;
    certificate.facts().is_ok_and(|facts| match facts.key {
        KeyKind::Rsa(bits) => RSA.contains(&bits),
        KeyKind::Common | KeyKind::P521 | KeyKind::Ed25519 => true,
        KeyKind::RsaPss(_) | KeyKind::OtherCurve(_) | KeyKind::ExplicitCurve | KeyKind::Other(_) => false,
    })
}

/// What clients accept and trustup cannot verify: RSASSA-PSS with keys for that alone, Ed448, SHA-1, the curves of
/// Brainpool (RFC 8734).
const UNVERIFIED: [SignatureScheme; 9] = [
    SignatureScheme::Unknown(0x0809),
    SignatureScheme::Unknown(0x080a),
    SignatureScheme::Unknown(0x080b),
    SignatureScheme::Unknown(0x081a),
    SignatureScheme::Unknown(0x081b),
    SignatureScheme::Unknown(0x081c),
    SignatureScheme::ED448,
    SignatureScheme::ECDSA_SHA1_Legacy,
    SignatureScheme::RSA_PKCS1_SHA1,
];

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned());
        let mut seen = self.seen();
        seen.chain = chain.collect();
        seen.is_stapled = !ocsp_response.is_empty();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.witnessed(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.witnessed(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = provider().signature_verification_algorithms.supported_schemes();
        schemes.extend(UNVERIFIED);
        schemes
    }
}
