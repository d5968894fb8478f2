//! Values that are never shown: tokens, passwords, keys. They are read when they are needed, since a token that is spent
//! may be gone while the certificate that it brought is good.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::Result;
use crate::secret::{self, Source};

/// A secret and where it comes from; Debug shows only that.
#[derive(Clone, Debug)]
pub struct Secret {
    /// `certificate.enroll.password`, or a variable.
    name: String,
    source: Source,
}

impl Secret {
    /// The secret `value` that `name` (a key or a variable) holds.
    pub fn new(name: impl Into<String>, value: Zeroizing<String>) -> Self {
        let name = name.into();
        Secret { source: Source::Value(name.clone(), value), name }
    }

    /// The secret in the file at `path`, which `name_file` names.
    pub(super) fn in_file(name: String, path: PathBuf) -> Self {
        Secret { name, source: Source::File(path) }
    }

    /// No secret: `why`, in words that hold none.
    pub(super) fn missing(name: String, why: String) -> Self {
        Secret { source: Source::Missing(name.clone(), why), name }
    }

    /// The same, said at this line of the file.
    pub(super) fn at(self, place: &str) -> Self {
        let said = |name: &str| format!("{name} ({place})");
        let source = match self.source {
            Source::Value(name, value) => Source::Value(said(&name), value),
            Source::Missing(name, why) => Source::Missing(said(&name), why),
            other => other,
        };
        Secret { source, ..self }
    }

    /// As what the methods of enrollment read.
    pub fn source(&self) -> Source {
        self.source.clone()
    }

    /// The key or variable that holds it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that it is in, if it is in one.
    pub fn path(&self) -> Option<&Path> {
        match &self.source {
            Source::File(path) => Some(path),
            _ => None,
        }
    }

    /// The secret itself.
    ///
    /// # Errors
    /// As [`secret::Secret::read`].
    pub fn read(&self) -> Result<secret::Secret> {
        secret::Secret::read(&self.source, &format!("`{}`", self.name))
    }
}
