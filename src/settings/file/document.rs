//! A TOML document as tables in which every key must be requested: a key that was not is an error, with the name that
//! was meant. All errors are collected, with their lines; a value is shown as written in the file, never as it was
//! filled in (threat T23).

mod files;

use std::cell::RefCell;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::fill::fill;
use super::suggestion::did_you_mean;
use crate::error::Error;
use crate::host::env::Env;
use crate::rootfs::sharing::Sharing;
use crate::text;

/// What all sections of a file share.
pub(in crate::settings) struct Reader<'a> {
    pub(in crate::settings) env: &'a Env,
    pub(in crate::settings) path: &'a Path,
    /// Where each line begins.
    lines: Vec<usize>,
    problems: RefCell<Vec<(usize, Error)>>,
    /// For the files that the file names instead of values.
    sharing: Sharing<'static>,
    /// For `-v`.
    notes: RefCell<Vec<String>>,
}

/// A string of the file, filled in.
pub(in crate::settings) struct Value {
    pub(in crate::settings) text: Zeroizing<String>,
    /// As written in the file: what may be shown.
    pub(in crate::settings) shown: String,
    /// Its key with the tables around it.
    pub(in crate::settings) name: String,
    pub(in crate::settings) line: usize,
}

/// A table, and which of its keys were requested.
pub(in crate::settings) struct Section<'a> {
    reader: &'a Reader<'a>,
    name: String,
    table: &'a DeTable<'a>,
    line: usize,
    known: RefCell<Vec<String>>,
}

impl<'a> Reader<'a> {
    pub(in crate::settings) fn new(
        env: &'a Env,
        path: &'a Path,
        text: &'a str,
        sharing: Sharing<'static>,
    ) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Reader {
            env,
            path,
            lines: std::iter::once(0).chain(ends).collect(),
            problems: RefCell::default(),
            sharing,
            notes: RefCell::default(),
        }
    }

    fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|begin| *begin <= offset)
    }

    pub(in crate::settings) fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    pub(in crate::settings) fn problem(&self, line: usize, error: Error) {
        let error = if error.place().is_some() { error } else { error.at(self.place(line)) };
        self.problems.borrow_mut().push((line, error));
    }

    /// The parser's error; its own display quotes the line, which may contain a secret.
    pub(in crate::settings) fn syntax(&self, error: &toml::de::Error) {
        let line = self.line(error.span().map_or(0, |span| span.start));
        let what = Error::usage("invalid TOML")
            .because(anyhow::anyhow!("{}", text::escape(error.message())))
            .hint("strings and modes need quotes (`key_mode = \"0640\"`); a list needs square brackets: `names = [\"web.internal\"]`");
        self.problem(line, what);
    }

    /// Which part of the rule about shared places applied to the files that the file names.
    pub(in crate::settings) fn take_notes(&self) -> Vec<String> {
        self.notes.take()
    }

    /// All problems, in the order of the file.
    pub(in crate::settings) fn into_problems(self) -> Vec<Error> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|(line, _)| *line);
        problems.into_iter().map(|(_, error)| error).collect()
    }

    pub(in crate::settings) fn root(&'a self, table: &'a DeTable<'a>) -> Section<'a> {
        Section { reader: self, name: String::new(), table, line: 1, known: RefCell::default() }
    }
}

impl<'a> Section<'a> {
    /// `certificate.enroll.KEY`
    pub(in crate::settings) fn name_of(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// How many problems the file has so far.
    pub(in crate::settings) fn problem_count(&self) -> usize {
        self.reader.problems.borrow().len()
    }

    /// File and line.
    pub(in crate::settings) fn place_of(&self, line: usize) -> String {
        self.reader.place(line)
    }

    /// The location of the section.
    pub(in crate::settings) fn place(&self) -> String {
        self.reader.place(self.line)
    }

    pub(in crate::settings) fn problem(&self, line: usize, error: Error) {
        self.reader.problem(line, error);
    }

    fn know(&self, key: &str) {
        self.known.borrow_mut().push(key.to_owned());
    }

    fn entry(&self, key: &str) -> Option<(&'a Spanned<DeValue<'a>>, usize)> {
        let value = self.table.get(key)?;
        Some((value, self.reader.line(value.span().start)))
    }

    pub(in crate::settings) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Reports that `key` is wrong.
    fn wrong(&self, key: &str, line: usize, what: &str) {
        self.problem(line, Error::usage(format!("`{}` {what}", self.name_of(key))));
    }

    fn wrong_type(&self, key: &str, line: usize, value: &DeValue, wanted: &str) {
        let is = match value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.wrong(key, line, &format!("is {is}, expected {wanted}"));
    }

    /// A string that is filled in; its format is checked elsewhere.
    fn filled(&self, key: &str, line: usize, raw: &str) -> Option<Value> {
        let text = match fill(raw, self.reader.env, |_| ()) {
            Ok(text) => text,
            Err(why) => {
                let error = Error::usage(format!("`{}`: {why}", self.name_of(key)));
                self.problem(
                    line,
                    error.hint("set the variable for this process, or write the value itself"),
                );
                return None;
            }
        };
        self.checked(key, line, text, text::escape(raw))
    }

    fn checked(&self, key: &str, line: usize, text: Zeroizing<String>, shown: String) -> Option<Value> {
        if text.is_empty() {
            self.wrong(key, line, "is empty");
            return None;
        }
        if text.chars().any(char::is_control) {
            self.wrong(key, line, "has a control character in it");
            return None;
        }
        Some(Value { text, shown, name: self.name_of(key), line })
    }

    /// A string, or the text of the file that `KEY_file` names.
    pub(in crate::settings) fn string(&self, key: &str) -> Option<Value> {
        self.know(key);
        match self.entry(key) {
            None => {
                let (text, shown, line) = self.text_of_file(key)?;
                self.checked(key, line, text, shown)
            }
            Some((value, line)) => {
                // An error if both are given.
                self.file_of(key);
                match value.get_ref() {
                    DeValue::String(raw) => self.filled(key, line, raw),
                    other => {
                        self.wrong_type(key, line, other, "a string");
                        None
                    }
                }
            }
        }
    }

    /// A list of strings; one string is a list of one; a file has one on each line.
    pub(in crate::settings) fn list(&self, key: &str) -> Vec<Value> {
        self.know(key);
        let Some((value, line)) = self.entry(key) else {
            let Some((text, shown, line)) = self.text_of_file(key) else { return Vec::new() };
            let lines = text.lines().map(str::trim).filter(|text| !text.is_empty());
            let value = |text: &str| self.checked(key, line, Zeroizing::new(text.to_owned()), shown.clone());
            let values: Vec<Value> = lines.filter_map(value).collect();
            if values.is_empty() {
                self.wrong(key, line, "is empty");
            }
            return values;
        };
        self.file_of(key);
        self.strings(key, value, line)
    }

    fn strings(&self, key: &str, value: &'a Spanned<DeValue<'a>>, line: usize) -> Vec<Value> {
        match value.get_ref() {
            DeValue::String(raw) => self.filled(key, line, raw).into_iter().collect(),
            DeValue::Array(elements) if elements.is_empty() => {
                self.wrong(key, line, "is empty");
                Vec::new()
            }
            DeValue::Array(elements) => {
                let each = elements.iter().filter_map(|element| {
                    let line = self.reader.line(element.span().start);
                    match element.get_ref() {
                        DeValue::String(raw) => self.filled(key, line, raw),
                        other => {
                            self.wrong_type(key, line, other, "a string in a list of strings");
                            None
                        }
                    }
                });
                each.collect()
            }
            other => {
                self.wrong_type(key, line, other, "a list of strings");
                Vec::new()
            }
        }
    }

    /// `true` or `false`; from a variable or file the same words.
    pub(in crate::settings) fn switch(&self, key: &str) -> Option<bool> {
        if let Some((value, _)) = self.entry(key)
            && let DeValue::Boolean(on) = value.get_ref()
        {
            self.know(key);
            self.file_of(key);
            return Some(*on);
        }
        self.parsed(key, "`true` or `false`", |text| text.parse().ok())
    }

    /// A string that `parse` understands; `wanted` describes it.
    pub(in crate::settings) fn parsed<T>(
        &self,
        key: &str,
        wanted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.string(key)?;
        self.parse(&value, wanted, parse)
    }

    /// As [`Section::parsed`], for an existing value.
    pub(in crate::settings) fn parse<T>(
        &self,
        value: &Value,
        wanted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let parsed = parse(&value.text);
        if parsed.is_none() {
            let what = format!("`{}` should be {wanted}", value.name);
            self.problem(value.line, Error::usage(what));
        }
        parsed
    }

    /// A string; with `base` also a whole number of this base, as its digits; with `moments` also a moment, as RFC
    /// 3339.
    pub(in crate::settings) fn plain(
        &self,
        key: &str,
        wanted: &str,
        base: Option<u32>,
        moments: bool,
    ) -> Option<Value> {
        let (text, line) = match self.entry(key).map(|(value, line)| (value.get_ref(), line)) {
            Some((DeValue::Integer(number), line)) if base.is_some() => {
                if base != Some(number.radix()) {
                    self.know(key);
                    self.wrong(key, line, &format!("should be {wanted}"));
                    return None;
                }
                (number.as_str().to_owned(), line)
            }
            Some((DeValue::Datetime(moment), line)) if moments => (moment.to_string(), line),
            _ => return self.string(key),
        };
        self.know(key);
        self.file_of(key);
        Some(Value { shown: text.clone(), text: Zeroizing::new(text), name: self.name_of(key), line })
    }

    /// One of `words`, for an existing value.
    pub(in crate::settings) fn one_of(&self, value: &Value, words: &[&str]) -> Option<String> {
        if words.contains(&value.text.as_str()) {
            return Some(value.text.to_string());
        }
        let listed = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let error = Error::usage(format!("`{}` is `{}`, expected one of {listed}", value.name, value.shown));
        let meant = did_you_mean(&value.shown, words.iter().copied());
        self.problem(value.line, meant.into_iter().fold(error, Error::hint));
        None
    }

    /// An absolute path. There is no `KEY_file`: the value names a file already.
    pub(in crate::settings) fn path(&self, key: &str) -> Option<Value> {
        self.know(key);
        let (value, line) = self.entry(key)?;
        let DeValue::String(raw) = value.get_ref() else {
            self.wrong_type(key, line, value.get_ref(), "an absolute path");
            return None;
        };
        let value = self.filled(key, line, raw)?;
        self.absolute(&value)?;
        Some(value)
    }

    /// A list of absolute paths.
    pub(in crate::settings) fn paths(&self, key: &str) -> Vec<Value> {
        self.know(key);
        let Some((value, line)) = self.entry(key) else { return Vec::new() };
        let values = self.strings(key, value, line);
        values.into_iter().filter(|value| self.absolute(value).is_some()).collect()
    }

    /// The line of an existing key, else that of the section.
    pub(in crate::settings) fn line_of(&self, key: &str) -> usize {
        self.entry(key).map_or(self.line, |(_, line)| line)
    }

    /// A table below this one.
    pub(in crate::settings) fn section(&self, key: &str) -> Option<Section<'a>> {
        self.know(key);
        let (value, line) = self.entry(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(self.below(key, table, line)),
            other => {
                self.wrong_type(key, line, other, &format!("a table: `[{}]`", self.name_of(key)));
                None
            }
        }
    }

    /// The tables of a list; one table is a list of one.
    pub(in crate::settings) fn sections(&self, key: &str) -> Vec<Section<'a>> {
        self.know(key);
        let Some((value, line)) = self.entry(key) else { return Vec::new() };
        let wanted = format!("a table or several: `[[{}]]`", self.name_of(key));
        match value.get_ref() {
            DeValue::Table(table) => vec![self.below(key, table, line)],
            DeValue::Array(elements) => {
                if elements.is_empty() {
                    self.wrong(key, line, "is empty");
                }
                let each = elements.iter().filter_map(|element| {
                    let line = self.reader.line(element.span().start);
                    match element.get_ref() {
                        DeValue::Table(table) => Some(self.below(key, table, line)),
                        other => {
                            self.wrong_type(key, line, other, &wanted);
                            None
                        }
                    }
                });
                each.collect()
            }
            other => {
                self.wrong_type(key, line, other, &wanted);
                Vec::new()
            }
        }
    }

    fn below(&self, key: &str, table: &'a DeTable<'a>, line: usize) -> Section<'a> {
        Section { reader: self.reader, name: self.name_of(key), table, line, known: RefCell::default() }
    }

    /// Leaves a table to other code.
    pub(in crate::settings) fn pass_over(&self, key: &str) {
        self.know(key);
    }

    /// `key` is required.
    pub(in crate::settings) fn require(&self, key: &str) {
        if !self.has(key) && !self.has(&format!("{key}_file")) {
            self.problem(self.line, Error::usage(format!("`{}` is missing", self.name_of(key))));
        }
    }

    /// Every key that was not requested is an error; `why` explains some.
    pub(in crate::settings) fn finish(&self, why: impl Fn(&str) -> Option<String>) {
        let known = self.known.borrow();
        for (key, _) in self.table.iter() {
            let (name, line) = (key.get_ref(), self.reader.line(key.span().start));
            if known.iter().any(|known| known == name) {
                continue;
            }
            let error = Error::usage(format!("unknown key `{}`", text::escape(&self.name_of(name))));
            let hint = why(name).or_else(|| did_you_mean(name, known.iter().map(String::as_str)));
            self.problem(line, hint.into_iter().fold(error, Error::hint));
        }
    }
}
