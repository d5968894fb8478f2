//! step-ca's ACME provisioner, and Caddy, which embeds the same code.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use trustup::acme::Eab;
use trustup::pki::cert::NotAfter;
use trustup::pki::key::KeyType;

use super::{FileServer, step_ca};
use crate::support::acme::{AcmeClient, key_of_other_software, loopback};
use crate::support::servers::{Caddy, StepCa, StepCaOptions};

#[test]
#[ignore = "needs step-ca"]
fn step_ca_validates_every_way() {
    let (ca, mut client) = step_ca(StepCaOptions::default());
    client.settings.http_listen = Some(loopback(ca.http_port()));
    let chain = client.obtain(&["localhost", "127.0.0.1"]).expect("issued");
    assert_eq!(chain.len(), 2);
    client.settings.http_listen = None;
    client.settings.tls_listen = Some(loopback(ca.tls_port()));
    client.obtain(&["localhost", "127.0.0.1"]).expect("issued");
    assert!(client.said("using the existing account"));
}

#[test]
#[ignore = "needs step-ca"]
fn step_ca_is_asked_again_until_it_gets_through() {
    let (ca, mut client) = step_ca(StepCaOptions::default());
    let root = TempDir::new().expect("webroot");
    let server = FileServer::start(ca.http_port(), root.path(), 2);
    client.settings.webroot = Some(root.path().to_owned());
    client.obtain(&["localhost"]).expect("issued");
    assert!(client.said("not validated yet, asking again"), "{:#?}", client.lines());
    assert_eq!(server.asked(), 3);

    // Nobody there at all: until the time is up, with the CA's reason.
    drop(server);
    client.timeout = Duration::from_secs(4);
    let error = client.fails(&["localhost"]);
    assert_eq!(error.kind().exit_code(), 6, "{error}");
    assert!(error.to_string().contains("the CA says:"), "{error}");

    // The next run goes on with that order.
    client.timeout = Duration::from_secs(60);
    client.settings.webroot = None;
    client.settings.http_listen = Some(loopback(ca.http_port()));
    client.obtain(&["localhost"]).expect("issued");
    assert!(client.said("resuming the order") && !client.said("order placed"), "{:#?}", client.lines());
}

#[test]
#[ignore = "needs step-ca"]
fn a_wrong_answer_at_step_ca_is_final() {
    let (ca, mut client) = step_ca(StepCaOptions::default());
    // A web server of somebody else: it has a file for every token, with the wrong content.
    let listener = TcpListener::bind(loopback(ca.http_port())).expect("port");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("step-ca");
        drop(stream.read(&mut [0; 4096]));
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwrong"));
    });
    let root = TempDir::new().expect("webroot");
    client.settings.webroot = Some(root.path().to_owned());
    let started = Instant::now();
    let error = client.fails(&["localhost"]);
    server.join().expect("server");
    assert_eq!(error.kind().exit_code(), 4, "{error}");
    assert!(started.elapsed() < Duration::from_secs(20), "not only the order is looked at");
}

#[test]
#[ignore = "needs step-ca"]
fn an_account_outlives_a_new_name_of_step_ca() {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let (ca, mut client) = step_ca(StepCaOptions { names, ..StepCaOptions::default() });
    client.settings.http_listen = Some(loopback(ca.http_port()));
    client.obtain(&["localhost"]).expect("issued");
    let account = client.store.account_url();
    let moved = ca.acme_directory().replace("localhost", "127.0.0.1");
    client.settings.directory = moved.parse().expect("URL");
    client.obtain(&["localhost"]).expect("issued under the new name");
    assert_eq!((client.store.saved, client.store.account_url()), (1, account), "{:#?}", client.lines());

    // An account URL that the CA refuses: a new account, with a new key.
    let content = String::from_utf8(client.store.content.clone().expect("kept")).expect("text");
    client.store.content =
        Some(content.replace("https://localhost:", "https://elsewhere.test:").into_bytes());
    client.obtain(&["localhost"]).expect("issued with a new account");
    assert!(client.said("no longer knows the account"), "{:#?}", client.lines());
    let again = String::from_utf8(client.store.content.clone().expect("kept")).expect("text");
    assert_ne!(again.split_once("BEGIN").expect("key").1, content.split_once("BEGIN").expect("key").1);
    assert_eq!(client.store.aside.len(), 1, "the key of what may be another CA's account is kept");
}

#[test]
#[ignore = "needs step-ca"]
fn a_key_of_other_software_finds_its_account() {
    let (ca, mut client) = step_ca(StepCaOptions::default());
    client.settings.http_listen = Some(loopback(ca.http_port()));
    client.obtain(&["localhost"]).expect("issued");
    let account = client.store.account_url();
    let content = String::from_utf8(client.store.content.clone().expect("kept")).expect("text");
    client.store.content = Some(content.as_bytes()[content.find("-----BEGIN").expect("key")..].to_vec());
    client.obtain(&["localhost"]).expect("issued");
    assert!(client.said("account of the given key found"), "{:#?}", client.lines());
    assert_eq!(client.store.account_url(), account);
    client.store.content = Some(key_of_other_software(KeyType::EcP256));
    client.obtain(&["localhost"]).expect("issued");
    assert!(client.said("account of the given key made"), "{:#?}", client.lines());
}

#[test]
#[ignore = "needs step-ca"]
fn an_external_account_is_asked_for_where_step_ca_wants_one() {
    let (ca, mut client) = step_ca(StepCaOptions { external_accounts: true, ..StepCaOptions::default() });
    client.settings.directory = ca
        .acme_directory()
        .replace("/acme/acme/", &format!("/acme/{}/", StepCa::ACME_EAB))
        .parse()
        .expect("URL");
    let error = client.fails(&["localhost"]);
    assert!(error.kind().exit_code() == 2 && error.hints()[0].contains("--eab-kid"), "{error}");
    client.settings.eab = Some(Eab::from_texts("nobody", "c2VjcmV0LXNlY3JldC1zZWNyZXQ").expect("EAB"));
    let error = client.fails(&["localhost"]);
    // "The server experienced an internal error" is what it says of a key that it does not know.
    assert_eq!((error.kind().exit_code(), client.store.saved), (6, 0), "{error}");
    assert!(error.hints().iter().any(|hint| hint.contains("external account")), "{:?}", error.hints());
}

#[test]
#[ignore = "needs step-ca"]
fn account_keys_that_step_ca_takes() {
    let (ca, client) = step_ca(StepCaOptions::default());
    drop(client);
    for kind in KeyType::ALL {
        let mut client = AcmeClient::new(&ca.acme_directory(), ca.root_der());
        client.settings.http_listen = Some(loopback(ca.http_port()));
        client.settings.account_key_type = kind;
        for _ in 0..2 {
            client.obtain(&["localhost"]).unwrap_or_else(|error| panic!("{kind}: {error}"));
        }
        assert_eq!(client.store.saved, 1, "{kind}");
    }
}

#[test]
#[ignore = "needs step-ca"]
fn step_ca_takes_an_end_of_life_within_its_limits() {
    let (ca, mut client) = step_ca(StepCaOptions::default());
    client.settings.http_listen = Some(loopback(ca.http_port()));
    for hours in [1, 23] {
        client.settings.not_after = Some(NotAfter::Duration(hours * 3600));
        let chain = client.obtain(&["localhost"]).expect("issued");
        let life = (chain[0].not_after() - chain[0].not_before()).unsigned_abs();
        // Dated back by a minute.
        assert!(life.abs_diff(hours * 3600) <= 120, "{hours} h: {life} s");
    }
    client.settings.not_after = Some(NotAfter::Duration(24 * 365 * 3600));
    let error = client.fails(&["localhost"]);
    let hints = error.hints().join(" ");
    assert!(hints.contains("omit `--not-after`") && hints.contains("maxTLSCertDuration"), "{error}: {hints}");
}

#[test]
#[ignore = "needs step-ca"]
fn a_wrong_directory_is_named() {
    let (ca, mut client) = step_ca(StepCaOptions::default());
    for path in ["/acme/none/directory", "/acme/dev/directory", "/health", "/nothing"] {
        client.settings.directory = format!("{}{path}", ca.url()).parse().expect("URL");
        let error = client.fails(&["localhost"]);
        assert!(
            error.hints().iter().any(|hint| hint.contains("/acme/PROVISIONER/directory")),
            "{path}: {error}"
        );
        assert_eq!(error.kind().exit_code(), 1, "{path}: {error}");
    }
}

#[test]
#[ignore = "needs caddy and root"]
fn caddy_issues_too() {
    let caddy = Caddy::acme_server();
    let pem = std::fs::read_to_string(caddy.root_file()).expect("root");
    let (_, root) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).expect("PEM");
    let mut client = AcmeClient::new(&caddy.directory_url(), &root.contents);
    let name = caddy.identifier().to_string();
    client.settings.http_listen = Some((caddy.identifier(), 80).into());
    client.obtain(&[&name]).expect("issued");
    client.settings.http_listen = None;
    client.settings.tls_listen = Some((caddy.identifier(), 443).into());
    client.obtain(&[&name]).expect("issued");
}
