//! The ways to renew an existing pair at the step-ca that issued it. They come before the methods of enrollment, and need
//! no secret but the pair's own key.

mod mutual_tls;
mod token;

use url::Url;

use self::mutual_tls::{MutualTls, Rekey};
use self::token::RenewToken;
use super::methods::{ExistingPair, Failure, IssueFacts, Method};
use super::trust::Ca;
use crate::error::{Error, Result};
use crate::step_ca::{RequestFailure, StepCaClient, renewal};
use crate::text;

/// How a pair may be renewed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RenewalOptions {
    /// With a new key.
    pub(crate) rekey: bool,
    /// Without presenting the certificate in the handshake.
    pub(crate) no_mtls: bool,
}

/// The ways, in the order in which to try. The token is for an expired certificate, too, and where something between us
/// and the CA ends TLS. A new key needs the handshake: step-ca takes no token for it.
pub(crate) fn methods(options: RenewalOptions) -> Vec<Box<dyn Method>> {
    match options {
        RenewalOptions { rekey: true, .. } => vec![Box::new(Rekey { no_mtls: options.no_mtls })],
        RenewalOptions { no_mtls: true, .. } => vec![Box::new(RenewToken)],
        _ => vec![Box::new(MutualTls), Box::new(RenewToken)],
    }
}

/// The CA to ask: the configured one, else the server that issued the certificate.
fn ca_of(ca: &Ca, existing: Option<&ExistingPair<'_>>) -> Option<Url> {
    let recorded = || existing.and_then(|pair| pair.came_from).and_then(|(_, url)| url.cloned());
    let mut url = ca.url.clone().or_else(recorded)?;
    // That of a directory is the same server's.
    url.set_path("/");
    url.set_query(None);
    Some(url)
}

/// The existing pair, if a step-ca can renew it.
///
/// # Errors
/// There is none, it did not come from a step-ca, its address is not known, or the CA would refuse it without saying why.
fn renewable<'a>(about: &IssueFacts<'a>) -> Result<ExistingPair<'a>> {
    let Some(pair) = about.existing else {
        return Err(Error::failed("there is no certificate that could renew itself"));
    };
    let leaf = pair.chain.first().ok_or_else(|| Error::failed("there is no certificate"))?;
    // Another program may have got it from a step-ca that omits its extension.
    let may_be = pair.came_from.is_none() && about.ca.url.is_some();
    if !renewal::names_a_provisioner(leaf) && !may_be {
        return Err(Error::failed("the certificate does not name a provisioner of a step-ca"));
    }
    if ca_of(about.ca, Some(&pair)).is_none() {
        about.ca.url()?;
    }
    if about.ca.roots.is_none() && about.ca.pins.is_empty() {
        return Err(Error::usage("the CA's root is not known")
            .hint("add `--fingerprint HEX` or `--ca-root FILE`, or run `trustup bootstrap` with the CA's fingerprint"));
    }
    if !renewal::is_for_clients(leaf) {
        return Err(Error::unsupported(
            "the certificate cannot be presented to the CA (it lacks the extended key usage clientAuth)",
        )
        .hint("add `clientAuth` to `extKeyUsage` in the provisioner's certificate template, and enroll once more; until then an enrollment method in trustup.toml replaces the certificate"));
    }
    let now = about.env.now();
    if now < leaf.not_before() {
        return Err(Error::not_trusted(format!(
            "the certificate is not valid before {}",
            text::moment(leaf.not_before())
        ))
        .hint("check this machine's clock"));
    }
    Ok(pair)
}

/// Why the CA did not renew: its own words, and what is known here. `proxy`: what to do if a proxy answers instead.
fn explained(
    failed: RequestFailure,
    ca: &StepCaClient,
    pair: &ExistingPair<'_>,
    now: i64,
    proxy: &str,
) -> Failure {
    /// The difference of clocks that step-ca allows, in seconds.
    const LEEWAY: u64 = 60;
    let RequestFailure { error, status, refused, .. } = failed;
    let again = error.kind() == crate::error::ErrorKind::Unreachable;
    let leaf = pair.chain.first();
    let error = match status {
        Some(401) => {
            let skew = ca.skew().unwrap_or_default();
            let end = leaf.map(crate::pki::cert::Certificate::not_after).filter(|end| now > *end);
            match end {
                _ if skew.unsigned_abs() > LEEWAY => {
                    error.hint(format!("the CA's clock is {skew} s ahead of this machine's: set both"))
                }
                Some(end) => error.hint(format!(
                    "the certificate expired at {}: the CA renews it only if its provisioner has `allowRenewalAfterExpiry`",
                    text::moment(end)
                )),
                None => error.hint("the provisioner forbids renewal (`disableRenewal`) or no longer exists, or the certificate was revoked: the CA's log says which"),
            }
        }
        Some(400 | 200 | 201 | 404 | 405) => error.hint(proxy),
        _ => error,
    };
    Failure { error, again, unsettled: false, refused }
}
