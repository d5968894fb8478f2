//! An option of trustup, declared once: one row has its flag, type with parser, help, variable, keys in trustup.toml
//! and class under threat T1. The same rows read the command line, the environment and the file.

use std::any::Any;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::builder::{EnumValueParser, ValueParser};
use clap::{ArgMatches, ValueEnum};

use super::Taken;
use super::spec::{Flag, Group, OptionKind, Reason, SPEC, Spec, Variable};
use crate::error::{Error, Result};
use crate::rootfs::host;
use crate::settings::secret::SecretSource;
use crate::text::miswritten::Miswritten;

/// The values of one option, a `Vec<T>`.
pub(crate) type Values = Rc<dyn Any>;

/// An option whose type is not known here, for lists of options.
pub(crate) trait Row: Sync {
    /// Everything but its type.
    fn spec(&self) -> &Spec;

    /// Whether it may be repeated.
    fn is_repeatable(&self) -> bool;

    /// How clap reads a value.
    fn value_parser(&self) -> ValueParser;

    /// The values on the command line.
    ///
    /// # Errors
    /// An invalid value that clap was not to check, since it would show it.
    fn matched(&self, matches: &ArgMatches) -> Result<Option<Values>>;

    /// The values of these texts.
    ///
    /// # Errors
    /// The index of the first invalid one, with the reason.
    fn parsed(&self, texts: &[&str]) -> Result<Values, (usize, Error)>;

    /// The value of a switch; `None` for another option.
    fn switched(&self, on: bool) -> Option<Values>;

    /// The location of a secret as its value; `None` for an option that is not a secret.
    fn sourced(&self, source: SecretSource) -> Option<Values>;

    /// Both values, of an option that may be repeated.
    fn joined(&self, one: &Values, other: &Values) -> Values;
}

/// An option with values of type `T`; `MANY`: repeated, it adds a value.
#[derive(Debug)]
pub(crate) struct Opt<T: 'static, const MANY: bool = false> {
    pub(super) spec: Spec,
    parse: fn(&str) -> Result<T>,
    /// How clap reads it, if not by `parse` alone.
    clap: Option<fn() -> ValueParser>,
    pub(super) default: Option<fn() -> T>,
}

impl<T: 'static> Opt<T> {
    /// `--NAME VALUE`, read by `parse`; `wanted` describes a value.
    pub(crate) const fn new(
        name: &'static str,
        value_name: &'static str,
        wanted: &'static str,
        parse: fn(&str) -> Result<T>,
    ) -> Self {
        Opt { spec: Spec { name, value_name, wanted, ..SPEC }, parse, clap: None, default: None }
    }

    /// As [`Opt::new`], for a URL.
    pub(crate) const fn address(
        name: &'static str,
        value_name: &'static str,
        wanted: &'static str,
        parse: fn(&str) -> Result<T>,
    ) -> Self {
        let spec = Spec { name, value_name, wanted, kind: OptionKind::Address, ..SPEC };
        Opt { spec, parse, clap: None, default: None }
    }

    /// As [`Opt::new`], for one of some words; clap does not list them.
    pub(crate) const fn one_of(
        name: &'static str,
        value_name: &'static str,
        words: fn() -> Vec<String>,
        parse: fn(&str) -> Result<T>,
    ) -> Self {
        let spec = Spec { name, value_name, kind: OptionKind::Words(words), ..SPEC };
        Opt { spec, parse, clap: None, default: None }
    }

    /// It may be repeated.
    pub(crate) const fn repeatable(self) -> Opt<T, true> {
        Opt { spec: self.spec, parse: self.parse, clap: self.clap, default: self.default }
    }

    /// The default value; `shown` in the help.
    pub(crate) const fn default(mut self, shown: &'static str, value: fn() -> T) -> Self {
        self.spec.default = Some(shown);
        self.default = Some(value);
        self
    }
}

impl Opt<bool> {
    /// `--NAME`
    pub(crate) const fn switch(name: &'static str) -> Self {
        let wanted = "`true` or `false`";
        let spec = Spec { name, kind: OptionKind::Switch, wanted, ..SPEC };
        Opt { spec, parse: switch, clap: None, default: None }
    }
}

impl Opt<String> {
    /// `--NAME VALUE`, any text.
    pub(crate) const fn text(name: &'static str, value_name: &'static str) -> Self {
        let spec = Spec { name, value_name, ..SPEC };
        Opt { spec, parse: owned, clap: Some(ValueParser::string), default: None }
    }
}

impl Opt<OsString> {
    /// The words of a command line: any bytes.
    pub(crate) const fn words_of_command(name: &'static str) -> Self {
        let spec = Spec { name, value_name: name, ..SPEC };
        Opt { spec, parse: os_string, clap: Some(ValueParser::os_string), default: None }
    }
}

impl Opt<PathBuf> {
    /// `--NAME PATH`
    pub(crate) const fn path(name: &'static str, value_name: &'static str) -> Self {
        let spec = Spec { name, value_name, kind: OptionKind::Path, ..SPEC };
        Opt { spec, parse: path, clap: Some(ValueParser::path_buf), default: None }
    }
}

impl Opt<SecretSource> {
    /// `--NAME FILE`: the location of a secret.
    pub(crate) const fn secret(name: &'static str) -> Self {
        let spec = Spec { name, value_name: "FILE", kind: OptionKind::Secret, ..SPEC };
        Opt { spec, parse: str::parse, clap: None, default: None }
    }

    /// `--NAME FILE`: the location of a private key; in trustup.toml it is the path of a file.
    pub(crate) const fn key_file(name: &'static str) -> Self {
        let spec = Spec { name, value_name: "FILE", kind: OptionKind::Path, ..SPEC };
        Opt { spec, parse: str::parse, clap: None, default: None }
    }
}

impl<T: ValueEnum + Clone + Send + Sync + 'static> Opt<T> {
    /// `--NAME WORD`, the words of `T`.
    pub(crate) const fn words(name: &'static str, value_name: &'static str) -> Self {
        let spec = Spec { name, value_name, kind: OptionKind::Words(words_of::<T>), ..SPEC };
        Opt { spec, parse: word::<T>, clap: Some(enum_parser::<T>), default: None }
    }
}

impl<T: 'static, const MANY: bool> Opt<T, MANY> {
    /// Its help.
    pub(crate) const fn help(mut self, help: &'static str) -> Self {
        self.spec.help = help;
        self
    }

    /// How clap reads it.
    pub(crate) const fn clap(mut self, parser: fn() -> ValueParser) -> Self {
        self.clap = Some(parser);
        self
    }

    /// `-s`
    pub(crate) const fn short(mut self, short: char) -> Self {
        self.spec.short = Some(short);
        self
    }

    /// An argument by its position.
    pub(crate) const fn positional(mut self) -> Self {
        self.spec.flag = Flag::Positional;
        self.spec.variable = Variable::Never(Reason::NoFlag);
        self
    }

    /// The arguments after `--`.
    pub(crate) const fn trailing(mut self) -> Self {
        self.spec.flag = Flag::Trailing;
        self.spec.variable = Variable::Never(Reason::NoFlag);
        self
    }

    /// No flag: a published variable, or only a key of trustup.toml.
    pub(crate) const fn without_flag(mut self) -> Self {
        self.spec.flag = Flag::Absent;
        self.spec.variable = Variable::Never(Reason::NoFlag);
        self
    }

    /// The possible values are omitted from the help.
    pub(crate) const fn hides_words(mut self) -> Self {
        self.spec.hides_words = true;
        self
    }

    /// Values may also be separated by commas.
    pub(crate) const fn delimited(mut self) -> Self {
        self.spec.is_delimited = true;
        self
    }

    /// Values may begin with `-`.
    pub(crate) const fn takes_hyphens(mut self) -> Self {
        self.spec.takes_hyphens = true;
        self
    }

    /// In trustup.toml a whole number of base 8 or 10 is also a value.
    pub(crate) const fn integers(mut self, base: u32) -> Self {
        self.spec.integers = Some(base);
        self
    }

    /// In trustup.toml a date and time is also a value.
    pub(crate) const fn moments(mut self) -> Self {
        self.spec.takes_moments = true;
        self
    }

    /// Flags that exclude this one.
    pub(crate) const fn excludes(mut self, names: &'static [&'static str]) -> Self {
        self.spec.excludes = names;
        self
    }

    /// No variable sets it.
    pub(crate) const fn never(mut self, reason: Reason) -> Self {
        self.spec.variable = Variable::Never(reason);
        self
    }

    /// The variable of published images with the same meaning.
    pub(crate) const fn published(mut self, variable: &'static str) -> Self {
        self.spec.published = Some(variable);
        self
    }

    /// Its keys in trustup.toml.
    pub(crate) const fn keys(mut self, keys: &'static [&'static str]) -> Self {
        self.spec.keys = keys;
        self
    }

    /// Its group.
    pub(crate) const fn group(mut self, group: Group) -> Self {
        self.spec.group = group;
        self
    }
}

impl<T: Clone + Send + Sync + 'static, const MANY: bool> Opt<T, MANY> {
    /// The option for a command, with its own help.
    pub(crate) const fn taken(&'static self) -> Taken {
        Taken { row: self, help: self.spec.help, heading: None, is_hidden: false }
    }

    /// The same with the help that fits this command.
    pub(crate) const fn taken_as(&'static self, help: &'static str) -> Taken {
        Taken { row: self, help, heading: None, is_hidden: false }
    }
}

impl<T: Clone + Send + Sync + 'static, const MANY: bool> Row for Opt<T, MANY> {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn is_repeatable(&self) -> bool {
        MANY
    }

    fn value_parser(&self) -> ValueParser {
        match (self.clap, self.spec.kind) {
            (Some(parser), _) => parser(),
            // clap would show its password.
            (None, OptionKind::Address) => ValueParser::string(),
            (None, _) => {
                let parse = self.parse;
                ValueParser::new(move |text: &str| {
                    parse(text).map_err(|error| for_clap(&known_mistake(text).unwrap_or(error)))
                })
            }
        }
    }

    fn matched(&self, matches: &ArgMatches) -> Result<Option<Values>> {
        let id = self.spec.name;
        match self.spec.kind {
            OptionKind::Switch => Ok(matches.get_flag(id).then(|| self.switched(true)).flatten()),
            OptionKind::Address => {
                let texts: Vec<&str> =
                    matches.get_many::<String>(id).into_iter().flatten().map(String::as_str).collect();
                let values = self
                    .parsed(&texts)
                    .map_err(|(at, error)| invalid(&self.spec, &self.spec.shown(), texts[at], &error))?;
                Ok((!texts.is_empty()).then_some(values))
            }
            _ => {
                let values: Vec<T> = matches.get_many::<T>(id).into_iter().flatten().cloned().collect();
                Ok((!values.is_empty()).then(|| Rc::new(values) as Values))
            }
        }
    }

    fn parsed(&self, texts: &[&str]) -> Result<Values, (usize, Error)> {
        let one = |(at, text): (usize, &&str)| (self.parse)(text).map_err(|error| (at, error));
        let values: Vec<T> = texts.iter().enumerate().map(one).collect::<Result<_, _>>()?;
        Ok(Rc::new(values))
    }

    fn switched(&self, on: bool) -> Option<Values> {
        let value: Box<dyn Any> = Box::new(on);
        value.downcast::<T>().ok().map(|value| Rc::new(vec![*value]) as Values)
    }

    fn sourced(&self, source: SecretSource) -> Option<Values> {
        let value: Box<dyn Any> = Box::new(source);
        value.downcast::<T>().ok().map(|value| Rc::new(vec![*value]) as Values)
    }

    fn joined(&self, one: &Values, other: &Values) -> Values {
        let both = [one, other].into_iter().filter_map(|values| values.downcast_ref::<Vec<T>>());
        Rc::new(both.flatten().cloned().collect::<Vec<T>>())
    }
}

/// The error about a value that a shell or a template should have changed; `None` for any other.
pub(super) fn known_mistake(text: &str) -> Option<Error> {
    Miswritten::of(text).map(|mistake| Error::usage(format!("it {}", mistake.what())).hint(mistake.hint()))
}

/// Refuses `text`, from `place` (a flag, a variable), if it holds the name of a value instead of the value, or is a path in
/// quotation marks: no parser would. A command or hook may do something with such a name.
///
/// # Errors
/// It does.
pub(super) fn refuse_miswritten(spec: &Spec, place: &str, text: &str) -> Result<()> {
    let may_mean_it = spec.flag == Flag::Trailing || spec.takes_hyphens;
    let is_path = matches!(spec.kind, OptionKind::Path | OptionKind::Secret);
    // Odd names of files exist.
    let is_there = |part: &Path| {
        part.to_str().and_then(Miswritten::of).is_some()
            && host::stat(part).is_ok_and(|found| found.is_some())
    };
    if is_path && Path::new(text).ancestors().any(is_there) {
        return Ok(());
    }
    let is_wrong = match Miswritten::of(text) {
        Some(Miswritten::Template(_)) => !may_mean_it,
        Some(Miswritten::Quoted) => is_path,
        None => false,
    };
    match known_mistake(text).filter(|_| is_wrong) {
        Some(error) => Err(invalid(spec, place, text, &error)),
        None => Ok(()),
    }
}

/// One of our errors for display by clap.
pub(crate) fn for_clap(error: &Error) -> String {
    error.hints().iter().fold(error.what().to_owned(), |text, hint| format!("{text}\n  hint: {hint}"))
}

/// The error that `text`, from `place` (a flag, a variable), is not a value of this option.
pub(super) fn invalid(spec: &Spec, place: &str, text: &str, error: &Error) -> Error {
    let option = match spec.flag {
        Flag::Long if place != spec.shown() => {
            format!("`{place}` (`{} <{}>`)", spec.shown(), spec.value_name)
        }
        Flag::Long => format!("`{place} <{}>`", spec.value_name),
        _ => format!("`{place}`"),
    };
    let why: Vec<String> = std::iter::once(error.what().to_owned()).chain(error.causes()).collect();
    let why = why.join(": ");
    let invalid = Error::usage(format!("invalid value for {option}"))
        // Its own parser knows best what may be shown.
        .at(error.place().map_or_else(|| spec.show(text), ToOwned::to_owned))
        .because(anyhow::anyhow!("{why}"));
    let hints = error.hints();
    let fallback =
        (hints.is_empty() && !spec.wanted.is_empty()).then(|| format!("it should be {}", spec.wanted));
    hints.iter().cloned().chain(fallback).fold(invalid, Error::hint)
}

/// The words for on and off in variables and files.
pub(super) fn switch(text: &str) -> Result<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(Error::usage("neither true nor false").hint("set it to 1 or 0, or unset it")),
    }
}

fn owned(text: &str) -> Result<String> {
    Ok(text.to_owned())
}

fn os_string(text: &str) -> Result<OsString> {
    Ok(OsString::from(text))
}

fn path(text: &str) -> Result<PathBuf> {
    Ok(PathBuf::from(text))
}

fn enum_parser<T: ValueEnum + Clone + Send + Sync + 'static>() -> ValueParser {
    EnumValueParser::<T>::new().into()
}

fn words_of<T: ValueEnum>() -> Vec<String> {
    let words = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    words.map(|word| word.get_name().to_owned()).collect()
}

fn word<T: ValueEnum>(text: &str) -> Result<T> {
    T::from_str(text, false).map_err(|_| {
        let words: Vec<String> = words_of::<T>().iter().map(|word| format!("`{word}`")).collect();
        Error::usage("unknown value").hint(format!("one of {}", words.join(", ")))
    })
}
