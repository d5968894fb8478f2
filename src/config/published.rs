//! The variables of published images that get a certificate at start-up: `CA_TOKEN`, `CA_PROVISIONER_NAME`,
//! `TLS_DOMAINS`, `TLS_CERT_LOCATION`, `TLS_KEY_LOCATION`, `TLS_CA_CERT_LOCATION`. As there: with `CA_TOKEN` the token is
//! used, else ACME, at the provisioner that `CA_PROVISIONER_NAME` names or the CA's own.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::{CertificateConfig, Method, Secret, Shown};
use crate::enroll::methods::acme;
use crate::env::Env;
use crate::error::{Error, Result};

/// What the variables of published images ask for; `None` without `TLS_DOMAINS`. Where the CA is (`CA_URL`,
/// `CA_FINGERPRINT`) is bootstrap's business as well, and read with its options.
///
/// # Errors
/// A name that is none; a path that is missing or not absolute.
pub fn published(env: &Env) -> Result<Option<CertificateConfig>> {
    let Some(domains) = env.var("TLS_DOMAINS") else { return Ok(None) };
    let shown: Vec<String> = domains
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|name| !name.is_empty())
        .map(ToOwned::to_owned)
        .collect();
    if shown.is_empty() {
        return Err(
            Error::usage("`TLS_DOMAINS` names nothing").hint("such as `TLS_DOMAINS=db.internal,10.0.0.5`")
        );
    }
    let names = shown.iter().map(|name| name.parse()).collect::<Result<Vec<_>>>()?;
    let cert = required(env, "TLS_CERT_LOCATION", "/run/tls/server.crt")?;
    let key = required(env, "TLS_KEY_LOCATION", "/run/tls/server.key")?;
    if cert == key {
        return Err(Error::usage("`TLS_CERT_LOCATION` and `TLS_KEY_LOCATION` name the same file"));
    }
    let method = match env.var("CA_TOKEN") {
        Some(token) => {
            let token = Zeroizing::new(token.to_owned());
            Method::Token { token: Some(Secret::new("CA_TOKEN", token)) }
        }
        None => {
            let provisioner = env.var("CA_PROVISIONER_NAME").map(ToOwned::to_owned);
            let options = acme::Options { provisioner, ..acme::Options::default() };
            Method::Acme { options: Box::new(options), secrets: Vec::new() }
        }
    };
    let shown = Shown { names: shown, cert: cert.display().to_string(), key: key.display().to_string() };
    Ok(Some(CertificateConfig {
        names,
        cert,
        key,
        chain: None,
        ca_out: path(env, "TLS_CA_CERT_LOCATION")?,
        key_type: None,
        owner: None,
        cert_mode: None,
        key_mode: None,
        not_after: None,
        layout: None,
        issuer_root: None,
        timeout: None,
        enroll: vec![method],
        place: "the environment".to_owned(),
        shown,
    }))
}

fn required(env: &Env, name: &str, example: &str) -> Result<PathBuf> {
    path(env, name)?.ok_or_else(|| {
        Error::usage(format!("`TLS_DOMAINS` asks for a certificate, and `{name}` is not set"))
            .hint(format!("set it to a path, such as `{name}={example}`"))
    })
}

fn path(env: &Env, name: &str) -> Result<Option<PathBuf>> {
    let Some(text) = env.var(name) else { return Ok(None) };
    let path = PathBuf::from(text);
    let plain = !path.components().any(|part| part == std::path::Component::ParentDir);
    if path.is_absolute() && plain && path.file_name().is_some() && !text.chars().any(char::is_control) {
        return Ok(Some(path));
    }
    Err(Error::usage(format!("`{name}` should be an absolute path, without `..`")))
}
