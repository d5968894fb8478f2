//! Whether a chain is what was requested: the key, the names, the time, and the root at which it ends. The same for
//! what a CA sent (threat T24) and for what is on disk (T21).

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};

use crate::error::ErrorKind;
use crate::net::tls_words;
use crate::pki::cert::path::{self, MAX_OTHERS, Usage};
use crate::pki::cert::signature::SignatureVerdict;
use crate::pki::cert::{Certificate, SelfSignature, SubjectAltName, WeakHash};
use crate::text;

/// More roots than these do not count as a pin (threat T24).
pub(crate) const MAX_PINNED: usize = 10;
/// How far a CA's clock may be ahead of ours: step-ca's own leeway, seconds.
const LEEWAY: i64 = 60;

/// The beginning of the reason for names that were not requested.
pub(crate) const EXTRA: &str = "it is also for ";

/// Which roots a chain may end at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Roots {
    /// May be empty.
    pub(crate) certificates: Vec<Certificate>,
    /// For people: whose roots these are.
    pub(crate) described: String,
    /// A chain that ends elsewhere is accepted if it is consistent in itself, and is not called pinned.
    pub(crate) or_itself: bool,
}

impl Roots {
    /// Whether a root is pinned.
    pub(crate) fn are_pinned(&self) -> bool {
        (1..=MAX_PINNED).contains(&self.certificates.len())
    }
}

/// What a chain must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// Whether the CA may add other names.
    pub(crate) allow_extra_names: bool,
    /// SubjectPublicKeyInfo, DER.
    pub(crate) public_key: &'a [u8],
    /// The names, in any order.
    pub(crate) names: &'a [SubjectAltName],
    /// Where it must end.
    pub(crate) roots: &'a Roots,
}

/// How far a chain is vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vouched {
    /// It ends at a pinned root.
    Pinned,
    /// It is consistent in itself, and nothing more is known.
    SelfConsistent,
}

/// Why a chain is refused: a reason, in words that can follow "the certificate" and a colon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A signature in it cannot be verified here.
    Unsupported(String),
    /// Anything else.
    Other(String),
}

impl Refusal {
    /// The kind of the error, if the CA just issued the chain.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Refusal::Unsupported(_) => ErrorKind::Unsupported,
            Refusal::Other(_) => ErrorKind::NotTrusted,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Refusal::Unsupported(why) | Refusal::Other(why)) = self;
        f.write_str(why)
    }
}

impl<T: Into<String>> From<T> for Refusal {
    fn from(why: T) -> Self {
        Refusal::Other(why.into())
    }
}

/// Checks `chain` (leaf first).
///
/// # Errors
/// It is not what is wanted.
pub(crate) fn check(chain: &[Certificate], wanted: &Wanted<'_>, now: i64) -> Result<Vouched, Refusal> {
    let (leaf, others) = chain.split_first().ok_or("there is none")?;
    if others.len() > MAX_OTHERS {
        return Err(
            format!("it comes with {} other certificates, more than {MAX_OTHERS}", others.len()).into()
        );
    }
    if leaf.public_key() != wanted.public_key {
        return Err("it is for another key".into());
    }
    if leaf.is_ca() == Some(true) {
        return Err("it is a CA certificate (CA:TRUE), not a server's".into());
    }
    match wanted.allow_extra_names {
        true => names(&leaf.known_alt_names()?, wanted.names, true)?,
        false => names(&leaf.subject_alt_names()?, wanted.names, false)?,
    }
    if now < leaf.not_before().saturating_sub(LEEWAY) {
        let from = text::moment(leaf.not_before());
        return Err(
            format!("it is not valid before {from}, and the clock here says {}", text::moment(now)).into()
        );
    }
    if now > leaf.not_after() {
        let until = text::moment(leaf.not_after());
        return Err(format!("it expired at {until}, and the clock here says {}", text::moment(now)).into());
    }
    let roots = wanted.roots;
    match ends_at(leaf, others, &roots.certificates, now) {
        Ok(()) if roots.are_pinned() => Ok(Vouched::Pinned),
        Ok(()) => Ok(Vouched::SelfConsistent),
        Err(_) if roots.or_itself => consistent(leaf, others, now).map(|()| Vouched::SelfConsistent),
        Err(Doubt::Elsewhere) => Err(Refusal::Other(match others {
            [] => format!("its chain does not end at {}: no intermediate came with it", roots.described),
            _ => format!("its chain does not end at {}", roots.described),
        })),
        Err(Doubt::Refused(why)) => Err(why),
    }
}

/// Why no path leads to a root.
enum Doubt {
    Elsewhere,
    Refused(Refusal),
}

/// Whether these certificates belong together: the last certificate stands in for the root.
fn consistent(leaf: &Certificate, others: &[Certificate], now: i64) -> Result<(), Refusal> {
    match others.split_last() {
        Some((last, between)) => {
            ends_at(leaf, between, std::slice::from_ref(last), now).map_err(|doubt| match doubt {
                Doubt::Elsewhere => "the certificates that came with it do not belong to it".into(),
                Doubt::Refused(why) => why,
            })
        }
        None if leaf.is_self_issued() => Err("it is self-signed".into()),
        None => Ok(()),
    }
}

fn names(has: &[SubjectAltName], wanted: &[SubjectAltName], allow_extra: bool) -> Result<(), String> {
    let list = |names: Vec<&SubjectAltName>| {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let missing: Vec<_> = wanted.iter().filter(|name| !has.contains(name)).collect();
    if !missing.is_empty() {
        return Err(format!("it is not for {}", list(missing)));
    }
    let extra: Vec<_> = has.iter().filter(|name| !wanted.contains(name)).collect();
    if allow_extra || extra.is_empty() { Ok(()) } else { Err(format!("{EXTRA}{}", list(extra))) }
}

/// Whether a path leads from the leaf to one of the roots.
fn ends_at(leaf: &Certificate, others: &[Certificate], roots: &[Certificate], now: i64) -> Result<(), Doubt> {
    let der = |certificate: &Certificate| CertificateDer::from(certificate.der().to_vec());
    let intermediates: Vec<CertificateDer<'_>> = others.iter().map(der).collect();
    let root_ders: Vec<CertificateDer<'_>> = roots.iter().map(der).collect();
    let anchors: Vec<TrustAnchor<'_>> =
        root_ders.iter().filter_map(|root| webpki::anchor_from_trusted_cert(root).ok()).collect();
    let leaf_der = der(leaf);
    // Within the leeway it is as good as valid: this check is about the issuer.
    let seconds = u64::try_from(now.saturating_add(LEEWAY)).unwrap_or_default();
    let late = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let seconds = u64::try_from(now).unwrap_or_default();
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let mut reason = None;
    for time in [time, late] {
        for usage in [Usage::SERVER, Usage::CLIENT, Usage::EMAIL] {
            match path::verify(&leaf_der, &intermediates, &anchors, time, usage) {
                Ok(()) => return Ok(()),
                Err(error @ webpki::Error::RequiredEkuNotFoundContext(_)) => {
                    reason.get_or_insert(error);
                }
                Err(error) => {
                    reason = Some(error);
                    break;
                }
            }
        }
    }
    let why = match reason {
        Some(webpki::Error::UnknownIssuer) => return Err(Doubt::Elsewhere),
        Some(webpki::Error::NameConstraintViolation) => {
            "its CA may not issue such names (name constraints)".into()
        }
        Some(webpki::Error::RequiredEkuNotFoundContext(_)) => {
            "it is neither for TLS nor for e-mail (extended key usage)".into()
        }
        // Usually a CA that was recreated: it has the old name, but another key.
        Some(webpki::Error::InvalidSignatureForPublicKey) => {
            "a signature in its chain is not by the known key of the CA with that name (was the CA created again under the same name?)"
                .into()
        }
        Some(
            error @ (webpki::Error::UnsupportedSignatureAlgorithmContext(_)
            | webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)),
        ) => signature(leaf, others, roots)
            .unwrap_or_else(|| format!("its chain cannot be verified: {}", tls_words::chain(&error)).into()),
        Some(error) => format!("its chain cannot be verified: {}", tls_words::chain(&error)).into(),
        None => "its chain cannot be verified".into(),
    };
    Err(Doubt::Refused(why))
}

/// The signature in a chain that webpki did not verify, in words.
fn signature(leaf: &Certificate, others: &[Certificate], roots: &[Certificate]) -> Option<Refusal> {
    std::iter::once(leaf).chain(others).find_map(|certificate| {
        let subject = certificate.subject();
        match certificate.weak_signature_hash() {
            Some(WeakHash::Md5) => {
                return Some(format!("`{subject}` in its chain is signed with MD5").into());
            }
            Some(WeakHash::Sha1) => {
                return Some(format!("`{subject}` in its chain is signed with SHA-1").into());
            }
            None => {}
        }
        let mut issuers =
            others.iter().chain(roots).filter(|issuer| issuer.subject_der() == certificate.issuer_der());
        issuers.find_map(|issuer| match certificate.signature_by(issuer) {
            SignatureVerdict::Unsupported(how) => Some(Refusal::Unsupported(format!(
                "`{subject}` in its chain is signed with {how}, which trustup cannot verify"
            ))),
            _ => None,
        })
    })
}

/// The chain as it is stored: without roots, which everyone who relies on them has. A certificate that names itself as
/// its issuer, and that another key signed, is no root: a root that was renewed under its name comes with such a cross
/// certificate, for programs that have only the old root (RFC 4210 section 4.4).
pub(crate) fn without_roots(chain: &[Certificate]) -> Vec<Certificate> {
    let is_root = |certificate: &Certificate| {
        certificate.is_self_issued() && certificate.self_signature() != SelfSignature::Invalid
    };
    let (leaf, others) = chain.split_at(chain.len().min(1));
    leaf.iter().chain(others.iter().filter(|other| !is_root(other))).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose,
        GeneralSubtree, IsCa, KeyPair, NameConstraints, PublicKeyData as _,
    };

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn lives(params: &mut CertificateParams, from: i64, until: i64) {
        let after = |seconds: i64| std::time::Duration::from_secs(u64::try_from(seconds).unwrap());
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        (params.not_before, params.not_after) = (epoch + after(from), epoch + after(until));
    }

    fn issuer(
        name: &str,
        above: Option<&CertifiedIssuer<'static, KeyPair>>,
    ) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        lives(&mut params, NOW - 1000, NOW + 100_000);
        let key = KeyPair::generate().unwrap();
        match above {
            None => CertifiedIssuer::self_signed(params, key).unwrap(),
            Some(above) => CertifiedIssuer::signed_by(params, key, above).unwrap(),
        }
    }

    struct Chain {
        root: CertifiedIssuer<'static, KeyPair>,
        intermediate: CertifiedIssuer<'static, KeyPair>,
        key: KeyPair,
    }

    impl Chain {
        fn new() -> Chain {
            let root = issuer("Root", None);
            let intermediate = issuer("Intermediate", Some(&root));
            Chain { root, intermediate, key: KeyPair::generate().unwrap() }
        }

        fn leaf(&self, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
            let mut params = CertificateParams::new(["web.test".to_owned()]).unwrap();
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            lives(&mut params, NOW - 100, NOW + 1000);
            change(&mut params);
            let leaf = params.signed_by(&self.key, &self.intermediate).unwrap();
            Certificate::from_der(leaf.der()).unwrap()
        }

        fn check_with(&self, chain: &[Certificate], roots: &Roots, now: i64) -> Result<Vouched, String> {
            let public_key = self.key.subject_public_key_info();
            let names = ["web.test".parse().unwrap()];
            let wanted = Wanted { allow_extra_names: false, public_key: &public_key, names: &names, roots };
            check(chain, &wanted, now).map_err(|refusal| refusal.to_string())
        }

        fn check(&self, change: impl FnOnce(&mut CertificateParams), now: i64) -> Result<Vouched, String> {
            let chain = [self.leaf(change), parsed(&self.intermediate)];
            self.check_with(&chain, &roots(&[&self.root]), now)
        }
    }

    fn parsed(issuer: &CertifiedIssuer<'static, KeyPair>) -> Certificate {
        Certificate::from_der(issuer.der()).unwrap()
    }

    fn roots(roots: &[&CertifiedIssuer<'static, KeyPair>]) -> Roots {
        let certificates = roots.iter().map(|root| parsed(root)).collect();
        Roots { certificates, described: "the root".to_owned(), or_itself: false }
    }

    #[test]
    fn usages_and_times() {
        let chain = Chain::new();
        assert_eq!(chain.check(|_| {}, NOW), Ok(Vouched::Pinned));
        for usages in [
            vec![],
            vec![ExtendedKeyUsagePurpose::ClientAuth],
            vec![ExtendedKeyUsagePurpose::EmailProtection],
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        ] {
            let good = chain.check(|params| params.extended_key_usages = usages.clone(), NOW);
            assert_eq!(good, Ok(Vouched::Pinned), "{usages:?}");
        }
        let code = chain
            .check(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning], NOW);
        assert!(code.unwrap_err().contains("neither for TLS nor for e-mail"));
        // The CA's clock may be a minute ahead.
        assert_eq!(chain.check(|_| {}, NOW - 100 - LEEWAY), Ok(Vouched::Pinned));
        assert!(chain.check(|_| {}, NOW - 101 - LEEWAY).unwrap_err().contains("is not valid before"));
        assert_eq!(chain.check(|_| {}, NOW + 1000), Ok(Vouched::Pinned));
        assert!(chain.check(|_| {}, NOW + 1001).unwrap_err().contains("it expired at"));
    }

    #[test]
    fn t24_names_keys_and_cas() {
        let chain = Chain::new();
        let named = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let sans = CertificateParams::new(names).unwrap().subject_alt_names;
            chain.check(move |params| params.subject_alt_names = sans, NOW)
        };
        assert_eq!(named(&["WEB.test"]), Ok(Vouched::Pinned));
        assert!(named(&["web.test", "10.0.0.1"]).unwrap_err().contains("it is also for `10.0.0.1`"));
        assert!(named(&["other.test"]).unwrap_err().contains("it is not for `web.test`"));
        assert!(named(&[]).unwrap_err().contains("it is not for `web.test`"));
        let ca = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        assert!(chain.check(ca, NOW).unwrap_err().contains("CA:TRUE"));
        let other = Chain { key: KeyPair::generate().unwrap(), ..Chain::new() };
        let foreign = [chain.leaf(|_| {}), parsed(&chain.intermediate)];
        assert!(other.check_with(&foreign, &roots(&[&chain.root]), NOW).unwrap_err().contains("another key"));
        assert!(chain.check_with(&[], &roots(&[&chain.root]), NOW).is_err());
        let mut long = vec![chain.leaf(|_| {})];
        long.extend(std::iter::repeat_n(parsed(&chain.intermediate), MAX_OTHERS + 1));
        assert!(chain.check_with(&long, &roots(&[&chain.root]), NOW).unwrap_err().contains("more than 9"));
    }

    #[test]
    fn where_a_chain_ends() {
        let chain = Chain::new();
        let other = issuer("Other Root", None);
        let whole = [chain.leaf(|_| {}), parsed(&chain.intermediate)];
        let (right, wrong) = (roots(&[&chain.root]), roots(&[&other]));
        let itself = |roots: &Roots| Roots { or_itself: true, ..roots.clone() };
        assert_eq!(chain.check_with(&whole, &roots(&[&other, &chain.root]), NOW), Ok(Vouched::Pinned));
        assert!(chain.check_with(&whole, &wrong, NOW).unwrap_err().contains("does not end at the root"));
        assert!(
            chain.check_with(&whole[..1], &right, NOW).unwrap_err().contains("no intermediate came with it")
        );
        assert_eq!(chain.check_with(&whole, &itself(&right), NOW), Ok(Vouched::Pinned));
        assert_eq!(chain.check_with(&whole, &itself(&wrong), NOW), Ok(Vouched::SelfConsistent));
        assert_eq!(chain.check_with(&whole, &itself(&roots(&[])), NOW), Ok(Vouched::SelfConsistent));
        assert!(chain.check_with(&whole, &roots(&[]), NOW).is_err());
        // Certificates that do not belong together are not a chain, whatever is pinned.
        let mixed = [chain.leaf(|_| {}), parsed(&other)];
        assert!(
            chain.check_with(&mixed, &itself(&roots(&[])), NOW).unwrap_err().contains("do not belong to it")
        );
        // A recreated CA has the old one's name.
        let anew = roots(&[&issuer("Root", None)]);
        assert!(
            chain.check_with(&whole, &anew, NOW).unwrap_err().contains("created again under the same name")
        );
        // More roots than a handful do not count as a pin.
        let many: Vec<_> = (0..MAX_PINNED).map(|at| issuer(&format!("Root {at}"), None)).collect();
        let many: Vec<_> = many.iter().chain([&chain.root]).collect();
        assert_eq!(chain.check_with(&whole, &roots(&many), NOW), Ok(Vouched::SelfConsistent));
        let with_root = [whole[0].clone(), whole[1].clone(), parsed(&chain.root)];
        assert_eq!(without_roots(&with_root), whole.to_vec());
    }

    #[test]
    fn name_constraints_hold() {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Narrow");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        lives(&mut params, NOW - 1000, NOW + 100_000);
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("internal".to_owned())],
            excluded_subtrees: vec![GeneralSubtree::IpAddress(rcgen::CidrSubnet::from_addr_prefix(
                IpAddr::from([0, 0, 0, 0]),
                0,
            ))],
        });
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let intermediate = issuer("Intermediate", Some(&root));
        let chain = Chain { root, intermediate, key: KeyPair::generate().unwrap() };
        assert!(chain.check(|_| {}, NOW).unwrap_err().contains("name constraints"));
    }
}
