//! What the TLS clients of a root file system would do, and why: which store or variable each reads, whether the roots
//! that trustup installed are in there, whether they would trust a given server, and the first thing to change.
//!
//! Only reads: no program is run, nothing is written. A pure function of the view, the variables and what a server
//! presented ([`crate::net::handshake`]).

mod binary;
mod clients;
mod crates;
mod elf;
mod findings;
mod go_build;
mod judgement;
mod library;
mod program;
mod reading;
mod recommendation;
pub(crate) mod refused_roots;
mod repair;
mod rules;
mod scope;
mod search;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use self::binary::Binaries;
use self::clients::{TABLE, TlsClient};
pub(crate) use self::findings::{StoreFinding, count, findings, unrepaired, unverified};
use self::judgement::{FactsByFingerprint, Judge, Judgement};
pub(crate) use self::judgement::{RootWarning, root_warnings};
use self::library::TlsLibrary;
use self::reading::{Installation, ReadSource, RootsByFingerprint, StoreReader};
use self::recommendation::real;
pub(crate) use self::repair::plan_repair;
use self::scope::RuleScope;
use self::search::Inventory;
use crate::error::Result;
use crate::host::env::Env;
use crate::net::handshake::Presented;
use crate::pki::cert::{Certificate, Purpose};
use crate::pki::fingerprint::Fingerprint;
use crate::text;
use crate::trust::facts::Facts;
use crate::trust::stores::java;
use crate::trust::updater::OutputKind;
use crate::trust::view::View;

/// What to inspect.
pub struct Question<'a> {
    /// The roots that the clients should hold.
    pub anchors: &'a [Certificate],
    /// The server's chain that they should accept.
    pub presented: Option<&'a Presented>,
    /// The caller's variables; none in a foreign sysroot.
    pub env: &'a Env,
    /// The private store's bundle, if there is a private store.
    pub bundle: Option<String>,
}

/// What a client would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ClientVerdict {
    /// Accept the server.
    Accepts,
    /// Refuse it.
    Refuses,
    /// Accept any server: it verifies no certificate.
    DoesNotVerify,
    /// Stop before any connection: what it has to load cannot be loaded.
    Stops,
    /// Accept servers of all the roots in question.
    Holds,
    /// Refuse those of one of them.
    Lacks,
    /// Nothing is in question.
    Reads,
    /// trustup does not know: its files do not show which roots it reads, or its rules are not known.
    CannotJudge,
}

impl ClientVerdict {
    /// Whether there is nothing to change.
    pub(crate) fn is_good(self) -> bool {
        matches!(self, ClientVerdict::Accepts | ClientVerdict::Holds | ClientVerdict::Reads)
    }

    /// In words for people.
    pub(crate) fn word(self) -> &'static str {
        match self {
            ClientVerdict::Accepts => "accepts the server",
            ClientVerdict::Refuses => "refuses the server",
            ClientVerdict::DoesNotVerify => "does not verify servers",
            ClientVerdict::Stops => "fails before it connects",
            ClientVerdict::Holds => "holds the root",
            ClientVerdict::Lacks => "lacks the root",
            ClientVerdict::Reads => "reads",
            ClientVerdict::CannotJudge => "cannot be judged",
        }
    }
}

/// How a client reads a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PlaceKind {
    /// A PEM file.
    Bundle,
    /// A directory, searched by subject hash.
    HashDirectory,
    /// Every file of a directory.
    Directory,
    /// A Java keystore.
    Keystore,
    /// An NSS database.
    NssDatabase,
    /// The list inside the program.
    CompiledIn,
}

/// A place that a client reads.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlaceView {
    /// Its path, escaped.
    pub path: String,
    /// How it is read.
    pub kind: PlaceKind,
    /// The variable that names it; `None`: the client's default.
    pub(crate) variable: Option<&'static str>,
    /// How many roots the client gets from it.
    pub(crate) roots: usize,
    /// The roots in question that are among them.
    pub anchors: Vec<Fingerprint>,
    /// Why it has none, or not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A client, and what it would do.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClientView {
    /// Its row in the table.
    pub client: &'static str,
    /// For people.
    pub(crate) name: &'static str,
    /// Whether it is installed.
    pub installed: bool,
    /// Its program, or other evidence that it is installed.
    pub found: Option<String>,
    /// Other programs for which the same holds.
    pub also: Vec<String>,
    /// The library that verifies servers for it.
    pub(crate) library: String,
    /// What it would do.
    pub verdict: ClientVerdict,
    /// Why, for people.
    pub why: String,
    /// What it reads.
    pub reads: Vec<PlaceView>,
    /// The first thing to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_to_change: Option<String>,
    /// What else to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<&'static str>,
}

/// A client that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// A row of the table.
    Row(&'static str),
    /// A program, by its path in the root file system.
    Program(String),
}

/// A demanded client that is not there.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct MissingClient {
    /// The row, or the path, as demanded.
    pub(crate) client: String,
    /// Why it is none.
    pub(crate) why: String,
}

/// How far the search for programs came.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SearchView {
    /// How many executable files it looked at.
    pub(crate) files: usize,
    /// The bound at which it ended early; null: it saw every executable file.
    pub(crate) ended_after: Option<String>,
    /// Programs that everyone may execute, and trustup could not read.
    pub(crate) unreadable: Vec<String>,
}

impl SearchView {
    /// Whether every program was looked at.
    pub(crate) fn is_complete(&self) -> bool {
        self.ended_after.is_none() && self.unreadable.is_empty()
    }
}

/// The clients of a root file system.
#[derive(Debug)]
pub(crate) struct Inspection {
    /// The clients, or those that were demanded.
    pub(crate) clients: Vec<ClientView>,
    /// What was demanded and is not there.
    pub(crate) missing: Vec<MissingClient>,
    /// The search that found them.
    pub(crate) search: SearchView,
}

/// The rows of the table.
pub(crate) fn rows() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|client| client.id)
}

/// Inspects every client.
///
/// # Errors
/// The root file system cannot be read.
pub fn clients(view: &View, facts: &Facts, question: &Question) -> Result<Vec<ClientView>> {
    inspect(view, facts, question, &[]).map(|inspection| inspection.clients)
}

/// Inspects every client, or only those that are demanded.
///
/// # Errors
/// The root file system cannot be read.
pub(crate) fn inspect(
    view: &View,
    facts: &Facts,
    question: &Question,
    demanded: &[Demand],
) -> Result<Inspection> {
    let servers = Some(Purpose::ServerAuth);
    let is_bundle = |kind| kind == OutputKind::Bundle;
    let bundle = facts.outputs.iter().find(|output| is_bundle(output.kind) && output.purpose == servers);
    let mut scope = RuleScope {
        view,
        env: question.env,
        row: facts.row.id,
        bundle: bundle.map(|output| output.path.clone()),
        binaries: Binaries::new(view.sysroot()),
        java_homes: Vec::new(),
        homes: homes(view, question.env)?,
    };
    let mut doctor = Doctor {
        question,
        bundle: question.bundle.clone().or_else(|| scope.bundle.clone()),
        reader: StoreReader::new(view),
        outputs: facts.outputs.iter().map(|output| real(view.sysroot(), &output.path)).collect(),
        keystores: keystores(view, question.env),
        distribution: facts.row.id,
        known: BTreeMap::new(),
    };
    // Programs that are named need no search.
    let only_named = !demanded.is_empty() && demanded.iter().all(|one| matches!(one, Demand::Program(_)));
    let inventory = if only_named { Inventory::default() } else { Inventory::search(&scope)? };
    scope.java_homes = inventory.java_homes();
    let search = SearchView {
        files: inventory.files,
        ended_after: inventory.bound.clone(),
        unreadable: inventory.closed.iter().map(|path| text::escape(path)).collect(),
    };
    let all = if only_named { Vec::new() } else { inventory.installations(&scope)? };
    let (mut clients, mut missing) = (Vec::new(), Vec::new());
    if demanded.is_empty() {
        clients.extend(all.into_iter().map(|(client, one)| doctor.examine(client, one)));
        return Ok(Inspection { clients, missing, search });
    }
    for (at, one) in demanded.iter().enumerate() {
        if demanded[..at].contains(one) {
            continue;
        }
        match one {
            Demand::Row(id) => {
                let of_row = all.iter().filter(|(client, one)| client.id == *id && one.found.is_some());
                let before = clients.len();
                clients.extend(of_row.map(|(client, one)| doctor.examine(client, one.clone())));
                if clients.len() == before {
                    missing.push(MissingClient {
                        client: (*id).to_owned(),
                        why: "it is not installed".to_owned(),
                    });
                }
            }
            Demand::Program(path) => match search::named(&scope, path)? {
                Ok((client, one)) => clients.push(doctor.examine(client, one)),
                Err(why) => missing.push(MissingClient { client: text::escape(path), why }),
            },
        }
    }
    Ok(Inspection { clients, missing, search })
}

/// The keystores that `bootstrap` finds, with the caller's JAVA_HOME.
fn keystores(view: &View, env: &Env) -> BTreeSet<String> {
    let homes: Vec<String> = env.var("JAVA_HOME").map(ToOwned::to_owned).into_iter().collect();
    let search = java::find::find(view.sysroot(), &homes);
    let found = search.found.into_iter().map(|found| found.path);
    found.chain(search.missing.iter().map(|path| real(view.sysroot(), path))).collect()
}

/// Whose browsers are inspected: the caller's, and in a foreign sysroot those of all users with a home.
fn homes(view: &View, env: &Env) -> Result<Vec<String>> {
    if view.sysroot().is_host() {
        return Ok(env.var("HOME").map(ToOwned::to_owned).into_iter().collect());
    }
    let users = view.sysroot().list("/home")?.unwrap_or_default();
    Ok(std::iter::once("/root".to_owned()).chain(users.iter().map(|user| format!("/home/{user}"))).collect())
}

struct Doctor<'q, 'v, 's> {
    question: &'q Question<'q>,
    /// The value for a variable that replaces a client's roots.
    bundle: Option<String>,
    reader: StoreReader<'v, 's>,
    /// The stores of the distribution, without links.
    outputs: BTreeSet<String>,
    /// The keystores that `bootstrap` finds, without links.
    keystores: BTreeSet<String>,
    /// The row of the table of distributions.
    distribution: &'static str,
    /// The facts of certificates, each read once.
    known: FactsByFingerprint,
}

impl Doctor<'_, '_, '_> {
    fn examine(&mut self, client: &TlsClient, installation: Installation) -> ClientView {
        let Installation { found, also, sources, library, note, unjudged, names } = installation;
        let mut roots = RootsByFingerprint::new();
        let mut reads = Vec::new();
        let mut stops = None;
        let mut used = Vec::new();
        for source in sources {
            if source.last_resort && !roots.is_empty() {
                continue;
            }
            let loaded = self.reader.load(&source);
            if source.needed && loaded.roots.is_empty() && stops.is_none() {
                let problem = loaded.problem.clone().unwrap_or_else(|| "it holds no root".to_owned());
                stops = Some((source.clone(), problem));
            }
            reads.push(self.place(&source, &loaded.roots, loaded.problem.clone()));
            roots.extend(loaded.roots.iter().map(|(fingerprint, root)| (*fingerprint, root.clone())));
            used.push(source);
        }
        let (verdict, why, first_to_change) = match (unjudged, stops) {
            (Some(why), _) => (ClientVerdict::CannotJudge, why, None),
            (None, Some((source, problem))) => {
                let named = named(&source);
                let why = format!("it must load {named}, and cannot: {problem}");
                (ClientVerdict::Stops, why, Some(self.instead_of(&source)))
            }
            (None, None) => {
                let judge =
                    Judge { client: client.id, library: &library, distribution: self.distribution, names };
                self.verdict(client, &judge, &roots, &used)
            }
        };
        ClientView {
            client: client.id,
            name: client.name,
            installed: found.is_some(),
            found: found.map(|found| text::escape(&found)),
            also: also.iter().map(|path| text::escape(path)).collect(),
            library: library.shown(),
            verdict,
            why,
            reads,
            first_to_change,
            note,
        }
    }

    fn place(&self, source: &ReadSource, roots: &RootsByFingerprint, problem: Option<String>) -> PlaceView {
        let anchors = self.question.anchors.iter().map(Certificate::fingerprint);
        PlaceView {
            path: text::escape(&source.path),
            kind: source.reads.kind(),
            variable: source.variable,
            roots: roots.len(),
            anchors: anchors.filter(|anchor| roots.contains_key(anchor)).collect(),
            problem,
        }
    }

    fn verdict(
        &mut self,
        client: &TlsClient,
        judge: &Judge<'_>,
        roots: &RootsByFingerprint,
        used: &[ReadSource],
    ) -> (ClientVerdict, String, Option<String>) {
        let anchors = self.question.anchors;
        let missing: Vec<&Certificate> =
            anchors.iter().filter(|anchor| !roots.contains_key(&anchor.fingerprint())).collect();
        if *judge.library == TlsLibrary::Unverified {
            let why = "it verifies no certificate: anyone on the way can read and change what it transfers";
            return (ClientVerdict::DoesNotVerify, why.to_owned(), Some(UNVERIFIED.to_owned()));
        }
        let Some(presented) = self.question.presented else {
            return match missing.first() {
                None if anchors.is_empty() => (ClientVerdict::Reads, count(roots.len(), "root"), None),
                None => (ClientVerdict::Holds, "it reads all roots that trustup installed".to_owned(), None),
                Some(first) => {
                    let why = format!("it does not read {}", first.subject());
                    (ClientVerdict::Lacks, why, Some(self.change(client, used)))
                }
            };
        };
        match judge.judge(presented, roots, &mut self.known) {
            Judgement::Accepts => {
                (ClientVerdict::Accepts, "the server's chain ends at a root that it reads".to_owned(), None)
            }
            Judgement::CannotJudge(why) => (ClientVerdict::CannotJudge, why, None),
            Judgement::Refuses { why, change: Some(change) } => (ClientVerdict::Refuses, why, Some(change)),
            Judgement::Refuses { why, change: None } => {
                // If the roots in question are all there, their absence is not the reason.
                let change = if missing.is_empty() && !anchors.is_empty() {
                    "have the server send the certificate of that issuer if it is an intermediate; if it is a root, install it with `trustup bootstrap`".to_owned()
                } else {
                    self.change(client, used)
                };
                (ClientVerdict::Refuses, why, Some(change))
            }
        }
    }
}

/// A place in a sentence.
fn named(source: &ReadSource) -> String {
    let path = text::escape(&source.path);
    match source.variable {
        Some(variable) => format!("`{path}` of {variable}"),
        None => format!("`{path}`"),
    }
}

/// What helps a program that verifies nothing.
const UNVERIFIED: &str =
    "use another program: curl, GNU wget, or the wget of a BusyBox with `ssl_client` (Alpine)";
