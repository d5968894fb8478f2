//! `trustup dev-ca`: the embedded CA, kept running for laptops and compose files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::Context;
use super::output::dev_ca::DevCaReport;
use crate::cert::SubjectAltName;
use crate::dev_ca::{DevCa, JWK, KeptCa, Server, ServerSettings, allowed};
use crate::error::{Error, Result};
use crate::runtime::{self, Signals};
use crate::text;
use crate::trust::runtimes::render::quote;
use crate::ui::Ui;
use crate::ui::json::UtcTime;

/// Run a small CA for development, with step-ca's interface: not for production
#[derive(Debug, Args)]
#[command(
    after_help = "Its root may vouch for localhost, .test, .internal and the names of `--name` only, and ends after 30 days.
Without `--state` it is gone with the process, key and all. It runs until SIGTERM or SIGINT.

Examples:
  trustup dev-ca --state ./dev-ca
  trustup dev-ca --listen 0.0.0.0:9443 --allow-other-hosts --name ca --name web --state /state"
)]
pub(super) struct DevCaArgs {
    /// Where to listen; port 0 is any free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9443")]
    listen: SocketAddr,
    /// Keep root, keys and password in DIR, which is made if it is not there, and use them again
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// A host name (and all names below it) or an address that certificates may be for besides local ones; the CA
    /// answers to it too (repeatable)
    #[arg(long, value_name = "NAME")]
    name: Vec<SubjectAltName>,
    /// The name of the provisioner whose password gives certificates [default: that of the CA that is kept, else `dev`]
    #[arg(long, value_name = "NAME")]
    provisioner: Option<String>,
    /// Listen on another address than loopback: whoever reaches it and has the password gets certificates
    #[arg(long)]
    allow_other_hosts: bool,
}

pub(super) fn run(context: &Context, args: &DevCaArgs) -> Result<u8> {
    let ui = context.ui;
    if context.global.sysroot != Path::new("/") {
        return Err(Error::usage("a CA runs on this machine, in no other root file system")
            .hint("leave `--sysroot` out; `--state DIR` says where the CA is kept"));
    }
    if ui.json && args.state.is_none() {
        return Err(Error::usage("a CA that is not kept would have to show its password in the JSON")
            .hint("keep it: `trustup --json dev-ca --state DIR`"));
    }
    if let Some(name) = &args.provisioner
        && (name.is_empty() || name.contains(char::is_control))
    {
        return Err(Error::usage("this is no name of a provisioner").at(text::escape(name)));
    }
    // Before anything is made.
    allowed(args.listen, args.allow_other_hosts)?;
    let mut names = args.name.clone();
    let listens_at = SubjectAltName::Ip(args.listen.ip());
    if !args.listen.ip().is_loopback() && !args.listen.ip().is_unspecified() && !names.contains(&listens_at) {
        names.push(listens_at);
    }
    if context.global.dry_run {
        ui.say(format!("would run a CA for development at https://{}", args.listen));
        return Ok(0);
    }
    let kept = match &args.state {
        Some(directory) => Some(DevCa::open(context.env, directory, args.provisioner.as_deref(), &names)?),
        None => None,
    };
    let ca = match &kept {
        Some(kept) => Arc::clone(&kept.ca),
        None => Arc::new(DevCa::with(context.env, args.provisioner.as_deref().unwrap_or(JWK), &names)?),
    };
    let settings = ServerSettings {
        listen: args.listen,
        other_hosts: args.allow_other_hosts,
        names: names.clone(),
        log: Arc::new(move |line| ui.say(line)),
    };
    let served = runtime::block_on(async {
        // Before the server: a signal that comes while it starts ends it too.
        let signals = Signals::new()?;
        let server = Server::start_with(Arc::clone(&ca), settings)?;
        announce(ui, args, kept.as_ref(), &ca, &server)?;
        signals.next().await;
        Ok(())
    });
    served.flatten()?;
    ui.say("the CA has ended");
    Ok(0)
}

/// Says that it runs, and where.
fn announce(ui: Ui, args: &DevCaArgs, kept: Option<&KeptCa>, ca: &DevCa, server: &Server) -> Result<()> {
    let url = url(server, args);
    let password_file = kept.map(|kept| kept.password_file.display().to_string());
    show(ui, ca, &url, password_file.as_deref());
    if args.allow_other_hosts && !args.listen.ip().is_loopback() {
        ui.warn("other hosts can reach this CA: whoever has the password gets certificates");
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
    // Whoever asked for JSON learns the address from it alone.
    .map_err(|lost| {
        let made = kept.filter(|kept| kept.is_new).map(|kept| kept.root_file.display().to_string());
        Error::from(lost).with_changed(made)
    })
}

/// Under the name that others reach it by, if it has one.
fn url(server: &Server, args: &DevCaArgs) -> String {
    let host = match args.name.first() {
        Some(SubjectAltName::Ip(address)) if address.is_ipv6() => format!("[{address}]"),
        Some(name) if !args.listen.ip().is_loopback() => name.to_string(),
        _ if args.listen.ip().is_unspecified() || args.listen.ip().is_loopback() => "localhost".to_owned(),
        _ => return server.url(),
    };
    format!("https://{host}:{}", server.address().port())
}

fn show(ui: Ui, ca: &DevCa, url: &str, password_file: Option<&str>) {
    let (fingerprint, provisioner) = (ca.fingerprint().hex(), text::escape(ca.provisioner()));
    ui.say("a CA for development is up (not for production), and answers as step-ca does");
    ui.say(format!("  URL          {url}"));
    ui.say(format!("  fingerprint  {fingerprint}"));
    ui.say(format!(
        "  root         ends on {}, vouches for {}",
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

/// For a shell.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if text.chars().all(plain) { text.to_owned() } else { quote(text) }
}
