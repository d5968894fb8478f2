//! `trustup enroll`: a certificate and its key, where there is no good one. The command line is here; what it becomes in
//! [`request`], what is said of the result in [`report`].

mod acme;
mod report;
mod request;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use self::acme::AcmeArgs;
use super::Context;
use super::config::ConfigArg;
use super::variables::Parsed;
use crate::cert::NotAfter;
use crate::enroll::{self, Outcome, Request, World, trust::Recorded};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::key::KeyType;
use crate::native;
use crate::pair::Layout;
use crate::runtime;
use crate::state::{self, State};

pub(super) use self::request::{given, ignore_ca};

/// The ways to a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum MethodWord {
    /// A one-time token that the CA's administrator made (`trustup token`, `step ca token`)
    Token,
    /// A provisioner's password or key: the token is made here
    Provisioner,
    /// A birth certificate and its key: the token is made here
    X5c,
    /// An ACME server: step-ca, Caddy, Let's Encrypt and others
    Acme,
    /// The methods of trustup.toml in their order, for each certificate there
    Any,
}

impl std::fmt::Display for MethodWord {
    /// As it is written on the command line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            MethodWord::Token => "token",
            MethodWord::Provisioner => "provisioner",
            MethodWord::X5c => "x5c",
            MethodWord::Acme => "acme",
            MethodWord::Any => "any",
        })
    }
}

/// Get a certificate: from step-ca or any ACME server, in one command that does nothing while the pair is good
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  With a one-time token, which names the CA and its root by itself:
    trustup enroll token --token-file /run/secrets/ca_token --cert /run/tls/server.crt --key /run/tls/server.key
  With a provisioner's password, from the CA that `trustup bootstrap` was given:
    trustup enroll provisioner web.internal --provisioner dev --password-file /run/secrets/password \\
      --cert /run/tls/server.crt --key /run/tls/server.key --owner nginx
  From the ACME provisioner of that CA, answering http-01 on port 80:
    trustup enroll acme web.internal --cert /run/tls/server.crt --key /run/tls/server.key
  What trustup.toml says, at container start, then the service, without a shell:
    trustup enroll -- my-service
  Root certificates first:
    trustup bootstrap -- trustup enroll -- my-service

A second run finds a good pair and does nothing, without any network: it can stand in every entrypoint. A pair that is due
and cannot be replaced stays while it works: exit 0, with a warning, and `kept-for-now` in the JSON. `any NAME…` takes those
certificates of trustup.toml that have one of the names. `--dry-run` asks nobody. Published
images' variables CA_URL, CA_FINGERPRINT, CA_TOKEN, CA_PROVISIONER_NAME, TLS_DOMAINS, TLS_CERT_LOCATION,
TLS_KEY_LOCATION and TLS_CA_CERT_LOCATION work alone, too; without CA_TOKEN by ACME, whose options may be added.")]
pub(super) struct EnrollArgs {
    /// How to get it [default: any]
    #[arg(value_name = "METHOD")]
    method: Option<MethodWord>,
    /// What it is for: host names, addresses, e-mail addresses, URIs [default with a token: what the token says]
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// The certificate with its intermediates, PEM
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    cert: Option<PathBuf>,
    /// The private key, PKCS#8 PEM
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    key: Option<PathBuf>,
    /// The intermediates once more, by themselves
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    chain: Option<PathBuf>,
    /// The roots that the chain ends at, PEM
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    ca_out: Option<PathBuf>,
    /// Owner of the files: names from /etc/passwd and /etc/group, or ids [default: whoever runs trustup]
    #[arg(long, value_name = "USER:GROUP", help_heading = "Files")]
    owner: Option<String>,
    /// Mode of the certificates [default: 0644]
    #[arg(long, value_name = "MODE", value_parser = mode, help_heading = "Files")]
    cert_mode: Option<u32>,
    /// Mode of the key [default: 0600]
    #[arg(long, value_name = "MODE", value_parser = mode, help_heading = "Files")]
    key_mode: Option<u32>,
    /// How the files are laid out [default: files]
    #[arg(long, value_name = "LAYOUT", help_heading = "Files")]
    layout: Option<Layout>,
    /// Kind of the key [default: ec-p256]
    #[arg(long, value_name = "TYPE", help_heading = "Files")]
    key_type: Option<KeyType>,
    /// How long it lives: 24h, 30d, or a moment (RFC 3339) [default: what the CA says]
    #[arg(long, value_name = "WHEN", value_parser = not_after, help_heading = "Files")]
    not_after: Option<NotAfter>,
    /// Replace a good pair, too
    #[arg(long, help_heading = "Files")]
    force: bool,
    /// Take directories that others can write, such as a volume that only containers of yours share
    #[arg(long, help_heading = "Files")]
    allow_shared_directory: bool,

    /// The CA [default: the one that `trustup bootstrap` was given]
    #[arg(long, value_name = "URL", help_heading = "Whom to ask and whom to trust")]
    ca_url: Option<String>,
    /// SHA-256 fingerprint of its root (repeatable) [default: the root that bootstrap got with a fingerprint]
    #[arg(long, value_name = "HEX", value_delimiter = ',', value_parser = super::fingerprint, help_heading = "Whom to ask and whom to trust")]
    fingerprint: Vec<Fingerprint>,
    /// Trust no CA that only an earlier run recorded: a fingerprint, a file or a token has to say which
    #[arg(long, help_heading = "Whom to ask and whom to trust")]
    require_pin: bool,
    /// A file with its root
    #[arg(long, value_name = "FILE", help_heading = "Whom to ask and whom to trust")]
    ca_root: Option<PathBuf>,
    /// A file with the root that the issued chain ends at, where that is not the root of the CA's own connection
    #[arg(long, value_name = "FILE", help_heading = "Whom to ask and whom to trust")]
    issuer_root: Option<PathBuf>,

    /// The token itself: better in a file or in TRUSTUP_TOKEN, since others see command lines
    #[arg(
        long,
        value_name = "TOKEN",
        conflicts_with = "token_file",
        help_heading = "token, provisioner and x5c"
    )]
    token: Option<String>,
    /// The token: a file, `-` for standard input, or `fd:N` [default: TRUSTUP_TOKEN, /run/secrets/trustup_token,
    /// /run/secrets/ca_token]
    #[arg(long, value_name = "FILE", help_heading = "token, provisioner and x5c")]
    token_file: Option<String>,
    /// The provisioner's name; for acme, of an ACME provisioner [default: the only one that fits]
    #[arg(long, value_name = "NAME", help_heading = "token, provisioner and x5c")]
    provisioner: Option<String>,
    /// Its password: a file, `-` for standard input, or `fd:N`
    #[arg(long, value_name = "FILE", help_heading = "token, provisioner and x5c")]
    password_file: Option<String>,
    /// Its key: a private JWK, encrypted or not, or PEM, in a file, `-` or `fd:N`; then the CA is not asked for it
    #[arg(long, value_name = "FILE", help_heading = "token, provisioner and x5c")]
    provisioner_key: Option<String>,
    /// The birth certificate with its intermediates
    #[arg(long, value_name = "FILE", help_heading = "token, provisioner and x5c")]
    x5c_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", help_heading = "token, provisioner and x5c")]
    x5c_key: Option<PathBuf>,

    /// After success, become this command
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,

    #[command(flatten)]
    acme: AcmeArgs,
    #[command(flatten)]
    file: ConfigArg,
}

pub(super) fn run(context: &Context, args: &EnrollArgs, said: &Parsed) -> Result<u8> {
    let ui = context.ui;
    let host = context.sysroot()?;
    if !host.is_host() {
        return Err(Error::usage("a certificate is for the system that trustup runs in")
            .at(host.path().display())
            .hint("leave out `--sysroot`: a key has no place in an image"));
    }
    let ignored = &said.sources.ignored;
    if !ignored.is_empty() {
        ui.say(format!("ignored, since the command line names a source: {}", ignored.join(", ")));
    }
    runtime::heed_signals()?;
    let requests = request::requests(context, args, said, &host)?;
    let recorded = recorded(context, args.require_pin)?;
    let say = |line: &str| ui.detail(line);
    let warn = |line: &str| ui.warn(line);
    let mut results: Vec<(Request, Result<Outcome>)> = Vec::new();
    // `--timeout` is for everything: a server that hangs leaves the other certificates their part of it.
    let until = context
        .global
        .timeout
        .map(|timeout| Instant::now() + timeout.saturating_add(context.global.wait.unwrap_or_default()));
    let mut others = u32::try_from(requests.len()).unwrap_or(u32::MAX);
    for mut request in requests {
        if let Some(until) = until {
            request.timeout = request.timeout.min(until.saturating_duration_since(Instant::now()) / others);
        }
        others = others.saturating_sub(1).max(1);
        let world = World {
            env: context.env,
            host: &host,
            recorded: recorded.clone(),
            dry_run: context.global.dry_run,
            say: &say,
            note: &|line| ui.say(line),
            warn: &warn,
        };
        let busy = ui.busy("getting a certificate");
        let done = runtime::check().and_then(|()| enroll::enroll(&request, &world));
        drop(busy);
        results.push((request, done));
    }
    let before_service = !args.command.is_empty() && !context.global.dry_run;
    let changed = results.iter().any(|(_, done)| done.as_ref().is_ok_and(Outcome::is_changed));
    let code = report::report(context, results, before_service)?;
    if code != 0 || !before_service {
        return Ok(code);
    }
    let done = if changed {
        "the certificates and keys are in place, and the next run does not repeat that"
    } else {
        "the key pairs were in place before, and nothing was changed"
    };
    Err(native::replace_us(context.env, &args.command, &[]).hint(done))
}

/// What bootstrap recorded, as far as the current user may read it.
pub(super) fn recorded(context: &Context, require_pin: bool) -> Result<Recorded> {
    let trees = context.trees()?;
    let mut recorded = if require_pin { Recorded::ignored() } else { Recorded::default() };
    for tree in trees.all() {
        if !state::is_closed(tree)? {
            recorded.add(&State::load(tree)?)?;
        }
    }
    Ok(recorded)
}

/// Reads a mode for clap.
fn mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode <= 0o777 && !digits.starts_with('+') => Ok(mode),
        _ => Err("write it in octal, such as 0640".to_owned()),
    }
}

fn not_after(text: &str) -> Result<NotAfter, String> {
    text.parse().map_err(|error| super::for_clap(&error))
}
