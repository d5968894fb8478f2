//! A CA that runs in the test, a place for a pair, and what `trustup enroll` says of both.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use trustup::dev_ca::{DevCa, Server};
use trustup::host::env::Env;
use trustup::pki::cert::{Certificate, pem};
use trustup::pki::key::PrivateKey;

use super::run::{Run, Trustup};

/// A CA that runs, and a place for a pair.
pub struct Scene {
    pub ca: Arc<DevCa>,
    pub server: Server,
    pub directory: TempDir,
}

impl Default for Scene {
    fn default() -> Self {
        Scene::new()
    }
}

impl Scene {
    pub fn new() -> Scene {
        let ca = Arc::new(DevCa::new(&Env::os()).expect("CA"));
        let listen = "127.0.0.1:0".parse().expect("address");
        let server = Server::start(Arc::clone(&ca), listen, &["localhost", "127.0.0.1"]).expect("server");
        let directory = tempfile::tempdir().expect("temporary directory");
        write(&directory.path().join("password"), ca.password().as_bytes(), 0o600);
        Scene { ca, server, directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `trustup --json enroll METHOD --cert … --key …`, and nothing about the CA.
    pub fn plain(&self, method: &str) -> Trustup {
        Trustup::new(["--json", "--timeout", "20s", "enroll", method])
            .arg("--cert")
            .arg(self.path("server.crt"))
            .arg("--key")
            .arg(self.path("server.key"))
            .env("HOME", self.directory.path())
    }

    /// By the provisioner's password, for `web.test`.
    pub fn enroll(&self) -> Trustup {
        self.enroll_for(&["web.test"])
    }

    pub fn enroll_for(&self, names: &[&str]) -> Trustup {
        self.plain("provisioner")
            .args(names)
            .args(["--ca-url", &self.server.url(), "--fingerprint", &self.ca.fingerprint().hex()])
            .arg("--password-file")
            .arg(self.path("password"))
    }

    /// The pair that stands there belongs together and ends at the CA's root.
    #[track_caller]
    pub fn pair(&self) -> (Certificate, Vec<u8>) {
        let chain = chain(&self.path("server.crt"));
        let key = fs::read(self.path("server.key")).expect("key");
        let key_read = PrivateKey::from_pem(&key).expect("a private key");
        assert_eq!(
            chain[0].public_key(),
            key_read.public_key(),
            "key and certificate do not belong together"
        );
        assert_eq!(chain.len(), 2, "leaf and intermediate");
        assert_eq!(chain[1].issuer_der(), self.ca.root().subject_der());
        (chain[0].clone(), key)
    }
}

/// The certificates of a PEM file.
pub fn chain(path: &Path) -> Vec<Certificate> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    pem::blocks(&bytes).iter().map(|block| Certificate::from_block(block).expect("certificate")).collect()
}

pub fn write(path: &Path, content: &[u8], mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, content).expect("writes");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
}

pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).expect("metadata").permissions().mode() & 0o7777
}

/// The only certificate of the result.
#[track_caller]
pub fn result(run: &Run) -> Value {
    let json = run.json();
    assert_eq!(json["certificates"].as_array().map(Vec::len), Some(1), "{run}");
    json["certificates"][0].clone()
}

/// What was done, and why.
#[track_caller]
pub fn done(run: &Run) -> (String, String) {
    let result = result(run);
    let text = |field: &str| result[field].as_str().unwrap_or_default().to_owned();
    (text("action"), text("reason"))
}
