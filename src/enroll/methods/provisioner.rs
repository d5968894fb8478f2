//! By a provisioner's password: its key is fetched, decrypted here, and signs a token of our own.

use super::{About, Failure, Issue, Method, Order, Spending, minting, sign};
use crate::cert::Certificate;
use crate::error::Result;
use crate::secret::{Secret, Source};
use crate::step_ca::mint::{self, Signer};

/// A JWK provisioner and its password.
pub struct Provisioner {
    /// Its name; `None` for the only one.
    pub name: Option<String>,
    /// Where its password is.
    pub password: Source,
}

impl Method for Provisioner {
    fn name(&self) -> &'static str {
        "provisioner"
    }

    fn check(&self, about: &About<'_>) -> Result<()> {
        about.ca.url()?;
        // What can be read only once is read when it is needed.
        if matches!(self.password, Source::Stdin | Source::Descriptor(_)) {
            return Ok(());
        }
        Secret::read(&self.password, WHAT, about.env).map(drop)
    }

    fn issue<'a>(&'a self, order: &'a mut Order<'_>) -> Issue<'a> {
        Box::pin(self.obtain(order))
    }
}

const WHAT: &str = "the provisioner's password";

impl Provisioner {
    async fn obtain(&self, order: &mut Order<'_>) -> Result<Vec<Certificate>, Failure> {
        let ca = order.ca()?;
        let provisioners = ca.provisioners().await?;
        let name = match &self.name {
            Some(name) => name.clone(),
            None => super::only(&provisioners, "JWK")?,
        };
        let password = Secret::read(&self.password, WHAT, order.about.env)?;
        if let Some(warning) = &password.warning {
            (order.warn)(warning);
        }
        let key = mint::decrypt_key(&provisioners, &name, password.bytes())?;
        let subject = order.about.names[0].to_string();
        let signer = Signer::Jwk { key: &key.key, kid: &key.kid };
        let token = mint::mint(&minting(order, &name, &subject)?, &signer)?;
        sign(order, Method::name(self), &token, Spending::Minted(&provisioners)).await
    }
}
