//! Faults in words: why a library refuses, in its own terms, and what has to change for it.

use super::path::Found;
use super::rules::{Fault, Position};
use crate::pki::cert::facts::KeyKind;
use crate::pki::cert::{self, Certificate};
use crate::text;

/// Whose fault it is, as the subject of a sentence.
fn whose(position: Position, certificate: &Certificate) -> String {
    match position {
        Position::Server | Position::Alone => "the server's certificate".to_owned(),
        Position::Intermediate => format!("the intermediate {}", certificate.subject()),
        Position::Root if certificate.is_self_issued() => format!("the root {}", certificate.subject()),
        Position::Root => format!("the installed certificate {}", certificate.subject()),
    }
}

/// A sentence about a fault, without a full stop.
pub(super) fn reason(found: &Found) -> String {
    format!("{} {}", whose(found.position, &found.certificate), predicate(&found.fault))
}

/// What is wrong with the certificate, behind its name.
pub(super) fn predicate(fault: &Fault) -> String {
    match fault {
        Fault::Expired(end) => format!("expired on {}", text::date(*end)),
        Fault::NotYetValid(begin) => format!("is not valid before {}", text::date(*begin)),
        Fault::CriticalExtension(oid) => {
            format!("has an unhandled critical extension ({})", cert::dotted(oid))
        }
        Fault::NotACa => "is not a CA: its basicConstraints say CA:FALSE".to_owned(),
        Fault::NoBasicConstraints | Fault::NothingSaysCa => {
            "has no basicConstraints: it does not say that it is a CA".to_owned()
        }
        Fault::OldVersion => "has X.509 version 1: it cannot say that it is a CA".to_owned(),
        Fault::NoCertSign => "may not sign certificates: its keyUsage lacks keyCertSign".to_owned(),
        Fault::NoKeyUsage => "is a CA without keyUsage".to_owned(),
        Fault::BasicConstraintsNotCritical => "has basicConstraints that are not marked critical".to_owned(),
        Fault::NoSubjectKeyId => "is a CA without subjectKeyIdentifier".to_owned(),
        Fault::NoAuthorityKeyId => "has no authorityKeyIdentifier".to_owned(),
        Fault::OtherAuthorityKeyId => {
            "names another key of its issuer in authorityKeyIdentifier than the issuer has".to_owned()
        }
        Fault::CertSignWithoutCa => "has keyCertSign in its keyUsage, and is not a CA".to_owned(),
        Fault::PathLengthWithoutCa => "has a path length, and may not sign certificates".to_owned(),
        Fault::NamelessUncritical => {
            "has no subject, and its subjectAltName is not marked critical".to_owned()
        }
        Fault::PathTooLong => {
            "allows fewer intermediates below it than the chain has (path length)".to_owned()
        }
        Fault::OtherPurpose | Fault::AnyPurpose => "has no serverAuth in its extendedKeyUsage".to_owned(),
        Fault::UselessKeyUsage | Fault::NoDigitalSignature => {
            "has no digitalSignature in its keyUsage".to_owned()
        }
        Fault::NegativeSerial => "has a negative serial number".to_owned(),
        Fault::UnreadableForGo(why)
        | Fault::UnreadableForJava(why)
        | Fault::UnreadableForRustls(why)
        | Fault::UnreadableForOpenSsl(why) => format!("cannot be read: {why}"),
        Fault::Key(key) => match key {
            KeyKind::Rsa(bits) => format!("has an RSA key of {bits} bits"),
            KeyKind::RsaPss(_) => "has a key for RSASSA-PSS alone".to_owned(),
            KeyKind::P521 => "has a P-521 key".to_owned(),
            KeyKind::OtherCurve(curve) => format!("has a key on the curve {curve}"),
            KeyKind::ExplicitCurve => "has a key on a curve that is written out instead of named".to_owned(),
            KeyKind::Ed25519 => "has an Ed25519 key".to_owned(),
            KeyKind::Common => "has a P-256 or P-384 key".to_owned(),
            KeyKind::Other(kind) => format!("has a key of the kind {kind}"),
        },
        Fault::Sha1 => "is signed with SHA-1".to_owned(),
        Fault::Md5 => "is signed with MD5".to_owned(),
        Fault::Unverifiable(algorithm) => {
            format!("has a signature that trustup cannot verify ({algorithm})")
        }
        Fault::OtherKey => "was signed by another key than its issuer's of that name".to_owned(),
        Fault::ViolatesName(name) => {
            format!("has nameConstraints that do not allow the server's name `{}`", text::escape(name))
        }
        Fault::ViolatesCommonName(name) => {
            format!("has nameConstraints that do not allow the common name `{}`", text::escape(name))
        }
        Fault::ViolatesSubject => "has nameConstraints that do not allow a subject below it".to_owned(),
        Fault::ConstrainsDirectory(_) => "has nameConstraints with a directoryName".to_owned(),
        Fault::ExcludesDirectory => "has nameConstraints that exclude a directoryName".to_owned(),
        Fault::ConstrainsOther(_) => "has nameConstraints with otherName or registeredID".to_owned(),
        Fault::ConstraintsNotCompared => "has nameConstraints for e-mail addresses or URIs".to_owned(),
        Fault::RequiresPolicy => "requires certificate policies, which the chain does not have".to_owned(),
        Fault::PolicyNotCompared => "requires certificate policies".to_owned(),
        Fault::MustStaple => {
            "requires an answer of OCSP (TLS feature status_request), and the server sends none".to_owned()
        }
        Fault::CaAsServer => "is a CA certificate".to_owned(),
        Fault::WrongName(host) => format!("is not for the name `{}`", text::escape(host)),
    }
}

/// The names that a certificate is for, a few of them.
fn names(certificate: &Certificate) -> String {
    const SHOWN: usize = 3;
    let names = certificate.subject_alt_names().unwrap_or_default();
    let mut shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    if names.len() > SHOWN {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

/// What to do so that the library no longer refuses for these faults; each thing once.
pub(super) fn change(faults: &[&Found]) -> String {
    let mut changes: Vec<String> = Vec::new();
    let mut add = |change: String| {
        if !changes.contains(&change) {
            changes.push(change);
        }
    };
    for position in [Position::Root, Position::Intermediate, Position::Server, Position::Alone] {
        let of_position: Vec<&&Found> = faults.iter().filter(|found| found.position == position).collect();
        let mut properties: Vec<String> = Vec::new();
        for found in &of_position {
            match special(found) {
                Some(change) => add(change),
                None => {
                    let property = wanted(&found.fault);
                    if !properties.contains(&property) {
                        properties.push(property);
                    }
                }
            }
        }
        let (Some(first), false) = (of_position.first(), properties.is_empty()) else { continue };
        let properties = properties.join(" and ");
        let subject = first.certificate.subject();
        add(match position {
            Position::Root => format!(
                "use another root: have the CA of {subject} make one {properties}, sign the server's chain with it, and install it with `trustup bootstrap`"
            ),
            Position::Intermediate => format!(
                "have the CA sign the intermediate {subject} anew, {properties}, and have the server send that"
            ),
            Position::Server | Position::Alone => {
                format!("give the server another certificate, {properties}")
            }
        });
    }
    changes.join("; ")
}

/// The change for faults that another certificate of the same kind does not cure.
fn special(found: &Found) -> Option<String> {
    let subject = found.certificate.subject();
    Some(match (&found.fault, found.position) {
        (Fault::Expired(_), Position::Root) => format!(
            "install the root that replaced {subject} with `trustup bootstrap`; the server's chain must end at it"
        ),
        (Fault::Expired(_), Position::Intermediate) => {
            format!("have the server send the renewed intermediate of {subject}")
        }
        (Fault::Expired(_), _) => "renew the server's certificate".to_owned(),
        (Fault::NotYetValid(_), _) => "check the clock of this system".to_owned(),
        (Fault::OtherKey, _) => format!(
            "install the CA's current root: the one that is read has the name {} and another key",
            found.certificate.issuer()
        ),
        (Fault::WrongName(host), _) => {
            let names = names(&found.certificate);
            let host = text::escape(host);
            if names.is_empty() {
                format!("give the server a certificate with `{host}` in its subjectAltName")
            } else {
                format!(
                    "connect to a name of the certificate ({names}), or give the server a certificate with `{host}` in its subjectAltName"
                )
            }
        }
        (Fault::ViolatesName(_) | Fault::ViolatesCommonName(_) | Fault::ViolatesSubject, _) => format!(
            "give the server a certificate with the names alone that {subject} allows, or one of another CA"
        ),
        (Fault::PathTooLong, _) => format!(
            "give the server a certificate that a CA directly below {subject} signed, or one of another CA"
        ),
        (Fault::MustStaple, _) => {
            "have the server send OCSP answers (stapling), or give it a certificate without this feature"
                .to_owned()
        }
        (Fault::RequiresPolicy, _) => {
            "give the server a chain of certificates with the CA's certificatePolicies".to_owned()
        }
        _ => return None,
    })
}

/// The property that a new certificate must have.
fn wanted(fault: &Fault) -> String {
    match fault {
        Fault::CriticalExtension(oid) => {
            format!("without the critical extension {}", cert::dotted(oid))
        }
        Fault::NotACa | Fault::NoBasicConstraints | Fault::NothingSaysCa | Fault::OldVersion => {
            "with critical basicConstraints that say CA:TRUE".to_owned()
        }
        Fault::NoCertSign | Fault::NoKeyUsage => "with keyCertSign in its keyUsage".to_owned(),
        Fault::BasicConstraintsNotCritical => "with critical basicConstraints".to_owned(),
        Fault::NoSubjectKeyId => "with subjectKeyIdentifier".to_owned(),
        Fault::NoAuthorityKeyId => "with authorityKeyIdentifier".to_owned(),
        Fault::OtherAuthorityKeyId => "with the issuer's identifier in authorityKeyIdentifier".to_owned(),
        Fault::CertSignWithoutCa => "without keyCertSign in its keyUsage".to_owned(),
        Fault::PathLengthWithoutCa => "without a path length".to_owned(),
        Fault::NamelessUncritical => "with a subject, or with a critical subjectAltName".to_owned(),
        Fault::OtherPurpose | Fault::AnyPurpose => {
            "with serverAuth in its extendedKeyUsage, or without one".to_owned()
        }
        Fault::UselessKeyUsage | Fault::NoDigitalSignature => {
            "with digitalSignature in its keyUsage".to_owned()
        }
        Fault::NegativeSerial => "with a positive serial number".to_owned(),
        Fault::Key(KeyKind::Rsa(_)) => "with an RSA key of 2048 bits or more".to_owned(),
        Fault::Key(_) => "with a P-256 or RSA key".to_owned(),
        Fault::Sha1 | Fault::Md5 | Fault::Unverifiable(_) => "signed with SHA-256".to_owned(),
        Fault::ConstrainsDirectory(_)
        | Fault::ExcludesDirectory
        | Fault::ConstrainsOther(_)
        | Fault::ConstraintsNotCompared => {
            "with nameConstraints for host names and addresses alone".to_owned()
        }
        Fault::CaAsServer => "that is not a CA (CA:FALSE)".to_owned(),
        _ => "without this fault".to_owned(),
    }
}
