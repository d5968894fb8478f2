//! The embedded CA's server as strangers meet it (threat T26).

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use trustup::dev_ca::{DevCa, Server};
use trustup::host::env::Env;
use trustup::net::tls;

use crate::servers::nobody;
use crate::support::servers::wait_for;

fn start() -> (Arc<DevCa>, Server) {
    let ca = Arc::new(DevCa::new(&Env::os()).expect("demo CA"));
    let server = Server::start(Arc::clone(&ca), "127.0.0.1:0".parse().expect("address"), &["localhost"]);
    (ca, server.expect("server"))
}

/// What the server answers to `request`, as text; what it sent before it closed, if it closes early.
pub(crate) fn exchange(ca: &DevCa, server: &Server, request: &[u8]) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(ca.root_der().to_vec().into()).expect("root");
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("TLS client");
    let stream = TcpStream::connect(server.address()).expect("connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("time-out");
    let mut stream = StreamOwned::new(connection, stream);
    let mut answer = Vec::new();
    if stream.write_all(request).is_ok() {
        let _ = stream.read_to_end(&mut answer);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(ca: &DevCa, server: &Server, line: &str) -> String {
    exchange(
        ca,
        server,
        format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
    )
}

#[test]
fn get_and_head_on_exact_paths_only() {
    let (ca, server) = start();
    assert!(get(&ca, &server, "GET /health").ends_with("\r\n\r\n{\"status\":\"ok\"}\n"));
    let head = get(&ca, &server, "HEAD /roots.pem");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(get(&ca, &server, "GET /health/../roots.pem").starts_with("HTTP/1.1 404 "));
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        assert!(get(&ca, &server, &format!("{method} /health")).starts_with("HTTP/1.1 405 "), "{method}");
    }
}

#[test]
fn a_head_over_eight_kibibytes_is_refused() {
    let (ca, server) = start();
    let fits = format!("GET /health HTTP/1.1\r\nConnection: close\r\nX: {}\r\n\r\n", "x".repeat(7 * 1024));
    assert!(exchange(&ca, &server, fits.as_bytes()).starts_with("HTTP/1.1 200 "));
    let large = format!("GET /health HTTP/1.1\r\nConnection: close\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
    let answer = exchange(&ca, &server, large.as_bytes());
    assert!(!answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn a_crowd_of_slow_connections_does_not_lock_others_out() {
    let (ca, server) = start();
    let crowd: Vec<TcpStream> =
        (0..300).map(|_| TcpStream::connect(server.address()).expect("connection")).collect();
    wait_for("the crowd in the server", || (server.connections() == 300).then_some(()));
    assert!(get(&ca, &server, "GET /health").contains("\"ok\""));
    assert_eq!(server.connections(), 301);
    // It did not wait for the end of the slow ones: the latest are connected still.
    let last = crowd.last().expect("a crowd");
    last.set_nonblocking(true).expect("no waiting");
    let kind = (&mut &*last).read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(kind, Err(std::io::ErrorKind::WouldBlock), "the server waited until it had cut off all");
    drop(crowd);
}

#[test]
fn who_says_nothing_is_cut_off() {
    let (_, server) = start();
    let mut silent = TcpStream::connect(server.address()).expect("connection");
    silent.set_read_timeout(Some(Duration::from_secs(20))).expect("time-out");
    let mut rest = Vec::new();
    // Ends with the server's end of the connection, in good form or not; a time-out would be an error of its own.
    let ended = silent.read_to_end(&mut rest);
    let timed_out = ended.is_err_and(|error| {
        matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
    });
    assert!(!timed_out, "the server kept a silent connection for 20 s");
}

#[test]
fn it_stops_when_it_is_dropped() {
    // An address of its own: nobody else gets the port between the server's end and the look.
    let ca = Arc::new(DevCa::new(&Env::os()).expect("demo CA"));
    let address = nobody();
    let server = Server::start(ca, address, &["localhost"]).expect("server");
    let mut open = TcpStream::connect(address).expect("connection");
    drop(server);
    assert!(TcpStream::connect(address).is_err(), "somebody still listens");
    open.set_read_timeout(Some(Duration::from_secs(60))).expect("time-out");
    assert!(matches!(open.read(&mut [0]), Ok(0) | Err(_)));
}
