//! What the CA says about when to renew the existing pair.

use std::path::Path;
use std::time::{Duration, Instant};

use super::methods::{RenewalInfo, RenewalQuestion};
use super::resolve::{inspect_pair, resolve_inputs};
use super::{IssueContext, IssueRequest, issue_facts};
use crate::error::Result;
use crate::net::dns::ResolverFiles;
use crate::net::progress::Note;
use crate::net::{Net, NetContext};

/// For the question: it is only advice.
const TIME: Duration = Duration::from_secs(10);

/// Asks the CA that issued the pair when it wants it renewed; `None`, without a request, if there is no pair that is good
/// but for its age, or if its CA is never asked that.
///
/// # Errors
/// The request is not possible, or something cannot be read.
pub(crate) async fn renewal_info(
    request: &IssueRequest,
    world: &IssueContext<'_>,
) -> Result<Option<RenewalInfo>> {
    let quiet = IssueContext { note: &|_| {}, ..world.clone() };
    let settled = resolve_inputs(request, &quiet, Instant::now())?;
    let (standing, _) = inspect_pair(&settled, world, world.network.env.now())?;
    let Some(pair) = standing.pair() else { return Ok(None) };
    let names = ResolverFiles::of_root(Path::new("/"), &mut |_| {});
    let network = NetContext { note: Note::default(), ..world.network.clone() };
    let time = TIME.min(request.timeout);
    let net = Net::new(network, names, time)?.within(time, None);
    let about = issue_facts(&settled, world, Some(pair));
    let roots = settled.ca.roots.as_ref();
    let question = RenewalQuestion { about, life: &pair.life, net: &net, roots };
    for method in &request.methods {
        if let Some(info) = method.renewal_info(&question).await {
            return Ok(Some(info));
        }
    }
    Ok(None)
}
