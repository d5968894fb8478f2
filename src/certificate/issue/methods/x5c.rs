//! By a birth certificate: its key signs a token of our own, and the certificate proves our identity.

use std::path::{Path, PathBuf};

use super::row::{MethodRow, Published, TIMEOUT};
use super::{
    Failure, Issue, IssueFacts, IssueOrder, Method, PROVISIONER, Spending, minting, named_provisioner, sign,
};
use crate::certificate::FILE_LIMIT;
use crate::error::{Error, Result};
use crate::pki::cert::{Certificate, input};
use crate::pki::key::PrivateKey;
use crate::rootfs::host;
use crate::settings::Opt;
use crate::settings::secret::{SecretReader, SecretSource};
use crate::step_ca::mint::{self, Signer};
use crate::text;

pub(crate) static X5C_CERT: Opt<PathBuf> = Opt::path("x5c-cert", "FILE")
    .keys(&["enroll.x5c_cert"])
    .help("The birth certificate with its intermediates");
pub(crate) static X5C_KEY: Opt<SecretSource> = Opt::key_file("x5c-key")
    .keys(&["enroll.x5c_key"])
    .help("Its key: a file, `-` for standard input, or `fd:N`");

/// Its row in the table of methods.
pub(super) static ROW: MethodRow = MethodRow {
    word: "x5c",
    help: "With a birth certificate and its key: the token is made here",
    example: (
        "With a birth certificate, from the CA that `trustup bootstrap` was given",
        "web.internal --x5c-cert birth.crt --x5c-key birth.key \\\n      --cert /run/tls/server.crt --key /run/tls/server.key",
    ),
    options: &[
        PROVISIONER.taken_as("The provisioner's name [default: the only X5C provisioner]"),
        X5C_CERT.taken(),
        X5C_KEY.taken(),
    ],
    rows: &[&PROVISIONER, &X5C_CERT, &X5C_KEY],
    required: &["x5c_cert", "x5c_key"],
    beside_file: &[],
    published: Published::Never,
    timeout: TIMEOUT,
    build: |settings, _| {
        let (Some(cert), Some(key)) = (settings.get(&X5C_CERT), settings.get(&X5C_KEY)) else {
            return Err(Error::usage("this method needs `--x5c-cert` and `--x5c-key`")
                .hint("they are the birth certificate with its intermediates, and its key"));
        };
        Ok(Box::new(X5cMethod::new(named_provisioner(settings), cert.clone(), key.clone())))
    },
    is_complete: |settings| {
        let key = match settings.get(&X5C_KEY) {
            Some(SecretSource::File(path)) => Some(path),
            _ => None,
        };
        let mut files = settings.get(&X5C_CERT).into_iter().chain(key);
        files.try_fold(true, |all, path| Ok(all && host::stat(path)?.is_some()))
    },
};

/// A birth certificate and its key.
pub(crate) struct X5cMethod {
    /// The X5C provisioner; `None` for the only one.
    pub(crate) name: Option<String>,
    /// The certificate with its intermediates, PEM.
    pub(crate) cert: PathBuf,
    /// Its key, PEM.
    pub(crate) key: SecretReader,
}

impl Method for X5cMethod {
    fn name(&self) -> &'static str {
        "x5c"
    }

    fn identity(&self) -> String {
        self.name.clone().unwrap_or_default()
    }

    fn check(&self, about: &IssueFacts<'_>) -> Result<()> {
        about.ca.url()?;
        let (chain, key, _) = self.read()?;
        mint::check_birth_certificate(&chain, &key, about.env.now())
            .map_err(|error| error.at(self.cert.display()))
    }

    fn issue<'a>(&'a self, order: &'a mut IssueOrder<'_>) -> Issue<'a> {
        Box::pin(self.obtain(order))
    }
}

impl X5cMethod {
    /// The birth certificate in the file `cert` with the key at `key`, for the X5C provisioner `name` (`None` for the only
    /// one).
    pub(crate) fn new(name: Option<String>, cert: PathBuf, key: SecretSource) -> Self {
        X5cMethod { name, cert, key: SecretReader::new(key, "the birth certificate's key") }
    }

    async fn obtain(&self, order: &mut IssueOrder<'_>) -> Result<Vec<Certificate>, Failure> {
        let (chain, key, warning) = self.read()?;
        let provisioners = order.ca()?.provisioners().await?;
        if let Some(warning) = warning {
            (order.warn)(&warning);
        }
        let name = match &self.name {
            Some(name) => {
                provisioners.require(name, "X5C")?;
                name.clone()
            }
            None => super::only(&provisioners, "X5C")?,
        };
        let subject = order.about.names[0].to_string();
        let hosts = super::hosts(order).await?;
        let token =
            mint::mint(&minting(order, &name, &subject, &hosts)?, &Signer::X5c { key: &key, chain: &chain })?;
        let names = order.about.names;
        sign(order, Method::name(self), names, &token, Spending::Minted(Some(&provisioners))).await
    }

    /// Certificate and key, and who else can read the key.
    fn read(&self) -> Result<(Vec<Certificate>, PrivateKey, Option<String>)> {
        let chain = birth_certificate(&self.cert)?;
        let secret = self.key.read()?;
        let key = PrivateKey::from_pem(secret.bytes()).map_err(|error| error.at(self.key.source()))?;
        Ok((chain, key, secret.warning))
    }
}

/// A birth certificate with its intermediates.
///
/// # Errors
/// The file cannot be read, or contains something that is not a certificate.
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

/// Explains which option is for which file.
fn explained(error: Error, bytes: &[u8]) -> Error {
    const OPTIONS: &str = "`--x5c-cert` is the birth certificate with its intermediates, `--x5c-key` its key";
    let error = error.hint(OPTIONS);
    if input::holds_private_key(bytes) { error.hint("this file has a private key") } else { error }
}
