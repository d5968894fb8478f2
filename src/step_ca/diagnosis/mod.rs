//! What is wrong with a token. step-ca answers every refused token with the same sentence, and writes the reason only
//! to its own log; most reasons can be determined here nevertheless, from the token, the clocks and the CA's list of
//! provisioners. Pure functions. The CA's clock explains, and decides nothing (threat T7).

#[cfg(test)]
mod tests;

use url::Url;

use super::{LEEWAY, ProvisionerKind, Provisioners, spelling};
use crate::error::{Error, Result};
use crate::net::url::{authority, host, masked};
use crate::pki::cert::Certificate;
use crate::pki::jose::jws::{self, DecodedToken};
use crate::pki::key::PublicKey;
use crate::text;

/// What is known about a token and its recipient.
#[derive(Clone, Copy, Debug)]
pub struct RefusalFacts<'a> {
    /// The token, as it is presented.
    pub token: &'a str,
    /// Our clock, seconds since 1970.
    pub now: i64,
    /// How many seconds the CA's clock is ahead of ours, if it gave its time.
    pub skew: Option<i64>,
    /// The CA to which it is presented.
    pub ca_url: &'a Url,
    /// The CA's own names for that host, in the spelling of its certificate, if they are known.
    pub ca_names: &'a [String],
    /// The CA's provisioners, if they are known.
    pub provisioners: Option<&'a Provisioners>,
    /// When we presented this same token before, seconds since 1970.
    pub presented_before: Option<i64>,
}

/// A reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The clocks differ by more than the leeway.
    ClockSkew,
    /// It is too late.
    Expired,
    /// It is too early.
    NotYetValid,
    /// It was used.
    Reused,
    /// It is for another CA, or another purpose.
    WrongAudience,
    /// No provisioner has the name.
    UnknownProvisioner,
    /// The provisioner has another key.
    UnknownKey,
    /// It was changed, or signed with another key.
    WrongSignature,
    /// The certificate in it can no longer be used.
    BirthCertificate,
    /// It lacks a required part.
    Incomplete,
}

/// A reason in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalReason {
    /// Which it is.
    pub cause: Cause,
    /// The fault, as the end of a sentence that begins with "the CA refused the token:".
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) hint: String,
}

impl RefusalReason {
    fn new(cause: Cause, what: impl Into<String>, hint: impl Into<String>) -> Self {
        RefusalReason { cause, what: what.into(), hint: hint.into() }
    }
}

/// Where to get new tokens.
const AGAIN: &str = "make a new one on the CA's host or with `trustup token`, and use it before it expires";

/// All certain faults, the likeliest reason first.
pub fn diagnose(facts: &RefusalFacts<'_>) -> Vec<RefusalReason> {
    let Ok(token) = jws::peek(facts.token) else {
        return vec![RefusalReason::new(Cause::Incomplete, "it is not a token", AGAIN)];
    };
    let mut findings = Vec::new();
    findings.extend(reuse(facts));
    findings.extend(times(facts, &token));
    findings.extend(audience(facts, &token));
    findings.extend(signer(facts, &token));
    findings.extend(content(&token));
    findings
}

/// Checks a token before it is presented: it works once. Returns warnings.
///
/// # Errors
/// It is used up, expired, not valid yet by our clock, for another CA, or from a provisioner that the CA does not know.
pub(crate) fn before(facts: &RefusalFacts<'_>) -> Result<Vec<String>> {
    jws::peek(facts.token)?;
    // By our clock alone: the CA's header may only explain.
    let ours = RefusalFacts { skew: None, ..*facts };
    if let Some(finding) = diagnose(&ours).into_iter().next() {
        let what = format!("the CA would refuse the token, so it was not sent: {}", finding.what);
        let error = match finding.cause {
            Cause::WrongAudience | Cause::UnknownProvisioner | Cause::Incomplete => Error::usage(what),
            _ => Error::not_trusted(what),
        };
        return Err(error.at(masked(facts.ca_url)).hint(finding.hint));
    }
    Ok(facts.skew.and_then(clock_warning).into_iter().collect())
}

/// Explains why the CA refused a token; `error` is the client's error for its answer.
pub fn explain(error: Error, facts: &RefusalFacts<'_>) -> Error {
    let findings = diagnose(facts);
    let error = match findings.split_first() {
        Some((first, others)) => {
            let explained = Error::new(error.kind(), format!("the CA refused the token: {}", first.what))
                .at(masked(facts.ca_url))
                .because(anyhow::anyhow!("{error}"))
                .hint(first.hint.clone());
            others.iter().fold(explained, |error, other| error.hint(format!("also: {}", other.what)))
        }
        None => {
            let unknown =
                Error::new(error.kind(), "the CA refused the token, and trustup found no reason for that")
                    .at(masked(facts.ca_url))
                    .because(anyhow::anyhow!("{error}"));
            unseen(facts).into_iter().fold(unknown, Error::hint)
        }
    };
    let told = findings.iter().any(|finding| finding.cause == Cause::ClockSkew);
    match facts.skew.and_then(clock_warning) {
        Some(warning) if !told => error.hint(warning),
        _ => error,
    }
}

/// The warning about clocks that differ too much; `skew` is the CA's minus ours.
pub(crate) fn clock_warning(skew: i64) -> Option<String> {
    (skew.saturating_abs() > LEEWAY).then(|| {
        let side = if skew > 0 { "behind" } else { "ahead of" };
        format!(
            "this machine's clock is {} {side} the CA's: step-ca forgives {LEEWAY} s, so correct one of them",
            seconds(skew.saturating_abs())
        )
    })
}

/// What cannot be determined from here.
fn unseen(facts: &RefusalFacts<'_>) -> Vec<String> {
    let has_certificate = jws::peek(facts.token).is_ok_and(|token| token.header.contains_key("x5c"));
    [
        (true, "it may have been used before, here or elsewhere: a token works once"),
        (true, "if the CA was started after the token was made, it no longer accepts that token"),
        (
            has_certificate,
            "the provisioner may not know the authority of the birth certificate, which has to chain to one of its roots",
        ),
        (true, "the CA's own log names the reason"),
    ]
    .into_iter()
    .filter(|(may_be, _)| *may_be)
    .map(|(_, hint)| hint.to_owned())
    .collect()
}

fn reuse(facts: &RefusalFacts<'_>) -> Option<RefusalReason> {
    let sent = facts.presented_before?;
    let what = format!(
        "it was presented before, by an earlier run here, at {}, and a token works once",
        text::moment(sent)
    );
    Some(RefusalReason::new(Cause::Reused, what, AGAIN))
}

/// Expiry and beginning, by the CA's clock if it is known; if ours disagrees, the clocks are the reason.
fn times(facts: &RefusalFacts<'_>, token: &DecodedToken) -> Option<RefusalReason> {
    let skew = facts.skew.unwrap_or_default();
    let there = facts.now.saturating_add(skew);
    let clocks = |what: String| {
        let hint = clock_warning(skew).unwrap_or_else(|| AGAIN.to_owned());
        RefusalReason::new(Cause::ClockSkew, what, hint)
    };
    let over = |now: i64, end: i64| now.saturating_sub(end) > LEEWAY;
    if let Some(end) = token.time("exp")
        && over(there, end)
    {
        return Some(if over(facts.now, end) {
            let ago = seconds(facts.now.saturating_sub(end));
            let what = format!("it expired {ago} ago ({})", text::moment(end));
            let clock = text::moment(facts.now);
            let hint = match facts.skew {
                Some(_) => AGAIN.to_owned(),
                None => format!("{AGAIN}; this machine's clock says {clock}: if that is wrong, correct it"),
            };
            RefusalReason::new(Cause::Expired, what, hint)
        } else {
            clocks("it has expired by the CA's clock, not by this machine's".to_owned())
        });
    }
    // A token from the future is as bad as one that is not valid yet.
    let begin = token.time("nbf").max(token.time("iat"))?;
    if !over(begin, there) {
        return None;
    }
    Some(if over(begin, facts.now) {
        let what = format!("it is not valid before {}", text::moment(begin));
        let hint = "wait until then; or correct the clocks: the one that made the token is ahead, or this one is behind";
        RefusalReason::new(Cause::NotYetValid, what, hint)
    } else {
        clocks("it is not valid yet by the CA's clock, only by this machine's".to_owned())
    })
}

/// Host names count, ports do not (step-ca compares without them). The host of a verified connection is one of the CA's
/// own names.
fn audience(facts: &RefusalFacts<'_>, token: &DecodedToken) -> Option<RefusalReason> {
    let audiences = token.audience();
    let provisioner = token.claim("iss").unwrap_or_default();
    let is_x5c = token.header.contains_key("x5c");
    let (mut other_host, mut other_spelling) = (None, None);
    for audience in &audiences {
        // step-ca's own name for itself, whatever its host name is.
        if *audience == "step-certificate-authority" && !is_x5c {
            return None;
        }
        let Ok(url) = Url::parse(audience) else { continue };
        let for_signing = url.scheme() == "https" && matches!(url.path(), "/1.0/sign" | "/sign");
        let same_host = host(&url) == host(facts.ca_url);
        let bare = audience.split_once('#').map(|(_, fragment)| fragment);
        let right_fragment = bare == is_x5c.then(|| format!("x5c/{provisioner}")).as_deref();
        if for_signing && same_host && right_fragment {
            let written = spelling::as_written(audience, facts.ca_url).unwrap_or_default();
            if facts.ca_names.is_empty() || facts.ca_names.contains(&written) {
                return None;
            }
            other_spelling = Some(written);
            continue;
        }
        if for_signing && right_fragment {
            other_host = Some(authority(&url));
        }
    }
    if let Some(written) = other_spelling {
        let own = &facts.ca_names[0];
        let port = facts.ca_url.port().map(|port| format!(":{port}")).unwrap_or_default();
        return Some(RefusalReason::new(
            Cause::WrongAudience,
            format!(
                "it is for `{}`, and the CA spells its name `{}`: step-ca compares letter by letter",
                text::escape(&written),
                text::escape(own)
            ),
            format!("make it with `--ca-url https://{}{port}`", text::escape(own)),
        ));
    }
    let shown = || {
        audiences
            .iter()
            .map(|audience| format!("`{}`", text::escape(audience)))
            .collect::<Vec<_>>()
            .join(", ")
    };
    Some(match (other_host, audiences.is_empty()) {
        (Some(host), _) => RefusalReason::new(
            Cause::WrongAudience,
            format!("it is for `{}`, not for `{}`", text::escape(&host), authority(facts.ca_url)),
            "make it with the `--ca-url` that is used here: the host name counts, the port does not",
        ),
        (None, true) => RefusalReason::new(Cause::WrongAudience, "it has no audience (`aud`)", AGAIN),
        (None, false) => RefusalReason::new(
            Cause::WrongAudience,
            format!("it is not for signing certificates at this CA, but for {}", shown()),
            "make one with `trustup token` or `step ca token`, without `--revoke`, `--renew` or `--ssh`",
        ),
    })
}

/// Who signed it, and whether they did.
fn signer(facts: &RefusalFacts<'_>, token: &DecodedToken) -> Option<RefusalReason> {
    let name = token.claim("iss").unwrap_or_default();
    let shown = text::escape(name);
    let is_x5c = token.header.contains_key("x5c");
    if let Some(provisioners) = facts.provisioners {
        let mut named = provisioners.named(name).peekable();
        if named.peek().is_none() {
            let word = if is_x5c { "X5C" } else { "JWK" };
            let error = provisioners.missing(name, word);
            let hint = error.hints().first().cloned().unwrap_or_default();
            return Some(RefusalReason::new(
                Cause::UnknownProvisioner,
                format!("the CA has no provisioner `{shown}`, which it names (`iss`)"),
                hint,
            ));
        }
        if !is_x5c {
            let kid = token.header("kid").unwrap_or_default();
            let mut of_kind = false;
            for provisioner in named {
                let ProvisionerKind::Jwk { kid: own, key, .. } = &provisioner.kind else { continue };
                of_kind = true;
                if own == kid {
                    return key.as_ref().and_then(|key| signature(facts, key));
                }
            }
            return of_kind.then(|| {
                RefusalReason::new(
                    Cause::UnknownKey,
                    format!("it was signed with a key that the CA's provisioner `{shown}` does not have"),
                    "the provisioner was created again, or the token is for another CA: make a new token with the current password or key",
                )
            });
        }
    }
    is_x5c.then(|| birth_certificate(facts, token)).flatten()
}

/// The leaf in an `x5c` header: it has signed, and is valid.
fn birth_certificate(facts: &RefusalFacts<'_>, token: &DecodedToken) -> Option<RefusalReason> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let first = *token.header_texts("x5c").first()?;
    let leaf = STANDARD.decode(first).ok().and_then(|der| Certificate::from_der(&der).ok())?;
    if let Some(finding) = PublicKey::from_der(leaf.public_key()).and_then(|key| signature(facts, &key)) {
        return Some(finding);
    }
    let there = facts.now.saturating_add(facts.skew.unwrap_or_default());
    let what = if there > leaf.not_after() {
        format!("the birth certificate that signed it expired on {}", text::moment(leaf.not_after()))
    } else if there < leaf.not_before() {
        format!(
            "the birth certificate that signed it is not valid before {}",
            text::moment(leaf.not_before())
        )
    } else {
        return None;
    };
    Some(RefusalReason::new(
        Cause::BirthCertificate,
        what,
        "get a new birth certificate, or enroll with another method",
    ))
}

fn signature(facts: &RefusalFacts<'_>, key: &PublicKey) -> Option<RefusalReason> {
    jws::verify(facts.token, key).is_err().then(|| {
        RefusalReason::new(
            Cause::WrongSignature,
            "its signature is not that of the key it names: it was changed in transit, or is for another CA",
            "copy it again, whole, or make a new one",
        )
    })
}

fn content(token: &DecodedToken) -> Option<RefusalReason> {
    let missing = ["sub", "iss"].into_iter().find(|name| token.claim(name).is_none_or(str::is_empty))?;
    Some(RefusalReason::new(Cause::Incomplete, format!("it has no `{missing}`"), AGAIN))
}

/// A duration for people.
fn seconds(count: i64) -> String {
    match count {
        0..120 => format!("{count} s"),
        120..7_200 => format!("{} min", count / 60),
        7_200..172_800 => format!("{} h", count / 3600),
        _ => format!("{} days", count / 86_400),
    }
}
