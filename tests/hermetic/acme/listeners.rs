//! What our listeners answer while a CA looks, and to whom (threat T26).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use trustup::acme::ChallengeType;

use super::FINISHED;
use super::server::{AcmeServer, Instead, authorization};
use crate::servers::listen;
use crate::support::acme::loopback;

/// Runs `look` while the listener at the address is up, and gives what it found.
fn while_listening<T: Send + 'static>(
    kind: ChallengeType,
    look: impl Fn(SocketAddr) -> T + Send + Sync + 'static,
) -> T {
    // Free, and nobody else's for the moment that it takes.
    let address = loopback(listen().local_addr().expect("address").port());
    let found = Arc::new(Mutex::new(None));
    let put = Arc::clone(&found);
    let server = AcmeServer::start(move |asked, base| {
        if asked.path == "/challenge" {
            *put.lock().expect("lock") = Some(look(address));
        }
        let pending = asked.path == "/authz" && !asked.told;
        pending.then(|| Instead::Json(200, authorization(base, "token", "pending")))
    });
    let mut client = server.client();
    client.settings.challenge = Some(kind);
    client.settings.http_listen = Some(address);
    client.settings.tls_listen = Some(address);
    let error = client.fails(&["a.test"]);
    assert!(error.to_string().contains(FINISHED), "{error}");
    TcpStream::connect(address).expect_err("nobody listens any more");
    found.lock().expect("lock").take().expect("it was asked to look")
}

/// Sends bytes and reads to the end: what came, and how long it took.
pub(crate) fn talk(address: SocketAddr, said: &[u8]) -> (String, Duration) {
    let started = Instant::now();
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("time-out");
    // One that is refused early may be closed before all is sent.
    drop(stream.write_all(said));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    (String::from_utf8_lossy(&answer).into_owned(), started.elapsed())
}

#[test]
fn t26_http_01_answers_one_path_and_has_no_patience() {
    let path = "/.well-known/acme-challenge/token";
    let answers = while_listening(ChallengeType::Http01, move |address| {
        let ask = |request: String| talk(address, request.as_bytes());
        let long = "x".repeat(9 * 1024);
        [
            ask(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")),
            ask(format!("HEAD {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")),
            ask(format!("POST {path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n")),
            ask(format!("GET {path}/ HTTP/1.1\r\nHost: a.test\r\n\r\n")),
            ask("GET /etc/passwd HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned()),
            ask(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nX: {long}\r\n\r\n")),
            ask(format!("GET {path} HTTP/1.1\r\nHost:")),
            ask("\u{16}\u{3}\u{1}".to_owned()),
        ]
    });
    let status = |number: usize| answers[number].0.split(' ').nth(1).unwrap_or_default().to_owned();
    assert_eq!([0, 1, 2, 3, 4].map(status), ["200", "200", "405", "404", "404"], "{answers:?}");
    let body = |number: usize| answers[number].0.split_once("\r\n\r\n").expect("a head").1.to_owned();
    assert!(body(0).starts_with("token.") && body(0).len() == 6 + 43, "{answers:?}");
    assert_eq!(body(1), "");
    assert!(!answers[5].0.contains("token.") && !answers[6].0.contains("token."), "{answers:?}");
    assert!(answers[6].1 < Duration::from_secs(10), "{answers:?}");
}

#[test]
fn t26_tls_alpn_01_shows_its_certificate_to_who_asks_for_it_alone() {
    let seen = while_listening(ChallengeType::TlsAlpn01, |address| {
        let shake = |protocols: &[&str], name: &str| {
            let mut config =
                ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                    .with_safe_default_protocol_versions()
                    .expect("versions")
                    .with_root_certificates(RootCertStore::empty())
                    .with_no_client_auth();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
            let name = ServerName::try_from(name.to_owned()).expect("name");
            let connection = ClientConnection::new(Arc::new(config), name).expect("client");
            let mut stream = StreamOwned::new(connection, TcpStream::connect(address).expect("connected"));
            let error = stream.read(&mut [0]).expect_err("nobody believes that certificate");
            let shown = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()).cloned();
            matches!(shown, Some(rustls::Error::InvalidCertificate(_)))
        };
        [
            shake(&["acme-tls/1"], "a.test"),
            shake(&["acme-tls/1"], "A.TEST"),
            shake(&[], "a.test"),
            shake(&["h2", "http/1.1"], "a.test"),
            shake(&["acme-tls/1"], "b.test"),
            shake(&["acme-tls/1"], "127.0.0.1"),
        ]
    });
    assert_eq!(seen, [true, true, false, false, false, false]);
}
