//! Which programs cannot load a well-formed certificate (threat T39), and what that costs: the root alone, or every
//! root of the store that holds it. A pure function of the certificate; `tests/tools/odd_certificates` compares it with
//! the real OpenSSL, GnuTLS, Go, Java, NSS, p11-kit and rustls.
//!
//! Where a reader's rule is intricate (which URI Java's or Go's parser accepts), only plain forms count as loadable: a
//! root that is omitted with a warning does less harm than a store that no program can open.

use super::Certificate;
use super::curve;
use super::der::{self, DerReader, Tlv};
use super::extensions::{self, Extension, id, names_of};
use super::general_name::GeneralName;
use super::key_form::{self, PublicKeyInfo};
use super::name;
use super::plain_uri::{is_plain_domain, is_plain_uri};
use super::structure::{self, CertificateFields};

/// A library that parses the roots of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// OpenSSL, and its users (curl, Python, Ruby, PHP, Node with its options).
    OpenSsl,
    /// Go's crypto/x509.
    Go,
    /// Java's keystores.
    Java,
    /// rustls, and other users of rustls-webpki.
    Rustls,
}

impl Library {
    /// Its name in sentences.
    pub fn words(self) -> &'static str {
        match self {
            Library::OpenSsl => "OpenSSL",
            Library::Go => "Go",
            Library::Java => "Java",
            Library::Rustls => "rustls",
        }
    }
}

/// What programs lose because of a certificate that it cannot load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// This root; the others of the store remain.
    Root,
    /// Every root of the store that holds it.
    Store,
}

/// Why a library cannot load a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryRefusal {
    /// The library.
    pub library: Library,
    /// Its cost.
    pub harm: Harm,
    /// The reason, with the certificate as its subject: "its serial number is negative".
    pub(crate) why: String,
}

/// The readers that cannot load this certificate, each once.
pub fn refusals(certificate: &Certificate) -> Vec<LibraryRefusal> {
    let der = certificate.der();
    let Ok(fields) = structure::fields(der) else { return Vec::new() };
    let root = |library| move |why: String| LibraryRefusal { library, harm: Harm::Root, why };
    let of_openssl = openssl(&fields).map(root(Library::OpenSsl));
    let of_go = go(certificate, &fields).map(root(Library::Go));
    let of_rustls = rustls(der, &fields).map(root(Library::Rustls));
    let of_java = java(&fields).map(|why| LibraryRefusal { library: Library::Java, harm: Harm::Store, why });
    of_openssl.into_iter().chain(of_go).chain(of_rustls).chain(of_java).collect()
}

impl Certificate {
    /// Why Java could load nothing of a keystore that holds this certificate; `None` if Java can load it.
    pub(crate) fn refused_by_java(&self) -> Option<String> {
        let fields = match structure::fields(self.der()) {
            Ok(fields) => fields,
            Err(part) => return Some(format!("its {part} is malformed")),
        };
        key_form::check(self.public_key()).err().or_else(|| java(&fields))
    }
}

/// Extensions that OpenSSL parses when it checks whether a certificate is a CA, and for which it denies that: always
/// for proxy certificates, for address and AS blocks (RFC 3779) if they are malformed, which is not checked here.
const PROXY: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 14];
const RESOURCES: [&[u8]; 2] = [&[0x2b, 6, 1, 5, 5, 7, 1, 7], &[0x2b, 6, 1, 5, 5, 7, 1, 8]];

fn openssl(fields: &CertificateFields<'_>) -> Option<String> {
    let of_kind = |extension: &Extension<'_>| match extension.oid {
        PROXY => Some("it is a proxy certificate (RFC 3820)".to_owned()),
        oid if RESOURCES.contains(&oid) => {
            Some("it is a certificate for number resources (RFC 3779), not for TLS".to_owned())
        }
        _ => None,
    };
    fields.extensions.iter().find_map(of_kind)
}

fn rustls(der: &[u8], fields: &CertificateFields<'_>) -> Option<String> {
    /// webpki reads lengths of at most two bytes.
    const LIMIT: usize = 0xffff;
    if fields.has_unique_ids {
        Some("it has a unique identifier of version 2 certificates".to_owned())
    } else {
        (der.len() > LIMIT).then(|| format!("it has {} bytes, more than {LIMIT}", der.len()))
    }
}

/// crypto/rsa calls an exponent above this "too large".
const GO_EXPONENT_BITS: usize = 31;

fn go(certificate: &Certificate, fields: &CertificateFields<'_>) -> Option<String> {
    if fields.serial.first().is_some_and(|first| *first >= 0x80) {
        return Some("its serial number is negative".to_owned());
    }
    for (whose, name) in [("subject", certificate.subject_der()), ("issuer", certificate.issuer_der())] {
        if let Some(why) = go_name(name) {
            return Some(format!("its {whose} has {why}"));
        }
    }
    let key = PublicKeyInfo::of(&fields.public_key)?;
    go_key(&key).or_else(|| fields.extensions.iter().find_map(go_extension))
}

/// Go checks the alphabet of each string type, and knows only some types.
fn go_name(name: &[u8]) -> Option<&'static str> {
    name::rdns(name)?.iter().flatten().find_map(|attribute| {
        let value = attribute.value;
        match value.tag {
            0x12 if !value.body.iter().all(|c| c.is_ascii_digit() || *c == b' ') => {
                Some("a NumericString with other characters than digits")
            }
            0x13 if !value.body.iter().all(|c| is_printable(*c)) => {
                Some("a PrintableString with a character that is not in its alphabet")
            }
            0x16 if !value.body.is_ascii() => Some("an IA5String that is not ASCII"),
            0x0c | 0x12 | 0x13 | 0x14 | 0x16 | 0x1e => None,
            _ => Some("a value of a type that Go does not know"),
        }
    })
}

/// Go's alphabet of a PrintableString: X.680 section 41.4, and two characters that CAs use nevertheless.
fn is_printable(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b" '()+,-./:=?*&".contains(&c)
}

fn go_key(key: &PublicKeyInfo<'_>) -> Option<String> {
    match key.algorithm {
        key_form::id::RSA => {
            if key.parameters.is_none_or(|parameters| parameters.tag != der::NULL) {
                return Some("its RSA key lacks the NULL parameters".to_owned());
            }
            let (_, exponent) = key_form::rsa_numbers(key.bytes)?;
            let bits = key_form::bits(exponent);
            (bits > GO_EXPONENT_BITS).then(|| format!("the exponent of its RSA key has {bits} bits"))
        }
        key_form::id::EC => {
            let curve = key.parameters.map_or(&[][..], |curve| curve.body);
            (!curve::is_nist(curve))
                .then(|| format!("Go does not know the curve {} of its key", name::dotted(curve)))
        }
        key_form::id::DSA if key.parameters.is_none() => Some("its DSA key lacks parameters".to_owned()),
        _ => None,
    }
}

fn go_extension(extension: &Extension<'_>) -> Option<String> {
    let critical = |name: &str| extension.critical.then(|| format!("its {name} is marked critical"));
    let names = names_of(extension);
    match extension.oid {
        id::SUBJECT_KEY_ID => critical("subjectKeyIdentifier"),
        id::AUTHORITY_KEY_ID => critical("authorityKeyIdentifier"),
        id::AUTHORITY_INFO => critical("authorityInfoAccess"),
        id::SUBJECT_ALT_NAME => names
            .names
            .iter()
            .any(|name| !is_go_name(name))
            .then(|| "its subjectAltName has a name or URI that Go cannot parse".to_owned()),
        id::NAME_CONSTRAINTS => names
            .names
            .iter()
            .any(|name| !is_go_constraint(name))
            .then(|| "its nameConstraints have a name, a URI or a mask that Go cannot parse".to_owned()),
        id::CRL_POINTS if names.relative => {
            Some("its cRLDistributionPoints have a name relative to the issuer's".to_owned())
        }
        id::POLICIES => {
            let mut policies = extensions::policies(extension.value);
            let count = policies.len();
            policies.sort_unstable();
            policies.dedup();
            (policies.len() < count).then(|| "its certificatePolicies name one policy twice".to_owned())
        }
        _ => None,
    }
}

fn is_go_name(name: &GeneralName<'_>) -> bool {
    match name {
        GeneralName::Email(text) | GeneralName::Dns(text) => text.is_ascii(),
        GeneralName::Uri(text) => is_plain_uri(text),
        GeneralName::Ip(_) | GeneralName::Directory(_) | GeneralName::Other => true,
    }
}

fn is_go_constraint(name: &GeneralName<'_>) -> bool {
    match name {
        GeneralName::Dns(text) => text.is_empty() || is_go_domain(text),
        GeneralName::Email(text) => {
            let (local, domain) = match text.iter().position(|c| *c == b'@') {
                Some(at) => (&text[..at], &text[at + 1..]),
                None => (&b"x"[..], &text[..]),
            };
            let is_plain = |c: &u8| c.is_ascii_alphanumeric() || b"-_+".contains(c);
            let is_local =
                local.split(|c| *c == b'.').all(|part| !part.is_empty() && part.iter().all(is_plain));
            text.is_empty() || is_local && is_go_domain(domain)
        }
        GeneralName::Uri(text) => {
            let address = str::from_utf8(text).is_ok_and(|text| text.parse::<std::net::IpAddr>().is_ok());
            text.is_empty() || is_go_domain(text) && !address
        }
        GeneralName::Ip(range) => is_mask(&range[range.len() / 2..]),
        GeneralName::Directory(_) | GeneralName::Other => true,
    }
}

/// Labels of visible characters, separated by dots; a leading dot is allowed.
fn is_go_domain(text: &[u8]) -> bool {
    let bare = text.strip_prefix(b".").unwrap_or(text);
    bare.split(|c| *c == b'.').all(|label| !label.is_empty() && label.iter().all(u8::is_ascii_graphic))
}

/// Ones, then zeros.
fn is_mask(mask: &[u8]) -> bool {
    let ones: u32 = mask.iter().take_while(|byte| **byte == 0xff).count() as u32 * 8;
    let rest: Vec<u8> = mask.iter().copied().skip_while(|byte| *byte == 0xff).collect();
    match rest.split_first() {
        None => ones > 0,
        Some((first, others)) => {
            first.leading_ones() + first.trailing_zeros() >= 8 && others.iter().all(|byte| *byte == 0)
        }
    }
}

/// The curves that Java knows by name, and the bytes of a coordinate: NIST's, secp256k1, and Brainpool's `r1`. Java has
/// others (`sect233k1`, `secp160r1`), which are not used for signing and which builds of distributions omit.
const JAVA_CURVES: [(&[u8], usize); 9] = [
    (&[0x2b, 0x81, 0x04, 0x00, 0x21], 28),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], 32),
    (&[0x2b, 0x81, 0x04, 0x00, 0x22], 48),
    (&[0x2b, 0x81, 0x04, 0x00, 0x23], 66),
    (&[0x2b, 0x81, 0x04, 0x00, 0x0a], 32),
    (&[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 7], 32),
    (&[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 9], 40),
    (&[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 11], 48),
    (&[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 13], 64),
];

/// Extensions of certificate revocation lists (RFC 5280 section 5), which Java also parses in certificates.
const CRL_EXTENSIONS: [u8; 6] = [20, 21, 24, 27, 28, 29];

/// SHA-1, SHA-224 to SHA-512/256 and SHA3: what Java accepts in RSASSA-PSS-params.
const SHA1: &[u8] = &[0x2b, 14, 3, 2, 26];
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2];

fn java(fields: &CertificateFields<'_>) -> Option<String> {
    let (algorithm, parameters) = key_form::algorithm(&fields.algorithm)?;
    if !are_plain_parameters(algorithm, parameters) {
        return Some("the parameters of its signature are not ones that Java reads".to_owned());
    }
    let key = PublicKeyInfo::of(&fields.public_key)?;
    java_key(&key)
        .or_else(|| fields.extensions.iter().filter(|extension| extension.critical).find_map(java_extension))
}

fn java_key(key: &PublicKeyInfo<'_>) -> Option<String> {
    match key.algorithm {
        key_form::id::EC => {
            let curve = key.parameters.map_or(&[][..], |curve| curve.body);
            let Some((_, size)) = JAVA_CURVES.iter().find(|(oid, _)| *oid == curve) else {
                return Some(format!("Java does not know the curve {} of its key", name::dotted(curve)));
            };
            (key.bytes.len() != 1 + 2 * size)
                .then(|| "the point of its key does not fit the curve".to_owned())
        }
        key_form::id::DSA | key_form::id::DSA_OF_JAVA => None,
        key_form::id::HSS_LMS => Some("Java takes its HSS/LMS key apart".to_owned()),
        // GOST's parameters, which Java does not parse.
        [0x2a, 0x85, 0x03, ..] => None,
        algorithm => (!are_plain_parameters(algorithm, key.parameters))
            .then(|| "the parameters of its key are not ones that Java reads".to_owned()),
    }
}

/// None, NULL, or those of RSASSA-PSS (RFC 4055 section 3.1). Java parses the parameters of algorithms that it knows,
/// so others may be of such a kind.
fn are_plain_parameters(algorithm: &[u8], parameters: Option<Tlv<'_>>) -> bool {
    match parameters {
        None => true,
        Some(parameters) if parameters.tag == der::NULL => true,
        Some(parameters) => algorithm == key_form::id::RSA_PSS && is_pss(&parameters).is_some(),
    }
}

fn is_pss(parameters: &Tlv<'_>) -> Option<()> {
    let mut fields = DerReader::new(Some(parameters.body).filter(|_| parameters.tag == der::SEQUENCE)?);
    if let Some(hash) = fields.take(der::CONTEXT_0) {
        is_hash(hash.body)?;
    }
    if let Some(mask) = fields.take(der::CONTEXT_1) {
        let mut parts = DerReader::new(der::only(mask.body, der::SEQUENCE)?.body);
        parts.take(der::OID).filter(|oid| oid.body == key_form::id::MGF1)?;
        is_hash(parts.rest())?;
    }
    if let Some(salt) = fields.take(0xa2) {
        der::only(salt.body, der::INTEGER).filter(|salt| matches!(salt.body, [0..=0x7f] | [0..=0x7f, _]))?;
    }
    if let Some(trailer) = fields.take(0xa3) {
        der::only(trailer.body, der::INTEGER).filter(|trailer| trailer.body == [1])?;
    }
    fields.is_empty().then_some(())
}

fn is_hash(identifier: &[u8]) -> Option<()> {
    let mut parts = DerReader::new(der::only(identifier, der::SEQUENCE)?.body);
    let oid = parts.take(der::OID)?.body;
    let known = oid == SHA1 || matches!(oid.strip_prefix(SHA2), Some([1..=6]));
    let rest_is_null = parts.is_empty() || parts.rest() == [der::NULL, 0];
    (known && rest_is_null).then_some(())
}

/// Java parses the critical extensions that it knows, and refuses the certificate if that fails.
fn java_extension(extension: &Extension<'_>) -> Option<String> {
    let constrains = extension.oid == id::NAME_CONSTRAINTS;
    if let [0x55, 0x1d, last] = extension.oid
        && CRL_EXTENSIONS.contains(last)
    {
        return Some(
            "it has an extension of certificate revocation lists that is marked critical".to_owned(),
        );
    }
    let unread = |name: &GeneralName<'_>| match name {
        GeneralName::Uri(text) if constrains => {
            !is_plain_domain(text)
                || str::from_utf8(text).is_ok_and(|text| text.parse::<std::net::IpAddr>().is_ok())
        }
        GeneralName::Uri(text) => !is_plain_uri(text),
        GeneralName::Email(text) => text.is_empty(),
        GeneralName::Dns(_) | GeneralName::Ip(_) | GeneralName::Directory(_) | GeneralName::Other => false,
    };
    if !names_of(extension).names.iter().any(unread) {
        return None;
    }
    Some(if constrains {
        "its nameConstraints, which are critical, have a URI or an e-mail address that Java cannot parse (a URI \
         constraint is a host name without a scheme)"
            .to_owned()
    } else {
        "an extension that is marked critical has a URI that Java cannot parse".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

    use super::super::testing::{TestCertificate, UNIVERSAL, attribute, name, oid, sequence, tlv};
    use super::*;

    const CONSTRAINTS: &str = "2.5.29.30";

    fn refused(draft: &TestCertificate) -> Vec<(Library, Harm)> {
        let certificate = Certificate::from_der(&draft.der()).expect("parses");
        refusals(&certificate).into_iter().map(|refusal| (refusal.library, refusal.harm)).collect()
    }

    fn constraint(name: &[u8]) -> TestCertificate {
        TestCertificate::default().with(CONSTRAINTS, sequence(&[&tlv(0xa0, &sequence(&[name]))]))
    }

    #[test]
    fn t39_every_library_loads_the_roots_of_the_web_pki() {
        for der in TLS_SERVER_ROOT_CERTS {
            let root = Certificate::from_der(der).expect("a root");
            assert_eq!((refusals(&root), root.refused_by_java()), (Vec::new(), None), "{root:?}");
        }
    }

    #[test]
    fn t39_java_loads_nothing_with_a_critical_extension_that_it_cannot_parse() {
        let java = [(Library::Java, Harm::Store)];
        for (uri, wanted) in [
            (&b"example.com"[..], false),
            (b".example.com", false),
            (b"https://example.com", true),
            (b"a b", true),
            (b"", true),
            (b"10.0.0.1", true),
        ] {
            let refusals = refused(&constraint(&tlv(0x86, uri)));
            assert_eq!(refusals.contains(&java[0]), wanted, "{uri:?}");
        }
        assert_eq!(refused(&constraint(&tlv(0x81, b""))), java);
        assert_eq!(refused(&TestCertificate::default().with("2.5.29.20", vec![2, 1, 0])), java);
        // Only if it is critical.
        let mut draft = constraint(&tlv(0x86, b"https://example.com"));
        for (_, critical, _) in &mut draft.extensions {
            *critical = false;
        }
        assert_eq!(refused(&draft), []);
    }

    #[test]
    fn t39_curves_without_a_name_that_all_know() {
        let good = rcgen::PublicKeyData::subject_public_key_info(super::super::testing::key());
        let point = [&[0][..], &good[good.len() - 65..]].concat();
        let on = |curve: &str| {
            let algorithm = sequence(&[&oid("1.2.840.10045.2.1"), &oid(curve)]);
            refused(&TestCertificate {
                public_key: Some(sequence(&[&algorithm, &tlv(3, &point)])),
                ..TestCertificate::default()
            })
        };
        let (go, java) = ((Library::Go, Harm::Root), (Library::Java, Harm::Store));
        assert_eq!(on("1.2.840.10045.3.1.7"), []);
        assert_eq!(on("1.3.36.3.3.2.8.1.1.7"), [go], "brainpoolP256r1");
        assert_eq!(on("1.3.36.3.3.2.8.1.1.11"), [go, java], "the point is too short");
        assert_eq!(on("1.2.156.10197.1.301"), [go, java], "SM2");
    }

    #[test]
    fn t39_what_one_library_passes_over() {
        let go = [(Library::Go, Harm::Root)];
        let universal = name(&[&[&attribute("2.5.4.3", UNIVERSAL, b"\0\0\0A")]]);
        assert_eq!(refused(&TestCertificate::named(universal)), go);
        let policies = sequence(&[&sequence(&[&oid("1.2.3")]), &sequence(&[&oid("1.2.3")])]);
        assert_eq!(refused(&TestCertificate::default().with("2.5.29.32", policies)), go);
        assert_eq!(refused(&constraint(&tlv(0x87, &[10, 0, 0, 0, 255, 0, 255, 0]))), go);
        assert_eq!(refused(&constraint(&tlv(0x87, &[10, 0, 0, 0, 255, 192, 0, 0]))), []);
        assert_eq!(
            refused(&TestCertificate::default().with("1.3.6.1.5.5.7.1.14", vec![5, 0])),
            [(Library::OpenSsl, Harm::Root)]
        );
    }
}
