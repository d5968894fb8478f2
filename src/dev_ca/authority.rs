//! Root and intermediate, and the certificates that the intermediate signs. The root's key is discarded as soon as it
//! has signed the intermediate, which lives as long: nothing else is ever below that root.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PublicKeyData, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::names::PermittedNames;
use crate::error::{Error, Result};
use crate::pki::cert::DEVELOPMENT_ROOT;
use crate::pki::cert::{Certificate, SubjectAltName};
use crate::pki::fingerprint::Fingerprint;
use crate::pki::key::{KeyType, PrivateKey, PublicKey};

pub(super) const DAY: u64 = 24 * 60 * 60;
const ROOT_DAYS: u64 = 30;
/// How far certificates are backdated, as step-ca does: clocks differ.
pub(super) const BACKDATE: u64 = 60;

/// A certificate with its chain and its key.
pub struct IssuedPair {
    /// Leaf first, then the intermediate; the root is not part of it.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS#8.
    pub key: PrivateKeyDer<'static>,
}

/// A root and the intermediate that signs.
pub(super) struct Authority {
    root: Certificate,
    intermediate: Certificate,
    issuer: Issuer<'static, PrivateKey>,
    names: PermittedNames,
}

/// The content of a certificate.
pub(super) struct Leaf<'a> {
    pub(super) common_name: Option<&'a str>,
    pub(super) names: &'a [SubjectAltName],
    pub(super) key: &'a PublicKey,
    /// Seconds since 1970, both.
    pub(super) not_before: u64,
    pub(super) not_after: u64,
    /// Whether it may also be presented to servers: then it can renew itself.
    pub(super) client: bool,
    /// The content of the extension that names the provisioner.
    pub(super) provisioner: Option<Vec<u8>>,
}

/// smallstep's extension that names the provisioner.
pub(super) const PROVISIONER: [u64; 9] = [1, 3, 6, 1, 4, 1, 37476, 9000, 64];

/// The arc that follows [`PROVISIONER`].
pub(super) const PROVISIONER_LEAF: u64 = 1;

impl Authority {
    /// Makes a new root, and an intermediate (EC P-256), valid from `now` on.
    pub(super) fn generate(now: u64, names: PermittedNames) -> Result<Self> {
        let key = PrivateKey::generate(KeyType::EcP256)?;
        // Random because the key is: two CAs never share a subject.
        let name = Fingerprint::of(key.public_key()).short(8);
        let mut params = ca_params(&format!("{DEVELOPMENT_ROOT} {name}"), 1);
        validity(&mut params, now.saturating_sub(BACKDATE), now + ROOT_DAYS * DAY);
        params.name_constraints = Some(names.constraints());
        let root = CertifiedIssuer::self_signed(params, key).map_err(|error| not_made(&error))?;
        let mut params = ca_params(&format!("{DEVELOPMENT_ROOT} {name} intermediate"), 0);
        validity(&mut params, now.saturating_sub(BACKDATE), now + ROOT_DAYS * DAY);
        params.use_authority_key_identifier_extension = true;
        let key = PrivateKey::generate(KeyType::EcP256)?;
        let intermediate = params.signed_by(&key, &root).map_err(|error| not_made(&error))?;
        let read = |der: &[u8]| Certificate::from_der(der).map_err(|error| not_made(&error));
        Authority::load(read(root.der())?, read(intermediate.der())?, key, names)
    }

    /// Loads what [`Authority::generate`] made earlier.
    ///
    /// # Errors
    /// The key is not that of the intermediate, or that has no name.
    pub(super) fn load(
        root: Certificate,
        intermediate: Certificate,
        key: PrivateKey,
        names: PermittedNames,
    ) -> Result<Self> {
        if intermediate.public_key() != key.public_key() {
            return Err(Error::failed("the CA's key is not that of its certificate"));
        }
        let common_name = common_name(intermediate.der());
        let common_name = common_name.ok_or_else(|| Error::failed("the CA's certificate has no name"))?;
        let issuer = Issuer::new(ca_params(&common_name, 0), key);
        Ok(Authority { root, intermediate, issuer, names })
    }

    pub(super) fn root(&self) -> &Certificate {
        &self.root
    }

    pub(super) fn intermediate(&self) -> &Certificate {
        &self.intermediate
    }

    pub(super) fn names(&self) -> &PermittedNames {
        &self.names
    }

    /// The key of the intermediate.
    pub(super) fn key(&self) -> &PrivateKey {
        self.issuer.key()
    }

    /// When the root ends: seconds since 1970.
    pub(super) fn ends(&self) -> u64 {
        u64::try_from(self.root.not_after()).unwrap_or_default()
    }

    /// Signs.
    ///
    /// # Errors
    /// A name is not ASCII.
    pub(super) fn sign(&self, leaf: Leaf<'_>) -> Result<Certificate> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::failed("the CA could not issue a certificate").because(anyhow::anyhow!("{error}"))
        };
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = leaf.common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        let names = leaf.names.iter().map(SubjectAltName::to_rcgen).collect::<Result<_, _>>();
        params.subject_alt_names = names.map_err(|error| failed(&error))?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if matches!(leaf.key, PublicKey::Rsa { .. }) {
            params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if leaf.client {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        params.use_authority_key_identifier_extension = true;
        if let Some(content) = leaf.provisioner {
            let oid = [&PROVISIONER[..], &[PROVISIONER_LEAF]].concat();
            params.custom_extensions.push(CustomExtension::from_oid_content(&oid, content));
        }
        // By default it comes from the key, and a renewed certificate would have that of the first.
        params.serial_number = Some(serial()?);
        validity(&mut params, leaf.not_before, leaf.not_after);
        let signed = params
            .signed_by(&SubjectKey(leaf.key, leaf.key.to_der()), &self.issuer)
            .map_err(|error| failed(&error))?;
        Certificate::from_der(signed.der()).map_err(|error| failed(&error))
    }

    /// A server certificate for `names`, with a new key, that lives a day from `now`.
    pub(super) fn serve(&self, names: &[SubjectAltName], now: u64) -> Result<IssuedPair> {
        let key = PrivateKey::generate(KeyType::EcP256)?;
        let leaf = self.sign(Leaf {
            common_name: None,
            names,
            key: key.public(),
            not_before: now.saturating_sub(BACKDATE),
            not_after: now.saturating_add(DAY),
            client: false,
            provisioner: None,
        })?;
        Ok(IssuedPair {
            chain: self.chain(&leaf).map(|certificate| certificate.der().to_vec().into()).to_vec(),
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.pkcs8().to_vec())),
        })
    }

    /// The leaf with its chain.
    pub(super) fn chain(&self, leaf: &Certificate) -> [Certificate; 2] {
        [leaf.clone(), self.intermediate.clone()]
    }
}

/// The key that a certificate is for, as rcgen expects it; and its SubjectPublicKeyInfo.
struct SubjectKey<'a>(&'a PublicKey, Vec<u8>);

impl PublicKeyData for SubjectKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.bit_string_of(&self.1)
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.0.rcgen_algorithm()
    }
}

fn ca_params(name: &str, intermediates: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(intermediates));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn validity(params: &mut CertificateParams, not_before: u64, not_after: u64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(not_before);
    params.not_after = epoch + Duration::from_secs(not_after);
}

/// 127 random bits, as in the real one.
fn serial() -> Result<SerialNumber> {
    let mut bytes = [0; 16];
    crate::random::fill(&mut bytes)?;
    // Positive, and without leading zeros.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// The first common name of a certificate's subject.
pub(super) fn common_name(der: &[u8]) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
    first_common_name(parsed.subject())
}

pub(super) fn first_common_name(subject: &x509_parser::x509::X509Name<'_>) -> Option<String> {
    subject.iter_common_name().next()?.as_str().ok().map(ToOwned::to_owned)
}

fn not_made(error: &dyn std::fmt::Display) -> Error {
    Error::failed("could not create the CA").because(anyhow::anyhow!("{error}"))
}
