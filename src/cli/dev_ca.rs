//! `trustup dev-ca`: the embedded CA, kept running for laptops and compose files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::options::plain;
use super::output::dev_ca::DevCaReport;
use super::{CommandRow, Context, Run};
use crate::certificate::issue::methods::PROVISIONER;
use crate::cli::ui::Ui;
use crate::cli::ui::json::UtcTime;
use crate::dev_ca::{DevCa, JWK, KeptCa, Server, ServerSettings, allowed};
use crate::error::{Error, Result};
use crate::pki::cert::SubjectAltName;
use crate::settings::rows::LISTEN;
use crate::settings::{Opt, Reason};
use crate::text;
use crate::trust::runtimes::render::quote;

static STATE: Opt<PathBuf> = Opt::path("state", "DIR")
    .help("Keep root, keys and password in DIR, and use them again; DIR is created if it does not exist");
/// Not `--name` of bootstrap.
static HOST_NAME: Opt<SubjectAltName, true> =
    Opt::address("name", "NAME", "a host name or an address", str::parse)
        .repeatable()
        .never(Reason::Ambiguous)
        .help("A host name (and all names below it) or an address that certificates may be for besides local ones; the CA answers to it too (repeatable)");
static ALLOW_OTHER_HOSTS: Opt<bool> = Opt::switch("allow-other-hosts").never(Reason::LoosensACheck).help(
    "Listen on another address than loopback: anyone who can reach it and has the password gets certificates",
);

pub(super) static ROW: CommandRow = CommandRow {
    name: "dev-ca",
    about: "Run a small CA for development, with step-ca's interface: not for production",
    after_help: "Its root can certify only localhost, .test, .internal and the names of `--name`, and expires after 30 days.
Without `--state` it is gone with the process, key and all. It runs until SIGTERM or SIGINT.

Examples:
  trustup dev-ca --state ./dev-ca
  trustup dev-ca --listen 0.0.0.0:9443 --allow-other-hosts --name ca --name web --state /state",
    options: || vec![LISTEN.taken_as("Where to listen; port 0 is any free one [default: 127.0.0.1:9443]"), STATE.taken(), HOST_NAME.taken(),
        PROVISIONER.taken_as("The name of the provisioner whose password gives certificates [default: that of the CA that is kept, else `dev`]"),
        ALLOW_OTHER_HOSTS.taken()],
    reads_variables: true,
    shape: plain,
    run: Run::Waiting(|context| Box::pin(run(context))),
};

async fn run(context: &Context<'_>) -> Result<u8> {
    let (ui, settings) = (context.ui, context.settings);
    let listen = settings.get(&LISTEN).copied().unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9443)));
    let others = settings.is(&ALLOW_OTHER_HOSTS);
    if context.settings.root() != Path::new("/") {
        return Err(Error::usage("a CA runs on this machine, not in another root file system")
            .hint("omit `--sysroot`; `--state DIR` sets where the CA is kept"));
    }
    if ui.json && !settings.has(&STATE) {
        return Err(Error::usage("a CA that is not kept would have to show its password in the JSON")
            .hint("keep it: `trustup --json dev-ca --state DIR`"));
    }
    let provisioner = settings.get(&PROVISIONER);
    if let Some(name) = provisioner
        && (name.is_empty() || name.contains(char::is_control))
    {
        return Err(Error::usage("not a provisioner name").at(text::escape(name)));
    }
    // Before anything is created.
    allowed(listen, others)?;
    let mut names = settings.all(&HOST_NAME).to_vec();
    let listens_at = SubjectAltName::Ip(listen.ip());
    if !listen.ip().is_loopback() && !listen.ip().is_unspecified() && !names.contains(&listens_at) {
        names.push(listens_at);
    }
    if context.is_dry_run() {
        ui.say(format!("would run a development CA at https://{}", listen));
        return Ok(0);
    }
    let kept = match settings.get(&STATE) {
        Some(directory) => {
            Some(DevCa::open(context.env, directory, provisioner.map(String::as_str), &names)?)
        }
        None => None,
    };
    let ca = match &kept {
        Some(kept) => Arc::clone(&kept.ca),
        None => Arc::new(DevCa::with(context.env, provisioner.map(String::as_str).unwrap_or(JWK), &names)?),
    };
    let server_settings = ServerSettings {
        listen,
        other_hosts: others,
        names: names.clone(),
        log: Arc::new(move |line| ui.say(line)),
    };
    // Before the server: a signal during its start ends it too.
    context.shutdown.handle()?;
    let server = Server::start_with(Arc::clone(&ca), server_settings)?;
    announce(context, listen, kept.as_ref(), &ca, &server)?;
    context.shutdown.requested().await;
    drop(server);
    ui.say("the CA has ended");
    Ok(0)
}

/// Reports that it runs, and where.
fn announce(
    context: &Context<'_>,
    listen: SocketAddr,
    kept: Option<&KeptCa>,
    ca: &DevCa,
    server: &Server,
) -> Result<()> {
    let ui = context.ui;
    let names = context.settings.all(&HOST_NAME);
    let url = url(server, listen, names);
    let password_file = kept.map(|kept| kept.password_file.display().to_string());
    show(ui, ca, &url, password_file.as_deref());
    if context.settings.is(&ALLOW_OTHER_HOSTS) && !listen.ip().is_loopback() {
        ui.warn("other hosts can reach this CA: anyone with the password gets certificates");
    }
    ui.result(&DevCaReport {
        changed: kept.is_some_and(|kept| kept.is_new),
        url: &url,
        address: server.address().to_string(),
        fingerprint: ca.fingerprint(),
        root_file: kept.map(|kept| kept.root_file.display().to_string()),
        root_not_after: UtcTime(ca.root().not_after()),
        provisioner: ca.provisioner(),
        password_file: password_file.as_deref(),
        pid: std::process::id(),
    })
    // With JSON, the address is in the report only.
    .map_err(|lost| {
        let made = kept.filter(|kept| kept.is_new).map(|kept| kept.root_file.display().to_string());
        Error::from(lost).with_changed(made)
    })
}

/// With the name by which others reach it, if it has one.
fn url(server: &Server, listen: SocketAddr, names: &[SubjectAltName]) -> String {
    let host = match names.first() {
        Some(SubjectAltName::Ip(address)) if address.is_ipv6() => format!("[{address}]"),
        Some(name) if !listen.ip().is_loopback() => name.to_string(),
        _ if listen.ip().is_unspecified() || listen.ip().is_loopback() => "localhost".to_owned(),
        _ => return server.url(),
    };
    format!("https://{host}:{}", server.address().port())
}

fn show(ui: Ui, ca: &DevCa, url: &str, password_file: Option<&str>) {
    let (fingerprint, provisioner) = (ca.fingerprint().hex(), text::escape(ca.provisioner()));
    ui.say("a development CA is running (not for production), with step-ca's interface");
    ui.say(format!("  URL          {url}"));
    ui.say(format!("  fingerprint  {fingerprint}"));
    ui.say(format!(
        "  root         expires on {}, can certify {}",
        text::date(ca.root().not_after()),
        ca.permitted()
    ));
    let password = match password_file {
        Some(file) => format!("password in {}", text::escape(file)),
        None => format!("password {}", ca.password()),
    };
    ui.say(format!("  provisioner  {provisioner}, {password}"));
    ui.say("to trust it:");
    ui.say(format!("  trustup bootstrap --ca-url {url} --fingerprint {fingerprint}"));
    ui.say("to get a certificate from it:");
    let (before, file) = match password_file {
        Some(file) => (String::new(), word(file)),
        None => (format!("echo {} | ", ca.password()), "-".to_owned()),
    };
    ui.say(format!(
        "  {before}trustup enroll provisioner web.internal --ca-url {url} --fingerprint {fingerprint} --provisioner {} --password-file {file} --cert web.pem --key web.key",
        word(ca.provisioner())
    ));
}

/// Quoted for a shell.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if text.chars().all(plain) { text.to_owned() } else { quote(text) }
}
