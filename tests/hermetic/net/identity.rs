//! Servers that demand a client certificate (mutual TLS), as step-ca's `/renew` and Docker's TCP port do.

use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use trustup::dev_ca::{IssuedPair, Server};
use trustup::error::ErrorKind;
use trustup::net::{Credentials, HttpRequest, Identity, tls};
use trustup::pki::cert::pem;

use super::{PATIENCE, block_on, ca, check, net, roots_of};
use crate::servers::{WebServer, respond};
use crate::support::ca::{Root, root};
use crate::support::step_api::Caller;

/// Demands a certificate of `clients`.
fn demanding(
    server: IssuedPair,
    clients: &Root,
    version: &'static rustls::SupportedProtocolVersion,
) -> WebServer {
    let mut roots = RootCertStore::empty();
    roots.add(clients.der.clone().into()).expect("root");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider());
    let config = rustls::ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[version])
        .expect("TLS version")
        .with_client_cert_verifier(verifier.build().expect("verifier"))
        .with_single_cert(server.chain, server.key)
        .expect("server certificate");
    WebServer::https_with(Arc::new(config), |_, stream| respond(stream, 200, &[], b"welcome"))
}

/// A client that `root` knows.
fn client_of(root: &Root) -> Identity {
    let key = KeyPair::generate().expect("key");
    let mut params = CertificateParams::new(["client.test".to_owned()]).expect("a name");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = root.sign_for(params, &key);
    Identity::new(vec![certificate.into()], &key.serialize_der()).expect("identity")
}

#[test]
fn the_right_client_certificate_is_accepted_and_none_or_another_is_refused() {
    let (ca, clients, strangers) = (ca(), root("clients"), root("strangers"));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = demanding(ca.issue(&["127.0.0.1"]).expect("issued"), &clients, version);
        let url = server.url("/").parse().expect("URL");
        let ask = |credentials: Credentials| {
            block_on(async {
                let client = net(PATIENCE).client(&url, credentials).expect("client");
                client.send(HttpRequest::get(url.clone())).await
            })
        };
        let trust = Credentials::from(&roots_of(&ca));
        let answer = ask(trust.clone().with_identity(client_of(&clients))).expect("accepted");
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"welcome"[..]), "{version:?}");
        let refused = ask(trust.clone().with_identity(client_of(&strangers))).expect_err("a stranger");
        check(&refused.error, ErrorKind::Failed, &["TLS handshake", "alert", "unknown_ca"]);
        let refused = ask(trust).expect_err("nobody");
        check(&refused.error, ErrorKind::Failed, &["TLS handshake", "alert", "certificate_required"]);
    }
}

#[test]
fn a_server_is_judged_before_it_sees_our_certificate() {
    let (ca, stranger, clients) = (ca(), self::ca(), root("clients"));
    let server =
        demanding(stranger.issue(&["127.0.0.1"]).expect("issued"), &clients, &rustls::version::TLS13);
    let url = server.url("/").parse().expect("URL");
    let trust = Credentials::from(&roots_of(&ca));
    let credentials = trust.with_identity(client_of(&clients));
    let refused = block_on(async {
        let client = net(PATIENCE).client(&url, credentials).expect("client");
        client.send(HttpRequest::get(url.clone())).await.expect_err("not trusted")
    });
    check(&refused.error, ErrorKind::NotTrusted, &["not issued by the test's root"]);
    assert!(!refused.sent);
}

#[test]
fn a_certificate_and_a_key_must_belong_together() {
    let ca = ca();
    let issue = || ca.issue(&["client.test"]).expect("issued");
    let (one, other) = (issue(), issue());
    for (chain, key, words) in [
        (one.chain.clone(), other.key.secret_der(), "do not belong together"),
        (Vec::new(), one.key.secret_der(), "certificate"),
        (one.chain.clone(), b"no key".as_slice(), "key"),
    ] {
        let error = Identity::new(chain, key).expect_err(words);
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.what().contains("client certificate"), "{error}");
    }
    // The key is not shown.
    assert_eq!(format!("{:?}", client_of(&root("clients"))), "Identity(1 certificates)");
}

/// step-ca's way to renew: the certificate in the handshake is the whole request.
#[test]
fn a_certificate_renews_itself_over_its_own_connection() {
    let ca = ca();
    let server = Server::start(Arc::clone(&ca), "127.0.0.1:0".parse().expect("address"), &["localhost"]);
    let server = server.expect("server");
    let caller = Caller::new(server.address(), ca.root_der(), ca.provisioner(), ca.password());
    let (chain, key) = caller.pair("web.test");
    let chain: Vec<_> = pem::blocks(chain.as_bytes()).into_iter().filter_map(|block| block.der).collect();
    let old = chain[0].clone();
    let identity = Identity::new(chain.into_iter().map(Into::into).collect(), key.pkcs8()).expect("identity");
    let url: url::Url = format!("{}/1.0/renew", caller.url()).parse().expect("URL");
    let renew = |credentials: Credentials| {
        block_on(async {
            let client = net(PATIENCE).client(&url, credentials).expect("client");
            client.send(HttpRequest::post(url.clone(), Vec::new())).await.expect("an answer")
        })
    };
    let trust = Credentials::from(&roots_of(&ca));
    let renewed = renew(trust.clone().with_identity(identity));
    assert_eq!(renewed.status, 201);
    let renewed: serde_json::Value = serde_json::from_slice(&renewed.body).expect("JSON");
    let renewed = pem::blocks(renewed["crt"].as_str().expect("PEM").as_bytes());
    assert_ne!(renewed[0].der.as_ref().expect("DER"), &old);
    assert_eq!(renew(trust).status, 400, "nobody has nothing to renew");
}
