//! The command line: options as clap accepts them, and as a layer: what clap found there, without clap's defaults.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};

use super::option::refuse_miswritten;
use super::{Flag, Layer, OptionKind, Origin, Row};
use crate::error::{Error, Result};

/// A row as an option of one command.
#[derive(Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) row: &'static dyn Row,
    pub(crate) help: &'static str,
    pub(crate) heading: Option<&'static str>,
    /// It is read only to be refused with a better message than clap's.
    pub(crate) is_hidden: bool,
}

impl Taken {
    /// Under this heading of the help.
    pub(crate) const fn under(mut self, heading: &'static str) -> Self {
        self.heading = Some(heading);
        self
    }

    /// As a clap argument.
    pub(crate) fn arg(&self) -> Arg {
        let spec = self.row.spec();
        let mut arg = Arg::new(spec.name).help(self.help).hide(self.is_hidden);
        arg = match spec.flag {
            Flag::Long => arg.long(spec.name),
            Flag::Trailing => arg.last(true),
            Flag::Positional | Flag::Absent => arg,
        };
        if let Some(short) = spec.short {
            arg = arg.short(short);
        }
        if let Some(heading) = self.heading {
            arg = arg.help_heading(heading);
        }
        if matches!(spec.kind, OptionKind::Switch) {
            return arg.action(ArgAction::SetTrue).conflicts_with_all(spec.excludes);
        }
        let action = if self.row.is_repeatable() { ArgAction::Append } else { ArgAction::Set };
        arg = arg.action(action).value_name(spec.value_name).value_parser(self.row.value_parser());
        if self.row.is_repeatable() && spec.flag != Flag::Long {
            arg = arg.num_args(1..);
        }
        if spec.is_delimited {
            arg = arg.value_delimiter(',');
        }
        if let Some(default) = spec.default.filter(|_| spec.flag == Flag::Long) {
            arg = arg.default_value(default);
        }
        arg.hide_possible_values(spec.hides_words)
            .allow_hyphen_values(spec.takes_hyphens)
            .conflicts_with_all(spec.excludes)
    }
}

/// The values of these options in `matches`.
///
/// # Errors
/// An invalid value of an option whose values clap must not show.
pub(crate) fn from_matches(taken: &[Taken], matches: &ArgMatches) -> Result<Layer> {
    let mut layer = Layer::default();
    for Taken { row, .. } in taken {
        let spec = row.spec();
        let is_known = matches.try_contains_id(spec.name).is_ok();
        if spec.flag == Flag::Absent
            || !is_known
            || matches.value_source(spec.name) != Some(ValueSource::CommandLine)
        {
            continue;
        }
        let texts = matches.try_get_raw(spec.name).ok().flatten().into_iter().flatten();
        for text in texts.filter_map(|text| text.to_str()) {
            refuse_miswritten(spec, &spec.shown(), text)?;
        }
        if let Some(values) = row.matched(matches)? {
            let texts = matches.try_get_raw(spec.name).ok().flatten().into_iter().flatten();
            // What is shown of a secret is nothing.
            let shown = texts.filter(|_| !matches!(spec.kind, OptionKind::Switch | OptionKind::Secret));
            let shown = shown.map(|text| text.to_string_lossy().into_owned()).collect();
            layer.insert(*row, values, Origin::CommandLine, shown);
        }
    }
    Ok(layer)
}

/// The options before a subcommand's word and after it, as one layer.
///
/// # Errors
/// An option is given twice, or with another that excludes it.
pub(crate) fn join(taken: &[Taken], before: &Layer, behind: &Layer) -> Result<Layer> {
    let mut all = before.clone();
    for row in taken.iter().map(|taken| taken.row) {
        let Some(entry) = behind.entry(row) else { continue };
        let spec = row.spec();
        let values = match before.entry(row) {
            Some(earlier) if row.is_repeatable() => row.joined(&earlier.values, &entry.values),
            Some(_) if !matches!(spec.kind, OptionKind::Switch) => {
                return Err(Error::usage(format!("`{}` is given twice", spec.shown())).hint("give it once"));
            }
            _ => entry.values.clone(),
        };
        all.insert(row, values, Origin::CommandLine, Vec::new());
    }
    let excluded = taken.iter().map(|taken| taken.row.spec()).find_map(|spec| {
        let other = |name: &&&str| all.entries.contains_key(**name);
        let is_there = all.entries.contains_key(spec.name);
        spec.excludes.iter().find(other).filter(|_| is_there).map(|other| (spec, other))
    });
    match excluded {
        None => Ok(all),
        Some((spec, other)) => {
            Err(Error::usage(format!("`{}` and `--{other}` exclude each other", spec.shown()))
                .hint("omit one of them"))
        }
    }
}
