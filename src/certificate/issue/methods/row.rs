//! What a row of the table of enrollment methods has: everything generic about a method.

use std::time::Duration;

use super::Method;
use crate::error::Result;
use crate::host::env::Env;
use crate::settings::{Row, Settings, Taken, Variant};

/// For everything, by default.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// One method of getting a certificate.
pub(crate) struct MethodRow {
    /// `trustup enroll WORD`; `method = "WORD"`.
    pub(crate) word: &'static str,
    /// Its description in the help.
    pub(crate) help: &'static str,
    /// An example: in words, and the arguments after the method's word.
    pub(crate) example: (&'static str, &'static str),
    /// Its own options.
    pub(crate) options: &'static [Taken],
    /// The same, for the keys of an `enroll` table.
    pub(crate) rows: &'static [&'static dyn Row],
    /// Keys that such a table must have.
    pub(crate) required: &'static [&'static str],
    /// Options of the command line and variables that also apply to a table of the file.
    pub(crate) beside_file: &'static [&'static dyn Row],
    /// When published images' variables select it.
    pub(crate) published: Published,
    /// How long it may take, by default.
    pub(crate) timeout: Duration,
    /// Builds it from these settings. An impossible combination is refused without inspecting this machine.
    pub(crate) build: fn(&Settings, &mut Building<'_>) -> Result<Box<dyn Method>>,
    /// Whether all that it needs besides secrets exists, as far as that can be known before it runs.
    pub(crate) is_complete: fn(&Settings) -> Result<bool>,
}

/// When published images' variables select a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// Never.
    Never,
    /// If this variable is set.
    If(&'static str),
    /// If none of the others does.
    Otherwise,
}

/// The input for building a method besides settings.
pub(crate) struct Building<'a> {
    /// Variables that hold secrets.
    pub(crate) env: &'a Env,
    /// For people.
    pub(crate) warnings: Vec<String>,
}

impl MethodRow {
    /// The `enroll` table of this method.
    pub(crate) fn variant(&self) -> Variant {
        Variant { word: self.word, rows: self.rows, required: self.required }
    }

    /// Whether this option is one of its own.
    pub(crate) fn has(&self, row: &dyn Row) -> bool {
        self.rows.iter().chain(self.options.iter().map(|taken| &taken.row)).any(|own| is(*own, row))
    }
}

/// Whether two rows are the same option.
pub(crate) fn is(one: &dyn Row, other: &dyn Row) -> bool {
    one.spec().name == other.spec().name
}
