//! Errors for people: ACME's problem documents (RFC 8555 section 6.7) as our errors.

use super::messages::ProblemDocument;
use super::transport::{CallError, Transport};
use super::waiting::shown_duration;
use crate::error::{Error, ErrorKind};
use crate::text;

const PREFIX: &str = "urn:ietf:params:acme:error:";

/// What a server can refuse (RFC 8555 section 6.7, RFC 8739, RFC 9773, profiles): trying again changes nothing. Any
/// other type with a status of 500 or more is a server failure.
const REFUSALS: [&str; 22] = [
    "alreadyReplaced",
    "alreadyRevoked",
    "autoRenewalCanceled",
    "autoRenewalCancellationInvalid",
    "autoRenewalExpired",
    "autoRenewalRevocationNotSupported",
    "badCSR",
    "badPublicKey",
    "badRevocationReason",
    "badSignatureAlgorithm",
    "caa",
    "compound",
    "connection",
    "dns",
    "incorrectResponse",
    "invalidContact",
    "invalidProfile",
    "malformed",
    "orderNotReady",
    "rejectedIdentifier",
    "tls",
    "unsupportedIdentifier",
];

/// Whether the problem is of this type (`badNonce`).
pub(super) fn is(problem: &ProblemDocument, kind: &str) -> bool {
    short_type(problem) == kind
}

/// The type without the common prefix of all types.
fn short_type(problem: &ProblemDocument) -> &str {
    shortened(problem.kind.as_deref().unwrap_or_default())
}

fn shortened(kind: &str) -> &str {
    kind.strip_prefix(PREFIX).unwrap_or(kind)
}

/// The result of a request while `what` was done ("take the order"); a refusal becomes exit code 4.
pub(super) fn explain(error: CallError, what: &str, transport: &Transport) -> Error {
    match error {
        CallError::Problem(problem) => refused(&problem, what, transport),
        CallError::Other(error) => error,
    }
}

/// An answer to a request for `what` that cannot be read.
pub(super) fn nonsense(why: &str, what: &str, transport: &Transport) -> Error {
    transport.error(
        Error::failed(format!("could not {what}: the ACME server's answer is invalid"))
            .because(anyhow::anyhow!("{}", text::escape(why))),
    )
}

/// Whether a refusal may be about the requested end of life: servers have no separate type for that (Let's Encrypt uses
/// `malformed`, step-ca `serverInternal`).
pub(super) fn may_be_about_validity(problem: &ProblemDocument) -> bool {
    const OTHERS: [&str; 17] = [
        "accountDoesNotExist",
        "badNonce",
        "badPublicKey",
        "badSignatureAlgorithm",
        "caa",
        "connection",
        "dns",
        "externalAccountRequired",
        "incorrectResponse",
        "invalidContact",
        "invalidProfile",
        "rateLimited",
        "rejectedIdentifier",
        "tls",
        "unsupportedContact",
        "unsupportedIdentifier",
        "userActionRequired",
    ];
    !OTHERS.contains(&short_type(problem))
}

/// Whether a refusal of an order may be about the certificate that it replaces: one that is replaced already, that the CA
/// no longer knows, or that another account requested. The order is good without naming it.
pub(super) fn may_be_about_replaced(problem: &ProblemDocument) -> bool {
    const THESE: [&str; 5] = ["alreadyReplaced", "conflict", "malformed", "serverInternal", "unauthorized"];
    THESE.contains(&short_type(problem))
}

/// The CA's refusal to do `what`.
fn refused(problem: &ProblemDocument, what: &str, transport: &Transport) -> Error {
    let (kind, hint) = match short_type(problem) {
        "rateLimited" => (ErrorKind::Unreachable, Some(wait(transport))),
        "userActionRequired" => (
            ErrorKind::Usage,
            Some("the CA's terms may have changed: read them, then agree with `--agree-tos`".to_owned()),
        ),
        "externalAccountRequired" => (ErrorKind::Usage, Some(EXTERNAL_ACCOUNT.to_owned())),
        "badNonce" | "serverInternal" => (ErrorKind::Unreachable, None),
        "accountDoesNotExist" | "unauthorized" => (
            ErrorKind::NotTrusted,
            Some(format!(
                "if the account no longer exists, remove `{}`, where its key is kept, and try again",
                transport.account_place()
            )),
        ),
        "rejectedIdentifier" | "unsupportedIdentifier" => (ErrorKind::NotTrusted, Some(POLICY.to_owned())),
        "badSignatureAlgorithm" if !problem.algorithms.is_empty() => {
            (ErrorKind::NotTrusted, Some(accepted_algorithms(problem)))
        }
        "badSignatureAlgorithm" | "badPublicKey" => {
            let kinds = "`ec-p256` (what every CA accepts), `ec-p384`, `rsa-2048` or `rsa-4096`";
            (
                ErrorKind::NotTrusted,
                Some(format!("the CA does not accept this kind of account key: {ANOTHER_KEY} {kinds}")),
            )
        }
        other if transport.last().status >= 500 && !REFUSALS.contains(&other) => {
            (ErrorKind::Unreachable, None)
        }
        _ => (ErrorKind::NotTrusted, None),
    };
    let verb = if kind == ErrorKind::NotTrusted { "the CA refused to" } else { "could not" };
    let error = Error::new(kind, format!("{verb} {what}")).because(anyhow::anyhow!("{}", said(problem)));
    let error = transport.error(error).with_retry_after(transport.last().retry_after);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// What a CA accepts instead of the signature that it refuses (RFC 8555 section 6.2).
fn accepted_algorithms(problem: &ProblemDocument) -> String {
    const SHOWN: usize = 10;
    let all = problem.algorithms.iter().take(SHOWN).map(|name| format!("`{}`", text::escape(name)));
    let all = all.collect::<Vec<_>>().join(", ");
    let kinds = ACCOUNT_KEYS.iter().filter(|(name, _)| problem.algorithms.iter().any(|other| other == name));
    let kinds: Vec<String> = kinds.map(|(_, kind)| format!("`{kind}`")).collect();
    if kinds.is_empty() {
        return format!("the CA accepts the signature algorithms {all}, and trustup supports none of them");
    }
    format!("the CA accepts the signature algorithms {all}: {ANOTHER_KEY} {}", kinds.join(" or "))
}

/// Signature algorithms of JWS (RFC 7518 section 3.1, RFC 8037), and the account keys that sign with them.
const ACCOUNT_KEYS: [(&str, &str); 4] =
    [("ES256", "ec-p256"), ("ES384", "ec-p384"), ("RS256", "rsa-2048"), ("EdDSA", "ed25519")];

/// How the account gets a key of another kind.
const ANOTHER_KEY: &str =
    "name a file that does not exist yet with `--account-key`, and its kind with `--account-key-type`:";

/// The hint for a CA that requires external accounts.
pub(super) const EXTERNAL_ACCOUNT: &str =
    "get a key identifier and a key from the CA: `--eab-kid ID --eab-hmac-key-file FILE`";

/// Why a CA accepts no order for a name.
const POLICY: &str = "the CA does not issue for such names: use other names, or ask the CA's administrator to allow them (step-ca: `policy` in ca.json)";

fn wait(transport: &Transport) -> String {
    match transport.last().retry_after {
        Some(after) => format!("the CA asks to try again in {}", shown_duration(after)),
        None => "try again later; every attempt may count against the limit".to_owned(),
    }
}

/// The CA's message: detail, type, and the same for each name.
pub(super) fn said(problem: &ProblemDocument) -> String {
    const SHOWN: usize = 5;
    let detail = problem.detail.as_deref().unwrap_or("no reason given");
    let mut said = format!("the CA says: {}", text::escape(detail));
    if !short_type(problem).is_empty() {
        said.push_str(&format!(" ({})", text::escape(short_type(problem))));
    }
    for part in problem.subproblems.iter().take(SHOWN) {
        let name = part.identifier.as_ref().map(|name| format!(" `{}`", text::escape(&name.value)));
        let kind = part.kind.as_deref().map(shortened);
        let detail = part.detail.as_deref().or(kind).unwrap_or("no reason given");
        said.push_str(&format!(";{}: {}", name.unwrap_or_default(), text::escape(detail)));
    }
    if problem.subproblems.len() > SHOWN {
        said.push_str(&format!("; and {} more", problem.subproblems.len() - SHOWN));
    }
    said
}

/// The first words of a body, for people.
pub(super) fn beginning(body: &[u8]) -> String {
    const SHOWN: usize = 80;
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * SHOWN)]);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() {
        return "nothing".to_owned();
    }
    format!("`{}`", text::escape(&words.chars().take(SHOWN).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_ca_says_is_one_safe_line() {
        let problem: ProblemDocument = serde_json::from_str(
            r#"{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"no \u001b[31m","subproblems":[
                {"identifier":{"type":"dns","value":"a.test\n"},"detail":"not\nthis"}]}"#,
        )
        .expect("problem");
        assert!(is(&problem, "rejectedIdentifier"));
        let said = said(&problem);
        assert_eq!(said, r"the CA says: no \u{1b}[31m (rejectedIdentifier); `a.test\u{a}`: not\u{a}this");
    }
}
