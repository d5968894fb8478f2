//! Hints about servers, names and proxies: a server that does as it is told makes the situation, the hint is followed as
//! it is printed, and the certificate is fetched.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use trustup::dev_ca::DevCa;
use trustup::host::env::Env;

use super::cases::Cases;
use crate::servers::{ConnectProxy, Manner, NameServer, WebServer, nobody, path_of, respond};
use crate::support::network::in_own_network;
use crate::support::run::{Run, Trustup, unpacked};
use crate::support::servers::wait_for;
use crate::support::socks::SocksProxy;
use crate::support::tls_server::TlsServer;
use crate::support::{binary, ca};

/// A CA's root that a server gives out, a root file system that is to trust it, and files that name hosts.
struct Fetch {
    ca: DevCa,
    root: TempDir,
    names: TempDir,
}

impl Fetch {
    fn new() -> Fetch {
        let ca = DevCa::new(&Env::os()).expect("CA");
        let fetch =
            Fetch { ca, root: unpacked("debian-12-minimal"), names: TempDir::new().expect("directory") };
        fetch.file("resolv.conf", "");
        fetch.file("hosts", "127.0.0.1 ca.corp.test\n");
        fetch
    }

    /// What is `/etc/hosts` or `/etc/resolv.conf` for [`Fetch::by_name`].
    fn file(&self, name: &str, content: &str) {
        fs::write(self.names.path().join(name), content).expect("written");
    }

    /// `trustup bootstrap --root-url URL`, changing nothing.
    fn from(&self, url: &str) -> Trustup {
        Trustup::at(self.root.path(), ["--dry-run", "bootstrap", "--root-url", url])
            .args(["--fingerprint", &self.ca.fingerprint().hex()])
    }

    /// The same in a mount namespace with the files that name hosts. Needs root.
    fn by_name(&self, url: &str) -> Trustup {
        const SCRIPT: &str = "for name in hosts resolv.conf; do mount --bind \"$1/$name\" /etc/$name; done; shift; exec \"$@\"";
        let mut command = Command::new("unshare");
        binary::clear(&mut command);
        command
            .args(["--mount", "sh", "-e", "-c", SCRIPT, "sh"])
            .arg(self.names.path())
            .arg(binary::trustup());
        Trustup::through(command, self.from(url).arguments()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    }

    /// A server that gives the root out at `/roots.pem`, over plain HTTP.
    fn plain(&self) -> WebServer {
        let pem = self.ca.root_pem();
        WebServer::http(move |head, stream| match path_of(head) {
            "/roots.pem" => respond(stream, 200, &[], pem.as_bytes()),
            _ => respond(stream, 404, &[], b""),
        })
    }

    /// The same over HTTPS.
    fn https(&self) -> WebServer {
        let pem = self.ca.root_pem();
        let issued = self.ca.issue(&["127.0.0.1", "ca.corp.test"]).expect("issued");
        WebServer::https(issued, move |_, stream| respond(stream, 200, &[], pem.as_bytes()))
    }

    /// A server that starts a moment later, so that it is waited for.
    fn later(&self, address: SocketAddr) -> thread::JoinHandle<WebServer> {
        let pem = self.ca.root_pem();
        let issued = self.ca.issue(&["127.0.0.1"]).expect("issued");
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(500));
            let listener = TcpListener::bind(address).expect("nobody listens there");
            WebServer::https_at(listener, issued, move |_, stream| respond(stream, 200, &[], pem.as_bytes()))
        })
    }
}

/// What is between the backticks of the hint that has these words.
#[track_caller]
fn quoted(run: &Run, words: &str) -> Vec<String> {
    let hint = run.stderr.lines().find(|line| line.contains("hint: ") && line.contains(words));
    let hint = hint.unwrap_or_else(|| panic!("no `{words}`: {run}"));
    hint.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn a_url_is_corrected_as_the_hint_says() {
    let fetch = Fetch::new();
    let mut cases = Cases::default();
    let (plain, https) = (fetch.plain(), fetch.https());
    let good = || fetch.from(&plain.url("/roots.pem"));
    cases.case("check the path of the URL", fetch.from(&plain.url("/root.pem")), [good()]);
    cases.case(
        "check scheme and port of the URL: a server that speaks TLS needs `https://`",
        fetch.from(&https.url("/").replace("https:", "http:")),
        [fetch.from(&https.url("/"))],
    );
    cases.case(
        "the server does not seem to speak TLS at this port: is it an `http://` address?",
        fetch.from(&plain.url("/roots.pem").replace("http:", "https:")),
        [good()],
    );
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("roots.pem");
    fs::write(&file, fetch.ca.root_pem()).unwrap();
    let file = file.to_str().unwrap();
    cases.case(
        "for a file on this machine use `--ca-file FILE`",
        fetch.from(&format!("file://{file}")),
        [Trustup::at(fetch.root.path(), ["--dry-run", "bootstrap", "--ca-file", file])],
    );
    let bare = plain.url("/roots.pem").replace("http://", "");
    cases.case(
        "write the whole address, such as `--root-url https://ca.example.internal/roots.pem`",
        fetch.from(&bare),
        [fetch.from(&format!("http://{bare}"))],
    );
    cases.end();
}

#[test]
fn an_answer_that_is_no_use_leads_to_one_that_is() {
    let fetch = Fetch::new();
    let mut cases = Cases::default();
    let (pem, asked) = (fetch.ca.root_pem(), Mutex::new(Vec::<String>::new()));
    let server = WebServer::http(move |head, stream| {
        let path = path_of(head).to_owned();
        let before = {
            let mut asked = asked.lock().expect("lock");
            asked.push(path.clone());
            asked.iter().filter(|other| **other == path).count() - 1
        };
        match (path.as_str(), before) {
            ("/large", _) => stream.write_all(b"HTTP/1.1 200 x\r\nContent-Length: 99999999\r\n\r\n"),
            ("/compressed", 0) => respond(stream, 200, &[("Content-Encoding", "gzip")], b"\x1f\x8b"),
            ("/loop", _) => respond(stream, 302, &[("Location", "/loop")], b""),
            ("/nowhere", _) => respond(stream, 302, &[], b""),
            ("/private", _) => respond(stream, 401, &[("WWW-Authenticate", "Basic")], b""),
            ("/forbidden", _) => respond(stream, 403, &[], b""),
            ("/nonsense", _) => respond(stream, 302, &[("Location", "http://[")], b""),
            // The server behind a proxy starts: it is not asked once more than twice.
            ("/busy", 0 | 1) => respond(stream, 503, &[], b""),
            ("/slow", _) => {
                thread::sleep(Duration::from_millis(1500));
                respond(stream, 200, &[], pem.as_bytes())
            }
            _ => respond(stream, 200, &[], pem.as_bytes()),
        }
    });
    let at = |path: &str| fetch.from(&server.url(path));
    cases.case("is this the right address?", at("/large"), [at("/roots.pem")]);
    // Whoever runs the server turns the compression off.
    cases.case("serve the file as it is", at("/compressed"), [at("/compressed")]);
    for path in ["/loop", "/nowhere", "/nonsense"] {
        cases.case("check the URL in a browser", at(path), [at("/roots.pem")]);
    }
    for path in ["/private", "/forbidden"] {
        cases.case(
            "the server wants a login, or lets nobody read this address: name one that needs no login",
            at(path),
            [at("/roots.pem")],
        );
    }
    cases.case(
        "`--wait 60s` gives the server a minute more",
        at("/busy"),
        [at("/busy").args(["--wait", "60s"])],
    );
    cases.case(
        "`--timeout 2m` gives it more time",
        at("/slow").args(["--timeout", "500ms"]),
        [at("/slow").args(["--timeout", "2m"])],
    );
    // A server that is not up yet.
    let address = nobody();
    let run = || fetch.from(&format!("https://{address}/"));
    run().fails(6).says(["is the server up, and is the port right? `--wait 60s` gives it a minute more"]);
    let later = fetch.later(address);
    run().args(["--wait", "60s"]).ok();
    drop(later.join());
    cases.end();
}

#[test]
fn a_proxy_is_corrected_as_the_hint_says() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let fetch = Fetch::new();
    let server = fetch.https();
    let (proxy, socks) = (ConnectProxy::to(server.address()), SocksProxy::to(server.address()));
    let url = server.url_at(&format!("ca.corp.test:{}", server.address().port()), "/");
    let run = || fetch.by_name(&url);
    // One that does not answer.
    let dead = format!("http://{}", nobody());
    let refused = run().env("https_proxy", &dead).fails(6);
    let [variable, exceptions] = &quoted(&refused, "the proxy comes from the variable")[..] else {
        panic!("{refused}")
    };
    assert_eq!((variable.as_str(), exceptions.as_str()), ("https_proxy", "no_proxy"));
    run().env(variable, format!("http://{}", proxy.address())).ok();
    run().env(variable, &dead).env(exceptions, "ca.corp.test").ok();
    assert_eq!(proxy.heads().len(), 1);

    // One that cannot be used at all.
    for name in ["HTTPS_PROXY", "all_proxy"] {
        let refused = run().env(name, format!("ftp://{}", proxy.address())).fails(2);
        let forms = quoted(&refused, "most proxies speak plain http, for https:// addresses as well");
        assert_eq!(forms, [format!("{name}=http://HOST:PORT"), format!("{name}=socks5h://HOST:PORT")]);
        for (form, address) in forms.iter().zip([proxy.address(), socks.address()]) {
            let (name, value) = form.split_once('=').unwrap();
            run().env(name, value.replace("HOST:PORT", &address.to_string())).ok();
        }
        let [host, exceptions] = &quoted(&refused, "needs no proxy, add it to the variable `no_proxy`")[..]
        else {
            panic!("{refused}")
        };
        run().env(name, "ftp://proxy").env(exceptions, host).ok();
    }
    assert_eq!((proxy.heads().len(), socks.asked().len()), (3, 2));

    // A name that only the proxy knows.
    let run = || fetch.by_name(&url.replace("ca.corp.test", "only.corp.test"));
    let refused = run().env("https_proxy", format!("socks5://{}", socks.address())).fails(6);
    let [variable, scheme] =
        &quoted(&refused, "is asked for an address: with `socks5h://` it resolves the name")[..]
    else {
        panic!("{refused}")
    };
    run().env(variable, format!("{scheme}{}", socks.address())).ok();
    let asked = format!("domain only.corp.test:{}", server.address().port());
    assert_eq!(socks.asked().last(), Some(&asked));
}

#[test]
fn a_name_without_a_name_server_is_found_as_the_hint_says() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let fetch = Fetch::new();
    let server = fetch.plain();
    let authority = format!("web.corp.test:{}", server.address().port());
    let run = || fetch.by_name(&server.url_at(&authority, "/roots.pem"));
    run().fails(6).says([
        "give this machine a name server in `/etc/resolv.conf`, a line in `/etc/hosts`, or use an IP address in the URL",
    ]);
    fetch.from(&server.url("/roots.pem")).ok();
    fetch.file("hosts", "127.0.0.1 web.corp.test\n");
    run().ok();
}

/// In a network of its own, where name servers have port 53, as everywhere.
#[test]
fn name_servers_are_corrected_as_the_hint_says() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    in_own_network("hints::network::name_servers_are_corrected_as_the_hint_says", || {
        let fetch = Fetch::new();
        let server = fetch.plain();
        let of = |name: &str| {
            fetch.by_name(&server.url_at(&format!("{name}:{}", server.address().port()), "/roots.pem"))
        };
        let at = |last: u8| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 53));
        let names = NameServer::at(at(1), "web.corp.test", Manner::Plain);
        // Without any.
        of("web.corp.test").fails(6).says(["give this machine a name server in `/etc/resolv.conf`"]);
        fetch.file("resolv.conf", "nameserver 127.0.0.1\n");
        of("web.corp.test").ok();
        // With one that is not there (yet).
        fetch.file("resolv.conf", "nameserver 127.0.0.2\noptions timeout:1 attempts:1\n");
        let hint = "check the name servers in `/etc/resolv.conf`; `--wait 60s` gives them a minute more";
        of("web.corp.test").fails(6).says([hint]);
        let later = thread::spawn(move || {
            thread::sleep(Duration::from_millis(500));
            NameServer::at(at(2), "web.corp.test", Manner::Plain)
        });
        of("web.corp.test").args(["--wait", "60s"]).ok();
        drop(later.join());
        // With one that says nothing.
        let silent = std::net::UdpSocket::bind(at(3)).unwrap();
        fetch.file("resolv.conf", "nameserver 127.0.0.3\noptions timeout:1 attempts:1\n");
        of("web.corp.test").fails(6).says([hint]);
        fetch.file("resolv.conf", "nameserver 127.0.0.1\n");
        of("web.corp.test").ok();
        drop(silent);
        // A name that it does not know (yet).
        let hint = "check the name; in a compose file the service must be on the same network, and up (`--wait 60s` gives it a minute more)";
        of("wbe.corp.test").fails(6).says([hint]);
        of("web.corp.test").ok();
        thread::scope(|scope| {
            scope.spawn(|| {
                let is_asked = || names.asked().contains(&"late.corp.test/1".to_owned()).then_some(());
                wait_for("the question", is_asked);
                names.learns("late.corp.test");
            });
            of("late.corp.test").args(["--wait", "60s"]).ok();
        });
    });
}

#[test]
fn doctor_connects_where_a_tls_server_is() {
    let root = ca::root("Connected Root");
    let server = TlsServer::start(&root);
    let plain = WebServer::http(|_, stream| respond(stream, 200, &[], b""));
    let of = |authority: &str| Trustup::new(["doctor", "--json", "--connect", authority]);
    of(&nobody().to_string()).fails(6).says(["hint: is the server up, and is the port right?"]);
    of(&plain.address().to_string())
        .fails(1)
        .says(["does a TLS server listen there, one that speaks TLS as soon as it is connected?"]);
    // What it finds on this machine is not what the test is about.
    let run = of(&server.authority()).run();
    assert_eq!(run.json()["connect"]["chain"][0]["issuer"], "CN=Connected Root", "{run}");
}
