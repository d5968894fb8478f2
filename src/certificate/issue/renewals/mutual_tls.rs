//! By presenting the certificate in the TLS handshake: `/renew` for the same key, `/rekey` for a new one.

use url::Url;

use super::{ca_of, explained, renewable};
use crate::certificate::issue::methods::{
    ExistingPair, Failure, Issue, IssueFacts, IssueOrder, KeyUse, Method, trust,
};
use crate::certificate::issue::trust::Ca;
use crate::error::{Error, Result};
use crate::net::{Credentials, Identity};
use crate::pki::cert::Certificate;
use crate::step_ca::StepCaClient;
use crate::text;

/// What to do if a proxy ends TLS.
const PROXY: &str = "if a proxy in front of the CA ends TLS, the CA does not see the certificate: `--no-mtls` signs a token instead";

/// A new certificate for the same key.
pub(super) struct MutualTls;

impl Method for MutualTls {
    fn name(&self) -> &'static str {
        "renew"
    }

    fn key_use(&self) -> KeyUse {
        KeyUse::Existing
    }

    fn asks(&self, ca: &Ca) -> Option<Url> {
        ca_of(ca, None)
    }

    fn check(&self, about: &IssueFacts<'_>) -> Result<()> {
        in_time(about).map(drop)
    }

    fn issue<'a>(&'a self, order: &'a mut IssueOrder<'_>) -> Issue<'a> {
        Box::pin(async move {
            let (ca, pair) = presenting(order)?;
            (order.say)("renewing over mutual TLS");
            let done = ca.renew().await;
            let now = order.about.env.now();
            done.map(|signed| signed.chain).map_err(|failed| explained(failed, &ca, &pair, now, PROXY))
        })
    }
}

/// A new certificate for a new key.
pub(super) struct Rekey {
    /// The user excluded mutual TLS.
    pub(super) no_mtls: bool,
}

impl Method for Rekey {
    fn name(&self) -> &'static str {
        "rekey"
    }

    fn needs_pair(&self) -> bool {
        true
    }

    fn asks(&self, ca: &Ca) -> Option<Url> {
        ca_of(ca, None)
    }

    fn check(&self, about: &IssueFacts<'_>) -> Result<()> {
        if self.no_mtls {
            return Err(Error::usage("a new key is not possible with `--no-mtls`: step-ca takes no token for it")
                .hint("omit `--rekey` or `--no-mtls`; or add an enrollment method in trustup.toml, which always makes a new key"));
        }
        in_time(about).map(drop)
    }

    fn issue<'a>(&'a self, order: &'a mut IssueOrder<'_>) -> Issue<'a> {
        Box::pin(async move {
            let (ca, pair) = presenting(order)?;
            let csr = order.key.csr(order.about.names, None)?;
            (order.say)("renewing over mutual TLS, with a new key");
            let done = ca.rekey(&csr).await;
            let now = order.about.env.now();
            done.map(|signed| signed.chain).map_err(|failed| {
                // The certificate for the new key may exist.
                let unsettled = failed.is_unsettled() && !failed.refused;
                Failure { unsettled, ..explained(failed, &ca, &pair, now, PROXY) }
            })
        })
    }
}

/// The pair, if a handshake with it can succeed.
fn in_time<'a>(about: &IssueFacts<'a>) -> Result<ExistingPair<'a>> {
    let pair = renewable(about)?;
    let now = about.env.now();
    match pair.chain.first().map(Certificate::not_after).filter(|end| now > *end) {
        Some(end) => Err(Error::not_trusted(format!(
            "the certificate expired at {}, and no server accepts it in a handshake",
            text::moment(end)
        ))),
        None => Ok(pair),
    }
}

/// A connection to the CA that presents the certificate.
fn presenting<'a>(order: &IssueOrder<'a>) -> Result<(StepCaClient, ExistingPair<'a>), Failure> {
    let about = &order.about;
    let pair = in_time(about)?;
    let roots = order.roots.ok_or_else(|| Error::usage("the CA's root is not known"))?;
    let url = ca_of(about.ca, Some(&pair)).ok_or_else(|| Error::usage("the CA's address is not known"))?;
    let chain = pair.chain.iter().map(|certificate| certificate.der().to_vec().into()).collect();
    let identity = Identity::new(chain, pair.key.pkcs8())?;
    let credentials = Credentials::from(&trust(roots)).with_identity(identity);
    Ok((StepCaClient::new(order.net, about.env, &url, credentials)?, pair))
}
