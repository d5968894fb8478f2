//! PKCS#12 (RFC 7292) as Java's trust stores use it: which certificates Java trusts, and the file again with a bag
//! added or removed. Everything else stays as it was read, byte for byte: bags, whole encrypted parts, the parameters
//! of encryption and MAC. Bags with private keys are never decrypted.

use zeroize::Zeroizing;

use super::kdf::EncodedPassword;
use super::mac::Mac;
use super::pbe::{self, Scheme};
use super::{EntryContent, KeystoreEntry, KeystoreFormat, KeystoreProblem, SaltSource, StorePassword};
use crate::error::Error;
use crate::pki::cert::der::{self, DerReader};
use crate::pki::cert::{Certificate, CertificateCache};

/// pkcs-7: the last number is 1 for data, 3 for enveloped, 6 for encrypted data (RFC 5652).
const PKCS7: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7];
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 6];
/// Bag types: 1 and 2 hold private keys, 3 a certificate (RFC 7292 section 4.2).
const BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1];
const CERTIFICATE_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, 3];
/// PKCS #9 (RFC 2985): friendlyName, localKeyId, x509Certificate.
const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 20];
const LOCAL_KEY_ID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 21];
const X509_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 22, 1];
/// Oracle's trustedKeyUsage, 2.16.840.1.113894.746875.1.1: without it Java trusts no certificate.
const TRUSTED_KEY_USAGE: &[u8] = &[0x60, 0x86, 0x48, 1, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 1, 1];
/// anyExtendedKeyUsage (RFC 5280 section 4.2.1.12).
const ANY_USAGE: &[u8] = &[0x55, 0x1d, 37, 0];
const BMP_STRING: u8 = 0x1e;
/// `[0] IMPLICIT OCTET STRING`.
const CONTENT_0: u8 = 0x80;

/// keytool's iterations for certificates since JDK 16.
const KEYTOOL_ITERATIONS: u32 = 10_000;

/// A file without its bags, which are the keystore's entries.
pub(super) struct Pfx {
    safes: Vec<Safe>,
    mac: Option<Mac>,
    secret: EncodedPassword,
}

/// One ContentInfo of the AuthenticatedSafe.
struct Safe {
    /// As it was read; empty for a new one.
    raw: Vec<u8>,
    protection: BagProtection,
    /// Whether its bags are no longer those in `raw`.
    changed: bool,
}

enum BagProtection {
    /// `data`.
    None,
    /// `encryptedData`.
    Password(Scheme),
    /// `envelopedData`, encrypted for a public key: kept as it is.
    PublicKey,
}

/// The parts visible without a password.
struct Outline<'a> {
    /// The input of the MAC: the AuthenticatedSafe.
    content: &'a [u8],
    safes: Vec<(&'a [u8], ContentPart<'a>)>,
    mac: Option<Mac>,
}

/// The content of one ContentInfo.
enum ContentPart<'a> {
    Plain(&'a [u8]),
    Encrypted(Scheme, &'a [u8]),
    Enveloped,
}

/// Whether a password is needed to read it, according to its outline.
pub(super) fn format(bytes: &[u8]) -> Result<KeystoreFormat, KeystoreProblem> {
    let outline = Outline::read(bytes)?;
    let encrypted = outline.safes.iter().any(|(_, part)| matches!(part, ContentPart::Encrypted(..)));
    Ok(if outline.mac.is_some() || encrypted { KeystoreFormat::Pkcs12 } else { KeystoreFormat::Pkcs12Plain })
}

/// The bags that can be read without a password; the MAC is not checked, as in Java.
pub(super) fn read_plain(bytes: &[u8]) -> Result<Vec<KeystoreEntry>, KeystoreProblem> {
    let mut entries = Vec::new();
    for (at, (_, part)) in Outline::read(bytes)?.safes.iter().enumerate() {
        if let ContentPart::Plain(bags) = part {
            read_bags(bags, at, &mut entries).ok_or(KeystoreProblem::damaged("the bags"))?;
        }
    }
    Ok(entries)
}

/// How many hashes or HMACs the keys of all parts and of the MAC take, even if a part has to be added.
pub(super) fn cost(bytes: &[u8]) -> Result<u64, KeystoreProblem> {
    let outline = Outline::read(bytes)?;
    let parts = outline.safes.iter().filter_map(|(_, part)| match part {
        ContentPart::Encrypted(scheme, _) => Some(scheme.cost()),
        ContentPart::Plain(_) | ContentPart::Enveloped => None,
    });
    let (count, sum) = parts.fold((0, 0_u64), |(count, sum), cost| (count + 1, sum.saturating_add(cost)));
    let of_mac = outline.mac.as_ref().map_or(0, Mac::cost);
    let of_new_part = match &outline.mac {
        Some(mac) if count == 0 => Scheme::of_keytool(mac.iterations().max(KEYTOOL_ITERATIONS))?.cost(),
        _ => 0,
    };
    Ok(sum.saturating_add(of_mac).saturating_add(of_new_part))
}

impl<'a> Outline<'a> {
    fn read(bytes: &'a [u8]) -> Result<Outline<'a>, KeystoreProblem> {
        if bytes.get(1) == Some(&0x80) {
            return Err(KeystoreProblem::Unsupported("PKCS#12 in BER (lengths left open)".to_owned()));
        }
        let damaged = || KeystoreProblem::damaged("the outer structure");
        let mut fields = DerReader::new(der::only(bytes, der::SEQUENCE).ok_or_else(damaged)?.body);
        if fields.take(der::INTEGER).is_none_or(|version| version.body != [3]) {
            return Err(KeystoreProblem::NotAKeystore);
        }
        let (oid, content) =
            content_info(fields.take(der::SEQUENCE).ok_or_else(damaged)?.raw).ok_or_else(damaged)?;
        if oid != DATA {
            return Err(KeystoreProblem::Unsupported("PKCS#12 that is signed with a public key".to_owned()));
        }
        let content = der::only(content, der::OCTET_STRING).ok_or_else(damaged)?.body;
        let mac = fields.take(der::SEQUENCE).map(|mac| Mac::read(mac.raw)).transpose()?;
        if !fields.is_empty() {
            return Err(damaged());
        }
        let mut infos = DerReader::new(der::only(content, der::SEQUENCE).ok_or_else(damaged)?.body);
        let mut safes = Vec::new();
        while !infos.is_empty() {
            let info = infos.take(der::SEQUENCE).ok_or_else(damaged)?;
            safes.push((info.raw, ContentPart::read(info.raw)?));
        }
        Ok(Outline { content, safes, mac })
    }
}

impl<'a> ContentPart<'a> {
    fn read(info: &'a [u8]) -> Result<ContentPart<'a>, KeystoreProblem> {
        let damaged = || KeystoreProblem::damaged("the list of contents");
        let (oid, content) = content_info(info).ok_or_else(damaged)?;
        match oid.strip_prefix(PKCS7) {
            Some([1]) => {
                Ok(ContentPart::Plain(der::only(content, der::OCTET_STRING).ok_or_else(damaged)?.body))
            }
            Some([3]) => Ok(ContentPart::Enveloped),
            Some([6]) => {
                let mut fields = DerReader::new(der::only(content, der::SEQUENCE).ok_or_else(damaged)?.body);
                fields.take(der::INTEGER).filter(|version| version.body == [0]).ok_or_else(damaged)?;
                let content = fields.take(der::SEQUENCE).filter(|_| fields.is_empty()).ok_or_else(damaged)?;
                let mut fields = DerReader::new(content.body);
                fields.take(der::OID).filter(|kind| kind.body == DATA).ok_or_else(damaged)?;
                let scheme = Scheme::read(fields.take(der::SEQUENCE).ok_or_else(damaged)?.raw)?;
                let encrypted = fields.take(CONTENT_0).filter(|_| fields.is_empty()).ok_or_else(damaged)?;
                Ok(ContentPart::Encrypted(scheme, encrypted.body))
            }
            _ => Err(damaged()),
        }
    }
}

/// Type and content of a ContentInfo (RFC 5652 section 3).
fn content_info(raw: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = DerReader::new(der::only(raw, der::SEQUENCE)?.body);
    let oid = fields.take(der::OID)?.body;
    let content = fields.take(der::CONTEXT_0).filter(|_| fields.is_empty())?;
    Some((oid, content.body))
}

impl Pfx {
    /// Reads a file: its frame, and its bags in file order.
    pub(super) fn read(
        bytes: &[u8],
        password: &StorePassword,
    ) -> Result<(Pfx, Vec<KeystoreEntry>), KeystoreProblem> {
        let outline = Outline::read(bytes)?;
        outline.check_costs()?;
        let secret = outline.unlock(password)?;
        let mut entries = Vec::new();
        let mut safes = Vec::new();
        for (raw, part) in outline.safes {
            let at = safes.len();
            let protection = match part {
                ContentPart::Plain(bags) => {
                    read_bags(bags, at, &mut entries).ok_or(KeystoreProblem::damaged("the bags"))?;
                    BagProtection::None
                }
                ContentPart::Encrypted(scheme, content) => {
                    let bags = scheme.decrypt(&secret, content);
                    // A wrong password may accidentally produce valid padding, never a valid structure.
                    bags.and_then(|bags| read_bags(&bags, at, &mut entries)).ok_or(
                        if outline.mac.is_some() {
                            KeystoreProblem::damaged("the encrypted bags")
                        } else {
                            KeystoreProblem::WrongPassword
                        },
                    )?;
                    BagProtection::Password(scheme)
                }
                ContentPart::Enveloped => BagProtection::PublicKey,
            };
            safes.push(Safe { raw: raw.to_vec(), protection, changed: false });
        }
        Ok((Pfx { safes, mac: outline.mac, secret }, entries))
    }

    /// Appends a trusted certificate after the last certificate.
    pub(super) fn add(
        &mut self,
        entries: &mut Vec<KeystoreEntry>,
        alias: &str,
        certificate: &Certificate,
    ) -> Result<(), KeystoreProblem> {
        let raw = Zeroizing::new(certificate_bag(alias, certificate));
        let last = entries.iter().rposition(|entry| entry.is_certificate);
        let safe = match last.map(|at| entries[at].safe) {
            Some(safe) => safe,
            None => self.for_certificates()?,
        };
        self.safes[safe].changed = true;
        let content =
            EntryContent::Trusted { der: certificate.der().to_vec(), fingerprint: certificate.fingerprint() };
        let at = entries.iter().rposition(|entry| entry.safe <= safe).map_or(0, |last| last + 1);
        let alias = alias.to_owned();
        entries.insert(at, KeystoreEntry { alias, date: None, content, raw, safe, is_certificate: true });
        Ok(())
    }

    /// The part for certificates in a file that has none: an encrypted part, else a new one.
    fn for_certificates(&mut self) -> Result<usize, KeystoreProblem> {
        let encrypted = |safe: &Safe| matches!(safe.protection, BagProtection::Password(_));
        if let Some(at) = self.safes.iter().rposition(encrypted) {
            return Ok(at);
        }
        let protection = match &self.mac {
            Some(mac) => {
                BagProtection::Password(Scheme::of_keytool(mac.iterations().max(KEYTOOL_ITERATIONS))?)
            }
            None => BagProtection::None,
        };
        self.safes.push(Safe { raw: Vec::new(), protection, changed: true });
        Ok(self.safes.len() - 1)
    }

    /// Notes that a bag of this part was removed.
    pub(super) fn removed(&mut self, safe: usize) {
        self.safes[safe].changed = true;
    }

    /// The file: unchanged parts as they were, others rebuilt, encrypted and signed again.
    pub(super) fn write(
        &self,
        entries: &[KeystoreEntry],
        random: SaltSource<'_>,
    ) -> crate::error::Result<Vec<u8>> {
        let mut infos = Vec::new();
        for (at, safe) in self.safes.iter().enumerate() {
            if !safe.changed {
                infos.extend_from_slice(&safe.raw);
                continue;
            }
            let bags = entries.iter().filter(|entry| entry.safe == at);
            let size = bags.clone().map(|entry| entry.raw.len()).sum();
            let mut body = Zeroizing::new(Vec::with_capacity(size));
            bags.for_each(|entry| body.extend_from_slice(&entry.raw));
            let content = Zeroizing::new(der::element(der::SEQUENCE, &body));
            match &safe.protection {
                // A part that held only what we added and then removed.
                BagProtection::None if body.is_empty() => {}
                BagProtection::None => infos.extend(info(DATA, &der::element(der::OCTET_STRING, &content))),
                BagProtection::Password(scheme) => {
                    let scheme = scheme.fresh(random)?;
                    let encrypted = scheme
                        .encrypt(&self.secret, &content)
                        .ok_or_else(|| Error::failed("could not encrypt the keystore"))?;
                    let inner = [
                        der::element(der::OID, DATA),
                        scheme.raw().to_vec(),
                        der::element(CONTENT_0, &encrypted),
                    ];
                    let data = [der::unsigned(0), der::element(der::SEQUENCE, &inner.concat())];
                    infos.extend(info(ENCRYPTED_DATA, &der::element(der::SEQUENCE, &data.concat())));
                }
                BagProtection::PublicKey => infos.extend_from_slice(&safe.raw),
            }
        }
        let content = der::element(der::SEQUENCE, &infos);
        let mut file = der::unsigned(3);
        file.extend(info(DATA, &der::element(der::OCTET_STRING, &content)));
        if let Some(mac) = &self.mac {
            let changed = self.safes.iter().any(|safe| safe.changed);
            let again = if changed { Some(mac.again(&self.secret, &content, random)?) } else { None };
            file.extend_from_slice(again.as_ref().unwrap_or(mac).raw());
        }
        Ok(der::element(der::SEQUENCE, &file))
    }
}

impl Outline<'_> {
    /// Refuses excessive work (threat T19): single counts were bounded when reading, here their sum is.
    fn check_costs(&self) -> Result<(), KeystoreProblem> {
        let parts = self.safes.iter().map(|(_, part)| match part {
            ContentPart::Encrypted(scheme, _) => u64::from(scheme.iterations()),
            _ => 0,
        });
        let sum = parts.sum::<u64>() + self.mac.as_ref().map_or(0, |mac| mac.iterations().into());
        // One for the MAC and one for the contents.
        if sum > 2 * u64::from(pbe::MOST_ITERATIONS) { Err(KeystoreProblem::TooCostly) } else { Ok(()) }
    }

    /// The password in the form that matches the MAC; unchecked if there is none.
    fn unlock(&self, password: &StorePassword) -> Result<EncodedPassword, KeystoreProblem> {
        let secret = EncodedPassword::of(password);
        match &self.mac {
            Some(mac) if !mac.fits(&secret, self.content) => {
                let nothing = EncodedPassword::nothing();
                let empty = password.text().is_empty() && mac.fits(&nothing, self.content);
                if empty { Ok(nothing) } else { Err(KeystoreProblem::WrongPassword) }
            }
            _ => Ok(secret),
        }
    }
}

fn info(kind: &[u8], content: &[u8]) -> Vec<u8> {
    let body = [der::element(der::OID, kind), der::element(der::CONTEXT_0, content)].concat();
    der::element(der::SEQUENCE, &body)
}

/// Appends the bags of a SafeContents; `None` if it is not one.
fn read_bags(contents: &[u8], safe: usize, entries: &mut Vec<KeystoreEntry>) -> Option<()> {
    let mut bags = DerReader::new(der::only(contents, der::SEQUENCE)?.body);
    while !bags.is_empty() {
        entries.push(read_bag(bags.take(der::SEQUENCE)?, safe)?);
    }
    Some(())
}

fn read_bag(bag: der::Tlv<'_>, safe: usize) -> Option<KeystoreEntry> {
    let mut fields = DerReader::new(bag.body);
    let kind = fields.take(der::OID)?.body;
    let value = fields.take(der::CONTEXT_0)?.body;
    let attributes = match fields.take(der::SET) {
        Some(set) => BagAttributes::read(set.body)?,
        None => BagAttributes::default(),
    };
    if !fields.is_empty() {
        return None;
    }
    let kind = kind.strip_prefix(BAG);
    let content = match kind {
        Some([1 | 2]) => EntryContent::PrivateKey,
        Some([3]) if attributes.trusted => certificate_in(value)
            .map_or(EntryContent::Other, |der| EntryContent::trusted(der, &CertificateCache::default())),
        _ => EntryContent::Other,
    };
    Some(KeystoreEntry {
        alias: attributes.alias,
        date: attributes.date,
        content,
        raw: Zeroizing::new(bag.raw.to_vec()),
        safe,
        is_certificate: kind == Some(&[3]),
    })
}

/// The certificate of a whole SafeBag.
pub(super) fn certificate_of_bag(bag: &[u8]) -> Option<&[u8]> {
    let mut fields = DerReader::new(der::only(bag, der::SEQUENCE)?.body);
    fields.take(der::OID).filter(|kind| kind.body == CERTIFICATE_BAG)?;
    certificate_in(fields.take(der::CONTEXT_0)?.body)
}

/// The certificate of a CertBag's value.
fn certificate_in(value: &[u8]) -> Option<&[u8]> {
    let mut fields = DerReader::new(der::only(value, der::SEQUENCE)?.body);
    fields.take(der::OID).filter(|kind| kind.body == X509_CERTIFICATE)?;
    let certificate = fields.take(der::CONTEXT_0).filter(|_| fields.is_empty())?;
    Some(der::only(certificate.body, der::OCTET_STRING)?.body)
}

/// The attributes of a bag that Java uses.
#[derive(Default)]
struct BagAttributes {
    alias: String,
    date: Option<i64>,
    trusted: bool,
}

impl BagAttributes {
    fn read(set: &[u8]) -> Option<BagAttributes> {
        let mut found = BagAttributes::default();
        let mut attributes = DerReader::new(set);
        while !attributes.is_empty() {
            let mut fields = DerReader::new(attributes.take(der::SEQUENCE)?.body);
            let kind = fields.take(der::OID)?.body;
            let values = fields.take(der::SET)?.body;
            let value = DerReader::new(values).next();
            match (kind, value) {
                (FRIENDLY_NAME, Some(value)) if value.tag == BMP_STRING => {
                    let (units, _) = value.body.as_chunks();
                    let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
                    found.alias = String::from_utf16_lossy(&units);
                }
                // Java stores the date of a key there: `Time` and milliseconds.
                (LOCAL_KEY_ID, Some(value)) if value.tag == der::OCTET_STRING => {
                    let text = str::from_utf8(value.body).ok();
                    found.date = text.and_then(|text| text.strip_prefix("Time ")?.parse().ok());
                }
                (TRUSTED_KEY_USAGE, Some(_)) => found.trusted = true,
                _ => {}
            }
        }
        Some(found)
    }
}

/// A bag as Java writes it for a certificate that it trusts for everything.
fn certificate_bag(alias: &str, certificate: &Certificate) -> Vec<u8> {
    let sequence = |parts: &[&[u8]]| der::element(der::SEQUENCE, &parts.concat());
    let oid = |body: &[u8]| der::element(der::OID, body);
    let attribute = |kind: &[u8], value: &[u8]| sequence(&[&oid(kind), &der::element(der::SET, value)]);
    let content = der::element(der::CONTEXT_0, &der::element(der::OCTET_STRING, certificate.der()));
    let value = der::element(der::CONTEXT_0, &sequence(&[&oid(X509_CERTIFICATE), &content]));
    let name: Vec<u8> = alias.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let attributes = [
        attribute(FRIENDLY_NAME, &der::element(BMP_STRING, &name)),
        attribute(TRUSTED_KEY_USAGE, &oid(ANY_USAGE)),
    ];
    sequence(&[&oid(CERTIFICATE_BAG), &value, &der::element(der::SET, &attributes.concat())])
}
