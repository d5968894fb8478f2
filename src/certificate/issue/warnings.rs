//! What to warn of about a pair that is in place.

use super::finish::Issued;
use super::{IssueContext, IssueRequest, may_stay};
use crate::certificate::decide;
use crate::certificate::life::Life;
use crate::certificate::place::Placed;
use crate::pki::cert::NotAfter;
use crate::text;

/// Warns of links that went with a former pair, and of files that were not replaced as a whole.
pub(super) fn of_placed(world: &IssueContext<'_>, placed: &Placed) {
    placed.warnings.iter().for_each(|warning| (world.warn)(warning));
    for path in &placed.dropped {
        (world.warn)(&format!(
            "`{path}` was a link into the former version of the pair, and was removed with it: it is no longer requested (`--chain`, `--ca-out`)"
        ));
    }
    for path in &placed.in_place {
        (world.warn)(&format!(
            "`{path}` is mounted by itself, so it was written in place: a program that reads it at that moment sees half of it; mount its directory instead"
        ));
    }
}

/// Warns if the lifetime is not the requested one, or if too much of it is already over.
pub(super) fn of_life(world: &IssueContext<'_>, request: &IssueRequest, issued: &Issued<'_>, now: i64) {
    let leaf = &issued.chain[0];
    let life = Life::of(&issued.chain, &issued.roots.certificates);
    let end = text::moment(leaf.not_after());
    // For the time between the order and the certificate, and for how far CAs backdate a certificate.
    const LEEWAY: i64 = 120;
    let away = |asked: i64, got: i64, leeway: i64| asked.abs_diff(got) > leeway.unsigned_abs();
    match request.not_after {
        Some(NotAfter::Duration(asked)) => {
            let life = leaf.not_after().saturating_sub(leaf.not_before());
            let asked = i64::try_from(asked).unwrap_or(i64::MAX);
            if away(asked, life, LEEWAY + asked / 50) {
                (world.warn)(&format!(
                    "the CA issued the certificate for {life} s, and {asked} s were requested: it ends at {end}"
                ));
            }
        }
        Some(NotAfter::Moment(asked)) if away(asked, leaf.not_after(), LEEWAY) => (world.warn)(&format!(
            "the CA issued the certificate with another end than requested: {end} instead of {}",
            text::moment(asked)
        )),
        _ => {}
    }
    let Some(life) = life else { return };
    let policy = request.policy.about(leaf);
    if let Some(warning) = policy.warning(&life) {
        (world.warn)(&warning);
    }
    if !may_stay(decide::decide(&life, now, policy)) {
        (world.warn)(&format!(
            "the certificate is new, and most of its lifetime is over by the clock here: it ends at {end}; check the clock, and the lifetime that the CA issues"
        ));
    }
}
