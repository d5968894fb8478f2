//! What the runs of bootstrap and enroll would refuse in trustup.toml: the same builders make the same requests. What
//! depends on this machine is not a problem of the file: recorded roots, users and groups, files of roots.

use crate::certificate::issue::IssueRequest;
use crate::certificate::issue::methods::Method;
use crate::certificate::issue::methods::row::MethodRow;
use crate::certificate::issue::methods::table;
use crate::certificate::issue::request::{self, IssueInput, Purpose, with_ca};
use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::settings::{CertificateTable, ConfigFile, EntryTable, Settings};
use crate::trust::bootstrap::request as trust_request;

/// The result.
#[derive(Debug, Default)]
pub(crate) struct Inspection {
    /// What a run refuses.
    pub(crate) problems: Vec<Error>,
    /// What a run may refuse, or ignores.
    pub(crate) warnings: Vec<String>,
}

impl Inspection {
    /// Adds what the methods of a certificate have against its names: a warning, unless no method is left.
    fn add_names(&mut self, request: &IssueRequest, place: &str) {
        let refused = |method: &dyn Method| Some((method.name(), method.check_names(&request.names).err()?));
        let mut refusals: Vec<_> =
            request.methods.iter().filter_map(|method| refused(method.as_ref())).collect();
        if refusals.len() == request.methods.len() && !refusals.is_empty() {
            let (_, first) = refusals.swap_remove(0);
            self.problems.push(request::blamed(first, place));
            return;
        }
        let line = |(method, error): (&str, Error)| format!("{place}: `{method}` cannot be used: {error}");
        self.warnings.extend(refusals.into_iter().map(line));
    }
}

/// Inspects what could be read of the file. `of_bootstrap` and `of_enroll` are what the environment says to these commands.
///
/// # Errors
/// A file that a method needs cannot be inspected.
pub(crate) fn inspect(
    file: &ConfigFile,
    of_bootstrap: &Settings,
    of_enroll: &Settings,
    env: &Env,
) -> Result<Inspection> {
    let mut found = Inspection::default();
    // Errors would otherwise be reported again as missing values.
    if file.is_whole {
        let merged = trust_request::with_file(of_bootstrap, Some(file));
        match trust_request::check(&merged, file) {
            None => {}
            Some((error, true)) => found.problems.push(error),
            Some((error, false)) => found.warnings.push(format!("bootstrap would refuse this: {error}")),
        }
    }
    let (merged, ca) = with_ca(of_enroll, Some(file), &mut Vec::new());
    let input = IssueInput { env, settings: &merged, host: None, file: Some(file) };
    for table in &file.certificates {
        if table.is_whole {
            match request::configured(input, table, (Purpose::Enroll(None), None), &ca, &mut found.warnings) {
                Ok(made) => found.add_names(&made, &table.place),
                Err(error) => found.problems.push(request::blamed(error, &table.place)),
            }
        }
        let (missing, warned) = secrets(table)?;
        found.problems.extend(missing);
        found.warnings.extend(warned);
    }
    Ok(found)
}

/// The problems with the secrets of a certificate: errors, unless another of its methods has all that it needs. A spent
/// token may be gone, and `enroll` continues.
fn secrets(one: &CertificateTable) -> Result<(Vec<Error>, Vec<String>)> {
    let mut found = Vec::new();
    let mut complete = Vec::new();
    for entry in &one.enroll {
        let Some(method) = table::by_word(entry.word) else { continue };
        let wrong = request::missing_secrets(method, entry);
        if wrong.is_empty() && is_complete(method, entry)? {
            complete.push(method.word);
        }
        found.extend(wrong);
    }
    Ok(match complete.first() {
        None => (found, Vec::new()),
        Some(word) => {
            let line = |error| format!("{}: only the method `{word}` can be used now: {error}", one.place);
            (Vec::new(), found.into_iter().map(line).collect())
        }
    })
}

/// Whether all that a method needs besides secrets exists.
fn is_complete(method: &MethodRow, entry: &EntryTable) -> Result<bool> {
    (method.is_complete)(&Settings::new([entry.layer.clone()]))
}
