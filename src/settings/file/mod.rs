//! trustup.toml as layers: what to trust (`[ca]`, `[trust]`), which certificates to get (`[[certificate]]`), how they
//! are renewed (`[renew]`), and what runs after a change (`[[hook]]`), with all its errors. Every key is that of a row ([`super::rows`]; those of an `enroll` table are the caller's).
//!
//! The file is the one that `--config` or TRUSTUP_CONFIG names, else `/etc/trustup/trustup.toml` if that exists. Paths
//! in it are absolute. `${NAME}` in a string is filled in from the environment; `KEY_file` names a file that holds the
//! value of `KEY` (for a list, one on each line), unless the value of `KEY` is a path already.

mod certificate;
mod document;
mod fill;
mod place;
mod suggestion;
mod table;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use toml::de::DeTable;

use self::document::Reader;
use super::rows::{self, ALLOW_SHARED_CONFIG, CA_ROOT, CA_URL, CONFIG, FINGERPRINT};
use super::{Layer, Row, Settings};
use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::rootfs::remedy;
use crate::rootfs::sharing::Sharing;

pub(crate) use self::place::DEFAULT;
pub(crate) use self::suggestion::did_you_mean;

/// Which part of the file is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// `[ca]` and `[trust]`: the values in `[[certificate]]` need not exist yet when an image is built.
    Trust,
    /// Everything.
    All,
}

/// One kind of `enroll` table: the word that names it, and the options whose keys it has.
#[derive(Clone, Copy)]
pub(crate) struct Variant {
    /// The value of `method`.
    pub(crate) word: &'static str,
    /// Options with a key in `enroll`.
    pub(crate) rows: &'static [&'static dyn Row],
    /// Required keys; one of a table below, if that table exists.
    pub(crate) required: &'static [&'static str],
}

/// The content of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigFile {
    /// The file.
    pub(crate) path: PathBuf,
    /// `[ca]`: the CA that certificates come from.
    pub(crate) ca: Layer,
    /// `[trust]`: what bootstrap should trust, as its options.
    pub(crate) trust: Layer,
    /// `[renew]`: what applies to the renewal of all certificates.
    pub(crate) renew: Layer,
    /// `[ca]`, `[trust]` and `[renew]` are free of errors.
    pub(crate) is_whole: bool,
    /// `[[hook]]`: what to run after any change.
    pub(crate) hooks: Vec<Hook>,
    /// `[[certificate]]`, in the file's order.
    pub(crate) certificates: Vec<CertificateTable>,
    /// For `-v`: why no other user counts who could write the file, or those that it names instead of values.
    pub(crate) notes: Vec<String>,
}

/// `[[certificate]]`: one certificate.
#[derive(Clone, Debug)]
pub(crate) struct CertificateTable {
    /// Its values.
    pub(crate) layer: Layer,
    /// Its `enroll` tables: how to get it, in the order in which to try.
    pub(crate) enroll: Vec<EntryTable>,
    /// Its `hook` tables: what to run after a change of it.
    pub(crate) hooks: Vec<Hook>,
    /// It is free of errors.
    pub(crate) is_whole: bool,
    /// File and line.
    pub(crate) place: String,
}

/// A `hook` table: a program that is run after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    /// The absolute path of the program, and its arguments.
    pub(crate) command: Vec<String>,
    /// How long it may take.
    pub(crate) timeout: Duration,
}

/// An `enroll` table.
#[derive(Clone, Debug)]
pub(crate) struct EntryTable {
    /// Its [`Variant::word`].
    pub(crate) word: &'static str,
    /// Its values.
    pub(crate) layer: Layer,
    /// File and line.
    pub(crate) place: String,
}

/// A file, with all its problems; wrong values are missing in `file`.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The readable part.
    pub(crate) file: ConfigFile,
    /// In the order of the file.
    pub(crate) problems: Vec<Error>,
}

impl ConfigFile {
    /// `[trust]` and `[ca]` as one layer for bootstrap: the pins of both count.
    pub(crate) fn trust_layer(&self) -> Layer {
        let mut layer = self.ca.clone();
        for row in rows::ALL {
            let Some(entry) = self.trust.entry(*row) else { continue };
            let mut entry = entry.clone();
            if row.spec().name == FINGERPRINT.spec().name {
                let pins = [self.trust.values(&FINGERPRINT), self.ca.values(&FINGERPRINT)].concat();
                entry.values = Rc::new(pins);
            }
            layer.insert(*row, entry.values, entry.origin, entry.shown);
        }
        layer
    }

    /// Whether `[ca]` or `[trust]` name or pin a source of certificates.
    pub(crate) fn names_sources(&self) -> bool {
        let layer = self.trust_layer();
        rows::ALL.iter().any(|row| is_of_sources(*row) && layer.entry(*row).is_some())
    }

    /// `[trust]` and `[ca]` without the sources of certificates, because another layer names them (threat T1).
    pub(crate) fn without_sources(&self) -> Layer {
        let names: Vec<&str> =
            rows::ALL.iter().filter(|row| is_of_sources(**row)).map(|row| row.spec().name).collect();
        self.trust_layer().without(|name| names.contains(&name))
    }

    /// Whether `[ca]` names a CA or a pin.
    pub(crate) fn names_ca(&self) -> bool {
        self.ca.has_any(&[&CA_URL, &FINGERPRINT, &CA_ROOT])
    }
}

/// Whether the file's value of this option counts only if the file names the sources.
fn is_of_sources(row: &dyn Row) -> bool {
    row.spec().group != super::Group::None
}

/// The configuration: the file that `--config` or TRUSTUP_CONFIG names, else the default one. `None` if there is none.
///
/// # Errors
/// A named file that is missing; a file that another user could have written, or with any error in it.
pub(crate) fn load(
    env: &Env,
    above: &Settings,
    scope: Scope,
    variants: &[Variant],
) -> Result<Option<ConfigFile>> {
    let Some(Checked { file, problems }) = check(env, above, scope, variants)? else { return Ok(None) };
    let more = problems.len().saturating_sub(1);
    let check = check_command(above);
    match problems.into_iter().next() {
        None => Ok(Some(file)),
        Some(first) if more == 0 && !first.hints().is_empty() => Err(first),
        Some(first) if more == 0 => Err(first.hint(format!("`{check}` looks at the whole file"))),
        Some(first) => Err(first.hint(format!("`{check}` lists this and {more} more"))),
    }
}

/// The command that checks the same file.
pub(crate) fn check_command(above: &Settings) -> String {
    let named =
        above.get(&CONFIG).map(|path| format!(" --config {}", remedy::quoted(&path.to_string_lossy())));
    let shared = if above.is(&ALLOW_SHARED_CONFIG) { " --allow-shared-config" } else { "" };
    format!("trustup config check{}{shared}", named.unwrap_or_default())
}

/// As [`load`], with all problems of the file.
///
/// # Errors
/// The file itself: missing, untrusted, unreadable.
pub(crate) fn check(
    env: &Env,
    above: &Settings,
    scope: Scope,
    variants: &[Variant],
) -> Result<Option<Checked>> {
    let (path, named) = place::choose(env, above.get(&CONFIG).map(PathBuf::as_path))?;
    let sharing = place::sharing(above);
    let Some((text, note)) = place::read(&path, named, sharing)? else { return Ok(None) };
    let mut checked = parse(env, &path, &text, (scope, variants), sharing);
    checked.file.notes.splice(0..0, note);
    Ok(Some(checked))
}

/// The text of the file at `path`.
pub(super) fn parse(
    env: &Env,
    path: &Path,
    text: &str,
    (scope, variants): (Scope, &[Variant]),
    sharing: Sharing<'static>,
) -> Checked {
    let reader = Reader::new(env, path, text, sharing);
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut file = ConfigFile { path: path.to_owned(), ..ConfigFile::default() };
    if !errors.is_empty() {
        // Recovered values would cause misleading errors.
        errors.iter().for_each(|error| reader.syntax(error));
        return Checked { file, problems: reader.into_problems() };
    }
    let mut doubles = Vec::new();
    {
        let root = reader.root(document.get_ref());
        let tables = [("ca", &mut file.ca), ("trust", &mut file.trust), ("renew", &mut file.renew)];
        for (name, layer) in tables {
            if let Some(section) = root.section(name) {
                *layer = table::layer(&section, name, rows::ALL);
                section.finish(|key| table::why_not(key, rows::ALL));
            }
        }
        file.is_whole = root.problem_count() == 0;
        match scope {
            Scope::Trust => ["certificate", "hook"].into_iter().for_each(|key| root.pass_over(key)),
            Scope::All => {
                file.hooks = root.sections("hook").iter().filter_map(certificate::hook).collect();
                let sections = root.sections("certificate");
                file.certificates =
                    sections.iter().map(|section| certificate::certificate(section, variants)).collect();
                doubles = certificate::check_paths(&file.certificates);
            }
        }
        root.finish(|_| None);
    }
    file.notes = reader.take_notes();
    let mut problems = reader.into_problems();
    problems.extend(doubles);
    Checked { file, problems }
}
