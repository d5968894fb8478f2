//! An order from its placing to the chain (RFC 8555 sections 7.4 and 7.5), and what has to be answered for it.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationState, AuthorizationStatus, Challenge, ChallengeType as Offered, Identifier,
    NewOrder, Order, OrderStatus,
};

use super::choice::{self, Choice};
use super::identifier::Token;
use super::pause::Pause;
use super::problem::{explain, persist, said};
use super::transport::Transport;
use super::{AccountStore, ChallengeType, DnsSolver, Failed, Report, Settings, account};
use crate::cert::SubjectAltName;
use crate::error::{Error, Result};
use crate::text;

/// What a challenge is answered with.
#[derive(Debug)]
pub(super) struct Answer {
    /// Which of the order's authorizations it is for.
    pub(super) index: usize,
    /// The name without `*.`: where the CA looks.
    pub(super) name: SubjectAltName,
    /// For messages.
    pub(super) shown: String,
    pub(super) kind: ChallengeType,
    pub(super) token: Token,
    /// Token and the account key's thumbprint (section 8.1).
    pub(super) key_authorization: String,
    /// SHA-256 of the key authorization.
    pub(super) digest: Vec<u8>,
    /// The same in base64url: the value of the TXT record.
    pub(super) dns_value: String,
}

/// An order with what is still to be shown for it.
pub(super) struct Placed {
    pub(super) order: Order,
    pub(super) answers: Vec<Answer>,
}

/// How many orders are placed before values that a hook could take for options are given up on, and as many as there are
/// names. One in 64 is such a value by chance, so that of a hundred new ones all are good one time in five.
const ORDERS: usize = 10;

/// Places the order; a forgotten account is made anew.
pub(super) async fn place(
    transport: &Transport,
    settings: &Settings,
    store: &mut dyn AccountStore,
    identifiers: &[Identifier],
    report: &Report<'_>,
) -> Result<Placed> {
    let mut account = account::open(transport, settings, store, report).await?;
    let mut renewed = false;
    for _ in 0..ORDERS + identifiers.len() {
        let mut order = match new_order(&account, settings, identifiers).await {
            Err(error) if !renewed && account::is_forgotten(&account, &error, transport) => {
                account = account::renew(transport, settings, store, &error, report).await?;
                renewed = true;
                let placed = new_order(&account, settings, identifiers).await;
                placed.map_err(|error| explain(error, "take the order", transport))?
            }
            placed => placed.map_err(|error| explain(error, "take the order", transport))?,
        };
        check_order(transport, &mut order, identifiers.len())?;
        report.say(&format!("order placed for {}", shown(identifiers)));
        let answers = answers(transport, settings, &mut order, identifiers, report).await?;
        let is_hook = matches!(settings.dns, Some(DnsSolver::Hook(_)));
        let odd = |answer: &&Answer| {
            is_hook && answer.kind == ChallengeType::Dns01 && answer.dns_value.starts_with('-')
        };
        let odd: Vec<usize> = answers.iter().filter(odd).map(|answer| answer.index).collect();
        if odd.is_empty() {
            return Ok(Placed { order, answers });
        }
        report.say("the CA's token makes a value that begins with `-`; asking for another");
        give_back(&mut order, &odd).await;
    }
    Err(transport.error(Error::failed(
        "the CA sends nothing but tokens whose TXT value begins with `-`, which a hook could take for an option",
    )))
}

async fn new_order(
    account: &Account,
    settings: &Settings,
    identifiers: &[Identifier],
) -> Result<Order, instant_acme::Error> {
    let new = NewOrder::new(identifiers);
    let new = match &settings.profile {
        Some(profile) => new.profile(profile),
        None => new,
    };
    persist(async || account.new_order(&new).await).await
}

/// So that the next order does not get the same token again. Servers that cannot do this make new ones anyway.
async fn give_back(order: &mut Order, indices: &[usize]) {
    let mut all = order.authorizations();
    let mut index = 0;
    while let Some(Ok(mut authorization)) = all.next().await {
        if indices.contains(&index) {
            drop(persist(async || authorization.deactivate().await.map(drop)).await);
        }
        index += 1;
    }
}

/// Every URL of an order is known before anything is done for it (threat T20).
fn check_order(transport: &Transport, order: &mut Order, names: usize) -> Result<()> {
    transport.check(order.url())?;
    let state = order.state();
    transport.check(&state.finalize)?;
    if state.authorizations.len() > names {
        let what = format!("the CA wants {} names to be shown for {names}", state.authorizations.len());
        return Err(transport.error(Error::failed(what)));
    }
    for authorization in &state.authorizations {
        transport.check(&authorization.url)?;
    }
    Ok(())
}

/// What has to be answered: nothing for a name that the CA still holds for valid.
async fn answers(
    transport: &Transport,
    settings: &Settings,
    order: &mut Order,
    identifiers: &[Identifier],
    report: &Report<'_>,
) -> Result<Vec<Answer>> {
    // Fetched once here; afterwards the library has them.
    let fetched = persist(async || {
        let mut all = order.authorizations();
        while let Some(authorization) = all.next().await {
            authorization?;
        }
        Ok(())
    });
    fetched.await.map_err(|error| explain(error, "show the authorizations", transport))?;
    let mut answers = Vec::new();
    let mut all = order.authorizations();
    let mut index = 0;
    while let Some(authorization) = all.next().await {
        let mut authorization =
            authorization.map_err(|error| explain(error, "show the authorizations", transport))?;
        let (name, shown) = name_of(transport, &authorization, identifiers)?;
        match authorization.status {
            AuthorizationStatus::Valid => report.say(&format!("{shown} is validated already")),
            AuthorizationStatus::Pending => {
                let Choice { kind, reason } = chosen(settings, &name, &authorization)?;
                report.say(&format!("{shown}: {kind} ({reason})"));
                let Some(challenge) = authorization.challenge(offered(kind)) else {
                    return Err(transport.error(Error::failed("the CA took its challenge back")));
                };
                let (token, authorized) =
                    (check_challenge(transport, &challenge)?, challenge.key_authorization());
                answers.push(Answer {
                    index,
                    name,
                    shown,
                    kind,
                    token,
                    key_authorization: authorized.as_str().to_owned(),
                    digest: authorized.digest().as_ref().to_vec(),
                    dns_value: authorized.dns_value(),
                });
            }
            status => {
                let word = text::words(&status);
                return Err(transport.error(Error::not_trusted(format!(
                    "the CA's new order has an authorization for {shown} that is {word} already"
                ))));
            }
        }
        index += 1;
    }
    Ok(answers)
}

/// The name of an authorization, without `*.`, and as it is shown. Only what was ordered is answered for: names go to a
/// hook and into DNS messages.
fn name_of(
    transport: &Transport,
    authorization: &AuthorizationState,
    ordered: &[Identifier],
) -> Result<(SubjectAltName, String)> {
    let identifier = authorization.identifier();
    let shown = format!("`{}`", text::escape(&identifier.to_string()));
    let is_ordered = |name: &str| {
        let star = format!("*.{name}");
        ordered.iter().any(|other| matches!(other, Identifier::Dns(other) if other == name || *other == star))
    };
    match identifier.identifier {
        Identifier::Ip(address) if ordered.contains(identifier.identifier) => {
            Ok((SubjectAltName::Ip(*address), shown))
        }
        Identifier::Dns(name) if !name.starts_with("*.") && is_ordered(&name.to_ascii_lowercase()) => {
            Ok((SubjectAltName::Dns(name.to_ascii_lowercase()), shown))
        }
        _ => Err(transport.error(Error::failed(format!(
            "the CA wants {shown} to be shown, which is no name of the order"
        )))),
    }
}

fn chosen(settings: &Settings, name: &SubjectAltName, authorization: &AuthorizationState) -> Result<Choice> {
    let known = |challenge: &Challenge| {
        ChallengeType::ALL.into_iter().find(|kind| offered(*kind) == challenge.r#type)
    };
    let kinds: Vec<ChallengeType> = authorization.challenges.iter().filter_map(known).collect();
    // The authorization of a wildcard is for the name below the star.
    let whole = match name {
        SubjectAltName::Dns(name) if authorization.wildcard => SubjectAltName::Dns(format!("*.{name}")),
        name => name.clone(),
    };
    choice::choose(settings, &whole, &kinds)
}

/// Before file, hook or listener see anything of it (threat T20).
fn check_challenge(transport: &Transport, challenge: &Challenge) -> Result<Token> {
    transport.check(&challenge.url)?;
    Token::new(&challenge.token).ok_or_else(|| {
        transport.error(
            Error::not_trusted(
                "the ACME server sends a challenge whose token is not 1 to 128 characters of base64url",
            )
            .because(anyhow::anyhow!("it is `{}`", text::escape(&challenge.token))),
        )
    })
}

/// The library's word for it.
pub(super) fn offered(kind: ChallengeType) -> Offered {
    match kind {
        ChallengeType::Http01 => Offered::Http01,
        ChallengeType::TlsAlpn01 => Offered::TlsAlpn01,
        ChallengeType::Dns01 => Offered::Dns01,
    }
}

fn shown(identifiers: &[Identifier]) -> String {
    let names: Vec<String> = identifiers.iter().map(|name| name.authorized(false).to_string()).collect();
    text::escape(&names.join(", "))
}

/// Sends the request and waits for the chain, as PEM. Only a refusal says that there is no certificate: what breaks, fails
/// or takes too long once the request is sent leaves that open.
pub(super) async fn finalize(
    transport: &Transport,
    order: &mut Order,
    csr_der: &[u8],
) -> Result<String, Failed> {
    const WHAT: &str = "issue the certificate";
    transport.forget();
    let sent = persist(async || order.finalize_csr(csr_der).await).await;
    sent.map_err(|error| {
        let unsettled = !is_refusal(&error, transport) && transport.has_sent();
        Failed { unsettled, ..explain(error, WHAT, transport).into() }
    })?;
    settle(transport, order, WHAT, &[OrderStatus::Valid]).await.map_err(|error| {
        let unsettled = !is_lost(order);
        Failed { unsettled, ..error.into() }
    })?;
    let chain = persist(async || order.certificate().await).await;
    chain
        .map_err(|error| explain(error, "send the certificate", transport))
        .and_then(|chain| chain.ok_or_else(|| transport.error(Error::failed("the CA sent no certificate"))))
        .map_err(Failed::unsettled)
}

/// Whether the CA said no, and not only that it failed.
fn is_refusal(error: &instant_acme::Error, transport: &Transport) -> bool {
    matches!(error, instant_acme::Error::Api(_)) && (400..500).contains(&transport.last().status)
}

/// Whether there will be no certificate for the order.
fn is_lost(order: &mut Order) -> bool {
    let state = order.state();
    state.status == OrderStatus::Invalid || state.error.is_some()
}

/// Asks until the order is in one of the states; `what` is what the CA does meanwhile.
pub(super) async fn settle(
    transport: &Transport,
    order: &mut Order,
    what: &str,
    wanted: &[OrderStatus],
) -> Result<()> {
    let mut pause = Pause::new(Duration::from_millis(250), Duration::from_secs(5));
    loop {
        let state = order.state();
        if wanted.contains(&state.status) {
            return Ok(());
        }
        if is_lost(order) {
            let state = order.state();
            let error = Error::not_trusted(format!("the CA refused to {what}"));
            let reason = state.error.as_ref().map_or_else(|| "it gives no reason".to_owned(), said);
            return Err(transport.error(error.because(anyhow::anyhow!("{reason}"))));
        }
        if !transport.wait_to_ask(&mut pause).await {
            return Err(transport.out_of_time(what));
        }
        let refreshed = persist(async || order.refresh().await.map(drop)).await;
        refreshed.map_err(|error| explain(error, "show the order", transport))?;
    }
}
