//! What programs that verify a server look at in a certificate: as it is, without a judgement. Which program minds what
//! is in the table of the verifiers ([`crate::doctor`]).

use super::der::{self, DerReader, Tlv};
use super::extensions::{self, Extension, id};
use super::general_name::GeneralName;
use super::key_form::{self, PublicKeyInfo};
use super::signature::EcCurve;
use super::{Certificate, name, structure};

/// The facts of one certificate.
#[derive(Clone, Debug)]
pub(crate) struct CertificateFacts {
    /// Of its public key.
    pub(crate) key: KeyKind,
    /// basicConstraints.
    pub(crate) basic: Option<BasicConstraints>,
    /// keyUsage.
    pub(crate) key_usage: Option<KeyUsage>,
    /// extendedKeyUsage.
    pub(crate) purposes: Option<Purposes>,
    /// subjectKeyIdentifier.
    pub(crate) subject_key_id: Option<Vec<u8>>,
    /// The key's identifier in authorityKeyIdentifier.
    pub(crate) authority_key_id: Option<Vec<u8>>,
    /// subjectAltName.
    pub(crate) alt_names: Option<AltNames>,
    /// Every common name of the subject, in order.
    pub(crate) common_names: Vec<String>,
    /// nameConstraints.
    pub(crate) constraints: Option<NameConstraints>,
    /// The extensions that are marked critical: the content of each OBJECT IDENTIFIER.
    pub(crate) critical: Vec<Vec<u8>>,
    /// policyConstraints with requireExplicitPolicy.
    pub(crate) requires_policy: bool,
    /// Whether it has certificatePolicies.
    pub(crate) has_policies: bool,
    /// The TLS feature `status_request` (RFC 7633), "must staple".
    pub(crate) must_staple: bool,
    /// Whether the subject has no attribute.
    pub(crate) is_nameless: bool,
}

/// A public key, as far as verifiers distinguish keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// RSA, with the bits of the modulus.
    Rsa(usize),
    /// RSA that is for RSASSA-PSS alone (RFC 4055), with the bits of the modulus.
    RsaPss(usize),
    /// NIST's P-256 or P-384.
    Common,
    /// NIST's P-521.
    P521,
    /// On another curve: its identifier, dotted.
    OtherCurve(String),
    /// On a curve that is written out instead of named.
    ExplicitCurve,
    /// Ed25519.
    Ed25519,
    /// Anything else: its identifier, dotted.
    Other(String),
}

/// basicConstraints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BasicConstraints {
    /// `CA:TRUE`.
    pub(crate) is_ca: bool,
    /// The intermediates that may follow.
    pub(crate) path_length: Option<u64>,
    /// Whether it is marked critical.
    pub(crate) is_critical: bool,
}

/// keyUsage, as far as verifiers use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyUsage {
    /// digitalSignature.
    pub(crate) signs: bool,
    /// keyEncipherment or keyAgreement.
    pub(crate) exchanges_keys: bool,
    /// keyCertSign.
    pub(crate) signs_certificates: bool,
}

/// extendedKeyUsage, as far as verifiers of servers use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Purposes {
    /// serverAuth.
    pub(crate) server_auth: bool,
    /// anyExtendedKeyUsage.
    pub(crate) any: bool,
}

/// subjectAltName.
#[derive(Clone, Debug)]
pub(crate) struct AltNames {
    /// The names, in order.
    pub(crate) names: Vec<OwnedName>,
    /// Whether it is marked critical.
    pub(crate) is_critical: bool,
}

/// nameConstraints (RFC 5280 section 4.2.1.10).
#[derive(Clone, Debug)]
pub(crate) struct NameConstraints {
    /// If there is one of a kind, names of that kind must be in one of them.
    pub(crate) permitted: Vec<OwnedName>,
    /// No name may be in one of these.
    pub(crate) excluded: Vec<OwnedName>,
    /// Whether it is marked critical.
    pub(crate) is_critical: bool,
}

/// A GeneralName.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OwnedName {
    /// dNSName, raw.
    Dns(String),
    /// rfc822Name, raw.
    Email(String),
    /// uniformResourceIdentifier, raw.
    Uri(String),
    /// iPAddress: 4 or 16 bytes; in constraints with the mask behind them.
    Ip(Vec<u8>),
    /// directoryName: the content of the Name.
    Directory(Vec<u8>),
    /// otherName or registeredID, which verifiers compare with nothing.
    Other,
}

impl OwnedName {
    fn of(name: &GeneralName<'_>) -> OwnedName {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match *name {
            GeneralName::Dns(bytes) => OwnedName::Dns(text(bytes)),
            GeneralName::Email(bytes) => OwnedName::Email(text(bytes)),
            GeneralName::Uri(bytes) => OwnedName::Uri(text(bytes)),
            GeneralName::Ip(bytes) => OwnedName::Ip(bytes.to_vec()),
            GeneralName::Directory(name) => OwnedName::Directory(name.to_vec()),
            GeneralName::Other => OwnedName::Other,
        }
    }

    fn all(names: &[GeneralName<'_>]) -> Vec<OwnedName> {
        names.iter().map(OwnedName::of).collect()
    }
}

const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const PURPOSES: &[u8] = &[0x55, 0x1d, 37];
const POLICY_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 36];
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// 1.3.6.1.5.5.7.3.1
const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 37, 0];
/// 1.3.6.1.5.5.7.1.24
const TLS_FEATURES: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 24];
/// The number of the extension `status_request`.
const STATUS_REQUEST: &[u8] = &[5];

impl Certificate {
    /// What verifiers look at. The error is the part that is malformed, of which each of them makes something else.
    pub(crate) fn facts(&self) -> Result<CertificateFacts, &'static str> {
        let fields = structure::decode(self.der())?;
        fields.extensions.iter().try_for_each(extensions::check)?;
        let subject = name::rdns(self.subject_der()).ok_or("subject")?;
        let of = |oid: &[u8]| fields.extensions.iter().find(|extension| extension.oid == oid);
        let common_names = subject.iter().flatten().filter(|attribute| attribute.oid == COMMON_NAME);
        Ok(CertificateFacts {
            key: key_kind(&fields.public_key),
            basic: of(BASIC_CONSTRAINTS).map(basic_constraints),
            key_usage: of(KEY_USAGE).map(key_usage),
            purposes: of(PURPOSES).map(purposes),
            subject_key_id: of(id::SUBJECT_KEY_ID)
                .and_then(|extension| Some(der::only(extension.value, der::OCTET_STRING)?.body.to_vec())),
            authority_key_id: of(id::AUTHORITY_KEY_ID).and_then(|extension| {
                let mut parts = DerReader::new(der::only(extension.value, der::SEQUENCE)?.body);
                Some(parts.take(0x80)?.body.to_vec())
            }),
            alt_names: of(id::SUBJECT_ALT_NAME).map(|extension| AltNames {
                names: OwnedName::all(&extensions::names_of(extension).names),
                is_critical: extension.critical,
            }),
            common_names: common_names
                .filter_map(|attribute| match attribute.text() {
                    name::AttributeValue::Text(text) => Some(text),
                    _ => None,
                })
                .collect(),
            constraints: of(id::NAME_CONSTRAINTS).and_then(|extension| {
                let subtrees = extensions::subtrees(extension.value)?;
                Some(NameConstraints {
                    permitted: OwnedName::all(&subtrees.permitted),
                    excluded: OwnedName::all(&subtrees.excluded),
                    is_critical: extension.critical,
                })
            }),
            critical: fields
                .extensions
                .iter()
                .filter(|extension| extension.critical)
                .map(|extension| extension.oid.to_vec())
                .collect(),
            requires_policy: of(POLICY_CONSTRAINTS).is_some_and(|extension| {
                let parts = der::only(extension.value, der::SEQUENCE);
                parts.is_some_and(|parts| DerReader::new(parts.body).take(0x80).is_some())
            }),
            has_policies: of(id::POLICIES).is_some(),
            must_staple: of(TLS_FEATURES).is_some_and(must_staple),
            is_nameless: subject.is_empty(),
        })
    }
}

/// Reads the elements of a SEQUENCE.
fn elements<'a>(value: &'a [u8]) -> impl Iterator<Item = Tlv<'a>> {
    let mut list = DerReader::new(der::only(value, der::SEQUENCE).map_or(&[][..], |list| list.body));
    std::iter::from_fn(move || list.next())
}

fn basic_constraints(extension: &Extension<'_>) -> BasicConstraints {
    const BOOLEAN: u8 = 0x01;
    let mut found = BasicConstraints { is_ca: false, path_length: None, is_critical: extension.critical };
    for element in elements(extension.value) {
        match element.tag {
            BOOLEAN => found.is_ca = element.body != [0],
            der::INTEGER => {
                found.path_length =
                    Some(element.body.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)));
            }
            _ => {}
        }
    }
    found
}

fn key_usage(extension: &Extension<'_>) -> KeyUsage {
    let bits = der::only(extension.value, der::BIT_STRING).map_or(&[][..], |bits| bits.body);
    let first = bits.get(1).copied().unwrap_or_default();
    KeyUsage {
        signs: first & 0x80 != 0,
        exchanges_keys: first & 0x28 != 0,
        signs_certificates: first & 0x04 != 0,
    }
}

fn purposes(extension: &Extension<'_>) -> Purposes {
    let has = |oid: &[u8]| elements(extension.value).any(|one| one.body == oid);
    Purposes { server_auth: has(SERVER_AUTH), any: has(ANY_PURPOSE) }
}

fn must_staple(extension: &Extension<'_>) -> bool {
    elements(extension.value).any(|feature| feature.body == STATUS_REQUEST)
}

fn key_kind(info: &Tlv<'_>) -> KeyKind {
    let Some(key) = PublicKeyInfo::of(info) else { return KeyKind::Other("unknown".to_owned()) };
    let bits = || key_form::rsa_numbers(key.bytes).map_or(0, |(modulus, _)| key_form::bits(modulus));
    match key.algorithm {
        key_form::id::RSA => KeyKind::Rsa(bits()),
        key_form::id::RSA_PSS => KeyKind::RsaPss(bits()),
        key_form::id::EC => match key.parameters {
            Some(curve) if curve.tag == der::OID => match EcCurve::from_oid(curve.body) {
                Some(EcCurve::P521) => KeyKind::P521,
                Some(_) => KeyKind::Common,
                None => KeyKind::OtherCurve(name::dotted(curve.body)),
            },
            _ => KeyKind::ExplicitCurve,
        },
        key_form::id::ED25519 => KeyKind::Ed25519,
        other => KeyKind::Other(name::dotted(other)),
    }
}

/// Whether a name (the DER of a Name) is below a directoryName of a constraint (the content of a Name): the constraint's
/// attributes are the first ones of the name. Text is compared without case, as RFC 5280 section 7.1 has it.
pub(crate) fn is_below(directory: &[u8], name: &[u8]) -> bool {
    let directory = der::element(der::SEQUENCE, directory);
    let (Some(wanted), Some(found)) = (name::rdns(&directory), name::rdns(name)) else { return false };
    let same = |wanted: &name::NameAttribute<'_>, found: &name::NameAttribute<'_>| {
        wanted.oid == found.oid
            && match (wanted.text(), found.text()) {
                (name::AttributeValue::Text(wanted), name::AttributeValue::Text(found)) => {
                    wanted.trim().to_lowercase() == found.trim().to_lowercase()
                }
                _ => wanted.value.body == found.value.body,
            }
    };
    wanted.len() <= found.len()
        && wanted.iter().zip(&found).all(|(wanted, found)| {
            wanted.len() == found.len() && wanted.iter().zip(found).all(|(wanted, found)| same(wanted, found))
        })
}
