//! Which one-time tokens were sent to a CA for a pair: with it, a CA's refusal of a token that was used before can be
//! explained. It has a file of its own beside the key, so that in-progress state can be discarded without it. It holds
//! no token, only hashes.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::pki::fingerprint::Fingerprint;
use crate::versioned::{Field, Format, UnknownFields, Unreadable};

/// The file's name in the directory beside the key.
pub(super) const FILE: &str = "history.json";
/// A token older than this many others has expired long ago.
const MAX_SPENT: usize = 100;

pub(super) const FORMAT: Format =
    Format { what: "history of one-time tokens", field: Field::Schema, newest: 1, unnamed: None };

/// Something that a CA may have taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// The method's name.
    pub(crate) method: String,
    /// SHA-256 of the one-time token, if one was spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<Fingerprint>,
    /// When it was sent, seconds since 1970.
    pub(crate) sent: i64,
    /// Whether it was sent for an order that is kept: the next run asks what became of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_order: bool,
    /// What only a newer trustup knows.
    #[serde(flatten)]
    unknown: UnknownFields,
}

impl Attempt {
    /// A request that is about to be sent, with the hash of its one-time token.
    pub(crate) fn new(method: &str, token: Option<Fingerprint>, sent: i64) -> Self {
        Attempt { method: method.to_owned(), token, sent, is_order: false, unknown: UnknownFields::default() }
    }

    /// The request for the certificate of an order that is kept.
    pub(crate) fn of_order(method: &str, sent: i64) -> Self {
        Attempt { is_order: true, ..Attempt::new(method, None, sent) }
    }

    /// The same without the token, which is in the history.
    pub(super) fn without_token(&self) -> Self {
        Attempt { token: None, ..self.clone() }
    }
}

/// The one-time tokens that were sent, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct History {
    schema: u64,
    spent: Vec<Attempt>,
    /// What only a newer trustup knows.
    #[serde(flatten)]
    unknown: UnknownFields,
}

impl Default for History {
    fn default() -> Self {
        History { schema: 1, spent: Vec::new(), unknown: UnknownFields::default() }
    }
}

impl History {
    /// Reads the file at `place`. A damaged one costs an explanation, not a certificate: it counts as empty, and the
    /// second value reports it.
    ///
    /// # Errors
    /// A newer trustup wrote it.
    pub(super) fn read(bytes: &[u8], place: &str) -> Result<(Self, Option<String>)> {
        match FORMAT.read(bytes, place) {
            Ok(history) => Ok((history, None)),
            Err(Unreadable::Newer(error)) => Err(error),
            Err(Unreadable::Damaged(cause)) => {
                let warning = format!(
                    "`{place}` is damaged, so trustup does not know which one-time tokens were used before: {cause}"
                );
                Ok((History::default(), Some(warning)))
            }
        }
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// None that is known.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::failed("could not write the history of one-time tokens").because(error))
    }

    /// Adds the attempts that sent a one-time token, and are not yet in it.
    pub(super) fn add<'a>(&mut self, attempts: impl IntoIterator<Item = &'a Attempt>) {
        for attempt in attempts {
            let is_known = |known: &Attempt| (known.token, known.sent) == (attempt.token, attempt.sent);
            if attempt.token.is_some() && !self.spent.iter().any(is_known) {
                self.spent.push(attempt.clone());
            }
        }
        self.spent.sort_by_key(|attempt| attempt.sent);
        self.spent.drain(..self.spent.len().saturating_sub(MAX_SPENT));
    }

    /// When this token was sent for the first time, which used it up.
    pub(super) fn first_sent(&self, token: &Fingerprint) -> Option<i64> {
        self.spent.iter().find(|attempt| attempt.token.as_ref() == Some(token)).map(|attempt| attempt.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_kept_once_and_in_order() {
        let token = |number: i64| Some(Fingerprint::of(&number.to_be_bytes()));
        let mut history = History::default();
        history.add(&[Attempt::new("token", token(2), 20), Attempt::new("acme", None, 5)]);
        history.add(&[Attempt::new("token", token(1), 10), Attempt::new("token", token(2), 20)]);
        history.add(&[Attempt::new("token", token(1), 30)]);
        let sent: Vec<i64> = history.spent.iter().map(|attempt| attempt.sent).collect();
        assert_eq!(sent, [10, 20, 30]);
        assert_eq!(history.first_sent(&token(1).unwrap()), Some(10));
        assert_eq!(history.first_sent(&token(3).unwrap()), None);
        let many: Vec<Attempt> = (100..300).map(|sent| Attempt::new("token", token(sent), sent)).collect();
        history.add(&many);
        assert_eq!((history.spent.len(), history.spent[0].sent), (MAX_SPENT, 200));
        assert_eq!(History::read(&history.to_bytes().unwrap(), "/x").unwrap(), (history, None));
    }
}
