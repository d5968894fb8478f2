//! An order from its creation to the chain (RFC 8555 sections 7.4 and 7.5), and the challenges to answer for it.

use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::account::AcmeAccount;
use super::choice::{self, Choice};
use super::identifier::ChallengeToken;
use super::messages::{
    Authorization, AuthorizationStatus, Challenge, ChallengeStatus, Identifier, NewOrder, OrderObject,
    OrderStatus, SentIdentifier,
};
use super::problem::{explain, may_be_about_replaced, may_be_about_validity, nonsense, said};
use super::renewal_info;
use super::resume::KeptOrder;
use super::transport::{CallError, Success, Transport};
use super::{AccountStore, AcmeSettings, ChallengeType, Failed, Report, account};
use crate::error::{Error, Result};
use crate::net::retry::Backoff;
use crate::net::url::shorter;
use crate::pki::cert::{NotAfter, SubjectAltName};
use crate::pki::jose::{encode, jwk};
use crate::text;

/// The answer to a challenge.
#[derive(Debug)]
pub(super) struct Answer {
    /// The URL of the authorization.
    pub(super) authorization: String,
    /// The URL of the challenge.
    pub(super) challenge: String,
    /// Whether the CA checks already, because an earlier run told it to.
    pub(super) is_told: bool,
    /// The name without `*.`: where the CA checks.
    pub(super) name: SubjectAltName,
    /// For messages.
    pub(super) shown: String,
    pub(super) kind: ChallengeType,
    pub(super) token: ChallengeToken,
    /// Token and the account key's thumbprint (section 8.1).
    pub(super) key_authorization: String,
    /// SHA-256 of the key authorization.
    pub(super) digest: Vec<u8>,
    /// The same in base64url: the value of the TXT record.
    pub(super) dns_value: String,
}

/// An order with the answers that are still to be published.
pub(super) struct PlacedOrder<'a> {
    pub(super) order: CurrentOrder<'a>,
    pub(super) answers: Vec<Answer>,
}

/// An order of an account, as the server described it last.
pub(super) struct CurrentOrder<'a> {
    pub(super) account: AcmeAccount<'a>,
    url: String,
    object: OrderObject,
}

impl<'a> CurrentOrder<'a> {
    pub(super) fn new(account: AcmeAccount<'a>, url: String, object: OrderObject) -> Self {
        CurrentOrder { account, url, object }
    }

    /// Every URL of an order is checked before anything is done for it (threat T20).
    pub(super) fn check(&self, transport: &Transport, terms: &Terms<'_>) -> Result<()> {
        transport.check(&self.url)?;
        transport.check(&self.object.finalize)?;
        let (authorizations, names) = (&self.object.authorizations, terms.identifiers.len());
        if authorizations.len() > names {
            let what = format!("the CA asks for proof of {} names for {names}", authorizations.len());
            return Err(transport.error(Error::failed(what)));
        }
        authorizations.iter().try_for_each(|url| transport.check(url).map(drop))
    }

    /// Whether it is for exactly these names.
    pub(super) fn is_for(&self, identifiers: &[Identifier]) -> bool {
        let own: Option<Vec<Identifier>> =
            self.object.identifiers.iter().map(SentIdentifier::parsed).collect();
        own.is_some_and(|own| {
            own.len() == identifiers.len() && identifiers.iter().all(|name| own.contains(name))
        })
    }

    /// Whether there will be no certificate for it.
    pub(super) fn is_lost(&self) -> bool {
        self.object.status == OrderStatus::Invalid || self.object.error.is_some()
    }

    pub(super) fn status(&self) -> OrderStatus {
        self.object.status
    }

    /// Its URL, for messages.
    fn shown(&self) -> String {
        shorter(&text::mask_url(&self.url))
    }

    /// Requests its status.
    pub(super) async fn refresh(&mut self, transport: &Transport) -> Result<()> {
        const WHAT: &str = "show the order";
        let answer = self.account.read(&self.url).await.map_err(|error| explain(error, WHAT, transport))?;
        self.object = answer.json(WHAT, transport)?;
        Ok(())
    }
}

/// The terms of the order.
pub(super) struct Terms<'a> {
    pub(super) identifiers: &'a [Identifier],
    /// RFC 3339.
    pub(super) not_after: Option<String>,
    /// The seconds from which that end was computed, if it was.
    pub(super) lifetime: Option<u64>,
    pub(super) profile: Option<&'a str>,
}

impl<'a> Terms<'a> {
    /// # Errors
    /// The end of life exceeds all calendars.
    pub(super) fn new(identifiers: &'a [Identifier], settings: &'a AcmeSettings, now: i64) -> Result<Self> {
        let not_after = settings.not_after.map(|end| rfc3339(end.end_after(now))).transpose()?;
        let lifetime = match settings.not_after {
            Some(NotAfter::Duration(seconds)) => Some(seconds),
            Some(NotAfter::Moment(_)) | None => None,
        };
        Ok(Terms { identifiers, not_after, lifetime, profile: settings.profile.as_deref() })
    }
}

/// Places the order, and stores its URL; a forgotten account is replaced.
pub(super) async fn place<'a>(
    transport: &'a Transport,
    mut account: AcmeAccount<'a>,
    settings: &AcmeSettings,
    store: &mut dyn AccountStore,
    terms: &Terms<'_>,
    report: &Report<'_>,
) -> Result<PlacedOrder<'a>> {
    const WHAT: &str = "take the order";
    let Terms { identifiers, not_after, profile, .. } = terms;
    let replaces = replaces(transport, settings);
    let plain = NewOrder { identifiers, not_after: not_after.as_deref(), profile: *profile, replaces: None };
    let new = NewOrder { replaces: replaces.as_deref(), ..plain };
    let url = &transport.directory().new_order;
    let mut placed = account.post(url, &new).await;
    if let Err(error) = &placed
        && account::is_forgotten(&account, error)
    {
        account = account::renew(transport, settings, store, error, report).await?;
        // The new account did not request the former certificate.
        placed = account.post(url, &plain).await;
    } else if let Err(CallError::Problem(problem)) = &placed
        && new.replaces.is_some()
        && may_be_about_replaced(problem)
    {
        report.say(&format!("the order is placed without naming the former certificate: {}", said(problem)));
        placed = account.post(url, &plain).await;
    }
    let placed = placed.map_err(|error| refused(error, WHAT, transport, settings))?;
    let url = order_url(&placed, WHAT, transport)?;
    let order = CurrentOrder::new(account, url, placed.json(WHAT, transport)?);
    order.check(transport, terms)?;
    report.say(&format!("order placed for {}", shown(identifiers)));
    store.save_order(Some(&KeptOrder::new(transport, &order.account, &order.url, terms)))?;
    let answers = answers(transport, settings, &order, identifiers, report).await?;
    Ok(PlacedOrder { order, answers })
}

/// The identifier of the certificate that the order replaces, for a server that says when to renew: another may not know
/// the field.
fn replaces(transport: &Transport, settings: &AcmeSettings) -> Option<String> {
    transport.directory().renewal_info.as_ref()?;
    settings.replaces.as_ref().and_then(renewal_info::certificate_id)
}

/// A moment, seconds since 1970, in ACME's format (RFC 8555 section 7.4).
fn rfc3339(seconds: i64) -> Result<String> {
    let moment = jiff::Timestamp::from_second(seconds);
    // The option takes no such moment, so that only a machine whose clock is thousands of years ahead gets here.
    moment
        .map(|moment| moment.to_string())
        .map_err(|_| Error::usage("the end of the certificate's life is too far away"))
}

/// Why the CA did not do `what` for the order, with a hint in case it refuses the end of life.
fn refused(error: CallError, what: &str, transport: &Transport, settings: &AcmeSettings) -> Error {
    let hint = matches!(&error, CallError::Problem(problem) if may_be_about_validity(problem));
    let error = explain(error, what, transport);
    if hint && settings.not_after.is_some() { error.hint(VALIDITY) } else { error }
}

/// The hint if the time is over before the order is ready.
pub(super) const KEPT: &str = "the order is kept, and the next run goes on with it";

/// The hint if a CA may have refused the requested end of life.
const VALIDITY: &str = "the CA may not issue with the wanted end of life: omit `--not-after`, or ask for a shorter life (step-ca: the provisioner's `maxTLSCertDuration`)";

fn order_url(placed: &Success, what: &str, transport: &Transport) -> Result<String> {
    placed
        .location
        .clone()
        .ok_or_else(|| nonsense("it does not give the order's URL (`Location`)", what, transport))
}

/// The challenges to answer: none for a name that the CA still considers valid.
pub(super) async fn answers(
    transport: &Transport,
    settings: &AcmeSettings,
    order: &CurrentOrder<'_>,
    identifiers: &[Identifier],
    report: &Report<'_>,
) -> Result<Vec<Answer>> {
    let mut answers = Vec::new();
    for url in &order.object.authorizations {
        let authorization = authorization(transport, &order.account, url, "show the authorizations").await?;
        let (name, shown) = name_of(transport, &authorization, identifiers)?;
        match authorization.status {
            AuthorizationStatus::Valid => report.say(&format!("{shown} is already validated")),
            AuthorizationStatus::Pending => {
                let Choice { kind, reason } = chosen(settings, &name, &authorization)?;
                report.say(&format!("{shown}: {kind} ({reason})"));
                let Some(challenge) = challenge(&authorization, kind) else {
                    return Err(transport.error(Error::failed("the CA withdrew its challenge")));
                };
                let token = check_challenge(transport, challenge)?;
                if challenge.status == ChallengeStatus::Invalid {
                    return Err(transport.error(Error::not_trusted(format!(
                        "the CA's order has a challenge for {shown} that has already failed"
                    ))));
                }
                let key_authorization = format!("{token}.{}", jwk::thumbprint(order.account.key().public()));
                let digest = Sha256::digest(&key_authorization).to_vec();
                answers.push(Answer {
                    authorization: url.clone(),
                    challenge: challenge.url.clone(),
                    is_told: challenge.status != ChallengeStatus::Pending,
                    name,
                    shown,
                    kind,
                    token,
                    key_authorization,
                    dns_value: encode(&digest),
                    digest,
                });
            }
            status => {
                return Err(transport.error(Error::not_trusted(format!(
                    "the CA's order has an authorization for {shown} that is already {}",
                    status.word()
                ))));
            }
        }
    }
    Ok(answers)
}

/// Reads an authorization; `what` the server is asked to do.
pub(super) async fn authorization(
    transport: &Transport,
    account: &AcmeAccount<'_>,
    url: &str,
    what: &str,
) -> Result<Authorization> {
    let answer = account.read(url).await.map_err(|error| explain(error, what, transport))?;
    answer.json(what, transport)
}

/// The challenge of this kind.
pub(super) fn challenge(authorization: &Authorization, kind: ChallengeType) -> Option<&Challenge> {
    let word = kind.to_string();
    authorization.challenges.iter().find(|challenge| challenge.kind == word)
}

/// The name of an authorization, without `*.`, and as it is shown. Only names that were ordered are answered: they are
/// passed to a hook and into DNS messages.
fn name_of(
    transport: &Transport,
    authorization: &Authorization,
    ordered: &[Identifier],
) -> Result<(SubjectAltName, String)> {
    let sent = &authorization.identifier;
    let shown = if authorization.wildcard { format!("*.{}", sent.value) } else { sent.value.clone() };
    let shown = format!("`{}`", text::escape(&shown));
    let is_ordered = |name: &str| {
        let star = format!("*.{name}");
        ordered.iter().any(|other| matches!(other, Identifier::Dns(other) if other == name || *other == star))
    };
    match sent.parsed() {
        Some(Identifier::Ip(address)) if ordered.contains(&Identifier::Ip(address)) => {
            Ok((SubjectAltName::Ip(address), shown))
        }
        Some(Identifier::Dns(name)) if !name.starts_with("*.") && is_ordered(&name) => {
            Ok((SubjectAltName::Dns(name), shown))
        }
        _ => Err(transport.error(Error::failed(format!(
            "the CA asks for proof of {shown}, which is not a name of the order"
        )))),
    }
}

fn chosen(settings: &AcmeSettings, name: &SubjectAltName, authorization: &Authorization) -> Result<Choice> {
    let offered = |kind: &ChallengeType| challenge(authorization, *kind).is_some();
    let kinds: Vec<ChallengeType> = ChallengeType::ALL.into_iter().filter(offered).collect();
    // The authorization of a wildcard is for the name below the star.
    let whole = match name {
        SubjectAltName::Dns(name) if authorization.wildcard => SubjectAltName::Dns(format!("*.{name}")),
        name => name.clone(),
    };
    choice::choose(&settings.setup(), &whole, &kinds)
}

/// Before file, hook or listener see anything of it (threat T20).
fn check_challenge(transport: &Transport, challenge: &Challenge) -> Result<ChallengeToken> {
    transport.check(&challenge.url)?;
    ChallengeToken::new(&challenge.token).ok_or_else(|| {
        transport.error(
            Error::not_trusted(
                "the ACME server sends a challenge whose token is not 1 to 128 characters of base64url",
            )
            .because(anyhow::anyhow!("it is `{}`", text::escape(&challenge.token))),
        )
    })
}

pub(super) fn shown(identifiers: &[Identifier]) -> String {
    let names: Vec<String> = identifiers.iter().map(ToString::to_string).collect();
    text::escape(&names.join(", "))
}

/// Sends the request and waits for the chain, as PEM. Only a refusal proves that no certificate was issued: what
/// breaks, fails or takes too long once the request is sent leaves that open.
pub(super) async fn finalize(
    transport: &Transport,
    settings: &AcmeSettings,
    order: &mut CurrentOrder<'_>,
    csr_der: &[u8],
) -> Result<Success, Failed> {
    const WHAT: &str = "issue the certificate";
    transport.forget();
    let sent = order.account.post(&order.object.finalize, &json!({ "csr": encode(csr_der) })).await;
    let sent = sent.map_err(|error| {
        let unsettled = !is_refusal(&error, transport) && transport.has_sent();
        Failed { unsettled, ..refused(error, WHAT, transport, settings).into() }
    })?;
    order.object = sent.json(WHAT, transport).map_err(Failed::unsettled)?;
    wait_for(transport, order, WHAT, &[OrderStatus::Valid]).await.map_err(|error| {
        let is_lost = order.is_lost();
        let about_validity = order.object.error.as_ref().is_none_or(may_be_about_validity);
        let error = match settings.not_after {
            Some(_) if is_lost && about_validity => error.hint(VALIDITY),
            _ => error,
        };
        Failed { unsettled: !is_lost, ..error.into() }
    })?;
    download(transport, order).await.map_err(Failed::unsettled)
}

/// The certificate of a valid order.
pub(super) async fn download(transport: &Transport, order: &CurrentOrder<'_>) -> Result<Success> {
    let Some(url) = &order.object.certificate else {
        return Err(transport.error(Error::failed("the CA sent no certificate")));
    };
    order.account.read(url).await.map_err(|error| explain(error, "send the certificate", transport))
}

/// Whether the CA refused, and did not merely fail.
fn is_refusal(error: &CallError, transport: &Transport) -> bool {
    matches!(error, CallError::Problem(_)) && (400..500).contains(&transport.last().status)
}

/// Asks until the order is in one of the states; `what` is what the CA does meanwhile.
pub(super) async fn wait_for(
    transport: &Transport,
    order: &mut CurrentOrder<'_>,
    what: &str,
    wanted: &[OrderStatus],
) -> Result<()> {
    let mut pause = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
    loop {
        if wanted.contains(&order.status()) {
            return Ok(());
        }
        if order.is_lost() {
            let error = Error::not_trusted(format!("the CA refused to {what}"));
            let reason = order.object.error.as_ref().map_or_else(|| "it gives no reason".to_owned(), said);
            return Err(transport.error(error.because(anyhow::anyhow!("{reason}"))));
        }
        if !transport.wait_to_ask(&mut pause).await {
            let cause = anyhow::anyhow!("it is still working on the order `{}`", order.shown());
            let error = transport.out_of_time(what).because(cause);
            // Its request is not sent yet: nothing but the order is kept.
            return Err(if wanted.contains(&OrderStatus::Ready) { error.hint(KEPT) } else { error });
        }
        order.refresh(transport).await?;
    }
}
