//! A bundle from the web: many roots at one address. Its host must be vouched for (threat T2), or the file by a hash;
//! what left it may not silently come back (threat T5).

use super::cache::CacheEntry;
use super::collect::CertificateOrigin;
use super::{Acquisition, SourceReport, system};
use crate::error::{Error, ErrorKind, Result};
use crate::net::Trust;
use crate::pki::fingerprint::Fingerprint;
use crate::trust::source::given;

/// Fetches the bundle, or uses an earlier run's result if its server cannot be reached.
pub(super) async fn fetch(
    run: &mut Acquisition<'_>,
    index: usize,
    sha256: Option<Fingerprint>,
) -> Result<()> {
    let url = run.url(index)?;
    let id = run.source(index).id()?;
    let origin = CertificateOrigin { id: &id, file: None, many: true };
    let (trust, vouched_by) = whom_to_believe(run, sha256)?;
    let cached = sha256.and_then(|hash| run.cached_bundle(&hash));
    let net = run.net()?;
    if cached.is_none() && matches!(trust, Trust::Unverified) {
        run.warn_of_password(&url);
    }
    let mut report = SourceReport {
        id: id.clone(),
        former_id: run.source(index).former_id(),
        replaces: true,
        contacted: cached.is_none(),
        fresh: true,
        by_pin: false,
        vouched_by: Some(vouched_by),
        proxy: net.proxy_shown(&url).filter(|_| cached.is_none()),
        cached: cached.is_some(),
        fingerprints: Vec::new(),
    };
    let answer = match cached {
        Some(body) => Ok(body),
        None => net.get(&url, &trust).await.and_then(crate::net::FetchAnswer::success),
    };
    let body = match answer {
        Ok(body) => body,
        Err(error)
            if error.kind() == ErrorKind::Unreachable
                && run.previous(&id).is_some()
                && !run.request.require_fresh =>
        {
            from_earlier_run(run, &origin, error)?;
            // Nothing was learned about its current content.
            report.replaces = false;
            report.fresh = false;
            run.collected.report(index, report);
            return Ok(());
        }
        Err(error) if error.kind() == ErrorKind::NotTrusted => return Err(explain_trust(error, run)),
        Err(error) => return Err(error),
    };
    if let Some(expected) = sha256 {
        let received = Fingerprint::of(&body);
        if received != expected {
            return Err(Error::not_trusted(format!("the bundle's SHA-256 does not match: expected {expected}, received {received}"))
                .at(&id)
                .hint("compare with `sha256sum` of the file where it is made: a newer bundle needs a new `--bundle-sha256`"));
        }
    }
    let file = given::read(&body, &id)?;
    if let Some(back) =
        file.certificates.iter().find(|certificate| has_come_back(run, &id, certificate.fingerprint()))
    {
        return Err(Error::not_trusted(format!(
            "the bundle brings back a root that had left it: `{}`, {}",
            back.subject(),
            back.fingerprint()
        ))
        .at(&id)
        .hint("an old copy of the bundle does that; ask who serves it, and if the root is to be trusted again, use `--allow-rollback`"));
    }
    if run.collected.take_file(&origin, file, &[])? == 0 {
        return Err(run.collected.nothing_left(&origin));
    }
    if let Some(hash) = sha256 {
        run.collected.keep(CacheEntry::Bundle(hash, body));
    }
    run.collected.report(index, report);
    Ok(())
}

/// A pinned file needs no trust; else pinned roots alone; else what this system trusts (threat T2).
fn whom_to_believe(run: &mut Acquisition<'_>, sha256: Option<Fingerprint>) -> Result<(Trust, String)> {
    if sha256.is_some() {
        return Ok((Trust::Unverified, "the pinned SHA-256 of the file".to_owned()));
    }
    let pinned: Vec<_> = run.collected.pinned().map(|anchor| anchor.certificate.clone()).collect();
    let (roots, vouched_by) = if pinned.is_empty() {
        let store = system::trusted_roots(run.root, run.context.env)?;
        if let Some(warning) = store.warning {
            run.collected.warn(warning);
        }
        (store.roots, store.named)
    } else {
        let subjects: Vec<String> = pinned.iter().map(|root| format!("`{}`", root.subject())).collect();
        let roots = pinned.iter().map(|root| root.der().to_vec().into()).collect();
        (roots, format!("the pinned root {}", subjects.join(", ")))
    };
    Ok((Trust::Roots { roots, vouched_by: vouched_by.clone() }, vouched_by))
}

fn explain_trust(error: Error, run: &Acquisition<'_>) -> Error {
    let error = if run.collected.pinned().next().is_some() {
        error.hint(
            "with a pinned root, that root alone vouches for the bundle's host, not the roots of this system",
        )
    } else {
        error.hint("the CA's own root can vouch for the host: add `--ca-url URL --fingerprint HEX`")
    };
    error.hint("or pin the file, whoever serves it: `--bundle-sha256 HEX`")
}

fn has_come_back(run: &Acquisition<'_>, id: &str, fingerprint: Fingerprint) -> bool {
    !run.request.allow_rollback
        && run.previous(id).is_some_and(|previous| previous.removed.contains(&fingerprint))
}

/// An unreachable server does not remove trust that an earlier run gave.
fn from_earlier_run(run: &mut Acquisition<'_>, origin: &CertificateOrigin<'_>, why: Error) -> Result<()> {
    let known = run.known;
    let Some(previous) = run.previous(origin.id) else { return Err(why) };
    let kept: Vec<_> =
        previous.fingerprints.iter().filter_map(|fingerprint| known.certificates.get(fingerprint)).collect();
    if kept.is_empty() {
        return Err(why);
    }
    run.collected.warn(format!(
        "{why}; continuing with the {} of {} certificates of it that an earlier run installed (`--require-fresh` makes this an error)",
        kept.len(),
        previous.fingerprints.len()
    ));
    for certificate in kept {
        run.collected.take(origin, certificate.clone(), &[], true)?;
    }
    Ok(())
}
