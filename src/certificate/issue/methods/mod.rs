//! The methods of getting a certificate, one file each; they share the order that they receive and the failure that
//! they return.

pub(crate) mod acme;
mod acme_options;
mod acme_server;
pub(crate) mod provisioner;
pub(crate) mod row;
pub(crate) mod table;
pub(crate) mod token;
pub(crate) mod x5c;

use std::future::ready;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

pub(crate) use crate::acme::RenewalInfo;
use crate::certificate::check::Roots;
use crate::certificate::life::Life;
use crate::certificate::pending::{Attempt, Pending};
use crate::error::{Error, ErrorKind, Result};
use crate::host::env::Env;
use crate::net::url::same_origin;
use crate::net::{Net, Trust};
use crate::pki::cert::{Certificate, SubjectAltName};
use crate::pki::fingerprint::Fingerprint;
use crate::pki::key::PrivateKey;
use crate::process::Children;
use crate::settings::rows::DEFAULT_PROVISIONER;
use crate::settings::{Opt, Settings};
use crate::step_ca::{Provisioners, RequestFailure, StepCaClient, diagnosis, hint_to_add, mint, spelling};
use crate::text;

use url::Url;

use super::trust::{Ca, FromToken};
use crate::pki::cert::NotAfter;

pub(crate) static PROVISIONER: Opt<String> = Opt::text("provisioner", "NAME")
    .keys(&["enroll.provisioner"])
    .published("CA_PROVISIONER_NAME")
    .help("The provisioner's name [default: the only one that fits]");

/// The provisioner that signs tokens: that of the method, else that of `[ca]`.
pub(crate) fn named_provisioner(settings: &Settings) -> Option<String> {
    settings.get(&PROVISIONER).or_else(|| settings.get(&DEFAULT_PROVISIONER)).cloned()
}

/// One method of getting a certificate.
pub(crate) trait Method: Send + Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// What its one-time token says about the CA, if it has one. Reads the token.
    ///
    /// # Errors
    /// There is no token, or it cannot be one.
    fn token(&self) -> Result<Option<FromToken>> {
        Ok(None)
    }

    /// The names that its one-time token allows, if it has one.
    ///
    /// # Errors
    /// As [`Method::token`].
    fn token_names(&self) -> Result<Option<Vec<SubjectAltName>>> {
        Ok(None)
    }

    /// Whether the issued chain must end at the roots that vouch for the connection, unless configured otherwise.
    fn chain_must_match_tls_roots(&self) -> bool {
        true
    }

    /// What else decides what it is given, such as the provisioner's name: another is another request.
    fn identity(&self) -> String {
        String::new()
    }

    /// The origin that it asks; `ca` is the configured one.
    fn asks(&self, ca: &Ca) -> Option<Url> {
        ca.url.clone()
    }

    /// Which key its certificate is for.
    fn key_use(&self) -> KeyUse {
        KeyUse::New
    }

    /// Whether it renews the existing pair, and is of no use without one.
    fn needs_pair(&self) -> bool {
        self.key_use() == KeyUse::Existing
    }

    /// Checks what can be checked before anything is requested, changed or spent.
    ///
    /// # Errors
    /// What is missing or cannot work.
    fn check(&self, about: &IssueFacts<'_>) -> Result<()>;

    /// Checks, without a secret or a request, whether it can be used for these names.
    ///
    /// # Errors
    /// A name that it can get no certificate for, as it is configured.
    fn check_names(&self, _names: &[SubjectAltName]) -> Result<()> {
        Ok(())
    }

    /// Gets the certificate: the chain, leaf first. One try.
    fn issue<'a>(&'a self, order: &'a mut IssueOrder<'_>) -> Issue<'a>;

    /// Directories that it writes to, beside those of the pair.
    fn directories(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Whether its CA may say when it wants a certificate renewed ([`Method::renewal_info`]).
    fn has_renewal_info(&self) -> bool {
        false
    }

    /// Asks the CA when it wants the existing pair renewed; `None`, without a request, if it did not come by this method
    /// from there, or if there is no such question. One try, within the time of the network; a failure is part of the
    /// answer.
    fn renewal_info<'a>(&'a self, _question: &'a RenewalQuestion<'_>) -> AskedRenewal<'a> {
        Box::pin(ready(None))
    }
}

/// Which key a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyUse {
    /// A new one, or that of an interrupted run.
    New,
    /// That of the existing pair.
    Existing,
}

/// The pair that is to be replaced: it is good, but for its age.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExistingPair<'a> {
    /// Leaf first, without the root.
    pub(crate) chain: &'a [Certificate],
    /// Its key.
    pub(crate) key: &'a PrivateKey,
    /// The method that issued it, and the CA's address or directory, as an earlier run recorded them.
    pub(crate) came_from: Option<(&'a str, Option<&'a Url>)>,
}

impl ExistingPair<'_> {
    /// Whether it came by this method from the server of `url`, as far as that is recorded: the origin is.
    pub(crate) fn is_from(&self, method: &str, url: &Url) -> bool {
        let came_from = self.came_from.filter(|(name, _)| *name == method);
        came_from.and_then(|(_, from)| from).is_some_and(|from| same_origin(from, url))
    }
}

/// What is needed to ask a CA when it wants the existing pair renewed.
#[derive(Clone, Copy)]
pub(crate) struct RenewalQuestion<'a> {
    /// What is known, with the existing pair.
    pub(crate) about: IssueFacts<'a>,
    /// When the pair works.
    pub(crate) life: &'a Life,
    /// The network and the time for the question.
    pub(crate) net: &'a Net,
    /// The roots that vouch for the CA's connection; `None` where only the method knows.
    pub(crate) roots: Option<&'a Roots>,
}

/// The answer to that question.
pub(crate) type AskedRenewal<'a> = Pin<Box<dyn Future<Output = Option<RenewalInfo>> + Send + 'a>>;

/// A method's result.
pub(crate) type Issue<'a> = Pin<Box<dyn Future<Output = Result<Vec<Certificate>, Failure>> + Send + 'a>>;

/// The facts known before any request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IssueFacts<'a> {
    /// The clock.
    pub(crate) env: &'a Env,
    /// The CA.
    pub(crate) ca: &'a Ca,
    /// The names.
    pub(crate) names: &'a [SubjectAltName],
    /// The requested lifetime.
    pub(crate) not_after: Option<NotAfter>,
    /// The pair that is to be replaced, if there is one that is good but for its age.
    pub(crate) existing: Option<ExistingPair<'a>>,
}

/// The input of a method.
pub(crate) struct IssueOrder<'a> {
    /// What is known.
    pub(crate) about: IssueFacts<'a>,
    /// The network and the remaining time.
    pub(crate) net: &'a Net,
    /// The owner of hooks.
    pub(crate) children: &'a Children,
    /// The roots that vouch for the CA's connection; `None` where only the method knows.
    pub(crate) roots: Option<&'a Roots>,
    /// The key that the certificate is for: see [`Method::key_use`].
    pub(crate) key: &'a PrivateKey,
    /// Where what is about to be spent is recorded first.
    pub(crate) pending: &'a mut Pending,
    /// Decides whether an issued chain may be used, if a CA offers several: the check that each has to pass afterwards.
    pub(crate) accept: &'a (dyn Fn(&[Certificate]) -> Result<(), String> + Sync),
    /// Reports progress, in one line.
    pub(crate) say: &'a (dyn Fn(&str) + Sync),
    /// Reports a problem.
    pub(crate) warn: &'a (dyn Fn(&str) + Sync),
    /// The connection to the CA, once there is one: it is reused.
    pub(crate) step_ca: Option<Arc<StepCaClient>>,
}

/// Why no certificate was issued.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The error to report.
    pub(crate) error: Error,
    /// Whether the same may be tried again.
    pub(crate) again: bool,
    /// Whether the CA may have issued one nevertheless.
    pub(crate) unsettled: bool,
    /// Whether it issued one that cannot be used: it would issue the same again.
    pub(crate) refused: bool,
}

impl From<Error> for Failure {
    /// A server that cannot be reached may be tried again; nothing was spent.
    fn from(error: Error) -> Self {
        Failure { again: error.kind() == ErrorKind::Unreachable, error, unsettled: false, refused: false }
    }
}

impl From<RequestFailure> for Failure {
    /// As for any request that spends nothing.
    fn from(failed: RequestFailure) -> Self {
        failed.error.into()
    }
}

impl IssueOrder<'_> {
    /// The configured step-ca, over a connection that its roots vouch for.
    ///
    /// # Errors
    /// Its address or its roots are not known.
    pub(crate) fn ca(&mut self) -> Result<Arc<StepCaClient>> {
        if let Some(client) = &self.step_ca {
            return Ok(Arc::clone(client));
        }
        // Nobody gets here without: an address without a fingerprint or a root is an error before.
        let roots = self.roots.ok_or_else(|| Error::usage("the CA's root is not known"))?;
        let client =
            Arc::new(StepCaClient::new(self.net, self.about.env, self.about.ca.url()?, &trust(roots))?);
        Ok(Arc::clone(self.step_ca.insert(client)))
    }
}

/// The spellings of the CA's host for the audience of a token: from its verified certificate, which it shows now.
///
/// # Errors
/// The CA does not answer.
pub(super) async fn hosts(order: &mut IssueOrder<'_>) -> Result<Vec<String>, Failure> {
    let ca = order.ca()?;
    let written = order.about.ca.written.as_deref();
    Ok(spelling::hosts(ca.names_asked().await?, written, ca.base()))
}

/// The name of the only provisioner of this kind (`JWK`, `X5C`, `ACME`).
///
/// # Errors
/// There is none, or there are several: the error lists them.
pub(crate) fn only(provisioners: &Provisioners, word: &str) -> Result<String> {
    let of_kind: Vec<&str> = provisioners
        .0
        .iter()
        .filter(|provisioner| provisioner.word() == word)
        .map(|provisioner| provisioner.name.as_str())
        .collect();
    match of_kind.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(Error::usage(format!("the CA has no {word} provisioner")).hint(hint_to_add(word))),
        several => {
            let list = several.iter().take(10).map(|name| format!("`{}`", text::escape(name)));
            Err(Error::usage(format!("the CA has several {word} provisioners, and none is chosen"))
                .hint(format!("`--provisioner NAME`, one of {}", list.collect::<Vec<_>>().join(", "))))
        }
    }
}

/// The content of a token of our own.
///
/// # Errors
/// There is no name, or no CA.
pub(super) fn minting<'a>(
    order: &'a IssueOrder<'_>,
    provisioner: &'a str,
    subject: &'a str,
    hosts: &'a [String],
) -> Result<mint::TokenRequest<'a>> {
    let about = &order.about;
    Ok(mint::TokenRequest {
        provisioner,
        subject,
        names: about.names,
        ca_url: about.ca.url()?,
        hosts,
        root: order.roots.and_then(|roots| roots.certificates.first()).map(Certificate::fingerprint),
        now: about.env.now(),
        valid_for: mint::VALID_FOR,
        csr: None,
    })
}

/// Where a token comes from.
pub(super) enum Spending<'a> {
    /// Another program made it, and there is no other.
    Once,
    /// It was made here; another one can be made. The provisioners are those that the CA listed, if it was asked.
    Minted(Option<&'a Provisioners>),
}

/// Has the CA sign for these names, and reports why it does not.
pub(super) async fn sign(
    order: &mut IssueOrder<'_>,
    method: &str,
    names: &[SubjectAltName],
    token: &str,
    spending: Spending<'_>,
) -> Result<Vec<Certificate>, Failure> {
    let ca = order.ca()?;
    let id = Fingerprint::of(token.as_bytes());
    let presented_before = order.pending.first_sent(&id);
    let provisioners = match &spending {
        Spending::Once => None,
        Spending::Minted(provisioners) => *provisioners,
    };
    let now = order.about.env.now();
    let facts = diagnosis::RefusalFacts {
        token,
        now,
        skew: ca.skew(),
        ca_url: ca.base(),
        ca_names: ca.names(),
        provisioners,
        // It may never have arrived: the request is tried again, and explained if it is refused.
        presented_before: None,
    };
    for warning in diagnosis::before(&facts)? {
        (order.warn)(&warning);
    }
    for doubt in order.about.names.iter().filter_map(SubjectAltName::doubt) {
        (order.warn)(&doubt);
    }
    let csr = order.key.csr(names, None)?;
    // A token that is made for each try is never presented again.
    let token_id = matches!(spending, Spending::Once).then_some(id);
    order.pending.save_attempt(Attempt::new(method, token_id, now))?;
    let failed = match ca.sign(&csr, token, order.about.not_after).await {
        Ok(signed) => return Ok(signed.chain),
        Err(failed) => failed,
    };
    let again = failed.error.kind() == ErrorKind::Unreachable;
    let refused = failed.refused;
    let unsettled = failed.is_unsettled() && !refused;
    let error = if failed.status == Some(401) {
        // The token is spent in any case: the CA's further answers only explain.
        let asked = match provisioners {
            None => ca.provisioners().await.ok(),
            Some(_) => None,
        };
        let provisioners = provisioners.or(asked.as_ref());
        let facts = diagnosis::RefusalFacts { skew: ca.skew(), provisioners, presented_before, ..facts };
        diagnosis::explain(failed.error, &facts)
    } else {
        failed.error
    };
    match spending {
        Spending::Once if failed.sent => Err(Failure { error, again: false, unsettled, refused }),
        Spending::Once | Spending::Minted(_) => Err(Failure { error, again, unsettled, refused }),
    }
}

/// These roots as trust for a connection.
pub(crate) fn trust(roots: &Roots) -> Trust {
    let ders = roots.certificates.iter().map(|root| root.der().to_vec().into()).collect();
    Trust::Roots { roots: ders, vouched_by: roots.described.clone() }
}
