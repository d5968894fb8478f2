//! By a provisioner's password: its key is fetched, decrypted here, and signs a token of our own.

use std::cell::OnceCell;

use super::{About, Failure, Issue, Method, Order, Spending, minting, sign};
use crate::cert::Certificate;
use crate::env::Env;
use crate::error::Result;
use crate::secret::{Secret, Source};
use crate::step_ca::mint::{self, Signer};

/// A JWK provisioner and its password.
pub struct Provisioner {
    name: Option<String>,
    source: Source,
    /// Read once, since a pipe gives it once.
    password: OnceCell<Secret>,
}

impl Method for Provisioner {
    fn name(&self) -> &'static str {
        "provisioner"
    }

    fn check(&self, about: &About<'_>) -> Result<()> {
        about.ca.url()?;
        // What can be read only once is read when it is needed.
        if matches!(self.source, Source::Stdin | Source::Descriptor(_)) {
            return Ok(());
        }
        self.read(about.env).map(drop)
    }

    fn issue<'a>(&'a self, order: &'a mut Order<'_>) -> Issue<'a> {
        Box::pin(self.obtain(order))
    }
}

const WHAT: &str = "the provisioner's password";

impl Provisioner {
    /// The provisioner of this name (`None` for the only one), whose password is at `source`.
    pub fn new(name: Option<String>, source: Source) -> Self {
        Provisioner { name, source, password: OnceCell::new() }
    }

    fn read(&self, env: &Env) -> Result<&Secret> {
        if let Some(password) = self.password.get() {
            return Ok(password);
        }
        let password = Secret::read(&self.source, WHAT, env)?;
        Ok(self.password.get_or_init(|| password))
    }

    async fn obtain(&self, order: &mut Order<'_>) -> Result<Vec<Certificate>, Failure> {
        let ca = order.ca()?;
        let provisioners = ca.provisioners().await?;
        let name = match &self.name {
            Some(name) => name.clone(),
            None => super::only(&provisioners, "JWK")?,
        };
        let password = self.read(order.about.env)?;
        if let Some(warning) = &password.warning {
            (order.warn)(warning);
        }
        let key = mint::decrypt_key(&provisioners, &name, password.bytes())?;
        let subject = order.about.names[0].to_string();
        let signer = Signer::Jwk { key: &key.key, kid: &key.kid };
        let token = mint::mint(&minting(order, &name, &subject)?, &signer)?;
        let names = order.about.names;
        sign(order, Method::name(self), names, &token, Spending::Minted(&provisioners)).await
    }
}
