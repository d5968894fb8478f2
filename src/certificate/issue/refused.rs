//! A certificate that was issued and refused: reported, remembered, and not requested again for a day while CA, names
//! and options are the same.

use super::IssueRequest;
use super::methods::{Failure, IssueFacts, Method};
use super::resolve::ResolvedInputs;
use super::trust;
use crate::certificate::check::Refusal;
use crate::certificate::pending::Pending;
use crate::certificate::refusals::{COUNTS, RefusedIssue};
use crate::error::{Error, ErrorKind};
use crate::net::url::masked;
use crate::pki::fingerprint::Fingerprint;
use crate::text;

/// The request, as far as it decides what is issued and accepted: CA, names, options.
pub(super) fn request_id(
    settled: &ResolvedInputs<'_>,
    method: &dyn Method,
    about: &IssueFacts<'_>,
) -> Fingerprint {
    let IssueRequest { key_type, not_after, issuer_root, allow_extra_names, .. } = settled.request;
    let ca = &settled.ca;
    let mut parts = vec![
        method.name().to_owned(),
        method.asks(ca).map(|url| url.to_string()).unwrap_or_default(),
        method.identity(),
        key_type.map(|kind| kind.to_string()).unwrap_or_default(),
        not_after.map(|end| end.to_string()).unwrap_or_default(),
        allow_extra_names.to_string(),
    ];
    // A pin names the root before it is fetched, and afterwards.
    match (&ca.roots, ca.pins.as_slice()) {
        (Some(roots), []) => parts.extend(roots.certificates.iter().map(|root| root.fingerprint().hex())),
        (_, pins) => parts.extend(pins.iter().map(Fingerprint::hex)),
    }
    if let Some(path) = issuer_root {
        // Another root under the same path is another option.
        let roots = trust::from_file(path, &[]).map(|roots| roots.certificates).unwrap_or_default();
        parts.push(path.display().to_string());
        parts.extend(roots.iter().map(|root| root.fingerprint().hex()));
    }
    let mut names: Vec<String> = about.names.iter().map(ToString::to_string).collect();
    names.sort();
    parts.extend(names);
    // No part has a control character.
    Fingerprint::of(parts.join("\n").as_bytes())
}

/// The failure if this request was refused within the last day, and is not forced.
pub(super) fn remembered(
    settled: &ResolvedInputs<'_>,
    method: &dyn Method,
    request: &Fingerprint,
    pending: &Pending,
    now: i64,
) -> Option<Failure> {
    let refused = pending.refusal(request, now).filter(|_| !settled.request.force)?;
    let at = text::moment(refused.at);
    let what =
        format!("the certificate that the CA issued at {at} cannot be used, so the CA was not asked again");
    let error = Error::new(refused.kind(), what).because(anyhow::anyhow!("{}", refused.why));
    let error = at_the_ca(error, settled, method);
    Some(advise(error, &refused.why).hint(format!(
        "`--force` asks again, once the CA is corrected; without it, trustup asks again from {}, or if CA, names or options change",
        text::moment(refused.at.saturating_add(COUNTS))
    )).into())
}

/// The failure for a chain that was refused; it is remembered.
pub(super) fn report(
    settled: &ResolvedInputs<'_>,
    method: &dyn Method,
    request: Fingerprint,
    refusal: &Refusal,
    pending: &mut Pending,
    now: i64,
) -> Failure {
    let error =
        Error::new(refusal.kind(), "the CA issued a certificate that cannot be used; it was discarded")
            .because(anyhow::anyhow!("{refusal}"));
    let error = advise(at_the_ca(error, settled, method), &refusal.to_string());
    remember(error, request, refusal.kind(), refusal.to_string(), pending, now)
}

/// Remembers the refusal with this reason; `error` is what the method reported.
pub(super) fn remember(
    error: Error,
    request: Fingerprint,
    kind: ErrorKind,
    why: String,
    pending: &mut Pending,
    now: i64,
) -> Failure {
    match pending.save_refusal(RefusedIssue::new(request, now, kind, why)) {
        Ok(()) => error
            .hint("the CA is not asked again for 24 hours, unless CA, names or options change: `--force` asks again")
            .into(),
        // The next run asks again.
        Err(_) => error.into(),
    }
}

fn at_the_ca(error: Error, settled: &ResolvedInputs<'_>, method: &dyn Method) -> Error {
    error.at(method.asks(&settled.ca).as_ref().map(masked).unwrap_or_default())
}

/// What helps against this reason.
fn advise(error: Error, why: &str) -> Error {
    if why.contains(crate::certificate::check::EXTRA) {
        return error.hint(
            "`--allow-extra-names` accepts names that the CA adds; or correct the template of the CA's provisioner",
        );
    }
    error.hint("check the CA's provisioner and its templates; `--issuer-root FILE` names another root for the issued chain")
}
