//! The certificates that `enroll` keeps on this machine, as far as command line, variables and trustup.toml name them:
//! for those who show when they end.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::published;
use crate::certificate::issue::methods::table;
use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::settings::rows::{CERT, NAMES};
use crate::settings::{self, CertificateTable, Scope, Settings};

/// The certificates that are named.
#[derive(Debug, Default)]
pub(crate) struct CertificateFiles {
    /// Their files, each once.
    pub(crate) files: Vec<PathBuf>,
    /// Why there may be more: the first error in trustup.toml, where it hides a path.
    pub(crate) problem: Option<Error>,
}

/// The certificate files: that of `--cert`, those of trustup.toml, else that of published images' variables.
///
/// # Errors
/// The file is named and missing, or cannot be trusted or read; published images' variables that are malformed.
pub(crate) fn certificate_files(settings: &Settings, env: &Env) -> Result<CertificateFiles> {
    let mut files: Vec<PathBuf> = settings.get(&CERT).cloned().into_iter().collect();
    let (certificates, problems) = settings::check(env, settings, Scope::All, &table::variants())?
        .map(|checked| (checked.file.certificates, checked.problems))
        .unwrap_or_default();
    let paths: Vec<Option<PathBuf>> =
        certificates.iter().map(|one| one.layer.values(&CERT).first().cloned()).collect();
    // A secret that is missing in this shell hides no path.
    let hides_a_path = paths.is_empty() || paths.iter().any(Option::is_none);
    let problem = problems.into_iter().next().filter(|_| hides_a_path);
    files.extend(paths.into_iter().flatten());
    if certificates.is_empty()
        && let Some((_, one)) = published::table(env)?
    {
        files.extend(one.layer.values(&CERT).first().cloned());
    }
    let mut seen = BTreeSet::new();
    files.retain(|file| seen.insert(file.clone()));
    Ok(CertificateFiles { files, problem })
}

/// The certificate files of trustup.toml, or of published images' variables: those that have one of the names, if names
/// are given.
///
/// # Errors
/// The file has an error, or cannot be trusted or read; no certificate has a name that is given; published images'
/// variables that are malformed.
pub(crate) fn named_files(settings: &Settings, env: &Env) -> Result<Vec<PathBuf>> {
    let file = settings::load(env, settings, Scope::All, &table::variants())?;
    let mut tables = file.map(|file| file.certificates).unwrap_or_default();
    if tables.is_empty() {
        tables.extend(published::table(env)?.map(|(_, table)| table));
    }
    let wanted = settings.all(&NAMES);
    super::refuse_unknown_names(settings, wanted, &tables)?;
    let is_wanted = |table: &&CertificateTable| {
        wanted.is_empty() || table.layer.values(&NAMES).iter().any(|name| wanted.contains(name))
    };
    Ok(tables
        .iter()
        .filter(is_wanted)
        .filter_map(|table| table.layer.values(&CERT).first().cloned())
        .collect())
}
