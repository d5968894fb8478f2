//! Settings: the user's input from command line, variables, trustup.toml and the variables of published images. Each
//! option is one row ([`Opt`]); each source is a layer of typed values that know their origin; the first layer with a
//! value counts. Nothing here asks a server, and no value from a variable or a secret's file is shown (threat T23).

mod command_line;
mod environment;
pub(crate) mod file;
pub(crate) mod filled_in;
mod option;
pub(crate) mod rows;
pub(crate) mod secret;
mod spec;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::error::Error;
use crate::settings::secret::SecretSource;

pub(crate) use self::command_line::{Taken, from_matches, join};
pub(crate) use self::environment::{empty_source, from_environment, is_on, unknown};
pub(crate) use self::file::{
    CertificateTable, ConfigFile, DEFAULT, EntryTable, Hook, Scope, Variant, check, check_command,
    did_you_mean, load,
};
pub(crate) use self::option::{Opt, Row, Values};
pub(crate) use self::spec::{Flag, Group, OptionKind, Reason, Variable};

/// The origin of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The command line.
    CommandLine,
    /// A variable of ours, `TRUSTUP_…`.
    Variable(String),
    /// A variable of published images.
    Published(&'static str),
    /// A key of trustup.toml.
    File {
        /// PATH:LINE
        place: String,
        /// The key with its tables.
        key: String,
    },
}

/// The values of one option in one layer.
#[derive(Clone)]
pub(crate) struct Entry {
    values: Values,
    pub(crate) origin: Origin,
    /// As in the file, with variables not filled in.
    pub(crate) shown: Vec<String>,
}

impl fmt::Debug for Entry {
    /// Shows no value: some are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("origin", &self.origin)
            .field("shown", &self.shown)
            .finish_non_exhaustive()
    }
}

/// The values of one source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layer {
    entries: BTreeMap<&'static str, Entry>,
}

impl Layer {
    /// Adds its values of an option.
    pub(crate) fn insert(&mut self, row: &dyn Row, values: Values, origin: Origin, shown: Vec<String>) {
        self.entries.insert(row.spec().name, Entry { values, origin, shown });
    }

    /// Adds the values of another layer.
    pub(crate) fn add(&mut self, other: Layer) {
        self.entries.extend(other.entries);
    }

    /// Its values of this option.
    pub(crate) fn entry(&self, row: &dyn Row) -> Option<&Entry> {
        self.entries.get(row.spec().name)
    }

    /// Whether it has a value of one of these.
    pub(crate) fn has_any(&self, rows: &[&'static dyn Row]) -> bool {
        rows.iter().any(|row| self.entry(*row).is_some())
    }

    /// The layer without the options for which `goes` holds.
    pub(crate) fn without(&self, goes: impl Fn(&str) -> bool) -> Layer {
        let entries = self.entries.iter().filter(|(name, _)| !goes(name));
        Layer { entries: entries.map(|(name, entry)| (*name, entry.clone())).collect() }
    }

    /// Its values of an option as in the file, for people.
    pub(crate) fn shown(&self, row: &dyn Row) -> &[String] {
        self.entry(row).map(|entry| entry.shown.as_slice()).unwrap_or_default()
    }

    /// The location of the secret that it names for this option.
    pub(crate) fn source(&self, row: &dyn Row) -> Option<(&SecretSource, &Origin)> {
        let entry = self.entry(row)?;
        let sources = entry.values.downcast_ref::<Vec<SecretSource>>()?;
        Some((sources.first()?, &entry.origin))
    }

    /// Its values of this option.
    pub(crate) fn values<T: 'static, const MANY: bool>(&self, option: &Opt<T, MANY>) -> &[T] {
        let entry = self.entries.get(option.spec.name);
        entry.and_then(|entry| entry.values.downcast_ref::<Vec<T>>()).map(Vec::as_slice).unwrap_or_default()
    }
}

/// All layers, by precedence, the highest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    layers: Vec<Layer>,
    /// Variables that were set but are ignored, because the command line names a source (threat T1).
    pub(crate) ignored: Vec<String>,
    /// Variables that would name a source, and are empty.
    pub(crate) empty: Vec<String>,
    /// The configuration file whose sources are ignored, because the command line or environment names one (threat T1).
    pub(crate) ignored_file: Option<PathBuf>,
    /// For `-v`: [`ConfigFile::notes`].
    pub(crate) notes: Vec<String>,
}

impl Settings {
    /// These layers, the highest precedence first.
    pub(crate) fn new(layers: impl IntoIterator<Item = Layer>) -> Self {
        Settings { layers: layers.into_iter().collect(), ..Settings::default() }
    }

    /// The same above another layer.
    pub(crate) fn over(&self, layer: Layer) -> Settings {
        let mut all = self.clone();
        all.layers.push(layer);
        all
    }

    /// These layers above those of `below`.
    pub(crate) fn above(mut self, below: &Settings) -> Settings {
        self.layers.extend(below.layers.iter().cloned());
        self
    }

    /// The same without the options for which `goes` holds.
    pub(crate) fn without(&self, goes: impl Fn(&str) -> bool) -> Settings {
        let layers = self.layers.iter().map(|layer| layer.without(&goes)).collect();
        Settings { layers, ..self.clone() }
    }

    /// The value of this option in the first layer that has one.
    pub(crate) fn entry(&self, row: &dyn Row) -> Option<&Entry> {
        self.layers.iter().find_map(|layer| layer.entry(row))
    }

    /// Whether any layer has it.
    pub(crate) fn has(&self, row: &dyn Row) -> bool {
        self.entry(row).is_some()
    }

    /// Its origin.
    pub(crate) fn origin(&self, row: &dyn Row) -> Option<&Origin> {
        self.entry(row).map(|entry| &entry.origin)
    }

    /// Whether the command line itself sets it.
    pub(crate) fn is_given(&self, row: &dyn Row) -> bool {
        self.origin(row) == Some(&Origin::CommandLine)
    }

    /// The value.
    pub(crate) fn get<T: 'static>(&self, option: &Opt<T>) -> Option<&T> {
        self.values(option).last()
    }

    /// The value, else the option's default.
    pub(crate) fn or_default<T: Clone + Default + 'static>(&self, option: &Opt<T>) -> T {
        let default = || option.default.map(|default| default()).unwrap_or_default();
        self.get(option).cloned().unwrap_or_else(default)
    }

    /// All values of an option that may be repeated.
    pub(crate) fn all<T: 'static>(&self, option: &Opt<T, true>) -> &[T] {
        self.values(option)
    }

    /// Whether a switch is on.
    pub(crate) fn is(&self, option: &Opt<bool>) -> bool {
        self.get(option).copied().unwrap_or(false)
    }

    fn values<T: 'static, const MANY: bool>(&self, option: &Opt<T, MANY>) -> &[T] {
        let values = self.layers.iter().map(|layer| layer.values(option));
        values.into_iter().find(|values| !values.is_empty()).unwrap_or_default()
    }

    /// This option's name in messages: as it was given, by flag, variable or key.
    pub(crate) fn name(&self, row: &dyn Row) -> String {
        match self.origin(row) {
            None | Some(Origin::CommandLine) => row.spec().shown(),
            Some(Origin::Variable(name)) => name.clone(),
            Some(Origin::Published(name)) => (*name).to_owned(),
            Some(Origin::File { key, .. }) => key.clone(),
        }
    }

    /// An error about this option with the line of the file that sets it, if one does.
    pub(crate) fn blame(&self, row: &dyn Row, error: Error) -> Error {
        match self.origin(row) {
            Some(Origin::File { place, .. }) if error.place().is_none() => error.at(place),
            Some(Origin::File { place, .. }) if error.place() != Some(place) => {
                error.hint(format!("that is set at {place}"))
            }
            _ => error,
        }
    }
}
