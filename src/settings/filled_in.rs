//! Values that variables or files filled into trustup.toml, and messages without them (threat T23).

use std::borrow::Cow;
use std::cell::RefCell;

use zeroize::Zeroizing;

/// Shorter values are not secrets.
const SHORTEST: usize = 3;
/// Values of fewer bytes are replaced only in quoted parts of a message: in its words they may occur by chance.
const IN_WORDS: usize = 8;

thread_local! {
    /// The filled-in values, each with its form in the file.
    static FILLED: RefCell<Vec<(Zeroizing<String>, String)>> = const { RefCell::new(Vec::new()) };
}

/// From now on [`without_filled_in`] replaces `value` by `shown`.
pub(crate) fn remember(value: &str, shown: &str) {
    if value.len() < SHORTEST || value == shown {
        return;
    }
    FILLED.with_borrow_mut(|all| {
        if all.iter().any(|(known, _)| **known == *value) {
            return;
        }
        all.push((Zeroizing::new(value.to_owned()), shown.to_owned()));
        // The longest first: the whole value before the variable in it.
        all.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    });
}

/// A message in which every filled-in value is replaced by its form in the file, also in another case: whatever an
/// error is about, and wherever it comes from, it shows no such value (threat T23). All messages pass here (`ui`).
pub(crate) fn without_filled_in(message: &str) -> Cow<'_, str> {
    FILLED.with_borrow(|all| {
        if all.is_empty() {
            return Cow::Borrowed(message);
        }
        let mut result = String::with_capacity(message.len());
        let (mut at, mut is_quoted) = (0, false);
        while let Some(next) = message[at..].chars().next() {
            let found = all.iter().find(|(value, _)| {
                let here = message.as_bytes().get(at..at + value.len());
                (is_quoted || value.len() >= IN_WORDS)
                    && here.is_some_and(|here| here.eq_ignore_ascii_case(value.as_bytes()))
            });
            match found {
                Some((value, shown)) => {
                    result.push_str(shown);
                    at += value.len();
                }
                None => {
                    is_quoted ^= next == '`';
                    result.push(next);
                    at += next.len_utf8();
                }
            }
        }
        Cow::Owned(result)
    })
}
