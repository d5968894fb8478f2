//! nameConstraints (RFC 5280 section 4.2.1.10): what in a chain breaks them. Which library minds what is in the table.

use crate::pki::cert::Certificate;
use crate::pki::cert::facts::{CertificateFacts, NameConstraints, OwnedName, is_below};

/// What breaks the constraints of a CA, or what only some libraries can compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConstraintFault {
    /// A dNSName or iPAddress, for people.
    Name(String),
    /// The common name of a certificate without such a name.
    CommonName(String),
    /// The subject, against a directoryName.
    Subject,
    /// An e-mail address or URI, which is not compared here.
    NotCompared,
}

/// The faults of the certificates below a CA with these constraints.
pub(super) fn faults(
    constraints: &NameConstraints,
    below: &[(&Certificate, &CertificateFacts)],
) -> Vec<ConstraintFault> {
    let all = || constraints.permitted.iter().chain(&constraints.excluded);
    let mut found = Vec::new();
    for (at, (certificate, facts)) in below.iter().enumerate() {
        // An intermediate of the same name (a renewed key) is exempt.
        if at > 0 && certificate.is_self_issued() {
            continue;
        }
        let names = facts.alt_names.as_ref().map_or(&[][..], |names| &names.names);
        for name in names {
            match name {
                OwnedName::Dns(text) if !allows(constraints, name) => {
                    found.push(ConstraintFault::Name(text.clone()));
                }
                OwnedName::Ip(bytes) if !allows(constraints, name) => {
                    found.push(ConstraintFault::Name(address(bytes)));
                }
                OwnedName::Email(_) | OwnedName::Uri(_) | OwnedName::Other
                    if all().any(|one| std::mem::discriminant(one) == std::mem::discriminant(name)) =>
                {
                    found.push(ConstraintFault::NotCompared);
                }
                _ => {}
            }
        }
        if !facts.is_nameless && !allows_subject(constraints, certificate) {
            found.push(ConstraintFault::Subject);
        }
        let has_dns = names.iter().any(|name| matches!(name, OwnedName::Dns(_)));
        if at == 0 && !has_dns {
            let unfit =
                facts.common_names.iter().find(|name| !allows(constraints, &OwnedName::Dns((*name).clone())));
            found.extend(unfit.cloned().map(ConstraintFault::CommonName));
        }
    }
    found
}

fn allows(constraints: &NameConstraints, name: &OwnedName) -> bool {
    let of_kind = |list: &[OwnedName]| -> Option<bool> {
        let same: Vec<&OwnedName> =
            list.iter().filter(|one| std::mem::discriminant(*one) == std::mem::discriminant(name)).collect();
        (!same.is_empty()).then(|| same.iter().any(|one| holds(one, name)))
    };
    of_kind(&constraints.permitted).unwrap_or(true) && !of_kind(&constraints.excluded).unwrap_or(false)
}

fn holds(constraint: &OwnedName, name: &OwnedName) -> bool {
    match (constraint, name) {
        (OwnedName::Dns(base), OwnedName::Dns(name)) => {
            let (base, name) = (base.to_ascii_lowercase(), name.to_ascii_lowercase());
            let bare = base.strip_prefix('.').unwrap_or(&base);
            let is_below = name.strip_suffix(bare).is_some_and(|rest| rest.ends_with('.'));
            base.is_empty() || is_below || !base.starts_with('.') && name == base
        }
        (OwnedName::Ip(range), OwnedName::Ip(address)) => {
            let (base, mask) = range.split_at(range.len() / 2);
            base.len() == address.len()
                && base.iter().zip(mask).zip(address).all(|((base, mask), byte)| base & mask == byte & mask)
        }
        _ => false,
    }
}

fn allows_subject(constraints: &NameConstraints, certificate: &Certificate) -> bool {
    let holds = |name: &OwnedName| match name {
        OwnedName::Directory(directory) => Some(is_below(directory, certificate.subject_der())),
        _ => None,
    };
    let permitted: Vec<bool> = constraints.permitted.iter().filter_map(holds).collect();
    (permitted.is_empty() || permitted.contains(&true))
        && !constraints.excluded.iter().filter_map(holds).any(|is_held| is_held)
}

fn address(bytes: &[u8]) -> String {
    match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
        (Ok(four), _) => std::net::Ipv4Addr::from(four).to_string(),
        (_, Ok(sixteen)) => std::net::Ipv6Addr::from(sixteen).to_string(),
        _ => "a malformed address".to_owned(),
    }
}
