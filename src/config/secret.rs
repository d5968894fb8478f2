//! Values that are never shown: tokens, passwords, keys. They are read when they are needed, since a token that is spent
//! may be gone while the certificate that it brought is good.

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::secret::Source;
use crate::sysroot::host;

/// A secret is a line, or a token of a few KiB.
const LIMIT: u64 = 64 * 1024;

/// A secret and where it comes from; Debug shows only that.
#[derive(Clone)]
pub struct Secret {
    /// `certificate.enroll.password`, or a variable.
    name: String,
    /// File and line; empty for a variable.
    place: String,
    from: From,
}

#[derive(Clone)]
enum From {
    Value(Zeroizing<String>),
    File(PathBuf),
    /// Why there is no value, in words that hold none.
    Nothing(String),
}

impl Secret {
    /// The secret `value` that `name` (a key or a variable) holds.
    pub fn new(name: impl Into<String>, value: Zeroizing<String>) -> Self {
        Secret { name: name.into(), place: String::new(), from: From::Value(value) }
    }

    /// The secret in the file at `path`: its text without the last line end.
    pub fn in_file(name: impl Into<String>, path: PathBuf) -> Self {
        Secret { name: name.into(), place: String::new(), from: From::File(path) }
    }

    pub(super) fn missing(name: impl Into<String>, why: String) -> Self {
        Secret { name: name.into(), place: String::new(), from: From::Nothing(why) }
    }

    pub(super) fn at(self, place: String) -> Self {
        Secret { place, ..self }
    }

    /// As what the methods of enrollment read.
    pub fn source(&self) -> Source {
        let name =
            if self.place.is_empty() { self.name.clone() } else { format!("{} ({})", self.name, self.place) };
        match &self.from {
            From::Value(value) => Source::Value(name, value.clone()),
            From::File(path) => Source::File(path.clone()),
            From::Nothing(why) => Source::Missing(name, why.clone()),
        }
    }

    /// The key or variable that holds it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that it is in, if it is in one.
    pub fn path(&self) -> Option<&Path> {
        match &self.from {
            From::File(path) => Some(path),
            From::Value(_) | From::Nothing(_) => None,
        }
    }

    /// The secret itself. A file's last line end is no part of it.
    ///
    /// # Errors
    /// A file that is missing, cannot be read, is empty, larger than 64 KiB or not UTF-8; a variable that is not set.
    pub fn read(&self) -> Result<Zeroizing<String>> {
        let failed = |what: &str| Error::usage(format!("`{}` {what}", self.name));
        match &self.from {
            From::Value(value) => Ok(value.clone()),
            From::Nothing(why) => Err(Error::usage(format!("`{}`: {why}", self.name))
                .at(&self.place)
                .hint("set the variable for this process, or put the value into a file and name that")),
            From::File(path) => {
                let bytes = Zeroizing::new(host::read_file(path, LIMIT)?);
                let text = std::str::from_utf8(&bytes)
                    .map_err(|_| failed("is in a file that is not UTF-8").at(path.display()))?;
                let text = without_line_end(text);
                if text.is_empty() {
                    return Err(failed("is in a file that is empty").at(path.display()));
                }
                Ok(Zeroizing::new(text.to_owned()))
            }
        }
    }
}

/// The text without one line end at its end.
pub(super) fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = match &self.from {
            From::Value(_) => "given".to_owned(),
            From::File(path) => path.display().to_string(),
            From::Nothing(_) => "missing".to_owned(),
        };
        write!(f, "Secret({}: {from})", self.name)
    }
}
