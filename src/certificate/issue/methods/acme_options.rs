//! The options of the ACME method, and which of them belong together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::PROVISIONER;
use super::acme::{AcmeMethod, AcmeOptions, DnsMethod};
use super::row::{MethodRow, Published};
use crate::acme::ChallengeType;
use crate::error::{Error, Result};
use crate::net::listener::Listener;
use crate::pki::key::KeyType;
use crate::settings::secret::SecretSource;
use crate::settings::{Opt, Origin, Reason, Row, Settings};

/// An ACME server validates names from outside, and takes its time.
const TIMEOUT: Duration = Duration::from_secs(300);

const LISTEN: &str = "an address and a port, such as `127.0.0.1:8080`, or `:8080` for all addresses";

static DIRECTORY: Opt<Url> = Opt::address("directory", "URL", "an https address", directory)
    .keys(&["enroll.directory"])
    .help("The ACME server's directory [default: that of the CA's ACME provisioner]");
static CHALLENGE: Opt<ChallengeType> = Opt::one_of("challenge", "TYPE", challenges, str::parse)
    .keys(&["enroll.challenge"])
    .help("The challenge: http-01, tls-alpn-01, dns-01 [default: by what is configured and offered]");
static HTTP_LISTEN: Opt<SocketAddr> = Opt::new("http-listen", "ADDR", LISTEN, listen)
    .keys(&["enroll.http_listen"])
    .help("Where http-01 listens: `127.0.0.1:8080`, or `:8080` for all addresses [default: :80]");
static TLS_LISTEN: Opt<SocketAddr> = Opt::new("tls-listen", "ADDR", LISTEN, listen)
    .keys(&["enroll.tls_listen"])
    .help("Where tls-alpn-01 listens, likewise [default: :443]");
static WEBROOT: Opt<PathBuf> = Opt::path("webroot", "DIR")
    .keys(&["enroll.webroot"])
    .help("A running web server's directory: http-01 puts its file there instead of listening");
static DNS_HOOK: Opt<String, true> = Opt::text("dns-hook", "PROGRAM")
    .repeatable()
    .takes_hyphens()
    .never(Reason::RunsAProgram)
    .keys(&["enroll.dns_hook"])
    .help(
        "A program for dns-01, called with `present|cleanup FQDN. VALUE` (VALUE may begin with `-`); given again: its first arguments",
    );
static RFC2136_SERVER: Opt<String> = Opt::text("rfc2136-server", "HOST[:PORT]")
    .keys(&["enroll.rfc2136.server"])
    .help("A name server that takes updates for dns-01 (RFC 2136)");
static RFC2136_ZONE: Opt<String> = Opt::text("rfc2136-zone", "ZONE")
    .keys(&["enroll.rfc2136.zone"])
    .help("The zone that is updated [default: found by its SOA record]");
static RFC2136_KEY_NAME: Opt<String> = Opt::text("rfc2136-key-name", "NAME")
    .keys(&["enroll.rfc2136.key_name"])
    .help("Name of the TSIG key (HMAC-SHA256)");
/// The only supported value: people who copy a key's description write it down.
static RFC2136_ALGORITHM: Opt<String> =
    Opt::one_of("rfc2136.algorithm", "", || vec!["hmac-sha256".to_owned()], |text| Ok(text.to_owned()))
        .without_flag()
        .keys(&["enroll.rfc2136.algorithm"])
        .help("The algorithm of the TSIG key");
static RFC2136_KEY_FILE: Opt<SecretSource> = Opt::secret("rfc2136-key-file")
    .keys(&["enroll.rfc2136.secret"])
    .help("The TSIG key in base64: a file, `-` for standard input, or `fd:N`");
static EAB_KID: Opt<String> =
    Opt::text("eab-kid", "KID").keys(&["enroll.eab_kid"]).help("Identifier of the external account");
static EAB_HMAC_KEY_FILE: Opt<SecretSource> = Opt::secret("eab-hmac-key-file")
    .keys(&["enroll.eab_hmac_key"])
    .help("Its MAC key in base64url: a file, `-` for standard input, or `fd:N`");
static ACCOUNT_KEY: Opt<PathBuf> = Opt::path("account-key", "FILE")
    .keys(&["enroll.account_key"])
    .help("Where the account's key is kept [default: beside `--key`, one for each server]");
static ACCOUNT_KEY_TYPE: Opt<KeyType> = Opt::words("account-key-type", "TYPE")
    .keys(&["enroll.account_key_type"])
    .help("Kind of a new account's key [default: ec-p256]");
static CONTACT: Opt<String, true> = Opt::text("contact", "EMAIL")
    .repeatable()
    .keys(&["enroll.contact"])
    .help("An e-mail address for the account (repeatable)");
static AGREE_TOS: Opt<bool> =
    Opt::switch("agree-tos").keys(&["enroll.agree_tos"]).help("Agree to the server's terms of service");
static PROFILE: Opt<String> =
    Opt::text("profile", "NAME").keys(&["enroll.profile"]).help("One of the server's profiles");

static PREFERRED_CHAIN: Opt<String> = Opt::text("preferred-chain", "NAME")
    .keys(&["enroll.preferred_chain"])
    .help("Common name of the root that the chain should lead to, where the server offers several chains");

/// Its row in the table of methods.
pub(super) static ROW: MethodRow = MethodRow {
    word: super::acme::NAME,
    help: "From an ACME server: step-ca, Caddy, Let's Encrypt and others",
    example: (
        "From the ACME provisioner of that CA, answering http-01 on port 80",
        "web.internal --cert /run/tls/server.crt --key /run/tls/server.key",
    ),
    options: &[
        DIRECTORY.taken(),
        PROVISIONER.taken_as("The CA's ACME provisioner [default: the only one]"),
        CHALLENGE.taken(),
        HTTP_LISTEN.taken(),
        TLS_LISTEN.taken(),
        WEBROOT.taken(),
        DNS_HOOK.taken(),
        RFC2136_SERVER.taken(),
        RFC2136_ZONE.taken(),
        RFC2136_KEY_NAME.taken(),
        RFC2136_KEY_FILE.taken(),
        EAB_KID.taken(),
        EAB_HMAC_KEY_FILE.taken(),
        ACCOUNT_KEY.taken(),
        ACCOUNT_KEY_TYPE.taken(),
        CONTACT.taken(),
        AGREE_TOS.taken(),
        PROFILE.taken(),
        PREFERRED_CHAIN.taken(),
    ],
    rows: &[
        &DIRECTORY,
        &PROVISIONER,
        &CHALLENGE,
        &HTTP_LISTEN,
        &TLS_LISTEN,
        &WEBROOT,
        &DNS_HOOK,
        &RFC2136_SERVER,
        &RFC2136_ZONE,
        &RFC2136_KEY_NAME,
        &RFC2136_ALGORITHM,
        &RFC2136_KEY_FILE,
        &EAB_KID,
        &EAB_HMAC_KEY_FILE,
        &ACCOUNT_KEY,
        &ACCOUNT_KEY_TYPE,
        &CONTACT,
        &AGREE_TOS,
        &PROFILE,
        &PREFERRED_CHAIN,
    ],
    required: &["rfc2136.server", "rfc2136.key_name", "rfc2136.secret"],
    beside_file: &[],
    published: Published::Otherwise,
    timeout: TIMEOUT,
    build: |settings, _| Ok(Box::new(AcmeMethod::new(options(settings)?))),
    is_complete: |_| Ok(true),
};

/// The options in these settings.
///
/// # Errors
/// Part of a group of options; the same option twice; an option that the chosen challenge never uses.
fn options(settings: &Settings) -> Result<AcmeOptions> {
    let eab: [&dyn Row; 2] = [&EAB_KID, &EAB_HMAC_KEY_FILE];
    all_or_none(settings, &eab)?;
    if settings.has(&DIRECTORY) && settings.has(&PROVISIONER) {
        let (one, other) = (label(settings, &DIRECTORY), label(settings, &PROVISIONER));
        return Err(settings.blame(
            &DIRECTORY,
            Error::usage(format!("`{one}` and `{other}` both name the ACME server")).hint("omit one of them"),
        ));
    }
    refuse_unused(settings)?;
    Ok(AcmeOptions {
        directory: settings.get(&DIRECTORY).cloned(),
        provisioner: settings.get(&PROVISIONER).cloned(),
        challenge: settings.get(&CHALLENGE).copied(),
        http_listen: settings.get(&HTTP_LISTEN).copied(),
        tls_listen: settings.get(&TLS_LISTEN).copied(),
        webroot: settings.get(&WEBROOT).cloned(),
        dns: dns(settings)?,
        eab: settings.get(&EAB_KID).cloned().zip(settings.get(&EAB_HMAC_KEY_FILE).cloned()),
        account_key: settings.get(&ACCOUNT_KEY).cloned(),
        contact: settings.all(&CONTACT).to_vec(),
        agree_tos: settings.is(&AGREE_TOS),
        profile: settings.get(&PROFILE).cloned(),
        preferred_chain: settings.get(&PREFERRED_CHAIN).cloned(),
        account_key_type: settings.get(&ACCOUNT_KEY_TYPE).copied(),
    })
}

/// Whether it was meant for this certificate: a variable is set for everything that runs here.
fn is_meant(settings: &Settings, row: &dyn Row) -> bool {
    matches!(settings.origin(row), Some(Origin::CommandLine | Origin::File { .. }))
}

/// An option's name in messages: its key if the file sets it, else its flag.
fn label(settings: &Settings, row: &dyn Row) -> String {
    let spec = row.spec();
    match (settings.origin(row), spec.key_in("enroll")) {
        (Some(Origin::File { .. }), Some(key)) => key.to_owned(),
        _ => spec.shown(),
    }
}

/// Refuses options that the chosen challenge never uses.
fn refuse_unused(settings: &Settings) -> Result<()> {
    use ChallengeType::{Dns01, Http01, TlsAlpn01};
    let Some(&chosen) = settings.get(&CHALLENGE) else { return Ok(()) };
    let of_challenges: [(&dyn Row, ChallengeType); 8] = [
        (&HTTP_LISTEN, Http01),
        (&WEBROOT, Http01),
        (&TLS_LISTEN, TlsAlpn01),
        (&DNS_HOOK, Dns01),
        (&RFC2136_SERVER, Dns01),
        (&RFC2136_ZONE, Dns01),
        (&RFC2136_KEY_NAME, Dns01),
        (&RFC2136_KEY_FILE, Dns01),
    ];
    let mut unused =
        of_challenges.into_iter().filter(|(row, own)| *own != chosen && is_meant(settings, *row));
    let Some((row, own)) = unused.next() else { return Ok(()) };
    let error = Error::usage(format!("`{}` is not for the challenge {chosen}", label(settings, row)));
    let choice = label(settings, &CHALLENGE);
    Err(settings.blame(row, error.hint(format!("it is for {own}: omit it, or set `{choice}` to `{own}`"))))
}

/// The writer of dns-01's records. A hook is never a variable, and so overrides a name server from variables.
fn dns(settings: &Settings) -> Result<Option<DnsMethod>> {
    let server: [&dyn Row; 4] = [&RFC2136_SERVER, &RFC2136_ZONE, &RFC2136_KEY_NAME, &RFC2136_KEY_FILE];
    let hook = settings.all(&DNS_HOOK);
    if let Some(program) = hook.first() {
        if let Some(row) = server.into_iter().find(|row| is_meant(settings, *row)) {
            let (one, other) = (label(settings, &DNS_HOOK), label(settings, row));
            let error = Error::usage(format!("`{one}` and `{other}` both configure DNS updates"));
            return Err(settings.blame(&DNS_HOOK, error.hint("omit one of them")));
        }
        if matches!(settings.origin(&DNS_HOOK), Some(Origin::File { .. })) && !program.starts_with('/') {
            let error = Error::usage(format!(
                "`{}` should begin with the absolute path of a program",
                settings.name(&DNS_HOOK)
            ));
            let error = error.hint("it is run without a shell, and found without PATH");
            return Err(settings.blame(&DNS_HOOK, error));
        }
        return Ok(Some(DnsMethod::Hook(hook.to_vec())));
    }
    all_or_none(settings, &[&RFC2136_SERVER, &RFC2136_KEY_NAME, &RFC2136_KEY_FILE])?;
    let there =
        (settings.get(&RFC2136_SERVER), settings.get(&RFC2136_KEY_NAME), settings.get(&RFC2136_KEY_FILE));
    let (Some(server), Some(key_name), Some(secret)) = there else {
        if is_meant(settings, &RFC2136_ZONE) {
            return Err(Error::usage("`--rfc2136-zone` needs `--rfc2136-server`")
                .hint("`--rfc2136-server HOST --rfc2136-key-name NAME --rfc2136-key-file FILE`"));
        }
        return Ok(None);
    };
    Ok(Some(DnsMethod::Rfc2136 {
        server: server.clone(),
        zone: settings.get(&RFC2136_ZONE).cloned(),
        key_name: key_name.clone(),
        secret: secret.clone(),
    }))
}

/// Options that are valid only together, wherever each comes from.
fn all_or_none(settings: &Settings, rows: &[&dyn Row]) -> Result<()> {
    let Some(first) = rows.iter().find(|row| settings.has(**row)) else { return Ok(()) };
    if rows.iter().all(|row| settings.has(*row)) {
        return Ok(());
    }
    let in_file = matches!(settings.origin(*first), Some(Origin::File { .. }));
    let named = |is_there: bool| {
        let names = rows.iter().filter(|row| settings.has(**row) == is_there).map(|row| {
            let spec = row.spec();
            match spec.key_in("enroll") {
                Some(key) if in_file => format!("`{key}`"),
                _ => format!("`{}`", spec.shown()),
            }
        });
        names.collect::<Vec<_>>().join(", ")
    };
    let missing = rows.iter().find(|row| !settings.has(**row)).map(|row| row.spec().shown());
    let hint = match missing {
        Some(option) if !in_file => {
            let variable = option.trim_start_matches('-').to_uppercase().replace('-', "_");
            format!(
                "each of them is an option, or a variable such as TRUSTUP_{variable}: give all of them, or none"
            )
        }
        _ => "give all of them, or none".to_owned(),
    };
    let error = Error::usage(format!("{} needs {}", named(true), named(false))).hint(hint);
    Err(settings.blame(*first, error))
}

fn directory(text: &str) -> Result<Url> {
    let url = Url::parse(text).map_err(|error| Error::usage(format!("not a URL: {error}")))?;
    match url.scheme() == "https" && url.has_host() {
        true => Ok(url),
        false => Err(Error::usage("an ACME server is reached over https").hint("write `https://…`")),
    }
}

fn listen(text: &str) -> Result<SocketAddr> {
    Listener::parse(text).ok_or_else(|| Error::usage(format!("it should be {LISTEN}")))
}

fn challenges() -> Vec<String> {
    ChallengeType::ALL.map(|kind| kind.to_string()).to_vec()
}
