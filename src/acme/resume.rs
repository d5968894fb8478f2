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
use crate::pki::cert::Certificate;
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
    /// The requested lifetime in seconds, if that end was computed from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lifetime: Option<u64>,
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
            lifetime: terms.lifetime,
            profile: terms.profile.map(ToOwned::to_owned),
            unknown: UnknownFields::default(),
        }
    }

    /// Whether it is the order that would be placed now, but for the time since.
    fn is_for(&self, transport: &Transport, account: &AcmeAccount<'_>, terms: &Terms<'_>) -> bool {
        let is_same_end = match terms.lifetime {
            // Counted from the order.
            Some(_) => self.not_after.is_some(),
            None => self.not_after == terms.not_after,
        };
        self.directory == transport.url().as_str()
            && self.account == account.url()
            && self.names == sorted(terms.identifiers)
            && self.profile.as_deref() == terms.profile
            && self.lifetime == terms.lifetime
            && is_same_end
    }

    /// Whether most of the requested lifetime is left, if one was: an order that nobody worked on for long is not worth
    /// it. Not asked where the CA works on the certificate: it may take days, and another order would not be faster.
    fn leaves_time(&self, now: i64) -> bool {
        let Some((lifetime, end)) = self.lifetime.zip(self.not_after.as_deref()) else { return true };
        let end = end.parse::<jiff::Timestamp>().map_or(i64::MIN, jiff::Timestamp::as_second);
        now < end.saturating_sub_unsigned(lifetime - lifetime / 3)
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
    if !kept.is_for(transport, &account, terms) {
        return Ok(Resumed::Nothing(account));
    }
    let object = match read(transport, &account, &kept.order).await {
        Ok(object) => object,
        Err(error) if error.kind() == ErrorKind::Unreachable => return Err(error.into()),
        Err(_) => return Ok(Resumed::Nothing(account)),
    };
    let leaves_time = object.status == OrderStatus::Processing || kept.leaves_time(transport.now());
    let mut order = CurrentOrder::new(account, kept.order, object);
    if !leaves_time
        || order.is_lost()
        || !order.is_for(terms.identifiers)
        || order.check(transport, terms).is_err()
    {
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

    fn kept(lifetime: Option<u64>, not_after: Option<&str>) -> KeptOrder {
        let of = |text: &str| text.to_owned();
        KeptOrder {
            schema: 1,
            directory: of("https://ca.test/dir"),
            account: of("https://ca.test/account/1"),
            order: of("https://ca.test/order/1"),
            names: vec![of("a.test")],
            not_after: not_after.map(of),
            lifetime,
            profile: None,
            unknown: UnknownFields::default(),
        }
    }

    #[test]
    fn an_order_is_worth_it_while_most_of_the_lifetime_is_left() {
        const END: i64 = 1_893_456_000;
        let order = kept(Some(3600), Some("2030-01-01T00:00:00Z"));
        assert!(order.leaves_time(END - 3600) && order.leaves_time(END - 2401));
        assert!(
            !order.leaves_time(END - 2400) && !order.leaves_time(END + 1) && !order.leaves_time(i64::MAX)
        );
        // A moment stays the same, and a CA's own lifetime is counted from when it issues.
        assert!(
            kept(None, Some("2030-01-01T00:00:00Z")).leaves_time(END + 1)
                && kept(None, None).leaves_time(END)
        );
        assert!(
            !kept(Some(3600), Some("soon")).leaves_time(END)
                && !kept(Some(0), Some("2030-01-01T00:00:00Z")).leaves_time(END)
        );
    }
}
