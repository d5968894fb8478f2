//! The account: the one that was kept, or a new one. A new one is saved before anything is done with it.

use instant_acme::{Account, AccountBuilder, ExternalAccountKey, Key, NewAccount};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use url::Url;
use zeroize::Zeroizing;

use super::account_file::Kept;
use super::problem::{EXTERNAL_ACCOUNT, explain, is, persist};
use super::transport::Transport;
use super::{AccountStore, Report, Settings};
use crate::cert::pem;
use crate::error::{Error, Result};
use crate::key::PrivateKey;
use crate::net::url::{origin, same_origin};
use crate::text;

/// The account that was kept.
fn load(store: &mut dyn AccountStore) -> Result<Option<Kept>> {
    let Some(content) = store.load()? else { return Ok(None) };
    Kept::from_text(&content, &store.place()).map(Some)
}

/// The account that was kept, or a new one; says which.
pub(super) async fn open(
    transport: &Transport,
    settings: &Settings,
    store: &mut dyn AccountStore,
    report: &Report<'_>,
) -> Result<Account> {
    let Some(kept) = load(store)? else { return register(transport, settings, store, report).await };
    let Some(url) = kept.url.clone() else { return adopt(transport, settings, kept, store, report).await };
    let key = PrivatePkcs8KeyDer::from(kept.key.pkcs8());
    // The URL as it was at creation, whatever the server is called today: step-ca wants exactly that.
    let account = builder(transport)
        .from_parts(url, key, transport.directory().to_string())
        .await
        .map_err(|error| explain(error, "use the account's key", transport))?;
    report.say("using the account that was kept");
    Ok(account)
}

/// Whether the server's answer to an order means that it does not know this account (any more), so that a new one may be
/// made in its place.
///
/// step-ca binds an account to the URL it was made under: newer versions answer 401 to another, those before 0.25 refuse
/// with `malformed` a URL that does not begin with the name they are asked under now.
pub(super) fn is_forgotten(account: &Account, error: &instant_acme::Error, transport: &Transport) -> bool {
    let instant_acme::Error::Api(problem) = error else { return false };
    let moved = || Url::parse(account.id()).map_or(true, |url| !same_origin(&url, transport.directory()));
    is(problem, "accountDoesNotExist") || (is(problem, "unauthorized") || is(problem, "malformed")) && moved()
}

/// A new account with a new key.
pub(super) async fn register(
    transport: &Transport,
    settings: &Settings,
    store: &mut dyn AccountStore,
    report: &Report<'_>,
) -> Result<Account> {
    agree(transport, settings)?;
    if transport.wants_external_account() && settings.eab.is_none() {
        let error = Error::usage("the CA makes accounts only for those who have one with it already");
        return Err(transport.error(error).hint(EXTERNAL_ACCOUNT));
    }
    let contacts = settings.contacts()?;
    let contact: Vec<&str> = contacts.iter().map(String::as_str).collect();
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: settings.agree_tos,
        only_return_existing: false,
    };
    let external = settings.eab.as_ref().map(|eab| ExternalAccountKey::new(eab.kid.clone(), &eab.hmac_key));
    let directory = transport.directory().to_string();
    store.prepare()?;
    let made =
        persist(async || builder(transport).create(&new, directory.clone(), external.as_ref()).await).await;
    let (account, credentials) = made.map_err(|error| {
        let error = explain(error, "make an account", transport);
        match &settings.eab {
            // step-ca says of a key that it does not know that it has an internal error.
            Some(_) => error.hint(
                "check identifier and key of the external account: each is good for one account, as a rule",
            ),
            None => error,
        }
    })?;
    let pem = Zeroizing::new(pem::armor("PRIVATE KEY", credentials.private_key().secret_pkcs8_der()));
    keep(&account, PrivateKey::from_pem(pem.as_bytes())?, transport, store, report)?;
    report.say(&format!("account made at {}", origin(transport.directory())));
    Ok(account)
}

/// A new account in place of one that the server does not know, or not any more.
///
/// Where it says just that (`accountDoesNotExist`: its database was lost), the same key gets another account. Where it is
/// the account's URL that it refuses, the key would only find that account again, so that there is a new one; and since
/// the file may as well hold the account of another CA (one `--account-key` for two of them), the old key is kept, too.
pub(super) async fn renew(
    transport: &Transport,
    settings: &Settings,
    store: &mut dyn AccountStore,
    refusal: &instant_acme::Error,
    report: &Report<'_>,
) -> Result<Account> {
    report.warn("the CA does not know the account any more; making a new one");
    let is_lost = matches!(refusal, instant_acme::Error::Api(problem) if is(problem, "accountDoesNotExist"));
    let is_bound = settings.eab.is_some() || transport.wants_external_account();
    let kept = load(store)?;
    match kept.filter(|kept| is_lost && !is_bound && !is_elsewhere(kept, transport)) {
        Some(kept) => {
            store.prepare()?;
            let account = with_key(transport, settings, &kept.key).await?;
            keep(&account, kept.key, transport, store, report)?;
            report.say(&format!("account made at {}", origin(transport.directory())));
            tell_contacts(&account, transport, settings, report).await?;
            Ok(account)
        }
        None => register(transport, settings, store, report).await,
    }
}

/// Whether the account was made under another origin than the directory's.
fn is_elsewhere(kept: &Kept, transport: &Transport) -> bool {
    let directory = kept.directory.as_deref().map(Url::parse);
    directory.is_some_and(|url| url.map_or(true, |url| !same_origin(&url, transport.directory())))
}

/// The account of a key that other software made, or a new account for that key.
async fn adopt(
    transport: &Transport,
    settings: &Settings,
    kept: Kept,
    store: &mut dyn AccountStore,
    report: &Report<'_>,
) -> Result<Account> {
    let directory = transport.directory().to_string();
    store.prepare()?;
    let found =
        persist(async || builder(transport).from_key(pair(&kept.key)?, directory.clone()).await).await;
    let (account, what) = match found {
        Ok((account, _)) => (account, "found"),
        Err(instant_acme::Error::Api(problem)) if is(&problem, "accountDoesNotExist") => {
            if settings.eab.is_some() || transport.wants_external_account() {
                let error = Error::usage(
                    "the CA has no account for this key, and a key of other software cannot be bound to an external account",
                );
                return Err(transport.error(error).hint("name a file that does not exist yet with `--account-key`: a new key is made for the account"));
            }
            (with_key(transport, settings, &kept.key).await?, "made")
        }
        Err(error) => return Err(explain(error, "find the account of the key", transport)),
    };
    keep(&account, kept.key, transport, store, report)?;
    report.say(&format!("account of the given key {what} at {}", origin(transport.directory())));
    if what == "made" {
        tell_contacts(&account, transport, settings, report).await?;
    }
    Ok(account)
}

/// A new account for this key.
async fn with_key(transport: &Transport, settings: &Settings, key: &PrivateKey) -> Result<Account> {
    agree(transport, settings)?;
    let directory = transport.directory().to_string();
    let made =
        persist(async || builder(transport).create_from_key(pair(key)?, directory.clone()).await).await;
    Ok(made.map_err(|error| explain(error, "make an account", transport))?.0)
}

/// Tells the contacts of an account that [`with_key`] made: the library cannot send them along.
async fn tell_contacts(
    account: &Account,
    transport: &Transport,
    settings: &Settings,
    report: &Report<'_>,
) -> Result<()> {
    let contacts = settings.contacts()?;
    let contact: Vec<&str> = contacts.iter().map(String::as_str).collect();
    if contact.is_empty() {
        return Ok(());
    }
    let told = persist(async || account.update_contacts(&contact).await).await;
    if let Err(error) = told {
        // The account is good without.
        report.warn(&explain(error, "note the contacts of the new account", transport).to_string());
    }
    Ok(())
}

/// A key as the library takes it.
fn pair(key: &PrivateKey) -> Result<(Key, PrivateKeyDer<'static>), instant_acme::Error> {
    let key = PrivatePkcs8KeyDer::from(key.pkcs8().to_vec());
    Ok((Key::from_pkcs8_der(key.clone_key())?, PrivateKeyDer::Pkcs8(key)))
}

/// Saves the account. Another key that was kept there is kept beside it: it may be the only one of an account that is
/// good elsewhere.
fn keep(
    account: &Account,
    key: PrivateKey,
    transport: &Transport,
    store: &mut dyn AccountStore,
    report: &Report<'_>,
) -> Result<()> {
    // Checked here because it is never asked by the library, only named: it must not carry anything else either.
    transport.check(account.id())?;
    let mut unknown = Vec::new();
    if let Some(before) = load(store)? {
        if before.key.public_key() == key.public_key() {
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
    let directory = Some(transport.directory().to_string());
    let kept = Kept { key, url: Some(account.id().to_owned()), directory, unknown };
    store.save(kept.to_text().as_bytes())
}

/// Terms are agreed to by the user or not at all.
fn agree(transport: &Transport, settings: &Settings) -> Result<()> {
    match transport.terms() {
        Some(terms) if !settings.agree_tos => Err(transport
            .error(Error::usage("the CA has terms of service, and nobody has agreed to them"))
            .hint(format!("read `{}`, then agree with `--agree-tos`", text::escape(terms)))),
        _ => Ok(()),
    }
}

fn builder(transport: &Transport) -> AccountBuilder {
    Account::builder_with_http(transport.boxed())
}
