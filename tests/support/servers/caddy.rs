//! Caddy's ACME server, over a root of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use super::{Daemon, Port, debian_program, directory, get, own_address, write};

/// A running Caddy. It checks challenges at ports 80 and 443 (nothing changes that), so a test takes an identifier that
/// is an address of its own: `identifier`.
pub struct Caddy {
    _daemon: Daemon,
    directory: TempDir,
    port: Port,
    identifier: Ipv4Addr,
}

impl Caddy {
    /// Starts it with `acme_server` and nothing else.
    pub fn acme_server() -> Caddy {
        let directory = directory();
        let place = directory.path();
        let port = Port::reserve();
        let config = json!({
            "admin": { "disabled": true, "config": { "persist": false } },
            "storage": { "module": "file_system", "root": place.join("data") },
            "apps": {
                "pki": { "certificate_authorities": { "local": { "install_trust": false } } },
                "tls": { "automation": { "policies": [{ "issuers": [{ "module": "internal" }] }] } },
                "http": { "servers": { "acme": {
                    "listen": [port.address().to_string()],
                    "automatic_https": { "disable_redirects": true },
                    "routes": [{
                        "match": [{ "host": ["localhost"] }],
                        "handle": [{ "handler": "acme_server", "ca": "local" }],
                    }],
                }}},
            },
        });
        let mut command = Command::new(debian_program("caddy", "caddy"));
        command.args(["run", "--config"]).arg(write(place, "caddy.json", config.to_string()));
        command.env("XDG_DATA_HOME", place.join("data")).env("XDG_CONFIG_HOME", place.join("config"));
        let mut daemon = Daemon::start("caddy", command, place);
        let caddy_root = place.join("data/pki/authorities/local/root.crt");
        daemon.wait_until(|| {
            let Ok(pem) = std::fs::read(&caddy_root) else { return false };
            let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(&pem) else { return false };
            let path = "/acme/local/directory";
            matches!(get(port.address(), "localhost", &pem.contents, path), Ok((200, _)))
        });
        Caddy { _daemon: daemon, directory, port, identifier: own_address() }
    }

    /// `https://localhost:PORT/acme/local/directory`
    pub fn directory_url(&self) -> String {
        format!("https://localhost:{}/acme/local/directory", self.port.number())
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// An address of loopback that a certificate can be asked for: ports 80 and 443 are free there.
    pub fn identifier(&self) -> Ipv4Addr {
        self.identifier
    }

    /// The root of its HTTPS and of what it issues.
    pub fn root_file(&self) -> PathBuf {
        self.directory.path().join("data/pki/authorities/local/root.crt")
    }
}
