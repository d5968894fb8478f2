//! `trustup doctor`: what the TLS clients here would do, and why.

use super::options::plain;
use super::output::doctor::{ConnectedServer, DoctorAnchor, DoctorReport, SentCertificate};
use super::output::shown_path;
use super::{CommandRow, Context};
use crate::bootstrap::trees::Trees;
use crate::cert::Certificate;
use crate::doctor::{self, ClientView, Question, StoreFinding, count};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::net::dns::ResolverSettings;
use crate::net::handshake::{self, Presented};
use crate::reconcile::system_roots;
use crate::rootfs::Sysroot;
use crate::settings::Opt;
use crate::state::{self, State, Status};
use crate::text;
use crate::trust::facts::Facts;
use crate::trust::view::View;

/// Largest `/etc/resolv.conf` or `/etc/hosts` that is read.
const SETTINGS_LIMIT: u64 = 4 * 1024 * 1024;

static CONNECT: Opt<String> =
    Opt::text("connect", "HOST:PORT").help("The server that clients should accept; `/` only");

pub(super) static ROW: CommandRow = CommandRow {
    name: "doctor",
    about: "Show for each TLS client here (curl, Python, Node, Java, Go, git, browsers, …) what it reads, whether it finds the installed roots, whether it would accept a server, and what to change first",
    after_help: "Examples:
  trustup doctor
  trustup doctor --connect ca.internal:9000
  trustup --sysroot ./rootfs doctor --json

No program is run, and nothing is changed. With --connect one TLS handshake shows the server's chain, which is then
judged with the roots of each client. The variables of this shell count as they would for the client; in another sysroot
there are none. Exit 0 only if all clients that are there accept the server, or hold the installed roots; else 4.",
    options: || vec![CONNECT.taken()],
    reads_variables: true,
    shape: plain,
    run,
};

fn run(context: &Context<'_>) -> Result<u8> {
    let trees = context.trees()?;
    let system = &trees.system;
    let server = context.settings.get(&CONNECT);
    let target = server.map(|text| target(text)).transpose()?;
    if target.is_some() && !system.is_host() {
        return Err(Error::usage("a server can be checked only for the running system")
            .at(system.path().display())
            .hint("omit `--connect`, or run trustup inside that root file system"));
    }
    let nothing = Env::fixed([], context.env.now());
    let env = if system.is_host() { context.env } else { &nothing };
    let presented = match &target {
        Some((host, port)) => Some(ask(context, system, host, *port)?),
        None => None,
    };
    let anchors = anchors(context, &trees)?;
    let view = View::new(system, state_of(system)?.ours())?;
    let facts = Facts::gather(&view)?;
    let bundle = private_bundle(&trees)?;
    let question = Question { anchors: &anchors, presented: presented.as_ref(), env, bundle };
    let clients = doctor::clients(&view, &facts, &question)?;
    let findings = doctor::findings(&view, &facts, env)?;
    let all_good = clients.iter().filter(|client| client.installed).all(|client| client.verdict.is_good());
    if context.ui.json {
        let connect = server.zip(presented.as_ref());
        context.ui.result(&DoctorReport {
            sysroot: shown_path(system.path()),
            row: facts.row.id,
            connect: connect.map(|(target, presented)| ConnectedServer {
                server: text::escape(target),
                chain: chain(presented),
            }),
            anchors: anchors
                .iter()
                .map(|anchor| DoctorAnchor { fingerprint: anchor.fingerprint(), subject: anchor.subject() })
                .collect(),
            all_good,
            clients,
            findings,
        })?;
    } else {
        show(context, presented.as_ref(), &anchors, &clients)?;
        show_findings(context, &findings)?;
    }
    Ok(if all_good { 0 } else { ErrorKind::NotTrusted.exit_code() })
}

/// Host and port of `--connect`.
fn target(text: &str) -> Result<(String, u16)> {
    let parts = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match parts.map(|(host, port)| (host.to_owned(), port.parse::<u16>())) {
        Some((host, Ok(port))) if port != 0 => Ok((host, port)),
        _ => Err(Error::usage("`--connect` needs HOST:PORT")
            .at(text::escape(text))
            .hint("for example `--connect ca.internal:9000`, or `[::1]:443` for an IPv6 address")),
    }
}

fn ask(context: &Context, system: &Sysroot, host: &str, port: u16) -> Result<Presented> {
    let read = |path| system.read(path, SETTINGS_LIMIT).ok().flatten().map(|(bytes, _)| bytes);
    let (resolv_conf, hosts) = (read("/etc/resolv.conf"), read("/etc/hosts"));
    let settings = ResolverSettings::from_texts(resolv_conf.as_deref(), hosts.as_deref());
    let _busy = context.ui.busy("connecting");
    handshake::shake_hands(&settings, host, port, context.env, context.timeout())
}

/// The state, as far as the current user may read it.
fn state_of(sysroot: &Sysroot) -> Result<State> {
    if state::is_closed(sysroot)? { Ok(State::default()) } else { State::load(sysroot) }
}

/// The roots that must be in the stores, those of the private store included.
fn anchors(context: &Context, trees: &Trees) -> Result<Vec<Certificate>> {
    let mut anchors: Vec<Certificate> = Vec::new();
    for sysroot in trees.all() {
        if state::is_closed(sysroot)? {
            context.ui.say("only root can read which roots trustup installed here");
        }
        for anchor in state_of(sysroot)?.anchors.iter().filter(|anchor| anchor.status != Status::Recorded) {
            let certificate = anchor.certificate()?;
            if !anchors.iter().any(|known| known.fingerprint() == certificate.fingerprint()) {
                anchors.push(certificate);
            }
        }
    }
    Ok(anchors)
}

/// The bundle of the private store: if it has the roots in question, variables should name it.
fn private_bundle(trees: &Trees) -> Result<Option<String>> {
    let Some(private) = &trees.private else { return Ok(None) };
    let state = state_of(private)?;
    let view = View::new(private, state.ours())?;
    let facts = Facts::gather(&view)?;
    let roots = system_roots(&view, &facts, &state.anchors)?;
    Ok(roots.map(|roots| private.display(&roots.bundle)))
}

fn chain(presented: &Presented) -> Vec<SentCertificate> {
    let certificates = presented.chain.iter().filter_map(|der| Certificate::from_der(der).ok());
    certificates
        .map(|one| SentCertificate {
            fingerprint: one.fingerprint(),
            subject: one.subject(),
            issuer: one.issuer(),
        })
        .collect()
}

fn show(
    context: &Context,
    presented: Option<&Presented>,
    anchors: &[Certificate],
    clients: &[ClientView],
) -> Result<()> {
    let ui = context.ui;
    for der in presented.iter().flat_map(|presented| &presented.chain) {
        if let Ok(certificate) = Certificate::from_der(der) {
            ui.data(format!(
                "the server sent {}, issued by {}",
                certificate.subject(),
                certificate.issuer()
            ))?;
        }
    }
    for anchor in anchors {
        ui.data(format!("installed here: {} ({})", anchor.subject(), anchor.fingerprint()))?;
    }
    if anchors.is_empty() {
        ui.say("trustup installed no root here");
    }
    let shown = clients.iter().filter(|client| client.installed || ui.verbose);
    for client in shown {
        let found = client.found.as_deref().unwrap_or("not found here");
        ui.data(format!("{} ({found}): {}: {}", client.name, client.verdict.word(), client.why))?;
        for place in &client.reads {
            let by = place.variable.map_or("its default", |variable| variable);
            let ours = match place.anchors.len() {
                0 => String::new(),
                count => format!(", {count} of trustup's among them"),
            };
            let said = match &place.problem {
                Some(problem) if place.roots == 0 => problem.clone(),
                Some(problem) => format!("{}{ours}; {problem}", count(place.roots, "root")),
                None => format!("{}{ours}", count(place.roots, "root")),
            };
            ui.data(format!("  reads {} ({by}): {said}", place.path))?;
        }
        if ui.verbose {
            ui.data(format!("  verifies servers with {}", client.library))?;
        }
        if let Some(note) = client.note {
            ui.data(format!("  {note}"))?;
        }
        if let Some(change) = &client.first_to_change {
            ui.data(format!("  first: {change}"))?;
        }
    }
    Ok(())
}

fn show_findings(context: &Context, findings: &[StoreFinding]) -> Result<()> {
    for finding in findings {
        context.ui.data(format!("found: {}: {}", finding.place, finding.what))?;
        context.ui.data(format!("  {}", finding.why))?;
        context.ui.data(format!("  first: {}", finding.first_to_change))?;
    }
    Ok(())
}
