//! The one table of enrollment methods. A row holds everything generic: the word of its subcommand and of `method` in
//! trustup.toml, its options, and how it is built from settings. No other code names a method.

use super::row::MethodRow;
use super::{acme, provisioner, token, x5c};
use crate::settings::Variant;

/// All of them, in the order of the help.
pub(crate) static METHODS: [&MethodRow; 4] = [&token::ROW, &provisioner::ROW, &x5c::ROW, &acme::ROW];

/// The row of this word.
pub(crate) fn by_word(word: &str) -> Option<&'static MethodRow> {
    METHODS.into_iter().find(|method| method.word == word)
}

/// The `enroll` tables of all methods.
pub(crate) fn variants() -> Vec<Variant> {
    METHODS.iter().map(|method| method.variant()).collect()
}
