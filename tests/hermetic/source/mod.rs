//! Where trust comes in (threats T1, T2, T5, T6, T8, T17): every source against honest, broken and hostile servers.

mod bundle;
mod files;
mod pinned;
mod together;

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use base64::Engine as _;
use tempfile::TempDir;
use trustup::dev_ca::{DevCa, Server};
use trustup::error::{Error, ErrorKind, Result};
use trustup::host::env::Env;
use trustup::pki::cert::{Certificate, pem};
use trustup::pki::fingerprint::Fingerprint;
use trustup::trust::source::{Acquired, Known, PreviousSource, Source, SourceRequest, acquire_in};

use crate::servers::{ConnectProxy, Stream, WebServer, nobody, path_of, respond};

/// The bundle of a Debian system.
const SYSTEM_BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// A request, what is known, and the system that it runs on.
struct Run {
    request: SourceRequest,
    known: Known,
    system: TempDir,
    variables: Vec<(String, String)>,
    now: i64,
}

impl Run {
    fn new(sources: impl IntoIterator<Item = Source>) -> Self {
        Run {
            request: SourceRequest {
                sources: sources.into_iter().collect(),
                pins: Vec::new(),
                ca_url_pin: None,
                require_pin: false,
                require_fresh: false,
                ask_again: false,
                allow_expired: false,
                allow_intermediate: false,
                allow_rollback: false,
                timeout: Duration::from_secs(20),
                wait: None,
            },
            known: Known::default(),
            system: TempDir::new().expect("system"),
            variables: Vec::new(),
            now: Env::os().now(),
        }
    }

    fn pin(mut self, fingerprint: Fingerprint) -> Self {
        self.request.pins.push(fingerprint);
        self
    }

    fn with(mut self, change: impl FnOnce(&mut SourceRequest)) -> Self {
        change(&mut self.request);
        self
    }

    fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    fn knowing(mut self, ca: &DevCa) -> Self {
        let certificate = certificate(ca);
        self.known.certificates.insert(certificate.fingerprint(), certificate);
        self
    }

    fn previous(mut self, id: &str, fingerprints: &[Fingerprint], removed: &[Fingerprint]) -> Self {
        let previous = PreviousSource { fingerprints: fingerprints.to_vec(), removed: removed.to_vec() };
        self.known.previous.insert(id.to_owned(), previous);
        self
    }

    /// A file of the system that trustup runs in.
    fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.system.path().join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directories");
        fs::write(path, content).expect("file");
        self
    }

    fn run(&self) -> Result<Acquired> {
        let variables = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let env = Env::fixed(variables, self.now);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(acquire_in(self.system.path(), &self.request, &self.known, &env))
    }

    fn succeeds(self) -> Acquired {
        self.run().unwrap_or_else(|error| panic!("{error} {:?}", error.hints()))
    }

    fn fails(self, kind: ErrorKind, words: &[&str]) -> Error {
        let error = match self.run() {
            Ok(acquired) => panic!("should have failed: {acquired:?}"),
            Err(error) => error,
        };
        let shown = format!("{error} {}", error.hints().join(" "));
        assert_eq!(error.kind(), kind, "{shown}");
        assert!(!error.hints().is_empty() || error.kind() == ErrorKind::Failed, "no hint: {shown}");
        for word in words {
            assert!(shown.contains(word), "{word:?} is missing: {shown}");
        }
        error
    }
}

fn ca() -> Arc<DevCa> {
    Arc::new(DevCa::new(&Env::os()).expect("demo CA"))
}

fn serve(ca: &Arc<DevCa>) -> Server {
    Server::start(Arc::clone(ca), "127.0.0.1:0".parse().expect("address"), &["127.0.0.1", "localhost"])
        .expect("server")
}

fn certificate(ca: &DevCa) -> Certificate {
    Certificate::from_der(ca.root_der()).expect("root")
}

fn step_ca(url: impl Into<String>, all_roots: bool) -> Source {
    Source::StepCa { url: url.into(), all_roots, from_ca_url: false }
}

fn root_url(url: impl Into<String>) -> Source {
    Source::RootUrl { url: url.into(), from_ca_url: false }
}

fn bundle(url: impl Into<String>) -> Source {
    Source::Bundle { url: url.into(), sha256: None }
}

fn file(path: impl AsRef<Path>) -> Source {
    Source::File { path: path.as_ref().to_path_buf() }
}

fn fingerprints(acquired: &Acquired) -> Vec<Fingerprint> {
    acquired.anchors.iter().map(|anchor| anchor.certificate.fingerprint()).collect()
}

/// A leaf of `ca`, which no source may bring as a root.
fn leaf(ca: &DevCa) -> Vec<u8> {
    ca.issue(&["ca.test"]).expect("issued").chain[0].to_vec()
}

/// A private key as PEM, made now.
fn private_key() -> String {
    let issued = ca().issue(&["ca.test"]).expect("issued");
    let body = base64::engine::general_purpose::STANDARD.encode(issued.key.secret_der());
    let word = "PRIVATE";
    format!("-----BEGIN {word} KEY-----\n{body}\n-----END {word} KEY-----\n")
}

/// An HTTPS server of `ca` that gives `content` to everybody.
fn giving(ca: &DevCa, content: impl Into<Vec<u8>>) -> WebServer {
    let content = content.into();
    WebServer::https(ca.issue(&["127.0.0.1", "pki.test"]).expect("issued"), move |_, stream| {
        respond(stream, 200, &[], &content)
    })
}
