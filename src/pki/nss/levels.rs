//! How much trust settings give, so that the state's former settings never raise it (threat T34).

use std::collections::{BTreeMap, BTreeSet};

use super::attributes::*;
use super::database::ObjectRow;
use super::{Databases, Result, objects};
use crate::pki::cert::Certificate;
use crate::pki::fingerprint::Fingerprint;

/// CKT_TRUSTED of PKCS#11 3.2: a peer.
const TRUSTED: u32 = 1;
/// CKT_NSS_TRUSTED: the `P` of certutil, a trusted peer.
const NSS_TRUSTED: u32 = 0xce53_4351;
/// CKT_TRUST_MUST_VERIFY_TRUST of PKCS#11 3.2.
const MUST_VERIFY: u32 = 4;

/// For servers, clients, code and e-mail.
const PURPOSES: [AttributeNumber; 4] =
    [TRUST_SERVER_AUTH, TRUST_CLIENT_AUTH, TRUST_CODE_SIGNING, TRUST_EMAIL_PROTECTION];
const NSS_PURPOSES: [AttributeNumber; 4] =
    [NSS_TRUST_SERVER_AUTH, NSS_TRUST_CLIENT_AUTH, NSS_TRUST_CODE_SIGNING, NSS_TRUST_EMAIL_PROTECTION];

/// How much a setting gives for one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Distrusted,
    Unset,
    /// A CA that is valid, but not trusted by this setting.
    Valid,
    Trusted,
}

fn is_pkcs11(row: &ObjectRow) -> bool {
    row.number(CLASS) == Some(CLASS_TRUST)
}

fn purposes(row: &ObjectRow) -> [AttributeNumber; 4] {
    if is_pkcs11(row) { PURPOSES } else { NSS_PURPOSES }
}

fn level(row: &ObjectRow, purpose: AttributeNumber) -> Level {
    match (is_pkcs11(row), row.number(purpose)) {
        (true, Some(NOT_TRUSTED)) | (false, Some(NSS_NOT_TRUSTED)) => Level::Distrusted,
        (true, Some(TRUSTED | TRUST_ANCHOR)) | (false, Some(NSS_TRUSTED | NSS_TRUSTED_DELEGATOR)) => {
            Level::Trusted
        }
        (false, Some(NSS_VALID_DELEGATOR)) => Level::Valid,
        _ => Level::Unset,
    }
}

/// The same for this certificate: settings with the hash of another act as distrust.
fn effective(row: &ObjectRow, purpose: AttributeNumber, certificate: &Certificate) -> Level {
    if objects::fits(row, certificate) { level(row, purpose) } else { Level::Distrusted }
}

fn hash(row: &ObjectRow) -> Option<&[u8]> {
    row.get(objects::deciding(row)[1])
}

/// Whether NSS refuses the certificate for servers because of one of these settings.
pub(super) fn distrusts(settings: &[ObjectRow], certificate: &Certificate) -> bool {
    settings.iter().any(|row| effective(row, purposes(row)[0], certificate) == Level::Distrusted)
}

/// The former settings `former`, reduced so that they trust the certificate no more than `now` does.
pub(super) fn lowered(former: &ObjectRow, now: &[ObjectRow], certificate: &Certificate) -> ObjectRow {
    let mut row = former.clone();
    let same = |other: &&ObjectRow| other.number(CLASS) == former.number(CLASS);
    let now: Vec<&ObjectRow> = now.iter().filter(same).collect();
    for purpose in purposes(former) {
        let is = effective(former, purpose, certificate);
        let most = now.iter().map(|other| effective(other, purpose, certificate)).max();
        let most = most.unwrap_or(Level::Unset);
        if is > most {
            let value = match (most, is_pkcs11(former)) {
                (Level::Distrusted, true) => NOT_TRUSTED,
                (Level::Distrusted, false) => NSS_NOT_TRUSTED,
                (Level::Valid, false) => NSS_VALID_DELEGATOR,
                (_, true) => MUST_VERIFY,
                (_, false) => NSS_MUST_VERIFY_TRUST,
            };
            row.values.insert(purpose, value.to_be_bytes().to_vec());
        }
    }
    row
}

/// The subject of settings.
type SettingsSubject = (Option<u32>, Vec<u8>, Vec<u8>);

impl Databases {
    /// Whether these databases hold no certificate that is not in `now`, and trust none more than it does; certificates
    /// of `known` aside.
    ///
    /// # Errors
    /// A database is damaged.
    pub(crate) fn trusts_no_more_than(&self, now: &Databases, known: &BTreeSet<Fingerprint>) -> Result<bool> {
        let mut wanted = SIGNED.to_vec();
        wanted.extend([CLASS, VALUE, ISSUER, SERIAL_NUMBER]);
        let (former, now) = (self.cert9.all(&wanted)?, now.cert9.all(&wanted)?);
        let part = |row: &ObjectRow, attribute| row.get(attribute).unwrap_or_default().to_vec();
        let subject = |row: &ObjectRow| -> SettingsSubject {
            (row.number(CLASS), part(row, ISSUER), part(row, SERIAL_NUMBER))
        };
        let is_certificate = |row: &&ObjectRow| row.number(CLASS) == Some(CLASS_CERTIFICATE);
        let is_known =
            |row: &&ObjectRow| known.contains(&Fingerprint::of(row.get(VALUE).unwrap_or_default()));
        let names: BTreeSet<(Vec<u8>, Vec<u8>)> = former
            .iter()
            .filter(is_certificate)
            .filter(is_known)
            .map(|row| (part(row, ISSUER), part(row, SERIAL_NUMBER)))
            .collect();
        let by_subject = |rows: &[ObjectRow]| {
            let mut found: BTreeMap<SettingsSubject, Vec<ObjectRow>> = BTreeMap::new();
            let of_others =
                |row: &&ObjectRow| !names.contains(&(part(row, ISSUER), part(row, SERIAL_NUMBER)));
            for row in rows.iter().filter(|row| objects::is_trust(row)).filter(of_others) {
                found.entry(subject(row)).or_default().push(row.clone());
            }
            found
        };
        let is_there = |row: &ObjectRow| now.iter().any(|other| other.get(VALUE) == row.get(VALUE));
        let mut certificates = former.iter().filter(is_certificate).filter(|row| !is_known(row));
        if !certificates.all(is_there) {
            return Ok(false);
        }
        let (of_former, of_now) = (by_subject(&former), by_subject(&now));
        let no_more = |row: &ObjectRow, other: &ObjectRow| {
            let levels = purposes(row).map(|purpose| (level(row, purpose), level(other, purpose)));
            let gives = levels.iter().any(|(is, _)| *is > Level::Unset);
            levels.iter().all(|(is, now)| is <= now)
                && (!gives || hash(row) == hash(other) || !self.fits(row))
        };
        let raised = of_former.iter().any(|(subject, rows)| {
            let others = of_now.get(subject).map(Vec::as_slice).unwrap_or_default();
            !rows.iter().all(|row| others.iter().any(|other| no_more(row, other)))
        });
        // Removed distrust would become trust again.
        let forgotten = of_now.iter().any(|(subject, rows)| {
            let distrusts =
                |row: &ObjectRow| purposes(row).iter().any(|one| level(row, *one) == Level::Distrusted);
            rows.iter().any(distrusts) && !of_former.contains_key(subject)
        });
        Ok(!raised && !forgotten)
    }

    /// Whether the hash in settings is that of a certificate of these databases.
    fn fits(&self, row: &ObjectRow) -> bool {
        let name: Vec<(AttributeNumber, &[u8])> = [ISSUER, SERIAL_NUMBER]
            .into_iter()
            .map(|attribute| (attribute, row.get(attribute).unwrap_or_default()))
            .collect();
        let found = self.cert9.find(&name).unwrap_or_default();
        let certificates = found.iter().filter_map(|row| row.get(VALUE));
        certificates.filter_map(|der| Certificate::from_der(der).ok()).any(|one| objects::fits(row, &one))
    }

    /// Whether the same password opens both, or none is needed.
    ///
    /// # Errors
    /// A database is damaged.
    pub(crate) fn has_password_of(&self, other: &Databases) -> Result<bool> {
        let of = |databases: &Databases| databases.key4.meta_data(super::password::ENTRY);
        Ok(of(self)? == of(other)?)
    }
}
