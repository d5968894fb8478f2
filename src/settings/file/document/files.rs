//! Values that are paths or files: `KEY_file` instead of `KEY`, secrets, absolute paths.

use std::path::{Path, PathBuf};

use toml::de::DeValue;
use zeroize::Zeroizing;

use super::super::fill::{fill, remember_lines};
use super::super::place;
use super::{Section, Value};
use crate::error::Error;
use crate::rootfs::host;
use crate::settings::secret::SecretSource;
use crate::text::encoding;

/// A value in a file of its own.
const FILE_LIMIT: u64 = 64 * 1024;

impl Section<'_> {
    /// The file that `KEY_file` names, unless there is none. `KEY` beside it is an error.
    pub(super) fn file_of(&self, key: &str) -> Option<(PathBuf, usize)> {
        let file_key = format!("{key}_file");
        self.know(&file_key);
        let (value, line) = self.entry(&file_key)?;
        if self.has(key) {
            self.wrong(&file_key, line, &format!("and `{}` are both given: omit one", self.name_of(key)));
            return None;
        }
        let DeValue::String(raw) = value.get_ref() else {
            self.wrong_type(&file_key, line, value.get_ref(), "the absolute path of a file");
            return None;
        };
        let value = self.filled(&file_key, line, raw)?;
        Some((self.absolute(&value)?, line))
    }

    /// The text of the file that `KEY_file` names. It replaces a value of this file: the same users can write it.
    pub(super) fn text_of_file(&self, key: &str) -> Option<(Zeroizing<String>, String, usize)> {
        let (path, line) = self.file_of(key)?;
        let read = || {
            if host::stat(&path)?.is_some() {
                let note = place::refuse_others(&path, self.reader.sharing)?;
                self.reader.notes.borrow_mut().extend(note);
            }
            let bytes = Zeroizing::new(host::read_file(&path, FILE_LIMIT)?);
            if let Some(encoding) = encoding::foreign(&bytes) {
                return Err(Error::usage(format!("the file is text in {encoding}, not in UTF-8"))
                    .at(path.display())
                    .hint(format!("`iconv -f {} -t UTF-8 FILE >NEW` converts it", encoding.name())));
            }
            let unmarked = bytes.strip_prefix(encoding::UTF_8_MARK).unwrap_or(&bytes);
            match std::str::from_utf8(unmarked) {
                Ok(text) => Ok(Zeroizing::new(without_line_end(text).to_owned())),
                Err(_) => Err(Error::usage("the file is not UTF-8").at(path.display())),
            }
        };
        match read() {
            Ok(text) => Some((remember_lines(text, &path), format!("(from {})", path.display()), line)),
            Err(error) => {
                self.problem(line, error.hint(format!("`{}_file` names it", self.name_of(key))));
                None
            }
        }
    }

    /// The form of a path in this file: the directory in which trustup is run is irrelevant.
    pub(super) fn absolute(&self, value: &Value) -> Option<PathBuf> {
        let path = Path::new(value.text.as_str());
        let plain = |part: std::path::Component<'_>| part != std::path::Component::ParentDir;
        if path.is_absolute() && path.components().all(plain) && path.file_name().is_some() {
            return Some(path.to_owned());
        }
        let what = format!("`{}` should be an absolute path, without `..`", value.name);
        self.problem(value.line, Error::usage(what).hint("paths in this file are relative to nothing"));
        None
    }

    /// A secret, its location and its line: a file is not read, and an unset variable is no error before the secret is
    /// needed.
    pub(in crate::settings) fn secret(&self, key: &str) -> Option<(SecretSource, usize)> {
        self.know(key);
        let Some((value, line)) = self.entry(key) else {
            let (path, line) = self.file_of(key)?;
            return Some((SecretSource::File(path), line));
        };
        self.file_of(key);
        let DeValue::String(raw) = value.get_ref() else {
            self.wrong_type(key, line, value.get_ref(), "a string");
            return None;
        };
        let name = format!("{} ({})", self.name_of(key), self.reader.place(line));
        // Not only our own variables hold secrets: no program of the user's gets those that do.
        let env = self.reader.env;
        match fill(raw, env, |name| env.withhold(name)) {
            Ok(text) if text.is_empty() => {
                self.wrong(key, line, "is empty");
                None
            }
            Ok(text) => Some((SecretSource::Value(name, text), line)),
            Err(why) => Some((SecretSource::Missing(name, why), line)),
        }
    }
}

/// The text without a final line end.
fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}
