//! The warnings about roots whose servers common clients refuse, by the same rules as `doctor`'s verdicts. From the
//! roots' own properties: nothing is searched for, since the client may come with a later image.

use std::collections::BTreeSet;

use super::{RootWarning, count, root_warnings};
use crate::pki::cert::Certificate;
use crate::trust::source::{Acquired, Source};

/// One line for a reason, whatever the number of roots that it is about; none about roots of public bundles, which
/// programs have anyway. `now` in seconds since 1970.
pub(crate) fn warnings(acquired: &Acquired, sources: &[Source], now: i64) -> Vec<String> {
    let of_bundles: BTreeSet<&str> = acquired
        .sources
        .iter()
        .zip(sources)
        .filter(|(_, source)| matches!(source, Source::Bundle { .. }))
        .map(|(report, _)| report.id.as_str())
        .collect();
    let mut found: Vec<(RootWarning, Vec<&Certificate>)> = Vec::new();
    for anchor in &acquired.anchors {
        let root = &anchor.certificate;
        let is_public =
            webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().any(|public| public.as_ref() == root.der());
        if is_public || of_bundles.contains(anchor.source.as_str()) {
            continue;
        }
        for warning in root_warnings(root, now) {
            match found.iter_mut().find(|(known, _)| *known == warning) {
                Some((_, roots)) => roots.push(root),
                None => found.push((warning, vec![root])),
            }
        }
    }
    found.iter().map(|(warning, roots)| line(warning, roots)).collect()
}

fn line(warning: &RootWarning, roots: &[&Certificate]) -> String {
    let RootWarning { clients, predicate } = warning;
    match roots {
        [] => String::new(),
        [root] => format!("{clients} will refuse servers of {}: the root {predicate}", root.subject()),
        [first, others @ ..] => format!(
            "{clients} will refuse servers of {} and of {}: each of these roots {predicate}",
            first.subject(),
            count(others.len(), "other root")
        ),
    }
}
