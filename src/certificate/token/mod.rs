//! One-time tokens, made on the host for a container: from settings to the request, and the token itself.

mod means;
pub(crate) mod options;
mod output;

use std::path::Path;
use std::time::{Duration, Instant};

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;
use zeroize::Zeroizing;

use self::means::{Means, With};
use self::options::{CNF_CSR, OUT, SAN, SUBJECT, VALID_FOR};
use self::output::TokenFile;
use crate::certificate::check::Roots;
use crate::certificate::issue::methods::{self, named_provisioner};
use crate::certificate::issue::trust::{self, Ca, Given, Recorded};
use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::net::retry::{Backoff, Retry};
use crate::net::url::origin;
use crate::net::{Net, NetContext, dns};
use crate::pki::cert::signature::{self, SignatureVerdict};
use crate::pki::cert::{SubjectAltName, pem};
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::host;
use crate::rootfs::output::OutputTarget;
use crate::settings::Settings;
use crate::settings::rows::CACHE;
use crate::settings::secret::Secret;
use crate::step_ca::mint::{self, ProvisionerKey, Signer};
use crate::step_ca::{StepCaClient, diagnosis, spelling};
use url::Url;

/// The largest certificate signing request, in bytes.
const LIMIT: u64 = 256 * 1024;

/// A requested token, with all that was read for it.
pub(crate) struct TokenInput {
    /// The first name.
    pub(crate) subject: String,
    names: Vec<SubjectAltName>,
    /// The named provisioner.
    pub(crate) provisioner: Option<String>,
    means: Means,
    csr: Option<Vec<u8>>,
    valid_for: Duration,
    /// The file to write; standard output, if none.
    pub(crate) out: Option<TokenFile>,
    ca: Ca,
    url: Url,
}

/// A finished token.
pub(crate) struct MintedToken {
    /// The token itself.
    pub(crate) token: Zeroizing<String>,
    /// Its provisioner.
    pub(crate) provisioner: String,
    /// The root that it names.
    pub(crate) root: Option<Fingerprint>,
    /// Until when it works, in seconds since 1970.
    pub(crate) expires: i64,
}

impl TokenInput {
    /// The request in these settings; secrets are read, and no server is asked. `ca` holds their values for the CA,
    /// `recorded` what bootstrap left.
    ///
    /// # Errors
    /// Something is missing, or contradictory.
    pub(crate) fn from_settings(
        settings: &Settings,
        env: &Env,
        ca: &Given,
        recorded: impl FnOnce() -> Result<Recorded>,
        note: &dyn Fn(&str),
        warn: &dyn Fn(&str),
    ) -> Result<TokenInput> {
        let provisioner = named_provisioner(settings);
        if provisioner.is_none() && !Means::asks_the_ca(settings) {
            return Err(Error::usage("the provisioner of the token is not named")
                .hint("add `--provisioner NAME`; on the CA's host `step ca provisioner list` shows them"));
        }
        let subject = settings.get(&SUBJECT).ok_or_else(|| Error::usage("the token has no subject"))?;
        let names = settings.all(&SAN);
        for doubt in names.iter().chain([subject]).filter_map(SubjectAltName::doubt) {
            warn(&doubt);
        }
        let csr = settings.get(&CNF_CSR).map(|path| request(path)).transpose()?;
        let out = settings.get(&OUT).map(|path| output::OUT.parse(path)).transpose()?;
        let out = match out {
            Some(OutputTarget::File(path)) => Some(TokenFile::open(path)?),
            Some(OutputTarget::Standard) | None => None,
        };
        let ca = trust::resolve(ca, &recorded()?, None)?;
        for root in &ca.recorded {
            note(&format!("using the CA's root that `trustup bootstrap` recorded: {root}"));
        }
        let url = ca.url()?.clone();
        let means = Means::from_settings(settings, env, warn)?;
        Ok(TokenInput {
            subject: subject.to_string(),
            names: names.to_vec(),
            provisioner,
            means,
            csr,
            valid_for: settings.get(&VALID_FOR).copied().unwrap_or(mint::VALID_FOR),
            out,
            ca,
            url,
        })
    }

    /// The root that the token names, if it is known before the CA is asked.
    pub(crate) fn root(&self) -> Option<Fingerprint> {
        root_of(&self.ca)
    }

    /// Whether the CA is asked for the provisioner's key.
    pub(crate) fn asks_the_ca(&self) -> bool {
        matches!(self.means, Means::AtTheCa(_))
    }

    /// The CA's address.
    pub(crate) fn ca_url(&self) -> &Url {
        &self.url
    }

    /// Makes the token; with a provisioner's password, its key is requested from the CA.
    ///
    /// # Errors
    /// The CA cannot be asked, or has no such provisioner; the password is wrong.
    pub(crate) async fn make(
        &self,
        settings: &Settings,
        network: &NetContext<'_>,
        warn: &(dyn Fn(&str) + Sync),
    ) -> Result<MintedToken> {
        let fetched;
        let mut names = Vec::new();
        let (ca, provisioner, with) = match &self.means {
            Means::AtTheCa(password) => {
                let named = self.provisioner.as_deref();
                let (roots, name, key, own) =
                    fetch(settings, network, &self.ca, named, password, warn).await?;
                names = own;
                fetched = (Ca { roots: Some(roots), ..self.ca.clone() }, With::Key(key));
                (&fetched.0, name, &fetched.1)
            }
            Means::Here(with) => (&self.ca, self.provisioner.clone().unwrap_or_default(), with),
        };
        let root = root_of(ca);
        if root.is_none() {
            warn(
                "the token does not name the CA's root, since there are several: the container needs `--fingerprint`",
            );
        }
        let now = network.env.now();
        let hosts = spelling::hosts(&names, self.ca.written.as_deref(), &self.url);
        let request = mint::TokenRequest {
            provisioner: &provisioner,
            subject: &self.subject,
            names: &self.names,
            ca_url: &self.url,
            hosts: &hosts,
            root,
            now,
            valid_for: self.valid_for,
            csr: self.csr.as_deref(),
        };
        let signer = match with {
            With::Key(key) => Signer::Jwk { key: &key.key, kid: &key.kid },
            With::Birth(chain, key) => Signer::X5c { key, chain },
        };
        let token = mint::mint(&request, &signer)?;
        let expires = now.saturating_add(i64::try_from(self.valid_for.as_secs()).unwrap_or(i64::MAX));
        Ok(MintedToken { token, provisioner, root, expires })
    }
}

/// The CA's roots, and from the CA the provisioner's name and key (of the named one, else of the only one), and the CA's
/// own names for its host.
async fn fetch(
    settings: &Settings,
    network: &NetContext<'_>,
    ca: &Ca,
    named: Option<&str>,
    password: &Secret,
    warn: &(dyn Fn(&str) + Sync),
) -> Result<(Roots, String, ProvisionerKey, Vec<String>)> {
    let url = ca.url()?;
    let roots = match &ca.roots {
        Some(roots) => roots.clone(),
        None => {
            let (timeout, wait) = (settings.timeout(), settings.wait());
            let cache = settings.get(&CACHE).map(|path| path.as_path());
            trust::fetch(url, &ca.pins, trust::Fetching { network, timeout, wait, cache, warn }).await?
        }
    };
    let names = dns::ResolverFiles::of_root(Path::new("/"), &mut |line| warn(&line));
    let timeout = settings.timeout();
    let net = Net::new(network.clone(), names, timeout)?.within(timeout, settings.wait());
    let client = StepCaClient::new(&net, network.env, url, &methods::trust(&roots))?;
    let last_start = Instant::now() + settings.wait().unwrap_or_default();
    let retry = Retry::until(last_start, Backoff::STARTING);
    let mut retry = retry.saying(&network.note, origin(url), last_start);
    let asking = retry.run(async || client.provisioners().await.map_err(|failed| failed.error));
    let provisioners = network.shutdown.or(asking).await??;
    // The token's times are ours.
    if let Some(warning) = client.skew().and_then(diagnosis::clock_warning) {
        warn(&format!("the CA may refuse the token: {warning}"));
    }
    let name = match named {
        Some(name) => name.to_owned(),
        None => methods::only(&provisioners, "JWK")?,
    };
    let key = mint::decrypt_key(&provisioners, &name, password.password()?)?;
    Ok((roots, name, key, client.names().to_vec()))
}

/// The root that the token names: the pinned one, else the only known one.
fn root_of(ca: &Ca) -> Option<Fingerprint> {
    let known = ca.roots.as_ref().map(|roots| roots.certificates.as_slice()).unwrap_or_default();
    match (ca.pins.as_slice(), known) {
        ([pin, ..], _) => Some(*pin),
        ([], [root]) => Some(root.fingerprint()),
        _ => None,
    }
}

/// The DER of a certificate signing request, PEM or DER; its own signature is checked.
fn request(path: &Path) -> Result<Vec<u8>> {
    let bytes = host::read_file(path, LIMIT)?;
    let labels = ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"];
    let block = pem::blocks(&bytes).into_iter().find(|block| labels.contains(&block.label.as_str()));
    let der = match block {
        Some(block) => block.der.unwrap_or_default(),
        None => bytes,
    };
    let is_good = matches!(
        X509CertificationRequest::from_der(&der),
        Ok((&[], request))
            if signature::verify(&der, request.certification_request_info.subject_pki.raw)
                == SignatureVerdict::Valid
    );
    if is_good {
        return Ok(der);
    }
    Err(Error::usage("not a certificate signing request, or damaged")
        .at(path.display())
        .hint("`openssl req -in FILE -verify -noout` says more"))
}
