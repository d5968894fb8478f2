//! The ways to a certificate. One file each; what they share is the order that they get and the failure that they
//! answer with.

use std::fmt::Debug;
use std::pin::Pin;

use crate::cert::{Certificate, SubjectAltName};
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::key::PrivateKey;
use crate::net::{Net, Trust};
use crate::pair::check::Roots;
use crate::pair::pending::Pending;

use super::trust::{Ca, FromToken};
use super::validity::NotAfter;

/// One way to a certificate.
pub trait Method: Debug {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// What its one-time token says of the CA, if it has one. Reads the token.
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

    /// Whether the issued chain has to end at the roots that vouch for the connection, if nobody says otherwise.
    fn issues_under_the_roots_of_its_connection(&self) -> bool {
        true
    }

    /// Whom it asks, for people; `ca` is the one that is configured.
    fn asks(&self, ca: &Ca) -> Option<String> {
        ca.url.as_ref().map(crate::net::url::masked)
    }

    /// Checks what can be checked before anything is asked, changed or spent.
    ///
    /// # Errors
    /// What is missing or cannot work.
    fn check(&self, about: &About<'_>) -> Result<()>;

    /// Gets the certificate: the chain, leaf first. One try.
    fn issue<'a>(&'a self, order: &'a mut Order<'_>) -> Issue<'a>;
}

/// What a method answers with.
pub type Issue<'a> = Pin<Box<dyn Future<Output = Result<Vec<Certificate>, Failure>> + 'a>>;

/// What is known before anything is asked.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The clock.
    pub env: &'a Env,
    /// The CA.
    pub ca: &'a Ca,
    /// The names.
    pub names: &'a [SubjectAltName],
    /// How long it is to live.
    pub not_after: Option<NotAfter>,
}

/// What a method works on.
pub struct Order<'a> {
    /// What is known.
    pub about: About<'a>,
    /// The network and the time that is left.
    pub net: &'a Net,
    /// The roots that vouch for the CA's connection; `None` where only the method knows.
    pub roots: Option<&'a Roots>,
    /// The new key.
    pub key: &'a PrivateKey,
    /// Where what is spent is written down before.
    pub pending: &'a mut Pending,
    /// Says what goes on, in one line.
    pub say: &'a dyn Fn(&str),
    /// Says what is not as it should be.
    pub warn: &'a dyn Fn(&str),
}

/// Why there is no certificate.
#[derive(Debug)]
pub struct Failure {
    /// What to tell.
    pub error: Error,
    /// Whether the same may be tried again.
    pub again: bool,
    /// Whether the CA may have issued one all the same.
    pub unsettled: bool,
}

impl From<Error> for Failure {
    /// A server that cannot be reached may be tried again; nothing was spent.
    fn from(error: Error) -> Self {
        Failure { again: error.kind() == Kind::Unreachable, error, unsettled: false }
    }
}

impl Order<'_> {
    /// Whom the connection to the CA believes.
    ///
    /// # Errors
    /// The roots are not known.
    pub fn trust(&self) -> Result<Trust> {
        let roots = self.roots.ok_or_else(|| {
            Error::usage("nothing says which root the CA has").hint(
                "give `--fingerprint HEX` or `--ca-root FILE`, or run `trustup bootstrap --ca-url URL --fingerprint HEX` first",
            )
        })?;
        Ok(trust(roots))
    }
}

/// These roots as those that vouch for a connection.
pub fn trust(roots: &Roots) -> Trust {
    let ders = roots.certificates.iter().map(|root| root.der().to_vec().into()).collect();
    Trust::Roots { roots: ders, vouched_by: roots.described.clone() }
}
