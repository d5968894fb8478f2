//! `trustup doctor`: what the TLS clients here would do, and why.

mod target;

use self::target::{Target, target};
use super::ends::{self, Ends, valid_until};
use super::options::plain;
use super::output::doctor::{ConnectedServer, DoctorAnchor, DoctorReport, SentCertificate};
use super::output::shown_path;
use super::{CommandRow, Context, Run};
use crate::cli::ui::json::UtcTime;
use crate::doctor::{self, ClientVerdict, ClientView, Demand, Inspection, Question, StoreFinding, count};
use crate::error::{Error, ErrorKind, Result};
use crate::host::env::Env;
use crate::net::Net;
use crate::net::dns::ResolverSettings;
use crate::net::handshake::{self, Presented};
use crate::pki::cert::Certificate;
use crate::rootfs::Sysroot;
use crate::settings::{Opt, did_you_mean};
use crate::text;
use crate::trust::bootstrap::trees::{HIDDEN, HIDDEN_HINT, SystemRecord, Trees};
use crate::trust::facts::Facts;
use crate::trust::reconcile::system_roots;
use crate::trust::state::{State, Status};
use crate::trust::view::View;

/// Largest `/etc/resolv.conf` or `/etc/hosts` that is read.
const SETTINGS_LIMIT: u64 = 4 * 1024 * 1024;
/// How many programs are named of those for which the same holds.
const SHOWN: usize = 3;

static CONNECT: Opt<String> = Opt::text("connect", "SERVER")
    .help("The server that clients should accept: HOST:PORT, or a URL (`https://ca.internal/`); `/` only");
static CLIENT: Opt<Demand, true> = Opt::new("client", "CLIENT", "a client of `doctor`, or the path of a program", demand)
    .delimited()
    .repeatable()
    .help("Inspect only these clients, which must be there: rows of the table (curl, go) or paths of programs (/app/server)");

pub(super) static ROW: CommandRow = CommandRow {
    name: "doctor",
    about: "Show for each TLS client here (curl, Python, Node, Java, Go, git, browsers, …) what it reads, whether it finds the installed roots, whether it would accept a server, and what to change first",
    after_help: "Examples:
  trustup doctor
  trustup doctor --connect https://ca.internal:9000/
  trustup doctor --connect ca.internal:9000 --client curl,/app/server
  trustup --sysroot ./rootfs doctor --json

No program is run, and nothing is changed. Every executable file is looked at: the libraries that it loads, the build
information of Go, the list of a Rust program's crates. With --connect one TLS handshake shows the server's chain, which is
then judged with the roots of each client. The variables of this shell count as they would for the client; in another
sysroot there are none. Exit 0 only if all clients that are there accept the server, or hold the installed roots; 4 if one
does not or cannot be judged, if one of --client is not there, or if --connect finds no client at all.",
    options: || [CONNECT.taken(), CLIENT.taken()].into_iter().chain(ends::options()).collect(),
    reads_variables: true,
    shape: plain,
    run: Run::Waiting(|context| Box::pin(run(context))),
};

async fn run(context: &Context<'_>) -> Result<u8> {
    let trees = context.trees()?;
    let system = &trees.system;
    let target = context.settings.get(&CONNECT).map(|text| target(text)).transpose()?;
    if target.is_some() && !system.is_host() {
        return Err(Error::usage("a server can be checked only for the running system")
            .at(system.path().display())
            .hint("omit `--connect`, or run trustup inside that root file system"));
    }
    let nothing = Env::fixed([], context.env.now());
    let env = if system.is_host() { context.env } else { &nothing };
    let presented = match &target {
        Some(target) => Some(ask(context, system, target).await?),
        None => None,
    };
    let record = trees.system_record()?;
    let anchors = anchors(context, &trees, &record)?;
    let view = View::new(system, record.ours)?;
    let facts = Facts::gather(&view)?;
    let bundle = private_bundle(&trees)?;
    let question = Question { anchors: &anchors, presented: presented.as_ref(), env, bundle };
    let demanded = context.settings.all(&CLIENT);
    let inspection = {
        let _busy = context.ui.busy("looking for programs");
        doctor::inspect(&view, &facts, &question, demanded)?
    };
    let mut findings = doctor::findings(&view, &facts, env)?;
    findings.extend(doctor::unverified(&inspection.clients));
    let ends = Ends::of(context, system, &anchors)?;
    ends.warn(context);
    let verdict = OverallVerdict::of(&inspection, &question, demanded, &ends);
    if context.ui.json {
        let connect = target.as_ref().zip(presented.as_ref());
        context.ui.result(&DoctorReport {
            sysroot: shown_path(system.path()),
            row: facts.row.id,
            connect: connect.map(|(target, presented)| ConnectedServer {
                server: target.shown(),
                chain: chain(presented),
                proved_key: presented.is_proven,
            }),
            anchors: anchors
                .iter()
                .map(|anchor| DoctorAnchor {
                    fingerprint: anchor.fingerprint(),
                    subject: anchor.subject(),
                    not_before: UtcTime(anchor.not_before()),
                    not_after: UtcTime(anchor.not_after()),
                })
                .collect(),
            all_good: verdict.is_good(),
            clients: inspection.clients,
            missing: inspection.missing,
            search: inspection.search,
            pairs: ends.pairs,
            ends_early: ends.early,
            findings,
        })?;
        return Ok(if verdict.is_good() { 0 } else { ErrorKind::NotTrusted.exit_code() });
    }
    show(context, presented.as_ref(), &anchors, &inspection.clients)?;
    ends.show(context)?;
    show_findings(context, &findings)?;
    verdict.finish(context, system, &inspection, target.as_ref())
}

/// What all clients together mean.
struct OverallVerdict {
    /// All that were inspected are good.
    are_good: bool,
    /// A server is in question, and no client was found.
    none_found: bool,
    /// Not every program was looked at, and nobody named those that matter.
    is_partial: bool,
    /// What was demanded and is not there.
    missing: usize,
    /// No root or certificate ends too early.
    ends_are_good: bool,
}

impl OverallVerdict {
    fn of(inspection: &Inspection, question: &Question, demanded: &[Demand], ends: &Ends) -> OverallVerdict {
        let is_asked = question.presented.is_some() || !question.anchors.is_empty();
        let mut installed = inspection.clients.iter().filter(|client| client.installed);
        let none_found = installed.clone().next().is_none();
        OverallVerdict {
            // Where nothing is in question nothing is unknown.
            are_good: installed.all(|client| {
                client.verdict.is_good() || !is_asked && client.verdict == ClientVerdict::CannotJudge
            }),
            none_found: none_found && demanded.is_empty() && question.presented.is_some(),
            is_partial: is_asked && demanded.is_empty() && !inspection.search.is_complete(),
            missing: inspection.missing.len(),
            ends_are_good: ends.are_good(),
        }
    }

    /// Whether the answer is yes.
    fn is_good(&self) -> bool {
        self.are_good && self.ends_are_good && !self.none_found && !self.is_partial && self.missing == 0
    }

    /// The end of the text: what keeps the answer from being yes, beside the clients' verdicts.
    fn finish(
        &self,
        context: &Context,
        system: &Sysroot,
        inspection: &Inspection,
        target: Option<&Target>,
    ) -> Result<u8> {
        let search = &inspection.search;
        if let Some(bound) = &search.ended_after {
            context.ui.warn(format!(
                "not all programs were inspected: the search ended after {bound}; `--client /path/of/the/program` inspects one wherever it is"
            ));
        }
        if let Some(first) = search.unreadable.first() {
            let others = match search.unreadable.len() - 1 {
                0 => String::new(),
                others => format!(" and {}", count(others, "other program")),
            };
            context.ui.warn(format!(
                "not all programs were inspected: `{first}`{others} may be executed and not read by this user; run `trustup doctor` as root"
            ));
        }
        if let Some(first) = inspection.missing.first() {
            let what = match self.missing {
                1 => "a client of `--client` is not there".to_owned(),
                missing => format!("{missing} clients of `--client` are not there"),
            };
            let all: Vec<String> =
                inspection.missing.iter().map(|one| format!("{}: {}", one.client, one.why)).collect();
            let hint = if first.client.starts_with('/') {
                format!(
                    "name the program that connects to the server, by its path in `{}`",
                    system.path().display()
                )
            } else {
                format!(
                    "`trustup doctor` without `--client` lists the clients that are there; the path of a program is also a client: `--client /app/{}`",
                    first.client
                )
            };
            return Err(Error::not_trusted(what).because(anyhow::anyhow!("{}", all.join("; "))).hint(hint));
        }
        if self.none_found {
            let server = target.map(Target::shown).unwrap_or_default();
            let error = Error::not_trusted(format!(
                "no TLS client was found here, so nothing shows that {server} is trusted"
            ))
            .at(system.path().display());
            return Err(error
                .hint("run this command where the client is: in its image or container, with trustup copied there")
                .hint("a program that the search does not recognise can be named: `--client /path/of/the/program`")
                .hint("`trustup status` shows whether the trust stores hold the roots that trustup installed, whoever reads them"));
        }
        Ok(if self.is_good() { 0 } else { ErrorKind::NotTrusted.exit_code() })
    }
}

/// A client of `--client`.
fn demand(text: &str) -> Result<Demand> {
    let text = text.trim();
    if text.starts_with('/') {
        return Ok(Demand::Program(text.to_owned()));
    }
    if let Some(row) = doctor::rows().find(|row| *row == text) {
        return Ok(Demand::Row(row));
    }
    let error = Error::usage(format!("`{}` is not a client that doctor knows", text::escape(text)));
    let error = match did_you_mean(text, doctor::rows()) {
        Some(hint) => error.hint(hint),
        None => error,
    };
    let all: Vec<&str> = doctor::rows().collect();
    Err(error.hint(format!(
        "the clients are {}; any other program is named by its absolute path, such as `--client /app/server`",
        all.join(", ")
    )))
}

async fn ask(context: &Context<'_>, system: &Sysroot, target: &Target) -> Result<Presented> {
    let read = |path| system.read(path, SETTINGS_LIMIT).ok().flatten().map(|(bytes, _)| bytes);
    let (resolv_conf, hosts) = (read("/etc/resolv.conf"), read("/etc/hosts"));
    let settings = ResolverSettings::from_texts(resolv_conf.as_deref(), hosts.as_deref());
    let _busy = context.ui.busy("connecting");
    let net = Net::new(context.env, &settings, context.timeout())?;
    handshake::shake_hands(&net, &target.host, target.port).await
}

/// The roots that must be in the stores, those of the private store included.
fn anchors(context: &Context, trees: &Trees, record: &SystemRecord) -> Result<Vec<Certificate>> {
    if record.is_hidden {
        context.ui.say(format!("{HIDDEN}: {HIDDEN_HINT}"));
    }
    let private = trees.private.as_ref().map(State::load).transpose()?;
    let stored = record.state.anchors.iter().chain(private.iter().flat_map(|private| &private.anchors));
    let mut anchors: Vec<Certificate> = Vec::new();
    for anchor in stored.filter(|anchor| anchor.status != Status::Recorded) {
        let certificate = anchor.certificate()?;
        if !anchors.iter().any(|known| known.fingerprint() == certificate.fingerprint()) {
            anchors.push(certificate);
        }
    }
    Ok(anchors)
}

/// The bundle of the private store: if it has the roots in question, variables should name it.
fn private_bundle(trees: &Trees) -> Result<Option<String>> {
    let Some(private) = &trees.private else { return Ok(None) };
    let state = State::load(private)?;
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
    if presented.is_some_and(|presented| !presented.is_proven) {
        ui.data(
            "the server did not prove that it has the key: trustup cannot verify signatures of this kind",
        )?;
    }
    for anchor in anchors {
        let end = valid_until(anchor.not_after());
        ui.data(format!("installed here: {} ({}), {end}", anchor.subject(), anchor.fingerprint()))?;
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
        if !client.also.is_empty() {
            ui.data(format!("  the same holds for {}", some_of(&client.also, ui.verbose)))?;
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

/// The first of these paths, and how many others.
fn some_of(paths: &[String], all: bool) -> String {
    let shown = if all { paths.len() } else { SHOWN };
    let mut words = paths.iter().take(shown).cloned().collect::<Vec<_>>().join(", ");
    if paths.len() > shown {
        words.push_str(&format!(" and {} (`-v` lists them)", count(paths.len() - shown, "other")));
    }
    words
}

fn show_findings(context: &Context, findings: &[StoreFinding]) -> Result<()> {
    for finding in findings {
        context.ui.data(format!("found: {}: {}", finding.place, finding.what))?;
        context.ui.data(format!("  {}", finding.why))?;
        context.ui.data(format!("  first: {}", finding.first_to_change))?;
    }
    Ok(())
}
