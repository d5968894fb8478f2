//! The one table of enrollment methods. A row says all that is generic: the word of its subcommand and of `method` in
//! trustup.toml, its options, and how it is built from settings. Nothing else names a method.

use std::time::Duration;

use super::{Method, acme, provisioner, token, x5c};
use crate::env::Env;
use crate::error::Result;
use crate::settings::{Row, Settings, Taken, Variant};

/// For everything, if nothing else is said.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// One way to a certificate.
pub(crate) struct MethodRow {
    /// `trustup enroll WORD`; `method = "WORD"`.
    pub(crate) word: &'static str,
    /// What the help says of it.
    pub(crate) help: &'static str,
    /// An example: in words, and the arguments behind the method's word.
    pub(crate) example: (&'static str, &'static str),
    /// Its own options.
    pub(crate) options: &'static [Taken],
    /// The same, for the keys of an `enroll` table.
    pub(crate) rows: &'static [&'static dyn Row],
    /// Keys that such a table has to have.
    pub(crate) required: &'static [&'static str],
    /// Options of the command line and variables that count for a table of the file, too.
    pub(crate) beside_file: &'static [&'static dyn Row],
    /// When published images' variables ask by it.
    pub(crate) published: Published,
    /// How long it may take, if nothing else is said.
    pub(crate) timeout: Duration,
    /// It with these settings. What cannot be meant so is refused without looking at this machine.
    pub(crate) build: fn(&Settings, &mut Building<'_>) -> Result<Box<dyn Method>>,
    /// Whether all that it needs besides secrets is there, as far as that can be known before it runs.
    pub(crate) is_complete: fn(&Settings) -> Result<bool>,
}

/// When published images' variables ask by a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// Never.
    Never,
    /// If this variable is set.
    If(&'static str),
    /// If none of the others does.
    Otherwise,
}

/// What a method is built with besides settings.
pub(crate) struct Building<'a> {
    /// Variables that hold secrets.
    pub(crate) env: &'a Env,
    /// For people.
    pub(crate) warnings: Vec<String>,
}

/// All of them, in the order of the help.
pub(crate) static METHODS: [&MethodRow; 4] = [&token::ROW, &provisioner::ROW, &x5c::ROW, &acme::ROW];

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

/// The row of this word.
pub(crate) fn by_word(word: &str) -> Option<&'static MethodRow> {
    METHODS.into_iter().find(|method| method.word == word)
}

/// The `enroll` tables of all methods.
pub(crate) fn variants() -> Vec<Variant> {
    METHODS.iter().map(|method| method.variant()).collect()
}

/// Whether two rows are the same option.
pub(crate) fn is(one: &dyn Row, other: &dyn Row) -> bool {
    one.spec().name == other.spec().name
}
