//! Connections that do not speak HTTP: TCP, unix sockets, and TLS over both after a greeting, as mail servers and
//! databases have it.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use trustup::dev_ca::DevCa;
use trustup::error::{Error, ErrorKind, Result};
use trustup::host::env::Env;
use trustup::net::connect::{Endpoint, Via};
use trustup::net::dns::ResolverSettings;
use trustup::net::{Credentials, HttpRequest, Net, Trust};

use super::{PATIENCE, block_on, ca, check, net, roots_of};
use crate::servers::{
    ConnectProxy, Stream, accepted, listen, nobody, path_of, respond, serve_at, tls_config,
};
use crate::support::silent_server::SilentServer;
use crate::support::socks::SocksProxy;

/// A server for `db.test` that speaks TLS after a greeting; it answers in capitals.
fn starttls(ca: &DevCa, mut accept: impl FnMut() -> io::Result<Box<dyn Stream>> + Send + 'static) {
    let config = tls_config(ca.issue(&["db.test"]).expect("issued"));
    thread::spawn(move || {
        while let Ok(mut stream) = accept() {
            let config = config.clone();
            thread::spawn(move || -> io::Result<()> {
                stream.write_all(b"220 ready\n")?;
                let mut line = String::new();
                // Nothing follows this line before the answer to it.
                BufReader::new(&mut stream).read_line(&mut line)?;
                assert_eq!(line, "STARTTLS\n");
                stream.write_all(b"go\n")?;
                let mut stream = BufReader::new(accepted(config, stream));
                line.clear();
                stream.read_line(&mut line)?;
                let mut stream = stream.into_inner();
                stream.write_all(line.to_uppercase().as_bytes())?;
                stream.conn.send_close_notify();
                stream.flush()
            });
        }
    });
}

fn starttls_over_tcp(ca: &DevCa) -> std::net::SocketAddr {
    let listener = listen();
    let address = listener.local_addr().expect("address");
    starttls(ca, move || Ok(Box::new(listener.accept()?.0)));
    address
}

fn tcp(host: &str, port: u16) -> Endpoint {
    Endpoint::Tcp { host: host.to_owned(), port }
}

/// Says something to such a server, and returns its answer and its certificate.
async fn talk(
    net: &Net,
    endpoint: &Endpoint,
    via: Via,
    credentials: &Credentials,
) -> Result<(String, Vec<u8>)> {
    let mut stream = net.connect(endpoint, via).await?;
    let mut greeting = [0; 10];
    stream.read_exact(&mut greeting).await.expect("greeting");
    stream.write_all(b"STARTTLS\n").await.expect("STARTTLS");
    stream.read_exact(&mut greeting[..3]).await.expect("go");
    let mut stream = net.start_tls(stream, endpoint, "db.test", credentials).await?;
    stream.write_all(b"hello\n").await.expect("hello");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answer");
    let chain = stream.get_ref().1.peer_certificates().expect("certificates");
    Ok((answer, chain[0].to_vec()))
}

fn network(variables: &[(&str, &str)], hosts: &str) -> Net {
    let env = Env::fixed(variables.iter().copied(), Env::os().now());
    let names = ResolverSettings::from_texts(None, Some(hosts.as_bytes()));
    Net::new(&env, &names, PATIENCE).expect("network")
}

#[test]
fn tls_follows_a_greeting_over_tcp_and_unix_sockets() {
    let ca = ca();
    let trust = Credentials::from(&roots_of(&ca));
    let address = starttls_over_tcp(&ca);
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("db.sock");
    let listener = UnixListener::bind(&path).expect("socket");
    starttls(&ca, move || Ok(Box::new(listener.accept()?.0)));
    let by_name = tcp("db.test", address.port());
    for endpoint in [tcp("127.0.0.1", address.port()), by_name.clone(), Endpoint::Unix(path)] {
        let (answer, server) = block_on(async {
            let net = network(&[], "127.0.0.1 db.test\n");
            talk(&net, &endpoint, Via::Direct, &trust).await.expect("an answer")
        });
        assert_eq!(answer, "HELLO\n", "{endpoint}");
        let roots = rustls::pki_types::CertificateDer::from(server);
        assert!(!roots.is_empty());
    }
    // The verifier is that of the HTTP client, and so are its words.
    let stranger = self::ca();
    let refused = block_on(async {
        let net = network(&[], "127.0.0.1 db.test\n");
        talk(&net, &by_name, Via::Direct, &Credentials::from(&roots_of(&stranger))).await
    });
    check(
        &refused.expect_err("not trusted"),
        ErrorKind::NotTrusted,
        &["`db.test:", "not issued by the test's root"],
    );
}

#[test]
fn proxies_lead_there_as_they_do_for_urls() {
    let ca = ca();
    let trust = Credentials::from(&roots_of(&ca));
    let address = starttls_over_tcp(&ca);
    let (tunnel, socks) = (ConnectProxy::to(address), SocksProxy::with_login(address, "bob", "p@ss"));
    let at_socks = |scheme: &str| format!("{scheme}://bob:p%40ss@{}", socks.address());
    let proxies =
        [format!("http://bob:hunter2@{}", tunnel.address()), at_socks("socks5h"), at_socks("socks5")];
    for proxy in &proxies {
        let answer = block_on(async {
            let net = network(&[("https_proxy", proxy)], "192.0.2.7 db.test\n");
            talk(&net, &tcp("db.test", 5432), Via::Proxies, &trust).await
        });
        assert_eq!(answer.expect(proxy).0, "HELLO\n");
    }
    let heads = tunnel.heads();
    assert!(heads[0].starts_with("CONNECT db.test:5432 "), "{}", heads[0]);
    assert!(heads[0].to_lowercase().contains("proxy-authorization: basic ym9iomh1bnrlcji="), "{}", heads[0]);
    assert_eq!(socks.asked(), ["domain db.test:5432", "address 192.0.2.7:5432"]);
    // Loopback, `no_proxy` and a caller that wants the server itself need none.
    for (host, via) in [("127.0.0.1", Via::Proxies), ("db.test", Via::Proxies), ("other.test", Via::Direct)] {
        let answer = block_on(async {
            let variables = [("https_proxy", proxies[0].as_str()), ("no_proxy", "db.test")];
            let net = network(&variables, "127.0.0.1 db.test other.test\n");
            talk(&net, &tcp(host, address.port()), via, &trust).await
        });
        assert_eq!(answer.expect(host).0, "HELLO\n");
    }
    assert_eq!(tunnel.heads().len(), 1);
}

/// Its greeting may come in one packet with the proxy's answer.
#[test]
fn a_server_that_speaks_first_is_heard_through_a_proxy() {
    // RFC 1928 section 6: succeeded, bound to 0.0.0.0:0.
    let socks = [&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0], &b"220 ready\n"[..]].concat();
    let http = b"HTTP/1.1 200 OK\r\n\r\n220 ready\n".to_vec();
    for (scheme, answers) in [("http", vec![http]), ("socks5h", vec![vec![5, 0], socks])] {
        let listener = listen();
        let proxy = format!("{scheme}://{}", listener.local_addr().expect("address"));
        let serving = thread::spawn(move || {
            let mut stream = listener.accept().expect("a client").0;
            for answer in answers {
                // Each question is short, and comes in one piece.
                assert_ne!(stream.read(&mut [0; 1024]).expect("a question"), 0);
                stream.write_all(&answer).expect("an answer");
            }
            stream
        });
        let greeting = block_on(async {
            let net = network(&[("https_proxy", &proxy)], "");
            let mut stream = net.connect(&tcp("mail.test", 25), Via::Proxies).await.expect("connected");
            let mut greeting = [0; 10];
            stream.read_exact(&mut greeting).await.expect("greeting");
            greeting
        });
        assert_eq!(&greeting, b"220 ready\n", "{scheme}");
        drop(serving.join().expect("proxy"));
    }
}

#[test]
fn failed_connections_say_what_failed() {
    let directory = tempfile::tempdir().expect("directory");
    let (missing, dead) = (directory.path().join("missing.sock"), directory.path().join("dead.sock"));
    drop(UnixListener::bind(&dead).expect("socket"));
    let connect = |net: Net, endpoint: Endpoint| -> Error {
        block_on(async { net.connect(&endpoint, Via::Proxies).await.expect_err("nobody there") })
    };
    let nobody = nobody();
    let fails = |endpoint| connect(network(&[], ""), endpoint);
    let error = fails(tcp(&nobody.ip().to_string(), nobody.port()));
    check(&error, ErrorKind::Unreachable, &[&nobody.to_string(), "refused the connection"]);
    check(&fails(tcp("db.test", 1)), ErrorKind::Unreachable, &["resolve", "`db.test`"]);
    check(&fails(tcp("no name", 1)), ErrorKind::Usage, &["not a host name"]);
    check(&fails(Endpoint::Unix(missing)), ErrorKind::Unreachable, &["missing.sock", "No such file"]);
    let error = fails(Endpoint::Unix(dead.clone()));
    let hint = "is the server that listens on this socket running?";
    check(&error, ErrorKind::Unreachable, &["dead.sock", "refused the connection", hint]);
    // Now it is.
    std::fs::remove_file(&dead).expect("removed");
    let _running = UnixListener::bind(&dead).expect("socket");
    let found = block_on(async { net(PATIENCE).connect(&Endpoint::Unix(dead), Via::Direct).await.map(drop) });
    found.expect("connected");
    let through =
        connect(network(&[("https_proxy", &format!("http://bob:hunter2@{nobody}"))], ""), tcp("db.test", 1));
    check(&through, ErrorKind::Unreachable, &["through the proxy", &nobody.to_string(), "`https_proxy`"]);
    assert!(!format!("{through:?}").contains("hunter2"), "{through:?}");
    let wanting = ConnectProxy::wanting_a_password();
    let proxy = format!("http://{}", wanting.address());
    let error = connect(network(&[("all_proxy", &proxy)], ""), tcp("db.test", 1));
    check(&error, ErrorKind::Failed, &["requires a user and a password", "`all_proxy`"]);
}

#[test]
fn a_handshake_ends_in_time() {
    let silent = SilentServer::start();
    let endpoint = tcp("127.0.0.1", silent.address().port());
    let error = block_on(async {
        let net = net(Duration::from_millis(300));
        let stream = net.connect(&endpoint, Via::Direct).await.expect("its backlog takes it");
        net.start_tls(stream, &endpoint, "127.0.0.1", &Credentials::from(&Trust::Unverified)).await
    });
    check(&error.expect_err("no answer"), ErrorKind::Unreachable, &["in time", "--timeout"]);
}

#[test]
fn http_goes_over_a_unix_socket() {
    let ca = ca();
    let directory = tempfile::tempdir().expect("directory");
    let answer = |head: &str, stream: &mut dyn Stream| match path_of(head) {
        "/_ping" => respond(stream, 200, &[], head.to_lowercase().as_bytes()),
        _ => respond(stream, 404, &[], b"{\"message\":\"page not found\"}"),
    };
    let (plain, tls) = (directory.path().join("plain.sock"), directory.path().join("tls.sock"));
    serve_at(&plain, None, answer);
    serve_at(&tls, Some(tls_config(ca.issue(&["docker.test"]).expect("issued"))), answer);
    let trust = Credentials::from(&roots_of(&ca));
    // A proxy is for other machines, and is not even judged.
    let variables = [("all_proxy", "https://p.test")];
    for (socket, url) in [(&plain, "http://docker.test/_ping"), (&tls, "https://docker.test/_ping")] {
        block_on(async {
            let client = network(&variables, "").client_at(socket, trust.clone()).expect("client");
            let url: url::Url = url.parse().expect("URL");
            let answer = client.send(HttpRequest::get(url.clone())).await.expect("an answer");
            assert_eq!(answer.status, 200);
            let head = String::from_utf8(answer.body).expect("text");
            assert!(head.contains("host: docker.test\r\n"), "{head}");
            let other = client.send(HttpRequest::get(url.join("/v1.41/x").expect("URL"))).await;
            assert_eq!(other.expect("an answer").status, 404);
        });
    }
    let fails = |socket: &std::path::Path, url: &str| {
        block_on(async {
            let client = network(&[], "").client_at(socket, trust.clone()).expect("client");
            client.send(HttpRequest::get(url.parse().expect("URL"))).await.expect_err("no answer").error
        })
    };
    let missing = directory.path().join("missing.sock");
    check(&fails(&missing, "http://docker.test/"), ErrorKind::Unreachable, &["missing.sock", "No such file"]);
    let error = fails(&tls, "https://other.test/");
    check(&error, ErrorKind::NotTrusted, &["tls.sock", "not for `other.test`", "`docker.test`"]);
}
