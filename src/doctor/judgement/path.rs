//! The chains that a library would build from what a server sent and what is in the store, and the faults of each.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::constraints::{self, ConstraintFault};
use super::host::HostNames;
use super::rules::{Fault, Position, Rules};
use crate::doctor::reading::RootsByFingerprint;
use crate::pki::cert::facts::{CertificateFacts, KeyKind, OwnedName};
use crate::pki::cert::loadable::{self, Library};
use crate::pki::cert::signature::SignatureVerdict;
use crate::pki::cert::{Certificate, WeakHash};
use crate::pki::fingerprint::Fingerprint;

/// Longer chains, and more of them, are not built.
const LONGEST: usize = 16;
const MOST: usize = 64;

/// A certificate with its facts.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) certificate: Certificate,
    pub(super) facts: Rc<CertificateFacts>,
}

/// A chain: the server's first, the one in the store last.
pub(super) struct Chain {
    members: Vec<Member>,
}

/// Where no chain went further.
#[derive(Default)]
pub(super) struct DeadEnd {
    /// The last certificate whose issuer is missing, and its place.
    pub(super) last: Option<(Certificate, usize)>,
    /// A certificate of the store that did not sign itself, where the library wants one that did.
    pub(super) not_a_root: Option<Certificate>,
}

/// Builds chains.
pub(super) struct Builder<'a> {
    pub(super) rules: &'a Rules,
    pub(super) sent: &'a [Member],
    pub(super) roots: &'a RootsByFingerprint,
    pub(super) now: i64,
    pub(super) facts: &'a mut FactsByFingerprint,
    pub(super) found: Vec<Chain>,
    pub(super) dead_end: DeadEnd,
}

/// The facts of certificates, each read once. `None`: malformed.
pub(in crate::doctor) type FactsByFingerprint = BTreeMap<Fingerprint, Option<Rc<CertificateFacts>>>;

/// The facts of a certificate.
pub(super) fn facts_of(
    known: &mut FactsByFingerprint,
    certificate: &Certificate,
) -> Option<Rc<CertificateFacts>> {
    known.entry(certificate.fingerprint()).or_insert_with(|| certificate.facts().ok().map(Rc::new)).clone()
}

/// Whether OpenSSL calls it self-signed: the names are the same, and so are the identifiers of the keys.
fn is_self_signed(member: &Member) -> bool {
    let facts = &member.facts;
    member.certificate.is_self_issued()
        && (facts.authority_key_id.is_none()
            || facts.subject_key_id.is_none()
            || facts.authority_key_id == facts.subject_key_id)
}

impl Builder<'_> {
    /// Builds every chain from the server's certificate.
    pub(super) fn build(&mut self) {
        if let Some(first) = self.sent.first() {
            self.extend(&mut vec![first.clone()]);
        }
    }

    fn extend(&mut self, members: &mut Vec<Member>) {
        let Some(last) = members.last().cloned() else { return };
        if self.found.len() >= MOST {
            return;
        }
        let is_first = members.len() == 1;
        if self.roots.contains_key(&last.certificate.fingerprint()) {
            let is_root = self.rules.partial_chain || is_self_signed(&last);
            let is_taken = if is_first { self.rules.takes_servers() || is_self_signed(&last) } else { true };
            if is_root && is_taken {
                self.found.push(Chain { members: members.clone() });
                return;
            }
            if !is_root {
                self.dead_end.not_a_root = Some(last.certificate.clone());
            }
        }
        let issuers = if members.len() < LONGEST { self.issuers(&last, members) } else { Vec::new() };
        if issuers.is_empty() && self.dead_end.last.as_ref().is_none_or(|(_, at)| *at < members.len()) {
            self.dead_end.last = Some((last.certificate.clone(), members.len()));
        }
        for issuer in issuers {
            members.push(issuer);
            self.extend(members);
            members.pop();
        }
    }

    /// The certificates that may have issued `last`, those of the store first.
    fn issuers(&mut self, last: &Member, members: &[Member]) -> Vec<Member> {
        let is_new = |one: &Certificate| members.iter().all(|member| member.certificate != *one);
        let fits = |one: &Member| {
            one.certificate.subject_der() == last.certificate.issuer_der()
                && (!self.rules.compares_key_ids()
                    || !is_other(last.facts.authority_key_id.as_ref(), one.facts.subject_key_id.as_ref()))
        };
        let mut issuers = Vec::new();
        for root in self.roots.values() {
            if root.subject_der() == last.certificate.issuer_der()
                && is_new(root)
                && let Some(facts) = facts_of(self.facts, root)
            {
                let member = Member { certificate: root.clone(), facts };
                if fits(&member) {
                    issuers.push(member);
                }
            }
        }
        // The one of several that is valid.
        if self.rules.takes_first() && issuers.iter().any(|one| is_valid(&one.certificate, self.now)) {
            issuers.retain(|one| is_valid(&one.certificate, self.now));
        }
        if self.rules.takes_first() && !issuers.is_empty() {
            return issuers;
        }
        for sent in self.sent {
            if fits(sent)
                && is_new(&sent.certificate)
                && issuers.iter().all(|one| one.certificate != sent.certificate)
            {
                issuers.push(sent.clone());
            }
        }
        issuers
    }
}

fn is_valid(certificate: &Certificate, now: i64) -> bool {
    (certificate.not_before()..=certificate.not_after()).contains(&now)
}

/// Whether both are there and differ.
fn is_other(named: Option<&Vec<u8>>, found: Option<&Vec<u8>>) -> bool {
    named.zip(found).is_some_and(|(named, found)| named != found)
}

/// Whom and when a chain is for.
pub(super) struct Occasion<'a> {
    pub(super) host: &'a str,
    pub(super) names: &'a [HostNames],
    /// Seconds since 1970.
    pub(super) now: i64,
    /// The server sent an answer of OCSP.
    pub(super) is_stapled: bool,
}

/// A fault, of which certificate, in which position.
pub(super) struct Found {
    pub(super) fault: Fault,
    pub(super) position: Position,
    pub(super) certificate: Certificate,
}

impl Chain {
    /// Every fault that some library minds, from the root to the server's certificate.
    pub(super) fn faults(&self, occasion: &Occasion<'_>) -> Vec<Found> {
        let mut found = Vec::new();
        let count = self.members.len();
        let has_policies = self.members[..count - 1].iter().any(|member| member.facts.has_policies);
        for (at, member) in self.members.iter().enumerate().rev() {
            let position = match at {
                0 if count == 1 => Position::Alone,
                0 => Position::Server,
                _ if at + 1 == count => Position::Root,
                _ => Position::Intermediate,
            };
            let mut faults = own_faults(&member.certificate, &member.facts, position, occasion.now);
            if at > 0 {
                let is_counted = |one: &&Member| !one.certificate.is_self_issued();
                let following = self.members[1..at].iter().filter(is_counted).count() as u64;
                let limit = member.facts.basic.and_then(|basic| basic.path_length);
                if limit.is_some_and(|limit| following > limit) {
                    faults.push(Fault::PathTooLong);
                }
                if let Some(constraints) = &member.facts.constraints {
                    let below: Vec<_> =
                        self.members[..at].iter().map(|one| (&one.certificate, &*one.facts)).collect();
                    faults.extend(constraints::faults(constraints, &below).into_iter().map(
                        |fault| match fault {
                            ConstraintFault::Name(name) => Fault::ViolatesName(name),
                            ConstraintFault::CommonName(name) => Fault::ViolatesCommonName(name),
                            ConstraintFault::Subject => Fault::ViolatesSubject,
                            ConstraintFault::NotCompared => Fault::ConstraintsNotCompared,
                        },
                    ));
                }
                if member.facts.requires_policy {
                    faults.push(if has_policies { Fault::PolicyNotCompared } else { Fault::RequiresPolicy });
                }
            } else {
                let names = occasion.names;
                let fitting = names.iter().filter(|names| names.accept(&member.facts, occasion.host)).count();
                if fitting == 0 {
                    faults.push(Fault::WrongName(occasion.host.to_owned()));
                }
                if member.facts.must_staple && !occasion.is_stapled {
                    faults.push(Fault::MustStaple);
                }
            }
            if let Some(issuer) = self.members.get(at + 1) {
                faults.extend(link_faults(member, issuer));
            }
            let certificate = &member.certificate;
            found.extend(faults.into_iter().map(|fault| Found {
                fault,
                position,
                certificate: certificate.clone(),
            }));
        }
        found
    }

    /// Whether the ways in which the client may compare names differ here.
    pub(super) fn names_differ(&self, occasion: &Occasion<'_>) -> bool {
        let Some(first) = self.members.first() else { return false };
        let mut all = occasion.names.iter().map(|names| names.accept(&first.facts, occasion.host));
        let one = all.next();
        all.any(|other| Some(other) != one)
    }
}

/// What a signature and its maker's certificate have against each other.
fn link_faults(member: &Member, issuer: &Member) -> Vec<Fault> {
    let mut faults = Vec::new();
    match member.certificate.weak_signature_hash() {
        Some(WeakHash::Md5) => faults.push(Fault::Md5),
        Some(WeakHash::Sha1) => faults.push(Fault::Sha1),
        None => {}
    }
    if is_other(member.facts.authority_key_id.as_ref(), issuer.facts.subject_key_id.as_ref()) {
        faults.push(Fault::OtherAuthorityKeyId);
    }
    match member.certificate.signature_by(&issuer.certificate) {
        SignatureVerdict::Valid => {}
        SignatureVerdict::Invalid => faults.push(Fault::OtherKey),
        SignatureVerdict::Unsupported(algorithm) => faults.push(Fault::Unverifiable(algorithm)),
    }
    // OpenSSL's strict rules are about certificates that can have it.
    if member.facts.authority_key_id.is_none() && member.certificate.version() >= 3 {
        faults.push(Fault::NoAuthorityKeyId);
    }
    faults
}

/// The faults of a certificate in this position that its chain does not matter for. `now` in seconds since 1970.
pub(super) fn own_faults(
    certificate: &Certificate,
    facts: &CertificateFacts,
    position: Position,
    now: i64,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    if now > certificate.not_after() {
        faults.push(Fault::Expired(certificate.not_after()));
    }
    if now < certificate.not_before() {
        faults.push(Fault::NotYetValid(certificate.not_before()));
    }
    let basic = facts.basic;
    let is_ca = basic.is_some_and(|basic| basic.is_ca);
    let signs = facts.key_usage.map(|usage| usage.signs_certificates);
    let is_issuer = matches!(position, Position::Intermediate | Position::Root);
    faults.extend(facts.critical.iter().cloned().map(Fault::CriticalExtension));
    if let Some(constraints) = facts.constraints.as_ref().filter(|_| is_issuer) {
        let is_directory = |name: &OwnedName| matches!(name, OwnedName::Directory(_));
        let mut all = constraints.permitted.iter().chain(&constraints.excluded);
        if all.clone().any(is_directory) {
            faults.push(Fault::ConstrainsDirectory(constraints.is_critical));
        }
        if constraints.excluded.iter().any(is_directory) {
            faults.push(Fault::ExcludesDirectory);
        }
        if all.any(|name| *name == OwnedName::Other) {
            faults.push(Fault::ConstrainsOther(constraints.is_critical));
        }
    }
    if is_issuer || position == Position::Alone {
        match basic {
            Some(basic) if !basic.is_ca && is_issuer => faults.push(Fault::NotACa),
            Some(_) => {}
            None if certificate.version() < 3 => faults.push(Fault::OldVersion),
            None if signs == Some(true) => faults.push(Fault::NoBasicConstraints),
            None if is_issuer => faults.push(Fault::NothingSaysCa),
            None => {}
        }
    }
    if is_issuer {
        match signs {
            Some(false) => faults.push(Fault::NoCertSign),
            None if is_ca => faults.push(Fault::NoKeyUsage),
            _ => {}
        }
    } else if is_ca {
        faults.push(Fault::CaAsServer);
        if facts.key_usage.is_none() {
            faults.push(Fault::NoKeyUsage);
        }
    }
    if is_ca && basic.is_some_and(|basic| !basic.is_critical) {
        faults.push(Fault::BasicConstraintsNotCritical);
    }
    if is_ca && facts.subject_key_id.is_none() {
        faults.push(Fault::NoSubjectKeyId);
    }
    if !is_ca && signs == Some(true) {
        faults.push(Fault::CertSignWithoutCa);
    }
    if basic.is_some_and(|basic| basic.path_length.is_some()) && !(is_ca && signs == Some(true)) {
        faults.push(Fault::PathLengthWithoutCa);
    }
    if facts.is_nameless && facts.alt_names.as_ref().is_none_or(|names| !names.is_critical) {
        faults.push(Fault::NamelessUncritical);
    }
    match facts.purposes {
        Some(purposes) if purposes.server_auth => {}
        Some(purposes) if purposes.any => faults.push(Fault::AnyPurpose),
        Some(_) => faults.push(Fault::OtherPurpose),
        None => {}
    }
    match facts.key_usage {
        Some(usage) if is_issuer || usage.signs => {}
        Some(usage) if usage.exchanges_keys => faults.push(Fault::NoDigitalSignature),
        Some(_) => faults.push(Fault::UselessKeyUsage),
        None => {}
    }
    if certificate.serial().first().is_some_and(|first| *first >= 0x80) {
        faults.push(Fault::NegativeSerial);
    }
    for refusal in loadable::refusals(certificate) {
        faults.push(match refusal.library {
            // It has a fault of its own, above.
            Library::Go if certificate.serial().first().is_some_and(|first| *first >= 0x80) => continue,
            Library::Go => Fault::UnreadableForGo(refusal.why),
            Library::Java => Fault::UnreadableForJava(refusal.why),
            Library::Rustls => Fault::UnreadableForRustls(refusal.why),
            Library::OpenSsl => Fault::UnreadableForOpenSsl(refusal.why),
        });
    }
    if facts.key != KeyKind::Common {
        faults.push(Fault::Key(facts.key.clone()));
    }
    faults
}
