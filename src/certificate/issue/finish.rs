//! What follows a CA's answer, or its refusal: the certificate is saved, placed, read back and recorded; or what is needed
//! to resume is kept.

use super::enrolled::Enrolled;
use super::keys::Keys;
use super::methods::{self, Method};
use super::resolve::{ResolvedInputs, roots_for};
use super::{IssueAction, IssueContext, IssueOutcome, warnings};
use crate::certificate::check::{self, Roots, Vouched, Wanted};
use crate::certificate::decide::RenewalPolicy;
use crate::certificate::facts::{self, PairState};
use crate::certificate::pending::Pending;
use crate::certificate::{PairContent, place as pair};
use crate::error::{Error, Result};
use crate::net::url::masked;
use crate::pki::cert::{Certificate, readers};
use crate::pki::key::PrivateKey;
use crate::rootfs::checkpoint::Checkpoints;

/// A CA's answer that an interrupted run did not place, if it matches the current request.
pub(super) fn interrupted<'a>(
    settled: &ResolvedInputs<'a>,
    keys: &'a Keys<'_>,
    pending: &Pending,
    now: i64,
) -> Result<Option<Issued<'a>>> {
    let Some(chain) = pending.answer()?.and_then(|answer| readers::read_chain(&answer).ok()) else {
        return Ok(None);
    };
    for method in &settled.request.methods {
        let Ok(key) = keys.known(method.key_use()) else { continue };
        let Some(roots) = roots_for(settled, method.as_ref())? else { continue };
        let wanted = Wanted {
            allow_extra_names: settled.request.allow_extra_names,
            public_key: key.public_key(),
            names: &settled.names,
            roots: &roots,
        };
        if let Ok(vouched) = check::check(&chain, &wanted, now) {
            return Ok(Some(Issued { key, chain, vouched, roots, method: method.as_ref() }));
        }
    }
    Ok(None)
}

/// What is kept after a failure: the key, if a CA may have issued a certificate for it. `before`: how much had been
/// sent for it before this run.
pub(super) fn give_up(failure: methods::Failure, mut pending: Pending, before: usize) -> Error {
    if failure.unsettled {
        let kept = pending.path().to_owned();
        let is_order = pending.record().attempts.last().is_some_and(|last| last.is_order);
        if is_order && matches!(pending.order(), Ok(Some(_))) {
            return failure.error.hint(format!(
                "the order and its key are kept in `{kept}`, and the next run goes on with them"
            ));
        }
        return failure.error.hint(format!(
            "the request may have reached the CA, which may have issued a certificate that is lost; the key is kept in `{kept}`, and the next run uses it again"
        ));
    }
    // No server was asked this time: what an earlier run left open is still open.
    if before > 0 && pending.record().attempts.len() == before {
        return failure.error;
    }
    match pending.discard_key() {
        Ok(()) => failure.error,
        Err(_) if pending.keeps_key() => failure
            .error
            .hint("the key that was made for this is left beside `--key`; the next run uses it again"),
        Err(_) => failure.error,
    }
}

/// The pair is there: no state is in progress any more.
pub(super) fn put_away(world: &IssueContext<'_>, pending: Pending) {
    let path = pending.path().to_owned();
    if let Err(error) = pending.discard() {
        (world.warn)(&format!("could not remove in-progress state in `{path}`: {error}"));
    }
}

/// A chain that is good for a key.
pub(super) struct Issued<'a> {
    pub(super) key: &'a PrivateKey,
    pub(super) chain: Vec<Certificate>,
    pub(super) vouched: Vouched,
    pub(super) roots: Roots,
    pub(super) method: &'a dyn Method,
}

/// Saves, places, reads back and records.
pub(super) fn place(
    settled: &ResolvedInputs<'_>,
    world: &IssueContext<'_>,
    issued: Issued<'_>,
    mut pending: Pending,
    action: IssueAction,
    checkpoints: &mut Checkpoints,
) -> Result<IssueOutcome> {
    let request = settled.request;
    let now = world.network.env.now();
    let content = PairContent::new(issued.key, &issued.chain, &issued.roots);
    // First the origin of the answer: a run that resumes must know where its chain ends.
    let ca = issued.method.asks(&settled.ca).as_ref().map(masked);
    let kept = settled.kept.as_ref();
    let enrolled = Enrolled::new(issued.method.name(), ca, &issued.roots, kept).to_bytes()?;
    pending
        .save_enrolled(&enrolled)
        .and_then(|()| pending.save_answer(&content.cert))
        .map_err(|error| {
            error.hint("the CA has issued a certificate, which is lost: a one-time token is spent now, and a new one is needed")
        })?;
    checkpoints.pass("place", &request.outputs.key);
    let left = format!(
        "the certificate is saved in `{}`: the next run places it, without asking the CA again",
        pending.path()
    );
    let placed = pair::place(world.host, &request.outputs, &content, checkpoints)
        .map_err(|error| error.hint(&left))?;
    warnings::of_placed(world, &placed);
    let about = facts::PairRequirements {
        names: &settled.names,
        allow_extra_names: request.allow_extra_names,
        key_type: request.key_type,
        roots: &issued.roots,
    };
    let standing = facts::inspect_pair(world.host, &request.outputs, &about, now)
        .map_err(|error| error.with_changed(placed.changed.clone()))?;
    let elsewise = match standing {
        PairState::Good(good) if good.chain == issued.chain => None,
        PairState::Bad(why) | PairState::Expired(_, why) => Some(why),
        PairState::Nothing => Some("nothing is there".to_owned()),
        PairState::Good(_) => Some("another pair is there".to_owned()),
    };
    if let Some(why) = elsewise {
        return Err(Error::failed("the pair changed after it was written")
            .at(&request.outputs.cert)
            .because(anyhow::anyhow!("{why}"))
            .hint("another program writes there, or the directory is not safe: see the cause")
            .with_changed(placed.changed));
    }
    put_away(world, pending);
    if issued.vouched == Vouched::SelfConsistent {
        (world.warn)(
            "no root was given for the issued chain: it is only consistent in itself (`--issuer-root FILE` pins it)",
        );
    }
    warnings::of_life(world, request, &issued, now);
    let outcome = IssueOutcome::new(action, String::new());
    let outcome = IssueOutcome { method: Some(issued.method.name()), placed, ..outcome };
    let policy = RenewalPolicy { obtained: Some(now), ..request.policy.about(&issued.chain[0]) };
    Ok(outcome.with_chain(issued.chain, issued.vouched, &issued.roots, policy, now))
}
