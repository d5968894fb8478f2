//! ACME's options of `trustup enroll`: how they are read, and what of them belongs together. Variables count as the command
//! line does, which clap's own rules do not know.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use url::Url;

use crate::acme::ChallengeType;
use crate::enroll::methods::acme::{Dns, Options};
use crate::error::{Error, Result};
use crate::key::KeyType;
use crate::listener::Listener;

/// What only ACME needs.
#[derive(Debug, Args)]
#[command(next_help_heading = "acme")]
pub(super) struct AcmeArgs {
    /// The ACME server's directory [default: that of the CA's ACME provisioner]
    #[arg(long, value_name = "URL")]
    directory: Option<String>,
    /// The challenge: http-01, tls-alpn-01, dns-01 [default: by what is configured and offered]
    #[arg(long, value_name = "TYPE", value_parser = challenge)]
    challenge: Option<ChallengeType>,
    /// Where http-01 listens: `127.0.0.1:8080`, or `:8080` for all addresses [default: :80]
    #[arg(long, value_name = "ADDR", value_parser = listen)]
    http_listen: Option<SocketAddr>,
    /// Where tls-alpn-01 listens, likewise [default: :443]
    #[arg(long, value_name = "ADDR", value_parser = listen)]
    tls_listen: Option<SocketAddr>,
    /// A running web server's directory: http-01 puts its file there instead of listening
    #[arg(long, value_name = "DIR")]
    webroot: Option<PathBuf>,
    /// A program for dns-01, called with `present|cleanup FQDN. VALUE` (VALUE may begin with `-`); given again: its first
    /// arguments
    #[arg(long, value_name = "PROGRAM", allow_hyphen_values = true)]
    dns_hook: Vec<String>,
    /// A name server that takes updates for dns-01 (RFC 2136)
    #[arg(long, value_name = "HOST[:PORT]")]
    rfc2136_server: Option<String>,
    /// The zone that is updated [default: found by its SOA record]
    #[arg(long, value_name = "ZONE")]
    rfc2136_zone: Option<String>,
    /// Name of the TSIG key (HMAC-SHA256)
    #[arg(long, value_name = "NAME")]
    rfc2136_key_name: Option<String>,
    /// The TSIG key in base64: a file, `-` for standard input, or `fd:N`
    #[arg(long, value_name = "FILE")]
    rfc2136_key_file: Option<String>,
    /// Identifier of the external account
    #[arg(long, value_name = "KID")]
    eab_kid: Option<String>,
    /// Its MAC key in base64url: a file, `-` for standard input, or `fd:N`
    #[arg(long, value_name = "FILE")]
    eab_hmac_key_file: Option<String>,
    /// Where the account's key is kept [default: beside `--key`, one for each server]
    #[arg(long, value_name = "FILE")]
    account_key: Option<PathBuf>,
    /// Kind of a new account's key [default: ec-p256]
    #[arg(long, value_name = "TYPE")]
    account_key_type: Option<KeyType>,
    /// An e-mail address for the account (repeatable)
    #[arg(long, value_name = "EMAIL")]
    contact: Vec<String>,
    /// Agree to the server's terms of service
    #[arg(long)]
    agree_tos: bool,
    /// One of the server's profiles
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Common name of the root that the chain should lead to, where the server offers several chains
    #[arg(long, value_name = "NAME")]
    preferred_chain: Option<String>,
}

/// What they say, with the provisioner that is named beside them. `given` has the ids of what the command line itself says.
///
/// # Errors
/// Something that is no URL, file or address; a part of what belongs together.
pub(super) fn options(options: &AcmeArgs, given: &[String], provisioner: Option<String>) -> Result<Options> {
    let directory = match &options.directory {
        Some(text) => Some(Url::parse(text).map_err(|error| {
            Error::usage("`--directory` is no URL").at(crate::text::mask_url(text)).because(error)
        })?),
        None => None,
    };
    let eab = [("--eab-kid", &options.eab_kid), ("--eab-hmac-key-file", &options.eab_hmac_key_file)];
    let eab = match all_or_none(eab)? {
        Some([kid, key]) => Some((kid.clone(), key.parse()?)),
        None => None,
    };
    if directory.is_some() && provisioner.is_some() {
        return Err(Error::usage("`--directory` and `--provisioner` both say where the ACME server is")
            .hint("leave one out"));
    }
    refuse_unused(options, given)?;
    Ok(Options {
        directory,
        provisioner,
        challenge: options.challenge,
        http_listen: options.http_listen,
        tls_listen: options.tls_listen,
        webroot: options.webroot.clone(),
        dns: dns(options, given)?,
        eab,
        account_key: options.account_key.clone(),
        contact: options.contact.clone(),
        agree_tos: options.agree_tos,
        profile: options.profile.clone(),
        preferred_chain: options.preferred_chain.clone(),
        account_key_type: options.account_key_type,
    })
}

/// What the command line says has a meaning for the challenge that is chosen; variables are there for everything that
/// runs here.
fn refuse_unused(options: &AcmeArgs, given: &[String]) -> Result<()> {
    let Some(chosen) = options.challenge else { return Ok(()) };
    let Some((id, own)) = chosen.unused(given.iter().map(String::as_str)) else { return Ok(()) };
    Err(Error::usage(format!("`--{}` does not go with the challenge {chosen}", id.replace('_', "-")))
        .hint(format!("it is for {own}: leave it out, or choose `--challenge {own}`")))
}

/// Who writes the records of dns-01. A hook is on the command line, and so goes before a name server of the variables.
fn dns(options: &AcmeArgs, given: &[String]) -> Result<Option<Dns>> {
    let says_server = given.iter().any(|id| id.starts_with("rfc2136_"));
    if !options.dns_hook.is_empty() {
        if says_server {
            return Err(Error::usage("`--dns-hook` and `--rfc2136-server` both say who writes the records")
                .hint("leave one out"));
        }
        return Ok(Some(Dns::Hook(options.dns_hook.clone())));
    }
    let server = [
        ("--rfc2136-server", &options.rfc2136_server),
        ("--rfc2136-key-name", &options.rfc2136_key_name),
        ("--rfc2136-key-file", &options.rfc2136_key_file),
    ];
    match all_or_none(server)? {
        Some([server, key_name, secret]) => Ok(Some(Dns::Rfc2136 {
            server: server.clone(),
            zone: options.rfc2136_zone.clone(),
            key_name: key_name.clone(),
            secret: secret.parse()?,
        })),
        None if given.iter().any(|id| id == "rfc2136_zone") => {
            Err(Error::usage("`--rfc2136-zone` needs `--rfc2136-server`")
                .hint("`--rfc2136-server HOST --rfc2136-key-name NAME --rfc2136-key-file FILE`"))
        }
        None => Ok(None),
    }
}

/// Options that mean something only together, from the command line or from variables.
fn all_or_none<'a, const N: usize>(
    options: [(&str, &'a Option<String>); N],
) -> Result<Option<[&'a String; N]>> {
    let there: Vec<&String> = options.iter().filter_map(|(_, value)| value.as_ref()).collect();
    if there.is_empty() {
        return Ok(None);
    }
    <[&String; N]>::try_from(there).map(Some).map_err(|_| {
        let named = |is_there: bool| {
            let names = options.iter().filter(|(_, value)| value.is_some() == is_there);
            names.map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        };
        Error::usage(format!("{} needs {}", named(true), named(false))).hint(
            "each of them is an option, or a variable such as TRUSTUP_EAB_KID: give all of them, or none",
        )
    })
}

fn challenge(text: &str) -> Result<ChallengeType, String> {
    text.parse().map_err(|error| crate::cli::for_clap(&error))
}

fn listen(text: &str) -> Result<SocketAddr, &'static str> {
    Listener::parse(text)
        .ok_or("it should be an address and a port, such as `127.0.0.1:8080`, or `:8080` for all addresses")
}
