//! The one table of clients: how to find each, which variables it obeys and in which order, which places it reads by
//! default, and what it does if one is missing. Where distributions build a client differently, its own files show how
//! ([`super::binary`]); otherwise the row of the distribution does. Only reads.
//!
//! Seen with the real programs, on Debian 12 and 13 (`tests/roots/doctor.rs`): curl 7.88, wget 1.21 with GnuTLS, OpenSSL
//! 3.0, Python 3.11, requests 2.28 and 2.32, git 2.39 with GnuTLS, Debian's Node 18, Go, Cargo, OpenJDK 25. The others
//! follow their documentation.

use super::reading::Installation;
use super::rules::{
    cargo, chromium, curl, deno, firefox, git, gnutls, go, java, node, of_openssl, only_searched, openssl,
    pip, python, requests, uv, wget,
};
use super::scope::RuleScope;
use crate::error::Result;

/// How the search finds the programs of a row that are not where a shell looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Find {
    /// By their name, since they load their TLS in their own way.
    Name,
    /// By what they are.
    Kind,
    /// By other evidence: the rule does it.
    Rule,
}

/// A row of the table.
pub(super) struct TlsClient {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    programs: &'static [&'static str],
    pub(super) find: Find,
    /// The variable of `trustup env` that leads it to the roots.
    pub(super) variable: Option<&'static str>,
    rule: fn(&RuleScope, Option<String>) -> Vec<Installation>,
}

type Rule = fn(&RuleScope, Option<String>) -> Vec<Installation>;

const fn row(
    id: &'static str,
    name: &'static str,
    programs: &'static [&'static str],
    variable: Option<&'static str>,
    rule: Rule,
) -> TlsClient {
    TlsClient { id, name, programs, find: Find::Name, variable, rule }
}

impl TlsClient {
    const fn found(self, find: Find) -> TlsClient {
        TlsClient { find, ..self }
    }
}

/// Programs written in Go that images often have.
const GO: &[&str] = &[
    "go",
    "docker",
    "kubectl",
    "gh",
    "helm",
    "terraform",
    "vault",
    "consul",
    "step",
    "caddy",
    "traefik",
    "podman",
];

/// Every client that is known.
pub(super) const TABLE: &[TlsClient] = &[
    row("openssl", "OpenSSL", &["openssl"], Some("SSL_CERT_FILE"), openssl),
    row("gnutls", "GnuTLS", &["gnutls-cli"], None, gnutls),
    row("curl", "curl", &["curl"], Some("CURL_CA_BUNDLE"), curl),
    row("wget", "wget", &["wget"], Some("SSL_CERT_FILE"), wget),
    row("git", "git", &["git"], Some("GIT_SSL_CAINFO"), git),
    row("python", "Python (ssl)", &["python3", "python"], Some("SSL_CERT_FILE"), python),
    row("requests", "Python requests", &[], Some("REQUESTS_CA_BUNDLE"), requests).found(Find::Rule),
    row("pip", "pip", &[], Some("PIP_CERT"), pip).found(Find::Rule),
    row("node", "Node", &["node", "nodejs"], Some("NODE_EXTRA_CA_CERTS"), node),
    row("deno", "Deno", &["deno"], Some("DENO_CERT"), deno),
    row("java", "Java", &["java"], Some("JAVA_TOOL_OPTIONS"), java).found(Find::Rule),
    row("go", "Go programs", GO, Some("SSL_CERT_FILE"), go).found(Find::Kind),
    row("rust", "Rust programs", &[], Some("SSL_CERT_FILE"), only_searched).found(Find::Kind),
    row("uv", "uv", &["uv"], Some("SSL_CERT_FILE"), uv),
    row("cargo", "Cargo", &["cargo"], Some("CARGO_HTTP_CAINFO"), cargo),
    row("ruby", "Ruby", &["ruby"], Some("SSL_CERT_FILE"), of_openssl),
    row("php", "PHP", &["php"], Some("SSL_CERT_FILE"), of_openssl),
    row("dotnet", ".NET", &["dotnet"], Some("SSL_CERT_FILE"), of_openssl),
    row(
        "chromium",
        "Chromium",
        &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
        None,
        chromium,
    ),
    row("firefox", "Firefox", &["firefox", "firefox-esr"], None, firefox),
    row("other", "Other programs with TLS", &[], None, only_searched).found(Find::Kind),
];

impl TlsClient {
    /// Its path in the root file system, and what it reads there; one entry for each copy.
    ///
    /// # Errors
    /// A directory of programs cannot be read.
    pub(super) fn installations(&self, scope: &RuleScope) -> Result<Vec<Installation>> {
        Ok((self.rule)(scope, scope.program(self.programs)?))
    }

    /// What its program at `path` reads.
    pub(super) fn at(&self, scope: &RuleScope, path: &str) -> Vec<Installation> {
        (self.rule)(scope, Some(path.to_owned()))
    }

    /// Whether a file of this name is its program, in whatever version: `python3.13`, `php8.2`.
    pub(super) fn is_named(&self, name: &str) -> bool {
        let bare =
            |name: &str| name.trim_end_matches(|char: char| char.is_ascii_digit() || char == '.').len();
        self.find != Find::Kind
            && self.programs.iter().any(|one| *one == name || one[..bare(one)] == name[..bare(name)])
    }
}
