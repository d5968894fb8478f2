//! tls-alpn-01 by a listener of our own (RFC 8737; addresses: RFC 8738 section 6): a certificate for exactly one name
//! with the digest in a critical extension, shown only to clients that ask for `acme-tls/1` and that name.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair, SanType};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::acme::order::Answer;
use crate::error::{Error, Result};
use crate::net::listener::Listener;
use crate::net::tls;
use crate::pki::cert::SubjectAltName;

const PROTOCOL: &[u8] = b"acme-tls/1";

/// SNI to certificate.
#[derive(Debug)]
struct Certificates(BTreeMap<String, Arc<CertifiedKey>>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // A client without the protocol is not a CA: a browser must never see such a certificate.
        hello.alpn()?.find(|protocol| *protocol == PROTOCOL)?;
        self.0.get(&hello.server_name()?.to_ascii_lowercase()).cloned()
    }
}

/// Answers the challenges on `listener`.
pub(super) fn serve(listener: TcpListener, answers: &[&Answer]) -> Result<std::io::Result<Listener>> {
    let certificates = answers.iter().map(|answer| Ok((server_name(&answer.name), certificate(answer)?)));
    let certificates = Arc::new(Certificates(certificates.collect::<Result<_>>()?));
    let mut config = rustls::ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Ok(Listener::start(listener, move |stream| {
        let acceptor = acceptor.clone();
        // Only the handshake is needed.
        async move { drop(acceptor.accept(stream).await) }
    }))
}

fn failed(error: impl Into<anyhow::Error>) -> Error {
    Error::failed("could not create the certificate for tls-alpn-01").because(error)
}

fn certificate(answer: &Answer) -> Result<Arc<CertifiedKey>> {
    let make = || -> Result<_, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![match &answer.name {
            SubjectAltName::Ip(address) => SanType::IpAddress(*address),
            name => SanType::DnsName(name.to_string().try_into()?),
        }];
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(&answer.digest)];
        let key = KeyPair::generate()?;
        Ok((params.self_signed(&key)?.der().clone(), key.serialize_der()))
    };
    // rcgen panics on a digest of another length.
    if answer.digest.len() != 32 {
        return Err(failed(anyhow::anyhow!("the digest is not SHA-256")));
    }
    let (certificate, key) = make().map_err(failed)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
    let key = tls::provider().key_provider.load_private_key(key).map_err(failed)?;
    // Not `from_der`, which parses the certificate and does not know the critical extension.
    Ok(Arc::new(CertifiedKey::new(vec![certificate], key)))
}

/// The name that a CA asks for: for an address the one of its reverse mapping (RFC 8738 section 6).
fn server_name(name: &SubjectAltName) -> String {
    match name {
        SubjectAltName::Ip(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        SubjectAltName::Ip(IpAddr::V6(address)) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            let labels: Vec<String> = nibbles.map(|nibble| format!("{nibble:x}")).collect();
            format!("{}.ip6.arpa", labels.join("."))
        }
        name => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_asked_for_by_their_reverse_names() {
        let name = |text: &str| server_name(&text.parse().expect("name"));
        assert_eq!(name("192.0.2.1"), "1.2.0.192.in-addr.arpa");
        assert_eq!(
            name("2001:db8::1"),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
        assert_eq!(name("a.test"), "a.test");
    }
}
