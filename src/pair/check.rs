//! Whether a chain is what was asked for: the key, the names, the time, and the root that it ends at. The same for what
//! a CA sent (threat T24) and for what stands on disk (T21).

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::cert::{Certificate, SubjectAltName};
use crate::fingerprint::Fingerprint;
use crate::net::tls;
use crate::text;

/// Longer chains nobody uses; every certificate costs a signature to check (threat T24).
const MAX_CHAIN: usize = 10;
/// More roots than these are no pin (threat T24).
pub const MAX_PINNED: usize = 10;
/// How far a CA's clock may be ahead of ours: step-ca's own leeway, seconds.
const LEEWAY: i64 = 60;
/// emailProtection, 1.3.6.1.5.5.7.3.4: the content of the OBJECT IDENTIFIER (RFC 5280 section 4.2.1.12).
const EMAIL_PROTECTION: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x04];

/// Which roots a chain may end at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// May be none.
    pub certificates: Vec<Certificate>,
    /// For people: whose roots these are.
    pub described: String,
    /// A chain that ends elsewhere is taken if it is consistent in itself, and is not called pinned.
    pub or_itself: bool,
}

impl Roots {
    /// Whether a root is pinned.
    pub fn are_pinned(&self) -> bool {
        (1..=MAX_PINNED).contains(&self.certificates.len())
    }
}

/// What a chain must be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// SubjectPublicKeyInfo, DER.
    pub public_key: &'a [u8],
    /// The names, in any order.
    pub names: &'a [SubjectAltName],
    /// Where it has to end.
    pub roots: &'a Roots,
}

/// How far a chain is vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vouched {
    /// It ends at a pinned root.
    Pinned,
    /// It is consistent in itself, and that is all that is known.
    ByItself,
}

/// Checks `chain` (leaf first). The error is a reason, in words that can follow "the certificate" and a colon.
pub fn check(chain: &[Certificate], wanted: &Wanted<'_>, now: i64) -> Result<Vouched, String> {
    let (leaf, others) = chain.split_first().ok_or("there is none")?;
    if chain.len() > MAX_CHAIN {
        return Err(format!("it comes with {} others, more than {}", others.len(), MAX_CHAIN - 1));
    }
    if leaf.public_key() != wanted.public_key {
        return Err("it is for another key".to_owned());
    }
    if leaf.is_ca() == Some(true) {
        return Err("it is a CA's (CA:TRUE), not a service's".to_owned());
    }
    names(&leaf.subject_alt_names()?, wanted.names)?;
    if now < leaf.not_before().saturating_sub(LEEWAY) {
        let from = text::moment(leaf.not_before());
        return Err(format!("it is not valid before {from}, and the clock here says {}", text::moment(now)));
    }
    if now > leaf.not_after() {
        let until = text::moment(leaf.not_after());
        return Err(format!("it expired at {until}, and the clock here says {}", text::moment(now)));
    }
    let roots = wanted.roots;
    match ends_at(leaf, others, &roots.certificates, now) {
        Ok(()) if roots.are_pinned() => Ok(Vouched::Pinned),
        Ok(()) => Ok(Vouched::ByItself),
        Err(_) if roots.or_itself => consistent(leaf, others, now).map(|()| Vouched::ByItself),
        Err(Doubt::Elsewhere) => Err(match others {
            [] => format!("its chain does not end at {}: no intermediate came with it", roots.described),
            _ => format!("its chain does not end at {}", roots.described),
        }),
        Err(Doubt::Other(why)) => Err(why),
    }
}

/// Why no path leads to a root.
enum Doubt {
    Elsewhere,
    Other(String),
}

/// Whether what came belongs together: the last certificate stands in for the root.
fn consistent(leaf: &Certificate, others: &[Certificate], now: i64) -> Result<(), String> {
    match others.split_last() {
        Some((last, between)) => {
            ends_at(leaf, between, std::slice::from_ref(last), now).map_err(|doubt| match doubt {
                Doubt::Elsewhere => "the certificates that came with it do not belong to it".to_owned(),
                Doubt::Other(why) => why,
            })
        }
        None if leaf.is_self_issued() => Err("it is signed by itself".to_owned()),
        None => Ok(()),
    }
}

fn names(has: &[SubjectAltName], wanted: &[SubjectAltName]) -> Result<(), String> {
    let list = |names: Vec<&SubjectAltName>| {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let missing: Vec<_> = wanted.iter().filter(|name| !has.contains(name)).collect();
    if !missing.is_empty() {
        return Err(format!("it is not for {}", list(missing)));
    }
    let extra: Vec<_> = has.iter().filter(|name| !wanted.contains(name)).collect();
    if extra.is_empty() { Ok(()) } else { Err(format!("it is also for {}", list(extra))) }
}

/// Whether a path leads from the leaf to one of the roots.
fn ends_at(leaf: &Certificate, others: &[Certificate], roots: &[Certificate], now: i64) -> Result<(), Doubt> {
    let der = |certificate: &Certificate| CertificateDer::from(certificate.der().to_vec());
    let intermediates: Vec<CertificateDer<'_>> = others.iter().map(der).collect();
    let roots: Vec<CertificateDer<'_>> = roots.iter().map(der).collect();
    let anchors: Vec<TrustAnchor<'_>> =
        roots.iter().filter_map(|root| webpki::anchor_from_trusted_cert(root).ok()).collect();
    let leaf = der(leaf);
    let leaf = EndEntityCert::try_from(&leaf)
        .map_err(|error| Doubt::Other(format!("it cannot be verified: {error}")))?;
    // Within the leeway it is as good as valid: what is asked here is who issued it.
    let seconds = u64::try_from(now.saturating_add(LEEWAY)).unwrap_or_default();
    let late = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let seconds = u64::try_from(now).unwrap_or_default();
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let algorithms = tls::provider().signature_verification_algorithms.all;
    let mut reason = None;
    for time in [time, late] {
        for usage in [KeyUsage::server_auth(), KeyUsage::client_auth(), KeyUsage::required(EMAIL_PROTECTION)]
        {
            match leaf.verify_for_usage(algorithms, &anchors, &intermediates, time, usage, None, None) {
                Ok(_) => return Ok(()),
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
    Err(match reason {
        Some(webpki::Error::UnknownIssuer) => Doubt::Elsewhere,
        Some(webpki::Error::NameConstraintViolation) => {
            Doubt::Other("its CA may not issue such names (name constraints)".to_owned())
        }
        Some(error) => Doubt::Other(format!("its chain cannot be verified: {error}")),
        None => Doubt::Other("its chain cannot be verified".to_owned()),
    })
}

/// The chain as it is kept: without the root, which everybody who relies on it has.
pub fn without_root(mut chain: Vec<Certificate>) -> Vec<Certificate> {
    while chain.len() > 1 && chain.last().is_some_and(Certificate::is_self_issued) {
        chain.pop();
    }
    chain
}

/// The fingerprints of the roots, for reports.
pub fn fingerprints(roots: &Roots) -> Vec<Fingerprint> {
    roots.certificates.iter().map(Certificate::fingerprint).collect()
}
