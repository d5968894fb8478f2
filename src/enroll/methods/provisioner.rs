//! By a provisioner's password: its key is fetched, decrypted here, and signs a token of our own.

use std::cell::OnceCell;

use super::table::{MethodRow, Published, TIMEOUT};
use super::{About, Failure, Issue, Method, Order, PROVISIONER, Spending, minting, named_provisioner, sign};
use crate::cert::Certificate;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::secret::{Secret, Source};
use crate::settings::Opt;
use crate::step_ca::mint::{self, Signer};

pub(crate) static PASSWORD_FILE: Opt<Source> = Opt::secret("password-file")
    .keys(&["enroll.password"])
    .help("Its password: a file, `-` for standard input, or `fd:N`");

pub(crate) static PROVISIONER_KEY: Opt<Source> = Opt::secret("provisioner-key")
    .help("Its key: a private JWK, encrypted or not, or PEM; then the CA is not asked");

/// Its row in the table of methods.
pub(super) static ROW: MethodRow = MethodRow {
    word: "provisioner",
    help: "With a provisioner's password: the token is made here",
    example: (
        "With a provisioner's password, from the CA that `trustup bootstrap` was given",
        "web.internal --provisioner dev --password-file /run/secrets/password \\\n      --cert /run/tls/server.crt --key /run/tls/server.key --owner nginx",
    ),
    options: &[
        PROVISIONER.taken_as("The provisioner's name [default: the only JWK provisioner]"),
        PASSWORD_FILE.taken(),
    ],
    rows: &[&PROVISIONER, &PASSWORD_FILE],
    required: &["password"],
    beside_file: &[],
    published: Published::Never,
    timeout: TIMEOUT,
    build: |settings, _| {
        let Some(password) = settings.get(&PASSWORD_FILE) else {
            return Err(Error::usage("this method needs `--password-file`")
                .hint("`--password-file FILE` holds the provisioner's password; `-` is standard input"));
        };
        Ok(Box::new(Provisioner::new(named_provisioner(settings), password.clone())))
    },
    is_complete: |_| Ok(true),
};

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
