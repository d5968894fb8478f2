//! By a token that the certificate's own key signs: for a certificate that has expired, and where a proxy ends TLS.

use url::Url;

use super::{ca_of, explained, renewable};
use crate::certificate::issue::methods::{Issue, IssueFacts, IssueOrder, KeyUse, Method, trust};
use crate::certificate::issue::trust::Ca;
use crate::error::{Error, Result};
use crate::step_ca::{StepCaClient, renewal};

/// What to do if a proxy answers.
const PROXY: &str = "is this the address of the step-ca, and does a proxy in front of it pass `/1.0/renew` and the header `Authorization` on?";

/// A new certificate for the same key.
pub(super) struct RenewToken;

impl Method for RenewToken {
    fn name(&self) -> &'static str {
        "renew-token"
    }

    fn key_use(&self) -> KeyUse {
        KeyUse::Existing
    }

    fn asks(&self, ca: &Ca) -> Option<Url> {
        ca_of(ca, None)
    }

    fn check(&self, about: &IssueFacts<'_>) -> Result<()> {
        renewable(about).map(drop)
    }

    fn issue<'a>(&'a self, order: &'a mut IssueOrder<'_>) -> Issue<'a> {
        Box::pin(async move {
            let pair = renewable(&order.about)?;
            let about = &order.about;
            let roots = order.roots.ok_or_else(|| Error::usage("the CA's root is not known"))?;
            let url =
                ca_of(about.ca, Some(&pair)).ok_or_else(|| Error::usage("the CA's address is not known"))?;
            let ca = StepCaClient::new(order.net, about.env, &url, &trust(roots))?;
            let now = about.env.now();
            let token = renewal::token(pair.chain, pair.key, &url, now)?;
            (order.say)("renewing by a token that the certificate's key signed");
            let done = ca.renew_with_token(&token).await;
            done.map(|signed| signed.chain).map_err(|failed| explained(failed, &ca, &pair, now, PROXY))
        })
    }
}
