//! From an ACME server: the named directory, or that of an ACME provisioner of the configured CA.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use url::Url;
use zeroize::Zeroizing;

use super::acme_server::{believed, directory_of, look_up};
use super::{AskedRenewal, Failure, Issue, IssueFacts, IssueOrder, Method, RenewalInfo, RenewalQuestion};
use crate::acme::{self, AccountStore, ChallengeType, DnsSolver, Eab, KeptOrder, Rfc2136};
use crate::certificate::FILE_LIMIT;
use crate::certificate::issue::trust::Ca;
use crate::certificate::pending::{Attempt, ORDER_FORMAT, Pending};
use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::host::privilege;
use crate::pki::cert::Certificate;
use crate::pki::cert::SubjectAltName;
use crate::pki::fingerprint::Fingerprint;
use crate::pki::key::KeyType;
use crate::rootfs::directory::Attributes;
use crate::rootfs::file_set::{try_write_file, write_file};
use crate::rootfs::{FileKind, Meta, Sysroot, host, split};
use crate::settings::secret::{SecretReader, SecretSource};
use crate::versioned::Unreadable;

const EAB_KEY: &str = "the external account's key";
const TSIG_KEY: &str = "the TSIG key";

/// The method's name.
pub(super) const NAME: &str = "acme";

pub(super) use super::acme_options::ROW;

/// The writer of dns-01's records.
#[derive(Clone, Debug)]
pub(crate) enum DnsMethod {
    /// A program with its first arguments.
    Hook(Vec<String>),
    /// A name server that takes updates.
    Rfc2136 {
        /// Host or address, with or without a port.
        server: String,
        /// The zone; found if not given.
        zone: Option<String>,
        /// Name of the TSIG key.
        key_name: String,
        /// The key in base64.
        secret: SecretSource,
    },
}

/// The user's settings for the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct AcmeOptions {
    /// The directory; `None` for that of an ACME provisioner of the CA.
    pub(crate) directory: Option<Url>,
    /// The ACME provisioner; `None` for the only one.
    pub(crate) provisioner: Option<String>,
    /// The challenge; `None` for one that fits.
    pub(crate) challenge: Option<ChallengeType>,
    /// Where http-01 listens.
    pub(crate) http_listen: Option<SocketAddr>,
    /// Where tls-alpn-01 listens.
    pub(crate) tls_listen: Option<SocketAddr>,
    /// A running web server's directory.
    pub(crate) webroot: Option<PathBuf>,
    /// The writer of dns-01's records.
    pub(crate) dns: Option<DnsMethod>,
    /// The external account: identifier and MAC key in base64url.
    pub(crate) eab: Option<(String, SecretSource)>,
    /// The file of the account's key; `None` for beside the pair's key.
    pub(crate) account_key: Option<PathBuf>,
    /// For a new account.
    pub(crate) contact: Vec<String>,
    /// The server's terms of service are agreed to.
    pub(crate) agree_tos: bool,
    /// One of the server's profiles.
    pub(crate) profile: Option<String>,
    /// The common name of the root that the chain should lead to.
    pub(crate) preferred_chain: Option<String>,
    /// The kind of the key of a new account; `None` for the usual one.
    pub(crate) account_key_type: Option<KeyType>,
}

/// An ACME server.
#[derive(Debug)]
pub(crate) struct AcmeMethod {
    options: AcmeOptions,
    /// The external account's key.
    eab_key: Option<SecretReader>,
    /// The key of the name server.
    tsig_key: Option<SecretReader>,
    /// What was warned of: a server that is not up yet is asked again.
    warned: Mutex<BTreeSet<String>>,
}

impl Method for AcmeMethod {
    fn name(&self) -> &'static str {
        NAME
    }

    fn identity(&self) -> String {
        let AcmeOptions { provisioner, profile, preferred_chain, .. } = &self.options;
        let parts = [provisioner, profile, preferred_chain].map(|part| part.as_deref().unwrap_or_default());
        parts.join("\n")
    }

    fn chain_must_match_tls_roots(&self) -> bool {
        // A private CA is identified by its root; a server given by its directory may be any web server.
        self.options.directory.is_none()
    }

    fn asks(&self, ca: &Ca) -> Option<Url> {
        self.options.directory.clone().or_else(|| ca.url.clone()).map(|mut url| {
            url.set_path("/");
            url.set_query(None);
            url
        })
    }

    fn check(&self, about: &IssueFacts<'_>) -> Result<()> {
        let directory = match &self.options.directory {
            Some(directory) => directory,
            None => {
                about.ca.url().map_err(|error| error.hint("or name the server with `--directory URL`"))?
            }
        };
        self.settings(directory, about)?.0.check(about.names)
    }

    fn check_names(&self, names: &[SubjectAltName]) -> Result<()> {
        let options = &self.options;
        let setup = acme::ChallengeSetup {
            challenge: options.challenge,
            writes_dns: options.dns.is_some(),
            webroot: options.webroot.as_deref(),
            http_listen: options.http_listen,
            tls_listen: options.tls_listen,
        };
        setup.check(names)
    }

    fn issue<'a>(&'a self, order: &'a mut IssueOrder<'_>) -> Issue<'a> {
        Box::pin(self.obtain(order))
    }

    fn directories(&self) -> Vec<PathBuf> {
        let of_account = self.options.account_key.as_deref().and_then(Path::parent).map(Path::to_owned);
        self.options.webroot.iter().cloned().chain(of_account).collect()
    }

    fn has_renewal_info(&self) -> bool {
        self.options.directory.is_some() || self.options.provisioner.is_some()
    }

    fn renewal_info<'a>(&'a self, question: &'a RenewalQuestion<'_>) -> AskedRenewal<'a> {
        Box::pin(self.ask_renewal(question))
    }
}

impl AcmeMethod {
    /// With these options; secrets are read when they are needed.
    pub(crate) fn new(options: AcmeOptions) -> Self {
        let eab_key = options.eab.as_ref().map(|(_, key)| key.clone());
        let tsig_key = match &options.dns {
            Some(DnsMethod::Rfc2136 { secret, .. }) => Some(secret.clone()),
            _ => None,
        };
        AcmeMethod {
            options,
            eab_key: eab_key.map(|source| SecretReader::new(source, EAB_KEY)),
            tsig_key: tsig_key.map(|source| SecretReader::new(source, TSIG_KEY)),
            warned: Mutex::default(),
        }
    }

    async fn obtain(&self, order: &mut IssueOrder<'_>) -> Result<Vec<Certificate>, Failure> {
        let directory = match &self.options.directory {
            Some(directory) => directory.clone(),
            None => self.directory_of_ca(order).await?,
        };
        let believed = believed(&order.about, order.roots, &directory, order.warn)?;
        let client = order.net.client(&directory, &believed)?;
        let (settings, warnings) = self.settings(&directory, &order.about)?;
        for warning in warnings {
            if self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(warning.clone()) {
                (order.warn)(&warning);
            }
        }
        let csr = order.key.csr(order.about.names, None)?;
        let place = match &self.options.account_key {
            Some(path) => AccountLocation::At(path),
            None => AccountLocation::Beside(Fingerprint::of(directory.as_str().as_bytes()).short(16)),
        };
        let (env, warn) = (order.about.env, order.warn);
        let mut account = Account { place, env, pending: order.pending, warn, warned: false };
        let report = acme::Report { say: order.say, warn: order.warn };
        let context = acme::AcmeContext { client: &client, children: order.children, report };
        let obtained =
            acme::obtain(context, &settings, &mut account, order.about.names, &csr, order.accept).await;
        obtained.map_err(|failed| {
            let acme::Failed { error, again, unsettled } = failed;
            Failure { error, again, unsettled, refused: false }
        })
    }

    /// As the protocol's client expects them; secrets are read. With warnings about those.
    fn settings(&self, directory: &Url, about: &IssueFacts<'_>) -> Result<(acme::AcmeSettings, Vec<String>)> {
        let mut warnings = Vec::new();
        let eab = self.eab(&mut warnings)?;
        let dns = self.dns(&mut warnings)?;
        let replaced = about.existing.filter(|existing| existing.is_from(NAME, directory));
        let replaces = replaced.and_then(|existing| existing.chain.first()).cloned();
        let settings = acme::AcmeSettings {
            directory: directory.clone(),
            challenge: self.options.challenge,
            http_listen: self.options.http_listen,
            tls_listen: self.options.tls_listen,
            webroot: self.options.webroot.clone(),
            dns,
            eab,
            contact: self.options.contact.clone(),
            agree_tos: self.options.agree_tos,
            profile: self.options.profile.clone(),
            not_after: about.not_after,
            replaces,
            preferred_chain: self.options.preferred_chain.clone(),
            account_key_type: self.options.account_key_type.unwrap_or_default(),
        };
        Ok((settings, warnings))
    }

    /// The directory of the CA's ACME provisioner.
    async fn directory_of_ca(&self, order: &mut IssueOrder<'_>) -> Result<Url, Failure> {
        let name = match &self.options.provisioner {
            Some(name) => {
                look_up(order, name).await?;
                name.clone()
            }
            None => super::only(&order.ca()?.provisioners().await?, "ACME")?,
        };
        Ok(directory_of(order.about.ca.url()?, &name))
    }

    /// Asks the server that issued the existing pair when to renew it. Asks nobody for the name of a provisioner: a CA
    /// with provisioners has no opinion on renewal.
    async fn ask_renewal(&self, question: &RenewalQuestion<'_>) -> Option<RenewalInfo> {
        let RenewalQuestion { about, life, net, roots } = question;
        let directory = match (&self.options.directory, &self.options.provisioner) {
            (Some(directory), _) => directory.clone(),
            (None, Some(name)) => directory_of(about.ca.url.as_ref()?, name),
            (None, None) => return None,
        };
        let existing = about.existing.filter(|existing| existing.is_from(NAME, &directory))?;
        let leaf = existing.chain.first()?;
        let trust = believed(about, *roots, &directory, &|_| {});
        match trust.and_then(|trust| net.client(&directory, &trust)) {
            Ok(client) => {
                Some(acme::renewal_info(&client, &directory, leaf, &(life.from..=life.until)).await)
            }
            Err(error) => Some(RenewalInfo::none(&error)),
        }
    }

    /// The external account.
    fn eab(&self, warnings: &mut Vec<String>) -> Result<Option<Eab>> {
        let (Some((kid, _)), Some(key)) = (&self.options.eab, &self.eab_key) else { return Ok(None) };
        let mut secret = key.read()?;
        warnings.extend(secret.warning.take());
        Eab::from_texts(kid, secret.text(EAB_KEY)?).map(Some)
    }

    /// The writer of dns-01's records.
    fn dns(&self, warnings: &mut Vec<String>) -> Result<Option<DnsSolver>> {
        match (&self.options.dns, &self.tsig_key) {
            (Some(DnsMethod::Hook(program)), _) => Ok(Some(DnsSolver::Hook(program.clone()))),
            (Some(DnsMethod::Rfc2136 { server, zone, key_name, secret }), Some(key)) => {
                let mut text = key.read()?;
                warnings.extend(text.warning.take());
                let decoded = BASE64.decode(text.text(TSIG_KEY)?.trim()).map_err(|_| {
                    Error::usage("the TSIG key is not base64")
                        .at(secret)
                        .hint("it is the `secret` that `tsig-keygen` printed, without quotes")
                })?;
                Ok(Some(DnsSolver::Rfc2136(Rfc2136 {
                    server: server.clone(),
                    zone: zone.clone(),
                    key_name: key_name.clone(),
                    secret: Zeroizing::new(decoded),
                })))
            }
            _ => Ok(None),
        }
    }
}

/// The account's key, and the in-progress state of the pair.
struct Account<'a> {
    place: AccountLocation<'a>,
    env: &'a Env,
    pending: &'a mut Pending,
    warn: &'a (dyn Fn(&str) + Sync),
    /// Whether it was reported who else can read the key.
    warned: bool,
}

/// The location of the account's key.
enum AccountLocation<'a> {
    At(&'a Path),
    /// Beside the pair's key, under the name of the server.
    Beside(String),
}

impl Account<'_> {
    fn beside(&self, id: &str) -> String {
        format!("{}/account-{id}.pem", self.pending.path())
    }
}

impl AccountStore for Account<'_> {
    fn place(&self) -> String {
        match &self.place {
            AccountLocation::At(path) => path.display().to_string(),
            AccountLocation::Beside(id) => self.beside(id),
        }
    }

    fn load(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>> {
        match &self.place {
            AccountLocation::Beside(id) => self.pending.account(id),
            AccountLocation::At(path) => {
                let (host, path) = (Sysroot::open(Path::new("/"))?, host::absolute_text(path)?);
                let Some((bytes, meta)) = host.read(&path, FILE_LIMIT)? else { return Ok(None) };
                let bytes = Zeroizing::new(bytes);
                if meta.mode & 0o022 != 0 {
                    return Err(Error::failed(format!(
                        "other users can replace the account's key (mode {:04o})",
                        meta.mode
                    ))
                    .at(&path)
                    .hint(format!("`chmod go-w {path}`, or `--account-key` with another file")));
                }
                if let Some(who) = readers(&meta).filter(|_| !std::mem::replace(&mut self.warned, true)) {
                    (self.warn)(&format!(
                        "{who} can read the account's key `{path}` (mode {:04o})",
                        meta.mode
                    ));
                }
                Ok(Some(bytes))
            }
        }
    }

    fn stays(&mut self) -> Result<bool> {
        let AccountLocation::At(path) = &self.place else { return Ok(false) };
        let (host, text) = (Sysroot::open(Path::new("/"))?, host::absolute_text(path)?);
        let is_ours = |meta: &Meta| meta.uid == privilege::uid() && meta.mode == 0o600;
        // A link belongs to who made it, such as the kubelet, which replaces what it leads to.
        let is_plain = host.lstat(&text)?.is_some_and(|meta| meta.kind == FileKind::File && is_ours(&meta));
        Ok(!is_plain || AccountFile::open(path).and_then(|file| file.prepare()).is_err())
    }

    fn prepare(&mut self) -> Result<()> {
        match &self.place {
            // The pair's new key was written there a moment ago.
            AccountLocation::Beside(_) => Ok(()),
            AccountLocation::At(path) => AccountFile::open(path)?.prepare(),
        }
    }

    fn set_aside(&mut self) -> Result<Option<String>> {
        let Some(content) = self.load()? else { return Ok(None) };
        let suffix = format!("old-{}", Fingerprint::of(&content).short(8));
        match &self.place {
            AccountLocation::Beside(id) => {
                let id = format!("{id}.{suffix}");
                self.pending.save_account(&id, &content)?;
                Ok(Some(self.beside(&id)))
            }
            AccountLocation::At(path) => {
                let file = AccountFile::open(path)?;
                file.replace(&format!("{}.{suffix}", file.path), &content)?;
                Ok(Some(format!("{}.{suffix}", file.path)))
            }
        }
    }

    fn save(&mut self, content: &[u8]) -> Result<()> {
        match &self.place {
            AccountLocation::Beside(id) => self.pending.save_account(id, content),
            AccountLocation::At(path) => {
                let file = AccountFile::open(path)?;
                file.replace(&file.path, content)
            }
        }
    }

    fn order(&mut self) -> Result<Option<KeptOrder>> {
        let Some(bytes) = self.pending.order()? else { return Ok(None) };
        match ORDER_FORMAT.read(&bytes, &self.pending.order_path()) {
            Ok(order) => Ok(Some(order)),
            Err(Unreadable::Newer(error)) => Err(error),
            Err(Unreadable::Damaged(cause)) => {
                let place = self.pending.order_path();
                (self.warn)(&format!(
                    "`{place}` is damaged, so the order of an earlier run is not resumed: {cause}"
                ));
                Ok(None)
            }
        }
    }

    fn save_order(&mut self, order: Option<&KeptOrder>) -> Result<()> {
        let bytes = order.map(serde_json::to_vec).transpose().map_err(|error| {
            Error::failed("could not write the record of the order in progress").because(error)
        })?;
        self.pending.save_order(bytes.as_deref())
    }

    fn before_request(&mut self) -> Result<()> {
        self.pending.save_attempt(Attempt::of_order(NAME, self.env.now()))
    }
}

/// Who else can read a file with this owner and mode, for people: a group that is ours counts as us, since a Kubernetes
/// Secret is given to a container in that way.
fn readers(meta: &Meta) -> Option<String> {
    if meta.mode & 0o004 != 0 {
        Some("every user".to_owned())
    } else if meta.mode & 0o040 != 0 && !privilege::is_in_group(meta.gid) {
        Some(format!("group {}", meta.gid))
    } else if meta.uid != 0 && meta.uid != privilege::uid() {
        Some(format!("user {}", meta.uid))
    } else {
        None
    }
}

/// A file that the user named, in its directory.
struct AccountFile {
    path: String,
    host: Sysroot,
}

const FILE_ATTRIBUTES: Attributes = Attributes { mode: 0o600, owner: None, modified: None };

impl AccountFile {
    fn open(path: &Path) -> Result<AccountFile> {
        let path = host::absolute_text(path)?;
        let host = Sysroot::open(Path::new("/"))?;
        host.directory(split(&path).0).map_err(|error| {
            error.hint("`--account-key FILE` keeps the account's key: create its directory first")
        })?;
        Ok(AccountFile { path, host })
    }

    /// Whether it can be replaced, as far as that can be known without doing it.
    fn prepare(&self) -> Result<()> {
        try_write_file(&self.host, &self.path, FILE_ATTRIBUTES)
    }

    /// Puts `content` at `path`, on disk when this returns.
    fn replace(&self, path: &str, content: &[u8]) -> Result<()> {
        write_file(&self.host, path, content, FILE_ATTRIBUTES).map(drop)
    }
}
