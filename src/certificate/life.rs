//! How long a certificate works: as long as every certificate between it and a root. What decides about a pair, and what
//! reports its end, asks here.

use crate::pki::cert::Certificate;
use crate::pki::cert::signature::SignatureVerdict;
use crate::text;

/// The time in which a chain works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    /// Its first second, since 1970: the leaf's.
    pub(crate) from: i64,
    /// Its last second, since 1970: the earliest end of the certificates that are needed.
    pub(crate) until: i64,
    /// The intermediate that ends before the leaf.
    pub(crate) limit: Option<Certificate>,
}

impl Life {
    /// The life of `chain` (leaf first) for programs that have `roots`; without any, the whole chain is needed. A cross
    /// certificate behind an intermediate that one of the roots issued is not needed. A root's own end is not
    /// considered: no new certificate would change it. `None` without a leaf.
    pub(crate) fn of(chain: &[Certificate], roots: &[Certificate]) -> Option<Life> {
        let (leaf, others) = chain.split_first()?;
        let needed = path(leaf, others, roots);
        let first = needed.into_iter().min_by_key(|certificate| certificate.not_after());
        let limit = first.filter(|first| first.not_after() < leaf.not_after()).cloned();
        let until = limit.as_ref().map_or(leaf.not_after(), Certificate::not_after);
        Some(Life { from: leaf.not_before(), until, limit })
    }

    /// What to warn of: an intermediate that ends before the leaf.
    pub(crate) fn warning(&self, leaf: &Certificate) -> Option<String> {
        let limit = self.limit.as_ref()?;
        Some(format!(
            "the intermediate `{}` ends at {}, before the certificate that it is needed for ({}): every program refuses the certificate from then on; renew the CA's intermediate",
            limit.subject(),
            text::moment(self.until),
            text::moment(leaf.not_after())
        ))
    }
}

/// The certificates above the leaf, up to the one that a root issued. Of those that could have issued one, the one that
/// ends last.
fn path<'a>(leaf: &'a Certificate, others: &'a [Certificate], roots: &[Certificate]) -> Vec<&'a Certificate> {
    let issued = |below: &Certificate, issuer: &Certificate| {
        issuer.subject_der() == below.issuer_der() && below.signature_by(issuer) != SignatureVerdict::Invalid
    };
    let mut path: Vec<&Certificate> = Vec::new();
    let mut head = leaf;
    while !roots.iter().any(|root| issued(head, root)) {
        let candidates = others.iter().filter(|other| !path.contains(other) && issued(head, other));
        let Some(next) = candidates.max_by_key(|candidate| candidate.not_after()) else { break };
        path.push(next);
        head = next;
    }
    path
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn params(name: &str, until: i64) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let after = |seconds: i64| std::time::Duration::from_secs(u64::try_from(seconds).unwrap());
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        (params.not_before, params.not_after) = (epoch + after(NOW), epoch + after(until));
        params
    }

    fn parsed(der: &[u8]) -> Certificate {
        Certificate::from_der(der).unwrap()
    }

    #[test]
    fn the_earliest_end_that_matters() {
        let key = || KeyPair::generate().unwrap();
        let old = CertifiedIssuer::self_signed(params("Old", NOW + 900), key()).unwrap();
        let new_key = key();
        let cross = params("Root", NOW + 50).signed_by(&new_key, &old).unwrap();
        let root = CertifiedIssuer::self_signed(params("Root", NOW + 10), new_key).unwrap();
        let inner = CertifiedIssuer::signed_by(params("CA", NOW + 300), key(), &root).unwrap();
        let leaf = |until| parsed(params("leaf", until).signed_by(&key(), &inner).unwrap().der());
        let (old, root, cross) = (parsed(old.der()), parsed(root.der()), parsed(cross.der()));
        let inner = parsed(inner.der());
        let life = |leaf: &Certificate, others: &[&Certificate], roots: &[Certificate]| {
            let chain: Vec<_> = std::iter::once(leaf).chain(others.iter().copied()).cloned().collect();
            let life = Life::of(&chain, roots).unwrap();
            assert_eq!(life.limit.is_some(), life.warning(leaf).is_some());
            (life.until - NOW, life.limit)
        };
        let (short, long) = (leaf(NOW + 200), leaf(NOW + 400));
        let roots = [root.clone()];
        assert_eq!(life(&short, &[&inner], &roots), (200, None));
        assert_eq!(life(&long, &[&inner], &roots), (300, Some(inner.clone())));
        // The cross certificate is needed only where the new root is not known.
        assert_eq!(life(&short, &[&inner, &cross], &roots), (200, None));
        assert_eq!(life(&short, &[&cross, &inner], &[old]), (50, Some(cross.clone())));
        assert_eq!(life(&short, &[&inner, &cross], &[]), (50, Some(cross)));
        assert_eq!(life(&short, &[], &[]), (200, None));
        assert_eq!(Life::of(&[], &roots), None);
    }
}
