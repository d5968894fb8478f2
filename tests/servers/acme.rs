//! Certificates from real ACME servers: pebble, step-ca, Caddy; DNS updates at a real BIND.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tempfile::TempDir;
use trustup::acme::{ChallengeType, DnsSolver, Eab, Rfc2136};
use zeroize::Zeroizing;

use crate::support::acme::{AcmeClient, hook, loopback};
use crate::support::servers::{Bind, Caddy, ChallTestSrv, Pebble, PebbleOptions, StepCa, StepCaOptions};

/// pebble with a name server for it.
fn pebble(options: PebbleOptions) -> (Pebble, ChallTestSrv) {
    let dns = ChallTestSrv::start();
    (Pebble::start(PebbleOptions { dns: Some(dns.dns()), ..options }), dns)
}

fn client(pebble: &Pebble) -> AcmeClient {
    AcmeClient::new(&pebble.directory_url(), pebble.root_der())
}

fn step_ca(options: StepCaOptions) -> (StepCa, AcmeClient) {
    let ca = StepCa::start(options);
    let client = AcmeClient::new(&ca.acme_directory(), ca.root_der());
    (ca, client)
}

/// A web server that publishes a directory, after having refused the first requests with 404.
struct FileServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl FileServer {
    fn start(port: u16, root: &Path, refused: usize) -> FileServer {
        let listener = TcpListener::bind(loopback(port)).expect("port");
        let address = listener.local_addr().expect("address");
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counter, root) = (Arc::clone(&stop), Arc::clone(&asked), root.to_owned());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let mut head = vec![0; 4096];
                let read = stream.read(&mut head).unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..read]).into_owned();
                let path = head.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let file = std::fs::read_to_string(root.join(path)).ok().filter(|_| number >= refused);
                let (status, body) = file.map_or(("404 Not Found", String::new()), |body| ("200 OK", body));
                let length = body.len();
                drop(write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                ));
            }
        });
        FileServer { address, stop, asked, thread: Some(thread) }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A hook that tells challtestsrv, and writes down how it was called.
fn challtestsrv_hook(directory: &Path, dns: &ChallTestSrv) -> DnsSolver {
    let management = dns.management();
    let log = directory.join("calls").display().to_string();
    let script = format!(
        "echo \"$*\" >> {log}\n\
         case $2 in present) path=set-txt ;; cleanup) path=clear-txt ;; *) exit 3 ;; esac\n\
         exec curl -sf --noproxy '*' -d \"{{\\\"host\\\":\\\"$3\\\",\\\"value\\\":\\\"$4\\\"}}\" http://{management}/$path"
    );
    DnsSolver::Hook(vec![hook(directory, &script), "--first argument".to_owned()])
}

fn rfc2136(bind: &Bind) -> Rfc2136 {
    Rfc2136 {
        server: bind.address().to_string(),
        zone: None,
        key_name: Bind::KEY_NAME.to_owned(),
        secret: Zeroizing::new(STANDARD.decode(bind.secret()).expect("base64")),
    }
}

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
    assert!(client.said("using the account that was kept"), "{:#?}", client.lines());
    assert_eq!((client.store.saved, client.store.account_url()), (1, account));
    TcpListener::bind(loopback(pebble.http_port())).expect("the listener is gone");
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
    let error = client.fails(&["a.test"]);
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
#[ignore = "needs pebble and curl"]
fn dns_01_by_a_hook() {
    let (pebble, dns) = pebble(PebbleOptions::default());
    let directory = TempDir::new().expect("directory");
    let mut client = client(&pebble);
    client.settings.dns = Some(challtestsrv_hook(directory.path(), &dns));
    client.obtain(&["*.a.test", "a.test", "b.test"]).expect("issued");
    let calls = std::fs::read_to_string(directory.path().join("calls")).expect("calls");
    let of = |action: &str| {
        let lines = calls.lines().filter(|line| line.starts_with(&format!("--first argument {action} ")));
        let mut records: Vec<String> =
            lines.map(|line| line.rsplit_once(action).expect("call").1.to_owned()).collect();
        records.sort();
        records
    };
    assert_eq!(of("present").len(), 3, "{calls}");
    assert_eq!(of("present"), of("cleanup"), "{calls}");
    assert!(of("present")[0].starts_with(" _acme-challenge.a.test. "), "{calls}");
}

#[test]
#[ignore = "needs pebble"]
fn a_hook_that_fails_is_quoted_and_cleaned_up_after() {
    let (pebble, _dns) = pebble(PebbleOptions::default());
    let directory = TempDir::new().expect("directory");
    let log = directory.path().join("calls");
    let script = format!(
        "echo \"$1\" >> {}\nif [ $1 = present ]; then echo no such zone >&2; exit 7; fi",
        log.display()
    );
    let mut client = client(&pebble);
    client.settings.dns = Some(DnsSolver::Hook(vec![hook(directory.path(), &script)]));
    let error = client.fails(&["a.test"]);
    assert!(
        error.to_string().contains("no such zone") && error.to_string().contains("exit status: 7"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(&log).expect("calls"), "present\ncleanup\n");

    let script =
        format!("echo \"$1\" >> {}\nif [ $1 = present ]; then sleep 600 & sleep 600; fi", log.display());
    client.settings.dns = Some(DnsSolver::Hook(vec![hook(directory.path(), &script)]));
    client.timeout = Duration::from_secs(5);
    let started = Instant::now();
    let error = client.fails(&["a.test"]);
    assert!(error.to_string().contains("was ended"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(std::fs::read_to_string(&log).expect("calls"), "present\ncleanup\npresent\ncleanup\n");
}

#[test]
#[ignore = "needs pebble and BIND"]
fn dns_01_by_updates_of_a_real_zone() {
    let bind = Bind::start();
    let pebble = Pebble::start(PebbleOptions { dns: Some(bind.address()), ..PebbleOptions::default() });
    let mut client = client(&pebble);
    client.settings.dns = Some(DnsSolver::Rfc2136(rfc2136(&bind)));
    client.obtain(&["*.example.test", "example.test", "deep.below.example.test"]).expect("issued");
    assert!(client.said("in the zone `example.test.`"), "{:#?}", client.lines());
    for name in ["_acme-challenge.example.test", "_acme-challenge.deep.below.example.test"] {
        assert_eq!(bind.txt(name), [""; 0], "{name}: taken away");
    }

    // A key for one name only, and the zone given.
    let narrow = Rfc2136 {
        key_name: Bind::NARROW_KEY_NAME.to_owned(),
        zone: Some(Bind::ZONE.to_owned()),
        ..rfc2136(&bind)
    };
    client.settings.dns = Some(DnsSolver::Rfc2136(narrow));
    client.obtain(&["example.test"]).expect("issued");
    let error = client.fails(&["other.example.test"]);
    assert!(
        error.to_string().contains("it refuses") && error.hints()[0].contains("update-policy"),
        "{error}"
    );
}

#[test]
#[ignore = "needs pebble and BIND"]
fn a_zone_that_takes_no_update_says_why() {
    let bind = Bind::start();
    let pebble = Pebble::start(PebbleOptions { dns: Some(bind.address()), ..PebbleOptions::default() });
    let mut client = client(&pebble);
    for (settings, words) in [
        (Rfc2136 { key_name: "nobody".to_owned(), ..rfc2136(&bind) }, "does not know the key"),
        (Rfc2136 { secret: Zeroizing::new(b"wrong".to_vec()), ..rfc2136(&bind) }, "signature is wrong"),
        (Rfc2136 { zone: Some("other.test".to_owned()), ..rfc2136(&bind) }, "not responsible"),
    ] {
        client.settings.dns = Some(DnsSolver::Rfc2136(settings));
        let error = client.fails(&["example.test"]);
        assert!(error.to_string().contains(words), "{error}");
    }
    client.settings.dns = Some(DnsSolver::Rfc2136(rfc2136(&bind)));
    let error = client.fails(&["elsewhere.test"]);
    assert!(error.to_string().contains("does not tell the zone"), "{error}");
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
    for _ in 0..3 {
        client.obtain(&["a.test", "b.test"]).expect("issued");
    }
    let log = pebble.log();
    let asked = ["/sign-me-up", "/order-plz", "/chalZ/", "/finalize-order/"]
        .map(|path| log.matches(&format!("POST {path}")).count());
    let needed = 1 + 3 + 3 * 2 + 3;
    assert!(asked.iter().sum::<usize>() > needed, "{asked:?}");
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
    let started = Instant::now();
    let error = client.fails(&["a.test"]);
    assert_eq!(error.kind().exit_code(), 6, "{error}");
    assert!(error.hints().iter().any(|hint| hint.contains("--timeout")), "{:?}", error.hints());
    assert!(started.elapsed() < Duration::from_secs(6));
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
    assert!(client.said("does not know the account"), "{:#?}", client.lines());
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
        client.said("`a.test` is validated already") && !client.said("listening"),
        "{:#?}",
        client.lines()
    );
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
        let crowd = Rc::new(RefCell::new(Vec::new()));
        let come = Rc::clone(&crowd);
        // All of them stand before the CA is told anything, and none of them ever says more than a letter.
        client.on_line = Box::new(move |line| {
            if line.contains("listening at") {
                come.borrow_mut().extend((0..1000).map(|_| {
                    let mut stream = TcpStream::connect(loopback(port)).expect("connection");
                    stream.write_all(b"G").expect("a letter");
                    stream
                }));
            }
        });
        client.obtain(&["a.test"]).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(crowd.borrow().len(), 1000, "{kind}");
    }
}

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
    assert!(client.said("using the account that was kept"));
}

#[test]
#[ignore = "needs step-ca, pebble-challtestsrv and curl"]
fn step_ca_finds_the_record_of_a_hook() {
    let dns = ChallTestSrv::start();
    let (_ca, mut client) = step_ca(StepCaOptions { resolver: Some(dns.dns()), ..StepCaOptions::default() });
    let directory = TempDir::new().expect("directory");
    client.settings.dns = Some(challtestsrv_hook(directory.path(), &dns));
    client.obtain(&["*.a.test", "a.test"]).expect("issued");
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
    assert!(client.said("does not know the account"), "{:#?}", client.lines());
    let again = String::from_utf8(client.store.content.clone().expect("kept")).expect("text");
    assert_ne!(again.split_once("BEGIN").expect("key").1, content.split_once("BEGIN").expect("key").1);
}

#[test]
#[ignore = "needs step-ca"]
fn a_key_of_other_software_finds_its_account() {
    let (ca, mut client) = step_ca(StepCaOptions::default());
    client.settings.http_listen = Some(loopback(ca.http_port()));
    client.obtain(&["localhost"]).expect("issued");
    let account = client.store.account_url();
    let content = String::from_utf8(client.store.content.clone().expect("kept")).expect("text");
    client.store.content = Some(content[content.find("-----BEGIN").expect("key")..].as_bytes().to_vec());
    client.obtain(&["localhost"]).expect("issued");
    assert!(client.said("account of the given key found"), "{:#?}", client.lines());
    assert_eq!(client.store.account_url(), account);
    let key = rcgen::KeyPair::generate().expect("key").serialize_pem();
    client.store.content = Some(key.into_bytes());
    client.obtain(&["localhost"]).expect("issued");
    assert!(client.said("account of the given key made"), "{:#?}", client.lines());
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
