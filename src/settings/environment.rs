//! Variables as layers: `TRUSTUP_` and the option's name, for every command the same, and the sources and pins of
//! published images' variables. The exceptions are threat T1's.

use super::option::{invalid, known_mistake, refuse_miswritten, switch};
use super::spec::Spec;
use super::{Group, Layer, OptionKind, Origin, Reason, Row, Taken, Variable, did_you_mean};
use crate::error::{Error, Result};
use crate::host::env::Env;

/// Variables that are set, and do not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unheeded {
    /// The command line names a source (threat T1).
    pub(crate) ignored: Vec<String>,
    /// They would name a source, and are empty.
    pub(crate) empty: Vec<String>,
}

/// The environment's values of these options. If `line` names a source or pin, variables may name none.
///
/// # Errors
/// An empty pin; an invalid value.
pub(crate) fn from_environment(taken: &[Taken], line: &Layer, env: &Env) -> Result<(Layer, Unheeded)> {
    let names_source = names_sources(line, taken);
    let mut layer = Layer::default();
    let mut unheeded = Unheeded::default();
    for Taken { row, .. } in taken {
        let spec = row.spec();
        let ours = spec.variable();
        // For an option with a flag, a published variable counts only without a trustup.toml value (`enroll`).
        let published = spec.published.filter(|_| spec.flag == super::Flag::Absent);
        let Some(name) = ours.as_deref().or(published) else { continue };
        let Some(text) = env.raw(name).filter(|_| line.entry(*row).is_none()) else { continue };
        if names_source && spec.group.names_sources() {
            unheeded.ignored.push(name.to_owned());
            continue;
        }
        if text.is_empty() {
            if spec.group == Group::Pin {
                return Err(empty_pin(name));
            }
            if spec.group == Group::Source {
                unheeded.empty.push(name.to_owned());
            }
            continue;
        }
        let origin = match published {
            Some(name) => Origin::Published(name),
            None => Origin::Variable(name.to_owned()),
        };
        if let Some(values) = value(*row, name, text)? {
            layer.insert(*row, values, origin, Vec::new());
        }
    }
    Ok((layer, unheeded))
}

fn value(row: &dyn Row, variable: &str, text: &str) -> Result<Option<super::Values>> {
    let spec = row.spec();
    if let OptionKind::Switch = spec.kind {
        let on = switch(text).map_err(|error| {
            let hints = error.hints().to_vec();
            hints
                .into_iter()
                .fold(Error::usage(format!("`{variable}` is neither true nor false")), Error::hint)
        })?;
        // Off is the same as unset: a variable disables no check that the file requires (threat T1).
        return Ok(if on { row.switched(true) } else { None });
    }
    refuse_miswritten(spec, variable, text)?;
    let texts: Vec<&str> = if spec.is_delimited { text.split(',').collect() } else { vec![text] };
    let values = row.parsed(&texts);
    values.map(Some).map_err(|(at, error)| {
        let error = known_mistake(texts[at]).unwrap_or(error);
        invalid(spec, variable, texts[at], &error)
    })
}

/// A warning for each variable `TRUSTUP_…` that sets no option of `rows`, those of all commands: usually a mistyped one.
/// Variables that Kubernetes makes for a service called `trustup` are none, nor are those for which `is_used` holds.
pub(crate) fn unknown(env: &Env, rows: &[&dyn Row], is_used: impl Fn(&str) -> bool) -> Vec<String> {
    let of_row = |spec: &Spec| match spec.variable {
        Variable::Never(Reason::ReadByItsMethod) => Some(format!("TRUSTUP_{}", spec.name.to_uppercase())),
        _ => spec.variable(),
    };
    let known: Vec<String> = rows.iter().filter_map(|row| of_row(row.spec())).collect();
    let of_kubernetes =
        |name: &str| name.contains("_SERVICE_") || name.ends_with("_PORT") || name.contains("_PORT_");
    let is_test = |name: &str| cfg!(debug_assertions) && name.starts_with("TRUSTUP_TEST_");
    let mut unknown: Vec<&str> = env
        .all_names()
        .filter(|name| name.starts_with("TRUSTUP_") && !known.iter().any(|known| known == name))
        .filter(|name| !of_kubernetes(name) && !is_test(name) && !is_used(name))
        .collect();
    unknown.sort_unstable();
    let warning = |name: &str| {
        let option = name["TRUSTUP_".len()..].to_lowercase().replace('_', "-");
        let without = rows
            .iter()
            .map(|row| row.spec())
            .find(|spec| spec.flag == super::Flag::Long && spec.name == option);
        let shown = crate::text::escape(name);
        if let Some(spec) = without {
            return format!(
                "`{shown}` sets nothing: `{}` has no variable, only the command line sets it",
                spec.shown()
            );
        }
        let meant = did_you_mean(name, known.iter().map(String::as_str));
        let meant = meant.map(|meant| format!(": {meant}")).unwrap_or_default();
        format!("`{shown}` is not a variable of trustup{meant}")
    };
    unknown.into_iter().map(warning).collect()
}

/// Whether this layer names a source or pin.
pub(super) fn names_sources(layer: &Layer, taken: &[Taken]) -> bool {
    let mut rows = taken.iter().map(|taken| taken.row);
    rows.any(|row| row.spec().group.names_sources() && layer.entry(row).is_some())
}

/// The error for a pin that is set, but empty (threat T1).
pub(crate) fn empty_pin(variable: &str) -> Error {
    Error::usage(format!("`{variable}` is set, and empty: that pins nothing"))
        .hint(format!("give the build argument (`--build-arg {variable}=…`), or unset the variable"))
        .hint(arg_hint(variable))
}

/// The error for a pin whose source is set, but empty.
pub(crate) fn empty_source(variable: &str, pin: &str) -> Error {
    Error::usage(format!("`{variable}` is set, and empty, so `{pin}` has nothing to pin"))
        .hint(format!(
            "give the build argument (`--build-arg {variable}=…`), or the variable at run time (`docker run -e {variable}=…`)"
        ))
        .hint(arg_hint(variable))
}

fn arg_hint(variable: &str) -> String {
    format!(
        "in a Dockerfile an ARG before FROM is empty after FROM: repeat `ARG {variable}` there, before ENV and RUN"
    )
}

/// Whether its variable turns the switch `name` on, for what is needed before the command line is read.
pub(crate) fn is_on(env: &Env, name: &str) -> bool {
    env.var(name).is_some_and(|text| switch(text).is_ok_and(|on| on))
}
