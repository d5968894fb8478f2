//! The variables of published images that get a certificate at start-up: `TLS_DOMAINS`, `TLS_CERT_LOCATION`,
//! `TLS_KEY_LOCATION`, `TLS_CA_CERT_LOCATION`, and those that choose the method and its details. The variables for the
//! CA (`CA_URL`, `CA_FINGERPRINT`) concern bootstrap as well, and are read with its options. Of step's own variables
//! `STEP_NOT_AFTER` is read.

use std::path::PathBuf;

use super::step_variables;
use crate::certificate::issue::methods::row::{MethodRow, Published};
use crate::certificate::issue::methods::table::METHODS;
use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::pki::cert::SubjectAltName;
use crate::settings::rows::{CA_OUT, CERT, KEY, NAMES, NOT_AFTER};
use crate::settings::{CertificateTable, EntryTable, Layer, Opt, Origin, Row};

/// The request in these variables, and its method; `None` without `TLS_DOMAINS`.
///
/// # Errors
/// An invalid name; a path that is missing or not absolute.
pub(super) fn table(env: &Env) -> Result<Option<(&'static MethodRow, CertificateTable)>> {
    let Some(domains) = published(&NAMES).and_then(|name| env.var(name)) else { return Ok(None) };
    let words: Vec<&str> =
        domains.split(|c: char| c == ',' || c.is_whitespace()).filter(|name| !name.is_empty()).collect();
    if words.is_empty() {
        return Err(
            Error::usage("`TLS_DOMAINS` names nothing").hint("such as `TLS_DOMAINS=db.internal,10.0.0.5`")
        );
    }
    let names = words.iter().map(|name| name.parse()).collect::<Result<Vec<SubjectAltName>>>()?;
    let cert = required(env, &CERT, "/run/tls/server.crt")?;
    let key = required(env, &KEY, "/run/tls/server.key")?;
    if cert == key {
        return Err(Error::usage("`TLS_CERT_LOCATION` and `TLS_KEY_LOCATION` name the same file"));
    }
    let mut layer = Layer::default();
    add(&mut layer, &NAMES, names);
    add(&mut layer, &CERT, vec![cert]);
    add(&mut layer, &KEY, vec![key]);
    if let Some(roots) = path(env, &CA_OUT)? {
        add(&mut layer, &CA_OUT, vec![roots]);
    }
    if let Some(name) = published(&NOT_AFTER)
        && let Some(end) = step_variables::not_after(env, name)?
    {
        add(&mut layer, &NOT_AFTER, vec![end]);
    }
    let Some(method) = method(env) else { return Ok(None) };
    let mut of_method = Layer::default();
    for row in method.rows {
        let Some(name) = row.spec().published else { continue };
        if let Some(values) = env.var(name).and_then(|text| row.parsed(&[text]).ok()) {
            of_method.insert(*row, values, Origin::Published(name), Vec::new());
        }
    }
    let place = "the environment".to_owned();
    let enroll = vec![EntryTable { word: method.word, layer: of_method, place: place.clone() }];
    Ok(Some((method, CertificateTable { layer, enroll, hooks: Vec::new(), is_whole: true, place })))
}

/// The method whose variable is set, else the one that needs none.
fn method(env: &Env) -> Option<&'static MethodRow> {
    let is_set =
        |method: &&&MethodRow| matches!(method.published, Published::If(name) if env.var(name).is_some());
    let otherwise = |method: &&&MethodRow| method.published == Published::Otherwise;
    METHODS.iter().find(is_set).or_else(|| METHODS.iter().find(otherwise)).copied()
}

/// Warnings: a variable that is set but empty, and would have chosen another method; those that only step reads.
pub(super) fn warnings(chosen: &MethodRow, env: &Env) -> Vec<String> {
    let empty = METHODS.iter().filter_map(|method| match method.published {
        Published::If(name) if env.raw(name) == Some("") => Some(name),
        _ => None,
    });
    let word = chosen.word;
    let empty = empty.map(|name| {
        format!("`{name}` is set, and empty: the certificate is requested with `{word}`, as without it")
    });
    empty.chain(step_variables::unread(env)).collect()
}

fn published(row: &dyn Row) -> Option<&'static str> {
    row.spec().published
}

fn add<T: Clone + Send + Sync + 'static, const MANY: bool>(
    layer: &mut Layer,
    option: &'static Opt<T, MANY>,
    values: Vec<T>,
) {
    if let Some(name) = published(option) {
        layer.insert(option, std::rc::Rc::new(values), Origin::Published(name), Vec::new());
    }
}

fn required(env: &Env, option: &'static Opt<PathBuf>, example: &str) -> Result<PathBuf> {
    let name = published(option).unwrap_or_default();
    path(env, option)?.ok_or_else(|| {
        Error::usage(format!("`TLS_DOMAINS` asks for a certificate, and `{name}` is not set"))
            .hint(format!("set it to a path, such as `{name}={example}`"))
    })
}

fn path(env: &Env, option: &'static Opt<PathBuf>) -> Result<Option<PathBuf>> {
    let name = published(option).unwrap_or_default();
    let Some(text) = env.var(name) else { return Ok(None) };
    let path = PathBuf::from(text);
    let plain = !path.components().any(|part| part == std::path::Component::ParentDir);
    if path.is_absolute() && plain && path.file_name().is_some() && !text.chars().any(char::is_control) {
        return Ok(Some(path));
    }
    Err(Error::usage(format!("`{name}` should be an absolute path, without `..`")))
}
