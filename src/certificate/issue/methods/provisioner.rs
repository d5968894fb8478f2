//! By a provisioner's key, which signs a token of our own: either the CA's copy of it, decrypted here with the
//! provisioner's password, or a file.

use std::sync::{Arc, Mutex, PoisonError};

use super::row::{MethodRow, Published, TIMEOUT};
use super::{
    Failure, Issue, IssueFacts, IssueOrder, Method, PROVISIONER, Spending, minting, named_provisioner, sign,
};
use crate::error::{Error, Result};
use crate::pki::cert::Certificate;
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::host;
use crate::settings::Opt;
use crate::settings::secret::{Secret, SecretReader, SecretSource};
use crate::step_ca::mint::{self, ProvisionerKey, Signer};

use zeroize::Zeroizing;

pub(crate) static PASSWORD_FILE: Opt<SecretSource> = Opt::secret("password-file")
    .keys(&["enroll.password"])
    .help("Its password: a file, `-` for standard input, or `fd:N`");
pub(crate) static PROVISIONER_KEY: Opt<SecretSource> = Opt::key_file("provisioner-key")
    .keys(&["enroll.provisioner_key"])
    .help("Its key: a private JWK, encrypted or not, or PEM, in a file, `-` or `fd:N`; then the CA is not asked for it");

/// Its row in the table of methods.
pub(super) static ROW: MethodRow = MethodRow {
    word: "provisioner",
    help: "With a provisioner's password or key: the token is made here",
    example: (
        "With a provisioner's password, from the CA that `trustup bootstrap` was given",
        "web.internal --provisioner dev --password-file /run/secrets/password \\\n      --cert /run/tls/server.crt --key /run/tls/server.key --owner nginx",
    ),
    options: &[
        PROVISIONER.taken_as("The provisioner's name [default: the only JWK provisioner]"),
        PASSWORD_FILE.taken(),
        PROVISIONER_KEY.taken(),
    ],
    rows: &[&PROVISIONER, &PASSWORD_FILE, &PROVISIONER_KEY],
    required: &[],
    beside_file: &[],
    published: Published::Never,
    timeout: TIMEOUT,
    build: |settings, _| {
        let (password, key) = (settings.get(&PASSWORD_FILE), settings.get(&PROVISIONER_KEY));
        if password.is_none() && key.is_none() {
            return Err(Error::usage("this method needs `--password-file` or `--provisioner-key`").hint(
                "`--password-file FILE` holds the provisioner's password, `--provisioner-key FILE` its key; in trustup.toml they are `password` and `provisioner_key`",
            ));
        }
        Ok(Box::new(ProvisionerMethod::new(named_provisioner(settings), password.cloned(), key.cloned())))
    },
    is_complete: |settings| match settings.get(&PROVISIONER_KEY) {
        Some(SecretSource::File(path)) => Ok(host::stat(path)?.is_some()),
        _ => Ok(true),
    },
};

/// A JWK provisioner, and how to get its key.
pub(crate) struct ProvisionerMethod {
    name: Option<String>,
    /// Where its password is.
    password: Option<SecretReader>,
    /// Where its key is; otherwise it is requested from the CA.
    key: Option<SecretReader>,
    /// The key that was decrypted last, with the hash of what it was made of: that is costly.
    decrypted: Mutex<Option<(Fingerprint, Arc<ProvisionerKey>)>>,
}

/// The provisioner's key, and who else can read it.
struct ReadKey {
    key: Arc<ProvisionerKey>,
    warnings: Vec<String>,
}

impl Method for ProvisionerMethod {
    fn name(&self) -> &'static str {
        "provisioner"
    }

    fn identity(&self) -> String {
        self.name.clone().unwrap_or_default()
    }

    fn check(&self, about: &IssueFacts<'_>) -> Result<()> {
        about.ca.url()?;
        if self.key.is_some() && self.name.is_none() {
            return Err(Error::usage("the provisioner's key is given, but not its name").hint(
                "name it with `--provisioner NAME` (`provisioner` in trustup.toml); `step ca provisioner list` on the CA's host shows it",
            ));
        }
        let source = |reader: &'_ Option<SecretReader>| reader.as_ref().map(|reader| reader.source().clone());
        let (key, password) = (source(&self.key), source(&self.password));
        let has_stream = [&key, &password].into_iter().flatten().any(SecretSource::is_stream);
        if key.as_ref().is_some_and(SecretSource::is_stream) && key == password {
            return Err(Error::usage(
                "the provisioner's key and its password cannot come from the same stream",
            )
            .hint("give one of them as a file, or by a descriptor of its own (`fd:3`)"));
        }
        // What can be read only once is read when it is needed.
        match self.key {
            _ if has_stream => Ok(()),
            Some(_) => self.key_of_file().map(drop),
            None => self.password().map(drop),
        }
    }

    fn issue<'a>(&'a self, order: &'a mut IssueOrder<'_>) -> Issue<'a> {
        Box::pin(self.obtain(order))
    }
}

impl ProvisionerMethod {
    /// The provisioner of this name (`None` for the only one). Its key is the one at `key`, which may be encrypted with
    /// the password at `password`; otherwise it is requested from the CA, and the password is needed.
    pub(crate) fn new(
        name: Option<String>,
        password: Option<SecretSource>,
        key: Option<SecretSource>,
    ) -> Self {
        let password = password.map(|source| SecretReader::new(source, "the provisioner's password"));
        let key = key.map(|source| SecretReader::new(source, "the provisioner's key"));
        ProvisionerMethod { name, password, key, decrypted: Mutex::default() }
    }

    fn password(&self) -> Result<Secret> {
        let reader = self.password.as_ref().ok_or_else(|| {
            let what = match self.key {
                Some(_) => "the provisioner's key is encrypted, and there is no password",
                None => "there is no password of the provisioner",
            };
            Error::usage(what).hint("add `--password-file FILE` (`password_file` in trustup.toml)")
        })?;
        reader.read()
    }

    /// The key in the file, with a warning if others can read it.
    fn key_of_file(&self) -> Result<Option<ReadKey>> {
        let Some(reader) = &self.key else { return Ok(None) };
        let secret = reader.read()?;
        let mut password = None;
        let mut warnings: Vec<String> = secret.warning.iter().cloned().collect();
        // The hash of the key and, if there is one, of its password: another password is tried, too.
        let mut made_of = secret.bytes().to_vec();
        if mint::is_encrypted(secret.bytes()) {
            let read = self.password()?;
            made_of.extend_from_slice(read.password()?);
            warnings.extend(read.warning.clone());
            password = Some(Zeroizing::new(read.password()?.to_vec()));
        }
        let id = Fingerprint::of(&Zeroizing::new(made_of));
        let mut decrypted = self.decrypted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, key)) = &*decrypted
            && *of == id
        {
            return Ok(Some(ReadKey { key: Arc::clone(key), warnings }));
        }
        let key = mint::read_key(secret.bytes(), || Ok(password.unwrap_or_default()));
        let key = Arc::new(key.map_err(|error| match error.place() {
            None => error.at(reader.source()),
            Some(_) => error,
        })?);
        *decrypted = Some((id, Arc::clone(&key)));
        Ok(Some(ReadKey { key, warnings }))
    }

    async fn obtain(&self, order: &mut IssueOrder<'_>) -> Result<Vec<Certificate>, Failure> {
        let key_of_file = self.key_of_file()?;
        let key_of_ca;
        let (name, key, provisioners) = match (&key_of_file, &self.name) {
            (Some(read), Some(name)) => {
                read.warnings.iter().for_each(|warning| (order.warn)(warning));
                (name.clone(), &*read.key, None)
            }
            _ => {
                let ca = order.ca()?;
                let provisioners = ca.provisioners().await?;
                let name = match &self.name {
                    Some(name) => name.clone(),
                    None => super::only(&provisioners, "JWK")?,
                };
                let password = self.password()?;
                password.warning.iter().for_each(|warning| (order.warn)(warning));
                key_of_ca = mint::decrypt_key(&provisioners, &name, password.password()?)?;
                (name, &key_of_ca, Some(provisioners))
            }
        };
        let subject = order.about.names[0].to_string();
        let signer = Signer::Jwk { key: &key.key, kid: &key.kid };
        let hosts = super::hosts(order).await?;
        let token = mint::mint(&minting(order, &name, &subject, &hosts)?, &signer)?;
        let names = order.about.names;
        sign(order, Method::name(self), names, &token, Spending::Minted(provisioners.as_ref())).await
    }
}
