//! The `java-cacerts` file that p11-kit's `trust extract` writes: a JKS with `changeit`, one date for all entries,
//! aliases made of labels. Seen on p11-kit 0.24.1.

use super::alias::numbered;
use super::{Content, Keystore, Password, jks};
use crate::cert::Certificate;

/// One root, before clashing aliases are numbered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// What [`super::p11_alias`] made of its label.
    pub alias: String,
    /// The certificate.
    pub certificate: Certificate,
}

impl Root {
    /// The root that p11-kit makes of an anchor with no label of its own.
    pub fn of(certificate: &Certificate) -> Root {
        let label = certificate.has_label().then(|| certificate.label());
        Root { alias: super::p11_alias(label.as_deref()), certificate: certificate.clone() }
    }
}

/// The file of these roots, in this order; `date` in milliseconds since 1970 (p11-kit's are whole seconds).
pub fn write(roots: &[Root], date: i64) -> Result<Vec<u8>, super::Problem> {
    const VERSION: u32 = 2;
    let aliases = numbered(roots.iter().map(|root| root.alias.as_str()));
    let entries: Result<Vec<_>, _> = roots
        .iter()
        .zip(&aliases)
        .map(|(root, alias)| jks::entry(VERSION, alias, &root.certificate, date))
        .collect();
    Ok(jks::write(VERSION, &entries?, &Password::default()))
}

/// The roots and the date of such a file (`None` where it has no root); `None` if writing them again would not give
/// these very bytes.
///
/// An alias `x-1` behind an `x` is read as a second `x`: whoever puts another `x` in front gets `x-1` and `x-2`.
pub fn read(bytes: &[u8]) -> Option<(Vec<Root>, Option<i64>)> {
    let keystore = Keystore::parse(bytes, &Password::default()).ok()?;
    let mut roots: Vec<Root> = Vec::new();
    let mut counts = std::collections::HashMap::<String, usize>::new();
    for entry in keystore.entries() {
        let Content::Trusted { der, .. } = entry.content() else { return None };
        let numbered = entry.alias().rsplit_once('-').filter(|(alias, number)| {
            let count = counts.get(*alias).copied().unwrap_or(0);
            count > 0 && *number == count.to_string()
        });
        let alias = numbered.map_or(entry.alias(), |(alias, _)| alias).to_owned();
        *counts.entry(alias.clone()).or_default() += 1;
        roots.push(Root { alias, certificate: Certificate::from_der(der).ok()? });
    }
    let date = keystore.entries().first().and_then(super::Entry::date);
    (write(&roots, date.unwrap_or(0)).ok()? == bytes).then_some((roots, date))
}
