//! The account: the stored one, or a new one. A new one is saved before anything is done with it.

use serde::Serialize;
use serde_json::{Map, Value};
use url::Url;

use super::account_file::Kept;
use super::messages::{AccountObject, AccountStatus, NewAccount};
use super::problem::{EXTERNAL_ACCOUNT, explain, is};
use super::transport::{CallError, SignedBy, Success, Transport};
use super::{AccountStore, AcmeSettings, Report};
use crate::error::{Error, Result};
use crate::net::url::{origin, same_origin};
use crate::pki::jose::{jwk, jws};
use crate::pki::key::PrivateKey;
use crate::rootfs::remedy;
use crate::text;

/// An account of the server.
#[derive(Debug)]
pub(super) struct AcmeAccount<'a> {
    transport: &'a Transport,
    key: PrivateKey,
    url: String,
}

impl AcmeAccount<'_> {
    pub(super) fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// Its URL at the time of its creation.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Sends `payload` to `url` on behalf of the account.
    pub(super) async fn post(&self, url: &str, payload: &impl Serialize) -> Result<Success, CallError> {
        self.transport.post(self.signer(), url, payload).await
    }

    /// Reads `url` on behalf of the account.
    pub(super) async fn read(&self, url: &str) -> Result<Success, CallError> {
        self.transport.read(self.signer(), url).await
    }

    fn signer(&self) -> SignedBy<'_> {
        SignedBy { key: &self.key, account: Some(&self.url) }
    }
}

/// The stored account.
fn load(store: &mut dyn AccountStore) -> Result<Option<Kept>> {
    let Some(content) = store.load()? else { return Ok(None) };
    let mut kept = Kept::from_text(&content, &store.place())?;
    kept.stays = kept.stays || kept.url.is_none() && store.stays()?;
    Ok(Some(kept))
}

/// The stored account, or a new one; reports which.
pub(super) async fn open<'a>(
    transport: &'a Transport,
    settings: &AcmeSettings,
    store: &mut dyn AccountStore,
    report: &Report<'_>,
) -> Result<AcmeAccount<'a>> {
    let Some(kept) = load(store)? else { return register(transport, settings, store, report).await };
    // The URL at creation, whatever the server's name is today: step-ca expects exactly that.
    let Some(url) = kept.url else { return adopt(transport, settings, kept, store, report).await };
    report.say("using the existing account");
    Ok(AcmeAccount { transport, key: kept.key, url })
}

/// Whether the server's answer to an order means that it does not know this account (any more), so that a new one may
/// replace it.
///
/// step-ca binds an account to the URL it was made under: newer versions answer 401 to another, those before 0.25
/// refuse with `malformed` a URL that does not begin with the name by which they are addressed now.
pub(super) fn is_forgotten(account: &AcmeAccount<'_>, error: &CallError) -> bool {
    let CallError::Problem(problem) = error else { return false };
    let moved = || Url::parse(&account.url).map_or(true, |url| !same_origin(&url, account.transport.url()));
    is(problem, "accountDoesNotExist") || (is(problem, "unauthorized") || is(problem, "malformed")) && moved()
}

/// A new account with a new key.
async fn register<'a>(
    transport: &'a Transport,
    settings: &AcmeSettings,
    store: &mut dyn AccountStore,
    report: &Report<'_>,
) -> Result<AcmeAccount<'a>> {
    agree(transport, settings)?;
    store.prepare()?;
    let key = PrivateKey::generate(settings.account_key_type)?;
    let account = with_key(transport, settings, key).await?;
    keep(&account, store, report)?;
    report.say(&format!("account made at {}", origin(transport.url())));
    Ok(account)
}

/// A new account in place of one that the server does not know, or no longer knows.
///
/// If it reports exactly that (`accountDoesNotExist`: its database was lost), the same key gets another account. If it
/// refuses the account's URL, the key would only find that account again, so there is a new key; and since the file may
/// also hold the account of another CA (one `--account-key` for two of them), the old key is kept, too.
pub(super) async fn renew<'a>(
    transport: &'a Transport,
    settings: &AcmeSettings,
    store: &mut dyn AccountStore,
    refusal: &CallError,
    report: &Report<'_>,
) -> Result<AcmeAccount<'a>> {
    report.warn("the CA no longer knows the account; creating a new one");
    let is_lost = matches!(refusal, CallError::Problem(problem) if is(problem, "accountDoesNotExist"));
    let kept = load(store)?;
    match kept.filter(|kept| is_lost && !is_elsewhere(kept, transport)) {
        Some(kept) => {
            if !kept.stays {
                store.prepare()?;
            }
            let account = with_key(transport, settings, kept.key).await?;
            keep(&account, store, report)?;
            report.say(&format!("account made at {}", origin(transport.url())));
            Ok(account)
        }
        None => register(transport, settings, store, report).await,
    }
}

/// Whether the account was made under another origin than the directory's.
fn is_elsewhere(kept: &Kept, transport: &Transport) -> bool {
    let directory = kept.directory.as_deref().map(Url::parse);
    directory.is_some_and(|url| url.map_or(true, |url| !same_origin(&url, transport.url())))
}

/// The account of a key that other software made, or a new account for that key.
async fn adopt<'a>(
    transport: &'a Transport,
    settings: &AcmeSettings,
    kept: Kept,
    store: &mut dyn AccountStore,
    report: &Report<'_>,
) -> Result<AcmeAccount<'a>> {
    const WHAT: &str = "find the account of the key";
    if !kept.stays {
        store.prepare()?;
    }
    let find = NewAccount {
        contact: Vec::new(),
        terms_of_service_agreed: false,
        only_return_existing: true,
        external_account_binding: None,
    };
    let (account, what) = match ask(transport, kept.key, &find, WHAT).await {
        Ok(account) => (account, "found"),
        Err((CallError::Problem(problem), key)) if is(&problem, "accountDoesNotExist") => {
            (with_key(transport, settings, key).await?, "made")
        }
        Err((error, _)) => return Err(explain(error, WHAT, transport)),
    };
    keep(&account, store, report)?;
    report.say(&format!("account of the given key {what} at {}", origin(transport.url())));
    Ok(account)
}

/// A new account for this key.
async fn with_key<'a>(
    transport: &'a Transport,
    settings: &AcmeSettings,
    key: PrivateKey,
) -> Result<AcmeAccount<'a>> {
    const WHAT: &str = "make an account";
    agree(transport, settings)?;
    if transport.wants_external_account() && settings.eab.is_none() {
        let error = Error::usage("the CA creates accounts only for its existing customers");
        return Err(transport.error(error).hint(EXTERNAL_ACCOUNT));
    }
    let new = NewAccount {
        contact: settings.contacts()?,
        terms_of_service_agreed: settings.agree_tos,
        only_return_existing: false,
        external_account_binding: binding(transport, settings, &key)?,
    };
    ask(transport, key, &new, WHAT).await.map_err(|(error, _)| {
        let error = explain(error, WHAT, transport);
        match &settings.eab {
            // For an unknown key, step-ca reports an internal error.
            Some(_) => error
                .hint("check identifier and key of the external account: each usually works for one account"),
            None => error,
        }
    })
}

/// What binds the key to the external account (RFC 8555 section 7.3.4).
fn binding(transport: &Transport, settings: &AcmeSettings, key: &PrivateKey) -> Result<Option<Value>> {
    let Some(eab) = &settings.eab else { return Ok(None) };
    let url = transport.directory().new_account.as_str();
    let header =
        Map::from_iter([("kid".to_owned(), eab.kid.as_str().into()), ("url".to_owned(), url.into())]);
    let payload = jwk::of(key.public()).to_string();
    jws::flattened_with_mac(&eab.hmac_key, header, payload.as_bytes()).map(Some)
}

/// Sends `request` signed with `key`, which is returned if there is no account.
async fn ask<'a>(
    transport: &'a Transport,
    key: PrivateKey,
    request: &NewAccount,
    what: &str,
) -> Result<AcmeAccount<'a>, (CallError, PrivateKey)> {
    let by = SignedBy { key: &key, account: None };
    let answer = match transport.post(by, &transport.directory().new_account, request).await {
        Ok(answer) => answer,
        Err(error) => return Err((error, key)),
    };
    match account_url(&answer, what, transport) {
        Ok(url) => Ok(AcmeAccount { transport, key, url }),
        Err(error) => Err((error.into(), key)),
    }
}

/// The URL of the account that was made or found, if it can be used.
fn account_url(answer: &Success, what: &str, transport: &Transport) -> Result<String> {
    let object: AccountObject = answer.json(what, transport)?;
    let url = answer.location.clone().ok_or_else(|| {
        super::problem::nonsense("it does not give the account's URL (`Location`)", what, transport)
    })?;
    // It is never requested, only named: it must not carry anything else either.
    transport.check(&url)?;
    if object.status != AccountStatus::Valid {
        let word = if object.status == AccountStatus::Revoked { "revoked" } else { "deactivated" };
        let error = Error::not_trusted(format!("the account of the key is {word}"));
        return Err(transport.error(error).hint(format!(
            "a new key creates a new account: {}, where the old one is kept, and try again",
            remedy::remove(transport.account_place())
        )));
    }
    Ok(url)
}

/// Saves the account. Another key that was stored there is kept beside it: it may be the only one of an account that is
/// valid elsewhere.
fn keep(account: &AcmeAccount<'_>, store: &mut dyn AccountStore, report: &Report<'_>) -> Result<()> {
    let mut unknown = Vec::new();
    if let Some(before) = load(store)? {
        if before.key.public_key() == account.key.public_key() {
            // The program that wrote it may read nothing else: the account is found by its key each time.
            if before.stays {
                return Ok(());
            }
            unknown = before.unknown;
        } else if let Some(aside) = store.set_aside()? {
            let made = before.directory.map(|url| format!(" that was made at `{}`", text::mask_url(&url)));
            report.warn(&format!(
            "the key of the account{} is kept in `{}`: if that is another CA's, give each of them a file of its own (`--account-key`)",
            text::escape(&made.unwrap_or_default()),
            text::escape(&aside),
        ));
        }
    }
    let directory = account.transport.url().as_str();
    store.save(Kept::text(&account.key, &account.url, directory, &unknown).as_bytes())
}

/// The user agrees to the terms, or no one does.
fn agree(transport: &Transport, settings: &AcmeSettings) -> Result<()> {
    match transport.terms() {
        Some(terms) if !settings.agree_tos => Err(transport
            .error(Error::usage("the CA has terms of service, and they have not been agreed to"))
            .hint(format!("read `{}`, then agree with `--agree-tos`", text::escape(terms)))),
        _ => Ok(()),
    }
}
