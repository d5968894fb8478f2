//! pebble: every challenge, and what it is set up to make hard.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tempfile::TempDir;
use trustup::acme::{ChallengeType, Eab};
use trustup::pki::key::KeyType;

use super::{FileServer, client, pebble};
use crate::support::acme::loopback;
use crate::support::network::in_own_network;
use crate::support::servers::PebbleOptions;

#[test]
#[ignore = "needs pebble"]
fn http_01_by_our_listener() {
    let (pebble, _dns) = pebble(PebbleOptions::default());
    let mut client = client(&pebble).listening(pebble.http_port());
    client.obtain(&["a.test", "b.test", "127.0.0.1"]).expect("issued");
    for line in [
        "account made",
        "order placed for a.test",
        "http-01 (an address",
        "listening at 127.0.0.1:",
        "`127.0.0.1` validated",
        "certificate issued",
    ] {
        assert!(client.said(line), "{line}: {:#?}", client.lines());
    }
    let account = client.store.account_url();
    client.obtain(&["a.test"]).expect("issued again");
    assert!(client.said("using the existing account"), "{:#?}", client.lines());
    assert_eq!((client.store.saved, client.store.account_url()), (1, account));
    TcpListener::bind(loopback(pebble.http_port())).expect("the listener is gone");
}

#[test]
#[ignore = "needs pebble and root"]
fn all_addresses_are_those_of_both_families() {
    in_own_network("acme::pebble::all_addresses_are_those_of_both_families", || {
        std::fs::write("/proc/sys/net/ipv6/bindv6only", "1").expect("a network whose IPv6 is for itself");
        // pebble asks over IPv4.
        let (pebble, _dns) = pebble(PebbleOptions::default());
        let mut client = client(&pebble);
        client.settings.http_listen = Some((Ipv6Addr::UNSPECIFIED, pebble.http_port()).into());
        client.obtain(&["a.test"]).expect("issued");
        assert!(client.said("listening at [::]:"), "{:#?}", client.lines());
    });
}

#[test]
#[ignore = "needs pebble"]
fn http_01_by_a_webroot() {
    let (pebble, _dns) = pebble(PebbleOptions::default());
    let root = TempDir::new().expect("webroot");
    let server = FileServer::start(pebble.http_port(), root.path(), 0);
    let mut client = client(&pebble);
    client.settings.webroot = Some(root.path().to_owned());
    client.obtain(&["a.test"]).expect("issued");
    assert!(server.asked() > 0 && client.said("a webroot is configured"), "{:#?}", client.lines());
    assert_eq!(std::fs::read_dir(root.path()).expect("webroot").count(), 0, "nothing is left");

    // What was there before stays, also when the CA gets no answer.
    std::fs::create_dir_all(root.path().join(".well-known/other")).expect("directory");
    drop(server);
    // Another name: pebble uses one authorization in a hundred again, even where it is told to use none.
    let error = client.fails(&["b.test"]);
    assert_eq!(error.kind().exit_code(), 4, "{error}");
    assert!(
        error.to_string().contains("connection refused") && error.hints()[0].contains("port 80"),
        "{error}"
    );
    let left: Vec<PathBuf> = std::fs::read_dir(root.path().join(".well-known"))
        .expect("directory")
        .map(|entry| entry.expect("entry").path())
        .collect();
    assert_eq!(left, [root.path().join(".well-known/other")]);
}

#[test]
#[ignore = "needs pebble"]
fn tls_alpn_01_by_our_listener() {
    let (pebble, _dns) = pebble(PebbleOptions::default());
    let mut client = client(&pebble);
    client.settings.tls_listen = Some(loopback(pebble.tls_port()));
    client.obtain(&["a.test", "b.test", "127.0.0.1"]).expect("issued");
    assert!(client.said("tls-alpn-01: listening at"), "{:#?}", client.lines());
}

#[test]
#[ignore = "needs pebble"]
fn external_accounts() {
    let key = b"a key of thirty-two bytes or more".to_vec();
    let external_accounts = BTreeMap::from([("kid-1".to_owned(), key.clone())]);
    let (pebble, _dns) = pebble(PebbleOptions { external_accounts, ..PebbleOptions::default() });
    let mut client = client(&pebble).listening(pebble.http_port());
    let error = client.fails(&["a.test"]);
    assert_eq!(error.kind().exit_code(), 2, "{error}");
    assert!(error.hints()[0].contains("--eab-kid"), "{:?}", error.hints());

    client.settings.eab = Some(
        Eab::from_texts("kid-1", &URL_SAFE_NO_PAD.encode(b"another key of thirty-two bytes.")).expect("EAB"),
    );
    let error = client.fails(&["a.test"]);
    assert_eq!((error.kind().exit_code(), client.store.saved), (4, 0), "{error}");

    client.settings.eab = Some(Eab::from_texts("kid-1", &URL_SAFE_NO_PAD.encode(&key)).expect("EAB"));
    client.obtain(&["a.test"]).expect("issued");
    client.settings.eab = None;
    client.obtain(&["a.test"]).expect("the account is enough");
}

#[test]
#[ignore = "needs pebble"]
fn profiles() {
    let profiles =
        BTreeMap::from([("default".to_owned(), 90 * 24 * 3600), ("short".to_owned(), 6 * 24 * 3600)]);
    let (pebble, _dns) = pebble(PebbleOptions { profiles, ..PebbleOptions::default() });
    let mut client = client(&pebble).listening(pebble.http_port());
    client.settings.profile = Some("short".to_owned());
    let chain = client.obtain(&["a.test"]).expect("issued");
    let days = (chain[0].not_after() - chain[0].not_before()) / (24 * 3600);
    assert!((5..=6).contains(&days), "{days}");
    client.settings.profile = Some("long".to_owned());
    let error = client.fails(&["a.test"]);
    assert_eq!(error.kind().exit_code(), 2, "{error}");
    assert!(error.hints()[0].contains("`default`, `short`"), "{:?}", error.hints());
}

#[test]
#[ignore = "needs pebble"]
fn terms_are_agreed_to_by_the_user() {
    let (pebble, _dns) = pebble(PebbleOptions::default());
    let mut client = client(&pebble).listening(pebble.http_port());
    client.settings.agree_tos = false;
    let error = client.fails(&["a.test"]);
    assert_eq!((error.kind().exit_code(), client.store.saved), (2, 0), "{error}");
    assert!(error.hints()[0].contains("--agree-tos"), "{:?}", error.hints());
    client.settings.agree_tos = true;
    client.settings.contact = vec!["admin@example.org".to_owned()];
    client.obtain(&["a.test"]).expect("issued");
}

#[test]
#[ignore = "needs pebble"]
fn every_second_nonce_may_be_refused() {
    let (pebble, _dns) = pebble(PebbleOptions { refused_nonces: 50, ..PebbleOptions::default() });
    let mut client = client(&pebble).listening(pebble.http_port());
    // As it happens, none may be refused in a few rounds; in twenty that comes about once in 2^81 runs.
    let refused = (1..=20).any(|rounds| {
        client.obtain(&["a.test", "b.test"]).expect("issued");
        let log = pebble.log();
        let asked = ["/sign-me-up", "/order-plz", "/chalZ/", "/finalize-order/"]
            .map(|path| log.matches(&format!("POST {path}")).count());
        let needed = 1 + rounds + rounds * 2 + rounds;
        rounds >= 3 && asked.iter().sum::<usize>() > needed
    });
    assert!(refused, "no nonce was refused");
}

#[test]
#[ignore = "needs pebble"]
fn slow_validation_is_waited_for() {
    let (pebble, _dns) = pebble(PebbleOptions { slow_validation: Some(6), ..PebbleOptions::default() });
    let mut client = client(&pebble).listening(pebble.http_port());
    client.obtain(&["a.test", "b.test", "c.test"]).expect("issued");
}

#[test]
#[ignore = "needs pebble"]
fn the_deadline_ends_a_validation_that_does_not_end() {
    let (pebble, _dns) = pebble(PebbleOptions::default());
    // Takes the request, and never answers.
    let _silent = TcpListener::bind(loopback(pebble.http_port())).expect("port");
    let root = TempDir::new().expect("webroot");
    let mut client = client(&pebble);
    client.settings.webroot = Some(root.path().to_owned());
    client.timeout = Duration::from_secs(2);
    // The server's own verdict on the challenge would be another error.
    let error = client.fails(&["a.test"]);
    assert_eq!(error.kind().exit_code(), 6, "{error}");
    assert!(error.hints().iter().any(|hint| hint.contains("--timeout")), "{:?}", error.hints());
    assert_eq!(std::fs::read_dir(root.path()).expect("webroot").count(), 0, "nothing is left");
}

#[test]
#[ignore = "needs pebble"]
fn an_account_that_pebble_forgot_is_made_anew() {
    let (mut pebble, _dns) = pebble(PebbleOptions::default());
    let mut client = client(&pebble).listening(pebble.http_port());
    client.obtain(&["a.test"]).expect("issued");
    let before = client.store.account_url();
    pebble.restart();
    client.obtain(&["a.test"]).expect("issued");
    assert!(client.said("no longer knows the account"), "{:#?}", client.lines());
    assert_eq!(client.store.saved, 2);
    assert_ne!(client.store.account_url(), before);
}

#[test]
#[ignore = "needs pebble"]
fn what_pebble_refuses_is_refused() {
    let (pebble, _dns) = pebble(PebbleOptions::default());
    let mut client = client(&pebble).listening(pebble.http_port());
    let error = client.fails(&["blocked.test"]);
    assert_eq!(error.kind().exit_code(), 4, "{error}");
    assert!(error.to_string().contains("(rejectedIdentifier)"), "{error}");

    // Somebody else answers where the CA looks.
    client.settings.http_listen = Some(loopback(0));
    let root = TempDir::new().expect("webroot");
    let _server = FileServer::start(pebble.http_port(), root.path(), 0);
    let error = client.fails(&["a.test"]);
    assert_eq!(error.kind().exit_code(), 4, "{error}");
    assert!(error.to_string().contains("could not validate `a.test` by http-01"), "{error}");
    assert!(error.to_string().contains("404"), "{error}");
}

#[test]
#[ignore = "needs pebble"]
fn validations_that_pebble_remembers_are_used() {
    let (pebble, _dns) = pebble(PebbleOptions { reused_authorizations: 100, ..PebbleOptions::default() });
    let mut client = client(&pebble).listening(pebble.http_port());
    client.obtain(&["a.test"]).expect("issued");
    client.obtain(&["a.test"]).expect("issued");
    assert!(
        client.said("`a.test` is already validated") && !client.said("listening"),
        "{:#?}",
        client.lines()
    );
}

#[test]
#[ignore = "needs pebble"]
fn account_keys_that_pebble_takes() {
    let (pebble, _dns) = pebble(PebbleOptions::default());
    for (kind, is_taken) in [
        (KeyType::EcP256, true),
        (KeyType::EcP384, true),
        (KeyType::Rsa2048, true),
        (KeyType::Rsa4096, true),
        (KeyType::Ed25519, false),
    ] {
        let mut client = client(&pebble).listening(pebble.http_port());
        client.settings.account_key_type = kind;
        if is_taken {
            client.obtain(&["a.test"]).unwrap_or_else(|error| panic!("{kind}: {error}"));
            continue;
        }
        let error = client.fails(&["a.test"]);
        assert_eq!((error.kind().exit_code(), client.store.saved), (4, 0), "{kind}: {error}");
        assert!(error.to_string().contains("badSignatureAlgorithm"), "{kind}: {error}");
        assert!(error.hints()[0].contains("--account-key-type"), "{kind}: {:?}", error.hints());
    }
}

#[test]
#[ignore = "needs pebble"]
fn t26_a_thousand_slow_connections_do_not_lock_the_ca_out() {
    for kind in [ChallengeType::Http01, ChallengeType::TlsAlpn01] {
        let (pebble, _dns) = pebble(PebbleOptions::default());
        let mut client = client(&pebble);
        client.settings.challenge = Some(kind);
        let port = if kind == ChallengeType::Http01 { pebble.http_port() } else { pebble.tls_port() };
        client.settings.http_listen = Some(loopback(pebble.http_port()));
        client.settings.tls_listen = Some(loopback(pebble.tls_port()));
        let crowd = Arc::new(Mutex::new(Vec::new()));
        let come = Arc::clone(&crowd);
        // All of them stand before the CA is told anything, and none of them ever says more than a letter.
        client.on_line = Box::new(move |line| {
            if line.contains("listening at") {
                come.lock().expect("crowd").extend((0..1000).map(|_| {
                    let mut stream = TcpStream::connect(loopback(port)).expect("connection");
                    stream.write_all(b"G").expect("a letter");
                    stream
                }));
            }
        });
        client.obtain(&["a.test"]).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(crowd.lock().expect("crowd").len(), 1000, "{kind}");
    }
}
