//! By a birth certificate: its key signs a token of our own, and the certificate says who we are.

use std::path::{Path, PathBuf};

use super::{About, Failure, Issue, Method, Order, Spending, minting, sign};
use crate::cert::{Certificate, input};
use crate::error::{Error, Result};
use crate::key::PrivateKey;
use crate::pair::FILE_LIMIT;
use crate::rootfs::host;
use crate::secret::{Secret, Source};
use crate::step_ca::mint::{self, Signer};
use crate::text;

/// A birth certificate and its key.
pub struct X5c {
    /// The X5C provisioner; `None` for the only one.
    pub name: Option<String>,
    /// The certificate with its intermediates, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

impl Method for X5c {
    fn name(&self) -> &'static str {
        "x5c"
    }

    fn check(&self, about: &About<'_>) -> Result<()> {
        about.ca.url()?;
        let (chain, key, _) = self.read()?;
        mint::check_birth_certificate(&chain, &key, about.env.now())
            .map_err(|error| error.at(self.cert.display()))
    }

    fn issue<'a>(&'a self, order: &'a mut Order<'_>) -> Issue<'a> {
        Box::pin(self.obtain(order))
    }
}

impl X5c {
    async fn obtain(&self, order: &mut Order<'_>) -> Result<Vec<Certificate>, Failure> {
        let (chain, key, warning) = self.read()?;
        let provisioners = order.ca()?.provisioners().await?;
        if let Some(warning) = &warning {
            (order.warn)(warning);
        }
        let name = match &self.name {
            Some(name) => {
                provisioners.require(name, "X5C")?;
                name.clone()
            }
            None => super::only(&provisioners, "X5C")?,
        };
        let subject = order.about.names[0].to_string();
        let token = mint::mint(&minting(order, &name, &subject)?, &Signer::X5c { key: &key, chain: &chain })?;
        let names = order.about.names;
        sign(order, Method::name(self), names, &token, Spending::Minted(Some(&provisioners))).await
    }

    /// Certificate and key, and who else can read the key.
    fn read(&self) -> Result<(Vec<Certificate>, PrivateKey, Option<String>)> {
        let chain = birth_certificate(&self.cert)?;
        let secret = Secret::read(&Source::File(self.key.clone()), "the birth certificate's key")?;
        let key = PrivateKey::from_pem(secret.bytes()).map_err(|error| error.at(self.key.display()))?;
        Ok((chain, key, secret.warning))
    }
}

/// A birth certificate with its intermediates.
///
/// # Errors
/// The file cannot be read, or there is something in it that is not a certificate.
pub(crate) fn birth_certificate(path: &Path) -> Result<Vec<Certificate>> {
    let bytes = host::read_file(path, FILE_LIMIT)
        .map_err(|error| error.hint("`--x5c-cert` is the file of the birth certificate"))?;
    let shown = path.display().to_string();
    let file = input::read(&bytes, &shown).map_err(|error| explained(error, &bytes))?;
    match file.problems.first() {
        Some(problem) => {
            let error = Error::usage("the birth certificate cannot be used").at(text::escape(&shown));
            Err(explained(error.because(anyhow::anyhow!("{}", problem.what)), &bytes))
        }
        None => Ok(file.certificates),
    }
}

/// Says which option is for which file.
fn explained(error: Error, bytes: &[u8]) -> Error {
    const OPTIONS: &str = "`--x5c-cert` is the birth certificate with its intermediates, `--x5c-key` its key";
    let error = error.hint(OPTIONS);
    if input::holds_private_key(bytes) { error.hint("this file has a private key") } else { error }
}
