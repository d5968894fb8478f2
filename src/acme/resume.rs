//! An order that an earlier run placed before it was killed, or out of time. It is used if it is the one that would be
//! placed now, so that no order is wasted and no issued certificate is lost. The stored data prove nothing: the server
//! is asked, and every rule for a new order holds.

use serde::{Deserialize, Serialize};

use super::account::AcmeAccount;
use super::chain;
use super::messages::{Identifier, OrderObject, OrderStatus};
use super::order::{self, CurrentOrder, PlacedOrder, Terms};
use super::problem::explain;
use super::transport::Transport;
use super::{Accept, AccountStore, AcmeSettings, Failed, Report};
use crate::error::{Error, ErrorKind, Result};
use crate::pki::cert::{Certificate, NotAfter};
use crate::versioned::UnknownFields;

/// The stored data of an order in progress, as JSON. No secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptOrder {
    schema: u64,
    /// The directory at which it was placed.
    directory: String,
    /// The URL of the account.
    account: String,
    /// Its own URL.
    order: String,
    /// The names, as they were ordered.
    names: Vec<String>,
    /// The requested end of life, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
    /// The requested profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    /// What only a newer trustup knows.
    #[serde(flatten)]
    unknown: UnknownFields,
}

impl KeptOrder {
    /// An order that was placed at `url` by `account` for `terms`.
    pub(super) fn new(
        transport: &Transport,
        account: &AcmeAccount<'_>,
        url: &str,
        terms: &Terms<'_>,
    ) -> Self {
        KeptOrder {
            schema: 1,
            directory: transport.url().to_string(),
            account: account.url().to_owned(),
            order: url.to_owned(),
            names: sorted(terms.identifiers),
            not_after: terms.not_after.clone(),
            profile: terms.profile.map(ToOwned::to_owned),
            unknown: UnknownFields::default(),
        }
    }

    /// Whether it is the order that would be placed now.
    fn is_for(
        &self,
        transport: &Transport,
        account: &AcmeAccount<'_>,
        terms: &Terms<'_>,
        wanted: Option<NotAfter>,
    ) -> bool {
        self.directory == transport.url().as_str()
            && self.account == account.url()
            && self.names == sorted(terms.identifiers)
            && self.profile.as_deref() == terms.profile
            && same_end(self.not_after.as_deref(), terms.not_after.as_deref(), wanted)
    }
}

/// Whether a stored order with the end of life `kept` has the same as a new order. A duration counts from the order,
/// and a little later it gives the same end for all.
fn same_end(kept: Option<&str>, now: Option<&str>, wanted: Option<NotAfter>) -> bool {
    const LEEWAY: u64 = 120;
    let (Some(kept), Some(now)) = (kept, now) else { return kept == now };
    let seconds = |text: &str| text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
    match (wanted, seconds(kept), seconds(now)) {
        (Some(NotAfter::Duration(_)), Some(kept), Some(now)) => kept.abs_diff(now) <= LEEWAY,
        _ => kept == now,
    }
}

fn sorted(identifiers: &[Identifier]) -> Vec<String> {
    let mut names: Vec<String> = identifiers.iter().map(ToString::to_string).collect();
    names.sort();
    names
}

/// The result for the stored order.
pub(super) enum Resumed<'a> {
    /// The certificate was issued, for the key that is used now.
    Issued(Vec<Certificate>),
    /// It continues from its current state.
    Open(Box<PlacedOrder<'a>>),
    /// There is none, or it is useless.
    Nothing(AcmeAccount<'a>),
}

/// Resumes the stored order.
///
/// # Errors
/// The server does not answer, or not in time.
pub(super) async fn resume<'a>(
    transport: &'a Transport,
    account: AcmeAccount<'a>,
    settings: &AcmeSettings,
    store: &mut dyn AccountStore,
    terms: &Terms<'_>,
    accept: &Accept<'_>,
    report: &Report<'_>,
) -> Result<Resumed<'a>, Failed> {
    let Some(kept) = store.order()? else { return Ok(Resumed::Nothing(account)) };
    if !kept.is_for(transport, &account, terms, settings.not_after) {
        return Ok(Resumed::Nothing(account));
    }
    let object = match read(transport, &account, &kept.order).await {
        Ok(object) => object,
        Err(error) if error.kind() == ErrorKind::Unreachable => return Err(error.into()),
        Err(_) => return Ok(Resumed::Nothing(account)),
    };
    let mut order = CurrentOrder::new(account, kept.order, object);
    if order.is_lost() || !order.is_for(terms.identifiers) || order.check(transport, terms).is_err() {
        return Ok(Resumed::Nothing(order.account));
    }
    report.say(&format!("resuming the order of an earlier run for {}", order::shown(terms.identifiers)));
    match order.status() {
        OrderStatus::Processing | OrderStatus::Valid => {
            match issued(transport, settings, &mut order, accept, report).await {
                Ok(chain) if accept(&chain).is_ok() && is_fresh(&chain, transport.now()) => {
                    return Ok(Resumed::Issued(chain));
                }
                // A certificate may have been issued for the request, for all that is known.
                Err(error) if error.kind() == ErrorKind::Unreachable => return Err(Failed::unsettled(error)),
                Ok(_) | Err(_) => {}
            }
        }
        _ => match order::answers(transport, settings, &order, terms.identifiers, report).await {
            Ok(answers) => return Ok(Resumed::Open(Box::new(PlacedOrder { order, answers }))),
            Err(error) if error.kind() == ErrorKind::Unreachable => return Err(error.into()),
            Err(_) => {}
        },
    }
    report.say("the order of the earlier run can no longer be used: placing a new one");
    Ok(Resumed::Nothing(order.account))
}

/// Whether a certificate that was issued earlier has most of its life left: the run may have been killed long ago, and
/// a certificate that is due for renewal is not what was requested.
fn is_fresh(chain: &[Certificate], now: i64) -> bool {
    chain.first().is_some_and(|leaf| {
        let life = leaf.not_after().saturating_sub(leaf.not_before());
        now.saturating_sub(leaf.not_before()) < life / 3
    })
}

async fn read(transport: &Transport, account: &AcmeAccount<'_>, url: &str) -> Result<OrderObject> {
    const WHAT: &str = "show the order of an earlier run";
    let answer = account.read(url).await.map_err(|error| explain(error, WHAT, transport))?;
    answer.json(WHAT, transport)
}

/// The chain of an order whose request was sent by an earlier run.
async fn issued(
    transport: &Transport,
    settings: &AcmeSettings,
    order: &mut CurrentOrder<'_>,
    accept: &Accept<'_>,
    report: &Report<'_>,
) -> Result<Vec<Certificate>> {
    order::wait_for(transport, order, "issue the certificate", &[OrderStatus::Valid]).await?;
    let sent = order::download(transport, order).await?;
    let preferred = settings.preferred_chain.as_deref();
    let chain = chain::choose(transport, &order.account, &sent, preferred, accept, report).await;
    chain.map_err(|what| transport.error(Error::failed(what)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_life_is_the_same_within_a_moment() {
        let (at, later) = (Some("2030-01-01T00:00:00Z"), Some("2030-01-01T00:02:00Z"));
        let too_late = Some("2030-01-01T00:02:01Z");
        let duration = Some(NotAfter::Duration(3600));
        assert!(same_end(None, None, None) && same_end(at, at, duration) && same_end(at, later, duration));
        assert!(
            !same_end(at, too_late, duration) && !same_end(None, at, duration) && !same_end(at, None, None)
        );
        let moment = Some(NotAfter::Moment(1_893_456_000));
        assert!(same_end(at, at, moment) && !same_end(at, later, moment));
        assert!(!same_end(Some("soon"), at, duration));
    }
}
