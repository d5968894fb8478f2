//! NSS databases (`cert9.db` and `key4.db`), read and changed without NSS: the certificate stores of Chromium, Firefox,
//! Thunderbird and certutil.
//!
//! ```text
//! cert9.db   nssPublic    certificates, and trust settings found by issuer and serial number
//! key4.db    metaData     `password`, and the signatures of trust settings once there is a password
//!            nssPrivate   keys: never touched
//! ```
//!
//! [`Databases`] is bytes in, bytes out; [`find`] locates databases, and [`files`] reads them through [`crate::rootfs`]
//! (in use or damaged if one of [`JOURNALS`] is beside them, threat T18). The caller writes what changed, each file by
//! a rename, **key4.db first, then cert9.db**: [`Files`] has them in that order. A kill in between leaves signatures of
//! an object that does not exist, which nothing reads; the other order would leave an unsigned trust setting, which NSS
//! treats as distrust. Removing a certificate uses the reverse order, **cert9.db first**, for the same reason. Settings
//! that are changed or restored get another number or their old one, and the signatures of both exist meanwhile, so
//! that these orders work for them too.
//! A running browser keeps what it has read: it sees the change after its next start.
//!
//! Nothing here changes a file, prints, or decides which databases to change.

mod attributes;
mod change;
mod database;
mod former;
mod levels;
mod objects;
mod password;
mod refusal;
mod schema;
mod signature;

use std::collections::BTreeMap;

pub use former::Former;
pub use objects::ServerTrust;
pub use password::{NssPassword, SettingsProtection};
pub use refusal::NssRefusal;
pub(crate) use refusal::Result;

use database::{Database, MAX_ID, ObjectRow};
use password::SigningKey;

use crate::pki::cert::Certificate;
use crate::pki::fingerprint::Fingerprint;

/// The file of certificates and trust settings.
pub const CERT_DB: &str = "cert9.db";
/// The file of keys, password and signatures.
pub const KEY_DB: &str = "key4.db";
/// The suffix of a database's journal while it is being written, or after its writer was killed.
pub(crate) const JOURNALS: [&str; 2] = ["-journal", "-wal"];
/// The files of the format before SQLite, which current NSS cannot read either.
pub(crate) const DBM_FILES: [&str; 3] = ["cert8.db", "key3.db", "secmod.db"];
/// No database is larger, in bytes: a browser's with all it has seen has 1 MiB.
pub(crate) const SIZE_LIMIT: usize = 32 << 20;
/// More iterations than these are not tried (threat T19); NSS' default is 10,000.
pub(crate) const MAX_ITERATIONS: u32 = 5_000_000;

/// Settings of one certificate that are re-signed when one of them changes: NSS keeps at most one of each of two kinds.
const SETTINGS_LIMIT: usize = 2;

/// The nickname of `certificate`: its anchor's name in other stores, with part of the fingerprint in it, so that two
/// never collide (threat T4).
pub fn nickname_for(certificate: &Certificate) -> String {
    crate::pki::cert::anchor_name(certificate)
}

/// Whether trust settings are signed as the database requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingsSignature {
    /// There is no password, so NSS accepts them unsigned.
    NotNeeded,
    /// They are.
    Valid,
    /// They are not: NSS treats them as distrust.
    Invalid,
    /// The password is not known. NSS accepts them until it is entered, and then drops them if the signature is bad.
    Unknown,
}

/// A certificate of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NssCertificate {
    /// The certificate.
    pub(crate) certificate: Certificate,
    /// SHA-256.
    pub fingerprint: Fingerprint,
    /// The first nickname; raw text of the database, empty if it has none.
    pub nickname: String,
    /// Its trust settings.
    pub trust: ServerTrust,
    /// Whether NSS accepts them.
    pub signed: SettingsSignature,
}

impl NssCertificate {
    /// Whether NSS accepts the certificate as a root for servers.
    pub fn is_trusted(&self) -> bool {
        self.trust == ServerTrust::Trusted && self.signed != SettingsSignature::Invalid
    }
}

/// The bytes of both files, in the order in which they have to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// `key4.db`: first.
    pub key4: Vec<u8>,
    /// `cert9.db`.
    pub cert9: Vec<u8>,
}

/// Both databases of a directory, in memory.
pub struct Databases {
    cert9: Database,
    key4: Database,
    protection: SettingsProtection,
    key: Option<SigningKey>,
}

impl Databases {
    /// New databases without a password, the same bytes each time.
    ///
    /// # Errors
    /// SQLite fails (memory).
    pub fn new() -> Result<Databases> {
        Ok(Databases {
            cert9: Database::create(CERT_DB, schema::PUBLIC, false)?,
            key4: Database::create(KEY_DB, schema::PRIVATE, true)?,
            protection: SettingsProtection::None,
            key: None,
        })
    }

    /// Reads the databases. A password is used only if there is one that is not empty; without it such databases can be
    /// read ([`SettingsProtection::Locked`]).
    ///
    /// # Errors
    /// The files are damaged, too large, or not made by NSS; the password is wrong, or cannot be checked.
    pub fn open(cert9: &[u8], key4: &[u8], password: Option<&NssPassword>) -> Result<Databases> {
        Databases::read(cert9, key4)?.unlock(password)
    }

    /// Reads the databases without deriving a key: all are [`SettingsProtection::Locked`] before [`Databases::unlock`].
    ///
    /// # Errors
    /// The files are damaged, too large, or not made by NSS.
    pub(crate) fn read(cert9: &[u8], key4: &[u8]) -> Result<Databases> {
        let cert9 = Database::open(CERT_DB, schema::PUBLIC, cert9)?;
        let key4 = Database::open(KEY_DB, schema::PRIVATE, key4)?;
        Ok(Databases { cert9, key4, protection: SettingsProtection::Locked, key: None })
    }

    /// Determines how the databases are protected, with the password if there is one.
    ///
    /// # Errors
    /// The password is wrong, or cannot be checked.
    pub(crate) fn unlock(mut self, password: Option<&NssPassword>) -> Result<Databases> {
        (self.protection, self.key) = password::unlock(self.key4.meta_data(password::ENTRY)?, password)?;
        Ok(self)
    }

    /// The most iterations of key derivation that [`Databases::unlock`] takes.
    ///
    /// # Errors
    /// The password entry is damaged, or asks for too many.
    pub(crate) fn cost_of_unlocking(&self, password: Option<&NssPassword>) -> Result<u64> {
        password::cost(self.key4.meta_data(password::ENTRY)?, password)
    }

    /// The most iterations that [`Databases::entries`] takes, and so do all calls of [`Databases::add`] and
    /// [`Databases::remove`] together beside the signatures that they make.
    ///
    /// # Errors
    /// The database is damaged.
    pub(crate) fn cost_of_checking(&self) -> Result<u64> {
        if self.key.is_none() {
            return Ok(0);
        }
        let mut wanted = attributes::SIGNED.to_vec();
        wanted.push(attributes::CLASS);
        let mut sum = 0_u64;
        for row in self.cert9.all(&wanted)?.iter().filter(|row| objects::is_trust(row)) {
            sum = sum.saturating_add(self.cost_of(row)?);
        }
        Ok(sum)
    }

    /// The iterations for the signatures of one call of [`Databases::add`] or [`Databases::remove`].
    pub(crate) fn cost_of_signing(&self) -> u64 {
        let most = (SETTINGS_LIMIT * attributes::SIGNED.len()) as u64;
        self.key.as_ref().map_or(0, |key| most * u64::from(key.iterations))
    }

    /// How trust settings are protected.
    pub fn protection(&self) -> SettingsProtection {
        self.protection
    }

    /// The certificates, each once, with the trust that NSS gives them. What cannot be parsed as a certificate is
    /// omitted.
    ///
    /// # Errors
    /// The database is damaged, or its signatures cost too much.
    pub fn entries(&self) -> Result<Vec<NssCertificate>> {
        let mut wanted = attributes::SIGNED.to_vec();
        wanted.extend([attributes::CLASS, attributes::LABEL, attributes::VALUE]);
        wanted.extend([attributes::ISSUER, attributes::SERIAL_NUMBER]);
        let mut certificates = Vec::new();
        let mut trust: BTreeMap<(Vec<u8>, Vec<u8>), Vec<ObjectRow>> = BTreeMap::new();
        for row in self.cert9.all(&wanted)? {
            if row.number(attributes::CLASS) == Some(attributes::CLASS_CERTIFICATE) {
                certificates.push(row);
            } else if let (true, Some(issuer), Some(serial)) =
                (objects::is_trust(&row), row.get(attributes::ISSUER), row.get(attributes::SERIAL_NUMBER))
            {
                trust.entry((issuer.to_vec(), serial.to_vec())).or_default().push(row);
            }
        }
        self.afford(trust.values().flatten())?;
        let mut found: BTreeMap<Fingerprint, usize> = BTreeMap::new();
        let mut entries = Vec::new();
        for row in &certificates {
            let der = row.get(attributes::VALUE).unwrap_or_default();
            let Ok(certificate) = Certificate::from_der(der) else { continue };
            if found.insert(certificate.fingerprint(), entries.len()).is_some() {
                continue;
            }
            let name = (certificate.issuer_der().to_vec(), objects::serial_number(&certificate));
            let settings = trust.get(&name).map(Vec::as_slice).unwrap_or_default();
            let (trust, signed) = self.judge(&certificate, settings)?;
            let nickname = row.get(attributes::LABEL).unwrap_or_default();
            entries.push(NssCertificate {
                fingerprint: certificate.fingerprint(),
                certificate,
                nickname: String::from_utf8_lossy(nickname).into_owned(),
                trust,
                signed,
            });
        }
        Ok(entries)
    }

    /// Makes `certificate` a root for servers: adds it under `nickname` if it is not there under any, and sets its
    /// trust (certutil's `C,,`; of existing settings only the one for servers changes). `None` if NSS trusts it so
    /// already; else what [`Databases::remove`] needs for restoring.
    ///
    /// # Errors
    /// [`NssRefusal::Locked`], [`NssRefusal::SerialTaken`], [`NssRefusal::Nickname`], [`NssRefusal::NicknameTaken`]; the database
    /// is damaged. Nothing is changed then.
    pub fn add(&mut self, certificate: &Certificate, nickname: &str) -> Result<Option<Former>> {
        if !crate::pki::cert::is_anchor_name(nickname) {
            return Err(NssRefusal::Nickname);
        }
        let there = self.find(certificate)?;
        self.afford(&there.trust)?;
        if there.trust.len() > SETTINGS_LIMIT {
            return Err(NssRefusal::Costs);
        }
        let present = !there.certificates.is_empty();
        if present {
            let (trust, signed) = self.judge(certificate, &there.trust)?;
            if trust == ServerTrust::Trusted && signed != SettingsSignature::Invalid {
                return Ok(None);
            }
        }
        if there.another {
            return Err(NssRefusal::SerialTaken);
        }
        if self.protection == SettingsProtection::Locked {
            return Err(NssRefusal::Locked);
        }
        if !present && self.is_taken(nickname, certificate)? {
            return Err(NssRefusal::NicknameTaken);
        }
        self.change(|databases| databases.set(certificate, nickname, there)).map(Some)
    }

    /// Removes `certificate` as `certutil -D` does, or restores what was there before it was added. Returns whether
    /// anything of it was there.
    ///
    /// # Errors
    /// [`NssRefusal::Former`]; the database is damaged. Nothing is changed then.
    pub fn remove(&mut self, certificate: &Certificate, former: Option<&Former>) -> Result<bool> {
        if former.is_some_and(|former| !former.fits(certificate)) {
            return Err(NssRefusal::Former);
        }
        let there = self.find(certificate)?;
        if there.certificates.is_empty() && (there.trust.is_empty() || there.another) {
            return Ok(false);
        }
        // Distrust set since then takes precedence (threat T34).
        if levels::distrusts(&there.trust, certificate) && !there.another {
            return Ok(false);
        }
        self.change(|databases| databases.unset(certificate, former, there))?;
        Ok(true)
    }

    /// The bytes of both files; the original ones if nothing was changed.
    ///
    /// # Errors
    /// SQLite fails (memory).
    pub fn into_files(self) -> Result<Files> {
        Ok(Files { key4: self.key4.into_bytes()?, cert9: self.cert9.into_bytes()? })
    }

    fn find(&self, certificate: &Certificate) -> Result<There> {
        let serial = objects::serial_number(certificate);
        let name = [(attributes::ISSUER, certificate.issuer_der()), (attributes::SERIAL_NUMBER, &serial[..])];
        let mut there = There::default();
        for row in self.cert9.find(&name)? {
            if objects::is_trust(&row) {
                there.trust.push(row);
            } else if row.number(attributes::CLASS) == Some(attributes::CLASS_CERTIFICATE) {
                match row.get(attributes::VALUE) == Some(certificate.der()) {
                    true => there.certificates.push(row),
                    false => there.another = true,
                }
            }
        }
        Ok(there)
    }

    /// Whether a certificate of another subject has the nickname.
    fn is_taken(&self, nickname: &str, certificate: &Certificate) -> Result<bool> {
        let class = attributes::CLASS_CERTIFICATE.to_be_bytes();
        let name = [(attributes::CLASS, &class[..]), (attributes::LABEL, nickname.as_bytes())];
        let is_other = |row: &ObjectRow| row.get(attributes::SUBJECT) != Some(certificate.subject_der());
        Ok(self.cert9.find(&name)?.iter().any(is_other))
    }

    /// How NSS interprets trust settings: it reads those of PKCS#11 3.2 first, and the first of a kind.
    fn judge(
        &self,
        certificate: &Certificate,
        settings: &[ObjectRow],
    ) -> Result<(ServerTrust, SettingsSignature)> {
        let of_class = |class| settings.iter().find(|row| row.number(attributes::CLASS) == Some(class));
        let first = of_class(attributes::CLASS_TRUST).or_else(|| of_class(attributes::CLASS_NSS_TRUST));
        let Some(row) = first else { return Ok((ServerTrust::Unset, SettingsSignature::NotNeeded)) };
        let signed = self.is_signed(row)?;
        Ok((objects::said(row, certificate), signed))
    }

    /// Whether the signatures of the deciding trust settings are good; [`Databases::afford`] comes first.
    fn is_signed(&self, row: &ObjectRow) -> Result<SettingsSignature> {
        let key = match (self.protection, &self.key) {
            (SettingsProtection::None, _) => return Ok(SettingsSignature::NotNeeded),
            (_, None) => return Ok(SettingsSignature::Unknown),
            (_, Some(key)) => key,
        };
        let signatures = self.key4.signatures(row.id)?;
        let good = objects::deciding(row).iter().all(|attribute| match row.get(*attribute) {
            None => true,
            Some(value) => signatures
                .get(attribute)
                .is_some_and(|signature| signature::verify(key, row.id, *attribute, value, signature)),
        });
        Ok(if good { SettingsSignature::Valid } else { SettingsSignature::Invalid })
    }

    /// Refuses signatures that require excessive work, before any of it is done (threat T19).
    fn afford<'a>(&self, settings: impl IntoIterator<Item = &'a ObjectRow>) -> Result<()> {
        let mut left = signature::BUDGET;
        for row in settings {
            left = left.checked_sub(self.cost_of(row)?).ok_or(NssRefusal::Costs)?;
        }
        Ok(())
    }

    /// The iterations for checking the signatures of the deciding trust settings.
    fn cost_of(&self, row: &ObjectRow) -> Result<u64> {
        let signatures = self.key4.signatures(row.id)?;
        let deciding = objects::deciding(row).into_iter();
        let found = deciding.filter_map(|attribute| signatures.get(&attribute));
        Ok(found.fold(0, |sum, signature| sum.saturating_add(signature::cost(signature))))
    }

    /// Does `work` in both databases, or nothing.
    fn change<T>(&mut self, work: impl FnOnce(&mut Databases) -> Result<T>) -> Result<T> {
        self.cert9.begin()?;
        self.key4.begin()?;
        let result = work(self);
        self.key4.end(result.is_ok())?;
        self.cert9.end(result.is_ok())?;
        result
    }

    /// Adds trust settings, signed if necessary.
    fn write(&mut self, row: &ObjectRow) -> Result<()> {
        self.cert9.insert(row)?;
        self.sign(row)
    }

    fn sign(&mut self, row: &ObjectRow) -> Result<()> {
        self.key4.delete_signatures(row.id)?;
        let Some(key) = &self.key else { return Ok(()) };
        for attribute in attributes::SIGNED {
            if let Some(value) = row.get(attribute) {
                let signature = signature::sign(key, row.id, attribute, value);
                self.key4.insert_signature(row.id, attribute, &signature)?;
            }
        }
        Ok(())
    }
}

/// What a database contains with the issuer and serial number of a certificate.
#[derive(Default)]
struct There {
    /// The certificate itself.
    certificates: Vec<ObjectRow>,
    /// Whether there is another certificate.
    another: bool,
    /// Trust settings.
    trust: Vec<ObjectRow>,
}

/// The number of a certificate if it is free: derived from the fingerprint, so that the same additions give the same
/// bytes. Its trust settings get the next.
fn preferred_id(certificate: &Certificate) -> u32 {
    let [a, b, c, d, ..] = *certificate.fingerprint().bytes();
    (u32::from_be_bytes([a, b, c, d]) & MAX_ID).max(1)
}

#[cfg(test)]
mod tests;
