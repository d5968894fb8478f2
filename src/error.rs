//! The one error type: a kind (which is the exit code), what failed, where, why, and what to do next.
//!
//! Messages are lower-case, without a final full stop, values in backticks. Hints are whole commands or settings.
//! Nothing here prints: `ui` does. Never put a secret or file content into an error.

use std::fmt;
use std::time::Duration;

/// Result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is; decides heading and exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// Failed, nothing changed: exit 1.
    Failed,
    /// Usage or bad input: exit 2.
    Usage,
    /// Not trusted (fingerprint, chain), or refused by the CA: exit 4.
    NotTrusted,
    /// Not supported on this system: exit 5.
    Unsupported,
    /// Unreachable or timed out; worth trying again: exit 6.
    Unreachable,
    /// Failed, and the paths named are changed: exit 7.
    Changed,
    /// The command after `--` is there and cannot be executed: exit 126, as in a shell.
    NotExecutable,
    /// The command after `--` is not there: exit 127, as in a shell.
    NoCommand,
}

impl ErrorKind {
    /// The process exit code; the same in every command (`--help` lists them).
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Failed => 1,
            ErrorKind::Usage => 2,
            ErrorKind::NotTrusted => 4,
            ErrorKind::Unsupported => 5,
            ErrorKind::Unreachable => 6,
            ErrorKind::Changed => 7,
            ErrorKind::NotExecutable => 126,
            ErrorKind::NoCommand => 127,
        }
    }
}

/// A failure with every detail for a reader who was not watching.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    what: String,
    place: Option<String>,
    cause: Option<anyhow::Error>,
    hints: Vec<String>,
    changed: Vec<String>,
    retry_after: Option<Duration>,
}

impl Error {
    /// An error of `kind`; `what` is the failure.
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            what: what.into(),
            place: None,
            cause: None,
            hints: Vec::new(),
            changed: Vec::new(),
            retry_after: None,
        }))
    }

    /// Failed, nothing changed.
    pub fn failed(what: impl Into<String>) -> Self {
        Error::new(ErrorKind::Failed, what)
    }

    /// Usage or bad input.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Error::new(ErrorKind::Usage, what)
    }

    /// Not trusted, or refused.
    pub(crate) fn not_trusted(what: impl Into<String>) -> Self {
        Error::new(ErrorKind::NotTrusted, what)
    }

    /// Not supported here.
    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Error::new(ErrorKind::Unsupported, what)
    }

    /// Unreachable or timed out.
    pub(crate) fn unreachable(what: impl Into<String>) -> Self {
        Error::new(ErrorKind::Unreachable, what)
    }

    /// Where: a path or a URL (mask user info and query of a URL before).
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.0.place = Some(place.to_string());
        self
    }

    /// Why: the underlying error.
    pub(crate) fn because(mut self, cause: impl Into<anyhow::Error>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// What to do next; may be called more than once.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }

    /// When the server allows another request: this long after its answer.
    pub(crate) fn with_retry_after(mut self, wait: impl Into<Option<Duration>>) -> Self {
        self.0.retry_after = wait.into();
        self
    }

    /// Turns the error into "failed, and these paths are changed".
    pub(crate) fn with_changed(mut self, paths: impl IntoIterator<Item = String>) -> Self {
        self.0.changed.extend(paths);
        if !self.0.changed.is_empty() {
            self.0.kind = ErrorKind::Changed;
        }
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What failed.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// Path or URL.
    pub fn place(&self) -> Option<&str> {
        self.0.place.as_deref()
    }

    /// The cause, if it is of this type: an `Errno` of a system call, for example.
    pub(crate) fn cause<T: fmt::Display + fmt::Debug + Send + Sync + 'static>(&self) -> Option<&T> {
        self.0.cause.as_ref()?.downcast_ref::<T>()
    }

    /// The causes, outermost first.
    pub fn causes(&self) -> Vec<String> {
        self.0.cause.iter().flat_map(|cause| cause.chain().map(ToString::to_string)).collect()
    }

    /// What to do next.
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }

    /// How long the server wants no request, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Paths that are changed although the command failed.
    pub(crate) fn changed(&self) -> &[String] {
        &self.0.changed
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)?;
        if let Some(place) = &self.0.place {
            write!(f, ": `{place}`")?;
        }
        for cause in self.causes() {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_makes_it_exit_code_7() {
        let error = Error::failed("could not write").at("/etc/x").with_changed(["/etc/y".to_owned()]);
        assert_eq!(error.kind().exit_code(), 7);
        assert_eq!(Error::failed("x").with_changed([]).kind().exit_code(), 1);
    }

    #[test]
    fn display_is_one_line_with_place_and_causes() {
        let io = std::io::Error::other("disk on fire");
        assert_eq!(
            Error::failed("could not read").at("/x").because(io).to_string(),
            "could not read: `/x`: disk on fire"
        );
    }
}
