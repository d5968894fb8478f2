//! The form of the standard extensions (RFC 5280 section 4.2), which not every parser checks: OpenSSL does not accept a
//! root with a malformed one as a CA, GnuTLS refuses the whole bundle for some of them, and Java the whole keystore if
//! it is critical (threat T39). So a root has to pass here before it becomes an anchor.
//!
//! Form only; what one kind of reader rejects despite its correct form is in [`super::loadable`].

use super::der::{self, DerReader, Tlv};
use super::general_name::{self, GeneralName, is_one};
use super::primitives::{is_bits, is_integer, is_name, is_oid};

const BOOLEAN: u8 = 0x01;
const BIT_STRING: u8 = 0x03;
const IA5_STRING: u8 = 0x16;

/// Object identifiers below 2.5.29, by their last arc.
pub(super) mod id {
    pub(in crate::pki::cert) const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 14];
    pub(in crate::pki::cert) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
    pub(in crate::pki::cert) const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
    pub(in crate::pki::cert) const ISSUER_ALT_NAME: &[u8] = &[0x55, 0x1d, 18];
    pub(in crate::pki::cert) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
    pub(in crate::pki::cert) const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 30];
    pub(in crate::pki::cert) const CRL_POINTS: &[u8] = &[0x55, 0x1d, 31];
    pub(in crate::pki::cert) const POLICIES: &[u8] = &[0x55, 0x1d, 32];
    pub(in crate::pki::cert) const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 35];
    pub(in crate::pki::cert) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
    pub(in crate::pki::cert) const FRESHEST_CRL: &[u8] = &[0x55, 0x1d, 46];
    /// 1.3.6.1.5.5.7.1, the arc of RFC 5280's other extensions.
    pub(in crate::pki::cert) const AUTHORITY_INFO: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];
    pub(in crate::pki::cert) const SUBJECT_INFO: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 11];
}

/// One extension.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extension<'a> {
    /// Its type: the content of the OBJECT IDENTIFIER.
    pub(super) oid: &'a [u8],
    /// Whether a program that does not know it must not accept the certificate.
    pub(super) critical: bool,
    /// The content of the OCTET STRING.
    pub(super) value: &'a [u8],
}

/// Checks a standard extension; the error is its name. Others pass.
pub(super) fn check(extension: &Extension<'_>) -> Result<(), &'static str> {
    let value = extension.value;
    let (name, fine) = match extension.oid {
        [0x55, 0x1d, 9] => ("subjectDirectoryAttributes", each(value, attribute)),
        id::SUBJECT_KEY_ID => ("subjectKeyIdentifier", der::only(value, der::OCTET_STRING).map(drop)),
        id::KEY_USAGE => ("keyUsage", der::only(value, BIT_STRING).filter(is_bits).map(drop)),
        [0x55, 0x1d, 16] => ("privateKeyUsagePeriod", usage_period(value)),
        id::SUBJECT_ALT_NAME => ("subjectAltName", names(value)),
        id::ISSUER_ALT_NAME => ("issuerAltName", names(value)),
        id::BASIC_CONSTRAINTS => ("basicConstraints", basic_constraints(value)),
        id::NAME_CONSTRAINTS => ("nameConstraints", subtrees(value).map(drop)),
        id::CRL_POINTS => ("cRLDistributionPoints", each(value, crl_point)),
        id::POLICIES => ("certificatePolicies", each(value, policy)),
        [0x55, 0x1d, 33] => ("policyMappings", each(value, mapping)),
        id::AUTHORITY_KEY_ID => ("authorityKeyIdentifier", authority_key_id(value)),
        [0x55, 0x1d, 36] => ("policyConstraints", policy_constraints(value)),
        id::EXTENDED_KEY_USAGE => ("extendedKeyUsage", oids(value)),
        id::FRESHEST_CRL => ("freshestCRL", each(value, crl_point)),
        [0x55, 0x1d, 54] => ("inhibitAnyPolicy", der::only(value, der::INTEGER).filter(is_count).map(drop)),
        id::AUTHORITY_INFO => ("authorityInfoAccess", each(value, access)),
        id::SUBJECT_INFO => ("subjectInfoAccess", each(value, access)),
        // Netscape's certificate type, which OpenSSL and Java still read, and the texts beside it.
        [0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x01, 1] => {
            ("Netscape certificate type", der::only(value, BIT_STRING).filter(is_bits).map(drop))
        }
        [0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x01, 2..=4 | 7 | 8 | 12 | 13] => {
            ("Netscape text", der::only(value, IA5_STRING).map(drop))
        }
        _ => return Ok(()),
    };
    fine.ok_or(name)
}

/// Checks the elements of a SEQUENCE that has at least one; nothing follows it.
fn each(value: &[u8], check: impl Fn(&Tlv<'_>) -> Option<()>) -> Option<()> {
    let mut list = DerReader::new(der::only(value, der::SEQUENCE)?.body);
    if list.is_empty() {
        return None;
    }
    while !list.is_empty() {
        check(&list.next()?)?;
    }
    Some(())
}

/// A reader of the elements of a SEQUENCE.
fn parts<'a>(element: &Tlv<'a>) -> Option<DerReader<'a>> {
    (element.tag == der::SEQUENCE).then(|| DerReader::new(element.body))
}

fn end(reader: &DerReader<'_>) -> Option<()> {
    reader.is_empty().then_some(())
}

/// 0 to 2^31 - 1, which every reader has room for.
fn is_count(number: &Tlv<'_>) -> bool {
    is_integer(number) && number.body.len() <= 4 && number.body[0] < 0x80
}

fn basic_constraints(value: &[u8]) -> Option<()> {
    let mut parts = parts(&der::only(value, der::SEQUENCE)?)?;
    if parts.take(BOOLEAN).is_some_and(|authority| !matches!(authority.body, [0 | 0xff])) {
        return None;
    }
    if parts.take(der::INTEGER).is_some_and(|length| !is_count(&length)) {
        return None;
    }
    end(&parts)
}

fn oids(value: &[u8]) -> Option<()> {
    each(value, |oid| (oid.tag == der::OID && is_oid(oid)).then_some(()))
}

fn names(value: &[u8]) -> Option<()> {
    general_name::read_all(der::only(value, der::SEQUENCE)?.body).map(drop)
}

fn attribute(element: &Tlv<'_>) -> Option<()> {
    let mut parts = parts(element)?;
    parts.take(der::OID).filter(is_oid)?;
    parts.take(der::SET)?;
    end(&parts)
}

fn usage_period(value: &[u8]) -> Option<()> {
    let mut parts = parts(&der::only(value, der::SEQUENCE)?)?;
    for tag in [0x80, 0x81] {
        let is_time = |time: &Tlv<'_>| matches!(time.body, [digits @ .., b'Z'] if digits.len() == 14 && digits.iter().all(u8::is_ascii_digit));
        if parts.take(tag).is_some_and(|time| !is_time(&time)) {
            return None;
        }
    }
    end(&parts)
}

fn authority_key_id(value: &[u8]) -> Option<()> {
    let mut parts = parts(&der::only(value, der::SEQUENCE)?)?;
    parts.take(0x80);
    if let Some(issuer) = parts.take(der::CONTEXT_1) {
        general_name::read_all(issuer.body)?;
    }
    if parts.take(0x82).is_some_and(|serial| !is_integer(&serial)) {
        return None;
    }
    end(&parts)
}

/// The names of a nameConstraints extension.
#[derive(Debug, Default)]
pub(super) struct Subtrees<'a> {
    pub(super) permitted: Vec<GeneralName<'a>>,
    pub(super) excluded: Vec<GeneralName<'a>>,
}

/// The names of a nameConstraints extension; at least one.
pub(super) fn subtrees(value: &[u8]) -> Option<Subtrees<'_>> {
    let mut lists = parts(&der::only(value, der::SEQUENCE)?)?;
    let mut found = Subtrees::default();
    for (tag, bases) in [(der::CONTEXT_0, &mut found.permitted), (der::CONTEXT_1, &mut found.excluded)] {
        let Some(list) = lists.take(tag) else { continue };
        let mut trees = DerReader::new(list.body);
        if trees.is_empty() {
            return None;
        }
        while !trees.is_empty() {
            let mut parts = DerReader::new(trees.take(der::SEQUENCE)?.body);
            let base = GeneralName::read(&parts.next()?)?;
            if let GeneralName::Ip(range) = base
                && !matches!(range.len(), 8 | 32)
            {
                return None;
            }
            for tag in [0x80, 0x81] {
                if parts.take(tag).is_some_and(|count| !is_count(&count)) {
                    return None;
                }
            }
            end(&parts)?;
            bases.push(base);
        }
    }
    end(&lists)?;
    Some(found).filter(|found| !found.permitted.is_empty() || !found.excluded.is_empty())
}

/// The names of a distribution point; it must have some, its own or the issuer's.
fn crl_point(element: &Tlv<'_>) -> Option<()> {
    point_names(element).map(drop)
}

/// The names of a distribution point, and whether its own is relative to the issuer's.
fn point_names<'a>(element: &Tlv<'a>) -> Option<(Vec<GeneralName<'a>>, bool)> {
    let mut parts = parts(element)?;
    let (mut names, mut relative) = (Vec::new(), false);
    if let Some(point) = parts.take(der::CONTEXT_0) {
        let mut choice = DerReader::new(point.body);
        let name = choice.next()?;
        end(&choice)?;
        match name.tag {
            der::CONTEXT_0 => names.extend(general_name::read_all(name.body)?),
            // An RDN, whose SET tag is implicit.
            der::CONTEXT_1 => {
                relative = true;
                each_attribute(name.body)?;
            }
            _ => return None,
        }
    }
    if parts.take(0x81).is_some_and(|reasons| !is_bits(&reasons)) {
        return None;
    }
    if let Some(issuer) = parts.take(0xa2) {
        names.extend(general_name::read_all(issuer.body)?);
    }
    end(&parts)?;
    (relative || !names.is_empty()).then_some((names, relative))
}

fn each_attribute(body: &[u8]) -> Option<()> {
    let set = der::element(der::SET, body);
    let name = der::element(der::SEQUENCE, &set);
    der::only(&name, der::SEQUENCE).filter(is_name).map(drop)
}

fn policy(element: &Tlv<'_>) -> Option<()> {
    let mut parts = parts(element)?;
    parts.take(der::OID).filter(is_oid)?;
    if let Some(qualifiers) = parts.take(der::SEQUENCE) {
        each(qualifiers.raw, |qualifier| {
            let mut parts = self::parts(qualifier)?;
            parts.take(der::OID).filter(is_oid)?;
            is_one(parts.rest()).then_some(())
        })?;
    }
    end(&parts)
}

fn mapping(element: &Tlv<'_>) -> Option<()> {
    let mut parts = parts(element)?;
    parts.take(der::OID).filter(is_oid)?;
    parts.take(der::OID).filter(is_oid)?;
    end(&parts)
}

fn policy_constraints(value: &[u8]) -> Option<()> {
    let mut parts = parts(&der::only(value, der::SEQUENCE)?)?;
    for tag in [0x80, 0x81] {
        if parts.take(tag).is_some_and(|count| !is_count(&count)) {
            return None;
        }
    }
    end(&parts)
}

fn access(element: &Tlv<'_>) -> Option<()> {
    let mut parts = parts(element)?;
    parts.take(der::OID).filter(is_oid)?;
    GeneralName::read(&parts.next()?).filter(GeneralName::is_whole)?;
    end(&parts)
}

/// The names of an extension that readers use: all of them, and whether one is relative to the issuer's.
#[derive(Debug, Default)]
pub(super) struct ExtensionNames<'a> {
    pub(super) names: Vec<GeneralName<'a>>,
    pub(super) relative: bool,
}

/// The names in an extension that has any; the extension is well-formed.
pub(super) fn names_of<'a>(extension: &Extension<'a>) -> ExtensionNames<'a> {
    let value = extension.value;
    let mut found = ExtensionNames::default();
    let Some(list) = der::only(value, der::SEQUENCE) else { return found };
    let mut list = DerReader::new(list.body);
    match extension.oid {
        id::SUBJECT_ALT_NAME | id::ISSUER_ALT_NAME => {
            found.names.extend(general_name::read_all(list.rest()).unwrap_or_default());
        }
        id::NAME_CONSTRAINTS => {
            let subtrees = subtrees(value).unwrap_or_default();
            found.names.extend(subtrees.permitted.into_iter().chain(subtrees.excluded));
        }
        id::CRL_POINTS | id::FRESHEST_CRL => {
            while let Some(point) = list.next() {
                let (names, relative) = point_names(&point).unwrap_or_default();
                found.names.extend(names);
                found.relative |= relative;
            }
        }
        id::AUTHORITY_INFO | id::SUBJECT_INFO => {
            while let Some(access) = list.next() {
                let mut parts = DerReader::new(access.body);
                parts.next();
                found.names.extend(parts.next().and_then(|name| GeneralName::read(&name)));
            }
        }
        _ => {}
    }
    found
}

/// The policies of a certificatePolicies extension.
pub(super) fn policies(value: &[u8]) -> Vec<&[u8]> {
    let Some(list) = der::only(value, der::SEQUENCE) else { return Vec::new() };
    let mut list = DerReader::new(list.body);
    let mut policies = Vec::new();
    while let Some(policy) = list.next() {
        policies.extend(DerReader::new(policy.body).take(der::OID).map(|oid| oid.body));
    }
    policies
}

#[cfg(test)]
mod tests {
    use super::super::policy::{self, AcceptancePolicy};
    use super::super::testing::{TestCertificate, common_name, oid, sequence, tlv};
    use super::super::{Certificate, structure};

    const NULL: &[u8] = &[5, 0];

    fn checked(id: &'static str, value: &[u8]) -> Result<(), &'static str> {
        structure::check(&TestCertificate::default().with(id, value.to_vec()).der())
    }

    /// Each extension in a correct form, and in wrong forms.
    #[test]
    fn t39_standard_extensions_have_the_form_of_rfc_5280() {
        let critical: &[u8] = &[1, 1, 0xff];
        let (dns, uri) = (tlv(0x82, b"a.example"), tlv(0x86, b"http://a.example/"));
        let policy = sequence(&[&oid("1.2.3")]);
        let point = sequence(&[&tlv(0xa0, &tlv(0xa0, &uri))]);
        let access = sequence(&[&oid("1.3.6.1.5.5.7.48.1"), &uri]);
        let tree = sequence(&[&dns]);
        for (id, name, good, bad) in [
            (
                "2.5.29.19",
                "basicConstraints",
                sequence(&[critical, &[2, 1, 3]]),
                vec![
                    sequence(&[&[1, 1, 1]]),
                    sequence(&[critical, &[2, 2, 0, 1]]),
                    sequence(&[critical, &[2, 4, 0x80, 0, 0, 0]]),
                    [sequence(&[critical]), NULL.to_vec()].concat(),
                ],
            ),
            ("2.5.29.15", "keyUsage", vec![3, 2, 1, 6], vec![vec![3, 2, 1, 6, 5, 0], vec![2, 1, 6]]),
            (
                "2.5.29.37",
                "extendedKeyUsage",
                sequence(&[&oid("2.5.29.37.0")]),
                vec![sequence(&[&oid("2.5.29.37.0"), &[6, 0]]), sequence(&[&oid("2.5.29.37.0"), NULL])],
            ),
            (
                "2.5.29.14",
                "subjectKeyIdentifier",
                tlv(4, b"id"),
                vec![b"id".to_vec(), vec![], vec![4, 0, 5, 0]],
            ),
            (
                "2.5.29.35",
                "authorityKeyIdentifier",
                sequence(&[&tlv(0x80, b"id")]),
                vec![
                    tlv(4, b"id"),
                    sequence(&[&tlv(0x82, &[1]), &tlv(0x80, b"id")]),
                    sequence(&[&tlv(0x82, &[])]),
                ],
            ),
            (
                "2.5.29.17",
                "subjectAltName",
                sequence(&[&dns, &tlv(0xa4, &common_name("x")), &tlv(0x87, &[10, 0, 0, 1])]),
                vec![
                    sequence(&[]),
                    sequence(&[&tlv(0x82, b"")]),
                    sequence(&[&tlv(0x87, &[10, 0, 0, 1, 1])]),
                    sequence(&[&tlv(0xa4, NULL)]),
                    sequence(&[&tlv(0xa5, &tlv(0xa1, &tlv(0x0c, b"x")))]),
                    sequence(&[&tlv(0xa0, &oid("1.2.3"))]),
                    sequence(&[&tlv(0x88, &[0x80, 1])]),
                    [sequence(&[&dns]), NULL.to_vec()].concat(),
                ],
            ),
            (
                "2.5.29.18",
                "issuerAltName",
                sequence(&[&uri]),
                vec![sequence(&[]), sequence(&[&tlv(0x86, b"")])],
            ),
            (
                "2.5.29.30",
                "nameConstraints",
                sequence(&[&tlv(0xa0, &tree), &tlv(0xa1, &sequence(&[&tlv(0x82, b"")]))]),
                vec![
                    sequence(&[]),
                    sequence(&[&tlv(0xa0, &[])]),
                    sequence(&[&tlv(0xa1, &tree), &tlv(0xa0, &tree)]),
                    sequence(&[&tlv(0xa0, &sequence(&[&tlv(0x87, &[10, 0, 0, 1])]))]),
                    sequence(&[&tlv(0xa0, &sequence(&[&dns, &tlv(0x80, &[9; 9])]))]),
                ],
            ),
            (
                "2.5.29.31",
                "cRLDistributionPoints",
                sequence(&[&point]),
                vec![
                    sequence(&[&sequence(&[])]),
                    sequence(&[&uri]),
                    sequence(&[&sequence(&[&tlv(0x81, &[7, 0x80])])]),
                    sequence(&[&sequence(&[&tlv(0xa0, &tlv(0xa0, &uri)), &tlv(0x81, &[9, 0x80])])]),
                ],
            ),
            ("2.5.29.46", "freshestCRL", sequence(&[&point]), vec![sequence(&[])]),
            (
                "2.5.29.32",
                "certificatePolicies",
                sequence(&[&policy]),
                vec![
                    sequence(&[]),
                    sequence(&[&oid("1.2.3")]),
                    sequence(&[&sequence(&[&oid("1.2.3"), &sequence(&[])])]),
                ],
            ),
            (
                "2.5.29.33",
                "policyMappings",
                sequence(&[&sequence(&[&oid("1.2.3"), &oid("1.2.4")])]),
                vec![sequence(&[&policy])],
            ),
            (
                "2.5.29.36",
                "policyConstraints",
                sequence(&[&tlv(0x80, &[0])]),
                vec![sequence(&[&tlv(0x80, &[])]), sequence(&[&tlv(0x80, &[9; 9])]), NULL.to_vec()],
            ),
            (
                "2.5.29.54",
                "inhibitAnyPolicy",
                vec![2, 1, 0],
                vec![vec![2, 1, 0xff], vec![2, 1, 0, 5, 0], NULL.to_vec()],
            ),
            (
                "1.3.6.1.5.5.7.1.1",
                "authorityInfoAccess",
                sequence(&[&access]),
                vec![vec![], sequence(&[&sequence(&[&oid("1.2.3")])])],
            ),
            ("1.3.6.1.5.5.7.1.11", "subjectInfoAccess", sequence(&[&access]), vec![NULL.to_vec()]),
            (
                "2.5.29.9",
                "subjectDirectoryAttributes",
                sequence(&[&sequence(&[&oid("1.2.3"), &tlv(0x31, NULL)])]),
                vec![vec![]],
            ),
            (
                "2.5.29.16",
                "privateKeyUsagePeriod",
                sequence(&[&tlv(0x80, b"20200101000000Z")]),
                vec![sequence(&[&tlv(0x80, b"x")])],
            ),
            (
                "2.16.840.1.113730.1.1",
                "Netscape certificate type",
                vec![3, 2, 0, 7],
                vec![vec![], vec![3, 2, 9, 7]],
            ),
            ("2.16.840.1.113730.1.13", "Netscape text", tlv(0x16, b"x"), vec![NULL.to_vec()]),
        ] {
            assert_eq!(checked(id, &good), Ok(()), "{name}");
            for value in bad {
                assert_eq!(checked(id, &value), Err(name), "{value:x?}");
                // So no root has it; what cannot be parsed at all is not a certificate.
                let Ok(root) = Certificate::from_der(&TestCertificate::default().with(id, value).der())
                else {
                    continue;
                };
                let lenient = AcceptancePolicy { now: 0, allow_expired: true, allow_intermediate: true };
                assert!(policy::check(&root, &lenient).expect_err(name).contains(name));
            }
        }
        for (id, value) in [("1.2.3.4", &b"\xff"[..]), ("1.2.3.4", b""), ("2.5.29.99", NULL)] {
            assert_eq!(checked(id, value), Ok(()), "private extensions have any form");
        }
    }
}
