//! Paths from a certificate to a root (RFC 5280 section 6), by rustls-webpki, which follows at most six intermediates.
//! OpenSSL and Go follow any number, and CAs have such chains: the part of a longer path that is above its sixth
//! intermediate is checked here, by the same rules, and webpki checks the rest.

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use super::extensions::id;
use super::key_form;
use super::signature::{self, SignatureVerdict};
use super::structure;
use super::{Certificate, Purpose};

/// The most certificates that may come with one (threat T24): longer chains are not used in practice, and every
/// certificate costs signatures to check.
pub(crate) const MAX_OTHERS: usize = 9;

/// How many intermediates webpki follows.
const OF_WEBPKI: usize = 6;
/// Tried issuers of one search. A path of [`MAX_OTHERS`] certificates needs 10; certificates that many could have issued
/// need more.
const MOST_TRIES: usize = 200;

/// Extensions that are understood if they are critical: those of webpki, which checks the other certificates of the
/// path.
const UNDERSTOOD: [&[u8]; 6] = [
    id::KEY_USAGE,
    id::BASIC_CONSTRAINTS,
    id::EXTENDED_KEY_USAGE,
    id::NAME_CONSTRAINTS,
    id::SUBJECT_ALT_NAME,
    id::CRL_POINTS,
];

/// What every certificate of a path must allow, if its extended key usage narrows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// For webpki.
    extended: KeyUsage,
    /// The same for [`Certificate::allows`].
    purpose: Purpose,
}

impl Usage {
    /// TLS servers.
    pub(crate) const SERVER: Usage =
        Usage { extended: KeyUsage::server_auth(), purpose: Purpose::ServerAuth };
    /// TLS clients.
    pub(crate) const CLIENT: Usage =
        Usage { extended: KeyUsage::client_auth(), purpose: Purpose::ClientAuth };
    /// E-mail: emailProtection, 1.3.6.1.5.5.7.3.4 (RFC 5280 section 4.2.1.12).
    pub(crate) const EMAIL: Usage = Usage {
        extended: KeyUsage::required_if_present(&[0x2b, 6, 1, 5, 5, 7, 3, 4]),
        purpose: Purpose::EmailProtection,
    };
}

/// Whether a path leads from `leaf` through some of `others` to one of `anchors`, each valid at `time` and for `usage`.
///
/// # Errors
/// webpki's. Names of the leaf are not compared.
pub(crate) fn verify(
    leaf: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
    time: UnixTime,
    usage: Usage,
) -> Result<(), Error> {
    let end = EndEntityCert::try_from(leaf)?;
    let verify = |anchors: &[TrustAnchor<'_>], others: &[CertificateDer<'_>]| {
        let algorithms = signature::tls::ALL;
        end.verify_for_usage(algorithms, anchors, others, time, usage.extended, None, None).map(drop)
    };
    match verify(anchors, others) {
        // Of several faults webpki reports one.
        Err(Error::MaximumPathDepthExceeded | Error::UnknownIssuer)
            if (OF_WEBPKI + 1..=MAX_OTHERS).contains(&others.len()) => {}
        done => return done,
    }
    let parse = |der: &CertificateDer<'_>| Certificate::from_der(der).map_err(|_| Error::BadDer);
    let search = Search {
        others: others.iter().map(parse).collect::<Result<_, _>>()?,
        anchors: anchors.iter().collect(),
    };
    let (path, anchor) = search.path(&parse(leaf)?).ok_or(Error::UnknownIssuer)?;
    let Some(top) = path.get(OF_WEBPKI) else { return Err(Error::UnknownIssuer) };
    for (below, certificate) in path.iter().enumerate() {
        may_issue(certificate, below, time, usage)?;
    }
    // The rest of the path ends at the seventh, which may have issued it. What a certificate above it says about names
    // holds for the rest of the path, too: the seventh is taken as an anchor once with the constraints of each.
    let der = |certificate: &Certificate| CertificateDer::from(certificate.der().to_vec());
    let rest: Vec<_> = path[..OF_WEBPKI].iter().map(der).collect();
    let top_der = der(top);
    let seventh = webpki::anchor_from_trusted_cert(&top_der)?;
    for above in &path[OF_WEBPKI..] {
        let above = der(above);
        let name_constraints = webpki::anchor_from_trusted_cert(&above)?.name_constraints;
        verify(&[TrustAnchor { name_constraints, ..seventh.clone() }], &rest)?;
    }
    let name_constraints = anchor.name_constraints.clone();
    verify(&[TrustAnchor { name_constraints, ..seventh.clone() }], &rest)
}

/// Whether a certificate with this number of intermediates below it may be where it is in a path.
fn may_issue(certificate: &Certificate, below: usize, time: UnixTime, usage: Usage) -> Result<(), Error> {
    let now = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let moment = |seconds: i64| {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
    };
    if now < certificate.not_before() {
        return Err(Error::CertNotValidYet { time, not_before: moment(certificate.not_before()) });
    }
    if now > certificate.not_after() {
        return Err(Error::CertExpired { time, not_after: moment(certificate.not_after()) });
    }
    if certificate.is_ca() != Some(true) || certificate.signs_certificates() == Some(false) {
        return Err(Error::EndEntityUsedAsCa);
    }
    if certificate.path_length().is_some_and(|most| below > most) {
        return Err(Error::PathLenConstraintViolated);
    }
    if !certificate.allows(usage.purpose) {
        let context = webpki::RequiredEkuNotFoundContext { required: usage.extended, present: Vec::new() };
        return Err(Error::RequiredEkuNotFoundContext(context));
    }
    let fields = structure::decode(certificate.der()).map_err(|_| Error::BadDer)?;
    let is_understood = |oid| UNDERSTOOD.contains(&oid);
    if fields.extensions.iter().any(|extension| extension.critical && !is_understood(extension.oid)) {
        return Err(Error::UnsupportedCriticalExtension);
    }
    Ok(())
}

/// Certificates, each of which may be above the one below it.
struct Search<'a> {
    others: Vec<Certificate>,
    anchors: Vec<&'a TrustAnchor<'a>>,
}

impl<'a> Search<'a> {
    /// The certificates above `leaf`, up to the one that an anchor issued, and that anchor.
    fn path(&self, leaf: &Certificate) -> Option<(Vec<Certificate>, &'a TrustAnchor<'a>)> {
        let mut path = Vec::new();
        let mut tries = MOST_TRIES;
        let anchor = self.extend(leaf, &mut path, &mut tries)?;
        Some((path, anchor))
    }

    fn extend(
        &self,
        head: &Certificate,
        path: &mut Vec<Certificate>,
        tries: &mut usize,
    ) -> Option<&'a TrustAnchor<'a>> {
        for anchor in &self.anchors {
            *tries = tries.checked_sub(1)?;
            // As webpki keeps them: the contents of a Name and of a SubjectPublicKeyInfo.
            let key = webpki::spki_for_anchor(anchor);
            if content(head.issuer_der()) == Some(anchor.subject.as_ref()) && is_signed(head, &key) {
                return Some(anchor);
            }
        }
        for other in &self.others {
            *tries = tries.checked_sub(1)?;
            let is_in_path = path.iter().any(|in_path| {
                in_path.subject_der() == other.subject_der() && in_path.public_key() == other.public_key()
            });
            if is_in_path || other.subject_der() != head.issuer_der() || !is_signed(head, other.public_key())
            {
                continue;
            }
            path.push(other.clone());
            if let Some(anchor) = self.extend(other, path, tries) {
                return Some(anchor);
            }
            path.pop();
        }
        None
    }
}

fn content(element: &[u8]) -> Option<&[u8]> {
    super::der::only(element, super::der::SEQUENCE).map(|element| element.body)
}

/// Whether this key signed it, in a way that may be relied on.
fn is_signed(certificate: &Certificate, key: &[u8]) -> bool {
    let is_strong = certificate.weak_signature_hash().is_none()
        && super::der::only(key, super::der::SEQUENCE)
            .and_then(|info| key_form::PublicKeyInfo::of(&info))
            .and_then(|key| key_form::rsa_numbers(key.bytes))
            .is_none_or(|(modulus, _)| key_form::bits(modulus) >= 2048);
    is_strong && signature::verify(certificate.der(), key) == SignatureVerdict::Valid
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType,
        ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
    };

    use super::*;

    const NOW: u64 = 1_800_000_000;

    type Change<'a> = &'a dyn Fn(&mut CertificateParams);
    type Changes<'a> = &'a dyn Fn(usize, &mut CertificateParams);

    /// A chain with this many intermediates, from the leaf up, and its root; `change` is given the number of each
    /// intermediate, 0 for the one above the leaf.
    fn chain(count: usize, change: Changes<'_>) -> (Vec<CertificateDer<'static>>, CertificateDer<'static>) {
        let issuer = |name: String, number: Option<usize>| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            if let Some(number) = number {
                change(number, &mut params);
            }
            (params, KeyPair::generate().unwrap())
        };
        let (params, key) = issuer("Root".to_owned(), None);
        let mut above = CertifiedIssuer::self_signed(params, key).unwrap();
        let root = above.der().clone();
        let mut chain = Vec::new();
        for number in (0..count).rev() {
            let (params, key) = issuer(format!("CA {number}"), Some(number));
            above = CertifiedIssuer::signed_by(params, key, &above).unwrap();
            chain.insert(0, above.der().clone());
        }
        let leaf = CertificateParams::new(["web.test".to_owned()]).unwrap();
        chain.insert(0, leaf.signed_by(&KeyPair::generate().unwrap(), &above).unwrap().der().clone());
        (chain, root)
    }

    fn verified(count: usize, change: Changes<'_>) -> Result<(), Error> {
        let (mut chain, root) = chain(count, change);
        let leaf = chain.remove(0);
        // In any order.
        chain.reverse();
        let anchors = [webpki::anchor_from_trusted_cert(&root).unwrap()];
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW));
        verify(&leaf, &chain, &anchors, time, Usage::SERVER)
    }

    #[test]
    fn t24_paths_of_any_length_up_to_the_limit() {
        for count in [0, 1, 5, 6, 7, 8, 9] {
            assert_eq!(verified(count, &|_, _| {}), Ok(()), "{count}");
        }
        assert_eq!(verified(10, &|_, _| {}), Err(Error::MaximumPathDepthExceeded));
    }

    /// Each fault in each certificate, whether webpki checks it or we do.
    #[test]
    fn no_certificate_of_a_long_path_is_spared() {
        let day = |year| rcgen::date_time_ymd(year, 1, 1);
        for bad in 0..9 {
            let with = |change: &dyn Fn(&mut CertificateParams)| {
                verified(9, &|number, params| {
                    if number == bad {
                        change(params);
                    }
                })
            };
            let constrained = |name: &str| {
                let names = vec![GeneralSubtree::DnsName(name.to_owned())];
                NameConstraints { permitted_subtrees: names, excluded_subtrees: Vec::new() }
            };
            assert_eq!(with(&|params| params.name_constraints = Some(constrained("test"))), Ok(()), "{bad}");
            let faults: [(&str, Change<'_>); 8] = [
                ("expired", &|params| params.not_after = day(2026)),
                ("too early", &|params| params.not_before = day(2030)),
                ("no CA", &|params| params.is_ca = IsCa::ExplicitNoCa),
                ("key usage", &|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]),
                ("extended key usage", &|params| {
                    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
                }),
                ("name constraints", &|params| params.name_constraints = Some(constrained("other"))),
                ("critical extension", &|params| {
                    let mut odd = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
                    odd.set_criticality(true);
                    params.custom_extensions = vec![odd];
                }),
                ("path length", &|params| {
                    let length = u8::try_from(bad.max(1) - 1).unwrap();
                    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(length));
                }),
            ];
            for (fault, change) in faults {
                // The first may have no intermediate below it, which is what it has.
                let is_fine = bad == 0 && fault == "path length";
                assert_eq!(with(change).is_ok(), is_fine, "{fault} of {bad}: {:?}", with(change));
            }
        }
    }

    #[test]
    fn a_long_path_that_ends_elsewhere() {
        let (mut chain, _) = chain(8, &|_, _| {});
        let (_, other) = self::chain(0, &|_, _| {});
        let leaf = chain.remove(0);
        let anchors = [webpki::anchor_from_trusted_cert(&other).unwrap()];
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW));
        assert!(verify(&leaf, &chain, &anchors, time, Usage::SERVER).is_err());
    }
}
