//! Let's Encrypt's test server pebble, and the name server that its challenges are checked with.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Daemon, Port, directory, get, go_program, post_plain, request, write};
use crate::ca::{self, Root};

/// How pebble is set up.
#[derive(Clone, Debug)]
pub struct PebbleOptions {
    /// Asked for every name of a challenge.
    pub dns: Option<SocketAddr>,
    /// Per cent of good nonces that are refused.
    pub refused_nonces: u8,
    /// Key ids and keys; if there are any, an account needs one.
    pub external_accounts: BTreeMap<String, Vec<u8>>,
    /// Names and seconds of life.
    pub profiles: BTreeMap<String, u64>,
    /// Names that no certificate is made for.
    pub blocked: Vec<String>,
    /// Seconds that pebble waits before it looks at a challenge; no wait at all if `None`.
    pub slow_validation: Option<u8>,
    /// What Retry-After says, in seconds.
    pub retry_after: u8,
    /// The same of an order; as of the others if `None`.
    pub order_retry_after: Option<u32>,
    /// Per cent of authorizations that are used again for a later order of the same account.
    pub reused_authorizations: u8,
    /// Chains to other roots that it offers.
    pub alternate_roots: u8,
}

impl Default for PebbleOptions {
    fn default() -> Self {
        PebbleOptions {
            dns: None,
            refused_nonces: 5,
            external_accounts: BTreeMap::new(),
            profiles: BTreeMap::from([("default".to_owned(), 90 * 24 * 3600)]),
            blocked: vec!["blocked.test".to_owned()],
            slow_validation: None,
            retry_after: 1,
            order_retry_after: None,
            reused_authorizations: 0,
            alternate_roots: 0,
        }
    }
}

/// A running pebble.
pub struct Pebble {
    daemon: Option<Daemon>,
    directory: TempDir,
    options: PebbleOptions,
    /// Signs the certificate of its HTTPS, and nothing else.
    root: Root,
    port: Port,
    management: Port,
    http: Port,
    tls: Port,
}

impl Pebble {
    /// Writes the configuration, starts pebble and waits until it serves its directory.
    pub fn start(options: PebbleOptions) -> Pebble {
        let directory = directory();
        let place = directory.path();
        let root = ca::root("Test Pebble HTTPS CA");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().expect("key");
        let certificate = root.sign_for(CertificateParams::new(names).expect("names"), &key);
        let [port, management, http, tls] = std::array::from_fn(|_| Port::reserve());
        write(place, "root.pem", &root.pem);
        let profile = |life: &u64| json!({ "description": "of a test", "validityPeriod": life });
        let profiles: BTreeMap<_, _> =
            options.profiles.iter().map(|(name, life)| (name.clone(), profile(life))).collect();
        let keys: BTreeMap<_, _> = options
            .external_accounts
            .iter()
            .map(|(id, key)| (id.clone(), URL_SAFE_NO_PAD.encode(key)))
            .collect();
        let order_retry_after = options.order_retry_after.unwrap_or(options.retry_after.into());
        let config = json!({ "pebble": {
            "listenAddress": port.address().to_string(),
            "managementListenAddress": management.address().to_string(),
            "certificate": write(place, "server.pem", ca::pem("CERTIFICATE", &certificate)),
            "privateKey": write(place, "server.key", ca::pem("PRIVATE KEY", &key.serialize_der())),
            "httpPort": http.number(),
            "tlsPort": tls.number(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": !keys.is_empty(),
            "externalAccountMACKeys": keys,
            "domainBlocklist": options.blocked,
            "retryAfter": { "authz": options.retry_after, "order": order_retry_after },
            "keyAlgorithm": "ecdsa",
            "profiles": profiles,
        }});
        write(place, "pebble.json", config.to_string());
        let mut pebble = Pebble { daemon: None, directory, options, root, port, management, http, tls };
        pebble.restart();
        pebble
    }

    /// Ends and starts it: accounts, orders and its root are new.
    pub fn restart(&mut self) {
        self.daemon = None;
        let place = self.directory.path();
        let mut command = Command::new(go_program("pebble"));
        command.arg("-config").arg(place.join("pebble.json"));
        if let Some(dns) = self.options.dns {
            command.args(["-dnsserver", &dns.to_string()]);
        }
        match self.options.slow_validation {
            Some(seconds) => command.env("PEBBLE_VA_SLEEPTIME", seconds.to_string()),
            None => command.env("PEBBLE_VA_NOSLEEP", "1"),
        };
        command.env("PEBBLE_WFE_NONCEREJECT", self.options.refused_nonces.to_string());
        command.env("PEBBLE_AUTHZREUSE", self.options.reused_authorizations.to_string());
        command.env("PEBBLE_ALTERNATE_ROOTS", self.options.alternate_roots.to_string());
        let mut daemon = Daemon::start("pebble", command, place);
        let answers = |port: &Port, path| {
            matches!(get(port.address(), "localhost", &self.root.der, path), Ok((200, _)))
        };
        daemon.wait_until(|| answers(&self.port, "/dir") && answers(&self.management, "/roots/0"));
        self.daemon = Some(daemon);
    }

    /// `https://localhost:PORT/dir`
    pub fn directory_url(&self) -> String {
        format!("https://localhost:{}/dir", self.port.number())
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Where http-01 challenges are asked for.
    pub fn http_port(&self) -> u16 {
        self.http.number()
    }

    /// Where tls-alpn-01 challenges are asked for.
    pub fn tls_port(&self) -> u16 {
        self.tls.number()
    }

    /// The root of its HTTPS: what `--ca-root` gets.
    pub fn root_file(&self) -> PathBuf {
        self.directory.path().join("root.pem")
    }

    pub fn root_der(&self) -> &[u8] {
        &self.root.der
    }

    /// The root of what it issues, made anew at every start: what `--issuer-root` gets. PEM.
    pub fn issuer_root(&self) -> String {
        self.managed("/roots/0")
    }

    /// The same in a file.
    pub fn issuer_root_file(&self) -> PathBuf {
        write(self.directory.path(), "issuer-root.pem", self.issuer_root())
    }

    /// The root of an alternate chain, from 1, in a file.
    pub fn alternate_root_file(&self, number: u8) -> PathBuf {
        let root = self.managed(&format!("/roots/{number}"));
        write(self.directory.path(), &format!("alternate-root-{number}.pem"), root)
    }

    /// `GET path` of the management interface.
    pub fn managed(&self, path: &str) -> String {
        let answer = get(self.management.address(), "localhost", &self.root.der, path);
        let (status, body) = answer.expect("an answer of pebble");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Has it answer every question on when to renew this certificate (PEM) with `answer`, whatever that is.
    pub fn set_renewal_info(&self, certificate: &str, answer: &str) {
        let body = json!({ "certificate": certificate, "ariResponse": answer }).to_string();
        let (address, root) = (self.management.address(), &self.root.der);
        let answer = request(address, "localhost", root, None, "POST", "/set-renewal-info/", &body);
        let (status, body) = answer.expect("an answer of pebble");
        assert_eq!(status, 200, "{body}");
    }

    /// What it has said since it was first started.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).expect("log")
    }
}

/// A name server that says 127.0.0.1 to every name, and what it is told besides.
pub struct ChallTestSrv {
    _daemon: Daemon,
    _directory: TempDir,
    dns: Port,
    management: Port,
}

impl ChallTestSrv {
    pub fn start() -> ChallTestSrv {
        let directory = directory();
        let (dns, management) = (Port::reserve(), Port::reserve());
        let mut command = Command::new(go_program("pebble-challtestsrv"));
        command.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-defaultIPv6", ""]);
        command.args(["-dnsserver", &dns.address().to_string()]);
        command.args(["-management", &management.address().to_string()]);
        let mut daemon = Daemon::start("pebble-challtestsrv", command, directory.path());
        let empty = json!({});
        daemon.wait_until(|| post_plain(management.address(), "/dns-request-history", &empty).is_ok());
        daemon.wait_until(|| std::net::TcpStream::connect(dns.address()).is_ok());
        ChallTestSrv { _daemon: daemon, _directory: directory, dns, management }
    }

    /// Its name server, over UDP and TCP.
    pub fn dns(&self) -> SocketAddr {
        self.dns.address()
    }

    /// The interface that `tell` talks to, for hooks: plain HTTP.
    pub fn management(&self) -> SocketAddr {
        self.management.address()
    }

    /// A request to its management interface, such as `/set-txt` with `host` (with a final dot) and `value`,
    /// `/clear-txt`, `/add-a` (`host`, `addresses`), `/set-servfail`, `/set-cname` (`host`, `target`).
    pub fn tell(&self, path: &str, what: &Value) {
        let (status, body) = post_plain(self.management.address(), path, what).expect("an answer");
        assert_eq!(status, 200, "{path}: {body}");
    }

    pub fn set_txt(&self, host: &str, value: &str) {
        self.tell("/set-txt", &json!({ "host": host, "value": value }));
    }
}
