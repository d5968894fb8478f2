//! The ACME server that is asked: a named one, or an ACME provisioner of the configured CA.

use std::path::Path;

use url::Url;

use super::{Failure, IssueFacts, IssueOrder, trust};
use crate::certificate::check::Roots;
use crate::error::{ErrorKind, Result};
use crate::net::Trust;
use crate::net::url::same_origin;
use crate::trust::source::system;

/// The directory of an ACME provisioner of a CA.
pub(super) fn directory_of(ca: &Url, provisioner: &str) -> Url {
    let mut url = ca.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.clear().extend(["acme", provisioner, "directory"]);
    }
    url
}

/// Whom the connection trusts: roots that were given now or belong to the CA alone; for another server the system's and
/// those that bootstrap recorded.
pub(super) fn believed(
    about: &IssueFacts<'_>,
    roots: Option<&Roots>,
    directory: &Url,
    warn: &(dyn Fn(&str) + Sync),
) -> Result<Trust> {
    let is_the_ca = about.ca.url.as_ref().is_some_and(|url| same_origin(url, directory));
    if let Some(roots) = roots.filter(|_| about.ca.is_given || is_the_ca) {
        return Ok(trust(roots));
    }
    let system = system::trusted_roots(Path::new("/"), about.env)?;
    if let Some(warning) = &system.warning {
        warn(warning);
    }
    let mut all = system.roots;
    all.extend(roots.iter().flat_map(|roots| &roots.certificates).map(|root| root.der().to_vec().into()));
    Ok(Trust::Roots { roots: all, vouched_by: system.named })
}

/// Whether the CA has this ACME provisioner, as far as it lists them: not every server with such directories is a
/// step-ca.
pub(super) async fn look_up(order: &mut IssueOrder<'_>, name: &str) -> Result<(), Failure> {
    if order.roots.is_none() {
        return Ok(());
    }
    match order.ca()?.provisioners().await {
        Ok(list) if !list.0.is_empty() => Ok(list.require(name, "ACME")?),
        // The server would not answer the next question either.
        Err(failed)
            if failed.status.is_none()
                && matches!(failed.error.kind(), ErrorKind::Unreachable | ErrorKind::NotTrusted) =>
        {
            Err(failed.into())
        }
        Ok(_) | Err(_) => Ok(()),
    }
}
