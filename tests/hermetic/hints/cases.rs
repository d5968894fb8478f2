//! Cases of hints: what is wrong, and what follows the hint.

use crate::support::run::Trustup;

/// The failures of a list of cases, shown together.
#[derive(Default)]
pub(super) struct Cases(Vec<String>);

impl Cases {
    /// `wrong` says `hint`; each of `right` follows it and ends with exit code 0.
    pub(super) fn case(&mut self, hint: &str, wrong: Trustup, right: impl IntoIterator<Item = Trustup>) {
        self.ends_with(0, hint, wrong, right);
    }

    /// The same, where what follows needs a server that the test does not have: 6, unreachable, is beyond the fault.
    pub(super) fn ends_with(
        &mut self,
        code: i32,
        hint: &str,
        wrong: Trustup,
        right: impl IntoIterator<Item = Trustup>,
    ) {
        self.as_far_as("", code, hint, wrong, right);
    }

    /// The same, where a server of the test answers last with these words.
    pub(super) fn as_far_as(
        &mut self,
        words: &str,
        code: i32,
        hint: &str,
        wrong: Trustup,
        right: impl IntoIterator<Item = Trustup>,
    ) {
        let run = wrong.run();
        let is_said = run.stderr.lines().any(|line| line.contains("hint: ") && line.contains(hint));
        if run.code == Some(0) || !is_said {
            self.0.push(format!("no `{hint}`: {run}"));
        }
        for followed in right {
            let run = followed.run();
            if run.code != Some(code) || !run.stderr.contains(words) {
                self.0.push(format!("after `{hint}`: {run}"));
            }
        }
    }

    #[track_caller]
    pub(super) fn end(self) {
        assert!(self.0.is_empty(), "{} hints: {}", self.0.len(), self.0.join("\n-----\n"));
    }
}
