//! What an enrollment did: plain data, to report to people and to programs.

use crate::certificate::check::{Roots, Vouched};
use crate::certificate::decide::{self, RenewalPolicy, Verdict};
use crate::certificate::life::Life;
use crate::certificate::place::Placed;
use crate::error::Error;
use crate::pki::cert::Certificate;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum IssueAction {
    /// The pair is good and not due.
    Kept,
    /// The pair is good; only files, modes or owners were corrected.
    PlacedAgain,
    /// An earlier run was killed after the CA had answered; its answer was placed.
    TakenUp,
    /// A CA issued it now.
    Issued,
    /// Nothing: `--dry-run`.
    Planned,
    /// It is due, could not be renewed, and still works.
    KeptForNow,
}

/// The result.
#[derive(Debug)]
pub(crate) struct IssueOutcome {
    /// What was done.
    pub(crate) action: IssueAction,
    /// Why, in one line.
    pub(crate) reason: String,
    /// The method that issued the certificate.
    pub(crate) method: Option<&'static str>,
    /// The methods that were not used, each with the reason.
    pub(crate) skipped: Vec<(&'static str, String)>,
    /// Leaf first; empty where there is none yet.
    pub(crate) chain: Vec<Certificate>,
    /// How far it is vouched for.
    pub(crate) vouched: Option<Vouched>,
    /// The roots that it was checked against.
    pub(crate) roots: Option<Roots>,
    /// What changed.
    pub(crate) placed: Placed,
    /// How long it works.
    pub(crate) life: Option<Life>,
    /// When it is due, seconds since 1970.
    pub(crate) due: Option<i64>,
    /// Why a pair that is due was kept.
    pub(crate) problem: Option<Error>,
}

impl IssueOutcome {
    pub(super) fn new(action: IssueAction, reason: impl Into<String>) -> Self {
        IssueOutcome {
            action,
            reason: reason.into(),
            method: None,
            skipped: Vec::new(),
            chain: Vec::new(),
            vouched: None,
            roots: None,
            placed: Placed::default(),
            life: None,
            due: None,
            problem: None,
        }
    }

    pub(super) fn with_chain(
        self,
        chain: Vec<Certificate>,
        vouched: Vouched,
        roots: &Roots,
        policy: RenewalPolicy,
        now: i64,
    ) -> Self {
        let life = Life::of(&chain, &roots.certificates);
        let policy = chain.first().map_or(policy, |leaf| policy.about(leaf));
        let due = life.as_ref().map(|life| match decide::decide(life, now, policy) {
            Verdict::Keep(at) | Verdict::Due(at) | Verdict::Expired(at) | Verdict::NotYetValid(at) => at,
        });
        IssueOutcome { chain, vouched: Some(vouched), roots: Some(roots.clone()), life, due, ..self }
    }

    /// Whether anything is different now.
    pub(crate) fn is_changed(&self) -> bool {
        !self.placed.changed.is_empty()
    }
}
