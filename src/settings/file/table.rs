//! A table of the file, read by the rows that have a key in it.

use super::document::{Section, Value};
use crate::settings::{Layer, OptionKind, Origin, Reason, Row, Variable};

/// The values of this table's keys, `table.KEY` for each of these rows that has one. A table below it is read if a
/// row's key is in one (`enroll.rfc2136.server`).
pub(super) fn layer(section: &Section<'_>, table: &str, rows: &[&'static dyn Row]) -> Layer {
    layer_with(section, table, rows, &[])
}

/// As [`layer`]; of these keys of tables below, each is required if its table exists.
pub(super) fn layer_with(
    section: &Section<'_>,
    table: &str,
    rows: &[&'static dyn Row],
    required: &[&str],
) -> Layer {
    let mut layer = Layer::default();
    let mut below: Vec<&str> = Vec::new();
    for row in rows {
        let Some(key) = row.spec().key_in(table) else { continue };
        match key.split_once('.') {
            None => add(&mut layer, section, *row, key),
            Some((name, _)) if !below.contains(&name) => below.push(name),
            Some(_) => {}
        }
    }
    for name in below {
        let Some(inner) = section.section(name) else { continue };
        let front = format!("{name}.");
        for key in required.iter().filter_map(|key| key.strip_prefix(&front)) {
            inner.require(key);
        }
        for row in rows {
            let key = row.spec().key_in(table).and_then(|key| key.strip_prefix(&front));
            if let Some(key) = key {
                add(&mut layer, &inner, *row, key);
            }
        }
        inner.finish(|_| None);
    }
    layer
}

fn add(layer: &mut Layer, section: &Section<'_>, row: &dyn Row, key: &str) {
    let spec = row.spec();
    let mut line = section.line_of(key);
    let mut shown = Vec::new();
    let values = match spec.kind {
        OptionKind::Switch => section.switch(key).filter(|on| *on).and_then(|on| row.switched(on)),
        OptionKind::Secret => section.secret(key).and_then(|(source, at)| {
            line = at;
            row.sourced(source)
        }),
        kind => {
            let values = values(section, row, key);
            let values: Vec<Value> = match kind {
                OptionKind::Words(words) => {
                    let words = words();
                    let words: Vec<&str> = words.iter().map(String::as_str).collect();
                    values.into_iter().filter(|value| section.one_of(value, &words).is_some()).collect()
                }
                _ => values,
            };
            parsed(section, row, &values, &mut shown)
        }
    };
    if let Some(values) = values {
        let origin = Origin::File { place: section.place_of(line), key: section.name_of(key) };
        layer.insert(row, values, origin, shown);
    }
}

fn values(section: &Section<'_>, row: &dyn Row, key: &str) -> Vec<Value> {
    let spec = row.spec();
    match (spec.kind, row.is_repeatable()) {
        (OptionKind::Path, true) => section.paths(key),
        (OptionKind::Path, false) => section.path(key).into_iter().collect(),
        (_, true) => section.list(key),
        (_, false) => {
            section.plain(key, spec.wanted, spec.integers, spec.takes_moments).into_iter().collect()
        }
    }
}

/// All readable values; the others are reported as problems.
fn parsed(
    section: &Section<'_>,
    row: &dyn Row,
    values: &[Value],
    shown: &mut Vec<String>,
) -> Option<crate::settings::Values> {
    let good: Vec<&Value> = values
        .iter()
        .filter(|value| {
            let is_one = || row.parsed(&[value.text.as_str()]).ok().map(drop);
            section.parse(value, row.spec().wanted, |_| is_one()).is_some()
        })
        .collect();
    shown.extend(good.iter().map(|value| value.shown.clone()));
    let texts: Vec<&str> = good.iter().map(|value| value.text.as_str()).collect();
    if texts.is_empty() { None } else { row.parsed(&texts).ok() }
}

/// The explanation for an unsupported key, by the option of that name.
pub(super) fn why_not(key: &str, rows: &[&'static dyn Row]) -> Option<String> {
    let flag = key.replace('_', "-");
    let spec = rows.iter().map(|row| row.spec()).find(|spec| spec.name == flag)?;
    match spec.variable {
        Variable::Never(Reason::LoosensACheck) => {
            Some("an option that loosens a check is for the command line only".to_owned())
        }
        Variable::Never(Reason::OneRun) => Some(format!("`{}` is for the command line only", spec.shown())),
        _ => {
            let (table, key) = spec.keys.first()?.split_once('.')?;
            Some(format!("it is `{key}` in `[{table}]`"))
        }
    }
}
