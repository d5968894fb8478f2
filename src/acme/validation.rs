//! Tells the CA that the answers are published, and waits for its decision on each name.
//!
//! The challenge is watched, not only the order: step-ca leaves an order pending whose challenge is lost, and keeps a
//! challenge pending that it could not reach, until it is asked again. Most others fail a challenge at once, for good.

use std::time::Duration;

use serde_json::json;

use super::messages::{AuthorizationStatus, Challenge, ChallengeStatus, OrderStatus, ProblemDocument};
use super::order::{self, Answer, CurrentOrder};
use super::problem::{explain, said};
use super::transport::Transport;
use super::{ChallengeType, Report};
use crate::error::{Error, Result};
use crate::net::retry::Backoff;

/// The status of a challenge.
enum AuthorizationState {
    Valid,
    /// For good.
    Invalid(Option<ProblemDocument>),
    /// The CA is validating, or has not begun.
    Working,
    /// The CA's check failed, and it checks again only on request.
    Failed(ProblemDocument),
}

/// Has every answer validated; then the order is ready.
pub(super) async fn validate(
    transport: &Transport,
    order: &mut CurrentOrder<'_>,
    answers: &[Answer],
    report: &Report<'_>,
) -> Result<()> {
    // All at once: those that work in the background do so together.
    let mut early = Vec::with_capacity(answers.len());
    for answer in answers {
        early.push(if answer.is_told { None } else { tell(transport, order, answer).await? });
    }
    for (answer, failed) in answers.iter().zip(early) {
        wait_for(transport, order, answer, failed, report).await?;
        report.say(&format!("{} validated", answer.shown));
    }
    if order.status() == OrderStatus::Pending {
        order.refresh(transport).await?;
    }
    order::wait_for(transport, order, "accept the order", &[OrderStatus::Ready, OrderStatus::Valid]).await
}

async fn wait_for(
    transport: &Transport,
    order: &CurrentOrder<'_>,
    answer: &Answer,
    mut failed: Option<ProblemDocument>,
    report: &Report<'_>,
) -> Result<()> {
    let mut polling = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
    let mut repeating = Backoff::new(Duration::from_secs(1), Duration::from_secs(15));
    let mut told = false;
    loop {
        let in_time = match inspect(transport, order, answer).await? {
            AuthorizationState::Valid => return Ok(()),
            AuthorizationState::Invalid(problem) => {
                return Err(lost(transport, answer, problem.or(failed).as_ref()));
            }
            AuthorizationState::Working => transport.wait_to_ask(&mut polling).await,
            AuthorizationState::Failed(problem) => {
                if !told {
                    report.warn(&format!(
                        "{} not validated yet, asking again: {}",
                        answer.shown,
                        said(&problem)
                    ));
                    told = true;
                }
                failed = Some(problem);
                let in_time = transport.wait(repeating.take()).await;
                if in_time && let Some(problem) = tell(transport, order, answer).await? {
                    failed = Some(problem);
                }
                in_time
            }
        };
        if !in_time {
            let error = transport.out_of_time(&format!("validate {} by {}", answer.shown, answer.kind));
            let error = error.hint(order::KEPT);
            return Err(match &failed {
                Some(problem) => error.because(anyhow::anyhow!("{}", said(problem))).hint(advice(answer)),
                None => error,
            });
        }
    }
}

/// Asks the CA to check. Its immediate answer about a failed attempt is not final: the challenge's state is.
async fn tell(
    transport: &Transport,
    order: &CurrentOrder<'_>,
    answer: &Answer,
) -> Result<Option<ProblemDocument>> {
    let what = format!("validate {}", answer.shown);
    let told = order.account.post(&answer.challenge, &json!({})).await;
    let told = told.map_err(|error| explain(error, &what, transport))?;
    told.json::<Challenge>(&what, transport).map(|challenge| challenge.error)
}

async fn inspect(
    transport: &Transport,
    order: &CurrentOrder<'_>,
    answer: &Answer,
) -> Result<AuthorizationState> {
    let what = format!("validate {}", answer.shown);
    let authorization = order::authorization(transport, &order.account, &answer.authorization, &what).await?;
    let mine = order::challenge(&authorization, answer.kind);
    let problem = mine.and_then(|challenge| challenge.error.clone());
    Ok(match (authorization.status, mine.map(|challenge| challenge.status), problem) {
        (AuthorizationStatus::Valid, _, _) => AuthorizationState::Valid,
        (AuthorizationStatus::Pending, Some(ChallengeStatus::Pending), Some(problem)) => {
            AuthorizationState::Failed(problem)
        }
        (AuthorizationStatus::Pending, Some(status), _) if status != ChallengeStatus::Invalid => {
            AuthorizationState::Working
        }
        (_, _, problem) => AuthorizationState::Invalid(problem),
    })
}

fn lost(transport: &Transport, answer: &Answer, problem: Option<&ProblemDocument>) -> Error {
    let reason = problem.map_or_else(|| "the CA gives no reason".to_owned(), said);
    let error = Error::not_trusted(format!("the CA could not validate {} by {}", answer.shown, answer.kind));
    transport.error(error.because(anyhow::anyhow!("{reason}"))).hint(advice(answer))
}

/// What is required for the CA to get through.
fn advice(answer: &Answer) -> String {
    let name = &answer.name;
    match answer.kind {
        ChallengeType::Http01 => format!(
            "the CA must reach port 80 of `{name}`, and the server there must be this machine's `--http-listen` or the web server of `--webroot`"
        ),
        ChallengeType::TlsAlpn01 => format!(
            "the CA must reach port 443 of `{name}`, and the server there must be this machine's `--tls-listen`"
        ),
        ChallengeType::Dns01 => format!(
            "the CA must find the TXT record at `_acme-challenge.{name}`: is the updated zone the public one?"
        ),
    }
}
