//! What is resolved before anything is requested or changed: which CA, which names, and what already exists.

use std::time::Instant;

use url::Url;

use super::enrolled::Enrolled;
use super::methods::Method;
use super::trust::{self, Ca};
use super::{IssueContext, IssueRequest};
use crate::certificate::check::Roots;
use crate::certificate::facts::{self, PairState};
use crate::certificate::pending;
use crate::certificate::{FILE_LIMIT, Outputs};
use crate::error::{Error, Result};
use crate::pki::cert::{SubjectAltName, readers};
use crate::rootfs::{Meta, split};

/// What is resolved before anything is requested or changed.
pub(super) struct ResolvedInputs<'a> {
    pub(super) request: &'a IssueRequest,
    pub(super) ca: Ca,
    pub(super) names: Vec<SubjectAltName>,
    /// What an earlier enrollment left beside the key.
    pub(super) kept: Option<Enrolled>,
    /// The CA's address or directory in that record.
    pub(super) kept_url: Option<Url>,
    /// The damage in that record.
    pub(super) damage: Option<String>,
    pub(super) began: Instant,
}

/// Resolves the CA and the names, from the settings and what is known here.
pub(super) fn resolve_inputs<'a>(
    request: &'a IssueRequest,
    world: &IssueContext<'_>,
    began: Instant,
) -> Result<ResolvedInputs<'a>> {
    refuse_newer(world, &request.outputs)?;
    let (kept, damage) = match kept(world, &request.outputs)? {
        Some(Ok(kept)) => (Some(kept), None),
        Some(Err(damage)) => (None, Some(damage)),
        None => (None, None),
    };
    let mut recorded = world.recorded.clone();
    if let Some(kept) = &kept {
        recorded.add_known(kept.roots());
    }
    // An unreadable token matters only if it is needed: its method reports it then.
    let token = request.methods.iter().find_map(|method| method.token().ok().flatten());
    let mut ca = trust::resolve(&request.ca, &recorded, token.as_ref())?;
    for root in &ca.recorded {
        (world.note)(&format!("using the CA's root that `trustup bootstrap` recorded: {root}"));
    }
    if let Some(kept) = kept.as_ref().filter(|_| ca.is_unknown() && !recorded.is_ignored()) {
        // A spent token may be gone; the pair that it brought is judged by the CA that it named.
        ca = kept.as_ca();
    }
    let names = names(request, world)?;
    let kept_url = kept.as_ref().and_then(Enrolled::url);
    Ok(ResolvedInputs { request, ca, names, kept, kept_url, damage, began })
}

/// Refuses to work on a pair that a newer trustup works on.
fn refuse_newer(world: &IssueContext<'_>, outputs: &Outputs) -> Result<()> {
    for (path, format) in pending::versioned(outputs) {
        if let Some(bytes) = of_ours(world, outputs, &path)? {
            format.refuse_newer(&bytes, &path)?;
        }
    }
    Ok(())
}

/// What an earlier enrollment left beside the key.
fn kept(world: &IssueContext<'_>, outputs: &Outputs) -> Result<Option<Result<Enrolled, String>>> {
    let path = pending::enrolled_path(outputs);
    of_ours(world, outputs, &path)?.map(|bytes| Enrolled::parse(&bytes, &path)).transpose()
}

/// The content of a file in our directory beside the key, if no other user can have written it.
fn of_ours(world: &IssueContext<'_>, outputs: &Outputs, path: &str) -> Result<Option<Vec<u8>>> {
    let uid = crate::host::privilege::uid();
    let ours = |meta: Meta| meta.uid == uid && (outputs.allow_shared || meta.mode & 0o077 == 0);
    let is_safe = world.host.lstat(split(path).0).ok().flatten().is_some_and(ours)
        && outputs.protection(world.host, path)?.danger.is_none();
    if !is_safe {
        return Ok(None);
    }
    let found = world.host.read_no_link(path, FILE_LIMIT).ok().flatten();
    Ok(found.filter(|(_, meta)| ours(*meta)).map(|(bytes, _)| bytes))
}

/// A CA's answer that an interrupted run saved and did not place, PEM.
pub(super) fn saved_answer(world: &IssueContext<'_>, outputs: &Outputs) -> Result<Option<Vec<u8>>> {
    of_ours(world, outputs, &pending::answer_path(outputs))
}

/// The names: those that were given, else the token's, else those of a certificate that waits to be placed, else those
/// of the existing one.
fn names(request: &IssueRequest, world: &IssueContext<'_>) -> Result<Vec<SubjectAltName>> {
    let mut names = request.names.clone();
    if names.is_empty() {
        let of_token = request.methods.iter().find_map(|method| method.token_names().ok().flatten());
        names = of_token.unwrap_or_default();
    }
    let names_of = |bytes: Vec<u8>| {
        let chain = readers::read_chain(&bytes).ok();
        chain.and_then(|chain| chain.first()?.known_alt_names().ok()).unwrap_or_default()
    };
    if names.is_empty() {
        names = saved_answer(world, &request.outputs)?.map(names_of).unwrap_or_default();
    }
    if names.is_empty() {
        let standing = world.host.read(&request.outputs.cert, FILE_LIMIT).ok().flatten();
        names = standing.map(|(bytes, _)| names_of(bytes)).unwrap_or_default();
    }
    if names.is_empty() {
        // If there is an unreadable token, it is the error to report.
        for method in &request.methods {
            method.token_names()?;
        }
        return Err(Error::usage("no names for the certificate are given")
            .hint("name them after the method, such as `trustup enroll provisioner web.internal …`"));
    }
    let mut unique = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    Ok(unique)
}

/// Where a chain of this method must end; `None` if the roots have to be fetched first.
pub(super) fn roots_for(settled: &ResolvedInputs<'_>, method: &dyn Method) -> Result<Option<Roots>> {
    if let Some(path) = &settled.request.issuer_root {
        return trust::from_file(path, &[]).map(Some);
    }
    let or_itself = !method.chain_must_match_tls_roots();
    let roots = settled.ca.roots.clone().map(|roots| Roots { or_itself, ..roots });
    let nobodys = || Roots { certificates: Vec::new(), described: "no root".to_owned(), or_itself: true };
    Ok(if or_itself { roots.or_else(|| Some(nobodys())) } else { roots })
}

/// The existing pair, checked against the roots of each method; and the roots that it was checked against.
pub(super) fn inspect_pair(
    settled: &ResolvedInputs<'_>,
    world: &IssueContext<'_>,
    now: i64,
) -> Result<(PairState, Roots)> {
    let request = settled.request;
    let unknown = Roots {
        certificates: Vec::new(),
        described: "the CA's root, which is not known here yet".to_owned(),
        or_itself: false,
    };
    let mut seen: Option<(PairState, Roots)> = None;
    for method in &request.methods {
        let roots = roots_for(settled, method.as_ref())?.unwrap_or_else(|| unknown.clone());
        let about = facts::PairRequirements {
            names: &settled.names,
            allow_extra_names: request.allow_extra_names,
            key_type: request.key_type,
            roots: &roots,
        };
        let standing = facts::inspect_pair(world.host, &request.outputs, &about, now)?;
        let is_good = matches!(standing, PairState::Good(_));
        if seen.is_none() || is_good {
            seen = Some((standing, roots));
        }
        if is_good {
            break;
        }
    }
    Ok(seen.unwrap_or((PairState::Nothing, unknown)))
}
