//! The key that signs a token.

use zeroize::Zeroizing;

use crate::certificate::issue::methods::provisioner::{PASSWORD_FILE, PROVISIONER_KEY};
use crate::certificate::issue::methods::x5c::{self, X5C_CERT, X5C_KEY};
use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::pki::cert::Certificate;
use crate::pki::key::PrivateKey;
use crate::settings::Settings;
use crate::settings::secret::{Secret, SecretSource};
use crate::step_ca::mint::{self, ProvisionerKey};

/// How to sign the token.
pub(super) enum Means {
    /// The provisioner's key, which the CA stores under this password.
    AtTheCa(Secret),
    /// The given key.
    Here(With),
}

/// The key that signs the token.
pub(super) enum With {
    /// The provisioner's key.
    Key(ProvisionerKey),
    /// A birth certificate and its key.
    Birth(Vec<Certificate>, PrivateKey),
}

impl Means {
    /// Whether the CA is asked for the provisioner's key, and so lists its provisioners.
    pub(super) fn asks_the_ca(settings: &Settings) -> bool {
        let signs_here = settings.has(&X5C_CERT) || settings.has(&X5C_KEY) || settings.has(&PROVISIONER_KEY);
        settings.has(&PASSWORD_FILE) && !signs_here
    }

    /// The key for the token; read before any server is asked.
    pub(super) fn from_settings(settings: &Settings, env: &Env, warn: &dyn Fn(&str)) -> Result<Means> {
        let read = |source: &SecretSource, what: &str| {
            let secret = Secret::read(source, what)?;
            if let Some(warning) = &secret.warning {
                warn(warning);
            }
            Ok::<_, Error>(secret)
        };
        let password = || match settings.get(&PASSWORD_FILE) {
            Some(path) => read(path, "the password"),
            None => Err(Error::usage("the provisioner's key is encrypted, and there is no password")
                .hint("add `--password-file FILE`")),
        };
        let (cert, key) = (settings.get(&X5C_CERT), settings.get(&X5C_KEY));
        match (cert, key, settings.get(&PROVISIONER_KEY), settings.get(&PASSWORD_FILE)) {
            (Some(cert), Some(key), None, None) => {
                let chain = x5c::birth_certificate(cert)?;
                let key = PrivateKey::from_pem(read(key, "the birth certificate's key")?.bytes())
                    .map_err(|error| error.at(key))?;
                mint::check_birth_certificate(&chain, &key, env.now())?;
                Ok(Means::Here(With::Birth(chain, key)))
            }
            (None, None, Some(path), _) => {
                let secret = read(path, "the provisioner's key")?;
                let bytes = || Ok(Zeroizing::new(password()?.password()?.to_vec()));
                let key = mint::read_key(secret.bytes(), bytes).map_err(|error| match error.place() {
                    None => error.at(path),
                    Some(_) => error,
                });
                Ok(Means::Here(With::Key(key?)))
            }
            (None, None, None, Some(_)) => password().map(Means::AtTheCa),
            (None, None, None, None) => Err(Error::usage("there is nothing to sign the token with").hint(
                "give `--password-file FILE`, `--provisioner-key FILE`, or `--x5c-cert FILE --x5c-key FILE`",
            )),
            (Some(_), None, ..) | (None, Some(_), ..) => {
                Err(Error::usage("a birth certificate and its key go together")
                    .hint("give both `--x5c-cert FILE` and `--x5c-key FILE`"))
            }
            _ => Err(Error::usage("a token is signed with one key")
                .hint("give either a birth certificate, or the provisioner's password or key")),
        }
    }
}
