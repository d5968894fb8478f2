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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::acme::{AcmeMethod, AcmeOptions};
    use super::super::{ExistingPair, Method, RenewalQuestion};
    use crate::certificate::issue::trust::Ca;
    use crate::certificate::life::Life;
    use crate::host::env::Env;
    use crate::net::{Net, dns};
    use crate::pki::cert::Certificate;
    use crate::pki::key::{KeyType, PrivateKey};

    use super::*;

    #[tokio::test]
    async fn only_the_server_that_issued_a_pair_is_asked_about_it() {
        // Nobody listens at port 1.
        let server: Url = "https://127.0.0.1:1/dir".parse().unwrap();
        let (origin, other): (Url, Url) =
            ("https://127.0.0.1:1/".parse().unwrap(), "https://127.0.0.1:2/".parse().unwrap());
        let env = Env::fixed([], 1_800_000_000);
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let chain = [Certificate::from_der(made.cert.der()).unwrap()];
        let (key, life) = (PrivateKey::generate(KeyType::EcP256).unwrap(), Life::of(&chain, &[]).unwrap());
        let roots =
            Roots { certificates: chain.to_vec(), described: "the test's root".to_owned(), or_itself: false };
        let names = dns::ResolverSettings::from_texts(None, None);
        let net =
            Net::new(&env, &names, Duration::from_secs(5)).unwrap().within(Duration::from_secs(5), None);
        let ca = Ca { is_given: true, ..Ca::default() };
        let named = AcmeOptions { directory: Some(server), ..AcmeOptions::default() };
        let of_ca = AcmeOptions { provisioner: Some("acme".to_owned()), ..AcmeOptions::default() };
        for (options, came_from, is_asked) in [
            (named.clone(), Some(("acme", Some(&origin))), true),
            (named.clone(), Some(("acme", Some(&other))), false),
            (named.clone(), Some(("acme", None)), false),
            (named.clone(), Some(("token", Some(&origin))), false),
            (named, None, false),
            // The CA is not known.
            (of_ca, Some(("acme", Some(&origin))), false),
            (AcmeOptions::default(), Some(("acme", Some(&origin))), false),
        ] {
            let existing = Some(ExistingPair { chain: &chain, key: &key, came_from });
            let about = IssueFacts { env: &env, ca: &ca, names: &[], not_after: None, existing };
            let question = RenewalQuestion { about, life: &life, net: &net, roots: Some(&roots) };
            let info = AcmeMethod::new(options).renewal_info(&question).await;
            assert_eq!(info.is_some(), is_asked, "{came_from:?}");
            let Some(info) = info else { continue };
            assert!(info.window.is_none() && info.problem.is_some(), "{info:?}");
            assert_eq!(info.again, Duration::from_secs(3600), "a server that is down may be up in an hour");
        }
    }
}
