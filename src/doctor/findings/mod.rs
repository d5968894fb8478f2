//! What others left in the stores, and in the variables: dangling links, files of a killed update, bundles that
//! programs refuse, roots replaced by one, anchors that no store knows. Only reads; `bootstrap --repair` repairs what
//! is ours to repair ([`super::repair`]).

mod certificate_files;
mod hash_links;

use std::collections::BTreeSet;

use serde::Serialize;

use self::certificate_files::{
    broken_inputs, bundles, leftovers, malformed_certificates, out_of_step, unread_inputs,
};
pub(super) use self::certificate_files::{inspect_bundle, leftovers_of, out_of_step_anchors};
pub(super) use self::hash_links::{MissingLink, look_at_hash_links, look_for_missing_hash_links};
use self::hash_links::{hash_links, missing_hash_links};
use super::{ClientVerdict, ClientView};
use crate::error::Result;
use crate::host::env::Env;
use crate::pki::cert::{DEVELOPMENT_ROOT, Purpose};
use crate::rootfs::FileKind;
use crate::rootfs::path::child;
use crate::text;
use crate::trust::facts::Facts;
use crate::trust::runtimes::{Effect, TABLE as VARIABLES};
use crate::trust::updater::OutputKind;
use crate::trust::view::View;

/// A root whose lifetime (seconds) does not exceed this belongs to a throwaway CA: threat T25's lives 30 days.
const SHORT_LIFE: i64 = 31 * 24 * 3600;
/// The names that development CAs, ours and others', give their roots.
const DEVELOPMENT: [&str; 4] =
    [DEVELOPMENT_ROOT, "mkcert development CA", "Caddy Local Authority", "localhost"];
/// The system's roots divided by this: a bundle with fewer is not a whole one.
const FEWER: usize = 4;
/// How many names are shown of a group.
const SHOWN: usize = 3;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    /// Dangling hash links.
    DanglingHashLinks,
    /// Hash links to a certificate of another name, or after a gap in the numbers.
    StaleHashLinks,
    /// Certificates of a hash directory without a hash link.
    MissingHashLinks,
    /// The unfinished file of a killed update.
    KilledUpdate,
    /// END and BEGIN on one line.
    JoinedBlocks,
    /// No line end at the end: appending joins two blocks.
    NoFinalNewline,
    /// A block that some programs cannot read.
    DamagedBlock,
    /// Another program's certificate for which some programs refuse the whole bundle.
    MalformedCertificate,
    /// A certificate file in the anchor directory that no program reads.
    UnreadInput,
    /// A certificate file that would spoil the bundle at the next run of the distribution's update.
    BrokenInput,
    /// A variable that replaces all roots with a few.
    FewRoots,
    /// A variable that names a missing file.
    MissingFile,
    /// An anchor file whose certificate is in no bundle.
    OutOfStep,
    /// A root of a development CA.
    DevelopmentRoot,
    /// A program that verifies no server.
    VerifiesNothing,
}

/// A finding.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct StoreFinding {
    /// What it is.
    pub(crate) kind: What,
    /// A path, or a variable.
    pub(crate) place: String,
    /// What was found, for people.
    pub(crate) what: String,
    /// Why it matters.
    pub(crate) why: &'static str,
    /// The first thing to do.
    pub(crate) first_to_change: String,
    /// Whether `bootstrap --repair` repairs it.
    pub(crate) mendable: bool,
}

/// A command of ours for the inspected root file system, as typed.
pub(super) fn command(view: &View, arguments: &str) -> String {
    let sysroot = view.sysroot();
    if sysroot.is_host() {
        format!("`trustup {arguments}`")
    } else {
        format!("`trustup --sysroot {} {arguments}`", text::escape(&sysroot.path().to_string_lossy()))
    }
}

fn repair(view: &View) -> String {
    format!("{} repairs it", command(view, "bootstrap --repair"))
}

/// Inspects the stores of `facts` and the variables of `env`.
///
/// # Errors
/// A store cannot be read.
pub(crate) fn findings(view: &View, facts: &Facts, env: &Env) -> Result<Vec<StoreFinding>> {
    let mut found = Vec::new();
    for output in &facts.outputs {
        if output.kind == OutputKind::HashDirectory {
            hash_links(view, &output.path, &mut found)?;
            missing_hash_links(view, facts, &output.path, &mut found)?;
        }
    }
    leftovers(view, facts, &mut found)?;
    bundles(view, facts, &mut found)?;
    malformed_certificates(view, facts, &mut found)?;
    broken_inputs(view, facts, &mut found)?;
    unread_inputs(view, facts, &mut found)?;
    variables(view, facts, env, &mut found)?;
    out_of_step(view, facts, &mut found)?;
    development_roots(view, facts, &mut found)?;
    Ok(found)
}

/// The programs that verify no server, as findings.
pub(crate) fn unverified(clients: &[ClientView]) -> Vec<StoreFinding> {
    let installed = clients.iter().filter(|client| client.verdict == ClientVerdict::DoesNotVerify);
    installed
        .filter_map(|client| {
            Some(StoreFinding {
                kind: What::VerifiesNothing,
                place: client.found.clone()?,
                what: format!("{} verifies no TLS certificate here", client.name),
                why: "anyone on the way can read and change what it transfers; no root in any store changes that",
                first_to_change: client.first_to_change.clone()?,
                mendable: false,
            })
        })
        .collect()
}

fn variables(view: &View, facts: &Facts, env: &Env, found: &mut Vec<StoreFinding>) -> Result<()> {
    let of_servers = facts.outputs.iter().filter(|output| output.purpose == Some(Purpose::ServerAuth));
    let bundle = of_servers.clone().find(|output| output.kind == OutputKind::Bundle);
    let bundle_roots =
        bundle.and_then(|bundle| facts.offers.get(&bundle.path)).map_or(0, |offer| offer.roots.len());
    for row in VARIABLES {
        let Some(value) = env.var(row.name) else { continue };
        let paths: Vec<&str> = match row.effect {
            // Options of which a keystore may be one: Java's own row covers it.
            Effect::JavaOptions => continue,
            Effect::ReplacesDirectory => value.split(':').filter(|path| !path.is_empty()).collect(),
            Effect::Replaces | Effect::Adds => vec![value],
        };
        let mut roots = 0;
        let mut missing = false;
        for path in paths {
            match view.sysroot().stat(path).ok().flatten() {
                None => {
                    missing = true;
                    found.push(StoreFinding {
                        kind: What::MissingFile,
                        place: row.name.to_owned(),
                        what: format!("it names `{}`, which does not exist", text::escape(path)),
                        why: "some programs stop with an error, others continue without any root",
                        first_to_change: match bundle {
                            Some(bundle) => format!("unset {}, or set it to `{}`", row.name, bundle.path),
                            None => format!("unset {}", row.name),
                        },
                        mendable: false,
                    });
                }
                Some(meta) if meta.kind == FileKind::Directory => {
                    for name in view.actual_names(path)? {
                        roots += view.actual_certificates(&child(path, &name)).map_or(0, |found| found.len());
                    }
                }
                Some(_) => roots += view.actual_certificates(path).map_or(0, |found| found.len()),
            }
        }
        if row.effect != Effect::Adds && !missing && roots * FEWER < bundle_roots {
            let path = bundle.map_or("", |bundle| &bundle.path);
            found.push(StoreFinding {
                kind: What::FewRoots,
                place: row.name.to_owned(),
                what: format!(
                    "it names `{}`, with {}; the system has {bundle_roots}",
                    text::escape(value),
                    count(roots, "root")
                ),
                why: "it replaces the roots of its programs: they trust these and no others",
                first_to_change: format!("unset {}, or set it to `{path}`", row.name),
                mendable: false,
            });
        }
    }
    Ok(())
}

/// What `bootstrap --repair` should have repaired and did not, in the same form as every finding.
///
/// # Errors
/// A store cannot be read.
pub(crate) fn unrepaired(view: &View, facts: &Facts) -> Result<Vec<StoreFinding>> {
    let mut found = Vec::new();
    for output in facts.outputs.iter().filter(|output| output.kind == OutputKind::HashDirectory) {
        hash_links(view, &output.path, &mut found)?;
        missing_hash_links(view, facts, &output.path, &mut found)?;
    }
    leftovers(view, facts, &mut found)?;
    bundles(view, facts, &mut found)?;
    out_of_step(view, facts, &mut found)?;
    Ok(found)
}

fn development_roots(view: &View, facts: &Facts, found: &mut Vec<StoreFinding>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for output in facts.outputs.iter().filter(|output| output.kind == OutputKind::Bundle) {
        for root in view.actual_certificates(&output.path).unwrap_or_default() {
            let label = root.label();
            let short = root.not_after() - root.not_before() <= SHORT_LIFE;
            let known = DEVELOPMENT.iter().any(|name| label.starts_with(name));
            if (short || known) && seen.insert(root.fingerprint()) {
                found.push(StoreFinding {
                    kind: What::DevelopmentRoot,
                    place: shown(view, &output.path),
                    what: format!(
                        "{} is a root of a development CA ({})",
                        root.subject(),
                        root.fingerprint()
                    ),
                    why: "anyone with the key of such a CA can impersonate any server to this system",
                    first_to_change: format!(
                        "keep it out of images that leave your machine: {} removes what trustup installed",
                        command(view, "untrust --all")
                    ),
                    mendable: false,
                });
            }
        }
    }
    Ok(())
}

fn shown(view: &View, path: &str) -> String {
    text::escape(&view.sysroot().display(path))
}

/// `1 root`, `2 roots`.
pub(crate) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
