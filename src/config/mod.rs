//! trustup.toml: whom to trust (`[ca]`, `[trust]`) and which certificates to get (`[[certificate]]`). From a file to plain
//! typed data, with all that is wrong; it starts nothing, asks nobody, and never shows a value that came from a variable
//! or a secret's file (threat T23).
//!
//! The file is the one that `--config` or TRUSTUP_CONFIG names, else `/etc/trustup/trustup.toml` if that is there. Paths
//! in it are absolute. `${NAME}` in a string is filled in from the environment; `KEY_file` names a file that holds the
//! value of `KEY` (for a list, one in each line), unless the value of `KEY` is a path already.

mod certificate;
mod document;
mod fill;
mod meant;
mod place;
mod published;
mod secret;
mod trust;

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;
use url::Url;

use crate::cert::NotAfter;
use crate::cert::SubjectAltName;
use crate::enroll::methods::acme;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::key::KeyType;
use crate::pair::Layout;

use self::document::Reader;

pub use self::place::DEFAULT;
pub use self::published::published;
pub use self::secret::Secret;
pub use self::trust::Options;
#[cfg(test)]
pub(crate) use self::trust::known;

/// What the file says.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The file.
    pub path: PathBuf,
    /// `[ca]`
    pub ca: Option<Ca>,
    /// `[trust]`
    pub trust: Option<Trust>,
    /// `[[certificate]]`, in the file's order.
    pub certificates: Vec<CertificateConfig>,
}

/// `[ca]`: the CA that certificates come from.
#[derive(Clone, Debug, Default)]
pub struct Ca {
    /// `url`: https; for a step-ca its base.
    pub url: Option<Url>,
    /// `fingerprint`: one or several, of its roots.
    pub fingerprints: Vec<Fingerprint>,
    /// `root`: a file with its root.
    pub root: Option<PathBuf>,
    /// `provisioner`: for methods that name none.
    pub provisioner: Option<String>,
}

/// `[trust]`: what bootstrap takes, as its options.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    options: Options,
}

/// `[[certificate]]`: one certificate. What is not given is `None`: the defaults are those of enroll's options.
#[derive(Clone, Debug)]
pub struct CertificateConfig {
    /// `names`, at least one; the first is the subject.
    pub names: Vec<SubjectAltName>,
    /// `cert`
    pub cert: PathBuf,
    /// `key`
    pub key: PathBuf,
    /// `chain`
    pub chain: Option<PathBuf>,
    /// `ca_out`: where the service reads the root.
    pub ca_out: Option<PathBuf>,
    /// `key_type`
    pub key_type: Option<KeyType>,
    /// `owner`: `USER:GROUP`, not looked up yet.
    pub owner: Option<String>,
    /// `cert_mode`: permission bits.
    pub cert_mode: Option<u32>,
    /// `key_mode`: permission bits.
    pub key_mode: Option<u32>,
    /// `not_after`: how long it should be valid.
    pub not_after: Option<NotAfter>,
    /// `layout`
    pub layout: Option<Layout>,
    /// `issuer_root`: the root that the chain must end in, where that is not the CA's.
    pub issuer_root: Option<PathBuf>,
    /// `timeout`: for everything together.
    pub timeout: Option<Duration>,
    /// `enroll`: how to get it, in the order to be tried; at least one.
    pub enroll: Vec<Method>,
    /// File and line, for errors.
    pub place: String,
    /// What of it may be shown.
    pub shown: Shown,
}

/// Values as they stand in the file, with variables not filled in.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// `names`
    pub names: Vec<String>,
    /// `cert`
    pub cert: String,
    /// `key`
    pub key: String,
}

/// One way to get a certificate.
#[derive(Clone, Debug)]
pub enum Method {
    /// A single-use token.
    Token {
        /// `token`, `token_file`; else where enroll looks for one.
        token: Option<Secret>,
    },
    /// A token that is minted here, with a provisioner's key.
    Provisioner {
        /// `provisioner`; else that of `[ca]`.
        provisioner: Option<String>,
        /// `password`, `password_file`; of the key at the CA, or of `key` where that is encrypted.
        password: Option<Secret>,
        /// `provisioner_key`: its key, where the CA is not asked for it.
        key: Option<PathBuf>,
    },
    /// A birth certificate.
    X5c {
        /// `provisioner`; else that of `[ca]`.
        provisioner: Option<String>,
        /// `x5c_cert`
        cert: PathBuf,
        /// `x5c_key`
        key: PathBuf,
    },
    /// An ACME server.
    Acme {
        /// Keys as enroll's options, with `_`.
        options: Box<acme::Options>,
        /// `eab_hmac_key` and the `secret` of `rfc2136`, as they are named here.
        secrets: Vec<Secret>,
    },
}

impl Method {
    /// The word that names it in the file and on the command line.
    pub fn word(&self) -> &'static str {
        match self {
            Method::Token { .. } => "token",
            Method::Provisioner { .. } => "provisioner",
            Method::X5c { .. } => "x5c",
            Method::Acme { .. } => "acme",
        }
    }

    /// All secrets that it needs.
    pub fn secrets(&self) -> Vec<&Secret> {
        match self {
            Method::Token { token } => token.iter().collect(),
            Method::Provisioner { password, .. } => password.iter().collect(),
            Method::X5c { .. } => Vec::new(),
            Method::Acme { secrets, .. } => secrets.iter().collect(),
        }
    }
}

/// How much of the file is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `[ca]` and `[trust]`: what stands in `[[certificate]]` need not be there yet when an image is built.
    Trust,
    /// Everything.
    All,
}

/// A file, and all that is wrong with it; what is wrong is missing or empty in `config`.
#[derive(Debug)]
pub struct Checked {
    /// What could be read.
    pub config: Config,
    /// In the order of the file.
    pub problems: Vec<Error>,
}

/// The configuration: the part `scope` of the file that `given` or TRUSTUP_CONFIG names, else of the default one. `None` if
/// there is none.
///
/// # Errors
/// A named file that is missing; a file that somebody else could have written, or with anything wrong in that part.
pub fn load_scope(env: &Env, given: Option<&Path>, scope: Scope) -> Result<Option<Config>> {
    let Some(Checked { config, problems }) = check(env, given, scope)? else { return Ok(None) };
    let more = problems.len().saturating_sub(1);
    match problems.into_iter().next() {
        None => Ok(Some(config)),
        Some(first) if more == 0 && !first.hints().is_empty() => Err(first),
        Some(first) if more == 0 => Err(first.hint("`trustup config check` looks at the whole file")),
        Some(first) => Err(first.hint(format!("`trustup config check` lists this and {more} more"))),
    }
}

/// As [`load_scope`], with all that is wrong in the file.
///
/// # Errors
/// The file itself: missing, not to be trusted, not readable.
pub fn check(env: &Env, given: Option<&Path>, scope: Scope) -> Result<Option<Checked>> {
    let (path, named) = place::choose(env, given)?;
    let Some(text) = place::read(&path, named)? else { return Ok(None) };
    Ok(Some(parse(env, &path, &text, scope)))
}

fn parse(env: &Env, path: &Path, text: &str, scope: Scope) -> Checked {
    let reader = Reader::new(env, path, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut config = Config { path: path.to_owned(), ..Config::default() };
    if !errors.is_empty() {
        // What was recovered would say more than is wrong.
        errors.iter().for_each(|error| reader.syntax(error));
        return Checked { config, problems: reader.into_problems() };
    }
    let mut doubles = Vec::new();
    {
        let root = reader.root(document.get_ref());
        if let Some(section) = root.section("ca") {
            config.ca = Some(trust::ca(&section));
            section.finish(|_| None);
        }
        if let Some(section) = root.section("trust") {
            config.trust = Some(trust::trust(&section));
            trust::check(&section, config.ca.as_ref());
            section.finish(trust::why_not);
        }
        match scope {
            Scope::Trust => root.pass_over("certificate"),
            Scope::All => {
                let sections = root.sections("certificate");
                config.certificates = sections.iter().map(certificate::certificate).collect();
                doubles = certificate::check_paths(&config.certificates);
            }
        }
        root.finish(|_| None);
    }
    let mut problems = reader.into_problems();
    problems.extend(doubles);
    Checked { config, problems }
}

#[cfg(test)]
mod tests;
