//! The HTTP client against servers that misbehave (threats T15, T17): limits, redirects, trust, names, proxies. Below:
//! what renewal and deployment need of connections.

mod connect;
mod identity;
mod lasting;
mod streams;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trustup::dev_ca::{DevCa, Server};
use trustup::error::{Error, ErrorKind, Result};
use trustup::host::env::Env;
use trustup::net::dns::ResolverSettings;
use trustup::net::{FetchAnswer, MAX_BODY, Net, Trust, url};

use crate::servers::{ConnectProxy, Manner, NameServer, Stream, WebServer, listen, nobody, path_of, respond};
use crate::support::socks::SocksProxy;

/// One request, and how it is made.
struct Get {
    url: String,
    trust: Trust,
    variables: Vec<(String, String)>,
    settings: ResolverSettings,
    timeout: Duration,
    wait: Option<Duration>,
    now: i64,
}

impl Get {
    fn new(url: impl Into<String>) -> Self {
        Get {
            url: url.into(),
            trust: Trust::Unverified,
            variables: Vec::new(),
            settings: ResolverSettings::from_texts(None, None),
            timeout: Duration::from_secs(20),
            wait: None,
            now: Env::os().now(),
        }
    }

    fn believing(mut self, ca: &DevCa) -> Self {
        self.trust = roots_of(ca);
        self
    }

    fn with(mut self, variable: &str, value: impl Into<String>) -> Self {
        self.variables.push((variable.to_owned(), value.into()));
        self
    }

    fn run(self) -> Result<FetchAnswer> {
        let variables = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let env = Env::fixed(variables, self.now);
        block_on(async {
            let net = Net::new(&env, &self.settings, self.timeout)?.within(self.timeout, self.wait);
            net.get(&url::parse(&self.url, "--test")?, &self.trust).await
        })
    }

    fn fails(self) -> Error {
        match self.run() {
            Ok(answer) => panic!("the request should have failed, and was answered with {}", answer.status),
            Err(error) => error,
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime").block_on(future)
}

/// A network without names, for what has an address.
fn net(timeout: Duration) -> Net {
    Net::new(&Env::fixed([], Env::os().now()), &ResolverSettings::from_texts(None, None), timeout)
        .expect("network")
}

/// Long enough for every machine; what needs it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Trusts the servers of `ca`.
fn roots_of(ca: &DevCa) -> Trust {
    Trust::Roots { roots: vec![ca.root_der().to_vec().into()], vouched_by: "the test's root".to_owned() }
}

fn ca() -> Arc<DevCa> {
    Arc::new(DevCa::new(&Env::os()).expect("demo CA"))
}

/// Each error of this file is shown to people: it has a place, and no line of it has a control character.
fn check(error: &Error, kind: ErrorKind, words: &[&str]) {
    let shown = format!("{error} {}", error.hints().join(" "));
    assert_eq!(error.kind(), kind, "{shown}");
    assert!(error.place().is_some(), "{shown}");
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
    for word in words {
        assert!(shown.contains(word), "{word:?} is missing: {shown}");
    }
}

#[test]
fn an_answer_comes_over_verified_tls() {
    let ca = ca();
    let server =
        Server::start(Arc::clone(&ca), "127.0.0.1:0".parse().expect("address"), &["127.0.0.1", "localhost"])
            .expect("server");
    for host in ["127.0.0.1", "localhost", "LOCALHOST."] {
        let answer =
            Get::new(format!("https://{host}:{}/roots", server.address().port())).believing(&ca).run();
        let answer = answer.expect(host);
        assert_eq!(answer.status, 201);
        assert!(
            String::from_utf8(answer.success().expect("success"))
                .expect("text")
                .contains("BEGIN CERTIFICATE")
        );
    }
}

#[test]
fn redirects_stay_within_the_origin() {
    let other = WebServer::http(|_, stream| respond(stream, 200, &[], b"other"));
    let elsewhere = other.url("/secret?token=hunter2");
    let server = WebServer::http(move |head, stream| match path_of(head) {
        "/same" => respond(stream, 302, &[("Location", "/deep/er?x=1")], b""),
        "/deep/er?x=1" => respond(stream, 200, &[], b"found"),
        "/other" => respond(stream, 307, &[("Location", &elsewhere)], b""),
        "/loop" => respond(stream, 301, &[("Location", "/loop")], b""),
        "/nowhere" => respond(stream, 301, &[], b""),
        "/nonsense" => respond(stream, 301, &[("Location", "http://[")], b""),
        _ => respond(stream, 404, &[], b""),
    });
    assert_eq!(Get::new(server.url("/same")).run().expect("followed").body, b"found");

    let error = Get::new(server.url("/other")).fails();
    check(
        &error,
        ErrorKind::Failed,
        &[&server.address().to_string(), &other.address().to_string(), "another origin"],
    );
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert_eq!(other.connections(), 0, "the other origin was never asked");

    let before = server.connections();
    check(&Get::new(server.url("/loop")).fails(), ErrorKind::Failed, &["more than 5 times"]);
    assert_eq!(server.connections() - before, 6);
    check(&Get::new(server.url("/nowhere")).fails(), ErrorKind::Failed, &["without an address"]);
    check(&Get::new(server.url("/nonsense")).fails(), ErrorKind::Failed, &["invalid URL"]);
}

#[test]
fn https_is_never_left_for_http() {
    let ca = ca();
    let plain = WebServer::http(|_, stream| respond(stream, 200, &[], b"plain"));
    let target = plain.url("/x");
    let issued = ca.issue(&["127.0.0.1"]).expect("issued");
    let server =
        WebServer::https(issued, move |_, stream| respond(stream, 302, &[("Location", &target)], b""));
    check(
        &Get::new(server.url("/")).believing(&ca).fails(),
        ErrorKind::Failed,
        &["another origin", "http://127.0.0.1"],
    );
    assert_eq!(plain.connections(), 0);
}

#[test]
fn a_slow_drip_ends_at_the_time_out() {
    let server = WebServer::http(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 x\r\nConnection: close\r\n\r\n")?;
        loop {
            stream.write_all(b"x")?;
            stream.flush()?;
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let started = Instant::now();
    let mut get = Get::new(server.url("/"));
    get.timeout = Duration::from_millis(700);
    check(&get.fails(), ErrorKind::Unreachable, &["0.7 s", "--timeout"]);
    // It would go on for ever.
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_body_over_the_limit_is_refused_declared_or_not() {
    let server = WebServer::http(|head, stream| {
        if path_of(head) == "/declared" {
            return stream
                .write_all(format!("HTTP/1.1 200 x\r\nContent-Length: {}\r\n\r\n", MAX_BODY + 1).as_bytes());
        }
        stream.write_all(b"HTTP/1.1 200 x\r\nConnection: close\r\n\r\n")?;
        let chunk = vec![b'x'; 1024 * 1024];
        loop {
            stream.write_all(&chunk)?;
        }
    });
    for path in ["/declared", "/streamed"] {
        check(&Get::new(server.url(path)).fails(), ErrorKind::Failed, &["larger than 32 MiB"]);
    }
}

/// Old web servers end an answer by closing, without the word that TLS has for it.
#[test]
fn an_end_without_a_close_notify_has_a_next_step() {
    let ca = ca();
    let server = WebServer::https(ca.issue(&["127.0.0.1"]).expect("issued"), |_, stream| {
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n<html>")
    });
    let error = Get::new(server.url("/")).believing(&ca).fails();
    check(
        &error,
        ErrorKind::Unreachable,
        &["closed the connection early", "check that the CA itself answers there"],
    );
    assert!(!error.to_string().contains("docs.rs"), "{error}");
}

#[test]
fn broken_conversations_say_what_broke() {
    let server = WebServer::http(|head, stream| match path_of(head) {
        "/early" => stream.write_all(b"HTTP/1.1 200 x\r\nContent-Length: 100\r\n\r\nonly this"),
        "/silent" => Ok(()),
        "/head" => stream.write_all(b"HTTP/1.1 200 x\r\nContent-"),
        "/ssh" => stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n"),
        "/gzip" => respond(stream, 200, &[("Content-Encoding", "gzip")], b"\x1f\x8b"),
        _ => Ok(()),
    });
    for (path, kind, words) in [
        ("/early", ErrorKind::Unreachable, "closed the connection"),
        ("/silent", ErrorKind::Unreachable, "closed the connection"),
        ("/head", ErrorKind::Unreachable, "closed the connection"),
        ("/ssh", ErrorKind::Failed, "not answer as a web server"),
        ("/gzip", ErrorKind::Failed, "compressed"),
    ] {
        check(&Get::new(server.url(path)).fails(), kind, &[words]);
    }
    check(
        &Get::new(format!("http://{}/", nobody())).fails(),
        ErrorKind::Unreachable,
        &["refused the connection", "--wait"],
    );
    // TLS spoken to a plain port.
    let plain = server.url("/").replace("http:", "https:");
    check(&Get::new(plain).fails(), ErrorKind::Failed, &["TLS", "http://"]);
}

#[test]
fn statuses_are_errors_with_the_servers_own_word() {
    let server = WebServer::http(|head, stream| {
        let status = path_of(head)[1..].parse().expect("status");
        respond(stream, status, &[], b"{\"status\":1,\"message\":\"no \x1b[31mway\\n\\u202e\"}")
    });
    for (status, kind) in [
        (400, ErrorKind::Failed),
        (404, ErrorKind::Failed),
        (500, ErrorKind::Failed),
        (204, ErrorKind::Failed),
        (502, ErrorKind::Unreachable),
        (503, ErrorKind::Unreachable),
        (504, ErrorKind::Unreachable),
    ] {
        let url = server.url(&format!("/{status}"));
        let error = Get::new(url).run().and_then(FetchAnswer::success).expect_err("no success");
        check(&error, kind, &[&status.to_string()]);
    }
    let server =
        WebServer::http(|_, stream| respond(stream, 403, &[], b"{\"message\":\"no \\u001b[31mway\\u202e\"}"));
    let error = Get::new(server.url("/")).run().and_then(FetchAnswer::success).expect_err("no success");
    check(&error, ErrorKind::Failed, &["the server says: no \\u{1b}[31mway\\u{202e}", "login"]);
}

#[test]
fn an_untrusted_server_is_named_with_the_reason() {
    let ca = ca();
    let serve = |_: &str, stream: &mut dyn Stream| -> io::Result<()> { respond(stream, 200, &[], b"hello") };
    let good = WebServer::https(ca.issue(&["127.0.0.1"]).expect("issued"), serve);
    assert_eq!(Get::new(good.url("/")).believing(&ca).run().expect("trusted").body, b"hello");

    let stranger = self::ca();
    let error = Get::new(good.url("/")).believing(&stranger).fails();
    check(&error, ErrorKind::NotTrusted, &["not issued by the test's root", "127.0.0.1"]);

    let error =
        Get::new(good.url_at(&format!("localhost:{}", good.address().port()), "/")).believing(&ca).fails();
    check(&error, ErrorKind::NotTrusted, &["not for `localhost`", "`127.0.0.1`"]);

    let named = WebServer::https(ca.issue(&["ca.test", "b.test"]).expect("issued"), serve);
    let error = Get::new(named.url("/")).believing(&ca).fails();
    check(&error, ErrorKind::NotTrusted, &["not for `127.0.0.1`", "`ca.test`, `b.test`"]);

    for (days, words) in [(2, "expired on"), (-2, "not valid before")] {
        let mut get = Get::new(good.url("/")).believing(&ca);
        get.now += days * 24 * 3600;
        check(&get.fails(), ErrorKind::NotTrusted, &[words, "clock"]);
    }

    let mut issued = ca.issue(&["127.0.0.1"]).expect("issued");
    issued.chain.truncate(1);
    let lone = WebServer::https(issued, serve);
    check(
        &Get::new(lone.url("/")).believing(&ca).fails(),
        ErrorKind::NotTrusted,
        &["not issued by", "intermediate"],
    );
}

#[test]
fn a_dead_host_costs_no_more_than_the_time_out() {
    // Its backlog takes the connection, and nobody ever answers.
    let listener = listen();
    let mut get = Get::new(format!("https://{}/", listener.local_addr().expect("address")));
    get.timeout = Duration::from_millis(300);
    let started = Instant::now();
    check(&get.fails(), ErrorKind::Unreachable, &["in time", "--timeout"]);
    // Nobody would ever answer.
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn waiting_outlasts_a_server_that_starts_later() {
    let address = nobody();
    let server = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(400));
        let listener = std::net::TcpListener::bind(address).expect("nobody listens there");
        let busy = std::sync::atomic::AtomicUsize::new(0);
        // The first answers come from a proxy in front whose server is not up yet.
        let ca = ca();
        let issued = ca.issue(&["localhost"]).expect("issued");
        WebServer::https_at(listener, issued, move |_, stream| {
            let first = busy.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            respond(stream, if first { 503 } else { 200 }, &[], b"up")
        })
    });
    let mut get = Get::new(format!("https://{address}/"));
    get.wait = Some(Duration::from_secs(60));
    assert_eq!(get.run().expect("waited for").body, b"up");
    assert_eq!(server.join().expect("server").connections(), 2);
}

#[test]
fn waiting_heeds_what_the_server_says_of_the_time() {
    let busy = std::sync::atomic::AtomicUsize::new(0);
    let server =
        WebServer::http(move |_, stream| match busy.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => respond(stream, 503, &[("Retry-After", "2")], b""),
            _ => respond(stream, 200, &[], b"up"),
        });
    let mut get = Get::new(server.url("/"));
    get.wait = Some(Duration::from_secs(60));
    let started = Instant::now();
    assert_eq!(get.run().expect("waited for").body, b"up");
    assert!(started.elapsed() >= Duration::from_secs(2), "asked before its time");

    // An hour is more than there is.
    let server = WebServer::http(|_, stream| respond(stream, 503, &[("Retry-After", "3600")], b""));
    let mut get = Get::new(server.url("/"));
    get.wait = Some(Duration::from_secs(60));
    check(&get.fails(), ErrorKind::Unreachable, &["503"]);
    assert_eq!(server.connections(), 1);
}

#[test]
fn waiting_ends_and_only_the_unreachable_is_waited_for() {
    let mut get = Get::new(format!("http://{}/", nobody()));
    get.wait = Some(Duration::from_millis(600));
    let started = Instant::now();
    check(&get.fails(), ErrorKind::Unreachable, &["refused"]);
    assert!(started.elapsed() >= Duration::from_millis(600));

    let server = WebServer::http(|_, stream| respond(stream, 302, &[("Location", "http://192.0.2.1/")], b""));
    let mut get = Get::new(server.url("/"));
    get.wait = Some(Duration::from_secs(60));
    let started = Instant::now();
    check(&get.fails(), ErrorKind::Failed, &["another origin"]);
    assert!(started.elapsed() < Duration::from_secs(30), "it was waited for");
    assert_eq!(server.connections(), 1);
}

#[test]
fn names_are_asked_of_the_configured_server_with_search_domains() {
    let names = NameServer::knowing("ca.corp.test", Manner::Plain);
    let server = WebServer::http(|_, stream| respond(stream, 200, &[], b"named"));
    let settings = |search: &[&str], ndots| ResolverSettings {
        servers: vec![names.address()],
        search: search.iter().map(|domain| (*domain).to_owned()).collect(),
        ndots,
        ..ResolverSettings::from_texts(None, None)
    };
    let url = |name: &str| server.url_at(&format!("{name}:{}", server.address().port()), "/");
    for (name, search, ndots) in [
        ("ca.corp.test", &[][..], 1),
        ("ca", &["nope.test", "corp.test"], 1),
        ("ca.corp", &["test"], 5),
        ("ca.corp.test.", &["x"], 5),
    ] {
        let mut get = Get::new(url(name));
        get.settings = settings(search, ndots);
        assert_eq!(get.run().expect(name).body, b"named", "{name}");
    }
    assert!(names.asked().contains(&"ca.nope.test/1".to_owned()), "{:?}", names.asked());

    let mut get = Get::new(url("other.test"));
    get.settings = settings(&[], 1);
    check(&get.fails(), ErrorKind::Unreachable, &["knows no address of `other.test`"]);

    let mut get = Get::new(url("ca.corp.test"));
    get.settings = ResolverSettings::from_texts(None, None);
    check(&get.fails(), ErrorKind::Unreachable, &["/etc/resolv.conf", "/etc/hosts"]);

    let mut get = Get::new(url("in-hosts"));
    get.settings = ResolverSettings::from_texts(None, Some(b"127.0.0.1 in-hosts\n"));
    assert_eq!(get.run().expect("from /etc/hosts").body, b"named");
}

#[test]
fn name_servers_with_manners_of_their_own_are_understood() {
    let server = WebServer::http(|_, stream| respond(stream, 200, &[], b"named"));
    for manner in [Manner::Truncating, Manner::WithoutIpv6] {
        let names = NameServer::knowing("ca.corp.test", manner);
        let mut get = Get::new(server.url_at(&format!("ca.corp.test:{}", server.address().port()), "/"));
        get.settings.servers = vec![names.address()];
        assert_eq!(get.run().expect("named").body, b"named", "{manner:?}");
        let over_tcp = names.asked().iter().any(|asked| asked.ends_with("/tcp"));
        assert_eq!(over_tcp, manner == Manner::Truncating, "{:?}", names.asked());
    }
}

#[test]
fn a_dead_name_server_is_passed_over() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("socket");
    let server = WebServer::http(|_, stream| respond(stream, 200, &[], b"named"));
    for dead in [nobody(), silent.local_addr().expect("address")] {
        let names = NameServer::knowing("ca.corp.test", Manner::Plain);
        let mut get = Get::new(server.url_at(&format!("ca.corp.test:{}", server.address().port()), "/"));
        get.settings.servers = vec![dead, names.address()];
        // The second one's as well, and that one may have to wait for its turn.
        get.settings.timeout = Duration::from_secs(2);
        get.timeout = Duration::from_secs(60);
        assert_eq!(get.run().expect("the second server knows").body, b"named");
    }
}

#[test]
fn a_silent_name_server_costs_no_more_than_the_time_out() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("socket");
    let mut get = Get::new("https://ca.corp.test/");
    get.settings.servers = vec![silent.local_addr().expect("address")];
    get.settings.timeout = Duration::from_secs(30);
    get.timeout = Duration::from_millis(500);
    let started = Instant::now();
    check(&get.fails(), ErrorKind::Unreachable, &["in time", "--timeout"]);
    assert!(started.elapsed() < Duration::from_secs(20), "the server's own time-out was waited for");
}

#[test]
fn a_proxy_is_used_for_what_is_not_loopback() {
    let ca = ca();
    let server = WebServer::https(ca.issue(&["ca.test", "127.0.0.1"]).expect("issued"), |head, stream| {
        assert!(
            !head.to_lowercase().contains("proxy-"),
            "the proxy's credentials went to the server: {head}"
        );
        respond(stream, 200, &[], b"through")
    });
    let proxy = ConnectProxy::to(server.address());
    let value = format!("http://bob:hunter2@{}", proxy.address());

    let answer = Get::new("https://ca.test/x").believing(&ca).with("https_proxy", &value).run();
    assert_eq!(answer.expect("through the proxy").body, b"through");
    let heads = proxy.heads();
    assert_eq!(heads.len(), 1);
    assert!(heads[0].starts_with("CONNECT ca.test:443 "), "{}", heads[0]);
    // RFC 7617: base64 of `bob:hunter2`.
    assert!(heads[0].to_lowercase().contains("proxy-authorization: basic ym9iomh1bnrlcji="), "{}", heads[0]);

    let answer = Get::new(server.url("/")).believing(&ca).with("https_proxy", &value).run();
    assert_eq!(answer.expect("direct").body, b"through");
    assert_eq!(proxy.heads().len(), 1, "loopback never goes through a proxy");
}

#[test]
fn plain_http_goes_through_the_proxy_whole() {
    let proxy = WebServer::http(|head, stream| {
        let asked = head.lines().next().unwrap_or_default().to_owned();
        respond(stream, 200, &[], asked.as_bytes())
    });
    let get = |proxy: &WebServer| {
        Get::new("http://pki.test/root.crt").with("http_proxy", proxy.address().to_string())
    };
    assert_eq!(get(&proxy).run().expect("through the proxy").body, b"GET http://pki.test/root.crt HTTP/1.1");
    let redirecting =
        WebServer::http(|_, stream| respond(stream, 302, &[("Location", "http://other.test/")], b""));
    check(&get(&redirecting).fails(), ErrorKind::Failed, &["another origin", "http://other.test"]);
    assert_eq!(redirecting.connections(), 1);
}

#[test]
fn an_ipv6_address_is_reached() {
    let address = "[::1]:0".parse().expect("address");
    if std::net::TcpListener::bind(address).is_err() {
        eprintln!("this machine has no IPv6 loopback: nothing to try");
        return;
    }
    let ca = ca();
    let server = Server::start(Arc::clone(&ca), address, &["::1"]).expect("server");
    assert_eq!(
        Get::new(format!("{}/health", server.url())).believing(&ca).run().expect("reached").status,
        200
    );
}

#[test]
fn proxy_failures_name_the_proxy_and_its_variable() {
    let wanting = ConnectProxy::wanting_a_password();
    let error =
        Get::new("https://ca.test/").with("all_proxy", format!("http://{}", wanting.address())).fails();
    check(&error, ErrorKind::Failed, &["requires a user and a password", "`all_proxy`"]);

    let dead = nobody();
    let error =
        Get::new("https://ca.test/").with("https_proxy", format!("http://bob:hunter2@{dead}")).fails();
    check(&error, ErrorKind::Unreachable, &["through the proxy", &dead.to_string(), "`https_proxy`"]);
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");

    let error = Get::new("https://ca.test/").with("https_proxy", "https://bob:hunter2@p.test").fails();
    check(&error, ErrorKind::Usage, &["`https_proxy`", "does not speak TLS to a proxy"]);
    assert!(
        error.hints().join(" ").contains("`no_proxy`") && !format!("{error:?}").contains("hunter2"),
        "{error:?}"
    );

    let nobody = format!("socks5h://bob:hunter2@{}", self::nobody());
    let error = Get::new("https://ca.test/").with("https_proxy", &nobody).fails();
    check(&error, ErrorKind::Unreachable, &["could not connect to the proxy `socks5h://***@"]);
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    let closed = format!("socks5h://{}", SocksProxy::reaching_nobody().address());
    let error = Get::new("https://ca.test/").with("https_proxy", &closed).fails();
    check(&error, ErrorKind::Unreachable, &["`ca.test:443`", "through the proxy", "host unreachable"]);
    let wanting = SocksProxy::with_login(self::nobody(), "bob", "p@ss");
    for login in ["", "bob:wrong@"] {
        let value = format!("socks5h://{login}{}", wanting.address());
        let error = Get::new("https://ca.test/").with("ALL_PROXY", value).fails();
        check(&error, ErrorKind::Failed, &["requires a user and a password", "`ALL_PROXY`"]);
    }
}

#[test]
fn a_socks_proxy_is_used_as_curl_uses_it() {
    let ca = ca();
    let server = WebServer::https(ca.issue(&["ca.test"]).expect("issued"), |_, stream| {
        respond(stream, 200, &[], b"through")
    });
    let proxy = SocksProxy::with_login(server.address(), "bob", "p@ss");
    let get = |scheme: &str, url: &str| {
        let value = format!("{scheme}://bob:p%40ss@{}", proxy.address());
        Get::new(url).believing(&ca).with("https_proxy", value)
    };
    // The proxy resolves the name.
    let answer = get("socks5h", "https://ca.test:9000/x").run();
    assert_eq!(answer.expect("through the proxy").body, b"through");
    assert_eq!(proxy.asked(), ["domain ca.test:9000"]);
    // Or we do, by our own resolver.
    check(&get("socks5", "https://ca.test/").fails(), ErrorKind::Unreachable, &["resolve"]);
    let hints = get("socks5", "https://ca.test/").fails().hints().join(" ");
    assert!(hints.contains("socks5h://"), "{hints}");
    let mut known = get("socks5", "https://ca.test/");
    known.settings.hosts.insert("ca.test".to_owned(), vec!["192.0.2.7".parse().expect("address")]);
    assert_eq!(known.run().expect("through the proxy").body, b"through");
    assert_eq!(proxy.asked()[1..], ["address 192.0.2.7:443"]);
    // Plain http is tunnelled, too; and what `no_proxy` covers is not.
    let plain = WebServer::http(|head, stream| {
        respond(stream, 200, &[], head.lines().next().unwrap_or_default().as_bytes())
    });
    let proxy = SocksProxy::to(plain.address());
    let value = format!("socks5h://{}", proxy.address());
    let answer = Get::new("http://pki.test/root.crt").with("all_proxy", &value).run();
    assert_eq!(answer.expect("through the proxy").body, b"GET /root.crt HTTP/1.1");
    let error =
        Get::new("http://pki.test/root.crt").with("all_proxy", &value).with("NO_PROXY", ".test:80").fails();
    check(&error, ErrorKind::Unreachable, &["resolve"]);
    assert_eq!(proxy.asked(), ["domain pki.test:80"]);
}

#[test]
fn a_proxy_that_is_not_needed_is_not_judged() {
    let ca = ca();
    let server = WebServer::https(ca.issue(&["ca.test", "127.0.0.1"]).expect("issued"), |_, stream| {
        respond(stream, 200, &[], b"direct")
    });
    for value in ["https://p.test", "socks6://p.test", "://", "\"http://p.test\""] {
        for exceptions in ["ca.test", ".test", "*", "other.example,TEST", "ca.test:443"] {
            let mut get = Get::new("https://ca.test/").believing(&ca).with("https_proxy", value);
            get = get.with("NO_PROXY", exceptions);
            // Found, and refused there: port 443 of a loopback address has no server.
            get.settings.hosts.insert("ca.test".to_owned(), vec!["127.20.7.1".parse().expect("address")]);
            check(&get.fails(), ErrorKind::Unreachable, &["`ca.test:443`"]);
        }
        let local = Get::new(server.url("/")).believing(&ca).with("https_proxy", value).run();
        assert_eq!(local.expect("loopback").body, b"direct");
        let error =
            Get::new("https://ca.test/").with("https_proxy", value).with("NO_PROXY", "a.test").fails();
        check(&error, ErrorKind::Usage, &["`https_proxy`"]);
    }
}
